//! The interval methods: what they give, and what they refuse.

mod common;

use common::program::{Outcome, Table, fit, program, shared_data, text};
use common::{Folder, floats};

/// `y ~ a + b*x` with twelve observations.
fn line(folder: &Folder) -> String {
    let x: Vec<f64> = (0..12).map(f64::from).collect();
    let noise = [0.3, -0.5, 0.1, 0.4, -0.2, -0.4, 0.6, -0.1, 0.2, -0.6, 0.5, -0.3];
    let y: Vec<f64> = x.iter().zip(noise).map(|(x, e)| 1.0 + 2.0 * x + e).collect();
    folder.write("in.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    folder.path("in.parquet")
}

fn interval(outcome: &Outcome, parameter: &str) -> (f64, f64) {
    (outcome.of_parameter(parameter, "ci_low"), outcome.of_parameter(parameter, "ci_high"))
}

/// Of a linear law the objective is quadratic, so the profile to a rise has the ends of the symmetric interval to the same
/// rise.
#[test]
fn the_profile_of_a_line_is_symmetric() {
    let folder = Folder::new();
    let input = line(&folder);
    let of = |method: &str| {
        let arguments = ["--law", "y ~ a + b*x", "--bootstrap", "0", "--interval", method, "--overwrite"];
        fit(&input, &folder.path(method), &arguments)
    };
    let (t, profile) = (of("t"), of("profile"));
    for parameter in ["a", "b"] {
        let ((low, high), (from, to)) = (interval(&t, parameter), interval(&profile, parameter));
        assert!(
            (low - from).abs() < 1e-6 * (high - low) && (high - to).abs() < 1e-6 * (high - low),
            "{parameter}"
        );
    }
    assert_eq!(profile.coefficients.texts("ci_method"), ["profile", "profile"]);
}

/// The profile of the 240 observations under least squares: at its ends SciPy 1.17.1's minimiser over the other parameters
/// (BFGS and Nelder–Mead in turn) finds a rise of the objective of 3.2016542e-4 for E, 1.5206865e-4 for A, 1.5736266e-4 for
/// alpha, 6.4135288e-4 for B, 6.1176979e-4 for beta, at both ends.
#[test]
fn profiles_end_where_the_objective_has_risen() {
    let Some(path) = shared_data("chinchilla_epoch.parquet") else { return };
    let folder = Folder::new();
    let arguments = [
        "--where",
        "kept",
        "--law",
        "chinchilla",
        "--loss",
        "l2",
        "--bootstrap",
        "0",
        "--interval",
        "profile",
    ];
    let outcome = fit(&text(&path), &folder.path("out"), &arguments);
    for (parameter, low, high) in [
        ("E", 1.809_492_184_7, 1.913_075_794_4),
        ("A", 382.949_280_84, 928.811_683_28),
        ("alpha", 0.334_381_622_83, 0.386_528_251_96),
        ("B", 1_837.928_424_6, 13_240.946_389),
        ("beta", 0.358_889_595_82, 0.453_555_343_55),
    ] {
        let (from, to) = interval(&outcome, parameter);
        assert!(
            (from / low - 1.0).abs() < 1e-7 && (to / high - 1.0).abs() < 1e-7,
            "{parameter}: {from} {to}"
        );
    }
}

/// A floor that the data hardly reach has an interval that begins at zero, and one that the estimate is on has one too.
#[test]
fn profiles_are_one_sided_at_an_edge() {
    let folder = Folder::new();
    let x: Vec<f64> = (0..10).map(|i| 10.0 * 2f64.powi(i)).collect();
    for (floor, at_bound) in [(0.002, false), (-0.02, true)] {
        let y: Vec<f64> = (0..10)
            .map(|i| (floor + 3.0 / x[i].powf(0.4)) * f64::exp(0.02 * [1.0, -1.0, 0.5, -0.5][i % 4]))
            .collect();
        folder.write("in.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
        let law = "y ~ E + A/x^p where E >= 0, A > 0, p in [0, 2]";
        let arguments =
            ["--law", law, "--residual", "log", "--loss", "l2", "--bootstrap", "0", "--overwrite"];
        let outcome = fit(&folder.path("in.parquet"), &folder.path("out"), &arguments);
        assert_eq!(outcome.status(), if at_bound { "at_bound" } else { "converged" }, "{floor}");
        let (low, high) = interval(&outcome, "E");
        assert_eq!(low, 0.0, "{floor}");
        assert!(high > 0.0 && high < 0.3, "{floor}: {high}");
        assert_eq!(outcome.coefficients.texts("ci_method")[0], "profile", "{floor}");
    }
}

/// Methods that need replicates are refused without them, and those that need a distribution with a jackknife.
#[test]
fn methods_without_their_replicates_are_refused() {
    let folder = Folder::new();
    let input = line(&folder);
    let out = folder.path("out");
    for (method, others, reason) in [
        ("percentile", &["--bootstrap", "0"][..], "there are none"),
        ("bca", &["--resample", "none"], "there are none"),
        ("studentized", &["--resample", "jackknife"], "jackknife"),
        ("percentiles", &[], "use auto, percentile"),
    ] {
        let arguments = ["fit", &input, "--out", &out, "--law", "y ~ a + b*x", "--interval", method];
        let output = program(&[&arguments[..], others].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{method}: {message}");
        assert!(message.contains(reason), "{method}: {message}");
    }
}

/// The jackknife of a mean is the textbook standard error of a mean (Quenouille 1956; Efron 1982, section 3.1).
#[test]
fn the_jackknife_of_a_mean_is_its_standard_error() {
    let folder = Folder::new();
    let y = [3.0, 5.0, 4.0, 9.0, 1.0, 2.0, 6.0, 8.0, 7.0, 5.5];
    folder.write("in.parquet", &[("x", floats(&[1.0; 10])), ("y", floats(&y))]);
    let arguments = ["--law", "y ~ m*x", "--resample", "jackknife", "--interval", "normal"];
    let outcome = fit(&folder.path("in.parquet"), &folder.path("out"), &arguments);
    let mean = y.iter().sum::<f64>() / 10.0;
    let error = (y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / 90.0).sqrt();
    assert_eq!(outcome.only("n_replicates"), 10.0);
    // Refits are solved to the certificate, about nine digits.
    assert!((outcome.of_parameter("m", "bootstrap_std_error") / error - 1.0).abs() < 1e-7);
    let (low, high) = interval(&outcome, "m");
    let half_length = 1.959_963_984_540_054 * error;
    assert!((low - (mean - half_length)).abs() < 1e-7 && (low + high - 2.0 * mean).abs() < 1e-9);
}

/// Under the default loss, large residuals at points of high leverage hardly enter the sandwich, and replicates vary by more than
/// twice what it says: there they decide. Of 400 resampled sweeps, `t` contained beta in 74 %.
#[test]
fn replicates_check_the_sandwich() {
    let Some(path) = shared_data("chinchilla_epoch.parquet") else { return };
    let folder = Folder::new();
    let of = |more: &[&str]| {
        let arguments = [&["--where", "kept", "--law", "chinchilla", "--overwrite"][..], more].concat();
        fit(&text(&path), &folder.path("out"), &arguments)
    };
    let checked = of(&[]);
    assert_eq!(checked.coefficients.texts("ci_method"), ["percentile"; 5]);
    let (low, high) = interval(&checked, "beta");
    let alone = of(&["--bootstrap", "0"]);
    assert_eq!(alone.coefficients.texts("ci_method"), ["t"; 5]);
    let (from, to) = interval(&alone, "beta");
    assert!(high - low > 1.7 * (to - from), "{low} {high} and {from} {to}");
    // Under least squares the two agree, and nothing is replaced.
    assert_eq!(of(&["--loss", "l2"]).coefficients.texts("ci_method"), ["t"; 5]);
}

/// BCa on the 240 observations under least squares: the accelerations of the run's jackknife are those of SciPy 1.17.1
/// (`least_squares` without each observation).
#[test]
fn the_jackknife_has_scipys_accelerations() {
    let Some(path) = shared_data("chinchilla_epoch.parquet") else { return };
    let folder = Folder::new();
    let out = folder.path("out");
    let data = ["--where", "kept", "--law", "chinchilla", "--loss", "l2", "--bootstrap", "100"];
    fit(&text(&path), &out, &[&data[..], &["--interval", "bca", "--keep-replicates"]].concat());
    let jackknife = Table::read(format!("{out}/jackknife.parquet").as_ref());
    let rows = jackknife.lists("estimates");
    assert_eq!(rows.len(), 240);
    let expected = [
        0.011_684_846_257_910_258,
        0.018_163_769_548_221_003,
        0.025_069_335_782_206_315,
        0.047_453_964_272_113_71,
        0.060_028_269_568_384_72,
    ];
    for (i, expected) in expected.into_iter().enumerate() {
        let mean = rows.iter().map(|row| row[i]).sum::<f64>() / 240.0;
        let sum = |power: i32| rows.iter().map(|row| (mean - row[i]).powi(power)).sum::<f64>();
        let found = sum(3) / (6.0 * sum(2).powf(1.5));
        assert!((found / expected - 1.0).abs() < 1e-5, "{i}: {found} for {expected}");
    }
}
