//! Rows become sweeps.
//!
//! A [`Source`] tells the names and types of its columns, so that laws can be bound to them before any row is read; [`open()`]
//! then reads the key columns of the rows where the condition holds, and knows all sweeps ([`Contents`]); last come
//! the numbers, [`Segment`] by [`Segment`], each in canonical order (a small input, or a single sweep, is read at once). A
//! segment is columnar: one `f64` column for all its sweeps, of which a [`Sweep`] is a slice. [`read()`] takes
//! everything at once.
//!
//! ```text
//! source ─▶ scope ─▶ column_plan ─▶ scan (keys) ─▶ Contents
//!                                   └─▶ segments (numbers, order) ─▶ Segment ─▶ Sweep
//! ```
//!
//! | file | what it holds |
//! | --- | --- |
//! | this one | [`open()`] and [`read()`] |
//! | `source` | [`Source`]: where rows come from. A new format is one file that implements it, and is told apart in `files.rs` of the crate |
//! | `memory` | record batches, or columns of numbers, as a source |
//! | [`parquet`] | Parquet files as a source |
//! | `scope` | the names that expressions may use, with their types |
//! | `request`, `contents` | what is asked of a source; what it holds, but for its rows |
//! | `column_plan` | the request checked against the schemas: what must be read and computed |
//! | `fragment_reader`, `batch` | a fragment read batch by batch; a batch as the formula language sees it |
//! | `convert` | Arrow's types and the language's |
//! | `keys`, [`types`], [`digest`] | values of key columns: numbered, unified, hashed |
//! | `scan` | which sweep every row belongs to |
//! | `segments`, `order` | consecutive sweeps with their rows, in canonical order |
//! | `guard` | the decoder's panics become errors |
//!
//! Laws, losses and fits are unknown here, and no observation is rejected (that is `problem::observations`): nulls and values
//! that are not finite are passed on (see [`crate::sweep`]), and rows are dropped only by the condition, and counted.
//!
//! The same rows give the same sweeps, bit for bit, however they are ordered and spread over fragments; only
//! [`Sweep::file`] and [`Sweep::row`] tell the difference. A key that is written with several types has a type
//! that holds them all ([`types`]).

mod batch;
mod column_plan;
mod contents;
pub mod convert;
pub mod digest;
mod fragment_reader;
mod guard;
mod keys;
mod memory;
mod order;
pub mod parquet;
mod request;
mod scan;
mod scope;
mod segments;
mod source;
pub mod types;

use std::sync::atomic::AtomicBool;

pub use contents::Contents;
pub use convert::ColumnType;
pub(crate) use guard::panic_text;
pub use guard::silence_guarded_panics;
pub use memory::Memory;
pub use parquet::ParquetFiles;
pub use request::Request;
pub use scope::Scope;
pub use segments::{Segment, Segments};
pub use source::{BATCH_ROWS, Fragment, RecordBatches, Source};

use crate::error::Error;
use crate::sweep::Sweep;

/// All sweeps of the input.
#[derive(Debug)]
pub struct Dataset {
    /// The sweeps' keys and what else is known of the source.
    pub contents: Contents,
    /// All rows.
    pub rows: Segment,
}

/// Finds out which sweeps a source has, as the request says. Their rows come in segments of at least `limit` rows, if sweeps
/// come in the order of their keys (see [`Segments`]).
///
/// Without key columns there is exactly one sweep, which may be empty; with them there is one for every key that
/// occurs in a row that is kept.
///
/// # Errors
/// If the request does not fit the columns, a fragment cannot be read, or `interrupted` becomes true.
pub fn open<'a>(
    source: &'a dyn Source,
    request: &'a Request,
    limit: usize,
    interrupted: &'a AtomicBool,
) -> Result<(Contents, Segments<'a>), Error> {
    let plan = column_plan::plan(source, request)?;
    segments::open(source, request, plan, limit, interrupted)
}

/// Reads a source as the request says, all at once: what [`open()`] gives as a single segment.
///
/// # Errors
/// Those of [`open()`].
pub fn read(source: &dyn Source, request: &Request, interrupted: &AtomicBool) -> Result<Dataset, Error> {
    let (contents, mut segments) = open(source, request, usize::MAX, interrupted)?;
    let rows = segments.next().transpose()?.ok_or_else(|| Error::Internal {
        context: "reading".to_owned(),
        reason: "there is no segment".to_owned(),
    })?;
    Ok(Dataset { contents, rows })
}

impl Dataset {
    /// The sweep at a position in the order of keys.
    ///
    /// # Panics
    /// If `index` is not less than [`Contents::n_sweeps`].
    #[must_use]
    pub fn sweep(&self, index: usize) -> Sweep<'_> {
        self.rows.sweep(&self.contents, index)
    }

    /// Number of sweeps.
    #[must_use]
    pub fn n_sweeps(&self) -> usize {
        self.contents.n_sweeps()
    }
}
