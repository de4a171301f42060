//! Frontiers without a law: IsoFLOP parabolas and lower envelopes.

mod common;

use common::program::{Table, fit, program};
use common::{Folder, floats};

const E: f64 = 1.69;
const A: f64 = 406.4;
const B: f64 = 410.7;
const ALPHA: f64 = 0.34;
const BETA: f64 = 0.28;

fn loss(n: f64, d: f64) -> f64 {
    E + A / n.powf(ALPHA) + B / d.powf(BETA)
}

/// The optimum of Hoffmann et al. (2022), equation 4.
fn optimum(budget: f64) -> f64 {
    (ALPHA * A / (BETA * B)).powf(1.0 / (ALPHA + BETA)) * (budget / 6.0).powf(BETA / (ALPHA + BETA))
}

/// Runs a command with its tables written to `out`, and returns them by name.
fn tables(folder: &Folder, arguments: &[&str]) -> (Table, Table) {
    let out = folder.path("tables");
    let output = program(&[arguments, &["--out", &out]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| Table::read(format!("{out}/{name}.parquet").as_ref());
    (read(arguments[0]), read("frontier"))
}

fn close(name: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() < tolerance, "{name}: {found} for {expected}");
}

/// Without noise, the vertices of parabolas over sizes from 1/16 to 16 times the optimum are off by a constant factor, because
/// the curve is no parabola: seven sizes per budget put N* up by 6.1599349 % and D* down by 5.8025044 % (NumPy 2.4.6,
/// `polyfit` of exp(−αx)/α + exp(βx)/β over x). A fitted law has no such error.
#[test]
fn parabolas_have_their_known_bias_and_a_law_has_none() {
    let folder = Folder::new();
    let budgets = [1e18, 1e19, 1e20, 1e21, 1e22];
    let (mut n, mut d, mut c, mut y) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for budget in budgets {
        for k in -3..=3 {
            let size = optimum(budget) * 16f64.powf(f64::from(k) / 3.0);
            let tokens = budget / 6.0 / size;
            n.push(size);
            d.push(tokens);
            c.push(budget);
            y.push(loss(size, tokens));
        }
    }
    let columns = [("N", floats(&n)), ("D", floats(&d)), ("C", floats(&c)), ("loss", floats(&y))];
    folder.write("in.parquet", &columns);
    let input = folder.path("in.parquet");
    let (optima, frontier) = tables(&folder, &["isoflop", &input, "--bootstrap", "200", "--at", "1e22,1e25"]);
    assert_eq!(optima.texts("status"), ["optimal"; 5]);
    assert_eq!(optima.floats("budget"), budgets);
    for (k, budget) in budgets.into_iter().enumerate() {
        close("size", optima.floats("size")[k] / optimum(budget), 1.061_599_349, 1e-7);
        let (low, high) = (optima.floats("size_low")[k], optima.floats("size_high")[k]);
        assert!(low < optima.floats("size")[k] && optima.floats("size")[k] < high, "{low} {high}");
    }
    for (k, budget) in [1e22, 1e25].into_iter().enumerate() {
        let d = budget / 6.0 / optimum(budget);
        close("D", frontier.floats("D")[k] / d, 1.0 - 0.058_025_044_4, 1e-7);
        close("exponent", frontier.floats("N_exponent")[k], BETA / (ALPHA + BETA), 1e-9);
    }
    let out = folder.path("fit");
    fit(&input, &out, &["--law", "chinchilla", "--bootstrap", "0"]);
    let answer = folder.path("answer.parquet");
    assert!(program(&["frontier", &out, "--budget", "1e22,1e25", "--out", &answer]).status.success());
    let of_law = Table::read(answer.as_ref());
    for (k, budget) in [1e22, 1e25].into_iter().enumerate() {
        close("D", of_law.floats("D")[k], budget / 6.0 / optimum(budget), 1e-6);
    }
}

/// A parabola that opens downwards, one whose vertex lies outside its data, and a budget with two sizes are said, and none of
/// them enters the power law.
#[test]
fn budgets_without_an_optimum_are_said() {
    let folder = Folder::new();
    let (mut n, mut c, mut y) = (Vec::new(), Vec::new(), Vec::new());
    let mut add = |budget: f64, curve: &dyn Fn(f64) -> f64, sizes: &[f64]| {
        for &size in sizes {
            n.push(size.exp());
            c.push(budget);
            y.push(curve(size));
        }
    };
    add(1.0, &|x| 2.0 + (x - 2.0).powi(2), &[1.0, 2.0, 3.0, 4.0]);
    add(1e2, &|x| 2.0 - (x - 2.0).powi(2), &[1.0, 2.0, 3.0, 4.0]);
    add(1e3, &|x| 2.0 + (x - 9.0).powi(2), &[1.0, 2.0, 3.0, 4.0]);
    add(1e4, &|x| 2.0 + x, &[1.0, 2.0]);
    add(1e5, &|x| 2.0 + (x - 3.0).powi(2), &[1.0, 2.0, 3.0, 4.0]);
    folder.write("in.parquet", &[("N", floats(&n)), ("C", floats(&c)), ("loss", floats(&y))]);
    let input = folder.path("in.parquet");
    let (optima, frontier) = tables(&folder, &["isoflop", &input, "--bootstrap", "0"]);
    assert_eq!(optima.texts("status"), ["optimal", "opens_downwards", "outside", "few_sizes", "optimal"]);
    // log N* rises from 2 to 3 while log C rises by 5·log 10.
    close("exponent", frontier.floats("N_exponent")[0], 1.0 / (5.0 * 10f64.ln()), 1e-9);
}

/// Training curves of a law whose sizes are dense have an envelope whose exponent is that of the law.
#[test]
fn the_envelope_of_dense_curves_has_the_exponent_of_the_law() {
    let folder = Folder::new();
    let (mut n, mut c, mut y) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..60 {
        let size = 1e7 * 1e3f64.powf(f64::from(i) / 59.0);
        for k in 0..80 {
            let budget = 6.0 * size * size * 10f64.powf(-1.0 + 4.0 * f64::from(k) / 79.0);
            n.push(size);
            c.push(budget);
            y.push(loss(size, budget / 6.0 / size));
        }
    }
    folder.write("in.parquet", &[("N", floats(&n)), ("C", floats(&c)), ("loss", floats(&y))]);
    let input = folder.path("in.parquet");
    let arguments =
        ["envelope", &input, "--where", "C > 1e17 and C < 1e20", "--bootstrap", "0", "--at", "1e19"];
    let (envelope, frontier) = tables(&folder, &arguments);
    close("exponent", frontier.floats("N_exponent")[0], BETA / (ALPHA + BETA), 0.02);
    close("N", frontier.floats("N")[0], optimum(1e19), 0.05);
    // At the lowest levels most curves have not begun.
    let levels = envelope.floats("budget").into_iter().zip(envelope.floats("loss"));
    for (budget, found) in levels.filter(|(budget, _)| *budget > 2e17) {
        let best = loss(optimum(budget), budget / 6.0 / optimum(budget));
        assert!(found > best * (1.0 - 1e-9) && found < best * 1.002, "{budget}: {found} for {best}");
    }
}

/// A directory that holds a fit's result, with its own frontier.parquet, is left alone.
#[test]
fn a_fit_is_not_written_into() {
    let folder = Folder::new();
    let (n, c) = ([1.0, 2.0, 4.0, 8.0], [1.0; 4]);
    let y = [2.0, 1.5, 1.4, 1.8];
    folder.write("in.parquet", &[("N", floats(&n)), ("C", floats(&c)), ("loss", floats(&y))]);
    let (input, out) = (folder.path("in.parquet"), folder.path("fit"));
    fit(&input, &out, &["--law", "loss ~ a + b*log(N)", "--bootstrap", "0"]);
    for command in ["isoflop", "envelope"] {
        let output = program(&[command, &input, "--out", &out]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command}: {message}");
        assert!(message.contains(&out) && message.contains("write elsewhere"), "{message}");
        assert!(!std::path::Path::new(&format!("{out}/frontier.parquet")).exists());
    }
}

/// Where the input states tokens and the cost is not that of training with them, as of a run that is trained twice on its
/// tokens, no tokens follow from the frontier.
#[test]
fn tokens_follow_from_the_cost_of_training_alone() {
    let folder = Folder::new();
    for (factor, has_tokens) in [(6.0, true), (12.0, false)] {
        let (mut n, mut d, mut c, mut y) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for budget in [1e18, 1e19, 1e20] {
            for k in -2..=2 {
                let size = optimum(budget) * 2f64.powi(k);
                let tokens = budget / factor / size;
                n.push(size);
                d.push(tokens);
                c.push(budget);
                y.push(loss(size, tokens));
            }
        }
        let columns = [("N", floats(&n)), ("D", floats(&d)), ("C", floats(&c)), ("loss", floats(&y))];
        folder.write("in.parquet", &columns);
        let (_, frontier) = tables(&folder, &["isoflop", &folder.path("in.parquet"), "--bootstrap", "0"]);
        assert_eq!(frontier.has("D"), has_tokens, "{factor}");
    }
}
