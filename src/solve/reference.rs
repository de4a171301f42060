//! The solver that finishes every fit, and stands alone as `--solver reference`: a damped Newton method in
//! scalar arithmetic on faer's factorisations. It goes on until the [`Certificate`] holds.
//!
//! For least squares a step comes from the QR factorisation of the scaled Jacobian stacked on the damping,
//! so that the Jacobian's condition number enters once and not squared; the law's second derivatives are
//! added in the factor's coordinates, `(I + R⁻ᵀ S R⁻¹) v = −Qᵀr`, which is Newton's step where that matrix
//! is positive definite and Gauss–Newton's where it is not. For other losses the exact Hessian is factorised
//! (Björck 1996, chapters 2 and 9; Nielsen 1999 for the damping).

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

use crate::problem::{LaneData, Problem, Workspace};

use super::certificate::{
    Certificate, column_norm, column_scales, pull, scaled_hessian, scaled_second, weighted_entry,
};
use super::rows::{Rows, rows};

/// A finished minimisation.
#[derive(Clone, Debug)]
pub struct Finished {
    pub theta: Vec<f64>,
    pub rows: Rows,
    /// Coordinates not held at a bound.
    pub free: Vec<usize>,
    pub certificate: Certificate,
    pub iterations: u32,
}

/// Minimises from `theta`; the data is spread over the lanes once.
pub fn minimise(problem: &Problem, weight: &[f64], theta: &[f64], most: u32) -> Option<Finished> {
    let data = LaneData::spread(problem, weight);
    let mut solver = Reference { problem, data, weight, workspace: Workspace::default() };
    solver.minimise(theta, most)
}

struct Reference<'a> {
    problem: &'a Problem,
    data: LaneData,
    weight: &'a [f64],
    workspace: Workspace,
}

impl Reference<'_> {
    fn rows(&mut self, theta: &[f64]) -> Rows {
        let mut at = rows(self.problem, &self.data, self.weight, theta, &mut self.workspace);
        // Coordinates can describe amplitudes beyond the range of numbers; an estimate must not.
        if !self.problem.natural(theta).iter().all(|x| x.is_finite()) {
            at.objective = f64::INFINITY;
        }
        at
    }

    fn minimise(&mut self, theta: &[f64], most: u32) -> Option<Finished> {
        let bounds: Vec<(f64, f64)> =
            self.problem.model.coordinates.iter().map(|c| (c.low, c.high)).collect();
        let mut theta: Vec<f64> =
            theta.iter().zip(&bounds).map(|(x, &(low, high))| x.clamp(low, high)).collect();
        let mut at = self.rows(&theta);
        if !at.objective.is_finite() {
            return None;
        }
        let mut damping = 0.0;
        let mut growth = 2.0;
        let mut iterations = 0;
        let mut metric = self.problem.metric.clone();
        while iterations < most {
            let free = free_coordinates(&theta, &at.gradient, &bounds);
            let certificate = Certificate::of(&at, &free, self.problem.floor);
            if certificate.holds() || free.is_empty() {
                break;
            }
            iterations += 1;
            self.update_metric(&at, &mut metric);
            let Some(step) = self.step(&at, &free, damping, &metric) else {
                damping = increase(damping, &mut growth);
                if damping > 1e12 {
                    break;
                }
                continue;
            };
            let mut trial = theta.clone();
            for (&i, s) in free.iter().zip(&step) {
                trial[i] = (theta[i] + s).clamp(bounds[i].0, bounds[i].1);
            }
            let moved: Vec<f64> = free.iter().map(|&i| trial[i] - theta[i]).collect();
            let predicted = predicted_decrease(&at, &free, &moved);
            let found = self.rows(&trial);
            let decrease = at.objective - found.objective;
            // At the resolution of the objective only the gradient can tell.
            let resolution = resolution(&at);
            let gain = decrease / predicted;
            let accept = found.objective.is_finite()
                && found.gradient.iter().all(|g| g.is_finite())
                && ((decrease > 0.0 && gain > 1e-4)
                    || (decrease.abs() <= resolution
                        && predicted.abs() <= resolution
                        && gradient_size(&found, &free) < gradient_size(&at, &free)));
            if accept {
                at = found;
                theta = trial;
                damping *= if gain > 0.75 { 0.1 } else { 1.0 / 3.0 };
                if damping < 1e-12 {
                    damping = 0.0;
                }
                growth = 2.0;
            } else {
                damping = increase(damping, &mut growth);
                if damping > 1e12 {
                    break;
                }
            }
        }
        self.polish(&mut theta, &mut at, &bounds);
        let free = free_coordinates(&theta, &at.gradient, &bounds);
        let certificate = Certificate::of(&at, &free, self.problem.floor);
        Some(Finished { theta, rows: at, free, certificate, iterations })
    }

    /// Undamped steps for as long as they shrink the gradient: the last digits, which the objective cannot
    /// see any more.
    fn polish(&mut self, theta: &mut Vec<f64>, at: &mut Rows, bounds: &[(f64, f64)]) {
        for _ in 0..8 {
            let free = free_coordinates(theta, &at.gradient, bounds);
            // A gradient that is all rounding points nowhere.
            if free.is_empty() || gradient_size(at, &free) <= f64::EPSILON * pull(at) {
                return;
            }
            let Some(step) = self.step(at, &free, 0.0, &self.problem.metric) else { return };
            let mut trial = theta.clone();
            for (&i, s) in free.iter().zip(&step) {
                trial[i] = (theta[i] + s).clamp(bounds[i].0, bounds[i].1);
            }
            let found = self.rows(&trial);
            let slack = resolution(at) + self.problem.floor;
            let better = found.objective <= at.objective + slack
                && gradient_size(&found, &free) < 0.5 * gradient_size(at, &free);
            if !better {
                return;
            }
            *theta = trial;
            *at = found;
        }
    }

    fn update_metric(&self, at: &Rows, metric: &mut [f64]) {
        for (i, base) in self.problem.metric.iter().enumerate() {
            if *base == 0.0 {
                let norm = column_norm(at, i);
                metric[i] = f64::max(metric[i], norm * norm);
            }
        }
    }

    /// The step over the free coordinates; none where the damped Hessian is not positive definite.
    fn step(&self, at: &Rows, free: &[usize], damping: f64, metric: &[f64]) -> Option<Vec<f64>> {
        let m = free.len();
        let scale = column_scales(at, free);
        let gradient = Mat::from_fn(m, 1, |a, _| -at.gradient[free[a]] / scale[a]);
        let second = scaled_second(at, free, &scale);
        let damped = |a: usize| {
            let value = metric[free[a]];
            damping * (if value > 0.0 { value } else { scale[a] * scale[a] }) / (scale[a] * scale[a])
        };
        let solution = if self.problem.loss.is_quadratic() {
            let n = at.residual.len();
            let stacked = Mat::from_fn(n + m, m, |i, a| {
                if i < n {
                    weighted_entry(at.curvature[i], at.jacobian[i * at.p + free[a]]) / scale[a]
                } else if i - n == a {
                    damped(a).sqrt()
                } else {
                    0.0
                }
            });
            let rhs = Mat::from_fn(n + m, 1, |i, _| {
                if i < n && at.curvature[i] > 0.0 { -at.slope[i] / at.curvature[i].sqrt() } else { 0.0 }
            });
            let qr = stacked.qr();
            let r = qr.thin_R().to_owned();
            if (0..m).any(|a| r[(a, a)].abs() < 1e-14 * r[(0, 0)].abs().max(f64::MIN_POSITIVE)) {
                return None;
            }
            let z = qr.compute_thin_Q().transpose() * &rhs;
            // (I + R⁻ᵀ S R⁻¹) v = z.
            let mut left = second;
            r.transpose().solve_lower_triangular_in_place(left.as_mut());
            let mut right = left.transpose().to_owned();
            r.transpose().solve_lower_triangular_in_place(right.as_mut());
            let curved = Mat::from_fn(m, m, |a, b| {
                0.5 * (right[(a, b)] + right[(b, a)]) + f64::from(u8::from(a == b))
            });
            let mut v = match curved.llt(Side::Lower) {
                Ok(factor) => factor.solve(&z),
                Err(_) => z,
            };
            r.solve_upper_triangular_in_place(v.as_mut());
            v
        } else {
            let mut hessian = scaled_hessian(at, free, &scale);
            for a in 0..m {
                hessian[(a, a)] += damped(a);
            }
            hessian.llt(Side::Lower).ok()?.solve(&gradient)
        };
        let step: Vec<f64> = (0..m).map(|a| solution[(a, 0)] / scale[a]).collect();
        step.iter().all(|s| s.is_finite()).then_some(step)
    }
}

