//! Results in object stores.
//!
//! A store has neither links nor directories that change places. A result is therefore written to a copy on this machine, in
//! the user's directory of caches, and is sent from there when it is complete. A directory of [snapshots](super::snapshots)
//! has in place of the link `current` an object `current.json` with the name of the current snapshot:
//!
//! ```text
//! s3://lake/fits/current.json            {"snapshot": "snapshots/20250131T023000Z"}
//! s3://lake/fits/snapshots/20250131T023000Z/fits.parquet …
//! ```
//!
//! It is written after all tables, in one step, and only if it still is what it was when the run began: of two runs that end
//! one after the other, on whatever machines, the second fails and changes nothing. What a killed run has sent is named by no
//! `current.json`, and is removed by the next run that publishes.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::directory::{MANIFEST, entries};
use super::snapshot_names::{SNAPSHOTS, UNPUBLISHED, is_snapshot};
use crate::error::Error;
use crate::store::{Condition, Entry, Store, Stores, has_scheme};

/// The object that names the current snapshot.
const CURRENT_OBJECT: &str = "current.json";

/// The bytes that are fetched at once.
const FETCHED_BYTES: u64 = 16 << 20;

/// The content of `current.json`.
#[derive(Debug, Serialize, Deserialize)]
struct CurrentObject {
    /// The directory of the snapshot, below that of `current.json`.
    snapshot: String,
}

/// Returns the directory on this machine for what is written to a path or URL: the path itself, or that of the copy.
///
/// # Errors
/// If the URL is refused, or the user has no directory of caches.
pub fn local_directory(target: &Path) -> Result<PathBuf, Error> {
    match url_of(target) {
        Some(url) => Store::local_copy(url),
        None => Ok(target.to_path_buf()),
    }
}

/// Returns the URL that stands in the place of a path, if one does.
fn url_of(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| has_scheme(text))
}

/// A directory in a store.
#[derive(Debug)]
pub struct RemoteDirectory {
    store: Arc<Store>,
    /// Its key.
    key: String,
}

impl RemoteDirectory {
    /// Returns the directory that a path names; `None` for one on this machine. No request is made.
    ///
    /// # Errors
    /// If the URL is refused.
    pub fn of(path: &Path) -> Result<Option<RemoteDirectory>, Error> {
        let Some(url) = url_of(path) else { return Ok(None) };
        let (store, key) = Stores::default().open(url)?;
        Ok(Some(RemoteDirectory { store, key }))
    }

    /// Returns its URL.
    #[must_use]
    pub fn shown(&self) -> String {
        self.store.shown(&self.key)
    }

    /// Returns a directory below it.
    #[must_use]
    pub fn below(&self, name: &str) -> RemoteDirectory {
        RemoteDirectory { store: Arc::clone(&self.store), key: self.key_of(name) }
    }

