//! Chinchilla's law on real sweeps, against optima and standard errors that were computed elsewhere.

mod common;

use std::fs;
use std::path::Path;

use common::Folder;
use common::program::{Outcome, assert_close, fit, fit_file, relative, shared_data, text};

/// One line of the table of certified optima.
struct Certified {
    sweep: String,
    objective: String,
    value: f64,
    /// By the names of the law's parameters.
    parameters: [(&'static str, f64); 5],
    well_posed: bool,
}

fn certified(path: &Path) -> Vec<Certified> {
    let file = fs::read_to_string(path).expect("the certified optima");
    file.lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let number = |i: usize| -> f64 { cells[i].parse().expect("a number") };
            Certified {
                sweep: cells[0].to_owned(),
                objective: cells[2].to_owned(),
                value: number(3),
                parameters: [
                    ("E", number(5)),
                    ("A", number(6).exp()),
                    ("B", number(7).exp()),
                    ("alpha", number(8)),
                    ("beta", number(9)),
                ],
                well_posed: cells.get(10).is_none_or(|flags| flags.is_empty()),
            }
        })
        .collect()
}

const OBJECTIVES: [(&str, [&str; 4]); 3] = [
    ("log_huber_1e-3", ["--residual", "log", "--loss", "huber:1e-3"]),
    ("log_mse", ["--residual", "log", "--loss", "l2"]),
    ("mse", ["--residual", "linear", "--loss", "l2"]),
];

const QUICK: [&str; 4] = ["--bootstrap", "0", "--law", "chinchilla"];

fn check(outcome: &Outcome, want: &Certified) {
    let what = format!("{} {}", want.sweep, want.objective);
    assert_eq!(outcome.status(), "converged", "{what}");
    assert_close(&format!("{what}: objective"), outcome.only("objective"), want.value, 1e-9);
    for (name, value) in want.parameters {
        assert_close(&format!("{what}: {name}"), outcome.estimate(name), value, 1e-6);
    }
}

/// The refit of the 240 points, and of all 245, in the three objectives and by both solvers.
#[test]
fn chinchilla_comes_back() {
    let (Some(data), Some(table)) =
        (shared_data("chinchilla_epoch.parquet"), shared_data("chinchilla_certified.csv"))
    else {
        return;
    };
    let table = certified(&table);
    for (name, condition) in [("epoch_chinchilla_n240", "kept"), ("epoch_chinchilla_n245", "loss > 0")] {
        for (objective, flags) in OBJECTIVES {
            let want = table
                .iter()
                .find(|c| c.sweep == name && c.objective == objective)
                .expect("a certified optimum");
            for solver in ["fast", "reference"] {
                let arguments = [&QUICK[..], &flags, &["--where", condition, "--solver", solver]].concat();
                let outcome = fit_file(&data, &arguments);
                check(&outcome, want);
                let starts = outcome.only("n_starts");
                assert!(
                    outcome.only("n_agreeing") >= 0.9 * starts && starts > 1.0,
                    "{name} {objective} {solver}: {} of {starts} starts agree",
                    outcome.only("n_agreeing")
                );
            }
        }
    }
}

/// The numbers of the README: the same optimum in other words, and quantities that follow from it.
#[test]
fn published_digits_of_the_refit() {
    let Some(data) = shared_data("chinchilla_epoch.parquet") else {
        return;
    };
    let published = ["--where", "kept", "--loss", "huber:1e-3"];
    let outcome = fit_file(&data, &[&QUICK[..], &published].concat());
    let p = |name: &str| outcome.estimate(name);
    let (a, b, e, alpha, beta) = (p("A"), p("B"), p("E"), p("alpha"), p("beta"));
    assert_eq!(outcome.only("n_points"), 240.0);
    assert_eq!(outcome.only("n_parameters"), 5.0);
    assert_close("objective", outcome.only("objective"), 0.0010182740178006, 1e-11);
    assert_close("log A", a.ln(), 6.169246373723, 1e-9);
    assert_close("log B", b.ln(), 7.670156733095, 1e-9);
    assert_close("log E", e.ln(), 0.597306814687, 1e-9);
    assert_close("alpha", alpha, 0.347310498882, 1e-9);
    assert_close("beta", beta, 0.367172432628, 1e-9);
    assert_close("exponent a", beta / (alpha + beta), 0.513900, 1e-6);
    let g = (alpha * a / (beta * b)).powf(1.0 / (alpha + beta));
    assert_close("G", g, 0.113208, 1e-5);
    // Compute-optimal N = G (C/6)^a and D = C/(6 N).
    let per_parameter = |c: f64| {
        let n = g * (c / 6.0).powf(beta / (alpha + beta));
        c / 6.0 / (n * n)
    };
    assert_close("tokens per parameter", per_parameter(5.76e23), 17.92, 1e-3);
}

