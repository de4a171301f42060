//! The path of regularised minima: `F(θ) + ½·λ·Σ φ(θ)²` for one `λ` after the other.
//!
//! The sum goes over the coordinates in which the prediction is not linear; amplitudes and offsets take their best values
//! for them at every point (variable projection: Golub & Pereyra 1973), so that valleys model which an amplitude makes up
//! for the others are none.
//!
//! Each coordinate has a chart `φ(θ)` that is zero in the middle of the region where the law's starts are drawn, of the
//! order of one within it, and logarithmic far out: the inverse hyperbolic sine of a coordinate without bounds, the
//! logarithm of the distance from a bound. So the sum has a minimum at finite `φ` model every direction in which `F` is
//! flat.
//!
//! Newton's method on the exact Hessian of the projected sum (a Schur complement), its steps
//! cut to a trust region.

use crate::compile::{Coordinate, Role, Scale};
use crate::problem::{LaneData, Problem};

use crate::linalg::{cholesky, cholesky_solve};
use crate::optimize::Models;
use crate::optimize::newton::schur_complement::Reduced;
use crate::optimize::newton::{Finished, Region, minimise_within};
use crate::optimize::points::Points;
use crate::optimize::starts::StartWorkspace;
use crate::optimize::starts::{Starts, start_region};
use crate::problem::Linearization;

/// Penalties, as shares of the objective: each a hundredth of the one before, and as small as normal equations resolve.
const PENALTIES: [f64; 5] = [1e-1, 1e-3, 1e-5, 1e-7, 1e-9];

/// Where the fit is exact, penalties are shares of this part of the responses' sum of squares.
const EXACT_FIT: f64 = 1e-8;

/// Evaluations for each penalty.
const MOST_EVALUATIONS: usize = 80;

/// A minimum of the sum counts as found where a step promises less than this factor of the penalty's own curvature.
const TOLERANCE: f64 = 1e-4;

/// Iterations for the inner coordinates.
const MOST_INNER: u32 = 40;

/// The first step changes no chart by more than the first of these, none by more than the second; after one that gains little, by no more than this factor of it; a step that
/// must be shorter than the last finds nothing.
const FIRST_RADIUS: f64 = 2.0;
const MAX_RADIUS: f64 = 64.0;
const RADIUS_SHRINK: f64 = 0.3;
const MIN_RADIUS: f64 = 1e-6;

/// A coordinate is predict_inner so far in its chart, and from the second of these on as far as numbers allow.
const MAX_CHART_STEP: f64 = 64.0;
const FAR_CHART_STEP: f64 = 8.0;

/// Whether the objective is below a level is told to this factor of how far that is above the minimum; to the same factor,
/// from the second on, whether it has levelled out between a step and twice the step.
const LEVEL_TOLERANCE: f64 = 1e-2;
const MIN_LEVEL_STEP: f64 = 2.0;

/// In what order penalties are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    LargestFirst,
    LeastFirst,
}

/// A minimum of the sum.
#[derive(Clone, Debug)]
pub struct PathPoint {
    pub theta: Vec<f64>,
    /// In the charts.
    pub phi: Vec<f64>,
    /// Without the penalty.
    pub objective: f64,
}

impl PathPoint {
    /// The largest change of a chart from here to another point.
    pub fn distance(&self, other: &PathPoint) -> f64 {
        self.phi.iter().zip(&other.phi).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }
}

/// How a coordinate is seen.
#[derive(Clone, Copy, Debug)]
enum Chart {
    /// `(θ − middle)/width`.
    Affine { middle: f64, width: f64 },
    /// `asinh((θ − middle)/width)`.
    Asinh { middle: f64, width: f64 },
    /// `log((θ − bound)/width)`; the width is negative where the bound is an upper one.
    LogDistance { bound: f64, width: f64 },
}

impl Chart {
    /// How a coordinate is seen of which the middle and the half-width of the start region are known.
    fn of(coordinate: &Coordinate, (middle, width): (f64, f64)) -> Chart {
        let width = if width > 0.0 { width } else { 1.0 };
        let Coordinate { low, high, .. } = *coordinate;
        match coordinate.scale {
            Scale::Log => Chart::Affine { middle, width: width.max(1.0) },
            Scale::Linear if low.is_finite() => {
                Chart::LogDistance { bound: low, width: (middle - low).max(f64::MIN_POSITIVE) }
            }
            Scale::Linear if high.is_finite() => {
                Chart::LogDistance { bound: high, width: (middle - high).min(-f64::MIN_POSITIVE) }
            }
            Scale::Linear => Chart::Asinh { middle, width },
        }
    }

