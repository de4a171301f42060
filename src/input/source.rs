//! The trait that an input format implements. The crate's `files.rs` chooses the source for the inputs of a job.

use std::collections::HashSet;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::Error;

/// The largest number of rows in a batch: enough that the cost per batch is negligible, and few enough for the cache.
pub const BATCH_ROWS: usize = 8192;

/// The key in a field's metadata that marks a column which cannot be read. Its value is a noun for what is not supported, such
/// as `encryption`. A job that does not use the column is not affected.
pub const UNSUPPORTED: &str = "sweepfit:unsupported";

/// A part of a source that has one schema and is read sequentially: a file, or the batches in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    /// The name in errors and tables; the path of a file.
    pub name: String,
    /// The number of rows, including those that a condition drops.
    pub rows: u64,
    /// The size of a file in bytes.
    pub bytes: Option<u64>,
    /// The version that a store or a table states: the tag of an object's content, or the number of the table's version.
    pub version: Option<String>,
    /// The names and types of the columns. Fragments with equal schemas may share one.
    pub schema: SchemaRef,
    /// The rows that are not read, because the source knows that the condition of the job does not hold in them: ranges in
    /// ascending order. No batch has rows on both sides of a range.
    pub skipped: Vec<Range<u64>>,
}

impl Fragment {
    /// Returns the number of rows that are not read.
    #[must_use]
    pub fn rows_skipped(&self) -> u64 {
        self.skipped.iter().map(|rows| rows.end - rows.start).sum()
    }
}

/// An iterator over the batches of a fragment, in the order of its rows.
pub type RecordBatches<'a> = Box<dyn Iterator<Item = Result<RecordBatch, Error>> + Send + 'a>;

/// A source of rows.
///
/// A source knows the schemas and row counts of its fragments before any row is read. A fragment may be read twice:
/// first the key columns, then the numbers. A source knows nothing of keys, conditions, definitions and the order of
/// rows, which [`open()`](super::open()) applies. Implement this trait to read other formats; [`Memory`](super::Memory)
/// is an example.
pub trait Source: Sync {
    /// Returns the fragments. [`Sweep::file`](crate::sweep::Sweep::file) is an index of this list.
    fn fragments(&self) -> &[Fragment];

    /// Returns the batches of a fragment with the given columns, all of which exist in it. Batches have at most
    /// [`BATCH_ROWS`] rows.
    ///
    /// # Errors
    /// If the fragment cannot be opened, or differs from its description in [`Source::fragments`]. Later errors are
    /// items of the iterator.
    fn read(&self, fragment: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error>;

    /// Returns the parts of a fragment that can be read apart, by several threads: ranges of rows that follow one another and
    /// together are all rows.
    fn parts(&self, fragment: usize) -> Vec<Range<u64>> {
        std::iter::once(0..self.fragments()[fragment].rows).collect()
    }

    /// Returns the batches of a part of a fragment, as [`Source::read`] does for all parts.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    fn read_part(
        &self,
        fragment: usize,
        part: &Range<u64>,
        columns: &HashSet<String>,
    ) -> Result<RecordBatches<'_>, Error> {
        let _ = part;
        self.read(fragment, columns)
    }
}
