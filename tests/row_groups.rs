//! Row groups that the condition excludes by their statistics are not read, and the others are read as ever.

mod common;

use std::fs;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray,
};

use common::crafted::{Column, Struct, data_page, doubles, file_with_order, plain};
use common::program::{Outcome, Table, fit, refusal};
use common::{Folder, floats};

/// The number of rows of a row group, and of row groups.
const ROWS: usize = 10;
const GROUPS: usize = 6;

/// Day 20089 since 1970 is 2025-01-01 (`date -d 2025-01-01 +%s`, over 86,400).
const FIRST_DAY: i32 = 20_089;

/// Writes a file whose group `g` holds run `g`, in columns of all types that can be compared. The lines have noise, and the first
/// row of each group has no response.
fn write(folder: &Folder) -> String {
    let groups =
        |of: &dyn Fn(usize) -> i64| (0..GROUPS * ROWS).map(|row| of(row / ROWS)).collect::<Vec<i64>>();
    let noise = [0.1, -0.2, 0.05, 0.1, -0.1, 0.2, -0.15, 0.05, -0.1, 0.05];
    let x: Vec<f64> = (0..GROUPS * ROWS).map(|row| (row % ROWS) as f64).collect();
    let line = |row: usize| 1.0 + (1 + row / ROWS) as f64 * x[row] + noise[row % ROWS];
    let y: Vec<f64> = (0..x.len()).map(|row| if row % ROWS == 0 { f64::NAN } else { line(row) }).collect();
    let names: Vec<String> = (0..x.len()).map(|row| format!("run {:03}", row / ROWS)).collect();
    let days: Vec<i32> = groups(&|group| group as i64).into_iter().map(|g| FIRST_DAY + g as i32).collect();
    let instants = groups(&|group| i64::from(FIRST_DAY + group as i32) * 86_400_000_000);
    let cents = Decimal128Array::from_iter_values(
        groups(&|group| 150 + 100 * group as i64).into_iter().map(i128::from),
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::new(Int64Array::from(groups(&|group| (1 << 60) + group as i64)))),
        ("share", floats(&groups(&|group| group as i64).iter().map(|g| *g as f64 / 8.0).collect::<Vec<_>>())),
        ("name", Arc::new(StringArray::from(names))),
        ("day", Arc::new(Date32Array::from(days))),
        ("time", Arc::new(TimestampMicrosecondArray::from(instants).with_timezone("UTC"))),
        ("price", Arc::new(cents.with_precision_and_scale(20, 2).expect("a decimal"))),
        ("x", floats(&x)),
        ("y", floats(&y)),
    ];
    folder.write_in_groups("in.parquet", &columns, ROWS);
    folder.path("in.parquet")
}

fn run(input: &str, folder: &Folder, out: &str, condition: &str) -> Outcome {
    let line =
        ["--by", "name", "--law", "y ~ a + b*x", "--bootstrap", "0", "--residuals", "--where", condition];
    fit(input, &folder.path(out), &line)
}

fn table(folder: &Folder, out: &str, name: &str) -> Table {
    Table::read(folder.path(&format!("{out}/{name}.parquet")).as_ref())
}

