//! `sweepfit predict`: what fitted laws say at given points ([`crate::questions::predict`]).

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::ask::AskArguments;
use crate::questions::{Points, predict};

/// The arguments of `sweepfit predict`.
#[derive(Args, Debug)]
#[command(
    after_help = "In the answer, `new run` is the interval of one more run, and `extrapolation` the largest factor by which a \
                        variable lies outside the data of the fit, 1 inside. The confidence is that of the fit."
)]
pub struct PredictArguments {
    #[command(flatten)]
    ask: AskArguments,

    /// A point, such as 'N=7e10, D=1.4e12'; a value may be an expression of those before it (D=20*N) or a range of equal
    /// ratios (N=1e9..1e12:25); repeatable
    #[arg(long, value_name = "NAME=VALUE,…", required_unless_present = "points")]
    at: Vec<String>,

    /// A Parquet file of points: variables as columns; key columns, where present, join points to sweeps
    #[arg(long, value_name = "FILE")]
    points: Option<PathBuf>,
}

/// Runs the command and returns its output.
pub fn run(arguments: &PredictArguments) -> Result<String, Failure> {
    let mut points = Points::default();
    for text in &arguments.at {
        points.add(text)?;
    }
    let (result, selection) = arguments.ask.open()?;
    if let Some(path) = &arguments.points {
        let schema = result.table.schema();
        let keys: Vec<String> = (0..result.n_keys).map(|key| schema.field(key).name().clone()).collect();
        points.add_file(path, &keys)?;
    }
    arguments.ask.finish(&predict(&result, &points, &selection)?)
}
