//! Inputs that are damaged, are something else, or change while they are read.

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, UNIX_EPOCH};

use arrow::array::{ArrayRef, DictionaryArray, Int64Array};
use arrow::datatypes::Int8Type;
use bytes::Bytes;
use parquet::file::metadata::{
    FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use sweepfit::formula::{parse_condition, parse_expression};
use sweepfit::input::{ParquetFiles, ReadLimits, Request, Source, open, read};
use sweepfit::{Error, ErrorKind};

use common::{Folder, fails, floats, keys, load, request, strings};

#[test]
fn files_that_are_no_parquet_are_told_apart() {
    let folder = Folder::new();
    folder.write("good.parquet", &[("x", floats(&[1.0, 2.0]))]);
    let good = fs::read(folder.path("good.parquet")).expect("bytes");
    type Check = fn(&Error) -> bool;
    let cases: [(&str, Vec<u8>, Check); 6] = [
        ("empty", vec![], |e| matches!(e, Error::EmptyFile { .. })),
        ("tiny", b"PAR1".to_vec(), |e| matches!(e, Error::NotParquet { .. })),
        ("text", b"x,y\n1.0,2.0\n3.0,4.0\n".to_vec(), |e| matches!(e, Error::NotParquet { .. })),
        ("cut", good[..good.len() / 2].to_vec(), |e| matches!(e, Error::Truncated { .. })),
        ("secret", [b"PARE", &good[4..]].concat(), |e| matches!(e, Error::Encrypted { .. })),
        ("footless", [&good[..good.len() - 8], b"\xff\xff\xff\x7fPAR1"].concat(), |e| {
            matches!(e, Error::Corrupt { .. })
        }),
    ];
    for (name, bytes, expected) in cases {
        let path = folder.path(&format!("{name}.parquet"));
        fs::write(&path, bytes).expect("a file");
        let error = ParquetFiles::find(&[path]).expect_err(name);
        assert!(expected(&error), "{error:?}");
        assert!(error.to_string().contains(name) && error.kind() == ErrorKind::Invalid, "{error}");
    }
}

/// The decoder reads as many rows as a footer says. A footer that says too few, in all or in a row group, is refused.
#[test]
fn numbers_of_rows_that_disagree_are_refused() {
    let folder = Folder::new();
    folder.write_in_groups("good.parquet", &[("x", floats(&[1.0, 2.0, 3.0, 4.0, 5.0]))], 3);
    let bytes = fs::read(folder.path("good.parquet")).expect("bytes");
    let metadata =
        ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(bytes.clone())).expect("a footer");
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().expect("4 bytes"));
    let data = &bytes[..bytes.len() - 8 - footer as usize];
    let with_rows = |in_file: u8, in_groups: [i64; 2]| {
        let old = metadata.file_metadata();
        let file = FileMetaData::new(
            old.version(),
            0,
            None,
            old.key_value_metadata().cloned(),
            old.schema_descr_ptr(),
            None,
        );
        let group = |(group, rows): (&RowGroupMetaData, i64)| {
            group.clone().into_builder().set_num_rows(rows).build().expect("a row group")
        };
        let groups = metadata.row_groups().iter().zip(in_groups).map(group).collect();
        let changed = ParquetMetaData::new(file, groups);
        let mut bytes = data.to_vec();
        ParquetMetaDataWriter::new(&mut bytes, &changed).finish().expect("a footer");
        // The writer states the sum of the row groups. In Thrift's compact protocol it is a field of type 6 (i64), one after
        // the last field: 0x16, then the number in zigzag, twice its value.
        let sum = in_groups[0] + in_groups[1];
        let place = bytes[data.len()..].windows(2).position(|pair| *pair == [0x16, 2 * sum as u8]);
        bytes[data.len() + place.expect("the number of rows") + 1] = 2 * in_file;
        fs::write(folder.path("good.parquet"), bytes).expect("a file");
        ParquetFiles::find(&[folder.path("good.parquet")])
    };
    assert!(with_rows(5, [3, 2]).is_ok());
    for (in_file, in_groups, said) in [
        (0, [3, 2], "its footer states 0 rows, and its row groups 5 rows"),
        (6, [3, 2], "its footer states 6 rows, and its row groups 5 rows"),
        (4, [3, 1], "row group 1 states 1 rows, and its column `x` 2 values"),
        (0, [0, 0], "row group 0 states 0 rows, and its column `x` 3 values"),
    ] {
        let error = with_rows(in_file, in_groups).expect_err(said);
        assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains(said), "{error}");
    }
}

