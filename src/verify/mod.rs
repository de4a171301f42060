//! The engine against problems whose answers others have certified.
//!
//! The nonlinear problems of NIST's Statistical Reference Datasets (`fixtures/nist_strd.json`, public domain)
//! are written as laws of the formula language and fitted from each of NIST's two starts alone, and without any
//! start. This is the command to run on a new machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::formula::parse_formula;
use crate::infer;
use crate::law::{Law, Residual};
use crate::problem::{Loss, bind_columns};
use crate::solve::{self, Batch, Models, Status};

const NIST: &str = include_str!("../../fixtures/nist_strd.json");

/// A problem as the fixture holds it.
#[derive(Debug, Deserialize)]
struct Problem {
    name: String,
    law: String,
    parameters: Vec<String>,
    columns: BTreeMap<String, Vec<f64>>,
    start_1: Vec<f64>,
    start_2: Vec<f64>,
    certified: Vec<f64>,
    standard_deviations: Vec<f64>,
    residual_sum_of_squares: f64,
}

/// Where a fit began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// NIST's first start, the harder one.
    First,
    /// NIST's second start.
    Second,
    /// The engine's own multi-start.
    Own,
}

impl Start {
    pub fn name(self) -> &'static str {
        match self {
            Start::First => "1",
            Start::Second => "2",
            Start::Own => "own",
        }
    }
}

/// One problem from one start.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub problem: String,
    pub start: Start,
    /// Digits right in the worst parameter; log relative error, at most 11, the digits NIST gives.
    pub digits: f64,
    /// Digits right in the worst standard deviation.
    pub digits_deviation: f64,
    /// Digits right in the residual sum of squares.
    pub digits_sum: f64,
    pub status: Status,
    pub iterations: u32,
    pub time: Duration,
    /// What `digits` must reach.
    pub floor: f64,
}

impl Outcome {
    pub fn holds(&self) -> bool {
        self.digits >= self.floor
    }
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the built-in problems cannot be read: {0}")]
    Data(String),
}

/// Problems, by name and start, that the engine is known not to reach; everything else must reach
/// [`FLOOR`] digits.
const KNOWN_MISSES: [(&str, Start); 1] = [("MGH10", Start::First)];

/// Digits that a fit from one of NIST's starts must reach.
const FLOOR: f64 = 6.0;

/// Runs all problems from the given kinds of start.
pub fn nist(starts: &[Start]) -> Result<Vec<Outcome>, VerifyError> {
    let problems: Vec<Problem> =
        serde_json::from_str(NIST).map_err(|error| VerifyError::Data(error.to_string()))?;
    let mut outcomes = Vec::new();
    for problem in &problems {
        for &start in starts {
            outcomes.push(run(problem, start)?);
        }
    }
    Ok(outcomes)
}

fn run(problem: &Problem, start: Start) -> Result<Outcome, VerifyError> {
    let data = |error: String| VerifyError::Data(format!("{}: {error}", problem.name));
    let formula = parse_formula(&problem.law).map_err(|e| data(e.to_string()))?;
    let names: Vec<String> = problem.columns.keys().cloned().collect();
    let law = Law::from_formula(formula, &names).map_err(|e| data(e.to_string()))?;
    let columns: Vec<(&str, &[f64])> =
        problem.columns.iter().map(|(name, values)| (name.as_str(), values.as_slice())).collect();

    let begun = Instant::now();
    let models = Models::compile(law.clone(), Residual::Linear);
    let (bound, _) = bind_columns(&law, models.full(), &law.response, Loss::L2, &columns);
    let given = match start {
        Start::First => Some(&problem.start_1),
        Start::Second => Some(&problem.start_2),
        Start::Own => None,
    };
    let options = solve::Options {
        starts: given.map(|_| 1),
        user_start: given
            .map(|values| problem.parameters.iter().cloned().zip(values.iter().copied()).collect())
            .unwrap_or_default(),
        ..solve::Options::default()
    };
    let fit = solve::fit(&models, bound, &options, &mut Batch::default());
    let inference = infer::Options {
        bootstrap: 0,
        resample: infer::Resample::Pairs,
        confidence: 0.95,
        seed: 0,
        absolute_sigma: false,
    };
    let estimates = infer::estimates(&law, &fit, None, &inference);
    let time = begun.elapsed();

    let worst = |value: &dyn Fn(usize) -> Option<f64>, certified: &[f64]| {
        problem
            .parameters
            .iter()
            .zip(certified)
            .map(|(name, &certified)| {
                let got = law.parameter(name).and_then(value);
                got.map_or(0.0, |got| digits(got, certified))
            })
            .fold(f64::INFINITY, f64::min)
    };
    let known_miss = KNOWN_MISSES.contains(&(problem.name.as_str(), start));
    Ok(Outcome {
        problem: problem.name.clone(),
        start,
        digits: worst(&|i| Some(estimates.parameters[i].estimate), &problem.certified),
        digits_deviation: worst(&|i| estimates.parameters[i].std_error, &problem.standard_deviations),
        digits_sum: digits(2.0 * fit.objective(), problem.residual_sum_of_squares),
        status: fit.status,
        iterations: fit.iterations,
        time,
        floor: if known_miss || start == Start::Own { 0.0 } else { FLOOR },
    })
}

/// The log relative error: digits in which `got` agrees with `certified`, between 0 and 11.
fn digits(got: f64, certified: f64) -> f64 {
    let error = if certified == 0.0 { got.abs() } else { ((got - certified) / certified).abs() };
    if error.is_nan() { 0.0 } else { (-error.log10()).clamp(0.0, 11.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_count_what_agrees() {
        assert_eq!(digits(1.0, 1.0), 11.0);
        assert!((digits(1.001, 1.0) - 3.0).abs() < 1e-9);
        assert_eq!(digits(-1.0, 1.0), 0.0);
        assert_eq!(digits(f64::NAN, 1.0), 0.0);
    }

    /// NIST's certified values, from each of its starts alone.
    #[test]
    fn nist_problems_reach_their_floors() {
        let outcomes = nist(&[Start::First, Start::Second]).unwrap();
        assert_eq!(outcomes.len(), 54);
        for outcome in outcomes {
            assert!(outcome.holds(), "{outcome:?}");
        }
    }
}
