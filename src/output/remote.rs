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
//! one after the other, on whatever machines, the second fails and changes nothing. `current.json` also names the earlier
//! snapshots that stay. What it does not name was sent by a run that died or came second, and is removed by the next run that
//! publishes, if its name is before that run's: a run that begins later chooses a later name.
//!
//! A result that is sent to a directory of its own is preceded by an object `.sending`, which one run alone can write.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::directory::{MANIFEST, files_below, holds_result, result_files, sync_directory};
use super::lock::{Lock, utc};
use super::snapshot_names::{SNAPSHOTS, UNPUBLISHED, is_snapshot};
use crate::error::Error;
use crate::store::{Condition, Entry, Store, Stores, is_below, key_below, url_of};

/// The object that names the current snapshot.
const CURRENT_OBJECT: &str = "current.json";

/// The bytes that are fetched at once.
const FETCHED_BYTES: u64 = 16 << 20;

/// The content of `current.json`.
#[derive(Debug, Serialize, Deserialize)]
struct CurrentObject {
    /// The directory of the snapshot, below that of `current.json`.
    snapshot: String,
    /// The names of the snapshots that were current before, the oldest first.
    #[serde(default)]
    earlier: Vec<String>,
}

/// The object that says that a run sends its tables.
const CLAIM: &str = ".sending";

/// The time after which a run that sends its tables is taken to have died.
const CLAIM_TIME: Duration = Duration::from_secs(3600);

/// The time after which a run says again that it sends its tables.
const RENEWAL_TIME: Duration = Duration::from_secs(60);

/// Returns whether the run that made a claim is taken to have died.
fn has_died(claim: &Entry) -> bool {
    let age = claim.modified.and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age > CLAIM_TIME)
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

/// Returns whether a path or URL holds a complete result of a run, or a current one.
///
/// # Errors
/// If the URL is refused, or the store cannot be asked.
pub fn is_result(path: &Path) -> Result<bool, Error> {
    let Some(remote) = RemoteDirectory::of(path)? else { return Ok(holds_result(path)) };
    let found = remote.current_or_self().and_then(|remote| remote.store.describe(&remote.key_of(MANIFEST)));
    found.map(|found| found.is_some()).map_err(|error| remote.unusable(&error))
}

/// How the names of directories begin in which snapshots are fetched.
pub const INCOMING: &str = ".incoming-";

/// A directory in a store.
#[derive(Debug)]
struct RemoteDirectory {
    store: Arc<Store>,
    /// Its key.
    key: String,
}

impl RemoteDirectory {
    /// Returns the directory that a path names; `None` for one on this machine. No request is made.
    ///
    /// # Errors
    /// If the URL is refused.
    fn of(path: &Path) -> Result<Option<RemoteDirectory>, Error> {
        let Some(url) = url_of(path) else { return Ok(None) };
        let (store, key) = Stores::default().open(url)?;
        Ok(Some(RemoteDirectory { store, key }))
    }

    fn shown(&self) -> String {
        self.store.shown(&self.key)
    }

    fn below(&self, name: &str) -> RemoteDirectory {
        RemoteDirectory { store: Arc::clone(&self.store), key: self.key_of(name) }
    }

    fn key_of(&self, name: &str) -> String {
        key_below(&self.key, name)
    }