    fn key_of(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}/{name}", self.key) }
    }

    fn unusable(&self, error: &io::Error) -> Error {
        Error::UnusableOutput { path: self.shown(), reason: error.to_string() }
    }

    fn failure(&self, error: &io::Error) -> Error {
        let reason = match error.kind() {
            ErrorKind::StaleNetworkFileHandle => {
                "another run has published here since this one began, and its result stays; \
                                                  run again, which copies the fits of both"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        Error::Write { path: self.shown(), reason }
    }

    /// Checks that there is no result in the directory yet, which could not be replaced in one step.
    ///
    /// # Errors
    /// If there is one, or the store cannot be asked.
    pub fn check_new(&self) -> Result<(), Error> {
        match self.store.list(&self.key) {
            Ok(found) if found.is_empty() => Ok(()),
            Ok(_) => {
                let reason = "there are objects here, which a store cannot replace in one step; name a new directory, or publish \
                              snapshots";
                Err(Error::UnusableOutput { path: self.shown(), reason: reason.to_owned() })
            }
            Err(error) => Err(self.unusable(&error)),
        }
    }

    /// Sends all files of a directory, the manifest last.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn send(&self, directory: &Path) -> Result<(), Error> {
        let mut files: Vec<String> =
            entries(directory).filter_map(|entry| entry.file_name().into_string().ok()).collect();
        files.retain(|name| !name.starts_with('.'));
        files.sort_by_key(|name| (name == MANIFEST, name.clone()));
        for name in files {
            let sent = self.store.upload(&directory.join(&name), &self.key_of(&name));
            sent.map_err(|error| self.below(&name).failure(&error))?;
        }
        Ok(())
    }

    /// Fetches all files of the directory to one on this machine.
    fn fetch(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        for object in self.store.list(&self.key)? {
            let name = object.key[self.key.len()..].trim_start_matches('/');
            if name.contains('/') {
                continue;
            }
            let mut file = File::create(directory.join(name))?;
            let mut at = 0;
            while at < object.bytes {
                let end = (at + FETCHED_BYTES).min(object.bytes);
                file.write_all(&self.store.read(&object, at..end)?)?;
                at = end;
            }
        }
        Ok(())
    }

    /// Writes an object below the directory at once.
    fn write(&self, name: &str, content: Vec<u8>, condition: Condition) -> io::Result<()> {
        self.store.write(&self.key_of(name), content, condition)
    }

    /// Returns the name of the current snapshot and its object, `None` where none is published.
    fn current(&self) -> io::Result<Option<(String, Entry)>> {
        let Some(object) = self.store.describe(&self.key_of(CURRENT_OBJECT))? else { return Ok(None) };
        let text = self.store.read(&object, 0..object.bytes)?;
        let found: CurrentObject = serde_json::from_slice(&text).map_err(io::Error::other)?;
        let name = found.snapshot.strip_prefix(SNAPSHOTS).and_then(|rest| rest.strip_prefix('/'));
        let name = name.filter(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.'));
        match name {
            Some(name) => Ok(Some((name.to_owned(), object))),
            None => Err(io::Error::other(format!("{CURRENT_OBJECT} names no snapshot"))),
        }
    }
}

/// A directory of snapshots in a store, as it was when a run began.
#[derive(Debug)]
pub struct RemoteSnapshots {
    root: RemoteDirectory,
    current: Option<(String, Entry)>,
}

impl RemoteSnapshots {
    /// Looks for the current snapshot.
    ///
    /// # Errors
    /// If the store cannot be asked, or `current.json` is not what a run writes.
    pub fn open(root: RemoteDirectory) -> Result<RemoteSnapshots, Error> {
        let current = root.current().map_err(|error| root.unusable(&error))?;
        Ok(RemoteSnapshots { root, current })
    }

    /// Returns the name of the current snapshot.
    #[must_use]
    pub fn current_name(&self) -> Option<&str> {
        self.current.as_ref().map(|(name, _)| name.as_str())
    }

    /// Returns the URL of a snapshot.
    #[must_use]
    pub fn shown(&self, name: &str) -> String {
        self.snapshot(name).shown()
    }

    fn snapshot(&self, name: &str) -> RemoteDirectory {
        self.root.below(SNAPSHOTS).below(name)
    }

    /// Fetches a snapshot to a directory, which appears when it is complete.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn fetch(&self, name: &str, directory: &Path) -> Result<(), Error> {
        let remote = self.snapshot(name);
        let beside = directory.parent().unwrap_or(directory);
        let fetched = tempfile::Builder::new().prefix(".incoming-").tempdir_in(beside).and_then(|staging| {
            remote.fetch(staging.path())?;
            fs::rename(staging.keep(), directory)
        });
        fetched.map_err(|error| remote.unusable(&error))
    }

    /// Sends a snapshot and makes it the current one. Then removes old ones but for the last `keep`, and what is no complete
    /// snapshot.
    ///
    /// # Errors
    /// If the store refuses, or another run has published since this one began. The current snapshot is then the old one.
    pub fn publish(&self, name: &str, directory: &Path, keep: usize) -> Result<(), Error> {
        self.send(name, directory)?;
        let content = CurrentObject { snapshot: format!("{SNAPSHOTS}/{name}") };
        let content = serde_json::to_vec(&content).unwrap_or_default();
        let condition = match &self.current {
            Some((_, old)) => Condition::Unchanged(old),
            None => Condition::Absent,
        };
        let moved = self.root.write(CURRENT_OBJECT, content, condition);
        moved.map_err(|error| self.root.failure(&error))?;
        // What cannot be removed now is removed by the next run.
        let _ = self.remove_old(name, keep);
        Ok(())
    }

    /// Sends a snapshot.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn send(&self, name: &str, directory: &Path) -> Result<(), Error> {
        self.snapshot(name).send(directory)
    }

    /// Returns the names of the snapshots in the store, sorted, with their objects.
    fn snapshots(&self) -> io::Result<Vec<(String, Vec<Entry>)>> {
        let all = self.root.below(SNAPSHOTS);
        let mut snapshots: Vec<(String, Vec<Entry>)> = Vec::new();
        for object in self.root.store.list(&all.key)? {
            let below = object.key[all.key.len()..].trim_start_matches('/');
            let Some((name, _)) = below.split_once('/') else { continue };
            if !is_snapshot(name) {
                continue;
            }
            match snapshots.last_mut() {
                Some((last, objects)) if last == name => objects.push(object),
                _ => snapshots.push((name.to_owned(), vec![object])),
            }
        }
        Ok(snapshots)
    }

    /// Returns the names of the snapshots in the store, sorted.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let found = self.snapshots().map_err(|error| self.root.unusable(&error))?;
        Ok(found.into_iter().map(|(name, _)| name).collect())
    }

    fn remove_old(&self, current: &str, keep: usize) -> io::Result<()> {
        let mut old = self.snapshots()?;
        old.retain(|(name, _)| name != current);
        let is_whole = |(name, objects): &(String, Vec<Entry>)| {
            !name.ends_with(UNPUBLISHED)
                && objects.iter().any(|object| object.key.ends_with(&format!("/{MANIFEST}")))
        };
        let (published, rest): (Vec<_>, Vec<_>) = old.into_iter().partition(is_whole);
        let outdated = published.len().saturating_sub(keep);
        for (_, mut objects) in published.into_iter().take(outdated).chain(rest) {
            // The manifest first: what is left of a snapshot is then none.
            objects.sort_by_key(|object| !object.key.ends_with(&format!("/{MANIFEST}")));
            self.root.store.remove(objects.into_iter().map(|object| object.key).collect())?;
        }
        Ok(())
    }
}

