//! Looking further than the quadratic model: searches near an estimate whose derivatives are known.
//!
//! Near an estimate an objective differs from a parabola mostly by the choice of parameters. The residuals' second
//! derivatives split into what lies in the span of the first ones and the rest, `∂²m = Γ·∂m + N` (parameter-effects and
//! intrinsic curvature; Bates & Watts 1980, JRSS B 42(1)). In normal coordinates `φ`, with `θ + φ − ½ Γ[φ,φ]` for `θ`,
//! only `N` is left. There a step `φ` solves `(H − g·Γ + μM) φ = −g`, and `θ` is moved along the bow (to second order the
//! geodesic acceleration of Transtrum & Sethna 2012, arXiv:1201.5885). `Γ` is taken from a sweep's estimate, for all its
//! replicates.
//!
//! With steps in normal coordinates the promises of a search fall by their square from the first on, which tells what the
//! next one would be. Where that is next to nothing, and third derivatives `T` of the objective agree, the last step needs
//! no confirmation: a straight step `d` would leave a gradient `h = ½ T[d,d]` and `½ hᵀH⁻¹h` to gain, a bent one far less.
//! A correction of the step by `T` itself was tried: a replicate's own `T` differs too much from its sweep's, and searches
//! took more evaluations.

use fearless_simd::{Level, dispatch};

use crate::lanes::Lanes;
use crate::lanes::{LANES, Pack};
use crate::linalg::triangle;
use crate::problem::Loss;

use super::state::{Searches, SharedSettings};
use crate::lanes::{is_true, load};

/// Times that the first step, which is the longest, is bent: each time by the step as it was bent before.
const CORRECTIONS: usize = 2;

/// A step is not bent by more than this share of its length, squared: there the next terms would matter as much.
const MOST_BENT: f64 = 0.25;

/// What is known of a search's start, and where it looks next.
#[derive(Clone, Copy, Debug)]
pub struct FirstStep<'a> {
    /// Objective, gradient, Hessian at the start.
    pub sums: &'a [Pack],
    pub trial: &'a [f64],
    /// The decrease that is expected at `trial`.
    pub predicted: f64,
}

impl Searches {
    /// Tells a search that has begun what is known at its start.
    pub fn inform(&mut self, lane: usize, sums: &[Pack], loss: Loss) {
        for (k, pack) in self.at.packs.iter_mut().enumerate() {
            pack.0[lane] = sums[k / LANES].0[k % LANES];
        }
        self.started.0[lane] = 1.0;
        self.set_damping(lane, loss);
    }

    /// Tells a search that was informed where to look next.
    pub fn look_at(&mut self, lane: usize, trial: &[f64], predicted: f64) {
        for (pack, &x) in self.trial.iter_mut().zip(trial) {
            pack.0[lane] = x;
        }
        self.predicted.0[lane] = predicted;
    }

    /// Where searches that were informed should look next: `trial` and `predicted`.
    pub fn look_ahead(&mut self, level: Level, shared: SharedSettings) {
        dispatch!(level, simd => self.look_ahead_lanes::<fearless_simd::f64x8<_>>(simd, shared));
    }

    #[inline(always)]
    fn look_ahead_lanes<L: Lanes>(&mut self, token: L::Token, shared: SharedSettings) {
        let zero = L::splat(token, 0.0);
        let all = zero.eq(zero);
        // Where no step is proposed none is expected to gain anything.
        zero.store(&mut self.predicted.0);
        self.update_metric::<L>(token, all);
        self.propose::<L>(token, all, shared);
        if shared.connection.is_empty() {
            return;
        }
        let p = self.theta.len();
        self.straight.copy_from_slice(&self.trial);
        for _ in 0..CORRECTIONS {
            for i in 0..p {
                let step = load::<L>(token, &self.trial[i]) - load(token, &self.theta[i]);
                step.store(&mut self.step[i].0);
            }
            self.set_turn::<L>(token, shared.connection);
            for i in 0..p {
                let target = load::<L>(token, &self.straight[i]) - load(token, &self.turn[i]);
                let target = target.max(load(token, &self.low[i])).min(load(token, &self.high[i]));
                target.store(&mut self.trial[i].0);
            }
        }
    }

