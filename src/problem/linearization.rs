//! A problem at one point: residuals, Jacobian and weights per observation, and the sums from which the reference
//! solver and the certificate work.
//!
//! Observations are spread over the lanes. The lanes of a sum are added in a fixed order, the same on every machine.

use fearless_simd::{Level, dispatch};

use super::{LaneData, Loss, Problem, ProgramWorkspace};
use crate::compile::{BLOCK, Block};
use crate::lanes::Lanes;
use crate::lanes::{LANES, Pack};
use crate::linalg::triangle;

/// Residuals, Jacobian and weights at one point, one entry per observation, and sums of them.
#[derive(Debug, Clone, Default)]
pub struct Linearization {
    /// The number of coordinates.
    pub p: usize,
    /// `r = T(prediction) − T(response)`.
    pub residual: Vec<f64>,
    /// T(prediction).
    pub value: Vec<f64>,
    /// `∂ T(prediction) / ∂ coordinate`, row-major n×p.
    pub jacobian: Vec<f64>,
    /// `w·s·ρ′(s·r)` with `s = 1/σ`: the derivative of the objective with respect to the residual.
    pub slope: Vec<f64>,
    /// `w·s²·ρ″(s·r)`: the second derivative of the objective with respect to the residual.
    pub curvature: Vec<f64>,
    /// `w·s²`: the weight in the Jacobian whose condition and rank are reported.
    pub weight: Vec<f64>,
    pub objective: f64,
    /// The gradient, p entries.
    pub gradient: Vec<f64>,
    /// `Σ curvature·∂T(prediction)·∂T(prediction)ᵀ`: the Gauss–Newton part of the Hessian, lower triangle by rows.
    pub gauss_newton: Vec<f64>,
    /// `Σ slope·∂²T(prediction)`: the second-order part of the Hessian, lower triangle by rows.
    pub second_order: Vec<f64>,
    /// The norms of the weighted Jacobian's columns, p entries.
    pub norms: Vec<f64>,
    /// `√Σ w·(ρ′(s·r))²`: the norm of the influences.
    pub influence_norm: f64,
    /// `Σ |slope·T(prediction)|`: the change of the objective per relative error of the predictions.
    pub rounding_scale: f64,
}

impl Linearization {
    /// Returns the linearization of a problem at `theta`; `data` holds the problem spread over the lanes.
    #[must_use]
    pub fn at(problem: &Problem, data: &LaneData, theta: &[f64]) -> Linearization {
        let mut rows = Linearization::default();
        rows.evaluate(problem, data, theta, &mut ProgramWorkspace::default());
        rows
    }

    /// Returns the sums of a problem at `theta`, like [`Linearization::at`]; the vectors with one entry per observation are
    /// empty.
    #[must_use]
    pub fn sums_at(problem: &Problem, data: &LaneData, theta: &[f64]) -> Linearization {
        let mut sums = Linearization::default();
        sums.evaluate_sums(problem, data, theta, &mut ProgramWorkspace::default());
        sums
    }

    /// Evaluates a problem at `theta`, like [`Linearization::at`], reusing buffers.
    pub fn evaluate(
        &mut self,
        problem: &Problem,
        data: &LaneData,
        theta: &[f64],
        workspace: &mut ProgramWorkspace,
    ) {
        self.evaluate_kept(Kept::Rows, (problem, data), theta, workspace);
    }

    /// Evaluates the sums alone, like [`Linearization::evaluate`]: the vectors with one entry per observation are then empty.
    pub fn evaluate_sums(
        &mut self,
        problem: &Problem,
        data: &LaneData,
        theta: &[f64],
        workspace: &mut ProgramWorkspace,
    ) {
        self.evaluate_kept(Kept::Sums, (problem, data), theta, workspace);
    }

