//! Asymptotic standard errors.
//!
//! Least squares: `s²(JᵀWJ)⁻¹` with `s² = RSS/(n − p)` (or 1 where σ is absolute). Other losses: the sandwich
//! `H⁻¹(Σ ψ²∂m∂mᵀ)H⁻¹` with the exact Hessian `H` (Huber 1967). Both over the coordinates that are not on a
//! bound, carried to natural units by the delta method.

use std::cell::RefCell;

use faer::{Mat, Side};

use crate::solve::{Finished, Fit, cholesky, cholesky_solve, column_scales, scaled_hessian, weighted_entry};

/// A Hessian with an eigenvalue below this share of its largest is not inverted.
const CURVED: f64 = 1e-9;

/// Buffers that a thread keeps.
#[derive(Default)]
struct Scratch {
    scale: Vec<f64>,
    /// By rows, over the free coordinates, columns scaled.
    covariance: Vec<f64>,
    hessian: Vec<f64>,
    jacobian: Vec<f64>,
    row: Vec<f64>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Gives `set` the standard error of each of the law's parameters, by its index: none where it is fixed, on a bound, or not
/// determined.
pub fn standard_errors(fit: &Fit, absolute_sigma: bool, mut set: impl FnMut(usize, Option<f64>)) {
    SCRATCH.with_borrow_mut(|scratch| {
        let covariance = covariance(fit, absolute_sigma, scratch);
        let Scratch { scale, covariance: entries, jacobian, row, .. } = scratch;
        let p = fit.problem.p();
        for k in 0..fit.natural.len() {
            let variance = covariance.map(|solution| {
                row.clear();
                row.extend(solution.free.iter().zip(scale.iter()).map(|(&i, s)| jacobian[k * p + i] / s));
                let products = row.iter().flat_map(|x| row.iter().map(move |y| (x, y)));
                products.zip(entries.iter()).map(|((x, y), entry)| x * entry * y).sum::<f64>()
            });
            let usable = |variance: &f64| *variance > 0.0 && variance.is_finite() && !fit.at_bound[k];
            set(k, variance.filter(usable).map(f64::sqrt));
        }
    });
}

/// Leaves the covariance of the free coordinates in `scratch`, and the parameters' derivatives.
fn covariance<'a>(fit: &'a Fit, absolute_sigma: bool, scratch: &mut Scratch) -> Option<&'a Finished> {
    let solution = fit.solution.as_ref().filter(|solution| !solution.free.is_empty())?;
    let Scratch { scale, covariance, hessian, jacobian, row: column } = scratch;
    scale.clear();
    scale.extend(solution.free.iter().map(|&i| solution.rows.scale(i)));
    covariance.clear();
    covariance.resize(scale.len() * scale.len(), 0.0);
    if fit.problem.loss.is_quadratic() {
        least_squares(fit, solution, absolute_sigma, covariance)?;
    } else {
        sandwich(solution, scale, covariance, hessian, column)?;
    }
    fit.problem.natural_jacobian_into(&solution.theta, jacobian);
    Some(solution)
}

fn least_squares(fit: &Fit, solution: &Finished, absolute_sigma: bool, covariance: &mut [f64]) -> Option<()> {
    let m = solution.free.len();
    let variance =
        if absolute_sigma { 1.0 } else { 2.0 * solution.rows.objective / degrees_of_freedom(fit)? };
    let inverse = &fit.identification.inverse;
    if inverse.len() != m * m {
        return None;
    }
    for a in 0..m {
        for b in 0..m {
            let product: f64 = (a.max(b)..m).map(|k| inverse[a * m + k] * inverse[b * m + k]).sum();
            covariance[a * m + b] = variance * product;
        }
    }
    Some(())
}

/// Observations with weight less free parameters, where positive.
fn degrees_of_freedom(fit: &Fit) -> Option<f64> {
    let n = fit.problem.n_weighted();
    let p = fit.problem.p() + fit.edges.len();
    (n > p).then(|| (n - p) as f64)
}

/// `covariance` holds zeros, `hessian` and `column` are buffers.
fn sandwich(
    solution: &Finished,
    scale: &[f64],
    covariance: &mut [f64],
    hessian: &mut Vec<f64>,
    column: &mut Vec<f64>,
) -> Option<()> {
    let Finished { rows, free, certificate, .. } = solution;
    let m = free.len();
    // With a near-absolute loss few observations carry curvature; with no more of them than parameters the
    // Hessian says nothing about the spread.
    let curved = rows.curvature.iter().filter(|c| **c > 0.0).count();
    if curved <= m {
        return None;
    }
    // The certificate's lowest curvature is over the largest, and that ratio itself or a lower bound of it.
    if !(certificate.lowest_curvature > CURVED) {
        let eigenvalues = scaled_hessian(rows, free, scale).self_adjoint_eigenvalues(Side::Lower).ok()?;
        let (least, most) = (eigenvalues.first()?, eigenvalues.last()?);
        if !(*least > CURVED * most) {
            return None;
        }
    }
    for (k, slope) in rows.slope.iter().enumerate().filter(|(_, s)| **s != 0.0) {
        let derivatives = &rows.jacobian[k * rows.p..(k + 1) * rows.p];
        for a in 0..m {
            let left = slope * slope * derivatives[free[a]] / scale[a];
            for b in 0..m {
                covariance[a * m + b] += left * derivatives[free[b]] / scale[b];
            }
        }
    }
    hessian.clear();
    hessian.resize(m * m, 0.0);
    rows.scaled_hessian_into(free, hessian);
    if !cholesky(hessian, m) {
        return None;
    }
    // H⁻¹ from the left twice, the matrix being symmetric: its rows, then its columns.
    covariance.chunks_exact_mut(m).for_each(|row| cholesky_solve(hessian, m, row));
    for b in 0..m {
        column.clear();
        column.extend((0..m).map(|a| covariance[a * m + b]));
        cholesky_solve(hessian, m, column);
        column.iter().enumerate().for_each(|(a, x)| covariance[a * m + b] = *x);
    }
    Some(())
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
