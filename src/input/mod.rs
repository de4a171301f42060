//! Input files become sweeps.
//!
//! [`inspect`] finds the files and reads their footers, so that laws can be bound to columns before any data is
//! read; [`open()`] then reads the key columns of the rows where the condition holds, and knows all sweeps ([`Contents`]);
//! last come the numbers, [`Segment`] by [`Segment`], each in canonical order (a small input, or a single sweep, is read at
//! once). A segment is columnar: one `f64` column for all its sweeps, of which a [`Sweep`] is a slice. [`read()`] takes
//! everything at once.
//!
//! ```text
//! inputs ─▶ header ─▶ plan ─▶ scan (keys) ─▶ Contents
//!                               └─▶ segments (numbers, order) ─▶ Segment ─▶ Sweep
//! ```
//!
//! No observation is rejected here. Nulls and values that are not finite are passed on (see [`crate::sweep`]), and
//! rows are dropped only by the condition, and counted.
//!
//! The same rows give the same data set, bit for bit, however they are ordered and spread over files; only
//! [`Sweep::file`] and [`Sweep::row`] tell the difference. A key that is written with several types has a type
//! that holds them all ([`types`]).

mod batch;
mod column_plan;
pub mod convert;
pub mod digest;
pub mod error;
mod header;
pub mod inputs;
mod keys;
mod open;
mod order;
mod read;
mod scan;
mod segments;
pub mod types;

use std::sync::atomic::AtomicBool;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;

pub use convert::ColumnType;
pub use error::{DatasetError, Phase};
pub use header::{Header, inspect};
pub(crate) use open::panic_text;
pub use segments::{Segment, Segments};

use crate::formula::Expr;
use crate::sweep::Sweep;
use column_plan::{Key, Plan};
use keys::present;
use scan::Scanned;

/// What to read, and how rows become sweeps.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Files, directories and globs, as given to [`inspect`].
    pub inputs: Vec<String>,
    /// Columns of any type that identify a sweep; without any the whole input is one. A name that the input does
    /// not have may be a definition's.
    pub by: Vec<String>,
    /// Definitions, in order; each may use those before it and may take a column's name.
    pub lets: Vec<(String, Expr)>,
    /// Rows are kept where this is true, neither false nor null. It may use definitions.
    pub condition: Option<Expr>,
    /// Columns or definitions wanted as numbers.
    pub columns: Vec<String>,
    /// A column of any type, or a definition, whose values are clusters.
    pub cluster: Option<String>,
    /// The names of `columns`, in the order in which they sort a sweep's rows. Names left out come after them.
    pub order: Vec<String>,
}

/// An input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// As it was found: below the directory, or as the glob gives it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows, before any condition.
    pub rows: u64,
}

/// What the input holds, but for its rows.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The files, in the order of the numbers in [`Sweep::file`].
    pub files: Vec<InputFile>,
    /// The key columns, one row per sweep, ascending, nulls first, in the input's types.
    pub keys: Vec<ArrayRef>,
    /// Names and types of `keys`; all nullable.
    pub key_fields: Vec<Field>,
    /// Rows in the files.
    pub rows_read: u64,
    /// Of these the ones that the condition dropped.
    pub rows_dropped: u64,
    /// Of each sweep's key.
    digests: Vec<[u8; 32]>,
}

impl Contents {
    fn of(header: &Header, plan: &Plan, scanned: &Scanned) -> Result<Contents, ArrowError> {
        let shown = |(values, key): (&ArrayRef, &Key)| present(values, key.field.data_type());
        let keys: Vec<ArrayRef> = scanned.keys.iter().zip(&plan.by).map(shown).collect();
        let typed =
            |(values, key): (&ArrayRef, &Key)| key.field.clone().with_data_type(values.data_type().clone());
        Ok(Contents {
            files: header.files(),
            key_fields: keys.iter().zip(&plan.by).map(typed).collect(),
            keys,
            rows_read: scanned.read,
            rows_dropped: scanned.dropped,
            digests: digest::digests(&scanned.keys, scanned.sweeps)?,
        })
    }

    /// Number of sweeps.
    #[must_use]
    pub fn n_sweeps(&self) -> usize {
        self.digests.len()
    }
}

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
