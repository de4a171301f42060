//! The Hessian over some coordinates when the others take their best values for them: a Schur complement.
//!
//! `H = JᵀCJ + S` is split into inner and outer coordinates. Computing `H_oo − H_oi·H_ii⁻¹·H_io` from the entries of
//! `H` loses all digits where the inner columns are nearly parallel. Here the columns of `√C·J`, the inner ones first,
//! are factorised together: `[A_i A_o] = Q·[R P; 0 R_o]`. Then the Gauss–Newton part of the complement is `R_oᵀR_o`,
//! without a subtraction, and only what the second derivatives `S` add to it is computed from differences (Golub &
//! Pereyra 1973; Björck 1996, chapter 9).

use crate::linalg::triangle;

use super::Quadratic;
use crate::linalg::{cholesky, cholesky_solve, triangularise};
use crate::problem::Linearization;

/// The ridge added to every inner column, whose norm is one: coordinates that are parallel to rounding stay where they
/// are.
const RIDGE: f64 = 1e-13;

/// The complement over the outer coordinates: square matrices by rows, in the units of the coordinates.
#[derive(Debug, Default)]
pub struct Reduced {
    /// The complement without second derivatives and without rows of negative curvature.
    pub gauss_newton: Vec<f64>,
    /// The complement of the exact Hessian.
    pub hessian: Vec<f64>,
    /// The Gauss–Newton complement of iteratively reweighted least squares, which bounds every loss from above; none
    /// for least squares.
    pub majorant: Option<Vec<f64>>,
    /// The derivatives of the inner coordinates with respect to the outer ones: one row per inner coordinate.
    pub sensitivity: Vec<f64>,
}

impl Reduced {
    /// Returns the complement at a point of a problem; `quadratic` says whether its loss is least squares.
    #[must_use]
    pub fn of(rows: &Linearization, inner: &[usize], outer: &[usize], quadratic: bool) -> Reduced {
        let (k, m) = (inner.len(), outer.len());
        let columns: Vec<usize> = inner.iter().chain(outer).copied().collect();
        let scale: Vec<f64> = columns.iter().map(|&i| rows.scale(i)).collect();
        let gram_entry = |r: &TriangularFactor, a: usize, b: usize| -> f64 {
            let sum: f64 = (0..=a.min(b)).map(|c| r.at(k + c, k + a) * r.at(k + c, k + b)).sum();
            sum * scale[k + a] * scale[k + b]
        };
        let gram =
            |r: &TriangularFactor| (0..m * m).map(|c| gram_entry(r, c / m, c % m)).collect::<Vec<f64>>();
        let majorant = (!quadratic).then(|| {
            let weight = |k: usize| Quadratic::Majorant.curvature(rows, k);
            gram(&TriangularFactor::new(rows, &columns, &scale, k, weight))
        });
        let r = TriangularFactor::new(rows, &columns, &scale, k, |k| Quadratic::Newton.curvature(rows, k));
        let second_order = second_derivatives(rows, &columns, &scale);
        let at = |a: usize, b: usize| second_order[a * (k + m) + b];

        // U = R⁻ᵀ·S_io, T = P + U, M = 1 + R⁻ᵀ·S_ii·R⁻¹.
        let solved = |column: Vec<f64>| r.solve_transposed(column, k);
        let coupling_second: Vec<Vec<f64>> =
            (0..m).map(|b| solved((0..k).map(|a| at(a, k + b)).collect())).collect();
        let projected = |a: usize, b: usize| r.at(a, k + b);
        let mut middle = vec![0.0; k * k];
        for b in 0..k {
            let column = solved((0..k).map(|a| at(a, b)).collect());
            (0..k).for_each(|a| middle[a * k + b] = column[a]);
        }
        for a in 0..k {
            let row = solved(middle[a * k..(a + 1) * k].to_vec());
            middle[a * k..(a + 1) * k].copy_from_slice(&row);
        }
        let inner_second = middle.clone();
        (0..k).for_each(|a| middle[a * k + a] += 1.0);
        let solvable = cholesky(&mut middle, k);
        let coupling: Vec<Vec<f64>> =
            (0..m).map(|b| (0..k).map(|a| projected(a, b) + coupling_second[b][a]).collect()).collect();
        let mut inner_step = coupling.clone();
        if solvable {
            inner_step.iter_mut().for_each(|column| cholesky_solve(&middle, k, column));
        }

        let gauss_newton = gram(&r);
        let mut reduced =
            Reduced { hessian: gauss_newton.clone(), gauss_newton, majorant, sensitivity: vec![0.0; k * m] };
        for a in 0..m {
            for b in 0..m {
                let unit = scale[k + a] * scale[k + b];
                let mut whole = at(k + a, k + b);
                for c in 0..k {
                    let product: f64 = (0..k).map(|d| inner_second[c * k + d] * coupling[b][d]).sum();
                    whole -= projected(c, a) * coupling_second[b][c] + coupling_second[a][c] * coupling[b][c];
                    whole += inner_step[a][c] * product;
                }
                reduced.hessian[a * m + b] += whole * unit;
            }
        }
        for (b, column) in inner_step.into_iter().enumerate() {
            let column = r.solve(column, k);
            (0..k).for_each(|a| reduced.sensitivity[a * m + b] = -column[a] * scale[k + b] / scale[a]);
        }
        reduced
    }
}

