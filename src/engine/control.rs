//! Progress and cancellation of a run.

use std::sync::atomic::AtomicBool;

/// A listener to the progress of a run. Its functions are called from any thread and do nothing by default.
pub trait Progress: Sync {
    /// Called when a stage before fitting begins, with its name.
    fn stage(&self, _name: &str) {}
    /// Called with what a user should know although the run goes on, such as the number of files that are skipped.
    fn note(&self, _message: &str) {}
    /// Called when fitting begins, with the number of sweeps.
    fn begin(&self, _sweeps: u64) {}
    /// Called when more sweeps are fitted, with their number.
    fn advance(&self, _sweeps: u64) {}
    /// Called when all sweeps are fitted; not called where the run fails.
    fn end(&self) {}
}

/// A listener that does nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}

/// The listener to a run's progress, and the flag that cancels the run.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// The listener.
    pub progress: &'a dyn Progress,
    /// The flag: the run ends with [`Error::Interrupted`](crate::Error::Interrupted) soon after it becomes true.
    pub interrupted: &'a AtomicBool,
}

impl Default for Control<'_> {
    /// Returns a control with a silent listener and a flag that is never set.
    fn default() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Control { progress: &Silent, interrupted: &NEVER }
    }
}

impl std::fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("interrupted", self.interrupted).finish_non_exhaustive()
    }
}
