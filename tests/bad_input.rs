//! What the program refuses, and what it leaves behind when it is stopped.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array};
use common::program::{Outcome, assert_close, command, fit, program};
use common::{Folder, five_rows, floats, strings};
use parquet::file::reader::{FileReader, SerializedFileReader};

/// Returns the path of five good rows with a column of weights.
fn table(folder: &Folder) -> String {
    five_rows(folder, ("weight", floats(&[1.0; 5])))
}

/// The message of a run that must end with status 2 and leave no output directory.
#[track_caller]
fn refusal(folder: &Folder, arguments: &[&str]) -> String {
    let out = folder.path("out");
    let output = program(&[&["fit", "--out", &out], arguments].concat());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(!Path::new(&out).exists(), "{arguments:?} left a directory");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    message
}

#[track_caller]
fn refused(folder: &Folder, arguments: &[&str], mentions: &[&str]) {
    let message = refusal(folder, arguments);
    for word in mentions {
        assert!(message.contains(word), "{arguments:?}: no `{word}` in: {message}");
    }
}

#[test]
fn columns_that_are_not_there() {
    let folder = Folder::new();
    let a = table(&folder);
    let power = [a.as_str(), "--law", "power"];
    let with = |more: &[&'static str]| -> Vec<&str> { [&power[..], more].concat() };
    for (arguments, mentions) in [
        (vec!["--by", "nope"], vec!["--by", "nope"]),
        (vec!["--weight", "nope"], vec!["--weight", "nope"]),
        (vec!["--sigma", "nope"], vec!["--sigma", "nope"]),
        (vec!["--response", "nope"], vec!["--response", "nope"]),
        (vec!["--resample", "cluster:nope"], vec!["nope"]),
        (vec!["--let", "z=nope + 1"], vec!["--let z", "nope"]),
        (vec!["--where", "nope > 1"], vec!["--where", "nope"]),
    ] {
        refused(&folder, &with(&arguments), &mentions);
    }
    // A catalogue law's own names bind to nothing else.
    refused(&folder, &[&a, "--law", "chinchilla"], &["chinchilla", "loss"]);
    refused(&folder, &[&a, "--law", "chinchilla", "--response", "y"], &["chinchilla", "`N`"]);
}

/// The unknown of an equation may be called as the response is, and as no other column.
#[test]
fn an_unknown_is_no_column() {
    let folder = Folder::new();
    let a = table(&folder);
    let law = "y ~ solve(tokens, 0, 9, tokens + a*x = b)";
    refused(&folder, &[&a, "--law", law], &["`tokens` is the unknown of `solve`", "another name"]);
    refused(&folder, &[&a, "--law", "y ~ solve(y, 0, a*y, y = b*x)"], &["`y` is the unknown"]);
    let outcome = fit(
        &a,
        &folder.path("out"),
        &[
            "--law",
            "y ~ solve(y, -99, 99, y + a*z^2 = b)",
            "--let",
            "z=solve(t, 0, 9, t^2 = x)",
            "--bootstrap",
            "0",
        ],
    );
    // The straight line through the five points.
    assert_close("slope", outcome.estimate("a"), 0.46, 1e-9);
    assert_close("intercept", outcome.estimate("b"), 5.14, 1e-9);
}

/// With one input there are no others that could have the column.
#[test]
fn a_missing_cluster_column_is_named_as_such() {
    let folder = Folder::new();
    let a = table(&folder);
    let message = refusal(&folder, &[&a, "--law", "power", "--resample", "cluster:nope"]);
    assert!(message.contains("--resample"), "{message}");
    assert!(!message.contains("other inputs"), "{message}");
}

#[test]
fn columns_of_the_wrong_type() {
    let folder = Folder::new();
    let a = table(&folder);
    refused(&folder, &[&a, "--law", "y ~ a + b*name"], &["name", "text"]);
    refused(&folder, &[&a, "--law", "name ~ a + b*x"], &["name", "text"]);
    refused(&folder, &[&a, "--law", "power", "--weight", "name"], &["name", "text"]);
    refused(&folder, &[&a, "--law", "power", "--where", "name > 1"], &["--where"]);
    refused(&folder, &[&a, "--law", "power", "--where", "x + 1"], &["--where"]);
    refused(&folder, &[&a, "--law", "power", "--let", "z=nmae + 1"], &["--let z", "`name`"]);

    folder.write("b/1.parquet", &[("x", floats(&[1.0])), ("y", floats(&[1.0]))]);
    folder.write("b/2.parquet", &[("x", strings(&["one"])), ("y", floats(&[1.0]))]);
    let message = refusal(&folder, &[&folder.path("b"), "--law", "power"]);
    assert!(message.contains('x') && message.contains(".parquet"), "{message}");
    folder.write("c/1.parquet", &[("x", floats(&[1.0])), ("y", floats(&[1.0]))]);
    folder.write("c/2.parquet", &[("x", floats(&[1.0]))]);
    refused(&folder, &[&folder.path("c"), "--law", "power"], &["2.parquet", "`y`"]);
}

#[test]
fn names_of_output_columns() {
    let folder = Folder::new();
    let a = table(&folder);
    refused(&folder, &[&a, "--law", "power", "--by", "law"], &["--by", "law"]);
    refused(&folder, &[&a, "--law", "y ~ a*weight", "--residuals"], &["--residuals", "weight"]);
}

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new();
    let a = table(&folder);
    let whole = fs::read(&a).expect("the file");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.path(name), bytes).expect("a file");
        folder.path(name)
    };
    let end = whole.len();
    let mut bent = whole.clone();
    // The footer's length, which stands before the last four bytes.
    bent[end - 8..end - 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
    for (name, bytes) in [
        ("empty.parquet", &[][..]),
        ("text.parquet", b"x,y\n1,2\n".as_slice()),
        ("magic.parquet", b"PAR1PAR1".as_slice()),
        ("cut.parquet", &whole[..end / 2]),
        ("headless.parquet", &whole[1..]),
        ("bent.parquet", &bent),
    ] {
        let path = write(name, bytes);
        refused(&folder, &[&path, "--law", "power"], &[name]);
        // One bad file among good ones is named too.
        refused(&folder, &[&a, &path, "--law", "power"], &[name]);
    }
    let missing = folder.path("nope.parquet");
    refused(&folder, &[&missing, "--law", "power"], &["nope.parquet"]);
    refused(&folder, &[&folder.path("no*.parquet"), "--law", "power"], &["no*.parquet"]);
    fs::create_dir(folder.path("hollow")).expect("a directory");
    refused(&folder, &[&folder.path("hollow"), "--law", "power"], &["hollow"]);
    refused(&folder, &["--law", "power"], &["INPUT"]);
}

