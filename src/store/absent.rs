//! What stands for object stores in a program without them.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use bytes::Bytes;

use super::{Condition, Entry};
use crate::error::Error;

/// No store: there is no value of this type.
#[derive(Debug)]
pub enum Store {}

impl Store {
    /// Refuses a URL.
    pub fn locate(url: &str) -> Result<(String, String), Error> {
        let reason = "this is a URL, and this program was built without object stores; build it with the feature `cloud`, copy \
                      the files to this machine, or mount the store";
        Err(Error::Remote { url: url.to_owned(), reason: reason.to_owned() })
    }

    pub fn local_copy(url: &str) -> Result<PathBuf, Error> {
        Store::connect(url, "").map(|_| PathBuf::new())
    }

    pub fn connect(url: &str, _: &str) -> Result<Store, Error> {
        Store::locate(url).map(|_| unreachable!("no URL is located"))
    }

    pub fn shown(&self, _: &str) -> String {
        match *self {}
    }

    pub fn list(&self, _: &str) -> io::Result<Vec<Entry>> {
        match *self {}
    }

    pub fn describe(&self, _: &str) -> io::Result<Option<Entry>> {
        match *self {}
    }

    pub fn read(&self, _: &Entry, _: Range<u64>) -> io::Result<Bytes> {
        match *self {}
    }

    pub fn write(&self, _: &str, _: Vec<u8>, _: Condition) -> io::Result<()> {
        match *self {}
    }

    pub fn is_web(&self) -> bool {
        match *self {}
    }

    pub fn upload(&self, _: &Path, _: &str, _: &AtomicBool) -> io::Result<()> {
        match *self {}
    }

    pub fn remove(&self, _: Vec<String>) -> io::Result<()> {
        match *self {}
    }
}
