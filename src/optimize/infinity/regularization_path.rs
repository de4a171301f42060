//! The regularisation path: minima of `F(θ) + ½·λ·Σ φ(θ)²` for one penalty `λ` after the other.
//!
//! The sum is over the outer coordinates, in which the prediction is not linear. The inner ones, amplitudes and
//! offsets, take their best values at every point (variable projection: Golub & Pereyra 1973).
//!
//! Each outer coordinate has a chart `φ(θ)` that is zero in the middle of the region from which starts are drawn, of
//! the order of one within it, and logarithmic far out: the inverse hyperbolic sine for a coordinate without bounds,
//! the logarithm of the distance from a bound. So the penalised objective has a minimum at finite `φ` along every
//! direction in which `F` is flat.
//!
//! The minimisation is Newton's method on the exact Hessian of the projected sum (a Schur complement), with steps cut
//! to a trust region.

use crate::compile::{Coordinate, Role, Scale};
use crate::lanes::scalar;
use crate::problem::{LaneData, Problem};

use crate::linalg::{cholesky, cholesky_solve};
use crate::optimize::Models;
use crate::optimize::newton::schur_complement::Reduced;
use crate::optimize::newton::{Finished, MinimiseWorkspace, Region, minimise_within};
use crate::optimize::points::Points;
use crate::optimize::starts::StartWorkspace;
use crate::optimize::starts::{Starts, start_region};
use crate::optimize::tuning::Tuning;
use crate::problem::Linearization;

/// The penalties, as fractions of the objective: each a hundredth of the one before, down to what normal equations
/// resolve.
const PENALTIES: [f64; 5] = [1e-1, 1e-3, 1e-5, 1e-7, 1e-9];

/// The fraction of the responses' sum of squares that replaces the objective where the fit is exact.
const EXACT_FIT: f64 = 1e-8;

/// The largest number of evaluations per penalty.
const MAX_EVALUATIONS: usize = 80;

/// The predicted decrease, as a fraction of the penalty, below which a penalised minimum is found.
const TOLERANCE: f64 = 1e-4;

/// The number of iterations for the inner coordinates.
const MAX_INNER_ITERATIONS: u32 = 40;

/// The first trust radius: the largest change of a chart in one step.
const FIRST_RADIUS: f64 = 2.0;

/// The largest trust radius.
const MAX_RADIUS: f64 = 64.0;

/// The trust radius after a step of low gain ratio, as a fraction of that step.
const RADIUS_SHRINK: f64 = 0.3;

/// The trust radius below which the minimisation fails.
const MIN_RADIUS: f64 = 1e-6;

/// The largest distance in its chart over which a coordinate is followed.
const MAX_CHART_STEP: f64 = 64.0;

/// The distance in its chart beyond which a coordinate may reach the end of the range of float64.
const FAR_CHART_STEP: f64 = 8.0;

/// The accuracy of the objective, as a fraction of its rise to a level, with which it is compared with the level; also
/// the largest change between two steps at which the objective has levelled out.
const LEVEL_TOLERANCE: f64 = 1e-2;

/// The distance in its chart from which the objective may have levelled out.
const MIN_LEVEL_STEP: f64 = 2.0;

/// The order of the penalties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PenaltyOrder {
    LargestFirst,
    LeastFirst,
}

/// A penalised minimum.
#[derive(Clone, Debug)]
pub struct PathPoint {
    /// The point in solver coordinates.
    pub theta: Vec<f64>,
    /// The outer coordinates in their charts.
    pub phi: Vec<f64>,
    /// The objective without the penalty.
    pub objective: f64,
}

impl PathPoint {
    /// Returns the largest change of a chart between two points.
    pub fn distance(&self, other: &PathPoint) -> f64 {
        self.phi.iter().zip(&other.phi).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }
}

/// The chart of a coordinate.
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
    /// Returns the chart of a coordinate, given the middle and half-width of its start region.
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

    /// Returns the value in the chart.
    fn phi(self, theta: f64) -> f64 {
        match self {
            Chart::Affine { middle, width } => (theta - middle) / width,
            Chart::Asinh { middle, width } => libm::asinh((theta - middle) / width),
            Chart::LogDistance { bound, width } => scalar::ln((theta - bound) / width),
        }
    }

    /// Returns `θ` and its first two derivatives with respect to `φ`.
    fn theta(self, phi: f64) -> [f64; 3] {
        match self {
            Chart::Affine { middle, width } => [middle + width * phi, width, 0.0],
            Chart::Asinh { middle, width } => {
                [middle + width * libm::sinh(phi), width * libm::cosh(phi), width * libm::sinh(phi)]
            }
            Chart::LogDistance { bound, width } => {
                let distance = width * scalar::exp(phi);
                [bound + distance, distance, distance]
            }
        }
    }
}

