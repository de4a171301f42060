//! Runs the built program on files and reads its tables.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Folder;

/// Returns the path of a file of the shared real data; `None`, with a line on standard error, if the file is absent.
///
/// `SWEEPFIT_DATA` names another folder. With `SWEEPFIT_REQUIRE_DATA` an absent file is a panic: a test run that is to
/// check the published numbers cannot skip them.
pub fn shared_data(name: &str) -> Option<PathBuf> {
    let folder = env::var_os("SWEEPFIT_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        env::var_os("SWEEPFIT_REQUIRE_DATA").is_none(),
        "{} is absent, and SWEEPFIT_REQUIRE_DATA is set",
        path.display()
    );
    eprintln!("skipped: shared data absent");
    None
}

/// Returns a path as an argument.
pub fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Returns the command that runs the program with these arguments.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sweepfit"));
    command.args(arguments);
    command
}

/// Runs the program and returns its output and status.
///
/// # Panics
/// If the program panics.
pub fn program(arguments: &[&str]) -> Output {
    let output = command(arguments).output().expect("the program can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
    output
}

/// Returns the message with which the program refuses a command line or an input.
///
/// # Panics
/// If the exit status is not 2.
pub fn refusal(arguments: &[&str]) -> String {
    let output = program(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    message
}

/// Runs `sweepfit fit INPUT --out DIR …` and returns its tables.
///
/// # Panics
/// If the program fails.
pub fn fit(input: &str, out: &str, arguments: &[&str]) -> Outcome {
    let mut all = vec!["fit", input, "--out", out, "--quiet"];
    all.extend(arguments);
    let output = program(&all);
    assert!(output.status.success(), "{all:?}: {}", String::from_utf8_lossy(&output.stderr));
    Outcome::of(out)
}

/// Fits one file as [`fit`] does, with a temporary output directory.
pub fn fit_file(input: &Path, arguments: &[&str]) -> Outcome {
    let folder = Folder::new();
    fit(&text(input), &folder.path("out"), arguments)
}

/// The output of one run, in memory.
pub struct Outcome {
    pub fits: Table,
    pub coefficients: Table,
    pub rejected: Table,
    pub replicates: Option<Table>,
    pub residuals: Option<Table>,
    pub manifest: serde_json::Value,
}

impl Outcome {
    /// Reads an output directory.
    pub fn of(directory: &str) -> Self {
        let directory = Path::new(directory);
        let manifest = std::fs::read_to_string(directory.join("manifest.json")).expect("a manifest");
        let optional = |name: &str| {
            let path = directory.join(name);
            path.exists().then(|| Table::read(&path))
        };
        Self {
            fits: Table::read(&directory.join("fits.parquet")),
            coefficients: Table::read(&directory.join("coefficients.parquet")),
            rejected: Table::read(&directory.join("rejected.parquet")),
            replicates: optional("replicates.parquet"),
            residuals: optional("residuals.parquet"),
            manifest: serde_json::from_str(&manifest).expect("JSON"),
        }
    }

    /// Returns the parameters of the good replicates, in the order of their numbers.
    ///
    /// # Panics
    /// If the replicates are not kept.
    pub fn good_replicates(&self) -> Vec<Vec<f64>> {
        let replicates = self.replicates.as_ref().expect("kept");
        let rows = replicates.lists("estimates").into_iter().zip(replicates.bools("converged"));
        rows.filter(|(_, good)| *good).map(|(row, _)| row).collect()
    }

    /// Returns the value of a column of `coefficients` for a parameter, in a run of one sweep and law.
    pub fn of_parameter(&self, parameter: &str, column: &str) -> f64 {
        let names = self.coefficients.texts("parameter");
        let rows: Vec<usize> = (0..names.len()).filter(|&i| names[i] == parameter).collect();
        assert_eq!(rows.len(), 1, "{parameter} in {names:?}");
        self.coefficients.floats(column)[rows[0]]
    }

    /// Returns the estimate of a parameter, in a run of one sweep and law.
    pub fn estimate(&self, parameter: &str) -> f64 {
        self.of_parameter(parameter, "estimate")
    }

    /// Returns the only value of a column of `fits`.
    pub fn only(&self, column: &str) -> f64 {
        let values = self.fits.floats(column);
        assert_eq!(values.len(), 1, "{column}");
        values[0]
    }

    /// Returns the status of the only fit.
    pub fn status(&self) -> String {
        let statuses = self.fits.texts("status");
        assert_eq!(statuses.len(), 1);
        statuses[0].clone()
    }
}

/// The rows of a Parquet file.
#[derive(PartialEq, Debug, Clone)]
pub struct Table(pub RecordBatch);

impl Table {
    /// Reads a Parquet file.
    pub fn read(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
        let schema = builder.schema().clone();
        let batches: Vec<RecordBatch> =
            builder.build().expect("a reader").collect::<Result<_, _>>().expect("rows");
        Self(concat_batches(&schema, &batches).expect("one batch"))
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.0.num_rows()
    }

    /// Returns whether there is a column of a name.
    pub fn has(&self, name: &str) -> bool {
        self.0.column_by_name(name).is_some()
    }

    /// Returns a column by name.
    pub fn column(&self, name: &str) -> &ArrayRef {
        self.0.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"))
    }

    /// Returns a numeric column as float64; a null is NaN.
    pub fn floats(&self, name: &str) -> Vec<f64> {
        let column = cast(self.column(name), &DataType::Float64).expect("numbers");
        let column = column.as_primitive::<Float64Type>();
        (0..column.len()).map(|i| if column.is_null(i) { f64::NAN } else { column.value(i) }).collect()
    }

    /// Returns a numeric column as integers.
    pub fn integers(&self, name: &str) -> Vec<Option<i64>> {
        let column = cast(self.column(name), &DataType::Int64).expect("integers");
        column.as_primitive::<Int64Type>().iter().collect()
    }

    /// Returns a column as text; a null is empty.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let column = cast(self.column(name), &DataType::Utf8).expect("text");
        column.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect()
    }

    /// Returns where a column is null.
    pub fn nulls(&self, name: &str) -> Vec<bool> {
        let column = self.column(name);
        (0..column.len()).map(|i| column.is_null(i)).collect()
    }

    /// Returns a column of truth values.
    pub fn bools(&self, name: &str) -> Vec<bool> {
        let column = self.column(name).as_boolean();
        (0..column.len()).map(|i| column.value(i)).collect()
    }

    /// Returns a column of lists of float64.
    pub fn lists(&self, name: &str) -> Vec<Vec<f64>> {
        let column = self.column(name).as_list::<i32>();
        (0..column.len()).map(|i| column.value(i).as_primitive::<Float64Type>().values().to_vec()).collect()
    }

    /// Returns the table without some columns.
    pub fn without(&self, names: &[&str]) -> Self {
        let keep: Vec<usize> = (0..self.0.num_columns())
            .filter(|&i| !names.contains(&self.0.schema().field(i).name().as_str()))
            .collect();
        Self(self.0.project(&keep).expect("columns"))
    }

    /// Returns the rows in which a column, as text, equals `value`.
    pub fn only(&self, column: &str, value: &str) -> Self {
        let keep: Vec<bool> = self.texts(column).iter().map(|t| t == value).collect();
        let batch = arrow::compute::filter_record_batch(&self.0, &keep.into()).expect("rows");
        Self(batch)
    }

    /// Returns every column as a text of its values' bits: `-0.0` and `0.0` differ, and NaN equals itself.
    pub fn bits(&self) -> Vec<String> {
        let schema = self.0.schema();
        (0..self.0.num_columns())
            .map(|c| {
                let column = self.0.column(c);
                let name = schema.field(c).name();
                let values: Vec<String> = match column.data_type() {
                    DataType::Float64 => column
                        .as_primitive::<Float64Type>()
                        .iter()
                        .map(|x| format!("{:x?}", x.map(f64::to_bits)))
                        .collect(),
                    DataType::List(_) => self
                        .lists(name)
                        .iter()
                        .map(|list| {
                            let bits: Vec<u64> = list.iter().map(|x| x.to_bits()).collect();
                            format!("{bits:x?}")
                        })
                        .collect(),
                    _ => (0..column.len())
                        .map(|i| {
                            let text = arrow::util::display::array_value_to_string(column, i);
                            format!("{} {}", column.is_null(i), text.expect("text"))
                        })
                        .collect(),
                };
                format!("{name}: {values:?}")
            })
            .collect()
    }
}

/// Returns `|a − b|/|b|`, or `|a|` if b is zero.
pub fn relative(a: f64, b: f64) -> f64 {
    if b == 0.0 { a.abs() } else { ((a - b) / b).abs() }
}

/// Asserts that two numbers differ by at most a relative tolerance; `what` names the quantity in the message.
#[track_caller]
pub fn assert_close(what: &str, got: f64, want: f64, tolerance: f64) {
    // NaN fails this comparison.
    assert!(
        relative(got, want) <= tolerance,
        "{what}: {got:e}, expected {want:e}, off by {:e} (tolerance {tolerance:e})",
        relative(got, want)
    );
}
