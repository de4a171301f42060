//! The tokens as the input of a parser, with the parser's state.
//!
//! The state counts the depth of nesting, which is limited, so no text makes the parser exhaust the stack.

use winnow::error::{ErrMode, ParserError};
use winnow::stream::{Stateful, Stream, TokenSlice};

use super::ast::Span;
use super::lex::{Fault, Grammar, Parsed, Token, TokenKind};
use super::node::ParsedNode;

/// The greatest depth to which parentheses, calls, powers and prefix operators may nest.
pub const MAX_NESTING: usize = 100;

pub(super) type Input<'t> = Stateful<TokenSlice<'t, Token>, ParserState<'t>>;

/// A parsed `with` definition.
#[derive(Debug)]
pub(super) struct Definition {
    pub name: String,
    pub span: Span,
    pub node: ParsedNode,
    /// The number of nodes of its expression.
    pub nodes: usize,
}

/// The state of a parser.
#[derive(Debug)]
pub(super) struct ParserState<'t> {
    pub grammar: Grammar,
    pub definitions: &'t [Definition],
    /// The place just after the tokens.
    end: Span,
    depth: usize,
    /// The number of nodes copied from definitions so far.
    pub copied: usize,
    /// Where the prefix operators begin whose operands are being parsed.
    pub prefixes: Vec<usize>,
}

/// Returns tokens as the input of a parser; `end` is the place just after them.
pub(super) fn input<'t>(
    tokens: &'t [Token],
    end: Span,
    grammar: Grammar,
    definitions: &'t [Definition],
) -> Input<'t> {
    Stateful {
        input: TokenSlice::new(tokens),
        state: ParserState { grammar, definitions, end, depth: 0, copied: 0, prefixes: Vec::new() },
    }
}

/// Returns the fault of a parser's error.
pub(super) fn fault_of(error: ErrMode<Fault>) -> Fault {
    match error {
        ErrMode::Cut(fault) | ErrMode::Backtrack(fault) => fault,
        ErrMode::Incomplete(_) => Fault::new("the text ends too early", 0..0),
    }
}

/// Returns the next token, if one is left, without taking it.
pub(super) fn next<'t>(i: &Input<'t>) -> Option<&'t Token> {
    i.input.peek_token()
}

/// Returns the place of the next token, or the place just after the last token.
pub(super) fn here(i: &Input<'_>) -> Span {
    next(i).map_or_else(|| i.state.end.clone(), |token| token.span.clone())
}

/// Takes the next token if it has this kind.
pub(super) fn accept<'t>(i: &mut Input<'t>, kind: &TokenKind) -> Option<&'t Token> {
    next(i).filter(|token| token.kind == *kind)?;
    i.next_token()
}

/// Returns an error after which the next alternative is tried.
pub(super) fn backtrack<T>(i: &Input<'_>) -> Parsed<T> {
    Err(ErrMode::from_input(i))
}

/// Enters one level of nesting. A call of [`leave`] must follow unless parsing fails.
pub(super) fn enter(i: &mut Input<'_>, span: &Span) -> Parsed<()> {
    i.state.depth += 1;
    if i.state.depth > MAX_NESTING {
        let message = format!("expressions are nested more than {MAX_NESTING} deep here");
        return Fault::cut(message, span.clone());
    }
    Ok(())
}

/// Leaves one level of nesting.
pub(super) fn leave(i: &mut Input<'_>) {
    i.state.depth = i.state.depth.saturating_sub(1);
}

/// Takes the next token, which must have this kind; `message` is the error if it has not.
pub(super) fn expect(i: &mut Input<'_>, kind: &TokenKind, message: &str) -> Parsed<()> {
    match accept(i, kind) {
        Some(_) => Ok(()),
        None => Fault::cut(message, here(i)),
    }
}

/// Parses an identifier that is to be defined or to get a domain; `what` describes it in errors.
pub(super) fn new_name(i: &mut Input<'_>, what: &str) -> Parsed<(String, Span)> {
    let span = here(i);
    match next(i).map(|token| &token.kind) {
        Some(TokenKind::Name(name)) if name == "pi" => Fault::cut("`pi` is a constant", span),
        Some(kind @ TokenKind::Name(name)) => {
            accept(i, kind);
            Ok((name.clone(), span))
        }
        Some(TokenKind::Quoted(_)) => {
            Fault::cut(format!("expected {what}: a name in double quotes is a column"), span)
        }
        _ => Fault::cut(format!("expected {what}"), span),
    }
}

/// Parses the comma between two values.
pub(super) fn comma(i: &mut Input<'_>) -> Parsed<()> {
    match accept(i, &TokenKind::Comma) {
        Some(_) => Ok(()),
        None => backtrack(i),
    }
}

/// Parses the `)` that matches the `(` at `open`, and returns where it ends.
pub(super) fn close(i: &mut Input<'_>, open: &Span) -> Parsed<usize> {
    if let Some(token) = accept(i, &TokenKind::Close) {
        return Ok(token.span.end);
    }
    match next(i) {
        None => Fault::cut("this `(` is never closed", open.clone()),
        Some(token) => Fault::cut("expected an operator, `,` or `)`", token.span.clone()),
    }
}
