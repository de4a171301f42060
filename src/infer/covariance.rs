//! Asymptotic standard errors, and the intervals made of them.
//!
//! For least squares the covariance is `s²(JᵀWJ)⁻¹` with `s² = RSS/(n − p)`, or `s² = 1` where σ is absolute. For other
//! losses and for clusters see `sandwich`. Both are over the coordinates that are not on a bound, and are carried to a
//! parameter by the delta method. Intervals are made on the parameter's own scale (the logarithm where the solver works
//! in it) and cut at the bounds of its domain.

use crate::compile::Scale;
use crate::law::Law;
use crate::optimize::{Fit, Linearization};

use super::interval::distributions::{normal_quantile, t_quantile};
use super::interval::profile::ProfileTarget;
use super::interval::symmetric::symmetric_interval;
use super::likelihood::scale;
use super::options::InferenceOptions;
use super::parameter_covariance::{FormSums, ParameterCovariance};
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
    /// The margin of error of each parameter of the law on the scale of its interval.
    margins: Vec<Option<Margin>>,
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

impl Margin {
    /// Returns the half-length of the interval.
    pub fn half_length(&self) -> f64 {
        self.std_error * self.quantile
    }
}

/// The half-length of the interval of a logarithm from which the parameter is near the edge 0.
const MAX_LOG_HALF_LENGTH: f64 = 1.0;

