//! Every law of the catalogue recovers its own parameters.
//!
//! The data of a case is the law's formula at published (or plausible) parameters, computed in 256-bit arithmetic and
//! rounded to float64: without noise, and without the compiled program that is fitted to it. The fit is what
//! `sweepfit fit --law NAME` does, with the law's own residual space, loss and starts.

use std::time::Instant;

use astro_float_num::{BigFloat, Consts};
use rayon::prelude::*;

use crate::formula::{Expr, ExprKind};
use crate::law::{Law, Residual};
use crate::optimize::{self, Models, Status, Workspace};
use crate::problem::{Loss, bind_columns};

use super::cases::{Case, Wanted, cases};
use super::precise::{At, HERE, PreciseLaw, number, to_f64};
use super::{CaseOutcome, Quantity, Section, below, digits, fault};
use crate::error::Error;

/// One fit per law of the catalogue.
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

/// The law's predictions at its true parameters.
fn response(law: &Law, truth: &[f64], columns: &[Vec<f64>]) -> Result<Vec<f64>, Error> {
    let data = |error: String| fault(format!("{}: {error}", law.name));
    let precise = PreciseLaw::in_parameters(law).map_err(|e| data(e.to_string()))?;
    let mut constants = Consts::new().map_err(|e| data(format!("{e:?}")))?;
    let steps: Vec<BigFloat> = truth.iter().map(|_| number(0.0)).collect();
    let rows = columns.first().map_or(0, Vec::len);
    Ok((0..rows)
        .map(|row| {
            let variables: Vec<f64> = columns.iter().map(|column| column[row]).collect();
            to_f64(&At::new(&precise, truth, &steps, &variables, &mut constants).prediction(HERE))
        })
        .collect())
}

fn self_test(case: &Case, law: &Law) -> Result<CaseOutcome, Error> {
    let truth = case.truth(law);
    let columns = case.columns(law);
    let response = response(law, &truth, &columns)?;
    let mut named: Vec<(&str, &[f64])> = vec![(RESPONSE, &response)];
    named.extend(law.variables.iter().map(String::as_str).zip(columns.iter().map(Vec::as_slice)));

    let begun = Instant::now();
    let residual = law.residual;
    let models = Models::compile(law.clone(), residual);
    // What stands on the law's left side is what it predicts.
    let left = Expr::new(ExprKind::Name(RESPONSE.to_string()), 0..0);
    let (problem, rejected) = bind_columns(law, models.full(), &left, Loss::L2, &named);
    let fit = optimize::fit(&models, problem, &optimize::FitOptions::default(), &mut Workspace::default());
    let time = begun.elapsed();

    let (right, floor) = match case.digits {
        Wanted::Parameters(floor) => {
            let digits = fit.natural.iter().zip(&truth).map(|(&got, &truth)| digits(got, truth));
            ((Quantity::Parameters, digits.fold(f64::INFINITY, f64::min)), floor)
        }
        Wanted::Curve(floor) => {
            let rows = fit.solution.as_ref().map_or(&[][..], |s| s.rows.residual.as_slice());
            let size = match residual {
                Residual::Log => 1.0,
                Residual::Linear => mean_square(&response).sqrt(),
            };
            ((Quantity::Curve, digits(1.0 + mean_square(rows).sqrt() / size, 1.0)), floor)
        }
    };
    let right = vec![right];
    let failure = if !rejected.is_empty() {
        Some(format!("{} observations were rejected", rejected.len()))
    } else if matches!(case.digits, Wanted::Parameters(_)) && fit.status != Status::Converged {
        Some(format!("{}: {}", fit.status.name(), fit.message))
    } else {
        below(&right, |_| floor)
    };
    Ok(CaseOutcome {
        problem: law.name.clone(),
        case: residual_name(residual),
        digits: right,
        status: Some(fit.status),
        evaluations: Some(fit.iterations),
        time,
        failure,
    })
}

/// No name of the catalogue ends so.
const RESPONSE: &str = "response_";

fn residual_name(residual: Residual) -> &'static str {
    match residual {
        Residual::Log => "log",
        Residual::Linear => "linear",
    }
}

/// NaN where there is nothing.
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
