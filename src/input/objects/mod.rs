//! Inputs in object stores.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | [`find`]: the objects that a URL stands for |
//! | `table` | [`RemoteTable`]: the objects of a Delta table |
//! | `object` | [`Object`]: an object as a file that can be read at any place |
//!
//! A URL stands for what a path stands for on a disk (see [`paths`](super::parquet::paths)): an object, all objects below a
//! directory, or those that a pattern matches. A store has no directories and no links: `runs` is a directory where there are
//! keys that begin with `runs/`.

mod object;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use object::{FetchedBytes, Object, fetch_ends};
pub use table::RemoteTable;

use super::found::{Expanded, FoundFile, FoundTable, HIDDEN, NOT_PARQUET, Skipped, TEXT};
use super::location::Location;
use super::patterns::{WILDCARDS, alternatives, is_hidden, is_pattern, typed_components};
use super::text::TextFormat;
use crate::error::{Error, Phase};
use crate::store::{Entry, Store, Stores, is_below, key_below};

/// The directory of the log of a Delta table.
const DELTA_LOG: &str = "_delta_log";

/// The stores of a job's inputs, and what is fetched from them.
#[derive(Debug, Default)]
pub struct ObjectInputs {
    stores: Stores,
    fetched: Arc<FetchedBytes>,
}

/// Returns the objects that a URL stands for; several times those that are matched several times.
///
/// # Errors
/// If the URL is refused, stands for nothing, or the store cannot be asked.
pub fn find(url: &str, inputs: &mut ObjectInputs) -> Result<Expanded, Error> {
    let mut found = Expanded::default();
    let takes_text = TextFormat::of(url).is_some();
    let alternatives = alternatives(url);
    let mut any = false;
    for alternative in &alternatives {
        let (store, key) = inputs.stores.open(alternative)?;
        let search = Search { store, fetched: &inputs.fetched, url: alternative, takes_text };
        any |= search.run(&key, &mut found)?;
    }
    if any { Ok(found) } else { Err(Error::NoMatch { pattern: url.to_owned() }) }
}

/// The search for what one URL stands for.
struct Search<'a> {
    store: Arc<Store>,
    fetched: &'a Arc<FetchedBytes>,
    url: &'a str,
    /// Whether the URL ends like files of text, so that those that it matches are read.
    takes_text: bool,
}

