//! An object as a file that can be read at any place.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::input::location::{FileVersion, ReadAt};
use crate::store::{Entry, Store};

/// The number of bytes that are fetched at least.
const BLOCK: u64 = 256 << 10;

/// The number of blocks that are fetched at once at most.
const MOST_BLOCKS: u8 = 16;

/// An object that is read by ranges. What was fetched is kept in a temporary file, so that nothing is fetched twice however
/// many times the rows are read. Where blocks are read one after the other, as those of a column are, each fetch is twice as
/// large as the one before.
#[derive(Debug)]
pub struct Object {
    store: Arc<Store>,
    entry: Entry,
    kept: Mutex<Kept>,
}

/// What was fetched of an object.
#[derive(Debug, Default)]
struct Kept {
    /// The bytes, at their places in the object.
    file: Option<File>,
    /// For each block, the number of blocks that were fetched with it; 0 for those that were not.
    fetched: Vec<u8>,
}

impl Object {
    /// Returns an object as it was described, of which nothing is fetched yet.
    #[must_use]
    pub fn new(store: Arc<Store>, entry: Entry) -> Object {
        Object { store, entry, kept: Mutex::default() }
    }

    fn fetch(&self, kept: &mut Kept, first: usize) -> io::Result<()> {
        let n_blocks = self.entry.bytes.div_ceil(BLOCK) as usize;
        kept.fetched.resize(n_blocks, 0);
        let before = first.checked_sub(1).map_or(0, |block| kept.fetched[block]);
        let wanted = usize::from((2 * before).clamp(1, MOST_BLOCKS));
        let absent = kept.fetched[first..].iter().take(wanted).take_while(|fetched| **fetched == 0).count();
        let range = first as u64 * BLOCK..((first + absent) as u64 * BLOCK).min(self.entry.bytes);
        let bytes = self.store.read(&self.entry, range.clone())?;
        let file = match &kept.file {
            Some(file) => file,
            None => kept.file.insert(tempfile::tempfile()?),
        };
        write_all_at(file, &bytes, range.start)?;
        kept.fetched[first..first + absent].fill(absent as u8);
        Ok(())
    }
}

impl ReadAt for Object {
    fn read_exact_at(&self, buffer: &mut [u8], start: u64) -> io::Result<()> {
        let end = start + buffer.len() as u64;
        if end > self.entry.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if buffer.is_empty() {
            return Ok(());
        }
        // A panic cannot leave more marked as fetched than was.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for block in (start / BLOCK) as usize..end.div_ceil(BLOCK) as usize {
            if kept.fetched.get(block).is_none_or(|fetched| *fetched == 0) {
                self.fetch(&mut kept, block)?;
            }
        }
        match &kept.file {
            Some(file) => file.read_exact_at(buffer, start),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn version(&self) -> io::Result<FileVersion> {
        Ok(FileVersion::of_object(&self.entry))
    }

    fn tag(&self) -> Option<String> {
        self.entry.etag.clone()
    }

    fn version_now(&self) -> io::Result<FileVersion> {
        let now = self.store.describe(&self.entry.key)?.ok_or(io::ErrorKind::NotFound)?;
        if now.etag != self.entry.etag {
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        Ok(FileVersion::of_object(&now))
    }
}

/// Writes bytes at a place of a file.
#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, start)
}

/// Writes bytes at a place of a file.
#[cfg(not(unix))]
fn write_all_at(mut file: &File, bytes: &[u8], start: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(start))?;
    file.write_all(bytes)
}
