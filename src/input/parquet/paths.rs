//! Expands names, directories and globs to a list of files.
//!
//! A directory stands for every file below it that ends in `.parquet` or begins like a Parquet file. Names that start with
//! `.` or `_` are skipped, because writers use them for markers and temporary files (`_SUCCESS`, `_metadata`,
//! `.part-0.crc`), and so are pipes and sockets, which have no end to seek to. Links to files are
//! followed, and links to directories are not, so that no link leads in circles or out of the directory (as in DuckDB 2.0);
//! a link to a directory that is given by its full name stands for the directory. What is skipped is listed with the reason.
//! Alternatives in braces are expanded as shells do. Files in the directory of a table of the format Delta, Iceberg or Hudi may be
//! of older versions of the table, or deleted from it: a Delta table is listed as a table, and its directory is not searched;
//! tables of the others are refused.
//! A file given by its full name is never skipped. A file that is matched several times is listed once. The lists are
//! sorted by path, so the indices of files do not depend on the order of the arguments or of directory entries.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Phase};
use crate::input::found::{Expanded, FoundFile, FoundTable, HIDDEN, NOT_PARQUET, Skipped, TEXT};
use crate::input::location::Location;
use crate::input::objects::{self, ObjectInputs};
use crate::input::patterns::{WILDCARDS, alternatives, is_hidden, is_pattern, typed_components};
use crate::input::text::TextFormat;
use crate::store::has_scheme;

/// Returns the files that `inputs` stand for.
///
/// # Errors
/// If `inputs` is empty, or an input does not exist, matches no file or cannot be listed.
pub fn expand(inputs: &[String]) -> Result<Expanded, Error> {
    if inputs.is_empty() {
        return Err(Error::NoInputs);
    }
    let (mut found, mut objects) = (Files::default(), ObjectInputs::default());
    for input in inputs {
        let path = Path::new(input);
        found.typed = typed_components(path);
        found.takes_text = TextFormat::of(input).is_some();
        if has_scheme(input) {
            found.add_remote(objects::find(input, &mut objects)?);
            continue;
        }
        match fs::metadata(path) {
            Ok(_) => {
                found.add(path, true)?;
            }
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(unreadable(path, e)),
            // A path that exists is not treated as a pattern, so file names may contain brackets.
            Err(_) => found.add_pattern(input)?,
        }
    }
    let Files { mut files, tables, mut skipped, .. } = found;
    files.sort_by(|a, b| a.location.path.cmp(&b.location.path));
    skipped.sort();
    skipped.dedup();
    let mut tables: Vec<FoundTable> = tables.into_values().collect();
    tables.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Expanded { files, tables, skipped })
}

/// The files found so far.
#[derive(Default)]
struct Files {
    files: Vec<FoundFile>,
    /// The components that the user typed of the input that is being expanded.
    typed: usize,
    /// Whether the input that is being expanded ends like files of text, so that those that it matches are read.
    takes_text: bool,
    /// The places in `files` by canonical path.
    seen: HashMap<PathBuf, usize>,
    /// The tables by canonical path.
    tables: HashMap<PathBuf, FoundTable>,
    skipped: Vec<Skipped>,
}

