//! The results of a run as far as it has come, beside its output directory: from them another run goes on after this one died.
//!
//! A part is a directory of results with the fits that were made since the part before. A run that goes on copies them by
//! their content hashes, as it copies the fits of any [earlier result](super::earlier). The parts are removed when a run is
//! complete.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::batches::Batches;
use super::directory::{Directory, entries};
use super::records::Chunk;
use crate::error::Error;

/// The time after which a part ends: what a run may lose.
const PART_TIME: Duration = Duration::from_secs(10);

/// The parts of a run.
pub struct Parts {
    root: PathBuf,
    /// The number of the next part.
    next: usize,
    open: Option<(Directory, Instant)>,
}

impl Parts {
    /// Returns the directory with the parts of runs to an output directory.
    #[must_use]
    pub fn root_of(output: &Path) -> Option<PathBuf> {
        let mut name = std::ffi::OsString::from(".sweepfit-parts-");
        name.push(output.file_name()?);
        Some(output.with_file_name(name))
    }

    /// Returns the parts in a directory, in the order in which they were written.
    #[must_use]
    pub fn found(root: &Path) -> Vec<PathBuf> {
        let mut parts: Vec<PathBuf> = entries(root).map(|entry| entry.path()).collect();
        parts.retain(|path| number(path).is_some());
        parts.sort_by_key(|path| number(path));
        parts
    }

    /// Returns the parts of a run that begins, or goes on after earlier ones.
    #[must_use]
    pub fn after(root: PathBuf, earlier: &[PathBuf]) -> Parts {
        let next = earlier.last().and_then(|path| number(path)).map_or(0, |last| last + 1);
        Parts { root, next, open: None }
    }

    /// Writes the records of a chunk to the current part, and ends the part if its time is over.
    ///
    /// # Errors
    /// If a table cannot be written.
    pub fn take(&mut self, batches: &Batches, chunk: &Chunk) -> Result<(), Error> {
        if chunk.records.is_empty() {
            return Ok(());
        }
        let tables = batches.tables_of_fits();
        let (directory, since) = match &mut self.open {
            Some(open) => open,
            None => {
                let path = self.root.join(format!("{:06}", self.next));
                self.next += 1;
                let mut directory = Directory::create(&path, true)?;
                for table in &tables {
                    directory.open(table.name, batches.schema(table), "")?;
                }
                self.open.insert((directory, Instant::now()))
            }
        };
        for table in &tables {
            directory.write(table.name, &batches.batch_of(table, chunk)?)?;
        }
        if since.elapsed() >= PART_TIME {
            self.end()?;
        }
        Ok(())
    }

    /// Ends the current part.
    ///
    /// # Errors
    /// If the part cannot be published.
    pub fn end(&mut self) -> Result<(), Error> {
        match self.open.take() {
            Some((directory, _)) => directory.finish("{}\n", "", &|_| Ok(Vec::new())).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// Returns the number of a part, given its directory.
fn number(path: &Path) -> Option<usize> {
    path.file_name()?.to_str()?.parse().ok()
}
