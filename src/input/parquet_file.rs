//! Opening Parquet files that may be anything: text with the wrong name, cut short, damaged on purpose.
//!
//! The decoder is not written for hostile bytes and panics on some of them (0.3 % of 90,000 damaged files). A
//! panic is caught around each of its steps and becomes the error that it is. That needs unwinding: never build
//! with `panic = "abort"`. A file that makes the decoder ask for more memory than there is still ends the program.

use std::any::Any;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use super::error::{DatasetError, Phase};

thread_local! {
    /// Whether this thread is inside [`guard`], where a panic is an answer and no accident.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs one step of the decoder; a panic becomes the message it carries.
///
/// Nothing is printed for such a panic. All other panics, those of other threads included, are reported as before:
/// the hook that is installed here asks the thread it runs on and passes everything else to the hook before it.
pub(in crate::input) fn guard<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                previous(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    // What `step` may leave half-changed is not used again: its file is given up.
    let result = panic::catch_unwind(AssertUnwindSafe(step));
    GUARDED.set(outer);
    result.map_err(|payload| message_of(payload.as_ref()))
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    // Assertion messages spread over lines; the first says what.
    format!("decoding failed: {}", panic_text(payload).lines().next().unwrap_or_default())
}

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
pub(in crate::input) fn open(
    path: &Path,
    phase: Phase,
) -> Result<(OpenFile, ArrowReaderMetadata), DatasetError> {
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
fn look_at_edges(file: &mut File, length: u64, path: &Path, phase: Phase) -> Result<(), DatasetError> {
    const MARK: [u8; 4] = *b"PAR1";
    const ENCRYPTED: [u8; 4] = *b"PARE";
    /// Mark, footer length, mark.
    const LEAST: u64 = 12;
    let name = || path.display().to_string();
    if length == 0 {
        return Err(DatasetError::EmptyFile { path: name() });
    }
    let not_parquet = |what: &str| DatasetError::NotParquet { path: name(), what: what.to_owned() };
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
        (ENCRYPTED, _) | (_, ENCRYPTED) => Err(DatasetError::Encrypted { path: name() }),
        (MARK, _) => Err(DatasetError::Truncated { path: name() }),
        (_, MARK) => Err(not_parquet("it ends like one, but its beginning is another")),
        _ => Err(not_parquet("the mark `PAR1` is missing")),
    }
}

/// The error for a decoder's failure: the disk's, if the disk failed meanwhile, otherwise the file's.
pub(in crate::input) fn damaged(
    path: &Path,
    source: &OpenFile,
    reason: String,
    phase: Phase,
) -> DatasetError {
    match source.take_failure() {
        // The file was longer when it was opened.
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            DatasetError::Changed { path: path.display().to_string(), what: "it became shorter".to_owned() }
        }
        Some(error) => io_error(path, error, phase),
        None => DatasetError::Corrupt { path: path.display().to_string(), reason },
    }
}

fn io_error(path: &Path, source: io::Error, phase: Phase) -> DatasetError {
    let name = path.display().to_string();
    match (source.kind(), phase) {
        (io::ErrorKind::NotFound, Phase::Inspect) => DatasetError::Missing { path: name },
        (io::ErrorKind::NotFound, Phase::Read) => DatasetError::Vanished { path: name },
        _ => DatasetError::Unreadable { path: name, source, phase },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let answer: Result<(), String> = guard(|| panic!("value {} of\nmany", 7));
        assert_eq!(answer, Err("decoding failed: value 7 of".to_owned()));
        assert_eq!(guard(|| 5), Ok(5));
        assert!(!GUARDED.get(), "the silence ends with the step");
    }
}
