//! Writes a directory of Parquet tables, completely or not at all.
//!
//! Tables are written to a hidden staging directory inside the output directory. When all of them are closed they are
//! moved into place, and the manifest is moved last. A run that fails earlier leaves no table under its final name. The
//! name of the staging directory, which a killed process leaves behind, says that its contents are incomplete.

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
use super::lock::Lock;
use super::records::{Chunk, RunContext, Sink};
use super::schema;
use crate::error::Error;
use crate::input::RESULTS_WRITTEN_BY;

const MANIFEST: &str = "manifest.json";

/// An output directory that is being written. Dropping it before [`Directory::finish`] removes its files.
pub struct Directory {
    path: PathBuf,
    /// The directories created by this run, innermost first; they are removed if the run fails.
    created: Vec<PathBuf>,
    staging: Option<tempfile::TempDir>,
    lock: Option<Lock>,
    writers: Vec<(&'static str, ArrowWriter<File>)>,
}

/// Checks that a result can be written to a directory, without changing the disk.
///
/// # Errors
///
/// If the path is not a directory and cannot become one, or if it contains a result and `overwrite` is false.
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

/// The prefix of the names of staging directories.
const STAGING_PREFIX: &str = ".sweepfit-incomplete-";

/// Removes the staging directories of killed runs. Failures are ignored: a staging directory does not affect the
/// result.
fn remove_old_staging(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes directories in order, up to the first that is not empty.
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
    /// Creates the directory and the staging directory in it.
    ///
    /// # Errors
    ///
    /// If [`check`] fails, another run writes to the directory, or a directory cannot be created.
    pub fn create(path: &Path, overwrite: bool) -> Result<Directory, Error> {
        check(path, overwrite)?;
        let shown = || path.display().to_string();
        let created: Vec<PathBuf> = path
            .ancestors()
            .take_while(|a| !a.as_os_str().is_empty() && !a.exists())
            .map(Path::to_path_buf)
            .collect();
        let unusable =
            |error: std::io::Error| Error::UnusableOutput { path: shown(), reason: error.to_string() };
        fs::create_dir_all(path).map_err(unusable)?;
        // Another run may have finished since the first check.
        let lock = Lock::take(path).and_then(|lock| check(path, overwrite).map(|()| lock));
        let lock = lock.inspect_err(|_| remove_empty(&created))?;
        if overwrite {
            remove_old_staging(path);
        }
        let staging = tempfile::Builder::new().prefix(STAGING_PREFIX).tempdir_in(path);
        let staging = match staging {
            Ok(staging) => staging,
            Err(error) => {
                drop(lock);
                remove_empty(&created);
                return Err(unusable(error));
            }
        };
        Ok(Directory {
            path: path.to_path_buf(),
            created,
            staging: Some(staging),
            lock: Some(lock),
            writers: Vec::new(),
        })
    }

    /// Opens a table for writing. `job`, the job as JSON, is stored in the metadata of the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be created.
    pub fn open(&mut self, table: &'static str, schema: SchemaRef, job: &str) -> Result<(), Error> {
        let path = self.staged(table);
        let fail = |reason: String| self.failure(&file_name(table), reason);
        let file = File::create(&path).map_err(|e| fail(e.to_string()))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("{RESULTS_WRITTEN_BY}{}", env!("CARGO_PKG_VERSION")))
            // Without coercion a date64 key would be written as int64 milliseconds.
            .set_coerce_types(true)
            .set_key_value_metadata(Some(vec![KeyValue::new("sweepfit.job".to_string(), job.to_string())]))
            .build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties))
            .map_err(|e| self.failure(&file_name(table), e.to_string()))?;
        self.writers.push((table, writer));
        Ok(())
    }

    /// Appends a batch to an open table.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn write(&mut self, table: &'static str, batch: &RecordBatch) -> Result<(), Error> {
        let result = match self.writers.iter_mut().find(|(name, _)| *name == table) {
            Some((_, writer)) => writer.write(batch).map_err(|e| e.to_string()),
            None => Ok(()),
        };
        result.map_err(|reason| self.failure(&file_name(table), reason))
    }

    /// Closes all tables, moves them into place and writes the manifest.
    ///
    /// # Errors
    ///
    /// If writing or moving a file fails.
    pub fn finish(mut self, manifest: &str) -> Result<(), Error> {
        let mut done = Vec::new();
        for (table, writer) in std::mem::take(&mut self.writers) {
            let result = writer
                .into_inner()
                .map_err(|e| e.to_string())
                .and_then(|file| file.sync_all().map_err(|e| e.to_string()));
            result.map_err(|reason| self.failure(&file_name(table), reason))?;
            done.push(table);
        }
        let staged_manifest = self.staged_path().join(MANIFEST);
        let written = File::create(&staged_manifest).and_then(|mut file| {
            file.write_all(manifest.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|e| self.failure(MANIFEST, e.to_string()))?;

        // An earlier result is replaced from here on. Its manifest is removed first and the new one is moved last, so a
        // directory with a manifest is always complete.
        let remove = |path: PathBuf| match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.to_string()),
            _ => Ok(()),
        };
        remove(self.path.join(MANIFEST)).map_err(|r| self.failure(MANIFEST, r))?;
        for table in schema::ALL.iter().map(|t| t.name).filter(|name| !done.contains(name)) {
            remove(self.path.join(file_name(table))).map_err(|r| self.failure(&file_name(table), r))?;
        }
        for table in done {
            fs::rename(self.staged(table), self.path.join(file_name(table)))
                .map_err(|e| self.failure(&file_name(table), e.to_string()))?;
        }
        fs::rename(&staged_manifest, self.path.join(MANIFEST))
            .map_err(|e| self.failure(MANIFEST, e.to_string()))?;
        self.created.clear();
        Ok(())
    }

    fn staged_path(&self) -> &Path {
        self.staging.as_ref().map_or(&self.path, tempfile::TempDir::path)
    }

    fn staged(&self, table: &str) -> PathBuf {
        self.staged_path().join(file_name(table))
    }

    fn failure(&self, file: &str, reason: String) -> Error {
        Error::Write { path: self.path.join(file).display().to_string(), reason }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.writers.clear();
        // Failures to clean up are ignored: they must not hide the error that ended the run.
        if let Some(staging) = self.staging.take() {
            let _ = staging.close();
        }
        self.lock.take();
        remove_empty(&self.created);
    }
}

/// A sink that writes the tables of a run to a directory of Parquet files.
pub struct DirectorySink<'a> {
    path: &'a Path,
    overwrite: bool,
    /// The job, as JSON, for the metadata of every file.
    job: String,
    open: Option<(Batches, Directory)>,
}

impl<'a> DirectorySink<'a> {
    /// Returns a sink. The disk is not changed before the run begins. `job` is the job as JSON.
    #[must_use]
    pub fn new(path: &'a Path, overwrite: bool, job: String) -> DirectorySink<'a> {
        DirectorySink { path, overwrite, job, open: None }
    }

    /// Moves the tables into place and writes the manifest.
    ///
    /// # Errors
    /// If writing fails. The directory is then unchanged, or incomplete and without a manifest.
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
