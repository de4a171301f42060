//! Losses whose threshold is a multiple of the residuals' scale.

mod common;

use common::program::{Outcome, assert_close, fit, fit_file, program, shared_data};
use common::{Folder, floats};

/// A line in `1/sqrt(x)` with small noise, and every seventh point far off.
fn data() -> (Vec<f64>, Vec<f64>) {
    let x: Vec<f64> = (0..40).map(|i| 1e3 * 10f64.powf(f64::from(i) / 13.0)).collect();
    let y = (0..40)
        .zip(&x)
        .map(|(i, x)| {
            let t = (f64::from(i) + 1.0) * 0.618_033_988_749_894_9;
            let far = if i % 7 == 3 { 0.4 } else { 0.0 };
            1.5 + 20.0 / x.sqrt() + 0.02 * (t - t.floor() - 0.5) + far
        })
        .collect();
    (x, y)
}

const LAW: [&str; 4] = ["--law", "y ~ E + B/x^0.5", "--bootstrap", "0"];

fn fit_columns(x: &[f64], y: &[f64], s: &[f64], w: &[f64], arguments: &[&str]) -> Outcome {
    let folder = Folder::new();
    folder.write("in.parquet", &[("x", floats(x)), ("y", floats(y)), ("s", floats(s)), ("w", floats(w))]);
    let common = ["--sigma", "s", "--weight", "w"];
    fit(&folder.path("in.parquet"), &folder.path("out"), &[&LAW[..], &common, arguments].concat())
}

fn fit_plain(x: &[f64], y: &[f64], arguments: &[&str]) -> Outcome {
    let one = vec![1.0; x.len()];
    fit_columns(x, y, &one, &one, arguments)
}

/// The threshold in the column `loss`.
fn threshold(outcome: &Outcome) -> f64 {
    let loss = &outcome.fits.texts("loss")[0];
    loss.split_once(':').and_then(|(_, delta)| delta.parse().ok()).expect("a threshold")
}

/// statsmodels 0.14's `RLM` with `HuberT(1.345)` (E 1.5022969185980242, B 19.98026808366231, scale .008732544216340286),
/// and for all three a fixed point of reweighted least squares in NumPy, which agrees with it for Huber's.
#[test]
fn robust_regression_comes_back() {
    let (x, y) = data();
    for (loss, delta, e, b) in [
        ("huber:1.345*mad", 0.011745271970977241, 1.5022969185980233, 19.980268083662363),
        ("soft_l1:1.345*mad", 0.011610931584674368, 1.5029893927355653, 19.97567449285877),
        ("cauchy:2.385*mad", 0.02027661681245162, 1.5003147421430107, 19.995699881843677),
    ] {
        let outcome = fit_plain(&x, &y, &["--loss", loss]);
        assert_eq!(outcome.status(), "converged", "{loss}");
        assert_close(loss, threshold(&outcome), delta, 1e-8);
        assert_close(loss, outcome.estimate("E"), e, 1e-9);
        assert_close(loss, outcome.estimate("B"), b, 1e-9);
        assert_eq!(outcome.manifest["job"]["loss"], loss);
        let family = loss.split(':').next().expect("a name");
        assert!(outcome.fits.texts("loss")[0].starts_with(family));
    }
}

