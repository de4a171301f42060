//! What can be wrong with an input, each as a sentence that says which file or column, what, and what to do.

use std::io;

use thiserror::Error;

use crate::formula::Span;

/// When an error came about; it decides the exit status of errors that are not the input's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// While the inputs were looked up and their schemas read: nothing has started.
    Inspect,
    /// While rows were read.
    Read,
}

/// An input that cannot be used, or a request that does not fit it.
#[derive(Debug, Error)]
pub enum DatasetError {
    #[error("no input is given; name Parquet files, directories or globs")]
    NoInputs,
    #[error("{path}: there is no such file or directory; check the path")]
    Missing { path: String },
    #[error("{pattern}: no file matches this pattern; check it, and quote it if the shell expands it")]
    NoMatch { pattern: String },
    #[error("{pattern}: this is not a valid pattern ({reason}); see `*`, `**`, `?` and `[a-z]`")]
    BadPattern { pattern: String, reason: String },
    #[error(
        "{path}: the directory holds no *.parquet file (names that start with `.` or `_` are skipped); \
         name the files, or a glob, if theirs end otherwise"
    )]
    EmptyDirectory { path: String },
    #[error("{path}: cannot be read ({source}); check its permissions and that the disk is there")]
    Unreadable { path: String, source: io::Error, phase: Phase },
    #[error(
        "{path}: the file was there when the job began and is gone now; keep inputs in place and run again"
    )]
    Vanished { path: String },
    #[error("{path}: the file changed while the job ran ({what}); run again when nothing writes to it")]
    Changed { path: String, what: String },
    #[error("{path}: the file is empty (0 bytes); write it again or leave it out")]
    EmptyFile { path: String },
    #[error("{path}: this is not a Parquet file ({what}); convert it to Parquet or leave it out")]
    NotParquet { path: String, what: String },
    #[error(
        "{path}: the file begins like Parquet but its end is missing; \
         it was cut short while written or copied: write or copy it again"
    )]
    Truncated { path: String },
    #[error("{path}: the file is encrypted, which is not supported; decrypt it first")]
    Encrypted { path: String },
    #[error("{path}: the file is damaged ({reason}); write or copy it again, or leave it out")]
    Corrupt { path: String, reason: String },
    #[error("{role}: there is no column `{name}`{}; the input has {available}",
        nearest.as_ref().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default())]
    MissingColumn {
        /// What asked for it, such as `--by`.
        role: String,
        name: String,
        nearest: Option<String>,
        /// The names that there are, as a phrase; long lists are cut.
        available: String,
    },
    #[error(
        "{path}: the file has no column `{column}`, which other inputs have; \
         leave the file out, or add the column to it"
    )]
    MissingInFile { column: String, path: String },
    #[error(
        "{path}: column `{column}` is {found} here but {expected} in {other}; \
         write it with one type, or read these files in separate runs"
    )]
    Conflict { column: String, path: String, found: String, other: String, expected: String },
    #[error("{path}: the file has more than one column named `{column}`; rename one of them")]
    Ambiguous { column: String, path: String },
    #[error(
        "{role}: `{name}` asks for a field inside the nested column `{column}`, which is not supported; \
         write the field as a column of its own"
    )]
    Nested { role: String, name: String, column: String },
    #[error("{role}: `{name}` is {found}, and a number is needed; {advice}")]
    NotNumeric { role: String, name: String, found: String, advice: String },
    #[error(
        "{role}: column `{name}` is {found}, which expressions cannot use; leave it out, or write it as a number or text"
    )]
    UnusableType { role: String, name: String, found: String },
    #[error("{role}: column `{name}` is {found}, which cannot identify rows; write it as a number or text")]
    UnusableKey { role: String, name: String, found: String },
    #[error("{place}: {message}")]
    Expression {
        /// `--where`, or `--let NAME`.
        place: String,
        message: String,
        /// Where in the expression's text.
        span: Span,
    },
    #[error(
        "{place}: this gives {found}, and a condition must give true or false; compare it with something"
    )]
    NotCondition { place: String, found: &'static str, span: Span },
    #[error("{path}: column `{column}`: {reason}; write it with the type that other inputs have")]
    Conversion { path: String, column: String, reason: String },
    #[error(
        "the inputs have too many {what} for one run (more than {limit}); split the job by key or by file"
    )]
    TooMany { what: &'static str, limit: u64 },
    #[error("interrupted while reading")]
    Interrupted,
    #[error("{context}: {reason}; this is a defect of the program, please report it")]
    Internal { context: String, reason: String },
}

impl DatasetError {
    /// The program's exit status: 2 where the command line or an input is wrong, 1 where reading could not be
    /// completed for a reason outside both, 130 on Ctrl-C.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Unreadable { phase: Phase::Read, .. }
            | Self::Vanished { .. }
            | Self::Changed { .. }
            | Self::Internal { .. } => 1,
            Self::Interrupted => 130,
            _ => 2,
        }
    }
}

/// The names as a phrase for [`DatasetError::MissingColumn`], cut after a dozen.
pub(in crate::input) fn enumerate(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "no columns".to_owned();
    }
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The name that the user probably meant: the nearest by edit distance, if a slip could explain the difference.
pub(in crate::input) fn nearest(name: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|candidate| {
            let distance = strsim::osa_distance(&name.to_lowercase(), &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = owned(&["loss", "tokens", "flops"]);
        assert_eq!(nearest("tokesn", &known).as_deref(), Some("tokens"));
        assert_eq!(nearest("LOSS", &known).as_deref(), Some("loss"));
        assert_eq!(nearest("accuracy", &known), None);
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..15).map(|i| format!("c{i}")).collect();
        let text = enumerate(&names);
        assert!(text.contains("`c11`") && !text.contains("`c12`") && text.ends_with("and 3 more"));
    }

    #[test]
    fn status_tells_whose_fault_it_is() {
        let unreadable =
            |phase| DatasetError::Unreadable { path: "a".into(), source: io::Error::other("x"), phase };
        assert_eq!(unreadable(Phase::Inspect).exit_status(), 2);
        assert_eq!(unreadable(Phase::Read).exit_status(), 1);
        assert_eq!(DatasetError::Interrupted.exit_status(), 130);
        assert_eq!(DatasetError::NoInputs.exit_status(), 2);
    }
}
