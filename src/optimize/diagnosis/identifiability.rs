//! Identifiability at a point: condition number, numerical rank and undetermined directions of the weighted Jacobian.

use std::mem::MaybeUninit;

use faer::diag::DiagMut;
use faer::dyn_stack::{MemStack, StackReq};
use faer::linalg::lu::partial_pivoting::{factor, solve};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Conj, Mat, Par};

use crate::compile::{Role, Scale};
use crate::problem::Problem;

use crate::linalg::{right_singular, triangularise};
use crate::problem::Linearization;

/// What the data determines at a point.
#[derive(Clone, Debug)]
pub struct Identification {
    /// The ratio of the largest to the smallest singular value of the column-scaled, weighted Jacobian with respect to
    /// the parameters in natural units; infinite where a direction is not determined.
    pub condition: f64,
    /// The directions that the data does not determine, as steps in all solver coordinates.
    pub undetermined: Vec<Vec<f64>>,
    /// `R⁻¹` by rows, where `R` is the triangular factor of the weighted Jacobian over the coordinates that are not
    /// held at a bound, its columns scaled to norm one; empty where a direction is not determined.
    pub inverse: Vec<f64>,
}

impl Default for Identification {
    fn default() -> Self {
        Identification { condition: f64::NAN, undetermined: Vec::new(), inverse: Vec::new() }
    }
}

/// The singular value, as a fraction of the largest, below which a direction is not determined: moving along it by its
/// own length changes no residual by more than rounding does.
const RANK: f64 = 1e-11;

/// The column-scaled, weighted Jacobian over some coordinates, as its triangular factor: the factor has the same
/// singular values and is cheaper to decompose. Holds its buffers.
#[derive(Debug, Default)]
pub struct Factor {
    /// The number of all coordinates.
    p: usize,
    /// The coordinates with an effect on the residuals.
    effective: Vec<usize>,
    /// The norms of their columns.
    norms: Vec<f64>,
    /// The coordinates without an effect.
    without_effect: Vec<usize>,
    /// The factor: one column per effective coordinate, and as many rows if there are enough observations.
    r: Matrix,
    /// Its inverse by rows, if there are enough observations.
    inverse: Vec<f64>,
    /// Whether no singular value can be near [`RANK`].
    far_from_singular: bool,
    /// The Jacobian by columns.
    columns: Vec<f64>,
    workspace: SvdWorkspace,
}

/// The buffers of decompositions of small matrices.
#[derive(Debug, Default)]
struct SvdWorkspace {
    lu: Matrix,
    permutation: Vec<usize>,
    inverse_permutation: Vec<usize>,
    transposed: Matrix,
    other: Matrix,
    /// One value per column.
    values: Vec<f64>,
    memory: Vec<MaybeUninit<u8>>,
}

impl Factor {
    /// Returns the factor at a point, over the given coordinates.
    pub fn of(problem: &Problem, at: &Linearization, free: &[usize]) -> Factor {
        let mut factor = Factor::default();
        factor.set(problem, at, free);
        factor
    }

    /// Sets the factor at a point, over the given coordinates.
    pub fn set(&mut self, problem: &Problem, at: &Linearization, free: &[usize]) {
        // A coordinate has no effect where its column is zero. Where one unit of the coordinate is a large step by its
        // nature (logarithms, exponents), it also has none if that step changes the objective by less than rounding of
        // the data.
        let is_effective = |&i: &usize| {
            let coordinate = &problem.model.coordinates[i];
            let by_nature = coordinate.scale == Scale::Log || coordinate.role == Role::Exponent;
            let least = if by_nature { problem.floor } else { 0.0 };
            at.norms[i] * at.norms[i] > least && at.norms[i].is_finite()
        };
        let Factor { p, effective, norms, without_effect, r, columns: scaled, .. } = self;
        *p = at.p;
        effective.clear();
        effective.extend(free.iter().filter(|i| is_effective(i)));
        without_effect.clear();
        without_effect.extend(free.iter().filter(|i| !is_effective(i)));
        norms.clear();
        norms.extend(effective.iter().map(|&i| at.norms[i]));
        let (n, m) = (at.residual.len(), effective.len());
        // One more column as the workspace of the factorisation.
        scaled.clear();
        scaled.resize((n + 1) * m, 0.0);
        for (k, &weight) in at.weight.iter().enumerate().filter(|(_, w)| **w != 0.0) {
            let root = weight.sqrt();
            for (a, (&i, norm)) in effective.iter().zip(norms.iter()).enumerate() {
                scaled[a * n + k] = root * at.jacobian[k * at.p + i] / norm;
            }
        }
        let (columns, work) = scaled.split_at_mut(n * m);
        if n >= m {
            triangularise(columns, n, work);
            r.set(m, m, |i, a| if i <= a { columns[a * n + i] } else { 0.0 });
        } else {
            r.set(n, m, |i, a| columns[a * n + i]);
        }
        if problem.is_long() {
            // The buffers of a long fit are not worth their memory.
            *scaled = Vec::new();
        }
        self.invert();
    }

    /// Returns the directions that the data does not determine, as steps in all coordinates.
    pub fn undetermined(&self) -> Vec<Vec<f64>> {
        let alone = |&i: &usize| {
            let mut step = vec![0.0; self.p];
            step[i] = 1.0;
            step
        };
        let mut undetermined: Vec<Vec<f64>> = self.without_effect.iter().map(alone).collect();
        if !self.effective.is_empty() && !self.far_from_singular {
            let directions = self.directions();
            let largest = directions.first().map_or(0.0, |(value, _)| *value);
            let free = directions.into_iter().filter(|(value, _)| *value <= RANK * largest);
            undetermined.extend(free.map(|(_, direction)| direction));
        }
        undetermined
    }