/// A condition that holds in runs 2 and 3 gives their tables, whatever column it compares: the same ones as a condition that
/// statistics say nothing about, rows' numbers and counts included.
#[test]
fn conditions_of_every_type_leave_out_row_groups() {
    let folder = Folder::new();
    let input = write(&folder);
    let expected = run(&input, &folder, "expected", "name like 'run 002' or name like 'run 003'");
    let conditions = [
        "number >= 1152921504606846978 and number < 1152921504606846980",
        "share >= 0.25 and 0.375 >= share",
        "name > 'run 001' and name <= 'run 003'",
        "name in ('run 002', 'run 003', 'other')",
        "name = 'run 002' or name = 'run 003'",
        "day >= '2025-01-03' and day <= '2025-01-04'",
        "time > '2025-01-02T23:59:59Z' and time < '2025-01-05'",
        "price >= 3.5 and price <= 4.5 and x is not null",
    ];
    for (i, condition) in conditions.into_iter().enumerate() {
        let out = format!("out{i}");
        let found = run(&input, &folder, &out, condition);
        assert_eq!(found.coefficients.bits(), expected.coefficients.bits(), "{condition}");
        for name in ["rejected", "residuals"] {
            let tables = [out.as_str(), "expected"].map(|out| table(&folder, out, name).bits());
            assert_eq!(tables[0], tables[1], "{condition}");
        }
        let manifest = fs::read_to_string(folder.path(&format!("{out}/manifest.json"))).expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
        assert_eq!(manifest["inputs"][0]["rows_skipped"], 40, "{condition}");
        assert_eq!(
            (&manifest["counts"]["rows_read"], &manifest["counts"]["rows_dropped_by_where"]),
            (&60.into(), &40.into())
        );
    }
}

/// The pages of groups that are left out may be anything; those of the others may not.
#[test]
fn groups_that_are_left_out_are_not_read() {
    let folder = Folder::new();
    let input = write(&folder);
    let expected = run(&input, &folder, "expected", "name = 'run 005'");
    let mut bytes = fs::read(&input).expect("a file");
    // The first half of the file holds pages of the first three groups.
    let half = bytes.len() / 2;
    bytes[4..half / 2].fill(0xff);
    fs::write(folder.path("damaged.parquet"), bytes).expect("a file");
    let damaged = folder.path("damaged.parquet");
    let found = run(&damaged, &folder, "found", "name = 'run 005'");
    assert_eq!(found.coefficients.bits(), expected.coefficients.bits());
    let out = folder.path("out");
    let line = ["fit", &damaged, "--out", &out, "--law", "y ~ a + b*x", "--where"];
    for condition in ["name = 'run 000'", "name != 'run 000'", "name like '%5'"] {
        assert!(refusal(&[&line[..], &[condition]].concat()).contains("damaged.parquet"), "{condition}");
    }
    // A definition hides the column of its name.
    let hidden = [&line[..], &["share > 100", "--let", "share=x*1"]].concat();
    assert!(refusal(&hidden).contains("damaged.parquet"));
}

/// Bounds that say nothing leave nothing out: a NaN, and those of a file that does not state the order of its columns
/// (apache/parquet-format, `parquet.thrift`, `Statistics`). Others are trusted, also where they are wrong.
#[test]
fn bounds_that_say_nothing_are_not_used() {
    let folder = Folder::new();
    let path = folder.path("crafted.parquet");
    let y = Column {
        element: || Struct::default().i32(1, 5).i32(3, 0).text(4, b"y"),
        pages: data_page(&doubles(&[3.0, 5.0, 7.1, 9.0, 11.0]), 40, 5, 0),
        ..plain()
    };
    let rows_fitted = |bounds: [f64; 2], has_order: bool| {
        let x = Column { bounds: Some(bounds), ..plain() };
        fs::write(&path, file_with_order(&[x, y.clone()], 5, &[], has_order)).expect("a file");
        let arguments =
            ["--law", "y ~ a + b*x", "--bootstrap", "0", "--where", "x <= 3", "--allow-empty", "--overwrite"];
        let outcome = fit(&path, &folder.path("out"), &arguments);
        outcome.fits.integers("n_points").first().copied().flatten().unwrap_or(0)
    };
    assert_eq!(rows_fitted([1.0, 5.0], true), 3);
    assert_eq!(rows_fitted([4.0, 5.0], true), 0);
    assert_eq!(rows_fitted([4.0, 5.0], false), 3);
    assert_eq!(rows_fitted([f64::NAN, 5.0], true), 3);
    assert_eq!(rows_fitted([4.0, f64::NAN], true), 3);
}
