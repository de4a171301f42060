//! A client of object stores on the crate `object_store`, which has the credentials' rules of each store, repeats requests that
//! fail for a moment (throttling, errors of the server, broken connections), and goes on with a body that was cut off.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use etcetera::{BaseStrategy, choose_base_strategy};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme,
    PutMode, UpdateVersion, parse_url_opts,
};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use url::{Position, Url};

use super::{Condition, Entry};
use crate::error::Error;

/// The size from which a file is written in parts, and of a part.
const PART_BYTES: usize = 8 << 20;

/// How long a request may take, unless the environment says otherwise: a part over a slow line.
const TIMEOUT: &str = "120 seconds";

/// How the names of variables of the environment begin that say how a store is found and entered.
const VARIABLES: [&str; 5] = ["AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "MSI_"];

/// An object store: a bucket, a container or a server.
#[derive(Debug)]
pub struct Store {
    /// The beginning of the URLs of its objects, without a slash at its end.
    root: String,
    client: Box<dyn ObjectStore>,
    /// Runs the client. Calls wait for it on threads of their own.
    runtime: Runtime,
}

impl Store {
    /// Returns the root of the store that a URL is in, and the key that the URL names; no request is made.
    ///
    /// # Errors
    /// If the URL is malformed, is of no known kind, or says credentials.
    pub fn locate(url: &str) -> Result<(String, String), Error> {
        let refused = |reason: String| Error::Remote { url: without_secrets(url), reason };
        let malformed = |reason: String| refused(format!("this URL is malformed: {reason}"));
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
        let is_web = matches!(scheme, "http" | "https");
        let said = authority.rsplit_once('@').map(|(user, _)| user);
        if said.is_some_and(|user| is_web || user.contains(':')) || is_web && rest.contains('?') {
            let reason = "credentials are not read from URLs, which are written to manifests and logs; give them in the \
                          environment, as in AWS_ACCESS_KEY_ID or AZURE_STORAGE_SAS_KEY";
            return Err(refused(reason.to_owned()));
        }
        let (root, key) = if is_web {
            let parsed = Url::parse(url).map_err(|error| malformed(error.to_string()))?;
            let (_, path) =
                ObjectStoreScheme::parse(&parsed).map_err(|error| malformed(error.to_string()))?;
            let all = percent_encoding::percent_decode_str(parsed.path()).decode_utf8_lossy();
            let bucket = all.trim_end_matches('/').strip_suffix(path.as_ref()).unwrap_or_default();
            let bucket = bucket.trim_end_matches('/');
            (format!("{}{bucket}", &parsed[..Position::BeforePath]), path.to_string())
        } else {
            let root = format!("{scheme}://{authority}");
            let parsed = Url::parse(&root).map_err(|error| malformed(error.to_string()))?;
            match ObjectStoreScheme::parse(&parsed) {
                Ok((ObjectStoreScheme::Local | ObjectStoreScheme::Memory, _)) | Err(_) => {
                    let reason =
                        "stores are s3://, gs://, az:// and https://; files have paths without a scheme";
                    return Err(refused(reason.to_owned()));
                }
                Ok(_) => {}
            }
            // Unlike in other URLs, `%` stands for itself: escapes are part of the names of partitions.
            (root, key.trim_end_matches('/').to_owned())
        };
        Path::parse(&key).map_err(|error| malformed(error.to_string()))?;
        Ok((root, key))
    }

    /// Returns the directory on this machine in which what goes to a URL is written first, in the user's directory of caches.
    ///
    /// # Errors
    /// If the URL is refused, or the user has no home directory.
    pub fn local_copy(url: &str) -> Result<PathBuf, Error> {
        let (root, key) = Store::locate(url)?;
        let strategy = choose_base_strategy()
            .map_err(|error| Error::Remote { url: format!("{root}/{key}"), reason: error.to_string() })?;
        let hash = Sha256::digest(format!("{root}/{key}"));
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(strategy.cache_dir().join("sweepfit").join("stores").join(name))
    }

    /// Opens the store of a URL; no request is made. Credentials and settings are those of the environment, by each store's own
    /// names for them.
    ///
    /// # Errors
    /// If the settings are not complete.
    pub fn connect(url: &str, root: &str) -> Result<Store, Error> {
        let refused =
            |reason: String| Error::Remote { url: url.to_owned(), reason: without_secrets(&reason) };
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| VARIABLES.iter().any(|start| name.starts_with(start)));
        let timeout = std::iter::once(("timeout".to_owned(), TIMEOUT.to_owned()));
        let plain = root.starts_with("http://").then(|| ("allow_http".to_owned(), "true".to_owned()));
        let parsed = Url::parse(root).map_err(|error| refused(error.to_string()))?;
        let (client, _) = parse_url_opts(&parsed, timeout.chain(plain).chain(environment))
            .map_err(|error| refused(format!("the store cannot be opened: {error}")))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| refused(error.to_string()))?;
        Ok(Store { root: root.to_owned(), client, runtime })
    }

    /// Returns the URL of a key.
    #[must_use]
    pub fn shown(&self, key: &str) -> String {
        format!("{}/{key}", self.root)
    }

    /// Returns all objects below a key, sorted by key. `runs` has `runs/a` below it, and not `runs-old/a`.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub fn list(&self, key: &str) -> io::Result<Vec<Entry>> {
        let prefix = Path::parse(key).map_err(io::Error::other)?;
        let prefix = Some(&prefix).filter(|_| !key.is_empty());
        let found = self.runtime.block_on(self.client.list(prefix).try_collect::<Vec<ObjectMeta>>());
        let mut entries: Vec<Entry> = found.map_err(io_error)?.into_iter().map(entry).collect();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        // Some tools mark directories by objects without bytes.
        let keys: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        let is_directory = |of: &String| {
            let below = format!("{of}/");
            let next = keys.partition_point(|other| *other < below);
            *of == key || keys.get(next).is_some_and(|other| other.starts_with(&below))
        };
        entries.retain(|entry| entry.bytes > 0 || !is_directory(&entry.key));
        Ok(entries)
    }

    /// Returns whether the store is a web server, which is read alone.
    #[must_use]
    pub fn is_web(&self) -> bool {
        let kind = Url::parse(&self.root).ok().and_then(|url| ObjectStoreScheme::parse(&url).ok());
        matches!(kind, Some((ObjectStoreScheme::Http, _)))
    }

    /// Returns what the store says of an object; `None` where there is none.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub fn describe(&self, key: &str) -> io::Result<Option<Entry>> {
        let path = Path::parse(key).map_err(io::Error::other)?;
        match self.runtime.block_on(self.client.head(&path)) {
            Ok(found) => Ok(Some(entry(found))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(io_error(error)),
        }
    }

    /// Returns bytes of an object as it was described.
    ///
    /// # Errors
    /// If the object was replaced or removed, has fewer bytes, or cannot be read.
    pub fn read(&self, object: &Entry, range: Range<u64>) -> io::Result<Bytes> {
        let length = range.end - range.start;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let path = Path::parse(&object.key).map_err(io::Error::other)?;
        // Servers that give no tag tell times at best.
        let unmodified = object.modified.filter(|_| object.etag.is_none()).map(Into::into);
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: object.etag.clone(),
            if_unmodified_since: unmodified,
            ..GetOptions::default()
        };
        let get = async { self.client.get_opts(&path, options).await?.bytes().await };
        let bytes = self.runtime.block_on(get).map_err(io_error)?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// Writes an object at once.
    ///
    /// # Errors
    /// If the condition does not hold (`StaleNetworkFileHandle`), or the store refuses.
    pub fn write(&self, key: &str, content: Vec<u8>, condition: Condition) -> io::Result<()> {
        let path = Path::parse(key).map_err(io::Error::other)?;
        let mode = match condition {
            Condition::None => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Unchanged(old) => {
                PutMode::Update(UpdateVersion { e_tag: old.etag.clone(), version: old.version.clone() })
            }
        };
        let put = self.client.put_opts(&path, content.into(), mode.into());
        self.runtime.block_on(put).map(|_| ()).map_err(io_error)
    }

    /// Writes a file to an object, which appears when it is complete.
    ///
    /// # Errors
    /// If the file cannot be read, the store refuses, or the run is interrupted (`Interrupted`).
    pub fn upload(&self, file: &FilePath, key: &str, interrupted: &AtomicBool) -> io::Result<()> {
        let path = Path::parse(key).map_err(io::Error::other)?;
        let mut file = File::open(file)?;
        let mut part = || -> io::Result<Vec<u8>> {
            let mut part = Vec::new();
            file.by_ref().take(PART_BYTES as u64).read_to_end(&mut part)?;
            Ok(part)
        };
        let mut next = part()?;
        if next.len() < PART_BYTES {
            return self.write(key, next, Condition::None);
        }
        self.runtime.block_on(async {
            let mut upload = self.client.put_multipart(&path).await.map_err(io_error)?;
            let mut send = async || -> io::Result<()> {
                while !next.is_empty() {
                    if interrupted.load(Ordering::Relaxed) {
                        return Err(ErrorKind::Interrupted.into());
                    }
                    upload.put_part(std::mem::take(&mut next).into()).await.map_err(io_error)?;
                    next = part()?;
                }
                upload.complete().await.map(|_| ()).map_err(io_error)
            };
            let sent = send().await;
            if sent.is_err() {
                // The error that ended it is told, and not this one.
                let _ = upload.abort().await;
            }
            sent
        })
    }

    /// Removes objects.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn remove(&self, keys: Vec<String>) -> io::Result<()> {
        let paths = keys.into_iter().map(|key| Path::parse(key).map_err(StoreError::from));
        let removed = self.client.delete_stream(stream::iter(paths.collect::<Vec<_>>()).boxed());
        match self.runtime.block_on(removed.try_collect::<Vec<Path>>()) {
            Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(io_error(error)),
        }
    }
}

