//! Parses the `where` part of a law: the domains of its parameters.

use super::ast::{CompareOp, Domain, Expr, ExprKind, Span};
use super::lex::{Fault, Parsed, TokenKind};
use super::parse::node;
use super::stream::{Input, accept, expect, here, new_name, next};

/// Parses `p > 0, q in [0, 1], …` to the end of the tokens. A name that is given twice keeps its first place.
pub(super) fn where_domains(mut i: Input<'_>) -> Parsed<Vec<(String, Domain, Span)>> {
    let mut domains: Vec<(String, Domain, Span)> = Vec::new();
    loop {
        let (name, span) = new_name(&mut i, "a parameter's name, as in `alpha in [0, 1]`")?;
        let mut domain = domain(&mut i, &name)?;
        let end = i.input.previous_tokens().next().map_or(span.end, |t| t.span.end);
        let span = span.start..end;
        if let Some(earlier) = domains.iter_mut().find(|earlier| earlier.0 == name) {
            domain = intersection(&name, earlier.1, domain, &span)?;
            earlier.1 = domain;
        } else {
            domains.push((name, domain, span));
        }
        if accept(&mut i, &TokenKind::Comma).is_none() {
            break;
        }
    }
    match next(&i) {
        None => Ok(domains),
        Some(token) => Fault::cut("expected `,` or the end", token.span.clone()),
    }
}

const FORMS: &str = "a domain is written `p > 0`, `p <= 1`, `p in [0, 2]` or `p = 0.34`";

/// Parses what follows the name: `> 0`, `in [0, 1]` and the like.
fn domain(i: &mut Input<'_>, name: &str) -> Parsed<Domain> {
    let span = here(i);
    let form = next(i).map(|token| &token.kind);
    match form {
        Some(kind @ TokenKind::Compare(op)) => {
            accept(i, kind);
            let (edge, edge_span) = constant(i)?;
            let (low, high) = match op {
                CompareOp::Eq if edge.is_finite() => return Ok(Domain::Fixed(edge)),
                CompareOp::Eq => {
                    return Fault::cut("a parameter can be held only at a finite number", edge_span);
                }
                CompareOp::Gt | CompareOp::Ge => (edge, f64::INFINITY),
                CompareOp::Lt | CompareOp::Le => (f64::NEG_INFINITY, edge),
                CompareOp::Ne => return Fault::cut(FORMS, span),
            };
            range(name, low, high, edge_span)
        }
        Some(kind @ TokenKind::Name(word)) if word.eq_ignore_ascii_case("in") => {
            accept(i, kind);
            let start = here(i).start;
            expect(i, &TokenKind::OpenBracket, "expected `[`: a range is written `[low, high]`")?;
            let (low, _) = constant(i)?;
            expect(i, &TokenKind::Comma, "expected `,` and the upper edge")?;
            let (high, _) = constant(i)?;
            let end = here(i).end;
            expect(i, &TokenKind::CloseBracket, "expected `]`")?;
            range(name, low, high, start..end)
        }
        _ => Fault::cut(format!("expected a domain: {FORMS}"), span),
    }
}

/// Returns the domain between two edges: fixed where they are equal.
fn range(name: &str, low: f64, high: f64, span: Span) -> Parsed<Domain> {
    if low > high {
        let message = format!(
            "the domain of `{name}` is empty: its lower bound {low:?} is above its upper bound {high:?}"
        );
        Fault::cut(message, span)
    } else if low == f64::INFINITY || high == f64::NEG_INFINITY {
        Fault::cut(format!("the domain of `{name}` contains no finite number"), span)
    } else if low == high {
        Ok(Domain::Fixed(low))
    } else {
        Ok(Domain::Range { low, high })
    }
}

/// Returns the intersection of two one-sided domains of a parameter. Other second domains are refused: they are
/// contradictions or mistakes.
fn intersection(name: &str, first: Domain, second: Domain, span: &Span) -> Parsed<Domain> {
    if let (Domain::Range { low: a, high: b }, Domain::Range { low: c, high: d }) = (first, second) {
        let one_sided = |low: f64, high: f64| low.is_infinite() || high.is_infinite();
        if one_sided(a, b) && one_sided(c, d) {
            return range(name, a.max(c), b.min(d), span.clone());
        }
    }
    Fault::cut(format!("`{name}` has a domain already"), span.clone())
}

/// Parses an expression of numbers and `inf`, and returns its value and place.
fn constant(i: &mut Input<'_>) -> Parsed<(f64, Span)> {
    let start = here(i).start;
    let edge = node(i)?;
    let end = i.input.previous_tokens().next().map_or(start, |t| t.span.end);
    let value = value_of(&edge.expr)?;
    if value.is_nan() {
        return Fault::cut("this is not a number (NaN)", start..end);
    }
    Ok((value, start..end))
}

/// Evaluates an expression without names other than `inf`.
fn value_of(expr: &Expr) -> Parsed<f64> {
    Ok(match &expr.kind {
        ExprKind::Number(value) => *value,
        ExprKind::Name(name) if name == "inf" => f64::INFINITY,
        ExprKind::Name(name) => {
            let message = format!("`{name}` is not a constant; the edges of a domain are constants");
            return Fault::cut(message, expr.span.clone());
        }
        ExprKind::Negate(a) => -value_of(a)?,
        ExprKind::Binary(op, a, b) => op.apply(value_of(a)?, value_of(b)?),
        ExprKind::Call(function, arguments) => {
            let values: Result<Vec<_>, _> = arguments.iter().map(value_of).collect();
            function.apply(&values?)
        }
        _ => return Fault::cut("the edges of a domain are numbers", expr.span.clone()),
    })
}
