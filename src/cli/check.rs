//! `sweepfit check`: an input, and the run that would fit it, before anything is fitted ([`crate::engine::check`]).

use bytesize::ByteSize;
use clap::Args;

use super::fit::{Concluded, JobArguments, MachineArguments};
use super::limits::{Limit, Limits};
use super::reporting::{Reporting, ReportingArguments};
use super::summary::{lines, rejections, table};
use super::{Failure, terminal};
use crate::engine::{Check, Progress};
use crate::files::check_files;
use crate::formula::counted;

/// The arguments of `sweepfit check`.
#[derive(Args, Debug)]
#[command(
    after_help = "The flags are those of fit; without a law all columns of numbers are checked. Nothing is written. The exit status \
                  is 3 where a limit is exceeded."
)]
pub struct CheckArguments {
    #[command(flatten)]
    job: JobArguments,

    /// Exit with status 3 where more rows than this would be rejected: a number, or a share such as 1%
    #[arg(long, value_name = "LIMIT", help_heading = "Limits")]
    max_rejected: Option<Limit>,

    /// Exit with status 3 where more rows than this repeat another of their sweep: a number, or a share such as 1%
    #[arg(long, value_name = "LIMIT", help_heading = "Limits")]
    max_duplicates: Option<Limit>,

    /// Exit with status 3 where there are fewer sweeps
    #[arg(long, value_name = "N", help_heading = "Limits")]
    min_sweeps: Option<u64>,

    #[command(flatten)]
    reporting: ReportingArguments,

    #[command(flatten)]
    machine: MachineArguments,
}

/// Runs the command and returns its output.
pub fn run(arguments: &CheckArguments) -> Result<String, Failure> {
    let reporting = Reporting::begin(&arguments.reporting, "check");
    let outcome = arguments.check(reporting.progress().as_ref());
    reporting.end(outcome, &Concluded::default(), None)
}

impl CheckArguments {
    /// Checks the input and returns what is told of it.
    ///
    /// # Errors
    /// If the input cannot be read, or a limit is exceeded.
    pub(super) fn check(&self, progress: &dyn Progress) -> Result<String, Failure> {
        let job = self.job.job()?;
        let check = self.machine.run(progress, |control| check_files(&job, control))?;
        let text = told(&check);
        let counts = &check.summary.counts;
        let kept = counts.rows_read - counts.rows_dropped_by_where;
        let limits = Limits { failed: None, rejected: self.max_rejected };
        let duplicates = self.max_duplicates.filter(|limit| limit.is_exceeded(check.duplicates, kept));
        let messages = [
            limits.exceeded(counts),
            duplicates.map(|limit| {
                format!(
                    "{} of {kept} rows are duplicates, and --max-duplicates allows {limit}",
                    check.duplicates
                )
            }),
            self.min_sweeps.filter(|least| counts.sweeps < *least).map(|least| {
                format!("there are {}, and --min-sweeps asks for {least}", counted(counts.sweeps, "sweep"))
            }),
        ];
        let messages: Vec<String> = messages.into_iter().flatten().collect();
        if messages.is_empty() { Ok(text) } else { Err(Failure::beyond_limit(&text, messages.join("; "))) }
    }
}

/// Returns what a check has found, in tables and sentences.
fn told(check: &Check) -> String {
    let Check { summary, columns, sweep_sizes, duplicates, seconds, memory_bytes } = check;
    let counts = &summary.counts;
    let mut rows = table(&["column", "smallest", "largest", "null", "not a number"], &[0], &[]);
    for column in columns {
        let end = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), six_digits);
        let (low, high) = (column.range.map(|(low, _)| low), column.range.map(|(_, high)| high));
        let name = terminal::one_line(&column.name).into_owned();
        rows.add_row([name, end(low), end(high), column.nulls.to_string(), column.not_finite.to_string()]);
    }
    let mut text = if columns.is_empty() { String::new() } else { lines(&rows) };
    text += &rejections(summary);
    text += &format!(
        "{}, of {} rows read {} dropped by --where\n",
        counted(counts.sweeps, "sweep"),
        counts.rows_read,
        counts.rows_dropped_by_where
    );
    if let Some([smallest, median, largest]) = sweep_sizes {
        text += &format!("rows in a sweep: from {smallest} to {largest}, the median is {median}\n");
    }
    text +=
        &format!("{} with another of their sweep equal in all columns above\n", counted(*duplicates, "row"));
    if !summary.laws.is_empty() {
        text += &format!(
            "{} and {} would be rejected\n",
            counted(counts.rejected_rows, "row"),
            counted(counts.rejected_sweeps, "sweep")
        );
    }
    if let Some(seconds) = seconds {
        text += &format!("estimated time {}\n", time(*seconds));
    }
    text += &format!("estimated memory {}\n", ByteSize(*memory_bytes).display().iec());
    text
}

/// Returns a number with six significant digits at most.
fn six_digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    if rounded == 0.0 || (1e-4..1e7).contains(&rounded.abs()) {
        rounded.to_string()
    } else {
        format!("{rounded:e}")
    }
}

/// Returns a time in the unit in which it is read.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "less than a second".to_owned(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
