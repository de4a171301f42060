//! The peak memory of the program on small files that hold much: a million rows in one sweep, and long keys.
//!
//! The bounds are a quarter above what two threads take on x86-64; the values of a column of a million rows take 8 MB. A child
//! process counts the memory of its parent until it has started the program, so the files are written batch by batch.

#![cfg(target_os = "linux")]

mod common;

use std::fs::{self, File};
use std::process::Stdio;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use nix::libc;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;

use common::Folder;
use common::program::{Outcome, command};

/// The largest file, in bytes, for which the bounds hold.
const SMALL_FILE: u64 = 1 << 22;

/// Runs `sweepfit fit` with two threads and returns its peak memory in megabytes.
#[expect(clippy::zombie_processes, reason = "`wait4` waits for the child")]
fn peak(input: &str, out: &str, arguments: &[&str]) -> f64 {
    assert!(fs::metadata(input).expect("a file").len() < SMALL_FILE);
    let mut all = vec!["fit", input, "--out", out, "--quiet", "--threads", "2"];
    all.extend(arguments);
    let child = command(&all).stdout(Stdio::null()).spawn().expect("the program can be started");
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::zeroed());
    // SAFETY: both places are valid, zeros are a valid `rusage`, and the child is waited for nowhere else.
    let (waited, usage) = unsafe {
        let waited = libc::wait4(child.id().cast_signed(), &raw mut status, 0, usage.as_mut_ptr());
        (waited, usage.assume_init())
    };
    assert_eq!((waited, status), (child.id().cast_signed(), 0), "{all:?}");
    // Linux counts in KiB.
    usage.ru_maxrss as f64 * 1024.0 / 1e6
}

/// Writes batches of columns to `a.parquet`, compressed, in one row group. Returns its path.
fn write(
    folder: &Folder,
    dictionary: bool,
    batches: impl Iterator<Item = Vec<(&'static str, ArrayRef)>>,
) -> String {
    let path = folder.path("a.parquet");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(dictionary);
    if !dictionary {
        properties = properties.set_column_encoding("key".into(), Encoding::DELTA_BYTE_ARRAY);
    }
    let properties = properties.build();
    let mut writer: Option<ArrowWriter<File>> = None;
    for columns in batches {
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let writer = writer.get_or_insert_with(|| {
            let file = File::create(&path).expect("a file");
            ArrowWriter::try_new(file, batch.schema(), Some(properties.clone())).expect("a writer")
        });
        writer.write(&batch).expect("rows written");
    }
    writer.expect("a batch").close().expect("a footer");
    path
}

/// Writes a sweep of a million rows that repeat a thousand, about the curve of Hoffmann et al. (2022). Returns its path.
fn million_rows(folder: &Folder) -> String {
    let spread = |i: u32, step: u32| f64::from(i * step % 1000) / 1000.0;
    let column =
        |of: &dyn Fn(u32) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values((0..1000).map(of))) };
    let size = |i| 1e7 * (7.0 * spread(i, 37)).exp();
    let tokens = |i| 1e9 * (7.0 * spread(i, 411)).exp();
    let loss = |i| {
        let noise = 0.02 * (spread(i, 733) - 0.5);
        (1.69 + 406.4 / size(i).powf(0.34) + 410.7 / tokens(i).powf(0.28)) * (1.0 + noise)
    };
    let batch = || vec![("N", column(&size)), ("D", column(&tokens)), ("loss", column(&loss))];
    write(folder, true, (0..1000).map(|_| batch()))
}

#[test]
fn a_sweep_of_a_million_rows_takes_bounded_memory() {
    let folder = Folder::new();
    let path = million_rows(&folder);
    let power = ["--law", "loss ~ e + b*N^(-c) where e >= 0, b > 0"];
    let chinchilla = ["--law", "chinchilla"];
    for (law, bootstrap, most) in
        [(power, "0", 270.0), (power, "4", 340.0), (chinchilla, "0", 350.0), (chinchilla, "4", 430.0)]
    {
        let out = folder.path(&format!("{}{bootstrap}", law[1].len()));
        let peak = peak(&path, &out, &["--law", law[1], "--bootstrap", bootstrap]);
        assert!(peak < most, "{law:?} with {bootstrap} replicates: {peak} MB, at most {most} expected");
        let found = Outcome::of(&out);
        assert_eq!(found.status(), "converged");
        assert_eq!(found.only("n_points"), 1e6);
    }
}

#[test]
fn many_long_keys_take_bounded_memory() {
    let folder = Folder::new();
    let prefix = "x".repeat(1000);
    let batch = |first: u32| -> Vec<(&'static str, ArrayRef)> {
        let keys = (first..first + 1000).map(|i| format!("{prefix}{i:08}"));
        let ones = || -> ArrayRef { Arc::new(Float64Array::from_iter_values((0..1000).map(|_| 1.0))) };
        vec![("key", Arc::new(StringArray::from_iter_values(keys))), ("x", ones()), ("y", ones())]
    };
    let path = write(&folder, false, (0..100).map(|k| batch(1000 * k)));
    let out = folder.path("out");
    // All sweeps are rejected, and their keys written.
    let peak = peak(&path, &out, &["--by", "key", "--law", "y ~ a*x", "--min-points", "2"]);
    assert!(peak < 310.0, "{peak} MB");
    assert_eq!(Outcome::of(&out).rejected.rows(), 100_000);
}