    /// The Hessian that steps are made with: in normal coordinates, where `at` has the exact one.
    #[inline(always)]
    pub(in crate::optimize) fn set_hessian<L: Lanes>(&mut self, token: L::Token, connection: &[f64]) {
        let p = self.theta.len();
        self.hessian.copy_from_slice(&self.at.packs[1 + p..]);
        let bent = is_true::<L>(token, &self.bent);
        if connection.is_empty() || !L::any(bent) {
            return;
        }
        let zero = L::splat(token, 0.0);
        for (c, lower) in connection.chunks_exact(triangle(p)).enumerate() {
            let slope = -L::select(bent, load(token, &self.at.packs[1 + c]), zero);
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

    /// What is taken from the steps for the sake of the valley's curvature, in `turn`: `½ Γ[d,d]` where the connection is
    /// known, else what the last step tells of it.
    #[inline(always)]
    pub(in crate::optimize) fn set_geodesic_correction<L: Lanes>(
        &mut self,
        token: L::Token,
        good: L::Mask,
        shared: SharedSettings,
    ) {
        let bent = is_true::<L>(token, &self.bent);
        if shared.connection.is_empty() && shared.loss.is_quadratic() && shared.daring {
            self.geodesic_acceleration::<L>(token, good);
        } else if !shared.connection.is_empty() && L::any(bent) {
            self.set_turn::<L>(token, shared.connection);
            // The Hessian must be the exact one, and no step stop at a face.
            let free = self.free.iter().fold(bent, |all, free| all & is_true::<L>(token, free));
            self.keep_small_turns::<L>(token, free);
        } else {
            let zero = L::splat(token, 0.0);
            self.turn.iter_mut().for_each(|turn| zero.store(&mut turn.0));
        }
    }

    /// Drops turns that are not small beside their step, and those of other lanes.
    #[inline(always)]
    pub(in crate::optimize) fn keep_small_turns<L: Lanes>(&mut self, token: L::Token, lanes: L::Mask) {
        let zero = L::splat(token, 0.0);
        let (mut bow, mut step) = (zero, zero);
        for i in 0..self.theta.len() {
            let metric = self.metric_of::<L>(token, i);
            let (turn, d) = (load::<L>(token, &self.turn[i]), load::<L>(token, &self.step[i]));
            bow = (turn * metric).mul_add(turn, bow);
            step = (d * metric).mul_add(d, step);
        }
        let small = lanes & bow.lt(step * zero.fill(MOST_BENT));
        for turn in &mut self.turn {
            L::select(small, load(token, turn), zero).store(&mut turn.0);
        }
    }

    /// `½ T[d,d]` of the steps.
    #[inline(always)]
    fn set_turn<L: Lanes>(&mut self, token: L::Token, third: &[f64]) {
        let p = self.theta.len();
        for (turn, rows) in self.turn.iter_mut().zip(third.chunks_exact(triangle(p))) {
            let mut total = L::splat(token, 0.0);
            for j in 0..p {
                let mut row = L::splat(token, 0.0);
                for k in 0..=j {
                    let entry = L::splat(token, rows[triangle(j) + k]);
                    row = entry.mul_add(load(token, &self.step[k]), row);
                }
                total = row.mul_add(load(token, &self.step[j]), total);
            }
            total.store(&mut turn.0);
        }
    }

    /// What the steps of a quadratic model leave to gain, as far as third derivatives tell; the steps are those that were
    /// solved for last.
    #[inline(always)]
    pub(in crate::optimize) fn left_by_turns<L: Lanes>(&mut self, token: L::Token, third: &[f64]) -> L {
        self.set_turn::<L>(token, third);
        self.solve_for_turn::<L>(token);
        let mut left = L::splat(token, 0.0);
        for (turn, correction) in self.turn.iter().zip(&self.rhs) {
            let half = load::<L>(token, turn) * left.fill(-0.5);
            left = half.mul_add(load(token, correction), left);
        }
        left
    }
}
