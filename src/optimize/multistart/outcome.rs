//! The result of one search of a multi-start.

use crate::optimize::levenberg_marquardt::Ending;

/// The result of one search.
#[derive(Clone, Copy, Debug)]
pub struct SearchOutcome {
    /// The number of its start.
    pub start: usize,
    pub objective: f64,
    pub iterations: u32,
    pub ending: Ending,
}

impl SearchOutcome {
    /// Returns whether the search ended in an optimum or was abandoned for one.
    pub fn converged(&self) -> bool {
        matches!(self.ending, Ending::Converged | Ending::Drifting | Ending::Abandoned(_))
    }

    /// Returns whether the search ended without reaching an optimum that stays finite.
    pub fn is_unfinished(&self) -> bool {
        matches!(self.ending, Ending::Drifting | Ending::Stalled | Ending::Limit)
    }

    /// Returns whether the search was abandoned for a known optimum.
    pub fn abandoned(&self) -> bool {
        matches!(self.ending, Ending::Abandoned(_))
    }
}
