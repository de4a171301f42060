//! The nonlinear problems of NIST's Statistical Reference Datasets (`fixtures/nist_strd.json`, public domain),
//! written as laws of the formula language.
//!
//! Each problem is fitted from each of NIST's two starts alone, as `sweepfit fit --starts 1 --start …` does, and by the
//! multi-start without a given start. The certified values have eleven digits.
//!
//! Some laws have several parameter vectors with equal predictions, because terms are exchangeable or a sign is squared
//! away. NIST certifies the one near its starts; a fit without a given start may find another. The fixture lists
//! generators of these symmetries, each a signed permutation of the parameters. The digits of a fit without a given
//! start are those of its best image under the symmetries.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;

use crate::formula::{counted, parse_formula};
use crate::infer;
use crate::law::{Law, Residual};
use crate::optimize::{self, Models, Workspace, Workspaces};
use crate::problem::{Loss, bind_columns};

use super::{CaseOutcome, Quantity, Section, agreeing_digits, count_with_digits, defect, shortfall};
use crate::error::Error;

const NIST: &str = include_str!("../../fixtures/nist_strd.json");

/// The digits that every fit must reach, of the parameters and of the standard deviations.
const REQUIRED_DIGITS: f64 = 6.0;

/// Pairs of a number of digits and the number of fits that must reach it in the parameters, of the 54 fits from NIST's
/// starts.
const TARGETS: [(f64, usize); 3] = [(6.0, 54), (8.0, 54), (10.0, 50)];
/// The targets of the 27 fits without a given start.
const TARGETS_WITHOUT_START: [(f64, usize); 3] = [(6.0, 27), (8.0, 27), (10.0, 25)];

/// A problem of the fixture. Vectors are in the order of `parameters`, in natural units.
#[derive(Debug, Deserialize)]
pub struct NistProblem {
    /// NIST's name of the problem.
    pub name: String,
    /// The formula.
    pub law: String,
    /// The parameters' names, in NIST's order.
    pub parameters: Vec<String>,
    /// Signed permutations that leave the predictions unchanged: per position the parameter that moves there, with `-`
    /// before its name where its sign changes.
    #[serde(default)]
    pub symmetries: Vec<Vec<String>>,
    /// The data, by column name.
    pub columns: BTreeMap<String, Vec<f64>>,
    /// NIST's first start.
    pub start_1: Vec<f64>,
    /// NIST's second start.
    pub start_2: Vec<f64>,
    /// The certified estimates.
    pub certified: Vec<f64>,
    /// The certified standard deviations of the estimates.
    pub standard_deviations: Vec<f64>,
    /// The certified residual sum of squares.
    pub residual_sum_of_squares: f64,
}

/// The start of a fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// NIST's first start, the harder one.
    First,
    /// NIST's second start.
    Second,
    /// No given start: the multi-start.
    Own,
}

impl Start {
    /// Returns the word for the start in the column `case`.
    fn name(self) -> &'static str {
        match self {
            Start::First => "1",
            Start::Second => "2",
            Start::Own => "own",
        }
    }
}

/// Returns the 27 problems.
///
/// # Errors
/// If the fixture does not parse.
pub fn problems() -> Result<Vec<NistProblem>, Error> {
    serde_json::from_str(NIST).map_err(|error| defect(error.to_string()))
}

/// Fits every problem from each of NIST's two starts alone.
///
/// # Errors
/// If the fixture or a formula in it does not parse.
pub fn from_official_starts() -> Result<Section, Error> {
    let outcomes = fits(&[Start::First, Start::Second])?;
    let missed = missed_targets(&outcomes, &TARGETS);
    let about = "NIST's nonlinear problems, each official start alone";
    Ok(Section { check: "nist", about, outcomes, missed })
}

/// Fits every problem by the multi-start, without a given start.
///
/// # Errors
/// If the fixture or a formula in it does not parse.
pub fn without_a_start() -> Result<Section, Error> {
    let outcomes = fits(&[Start::Own])?;
    let missed = missed_targets(&outcomes, &TARGETS_WITHOUT_START);
    let about = "NIST's nonlinear problems, no start given, up to the law's symmetries";
    Ok(Section { check: "nist", about, outcomes, missed })
}

/// Fits every problem from each of the starts.
fn fits(starts: &[Start]) -> Result<Vec<CaseOutcome>, Error> {
    let mut outcomes = Vec::new();
    for problem in &problems()? {
        for &start in starts {
            outcomes.push(fit(problem, start)?);
        }
    }
    Ok(outcomes)
}

