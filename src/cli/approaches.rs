//! `sweepfit isoflop` and `sweepfit envelope`: frontiers without a law ([`crate::approaches`]).

use std::path::PathBuf;

use arrow::array::RecordBatch;
use clap::Args;

use super::Failure;
use super::ask::{shown, write};
use super::fit::assignment;
use super::key_columns::key_columns;
use super::numbers::whole;
use crate::approaches::{Approach, ApproachTables, envelope, isoflop};
use crate::formula::counted;
use crate::input::{InputFiles, PartitionOptions};
use crate::output::is_result;
use crate::questions::numbers;
use crate::store::url_of;

/// The arguments that both commands share.
#[derive(Args, Debug)]
pub struct ApproachArguments {
    /// Parquet files, directories, Delta tables or globs; files of CSV, TSV or JSON lines by name or glob
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,

    /// Columns that identify a sweep [default: the whole input is one sweep]
    #[arg(long, value_name = "COL,…")]
    by: Vec<String>,

    /// A variable from the input's columns, such as 'C=6*N*D'; repeatable, in order
    #[arg(long = "let", value_name = "NAME=EXPR", allow_hyphen_values = true)]
    lets: Vec<String>,

    /// The type of a partition of the input's directories, such as year=int64 [default: text]; repeatable
    #[arg(long, value_name = "NAME=TYPE")]
    partition_type: Vec<String>,

    /// Keep only the rows where this condition holds
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true)]
    condition: Option<String>,

    /// Column of the size of the model
    #[arg(long, value_name = "COL", default_value = "N")]
    size: String,

    /// Column of the loss
    #[arg(long, value_name = "COL", default_value = "loss")]
    response: String,

    /// The costs of the frontier, such as 1e21..1e26:11 [default: those of the data]
    #[arg(long, value_name = "COST,…")]
    at: Option<String>,

    /// Bootstrap replicates of the whole chain; 0 for no intervals
    #[arg(long, value_name = "B", default_value_t = 1000, value_parser = whole(0, 1_000_000))]
    bootstrap: u64,

    /// Confidence of the intervals
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    confidence: f64,

    /// Seed of all random numbers
    #[arg(long, value_name = "U64", default_value_t = 0)]
    seed: u64,

    /// Directory for frontier.parquet and the table of the optima
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The arguments of `sweepfit isoflop`.
#[derive(Args, Debug)]
pub struct IsoflopArguments {
    #[command(flatten)]
    shared: ApproachArguments,

    /// Column of the compute budget, with one value for all runs of a budget
    #[arg(long, value_name = "COL", default_value = "C")]
    budget: String,
}

/// The arguments of `sweepfit envelope`.
#[derive(Args, Debug)]
pub struct EnvelopeArguments {
    #[command(flatten)]
    shared: ApproachArguments,

    /// Column of the compute at a checkpoint
    #[arg(long, value_name = "COL", default_value = "C")]
    compute: String,
}

/// Runs `sweepfit isoflop` and returns its output.
pub fn run_isoflop(arguments: &IsoflopArguments) -> Result<String, Failure> {
    let (source, approach) = arguments.shared.approach(&arguments.budget)?;
    arguments.shared.finish("isoflop", &isoflop(&source, &approach)?)
}

/// Runs `sweepfit envelope` and returns its output.
pub fn run_envelope(arguments: &EnvelopeArguments) -> Result<String, Failure> {
    let (source, approach) = arguments.shared.approach(&arguments.compute)?;
    arguments.shared.finish("envelope", &envelope(&source, &approach)?)
}

impl ApproachArguments {
    /// Returns the source and what is asked of it.
    fn approach(&self, cost: &str) -> Result<(InputFiles, Approach), Failure> {
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return Err(Failure::usage("--confidence: give a value between 0 and 1, such as 0.95"));
        }
        let taken = self.out.as_ref().map(|directory| is_result(directory)).transpose()?;
        if let Some(directory) = self.out.as_ref().filter(|_| taken == Some(true)) {
            let reason = "this directory holds a result of `sweepfit fit`, whose frontier.parquet would be another; write \
                          elsewhere";
            return Err(Failure::usage(format!("--out {}: {reason}", directory.display())));
        }
        let costs = match &self.at {
            Some(text) => numbers(text).map_err(|reason| Failure::usage(format!("--at {text}: {reason}")))?,
            None => Vec::new(),
        };
        let approach = Approach {
            by: self.by.iter().map(|text| key_columns(text)).collect::<Result<Vec<_>, _>>()?.concat(),
            lets: self.lets.iter().map(|text| assignment("--let", text)).collect::<Result<_, _>>()?,
            condition: self.condition.clone(),
            cost: cost.to_string(),
            size: self.size.clone(),
            response: self.response.clone(),
            costs,
            bootstrap: usize::try_from(self.bootstrap).unwrap_or(usize::MAX),
            confidence: self.confidence,
            seed: self.seed,
        };
        let types = (self.partition_type.iter())
            .map(|text| assignment("--partition-type", text))
            .collect::<Result<Vec<_>, _>>()?;
        let condition = approach.condition.as_deref();
        let options = PartitionOptions { types: &types, condition, defined: &approach.lets };
        Ok((InputFiles::find(&self.inputs, options)?, approach))
    }

    /// Writes the tables where they are wanted and returns what is shown of them.
    fn finish(&self, name: &str, tables: &ApproachTables) -> Result<String, Failure> {
        let ApproachTables { optima, frontier, .. } = tables;
        let mut text = format!("{}{}", shown(optima), shown(frontier));
        if tables.left_out > 0 {
            let rows = counted(tables.left_out, "row");
            text +=
                &format!("{rows} left out: the cost or the size is not positive, or the loss not finite\n");
        }
        if let Some(directory) = &self.out {
            let failed = |error: std::io::Error| Failure {
                status: 1,
                message: format!("{}: {error}", directory.display()),
            };
            if url_of(directory).is_none() {
                std::fs::create_dir_all(directory).map_err(failed)?;
            }
            let put =
                |name: &str, table: &RecordBatch| write(&directory.join(format!("{name}.parquet")), table);
            put(name, optima)?;
            put("frontier", frontier)?;
            text += &format!("tables in {}\n", directory.display());
        }
        Ok(text)
    }
}
