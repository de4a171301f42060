//! Lists the files of a log that give the table's current version: the newest complete checkpoint and all commits after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Error, Phase};
use crate::input::found::FoundTable;
use crate::input::location::Location;

/// The directory of the log, in that of the table.
pub(super) const LOG: &str = "_delta_log";

/// Returns the error for a table that is not read.
pub(super) fn refused(table: &Path, reason: &str) -> Error {
    Error::Table {
        path: table.display().to_string(),
        reason: format!("this Delta table cannot be read: {reason}"),
    }
}

/// The files of a log that give the current version.
#[derive(Debug)]
pub(super) struct LogFiles {
    /// The current version.
    pub(super) version: i64,
    /// The parts of the newest checkpoint that is complete; empty if there is none.
    pub(super) checkpoint: Vec<Location>,
    /// The commits after the checkpoint, oldest first.
    pub(super) commits: Vec<Location>,
}

/// What the name of a file in the log says of it.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Commit,
    /// A part of a checkpoint: its number, from 1, and the number of parts.
    Part(u32, u32),
}

/// Returns the version and the kind of a file of the log; `None` for other files.
fn parse(name: &str) -> Option<(i64, Kind)> {
    let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|c| c.is_ascii_digit());
    let parts: Vec<&str> = name.split('.').collect();
    let version = parts[0].parse().ok().filter(|_| digits(parts[0], 20))?;
    let kind = match parts[1..] {
        ["json"] => Kind::Commit,
        ["checkpoint", "parquet"] => Kind::Part(1, 1),
        // A V2 checkpoint, whose name has a UUID.
        ["checkpoint", uuid, "parquet" | "json"] if !uuid.is_empty() => Kind::Part(1, 1),
        ["checkpoint", number, of, "parquet"] if digits(number, 10) && digits(of, 10) => {
            Kind::Part(number.parse().ok()?, of.parse().ok()?)
        }
        _ => return None,
    };
    Some((version, kind))
}

impl LogFiles {
    /// Lists the log of a table.
    ///
    /// # Errors
    /// If the log cannot be listed, has no commit, or lacks one of the versions that it needs.
    pub(super) fn list(table: &FoundTable) -> Result<LogFiles, Error> {
        let files = files_of_log(table)?;
        let table = table.path.as_path();
        let mut commits = BTreeMap::new();
        // By version and number of parts. Of several V2 checkpoints of one version, which are equal, one is read.
        let mut checkpoints: BTreeMap<(i64, u32), BTreeMap<u32, Location>> = BTreeMap::new();
        for (name, location) in files {
            match parse(&name) {
                Some((version, Kind::Commit)) => {
                    commits.insert(version, location);
                }
                Some((version, Kind::Part(number, of))) => {
                    checkpoints.entry((version, of)).or_default().insert(number, location);
                }
                None => {}
            }
        }
        let versions: BTreeSet<i64> =
            commits.keys().copied().chain(checkpoints.keys().map(|(version, _)| *version)).collect();
        let Some(&newest) = versions.last() else {
            return Err(refused(table, "its log has no commit; restore the log"));
        };
        let is_complete = |of: u32, parts: &BTreeMap<u32, Location>| parts.keys().copied().eq(1..=of);
        let complete = checkpoints.iter().rev().find(|((_, of), parts)| is_complete(*of, parts));
        let (mut version, checkpoint) = match complete {
            Some((&(version, _), parts)) => (version, parts.values().cloned().collect()),
            None => (-1, Vec::new()),
        };
        let after = commits.split_off(&(version + 1));
        let mut found = Vec::with_capacity(after.len());
        for (number, location) in after {
            if number != version + 1 {
                break;
            }
            version = number;
            found.push(location);
        }
        if version < newest {
            let missing = version + 1;
            return Err(refused(
                table,
                &format!(
                    "its log lacks version {missing}, and a complete checkpoint after it; restore the files of {LOG}"
                ),
            ));
        }
        Ok(LogFiles { version, checkpoint, commits: found })
    }
}

/// Returns the names and locations of the files in the log of a table.
fn files_of_log(table: &FoundTable) -> Result<Vec<(String, Location)>, Error> {
    if let Some(remote) = &table.remote {
        return Ok(remote.files_in(LOG).collect());
    }
    let log = table.path.join(LOG);
    let unreadable = |source: io::Error| Error::Unreadable {
        path: log.display().to_string(),
        source,
        phase: Phase::Inspect,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(&log).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if let Some(name) = entry.file_name().to_str() {
            files.push((name.to_owned(), Location::of_file(entry.path())));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_version_and_the_kind() {
        let of = |rest: &str| parse(&format!("00000000000000000012.{rest}"));
        assert_eq!(of("json"), Some((12, Kind::Commit)));
        assert_eq!(of("checkpoint.parquet"), Some((12, Kind::Part(1, 1))));
        assert_eq!(of("checkpoint.0000000002.0000000003.parquet"), Some((12, Kind::Part(2, 3))));
        assert_eq!(of("checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json"), Some((12, Kind::Part(1, 1))));
        for other in ["crc", "json.tmp", "checkpoint.2.3.parquet", "checkpoint.9999999999.0000000003.parquet"]
        {
            assert_eq!(of(other), None, "{other}");
        }
        for other in
            ["12.json", "_last_checkpoint", "99999999999999999999.json", "+0000000000000000012.json", ""]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
