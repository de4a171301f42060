//! Implements [`Source`] for Parquet files; every file is a fragment.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | [`ParquetFiles`]: the files of a job, with their schemas |
//! | [`paths`] | the files that names, directories and globs refer to |
//! | `open_file` | opening a file, and errors for files that are not valid |
//!
//! The folder knows nothing of keys, conditions and sweeps.

mod open_file;
pub mod paths;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::error::{Error, Phase};

use super::guard::guard;
use super::source::{BATCH_ROWS, Fragment, RecordBatches, Source};
use open_file::{FileVersion, OpenFile, decoding_error, open};
use paths::{Expanded, Skipped};

/// The beginning of the name of the program in the footers of tables that a run has written.
pub const RESULTS_WRITTEN_BY: &str = "sweepfit ";

/// Parquet files whose footers have been read.
#[derive(Debug, Clone)]
pub struct ParquetFiles {
    /// The files, sorted by path.
    files: Vec<FileState>,
    /// The schema and row count of each file.
    fragments: Vec<Fragment>,
    /// The files and directories that are not read.
    skipped: Vec<Skipped>,
}

/// A file as it was when the job began.
#[derive(Debug, Clone)]
struct FileState {
    path: PathBuf,
    /// What identified its content, to detect changes.
    version: FileVersion,
}

impl ParquetFiles {
    /// Finds files by names, directories and globs, and reads their footers.
    ///
    /// Files are sorted by path and listed once each (see [`paths::expand`]). The types of columns may differ between
    /// files; [`open()`](super::open()) checks the columns that a job uses.
    ///
    /// # Errors
    /// If there is no file, or a file cannot be read or is not a Parquet file. Tables that a run has written are read only
    /// where they are given by their full names.
    pub fn find(inputs: &[String]) -> Result<ParquetFiles, Error> {
        let Expanded { files, skipped } = paths::expand(inputs)?;
        let mut found = ParquetFiles { files: Vec::new(), fragments: Vec::new(), skipped };
        for (path, named) in files {
            let (file, mut fragment, is_result) = inspect(path)?;
            if is_result && !named {
                found.skipped.push(Skipped::new(&file.path, "it is a result of sweepfit"));
                continue;
            }
            if let Some(last) = found.fragments.last().filter(|last| last.schema == fragment.schema) {
                fragment.schema = Arc::clone(&last.schema);
            }
            found.files.push(file);
            found.fragments.push(fragment);
        }
        if found.files.is_empty() {
            return Err(Error::OnlyResults { path: inputs.join(", ") });
        }
        Ok(found)
    }

    /// Returns the files and directories that the inputs match and that are not read, with the reasons.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// Reads the footer of a file. Also returns whether the file is a table that a run has written.
fn inspect(path: PathBuf) -> Result<(FileState, Fragment, bool), Error> {
    let (source, metadata) = open(&path, Phase::Inspect)?;
    let name = path.display().to_string();
    let rows = metadata.metadata().file_metadata().num_rows();
    let rows = u64::try_from(rows)
        .map_err(|_| Error::Corrupt { path: name.clone(), reason: format!("it states {rows} rows") })?;
    // Only the schema is kept: the rest of the footer can be large.
    let schema = guard(|| Arc::clone(metadata.schema()))
        .map_err(|reason| Error::Corrupt { path: name.clone(), reason })?;
    let written_by = metadata.metadata().file_metadata().created_by();
    let is_result = written_by.is_some_and(|program| program.starts_with(RESULTS_WRITTEN_BY));
    let version = source.version();
    let file = FileState { path, version };
    Ok((file, Fragment { name, rows, bytes: Some(version.bytes), schema }, is_result))
}

impl Source for ParquetFiles {
    fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    fn read(&self, fragment: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error> {
        let (file, fragment) = (&self.files[fragment], &self.fragments[fragment]);
        let changed = |what: &str| Error::Changed { path: fragment.name.clone(), what: what.to_owned() };
        let (source, metadata) = open(&file.path, Phase::Read)?;
        if let Some(what) = file.version.change_to(source.version()) {
            return Err(changed(what));
        }
        let rows = metadata.metadata().file_metadata().num_rows();
        if *metadata.schema() != fragment.schema || rows != fragment.rows as i64 {
            return Err(changed("it has another schema or number of rows"));
        }
        let reader = guard(|| {
            let schema = metadata.parquet_schema();
            let fields = schema.root_schema().get_fields().iter().enumerate();
            let roots = fields.filter(|(_, f)| columns.contains(f.name())).map(|(i, _)| i);
            let mask = ProjectionMask::roots(schema, roots);
            ParquetRecordBatchReaderBuilder::new_with_metadata(source.clone(), metadata.clone())
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS)
                .build()
        });
        let failed = |reason: String| decoding_error(&file.path, &source, reason, Phase::Read);
        let reader = reader.map_err(failed)?.map_err(|e| failed(e.to_string()))?;
        Ok(Box::new(FileBatches { file, source, reader }))
    }
}

/// An iterator over the batches of a file.
struct FileBatches<'a> {
    file: &'a FileState,
    source: OpenFile,
    reader: ParquetRecordBatchReader,
}

impl Iterator for FileBatches<'_> {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let failed = |reason: String| decoding_error(&self.file.path, &self.source, reason, Phase::Read);
        match guard(|| self.reader.next()) {
            Ok(Some(batch)) => Some(batch.map_err(|e| failed(e.to_string()))),
            // Values that were decoded while the file was written may be of two versions.
            Ok(None) => self.source.change().map(|what| {
                Err(Error::Changed { path: self.file.path.display().to_string(), what: what.to_owned() })
            }),
            Err(panic) => Some(Err(failed(panic))),
        }
    }
}
