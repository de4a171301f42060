//! `sweepfit schema`: lists the columns of the output tables ([`crate::output::schema`]).

use clap::{Args, Command};

use crate::formula::list;
use crate::optimize::Flag;
use crate::output::schema::{ALL, FITS, TableSpec};

use super::run::SECTIONS;
use super::{Failure, job_file, summary};

/// The arguments of `sweepfit schema`.
#[derive(Args, Debug)]
pub struct SchemaArguments {
    /// fits, coefficients, derived, scores, covariance, replicates, jackknife, residuals or rejected
    table: Option<String>,

    /// Print the JSON Schema of job files
    #[arg(long, conflicts_with = "table")]
    job: bool,
}

/// Runs the command and returns its output.
pub fn run(arguments: &SchemaArguments, program: &Command) -> Result<String, Failure> {
    if arguments.job {
        let section = |(name, is_repeatable)| Some((program.find_subcommand(name)?.clone(), is_repeatable));
        let sections: Vec<(Command, bool)> = SECTIONS.into_iter().filter_map(section).collect();
        return Ok(format!("{:#}\n", job_file::schema(&sections)));
    }
    let tables: Vec<&TableSpec> = match &arguments.table {
        None => ALL.iter().collect(),
        Some(name) => match ALL.iter().find(|t| t.name == name) {
            Some(table) => vec![table],
            None => {
                let names: Vec<&str> = ALL.iter().map(|t| t.name).collect();
                return Err(Failure::usage(format!("no table `{name}`; the tables are {}", list(&names))));
            }
        },
    };
    let mut text = String::new();
    for spec in tables {
        text += &format!("{}.parquet: {}; the --by columns come first\n\n", spec.name, spec.rows);
        let mut table = summary::table(&["column", "type", "unit", "meaning"], &[0, 1, 2], &[]);
        for column in spec.columns {
            table.add_row([column.name, column.kind.name(), column.unit, column.meaning]);
        }
        text += &summary::lines(&table);
        if spec.name == FITS.name {
            text += "\nThe words of `flags`, in their order\n\n";
            let mut table = summary::table(&["word", "meaning"], &[0], &[]);
            for flag in Flag::ALL {
                table.add_row([flag.name(), flag.meaning()]);
            }
            text += &summary::lines(&table);
        }
    }
    Ok(text)
}