/// Units of the response and of σ, and weights as repetitions.
#[test]
fn the_scale_follows_the_units() {
    let (x, y) = data();
    let huber = ["--loss", "huber:1.345*mad"];
    let reference = fit_plain(&x, &y, &huber);
    let one = vec![1.0; 40];
    for unit in [1e8, 1e-8] {
        let scaled: Vec<f64> = y.iter().map(|y| y * unit).collect();
        let outcome = fit_plain(&x, &scaled, &huber);
        assert_close("E", outcome.estimate("E"), unit * reference.estimate("E"), 1e-9);
        assert_close("threshold", threshold(&outcome), unit * threshold(&reference), 1e-8);
        let outcome = fit_columns(&x, &y, &vec![unit; 40], &one, &huber);
        assert_close("E", outcome.estimate("E"), reference.estimate("E"), 1e-9);
        assert_close("threshold", threshold(&outcome), threshold(&reference) / unit, 1e-8);
    }
    let weights: Vec<f64> = (0..40).map(|i| f64::from(i % 3)).collect();
    let repeated = |values: &[f64]| -> Vec<f64> {
        values.iter().zip(&weights).flat_map(|(v, w)| vec![*v; *w as usize]).collect()
    };
    let weighted = fit_columns(&x, &y, &one, &weights, &huber);
    let outcome = fit_plain(&repeated(&x), &repeated(&y), &huber);
    assert_close("E", weighted.estimate("E"), outcome.estimate("E"), 1e-9);
    assert_close("threshold", threshold(&weighted), threshold(&outcome), 1e-8);
}

/// Half of the residuals at zero leave no scale to follow.
#[test]
fn a_scale_of_zero() {
    let (x, _) = data();
    let exact: Vec<f64> = x.iter().map(|x| 1.5 + 20.0 / x.sqrt()).collect();
    let outcome = fit_plain(&x, &exact, &["--loss", "huber:1.345*mad"]);
    assert_eq!(outcome.status(), "converged");
    assert_eq!(outcome.fits.texts("flags"), ["scale_zero"]);
    assert_eq!(outcome.fits.texts("loss"), ["l2"]);
    assert_close("B", outcome.estimate("B"), 20.0, 1e-9);
    // Most points on the line, some far off: the line is found, and it is said that the threshold vanished.
    let mixed: Vec<f64> = (0..40).zip(&exact).map(|(i, y)| if i % 4 == 1 { y + 0.4 } else { *y }).collect();
    let outcome = fit_plain(&x, &mixed, &["--loss", "huber:1.345*mad"]);
    let flags = &outcome.fits.texts("flags")[0];
    assert!(flags.contains("scale_zero"), "{flags}: {:?}", outcome.fits.texts("loss"));
    assert_close("B", outcome.estimate("B"), 20.0, 1e-4);
}

/// On real sweeps, in `log` space: the threshold is the stated multiple of the residuals that are written, and
/// replicates keep it.
#[test]
fn the_threshold_is_what_it_says() {
    let Some(data) = shared_data("chinchilla_epoch.parquet") else {
        return;
    };
    let law = ["--law", "chinchilla", "--where", "kept", "--residual", "log", "--loss", "huber:1.345*mad"];
    let folder = Folder::new();
    let outcome = fit(
        &common::program::text(&data),
        &folder.path("out"),
        &[&law[..], &["--bootstrap", "50", "--residuals"]].concat(),
    );
    assert_eq!(outcome.status(), "converged");
    assert_eq!(outcome.only("n_replicates_failed"), 0.0);
    let table = outcome.residuals.as_ref().expect("residuals");
    let mut sizes: Vec<f64> = table.floats("residual").iter().map(|r| r.abs()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let median = 0.5 * (sizes[119] + sizes[120]);
    assert_close("threshold", threshold(&outcome), 1.345 * median / 0.674_489_750_196_081_7, 2e-6);
    // The fit is the one of the threshold found.
    let loss = outcome.fits.texts("loss")[0].clone();
    let again = fit_file(&data, &[&law[..6], &["--loss", &loss, "--bootstrap", "0"]].concat());
    assert_eq!(again.estimate("alpha").to_bits(), outcome.estimate("alpha").to_bits());
    assert_eq!(again.only("objective").to_bits(), outcome.only("objective").to_bits());
}

#[test]
fn what_is_no_multiple_is_refused() {
    for loss in ["huber:*mad", "huber:-1*mad", "l2*mad", "huber:2*mean"] {
        let output = program(&["fit", "absent.parquet", "--out", "out", "--law", "power", "--loss", loss]);
        assert_eq!(output.status.code(), Some(2), "{loss}");
    }
}
