//! The nonlinear problems of NIST's Statistical Reference Datasets (`fixtures/nist_strd.json`, public domain),
//! written as laws of the formula language.
//!
//! Each is fitted from each of NIST's two starts alone, as `sweepfit fit --starts 1 --start …` does, and by the
//! multi-start without any start. The certified values have eleven digits.
//!
//! Some laws have several parameter vectors that are the same curve: terms may change places, squares hide signs.
//! NIST certifies one of them, the one near its starts; a fit that is given no start may find another. The fixture
//! states such symmetries, as signed permutations of the parameters that generate all of them, and the digits of
//! a fit without a start are those of its best image.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;

use crate::formula::parse_formula;
use crate::infer;
use crate::law::{Law, Residual};
use crate::optimize::{self, Models, Workspace};
use crate::problem::{Loss, bind_columns};

use super::{CaseOutcome, Quantity, Section, below, digits, fault, reaching};
use crate::error::Error;

const NIST: &str = include_str!("../../fixtures/nist_strd.json");

/// Digits that every fit must reach: of the parameters, and of the standard deviations.
const FLOOR: f64 = 6.0;

/// How many fits must reach how many digits of the parameters.
const TARGETS: [(f64, usize); 3] = [(6.0, 54), (8.0, 54), (10.0, 50)];
const TARGETS_WITHOUT_START: [(f64, usize); 3] = [(6.0, 27), (8.0, 27), (10.0, 25)];

/// A problem as the fixture holds it.
#[derive(Debug, Deserialize)]
pub struct Problem {
    pub name: String,
    pub law: String,
    pub parameters: Vec<String>,
    /// Signed permutations that leave the curve as it is: which parameter, with which sign, takes each one's place.
    #[serde(default)]
    pub symmetries: Vec<Vec<String>>,
    pub columns: BTreeMap<String, Vec<f64>>,
    pub start_1: Vec<f64>,
    pub start_2: Vec<f64>,
    pub certified: Vec<f64>,
    pub standard_deviations: Vec<f64>,
    pub residual_sum_of_squares: f64,
}

/// Where a fit began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// NIST's first start, the harder one.
    First,
    /// NIST's second start.
    Second,
    /// The engine's own multi-start.
    Own,
}

impl Start {
    fn name(self) -> &'static str {
        match self {
            Start::First => "1",
            Start::Second => "2",
            Start::Own => "own",
        }
    }
}

/// All problems.
pub fn problems() -> Result<Vec<Problem>, Error> {
    serde_json::from_str(NIST).map_err(|error| fault(error.to_string()))
}

/// Fits from each of NIST's starts alone.
pub fn from_official_starts() -> Result<Section, Error> {
    let outcomes = fits(&[Start::First, Start::Second])?;
    let missed = missed_targets(&outcomes, &TARGETS);
    let about = "NIST's nonlinear problems, each official start alone";
    Ok(Section { check: "nist", about, outcomes, missed })
}

/// Fits by the multi-start, which is given no start.
pub fn without_a_start() -> Result<Section, Error> {
    let outcomes = fits(&[Start::Own])?;
    let missed = missed_targets(&outcomes, &TARGETS_WITHOUT_START);
    let about = "NIST's nonlinear problems, no start given, up to the law's symmetries";
    Ok(Section { check: "nist", about, outcomes, missed })
}

fn fits(starts: &[Start]) -> Result<Vec<CaseOutcome>, Error> {
    let mut outcomes = Vec::new();
    for problem in &problems()? {
        for &start in starts {
            outcomes.push(fit(problem, start)?);
        }
    }
    Ok(outcomes)
}

fn missed_targets(outcomes: &[CaseOutcome], targets: &[(f64, usize)]) -> Vec<String> {
    let missed = targets.iter().filter(|&&(digits, wanted)| reaching(outcomes, digits) < wanted);
    missed
        .map(|&(digits, wanted)| {
            format!("{} fits reach {digits} digits, {wanted} are wanted", reaching(outcomes, digits))
        })
        .collect()
}

impl Problem {
    /// The formula as a law of the problem's columns.
    pub fn law(&self) -> Result<Law, Error> {
        let data = |error: String| fault(format!("{}: {error}", self.name));
        let formula = parse_formula(&self.law).map_err(|e| data(e.to_string()))?;
        let names: Vec<String> = self.columns.keys().cloned().collect();
        Law::from_formula(formula, &names).map_err(|e| data(e.to_string()))
    }

