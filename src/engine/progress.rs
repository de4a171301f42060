//! Who is told how far a run is.

/// Told how far a run is; called from any thread.
pub trait Progress: Sync {
    /// What is being done before fitting starts.
    fn stage(&self, _what: &str) {}
    /// Fitting starts; `total` sweeps.
    fn begin(&self, _total: u64) {}
    /// So many more sweeps are done.
    fn advance(&self, _sweeps: u64) {}
    fn end(&self) {}
}

/// Says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}
