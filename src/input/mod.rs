//! Input files become sweeps.
//!
//! [`inspect`] finds the files and reads their footers, so that laws can be bound to columns before any data is
//! read; [`open()`] then reads the key columns of the rows where the condition holds, and knows all sweeps ([`Contents`]);
//! last come the numbers, [`Segment`] by [`Segment`], each in canonical order (a small input, or a single sweep, is read at
//! once). A segment is columnar: one `f64` column for all its sweeps, of which a [`Sweep`] is a slice. [`read()`] takes
//! everything at once.
//!
//! ```text
//! paths ─▶ header ─▶ column_plan ─▶ scan (keys) ─▶ Contents
//!                                   └─▶ segments (numbers, order) ─▶ Segment ─▶ Sweep
//! ```
//!
//! | file | what it holds |
//! | --- | --- |
//! | this one | [`open()`] and [`read()`] |
//! | `request`, `contents` | what is asked of an input; what it holds, but for its rows |
//! | [`paths`] | names, directories and globs become a list of files |
//! | `parquet_file`, `batches` | one Parquet file opened, whatever it may be; read batch by batch. Another format goes here |
//! | `header` | names and types of all files' columns, from their footers |
//! | `column_plan` | the request checked against the header: what must be read and computed |
//! | `batch`, `convert` | a batch of rows as the formula language sees it; Arrow's types |
//! | `keys`, [`types`], [`digest`] | values of key columns: numbered, unified, hashed |
//! | `scan` | which sweep every row belongs to |
//! | `segments`, `order` | consecutive sweeps with their rows, in canonical order |
//! | `error` | what can be wrong |
//!
//! No observation is rejected here (that is `problem::observations`). Nulls and values that are not finite are passed on (see [`crate::sweep`]), and
//! rows are dropped only by the condition, and counted.
//!
//! The same rows give the same data set, bit for bit, however they are ordered and spread over files; only
//! [`Sweep::file`] and [`Sweep::row`] tell the difference. A key that is written with several types has a type
//! that holds them all ([`types`]).

mod batch;
mod batches;
mod column_plan;
mod contents;
pub mod convert;
pub mod digest;
pub mod error;
mod header;
mod keys;
mod order;
mod parquet_file;
pub mod paths;
mod request;
mod scan;
mod segments;
pub mod types;

use std::sync::atomic::AtomicBool;

pub use contents::Contents;
pub use convert::ColumnType;
pub use error::{DatasetError, Phase};
pub use header::{Header, inspect};
pub(crate) use parquet_file::panic_text;
pub use request::{InputFile, Request};
pub use segments::{Segment, Segments};

use crate::sweep::Sweep;

/// All sweeps of the input.
#[derive(Debug)]
pub struct Dataset {
    pub contents: Contents,
    pub rows: Segment,
}

/// Finds out which sweeps the header's files have, as the request says. Their rows come in segments of at least `limit`
/// rows, if sweeps come in the order of their keys (see [`Segments`]).
///
/// Without key columns there is exactly one sweep, which may be empty; with them there is one for every key that
/// occurs in a row that is kept.
///
/// # Errors
/// If the request does not fit the files' columns, a file cannot be read, or `interrupted` becomes true.
/// [`DatasetError::exit_status`] tells the input's faults from the machine's.
pub fn open<'a>(
    header: &'a Header,
    request: &'a Request,
    limit: usize,
    interrupted: &'a AtomicBool,
) -> Result<(Contents, Segments<'a>), DatasetError> {
    let plan = column_plan::plan(header, request)?;
    segments::open(header, request, plan, limit, interrupted)
}

/// Reads the header's files as the request says, all at once: what [`open()`] gives as a single segment.
///
/// # Errors
/// Those of [`open()`].
pub fn read(header: &Header, request: &Request, interrupted: &AtomicBool) -> Result<Dataset, DatasetError> {
    let (contents, mut segments) = open(header, request, usize::MAX, interrupted)?;
    let rows = segments.next().transpose()?.ok_or_else(|| DatasetError::Internal {
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
