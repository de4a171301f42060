//! Delta tables: the files of the current version are read, with partitions from the log, and what is not understood is
//! refused by name.
//!
//! The tables in `fixtures/delta` were written by the Python package deltalake 1.6.6 (`fixtures/delta.py`). Beside each lies a
//! Parquet file with the rows that the same package reads from the table.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use sweepfit::Error;
use sweepfit::input::{Dataset, InputFiles, PartitionOptions, Request, Source, read};

use common::program::{fit, refusal};
use common::{Folder, floats, keys, load, request, strings};

/// Returns the path of a table, or of the file with its rows.
fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/delta").join(name).display().to_string()
}

/// Finds the files of inputs.
fn find(inputs: &[&str], condition: Option<&str>) -> Result<InputFiles, Error> {
    let inputs: Vec<String> = inputs.iter().map(|input| (*input).to_owned()).collect();
    InputFiles::find(&inputs, PartitionOptions { condition, ..PartitionOptions::default() })
}

/// Reads inputs as one dataset.
fn rows_of(inputs: &[&str], request: &Request) -> Dataset {
    read(&find(inputs, None).expect("files"), request, &AtomicBool::new(false)).expect("rows")
}

/// Asserts that two datasets have the same keys, in the same types, and the same rows.
fn assert_same(found: &Dataset, expected: &Dataset, what: &str) {
    assert!(expected.contents.rows_read > 0, "{what}");
    assert_eq!(found.contents.rows_read, expected.contents.rows_read, "{what}");
    assert_eq!(found.contents.key_fields, expected.contents.key_fields, "{what}");
    assert_eq!(found.contents.keys, expected.contents.keys, "{what}");
    for i in 0..expected.n_sweeps() {
        let bits = |data: &Dataset| -> Vec<Vec<u64>> {
            let sweep = data.sweep(i);
            sweep.columns.iter().map(|column| column.iter().map(|x| x.to_bits()).collect()).collect()
        };
        assert_eq!(bits(found), bits(expected), "{what}, sweep {i}");
    }
}

#[test]
fn tables_are_read_as_deltalake_reads_them() {
    let of_partitions = ["family", "year", "day", "at", "local", "share", "good", "price"];
    for (name, by) in [
        ("append", &["family"][..]),
        ("overwrite", &["family"]),
        ("checkpoint", &["family", "year"]),
        ("partitions", &of_partitions),
        ("added_column", &["family", "note", "at"]),
    ] {
        let columns = if name == "added_column" { &["x", "y", "n"][..] } else { &["x", "y"] };
        let request = Request { by: keys(by), ..request(columns) };
        let expected = load(&[fixture(&format!("{name}.parquet"))], &request).expect("rows");
        assert_same(&rows_of(&[&fixture(name)], &request), &expected, name);
    }
}

/// The fits of a table are those of the rows that deltalake reads from it.
#[test]
fn fits_of_a_table_are_those_of_its_rows() {
    let folder = Folder::new();
    let arguments = ["--by", "family", "--law", "y ~ a + b*x", "--bootstrap", "0"];
    let found = fit(&fixture("partitions"), &folder.path("table"), &arguments);
    let expected = fit(&fixture("partitions.parquet"), &folder.path("rows"), &arguments);
    assert_eq!(found.coefficients.rows(), 6);
    assert_eq!(found.coefficients.bits(), expected.coefficients.bits());
    assert_eq!(found.manifest["inputs"].as_array().map(Vec::len), Some(4));
}

/// Of the four files, as many are left as deltalake's rows say: two with a year above 100, one with a share of 0.1, one of an
/// instant before 1970, one of null.
#[test]
fn partitions_are_excluded_by_values_of_their_types() {
    for (condition, expected) in [
        ("year > 100", 2),
        ("year > 100 and good", 1),
        ("share = 0.1 and x > 0", 1),
        ("price < 1.505", 2),
        ("at < '1970-01-01'", 1),
        ("year is null", 1),
        ("family is null", 2),
    ] {
        let files = find(&[&fixture("partitions")], Some(condition)).expect("files");
        assert_eq!((files.fragments().len(), files.pruned()), (expected, 4 - expected), "{condition}");
    }
    // `--partition-type` takes precedence, as for directories.
    let types = [("year".to_owned(), "text".to_owned())];
    let options = PartitionOptions { types: &types, condition: Some("year > '3'"), defined: &[] };
    let files = InputFiles::find(&[fixture("partitions")], options).expect("files");
    assert_eq!(files.pruned(), 3);
    let year = files.fragments()[0].schema.field_with_name("year").expect("a column");
    assert_eq!(*year.data_type(), DataType::Utf8);
}

