//! Asymptotic standard errors.
//!
//! Least squares: `s²(JᵀWJ)⁻¹` with `s² = RSS/(n − p)` (or 1 where σ is absolute). Other losses: the sandwich
//! `H⁻¹(Σ ψ²∂m∂mᵀ)H⁻¹` with the exact Hessian `H` (Huber 1967). Both over the coordinates that are not on a
//! bound, carried to natural units by the delta method.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

use crate::solve::{Finished, Fit, column_scales, scaled_hessian, weighted_entry};

/// A Hessian with an eigenvalue below this share of its largest is not inverted.
const CURVED: f64 = 1e-9;

/// One entry per parameter of the law; none where it is fixed, on a bound, or not determined.
pub fn standard_errors(fit: &Fit, absolute_sigma: bool) -> Vec<Option<f64>> {
    errors(fit, absolute_sigma).unwrap_or_else(|| vec![None; fit.natural.len()])
}

fn errors(fit: &Fit, absolute_sigma: bool) -> Option<Vec<Option<f64>>> {
    let solution = fit.solution.as_ref().filter(|solution| !solution.free.is_empty())?;
    let scale = column_scales(&solution.rows, &solution.free);
    let covariance = if fit.problem.loss.is_quadratic() {
        least_squares(fit, solution, &scale, absolute_sigma)
    } else {
        sandwich(solution, &scale)
    }?;
    let p = fit.problem.p();
    let jacobian = fit.problem.natural_jacobian(&solution.theta);
    let mut row = Vec::with_capacity(scale.len());
    let errors = (0..fit.natural.len()).map(|k| {
        row.clear();
        row.extend(solution.free.iter().zip(&scale).map(|(&i, s)| jacobian[k * p + i] / s));
        let mut variance = 0.0;
        for (a, x) in row.iter().enumerate() {
            for (b, y) in row.iter().enumerate() {
                variance += x * covariance[(a, b)] * y;
            }
        }
        (variance > 0.0 && variance.is_finite() && !fit.at_bound[k]).then(|| variance.sqrt())
    });
    Some(errors.collect())
}

fn least_squares(fit: &Fit, solution: &Finished, scale: &[f64], absolute_sigma: bool) -> Option<Mat<f64>> {
    let rows = &solution.rows;
    let m = solution.free.len();
    let variance = if absolute_sigma { 1.0 } else { 2.0 * rows.objective / degrees_of_freedom(fit)? };
    let scaled = Mat::from_fn(rows.residual.len(), m, |i, a| {
        weighted_entry(rows.weight[i], rows.jacobian[i * rows.p + solution.free[a]]) / scale[a]
    });
    if scaled.nrows() < m {
        return None;
    }
    let r = scaled.qr().thin_R().to_owned();
    if (0..m).any(|a| r[(a, a)] == 0.0) {
        return None;
    }
    let mut inverse = Mat::<f64>::identity(m, m);
    r.solve_upper_triangular_in_place(inverse.as_mut());
    let product = &inverse * inverse.transpose();
    Some(Mat::from_fn(m, m, |a, b| variance * product[(a, b)]))
}

/// Observations with weight less free parameters, where positive.
fn degrees_of_freedom(fit: &Fit) -> Option<f64> {
    let n = fit.problem.n_weighted();
    let p = fit.problem.p() + fit.edges.len();
    (n > p).then(|| (n - p) as f64)
}

fn sandwich(solution: &Finished, scale: &[f64]) -> Option<Mat<f64>> {
    let rows = &solution.rows;
    let m = solution.free.len();
    let hessian = scaled_hessian(rows, &solution.free, scale);
    let eigenvalues = hessian.self_adjoint_eigenvalues(Side::Lower).ok()?;
    let (least, most) = (eigenvalues.first()?, eigenvalues.last()?);
    // With a near-absolute loss few observations carry curvature; with no more of them than parameters the
    // Hessian says nothing about the spread.
    let curved = rows.curvature.iter().filter(|c| **c > 0.0).count();
    if !(*least > CURVED * most) || curved <= m {
        return None;
    }
    let mut middle = Mat::<f64>::zeros(m, m);
    for (k, slope) in rows.slope.iter().enumerate().filter(|(_, s)| **s != 0.0) {
        for a in 0..m {
            let left = slope * slope * rows.jacobian[k * rows.p + solution.free[a]] / scale[a];
            for b in 0..m {
                middle[(a, b)] += left * rows.jacobian[k * rows.p + solution.free[b]] / scale[b];
            }
        }
    }
    let factor = hessian.llt(Side::Lower).ok()?;
    let half = factor.solve(&middle);
    Some(factor.solve(half.transpose()))
}

/// The diagonal of the hat matrix of the weighted Jacobian over the free coordinates; empty where it cannot
/// be computed.
pub fn leverages(fit: &Fit) -> Vec<f64> {
    let Some(solution) = &fit.solution else { return Vec::new() };
    let rows = &solution.rows;
    let (n, m) = (rows.residual.len(), solution.free.len());
    if m == 0 {
        return vec![0.0; n];
    }
    if n < m || !fit.identification.undetermined.is_empty() {
        return Vec::new();
    }
    let scale = column_scales(rows, &solution.free);
    let scaled = Mat::from_fn(n, m, |i, a| {
        weighted_entry(rows.weight[i], rows.jacobian[i * rows.p + solution.free[a]]) / scale[a]
    });
    let q = scaled.qr().compute_thin_Q();
    (0..n).map(|i| (0..m).map(|a| q[(i, a)] * q[(i, a)]).sum()).collect()
}
