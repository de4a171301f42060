//! The buffers of one worker, reused from fit to fit.

use std::sync::{Mutex, PoisonError};

use crate::lanes::Pack;

use super::diagnosis::identifiability::Factor;
use super::levenberg_marquardt::lane_queue::LaneQueue;
use super::multistart::{Multistart, SearchWorkspace};
use super::newton::MinimiseWorkspace;
use super::starts::StartWorkspace;

/// The buffers that fits need. Whoever fits has one and passes it by `&mut`.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The buffers of searches.
    pub(in crate::optimize) search: SearchWorkspace,
    /// The searches of the fits that share the SIMD lanes.
    pub(in crate::optimize) multistart: Vec<Multistart>,
    /// The buffers of the reference solver.
    reference: MinimiseWorkspace,
    /// The buffers of the rank diagnosis.
    pub(in crate::optimize) factor: Factor,
    /// The values of two data expressions.
    pub(in crate::optimize) variables: [Vec<f64>; 2],
    /// The buffers of refits.
    pub refits: RefitBuffers,
}

/// The buffers of the refits of several replicates, with what the last use left in them.
///
/// A fresh allocation of their size costs a page fault every 4 KiB, which takes a tenth of the time of short refits.
#[derive(Debug, Default)]
pub struct RefitBuffers {
    /// The positions of the observations that take part, replicate after replicate.
    pub rows: Vec<u32>,
    /// Their weights.
    pub weight: Vec<f64>,
    /// Their responses, where replicates have their own.
    pub target: Vec<f64>,
    /// The sums of the expansion under the replicates' weights.
    pub sums: Vec<Pack>,
}

impl RefitBuffers {
    /// Makes room for `count` replicates, of so many values each.
    pub fn prepare(&mut self, count: usize, n_rows: usize, n_targets: usize, n_sums: usize) {
        fn make_room<T: Clone>(buffer: &mut Vec<T>, length: usize, value: T) {
            buffer.resize(length.max(buffer.len()), value);
        }
        make_room(&mut self.rows, count * n_rows, 0);
        make_room(&mut self.weight, count * n_rows, 0.0);
        make_room(&mut self.target, count * n_targets, 0.0);
        make_room(&mut self.sums, count * n_sums, Pack::ZERO);
    }
}

impl Workspace {
    /// Returns the buffers that starts are generated with.
    pub fn starts(&mut self) -> &mut StartWorkspace {
        &mut self.search.starts
    }

    /// Returns the buffers of the reference solver.
    pub fn reference(&mut self) -> &mut MinimiseWorkspace {
        &mut self.reference
    }

    /// Returns the lanes that searches run in.
    pub fn lanes(&mut self) -> &mut LaneQueue {
        &mut self.search.lanes
    }
}

/// The workspaces of a run, lent to threads while they work.
///
/// rayon may start other work on a thread that waits for its own: each piece of work borrows a workspace, and there are as many
/// as were ever in use at once.
#[derive(Debug, Default)]
pub struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    /// Does some work with a workspace. One that is left by a panic is dropped.
    pub fn lend<R>(&self, work: impl FnOnce(&mut Workspace) -> R) -> R {
        let idle = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = idle().pop().unwrap_or_default();
        let result = work(&mut workspace);
        idle().push(workspace);
        result
    }
}
