//! `sweepfit completions` and `sweepfit man`: completions for a shell, and manual pages, made from the arguments themselves.

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Arguments, Failure, help};
use crate::law::Catalogue;

/// The arguments of `sweepfit completions`.
#[derive(Args, Debug)]
pub struct CompletionsArguments {
    /// The shell whose completions are written
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// The arguments of `sweepfit man`.
#[derive(Args, Debug)]
pub struct ManArguments {
    /// The command whose page is written [default: the page of the program]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// The commands that take the name of a law, and the argument of each.
const LAW_ARGUMENTS: [(&str, &str); 3] = [("fit", "laws"), ("laws", "name"), ("generate", "law")];

/// Returns the completions of a shell.
pub fn completions(arguments: &CompletionsArguments) -> Result<String, Failure> {
    let names: Vec<String> = Catalogue::built_in()?.laws.into_iter().map(|law| law.name).collect();
    let mut program = Arguments::command();
    // The names are offered here alone: where arguments are parsed, a law may also be a formula, or of the user's catalogue.
    for (command, argument) in LAW_ARGUMENTS {
        program = program.mut_subcommand(command, |command| {
            command.mut_arg(argument, |law| law.value_parser(PossibleValuesParser::new(&names)))
        });
    }
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "sweepfit", &mut script);
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Returns a manual page in roff.
pub fn man(arguments: &ManArguments) -> Result<String, Failure> {
    let mut program = Arguments::command();
    program.build();
    let command = match &arguments.command {
        None => program,
        Some(name) => match program.find_subcommand(name) {
            Some(command) => command.clone(),
            None => return Err(help::unknown_command(name, &[])),
        },
    };
    let mut page = Vec::new();
    Man::new(command)
        .source(concat!("sweepfit ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .map_err(|error| Failure { status: 1, message: format!("the manual page: {error}") })?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
