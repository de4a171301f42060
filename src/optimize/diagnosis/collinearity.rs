//! Explanations of undetermined parameters in terms of the data.
//!
//! The rank of the Jacobian (`identifiability`) decides what is undetermined. This file finds the words: which
//! parameters move together, and which property of the data lets them. Two properties explain nearly all cases: a
//! variable that takes too few values (`A/N^alpha` is a constant where `N` is), and two variables of which one is a
//! power of the other (tokens in fixed proportion to parameters).

use crate::compile::Role;
use crate::formula::list;
use crate::formula::{BinaryOp, Expr, ExprKind, names};
use crate::lanes::scalar;
use crate::law::Law;
use crate::problem::Problem;

use crate::optimize::models::Models;
use crate::optimize::starts::design::Given;

/// The largest departure of one variable from a power of the other, as a fraction of its spread, at which the two count
/// as collinear.
const COLLINEAR: f64 = 1e-2;

/// The ratio of largest to smallest value below which a variable has a narrow range.
const NARROW: f64 = 1.5;

/// The departure below which two variables cannot tell their terms apart, if another optimum is as good as the best.
const SAME_VARIABLE: f64 = 1e-3;

/// The smallest movement along an undetermined direction, relative to the parameter that moves most, with which a
/// parameter is named: above what rounding leaves of the others.
pub const MIN_MOVE: f64 = 1e-6;

/// The smallest such movement along the direction that is determined worst, which mixes with the others.
pub const MIN_MOVE_WEAKEST: f64 = 1e-3;

/// Two data expressions of which one is nearly a power of the other, or linear in it where values are not positive.
#[derive(Clone, Debug)]
pub struct Collinear {
    /// The sentence that says so.
    pub sentence: String,
    /// The root mean square departure over the spread.
    pub departure: f64,
    /// The parameters of the law in whose terms the two expressions stand.
    pub parameters: Vec<usize>,
    /// The exponent, or the slope where values are not positive.
    slope: f64,
    /// The two expressions, by their places in the model.
    pair: (usize, usize),
}

impl Collinear {
    /// Returns whether the two are so close that their terms can be told apart only if no other optimum is as good.
    pub fn is_same_variable(&self) -> bool {
        self.departure < SAME_VARIABLE
    }

    /// Returns starts, in natural units, at which the terms of the two have exchanged their roles: exponents exchanged,
    /// amplitudes left to be solved, everything else unchanged. (If `D = c·N^k`, then `B/D^beta` is a term in `N` with
    /// the exponent `k·beta`.)
    pub fn exchanges(&self, law: &Law, problem: &Problem, theta: &[f64]) -> Vec<Given> {
        let natural = problem.natural(theta);
        let coordinates = &problem.model.coordinates;
        let exponents = |source: usize, other: usize| -> Vec<usize> {
            let (own, others) = (
                parameters_of(law, &problem.model.sources[source]),
                parameters_of(law, &problem.model.sources[other]),
            );
            (0..coordinates.len())
                .filter(|&i| coordinates[i].role == Role::Exponent)
                .filter(|&i| {
                    own.contains(&coordinates[i].parameter) && !others.contains(&coordinates[i].parameter)
                })
                .collect()
        };
        let (first, second) = (exponents(self.pair.0, self.pair.1), exponents(self.pair.1, self.pair.0));
        let as_it_is: Given =
            coordinates.iter().map(|c| (c.role != Role::Amplitude).then(|| natural[c.parameter])).collect();
        let mut starts = Vec::new();
        for &i in &first {
            for &j in &second {
                let mut given = as_it_is.clone();
                given[i] = as_it_is[j].map(|exponent| exponent * self.slope);
                given[j] = as_it_is[i].map(|exponent| exponent / self.slope);
                starts.push(given);
            }
        }
        starts
    }
}

