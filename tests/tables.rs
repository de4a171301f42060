//! The output tables: their schema, and their numbers against computations of the tests' own.

mod common;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field};
use common::program::{Outcome, Table, assert_close, fit, program};
use common::{Folder, floats, strings};

/// Deterministic scatter, so that tests need no random numbers.
fn scatter(i: usize) -> f64 {
    ((i * 7919 + 13) % 101) as f64 / 101.0 - 0.5
}

/// A straight line with scatter: x, y, and a weight.
fn line(n: usize) -> (Vec<f64>, Vec<f64>) {
    let x: Vec<f64> = (0..n).map(|i| 1.0 + i as f64 * 0.75).collect();
    let y = x.iter().enumerate().map(|(i, x)| 2.0 + 0.5 * x + 0.3 * scatter(i)).collect();
    (x, y)
}

const LINE: [&str; 2] = ["--law", "y ~ a + b*x"];

/// Closed-form weighted least squares of a straight line.
struct Line {
    a: f64,
    b: f64,
    /// Standard errors with the variance taken from the residuals.
    se: [f64; 2],
    /// The same with weights taken as exact inverse variances.
    se_absolute: [f64; 2],
    rss: f64,
    leverage: Vec<f64>,
}

fn weighted_line(x: &[f64], y: &[f64], w: &[f64]) -> Line {
    let total: f64 = w.iter().sum();
    let mean = |v: &[f64]| v.iter().zip(w).map(|(v, w)| v * w).sum::<f64>() / total;
    let (mx, my) = (mean(x), mean(y));
    let sxx: f64 = x.iter().zip(w).map(|(x, w)| w * (x - mx).powi(2)).sum();
    let sxy: f64 = (0..x.len()).map(|i| w[i] * (x[i] - mx) * (y[i] - my)).sum();
    let b = sxy / sxx;
    let a = my - b * mx;
    let rss: f64 = (0..x.len()).map(|i| w[i] * (a + b * x[i] - y[i]).powi(2)).sum();
    let n = w.iter().filter(|w| **w > 0.0).count() as f64;
    let se_absolute = [(1.0 / total + mx * mx / sxx).sqrt(), sxx.powf(-0.5)];
    let s = (rss / (n - 2.0)).sqrt();
    Line {
        a,
        b,
        se: se_absolute.map(|e| e * s),
        se_absolute,
        rss,
        leverage: (0..x.len()).map(|i| w[i] * (1.0 / total + (x[i] - mx).powi(2) / sxx)).collect(),
    }
}

fn names_and_types(table: &Table) -> Vec<(String, DataType)> {
    let schema = table.0.schema();
    let fields = schema.fields().iter();
    fields.map(|f| (f.name().clone(), f.data_type().clone())).collect()
}

fn expected(columns: &[(&str, &DataType)]) -> Vec<(String, DataType)> {
    columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).clone())).collect()
}

