//! Opens files that may not be valid Parquet files: files of other formats, truncated files, damaged files.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};

use super::footer::{Footer, Refusal};
use crate::error::{Error, Phase};
use crate::input::location::{FileVersion, Location, REPLACED, ReadAt};

/// The mark at both ends of a file.
const MAGIC: [u8; 4] = *b"PAR1";

/// The mark at the end of a file whose footer is encrypted.
const ENCRYPTED: [u8; 4] = *b"PARE";

/// The number of bytes at the end of a file: the footer's length and the mark.
const TAIL: u64 = 8;

/// An open file that is read through the decoder.
///
/// The decoder converts every error to text, which would hide whether the file is damaged or the disk failed. The first
/// failure is therefore recorded here.
#[derive(Clone)]
pub(super) struct OpenFile {
    file: Arc<dyn ReadAt>,
    version: FileVersion,
    failure: Arc<Mutex<Option<Failure>>>,
}

/// Why reading from an open file failed.
enum Failure {
    Io(io::Error),
    Refused(Refusal),
}

impl OpenFile {
    /// Records a failure, if it is the first.
    fn record(&self, failure: Failure) {
        // A poisoned lock is harmless: a panic cannot leave the `Option` half written.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }

    /// Records why the file is not read further, and returns the decoder's error.
    pub(super) fn refuse(&self, refusal: Refusal) -> ParquetError {
        let text = format!("{refusal:?}");
        self.record(Failure::Refused(refusal));
        ParquetError::General(text)
    }

    /// Removes the recorded failure and returns it.
    fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns what identified the content when the file was opened.
    pub(super) fn version(&self) -> FileVersion {
        self.version
    }

    /// Returns the tag that a store gives the content.
    pub(super) fn tag(&self) -> Option<String> {
        self.file.tag()
    }

    /// Returns how the content has changed since the file was opened, if it has.
    pub(super) fn change(&self) -> Option<&'static str> {
        self.file.version_now().ok().and_then(|now| self.version.change_to(now))
    }

    /// Returns the bytes at a place. Reads past the end are refused before memory is allocated.
    pub(super) fn read_at(&self, start: u64, length: u64) -> ParquetResult<Bytes> {
        let within = start.checked_add(length).is_some_and(|end| end <= self.version.bytes);
        let Some(length) = usize::try_from(length).ok().filter(|_| within) else {
            let reason = format!("{length} bytes at {start} are beyond its {} bytes", self.version.bytes);
            return Err(self.refuse(Refusal::Damaged(reason)));
        };
        let mut buffer = vec![0; length];
        match self.file.read_exact_at(&mut buffer, start) {
            Ok(()) => Ok(buffer.into()),
            Err(error) => {
                let text = error.to_string();
                self.record(Failure::Io(error));
                Err(ParquetError::General(text))
            }
        }
    }
}

/// Opens a file and reads its footer.
pub(super) fn open(location: &Location, phase: Phase) -> Result<(OpenFile, Footer), Error> {
    let path = location.path.as_path();
    let unreadable = |e: io::Error| io_error(path, e, phase);
    let file = location.open().map_err(unreadable)?;
    let version = file.version().map_err(unreadable)?;
    check_magic_numbers(file.as_ref(), version.bytes, path, phase)?;
    let source = OpenFile { file, version, failure: Arc::default() };
    let footer = read_footer(&source).map_err(|e| decoding_error(path, &source, e.to_string(), phase))?;
    Ok((source, footer))
}

/// Reads the footer, whose length is stated before the mark at the end.
fn read_footer(source: &OpenFile) -> ParquetResult<Footer> {
    let file = source.version.bytes;
    let tail = source.read_at(file - TAIL, 4)?;
    let length = tail.first_chunk::<4>().map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)));
    let most = file - TAIL - MAGIC.len() as u64;
    if length > most {
        let reason = format!("its footer is said to have {length} bytes, and there are {most}");
        return Err(source.refuse(Refusal::Damaged(reason)));
    }
    let bytes = source.read_at(file - TAIL - length, length)?;
    Footer::read(bytes, file).map_err(|refusal| source.refuse(refusal))
}

/// Checks the magic numbers at both ends of a file, to report the most common faults with a specific error.
fn check_magic_numbers(file: &dyn ReadAt, length: u64, path: &Path, phase: Phase) -> Result<(), Error> {
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
    let read_at = |start| -> io::Result<[u8; 4]> {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    };
    let failed = |e| io_error(path, e, phase);
    let first = read_at(0).map_err(failed)?;
    let last = read_at(length - 4).map_err(failed)?;
    match (first, last) {
        (MAGIC, MAGIC) => Ok(()),
        (ENCRYPTED, _) | (_, ENCRYPTED) => Err(Error::Encrypted { path: name() }),
        (MAGIC, _) => Err(Error::Truncated { path: name() }),
        (_, MAGIC) => Err(not_parquet("the mark `PAR1` is at its end but not at its beginning")),
        _ => Err(not_parquet("the mark `PAR1` is missing")),
    }
}

/// Returns the error for a failure of the decoder: the failure that was recorded, a file that has changed since it was opened,
/// or else a damaged file.
pub(super) fn decoding_error(path: &Path, source: &OpenFile, reason: String, phase: Phase) -> Error {
    let failure = source.take_failure();
    let path_text = path.display().to_string();
    match failure {
        // Reads past the length at opening are refused, so the file has become shorter since.
        Some(Failure::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Changed { path: path_text, what: "it became shorter".to_owned() }
        }
        Some(Failure::Io(error)) => io_error(path, error, phase),
        _ if let Some(what) = source.change() => Error::Changed { path: path_text, what: what.to_owned() },
        Some(Failure::Refused(Refusal::Unsupported { column, what })) => {
            Error::Unsupported { path: path_text, column, what }
        }
        Some(Failure::Refused(Refusal::Damaged(reason))) => Error::Corrupt { path: path_text, reason },
        None => Error::Corrupt { path: path_text, reason },
    }
}

/// Returns the error for an I/O error of a file.
fn io_error(path: &Path, source: io::Error, phase: Phase) -> Error {
    let name = path.display().to_string();
    match (source.kind(), phase) {
        (io::ErrorKind::NotFound, Phase::Inspect) => Error::Missing { path: name },
        (io::ErrorKind::NotFound, Phase::Read) => Error::Vanished { path: name },
        (io::ErrorKind::StaleNetworkFileHandle, _) => {
            Error::Changed { path: name, what: REPLACED.to_owned() }
        }
        _ => Error::Unreadable { path: name, source, phase },
    }
}
