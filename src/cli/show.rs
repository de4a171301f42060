//! `sweepfit show`: a kept result in words and tables: one fit in full, or many by status, parameter and worst fits.

use std::path::PathBuf;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use arrow::util::display::array_value_to_string;
use clap::Args;
use textplots::{Chart, Plot, Shape};

use super::ask::AskArguments;
use super::numbers::{last_place, rounded};
use super::summary::{cell, lines, table, wrapped};
use super::{Failure, terminal};
use crate::infer::quantile;
use crate::linalg::triangle;
use crate::optimize::{Flag, Status};
use crate::output::{KeptFit, KeptResult};

/// The arguments of `sweepfit show`.
#[derive(Args, Debug)]
pub struct ShowArguments {
    /// A directory that `sweepfit fit` has written
    #[arg(value_name = "RESULT")]
    result: PathBuf,

    /// Show the sweeps whose keys meet this condition
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true)]
    condition: Option<String>,

    /// Show the fits of this law
    #[arg(long, value_name = "NAME")]
    law: Option<String>,
}

/// The number of fits up to which each is shown in full.
const MOST_FITS: usize = 3;

/// The number of the worst fits that are listed.
const MOST_WORST: usize = 10;

/// The correlation from which a pair of parameters is mentioned.
const HIGH_CORRELATION: f64 = 0.95;

/// Runs the command and returns its output.
pub fn run(arguments: &ShowArguments) -> Result<String, Failure> {
    let ShowArguments { result, condition, law } = arguments;
    let ask =
        AskArguments { result: result.clone(), condition: condition.clone(), law: law.clone(), out: None };
    let (result, selection) = ask.open()?;
    let chosen = selection.fits(&result)?;
    let text = match chosen.len() {
        0 => "the result has no fits\n".to_string(),
        1..=MOST_FITS => {
            let residuals = result.residuals()?;
            chosen.iter().map(|&fit| one(&result, fit, residuals.as_ref())).collect()
        }
        _ => many(&result, &chosen),
    };
    Ok(terminal::printable(&text).into_owned())
}

/// Returns a value of the table of fits, empty for null.
fn value(table: &RecordBatch, column: &str, row: usize) -> String {
    let Some(array) = table.column_by_name(column).filter(|array| array.is_valid(row)) else {
        return String::new();
    };
    array_value_to_string(array, row).unwrap_or_default()
}

/// Returns a number of a table, NaN for null.
fn number(table: &RecordBatch, column: &str, row: usize) -> f64 {
    let array = table.column_by_name(column).and_then(|array| array.as_primitive_opt::<Float64Type>());
    array.filter(|array| array.is_valid(row)).map_or(f64::NAN, |array| array.value(row))
}

/// Returns the key of a fit's sweep, as `name = value, …`; empty where the whole input is one sweep.
fn key(result: &KeptResult, fit: usize) -> String {
    let schema = result.table.schema();
    let parts: Vec<String> = (0..result.n_keys)
        .map(|i| {
            let name = schema.field(i).name();
            format!(
                "{name} = {}",
                cell(&array_value_to_string(result.table.column(i), fit).unwrap_or_default())
            )
        })
        .collect();
    parts.join(", ")
}

/// Returns one fit in full.
fn one(result: &KeptResult, number_of_fit: usize, residuals: Option<&RecordBatch>) -> String {
    let fit = &result.fits[number_of_fit];
    let law = &result.laws[fit.law];
    let of = |column: &str| value(&result.table, column, number_of_fit);
    let figure = |column: &str| {
        let x = number(&result.table, column, number_of_fit);
        rounded(x, last_place(x, None))
    };
    let mut text = String::new();
    let key = key(result, number_of_fit);
    if !key.is_empty() {
        text += &format!("{key}\n");
    }
    text += &wrapped(&format!("{}\n", cell(&law.formula)));
    text += &format!("{}\n\n", with_numbers(result, fit));
    let mut facts = table(&["", "", "", ""], &[0, 1, 2, 3], &[]);
    facts.add_row(["status", &of("status"), "observations", &of("n_points")]);
    facts.add_row(["residuals", &of("residual"), "parameters", &of("n_parameters")]);
    facts.add_row(["loss", &of("loss"), "objective", &figure("objective")]);
    facts.add_row([
        "searches",
        &format!("{} of {} agree", of("n_agreeing"), of("n_starts")),
        "R²",
        &figure("r_squared"),
    ]);
    facts.add_row([
        "replicates",
        &format!("{}, {} failed", of("n_replicates"), of("n_replicates_failed")),
        "RMSLE",
        &figure("rmsle"),
    ]);
    facts.add_row(["condition", &figure("condition_number"), "AICc", &figure("aicc")]);
    text += lines(&facts).trim_start_matches('\n');
    text += &coefficients(result, fit);
    let message = of("message");
    if !message.is_empty() {
        text += &wrapped(&format!("{message}\n"));
    }
    for flag in of("flags").split(',').filter(|word| !word.is_empty()) {
        let meaning = Flag::ALL.iter().find(|known| known.name() == flag).map_or("", |known| known.meaning());
        text += &wrapped(&format!("{flag}: {meaning}\n"));
    }
    text += &correlations(result, fit);
    text += &plot(result, number_of_fit, residuals);
    text.push('\n');
    text
}