impl Files {
    /// Adds a file, or every Parquet file below a directory, and returns whether there was one. `named` says whether the path
    /// was given, and not matched by a pattern.
    fn add(&mut self, path: &Path, named: bool) -> Result<bool, Error> {
        let metadata = fs::metadata(path).map_err(|e| unreadable(path, e))?;
        if !metadata.is_dir() {
            if named && !metadata.is_file() {
                // The footer is at the end of the file, and a pipe has no end to seek to.
                let reason = io::Error::other("it is not a regular file; write it to one first");
                return Err(unreadable(path, reason));
            }
            return self.add_file(path, &metadata, named);
        }
        let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        if is_link && !named {
            self.skipped.push(Skipped::new(path, LINKED_DIRECTORY));
            return Ok(false);
        }
        if self.add_table(path)? {
            return Ok(true);
        }
        let mut pending = vec![path.to_owned()];
        let mut any = false;
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).map_err(|e| unreadable(&directory, e))? {
                let entry = entry.map_err(|e| unreadable(&directory, e))?;
                let path = entry.path();
                if is_hidden(entry.file_name()) {
                    self.skipped.push(Skipped::new(&path, HIDDEN));
                    continue;
                }
                let is_link = entry.file_type().is_ok_and(|file_type| file_type.is_symlink());
                match fs::metadata(&path) {
                    Ok(metadata) if metadata.is_dir() && is_link => {
                        self.skipped.push(Skipped::new(&path, LINKED_DIRECTORY));
                    }
                    // A directory may have any name: some writers call one `table.parquet`.
                    Ok(metadata) if metadata.is_dir() => {
                        if self.add_table(&path)? {
                            any = true;
                        } else {
                            pending.push(path);
                        }
                    }
                    Ok(metadata) => any |= self.add_file(&path, &metadata, false)?,
                    Err(e) if ends_like_parquet(&path) => return Err(unreadable(&path, e)),
                    // Dangling links.
                    Err(e) => self.skipped.push(Skipped::new(&path, e.to_string())),
                }
            }
        }
        if any || !named {
            return Ok(any);
        }
        Err(Error::EmptyDirectory { path: path.display().to_string() })
    }

    /// Adds a directory if it is that of a Delta table, and returns whether it is. Tables of other formats are refused.
    fn add_table(&mut self, path: &Path) -> Result<bool, Error> {
        match table_format(path) {
            None => return Ok(false),
            Some(DELTA) => {}
            Some(format) => return Err(Error::TableFormat { path: path.display().to_string(), format }),
        }
        let resolved = fs::canonicalize(path).map_err(|e| unreadable(path, e))?;
        let found = FoundTable { path: path.to_owned(), typed: self.typed, remote: None };
        let known = self.tables.entry(resolved).or_insert_with(|| found.clone());
        if rank(&found.path) < rank(&known.path) {
            known.path = found.path;
        }
        known.typed = known.typed.max(found.typed);
        Ok(true)
    }

    /// Adds what a URL stands for.
    fn add_remote(&mut self, found: Expanded) {
        for file in found.files {
            self.add_found(file.location.path.clone(), file);
        }
        for table in found.tables {
            self.tables.entry(table.path.clone()).or_insert(table);
        }
        self.skipped.extend(found.skipped);
    }

    /// Adds what an input stands for that is not the name of a file or directory.
    fn add_pattern(&mut self, input: &str) -> Result<(), Error> {
        let alternatives = alternatives(input);
        if alternatives.len() == 1 && !is_pattern(input) {
            return Err(Error::Missing { path: input.to_owned() });
        }
        let mut any = false;
        for alternative in &alternatives {
            let path = Path::new(alternative);
            self.typed = typed_components(path);
            any |= if fs::metadata(path).is_ok() {
                self.add(path, false)?
            } else if is_pattern(alternative) {
                self.add_matches(alternative)?
            } else {
                return Err(Error::Missing { path: alternative.clone() });
            };
        }
        if any { Ok(()) } else { Err(Error::NoMatch { pattern: input.to_owned() }) }
    }

    /// Adds the files and directories that match a pattern, and returns whether there was a file.
    fn add_matches(&mut self, pattern: &str) -> Result<bool, Error> {
        let matches = matches(pattern)?;
        let matches_skipped = Path::new(pattern).file_name().is_some_and(is_hidden);
        let mut any = false;
        for path in matches {
            if !matches_skipped && path.file_name().is_some_and(is_hidden) {
                self.skipped.push(Skipped::new(&path, HIDDEN));
                continue;
            }
            any |= self.add(&path, false)?;
        }
        Ok(any)
    }

    /// Adds a file, unless it is listed already or, not being named, is no Parquet file. Returns whether it is listed.
    fn add_file(&mut self, path: &Path, metadata: &fs::Metadata, named: bool) -> Result<bool, Error> {
        let is_parquet = || ends_like_parquet(path) || begins_like_parquet(path);
        let text = path.file_name().and_then(OsStr::to_str).and_then(TextFormat::of);
        let text = text.filter(|_| metadata.is_file() && !begins_like_parquet(path));
        let reason = if named {
            None
        } else if !metadata.is_file() {
            Some("it is not a regular file")
        } else if text.is_some() && !self.takes_text {
            Some(TEXT)
        } else if text.is_none() && !is_parquet() {
            Some(NOT_PARQUET)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.skipped.push(Skipped::new(path, reason));
            return Ok(false);
        }
        let resolved = fs::canonicalize(path).map_err(|e| unreadable(path, e))?;
        let location = Location::of_file(path.to_owned());
        self.add_found(resolved, FoundFile { location, named, typed: self.typed, text, table: None });
        Ok(true)
    }

    /// Lists a file, or adds to what is known of one that is listed. `resolved` names the file whatever its path is.
    fn add_found(&mut self, resolved: PathBuf, file: FoundFile) {
        let place = *self.seen.entry(resolved).or_insert(self.files.len());
        let Some(known) = self.files.get_mut(place) else { return self.files.push(file) };
        if rank(&file.location.path) < rank(&known.location.path) {
            known.location = file.location;
        }
        known.named |= file.named;
        known.typed = known.typed.max(file.typed);
    }
}

