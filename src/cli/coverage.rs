//! `sweepfit coverage`: how often the intervals of a job would contain the truth ([`crate::coverage`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use clap::{Args, ValueEnum};

use super::Failure;
use super::ask::AskArguments;
use super::fit::{IntervalArgument, interval, values};
use super::numbers::whole;
use crate::coverage::{Noise, QuantityCoverage, Simulation};
use crate::engine::{Control, Job};
use crate::infer::{IntervalMethod, Resample};
use crate::output::KeptResult;
use crate::problem::LossChoice;
use crate::questions::AnswerTable;
use crate::questions::Points;

/// The arguments of `sweepfit coverage`.
#[derive(Args, Debug)]
pub struct CoverageArguments {
    /// A directory that `sweepfit fit --residuals` has written; not needed with --design
    #[arg(value_name = "RESULT", required_unless_present = "design")]
    result: Option<PathBuf>,

    /// Ask the sweeps whose keys meet this condition
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true)]
    condition: Option<String>,

    /// A law of the result; with --design a catalogue name or a formula
    #[arg(long, value_name = "LAW", allow_hyphen_values = true)]
    law: Option<String>,

    /// Also write the answer to a file: Parquet, CSV or JSON lines by its ending; `-` for CSV on standard output
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// The number of simulated sweeps
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = whole(1, 1_000_000))]
    sweeps: u64,

    /// The noise: each observation's own residual with a random sign, which keeps uneven spread where it is; normal; or Student's t with three degrees of freedom
    #[arg(
        long,
        value_enum,
        value_name = "fitted|normal|t3",
        default_value = "fitted",
        hide_possible_values = true
    )]
    noise: NoiseArgument,

    /// The seed of the noise
    #[arg(long, value_name = "U64", default_value_t = 0)]
    seed: u64,

    /// A Parquet file whose numeric columns are the law's variables, one row per observation
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "result",
        requires = "law",
        requires = "parameters",
        requires = "deviation"
    )]
    design: Option<PathBuf>,

    /// The true parameters, with --design
    #[arg(long, value_name = "NAME=VALUE,…", value_delimiter = ',', conflicts_with = "result")]
    parameters: Vec<String>,

    /// The standard deviation of the noise on the scale of the residuals, with --design
    #[arg(long, value_name = "X", conflicts_with = "result")]
    deviation: Option<f64>,

    /// The loss [default: that of the result, or the law's own]
    #[arg(long, value_name = "LOSS")]
    loss: Option<LossChoice>,

    /// The interval method [default: that of the result, or auto]
    #[arg(long, value_name = "METHOD", value_parser = interval)]
    interval: Option<IntervalArgument>,

    /// The number of replicates [default: that of the result, or 0]
    #[arg(long, value_name = "B")]
    bootstrap: Option<usize>,
}

/// The values of `--noise`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum NoiseArgument {
    Fitted,
    Normal,
    T3,
}

/// Runs the command and returns its output.
pub fn run(arguments: &CoverageArguments) -> Result<String, Failure> {
    match &arguments.design {
        Some(design) => of_design(arguments, design),
        None => of_result(arguments),
    }
}

/// Returns the arguments by which answers are selected and written.
fn ask(arguments: &CoverageArguments) -> AskArguments {
    AskArguments {
        result: arguments.result.clone().unwrap_or_default(),
        condition: arguments.condition.clone(),
        law: arguments.law.clone(),
        out: arguments.out.clone(),
    }
}