    fn phi(self, theta: f64) -> f64 {
        match self {
            Chart::Affine { middle, width } => (theta - middle) / width,
            Chart::Asinh { middle, width } => ((theta - middle) / width).asinh(),
            Chart::LogDistance { bound, width } => ((theta - bound) / width).ln(),
        }
    }

    /// `θ` and its first two derivatives with respect to `φ`.
    fn theta(self, phi: f64) -> [f64; 3] {
        match self {
            Chart::Affine { middle, width } => [middle + width * phi, width, 0.0],
            Chart::Asinh { middle, width } => {
                [middle + width * phi.sinh(), width * phi.cosh(), width * phi.sinh()]
            }
            Chart::LogDistance { bound, width } => {
                let distance = width * phi.exp();
                [bound + distance, distance, distance]
            }
        }
    }
}

/// A path that is predict_inner.
pub struct Path<'a> {
    models: &'a Models,
    problem: &'a Problem,
    workspace: &'a mut StartWorkspace,
    data: LaneData,
    /// Coordinates that are predict_inner, and how they are seen.
    outer: Vec<usize>,
    charts: Vec<Chart>,
    /// Coordinates that take their best values.
    inner: Vec<usize>,
    /// A coordinate that is held, and where.
    held: Option<(usize, f64)>,
    /// The point it begins at.
    start: Vec<f64>,
    /// The objective trial, and what penalties are shares of.
    objective: f64,
    pub scale: f64,
    pub points: Vec<PathPoint>,
}

/// How a step goes on from a point: by_coordinate in the charts, or in the coordinates themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StepModel {
    Charts,
    Coordinates,
    /// In the charts, by the majorant.
    Majorant,
}

/// The projected sum at a point: its value, and its gradient and Hessian (square, by rows) over the outer coordinates.
/// Steps are measured in the charts; in the coordinates themselves they are as long to first order.
#[derive(Clone)]
struct PenalizedObjective {
    phi: Vec<f64>,
    theta: Vec<f64>,
    objective: f64,
    value: f64,
    gradient: Vec<f64>,
    gauss_newton: Vec<f64>,
    /// The Hessian model the charts, and what its diagonal has less model the coordinates.
    hessian: Vec<f64>,
    chart_curvature: Vec<f64>,
    /// Gauss-Newton's matrix of losses that rise no less anywhere.
    majorant: Vec<f64>,
    /// `∂θ/∂φ`, and whether a step model the coordinates goes by_coordinate in this one: next to a bound it would leave the
    /// domain.
    slope: Vec<f64>,
    by_coordinate: Vec<bool>,
    /// How the inner coordinates follow the outer ones, to first order: by inner coordinate.
    sensitivity: Vec<f64>,
}

/// How large a step of a coordinate is in its chart; none where it is not predict_inner, or ends at a bound.
pub fn step_in_chart(
    models: &Models,
    problem: &Problem,
    from: &Finished,
    coordinate: usize,
    step: f64,
) -> Option<f64> {
    let own = &problem.model.coordinates[coordinate];
    if is_inner(own) {
        return None;
    }
    let chart = Chart::of(own, start_region(models, problem, own));
    let phi = chart.phi(from.theta[coordinate]);
    phi.is_finite().then(|| (step / chart.theta(phi)[1]).abs())
}

/// Whether a coordinate takes its best value model a path.
fn is_inner(coordinate: &Coordinate) -> bool {
    matches!(coordinate.role, Role::Amplitude | Role::Offset)
}

