//! A default run finds what many starts find, and stops by its rule. `benches/optima` is the same at full size.

mod common;

use common::program::{Outcome, assert_close, fit, fit_file, shared_data};
use common::{Folder, floats, strings};

const LCDB: [&str; 8] =
    ["--by", "dataset_id,learner", "--let", "x=n_train", "--let", "y=err_test", "--residual", "linear"];
const LANGUAGE: [&str; 8] =
    ["--by", "domain,task,model", "--where", "train", "--response", "loss", "--residual", "log"];

/// A file, its arguments, and how many starts stand for many.
struct Set {
    file: &'static str,
    arguments: Vec<&'static str>,
    many: &'static str,
}

fn sets() -> Vec<Set> {
    let set = |file, arguments: &[&[&'static str]], many| Set { file, arguments: arguments.concat(), many };
    let lcdb = ["--loss", "l2", "--law", "pow4", "--law", "mmf4", "--where", "dataset_id < 20"];
    vec![
        set("overtraining_24_sweeps.parquet", &[&["--by", "sweep", "--law", "chinchilla"]], "400"),
        set("extrapolation_language.parquet", &[&LANGUAGE, &["--loss", "l2", "--law", "bnsl-1"]], "600"),
        set("learning_curves_lcdb.parquet", &[&LCDB, &lcdb], "400"),
        set("double_descent.parquet", &[&["--by", "curve_id", "--loss", "l2", "--law", "bnsl-2"]], "600"),
    ]
}

fn run(set: &Set, starts: &[&str]) -> Option<Outcome> {
    let data = shared_data(set.file)?;
    Some(fit_file(&data, &[&set.arguments[..], &["--bootstrap", "0"], starts].concat()))
}

#[test]
fn default_runs_reach_what_many_starts_reach() {
    let (mut posed, mut missed) = (0, Vec::new());
    for set in sets() {
        let (Some(default), Some(many)) = (run(&set, &[]), run(&set, &["--starts", set.many])) else {
            return;
        };
        let certified = |status: &str| status == "converged" || status == "at_bound";
        let (found, best) = (default.fits.floats("objective"), many.fits.floats("objective"));
        let statuses = many.fits.texts("status");
        for i in 0..found.len() {
            // Where the run of many starts is not certified there is no optimum to agree on.
            if !certified(&statuses[i]) {
                continue;
            }
            posed += 1;
            // Exact fits agree to rounding.
            if found[i] > best[i] * (1.0 + 1e-6) + 1e-25 {
                missed.push(format!("{} {i}: {:e}, best {:e}", set.file, found[i], best[i]));
            }
        }
    }
    assert!(posed > 150, "{posed}");
    assert!(missed.len() * 200 <= posed, "{} of {posed}: {missed:#?}", missed.len());
}

#[test]
fn starts_go_on_until_the_best_was_found_three_times() {
    for set in sets() {
        let Some(outcome) = run(&set, &[]) else { return };
        let (starts, agreeing) = (outcome.fits.floats("n_starts"), outcome.fits.floats("n_agreeing"));
        let most = starts.iter().copied().fold(0.0, f64::max);
        let statuses = outcome.fits.texts("status");
        for i in 0..starts.len() {
            // Rounds double the number of searches; up to eight from sharper turns may follow.
            assert!(
                [8.0, 16.0, 32.0, 64.0, 128.0, 256.0].iter().any(|n| (*n..=n + 8.0).contains(&starts[i])),
                "{}: {}",
                set.file,
                starts[i]
            );
            let early = starts[i] < most.min(32.0);
            if early && statuses[i] == "converged" {
                assert!(agreeing[i] >= 3.0, "{} {i}: {} of {}", set.file, agreeing[i], starts[i]);
            }
        }
    }
}

/// Besiroglu et al.'s 240 points, the field's Huber loss: from starts as they are drawn by default nearly all
/// searches reach the certified optimum; from the classic grid with default tolerances 8 % do.
#[test]
fn nearly_all_starts_reach_the_optimum_of_chinchilla() {
    let Some(data) = shared_data("chinchilla_epoch.parquet") else { return };
    for starts in ["8", "64", "512"] {
        let published = ["--where", "kept", "--law", "chinchilla", "--loss", "huber:1e-3"];
        let quick = ["--bootstrap", "0", "--starts", starts];
        let outcome = fit_file(&data, &[&published[..], &quick].concat());
        assert!((outcome.only("objective") / 0.0010182740178006 - 1.0).abs() < 1e-9);
        let share = outcome.only("n_agreeing") / outcome.only("n_starts");
        assert!(share >= 0.95, "{share} of {starts}");
    }
}

/// A minimum is no higher than the objective at the parameters that made the data, whatever kind of curve they are: one that
/// has fallen by the second observation, one that rises at the last, one with a step between two.
#[test]
fn curves_of_every_kind_are_found() {
    type Curve = fn(f64) -> f64;
    let kinds: [(&str, &str, Curve); 8] = [
        ("power-offset", "first", |x| 0.53 + 2e3 * x.powf(-4.2)),
        ("power-offset", "last", |x| 0.53 + 2e-11 * x.powf(2.0)),
        ("exp3", "first", |x| 0.4 + 3e3 * (-0.6 * x).exp()),
        ("mmf4", "step", |x| 0.5 - 0.2 / (1.0 + (x / 900.0).powf(-25.0))),
        ("wbl4", "step", |x| 0.3 + 0.3 * (-(x / 2000.0).powf(9.0)).exp()),
        ("wbl4", "sharp step", |x| 0.3 + 0.08 * (-(x / 22.0).powf(47.0)).exp()),
        ("wbl4", "sharp step up", |x| 0.3 - 0.08 * (-(x / 30.0).powf(30.0)).exp()),
        ("pow4", "first", |x| 0.3 + 60.0 * x.powf(-2.5)),
    ];
    let points: Vec<f64> = (0..40).map(|i| 16.0 * (1e5_f64 / 16.0).powf(f64::from(i) / 39.0)).collect();
    for (law, kind, curve) in kinds {
        let (mut names, mut x, mut y, mut bounds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for sweep in 0..20 {
            let mut sum = 0.0;
            for (i, &point) in points.iter().enumerate() {
                let u = (f64::from(sweep) * 0.754_877_666 + i as f64 * 0.569_840_291).fract();
                let noise = 0.04 * (u - 0.5);
                sum += 0.5 * noise * noise;
                names.push(format!("{sweep}"));
                x.push(point);
                y.push(curve(point) * noise.exp());
            }
            bounds.push((format!("{sweep}"), sum));
        }
        let folder = Folder::new();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        folder.write("in.parquet", &[("sweep", strings(&names)), ("x", floats(&x)), ("y", floats(&y))]);
        let arguments =
            ["--by", "sweep", "--law", law, "--residual", "log", "--loss", "l2", "--bootstrap", "0"];
        let outcome = fit(&folder.path("in.parquet"), &folder.path("out"), &arguments);
        for (sweep, bound) in bounds {
            let objective = outcome.fits.only("sweep", &sweep).floats("objective")[0];
            assert!(objective <= bound, "{law} {kind} {sweep}: {objective} where {bound} is reached");
        }
    }
}

/// Another seed is a second opinion, and where the optimum is clear the same.
#[test]
fn another_seed_finds_the_same_optimum() {
    let x: Vec<f64> = (1..=30).map(f64::from).collect();
    let y: Vec<f64> = x.iter().map(|x| 2.0 + 3.0 * (-0.2 * x).exp() + 0.01 * (7.3 * x).sin()).collect();
    let folder = Folder::new();
    folder.write("in.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let run = |seed: &str| {
        let arguments = ["--law", "exp3", "--bootstrap", "0", "--seed", seed];
        fit(&folder.path("in.parquet"), &folder.path(&format!("out{seed}")), &arguments)
    };
    let (first, second) = (run("0"), run("1"));
    assert_close("b", second.estimate("b"), first.estimate("b"), 1e-9);
}
