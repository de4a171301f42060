//! The command line: turns arguments into calls of the library, and results and errors into text and an exit status.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the list of commands; errors as messages with exit statuses |
//! | [`fit`] | `sweepfit fit`: fits laws to sweeps |
//! | `run`, `job_file` | `sweepfit run`: the steps of a job file |
//! | `check` | `sweepfit check`: an input before it is fitted |
//! | `predict` | `sweepfit predict`: predictions of a kept result |
//! | `frontier` | `sweepfit frontier`: the best variables for a budget |
//! | `show` | `sweepfit show`: a kept result in words and tables |
//! | `coverage` | `sweepfit coverage`: how often intervals contain the truth |
//! | `diff` | `sweepfit diff`: what differs between two results |
//! | `approaches` | `sweepfit isoflop`, `sweepfit envelope`: frontiers without a law |
//! | `ask` | what the commands share that ask a kept result |
//! | `limits` | limits of failed fits and rejected rows, beyond which the exit status is 3 |
//! | `laws` | `sweepfit laws`: lists the catalogue |
//! | `schema` | `sweepfit schema`: lists the output tables |
//! | `verify` | `sweepfit verify`: checks fits and derivatives against reference answers |
//! | `generate` | `sweepfit generate`: writes synthetic sweeps |
//! | `help` | `sweepfit help`: the help of a command, and the reference of the formula language |
//! | `shell` | `sweepfit completions`, `sweepfit man`: completions for shells, manual pages |
//! | `key_columns` | the value of `--by` |
//! | `numbers` | numbers in flags, and the digits of estimates |
//! | `summary` | tables on standard output |
//! | `progress` | progress on standard error |
//! | `reporting` | what a run says besides its result: log, metrics, lineage |
//! | `signals` | Ctrl-C and SIGTERM |
//! | `terminal` | writing to standard output and standard error |
//!
//! A flag is documented where it is defined. The folder knows nothing of how jobs are planned and fitted, and no other
//! module imports from it.

mod approaches;
mod ask;
mod check;
mod coverage;
mod diff;
mod fit;
mod frontier;
mod generate;
mod help;
mod job_file;
mod key_columns;
mod laws;
mod limits;
mod numbers;
mod predict;
mod progress;
mod reporting;
mod run;
mod schema;
mod shell;
mod show;
mod signals;
mod summary;
mod terminal;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::{Error, ErrorKind, Setting};

/// Fits scaling laws to many experiment sweeps, Parquet to Parquet.
#[derive(Parser)]
#[command(name = "sweepfit", version, max_term_width = usize::from(summary::TEXT_WIDTH), disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The commands; their doc comments are their help.
#[derive(Subcommand)]
enum Command {
    /// Fit laws to every sweep of the input
    Fit(Box<fit::FitArguments>),
    /// Do what a job file says, in order: check, fit, predict, frontier, diff, publish
    Run(run::RunArguments),
    /// Check an input before it is fitted: ranges, duplicates, rejections, time and memory
    #[command(mut_arg("laws", |argument| argument.required(false)))]
    Check(Box<check::CheckArguments>),
    /// Say what loss a fitted law predicts at given points, with intervals
    Predict(predict::PredictArguments),
    /// Find the variables at which a fitted law is least for a budget, and the budget of a target
    Frontier(frontier::FrontierArguments),
    /// Find the frontier of runs at fixed budgets, by a parabola per budget (approach 2)
    Isoflop(approaches::IsoflopArguments),
    /// Find the frontier of training curves, by their lower envelope (approach 1)
    Envelope(approaches::EnvelopeArguments),
    /// Say how often the intervals of a job would contain the truth, by simulation
    Coverage(Box<coverage::CoverageArguments>),
    /// Show a result: one fit in full with a plot, or many by status, parameter and worst fits
    Show(show::ShowArguments),
    /// Say what differs between two results: fits that came, went or changed, and parameters that moved
    Diff(diff::DiffArguments),
    /// List the catalogue of laws, or show one in full
    Laws(laws::LawsArguments),
    /// Show the output tables: columns, types, units
    Schema(schema::SchemaArguments),
    /// Check fits and derivatives against reference answers and print the correct digits
    Verify(verify::VerifyArguments),
    /// Write synthetic sweeps of a law to a Parquet file
    Generate(generate::GenerateArguments),
    /// Write completions for a shell to standard output
    Completions(shell::CompletionsArguments),
    /// Write the manual page of the program or of a command, in roff, to standard output
    Man(shell::ManArguments),
    /// Show the help of a command, or of the formula language (`help formula`)
    Help(help::HelpArguments),
}