/// Names, types and order of every column, as users' scripts rely on them.
#[test]
fn schemas_are_the_contracts() {
    let folder = Folder::new();
    let (x, y) = line(12);
    let dictionary: arrow::array::DictionaryArray<arrow::datatypes::Int8Type> =
        ["one", "two"].iter().cycle().take(12).copied().collect();
    folder.write(
        "a.parquet",
        &[
            ("learner", Arc::new(dictionary) as ArrayRef),
            ("budget", Arc::new(Int32Array::from_iter((0..12).map(|i| (i >= 2).then_some(7))))),
            ("x", floats(&x)),
            ("y", floats(&y)),
        ],
    );
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &[&LINE[..], &["--by", "learner,budget", "--bootstrap", "20", "--keep-replicates", "--residuals"]]
            .concat(),
    );
    let (string, int, float, boolean) =
        (&DataType::Utf8, &DataType::Int64, &DataType::Float64, &DataType::Boolean);
    let learner = &DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let keys = [("learner", learner), ("budget", &DataType::Int32)];
    let with_keys = |own: &[(&str, &DataType)]| expected(&[&keys[..], own].concat());

    let floats_list = names_and_types(&outcome.fits)
        .into_iter()
        .find(|(name, _)| name == "variable_low")
        .map(|(_, kind)| kind)
        .expect("a column");
    assert!(matches!(&floats_list, DataType::List(item) if *item.data_type() == DataType::Float64));
    assert_eq!(
        names_and_types(&outcome.fits),
        with_keys(&[
            ("law", string),
            ("residual", string),
            ("loss", string),
            ("seed", &DataType::UInt64),
            ("status", string),
            ("message", string),
            ("n_points", int),
            ("n_parameters", int),
            ("objective", float),
            ("gradient_norm", float),
            ("condition_number", float),
            ("n_starts", int),
            ("n_agreeing", int),
            ("iterations", int),
            ("evaluations", int),
            ("r_squared", float),
            ("rmse", float),
            ("rmsle", float),
            ("aic", float),
            ("aicc", float),
            ("bic", float),
            ("n_replicates", int),
            ("n_replicates_failed", int),
            ("n_jackknife", int),
            ("runner_up_objective", float),
            ("variable_low", &floats_list),
            ("variable_high", &floats_list),
            ("new_run_margin", float),
            ("flags", string),
            ("content_hash", string),
        ])
    );
    assert_eq!(
        names_and_types(&outcome.coefficients),
        with_keys(&[
            ("law", string),
            ("parameter", string),
            ("estimate", float),
            ("std_error", float),
            ("bootstrap_std_error", float),
            ("ci_low", float),
            ("ci_high", float),
            ("confidence", float),
            ("ci_method", string),
            ("at_bound", boolean),
            ("fixed", boolean),
        ])
    );
    let replicates = names_and_types(outcome.replicates.as_ref().expect("replicates"));
    let list = replicates[5].1.clone();
    assert!(matches!(&list, DataType::List(item) if *item.data_type() == DataType::Float64));
    assert_eq!(
        replicates,
        with_keys(&[
            ("law", string),
            ("replicate", int),
            ("objective", float),
            ("estimates", &list),
            ("converged", boolean),
        ])
    );
    assert_eq!(
        names_and_types(outcome.residuals.as_ref().expect("residuals")),
        with_keys(&[
            ("law", string),
            ("file", string),
            ("row", int),
            ("x", float),
            ("response", float),
            ("prediction", float),
            ("residual", float),
            ("weight", float),
            ("leverage", float),
            ("sigma", float),
            ("cluster", int),
        ])
    );
    assert_eq!(
        names_and_types(&outcome.rejected),
        with_keys(&[("law", string), ("file", string), ("row", int), ("code", string), ("reason", string)])
    );

    // Null is a key like any other, and the tables are sorted by the keys.
    let learners = outcome.fits.texts("learner");
    assert_eq!(outcome.fits.rows(), 4);
    assert!(learners.is_sorted());
    assert_eq!(outcome.fits.nulls("budget").iter().filter(|n| **n).count(), 2);
    assert_eq!(outcome.fits.integers("budget").iter().flatten().copied().collect::<Vec<i64>>(), [7, 7]);
}

/// `sweepfit schema` says what the files hold.
#[test]
fn the_schema_command_agrees_with_the_files() {
    let folder = Folder::new();
    let (x, y) = line(8);
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let outcome = fit(&folder.path("a.parquet"), &folder.path("out"), &LINE);
    for (name, table) in [("fits", &outcome.fits), ("coefficients", &outcome.coefficients)] {
        let said = program(&["schema", name]);
        let said = String::from_utf8(said.stdout).expect("text");
        let listed: Vec<&str> = said
            .lines()
            .skip_while(|line| !line.trim_start().starts_with("column"))
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        let names: Vec<String> = names_and_types(table).into_iter().map(|(n, _)| n).collect();
        for column in &names {
            assert!(listed.contains(&column.as_str()), "{name}: {column} in {listed:?}");
        }
    }
    assert_eq!(program(&["schema", "fit"]).status.code(), Some(2));
}

