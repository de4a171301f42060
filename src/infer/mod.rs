//! From a fit to numbers that can be trusted: standard errors, replicates, intervals, goodness of fit.
//!
//! | file | its one idea |
//! | --- | --- |
//! | this one | [`estimate`]: which standard errors and which interval a parameter gets |
//! | `options` | what inference is asked for |
//! | `covariance` | asymptotic standard errors, and the intervals made of them |
//! | `sandwich` | standard errors that hold for small sweeps, uneven spread and clusters |
//! | `resample` | random numbers, and schemes: each makes weights, none makes responses yet |
//! | `compact` | leaving out what was not drawn |
//! | `replicates` | refits on resampled weights |
//! | `interval` | percentile intervals of replicates; quantiles of the normal and Student's t |
//! | `goodness` | R², root mean squares |
//! | `likelihood` | information criteria under the loss's own density |

mod compact;
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
pub use interval::normal_quantile;
pub use likelihood::{Criteria, criteria};
pub use replicates::{Replicates, replicate, replicate_into};
pub use resample::{Resample, Resampler, generator};

use std::cell::RefCell;

use crate::compile::Scale;
use crate::law::Domain;
use crate::optimize::{
    Fit, Flag, Models, Reach, Status, Towards, Workspace, may_be_unbounded, unbounded_parameters,
};

pub use options::InferenceOptions;

use covariance::Uncertainty;

/// One parameter's estimate and its uncertainty, natural units.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    pub estimate: f64,
    pub std_error: Option<f64>,
    pub bootstrap_std_error: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub at_bound: bool,
    pub fixed: bool,
}

/// Whether a fit's uncertainty may be reported: intervals around a point that is no optimum, or that the
/// data does not determine, would look like knowledge.
pub fn is_trustworthy(fit: &Fit) -> bool {
    matches!(fit.status, Status::Converged | Status::AtBound)
}

/// Whether a positive parameter is known to no better than its own size: an amplitude that runs along with an exponent,
/// the scale of a bend that the data does not reach.
pub fn is_weak(fit: &Fit, estimates: &[Estimate]) -> bool {
    let coordinates = fit.problem.model.coordinates.iter();
    coordinates.filter(|c| c.scale == Scale::Log).any(|c| {
        let parameter = &estimates[c.parameter];
        parameter.std_error.is_some_and(|se| se > parameter.estimate.abs())
    })
}

/// Replicates, or draws that differ, of which there must be so many; below the last no interval is given.
const GOOD: f64 = 0.9;
const FEWEST_SAMPLES: usize = 10;
const ENOUGH: f64 = 0.5;

/// Fewer clusters than this hardly tell how far anything is known.
const MANY_CLUSTERS: usize = 5;

/// Appends the estimates of a fit's parameters, in the law's order, with standard errors and intervals; gives what there is
/// to remark on them.
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
        at_bound: fit.at_bound[i],
        fixed: matches!(parameter.domain, Domain::Fixed(_)),
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
        if good < GOOD || replicates.n_samples < FEWEST_SAMPLES {
            flags.push(Flag::FewReplicates);
        }
        for i in free(estimates).into_iter().filter(|_| good >= ENOUGH) {
            VALUES.with_borrow_mut(|values| {
                values.clear();
                values.extend(replicates.values(i));
                estimates[i].bootstrap_std_error = interval::standard_deviation(values);
                estimates[i].interval = interval::percentile_interval(values, options.confidence);
            });
        }
    } else if options.bootstrap == 0 {
        for i in free(estimates) {
            estimates[i].interval = uncertainty.interval(law, i);
        }
    }
    let clusters = fit.problem.observations.cluster.as_ref();
    if clusters.is_some_and(|clusters| n_distinct(clusters) < MANY_CLUSTERS) {
        flags.push(Flag::FewClusters);
    }
    let Some(solution) = &fit.solution else { return flags };
    let at = (&fit.problem, solution);
    let reaches: Vec<Reach> = solution
        .free
        .iter()
        .filter(|&&coordinate| may_be_unbounded(models, at, coordinate, uncertainty.roughly(coordinate)))
        .filter_map(|&coordinate| {
            let known = uncertainty.known(|i| if i == coordinate { 1.0 } else { 0.0 })?;
            Some(Reach { coordinate, distance: known.quantile * known.std_error, rise: known.rise })
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

fn n_distinct(values: &[u32]) -> usize {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    values.len()
}

thread_local! {
    /// A parameter's values over the replicates.
    static VALUES: RefCell<Vec<f64>> = RefCell::default();
}
