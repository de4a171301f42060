//! Writes a directory of Parquet tables, completely or not at all.
//!
//! A run writes its tables to a staging directory beside the output directory. When all files are closed and flushed to
//! the disk, the two directories change places in one step of the file system. Whatever ends the run, and whenever, the
//! output directory therefore holds the earlier result or the new one, whole. Other files in the output directory move
//! to the new one afterwards; if the run is killed before that, the next run moves them.
//!
//! Where directories cannot change places, the staging directory is in the output directory, or its files are moved one by
//! one, the manifest last: at a mount point, on a file system or platform without the operation, under a parent that is
//! not writable, and in the working directory, because a shell would be left in the old one.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::lock::{self, Lock};
use super::partitions::{Partitions, is_part};
use super::schema;
use crate::error::Error;
use crate::input::RESULTS_WRITTEN_BY;

/// The file that is written last.
pub const MANIFEST: &str = "manifest.json";

/// How the names of staging directories begin. The name of the output directory and random letters follow.
const STAGING_PREFIX: &str = ".sweepfit-incomplete-";

const RANDOM_LETTERS: usize = 6;

/// An output directory that is being written. Dropping it before [`Directory::finish`] removes its files.
pub struct Directory {
    /// As the user wrote it, for messages.
    shown: PathBuf,
    /// Without symbolic links.
    output: PathBuf,
    /// The directories created by this run, innermost first; they are removed if the run fails.
    created: Vec<PathBuf>,
    /// Where files are written; after the exchange, the directory that was the output directory.
    staging: Option<PathBuf>,
    /// The locks of the output directory and of a staging directory that will take its place. They end in this order.
    locks: Vec<Lock>,
    writers: Vec<Writer>,
    /// The partitions of the tables; empty where there are none.
    partitions: Partitions,
    /// Directories with earlier results, whose files stand for equal ones.
    earlier: Vec<PathBuf>,
    /// A directory that a complete result makes useless.
    obsolete: Option<PathBuf>,
}

/// A table that is being written.
struct Writer {
    name: &'static str,
    schema: SchemaRef,
    /// The job as JSON.
    job: String,
    /// The file that is being written, and its path below the table where that is a directory.
    open: Option<(PathBuf, TableWriter)>,
}

/// A file of a table that is being written.
struct TableWriter {
    writer: ArrowWriter<File>,
    /// The rows that are not yet written. The writer cuts pages where it is given batches, so it is given batches of one size:
    /// the bytes of a file then follow from its rows alone, however these were computed.
    rows: BatchCoalescer,
}

/// The number of rows that a writer is given at once.
const ROWS_AT_ONCE: usize = 1 << 13;

impl TableWriter {
    /// Creates a file. `job` is stored in its metadata.
    fn create(path: &Path, schema: SchemaRef, job: &str) -> Result<TableWriter, ParquetError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("{RESULTS_WRITTEN_BY}{}", env!("CARGO_PKG_VERSION")))
            // Without coercion a date64 key would be written as int64 milliseconds.
            .set_coerce_types(true)
            .set_key_value_metadata(Some(vec![KeyValue::new("sweepfit.job".to_string(), job.to_string())]))
            .build();
        let writer = ArrowWriter::try_new(File::create(path)?, SchemaRef::clone(&schema), Some(properties))?;
        Ok(TableWriter { writer, rows: BatchCoalescer::new(schema, ROWS_AT_ONCE) })
    }

    /// Writes the batches that are complete.
    fn write_completed(&mut self) -> Result<(), ParquetError> {
        while let Some(batch) = self.rows.next_completed_batch() {
            self.writer.write(&batch)?;
        }
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.rows.push_batch(batch.clone())?;
        self.write_completed()
    }

    /// Writes the remaining rows and the footer, and flushes the file to the disk.
    fn close(mut self) -> Result<(), ParquetError> {
        self.rows.finish_buffered_batch()?;
        self.write_completed()?;
        Ok(self.writer.into_inner()?.sync_all()?)
    }
}

