//! The reference solver: a damped Newton method in scalar arithmetic on QR factorisations, which goes on until the
//! [`Certificate`] holds. It finishes every fit, and is the only solver with `--solver reference`.
//!
//! For least squares a step comes from the QR factorisation of the scaled Jacobian stacked on the damping, so that the
//! condition number of the Jacobian enters once and not squared. The law's second derivatives `S` are added in the
//! coordinates of the factor, `(I + R⁻ᵀ S R⁻¹) v = −Qᵀr`. This is Newton's step where the matrix is positive definite,
//! and Gauss–Newton's where it is not. For other losses the exact Hessian is factorised (Björck 1996, chapters 2 and 9;
//! damping after Nielsen 1999).
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the iteration, its steps, the region it may search |
//! | `certificate` | what must hold of a point before it is called a minimum |
//! | `schur_complement` | the Hessian over some coordinates when the others take their best values |
//!
//! The folder knows nothing of starts, of other searches, or of the status of a fit.

pub mod certificate;
#[cfg(test)]
mod certificate_tests;
pub mod schur_complement;

use crate::compile::{Role, Scale};
use crate::linalg::triangle;
use crate::problem::{LaneData, Problem, ProgramWorkspace};

use self::certificate::{Certificate, Evaluated};
use crate::linalg::{cholesky, cholesky_solve, triangularise};
use crate::problem::Linearization;

/// The result of a minimisation.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The best point, in solver coordinates.
    pub theta: Vec<f64>,
    /// Residuals, derivatives and sums at the point.
    pub rows: Linearization,
    /// The coordinates that are not held at a bound.
    pub free: Vec<usize>,
    /// The certificate of the point.
    pub certificate: Certificate,
    /// Whether all parameters are finite in natural units: coordinates can describe amplitudes that are not.
    pub in_range: bool,
    pub iterations: u32,
}

impl Finished {
    /// Returns whether the point is certified and its Newton step is small against its coordinates.
    #[must_use]
    pub fn is_settled_minimum(&self) -> bool {
        self.in_range && self.certificate.holds() && self.certificate.is_settled()
    }
}

/// The region that a minimisation may search.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    /// Lower and upper bound per coordinate. A coordinate whose bounds are equal is held.
    pub bounds: &'a [(f64, f64)],
    /// Whether the objective counts as infinite where parameters are not finite in natural units.
    pub in_range: bool,
}

impl<'a> Region<'a> {
    /// Returns the domain of the law, as far as all parameters are finite in natural units.
    #[must_use]
    pub fn of(problem: &'a Problem) -> Region<'a> {
        Region { bounds: &problem.model.bounds, in_range: true }
    }

    /// Sets the objective to infinity where a parameter is not finite and the region is restricted to finite ones.
    fn restrict(self, problem: &Problem, theta: &[f64], at: &mut Linearization) {
        if self.in_range && !problem.natural(theta).iter().all(|x| x.is_finite()) {
            at.objective = f64::INFINITY;
        }
    }

    /// Returns the region without the restriction to finite parameters.
    #[must_use]
    pub fn beyond_range(self) -> Region<'a> {
        Region { in_range: false, ..self }
    }
}

/// Minimises the objective from `theta` over the domain, under the given observation weights, in at most `most`
/// iterations. Returns none where the objective is not finite at `theta`.
#[must_use]
pub fn minimise(
    problem: &Problem,
    weight: &[f64],
    theta: &[f64],
    most: u32,
    workspace: &mut MinimiseWorkspace,
) -> Option<Finished> {
    minimise_within(problem, Region::of(problem), weight, theta, most, workspace)
}

/// Minimises within a region; see [`minimise`].
#[must_use]
pub fn minimise_within(
    problem: &Problem,
    region: Region,
    weight: &[f64],
    theta: &[f64],
    most: u32,
    workspace: &mut MinimiseWorkspace,
) -> Option<Finished> {
    with_solver(problem, region, weight, workspace, |solver| solver.minimise(theta, most))
}

