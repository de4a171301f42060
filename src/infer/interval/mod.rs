//! Confidence intervals, one file per method.
//!
//! | file | method | from |
//! | --- | --- | --- |
//! | `percentile` | percentiles of the replicates | replicates |
//! | `basic` | percentiles of the replicates, reflected at the estimate | replicates |
//! | `symmetric` | a standard error and a quantile: `normal` from the replicates, `t` from the fit | either |
//! | `studentized` | percentiles of the replicates' deviations over their standard errors (bootstrap-t) | replicates |
//! | `bca` | percentiles corrected for bias and acceleration | replicates and a jackknife |
//! | `profile` | the values at which the objective, minimised over the other parameters, has risen by so much | refits |
//! | `distributions` | the normal and Student's t distribution | |
//!
//! All but `percentile`, `bca` and `profile`, which do not depend on it, work on the scale of the quantity: its logarithm
//! where it is positive. Which method a job's `auto` stands for is decided in `choice`.

pub mod basic;
pub mod bca;
pub mod choice;
pub mod distributions;
pub mod percentile;
pub mod profile;
pub mod studentized;
pub mod symmetric;

/// How an interval is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalMethod {
    /// Percentiles of the replicates.
    Percentile,
    /// Percentiles of the replicates, reflected at the estimate (Davison & Hinkley 1997, section 2.4).
    Basic,
    /// The standard deviation of the replicates and the normal quantile.
    Normal,
    /// The asymptotic standard error and the quantile of Student's t.
    T,
    /// Percentiles of the replicates' deviations over their standard errors (Efron 1979, Hall 1988).
    Studentized,
    /// Percentiles corrected for bias and acceleration (Efron 1987).
    Bca,
    /// The values at which the objective, minimised over the other parameters, has risen by so much (Bates & Watts 1988,
    /// section 6.1).
    Profile,
}

impl IntervalMethod {
    /// All methods.
    pub const ALL: [IntervalMethod; 7] = [
        IntervalMethod::Percentile,
        IntervalMethod::Basic,
        IntervalMethod::Normal,
        IntervalMethod::T,
        IntervalMethod::Studentized,
        IntervalMethod::Bca,
        IntervalMethod::Profile,
    ];

    /// Returns the word for the method in the tables (column `ci_method`) and in a job.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            IntervalMethod::Percentile => "percentile",
            IntervalMethod::Basic => "basic",
            IntervalMethod::Normal => "normal",
            IntervalMethod::T => "t",
            IntervalMethod::Studentized => "studentized",
            IntervalMethod::Bca => "bca",
            IntervalMethod::Profile => "profile",
        }
    }

    /// Returns whether the method needs replicates that follow the distribution of the estimate.
    #[must_use]
    pub fn needs_distribution(self) -> bool {
        match self {
            IntervalMethod::Percentile
            | IntervalMethod::Basic
            | IntervalMethod::Studentized
            | IntervalMethod::Bca => true,
            IntervalMethod::Normal | IntervalMethod::T | IntervalMethod::Profile => false,
        }
    }

    /// Returns whether the method needs replicates.
    #[must_use]
    pub fn needs_replicates(self) -> bool {
        self.needs_distribution() || self == IntervalMethod::Normal
    }
}
