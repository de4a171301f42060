//! The leverage of each observation on its own prediction.

use faer::Mat;

use crate::linalg::orthonormal_basis;
use crate::optimize::{Fit, column_scales, weighted_entry};

/// Returns the diagonal of the hat matrix of the weighted Jacobian over the free coordinates, one value per
/// observation; empty where it cannot be computed.
#[must_use]
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
    let q = orthonormal_basis(scaled);
    (0..n).map(|i| (0..m).map(|a| q[(i, a)] * q[(i, a)]).sum()).collect()
}