/// A straight line has closed forms for everything.
#[test]
fn a_line_against_its_closed_form() {
    let folder = Folder::new();
    let (x, y) = line(15);
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &[&LINE[..], &["--bootstrap", "0", "--residuals"]].concat(),
    );
    let own = weighted_line(&x, &y, &[1.0; 15]);
    assert_eq!(outcome.status(), "converged");
    assert_eq!(outcome.fits.texts("message"), [""]);
    assert_eq!(outcome.fits.texts("law"), ["y ~ a + b*x"]);
    assert_eq!(outcome.fits.texts("residual"), ["linear"]);
    assert_eq!(outcome.fits.texts("loss"), ["l2"]);
    assert_eq!((outcome.only("n_points"), outcome.only("n_parameters")), (15.0, 2.0));
    assert_close("objective", outcome.only("objective"), own.rss / 2.0, 1e-12);
    assert_close("a", outcome.estimate("a"), own.a, 1e-12);
    assert_close("b", outcome.estimate("b"), own.b, 1e-12);
    for (name, se) in ["a", "b"].iter().zip(own.se) {
        assert_close(name, outcome.of_parameter(name, "std_error"), se, 1e-10);
    }

    let n = 15.0;
    let my = y.iter().sum::<f64>() / n;
    let total: f64 = y.iter().map(|y| (y - my).powi(2)).sum();
    let prediction: Vec<f64> = x.iter().map(|x| own.a + own.b * x).collect();
    let log_squares: f64 = prediction.iter().zip(&y).map(|(p, y)| (p.ln() - y.ln()).powi(2)).sum();
    assert_close("r_squared", outcome.only("r_squared"), 1.0 - own.rss / total, 1e-12);
    assert_close("rmse", outcome.only("rmse"), (own.rss / n).sqrt(), 1e-12);
    assert_close("rmsle", outcome.only("rmsle"), (log_squares / n).sqrt(), 1e-10);
    // The Gaussian likelihood at its maximum; the variance counts as a parameter.
    let log_likelihood = -0.5 * n * ((2.0 * std::f64::consts::PI * own.rss / n).ln() + 1.0);
    let k = 3.0;
    let aic = 2.0 * k - 2.0 * log_likelihood;
    assert_close("aic", outcome.only("aic"), aic, 1e-11);
    assert_close("aicc", outcome.only("aicc"), aic + 2.0 * k * (k + 1.0) / (n - k - 1.0), 1e-11);
    assert_close("bic", outcome.only("bic"), k * n.ln() - 2.0 * log_likelihood, 1e-11);

    let rows = outcome.residuals.expect("residuals");
    assert_eq!(rows.rows(), 15);
    let files = rows.texts("file");
    assert!(files.iter().all(|f| f.ends_with("a.parquet")), "{files:?}");
    let places = rows.integers("row");
    for (i, place) in places.iter().enumerate() {
        let row = place.and_then(|r| usize::try_from(r).ok()).expect("a row");
        assert_eq!(rows.floats("x")[i], x[row]);
        assert_eq!(rows.floats("response")[i], y[row]);
        assert_eq!(rows.floats("weight")[i], 1.0);
        assert_close("prediction", rows.floats("prediction")[i], prediction[row], 1e-12);
        let residual = rows.floats("residual")[i];
        assert!((residual - (prediction[row] - y[row])).abs() < 1e-12, "{residual}");
        assert_close("leverage", rows.floats("leverage")[i], own.leverage[row], 1e-11);
    }
    let trace: f64 = rows.floats("leverage").iter().sum();
    assert_close("trace of the hat matrix", trace, 2.0, 1e-12);
}

