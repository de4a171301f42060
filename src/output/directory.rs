//! A directory of Parquet tables that is complete or not there.
//!
//! Tables are written in a hidden folder inside the output directory, moved into place when all of them are
//! closed, and the manifest is written last. Whatever happens before that leaves no table under its name; a
//! folder that a killed process left behind is named so that nobody takes it for a result.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::batches::Batches;
use super::records::{Chunk, RunContext, Sink};
use super::schema;
use crate::error::Error;

const MANIFEST: &str = "manifest.json";

/// An output directory being written.
pub struct Directory {
    path: PathBuf,
    /// Directories made by this run, innermost first; they go if the run fails.
    made: Vec<PathBuf>,
    staging: Option<tempfile::TempDir>,
    writers: Vec<(&'static str, ArrowWriter<File>)>,
}

/// Whether a directory can take a result; nothing is changed.
///
/// # Errors
///
/// If the path is no directory, cannot be one, or holds a result that is not to be overwritten.
pub fn check(path: &Path, overwrite: bool) -> Result<(), Error> {
    let shown = path.display().to_string();
    let unusable = |reason: &str| Error::UnusableOutput { path: shown.clone(), reason: reason.to_string() };
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // The nearest existing ancestor must be a directory.
            for ancestor in path.ancestors().skip(1) {
                let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
                match fs::metadata(ancestor) {
                    Ok(meta) if meta.is_dir() => return Ok(()),
                    Ok(_) => return Err(unusable(&format!("{} is not a directory", ancestor.display()))),
                    Err(_) => {}
                }
            }
            Ok(())
        }
        Err(error) => Err(unusable(&error.to_string())),
        Ok(meta) if !meta.is_dir() => Err(unusable("it is a file")),
        Ok(_) if overwrite => Ok(()),
        Ok(_) => {
            let holds = path.join(MANIFEST).exists()
                || schema::ALL.iter().any(|t| path.join(file_name(t.name)).exists());
            if holds { Err(Error::Exists { path: shown }) } else { Ok(()) }
        }
    }
}

/// How the names of hidden folders begin.
const LEFTOVER: &str = ".sweepfit-incomplete-";