impl Writer {
    /// Writes rows to the files of their partitions. The rows of a partition follow one another in a table.
    fn write_parts(
        &mut self,
        table: &Path,
        partitions: &Partitions,
        batch: &RecordBatch,
    ) -> Result<(), ParquetError> {
        for (path, rows) in partitions.split(batch)? {
            let is_open = self.open.as_ref().is_some_and(|(open, _)| *open == path);
            if !is_open {
                if let Some((_, file)) = self.open.take() {
                    file.close()?;
                }
                let file = table.join(&path);
                fs::create_dir_all(file.parent().unwrap_or(table))?;
                if file.exists() {
                    return Err(ParquetError::General(format!("{}: it is written twice", path.display())));
                }
                let writer = TableWriter::create(&file, partitions.file_schema(&self.schema), &self.job)?;
                self.open = Some((path, writer));
            }
            if let Some((_, file)) = &mut self.open {
                file.write(&rows)?;
            }
        }
        Ok(())
    }

    /// Closes the table and flushes it to the disk. One that is divided and has no rows becomes a file.
    fn close(self, path: &Path, is_divided: bool) -> Result<(), ParquetError> {
        match self.open {
            Some((_, file)) => file.close(),
            None if is_divided && !path.exists() => {
                TableWriter::create(path, self.schema, &self.job)?.close()
            }
            None => Ok(()),
        }
    }
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
        Err(error) if error.kind() == ErrorKind::NotFound => {
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
        Ok(_) if result_files().any(|name| path.join(name).exists()) => Err(Error::Exists { path: shown }),
        Ok(_) => Ok(()),
    }
}

/// Returns the number of files and directories in an output directory that are no part of a result, and that a run keeps.
#[must_use]
pub fn count_others(path: &Path) -> usize {
    entries(path).filter(|entry| !is_ours(&entry.file_name())).count()
}

/// Returns whether a directory holds a complete result of a run.
#[must_use]
pub fn holds_result(path: &Path) -> bool {
    path.join(MANIFEST).is_file()
}

/// Returns the names of the files that a result may consist of.
pub fn result_files() -> impl Iterator<Item = String> {
    let tables = schema::ALL.iter().map(|table| table.name).chain(schema::ANSWERS);
    tables.map(file_name).chain([MANIFEST.to_string()])
}

fn file_name(table: &str) -> String {
    format!("{table}.parquet")
}

/// Returns whether an entry of an output directory has a name that runs give.
fn is_ours(name: &OsStr) -> bool {
    let is_staging = name.as_encoded_bytes().starts_with(STAGING_PREFIX.as_bytes());
    is_staging || name == lock::NAME || result_files().any(|ours| name == ours.as_str())
}

pub(super) fn entries(directory: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

/// Returns the files below a directory, sorted by path.
pub(super) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = entries(directory).map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Returns whether two files have the same bytes. One that cannot be read has none.
fn is_equal(one: &Path, other: &Path) -> bool {
    // A link is not a file that could be linked to.
    let length =
        |path: &Path| fs::symlink_metadata(path).map(|metadata| metadata.is_file().then_some(metadata.len()));
    let (Ok(one_length), Ok(other_length)) = (length(one), length(other)) else { return false };
    let read = |path: &Path| Some(BufReader::new(File::open(path).ok()?));
    let (Some(mut one), Some(mut other)) = (read(one), read(other)) else { return false };
    if one_length.is_none() || one_length != other_length {
        return false;
    }
    loop {
        let (Ok(a), Ok(b)) = (one.fill_buf(), other.fill_buf()) else { return false };
        let length = a.len().min(b.len());
        if a[..length] != b[..length] {
            return false;
        }
        if length == 0 {
            return a.is_empty() && b.is_empty();
        }
        one.consume(length);
        other.consume(length);
    }
}

/// Removes a table: a file, or a directory of partitions. Other files in it stay, and the directory with them.
fn remove(path: &Path) -> io::Result<()> {
    if !path.is_dir() {
        return fs::remove_file(path);
    }
    for file in files_below(path) {
        if is_part(&file) {
            fs::remove_file(&file)?;
            let above: Vec<PathBuf> =
                file.ancestors().skip(1).take_while(|above| *above != path).map(Path::to_path_buf).collect();
            remove_empty(&above);
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        done => done,
    }
}

/// Removes a directory in which there are no files, at any depth. What cannot be removed stays.
fn remove_if_empty(directory: &Path) {
    for entry in entries(directory) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_if_empty(&entry.path());
        }
    }
    let _ = fs::remove_dir(directory);
}