/// The threshold of the loss moves the optimum, and is read as written.
#[test]
fn other_thresholds() {
    let Some(data) = shared_data("chinchilla_epoch.parquet") else {
        return;
    };
    for (loss, alpha, beta) in [("huber:1e-4", 0.34740885, 0.36538473), ("huber:1e-2", 0.3544155, 0.38153753)]
    {
        let arguments = [&QUICK[..], &["--where", "kept", "--loss", loss]].concat();
        let outcome = fit_file(&data, &arguments);
        assert_eq!(outcome.status(), "converged");
        let used = outcome.fits.texts("loss");
        let threshold = |text: &str| text.strip_prefix("huber:").map(str::parse::<f64>);
        assert_eq!(threshold(&used[0]), threshold(loss));
        assert_close(loss, outcome.estimate("alpha"), alpha, 2e-8);
        assert_close(loss, outcome.estimate("beta"), beta, 2e-8);
    }
}

/// Rounded published parameters score what they score: a sum, not a mean.
#[test]
fn the_objective_is_a_sum() {
    let Some(data) = shared_data("chinchilla_epoch.parquet") else {
        return;
    };
    let fixed = "loss ~ E + A/N^alpha + B/D^beta \
                 where E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28";
    let outcome = fit_file(
        &data,
        &["--law", fixed, "--where", "kept", "--residual", "log", "--loss", "huber:1e-3", "--bootstrap", "0"],
    );
    assert_eq!(outcome.only("n_parameters"), 0.0);
    // Hoffmann's constants as published carry more digits than this in the README's figure of 0.0041210.
    let own = {
        let rows = common::program::Table::read(&data);
        let kept = rows.bools("kept");
        let (n, d, y) = (rows.floats("N"), rows.floats("D"), rows.floats("loss"));
        (0..rows.rows())
            .filter(|&i| kept[i])
            .map(|i| {
                let prediction = 1.69 + 406.4 / n[i].powf(0.34) + 410.7 / d[i].powf(0.28);
                let r = (prediction.ln() - y[i].ln()).abs();
                if r <= 1e-3 { 0.5 * r * r } else { 1e-3 * (r - 0.5e-3) }
            })
            .sum::<f64>()
    };
    assert_close("objective", outcome.only("objective"), own, 1e-11);
    assert_close("published", own, 0.0041210, 2e-5);
}

/// The natural case of several sweeps: every optimum is the certified one, and the one that the data does not
/// hold ends in a status.
#[test]
fn all_sweeps_and_objectives() {
    let (Some(data), Some(table)) =
        (shared_data("overtraining_24_sweeps.parquet"), shared_data("chinchilla_certified.csv"))
    else {
        return;
    };
    let table = certified(&table);
    let mut ill_posed = 0;
    for solver in ["fast", "reference"] {
        for (objective, flags) in OBJECTIVES {
            let arguments = [&QUICK[..], &flags, &["--by", "sweep", "--solver", solver]].concat();
            let outcome = fit_file(&data, &arguments);
            let sweeps = outcome.fits.texts("sweep");
            assert_eq!(sweeps.len(), 24);
            assert!(sweeps.is_sorted());
            let rejected = outcome.rejected.rows();
            assert_eq!(rejected, 0);
            for want in table.iter().filter(|c| c.objective == objective && !c.sweep.starts_with("epoch")) {
                let what = format!("{} {objective} {solver}", want.sweep);
                let one = Outcome {
                    fits: outcome.fits.only("sweep", &want.sweep),
                    coefficients: outcome.coefficients.only("sweep", &want.sweep),
                    rejected: outcome.rejected.clone(),
                    replicates: None,
                    residuals: None,
                    manifest: outcome.manifest.clone(),
                };
                if want.well_posed {
                    check(&one, want);
                } else {
                    ill_posed += 1;
                    assert_ne!(one.status(), "converged", "{what}");
                    assert!(!one.fits.texts("message")[0].is_empty(), "{what}");
                    // Nothing that looks like knowledge about what is not known.
                    assert!(one.of_parameter("E", "std_error").is_nan(), "{what}");
                    // The objective has a least value even so.
                    assert_close(&what, one.only("objective"), want.value, 1e-9);
                }
            }
        }
    }
    assert_eq!(ill_posed, 2);
}

