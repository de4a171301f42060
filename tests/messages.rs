//! What users read, held by snapshots: the help of every verb, errors, summaries.
//!
//! After a change that is meant, run the test with `INSTA_UPDATE=always` and review the difference of `tests/snapshots`.

mod common;

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::Date32Array;
use common::program::program;
use common::{Folder, five_rows, floats, strings};
use insta::assert_snapshot;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chinchilla_sweeps.parquet");

/// What the program says, with the folder's path replaced.
fn said(folder: &Folder, arguments: &[&str]) -> String {
    let output = program(arguments);
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
    let text = text.replace(folder.path("").trim_end_matches('/'), "DIR").replace(FIXTURE, "FIXTURE");
    format!("{text}(status {})\n", output.status.code().expect("a status"))
}

#[test]
fn help() {
    let folder = Folder::new();
    for verb in ["fit", "laws", "schema", "verify", "generate"] {
        assert_snapshot!(format!("help_{verb}"), said(&folder, &[verb, "--help"]));
    }
    assert_snapshot!("help", said(&folder, &["--help"]));
}

/// Every kind of refusal: of a file, a column, a law, a value.
#[test]
fn errors() {
    let folder = Folder::new();
    five_rows(&folder, ("day", Arc::new(Date32Array::from(vec![1; 5]))));
    folder.write("b/1.parquet", &[("x", floats(&[1.0])), ("y", floats(&[1.0]))]);
    folder.write("b/2.parquet", &[("x", strings(&["one"])), ("y", floats(&[1.0]))]);
    folder.write("c/1.parquet", &[("x", floats(&[1.0])), ("y", floats(&[1.0]))]);
    folder.write("c/2.parquet", &[("x", floats(&[1.0]))]);
    let whole = std::fs::read(folder.path("a.parquet")).expect("the file");
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path(name), bytes).expect("a file");
    write("empty.parquet", b"");
    write("text.parquet", b"x,y\n1.0,2.0\n3.0,4.0\n");
    write("cut.parquet", &whole[..whole.len() / 2]);
    write("laws.toml", b"[[law]]\nname = \"mine\"\nformula = \"y ~ a*\"\nvariables = [\"x\"]\n");
    std::fs::create_dir(folder.path("hollow")).expect("a directory");
    let earlier = folder.path("earlier");
    program(&[
        "fit",
        &folder.path("a.parquet"),
        "--law",
        "power",
        "--bootstrap",
        "0",
        "--quiet",
        "--out",
        &earlier,
    ]);

    let mut text = String::new();
    let mut on = |input: &str, arguments: &[&str]| {
        let (path, out) = (folder.path(input), folder.path("out"));
        let own = if arguments.contains(&"--out") { vec![] } else { vec!["--out", out.as_str()] };
        let all = [&["fit", path.as_str()], arguments, &own].concat();
        let shown = arguments.join(" ").replace(folder.path("").trim_end_matches('/'), "DIR");
        writeln!(text, "$ {input} {shown}\n{}", said(&folder, &all)).expect("a text");
    };
    for input in
        ["none.parquet", "no*.parquet", "hollow", "empty.parquet", "text.parquet", "cut.parquet", "b", "c"]
    {
        on(input, &["--law", "power"]);
    }
    for law in [
        "pwoer",
        "y ~ a*",
        "y ~ a*X",
        "y ~ x",
        "y ~ token*a",
        "y ~ a + b*day",
        "y ~ a + b*name",
        "day ~ a + b*x",
        "y ~ a*day",
    ] {
        on("a.parquet", &["--law", law]);
    }
    on("a.parquet", &["--law", "chinchilla"]);
    on("a.parquet", &["--law", "power", "--law", "power"]);
    on("a.parquet", &["--law", "mine", "--laws", &folder.path("laws.toml")]);
    on("a.parquet", &["--law", "y ~ a*x*weight", "--let", "weight=x", "--residuals"]);
    on("a.parquet", &["--law", "power", "--out", &earlier]);
    on("a.parquet", &["--law", "power", "--out", &folder.path("")]);
    for option in [
        &["--by", "nmae"][..],
        &["--by", "law"],
        &["--by", "law=name,a=b=c"],
        &["--by", "x=name", "--residuals"],
        &["--by", "name,name"],
        &["--weight", "day"],
        &["--weight", "nope"],
        &["--sigma", "day"],
        &["--response", "nope"],
        &["--resample", "cluster:nope"],
        &["--resample", "clusters"],
        &["--let", "z=nope + 1"],
        &["--let", "z"],
        &["--let", "pi=3"],
        &["--where", "nope > 1"],
        &["--where", "x + 1"],
        &["--where", "x >"],
        &["--fix", "q=1"],
        &["--fix", "b=-1"],
        &["--fix", "b=one"],
        &["--fix", "b=1", "--fix", "b=2"],
        &["--start", "q=1"],
        &["--confidence", "1"],
        &["--loss", "huber"],
        &["--starts", "0"],
    ] {
        on("a.parquet", &[&["--law", "power"], option].concat());
    }
    assert_snapshot!("errors", text);
}

#[test]
fn summaries() {
    let folder = Folder::new();
    let out = folder.path("out");
    let fit = ["fit", FIXTURE, "--by", "sweep", "--law", "chinchilla", "--bootstrap", "0", "--quiet"];
    let (one, out) = (["--where", "sweep = 'sweep-00003'"], ["--out", out.as_str()]);
    let two_laws = ["--law", "loss ~ E + A/N^alpha where E > 0, A > 0"];
    assert_snapshot!("summary", said(&folder, &[&fit[..], &out].concat()));
    assert_snapshot!(
        "summary_of_one_sweep",
        said(&folder, &[&fit[..], &one, &out, &["--overwrite"]].concat())
    );
    assert_snapshot!(
        "summary_of_two_laws",
        said(&folder, &[&fit[..], &two_laws, &out, &["--overwrite"]].concat())
    );
    assert_snapshot!("summary_of_a_dry_run", said(&folder, &[&fit[..], &["--dry-run"]].concat()));
    assert_snapshot!("laws_chinchilla", said(&folder, &["laws", "chinchilla"]));
    assert_snapshot!("schema", said(&folder, &["schema"]));
}
