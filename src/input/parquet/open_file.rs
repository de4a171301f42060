//! Opening Parquet files that may be anything: text with the wrong name, cut short, damaged on purpose.
//!
//! A file that makes the decoder ask for more memory than there is still ends the program.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use super::super::guard::guard;
use crate::error::{Error, Phase};

/// An open file as the decoder reads it.
///
/// It remembers the first failure of the disk, because the decoder turns every error into text, and whether a disk
/// failed or a file is damaged decides who can do something about it. It refuses to read past the end before
/// memory is asked for, so that a damaged length is an error.
#[derive(Clone)]
pub(in crate::input) struct OpenFile {
    file: Arc<File>,
    length: u64,
    modified: Option<SystemTime>,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl OpenFile {
    fn remember(&self, error: io::Error) -> io::Error {
        let copy = io::Error::new(error.kind(), error.to_string());
        // A panic while the lock is held leaves an `Option` that is whole.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(copy);
        error
    }

    /// The disk's failure, if there was one.
    pub(in crate::input) fn take_failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(in crate::input) fn length(&self) -> u64 {
        self.length
    }

    /// When it was written last, if the system tells.
    pub(in crate::input) fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    fn at(&self, start: u64) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }
}

impl Length for OpenFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for OpenFile {
    type T = BufReader<Remembering>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let file = self.at(start).map_err(|e| self.remember(e))?;
        Ok(BufReader::new(Remembering { file, source: self.clone() }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} are asked for, the file has {}",
                self.length
            )));
        }
        let mut file = self.at(start).map_err(|e| self.remember(e))?;
        let mut buffer = vec![0; length];
        file.read_exact(&mut buffer).map_err(|e| self.remember(e))?;
        Ok(buffer.into())
    }
}

/// A reader that reports the disk's failures to its [`OpenFile`].
pub(in crate::input) struct Remembering {
    file: File,
    source: OpenFile,
}

impl Read for Remembering {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => e,
            _ => self.source.remember(e),
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
    look_at_edges(&mut file, length, path, phase)?;
    let modified = metadata.modified().ok();
    let source = OpenFile { file: Arc::new(file), length, modified, failure: Arc::default() };
    // The schema that Arrow writers store beside Parquet's keeps dictionaries, time zones and widths.
    let loaded = guard(|| ArrowReaderMetadata::load(&source, ArrowReaderOptions::default()));
    match loaded {
        Ok(Ok(metadata)) => Ok((source, metadata)),
        Ok(Err(error)) => Err(damaged(path, &source, error.to_string(), phase)),
        Err(panic) => Err(damaged(path, &source, panic, phase)),
    }
}

/// Tells the usual mistakes apart before the decoder sees the file, by the marks at its two ends.
fn look_at_edges(file: &mut File, length: u64, path: &Path, phase: Phase) -> Result<(), Error> {
    const MARK: [u8; 4] = *b"PAR1";
    const ENCRYPTED: [u8; 4] = *b"PARE";
    /// Mark, footer length, mark.
    const LEAST: u64 = 12;
    let name = || path.display().to_string();
    if length == 0 {
        return Err(Error::EmptyFile { path: name() });
    }
    let not_parquet = |what: &str| Error::NotParquet { path: name(), what: what.to_owned() };
    if length < LEAST {
        return Err(not_parquet("it is shorter than the shortest of them"));
    }
    let mut edge = |from| -> io::Result<[u8; 4]> {
        let mut bytes = [0; 4];
        file.seek(from)?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let failed = |e| io_error(path, e, phase);
    let first = edge(SeekFrom::Start(0)).map_err(failed)?;
    let last = edge(SeekFrom::End(-4)).map_err(failed)?;
    match (first, last) {
        (MARK, MARK) => Ok(()),
        (ENCRYPTED, _) | (_, ENCRYPTED) => Err(Error::Encrypted { path: name() }),
        (MARK, _) => Err(Error::Truncated { path: name() }),
        (_, MARK) => Err(not_parquet("it ends like one, but its beginning is another")),
        _ => Err(not_parquet("the mark `PAR1` is missing")),
    }
}

/// The error for a decoder's failure: the disk's, if the disk failed meanwhile, otherwise the file's.
pub(in crate::input) fn damaged(path: &Path, source: &OpenFile, reason: String, phase: Phase) -> Error {
    match source.take_failure() {
        // The file was longer when it was opened.
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Changed { path: path.display().to_string(), what: "it became shorter".to_owned() }
        }
        Some(error) => io_error(path, error, phase),
        None => Error::Corrupt { path: path.display().to_string(), reason },
    }
}

fn io_error(path: &Path, source: io::Error, phase: Phase) -> Error {
    let name = path.display().to_string();
    match (source.kind(), phase) {
        (io::ErrorKind::NotFound, Phase::Inspect) => Error::Missing { path: name },
        (io::ErrorKind::NotFound, Phase::Read) => Error::Vanished { path: name },
        _ => Error::Unreadable { path: name, source, phase },
    }
}
