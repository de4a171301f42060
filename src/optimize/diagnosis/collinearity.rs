//! Why the data does not determine some parameters, in the user's terms.
//!
//! The judge is the numerical rank (`identifiability`); what stands here only finds words for its verdict: which
//! parameters move together, and what about the data lets them. Two facts of the data explain nearly all cases: a
//! variable that takes too few values (`A/N^alpha` is a constant where `N` is), and two variables of which one is a
//! power of the other (tokens in fixed proportion to parameters).

use crate::compile::Role;
use crate::formula::{BinaryOp, Expr, ExprKind, names};
use crate::law::{Law, list};
use crate::problem::Problem;

use crate::optimize::models::Models;
use crate::optimize::starts::design::Given;

/// Two variables are called collinear where one departs from a power of the other by less than this threshold of its
/// spread.
const COLLINEAR: f64 = 1e-2;

/// A variable whose largest value is below this multiple of its smallest has a narrow range.
const NARROW: f64 = 1.5;

/// Two variables closer than this to a power of one another do not tell their terms apart, if another optimum is as
/// good as the best.
const SAME_VARIABLE: f64 = 1e-3;

/// A parameter takes part in a direction that changes nothing if it moves by this threshold of the one that moves most:
/// above what rounding leaves of those that do not.
pub const MIN_MOVE: f64 = 1e-6;

/// The same in a direction that is merely the worst determined, which is never pure.
pub const MIN_MOVE_WEAKEST: f64 = 1e-3;

/// Two data expressions of which one is, nearly, a power of the other (or a straight line in it, where values are
/// not positive).
#[derive(Clone, Debug)]
pub struct Collinear {
    pub sentence: String,
    /// Root mean square departure over spread.
    pub departure: f64,
    /// Parameters of the law in whose terms they stand.
    pub parameters: Vec<usize>,
    slope: f64,
    pair: (usize, usize),
}

impl Collinear {
    /// Whether they are so close that only an optimum without rival can tell their terms apart.
    pub fn is_same_variable(&self) -> bool {
        self.departure < SAME_VARIABLE
    }

    /// Starts at which the terms of the two have exchanged their roles: exponents exchanged, amplitudes left to be
    /// solved, all else as it is. (If `D = c·N^k`, then `B/D^beta` is a term in `N` with the exponent `k·beta`.)
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

/// Data expressions that move together, the worst pair alone; `values` is a buffer.
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

/// The line of the j-th data expression in the i-th: slope, departure over spread, and whether in logarithms. None
/// where they are not collinear, or where either takes fewer than three values, through which there is always a line.
fn line(problem: &Problem, i: usize, j: usize, values: &mut [Vec<f64>; 2]) -> Option<(f64, f64, bool)> {
    let [x, y] = values;
    used(problem, i, x);
    used(problem, j, y);
    let logarithmic = x.iter().chain(y.iter()).all(|v| *v > 0.0);
    if logarithmic {
        x.iter_mut().chain(y.iter_mut()).for_each(|v| *v = v.ln());
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

/// The values of a data expression where there is weight.
fn used(problem: &Problem, source: usize, used: &mut Vec<f64>) {
    let values = problem.observations.source(source).iter().zip(&problem.observations.weight);
    used.clear();
    used.extend(values.filter(|(_, w)| **w > 0.0).map(|(x, _)| *x));
}

/// The same in order.
fn sorted(problem: &Problem, source: usize) -> Vec<f64> {
    let mut values = Vec::with_capacity(problem.n());
    used(problem, source, &mut values);
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Distinct values that a data expression takes where there is weight.
fn distinct(problem: &Problem, source: usize) -> usize {
    let mut values = sorted(problem, source);
    values.dedup();
    values.len()
}

/// The parameters of the law that stand in a term with a data expression.
fn parameters_of(law: &Law, source: &Expr) -> Vec<usize> {
    let mut terms = Vec::new();
    split(&law.prediction, &mut terms);
    let variables = names(source);
    terms.retain(|term| term.iter().any(|name| variables.contains(name)));
    let stands = |i: &usize| terms.iter().any(|t| t.contains(&law.parameters[*i].name.as_str()));
    (0..law.parameters.len()).filter(stands).collect()
}

/// Data expressions with fewer values than there are parameters for them to determine, in a phrase.
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

/// Data expressions of a narrow range among those that should determine the given parameters, in a phrase.
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

fn joined(phrases: Vec<String>) -> Option<String> {
    (!phrases.is_empty()).then(|| phrases.join(" and "))
}

/// The names in each term of a sum.
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

/// The parameters of the law that move along some of the directions (steps in the coordinates).
pub fn movers(problem: &Problem, theta: &[f64], directions: &[Vec<f64>], threshold: f64) -> Vec<usize> {
    let moves: Vec<Vec<f64>> = directions.iter().map(|d| moves(problem, theta, d)).collect();
    let n = moves.first().map_or(0, Vec::len);
    (0..n).filter(|&k| moves.iter().any(|m| m[k].abs() > threshold)).collect()
}

/// How the parameters move along one direction, each relative to its own size, the largest as one.
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

/// How parameters move along the directions, as the subject of a sentence: "raising `A`, `alpha` while lowering `E`".
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
