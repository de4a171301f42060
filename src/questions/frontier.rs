//! The efficient frontier: the variables at which a law is least for a cost, and the cost at which it reaches a value.
//!
//! Hoffmann et al. (2022), approach 3, for any law and any cost. Intervals come from solving the problem again for each
//! replicate, or from the covariance by the delta method; derivatives with respect to the parameters are then central
//! differences of optima.

use arrow::array::RecordBatch;
use rayon::prelude::*;
use serde::Serialize;

use crate::compile::Scale;
use crate::error::Error;
use crate::formula::{Expr, counted, list, names, parse_expression};
use crate::infer::{ParameterCovariance, Source, replicate_interval};
use crate::input::rows_that_meet;
use crate::lanes::scalar;
use crate::law::Law;
use crate::output::{GoodRefits, KeptResult};

use super::optimum::{Landscape, NoOptimum, Optimum};
use super::table::AnswerTable;
use super::{AskedFit, NO_UNCERTAINTY, Selection, ask, extrapolation, variables};

/// The cost of training a dense transformer, in FLOP (Kaplan et al. 2020, section 2.1).
const TRAINING_COST: &str = "6*N*D";

/// The change of a parameter's logarithm, or of the parameter relative to its size, in differences of optima.
const DIFFERENCE: f64 = 1e-4;

/// What is asked of a frontier.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Frontier {
    /// The costs at which the law is minimised.
    pub budgets: Vec<f64>,
    /// The values that the law is to reach at the least cost.
    pub targets: Vec<f64>,
    /// The cost in the law's variables; `6*N*D` where none is given.
    pub cost: Option<String>,
    /// Variables that are held at a value.
    pub hold: Vec<(String, f64)>,
    /// A condition on keys that one sweep meets: the baseline, whose cost for the same value is compared.
    pub relative_to: Option<String>,
}

/// Returns the frontier of each of a result's fits: one row per fit and budget, then per target.
///
/// # Errors
/// If the cost does not parse or does not fit a law's variables, a held variable is none, or the result cannot be read.
pub fn frontier(result: &KeptResult, asked: &Frontier, selection: &Selection) -> Result<RecordBatch, Error> {
    let chosen = |law: &&Law| selection.law.as_ref().is_none_or(|name| law.name == *name);
    let laws: Vec<Law> = result.laws.iter().filter(chosen).cloned().collect();
    let cost = check_frontier(&laws, asked)?;
    let variables = variables(&result.laws);
    let baselines = match &asked.relative_to {
        Some(condition) => baselines(result, condition)?,
        None => Vec::new(),
    };
    let answers = ask(result, selection, |_, fit| {
        let mut answers = AnswerTable::default();
        let free = free_variables(fit.law, asked);
        let baseline = baselines.iter().find(|baseline| baseline.law == fit.fit.law);
        let question = Question { asked, cost: &cost, free: &free, fit, baseline };
        let budgets = asked.budgets.iter().map(|budget| Goal::Budget(*budget));
        for goal in budgets.chain(asked.targets.iter().map(|target| Goal::Target(*target))) {
            question.answer(&mut answers, &variables, goal);
        }
        answers
    })?;
    answers.batch(result)
}

/// Checks that the frontier of some laws can be asked, and returns the cost.
///
/// # Errors
/// If the cost does not parse or does not fit a law's variables, or a held variable is none.
pub fn check_frontier(laws: &[Law], asked: &Frontier) -> Result<Expr, Error> {
    let text = asked.cost.as_deref().unwrap_or(TRAINING_COST);
    let subject = format!("the cost `{text}`");
    let cost = parse_expression(text)
        .map_err(|error| Error::Question { subject: subject.clone(), reason: format!("\n{error}") })?;
    let variables = variables(laws);
    if let Some((name, _)) = asked.hold.iter().find(|(name, _)| !variables.contains(&name)) {
        let reason = format!("no law has this variable; the variables are {}", list(&variables));
        return Err(Error::Question { subject: format!("the held `{name}`"), reason });
    }
    let check = |law: &Law| {
        let free = free_variables(law, asked);
        let used = names(&cost);
        let known =
            |name: &&&str| free.iter().any(|f| f == *name) || asked.hold.iter().any(|(h, _)| h == *name);
        if let Some(name) = used.iter().find(|name| !known(name)) {
            let variables = list(&law.variables);
            return Some(format!(
                "`{name}` is no variable of `{}`, whose variables are {variables}",
                law.name
            ));
        }
        free.iter().find(|name| !used.contains(&name.as_str())).map(|unused| {
            format!(
                "it does not depend on `{unused}`, a variable of `{}`: give a cost that does, or hold it with --hold \
                 {unused}=VALUE",
                law.name
            )
        })
    };
    match laws.iter().find_map(check) {
        Some(reason) => Err(Error::Question { subject, reason }),
        None => Ok(cost),
    }
}

