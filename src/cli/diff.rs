//! `sweepfit diff`: what differs between two results ([`crate::questions::differences`]).

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::Failure;
use super::ask::AskArguments;
use crate::formula::counted;
use crate::output::KeptResult;
use crate::questions::{Difference, differences};

/// The arguments of `sweepfit diff`.
#[derive(Args, Debug)]
#[command(
    after_help = "A fit is `added` or `gone`, has another `status`, has `moved` where a parameter lies outside its old interval, or \
                        is `changed` where its estimates differ otherwise. Fits are told apart by their keys and laws."
)]
pub struct DiffArguments {
    /// A directory that `sweepfit fit` has written
    #[arg(value_name = "OLD")]
    old: PathBuf,

    /// Another one
    #[arg(value_name = "NEW")]
    new: PathBuf,

    /// Exit with status 3 where there are such differences
    #[arg(
        long,
        value_parser = difference(),
        value_name = "added,gone,status,moved,changed",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    fail_on: Vec<Difference>,

    /// Also write the differences to a file: Parquet, CSV or JSON lines by its ending; `-` for CSV on standard output
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Parses the value of `--fail-on`.
fn difference() -> impl TypedValueParser<Value = Difference> {
    let names = PossibleValuesParser::new(Difference::ALL.map(Difference::name));
    names.map(|name| {
        let known = Difference::ALL.into_iter().find(|difference| difference.name() == name);
        known.unwrap_or(Difference::Changed)
    })
}

impl DiffArguments {
    /// Returns the directory of the old result.
    pub(super) fn old(&self) -> &Path {
        &self.old
    }
}

/// Runs the command and returns its output.
pub fn run(arguments: &DiffArguments) -> Result<String, Failure> {
    match found(arguments)? {
        (text, None) => Ok(text),
        (text, Some(message)) => Err(Failure::beyond_limit(&text, message)),
    }
}

/// Compares the results. Returns the output, and which differences the user forbids.
pub(super) fn found(arguments: &DiffArguments) -> Result<(String, Option<String>), Failure> {
    let (old, new) = (KeptResult::open(&arguments.old)?, KeptResult::open(&arguments.new)?);
    let found = differences(&old, &new)?;
    let count = |difference: Difference| found.counts.get(&difference).copied().unwrap_or(0);
    let ask = AskArguments {
        result: arguments.new.clone(),
        condition: None,
        law: None,
        out: arguments.out.clone(),
    };
    let mut text = if found.table.num_rows() == 0 && arguments.out.is_none() {
        String::new()
    } else {
        ask.finish(&found.table)?
    };
    let is_csv = arguments.out.as_ref().is_some_and(|out| out.as_os_str() == "-");
    if !is_csv {
        let counts = Difference::ALL.iter().map(|kind| format!("{} {}", count(*kind), kind.name()));
        let counts: Vec<String> = counts.collect();
        text +=
            &format!("{}: {}, {} equal\n", counted(new.fits.len(), "fit"), counts.join(", "), found.equal);
    }
    let failing: Vec<String> = (arguments.fail_on.iter())
        .filter(|kind| count(**kind) > 0)
        .map(|kind| format!("{} {}", count(*kind), kind.name()))
        .collect();
    let forbidden = (!failing.is_empty()).then(|| format!("{}, which --fail-on forbids", failing.join(", ")));
    Ok((text, forbidden))
}