/// Bytes bent anywhere end in a message or in a result, never in a crash.
#[test]
fn damaged_pages() {
    let folder = Folder::new();
    let whole = fs::read(table(&folder)).expect("the file");
    for place in (4..whole.len()).step_by(whole.len() / 60) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x5a;
        let path = folder.path("bent.parquet");
        fs::write(&path, bytes).expect("a file");
        let out = folder.path("out");
        let output = program(&[
            "fit",
            &path,
            "--out",
            &out,
            "--overwrite",
            "--law",
            "y ~ a + b*x",
            "--bootstrap",
            "2",
        ]);
        let code = output.status.code();
        assert!(matches!(code, Some(0..=2)), "byte {place}: {code:?}");
    }
}

#[test]
fn laws_that_do_not_parse() {
    let folder = Folder::new();
    let a = table(&folder);
    for (law, mentions) in [
        ("y ~ a + b*x +", vec!["^", "--law"]),
        ("y ~ a + b*(x", vec!["^"]),
        ("y ~ a b x", vec!["^"]),
        ("y ~ a + b*foo(x)", vec!["foo", "^"]),
        ("~ a*x", vec!["^"]),
        ("y ~", vec!["^"]),
        ("y ~ a*x where a in [2, 1]", vec!["^"]),
        ("y ~ a*x where q > 0", vec!["`q`"]),
        ("y ~ a*x where a", vec!["^"]),
        ("y ~ a*x ~ b", vec!["^"]),
        // No variable; no parameter; a response of no column.
        ("y ~ a", vec!["column"]),
        ("y ~ x", vec!["parameter"]),
        ("log(3) ~ a*x", vec!["log(3)"]),
        // A slip of one letter is not a parameter.
        ("y ~ a + b*x + c*tokns", vec!["tokns", "tokens"]),
        ("y ~ a + b*x + c*token", vec!["token", "tokens"]),
        ("chinchila", vec!["chinchilla"]),
        ("", vec!["--law"]),
    ] {
        refused(&folder, &[&a, "--law", law], &mentions);
    }
    let twice = [a.as_str(), "--law", "power", "--law", "power"];
    refused(&folder, &twice, &["power", "twice"]);
    // Deep nesting is refused or fitted, not a crash of the stack.
    let deep = format!("y ~ a*{}x{}", "(".repeat(20_000), ")".repeat(20_000));
    let output = program(&["fit", &a, "--dry-run", "--law", &deep]);
    assert!(matches!(output.status.code(), Some(0 | 2)), "{:?}", output.status);
}

