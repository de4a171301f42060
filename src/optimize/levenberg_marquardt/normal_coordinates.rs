//! Steps in normal coordinates, for searches near an estimate whose higher derivatives are known (those of replicates).
//!
//! Near an estimate an objective differs from a quadratic mostly by the choice of parameters. The second derivatives of
//! the residuals split into their projection onto the first derivatives and the rest, `∂²m = Γ·∂m + N`
//! (parameter-effects and intrinsic curvature; Bates & Watts 1980, JRSS B 42(1)). In normal coordinates `φ`, with `θ +
//! φ − ½ Γ[φ,φ]` in place of `θ`, only `N` is left. A step `φ` solves `(H − g·Γ + μM) φ = −g`, and `θ` moves along a
//! curve that agrees to second order with the geodesic acceleration of Transtrum & Sethna (2012, arXiv:1201.5885). `Γ`
//! is taken at the estimate of the sweep and used for all of its replicates.
//!
//! With steps in normal coordinates the predicted decreases of a search fall quadratically from the first on, so the
//! next one can be predicted. Where it is negligible, and third derivatives `T` of the objective agree, the last step
//! needs no evaluation: an uncorrected step `d` would leave a gradient `h = ½ T[d,d]` and a decrease `½ hᵀH⁻¹h`, a
//! corrected one far less. Correcting the step by `T` itself does not pay: the `T` of a replicate differs too much from
//! that of its sweep.

use fearless_simd::{Level, dispatch};

use crate::lanes::{LANES, Lanes, Pack, is_true, load};
use crate::linalg::triangle;
use crate::problem::Loss;

use super::state::{Searches, SharedSettings};

/// The first step of a search, computed before the search.
#[derive(Clone, Copy, Debug)]
pub struct FirstStep<'a> {
    /// Objective, gradient and Hessian (lower triangle by rows) at the start.
    pub sums: &'a [Pack],
    /// The first trial point, in solver coordinates.
    pub trial: &'a [f64],
    /// The predicted decrease at `trial`.
    pub predicted: f64,
}

impl Searches {
    /// Sets objective, gradient and Hessian at the start of the search in a lane.
    pub fn set_sums(&mut self, lane: usize, sums: &[Pack], loss: Loss) {
        for (k, pack) in self.at.packs.iter_mut().enumerate() {
            pack.0[lane] = sums[k / LANES].0[k % LANES];
        }
        self.started.0[lane] = 1.0;
        self.set_damping(lane, loss);
    }

    /// Sets the next trial point of the search in a lane, and its predicted decrease.
    pub fn set_trial(&mut self, lane: usize, trial: &[f64], predicted: f64) {
        for (pack, &x) in self.trial.iter_mut().zip(trial) {
            pack.0[lane] = x;
        }
        self.predicted.0[lane] = predicted;
    }

    /// Computes the first trial points and their predicted decreases in all lanes, whose sums at the start must be set.
    pub fn first_step(&mut self, level: Level, shared: SharedSettings) {
        dispatch!(level, simd => self.first_step_lanes::<fearless_simd::f64x8<_>>(simd, shared));
    }

    #[inline(always)]
    fn first_step_lanes<L: Lanes>(&mut self, token: L::Token, shared: SharedSettings) {
        let zero = L::splat(token, 0.0);
        let all = zero.eq(zero);
        // Where no step is proposed, the predicted decrease is zero.
        zero.store(&mut self.predicted.0);
        self.update_metric::<L>(token, all);
        self.propose::<L>(token, all, shared);
        if shared.connection.is_empty() {
            return;
        }
        let p = self.theta.len();
        self.uncorrected.copy_from_slice(&self.trial);
        for _ in 0..shared.tuning.normal_coordinates.corrections {
            for i in 0..p {
                let step = load::<L>(token, &self.trial[i]) - load(token, &self.theta[i]);
                step.store(&mut self.step[i].0);
            }
            self.set_quadratic_form::<L>(token, shared.connection);
            for i in 0..p {
                let target = load::<L>(token, &self.uncorrected[i]) - load(token, &self.correction[i]);
                let target = target.max(load(token, &self.low[i])).min(load(token, &self.high[i]));
                target.store(&mut self.trial[i].0);
            }
        }
    }

