//! Reads the logs of Delta Lake tables, which say what files a table's current version consists of.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | [`live_files`]: the files of a table's current version, with their partitions |
//! | `log_files` | the commits and the checkpoint that give the current version |
//! | `actions` | the actions in commits and checkpoints that matter to a reader |
//! | `schema` | the Arrow types of a table's columns |
//!
//! The log is a sequence of commits, each a file of JSON lines; a checkpoint holds the sum of the commits before it. The
//! format is that of "Delta Transaction Log Protocol" (delta-io/delta, PROTOCOL.md). The newest checkpoint is found by listing the
//! log, so the hint `_last_checkpoint` is not read. A table that uses a feature which readers must know, and which is not known
//! here, is refused by the feature's name.
//!
//! A log is taken to be hostile: the lengths of its lines, and the number and the texts of the files that it lists, are bounded.
//!
//! The folder knows nothing of the columns in data files, and of keys, conditions and sweeps.

mod actions;
mod log_files;
mod schema;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Fields};
use percent_encoding::percent_decode_str;

use crate::error::Error;
use crate::formula::list;

use super::found::{FoundFile, FoundTable, TableFile, TableSchema};
use super::location::Location;
use super::parquet::missing_of_table as missing;
use super::parquet::partitions::{Partition, partitions_of};
use actions::{Action, Add, FileKey, Metadata, PartitionValues, Protocol};
use log_files::{LOG, LogFiles, refused};

/// The features that a reader must know and that are known: those that change nothing for a reader of the current version, and
/// those that are checked where they would.
const KNOWN_FEATURES: [&str; 7] = [
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
];

/// The number of files that a version may have.
const MOST_FILES: usize = 1 << 20;

/// The bytes of paths and of values of partitions that a version may have.
const MOST_TEXT: usize = 1 << 28;

/// The number of files that a V2 checkpoint may refer to.
const MOST_SIDECARS: usize = 1 << 16;

/// Returns the files of a table's current version, sorted by path, with the columns that their partitions give: those of the
/// table's log, and those of directories above the table.
///
/// # Errors
/// If the log cannot be read or is not complete, the table uses a feature that is not known, or its current version has no files.
pub(in crate::input) fn live_files(table: &FoundTable) -> Result<Vec<FoundFile>, Error> {
    let log_files = LogFiles::list(table)?;
    let version = log_files.version;
    let refused = |reason: String| refused(&table.path, &reason);
    let log = Log::read(table, log_files)?;
    let (Some(protocol), Some(metadata)) = (log.protocol, log.metadata) else {
        return Err(refused("its log has no protocol or no schema; restore the log".to_owned()));
    };
    check_features(&protocol, &metadata).map_err(refused)?;
    if let Some((key, _)) = log.live.iter().find(|(key, _)| key.deletion_vector.is_some()) {
        return Err(refused(format!(
            "it uses the feature `deletionVectors`, which is not supported: rows of {} are marked as deleted; rewrite the files, \
             as `REORG TABLE … APPLY (PURGE)` of Spark does",
            key.path
        )));
    }
    if log.live.is_empty() {
        return Err(refused("its current version has no files".to_owned()));
    }
    let fields = schema::fields(&metadata.schema_string).map_err(|reason| refused(in_schema(&reason)))?;
    let columns = partition_columns(&fields, &metadata).map_err(|reason| refused(in_schema(&reason)))?;
    let mut above = partitions_of(&table.path.join(LOG), table.typed);
    above.retain(|partition| fields.find(&partition.name).is_none());
    let schema = Arc::new(TableSchema { path: table.path.clone(), version, fields });
    let mut files = Vec::with_capacity(log.live.len());
    for (key, mut values) in log.live {
        let location = match &table.remote {
            Some(remote) => {
                let relative = relative_path(&key.path).map_err(refused)?;
                remote.file(&relative)?.ok_or_else(|| missing(&schema, &table.path.join(relative)))?
            }
            None => Location::of_file(local_path(&table.path, &key.path).map_err(refused)?),
        };
        let mut partitions = above.clone();
        partitions.extend(columns.iter().map(|(name, data_type)| Partition {
            name: name.clone(),
            value: values.remove(name).flatten().filter(|value| !value.is_empty()),
            is_found: true,
            data_type: Some(data_type.clone()),
        }));
        let table = Some(TableFile { partitions, schema: Arc::clone(&schema) });
        files.push(FoundFile { location, named: true, typed: usize::MAX, text: None, table });
    }
    files.sort_by(|a, b| a.location.path.cmp(&b.location.path));
    Ok(files)
}

