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

/// Writes a problem to a file, with a constant σ, and returns its path.
fn with_sigma(folder: &Folder, problem: &Problem, sigma: f64) -> String {
    let mut columns: Vec<_> = problem.columns.iter().map(|(n, v)| (n.as_str(), floats(v))).collect();
    let n = problem.columns.values().next().expect("a column").len();
    columns.push(("s", floats(&vec![sigma; n])));
    let name = format!("{}.parquet", problem.name);
    folder.write(&name, &columns);
    folder.path(&name)
}

/// The profile intervals of `conf_interval` of lmfit 1.3.4 on SciPy 1.17.1, at 95 %. lmfit takes the F test's rise, that of a
/// known σ = s·t/z with NIST's residual deviation s, t of n − p degrees of freedom and the normal z. At the lower end of
/// Thurber's b6 lmfit says 0.35971, where its own refits end above the minimum; the value here is where SciPy's `brentq` finds
/// the rise, following the minimum from the estimate.
#[test]
fn profiles_agree_with_lmfit() {
    let folder = Folder::new();
    type Ends = (&'static str, f64, f64);
    let expected: [(&str, f64, &[Ends]); 2] = [
        (
            "Misra1a",
            0.113_254_507_891_408_15,
            &[
                ("b1", 233.195_307_924_886_95, 245.017_369_346_236_3),
                ("b2", 0.000_534_318_267_926_785_3, 0.000_566_029_897_279_882_1),
            ],
        ),
        (
            "Thurber",
            14.290_543_933_764_637,
            &[
                ("b1", 1_278.586_763_625_295_6, 1_297.714_204_489_339_4),
                ("b2", 1_381.503_300_739_368_8, 1_548.274_980_368_936),
                ("b3", 502.356_257_136_923_3, 625.867_578_515_288_9),
                ("b4", 59.584_449_854_776_92, 83.573_807_393_638_13),
                ("b5", 0.879_713_484_305_847_1, 1.017_689_273_952_4),
                ("b6", 0.356_104_492_654_242_4, 0.422_544_095_369_052_85),
                ("b7", 0.033_527_006_450_375_964, 0.057_405_404_289_246_47),
            ],
        ),
    ];
    let problems = problems();
    for (name, sigma, intervals) in expected {
        let problem = problems.iter().find(|problem| problem.name == name).expect("the problem");
        let input = with_sigma(&folder, problem, sigma);
        let options = ["--sigma", "s", "--absolute-sigma", "--interval", "profile", "--bootstrap", "0"];
        let arguments = [&["--law", problem.law.as_str()], &options[..]].concat();
        let outcome = fit(&input, &folder.path(name), &arguments);
        for &(parameter, low, high) in intervals {
            for (column, end) in [("ci_low", low), ("ci_high", high)] {
                let found = outcome.of_parameter(parameter, column);
                // lmfit's refits end within 1e-6 of the rise.
                assert!((found / end - 1.0).abs() < 1e-6, "{name} {parameter} {column}: {found} for {end}");
            }
        }
    }
}

/// BCa intervals from the replicates that a run keeps, with accelerations of jackknives by SciPy 1.17.1 (`least_squares` without
/// each observation), after Efron (1987).
#[test]
fn corrected_percentiles_have_scipys_accelerations() {
    use statrs::distribution::{ContinuousCDF, Normal};
    let folder = Folder::new();
    let normal = Normal::standard();
    let expected: [(&str, &[(&str, f64)]); 2] = [
        ("Misra1a", &[("b1", 0.096_977_776_415_715_03), ("b2", -0.093_882_471_932_649_79)]),
        (
            "Thurber",
            &[
                ("b1", -0.040_570_511_899_566_59),
                ("b2", 0.067_399_866_325_331_51),
                ("b3", 0.064_364_830_088_415_3),
                ("b4", 0.054_601_902_121_416_995),
                ("b5", 0.073_318_985_280_530_45),
                ("b6", 0.073_085_881_960_841_76),
                ("b7", -0.032_992_566_232_408_8),
            ],
        ),
    ];
    let problems = problems();
    for (name, accelerations) in expected {
        let problem = problems.iter().find(|problem| problem.name == name).expect("the problem");
        let input = with_sigma(&folder, problem, 1.0);
        // Residuals are drawn, because few of Thurber's observations can be left out at random.
        let options = ["--resample", "residual", "--bootstrap", "1000", "--interval", "bca", "--loss", "l2"];
        let arguments =
            [&["--law", problem.law.as_str(), "--keep-replicates", "always"], &options[..]].concat();
        let outcome = fit(&input, &folder.path(name), &arguments);
        let rows = outcome.good_replicates();
        for (i, &(parameter, acceleration)) in accelerations.iter().enumerate() {
            let estimate = outcome.estimate(parameter);
            let mut values: Vec<f64> = rows.iter().map(|row| row[i]).collect();
            values.sort_by(f64::total_cmp);
            let below = values.iter().filter(|x| **x < estimate).count() as f64;
            let bias = normal.inverse_cdf(below / values.len() as f64);
            for (column, probability) in [("ci_low", 0.025), ("ci_high", 0.975)] {
                let z = bias + normal.inverse_cdf(probability);
                let level = normal.cdf(bias + z / (1.0 - acceleration * z));
                let place = level * (values.len() - 1) as f64;
                let (first, fraction) = (place.floor() as usize, place.fract());
                let end = values[first] + fraction * (values[first + 1] - values[first]);
                let found = outcome.of_parameter(parameter, column);
                assert!((found / end - 1.0).abs() < 1e-6, "{name} {parameter} {column}: {found} for {end}");
            }
        }
    }
}
