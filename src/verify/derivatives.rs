//! Every law's derivatives, as the compiled programs give them, against differences in 256-bit arithmetic.
//!
//! At points drawn from a law's domain, for observations drawn from the range of its variables, in both residual
//! spaces, in the solver's own coordinates:
//!
//! * first and second derivatives of `T(prediction)`: what the searches, the certificate and the sandwich read;
//! * the derivatives of the natural parameters: what turns the solver's covariance into the user's.
//!
//! The coordinates are defined by the program that gives the natural parameters from them, so the chain from
//! coordinate through parameter to residual is checked as a whole. Steps are `2^-60` of a coordinate: a central
//! difference is then right to about 36 digits and a second one to 36 as well.
//!
//! **The measure.** The error of a derivative is relative to its natural scale: the largest, over the point's
//! observations, of
//!
//! * the derivative itself. A column of the Jacobian enters every sum as a whole, and an entry that passes through
//!   zero, as most do in centred coordinates, has no relative accuracy to lose;
//! * for second derivatives, the product of the two first ones over `S`, which stands beside it in every Hessian:
//!   `(ln f)'' = f''/f − (f'/f)²` may cancel down to the rounding of that product;
//! * a millionth of `S` per unit of the coordinate (its own size; 1 for a logarithm): what is less has no effect on
//!   the prediction worth its rounding,
//!
//! where `S` is the size of `T(prediction)`: 1 for logarithms, `|prediction|` in linear space. In this measure first
//! derivatives must have nine digits and second ones eight: two factors of 1/f ≈ 10 stand before those of a broken
//! power law, where float64 leaves 8.6. Most laws have fourteen of both.

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
use super::precise::{At, HERE, PreciseLaw, add, div, mul, number, scaled, sub, to_f64};
use super::{CaseOutcome, Quantity, Section, below, fault, nist};
use crate::error::Error;

/// Digits wanted.
fn floor(quantity: Quantity) -> f64 {
    if quantity == Quantity::SecondDerivatives { 8.0 } else { 9.0 }
}

/// The least scale of a derivative.
const NEGLIGIBLE: f64 = 1e-6;

/// Digits beyond which float64 says nothing.
const MOST: f64 = 16.0;

/// A step is this power of two of its coordinate.
const STEP: i32 = -60;

/// A relative change of a coordinate by one that changes the prediction by less than this power of two of it is what
/// rounding and the differences' own error leave of a derivative that is zero.
const RESOLUTION: i32 = -90;

/// A point of a law's domain: natural parameters, and columns of its variables in the law's order.
#[derive(Clone, Debug)]
struct TestPoint {
    parameters: Vec<f64>,
    variables: Vec<Vec<f64>>,
}

/// Points per law, and observations per point.
const POINTS: usize = 2;
const OBSERVATIONS: usize = 8;

/// Draws until a law is finite at all observations.
const MOST_DRAWS: u64 = 200;

/// Laws of what the language has and the others do not use, with values of their parameters to draw around.
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

