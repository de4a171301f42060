//! What users read, held by snapshots: the help of every verb, errors, summaries.
//!
//! After a change that is meant, run the test with `INSTA_UPDATE=always` and review the difference of `tests/snapshots`.

mod common;

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::Date32Array;
use common::program::{command, program};
use common::{Folder, five_rows, floats, strings};
use insta::assert_snapshot;
use sweepfit::formula::reference;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chinchilla_sweeps.parquet");

/// What the program says, with the folder's path replaced.
fn said(folder: &Folder, arguments: &[&str]) -> String {
    said_in(folder, None, arguments)
}

/// What the program says on a terminal of so many columns.
fn said_in(folder: &Folder, width: Option<&str>, arguments: &[&str]) -> String {
    let mut command = command(arguments);
    match width {
        Some(width) => command.env("COLUMNS", width),
        None => command.env_remove("COLUMNS"),
    };
    let output = command.output().expect("the program can be started");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
    let text = text.replace(folder.path("").trim_end_matches('/'), "DIR").replace(FIXTURE, "FIXTURE");
    format!("{text}(status {})\n", output.status.code().expect("a status"))
}

#[test]
fn help() {
    let folder = Folder::new();
    let asking = ["predict", "frontier", "isoflop", "envelope", "coverage", "show", "diff", "run", "check"];
    let others = ["fit", "laws", "schema", "verify", "generate", "completions", "man", "help"];
    for verb in asking.into_iter().chain(others) {
        assert_snapshot!(format!("help_{verb}"), said(&folder, &[verb, "--help"]));
    }
    assert_snapshot!("help", said(&folder, &["--help"]));
    assert_eq!(said(&folder, &["help"]), said(&folder, &["--help"]));
    assert_eq!(said(&folder, &["help", "fit"]), said(&folder, &["fit", "--help"]));
    assert_snapshot!("help_of_an_unknown_topic", said(&folder, &["help", "formulas"]));
}

/// The reference of the language has every function that formulas are compiled with, and its lines fit a terminal.
#[test]
fn help_on_formulas() {
    let folder = Folder::new();
    let text = said(&folder, &["help", "formula"]);
    for entry in reference() {
        assert!(text.contains(&format!("\n {}(", entry.name)), "{}", entry.name);
    }
    assert!(text.contains("\n solve("));
    assert_snapshot!("help_formula", text);
    let narrow = said_in(&folder, Some("60"), &["help", "formula"]);
    let examples = &narrow[narrow.find("LAWS").expect("examples of laws")..];
    assert!(examples.lines().all(|line| line.chars().count() <= 60), "{examples}");
}

/// Completions and manual pages name the flags of the commands.
#[test]
fn completions_and_manual_pages() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&folder, &["completions", shell]);
        for word in ["sweepfit", "bootstrap", "absolute-sigma", "generate"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // Names of laws are offered by the shells for which clap's generator offers values; formulas are not refused.
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&folder, &["completions", shell]);
        assert!(script.matches("chinchilla-tied").count() >= 2, "{shell}");
    }
    let input = five_rows(&folder, ("other", floats(&[1.0; 5])));
    assert!(said(&folder, &["fit", &input, "--law", "y ~ a*x", "--dry-run", "-q"]).ends_with("(status 0)\n"));
    assert_snapshot!("man", said(&folder, &["man"]).replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    let fit = said(&folder, &["man", "fit"]);
    for flag in ["\\-o", "\\-\\-law", "\\-\\-absolute\\-sigma", "\\-j"] {
        assert!(fit.contains(&format!("\\fB{flag}\\fR")), "{flag}: {fit}");
    }
    assert_snapshot!("man_of_an_unknown_command", said(&folder, &["man", "fti"]));
}

