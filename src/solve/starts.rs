//! Where searches begin: drawn from the law's start region, with the amplitudes solved from the data.
//!
//! A scaling law is usually linear in its amplitudes. Given exponents (and a floor below the smallest
//! response) the amplitudes follow by non-negative least squares, so only the exponents need a design
//! (variable projection: Golub & Pereyra 1973). The design is Roberts' additive recurrence (2018), a
//! low-discrepancy sequence in any dimension that needs no tables. Many points are screened by their
//! objective, and searches begin at the best of them and at a spread of the others. A few thousand observations
//! show where to begin as well as a million: amplitudes and objectives are those of [`Problem::sample`].

use std::ops::Range;

use crate::formula::Expr;
use crate::law::{Coordinate, LANES, Pack, Residual, Scale, StartRule, start_rules};
use crate::problem::{LaneData, Problem, Workspace, lanes_of, outputs_lanes, triangle};

use super::balance::balance;
use super::batch::Batch;
use super::dense::{cholesky, cholesky_solve};
use super::edges::Models;
use super::valley::Valley;

/// A value fixed by the user, per coordinate, in natural units.
pub type Given = Vec<Option<f64>>;

/// How starts of one problem are made.
#[derive(Debug)]
pub struct Design {
    /// One per coordinate.
    rules: Vec<StartRule>,
    /// Coordinates that are drawn in ascending order, because the law has them exchangeable.
    ordered: Vec<usize>,
    valley: Option<Valley>,
}

impl Design {
    pub fn new(models: &Models, problem: &Problem) -> Design {
        let (law, coordinates) = (models.law(), &problem.model.coordinates);
        let rules = start_rules(law, coordinates);
        let is_ordered = |i: &usize| law.ordered.contains(&law.parameters[coordinates[*i].parameter].name);
        let ordered = (0..coordinates.len()).filter(is_ordered).collect();
        let valley = Valley::of(models, problem, &rules);
        Design { rules, ordered, valley }
    }

    /// What has to be drawn where nothing is given: the dimensions of the search for the global optimum.
    pub fn n_drawn(&self, problem: &Problem) -> usize {
        self.division(problem, &vec![None; problem.p()]).drawn.len()
    }

    /// What becomes of each coordinate.
    fn division(&self, problem: &Problem, given: &Given) -> Division<'_> {
        let coordinates = &problem.model.coordinates;
        let open: Vec<usize> = (0..problem.p()).filter(|&i| given[i].is_none()).collect();
        // What the user holds cannot be solved along with the rest of the valley.
        let valley = self.valley.as_ref().filter(|valley| {
            let held = |i: usize| given[i].is_some() && valley.solved.contains(&coordinates[i].parameter);
            !(0..problem.p()).any(held)
        });
        let amplitudes: Vec<usize> = problem
            .model
            .amplitudes
            .iter()
            .copied()
            .filter(|&i| self.rules[i] == StartRule::Solve && given[i].is_none())
            .collect();
        let balanced = open.iter().copied().find(|&i| self.rules[i] == StartRule::Balance);
        let drawn = open.into_iter().filter(|&i| !amplitudes.contains(&i) && balanced != Some(i)).collect();
        Division { valley, amplitudes, balanced, drawn }
    }
}

/// The coordinates of a start by how they come about; those that are given are in none of them.
struct Division<'a> {
    /// Where the valley's coordinates can be solved.
    valley: Option<&'a Valley>,
    amplitudes: Vec<usize>,
    balanced: Option<usize>,
    drawn: Vec<usize>,
}

/// Up to `n` starts from a range of the design's points, best objective first; fewer where the design has no more.
pub fn starts(
    problem: &Problem,
    design: &Design,
    points: Range<usize>,
    n: usize,
    batch: &mut Batch,
) -> Vec<Vec<f64>> {
    screened(problem, design, &vec![None; problem.p()], points, n, batch)
}

/// The user's own start; what it leaves open is drawn and solved, the best of a few draws.
pub fn user_start(problem: &Problem, design: &Design, given: &Given, batch: &mut Batch) -> Vec<Vec<f64>> {
    screened(problem, design, given, 0..2 * LANES, 1, batch)
}

