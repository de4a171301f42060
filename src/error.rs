//! The error type of the crate.
//!
//! The text of an error names the setting of the job, the file and the column that are wrong, and says what to do.
//! [`Error::text`] takes the spelling of settings as an argument: the program writes flags, the library fields of
//! [`Job`](crate::Job). The program derives its exit status from [`Error::kind`].

use std::fmt;
use std::io;

use crate::formula::{FormulaError, Span, counted, was_or_were};

/// A setting of a job, named by errors. [`Display`](fmt::Display) writes the name of the job's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The input files.
    Inputs,
    /// The key columns.
    By,
    /// A definition of a column.
    Let,
    /// The type of a partition.
    PartitionType,
    /// The condition on rows.
    Where,
    /// The condition on rows that are held out.
    Holdout,
    /// The left side of the law.
    Response,
    /// The columns of responses of a wide table.
    Responses,
    /// A law, by name or formula.
    Law,
    /// The catalogue of laws, which lists the names.
    Catalogue,
    /// The column of weights.
    Weight,
    /// The column of standard deviations.
    Sigma,
    /// The least number of usable observations of a sweep.
    MinPoints,
    /// Whether an input without a sweep gives an empty result.
    AllowEmpty,
    /// The resampling scheme.
    Resample,
    /// The interval method.
    Interval,
    /// A quantity derived from the parameters.
    Derive,
    /// A parameter that is fixed at a value.
    Fix,
    /// The user's own starting point.
    Start,
    /// The number of starts.
    Starts,
    /// The confidence of intervals.
    Confidence,
    /// Whether the table of residuals is written.
    Residuals,
    /// The output directory.
    Out,
    /// Whether an earlier result is replaced.
    Overwrite,
    /// The key columns by which the tables are divided.
    PartitionBy,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Setting::Inputs => "inputs",
            Setting::By => "by",
            Setting::Let => "let",
            Setting::PartitionType => "partition-type",
            Setting::Where => "condition",
            Setting::Holdout => "holdout",
            Setting::Response => "response",
            Setting::Responses => "responses",
            Setting::Law => "law",
            Setting::Catalogue => "the catalogue",
            Setting::Weight => "weight",
            Setting::Sigma => "sigma",
            Setting::MinPoints => "min_points",
            Setting::AllowEmpty => "allow_empty",
            Setting::Resample => "resample",
            Setting::Interval => "interval",
            Setting::Derive => "derive",
            Setting::Fix => "fix",
            Setting::Start => "start",
            Setting::Starts => "starts",
            Setting::Confidence => "confidence",
            Setting::Residuals => "residuals",
            Setting::Out => "out",
            Setting::Overwrite => "overwrite",
            Setting::PartitionBy => "partition_by",
        })
    }
}

/// The setting, and the value within the setting, that an error concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The setting.
    pub setting: Setting,
    /// The name or value within the setting, such as a column; empty where the setting has only one.
    pub subject: String,
}

impl Setting {
    /// Returns the setting as a whole.
    #[must_use]
    pub fn whole(self) -> Place {
        Place { setting: self, subject: String::new() }
    }

    /// Returns one value of the setting, such as a column.
    #[must_use]
    pub fn of(self, subject: impl Into<String>) -> Place {
        Place { setting: self, subject: subject.into() }
    }
}

/// The phase of a run in which reading a file failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Finding the inputs and reading their schemas, before any row is read.
    Inspect,
    /// Reading rows.
    Read,
}

/// The cause of an error: the job and its input, or its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The job or its input is wrong. The job fails again until one of them is changed.
    Invalid,
    /// The run was not completed, for a reason other than job and input or after fitting had begun.
    Failed,
    /// The caller asked the run to stop.
    Interrupted,
}