    fn evaluate_kept(
        &mut self,
        kept: Kept,
        (problem, data): (&Problem, &LaneData),
        theta: &[f64],
        workspace: &mut ProgramWorkspace,
    ) {
        let Problem { model, .. } = problem;
        let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
        workspace.prepare(&model.hessian, &coordinates, &data.means, data.n_packs);
        let p = problem.p();
        let (n, n_packs) = match kept {
            Kept::Rows => (problem.n(), data.n_packs),
            Kept::Sums => (0, data.n_packs.min(BLOCK)),
        };
        self.p = p;
        for values in
            [&mut self.residual, &mut self.value, &mut self.slope, &mut self.curvature, &mut self.weight]
        {
            values.resize(n_packs * LANES, 0.0);
        }
        self.jacobian.resize(n * p, 0.0);
        for (sums, length) in [
            (&mut self.gradient, p),
            (&mut self.norms, p),
            (&mut self.gauss_newton, triangle(p)),
            (&mut self.second_order, triangle(p)),
        ] {
            sums.clear();
            sums.resize(length, 0.0);
        }
        let lanes = LaneEvaluation { problem, data, workspace, kept };
        dispatch!(Level::new(), simd => lanes.fill::<fearless_simd::f64x8<_>>(simd, self));
        for values in
            [&mut self.residual, &mut self.value, &mut self.slope, &mut self.curvature, &mut self.weight]
        {
            values.truncate(n);
        }
    }

    /// Returns an entry of the objective's exact Hessian.
    #[must_use]
    pub fn hessian(&self, i: usize, j: usize) -> f64 {
        let k = triangle(i.max(j)) + i.min(j);
        self.gauss_newton[k] + self.second_order[k]
    }

    /// Writes the exact Hessian over the free coordinates, scaled by [`Linearization::scale`]: the lower triangle of a
    /// square matrix by rows.
    pub fn scaled_hessian_into(&self, free: &[usize], hessian: &mut [f64]) {
        for (a, &i) in free.iter().enumerate() {
            for (b, &j) in free[..=a].iter().enumerate() {
                hessian[a * free.len() + b] = self.hessian(i, j) / (self.scale(i) * self.scale(j));
            }
        }
    }

    /// Returns the scale of a coordinate: the norm of its column, 1 for a column of zeros.
    #[must_use]
    pub fn scale(&self, i: usize) -> f64 {
        let norm = self.norms[i];
        if norm > 0.0 && norm.is_finite() { norm } else { 1.0 }
    }
}

/// A problem spread over the lanes, and the workspace of its law's program, prepared for one point.
struct LaneEvaluation<'a> {
    problem: &'a Problem,
    data: &'a LaneData,
    workspace: &'a ProgramWorkspace,
    kept: Kept,
}

/// The values of an evaluation that are kept.
#[derive(Clone, Copy, PartialEq)]
enum Kept {
    /// The sums, and the values of every observation.
    Rows,
    /// The sums.
    Sums,
}

