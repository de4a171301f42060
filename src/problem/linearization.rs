//! A problem at one point: residuals, Jacobian and weights per observation, and the sums from which the reference
//! solver and the certificate work.
//!
//! Observations are spread over the lanes. The lanes of a sum are added in a fixed order, the same on every machine.

use fearless_simd::{Level, dispatch};

use super::{LaneData, Loss, Problem, ProgramWorkspace, outputs};
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

    /// Evaluates a problem at `theta`, like [`Linearization::at`], reusing buffers.
    pub fn evaluate(
        &mut self,
        problem: &Problem,
        data: &LaneData,
        theta: &[f64],
        workspace: &mut ProgramWorkspace,
    ) {
        let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
        let outputs = outputs(&problem.model.hessian, data, &coordinates, workspace);
        let (n, p, n_packs) = (problem.n(), problem.p(), data.n_packs);
        self.p = p;
        for values in
            [&mut self.residual, &mut self.value, &mut self.slope, &mut self.curvature, &mut self.weight]
        {
            values.resize(n_packs * LANES, 0.0);
        }
        for (sums, length) in [
            (&mut self.gradient, p),
            (&mut self.norms, p),
            (&mut self.gauss_newton, triangle(p)),
            (&mut self.second_order, triangle(p)),
        ] {
            sums.clear();
            sums.resize(length, 0.0);
        }
        let lanes = LaneEvaluation { problem, data, outputs };
        dispatch!(Level::new(), simd => lanes.fill::<fearless_simd::f64x8<_>>(simd, self));
        for values in
            [&mut self.residual, &mut self.value, &mut self.slope, &mut self.curvature, &mut self.weight]
        {
            values.truncate(n);
        }
        self.jacobian.resize(n * p, 0.0);
        for (i, row) in self.jacobian.chunks_mut(p.max(1)).enumerate() {
            for (j, entry) in row.iter_mut().enumerate() {
                *entry = outputs[(1 + j) * n_packs + i / LANES].0[i % LANES];
            }
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

/// A problem spread over the lanes, and the outputs of its law.
struct LaneEvaluation<'a> {
    problem: &'a Problem,
    data: &'a LaneData,
    outputs: &'a [Pack],
}

impl LaneEvaluation<'_> {
    #[inline(always)]
    fn output(&self, i: usize) -> &[Pack] {
        &self.outputs[i * self.data.n_packs..(i + 1) * self.data.n_packs]
    }

    #[inline(always)]
    fn fill<L: Lanes>(&self, token: L::Token, rows: &mut Linearization) {
        // One loop per loss: inside the loop the choice would be made for every pack.
        match self.problem.loss {
            Loss::L2 => self.apply_loss::<L>(token, Loss::L2, rows),
            Loss::Huber { delta } => self.apply_loss::<L>(token, Loss::Huber { delta }, rows),
            Loss::SoftL1 { delta } => self.apply_loss::<L>(token, Loss::SoftL1 { delta }, rows),
            Loss::Cauchy { delta } => self.apply_loss::<L>(token, Loss::Cauchy { delta }, rows),
        }
        self.sum::<L>(token, rows);
    }

    /// Computes residuals, losses and weights. Observations of weight zero contribute nothing, whatever the law gives
    /// there.
    #[inline(always)]
    fn apply_loss<L: Lanes>(&self, token: L::Token, loss: Loss, rows: &mut Linearization) {
        let zero = L::splat(token, 0.0);
        let (mut objective, mut influence_norm, mut rounding_scale) = (Compensated::new(zero), zero, zero);
        let values = self.output(0);
        for k in 0..values.len() {
            let value = L::load(token, &values[k].0);
            let residual = value - L::load(token, &self.data.target[k].0);
            let w = L::load(token, &self.data.weight[k].0);
            let s = match self.data.inverse_sigma.get(k) {
                Some(pack) => L::load(token, &pack.0),
                None => zero.fill(1.0),
            };
            let terms = loss.terms(residual * s);
            let excluded = w.eq(zero);
            let slope = L::select(excluded, zero, w * (s * terms.slope));
            objective.add(L::select(excluded, zero, w * terms.value));
            influence_norm = influence_norm + L::select(excluded, zero, w * terms.slope * terms.slope);
            rounding_scale = rounding_scale + L::select(slope.eq(zero), zero, (slope * value).abs());
            let place = k * LANES;
            value.store(&mut rows.value[place..]);
            residual.store(&mut rows.residual[place..]);
            slope.store(&mut rows.slope[place..]);
            L::select(excluded, zero, w * (s * s * terms.curvature)).store(&mut rows.curvature[place..]);
            (w * s * s).store(&mut rows.weight[place..]);
        }
        rows.objective = objective.total();
        rows.influence_norm = total(influence_norm).sqrt();
        rows.rounding_scale = total(rounding_scale);
    }

    /// Sums derivatives and their products over the observations.
    #[inline(always)]
    fn sum<L: Lanes>(&self, token: L::Token, rows: &mut Linearization) {
        let zero = L::splat(token, 0.0);
        let n_packs = self.data.n_packs;
        for i in 0..rows.p {
            let column = self.output(1 + i);
            let (mut gradient, mut norm) = (Compensated::new(zero), zero);
            for k in 0..n_packs {
                let x = L::load(token, &column[k].0);
                let excluded = L::load(token, &self.data.weight[k].0).eq(zero);
                let weight = L::load(token, &rows.weight[k * LANES..]);
                gradient.add(L::select(excluded, zero, L::load(token, &rows.slope[k * LANES..]) * x));
                norm = norm + L::select(excluded, zero, weight * x * x);
            }
            rows.gradient[i] = gradient.total();
            rows.norms[i] = total(norm).sqrt();
            for j in 0..=i {
                let other = self.output(1 + j);
                let mut square = zero;
                for k in 0..n_packs {
                    let curvature = L::load(token, &rows.curvature[k * LANES..]);
                    let product = curvature * L::load(token, &column[k].0) * L::load(token, &other[k].0);
                    square = square + L::select(curvature.eq(zero), zero, product);
                }
                rows.gauss_newton[triangle(i) + j] = total(square);
            }
        }
        for (output, &(a, b)) in self.problem.model.second_pairs.iter().enumerate() {
            let column = self.output(1 + rows.p + output);
            let mut sum = zero;
            for k in 0..n_packs {
                let excluded = L::load(token, &self.data.weight[k].0).eq(zero);
                let product = L::load(token, &rows.slope[k * LANES..]) * L::load(token, &column[k].0);
                sum = sum + L::select(excluded, zero, product);
            }
            rows.second_order[triangle(a) + b] = total(sum);
        }
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