fn entry(found: ObjectMeta) -> Entry {
    let modified = SystemTime::from(found.last_modified);
    Entry {
        key: found.location.to_string(),
        bytes: found.size,
        // Servers that do not say when an object was written are taken to mean the beginning of time.
        modified: Some(modified).filter(|time| *time > SystemTime::UNIX_EPOCH),
        // A weak tag does not tell bytes apart, and servers do not match it.
        etag: found.e_tag.filter(|tag| !tag.starts_with("W/")),
        version: found.version,
    }
}

/// Returns an error of the client as one of the operating system's.
fn io_error(error: StoreError) -> io::Error {
    let kind = match &error {
        StoreError::NotFound { .. } => return ErrorKind::NotFound.into(),
        StoreError::Precondition { .. } | StoreError::AlreadyExists { .. } => {
            ErrorKind::StaleNetworkFileHandle
        }
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied
        }
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, without_secrets(&without_body(&error.to_string())))
}

/// Returns the message of an error without the body of the server's answer, which can repeat credentials, but for its code and
/// message.
fn without_body(text: &str) -> String {
    let Some(begin) = text.find('<') else { return text.to_owned() };
    let (before, body) = text.split_at(begin);
    let of = |tag: &str| {
        let inside = body.split_once(&format!("<{tag}>"))?.1;
        Some(inside.split_once('<')?.0.to_owned())
    };
    let said: Vec<String> = ["Code", "Message"].into_iter().filter_map(of).collect();
    format!("{before}{}", said.join(": "))
}

