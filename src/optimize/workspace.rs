//! The buffers of one worker, reused from fit to fit.

use super::diagnosis::identifiability::Factor;
use super::levenberg_marquardt::lane_queue::LaneQueue;
use super::multistart::{Multistart, SearchWorkspace};
use super::recycled::RecycledBuffers;
use super::starts::StartWorkspace;

/// The buffers that fits need. Each worker has one and passes it by `&mut`.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The buffers of searches.
    pub(in crate::optimize) search: SearchWorkspace,
    /// The searches of the fits that share the SIMD lanes.
    pub(in crate::optimize) multistart: Vec<Multistart>,
    /// The buffers of the rank diagnosis.
    pub(in crate::optimize) factor: Factor,
    /// Buffers recycled between fits.
    pub recycled: RecycledBuffers,
    /// The values of two data expressions.
    pub(in crate::optimize) variables: [Vec<f64>; 2],
}

impl Workspace {
    /// Returns the buffers that starts are generated with.
    pub fn starts(&mut self) -> &mut StartWorkspace {
        &mut self.search.starts
    }

    /// Returns the lanes that searches run in.
    pub fn lanes(&mut self) -> &mut LaneQueue {
        &mut self.search.lanes
    }
}
