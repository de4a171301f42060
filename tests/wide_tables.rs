//! Wide tables: each column of responses is a sweep of its own.

mod common;

use common::program::{Table, fit, refusal, shared_data, text};
use common::{Folder, floats, strings};

const LAW: [&str; 4] = ["--law", "loss ~ a + b*x", "--bootstrap", "0"];

/// Two runs of six rows with two columns of responses, wide and long.
fn tables(folder: &Folder) -> (String, String) {
    let x: Vec<f64> = (0..12).map(|i| f64::from(i % 6)).collect();
    let run: Vec<&str> = (0..12).map(|i| if i < 6 { "p" } else { "q" }).collect();
    let noise = [0.1, -0.1, 0.05, 0.0, -0.2, 0.15];
    let response = |slope: f64| -> Vec<f64> {
        (0..12).map(|i| slope * x[i] + if i < 6 { 1.0 } else { 2.0 } + noise[i % 6]).collect()
    };
    let (c4, pile) = (response(1.5), response(-0.5));
    let names = strings(&["a note"; 12]);
    let wide = [
        ("run", strings(&run)),
        ("x", floats(&x)),
        ("eval/c4", floats(&c4)),
        ("eval/pile", floats(&pile)),
        ("eval/note", names),
        ("other", floats(&c4)),
    ];
    folder.write("wide.parquet", &wide);
    let metric: Vec<&str> = [vec!["eval/c4"; 12], vec!["eval/pile"; 12]].concat();
    let long = [
        ("run", strings(&[run.clone(), run].concat())),
        ("metric", strings(&metric)),
        ("x", floats(&[x.clone(), x].concat())),
        ("loss", floats(&[c4, pile].concat())),
    ];
    folder.write("long.parquet", &long);
    (folder.path("wide.parquet"), folder.path("long.parquet"))
}

/// The wide table and the long one give the same numbers.
#[test]
fn wide_and_long_tables_give_the_same_numbers() {
    let folder = Folder::new();
    let (wide, long) = tables(&folder);
    let run = |input: &str, out: &str, arguments: &[&str]| {
        fit(input, &folder.path(out), &[arguments, &LAW].concat())
    };
    let expected = run(&long, "long", &["--by", "run,metric"]);
    for (out, responses) in [("pattern", "eval/*"), ("names", "eval/pile,eval/c4")] {
        let found = run(&wide, out, &["--by", "run", "--responses", responses]);
        assert_eq!(found.coefficients.texts("response"), expected.coefficients.texts("metric"));
        let numbers = |table: &Table| table.without(&["response", "metric"]).bits();
        assert_eq!(numbers(&found.coefficients), numbers(&expected.coefficients), "{responses}");
    }
    // The key is a column of conditions too.
    let one = run(&wide, "one", &["--by", "run", "--responses", "eval/*", "--where", "response = 'eval/c4'"]);
    assert_eq!(one.fits.texts("response"), ["eval/c4"; 2]);
    // Names beside patterns, and a response for all runs together.
    let both = run(&wide, "both", &["--responses", "eval/c?,other"]);
    assert_eq!(both.fits.texts("response"), ["eval/c4", "other"]);
    assert_eq!(both.fits.integers("n_points"), [Some(12); 2]);
}

#[test]
fn columns_that_are_no_responses_are_refused() {
    let folder = Folder::new();
    let (wide, _) = tables(&folder);
    let out = folder.path("out");
    for (arguments, expected) in [
        (&["--responses", "evil/*"][..], "`eval/"),
        (&["--responses", "eval/note"], "and not numbers"),
        (&["--responses", "eval/c4", "--residuals"], "residuals"),
    ] {
        let message = refusal(&[&["fit", &wide, "--out", &out], arguments, &LAW].concat());
        assert!(message.contains(expected) && message.contains("responses"), "{message}");
    }
}

/// A warehouse's table of 41 training runs and 118 columns: every validation loss is a sweep of each run. The counts
/// are those of pandas 3.1.1, of rows with a step above 1000, a number of tokens and a loss.
#[test]
fn a_real_wide_table_is_read() {
    let Some(path) = shared_data("wide_ladder.parquet") else { return };
    let folder = Folder::new();
    let arguments = [
        "--by",
        "run",
        "--responses",
        "eval/*-validation/CrossEntropyLoss",
        "--let",
        "D=\"throughput/total_tokens\"",
        "--where",
        "_step > 1000",
        "--law",
        "loss ~ E + A/D^alpha where E >= 0, A > 0, alpha in [0, 2]",
        "--bootstrap",
        "0",
    ];
    let outcome = fit(&text(&path), &folder.path("out"), &arguments);
    assert_eq!(outcome.fits.rows(), 330);
    let pile = outcome.fits.only("response", "eval/pile-validation/CrossEntropyLoss");
    let n: i64 = pile.integers("n_points").into_iter().flatten().sum();
    assert_eq!(n, N_PILE);
}

/// The rows with a step above 1000, a loss on the Pile and a number of tokens.
const N_PILE: i64 = 3354;