/// Returns the reason for a schema that is not read.
fn in_schema(reason: &str) -> String {
    format!("in its schema, {reason}")
}

/// Checks that a reader may read the table if it knows [`KNOWN_FEATURES`] alone.
fn check_features(protocol: &Protocol, metadata: &Metadata) -> Result<(), String> {
    let version = protocol.min_reader_version;
    if !(1..=3).contains(&version) {
        return Err(format!(
            "it asks for version {version} of the protocol for readers, and 1 to 3 are supported"
        ));
    }
    let features = protocol.reader_features.as_deref().unwrap_or_default();
    let unknown: Vec<&str> =
        features.iter().map(String::as_str).filter(|feature| !KNOWN_FEATURES.contains(feature)).collect();
    match unknown.as_slice() {
        [] => {}
        [feature] => return Err(format!("it uses the feature `{feature}`, which is not supported")),
        features => return Err(format!("it uses the features {}, which are not supported", list(features))),
    }
    let mode = metadata.property("delta.columnMapping.mode").unwrap_or("none");
    if mode != "none" {
        return Err(format!(
            "it uses the feature `columnMapping` (mode `{mode}`), which is not supported: its files have other names for columns; \
             write it again without"
        ));
    }
    match metadata.format.as_ref().and_then(|format| format.provider.as_deref()) {
        None | Some("parquet") => Ok(()),
        Some(other) => Err(format!("its files have the format `{other}`, and Parquet is supported")),
    }
}

/// Returns the names and types of the columns that partition a table.
fn partition_columns(fields: &Fields, metadata: &Metadata) -> Result<Vec<(String, DataType)>, String> {
    let mut seen = HashSet::new();
    let column = |name: &String| match fields.find(name) {
        Some((_, field)) if !field.data_type().is_nested() && seen.insert(name.clone()) => {
            Ok((name.clone(), field.data_type().clone()))
        }
        Some(_) => Err(format!("`{name}` cannot partition the table")),
        None => Err(format!("the column `{name}`, which partitions the table, is missing")),
    };
    metadata.partition_columns.iter().map(column).collect()
}

/// Returns the path of a file on this machine from its path in the log: a URI, or relative to the table, with escapes.
fn local_path(table: &Path, text: &str) -> Result<PathBuf, String> {
    let rest = match text.split_once(":/") {
        Some((scheme, rest)) if is_scheme(scheme) => {
            if !scheme.eq_ignore_ascii_case("file") {
                return Err(format!(
                    "its log lists the file {text}, and files in `{scheme}` are not supported"
                ));
            }
            // After two slashes there is the name of a host: none, or this one.
            let rest =
                rest.strip_prefix('/').map_or(rest, |rest| rest.strip_prefix("localhost").unwrap_or(rest));
            format!("/{}", rest.trim_start_matches('/'))
        }
        _ => text.to_owned(),
    };
    let decoded = percent_decode_str(&rest).decode_utf8();
    let decoded =
        decoded.map_err(|_| format!("its log lists the file {text}, whose name is not valid UTF-8"))?;
    Ok(table.join(&*decoded))
}

/// Returns the path of a file below its table from its path in the log, with escapes.
fn relative_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') || text.split_once(":/").is_some_and(|(scheme, _)| is_scheme(scheme)) {
        return Err(format!(
            "its log lists the file {text}, and files outside of the table are not supported"
        ));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| format!("its log lists the file {text}, whose name is not valid UTF-8"))
}

/// Returns whether a text can be the scheme of a URI (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// What the actions of a log add up to.
#[derive(Default)]
struct Log {
    protocol: Option<Protocol>,
    metadata: Option<Metadata>,
    live: HashMap<FileKey, PartitionValues>,
    /// The bytes of the texts in `live`.
    text: usize,
}

