//! What the program rejects row by row: every row that is not fitted has its reason.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};

use common::program::{fit, program};
use common::{Folder, floats, strings};

/// Every observation is fitted, dropped by the user's wish, or listed with a reason.
#[test]
fn rows_that_cannot_be_used() {
    let folder = Folder::new();
    let x: ArrayRef = Arc::new(Float64Array::from(vec![
        Some(1.0),
        Some(2.0),
        None,
        Some(f64::NAN),
        Some(f64::INFINITY),
        Some(3.0),
        Some(4.0),
        Some(5.0),
        Some(6.0),
        Some(7.0),
        Some(8.0),
        Some(9.0),
        Some(10.0),
    ]));
    let y = floats(&[3.0, 2.5, 2.4, 2.3, 2.2, 0.0, -1.0, f64::NEG_INFINITY, 1.9, 1.8, 1.75, 1.7, 1.68]);
    let w: ArrayRef = Arc::new(Float64Array::from(vec![
        Some(1.0),
        Some(2.0),
        Some(1.0),
        Some(1.0),
        Some(1.0),
        Some(1.0),
        Some(1.0),
        Some(1.0),
        Some(-1.0),
        None,
        Some(1.0),
        Some(1.0),
        Some(0.0),
    ]));
    let s = floats(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, -2.0, 1.0]);
    folder.write("a.parquet", &[("x", x), ("y", y), ("w", w), ("s", s)]);
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &["--law", "power", "--weight", "w", "--sigma", "s", "--bootstrap", "0", "--residuals"],
    );
    let r = &outcome.rejected;
    let rows = r.integers("row");
    let reasons = r.texts("reason");
    let reason = |row: i64| {
        let place = rows.iter().position(|r| *r == Some(row)).expect("the row");
        reasons[place].clone()
    };
    assert!(r.nulls("law").iter().all(|null| *null));
    assert!(r.texts("file").iter().all(|file| file.ends_with("a.parquet")));
    for (row, mentions) in [
        (2, vec!["`x`", "null"]),
        (3, vec!["`x`", "NaN"]),
        (4, vec!["`x`", "infinite"]),
        (5, vec!["`y`", "needs a positive value"]),
        (6, vec!["`y`", "needs a positive value"]),
        (7, vec!["`y`", "infinity"]),
        (8, vec!["`w`", "negative"]),
        (9, vec!["`w`", "null"]),
        (10, vec!["`s`", "not positive"]),
        (11, vec!["`s`", "not positive"]),
    ] {
        for word in mentions {
            assert!(reason(row).contains(word), "row {row}: {}", reason(row));
        }
    }
    assert_eq!(rows, (2..=11).map(Some).collect::<Vec<_>>());
    let null = ["null", "not_finite", "not_finite"];
    let response = ["nonpositive_response", "nonpositive_response", "not_finite"];
    let others = ["negative_weight", "null", "nonpositive_sigma", "nonpositive_sigma"];
    assert_eq!(r.texts("code"), [&null[..], &response, &others].concat());
    // A row of weight zero is not used, but neither is it lost: it has a residual.
    assert_eq!(outcome.only("n_points"), 2.0);
    let residuals = outcome.residuals.as_ref().expect("residuals");
    let mut kept = residuals.integers("row");
    kept.sort_unstable();
    assert_eq!(kept, [Some(0), Some(1), Some(12)]);
}

/// Numbers in columns of text are read as what they say, in laws, definitions and weights, and texts that are no numbers are
/// rejected row by row, in the order of the file. The fit is that of the numbers.
#[test]
fn numbers_in_text_are_read() {
    let folder = Folder::new();
    let said = ["7B", "1e6", " 3e6", "", "+1E7", "30000000", "1e8\n", "3e8", "1,300,000", "1e9"];
    let loss = ["2.6", "3.9", "3.5", "2.5", "3.2", "3.0", "2.85", "2.75", "2.4", "2.68"];
    let weight = ["1", "2", "1", "1", "1", "1", "1", "0.5", "1", "1"];
    folder.write(
        "text.parquet",
        &[("params", strings(&said)), ("loss", strings(&loss)), ("w", strings(&weight))],
    );
    let numbers = |texts: &[&str]| -> Vec<f64> {
        [1, 2, 4, 5, 6, 7, 9].map(|row: usize| texts[row].trim().parse().expect("a number")).to_vec()
    };
    folder.write(
        "numbers.parquet",
        &[
            ("params", floats(&numbers(&said))),
            ("loss", floats(&numbers(&loss))),
            ("w", floats(&numbers(&weight))),
        ],
    );
    let law = "loss ~ E + A/M^alpha where E > 0, A > 0, alpha in [0, 2]";
    let arguments = ["--law", law, "--let", "M=params/1e6", "--weight", "w", "--bootstrap", "0"];
    let text = fit(&folder.path("text.parquet"), &folder.path("a"), &arguments);
    let expected = fit(&folder.path("numbers.parquet"), &folder.path("b"), &arguments);
    assert_eq!(text.coefficients.floats("estimate"), expected.coefficients.floats("estimate"));
    assert_eq!(text.only("n_points"), 7.0);
    assert_eq!(text.rejected.integers("row"), [Some(0), Some(3), Some(8)]);

    // Without the definition the column itself is used.
    let law = "loss ~ E + A/params^alpha where E > 0, A > 0, alpha in [0, 2]";
    let text = fit(&folder.path("text.parquet"), &folder.path("c"), &["--law", law, "--bootstrap", "0"]);
    assert_eq!(text.only("n_points"), 7.0);
    assert_eq!(text.rejected.texts("code"), ["not_a_number"; 3]);
    assert_eq!(text.rejected.integers("row"), [Some(0), Some(3), Some(8)]);
    assert_eq!(text.rejected.texts("reason")[0], "`params` is the text \"7B\", which is not a number");
}

