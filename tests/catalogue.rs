//! Every law of the catalogue: it recovers the parameters of data made from its published formula, written
//! here a second time in plain arithmetic, and gives back the numbers that were published with it.

mod common;

use common::program::{Table, assert_close, fit, fit_file, program, shared_data};
use common::{Folder, floats, strings};
use sweepfit::formula::names;
use sweepfit::internals::verify::cases::{Case, RequiredDigits, cases};
use sweepfit::law::Law;

/// n values from low to high, evenly spaced in the logarithm.
fn log_space(low: f64, high: f64, n: usize) -> Vec<f64> {
    let last = (n - 1) as f64;
    (0..n).map(|i| low * (high / low).powf(i as f64 / last)).collect()
}

/// `(y − e)/(e0 − y)^a = b·x^-c`, by plain bisection.
fn implicit(v: &[f64], p: &[f64]) -> f64 {
    let (mut low, mut high) = (p[0], p[1]);
    for _ in 0..200 {
        let y = 0.5 * (low + high);
        if (y - p[0]) / (p[1] - y).powf(p[2]) < p[3] * v[0].powf(-p[4]) {
            low = y;
        } else {
            high = y;
        }
    }
    0.5 * (low + high)
}

/// One factor of a broken power law.
fn broken(x: f64, c: f64, d: f64, f: f64) -> f64 {
    (1.0 + (x / d).powf(1.0 / f)).powf(-c * f)
}

