//! The Cholesky factorisation of one small matrix, or of eight side by side in lanes.

use crate::lanes::{LANES, Pack};

use super::PIVOT;

/// The entries of a matrix: a number, or one number in each lane.
pub trait MatrixEntry: Copy {
    /// Whether something holds: of the number, or of each lane's.
    type Mask: Copy;

    /// The mask that is true everywhere.
    const TRUE: Self::Mask;

    /// Returns `self − y·z`.
    fn minus_product(self, y: Self, z: Self) -> Self;
    /// Returns `self / y`.
    fn quotient(self, y: Self) -> Self;
    /// Returns the square root.
    fn root(self) -> Self;
    /// Narrows `mask` to where `self`, what is left of a diagonal entry, is a numerically positive pivot.
    fn narrow(self, diagonal: Self, mask: Self::Mask) -> Self::Mask;
}

#[inline(always)]
fn is_pivot(left: f64, diagonal: f64) -> bool {
    left > diagonal.abs() * PIVOT && left > 0.0 && left.is_finite()
}

impl MatrixEntry for f64 {
    type Mask = bool;

    const TRUE: bool = true;

    #[inline(always)]
    fn minus_product(self, y: f64, z: f64) -> f64 {
        self - y * z
    }

    #[inline(always)]
    fn quotient(self, y: f64) -> f64 {
        self / y
    }

    #[inline(always)]
    fn root(self) -> f64 {
        self.sqrt()
    }

    #[inline(always)]
    fn narrow(self, diagonal: f64, mask: bool) -> bool {
        mask && is_pivot(self, diagonal)
    }
}

#[inline(always)]
fn each(value: impl Fn(usize) -> f64) -> Pack {
    Pack(std::array::from_fn(value))
}

impl MatrixEntry for Pack {
    type Mask = [bool; LANES];

    const TRUE: [bool; LANES] = [true; LANES];

    #[inline(always)]
    fn minus_product(self, y: Pack, z: Pack) -> Pack {
        each(|lane| self.0[lane] - y.0[lane] * z.0[lane])
    }

    #[inline(always)]
    fn quotient(self, y: Pack) -> Pack {
        each(|lane| self.0[lane] / y.0[lane])
    }

    #[inline(always)]
    fn root(self) -> Pack {
        each(|lane| self.0[lane].sqrt())
    }

    #[inline(always)]
    fn narrow(self, diagonal: Pack, mask: [bool; LANES]) -> [bool; LANES] {
        std::array::from_fn(|lane| mask[lane] && is_pivot(self.0[lane], diagonal.0[lane]))
    }
}

/// Factorises a symmetric matrix (n×n, row-major, lower triangle read) into `L·Lᵀ` in place. Returns where it is numerically
/// positive definite; elsewhere no useful numbers are left.
pub fn cholesky<E: MatrixEntry>(a: &mut [E], n: usize) -> E::Mask {
    let mut definite = E::TRUE;
    for j in 0..n {
        let diagonal = a[j * n + j];
        let mut left = diagonal;
        for k in 0..j {
            left = left.minus_product(a[j * n + k], a[j * n + k]);
        }
        definite = left.narrow(diagonal, definite);
        let root = left.root();
        a[j * n + j] = root;
        for i in j + 1..n {
            let mut value = a[i * n + j];
            for k in 0..j {
                value = value.minus_product(a[i * n + k], a[j * n + k]);
            }
            a[i * n + j] = value.quotient(root);
        }
    }
    definite
}

/// Solves `L·Lᵀ x = b` in place, after [`cholesky`].
pub fn cholesky_solve<E: MatrixEntry>(l: &[E], n: usize, b: &mut [E]) {
    forward_substitute(l, n, b);
    for i in (0..n).rev() {
        let mut value = b[i];
        for k in i + 1..n {
            value = value.minus_product(l[k * n + i], b[k]);
        }
        b[i] = value.quotient(l[i * n + i]);
    }
}

/// Solves `L·x = b` in place, after [`cholesky`].
pub fn forward_substitute<E: MatrixEntry>(l: &[E], n: usize, b: &mut [E]) {
    for i in 0..n {
        let mut value = b[i];
        for k in 0..i {
            value = value.minus_product(l[i * n + k], b[k]);
        }
        b[i] = value.quotient(l[i * n + i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A = [[4,2,2],[2,5,1],[2,1,6]], x = (1,2,3): A·x = (14, 15, 22). A lane with `s·A` has the solution `x/s`.
    #[test]
    fn systems_are_solved_alone_and_in_lanes() {
        let (a, b) = ([4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 2.0, 1.0, 6.0], [14.0, 15.0, 22.0]);
        let (mut l, mut x) = (a, b);
        assert!(cholesky(&mut l, 3));
        cholesky_solve(&l, 3, &mut x);
        let scale = |lane: usize| (1 << lane) as f64;
        let mut lanes = a.map(|entry| each(|lane| entry * scale(lane)));
        // One lane's matrix is not positive definite.
        lanes[8].0[5] = -1.0;
        let mut solutions = b.map(Pack::splat);
        assert_eq!(cholesky(&mut lanes, 3), std::array::from_fn(|lane| lane != 5));
        cholesky_solve(&lanes, 3, &mut solutions);
        for (k, expected) in [1.0, 2.0, 3.0].into_iter().enumerate() {
            assert!((x[k] - expected).abs() < 1e-14);
            for lane in (0..LANES).filter(|&lane| lane != 5) {
                assert!((solutions[k].0[lane] * scale(lane) - expected).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        assert!(!cholesky(&mut [1.0, 0.0, 2.0, 1.0], 2));
        assert!(!cholesky(&mut [1.0, 0.0, 1.0, 1.0], 2));
        assert!(!cholesky(&mut [f64::NAN], 1));
        assert!(!cholesky(&mut [0.0], 1));
        assert!(!cholesky(&mut [f64::INFINITY], 1));
    }
}
