//! A problem at one point, observation by observation: what the factorisations are made from.

use crate::law::Pack;
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
