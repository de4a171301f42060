//! Opens files that may not be valid Parquet files: files of other formats, truncated files, damaged files.
//!
//! A damaged file can still end the program, if the decoder allocates more memory than is available.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as PhysicalType;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::TypePtr;

use super::super::guard::guard;
use crate::error::{Error, Phase};

/// An open file that the decoder reads.
///
/// The decoder converts every error to text, which would hide whether the file is damaged or the disk failed. The first
/// I/O error is therefore recorded here. Reads past the end are refused before memory is allocated, so a damaged length
/// is an error.
#[derive(Clone)]
pub(in crate::input) struct OpenFile {
    file: Arc<File>,
    version: FileVersion,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl OpenFile {
    /// Records an I/O error, if it is the first, and returns it.
    fn record_failure(&self, error: io::Error) -> io::Error {
        let copy = io::Error::new(error.kind(), error.to_string());
        // A poisoned lock is harmless: a panic cannot leave the `Option` half written.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(copy);
        error
    }

    /// Removes the recorded I/O error and returns it.
    pub(in crate::input) fn take_failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns what identified the content when the file was opened.
    pub(in crate::input) fn version(&self) -> FileVersion {
        self.version
    }

    /// Returns how the content has changed since the file was opened, if it has.
    pub(in crate::input) fn change(&self) -> Option<&'static str> {
        self.file.metadata().ok().and_then(|now| self.version.change_to(FileVersion::of(&now)))
    }

    /// Returns a handle of the file, positioned at `start`.
    fn at(&self, start: u64) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }
}

impl Length for OpenFile {
    fn len(&self) -> u64 {
        self.version.bytes
    }
}

/// What identifies the content of a file, as far as the system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::input) struct FileVersion {
    /// The length in bytes.
    pub(in crate::input) bytes: u64,
    /// The time of the last modification.
    modified: Option<SystemTime>,
    /// The device and the number of the file on it; a file that replaces another has another number.
    inode: Option<(u64, u64)>,
}

impl FileVersion {
    fn of(metadata: &Metadata) -> FileVersion {
        #[cfg(unix)]
        let inode = {
            use std::os::unix::fs::MetadataExt;
            Some((metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let inode = None;
        FileVersion { bytes: metadata.len(), modified: metadata.modified().ok(), inode }
    }

    /// Returns how another version differs from this one, if it does.
    pub(in crate::input) fn change_to(self, other: FileVersion) -> Option<&'static str> {
        if self.bytes != other.bytes {
            Some("it has another size")
        } else if self.modified != other.modified {
            Some("it was written again")
        } else if self.inode != other.inode {
            Some("it was replaced by another file")
        } else {
            None
        }
    }
}

impl ChunkReader for OpenFile {
    type T = BufReader<RecordingReader>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let file = self.at(start).map_err(|e| self.record_failure(e))?;
        Ok(BufReader::new(RecordingReader { file, source: self.clone() }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.version.bytes) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} are asked for, the file has {}",
                self.version.bytes
            )));
        }
        let mut file = self.at(start).map_err(|e| self.record_failure(e))?;
        let mut buffer = vec![0; length];
        file.read_exact(&mut buffer).map_err(|e| self.record_failure(e))?;
        Ok(buffer.into())
    }
}

/// A reader that records I/O errors in its [`OpenFile`].
pub(in crate::input) struct RecordingReader {
    file: File,
    source: OpenFile,
}

impl Read for RecordingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => e,
            _ => self.source.record_failure(e),
        })
    }
}

/// Opens a file and decodes its footer.
pub(in crate::input) fn open(path: &Path, phase: Phase) -> Result<(OpenFile, ArrowReaderMetadata), Error> {
    let unreadable = |e: io::Error| io_error(path, e, phase);
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    let length = metadata.len();
    check_magic_numbers(&mut file, length, path, phase)?;
    let source =
        OpenFile { file: Arc::new(file), version: FileVersion::of(&metadata), failure: Arc::default() };
    // The default options use the Arrow schema in the file's metadata, which has dictionaries, time zones and widths.
    let loaded = guard(|| {
        let metadata = ArrowReaderMetadata::load(&source, ArrowReaderOptions::default())?;
        check_row_counts(metadata.metadata())?;
        with_microseconds(metadata)
    });
    match loaded {
        Ok(Ok(metadata)) => Ok((source, metadata)),
        Ok(Err(error)) => Err(decoding_error(path, &source, error.to_string(), phase)),
        Err(panic) => Err(decoding_error(path, &source, panic, phase)),
    }
}

