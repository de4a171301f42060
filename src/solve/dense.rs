//! Cholesky on the few-by-few matrices of the hot loop.
//!
//! faer is made for larger matrices (a 5×5 factorisation and solve costs it some 400 ns); here the matrix
//! lives in a caller's buffer, row by row, and nothing is allocated.

/// Factorises the symmetric positive definite `a` (n×n, row-major, lower triangle read) into `L·Lᵀ` in
/// place. False where it is not numerically positive definite.
pub fn cholesky(a: &mut [f64], n: usize) -> bool {
    for j in 0..n {
        let mut diagonal = a[j * n + j];
        let original = diagonal;
        for k in 0..j {
            diagonal -= a[j * n + k] * a[j * n + k];
        }
        // Below this the pivot is rounding noise.
        if !(diagonal > original.abs() * 1e-15 && diagonal > 0.0 && diagonal.is_finite()) {
            return false;
        }
        let root = diagonal.sqrt();
        a[j * n + j] = root;
        for i in j + 1..n {
            let mut value = a[i * n + j];
            for k in 0..j {
                value -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = value / root;
        }
    }
    true
}

/// Solves `L·Lᵀ x = b` in place, after [`cholesky`].
pub fn cholesky_solve(l: &[f64], n: usize, b: &mut [f64]) {
    for i in 0..n {
        let mut value = b[i];
        for k in 0..i {
            value -= l[i * n + k] * b[k];
        }
        b[i] = value / l[i * n + i];
    }
    for i in (0..n).rev() {
        let mut value = b[i];
        for k in i + 1..n {
            value -= l[k * n + i] * b[k];
        }
        b[i] = value / l[i * n + i];
    }
}

/// Solves `a·x = b` for symmetric `a` (n×n, row-major, lower triangle read) with its diagonal scaled to one,
/// which keeps the test of positivity meaningful whatever the units. `a` is overwritten, `b` becomes `x`;
/// `scale` is scratch. False where `a` is not numerically positive definite.
pub fn solve_scaled(a: &mut [f64], n: usize, b: &mut [f64], scale: &mut Vec<f64>) -> bool {
    scale.clear();
    for i in 0..n {
        let diagonal = a[i * n + i].abs();
        if !(diagonal > 0.0) {
            return false;
        }
        scale.push(1.0 / diagonal.sqrt());
    }
    for i in 0..n {
        for j in 0..=i {
            a[i * n + j] *= scale[i] * scale[j];
        }
        b[i] *= scale[i];
    }
    if !cholesky(a, n) {
        return false;
    }
    cholesky_solve(a, n, b);
    b.iter_mut().zip(scale).for_each(|(x, s)| *x *= *s);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_a_known_system() {
        // A = [[4,2,2],[2,5,1],[2,1,6]], x = (1,2,3): A·x = (14, 15, 22).
        let mut a = vec![4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 2.0, 1.0, 6.0];
        let mut b = vec![14.0, 15.0, 22.0];
        assert!(solve_scaled(&mut a, 3, &mut b, &mut Vec::new()));
        for (x, expected) in b.iter().zip([1.0, 2.0, 3.0]) {
            assert!((x - expected).abs() < 1e-14);
        }
    }

    #[test]
    fn refuses_what_is_not_positive_definite() {
        assert!(!cholesky(&mut [1.0, 0.0, 2.0, 1.0], 2));
        assert!(!cholesky(&mut [1.0, 0.0, 1.0, 1.0], 2));
        assert!(!cholesky(&mut [f64::NAN], 1));
        assert!(!cholesky(&mut [0.0], 1));
    }
}