/// Returns the pair of data expressions that is closest to collinear, if any is; `values` is a buffer.
pub fn collinear(models: &Models, problem: &Problem, values: &mut [Vec<f64>; 2]) -> Option<Collinear> {
    let (law, sources) = (models.law(), &problem.model.sources);
    let mut worst: Option<Collinear> = None;
    for &(i, j) in models.independent() {
        let Some((slope, departure, logarithmic)) = line(problem, i, j, values) else { continue };
        if worst.as_ref().is_none_or(|w| departure < w.departure) {
            let (a, b) = (format!("`{}`", sources[i]), format!("`{}`", sources[j]));
            let to = if departure < 1e-9 { String::new() } else { format!(" to {departure:.0e}") };
            let sentence = if logarithmic && (slope - 1.0).abs() < 1e-6 {
                format!("{b} is proportional to {a}{to}")
            } else if logarithmic {
                format!("{b} is a power of {a}{to}, so that their logarithms are collinear")
            } else {
                format!("{b} and {a} are collinear{to}")
            };
            let mut parameters = [parameters_of(law, &sources[i]), parameters_of(law, &sources[j])].concat();
            parameters.sort_unstable();
            parameters.dedup();
            worst = Some(Collinear { sentence, departure, parameters, slope, pair: (i, j) });
        }
    }
    worst
}

/// Returns the regression of the j-th data expression on the i-th: slope, departure over spread, and whether in
/// logarithms. None where they are not collinear, or where either takes fewer than three values.
fn line(problem: &Problem, i: usize, j: usize, values: &mut [Vec<f64>; 2]) -> Option<(f64, f64, bool)> {
    let [x, y] = values;
    used(problem, i, x);
    used(problem, j, y);
    let logarithmic = x.iter().chain(y.iter()).all(|v| *v > 0.0);
    if logarithmic {
        x.iter_mut().chain(y.iter_mut()).for_each(|v| *v = scalar::ln(*v));
    }
    let n = x.len() as f64;
    let centre = |values: &mut [f64]| {
        let mean = values.iter().sum::<f64>() / n;
        values.iter_mut().for_each(|v| *v -= mean);
        values.iter().map(|v| v * v).sum::<f64>()
    };
    let (xx, yy) = (centre(x), centre(y));
    if !(xx > 0.0 && yy > 0.0) {
        return None;
    }
    let slope = x.iter().zip(y.iter()).map(|(a, b)| a * b).sum::<f64>() / xx;
    let rest: f64 = x.iter().zip(y.iter()).map(|(a, b)| (b - slope * a).powi(2)).sum();
    let departure = (rest / yy).sqrt();
    let holds = departure < COLLINEAR && distinct(problem, i) >= 3 && distinct(problem, j) >= 3;
    holds.then_some((slope, departure, logarithmic))
}

/// Leaves in `used` the values of a data expression at observations of positive weight.
fn used(problem: &Problem, source: usize, used: &mut Vec<f64>) {
    let values = problem.observations.source(source).iter().zip(&problem.observations.weight);
    used.clear();
    used.extend(values.filter(|(_, w)| **w > 0.0).map(|(x, _)| *x));
}

/// Returns the values of a data expression at observations of positive weight, ascending.
fn sorted(problem: &Problem, source: usize) -> Vec<f64> {
    let mut values = Vec::with_capacity(problem.n());
    used(problem, source, &mut values);
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Returns the number of distinct values of a data expression at observations of positive weight.
fn distinct(problem: &Problem, source: usize) -> usize {
    let mut values = sorted(problem, source);
    values.dedup();
    values.len()
}

/// Returns the parameters of the law that stand in a term with a data expression.
fn parameters_of(law: &Law, source: &Expr) -> Vec<usize> {
    let mut terms = Vec::new();
    split(&law.prediction, &mut terms);
    let variables = names(source);
    terms.retain(|term| term.iter().any(|name| variables.contains(name)));
    let stands = |i: &usize| terms.iter().any(|t| t.contains(&law.parameters[*i].name.as_str()));
    (0..law.parameters.len()).filter(stands).collect()
}

/// Returns a phrase about data expressions with fewer distinct values than parameters to determine, if there are any.
///
/// `undetermined` and `at_edge` are parameters of the law. Those on an edge count, because they would be free to move
/// with the others.
pub fn few_values(law: &Law, problem: &Problem, undetermined: &[usize], at_edge: &[usize]) -> Option<String> {
    if undetermined.is_empty() {
        return None;
    }
    let phrase = |(s, source): (usize, &Expr)| {
        let own = parameters_of(law, source);
        let extra = at_edge.iter().filter(|p| !undetermined.contains(p) && own.contains(p)).count();
        let values = distinct(problem, s);
        let few = values == 1 || values < undetermined.len() + extra;
        let count = if values == 1 { "one value only".to_string() } else { format!("only {values} values") };
        (few && undetermined.iter().any(|p| own.contains(p))).then(|| format!("`{source}` takes {count}"))
    };
    joined(problem.model.sources.iter().enumerate().filter_map(phrase).collect())
}

/// Returns a phrase about data expressions of a narrow range among those that should determine the given parameters, if
/// there are any.
pub fn narrow_range(law: &Law, problem: &Problem, parameters: &[usize]) -> Option<String> {
    if parameters.is_empty() {
        return None;
    }
    let phrase = |(s, source): (usize, &Expr)| {
        let values = sorted(problem, s);
        let (low, high) = (*values.first()?, *values.last()?);
        let narrow = low > 0.0 && high > low && high < NARROW * low;
        let own = parameters_of(law, source);
        (narrow && parameters.iter().any(|p| own.contains(p)))
            .then(|| format!("`{source}` spans a factor of {:.3} only", high / low))
    };
    joined(problem.model.sources.iter().enumerate().filter_map(phrase).collect())
}

/// Joins phrases by "and".
fn joined(phrases: Vec<String>) -> Option<String> {
    (!phrases.is_empty()).then(|| phrases.join(" and "))
}

/// Collects the names in each term of a sum.
fn split<'a>(expr: &'a Expr, terms: &mut Vec<Vec<&'a str>>) {
    match &expr.kind {
        ExprKind::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) => {
            split(a, terms);
            split(b, terms);
        }
        ExprKind::Negate(a) => split(a, terms),
        _ => terms.push(names(expr)),
    }
}

