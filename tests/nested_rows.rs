//! Nested rows: one row holds a sweep, in columns of lists.

mod common;

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, Int64Builder, LargeListBuilder, ListBuilder};

use common::program::{fit, refusal};
use common::{Folder, floats, strings};

const LAW: [&str; 6] = [
    "--by",
    "family",
    "--law",
    "loss ~ E + A/N^alpha where E > 0, A > 0, alpha in [0, 2]",
    "--bootstrap",
    "0",
];

/// The sweep of each family: sizes and losses. The last family has none.
fn sweeps() -> Vec<(&'static str, Vec<i64>, Vec<f64>)> {
    let sweep = |count: u32, a: f64| {
        let sizes: Vec<i64> = (0..count).map(|i| 1_000_000 * 3_i64.pow(i)).collect();
        let wiggle = [1.001, 0.998, 1.002, 0.999];
        let losses = sizes.iter().enumerate().map(|(i, n)| (1.7 + a / (*n as f64).powf(0.3)) * wiggle[i % 4]);
        (sizes.clone(), losses.collect())
    };
    let (first, second) = (sweep(8, 90.0), sweep(6, 50.0));
    vec![("gpt", first.0, first.1), ("llama", second.0, second.1), ("none", Vec::new(), Vec::new())]
}

fn lists(values: &[Vec<f64>]) -> ArrayRef {
    let mut builder = ListBuilder::new(Float64Builder::new());
    for row in values {
        builder.append_value(row.iter().map(|x| Some(*x)));
    }
    Arc::new(builder.finish())
}

/// Nested and flat rows give the same numbers, from Parquet and from JSON lines, with expressions of lists and single values.
#[test]
fn nested_and_flat_rows_give_the_same_numbers() {
    let folder = Folder::new();
    let sweeps = sweeps();
    let mut sizes = LargeListBuilder::new(Int64Builder::new());
    sweeps.iter().for_each(|(_, n, _)| sizes.append_value(n.iter().map(|n| Some(*n))));
    let names: Vec<&str> = sweeps.iter().map(|(name, ..)| *name).collect();
    let losses: Vec<Vec<f64>> = sweeps.iter().map(|(.., loss)| loss.clone()).collect();
    let unused = lists(&[vec![1.0], vec![], vec![2.0, 3.0]]);
    folder.write(
        "nested.parquet",
        &[
            ("family", strings(&names)),
            ("unit", floats(&[2.0; 3])),
            ("N", Arc::new(sizes.finish())),
            ("loss", lists(&losses)),
            ("unused", unused),
        ],
    );
    let json: String = (sweeps.iter())
        .map(|(name, n, loss)| {
            format!("{{\"family\": \"{name}\", \"unit\": 2.0, \"N\": {n:?}, \"loss\": {loss:?}}}\n")
        })
        .collect();
    std::fs::write(folder.path("nested.jsonl"), json).expect("a file");
    let flat: Vec<(&str, f64, f64)> = (sweeps.iter())
        .flat_map(|(name, n, loss)| n.iter().zip(loss).map(|(n, loss)| (*name, *n as f64, *loss)))
        .collect();
    folder.write(
        "flat.parquet",
        &[
            ("family", strings(&flat.iter().map(|row| row.0).collect::<Vec<_>>())),
            ("unit", floats(&vec![2.0; flat.len()])),
            ("N", floats(&flat.iter().map(|row| row.1).collect::<Vec<_>>())),
            ("loss", floats(&flat.iter().map(|row| row.2).collect::<Vec<_>>())),
        ],
    );
    let run = |input: &str, out: &str| {
        let scaled = ["--let", "M=N*unit", "--where", "N > 1e6 and unit = 2"];
        let law: Vec<String> = LAW.iter().map(|text| text.replace("/N^", "/M^")).collect();
        let law: Vec<&str> = law.iter().map(String::as_str).collect();
        fit(&folder.path(input), &folder.path(out), &[&law[..], &scaled].concat())
    };
    let expected = run("flat.parquet", "flat");
    assert_eq!(expected.fits.integers("n_points"), [Some(7), Some(5)]);
    for input in ["nested.parquet", "nested.jsonl"] {
        let found = run(input, &format!("{input}.out"));
        assert_eq!(found.fits.texts("family"), ["gpt", "llama"], "{input}");
        assert_eq!(found.coefficients.bits(), expected.coefficients.bits(), "{input}");
    }
}

/// Lists of a row that differ in length are an error that says where; lists that a job does not use do not matter.
#[test]
fn lists_of_unlike_lengths_are_refused() {
    let folder = Folder::new();
    let columns = [
        ("family", strings(&["a", "b"])),
        ("N", lists(&[vec![1e6, 2e6, 4e6, 8e6], vec![1e6, 2e6, 4e6]])),
        ("loss", lists(&[vec![3.0, 2.7, 2.5, 2.4], vec![3.0, 2.7]])),
    ];
    folder.write("in.parquet", &columns);
    let (input, out) = (folder.path("in.parquet"), folder.path("out"));
    let message = refusal(&[&["fit", &input, "--out", &out][..], &LAW].concat());
    for part in ["in.parquet", "row 1 has 2 values of `loss` and 3 of `N`", "one length"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert!(!std::path::Path::new(&out).join("fits.parquet").exists());
}
