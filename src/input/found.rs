//! What inputs stand for: files, tables, and what is skipped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::Fields;
use serde::Serialize;

use super::location::Location;
use super::objects::RemoteTable;
use super::parquet::partitions::Partition;
use super::text::TextFormat;

/// Why names such as `_SUCCESS` are skipped.
pub const HIDDEN: &str = "its name begins with `.` or `_`";

/// Why files of text are skipped where they are not asked for.
pub const TEXT: &str = "it is a file of text; give it by its name, or with a glob that ends as it does";

/// Why other files are skipped.
pub const NOT_PARQUET: &str = "it does not begin like a Parquet file";

/// A file or directory that an input matches and that is not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Skipped {
    /// Its path.
    pub path: String,
    /// Why it is not read.
    pub reason: String,
}

impl Skipped {
    pub(in crate::input) fn new(path: &Path, reason: impl Into<String>) -> Skipped {
        Skipped { path: path.display().to_string(), reason: reason.into() }
    }
}

/// A file that inputs stand for.
#[derive(Clone, Debug)]
pub struct FoundFile {
    /// Where it is.
    pub location: Location,
    /// Whether it was given by its full name.
    pub named: bool,
    /// The number of components of the path that the user typed, without wildcards.
    pub typed: usize,
    /// The format of a file of text; none for Parquet.
    pub text: Option<TextFormat>,
    /// What the log of a table says of the file, if it is one of a table's.
    pub table: Option<TableFile>,
}

/// What the log of a table says of one of its files.
#[derive(Clone, Debug)]
pub struct TableFile {
    /// The partitions of the file.
    pub partitions: Vec<Partition>,
    /// The schema of the table.
    pub schema: Arc<TableSchema>,
}

/// The schema of a version of a table.
#[derive(Debug)]
pub struct TableSchema {
    /// The directory of the table.
    pub path: PathBuf,
    /// The number of the version.
    pub version: i64,
    /// The names and types of the columns.
    pub fields: Fields,
}

/// A Delta table that inputs stand for.
#[derive(Clone, Debug)]
pub struct FoundTable {
    /// The directory of the table.
    pub path: PathBuf,
    /// The number of components of the path that the user typed, without wildcards.
    pub typed: usize,
    /// The objects of a table in a store.
    pub remote: Option<RemoteTable>,
}

/// The files that inputs stand for.
#[derive(Debug, Default)]
pub struct Expanded {
    /// The files, sorted by path, each once.
    pub files: Vec<FoundFile>,
    /// The Delta tables, sorted by path, each once.
    pub tables: Vec<FoundTable>,
    /// What is skipped, sorted by path, each once.
    pub skipped: Vec<Skipped>,
}