/// The reason why a job cannot be run, or was not completed.
#[derive(Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of the fields and the docs of the variants say what they hold")]
pub enum Error {
    /// A text cannot be parsed as a formula, expression or condition.
    Formula { place: Place, error: FormulaError },
    /// An expression does not fit the columns. `span` is the position of the fault in its text.
    Expression { place: Place, message: String, span: Span },
    /// The value of a setting is not usable.
    Invalid { place: Place, reason: String },
    /// A key column has the name of an output column, or of a variable that is another column.
    KeyNameTaken { column: String, name: String },
    /// A law's variable has the name of a column of the table of residuals.
    VariableNameTaken { variable: String },
    /// No row of the input is left, so there is no sweep to fit.
    NoSweeps { read: u64, dropped: u64 },
    /// A column of text that is to be read as numbers has no number in any row. `reason` is that of the first row.
    NoNumbers { rows: u64, reason: String },
    /// A URL is of no store that is known, or says credentials, or the program was built without stores.
    Remote { url: String, reason: String },
    /// A directory is a table of a format with versions, which is not read.
    TableFormat { path: String, format: &'static str },
    /// A table of a format with versions is not complete, is damaged, or uses a feature that is not known.
    Table { path: String, reason: String },
    /// A job has no law.
    NoLaw,
    /// No law of the catalogue has the name.
    UnknownLaw { name: String, nearest: Option<String> },
    /// A formula gives a domain to a column, which makes it a parameter, and has no variable.
    DomainOfColumn { law: String, name: String },
    /// A formula is not a law for the columns of the input.
    Law { law: String, reason: String },
    /// A law's response cannot be computed from the input's columns.
    UnboundResponse { law: String, response: String, reason: String, available: String },
    /// A law's variable is not a column of numbers. `available` lists the columns.
    UnboundVariable { law: String, variable: String, reason: String, available: String },
    /// A file is not a valid catalogue of laws.
    Catalogue { file: String, reason: String },

    /// No input is given.
    NoInputs,
    /// A path does not exist.
    Missing { path: String },
    /// A pattern matches no file.
    NoMatch { pattern: String },
    /// A pattern is malformed.
    BadPattern { pattern: String, reason: String },
    /// A directory holds no input file.
    EmptyDirectory { path: String },
    /// Another run writes to the output directory.
    Locked { path: String, holder: String },
    /// All files that the inputs stand for are tables that a run has written.
    OnlyResults { path: String },
    /// The operating system reported an error on reading a file.
    Unreadable { path: String, source: io::Error, phase: Phase },
    /// A file that existed when the job began no longer exists.
    Vanished { path: String },
    /// A file changed while the job ran.
    Changed { path: String, what: String },
    /// A file has a length of zero.
    EmptyFile { path: String },
    /// A file is not in the Parquet format.
    NotParquet { path: String, what: String },
    /// A file begins like Parquet and lacks the footer.
    Truncated { path: String },
    /// A file is encrypted.
    Encrypted { path: String },
    /// A file is damaged.
    Corrupt { path: String, reason: String },
    /// The lists of a row differ in length.
    UnequalLists { path: String, column: String, row: usize, found: usize, other: String, expected: usize },
    /// A file of text is not what its name says.
    BadText { path: String, reason: String },
    /// A file, or one of its columns, asks for something that may be valid but cannot be read: a noun.
    Unsupported { path: String, column: Option<String>, what: String },

    /// A column does not exist. `available` lists the existing columns.
    MissingColumn { place: Place, name: String, nearest: Option<String>, available: String },
    /// A file lacks a column that other inputs have. `other_case` is a column of the file that differs from it in case alone.
    MissingInFile { column: String, path: String, other_case: Option<String> },
    /// A column has different types in two files, and no type holds the values of both.
    Conflict { column: String, path: String, found: String, other: String, expected: String },
    /// A file has two columns with the same name.
    Ambiguous { column: String, path: String },
    /// A name refers to a field of a nested column.
    Nested { place: Place, name: String, column: String },
    /// A column does not contain numbers.
    NotNumeric { place: Place, name: String, found: String, advice: String },
    /// A column has a type that expressions cannot use.
    UnusableType { place: Place, name: String, found: String },
    /// A column has a type that cannot identify rows.
    UnusableKey { place: Place, name: String, found: String },
    /// A value cannot be converted to the column's common type.
    Conversion { path: String, column: String, reason: String },
    /// The input has more items of a kind than a run can number.
    TooMany { what: &'static str, limit: u64 },
    /// Columns in memory differ in length.
    UnequalColumns { column: String, rows: usize, expected: usize },

    /// The output directory contains an earlier result.
    Exists { path: String },
    /// A path cannot be the output directory.
    UnusableOutput { path: String, reason: String },
    /// A directory does not hold a result that can be asked.
    UnusableResult { path: String, reason: String },
    /// A question to a result cannot be answered as it is put.
    Question { subject: String, reason: String },
    /// An input file is inside the output directory.
    InputInOutput { out: String, input: String },
    /// A table could not be written.
    Write { path: String, reason: String },

    /// Reading failed after the fitting of earlier sweeps had begun.
    Midway(Box<Error>),
    /// The caller asked the run to stop.
    Interrupted,
    /// The program has a defect.
    Internal { context: String, reason: String },
}

impl Error {
    /// Returns the cause of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Unreadable { phase: Phase::Read, .. }
            | Error::Vanished { .. }
            | Error::Changed { .. }
            | Error::Write { .. }
            | Error::Locked { .. }
            | Error::Internal { .. } => ErrorKind::Failed,
            Error::Interrupted => ErrorKind::Interrupted,
            Error::Midway(error) => match error.kind() {
                ErrorKind::Interrupted => ErrorKind::Interrupted,
                _ => ErrorKind::Failed,
            },
            _ => ErrorKind::Invalid,
        }
    }

