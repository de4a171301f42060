//! Helpers of the tests: small Parquet files in a temporary folder, and reading them as sweeps.

// No test program uses all of the helpers.
#![allow(dead_code)]

pub mod crafted;
pub mod program;
#[cfg(feature = "cloud")]
pub mod store_server;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::array_value_to_string;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use sweepfit::Error;
use sweepfit::input::{Dataset, KeyColumn, ParquetFiles, Request, read};

/// A temporary folder, removed when dropped.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    /// Returns the path of a file in the folder.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Returns the folder as a list of inputs.
    pub fn all(&self) -> Vec<String> {
        vec![self.0.path().display().to_string()]
    }

    /// Writes a file with the given columns, all nullable.
    pub fn write(&self, name: &str, columns: &[(&str, ArrayRef)]) {
        self.write_in_groups(name, columns, 1 << 20);
    }

    /// Writes a file as [`Folder::write`] does, with at most `rows` rows in a row group.
    pub fn write_in_groups(&self, name: &str, columns: &[(&str, ArrayRef)], rows: usize) {
        let fields: Vec<Field> =
            columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect();
        let arrays = columns.iter().map(|(_, c)| Arc::clone(c)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch");
        let path = self.path(name);
        fs::create_dir_all(Path::new(&path).parent().expect("a parent")).expect("a directory");
        let file = fs::File::create(path).expect("a file");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows)).build();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("rows written");
        writer.close().expect("a footer");
    }
}

/// Writes `a.parquet` with five good rows: numbers `x`, `y` and `tokens`, texts `name`, another column, and a key column with the
/// name of an output column. Returns its path.
pub fn five_rows(folder: &Folder, other: (&str, ArrayRef)) -> String {
    folder.write(
        "a.parquet",
        &[
            ("x", floats(&[1.0, 2.0, 3.0, 4.0, 5.0])),
            ("y", floats(&[5.0, 4.0, 3.5, 3.2, 3.1])),
            ("tokens", floats(&[1.0, 2.0, 3.0, 4.0, 5.0])),
            ("name", strings(&["p", "q", "r", "s", "t"])),
            other,
            ("law", strings(&["a"; 5])),
        ],
    );
    folder.path("a.parquet")
}

/// Returns an Arrow column of float64.
pub fn floats(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Returns an Arrow column of text.
pub fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Returns names as owned strings.
pub fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// Returns key columns that keep their names.
pub fn keys(names: &[&str]) -> Vec<KeyColumn> {
    names.iter().map(|n| KeyColumn::from(*n)).collect()
}

/// Returns a request for columns, which also sort the rows in their order.
pub fn request(columns: &[&str]) -> Request {
    Request { columns: names(columns), order: names(columns), ..Request::default() }
}

/// Reads Parquet files as one dataset.
pub fn load(inputs: &[String], request: &Request) -> Result<Dataset, Error> {
    read(&ParquetFiles::find(inputs)?, request, &AtomicBool::new(false))
}

/// Returns the error of reading Parquet files.
///
/// # Panics
/// If reading succeeds.
pub fn fails(inputs: &[String], request: &Request) -> Error {
    load(inputs, request).expect_err("an error")
}

/// Returns the first key column as text; a null is empty.
pub fn keys_as_text(data: &Dataset) -> Vec<String> {
    let key = &data.contents.keys[0];
    (0..key.len()).map(|i| array_value_to_string(key, i).expect("text")).collect()
}
