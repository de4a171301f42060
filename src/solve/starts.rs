//! Where searches begin: drawn from the law's start region, with the amplitudes solved from the data.
//!
//! A scaling law is usually linear in its amplitudes. Given exponents (and a floor below the smallest
//! response) the amplitudes follow by non-negative least squares, so only the exponents need a design
//! (variable projection: Golub & Pereyra 1973). The design is Roberts' additive recurrence (2018), a
//! low-discrepancy sequence in any dimension that needs no tables. Many points are screened by their
//! objective, and searches begin at the best of them and at a spread of the others.

use crate::formula::Expr;
use crate::law::{Coordinate, LANES, Residual, Role, Scale, StartRule};
use crate::problem::{LaneData, Problem, Workspace, lanes_of, outputs_lanes};

use super::balance::balance;
use super::batch::Batch;
use super::dense::{cholesky, cholesky_solve};

/// Points screened per search.
const SCREENED_PER_START: usize = 4;

/// A value fixed by the user, per coordinate, in natural units.
pub type Given = Vec<Option<f64>>;

/// Up to `n` starts, best objective first, then the user's own if there is one.
pub fn starts(
    problem: &Problem,
    rules: &[StartRule],
    n: usize,
    user: Option<&Given>,
    batch: &mut Batch,
) -> Vec<Vec<f64>> {
    let free = vec![None; problem.p()];
    let mut starts = Vec::new();
    let own = usize::from(user.is_some());
    if n > own {
        let wanted = n - own;
        starts = screened(problem, rules, &free, SCREENED_PER_START * wanted, wanted, batch);
    }
    if let Some(given) = user {
        starts.extend(screened(problem, rules, given, 2 * LANES, 1, batch));
    }
    starts
}

fn screened(
    problem: &Problem,
    rules: &[StartRule],
    given: &Given,
    n_points: usize,
    wanted: usize,
    batch: &mut Batch,
) -> Vec<Vec<f64>> {
    let points = design(problem, rules, given, n_points);
    let objectives = batch.objectives(problem, &points);
    let mut ranked: Vec<usize> = (0..points.len()).filter(|&i| objectives[i].is_finite()).collect();
    ranked.sort_by(|&a, &b| objectives[a].total_cmp(&objectives[b]));
    // The best half by objective, the rest evenly over the remaining ranks: a basin whose bottom is deep
    // may look poor from its rim.
    let best = wanted.div_ceil(2).min(ranked.len());
    let others = ranked.len() - best;
    let spread = (wanted - best).min(others);
    let mut chosen: Vec<usize> = ranked[..best].to_vec();
    chosen.extend((0..spread).map(|k| ranked[best + k * others / spread]));
    chosen.into_iter().map(|i| points[i].clone()).collect()
}

/// Interval of a coordinate's draws, in natural units.
fn interval(problem: &Problem, coordinate: &Coordinate, rule: &StartRule) -> (f64, f64, bool) {
    let fallback = (0.1, 10.0, true);
    match rule {
        StartRule::Between { low, high, log } => (*low, *high, *log && *low > 0.0),
        StartRule::Floor => {
            let least = problem.observations.response.iter().copied().fold(f64::INFINITY, f64::min);
            if least > 0.0 && least.is_finite() { (0.0, 0.98 * least, false) } else { (0.0, 1e-3, false) }
        }
        StartRule::Solve | StartRule::Balance => (0.0, 1.0, false),
        StartRule::Above => {
            let greatest = problem.observations.response.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if greatest > 0.0 && greatest.is_finite() {
                (1.001 * greatest, 4.0 * greatest, true)
            } else {
                fallback
            }
        }
        StartRule::Below { expression } => match sizes(problem, expression) {
            Some((low, _)) => (0.0, 0.98 * low, false),
            None => fallback,
        },
        StartRule::DataRange { expression, inverse } => {
            let Some((low, high)) = sizes(problem, expression) else { return fallback };
            let (low, high) = if *inverse { (0.1 / high, 3.0 / low) } else { (low, high) };
            let high = if high > low { high } else { 10.0 * low };
            if coordinate.low < 0.0 && coordinate.scale == Scale::Linear && coordinate.high <= 0.0 {
                (-high, -low, false)
            } else {
                (low, high, true)
            }
        }
    }
}

/// Smallest and largest absolute value of a data expression, zeros left out.
fn sizes(problem: &Problem, expression: &Expr) -> Option<(f64, f64)> {
    let text = expression.to_string();
    let source = problem.model.sources.iter().position(|s| s.to_string() == text)?;
    let values = problem.observations.source(source).iter().map(|x| x.abs());
    let (low, high) = values
        .filter(|x| *x > 0.0 && x.is_finite())
        .fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
    (low <= high).then_some((low, high))
}

