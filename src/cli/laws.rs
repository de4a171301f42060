//! `sweepfit laws`: lists the catalogue, or shows one law in full.

use std::path::PathBuf;

use clap::Args;
use comfy_table::ContentArrangement;

use crate::compile::model::Model;
use crate::law::{Catalogue, Domain, Law};

use super::{Failure, summary, terminal};

/// The width of the list of laws in characters; longer formulas wrap.
const LIST_WIDTH: u16 = 120;

/// The arguments of `sweepfit laws`.
#[derive(Args, Debug)]
pub struct LawsArguments {
    /// Show one law in full
    name: Option<String>,

    /// A TOML catalogue of your own laws, beside the built-in one
    #[arg(long = "laws", value_name = "FILE")]
    catalogue: Option<PathBuf>,
}

/// Runs the command and returns its output.
pub fn run(arguments: &LawsArguments) -> Result<String, Failure> {
    let mut catalogue = Catalogue::built_in()?;
    if let Some(path) = &arguments.catalogue {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("--laws {file}: {error}")))?;
        catalogue.add(&file, &text)?;
    }
    match &arguments.name {
        None => {
            let mut table = summary::table(&["name", "formula", "source"], &[0], &[]);
            let width = terminal::width().map_or(LIST_WIDTH, |width| width.min(LIST_WIDTH));
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            for law in &catalogue.laws {
                table.add_row([law.name.clone(), one_line(&law.formula), source(law)]);
            }
            Ok(summary::lines(&table))
        }
        Some(name) => match catalogue.get(name) {
            Some(law) => Ok(full(law)),
            None => {
                let hint = catalogue
                    .nearest(name)
                    .map_or(String::new(), |nearest| format!(" Did you mean `{nearest}`?"));
                Err(Failure::usage(format!("no law `{name}`.{hint} `sweepfit laws` lists them")))
            }
        },
    }
}

/// Replaces every run of white space by one space.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns author, year and reference of a law's source; empty without one.
fn source(law: &Law) -> String {
    law.citation.as_ref().map_or(String::new(), |c| format!("{} {}, {}", c.author, c.year, c.reference))
}

/// Returns formula, variables, parameters and source of a law.
fn full(law: &Law) -> String {
    let mut text = format!("{}\n\n{}\n\n", law.name, law.formula);
    text += &format!("response    {}\n", law.response);
    text += &format!("variables   {}\n", law.variables.join(", "));
    text += &format!("residual    {} unless --residual says otherwise\n\n", law.residual);
    let model = Model::compile(law, law.residual);
    let mut table =
        summary::table(&["parameter", "domain", "start", "role", "searched as"], &[0, 1, 2, 3, 4], &[]);
    for (i, parameter) in law.parameters.iter().enumerate() {
        let domain = match parameter.domain {
            Domain::Range { low, high } => format!("[{low}, {high}]"),
            Domain::Fixed(value) => format!("= {value}"),
            Domain::Held => "held".to_string(),
        };
        let coordinate = model.coordinates.iter().find(|c| c.parameter == i);
        table.add_row([
            parameter.name.clone(),
            domain,
            parameter.start.map_or("from the data".to_string(), |(low, high)| format!("[{low}, {high}]")),
            coordinate.map_or(String::new(), |c| format!("{:?}", c.role).to_lowercase()),
            coordinate.map_or(String::new(), |c| format!("{:?}", c.scale).to_lowercase()),
        ]);
    }
    text += &summary::lines(&table);
    if let Some(citation) = &law.citation {
        text += &format!("{} {}, {}", citation.author, citation.year, citation.reference);
        if !citation.equation.is_empty() {
            text += &format!(", equation {}", citation.equation);
        }
        text.push('\n');
        if !citation.note.is_empty() {
            text += &format!("{}\n", citation.note);
        }
    }
    text
}