/// What a terminal would obey is escaped, wherever it comes from: columns, keys, paths, arguments, laws. Letters stay.
#[test]
fn control_characters_do_not_reach_the_terminal() {
    const HOSTILE: &str = "x\u{1b}[31mRED\u{1b}]0;owned\u{7}\r\nfake: ok\u{202e}\u{9b}2J";
    let folder = Folder::new();
    let columns = [
        (HOSTILE, floats(&[1.0, 2.0, 3.0, 1.0, 2.0, 3.0])),
        ("größe", floats(&[1.0, 2.0, 3.0, 1.0, 2.0, 3.0])),
        ("y", floats(&[1.0, 2.1, 2.9, 1.0, 2.0, -4.0])),
        (
            "key\u{1b}[2J",
            strings(&["a\nb\u{1b}[0m", "a\nb\u{1b}[0m", "a\nb\u{1b}[0m", "損失", "損失", "損失"]),
        ),
    ];
    folder.write("a.parquet", &columns);
    folder.write("b\u{1b}[31m.parquet", &columns);
    let (input, hostile_path) = (folder.path("a.parquet"), folder.path("b\u{1b}[31m.parquet"));
    let (out, bold_out) = (folder.path("out"), folder.path("out\u{1b}[1m"));
    let fit = |more: &[&str]| said(&folder, &[&["fit", input.as_str()], more].concat());
    let by = "key\u{1b}[2J";
    let law = format!("y ~ a + b*größe + 0*{}", format!("\"{HOSTILE}\"").replace('\r', " "));
    let texts = [
        ("a column in a message", fit(&["--law", "y ~ a + b*zzz", "--dry-run"])),
        ("a column in a report", fit(&["--law", "y ~ a + b*größe", "--let", "z=größ", "--dry-run"])),
        ("a missing key", fit(&["--law", "y ~ a + b*größe", "--by", "keys\u{1b}[2J", "--dry-run"])),
        ("a formula", fit(&["--law", "y ~ a + \u{1b}[31m", "--dry-run"])),
        ("an unknown column of a formula", fit(&["--law", &law, "--dry-run"])),
        ("an argument", fit(&["--law", "power", "--loss", "hu\u{1b}[31m", "--dry-run"])),
        ("a path", said(&folder, &["fit", &folder.path("c\u{1b}[31m"), "--law", "power", "--dry-run"])),
        (
            "keys, parameters and paths of a summary",
            fit(&[
                "--law",
                "y ~ größe^c",
                "--residual",
                "log",
                "--by",
                by,
                "--bootstrap",
                "0",
                "-q",
                "-o",
                &bold_out,
            ]),
        ),
        (
            "a path that is read",
            said(&folder, &["fit", &hostile_path, "--law", "y ~ a*größe^c", "--bootstrap", "0", "-o", &out]),
        ),
        ("a law of the catalogue", said(&folder, &["laws", "power\u{1b}[31m"])),
    ];
    let mut all = String::new();
    for (what, text) in &texts {
        let obeyed = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(obeyed), "{what}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("fake")), "{what}: {text}");
        writeln!(all, "# {what}\n{text}").expect("a text");
    }
    assert_snapshot!("control_characters", all);
}

/// Names that mean something else than was probably meant: refused, or noted while the run goes on.
#[test]
fn doubtful_names() {
    let folder = Folder::new();
    let numbers = || floats(&[1.0, 2.0, 3.0, 4.0]);
    folder.write(
        "a.parquet",
        &[("N", numbers()), ("D", numbers()), ("PARAMS", numbers()), ("loss", numbers())],
    );
    let input = folder.path("a.parquet");
    let mut text = String::new();
    for arguments in [
        // Refused: three letters or more, in another case or one edit away.
        &["--law", "loss ~ E + A/params^alpha"][..],
        &["--law", "loss ~ E + A/N^alpha + B*PARAM"],
        // Refused: no variable is left.
        &["--law", "loss ~ E + A/n^alpha"],
        &["--law", "loss ~ E + A/N^alpha where N > 0"],
        // Refused: nothing in the law has the name.
        &["--law", "loss ~ E + A/N^alpha where D > 0"],
        &["--law", "loss ~ E + A*np.exp(-k*N)"],
        // Refused: a name in double quotes is a column.
        &["--law", "loss ~ E + A/N^alpha + B*\"PARAM\""],
        &["--law", "loss ~ E + A/N^alpha + B*\"d\""],
        &["--law", "loss ~ E + A/N^alpha + B*\"eval/c4\""],
        // Noted.
        &["--law", "loss ~ E + A/N^alpha + B/d^beta"],
        &["--law", "loss ~ E + A/N^alpha + B/D^beta where D > 0"],
        &["--law", "loss ~ E + A/S^alpha with S = N, R = S^2"],
        &["--law", "loss ~ E + A/N^alpha", "--let", "S=D", "--let", "T=2*S"],
        // Not noted: the law reads the column, the domain says what the name is, the definition is used.
        &["--law", "loss ~ A/N^a + B/D^d"],
        &["--law", "loss ~ e + a/N + b/N^2 + c*N + p1*exp(-k*N)"],
        &["--law", "loss ~ A/N^a + d where d > 0"],
        &["--law", "loss ~ A/N^a", "--let", "S=D", "--let", "T=2*S", "--where", "T > 0"],
        &["--law", "loss ~ A/N^a", "--let", "S=D", "--let", "W=1/S", "--weight", "W"],
    ] {
        let all = [&["fit", input.as_str(), "--dry-run", "--quiet"], arguments].concat();
        writeln!(text, "$ {}\n{}", arguments.join(" "), said(&folder, &all)).expect("a text");
    }
    assert_snapshot!("doubtful_names", text);
}