/// Returns the variables of a law that are not held.
fn free_variables(law: &Law, asked: &Frontier) -> Vec<String> {
    let is_held = |name: &&String| asked.hold.iter().any(|(held, _)| held == *name);
    law.variables.iter().filter(|name| !is_held(name)).cloned().collect()
}

/// What an optimum is sought for.
#[derive(Clone, Copy, Debug)]
enum Goal {
    /// A cost.
    Budget(f64),
    /// A value of the law.
    Target(f64),
}

/// The fit of a law to the sweep with which others are compared.
struct Baseline {
    /// The index of the law.
    law: usize,
    natural: Vec<f64>,
    variables: Vec<(f64, f64)>,
    refits: GoodRefits,
}

/// Returns the fits, one per law, of the one sweep whose keys meet a condition.
fn baselines(result: &KeptResult, condition: &str) -> Result<Vec<Baseline>, Error> {
    let subject = format!("the baseline `{condition}`");
    let keys: Vec<usize> = (0..result.n_keys).collect();
    let keys = result
        .table
        .project(&keys)
        .map_err(|error| Error::Question { subject: subject.clone(), reason: error.to_string() })?;
    let meets = rows_that_meet(&keys, condition)?;
    let chosen: Vec<usize> = (0..result.fits.len()).filter(|&fit| meets[fit]).collect();
    let is_one = |law: usize| chosen.iter().filter(|&&fit| result.fits[fit].law == law).count() == 1;
    if !(0..result.laws.len()).all(is_one) {
        let reason = format!("{} meet it, and one sweep is to be the baseline", counted(chosen.len(), "fit"));
        return Err(Error::Question { subject, reason });
    }
    let mut refits = vec![GoodRefits::default(); result.fits.len()];
    for of_fit in result.replicates()? {
        let (fit, good) = of_fit?;
        if meets[fit] {
            refits[fit] = good;
        }
    }
    let baseline = |fit: usize| {
        let kept = &result.fits[fit];
        let refits = std::mem::take(&mut refits[fit]);
        Baseline { law: kept.law, natural: kept.natural.clone(), variables: kept.variables.clone(), refits }
    };
    Ok(chosen.into_iter().map(baseline).collect())
}

/// The frontier of one fit.
struct Question<'a> {
    asked: &'a Frontier,
    cost: &'a Expr,
    free: &'a [String],
    fit: AskedFit<'a>,
    /// The fit with which costs are compared, if one is given.
    baseline: Option<&'a Baseline>,
}

/// What is known of each quantity of an optimum, on scales on which quantities may take any value.
#[derive(Clone, Debug, PartialEq)]
struct Quantities<T> {
    /// The logarithms of the free variables.
    variables: Vec<T>,
    /// The exponents of the free variables in the cost.
    exponents: Vec<T>,
    /// The law on its scale.
    value: T,
    /// The logarithm of D/N.
    tokens_per_parameter: T,
    /// The logarithm of the cost.
    cost: T,
}

impl<T> Quantities<T> {
    /// Returns the quantities in a list.
    fn into_list(self) -> Vec<T> {
        let Quantities { variables, exponents, value, tokens_per_parameter, cost } = self;
        variables.into_iter().chain(exponents).chain([value, tokens_per_parameter, cost]).collect()
    }

    /// Returns what `of` gives for the place of each quantity in a list, with `n` free variables.
    fn by_place(n: usize, of: impl Fn(usize) -> T) -> Quantities<T> {
        Quantities {
            variables: (0..n).map(&of).collect(),
            exponents: (n..2 * n).map(&of).collect(),
            value: of(2 * n),
            tokens_per_parameter: of(2 * n + 1),
            cost: of(2 * n + 2),
        }
    }
}

/// The quantities of an optimum, as a list.
type Outcome = Vec<f64>;

/// The ends of an interval, if there is one.
type Ends = Option<(f64, f64)>;