impl Log {
    /// Reads the checkpoint and the commits after it.
    fn read(table: &FoundTable, files: LogFiles) -> Result<Log, Error> {
        let mut log = Log::default();
        let mut sidecars = Vec::new();
        for part in &files.checkpoint {
            actions::read(part, &mut |mut action| {
                sidecars.extend(action.sidecar.take().map(|sidecar| sidecar.path));
                if sidecars.len() > MOST_SIDECARS {
                    return Err(format!("it refers to more than {MOST_SIDECARS} files"));
                }
                log.apply(action)
            })?;
        }
        for sidecar in sidecars {
            let refused = |reason: String| refused(&table.path, &reason);
            let folder = format!("{LOG}/_sidecars");
            let location = match &table.remote {
                Some(remote) => {
                    let name = format!("{folder}/{}", relative_path(&sidecar).map_err(refused)?);
                    let lacks = || refused(format!("its log lacks {name}"));
                    remote.file(&name)?.ok_or_else(lacks)?
                }
                None => Location::of_file(local_path(&table.path.join(folder), &sidecar).map_err(refused)?),
            };
            actions::read(&location, &mut |action| log.apply(action))?;
        }
        for commit in &files.commits {
            actions::read(commit, &mut |action| log.apply(action))?;
        }
        Ok(log)
    }

    /// Applies an action, after those before it.
    fn apply(&mut self, action: Action) -> Result<(), String> {
        let Action { add, remove, protocol, meta_data, .. } = action;
        self.protocol = protocol.or(self.protocol.take());
        self.metadata = meta_data.or(self.metadata.take());
        if let Some(remove) = remove {
            let key = FileKey::new(remove.path, remove.deletion_vector);
            if let Some(values) = self.live.remove(&key) {
                self.text -= bytes(&key, &values);
            }
        }
        if let Some(Add { path, partition_values, deletion_vector }) = add {
            let (key, values) = (FileKey::new(path, deletion_vector), partition_values.unwrap_or_default());
            if key.path.is_empty() {
                return Err("a file has no path".to_owned());
            }
            self.text += bytes(&key, &values);
            if let Some(old) = self.live.get(&key) {
                self.text -= bytes(&key, old);
            }
            self.live.insert(key, values);
        }
        if self.live.len() > MOST_FILES {
            return Err(format!("the table has more than {MOST_FILES} files, which is not supported"));
        }
        if self.text > MOST_TEXT {
            return Err(format!(
                "the paths and partitions of its files have more than {MOST_TEXT} bytes, which is not supported"
            ));
        }
        Ok(())
    }
}

/// Returns the number of bytes that a file takes in [`Log::live`], approximately.
fn bytes(key: &FileKey, values: &PartitionValues) -> usize {
    const OF_AN_ENTRY: usize = 64;
    let of_value = |(name, value): (&String, &Option<String>)| {
        OF_AN_ENTRY + name.len() + value.as_ref().map_or(0, String::len)
    };
    let of_key = key.path.len() + key.deletion_vector.as_ref().map_or(0, String::len);
    of_key + values.iter().map(of_value).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_a_log_are_uris() {
        let path = |text: &str| local_path(Path::new("/t"), text).map(|path| path.display().to_string());
        for (text, expected) in [
            ("a/part-0.parquet", "/t/a/part-0.parquet"),
            // The directory is `family=a%20b`: writers escape the value, and the log escapes the path once more.
            ("family=a%2520b/p.parquet", "/t/family=a%20b/p.parquet"),
            ("at=2024-01-01 00:/p.parquet", "/t/at=2024-01-01 00:/p.parquet"),
            ("/lake/p.parquet", "/lake/p.parquet"),
            ("file:/lake/p.parquet", "/lake/p.parquet"),
            ("file:///lake/a%20b.parquet", "/lake/a b.parquet"),
            ("file://localhost/lake/p.parquet", "/lake/p.parquet"),
        ] {
            assert_eq!(path(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(path("s3a://bucket/p.parquet").is_err_and(|reason| reason.contains("`s3a`")));
        assert!(path("%ff.parquet").is_err());
    }
}