impl<'a> Path<'a> {
    /// A path that begins at a point.
    pub fn new(
        models: &'a Models,
        problem: &'a Problem,
        from: &Finished,
        workspace: &'a mut StartWorkspace,
    ) -> Path<'a> {
        let coordinates = &problem.model.coordinates;
        let (inner, outer): (Vec<usize>, Vec<usize>) =
            from.free.iter().copied().partition(|&i| is_inner(&coordinates[i]));
        let seen: Vec<(usize, Chart)> = outer
            .into_iter()
            .map(|i| (i, Chart::of(&coordinates[i], start_region(models, problem, &coordinates[i]))))
            .filter(|(i, chart)| chart.phi(from.theta[*i]).is_finite())
            .collect();
        let (outer, charts) = seen.into_iter().unzip();
        Path {
            models,
            problem,
            workspace,
            data: LaneData::spread(problem, &problem.observations.weight),
            outer,
            charts,
            inner,
            held: None,
            start: from.theta.clone(),
            objective: from.rows.objective,
            scale: from.rows.objective.max(EXACT_FIT * problem.unit),
            points: Vec::new(),
        }
    }

    /// Minimises under one penalty after the other from the start, for as long as minima are found: the largest penalty
    /// first, or the least. Leaves the points by falling penalty.
    pub fn follow(&mut self, order: Order) {
        self.points.clear();
        let mut phi: Vec<f64> =
            self.outer.iter().zip(&self.charts).map(|(&i, chart)| chart.phi(self.start[i])).collect();
        let mut penalties = PENALTIES;
        if order == Order::LeastFirst {
            penalties.reverse();
        }
        for penalty in penalties {
            let penalty = penalty * self.scale;
            let found = self.minimise(&phi, penalty, TOLERANCE * penalty);
            let Some(found) = found else {
                // What is lost in rounding under a small penalty may be found under a larger one.
                if order == Order::LeastFirst && self.points.is_empty() {
                    continue;
                }
                break;
            };
            phi.clone_from(&found.phi);
            if let Some(last) = self.points.last() {
                // The next one is looked for as far beyond as this one is from the last.
                phi.iter_mut().zip(&last.phi).for_each(|(x, before)| *x += *x - before);
            }
            self.points.push(PathPoint { theta: found.theta, phi: found.phi, objective: found.objective });
        }
        if order == Order::LeastFirst {
            self.points.reverse();
        }
    }

    /// Follows a coordinate that the path is made of from its value at the start by steps of a chart, each twice the one
    /// before, until the objective, the other coordinates taking their best values, rises above a level. True where it
    /// does not before the end of the chart, with the last two points in `points`.
    pub fn stays_below(&mut self, coordinate: usize, first_step: f64, level: f64) -> bool {
        self.points.clear();
        let Some(at) = self.outer.iter().position(|&i| i == coordinate) else { return false };
        let chart = self.charts[at];
        let begin = chart.phi(self.start[coordinate]);
        let mut phi: Vec<f64> =
            self.outer.iter().zip(&self.charts).map(|(&i, chart)| chart.phi(self.start[i])).collect();
        self.outer.remove(at);
        self.charts.remove(at);
        phi.remove(at);
        let mut last = phi.clone();
        let rise = level - self.objective;
        let mut step = first_step;
        let mut below = true;
        while below && step.abs() <= MAX_CHART_STEP {
            let [value, ..] = chart.theta(begin + step);
            self.held = Some((coordinate, value));
            let found =
                self.minimise(&phi, PENALTIES[PENALTIES.len() - 1] * self.scale, LEVEL_TOLERANCE * rise);
            let Some(found) = found else {
                // Numbers may end trial.
                below = step.abs() > FAR_CHART_STEP;
                break;
            };
            below = found.objective <= level;
            // The others go on as they went: the next step is twice the last.
            let before = std::mem::replace(&mut last, found.phi.clone());
            phi.clear();
            phi.extend(last.iter().zip(&before).map(|(last, before)| last + 2.0 * (last - before)));
            self.points.push(PathPoint { theta: found.theta, phi: found.phi, objective: found.objective });
            // Farther out rounding, or a valley that is hard to follow, would end what the objective does not.
            if below && self.has_no_end(step.abs(), rise) {
                break;
            }
            step *= 2.0;
        }
        self.held = None;
        self.outer.insert(at, coordinate);
        self.charts.insert(at, chart);
        below && self.points.len() >= 2
    }

    /// Whether the objective hardly changed between the last two points, or has not risen by much so far out.
    fn has_no_end(&self, step: f64, rise: f64) -> bool {
        let [.., last, end] = self.points.as_slice() else { return false };
        let levels_out = (end.objective - last.objective).abs() <= LEVEL_TOLERANCE * rise;
        step >= MIN_LEVEL_STEP && levels_out
            || step >= FAR_CHART_STEP && end.objective - self.objective <= 0.5 * rise
    }

    /// Minimises from a point of the charts, or from the last point where that is better, until a step promises no more than
    /// `tolerance`.
    fn minimise(&mut self, start: &[f64], penalty: f64, tolerance: f64) -> Option<PenalizedObjective> {
        let near = self.points.last().map_or_else(|| self.start.clone(), |last| last.theta.clone());
        let mut at = self.sum(start, near.clone(), penalty);
        if let Some(last) = self.points.last() {
            let phi = last.phi.clone();
            let trial = self.sum(&phi, near, penalty);
            if trial.as_ref().is_some_and(|trial| !at.as_ref().is_some_and(|at| at.value < trial.value)) {
                at = trial;
            }
        }
        // Far out the sum may not be a number: nearer to the middle it is.
        let mut factor = 0.5;
        while at.is_none() && factor > 1e-3 {
            let nearer: Vec<f64> = start.iter().map(|x| x * factor).collect();
            at = self.sum(&nearer, self.start.clone(), penalty);
            factor *= 0.5;
        }
        let mut at = at?;
        let mut radius = FIRST_RADIUS;
        let mut model = StepModel::Charts;
        for _ in 0..MOST_EVALUATIONS {
            if at.phi.is_empty() {
                return Some(at);
            }
            let step = step(&at, model, radius)?;
            let predicted_decrease = predicted_decrease(&at, model, &step);
            if predicted_decrease <= tolerance {
                return Some(at);
            }
            let phi = self.after(&at, model, &step);
            let trial = phi.and_then(|phi| {
                let near = predict_inner(&at, &self.inner, &step);
                self.sum(&phi, near, penalty)
            });
            let gain = trial.as_ref().map_or(f64::NAN, |trial| (at.value - trial.value) / predicted_decrease);
            let length = step.iter().map(|s| s.abs()).fold(0.0, f64::max);
            if let Some(trial) = trial.filter(|_| gain > 1e-4) {
                at = trial;
            }
            if gain > 0.25 {
                radius = (2.0 * length).max(radius).min(MAX_RADIUS);
            } else {
                radius = RADIUS_SHRINK * length;
                // A valley may be by_coordinate in the one and curved in the other.
                model = match model {
                    StepModel::Charts => StepModel::Coordinates,
                    StepModel::Coordinates if !self.problem.loss.is_quadratic() => StepModel::Majorant,
                    _ => StepModel::Charts,
                };
            }
            if radius < MIN_RADIUS {
                return None;
            }
        }
        None
    }

    /// The point after a step, in the charts; none where a coordinate would leave its domain.
    fn after(&self, at: &PenalizedObjective, model: StepModel, step: &[f64]) -> Option<Vec<f64>> {
        if model != StepModel::Coordinates {
            return Some(at.phi.iter().zip(step).map(|(x, s)| x + s).collect());
        }
        let moved = self.outer.iter().enumerate().map(|(a, &i)| {
            if at.by_coordinate[a] {
                self.charts[a].phi(at.theta[i] + at.slope[a] * step[a])
            } else {
                at.phi[a] + step[a]
            }
        });
        let phi: Vec<f64> = moved.collect();
        phi.iter().all(|x| x.is_finite()).then_some(phi)
    }

    /// The sum at a point of the charts; `near` has about the best values of the inner coordinates. None where it is not
    /// finite.
    fn sum(&mut self, phi: &[f64], near: Vec<f64>, penalty: f64) -> Option<PenalizedObjective> {
        let m = self.outer.len();
        let mut theta = near;
        let mut slopes = Vec::with_capacity(m);
        let mut bounds = self.problem.model.bounds.clone();
        if let Some((i, value)) = self.held {
            let (low, high) = bounds[i];
            if !(low..=high).contains(&value) {
                return None;
            }
            theta[i] = value;
            bounds[i] = (value, value);
        }
        for (a, &i) in self.outer.iter().enumerate() {
            let [value, first, second] = self.charts[a].theta(phi[a]);
            let (low, high) = bounds[i];
            if !value.is_finite() {
                return None;
            }
            theta[i] = value.clamp(low, high);
            slopes.push(if theta[i] == value { (first, second) } else { (0.0, 0.0) });
            bounds[i] = (theta[i], theta[i]);
        }
        if !theta.iter().all(|x| x.is_finite()) {
            return None;
        }
        let rows = self.project(&mut theta, &bounds)?;
        let quadratic = self.problem.loss.is_quadratic();
        let Reduced { mut gauss_newton, mut hessian, majorant, mut sensitivity } =
            Reduced::of(&rows, &self.inner, &self.outer, quadratic);
        let mut majorant = majorant.unwrap_or_else(|| gauss_newton.clone());
        let mut gradient = Vec::with_capacity(m);
        let mut chart_curvature = Vec::with_capacity(m);
        for (a, &i) in self.outer.iter().enumerate() {
            let (slope, second) = slopes[a];
            gradient.push(rows.gradient[i] * slope + penalty * phi[a]);
            for (b, (other, _)) in slopes.iter().enumerate() {
                gauss_newton[a * m + b] *= slope * other;
                hessian[a * m + b] *= slope * other;
                majorant[a * m + b] *= slope * other;
            }
            (0..self.inner.len()).for_each(|c| sensitivity[c * m + a] *= slope);
            chart_curvature.push(
                rows.gradient[i] * second
                    + if slope == 0.0 { 0.0 } else { penalty * phi[a] * second / slope },
            );
            hessian[a * m + a] += rows.gradient[i] * second + penalty;
            gauss_newton[a * m + a] += penalty;
            majorant[a * m + a] += penalty;
        }
        let objective = rows.objective;
        let value = objective + 0.5 * penalty * phi.iter().map(|x| x * x).sum::<f64>();
        let slope = slopes.iter().map(|(slope, _)| *slope).collect();
        let is_by_coordinate =
            |(chart, phi): (&Chart, &f64)| !matches!(chart, Chart::LogDistance { .. }) || *phi > 0.0;
        let by_coordinate = self.charts.iter().zip(phi).map(is_by_coordinate).collect();
        let phi = phi.to_vec();
        Some(PenalizedObjective {
            phi,
            theta,
            objective,
            value,
            gradient,
            gauss_newton,
            hessian,
            majorant,
            chart_curvature,
            slope,
            by_coordinate,
            sensitivity,
        })
    }

    /// Gives the inner coordinates their best values, the outer ones being held by their bounds.
    fn project(&mut self, theta: &mut Vec<f64>, bounds: &[(f64, f64)]) -> Option<Linearization> {
        let Path { models, problem, workspace, data, .. } = self;
        if problem.p() == models.full().coordinates.len() && !self.inner.is_empty() {
            let mut solved = Points::default();
            solved.clear(theta.len());
            solved.push(theta);
            Starts::new(models, problem).solve_amplitudes(&mut solved, workspace);
            let objective = |theta: &[f64]| Linearization::at(problem, data, theta).objective;
            let (known, new) = (objective(theta), objective(solved.point(0)));
            if new < known || !known.is_finite() {
                theta.copy_from_slice(solved.point(0));
            }
        }
        let region = Region { bounds, in_range: false };
        let found = minimise_within(problem, region, &problem.observations.weight, theta, MOST_INNER)?;
        *theta = found.theta;
        Some(found.rows)
    }
}