/// Observations, by position, where the law is not finite at any point of the design: no search could begin
/// with them.
pub fn never_finite(problem: &Problem, rules: &[StartRule]) -> Vec<usize> {
    let points = design(problem, rules, &vec![None; problem.p()], 2 * LANES);
    let data = LaneData::repeated(problem);
    let mut workspace = Workspace::default();
    let mut finite = vec![false; data.n_packs];
    for chunk in points.chunks(LANES) {
        let coordinates = lanes_of(chunk, problem.p());
        let outputs = outputs_lanes(&problem.model.value, &data, &coordinates, &mut workspace);
        for (flag, pack) in finite.iter_mut().zip(&outputs[0]) {
            *flag |= pack.0.iter().any(|v| v.is_finite());
        }
    }
    let weighted = (0..problem.n()).filter(|&i| problem.observations.weight[i] != 0.0);
    weighted.zip(&finite).filter(|(_, finite)| !**finite).map(|(i, _)| i).collect()
}

/// `n` points of the solver's coordinates.
fn design(problem: &Problem, rules: &[StartRule], given: &Given, n: usize) -> Vec<Vec<f64>> {
    let coordinates = &problem.model.coordinates;
    let p = coordinates.len();
    let solved: Vec<usize> = problem
        .model
        .amplitudes
        .iter()
        .copied()
        .filter(|&i| rules[i] == StartRule::Solve && given[i].is_none())
        .collect();
    let balanced = (0..p).find(|&i| rules[i] == StartRule::Balance && given[i].is_none());
    let drawn: Vec<usize> =
        (0..p).filter(|i| !solved.contains(i) && balanced != Some(*i) && given[*i].is_none()).collect();
    let intervals: Vec<(f64, f64, bool)> =
        drawn.iter().map(|&i| interval(problem, &coordinates[i], &rules[i])).collect();
    let ratio = recurrence_ratio(drawn.len());
    // One point is enough where everything is solved or given.
    let n = if drawn.is_empty() { 1 } else { n };
    let mut points: Vec<Vec<f64>> = Vec::with_capacity(n);
    for k in 0..n {
        let mut natural: Vec<f64> = (0..p)
            .map(|i| given[i].unwrap_or(f64::from(u8::from(coordinates[i].scale == Scale::Log))))
            .collect();
        for (d, (&i, &(low, high, log))) in drawn.iter().zip(&intervals).enumerate() {
            let u = (0.5 + (k as f64 + 1.0) * ratio.powi(d as i32 + 1)).fract();
            natural[i] =
                if log { (low.ln() + u * (high.ln() - low.ln())).exp() } else { low + u * (high - low) };
        }
        points.push(problem.coordinates(&natural));
    }
    if !solved.is_empty() {
        solve_amplitudes(problem, &solved, &mut points);
    }
    if let Some(i) = balanced {
        balance(problem, i, &mut points);
    }
    points
}

/// The ratio of Roberts' recurrence in `d` dimensions: 1 over the positive root of x^(d+1) = x + 1.
fn recurrence_ratio(d: usize) -> f64 {
    let mut x: f64 = 1.5;
    for _ in 0..60 {
        x = (1.0 + x).powf(1.0 / (d as f64 + 1.0));
    }
    1.0 / x
}

/// Replaces the amplitudes of every point by the weighted least-squares solution given the rest.
fn solve_amplitudes(problem: &Problem, solved: &[usize], points: &mut [Vec<f64>]) {
    let model = &problem.model;
    let n = problem.n();
    let observations = &problem.observations;
    let data = LaneData::repeated(problem);
    // Rows as the lanes hold them: observations of weight zero are left out.
    let kept: Vec<usize> = (0..n).filter(|&i| observations.weight[i] != 0.0).collect();
    let row_weight: Vec<f64> = kept
        .iter()
        .map(|&i| {
            let size = match model.residual {
                // Relative errors of the prediction approximate residuals of logarithms.
                Residual::Log => observations.response[i].powi(-2),
                Residual::Linear => 1.0,
            };
            observations.weight[i] * observations.sigma_at(i).powi(-2) * size
        })
        .collect();
    let mut workspace = Workspace::default();
    for chunk in points.chunks_mut(LANES) {
        let coordinates = lanes_of(chunk, model.coordinates.len());
        let outputs = outputs_lanes(&model.design, &data, &coordinates, &mut workspace);
        for (lane, theta) in chunk.iter_mut().enumerate() {
            let factor = |amplitude: usize, k: usize| {
                let place = model.amplitudes.iter().position(|&a| a == amplitude).unwrap_or(0);
                outputs[1 + place][k].0[lane]
            };
            // Amplitudes that are not solved keep their drawn or given value.
            let rhs: Vec<f64> = kept
                .iter()
                .enumerate()
                .map(|(k, &i)| {
                    let known: f64 = model
                        .amplitudes
                        .iter()
                        .filter(|a| !solved.contains(a))
                        .map(|&a| plain(&model.coordinates[a], theta[a]) * factor(a, k))
                        .sum();
                    observations.response[i] - outputs[0][k].0[lane] - known
                })
                .collect();
            let columns: Vec<Vec<f64>> =
                solved.iter().map(|&a| (0..kept.len()).map(|k| factor(a, k)).collect()).collect();
            let signs: Vec<Sign> = solved.iter().map(|&a| sign(&model.coordinates[a])).collect();
            let amplitudes = signed_least_squares(&columns, &rhs, &row_weight, &signs);
            for (s, (&a, &value)) in solved.iter().zip(&amplitudes).enumerate() {
                let coordinate = &model.coordinates[a];
                theta[a] = match coordinate.scale {
                    Scale::Linear => value.clamp(coordinate.low, coordinate.high),
                    Scale::Log => {
                        let value = if value > 0.0 {
                            value
                        } else {
                            small_amplitude(&columns[s], &observations.response)
                        };
                        value.ln().clamp(coordinate.low, coordinate.high)
                    }
                };
            }
        }
    }
}

