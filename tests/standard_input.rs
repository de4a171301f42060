//! Standard input as the input of a job.

mod common;

use std::io::Write;
use std::process::{Output, Stdio};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;

use common::program::{Outcome, command, fit};
use common::{Folder, floats, strings};

/// Runs the program with some bytes on standard input.
fn piped(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("the program ends")
}

/// A Parquet file and an Arrow stream give the tables of the file by its name.
#[test]
fn a_pipe_gives_the_tables_of_the_file() {
    let folder = Folder::new();
    let x: Vec<f64> = (0..16).map(|i| f64::from(i % 8)).collect();
    let y: Vec<f64> = x.iter().enumerate().map(|(i, x)| 1.0 + 2.0 * x + 0.1 * ((i * 7) % 5) as f64).collect();
    let run: Vec<&str> = (0..16).map(|i| if i < 8 { "a" } else { "b" }).collect();
    let columns = [("run", strings(&run)), ("x", floats(&x)), ("y", floats(&y))];
    folder.write("in.parquet", &columns);
    let job = ["--by", "run", "--law", "y ~ a + b*x", "--bootstrap", "50", "--residuals"];
    let expected = fit(&folder.path("in.parquet"), &folder.path("expected"), &job);
    let parquet = std::fs::read(folder.path("in.parquet")).expect("the file");
    let batch = RecordBatch::try_from_iter(columns.map(|(name, column)| (name, Arc::clone(&column))))
        .expect("columns");
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &batch.schema()).expect("memory");
    writer.write(&batch.slice(0, 5)).and_then(|()| writer.write(&batch.slice(5, 11))).expect("memory");
    writer.finish().expect("memory");
    drop(writer);
    for (name, input) in [("parquet", parquet), ("stream", stream)] {
        let out = folder.path(name);
        let output = piped(&[&["fit", "-", "--out", &out, "--quiet"], &job[..]].concat(), &input);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let found = Outcome::of(&out);
        assert_eq!(found.coefficients.bits(), expected.coefficients.bits(), "{name}");
        assert_eq!(found.residuals.expect("kept").texts("file"), ["-"; 16], "{name}");
    }
}

#[test]
fn other_bytes_and_other_inputs_are_refused() {
    let folder = Folder::new();
    let out = folder.path("out");
    for (inputs, bytes, expected) in [
        (&["-"][..], &b"x,y\n1,2\n"[..], "neither a Parquet file nor an Arrow stream"),
        (&["-"], b"", "neither a Parquet file nor an Arrow stream"),
        (&["-"], b"PAR1 and no more of it", "end is missing"),
        (&["-", "in.parquet"], b"", "read alone"),
    ] {
        let output = piped(&[&["fit"], inputs, &["--out", &out, "--law", "y ~ a + b*x"]].concat(), bytes);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(expected), "{expected}: {message}");
    }
}
