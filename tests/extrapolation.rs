//! Extrapolation of published language curves: fitted to the small scales, compared on the large ones.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::Folder;
use common::program::{Outcome, Table, fit, shared_data, text};

/// The language curves, fitted to the rows of `train` by some laws.
fn language_curves(laws: &[&str]) -> Option<(PathBuf, Outcome)> {
    let data = shared_data("extrapolation_language.parquet")?;
    let folder = Folder::new();
    let mut arguments = vec!["--by", "domain,task,model", "--where", "train", "--residual", "log"];
    arguments.extend(["--loss", "l2", "--response", "loss", "--bootstrap", "0"]);
    laws.iter().for_each(|law| arguments.extend(["--law", *law]));
    let outcome = fit(&text(&data), &folder.path("out"), &arguments);
    Some((data, outcome))
}

/// M4's prediction by bisection: `(y − e)/(e0 − y)^a = b·x^-c`.
fn m4(p: &BTreeMap<String, f64>, x: f64) -> f64 {
    let (mut low, mut high) = (p["e"], p["e0"]);
    for _ in 0..200 {
        let y = 0.5 * (low + high);
        if (y - p["e"]).ln() - p["a"] * (p["e0"] - y).ln() < p["b"].ln() - p["c"] * x.ln() {
            low = y;
        } else {
            high = y;
        }
    }
    0.5 * (low + high)
}

type Curve = [String; 3];

/// Root mean square of log prediction − log value on the rows that are not in `train`, by curve and law.
fn held_out_errors(data: &Path, outcome: &Outcome) -> BTreeMap<(Curve, String), f64> {
    let table = Table::read(data);
    let keys = |t: &Table| -> Vec<Curve> {
        let (domain, task, model) = (t.texts("domain"), t.texts("task"), t.texts("model"));
        (0..t.rows()).map(|i| [domain[i].clone(), task[i].clone(), model[i].clone()]).collect()
    };
    let mut parameters: BTreeMap<(Curve, String), BTreeMap<String, f64>> = BTreeMap::new();
    let c = &outcome.coefficients;
    let (laws, names, estimates) = (c.texts("law"), c.texts("parameter"), c.floats("estimate"));
    for (i, curve) in keys(c).into_iter().enumerate() {
        let one = parameters.entry((curve, laws[i].clone())).or_default();
        one.insert(names[i].clone(), estimates[i]);
    }
    let (x, y, train) = (table.floats("x"), table.floats("loss"), table.bools("train"));
    let mut held_out: BTreeMap<Curve, Vec<(f64, f64)>> = BTreeMap::new();
    for (i, curve) in keys(&table).into_iter().enumerate().filter(|(i, _)| !train[*i]) {
        held_out.entry(curve).or_default().push((x[i], y[i]));
    }
    parameters
        .into_iter()
        .map(|((curve, law), p)| {
            let predict = |x: f64| match law.as_str() {
                "power" => p["b"] * x.powf(-p["c"]),
                "power-offset" => p["e"] + p["b"] * x.powf(-p["c"]),
                "m4" => m4(&p, x),
                "vap3" => (p["a"] + p["b"] / x + p["c"] * x.ln()).exp(),
                _ => p["b"] * (1.0 / x + p["g"]).powf(p["c"]),
            };
            let rows = &held_out[&curve];
            let squares: f64 = rows.iter().map(|(x, y)| (predict(*x).ln() - y.ln()).powi(2)).sum();
            ((curve, law), (squares / rows.len() as f64).sqrt())
        })
        .collect()
}

fn mean_error(errors: &BTreeMap<(Curve, String), f64>, domain: &str, law: &str) -> f64 {
    let of: Vec<f64> = errors
        .iter()
        .filter(|((curve, l), _)| curve[0] == domain && l == law)
        .map(|(_, error)| *error)
        .collect();
    assert_eq!(of.len(), if domain == "BB" { 10 } else { 5 });
    of.iter().sum::<f64>() / of.len() as f64
}

/// Six decimals are given, so half of the last is the least that can be asked.
#[track_caller]
fn agrees(what: &str, got: f64, want: f64) {
    let slack = (1e-3 * want).max(0.6e-6);
    assert!((got - want).abs() <= slack, "{what}: {got:.7}, expected {want}");
}

const EXTRAPOLATING: [&str; 3] = ["power", "power-offset", "shifted-power"];

