//! Compares the derivatives that the compiled programs compute with finite differences in 256-bit arithmetic.
//!
//! At points drawn from a law's domain, for observations drawn from the range of its variables, these are compared in
//! solver coordinates:
//!
//! * first and second derivatives of `T(prediction)` in both residual spaces, which searches, certificates and sandwich
//!   errors use;
//! * first derivatives of the natural parameters, which transform covariances to natural units.
//!
//! The reference computes the natural parameters from the coordinates by the definition of the coordinates, so the
//! chain from coordinate through parameter to prediction is checked as a whole. Steps are `2^-60` of a coordinate:
//! first and second central differences then have about 36 digits.
//!
//! **Error measure.** The error of a derivative is relative to a scale, the largest over the point's observations of
//!
//! * the derivative's absolute value. A column of the Jacobian enters every sum as a whole, and an entry near zero, as
//!   many are in centred coordinates, has no relative accuracy to lose;
//! * for second derivatives, the product of the two first derivatives over `S`, which is added to the second derivative
//!   in every Hessian: `(ln f)'' = f''/f − (f'/f)²` may cancel down to the rounding of the product;
//! * `S/10⁶` per unit of the coordinate (1 for a logarithm, else its absolute value): smaller derivatives have no
//!   effect on the prediction beyond its rounding.
//!
//! `S` is the size of `T(prediction)`: 1 for logarithms, `|prediction|` in linear space. First derivatives must have
//! nine digits and second derivatives eight, because those of a broken power law have two factors `1/f ≈ 10` and
//! float64 leaves them 8.6 digits. Most laws have fourteen digits of both.

use std::time::Instant;

use astro_float_num::{BigFloat, Consts};
use rayon::prelude::*;

use crate::compile::{Program, Scale};
use crate::formula::{Expr, ExprKind, parse_formula};
use crate::lanes::Pack;
use crate::law::{Law, Residual};
use crate::linalg::triangle;
use crate::optimize::Models;
use crate::problem::{LaneData, Loss, Problem, ProgramWorkspace, bind_columns, outputs_lanes};

use super::cases::{CaseDraws, cases};
use super::precise::{
    Displacement, PreciseEvaluation, PreciseLaw, UNDISPLACED, add, div, from_f64, mul, scaled, sub, to_f64,
};
use super::{CaseOutcome, Quantity, Section, defect, nist, shortfall};
use crate::error::Error;

/// Returns the number of digits that a quantity must have.
fn required_digits(quantity: Quantity) -> f64 {
    if quantity == Quantity::SecondDerivatives { 8.0 } else { 9.0 }
}

/// The least scale of a derivative, as a fraction of `S` per unit of the coordinate.
const LEAST_SCALE: f64 = 1e-6;

/// The digits of a float64, the most that are reported.
const FLOAT64_DIGITS: f64 = 16.0;

/// The binary logarithm of a step, as a fraction of its coordinate.
const STEP_EXPONENT: i32 = -60;

/// The binary logarithm of the resolution of a first difference: the change of the prediction per relative change of a
/// coordinate, as a fraction of the prediction, below which a difference is rounding and counts as zero.
const RESOLUTION_EXPONENT: i32 = -90;

/// Parameters in natural units, and columns of variables, both in the law's order.
#[derive(Clone, Debug)]
struct TestPoint {
    parameters: Vec<f64>,
    variables: Vec<Vec<f64>>,
}

/// The number of points per law.
const POINTS: usize = 2;

/// The number of observations per point.
const OBSERVATIONS: usize = 8;

/// The largest number of points that are drawn to find [`POINTS`] at which the law is finite.
const MAX_DRAWS: u64 = 200;