    /// Returns the direction that the data determines worst.
    pub fn weakest(&self) -> Vec<f64> {
        let undetermined = self.undetermined().into_iter().next();
        undetermined.or_else(|| self.directions().pop().map(|(_, direction)| direction)).unwrap_or_default()
    }

    /// Inverts the factor, if there are enough observations. No singular value can be near [`RANK`] where the product
    /// of the Frobenius norms of the matrix and its inverse, which is at least the condition number, is far below
    /// `1/RANK`.
    fn invert(&mut self) {
        let Factor { r: Matrix(r), inverse, far_from_singular, .. } = self;
        let m = r.ncols();
        inverse.clear();
        *far_from_singular = false;
        if r.nrows() < m {
            return;
        }
        inverse.resize(m * m, 0.0);
        let (mut own, mut of_inverse) = (0.0, 0.0);
        for column in 0..m {
            for i in (0..=column).rev() {
                let known: f64 = (i + 1..=column).map(|k| r[(i, k)] * inverse[k * m + column]).sum();
                let entry = (f64::from(u8::from(i == column)) - known) / r[(i, i)];
                inverse[i * m + column] = entry;
                of_inverse += entry * entry;
                own += r[(i, column)] * r[(i, column)];
            }
        }
        *far_from_singular = own * of_inverse < (1e-2 / RANK).powi(2);
    }

    /// Returns the inverse of the factor as in [`Identification::inverse`].
    pub fn inverse(&self) -> &[f64] {
        &self.inverse
    }

    /// Returns the singular values, largest first, with their right singular vectors as steps in all coordinates; empty
    /// where they cannot be computed.
    fn directions(&self) -> Vec<(f64, Vec<f64>)> {
        let Some((singular, vectors)) = right_singular(self.r.0.as_ref()) else { return Vec::new() };
        let direction = |k: usize| {
            let mut step = vec![0.0; self.p];
            for (a, (&i, norm)) in self.effective.iter().zip(&self.norms).enumerate() {
                step[i] = vectors[(a, k)] / norm;
            }
            (singular.get(k).copied().unwrap_or(0.0), step)
        };
        (0..self.effective.len()).map(direction).collect()
    }

    /// Returns the condition number of the column-scaled Jacobian with respect to the parameters in natural units at
    /// `theta`: the number that a user can compute from the table of residuals. All coordinates of the factor must have
    /// an effect.
    pub fn natural_condition(&mut self, problem: &Problem, theta: &[f64]) -> f64 {
        let Factor { p, effective, norms, r, workspace, .. } = self;
        let transform = problem.natural_jacobian(theta);
        let coordinates = &problem.model.coordinates;
        let transform =
            |a: usize, b: usize| transform[coordinates[effective[a]].parameter * *p + effective[b]];
        let SvdWorkspace { lu, permutation, inverse_permutation, transposed, other, values, memory } =
            workspace;
        let (n, m) = (r.0.nrows(), effective.len());
        if m == 0 {
            return 1.0;
        }
        // J = J'·T, so J' = J·T⁻¹; columns are scaled before the inversion to save arithmetic.
        values.clear();
        values.extend((0..m).map(|a| (0..m).map(|b| (transform(a, b) / norms[b]).abs()).fold(0.0, f64::max)));
        lu.set(m, m, |b, a| transform(a, b) / norms[b] / values[a]);
        transposed.set(m, n, |a, i| r.0[(i, a)]);
        permutation.resize(m, 0);
        inverse_permutation.resize(m, 0);
        let needed = StackReq::any_of(&[
            factor::lu_in_place_scratch::<usize, f64>(m, m, Par::Seq, Default::default()),
            solve::solve_in_place_scratch::<usize, f64>(m, n, Par::Seq),
            svd_scratch::<f64>(
                n,
                m,
                ComputeSvdVectors::No,
                ComputeSvdVectors::No,
                Par::Seq,
                Default::default(),
            ),
        ]);
        memory.resize(needed.unaligned_bytes_required(), MaybeUninit::uninit());
        let stack = MemStack::new(memory);
        let (_, rows) = factor::lu_in_place(
            lu.0.as_mut(),
            permutation,
            inverse_permutation,
            Par::Seq,
            stack,
            Default::default(),
        );
        // The matrix holds both triangular factors.
        let (lower, upper) = (lu.0.as_ref(), lu.0.as_ref());
        solve::solve_in_place_with_conj(lower, upper, rows, Conj::No, transposed.0.as_mut(), Par::Seq, stack);
        values.clear();
        values.extend((0..m).map(|a| transposed.0.transpose().col(a).norm_l2()));
        other.set(n, m, |i, a| transposed.0[(a, i)] / values[a]);
        values.resize(n.min(m), 0.0);
        let singular = DiagMut::from_slice_mut(values);
        if svd(other.0.as_ref(), singular, None, None, Par::Seq, stack, Default::default()).is_err() {
            return f64::NAN;
        }
        match (values.first(), values.last()) {
            (Some(largest), Some(smallest)) => largest / smallest,
            _ => f64::NAN,
        }
    }
}

/// A matrix that is overwritten repeatedly without a new allocation while it does not grow.
#[derive(Debug)]
struct Matrix(Mat<f64>);

impl Default for Matrix {
    fn default() -> Self {
        Matrix(Mat::new())
    }
}

impl Matrix {
    /// Sets shape and entries.
    fn set(&mut self, rows: usize, columns: usize, entry: impl Fn(usize, usize) -> f64) {
        if self.0.shape() != (rows, columns) {
            self.0.resize_with(rows, columns, |_, _| 0.0);
        }
        for j in 0..columns {
            for i in 0..rows {
                self.0[(i, j)] = entry(i, j);
            }
        }
    }
}
