//! What the commands share that ask a kept result: its directory, the choice of fits, and where the answer goes.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use clap::Args;
use parquet::arrow::ArrowWriter;

use super::numbers::{last_place, rounded};
use super::summary::{TEXT_WIDTH, cell, lines, table};
use super::{Failure, terminal};
use crate::input::rows_that_meet;
use crate::output::{KeptResult, write_object};
use crate::questions::Selection;

/// The arguments that commands share that ask a result.
#[derive(Args, Debug)]
pub struct AskArguments {
    /// A directory that `sweepfit fit` has written
    #[arg(value_name = "RESULT")]
    pub result: PathBuf,

    /// Ask the sweeps whose keys meet this condition, such as "family = 'mamba'"
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true)]
    pub condition: Option<String>,

    /// Ask the fits of this law
    #[arg(long, value_name = "NAME")]
    pub law: Option<String>,

    /// Also write the answer to a file: Parquet, CSV or JSON lines by its ending; `-` for CSV on standard output
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl AskArguments {
    /// Reads the result and selects its fits.
    ///
    /// # Errors
    /// If the result cannot be read, or the condition does not fit its keys.
    pub fn open(&self) -> Result<(KeptResult, Selection), Failure> {
        let result = KeptResult::open(&self.result)?;
        let sweeps = match &self.condition {
            Some(condition) => {
                let keys: Vec<usize> = (0..result.n_keys).collect();
                let keys = result.table.project(&keys).map_err(|error| Failure::usage(error.to_string()))?;
                rows_that_meet(&keys, condition)?
            }
            None => Vec::new(),
        };
        let selection = Selection { law: self.law.clone(), sweeps };
        Ok((result, selection))
    }

    /// Writes an answer where it is wanted and returns what is shown of it on standard output.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn finish(&self, answer: &RecordBatch) -> Result<String, Failure> {
        let failed = |reason: String| Failure { status: 1, message: reason };
        match self.out.as_deref() {
            None => Ok(shown(answer)),
            Some(path) if path == Path::new("-") => {
                let text = csv(answer).map_err(failed)?;
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            Some(path) => {
                write(path, answer)?;
                Ok(format!("{}written to {}\n", shown(answer), path.display()))
            }
        }
    }
}

/// Returns an answer as CSV.
fn csv(answer: &RecordBatch) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    arrow::csv::Writer::new(&mut text).write(answer).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Writes an answer to a file in the format of its ending. The file appears when it is complete.
pub(super) fn write(path: &Path, answer: &RecordBatch) -> Result<(), Failure> {
    let failed = |reason: String| Failure { status: 1, message: format!("{}: {reason}", path.display()) };
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let content = match ending {
        "csv" => csv(answer).map_err(failed)?,
        "json" | "jsonl" => {
            let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
            writer.write(answer).and_then(|()| writer.finish()).map_err(|error| failed(error.to_string()))?;
            writer.into_inner()
        }
        "parquet" => {
            let mut content = Vec::new();
            let written = ArrowWriter::try_new(&mut content, answer.schema(), None)
                .and_then(|mut writer| writer.write(answer).and_then(|()| writer.close()));
            written.map_err(|error| failed(error.to_string()))?;
            content
        }
        _ => {
            let reason = "end the name with .parquet, .csv or .json";
            return Err(Failure::usage(format!("--out {}: {reason}", path.display())));
        }
    };
    write_whole(path, &content)
}

/// Writes a file on this machine or in a store, which appears when it is complete.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), Failure> {
    if write_object(path, content)? {
        return Ok(());
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let staging = path.with_extension(format!("{ending}.incomplete"));
    let write = || {
        let mut file = File::create(&staging)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&staging, path)
    };
    write().map_err(|error: std::io::Error| {
        let _ = std::fs::remove_file(&staging);
        Failure { status: 1, message: format!("{}: {error}", path.display()) }
    })
}

/// The number of rows up to which an answer that is wider than a line is shown upright, a column for each row.
const MOST_UPRIGHT: usize = 4;

/// The number of rows that are shown.
const MOST_ROWS: usize = 40;

/// A column that is shown: of one column of the answer, or of a value with its interval.
struct ShownColumn {
    title: String,
    /// The column of the value; none for an interval alone.
    value: Option<usize>,
    /// The columns of the ends of an interval.
    ends: Option<(usize, usize)>,
}

