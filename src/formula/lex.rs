//! Splits a text into tokens.
//!
//! Which words are keywords depends on the grammar: `with` and `where` in formulas, `and or not in is null true false`
//! in conditions, none elsewhere. Keywords are recognised in upper and lower case. A column with the name of a keyword
//! is written in double quotes.

use winnow::ascii::{digit0, digit1};
use winnow::combinator::{alt, cut_err, dispatch, fail, opt, peek, repeat, terminated};
use winnow::error::{ErrMode, ParserError};
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location, Stream};
use winnow::token::{any, one_of, take_till, take_while};

use super::ast::{CompareOp, Span};
use super::decimal::Decimal;
use super::functions::{Function, unknown};

/// The grammar of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// A law: `response ~ prediction …`.
    Formula,
    /// Arithmetic.
    Expression,
    /// Arithmetic, comparisons and logic.
    Condition,
}

/// The result of a parser.
pub(super) type Parsed<T> = ModalResult<T, Fault>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    Number(f64),
    /// A number that float64 does not hold exactly.
    Decimal(Decimal),
    Text(String),
    Name(String),
    /// A column's name in double quotes: never a keyword, a function, a constant or a definition.
    Quoted(String),
    Compare(CompareOp),
    Plus,
    Minus,
    Star,
    Slash,
    Caret,
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Comma,
    Tilde,
    With,
    Where,
    And,
    Or,
    Not,
    In,
    Like,
    Is,
    Null,
    True,
    False,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

/// An error without the source text: the reason and its place.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Fault {
    pub message: String,
    pub span: Span,
}

impl Fault {
    pub fn new(message: impl Into<String>, span: Span) -> Self {
        Self { message: message.into(), span }
    }

    /// Returns an error after which no alternative is tried.
    pub fn cut<T>(message: impl Into<String>, span: Span) -> ModalResult<T, Self> {
        Err(ErrMode::Cut(Self::new(message, span)))
    }
}

// Alternatives that do not match carry no message: the parser that tried all of them says what it expected.
impl<I: Stream> ParserError<I> for Fault {
    type Inner = Self;

    fn from_input(_input: &I) -> Self {
        Self::default()
    }

    fn into_inner(self) -> Result<Self::Inner, Self> {
        Ok(self)
    }
}

const FORMULA_WORDS: [(&str, TokenKind); 2] = [("with", TokenKind::With), ("where", TokenKind::Where)];

const CONDITION_WORDS: [(&str, TokenKind); 9] = [
    ("and", TokenKind::And),
    ("or", TokenKind::Or),
    ("not", TokenKind::Not),
    ("in", TokenKind::In),
    ("like", TokenKind::Like),
    ("is", TokenKind::Is),
    ("null", TokenKind::Null),
    ("true", TokenKind::True),
    ("false", TokenKind::False),
];

fn keyword(word: &str, words: &[(&str, TokenKind)]) -> Option<TokenKind> {
    words.iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word)).map(|(_, kind)| kind.clone())
}

fn starts_name(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn continues_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Returns whether a name needs no quotes in any grammar.
pub(super) fn is_plain_name(name: &str) -> bool {
    name.starts_with(starts_name)
        && name.chars().all(continues_name)
        && name != "pi"
        && keyword(name, &FORMULA_WORDS).is_none()
        && keyword(name, &CONDITION_WORDS).is_none()
}

type Input<'s> = LocatingSlice<&'s str>;

/// Splits a text into tokens.
pub(super) fn tokens(text: &str, grammar: Grammar) -> Result<Vec<Token>, Fault> {
    let mut input = LocatingSlice::new(text);
    let all: ModalResult<Vec<Token>, Fault> = (|i: &mut Input<'_>| {
        space(i)?;
        repeat(0.., terminated(|i: &mut Input<'_>| token(i, grammar), space)).parse_next(i)
    })
    .parse_next(&mut input);
    match all {
        Ok(tokens) if input.is_empty() => Ok(tokens),
        Ok(_) => Err(stray_character(text, &input)),
        Err(ErrMode::Cut(fault) | ErrMode::Backtrack(fault)) => Err(fault),
        Err(ErrMode::Incomplete(_)) => Err(stray_character(text, &input)),
    }
}

fn space(i: &mut Input<'_>) -> ModalResult<(), Fault> {
    take_while(0.., char::is_whitespace).void().parse_next(i)
}

fn token(i: &mut Input<'_>, grammar: Grammar) -> ModalResult<Token, Fault> {
    // At the end of the text this fails with a backtracking error, which ends `repeat`.
    let first = peek(any).parse_next(i)?;
    let (kind, span) = if first == '"' {
        (|i: &mut Input<'_>| quoted(i, '"')).map(TokenKind::Quoted).with_span().parse_next(i)?
    } else if first == '\'' {
        (|i: &mut Input<'_>| quoted(i, '\'')).map(TokenKind::Text).with_span().parse_next(i)?
    } else if starts_name(first) {
        word.map(|word: &str| {
            let known = match grammar {
                Grammar::Formula => keyword(word, &FORMULA_WORDS),
                Grammar::Expression => None,
                Grammar::Condition => keyword(word, &CONDITION_WORDS),
            };
            known.unwrap_or_else(|| TokenKind::Name(word.to_owned()))
        })
        .with_span()
        .parse_next(i)?
    } else {
        alt((number, symbol)).with_span().parse_next(i)?
    };
    Ok(Token { kind, span })
}

fn word<'s>(i: &mut Input<'s>) -> ModalResult<&'s str, Fault> {
    take_while(1.., continues_name).parse_next(i)
}

