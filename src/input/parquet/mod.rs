//! Parquet files as a [`Source`]: every file is a fragment.
//!
//! | file | what it holds |
//! | --- | --- |
//! | this one | [`ParquetFiles`]: files found, their footers read, and later their rows |
//! | [`paths`] | names, directories and globs become a list of files |
//! | `open_file` | one file opened, whatever it may be |
//!
//! Nothing here knows what the rows are read for.

mod open_file;
pub mod paths;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::error::{Error, Phase};

use super::guard::guard;
use super::source::{BATCH_ROWS, Fragment, RecordBatches, Source};
use open_file::{OpenFile, damaged, open};

/// Parquet files, found and their footers read.
#[derive(Debug, Clone)]
pub struct ParquetFiles {
    /// In the order of the paths.
    files: Vec<FileState>,
    /// One for each file.
    fragments: Vec<Fragment>,
}

/// What a file was when the job began.
#[derive(Debug, Clone)]
struct FileState {
    path: PathBuf,
    bytes: u64,
    /// When it was written last, if that is known.
    modified: Option<SystemTime>,
}

impl ParquetFiles {
    /// Finds files by names, directories and globs, and reads their footers.
    ///
    /// Files are listed by path, each once (see [`paths::expand`]). Whether their columns agree is found out for the columns
    /// that are used, when these are known.
    ///
    /// # Errors
    /// If there is no file, or one of them cannot be read or is not Parquet.
    pub fn find(inputs: &[String]) -> Result<ParquetFiles, Error> {
        let mut found = ParquetFiles { files: Vec::new(), fragments: Vec::new() };
        for path in paths::expand(inputs)? {
            let (file, mut fragment) = inspect(path)?;
            if let Some(last) = found.fragments.last().filter(|last| last.schema == fragment.schema) {
                fragment.schema = Arc::clone(&last.schema);
            }
            found.files.push(file);
            found.fragments.push(fragment);
        }
        Ok(found)
    }
}

fn inspect(path: PathBuf) -> Result<(FileState, Fragment), Error> {
    let (source, metadata) = open(&path, Phase::Inspect)?;
    let name = path.display().to_string();
    let rows = metadata.metadata().file_metadata().num_rows();
    let rows = u64::try_from(rows)
        .map_err(|_| Error::Corrupt { path: name.clone(), reason: format!("it states {rows} rows") })?;
    // The footer's tree is freed here, and only the schema of its top level kept.
    let schema = guard(|| Arc::clone(metadata.schema()))
        .map_err(|reason| Error::Corrupt { path: name.clone(), reason })?;
    let bytes = source.length();
    let file = FileState { path, bytes, modified: source.modified() };
    Ok((file, Fragment { name, rows, bytes: Some(bytes), schema }))
}

impl Source for ParquetFiles {
    fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    fn read(&self, fragment: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error> {
        let (file, fragment) = (&self.files[fragment], &self.fragments[fragment]);
        let changed = |what: &str| Error::Changed { path: fragment.name.clone(), what: what.to_owned() };
        let (source, metadata) = open(&file.path, Phase::Read)?;
        if source.length() != file.bytes {
            return Err(changed("it has another size"));
        }
        if source.modified() != file.modified {
            return Err(changed("it was written again"));
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
        let failed = |reason: String| damaged(&file.path, &source, reason, Phase::Read);
        let reader = reader.map_err(failed)?.map_err(|e| failed(e.to_string()))?;
        Ok(Box::new(FileBatches { file, source, reader }))
    }
}

/// The batches of a file.
struct FileBatches<'a> {
    file: &'a FileState,
    source: OpenFile,
    reader: ParquetRecordBatchReader,
}

impl Iterator for FileBatches<'_> {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let failed = |reason: String| damaged(&self.file.path, &self.source, reason, Phase::Read);
        match guard(|| self.reader.next()) {
            Ok(batch) => Some(batch?.map_err(|e| failed(e.to_string()))),
            Err(panic) => Some(Err(failed(panic))),
        }
    }
}
