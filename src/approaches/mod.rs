//! The two published ways to an efficient frontier that need no law (Hoffmann et al. 2022, section 3), with the bootstrap
//! through the whole chain.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | what both share: the sweeps that are read, the power law between cost and optimum, the frontier |
//! | `isoflop` | approach 2: a parabola in the logarithm of the size per budget |
//! | `envelope` | approach 1: the lower envelope of training curves |
//! | `least_squares` | parabolas and lines by least squares |
//!
//! Approach 3, the law itself, is asked of a fitted law by [`frontier`](crate::questions::frontier).

mod envelope;
mod isoflop;
mod least_squares;

pub use envelope::envelope;
pub use isoflop::isoflop;

use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;

use crate::error::{Error, Setting};
use crate::formula::{parse_condition, parse_expression};
use crate::infer::{generator, indices, replicate_interval};
use crate::input::{self, Contents, Fragment, KeyColumn, Request, Source};
use crate::lanes::scalar;
use crate::questions::AnswerTable;

use least_squares::line;

/// What is read and how it is judged.
#[derive(Clone, Debug)]
pub struct Approach {
    /// The key columns.
    pub by: Vec<KeyColumn>,
    /// Definitions of variables, as pairs of name and expression.
    pub lets: Vec<(String, String)>,
    /// A condition on rows.
    pub condition: Option<String>,
    /// The column of the cost: the budget of a run, or the compute at a checkpoint.
    pub cost: String,
    /// The column of the size.
    pub size: String,
    /// The column of the response.
    pub response: String,
    /// The costs of the frontier; those of the data where there are none.
    pub costs: Vec<f64>,
    /// The number of replicates.
    pub bootstrap: usize,
    /// The confidence of the intervals.
    pub confidence: f64,
    /// The seed of the random numbers.
    pub seed: u64,
}

/// The answer of an approach.
#[derive(Debug)]
pub struct ApproachTables {
    /// The number of rows that were left out: without a positive cost and size and a finite response.
    pub left_out: usize,
    /// The table named after the approach: the optimum at each budget.
    pub optima: RecordBatch,
    /// The frontier.
    pub frontier: RecordBatch,
}

/// One row of a sweep.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    cost: f64,
    size: f64,
    response: f64,
}

/// The number of replicates from which an interval is given.
const MIN_REPLICATES: usize = 10;

/// A power law `size = G·cost^a`, as (log G, a).
type PowerLaw = (f64, f64);

/// The usable rows of the sweeps of an input, and their keys.
struct Sweeps {
    contents: Contents,
    left_out: usize,
    /// Whether the tokens follow from size and cost, as where the cost is that of training a dense transformer, 6ND.
    has_tokens: bool,
    /// The rows of each sweep, and the digest of its key.
    sweeps: Vec<(Vec<Run>, [u8; 32])>,
}

/// The name of the size from which tokens follow.
const SIZE: &str = "N";

/// The name of the tokens.
const TOKENS: &str = "D";

/// The relative difference up to which a cost is that of training.
const TRAINING_TOLERANCE: f64 = 0.2;

