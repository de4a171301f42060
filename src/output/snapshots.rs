//! Snapshots: results that follow one another in a directory, of which a link names the current one.
//!
//! ```text
//! DIR/current            → snapshots/20250131T023000Z
//! DIR/snapshots/20250130T023000Z/
//! DIR/snapshots/20250131T023000Z/
//! ```
//!
//! A run writes to `snapshots/.unfinished`. When all is written, the directory gets its name, and the link moves to it in one
//! step of the file system. Readers see the old result or the new one; one that follows the link once reads one of them, whole.
//! A snapshot that is not published, because a limit of the user was exceeded, has a name that ends in `-unpublished`.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::directory::{entries, holds_result, sync_directory};
use super::lock::{Lock, utc};
use super::remote::{INCOMING, RemoteSnapshots, local_directory};
use super::snapshot_names::{CURRENT, SNAPSHOTS, UNPUBLISHED, is_snapshot};
use crate::error::Error;

/// The name of a snapshot that is being written.
const UNFINISHED: &str = ".unfinished";

/// The name of the link while it is made.
const NEXT_LINK: &str = ".current-next";

/// The name of a file with the name of a snapshot, from the moment before it gets the name until the link names it.
const MARKER: &str = ".publishing";

/// A directory of snapshots, in which one is being written. It is locked until the value is dropped.
pub struct Snapshots {
    root: PathBuf,
    /// The directory in a store, of which `root` is the copy on this machine.
    remote: Option<RemoteSnapshots>,
    _lock: Lock,
}

/// A snapshot that was named.
pub struct NamedSnapshot {
    /// Its directory.
    pub directory: PathBuf,
    /// Its path or URL.
    pub shown: String,
}

impl Snapshots {
    /// Opens a directory of snapshots and locks it; creates it where there is none. For one in a store, its copy is locked.
    ///
    /// A snapshot that a killed run had named and not published becomes the unfinished one again, whose fits the next run
    /// copies.
    ///
    /// # Errors
    /// If another run holds the lock, or the directory cannot be used.
    pub fn open(target: &Path) -> Result<Snapshots, Error> {
        let root = &local_directory(target)?;
        let unusable = |error: io::Error| unusable(root, &error);
        fs::create_dir_all(root.join(SNAPSHOTS)).map_err(unusable)?;
        let root = root.canonicalize().map_err(unusable)?;
        let lock = Lock::take(&root)?;
        let remote = RemoteSnapshots::open(target)?;
        let snapshots = Snapshots { root, remote, _lock: lock };
        let _ = fs::remove_file(snapshots.root.join(NEXT_LINK));
        if let Some(remote) = &snapshots.remote {
            for entry in entries(&snapshots.root.join(SNAPSHOTS)) {
                if entry.file_name().to_string_lossy().starts_with(INCOMING) {
                    let _ = fs::remove_dir_all(entry.path());
                }
            }
            // What the store says is current is so here too, once it is here.
            let _ = fs::remove_file(snapshots.root.join(CURRENT));
            if let Some(name) = remote.current_name().filter(|name| holds_result(&snapshots.path(name))) {
                snapshots.move_link(name).map_err(unusable)?;
            }
        }
        let marker = snapshots.root.join(MARKER);
        let named = fs::read_to_string(&marker).ok().filter(|name| is_snapshot(name));
        if let Some(name) = named.filter(|name| snapshots.current_name().as_ref() != Some(name)) {
            let path = snapshots.path(&name);
            if path.exists() && !snapshots.unfinished().exists() {
                fs::rename(path, snapshots.unfinished()).map_err(unusable)?;
            }
        }
        let _ = fs::remove_file(marker);
        Ok(snapshots)
    }

