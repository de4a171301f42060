//! Where rows come from: the trait that a new input format implements. Which source the inputs of a job become is decided in
//! `files.rs` of the crate.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::Error;

/// Rows per batch: enough to make the work per batch small beside that per row, and to stay in the cache.
pub const BATCH_ROWS: usize = 8192;

/// A piece of a source that is read from front to back and has one schema: a file, or batches in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    /// What errors and tables call it: a file's path.
    pub name: String,
    /// Rows, before any condition.
    pub rows: u64,
    /// Size in bytes, where it is a file.
    pub bytes: Option<u64>,
    /// Names and types of its columns. Fragments that agree may share one schema.
    pub schema: SchemaRef,
}

/// Batches of a fragment, in the order of its rows.
pub type RecordBatches<'a> = Box<dyn Iterator<Item = Result<RecordBatch, Error>> + Send + 'a>;

/// Where rows come from.
///
/// A source tells its fragments before any row is read, and reads each of them when asked, perhaps twice: first the columns
/// that say which sweep a row belongs to, then the numbers. What rows mean (keys, conditions, definitions, order)
/// is not its affair; see [`open()`](super::open()).
pub trait Source: Sync {
    /// Returns the fragments, in the order of the numbers in [`Sweep::file`](crate::sweep::Sweep::file).
    fn fragments(&self) -> &[Fragment];

    /// Begins to read some of a fragment's columns, of which all exist. Batches have at most [`BATCH_ROWS`] rows.
    ///
    /// # Errors
    /// If the fragment cannot be opened or is not what [`Source::fragments`] said. Later faults are items of the
    /// iterator.
    fn read(&self, fragment: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error>;
}