/// A triangular factor, stored by columns.
struct TriangularFactor {
    entries: Vec<f64>,
    rows: usize,
}

impl TriangularFactor {
    /// Factorises the scaled columns of `√C·J`, rows of positive `C` only, with a ridge on the first `inner` columns.
    fn new(
        rows: &Linearization,
        columns: &[usize],
        scale: &[f64],
        inner: usize,
        curvature: impl Fn(usize) -> f64,
    ) -> TriangularFactor {
        let n = rows.residual.len();
        let height = n + columns.len();
        let mut entries = vec![0.0; height * columns.len()];
        for (a, (&i, scale)) in columns.iter().zip(scale).enumerate() {
            let column = &mut entries[a * height..(a + 1) * height];
            for k in (0..n).filter(|&k| rows.weight[k] > 0.0 && curvature(k) > 0.0) {
                column[k] = curvature(k).sqrt() * rows.jacobian[k * rows.p + i] / scale;
            }
            if a < inner {
                column[n + a] = RIDGE;
            }
        }
        triangularise(&mut entries, height, &mut vec![0.0; columns.len()]);
        TriangularFactor { entries, rows: height }
    }

    fn at(&self, a: usize, b: usize) -> f64 {
        self.entries[b * self.rows + a]
    }

    /// Returns `R⁻ᵀ·x` over the first `k` columns.
    fn solve_transposed(&self, mut x: Vec<f64>, k: usize) -> Vec<f64> {
        for a in 0..k {
            let known: f64 = (0..a).map(|c| self.at(c, a) * x[c]).sum();
            x[a] = (x[a] - known) / self.at(a, a);
        }
        x
    }

    /// Returns `R⁻¹·x` over the first `k` columns.
    fn solve(&self, mut x: Vec<f64>, k: usize) -> Vec<f64> {
        for a in (0..k).rev() {
            let known: f64 = (a + 1..k).map(|c| self.at(a, c) * x[c]).sum();
            x[a] = (x[a] - known) / self.at(a, a);
        }
        x
    }
}

/// Returns the law's second derivatives and the rows of negative curvature, in scaled coordinates: a square matrix by
/// rows.
fn second_derivatives(rows: &Linearization, columns: &[usize], scale: &[f64]) -> Vec<f64> {
    let m = columns.len();
    let inner_second: Vec<(usize, f64)> =
        rows.curvature.iter().copied().enumerate().filter(|(_, c)| *c < 0.0).collect();
    let mut second_order = vec![0.0; m * m];
    for (a, &i) in columns.iter().enumerate() {
        for (b, &j) in columns.iter().enumerate() {
            let of = |k: usize, i: usize| rows.jacobian[k * rows.p + i];
            let negative: f64 = inner_second.iter().map(|(k, c)| c * of(*k, i) * of(*k, j)).sum();
            let law_second = rows.second_order[triangle(i.max(j)) + i.min(j)];
            second_order[a * m + b] = (law_second + negative) / (scale[a] * scale[b]);
        }
    }
    second_order
}

#[cfg(test)]
mod tests {
    use crate::law::Residual;
    use crate::optimize::Linearization;
    use crate::problem::{LaneData, Loss};
    use crate::testing::{problem, typed_law};

    use super::Reduced;

    /// Where the columns are far from parallel, the result equals the complement computed from the entries of the
    /// Hessian.
    #[test]
    fn the_complement_is_that_of_the_entries() {
        let x: Vec<f64> = (1..=9).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| 2.0 + 3.0 * (-0.4 * x).exp() + 0.1 * (7.0 * x).sin()).collect();
        let law = typed_law("y ~ a + b*exp(-c*x) + d*sin(x + c)", &["x", "y"]);
        for loss in [Loss::L2, Loss::Cauchy { delta: 0.3 }] {
            let (_, problem) = problem(&law, Residual::Linear, loss, &[("y", y.clone()), ("x", x.clone())]);
            let data = LaneData::spread(&problem, &problem.observations.weight);
            let rows = Linearization::at(&problem, &data, &[1.9, 2.5, 0.5, 0.2]);
            let (inner, outer) = ([0, 3], [1, 2]);
            let reduced = Reduced::of(&rows, &inner, &outer, false);
            let h = |i: usize, j: usize| rows.hessian(i, j);
            let determinant = h(0, 0) * h(3, 3) - h(0, 3) * h(0, 3);
            let inverse = [[h(3, 3), -h(0, 3)], [-h(0, 3), h(0, 0)]];
            for (b, &j) in outer.iter().enumerate() {
                let sensitivity: Vec<f64> = (0..2)
                    .map(|a| -(0..2).map(|c| inverse[a][c] * h(inner[c], j)).sum::<f64>() / determinant)
                    .collect();
                for (a, &i) in outer.iter().enumerate() {
                    let expected = h(i, j) + h(i, 0) * sensitivity[0] + h(i, 3) * sensitivity[1];
                    let got = reduced.hessian[a * 2 + b];
                    assert!(
                        (got - expected).abs() < 1e-11 * h(i, i).abs(),
                        "{loss} {i} {j}: {got} {expected}"
                    );
                }
                for a in 0..2 {
                    let got = reduced.sensitivity[a * 2 + b];
                    assert!((got - sensitivity[a]).abs() < 1e-11, "{loss}: {got} {}", sensitivity[a]);
                }
            }
        }
    }
}
