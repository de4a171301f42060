//! The estimates of quantities derived from a law's parameters, from the replicates or from the covariance.

use crate::law::Law;

use super::interval::IntervalMethod;
use super::interval::bca::bca_interval;
use super::interval::percentile::{percentile_interval, standard_deviation};
use super::interval::symmetric::symmetric_interval;
use super::parameter_covariance::ParameterCovariance;
use super::quantity::{Quantity, QuantityEstimate};

/// Where the uncertainty of a quantity comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The parameters of the good replicates in natural units, row-major, and those of a jackknife where there is one.
    Replicates {
        /// The replicates.
        rows: &'a [f64],
        /// The refits that leave out one unit each; empty without.
        jackknife: &'a [f64],
    },
    /// The covariance of the parameters.
    Covariance(&'a ParameterCovariance),
    /// Nothing is known, or not to be trusted.
    Nowhere,
}

/// The good replicates of a fit that follow the distribution of its estimate.
#[derive(Clone, Copy, Debug)]
pub struct GoodReplicates<'a> {
    /// Their parameters in natural units, row-major.
    pub rows: &'a [f64],
    /// The number of values in `rows` if all replicates were good.
    pub full_len: usize,
}

/// The fraction of good replicates below which nothing is said of the uncertainty.
pub const MIN_GOOD_FOR_INTERVAL: f64 = 0.5;

impl<'a> Source<'a> {
    /// Returns the source of the uncertainty of a fit that can be trusted: its replicates, if it has any, with the refits of
    /// its jackknife; or else the covariance. Where most replicates failed, nothing is to be trusted.
    #[must_use]
    pub fn of(
        replicates: Option<GoodReplicates<'a>>,
        jackknife: &'a [f64],
        covariance: Option<&'a ParameterCovariance>,
    ) -> Source<'a> {
        match (replicates, covariance) {
            (Some(GoodReplicates { rows, full_len }), _) => {
                let are_enough = rows.len() as f64 >= MIN_GOOD_FOR_INTERVAL * full_len as f64;
                if are_enough { Source::Replicates { rows, jackknife } } else { Source::Nowhere }
            }
            (None, Some(covariance)) => Source::Covariance(covariance),
            (None, None) => Source::Nowhere,
        }
    }
}

/// Returns the estimate of a quantity at a law's parameters in natural units. Of replicates, intervals are percentiles,
/// corrected for bias and acceleration where there is a jackknife; from a covariance they follow by the delta method, with
/// Student's t on the quantity's scale.
#[must_use]
pub fn estimate_quantity(
    quantity: &Quantity,
    law: &Law,
    natural: &[f64],
    source: Source,
    confidence: f64,
) -> QuantityEstimate {
    let estimate = quantity.values(law, natural).first().copied().unwrap_or(f64::NAN);
    let mut found = QuantityEstimate { estimate, std_error: None, interval: None, method: None };
    match source {
        Source::Replicates { rows, jackknife } => {
            let mut values = quantity.values(law, rows);
            values.retain(|value| value.is_finite());
            found.std_error = standard_deviation(&values);
            let jackknife = quantity.values(law, jackknife);
            (found.interval, found.method) =
                replicate_interval(estimate, &mut values, &jackknife, confidence).unzip();
        }
        Source::Covariance(covariance) => {
            let jet = quantity.jet(law, natural);
            if let Some(error) = covariance.error(&jet.gradient, natural) {
                found.std_error = Some(error.std_error * quantity.scale.per_unit(estimate));
                let half_length = error.half_length(confidence);
                found.interval = Some(symmetric_interval(quantity.scale, estimate, half_length, 1.0));
                found.method = Some(IntervalMethod::T);
            }
        }
        Source::Nowhere => {}
    }
    found
}

/// Returns the interval of a quantity from its values in the replicates and in a jackknife, which may be empty, and how it
/// was made. Reorders the values.
#[must_use]
pub fn replicate_interval(
    estimate: f64,
    values: &mut [f64],
    jackknife: &[f64],
    confidence: f64,
) -> Option<((f64, f64), IntervalMethod)> {
    let finite = jackknife.iter().copied().filter(|x| x.is_finite());
    let corrected = || bca_interval(estimate, values, finite, confidence);
    match if jackknife.is_empty() { None } else { corrected() } {
        Some(interval) => Some((interval, IntervalMethod::Bca)),
        None => Some((percentile_interval(values, confidence)?, IntervalMethod::Percentile)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::parse_expression;
    use crate::infer::covariance::Uncertainty;
    use crate::infer::{InferenceOptions, Resample};
    use crate::law::Residual;
    use crate::optimize::{self, Workspace};
    use crate::problem::Loss;
    use crate::testing::{Uniform, catalogue_law, problem};

    /// The interval of a parameter as a quantity is the parameter's own: the forms of the covariance give the same degrees
    /// of freedom as the sandwich itself, with and without clusters.
    #[test]
    fn parameters_are_quantities() {
        let law = catalogue_law("chinchilla");
        let mut uniform = Uniform(11);
        let n = 40;
        let sizes: Vec<f64> = (0..n).map(|_| 1e8 * uniform.between(0.0, 5.0).exp()).collect();
        let tokens: Vec<f64> = (0..n).map(|_| 2e9 * uniform.between(0.0, 6.0).exp()).collect();
        let loss = |i: usize| 1.69 + 406.4 / sizes[i].powf(0.34) + 410.7 / tokens[i].powf(0.28);
        let noisy = (0..n).map(|i| loss(i) * uniform.between(-0.01, 0.01).exp()).collect();
        let columns = [("loss", noisy), ("N", sizes.clone()), ("D", tokens.clone())];
        let mut compared = 0;
        for clusters in [None, Some(8)] {
            let (models, mut problem) = problem(&law, Residual::Log, Loss::L2, &columns);
            if let Some(clusters) = clusters {
                let mut observations = (*problem.observations).clone();
                observations.cluster = Some((0..n as u32).map(|i| i % clusters).collect());
                problem.observations = std::sync::Arc::new(observations);
            }
            let fit =
                optimize::fit(&models, problem, &optimize::FitOptions::default(), &mut Workspace::default());
            let options = InferenceOptions { resample: Resample::None, ..InferenceOptions::default() };
            let uncertainty = Uncertainty::of(&fit, &options);
            let covariance = uncertainty.parameter_covariance().unwrap();
            for (i, parameter) in law.parameters.iter().enumerate() {
                let quantity = Quantity::new("q", parse_expression(&parameter.name).unwrap(), &law);
                let source = Source::Covariance(&covariance);
                let found = estimate_quantity(&quantity, &law, &fit.natural, source, 0.95);
                let margin = uncertainty.parameter_margin(i).unwrap();
                let error =
                    covariance.error(&quantity.jet(&law, &fit.natural).gradient, &fit.natural).unwrap();
                if quantity.scale == uncertainty.scale(i) {
                    let half_length = margin.std_error * margin.quantile;
                    assert!((error.half_length(0.95) / half_length - 1.0).abs() < 1e-9, "{}", parameter.name);
                    compared += 1;
                }
                assert!(found.interval.is_some());
            }
        }
        assert!(compared >= 4, "{compared}");
    }
}