/// Returns whether the least objective near `theta` is below a level, without finding it: the iteration ends as soon as the
/// objective is below the level, or its predicted decrease cannot bring it there. None where the objective is not finite at
/// `theta`, or it takes more than `most` iterations.
#[must_use]
pub fn falls_below(
    problem: &Problem,
    weight: &[f64],
    theta: &[f64],
    (level, most): (f64, u32),
    workspace: &mut MinimiseWorkspace,
) -> Option<bool> {
    with_solver(problem, Region::of(problem), weight, workspace, |solver| {
        let mut state = solver.begin(theta)?;
        let decided = solver.descend(&mut state, most, Some(level));
        let is_below = state.at.objective < level;
        (decided || is_below).then_some(is_below)
    })
}

/// Calls `solve` with the reference solver of a problem.
fn with_solver<T>(
    problem: &Problem,
    region: Region,
    weight: &[f64],
    workspace: &mut MinimiseWorkspace,
    solve: impl FnOnce(&mut ReferenceSolver) -> T,
) -> T {
    if !problem.is_long() {
        workspace.data = LaneData::spread(problem, weight);
    }
    let solved = solve(&mut ReferenceSolver { problem, region, weight, buffers: workspace });
    if problem.is_long() {
        // The buffers of a long fit are not worth their memory.
        *workspace = MinimiseWorkspace { evaluations: workspace.evaluations, ..MinimiseWorkspace::default() };
    }
    solved
}

/// The data of a minimisation, and buffers that it uses again and again.
#[derive(Debug, Default)]
pub struct MinimiseWorkspace {
    /// The data of a fit that is not long.
    data: LaneData,
    workspace: ProgramWorkspace,
    /// The evaluation of the trial point.
    found: Linearization,
    /// The Jacobian stacked on the damping, by columns.
    stacked: Vec<f64>,
    /// A square matrix over the free coordinates.
    matrix: Vec<f64>,
    /// The step over the free coordinates.
    step: Vec<f64>,
    /// The number of evaluations of the objective since whoever owns the workspace set it to zero.
    pub evaluations: u64,
}

/// The quadratic model that a step minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quadratic {
    /// With the exact Hessian.
    Newton,
    /// That of iteratively reweighted least squares, which bounds the loss from above (Huber & Ronchetti 2009, chapter
    /// 7). Where most residuals are beyond the threshold of a loss, its own curvature says nothing about where they
    /// end.
    Majorant,
}

impl Quadratic {
    /// Returns the curvature of observation `k`.
    #[must_use]
    pub fn curvature(self, at: &Linearization, k: usize) -> f64 {
        match self {
            Quadratic::Newton => at.curvature[k],
            Quadratic::Majorant if at.residual[k] == 0.0 => at.weight[k],
            Quadratic::Majorant => at.slope[k] / at.residual[k],
        }
    }

    /// Returns the decrease that the model predicts for a step.
    fn decrease(self, at: &Linearization, free: &[usize], step: impl Fn(usize) -> f64) -> f64 {
        let mut total: f64 = free.iter().map(|&i| -at.gradient[i] * step(i)).sum();
        match self {
            Quadratic::Newton => {
                for &i in free {
                    total -= free.iter().map(|&j| 0.5 * at.hessian(i, j) * step(i) * step(j)).sum::<f64>();
                }
            }
            Quadratic::Majorant => {
                for k in (0..at.residual.len()).filter(|&k| at.weight[k] > 0.0) {
                    let moved: f64 = free.iter().map(|&i| at.jacobian[k * at.p + i] * step(i)).sum();
                    total -= 0.5 * self.curvature(at, k) * moved * moved;
                }
            }
        }
        total
    }
}

/// The smallest fraction of an amplitude that a step leaves.
const MIN_REMAINING: f64 = 0.1;

/// The relative decrease of the objective from which a step by the majorant is followed by another.
const LARGE_DECREASE: f64 = 0.1;

/// The multiple of the decrease that an almost undamped step predicts, beyond which the minimum does not lie.
const FARTHEST_FALL: f64 = 10.0;

/// The damping below which a step is almost undamped.
const SMALL_DAMPING: f64 = 1e-3;

