//! How the searches of a fit ended.

use crate::optimize::levenberg_marquardt::Ending;

/// How a search ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub start: usize,
    pub objective: f64,
    pub iterations: u32,
    pub ending: Ending,
}

impl Outcome {
    /// It ended in an optimum, or was abandoned on its way to one.
    pub fn converged(&self) -> bool {
        matches!(self.ending, Ending::Converged | Ending::Drifting | Ending::Abandoned(_))
    }

    /// It came to no end.
    pub fn is_unfinished(&self) -> bool {
        matches!(self.ending, Ending::Drifting | Ending::Stalled | Ending::Limit)
    }

    pub fn abandoned(&self) -> bool {
        matches!(self.ending, Ending::Abandoned(_))
    }
}
