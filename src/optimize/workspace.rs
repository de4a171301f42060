//! The buffers of one worker, reused from fit to fit.

use super::diagnosis::identifiability::Factor;
use super::levenberg_marquardt::lane_queue::LaneQueue;
use super::multistart::{Multistart, SearchWorkspace};
use super::recycled::RecycledBuffers;
use super::starts::StartWorkspace;

/// Holds the buffers that fits need; one per worker, passed by `&mut`.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(in crate::optimize) search: SearchWorkspace,
    /// The searches of the fits that share the lanes.
    pub(in crate::optimize) multistart: Vec<Multistart>,
    pub(in crate::optimize) factor: Factor,
    /// What fits that are done with have left.
    pub recycled: RecycledBuffers,
    /// The values of two of a law's variables.
    pub(in crate::optimize) variables: [Vec<f64>; 2],
}

impl Workspace {
    /// The buffers that starts are drawn with.
    pub fn starts(&mut self) -> &mut StartWorkspace {
        &mut self.search.starts
    }

    /// The lanes that searches run in.
    pub fn lanes(&mut self) -> &mut LaneQueue {
        &mut self.search.lanes
    }
}
