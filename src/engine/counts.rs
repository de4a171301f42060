//! The numbers of sweeps, fits and rejections of a run.

use serde::Serialize;

use crate::input::Contents;
use crate::optimize::Status;
use crate::output::{Chunk, RejectedRow};

use super::plan::BoundLaw;

/// The numbers of sweeps, fits and rejections of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Counts {
    /// Sweeps of the input.
    pub sweeps: u64,
    /// Fits: one per sweep and law, without those that had too few observations.
    pub fits: u64,
    /// Fits among them whose results are those of an earlier run, because nothing that they follow from has changed.
    pub reused_fits: u64,
    /// Fits by status, in the order of [`Status::ALL`].
    #[serde(skip)]
    pub by_status: [u64; Status::ALL.len()],
    /// Fits by law, and for each law by status, in the order of [`Status::ALL`].
    #[serde(skip)]
    pub by_law: Vec<[u64; Status::ALL.len()]>,
    /// Rows of the input.
    pub rows_read: u64,
    /// Rows of the input that the condition dropped.
    pub rows_dropped_by_where: u64,
    /// Rows that some law could not use.
    pub rejected_rows: u64,
    /// Sweeps with too few usable observations under some law.
    pub rejected_sweeps: u64,
}

impl Counts {
    /// Returns the counts before any fit.
    #[must_use]
    pub fn new(laws: &[BoundLaw], contents: &Contents) -> Counts {
        Counts {
            sweeps: contents.n_sweeps() as u64,
            fits: 0,
            reused_fits: 0,
            by_status: [0; Status::ALL.len()],
            by_law: vec![[0; Status::ALL.len()]; laws.len()],
            rows_read: contents.rows_read,
            rows_dropped_by_where: contents.rows_dropped,
            rejected_rows: 0,
            rejected_sweeps: 0,
        }
    }

    /// Counts the fits and rejections of a chunk.
    pub fn add(&mut self, chunk: &Chunk) {
        let made = chunk.records.iter().map(|record| (record.law, record.status));
        let reused = chunk.reused.iter().map(|fit| (fit.law, fit.status));
        for (law, status) in made.chain(reused) {
            self.fits += 1;
            if let Some(place) = Status::ALL.iter().position(|known| *known == status) {
                self.by_status[place] += 1;
                self.by_law[law][place] += 1;
            }
        }
        self.reused_fits += chunk.reused.len() as u64;
        let (rows, sweeps): (Vec<_>, Vec<_>) = chunk.rejected.iter().partition(|r| r.place.is_some());
        // A row or sweep that several laws reject counts once; its rejections follow one another.
        let distinct = |rejected: &[&RejectedRow]| {
            rejected.chunk_by(|a, b| (a.sweep, a.place) == (b.sweep, b.place)).count() as u64
        };
        self.rejected_rows += distinct(&rows);
        self.rejected_sweeps += distinct(&sweeps);
    }
}
