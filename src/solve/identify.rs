//! What the data determines: condition and rank of the weighted Jacobian at a point.

use faer::Mat;
use faer::linalg::solvers::Solve;

use super::rows::Rows;

/// Singular values of the column-scaled, weighted Jacobian over the free coordinates.
#[derive(Clone, Debug)]
pub struct Identification {
    /// Largest over smallest singular value; infinite where a direction is not determined.
    pub condition: f64,
    /// Free coordinates, as indices into the coordinates, that take part in an undetermined direction.
    pub undetermined: Vec<usize>,
    /// Free coordinates that take part in the direction the data determines worst.
    pub weakest: Vec<usize>,
}

impl Default for Identification {
    fn default() -> Self {
        Identification { condition: f64::NAN, undetermined: Vec::new(), weakest: Vec::new() }
    }
}

/// Directions with a singular value below this share of the largest are not determined: moving along one
/// by its own length changes no residual by more than rounding does.
const RANK: f64 = 1e-11;

/// A coordinate takes part in a direction from this share on.
const SHARE: f64 = 0.1;

/// Condition and undetermined directions at a point.
pub fn identify(at: &Rows, free: &[usize]) -> Identification {
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
    // A column of zeros: the parameter has no effect at all.
    let dead: Vec<usize> =
        (0..m).filter(|&a| !(norms[a] > 0.0 && norms[a].is_finite())).map(|a| free[a]).collect();
    let live: Vec<usize> = (0..m).filter(|a| !dead.contains(&free[*a])).collect();
    if live.is_empty() {
        return Identification { condition: f64::INFINITY, weakest: dead.clone(), undetermined: dead };
    }
    // The factor R of a tall matrix has its singular values and costs less to decompose.
    let scaled = Mat::from_fn(n, live.len(), |i, a| entry(i, free[live[a]]) / norms[live[a]]);
    let reduced = if n > live.len() { scaled.qr().thin_R().to_owned() } else { scaled };
    let Ok(svd) = reduced.svd() else {
        return Identification { undetermined: dead, ..Identification::default() };
    };
    let singular = svd.S().column_vector();
    let count = singular.nrows();
    let largest = (0..count).map(|k| singular[k]).fold(0.0, f64::max);
    let smallest =
        if count < live.len() { 0.0 } else { (0..count).map(|k| singular[k]).fold(f64::INFINITY, f64::min) };
    // Coordinates that take part in the k-th right singular vector.
    let members = |k: usize| -> Vec<usize> {
        let along = |a: &usize| svd.V()[(*a, k)].abs() > SHARE;
        (0..live.len()).filter(along).map(|a| free[live[a]]).collect()
    };
    let mut undetermined = dead;
    for k in 0..live.len() {
        let value = if k < count { singular[k] } else { 0.0 };
        if value <= RANK * largest {
            undetermined.extend(members(k));
        }
    }
    undetermined.sort_unstable();
    undetermined.dedup();
    let condition = if undetermined.is_empty() { largest / smallest } else { f64::INFINITY };
    let weakest = if undetermined.is_empty() { members(live.len() - 1) } else { undetermined.clone() };
    Identification { condition, undetermined, weakest }
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
