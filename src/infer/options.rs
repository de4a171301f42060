//! What inference is asked for.

use super::resample::Resample;

/// What inference is asked for.
#[derive(Clone, Debug)]
pub struct InferenceOptions {
    /// Number of replicates; 0 for none.
    pub bootstrap: usize,
    /// What is resampled.
    pub resample: Resample,
    /// Of the intervals, between 0 and 1.
    pub confidence: f64,
    /// Every random number follows from it.
    pub seed: u64,
    /// σ is in the response's units, not relative.
    pub absolute_sigma: bool,
}

/// A job's, where it says nothing else.
impl Default for InferenceOptions {
    fn default() -> Self {
        InferenceOptions {
            bootstrap: 1000,
            resample: Resample::Pairs,
            confidence: 0.95,
            seed: 0,
            absolute_sigma: false,
        }
    }
}