#[test]
fn inputs_that_change_under_way_are_no_fault_of_theirs() {
    let folder = Folder::new();
    folder.write("a.parquet", &[("x", floats(&[1.0, 2.0]))]);
    let header = ParquetFiles::find(&folder.all()).expect("a header");
    let running = AtomicBool::new(false);
    folder.write("a.parquet", &[("x", floats(&[1.0, 2.0, 3.0]))]);
    let error = read(&header, &request(&["x"]), &running).expect_err("another file");
    assert!(matches!(error, Error::Changed { .. }) && error.kind() == ErrorKind::Failed, "{error}");
    fs::remove_file(folder.path("a.parquet")).expect("removed");
    let error = read(&header, &request(&["x"]), &running).expect_err("no file");
    assert!(matches!(error, Error::Vanished { .. }) && error.kind() == ErrorKind::Failed, "{error}");
}

/// A file that is written while it is read, or replaced by another of the same size and time, is noticed.
#[cfg(unix)]
#[test]
fn files_that_change_while_they_are_read() {
    let folder = Folder::new();
    let x: Vec<f64> = (0..50_000).map(f64::from).collect();
    let path = folder.path("a.parquet");
    folder.write("a.parquet", &[("x", floats(&x))]);
    let source = ParquetFiles::find(&folder.all()).expect("a footer");
    let columns = std::collections::HashSet::from(["x".to_owned()]);

    // The same bytes, written to the same file between two batches.
    let mut batches = source.read(0, &columns).expect("a reader");
    assert!(batches.next().expect("a batch").is_ok());
    let bytes = fs::read(&path).expect("bytes");
    let written = fs::metadata(&path).and_then(|m| m.modified()).expect("a time");
    fs::write(&path, &bytes).expect("a file");
    let later = fs::File::options().write(true).open(&path).expect("a file");
    later.set_modified(written + Duration::from_secs(5)).expect("a time");
    let error = batches.find_map(Result::err).expect("a change");
    assert!(matches!(error, Error::Changed { .. }) && error.to_string().contains("written again"), "{error}");

    // Another file in its place.
    let source = ParquetFiles::find(&folder.all()).expect("a footer");
    let other = folder.path("b.tmp");
    fs::write(&other, &bytes).expect("a file");
    let replacement = fs::File::options().write(true).open(&other).expect("a file");
    replacement.set_modified(written + Duration::from_secs(5)).expect("a time");
    fs::rename(&other, &path).expect("renamed");
    let error = source.read(0, &columns).err().expect("a change");
    assert!(matches!(error, Error::Changed { .. }) && error.to_string().contains("replaced"), "{error}");
}

#[test]
fn an_interrupt_ends_reading() {
    let folder = Folder::new();
    folder.write("a.parquet", &[("x", floats(&[1.0]))]);
    let header = ParquetFiles::find(&folder.all()).expect("a header");
    let error = read(&header, &request(&["x"]), &AtomicBool::new(true)).expect_err("interrupted");
    assert!(matches!(error, Error::Interrupted) && error.kind() == ErrorKind::Interrupted);
}

