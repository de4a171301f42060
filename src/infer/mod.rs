//! From a fit to numbers that can be trusted: standard errors, replicates, intervals, goodness of fit.
//!
//! | file | its one idea |
//! | --- | --- |
//! | `covariance` | asymptotic standard errors |
//! | `resample` | random numbers and what is resampled |
//! | `compact` | leaving out what was not drawn |
//! | `replicates` | refits on resampled weights |
//! | `interval` | percentiles and normal quantiles |
//! | `goodness` | R², root mean squares |
//! | `likelihood` | information criteria under the loss's own density |

mod compact;
mod covariance;
mod goodness;
mod interval;
mod likelihood;
mod replicates;
mod resample;

pub use covariance::leverages;
pub use goodness::{Goodness, goodness, predictions};
pub use interval::normal_quantile;
pub use likelihood::{Criteria, criteria};
pub use replicates::{Replicates, replicate, replicate_into};
pub use resample::{Resample, Resampler, generator};

use std::cell::RefCell;

use crate::law::{Domain, Law, Scale};
use crate::solve::{Fit, Status};

/// What inference is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of replicates; 0 for none.
    pub bootstrap: usize,
    pub resample: Resample,
    /// Of the intervals, between 0 and 1.
    pub confidence: f64,
    pub seed: u64,
    /// σ is in the response's units, not relative.
    pub absolute_sigma: bool,
}

/// A job's, where it says nothing else.
impl Default for Options {
    fn default() -> Self {
        Options {
            bootstrap: 1000,
            resample: Resample::Pairs,
            confidence: 0.95,
            seed: 0,
            absolute_sigma: false,
        }
    }
}

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

/// Appends the estimates of a fit's parameters, in the law's order, with standard errors and intervals.
pub fn estimate(
    law: &Law,
    fit: &Fit,
    replicates: Option<&Replicates>,
    options: &Options,
    estimates: &mut Vec<Estimate>,
) {
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
    if is_trustworthy(fit) {
        covariance::standard_errors(fit, options.absolute_sigma, |i, error| estimates[i].std_error = error);
    }
    let free = estimates.iter_mut().enumerate().filter(|(_, estimate)| !estimate.fixed);
    if let Some(replicates) = replicates {
        VALUES.with_borrow_mut(|values| {
            for (i, estimate) in free {
                values.clear();
                values.extend(replicates.values(i));
                estimate.bootstrap_std_error = interval::standard_deviation(values);
                estimate.interval = interval::percentile_interval(values, options.confidence);
            }
        });
    } else if options.bootstrap == 0 {
        let z = interval::normal_quantile(0.5 + 0.5 * options.confidence);
        for (_, Estimate { estimate, std_error, interval, .. }) in free {
            *interval = std_error.map(|se| (*estimate - z * se, *estimate + z * se));
        }
    }
}

thread_local! {
    /// A parameter's values over the replicates.
    static VALUES: RefCell<Vec<f64>> = RefCell::default();
}