/// In log space residuals are ratios; the information criteria are still densities of the response itself.
#[test]
fn log_residuals_and_comparable_criteria() {
    let folder = Folder::new();
    let x: Vec<f64> = (1..=14).map(f64::from).collect();
    let y: Vec<f64> =
        x.iter().enumerate().map(|(i, x)| 3.0 * x.powf(-0.4) * (0.1 * scatter(i)).exp()).collect();
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &["--law", "power", "--loss", "l2", "--bootstrap", "0", "--residuals"],
    );
    // A straight line of logarithms.
    let lx: Vec<f64> = x.iter().map(|x| x.ln()).collect();
    let ly: Vec<f64> = y.iter().map(|y| y.ln()).collect();
    let own = weighted_line(&lx, &ly, &[1.0; 14]);
    assert_close("b", outcome.estimate("b"), own.a.exp(), 1e-10);
    assert_close("c", outcome.estimate("c"), -own.b, 1e-10);
    assert_close("se of c", outcome.of_parameter("c", "std_error"), own.se[1], 1e-8);
    assert_close("se of b", outcome.of_parameter("b", "std_error"), own.se[0] * own.a.exp(), 1e-8);
    let rows = outcome.residuals.as_ref().expect("residuals");
    let (p, r, y) = (rows.floats("prediction"), rows.floats("residual"), rows.floats("response"));
    for i in 0..rows.rows() {
        assert!((r[i] - (p[i] / y[i]).ln()).abs() < 1e-12);
    }
    let n = 14.0;
    // The density of y is that of log y divided by y.
    let jacobian: f64 = ly.iter().sum();
    let log_likelihood = -0.5 * n * ((2.0 * std::f64::consts::PI * own.rss / n).ln() + 1.0) - jacobian;
    assert_close("aic", outcome.only("aic"), 6.0 - 2.0 * log_likelihood, 1e-9);
}

/// σ scales residuals; whether it also scales standard errors is the user's word.
#[test]
fn sigma_relative_and_absolute() {
    let folder = Folder::new();
    let (x, y) = line(15);
    let sigma: Vec<f64> = (0..15).map(|i| 0.1 + 0.05 * f64::from(i % 4)).collect();
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y)), ("s", floats(&sigma))]);
    let w: Vec<f64> = sigma.iter().map(|s| s.powi(-2)).collect();
    let own = weighted_line(&x, &y, &w);
    let run = |name: &str, more: &[&str]| {
        fit(
            &folder.path("a.parquet"),
            &folder.path(name),
            &[&LINE[..], &["--bootstrap", "0", "--sigma", "s"], more].concat(),
        )
    };
    let (relative, absolute) = (run("relative", &[]), run("absolute", &["--absolute-sigma"]));
    for outcome in [&relative, &absolute] {
        assert_close("objective", outcome.only("objective"), own.rss / 2.0, 1e-12);
        assert_close("a", outcome.estimate("a"), own.a, 1e-12);
        assert_close("b", outcome.estimate("b"), own.b, 1e-12);
    }
    for (i, name) in ["a", "b"].iter().enumerate() {
        let se = |outcome: &Outcome| outcome.of_parameter(name, "std_error");
        assert_close("relative", se(&relative), own.se[i], 1e-10);
        assert_close("absolute", se(&absolute), own.se_absolute[i], 1e-10);
    }
}

/// A weight of zero is a row that is not there, for estimates, errors, criteria and replicates.
#[test]
fn zero_weights_equal_dropped_rows() {
    let folder = Folder::new();
    let (x, mut y) = line(20);
    // Observations that would ruin the fit, were they to count.
    let out = |i: usize| i % 5 == 3;
    for i in (0..20).filter(|&i| out(i)) {
        y[i] += 50.0;
    }
    let weight: Vec<f64> = (0..20).map(|i| if out(i) { 0.0 } else { 1.0 + (i % 3) as f64 }).collect();
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y)), ("w", floats(&weight))]);
    let common = [&LINE[..], &["--weight", "w", "--bootstrap", "200", "--seed", "5"]].concat();
    let all = fit(&folder.path("a.parquet"), &folder.path("all"), &common);
    let dropped = fit(
        &folder.path("a.parquet"),
        &folder.path("dropped"),
        &[&common[..], &["--where", "w > 0"]].concat(),
    );
    let own = weighted_line(&x, &y, &weight);
    assert_close("b", all.estimate("b"), own.b, 1e-11);
    assert_close("se of b", all.of_parameter("b", "std_error"), own.se[1], 1e-10);
    for column in ["objective", "r_squared", "rmse", "rmsle", "aic", "aicc", "bic"] {
        assert_close(column, all.only(column), dropped.only(column), 1e-11);
    }
    for column in ["estimate", "std_error", "bootstrap_std_error", "ci_low", "ci_high"] {
        for name in ["a", "b"] {
            let (one, other) = (all.of_parameter(name, column), dropped.of_parameter(name, column));
            assert_close(&format!("{column} of {name}"), one, other, 1e-9);
        }
    }
    assert_eq!(all.rejected.rows(), 0);
    assert_eq!((all.only("n_points"), dropped.only("n_points")), (16.0, 16.0));
}

