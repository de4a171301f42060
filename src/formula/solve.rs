//! Parses `solve(unknown, low, high, equation)` and evaluates it for every row.

use winnow::combinator::separated;
use winnow::prelude::*;

use super::ast::{BinaryOp, CompareOp, Expr, ExprKind, Span, uses};
use super::columns::{Column, Columns};
use super::error::TypeError;
use super::lex::{Fault, Parsed, TokenKind};
use super::node::{ParsedNode, binary, join};
use super::stream::{Input, accept, close, comma, enter, leave, next};
use crate::lanes::root::{MOST_ROUNDS, Search, above, below};

const FORM: &str = "`solve` is written `solve(unknown, low, high, equation)`";

/// A parser of an expression.
type ParseExpression = fn(&mut Input<'_>) -> Parsed<ParsedNode>;

/// Parses the arguments of the `solve` at `span`, whose parenthesis is at `open`. `parse` parses an argument.
pub(super) fn solve(
    i: &mut Input<'_>,
    span: Span,
    open: &Span,
    parse: ParseExpression,
) -> Parsed<ParsedNode> {
    enter(i, open)?;
    let name = match next(i).map(|token| token.kind.clone()) {
        Some(TokenKind::Name(name)) => name,
        // There are too few arguments, which is reported below.
        Some(TokenKind::Close) => String::new(),
        Some(_) => {
            let message = format!("expected the name of an unknown: {FORM}");
            return Fault::cut(message, super::stream::here(i));
        }
        None => return Fault::cut("this `(` is never closed", open.clone()),
    };
    let none = next(i).is_some_and(|token| token.kind == TokenKind::Close);
    let arguments: Vec<ParsedNode> = if none {
        Vec::new()
    } else {
        separated(1.., |i: &mut Input<'_>| argument(i, parse), comma).parse_next(i)?
    };
    let place = span.start..close(i, open)?;
    leave(i);
    let given = arguments.len();
    let Ok([unknown, low, high, equation]) = <[ParsedNode; 4]>::try_from(arguments) else {
        let were_given = if given == 1 { "argument was given" } else { "arguments were given" };
        return Fault::cut(format!("{FORM}, but {given} {were_given}"), place);
    };
    match &unknown.expr.kind {
        ExprKind::Name(parsed) if *parsed == name => {}
        _ if i.state.definitions.iter().any(|d| d.name == name) => {
            let message = format!("`{name}` is defined by `with`: give the unknown another name");
            return Fault::cut(message, unknown.place);
        }
        ExprKind::Number(_) if name == "pi" => return Fault::cut("`pi` is a constant", unknown.place),
        _ => return Fault::cut(format!("expected the name of an unknown: {FORM}"), unknown.place),
    }
    let (low, high) = (with_infinity(low), with_infinity(high));
    for end in [&low, &high] {
        if let Some((_, span)) = uses(&end.expr).into_iter().find(|(used, _)| *used == name) {
            let message = format!("`{name}` is the unknown, so it has no value here");
            return Fault::cut(message, span.clone());
        }
    }
    if let Some(inner) = find_solve(&equation.expr) {
        let message = "an equation may not contain another `solve`";
        return Fault::cut(message, inner.clone());
    }
    if !uses(&equation.expr).iter().any(|(used, _)| *used == name) {
        let message = format!("this equation does not mention its unknown `{name}`");
        return Fault::cut(message, equation.place);
    }
    let heights = [low.height, high.height, equation.height];
    let kind =
        ExprKind::Solve { unknown: name, low: low.boxed(), high: high.boxed(), equation: equation.boxed() };
    join(kind, place, &heights)
}

/// Replaces `inf` or `-inf` by the number, as in domains.
fn with_infinity(mut end: ParsedNode) -> ParsedNode {
    let name = match &mut end.expr.kind {
        ExprKind::Negate(inner) => &mut inner.kind,
        kind => kind,
    };
    if matches!(name, ExprKind::Name(n) if n == "inf") {
        *name = ExprKind::Number(f64::INFINITY);
    }
    end
}

/// Parses an argument. `left = right` becomes the difference of its sides.
fn argument(i: &mut Input<'_>, parse: ParseExpression) -> Parsed<ParsedNode> {
    let left = parse(i)?;
    // In conditions `=` is parsed as a comparison.
    if let ExprKind::Compare(CompareOp::Eq, ..) = &left.expr.kind {
        let ParsedNode { expr, place, height } = left;
        let Expr { kind, span } = expr;
        let kind = match kind {
            ExprKind::Compare(_, a, b) => ExprKind::Binary(BinaryOp::Sub, a, b),
            other => other,
        };
        return Ok(ParsedNode { expr: Expr::new(kind, span), place, height });
    }
    if accept(i, &TokenKind::Compare(CompareOp::Eq)).is_some() {
        let right = parse(i)?;
        return binary(BinaryOp::Sub, left, right);
    }
    Ok(left)
}

/// Returns the place of a `solve` in an expression, if there is one.
fn find_solve(expr: &Expr) -> Option<&Span> {
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        if let ExprKind::Solve { .. } = expr.kind {
            return Some(&expr.span);
        }
        open.extend(expr.children());
    }
    None
}

/// A batch's columns, with the unknown's values in place of a column of its name.
struct WithUnknown<'a> {
    columns: &'a dyn Columns,
    unknown: &'a str,
    values: Column,
}