/// Names carry no meaning: the typed formula with other letters and D computed from C is the same problem.
#[test]
fn a_typed_twin_is_the_same_law() {
    let Some(data) = shared_data("chinchilla_epoch.parquet") else {
        return;
    };
    let common = ["--where", "kept", "--residual", "log", "--loss", "huber:1e-3", "--bootstrap", "0"];
    let own = fit_file(&data, &[&common[..], &["--law", "chinchilla"]].concat());
    let typed = "loss ~ floor + p/N^r + q/D^s \
                 where floor > 0, p > 0, q > 0, r in [0, 2], s in [0, 2]";
    let twin = fit_file(&data, &[&common[..], &["--let", "D=C/(6*N)", "--law", typed]].concat());
    assert_close("objective", twin.only("objective"), own.only("objective"), 1e-10);
    for (theirs, ours) in [("floor", "E"), ("p", "A"), ("q", "B"), ("r", "alpha"), ("s", "beta")] {
        assert_close(ours, twin.estimate(theirs), own.estimate(ours), 1e-10);
    }
}

/// Least squares' standard errors, published to three digits for the logarithms.
#[test]
fn asymptotic_standard_errors() {
    let Some(data) = shared_data("chinchilla_epoch.parquet") else {
        return;
    };
    let flags = OBJECTIVES[2].1;
    let outcome = fit_file(&data, &[&QUICK[..], &flags, &["--where", "kept"]].concat());
    let share = |name: &str| outcome.of_parameter(name, "std_error") / outcome.estimate(name);
    let plain = |name: &str| outcome.of_parameter(name, "std_error");
    // Half a unit of the last digit given.
    for (what, got, want, half) in [
        ("log A", share("A"), 0.183, 0.0005),
        ("log B", share("B"), 0.184, 0.0005),
        ("log E", share("E"), 0.00765, 0.000005),
        ("alpha", plain("alpha"), 0.0107, 0.00005),
        ("beta", plain("beta"), 0.0091, 0.00005),
    ] {
        assert!((got - want).abs() <= half, "{what}: {got}, expected {want}");
    }
    // Half the interval's width on the scale it is made on (of E as a share of it), from a computation of the sandwich (HC2) and of Bell and
    // McCaffrey's degrees of freedom with NumPy and SciPy.
    for (name, is_log, half) in [
        ("E", false, 0.025776849020),
        ("A", true, 0.433229853742),
        ("B", true, 0.976858901460),
        ("alpha", false, 0.025641757658),
        ("beta", false, 0.046692480016),
    ] {
        let (low, high) = (outcome.of_parameter(name, "ci_low"), outcome.of_parameter(name, "ci_high"));
        let width = if is_log { (high / low).ln() } else { high - low };
        let unit = if name == "E" { outcome.estimate(name) } else { 1.0 };
        assert_close(name, 0.5 * width / unit, half, 1e-9);
    }
    let methods = outcome.coefficients.texts("ci_method");
    assert!(methods.iter().all(|m| m == "t"), "{methods:?}");
}

