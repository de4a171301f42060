//! The command line: arguments become calls of the library, records and errors become text and an exit status.
//!
//! | file | what it holds |
//! | --- | --- |
//! | this one | the commands, and how errors name flags and become exit codes |
//! | [`fit`], `laws`, `schema`, `verify`, `generate` | one command each; a flag is documented where it is defined |
//! | `summary`, `progress` | tables on standard output; progress on standard error |

mod fit;
mod generate;
mod laws;
mod progress;
mod schema;
mod summary;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Error, ErrorKind, Setting};

/// Fits scaling laws to many experiment sweeps, Parquet to Parquet.
#[derive(Parser)]
#[command(name = "sweepfit", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fit laws to every sweep of the input
    Fit(Box<fit::FitArguments>),
    /// List the catalogue of laws, or show one in full
    Laws(laws::LawsArguments),
    /// Show the output tables: columns, types, units
    Schema(schema::SchemaArguments),
    /// Fit problems with certified answers and print the digits that are right
    Verify(verify::VerifyArguments),
    /// Write synthetic sweeps of a law to a Parquet file
    Generate(generate::GenerateArguments),
}

/// An error for the user and the status to exit with.
pub struct Failure {
    pub status: u8,
    pub message: String,
}

/// A setting as the flag by which it is given.
fn flag(setting: Setting) -> String {
    match setting {
        Setting::Inputs => "INPUT".to_string(),
        Setting::Catalogue => "`sweepfit laws`".to_string(),
        Setting::Where => "--where".to_string(),
        Setting::MinPoints => "--min-points".to_string(),
        // The others are named alike.
        other => format!("--{other}"),
    }
}

/// 2: job or input is wrong, nothing was written; 1: the run could not be completed; 130: interrupted.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match error.kind() {
            ErrorKind::Invalid => 2,
            ErrorKind::Failed => 1,
            ErrorKind::Interrupted => 130,
        };
        Failure { status, message: error.text(&flag) }
    }
}

impl Failure {
    /// The command line or the input is wrong.
    fn usage(message: impl Into<String>) -> Failure {
        Failure { status: 2, message: message.into() }
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    crate::input::silence_guarded_panics();
    let result = match arguments.command {
        Command::Fit(arguments) => fit::run(*arguments),
        Command::Laws(arguments) => laws::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
    };
    match result {
        Ok(text) => {
            use std::io::{ErrorKind, Write};
            let mut out = std::io::stdout();
            match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                // A reader that closed the pipe has seen enough.
                Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                    eprintln!("sweepfit: standard output: {error}");
                    ExitCode::from(1)
                }
                _ => ExitCode::SUCCESS,
            }
        }
        Err(failure) => {
            eprintln!("sweepfit: {}", failure.message);
            ExitCode::from(failure.status)
        }
    }
}
