//! The linear algebra of a step: the damped Newton step within a box, and the decrease that its quadratic model
//! predicts.
//!
//! All quantities are in solver coordinates, one pack per coordinate, and every lane is a search of its own.

use crate::lanes::Lanes;
use crate::linalg::triangle;

use super::state::Searches;
use crate::lanes::{is_true, load, truth};
use crate::linalg::{solve_lanes, substitute_lanes};

/// The right-hand side of the damped system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::optimize) enum RightHandSide {
    /// The negative gradient.
    Gradient,
    /// The negative gradient of the quadratic model after the steps of the coordinates that stop at a face of the box.
    GradientAfterStops,
}

impl Searches {
    /// Marks in `free` the coordinates that the gradient does not hold at a bound.
    #[inline(always)]
    pub(in crate::optimize) fn set_free<L: Lanes>(&mut self, token: L::Token) {
        let zero = L::splat(token, 0.0);
        let one = L::splat(token, 1.0);
        for i in 0..self.theta.len() {
            let gradient = load::<L>(token, &self.at.packs[1 + i]);
            let theta = load::<L>(token, &self.theta[i]);
            let held = (theta.le(load(token, &self.low[i])) & gradient.ge(zero))
                | (theta.ge(load(token, &self.high[i])) & gradient.le(zero));
            truth(!held, one).store(&mut self.free[i].0);
        }
    }

    /// Solves the damped system for the free coordinates, leaves the solution in `rhs` (zero for the others), and
    /// returns the lanes in which the damped matrix is positive definite.
    #[inline(always)]
    pub(in crate::optimize) fn solve<L: Lanes>(
        &mut self,
        token: L::Token,
        damping: L,
        right_hand_side: RightHandSide,
    ) -> L::Mask {
        let p = self.theta.len();
        let zero = L::splat(token, 0.0);
        let one = L::splat(token, 1.0);
        let hessian = &self.hessian;
        for i in 0..p {
            let free = is_true::<L>(token, &self.free[i]);
            for j in 0..i {
                let entry = load::<L>(token, &hessian[triangle(i) + j]);
                let both = free & is_true::<L>(token, &self.free[j]);
                L::select(both, entry, zero).store(&mut self.matrix[triangle(i) + j].0);
            }
            let metric = self.metric_of::<L>(token, i);
            let diagonal = damping.mul_add(metric, load(token, &hessian[triangle(i) + i]));
            L::select(free, diagonal, one).store(&mut self.matrix[triangle(i) + i].0);
            let mut rhs = -load::<L>(token, &self.at.packs[1 + i]);
            if right_hand_side == RightHandSide::GradientAfterStops {
                for j in 0..p {
                    // The steps of free coordinates are still zero.
                    let (row, column) = if i >= j { (i, j) } else { (j, i) };
                    let entry = load::<L>(token, &hessian[triangle(row) + column]);
                    rhs = (-entry).mul_add(load(token, &self.step[j]), rhs);
                }
            }
            L::select(free, rhs, zero).store(&mut self.rhs[i].0);
        }
        solve_lanes::<L>(token, &mut self.matrix, &mut self.rhs)
    }

    /// Solves `(H + μM) x = −correction` with the factor of the last call of `solve`; leaves `x` in `rhs`.
    #[inline(always)]
    pub(in crate::optimize) fn solve_for_correction<L: Lanes>(&mut self, token: L::Token) {
        let zero = L::splat(token, 0.0);
        for (rhs, (correction, free)) in self.rhs.iter_mut().zip(self.correction.iter().zip(&self.free)) {
            let free = is_true::<L>(token, free);
            L::select(free, -load::<L>(token, correction), zero).store(&mut rhs.0);
        }
        substitute_lanes::<L>(token, &self.matrix, &mut self.rhs);
    }

    /// Returns `½ gᵀ(H + μM)⁻¹g` over the free coordinates, for the solution in `rhs`. Without damping it is half the
    /// squared Newton decrement.
    #[inline(always)]
    pub(in crate::optimize) fn predicted_decrease<L: Lanes>(&self, token: L::Token) -> L {
        let mut sum = L::splat(token, 0.0);
        for (rhs, gradient) in self.rhs.iter().zip(&self.at.packs[1..]) {
            sum = load::<L>(token, rhs).mul_add(load(token, gradient), sum);
        }
        sum * sum.fill(-0.5)
    }

    /// Turns the solution in `rhs` into `step`: coordinates that would leave the box stop at its face, and the others
    /// are solved again. Returns the lanes that end with a step.
    #[inline(always)]
    pub(in crate::optimize) fn stop_at_faces<L: Lanes>(
        &mut self,
        token: L::Token,
        damping: L,
        lanes: L::Mask,
    ) -> L::Mask {
        let zero = L::splat(token, 0.0);
        let p = self.theta.len();
        let mut open = lanes;
        let mut ended = !(zero.eq(zero));
        loop {
            let mut leaving = !(zero.eq(zero));
            for i in 0..p {
                let free = open & is_true::<L>(token, &self.free[i]);
                let theta = load::<L>(token, &self.theta[i]);
                let target = theta + load(token, &self.rhs[i]);
                let (low, high) = (load::<L>(token, &self.low[i]), load::<L>(token, &self.high[i]));
                leaving = leaving | (free & (target.lt(low) | target.gt(high)));
            }
            let done = open & !leaving;
            for i in 0..p {
                let free = is_true::<L>(token, &self.free[i]);
                let step = L::select(done & free, load(token, &self.rhs[i]), load(token, &self.step[i]));
                step.store(&mut self.step[i].0);
            }
            ended = ended | done;
            open = open & leaving;
            if !L::any(open) {
                return ended;
            }
            for i in 0..p {
                let free = open & is_true::<L>(token, &self.free[i]);
                let theta = load::<L>(token, &self.theta[i]);
                let target = theta + load(token, &self.rhs[i]);
                let (low, high) = (load::<L>(token, &self.low[i]), load::<L>(token, &self.high[i]));
                let stops = free & (target.lt(low) | target.gt(high));
                let face = L::select(target.lt(low), low, high) - theta;
                L::select(stops, face, load(token, &self.step[i])).store(&mut self.step[i].0);
                L::select(stops, zero, load(token, &self.free[i])).store(&mut self.free[i].0);
            }
            open = open & self.solve::<L>(token, damping, RightHandSide::GradientAfterStops);
            if !L::any(open) {
                return ended;
            }
        }
    }

    /// Returns the decrease `−(gᵀδ + ½ δᵀHδ)` that the undamped quadratic model predicts for `step`.
    #[inline(always)]
    pub(in crate::optimize) fn model_decrease<L: Lanes>(&self, token: L::Token) -> L {
        let p = self.theta.len();
        let hessian = &self.hessian;
        let mut total = L::splat(token, 0.0);
        for i in 0..p {
            let step = load::<L>(token, &self.step[i]);
            let mut gradient = load::<L>(token, &self.at.packs[1 + i]);
            for j in 0..i {
                let entry = load::<L>(token, &hessian[triangle(i) + j]);
                gradient = entry.mul_add(load(token, &self.step[j]), gradient);
            }
            let half = load::<L>(token, &hessian[triangle(i) + i]) * step.fill(0.5);
            total = total - half.mul_add(step, gradient) * step;
        }
        total
    }
}