/// The laws of the catalogue, of NIST's problems, and of [`LANGUAGE`].
pub fn derivatives() -> Result<Section, Error> {
    let mut laws: Vec<(String, &'static str, Law, Vec<TestPoint>)> = Vec::new();
    for (index, (case, law)) in cases()?.into_iter().enumerate() {
        let mut draws = CaseDraws::new(index as u64);
        let truth = case.truth(&law);
        let point = |draws: &mut CaseDraws| TestPoint {
            parameters: draws.parameters(&law, &truth),
            variables: draws.columns(&case, &law, OBSERVATIONS),
        };
        let points = usable(&law, || point(&mut draws));
        laws.push((law.name.clone(), "catalogue", law, points));
    }
    for (index, problem) in nist::problems()?.iter().enumerate() {
        let law = problem.law()?;
        let mut draws = CaseDraws::new(1000 + index as u64);
        // Near the certified values and at the problem's own data, where these laws are meant to be used.
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
        let points = usable(&law, || point(&mut draws));
        laws.push((problem.name.clone(), "nist", law, points));
    }
    for (index, (text, around)) in LANGUAGE.iter().enumerate() {
        let data = |error: String| fault(format!("{text}: {error}"));
        let formula = parse_formula(text).map_err(|e| data(e.to_string()))?;
        let columns = ["x", "y"].map(str::to_string);
        let law = Law::from_formula(formula, &columns).map_err(|e| data(e.to_string()))?;
        let mut draws = CaseDraws::new(2000 + index as u64);
        let point = |draws: &mut CaseDraws| TestPoint {
            parameters: draws.parameters(&law, around),
            variables: vec![(0..OBSERVATIONS).map(|_| 0.1 + 2.0 * draws.uniform()).collect()],
        };
        let points = usable(&law, || point(&mut draws));
        laws.push(((*text).to_string(), "language", law, points));
    }
    let outcomes: Result<Vec<CaseOutcome>, Error> = laws
        .par_iter()
        .map(|(name, case, law, points)| {
            let begun = Instant::now();
            let digits = check(law, points)?;
            let failure = match points.len() {
                0 => Some("no point was found where the law is finite".to_string()),
                _ => below(&digits, floor),
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
        about: "derivatives of the compiled laws against differences in 256-bit arithmetic",
        outcomes: outcomes?,
        missed: Vec::new(),
    })
}

/// The first points drawn at which the law is finite, and positive where its logarithm is fitted.
fn usable(law: &Law, mut draw: impl FnMut() -> TestPoint) -> Vec<TestPoint> {
    let models = Models::compile(law.clone(), law.residual);
    let fits = |point: &TestPoint| {
        let problem = bound(law, &models, point);
        let theta = problem.coordinates(&free(law, &point.parameters));
        outputs(&problem, &problem.model.hessian, &theta).iter().flatten().all(|x| x.is_finite())
    };
    (0..MOST_DRAWS).map(|_| draw()).filter(fits).take(POINTS).collect()
}

fn free(law: &Law, parameters: &[f64]) -> Vec<f64> {
    law.free_parameters().map(|(i, ..)| parameters[i]).collect()
}

/// The law on a point's observations; the response takes no part.
fn bound(law: &Law, models: &Models, point: &TestPoint) -> Problem {
    let response = Expr::new(ExprKind::Number(1.0), 0..0);
    let columns: Vec<(&str, &[f64])> = law
        .variables
        .iter()
        .zip(&point.variables)
        .map(|(name, values)| (name.as_str(), values.as_slice()))
        .collect();
    bind_columns(law, models.full(), &response, Loss::L2, &columns).0
}

/// Outputs of one of the model's programs, `[output][observation]`.
fn outputs(problem: &Problem, program: &Program, theta: &[f64]) -> Vec<Vec<f64>> {
    let data = LaneData::spread(problem, &problem.observations.weight);
    let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
    let lanes = outputs_lanes(program, &data, &coordinates, &mut ProgramWorkspace::default());
    lanes.iter().map(|packs| packs.iter().flat_map(|pack| pack.0).take(problem.n()).collect()).collect()
}

/// Digits right in the worst derivative of each order, over all points and both residual spaces.
fn check(law: &Law, points: &[TestPoint]) -> Result<Vec<(Quantity, f64)>, Error> {
    let spaces = [Residual::Linear, Residual::Log].map(|residual| Models::compile(law.clone(), residual));
    let mut worst = [MOST; 3];
    for point in points {
        let theta = |models: &Models| bound(law, models, point).coordinates(&free(law, &point.parameters));
        let here = theta(&spaces[0]);
        if theta(&spaces[1]) != here {
            return Err(fault(format!("{}: its coordinates depend on the residual space", law.name)));
        }
        let exact = Exact::at(law, &bound(law, &spaces[0], point), &here, point)?;
        for (models, residual) in spaces.iter().zip([Residual::Linear, Residual::Log]) {
            let problem = bound(law, models, point);
            let compiled = outputs(&problem, &problem.model.hessian, &here);
            // A law that is negative somewhere has no logarithm to differentiate.
            if residual == Residual::Log && compiled[0].iter().any(|x| x.is_nan()) {
                continue;
            }
            let gradient = outputs(&problem, &problem.model.search, &here);
            let digits = exact.agreement(&problem, &here, &compiled, &gradient);
            worst.iter_mut().zip(digits).for_each(|(worst, digits)| *worst = worst.min(digits));
        }
    }
    let quantities = [Quantity::FirstDerivatives, Quantity::SecondDerivatives, Quantity::Coordinates];
    Ok(quantities.into_iter().zip(worst).collect())
}

/// Digits to which a column agrees, relative to its scale: the largest of its entries and of their least scales. A
/// column that is not there is zero.
fn column_digits(got: Option<&[f64]>, exact: &[f64], least: impl Fn(usize) -> f64) -> f64 {
    let mut scale = 0.0_f64;
    let mut error = 0.0_f64;
    for (k, x) in exact.iter().enumerate() {
        scale = scale.max(x.abs()).max(least(k));
        let off = (got.map_or(0.0, |got| got[k]) - x).abs();
        error = if off.is_nan() { f64::INFINITY } else { error.max(off) };
    }
    if error == 0.0 { MOST } else { (-(error / scale).log10()).clamp(0.0, MOST) }
}

/// Derivatives by differences, at every observation.
struct Exact {
    /// Per observation, in the problem's order.
    at: Vec<Differences>,
    /// Of the natural parameters, `[parameter·p + coordinate]`.
    natural: Vec<f64>,
}

/// Derivatives of the prediction itself; second ones as a lower triangle by rows.
struct Differences {
    value: BigFloat,
    first: Vec<BigFloat>,
    second: Vec<BigFloat>,
    steps: Vec<BigFloat>,
}

impl Exact {
    fn at(law: &Law, problem: &Problem, theta: &[f64], point: &TestPoint) -> Result<Exact, Error> {
        let data = |error: String| fault(format!("{}: {error}", law.name));
        let precise =
            PreciseLaw::new(law, &problem.model.natural, &problem.means).map_err(|e| data(e.to_string()))?;
        let mut constants = Consts::new().map_err(|e| data(format!("{e:?}")))?;
        let size = |x: f64| if x == 0.0 { 1.0 } else { x.abs() };
        let steps: Vec<BigFloat> = theta.iter().map(|&x| scaled(&number(size(x)), STEP)).collect();
        let mut exact = Exact { at: Vec::new(), natural: Vec::new() };
        for (k, &row) in problem.observations.rows.iter().enumerate() {
            let variables: Vec<f64> = point.variables.iter().map(|column| column[row as usize]).collect();
            let mut at = At::new(&precise, theta, &steps, &variables, &mut constants);
            exact.at.push(differences(&mut at, &steps));
            if k == 0 {
                for parameter in 0..law.parameters.len() {
                    for (i, step) in steps.iter().enumerate() {
                        let [up, down] = [one(i, 1), one(i, -1)].map(|moved| at.parameter(parameter, moved));
                        exact.natural.push(to_f64(&div(&sub(&up, &down), &scaled(step, 1))));
                    }
                }
            }
        }
        Ok(exact)
    }

    /// First and second derivatives of `T(prediction)`, a column per coordinate and pair of coordinates.
    fn derivatives(&self, residual: Residual) -> [Vec<Vec<f64>>; 2] {
        let rows: Vec<[Vec<f64>; 2]> = self.at.iter().map(|at| at.rounded(residual)).collect();
        [0, 1].map(|order| {
            let columns = rows.first().map_or(0, |row| row[order].len());
            (0..columns).map(|c| rows.iter().map(|row| row[order][c]).collect()).collect()
        })
    }

    /// Digits of the worst first derivative, second derivative and derivative of a natural parameter, of what a
    /// compiled problem gives at `theta`: its full program, and the one that searches read first derivatives from.
    fn agreement(
        &self,
        problem: &Problem,
        theta: &[f64],
        compiled: &[Vec<f64>],
        gradient: &[Vec<f64>],
    ) -> [f64; 3] {
        let p = theta.len();
        let [first, second] = self.derivatives(problem.model.residual);
        let curved = |i: usize, j: usize| {
            let place = problem.model.second_pairs.iter().position(|&pair| pair == (i, j));
            place.map(|k| compiled[1 + p + k].as_slice())
        };
        // The prediction's own size, and one coordinate's unit.
        let size: Vec<f64> = match problem.model.residual {
            Residual::Log => vec![1.0; problem.n()],
            Residual::Linear => compiled[0].iter().map(|value| value.abs()).collect(),
        };
        let unit = |i: usize| match problem.model.coordinates[i].scale {
            Scale::Linear if theta[i] != 0.0 => theta[i].abs(),
            _ => 1.0,
        };
        let mut worst = [MOST; 3];
        let mut note = |which: usize, digits: f64| worst[which] = worst[which].min(digits);
        for i in 0..p {
            let least = |k: usize| NEGLIGIBLE * size[k] / unit(i);
            for program in [compiled, gradient] {
                note(0, column_digits(Some(&program[1 + i]), &first[i], least));
            }
            for j in 0..=i {
                let least = |k: usize| {
                    let product = (first[i][k] * first[j][k]).abs() / size[k];
                    product.max(NEGLIGIBLE * size[k] / (unit(i) * unit(j)))
                };
                note(1, column_digits(curved(i, j), &second[triangle(i) + j], least));
            }
        }
        for (a, b) in problem.natural_jacobian(theta).iter().zip(&self.natural) {
            note(2, column_digits(Some(&[*a]), &[*b], |_| 0.0));
        }
        worst
    }
}

impl Differences {
    /// First and second derivatives of `T(prediction)` in float64. What the differences cannot resolve is zero.
    fn rounded(&self, residual: Residual) -> [Vec<f64>; 2] {
        let log = residual == Residual::Log;
        // (ln f)' = f'/f and (ln f)'' = f''/f − f'f'/f²: the precision has digits to spare for it.
        let over = |x: &BigFloat| if log { div(x, &self.value) } else { x.clone() };
        let size = if log { number(1.0) } else { self.value.abs() };
        let rounded = |x: &BigFloat, change: &BigFloat, resolution: i32| {
            let felt = change.abs().cmp(&scaled(&size, resolution)).is_none_or(|order| order > 0);
            if felt { to_f64(x) } else { 0.0 }
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
                second.push(rounded(&entry, &change, 2 * STEP + RESOLUTION));
            }
        }
        let first = first.iter().zip(&self.steps);
        [first.map(|(x, step)| rounded(x, &mul(x, step), STEP + RESOLUTION)).collect(), second]
    }
}

fn one(i: usize, sign: i16) -> [i16; 2] {
    [sign * (i as i16 + 1), 0]
}

fn differences(at: &mut At, steps: &[BigFloat]) -> Differences {
    let p = steps.len();
    let here = at.prediction(HERE);
    let sides: Vec<[BigFloat; 2]> = (0..p).map(|i| [1, -1].map(|sign| at.prediction(one(i, sign)))).collect();
    let first: Vec<BigFloat> =
        (0..p).map(|i| div(&sub(&sides[i][0], &sides[i][1]), &scaled(&steps[i], 1))).collect();
    let mut second = Vec::with_capacity(triangle(p));
    for i in 0..p {
        for j in 0..=i {
            // f(+i+j) + f(−i−j) − f(+i) − f(−i) − f(+j) − f(−j) + 2f = 2·h·k·∂²f; for i = j it is the sum of both
            // sides less twice the middle.
            let middle = scaled(&here, 1);
            let around = |k: usize| sub(&add(&sides[k][0], &sides[k][1]), &middle);
            let value = if i == j {
                div(&around(i), &mul(&steps[i], &steps[i]))
            } else {
                let [both, neither] = [1, -1].map(|sign| at.prediction([one(i, sign)[0], one(j, sign)[0]]));
                let corners = sub(&add(&both, &neither), &middle);
                let mixed = sub(&sub(&corners, &around(i)), &around(j));
                div(&mixed, &scaled(&mul(&steps[i], &steps[j]), 1))
            };
            second.push(value);
        }
    }
    Differences { value: here, first, second, steps: steps.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::catalogue_law;

    #[test]
    fn every_law_has_its_derivatives() {
        let section = derivatives().unwrap();
        assert!(section.outcomes.len() >= 67, "{}", section.outcomes.len());
        for outcome in &section.outcomes {
            assert_eq!(outcome.failure, None, "{outcome:?}");
        }
    }

    /// Derivatives of Chinchilla's law, written here by hand, at one observation: with respect to E, and to log A
    /// at the same alpha. One wrong by a part in 1e8 must be seen.
    #[test]
    fn differences_are_right_and_see_what_is_wrong() {
        let law = catalogue_law("chinchilla");
        // E, A, alpha, B, beta.
        let parameters = vec![1.7, 400.0, 0.34, 400.0, 0.28];
        let point =
            TestPoint { parameters: parameters.clone(), variables: vec![vec![1e9, 2e8], vec![2e10, 7e9]] };
        let models = Models::compile(law.clone(), Residual::Linear);
        let problem = bound(&law, &models, &point);
        let theta = problem.coordinates(&parameters);
        let exact = Exact::at(&law, &problem, &theta, &point).unwrap();
        let [first, second] = exact.derivatives(Residual::Linear);
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
        let searched = outputs(&problem, &problem.model.search, &theta);
        assert!(exact.agreement(&problem, &theta, &right, &searched)[0] > 13.0);
        let wrong = |programs: &[Vec<f64>], output: usize, factor: f64| {
            let mut wrong = programs.to_vec();
            wrong[output].iter_mut().for_each(|x| *x *= factor);
            wrong
        };
        for i in 0..theta.len() {
            let full = wrong(&right, 1 + i, 1.0 + 1e-8);
            let digits = exact.agreement(&problem, &theta, &full, &searched)[0];
            assert!((7.9..8.1).contains(&digits), "{digits}");
            let gradient = wrong(&searched, 1 + i, 1.0 + 1e-8);
            let digits = exact.agreement(&problem, &theta, &right, &gradient)[0];
            assert!((7.9..8.1).contains(&digits), "{digits}");
        }
        for k in 0..problem.model.second_pairs.len() {
            let full = wrong(&right, 1 + theta.len() + k, 1.0 + 1e-5);
            assert!(exact.agreement(&problem, &theta, &full, &searched)[1] < 8.0);
        }
    }
}
