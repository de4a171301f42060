//! What the data determines: condition and rank of the weighted Jacobian at a point.

use faer::Mat;
use faer::linalg::solvers::Solve;

use crate::law::{Role, Scale};
use crate::problem::Problem;

use super::dense::triangularise;
use super::rows::Rows;

/// What the data determines at a point.
#[derive(Clone, Debug)]
pub struct Identification {
    /// Largest over smallest singular value of the column-scaled, weighted Jacobian with respect to the parameters;
    /// infinite where a direction is not determined.
    pub condition: f64,
    /// Directions that the data does not determine, as steps in all coordinates.
    pub undetermined: Vec<Vec<f64>>,
}

impl Default for Identification {
    fn default() -> Self {
        Identification { condition: f64::NAN, undetermined: Vec::new() }
    }
}

/// Directions with a singular value below this share of the largest are not determined: moving along one
/// by its own length changes no residual by more than rounding does.
const RANK: f64 = 1e-11;

/// The column-scaled, weighted Jacobian over some coordinates as its triangular factor, which has the same singular
/// values and costs less to decompose.
#[derive(Debug)]
pub struct Factor {
    /// All coordinates, those in question or not.
    p: usize,
    /// Coordinates with an effect, and the norms of their columns.
    live: Vec<usize>,
    norms: Vec<f64>,
    dead: Vec<usize>,
    /// As many columns as live coordinates, and rows if there are enough observations.
    r: Mat<f64>,
}

impl Factor {
    /// At a point, over the given coordinates.
    pub fn of(problem: &Problem, at: &Rows, free: &[usize]) -> Factor {
        // A parameter without effect: a column of zeros or, where one unit of the coordinate is a large step by nature,
        // one by which that step changes the objective less than rounding of the data does.
        let is_live = |&i: &usize| {
            let coordinate = &problem.model.coordinates[i];
            let by_nature = coordinate.scale == Scale::Log || coordinate.role == Role::Exponent;
            let least = if by_nature { problem.floor } else { 0.0 };
            at.norms[i] * at.norms[i] > least && at.norms[i].is_finite()
        };
        let (live, dead): (Vec<usize>, Vec<usize>) = free.iter().copied().partition(is_live);
        let norms: Vec<f64> = live.iter().map(|&i| at.norms[i]).collect();
        let (n, m) = (at.residual.len(), live.len());
        // Column by column, with room for what the factorisation needs.
        let mut scaled = vec![0.0; (n + 1) * m];
        for (k, &weight) in at.weight.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            let root = weight.sqrt();
            for (a, (&i, norm)) in live.iter().zip(&norms).enumerate() {
                scaled[a * n + k] = root * at.jacobian[k * at.p + i] / norm;
            }
        }
        let (columns, work) = scaled.split_at_mut(n * m);
        let r = if n > m {
            triangularise(columns, n, work);
            Mat::from_fn(m, m, |i, a| if i <= a { columns[a * n + i] } else { 0.0 })
        } else {
            Mat::from_fn(n, m, |i, a| columns[a * n + i])
        };
        Factor { p: at.p, live, norms, dead, r }
    }

    /// Directions that the data does not determine, as steps in all coordinates.
    pub fn undetermined(&self) -> Vec<Vec<f64>> {
        let alone = |&i: &usize| {
            let mut step = vec![0.0; self.p];
            step[i] = 1.0;
            step
        };
        let mut undetermined: Vec<Vec<f64>> = self.dead.iter().map(alone).collect();
        if !self.live.is_empty() && !self.is_far_from_singular() {
            let directions = self.directions();
            let largest = directions.first().map_or(0.0, |(value, _)| *value);
            let free = directions.into_iter().filter(|(value, _)| *value <= RANK * largest);
            undetermined.extend(free.map(|(_, direction)| direction));
        }
        undetermined
    }

    /// The direction that the data determines worst.
    pub fn weakest(&self) -> Vec<f64> {
        let undetermined = self.undetermined().into_iter().next();
        undetermined.or_else(|| self.directions().pop().map(|(_, direction)| direction)).unwrap_or_default()
    }

    /// Whether no singular value can be near [`RANK`]: the product of the Frobenius norms of a matrix and its inverse is
    /// at least its condition number.
    fn is_far_from_singular(&self) -> bool {
        let m = self.live.len();
        if self.r.nrows() < m {
            return false;
        }
        let mut inverse = vec![0.0; m];
        let (mut own, mut of_inverse) = (0.0, 0.0);
        for column in 0..m {
            for i in (0..=column).rev() {
                let known: f64 = (i + 1..=column).map(|k| self.r[(i, k)] * inverse[k]).sum();
                inverse[i] = (f64::from(u8::from(i == column)) - known) / self.r[(i, i)];
                of_inverse += inverse[i] * inverse[i];
                own += self.r[(i, column)] * self.r[(i, column)];
            }
        }
        own * of_inverse < (1e-2 / RANK).powi(2)
    }

    /// Singular values, largest first, with their right singular vectors as steps in all coordinates; empty where they
    /// cannot be computed.
    fn directions(&self) -> Vec<(f64, Vec<f64>)> {
        let Ok(svd) = self.r.svd() else { return Vec::new() };
        let singular = svd.S().column_vector();
        let direction = |k: usize| {
            let mut step = vec![0.0; self.p];
            for (a, (&i, norm)) in self.live.iter().zip(&self.norms).enumerate() {
                step[i] = svd.V()[(a, k)] / norm;
            }
            (if k < singular.nrows() { singular[k] } else { 0.0 }, step)
        };
        (0..self.live.len()).map(direction).collect()
    }

    /// Condition number with respect to other coordinates, of which `transform(a, b)` is the derivative of the a-th with
    /// respect to the b-th live one.
    pub fn condition_in(&self, transform: impl Fn(usize, usize) -> f64) -> f64 {
        let m = self.live.len();
        if m == 0 {
            return 1.0;
        }
        // J = J'·T, so J' = J·T⁻¹; columns are scaled before the inversion to spare the arithmetic.
        let t = Mat::from_fn(m, m, |a, b| {
            let largest = (0..m).map(|b| (transform(a, b) / self.norms[b]).abs()).fold(0.0, f64::max);
            transform(a, b) / self.norms[b] / largest
        });
        let transposed = t.transpose().partial_piv_lu().solve(self.r.transpose());
        let other = transposed.transpose();
        let norms: Vec<f64> = (0..m).map(|a| other.col(a).norm_l2()).collect();
        let other = Mat::from_fn(other.nrows(), m, |i, a| other[(i, a)] / norms[a]);
        let Ok(singular) = other.singular_values() else { return f64::NAN };
        match (singular.first(), singular.last()) {
            (Some(largest), Some(smallest)) => largest / smallest,
            _ => f64::NAN,
        }
    }
}