#[test]
fn extrapolation_of_language_curves() {
    let Some((data, outcome)) = language_curves(&EXTRAPOLATING) else {
        return;
    };
    let errors = held_out_errors(&data, &outcome);
    assert_eq!(errors.len(), 60);
    for (domain, model, want) in [
        ("NMT", "6 Enc, 6 Dec", [0.261869, 0.056072, 0.017616]),
        ("NMT", "28 Enc, 6 Dec", [0.170848, 0.063633, 0.016411]),
        ("NMT", "6 Enc, 28 Dec", [0.234026, 0.066064, 0.009938]),
        ("NMT", "Dec-only", [0.251972, 0.037645, 0.016367]),
        ("NMT", "TEnc-LSTM", [0.189916, 0.017376, 0.005990]),
        ("LM", "4.53e+08", [0.016532, 0.000754, 0.003763]),
        ("LM", "1.07e+09", [0.017112, 0.001835, 0.003162]),
    ] {
        for (law, want) in EXTRAPOLATING.iter().zip(want) {
            let found =
                errors.iter().find(|((curve, l), _)| curve[0] == domain && curve[2] == model && l == law);
            let (_, got) = found.expect("a curve");
            agrees(&format!("{domain} {model} {law}"), *got, want);
        }
    }
    for (domain, law, want) in [
        ("NMT", "power", 0.221726),
        ("NMT", "power-offset", 0.048158),
        ("NMT", "shifted-power", 0.013264),
        ("LM", "power", 0.013971),
        ("LM", "power-offset", 0.001127),
        ("LM", "shifted-power", 0.003313),
        ("BB", "power", 0.014811),
        ("BB", "power-offset", 0.010016),
    ] {
        agrees(&format!("mean of {domain} {law}"), mean_error(&errors, domain, law), want);
    }
}

/// On `date, 1-shot` the training error of M3 falls as g grows without end (½RSS 0.0012098 at g = 100); the
/// published mean is that limit's.
#[test]
fn extrapolation_mean_of_big_bench_by_m3() {
    let Some((data, outcome)) = language_curves(&EXTRAPOLATING) else {
        return;
    };
    let errors = held_out_errors(&data, &outcome);
    agrees("mean of BB", mean_error(&errors, "BB", "shifted-power"), 0.010555);
}

/// All of these have an optimum, inside or on an edge, but for the one above.
#[test]
fn extrapolation_fits_are_certified() {
    let Some((_, outcome)) = language_curves(&EXTRAPOLATING) else {
        return;
    };
    let f = &outcome.fits;
    let (tasks, laws, statuses) = (f.texts("task"), f.texts("law"), f.texts("status"));
    for i in 0..f.rows() {
        let open = tasks[i] == "('date', '1-shot')" && laws[i] == "shifted-power";
        let good = ["converged", "at_bound"].contains(&statuses[i].as_str());
        assert!(good || open, "{} {}: {}", tasks[i], laws[i], statuses[i]);
    }
}

/// M4, an implicit law, against optima found independently (SciPy's `least_squares` with analytic derivatives of a
/// root found in the logit, 24 starts per curve), and its errors on held-out rows.
///
/// The published errors belong to other estimates. The least training error of any M4 with the published held-out
/// error is above the optimum's by 18 % on `28 Enc, 6 Dec`, 2.7 % on LM 4.53e8, 2 % on `6 Enc, 6 Dec` and 0.6 % on
/// `TEnc-LSTM` (0.05 %, within rounding, on `6 Enc, 28 Dec`); `Dec-only` has no published value, and a well-determined
/// optimum.
#[test]
fn extrapolation_by_an_implicit_law() {
    let Some((data, outcome)) = language_curves(&["m4"]) else {
        return;
    };
    let errors = held_out_errors(&data, &outcome);
    let f = &outcome.fits;
    let (domains, tasks, models) = (f.texts("domain"), f.texts("task"), f.texts("model"));
    let (statuses, objectives) = (f.texts("status"), f.floats("objective"));
    let (agreeing, starts) = (f.floats("n_agreeing"), f.floats("n_starts"));
    // Curve, half the least sum of squares, error on held-out rows.
    for (domain, of, objective, held_out) in [
        ("NMT", "28 Enc, 6 Dec", 0.000301806274986, 0.00266257),
        ("NMT", "Dec-only", 0.00021065423727, 0.00221663),
        ("LM", "1.07e+09", 4.29539052444e-06, 0.000728236),
        ("BB", "('ling', '1-shot')", 0.000124038789001, 0.0152081),
        ("BB", "('ling', '2-shot')", 0.000319749701282, 0.00974227),
        ("BB", "('mult', '1-shot')", 0.000195562822958, 0.00708542),
        ("BB", "('mult', '2-shot')", 0.000256733866652, 0.00977268),
    ] {
        let i = (0..f.rows()).find(|&i| domains[i] == domain && (tasks[i] == of || models[i] == of));
        let i = i.expect("a curve");
        assert_eq!(statuses[i], "converged", "{of}");
        assert!((objectives[i] / objective - 1.0).abs() < 1e-9, "{of}: {}", objectives[i]);
        assert!(3.0 * agreeing[i] > starts[i], "{of}: {} of {}", agreeing[i], starts[i]);
        let curve = [domains[i].clone(), tasks[i].clone(), models[i].clone()];
        agrees(of, errors[&(curve, "m4".to_string())], held_out);
    }
    // Where a and e0 grow together the law tends to log(y − e) + k·y = log(b·x^-c), whose least objective is lower
    // than any that M4 reaches; a ends on its edge, where held-out errors differ from the limit's in the second digit.
    for (of, limit) in [
        ("6 Enc, 6 Dec", 0.00181994187591),
        ("6 Enc, 28 Dec", 0.000665536692165),
        ("TEnc-LSTM", 0.000863732842531),
        ("1.34e+08", 5.14247833604e-06),
        ("4.53e+08", 7.05834680439e-06),
    ] {
        let i = (0..f.rows()).find(|&i| models[i] == of).expect("a curve");
        assert_eq!(statuses[i], "at_bound", "{of}");
        assert!(objectives[i] > limit && objectives[i] < 1.06 * limit, "{of}: {}", objectives[i]);
    }
    let at = |of: &str| errors.iter().find(|((curve, _), _)| curve[2] == of).map(|(_, error)| *error);
    println!("held-out error of M4 (`--nocapture` shows this), published, most that is let through");
    for (of, published, most) in [
        ("6 Enc, 6 Dec", 0.010, 0.0192),
        ("28 Enc, 6 Dec", 0.013, 0.0027),
        ("6 Enc, 28 Dec", 0.030, 0.0292),
        ("Dec-only", f64::NAN, 0.00222),
        ("TEnc-LSTM", 0.012, 0.0157),
        ("4.53e+08", 7.5e-4, 0.00059),
        ("1.07e+09", 1.3e-3, 0.00074),
    ] {
        let error = at(of).expect("a curve");
        println!("  {of:14} {error:.6}  {published:.6}  {most:.6}");
        assert!(error < most, "{of}: {error}");
    }
}