/// Returns a text without what follows `?` in URLs, where signatures stand, and without users in URLs.
fn without_secrets(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        safe += before;
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>()".contains(c)).unwrap_or(after.len());
        let (url, others) = after.split_at(end);
        let (authority, path) = url.split_at(url.find('/').unwrap_or(url.len()));
        let authority = authority.split_once('?').map_or(authority, |(host, _)| host);
        // The container of `abfss://container@account…` is no secret.
        let is_web = before.ends_with("http://") || before.ends_with("https://");
        safe += match authority.rsplit_once('@') {
            Some((user, host)) if is_web || user.contains(':') => host,
            _ => authority,
        };
        match path.split_once('?') {
            Some((path, _)) => safe += &format!("{path}?…"),
            None => safe += path,
        }
        rest = others;
    }
    safe + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_root_and_a_key() {
        let located = |url: &str| Store::locate(url).map_err(|error| error.to_string());
        for (url, root, key) in [
            ("s3://lake/runs/family=a%20b/p.parquet", "s3://lake", "runs/family=a%20b/p.parquet"),
            ("s3://lake/", "s3://lake", ""),
            ("s3://lake", "s3://lake", ""),
            ("s3://lake/runs/", "s3://lake", "runs"),
            ("gs://lake/x?.parquet", "gs://lake", "x?.parquet"),
            ("az://container/x", "az://container", "x"),
            (
                "abfss://container@account.dfs.core.windows.net/x",
                "abfss://container@account.dfs.core.windows.net",
                "x",
            ),
            ("https://example.com/data/a%20b.parquet", "https://example.com", "data/a b.parquet"),
            (
                "https://account.blob.core.windows.net/container/x",
                "https://account.blob.core.windows.net/container",
                "x",
            ),
            ("https://s3.eu-west-1.amazonaws.com/lake/x/y", "https://s3.eu-west-1.amazonaws.com/lake", "x/y"),
        ] {
            assert_eq!(located(url), Ok((root.to_owned(), key.to_owned())), "{url}");
        }
        for url in [
            "file:///x",
            "ftp://host/x",
            "s3://",
            "https://me:secret@host/x",
            "https://host/x?sig=secret",
            "https://host?sig=secret",
            "https://secret@host/x",
            "s3://lake/a//b",
        ] {
            let error = located(url).expect_err(url);
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_repeated() {
        for (text, expected) in [
            (
                "error for url (https://host/x?sig=secret): timeout",
                "error for url (https://host/x?…): timeout",
            ),
            ("at https://user:secret@host/x and s3://lake/y", "at https://host/x and s3://lake/y"),
            ("no URL? none", "no URL? none"),
            ("https://secret@host", "https://host"),
        ] {
            assert_eq!(without_secrets(text), expected);
        }
        let body = "HTTP 400: <?xml?><Error><Code>ExpiredToken</Code><Message>It has expired.</Message><Token-0>secret</Token-0></Error>";
        assert_eq!(without_body(body), "HTTP 400: ExpiredToken: It has expired.");
        assert_eq!(without_body("HTTP 502: <html>secret</html>"), "HTTP 502: ");
    }
}