/// A result that was fetched from a store; the copy is removed with the value.
#[derive(Debug)]
pub struct FetchedResult {
    directory: TempDir,
}

impl FetchedResult {
    /// Fetches the result that a path names; `None` where the path is one on this machine. `DIR/current`, and `DIR` itself, is the
    /// current snapshot of a directory of snapshots.
    ///
    /// # Errors
    /// If it cannot be fetched.
    pub fn of(path: &Path) -> Result<Option<FetchedResult>, Error> {
        let Some(mut remote) = RemoteDirectory::of(path)? else { return Ok(None) };
        let shown = remote.shown();
        let unusable =
            |error: io::Error| Error::UnusableResult { path: shown.clone(), reason: error.to_string() };
        let root = match remote.key.strip_suffix("current") {
            Some(above) if above.is_empty() || above.ends_with('/') => RemoteDirectory {
                store: Arc::clone(&remote.store),
                key: above.trim_end_matches('/').to_owned(),
            },
            _ => RemoteDirectory { store: Arc::clone(&remote.store), key: remote.key.clone() },
        };
        if let Some((name, _)) = root.current().map_err(unusable)? {
            remote = root.below(SNAPSHOTS).below(&name);
        }
        let fetched = TempDir::new().and_then(|directory| {
            remote.fetch(directory.path())?;
            Ok(FetchedResult { directory })
        });
        fetched.map(Some).map_err(unusable)
    }

    /// Returns the directory with the copy.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// Writes a file to the store that a path names. Returns false where the path is one on this machine, where nothing is done.
///
/// # Errors
/// If the URL or the store refuses.
pub fn write_object(path: &Path, content: &[u8]) -> Result<bool, Error> {
    let Some(url) = url_of(path) else { return Ok(false) };
    let (store, key) = Stores::default().open(url)?;
    let written = store.write(&key, content.to_vec(), Condition::None);
    let failed = |error: io::Error| Error::Write { path: store.shown(&key), reason: error.to_string() };
    written.map(|()| true).map_err(failed)
}
