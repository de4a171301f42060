//! The formula language: laws, derived variables and conditions on rows.
//!
//! Three kinds of text share one grammar of expressions. A *law* (`loss ~ E + A / N^alpha where
//! E > 0`) is read by [`parse_formula`], a *definition* (arithmetic alone) by [`parse_expression`],
//! a *condition* on rows (`learner = 'mamba' and N > 1e6`) by [`parse_condition`]. [`check()`] finds
//! the types before any data is read, [`evaluate()`] computes the values for a batch of rows. What a
//! name stands for, a column or a parameter, is not decided here: the parser knows no columns.
//!
//! # Grammar
//!
//! Quoted characters stand for themselves, `[ ]` is optional, `{ }` is any number of times.
//!
//! ```text
//! law         = sum "~" sum ["with" definition {"," definition}] ["where" domain {"," domain}]
//! definition  = name "=" sum
//! domain      = name (">" | ">=" | "<" | "<=" | "=" | "==") constant
//!             | name "in" "[" constant "," constant "]"
//! constant    = sum                         of numbers and "inf"
//!
//! condition   = conjunct {"or" conjunct}
//! conjunct    = negation {"and" negation}
//! negation    = "not" negation | comparison
//! comparison  = sum [("=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=") sum]
//!             | sum ["not"] "in" "(" condition {"," condition} ")"
//!             | sum "is" ["not"] "null"
//!
//! sum         = product {("+" | "-") product}
//! product     = signed {("*" | "/") signed}
//! signed      = "-" signed | power
//! power       = atom ["^" signed]
//! atom        = number | "pi" | name | quoted | function "(" sum {"," sum} ")" | "(" sum ")"
//!             | "solve" "(" name "," sum "," sum "," sum ["=" sum] ")"
//!             | text | "true" | "false" | "(" condition ")"        only in conditions
//!
//! name        = letter or "_", then letters, digits or "_"         letters of any script
//! quoted      = a column's name in double quotes; a double quote in it is doubled
//! text        = a text in single quotes; a single quote in it is doubled
//! number      = digits ["." [digits]] [exponent] | "." digits [exponent]
//! exponent    = ("e" | "E") ["+" | "-"] digits
//! ```
//!
//! `^` associates to the right and binds tighter than unary minus: `-2^2` is -4, `2^-3^2` is
//! 2^(-(3^2)). That is the order of Python's `**`
//! (<https://docs.python.org/3/reference/expressions.html#operator-precedence>). Comparisons do not
//! chain. `with` and `where` are keywords of laws, `and or not in is null true false` of conditions,
//! in any case of letters; a column so named is written in double quotes, and so is one named `pi`.
//! The functions are listed by [`reference()`].
//!
//! # Meaning
//!
//! * Arithmetic is float64, operation by operation as written. A literal too large for float64 is
//!   refused.
//! * A `with` definition may use those before it; on either side of the law its name stands for
//!   its expression. A name in double quotes is always a column.
//! * `>` and `>=` in `where` both mean the closed range. A range of one number holds the parameter
//!   there. Two half-lines for one parameter meet in a range; any other repetition is refused, and
//!   so is a domain for a name that the right side lacks or that the left side has.
//! * Conditions follow SQL's logic of nulls (ISO/IEC 9075-2): what is computed from or compared
//!   with a null is null, `and` and `or` are three-valued, `is null` never is null. A NaN is not a
//!   null: it is unequal to everything and neither less nor greater (IEEE 754); `min` and `max` of a NaN are NaN. Texts are ordered
//!   by code point.
//!
//! # Equations
//!
//! `solve(y, low, high, left = right)` is the number strictly between `low` and `high` where an equation holds
//! that is monotone in the unknown `y` between them; `solve(y, low, high, f)` is the same for `f = 0`. The ends
//! may be infinite. The unknown's name has that meaning in the equation alone, so it may be the response's, and an
//! equation contains no other `solve`. Where `f` has one sign throughout, or no value, the result is NaN. A root
//! closer to an end than floating-point numbers are is the number beside that end.
//!
//! Which form of an equation is written matters little for the root and much for its digits: where
//! powers meet, take logarithms of both sides.
//!
//! # Limits
//!
//! Texts may come from anywhere, so their size is bounded ([`MAX_LENGTH`], [`MAX_NESTING`],
//! [`MAX_HEIGHT`], [`MAX_NODES`]): whoever walks a parsed tree may recurse. [`MAX_HEIGHT`] also
//! limits flat chains, because `a + b + c` is a tree as high as it has terms.

mod ast;
mod check;
mod columns;
mod display;
mod domain;
mod error;
mod evaluate;
mod functions;
mod law;
mod lex;
mod node;
mod parse;
mod power;
mod solve;
mod stream;
mod suggest;

pub(crate) use ast::needed_definitions;
pub use ast::{BinaryOp, CompareOp, Domain, Expr, ExprKind, Formula, Span, names, unknowns};
pub use check::{check, check_condition, check_number};
pub use columns::{Column, Columns, Table, Type};
pub use error::{FormulaError, TypeError};
pub use evaluate::evaluate;
pub use functions::{Arity, Function, FunctionEntry, reference};
pub use node::{MAX_HEIGHT, MAX_NODES};
pub use stream::MAX_NESTING;
pub use suggest::nearest;
pub(crate) use suggest::{list, one_edit_away};

use lex::{Fault, Grammar};

/// How long a text may be, in bytes.
pub const MAX_LENGTH: usize = 16 * 1024;

/// Parses a law: `response ~ prediction with … where …`.
///
/// # Errors
///
/// If the text is no law; the error shows the place.
pub fn parse_formula(text: &str) -> Result<Formula, FormulaError> {
    sized(text)?;
    law::law(text).map_err(|fault| shown(fault, text))
}

/// Parses arithmetic alone, as in `--let`.
///
/// # Errors
///
/// If the text is no arithmetic expression; the error shows the place.
pub fn parse_expression(text: &str) -> Result<Expr, FormulaError> {
    parse_alone(text, Grammar::Expression)
}

/// Parses a condition, as in `--where`. Whether it is one, [`check_condition`] tells: that takes
/// the columns' types.
///
/// # Errors
///
/// If the text is no condition; the error shows the place.
pub fn parse_condition(text: &str) -> Result<Expr, FormulaError> {
    parse_alone(text, Grammar::Condition)
}

fn parse_alone(text: &str, grammar: Grammar) -> Result<Expr, FormulaError> {
    sized(text)?;
    let parsed = lex::tokens(text, grammar).and_then(|tokens| {
        let end = text.len()..text.len();
        parse::whole(stream::input(&tokens, end, grammar, &[]))
    });
    match parsed {
        Ok(node) => Ok(node.expr),
        Err(fault) => Err(shown(fault, text)),
    }
}

fn sized(text: &str) -> Result<(), FormulaError> {
    if text.len() <= MAX_LENGTH {
        return Ok(());
    }
    let message = format!("this text has {} bytes, more than the {MAX_LENGTH} that are read", text.len());
    let beginning = &text[..text.floor_char_boundary(60)];
    Err(FormulaError::new(message, 0..beginning.len(), beginning))
}

fn shown(fault: Fault, text: &str) -> FormulaError {
    FormulaError::new(fault.message, fault.span, text)
}

#[cfg(test)]
mod tests;