/// Where a minimisation is.
struct DescentState {
    /// The best point, in solver coordinates.
    theta: Vec<f64>,
    /// Its evaluation.
    at: Linearization,
    /// The trial point.
    trial: Vec<f64>,
    /// The coordinates that are not held at a bound.
    free: Vec<usize>,
    /// The certificate of the point, where it holds.
    certified: Option<Certificate>,
    iterations: u32,
}

/// A minimisation by the reference solver.
///
/// The memory of a long fit is what bounds the length of a sweep. Its data are spread over the lanes for one evaluation at a
/// time, of a trial point only the sums are kept, and an accepted point is evaluated again.
struct ReferenceSolver<'a> {
    problem: &'a Problem,
    region: Region<'a>,
    /// The weights of the observations.
    weight: &'a [f64],
    buffers: &'a mut MinimiseWorkspace,
}

impl ReferenceSolver<'_> {
    /// Evaluates a point with the values of every observation.
    fn evaluate(&mut self, theta: &[f64], at: &mut Linearization) {
        let MinimiseWorkspace { data, workspace, .. } = &mut *self.buffers;
        if self.problem.is_long() {
            at.evaluate(self.problem, &LaneData::spread(self.problem, self.weight), theta, workspace);
        } else {
            at.evaluate(self.problem, data, theta, workspace);
        }
        self.region.restrict(self.problem, theta, at);
    }

    /// Evaluates a trial point into `found`.
    fn evaluate_trial(&mut self, theta: &[f64]) {
        let MinimiseWorkspace { data, workspace, found, evaluations, .. } = &mut *self.buffers;
        *evaluations += 1;
        if self.problem.is_long() {
            found.evaluate_sums(self.problem, &LaneData::spread(self.problem, self.weight), theta, workspace);
        } else {
            found.evaluate(self.problem, data, theta, workspace);
        }
        self.region.restrict(self.problem, theta, found);
    }

    /// Moves to the trial point, whose evaluation is in `found`.
    fn accept(&mut self, theta: &mut Vec<f64>, at: &mut Linearization, trial: &mut Vec<f64>) {
        std::mem::swap(theta, trial);
        if self.problem.is_long() {
            self.evaluate(theta, at);
        } else {
            std::mem::swap(at, &mut self.buffers.found);
        }
    }

    /// Returns the certificate of a point.
    fn certificate(&mut self, theta: &[f64], rows: &Linearization, free: &[usize]) -> Certificate {
        let Problem { model, floor, .. } = self.problem;
        let point = Evaluated { coordinates: &model.coordinates, theta, rows, free, floor: *floor };
        Certificate::with(point, &mut self.buffers.matrix)
    }

    /// Minimises from `theta` in at most `most` iterations. Returns none where the objective is not finite there.
    fn minimise(&mut self, theta: &[f64], most: u32) -> Option<Finished> {
        let mut state = self.begin(theta)?;
        self.descend(&mut state, most, None);
        let DescentState { mut theta, mut at, mut trial, mut free, certified, iterations } = state;
        let polished = self.polish(&mut theta, &mut at, &mut free, &mut trial);
        free_coordinates(&theta, &at.gradient, self.region.bounds, &mut free);
        let certificate = match certified {
            Some(known) if !polished => known,
            _ => self.certificate(&theta, &at, &free),
        };
        let in_range = self.problem.natural(&theta).iter().all(|x| x.is_finite());
        Some(Finished { theta, rows: at, free, certificate, in_range, iterations })
    }

    /// Evaluates the first point. Returns none where the objective is not finite there.
    fn begin(&mut self, theta: &[f64]) -> Option<DescentState> {
        let clamped = theta.iter().zip(self.region.bounds).map(|(x, &(low, high))| x.clamp(low, high));
        let theta: Vec<f64> = clamped.collect();
        let mut at = std::mem::take(&mut self.buffers.found);
        self.buffers.evaluations += 1;
        self.evaluate(&theta, &mut at);
        if !at.objective.is_finite() {
            self.buffers.found = at;
            return None;
        }
        let trial = theta.clone();
        Some(DescentState { theta, at, trial, free: Vec::new(), certified: None, iterations: 0 })
    }

    /// Goes down until the certificate holds, or, with a level, until it is known on which side of it the minimum lies; returns
    /// whether one of these ended the iteration.
    fn descend(&mut self, state: &mut DescentState, most: u32, level: Option<f64>) -> bool {
        let DescentState { theta, at, trial, free, certified, iterations } = state;
        let bounds = self.region.bounds;
        let mut damping = 0.0;
        let mut growth = 2.0;
        let metric = &mut self.problem.metric.clone();
        let mut quadratic = Quadratic::Newton;
        while *iterations < most {
            free_coordinates(theta, &at.gradient, bounds, free);
            let certificate = self.certificate(theta, at, free);
            if certificate.holds() || free.is_empty() {
                *certified = Some(certificate);
                return true;
            }
            *iterations += 1;
            self.update_metric(at, metric);
            if !self.step(theta, at, free, quadratic, damping, metric) {
                quadratic = Quadratic::Newton;
                damping = increase_damping(damping, &mut growth);
                if damping > 1e12 {
                    break;
                }
                continue;
            }
            self.set_trial(theta, free, false, trial);
            let predicted = quadratic.decrease(at, free, |i| trial[i] - theta[i]);
            if level.is_some_and(|level| {
                at.objective - FARTHEST_FALL * predicted > level && damping < SMALL_DAMPING
            }) {
                return true;
            }
            self.evaluate_trial(trial);
            let mut accept = self.is_better(at, free, predicted);
            if !accept && self.has_log_amplitude(free) {
                self.set_trial(theta, free, true, trial);
                self.evaluate_trial(trial);
                accept = self.is_better(at, free, predicted);
            }
            let decrease = at.objective - self.buffers.found.objective;
            let gain = decrease / predicted;
            if accept {
                if decrease < LARGE_DECREASE * at.objective {
                    quadratic = Quadratic::Newton;
                }
                self.accept(theta, at, trial);
                if level.is_some_and(|level| at.objective < level) {
                    return true;
                }
                damping *= if gain > 0.75 { 0.1 } else { 1.0 / 3.0 };
                if damping < 1e-12 {
                    damping = 0.0;
                }
                growth = 2.0;
            } else if quadratic == Quadratic::Newton && !self.problem.loss.is_quadratic() {
                quadratic = Quadratic::Majorant;
            } else {
                quadratic = Quadratic::Newton;
                damping = increase_damping(damping, &mut growth);
                if damping > 1e12 {
                    break;
                }
            }
        }
        false
    }

    /// Returns whether the evaluated point is preferred to the current one.
    fn is_better(&self, at: &Linearization, free: &[usize], predicted: f64) -> bool {
        let found = &self.buffers.found;
        let decrease = at.objective - found.objective;
        // Within rounding of the objective only the gradient tells which point is better.
        let resolution = resolution_of_predictions(at);
        found.objective.is_finite()
            && found.gradient.iter().all(|g| g.is_finite())
            && ((decrease > 0.0 && decrease / predicted > 1e-4)
                || (decrease.abs() <= resolution
                    && predicted.abs() <= resolution
                    && gradient_size(found, free) < gradient_size(at, free)))
    }

    /// Returns whether a coordinate is the logarithm of an amplitude.
    fn is_log_amplitude(&self, i: usize) -> bool {
        let coordinate = &self.problem.model.coordinates[i];
        coordinate.scale == Scale::Log && coordinate.role == Role::Amplitude
    }

    /// Returns whether a free coordinate is the logarithm of an amplitude.
    fn has_log_amplitude(&self, free: &[usize]) -> bool {
        free.iter().any(|&i| self.is_log_amplitude(i))
    }

    /// Takes undamped steps for as long as they shrink the gradient: the last digits, which the objective does not
    /// resolve. Returns whether a step was taken.
    fn polish(
        &mut self,
        theta: &mut Vec<f64>,
        at: &mut Linearization,
        free: &mut Vec<usize>,
        trial: &mut Vec<f64>,
    ) -> bool {
        for steps in 0..8 {
            free_coordinates(theta, &at.gradient, self.region.bounds, free);
            // A gradient that consists of rounding has no direction.
            if free.is_empty() || gradient_size(at, free) <= f64::EPSILON * at.influence_norm {
                return steps > 0;
            }
            if !self.step(theta, at, free, Quadratic::Newton, 0.0, &self.problem.metric) {
                return steps > 0;
            }
            self.set_trial(theta, free, false, trial);
            self.evaluate_trial(trial);
            let found = &self.buffers.found;
            let slack = resolution_of_predictions(at) + self.problem.floor;
            let better = found.objective <= at.objective + slack
                && gradient_size(found, free) < 0.5 * gradient_size(at, free);
            if !better {
                return steps > 0;
            }
            self.accept(theta, at, trial);
        }
        true
    }

    /// Sets the trial point after the step, cut where the step meets the first bound: coordinates that compensate one
    /// another must reach it together. With `relative`, amplitudes change linearly by the fraction that the step of
    /// their logarithm says: the level sets along which one amplitude compensates another, or an offset, are straight
    /// in the amplitudes themselves.
    fn set_trial(&self, theta: &[f64], free: &[usize], relative: bool, trial: &mut Vec<f64>) {
        trial.clear();
        trial.extend_from_slice(theta);
        let steps = || free.iter().copied().zip(&self.buffers.step);
        let fraction_to_bound = |(i, s): (usize, &f64)| {
            let (low, high) = self.region.bounds[i];
            let room = if *s < 0.0 { theta[i] - low } else { high - theta[i] };
            if room > 0.0 && room < s.abs() { room / s.abs() } else { 1.0 }
        };
        let fraction = steps().map(fraction_to_bound).fold(1.0, f64::min);
        for (i, s) in steps() {
            let (low, high) = self.region.bounds[i];
            let reaches_bound = fraction < 1.0 && fraction_to_bound((i, s)) == fraction;
            let mut moved = fraction * s;
            if relative && self.is_log_amplitude(i) {
                moved = libm::log1p(moved.max(MIN_REMAINING - 1.0));
            }
            let target = if reaches_bound && *s < 0.0 {
                low
            } else if reaches_bound {
                high
            } else {
                theta[i] + moved
            };
            trial[i] = target.clamp(low, high);
        }
    }

    /// Raises the metrics that follow the Jacobian's columns to the largest norm seen.
    fn update_metric(&self, at: &Linearization, metric: &mut [f64]) {
        for (i, base) in self.problem.metric.iter().enumerate() {
            if *base == 0.0 {
                metric[i] = f64::max(metric[i], at.norms[i] * at.norms[i]);
            }
        }
    }

    /// Computes a step that leads into the domain: coordinates at a bound that the step would leave are held. Returns
    /// false where the damped Hessian is not positive definite.
    fn step(
        &mut self,
        theta: &[f64],
        at: &Linearization,
        free: &mut Vec<usize>,
        quadratic: Quadratic,
        damping: f64,
        metric: &[f64],
    ) -> bool {
        while self.step_over(at, free, quadratic, damping, metric) {
            let before = free.len();
            let mut steps = self.buffers.step.iter();
            free.retain(|&i| {
                let (low, high) = self.region.bounds[i];
                let step = steps.next().copied().unwrap_or_default();
                !(theta[i] <= low && step < 0.0 || theta[i] >= high && step > 0.0)
            });
            if free.len() == before || free.is_empty() {
                return free.len() == before;
            }
        }
        false
    }

    /// Computes the step over the free coordinates. Returns false where the damped Hessian is not positive definite.
    fn step_over(
        &mut self,
        at: &Linearization,
        free: &[usize],
        quadratic: Quadratic,
        damping: f64,
        metric: &[f64],
    ) -> bool {
        let damped = |i: usize| {
            let square = at.scale(i) * at.scale(i);
            damping * (if metric[i] > 0.0 { metric[i] } else { square }) / square
        };
        // Normal equations lose the components that distinguish nearly parallel columns.
        let by_hessian = quadratic == Quadratic::Newton && !self.problem.loss.is_quadratic();
        let found = (by_hessian && self.buffers.newton_step(at, free, damped))
            || self.buffers.orthogonal_step(at, free, quadratic, damped);
        if self.problem.is_long() {
            self.buffers.stacked = Vec::new();
        }
        let step = &mut self.buffers.step;
        step.iter_mut().zip(free).for_each(|(s, &i)| *s /= at.scale(i));
        found && step.iter().all(|s| s.is_finite())
    }
}