fn screened(
    problem: &Problem,
    design: &Design,
    given: &Given,
    points: Range<usize>,
    wanted: usize,
    batch: &mut Batch,
) -> Vec<Vec<f64>> {
    let mut points = design_points(problem, design, given, points, batch);
    let objectives = batch.objectives(problem, &points);
    let mut ranked: Vec<usize> = (0..points.len()).filter(|&i| objectives[i].is_finite()).collect();
    ranked.sort_unstable_by(|&a, &b| objectives[a].total_cmp(&objectives[b]).then(a.cmp(&b)));
    // The best half by objective, the rest evenly over the remaining ranks: a basin whose bottom is deep
    // may look poor from its rim.
    let best = wanted.div_ceil(2).min(ranked.len());
    let others = ranked.len() - best;
    let spread = (wanted - best).min(others);
    let mut chosen: Vec<usize> = ranked[..best].to_vec();
    chosen.extend((0..spread).map(|k| ranked[best + k * others / spread]));
    chosen.into_iter().map(|i| std::mem::take(&mut points[i])).collect()
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
        StartRule::Location { expression } => match ends(problem, expression) {
            Some((low, high)) => (low, high, false),
            None => fallback,
        },
        StartRule::Width { expression } => match ends(problem, expression) {
            Some((low, high)) if high > low => (0.005 * (high - low), 0.5 * (high - low), true),
            _ => fallback,
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

/// Smallest and largest value of a data expression.
fn ends(problem: &Problem, expression: &Expr) -> Option<(f64, f64)> {
    let text = expression.to_string();
    let source = problem.model.sources.iter().position(|s| s.to_string() == text)?;
    let values = problem.observations.source(source).iter().filter(|x| x.is_finite());
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)));
    (low <= high).then_some((low, high))
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
pub fn never_finite(models: &Models, problem: &Problem) -> Vec<usize> {
    let design = Design::new(models, problem);
    let points =
        design_points(problem, &design, &vec![None; problem.p()], 0..2 * LANES, &mut Batch::default());
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

/// Points of the solver's coordinates: a range of the design's sequence.
fn design_points(
    problem: &Problem,
    design: &Design,
    given: &Given,
    range: Range<usize>,
    batch: &mut Batch,
) -> Vec<Vec<f64>> {
    let coordinates = &problem.model.coordinates;
    let p = coordinates.len();
    let Division { valley, amplitudes, balanced, drawn } = design.division(problem, given);
    let intervals: Vec<(f64, f64, bool)> =
        drawn.iter().map(|&i| interval(problem, &coordinates[i], &design.rules[i])).collect();
    let ratio = recurrence_ratio(drawn.len());
    let ordered: Vec<usize> = design.ordered.iter().copied().filter(|i| drawn.contains(i)).collect();
    // One point is enough where everything is solved or given.
    let range = if drawn.is_empty() { range.start.min(1)..1 } else { range };
    let mut points: Vec<Vec<f64>> = Vec::with_capacity(range.len());
    let mut ascending: Vec<f64> = Vec::with_capacity(ordered.len());
    for k in range {
        let mut natural: Vec<f64> = (0..p)
            .map(|i| given[i].unwrap_or(f64::from(u8::from(coordinates[i].scale == Scale::Log))))
            .collect();
        for (d, (&i, &(low, high, log))) in drawn.iter().zip(&intervals).enumerate() {
            let u = (0.5 + (k as f64 + 1.0) * ratio.powi(d as i32 + 1)).fract();
            natural[i] =
                if log { (low.ln() + u * (high.ln() - low.ln())).exp() } else { low + u * (high - low) };
        }
        ascending.clear();
        ascending.extend(ordered.iter().map(|&i| natural[i]));
        ascending.sort_by(f64::total_cmp);
        ordered.iter().zip(&ascending).for_each(|(&i, &value)| natural[i] = value);
        points.push(natural);
    }
    if let Some(valley) = valley {
        // Every other point keeps its draws: basins that the data's own exponents never lead to exist.
        let mut solved: Vec<Vec<f64>> = points.iter_mut().step_by(2).map(std::mem::take).collect();
        valley.solve(problem, &mut solved);
        points.iter_mut().step_by(2).zip(solved).for_each(|(point, solved)| *point = solved);
    }
    problem.to_coordinates(&mut points);
    if !amplitudes.is_empty() {
        solve_amplitudes(problem, &amplitudes, &mut points, batch);
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
        let next = (1.0 + x).powf(1.0 / (d as f64 + 1.0));
        if next == x {
            break;
        }
        x = next;
    }
    1.0 / x
}

/// Replaces the amplitudes of every point by the weighted least-squares solution given the rest.
fn solve_amplitudes(problem: &Problem, solved: &[usize], points: &mut [Vec<f64>], batch: &mut Batch) {
    let model = &problem.model;
    let observations = &problem.observations;
    // Rows as the lanes hold them.
    let sample = problem.sample();
    let mut response = Vec::with_capacity(sample.len());
    let mut row_weight = Vec::with_capacity(sample.len());
    for i in sample.iter().map(|&i| i as usize) {
        let size = match model.residual {
            // Relative errors of the prediction approximate residuals of logarithms.
            Residual::Log => observations.response[i].powi(-2),
            Residual::Linear => 1.0,
        };
        response.push(Pack::splat(observations.response[i]));
        row_weight.push(Pack::splat(observations.weight[i] * observations.sigma_at(i).powi(-2) * size));
    }
    let total = |value: &dyn Fn(usize) -> f64| (0..response.len()).map(value).sum::<f64>();
    let total_weight = total(&|k| row_weight[k].0[0]);
    let squares = total(&|k| row_weight[k].0[0] * response[k].0[0].powi(2));
    // A term that starts at a thousandth of the response is small, yet felt.
    let little = 1e-3 * (squares / total_weight).sqrt();

    let m = model.amplitudes.len();
    let known: Vec<usize> = (0..m).filter(|&a| !solved.contains(&model.amplitudes[a])).collect();
    let unknown: Vec<usize> = (0..m).filter(|&a| solved.contains(&model.amplitudes[a])).collect();
    let signs: Vec<Sign> = unknown.iter().map(|&a| sign(&model.coordinates[model.amplitudes[a]])).collect();
    let mut least_squares = SignedLeastSquares::default();
    let mut held: Vec<f64> = Vec::with_capacity(known.len());
    batch.load(problem, &sample);
    for chunk in points.chunks_mut(LANES) {
        let coordinates = lanes_of(chunk, model.coordinates.len());
        let sums = batch.amplitude_equations(problem, (&response, &row_weight), &coordinates);
        for (lane, theta) in chunk.iter_mut().enumerate() {
            let gram = |a: usize, b: usize| sums[triangle(a.max(b)) + a.min(b)].0[lane];
            // Amplitudes that are not solved keep their drawn or given value.
            held.clear();
            held.extend(known.iter().map(|&k| {
                let amplitude = model.amplitudes[k];
                plain(&model.coordinates[amplitude], theta[amplitude])
            }));
            let product = |a: usize| {
                let taken = known.iter().zip(&held).map(|(&k, value)| gram(a, k) * value);
                sums[triangle(m) + a].0[lane] - taken.sum::<f64>()
            };
            let values = least_squares.solve(&unknown, gram, product, &signs);
            for (&a, &value) in unknown.iter().zip(values) {
                let i = model.amplitudes[a];
                let coordinate = &model.coordinates[i];
                theta[i] = match coordinate.scale {
                    Scale::Linear => value.clamp(coordinate.low, coordinate.high),
                    Scale::Log => {
                        let size = (gram(a, a) / total_weight).sqrt();
                        let small = little / size;
                        let small = if small > 0.0 && small.is_finite() { small } else { 1.0 };
                        let value = if value > 0.0 { value } else { small };
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

#[derive(Clone, Copy, PartialEq)]
pub enum Sign {
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

/// Least squares with signs from normal equations: columns of the wrong sign are dropped, worst first, until none
/// is left. (For starts this serves as well as the full non-negative algorithm and is shorter.) Holds its buffers.
#[derive(Default)]
pub struct SignedLeastSquares {
    scale: Vec<f64>,
    products: Vec<f64>,
    active: Vec<usize>,
    matrix: Vec<f64>,
    b: Vec<f64>,
    solution: Vec<f64>,
}

impl SignedLeastSquares {
    pub fn solve(
        &mut self,
        columns: &[usize],
        gram: impl Fn(usize, usize) -> f64,
        product: impl Fn(usize) -> f64,
        signs: &[Sign],
    ) -> &[f64] {
        let SignedLeastSquares { scale, products, active, matrix, b, solution } = self;
        scale.clear();
        scale.extend(columns.iter().map(|&c| {
            let norm = gram(c, c).sqrt();
            if norm > 0.0 && norm.is_finite() { norm } else { 1.0 }
        }));
        products.clear();
        products.extend(columns.iter().zip(scale.iter()).map(|(&c, s)| product(c) / s));
        active.clear();
        active.extend(0..columns.len());
        solution.clear();
        solution.resize(columns.len(), 0.0);
        while !active.is_empty() {
            let m = active.len();
            matrix.resize(m * m, 0.0);
            b.resize(m, 0.0);
            for (r, &i) in active.iter().enumerate() {
                for (c, &j) in active[..=r].iter().enumerate() {
                    matrix[r * m + c] = gram(columns[i], columns[j]) / (scale[i] * scale[j]);
                }
                // A trace of ridge: nearly collinear columns share their load instead of cancelling.
                matrix[r * m + r] *= 1.0 + 1e-10;
                b[r] = products[i];
            }
            if !cholesky(matrix, m) {
                active.pop();
                continue;
            }
            cholesky_solve(matrix, m, b);
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
                    for (&i, value) in active.iter().zip(b.iter()) {
                        solution[i] = value / scale[i];
                    }
                    break;
                }
            }
        }
        solution
    }
}

/// The most searches that a law gets where the user does not say, by how many of its coordinates are drawn: see
/// [`super::rounds`].
pub fn most_starts(n_drawn: usize) -> usize {
    match n_drawn {
        0 => 1,
        1 => 16,
        2 => 32,
        3 => 64,
        4 => 128,
        _ => 256,
    }
}
