//! Which interval methods are tried for a parameter, in order.
//!
//! Simulations of designs of 6 to 240 points decide what `auto` is. Off the edges of the domain, intervals from
//! leverage-corrected sandwich errors with Student's t on the parameter's own scale contain the truth as often as they say
//! and cost no refit. Near an edge the objective is far from quadratic: there the profile is followed to the same rise.
//! Under a loss that is nearly absolute the sandwich needs the density of the residuals at zero, which few observations
//! determine; there replicates decide, corrected for bias and acceleration, or the profile where there are none. With few
//! clusters it is the sandwich over clusters. Replicates also check the sandwich: where they vary much more than it says, as
//! where large residuals sit at points of high leverage under a robust loss, they decide, unless clusters are few.

use super::IntervalMethod;

/// What the choice of a method depends on.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// The method that the user asks for; none for `auto`.
    pub asked: Option<IntervalMethod>,
    /// Whether there are replicates that follow the distribution of the estimate.
    pub has_replicates: bool,
    /// Whether fewer than half of the residuals lie within the loss's threshold.
    pub is_nearly_absolute: bool,
    /// The number of clusters, where observations come in clusters.
    pub n_clusters: Option<usize>,
    /// Whether the replicates vary much more than the asymptotic standard errors say, in a sample large enough to tell.
    pub replicates_disagree: bool,
    /// Whether the interval of the parameter reaches the edge of its domain.
    pub is_near_edge: bool,
}

/// The number of clusters from which their resampling tells what other samples would give; with fewer, the sandwich over
/// clusters covers where replicates do not.
const MANY_CLUSTERS: usize = 20;

impl Circumstances {
    /// Returns whether observations are independent, or there are many clusters.
    fn has_many_units(&self) -> bool {
        self.n_clusters.is_none_or(|n| n >= MANY_CLUSTERS)
    }
}

/// Returns the methods that are tried, in order, until one gives an interval.
#[must_use]
pub fn methods(at: Circumstances) -> &'static [IntervalMethod] {
    use IntervalMethod::{Basic, Bca, Normal, Percentile, Profile, Studentized, T};
    match at.asked {
        Some(Percentile) => &[Percentile],
        Some(Basic) => &[Basic],
        Some(Normal) => &[Normal],
        Some(T) => &[T],
        Some(Studentized) => &[Studentized],
        Some(Bca) => &[Bca],
        Some(Profile) => &[Profile],
        None if at.is_nearly_absolute && at.has_replicates && at.has_many_units() => &[Bca, Percentile],
        None if at.replicates_disagree && at.has_many_units() => &[Percentile, T],
        None if at.is_nearly_absolute && at.n_clusters.is_none() || at.is_near_edge => {
            &[Profile, T, Percentile]
        }
        None => &[T, Percentile],
    }
}