/// A regularisation path.
pub struct Path<'a> {
    models: &'a Models,
    problem: &'a Problem,
    workspace: &'a mut StartWorkspace,
    data: LaneData,
    /// The outer coordinates, which are penalised.
    outer: Vec<usize>,
    /// The charts of the outer coordinates.
    charts: Vec<Chart>,
    /// The inner coordinates, which take their best values.
    inner: Vec<usize>,
    /// A coordinate that is held, and its value.
    held: Option<(usize, f64)>,
    /// The point at which the path begins.
    start: Vec<f64>,
    /// The objective at that point.
    objective: f64,
    /// The objective that penalties are fractions of.
    pub scale: f64,
    /// The penalised minima, by falling penalty.
    pub points: Vec<PathPoint>,
}

/// The model that a step minimises, and the space in which the step is straight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StepModel {
    /// Newton's model, straight in the charts.
    Charts,
    /// Newton's model, straight in the coordinates.
    Coordinates,
    /// The majorant of iteratively reweighted least squares, straight in the charts.
    Majorant,
}

/// The projected, penalised objective at a point: its value, and its gradient and Hessian (square, by rows) over the
/// outer coordinates. Steps are measured in the charts; steps in the coordinates have the same length to first order.
#[derive(Clone)]
struct PenalizedObjective {
    phi: Vec<f64>,
    theta: Vec<f64>,
    objective: f64,
    value: f64,
    gradient: Vec<f64>,
    gauss_newton: Vec<f64>,
    /// The Hessian with respect to the charts.
    hessian: Vec<f64>,
    /// The part of the Hessian's diagonal that is due to the curvature of the charts.
    chart_curvature: Vec<f64>,
    /// The Gauss–Newton matrix of iteratively reweighted least squares, which bounds the loss from above.
    majorant: Vec<f64>,
    /// `∂θ/∂φ`.
    slope: Vec<f64>,
    /// Whether a step with [`StepModel::Coordinates`] is straight in this coordinate: next to a bound it would leave
    /// the domain.
    by_coordinate: Vec<bool>,
    /// The derivatives of the inner coordinates with respect to the charts: one row per inner coordinate.
    sensitivity: Vec<f64>,
}

/// Returns the size of a coordinate's step in its chart; none where the coordinate is inner or at a bound.
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

/// Returns whether a coordinate takes its best value along a path.
fn is_inner(coordinate: &Coordinate) -> bool {
    matches!(coordinate.role, Role::Amplitude | Role::Offset)
}

impl<'a> Path<'a> {
    /// Returns a path that begins at a point.
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

    /// Minimises under one penalty after the other from the start, for as long as minima are found. Leaves the minima
    /// in `points` by falling penalty.
    pub fn follow(&mut self, order: PenaltyOrder) {
        self.points.clear();
        let mut phi: Vec<f64> =
            self.outer.iter().zip(&self.charts).map(|(&i, chart)| chart.phi(self.start[i])).collect();
        let mut penalties = PENALTIES;
        if order == PenaltyOrder::LeastFirst {
            penalties.reverse();
        }
        for penalty in penalties {
            let penalty = penalty * self.scale;
            let found = self.minimise(&phi, penalty, TOLERANCE * penalty);
            let Some(found) = found else {
                // A minimum that rounding hides under a small penalty may be found under a larger one.
                if order == PenaltyOrder::LeastFirst && self.points.is_empty() {
                    continue;
                }
                break;
            };
            phi.clone_from(&found.phi);
            if let Some(last) = self.points.last() {
                // Extrapolates the path by its last step.
                phi.iter_mut().zip(&last.phi).for_each(|(x, before)| *x += *x - before);
            }
            self.points.push(PathPoint { theta: found.theta, phi: found.phi, objective: found.objective });
        }
        if order == PenaltyOrder::LeastFirst {
            self.points.reverse();
        }
    }