/// Returns a sentence for every target that the outcomes miss.
fn missed_targets(outcomes: &[CaseOutcome], targets: &[(f64, usize)]) -> Vec<String> {
    targets
        .iter()
        .map(|&(digits, required)| (digits, required, count_with_digits(outcomes, digits)))
        .filter(|&(_, required, count)| count < required)
        .map(|(digits, required, count)| {
            format!("{digits} digits are reached by {}, but required of {required}", counted(count, "fit"))
        })
        .collect()
}

impl NistProblem {
    /// Returns the law of the problem's formula.
    ///
    /// # Errors
    /// If the formula does not parse or does not fit the columns.
    pub fn law(&self) -> Result<Law, Error> {
        let defect = |error: String| defect(format!("{}: {error}", self.name));
        let formula = parse_formula(&self.law).map_err(|e| defect(e.to_string()))?;
        let names: Vec<String> = self.columns.keys().cloned().collect();
        Law::from_formula(formula, &names).map_err(|e| defect(e.to_string()))
    }

    /// Returns the group that the symmetries generate, the identity first. An element holds, per position, the position
    /// of the parameter that moves there and its sign.
    fn images(&self) -> Result<Vec<Vec<(usize, f64)>>, Error> {
        let mut generators = Vec::new();
        for symmetry in &self.symmetries {
            let image: Option<Vec<(usize, f64)>> = symmetry
                .iter()
                .map(|name| {
                    let (sign, name) =
                        name.strip_prefix('-').map_or((1.0, name.as_str()), |rest| (-1.0, rest));
                    self.parameters.iter().position(|p| p == name).map(|place| (place, sign))
                })
                .collect();
            let image = image.filter(|image| image.len() == self.parameters.len());
            let unknown = || defect(format!("{}: a symmetry names other parameters", self.name));
            generators.push(image.ok_or_else(unknown)?);
        }
        let mut images: Vec<Vec<(usize, f64)>> =
            vec![(0..self.parameters.len()).map(|place| (place, 1.0)).collect()];
        let mut next = 0;
        while next < images.len() {
            for generator in &generators {
                let image = generator.iter().map(|&(place, sign)| {
                    let (from, first) = images[next][place];
                    (from, sign * first)
                });
                let image: Vec<(usize, f64)> = image.collect();
                if !images.contains(&image) {
                    images.push(image);
                }
            }
            next += 1;
        }
        Ok(images)
    }

    /// Returns the number of digits of the residuals that survive the rounding of the responses to float64. The
    /// residuals of Lanczos1 are near 1e-13 of the responses: about three digits survive.
    fn residual_digits(&self) -> f64 {
        let response = self.columns.get("y").map_or(&[][..], Vec::as_slice);
        let largest = response.iter().fold(0.0_f64, |m, y| m.max(y.abs()));
        let typical = (self.residual_sum_of_squares / response.len() as f64).sqrt();
        (typical / (f64::EPSILON * largest)).log10()
    }
}

