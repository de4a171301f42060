//! Input files become sweeps.
//!
//! [`inspect`] finds the files and reads their footers, so that laws can be bound to columns before any data is
//! read; [`read()`] then reads the columns that are used, keeps the rows where the condition holds, groups them by
//! the key columns and puts them into canonical order. The result is columnar: one `f64` column for all sweeps,
//! of which a [`Sweep`] is a slice.
//!
//! ```text
//! inputs ─▶ header ─▶ plan ─▶ read (open, batch, convert, keys) ─▶ order ─▶ Dataset ─▶ Sweep
//! ```
//!
//! No observation is rejected here. Nulls and values that are not finite are passed on (see [`crate::sweep`]), and
//! rows are dropped only by the condition, and counted.
//!
//! The same rows give the same data set, bit for bit, however they are ordered and spread over files; only
//! [`Sweep::file`] and [`Sweep::row`] tell the difference. A key that is written with several types has a type
//! that holds them all ([`types`]).

mod batch;
pub mod convert;
pub mod digest;
pub mod error;
mod header;
pub mod inputs;
mod keys;
mod open;
mod order;
mod plan;
mod read;
pub mod types;

use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

pub use error::{DatasetError, Phase};
pub use header::{Header, Kind, inspect};

use crate::formula::Expr;
use crate::sweep::Sweep;
use keys::{Ranked, present};
use order::{Kept, arrange};

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

/// All sweeps of the input.
#[derive(Debug)]
pub struct Dataset {
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
    names: Vec<String>,
    rows: Kept,
    /// For each sweep its first row; one entry more at the end.
    starts: Vec<usize>,
    digests: Vec<[u8; 32]>,
}

/// Reads the header's files as the request says.
///
/// Without key columns there is exactly one sweep, which may be empty; with them there is one for every key that
/// occurs in a row that is kept.
///
/// # Errors
/// If the request does not fit the files' columns, a file cannot be read, or `interrupted` becomes true.
/// [`DatasetError::exit_status`] tells the input's faults from the machine's.
pub fn read(header: &Header, request: &Request, interrupted: &AtomicBool) -> Result<Dataset, DatasetError> {
    let plan = plan::plan(header, request)?;
    let rows = read::read_all(header, request, &plan, interrupted)?;
    let check = || match interrupted.load(Ordering::Relaxed) {
        true => Err(DatasetError::Interrupted),
        false => Ok(()),
    };
    check()?;

    let internal = |e: arrow::error::ArrowError| DatasetError::Internal {
        context: "sorting keys".to_owned(),
        reason: e.to_string(),
    };
    let (keys, group) = ranked(rows.group).map_err(internal)?;
    let (_, cluster) = ranked(rows.cluster).map_err(internal)?;
    let sweeps = keys.first().map_or(usize::from(plan.by.is_empty()), |k| k.len());
    let digests = digest::digests(&keys, sweeps).map_err(internal)?;
    let keys: Vec<ArrayRef> =
        keys.iter().zip(&plan.by).map(|(values, key)| present(values, key.field.data_type())).collect();
    let key_fields = keys
        .iter()
        .zip(&plan.by)
        .map(|(values, key)| key.field.clone().with_data_type(values.data_type().clone()))
        .collect();

    let mut kept = Kept { columns: rows.columns, cluster, file: rows.file, row: rows.row };
    let starts = arrange(&mut kept, group, sweeps, &plan.order);
    check()?;
    Ok(Dataset {
        files: header.files(),
        keys,
        key_fields,
        rows_read: rows.read,
        rows_dropped: rows.dropped,
        names: request.columns.clone(),
        rows: kept,
        starts,
        digests,
    })
}

/// Replaces the numbers that keys were given by their ranks; also the distinct keys, sorted.
#[allow(clippy::type_complexity)] // Named, the pair would hide what it holds.
fn ranked(
    numbered: Option<(keys::Interner, Vec<u32>)>,
) -> Result<(Vec<ArrayRef>, Option<Vec<u32>>), arrow::error::ArrowError> {
    let Some((interner, mut numbers)) = numbered else {
        return Ok((Vec::new(), None));
    };
    let Ranked { rank, columns } = interner.finish()?;
    for number in &mut numbers {
        *number = rank[*number as usize];
    }
    Ok((columns, Some(numbers)))
}

impl Dataset {
    /// Number of sweeps.
    #[must_use]
    pub fn n_sweeps(&self) -> usize {
        self.digests.len()
    }

    /// Number of rows kept, over all sweeps.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.rows.row.len()
    }

    /// Rows of the sweep at a position in the order of keys.
    ///
    /// # Panics
    /// If `index` is not less than [`Dataset::n_sweeps`].
    #[must_use]
    pub fn sweep_len(&self, index: usize) -> usize {
        self.starts[index + 1] - self.starts[index]
    }

    /// The sweep at a position in the order of keys.
    ///
    /// # Panics
    /// If `index` is not less than [`Dataset::n_sweeps`].
    #[must_use]
    pub fn sweep(&self, index: usize) -> Sweep<'_> {
        let rows = self.starts[index]..self.starts[index + 1];
        let kept = &self.rows;
        Sweep {
            index,
            columns: kept.columns.iter().map(|c| &c[rows.clone()]).collect(),
            cluster: kept.cluster.as_ref().map(|c| &c[rows.clone()]),
            file: &kept.file[rows.clone()],
            row: &kept.row[rows],
            key_digest: self.digests[index],
        }
    }

    /// The position of a requested column in [`Sweep::columns`].
    #[must_use]
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }
}