/// The reason names the column of the text and shows the text, wherever the row lies and however many definitions lie
/// between the column and the law.
#[test]
fn the_reason_shows_the_rejected_text() {
    let folder = Folder::new();
    let n = 40;
    let said = |row: usize| match row {
        3 => "7B".to_owned(),
        8 => String::new(),
        21 => "1,300\u{1b}[2J\n\"".to_owned(),
        34 => format!("{}end", "long ".repeat(20)),
        _ => format!("{}e6", 1 + row),
    };
    let texts: Vec<String> = (0..n).map(said).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    // The sweeps are spread over the file, and some rows before the texts are dropped.
    let run: Vec<&str> = (0..n).map(|row| ["c", "a", "b"][row % 3]).collect();
    let loss: Vec<f64> = (0..n).map(|row| 2.0 + 3.0 / (1.0 + row as f64)).collect();
    let kept: Vec<f64> = (0..n).map(|row| f64::from(u8::from(row % 7 != 1))).collect();
    folder.write(
        "a.parquet",
        &[("N", strings(&texts)), ("run", strings(&run)), ("loss", floats(&loss)), ("kept", floats(&kept))],
    );
    let expected = [
        "`N` is the text \"7B\", which is not a number".to_owned(),
        "`N` is the text \"1,300\\u{1b}[2J\\n\\\"\", which is not a number".to_owned(),
        format!("`N` is the text \"{}…\", which is not a number", "long ".repeat(8)),
    ];
    let fixed = ["--by", "run", "--where", "kept = 1", "--bootstrap", "0"];
    for (name, more) in [
        ("column", &["--law", "loss ~ E + A/N"][..]),
        ("definition", &["--law", "loss ~ E + A/M", "--let", "M=N*2"]),
        ("definitions", &["--law", "loss ~ E + A/M", "--let", "K=log(N) + kept", "--let", "M=exp(K)"]),
        ("shadow", &["--law", "loss ~ E + A/N", "--let", "N=N/1e6"]),
        ("weight", &["--law", "loss ~ E + A/kept", "--let", "W=2*N", "--weight", "W"]),
    ] {
        let outcome = fit(&folder.path("a.parquet"), &folder.path(name), &[&fixed, more].concat());
        let mut rows: Vec<(i64, String, String)> = outcome
            .rejected
            .integers("row")
            .into_iter()
            .zip(outcome.rejected.texts("reason"))
            .zip(outcome.rejected.texts("code"))
            .map(|((row, reason), code)| (row.expect("a row"), reason, code))
            .collect();
        rows.sort();
        // Row 8 is dropped by the condition.
        let found: Vec<(i64, &str)> = rows.iter().map(|(row, reason, _)| (*row, reason.as_str())).collect();
        let wanted: Vec<(i64, &str)> =
            [3, 21, 34].into_iter().zip(expected.iter().map(String::as_str)).collect();
        assert_eq!(found, wanted, "{name}");
        assert!(rows.iter().all(|(.., code)| code == "not_a_number"), "{name}: {rows:?}");
    }
}

/// Only so many texts are kept, so that a long column of texts takes little memory; the rows of the others are rejected alike.
#[test]
fn more_texts_than_are_kept_are_rejected_alike() {
    let folder = Folder::new();
    let n = (1 << 18) + 20;
    let texts: Vec<&str> = (0..n).map(|row| if row < 10 { "2.5" } else { "none" }).collect();
    folder.write("a.parquet", &[("N", strings(&texts)), ("y", floats(&vec![5.0; n]))]);
    let outcome =
        fit(&folder.path("a.parquet"), &folder.path("out"), &["--law", "y ~ a*N", "--bootstrap", "0"]);
    assert_eq!(outcome.estimate("a"), 2.0);
    assert_eq!(outcome.rejected.integers("row"), (10..n as i64).map(Some).collect::<Vec<_>>());
    assert!(outcome.rejected.texts("code").iter().all(|code| code == "not_a_number"));
    let reasons = outcome.rejected.texts("reason");
    let (kept, others) = reasons.split_at(1 << 18);
    assert!(kept.iter().all(|reason| reason == "`N` is the text \"none\", which is not a number"));
    assert!(others.iter().all(|reason| reason == "`N` is a text that is not a number"));
    assert_eq!(others.len(), 10);
}

