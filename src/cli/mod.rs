//! The command line: turns arguments into calls of the library, and results and errors into text and an exit status.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the list of commands; errors as messages with exit statuses |
//! | [`fit`] | `sweepfit fit`: fits laws to sweeps |
//! | `laws` | `sweepfit laws`: lists the catalogue |
//! | `schema` | `sweepfit schema`: lists the output tables |
//! | `verify` | `sweepfit verify`: checks fits and derivatives against reference answers |
//! | `generate` | `sweepfit generate`: writes synthetic sweeps |
//! | `key_columns` | the value of `--by` |
//! | `summary` | tables on standard output |
//! | `progress` | progress on standard error |
//!
//! A flag is documented where it is defined. The folder knows nothing of how jobs are planned and fitted, and no other
//! module imports from it.

mod fit;
mod generate;
mod key_columns;
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

/// The commands; their doc comments are their help.
#[derive(Subcommand)]
enum Command {
    /// Fit laws to every sweep of the input
    Fit(Box<fit::FitArguments>),
    /// List the catalogue of laws, or show one in full
    Laws(laws::LawsArguments),
    /// Show the output tables: columns, types, units
    Schema(schema::SchemaArguments),
    /// Check fits and derivatives against reference answers and print the correct digits
    Verify(verify::VerifyArguments),
    /// Write synthetic sweeps of a law to a Parquet file
    Generate(generate::GenerateArguments),
}

/// An error for the user.
pub struct Failure {
    /// The exit status: 2 where the command line or the input is wrong, 1 where the run failed, 130 where it was
    /// interrupted.
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
            ErrorKind::Interrupted => 130,
        };
        Failure { status, message: error.text(&flag) }
    }
}

impl Failure {
    /// Returns the failure that the command line or the input is wrong.
    fn usage(message: impl Into<String>) -> Failure {
        Failure { status: 2, message: message.into() }
    }
}

/// Writes a message to standard error. A failure to do so, such as a closed pipe or a full disk, does not concern the run.
fn say(message: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "sweepfit: {message}");
}

/// Runs the program on the process's arguments and returns its exit status.
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
                // Closing the pipe early, as `head` does, is no error.
                Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                    say(&format!("standard output: {error}"));
                    ExitCode::from(1)
                }
                _ => ExitCode::SUCCESS,
            }
        }
        Err(failure) => {
            say(&failure.message);
            ExitCode::from(failure.status)
        }
    }
}