impl LaneEvaluation<'_> {
    /// Returns the place of the first value of a block in the vectors with one entry per observation. Where these are not
    /// kept, each block overwrites the one before it.
    #[inline(always)]
    fn first_place(&self, block: &Block) -> usize {
        match self.kept {
            Kept::Rows => block.start * LANES,
            Kept::Sums => 0,
        }
    }

    #[inline(always)]
    fn fill<L: Lanes>(&self, token: L::Token, rows: &mut Linearization) {
        let LaneEvaluation { problem, data, workspace, kept } = *self;
        let program = &problem.model.hessian;
        workspace.run_parameters::<L>(token, program);
        let mut sums = LaneSums::new(L::splat(token, 0.0), rows.p, problem.model.second_pairs.len());
        for start in (0..data.n_packs).step_by(BLOCK) {
            let block = workspace.block(data, start);
            program.run::<L>(token, &block);
            // One loop per loss: inside the loop the choice would be made for every pack.
            match problem.loss {
                Loss::L2 => self.apply_loss(token, Loss::L2, &block, &mut sums, rows),
                Loss::Huber { delta } => {
                    self.apply_loss(token, Loss::Huber { delta }, &block, &mut sums, rows)
                }
                Loss::SoftL1 { delta } => {
                    self.apply_loss(token, Loss::SoftL1 { delta }, &block, &mut sums, rows)
                }
                Loss::Cauchy { delta } => {
                    self.apply_loss(token, Loss::Cauchy { delta }, &block, &mut sums, rows)
                }
            }
            self.add_derivatives(token, &block, &mut sums, rows);
            if kept == Kept::Rows {
                self.store_jacobian(&block, rows);
            }
        }
        sums.store(&problem.model.second_pairs, rows);
    }

    /// Computes residuals, losses and weights of a block. Observations of weight zero contribute nothing, whatever the law
    /// gives there.
    #[inline(always)]
    fn apply_loss<L: Lanes>(
        &self,
        token: L::Token,
        loss: Loss,
        block: &Block,
        sums: &mut LaneSums<L>,
        rows: &mut Linearization,
    ) {
        let zero = L::splat(token, 0.0);
        let LaneSums { objective, influence_norm, rounding_scale, .. } = sums;
        let values = block.source(self.problem.model.hessian.outputs[0]);
        let first = self.first_place(block);
        for k in 0..block.len {
            let pack = block.start + k;
            let value = values.get::<L>(token, k, 0);
            let residual = value - L::load(token, &self.data.target[pack].0);
            let w = L::load(token, &self.data.weight[pack].0);
            let s = match self.data.inverse_sigma.get(pack) {
                Some(pack) => L::load(token, &pack.0),
                None => zero.fill(1.0),
            };
            let terms = loss.terms(residual * s);
            let excluded = w.eq(zero);
            let slope = L::select(excluded, zero, w * (s * terms.slope));
            objective.add(L::select(excluded, zero, w * terms.value));
            *influence_norm = *influence_norm + L::select(excluded, zero, w * terms.slope * terms.slope);
            *rounding_scale = *rounding_scale + L::select(slope.eq(zero), zero, (slope * value).abs());
            let place = first + k * LANES;
            value.store(&mut rows.value[place..]);
            residual.store(&mut rows.residual[place..]);
            slope.store(&mut rows.slope[place..]);
            L::select(excluded, zero, w * (s * s * terms.curvature)).store(&mut rows.curvature[place..]);
            (w * s * s).store(&mut rows.weight[place..]);
        }
    }

    /// Adds the derivatives in a block, and their products, to the sums.
    #[inline(always)]
    fn add_derivatives<L: Lanes>(
        &self,
        token: L::Token,
        block: &Block,
        sums: &mut LaneSums<L>,
        rows: &Linearization,
    ) {
        let zero = L::splat(token, 0.0);
        let outputs = &self.problem.model.hessian.outputs;
        let first = self.first_place(block);
        let (slopes, curvatures, weights) =
            (&rows.slope[first..], &rows.curvature[first..], &rows.weight[first..]);
        let own_weights = &self.data.weight[block.start..];
        let [gradients, errors, norms, gauss_newton, second_order] = sums.parts();
        for i in 0..rows.p {
            let column = block.source(outputs[1 + i]);
            let (mut gradient, mut norm) = (Compensated { sum: gradients[i], error: errors[i] }, norms[i]);
            for k in 0..block.len {
                let x = column.get::<L>(token, k, 0);
                let excluded = L::load(token, &own_weights[k].0).eq(zero);
                let weight = L::load(token, &weights[k * LANES..]);
                gradient.add(L::select(excluded, zero, L::load(token, &slopes[k * LANES..]) * x));
                norm = norm + L::select(excluded, zero, weight * x * x);
            }
            (gradients[i], errors[i], norms[i]) = (gradient.sum, gradient.error, norm);
            for j in 0..=i {
                let other = block.source(outputs[1 + j]);
                let mut square = gauss_newton[triangle(i) + j];
                for k in 0..block.len {
                    let curvature = L::load(token, &curvatures[k * LANES..]);
                    let product = curvature * column.get::<L>(token, k, 0) * other.get::<L>(token, k, 0);
                    square = square + L::select(curvature.eq(zero), zero, product);
                }
                gauss_newton[triangle(i) + j] = square;
            }
        }
        for (total, &output) in second_order.iter_mut().zip(&outputs[1 + rows.p..]) {
            let column = block.source(output);
            let mut sum = *total;
            for k in 0..block.len {
                let excluded = L::load(token, &own_weights[k].0).eq(zero);
                let product = L::load(token, &slopes[k * LANES..]) * column.get::<L>(token, k, 0);
                sum = sum + L::select(excluded, zero, product);
            }
            *total = sum;
        }
    }

    /// Stores the first derivatives in a block, one row per observation.
    #[inline(always)]
    fn store_jacobian(&self, block: &Block, rows: &mut Linearization) {
        let p = rows.p.max(1);
        let first = block.start * LANES * rows.p;
        let end = rows.jacobian.len().min(first + block.len * LANES * rows.p);
        for (j, &output) in self.problem.model.hessian.outputs[1..=rows.p].iter().enumerate() {
            let column = block.source(output);
            for (k, rows) in rows.jacobian[first..end].chunks_mut(LANES * p).enumerate() {
                let pack = column.pack(k);
                rows.chunks_mut(p).zip(pack.0).for_each(|(row, x)| row[j] = x);
            }
        }
    }
}