/// Returns the parameters of the law that move along some of the directions (steps in solver coordinates) by more than
/// `threshold` of the one that moves most.
pub fn movers(problem: &Problem, theta: &[f64], directions: &[Vec<f64>], threshold: f64) -> Vec<usize> {
    let moves: Vec<Vec<f64>> = directions.iter().map(|d| moves(problem, theta, d)).collect();
    let n = moves.first().map_or(0, Vec::len);
    (0..n).filter(|&k| moves.iter().any(|m| m[k].abs() > threshold)).collect()
}

/// Returns the movement of each parameter along a direction, relative to its own size, with the largest scaled to one.
fn moves(problem: &Problem, theta: &[f64], direction: &[f64]) -> Vec<f64> {
    let p = problem.p();
    let natural = problem.natural(theta);
    let jacobian = problem.natural_jacobian(theta);
    let response = &problem.observations.response;
    let size = response.iter().map(|y| y.abs()).fold(0.0, f64::max);
    let mut moves: Vec<f64> =
        (0..natural.len()).map(|k| (0..p).map(|i| jacobian[k * p + i] * direction[i]).sum::<f64>()).collect();
    for coordinate in &problem.model.coordinates {
        let k = coordinate.parameter;
        let unit = match coordinate.role {
            Role::Offset | Role::LowEnd | Role::HighEnd => size,
            Role::Exponent => natural[k].abs().max(1.0),
            _ => natural[k].abs(),
        };
        moves[k] /= if unit > 0.0 { unit } else { 1.0 };
    }
    let largest = moves.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    moves.iter_mut().for_each(|x| *x = if largest > 0.0 && x.is_finite() { *x / largest } else { 0.0 });
    moves
}

/// Returns how parameters move along the directions, as the subject of a sentence: "raising `A`, `alpha` while lowering
/// `E`".
pub fn movement(
    law: &Law,
    problem: &Problem,
    theta: &[f64],
    directions: &[Vec<f64>],
    threshold: f64,
) -> String {
    let [direction] = directions else {
        return format!("each of {} independent ways of moving them", directions.len());
    };
    let moves = moves(problem, theta, direction);
    let taking_part: Vec<usize> = (0..moves.len()).filter(|&k| moves[k].abs() > threshold).collect();
    let Some(&first) = taking_part.first() else { return "moving them".to_string() };
    if taking_part.len() == 1 {
        return "moving it".to_string();
    }
    let side = |up: bool| -> Vec<&str> {
        let with_first = |k: &&usize| (moves[**k] * moves[first] > 0.0) == up;
        taking_part.iter().filter(with_first).map(|&k| law.parameters[k].name.as_str()).collect()
    };
    let (raised, lowered) = (side(true), side(false));
    if lowered.is_empty() {
        format!("raising {} together", list(&raised))
    } else {
        format!("raising {} while lowering {}", list(&raised), list(&lowered))
    }
}