/// Returns the law with the estimates in the place of its parameters.
fn with_numbers(result: &KeptResult, fit: &KeptFit) -> String {
    let law = &result.laws[fit.law];
    let mut expr = law.prediction.clone();
    crate::questions::substitute(&mut expr, &|name| {
        let estimate = fit.natural[law.parameter(name)?];
        rounded(estimate, last_place(estimate, None)).parse().ok().filter(|x: &f64| x.is_finite())
    });
    format!("{} ~ {expr}", law.response)
}

/// Returns the table of a fit's coefficients.
fn coefficients(result: &KeptResult, fit: &KeptFit) -> String {
    let level = format!("{} %", 100.0 * result.confidence);
    let (low, high) = (format!("{level} low"), format!("{level} high"));
    let header = ["parameter", "estimate", "std. error", "bootstrap SE", &low, &high, "interval"];
    let mut rows = table(&header, &[0, 6], &[1, 2, 3, 4, 5]);
    for row in fit.coefficients.clone() {
        let of = |column: &str| number(&result.coefficients, column, row);
        let (estimate, error) = (of("estimate"), of("std_error"));
        let bootstrap = of("bootstrap_std_error");
        let unit = Some(if bootstrap.is_nan() { error } else { bootstrap });
        let place = last_place(estimate, unit);
        let mut cells = vec![value(&result.coefficients, "parameter", row)];
        cells.extend([estimate, error, bootstrap, of("ci_low"), of("ci_high")].map(|x| rounded(x, place)));
        cells.push(value(&result.coefficients, "ci_method", row));
        rows.add_row(cells);
    }
    lines(&rows)
}

/// Returns the pairs of parameters that are hard to tell apart.
fn correlations(result: &KeptResult, fit: &KeptFit) -> String {
    let Some(covariance) = &fit.covariance else { return String::new() };
    let law = &result.laws[fit.law];
    let correlation = covariance.correlation();
    let name = |i: usize| law.parameters[covariance.parameters[i]].name.as_str();
    let mut text = String::new();
    for i in 0..covariance.parameters.len() {
        for j in 0..i {
            let r = correlation[triangle(i) + j];
            if r.abs() >= HIGH_CORRELATION {
                text += &format!("{} and {} are correlated to {r:.3}\n", name(j), name(i));
            }
        }
    }
    text
}

