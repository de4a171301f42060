//! What the data determines: condition and rank of the weighted Jacobian at a point.

use faer::Mat;
use faer::linalg::solvers::Solve;

use crate::law::{Role, Scale};
use crate::problem::Problem;

use super::rows::Rows;

/// Singular values of the column-scaled, weighted Jacobian over some coordinates.
#[derive(Clone, Debug)]
pub struct Identification {
    /// Largest over smallest singular value; infinite where a direction is not determined.
    pub condition: f64,
    /// Directions that the data does not determine, as steps in all coordinates.
    pub undetermined: Vec<Vec<f64>>,
    /// The direction that the data determines worst.
    pub weakest: Vec<f64>,
}

impl Default for Identification {
    fn default() -> Self {
        Identification { condition: f64::NAN, undetermined: Vec::new(), weakest: Vec::new() }
    }
}

/// Directions with a singular value below this share of the largest are not determined: moving along one
/// by its own length changes no residual by more than rounding does.
const RANK: f64 = 1e-11;

/// Condition and undetermined directions at a point, over the given coordinates.
pub fn identify(problem: &Problem, at: &Rows, free: &[usize]) -> Identification {
    let m = free.len();
    let n = at.residual.len();
    if m == 0 {
        return Identification { condition: 1.0, ..Identification::default() };
    }
    let entry = |i: usize, j: usize| {
        let w = at.weight[i];
        if w == 0.0 { 0.0 } else { w.sqrt() * at.jacobian[i * at.p + j] }
    };
    let norms: Vec<f64> =
        free.iter().map(|&j| (0..n).map(|i| entry(i, j).powi(2)).sum::<f64>().sqrt()).collect();
    // A parameter without effect: a column of zeros or, where one unit of the coordinate is a large step by nature, one
    // by which that step changes the objective less than rounding of the data does.
    let is_live = |&a: &usize| {
        let coordinate = &problem.model.coordinates[free[a]];
        let by_nature = coordinate.scale == Scale::Log || coordinate.role == Role::Exponent;
        let least = if by_nature { problem.floor } else { 0.0 };
        norms[a] * norms[a] > least && norms[a].is_finite()
    };
    let (live, dead): (Vec<usize>, Vec<usize>) = (0..m).partition(is_live);
    let mut undetermined: Vec<Vec<f64>> = dead
        .iter()
        .map(|&a| {
            let mut alone = vec![0.0; at.p];
            alone[free[a]] = 1.0;
            alone
        })
        .collect();
    let unknown = |undetermined: Vec<Vec<f64>>| {
        let weakest = undetermined.first().cloned().unwrap_or_default();
        Identification { condition: f64::INFINITY, undetermined, weakest }
    };
    if live.is_empty() {
        return unknown(undetermined);
    }
    // The factor R of a tall matrix has its singular values and costs less to decompose.
    let scaled = Mat::from_fn(n, live.len(), |i, a| entry(i, free[live[a]]) / norms[live[a]]);
    let reduced = if n > live.len() { scaled.qr().thin_R().to_owned() } else { scaled };
    let Ok(svd) = reduced.svd() else {
        return Identification { undetermined, ..Identification::default() };
    };
    let singular = svd.S().column_vector();
    let value = |k: usize| if k < singular.nrows() { singular[k] } else { 0.0 };
    let largest = value(0);
    // The k-th right singular vector as a step in the coordinates.
    let direction = |k: usize| {
        let mut step = vec![0.0; at.p];
        for (a, &l) in live.iter().enumerate() {
            step[free[l]] = svd.V()[(a, k)] / norms[l];
        }
        step
    };
    let last = live.len() - 1;
    undetermined.extend((0..=last).filter(|&k| value(k) <= RANK * largest).map(direction));
    if undetermined.is_empty() {
        Identification { condition: largest / value(last), undetermined, weakest: direction(last) }
    } else {
        unknown(undetermined)
    }
}

/// Condition number of the column-scaled, weighted Jacobian with respect to other coordinates, of which
/// `transform(a, b)` is the derivative of the a-th with respect to the b-th free coordinate.
pub fn condition_in(at: &Rows, free: &[usize], transform: impl Fn(usize, usize) -> f64) -> f64 {
    let m = free.len();
    let n = at.residual.len();
    if m == 0 {
        return 1.0;
    }
    let weighted = Mat::from_fn(n, m, |i, a| {
        let w = at.weight[i];
        if w == 0.0 { 0.0 } else { w.sqrt() * at.jacobian[i * at.p + free[a]] }
    });
    // J = J'·T, so J' = J·T⁻¹; columns are scaled before the inversion to spare the arithmetic.
    let scales: Vec<f64> = (0..m).map(|a| weighted.col(a).norm_l2()).collect();
    let scaled = Mat::from_fn(n, m, |i, a| weighted[(i, a)] / scales[a]);
    let r = if n > m { scaled.qr().thin_R().to_owned() } else { scaled };
    let t = Mat::from_fn(m, m, |a, b| {
        let largest = (0..m).map(|b| (transform(a, b) / scales[b]).abs()).fold(0.0, f64::max);
        transform(a, b) / scales[b] / largest
    });
    let transposed = t.transpose().partial_piv_lu().solve(r.transpose());
    let other = transposed.transpose();
    let norms: Vec<f64> = (0..m).map(|a| other.col(a).norm_l2()).collect();
    let other = Mat::from_fn(other.nrows(), m, |i, a| other[(i, a)] / norms[a]);
    let Ok(singular) = other.singular_values() else { return f64::NAN };
    match (singular.first(), singular.last()) {
        (Some(largest), Some(smallest)) => largest / smallest,
        _ => f64::NAN,
    }
}
