//! How a caller follows a run, and ends it early.

use std::sync::atomic::AtomicBool;

/// Is told how far a run is; called from any thread.
pub trait Progress: Sync {
    /// Something begins that comes before fitting.
    fn stage(&self, _what: &str) {}
    /// Fitting begins, of so many sweeps.
    fn begin(&self, _sweeps: u64) {}
    /// So many more sweeps are done.
    fn advance(&self, _sweeps: u64) {}
    /// All sweeps are done.
    fn end(&self) {}
}

/// Says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}

/// What a caller follows a run by, and may end it with.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Is told how far the run is.
    pub progress: &'a dyn Progress,
    /// Ends the run, soon after it becomes true, with [`Error::Interrupted`](crate::Error::Interrupted).
    pub interrupted: &'a AtomicBool,
}

impl Default for Control<'_> {
    /// Nobody is told, and nothing interrupts.
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