/// What a user should know although the run goes on: that no key is given where columns of text may tell sweeps apart, and
/// that the output directory holds other files.
#[test]
fn notes() {
    let folder = Folder::new();
    let numbers = || floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let texts = || strings(&["a", "a", "a", "b", "b", "b"]);
    folder.write(
        "a.parquet",
        &[("run", texts()), ("model family", texts()), ("x", numbers()), ("y", numbers())],
    );
    folder.write("b.parquet", &[("x", numbers()), ("y", numbers())]);
    let out = folder.path("out");
    std::fs::create_dir_all(folder.path("out/plots")).expect("a directory");
    let law = ["--law", "y ~ a + b*x", "--bootstrap", "0"];
    let mut text = String::new();
    for (input, more) in [
        ("a.parquet", &["--dry-run"][..]),
        ("a.parquet", &["--out", &out]),
        ("a.parquet", &["--out", &out, "--overwrite", "--by", "run"]),
        (
            "a.parquet",
            &["--dry-run", "--let", "family=\"model family\"", "--where", "run = 'a' and family = 'a'"],
        ),
        ("a.parquet", &["--dry-run", "--where", "run = 'a'"]),
        ("a.parquet", &["--dry-run", "--quiet"]),
        ("b.parquet", &["--dry-run"]),
        ("b.parquet", &["--out", &out, "--overwrite"]),
    ] {
        if more.contains(&"--by") {
            std::fs::write(folder.path("out/notes.txt"), "mine").expect("a file");
        }
        let path = folder.path(input);
        let output = command(&[&["fit", path.as_str()], &law[..], more].concat()).output().expect("a run");
        assert!(output.status.success(), "{more:?}");
        let shown = [&[input], more].concat().join(" ");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        writeln!(text, "$ {shown}\n{said}").expect("a text");
    }
    assert_snapshot!("notes", text.replace(folder.path("").trim_end_matches('/'), "DIR"));
    let mut kept: Vec<_> = std::fs::read_dir(&out)
        .expect("the result")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    kept.retain(|name| name == "plots" || name == "notes.txt" || name == "manifest.json");
    assert_eq!(kept.len(), 3);
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
    folder.write("d/1.parquet", &[("x", floats(&[1.0])), ("y", floats(&[1.0]))]);
    folder.write("d/2.parquet", &[("X", floats(&[1.0])), ("y", floats(&[1.0]))]);
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
    for input in [
        "none.parquet",
        "no*.parquet",
        "hollow",
        "empty.parquet",
        "text.parquet",
        "cut.parquet",
        "b",
        "c",
        "d",
    ] {
        on(input, &["--law", "power"]);
    }
    for directory in ["lake/runs/_delta_log", "ice/runs/metadata", "hudi/runs/.hoodie"] {
        std::fs::create_dir_all(folder.path(directory)).expect("a directory");
    }
    std::fs::write(folder.path("ice/runs/metadata/v1.metadata.json"), "{}").expect("a file");
    for input in ["no{1,2}*.parquet", "{a,none}.parquet", "lake", "ice", "hudi"] {
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
        &["--fix", "B=1"],
        &["--fix", "b=-1"],
        &["--fix", "b=one"],
        &["--fix", "b=1", "--fix", "b=2"],
        &["--start", "q=1"],
        &["--confidence", "1"],
        &["--loss", "huber"],
        &["--starts", "0"],
        &["--starts", "-8"],
        &["--bootstrap", "-1"],
        &["--bootstrap", "1e3"],
        &["--min-points", "-1"],
        &["--threads", "-2"],
        &["-j", "0"],
        &["--seed", "-1"],
        &["--confidence", "-0.5"],
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
    // Short flags, twelve fits, a law of one short formula; some rows are rejected, some fits have no certificate.
    let few = ["fit", FIXTURE, "--by", "sweep", "--where", "sweep < 'sweep-00006'", "-j", "1", "-q"];
    let mixed = [
        "--law",
        "loss ~ E + A/S^alpha with S = log(N/2e8) where E > 0, A > 0",
        "--law",
        "loss ~ a + b*log(N)",
        "--response",
        "log(loss - 2.2)",
        "--bootstrap",
        "0",
        "-o",
        out[1],
        "--overwrite",
    ];
    assert_snapshot!("summary_with_rejections", said(&folder, &[&few[..], &mixed].concat()));
    let narrow = said_in(&folder, Some("60"), &[&few[..], &mixed].concat());
    assert_snapshot!("summary_in_60_columns", narrow);
    let all = [&fit[..], &one, &two_laws, &out, &["--overwrite"]].concat();
    assert_snapshot!("coefficients_in_60_columns", said_in(&folder, Some("60"), &all));
    assert_snapshot!("summary_of_a_dry_run", said(&folder, &[&fit[..], &["--dry-run"]].concat()));
    assert_snapshot!("laws_chinchilla", said(&folder, &["laws", "chinchilla"]));
    assert_snapshot!("schema", said(&folder, &["schema"]));
}
