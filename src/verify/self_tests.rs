//! Fits every law of the catalogue to data computed from the law, and compares the estimates with the true parameters.
//!
//! The responses are the law's formula at published or plausible parameters, evaluated in 256-bit arithmetic and
//! rounded to float64. They have no noise and do not depend on the compiled program that is fitted to them. The fit
//! uses least squares in the law's own residual space, with default starts.

use std::time::Instant;

use astro_float_num::{BigFloat, Consts};
use rayon::prelude::*;

use crate::formula::{Expr, ExprKind};
use crate::law::{Law, Residual};
use crate::optimize::{self, Models, Status, Workspace};
use crate::problem::{Loss, bind_columns};

use super::cases::{Case, RequiredDigits, cases};
use super::precise::{PreciseEvaluation, PreciseLaw, UNDISPLACED, from_f64, to_f64};
use super::{CaseOutcome, Quantity, Section, agreeing_digits, defect, shortfall};
use crate::error::Error;

/// Fits every law of the catalogue to its case.
///
/// # Errors
/// If a case or a law cannot be read or evaluated.
pub fn self_tests() -> Result<Section, Error> {
    let outcomes: Result<Vec<CaseOutcome>, Error> =
        cases()?.par_iter().map(|(case, law)| self_test(case, law)).collect();
    Ok(Section {
        check: "self-test",
        about: "laws of the catalogue on data without noise, from their own starts",
        outcomes: outcomes?,
        missed: Vec::new(),
    })
}

/// Returns the law's predictions at its true parameters, one per row of the columns.
fn response(law: &Law, truth: &[f64], columns: &[Vec<f64>]) -> Result<Vec<f64>, Error> {
    let defect = |error: String| defect(format!("{}: {error}", law.name));
    let precise = PreciseLaw::in_parameters(law).map_err(|e| defect(e.to_string()))?;
    let mut constants = Consts::new().map_err(|e| defect(format!("{e:?}")))?;
    let steps: Vec<BigFloat> = truth.iter().map(|_| from_f64(0.0)).collect();
    let rows = columns.first().map_or(0, Vec::len);
    Ok((0..rows)
        .map(|row| {
            let variables: Vec<f64> = columns.iter().map(|column| column[row]).collect();
            to_f64(
                &PreciseEvaluation::new(&precise, truth, &steps, &variables, &mut constants)
                    .prediction(UNDISPLACED),
            )
        })
        .collect())
}

/// Fits a law to its case and compares the fit with the true parameters.
fn self_test(case: &Case, law: &Law) -> Result<CaseOutcome, Error> {
    let truth = case.truth(law);
    let columns = case.columns(law);
    let response = response(law, &truth, &columns)?;
    let mut named: Vec<(&str, &[f64])> = vec![(RESPONSE, &response)];
    named.extend(law.variables.iter().map(String::as_str).zip(columns.iter().map(Vec::as_slice)));

    let begun = Instant::now();
    let residual = law.residual;
    let models = Models::compile(law.clone(), residual);
    // The law predicts its left side as a whole, so the column holds the left side even where it is an expression.
    let left = Expr::new(ExprKind::Name(RESPONSE.to_string()), 0..0);
    let (problem, rejected) = bind_columns(law, models.full(), &left, Loss::L2, &named);
    let fit = optimize::fit(&models, problem, &optimize::FitOptions::default(), &mut Workspace::default());
    let time = begun.elapsed();

    let (quantity, digits, required) = match case.digits {
        RequiredDigits::Parameters(required) => {
            let digits = fit.natural.iter().zip(&truth).map(|(&got, &truth)| agreeing_digits(got, truth));
            (Quantity::Parameters, digits.fold(f64::INFINITY, f64::min), required)
        }
        RequiredDigits::Curve(required) => {
            let rows = fit.solution.as_ref().map_or(&[][..], |s| s.rows.residual.as_slice());
            let size = match residual {
                Residual::Log => 1.0,
                Residual::Linear => mean_square(&response).sqrt(),
            };
            (Quantity::Curve, agreeing_digits(1.0 + mean_square(rows).sqrt() / size, 1.0), required)
        }
    };
    let digits = vec![(quantity, digits)];
    let failure = if !rejected.is_empty() {
        Some(format!("{} observations were rejected", rejected.len()))
    } else if quantity == Quantity::Parameters && fit.status != Status::Converged {
        Some(format!("{}: {}", fit.status.name(), fit.message))
    } else {
        shortfall(&digits, |_| required)
    };
    Ok(CaseOutcome {
        problem: law.name.clone(),
        case: residual_name(residual),
        digits,
        status: Some(fit.status),
        evaluations: Some(fit.iterations),
        time,
        failure,
    })
}

/// The name of the response's column; no name in the catalogue ends with an underscore.
const RESPONSE: &str = "response_";

/// Returns the word for a residual space in the column `case`.
fn residual_name(residual: Residual) -> &'static str {
    match residual {
        Residual::Log => "log",
        Residual::Linear => "linear",
    }
}

/// Returns the mean of the squared values; NaN for no values.
fn mean_square(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_law_recovers_its_own_parameters() {
        let section = self_tests().unwrap();
        assert!(section.outcomes.len() >= 32);
        for outcome in &section.outcomes {
            assert_eq!(outcome.failure, None, "{outcome:?}");
        }
    }
}
