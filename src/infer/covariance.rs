//! Asymptotic standard errors, and the intervals made of them.
//!
//! For least squares the covariance is `s²(JᵀWJ)⁻¹` with `s² = RSS/(n − p)`, or `s² = 1` where σ is absolute. For other
//! losses and for clusters see `sandwich`. Both are over the coordinates that are not on a bound, and are carried to a
//! parameter by the delta method. Intervals are made on the parameter's own scale (the logarithm where the solver works
//! in it) and cut at the bounds of its domain.

use faer::Mat;

use crate::compile::Scale;
use crate::lanes::scalar;
use crate::law::Law;
use crate::linalg::orthonormal_basis;
use crate::optimize::{Fit, column_scales, weighted_entry};

use super::interval::{normal_quantile, t_quantile};
use super::options::InferenceOptions;
use super::sandwich::{Sandwich, VarianceEstimate};

/// The uncertainty of a fit, parameter by parameter.
#[derive(Debug)]
pub struct Uncertainty<'a> {
    fit: &'a Fit,
    /// The probability below the upper end of an interval.
    probability: f64,
    /// The normal quantile of that probability.
    z: f64,
    /// The variance of a residual over σ, where the formula of least squares applies.
    residual_variance: Option<f64>,
    /// The sandwich estimate; none where σ is absolute, so that residuals do not matter.
    sandwich: Option<Sandwich<'a>>,
    /// `∂ parameter / ∂ coordinate`, row-major, one row per parameter of the law.
    jacobian: Vec<f64>,
}

/// The margin of error of one quantity.
#[derive(Clone, Copy, Debug)]
pub struct Margin {
    /// The standard error.
    pub std_error: f64,
    /// The half-length of the interval in standard errors.
    pub quantile: f64,
    /// The rise of the objective at the end of the interval, in the quadratic approximation.
    pub rise: f64,
}

