//! Parses, checks and evaluates the formula language: laws, derived variables and conditions on rows.
//!
//! Three kinds of text share one grammar of expressions. [`parse_formula`] reads a *law* (`loss ~ E + A / N^alpha
//! where E > 0`), [`parse_expression`] a *definition* (arithmetic alone), [`parse_condition`] a *condition* on rows
//! (`learner = 'mamba' and N > 1e6`). [`check()`] finds the types before any data is read. [`evaluate()`] computes the
//! values of an expression for a batch of rows.
//!
//! | file | contents |
//! | --- | --- |
//! | `ast` | the syntax tree, and the names in it |
//! | `lex` | text → tokens |
//! | `stream` | the tokens as the input of a parser, with the parser's state |
//! | `node` | nodes under construction; limits on height and size |
//! | `precedence` | how tightly operators bind |
//! | `parse` | tokens → expression |
//! | `law`, `domain` | the parts of a law: sides, `with`, `where` |
//! | `solve` | parsing `solve(…)`, and its value for every row |
//! | `functions` | the table of functions |
//! | `columns` | a batch of rows: columns and their types |
//! | `check` | the types of expressions |
//! | `evaluate` | the values of expressions |
//! | `jet` | the value of an expression with its first and second derivatives |
//! | `time` | texts → dates and times |
//! | `display` | expression → text |
//! | `error`, `suggest` | errors, suggestions for misspelt names; lists, numbers and texts in messages |
//!
//! The folder does not know which names are columns and which are parameters: whoever calls it decides. It knows
//! nothing of files, of compiled laws or of fits.
//!
//! # Grammar
//!
//! Quoted characters stand for themselves; `[ ]` encloses what is optional, `{ }` what occurs any number of times.
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
//!             | sum ["not"] "like" text
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
//! quoted      = a column's name in double quotes; a double quote within it is doubled
//! text        = a text in single quotes; a single quote within it is doubled
//! number      = digits ["." [digits]] [exponent] | "." digits [exponent]
//! exponent    = ("e" | "E") ["+" | "-"] digits
//! ```
//!
//! `^` associates to the right and binds tighter than unary minus: `-2^2` is -4, `2^-3^2` is 2^(-(3^2)). Python's `**`
//! has this precedence too (<https://docs.python.org/3/reference/expressions.html#operator-precedence>). Comparisons do
//! not chain.
//!
//! `with` and `where` are keywords of laws; `and or not in like is null true false` are keywords of conditions, in upper or
//! lower case. A column with the name of a keyword, or named `pi`, is written in double quotes. [`reference()`] lists
//! the functions.
//!
//! # Meaning
//!
//! * Arithmetic is float64, one operation for each one written. A literal too large for float64 is refused.
//! * A `with` definition may use earlier definitions; on either side of the law its name stands for its expression. A
//!   name in double quotes is always a column.
//! * `>` and `>=` in `where` both mean the closed range. A range of one number fixes the parameter. Two one-sided
//!   domains of a parameter are intersected; any other second domain is refused. So is a domain for a name that is not
//!   on the right side or is on the left side.
//! * Comparisons do not round: an integer beyond 2⁵³, in a column or a literal, is compared as it is. Dates and timestamps are
//!   compared with one another, and with texts such as `'2025-01-31'` or `'2025-01-31 12:30:00'` (UTC unless an offset
//!   follows). In a pattern of `like`, `%` stands for any text and `_` for any one character.
//! * Conditions follow SQL's logic of nulls (ISO/IEC 9075-2): an operation or comparison with a null is null, `and` and
//!   `or` are three-valued, `is null` is never null.
//! * A NaN is not a null: it is unequal to every number and neither less nor greater (IEEE 754), and `min` and `max` of
//!   a NaN are NaN. Texts are ordered by code point.
//!
//! # Equations
//!
//! `solve(y, low, high, left = right)` is the number strictly between `low` and `high` where `left` equals `right`;
//! `solve(y, low, high, f)` is the root of `f = 0`. The equation must be monotone in the unknown `y` between the ends,
//! which may be infinite. The unknown is known in the equation alone, so it may have the name of the response. An
//! equation contains no other `solve`. Where `f` does not change sign, or has no value, the result is NaN. Where no
//! floating-point number separates the root from an end, the result is the number beside the end.
//!
//! The form of an equation changes its root little and the root's accuracy much: where powers are compared, take
//! logarithms of both sides.
//!
//! # Limits
//!
//! Texts may come from anywhere, and functions over a parsed tree may recurse. The size of both is therefore bounded
//! ([`MAX_LENGTH`], [`MAX_NESTING`], [`MAX_HEIGHT`], [`MAX_NODES`]). [`MAX_HEIGHT`] also limits flat chains, because
//! the tree of `a + b + c` is as high as the sum has terms.

