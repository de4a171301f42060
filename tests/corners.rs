//! Laws with `min`, `max` and `abs`, against optima found by trying every way to cut the data into pieces.

mod common;

use common::program::{Outcome, assert_close, fit};
use common::{Folder, floats};

/// Least squares' line through points: intercept, slope.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let (mx, my) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (sxy, sxx) =
        points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + (x - mx) * (y - my), b + (x - mx) * (x - mx)));
    let slope = if sxx > 0.0 { sxy / sxx } else { 0.0 };
    (my - slope * mx, slope)
}

fn objective(points: &[(f64, f64)], curve: impl Fn(f64) -> f64) -> f64 {
    points.iter().map(|(x, y)| 0.5 * (y - curve(*x)).powi(2)).sum()
}

/// The least objective of `choose(line, line)` over all cuts at which each piece has its own line.
fn best_of_two_lines(points: &[(f64, f64)], choose: fn(f64, f64) -> f64) -> f64 {
    (2..=points.len() - 2)
        .map(|cut| {
            let ((a, b), (c, d)) = (line(&points[..cut]), line(&points[cut..]));
            objective(points, |x| choose(a + b * x, c + d * x))
        })
        .fold(f64::INFINITY, f64::min)
}

/// The least objective of `|a + b·x|` over all places where the line may cross zero.
fn best_of_absolute_line(points: &[(f64, f64)]) -> f64 {
    (0..=points.len())
        .map(|cut| {
            let signed: Vec<(f64, f64)> =
                points.iter().enumerate().map(|(i, (x, y))| (*x, if i < cut { -y } else { *y })).collect();
            let (a, b) = line(&signed);
            objective(points, |x| (a + b * x).abs())
        })
        .fold(f64::INFINITY, f64::min)
}

fn fitted(law: &str, points: &[(f64, f64)]) -> Outcome {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    let folder = Folder::new();
    folder.write("in.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    fit(&folder.path("in.parquet"), &folder.path("out"), &["--law", law, "--bootstrap", "0"])
}

/// Points of a curve with noise that is the same on every machine.
fn points(seed: f64, low: f64, high: f64, curve: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    (0..30)
        .map(|i| {
            let x = low + (high - low) * f64::from(i) / 29.0;
            let noise = ((f64::from(i) + seed) * 0.618_033_988_749_894_9).fract() - 0.5;
            (x, curve(x) + 0.6 * noise)
        })
        .collect()
}

fn assert_reached(what: &str, outcome: &Outcome, best: f64) {
    let found = outcome.only("objective");
    assert!(found <= best * (1.0 + 1e-9), "{what}: {found}, {best} is reached");
    if outcome.status() == "converged" {
        assert_close(what, found, best, 1e-9);
    }
}

#[test]
fn two_lines() {
    for seed in 0..8 {
        let seed = f64::from(seed) * 3.7;
        let roof = points(seed, -3.0, 5.0, |x| (2.0 + 1.5 * x).min(6.0 - 0.7 * x));
        let outcome = fitted("y ~ min(pa + pb*x, pc + pd*x)", &roof);
        assert_reached("min", &outcome, best_of_two_lines(&roof, f64::min));
        let valley = points(seed, 1.0, 40.0, |x| (3.0 - 2.0 * x.ln()).max(-5.0 + 0.8 * x.ln()));
        let outcome = fitted("y ~ max(b1 + a1*log(x), b2 + a2*log(x))", &valley);
        let logarithms: Vec<(f64, f64)> = valley.iter().map(|(x, y)| (x.ln(), *y)).collect();
        assert_reached("max", &outcome, best_of_two_lines(&logarithms, f64::max));
    }
}

#[test]
fn the_absolute_value_of_a_line() {
    for seed in 0..8 {
        let seed = f64::from(seed) * 5.3;
        let data = points(seed, -4.0, 4.0, |x| (3.0 * x - 2.0).abs());
        let outcome = fitted("y ~ abs(p1*x + p4)", &data);
        assert_reached("abs", &outcome, best_of_absolute_line(&data));
    }
}

/// A minimum at a corner, here where the one line through the one point has to bend, has no derivative to be certified by.
#[test]
fn a_minimum_at_a_corner_is_said_to_be_one() {
    // ½Σ(y − |x − m|)² with y = 0 at x = 0 thrice and y = 1 at ±1: least at m = 0, where the law bends at the three.
    let data = [(0.0, -0.5), (0.0, -0.5), (0.0, -0.5), (1.0, 1.0), (-1.0, 1.0)];
    let outcome = fitted("y ~ abs(x - m)", &data);
    assert_eq!(outcome.status(), "not_converged");
    assert!(outcome.fits.texts("message")[0].contains("corner"), "{:?}", outcome.fits.texts("message"));
    assert!(outcome.estimate("m").abs() < 1e-6);
}
