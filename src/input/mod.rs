//! Reads sources of rows and groups the rows into sweeps.
//!
//! Reading has three steps:
//!
//! 1. A [`Source`] returns the names and types of its columns. Laws are bound to the columns before any row is read.
//! 2. [`open()`] reads the key columns of all rows, evaluates the condition, and returns the keys of all sweeps
//!    ([`Contents`]).
//! 3. [`Segments`] reads the numbers of consecutive sweeps, one [`Segment`] at a time, and sorts the rows of each sweep
//!    into canonical order. A segment has one `f64` column for all its sweeps; a [`Sweep`] is a slice of it.
//!
//! Small inputs, and inputs that are a single sweep, are read in one pass. [`read()`] returns all rows as one segment.
//!
//! ```text
//! source ─▶ scope ─▶ column_plan ─▶ scan (keys) ─▶ Contents
//!                                   └─▶ segments (numbers, order) ─▶ Segment ─▶ Sweep
//! ```
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | [`open()`] and [`read()`] |
//! | `source` | [`Source`], the trait that an input format implements |
//! | `memory` | record batches, or columns of numbers, as a source |
//! | `files` | the files of a job, of all formats, as a source |
//! | [`parquet`] | Parquet files as a source |
//! | `delta` | the files of the current version of a Delta table |
//! | `text` | files of CSV and JSON lines |
//! | `objects` | what URLs stand for in object stores; an object as a file |
//! | `found`, `patterns` | the files and tables that inputs stand for; wildcards and braces |
//! | `location` | where an input is, and its bytes at any place |
//! | `nested` | rows that hold a sweep each, in lists, as a source |
//! | `wide` | a wide table as a source: a sweep for each column of responses |
//! | `scope` | the names that expressions may use, with their types |
//! | `request`, `contents` | the columns asked of a source; its keys and counts |
//! | `column_plan` | a request checked against the schemas: the columns to decode and the definitions to evaluate |
//! | `fragment_reader`, `batch` | the batches of a fragment; one batch as columns of the formula language |
//! | `condition` | a condition on the rows of a batch in memory |
//! | `convert` | conversions between Arrow's types and the formula language's |
//! | `keys`, [`types`], [`digest`] | the values of key columns: numbering, common types, hashes |
//! | `scan` | the sweep and the cluster of every row |
//! | `segments`, `order` | consecutive sweeps with their rows; the canonical order of rows |
//! | `row_buffer` | rows that were read and not yet returned |
//! | `passes` | the rows of a range of sweeps, where the rows of the input are in no order |
//! | `limits` | the values and bytes that a file may ask for |
//! | `guard` | conversion of the decoder's panics to errors |
//!
//! The folder knows nothing of laws, losses and fits. It rejects no observation: nulls and values that are not finite
//! are passed on (see [`crate::sweep`]) for `problem::observations` to reject. Only the condition drops rows, and they
//! are counted.
//!
//! Equal rows give equal sweeps, bit for bit, in whatever order and fragments they come; only [`Sweep::file`] and
//! [`Sweep::row`] differ. A key column that has different types in different fragments gets a type that holds the
//! values of all ([`types`]).

mod batch;
mod column_plan;
mod condition;
mod contents;
pub mod convert;
mod delta;
pub mod digest;
mod files;
mod found;
mod fragment_reader;
mod guard;
mod keys;
mod limits;
pub mod location;
mod memory;
mod nested;
mod objects;
mod order;
pub mod parquet;
mod passes;
mod patterns;
mod request;
mod row_buffer;
mod scan;
mod scope;
mod segments;
mod source;
mod text;
pub mod types;
mod wide;

use std::sync::atomic::AtomicBool;

pub use condition::rows_that_meet;
pub use contents::Contents;
pub use convert::ColumnType;
pub use files::InputFiles;
pub use found::Skipped;
pub(crate) use guard::panic_text;
pub use guard::silence_guarded_panics;
pub(crate) use location::device_and_inode;
pub use memory::Memory;
pub use nested::NestedRows;
pub use parquet::partitions::PartitionOptions;
pub use parquet::{ParquetFiles, RESULTS_WRITTEN_BY};
pub use request::{HELD_OUT, KeyColumn, Request};
pub use scope::Scope;
pub use segments::{ReadLimits, Segment, Segments};
pub use source::{BATCH_ROWS, Fragment, RecordBatches, Source, UNSUPPORTED};
pub use wide::{RESPONSE, VALUE, WideTable};

use crate::error::Error;
use crate::sweep::Sweep;

/// All sweeps of an input, with their rows.
#[derive(Debug)]
pub struct Dataset {
    /// The keys of the sweeps and the counts of rows.
    pub contents: Contents,
    /// All rows.
    pub rows: Segment,
}

/// Determines the sweeps of a source, and returns their keys and an iterator over their rows.
///
/// Without key
/// columns there is exactly one sweep, which may be empty. With key columns there is one sweep for every key that
/// occurs in a row where the condition holds.
///
/// # Errors
/// If the request does not fit the columns, a fragment cannot be read, or `interrupted` becomes true.
pub fn open<'a>(
    source: &'a dyn Source,
    request: &'a Request,
    limits: ReadLimits,
    interrupted: &'a AtomicBool,
) -> Result<(Contents, Segments<'a>), Error> {
    let plan = column_plan::plan(source, request)?;
    segments::open(source, request, plan, limits, interrupted)
}

/// Reads all sweeps of a source at once, as a single segment.
///
/// # Errors
/// If [`open()`] or the reading of rows fails.
pub fn read(source: &dyn Source, request: &Request, interrupted: &AtomicBool) -> Result<Dataset, Error> {
    let limits = ReadLimits { segment_rows: usize::MAX, memory_bytes: u64::MAX };
    let (contents, mut segments) = open(source, request, limits, interrupted)?;
    let rows = segments.next().transpose()?.ok_or_else(|| Error::Internal {
        context: "reading".to_owned(),
        reason: "there is no segment".to_owned(),
    })?;
    Ok(Dataset { contents, rows })
}

impl Dataset {
    /// Returns the sweep at a position in the order of keys.
    ///
    /// # Panics
    /// If `index` is not less than [`Contents::n_sweeps`].
    #[must_use]
    pub fn sweep(&self, index: usize) -> Sweep<'_> {
        self.rows.sweep(&self.contents, index)
    }

    /// Returns the number of sweeps.
    #[must_use]
    pub fn n_sweeps(&self) -> usize {
        self.contents.n_sweeps()
    }
}
