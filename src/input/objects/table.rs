//! The objects of a Delta table in a store.

use std::sync::Arc;

use super::object::{FetchedBytes, Object};
use crate::error::{Error, Phase};
use crate::input::location::Location;
use crate::store::{Entry, Store, key_below};

/// A Delta table in a store: the store, and all objects below the table's directory.
#[derive(Clone, Debug)]
pub struct RemoteTable {
    /// The store.
    pub store: Arc<Store>,
    /// The key of the table's directory.
    pub key: String,
    /// The objects below it, sorted by key.
    pub entries: Vec<Entry>,
    /// What is fetched of them.
    pub fetched: Arc<FetchedBytes>,
}

impl RemoteTable {
    /// Returns the object with a path below the table; `None` where there is none.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub fn file(&self, path: &str) -> Result<Option<Location>, Error> {
        let key = key_below(&self.key, path);
        if let Ok(place) = self.entries.binary_search_by(|entry| entry.key.cmp(&key)) {
            return Ok(Some(self.location(&self.entries[place])));
        }
        // A commit that came while the objects were listed names files that the list lacks.
        let described = self.store.describe(&key).map_err(|source| {
            let path = self.store.shown(&key);
            Error::Unreadable { path, source, phase: Phase::Inspect }
        })?;
        Ok(described.map(|entry| self.location(&entry)))
    }

    /// Returns the names and locations of the objects in a directory of the table.
    pub fn files_in(&self, directory: &str) -> impl Iterator<Item = (String, Location)> {
        let above = key_below(&self.key, directory) + "/";
        self.entries.iter().filter_map(move |entry| {
            let name = entry.key.strip_prefix(&above).filter(|name| !name.contains('/'))?;
            Some((name.to_owned(), self.location(entry)))
        })
    }

    fn location(&self, entry: &Entry) -> Location {
        let object = Object::new(Arc::clone(&self.store), entry.clone(), Arc::clone(&self.fetched));
        Location { path: self.store.shown(&entry.key).into(), object: Some(Arc::new(object)) }
    }
}