const SCHEMA: &str = r#"{\"type\":\"struct\",\"fields\":[{\"name\":\"k\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},{\"name\":\"x\",\"type\":\"double\",\"nullable\":true,\"metadata\":{}}]}"#;
const PROTOCOL: &str = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#;

/// Returns the action with the schema: columns `k`, by which the table is partitioned, and `x`.
fn metadata(configuration: &str) -> String {
    format!(
        r#"{{"metaData":{{"id":"1","format":{{"provider":"parquet","options":{{}}}},"schemaString":"{SCHEMA}","partitionColumns":["k"],"configuration":{{{configuration}}}}}}}"#
    )
}

fn add(path: &str, k: &str) -> String {
    format!(
        r#"{{"add":{{"path":"{path}","partitionValues":{{"k":"{k}"}},"size":1,"modificationTime":1,"dataChange":true}}}}"#
    )
}

fn remove(path: &str) -> String {
    format!(r#"{{"remove":{{"path":"{path}","dataChange":true}}}}"#)
}

/// Writes a commit of the table `lake/t`.
fn commit(folder: &Folder, version: u64, lines: &[&str]) {
    log_file(folder, &format!("{version:020}.json"), lines.join("\n").as_bytes());
}

fn log_file(folder: &Folder, name: &str, bytes: &[u8]) {
    let path = folder.path(&format!("lake/t/_delta_log/{name}"));
    fs::create_dir_all(Path::new(&path).parent().expect("a parent")).expect("a directory");
    fs::write(path, bytes).expect("a file");
}

/// Writes a data file of the table `lake/t`.
fn data(folder: &Folder, name: &str, x: &[f64]) {
    folder.write(&format!("lake/t/{name}"), &[("x", floats(x))]);
}

/// Writes the table `lake/t` with the files `a.parquet` and `b.parquet`, and a file that is no longer part of it.
fn table() -> Folder {
    let folder = Folder::new();
    for (name, x) in [("a.parquet", [1.0, 2.0]), ("b.parquet", [3.0, 4.0]), ("old.parquet", [5.0, 6.0])] {
        data(&folder, name, &x);
    }
    let metadata = metadata("");
    commit(&folder, 0, &[PROTOCOL, &metadata, &add("old.parquet", "o"), &add("a.parquet", "a")]);
    commit(&folder, 1, &[&remove("old.parquet"), &add("b.parquet", "b")]);
    folder
}

/// Returns the paths of the files that inputs stand for, below the folder.
fn paths(folder: &Folder, inputs: &[&str]) -> Vec<String> {
    let inputs: Vec<String> = inputs.iter().map(|input| folder.path(input)).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let files = find(&inputs, None).expect("files");
    let below = |name: &String| name.strip_prefix(&folder.path("")).expect("below the folder").to_owned();
    files.fragments().iter().map(|fragment| below(&fragment.name)).collect()
}

#[test]
fn tables_are_found_below_directories_and_by_globs() {
    let folder = table();
    let expected = ["lake/t/a.parquet", "lake/t/b.parquet"];
    for inputs in
        [&["lake/t"][..], &["lake"], &["la*/*"], &["lake/t", "lake"], &["lake/t", "lake/t/a.parquet"]]
    {
        assert_eq!(paths(&folder, inputs), expected, "{inputs:?}");
    }
    // The columns that the log gives do not depend on whether a file is also named.
    let of = |inputs: &[&str]| {
        let inputs: Vec<String> = inputs.iter().map(|input| folder.path(input)).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        rows_of(&inputs, &Request { by: keys(&["k"]), ..request(&["x"]) })
    };
    assert_same(&of(&["lake/t/a.parquet", "lake/t"]), &of(&["lake"]), "also named");
    // Directories above the table are hive partitions.
    fs::rename(folder.path("lake"), folder.path("year=2024")).expect("renamed");
    let input = folder.path("year=2024/t");
    let data = rows_of(&[&input], &Request { by: keys(&["year", "k"]), ..request(&["x"]) });
    assert_eq!(data.n_sweeps(), 2);
}

/// A file of an excluded partition may be absent; one that is read may not.
#[test]
fn files_of_excluded_partitions_are_not_opened() {
    let folder = table();
    fs::remove_file(folder.path("lake/t/b.parquet")).expect("removed");
    let input = folder.path("lake/t");
    let files = find(&[&input], Some("k = 'a'")).expect("files");
    assert_eq!((files.fragments().len(), files.pruned()), (1, 1));
    let error = find(&[&input], None).expect_err("a file is missing");
    assert!(matches!(error, Error::Table { .. }), "{error:?}");
    for expected in ["version 1", "lake/t/b.parquet", "VACUUM"] {
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Columns of the data files that the table's schema lacks are not the table's, and partitions that are also written to the data
/// files are as the log says: "Delta Transaction Log Protocol", sections "Schema" and "Partition Values".
#[test]
fn the_log_decides_which_columns_there_are() {
    let folder = Folder::new();
    let columns = [("extra", floats(&[7.0])), ("k", strings(&["no"])), ("x", floats(&[1.0]))];
    folder.write("lake/t/a.parquet", &columns);
    commit(&folder, 0, &[PROTOCOL, &metadata(""), &add("a.parquet", "yes")]);
    let input = folder.path("lake/t");
    let files = find(&[&input], None).expect("files");
    let names: Vec<&String> = files.fragments()[0].schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["x", "k"]);
    let data = rows_of(&[&input], &Request { by: keys(&["k"]), ..request(&["x"]) });
    assert_eq!(common::keys_as_text(&data), ["yes"]);
    assert_eq!(&data.sweep(0).columns[0], &[1.0]);
}

/// The message of the refusal of a table with these commits.
fn message(commits: &[&[&str]]) -> String {
    let folder = Folder::new();
    data(&folder, "a.parquet", &[1.0]);
    for (version, lines) in commits.iter().enumerate() {
        commit(&folder, version as u64, lines);
    }
    match find(&[&folder.path("lake/t")], None) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let plain = metadata("");
    let features = |names: &str| {
        format!(
            r#"{{"protocol":{{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":[{names}],"writerFeatures":[]}}}}"#
        )
    };
    let with_vector = r#"{"add":{"path":"a.parquet","partitionValues":{"k":"a"},"deletionVector":{"storageType":"u","pathOrInlineDv":"ab^-aqEH.-t@S}K{vb[*k^","offset":4,"sizeInBytes":40,"cardinality":6}}}"#;
    let (a, none) = (add("a.parquet", "a"), remove("a.parquet"));
    let refused =
        |protocol: &str, metadata: &str, rest: &[&str]| message(&[&[&[protocol, metadata], rest].concat()]);
    let known = features(r#""deletionVectors","columnMapping","timestampNtz","typeWidening","v2Checkpoint""#);
    let mode = |mode: &str| metadata(&format!(r#""delta.columnMapping.mode":"{mode}""#));
    // Features that a table lists and that none of its files uses.
    assert_eq!(refused(&known, &mode("none"), &[&a]), "");
    // The file without a vector is replaced by the file with one, in whatever order a commit says it.
    for lines in [[with_vector, &none], [&none, with_vector]] {
        let message = message(&[&[&known, &plain, &a], &lines]);
        assert!(message.contains("`deletionVectors`") && message.contains("a.parquet"), "{message}");
    }
    let other_format = plain.replace("\"parquet\"", "\"orc\"");
    let variant = plain.replace("double", "variant");
    let no_column = plain.replace("[\"k\"]", "[\"z\"]");
    let newer = PROTOCOL.replace("minReaderVersion\":1", "minReaderVersion\":4");
    let remote = add("s3a://bucket/a.parquet", "a");
    for (found, expected) in [
        (refused(&newer, &plain, &[&a]), "version 4"),
        (refused(&features(r#""variantType""#), &plain, &[&a]), "`variantType`"),
        (refused(&features(r#""one","two""#), &plain, &[&a]), "`one`, `two`"),
        (refused(PROTOCOL, &mode("name"), &[&a]), "`columnMapping` (mode `name`)"),
        (refused(PROTOCOL, &mode("id"), &[&a]), "`columnMapping` (mode `id`)"),
        (refused(PROTOCOL, &other_format, &[&a]), "`orc`"),
        (refused(PROTOCOL, &variant, &[&a]), "`x`: the type `variant`"),
        (refused(PROTOCOL, &no_column, &[&a]), "`z`"),
        (refused(PROTOCOL, &plain, &[&remote]), "`s3a`"),
        (refused(PROTOCOL, &plain, &[]), "no files"),
        (refused(PROTOCOL, "{}", &[&a]), "no schema"),
        (
            refused(PROTOCOL, &plain, &[&a, "{\"add\":"]),
            "00000000000000000000.json: the file cannot be read: line 4",
        ),
        (refused(PROTOCOL, &plain, &[&a, "{\"add\":{\"path\":7}}"]), "line 4"),
        (refused(PROTOCOL, &plain, &[&add("", "a")]), "line 3: a file has no path"),
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn a_log_with_gaps_is_refused() {
    let folder = table();
    let (input, log) =
        (folder.path("lake/t"), |name: &str| folder.path(&format!("lake/t/_delta_log/{name}")));
    let missing = |version: u64| {
        let error = find(&[&input], None).expect_err("a version is missing");
        assert!(error.to_string().contains(&format!("lacks version {version},")), "{error}");
    };
    commit(&folder, 3, &[&remove("a.parquet")]);
    missing(2);
    commit(&folder, 2, &["{\"commitInfo\":{}}"]);
    assert_eq!(paths(&folder, &["lake/t"]), ["lake/t/b.parquet"]);
    fs::remove_file(log(&format!("{:020}.json", 0))).expect("removed");
    missing(0);
    // A checkpoint of which a part is missing.
    log_file(&folder, &format!("{:020}.checkpoint.0000000001.0000000002.parquet", 2), b"PAR1");
    missing(0);
    fs::remove_dir_all(log("")).expect("removed");
    fs::create_dir(log("")).expect("a directory");
    let out = folder.path("out");
    let said = refusal(&["fit", &input, "--law", "y ~ a + b*x", "--out", &out]);
    assert!(said.contains("its log has no commit"), "{said}");
}

/// Writes rows of actions as a Parquet file of the log, with the columns of a checkpoint. Returns the length of the file.
fn write_rows(folder: &Folder, name: &str, lines: &[&str]) -> usize {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let truth = |name: &str| Field::new(name, DataType::Boolean, true);
    let structure = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(fields.into()), true);
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), text("value")]);
    let entries = Arc::new(Field::new("key_value", DataType::Struct(entries), false));
    let map = |name: &str| Field::new(name, DataType::Map(Arc::clone(&entries), false), true);
    let texts = |name: &str| Field::new_list(name, Field::new("element", DataType::Utf8, true), true);
    let versions = ["minReaderVersion", "minWriterVersion"];
    let schema = Arc::new(Schema::new(vec![
        structure(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                truth("dataChange"),
            ],
        ),
        structure(
            "protocol",
            versions
                .map(|name| Field::new(name, DataType::Int32, true))
                .into_iter()
                .chain(["readerFeatures", "writerFeatures"].map(texts))
                .collect(),
        ),
        structure(
            "metaData",
            vec![
                text("id"),
                structure("format", vec![text("provider"), map("options")]),
                text("schemaString"),
                texts("partitionColumns"),
                map("configuration"),
            ],
        ),
        structure("sidecar", vec![text("path"), long("sizeInBytes"), long("modificationTime")]),
    ]));
    let lines = lines.join("\n");
    let mut batches =
        arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build(lines.as_bytes()).expect("JSON");
    let batch = batches.next().expect("rows").expect("a batch");
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, None).expect("a writer");
    writer.write(&batch).expect("rows written");
    writer.close().expect("a footer");
    log_file(folder, name, &bytes);
    bytes.len()
}

/// `DeltaTable.file_uris()` of deltalake 1.6.6 lists a.parquet and b.parquet for each of these tables too.
#[test]
fn checkpoints_in_parts_and_with_sidecars_are_read() {
    let lines = [PROTOCOL.to_owned(), metadata(""), add("a.parquet", "a"), add("gone.parquet", "g")];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let start = || {
        let folder = table();
        fs::remove_dir_all(folder.path("lake/t/_delta_log")).expect("removed");
        commit(&folder, 8, &[&remove("gone.parquet"), &add("b.parquet", "b")]);
        folder
    };
    let expected = ["lake/t/a.parquet", "lake/t/b.parquet"];

    let folder = start();
    write_rows(&folder, &format!("{:020}.checkpoint.0000000001.0000000002.parquet", 7), &lines[..2]);
    write_rows(&folder, &format!("{:020}.checkpoint.0000000002.0000000002.parquet", 7), &lines[2..]);
    assert_eq!(paths(&folder, &["lake"]), expected);

    let uuid = "80a083e8-7026-4e79-81be-64bd76c43a11";
    let features = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["v2Checkpoint"],"writerFeatures":["v2Checkpoint"]}}"#;
    let folder = start();
    let size = write_rows(&folder, "_sidecars/3a0d65cd.parquet", &lines[2..]);
    let sidecar =
        format!(r#"{{"sidecar":{{"path":"3a0d65cd.parquet","sizeInBytes":{size},"modificationTime":1}}}}"#);
    let main = [features, lines[1], r#"{"checkpointMetadata":{"version":7}}"#, &sidecar].join("\n");
    log_file(&folder, &format!("{:020}.checkpoint.{uuid}.json", 7), main.as_bytes());
    assert_eq!(paths(&folder, &["lake"]), expected);

    let folder = start();
    write_rows(&folder, "_sidecars/3a0d65cd.parquet", &lines[2..]);
    write_rows(&folder, &format!("{:020}.checkpoint.{uuid}.parquet", 7), &[features, lines[1], &sidecar]);
    assert_eq!(paths(&folder, &["lake"]), expected);
    fs::remove_file(folder.path("lake/t/_delta_log/_sidecars/3a0d65cd.parquet")).expect("removed");
    let error = find(&[&folder.path("lake")], None).expect_err("a file is missing");
    assert!(error.to_string().contains("3a0d65cd.parquet"), "{error}");
}

/// A change of any byte of a log gives a table or an error, no panic.
#[test]
fn damaged_logs_are_refused_or_read() {
    let folder = Folder::new();
    let from = fixture("checkpoint");
    let log = Path::new(&from).join("_delta_log");
    let (mut read, mut refused) = (0, 0);
    for entry in fs::read_dir(&log).expect("a log") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        if name.starts_with('_') {
            continue;
        }
        let whole = fs::read(entry.path()).expect("bytes");
        for other in fs::read_dir(&log).expect("a log") {
            let other = other.expect("an entry");
            let other_name = other.file_name().into_string().expect("a name");
            log_file(&folder, &other_name, &fs::read(other.path()).expect("bytes"));
        }
        for place in (0..whole.len()).step_by(whole.len() / 300 + 1) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            log_file(&folder, &name, &bytes);
            match find(&[&folder.path("lake/t")], Some("family = 'none'")) {
                Ok(_) => read += 1,
                // All data files are absent here.
                Err(Error::Table { reason, .. }) if reason.contains("VACUUM") => read += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(read > 100 && refused > 100, "{read} {refused}");
}

/// A number in a log, or a text that many rows of a checkpoint share, does not decide how much memory is used.
#[test]
fn large_texts_are_refused() {
    let folder = Folder::new();
    let long = add(&"a".repeat(17 << 20), "k");
    commit(&folder, 0, &[PROTOCOL, &metadata(""), &long]);
    let error = find(&[&folder.path("lake/t")], None).expect_err("a long line");
    assert!(error.to_string().contains("line 3"), "{error}");

    let folder = Folder::new();
    let shared = add("a.parquet", &"k".repeat(1 << 20));
    let metadata = metadata("");
    let lines = [&[PROTOCOL, metadata.as_str()][..], &vec![shared.as_str(); 200]].concat();
    write_rows(&folder, &format!("{:020}.checkpoint.parquet", 0), &lines);
    let error = find(&[&folder.path("lake/t")], None).expect_err("a long text in each row");
    assert!(error.to_string().contains("bytes in 202 actions"), "{error}");
}

/// To open a pipe waits for a writer, so without the refusal this test would not end.
#[cfg(unix)]
#[test]
fn pipes_in_a_table_are_refused() {
    let commit = "_delta_log/00000000000000000002.json";
    let checkpoint = "_delta_log/00000000000000000001.checkpoint.parquet";
    for name in [commit, checkpoint, "a.parquet"] {
        let folder = table();
        let path = folder.path(&format!("lake/t/{name}"));
        if name == "a.parquet" {
            fs::remove_file(&path).expect("removed");
        }
        let status = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(status.expect("mkfifo can be started").success());
        let error = find(&[&folder.path("lake/t")], None).expect_err("a pipe");
        assert!(matches!(&error, Error::Unreadable { path: found, .. } if *found == path), "{error:?}");
    }
}
