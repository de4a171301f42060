//! Factorises and solves small matrices, one by one or eight side by side in lanes; larger decompositions are faer's.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | `L·D·Lᵀ` over vectors of lanes, for the steps of searches; the triangular factor of a tall matrix |
//! | `cholesky` | `L·Lᵀ`, generic over a number and a pack of lanes |
//! | `decompositions` | eigenvalues, singular values, orthonormal bases and least squares by faer |
//!
//! faer is made for larger matrices (a 5×5 factorisation and solve costs it some 400 ns); in the hot loop eight systems are
//! solved side by side, one per lane, in buffers of the caller. Without square roots and with pivots compared with their own
//! diagonal entry, the test of positivity does not depend on units. The folder knows nothing of laws or fits.

mod cholesky;
mod decompositions;

pub use cholesky::{cholesky, cholesky_solve, forward_substitute};
pub use decompositions::{Eigen, least_squares, orthonormal_basis, right_singular, symmetric_eigen};

use faer::dyn_stack::MemStack;
use faer::linalg::qr::no_pivoting::factor::qr_in_place;
use faer::{MatMut, Par};

use crate::lanes::Lanes;
use crate::lanes::Pack;

/// Returns the number of entries in a lower triangle of `p` rows.
#[must_use]
pub fn triangle(p: usize) -> usize {
    p * (p + 1) / 2
}

/// The fraction of its diagonal entry below which a pivot is rounding noise.
pub const PIVOT: f64 = 1e-15;

/// Solves `a·x = b` for symmetric positive definite `a` (lower triangle by rows, as many as `b` has entries) in every lane.
/// `a` is overwritten by its factors, as [`substitute_lanes`] reads them, and `b` by `x`. Returns the lanes in which `a` is
/// numerically positive definite; the others hold no solution. The code is compiled once per kind of vector.
pub fn solve_lanes<L: Lanes>(token: L::Token, a: &mut [Pack], b: &mut [Pack]) -> L::Mask {
    L::vectorize(
        token,
        #[inline(always)]
        || {
            let good = factorise::<L>(token, a, b.len());
            substitute::<L>(token, a, b);
            good
        },
    )
}

/// Returns the lanes in which a pivot is above rounding noise.
#[inline(always)]
fn usable<L: Lanes>(pivot: L, diagonal: L) -> L::Mask {
    let zero = pivot.fill(0.0);
    pivot.gt(diagonal.abs() * pivot.fill(PIVOT)) & pivot.gt(zero) & pivot.le(pivot.fill(f64::MAX))
}

#[inline(always)]
fn entry<L: Lanes>(token: L::Token, a: &[Pack], i: usize, j: usize) -> L {
    L::load(token, &a[triangle(i) + j].0)
}

/// Factorises `a = L·D·Lᵀ` in place, with the inverse of `D` on the diagonal. Returns the lanes whose pivots are usable.
#[inline(always)]
fn factorise<L: Lanes>(token: L::Token, a: &mut [Pack], n: usize) -> L::Mask {
    let one = L::splat(token, 1.0);
    let mut good = one.eq(one);
    for j in 0..n {
        let diagonal = entry::<L>(token, a, j, j);
        let mut pivot = diagonal;
        for k in 0..j {
            let x = entry::<L>(token, a, j, k);
            pivot = (-(x * entry::<L>(token, a, k, k))).mul_add(x, pivot);
        }
        good = good & usable(pivot, diagonal);
        pivot.store(&mut a[triangle(j) + j].0);
        let inverse = one / pivot;
        for i in j + 1..n {
            let mut value = entry::<L>(token, a, i, j);
            for k in 0..j {
                let scaled = entry::<L>(token, a, j, k) * entry::<L>(token, a, k, k);
                value = (-entry::<L>(token, a, i, k)).mul_add(scaled, value);
            }
            (value * inverse).store(&mut a[triangle(i) + j].0);
        }
    }
    for i in 0..n {
        (one / entry::<L>(token, a, i, i)).store(&mut a[triangle(i) + i].0);
    }
    good
}

/// Solves for another `b` with the factors that [`solve_lanes`] leaves in `a`: `L` below the diagonal, the inverse of `D` on it.
pub fn substitute_lanes<L: Lanes>(token: L::Token, a: &[Pack], b: &mut [Pack]) {
    L::vectorize(
        token,
        #[inline(always)]
        || substitute::<L>(token, a, b),
    );
}

#[inline(always)]
fn substitute<L: Lanes>(token: L::Token, a: &[Pack], b: &mut [Pack]) {
    let n = b.len();
    for i in 0..n {
        let mut value = L::load(token, &b[i].0);
        for k in 0..i {
            value = (-entry::<L>(token, a, i, k)).mul_add(L::load(token, &b[k].0), value);
        }
        value.store(&mut b[i].0);
    }
    for i in (0..n).rev() {
        let mut value = L::load(token, &b[i].0) * entry::<L>(token, a, i, i);
        for k in i + 1..n {
            value = (-entry::<L>(token, a, k, i)).mul_add(L::load(token, &b[k].0), value);
        }
        value.store(&mut b[i].0);
    }
}

