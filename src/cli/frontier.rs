//! `sweepfit frontier`: the best variables for a budget, and the cost of a target ([`crate::questions::frontier`]).

use clap::Args;

use super::Failure;
use super::ask::AskArguments;
use super::fit::values;
use crate::questions::{Frontier, frontier, numbers};

/// The arguments of `sweepfit frontier`.
#[derive(Args, Debug)]
pub struct FrontierArguments {
    #[command(flatten)]
    ask: AskArguments,

    /// The costs at which the law is minimised: numbers, or a range of equal ratios such as 1e21..1e26:11
    #[arg(long, value_name = "COST,…", required_unless_present = "target")]
    budget: Vec<String>,

    /// The values of the response that are to be reached at the least cost
    #[arg(long, value_name = "VALUE,…")]
    target: Vec<String>,

    /// The cost as a formula of the law's variables [default: 6*N*D]
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    cost: Option<String>,

    /// Compare with the sweep whose keys meet this condition: how many times as much it costs there to reach the same loss
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    relative_to: Option<String>,

    /// Hold a variable at a value; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    hold: Vec<String>,
}

/// Runs the command and returns its output.
pub fn run(arguments: &FrontierArguments) -> Result<String, Failure> {
    let asked = Frontier {
        budgets: positive_numbers("--budget", &arguments.budget)?,
        targets: positive_numbers("--target", &arguments.target)?,
        cost: arguments.cost.clone(),
        hold: held_variables(&arguments.hold)?,
        relative_to: arguments.relative_to.clone(),
    };
    let (result, selection) = arguments.ask.open()?;
    arguments.ask.finish(&frontier(&result, &asked, &selection)?)
}

/// Returns the numbers of a repeatable flag.
pub(super) fn positive_numbers(flag: &str, texts: &[String]) -> Result<Vec<f64>, Failure> {
    let read =
        |text: &String| numbers(text).map_err(|reason| Failure::usage(format!("{flag} {text}: {reason}")));
    Ok(texts.iter().map(read).collect::<Result<Vec<_>, _>>()?.concat())
}

/// Returns the variables that are held, each once.
pub(super) fn held_variables(texts: &[String]) -> Result<Vec<(String, f64)>, Failure> {
    let hold = values("--hold", texts)?;
    let again = |(i, held): (usize, &(String, f64))| hold[..i].iter().any(|(name, _)| *name == held.0);
    match hold.iter().enumerate().find(|held| again(*held)) {
        Some((_, (name, _))) => Err(Failure::usage(format!("--hold {name}: given twice"))),
        None => Ok(hold),
    }
}
