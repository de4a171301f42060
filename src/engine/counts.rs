//! What a run amounts to, in numbers.

use serde::Serialize;

use crate::input::Contents;
use crate::optimize::Status;
use crate::output::Chunk;

use super::plan::BoundLaw;

/// Counts over a run.
#[derive(Clone, Debug, Serialize)]
pub struct Counts {
    /// Sweeps of the input.
    pub sweeps: u64,
    /// Fits made: one per sweep and law that had enough observations.
    pub fits: u64,
    /// In the order of [`Status::ALL`].
    #[serde(skip)]
    pub by_status: [u64; Status::ALL.len()],
    /// Per law, in the order of [`Status::ALL`].
    #[serde(skip)]
    pub by_law: Vec<[u64; Status::ALL.len()]>,
    /// Rows of the input.
    pub rows_read: u64,
    /// Of these the ones that the condition dropped.
    pub rows_dropped_by_where: u64,
    /// Rows that laws could not use, once for each law unless all agree.
    pub rejected_rows: u64,
    /// Sweeps with too few usable observations, counted in the same way.
    pub rejected_sweeps: u64,
}

impl Counts {
    /// Begins to count a run of these laws.
    #[must_use]
    pub fn new(laws: &[BoundLaw], contents: &Contents) -> Counts {
        Counts {
            sweeps: contents.n_sweeps() as u64,
            fits: 0,
            by_status: [0; Status::ALL.len()],
            by_law: vec![[0; Status::ALL.len()]; laws.len()],
            rows_read: contents.rows_read,
            rows_dropped_by_where: contents.rows_dropped,
            rejected_rows: 0,
            rejected_sweeps: 0,
        }
    }

    /// Adds the records of some sweeps.
    pub fn add(&mut self, chunk: &Chunk) {
        self.fits += chunk.records.len() as u64;
        for record in &chunk.records {
            if let Some(place) = Status::ALL.iter().position(|s| *s == record.status) {
                self.by_status[place] += 1;
                self.by_law[record.law][place] += 1;
            }
        }
        let (rows, sweeps): (Vec<_>, Vec<_>) = chunk.rejected.iter().partition(|r| r.place.is_some());
        self.rejected_rows += rows.len() as u64;
        self.rejected_sweeps += sweeps.len() as u64;
    }
}
