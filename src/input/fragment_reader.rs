//! Reads a fragment batch by batch and evaluates the definitions and the condition on each batch.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::batch::{Batch, Origin};
use super::column_plan::{Needs, ReadPlan};
use super::source::{BATCH_ROWS, Fragment, RecordBatches, Source};
use crate::error::Error;

/// A fragment that is being read.
pub(in crate::input) struct FragmentReader<'a> {
    fragment: &'a Fragment,
    index: u32,
    batches: RecordBatches<'a>,
    first_row: u64,
    /// The row after the last that is read.
    end: u64,
    /// The ranges of rows that are not read, from the next one on.
    skipped: &'a [Range<u64>],
}

impl<'a> FragmentReader<'a> {
    /// Opens a fragment for reading the columns in `needs`.
    pub(in crate::input) fn open(
        source: &'a dyn Source,
        index: u32,
        needs: &Needs,
    ) -> Result<FragmentReader<'a>, Error> {
        let rows = 0..source.fragments()[index as usize].rows;
        FragmentReader::open_part(source, index, &rows, needs)
    }

    /// Opens a part of a fragment: one of [`Source::parts`], or all rows.
    pub(in crate::input) fn open_part(
        source: &'a dyn Source,
        index: u32,
        part: &Range<u64>,
        needs: &Needs,
    ) -> Result<FragmentReader<'a>, Error> {
        let fragment = &source.fragments()[index as usize];
        let batches = source.read_part(index as usize, part, &needs.decoded)?;
        let (first_row, end) = (part.start, part.end);
        let before = fragment.skipped.partition_point(|rows| rows.end <= first_row);
        let skipped = &fragment.skipped[before..];
        Ok(FragmentReader { fragment, index, batches, first_row, end, skipped })
    }

    /// Returns the fragment that is read.
    pub(in crate::input) fn fragment(&self) -> &'a Fragment {
        self.fragment
    }

    /// Returns the next batch, with the columns and definitions in `needs`; `None` at the end of the fragment.
    pub(in crate::input) fn next(
        &mut self,
        plan: &ReadPlan,
        needs: &Needs,
        interrupted: &AtomicBool,
    ) -> Result<Option<Batch<'a>>, Error> {
        let (Fragment { name, rows, .. }, end) = (self.fragment, self.end);
        let miscounted = |found: &str| Error::Corrupt {
            path: name.clone(),
            reason: format!("it states {rows} rows and has {found}"),
        };
        while let Some(rows) = self.skipped.first().filter(|rows| rows.contains(&self.first_row)) {
            self.first_row = rows.end.min(end);
            self.skipped = &self.skipped[1..];
        }
        let Some(batch) = self.batches.next() else {
            if self.first_row != end {
                return Err(miscounted(&self.first_row.to_string()));
            }
            return Ok(None);
        };
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let batch = batch?;
        if batch.num_rows() > BATCH_ROWS {
            // The row numbers in a batch have 32 bits.
            return Err(Error::Internal {
                context: format!("reading {name}"),
                reason: format!("a batch has {} rows, more than {BATCH_ROWS}", batch.num_rows()),
            });
        }
        let origin = Origin { fragment: self.fragment, index: self.index, first_row: self.first_row };
        self.first_row += batch.num_rows() as u64;
        if self.first_row > end {
            // If no column is decoded, the decoder yields as many rows as a damaged footer states.
            return Err(miscounted("more"));
        }
        Batch::compute(batch, plan, needs, origin).map(Some)
    }
}

/// Returns the error for a fragment that changed after the job began.
pub(in crate::input) fn changed(fragment: &Fragment, what: &str) -> Error {
    Error::Changed { path: fragment.name.clone(), what: what.to_owned() }
}