/// Returns by what the path of a file that has several is chosen: the path must not depend on the order of the arguments or of
/// directory entries.
fn rank(path: &Path) -> (usize, PathBuf) {
    (path.components().count(), path.to_owned())
}

/// Returns the files and directories that a pattern matches.
///
/// A component `**` stands for any number of directories. It does not enter links to directories, which could lead in
/// circles; other components do.
fn matches(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let bad =
        |e: glob::PatternError| Error::BadPattern { pattern: pattern.to_owned(), reason: e.to_string() };
    let components: Vec<&str> = pattern.split('/').collect();
    let Some(recursive) = components.iter().position(|component| *component == "**") else {
        return glob_paths(pattern).map_err(bad)?;
    };
    let (base, rest) = components.split_at(recursive);
    let tail = glob::Pattern::new(&rest.join("/")).map_err(bad)?;
    let bases = match base {
        [] => vec![PathBuf::new()],
        [""] => vec![PathBuf::from("/")],
        base => glob_paths(&base.join("/")).map_err(bad)??,
    };
    if rest.iter().all(|component| matches!(*component, "**" | "")) {
        return Ok(bases
            .into_iter()
            .map(|base| if base == Path::new("") { ".".into() } else { base })
            .collect());
    }
    let mut found = Vec::new();
    for base in bases.into_iter().filter(|base| *base == Path::new("") || base.is_dir()) {
        let mut pending = vec![PathBuf::new()];
        while let Some(below) = pending.pop() {
            let directory = Path::new(".").join(&base).join(&below);
            for entry in fs::read_dir(&directory).map_err(|e| unreadable(&directory, e))? {
                let entry = entry.map_err(|e| unreadable(&directory, e))?;
                let below = below.join(entry.file_name());
                if tail.matches_path_with(&below, WILDCARDS) {
                    found.push(base.join(&below));
                }
                let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                if !is_hidden && entry.file_type().is_ok_and(|file_type| file_type.is_dir()) {
                    pending.push(below);
                }
            }
        }
    }
    Ok(found)
}

/// Returns the files and directories that a pattern without `**` matches.
fn glob_paths(pattern: &str) -> Result<Result<Vec<PathBuf>, Error>, glob::PatternError> {
    let matched = glob::glob_with(pattern, WILDCARDS)?.map(|path| {
        path.map_err(|e| {
            let path = e.path().to_owned();
            unreadable(&path, e.into())
        })
    });
    Ok(matched.collect())
}