/// Spread of 4,000 replicates for three ways to resample, against converged refits done elsewhere.
#[test]
fn bootstrap_standard_errors() {
    struct Row {
        resample: &'static str,
        /// A, B, E, alpha, beta and beta/(alpha + beta).
        spread: [f64; 6],
        /// Of alpha, beta and E.
        intervals: [(f64, f64); 3],
    }
    let Some(data) = shared_data("chinchilla_epoch.parquet") else {
        return;
    };
    let table = [
        Row {
            resample: "pairs",
            spread: [122.5, 1385.0, 0.0257, 0.0153, 0.0203, 0.0196],
            intervals: [(0.3165, 0.3725), (0.3332, 0.4163), (1.7701, 1.8714)],
        },
        Row {
            resample: "cluster:size_cluster",
            spread: [149.7, 901.0, 0.0274, 0.0180, 0.0178, 0.0206],
            intervals: [(0.3096, 0.3794), (0.3312, 0.4051), (1.7634, 1.8679)],
        },
        Row {
            resample: "cluster:budget_cluster",
            spread: [161.6, 1971.0, 0.0345, 0.0181, 0.0371, 0.0360],
            intervals: [(0.3139, 0.3830), (0.2748, 0.4247), (1.7238, 1.8625)],
        },
    ];
    for row in table {
        let folder = Folder::new();
        let outcome = fit(
            &text(&data),
            &folder.path("out"),
            &[
                "--law",
                "chinchilla",
                "--where",
                "kept",
                "--loss",
                "huber:1e-3",
                "--bootstrap",
                "4000",
                "--resample",
                row.resample,
                "--interval",
                "percentile",
                "--keep-replicates",
            ],
        );
        let failed = outcome.only("n_replicates_failed");
        assert_eq!(outcome.only("n_replicates"), 4000.0);
        assert!(failed <= 40.0, "{}: {failed} replicates failed", row.resample);
        for (name, want) in ["A", "B", "E", "alpha", "beta"].iter().zip(row.spread) {
            // The Monte-Carlo error is 2 % on either side, and 7 % for B, whose distribution has a long tail.
            let tolerance = if *name == "B" { 0.15 } else { 0.06 };
            let what = format!("{} {name}", row.resample);
            let got = outcome.of_parameter(name, "bootstrap_std_error");
            assert_close(&what, got, want, tolerance);
        }
        for (name, (low, high)) in ["alpha", "beta", "E"].iter().zip(row.intervals) {
            // An end's Monte-Carlo error is 0.06 standard errors on either side: three sigmas of the difference.
            let slack = 0.25 * outcome.of_parameter(name, "bootstrap_std_error");
            let ends =
                [(outcome.of_parameter(name, "ci_low"), low), (outcome.of_parameter(name, "ci_high"), high)];
            for (got, want) in ends {
                assert!((got - want).abs() <= slack, "{} {name}: {got} {want}", row.resample);
            }
        }
        // The derived exponent, from the replicates themselves.
        let replicates = outcome.replicates.as_ref().expect("replicates");
        let names = outcome.coefficients.texts("parameter");
        let place = |name: &str| names.iter().position(|n| n == name).expect("a parameter");
        let (alpha, beta) = (place("alpha"), place("beta"));
        let converged = replicates.bools("converged");
        let shares: Vec<f64> = replicates
            .lists("estimates")
            .iter()
            .zip(&converged)
            .filter(|(_, ok)| **ok)
            .map(|(estimates, _)| estimates[beta] / (estimates[alpha] + estimates[beta]))
            .collect();
        assert_close(&format!("{} a", row.resample), deviation(&shares), row.spread[5], 0.06);
        if row.resample == "pairs" {
            let values = |of: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
                replicates.lists("estimates").iter().map(|e| of(e)).collect()
            };
            let log_a = values(&|e| e[place("A")].ln());
            let alphas = values(&|e| e[alpha]);
            let r = correlation(&log_a, &alphas);
            assert!(relative(r, 0.999) < 0.001, "corr(log A, alpha) = {r}");
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    let squares: f64 = values.iter().map(|x| (x - centre).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (ma, mb) = (mean(a), mean(b));
    let products: f64 = a.iter().zip(b).map(|(x, y)| (x - ma) * (y - mb)).sum();
    products / ((a.len() - 1) as f64 * deviation(a) * deviation(b))
}
