//! What must not matter: the units of responses and variables, the size of equal weights, the unit of σ.
//!
//! Every identity here is exact algebra. Responses times s scale E, A and B by s; variables in units of u turn `A` into
//! `A·u^-alpha`; equal weights scale the objective alone, and so does σ, squared.

mod common;

use common::program::{Outcome, assert_close, fit};
use common::{Folder, floats, strings};

const PARAMETERS: [&str; 5] = ["E", "A", "B", "alpha", "beta"];

/// A sweep's name and its columns N, D, loss, w, s.
type Sweep = (&'static str, [Vec<f64>; 5]);

/// Sixty points of a grid with noise of half a per cent, the same on every machine.
fn base() -> [Vec<f64>; 5] {
    let mut columns: [Vec<f64>; 5] = Default::default();
    for i in 0..60 {
        let n = 1e7 * 10f64.powf(0.3 * f64::from(i % 10));
        let d = 2e9 * 10f64.powf(0.5 * f64::from(i / 10));
        let x = (f64::from(i) + 1.0) * 0.618_033_988_749_894_9;
        let noise = 0.01 * (x - x.floor() - 0.5);
        let loss = (1.8 + 480.0 / n.powf(0.35) + 2100.0 / d.powf(0.37)) * (1.0 + noise);
        for (column, value) in columns.iter_mut().zip([n, d, loss, 1.0, 1.0]) {
            column.push(value);
        }
    }
    columns
}

/// The base with one column multiplied.
fn scaled(columns: &[(usize, f64)]) -> [Vec<f64>; 5] {
    let mut all = base();
    for &(column, factor) in columns {
        all[column].iter_mut().for_each(|x| *x *= factor);
    }
    all
}

struct Fits(Outcome);

fn fit_all(sweeps: &[Sweep], arguments: &[&str]) -> Fits {
    let folder = Folder::new();
    let names: Vec<&str> = sweeps.iter().flat_map(|(name, c)| vec![*name; c[0].len()]).collect();
    let column = |k: usize| floats(&sweeps.iter().flat_map(|(_, c)| c[k].clone()).collect::<Vec<f64>>());
    let columns = [
        ("sweep", strings(&names)),
        ("N", column(0)),
        ("D", column(1)),
        ("loss", column(2)),
        ("w", column(3)),
        ("s", column(4)),
    ];
    folder.write("in.parquet", &columns);
    let common =
        ["--by", "sweep", "--law", "chinchilla", "--weight", "w", "--sigma", "s", "--bootstrap", "0"];
    Fits(fit(&folder.path("in.parquet"), &folder.path("out"), &[&common[..], arguments].concat()))
}

impl Fits {
    fn value(&self, sweep: &str, column: &str) -> f64 {
        self.0.fits.only("sweep", sweep).floats(column)[0]
    }

    fn coefficient(&self, sweep: &str, parameter: &str, column: &str) -> f64 {
        self.0.coefficients.only("sweep", sweep).only("parameter", parameter).floats(column)[0]
    }

    /// `sweep` is `base` with its amplitudes multiplied by `factors` (E, A, B) and its objective by `objective`.
    #[track_caller]
    fn assert_same(&self, sweep: &str, other: &Fits, factors: [f64; 3], objective: f64) {
        let text = |fits: &Fits, name: &str| fits.0.fits.only("sweep", name).texts("status")[0].clone();
        assert_eq!(text(self, sweep), "converged", "{sweep}");
        assert_eq!(text(other, "base"), "converged");
        let factors = [factors[0], factors[1], factors[2], 1.0, 1.0];
        for (parameter, factor) in PARAMETERS.iter().zip(factors) {
            let what = format!("{sweep}: {parameter}");
            let want = other.coefficient("base", parameter, "estimate");
            // An exponent's last digits enter a unit's power with the logarithm of the unit as factor.
            assert_close(&what, self.coefficient(sweep, parameter, "estimate"), factor * want, 2e-10);
            let error = other.coefficient("base", parameter, "std_error");
            if factor == 1.0 && error.is_finite() {
                assert_close(&what, self.coefficient(sweep, parameter, "std_error"), error, 1e-6);
            }
        }
        let want = objective * other.value("base", "objective");
        assert_close(&format!("{sweep}: objective"), self.value(sweep, "objective"), want, 1e-11);
        let (agreeing, starts) = (self.value(sweep, "n_agreeing"), self.value(sweep, "n_starts"));
        assert!(agreeing >= 3.0 && agreeing >= 0.5 * starts, "{sweep}: {agreeing} of {starts}");
    }
}

const SCALES: [(&str, f64); 4] = [("1e-8", 1e-8), ("1e8", 1e8), ("1e-30", 1e-30), ("1e30", 1e30)];

/// Exponents of the base fit, which say what a unit of N or D does to A and B.
fn unit_factors(fits: &Fits, n: f64, d: f64) -> [f64; 3] {
    let exponent = |name: &str| fits.coefficient("base", name, "estimate");
    [1.0, n.powf(exponent("alpha")), d.powf(exponent("beta"))]
}

fn check(arguments: &[&str], linear: bool, homogeneous: bool) {
    let mut sweeps: Vec<Sweep> = vec![
        ("base", base()),
        ("billions", scaled(&[(0, 1e-9), (1, 1e-9)])),
        ("thousandths", scaled(&[(0, 1e3), (1, 1e3)])),
        ("heavy", scaled(&[(3, 1e6)])),
        ("light", scaled(&[(3, 1e-6)])),
        ("very heavy", scaled(&[(3, 1e30)])),
    ];
    // In `log` space a response's unit moves E, A and B alone, whatever the loss.
    if !linear || homogeneous {
        sweeps.extend(SCALES.map(|(name, scale)| (name, scaled(&[(2, scale)]))));
    }
    // A loss that knows a size knows the unit of residual/σ.
    if homogeneous {
        sweeps.push(("sigma", scaled(&[(4, 1e4)])));
        sweeps.push(("small sigma", scaled(&[(4, 1e-4)])));
        // Near the ends of the range of squares.
        sweeps.push(("large", scaled(&[(2, 1e140)])));
        sweeps.push(("small", scaled(&[(2, 1e-130)])));
    }
    let fits = fit_all(&sweeps, arguments);
    let one = [1.0; 3];
    fits.assert_same("billions", &fits, unit_factors(&fits, 1e-9, 1e-9), 1.0);
    fits.assert_same("thousandths", &fits, unit_factors(&fits, 1e3, 1e3), 1.0);
    fits.assert_same("heavy", &fits, one, 1e6);
    fits.assert_same("light", &fits, one, 1e-6);
    fits.assert_same("very heavy", &fits, one, 1e30);
    if !linear || homogeneous {
        for (name, scale) in SCALES {
            fits.assert_same(name, &fits, [scale; 3], if linear { scale * scale } else { 1.0 });
        }
    }
    if homogeneous {
        fits.assert_same("sigma", &fits, one, 1e-8);
        fits.assert_same("small sigma", &fits, one, 1e8);
        for (name, scale) in [("large", 1e140), ("small", 1e-130)] {
            fits.assert_same(name, &fits, [scale; 3], if linear { scale * scale } else { 1.0 });
        }
    }
}

#[test]
fn logarithms_and_least_squares() {
    check(&["--residual", "log", "--loss", "l2"], false, true);
}

#[test]
fn least_squares() {
    check(&["--residual", "linear", "--loss", "l2"], true, true);
}

#[test]
fn logarithms_and_robust_losses() {
    for loss in ["huber:1e-3", "soft_l1:2e-3", "cauchy:1e-2"] {
        check(&["--residual", "log", "--loss", loss], false, false);
    }
}

/// Robust losses of linear residuals: the threshold is in the response's units, and so is σ.
#[test]
fn robust_losses_follow_their_threshold() {
    for (name, delta) in [("huber", 4e-3), ("soft_l1", 4e-3), ("cauchy", 2e-2)] {
        let run = |scale: f64, sigma: f64| {
            let loss = format!("{name}:{:e}", delta * scale / sigma);
            let sweeps = [("base", base()), ("scaled", scaled(&[(2, scale), (4, sigma)]))];
            let only = if scale == 1.0 && sigma == 1.0 { &sweeps[..1] } else { &sweeps[1..] };
            fit_all(only, &["--residual", "linear", "--loss", &loss])
        };
        let reference = run(1.0, 1.0);
        for (scale, sigma) in [(1e8, 1.0), (1e-8, 1.0), (1.0, 1e3), (1e8, 1e8)] {
            let ratio = scale / sigma;
            run(scale, sigma).assert_same("scaled", &reference, [scale; 3], ratio * ratio);
        }
    }
}

/// Beyond what a sum of squares can hold, the message says so.
#[test]
fn responses_too_large_to_square() {
    let sweeps = [("huge", scaled(&[(2, 1e160)])), ("tiny", scaled(&[(2, 1e-170)]))];
    let fits = fit_all(&sweeps, &["--residual", "linear", "--loss", "l2"]);
    for sweep in ["huge", "tiny"] {
        let row = fits.0.fits.only("sweep", sweep);
        let (status, message) = (&row.texts("status")[0], &row.texts("message")[0]);
        assert_eq!(status, "failed", "{sweep}: {message}");
        assert!(message.contains("squares") && message.contains("unit"), "{sweep}: {message}");
    }
    // Logarithms do not mind, but a floor in such units would.
    let power = ["--residual", "log", "--loss", "l2", "--fix", "E=0"];
    let (fits, floor) = (fit_all(&sweeps, &power), fit_all(&sweeps, &power[..4]));
    for sweep in ["huge", "tiny"] {
        assert_eq!(fits.0.fits.only("sweep", sweep).texts("status")[0], "converged");
        let row = floor.0.fits.only("sweep", sweep);
        assert_eq!(row.texts("status")[0], "failed");
        assert!(row.texts("message")[0].contains("squares of responses"));
    }
    let alpha = |sweep| fits.coefficient(sweep, "alpha", "estimate");
    assert_close("alpha", alpha("huge"), alpha("tiny"), 1e-9);
}