/// Laws of the operations that neither the catalogue nor NIST's laws use, with parameters to draw around.
const LANGUAGE: [(&str, &[f64]); 8] = [
    ("y ~ a*tanh(b*x) + sqrt(c + x)", &[1.2, 0.7, 0.4]),
    ("y ~ a*sigmoid(b*x - c) + d", &[1.2, 2.0, 1.0, 0.3]),
    ("y ~ max(a, b*x)^c + min(a*x, b, c)", &[0.8, 1.1, 1.4]),
    ("y ~ a + abs(b - x)*c", &[0.8, 1.0, 1.4]),
    ("y ~ a*tan(b*x) + log10(c + x) + log2(a + b*x)", &[0.8, 0.3, 1.4]),
    ("y ~ (a + b*x)^3/(c - x)^2", &[0.8, 0.3, 9.0]),
    ("y ~ log(exp(a*x) + exp(b*x) + exp(c)) where c > 0", &[0.8, -0.3, 1.4]),
    ("y ~ a + solve(t, 0, b, t + exp(c*t) = 1 + 0.1*x)", &[0.8, 3.0, 0.6]),
];

/// Compares the derivatives of the laws of the catalogue, of NIST's problems and of [`LANGUAGE`].
///
/// # Errors
/// If a built-in law cannot be read or evaluated.
pub fn derivatives() -> Result<Section, Error> {
    let mut laws: Vec<(String, &'static str, Law, Vec<TestPoint>)> = Vec::new();
    for (index, (case, law)) in cases()?.into_iter().enumerate() {
        let mut draws = CaseDraws::new(index as u64);
        let truth = case.truth(&law);
        let point = |draws: &mut CaseDraws| TestPoint {
            parameters: draws.parameters(&law, &truth),
            variables: draws.columns(&case, &law, OBSERVATIONS),
        };
        let points = finite_points(&law, || point(&mut draws));
        laws.push((law.name.clone(), "catalogue", law, points));
    }
    for (index, problem) in nist::problems()?.iter().enumerate() {
        let law = problem.law()?;
        let mut draws = CaseDraws::new(1000 + index as u64);
        // NIST's laws are meant for their own data, with parameters near the certified values.
        let certified: Vec<f64> = law
            .parameters
            .iter()
            .map(|p| problem.parameters.iter().position(|name| *name == p.name))
            .map(|place| place.map_or(f64::NAN, |i| problem.certified[i]))
            .collect();
        let n = problem.columns.values().next().map_or(0, Vec::len);
        let point = |draws: &mut CaseDraws| {
            let rows: Vec<usize> = (0..OBSERVATIONS).map(|_| (draws.uniform() * n as f64) as usize).collect();
            TestPoint {
                parameters: certified.iter().map(|x| x * (1.0 + 0.2 * (draws.uniform() - 0.5))).collect(),
                variables: law
                    .variables
                    .iter()
                    .map(|name| rows.iter().map(|&row| problem.columns[name][row]).collect())
                    .collect(),
            }
        };
        let points = finite_points(&law, || point(&mut draws));
        laws.push((problem.name.clone(), "nist", law, points));
    }
    for (index, (text, around)) in LANGUAGE.iter().enumerate() {
        let defect = |error: String| defect(format!("{text}: {error}"));
        let formula = parse_formula(text).map_err(|e| defect(e.to_string()))?;
        let columns = ["x", "y"].map(str::to_string);
        let law = Law::from_formula(formula, &columns).map_err(|e| defect(e.to_string()))?;
        let mut draws = CaseDraws::new(2000 + index as u64);
        let point = |draws: &mut CaseDraws| TestPoint {
            parameters: draws.parameters(&law, around),
            variables: vec![(0..OBSERVATIONS).map(|_| 0.1 + 2.0 * draws.uniform()).collect()],
        };
        let points = finite_points(&law, || point(&mut draws));
        laws.push(((*text).to_string(), "language", law, points));
    }
    let outcomes: Result<Vec<CaseOutcome>, Error> = laws
        .par_iter()
        .map(|(name, case, law, points)| {
            let begun = Instant::now();
            let digits = worst_digits(law, points)?;
            let failure = match points.len() {
                0 => Some("no point was found at which the law is finite".to_string()),
                _ => shortfall(&digits, required_digits),
            };
            Ok(CaseOutcome {
                problem: name.clone(),
                case,
                digits,
                status: None,
                evaluations: None,
                time: begun.elapsed(),
                failure,
            })
        })
        .collect();
    Ok(Section {
        check: "derivatives",
        about: "derivatives of the compiled laws against finite differences in 256-bit arithmetic",
        outcomes: outcomes?,
        missed: Vec::new(),
    })
}

/// Returns the first [`POINTS`] drawn points at which the law's derivatives are finite in its own residual space.
fn finite_points(law: &Law, mut draw: impl FnMut() -> TestPoint) -> Vec<TestPoint> {
    let models = Models::compile(law.clone(), law.residual);
    let is_finite = |point: &TestPoint| {
        let problem = bind(law, &models, point);
        let theta = problem.coordinates(&free(law, &point.parameters));
        outputs(&problem, &problem.model.hessian, &theta).iter().flatten().all(|x| x.is_finite())
    };
    (0..MAX_DRAWS).map(|_| draw()).filter(is_finite).take(POINTS).collect()
}

/// Returns the values of the law's free parameters.
fn free(law: &Law, parameters: &[f64]) -> Vec<f64> {
    law.free_parameters().map(|(i, ..)| parameters[i]).collect()
}

/// Binds the law to a point's observations; the response is a constant, because predictions do not depend on it.
fn bind(law: &Law, models: &Models, point: &TestPoint) -> Problem {
    let response = Expr::new(ExprKind::Number(1.0), 0..0);
    let columns: Vec<(&str, &[f64])> = law
        .variables
        .iter()
        .zip(&point.variables)
        .map(|(name, values)| (name.as_str(), values.as_slice()))
        .collect();
    bind_columns(law, models.full(), &response, Loss::L2, &columns).0
}

/// Returns the outputs of a program, `[output][observation]`.
fn outputs(problem: &Problem, program: &Program, theta: &[f64]) -> Vec<Vec<f64>> {
    let data = LaneData::spread(problem, &problem.observations.weight);
    let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
    let lanes = outputs_lanes(program, &data, &coordinates, &mut ProgramWorkspace::default());
    lanes.iter().map(|packs| packs.iter().flat_map(|pack| pack.0).take(problem.n()).collect()).collect()
}

/// Returns the digits of the worst derivative of each kind, over all points and both residual spaces.
fn worst_digits(law: &Law, points: &[TestPoint]) -> Result<Vec<(Quantity, f64)>, Error> {
    let spaces = [Residual::Linear, Residual::Log].map(|residual| Models::compile(law.clone(), residual));
    let mut worst = [FLOAT64_DIGITS; 3];
    for point in points {
        let coordinates = |models| bind(law, models, point).coordinates(&free(law, &point.parameters));
        let theta = coordinates(&spaces[0]);
        if coordinates(&spaces[1]) != theta {
            return Err(defect(format!("{}: its coordinates depend on the residual space", law.name)));
        }
        let reference = ReferenceDerivatives::new(law, &bind(law, &spaces[0], point), &theta, point)?;
        for (models, residual) in spaces.iter().zip([Residual::Linear, Residual::Log]) {
            let problem = bind(law, models, point);
            let compiled = outputs(&problem, &problem.model.hessian, &theta);
            // The logarithm of a negative prediction is NaN.
            if residual == Residual::Log && compiled[0].iter().any(|x| x.is_nan()) {
                continue;
            }
            let search = outputs(&problem, &problem.model.search, &theta);
            let digits = reference.agreement(&problem, &theta, &compiled, &search);
            worst.iter_mut().zip(digits).for_each(|(worst, digits)| *worst = worst.min(digits));
        }
    }
    let quantities = [Quantity::FirstDerivatives, Quantity::SecondDerivatives, Quantity::Coordinates];
    Ok(quantities.into_iter().zip(worst).collect())
}

/// Returns the digits in which a column agrees with its reference, relative to the column's scale: the largest of the
/// reference's absolute values and of `least_scale` of each entry. A column that is `None` is zero.
fn column_digits(got: Option<&[f64]>, reference: &[f64], least_scale: impl Fn(usize) -> f64) -> f64 {
    let mut scale = 0.0_f64;
    let mut error = 0.0_f64;
    for (k, x) in reference.iter().enumerate() {
        scale = scale.max(x.abs()).max(least_scale(k));
        let difference = (got.map_or(0.0, |got| got[k]) - x).abs();
        error = if difference.is_nan() { f64::INFINITY } else { error.max(difference) };
    }
    if error == 0.0 { FLOAT64_DIGITS } else { (-(error / scale).log10()).clamp(0.0, FLOAT64_DIGITS) }
}

/// Derivatives by finite differences in 256-bit arithmetic, with respect to the solver's coordinates.
struct ReferenceDerivatives {
    /// Derivatives of the prediction per observation, in the problem's order.
    predictions: Vec<Differences>,
    /// Derivatives of the natural parameters, `[parameter·p + coordinate]`.
    natural: Vec<f64>,
}

/// Derivatives of the untransformed prediction at one observation, the second derivatives as a lower triangle by rows.
struct Differences {
    value: BigFloat,
    first: Vec<BigFloat>,
    second: Vec<BigFloat>,
    steps: Vec<BigFloat>,
}

impl ReferenceDerivatives {
    /// Computes the derivatives at `theta`, the solver's coordinates of `point`.
    fn new(
        law: &Law,
        problem: &Problem,
        theta: &[f64],
        point: &TestPoint,
    ) -> Result<ReferenceDerivatives, Error> {
        let defect = |error: String| defect(format!("{}: {error}", law.name));
        let precise = PreciseLaw::new(law, &problem.model.natural, &problem.means)
            .map_err(|e| defect(e.to_string()))?;
        let mut constants = Consts::new().map_err(|e| defect(format!("{e:?}")))?;
        let size = |x: f64| if x == 0.0 { 1.0 } else { x.abs() };
        let steps: Vec<BigFloat> = theta.iter().map(|&x| scaled(&from_f64(size(x)), STEP_EXPONENT)).collect();
        let mut reference = ReferenceDerivatives { predictions: Vec::new(), natural: Vec::new() };
        for (k, &row) in problem.observations.rows.iter().enumerate() {
            let variables: Vec<f64> = point.variables.iter().map(|column| column[row as usize]).collect();
            let mut evaluation = PreciseEvaluation::new(&precise, theta, &steps, &variables, &mut constants);
            reference.predictions.push(differences(&mut evaluation, &steps));
            if k == 0 {
                for parameter in 0..law.parameters.len() {
                    for (i, step) in steps.iter().enumerate() {
                        let [up, down] = [1, -1].map(|sign| evaluation.parameter(parameter, along(i, sign)));
                        reference.natural.push(to_f64(&div(&sub(&up, &down), &scaled(step, 1))));
                    }
                }
            }
        }
        Ok(reference)
    }

    /// Returns the first derivatives of `T(prediction)`, a column per coordinate, and the second derivatives, a
    /// column per pair of coordinates.
    fn derivatives(&self, residual: Residual) -> [Vec<Vec<f64>>; 2] {
        let rows: Vec<[Vec<f64>; 2]> =
            self.predictions.iter().map(|differences| differences.transformed(residual)).collect();
        [0, 1].map(|order| {
            let columns = rows.first().map_or(0, |row| row[order].len());
            (0..columns).map(|c| rows.iter().map(|row| row[order][c]).collect()).collect()
        })
    }

    /// Returns the digits of the worst first derivative, second derivative and derivative of a natural parameter that
    /// the problem computes at `theta`. `compiled` and `search` are the outputs of the model's programs `hessian` and
    /// `search`, of which the latter is compared in its first derivatives.
    fn agreement(
        &self,
        problem: &Problem,
        theta: &[f64],
        compiled: &[Vec<f64>],
        search: &[Vec<f64>],
    ) -> [f64; 3] {
        let p = theta.len();
        let [first, second] = self.derivatives(problem.model.residual);
        let compiled_second = |i: usize, j: usize| {
            let pair = problem.model.second_pairs.iter().position(|&pair| pair == (i, j));
            pair.map(|k| compiled[1 + p + k].as_slice())
        };
        // `S` of the module's documentation, and the unit of a coordinate.
        let size: Vec<f64> = match problem.model.residual {
            Residual::Log => vec![1.0; problem.n()],
            Residual::Linear => compiled[0].iter().map(|value| value.abs()).collect(),
        };
        let unit = |i: usize| match problem.model.coordinates[i].scale {
            Scale::Linear if theta[i] != 0.0 => theta[i].abs(),
            _ => 1.0,
        };
        let mut worst = [FLOAT64_DIGITS; 3];
        let mut note = |which: usize, digits: f64| worst[which] = worst[which].min(digits);
        for i in 0..p {
            let least_scale = |k: usize| LEAST_SCALE * size[k] / unit(i);
            for program in [compiled, search] {
                note(0, column_digits(Some(&program[1 + i]), &first[i], least_scale));
            }
            for j in 0..=i {
                let least_scale = |k: usize| {
                    let product = (first[i][k] * first[j][k]).abs() / size[k];
                    product.max(LEAST_SCALE * size[k] / (unit(i) * unit(j)))
                };
                note(1, column_digits(compiled_second(i, j), &second[triangle(i) + j], least_scale));
            }
        }
        for (a, b) in problem.natural_jacobian(theta).iter().zip(&self.natural) {
            note(2, column_digits(Some(&[*a]), &[*b], |_| 0.0));
        }
        worst
    }
}

impl Differences {
    /// Returns the first and second derivatives of `T(prediction)` in float64. Derivatives below the resolution of the
    /// differences are zero.
    fn transformed(&self, residual: Residual) -> [Vec<f64>; 2] {
        let log = residual == Residual::Log;
        // (ln f)' = f'/f and (ln f)'' = f''/f − f'f'/f²; the precision leaves digits for the cancellation.
        let over = |x: &BigFloat| if log { div(x, &self.value) } else { x.clone() };
        let size = if log { from_f64(1.0) } else { self.value.abs() };
        let rounded = |x: &BigFloat, change: &BigFloat, resolution: i32| {
            let resolved = change.abs().cmp(&scaled(&size, resolution)).is_none_or(|order| order > 0);
            if resolved { to_f64(x) } else { 0.0 }
        };
        let first: Vec<BigFloat> = self.first.iter().map(over).collect();
        let mut second = Vec::with_capacity(self.second.len());
        for i in 0..first.len() {
            for j in 0..=i {
                let mut entry = over(&self.second[triangle(i) + j]);
                if log {
                    entry = sub(&entry, &mul(&first[i], &first[j]));
                }
                let change = mul(&mul(&entry, &self.steps[i]), &self.steps[j]);
                second.push(rounded(&entry, &change, 2 * STEP_EXPONENT + RESOLUTION_EXPONENT));
            }
        }
        let resolution = STEP_EXPONENT + RESOLUTION_EXPONENT;
        let first = first.iter().zip(&self.steps);
        [first.map(|(x, step)| rounded(x, &mul(x, step), resolution)).collect(), second]
    }
}

/// Returns the displacement by one step along coordinate `i`.
fn along(i: usize, sign: i16) -> Displacement {
    [sign * (i as i16 + 1), 0]
}

/// Computes the first and second derivatives of the prediction by central differences.
fn differences(evaluation: &mut PreciseEvaluation, steps: &[BigFloat]) -> Differences {
    let p = steps.len();
    let value = evaluation.prediction(UNDISPLACED);
    let sides: Vec<[BigFloat; 2]> =
        (0..p).map(|i| [1, -1].map(|sign| evaluation.prediction(along(i, sign)))).collect();
    let first: Vec<BigFloat> =
        (0..p).map(|i| div(&sub(&sides[i][0], &sides[i][1]), &scaled(&steps[i], 1))).collect();
    let mut second = Vec::with_capacity(triangle(p));
    for i in 0..p {
        for j in 0..=i {
            // f(+i+j) + f(−i−j) − f(+i) − f(−i) − f(+j) − f(−j) + 2f = 2·h·k·∂²f, and f(+i) + f(−i) − 2f = h²·∂²f.
            let middle = scaled(&value, 1);
            let around = |k: usize| sub(&add(&sides[k][0], &sides[k][1]), &middle);
            second.push(if i == j {
                div(&around(i), &mul(&steps[i], &steps[i]))
            } else {
                let [up, down] =
                    [1, -1].map(|sign| evaluation.prediction([along(i, sign)[0], along(j, sign)[0]]));
                let corners = sub(&add(&up, &down), &middle);
                let mixed = sub(&sub(&corners, &around(i)), &around(j));
                div(&mixed, &scaled(&mul(&steps[i], &steps[j]), 1))
            });
        }
    }
    Differences { value, first, second, steps: steps.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::catalogue_law;

    #[test]
    fn compiled_derivatives_agree_with_differences() {
        let section = derivatives().unwrap();
        assert!(section.outcomes.len() >= 67, "{}", section.outcomes.len());
        for outcome in &section.outcomes {
            assert_eq!(outcome.failure, None, "{outcome:?}");
        }
    }

    /// The expected derivatives, with respect to E and to log A at constant alpha, follow from the formula by hand: 1
    /// and the term `A/N^alpha`. A relative error of 1e-8 in a compiled derivative must be detected.
    #[test]
    fn differences_match_chinchilla_by_hand_and_detect_errors() {
        let law = catalogue_law("chinchilla");
        // E, A, alpha, B, beta.
        let parameters = vec![1.7, 400.0, 0.34, 400.0, 0.28];
        let point =
            TestPoint { parameters: parameters.clone(), variables: vec![vec![1e9, 2e8], vec![2e10, 7e9]] };
        let models = Models::compile(law.clone(), Residual::Linear);
        let problem = bind(&law, &models, &point);
        let theta = problem.coordinates(&parameters);
        let reference = ReferenceDerivatives::new(&law, &problem, &theta, &point).unwrap();
        let [first, second] = reference.derivatives(Residual::Linear);
        let row = problem.observations.rows.iter().position(|&row| row == 0).unwrap();
        let term = 400.0 * 1e9_f64.powf(-0.34);
        let [e, a] = ["E", "A"].map(|name| {
            let parameter = law.parameter(name).unwrap();
            problem.model.coordinates.iter().position(|c| c.parameter == parameter).unwrap()
        });
        assert_eq!(first[e][row], 1.0);
        assert!((first[a][row] / term - 1.0).abs() < 1e-13, "{} for {term}", first[a][row]);
        assert!((second[triangle(a) + a][row] / term - 1.0).abs() < 1e-13);
        assert_eq!(second[triangle(e) + e][row], 0.0);

        let right = outputs(&problem, &problem.model.hessian, &theta);
        let search = outputs(&problem, &problem.model.search, &theta);
        assert!(reference.agreement(&problem, &theta, &right, &search)[0] > 13.0);
        let wrong = |programs: &[Vec<f64>], output: usize, factor: f64| {
            let mut wrong = programs.to_vec();
            wrong[output].iter_mut().for_each(|x| *x *= factor);
            wrong
        };
        for i in 0..theta.len() {
            let full = wrong(&right, 1 + i, 1.0 + 1e-8);
            let digits = reference.agreement(&problem, &theta, &full, &search)[0];
            assert!((7.9..8.1).contains(&digits), "{digits}");
            let gradient = wrong(&search, 1 + i, 1.0 + 1e-8);
            let digits = reference.agreement(&problem, &theta, &right, &gradient)[0];
            assert!((7.9..8.1).contains(&digits), "{digits}");
        }
        for k in 0..problem.model.second_pairs.len() {
            let full = wrong(&right, 1 + theta.len() + k, 1.0 + 1e-5);
            assert!(reference.agreement(&problem, &theta, &full, &search)[1] < 8.0);
        }
    }
}
