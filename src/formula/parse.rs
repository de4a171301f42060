//! Parses tokens into an expression: a Pratt parser over the operators' binding powers (Pratt 1973).

use winnow::combinator::{Infix, Postfix, Prefix, expression, separated};
use winnow::error::ErrMode;
use winnow::prelude::*;
use winnow::token::any;

use super::ast::{BinaryOp, CompareOp, Expr, ExprKind, Span};
use super::functions::{self, Function, SOLVE};
use super::lex::{Fault, Grammar, Parsed, TokenKind};
use super::node::{MAX_NODES, ParsedNode, binary, compare, join, leaf, two};
use super::precedence;
use super::solve;
use super::stream::{Input, accept, backtrack, close, comma, enter, fault_of, here, leave, next};
use super::suggest::was_or_were;

/// Parses all tokens as one expression.
pub(super) fn whole(mut i: Input<'_>) -> Result<ParsedNode, Fault> {
    let parsed = node(&mut i).and_then(|node| match next(&i) {
        None => Ok(node),
        Some(token) => Fault::cut(unexpected(&i, &token.kind), token.span.clone()),
    });
    parsed.map_err(fault_of)
}

/// Parses an expression and stops after it.
pub(super) fn node(i: &mut Input<'_>) -> Parsed<ParsedNode> {
    expression(operand).prefix(prefix).postfix(postfix).infix(infix).parse_next(i)
}

/// Parses an operand: a number, a text, a name, a call, or an expression in parentheses.
fn operand(i: &mut Input<'_>) -> Parsed<ParsedNode> {
    let Some(token) = next(i) else {
        return backtrack(i);
    };
    let span = token.span.clone();
    let kind = match &token.kind {
        TokenKind::Number(value) => ExprKind::Number(*value),
        TokenKind::Decimal(value) if i.state.grammar == Grammar::Condition => ExprKind::Decimal(*value),
        TokenKind::Decimal(value) => ExprKind::Number(value.to_f64()),
        TokenKind::True => ExprKind::Bool(true),
        TokenKind::False => ExprKind::Bool(false),
        TokenKind::Text(text) if i.state.grammar == Grammar::Condition => ExprKind::Text(text.clone()),
        TokenKind::Quoted(name) => ExprKind::Name(name.clone()),
        TokenKind::Name(name) => {
            any.parse_next(i)?;
            return named(i, name, span);
        }
        TokenKind::Open => {
            any.parse_next(i)?;
            enter(i, &span)?;
            let mut inner = node(i)?;
            inner.place = span.start..close(i, &span)?;
            leave(i);
            return Ok(inner);
        }
        _ => return backtrack(i),
    };
    any.parse_next(i)?;
    Ok(leaf(kind, span))
}

/// Parses what begins with an identifier: a call, a constant, a definition, or a name.
fn named(i: &mut Input<'_>, name: &str, span: Span) -> Parsed<ParsedNode> {
    if let Some(open) = accept(i, &TokenKind::Open) {
        if name == SOLVE {
            return solve::solve(i, span, &open.span, node);
        }
        return call(i, name, span, &open.span);
    }
    if name == "pi" {
        return Ok(leaf(ExprKind::Number(std::f64::consts::PI), span));
    }
    let Some(definition) = i.state.definitions.iter().find(|d| d.name == name) else {
        return Ok(leaf(ExprKind::Name(name.to_owned()), span));
    };
    i.state.copied += definition.nodes;
    if i.state.copied > MAX_NODES {
        let message =
            format!("with its definitions substituted, the expression has more than {MAX_NODES} parts");
        return Fault::cut(message, span);
    }
    Ok(ParsedNode { place: span, ..definition.node.clone() })
}

/// Parses the arguments of a function.
fn call(i: &mut Input<'_>, name: &str, span: Span, open: &Span) -> Parsed<ParsedNode> {
    let Some(function) = Function::named(name) else {
        return Fault::cut(functions::unknown(name), span);
    };
    enter(i, open)?;
    let arguments =
        if next(i).is_some_and(|token| token.kind == TokenKind::Close) { Vec::new() } else { list(i)? };
    let place = span.start..close(i, open)?;
    leave(i);
    let given = arguments.len();
    if !function.arity().accepts(given) {
        let message =
            format!("`{name}` takes {}, but {given} {} given", function.arity(), was_or_were(given));
        return Fault::cut(message, place);
    }
    let heights: Vec<_> = arguments.iter().map(|node| node.height).collect();
    let arguments = arguments.into_iter().map(|node| node.expr).collect();
    join(ExprKind::Call(function, arguments), place, &heights)
}

