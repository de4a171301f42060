//! The linear algebra of a step: the damped Newton step within a box, and what it promises; in lanes.

use crate::lanes::Lanes;
use crate::linalg::triangle;

use super::state::Searches;
use crate::lanes::{is_true, load, truth};
use crate::linalg::{solve_lanes, substitute_lanes};

/// What a step is solved against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::optimize) enum Against {
    /// The gradient.
    Gradient,
    /// The gradient, and what steps that are made already add to it: those of coordinates that stop at a face.
    Stops,
}

impl Searches {
    /// Marks the coordinates that are not held at a bound by the gradient.
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

    /// Solves for the free coordinates with a damping; the result is in `rhs`, zero elsewhere. True where the matrix is
    /// positive definite.
    #[inline(always)]
    pub(in crate::optimize) fn solve<L: Lanes>(
        &mut self,
        token: L::Token,
        damping: L,
        against: Against,
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
            if against == Against::Stops {
                for j in 0..p {
                    // Free coordinates have no step yet.
                    let (row, column) = if i >= j { (i, j) } else { (j, i) };
                    let entry = load::<L>(token, &hessian[triangle(row) + column]);
                    rhs = (-entry).mul_add(load(token, &self.step[j]), rhs);
                }
            }
            L::select(free, rhs, zero).store(&mut self.rhs[i].0);
        }
        solve_lanes::<L>(token, &mut self.matrix, &mut self.rhs)
    }

    /// Solves for what is added to the gradient along a step, in `turn`, with the matrix of the last solution.
    #[inline(always)]
    pub(in crate::optimize) fn solve_for_turn<L: Lanes>(&mut self, token: L::Token) {
        let zero = L::splat(token, 0.0);
        for (rhs, (turn, free)) in self.rhs.iter_mut().zip(self.turn.iter().zip(&self.free)) {
            let free = is_true::<L>(token, free);
            L::select(free, -load::<L>(token, turn), zero).store(&mut rhs.0);
        }
        substitute_lanes::<L>(token, &self.matrix, &mut self.rhs);
    }

    /// `½ gᵀ(H + μM)⁻¹g` over the free coordinates, of the step in `rhs`.
    #[inline(always)]
    pub(in crate::optimize) fn promised<L: Lanes>(&self, token: L::Token) -> L {
        let mut sum = L::splat(token, 0.0);
        for (rhs, gradient) in self.rhs.iter().zip(&self.at.packs[1..]) {
            sum = load::<L>(token, rhs).mul_add(load(token, gradient), sum);
        }
        sum * sum.fill(-0.5)
    }

    /// Turns the solution in `rhs` into `step`: coordinates that would leave the box stop at its face, and the
    /// others are solved again. True where that ends in a step.
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
            open = open & self.solve::<L>(token, damping, Against::Stops);
            if !L::any(open) {
                return ended;
            }
        }
    }

    /// `−(gᵀδ + ½ δᵀHδ)` of the undamped model.
    #[inline(always)]
    pub(in crate::optimize) fn model_decrease<L: Lanes>(&self, token: L::Token) -> L {
        let p = self.theta.len();
        let hessian = &self.hessian;
        let mut total = L::splat(token, 0.0);
        for i in 0..p {
            let step = load::<L>(token, &self.step[i]);
            // The gradient along the way, row by row of the triangle.
            let mut pull = load::<L>(token, &self.at.packs[1 + i]);
            for j in 0..i {
                let entry = load::<L>(token, &hessian[triangle(i) + j]);
                pull = entry.mul_add(load(token, &self.step[j]), pull);
            }
            let half = load::<L>(token, &hessian[triangle(i) + i]) * step.fill(0.5);
            total = total - half.mul_add(step, pull) * step;
        }
        total
    }
}