/// A law, its variables and parameters in the order of what follows, and the law written out.
type Prediction = (&'static str, &'static [&'static str], &'static [&'static str], fn(&[f64], &[f64]) -> f64);

fn predictions() -> Vec<Prediction> {
    vec![
        ("power", &["x"], &["b", "c"], |v, p| p[0] * v[0].powf(-p[1])),
        ("power-offset", &["x"], &["e", "b", "c"], |v, p| p[0] + p[1] * v[0].powf(-p[2])),
        ("shifted-power", &["x"], &["b", "g", "c"], |v, p| p[0] * (1.0 / v[0] + p[1]).powf(p[2])),
        ("m4", &["x"], &["e", "e0", "a", "b", "c"], implicit),
        ("bnsl-1", &["x"], &["a", "b", "c0", "c1", "d1", "f1"], |v, p| {
            p[0] + p[1] * v[0].powf(-p[2]) * broken(v[0], p[3], p[4], p[5])
        }),
        ("bnsl-2", &["x"], &["a", "b", "c0", "c1", "d1", "f1", "c2", "d2", "f2"], |v, p| {
            let first = p[1] * v[0].powf(-p[2]) * broken(v[0], p[3], p[4], p[5]);
            p[0] + first * broken(v[0], p[6], p[7], p[8])
        }),
        (
            "bnsl-3",
            &["x"],
            &["a", "b", "c0", "c1", "d1", "f1", "c2", "d2", "f2", "c3", "d3", "f3"],
            |v, p| {
                let first = p[1] * v[0].powf(-p[2]) * broken(v[0], p[3], p[4], p[5]);
                let second = broken(v[0], p[6], p[7], p[8]);
                p[0] + first * second * broken(v[0], p[9], p[10], p[11])
            },
        ),
        ("pow4", &["x"], &["a", "b", "d", "c"], |v, p| p[0] - p[1] * (p[2] + v[0]).powf(-p[3])),
        ("exp3", &["x"], &["a", "b", "c"], |v, p| p[0] * (-p[1] * v[0]).exp() + p[2]),
        ("mmf4", &["x"], &["a", "b", "c", "d"], |v, p| {
            let power = v[0].powf(p[3]);
            (p[0] * p[1] + p[2] * power) / (p[1] + power)
        }),
        ("wbl4", &["x"], &["c", "b", "a", "d"], |v, p| p[0] - p[1] * (-p[2] * v[0].powf(p[3])).exp()),
        ("vap3", &["x"], &["a", "b", "c"], |v, p| (p[0] + p[1] / v[0] + p[2] * v[0].ln()).exp()),
        ("kaplan-n", &["N"], &["Nc", "alphaN"], |v, p| (p[0] / v[0]).powf(p[1])),
        ("kaplan-d", &["D"], &["Dc", "alphaD"], |v, p| (p[0] / v[0]).powf(p[1])),
        ("kaplan-c", &["C"], &["Cc", "alphaC"], |v, p| (p[0] / v[0]).powf(p[1])),
        ("kaplan-nd", &["N", "D"], &["Nc", "Dc", "alphaN", "alphaD"], |v, p| {
            ((p[0] / v[0]).powf(p[2] / p[3]) + p[1] / v[1]).powf(p[3])
        }),
        ("kaplan-ns", &["N", "S"], &["Nc", "Sc", "alphaN", "alphaS"], |v, p| {
            (p[0] / v[0]).powf(p[2]) + (p[1] / v[1]).powf(p[3])
        }),
        ("chinchilla", &["N", "D"], &["E", "A", "B", "alpha", "beta"], |v, p| {
            p[0] + p[1] / v[0].powf(p[3]) + p[2] / v[1].powf(p[4])
        }),
        ("chinchilla-tied", &["N", "D"], &["E", "A", "B", "alpha"], |v, p| {
            p[0] + p[1] / v[0].powf(p[3]) + p[2] / v[1].powf(p[3])
        }),
        ("chinchilla-coupled", &["N", "D"], &["E", "A", "B", "alpha", "beta", "q"], |v, p| {
            p[0] + (p[1] / v[0].powf(p[3]) + p[2] / v[1].powf(p[4])).powf(p[5])
        }),
        ("multiplicative", &["N", "D"], &["E", "A", "alpha", "beta"], |v, p| {
            p[0] + p[1] * v[0].powf(-p[2]) * v[1].powf(-p[3])
        }),
        ("overtraining", &["M", "C"], &["E", "a", "b", "eta"], |v, p| {
            p[0] + (p[1] * v[0].powf(p[3]) + p[2] * v[0].powf(-p[3])) * v[1].powf(-p[3])
        }),
        (
            "data-constrained",
            &["N", "D", "U"],
            &["E", "A", "B", "alpha", "beta", "RD", "RN"],
            data_constrained,
        ),
        ("isoflop-parabola", &["N"], &["p", "q", "r"], |v, p| {
            p[0] * v[0].ln().powi(2) + p[1] * v[0].ln() + p[2]
        }),
        ("sigmoid", &["L"], &["a", "k", "L0", "b"], |v, p| {
            p[0] / (1.0 + (-p[1] * (v[0] - p[2])).exp()) + p[3]
        }),
        ("exp-decay", &["L"], &["eps", "k", "g"], |v, p| p[0] - p[1] * (-p[2] * v[0]).exp()),
        ("loss-to-loss", &["L0"], &["K", "E0", "kappa", "E1"], |v, p| p[0] * (v[0] - p[1]).powf(p[2]) + p[3]),
        ("coverage", &["k"], &["a", "b"], |v, p| (p[0] * v[0].powf(p[1])).exp()),
        ("shifted-compute", &["C"], &["E", "A", "B", "alpha"], |v, p| {
            p[0] + p[1] * (v[0] + p[2]).powf(-p[3])
        }),
        ("step-law", &["N", "D"], &["c", "p", "q"], |v, p| p[0] * v[0].powf(p[1]) * v[1].powf(p[2])),
        ("precision", &["N", "D", "P"], &["E", "A", "B", "alpha", "beta", "g"], |v, p| {
            let effective = v[0] * (1.0 - (-v[2] / p[5]).exp());
            p[0] + p[1] / effective.powf(p[3]) + p[2] / v[1].powf(p[4])
        }),
        ("routing", &["N", "Ehat"], &["a", "b", "c", "d"], |v, p| {
            let (n, e) = (v[0].ln(), v[1].ln());
            (p[0] * n + p[1] * e + p[2] * n * e + p[3]).exp()
        }),
    ]
}

/// Muennighoff et al.'s law of N, D, U and E, A, B, alpha, beta, RD, RN, in their notation.
fn data_constrained(v: &[f64], p: &[f64]) -> f64 {
    let (n, d, u) = (v[0], v[1], v[2]);
    let (e, a_, b_, alpha, beta, rd, rn) = (p[0], p[1], p[2], p[3], p[4], p[5], p[6]);
    let (a, b) = (beta / (alpha + beta), alpha / (alpha + beta));
    let ud = d.min(u);
    let g = (alpha * a_ / (beta * b_)).powf(1.0 / (alpha + beta));
    let un = n.min(g * (ud * g).powf(a / b));
    let repeated =
        |unique: f64, all: f64, r: f64| unique + unique * r * (1.0 - (-(all / unique - 1.0) / r).exp());
    e + a_ / repeated(un, n, rn).powf(alpha) + b_ / repeated(ud, d, rd).powf(beta)
}

/// The cases of `sweepfit verify`, with the data made by the arithmetic above, fitted from files.
#[test]
fn every_law_recovers_its_own_parameters() {
    let predictions = predictions();
    let mut failures = Vec::new();
    for (case, law) in &cases().expect("the cases") {
        let prediction = predictions.iter().find(|(name, ..)| *name == law.name);
        let prediction = prediction.unwrap_or_else(|| panic!("{} has no line in this table", law.name));
        if let Err(reason) = std::panic::catch_unwind(|| recovers(case, law, prediction)) {
            let reason = reason.downcast_ref::<String>().cloned().unwrap_or_else(|| "no reason".to_owned());
            failures.push(reason);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn recovers(case: &Case, law: &Law, (_, variables, parameters, predict): &Prediction) {
    let columns = case.columns(law);
    let truth = case.truth(law);
    let column = |name: &str| &columns[law.variables.iter().position(|v| v == name).expect("a variable")];
    let ordered: Vec<&Vec<f64>> = variables.iter().map(|name| column(name)).collect();
    let values: Vec<f64> = parameters.iter().map(|name| truth[law.parameter(name).expect(name)]).collect();
    let response: Vec<f64> = (0..columns[0].len())
        .map(|row| predict(&ordered.iter().map(|column| column[row]).collect::<Vec<f64>>(), &values))
        .collect();
    let mut table = vec![(names(&law.response)[0], floats(&response))];
    table.extend(variables.iter().map(|name| (*name, floats(column(name)))));
    let folder = Folder::new();
    folder.write("a.parquet", &table);
    let name = law.name.as_str();
    let outcome = fit(&folder.path("a.parquet"), &folder.path("out"), &["--law", name, "--bootstrap", "0"]);
    let message = &outcome.fits.texts("message")[0];
    assert_eq!(outcome.rejected.rows(), 0, "{name}");
    assert_eq!(outcome.only("n_points") as usize, response.len(), "{name}");
    match case.digits {
        RequiredDigits::Parameters(digits) => {
            assert_eq!(outcome.status(), "converged", "{name}: {message}");
            for (parameter, value) in parameters.iter().zip(&values) {
                let what = format!("{name}: {parameter}");
                assert_close(&what, outcome.estimate(parameter), *value, 10.0_f64.powf(-digits));
            }
            assert_eq!(outcome.coefficients.rows(), parameters.len(), "{name}");
        }
        RequiredDigits::Curve(digits) => {
            // A sum of n squares in the quadratic zone of the loss.
            let most = 0.5 * response.len() as f64 * 10.0_f64.powf(-2.0 * digits);
            let objective = outcome.only("objective");
            assert!(objective <= most, "{name}: objective {objective:e}: {message}");
        }
    }
}

/// The two values that were published for the law of repeated data.
#[test]
fn data_constrained_forward_values() {
    let n = [6.34e9, 8.67e9];
    let d = [242e9, 178e9];
    let u = [25e9, 25e9];
    let published = [2.2256440889984477, 2.2269634075087867];
    let folder = Folder::new();
    folder.write(
        "a.parquet",
        &[("N", floats(&n)), ("D", floats(&d)), ("U", floats(&u)), ("loss", floats(&[2.2, 2.3]))],
    );
    let fixed = [
        ("A", 6.255414_f64.exp()),
        ("B", 7.3049974_f64.exp()),
        ("E", 0.6254804_f64.exp()),
        ("alpha", 0.3526596),
        ("beta", 0.3526596),
        ("RD", 15.387756),
        ("RN", 5.309743),
    ];
    let fixed: Vec<String> = fixed.iter().map(|(name, x)| format!("{name}={x:?}")).collect();
    let mut arguments = vec!["--law", "data-constrained", "--residuals", "--bootstrap", "0"];
    for value in &fixed {
        arguments.extend(["--fix", value]);
    }
    let outcome = fit(&folder.path("a.parquet"), &folder.path("out"), &arguments);
    assert_eq!(outcome.only("n_parameters"), 0.0);
    let rows = outcome.residuals.expect("residuals");
    for (i, want) in published.iter().enumerate() {
        let p = rows.floats("prediction")[i];
        assert_close("prediction", p, *want, 1e-14);
        let residual = (p / rows.floats("response")[i]).ln();
        assert!((rows.floats("residual")[i] - residual).abs() < 1e-14);
        assert_eq!(rows.floats("leverage")[i], 0.0);
    }
}

/// One break, on a curve that has a sharp one.
#[test]
fn four_digit_addition() {
    let Some(data) = shared_data("four_digit_addition.parquet") else {
        return;
    };
    let law = "log(1 + test_cross_entropy) ~ \
               log(1 + a + b*x^(-c0) * (1 + (x/d1)^(1/f1))^(-c1*f1)) \
               where a >= 0, b > 0, d1 > 0, f1 > 0";
    let outcome = fit_file(
        &data,
        &[
            "--law",
            law,
            "--let",
            "x=dataset_size",
            "--where",
            "split = 'train'",
            "--bootstrap",
            "0",
            "--start",
            "a=0.4,b=2,c0=0.1,c1=5,d1=600,f1=0.1",
        ],
    );
    assert_eq!(outcome.status(), "converged");
    let mean_square = 2.0 * outcome.only("objective") / 14.0;
    assert_close("mean square", mean_square, 1.6196132282510e-07, 1e-6);
    for (name, value, digits) in [
        ("a", 0.4138845, 1e-6),
        ("b", 2.2772723, 1e-6),
        ("c0", 0.0550773, 2e-6),
        ("c1", 5.6629028, 1e-6),
        ("d1", 612.58361, 1e-6),
        ("f1", 0.0591930, 2e-6),
    ] {
        assert_close(name, outcome.estimate(name), value, digits);
    }

    let table = Table::read(&data);
    let (split, x, y) =
        (table.texts("split"), table.floats("dataset_size"), table.floats("test_cross_entropy"));
    let p = |name: &str| outcome.estimate(name);
    let held_out: Vec<(f64, f64)> = (0..table.rows())
        .filter(|&i| split[i] != "train")
        .map(|i| {
            let curve = p("b") * x[i].powf(-p("c0")) * broken(x[i], p("c1"), p("d1"), p("f1"));
            (p("a") + curve, y[i])
        })
        .collect();
    assert_eq!(held_out.len(), 3);
    let rmse = |of: fn(f64) -> f64| {
        let squares: f64 = held_out.iter().map(|(p, y)| (of(*p) - of(*y)).powi(2)).sum();
        (squares / 3.0).sqrt()
    };
    assert_close("held out, log(1+y)", rmse(f64::ln_1p), 0.0041790, 1e-4);
    assert_close("held out, log y", rmse(f64::ln), 0.0109157, 1e-4);
}

/// A user's own catalogue stands beside the built-in one.
#[test]
fn laws_of_the_users_own() {
    let folder = Folder::new();
    let x = log_space(1.0, 100.0, 12);
    let y: Vec<f64> = x.iter().map(|x| 2.0 + 3.0 * x.ln()).collect();
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let file = folder.path("own.toml");
    std::fs::write(
        &file,
        "[[law]]\nname = \"logarithm\"\nformula = \"y ~ a + b*log(x)\"\nvariables = [\"x\"]\n",
    )
    .expect("a file");
    let outcome = fit(
        &folder.path("a.parquet"),
        &folder.path("out"),
        &["--laws", &file, "--law", "logarithm", "--law", "power", "--bootstrap", "0"],
    );
    assert_eq!(outcome.fits.texts("law"), ["logarithm", "power"]);
    assert_close("a", outcome.coefficients.floats("estimate")[0], 2.0, 1e-10);
    assert_close("b", outcome.coefficients.floats("estimate")[1], 3.0, 1e-10);
}

/// A catalogue law binds to columns of its own names and to nothing else; the response can be replaced.
#[test]
fn binding_by_name() {
    let folder = Folder::new();
    let n = log_space(1e6, 1e9, 12);
    let y: Vec<f64> = n.iter().map(|n| 9.0 * n.powf(-0.1)).collect();
    folder.write(
        "a.parquet",
        &[("params", floats(&n)), ("eval/loss", floats(&y)), ("run", strings(&["r"; 12]))],
    );
    let input = folder.path("a.parquet");
    let outcome = fit(
        &input,
        &folder.path("out"),
        &["--law", "power", "--let", "x=params", "--response", "eval/loss", "--bootstrap", "0"],
    );
    assert_close("c", outcome.estimate("c"), 0.1, 1e-9);
    // The same, with the awkward name in quotes inside a formula.
    let outcome = fit(
        &input,
        &folder.path("typed"),
        &["--law", "\"eval/loss\" ~ b*params^-c where b > 0", "--residual", "log", "--bootstrap", "0"],
    );
    assert_close("c", outcome.estimate("c"), 0.1, 1e-9);
    let refused = program(&["fit", &input, "--out", &folder.path("no"), "--law", "power"]);
    assert_eq!(refused.status.code(), Some(2));
}