    /// Returns the path of an object below the directory, if it is a file of a result.
    fn path_of<'a>(&self, object: &'a Entry) -> Option<&'a str> {
        let path = object.key[self.key.len()..].trim_start_matches('/');
        result_files().any(|name| path == name || is_below(path, &name)).then_some(path)
    }

    fn unusable(&self, error: &io::Error) -> Error {
        Error::UnusableOutput { path: self.shown(), reason: error.to_string() }
    }

    fn failure(&self, error: &io::Error) -> Error {
        let reason = match error.kind() {
            ErrorKind::StaleNetworkFileHandle => {
                "another run has published here since this one began, and its result stays; run again (with --resume this \
                 run's fits are copied)"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        Error::Write { path: self.shown(), reason }
    }

    /// Checks that a result can be written to the store.
    fn check_writable(&self) -> Result<(), Error> {
        if !self.store.is_web() {
            return Ok(());
        }
        let reason = "web servers are read alone; results go to a directory, or to s3://, gs:// or az://";
        Err(Error::UnusableOutput { path: self.shown(), reason: reason.to_owned() })
    }

    /// Checks that there is nothing in the directory, which could not be replaced in one step, but what a run has sent that died.
    /// Returns the keys of that. `claim` is the claim of this run, if it has made one.
    fn leftovers(&self, claim: Option<&Entry>) -> Result<Vec<String>, Error> {
        let found = self.store.list(&self.key).map_err(|error| self.unusable(&error))?;
        let refused = |reason: String| Err(Error::UnusableOutput { path: self.shown(), reason });
        let claim_key = self.key_of(CLAIM);
        let (claims, others): (Vec<&Entry>, Vec<&Entry>) =
            found.iter().partition(|object| object.key == claim_key);
        let is_own = |object: &&Entry| self.path_of(object).is_some_and(|path| path != MANIFEST);
        if !others.is_empty() && (claims.is_empty() || !others.iter().all(is_own)) {
            return refused(
                "there are objects here, which a store cannot replace in one step; name a new directory, or publish snapshots"
                    .to_owned(),
            );
        }
        if claim.is_none() && claims.iter().any(|claim| !has_died(claim)) {
            return refused(self.claimed());
        }
        Ok(others.into_iter().map(|object| object.key.clone()).collect())
    }

    /// Returns what is said where another run sends its tables.
    fn claimed(&self) -> String {
        let claim = self.store.shown(&self.key_of(CLAIM));
        format!("another run sends its tables here; if it has died, remove {claim} or wait for an hour")
    }

    /// Says in the store that this run sends its tables, if no other does. `old` is the claim of this run, or of one that died.
    /// Returns the claim.
    fn claim(&self, old: Option<&Entry>) -> Result<Entry, Error> {
        let key = self.key_of(CLAIM);
        let (process, random) = (std::process::id(), RandomState::new().hash_one(()));
        let text = format!("process {process}, at {} ({random:016x})\n", utc("%Y-%m-%dT%H:%M:%SZ"));
        let condition = old.map_or(Condition::Absent, Condition::Unchanged);
        self.write(CLAIM, text.as_bytes(), condition).map_err(|error| match error.kind() {
            ErrorKind::StaleNetworkFileHandle => {
                Error::UnusableOutput { path: self.shown(), reason: self.claimed() }
            }
            _ => self.failure(&error),
        })?;
        let made = self.store.describe(&key).map_err(|error| self.failure(&error))?;
        made.ok_or_else(|| Error::UnusableOutput { path: self.shown(), reason: self.claimed() })
    }

    /// Sends the files of a result, the manifest last.
    ///
    /// # Errors
    /// If the store refuses.
    fn send(
        &self,
        directory: &Path,
        interrupted: &AtomicBool,
        before_each: &mut dyn FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        // What else lies in the copy is of another run.
        for path in result_files().map(|name| directory.join(name)) {
            // A table in partitions is a directory.
            let files = if path.is_dir() { files_below(&path) } else { vec![path] };
            for file in files.iter().filter(|file| file.exists()) {
                let below = file.strip_prefix(directory).unwrap_or(file);
                let name =
                    below.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
                if interrupted.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                before_each()?;
                let sent = match name.as_str() {
                    // That of another run is never written over.
                    MANIFEST => {
                        fs::read(file).and_then(|text| self.write(MANIFEST, &text, Condition::Absent))
                    }
                    _ => self.store.upload(file, &self.key_of(&name), interrupted),
                };
                sent.map_err(|error| match error.kind() {
                    ErrorKind::Interrupted => Error::Interrupted,
                    _ => self.below(&name).failure(&error),
                })?;
            }
        }
        Ok(())
    }

    /// Fetches the files of a result to a directory on this machine, the manifest last, and syncs them.
    fn fetch(&self, directory: &Path) -> io::Result<()> {
        let manifest = self.key_of(MANIFEST);
        if self.store.describe(&manifest)?.is_none() {
            return Err(io::Error::other("there is no manifest.json, so this is no complete result"));
        }
        let mut found = self.store.list(&self.key)?;
        found.sort_by_key(|object| object.key == manifest);
        let mut directories = BTreeSet::from([directory.to_path_buf()]);
        for object in &found {
            let below = self.path_of(object).filter(|path| path.split('/').all(|part| part != ".."));
            let Some(below) = below else { continue };
            let path = directory.join(below);
            fs::create_dir_all(path.parent().unwrap_or(directory))?;
            directories.extend(
                path.ancestors().skip(1).take_while(|above| *above != directory).map(Path::to_path_buf),
            );
            let mut file = File::create(path)?;
            let mut at = 0;
            while at < object.bytes {
                let end = (at + FETCHED_BYTES).min(object.bytes);
                file.write_all(&self.store.read(object, at..end)?)?;
                at = end;
            }
            if let Some(time) = object.modified {
                file.set_modified(time)?;
            }
            file.sync_all()?;
        }
        directories.iter().try_for_each(|directory| sync_directory(directory))
    }

    /// Returns the directory of the current snapshot, if this is one of snapshots or its name ends in `current`; else this one.
    fn current_or_self(&self) -> io::Result<RemoteDirectory> {
        let key = match self.key.strip_suffix("current") {
            Some(above) if above.is_empty() || above.ends_with('/') => above.trim_end_matches('/'),
            _ => &self.key,
        };
        let root = RemoteDirectory { store: Arc::clone(&self.store), key: key.to_owned() };
        match root.current()? {
            Some(current) => Ok(root.below(SNAPSHOTS).below(&current.name)),
            None => Ok(RemoteDirectory { store: Arc::clone(&self.store), key: self.key.clone() }),
        }
    }

    /// Writes an object below the directory at once.
    fn write(&self, name: &str, content: &[u8], condition: Condition) -> io::Result<()> {
        let key = self.key_of(name);
        // The answer to a request that was carried out can be lost; asked again, the store sees its own change.
        let is_ours = || {
            let object = self.store.describe(&key).ok()??;
            let same = object.bytes == content.len() as u64;
            Some(same && self.store.read(&object, 0..object.bytes).ok()? == content)
        };
        match self.store.write(&key, content.to_vec(), condition) {
            Err(error) if error.kind() == ErrorKind::StaleNetworkFileHandle && is_ours() == Some(true) => {
                Ok(())
            }
            done => done,
        }
    }

    /// Returns the current snapshot; `None` where none is published.
    fn current(&self) -> io::Result<Option<CurrentSnapshot>> {
        let Some(object) = self.store.describe(&self.key_of(CURRENT_OBJECT))? else { return Ok(None) };
        let text = self.store.read(&object, 0..object.bytes)?;
        let found: CurrentObject = serde_json::from_slice(&text).map_err(io::Error::other)?;
        let name = found.snapshot.strip_prefix(SNAPSHOTS).and_then(|rest| rest.strip_prefix('/'));
        let name = name.filter(|name| !name.is_empty() && !name.contains('/') && !name.starts_with('.'));
        match name {
            Some(name) => Ok(Some(CurrentSnapshot { name: name.to_owned(), earlier: found.earlier, object })),
            None => Err(io::Error::other(format!("{CURRENT_OBJECT} names no snapshot"))),
        }
    }
}

/// What `current.json` says.
#[derive(Debug)]
struct CurrentSnapshot {
    name: String,
    earlier: Vec<String>,
    object: Entry,
}

/// A new directory in a store for one result, and the directory on this machine in which it is written. That is locked until the
/// value is dropped.
pub struct RemoteResult {
    remote: RemoteDirectory,
    copy: PathBuf,
    _lock: Lock,
}

impl RemoteResult {
    /// Returns the directory that a path names; `None` for one on this machine.
    ///
    /// # Errors
    /// If the URL is refused, or there is a result already.
    pub fn open(target: &Path) -> Result<Option<RemoteResult>, Error> {
        let Some(remote) = RemoteDirectory::of(target)? else { return Ok(None) };
        remote.check_writable()?;
        remote.leftovers(None)?;
        let root = local_directory(target)?;
        let unusable = |error: io::Error| Error::UnusableOutput {
            path: root.display().to_string(),
            reason: error.to_string(),
        };
        fs::create_dir_all(&root).map_err(unusable)?;
        let lock = Lock::take(&root)?;
        Ok(Some(RemoteResult { remote, copy: RemoteResult::copy_in(&root), _lock: lock }))
    }

    /// Returns the directory in which a result is written, given that of a URL.
    #[must_use]
    pub fn copy_in(root: &Path) -> PathBuf {
        root.join("result")
    }

    /// Returns the URL.
    #[must_use]
    pub fn shown(&self) -> String {
        self.remote.shown()
    }

    /// Sends the result that was written.
    ///
    /// # Errors
    /// If the store refuses, another run sends its result there, or the run is interrupted.
    pub fn send(&self, interrupted: &AtomicBool) -> Result<(), Error> {
        let RemoteResult { remote, copy, .. } = self;
        let key = remote.key_of(CLAIM);
        let old = remote.store.describe(&key).map_err(|error| remote.unusable(&error))?;
        let mut claim = remote.claim(old.as_ref().filter(|old| has_died(old)))?;
        let mut renewed = Instant::now();
        // Another run may have sent its result since this one began.
        let sent = remote.leftovers(Some(&claim)).and_then(|keys| {
            remote.store.remove(keys).map_err(|error| remote.failure(&error))?;
            remote.send(copy, interrupted, &mut || {
                if renewed.elapsed() > RENEWAL_TIME {
                    claim = remote.claim(Some(&claim))?;
                    renewed = Instant::now();
                }
                Ok(())
            })
        });
        let mut useless = Vec::new();
        if sent.is_ok() {
            // A claim that stays is no harm beside a manifest.
            useless.push(key);
        } else if remote.claim(Some(&claim)).is_ok() {
            // What was sent would keep the next run away. The claim of a run that has taken over stays.
            useless = remote.leftovers(Some(&claim)).unwrap_or_default();
            useless.push(key);
        }
        let _ = remote.store.remove(useless);
        sent
    }
}

/// A directory of snapshots in a store, as it was when a run began.
#[derive(Debug)]
pub struct RemoteSnapshots {
    root: RemoteDirectory,
    current: Option<CurrentSnapshot>,
}

impl RemoteSnapshots {
    /// Looks for the current snapshot of a directory that a path names; `None` for one on this machine.
    ///
    /// # Errors
    /// If the URL is refused, the store cannot be asked, or `current.json` is not what a run writes.
    pub fn open(target: &Path) -> Result<Option<RemoteSnapshots>, Error> {
        let Some(root) = RemoteDirectory::of(target)? else { return Ok(None) };
        root.check_writable()?;
        let current = root.current().map_err(|error| root.unusable(&error))?;
        Ok(Some(RemoteSnapshots { root, current }))
    }

    /// Returns the name of the current snapshot.
    #[must_use]
    pub fn current_name(&self) -> Option<&str> {
        self.current.as_ref().map(|current| current.name.as_str())
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
        let fetched = tempfile::Builder::new().prefix(INCOMING).tempdir_in(beside).and_then(|staging| {
            remote.fetch(staging.path())?;
            fs::rename(staging.keep(), directory)?;
            sync_directory(beside)
        });
        fetched.map_err(|error| remote.unusable(&error))
    }

    /// Sends a snapshot and makes it the current one. Then removes old ones but for the last `keep`, and what was never current.
    ///
    /// # Errors
    /// If the store refuses, the run is interrupted, or another run has published since this one began. The current snapshot is
    /// then the old one.
    pub fn publish(
        &self,
        name: &str,
        directory: &Path,
        (keep, interrupted): (usize, &AtomicBool),
    ) -> Result<(), Error> {
        self.snapshot(name).send(directory, interrupted, &mut || Ok(()))?;
        let mut earlier: Vec<String> = Vec::new();
        if let Some(current) = &self.current {
            earlier.extend(current.earlier.iter().chain([&current.name]).cloned());
        }
        earlier.drain(..earlier.len().saturating_sub(keep));
        let content = CurrentObject { snapshot: format!("{SNAPSHOTS}/{name}"), earlier: earlier.clone() };
        let content = serde_json::to_vec(&content).unwrap_or_default();
        let condition = match &self.current {
            Some(current) => Condition::Unchanged(&current.object),
            None => Condition::Absent,
        };
        let moved = self.root.write(CURRENT_OBJECT, &content, condition);
        moved.map_err(|error| self.root.failure(&error))?;
        // What cannot be removed now is removed by the next run.
        let _ = self.remove_before(name, |other| !earlier.iter().any(|kept| kept == other));
        Ok(())
    }

    /// Sends a snapshot that is not published, and removes the last such one.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn set_aside(&self, name: &str, directory: &Path, interrupted: &AtomicBool) -> Result<(), Error> {
        self.snapshot(name).send(directory, interrupted, &mut || Ok(()))?;
        let _ = self.remove_before(name, |other| other.ends_with(UNPUBLISHED));
        Ok(())
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

    /// Removes the snapshots before one that need not stay. Those after it may be of runs that have begun since.
    fn remove_before(&self, name: &str, is_removed: impl Fn(&str) -> bool) -> io::Result<()> {
        for (_, mut objects) in
            self.snapshots()?.into_iter().filter(|(other, _)| other.as_str() < name && is_removed(other))
        {
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
        let Some(remote) = RemoteDirectory::of(path)? else { return Ok(None) };
        let shown = remote.shown();
        let unusable =
            |error: io::Error| Error::UnusableResult { path: shown.clone(), reason: error.to_string() };
        let remote = remote.current_or_self().map_err(unusable)?;
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
    RemoteDirectory { store: Arc::clone(&store), key: key.clone() }.check_writable()?;
    let written = store.write(&key, content.to_vec(), Condition::None);
    let failed = |error: io::Error| Error::Write { path: store.shown(&key), reason: error.to_string() };
    written.map(|()| true).map_err(failed)
}