/// Parses a number that is finite in float64.
fn number(i: &mut Input<'_>) -> ModalResult<TokenKind, Fault> {
    let start = i.current_token_start();
    let digits = alt(((digit1, opt(('.', digit0))).void(), ('.', digit1).void()));
    let exponent = (one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1);
    let literal = (digits, opt(exponent)).take().parse_next(i)?;
    let end = i.current_token_start();
    if let Some(tail) = opt(word).parse_next(i)? {
        let message = format!(
            "`{literal}{tail}` is neither a number nor a name (a product is written `{literal} * {tail}`)"
        );
        return Fault::cut(message, start..i.current_token_start());
    }
    match literal.parse::<f64>() {
        Ok(value) if value.is_finite() => {
            let decimal = Decimal::parse(literal).filter(|decimal| !decimal.is_said_by(value));
            Ok(decimal.map_or(TokenKind::Number(value), TokenKind::Decimal))
        }
        _ => Fault::cut("this number is too large for float64, which ends near 1.8e308", start..end),
    }
}

/// Parses a text between two quotes. A doubled quote in the text stands for one quote.
fn quoted(i: &mut Input<'_>, quote: char) -> ModalResult<String, Fault> {
    let start = i.current_token_start();
    quote.void().parse_next(i)?;
    let mut text = String::new();
    loop {
        text.push_str(take_till(0.., quote).parse_next(i)?);
        if opt(quote).parse_next(i)?.is_none() {
            // The place is the quote alone: carets under the rest of the text would obscure it.
            return Fault::cut("this quote is never closed", start..start + 1);
        }
        if opt(quote).parse_next(i)?.is_none() {
            return Ok(text);
        }
        text.push(quote);
    }
}

fn symbol(i: &mut Input<'_>) -> ModalResult<TokenKind, Fault> {
    dispatch! {any;
        '+' => ().value(TokenKind::Plus),
        '-' => ().value(TokenKind::Minus),
        '*' => cut_err(refuse_double_star).value(TokenKind::Star),
        '/' => ().value(TokenKind::Slash),
        '^' => ().value(TokenKind::Caret),
        '(' => ().value(TokenKind::Open),
        ')' => ().value(TokenKind::Close),
        '[' => ().value(TokenKind::OpenBracket),
        ']' => ().value(TokenKind::CloseBracket),
        ',' => ().value(TokenKind::Comma),
        '~' => ().value(TokenKind::Tilde),
        '=' => opt('=').value(TokenKind::Compare(CompareOp::Eq)),
        '!' => '='.value(TokenKind::Compare(CompareOp::Ne)),
        '<' => alt((
            '='.value(TokenKind::Compare(CompareOp::Le)),
            '>'.value(TokenKind::Compare(CompareOp::Ne)),
            ().value(TokenKind::Compare(CompareOp::Lt)),
        )),
        '>' => alt((
            '='.value(TokenKind::Compare(CompareOp::Ge)),
            ().value(TokenKind::Compare(CompareOp::Gt)),
        )),
        _ => fail,
    }
    .parse_next(i)
}

/// Refuses `**` after its first `*`.
fn refuse_double_star(i: &mut Input<'_>) -> ModalResult<(), Fault> {
    let start = i.current_token_start();
    if opt('*').parse_next(i)?.is_some() {
        return Fault::cut("a power is written `x^y`, not `x**y`", start - 1..start + 1);
    }
    Ok(())
}