/// The smallest pivot of the Hessian, as a fraction of its largest entry, that leaves enough digits.
const NEARLY_SINGULAR: f64 = 1e-9;

/// Steps in scaled coordinates; `damped(i)` is what is added to the curvature of coordinate `i`.
impl MinimiseWorkspace {
    /// Computes the step with the exact Hessian. Returns false where the Hessian is not positive definite, or nearly
    /// singular.
    fn newton_step(&mut self, at: &Linearization, free: &[usize], damped: impl Fn(usize) -> f64) -> bool {
        let MinimiseWorkspace { matrix: hessian, step, .. } = self;
        let m = free.len();
        hessian.resize(m * m, 0.0);
        at.scaled_hessian_into(free, hessian);
        free.iter().enumerate().for_each(|(a, &i)| hessian[a * m + a] += damped(i));
        step.clear();
        step.extend(free.iter().map(|&i| -at.gradient[i] / at.scale(i)));
        let before: f64 = (0..m).map(|a| hessian[a * m + a]).fold(0.0, f64::max);
        let definite =
            cholesky(hessian, m) && (0..m).all(|a| hessian[a * m + a].powi(2) > NEARLY_SINGULAR * before);
        if definite {
            cholesky_solve(hessian, m, step);
        }
        definite
    }

    /// Computes the step by QR of the rows of positive curvature. The gradient of the other rows, and negative
    /// curvature, are added in the coordinates of the factor. Returns false where the factor is singular.
    fn orthogonal_step(
        &mut self,
        at: &Linearization,
        free: &[usize],
        quadratic: Quadratic,
        damped: impl Fn(usize) -> f64,
    ) -> bool {
        let MinimiseWorkspace { stacked, matrix: second_matrix, step, .. } = self;
        let (n, m) = (at.residual.len(), free.len());
        let rows = n + m;
        // With the residuals as an additional column, R holds Qᵀ times the residuals.
        stacked.clear();
        stacked.resize(rows * (m + 1), 0.0);
        let curvature = |k: usize| if at.weight[k] > 0.0 { quadratic.curvature(at, k) } else { 0.0 };
        for k in (0..n).filter(|&k| curvature(k) > 0.0) {
            let root = curvature(k).sqrt();
            let row = &at.jacobian[k * at.p..(k + 1) * at.p];
            for (a, &i) in free.iter().enumerate() {
                stacked[a * rows + k] = root * row[i] / at.scale(i);
            }
            stacked[m * rows + k] = -at.slope[k] / root;
        }
        for (a, &i) in free.iter().enumerate() {
            stacked[a * rows + n + a] = damped(i).sqrt();
        }
        step.clear();
        step.resize(m + 1, 0.0);
        triangularise(stacked, rows, step);
        let r = |i: usize, j: usize| stacked[j * rows + i];
        if (0..m).any(|a| r(a, a).abs() < 1e-14 * r(0, 0).abs().max(f64::MIN_POSITIVE)) {
            return false;
        }
        // (I + R⁻ᵀ S R⁻¹) v = z.
        let has_negative = (0..n).any(|k| curvature(k) < 0.0);
        second_matrix.resize(m * m, 0.0);
        for (a, &i) in free.iter().enumerate() {
            for (b, &j) in free.iter().enumerate() {
                let negative =
                    |k: usize| curvature(k).min(0.0) * at.jacobian[k * at.p + i] * at.jacobian[k * at.p + j];
                let mut second_order = at.second_order[triangle(i.max(j)) + i.min(j)];
                if has_negative {
                    second_order += (0..n).map(negative).sum::<f64>();
                }
                second_matrix[a * m + b] = second_order / (at.scale(i) * at.scale(j));
            }
        }
        for _ in 0..2 {
            // Multiplies by R⁻ᵀ from the left and transposes; twice gives R⁻ᵀ S R⁻¹.
            for b in 0..m {
                for a in 0..m {
                    let known: f64 = (0..a).map(|k| r(k, a) * second_matrix[k * m + b]).sum();
                    second_matrix[a * m + b] = (second_matrix[a * m + b] - known) / r(a, a);
                }
            }
            for a in 0..m {
                for b in 0..a {
                    second_matrix.swap(a * m + b, b * m + a);
                }
            }
        }
        for a in 0..m {
            for b in 0..a {
                second_matrix[a * m + b] = 0.5 * (second_matrix[a * m + b] + second_matrix[b * m + a]);
            }
            second_matrix[a * m + a] += 1.0;
        }
        step.clear();
        step.extend((0..m).map(|a| r(a, m)));
        let others = |&k: &usize| curvature(k) <= 0.0 && at.slope[k] != 0.0;
        if (0..n).any(|k| others(&k)) {
            // Subtracts R⁻ᵀ times the gradient of the rows without positive curvature.
            let mut linear_gradient = vec![0.0; m];
            for k in (0..n).filter(others) {
                let row = &at.jacobian[k * at.p..(k + 1) * at.p];
                free.iter()
                    .zip(&mut linear_gradient)
                    .for_each(|(&i, g)| *g += at.slope[k] * row[i] / at.scale(i));
            }
            for a in 0..m {
                let known: f64 = (0..a).map(|k| r(k, a) * linear_gradient[k]).sum();
                linear_gradient[a] = (linear_gradient[a] - known) / r(a, a);
            }
            step.iter_mut().zip(&linear_gradient).for_each(|(s, g)| *s -= g);
        }
        if cholesky(second_matrix, m) {
            cholesky_solve(second_matrix, m, step);
        }
        for a in (0..m).rev() {
            let known: f64 = (a + 1..m).map(|k| r(a, k) * step[k]).sum();
            step[a] = (step[a] - known) / r(a, a);
        }
        true
    }
}