/// Checks that the numbers of rows in a footer agree: the file's with those of its row groups, and these with the numbers of
/// values in columns of one value per row. The decoder would pass over rows that one of them leaves out.
fn check_row_counts(metadata: &ParquetMetaData) -> ParquetResult<()> {
    let stated = metadata.file_metadata().num_rows();
    let groups = metadata.row_groups();
    let total = groups.iter().try_fold(0_i64, |sum, group| sum.checked_add(group.num_rows()));
    if total != Some(stated) {
        let total = total.map_or("more rows than can be counted".to_owned(), |total| format!("{total} rows"));
        return Err(ParquetError::General(format!(
            "its footer states {stated} rows, and its row groups {total}"
        )));
    }
    for (number, group) in groups.iter().enumerate() {
        let flat = |column: &&ColumnChunkMetaData| column.column_descr().max_rep_level() == 0;
        if let Some(column) = group.columns().iter().filter(flat).find(|c| c.num_values() != group.num_rows())
        {
            return Err(ParquetError::General(format!(
                "row group {number} states {} rows, and its column `{}` {} values",
                group.num_rows(),
                column.column_path().string(),
                column.num_values()
            )));
        }
    }
    Ok(())
}

/// Reads timestamps of 96 bits in microseconds, as Spark writes them: in nanoseconds, years beyond 2262 would wrap around. A
/// file that says how its columns were written (`ARROW:schema`) is read as it says.
fn with_microseconds(metadata: ArrowReaderMetadata) -> ParquetResult<ArrowReaderMetadata> {
    let file = metadata.metadata().file_metadata();
    let has_schema =
        file.key_value_metadata().is_some_and(|pairs| pairs.iter().any(|p| p.key == ARROW_SCHEMA_META_KEY));
    let roots = file.schema_descr().root_schema().get_fields();
    let is_int96 = |root: &TypePtr| root.is_primitive() && root.get_physical_type() == PhysicalType::INT96;
    if has_schema || !roots.iter().any(is_int96) {
        return Ok(metadata);
    }
    let field = |(field, root): (&FieldRef, &TypePtr)| match field.data_type() {
        DataType::Timestamp(_, zone) if is_int96(root) => {
            let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Arc::new(field.as_ref().clone().with_data_type(data_type))
        }
        _ => Arc::clone(field),
    };
    let fields: Fields = metadata.schema().fields().iter().zip(roots).map(field).collect();
    let schema = Schema::new_with_metadata(fields, metadata.schema().metadata().clone());
    let options = ArrowReaderOptions::default().with_schema(Arc::new(schema));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

/// Checks the magic numbers at both ends of a file, to report the most common faults with a specific error.
fn check_magic_numbers(file: &mut File, length: u64, path: &Path, phase: Phase) -> Result<(), Error> {
    const MAGIC: [u8; 4] = *b"PAR1";
    const ENCRYPTED: [u8; 4] = *b"PARE";
    /// The length of two magic numbers and the footer's length.
    const MIN_LENGTH: u64 = 12;
    let name = || path.display().to_string();
    if length == 0 {
        return Err(Error::EmptyFile { path: name() });
    }
    let not_parquet = |what: &str| Error::NotParquet { path: name(), what: what.to_owned() };
    if length < MIN_LENGTH {
        return Err(not_parquet("it has fewer than 12 bytes"));
    }
    let mut read_at = |from| -> io::Result<[u8; 4]> {
        let mut bytes = [0; 4];
        file.seek(from)?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let failed = |e| io_error(path, e, phase);
    let first = read_at(SeekFrom::Start(0)).map_err(failed)?;
    let last = read_at(SeekFrom::End(-4)).map_err(failed)?;
    match (first, last) {
        (MAGIC, MAGIC) => Ok(()),
        (ENCRYPTED, _) | (_, ENCRYPTED) => Err(Error::Encrypted { path: name() }),
        (MAGIC, _) => Err(Error::Truncated { path: name() }),
        (_, MAGIC) => Err(not_parquet("the mark `PAR1` is at its end but not at its beginning")),
        _ => Err(not_parquet("the mark `PAR1` is missing")),
    }
}

/// Returns the error for a failure of the decoder: an I/O error if one was recorded, a file that has changed since it was opened, or
/// else a damaged file.
pub(in crate::input) fn decoding_error(
    path: &Path,
    source: &OpenFile,
    reason: String,
    phase: Phase,
) -> Error {
    let failure = source.take_failure();
    if let Some(what) = source.change().filter(|_| failure.is_none()) {
        return Error::Changed { path: path.display().to_string(), what: what.to_owned() };
    }
    match failure {
        // Reads past the length at opening are refused, so the file has become shorter since.
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Changed { path: path.display().to_string(), what: "it became shorter".to_owned() }
        }
        Some(error) => io_error(path, error, phase),
        None => Error::Corrupt { path: path.display().to_string(), reason },
    }
}

/// Returns the error for an I/O error of a file.
fn io_error(path: &Path, source: io::Error, phase: Phase) -> Error {
    let name = path.display().to_string();
    match (source.kind(), phase) {
        (io::ErrorKind::NotFound, Phase::Inspect) => Error::Missing { path: name },
        (io::ErrorKind::NotFound, Phase::Read) => Error::Vanished { path: name },
        _ => Error::Unreadable { path: name, source, phase },
    }
}