#[test]
fn flags_that_make_no_sense() {
    let folder = Folder::new();
    let a = table(&folder);
    for (flags, mention) in [
        (vec!["--fix", "q=1"], "q"),
        (vec!["--fix", "b=-1"], "b"),
        (vec!["--fix", "b=one"], "one"),
        (vec!["--fix", "b=nan"], "--fix"),
        (vec!["--fix", "b=1", "--fix", "b=2"], "twice"),
        (vec!["--start", "q=1"], "q"),
        (vec!["--start", "c"], "--start"),
        (vec!["--starts", "0"], "--starts"),
        (vec!["--bootstrap=-3"], "--bootstrap"),
        (vec!["--confidence", "1"], "--confidence"),
        (vec!["--confidence", "nan"], "--confidence"),
        (vec!["--seed=-1"], "--seed"),
        (vec!["--threads", "0"], "--threads"),
        (vec!["--loss", "huber"], "--loss"),
        (vec!["--loss", "huber:-1"], "--loss"),
        (vec!["--loss", "huber:nan"], "--loss"),
        (vec!["--loss", "l3"], "--loss"),
        (vec!["--residual", "sqrt"], "--residual"),
        (vec!["--resample", "clusters"], "--resample"),
        (vec!["--absolute-sigma"], "--sigma"),
        (vec!["--where", "x >"], "--where"),
        (vec!["--let", "z"], "--let"),
        (vec!["--let", "z="], "--let"),
        (vec!["--no-such-flag"], "--no-such-flag"),
    ] {
        refused(&folder, &[&[a.as_str(), "--law", "power"], &flags[..]].concat(), &[mention]);
    }
    refused(&folder, &[&a], &["--law"]);
    let output = program(&["fit", &a, "--law", "power"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--out"));
}

#[test]
fn catalogues_that_are_not() {
    let folder = Folder::new();
    let a = table(&folder);
    for (name, text) in [
        ("syntax.toml", "[[law]\nname="),
        ("formula.toml", "[[law]]\nname = \"q\"\nformula = \"y ~ a*(x\"\nvariables = [\"x\"]"),
        ("taken.toml", "[[law]]\nname = \"power\"\nformula = \"y ~ a*x\"\nvariables = [\"x\"]"),
        ("variable.toml", "[[law]]\nname = \"q\"\nformula = \"y ~ a*x\"\nvariables = [\"z\"]"),
    ] {
        let path = folder.path(name);
        fs::write(&path, text).expect("a file");
        refused(&folder, &[&a, "--laws", &path, "--law", "power"], &[name]);
    }
    let path = folder.path("nope.toml");
    refused(&folder, &[&a, "--laws", &path, "--law", "power"], &["nope.toml"]);
}

/// Integers, decimals and small floats are numbers; a null in a column that no law uses is nobody's business.
#[test]
fn numbers_of_all_kinds() {
    let folder = Folder::new();
    let decimal = arrow::array::Decimal128Array::from(vec![150, 250, 350, 450])
        .with_precision_and_scale(10, 2)
        .expect("a decimal");
    folder.write(
        "a.parquet",
        &[
            ("x", Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as ArrayRef),
            ("y", Arc::new(decimal)),
            ("other", Arc::new(Int64Array::from(vec![None, Some(1), None, None]))),
        ],
    );
    let outcome =
        fit(&folder.path("a.parquet"), &folder.path("out"), &["--law", "y ~ a + b*x", "--bootstrap", "0"]);
    assert_eq!(outcome.rejected.rows(), 0);
    assert_close("b", outcome.estimate("b"), 1.0, 1e-12);
    assert_close("a", outcome.estimate("a"), 0.5, 1e-12);
}

/// No usable row at all is a rejected sweep of a run that completes.
#[test]
fn nothing_to_fit() {
    let folder = Folder::new();
    folder.write("none.parquet", &[("x", floats(&[])), ("y", floats(&[]))]);
    folder.write("bad.parquet", &[("x", floats(&[f64::NAN])), ("y", floats(&[1.0]))]);
    for name in ["none", "bad"] {
        let arguments = ["--law", "y ~ a + b*x", "--allow-empty"];
        let outcome = fit(&folder.path(&format!("{name}.parquet")), &folder.path(name), &arguments);
        assert_eq!((outcome.fits.rows(), outcome.coefficients.rows()), (0, 0));
        assert_eq!(outcome.rejected.nulls("row").last(), Some(&true), "{name}");
    }
}

/// The names and sizes of everything under a directory.
fn listing(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap_or_default())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn earlier_results() {
    let folder = Folder::new();
    let a = table(&folder);
    let out = folder.path("out");
    let law = "y ~ a + b*x";
    let first = ["--law", law, "--bootstrap", "5", "--residuals", "--keep-replicates"];
    fit(&a, &out, &first);
    fs::write(Path::new(&out).join("notes.txt"), "mine").expect("a file");
    let before = listing(Path::new(&out));
    assert_eq!(before.len(), 7);

    let again = ["fit", &a, "--out", &out, "--law", "power", "--bootstrap", "0"];
    let refused = program(&again);
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("--overwrite") && message.contains(&out), "{message}");
    assert_eq!(before, listing(Path::new(&out)));

    // A refusal leaves the earlier result even where it may be replaced.
    let wrong = program(&["fit", &a, "--out", &out, "--overwrite", "--law", "nope"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert_eq!(before, listing(Path::new(&out)));

    let replaced = program(&[&again[..], &["--overwrite"]].concat());
    assert!(replaced.status.success());
    let outcome = Outcome::of(&out);
    assert_eq!(outcome.fits.texts("law"), ["power"]);
    assert!(outcome.residuals.is_none() && outcome.replicates.is_none());
    let names: Vec<String> = listing(Path::new(&out)).into_iter().map(|(n, _)| n).collect();
    assert_eq!(
        names,
        ["coefficients.parquet", "fits.parquet", "manifest.json", "notes.txt", "rejected.parquet",]
    );
}

#[test]
fn output_directories() {
    let folder = Folder::new();
    let a = table(&folder);
    let law = ["--law", "y ~ a + b*x", "--bootstrap", "0"];
    // Made with its parents; one that is there and holds something else is fine.
    fit(&a, &folder.path("deep/er/out"), &law);
    fs::create_dir(folder.path("used")).expect("a directory");
    fs::write(folder.path("used/notes.txt"), "mine").expect("a file");
    fit(&a, &folder.path("used"), &law);
    assert_eq!(fs::read_to_string(folder.path("used/notes.txt")).expect("notes"), "mine");

    // A table without a manifest is an earlier result too.
    fs::create_dir(folder.path("half")).expect("a directory");
    fs::write(folder.path("half/fits.parquet"), "x").expect("a file");
    let half = folder.path("half");
    let output = program(&[&["fit", &a, "--out", &half], &law[..]].concat());
    assert_eq!(output.status.code(), Some(2));

    // A file in the way is not touched, with or without --overwrite.
    fs::write(folder.path("file"), "mine").expect("a file");
    for out in [folder.path("file"), folder.path("file/below")] {
        for more in [&[][..], &["--overwrite"]] {
            let output = program(&[&["fit", &a, "--out", &out], &law[..], more].concat());
            assert_eq!(output.status.code(), Some(2), "{out}");
        }
    }
    assert_eq!(fs::read_to_string(folder.path("file")).expect("the file"), "mine");
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = Folder::new();
    folder.write(
        "a.parquet",
        &[
            ("run", strings(&["p", "p", "q", "q"])),
            ("x", floats(&[1.0, 2.0, 3.0, f64::NAN])),
            ("y", floats(&[1.0; 4])),
        ],
    );
    let (a, out) = (folder.path("a.parquet"), folder.path("out"));
    let arguments = ["fit", a.as_str(), "--by", "run", "--law", "y ~ a + b*x", "--dry-run", "--quiet"];
    for more in [&[][..], &["--out", &out]] {
        let output = program(&[&arguments[..], more].concat());
        assert!(output.status.success());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("2 sweeps") && said.contains("1 rejected"), "{said}");
        assert!(output.stderr.is_empty());
        assert!(!Path::new(&out).exists());
    }
    let wrong = program(&["fit", &a, "--law", "y ~ a + b*q", "--by", "nope", "--dry-run"]);
    assert_eq!(wrong.status.code(), Some(2));
}

/// Sends what Ctrl-C sends once the run is under way, and waits for its end.
#[cfg(unix)]
fn interrupt(arguments: &[&str], staged: &Path) -> Option<i32> {
    let mut child = command(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    // The output directory is made when the input is read, just before fitting starts.
    let begun = Instant::now();
    while !staged.exists() && begun.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_millis(300));
    let running = child.try_wait().expect("a state").is_none();
    assert!(running, "the run ended before it could be interrupted");
    let sent = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill can be run");
    assert!(sent.success());
    let signalled = Instant::now();
    let output = child.wait_with_output().expect("the run ends");
    let waited = signalled.elapsed();
    assert!(waited < Duration::from_secs(10), "it took {waited:?} to stop");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    output.status.code()
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing_behind() {
    let folder = Folder::new();
    let x: Vec<f64> = (1..=200).map(|i| f64::from(i) * 7.0).collect();
    let y: Vec<f64> = x
        .iter()
        .enumerate()
        .map(|(i, x)| 1.0 + 9.0 * x.powf(-0.3) * (1.0 + 0.01 * ((i * 37 % 11) as f64 - 5.0)))
        .collect();
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let (a, out) = (folder.path("a.parquet"), folder.path("out"));
    // Far more than can be done before the signal comes.
    let endless =
        ["fit", &a, "--out", &out, "--law", "power-offset", "--bootstrap", "5000000", "--threads", "1"];
    let path = Path::new(&out);
    assert_eq!(interrupt(&endless, path), Some(130));
    assert!(!path.exists(), "{:?}", listing(path));

    // In a directory with an earlier result that result stays, whole.
    fit(&a, &out, &["--law", "power", "--bootstrap", "0"]);
    let before = listing(path);
    assert_eq!(interrupt(&[&endless[..], &["--overwrite"]].concat(), path), Some(130));
    assert_eq!(before, listing(path));
}

/// Progress is for standard error, in plain lines where that is no terminal; --quiet silences it.
#[test]
fn what_goes_where() {
    let folder = Folder::new();
    let a = table(&folder);
    let run = |out: &str, more: &[&str]| {
        let out = folder.path(out);
        let law = ["fit", &a, "--out", &out, "--law", "y ~ a + b*x"];
        program(&[&law[..], more].concat())
    };
    let quiet = run("quiet", &["--quiet"]);
    assert!(quiet.status.success() && quiet.stderr.is_empty());
    let summary = String::from_utf8(quiet.stdout).expect("text");
    for word in ["y ~ a + b*x", "converged", "linear", "l2", "estimate"] {
        assert!(summary.contains(word), "{summary}");
    }
    let loud = run("loud", &[]);
    assert!(!String::from_utf8_lossy(&loud.stderr).contains('\u{1b}'));
    assert!(!String::from_utf8_lossy(&loud.stdout).contains('\u{1b}'));
}

/// Numbers that cannot be decoded, found while the sweeps before them were fitted.
#[test]
fn damage_that_is_found_midway() {
    let folder = Folder::new();
    let n = 400_000;
    let keys: Vec<f64> = (0..n).map(|i| f64::from(i / 4000)).collect();
    let x: Vec<f64> = (0..n).map(|i| 1.0 + f64::from(i % 7)).collect();
    folder.write_in_groups(
        "a.parquet",
        &[("k", floats(&keys)), ("x", floats(&x)), ("y", floats(&x))],
        1 << 14,
    );
    let path = folder.path("a.parquet");
    let out = folder.path("out");
    let arguments =
        ["fit", &path, "--by", "k", "--law", "y ~ a*x where a > 0", "--bootstrap", "0", "--out", &out];
    let whole = program(&[&arguments[..], &["--dry-run"]].concat());
    assert!(whole.status.success());
    let reader = SerializedFileReader::new(fs::File::open(&path).expect("a file")).expect("Parquet");
    let last = reader.metadata().row_groups().last().expect("row groups").column(2).data_page_offset();
    let mut bytes = fs::read(&path).expect("bytes");
    bytes[last as usize..last as usize + 16].fill(0xFF);
    fs::write(&path, bytes).expect("a file");
    let output = program(&arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("a.parquet: the file is damaged"), "{message}");
    assert!(message.contains("nothing was written"), "{message}");
    assert!(!Path::new(&out).exists(), "a directory is left");
}

/// More rows than there is memory for, and more than a number holds.
#[test]
fn generate_refuses_more_rows_than_it_can_hold() {
    let folder = Folder::new();
    let out = folder.path("g.parquet");
    for (sweeps, points) in [("1", "18446744073709551615"), ("4294967296", "4294967296"), ("1000000", "1000")]
    {
        let output = program(&[
            "generate",
            "--law",
            "power",
            "--parameters",
            "b=1,c=0.3",
            "--range",
            "x=1:10",
            "--sweeps",
            sweeps,
            "--points",
            points,
            "--out",
            &out,
        ]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{sweeps} {points}: {message}");
        for word in ["--sweeps", "--points", "100000000 rows"] {
            assert!(message.contains(word), "no `{word}` in: {message}");
        }
        assert!(!Path::new(&out).exists());
    }
}