/// At a = 0 M4 is M2: there it must end with the same objective, and say that the data does not determine e0.
#[test]
fn an_implicit_law_contains_the_explicit_one() {
    let Some((_, outcome)) = language_curves(&["power-offset", "m4"]) else {
        return;
    };
    let f = &outcome.fits;
    let (laws, statuses, objectives) = (f.texts("law"), f.texts("status"), f.floats("objective"));
    let messages = f.texts("message");
    let mut coincide = 0;
    for i in (0..f.rows()).step_by(2) {
        assert_eq!([&laws[i], &laws[i + 1]], ["power-offset", "m4"]);
        // Its own value where M4 has it, but for the rounding of a root.
        assert!(objectives[i + 1] <= objectives[i] * (1.0 + 1e-9), "{i}");
        if objectives[i + 1] > objectives[i] * (1.0 - 1e-9) {
            assert_eq!(statuses[i + 1], "underdetermined");
            assert_eq!(messages[i + 1], "the data does not determine `e0` where `a` = 0");
            coincide += 1;
        }
    }
    // On the other curves M4 is better than M2.
    assert!(coincide >= 5, "{coincide}");
}

/// Rows that are held out leave the fit as it is without them, bit for bit, and their scores are the errors of its
/// predictions: those of the curves, laws and errors above.
#[test]
fn held_out_rows_are_scored() {
    let laws = ["power", "power-offset", "shifted-power", "m4", "vap3"];
    let Some((data, outcome)) = language_curves(&laws) else { return };
    let expected = held_out_errors(&data, &outcome);
    let folder = Folder::new();
    let mut arguments = vec!["--by", "domain,task,model", "--holdout", "not train", "--residual", "log"];
    arguments.extend(["--loss", "l2", "--response", "loss", "--bootstrap", "0"]);
    laws.iter().for_each(|law| arguments.extend(["--law", *law]));
    let out = folder.path("out");
    let held_out = fit(&text(&data), &out, &arguments);
    assert_eq!(held_out.coefficients.floats("estimate"), outcome.coefficients.floats("estimate"));
    let scores = Table::read(format!("{out}/scores.parquet").as_ref());
    assert_eq!(scores.rows(), 100);
    let (domain, task, model) = (scores.texts("domain"), scores.texts("task"), scores.texts("model"));
    let (law, rmsle) = (scores.texts("law"), scores.floats("rmsle"));
    let n_test = scores.integers("n_test");
    let table = Table::read(&data);
    let held = table.bools("train").iter().filter(|train| !**train).count() as i64;
    assert_eq!(n_test.iter().flatten().sum::<i64>(), 5 * held);
    for i in 0..scores.rows() {
        let curve = [domain[i].clone(), task[i].clone(), model[i].clone()];
        let expected = expected[&(curve.clone(), law[i].clone())];
        assert!((rmsle[i] / expected - 1.0).abs() < 1e-6, "{curve:?} {}: {} {expected}", law[i], rmsle[i]);
    }
}