    /// Adds the text from which the error's expression was parsed, so that the message can show the position in it.
    #[must_use]
    pub(crate) fn within(self, text: &str) -> Error {
        match self {
            Error::Expression { place, message, span } => {
                Error::Formula { place, error: FormulaError::new(message, span, text) }
            }
            other => other,
        }
    }

    /// Returns the message for the user. `name` spells each setting. Names in files can have any characters; those that control
    /// a terminal are escaped.
    ///
    /// ```
    /// use sweepfit::{Error, Setting};
    ///
    /// let error = Error::Invalid { place: Setting::By.of("run"), reason: "given twice".into() };
    /// assert_eq!(error.text(&|setting| format!("--{setting}")), "--by run: given twice");
    /// ```
    #[must_use]
    pub fn text(&self, name: &dyn Fn(Setting) -> String) -> String {
        let text = self.unescaped(name);
        if !text.contains(is_control) {
            return text;
        }
        let escape = |c: char| if is_control(c) { c.escape_default().to_string() } else { c.to_string() };
        text.chars().map(escape).collect()
    }

    fn unescaped(&self, name: &dyn Fn(Setting) -> String) -> String {
        let at = |place: &Place| match place.subject.as_str() {
            "" => name(place.setting),
            subject => format!("{} {subject}", name(place.setting)),
        };
        match self {
            Error::Formula { place, error } => format!("{}:\n{error}", at(place)),
            Error::Expression { place, message, .. } => format!("{}: {message}", at(place)),
            Error::Invalid { place, reason } => format!("{}: {reason}", at(place)),
            Error::NoSweeps { read, dropped } => format!(
                "there is no sweep to fit: {} {} read and {dropped} dropped by {}; check the condition and the input, or ask \
                 for an empty result with {}",
                counted(*read, "row"),
                was_or_were(*read),
                name(Setting::Where),
                name(Setting::AllowEmpty)
            ),
            Error::Remote { url, reason } => format!("{url}: {reason}"),
            Error::TableFormat { path, format } => format!(
                "{path}: this is a table of the format {format}, whose directory also holds files that are no longer part \
                 of it; {}",
                advice_for_table(format)
            ),
            Error::Table { path, reason } => format!("{path}: {reason}"),
            Error::NoNumbers { rows, reason } => format!(
                "there is nothing to fit: a text stands in the place of a number in all {rows} rows that could be used. In \
                 the first, {reason}; name another column, or convert the texts"
            ),
            Error::KeyNameTaken { column, name: taken } => format!(
                "{} {column}: the output tables have a column `{taken}` of their own; give the key another name in \
                 them, as in {} {taken}_key={column}",
                name(Setting::By),
                name(Setting::By)
            ),
            Error::VariableNameTaken { variable } => format!(
                "{}: the table of residuals has a column `{variable}` of its own; give the variable another name \
                 with {}",
                name(Setting::Residuals),
                name(Setting::Let)
            ),
            Error::NoLaw => {
                format!("no law: give {0} NAME or {0} 'response ~ formula'", name(Setting::Law))
            }
            Error::UnknownLaw { name: law, nearest } => format!(
                "{} {law}: no law of this name.{} {} lists them; a formula is written 'response ~ expression'",
                name(Setting::Law),
                nearest.as_ref().map(|n| format!(" Did you mean `{n}`?")).unwrap_or_default(),
                capitalised(&name(Setting::Catalogue))
            ),
            Error::DomainOfColumn { law, name: column } => format!(
                "`{law}`: `where` gives the column `{column}` a domain, which makes it a parameter, so there is nothing to \
                 fit against; leave the domain out, and select rows with {}",
                name(Setting::Where)
            ),
            Error::Law { law, reason } => format!("`{law}`: {reason}"),
            Error::UnboundResponse { law, response, reason, available } => format!(
                "law `{law}`: its response `{response}`: {reason}; name another with {} COL, or define it with {}; the \
                 columns are {available}",
                name(Setting::Response),
                name(Setting::Let)
            ),
            Error::UnboundVariable { law, variable, reason, available } => format!(
                "law `{law}`: its variable `{variable}`: {reason}; define it with {} {variable}=EXPRESSION; the \
                 columns are {available}",
                name(Setting::Let)
            ),
            Error::Catalogue { file, reason } => format!("{file}: {reason}"),
            Error::NoInputs => "no input is given; name Parquet files, directories or globs".to_owned(),
            Error::Missing { path } => format!("{path}: there is no such file or directory; check the path"),
            Error::NoMatch { pattern } => format!(
                "{pattern}: no file matches this pattern; check it, and quote it if the shell expands it"
            ),
            Error::BadPattern { pattern, reason } => {
                format!("{pattern}: this is not a valid pattern ({reason}); see `*`, `**`, `?` and `[a-z]`")
            }
            Error::Locked { path, holder } => format!(
                "{path}: another run writes to this directory ({holder}); wait for it, or choose another with {}",
                name(Setting::Out)
            ),
            Error::OnlyResults { path } => format!(
                "{path}: all files are results of sweepfit; name a file in full to read it all the same"
            ),
            Error::EmptyDirectory { path } => format!(
                "{path}: the directory holds no Parquet file (names that start with `.` or `_` are skipped); name \
                 another directory, or the files"
            ),
            Error::Unreadable { path, source, .. } if path.contains("://") => {
                format!(
                    "{path}: cannot be read ({source}); check the URL, the credentials and the connection"
                )
            }
            Error::Unreadable { path, source, .. } => {
                format!("{path}: cannot be read ({source}); check its permissions and that the disk is there")
            }
            Error::Vanished { path } => format!(
                "{path}: the file was there when the job began and is gone now; keep inputs in place and run again"
            ),
            Error::Changed { path, what } => format!(
                "{path}: the file changed while the job ran ({what}); run again when nothing writes to it"
            ),
            Error::EmptyFile { path } => {
                format!("{path}: the file is empty (0 bytes); write it again or leave it out")
            }
            Error::NotParquet { path, what } => {
                format!("{path}: this is not a Parquet file ({what}); convert it to Parquet or leave it out")
            }
            Error::Truncated { path } => format!(
                "{path}: the file begins like Parquet but its end is missing; it was cut short while written or \
                 copied: write or copy it again"
            ),
            Error::Encrypted { path } => {
                format!("{path}: the file is encrypted, which is not supported; decrypt it first")
            }
            Error::UnequalLists { path, column, row, found, other, expected } => format!(
                "{path}: row {row} has {} of `{column}` and {expected} of `{other}`; the lists of a row must be of one length",
                crate::formula::counted(*found, "value")
            ),
            Error::BadText { path, reason } => format!("{path}: the file cannot be read: {reason}"),
            Error::Corrupt { path, reason } => {
                format!("{path}: the file is damaged ({reason}); write or copy it again, or leave it out")
            }
            Error::Unsupported { path, column: Some(column), what } => format!(
                "{path}: column `{column}`: {what} is not supported; write the column in another way, or do without it"
            ),
            Error::Unsupported { path, column: None, what } => {
                format!("{path}: {what} is not supported; write the file in another way, or leave it out")
            }
            Error::MissingColumn { place, name: column, nearest, available } => format!(
                "{}: there is no column `{column}`{}; the input has {available}",
                at(place),
                nearest.as_ref().map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default()
            ),
            Error::MissingInFile { column, path, other_case } => format!(
                "{path}: the file has no column `{column}`, which other inputs have{}; leave the file out, or add the \
                 column to it",
                other_case
                    .as_ref()
                    .map(|n| format!(" (its `{n}` differs in case alone)"))
                    .unwrap_or_default()
            ),
            Error::Conflict { column, path, found, other, expected } => format!(
                "{path}: column `{column}` is {found} here but {expected} in {other}; write it with one type, or read \
                 these files in separate runs"
            ),
            Error::Ambiguous { column, path } => {
                format!("{path}: the file has more than one column named `{column}`; rename one of them")
            }
            Error::Nested { place, name: field, column } => format!(
                "{}: `{field}` asks for a field inside the nested column `{column}`, which is not supported; write \
                 the field as a column of its own",
                at(place)
            ),
            Error::NotNumeric { place, name: column, found, advice } => {
                format!("{}: `{column}` is {found}, and a number is needed; {advice}", at(place))
            }
            Error::UnusableType { place, name: column, found } => format!(
                "{}: column `{column}` is {found}, which expressions cannot use; leave it out, or write it as a \
                 number or text",
                at(place)
            ),
            Error::UnusableKey { place, name: column, found } => format!(
                "{}: column `{column}` is {found}, which cannot identify rows; write it as a number or text",
                at(place)
            ),
            Error::Conversion { path, column, reason } => {
                format!("{path}: column `{column}`: {reason}; write it with the type that other inputs have")
            }
            Error::TooMany { what, limit } => format!(
                "the inputs have too many {what} for one run (more than {limit}); split the job by key or by file"
            ),
            Error::UnequalColumns { column, rows, expected } => format!(
                "column `{column}` has {}, and the columns before it have {expected}; all columns need one length",
                counted(*rows, "row")
            ),
            Error::Exists { path } => format!(
                "{path}: holds an earlier result; give another {}, or {} to replace it",
                name(Setting::Out),
                name(Setting::Overwrite)
            ),
            Error::UnusableOutput { path, reason } => {
                format!("{path}: cannot be the output directory: {reason}")
            }
            Error::UnusableResult { path, reason } => format!("{path}: {reason}"),
            Error::Question { subject, reason } => format!("{subject}: {reason}"),
            Error::InputInOutput { out, input } => format!(
                "{} {out}: the input {input} lies in it; write the result elsewhere",
                name(Setting::Out)
            ),
            Error::Write { path, reason } => format!("{path}: writing failed: {reason}"),
            Error::Midway(error) => format!("{}; nothing was written", error.unescaped(name)),
            Error::Interrupted => "interrupted; nothing was written".to_owned(),
            Error::Internal { context, reason } => {
                format!("{context}: {reason}; this is a defect of the program, please report it")
            }
        }
    }
}