/// Parses one or more expressions, separated by commas.
fn list(i: &mut Input<'_>) -> Parsed<Vec<ParsedNode>> {
    separated(1.., node, comma).parse_next(i)
}

/// Parses a prefix operator. It is tried after [`operand`], so its error is about both.
fn prefix<'t>(i: &mut Input<'t>) -> Parsed<Prefix<Input<'t>, ParsedNode, ErrMode<Fault>>> {
    let span = here(i);
    let operator = match next(i).map(|token| &token.kind) {
        Some(TokenKind::Minus) => {
            Prefix(precedence::NEGATE, |i: &mut Input<'t>, a: ParsedNode| unary(i, a, ExprKind::Negate))
        }
        Some(TokenKind::Not) => {
            Prefix(precedence::NOT, |i: &mut Input<'t>, a: ParsedNode| unary(i, a, ExprKind::Not))
        }
        found => return Fault::cut(missing_operand(i.state.grammar, found), span),
    };
    any.parse_next(i)?;
    enter(i, &span)?;
    i.state.prefixes.push(span.start);
    Ok(operator)
}

/// Returns a prefix operation, which begins at the last prefix operator without an operand.
fn unary(i: &mut Input<'_>, a: ParsedNode, make: fn(Box<Expr>) -> ExprKind) -> Parsed<ParsedNode> {
    leave(i);
    let start = i.state.prefixes.pop().unwrap_or(a.place.start);
    let (place, height) = (start..a.place.end, a.height);
    join(make(a.boxed()), place, &[height])
}

/// Parses `is null`, `in (…)`, `like '…'`, and their negations.
fn postfix<'t>(i: &mut Input<'t>) -> Parsed<Postfix<Input<'t>, ParsedNode, ErrMode<Fault>>> {
    if accept(i, &TokenKind::Is).is_some() {
        return Ok(Postfix(precedence::COMPARE, is_null));
    }
    if accept(i, &TokenKind::In).is_some() {
        return Ok(Postfix(precedence::COMPARE, |i, a| in_list(i, a, false)));
    }
    if accept(i, &TokenKind::Like).is_some() {
        return Ok(Postfix(precedence::COMPARE, |i, a| like(i, a, false)));
    }
    // winnow's `expression` resets the input if this parser fails, so a `not` without `in` or `like` is not consumed.
    if accept(i, &TokenKind::Not).is_some() {
        if accept(i, &TokenKind::In).is_some() {
            return Ok(Postfix(precedence::COMPARE, |i, a| in_list(i, a, true)));
        }
        if accept(i, &TokenKind::Like).is_some() {
            return Ok(Postfix(precedence::COMPARE, |i, a| like(i, a, true)));
        }
    }
    backtrack(i)
}

fn is_null(i: &mut Input<'_>, a: ParsedNode) -> Parsed<ParsedNode> {
    let negated = accept(i, &TokenKind::Not).is_some();
    let Some(null) = accept(i, &TokenKind::Null) else {
        return Fault::cut("expected `null` or `not null`", here(i));
    };
    let (place, height) = (a.place.start..null.span.end, a.height);
    let operand = a.boxed();
    join(ExprKind::IsNull { operand, negated }, place, &[height])
}

fn in_list(i: &mut Input<'_>, a: ParsedNode, negated: bool) -> Parsed<ParsedNode> {
    let Some(open) = accept(i, &TokenKind::Open) else {
        return Fault::cut("expected `(`: a list of values is written `in (a, b)`", here(i));
    };
    enter(i, &open.span)?;
    let values = list(i)?;
    let place = a.place.start..close(i, &open.span)?;
    leave(i);
    let mut heights = vec![a.height];
    heights.extend(values.iter().map(|node| node.height));
    let list = values.into_iter().map(|node| node.expr).collect();
    let operand = a.boxed();
    let kind = ExprKind::In { operand, list, negated };
    join(kind, place, &heights)
}

