//! `sweepfit diff`: the differences between two results.

mod common;

use std::sync::Arc;

use arrow::array::StringArray;

use common::program::{Table, fit, program};
use common::{Folder, floats, strings};

/// Writes lines `y = 1 + slope·x` with noise, one per run, and fits them.
fn result(folder: &Folder, name: &str, runs: &[(&str, f64, usize)]) -> String {
    let noise = [0.1, -0.1, 0.05, -0.05, 0.12, -0.12];
    let (mut run, mut x, mut y) = (Vec::new(), Vec::new(), Vec::new());
    for &(key, slope, count) in runs {
        for i in 0..count {
            run.push(key);
            x.push(i as f64);
            y.push(1.0 + slope * i as f64 + noise[i % 6]);
        }
    }
    let input = format!("{name}.parquet");
    folder.write(&input, &[("run", strings(&run)), ("x", floats(&x)), ("y", floats(&y))]);
    let out = folder.path(name);
    fit(&folder.path(&input), &out, &["--by", "run", "--law", "y ~ a + b*x", "--bootstrap", "0"]);
    out
}

/// Of six runs one is the same, one has moved by less than its interval and one by more, one came, one went, and one has lost
/// the points that determined it.
#[test]
fn differences_are_told_apart() {
    let folder = Folder::new();
    let old = [("a", 2.0, 8), ("b", 2.0, 8), ("c", 2.0, 8), ("d", 2.0, 8), ("f", 2.0, 8)];
    let new = [("a", 2.0, 8), ("b", 2.000_1, 8), ("c", 3.0, 8), ("e", 2.0, 8), ("f", 2.0, 1)];
    let (old, new) = (result(&folder, "old", &old), result(&folder, "new", &new));
    let answer = folder.path("diff.parquet");
    let output = program(&["diff", &old, &new, "--out", &answer]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(printed.contains("5 fits: 1 added, 1 gone, 1 status, 1 moved,"), "{printed}");
    let table = Table::read(answer.as_ref());
    let found: Vec<[String; 3]> = (table.texts("run").into_iter())
        .zip(table.texts("difference"))
        .zip(table.texts("parameter"))
        .map(|((run, difference), parameter)| [run, difference, parameter])
        .collect();
    let expected = [
        ["b", "changed", ""],
        ["c", "moved", "b"],
        ["e", "added", ""],
        ["f", "status", ""],
        ["d", "gone", ""],
    ];
    assert_eq!(found, expected.map(|row| row.map(str::to_owned)));
    let moved = table.only("difference", "moved");
    let [estimate, low, high] =
        ["new_estimate", "old_estimate_low", "old_estimate_high"].map(|column| moved.floats(column)[0]);
    assert!((estimate - 3.0).abs() < 0.1 && !(low..=high).contains(&estimate) && (low..=high).contains(&2.0));

    for (kinds, status) in [("moved,gone", 3), ("added", 3), ("changed", 3)] {
        let output = program(&["diff", &old, &new, "--fail-on", kinds]);
        assert_eq!(output.status.code(), Some(status), "{kinds}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("5 fits"));
    }
    // A result does not differ from itself.
    let output = program(&["diff", &old, &old, "--fail-on", "added,gone,status,moved,changed"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("5 equal"));
}

/// Null and the empty text are two keys (as in SQL), so each of the two sweeps has its own counterpart.
#[test]
fn null_and_empty_text_are_two_keys() {
    let folder = Folder::new();
    let runs: Vec<Option<&str>> = [None, Some("")].into_iter().flat_map(|run| [run; 8]).collect();
    let x: Vec<f64> = (0..16).map(|i| f64::from(i % 8)).collect();
    let y: Vec<f64> =
        x.iter().enumerate().map(|(i, x)| 1.0 + if i < 8 { 2.0 * x } else { 5.0 * x }).collect();
    folder.write(
        "in.parquet",
        &[("run", Arc::new(StringArray::from(runs))), ("x", floats(&x)), ("y", floats(&y))],
    );
    let out = folder.path("out");
    fit(&folder.path("in.parquet"), &out, &["--by", "run", "--law", "y ~ a + b*x", "--bootstrap", "0"]);
    let output = program(&["diff", &out, &out]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("2 equal"), "{printed}");
}

#[test]
fn results_with_other_keys_are_refused() {
    let folder = Folder::new();
    let one = result(&folder, "one", &[("a", 2.0, 8)]);
    let other = folder.path("other");
    fit(&folder.path("one.parquet"), &other, &["--law", "y ~ a + b*x", "--bootstrap", "0"]);
    let output = program(&["diff", &one, &other]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("`run`") && message.contains("none"), "{message}");
}
