//! An object as a file that can be read at any place.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::input::location::{FileVersion, ReadAt};
use crate::store::{Entry, Store};

/// The number of bytes that are fetched at least.
const BLOCK: u64 = 64 << 10;

/// The number of blocks that are fetched at once at most.
const MOST_BLOCKS: u8 = 64;

/// A temporary file with what was fetched of all objects, one after the other.
#[derive(Debug, Default)]
pub struct FetchedBytes {
    file: OnceLock<File>,
    end: AtomicU64,
}

impl FetchedBytes {
    /// Appends bytes and returns their place.
    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let new = tempfile::tempfile()?;
                self.file.get_or_init(|| new)
            }
        };
        let place = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        write_all_at(file, bytes, place)?;
        Ok(place)
    }

    fn read_exact_at(&self, buffer: &mut [u8], place: u64) -> io::Result<()> {
        match self.file.get() {
            Some(file) => file.read_exact_at(buffer, place),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// An object that is read by ranges. What was fetched is kept, so that nothing is fetched twice however many times the rows are
/// read. Where blocks are read one after the other, as those of a column are, each fetch is twice as large as the one before.
#[derive(Debug)]
pub struct Object {
    store: Arc<Store>,
    entry: Entry,
    fetched: Arc<FetchedBytes>,
    /// The blocks that were fetched, by their numbers.
    blocks: Mutex<HashMap<u64, Block>>,
}

/// A block that was fetched.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Its place among the bytes that were fetched.
    place: u64,
    /// The number of blocks that were fetched with it.
    of: u8,
}

impl Object {
    /// Returns an object as it was described, of which nothing is fetched yet.
    #[must_use]
    pub fn new(store: Arc<Store>, entry: Entry, fetched: Arc<FetchedBytes>) -> Object {
        Object { store, entry, fetched, blocks: Mutex::default() }
    }

    /// Fetches a block, and those after it that are likely to be read next. Returns the place of the block.
    fn fetch(&self, blocks: &mut HashMap<u64, Block>, first: u64) -> io::Result<u64> {
        let before = first.checked_sub(1).and_then(|before| blocks.get(&before)).map_or(0, |block| block.of);
        let wanted = u64::from((2 * before).clamp(1, MOST_BLOCKS));
        let end = self.entry.bytes.div_ceil(BLOCK).min(first + wanted);
        let end = (first + 1..end).find(|block| blocks.contains_key(block)).unwrap_or(end);
        let range = first * BLOCK..(end * BLOCK).min(self.entry.bytes);
        let place = self.fetched.append(&self.store.read(&self.entry, range)?)?;
        for block in first..end {
            let place = place + (block - first) * BLOCK;
            blocks.insert(block, Block { place, of: (end - first) as u8 });
        }
        Ok(place)
    }
}

impl ReadAt for Object {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut start: u64) -> io::Result<()> {
        if start.checked_add(buffer.len() as u64).is_none_or(|end| end > self.entry.bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !buffer.is_empty() {
            let (block, offset) = (start / BLOCK, start % BLOCK);
            let place = {
                // A panic cannot leave a block that was not fetched.
                let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
                match blocks.get(&block) {
                    Some(Block { place, .. }) => *place,
                    None => self.fetch(&mut blocks, block)?,
                }
            };
            let length = buffer.len().min((BLOCK - offset) as usize);
            let (part, rest) = buffer.split_at_mut(length);
            self.fetched.read_exact_at(part, place + offset)?;
            (buffer, start) = (rest, start + length as u64);
        }
        Ok(())
    }

    fn version(&self) -> io::Result<FileVersion> {
        Ok(FileVersion::of_object(&self.entry))
    }

    fn tag(&self) -> Option<String> {
        self.entry.etag.clone()
    }

    fn version_now(&self) -> io::Result<FileVersion> {
        if self.entry.etag.is_some() {
            // Every fetch asks for the content with this tag.
            return self.version();
        }
        let now = self.store.describe(&self.entry.key)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(FileVersion::of_object(&now))
    }
}

/// The number of requests that are made at once. A request waits for the store most of the time, so it does not matter how many
/// cores there are.
const AT_ONCE: usize = 32;

/// Fetches the beginnings and, if asked, the ends of objects, several at once. What fails is told where the object is read.
pub fn fetch_ends(objects: &[&Arc<dyn ReadAt>], with_ends: bool) {
    let fetch = |object: &Arc<dyn ReadAt>| -> io::Result<()> {
        if with_ends {
            let last = object.version()?.bytes.saturating_sub(1);
            object.read_exact_at(&mut [0], last)?;
        }
        object.read_exact_at(&mut [0], 0)
    };
    for some in objects.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            for object in some {
                // Where the system has no more threads, the object is fetched where it is read.
                let _ = std::thread::Builder::new().spawn_scoped(scope, move || fetch(object));
            }
        });
    }
}

/// Writes bytes at a place of a file.
#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], place: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, place)
}

/// Writes bytes at a place of a file.
#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut place: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, place)?;
        (bytes, place) = (&bytes[written..], place + written as u64);
    }
    Ok(())
}
