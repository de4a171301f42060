//! What is known of the inputs before any row is read: their files and the names and types of their columns.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::datatypes::{DataType, SchemaRef};

use super::convert::{ColumnType, kind_of};
use super::error::{DatasetError, Phase};
use super::parquet_file::{guard, open};
use super::paths;
use super::request::InputFile;

/// The input files and their schemas.
#[derive(Debug, Clone)]
pub struct Header {
    /// In the order of their numbers, which is that of their paths.
    pub(in crate::input) files: Vec<FileHeader>,
}

#[derive(Debug, Clone)]
pub(in crate::input) struct FileHeader {
    pub(in crate::input) path: PathBuf,
    pub(in crate::input) bytes: u64,
    /// When it was written last, if that is known.
    pub(in crate::input) modified: Option<SystemTime>,
    pub(in crate::input) rows: u64,
    /// Shared between files that agree, of which there may be thousands.
    pub(in crate::input) schema: SchemaRef,
}

impl FileHeader {
    pub(in crate::input) fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Finds the inputs' files and reads their footers.
///
/// Files are listed by path, each once (see [`paths::expand`]). That their columns agree is checked by
/// [`super::open()`], for the columns that are used.
///
/// # Errors
/// If there is no file, or one of them cannot be read or is not Parquet.
pub fn inspect(inputs: &[String]) -> Result<Header, DatasetError> {
    let mut files: Vec<FileHeader> = Vec::new();
    for path in paths::expand(inputs)? {
        let file = inspect_file(path, Phase::Inspect)?;
        let shared = files.last().filter(|last| last.schema == file.schema);
        let schema = shared.map_or_else(|| Arc::clone(&file.schema), |last| Arc::clone(&last.schema));
        files.push(FileHeader { schema, ..file });
    }
    Ok(Header { files })
}

fn inspect_file(path: PathBuf, phase: Phase) -> Result<FileHeader, DatasetError> {
    let (source, metadata) = open(&path, phase)?;
    let rows = metadata.metadata().file_metadata().num_rows();
    let rows = u64::try_from(rows).map_err(|_| DatasetError::Corrupt {
        path: path.display().to_string(),
        reason: format!("it states {rows} rows"),
    })?;
    // The footer's tree is freed here, and only the schema of its top level kept.
    let schema = guard(|| Arc::clone(metadata.schema()))
        .map_err(|reason| DatasetError::Corrupt { path: path.display().to_string(), reason })?;
    Ok(FileHeader { path, bytes: source.length(), modified: source.modified(), rows, schema })
}

impl Header {
    /// The input files, in the order of the numbers that [`crate::sweep::Sweep::file`] uses.
    #[must_use]
    pub fn files(&self) -> Vec<InputFile> {
        let describe = |f: &FileHeader| InputFile { path: f.name(), bytes: f.bytes, rows: f.rows };
        self.files.iter().map(describe).collect()
    }

    /// The names of all top-level columns that any file has, in the order in which they first appear.
    #[must_use]
    pub fn column_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut previous: Option<&SchemaRef> = None;
        for file in &self.files {
            if previous.is_some_and(|p| Arc::ptr_eq(p, &file.schema)) {
                continue;
            }
            previous = Some(&file.schema);
            for field in file.schema.fields() {
                if seen.insert(field.name().as_str()) {
                    names.push(field.name().clone());
                }
            }
        }
        names
    }

    /// What a column is, by the first file that says: a column of nulls alone does not. `None` if no file has it.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<ColumnType> {
        self.data_type(name).map(kind_of)
    }

    /// The type in the first file that has the column with more than nulls.
    pub(in crate::input) fn data_type(&self, name: &str) -> Option<&DataType> {
        let mut of_nulls = None;
        for file in &self.files {
            match file.schema.column_with_name(name).map(|(_, f)| f.data_type()) {
                Some(DataType::Null) => of_nulls = Some(&DataType::Null),
                Some(known) => return Some(known),
                None => {}
            }
        }
        of_nulls
    }
}