/// Intervals and standard errors are what the kept replicates say.
#[test]
fn percentiles_of_the_kept_replicates() {
    let folder = Folder::new();
    let (x, y) = line(15);
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &[
            &LINE[..],
            &["--bootstrap", "321", "--interval", "percentile", "--confidence", "0.8", "--seed", "9"],
        ]
        .concat(),
    );
    let replicates = outcome.replicates.as_ref().expect("replicates");
    assert_eq!(replicates.rows(), 321);
    assert_eq!(outcome.only("n_replicates"), 321.0);
    assert_eq!(outcome.fits.column("seed").as_primitive::<arrow::datatypes::UInt64Type>().value(0), 9);
    let numbers: Vec<i64> = replicates.integers("replicate").into_iter().flatten().collect();
    assert_eq!(numbers, (0..321).collect::<Vec<i64>>());
    let converged = replicates.bools("converged");
    assert_eq!(outcome.only("n_replicates_failed"), converged.iter().filter(|c| !**c).count() as f64);
    let parameters = outcome.coefficients.texts("parameter");
    for (place, name) in parameters.iter().enumerate() {
        let mut values: Vec<f64> = replicates
            .lists("estimates")
            .iter()
            .zip(&converged)
            .filter(|(_, ok)| **ok)
            .map(|(list, _)| list[place])
            .collect();
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        // Linear interpolation between order statistics, as NumPy's and R's default.
        let quantile = |p: f64| {
            let place = p * (n - 1.0);
            let (low, share) = (place.floor() as usize, place.fract());
            let high = (low + 1).min(values.len() - 1);
            values[low] + share * (values[high] - values[low])
        };
        let of = |column: &str| outcome.of_parameter(name, column);
        assert_close("standard error", of("bootstrap_std_error"), variance.sqrt(), 1e-12);
        assert_close("low", of("ci_low"), quantile(0.1), 1e-12);
        assert_close("high", of("ci_high"), quantile(0.9), 1e-12);
        assert_eq!(of("confidence"), 0.8);
    }
    let methods = outcome.coefficients.texts("ci_method");
    assert!(methods.iter().all(|m| m == "percentile"));
}

/// A pairs replicate of a line is the weighted line of some counts that sum to n: its objective is never
/// above the full fit's scaled by what could have been drawn, and its spread is the sandwich's.
#[test]
fn replicates_spread_like_the_sandwich() {
    let folder = Folder::new();
    let n = 60;
    let (x, y) = line(n);
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let outcome =
        fit(&folder.path("a.parquet"), &folder.path("out"), &[&LINE[..], &["--bootstrap", "20000"]].concat());
    let own = weighted_line(&x, &y, &vec![1.0; n]);
    let mx = x.iter().sum::<f64>() / n as f64;
    let sxx: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
    // White's estimate of the slope's variance, to which the pairs bootstrap tends.
    let middle: f64 = (0..n).map(|i| ((x[i] - mx) * (own.a + own.b * x[i] - y[i])).powi(2)).sum();
    let sandwich = middle.sqrt() / sxx;
    // The bootstrap differs from it by O(1/n), and its Monte-Carlo error is 0.5 %.
    assert_close("slope", outcome.of_parameter("b", "bootstrap_std_error"), sandwich, 0.06);
}

