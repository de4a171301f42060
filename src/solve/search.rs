//! Levenberg–Marquardt as a state machine: it says where to evaluate and is told what was found there.
//!
//! Minimises `f(θ)` over a box. At an accepted point with gradient `g` and Hessian (or its Gauss–Newton
//! part) `H` the trial step solves, over the coordinates that are not held at a bound,
//!
//! `(H + μ·M) δ = −g`,
//!
//! where `M` is the trust region's metric. `M` is *not* the columns' norms for coordinates that are
//! commensurate already (logarithms, exponents): with column norms a power term that has vanished may run
//! away. The damping `μ` follows Nielsen (1999, IMM-REP-1999-05, eq. 2.4): a smooth function of the gain
//! ratio when a step is accepted, doubling increase when it is not. Steps that leave the box stop at its
//! face, with the other coordinates solved again.
//!
//! Where the residuals are linear in some amplitudes, a trial point is first moved to the best amplitudes for
//! its other coordinates, if that promises much: then the search runs along the valley of the reduced
//! problem (variable projection; Ruhe & Wedin 1980, algorithm 2) instead of zigzagging across it, and passes
//! exponents of zero, where amplitudes go through infinity.
//!
//! The evaluation is the caller's, so the same search runs in a lane of a batch or alone.

use crate::law::Scale;
use crate::problem::{Loss, triangle};

use super::dense::solve_scaled;

/// What is known at a point.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    pub objective: f64,
    /// p entries.
    pub gradient: Vec<f64>,
    /// Lower triangle by rows.
    pub hessian: Vec<f64>,
}

impl Evaluation {
    pub fn resize(&mut self, p: usize) {
        self.gradient.resize(p, 0.0);
        self.hessian.resize(triangle(p), 0.0);
    }

    fn is_finite(&self) -> bool {
        self.objective.is_finite()
            && self.gradient.iter().all(|x| x.is_finite())
            && self.hessian.iter().all(|x| x.is_finite())
    }
}

/// The problem's constants that a search needs.
#[derive(Clone, Debug)]
pub struct Terrain {
    pub low: Vec<f64>,
    pub high: Vec<f64>,
    /// Diagonal of the metric; 0 where it is to be taken from the Hessian's diagonal.
    pub metric: Vec<f64>,
    /// What rounding of the data alone can change in the objective.
    pub floor: f64,
    /// Damping at the start, in units of the metric.
    pub damping: f64,
    pub loss: Loss,
    /// Σ w: turns the objective into a typical ρ.
    pub total_weight: f64,
    /// Coordinates in which least squares is linear, and whether by their exponential; empty where there are
    /// none.
    pub linear: Vec<(usize, Scale)>,
    /// Whether the start's own amplitudes are to be solved too; drawn starts come with theirs solved.
    pub project_start: bool,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The Newton step promises a decrease that is negligible against the objective.
    Converged,
    /// No step decreases the objective although the model promises it.
    Stalled,
    /// The limit of iterations.
    Limit,
    /// The objective is not finite at the start.
    NotFinite,
}

/// A predicted decrease below this share of the objective ends a search.
pub const DECREASE: f64 = 1e-14;

/// Iterations after which a search gives up.
pub const MOST_ITERATIONS: u32 = 300;

/// A search in progress.
#[derive(Clone, Debug, Default)]
pub struct Search {
    pub theta: Vec<f64>,
    pub at: Evaluation,
    /// Evaluations so far.
    pub iterations: u32,
    trial: Vec<f64>,
    metric: Vec<f64>,
    from_column: Vec<bool>,
    pull: f64,
    damping: f64,
    growth: f64,
    predicted: f64,
    started: bool,
    /// The trial point has had its amplitudes solved.
    projected: bool,
    // Scratch.
    matrix: Vec<f64>,
    rhs: Vec<f64>,
    scale: Vec<f64>,
    free: Vec<usize>,
    step: Vec<f64>,
}

impl Search {
    /// Begins at `theta`, which is moved into the box.
    pub fn begin(&mut self, theta: &[f64], terrain: &Terrain) {
        let p = theta.len();
        self.theta.clear();
        self.theta.extend(
            theta
                .iter()
                .zip(terrain.low.iter().zip(&terrain.high))
                .map(|(&x, (&low, &high))| x.clamp(low, high)),
        );
        self.trial.clone_from(&self.theta);
        self.metric.clone_from(&terrain.metric);
        self.from_column.clear();
        self.from_column.extend(terrain.metric.iter().map(|&m| m == 0.0));
        self.at.resize(p);
        self.iterations = 0;
        self.damping = terrain.damping;
        self.growth = 2.0;
        self.started = false;
        self.projected = false;
        self.step.resize(p, 0.0);
    }