/// Returns the error for a name that is qualified as in `np.exp(…)`; `dot` is the place of the dot.
fn qualified(text: &str, dot: usize) -> Option<Fault> {
    let start = text[..dot].trim_end_matches(continues_name).len();
    let rest = &text[dot + 1..];
    let name = &rest[..rest.len() - rest.trim_start_matches(continues_name).len()];
    let is_call = rest[name.len()..].trim_start().starts_with('(');
    if start == dot || name.is_empty() || !(is_call || name == "pi") {
        return None;
    }
    let message = if Function::named(name).is_some() || name == "pi" {
        format!("write `{name}` alone: functions and constants belong to no module")
    } else {
        unknown(name)
    };
    Some(Fault::new(message, start..dot + 1 + name.len()))
}

/// Returns the error for a character that begins no token.
fn stray_character(text: &str, input: &Input<'_>) -> Fault {
    let start = input.current_token_start();
    let Some(c) = input.chars().next() else {
        return Fault::new("the text ends here", start..start);
    };
    if c == '.'
        && let Some(fault) = qualified(text, start)
    {
        return fault;
    }
    let message = match c {
        '!' => "a single `!` means nothing here (unequal is `!=`, negation is `not`)".to_owned(),
        '&' => "a conjunction is written `and`".to_owned(),
        '|' => "a disjunction is written `or`".to_owned(),
        '.' => "a `.` is allowed only in numbers (a name with a dot is written in double quotes)".to_owned(),
        '−' | '–' => "a minus sign is written `-`".to_owned(),
        '×' | '·' => "a product is written `*`".to_owned(),
        '“' | '”' | '„' => "quotes are written `\"`".to_owned(),
        '‘' | '’' => "quotes are written `'`".to_owned(),
        other => format!("the character {other:?} means nothing here"),
    };
    Fault::new(message, start..start + c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str, grammar: Grammar) -> Vec<TokenKind> {
        let tokens = tokens(text, grammar).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        tokens.into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn numbers_of_every_form_are_read() {
        for (text, value) in [
            ("1.", 1.0),
            (".5", 0.5),
            ("1e5", 1e5),
            ("1.e-5", 1e-5),
            ("6.4E+13", 6.4e13),
            ("0", 0.0),
            ("1e-400", 0.0),
        ] {
            assert_eq!(kinds(text, Grammar::Expression), [TokenKind::Number(value)]);
        }
    }

    #[test]
    fn keywords_depend_on_the_grammar() {
        assert_eq!(kinds("WHERE", Grammar::Formula), [TokenKind::Where]);
        assert_eq!(kinds("In", Grammar::Condition), [TokenKind::In]);
        assert_eq!(kinds("in", Grammar::Formula), [TokenKind::Name("in".into())]);
        assert_eq!(kinds("\"in\"", Grammar::Condition), [TokenKind::Quoted("in".into())]);
        assert_eq!(kinds("ψ_1", Grammar::Expression), [TokenKind::Name("ψ_1".into())]);
    }

    #[test]
    fn a_doubled_quote_stands_for_one() {
        assert_eq!(kinds("\"a\"\"b\"", Grammar::Formula), [TokenKind::Quoted("a\"b".into())]);
        assert_eq!(kinds("'it''s'", Grammar::Condition), [TokenKind::Text("it's".into())]);
        assert_eq!(kinds("\"\"", Grammar::Formula), [TokenKind::Quoted(String::new())]);
    }

    #[test]
    fn invalid_tokens_are_reported_with_their_place() {
        for (text, span, part) in [
            ("a + 2x", 4..6, "2 * x"),
            ("1e", 0..2, "neither a number"),
            ("1e999", 0..5, "too large"),
            ("a ** b", 2..4, "x^y"),
            ("a & b", 2..3, "and"),
            ("a ! b", 2..3, "!="),
            ("\"open", 0..1, "never closed"),
            ("a − b", 2..5, "`-`"),
            ("a § b", 2..4, "§"),
            ("a.b", 1..2, "double quotes"),
            ("a*np.exp(b)", 2..8, "write `exp` alone"),
            ("2*math.pi", 2..9, "write `pi` alone"),
            ("np.power(a, b)", 0..8, "x^y"),
            ("np.ln(a)", 0..5, "did you mean `log`"),
        ] {
            let fault = tokens(text, Grammar::Condition).expect_err(text);
            assert_eq!(fault.span, span, "{text}");
            assert!(fault.message.contains(part), "{text}: {}", fault.message);
        }
    }
}