/// Returns whether a character controls a terminal. Reports have newlines, and tabs of the user's text.
fn is_control(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

/// Returns the advice how the data of a table with versions can be read.
fn advice_for_table(format: &str) -> &'static str {
    match format {
        "Iceberg" => {
            "give the data files of its current version, which pyiceberg lists: \
             `[task.file.file_path for task in table.scan().plan_files()]` (compact a table with delete files first)"
        }
        "Hudi" => {
            "give the data files of its current version, which the Python package hudi lists: \
             `[slice.base_file_relative_path() for slice in table.get_file_slices()]`, below the table's directory (compact a \
             table of the type merge-on-read first)"
        }
        _ => "read it with `InputFiles`",
    }
}

/// Returns the text with its first letter in upper case.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&|setting| setting.to_string()))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Formula { error, .. } => Some(error),
            Error::Unreadable { source, .. } => Some(source),
            Error::Midway(error) => Some(error),
            _ => None,
        }
    }
}

/// Converts the error of a formula that was parsed outside of a job; it is reported as the error of a law.
impl From<FormulaError> for Error {
    fn from(error: FormulaError) -> Error {
        Error::Formula { place: Setting::Law.whole(), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_spells_the_settings() {
        let error = Error::UnboundVariable {
            law: "power".into(),
            variable: "x".into(),
            reason: "there is no column `x`".into(),
            available: "`n`".into(),
        };
        assert!(error.to_string().contains("define it with let x=EXPRESSION"), "{error}");
        let as_flag = |setting: Setting| format!("--{setting}");
        assert!(error.text(&as_flag).contains("define it with --let x=EXPRESSION"));
        let error = Error::Invalid { place: Setting::By.of("run"), reason: "given twice".into() };
        assert_eq!(
            (error.to_string(), error.text(&as_flag)),
            ("by run: given twice".into(), "--by run: given twice".into())
        );
    }

    #[test]
    fn the_kind_follows_from_the_phase_and_the_inner_error() {
        let unreadable = |phase| Error::Unreadable { path: "a".into(), source: io::Error::other("x"), phase };
        assert_eq!(unreadable(Phase::Inspect).kind(), ErrorKind::Invalid);
        assert_eq!(unreadable(Phase::Read).kind(), ErrorKind::Failed);
        assert_eq!(Error::NoInputs.kind(), ErrorKind::Invalid);
        // Earlier rows were fitted already: the job was not refused but left incomplete.
        let midway = |error| Error::Midway(Box::new(error)).kind();
        assert_eq!(midway(Error::EmptyFile { path: "a".into() }), ErrorKind::Failed);
        assert_eq!(midway(Error::Interrupted), ErrorKind::Interrupted);
    }
}
