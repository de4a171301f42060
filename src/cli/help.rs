//! `sweepfit help`: the help of a command, and the reference of the formula language.
//!
//! The functions come from the table that formulas are parsed and compiled with ([`reference()`]); the examples are
//! constants, which a test parses and compiles.

use clap::{Args, CommandFactory, Parser};

use super::{Arguments, Failure, summary, terminal};
use crate::formula::{Arity, list, nearest, reference};

/// The arguments of `sweepfit help`.
#[derive(Args, Debug)]
pub struct HelpArguments {
    /// A command, or `formula` for the formula language
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
}

/// The topic that is no command.
const FORMULA: &str = "formula";

/// Runs the command and returns its output.
pub fn run(arguments: &HelpArguments) -> Result<String, Failure> {
    let help = match arguments.topic.as_deref() {
        Some(FORMULA) => return Ok(formula()),
        Some(topic) if Arguments::command().find_subcommand(topic).is_none() => {
            return Err(unknown_command(topic, &[FORMULA]));
        }
        Some(command) => Arguments::try_parse_from(["sweepfit", command, "--help"]),
        None => Arguments::try_parse_from(["sweepfit", "--help"]),
    };
    // Help is the "error" of parsing `--help`; it goes to standard output, and a closed pipe there is no failure.
    if let Err(help) = help {
        let _ = help.print();
    }
    Ok(String::new())
}

/// Returns the failure that there is no command of this name; `topics` may be named beside commands.
pub fn unknown_command(name: &str, topics: &[&str]) -> Failure {
    let program = Arguments::command();
    let commands = program.get_subcommands().map(clap::Command::get_name);
    let known: Vec<&str> = commands.chain(topics.iter().copied()).collect();
    let hint = nearest(name, known.iter().copied()).map(|near| format!(" Did you mean `{near}`?"));
    let what = if topics.is_empty() { "command" } else { "command or topic" };
    Failure::usage(format!("no {what} `{name}`.{} There are {}", hint.unwrap_or_default(), list(&known)))
}

/// A law with what it shows. Variables of the examples are columns of these names: `N`, `D`, `C`, `x`, `y`,
/// `loss`, `eval/c4_en`.
const LAWS: [(&str, &str); 6] = [
    ("a power law with a floor", "loss ~ E + A/N^alpha where E > 0, A > 0, alpha in [0, 2]"),
    ("one exponent for two terms", "loss ~ E + A/N^alpha + B/D^alpha where E > 0, A > 0, B > 0"),
    ("a parameter that is held", "loss ~ E + A/N^alpha where E = 1.69, A > 0"),
    ("a subexpression with a name", "loss ~ E + A/S^alpha with S = N*D/(N + D) where E > 0, A > 0"),
    ("expressions of columns on the left", "log(\"eval/c4_en\") ~ a + b*log(C)"),
    (
        "a law defined by an equation",
        "y ~ solve(y, e, e0, log(y - e) - a*log(e0 - y) = log(b) - c*log(x)) where e >= 0, e0 > 0, a in [0, 10], b > 0",
    ),
];

/// Definitions of variables, with what they show.
const DEFINITIONS: [(&str, &str); 2] =
    [("tokens from compute", "D=C/(6*N)"), ("the larger of two columns", "S=max(N, D)")];

/// Conditions on rows, with what they show. Their columns: `kept` is true or false, `learner` is text, `day` a date.
const CONDITIONS: [(&str, &str); 7] = [
    ("comparisons: = (or ==), != (or <>), <, <=, >, >=", "N >= 1e6 and loss != 0"),
    ("a boolean column, a list", "kept and learner in ('SVM', 'kNN')"),
    ("negation, alternatives", "not kept or N < D/20"),
    ("a pattern: % is any text, _ any one character", "learner like 'SVM%' and learner not like '%_old'"),
    ("missing values", "loss is not null and not (D is null)"),
    (
        "dates and times, in UTC unless an offset follows",
        "day >= '2025-01-31' and day < '2025-02-01 12:30:00'",
    ),
    ("a name that is not an identifier", "\"eval/c4_en\" > 0"),
];