/// Simulates a design of the user.
fn of_design(arguments: &CoverageArguments, design: &Path) -> Result<String, Failure> {
    let mut points = Points::default();
    points.add_file(design, &[])?;
    let law = arguments.law.as_deref().unwrap_or_default();
    let deviation = arguments.deviation.unwrap_or(f64::NAN);
    if !(deviation > 0.0 && deviation.is_finite()) {
        return Err(Failure::usage("--deviation: give a positive number"));
    }
    let noise = match arguments.noise {
        NoiseArgument::T3 => Noise::T3,
        NoiseArgument::Fitted | NoiseArgument::Normal => Noise::Normal,
    };
    let job = Job {
        loss: arguments.loss,
        interval: arguments.interval.and_then(|interval| interval.0),
        bootstrap: arguments.bootstrap.unwrap_or(0),
        ..Job::new(law)
    };
    let n = points.len();
    let simulation = Simulation {
        job,
        design: points.names.into_iter().zip(points.columns).collect(),
        clusters: None,
        truth: values("--parameters", &arguments.parameters)?,
        noise,
        deviation: vec![deviation; n],
        cluster_share: 0.0,
        new_run: None,
        sweeps: usize::try_from(arguments.sweeps).unwrap_or(usize::MAX),
        seed: arguments.seed,
    };
    let found = simulation.run(&Control::default())?;
    let mut answers = AnswerTable::default();
    found.iter().for_each(|quantity| add(&mut answers, law, quantity, 0.95));
    ask(arguments).finish(&answers.without_keys()?)
}

/// Simulates the fits of a result, each on its own design.
fn of_result(arguments: &CoverageArguments) -> Result<String, Failure> {
    let ask = ask(arguments);
    let (result, selection) = ask.open()?;
    let usage = |reason: &str| Failure::usage(format!("{}: {reason}", ask.result.display()));
    let Some(residuals) = result.residuals()? else {
        return Err(usage(
            "the result holds no residuals, so the designs are not known: fit with --residuals",
        ));
    };
    let resample: Resample = result.job.resample.parse().map_err(|error: String| usage(&error))?;
    let mut answers = AnswerTable::default();
    for fit in selection.fits(&result)? {
        if !result.fits[fit].is_trustworthy() {
            continue;
        }
        let simulation =
            simulation(arguments, &result, &residuals, fit, &resample).map_err(|reason| usage(&reason))?;
        for quantity in simulation.run(&Control::default())? {
            answers.fits.push(fit as u32);
            add(&mut answers, &result.laws[result.fits[fit].law].name, &quantity, result.confidence);
        }
    }
    ask.finish(&answers.batch(&result)?)
}

/// Appends the coverage of a quantity.
fn add(answers: &mut AnswerTable, law: &str, quantity: &QuantityCoverage, nominal: f64) {
    answers.text("law", law);
    answers.text("quantity", &quantity.quantity);
    answers.number("nominal", nominal);
    answers.number("coverage", quantity.coverage);
    answers.number("mc_error", quantity.mc_error);
    answers.number("with_interval", quantity.with_interval);
    answers.number("mean_width", quantity.mean_width);
    answers.text("ci_method", quantity.method.map_or("", IntervalMethod::name));
}