    /// Follows an outer coordinate from its value at the start by steps of its chart, each twice the one before, with
    /// the other coordinates at their best values. Returns whether the objective stays below `level` to the end of the
    /// chart; the last two points are then in `points`.
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
                // The range of float64 may end there.
                below = step.abs() > FAR_CHART_STEP;
                break;
            };
            below = found.objective <= level;
            // Extrapolates the other coordinates: the next step is twice the last.
            let before = std::mem::replace(&mut last, found.phi.clone());
            phi.clear();
            phi.extend(last.iter().zip(&before).map(|(last, before)| last + 2.0 * (last - before)));
            self.points.push(PathPoint { theta: found.theta, phi: found.phi, objective: found.objective });
            // Farther out, rounding or ill-conditioning would stop the path although the objective stays low.
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

    /// Returns whether the objective hardly changed between the last two points, or has risen little so far out.
    fn has_no_end(&self, step: f64, rise: f64) -> bool {
        let [.., last, end] = self.points.as_slice() else { return false };
        let levels_out = (end.objective - last.objective).abs() <= LEVEL_TOLERANCE * rise;
        step >= MIN_LEVEL_STEP && levels_out
            || step >= FAR_CHART_STEP && end.objective - self.objective <= 0.5 * rise
    }

    /// Minimises from a point of the charts, or from the last point of the path where that is better, until the
    /// predicted decrease is at most `tolerance`.
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
        // Far out the objective may not be finite; nearer to the middle of the charts it is.
        let mut factor = 0.5;
        while at.is_none() && factor > 1e-3 {
            let nearer: Vec<f64> = start.iter().map(|x| x * factor).collect();
            at = self.sum(&nearer, self.start.clone(), penalty);
            factor *= 0.5;
        }
        let mut at = at?;
        let mut radius = FIRST_RADIUS;
        let mut model = StepModel::Charts;
        for _ in 0..MAX_EVALUATIONS {
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
                // Level sets may be straight in one space and curved in the other.
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

    /// Returns the point after a step, in the charts; none where a coordinate would leave its domain.
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

    /// Returns the penalised objective at a point of the charts; `near` holds approximate values of the inner
    /// coordinates. None where it is not finite.
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

    /// Sets the inner coordinates to their best values; the bounds hold the outer ones.
    fn project(&mut self, theta: &mut Vec<f64>, bounds: &[(f64, f64)]) -> Option<Linearization> {
        let Path { models, problem, workspace, data, .. } = self;
        if problem.p() == models.full().coordinates.len() && !self.inner.is_empty() {
            let mut solved = Points::default();
            solved.clear(theta.len());
            solved.push(theta);
            // Amplitudes are solved here, and no start is drawn.
            Starts::new(models, problem, &Tuning::default()).solve_amplitudes(&mut solved, workspace);
            let objective = |theta: &[f64]| Linearization::sums_at(problem, data, theta).objective;
            let (known, new) = (objective(theta), objective(solved.point(0)));
            if new < known || !known.is_finite() {
                theta.copy_from_slice(solved.point(0));
            }
        }
        let region = Region { bounds, in_range: false };
        let found = minimise_within(
            problem,
            region,
            &problem.observations.weight,
            theta,
            MAX_INNER_ITERATIONS,
            &mut MinimiseWorkspace::default(),
        )?;
        *theta = found.theta;
        Some(found.rows)
    }
}

/// Returns the point with the inner coordinates moved to first order with a step of the outer ones.
fn predict_inner(at: &PenalizedObjective, inner: &[usize], step: &[f64]) -> Vec<f64> {
    let m = step.len();
    let mut theta = at.theta.clone();
    for (c, &i) in inner.iter().enumerate() {
        theta[i] += (0..m).map(|b| at.sensitivity[c * m + b] * step[b]).sum::<f64>();
    }
    theta
}

/// Returns Newton's step, or Gauss–Newton's where the Hessian is not positive definite, cut so that no chart changes by
/// more than `radius`.
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

/// Returns the decrease that the Gauss–Newton model predicts for a step, but at least a quarter of the decrease to
/// first order.
fn predicted_decrease(at: &PenalizedObjective, model: StepModel, step: &[f64]) -> f64 {
    let m = step.len();
    let slope: f64 = at.gradient.iter().zip(step).map(|(g, s)| -g * s).sum();
    let matrix = if model == StepModel::Majorant { &at.majorant } else { &at.gauss_newton };
    let chart_curvature: f64 = (0..m * m).map(|k| matrix[k] * step[k / m] * step[k % m]).sum();
    (slope - 0.5 * chart_curvature).max(0.25 * slope)
}