    /// Sets the Hessian that steps are made with: in normal coordinates where `at` holds the exact Hessian.
    #[inline(always)]
    pub(in crate::optimize) fn set_hessian<L: Lanes>(&mut self, token: L::Token, connection: &[f64]) {
        let p = self.theta.len();
        self.hessian.copy_from_slice(&self.at.packs[1 + p..]);
        let exact = is_true::<L>(token, &self.has_second_derivatives);
        if connection.is_empty() || !L::any(exact) {
            return;
        }
        let zero = L::splat(token, 0.0);
        for (c, lower) in connection.chunks_exact(triangle(p)).enumerate() {
            let slope = -L::select(exact, load(token, &self.at.packs[1 + c]), zero);
            let twice = slope + slope;
            for j in 0..p {
                for k in 0..=j {
                    let entry = &mut self.hessian[triangle(j) + k].0;
                    let by = if j == k { twice } else { slope };
                    let half = zero.fill(lower[triangle(j) + k]);
                    by.mul_add(half, L::load(token, entry)).store(entry);
                }
            }
        }
    }

    /// Sets in `correction` the geodesic acceleration `½ Γ[d,d]` of the steps `d`, which is subtracted from them; zero where
    /// the connection `Γ` is not known.
    #[inline(always)]
    pub(in crate::optimize) fn set_geodesic_acceleration<L: Lanes>(
        &mut self,
        token: L::Token,
        shared: SharedSettings,
    ) {
        let exact = is_true::<L>(token, &self.has_second_derivatives);
        if !shared.connection.is_empty() && L::any(exact) {
            self.set_quadratic_form::<L>(token, shared.connection);
            // The correction assumes the exact Hessian and no coordinate stopped at a face.
            let free = self.free.iter().fold(exact, |all, free| all & is_true::<L>(token, free));
            self.keep_small_corrections::<L>(token, free, shared.tuning.normal_coordinates.max_correction);
        } else {
            let zero = L::splat(token, 0.0);
            self.correction.iter_mut().for_each(|correction| zero.store(&mut correction.0));
        }
    }

    /// Sets to zero the corrections that are not small beside their step, and those of lanes outside `lanes`.
    #[inline(always)]
    fn keep_small_corrections<L: Lanes>(&mut self, token: L::Token, lanes: L::Mask, max_correction: f64) {
        let zero = L::splat(token, 0.0);
        let (mut size, mut step) = (zero, zero);
        for i in 0..self.theta.len() {
            let metric = self.metric_of::<L>(token, i);
            let (correction, d) = (load::<L>(token, &self.correction[i]), load::<L>(token, &self.step[i]));
            size = (correction * metric).mul_add(correction, size);
            step = (d * metric).mul_add(d, step);
        }
        let small = lanes & size.lt(step * zero.fill(max_correction));
        for correction in &mut self.correction {
            L::select(small, load(token, correction), zero).store(&mut correction.0);
        }
    }

    /// Sets `correction` to `½ T[d,d]` of the steps `d`, for a tensor `T` given as in [`SharedSettings::third`].
    #[inline(always)]
    fn set_quadratic_form<L: Lanes>(&mut self, token: L::Token, third: &[f64]) {
        let p = self.theta.len();
        for (correction, rows) in self.correction.iter_mut().zip(third.chunks_exact(triangle(p))) {
            let mut total = L::splat(token, 0.0);
            for j in 0..p {
                let mut row = L::splat(token, 0.0);
                for k in 0..=j {
                    let entry = L::splat(token, rows[triangle(j) + k]);
                    row = entry.mul_add(load(token, &self.step[k]), row);
                }
                total = row.mul_add(load(token, &self.step[j]), total);
            }
            total.store(&mut correction.0);
        }
    }

    /// Returns the decrease that is left after a step of the quadratic model, by third derivatives; the factor is that
    /// of the last call of `solve`.
    #[inline(always)]
    pub(in crate::optimize) fn third_order_decrease<L: Lanes>(
        &mut self,
        token: L::Token,
        third: &[f64],
    ) -> L {
        self.set_quadratic_form::<L>(token, third);
        self.solve_for_correction::<L>(token);
        let mut left = L::splat(token, 0.0);
        for (correction, solution) in self.correction.iter().zip(&self.rhs) {
            let half = load::<L>(token, correction) * left.fill(-0.5);
            left = half.mul_add(load(token, solution), left);
        }
        left
    }
}
