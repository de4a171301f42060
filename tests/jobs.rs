//! `sweepfit run`: steps, snapshots, incremental refits, going on after a kill, and what a run says to machines.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::program::{Table, command, program};
use common::{Folder, floats, strings};

/// The tables of a result whose rows are compared.
const TABLES: [&str; 4] = ["fits", "coefficients", "replicates", "rejected"];

/// Writes lines with noise, ten points each, under keys; `scale` multiplies the responses of a key.
fn write(folder: &Folder, name: &str, keys: &[String], scale: impl Fn(usize) -> f64) {
    let noise = [0.1, -0.2, 0.05, 0.1, -0.1, 0.2, -0.15, 0.05, -0.1, 0.05];
    let rows = || (0..keys.len()).flat_map(|key| (0..10).map(move |i| (key, i)));
    let run: Vec<&str> = rows().map(|(key, _)| keys[key].as_str()).collect();
    let x: Vec<f64> = rows().map(|(_, i)| 1.0 + i as f64).collect();
    let y: Vec<f64> = rows().map(|(key, i)| scale(key) * (2.0 + 3.0 * (1.0 + i as f64) + noise[i])).collect();
    folder.write(name, &[("run", strings(&run)), ("x", floats(&x)), ("y", floats(&y))]);
}

fn keys(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("run-{i:05}")).collect()
}

/// Writes a job file that fits `in.parquet` and publishes to `lake`.
fn job(folder: &Folder, more: &str) -> String {
    let text = format!(
        "publish = {:?}\n{more}\n[fit]\ninputs = {:?}\nby = \"run\"\nlaw = \"y ~ a + b*x\"\nbootstrap = 20\n",
        folder.path("lake"),
        folder.path("in.parquet"),
    );
    fs::write(folder.path("job.toml"), text).expect("a file");
    folder.path("job.toml")
}

fn run(job: &str, arguments: &[&str]) -> Output {
    program(&[&["run", job, "--quiet"], arguments].concat())
}

