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
pub use replicates::{Replicates, replicate};
pub use resample::{Resample, Resampler, generator};

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

/// All that is inferred from one fit.
#[derive(Clone, Debug)]
pub struct Estimates {
    /// In the law's parameter order.
    pub parameters: Vec<Estimate>,
    pub goodness: Goodness,
    pub criteria: Criteria,
    pub replicates: Option<Replicates>,
}

/// Whether a fit's uncertainty may be reported: intervals around a point that is no optimum, or that the
/// data does not determine, would look like knowledge.
pub fn is_trustworthy(fit: &Fit) -> bool {
    matches!(fit.status, Status::Converged | Status::AtBound)
}

/// Whether a positive parameter is known to no better than its own size: an amplitude that runs along with an exponent,
/// the scale of a bend that the data does not reach.
pub fn is_weak(fit: &Fit, estimates: &Estimates) -> bool {
    let coordinates = fit.problem.model.coordinates.iter();
    coordinates.filter(|c| c.scale == Scale::Log).any(|c| {
        let parameter = &estimates.parameters[c.parameter];
        parameter.std_error.is_some_and(|se| se > parameter.estimate.abs())
    })
}

/// Puts standard errors and intervals to a fit and its replicates.
pub fn estimates(law: &Law, fit: &Fit, replicates: Option<Replicates>, options: &Options) -> Estimates {
    let std_errors = if is_trustworthy(fit) {
        covariance::standard_errors(fit, options.absolute_sigma)
    } else {
        vec![None; law.parameters.len()]
    };
    let z = match options.bootstrap {
        0 => interval::normal_quantile(0.5 + 0.5 * options.confidence),
        _ => f64::NAN,
    };
    let parameters = law
        .parameters
        .iter()
        .enumerate()
        .map(|(i, parameter)| {
            let fixed = matches!(parameter.domain, Domain::Fixed(_));
            let estimate = fit.natural[i];
            let (mut bootstrap_std_error, mut interval) = (None, None);
            if !fixed {
                match &replicates {
                    Some(replicates) => {
                        let values = replicates.values(i);
                        bootstrap_std_error = interval::standard_deviation(&values);
                        interval = interval::percentile_interval(values, options.confidence);
                    }
                    None if options.bootstrap == 0 => {
                        interval = std_errors[i].map(|se| (estimate - z * se, estimate + z * se));
                    }
                    None => {}
                }
            }
            Estimate {
                estimate,
                std_error: std_errors[i],
                bootstrap_std_error,
                interval,
                at_bound: fit.at_bound[i],
                fixed,
            }
        })
        .collect();
    Estimates { parameters, goodness: goodness(fit), criteria: criteria(fit), replicates }
}
