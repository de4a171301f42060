//! Reads the actions in commits and checkpoints that matter to a reader of the current version. All others are ignored.
//!
//! Commits are JSON lines, one action each. Checkpoints are Parquet files with a row for each action, which are converted to
//! JSON lines; V2 checkpoints may also be JSON lines.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use serde::Deserialize;

use crate::error::{Error, Phase};
use crate::input::found::FoundFile;
use crate::input::guard::guard;
use crate::input::location::{InOrder, Location};
use crate::input::parquet::ParquetFiles;
use crate::input::parquet::partitions::PartitionOptions;
use crate::input::source::Source;

/// The length of a line, in bytes. A line holds an action; the longest are schemas of tables with many columns.
const MOST_LINE: usize = 1 << 24;

/// The bytes of text in the actions of a batch of rows of a checkpoint.
const MOST_TEXT: usize = 1 << 26;

/// The values of the columns that partition the table, as texts.
pub(super) type PartitionValues = HashMap<String, Option<String>>;

/// An action of a log: one of the fields is there, or none.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Action {
    /// A file becomes part of the table.
    pub(super) add: Option<Add>,
    /// A file is no longer part of the table.
    pub(super) remove: Option<Remove>,
    /// What readers must know.
    pub(super) protocol: Option<Protocol>,
    /// The schema of the table.
    pub(super) meta_data: Option<Metadata>,
    /// A file with more actions of a V2 checkpoint.
    pub(super) sidecar: Option<Sidecar>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    pub(super) path: String,
    pub(super) partition_values: Option<PartitionValues>,
    pub(super) deletion_vector: Option<DeletionVector>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub(super) path: String,
    pub(super) deletion_vector: Option<DeletionVector>,
}

/// The rows of a file that are deleted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeletionVector {
    storage_type: Option<String>,
    path_or_inline_dv: Option<String>,
    offset: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub(super) min_reader_version: i64,
    pub(super) reader_features: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    /// The schema, in JSON.
    pub(super) schema_string: String,
    #[serde(default)]
    pub(super) partition_columns: Vec<String>,
    configuration: Option<HashMap<String, Option<String>>>,
    pub(super) format: Option<Format>,
}

impl Metadata {
    /// Returns the value of a property of the table.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        self.configuration.as_ref()?.get(name)?.as_deref()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Format {
    pub(super) provider: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sidecar {
    pub(super) path: String,
}

/// What identifies a file in the log: a file with other deleted rows counts as another file.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FileKey {
    /// The path as the log writes it.
    pub(super) path: String,
    /// What identifies the file's deletion vector, if it has one.
    pub(super) deletion_vector: Option<String>,
}

impl FileKey {
    pub(super) fn new(path: String, deletion_vector: Option<DeletionVector>) -> FileKey {
        let identity = |vector: DeletionVector| {
            let DeletionVector { storage_type, path_or_inline_dv, offset } = vector;
            let offset = offset.map(|offset| format!("@{offset}")).unwrap_or_default();
            Some(format!("{}{}{offset}", storage_type?, path_or_inline_dv.unwrap_or_default()))
        };
        FileKey { path, deletion_vector: deletion_vector.and_then(identity) }
    }
}

/// Reads a file of the log and passes on its actions in order. `apply` returns why an action cannot be applied.
///
/// # Errors
/// If the file cannot be read, is damaged, or an action cannot be applied.
pub(super) fn read(
    location: &Location,
    apply: &mut dyn FnMut(Action) -> Result<(), String>,
) -> Result<(), Error> {
    let path = location.path.as_path();
    // To open a pipe would wait for a writer.
    let is_file = || fs::metadata(path).map_err(|error| unreadable(path, error)).map(|found| found.is_file());
    if location.object.is_none() && !is_file()? {
        return Err(unreadable(path, io::Error::other("it is not a regular file")));
    }
    if path.extension() == Some(OsStr::new("json")) {
        read_lines(location, apply)
    } else {
        read_rows(location, apply)
    }
}

/// Returns the error that the operating system reported on a file.
fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable { path: path.display().to_string(), source, phase: Phase::Inspect }
}

/// Returns the error for a file of the log that is not what it should be.
fn bad(path: &Path, reason: String) -> Error {
    Error::BadText { path: path.display().to_string(), reason }
}

