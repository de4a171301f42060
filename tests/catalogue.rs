//! Every law of the catalogue: it recovers the parameters of data made from its published formula, written
//! here a second time in plain arithmetic, and gives back the numbers that were published with it.

mod common;

use common::program::{Table, assert_close, fit, fit_file, program, shared_data};
use common::{Folder, floats, strings};

/// n values from low to high, evenly spaced in the logarithm.
fn log_space(low: f64, high: f64, n: usize) -> Vec<f64> {
    let last = (n - 1) as f64;
    (0..n).map(|i| low * (high / low).powf(i as f64 / last)).collect()
}

fn lin_space(low: f64, high: f64, n: usize) -> Vec<f64> {
    let last = (n - 1) as f64;
    (0..n).map(|i| low + (high - low) * i as f64 / last).collect()
}

/// How well the truth must come back.
enum Bound {
    /// Every parameter, relative.
    Parameters(f64),
    /// The objective alone: other parameters make practically the same curve.
    Objective(f64),
}

struct Case {
    law: &'static str,
    response: &'static str,
    /// Each variable with its values; the data is their full product.
    grid: Vec<(&'static str, Vec<f64>)>,
    truth: Vec<(&'static str, f64)>,
    /// The law of the variables and the parameters, in the orders above.
    predict: fn(&[f64], &[f64]) -> f64,
    bound: Bound,
}

fn exactly(
    law: &'static str,
    response: &'static str,
    grid: Vec<(&'static str, Vec<f64>)>,
    truth: Vec<(&'static str, f64)>,
    predict: fn(&[f64], &[f64]) -> f64,
) -> Case {
    Case { law, response, grid, truth, predict, bound: Bound::Parameters(1e-6) }
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

fn cases() -> Vec<Case> {
    let x = |low, high, n| vec![("x", log_space(low, high, n))];
    let models = || vec![("N", log_space(2e7, 1.6e10, 7)), ("D", log_space(5e8, 1e12, 7))];
    vec![
        exactly("power", "y", x(10.0, 1e6, 20), vec![("b", 7.5), ("c", 0.23)], |v, p| {
            p[0] * v[0].powf(-p[1])
        }),
        exactly("power-offset", "y", x(10.0, 1e6, 20), vec![("e", 1.7), ("b", 12.0), ("c", 0.31)], |v, p| {
            p[0] + p[1] * v[0].powf(-p[2])
        }),
        exactly("shifted-power", "y", x(1.0, 1e4, 24), vec![("b", 4.0), ("g", 0.003), ("c", 0.4)], |v, p| {
            p[0] * (1.0 / v[0] + p[1]).powf(p[2])
        }),
        exactly(
            "m4",
            "y",
            x(10.0, 1e6, 24),
            vec![("e", 0.4), ("e0", 3.2), ("a", 1.3), ("b", 5.0), ("c", 0.5)],
            implicit,
        ),
        exactly(
            "bnsl-1",
            "y",
            x(1e2, 1e7, 40),
            vec![("a", 0.5), ("b", 3.0), ("c0", 0.1), ("c1", 0.6), ("d1", 1e4), ("f1", 0.3)],
            |v, p| p[0] + p[1] * v[0].powf(-p[2]) * broken(v[0], p[3], p[4], p[5]),
        ),
        Case {
            law: "bnsl-2",
            response: "y",
            grid: x(1e1, 1e8, 80),
            truth: vec![
                ("a", 0.2),
                ("b", 3.0),
                ("c0", 0.05),
                ("c1", 0.5),
                ("d1", 1e3),
                ("f1", 0.2),
                ("c2", -0.3),
                ("d2", 1e6),
                ("f2", 0.15),
            ],
            predict: |v, p| {
                let first = p[1] * v[0].powf(-p[2]) * broken(v[0], p[3], p[4], p[5]);
                p[0] + first * broken(v[0], p[6], p[7], p[8])
            },
            // The breaks may change places, and a smooth one can be had in more than one way.
            bound: Bound::Objective(1e-12),
        },
        Case {
            law: "bnsl-3",
            response: "y",
            grid: x(1e1, 1e10, 120),
            truth: vec![
                ("a", 0.2),
                ("b", 3.0),
                ("c0", 0.05),
                ("c1", 0.5),
                ("d1", 1e3),
                ("f1", 0.2),
                ("c2", -0.3),
                ("d2", 1e5),
                ("f2", 0.15),
                ("c3", 0.4),
                ("d3", 1e8),
                ("f3", 0.2),
            ],
            predict: |v, p| {
                let first = p[1] * v[0].powf(-p[2]) * broken(v[0], p[3], p[4], p[5]);
                let second = broken(v[0], p[6], p[7], p[8]);
                p[0] + first * second * broken(v[0], p[9], p[10], p[11])
            },
            // As above, with six orders to put the breaks in.
            bound: Bound::Objective(1e-10),
        },
        exactly(
            "pow4",
            "y",
            x(4.0, 4e3, 24),
            vec![("a", 0.92), ("b", 1.8), ("d", 6.0), ("c", 0.6)],
            |v, p| p[0] - p[1] * (p[2] + v[0]).powf(-p[3]),
        ),
        exactly(
            "exp3",
            "y",
            vec![("x", lin_space(0.0, 60.0, 25))],
            vec![("a", 0.7), ("b", 0.08), ("c", 0.25)],
            |v, p| p[0] * (-p[1] * v[0]).exp() + p[2],
        ),
        Case {
            law: "mmf4",
            response: "y",
            grid: x(1.0, 1e5, 30),
            truth: vec![("a", 0.1), ("b", 40.0), ("c", 0.85), ("d", 0.9)],
            predict: |v, p| {
                let power = v[0].powf(p[3]);
                (p[0] * p[1] + p[2] * power) / (p[1] + power)
            },
            // With d up to 0.9 the four are close to dependent: the condition number eats some digits.
            bound: Bound::Parameters(1e-5),
        },
        exactly(
            "wbl4",
            "y",
            x(1.0, 1e4, 30),
            vec![("c", 0.9), ("b", 0.7), ("a", 0.05), ("d", 0.55)],
            |v, p| p[0] - p[1] * (-p[2] * v[0].powf(p[3])).exp(),
        ),
        exactly("vap3", "y", x(1.0, 1e4, 24), vec![("a", -0.4), ("b", 1.3), ("c", -0.12)], |v, p| {
            (p[0] + p[1] / v[0] + p[2] * v[0].ln()).exp()
        }),
        exactly(
            "kaplan-n",
            "loss",
            vec![("N", log_space(1e5, 1e10, 15))],
            vec![("Nc", 8.8e13), ("alphaN", 0.076)],
            |v, p| (p[0] / v[0]).powf(p[1]),
        ),
        exactly(
            "kaplan-d",
            "loss",
            vec![("D", log_space(1e7, 1e11, 15))],
            vec![("Dc", 5.4e13), ("alphaD", 0.095)],
            |v, p| (p[0] / v[0]).powf(p[1]),
        ),
        exactly(
            "kaplan-c",
            "loss",
            vec![("C", log_space(1e-6, 1e3, 15))],
            vec![("Cc", 3.1e8), ("alphaC", 0.05)],
            |v, p| (p[0] / v[0]).powf(p[1]),
        ),
        exactly(
            "kaplan-nd",
            "loss",
            vec![("N", log_space(1e5, 1e9, 7)), ("D", log_space(2e7, 2e10, 7))],
            vec![("Nc", 6.4e13), ("Dc", 1.8e13), ("alphaN", 0.076), ("alphaD", 0.103)],
            |v, p| ((p[0] / v[0]).powf(p[2] / p[3]) + p[1] / v[1]).powf(p[3]),
        ),
        exactly(
            "kaplan-ns",
            "loss",
            vec![("N", log_space(1e6, 1e9, 7)), ("S", log_space(1e3, 1e6, 7))],
            vec![("Nc", 6.5e13), ("Sc", 2.1e3), ("alphaN", 0.077), ("alphaS", 0.76)],
            |v, p| (p[0] / v[0]).powf(p[2]) + (p[1] / v[1]).powf(p[3]),
        ),
        exactly(
            "chinchilla",
            "loss",
            models(),
            vec![("E", 1.69), ("A", 406.4), ("B", 410.7), ("alpha", 0.34), ("beta", 0.28)],
            |v, p| p[0] + p[1] / v[0].powf(p[3]) + p[2] / v[1].powf(p[4]),
        ),
        exactly(
            "chinchilla-tied",
            "loss",
            models(),
            vec![("E", 1.8), ("A", 500.0), ("B", 1500.0), ("alpha", 0.35)],
            |v, p| p[0] + p[1] / v[0].powf(p[3]) + p[2] / v[1].powf(p[3]),
        ),
        Case {
            law: "chinchilla-coupled",
            response: "loss",
            grid: models(),
            truth: vec![("E", 1.7), ("A", 2e3), ("B", 4e4), ("alpha", 0.45), ("beta", 0.5), ("q", 0.7)],
            predict: |v, p| p[0] + (p[1] / v[0].powf(p[3]) + p[2] / v[1].powf(p[4])).powf(p[5]),
            // q trades against all four others, which costs digits; A and B are exponentials of them.
            bound: Bound::Parameters(1e-4),
        },
        exactly(
            "multiplicative",
            "loss",
            models(),
            vec![("E", 1.9), ("A", 900.0), ("alpha", 0.12), ("beta", 0.15)],
            |v, p| p[0] + p[1] * v[0].powf(-p[2]) * v[1].powf(-p[3]),
        ),
        exactly(
            "overtraining",
            "loss",
            vec![("M", log_space(5.0, 640.0, 7)), ("C", log_space(1e17, 1e21, 6))],
            vec![("E", 1.51), ("a", 141.0), ("b", 190.0), ("eta", 0.121)],
            |v, p| p[0] + (p[1] * v[0].powf(p[3]) + p[2] * v[0].powf(-p[3])) * v[1].powf(-p[3]),
        ),
        Case {
            law: "data-constrained",
            response: "loss",
            grid: vec![
                ("N", log_space(1e7, 1e10, 6)),
                ("D", log_space(1e9, 1e12, 6)),
                ("U", log_space(1e8, 2e11, 5)),
            ],
            truth: vec![
                ("E", 1.87),
                ("A", 521.0),
                ("B", 1488.0),
                ("alpha", 0.34),
                ("beta", 0.37),
                ("RD", 15.387756),
                ("RN", 5.309743),
            ],
            predict: data_constrained,
            // Kinks where D crosses U and N its optimum: the least squares problem is not smooth.
            bound: Bound::Parameters(1e-4),
        },
        exactly(
            "isoflop-parabola",
            "y",
            vec![("N", log_space(1e8, 1e10, 9))],
            vec![("p", 0.03), ("q", -1.27), ("r", 16.0)],
            |v, p| p[0] * v[0].ln().powi(2) + p[1] * v[0].ln() + p[2],
        ),
        exactly(
            "sigmoid",
            "y",
            vec![("L", lin_space(0.5, 4.0, 25))],
            vec![("a", 0.72), ("k", -3.1), ("L0", 1.9), ("b", 0.24)],
            |v, p| p[0] / (1.0 + (-p[1] * (v[0] - p[2])).exp()) + p[3],
        ),
        exactly(
            "exp-decay",
            "y",
            vec![("L", lin_space(2.0, 6.0, 20))],
            vec![("eps", 0.857), ("k", 2.21), ("g", 0.715)],
            |v, p| p[0] - p[1] * (-p[2] * v[0]).exp(),
        ),
        exactly(
            "loss-to-loss",
            "y",
            vec![("L0", lin_space(2.0, 5.0, 24))],
            vec![("K", 1.1), ("E0", 1.6), ("kappa", 0.9), ("E1", 1.3)],
            |v, p| p[0] * (v[0] - p[1]).powf(p[2]) + p[3],
        ),
        exactly(
            "coverage",
            "y",
            vec![("k", log_space(1.0, 1e4, 20))],
            vec![("a", -2.3), ("b", -0.35)],
            |v, p| (p[0] * v[0].powf(p[1])).exp(),
        ),
        exactly(
            "shifted-compute",
            "loss",
            vec![("C", log_space(1.0, 1e6, 24))],
            vec![("E", 0.6), ("A", 3.2), ("B", 8.0), ("alpha", 0.35)],
            |v, p| p[0] + p[1] * (v[0] + p[2]).powf(-p[3]),
        ),
        exactly("step-law", "y", models(), vec![("c", 1.79), ("p", -0.713), ("q", 0.307)], |v, p| {
            p[0] * v[0].powf(p[1]) * v[1].powf(p[2])
        }),
        exactly(
            "precision",
            "loss",
            vec![
                ("N", log_space(3e7, 1e9, 5)),
                ("D", log_space(1e9, 3e10, 5)),
                ("P", vec![3.0, 4.0, 6.0, 8.0, 12.0, 16.0]),
            ],
            vec![("E", 1.9), ("A", 420.0), ("B", 1200.0), ("alpha", 0.33), ("beta", 0.36), ("g", 2.4)],
            |v, p| {
                let effective = v[0] * (1.0 - (-v[2] / p[5]).exp());
                p[0] + p[1] / effective.powf(p[3]) + p[2] / v[1].powf(p[4])
            },
        ),
        exactly(
            "routing",
            "y",
            vec![("N", log_space(1e7, 1e9, 6)), ("Ehat", log_space(1.0, 500.0, 6))],
            vec![("a", -0.082), ("b", -0.108), ("c", 0.009), ("d", 2.5)],
            |v, p| {
                let (n, e) = (v[0].ln(), v[1].ln());
                (p[0] * n + p[1] * e + p[2] * n * e + p[3]).exp()
            },
        ),
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

/// All combinations of the variables' values, column by column.
fn product(grid: &[(&str, Vec<f64>)]) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = vec![Vec::new()];
    for (_, values) in grid {
        rows = rows.iter().flat_map(|row| values.iter().map(|v| [&row[..], &[*v]].concat())).collect();
    }
    rows
}

/// The names in the first column of `sweepfit laws`.
fn catalogue() -> Vec<String> {
    let said = String::from_utf8(program(&["laws"]).stdout).expect("text");
    said.lines()
        // Rows that continue a long formula have an empty first column.
        .filter(|line| line.starts_with(' ') && !line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "name")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_law_recovers_its_own_parameters() {
    let cases = cases();
    let mut untested = catalogue();
    assert!(untested.len() >= 32, "{untested:?}");
    untested.retain(|name| !cases.iter().any(|case| case.law == name));
    assert!(untested.is_empty(), "laws without a case here: {untested:?}");

    let mut failures = Vec::new();
    for case in cases.iter().filter(|case| case.law != "loss-to-loss") {
        if let Err(reason) = std::panic::catch_unwind(|| recovers(case)) {
            let reason = reason.downcast_ref::<String>().cloned().unwrap_or_else(|| "no reason".to_owned());
            failures.push(reason);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// As above, by itself: every start must leave L0 − E0 positive on all rows, which no default start does.
#[test]
fn loss_to_loss_recovers_its_own_parameters() {
    let cases = cases();
    let case = cases.iter().find(|case| case.law == "loss-to-loss");
    recovers(case.expect("a case"));
}

fn recovers(case: &Case) {
    let rows = product(&case.grid);
    let parameters: Vec<f64> = case.truth.iter().map(|(_, value)| *value).collect();
    let response: Vec<f64> = rows.iter().map(|v| (case.predict)(v, &parameters)).collect();
    let mut columns = vec![(case.response, floats(&response))];
    for (i, (name, _)) in case.grid.iter().enumerate() {
        let values: Vec<f64> = rows.iter().map(|row| row[i]).collect();
        columns.push((name, floats(&values)));
    }
    let folder = Folder::new();
    folder.write("a.parquet", &columns);
    let outcome =
        fit(&folder.path("a.parquet"), &folder.path("out"), &["--law", case.law, "--bootstrap", "0"]);
    let law = case.law;
    let message = &outcome.fits.texts("message")[0];
    assert_eq!(outcome.rejected.rows(), 0, "{law}");
    assert_eq!(outcome.only("n_points") as usize, rows.len(), "{law}");
    match case.bound {
        Bound::Parameters(tolerance) => {
            assert_eq!(outcome.status(), "converged", "{law}: {message}");
            for (name, value) in &case.truth {
                let what = format!("{law}: {name}");
                assert_close(&what, outcome.estimate(name), *value, tolerance);
            }
            let known = outcome.coefficients.rows();
            assert_eq!(known, case.truth.len(), "{law}");
        }
        Bound::Objective(most) => {
            let objective = outcome.only("objective");
            assert!(objective <= most, "{law}: objective {objective:e}: {message}");
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
