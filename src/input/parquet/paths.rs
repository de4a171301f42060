//! Expands names, directories and globs to a list of files.
//!
//! A directory stands for every `*.parquet` file below it. Names that start with `.` or `_` are skipped, because
//! writers use them for markers and temporary files (`_SUCCESS`, `_metadata`, `.part-0.crc`). A file given by its full
//! name is never skipped. A file that is matched several times is listed once. The list is sorted by path, so the
//! indices of files do not depend on the order of the arguments or of directory entries.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Phase};

/// Returns the files that `inputs` stand for, sorted by path, each once.
///
/// # Errors
/// If `inputs` is empty, or an input does not exist, matches no file or cannot be listed.
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
            // A path that exists is not treated as a pattern, so file names may contain brackets.
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

/// The files found so far.
#[derive(Default)]
struct Files {
    files: Vec<PathBuf>,
    /// The canonical paths of `files`.
    seen: HashSet<PathBuf>,
}

impl Files {
    /// Adds a file, or every Parquet file below a directory.
    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let metadata = fs::metadata(path).map_err(|e| unreadable(path, e))?;
        if !metadata.is_dir() {
            if !metadata.is_file() {
                // The footer is at the end of the file, and a pipe has no end to seek to.
                let reason = io::Error::other("not a regular file; write it to one first");
                return Err(unreadable(path, reason));
            }
            return self.add_file(path);
        }
        // The directories visited, because symbolic links can form cycles.
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
                    // A directory may have any name: some writers call one `table.parquet`.
                    Ok(metadata) if metadata.is_dir() => pending.push(path),
                    Ok(_) if is_parquet => {
                        any = true;
                        self.add_file(&path)?;
                    }
                    Err(e) if is_parquet => return Err(unreadable(&path, e)),
                    // Other files, sockets, dangling links.
                    Ok(_) | Err(_) => {}
                }
            }
        }
        if any { Ok(()) } else { Err(Error::EmptyDirectory { path: path.display().to_string() }) }
    }

    /// Adds the files and directories that match a pattern.
    fn add_matches(&mut self, pattern: &str) -> Result<(), Error> {
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let matches = glob::glob_with(pattern, options)
            .map_err(|e| Error::BadPattern { pattern: pattern.to_owned(), reason: e.to_string() })?;
        let matches_skipped = Path::new(pattern).file_name().is_some_and(is_skipped);
        let mut any = false;
        for path in matches {
            let path = path.map_err(|e| {
                let path = e.path().to_owned();
                unreadable(&path, e.into())
            })?;
            if !matches_skipped && path.file_name().is_some_and(is_skipped) {
                continue;
            }
            any = true;
            self.add(&path)?;
        }
        if any { Ok(()) } else { Err(Error::NoMatch { pattern: pattern.to_owned() }) }
    }

    /// Adds a file, unless it is listed already.
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

/// Returns whether a name starts with `.` or `_`.
fn is_skipped(name: &OsStr) -> bool {
    matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_'))
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { path: path.display().to_string(), source, phase: Phase::Inspect }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a directory with the given files, all empty.
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
    fn a_file_given_by_name_is_never_skipped() {
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
    fn each_cause_of_finding_no_file_has_its_error() {
        let root = tree(&["d/notes.txt"]);
        assert!(matches!(expand(&[]), Err(Error::NoInputs)));
        assert!(matches!(expand_in(&root, &["d"]), Err(Error::EmptyDirectory { .. })));
        assert!(matches!(expand_in(&root, &["gone.parquet"]), Err(Error::Missing { .. })));
        assert!(matches!(expand_in(&root, &["*.parquet"]), Err(Error::NoMatch { .. })));
        assert!(matches!(expand_in(&root, &["a***b"]), Err(Error::BadPattern { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn cyclic_links_are_followed_once() {
        let root = tree(&["d/a.parquet"]);
        std::os::unix::fs::symlink(root.path().join("d"), root.path().join("d/again")).expect("a link");
        assert_eq!(expand_in(&root, &["d"]).expect("files"), ["d/a.parquet"]);
    }
}
