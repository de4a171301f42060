//! A problem at one point, observation by observation: what the factorisations are made from.

use fearless_simd::{Level, dispatch};

use crate::lanes::Lanes;
use crate::law::{LANES, Pack};
use crate::problem::{LaneData, Problem, Workspace, outputs_lanes, triangle};

/// Residuals, Jacobian and weights at one point, one entry per observation.
#[derive(Debug, Clone)]
pub struct Rows {
    pub p: usize,
    /// T(prediction) − T(response).
    pub residual: Vec<f64>,
    /// T(prediction).
    pub value: Vec<f64>,
    /// `∂ T(prediction) / ∂ coordinate`, row-major n×p.
    pub jacobian: Vec<f64>,
    /// `w·s·ρ′(s·r)`: the objective's slope in the residual.
    pub slope: Vec<f64>,
    /// `w·s²·ρ″(s·r)`: its curvature.
    pub curvature: Vec<f64>,
    /// `w·s²`: the weight in the Jacobian whose condition and rank are reported.
    pub weight: Vec<f64>,
    pub objective: f64,
    /// p entries.
    pub gradient: Vec<f64>,
    /// `Σ slope·∂²T(prediction)`: the law's own share of the Hessian, lower triangle by rows.
    pub second: Vec<f64>,
}

/// Evaluates one problem at one point; `data` holds it spread over the lanes.
pub fn rows(problem: &Problem, data: &LaneData, weight: &[f64], theta: &[f64], ws: &mut Workspace) -> Rows {
    let (n, p) = (problem.n(), problem.p());
    let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
    let outputs = outputs_lanes(&problem.model.hessian, data, &coordinates, ws);
    let at = |output: usize, i: usize| outputs[output][i / 8].0[i % 8];
    let mut rows = Rows {
        p,
        residual: Vec::with_capacity(n),
        value: Vec::with_capacity(n),
        jacobian: Vec::with_capacity(n * p),
        slope: Vec::with_capacity(n),
        curvature: Vec::with_capacity(n),
        weight: Vec::with_capacity(n),
        objective: 0.0,
        gradient: vec![0.0; p],
        second: vec![0.0; triangle(p)],
    };
    let mut objective = CompensatedSum::default();
    let mut gradient = vec![CompensatedSum::default(); p];
    for i in 0..n {
        let value = at(0, i);
        let residual = value - problem.target[i];
        let s = 1.0 / problem.observations.sigma_at(i);
        let w = weight[i];
        let terms = problem.loss.terms::<f64>(residual * s);
        // Observations of weight zero take no part, whatever the law gives there.
        let weighted = |x: f64| if w == 0.0 { 0.0 } else { w * x };
        let slope = weighted(s * terms.slope);
        rows.value.push(value);
        rows.residual.push(residual);
        rows.slope.push(slope);
        rows.curvature.push(weighted(s * s * terms.curvature));
        rows.weight.push(w * s * s);
        objective.add(weighted(terms.value));
        for (j, sum) in gradient.iter_mut().enumerate() {
            let derivative = at(1 + j, i);
            rows.jacobian.push(derivative);
            if w != 0.0 {
                sum.add(slope * derivative);
            }
        }
        if w != 0.0 {
            for (k, &(a, b)) in problem.model.curved.iter().enumerate() {
                rows.second[triangle(a) + b] += slope * at(1 + p + k, i);
            }
        }
    }
    rows.objective = objective.total();
    rows.gradient = gradient.iter().map(CompensatedSum::total).collect();
    rows
}

/// Per observation and unit of weight, what it adds to the sums that a search wants to know at its start.
#[derive(Debug)]
pub struct Terms {
    /// Packs per observation.
    width: usize,
    /// Objective, gradient, Gauss–Newton Hessian (lower triangle by rows); zeros up to a whole pack.
    table: Vec<Pack>,
}

