//! The manifest: what was run, on what, with what outcome. It is written last.

use std::time::Duration;

use serde::Serialize;

use crate::input::Contents;
use crate::optimize::Status;
use crate::output::Batches;

use super::job::Job;
use super::plan::BoundLaw;
use crate::output::Chunk;

/// Counts over a run.
#[derive(Clone, Debug, Serialize)]
pub struct Counts {
    pub sweeps: u64,
    pub fits: u64,
    /// In the order of [`Status::ALL`].
    #[serde(skip)]
    pub by_status: [u64; Status::ALL.len()],
    /// Per law, in the order of [`Status::ALL`].
    #[serde(skip)]
    pub by_law: Vec<[u64; Status::ALL.len()]>,
    pub rows_read: u64,
    pub rows_dropped_by_where: u64,
    pub rejected_rows: u64,
    pub rejected_sweeps: u64,
}

impl Counts {
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

    pub fn add(&mut self, chunk: &Chunk) {
        self.fits += chunk.records.len() as u64;
        for (total, new) in self.by_status.iter_mut().zip(Batches::statuses(chunk)) {
            *total += new;
        }
        for record in &chunk.records {
            if let Some(place) = Status::ALL.iter().position(|s| *s == record.status) {
                self.by_law[record.law][place] += 1;
            }
        }
        let (rows, sweeps): (Vec<_>, Vec<_>) = chunk.rejected.iter().partition(|r| r.place.is_some());
        self.rejected_rows += rows.len() as u64;
        self.rejected_sweeps += sweeps.len() as u64;
    }
}

#[derive(Serialize)]
pub struct Manifest<'a> {
    version: &'static str,
    job: &'a Job,
    inputs: Vec<Input<'a>>,
    counts: &'a Counts,
    fits_by_status: serde_json::Map<String, serde_json::Value>,
    seed: u64,
    threads: usize,
    wall_seconds: f64,
}

#[derive(Serialize)]
struct Input<'a> {
    path: &'a str,
    bytes: u64,
    rows: u64,
}

impl<'a> Manifest<'a> {
    pub fn new(job: &'a Job, contents: &'a Contents, counts: &'a Counts, wall: Duration) -> Self {
        Manifest {
            version: env!("CARGO_PKG_VERSION"),
            job,
            inputs: contents
                .files
                .iter()
                .map(|f| Input { path: &f.path, bytes: f.bytes, rows: f.rows })
                .collect(),
            counts,
            fits_by_status: Status::ALL
                .iter()
                .zip(counts.by_status)
                .map(|(status, count)| (status.name().to_string(), count.into()))
                .collect(),
            seed: job.seed,
            threads: rayon::current_num_threads(),
            wall_seconds: wall.as_secs_f64(),
        }
    }

    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