/// Returns the change of the objective that rounding in the evaluation of the law can cause: a few units in the last
/// place of every prediction.
fn resolution_of_predictions(at: &Linearization) -> f64 {
    16.0 * f64::EPSILON * (at.objective + at.rounding_scale)
}

/// Returns the change of the objective that rounding can cause, both in the evaluation of the law and in the
/// coordinates: a few units in the last place of each.
#[must_use]
pub fn resolution(theta: &[f64], at: &Linearization) -> f64 {
    let by_coordinates: f64 = at
        .jacobian
        .chunks_exact(at.p.max(1))
        .zip(&at.slope)
        .filter(|(_, slope)| **slope != 0.0)
        .map(|(row, slope)| slope.abs() * row.iter().zip(theta).map(|(d, x)| (d * x).abs()).sum::<f64>())
        .sum();
    resolution_of_predictions(at) + 16.0 * f64::EPSILON * by_coordinates
}

/// Returns the damping after a refused step.
fn increase_damping(damping: f64, growth: &mut f64) -> f64 {
    let raised = if damping == 0.0 { 1e-6 } else { damping * *growth };
    *growth *= 2.0;
    raised
}

/// Leaves in `free` the coordinates that the gradient does not hold at a bound.
pub fn free_coordinates(theta: &[f64], gradient: &[f64], bounds: &[(f64, f64)], free: &mut Vec<usize>) {
    let held = |i: usize| {
        let (low, high) = bounds[i];
        (theta[i] <= low && gradient[i] >= 0.0) || (theta[i] >= high && gradient[i] <= 0.0)
    };
    free.clear();
    free.extend((0..theta.len()).filter(|&i| !held(i)));
}

/// Returns the largest entry of the scaled gradient over the free coordinates.
fn gradient_size(at: &Linearization, free: &[usize]) -> f64 {
    free.iter().map(|&i| (at.gradient[i] / at.scale(i)).abs()).fold(0.0, f64::max)
}