/// Returns the domain of a parameter, in natural units.
fn domain(law: &Law, parameter: usize) -> (f64, f64) {
    let bounds = law.free_parameters().find(|(i, ..)| *i == parameter).map(|(_, low, high)| (low, high));
    bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY))
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
        let margins = Vec::new();
        let mut uncertainty =
            Uncertainty { fit, probability, z, residual_variance, sandwich, jacobian, margins };
        uncertainty.margins = (0..fit.natural.len()).map(|i| uncertainty.margin_of(i)).collect();
        uncertainty
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

    /// Returns the standard error of a parameter under residuals of equal variance, on the scale of its interval: what
    /// replicates are studentized by.
    pub fn classical_error(&self, parameter: usize) -> Option<f64> {
        let Fit { problem, natural, at_bound, .. } = self.fit;
        let per_unit = self.scale(parameter).per_unit(natural[parameter]);
        let gradient = |i: usize| self.jacobian[parameter * problem.p() + i] / per_unit;
        let variance = self.residual_spread()? * self.quadratic_form(gradient)?;
        (variance > 0.0 && variance.is_finite() && !at_bound[parameter]).then(|| variance.sqrt())
    }

    /// Returns `Σ w·ρ′²/(n − p)`.
    fn residual_spread(&self) -> Option<f64> {
        let rows = &self.fit.solution.as_ref()?.rows;
        Some(slope_spread(rows, degrees_of_freedom(self.fit)?))
    }

    /// Returns the half-length of a coordinate's interval under residuals of equal variance.
    pub fn approximate_margin(&self, coordinate: usize) -> Option<f64> {
        let left = degrees_of_freedom(self.fit)?;
        let quadratic_form = self.quadratic_form(|i| if i == coordinate { 1.0 } else { 0.0 })?;
        Some(self.z * (2.0 * self.fit.objective() / left * quadratic_form).sqrt())
    }

    /// Returns the scale of a parameter's interval; linear for one that is fixed or on an edge.
    pub fn scale(&self, parameter: usize) -> Scale {
        let coordinate = self.fit.problem.model.coordinates.iter().find(|c| c.parameter == parameter);
        coordinate.map_or(Scale::Linear, |c| c.scale)
    }

    /// Returns the margin of error of a parameter of the law on the scale of its interval; none where it has no standard
    /// error.
    pub fn parameter_margin(&self, parameter: usize) -> Option<Margin> {
        self.margins[parameter]
    }

    /// Computes the margin of error of a parameter.
    fn margin_of(&self, parameter: usize) -> Option<Margin> {
        let Fit { problem, natural, at_bound, .. } = self.fit;
        problem
            .model
            .coordinates
            .iter()
            .find(|c| c.parameter == parameter)
            .filter(|_| !at_bound[parameter])?;
        let per_unit = self.scale(parameter).per_unit(natural[parameter]);
        self.margin(|i| self.jacobian[parameter * problem.p() + i] / per_unit)
    }

    /// Returns the interval of a parameter of the law by Student's t, in natural units and inside its domain; none where it
    /// has no standard error.
    pub fn t_interval(&self, law: &Law, parameter: usize) -> Option<(f64, f64)> {
        let Margin { std_error, quantile, .. } = self.parameter_margin(parameter)?;
        let estimate = self.fit.natural[parameter];
        let (low, high) = symmetric_interval(self.scale(parameter), estimate, std_error, quantile);
        let (least, most) = domain(law, parameter);
        Some((low.max(least), high.min(most)))
    }

    /// Returns whether the interval of a parameter reaches the edge of its domain, or comes near the edge 0 that its
    /// logarithm never reaches: then the objective is far from quadratic over the interval. An amplitude is near 0 where its
    /// term is; its own logarithm is often hardly known beside an exponent, while that of its term in the middle of the data,
    /// which is its coordinate, is.
    pub fn is_near_edge(&self, law: &Law, parameter: usize) -> bool {
        let Some(margin) = self.parameter_margin(parameter) else {
            return self.fit.at_bound[parameter];
        };
        let (least, most) = domain(law, parameter);
        let half_length = margin.half_length();
        match self.scale(parameter) {
            Scale::Log => {
                let coordinates = &self.fit.problem.model.coordinates;
                let of_coordinate = || {
                    let own = coordinates.iter().position(|c| c.parameter == parameter)?;
                    self.margin(|i| if i == own { 1.0 } else { 0.0 })
                };
                half_length > MAX_LOG_HALF_LENGTH
                    && of_coordinate().is_none_or(|margin| margin.half_length() > MAX_LOG_HALF_LENGTH)
            }
            Scale::Linear => {
                let estimate = self.fit.natural[parameter];
                estimate - half_length <= least || estimate + half_length >= most
            }
        }
    }

    /// Returns what is asked of the profile of a parameter.
    pub fn profile_target(&self, law: &Law, parameter: usize) -> Option<ProfileTarget> {
        let domain = domain(law, parameter);
        let scale = self.scale(parameter);
        if let Some(Margin { std_error, quantile, rise }) = self.parameter_margin(parameter) {
            let distance = Some(quantile * std_error);
            let is_clustered = self.fit.problem.observations.cluster.is_some();
            let by_density = self.is_nearly_absolute() && !is_clustered;
            let rise = if by_density { self.likelihood_rise()? } else { rise };
            return Some(ProfileTarget { parameter, scale, distance, rise, domain });
        }
        // On an edge there is no standard error, and residuals are taken to be of equal variance.
        let (variance, degrees) = match &self.sandwich {
            Some(sandwich) => (sandwich.residual_variance, sandwich.residual_degrees),
            None => (self.residual_variance?, f64::INFINITY),
        };
        let quantile = t_quantile(self.probability, self.z, degrees);
        let rise = 0.5 * variance * quantile * quantile;
        Some(ProfileTarget { parameter, scale, distance: None, rise, domain })
    }

    /// Returns the rise of the objective at the ends of an interval by the likelihood ratio, under the density that belongs
    /// to the loss. The scale of the density is corrected for the parameters that were fitted, as for least squares.
    fn likelihood_rise(&self) -> Option<f64> {
        let sandwich = self.sandwich.as_ref()?;
        let weight = &self.fit.problem.observations.weight;
        let n = self.fit.problem.n_weighted() as f64;
        let left = degrees_of_freedom(self.fit)?;
        let tau = scale(self.fit.problem.loss, self.fit.objective(), weight)? * n / left;
        let quantile = t_quantile(self.probability, self.z, sandwich.residual_degrees);
        Some(0.5 * tau * quantile * quantile)
    }

    /// Returns the covariance of the parameters that have a standard error, on the scales of their intervals; none where
    /// nothing is known of it.
    pub fn parameter_covariance(&self) -> Option<ParameterCovariance> {
        let Fit { problem, natural, at_bound, .. } = self.fit;
        let p = problem.p();
        let mut parameters: Vec<usize> = problem.model.coordinates.iter().map(|c| c.parameter).collect();
        parameters.retain(|&i| !at_bound[i]);
        parameters.sort_unstable();
        let scales: Vec<Scale> = parameters.iter().map(|&i| self.scale(i)).collect();
        let gradient = |(&i, scale): (&usize, &Scale)| {
            let unit = scale.per_unit(natural[i]);
            self.jacobian[i * p..(i + 1) * p].iter().map(|slope| slope / unit).collect()
        };
        let gradients: Vec<Vec<f64>> = parameters.iter().zip(&scales).map(gradient).collect();
        if let Some(sandwich) = &self.sandwich {
            let FormSums { covariance, trace, products, .. } = sandwich.forms(&gradients);
            return Some(ParameterCovariance { parameters, scales, covariance, trace, products });
        }
        let residual = self.residual_variance?;
        let directions: Vec<Vec<f64>> =
            gradients.iter().map(|gradient| self.direction(|i| gradient[i])).collect::<Option<_>>()?;
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| residual * x * y).sum::<f64>();
        let rows = (0..parameters.len()).flat_map(|i| (0..=i).map(move |j| (i, j)));
        let covariance = rows.map(|(i, j)| product(&directions[i], &directions[j])).collect();
        Some(ParameterCovariance { parameters, scales, covariance, ..ParameterCovariance::default() })
    }

    /// Returns whether fewer than half of the residuals lie within the loss's threshold.
    pub fn is_nearly_absolute(&self) -> bool {
        self.sandwich.as_ref().is_some_and(|sandwich| sandwich.is_nearly_absolute)
    }

    /// Returns `gᵀ(JᵀWJ)⁻¹g` for a gradient `g`.
    fn quadratic_form(&self, gradient: impl Fn(usize) -> f64) -> Option<f64> {
        Some(self.direction(gradient)?.iter().map(|x| x * x).sum())
    }

    /// Returns `R⁻ᵀg` for a gradient `g`.
    fn direction(&self, gradient: impl Fn(usize) -> f64) -> Option<Vec<f64>> {
        let solution = self.fit.solution.as_ref()?;
        let m = solution.free.len();
        let inverse = &self.fit.identification.inverse;
        if inverse.len() != m * m {
            return None;
        }
        let scaled: Vec<f64> = solution.free.iter().map(|&i| gradient(i) / solution.rows.scale(i)).collect();
        Some((0..m).map(|b| (0..=b).map(|a| inverse[a * m + b] * scaled[a]).sum()).collect())
    }
}

/// Returns `Σ w·ρ′²` over `degrees`: twice the objective over them for least squares.
pub fn slope_spread(rows: &Linearization, degrees: f64) -> f64 {
    let squares = rows.slope.iter().zip(&rows.weight).filter(|(_, weight)| **weight > 0.0);
    squares.map(|(slope, weight)| slope * slope / weight).sum::<f64>() / degrees
}

/// Returns the number of weighted observations minus the number of free parameters, where positive.
fn degrees_of_freedom(fit: &Fit) -> Option<f64> {
    let n = fit.problem.n_weighted();
    let p = fit.problem.p() + fit.edges.len();
    (n > p).then(|| (n - p) as f64)
}