/// What rounding in the evaluation of the law can change in the objective: a few units in the last place of
/// every prediction.
fn resolution(at: &Rows) -> f64 {
    let moved: f64 = at
        .slope
        .iter()
        .zip(&at.value)
        .filter(|(slope, _)| **slope != 0.0)
        .map(|(slope, value)| slope.abs() * value.abs())
        .sum();
    16.0 * f64::EPSILON * (at.objective + moved)
}

fn increase(damping: f64, growth: &mut f64) -> f64 {
    let raised = if damping == 0.0 { 1e-6 } else { damping * *growth };
    *growth *= 2.0;
    raised
}

/// Coordinates that the gradient does not press against a bound.
pub fn free_coordinates(theta: &[f64], gradient: &[f64], bounds: &[(f64, f64)]) -> Vec<usize> {
    (0..theta.len())
        .filter(|&i| {
            let held = (theta[i] <= bounds[i].0 && gradient[i] >= 0.0)
                || (theta[i] >= bounds[i].1 && gradient[i] <= 0.0);
            !held
        })
        .collect()
}

fn gradient_size(at: &Rows, free: &[usize]) -> f64 {
    let scale = column_scales(at, free);
    free.iter().zip(scale).map(|(&i, s)| (at.gradient[i] / s).abs()).fold(0.0, f64::max)
}

fn predicted_decrease(at: &Rows, free: &[usize], step: &[f64]) -> f64 {
    let ones = vec![1.0; free.len()];
    let hessian = scaled_hessian(at, free, &ones);
    let mut total = 0.0;
    for a in 0..free.len() {
        total -= at.gradient[free[a]] * step[a];
        for b in 0..free.len() {
            total -= 0.5 * hessian[(a, b)] * step[a] * step[b];
        }
    }
    total
}