/// Sweeps that are too small are listed as a whole, once, and have no fit.
#[test]
fn small_sweeps_are_rejected_as_a_whole() {
    let folder = Folder::new();
    let (x, y) = line(12);
    let run: Vec<&str> = (0..12).map(|i| if i < 3 { "small" } else { "large" }).collect();
    folder.write("a.parquet", &[("run", strings(&run)), ("x", floats(&x)), ("y", floats(&y))]);
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &[&LINE[..], &["--by", "run", "--min-points", "4", "--bootstrap", "0"]].concat(),
    );
    assert_eq!(outcome.fits.texts("run"), ["large"]);
    assert_eq!(outcome.rejected.texts("run"), ["small"]);
    assert_eq!(outcome.rejected.nulls("row"), [true]);
    assert_eq!(outcome.rejected.nulls("law"), [true]);
    assert_eq!(outcome.rejected.texts("code"), ["too_few"]);
    let reason = &outcome.rejected.texts("reason")[0];
    assert!(reason.contains("min_points") && reason.contains('3'), "{reason}");
}

/// Too few observations are a status, not a number.
#[test]
fn underdetermined_sweeps_say_so() {
    let folder = Folder::new();
    folder.write(
        "a.parquet",
        &[
            // Many rows, but one place: the line's slope is open.
            ("x", floats(&[2.0; 6])),
            ("y", floats(&[1.0, 1.1, 1.2, 0.9, 1.0, 1.3])),
        ],
    );
    let outcome = fit(&folder.path("a.parquet"), &folder.path("out"), &LINE);
    assert_eq!(outcome.status(), "underdetermined");
    assert!(!outcome.fits.texts("message")[0].is_empty());
    for name in ["a", "b"] {
        assert!(outcome.of_parameter(name, "std_error").is_nan());
        assert!(outcome.of_parameter(name, "bootstrap_std_error").is_nan());
    }

    folder.write("b.parquet", &[("x", floats(&[2.0])), ("y", floats(&[1.0]))]);
    let outcome = fit(&folder.path("b.parquet"), &folder.path("one"), &LINE);
    assert_eq!(outcome.status(), "underdetermined");
    assert!(outcome.of_parameter("b", "std_error").is_nan());
}

/// A domain's edge is a legitimate answer, and is marked.
#[test]
fn an_estimate_on_its_bound() {
    let folder = Folder::new();
    let (x, y) = line(15);
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &["--law", "y ~ a + b*x where a >= 0, b in [-2, 0]", "--bootstrap", "0"],
    );
    // The slope is positive, so the best constant is left.
    let mean = y.iter().sum::<f64>() / 15.0;
    assert_eq!(outcome.status(), "at_bound");
    assert_close("a", outcome.estimate("a"), mean, 1e-10);
    assert_eq!(outcome.estimate("b"), 0.0);
    assert_eq!(outcome.coefficients.bools("at_bound"), [false, true]);
    assert_eq!(outcome.coefficients.bools("fixed"), [false, false]);
    assert!(!outcome.fits.texts("message")[0].is_empty());
}

/// Fixed parameters are reported, exactly, and do not count.
#[test]
fn fixed_parameters() {
    let folder = Folder::new();
    let (x, y) = line(15);
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let slope = 0.475;
    let mean = y.iter().sum::<f64>() / 15.0 - slope * x.iter().sum::<f64>() / 15.0;
    let input = folder.path("a.parquet");
    for (out, arguments) in [
        ("flag", vec!["--law", "y ~ a + b*x", "--fix", "b=0.475"]),
        ("where", vec!["--law", "y ~ a + b*x where b = 0.475"]),
    ] {
        let outcome = fit(&input, &folder.path(out), &arguments);
        assert_eq!(outcome.only("n_parameters"), 1.0);
        assert_eq!(outcome.estimate("b"), slope);
        assert_close("a", outcome.estimate("a"), mean, 1e-11);
        assert_eq!(outcome.coefficients.bools("fixed"), [false, true]);
        assert!(outcome.of_parameter("b", "bootstrap_std_error").is_nan());
        assert!(outcome.of_parameter("b", "std_error").is_nan());
    }
}

