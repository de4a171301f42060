//! Results are whole: what a run leaves when there is nothing to fit, when standard error fails, and what its manifest says.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::program::{Table, command, program};
use common::{Folder, floats};

/// A line of ten points in `a.parquet`.
fn line(folder: &Folder) -> String {
    let x: Vec<f64> = (0..10).map(f64::from).collect();
    let y: Vec<f64> = x.iter().map(|x| 1.0 + 2.0 * x + 0.1 * (x % 3.0)).collect();
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    folder.path("a.parquet")
}

/// Without a sweep there is no result: an earlier one stays, unless an empty result is asked for.
#[test]
fn an_empty_input_does_not_replace_a_result() {
    let folder = Folder::new();
    let (input, out) = (line(&folder), folder.path("out"));
    let fit = ["fit", &input, "--law", "y ~ a + b*x", "--bootstrap", "0", "--quiet", "--out", &out];
    let fits = || Table::read(&Path::new(&out).join("fits.parquet")).rows();
    assert!(program(&fit).status.success());
    assert_eq!(fits(), 1);
    let nothing = [&fit[..], &["--where", "x > 1e30", "--overwrite"]].concat();
    let refused = program(&nothing);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{message}");
    for said in ["no sweep to fit", "10 rows were read", "10 dropped by --where", "--allow-empty"] {
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(fits(), 1);
    assert!(program(&[&nothing[..], &["--allow-empty"]].concat()).status.success());
    assert_eq!(fits(), 0);
}

/// The manifest holds the job as it was run, the user's laws included.
#[test]
fn the_manifest_holds_the_users_laws() {
    let folder = Folder::new();
    let (input, out, laws) = (line(&folder), folder.path("out"), folder.path("mine.toml"));
    let text =
        "[[law]]\nname = \"mine\"\nformula = \"y ~ a + b*x\"\nvariables = [\"x\"]\nresidual = \"linear\"\n";
    fs::write(&laws, text).expect("a file");
    let done = program(&[
        "fit",
        &input,
        "--laws",
        &laws,
        "--law",
        "mine",
        "--bootstrap",
        "0",
        "--quiet",
        "--out",
        &out,
    ]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let manifest = fs::read_to_string(Path::new(&out).join("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!(manifest["job"]["catalogue"]["text"], text);
    assert_eq!(manifest["job"]["catalogue"]["name"], laws.as_str());
}

/// A standard error that takes no more, like a full disk, does not cost a run or its status.
#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_error_costs_nothing() {
    let folder = Folder::new();
    let (input, out) = (line(&folder), folder.path("out"));
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full"));
    let fit = ["fit", &input, "--law", "y ~ a + b*x", "--bootstrap", "0", "--out", &out];
    let status = |arguments: &[&str]| {
        command(arguments).stderr(full()).stdout(Stdio::null()).status().expect("it runs").code()
    };
    assert_eq!(status(&fit), Some(0));
    assert!(Path::new(&out).join("manifest.json").exists());
    assert_eq!(status(&[&fit[..], &["--where", "q > 1"]].concat()), Some(2));
}

/// An earlier result below an input directory is not read as input; that is said, and the manifest lists it. A table named in
/// full is read.
#[test]
fn earlier_results_below_the_input_are_skipped() {
    let folder = Folder::new();
    line(&folder);
    fs::write(folder.path("notes.txt"), "mine").expect("a file");
    let all = folder.path("");
    let law = ["--law", "y ~ a + b*x", "--bootstrap", "0"];
    let first = program(&[&["fit", &all, "--out", &folder.path("r1")], &law[..]].concat());
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let second = program(&[&["fit", &all, "--out", &folder.path("r2")], &law[..]].concat());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.success(), "{said}");
    assert!(said.contains("skipped") && said.contains("more, which the manifest lists"), "{said}");
    let manifest = fs::read_to_string(folder.path("r2/manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!(manifest["inputs"].as_array().map(Vec::len), Some(1));
    let skipped = manifest["skipped"].as_array().expect("a list");
    let reason = |name: &str| {
        let of = |entry: &&serde_json::Value| entry["path"].as_str().is_some_and(|path| path.ends_with(name));
        skipped.iter().find(of).map(|entry| entry["reason"].as_str().expect("a text").to_owned())
    };
    assert_eq!(reason("r1/fits.parquet").as_deref(), Some("it is a result of sweepfit"));
    assert_eq!(reason("notes.txt").as_deref(), Some("it does not begin like a Parquet file"));
    let only_results =
        program(&[&["fit", &folder.path("r1"), "--out", &folder.path("r3")], &law[..]].concat());
    assert_eq!(only_results.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&only_results.stderr).contains("all files are results of sweepfit"));
    let named = ["--law", "objective ~ p + q*n_points", "--bootstrap", "0", "--dry-run"];
    let named = program(&[&["fit", &folder.path("r1/fits.parquet")], &named[..]].concat());
    assert!(named.status.success(), "{}", String::from_utf8_lossy(&named.stderr));
}

/// A run is refused while another writes to the same directory, and told which; a lock that a killed run left is taken over.
#[test]
fn one_run_at_a_time_writes_to_a_directory() {
    let folder = Folder::new();
    let (input, out) = (line(&folder), folder.path("out"));
    let fit = ["fit", &input, "--law", "y ~ a + b*x", "--bootstrap", "0", "--quiet", "--out", &out];
    fs::create_dir(&out).expect("a directory");
    let path = Path::new(&out).join(".sweepfit-lock");
    fs::write(&path, "process 12345, since 2025-01-31T12:30:00Z\n").expect("a file");
    let file = fs::File::open(&path).expect("a file");
    file.lock().expect("a lock");
    let refused = program(&fit);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("process 12345, since 2025-01-31T12:30:00Z"), "{message}");
    assert!(!Path::new(&out).join("fits.parquet").exists());
    // The lock goes with its holder, the file stays.
    drop(file);
    assert!(program(&fit).status.success());
    let mut left: Vec<String> = fs::read_dir(&out)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    assert_eq!(left, ["coefficients.parquet", "fits.parquet", "manifest.json", "rejected.parquet"]);
}

/// Of runs that begin at once into one new directory, one succeeds and the others are told why they do not.
#[test]
fn runs_that_begin_at_once_do_not_lose_a_result() {
    let folder = Folder::new();
    let input = line(&folder);
    for round in 0..10 {
        let out = folder.path(&format!("out{round}"));
        let fit = ["fit", &input, "--law", "y ~ a + b*x", "--bootstrap", "0", "--quiet", "--out", &out];
        let start = || command(&fit).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
        let runs = [start(), start(), start()].map(|run| run.wait_with_output().expect("it ends"));
        let mut succeeded = 0;
        for run in runs {
            let message = String::from_utf8_lossy(&run.stderr).into_owned();
            match run.status.code() {
                Some(0) => succeeded += 1,
                Some(1) => assert!(message.contains("another run writes to this directory"), "{message}"),
                Some(2) => assert!(message.contains("--overwrite"), "{message}"),
                other => panic!("{other:?}: {message}"),
            }
        }
        assert_eq!(succeeded, 1, "round {round}");
        assert!(Path::new(&out).join("manifest.json").exists());
    }
}