/// An error for the user.
pub struct Failure {
    /// The exit status: 2 where the command line or the input is wrong, 1 where the run failed, 3 where it is complete and beyond
    /// a limit of the user, 130 or 143 where a signal ended it.
    pub status: u8,
    /// What happened, where, and what to do.
    pub message: String,
}

/// Returns the flag of a setting, as messages name it.
fn flag(setting: Setting) -> String {
    match setting {
        Setting::Inputs => "INPUT".to_string(),
        Setting::Catalogue => "`sweepfit laws`".to_string(),
        Setting::Where => "--where".to_string(),
        Setting::MinPoints => "--min-points".to_string(),
        Setting::PartitionBy => "--partition-by".to_string(),
        Setting::AllowEmpty => "--allow-empty".to_string(),
        // The other settings are displayed by the name of their flag.
        other => format!("--{other}"),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match error.kind() {
            ErrorKind::Invalid => 2,
            ErrorKind::Failed => 1,
            ErrorKind::Interrupted => signals::status(),
        };
        let text = error.text(&flag);
        let message = if has_lines(&error) { text } else { terminal::one_line(&text).into_owned() };
        Failure { status, message }
    }
}

impl Failure {
    /// Shows the output of a command that is complete, and returns the failure that it is beyond a limit of the user.
    fn beyond_limit(output: &str, message: String) -> Failure {
        let _ = terminal::show(output);
        Failure { status: 3, message }
    }

    /// Returns the failure that the command line or the input is wrong.
    fn usage(message: impl Into<String>) -> Failure {
        Failure { status: 2, message: message.into() }
    }
}

/// Returns whether the lines of an error's text are laid out, as below a formula; other texts are one line, whatever names
/// they hold.
fn has_lines(error: &Error) -> bool {
    match error {
        Error::Formula { .. } | Error::Catalogue { .. } | Error::Question { .. } => true,
        Error::Midway(error) => has_lines(error),
        _ => false,
    }
}

/// The flag that may stand alone, before an input, or have a value.
const OPTIONAL_VALUE: &str = "--keep-replicates";

/// Joins the flag and a word for its value where a space is between them.
fn joined(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for argument in arguments {
        let is_value = ["auto", "always", "never"].iter().any(|word| argument == *word);
        match joined.last_mut().filter(|last| is_value && **last == *OPTIONAL_VALUE) {
            Some(flag) => {
                flag.push("=");
                flag.push(&argument);
            }
            None => joined.push(argument),
        }
    }
    joined
}

/// Returns the job file of a command line of `fit`.
fn print_job(program: &clap::Command, matches: &ArgMatches) -> String {
    let fit = program.find_subcommand("fit").zip(matches.subcommand_matches("fit"));
    fit.map_or_else(String::new, |(command, matches)| job_file::printed(command, matches))
}

/// Runs the program on the process's arguments and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let program = Arguments::command();
    let parsed = program.clone().try_get_matches_from(joined(std::env::args_os()));
    let parsed = parsed.and_then(|matches| Ok((Arguments::from_arg_matches(&matches)?, matches)));
    let (arguments, matches) = match parsed {
        Ok(parsed) => parsed,
        // The message holds what was typed.
        Err(error) if error.use_stderr() => {
            terminal::complain(&error.render().to_string());
            return ExitCode::from(2);
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    crate::input::silence_guarded_panics();
    let result = match arguments.command {
        Command::Fit(arguments) if arguments.print_job => Ok(print_job(&program, &matches)),
        Command::Fit(arguments) => fit::run(&arguments),
        Command::Run(arguments) => run::run(&arguments, &program),
        Command::Check(arguments) => check::run(&arguments),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Frontier(arguments) => frontier::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Coverage(arguments) => coverage::run(&arguments),
        Command::Isoflop(arguments) => approaches::run_isoflop(&arguments),
        Command::Envelope(arguments) => approaches::run_envelope(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Laws(arguments) => laws::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments, &program),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments),
        Command::Man(arguments) => shell::man(&arguments),
        Command::Help(arguments) => help::run(&arguments),
    };
    match result {
        Ok(text) => match terminal::show(&text) {
            // Closing the pipe early, as `head` does, is no error.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                terminal::say(&format!("standard output: {error}"));
                ExitCode::from(1)
            }
            _ => ExitCode::SUCCESS,
        },
        Err(failure) => {
            terminal::fail(&failure.message);
            ExitCode::from(failure.status)
        }
    }
}