/// The sums of a linearization, lane by lane.
struct LaneSums<L> {
    objective: Compensated<L>,
    influence_norm: L,
    rounding_scale: L,
    /// The other sums, in one vector: those of the gradient with their rounding errors, of the norms, of the Gauss–Newton
    /// matrix, and one for every pair of coordinates that has a second derivative.
    derivatives: Vec<L>,
    p: usize,
}

impl<L: Lanes> LaneSums<L> {
    /// Returns sums of zero for `p` coordinates and `n_pairs` pairs with a second derivative.
    #[inline(always)]
    fn new(zero: L, p: usize, n_pairs: usize) -> Self {
        LaneSums {
            objective: Compensated::new(zero),
            influence_norm: zero,
            rounding_scale: zero,
            derivatives: vec![zero; 3 * p + triangle(p) + n_pairs],
            p,
        }
    }

    /// Returns the gradient's sums and their errors, the norms, the Gauss–Newton matrix and the second derivatives.
    #[inline(always)]
    fn parts(&mut self) -> [&mut [L]; 5] {
        let p = self.p;
        let (gradient, rest) = self.derivatives.split_at_mut(p);
        let (errors, rest) = rest.split_at_mut(p);
        let (norms, rest) = rest.split_at_mut(p);
        let (gauss_newton, second_order) = rest.split_at_mut(triangle(p));
        [gradient, errors, norms, gauss_newton, second_order]
    }

    /// Adds the lanes of each sum and stores the totals.
    #[inline(always)]
    fn store(mut self, second_pairs: &[(usize, usize)], rows: &mut Linearization) {
        let [gradient, errors, norms, gauss_newton, second_order] = self.parts();
        for i in 0..gradient.len() {
            rows.gradient[i] = Compensated { sum: gradient[i], error: errors[i] }.total();
            rows.norms[i] = total(norms[i]).sqrt();
        }
        for (square, sum) in rows.gauss_newton.iter_mut().zip(gauss_newton) {
            *square = total(*sum);
        }
        for (&(a, b), sum) in second_pairs.iter().zip(second_order) {
            rows.second_order[triangle(a) + b] = total(*sum);
        }
        rows.objective = self.objective.total();
        rows.influence_norm = total(self.influence_norm).sqrt();
        rows.rounding_scale = total(self.rounding_scale);
    }
}

/// Returns the sum of the lanes, in an order that is the same on every machine.
#[inline(always)]
pub fn total<L: Lanes>(lanes: L) -> f64 {
    let mut pack = Pack::ZERO;
    lanes.store(&mut pack.0);
    let [a, b, c, d, e, f, g, h] = pack.0;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// A compensated sum per lane, because the certificate compares gradients of nearly cancelling terms. The rounding
/// error of an addition is computed without a comparison (Knuth 1969, section 4.2.2, theorem B).
#[derive(Clone, Copy)]
struct Compensated<L> {
    sum: L,
    error: L,
}

impl<L: Lanes> Compensated<L> {
    #[inline(always)]
    fn new(zero: L) -> Self {
        Compensated { sum: zero, error: zero }
    }

    #[inline(always)]
    fn add(&mut self, x: L) {
        let total = self.sum + x;
        let added = total - self.sum;
        self.error = self.error + ((self.sum - (total - added)) + (x - added));
        self.sum = total;
    }

    /// Returns the compensated sum of all lanes.
    #[inline(always)]
    fn total(self) -> f64 {
        let mut sums = Pack::ZERO;
        self.sum.store(&mut sums.0);
        let mut all = Compensated::<f64>::new(0.0);
        sums.0.into_iter().for_each(|x| all.add(x));
        all.sum + (all.error + total(self.error))
    }
}