    /// Fetches the current snapshot of a directory in a store, if it is not here yet.
    ///
    /// # Errors
    /// If it cannot be fetched.
    pub fn fetch_current(&self) -> Result<(), Error> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let Some(name) = remote.current_name().filter(|_| self.current().is_none()) else { return Ok(()) };
        let _ = fs::remove_dir_all(self.path(name));
        remote.fetch(name, &self.path(name))?;
        self.move_link(name).map_err(|error| self.failure(&error))
    }

    /// Returns the directory in which a new snapshot is written, below a directory of snapshots.
    #[must_use]
    pub fn unfinished_in(root: &Path) -> PathBuf {
        root.join(SNAPSHOTS).join(UNFINISHED)
    }

    /// Returns the directory in which the new snapshot is written.
    #[must_use]
    pub fn unfinished(&self) -> PathBuf {
        Snapshots::unfinished_in(&self.root)
    }

    /// Returns the directory of the current snapshot; `None` where none is published.
    #[must_use]
    pub fn current(&self) -> Option<PathBuf> {
        self.current_name().map(|name| self.path(&name)).filter(|path| holds_result(path))
    }

    /// Publishes the snapshot that was written, and removes old ones but for the last `keep`.
    ///
    /// # Errors
    /// If the file system refuses. The current snapshot is then the old one.
    pub fn publish(self, keep: usize, interrupted: &AtomicBool) -> Result<NamedSnapshot, Error> {
        let name = self.next_name("")?;
        let failed = |error: io::Error| self.failure(&error);
        let marker = self.root.join(MARKER);
        let mark = || {
            let mut file = File::create(&marker)?;
            file.write_all(name.as_bytes())?;
            file.sync_all()?;
            sync_directory(&self.root)
        };
        mark().map_err(failed)?;
        self.name_unfinished(&name).map_err(failed)?;
        if let Some(remote) = &self.remote {
            remote.publish(&name, &self.path(&name), (keep, interrupted))?;
            // The store says what is current; the next run reads it there.
            let _ = self.move_link(&name);
        } else {
            self.move_link(&name).map_err(failed)?;
        }
        let _ = fs::remove_file(marker);
        let mut old = self.names();
        old.retain(|other| *other != name);
        let (unpublished, published): (Vec<String>, Vec<String>) =
            old.into_iter().partition(|other| other.ends_with(UNPUBLISHED));
        // Those of a store are kept there.
        let keep = if self.remote.is_some() { 0 } else { keep };
        let outdated = published.len().saturating_sub(keep);
        // What cannot be removed now is removed by the next run.
        for other in published.iter().take(outdated).chain(&unpublished) {
            let _ = fs::remove_dir_all(self.path(other));
        }
        Ok(self.named(&name))
    }

    /// Gives the snapshot that was written a name which says that it is not published. The last such snapshot stays until the
    /// next one.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn set_aside(self, interrupted: &AtomicBool) -> Result<NamedSnapshot, Error> {
        let name = self.next_name(UNPUBLISHED)?;
        self.name_unfinished(&name).map_err(|error| self.failure(&error))?;
        if let Some(remote) = &self.remote {
            remote.set_aside(&name, &self.path(&name), interrupted)?;
        }
        for other in self.names() {
            if other.ends_with(UNPUBLISHED) && other != name {
                let _ = fs::remove_dir_all(self.path(&other));
            }
        }
        Ok(self.named(&name))
    }

    fn named(&self, name: &str) -> NamedSnapshot {
        let directory = self.path(name);
        let shown = match &self.remote {
            Some(remote) => remote.shown(name),
            None => directory.display().to_string(),
        };
        NamedSnapshot { directory, shown }
    }

    /// Moves the link to a snapshot, in one step.
    fn move_link(&self, name: &str) -> io::Result<()> {
        let (link, target) = (self.root.join(NEXT_LINK), Path::new(SNAPSHOTS).join(name));
        symlink(&target, &link)?;
        fs::rename(&link, self.root.join(CURRENT))?;
        sync_directory(&self.root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(SNAPSHOTS).join(name)
    }

    /// Returns the name of the current snapshot.
    fn current_name(&self) -> Option<String> {
        let target = fs::read_link(self.root.join(CURRENT)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Returns the names of all snapshots that are finished, the oldest first.
    fn names(&self) -> Vec<String> {
        let directory = self.root.join(SNAPSHOTS);
        let names = entries(&directory).filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| is_snapshot(name)).collect();
        names.sort();
        names
    }

    /// Returns a name for a new snapshot: the time, and a number if there is another of that time.
    fn next_name(&self, ending: &str) -> Result<String, Error> {
        let time = utc("%Y%m%dT%H%M%SZ");
        let mut taken = self.names();
        if let Some(remote) = &self.remote {
            taken.extend(remote.names()?);
            taken.sort();
            return Ok(name_among(&taken, &time, RandomState::new().hash_one(())) + ending);
        }
        let is_new =
            |name: &String| taken.iter().all(|other| other.trim_end_matches(UNPUBLISHED) < name.as_str());
        // A clock that was set back gives a name after the last one all the same.
        let last = taken.last().map_or("", |name| name.trim_end_matches(UNPUBLISHED));
        let of_last = (2..).map(|n| format!("{}-{n:03}", last.split('-').next().unwrap_or(last)));
        let mut names = std::iter::once(time).chain(of_last);
        let name = names.find(is_new).unwrap_or_default();
        Ok(name + ending)
    }

    fn failure(&self, error: &io::Error) -> Error {
        Error::Write { path: self.root.display().to_string(), reason: error.to_string() }
    }

    fn name_unfinished(&self, name: &str) -> io::Result<()> {
        sync_directory(&self.unfinished())?;
        fs::rename(self.unfinished(), self.path(name))?;
        sync_directory(&self.root.join(SNAPSHOTS))
    }
}

/// Returns a name for a snapshot of a store, after those that are taken: a time and a random number, so that runs on two machines
/// do not write to one directory.
fn name_among(taken: &[String], time: &str, random: u64) -> String {
    const DIGITS: u64 = 1_000_000_000;
    let last = taken.last().map_or("", |name| name.trim_end_matches(UNPUBLISHED));
    let (of_last, number) = last.split_once('-').unwrap_or((last, ""));
    // A clock that was set back gives a name after the last one all the same.
    if of_last < time {
        return format!("{time}-{:09}", random % DIGITS);
    }
    let number: u64 = number.parse().unwrap_or(0);
    match DIGITS.checked_sub(number.saturating_add(1)) {
        Some(rest) if rest > 0 => format!("{of_last}-{:09}", number + 1 + random % rest.min(1 << 20)),
        // A longer number follows.
        _ => format!("{last}{}", random % 10),
    }
}

/// Makes a symbolic link.
#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::new(ErrorKind::Unsupported, "snapshots need symbolic links"))
}