impl Search<'_> {
    fn unreadable(&self, source: std::io::Error) -> Error {
        Error::Unreadable { path: self.url.to_owned(), source, phase: Phase::Inspect }
    }

    /// Adds what a key or pattern stands for, and returns whether there was anything.
    fn run(&self, key: &str, found: &mut Expanded) -> Result<bool, Error> {
        // A key that exists is not treated as a pattern. Some stores describe directories, as objects without bytes.
        let described = match key {
            "" => None,
            key => self.store.describe(key).map_err(|error| self.unreadable(error))?,
        };
        if let Some(entry) = described.clone().filter(|entry| entry.bytes > 0) {
            return self.add_named(entry, found);
        }
        let entries = self.store.list(key).map_err(|error| self.unreadable(error))?;
        if entries.is_empty() && is_pattern(key) {
            return self.add_matches(key, found);
        }
        if entries.is_empty() {
            return match described {
                Some(entry) => self.add_named(entry, found),
                None => Err(Error::Missing { path: self.url.to_owned() }),
            };
        }
        if self.add_below(key, entries, found)? {
            return Ok(true);
        }
        Err(Error::EmptyDirectory { path: self.url.to_owned() })
    }

    /// Adds the objects and directories that a pattern matches.
    fn add_matches(&self, key: &str, found: &mut Expanded) -> Result<bool, Error> {
        let pattern = glob::Pattern::new(key)
            .map_err(|error| Error::BadPattern { pattern: self.url.to_owned(), reason: error.to_string() })?;
        let literal: Vec<&str> = key.split('/').take_while(|component| !is_pattern(component)).collect();
        let above = literal.join("/");
        let entries = self.store.list(&above).map_err(|error| self.unreadable(error))?;
        if key.split('/').skip(literal.len()).all(|component| component == "**") {
            return self.add_below(&above, entries, found);
        }
        let takes_hidden = key.rsplit('/').next().is_some_and(is_hidden);
        // The directories that match, from which all is taken, and objects that match.
        let mut below: Vec<(String, Vec<Entry>)> = Vec::new();
        let mut matched = Vec::new();
        for entry in entries {
            let directories = entry.key.match_indices('/').map(|(end, _)| &entry.key[..end]);
            let mut directories = directories.filter(|directory| directory.len() > above.len());
            if let Some(directory) = directories.find(|directory| pattern.matches_with(directory, WILDCARDS))
            {
                match below.last_mut() {
                    Some((last, entries)) if last == directory => entries.push(entry),
                    _ => below.push((directory.to_owned(), vec![entry])),
                }
            } else if pattern.matches_with(&entry.key, WILDCARDS) {
                let name = entry.key.rsplit('/').next().unwrap_or_default();
                if is_hidden(name) && !takes_hidden {
                    found.skipped.push(Skipped::new(&self.path(&entry.key), HIDDEN));
                } else {
                    matched.push(entry);
                }
            }
        }
        let mut any = self.add_all(matched, found);
        for (directory, entries) in below {
            let name = directory.rsplit('/').next().unwrap_or_default();
            if is_hidden(name) && !takes_hidden {
                found.skipped.push(Skipped::new(&self.path(&directory), HIDDEN));
            } else {
                any |= self.add_below(&directory, entries, found)?;
            }
        }
        Ok(any)
    }

    /// Adds the objects below a directory.
    fn add_below(&self, directory: &str, entries: Vec<Entry>, found: &mut Expanded) -> Result<bool, Error> {
        let mut files = Vec::new();
        let mut tables: Vec<RemoteTable> = Vec::new();
        for table in self.tables(directory, &entries)? {
            tables.push(RemoteTable {
                store: Arc::clone(&self.store),
                key: table,
                entries: Vec::new(),
                fetched: Arc::clone(self.fetched),
            });
        }
        for entry in entries {
            if let Some(table) = tables.iter_mut().find(|table| is_below(&entry.key, &table.key)) {
                table.entries.push(entry);
                continue;
            }
            let below = entry.key[directory.len()..].trim_start_matches('/');
            match below.split('/').position(is_hidden) {
                Some(hidden) => {
                    let upto: Vec<&str> = below.split('/').take(hidden + 1).collect();
                    let skipped = key_below(directory, &upto.join("/"));
                    found.skipped.push(Skipped::new(&self.path(&skipped), HIDDEN));
                }
                None => files.push(entry),
            }
        }
        let mut any = self.add_all(files, found);
        for table in tables {
            any = true;
            let path = self.path(&table.key);
            found.tables.push(FoundTable { path, typed: self.typed(), remote: Some(table) });
        }
        Ok(any)
    }

    /// Returns the directories of Delta tables among objects, and refuses tables of other formats.
    fn tables(&self, directory: &str, entries: &[Entry]) -> Result<Vec<String>, Error> {
        let mut tables: Vec<String> = Vec::new();
        for Entry { key, .. } in entries {
            let components: Vec<&str> = key.split('/').collect();
            let depth = directory.split('/').filter(|component| !component.is_empty()).count();
            let inside = components.iter().enumerate().take(components.len() - 1).skip(depth);
            let inside: Vec<(usize, &&str)> = inside.collect();
            let root_of = |name: &str| {
                let place = inside.iter().find(|(_, component)| **component == name)?.0;
                Some(components[..place].join("/"))
            };
            if let Some(root) = root_of(DELTA_LOG) {
                if tables.iter().all(|known| !is_below(&root, known) && *known != root) {
                    tables.push(root);
                }
                continue;
            }
            let iceberg = root_of("metadata").filter(|_| key.ends_with(".metadata.json"));
            let refused =
                root_of(".hoodie").map(|root| (root, "Hudi")).or(iceberg.map(|root| (root, "Iceberg")));
            if let Some((root, format)) = refused {
                return Err(Error::TableFormat { path: self.store.shown(&root), format });
            }
        }
        Ok(tables)
    }

    /// Adds an object that was given by its name.
    fn add_named(&self, entry: Entry, found: &mut Expanded) -> Result<bool, Error> {
        let candidate = self.candidate(entry);
        let begins_like_parquet = candidate.text.is_some() && self.begins_like_parquet(&candidate)?;
        let text = candidate.text.filter(|_| !begins_like_parquet);
        found.files.push(FoundFile {
            location: candidate.location,
            named: true,
            typed: self.typed(),
            text,
            table: None,
        });
        Ok(true)
    }

    /// Adds those objects that are files of Parquet, or of text where these are asked for. Returns whether there were any.
    fn add_all(&self, entries: Vec<Entry>, found: &mut Expanded) -> bool {
        let candidates: Vec<Candidate> = entries.into_iter().map(|entry| self.candidate(entry)).collect();
        let is_unclear = |candidate: &&Candidate| candidate.text.is_some() || !candidate.ends_like_parquet;
        let unclear = candidates.iter().filter(is_unclear).filter_map(|c| c.location.object.as_ref());
        fetch_ends(&unclear.collect::<Vec<_>>(), false);
        let mut any = false;
        for candidate in candidates {
            let is_parquet = match is_unclear(&&candidate) {
                true => self.begins_like_parquet(&candidate).map_err(|error| error.to_string()),
                false => Ok(true),
            };
            let Candidate { location, text, .. } = candidate;
            let reason = match (is_parquet, text) {
                (Err(reason), _) => reason,
                (Ok(false), Some(_)) if !self.takes_text => TEXT.to_owned(),
                (Ok(false), None) => NOT_PARQUET.to_owned(),
                (Ok(is_parquet), text) => {
                    let text = text.filter(|_| !is_parquet);
                    found.files.push(FoundFile {
                        location,
                        named: false,
                        typed: self.typed(),
                        text,
                        table: None,
                    });
                    any = true;
                    continue;
                }
            };
            found.skipped.push(Skipped::new(&location.path, reason));
        }
        any
    }

    fn candidate(&self, entry: Entry) -> Candidate {
        let name = entry.key.rsplit('/').next().unwrap_or_default();
        let (ends_like_parquet, text) = (name.ends_with(".parquet"), TextFormat::of(name));
        let path = self.path(&entry.key);
        let object = Object::new(Arc::clone(&self.store), entry, Arc::clone(self.fetched));
        Candidate { location: Location { path, object: Some(Arc::new(object)) }, ends_like_parquet, text }
    }

    fn begins_like_parquet(&self, candidate: &Candidate) -> Result<bool, Error> {
        let mut mark = [0; 4];
        let read = candidate.location.open().and_then(|object| object.read_exact_at(&mut mark, 0));
        match read {
            Ok(()) => Ok(mark == *b"PAR1"),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    fn typed(&self) -> usize {
        typed_components(Path::new(self.url))
    }

    fn path(&self, key: &str) -> PathBuf {
        self.store.shown(key).into()
    }
}

/// An object that may be a file of a job's.
struct Candidate {
    location: Location,
    ends_like_parquet: bool,
    /// The format of text that its name says.
    text: Option<TextFormat>,
}