impl Columns for WithUnknown<'_> {
    fn rows(&self) -> usize {
        self.columns.rows()
    }

    fn column(&self, name: &str) -> Option<&Column> {
        if name == self.unknown { Some(&self.values) } else { self.columns.column(name) }
    }

    fn names(&self) -> Vec<String> {
        self.columns.names()
    }
}

/// Returns the root of the equation between the ends of each row, and whether each row is not null. `evaluate`
/// evaluates an expression. Without derivatives the search only halves its bracket.
pub(super) fn roots(
    evaluate: fn(&Expr, &dyn Columns) -> Result<Column, TypeError>,
    columns: &dyn Columns,
    unknown: &str,
    ends: &[(f64, f64)],
    equation: &Expr,
) -> Result<(Vec<f64>, Option<Vec<bool>>), TypeError> {
    let mut columns = WithUnknown { columns, unknown, values: numbers(Vec::new()) };
    let mut values_at = |points: Vec<f64>| -> Result<(Vec<f64>, Option<Vec<bool>>), TypeError> {
        columns.values = numbers(points);
        match evaluate(equation, &columns)? {
            Column::Number { values, valid } => Ok((values, valid)),
            _ => Err(TypeError::new("the sides of an equation are numbers", equation.span.clone())),
        }
    };
    let mut at_end = |end: fn(&(f64, f64)) -> f64, inside: fn(f64) -> f64| {
        let (mut values, valid) = values_at(ends.iter().map(end).collect())?;
        // Where the equation has no value at an end, the sign at the number beside it is used.
        if values.iter().any(|v| v.is_nan()) {
            let beside = values_at(ends.iter().map(|e| inside(end(e))).collect())?.0;
            let missing = values.iter_mut().zip(beside).filter(|(v, _)| v.is_nan());
            missing.for_each(|(value, other)| *value = other);
        }
        Ok((values, valid))
    };
    let (at_low, valid) = at_end(|e| e.0, above)?;
    let (at_high, _) = at_end(|e| e.1, below)?;
    let mut searches: Vec<Search<f64>> = ends
        .iter()
        .zip(at_low.iter().zip(&at_high))
        .map(|(end, (low, high))| Search::begin(end.0, end.1, *low, *high))
        .collect();
    for round in 0..MOST_ROUNDS {
        if searches.iter().all(|s| s.open == 0.0) {
            break;
        }
        let (values, _) = values_at(searches.iter().map(|s| s.point).collect())?;
        for ((search, end), value) in searches.iter_mut().zip(ends).zip(values) {
            *search = search.observe(*end, value, f64::NAN, round);
        }
    }
    Ok((searches.iter().map(|s| s.point).collect(), valid))
}

fn numbers(values: Vec<f64>) -> Column {
    Column::Number { values, valid: None }
}