/// A definition is NaN for other reasons than texts too: the logarithm of a negative number, a text that says `NaN`.
#[test]
fn a_definition_without_value_is_not_blamed_on_a_text() {
    let folder = Folder::new();
    folder.write(
        "a.parquet",
        &[("N", strings(&["1", "-2", "NaN", "4", "5", "6"])), ("y", floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))],
    );
    let arguments = ["--law", "y ~ a + b*M", "--let", "M=log(N)", "--bootstrap", "0"];
    let outcome = fit(&folder.path("a.parquet"), &folder.path("out"), &arguments);
    assert_eq!(outcome.rejected.integers("row"), [Some(1), Some(2)]);
    assert_eq!(outcome.rejected.texts("code"), ["not_finite"; 2]);
    assert_eq!(outcome.rejected.texts("reason"), ["`M` is NaN, not a finite number"; 2]);
}

/// What one law cannot use, another may.
#[test]
fn rejections_of_one_law() {
    let folder = Folder::new();
    folder.write(
        "a.parquet",
        &[
            ("x", floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
            ("y", floats(&[5.0, 4.0, -3.5, 3.2, f64::NAN, 2.9])),
        ],
    );
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &["--law", "y ~ a + b*x", "--law", "power", "--bootstrap", "0"],
    );
    assert_eq!(outcome.fits.floats("n_points"), [5.0, 4.0]);
    assert_eq!(outcome.rejected.integers("row"), [Some(2), Some(4)]);
    assert_eq!(outcome.rejected.texts("law"), ["power", ""]);
    assert_eq!(outcome.rejected.nulls("law"), [false, true]);
    // A row that two of three laws reject counts once.
    let out = folder.path("again");
    let laws = ["--law", "y ~ a + b*x", "--law", "power", "--law", "log(y) ~ a + b*x"];
    let outcome = fit(&folder.path("a.parquet"), &out, &[&laws[..], &["--bootstrap", "0"]].concat());
    assert_eq!(outcome.rejected.integers("row"), [Some(2), Some(2), Some(4)]);
    let manifest = fs::read_to_string(Path::new(&out).join("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!(manifest["counts"]["rejected_rows"], 2);
}

/// Beyond a limit the tables and the summary are written, the exit status is 3, and the message says which limit and by how
/// much. Two of ten rows have no number, and one of two sweeps has no optimum: a line through one value of x.
#[test]
fn limits_end_with_status_3() {
    let folder = Folder::new();
    let x = floats(&[1.0, 2.0, 3.0, 4.0, f64::NAN, 2.0, 2.0, 2.0, 2.0, f64::NAN]);
    let y = floats(&[1.0, 2.1, 2.9, 4.0, 5.0, 1.0, 1.1, 0.9, 1.0, 1.0]);
    let run = strings(&["a", "a", "a", "a", "a", "b", "b", "b", "b", "b"]);
    folder.write("in.parquet", &[("run", run), ("x", x), ("y", y)]);
    let input = folder.path("in.parquet");
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (&["--max-failed", "1", "--max-rejected", "2"], 0, &[]),
        (&["--max-failed", "50%", "--max-rejected", "20%"], 0, &[]),
        (&["--max-failed", "0"], 3, &["1 of 2 fits", "--max-failed allows 0"]),
        (&["--max-failed", "49%"], 3, &["1 of 2 fits", "--max-failed allows 49%"]),
        (&["--max-rejected", "1"], 3, &["2 of 10 rows", "--max-rejected allows 1"]),
        (&["--max-rejected", "many"], 2, &["--max-rejected", "such as 20"]),
    ];
    for (k, (limits, status, expected)) in cases.into_iter().enumerate() {
        let out = folder.path(&format!("out{k}"));
        let job = ["fit", &input, "--out", &out, "--by", "run", "--law", "y ~ a + b*x", "--bootstrap", "0"];
        let output = program(&[&job[..], limits].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{limits:?}: {message}");
        assert!(expected.iter().all(|part| message.contains(part)), "{message}");
        assert_eq!(Path::new(&out).join("fits.parquet").exists(), status != 2);
        assert_eq!(String::from_utf8_lossy(&output.stdout).contains("2 sweeps"), status != 2);
    }
}