impl<'a> Uncertainty<'a> {
    /// Returns the uncertainty of a fit that can be trusted (see `is_trustworthy`).
    pub fn of(fit: &'a Fit, options: &InferenceOptions) -> Uncertainty<'a> {
        let clustered = fit.problem.observations.cluster.is_some();
        let quadratic = fit.problem.loss.is_quadratic() && !clustered;
        let absolute = options.absolute_sigma && quadratic;
        let residual_variance = match degrees_of_freedom(fit) {
            _ if !quadratic => None,
            _ if absolute => Some(1.0),
            left => left.map(|left| 2.0 * fit.objective() / left),
        };
        let jacobian =
            fit.solution.as_ref().map_or_else(Vec::new, |s| fit.problem.natural_jacobian(&s.theta));
        let probability = 0.5 + 0.5 * options.confidence;
        let z = normal_quantile(probability);
        let sandwich = if absolute { None } else { Sandwich::of(fit, z) };
        Uncertainty { fit, probability, z, residual_variance, sandwich, jacobian }
    }

    /// Returns the standard error of a parameter of the law, in natural units; none where it is fixed, on a bound, or
    /// not determined.
    pub fn std_error(&self, parameter: usize) -> Option<f64> {
        let gradient = |i: usize| self.jacobian[parameter * self.fit.problem.p() + i];
        let variance = match self.residual_variance {
            Some(residual) => residual * self.quadratic_form(gradient)?,
            None => self.sandwich.as_ref()?.variance(gradient)?.variance,
        };
        let usable = variance > 0.0 && variance.is_finite() && !self.fit.at_bound[parameter];
        usable.then(|| variance.sqrt())
    }

    /// Returns the margin of error of a quantity whose derivatives with respect to the problem's coordinates are given.
    pub fn margin(&self, gradient: impl Fn(usize) -> f64) -> Option<Margin> {
        if let Some(sandwich) = &self.sandwich {
            let VarianceEstimate { variance, degrees_of_freedom, rise } = sandwich.variance(gradient)?;
            let quantile = t_quantile(self.probability, self.z, degrees_of_freedom);
            return Some(Margin { std_error: variance.sqrt(), quantile, rise: rise * quantile * quantile });
        }
        // With known σ the objective is the negative log-likelihood.
        let variance = self.residual_variance? * self.quadratic_form(gradient)?;
        let quantile = self.z;
        let usable = variance > 0.0 && variance.is_finite();
        usable.then(|| Margin { std_error: variance.sqrt(), quantile, rise: 0.5 * quantile * quantile })
    }

    /// Returns the half-length of a coordinate's interval under residuals of equal variance.
    pub fn approximate_margin(&self, coordinate: usize) -> Option<f64> {
        let left = degrees_of_freedom(self.fit)?;
        let quadratic_form = self.quadratic_form(|i| if i == coordinate { 1.0 } else { 0.0 })?;
        Some(self.z * (2.0 * self.fit.objective() / left * quadratic_form).sqrt())
    }

    /// Returns the interval of a parameter of the law, in natural units and inside its domain; none where it has no
    /// standard error.
    pub fn interval(&self, law: &Law, parameter: usize) -> Option<(f64, f64)> {
        let Fit { problem, natural, at_bound, .. } = self.fit;
        let estimate = natural[parameter];
        let coordinate = problem.model.coordinates.iter().find(|c| c.parameter == parameter)?;
        if at_bound[parameter] {
            return None;
        }
        let per_unit = match coordinate.scale {
            Scale::Log => estimate,
            Scale::Linear => 1.0,
        };
        let margin = self.margin(|i| self.jacobian[parameter * problem.p() + i] / per_unit)?;
        let half_length = margin.quantile * margin.std_error;
        let (low, high) = match coordinate.scale {
            Scale::Log => (estimate * scalar::exp(-half_length), estimate * scalar::exp(half_length)),
            Scale::Linear => (estimate - half_length, estimate + half_length),
        };
        let bounds = law.free_parameters().find(|(i, ..)| *i == parameter).map(|(_, low, high)| (low, high));
        let (least, most) = bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        Some((low.max(least), high.min(most)))
    }

    /// Returns `gᵀ(JᵀWJ)⁻¹g` for a gradient `g`.
    fn quadratic_form(&self, gradient: impl Fn(usize) -> f64) -> Option<f64> {
        let solution = self.fit.solution.as_ref()?;
        let m = solution.free.len();
        let inverse = &self.fit.identification.inverse;
        if inverse.len() != m * m {
            return None;
        }
        let scaled: Vec<f64> = solution.free.iter().map(|&i| gradient(i) / solution.rows.scale(i)).collect();
        let entry = |b: usize| (0..=b).map(|a| inverse[a * m + b] * scaled[a]).sum::<f64>();
        Some((0..m).map(|b| entry(b).powi(2)).sum())
    }
}

/// Returns the number of weighted observations minus the number of free parameters, where positive.
fn degrees_of_freedom(fit: &Fit) -> Option<f64> {
    let n = fit.problem.n_weighted();
    let p = fit.problem.p() + fit.edges.len();
    (n > p).then(|| (n - p) as f64)
}

/// Returns the diagonal of the hat matrix of the weighted Jacobian over the free coordinates, one value per
/// observation; empty where it cannot be computed.
#[must_use]
pub fn leverages(fit: &Fit) -> Vec<f64> {
    let Some(solution) = &fit.solution else { return Vec::new() };
    let rows = &solution.rows;
    let (n, m) = (rows.residual.len(), solution.free.len());
    if m == 0 {
        return vec![0.0; n];
    }
    if n < m || !fit.identification.undetermined.is_empty() {
        return Vec::new();
    }
    let scale = column_scales(rows, &solution.free);
    let scaled = Mat::from_fn(n, m, |i, a| {
        weighted_entry(rows.weight[i], rows.jacobian[i * rows.p + solution.free[a]]) / scale[a]
    });
    let q = orthonormal_basis(scaled);
    (0..n).map(|i| (0..m).map(|a| q[(i, a)] * q[(i, a)]).sum()).collect()
}
