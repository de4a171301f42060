//! Least squares with sign constraints from normal equations: eight systems side by side, one per lane.

use crate::lanes::{LANES, Pack};
use crate::linalg::{cholesky, cholesky_solve};

/// The sign that an entry of the solution may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sign {
    Any,
    NonNegative,
    NonPositive,
}

impl Sign {
    /// Returns how far a value is on the wrong side of zero.
    fn excess(self, value: f64) -> f64 {
        match self {
            Sign::Any => 0.0,
            Sign::NonNegative => -value,
            Sign::NonPositive => value,
        }
    }
}

/// Least squares with sign constraints: the column that violates its sign most is dropped, until none does. For starts
/// this serves as well as non-negative least squares (Lawson & Hanson 1974) and is shorter. Holds its buffers.
#[derive(Debug, Default)]
pub struct SignedLeastSquares {
    /// The norms of the columns.
    scale: Vec<Pack>,
    /// The Gram matrix and its Cholesky factor, row-major; the lower triangle is used.
    matrix: Vec<Pack>,
    solution: Vec<Pack>,
    /// Whether a column has not been dropped.
    active: Vec<[bool; LANES]>,
}

impl SignedLeastSquares {
    /// Returns one value per column; `gram` (row ≥ column) and `product` are the two sides of the normal equations.
    pub fn solve(
        &mut self,
        gram: impl Fn(usize, usize) -> Pack,
        product: impl Fn(usize) -> Pack,
        signs: &[Sign],
    ) -> &[Pack] {
        let SignedLeastSquares { scale, matrix, solution, active } = self;
        let m = signs.len();
        scale.clear();
        scale.extend((0..m).map(|i| {
            each(|lane| {
                let norm = gram(i, i).0[lane].sqrt();
                if norm > 0.0 && norm.is_finite() { norm } else { 1.0 }
            })
        }));
        active.clear();
        active.resize(m, [true; LANES]);
        loop {
            // A dropped column is replaced by one of the identity with a right-hand side of zero.
            matrix.clear();
            solution.clear();
            for i in 0..m {
                for j in 0..i {
                    let entry = gram(i, j);
                    matrix.push(each(|lane| {
                        let value = entry.0[lane] / (scale[i].0[lane] * scale[j].0[lane]);
                        if active[i][lane] && active[j][lane] { value } else { 0.0 }
                    }));
                }
                // A small ridge makes nearly collinear columns share their effect instead of cancelling.
                let (entry, right) = (gram(i, i), product(i));
                matrix.push(each(|lane| {
                    let value = entry.0[lane] / (scale[i].0[lane] * scale[i].0[lane]) * (1.0 + 1e-10);
                    if active[i][lane] { value } else { 1.0 }
                }));
                matrix.resize((i + 1) * m, Pack::ZERO);
                solution.push(each(|lane| {
                    let value = right.0[lane] / scale[i].0[lane];
                    if active[i][lane] { value } else { 0.0 }
                }));
            }
            let definite = cholesky(matrix, m);
            cholesky_solve(matrix, m, solution);
            let mut dropped = false;
            for lane in 0..LANES {
                let mut left = (0..m).filter(|&i| active[i][lane]);
                let excess = |i: &usize| signs[*i].excess(solution[*i].0[lane]);
                let worst = if definite[lane] {
                    let worst = left.max_by(|a, b| excess(a).total_cmp(&excess(b)));
                    worst.filter(|i| excess(i) > 0.0)
                } else {
                    left.next_back()
                };
                if let Some(i) = worst {
                    active[i][lane] = false;
                    dropped = true;
                }
            }
            if !dropped {
                break;
            }
        }
        for (i, value) in solution.iter_mut().enumerate() {
            *value = each(|lane| if active[i][lane] { value.0[lane] / scale[i].0[lane] } else { 0.0 });
        }
        solution
    }
}

fn each(value: impl Fn(usize) -> f64) -> Pack {
    Pack(std::array::from_fn(value))
}

#[cfg(test)]
mod tests {
    use crate::lanes::{LANES, Pack};
    use crate::testing::Uniform;

    use super::{Sign, SignedLeastSquares, each};

    /// In every lane the solution has the right signs, and its gradient vanishes in all entries that are not zero.
    #[test]
    fn lanes_hold_signed_solutions_of_their_own_equations() {
        let mut uniform = Uniform(11);
        let mut least_squares = SignedLeastSquares::default();
        let (mut dropped, mut kept) = (0, 0);
        for round in 0..50 {
            let signs = [Sign::NonNegative, Sign::Any, Sign::NonPositive, Sign::NonNegative];
            let signs = &signs[..1 + round % 4];
            let m = signs.len();
            // Columns of ten entries, in units that differ; the last of them repeated in one lane.
            let mut columns = vec![[[0.0; LANES]; 10]; m];
            for (a, column) in columns.iter_mut().enumerate() {
                let unit = 10.0_f64.powi(3 * a as i32);
                column.iter_mut().flatten().for_each(|x| *x = unit * uniform.between(-1.0, 1.0));
            }
            if m > 1 {
                (0..10).for_each(|k| columns[m - 1][k][5] = columns[m - 2][k][5]);
            }
            let right: Vec<[f64; LANES]> =
                (0..10).map(|_| std::array::from_fn(|_| uniform.between(-1.0, 1.0))).collect();
            let dot = |x: &[[f64; LANES]], y: &[[f64; LANES]]| -> Pack {
                each(|lane| x.iter().zip(y).map(|(x, y)| x[lane] * y[lane]).sum())
            };
            let gram = |a: usize, b: usize| dot(&columns[a], &columns[b]);
            let product = |a: usize| dot(&columns[a], &right);
            let solution = least_squares.solve(gram, product, signs).to_vec();
            for lane in 0..LANES {
                for a in 0..m {
                    let value = solution[a].0[lane];
                    match signs[a] {
                        Sign::Any => {}
                        Sign::NonNegative => assert!(value >= 0.0),
                        Sign::NonPositive => assert!(value <= 0.0),
                    }
                    if value == 0.0 {
                        dropped += 1;
                        continue;
                    }
                    kept += 1;
                    let predicted: f64 = (0..m).map(|b| gram(a, b).0[lane] * solution[b].0[lane]).sum();
                    let rest = (product(a).0[lane] - predicted) / gram(a, a).0[lane].sqrt();
                    assert!(rest.abs() < 1e-5, "round {round}, lane {lane}: {rest}");
                }
            }
        }
        assert!(dropped > 100 && kept > 100, "{dropped} {kept}");
    }
}