/// Moves the files below a directory to the same places below another, where there is none.
fn move_files(from: &Path, to: &Path) {
    for file in files_below(from) {
        let target = to.join(file.strip_prefix(from).unwrap_or(&file));
        if target.symlink_metadata().is_err() {
            let _ = target.parent().map_or(Ok(()), fs::create_dir_all);
            let _ = fs::rename(&file, target);
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

/// Removes a staging directory: what runs have made is removed, what is not ours moves to the output directory. What
/// cannot be removed or moved stays, and the directory with it. That does not affect the result.
fn retire(staging: &Path, output: &Path) {
    for entry in entries(staging) {
        let (path, target) = (entry.path(), output.join(entry.file_name()));
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_table = result_files().any(|name| entry.file_name() == name.as_str());
        let _ = match is_ours(&entry.file_name()) {
            true if is_directory && is_table => {
                let removed = remove(&path);
                // What others have put there is kept.
                if path.is_dir() {
                    match target.is_dir() {
                        true => move_files(&path, &target),
                        false => {
                            move_files(&path, &output.join(format!("{}.others", entry.file_name().display())))
                        }
                    }
                    remove_if_empty(&path);
                }
                removed
            }
            true if is_directory => fs::remove_dir_all(path),
            true => fs::remove_file(path),
            false if target.symlink_metadata().is_ok() => continue,
            false => fs::rename(path, target),
        };
    }
    let _ = fs::remove_dir(staging);
}

/// Retires the staging directories that killed runs left. The lock of the output directory must be held.
fn retire_leftovers(output: &Path) {
    for entry in entries(output) {
        if entry.file_name().as_encoded_bytes().starts_with(STAGING_PREFIX.as_bytes()) {
            retire(&entry.path(), output);
        }
    }
    let prefix = staging_prefix(output);
    for entry in output.parent().into_iter().flat_map(entries) {
        let name = entry.file_name();
        let letters = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        if letters.is_some_and(|letters| letters.len() == RANDOM_LETTERS) {
            retire(&entry.path(), output);
        }
    }
}

/// Returns how the names of the staging directories of an output directory begin.
fn staging_prefix(output: &Path) -> OsString {
    let mut prefix = OsString::from(STAGING_PREFIX);
    prefix.push(output.file_name().unwrap_or_default());
    prefix.push("-");
    prefix
}

/// Creates a staging directory with the permissions of the output directory: beside it if it can be moved there, else in it.
fn create_staging(output: &Path) -> io::Result<PathBuf> {
    let inside = tempfile::Builder::new()
        .prefix(&staging_prefix(output))
        .rand_bytes(RANDOM_LETTERS)
        .tempdir_in(output)?;
    fs::set_permissions(inside.path(), fs::metadata(output)?.permissions())?;
    let inside = inside.keep();
    let is_working_directory = std::env::current_dir().is_ok_and(|working| working.starts_with(output));
    if let (Some(parent), Some(name), false) = (output.parent(), inside.file_name(), is_working_directory) {
        let beside = parent.join(name);
        if fs::rename(&inside, &beside).is_ok() {
            return Ok(beside);
        }
    }
    Ok(inside)
}

/// Lets two directories change places.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Returns whether an operation failed because the system has none on these directories.
fn is_unsupported(error: &io::Error) -> bool {
    use ErrorKind::{CrossesDevices, InvalidInput, PermissionDenied, ResourceBusy, Unsupported};
    matches!(error.kind(), CrossesDevices | InvalidInput | PermissionDenied | ResourceBusy | Unsupported)
}

/// Flushes the entries of a directory to the disk, where the system can.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    match File::open(directory).and_then(|opened| opened.sync_all()) {
        Err(error) if is_unsupported(&error) => Ok(()),
        done => done,
    }
}

impl Directory {
    /// Creates the directory and the staging directory.
    ///
    /// # Errors
    ///
    /// If [`check`] fails, another run writes to the directory, or a directory cannot be created.
    pub fn create(path: &Path, overwrite: bool) -> Result<Directory, Error> {
        check(path, overwrite)?;
        let created: Vec<PathBuf> = path
            .ancestors()
            .take_while(|a| !a.as_os_str().is_empty() && !a.exists())
            .map(Path::to_path_buf)
            .collect();
        let unusable = |error: io::Error| Error::UnusableOutput {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let mut directory = Directory {
            shown: path.to_path_buf(),
            output: PathBuf::new(),
            created,
            staging: None,
            locks: Vec::new(),
            writers: Vec::new(),
            partitions: Partitions::default(),
            earlier: Vec::new(),
            obsolete: None,
        };
        fs::create_dir_all(path).map_err(unusable)?;
        directory.output = path.canonicalize().map_err(unusable)?;
        let output = &directory.output;
        directory.locks.push(Lock::take(output)?);
        // Another run may have finished since the first check.
        check(path, overwrite)?;
        retire_leftovers(output);
        let staging = directory.staging.insert(create_staging(output).map_err(unusable)?);
        if staging.parent() != Some(output) {
            directory.locks.push(Lock::take(staging)?);
        }
        Ok(directory)
    }

    /// Returns the directory, without symbolic links.
    #[must_use]
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// Removes another directory once the result is complete.
    pub fn remove_when_complete(&mut self, obsolete: PathBuf) {
        self.obsolete = Some(obsolete);
    }

    /// Opens a table for writing. `job`, the job as JSON, is stored in the metadata of the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be created.
    pub fn open(&mut self, table: &'static str, schema: SchemaRef, job: &str) -> Result<(), Error> {
        let name = file_name(table);
        let is_divided = self.partitions.divide(&schema);
        let mut writer = Writer { name: table, schema, job: job.to_owned(), open: None };
        if !is_divided {
            let path = self.staged(&name);
            let file = TableWriter::create(&path, SchemaRef::clone(&writer.schema), job);
            writer.open = Some((PathBuf::new(), file.map_err(|e| self.failure(&name, e))?));
        }
        self.writers.push(writer);
        Ok(())
    }

    /// Divides the tables that are opened from now on by partitions. Their files are those of earlier results where they are equal.
    pub fn divide(&mut self, partitions: Partitions, earlier: &[PathBuf]) {
        self.partitions = partitions;
        self.earlier = earlier.to_vec();
    }

    /// Appends a batch to an open table.
    ///
    /// # Errors
    ///
    /// If writing fails.
    pub fn write(&mut self, table: &'static str, batch: &RecordBatch) -> Result<(), Error> {
        let Some(place) = self.writers.iter().position(|writer| writer.name == table) else { return Ok(()) };
        let path = self.staged(&file_name(table));
        let writer = &mut self.writers[place];
        let written = match self.partitions.divide(&writer.schema) {
            true => writer.write_parts(&path, &self.partitions, batch),
            false => match &mut writer.open {
                Some((_, file)) => file.write(batch),
                None => Ok(()),
            },
        };
        written.map_err(|e| self.failure(&file_name(table), e))
    }

    /// Closes all tables and flushes them to the disk.
    fn close_tables(&mut self) -> Result<(), Error> {
        for writer in std::mem::take(&mut self.writers) {
            let name = file_name(writer.name);
            let path = self.staged(&name);
            let is_divided = self.partitions.divide(&writer.schema);
            writer.close(&path, is_divided).map_err(|e| self.failure(&name, e))?;
            if is_divided && path.is_dir() {
                let settled = self.partitions.write(&path).and_then(|()| self.settle(&name, &path));
                settled.map_err(|e| self.failure(&name, e))?;
            }
        }
        Ok(())
    }

    /// Lets the files of an earlier result stand for equal ones of a table in partitions, and flushes its directories.
    fn settle(&self, name: &str, table: &Path) -> io::Result<()> {
        for path in files_below(table) {
            let below = path.strip_prefix(table).unwrap_or(&path);
            let equal = self
                .earlier
                .iter()
                .map(|earlier| earlier.join(name).join(below))
                .find(|old| is_equal(old, &path));
            if let Some(old) = equal {
                // Where there are no hard links, the new file stays.
                let link = path.with_extension("linked");
                if fs::hard_link(old, &link).is_ok() {
                    fs::rename(&link, &path)?;
                }
            }
            path.ancestors()
                .skip(1)
                .take_while(|directory| *directory != table)
                .try_for_each(sync_directory)?;
        }
        sync_directory(table)
    }

    /// Closes all tables, writes the manifest and the answers to the job's questions, and publishes the result. `answers` is
    /// given the directory with the tables and the manifest. Returns whether that was one step of the file
    /// system, or none was needed, since there was no earlier result.
    ///
    /// # Errors
    ///
    /// If writing or moving a file fails.
    pub fn finish(mut self, manifest: &str, job: &str, answers: Answers) -> Result<bool, Error> {
        self.close_tables()?;
        let written = File::create(self.staged(MANIFEST)).and_then(|mut file| {
            file.write_all(manifest.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|e| self.failure(MANIFEST, e))?;
        for (table, batch) in answers(&self.staged(""))? {
            self.open(table, batch.schema(), job)?;
            self.write(table, &batch)?;
        }
        self.close_tables()?;
        let Some(staging) = self.staging.take() else { return Ok(true) };
        let done = self.publish(&staging);
        match &done {
            Ok(_) => {
                retire(&staging, &self.output);
                // The next run removes what cannot be removed now.
                if let Some(obsolete) = &self.obsolete {
                    let _ = fs::remove_dir_all(obsolete);
                }
            }
            Err(_) => self.created.clear(),
        }
        done
    }

    /// Puts the staged files in the place of an earlier result. After an error they stay where they are.
    fn publish(&mut self, staging: &Path) -> Result<bool, Error> {
        let failure = |file: &str, error: io::Error| {
            let reason = format!(
                "{error}. Files of the new result that are not in place stay in {}",
                staging.display()
            );
            self.failure(file, reason)
        };
        sync_directory(staging).map_err(|e| failure("", e))?;
        let replaces = result_files().any(|name| self.output.join(name).exists());
        let is_beside = staging.parent() != Some(&self.output);
        let exchanged =
            if is_beside { exchange(staging, &self.output) } else { Err(ErrorKind::Unsupported.into()) };
        match exchanged {
            Ok(()) => {
                let parent = self.output.parent().unwrap_or(&self.output);
                sync_directory(parent).map_err(|e| self.failure("", e))?;
                self.created.clear();
                return Ok(true);
            }
            Err(error) if !is_unsupported(&error) => return Err(failure("", error)),
            Err(_) => {}
        }
        // One by one. The manifest goes first and comes last, so a directory with a manifest is complete.
        match fs::remove_file(self.output.join(MANIFEST)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failure(MANIFEST, error)),
            _ => {}
        }
        for name in result_files() {
            let (new, old) = (staging.join(&name), self.output.join(&name));
            // A directory, which a table in partitions is, cannot be written over.
            let moved = match new.exists() {
                true if new.is_dir() || old.is_dir() => {
                    let removed = if old.exists() { remove(&old) } else { Ok(()) };
                    removed.and_then(|()| fs::rename(new, old))
                }
                true => fs::rename(new, old),
                false => remove(&old),
            };
            match moved {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failure(&name, error)),
                _ => {}
            }
        }
        self.created.clear();
        sync_directory(&self.output).map_err(|e| self.failure("", e))?;
        Ok(!replaces)
    }

    fn staged(&self, file: &str) -> PathBuf {
        self.staging.as_ref().unwrap_or(&self.output).join(file)
    }

    fn failure(&self, file: &str, reason: impl std::fmt::Display) -> Error {
        Error::Write { path: self.shown.join(file).display().to_string(), reason: reason.to_string() }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.writers.clear();
        // Failures to clean up are ignored: they must not hide the error that ended the run.
        if let Some(staging) = self.staging.take() {
            let _ = fs::remove_dir_all(staging);
        }
        self.locks.drain(..).for_each(drop);
        remove_empty(&self.created);
    }
}

/// Returns the tables, with their names, that answer a job's questions from the tables of its result in a directory.
pub type Answers<'a> = &'a dyn Fn(&Path) -> Result<Vec<(&'static str, RecordBatch)>, Error>;
