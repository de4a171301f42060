//! From what the user typed to a list of files: names, directories and globs.
//!
//! A directory stands for every `*.parquet` below it, except names that start with `.` or `_`: writers put their
//! markers and temporary files there (`_SUCCESS`, `_metadata`, `.part-0.crc`). A file that is named outright is
//! taken whatever it is called. A file that is reached in several ways is read once. The list is sorted by path,
//! so that file numbers do not depend on the order of the arguments or of the directory entries.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Phase};

/// The files that `inputs` stand for, sorted by path, each once.
///
/// # Errors
/// If there are none, or an input does not exist, matches nothing or cannot be listed.
pub fn expand(inputs: &[String]) -> Result<Vec<PathBuf>, Error> {
    if inputs.is_empty() {
        return Err(Error::NoInputs);
    }
    let mut found = Files::default();
    for input in inputs {
        let path = Path::new(input);
        match fs::metadata(path) {
            Ok(_) => found.add(path)?,
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unreadable(path, e)),
            // A path that exists is never a pattern: names with brackets in them stay usable.
            Err(_) if is_pattern(input) => found.add_matches(input)?,
            Err(_) => {
                return Err(Error::Missing { path: input.clone() });
            }
        }
    }
    let mut files = found.files;
    files.sort();
    Ok(files)
}

#[derive(Default)]
struct Files {
    files: Vec<PathBuf>,
    /// Resolved paths of `files`.
    seen: HashSet<PathBuf>,
}

impl Files {
    /// Adds a file, or every Parquet file below a directory.
    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let metadata = fs::metadata(path).map_err(|e| unreadable(path, e))?;
        if !metadata.is_dir() {
            if !metadata.is_file() {
                // A Parquet file is read from its end: a pipe would only block.
                let reason = io::Error::other("not a regular file; write it to one first");
                return Err(unreadable(path, reason));
            }
            return self.add_file(path);
        }
        // Directories already entered, against links that lead back up.
        let mut entered = HashSet::new();
        let mut pending = vec![path.to_owned()];
        let mut any = false;
        while let Some(directory) = pending.pop() {
            let resolved = fs::canonicalize(&directory).map_err(|e| unreadable(&directory, e))?;
            if !entered.insert(resolved) {
                continue;
            }
            for entry in fs::read_dir(&directory).map_err(|e| unreadable(&directory, e))? {
                let entry = entry.map_err(|e| unreadable(&directory, e))?;
                if is_skipped(&entry.file_name()) {
                    continue;
                }
                let path = entry.path();
                let is_parquet = path.extension() == Some(OsStr::new("parquet"));
                match fs::metadata(&path) {
                    // A directory's own name does not matter: some writers call it `table.parquet`.
                    Ok(metadata) if metadata.is_dir() => pending.push(path),
                    Ok(_) if is_parquet => {
                        any = true;
                        self.add_file(&path)?;
                    }
                    Err(e) if is_parquet => return Err(unreadable(&path, e)),
                    // Not ours: sockets, notes, links to nowhere.
                    Ok(_) | Err(_) => {}
                }
            }
        }
        if any { Ok(()) } else { Err(Error::EmptyDirectory { path: path.display().to_string() }) }
    }

    fn add_matches(&mut self, pattern: &str) -> Result<(), Error> {
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let matches = glob::glob_with(pattern, options)
            .map_err(|e| Error::BadPattern { pattern: pattern.to_owned(), reason: e.to_string() })?;
        let asks_for_marked = Path::new(pattern).file_name().is_some_and(is_skipped);
        let mut any = false;
        for path in matches {
            let path = path.map_err(|e| {
                let path = e.path().to_owned();
                unreadable(&path, e.into())
            })?;
            if !asks_for_marked && path.file_name().is_some_and(is_skipped) {
                continue;
            }
            any = true;
            self.add(&path)?;
        }
        if any { Ok(()) } else { Err(Error::NoMatch { pattern: pattern.to_owned() }) }
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Error> {
        let resolved = fs::canonicalize(path).map_err(|e| unreadable(path, e))?;
        if self.seen.insert(resolved) {
            self.files.push(path.to_owned());
        }
        Ok(())
    }
}

fn is_pattern(input: &str) -> bool {
    input.contains(['*', '?', '['])
}

/// Whether a name is one of those that writers use for what is not data.
fn is_skipped(name: &OsStr) -> bool {
    matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_'))
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { path: path.display().to_string(), source, phase: Phase::Inspect }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with the given files in it, all empty.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, b"").expect("a file");
        }
        root
    }

    fn expand_in(root: &tempfile::TempDir, inputs: &[&str]) -> Result<Vec<String>, Error> {
        let inputs: Vec<String> = inputs.iter().map(|i| root.path().join(i).display().to_string()).collect();
        let files = expand(&inputs)?;
        let relative =
            |f: &PathBuf| f.strip_prefix(root.path()).expect("below the root").display().to_string();
        Ok(files.iter().map(relative).collect())
    }

    #[test]
    fn directories_are_searched_and_markers_skipped() {
        let root = tree(&[
            "d/b.parquet",
            "d/a.parquet",
            "d/x/c.parquet",
            "d/.hidden.parquet",
            "d/_tmp.parquet",
            "d/_old/e.parquet",
            "d/.git/f.parquet",
            "d/notes.txt",
        ]);
        let files = expand_in(&root, &["d"]).expect("files");
        assert_eq!(files, ["d/a.parquet", "d/b.parquet", "d/x/c.parquet"]);
    }

    #[test]
    fn a_file_reached_twice_is_listed_once() {
        let root = tree(&["d/b.parquet", "d/a.parquet"]);
        let files =
            expand_in(&root, &["d/b.parquet", "d/*.parquet", "d", "d/../d/a.parquet"]).expect("files");
        assert_eq!(files, ["d/a.parquet", "d/b.parquet"]);
    }

    #[test]
    fn a_named_file_is_taken_whatever_its_name() {
        let root = tree(&["_x.dat", "run[1].parquet"]);
        assert_eq!(
            expand_in(&root, &["_x.dat", "run[1].parquet"]).expect("files"),
            ["_x.dat", "run[1].parquet"]
        );
    }

    #[test]
    fn patterns_match_files_and_directories() {
        let root = tree(&["r1/a.parquet", "r2/b.parquet", "s/c.parquet", "r3.txt"]);
        assert_eq!(expand_in(&root, &["r[12]"]).expect("files"), ["r1/a.parquet", "r2/b.parquet"]);
        assert_eq!(expand_in(&root, &["**/[bc].parquet"]).expect("files"), ["r2/b.parquet", "s/c.parquet"]);
    }

    #[test]
    fn nothing_found_is_an_error_of_its_kind() {
        let root = tree(&["d/notes.txt"]);
        assert!(matches!(expand(&[]), Err(Error::NoInputs)));
        assert!(matches!(expand_in(&root, &["d"]), Err(Error::EmptyDirectory { .. })));
        assert!(matches!(expand_in(&root, &["gone.parquet"]), Err(Error::Missing { .. })));
        assert!(matches!(expand_in(&root, &["*.parquet"]), Err(Error::NoMatch { .. })));
        assert!(matches!(expand_in(&root, &["a***b"]), Err(Error::BadPattern { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_back_up_end() {
        let root = tree(&["d/a.parquet"]);
        std::os::unix::fs::symlink(root.path().join("d"), root.path().join("d/again")).expect("a link");
        assert_eq!(expand_in(&root, &["d"]).expect("files"), ["d/a.parquet"]);
    }
}
