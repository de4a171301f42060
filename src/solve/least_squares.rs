//! Least squares from normal equations, for starts.

use super::dense::{cholesky, cholesky_solve};

/// What sign a solution's entry may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sign {
    Any,
    NonNegative,
    NonPositive,
}

/// Least squares with signs from normal equations: columns of the wrong sign are dropped, worst first, until none
/// is left. (For starts this serves as well as the full non-negative algorithm and is shorter.) Holds its buffers.
#[derive(Debug, Default)]
pub struct SignedLeastSquares {
    scale: Vec<f64>,
    products: Vec<f64>,
    active: Vec<usize>,
    matrix: Vec<f64>,
    b: Vec<f64>,
    solution: Vec<f64>,
}

impl SignedLeastSquares {
    pub fn solve(
        &mut self,
        columns: &[usize],
        gram: impl Fn(usize, usize) -> f64,
        product: impl Fn(usize) -> f64,
        signs: &[Sign],
    ) -> &[f64] {
        let SignedLeastSquares { scale, products, active, matrix, b, solution } = self;
        scale.clear();
        scale.extend(columns.iter().map(|&c| {
            let norm = gram(c, c).sqrt();
            if norm > 0.0 && norm.is_finite() { norm } else { 1.0 }
        }));
        products.clear();
        products.extend(columns.iter().zip(scale.iter()).map(|(&c, s)| product(c) / s));
        active.clear();
        active.extend(0..columns.len());
        solution.clear();
        solution.resize(columns.len(), 0.0);
        while !active.is_empty() {
            let m = active.len();
            matrix.resize(m * m, 0.0);
            b.resize(m, 0.0);
            for (r, &i) in active.iter().enumerate() {
                for (c, &j) in active[..=r].iter().enumerate() {
                    matrix[r * m + c] = gram(columns[i], columns[j]) / (scale[i] * scale[j]);
                }
                // A trace of ridge: nearly collinear columns share their load instead of cancelling.
                matrix[r * m + r] *= 1.0 + 1e-10;
                b[r] = products[i];
            }
            if !cholesky(matrix, m) {
                active.pop();
                continue;
            }
            cholesky_solve(matrix, m, b);
            let wrong = |r: usize| match signs[active[r]] {
                Sign::Any => 0.0,
                Sign::NonNegative => -b[r],
                Sign::NonPositive => b[r],
            };
            let worst = (0..m).max_by(|&x, &y| wrong(x).total_cmp(&wrong(y)));
            match worst {
                Some(r) if wrong(r) > 0.0 => {
                    active.remove(r);
                }
                _ => {
                    for (&i, value) in active.iter().zip(b.iter()) {
                        solution[i] = value / scale[i];
                    }
                    break;
                }
            }
        }
        solution
    }
}