mod ast;
mod check;
mod columns;
mod decimal;
mod display;
mod domain;
mod error;
mod evaluate;
mod functions;
mod jet;
mod law;
mod lex;
mod node;
mod parse;
mod precedence;
mod solve;
mod stream;
mod suggest;
mod time;

pub(crate) use ast::needed_definitions;
pub use ast::{BinaryOp, CompareOp, Domain, Expr, ExprKind, Formula, Span, names, quoted_names, unknowns};
pub use check::{check, check_condition, check_number};
pub use columns::{Column, Columns, Table, Type, number_in};
pub use decimal::{Decimal, nearest_f64};
pub use error::{FormulaError, TypeError};
pub use evaluate::evaluate;
pub use functions::{Arity, Function, FunctionEntry, reference};
pub use jet::{Jet, jet};
pub use node::{MAX_HEIGHT, MAX_NODES};
pub use stream::MAX_NESTING;
#[cfg(feature = "cli")]
pub(crate) use suggest::is_control;
pub use suggest::nearest;
pub(crate) use suggest::{counted, list, one_edit_away, other_case, quoted, was_or_were};

use lex::{Fault, Grammar};

/// The greatest length of a text, in bytes.
pub const MAX_LENGTH: usize = 16 * 1024;

/// Parses a law: `response ~ prediction with … where …`.
///
/// # Errors
///
/// If the text is not a law; the error shows the place.
///
/// # Example
///
/// ```
/// use sweepfit::formula::{Domain, parse_formula};
///
/// let law = parse_formula("loss ~ E + A / N^alpha where alpha in [0, 2]")?;
/// assert_eq!(law.prediction.to_string(), "E + A / N^alpha");
/// assert_eq!(law.domains[0].1, Domain::Range { low: 0.0, high: 2.0 });
/// # Ok::<(), sweepfit::formula::FormulaError>(())
/// ```
pub fn parse_formula(text: &str) -> Result<Formula, FormulaError> {
    check_length(text)?;
    law::law(text).map_err(|fault| with_source(fault, text))
}

/// Parses an arithmetic expression, as in `--let`.
///
/// # Errors
///
/// If the text is not an arithmetic expression; the error shows the place.
pub fn parse_expression(text: &str) -> Result<Expr, FormulaError> {
    parse_alone(text, Grammar::Expression)
}

/// Parses a condition, as in `--where`.
///
/// Arithmetic is accepted too: only the columns' types tell whether an expression is true or false, so
/// [`check_condition`] decides.
///
/// # Errors
///
/// If the text is neither arithmetic nor a condition; the error shows the place.
pub fn parse_condition(text: &str) -> Result<Expr, FormulaError> {
    parse_alone(text, Grammar::Condition)
}

fn parse_alone(text: &str, grammar: Grammar) -> Result<Expr, FormulaError> {
    check_length(text)?;
    let parsed = lex::tokens(text, grammar).and_then(|tokens| {
        let end = text.len()..text.len();
        parse::whole(stream::input(&tokens, end, grammar, &[]))
    });
    match parsed {
        Ok(node) => Ok(node.expr),
        Err(fault) => Err(with_source(fault, text)),
    }
}

fn check_length(text: &str) -> Result<(), FormulaError> {
    if text.len() <= MAX_LENGTH {
        return Ok(());
    }
    let message = format!("this text has {} bytes, more than the {MAX_LENGTH} that are read", text.len());
    let beginning = &text[..text.floor_char_boundary(60)];
    Err(FormulaError::new(message, 0..beginning.len(), beginning))
}

fn with_source(fault: Fault, text: &str) -> FormulaError {
    FormulaError::new(fault.message, fault.span, text)
}

#[cfg(test)]
mod tests;