impl Terms {
    /// At `theta`, a `share` of the reweighting's curvature mixed into the loss's own. Observations of weight zero
    /// add nothing, whatever the law gives there.
    pub fn at(problem: &Problem, theta: &[f64], share: f64) -> Terms {
        let (n, p) = (problem.n(), problem.p());
        let weight = &problem.observations.weight;
        let data = LaneData::spread(problem, weight);
        let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
        let outputs = outputs_lanes(&problem.model.search, &data, &coordinates, &mut Workspace::default());
        let at = |output: usize, i: usize| outputs[output][i / LANES].0[i % LANES];
        let values = 1 + p + triangle(p);
        let width = values.div_ceil(LANES);
        let mut table = vec![Pack::ZERO; n * width];
        let mut row = vec![0.0; values];
        for (i, packs) in table.chunks_mut(width).enumerate().filter(|(i, _)| weight[*i] != 0.0) {
            let s = 1.0 / problem.observations.sigma_at(i);
            let terms = problem.loss.terms::<f64>((at(0, i) - problem.target[i]) * s);
            let slope = s * terms.slope;
            let curvature = s * s * (terms.weight - terms.curvature).mul_add(share, terms.curvature);
            row[0] = terms.value;
            let (gradient, hessian) = row[1..].split_at_mut(p);
            for a in 0..p {
                gradient[a] = slope * at(1 + a, i);
                for b in 0..=a {
                    hessian[triangle(a) + b] = curvature * at(1 + a, i) * at(1 + b, i);
                }
            }
            for (pack, values) in packs.iter_mut().zip(row.chunks(LANES)) {
                pack.0[..values.len()].copy_from_slice(values);
            }
        }
        Terms { width, table }
    }

    /// Packs in a sum.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The sums under other weights, [`Terms::width`] packs.
    pub fn sum(&self, level: Level, weight: &[f64], sums: &mut [Pack]) {
        dispatch!(level, simd => self.sum_lanes::<fearless_simd::f64x8<_>>(simd, weight, sums));
    }

    #[inline(always)]
    fn sum_lanes<L: Lanes>(&self, token: L::Token, weight: &[f64], sums: &mut [Pack]) {
        // A few packs at a time, so that their sums stay in registers.
        for (group, sums) in sums.chunks_mut(GROUP).enumerate() {
            let from = group * GROUP;
            match sums.len() {
                1 => self.sum_packs::<L, 1>(token, weight, from, sums),
                2 => self.sum_packs::<L, 2>(token, weight, from, sums),
                3 => self.sum_packs::<L, 3>(token, weight, from, sums),
                _ => self.sum_packs::<L, GROUP>(token, weight, from, sums),
            }
        }
    }

    #[inline(always)]
    fn sum_packs<L: Lanes, const N: usize>(
        &self,
        token: L::Token,
        weight: &[f64],
        from: usize,
        sums: &mut [Pack],
    ) {
        let mut totals = [L::splat(token, 0.0); N];
        for (row, &w) in self.table.chunks_exact(self.width).zip(weight) {
            let w = L::splat(token, w);
            let packs = &row[from..from + N];
            for (total, pack) in totals.iter_mut().zip(packs) {
                *total = w.mul_add(L::load(token, &pack.0), *total);
            }
        }
        for (sum, total) in sums.iter_mut().zip(totals) {
            total.store(&mut sum.0);
        }
    }
}

/// Packs that are summed at once.
const GROUP: usize = 4;

/// Neumaier's (1974) compensated sum: the certificate compares gradients of nearly cancelling terms.
#[derive(Clone, Default)]
struct CompensatedSum {
    sum: f64,
    error: f64,
}

impl CompensatedSum {
    fn add(&mut self, x: f64) {
        let total = self.sum + x;
        self.error += if self.sum.abs() >= x.abs() { (self.sum - total) + x } else { (x - total) + self.sum };
        self.sum = total;
    }

    fn total(&self) -> f64 {
        self.sum + self.error
    }
}