/// Several laws: rows in the order of the flags within each sweep.
#[test]
fn laws_keep_the_order_of_the_flags() {
    let folder = Folder::new();
    let (x, y) = line(12);
    let run: Vec<&str> = (0..12).map(|i| ["q", "p"][i % 2]).collect();
    folder.write("a.parquet", &[("run", strings(&run)), ("x", floats(&x)), ("y", floats(&y))]);
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &["--law", "y ~ z + b*x", "--law", "power", "--law", "y ~ a*x", "--by", "run", "--bootstrap", "0"],
    );
    assert_eq!(outcome.fits.texts("run"), ["p", "p", "p", "q", "q", "q"]);
    let laws = outcome.fits.texts("law");
    assert_eq!(laws[..3], ["y ~ z + b*x", "power", "y ~ a*x"].map(String::from));
    assert_eq!(laws[..3], laws[3..]);
}

/// Counts and the job are in the manifest.
#[test]
fn the_manifest_counts() {
    let folder = Folder::new();
    let (x, mut y) = line(12);
    y[4] = f64::NAN;
    let keep: Vec<f64> = (0..12).map(|i| f64::from(i != 7)).collect();
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y)), ("keep", floats(&keep))]);
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &[&LINE[..], &["--where", "keep = 1", "--seed", "77", "--bootstrap", "10"]].concat(),
    );
    let manifest = outcome.manifest.to_string();
    for (pointer, want) in [
        ("/seed", 77),
        ("/counts/sweeps", 1),
        ("/counts/rows_read", 12),
        ("/counts/rows_dropped_by_where", 1),
        ("/counts/rejected_rows", 1),
        ("/fits_by_status/converged", 1),
        ("/inputs/0/rows", 12),
    ] {
        let value = outcome.manifest.pointer(pointer).and_then(serde_json::Value::as_i64);
        assert_eq!(value, Some(want), "{pointer} in {manifest}");
    }
    let size = std::fs::metadata(folder.path("a.parquet")).expect("the file").len();
    assert_eq!(outcome.manifest.pointer("/inputs/0/bytes"), Some(&size.into()));
    assert!(outcome.manifest.pointer("/wall_seconds").is_some());
    assert!(outcome.manifest.pointer("/version").is_some());
    assert_eq!(outcome.only("n_points"), 10.0);
    assert_eq!(outcome.rejected.integers("row"), [Some(4)]);
}

/// Key columns keep their types, text of any width and numbers alike.
#[test]
fn key_types_are_kept() {
    let folder = Folder::new();
    let (x, y) = line(6);
    for (file, key) in [
        ("text", Arc::new(arrow::array::LargeStringArray::from(vec!["a"; 6])) as ArrayRef),
        ("nullable", Arc::new(StringArray::from(vec![None::<&str>; 6]))),
        ("float", floats(&[1.5; 6])),
        ("small", Arc::new(arrow::array::UInt8Array::from(vec![3; 6]))),
        ("flag", Arc::new(arrow::array::BooleanArray::from(vec![true; 6]))),
        ("day", Arc::new(arrow::array::Date32Array::from(vec![20_000; 6]))),
    ] {
        let input = format!("{file}.parquet");
        let kind = key.data_type().clone();
        folder.write(&input, &[("key", key), ("x", floats(&x)), ("y", floats(&y))]);
        let outcome = fit(
            &folder.path(&input),
            &folder.path(file),
            &[&LINE[..], &["--by", "key", "--bootstrap", "0"]].concat(),
        );
        for table in [&outcome.fits, &outcome.coefficients, &outcome.rejected] {
            let schema = table.0.schema();
            let field: &Field = schema.field(0);
            assert_eq!((field.name().as_str(), field.data_type()), ("key", &kind), "{file}");
        }
    }
}
