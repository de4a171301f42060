//! What the parsers read from: tokens, with the state that goes along.
//!
//! A limit on nesting is counted here, so that no text makes the parser exhaust the stack.

use winnow::error::{ErrMode, ParserError};
use winnow::stream::{Stateful, Stream, TokenSlice};

use super::ast::Span;
use super::lex::{Fault, Grammar, Parsed, Token, TokenKind};
use super::node::ParsedNode;

/// How deep parentheses, calls, powers and prefix operators may nest.
pub const MAX_NESTING: usize = 100;

pub(super) type Input<'t> = Stateful<TokenSlice<'t, Token>, ParserState<'t>>;

/// A `with` definition.
#[derive(Debug)]
pub(super) struct Definition {
    pub name: String,
    pub span: Span,
    pub node: ParsedNode,
    /// How many nodes it has.
    pub nodes: usize,
}

#[derive(Debug)]
pub(super) struct ParserState<'t> {
    pub grammar: Grammar,
    pub definitions: &'t [Definition],
    /// The place just after the tokens at hand.
    end: Span,
    depth: usize,
    /// How many nodes definitions have been copied to.
    pub copied: usize,
    /// Where the prefix operators begin whose operands are being read.
    pub prefixes: Vec<usize>,
}

/// Tokens as a parser's input; `end` is the place just after them.
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

pub(super) fn fault_of(error: ErrMode<Fault>) -> Fault {
    match error {
        ErrMode::Cut(fault) | ErrMode::Backtrack(fault) => fault,
        ErrMode::Incomplete(_) => Fault::new("the text ends too early", 0..0),
    }
}

/// The next token, if any is left.
pub(super) fn next<'t>(i: &Input<'t>) -> Option<&'t Token> {
    i.input.peek_token()
}

/// The place of the next token, or just after the last one.
pub(super) fn here(i: &Input<'_>) -> Span {
    next(i).map_or_else(|| i.state.end.clone(), |token| token.span.clone())
}

/// Takes the next token if it is this one.
pub(super) fn accept<'t>(i: &mut Input<'t>, kind: &TokenKind) -> Option<&'t Token> {
    next(i).filter(|token| token.kind == *kind)?;
    i.next_token()
}

pub(super) fn backtrack<T>(i: &Input<'_>) -> Parsed<T> {
    Err(ErrMode::from_input(i))
}

/// Counts one level of nesting, to be given back by [`leave`] unless parsing fails.
pub(super) fn enter(i: &mut Input<'_>, span: &Span) -> Parsed<()> {
    i.state.depth += 1;
    if i.state.depth > MAX_NESTING {
        let message = format!("this is nested more than {MAX_NESTING} deep");
        return Fault::cut(message, span.clone());
    }
    Ok(())
}

pub(super) fn leave(i: &mut Input<'_>) {
    i.state.depth = i.state.depth.saturating_sub(1);
}

/// Takes the next token, which must be this one.
pub(super) fn expect(i: &mut Input<'_>, kind: &TokenKind, message: &str) -> Parsed<()> {
    match accept(i, kind) {
        Some(_) => Ok(()),
        None => Fault::cut(message, here(i)),
    }
}

/// A name to give a meaning to: an identifier that has none yet.
pub(super) fn new_name(i: &mut Input<'_>, what: &str) -> Parsed<(String, Span)> {
    let span = here(i);
    match next(i).map(|token| &token.kind) {
        Some(TokenKind::Name(name)) if name == "pi" => Fault::cut("`pi` is a constant", span),
        Some(kind @ TokenKind::Name(name)) => {
            accept(i, kind);
            Ok((name.clone(), span))
        }
        Some(TokenKind::Quoted(_)) => {
            Fault::cut(format!("expected {what}: double quotes are for columns"), span)
        }
        _ => Fault::cut(format!("expected {what}"), span),
    }
}

/// The comma between two values.
pub(super) fn comma(i: &mut Input<'_>) -> Parsed<()> {
    match accept(i, &TokenKind::Comma) {
        Some(_) => Ok(()),
        None => backtrack(i),
    }
}

/// The end of the parenthesis that closes the one opened at `open`.
pub(super) fn close(i: &mut Input<'_>, open: &Span) -> Parsed<usize> {
    if let Some(token) = accept(i, &TokenKind::Close) {
        return Ok(token.span.end);
    }
    match next(i) {
        None => Fault::cut("this `(` is never closed", open.clone()),
        Some(token) => Fault::cut("expected an operator, `,` or `)`", token.span.clone()),
    }
}
