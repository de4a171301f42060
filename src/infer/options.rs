//! The options of inference.

use crate::optimize::Tuning;

use super::interval::IntervalMethod;
use super::resample::Resample;

/// The options of inference.
#[derive(Clone, Debug)]
pub struct InferenceOptions {
    /// The number of replicates; 0 for none.
    pub bootstrap: usize,
    /// The resampling scheme.
    pub resample: Resample,
    /// The interval method; none for the one that the circumstances ask for.
    pub interval: Option<IntervalMethod>,
    /// The confidence level of intervals, between 0 and 1.
    pub confidence: f64,
    /// The seed of the random numbers.
    pub seed: u64,
    /// Whether the covariance of the parameters is wanted.
    pub covariance: bool,
    /// Whether σ is absolute, in the units of the response, or only relative.
    pub absolute_sigma: bool,
    /// The constants and devices of the replicates' searches.
    pub tuning: Tuning,
}

/// The defaults of a job.
impl Default for InferenceOptions {
    fn default() -> Self {
        InferenceOptions {
            bootstrap: 1000,
            resample: Resample::Pairs,
            interval: None,
            confidence: 0.95,
            seed: 0,
            covariance: false,
            absolute_sigma: false,
            tuning: Tuning::default(),
        }
    }
}

impl InferenceOptions {
    /// Returns the number of replicates that are asked for.
    #[must_use]
    pub fn n_replicates(&self) -> usize {
        if self.resample == Resample::None { 0 } else { self.bootstrap }
    }
}