/// Returns a plot of data and law over the law's first variable, in logarithms where values are positive.
fn plot(result: &KeptResult, number_of_fit: usize, residuals: Option<&RecordBatch>) -> String {
    let Some(residuals) = residuals else {
        return "fit with --residuals for a plot of data and law\n".to_string();
    };
    let fit = &result.fits[number_of_fit];
    let law = &result.laws[fit.law];
    let rows = result.residuals_of(residuals, number_of_fit);
    let variable = &law.variables[0];
    let columns = |name: &str| rows.iter().map(|&row| number(residuals, name, row)).collect::<Vec<f64>>();
    let (x, response, prediction) = (columns(variable), columns("response"), columns("prediction"));
    let is_log = x.iter().all(|x| *x > 0.0);
    let to = |x: f64| if is_log { x.log10() } else { x };
    let points = |y: &[f64]| -> Vec<(f32, f32)> {
        let mut points: Vec<(f32, f32)> =
            x.iter().zip(y).filter(|(_, y)| y.is_finite()).map(|(x, y)| (to(*x) as f32, *y as f32)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let (data, curve) = (points(&response), points(&prediction));
    let (Some(first), Some(last)) = (data.first(), data.last()) else { return String::new() };
    if !(first.0 < last.0) {
        return String::new();
    }
    let width = u32::from(terminal::width().unwrap_or(100)).clamp(40, 160);
    let shapes = [
        Shape::Points(&data),
        if law.variables.len() == 1 { Shape::Lines(&curve) } else { Shape::Points(&curve) },
    ];
    let mut chart = Chart::new(width, 60, first.0, last.0);
    let chart = shapes.iter().fold(&mut chart, |chart, shape| chart.lineplot(shape));
    chart.axis();
    chart.figures();
    let scale = if is_log { format!("log10 {variable}") } else { variable.clone() };
    let what = if law.variables.len() == 1 {
        "points: data; line: the law"
    } else {
        "data, and the law at the data"
    };
    format!("\n{chart}\n{} against {scale}; {what}\n", law.response)
}

/// Returns many fits: their number by status and flag, the quartiles of each parameter, and the worst of them.
fn many(result: &KeptResult, chosen: &[usize]) -> String {
    let mut text = String::new();
    let mut counts = table(&["law", "fits", "status or flag", "of them"], &[0, 2], &[1, 3]);
    for (l, law) in result.laws.iter().enumerate() {
        let of_law: Vec<usize> = chosen.iter().copied().filter(|&fit| result.fits[fit].law == l).collect();
        if of_law.is_empty() {
            continue;
        }
        let mut first = [cell(&law.name), of_law.len().to_string()];
        let mut add = |word: &str, n: usize| {
            if n > 0 {
                counts.add_row([first[0].clone(), first[1].clone(), word.to_string(), n.to_string()]);
                first = [String::new(), String::new()];
            }
        };
        for status in Status::ALL {
            add(
                status.name(),
                of_law.iter().filter(|&&fit| result.fits[fit].status == status.name()).count(),
            );
        }
        for flag in Flag::ALL {
            let has = |fit: &&usize| {
                value(&result.table, "flags", **fit).split(',').any(|word| word == flag.name())
            };
            add(&format!("flag {}", flag.name()), of_law.iter().filter(has).count());
        }
    }
    text += &lines(&counts);
    let mut quartiles =
        table(&["law", "parameter", "fits", "25 %", "median", "75 %"], &[0, 1], &[2, 3, 4, 5]);
    for (l, law) in result.laws.iter().enumerate() {
        for (i, parameter) in law.parameters.iter().enumerate() {
            let good = chosen
                .iter()
                .map(|&fit| &result.fits[fit])
                .filter(|fit| fit.law == l && fit.is_trustworthy());
            let mut values: Vec<f64> = good.map(|fit| fit.natural[i]).filter(|x| x.is_finite()).collect();
            if values.is_empty() {
                continue;
            }
            let [low, median, high] = [0.25, 0.5, 0.75].map(|p| quantile(&mut values, p));
            let place = last_place(median, Some(0.5 * (high - low)));
            let mut row = vec![cell(&law.name), parameter.name.clone(), values.len().to_string()];
            row.extend([low, median, high].map(|x| rounded(x, place)));
            quartiles.add_row(row);
        }
    }
    text += &lines(&quartiles);
    let mut worst: Vec<usize> = chosen.to_vec();
    let badness = |fit: usize| {
        let r_squared = number(&result.table, "r_squared", fit);
        (result.fits[fit].is_trustworthy(), if r_squared.is_nan() { f64::NEG_INFINITY } else { r_squared })
    };
    worst.sort_by(|&a, &b| {
        let ((a, x), (b, y)) = (badness(a), badness(b));
        a.cmp(&b).then(x.total_cmp(&y))
    });
    let mut rows = table(&["the worst", "law", "status", "R²", "RMSLE", "flags"], &[1, 2], &[3, 4]);
    for &fit in worst.iter().take(MOST_WORST) {
        let figure = |column: &str| {
            let x = number(&result.table, column, fit);
            rounded(x, last_place(x, None))
        };
        let law = cell(&result.laws[result.fits[fit].law].name);
        let status = result.fits[fit].status.clone();
        let flags = value(&result.table, "flags", fit).replace(',', ", ");
        rows.add_row([key(result, fit), law, status, figure("r_squared"), figure("rmsle"), flags]);
    }
    text + &lines(&rows)
}