/// Overwrites the upper triangle of `a` (column-major, `rows` rows, `columns.len()` columns, no more than rows) with the factor
/// `R` of its QR factorisation. The entries below the diagonal, and `columns`, hold intermediate results.
///
/// Reflections are made one at a time: in blocks, and with `Q`, faer takes twice the time on a matrix of few columns.
pub fn triangularise(a: &mut [f64], rows: usize, columns: &mut [f64]) {
    let m = columns.len();
    if m > 0 {
        let matrix = MatMut::from_column_major_slice_mut(a, rows, m);
        let coefficients = MatMut::from_row_major_slice_mut(columns, 1, m);
        qr_in_place(matrix, coefficients, Par::Seq, MemStack::new(&mut []), Default::default());
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    /// Solves for `b`, and then for `again`.
    fn solve(a: &mut [Pack], b: &mut [Pack], again: &mut [Pack]) -> [bool; 8] {
        #[inline(always)]
        fn inner<L: Lanes>(token: L::Token, a: &mut [Pack], b: &mut [Pack], again: &mut [Pack]) -> [bool; 8] {
            let good = solve_lanes::<L>(token, a, b);
            substitute_lanes::<L>(token, a, again);
            let mut flags = Pack::ZERO;
            let one = L::splat(token, 1.0);
            L::select(good, one, one.fill(0.0)).store(&mut flags.0);
            flags.0.map(|x| x == 1.0)
        }
        dispatch!(Level::new(), simd => inner::<fearless_simd::f64x8<_>>(simd, a, b, again))
    }

    /// A = B·Bᵀ for the triangular B of ones with diagonal 1, 2, …, and x = (1, 2, …), then twice that.
    #[test]
    fn systems_of_every_size_are_solved() {
        for n in 1..=9 {
            let b = |i: usize, j: usize| match i.cmp(&j) {
                std::cmp::Ordering::Equal => (i + 1) as f64,
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Less => 0.0,
            };
            let entry = |i: usize, j: usize| (0..n).map(|k| b(i, k) * b(j, k)).sum::<f64>();
            let mut a: Vec<Pack> = (0..n)
                .flat_map(|i| (0..=i).map(move |j| (i, j)))
                .map(|(i, j)| Pack::splat(entry(i, j)))
                .collect();
            let mut rhs: Vec<Pack> =
                (0..n).map(|i| Pack::splat((0..n).map(|j| entry(i, j) * (j + 1) as f64).sum())).collect();
            // Lane 3 is not positive definite.
            a[triangle(n - 1) + n - 1].0[3] = -1.0;
            let mut again: Vec<Pack> = rhs.iter().map(|pack| Pack(pack.0.map(|x| 2.0 * x))).collect();
            let good = solve(&mut a, &mut rhs, &mut again);
            assert_eq!(good, std::array::from_fn(|lane| lane != 3), "n = {n}");
            for (i, x) in rhs.iter().enumerate() {
                assert!((x.0[0] - (i + 1) as f64).abs() < 1e-9, "n = {n}: {}", x.0[0]);
                let twice = again[i].0[0];
                assert!((twice - 2.0 * (i + 1) as f64).abs() < 1e-9, "n = {n}: {twice}");
            }
        }
    }

    /// `RᵀR = AᵀA`, and R has the diagonal of a matrix whose columns are orthogonal.
    #[test]
    fn triangular_factors_keep_lengths_and_angles() {
        let columns = [[3.0, 0.0, 4.0, 0.0], [1.0, 2.0, 2.0, 4.0], [0.5, -1.0, 0.25, 8.0]];
        let mut a = columns.concat();
        triangularise(&mut a, 4, &mut [0.0; 3]);
        let r = |i: usize, j: usize| if i <= j { a[j * 4 + i] } else { 0.0 };
        for (i, x) in columns.iter().enumerate() {
            for (j, y) in columns.iter().enumerate() {
                let expected: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                let found: f64 = (0..3).map(|k| r(k, i) * r(k, j)).sum();
                assert!((found - expected).abs() < 1e-13, "{i} {j}: {found} {expected}");
            }
        }
        let mut orthogonal = vec![0.0, 2.0, 0.0, 0.0, 0.0, -3.0];
        triangularise(&mut orthogonal, 3, &mut [0.0; 2]);
        assert!((orthogonal[0].abs() - 2.0).abs() < 1e-15 && (orthogonal[4].abs() - 3.0).abs() < 1e-15);
        assert!(orthogonal[3].abs() < 1e-15);
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        // Singular to rounding: NaN and zero pivots.
        let mut a = vec![Pack::splat(0.0)];
        a[0].0[1] = f64::NAN;
        a[0].0[2] = f64::INFINITY;
        a[0].0[4] = 2.0;
        let mut b = vec![Pack::splat(1.0)];
        let good = solve(&mut a, &mut b, &mut []);
        assert_eq!(good, [false, false, false, false, true, false, false, false]);
        assert_eq!(b[0].0[4], 0.5);
    }
}