/// Returns the columns that are shown: a value and its interval together, nothing of columns without any value.
fn shown_columns(answer: &RecordBatch) -> Vec<ShownColumn> {
    let schema = answer.schema();
    let place = |name: &str| schema.index_of(name).ok();
    let is_empty = |i: usize| (0..answer.num_rows()).all(|row| text(answer, i, row).is_empty());
    let mut columns = Vec::new();
    for (i, field) in schema.fields().iter().enumerate() {
        let name = field.name().as_str();
        let is_end = |name: &str| ["_low", "_high"].iter().any(|ending| name.ends_with(ending));
        if name == "pi_low" && !is_empty(i) {
            let ends = place("pi_high").map(|high| (i, high));
            columns.push(ShownColumn { title: "new run".to_string(), value: None, ends });
        }
        if is_end(name) || name == "confidence" || is_empty(i) {
            continue;
        }
        let prefix = if name == "prediction" { "ci" } else { name };
        let ends = place(&format!("{prefix}_low")).zip(place(&format!("{prefix}_high")));
        let ends = ends.filter(|(low, _)| !is_empty(*low));
        columns.push(ShownColumn { title: name.replace('_', " "), value: Some(i), ends });
    }
    columns
}

/// Returns an answer as a table, and the confidence of its intervals.
pub(super) fn shown(answer: &RecordBatch) -> String {
    let columns = shown_columns(answer);
    let titles: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    let is_number = |i: &usize| {
        let column = columns[*i].value.or(columns[*i].ends.map(|(low, _)| low));
        column.is_some_and(|column| answer.column(column).data_type().is_numeric())
    };
    let (right, whole): (Vec<usize>, Vec<usize>) = (0..columns.len()).partition(is_number);
    let whole: Vec<usize> = whole.into_iter().filter(|&i| columns[i].title != "message").collect();
    let value = |column: &ShownColumn, row: usize| {
        let value = column.value.map_or_else(String::new, |i| text(answer, i, row));
        let ends = column.ends.map(|(low, high)| (text(answer, low, row), text(answer, high, row)));
        match ends.filter(|(low, _)| !low.is_empty()) {
            Some((low, high)) if value.is_empty() => format!("{low} to {high}"),
            Some((low, high)) => format!("{value} ({low} to {high})"),
            None => cell(&value),
        }
    };
    let n_rows = answer.num_rows().min(MOST_ROWS);
    let mut rows = table(&titles, &whole, &right);
    (0..n_rows).for_each(|row| {
        rows.add_row(columns.iter().map(|column| value(column, row)));
    });
    let width = |column: &ShownColumn| {
        (0..n_rows)
            .map(|row| value(column, row).chars().count())
            .fold(column.title.chars().count(), usize::max)
            + 2
    };
    let is_wide =
        columns.iter().map(width).sum::<usize>() > usize::from(terminal::width().unwrap_or(TEXT_WIDTH));
    let mut shown = if is_wide && (1..=MOST_UPRIGHT).contains(&n_rows) {
        // A few wide rows are read downwards.
        let header = vec![""; n_rows + 1];
        let mut upright = table(&header, &[0], &(1..=n_rows).collect::<Vec<_>>());
        for column in &columns {
            let values = (0..n_rows).map(|row| value(column, row));
            upright.add_row(std::iter::once(column.title.clone()).chain(values));
        }
        lines(&upright).trim_start_matches('\n').to_string()
    } else {
        lines(&rows)
    };
    if answer.num_rows() > MOST_ROWS {
        shown += &format!("{} more rows; --out FILE writes all\n", answer.num_rows() - MOST_ROWS);
    }
    if let Some(confidence) = answer.column_by_name("confidence")
        && columns.iter().any(|column| column.ends.is_some())
        && let Ok(level) = array_value_to_string(confidence, 0)
    {
        let level: f64 = level.parse().unwrap_or(f64::NAN);
        shown += &format!("intervals of {} % confidence\n", 100.0 * level);
    }
    terminal::printable(&shown).into_owned()
}

/// Returns a value of a table for display: numbers with the digits that mean something.
fn text(answer: &RecordBatch, column: usize, row: usize) -> String {
    let array = answer.column(column);
    if array.is_null(row) {
        return String::new();
    }
    let text = array_value_to_string(array, row).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && number.abs() < 1e6 => format!("{number}"),
        Ok(number) if *array.data_type() == DataType::Float64 => {
            rounded(number, last_place(number, None) + 2)
        }
        _ => text,
    }
}
