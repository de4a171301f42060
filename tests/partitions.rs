//! Inputs in hive partitions: the directories' names are columns, and excluded partitions are not opened.

mod common;

use std::fs;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};

use common::program::{Outcome, Table, fit, refusal, text};
use common::{Folder, floats, strings};

/// The line of each family and ten points on it with noise.
fn points(slope: f64) -> (Vec<f64>, Vec<f64>) {
    let x: Vec<f64> = (1..=10).map(f64::from).collect();
    let noise = [0.1, -0.2, 0.05, 0.1, -0.1, 0.2, -0.15, 0.05, -0.1, 0.05];
    let y = x.iter().zip(noise).map(|(x, e)| 1.0 + slope * x + e).collect();
    (x, y)
}

/// Writes a file of one family's points below a directory.
fn part(folder: &Folder, directory: &str, slope: f64) {
    fs::create_dir_all(folder.path(directory)).expect("a directory");
    let (x, y) = points(slope);
    folder.write(&format!("{directory}/part-0.parquet"), &[("x", floats(&x)), ("y", floats(&y))]);
}

const LINE: [&str; 4] = ["--law", "y ~ a + b*x", "--bootstrap", "0"];

/// The same rows in partitions and in one file with a column give the same tables, whatever the values are: with leading
/// zeros, escaped (as Spark and DuckDB do), or null.
#[test]
fn partitions_are_a_column_of_text() {
    let folder = Folder::new();
    let families =
        [("01001", "01001"), ("a b%2Fc", "a b/c"), ("__HIVE_DEFAULT_PARTITION__", ""), ("é=1%25", "é=1%")];
    let (mut family, mut x, mut y) = (Vec::new(), Vec::new(), Vec::new());
    for (k, (directory, value)) in families.into_iter().enumerate() {
        let slope = 1.0 + k as f64;
        part(&folder, &format!("table/family={directory}"), slope);
        let (more_x, more_y) = points(slope);
        family.extend(vec![Some(value).filter(|value| !value.is_empty()); more_x.len()]);
        x.extend(more_x);
        y.extend(more_y);
    }
    let column = std::sync::Arc::new(arrow::array::StringArray::from(family));
    folder.write("flat.parquet", &[("family", column), ("x", floats(&x)), ("y", floats(&y))]);
    let by = [&["--by", "family"], &LINE[..]].concat();
    let partitioned = fit(&folder.path("table"), &folder.path("partitioned"), &by);
    let flat = fit(&folder.path("flat.parquet"), &folder.path("flat"), &by);
    assert_eq!(partitioned.coefficients.rows(), 8);
    assert_eq!(*partitioned.fits.column("family").data_type(), DataType::Utf8);
    assert_eq!(partitioned.coefficients.bits(), flat.coefficients.bits());
    // Files and globs say the same as the directory.
    let outcome = fit(&folder.path("table/*/part-*.parquet"), &folder.path("glob"), &by);
    assert_eq!(outcome.coefficients.bits(), flat.coefficients.bits());
    let named = fit(&folder.path("table/family=01001/part-0.parquet"), &folder.path("named"), &by);
    assert_eq!(named.fits.texts("family"), ["01001"]);
}

/// A partition that the condition excludes is not opened: here its file is none.
#[test]
fn excluded_partitions_are_not_opened() {
    let folder = Folder::new();
    part(&folder, "table/family=llama/year=2023", 2.0);
    part(&folder, "table/family=llama/year=2024", 3.0);
    fs::create_dir_all(folder.path("table/family=gpt/year=2023")).expect("a directory");
    fs::write(folder.path("table/family=gpt/year=2023/part-0.parquet"), "no Parquet").expect("a file");
    let table = folder.path("table");
    let run = |out: &str, arguments: &[&str]| -> Outcome {
        let by = [&["--by", "family,year"], &LINE[..], arguments].concat();
        fit(&table, &folder.path(out), &by)
    };
    let outcome = run("llama", &["--where", "family != 'gpt' and x < 9"]);
    assert_eq!(outcome.fits.texts("year"), ["2023", "2024"]);
    assert_eq!(outcome.fits.integers("n_points"), [Some(8); 2]);
    let manifest = text(Path::new(&folder.path("llama/manifest.json")));
    let manifest = fs::read_to_string(manifest).expect("the manifest");
    assert!(manifest.contains("\"pruned\": 1"), "{manifest}");
    let typed = run("typed", &["--where", "year > 2023", "--partition-type", "year=int64"]);
    assert_eq!(*typed.fits.column("year").data_type(), DataType::Int64);
    assert_eq!(typed.fits.column("year").as_primitive::<Int64Type>().value(0), 2024);
    // Parts of a condition that ask for more than partitions exclude none.
    let out = folder.path("none");
    let all = ["fit", &table, "--out", &out, "--by", "family", "--where", "family = 'llama' or x > 0"];
    assert!(refusal(&[&all[..], &LINE[..]].concat()).contains("family=gpt"));
    // Where every partition is excluded there is no sweep, as where every row is.
    let no_family = ["fit", &table, "--out", &out, "--by", "family", "--where", "family = 'mamba'"];
    let message = refusal(&[&no_family[..], &LINE[..]].concat());
    assert!(message.contains("family=gpt") || message.contains("--allow-empty"), "{message}");
}

/// Types of partitions are checked against their values and names.
#[test]
fn wrong_types_of_partitions_are_refused() {
    let folder = Folder::new();
    part(&folder, "table/family=llama", 2.0);
    let (table, out) = (folder.path("table"), folder.path("out"));
    for (given, expected) in [
        ("family=int64", "llama"),
        ("family=decimal", "there is no type `decimal`"),
        ("year=int64", "the partitions are `family`"),
    ] {
        let arguments = ["fit", &table, "--out", &out, "--by", "family", "--partition-type", given];
        let message = refusal(&[&arguments[..], &LINE[..]].concat());
        assert!(message.contains(expected), "{given}: {message}");
    }
}

/// A column that the files hold themselves keeps their values and type.
#[test]
fn own_columns_of_files_are_kept() {
    let folder = Folder::new();
    let (x, y) = points(2.0);
    fs::create_dir_all(folder.path("table/size=7")).expect("a directory");
    let sizes = std::sync::Arc::new(arrow::array::Int64Array::from(vec![7; x.len()]));
    let names = strings(&vec!["a"; x.len()]);
    let columns = [("size", sizes as _), ("name", names), ("x", floats(&x)), ("y", floats(&y))];
    folder.write("table/size=7/part-0.parquet", &columns);
    let outcome = fit(&folder.path("table"), &folder.path("out"), &[&["--by", "size"], &LINE[..]].concat());
    assert_eq!(*outcome.fits.column("size").data_type(), DataType::Int64);
    assert!(Table::read(folder.path("out/fits.parquet").as_ref()).column("size").null_count() == 0);
}