impl Approach {
    /// Reads the sweeps: rows with positive cost and size and a finite response.
    fn read(&self, source: &dyn Source) -> Result<Sweeps, Error> {
        let formula = |setting: Setting, name: &str, error| Error::Formula { place: setting.of(name), error };
        let lets = (self.lets.iter())
            .map(|(name, text)| {
                let expr = parse_expression(text).map_err(|error| formula(Setting::Let, name, error))?;
                Ok((name.clone(), expr))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let condition = match &self.condition {
            Some(text) => Some(parse_condition(text).map_err(|error| formula(Setting::Where, "", error))?),
            None => None,
        };
        let order = vec![self.cost.clone(), self.size.clone(), self.response.clone()];
        let mut columns: Vec<String> = Vec::new();
        let states_tokens = self.size == SIZE && self.states_tokens(source);
        for name in order.iter().cloned().chain(states_tokens.then(|| TOKENS.to_string())) {
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
        let place = |name: &str| columns.iter().position(|column| column == name);
        let (cost, size, response) = (place(&self.cost), place(&self.size), place(&self.response));
        let tokens = place(TOKENS).filter(|_| states_tokens);
        let request = Request { by: self.by.clone(), lets, condition, order, columns, ..Request::default() };
        let dataset = input::read(source, &request, &AtomicBool::new(false))?;
        let (mut sweeps, mut left_out) = (Vec::new(), 0);
        let mut has_tokens = self.size == SIZE;
        for index in 0..dataset.n_sweeps() {
            let sweep = dataset.sweep(index);
            let value =
                |column: Option<usize>, row: usize| column.map_or(f64::NAN, |c| sweep.columns[c][row]);
            let mut runs = Vec::with_capacity(sweep.len());
            for row in 0..sweep.len() {
                let run =
                    Run { cost: value(cost, row), size: value(size, row), response: value(response, row) };
                if !([run.cost, run.size].iter().all(|x| *x > 0.0 && x.is_finite())
                    && run.response.is_finite())
                {
                    left_out += 1;
                    continue;
                }
                // Where the input states the tokens, the cost must be that of training with them.
                let ratio = run.cost / (6.0 * run.size * value(tokens, row));
                has_tokens &= !ratio.is_finite() || (ratio - 1.0).abs() < TRAINING_TOLERANCE;
                runs.push(run);
            }
            sweeps.push((runs, sweep.key_digest));
        }
        Ok(Sweeps { contents: dataset.contents, left_out, has_tokens, sweeps })
    }

    /// Returns whether the input states tokens, as numbers.
    fn states_tokens(&self, source: &dyn Source) -> bool {
        let is_number = |fragment: &Fragment| {
            fragment.schema.field_with_name(TOKENS).is_ok_and(|field| field.data_type().is_numeric())
        };
        self.lets.iter().any(|(name, _)| name == TOKENS) || source.fragments().iter().all(is_number)
    }

    /// Returns the power law `size = G·cost^a` through optima, as (log G, a), and the frontier's quantities that follow.
    fn power_law(&self, optima: &[(f64, f64)]) -> Option<PowerLaw> {
        line(&optima.iter().map(|(cost, size)| (scalar::ln(*cost), scalar::ln(*size))).collect::<Vec<_>>())
    }

    /// Appends the frontier of a sweep to `answers`, given the power law of the sweep and those of its replicates.
    fn add_frontier(
        &self,
        answers: &mut AnswerTable,
        method: &str,
        costs: &[f64],
        (estimate, replicates): (Option<PowerLaw>, &[Option<PowerLaw>]),
        has_tokens: bool,
        message: &str,
    ) {
        let known: Vec<(f64, f64)> = replicates.iter().flatten().copied().collect();
        let is_known = known.len() >= MIN_REPLICATES && known.len() * 10 >= replicates.len() * 9;
        let interval = |f: &dyn Fn((f64, f64)) -> f64| {
            let centre = f(estimate?);
            let mut values: Vec<f64> = known.iter().map(|law| f(*law)).collect();
            let found = replicate_interval(centre, &mut values, &[], self.confidence);
            found.filter(|_| is_known).map(|(interval, _)| interval)
        };
        let exp =
            |interval: Option<(f64, f64)>| interval.map(|(low, high)| (scalar::exp(low), scalar::exp(high)));
        for &cost in costs {
            let log_cost = scalar::ln(cost);
            let size = |(g, a): (f64, f64)| g + a * log_cost;
            // The cost of training is 6ND.
            let tokens = |law: (f64, f64)| log_cost - scalar::ln(6f64) - size(law);
            let value = |f: &dyn Fn((f64, f64)) -> f64| estimate.map_or(f64::NAN, f);
            answers.text("method", method);
            answers.number("cost", cost);
            type Of<'a> = &'a dyn Fn(PowerLaw) -> f64;
            let variables: [(&str, Of, Of); 2] =
                [(&self.size, &size, &|(_, a)| a), (TOKENS, &tokens, &|(_, a)| 1.0 - a)];
            for (name, of, exponent) in variables.into_iter().take(if has_tokens { 2 } else { 1 }) {
                answers.number(name, finite(scalar::exp(value(of))));
                answers.interval(&format!("{name}_low"), &format!("{name}_high"), exp(interval(of)));
                answers.number(&format!("{name}_exponent"), value(exponent));
                let ends = interval(exponent);
                answers.interval(&format!("{name}_exponent_low"), &format!("{name}_exponent_high"), ends);
            }
            if has_tokens {
                let ratio = |law: PowerLaw| tokens(law) - size(law);
                answers.number("tokens_per_parameter", finite(scalar::exp(value(&ratio))));
                let ends = exp(interval(&ratio));
                answers.interval("tokens_per_parameter_low", "tokens_per_parameter_high", ends);
            }
            answers.number("confidence", self.confidence);
            let is_found = estimate.is_some_and(|law| scalar::exp(size(law)).is_finite());
            answers.text("status", if is_found { "optimal" } else { "unreachable" });
            answers.text("message", message);
        }
    }

    /// Calls `refit` with the numbers of the units that each replicate of a sweep draws, of so many units.
    fn replicates<T>(
        &self,
        purpose: &str,
        key_digest: &[u8; 32],
        units: usize,
        mut refit: impl FnMut(&[usize]) -> T,
    ) -> Vec<T> {
        let mut rng = generator(purpose, self.seed, key_digest);
        let mut drawn = Vec::with_capacity(units);
        let replicate = |_| {
            drawn.clear();
            indices(&mut rng, units as u32, units, |unit| drawn.push(unit));
            refit(&drawn)
        };
        (0..self.bootstrap).map(replicate).collect()
    }

    /// Returns a table of answers after the keys of the sweeps.
    fn batch(contents: &Contents, answers: AnswerTable) -> Result<RecordBatch, Error> {
        answers.after_keys(contents.key_fields.iter().cloned().zip(&contents.keys))
    }
}

/// Returns a number, NaN for an infinite one.
fn finite(x: f64) -> f64 {
    if x.is_finite() { x } else { f64::NAN }
}
