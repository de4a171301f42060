//! Inputs of CSV and JSON lines: the same rows give the same tables as from Parquet.

mod common;

use std::fs;
use std::io::Write;

use arrow::datatypes::DataType;

use common::program::{Outcome, fit, refusal};
use common::{Folder, floats, strings};

const LINE: [&str; 6] = ["--by", "family", "--law", "y ~ a + b*x", "--bootstrap", "0"];

/// Rows of two families, whose names are codes with leading zeros. The file also has a column of empty cells.
fn rows() -> Vec<(&'static str, String, String)> {
    let line = |code: &'static str, slope: f64| {
        (1..=6).map(move |i| {
            let x = f64::from(i) / 3.0;
            (code, format!("{x}"), format!("{}", 1.0 + slope * x + if i % 2 == 0 { 0.1 } else { -0.07 }))
        })
    };
    line("01", 2.0).chain(line("002", 3.5)).collect()
}

fn csv() -> String {
    let lines = rows().into_iter().map(|(code, x, y)| format!("{code},{x},{y},\n"));
    std::iter::once("family,x,y,note\n".to_owned()).chain(lines).collect()
}

fn json_lines() -> String {
    // A column that is not used may be nested.
    let line = |(code, x, y)| {
        format!("{{\"y\": {y}, \"x\": {x}, \"family\": \"{code}\", \"tags\": {{\"a\": [1, 2]}}}}\n")
    };
    rows().into_iter().map(line).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn text_and_parquet_give_the_same_tables() {
    let folder = Folder::new();
    let numbers = |column: fn(&(&str, String, String)) -> String| -> Vec<f64> {
        rows().iter().map(|row| column(row).parse().expect("a number")).collect()
    };
    let codes: Vec<&str> = rows().into_iter().map(|(code, ..)| code).collect();
    let columns = [
        ("family", strings(&codes)),
        ("x", floats(&numbers(|row| row.1.clone()))),
        ("y", floats(&numbers(|row| row.2.clone()))),
    ];
    folder.write("in.parquet", &columns);
    let expected = fit(&folder.path("in.parquet"), &folder.path("expected"), &LINE);
    assert_eq!(expected.fits.texts("family"), ["002", "01"]);
    let files: [(&str, Vec<u8>); 7] = [
        ("in.csv", csv().into_bytes()),
        ("windows.csv", format!("\u{feff}{}", csv().replace('\n', "\r\n")).into_bytes()),
        ("in.tsv", csv().replace(',', "\t").into_bytes()),
        ("in.csv.gz", gzip(&csv())),
        ("in.csv.zst", zstd::encode_all(csv().as_bytes(), 3).expect("memory")),
        ("in.jsonl", json_lines().into_bytes()),
        ("in.ndjson.gz", gzip(&json_lines())),
    ];
    for (name, content) in files {
        fs::write(folder.path(name), content).expect("a file");
        let outcome = fit(&folder.path(name), &folder.path(&format!("{name}.out")), &LINE);
        assert_eq!(outcome.coefficients.bits(), expected.coefficients.bits(), "{name}");
        assert_eq!(*outcome.fits.column("family").data_type(), DataType::Utf8, "{name}");
    }
    // A glob that ends as they do reads them all; a directory does not, and says so.
    fs::create_dir(folder.path("runs")).expect("a directory");
    for part in ["a", "b"] {
        fs::write(folder.path(&format!("runs/{part}.csv")), csv()).expect("a file");
    }
    let twice = fit(&folder.path("runs/*.csv"), &folder.path("twice"), &LINE);
    assert_eq!(twice.fits.integers("n_points"), [Some(12); 2]);
    let (runs, out) = (folder.path("runs"), folder.path("none"));
    let message = refusal(&[&["fit", &runs, "--out", &out][..], &LINE].concat());
    assert!(message.contains("*.parquet") || message.contains("no Parquet"), "{message}");
}

/// Whole numbers beyond 64 bits stay what they are, as keys; numbers among them are read as numbers where a law asks.
#[test]
fn large_whole_numbers_keep_their_identity() {
    let folder = Folder::new();
    let mut text = "run,x,y\n".to_owned();
    for run in ["18446744073709551615", "18446744073709551614"] {
        (0..4).for_each(|i| text += &format!("{run},{i},{}\n", 2 * i + i % 2));
    }
    fs::write(folder.path("in.csv"), text).expect("a file");
    let line = ["--by", "run", "--law", "y ~ a + b*x", "--bootstrap", "0"];
    let outcome: Outcome = fit(&folder.path("in.csv"), &folder.path("out"), &line);
    assert_eq!(outcome.fits.texts("run"), ["18446744073709551614", "18446744073709551615"]);
}

/// Each fault names the file, the format and the place.
#[test]
fn faults_in_text_are_said() {
    let folder = Folder::new();
    for (name, content, expected) in [
        ("ragged.csv", &b"x,y\n1,2\n3,4,5\n"[..], &["ragged.csv", "CSV", "line 3"][..]),
        ("empty.csv", b"", &["empty.csv", "empty"]),
        ("broken.jsonl", b"{\"x\": 1, \"y\": 2}\n{\"x\": \n", &["broken.jsonl", "JSON lines"]),
        ("not.csv.gz", b"\x1f\x8bxxxxxxxx", &["not.csv.gz"]),
        ("header.csv", b"x,z\n1,2\n", &["`y`", "`x`, `z`"]),
    ] {
        fs::write(folder.path(name), content).expect("a file");
        let (input, out) = (folder.path(name), folder.path("out"));
        let message = refusal(&["fit", &input, "--out", &out, "--law", "y ~ a + b*x"]);
        for part in expected {
            assert!(message.contains(part), "{name}: {part} in {message}");
        }
    }
}
