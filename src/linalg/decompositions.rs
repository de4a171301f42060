//! Decompositions of small dense matrices by faer, on the calling thread.
//!
//! faer's own front takes a degree of parallelism that is the whole process's; here it is passed at every call, so
//! that nobody else's setting changes what a fit costs.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
};
use faer::linalg::qr::{col_pivoting, no_pivoting};
use faer::linalg::{evd, svd};
use faer::perm::PermRef;
use faer::{Conj, Mat, MatRef, Par};

/// Eigenvalues in ascending order, and in the columns of `vectors` the eigenvectors.
pub struct Eigen {
    pub values: Vec<f64>,
    pub vectors: Mat<f64>,
}

/// Returns the eigenvalues and eigenvectors of a symmetric matrix, of which the lower triangle is read; none where the
/// iteration does not converge.
#[must_use]
pub fn symmetric_eigen(matrix: MatRef<'_, f64>) -> Option<Eigen> {
    let n = matrix.nrows();
    let (mut values, mut vectors) = (Diag::zeros(n), Mat::zeros(n, n));
    let scratch =
        evd::self_adjoint_evd_scratch::<f64>(n, evd::ComputeEigenvectors::Yes, Par::Seq, Default::default());
    evd::self_adjoint_evd(
        matrix,
        values.as_mut(),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .ok()?;
    Some(Eigen { values: values.column_vector().iter().copied().collect(), vectors })
}

/// Returns the singular values, largest first, and in the columns of a square matrix all right singular vectors; none where
/// the iteration does not converge.
#[must_use]
pub fn right_singular(matrix: MatRef<'_, f64>) -> Option<(Vec<f64>, Mat<f64>)> {
    let (m, n) = matrix.shape();
    let (mut u, mut v, mut s) = (Mat::zeros(m, m), Mat::zeros(n, n), Diag::zeros(m.min(n)));
    let compute = svd::ComputeSvdVectors::Full;
    let scratch = svd::svd_scratch::<f64>(m, n, compute, compute, Par::Seq, Default::default());
    svd::svd(
        matrix,
        s.as_mut(),
        Some(u.as_mut()),
        Some(v.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .ok()?;
    Some((s.column_vector().iter().copied().collect(), v))
}

/// Returns an orthonormal basis of the columns of a matrix with at least as many rows: the thin `Q` of its QR
/// decomposition.
#[must_use]
pub fn orthonormal_basis(mut matrix: Mat<f64>) -> Mat<f64> {
    let (m, n) = matrix.shape();
    let size = m.min(n);
    let block = no_pivoting::factor::recommended_block_size::<f64>(m, n);
    let mut coefficients = Mat::zeros(block, size);
    let scratch = no_pivoting::factor::qr_in_place_scratch::<f64>(m, n, block, Par::Seq, Default::default());
    no_pivoting::factor::qr_in_place(
        matrix.as_mut(),
        coefficients.as_mut(),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    );
    let mut basis = Mat::identity(m, size);
    let scratch = apply_block_householder_sequence_on_the_left_in_place_scratch::<f64>(m, block, size);
    apply_block_householder_sequence_on_the_left_in_place_with_conj(
        matrix.as_ref().subcols(0, size),
        coefficients.as_ref(),
        Conj::No,
        basis.as_mut(),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
    );
    basis
}

/// Returns the `x` that minimises `|matrix·x − rhs|` for every column of `rhs`, by QR with column pivoting. The matrix has at
/// least as many rows as columns.
#[must_use]
pub fn least_squares(mut matrix: Mat<f64>, mut rhs: Mat<f64>) -> Mat<f64> {
    let (m, n) = matrix.shape();
    let block = no_pivoting::factor::recommended_block_size::<f64>(m, n);
    let mut coefficients = Mat::zeros(block, n);
    let (mut forward, mut inverse) = (vec![0usize; n], vec![0usize; n]);
    let scratch =
        col_pivoting::factor::qr_in_place_scratch::<usize, f64>(m, n, block, Par::Seq, Default::default());
    col_pivoting::factor::qr_in_place(
        matrix.as_mut(),
        coefficients.as_mut(),
        &mut forward,
        &mut inverse,
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    );
    let columns = rhs.ncols();
    let scratch =
        col_pivoting::solve::solve_lstsq_in_place_scratch::<usize, f64>(m, n, block, columns, Par::Seq);
    col_pivoting::solve::solve_lstsq_in_place_with_conj(
        matrix.as_ref(),
        coefficients.as_ref(),
        matrix.as_ref().subrows(0, n),
        PermRef::new_checked(&forward, &inverse, n),
        Conj::No,
        rhs.as_mut(),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
    );
    rhs.truncate(n, columns);
    rhs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Uniform;

    fn random(rows: usize, columns: usize, uniform: &mut Uniform) -> Mat<f64> {
        Mat::from_fn(rows, columns, |_, _| uniform.between(-1.0, 1.0))
    }

    /// faer's own front gives the same bits.
    #[test]
    fn decompositions_are_faers() {
        use faer::Side;
        use faer::linalg::solvers::SolveLstsq;
        let mut uniform = Uniform(3);
        for (m, n) in [(1, 1), (4, 2), (7, 5), (30, 6), (200, 9)] {
            let a = random(m, n, &mut uniform);
            let gram = a.transpose() * &a;
            let (ours, theirs) =
                (symmetric_eigen(gram.as_ref()).unwrap(), gram.self_adjoint_eigen(Side::Lower).unwrap());
            assert!(theirs.S().column_vector().iter().eq(&ours.values) && ours.vectors == theirs.U());
            let ((values, v), theirs) = (right_singular(a.as_ref()).unwrap(), a.svd().unwrap());
            assert!(theirs.S().column_vector().iter().eq(&values) && v == theirs.V());
            assert_eq!(orthonormal_basis(a.clone()), a.qr().compute_thin_Q());
            let rhs = random(m, 3, &mut uniform);
            assert_eq!(least_squares(a.clone(), rhs.clone()), a.col_piv_qr().solve_lstsq(&rhs));
        }
    }
}