    /// Where the objective is wanted next.
    pub fn trial(&self) -> &[f64] {
        &self.trial
    }

    /// Takes the evaluation at [`Search::trial`]; gives the ending, or goes on.
    ///
    /// `found` is exchanged with the search's own buffers, not copied.
    pub fn observe(&mut self, found: &mut Evaluation, terrain: &Terrain) -> Option<Ending> {
        self.iterations += 1;
        let finite = found.is_finite();
        if !self.started {
            if !finite {
                return Some(Ending::NotFinite);
            }
            self.predicted = 0.01 * found.objective;
            if terrain.project_start && !self.projected && self.project(found, terrain) {
                self.projected = true;
                return None;
            }
            self.projected = false;
            self.started = true;
            std::mem::swap(&mut self.at, found);
            // Where most residuals are in the loss's linear zone, all curvature is smaller by this much.
            let pull = terrain.loss.typical_weight(self.at.objective / terrain.total_weight);
            self.damping = terrain.damping * pull;
            self.pull = pull;
        } else if finite && !self.projected && self.project(found, terrain) {
            self.projected = true;
            return None;
        } else {
            self.projected = false;
            let decrease = self.at.objective - found.objective;
            let gain = if finite { decrease / self.predicted } else { f64::NEG_INFINITY };
            if finite && decrease > 0.0 && gain > 1e-4 {
                std::mem::swap(&mut self.at, found);
                self.theta.clone_from(&self.trial);
                let shrink = 1.0 - (2.0 * gain - 1.0).powi(3);
                // Near the optimum the model is right and the damping only slows the last steps.
                let least = if gain > 0.9 { 0.05 } else { 1.0 / 3.0 };
                self.damping *= shrink.clamp(least, 2.0);
                self.growth = 2.0;
            } else {
                self.damping *= self.growth;
                self.growth *= 2.0;
            }
        }
        self.update_metric();
        let negligible = (DECREASE * self.at.objective).max(terrain.floor);
        if self.newton_decrease(terrain).is_some_and(|d| d <= negligible) {
            return Some(Ending::Converged);
        }
        if self.iterations >= MOST_ITERATIONS {
            return Some(Ending::Limit);
        }
        self.propose(terrain)
    }

    /// Moves the trial point to the best amplitudes for its other coordinates, where that promises a decrease
    /// comparable to the step's own.
    fn project(&mut self, found: &Evaluation, terrain: &Terrain) -> bool {
        let amplitudes = &terrain.linear;
        let m = amplitudes.len();
        if m == 0 || m == self.theta.len() {
            return false;
        }
        self.matrix.clear();
        self.matrix.resize(m * m, 0.0);
        self.rhs.clear();
        for (a, &(i, _)) in amplitudes.iter().enumerate() {
            for (b, &(j, _)) in amplitudes[..=a].iter().enumerate() {
                self.matrix[a * m + b] = found.hessian[triangle(i) + j];
            }
            self.rhs.push(-found.gradient[i]);
        }
        if !solve_scaled(&mut self.matrix, m, &mut self.rhs, &mut self.scale) {
            return false;
        }
        let promised: f64 =
            amplitudes.iter().enumerate().map(|(a, &(i, _))| -0.5 * found.gradient[i] * self.rhs[a]).sum();
        if !(promised > 0.1 * self.predicted) {
            return false;
        }
        for (a, &(i, scale)) in amplitudes.iter().enumerate() {
            let step = self.rhs[a];
            let step = match scale {
                Scale::Linear => step,
                // The step is relative to the amplitude; one that would change its sign stops short.
                Scale::Log => step.max(-0.9).ln_1p(),
            };
            self.trial[i] = (self.trial[i] + step).clamp(terrain.low[i], terrain.high[i]);
        }
        true
    }

    /// Column metrics follow the largest curvature seen (Moré 1978).
    fn update_metric(&mut self) {
        for i in 0..self.theta.len() {
            if self.from_column[i] {
                let diagonal = self.at.hessian[triangle(i) + i].abs() / self.pull;
                self.metric[i] = self.metric[i].max(diagonal);
            }
        }
    }

    fn metric(&self, i: usize) -> f64 {
        if self.metric[i] > 0.0 { self.metric[i] } else { 1.0 }
    }