/// Returns the simulation of a fit on its own design.
fn simulation(
    arguments: &CoverageArguments,
    result: &KeptResult,
    residuals: &RecordBatch,
    fit: usize,
    resample: &Resample,
) -> Result<Simulation, String> {
    let kept = &result.fits[fit];
    let (law, stated) = (&result.laws[kept.law], &result.stated[kept.law]);
    let rows = result.residuals_of(residuals, fit);
    let column = |name: &str| -> Result<Vec<f64>, String> {
        let array = residuals.column_by_name(name).and_then(|array| cast(array, &DataType::Float64).ok());
        let array = array.ok_or_else(|| format!("residuals.parquet has no column `{name}`"))?;
        let array = array.as_primitive::<Float64Type>();
        Ok(rows.iter().map(|&row| if array.is_null(row) { f64::NAN } else { array.value(row) }).collect())
    };
    let (weight, residual, leverage) = (column("weight")?, column("residual")?, column("leverage")?);
    let (sigma, cluster) = (column("sigma")?, column("cluster")?);
    let n_rows = residual.len();
    let n = weight.iter().filter(|w| **w > 0.0).count() as f64;
    let left = n - kept.natural.len() as f64;
    if left < 1.0 {
        return Err("a fit has no residual degree of freedom, so its noise is not known".to_string());
    }
    // Of a residual of weight 1, σ = 1.
    let unit: Vec<f64> = (sigma.iter().zip(&weight))
        .map(|(s, w)| if s.is_finite() { *s } else { 1.0 } / if *w > 0.0 { w.sqrt() } else { 1.0 })
        .collect();
    let used = |i: &usize| weight[*i] > 0.0;
    let squares: f64 = (0..n_rows).filter(used).map(|i| (residual[i] / unit[i]).powi(2)).sum();
    let spread = if result.job.absolute_sigma { 1.0 } else { (squares / left).sqrt() };
    let deviation = unit.iter().map(|unit| spread * unit).collect();
    let standardised: Vec<f64> = (0..n_rows)
        .map(|i| {
            let h = if leverage[i].is_finite() { leverage[i].min(0.999) } else { 0.0 };
            -residual[i] / (spread * unit[i] * (1.0 - h).sqrt())
        })
        .collect();
    let clusters: Option<Vec<u32>> =
        resample.cluster_column().map(|_| cluster.iter().map(|number| *number as u32).collect());
    let cluster_share =
        clusters.as_ref().map_or(0.0, |clusters| intraclass_correlation(&standardised, clusters));
    let noise = match arguments.noise {
        NoiseArgument::Normal => Noise::Normal,
        NoiseArgument::T3 => Noise::T3,
        NoiseArgument::Fitted => Noise::Own(standardised),
    };
    let mut design = Vec::new();
    for name in &law.variables {
        design.push((name.clone(), column(name)?));
    }
    let is_weighted = weight.iter().any(|w| *w != 1.0);
    if is_weighted {
        design.push(("simulated_weight".to_string(), weight));
    }
    let has_sigma = result.job.sigma.is_some();
    if has_sigma {
        design.push(("simulated_sigma".to_string(), sigma));
    }
    let job = &result.job;
    let formula = if law.name.contains('~') { law.name.clone() } else { law.formula.clone() };
    let job = Job {
        residual: Some(law.residual),
        loss: match arguments.loss {
            Some(loss) => Some(loss),
            None => Some(job.loss.as_deref().unwrap_or(&stated.loss).parse::<LossChoice>()?),
        },
        weight: is_weighted.then(|| "simulated_weight".to_string()),
        sigma: has_sigma.then(|| "simulated_sigma".to_string()),
        absolute_sigma: job.absolute_sigma,
        bootstrap: arguments.bootstrap.unwrap_or(job.bootstrap),
        resample: resample.clone(),
        interval: match arguments.interval {
            Some(interval) => interval.0,
            None => IntervalMethod::ALL.into_iter().find(|method| method.name() == job.interval),
        },
        confidence: job.confidence,
        fix: stated.fixed.clone(),
        derive: job.derive.clone(),
        ..Job::new(&formula)
    };
    Ok(Simulation {
        job,
        design,
        clusters,
        truth: law.parameters.iter().map(|p| p.name.clone()).zip(kept.natural.iter().copied()).collect(),
        noise,
        deviation,
        cluster_share,
        new_run: None,
        sweeps: usize::try_from(arguments.sweeps).unwrap_or(usize::MAX),
        seed: arguments.seed,
    })
}

/// Returns the share of the variance that the values of a cluster have in common, by one-way analysis of variance (Donner 1986).
fn intraclass_correlation(values: &[f64], clusters: &[u32]) -> f64 {
    let mut groups: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (value, cluster) in values.iter().zip(clusters) {
        groups.entry(*cluster).or_default().push(*value);
    }
    let (n, k) = (values.len() as f64, groups.len() as f64);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let centre = mean(values);
    let between: f64 =
        groups.values().map(|g| g.len() as f64 * (mean(g) - centre).powi(2)).sum::<f64>() / (k - 1.0);
    let within =
        groups.values().map(|g| g.iter().map(|x| (x - mean(g)).powi(2)).sum::<f64>()).sum::<f64>() / (n - k);
    let size = (n - groups.values().map(|g| (g.len() as f64).powi(2)).sum::<f64>() / n) / (k - 1.0);
    let share = (between - within) / (between + (size - 1.0) * within);
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
}