/// Fits a problem and compares the fit with the certified values.
fn fit(problem: &NistProblem, start: Start) -> Result<CaseOutcome, Error> {
    let law = problem.law()?;
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
    let options = optimize::FitOptions {
        asked: optimize::Asked::Verdict,
        starts: given.map(|_| 1),
        user_start: given
            .map(|values| problem.parameters.iter().cloned().zip(values.iter().copied()).collect())
            .unwrap_or_default(),
        ..optimize::FitOptions::default()
    };
    let mut workspace = Workspace::default();
    let fit = optimize::fit(&models, bound, &options, &mut workspace);
    // NIST's cases have standard errors and no intervals.
    let interval = Some(infer::IntervalMethod::T);
    let inference = infer::InferenceOptions { bootstrap: 0, interval, ..infer::InferenceOptions::default() };
    let mut estimates = Vec::new();
    let workspaces = Workspaces::default();
    let mut context = infer::Context::silent(&workspaces, &mut workspace);
    infer::infer(&models, &fit, &[], &inference, &mut context, &mut estimates);
    let time = begun.elapsed();

    let found: Vec<(f64, f64)> = problem
        .parameters
        .iter()
        .map(|name| {
            law.parameter(name).map_or((f64::NAN, f64::NAN), |i| {
                let parameter = &estimates[i];
                (parameter.estimate, parameter.std_error.unwrap_or(f64::NAN))
            })
        })
        .collect();
    let worst = |got: &dyn Fn(usize) -> f64, certified: &[f64]| {
        certified.iter().enumerate().map(|(i, &c)| agreeing_digits(got(i), c)).fold(f64::INFINITY, f64::min)
    };
    // NIST's starts must lead to the certified values themselves, not to an image.
    let images = if start == Start::Own { problem.images()? } else { problem.images()?[..1].to_vec() };
    let (parameter_digits, deviation_digits) = images
        .iter()
        .map(|image| {
            let estimate = |i: usize| image[i].1 * found[image[i].0].0;
            let deviation = |i: usize| found[image[i].0].1;
            (worst(&estimate, &problem.certified), worst(&deviation, &problem.standard_deviations))
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap_or((0.0, 0.0));

    let sum_digits = agreeing_digits(2.0 * fit.objective(), problem.residual_sum_of_squares);
    let digits = vec![
        (Quantity::Parameters, parameter_digits),
        (Quantity::StandardDeviations, deviation_digits),
        (Quantity::ResidualSumOfSquares, sum_digits),
    ];
    let required = |quantity| match quantity {
        Quantity::Parameters => REQUIRED_DIGITS,
        _ => REQUIRED_DIGITS.min(problem.residual_digits()),
    };
    let failure = shortfall(&digits, required);
    Ok(CaseOutcome {
        problem: problem.name.clone(),
        case: start.name(),
        digits,
        status: Some(fit.status),
        evaluations: Some(fit.iterations),
        time,
        failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::{Column, Table, evaluate};
    use crate::verify::cases::CaseDraws;

    #[test]
    fn official_starts_lead_to_certified_values() {
        let section = from_official_starts().unwrap();
        assert_eq!(section.outcomes.len(), 54);
        assert_passes(&section);
    }

    #[test]
    fn multi_start_finds_certified_values_or_an_image() {
        let section = without_a_start().unwrap();
        assert_eq!(section.outcomes.len(), 27);
        assert_passes(&section);
    }

    fn assert_passes(section: &Section) {
        for outcome in &section.outcomes {
            assert_eq!(outcome.failure, None, "{outcome:?}");
        }
        assert_eq!(section.missed, Vec::<String>::new());
    }

    /// The law is evaluated as written, not compiled.
    #[test]
    fn symmetries_leave_predictions_unchanged() {
        let mut with_symmetries = 0;
        for problem in problems().unwrap() {
            let law = problem.law().unwrap();
            let n = problem.columns["y"].len();
            let curve = |parameters: &[f64]| -> Vec<f64> {
                let mut table = Table::new(n);
                for (name, values) in &problem.columns {
                    table.push_numbers(name, values.clone());
                }
                for (name, &value) in problem.parameters.iter().zip(parameters) {
                    table.push_numbers(name, vec![value; n]);
                }
                match evaluate(&law.prediction, &table).unwrap() {
                    Column::Number { values, .. } => values,
                    other => panic!("{other:?}"),
                }
            };
            let images = problem.images().unwrap();
            with_symmetries += usize::from(images.len() > 1);
            let certified = curve(&problem.certified);
            let size = certified.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            for image in images {
                let parameters: Vec<f64> =
                    image.iter().map(|&(from, sign)| sign * problem.certified[from]).collect();
                for (a, b) in certified.iter().zip(curve(&parameters)) {
                    assert!((a - b).abs() <= 1e-12 * size, "{}: {image:?}: {a} or {b}", problem.name);
                }
            }
        }
        assert_eq!(with_symmetries, 9);
    }

    /// Convergence on MGH10, an ill-conditioned problem, does not hinge on the exact start: starts within 30 % of
    /// NIST's first one lead to the certified values.
    #[test]
    fn mgh10_converges_from_starts_near_the_official_one() {
        let mut problem = problems().unwrap().into_iter().find(|p| p.name == "MGH10").unwrap();
        let official = problem.start_1.clone();
        let mut draws = CaseDraws::new(7);
        for _ in 0..20 {
            problem.start_1 = official.iter().map(|x| x * (0.7 + 0.6 * draws.uniform())).collect();
            let outcome = fit(&problem, Start::First).unwrap();
            assert_eq!(outcome.failure, None, "{:?}: {outcome:?}", problem.start_1);
        }
    }

    /// The orders follow from the laws: six for the orders of three exchangeable terms (Lanczos1), two for two terms
    /// (MGH17), one without a symmetry (Misra1a).
    #[test]
    fn symmetry_groups_have_their_order() {
        let sizes: BTreeMap<String, usize> =
            problems().unwrap().iter().map(|p| (p.name.clone(), p.images().unwrap().len())).collect();
        assert_eq!(sizes["Lanczos1"], 6);
        assert_eq!(sizes["ENSO"], 8);
        assert_eq!(sizes["Gauss2"], 8);
        assert_eq!(sizes["MGH17"], 2);
        assert_eq!(sizes["Misra1a"], 1);
    }
}
