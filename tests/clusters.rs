//! Observations that come in clusters: what few of them can tell, and standard errors against their formula.

mod common;

use common::program::{Outcome, assert_close, fit};
use common::{Folder, floats, strings};

/// `count` clusters of four observations of a mean of five, each cluster off by its own amount.
fn clustered(count: usize) -> (Vec<String>, Vec<f64>, Vec<f64>) {
    let (mut names, mut x, mut y) = (Vec::new(), Vec::new(), Vec::new());
    for cluster in 0..count {
        let off = (cluster as f64 * 0.618_033_988_749_894_9).fract() - 0.5;
        for i in 0..4 {
            names.push(format!("c{cluster}"));
            x.push(1.0 + i as f64 + 4.0 * cluster as f64);
            y.push(5.0 + off + 0.1 * (i as f64 - 1.3));
        }
    }
    (names, x, y)
}

fn fitted(count: usize, law: &str, bootstrap: &str) -> Outcome {
    let (names, x, y) = clustered(count);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let folder = Folder::new();
    folder.write("in.parquet", &[("c", strings(&names)), ("x", floats(&x)), ("y", floats(&y))]);
    let arguments = ["--law", law, "--resample", "cluster:c", "--bootstrap", bootstrap];
    fit(&folder.path("in.parquet"), &folder.path("out"), &arguments)
}

/// Of two clusters half of the draws are the sample itself and the others one of them twice: no interval is made of that.
#[test]
fn two_clusters_give_no_interval() {
    let outcome = fitted(2, "y ~ m + 0*x", "400");
    let flags = &outcome.fits.texts("flags")[0];
    assert!(flags.contains("few_replicates") && flags.contains("few_clusters"), "{flags}");
    assert!(outcome.coefficients.nulls("ci_low")[0] && outcome.coefficients.nulls("ci_high")[0]);
    let many = fitted(12, "y ~ m + 0*x", "400");
    assert_eq!(many.fits.texts("flags")[0], "");
    assert!(many.of_parameter("m", "ci_low") < 5.0);
}

/// Of a mean over `G` clusters of equal size, CR2 is `Σ S²/(N²·(1 − 1/G))`, `S` being a cluster's sum of residuals, with `G − 1`
/// degrees of freedom (Pustejovsky & Tipton 2018).
#[test]
fn standard_errors_over_clusters() {
    let (count, quantile) = (6, 2.570_581_835_636_314);
    let outcome = fitted(count, "y ~ m + 0*x", "0");
    let (_, _, y) = clustered(count);
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    let sums = y.chunks(4).map(|c| c.iter().map(|y| y - mean).sum::<f64>());
    let variance = sums.map(|s| s * s).sum::<f64>() / (n * n * (1.0 - 1.0 / count as f64));
    assert_close("m", outcome.estimate("m"), mean, 1e-12);
    assert_close("std_error", outcome.of_parameter("m", "std_error"), variance.sqrt(), 1e-10);
    let half = 0.5 * (outcome.of_parameter("m", "ci_high") - outcome.of_parameter("m", "ci_low"));
    assert_close("interval", half, quantile * variance.sqrt(), 1e-9);
}
