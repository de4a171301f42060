//! Checks the fits and derivatives of the machine it runs on against reference answers (`sweepfit verify`).
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | outcomes of checks, and agreement in digits |
//! | [`nist`] | nonlinear regression problems with certified answers |
//! | [`cases`] | synthetic data for every law of the catalogue |
//! | [`self_tests`] | recovery of each law's parameters from its synthetic data |
//! | [`derivatives`] | derivatives of the compiled laws against finite differences in 256-bit arithmetic |
//! | [`precise`] | evaluation of a law in 256-bit arithmetic |
//!
//! The folder knows nothing of jobs, files or terminals: the command line prints and writes the outcomes.

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
    /// The word for the check in the column `check`.
    pub check: &'static str,
    /// The title of the printed table: what is compared, and with what.
    pub about: &'static str,
    /// One outcome per case.
    pub outcomes: Vec<CaseOutcome>,
    /// Sentences about targets for the section as a whole that were missed.
    pub missed: Vec<String>,
}

/// The outcome of one case.
#[derive(Clone, Debug)]
pub struct CaseOutcome {
    /// The name of the problem or law.
    pub problem: String,
    /// The start of the fit, the residual space, or the origin of the law, depending on the check.
    pub case: &'static str,
    /// Correct digits of each quantity that was compared.
    pub digits: Vec<(Quantity, f64)>,
    /// The status of the fit; `None` where the check fits nothing.
    pub status: Option<Status>,
    /// Iterations of the search that found the point, those of the reference solver included.
    pub evaluations: Option<u32>,
    /// Wall-clock time.
    pub time: Duration,
    /// A sentence about the first quantity with fewer digits than are required.
    pub failure: Option<String>,
}

/// A quantity that is compared with its reference. Its digits are those of its worst entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Parameters in natural units.
    Parameters,
    /// Standard errors of the parameters, which NIST calls standard deviations.
    StandardDeviations,
    /// The residual sum of squares.
    ResidualSumOfSquares,
    /// Residuals on data without noise, as a root mean square.
    Curve,
    /// First derivatives of the transformed prediction with respect to the solver's coordinates.
    FirstDerivatives,
    /// Second derivatives of the transformed prediction with respect to the solver's coordinates.
    SecondDerivatives,
    /// Derivatives of the natural parameters with respect to the solver's coordinates.
    Coordinates,
}

impl Quantity {
    /// All quantities, in the order of the tables.
    pub const ALL: [Quantity; 7] = [
        Quantity::Parameters,
        Quantity::StandardDeviations,
        Quantity::ResidualSumOfSquares,
        Quantity::Curve,
        Quantity::FirstDerivatives,
        Quantity::SecondDerivatives,
        Quantity::Coordinates,
    ];

    /// Returns the header of the quantity's column in the printed table.
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

    /// Returns the name of the quantity's column in the Parquet table.
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
    /// Returns the correct digits of a quantity, if it was compared.
    #[must_use]
    pub fn digits_of(&self, quantity: Quantity) -> Option<f64> {
        self.digits.iter().find(|(q, _)| *q == quantity).map(|(_, digits)| *digits)
    }
}

/// Returns a sentence about the first quantity that has fewer digits than are required, or NaN.
fn shortfall(digits: &[(Quantity, f64)], required: impl Fn(Quantity) -> f64) -> Option<String> {
    digits.iter().find(|(quantity, got)| !(*got >= required(*quantity))).map(|&(quantity, got)| {
        format!("{got:.1} digits of the {}, but {:.1} are required", quantity.name(), required(quantity))
    })
}

/// Runs all checks.
///
/// # Errors
/// If the built-in problems cannot be read, which is a defect of this crate. A missed target is no error.
pub fn run() -> Result<Vec<Section>, Error> {
    Ok(vec![
        nist::from_official_starts()?,
        nist::without_a_start()?,
        self_tests::self_tests()?,
        derivatives::derivatives()?,
    ])
}

/// Returns the error that the built-in problems cannot be read, which is a defect of this crate.
fn defect(reason: String) -> Error {
    Error::Internal { context: "the built-in problems".to_string(), reason }
}

/// Returns the number of outcomes with at least `digits` correct digits of the parameters.
#[must_use]
pub fn count_with_digits(outcomes: &[CaseOutcome], digits: f64) -> usize {
    outcomes.iter().filter(|o| o.digits_of(Quantity::Parameters).is_some_and(|d| d >= digits)).count()
}

/// Returns the number of digits in which `got` agrees with `expected`, between 0 and 11: the log relative error
/// (McCullough 1998, The American Statistician 52(4)).
fn agreeing_digits(got: f64, expected: f64) -> f64 {
    let error = if expected == 0.0 { got.abs() } else { ((got - expected) / expected).abs() };
    if error.is_nan() { 0.0 } else { (-error.log10()).clamp(0.0, CERTIFIED_DIGITS) }
}

/// The number of digits that NIST certifies.
const CERTIFIED_DIGITS: f64 = 11.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreeing_digits_are_the_log_relative_error() {
        assert_eq!(agreeing_digits(1.0, 1.0), 11.0);
        assert!((agreeing_digits(1.001, 1.0) - 3.0).abs() < 1e-9);
        assert_eq!(agreeing_digits(-1.0, 1.0), 0.0);
        assert_eq!(agreeing_digits(f64::NAN, 1.0), 0.0);
    }

    #[test]
    fn shortfall_names_the_quantity() {
        let got = [(Quantity::Parameters, 6.5), (Quantity::StandardDeviations, f64::NAN)];
        assert_eq!(shortfall(&got[..1], |_| 6.0), None);
        assert!(shortfall(&got, |_| 6.0).is_some_and(|why| why.contains("std. dev.")));
        assert!(shortfall(&got, |_| 7.0).is_some_and(|why| why.contains("6.5 digits of the parameters")));
    }
}