/// Keys are read first: what happens to the file before its numbers are is noticed.
#[test]
fn files_that_change_between_keys_and_numbers() {
    let folder = Folder::new();
    let write = |x: &[f64]| {
        folder.write("a.parquet", &[("k", strings(&["a", "b", "c"])), ("x", floats(x))]);
    };
    write(&[1.0, 2.0, 3.0]);
    let running = AtomicBool::new(false);
    let condition = Some(parse_condition("x > 1").expect("a condition"));
    let request = Request { by: keys(&["k"]), condition, ..request(&["x"]) };
    let modified = |seconds: u64| {
        let file = fs::File::options().write(true).open(folder.path("a.parquet")).expect("a file");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).expect("a time");
    };
    modified(1);
    let header = ParquetFiles::find(&folder.all()).expect("a header");
    // Others are kept than before: one more, one less, and as many at another time.
    for (other, time) in [([2.0, 2.0, 3.0], 1), ([1.0, 2.0, 0.0], 1), ([2.0, 1.0, 3.0], 2)] {
        for memory_bytes in [u64::MAX, 0] {
            write(&[1.0, 2.0, 3.0]);
            modified(1);
            let limits = ReadLimits { segment_rows: 1, memory_bytes };
            let (_, segments) = open(&header, &request, limits, &running).expect("contents");
            write(&other);
            modified(time);
            let error = segments.into_iter().find_map(Result::err).expect("a failure");
            assert!(matches!(error, Error::Changed { .. }) && error.kind() == ErrorKind::Failed, "{error}");
        }
    }
}

#[test]
fn no_damage_makes_it_panic() {
    let folder = Folder::new();
    let dictionary: DictionaryArray<Int8Type> =
        vec![Some("y"), None, Some("x"), Some("y")].into_iter().collect();
    folder.write(
        "good.parquet",
        &[
            ("k", Arc::new(dictionary) as ArrayRef),
            ("x", Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]))),
            ("s", strings(&["one", "two", "three", "four"])),
        ],
    );
    let good = fs::read(folder.path("good.parquet")).expect("bytes");
    let request = Request { by: keys(&["k", "s"]), ..request(&["x"]) };
    let lets = vec![("one".to_owned(), parse_expression("1").expect("a number"))];
    let without_columns = Request { by: keys(&["one"]), lets, ..common::request(&["x"]) };
    let running = AtomicBool::new(false);
    let path = folder.path("bad.parquet");
    let limits = ReadLimits { segment_rows: 1, memory_bytes: u64::MAX };
    let (mut read_anyway, mut refused, mut passes) = (0, 0, 0);
    let mut attempt = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a file");
        match load(std::slice::from_ref(&path), &request) {
            Ok(_) => read_anyway += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                refused += 1;
            }
        }
        // In two passes, of which the first decodes the keys, or nothing at all.
        for request in [&request, &without_columns] {
            let Ok(header) = ParquetFiles::find(std::slice::from_ref(&path)) else { continue };
            if let Ok((_, segments)) = open(&header, request, limits, &running) {
                passes += segments.filter(Result::is_ok).count();
            }
        }
    };
    for position in 0..good.len() {
        for flip in [0xFF, 0x01, 0x80] {
            let mut bytes = good.clone();
            bytes[position] ^= flip;
            attempt(&bytes);
        }
        attempt(&good[..position]);
    }
    assert!(refused > good.len() && read_anyway > 0, "{refused} refused, {read_anyway} read");
    assert!(passes > read_anyway, "{passes} segments, {read_anyway} read");
}

/// Written by pyarrow 26 with `write_page_checksum=True`, plain and uncompressed: nothing but the checksum can
/// tell that a value was changed.
#[test]
fn page_checksums_are_verified() {
    let good = include_bytes!("data/checksummed.parquet");
    let folder = Folder::new();
    let path = folder.path("a.parquet");
    fs::write(&path, good).expect("a file");
    let request = Request { by: keys(&["run"]), ..request(&["loss"]) };
    let data = load(std::slice::from_ref(&path), &request).expect("sweeps");
    assert_eq!(data.sweep(0).columns[0], [2.5, 3.25]);
    assert_eq!(data.sweep(1).columns[0], [12345.678]);

    let mut bad = good.to_vec();
    let value = 12345.678f64.to_le_bytes();
    let position = bad.windows(8).position(|w| w == value).expect("the value, plain");
    bad[position] ^= 1;
    fs::write(&path, bad).expect("a file");
    let error = fails(&[path], &request);
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}