/// Returns the reference of the formula language.
fn formula() -> String {
    let mut text = String::from(
        "The language of --law, --let, --response and --where. All arithmetic is float64.\n\n\
         A law is         response ~ expression [with NAME = expression, …] [where domain, …]\n\
         A definition is  NAME=expression                     (--let)\n\
         A condition is   comparisons with and, or, not       (--where)\n\n\
         NAMES in a law: a name with a domain in `where` is a parameter. Of the others,\n\
         columns and the names of --let are variables, and the rest are parameters. A name\n\
         used twice is one parameter. A name in double quotes is always a column; names that\n\
         are no identifiers, or keywords, are written so: \"eval/c4_en\".\n\n\
         WITH names subexpressions, on either side of a law; each may use the ones before.\n\n\
         NUMBERS: 12, 0.5, 6.4e13, pi. A column of text in the place of a number is read as\n\
         numbers; rows whose text is none, such as 7B, are rejected.\n\nOPERATORS, the tightest first\n\n",
    );
    let mut operators = summary::table(&["operator", "meaning"], &[0], &[]);
    for row in [
        ["x^y", "power, from right to left: 2^3^2 is 2^(3^2)"],
        ["-x", "negation, after powers: -2^2 is -(2^2)"],
        ["x*y  x/y", "product, quotient, from left to right; a product always has its `*`"],
        ["x+y  x-y", "sum, difference, from left to right"],
    ] {
        operators.add_row(row);
    }
    text += &summary::lines(&operators);
    text += "FUNCTIONS\n\n";
    let mut functions = summary::table(&["function", "meaning"], &[0], &[]);
    for entry in reference() {
        let arguments = match entry.arity {
            Arity::Exactly(1) => "x",
            Arity::Exactly(_) => "x, y",
            Arity::AtLeast(_) => "x, y, …",
        };
        functions.add_row([format!("{}({arguments})", entry.name), entry.meaning.to_string()]);
    }
    functions.add_row([
        "solve(u, low, high, left = right)",
        "the u between low and high where the equation holds, monotone in u",
    ]);
    text += &summary::lines(&functions);
    text += "DOMAINS, after `where` in a law: the values that a parameter may take; all numbers\n\
             without one\n\n";
    let mut domains = summary::table(&["domain", "meaning"], &[0], &[]);
    for row in [
        [
            "p > 0  p >= 0  p < 1  p <= 1",
            "an end, which belongs to the domain, with > as with >=: p may be 0 under p > 0",
        ],
        ["p in [0, 2]", "both ends; either may be inf"],
        ["p = 0.34", "held at this value"],
    ] {
        domains.add_row(row);
    }
    text += &summary::lines(&domains);
    text += "`where` in a law selects no rows; that is what --where does.\n\n\
             CONDITIONS follow SQL's logic of nulls: a comparison with a null is neither true\n\
             nor false, and rows are kept where the condition is true. Texts stand in single\n\
             quotes. Integers of 64 bits, decimals, dates and timestamps are compared exactly,\n\
             without rounding to float64.\n\n";
    text += &examples(&CONDITIONS);
    text += "\nDEFINITIONS are made in order; each may use the ones before.\n\n";
    text += &examples(&DEFINITIONS);
    text += "\nLAWS\n\n";
    text += &examples(&LAWS);
    text
}

/// Returns examples, each with what it shows below it. Formulas are broken into lines for a terminal alone.
fn examples(rows: &[(&str, &str)]) -> String {
    let width = terminal::width().map_or(usize::MAX, usize::from);
    let example = |(shows, text): &(&str, &str)| format!("  {text}\n      {shows}\n");
    rows.iter().map(|row| summary::wrapped_at(&example(row), width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::model::Model;
    use crate::formula::{BinaryOp, CompareOp, Type, check_condition, check_number, parse_condition};
    use crate::formula::{parse_expression, parse_formula};
    use crate::law::Law;

    fn type_of(name: &str) -> Option<Type> {
        match name {
            "kept" => Some(Type::Bool),
            "learner" => Some(Type::Text),
            "day" => Some(Type::Time),
            "N" | "D" | "C" | "x" | "loss" | "eval/c4_en" => Some(Type::Number),
            _ => None,
        }
    }

    #[test]
    fn every_function_and_operator_is_in_the_reference() {
        let text = formula();
        for entry in reference() {
            assert!(text.contains(&format!("\n {}(", entry.name)), "{}", entry.name);
            assert!(text.contains(entry.meaning), "{}", entry.name);
        }
        use BinaryOp::{Add, Div, Mul, Pow, Sub};
        for op in [Add, Sub, Mul, Div, Pow] {
            assert!(text.contains(&format!("x{}y", op.symbol())), "{}", op.symbol());
        }
        use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
        for op in [Eq, Ne, Lt, Le, Gt, Ge] {
            assert!(text.contains(&format!(" {}", op.symbol())), "{}", op.symbol());
        }
    }

    #[test]
    fn the_examples_are_valid() {
        let columns = ["N", "D", "C", "x", "loss", "y", "eval/c4_en"].map(str::to_owned);
        for (shows, text) in LAWS {
            let law = parse_formula(text).map_err(|error| format!("{error}"));
            let law = law.and_then(|law| Law::from_formula(law, &columns).map_err(|error| error.to_string()));
            let law = law.unwrap_or_else(|error| panic!("{shows}: {error}"));
            assert!(!Model::compile(&law, law.residual).coordinates.is_empty(), "{shows}");
        }
        for (shows, text) in DEFINITIONS {
            let (_, expression) = text.split_once('=').expect(shows);
            let expression = parse_expression(expression).unwrap_or_else(|error| panic!("{shows}: {error}"));
            assert_eq!(check_number(&expression, &type_of, &[]), Ok(()), "{shows}");
        }
        for (shows, text) in CONDITIONS {
            let condition = parse_condition(text).unwrap_or_else(|error| panic!("{shows}: {error}"));
            assert_eq!(check_condition(&condition, &type_of, &[]), Ok(()), "{shows}");
        }
    }
}
