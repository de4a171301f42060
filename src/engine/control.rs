//! Progress and cancellation of a run.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use crate::input::ReadLimits;

/// A listener to the progress of a run. Its functions are called from any thread and do nothing by default.
pub trait Progress: Sync {
    /// Called when a stage before fitting begins, with its name.
    fn stage(&self, _name: &str) {}
    /// Called with what a user should know although the run goes on, such as the number of files that are skipped.
    fn note(&self, _message: &str) {}
    /// Called where the rows are fitted as one sweep, with the names of the columns of text that the job does not use: they
    /// may tell sweeps apart.
    fn one_sweep(&self, _columns_of_text: &[String]) {}
    /// Called when fitting begins, with the number of sweeps.
    fn begin(&self, _sweeps: u64) {}
    /// Called when the sweeps of a segment of the input are fitted, with their places in the order of keys.
    fn segment(&self, _sweeps: Range<usize>) {}
    /// Called when a part of the work on some sweeps is done, such as a fit under one of the laws, or replicates of a fit,
    /// with its size in sweeps. The parts of a sweep add up to one by the time when [`Progress::advance`] counts the sweep.
    fn part(&self, _sweeps: f64) {}
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
    /// The memory in bytes within which the run should stay, whatever the size and order of its input; none for no limit. The
    /// results do not depend on it.
    pub memory_bytes: Option<u64>,
}

/// The number of rows of a segment: enough work for many threads, but little memory.
const SEGMENT_ROWS: usize = 1 << 18;

impl Control<'_> {
    /// Returns the sizes to which reading keeps.
    pub(super) fn read_limits(&self) -> ReadLimits {
        ReadLimits { segment_rows: SEGMENT_ROWS, memory_bytes: self.memory_bytes.unwrap_or(u64::MAX) }
    }
}

impl Default for Control<'_> {
    /// Returns a control with a silent listener and a flag that is never set.
    fn default() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Control { progress: &Silent, interrupted: &NEVER, memory_bytes: None }
    }
}

impl std::fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("interrupted", self.interrupted).finish_non_exhaustive()
    }
}

/// The progress of a group of sweeps that are fitted together, in parts.
pub(super) struct GroupProgress<'a> {
    progress: &'a dyn Progress,
    /// The number of sweeps.
    sweeps: u64,
    /// The work of a sweep under all laws, in refits.
    work_of_sweep: f64,
    /// The parts that were reported, in sweeps.
    reported: Mutex<f64>,
}

/// The work of a fit, in refits. Searches from many starts take about as long as this many replicates.
const REFITS_PER_FIT: usize = 100;

impl<'a> GroupProgress<'a> {
    /// Returns the progress of a group whose sweeps are fitted under a number of laws, each with this many replicates.
    pub fn new(progress: &'a dyn Progress, sweeps: usize, (laws, replicates): (usize, usize)) -> Self {
        let work_of_sweep = (laws * (REFITS_PER_FIT + replicates)).max(1) as f64;
        GroupProgress { progress, sweeps: sweeps as u64, work_of_sweep, reported: Mutex::new(0.0) }
    }

    /// Reports a fit without its replicates.
    pub fn fitted(&self) {
        self.refitted(REFITS_PER_FIT);
    }

    /// Reports replicates.
    pub fn refitted(&self, replicates: usize) {
        self.report(replicates as f64 / self.work_of_sweep);
    }

    /// Reports what is left of the sweeps: replicates that were not drawn, laws under which a sweep was rejected.
    pub fn end(&self) {
        self.report(self.sweeps as f64);
        self.progress.advance(self.sweeps);
    }

    /// Reports a part, or what is left of the sweeps if that is less: a group may be fitted again after a panic.
    fn report(&self, part: f64) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let part = part.min(self.sweeps as f64 - *reported);
        if part > 0.0 {
            *reported += part;
            self.progress.part(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The replicates of a single sweep are parts of it, and the parts add up to the sweep whatever was left out.
    #[test]
    fn parts_add_up_to_the_sweeps() {
        #[derive(Default)]
        struct Sum(Mutex<(f64, u64, usize)>);
        impl Progress for Sum {
            fn part(&self, sweeps: f64) {
                let mut sum = self.0.lock().unwrap();
                sum.0 += sweeps;
                sum.2 += 1;
            }
            fn advance(&self, sweeps: u64) {
                self.0.lock().unwrap().1 += sweeps;
            }
        }
        let sum = Sum::default();
        let group = GroupProgress::new(&sum, 1, (1, 900));
        group.fitted();
        (0..8).for_each(|_| group.refitted(100));
        assert!((sum.0.lock().unwrap().0 - 0.9).abs() < 1e-12);
        group.end();
        // A second time, as after a panic.
        group.fitted();
        let (parts, whole, calls) = *sum.0.lock().unwrap();
        assert!((parts - 1.0).abs() < 1e-12);
        assert_eq!((whole, calls), (1, 10));
    }
}