const LINKED_DIRECTORY: &str = "it is a link to a directory";

/// Returns whether a file's name ends in `.parquet`.
fn ends_like_parquet(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("parquet"))
}

/// Returns whether a file begins with the mark of Parquet files.
fn begins_like_parquet(path: &Path) -> bool {
    let mut mark = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut mark)).is_ok() && mark == *b"PAR1"
}

/// The table format that is read.
const DELTA: &str = "Delta";

/// Returns the table format whose log or metadata a directory has.
fn table_format(directory: &Path) -> Option<&'static str> {
    let has = |name: &str| directory.join(name).is_dir();
    if has("_delta_log") {
        return Some(DELTA);
    }
    if has(".hoodie") {
        return Some("Hudi");
    }
    let ends = |entry: fs::DirEntry| entry.file_name().as_encoded_bytes().ends_with(b".metadata.json");
    let is_iceberg = fs::read_dir(directory.join("metadata")).into_iter().flatten().flatten().any(ends);
    is_iceberg.then_some("Iceberg")
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
        let Expanded { files, .. } = expand(&inputs)?;
        let relative =
            |f: &PathBuf| f.strip_prefix(root.path()).expect("below the root").display().to_string();
        Ok(files.iter().map(|file| relative(&file.location.path)).collect())
    }

    /// Files count by how they begin, whatever they are called; what is skipped is said.
    #[cfg(unix)]
    #[test]
    fn what_is_skipped_has_a_reason() {
        let root = tree(&["d/a.parquet", "d/_SUCCESS", "d/notes.txt", "d/.git/config"]);
        for name in ["d/000000_0", "d/B.PARQUET", "d/c.pq"] {
            fs::write(root.path().join(name), b"PAR1").expect("a file");
        }
        std::os::unix::net::UnixListener::bind(root.path().join("d/socket.parquet")).expect("a socket");
        std::os::unix::fs::symlink(root.path().join("gone"), root.path().join("d/link")).expect("a link");
        let Expanded { files, skipped, .. } =
            expand(&[root.path().join("d").display().to_string()]).expect("files");
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        let found: Vec<String> = files.iter().map(|file| name(&file.location.path)).collect();
        assert_eq!(found, ["000000_0", "B.PARQUET", "a.parquet", "c.pq"]);
        let skipped: Vec<(String, String)> =
            skipped.into_iter().map(|skipped| (name(Path::new(&skipped.path)), skipped.reason)).collect();
        let reasons: Vec<(&str, &str)> =
            skipped.iter().map(|(name, reason)| (&name[..], &reason[..])).collect();
        assert_eq!(reasons[0], (".git", HIDDEN));
        assert_eq!(reasons[1], ("_SUCCESS", HIDDEN));
        assert!(reasons[2].0 == "link" && reasons[2].1.contains("No such file"), "{reasons:?}");
        assert_eq!(reasons[3], ("notes.txt", "it does not begin like a Parquet file"));
        assert_eq!(reasons[4], ("socket.parquet", "it is not a regular file"));
        assert_eq!(reasons.len(), 5);
    }

    /// The alternatives are those of bash.
    #[test]
    fn braces_are_expanded() {
        assert_eq!(alternatives("a{b,c}d"), ["abd", "acd"]);
        assert_eq!(alternatives("{a,b{1,2}}{x,}"), ["ax", "a", "b1x", "b1", "b2x", "b2"]);
        for same in ["a{b}c", "a{b,c", "a}b,c{", "{}"] {
            assert_eq!(alternatives(same), [same]);
        }
        let root = tree(&["a/1.parquet", "b/2.parquet", "c/3.parquet", "a{b,c}.parquet"]);
        assert_eq!(expand_in(&root, &["{a,c}/*.parquet"]).expect("files"), ["a/1.parquet", "c/3.parquet"]);
        assert_eq!(expand_in(&root, &["{a,b}"]).expect("files"), ["a/1.parquet", "b/2.parquet"]);
        // A file of that name is that file.
        assert_eq!(expand_in(&root, &["a{b,c}.parquet"]).expect("files"), ["a{b,c}.parquet"]);
        assert!(
            matches!(expand_in(&root, &["{a,none}"]), Err(Error::Missing { path }) if path.ends_with("none"))
        );
        assert!(matches!(expand(&["ftp://host/runs".to_owned()]), Err(Error::Remote { .. })));
    }

    #[test]
    fn delta_tables_are_listed_once_and_not_searched() {
        let root =
            tree(&["lake/t/1.parquet", "lake/t/_delta_log/00000000000000000000.json", "lake/2.parquet"]);
        let inputs = ["lake", "lake/t", "lake/*"];
        let inputs: Vec<String> =
            inputs.iter().map(|input| root.path().join(input).display().to_string()).collect();
        for input in &inputs {
            let Expanded { tables, .. } = expand(std::slice::from_ref(input)).expect("a table");
            let paths: Vec<PathBuf> = tables.into_iter().map(|table| table.path).collect();
            assert_eq!(paths, [root.path().join("lake/t")], "{input}");
        }
        let Expanded { files, tables, .. } = expand(&inputs).expect("a table");
        assert_eq!((files.len(), tables.len()), (1, 1));
        assert_eq!(files[0].location.path, root.path().join("lake/2.parquet"));
        assert_eq!(expand_in(&root, &["lake/t/*.parquet"]).expect("files"), ["lake/t/1.parquet"]);
    }

    #[test]
    fn tables_with_versions_are_refused_by_format() {
        for (marker, expected) in
            [("metadata/00000-5c8f.metadata.json", "Iceberg"), (".hoodie/hoodie.properties", "Hudi")]
        {
            let root = tree(&["lake/t/1.parquet", &format!("lake/t/{marker}")]);
            for input in ["lake", "lake/t", "lake/*"] {
                match expand_in(&root, &[input]) {
                    Err(Error::TableFormat { path, format }) => {
                        assert!(path.ends_with("t") && format == expected, "{path}: {format}");
                    }
                    other => panic!("{input}: {other:?}"),
                }
            }
            assert_eq!(expand_in(&root, &["lake/t/*.parquet"]).expect("files"), ["lake/t/1.parquet"]);
        }
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

    /// DuckDB 2.0.1 reads the same files from the directory and from `d/**/*.parquet`, except that it reads a file once for each
    /// link to it.
    #[cfg(unix)]
    #[test]
    fn links_to_files_are_followed_and_links_to_directories_are_not() {
        let root = tree(&["d/a.parquet", "d/sub/b.parquet", "other/c.parquet", "other/e.parquet"]);
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(root.path().join(to), root.path().join(at)).expect("a link");
        };
        link("d", "d/loop");
        link("d", "d/sub/loop");
        link("other", "d/out");
        link("d/a.parquet", "d/z.parquet");
        link("other/c.parquet", "d/sub/c.parquet");
        let files = ["d/a.parquet", "d/sub/b.parquet", "d/sub/c.parquet"];
        assert_eq!(expand_in(&root, &["d"]).expect("files"), files);
        assert_eq!(expand_in(&root, &["d/**/*.parquet"]).expect("files"), files);
        assert_eq!(expand_in(&root, &["d/*/*.parquet", "d"]).expect("files").len(), 4);
        let Expanded { skipped, .. } = expand(&[root.path().join("d").display().to_string()]).expect("files");
        let linked = skipped.iter().filter(|skipped| skipped.reason == LINKED_DIRECTORY).count();
        assert_eq!(linked, 3);
        // A link that is given by its name is what it links to.
        assert_eq!(expand_in(&root, &["d/out"]).expect("files"), ["d/out/c.parquet", "d/out/e.parquet"]);
    }
}
