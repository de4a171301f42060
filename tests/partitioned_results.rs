//! `--partition-by`: tables in hive partitions hold the rows of tables in one file each, for this program and for others.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray};
use sweepfit::output::KeptResult;

use common::program::{Table, program, refusal};
use common::{Folder, floats};

/// The keys of the sweeps: texts that a directory's name escapes, and nulls.
const FAMILIES: [Option<&str>; 6] =
    [Some("llama"), Some("a/b=c %2"), Some(".hidden"), Some("é"), None, Some("gpt")];

/// Writes sweeps of ten points: of each family two years, and of each of these two seeds. `scale` multiplies the responses of a
/// family.
fn write(folder: &Folder, scale: impl Fn(usize) -> f64) {
    let noise = [0.1, -0.2, 0.05, 0.1, -0.1, 0.2, -0.15, 0.05, -0.1, 0.05];
    let rows = || (0..FAMILIES.len()).flat_map(|f| (0..4).flat_map(move |s| (0..10).map(move |i| (f, s, i))));
    let family: ArrayRef = Arc::new(StringArray::from_iter(rows().map(|(f, ..)| FAMILIES[f])));
    let year: ArrayRef = Arc::new(Int32Array::from_iter(rows().map(|(_, s, _)| (s < 2).then_some(9 + s))));
    let trial: ArrayRef = Arc::new(Int32Array::from_iter_values(rows().map(|(_, s, _)| s)));
    let x: Vec<f64> = rows().map(|(.., i)| if i == 9 { f64::NAN } else { 1.0 + i as f64 }).collect();
    let y: Vec<f64> =
        rows().map(|(f, s, i)| scale(f) * (2.0 + 3.0 * (1.0 + i as f64) + noise[i] + f64::from(s))).collect();
    folder.write(
        "in.parquet",
        &[("family", family), ("year", year), ("trial", trial), ("x", floats(&x)), ("y", floats(&y))],
    );
}

