//! NIST's certified nonlinear problems, from the command line: `fit` from each official start alone, and `verify`.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::program::{Table, fit, program, text};
use common::{Folder, floats};

#[derive(serde::Deserialize)]
struct Problem {
    name: String,
    law: String,
    parameters: Vec<String>,
    columns: BTreeMap<String, Vec<f64>>,
    start_1: Vec<f64>,
    start_2: Vec<f64>,
    certified: Vec<f64>,
    standard_deviations: Vec<f64>,
}

fn problems() -> Vec<Problem> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/nist_strd.json");
    serde_json::from_str(&fs::read_to_string(path).expect("the fixture")).expect("problems")
}

/// Correct digits of the worst entry.
fn digits(got: &[f64], certified: &[f64]) -> f64 {
    let pairs = got.iter().zip(certified);
    pairs.map(|(g, c)| -((g - c) / c).abs().log10()).fold(f64::INFINITY, f64::min)
}

#[test]
fn fit_reaches_the_certified_values_from_each_official_start_alone() {
    let folder = Folder::new();
    let mut reached = Vec::new();
    for problem in problems() {
        let columns: Vec<_> = problem.columns.iter().map(|(n, v)| (n.as_str(), floats(v))).collect();
        let input = format!("{}.parquet", problem.name);
        folder.write(&input, &columns);
        for (which, start) in [(1, &problem.start_1), (2, &problem.start_2)] {
            let start: Vec<String> = problem
                .parameters
                .iter()
                .zip(start)
                .map(|(name, value)| format!("{name}={value:e}"))
                .collect();
            let out = folder.path(&format!("{}-{which}", problem.name));
            let outcome = fit(
                &folder.path(&input),
                &out,
                &["--law", &problem.law, "--starts", "1", "--start", &start.join(","), "--bootstrap", "0"],
            );
            let case = format!("{} from start {which}", problem.name);
            assert_eq!(outcome.status(), "converged", "{case}");
            let of = |column: &str| -> Vec<f64> {
                problem.parameters.iter().map(|p| outcome.of_parameter(p, column)).collect()
            };
            reached.push((case.clone(), digits(&of("estimate"), &problem.certified)));
            // Lanczos1's residuals are at the rounding of its data, so that its deviations have three digits.
            let wanted = if problem.name == "Lanczos1" { 2.0 } else { 6.0 };
            let deviations = digits(&of("std_error"), &problem.standard_deviations);
            assert!(deviations >= wanted, "{case}: {deviations} digits of the standard deviations");
        }
    }
    assert_eq!(reached.len(), 54);
    for (floor, at_least) in [(6.0, 54), (8.0, 53), (10.0, 48)] {
        let below: Vec<_> = reached.iter().filter(|(_, digits)| *digits < floor).collect();
        assert!(reached.len() - below.len() >= at_least, "below {floor} digits: {below:?}");
    }
}

#[test]
fn verify_holds_and_writes_what_it_prints() {
    let folder = Folder::new();
    let out = folder.path("verify.parquet");
    let output = program(&["verify", "--out", &out]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("54 of 54 to 6 digits"), "{said}");
    assert!(said.contains("27 of 27 to 6 digits"), "{said}");
    let table = Table::read(Path::new(&out));
    let checks = table.texts("check");
    let rows = |check: &str| checks.iter().filter(|c| *c == check).count();
    assert_eq!(rows("nist"), 81);
    assert!(rows("self-test") >= 32 && rows("derivatives") >= 67);
    let missing = folder.path("absent/verify.parquet");
    let refused = program(&["verify", "--out", &missing]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("absent"), "{}", text(Path::new(&missing)));
}