    /// Fills `free` with the coordinates that are not held at a bound by the gradient.
    fn set_free(&mut self, terrain: &Terrain) {
        self.free.clear();
        for i in 0..self.theta.len() {
            let g = self.at.gradient[i];
            let held = (self.theta[i] <= terrain.low[i] && g >= 0.0)
                || (self.theta[i] >= terrain.high[i] && g <= 0.0);
            if !held {
                self.free.push(i);
            }
        }
    }

    /// Solves for the free coordinates with damping `mu`; the result is in `rhs`. False where the matrix
    /// is not positive definite.
    fn solve(&mut self, mu: f64) -> bool {
        let m = self.free.len();
        self.matrix.clear();
        self.matrix.resize(m * m, 0.0);
        self.rhs.clear();
        for (a, &i) in self.free.iter().enumerate() {
            for (b, &j) in self.free[..=a].iter().enumerate() {
                self.matrix[a * m + b] = self.at.hessian[triangle(i) + j];
            }
            self.matrix[a * m + a] += mu * self.metric(i);
            self.rhs.push(-self.at.gradient[i]);
        }
        // Coordinates already stopped at a face contribute their known step.
        let stopped = self.step.iter().any(|s| *s != 0.0);
        for (a, &i) in self.free.iter().enumerate().filter(|_| stopped) {
            for j in 0..self.step.len() {
                if self.step[j] != 0.0 && !self.free.contains(&j) {
                    let (row, column) = if i >= j { (i, j) } else { (j, i) };
                    self.rhs[a] -= self.at.hessian[triangle(row) + column] * self.step[j];
                }
            }
        }
        solve_scaled(&mut self.matrix, m, &mut self.rhs, &mut self.scale)
    }

    /// The decrease that an undamped Newton step promises, `½ gᵀH⁻¹g` over the free coordinates; none
    /// where the Hessian is not positive definite.
    fn newton_decrease(&mut self, terrain: &Terrain) -> Option<f64> {
        self.set_free(terrain);
        self.step.iter_mut().for_each(|s| *s = 0.0);
        if self.free.is_empty() {
            return Some(0.0);
        }
        if !self.solve(0.0) {
            return None;
        }
        let dot: f64 = self.free.iter().zip(&self.rhs).map(|(&i, step)| self.at.gradient[i] * step).sum();
        Some(-0.5 * dot)
    }

    fn propose(&mut self, terrain: &Terrain) -> Option<Ending> {
        for _ in 0..60 {
            self.set_free(terrain);
            self.step.iter_mut().for_each(|s| *s = 0.0);
            if self.bounded_step(terrain) {
                let moves = (0..self.theta.len())
                    .any(|i| self.step[i].abs() > 0.5 * f64::EPSILON * self.theta[i].abs());
                self.predicted = self.model_decrease();
                if !moves {
                    return Some(Ending::Stalled);
                }
                if self.predicted > 0.0 && self.predicted.is_finite() {
                    for i in 0..self.theta.len() {
                        self.trial[i] = (self.theta[i] + self.step[i]).clamp(terrain.low[i], terrain.high[i]);
                    }
                    return None;
                }
            }
            self.damping = (self.damping * 4.0).max(1e-8);
        }
        Some(Ending::Stalled)
    }

    /// A damped step that stops at the faces of the box. False where the matrix is not positive definite.
    fn bounded_step(&mut self, terrain: &Terrain) -> bool {
        while !self.free.is_empty() {
            if !self.solve(self.damping) {
                return false;
            }
            for (a, &i) in self.free.iter().enumerate() {
                let target = self.theta[i] + self.rhs[a];
                if target < terrain.low[i] || target > terrain.high[i] {
                    self.step[i] = target.clamp(terrain.low[i], terrain.high[i]) - self.theta[i];
                    // Marks the coordinate as stopped even where the step to the face is zero.
                    self.rhs[a] = f64::NAN;
                }
            }
            if self.rhs.iter().all(|s| !s.is_nan()) {
                for (a, &i) in self.free.iter().enumerate() {
                    self.step[i] = self.rhs[a];
                }
                return true;
            }
            let mut solved = self.rhs.iter();
            self.free.retain(|_| solved.next().is_some_and(|s| !s.is_nan()));
        }
        true
    }

    /// `−(gᵀδ + ½ δᵀHδ)` of the undamped model.
    fn model_decrease(&self) -> f64 {
        let mut total = 0.0;
        for i in 0..self.step.len() {
            total -= self.at.gradient[i] * self.step[i];
            for j in 0..i {
                total -= self.at.hessian[triangle(i) + j] * self.step[i] * self.step[j];
            }
            total -= 0.5 * self.at.hessian[triangle(i) + i] * self.step[i] * self.step[i];
        }
        total
    }
}