/// The point with the inner coordinates where they follow a step of the outer ones to.
fn predict_inner(at: &PenalizedObjective, inner: &[usize], step: &[f64]) -> Vec<f64> {
    let m = step.len();
    let mut theta = at.theta.clone();
    for (c, &i) in inner.iter().enumerate() {
        theta[i] += (0..m).map(|b| at.sensitivity[c * m + b] * step[b]).sum::<f64>();
    }
    theta
}

/// Newton's step, or Gauss-Newton's where the Hessian is not positive definite; no coordinate moves by more than `radius`.
fn step(at: &PenalizedObjective, model: StepModel, radius: f64) -> Option<Vec<f64>> {
    let m = at.phi.len();
    let solve = |matrix: &[f64], chart_curvature: f64| {
        let mut matrix = matrix.to_vec();
        (0..m)
            .filter(|&a| at.by_coordinate[a])
            .for_each(|a| matrix[a * m + a] -= chart_curvature * at.chart_curvature[a]);
        let mut step: Vec<f64> = at.gradient.iter().map(|g| -g).collect();
        cholesky(&mut matrix, m).then(|| {
            cholesky_solve(&matrix, m, &mut step);
            step
        })
    };
    let chart_curvature = if model == StepModel::Coordinates { 1.0 } else { 0.0 };
    let matrix = if model == StepModel::Majorant { &at.majorant } else { &at.hessian };
    let scaled_gradient = || {
        let model = |a: usize| -at.gradient[a] / at.gauss_newton[a * m + a];
        Some((0..m).map(model).collect())
    };
    let mut step: Vec<f64> =
        solve(matrix, chart_curvature).or_else(|| solve(&at.gauss_newton, 0.0)).or_else(scaled_gradient)?;
    let length = step.iter().map(|s| s.abs()).fold(0.0, f64::max);
    if length > radius {
        step.iter_mut().for_each(|s| *s *= radius / length);
    }
    step.iter().all(|s| s.is_finite()).then_some(step)
}

/// What Gauss-Newton's model promises for a step, or the gradient's half where that is negative.
fn predicted_decrease(at: &PenalizedObjective, model: StepModel, step: &[f64]) -> f64 {
    let m = step.len();
    let slope: f64 = at.gradient.iter().zip(step).map(|(g, s)| -g * s).sum();
    let matrix = if model == StepModel::Majorant { &at.majorant } else { &at.gauss_newton };
    let chart_curvature: f64 = (0..m * m).map(|k| matrix[k] * step[k / m] * step[k % m]).sum();
    (slope - 0.5 * chart_curvature).max(0.25 * slope)
}