/// The amplitude as a plain factor.
fn plain(coordinate: &Coordinate, theta: f64) -> f64 {
    match coordinate.scale {
        Scale::Linear => theta,
        Scale::Log => theta.exp(),
    }
}

/// A term that starts at a thousandth of the response: small, yet felt.
fn small_amplitude(column: &[f64], response: &[f64]) -> f64 {
    let size =
        |values: &[f64]| (values.iter().map(|x| x * x).sum::<f64>() / values.len().max(1) as f64).sqrt();
    let value = 1e-3 * size(response) / size(column);
    if value > 0.0 && value.is_finite() { value } else { 1.0 }
}

#[derive(Clone, Copy, PartialEq)]
enum Sign {
    Any,
    NonNegative,
    NonPositive,
}

fn sign(coordinate: &Coordinate) -> Sign {
    if coordinate.scale == Scale::Log || coordinate.low >= 0.0 {
        Sign::NonNegative
    } else if coordinate.high <= 0.0 {
        Sign::NonPositive
    } else {
        Sign::Any
    }
}

/// Weighted least squares with signs: columns of the wrong sign are dropped, worst first, until none is
/// left. (For starts this serves as well as the full non-negative algorithm and is shorter.)
fn signed_least_squares(columns: &[Vec<f64>], rhs: &[f64], weight: &[f64], signs: &[Sign]) -> Vec<f64> {
    let dot =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).zip(weight).map(|((x, y), w)| x * y * w).sum() };
    let scale: Vec<f64> = columns
        .iter()
        .map(|c| {
            let norm = dot(c, c).sqrt();
            if norm > 0.0 && norm.is_finite() { norm } else { 1.0 }
        })
        .collect();
    let mut active: Vec<usize> = (0..columns.len()).collect();
    let mut solution = vec![0.0; columns.len()];
    while !active.is_empty() {
        let m = active.len();
        let mut matrix = vec![0.0; m * m];
        let mut b = vec![0.0; m];
        for (r, &i) in active.iter().enumerate() {
            for (c, &j) in active[..=r].iter().enumerate() {
                matrix[r * m + c] = dot(&columns[i], &columns[j]) / (scale[i] * scale[j]);
            }
            // A trace of ridge: nearly collinear columns share their load instead of cancelling.
            matrix[r * m + r] *= 1.0 + 1e-10;
            b[r] = dot(&columns[i], rhs) / scale[i];
        }
        if !cholesky(&mut matrix, m) {
            active.pop();
            continue;
        }
        cholesky_solve(&matrix, m, &mut b);
        let wrong = |r: usize| match signs[active[r]] {
            Sign::Any => 0.0,
            Sign::NonNegative => -b[r],
            Sign::NonPositive => b[r],
        };
        let worst = (0..m).max_by(|&x, &y| wrong(x).total_cmp(&wrong(y)));
        match worst {
            Some(r) if wrong(r) > 0.0 => {
                active.remove(r);
            }
            _ => {
                for (r, &i) in active.iter().enumerate() {
                    solution[i] = b[r] / scale[i];
                }
                break;
            }
        }
    }
    solution
}

/// How many starts a law gets where the user does not say.
pub fn default_starts(coordinates: &[Coordinate]) -> usize {
    let drawn = coordinates.iter().filter(|c| !matches!(c.role, Role::Amplitude | Role::Offset)).count();
    match drawn {
        0 => 2,
        1 => 8,
        2 | 3 => 16,
        4 | 5 => 32,
        _ => 64,
    }
}
