//! The covariance of a fit's parameters, with what the degrees of freedom of any function of them need.
//!
//! With `g` the derivatives of a quantity with respect to the parameters on their scales, the sandwich of `sandwich` gives
//! its variance as a quadratic form of `g`, and its degrees of freedom `ν = (Σ b_cᵀb_c)²/Σ (b_cᵀb_d)²` as the square of
//! another over a quartic form. The quartic form is kept as a quadratic form of the products `gᵢ·gⱼ`.

use crate::compile::Scale;
use crate::linalg::triangle;

use super::interval::distributions::{normal_quantile, t_quantile};

/// The covariance of parameters on their scales. Matrices are lower triangles by rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParameterCovariance {
    /// The indices of the parameters in the law: those that are neither fixed nor on an edge of their domain.
    pub parameters: Vec<usize>,
    /// The scale of each.
    pub scales: Vec<Scale>,
    /// The covariance matrix.
    pub covariance: Vec<f64>,
    /// The matrix of the quadratic form `Σ b_cᵀb_c`; empty where the degrees of freedom are infinite.
    pub trace: Vec<f64>,
    /// The matrix of the quadratic form `Σ (b_cᵀb_d)²` of the products `gᵢ·gⱼ`, which are in the order of `covariance`.
    pub products: Vec<f64>,
}

/// The standard error of a quantity on its scale, and its degrees of freedom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantityError {
    /// The standard error.
    pub std_error: f64,
    /// The degrees of freedom.
    pub degrees_of_freedom: f64,
}

impl QuantityError {
    /// Returns the half-length of the interval of a confidence, by Student's t.
    #[must_use]
    pub fn half_length(&self, confidence: f64) -> f64 {
        let probability = 0.5 + 0.5 * confidence;
        self.std_error * t_quantile(probability, normal_quantile(probability), self.degrees_of_freedom)
    }
}

impl ParameterCovariance {
    /// Returns the error of a quantity, given its derivatives with respect to the law's parameters in natural units, and
    /// these parameters; none where it depends on no parameter that has a standard error. Parameters on an edge of their
    /// domain count as fixed, as they do for the standard errors of the others.
    #[must_use]
    pub fn error(&self, gradient: &[f64], natural: &[f64]) -> Option<QuantityError> {
        let scaled = |(&i, scale): (&usize, &Scale)| gradient[i] * scale.per_unit(natural[i]);
        let g: Vec<f64> = self.parameters.iter().zip(&self.scales).map(scaled).collect();
        let variance = quadratic_form(&self.covariance, &g);
        let products: Vec<f64> = (0..g.len())
            .flat_map(|i| (0..=i).map(move |j| (i, j)))
            .map(|(i, j)| {
                // The product of two different parameters stands for both orders.
                g[i] * g[j] * if i == j { 1.0 } else { 2.0 }
            })
            .collect();
        let squares = quadratic_form(&self.products, &products);
        let degrees_of_freedom = if self.trace.is_empty() {
            f64::INFINITY
        } else if squares > 0.0 {
            (quadratic_form(&self.trace, &g).powi(2) / squares).max(1.0)
        } else {
            1.0
        };
        let usable = variance > 0.0 && variance.is_finite();
        usable.then(|| QuantityError { std_error: variance.sqrt(), degrees_of_freedom })
    }

    /// Returns the correlation matrix.
    #[must_use]
    pub fn correlation(&self) -> Vec<f64> {
        let entry = |i: usize, j: usize| self.covariance[triangle(i) + j];
        let rows = (0..self.parameters.len()).flat_map(|i| (0..=i).map(move |j| (i, j)));
        rows.map(|(i, j)| if i == j { 1.0 } else { entry(i, j) / (entry(i, i) * entry(j, j)).sqrt() })
            .collect()
    }
}

/// Returns `xᵀ·A·x` for a symmetric matrix (lower triangle by rows).
fn quadratic_form(matrix: &[f64], x: &[f64]) -> f64 {
    let mut total = 0.0;
    for (i, &a) in x.iter().enumerate() {
        let row = matrix.get(triangle(i)..=triangle(i) + i).unwrap_or_default();
        let below: f64 = row.iter().take(i).zip(x).map(|(entry, b)| entry * b).sum();
        total += a * (2.0 * below + row.last().copied().unwrap_or(0.0) * a);
    }
    total
}

/// The contribution of one observation or cluster to the sandwich, for several quantities at once.
#[derive(Debug)]
pub struct UnitForms {
    /// `v_cᵀ·A_c·e_c` of each quantity.
    pub score: Vec<f64>,
    /// `(A_c·v_c)ᵀ·(A_c·v_c)` of each pair of quantities, lower triangle by rows.
    pub norm: Vec<f64>,
    /// `w_c = Q_cᵀ·A_c·v_c` of each quantity.
    pub w: Vec<Vec<f64>>,
}

/// Sums the contributions of all units to the three forms of `k` quantities.
#[derive(Debug)]
pub struct FormSums {
    k: usize,
    pub covariance: Vec<f64>,
    pub trace: Vec<f64>,
    pub products: Vec<f64>,
    /// `Σ w_c·w_cᵀ` of each pair of quantities, symmetric, square by rows.
    cross: Vec<Vec<f64>>,
}

impl FormSums {
    /// Returns sums of nothing for `k` quantities in `m` dimensions.
    #[must_use]
    pub fn new(k: usize, m: usize) -> FormSums {
        let pairs = triangle(k);
        FormSums {
            k,
            covariance: vec![0.0; pairs],
            trace: vec![0.0; pairs],
            products: vec![0.0; triangle(pairs)],
            cross: vec![vec![0.0; m * m]; pairs],
        }
    }

    /// Adds a unit.
    pub fn add(&mut self, unit: &UnitForms) {
        let pairs: Vec<(usize, usize)> = (0..self.k).flat_map(|i| (0..=i).map(move |j| (i, j))).collect();
        let overlap: Vec<f64> = pairs.iter().map(|&(i, j)| dot(&unit.w[i], &unit.w[j])).collect();
        for (p, &(i, j)) in pairs.iter().enumerate() {
            self.covariance[p] += unit.score[i] * unit.score[j];
            self.trace[p] += unit.norm[p] - overlap[p];
            let (a, b) = (&unit.w[i], &unit.w[j]);
            let m = a.len();
            for (c, entry) in self.cross[p].iter_mut().enumerate() {
                *entry += 0.5 * (a[c / m] * b[c % m] + a[c % m] * b[c / m]);
            }
            // norm·(norm − 2·overlap), symmetric in the two pairs.
            for (q, entry) in self.products[triangle(p)..=triangle(p) + p].iter_mut().enumerate() {
                *entry += unit.norm[p] * unit.norm[q] - unit.norm[p] * overlap[q] - overlap[p] * unit.norm[q];
            }
        }
    }

    /// Adds the products between units, once all are added.
    pub fn finish(&mut self) {
        for p in 0..self.cross.len() {
            for q in 0..=p {
                self.products[triangle(p) + q] += dot(&self.cross[p], &self.cross[q]);
            }
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
