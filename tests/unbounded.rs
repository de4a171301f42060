//! Where the objective has a limit and no minimum, or a minimum that one side of an interval does not see the end of.
//!
//! What is right follows from the law: data that a limit of the law fits exactly, and no member of it, has no minimum.

mod common;

use common::program::{Outcome, fit};
use common::{Folder, floats};

fn fitted(law: &str, x: &[f64], y: &[f64], more: &[&str]) -> Outcome {
    let folder = Folder::new();
    folder.write("in.parquet", &[("x", floats(x)), ("y", floats(y))]);
    let arguments = [&["--law", law, "--residual", "linear", "--loss", "l2"], more].concat();
    fit(&folder.path("in.parquet"), &folder.path("out"), &arguments)
}

/// Status `unbounded`, no uncertainty, and a message that says where the parameters go.
#[track_caller]
fn assert_unbounded(outcome: &Outcome, said: &[&str]) {
    let message = &outcome.fits.texts("message")[0];
    assert_eq!(outcome.status(), "unbounded", "{message}");
    for part in said {
        assert!(message.contains(part), "{part} in: {message}");
    }
    for column in ["std_error", "bootstrap_std_error", "ci_low", "ci_high"] {
        assert!(outcome.coefficients.nulls(column).iter().all(|null| *null), "{column}");
    }
}

fn grid(low: f64, high: f64, count: usize) -> Vec<f64> {
    (0..count).map(|i| low + (high - low) * i as f64 / (count - 1) as f64).collect()
}

/// Doses that do nothing, then doses that do all: the steeper the curve, the better, whatever the place of the step.
#[test]
fn all_or_nothing() {
    let x: Vec<f64> = (-3..=3).flat_map(|k| [10.0_f64.powi(k); 3]).collect();
    for step in [0.03, 3.0, 300.0] {
        let y: Vec<f64> = x
            .iter()
            .enumerate()
            .map(|(i, x)| f64::from(u8::from(*x > step)) + 0.01 * (i % 3) as f64)
            .collect();
        let law = "y ~ bottom + (top - bottom)/(1 + (x/e)^(-hill)) where e > 0, hill > 0";
        assert_unbounded(
            &fitted(law, &x, &y, &["--bootstrap", "100"]),
            &["`hill` → ∞", "the limit is a step"],
        );
    }
}

/// An exponential approach to data on a line, and on a parabola that bends the other way: the limit is the line.
#[test]
fn a_curve_that_is_a_line() {
    let x = grid(1.0, 10.0, 12);
    for bend in [0.0, 0.02] {
        let y: Vec<f64> =
            x.iter().enumerate().map(|(i, x)| 2.0 + 3.0 * x + bend * x * x + 0.01 * (i % 2) as f64).collect();
        let outcome = fitted("y ~ c + a*(1 - exp(-k*x)) where k > 0", &x, &y, &["--bootstrap", "0"]);
        assert_unbounded(&outcome, &["`a` → ∞", "`k` → 0", "the limit is a straight line"]);
    }
}

/// `b·(1 + x/d)^(-c)` with `c/d` held tends to an exponential.
#[test]
fn a_power_that_is_an_exponential() {
    let x = grid(1.0, 30.0, 20);
    // Falls faster than any power: the exponential itself is not fast enough.
    let y: Vec<f64> = x.iter().map(|x| (-0.1 * x - 0.003 * x * x).exp()).collect();
    let outcome = fitted("y ~ b*(1 + x/d)^(-c) where b > 0, d > 0, c > 0", &x, &y, &["--bootstrap", "0"]);
    assert_unbounded(&outcome, &["`d`", "`c`", "→ ∞", "the limit is an exponential"]);
}

/// The same laws on data of their own are not: finite minima, with what made the data inside their intervals.
#[test]
fn minima_are_none_the_less_found() {
    let x = grid(1.0, 10.0, 12);
    let noise = |i: usize| 0.02 * ((i as f64 * 0.618_033_988_749_894_9).fract() - 0.5);
    let y: Vec<f64> =
        x.iter().enumerate().map(|(i, x)| 2.0 + 3.0 * (1.0 - (-0.3 * x).exp()) + noise(i)).collect();
    let outcome = fitted("y ~ c + a*(1 - exp(-k*x)) where k > 0", &x, &y, &["--bootstrap", "0"]);
    assert_eq!(outcome.status(), "converged");
    for (name, truth) in [("c", 2.0), ("a", 3.0), ("k", 0.3)] {
        let (low, high) = (outcome.of_parameter(name, "ci_low"), outcome.of_parameter(name, "ci_high"));
        assert!(low <= truth && truth <= high, "{name}: {low} to {high}");
    }
}

/// Data with a trace of bend: the minimum is finite, but a line is hardly worse, so that one end of the amplitude's interval
/// is infinite, and said to be.
#[test]
fn an_interval_without_an_end() {
    let x = grid(1.0, 10.0, 12);
    let noise = |i: usize| 1.2 * ((i as f64 * 0.618_033_988_749_894_9).fract() - 0.5);
    let y: Vec<f64> =
        x.iter().enumerate().map(|(i, x)| 40.0 * (1.0 - (-0.02 * x).exp()) + noise(i)).collect();
    let outcome = fitted("y ~ c + a*(1 - exp(-k*x)) where k > 0", &x, &y, &["--bootstrap", "0"]);
    assert_eq!(outcome.status(), "converged");
    assert!(outcome.fits.texts("flags")[0].contains("unbounded"), "{:?}", outcome.fits.texts("flags"));
    assert_eq!(outcome.of_parameter("a", "ci_high"), f64::INFINITY);
    assert_eq!(outcome.of_parameter("k", "ci_low"), 0.0);
}

/// Doses of which one lies on the slope: a curve of infinite slope takes three levels and is as good, within the interval's
/// level. The slope's interval has no end; that of the dose at half effect, which must lie near that dose, has two.
#[test]
fn a_slope_without_an_end_leaves_the_place_bounded() {
    let x: Vec<f64> = (-3..=3).flat_map(|k| [10.0_f64.powi(k); 2]).collect();
    let y = [9.4, 9.5, 10.1, 9.2, 9.4, 10.8, 9.5, 10.0, 71.1, 71.4, 74.5, 72.8, 73.9, 74.7];
    let squares = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|y| (y - mean).powi(2)).sum::<f64>()
    };
    let limit = 0.5 * (squares(&y[..8]) + squares(&y[8..10]) + squares(&y[10..]));
    let law = "y ~ bottom + (top - bottom)/(1 + (x/e)^(-h)) where e > 0, h > 0";
    let outcome = fitted(law, &x, &y, &["--bootstrap", "0"]);
    let minimum = outcome.only("objective");
    // Student's t at 97.5 % with 14 − 4 degrees of freedom (any table).
    let level = minimum * (1.0 + 2.228_f64.powi(2) / 10.0);
    assert!(minimum < limit && limit < level, "{minimum} {limit} {level}");
    assert_eq!(outcome.status(), "converged");
    assert_eq!(outcome.of_parameter("h", "ci_high"), f64::INFINITY);
    assert!(outcome.of_parameter("e", "ci_high").is_finite());
}