/// Removes the hidden folders that killed runs left behind; what cannot be removed does no harm.
fn remove_leftovers(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(LEFTOVER) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes directories as long as they are empty.
fn remove_empty(directories: &[PathBuf]) {
    for directory in directories {
        if fs::remove_dir(directory).is_err() {
            return;
        }
    }
}

fn file_name(table: &str) -> String {
    format!("{table}.parquet")
}

impl Directory {
    /// Makes the directory and the hidden folder in it.
    ///
    /// # Errors
    ///
    /// Those of [`check`], and if the directory cannot be made.
    pub fn create(path: &Path, overwrite: bool) -> Result<Directory, Error> {
        check(path, overwrite)?;
        let shown = || path.display().to_string();
        let made: Vec<PathBuf> = path
            .ancestors()
            .take_while(|a| !a.as_os_str().is_empty() && !a.exists())
            .map(Path::to_path_buf)
            .collect();
        let unusable =
            |error: std::io::Error| Error::UnusableOutput { path: shown(), reason: error.to_string() };
        fs::create_dir_all(path).map_err(unusable)?;
        if overwrite {
            remove_leftovers(path);
        }
        let staging = tempfile::Builder::new().prefix(LEFTOVER).tempdir_in(path);
        let staging = match staging {
            Ok(staging) => staging,
            Err(error) => {
                remove_empty(&made);
                return Err(unusable(error));
            }
        };
        Ok(Directory { path: path.to_path_buf(), made, staging: Some(staging), writers: Vec::new() })
    }

    /// Opens a table for writing; `job` goes into the file's metadata.
    ///
    /// # Errors
    ///
    /// If the file cannot be made.
    pub fn open(&mut self, table: &'static str, schema: SchemaRef, job: &str) -> Result<(), Error> {
        let path = self.staged(table);
        let fail = |reason: String| self.failure(table, reason);
        let file = File::create(&path).map_err(|e| fail(e.to_string()))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("sweepfit {}", env!("CARGO_PKG_VERSION")))
            // A date64 key would otherwise be written as a plain number of milliseconds.
            .set_coerce_types(true)
            .set_key_value_metadata(Some(vec![KeyValue::new("sweepfit.job".to_string(), job.to_string())]))
            .build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties))
            .map_err(|e| self.failure(table, e.to_string()))?;
        self.writers.push((table, writer));
        Ok(())
    }

    /// Appends a batch to an open table.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn write(&mut self, table: &'static str, batch: &RecordBatch) -> Result<(), Error> {
        let result = match self.writers.iter_mut().find(|(name, _)| *name == table) {
            Some((_, writer)) => writer.write(batch).map_err(|e| e.to_string()),
            None => Ok(()),
        };
        result.map_err(|reason| self.failure(table, reason))
    }

    /// Closes all tables, moves them into place and writes the manifest.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn finish(mut self, manifest: &str) -> Result<(), Error> {
        let mut done = Vec::new();
        for (table, writer) in std::mem::take(&mut self.writers) {
            let result = writer
                .into_inner()
                .map_err(|e| e.to_string())
                .and_then(|file| file.sync_all().map_err(|e| e.to_string()));
            result.map_err(|reason| self.failure(table, reason))?;
            done.push(table);
        }
        let staged_manifest = self.staged_path().join(MANIFEST);
        let written = File::create(&staged_manifest).and_then(|mut file| {
            file.write_all(manifest.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|e| self.failure("manifest", e.to_string()))?;

        // From here on an earlier result is being replaced: its manifest goes first, the new one comes last.
        let remove = |path: PathBuf| match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.to_string()),
            _ => Ok(()),
        };
        remove(self.path.join(MANIFEST)).map_err(|r| self.failure("manifest", r))?;
        for table in schema::ALL.iter().map(|t| t.name).filter(|name| !done.contains(name)) {
            remove(self.path.join(file_name(table))).map_err(|r| self.failure(table, r))?;
        }
        for table in done {
            fs::rename(self.staged(table), self.path.join(file_name(table)))
                .map_err(|e| self.failure(table, e.to_string()))?;
        }
        fs::rename(&staged_manifest, self.path.join(MANIFEST))
            .map_err(|e| self.failure("manifest", e.to_string()))?;
        self.made.clear();
        Ok(())
    }

    fn staged_path(&self) -> &Path {
        self.staging.as_ref().map_or(&self.path, tempfile::TempDir::path)
    }

    fn staged(&self, table: &str) -> PathBuf {
        self.staged_path().join(file_name(table))
    }

    fn failure(&self, table: &str, reason: String) -> Error {
        Error::Write { path: self.path.join(file_name(table)).display().to_string(), reason }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.writers.clear();
        // Removing the hidden folder, and the directory if it is ours and empty, is all that an unfinished
        // run owes; a failure to do so must not hide the error that ended the run.
        if let Some(staging) = self.staging.take() {
            let _ = staging.close();
        }
        remove_empty(&self.made);
    }
}

/// Writes the tables of a run to a directory of Parquet files.
pub struct DirectorySink<'a> {
    path: &'a Path,
    overwrite: bool,
    /// The job, as JSON, for the metadata of every file.
    job: String,
    open: Option<(Batches, Directory)>,
}

impl<'a> DirectorySink<'a> {
    /// Prepares a sink; nothing is changed on the disk before the run begins.
    #[must_use]
    pub fn new(path: &'a Path, overwrite: bool, job: String) -> DirectorySink<'a> {
        DirectorySink { path, overwrite, job, open: None }
    }

    /// Moves the tables into place and writes the manifest.
    ///
    /// # Errors
    /// If the disk refuses. The directory is then what it was before, or incomplete and without a manifest.
    pub fn finish(self, manifest: &str) -> Result<(), Error> {
        self.open.map_or(Ok(()), |(_, directory)| directory.finish(manifest))
    }
}

impl Sink for DirectorySink<'_> {
    fn begin(&mut self, context: &RunContext) -> Result<(), Error> {
        let batches = Batches::new(context.clone());
        let mut directory = Directory::create(self.path, self.overwrite)?;
        for table in batches.tables() {
            directory.open(table.name, batches.schema(&table), &self.job)?;
        }
        self.open = Some((batches, directory));
        Ok(())
    }

    fn take(&mut self, chunk: Chunk) -> Result<(), Error> {
        let Some((batches, directory)) = &mut self.open else { return Ok(()) };
        for table in batches.tables() {
            directory.write(table.name, &batches.batch_of(&table, &chunk)?)?;
        }
        Ok(())
    }
}