    /// All images of the parameters that are the same curve, the identity first: per place the parameter that
    /// takes it, and its sign.
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
            let unknown = || fault(format!("{}: a symmetry of other parameters", self.name));
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

    /// Digits that the rounding of the responses to float64 leaves of anything that follows from the residuals
    /// alone. Lanczos1's are near 1e-13 of the responses, so that hardly three are left.
    fn digits_of_residuals(&self) -> f64 {
        let response = self.columns.get("y").map_or(&[][..], Vec::as_slice);
        let largest = response.iter().fold(0.0_f64, |m, y| m.max(y.abs()));
        let typical = (self.residual_sum_of_squares / response.len() as f64).sqrt();
        (typical / (f64::EPSILON * largest)).log10()
    }
}

fn fit(problem: &Problem, start: Start) -> Result<CaseOutcome, Error> {
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
    let inference = infer::InferenceOptions { bootstrap: 0, ..infer::InferenceOptions::default() };
    let mut estimates = Vec::new();
    infer::estimate(&models, &fit, None, &inference, &mut workspace, &mut estimates);
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
        certified.iter().enumerate().map(|(i, &c)| digits(got(i), c)).fold(f64::INFINITY, f64::min)
    };
    // From NIST's own starts the certified values themselves are wanted.
    let images = if start == Start::Own { problem.images()? } else { problem.images()?[..1].to_vec() };
    let (right, right_deviations) = images
        .iter()
        .map(|image| {
            let estimate = |i: usize| image[i].1 * found[image[i].0].0;
            let deviation = |i: usize| found[image[i].0].1;
            (worst(&estimate, &problem.certified), worst(&deviation, &problem.standard_deviations))
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap_or((0.0, 0.0));

    let right = vec![
        (Quantity::Parameters, right),
        (Quantity::StandardDeviations, right_deviations),
        (Quantity::ResidualSumOfSquares, digits(2.0 * fit.objective(), problem.residual_sum_of_squares)),
    ];
    let floor = |quantity| match quantity {
        Quantity::Parameters => FLOOR,
        _ => FLOOR.min(problem.digits_of_residuals()),
    };
    let failure = below(&right, floor);
    Ok(CaseOutcome {
        problem: problem.name.clone(),
        case: start.name(),
        digits: right,
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

    /// NIST's certified values, from each of its starts alone.
    #[test]
    fn certified_values_from_the_official_starts() {
        let section = from_official_starts().unwrap();
        assert_eq!(section.outcomes.len(), 54);
        holds(&section);
    }

    /// The certified optimum or an image of it, found without any start.
    #[test]
    fn certified_values_without_a_start() {
        let section = without_a_start().unwrap();
        assert_eq!(section.outcomes.len(), 27);
        holds(&section);
    }

    fn holds(section: &Section) {
        for outcome in &section.outcomes {
            assert_eq!(outcome.failure, None, "{outcome:?}");
        }
        assert_eq!(section.missed, Vec::<String>::new());
    }

    /// The law at every image of the certified values is the same curve, evaluated as written.
    #[test]
    fn symmetries_leave_the_curve_as_it_is() {
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

    /// MGH10's first start is no lucky one: starts within 30 % of it follow the same long valley.
    #[test]
    fn a_long_valley_is_followed_from_anywhere_near() {
        let mut problem = problems().unwrap().into_iter().find(|p| p.name == "MGH10").unwrap();
        let official = problem.start_1.clone();
        let mut draws = CaseDraws::new(7);
        for _ in 0..20 {
            problem.start_1 = official.iter().map(|x| x * (0.7 + 0.6 * draws.uniform())).collect();
            let outcome = fit(&problem, Start::First).unwrap();
            assert_eq!(outcome.failure, None, "{:?}: {outcome:?}", problem.start_1);
        }
    }

    /// What a symmetry is not must not count as one: the images of Lanczos1 are the six orders of three terms.
    #[test]
    fn symmetries_generate_their_group() {
        let sizes: BTreeMap<String, usize> =
            problems().unwrap().iter().map(|p| (p.name.clone(), p.images().unwrap().len())).collect();
        assert_eq!(sizes["Lanczos1"], 6);
        assert_eq!(sizes["ENSO"], 8);
        assert_eq!(sizes["Gauss2"], 8);
        assert_eq!(sizes["MGH17"], 2);
        assert_eq!(sizes["Misra1a"], 1);
    }
}