fn like(i: &mut Input<'_>, a: ParsedNode, negated: bool) -> Parsed<ParsedNode> {
    let pattern = next(i).and_then(|token| match &token.kind {
        TokenKind::Text(pattern) => Some((pattern.clone(), token.span.end)),
        _ => None,
    });
    let Some((pattern, end)) = pattern else {
        return Fault::cut("expected a pattern in single quotes: `like 'SVM%'`", here(i));
    };
    any.parse_next(i)?;
    let (place, height) = (a.place.start..end, a.height);
    let operand = a.boxed();
    join(ExprKind::Like { operand, pattern, negated }, place, &[height])
}

/// Parses an infix operator.
fn infix<'t>(i: &mut Input<'t>) -> Parsed<Infix<Input<'t>, ParsedNode, ErrMode<Fault>>> {
    let Some(token) = next(i) else {
        return backtrack(i);
    };
    let comparing = i.state.grammar == Grammar::Condition;
    let operator = match token.kind {
        TokenKind::Plus => Infix::Left(precedence::ADD, |_, a, b| binary(BinaryOp::Add, a, b)),
        TokenKind::Minus => Infix::Left(precedence::ADD, |_, a, b| binary(BinaryOp::Sub, a, b)),
        TokenKind::Star => Infix::Left(precedence::MULTIPLY, |_, a, b| binary(BinaryOp::Mul, a, b)),
        TokenKind::Slash => Infix::Left(precedence::MULTIPLY, |_, a, b| binary(BinaryOp::Div, a, b)),
        // Nothing binds tighter than `^`, so winnow's `expression` always folds it once it is parsed. Every `enter`
        // here is therefore followed by `leave`.
        TokenKind::Caret => {
            enter(i, &token.span)?;
            Infix::Right(precedence::POW, |i: &mut Input<'t>, a, b| {
                leave(i);
                binary(BinaryOp::Pow, a, b)
            })
        }
        TokenKind::And => Infix::Left(precedence::AND, |_, a, b| two(ExprKind::And, a, b)),
        TokenKind::Or => Infix::Left(precedence::OR, |_, a, b| two(ExprKind::Or, a, b)),
        TokenKind::Compare(op) if comparing => Infix::Neither(
            precedence::COMPARE,
            match op {
                CompareOp::Eq => |_, a, b| compare(CompareOp::Eq, a, b),
                CompareOp::Ne => |_, a, b| compare(CompareOp::Ne, a, b),
                CompareOp::Lt => |_, a, b| compare(CompareOp::Lt, a, b),
                CompareOp::Le => |_, a, b| compare(CompareOp::Le, a, b),
                CompareOp::Gt => |_, a, b| compare(CompareOp::Gt, a, b),
                CompareOp::Ge => |_, a, b| compare(CompareOp::Ge, a, b),
            },
        ),
        _ => return backtrack(i),
    };
    any.parse_next(i)?;
    Ok(operator)
}

/// Returns the message for a place where an operand is missing; `found` is the token there.
fn missing_operand(grammar: Grammar, found: Option<&TokenKind>) -> String {
    let expected = if grammar == Grammar::Condition {
        "expected a number, a text, a name or `(`"
    } else {
        "expected a number, a name or `(`"
    };
    match found {
        None => format!("{expected}, but nothing follows"),
        Some(TokenKind::Text(_)) => {
            format!(
                "{expected}: texts are allowed only in conditions; a column's name is written in double quotes"
            )
        }
        Some(TokenKind::Null) => "null equals nothing: write `is null` or `is not null`".to_owned(),
        Some(_) => expected.to_owned(),
    }
}

/// Returns the message for a token after a complete expression.
fn unexpected(i: &Input<'_>, found: &TokenKind) -> String {
    let comparing = i.state.grammar == Grammar::Condition;
    match found {
        TokenKind::Close => "this `)` has no matching `(`".to_owned(),
        TokenKind::Compare(_) if comparing => "comparisons do not chain: write `a < b and b < c`".to_owned(),
        TokenKind::Compare(_) => "a comparison is allowed only in a condition".to_owned(),
        TokenKind::Tilde if i.state.grammar == Grammar::Formula => "a law has only one `~`".to_owned(),
        TokenKind::Tilde => "`~` is allowed only in a law".to_owned(),
        TokenKind::Name(_) => {
            "expected an operator: a product is written with `*`, and a name with a space in double quotes"
                .to_owned()
        }
        TokenKind::Number(_) | TokenKind::Decimal(_) | TokenKind::Quoted(_) | TokenKind::Open => {
            "expected an operator (a product is written with `*`)".to_owned()
        }
        _ => "expected an operator or the end".to_owned(),
    }
}
