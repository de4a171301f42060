//! Inference: standard errors, bootstrap replicates, intervals and goodness of fit, from a finished fit.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | [`estimate`]: the standard errors and the interval of each parameter; here the interval method is chosen |
//! | `options` | the options of inference |
//! | `covariance` | asymptotic standard errors and the intervals made of them |
//! | `sandwich` | standard errors for small sweeps, heteroscedastic residuals and clusters |
//! | `resample` | random numbers and resampling schemes, each of which makes weights and, if it will, responses |
//! | `replicates` | refits under the weights and responses of a scheme |
//! | `interval` | the interval methods by name; percentile intervals; quantiles of the normal and Student's t distribution |
//! | `goodness` | R² and root mean square errors |
//! | `likelihood` | information criteria under the density that belongs to the loss |
//!
//! The folder knows nothing of files, tables or jobs, and changes no estimate.

mod covariance;
mod goodness;
mod interval;
mod likelihood;
mod options;
mod replicates;
mod resample;
mod sandwich;

pub use covariance::leverages;
pub use goodness::{Goodness, goodness, predictions};
#[cfg(feature = "cli")]
pub(crate) use interval::quantile;
pub use interval::{IntervalMethod, normal_quantile};
pub use likelihood::{Criteria, criteria};
pub use replicates::{Replicates, Watch, replicate};
pub use resample::{Resample, Sample, Scheme, UnitResampling, generator};

use crate::compile::Scale;
use crate::law::Domain;
use crate::optimize::{
    Fit, Flag, Models, Reach, Status, Towards, Workspace, may_be_unbounded, unbounded_parameters,
};

pub use options::InferenceOptions;

use covariance::Uncertainty;

/// The estimate of one parameter and its uncertainty, in natural units.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The parameter at the optimum.
    pub estimate: f64,
    /// The asymptotic standard error; none where the parameter is fixed, on a bound, or not determined.
    pub std_error: Option<f64>,
    /// The standard deviation over the replicates.
    pub bootstrap_std_error: Option<f64>,
    /// Lower and upper end of the confidence interval; an end may be infinite.
    pub interval: Option<(f64, f64)>,
    /// How the interval was made; none without one.
    pub method: Option<IntervalMethod>,
    /// Whether the parameter is on an edge of its domain.
    pub at_bound: bool,
    /// Whether the parameter is held at a value.
    pub fixed: bool,
}

/// Returns whether the uncertainty of a fit may be reported: an interval around a point that is no optimum, or that the
/// data does not determine, would be misleading.
#[must_use]
pub fn is_trustworthy(fit: &Fit) -> bool {
    matches!(fit.status, Status::Converged | Status::AtBound)
}

/// Returns whether the standard error of a positive parameter exceeds the parameter, as for an amplitude that is nearly
/// collinear with an exponent, or a scale beyond the range of the data.
#[must_use]
pub fn is_weak(fit: &Fit, estimates: &[Estimate]) -> bool {
    let coordinates = fit.problem.model.coordinates.iter();
    coordinates.filter(|c| c.scale == Scale::Log).any(|c| {
        let parameter = &estimates[c.parameter];
        parameter.std_error.is_some_and(|se| se > parameter.estimate.abs())
    })
}

/// The fraction of good replicates below which a fit is flagged.
const MIN_GOOD: f64 = 0.9;

/// The number of different samples, and of good replicates, below which a fit is flagged.
const MIN_SAMPLES: usize = 10;

/// The fraction of good replicates below which no interval is given.
const MIN_GOOD_FOR_INTERVAL: f64 = 0.5;

/// The number of clusters below which a fit is flagged.
const FEW_CLUSTERS: usize = 5;

/// Appends the estimates of a fit's parameters to `estimates`, in the law's order, with standard errors and intervals.
/// Returns the flags that follow from them.
pub fn estimate(
    models: &Models,
    fit: &Fit,
    replicates: Option<&Replicates>,
    options: &InferenceOptions,
    workspace: &mut Workspace,
    estimates: &mut Vec<Estimate>,
) -> Vec<Flag> {
    let law = models.law();
    let first = estimates.len();
    estimates.extend(law.parameters.iter().enumerate().map(|(i, parameter)| Estimate {
        estimate: fit.natural[i],
        std_error: None,
        bootstrap_std_error: None,
        interval: None,
        method: None,
        at_bound: fit.at_bound[i],
        fixed: matches!(parameter.domain, Domain::Fixed(_) | Domain::Held),
    }));
    let estimates = &mut estimates[first..];
    let mut flags = Vec::new();
    if !is_trustworthy(fit) {
        return flags;
    }
    let uncertainty = Uncertainty::of(fit, options);
    let free = |estimates: &mut [Estimate]| {
        (0..estimates.len()).filter(|&i| !estimates[i].fixed).collect::<Vec<_>>()
    };
    for i in free(estimates) {
        estimates[i].std_error = uncertainty.std_error(i);
    }
    if let Some(replicates) = replicates {
        let good = 1.0 - replicates.n_failed() as f64 / replicates.len().max(1) as f64;
        let n_good = replicates.len() - replicates.n_failed();
        if good < MIN_GOOD || replicates.n_samples < MIN_SAMPLES || n_good < MIN_SAMPLES {
            flags.push(Flag::FewReplicates);
        }
        for i in free(estimates).into_iter().filter(|_| good >= MIN_GOOD_FOR_INTERVAL) {
            let mut values: Vec<f64> = replicates.values(i).collect();
            estimates[i].bootstrap_std_error = interval::standard_deviation(&values);
            estimates[i].interval = interval::percentile_interval(&mut values, options.confidence);
            estimates[i].method = estimates[i].interval.map(|_| IntervalMethod::Percentile);
        }
    } else if options.bootstrap == 0 {
        for i in free(estimates) {
            estimates[i].interval = uncertainty.interval(law, i);
            estimates[i].method = estimates[i].interval.map(|_| IntervalMethod::T);
        }
    }
    let clusters = fit.problem.observations.cluster.as_ref();
    if clusters.is_some_and(|clusters| n_distinct(clusters) < FEW_CLUSTERS) {
        flags.push(Flag::FewClusters);
    }
    let Some(solution) = &fit.solution else { return flags };
    let at = (&fit.problem, solution);
    let reaches: Vec<Reach> = solution
        .free
        .iter()
        .filter(|&&coordinate| {
            may_be_unbounded(models, at, coordinate, uncertainty.approximate_margin(coordinate))
        })
        .filter_map(|&coordinate| {
            let margin = uncertainty.margin(|i| if i == coordinate { 1.0 } else { 0.0 })?;
            Some(Reach { coordinate, distance: margin.quantile * margin.std_error, rise: margin.rise })
        })
        .collect();
    for (i, towards) in unbounded_parameters(models, at, &reaches, workspace.starts()) {
        let Estimate { bootstrap_std_error, interval, .. } = &mut estimates[i];
        let Some((low, high)) = interval else { continue };
        match towards {
            Towards::Infinity => *high = f64::INFINITY,
            Towards::MinusInfinity => *low = f64::NEG_INFINITY,
            Towards::Zero => *low = low.min(0.0),
        }
        if low.is_infinite() || high.is_infinite() {
            *bootstrap_std_error = None;
            flags.push(Flag::UnboundedInterval);
        }
    }
    flags.sort_unstable();
    flags.dedup();
    flags
}

/// Returns the number of distinct values.
fn n_distinct(values: &[u32]) -> usize {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    values.len()
}
