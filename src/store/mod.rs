//! Object stores, by a client whose methods wait for their answers.
//!
//! | file | contents |
//! | --- | --- |
//! | `client` | [`Store`]: listing, reading and writing objects. With the feature `cloud` |
//! | `absent` | in its place without the feature: no store can be opened |
//!
//! An object has a key such as `runs/family=llama/part-0.parquet`, which is shown after the root of its store, as in
//! `s3://lake/runs/…`. Errors are those of the operating system's kinds: `NotFound`, `PermissionDenied`, and
//! `StaleNetworkFileHandle` where an object is no longer the one that was meant.

#[cfg(feature = "cloud")]
mod client;
#[cfg(not(feature = "cloud"))]
#[path = "absent.rs"]
mod client;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

pub use client::Store;

use crate::error::Error;

/// An object, as its store describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was written, if the store says so.
    pub modified: Option<SystemTime>,
    /// The tag of its content, if the store gives one.
    pub etag: Option<String>,
    /// The number of its version, if the store keeps versions.
    pub version: Option<String>,
}

/// What must hold for an object to be written.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    /// Nothing.
    None,
    /// There is no object with the key.
    Absent,
    /// The object with the key is this one.
    Unchanged(&'a Entry),
}

/// The stores that were opened, each once.
#[derive(Debug, Default)]
pub struct Stores {
    by_root: HashMap<String, Arc<Store>>,
}

impl Stores {
    /// Returns the store of a URL, and the key that the URL names.
    ///
    /// # Errors
    /// If the URL is malformed or of no known kind, or says credentials, or the program was built without stores.
    pub fn open(&mut self, url: &str) -> Result<(Arc<Store>, String), Error> {
        let (root, key) = Store::locate(url)?;
        if let Some(store) = self.by_root.get(&root) {
            return Ok((Arc::clone(store), key));
        }
        let store = Arc::new(Store::connect(url, &root)?);
        self.by_root.insert(root, Arc::clone(&store));
        Ok((store, key))
    }
}

/// Returns the URL that stands in the place of a path, if one does.
#[must_use]
pub fn url_of(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| has_scheme(text))
}

/// Returns whether a text begins like a URL.
#[must_use]
pub fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// Returns the key of what has a path below a directory.
#[must_use]
pub fn key_below(directory: &str, path: &str) -> String {
    if directory.is_empty() { path.to_owned() } else { format!("{directory}/{path}") }
}

/// Returns whether a key is below that of a directory.
#[must_use]
pub fn is_below(key: &str, directory: &str) -> bool {
    directory.is_empty() || key.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}