fn unusable(root: &Path, error: &io::Error) -> Error {
    let reason = match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "it is not a directory".to_owned(),
        _ => error.to_string(),
    };
    Error::UnusableOutput { path: root.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    static RUNNING: AtomicBool = AtomicBool::new(false);

    fn snapshot(root: &Path, content: &str) -> Snapshots {
        let snapshots = Snapshots::open(root).expect("a directory");
        fs::create_dir_all(snapshots.unfinished()).expect("a directory");
        fs::write(snapshots.unfinished().join("manifest.json"), content).expect("a file");
        snapshots
    }

    fn current(root: &Path) -> String {
        fs::read_to_string(root.join("current/manifest.json")).expect("a manifest")
    }

    #[test]
    fn the_link_names_the_last_published_snapshot() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("lake");
        for number in 0..5 {
            assert_eq!(Snapshots::open(&root).expect("a directory").current().is_some(), number > 0);
            snapshot(&root, &number.to_string()).publish(2, &RUNNING).expect("published");
            assert_eq!(current(&root), number.to_string());
        }
        snapshot(&root, "aside").set_aside(&RUNNING).expect("set aside");
        snapshot(&root, "aside again").set_aside(&RUNNING).expect("set aside");
        assert_eq!(current(&root), "4");
        // The current one, two old ones and one that was set aside.
        assert_eq!(fs::read_dir(root.join("snapshots")).expect("a directory").count(), 4);
        snapshot(&root, "5").publish(0, &RUNNING).expect("published");
        assert_eq!(fs::read_dir(root.join("snapshots")).expect("a directory").count(), 1);
        assert_eq!(current(&root), "5");
    }

    /// A run that dies between naming its snapshot and moving the link leaves its fits to the next.
    #[test]
    fn a_snapshot_that_was_not_published_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        snapshot(root, "old").publish(7, &RUNNING).expect("published");
        let dying = snapshot(root, "new");
        let name = dying.next_name("").expect("a name");
        fs::write(root.join(MARKER), &name).expect("a file");
        dying.name_unfinished(&name).expect("named");
        drop(dying);
        let next = Snapshots::open(root).expect("a directory");
        assert_eq!(current(root), "old");
        assert_eq!(fs::read_to_string(next.unfinished().join("manifest.json")).expect("a file"), "new");
    }

    /// A user moves the link back, and keeps files of their own among the snapshots.
    #[test]
    fn snapshots_of_the_user_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let old = snapshot(root, "old").publish(7, &RUNNING).expect("published").directory;
        let new = snapshot(root, "new").publish(7, &RUNNING).expect("published").directory;
        fs::remove_file(root.join(CURRENT)).expect("removed");
        symlink(&old, &root.join(CURRENT)).expect("a link");
        fs::write(root.join("snapshots/README"), "mine").expect("a file");
        fs::create_dir(root.join("snapshots/golden")).expect("a directory");
        snapshot(root, "newest").publish(1, &RUNNING).expect("published");
        assert_eq!(current(root), "newest");
        assert!(new.exists() && !old.exists());
        assert!(root.join("snapshots/README").exists() && root.join("snapshots/golden").exists());
        // Without a link none is removed before the next is published.
        fs::remove_file(root.join(CURRENT)).expect("removed");
        drop(Snapshots::open(root).expect("a directory"));
        assert!(new.exists());
    }

    #[test]
    fn names_in_a_store_follow_those_that_are_taken() {
        let mut taken: Vec<String> = Vec::new();
        for (time, random) in [
            ("20250101T000000Z", 7),
            ("20250101T000000Z", 3),
            ("20250102T000000Z", u64::MAX),
            ("20250101T000000Z", 5),
        ] {
            let name = name_among(&taken, time, random);
            assert!(is_snapshot(&name) && taken.iter().all(|other| *other < name), "{name} after {taken:?}");
            taken.push(name);
        }
        let last = vec!["20250102T000000Z-999999998".to_owned()];
        assert_eq!(name_among(&last, "20250101T000000Z", 12), "20250102T000000Z-999999999");
    }

    #[test]
    fn two_runs_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Snapshots::open(folder.path()).expect("a directory");
        assert!(matches!(Snapshots::open(folder.path()), Err(Error::Locked { .. })));
        drop(first);
        assert!(Snapshots::open(folder.path()).is_ok());
    }
}