fn run(folder: &Folder, arguments: &[&str]) {
    let input = folder.path("in.parquet");
    let common =
        ["fit", &input, "--by", "family,year,trial", "--law", "y ~ a + b*x", "--bootstrap", "20", "--quiet"];
    let output = program(&[&common[..], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Asserts that two results have the same fits, coefficients and answers.
fn assert_same(one: &str, other: &str) {
    let (a, b) = (
        KeptResult::open(Path::new(one)).expect("a result"),
        KeptResult::open(Path::new(other)).expect("a result"),
    );
    assert_eq!(a.table, b.table);
    assert_eq!(a.coefficients, b.coefficients);
    let asked = |directory: &str| {
        let output = program(&["predict", directory, "--at", "x=20", "--out", "-"]);
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(asked(one).lines().count() == 25 && asked(one) == asked(other), "{}", asked(one));
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

#[test]
fn partitions_hold_the_rows_of_one_file() {
    let folder = Folder::new();
    write(&folder, |_| 1.0);
    let (flat, parts) = (folder.path("flat"), folder.path("parts"));
    run(&folder, &["--out", &flat, "--at", "x=10"]);
    for (columns, n) in [("family", 1), ("family,year", 2)] {
        run(&folder, &["--out", &parts, "--overwrite", "--partition-by", columns, "--at", "x=10"]);
        assert_same(&flat, &parts);
        for table in ["fits", "coefficients", "replicates", "rejected", "predictions"] {
            let name = format!("{table}.parquet");
            let whole = Table::read(&Path::new(&flat).join(&name));
            let directory = Path::new(&parts).join(&name);
            let files = files_below(&directory);
            let (described, files): (Vec<PathBuf>, Vec<PathBuf>) =
                files.into_iter().partition(|file| file.ends_with("_partitions.json"));
            assert_eq!(described.len(), 1, "{table}");
            assert_eq!(files.len(), if n == 1 { 6 } else { 18 }, "{table}: {files:?}");
            let tables: Vec<Table> = files.iter().map(|file| Table::read(file)).collect();
            assert_eq!(tables.iter().map(Table::rows).sum::<usize>(), whole.rows(), "{table}");
            assert!(tables.iter().all(|part| !part.has("family") && part.has("year") == (n == 1)), "{table}");
        }
    }
    let expected = "fits.parquet/family=a%2Fb%3Dc %252/year=9/part-0.parquet";
    assert!(Path::new(&parts).join(expected).exists());
    assert!(
        Path::new(&parts)
            .join("fits.parquet/family=__HIVE_DEFAULT_PARTITION__/year=10/part-0.parquet")
            .exists()
    );

    // One kind of result takes the place of the other, and is an earlier result for it.
    for (partition_by, out) in [(&["--partition-by", "family"][..], &flat), (&[], &parts)] {
        run(
            &folder,
            &[&["--out", out, "--overwrite", "--incremental", "--at", "x=10"], partition_by].concat(),
        );
        let text = fs::read_to_string(Path::new(out).join("manifest.json")).expect("a manifest");
        let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(manifest["counts"]["reused_fits"], 24);
    }
    assert_same(&flat, &parts);
}

/// Files of partitions in which nothing has changed are those of the last snapshot.
#[cfg(unix)]
#[test]
fn files_of_unchanged_partitions_stay() {
    use std::os::unix::fs::MetadataExt;

    let folder = Folder::new();
    write(&folder, |_| 1.0);
    let lake = folder.path("lake");
    let publish = ["--publish", &lake, "--incremental", "--partition-by", "family"];
    let inodes = || -> BTreeMap<PathBuf, u64> {
        let root = Path::new(&lake).join("current/fits.parquet").canonicalize().expect("a table");
        let files = files_below(&root).into_iter().filter(|file| file.ends_with("part-0.parquet"));
        files
            .map(|file| {
                (
                    file.strip_prefix(&root).expect("below").to_owned(),
                    fs::metadata(&file).expect("a file").ino(),
                )
            })
            .collect()
    };
    run(&folder, &publish);
    let first = inodes();
    write(&folder, |family| if family == 3 { 2.0 } else { 1.0 });
    run(&folder, &publish);
    let second = inodes();
    let changed: Vec<&Path> = first
        .iter()
        .filter(|(path, inode)| second[*path] != **inode)
        .map(|(path, _)| path.as_path())
        .collect();
    assert_eq!(changed, [Path::new("family=é/part-0.parquet")]);
    let full = folder.path("full");
    run(&folder, &["--out", &full]);
    assert_same(&format!("{lake}/current"), &full);
}

#[test]
fn partitions_are_by_the_first_keys() {
    let folder = Folder::new();
    write(&folder, |_| 1.0);
    let (input, out) = (folder.path("in.parquet"), folder.path("out"));
    let common = ["fit", &input, "--by", "family,year,trial", "--law", "y ~ a + b*x", "--out", &out];
    for columns in ["year", "family,trial", "x"] {
        let message = refusal(&[&common[..], &["--partition-by", columns]].concat());
        assert!(
            message.contains("name the first key columns, in their order: family, year, trial"),
            "{message}"
        );
    }
    assert!(!Path::new(&out).exists());
}

/// What other readers would not read back is refused before the earlier result is touched.
#[test]
fn keys_that_have_no_directory_are_refused() {
    let folder = Folder::new();
    let (input, out) = (folder.path("in.parquet"), folder.path("out"));
    let long = "x".repeat(300);
    for key in ["", "__HIVE_DEFAULT_PARTITION__", &long] {
        let x = floats(&[1.0, 2.0, 3.0, 4.0]);
        let family: ArrayRef = Arc::new(StringArray::from(vec![key; 4]));
        folder.write("in.parquet", &[("family", family), ("x", x), ("y", floats(&[1.0, 2.1, 2.9, 4.2]))]);
        let common = ["fit", &input, "--by", "family", "--law", "y ~ a + b*x", "--out", &out];
        let message = refusal(&[&common[..], &["--partition-by", "family"]].concat());
        assert!(message.contains("there would be a partition family="), "{message}");
        assert!(!Path::new(&out).exists());
    }
}

/// Files that others have put among the tables of an earlier result are kept.
#[test]
fn files_of_others_among_partitions_are_kept() {
    let folder = Folder::new();
    write(&folder, |_| 1.0);
    let out = folder.path("out");
    run(&folder, &["--out", &out, "--partition-by", "family"]);
    for name in ["fits.parquet/README", "fits.parquet/family=gpt/notes.txt"] {
        fs::write(Path::new(&out).join(name), "mine").expect("a file");
    }
    run(&folder, &["--out", &out, "--partition-by", "family", "--overwrite"]);
    for name in ["fits.parquet/README", "fits.parquet/family=gpt/notes.txt"] {
        assert_eq!(fs::read_to_string(Path::new(&out).join(name)).expect("a file"), "mine");
    }
    run(&folder, &["--out", &out, "--overwrite"]);
    assert!(Path::new(&out).join("fits.parquet").is_file());
    for name in ["fits.parquet.others/README", "fits.parquet.others/family=gpt/notes.txt"] {
        assert_eq!(fs::read_to_string(Path::new(&out).join(name)).expect("a file"), "mine");
    }
    // A partition that is gone is told, and not taken for one without rows.
    run(&folder, &["--out", &out, "--partition-by", "family", "--overwrite"]);
    fs::remove_dir_all(Path::new(&out).join("coefficients.parquet/family=gpt")).expect("removed");
    let message = refusal(&["show", &out]);
    assert!(message.contains("family=gpt"), "{message}");
}