fn read_lines(location: &Location, apply: &mut dyn FnMut(Action) -> Result<(), String>) -> Result<(), Error> {
    let path = location.path.as_path();
    let unreadable = |source| unreadable(path, source);
    let file = location.open().map_err(unreadable)?;
    let bytes = file.version().map_err(unreadable)?.bytes;
    let mut text = BufReader::new(InOrder::new(file, bytes));
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let within = &mut text.by_ref().take(MOST_LINE as u64 + 1);
        if within.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        let action = match line.trim_ascii() {
            [] => continue,
            _ if line.len() > MOST_LINE => Err(format!("it has more than {MOST_LINE} bytes")),
            line => serde_json::from_slice(line).map_err(|error| format!("it is not an action ({error})")),
        };
        action.and_then(&mut *apply).map_err(|reason| bad(path, format!("line {number}: {reason}")))?;
    }
    Ok(())
}

fn read_rows(location: &Location, apply: &mut dyn FnMut(Action) -> Result<(), String>) -> Result<(), Error> {
    let path = location.path.as_path();
    let file =
        FoundFile { location: location.clone(), named: true, typed: usize::MAX, text: None, table: None };
    let files = ParquetFiles::of(vec![file], Vec::new(), PartitionOptions::default())?;
    let fields = files.fragments()[0].schema.fields();
    let columns: HashSet<String> = ["add", "protocol", "metaData", "sidecar"]
        .into_iter()
        .filter(|name| fields.find(name).is_some())
        .map(str::to_owned)
        .collect();
    if !columns.contains("add") {
        return Err(bad(path, "this checkpoint has no column `add`".to_owned()));
    }
    for batch in files.read(0, &columns)? {
        let batch = batch?;
        let lines = guard(|| json_lines(&batch)).map_err(|panic| bad(path, panic))?;
        let lines = lines.map_err(|error| bad(path, error.to_string()))?;
        for line in lines.split(|c| *c == b'\n').filter(|line| !line.is_empty()) {
            let action = serde_json::from_slice(line)
                .map_err(|error| format!("a row of this checkpoint is not an action ({error})"));
            action.and_then(&mut *apply).map_err(|reason| bad(path, reason))?;
        }
    }
    Ok(())
}

/// Returns the rows of a batch of a checkpoint as JSON lines.
fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let column = match column.as_struct_opt() {
            // Statistics of columns, which take most of a checkpoint, are left out.
            Some(structs) if field.name() == "add" => {
                Arc::new(with_children(structs, &["path", "partitionValues", "deletionVector"])?) as ArrayRef
            }
            _ => Arc::clone(column),
        };
        fields.push(Arc::new(Field::new(field.name(), column.data_type().clone(), true)));
        columns.push(column);
    }
    // Rows can share a long text, but each line gets a copy.
    let text: usize = columns.iter().map(text_bytes).sum();
    if text > MOST_TEXT {
        return Err(ArrowError::MemoryError(format!(
            "more than {MOST_TEXT} bytes in {} actions",
            batch.num_rows()
        )));
    }
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

/// Returns structs with some of their children.
fn with_children(structs: &StructArray, names: &[&str]) -> Result<StructArray, ArrowError> {
    let children = structs.fields().iter().zip(structs.columns());
    let kept = children.filter(|(field, _)| names.contains(&field.name().as_str()));
    let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) =
        kept.map(|(field, column)| (Arc::clone(field), Arc::clone(column))).unzip();
    StructArray::try_new_with_length(fields.into(), columns, structs.nulls().cloned(), structs.len())
}

/// Returns the number of bytes of all texts in a column whose texts are views, in nested columns too.
fn text_bytes(column: &ArrayRef) -> usize {
    match column.data_type() {
        // The first four bytes of a view are the length.
        DataType::Utf8View => column.as_string_view().views().iter().map(|view| *view as u32 as usize).sum(),
        DataType::BinaryView => {
            column.as_binary_view().views().iter().map(|view| *view as u32 as usize).sum()
        }
        DataType::Struct(_) => column.as_struct().columns().iter().map(text_bytes).sum(),
        DataType::List(_) => text_bytes(column.as_list::<i32>().values()),
        DataType::LargeList(_) => text_bytes(column.as_list::<i64>().values()),
        DataType::Map(_, _) => column.as_map().entries().columns().iter().map(text_bytes).sum(),
        _ => 0,
    }
}
