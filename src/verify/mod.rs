//! The engine against answers that come from elsewhere: the command to run on a new machine.
//!
//! | file | its one idea |
//! | --- | --- |
//! | this one | what a check has to say, and the targets that they must meet together |
//! | [`nist`] | problems whose answers NIST has certified |
//! | [`cases`] | data for every law of the catalogue |
//! | [`self_tests`] | every law of the catalogue on data of its own |
//! | [`derivatives`] | every law's derivatives against differences in 256-bit arithmetic |
//! | [`precise`] | that arithmetic |

pub mod cases;
pub mod derivatives;
pub mod nist;
pub mod precise;
pub mod self_tests;

use crate::error::Error;
use std::time::Duration;

use crate::optimize::Status;

/// The outcomes of one kind of check.
#[derive(Clone, Debug)]
pub struct Section {
    pub check: &'static str,
    /// What is compared with what, in a line.
    pub about: &'static str,
    pub outcomes: Vec<CaseOutcome>,
    /// Targets for all outcomes together that were missed, in sentences.
    pub missed: Vec<String>,
}

/// What one check found.
#[derive(Clone, Debug)]
pub struct CaseOutcome {
    /// The problem's or law's name.
    pub problem: String,
    /// Where a fit began, or which case of a law it is.
    pub case: &'static str,
    /// Digits right of what was compared.
    pub digits: Vec<(Quantity, f64)>,
    /// Of the fit, where there is one.
    pub status: Option<Status>,
    /// Evaluations of the start that won, the finish included.
    pub evaluations: Option<u32>,
    pub time: Duration,
    /// What falls below its floor, in a sentence.
    pub failure: Option<String>,
}

/// What is compared. Digits are the log relative error of the worst entry, between 0 and 11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    Parameters,
    StandardDeviations,
    ResidualSumOfSquares,
    Curve,
    FirstDerivatives,
    SecondDerivatives,
    /// Derivatives of the natural parameters with respect to the solver's coordinates.
    Coordinates,
}

impl Quantity {
    pub const ALL: [Quantity; 7] = [
        Quantity::Parameters,
        Quantity::StandardDeviations,
        Quantity::ResidualSumOfSquares,
        Quantity::Curve,
        Quantity::FirstDerivatives,
        Quantity::SecondDerivatives,
        Quantity::Coordinates,
    ];

    /// At the head of the printed table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Quantity::Parameters => "parameters",
            Quantity::StandardDeviations => "std. dev.",
            Quantity::ResidualSumOfSquares => "RSS",
            Quantity::Curve => "curve",
            Quantity::FirstDerivatives => "first derivatives",
            Quantity::SecondDerivatives => "second",
            Quantity::Coordinates => "coordinates",
        }
    }

    /// Its column in the written table.
    #[must_use]
    pub fn column(self) -> &'static str {
        match self {
            Quantity::Parameters => "digits_parameters",
            Quantity::StandardDeviations => "digits_std_dev",
            Quantity::ResidualSumOfSquares => "digits_rss",
            Quantity::Curve => "digits_curve",
            Quantity::FirstDerivatives => "digits_first",
            Quantity::SecondDerivatives => "digits_second",
            Quantity::Coordinates => "digits_coordinates",
        }
    }
}

impl CaseOutcome {
    #[must_use]
    pub fn digits_of(&self, quantity: Quantity) -> Option<f64> {
        self.digits.iter().find(|(q, _)| *q == quantity).map(|(_, digits)| *digits)
    }
}

/// The first of some digits that is below its floor, in a sentence.
fn below(digits: &[(Quantity, f64)], floor: impl Fn(Quantity) -> f64) -> Option<String> {
    digits.iter().find(|(quantity, got)| !(*got >= floor(*quantity))).map(|&(quantity, got)| {
        format!("{got:.1} digits of the {}, {:.1} are wanted", quantity.name(), floor(quantity))
    })
}

/// All checks.
pub fn run() -> Result<Vec<Section>, Error> {
    Ok(vec![
        nist::from_official_starts()?,
        nist::without_a_start()?,
        self_tests::self_tests()?,
        derivatives::derivatives()?,
    ])
}

/// The error that the built-in problems cannot be read, which would be a defect.
fn fault(reason: String) -> Error {
    Error::Internal { context: "the built-in problems".to_string(), reason }
}

/// How many outcomes have at least so many digits of the parameters.
#[must_use]
pub fn reaching(outcomes: &[CaseOutcome], digits: f64) -> usize {
    outcomes.iter().filter(|o| o.digits_of(Quantity::Parameters).is_some_and(|d| d >= digits)).count()
}

/// The log relative error: digits in which `got` agrees with `expected`, between 0 and 11.
fn digits(got: f64, expected: f64) -> f64 {
    let error = if expected == 0.0 { got.abs() } else { ((got - expected) / expected).abs() };
    if error.is_nan() { 0.0 } else { (-error.log10()).clamp(0.0, MOST_DIGITS) }
}

/// The digits that NIST gives.
const MOST_DIGITS: f64 = 11.0;

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

    #[test]
    fn what_is_below_its_floor_is_said() {
        let got = [(Quantity::Parameters, 6.5), (Quantity::StandardDeviations, f64::NAN)];
        assert_eq!(below(&got[..1], |_| 6.0), None);
        assert!(below(&got, |_| 6.0).is_some_and(|why| why.contains("std. dev.")));
        assert!(below(&got, |_| 7.0).is_some_and(|why| why.contains("6.5 digits of the parameters")));
    }
}
