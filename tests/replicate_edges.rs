//! Replicates whose optimum lies on an edge of the domain, though the estimate does not.

mod common;

use common::floats;
use common::program::{assert_close, fit};

/// `y ~ E + B/sqrt(x)` is a straight line in `1/sqrt(x)`, so that everything is known in closed form: the estimate, and
/// the share of replicates whose free slope is negative, for which B ends on zero. By normal approximation that share
/// is Φ(−b/s) with the standard error s of resampled pairs, `Σ(u−ū)²e² / (Σ(u−ū)²)²` (White 1980).
#[test]
fn a_share_of_replicates_ends_on_the_edge() {
    let n = 60;
    let x: Vec<f64> = (0..n).map(|i| 1e3 * 10f64.powf(f64::from(i) / 20.0)).collect();
    let u: Vec<f64> = x.iter().map(|x| x.powf(-0.5)).collect();
    let y: Vec<f64> = (0..n)
        .zip(&u)
        .map(|(i, u)| {
            let t = (f64::from(i) + 1.0) * 0.618_033_988_749_894_9;
            2.0 + 0.3 * u + 0.05 * (t - t.floor() - 0.5)
        })
        .collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (centre, level) = (mean(&u), mean(&y));
    let spread: f64 = u.iter().map(|u| (u - centre).powi(2)).sum();
    let slope = u.iter().zip(&y).map(|(u, y)| (u - centre) * y).sum::<f64>() / spread;
    let middle: f64 =
        u.iter().zip(&y).map(|(u, y)| ((u - centre) * (y - level - slope * (u - centre))).powi(2)).sum();
    let error = middle.sqrt() / spread;
    let expected = 0.5 * libm::erfc(slope / error / 2f64.sqrt());
    assert!(expected > 0.03 && expected < 0.3, "the case is not what it should be: {expected}");

    let folder = common::Folder::new();
    folder.write("in.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let law = "y ~ E + B/x^0.5 where E > 0, B > 0";
    let outcome = fit(
        &folder.path("in.parquet"),
        &folder.path("out"),
        &["--law", law, "--bootstrap", "1000", "--keep-replicates"],
    );
    assert_eq!(outcome.status(), "converged");
    assert_close("B", outcome.estimate("B"), slope, 1e-9);
    assert_close("E", outcome.estimate("E"), level - slope * centre, 1e-9);
    assert_eq!(outcome.only("n_replicates_failed"), 0.0);
    // Left out, they would cut the interval off.
    assert_eq!(outcome.of_parameter("B", "ci_low"), 0.0);
    assert!(outcome.of_parameter("B", "ci_high") > slope);

    let replicates = outcome.replicates.as_ref().expect("replicates");
    assert!(replicates.bools("converged").iter().all(|c| *c));
    let names = outcome.coefficients.texts("parameter");
    let b = names.iter().position(|n| n == "B").expect("a parameter");
    let values: Vec<f64> = replicates.lists("estimates").iter().map(|e| e[b]).collect();
    assert!(values.iter().all(|v| *v >= 0.0));
    let on_edge = values.iter().filter(|v| **v == 0.0).count() as f64 / 1000.0;
    // Three standard errors of a share of 1,000, and as much for the normal approximation.
    assert!((on_edge - expected).abs() < 0.06, "{on_edge} on the edge, expected {expected}");
}

/// Replicates of an estimate on an edge do not depend on units: with `x` times 2^k and `y` times 2^m, which rounds nothing, `E`
/// is 2^m times and `B` 2^(m + k/2) times what it was.
#[test]
fn replicates_of_an_estimate_on_the_edge_have_no_units() {
    let n = 40;
    let x: Vec<f64> = (0..n).map(|i| 1e3 * 10f64.powf(f64::from(i) / 15.0)).collect();
    let y: Vec<f64> = (0..n)
        .zip(&x)
        .map(|(i, x)| {
            let t = (f64::from(i) + 1.0) * 0.618_033_988_749_894_9;
            2.0 - 0.1 * x.powf(-0.5) + 0.05 * (t - t.floor() - 0.5)
        })
        .collect();
    for residual in ["linear", "log"] {
        let run = |k: i32, m: i32| {
            let scaled =
                |values: &[f64], by: i32| values.iter().map(|v| v * 2f64.powi(by)).collect::<Vec<f64>>();
            let folder = common::Folder::new();
            folder.write("in.parquet", &[("x", floats(&scaled(&x, k))), ("y", floats(&scaled(&y, m)))]);
            let law = "y ~ E + B/x^0.5 where E > 0, B > 0";
            let outcome = fit(
                &folder.path("in.parquet"),
                &folder.path("out"),
                &[
                    "--law",
                    law,
                    "--residual",
                    residual,
                    "--loss",
                    "l2",
                    "--bootstrap",
                    "200",
                    "--keep-replicates",
                ],
            );
            assert_eq!(outcome.status(), "at_bound");
            let replicates = outcome.replicates.as_ref().expect("replicates");
            let names = outcome.coefficients.texts("parameter");
            let unit = |name: &str| 2f64.powi(if name == "B" { m + k / 2 } else { m });
            let estimates: Vec<Vec<f64>> = replicates
                .lists("estimates")
                .iter()
                .map(|row| row.iter().zip(&names).map(|(v, name)| v / unit(name)).collect())
                .collect();
            (estimates, replicates.bools("converged"))
        };
        let (estimates, converged) = run(0, 0);
        assert!(converged.iter().filter(|c| **c).count() >= 195);
        let free = estimates.iter().filter(|row| row.iter().all(|v| *v > 0.0)).count();
        assert!(free >= 20, "{free} replicates left the edge");
        let most: Vec<f64> = (0..2).map(|j| estimates.iter().map(|row| row[j]).fold(0.0, f64::max)).collect();
        for (k, m) in [(-20, 0), (0, -20), (20, 10), (-10, 30)] {
            let (others, converged_others) = run(k, m);
            assert_eq!(converged, converged_others, "{residual} {k} {m}");
            for (row, other) in estimates.iter().zip(&others) {
                for j in 0..2 {
                    let off = (row[j] - other[j]).abs() / most[j];
                    assert!(off <= 1e-9, "{residual} {k} {m}: {row:?} {other:?}");
                }
            }
        }
    }
}

/// An interval of less than ten replicates is none to rely on, however many samples could be drawn.
#[test]
fn few_replicates_are_flagged() {
    let folder = common::Folder::new();
    let x: Vec<f64> = (1..=30).map(f64::from).collect();
    let y: Vec<f64> = x.iter().map(|x| 2.0 + 0.5 * x + (7.0 * x).sin()).collect();
    folder.write("in.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    for (replicates, flagged) in [("1", true), ("3", true), ("9", true), ("10", false)] {
        let outcome = fit(
            &folder.path("in.parquet"),
            &folder.path(replicates),
            &["--law", "y ~ a + b*x", "--bootstrap", replicates],
        );
        let flags = outcome.fits.texts("flags").remove(0);
        assert_eq!(flags.contains("few_replicates"), flagged, "{replicates} replicates: {flags}");
    }
}