fn succeed(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn manifest(directory: &str) -> serde_json::Value {
    let text = fs::read_to_string(Path::new(directory).join("manifest.json")).expect("a manifest");
    serde_json::from_str(&text).expect("JSON")
}

/// Asserts that the files of two results are the same, byte for byte but for the job in their metadata.
fn assert_same(one: &str, other: &str) {
    for name in TABLES {
        let of = |directory: &str| Table::read(&Path::new(directory).join(format!("{name}.parquet"))).bits();
        assert_eq!(of(one), of(other), "{name}");
    }
}

fn snapshots(folder: &Folder) -> BTreeSet<PathBuf> {
    fs::read_dir(folder.path("lake/snapshots"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// Of a thousand sweeps one changes, one comes and one goes. The others are copied, and the result is that of a full run.
#[test]
fn an_incremental_run_has_the_bits_of_a_full_one() {
    let folder = Folder::new();
    let all = keys(1000);
    write(&folder, "in.parquet", &all[..999], |_| 1.0);
    let file = job(&folder, "incremental = true\nkeep = 1");
    succeed(&run(&file, &[]));
    let current = folder.path("lake/current");
    assert_eq!(manifest(&current)["counts"]["reused_fits"], 0);
    let first = fs::canonicalize(&current).expect("a snapshot");

    write(&folder, "in.parquet", &all[1..], |key| if key == 500 { 1.5 } else { 1.0 });
    succeed(&run(&file, &[]));
    assert_eq!(manifest(&current)["counts"]["reused_fits"], 997);
    assert_eq!(manifest(&current)["fits_by_status"]["converged"], 999);
    let full = folder.path("full");
    let input = folder.path("in.parquet");
    let arguments = ["--by", "run", "--law", "y ~ a + b*x", "--bootstrap", "20", "--out", &full];
    succeed(&program(&[&["fit", &input], &arguments[..]].concat()));
    assert_same(&current, &full);

    // Old snapshots stay as long as is said.
    assert!(first.exists());
    succeed(&run(&file, &[]));
    assert_eq!(manifest(&current)["counts"]["reused_fits"], 999);
    assert_same(&current, &full);
    assert!(!first.exists());
    assert_eq!(snapshots(&folder).len(), 2);
}

/// Everything that a result follows from makes the fits anew, and what it does not follow from does not.
#[test]
fn what_a_fit_follows_from_is_fitted_again() {
    let folder = Folder::new();
    write(&folder, "in.parquet", &keys(4), |key| 1.0 + key as f64);
    let out = folder.path("out");
    let input = folder.path("in.parquet");
    let reused = |arguments: &[&str]| {
        let common = ["fit", &input, "--by", "run", "--out", &out, "--overwrite", "--incremental", "--quiet"];
        succeed(&program(&[&common[..], arguments].concat()));
        manifest(&out)["counts"]["reused_fits"].as_u64().expect("a number")
    };
    let line = ["--law", "y ~ a + b*x", "--bootstrap", "20"];
    assert_eq!(reused(&line), 0);
    assert_eq!(reused(&[&line[..], &["--threads", "1"]].concat()), 4);
    for other in [
        &["--law", "y ~ a + b*x", "--bootstrap", "21"][..],
        &["--law", "y ~ a + b*x where b > 0", "--bootstrap", "21"],
        &["--law", "y ~ a + b*x where b > 0", "--bootstrap", "21", "--seed", "1"],
        &["--law", "y ~ a + b*x where b > 0", "--bootstrap", "21", "--loss", "huber:0.1"],
        &["--law", "y ~ a + b*x where b > 0", "--bootstrap", "21", "--loss", "huber:0.1", "--weight", "x"],
        &[
            "--law",
            "y ~ a + b*x where b > 0",
            "--bootstrap",
            "21",
            "--loss",
            "huber:0.1",
            "--weight",
            "x",
            "--let",
            "y=y*2",
        ],
        &["--law", "y ~ a + b*x", "--bootstrap", "20", "--response", "y*2"],
        &["--law", "y ~ a + b*x", "--bootstrap", "20", "--confidence", "0.9"],
        &["--law", "y ~ a + b*x", "--bootstrap", "20", "--confidence", "0.9", "--residuals"],
    ] {
        assert_eq!(reused(other), 0, "{other:?}");
        // With residuals, which tell files and rows, nothing is copied.
        assert_eq!(reused(other), if other.contains(&"--residuals") { 0 } else { 4 }, "{other:?}");
    }
    // Another law beside it, whose order among the laws does not matter either.
    assert_eq!(reused(&line), 0);
    assert_eq!(reused(&[&["--law", "y ~ a*x"], &line[..]].concat()), 4);
    assert_eq!(
        reused(&[&line[..], &["--law", "y ~ a*x"]].concat()),
        4,
        "fits in another order are made again"
    );
}

/// What exceeds a limit is written and not published; the snapshot before stays the current one.
#[test]
fn what_is_beyond_a_limit_is_not_published() {
    let folder = Folder::new();
    write(&folder, "in.parquet", &keys(5), |_| 1.0);
    let file = job(&folder, "max_rejected = 0");
    succeed(&run(&file, &[]));
    let current = fs::canonicalize(folder.path("lake/current")).expect("a snapshot");
    write(&folder, "in.parquet", &keys(5), |key| if key == 2 { f64::NAN } else { 1.0 });
    let output = run(&file, &[]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("10 of 50 rows are rejected, and --max-rejected allows 0"), "{message}");
    assert_eq!(fs::canonicalize(folder.path("lake/current")).expect("a snapshot"), current);
    let aside = snapshots(&folder).into_iter().find(|path| path.to_string_lossy().ends_with("-unpublished"));
    assert_eq!(manifest(&aside.expect("tables").to_string_lossy())["counts"]["rejected_rows"], 10);

    // So does a difference that is forbidden, and a check ends the job before anything is fitted.
    write(&folder, "in.parquet", &keys(4), |_| 1.0);
    let text = fs::read_to_string(&file).expect("a file");
    fs::write(&file, format!("{text}[diff]\nfail_on = [\"gone\"]\n")).expect("a file");
    let output = run(&file, &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 gone, which --fail-on forbids"));
    let output = run(&file, &["--set", "check.min_sweeps=5"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("there are 4 sweeps, and --min-sweeps asks for 5")
    );
    assert_eq!(fs::canonicalize(folder.path("lake/current")).expect("a snapshot"), current);
    // An allowed change is published.
    succeed(&run(&file, &["--set", "diff.fail_on=[\"moved\"]"]));
    assert_ne!(fs::canonicalize(folder.path("lake/current")).expect("a snapshot"), current);
    assert!(snapshots(&folder).iter().all(|path| !path.to_string_lossy().ends_with("-unpublished")));
}

/// Steps after the fit answer from the snapshot before it is published, and their tables are part of it.
#[test]
fn answers_are_part_of_the_snapshot() {
    let folder = Folder::new();
    write(&folder, "in.parquet", &keys(3), |key| 1.0 + key as f64);
    let steps = "[[predict]]\nat = [\"x=20\"]\n[[predict]]\nat = [\"x=40\"]\nout = \"OTHER\"\n";
    let file = job(&folder, "");
    let text = fs::read_to_string(&file).expect("a file");
    let steps = steps.replace("OTHER", &folder.path("other.csv"));
    fs::write(&file, format!("{text}{steps}")).expect("a file");
    succeed(&run(&file, &[]));
    let predictions = Table::read(folder.path("lake/current/predictions.parquet").as_ref());
    // The lines are 2 + 3x, 4 + 6x and 6 + 9x, with noise of 0.2 at most.
    for (found, expected) in predictions.floats("prediction").iter().zip([62.0, 124.0, 186.0]) {
        assert!((found / expected - 1.0).abs() < 0.02, "{found}");
    }
    assert!(fs::read_to_string(folder.path("other.csv")).expect("a file").lines().count() == 4);
}

/// A run that is killed, or ended by a signal, is gone on with: the next one copies what was finished, has the same bits, and
/// leaves nothing behind.
#[test]
#[cfg(unix)]
fn a_killed_run_is_gone_on_with() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let folder = Folder::new();
    write(&folder, "in.parquet", &keys(30_000), |key| 1.0 + key as f64);
    let file = job(&folder, "");
    let undisturbed = folder.path("undisturbed");
    succeed(&run(&file, &["--set", &format!("publish={undisturbed:?}")]));
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let arguments = ["run", &file, "--log-format", "json"];
        let mut child =
            command(&arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("a run");
        let parts = folder.path("lake/snapshots/.sweepfit-parts-.unfinished");
        while !Path::new(&parts).exists() && child.try_wait().expect("a child").is_none() {
            sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("a signal");
        let status = child.wait().expect("a status");
        let is_ended = signal == Signal::SIGKILL && status.code().is_none() || status.code() == Some(143);
        assert!(is_ended, "{status}");
        assert!(!Path::new(&folder.path("lake/current")).exists());
    }
    succeed(&run(&file, &[]));
    // What the first run had finished is copied; the second had come no further when it was killed.
    let reused = manifest(&folder.path("lake/current"))["counts"]["reused_fits"].as_u64().expect("a number");
    assert!(reused > 0, "{reused}");
    assert_same(&folder.path("lake/current"), &format!("{undisturbed}/current"));
    let left: Vec<PathBuf> = snapshots(&folder)
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // A run that begins anew copies nothing.
    succeed(&run(&file, &["--fresh"]));
    assert_eq!(manifest(&folder.path("lake/current"))["counts"]["reused_fits"], 0);
}

#[test]
fn two_runs_of_one_job_do_not_meet() {
    let folder = Folder::new();
    write(&folder, "in.parquet", &keys(20_000), |_| 1.0);
    let file = job(&folder, "");
    let mut first = command(&["run", &file, "--quiet"]).stdout(Stdio::null()).spawn().expect("a run");
    while !Path::new(&folder.path("lake/snapshots/.unfinished")).exists() {
        sleep(Duration::from_millis(2));
    }
    let second = run(&file, &[]);
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{message}");
    assert!(message.contains(&format!("process {}", first.id())), "{message}");
    assert!(first.wait().expect("a status").success());
    succeed(&run(&file, &[]));
}

/// A command line and the job file that it prints give the same result.
#[test]
fn a_command_line_is_a_job_file() {
    let folder = Folder::new();
    write(&folder, "in.parquet", &keys(3), |key| 1.0 + key as f64);
    let (input, out) = (folder.path("in.parquet"), folder.path("out"));
    let line = [
        "fit",
        &input,
        "--by",
        "key=run",
        "--law",
        "z ~ a + b*x where b > 0",
        "--law",
        "z ~ -c + x^d",
        "--let",
        "z=y*2",
        "--where",
        "x < 9.5",
        "--bootstrap",
        "30",
        "--confidence",
        "0.9",
        "--keep-replicates",
        "--out",
        &out,
    ];
    succeed(&program(&line));
    let printed = program(&[&line[..], &["--print-job"]].concat());
    succeed(&printed);
    fs::rename(&out, folder.path("typed")).expect("renamed");
    fs::write(folder.path("job.toml"), &printed.stdout).expect("a file");
    succeed(&run(&folder.path("job.toml"), &[]));
    assert_same(&out, &folder.path("typed"));
    // Every key that is printed is in the schema.
    let schema = program(&["schema", "--job"]);
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    let job: toml::Table = String::from_utf8(printed.stdout).expect("UTF-8").parse().expect("TOML");
    for key in job["fit"].as_table().expect("a section").keys() {
        assert!(schema["properties"]["fit"]["properties"][key].is_object(), "{key}");
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    assert_eq!(schema["properties"]["fit"]["properties"]["bootstrap"]["type"], "integer");
}

#[test]
fn mistakes_in_a_job_file_are_told_before_anything_is_done() {
    let folder = Folder::new();
    write(&folder, "in.parquet", &keys(3), |_| 1.0);
    let file = job(&folder, "");
    for (assignment, expected) in [
        ("fit.bootstrp=1", "[fit] has no key `bootstrp`; did you mean `bootstrap`?"),
        ("fti.bootstrap=1", "there is no section or key `fti`; did you mean [fit]?"),
        ("fit.bootstrap=-1", "[fit] invalid value '-1' for '--bootstrap <B>'"),
        ("fit.residuals=3", "[fit] residuals: give true or false"),
        ("fit.seed=[1, 2]", "[fit] seed: give one value"),
        ("predict.at=[]", "[predict] the following required arguments were not provided"),
        ("fit.inputs=\"${SWEEPFIT_NO_SUCH_VARIABLE}\"", "SWEEPFIT_NO_SUCH_VARIABLE"),
    ] {
        let output = run(&file, &["--set", assignment]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{assignment}: {message}");
        assert!(message.contains(expected), "{assignment}: {message}");
    }
    assert!(!Path::new(&folder.path("lake")).exists());
}

/// The log is one JSON object a line; metrics and lineage say what the manifest says.
#[test]
fn machines_are_told_what_happens() {
    let folder = Folder::new();
    write(&folder, "in.parquet", &keys(7), |key| if key == 3 { f64::INFINITY } else { 1.0 });
    let file = job(&folder, "");
    let (metrics, lineage) = (folder.path("m.prom"), folder.path("l.json"));
    let output =
        program(&["run", &file, "--log-format", "json", "--metrics", &metrics, "--lineage", &lineage]);
    succeed(&output);
    let log = String::from_utf8(output.stderr).expect("UTF-8");
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().expect("a name")).collect();
    let mut expected = ["start", "plan", "segment", "published", "done"].iter();
    let mut next = expected.next();
    names.iter().for_each(|name| {
        if next == Some(name) {
            next = expected.next()
        }
    });
    assert_eq!(next, None, "{names:?}");
    for event in &events {
        assert!(event["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')) && event["level"].is_string());
    }
    assert_eq!(events.last().expect("an event")["counts"]["rejected_rows"], 10);

    let metrics = fs::read_to_string(metrics).expect("metrics");
    for line in [
        "sweepfit_exit_status 0",
        "sweepfit_sweeps 7",
        "sweepfit_fits{status=\"converged\"} 6",
        "sweepfit_rejected_rows 10",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    // Each metric is announced once with help and type, as the text format asks.
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        assert_eq!(metrics.matches(&format!("# TYPE {name} gauge\n")).count(), 1, "{name}");
    }
    let lineage = fs::read_to_string(lineage).expect("an event");
    let event: serde_json::Value = serde_json::from_str(&lineage).expect("JSON");
    assert_eq!((&event["eventType"], &event["job"]["name"]), (&"COMPLETE".into(), &"job".into()));
    assert_eq!(event["inputs"][0]["name"], folder.path("in.parquet"));
    assert_eq!(
        event["outputs"][0]["name"],
        fs::canonicalize(folder.path("lake")).expect("a path").display().to_string()
    );

    // A failure is an event too.
    fs::remove_file(folder.path("in.parquet")).expect("removed");
    let output = program(&["run", &file, "--log-format", "json"]);
    let log = String::from_utf8(output.stderr).expect("UTF-8");
    let last: serde_json::Value = serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["event"], &last["level"]), (&"failed".into(), &"error".into()));
}

/// The rows: two sweeps of four and two, of which one row repeats another, one has no number, and one is null.
#[test]
fn an_input_is_checked() {
    let folder = Folder::new();
    let x = std::sync::Arc::new(arrow::array::Float64Array::from(vec![
        Some(1.0),
        Some(2.0),
        Some(2.0),
        None,
        Some(-3.0),
        Some(f64::NAN),
    ]));
    let y = floats(&[1.0, 2.0, 2.0, 3.0, 1e9, 5.0]);
    folder.write("in.parquet", &[("run", strings(&["a", "a", "a", "a", "b", "b"])), ("x", x), ("y", y)]);
    let input = folder.path("in.parquet");
    let check =
        |arguments: &[&str]| program(&[&["check", &input, "--by", "run", "--quiet"], arguments].concat());
    let output = check(&[]);
    succeed(&output);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = text.lines().map(words).collect();
    assert!(lines.contains(&words("x -3 2 1 1")) && lines.contains(&words("y 1 1e9 0 0")), "{text}");
    for sentence in ["2 sweeps, of 6 rows read", "from 2 to 4", "1 row with another of their sweep equal"] {
        assert!(text.contains(sentence), "{sentence}\n{text}");
    }
    let law = ["--law", "y ~ a + b*x", "--bootstrap", "0"];
    let output = check(&[&law[..], &["--max-rejected", "1", "--max-duplicates", "0"]].concat());
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        text.contains("2 rows and 0 sweeps would be rejected") && text.contains("estimated time"),
        "{text}"
    );
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("2 of 6 rows are rejected") && message.contains("1 of 6 rows are duplicates"),
        "{message}"
    );
    assert_eq!(fs::read_dir(folder.path(".")).expect("a folder").count(), 1, "nothing is written");
}