impl Question<'_> {
    fn landscape(&self) -> Landscape<'_> {
        let law = self.fit.law;
        let scale = Scale::from(law.residual);
        Landscape { law, cost: self.cost, scale, free: self.free, held: &self.asked.hold }
    }

    /// Returns the middle of the data, in logarithms: where searches begin.
    fn start(&self, variables: &[(f64, f64)]) -> Vec<f64> {
        let law = self.fit.law;
        let middle = |name: &String| {
            let range = law.variables.iter().position(|v| v == name).and_then(|i| variables.get(i));
            let (low, high) = range.copied().unwrap_or((f64::NAN, f64::NAN));
            let middle = 0.5 * (scalar::ln(low) + scalar::ln(high));
            if middle.is_finite() { middle } else { 0.0 }
        };
        self.free.iter().map(middle).collect()
    }

    /// Returns the optimum for a goal at some parameters, near a known optimum.
    ///
    /// A value that the law does not reach has an infinite cost.
    fn near(&self, natural: &[f64], known: &Optimum, log_cost: f64, goal: Goal) -> Option<(Optimum, f64)> {
        let landscape = self.landscape();
        let at = landscape.optimum(natural, &known.x, log_cost).ok()?;
        let Goal::Target(target) = goal else { return Some((at, log_cost)) };
        let level = landscape.scale.transform(target);
        let nowhere = |_| {
            let n = at.x.len();
            let (x, exponents) = (vec![f64::INFINITY; n], vec![f64::NAN; n]);
            (Optimum { x, value: level, exponents, slope: 0.0 }, f64::INFINITY)
        };
        Some(landscape.at_value(natural, (&at, log_cost), level).unwrap_or_else(nowhere))
    }

    /// Returns the quantities of an optimum.
    fn quantities(&self, optimum: &Optimum, log_cost: f64) -> Quantities<f64> {
        let place = |name: &str| self.free.iter().position(|n| n == name);
        let ratio = match (place("N"), place("D")) {
            (Some(n), Some(d)) => optimum.x[d] - optimum.x[n],
            _ => f64::NAN,
        };
        Quantities {
            variables: optimum.x.clone(),
            exponents: optimum.exponents.clone(),
            value: optimum.value,
            tokens_per_parameter: ratio,
            cost: log_cost,
        }
    }

    /// Returns the quantities of the optimum at some parameters, near a known optimum.
    fn outcome(&self, natural: &[f64], known: &Optimum, log_cost: f64, goal: Goal) -> Option<Outcome> {
        let (found, log_cost) = self.near(natural, known, log_cost, goal)?;
        Some(self.quantities(&found, log_cost).into_list())
    }

    /// Returns the intervals of the quantities of an optimum, on their scales; none where nothing is known.
    fn intervals(&self, optimum: &Optimum, log_cost: f64, goal: Goal) -> Quantities<Ends> {
        let n = self.free.len();
        let nothing = Quantities::by_place(n, |_| None);
        let centre = self.quantities(optimum, log_cost).into_list();
        let AskedFit { law, fit, source, confidence, .. } = self.fit;
        match source {
            Source::Nowhere => nothing,
            Source::Replicates { rows, jackknife } => {
                let width = law.parameters.len().max(1);
                let outcomes = |rows: &[f64]| -> Vec<Outcome> {
                    let outcome = |natural: &[f64]| self.outcome(natural, optimum, log_cost, goal);
                    rows.par_chunks(width).filter_map(outcome).collect()
                };
                let (good, left_out) = (outcomes(rows), outcomes(jackknife));
                // A replicate without an optimum has one beyond all bounds; where there are many, no interval is known.
                if good.len() < rows.len() / width * 9 / 10 {
                    return nothing;
                }
                Quantities::by_place(n, |i| {
                    let of = |outcomes: &[Outcome]| -> Vec<f64> {
                        outcomes.iter().map(|outcome| outcome[i]).filter(|x| !x.is_nan()).collect()
                    };
                    let found = replicate_interval(centre[i], &mut of(&good), &of(&left_out), confidence);
                    found.map(|(interval, _)| interval)
                })
            }
            Source::Covariance(covariance) => {
                let Some(gradients) = self.gradients(covariance, optimum, log_cost, goal) else {
                    return nothing;
                };
                Quantities::by_place(n, |i| {
                    let gradient: Vec<f64> = gradients.iter().map(|of_parameter| of_parameter[i]).collect();
                    let half_length = covariance.error(&gradient, &fit.natural)?.half_length(confidence);
                    Some((centre[i] - half_length, centre[i] + half_length))
                })
            }
        }
    }

    /// Returns the derivatives of the quantities of an optimum with respect to each parameter, by central differences; zero
    /// for parameters that have no covariance.
    fn gradients(
        &self,
        covariance: &ParameterCovariance,
        optimum: &Optimum,
        log_cost: f64,
        goal: Goal,
    ) -> Option<Vec<Outcome>> {
        let natural = &self.fit.fit.natural;
        let n = self.quantities(optimum, log_cost).into_list().len();
        let mut gradients = vec![vec![0.0; n]; natural.len()];
        for &parameter in &covariance.parameters {
            let size = natural[parameter].abs();
            let step = DIFFERENCE * if size > 0.0 { size } else { 1.0 };
            let moved = |by: f64| {
                let mut natural = natural.clone();
                natural[parameter] += by;
                self.outcome(&natural, optimum, log_cost, goal)
            };
            let (above, below) = (moved(step)?, moved(-step)?);
            gradients[parameter] = above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * step)).collect();
        }
        Some(gradients)
    }

    /// Returns the cost of the baseline for the value of an optimum over the cost of the optimum, and its interval from pairs of
    /// replicates. Infinite where the baseline never reaches the value.
    fn multiplier(&self, optimum: &Optimum, log_cost: f64, goal: Goal) -> (f64, Option<(f64, f64)>) {
        let Some(baseline) = self.baseline else { return (f64::NAN, None) };
        let AskedFit { law, source, numbers, confidence, .. } = self.fit;
        let landscape = self.landscape();
        let start = self.start(&baseline.variables);
        let from = landscape.log_cost(&baseline.natural, &start);
        let Ok(known) = landscape.best(&baseline.natural, &start, from) else { return (f64::NAN, None) };
        let ratio = |natural: &[f64], value: f64, log_cost: f64| {
            let Ok(at) = landscape.optimum(natural, &known.x, from) else { return f64::NAN };
            match landscape.at_value(natural, (&at, from), value) {
                Ok((_, of_baseline)) => scalar::exp(of_baseline - log_cost),
                Err(_) => f64::INFINITY,
            }
        };
        let estimate = ratio(&baseline.natural, optimum.value, log_cost);
        let Source::Replicates { rows, .. } = source else { return (estimate, None) };
        let width = law.parameters.len().max(1);
        let GoodRefits { numbers: others, rows: other_rows } = &baseline.refits;
        let pairs: Vec<(usize, usize)> = (numbers.iter().enumerate())
            .filter_map(|(own, number)| Some((own, others.binary_search(number).ok()?)))
            .collect();
        let row = |rows: &'_ [f64], k: usize| rows[k * width..(k + 1) * width].to_vec();
        let mut ratios: Vec<f64> = pairs
            .par_iter()
            .filter_map(|&(own, other)| {
                let (found, log_cost) = self.near(&row(rows, own), optimum, log_cost, goal)?;
                Some(ratio(&row(other_rows, other), found.value, log_cost)).filter(|ratio| !ratio.is_nan())
            })
            .collect();
        let enough = ratios.len() * 10 >= numbers.len() * 9;
        let interval = replicate_interval(estimate, &mut ratios, &[], confidence).filter(|_| enough);
        (estimate, interval.map(|(interval, _)| interval))
    }

    /// Returns the optimum of the fit for a goal and the logarithm of its cost, or else a status and why there is none.
    fn find(&self, goal: Goal) -> Result<(Optimum, f64), (&'static str, String)> {
        let fit = self.fit.fit;
        if !fit.is_trustworthy() {
            return Err(("", format!("the fit is `{}`", fit.status)));
        }
        let landscape = self.landscape();
        let start = self.start(&fit.variables);
        let from = match goal {
            Goal::Budget(budget) => scalar::ln(budget),
            Goal::Target(_) => landscape.log_cost(&fit.natural, &start),
        };
        let optimum = landscape.best(&fit.natural, &start, from).map_err(|none| match none {
            NoOptimum::Runaway => {
                let reason =
                    "the law is least where a variable runs away: at this cost there is no best point";
                ("at_edge", reason.to_string())
            }
            NoOptimum::Failed => {
                let reason = "no point of this cost was found at which the law has a value";
                ("unreachable", reason.to_string())
            }
        })?;
        let Goal::Target(target) = goal else { return Ok((optimum, from)) };
        landscape
            .at_value(&fit.natural, (&optimum, from), landscape.scale.transform(target))
            .map_err(|limit| ("unreachable", self.unreachable(target, limit)))
    }

    /// Appends the answer for one goal.
    fn answer(&self, answers: &mut AnswerTable, variables: &[&String], goal: Goal) {
        let AskedFit { law, fit, source, confidence, .. } = self.fit;
        let n = self.free.len();
        let found = self.find(goal);
        let (at, intervals) = match &found {
            Ok((optimum, log_cost)) => {
                (self.quantities(optimum, *log_cost), self.intervals(optimum, *log_cost, goal))
            }
            Err(_) => (Quantities::by_place(n, |_| f64::NAN), Quantities::by_place(n, |_| None)),
        };
        let (status, message) = match &found {
            Err((status, message)) => (*status, message.clone()),
            Ok(_) if intervals.clone().into_list().iter().any(Option::is_some) => ("optimal", String::new()),
            Ok(_) if matches!(source, Source::Nowhere) => ("optimal", NO_UNCERTAINTY.to_string()),
            Ok(_) => ("optimal", "too few replicates have an optimum, so there is no interval".to_string()),
        };
        let scale = self.landscape().scale;
        let natural =
            |scale: Scale, ends: Ends| ends.map(|(low, high)| (scale.natural(low), scale.natural(high)));

        answers.text("law", &law.name);
        answers.text("method", "law");
        answers.number("cost", if let Goal::Budget(budget) = goal { budget } else { scalar::exp(at.cost) });
        if !self.asked.targets.is_empty() {
            let cost = natural(Scale::Log, intervals.cost).filter(|_| matches!(goal, Goal::Target(_)));
            answers.interval("cost_low", "cost_high", cost);
            answers.number("target", if let Goal::Target(target) = goal { target } else { f64::NAN });
        }
        let mut factor: f64 = 1.0;
        for name in variables {
            let place = self.free.iter().position(|free| free == *name);
            let held = self.asked.hold.iter().find(|(held, _)| held == *name && law.variables.contains(name));
            let x = match place {
                Some(i) => scalar::exp(at.variables[i]),
                None => held.map_or(f64::NAN, |(_, value)| *value),
            };
            answers.number(name, x);
            let interval = place.and_then(|i| natural(Scale::Log, intervals.variables[i]));
            answers.interval(&format!("{name}_low"), &format!("{name}_high"), interval);
            answers.number(&format!("{name}_exponent"), place.map_or(f64::NAN, |i| at.exponents[i]));
            let interval = place.and_then(|i| intervals.exponents[i]);
            answers.interval(&format!("{name}_exponent_low"), &format!("{name}_exponent_high"), interval);
            if let Some(i) = law.variables.iter().position(|v| v == *name) {
                factor = factor.max(fit.variables.get(i).map_or(f64::NAN, |range| extrapolation(x, *range)));
            }
        }
        answers.number("prediction", scale.natural(at.value));
        answers.interval("ci_low", "ci_high", natural(scale, intervals.value));
        answers.number("tokens_per_parameter", scalar::exp(at.tokens_per_parameter));
        let ends = natural(Scale::Log, intervals.tokens_per_parameter);
        answers.interval("tokens_per_parameter_low", "tokens_per_parameter_high", ends);
        if self.asked.relative_to.is_some() {
            let multiplier = match &found {
                Ok((optimum, log_cost)) => self.multiplier(optimum, *log_cost, goal),
                Err(_) => (f64::NAN, None),
            };
            answers.number("multiplier", multiplier.0);
            answers.interval("multiplier_low", "multiplier_high", multiplier.1);
        }
        answers.number("confidence", confidence);
        answers.number("extrapolation", if found.is_ok() { factor } else { f64::NAN });
        answers.text("status", status);
        answers.text("message", &message);
    }

    /// Returns why a value is not reached, given the value that the law tends to as the cost grows.
    fn unreachable(&self, target: f64, limit: f64) -> String {
        let AskedFit { law, fit, .. } = self.fit;
        let limit = self.landscape().scale.natural(limit);
        let is_limit = |value: f64| (value / limit - 1.0).abs() < 1e-3;
        let floor = (0..law.parameters.len()).find(|&i| is_limit(fit.natural[i]));
        let Some(floor) = floor else {
            return format!("the law tends to {limit:.4} as the cost grows, which is above {target}");
        };
        let name = &law.parameters[floor].name;
        let interval = fit.intervals.get(floor).copied().flatten();
        let interval = interval.map_or_else(String::new, |(low, high)| format!(" ({low:.4} to {high:.4})"));
        format!("the floor {name} = {:.4}{interval} is above {target}", fit.natural[floor])
    }
}
