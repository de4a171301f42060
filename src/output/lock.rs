//! The lock of an output directory: only one run at a time writes to it.
//!
//! The lock is the operating system's lock of a file in the directory, which ends with the process that holds it. A file
//! that a killed process leaves behind is therefore not locked, and the next run takes it over.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::input::device_and_inode;

/// The name of the file that is locked.
pub const NAME: &str = ".sweepfit-lock";

/// A lock that is held. Dropping it removes its file.
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks an existing directory.
    ///
    /// # Errors
    /// If another process holds the lock, or the file cannot be written.
    pub fn take(directory: &Path) -> Result<Lock, Error> {
        let path = directory.join(NAME);
        let unusable = |error: io::Error| Error::UnusableOutput {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        loop {
            let options = File::options().read(true).write(true).create(true).truncate(false).clone();
            let mut file = options.open(&path).map_err(unusable)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = file.read_to_string(&mut holder);
                    let holder = holder.trim().to_owned();
                    return Err(Error::Locked { path: directory.display().to_string(), holder });
                }
                // A file system without locks.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
            // The holder before may have removed the file between opening and locking it: then another run can lock a new one.
            if !is_same_file(&file, &path) {
                continue;
            }
            let text = format!("process {}, since {}\n", std::process::id(), utc("%Y-%m-%dT%H:%M:%SZ"));
            file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).map_err(unusable)?;
            return Ok(Lock { path, _file: file });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that stays is no harm: it is not locked.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns whether a path still names an open file; where the system does not number files, whether it names one.
fn is_same_file(file: &File, path: &Path) -> bool {
    let of = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|metadata| device_and_inode(&metadata));
    of(file.metadata()) == of(fs::metadata(path))
}

/// Returns the time in UTC, in a format of chrono's.
pub(super) fn utc(format: &str) -> String {
    chrono::Utc::now().format(format).to_string()
}
