//! Where an input is: a file on this machine, or an object in a store.

use std::fmt::Debug;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::store::Entry;

/// What is said of an object that another has replaced.
pub const REPLACED: &str = "it was replaced by another object";

/// Bytes that can be read at any place.
pub trait ReadAt: Debug + Send + Sync {
    /// Fills a buffer from a place.
    ///
    /// # Errors
    /// If the place is beyond the end (`UnexpectedEof`), the content is no longer that which was opened
    /// (`StaleNetworkFileHandle`), or it cannot be read.
    fn read_exact_at(&self, buffer: &mut [u8], start: u64) -> io::Result<()>;

    /// Returns what identifies the content that is read.
    ///
    /// # Errors
    /// If the system does not say.
    fn version(&self) -> io::Result<FileVersion>;

    /// Returns the tag that a store gives the content.
    fn tag(&self) -> Option<String> {
        None
    }

    /// Returns what identifies the content that is there now.
    ///
    /// # Errors
    /// If the system does not say.
    fn version_now(&self) -> io::Result<FileVersion> {
        self.version()
    }
}

impl ReadAt for File {
    #[cfg(unix)]
    fn read_exact_at(&self, buffer: &mut [u8], start: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, start)
    }

    #[cfg(windows)]
    fn read_exact_at(&self, mut buffer: &mut [u8], mut start: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = std::os::windows::fs::FileExt::seek_read(self, buffer, start)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            (buffer, start) = (&mut buffer[read..], start + read as u64);
        }
        Ok(())
    }

    fn version(&self) -> io::Result<FileVersion> {
        let metadata = self.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(FileVersion::of(&metadata))
    }
}

/// Where an input is.
#[derive(Clone, Debug)]
pub struct Location {
    /// Its path or URL.
    pub path: PathBuf,
    /// The object, if it is one of a store's.
    pub object: Option<Arc<dyn ReadAt>>,
}

impl Location {
    /// Returns the location of a file on this machine.
    #[must_use]
    pub fn of_file(path: PathBuf) -> Location {
        Location { path, object: None }
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(&self) -> io::Result<Arc<dyn ReadAt>> {
        match &self.object {
            Some(object) => Ok(Arc::clone(object)),
            None => Ok(Arc::new(File::open(&self.path)?)),
        }
    }
}

/// Reads from the beginning to the end.
pub struct InOrder {
    source: Arc<dyn ReadAt>,
    place: u64,
    end: u64,
}

impl InOrder {
    /// Returns a reader of all bytes of a content.
    #[must_use]
    pub fn new(source: Arc<dyn ReadAt>, bytes: u64) -> InOrder {
        InOrder { source, place: 0, end: bytes }
    }

    /// Goes back to the beginning.
    pub fn rewind(&mut self) {
        self.place = 0;
    }
}

impl Read for InOrder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = (buffer.len() as u64).min(self.end - self.place) as usize;
        self.source.read_exact_at(&mut buffer[..length], self.place)?;
        self.place += length as u64;
        Ok(length)
    }
}

/// Returns the device of a file and the number of the file on the device, where the system says them. A file that replaces
/// another has another number.
pub(crate) fn device_and_inode(metadata: &Metadata) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        None
    }
}

/// What identifies the content of a file, as far as the system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// The length in bytes.
    pub bytes: u64,
    /// The time of the last modification.
    modified: Option<SystemTime>,
    /// The device and the number of the file on it.
    inode: Option<(u64, u64)>,
}

impl FileVersion {
    fn of(metadata: &Metadata) -> FileVersion {
        FileVersion {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            inode: device_and_inode(metadata),
        }
    }

    pub(in crate::input) fn of_object(entry: &Entry) -> FileVersion {
        FileVersion { bytes: entry.bytes, modified: entry.modified, inode: None }
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
