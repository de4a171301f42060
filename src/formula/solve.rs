//! `solve(unknown, low, high, equation)`: reading it, and its value for every row.

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

/// Reads an expression.
type Read = fn(&mut Input<'_>) -> Parsed<ParsedNode>;

/// Reads the call whose name is at `span` and whose parenthesis opened at `open`; `read` reads its parts.
pub(super) fn solve(i: &mut Input<'_>, span: Span, open: &Span, read: Read) -> Parsed<ParsedNode> {
    enter(i, open)?;
    let name = match next(i).map(|token| token.kind.clone()) {
        Some(TokenKind::Name(name)) => name,
        // Too few arguments, which is said below.
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
        separated(1.., |i: &mut Input<'_>| side(i, read), comma).parse_next(i)?
    };
    let place = span.start..close(i, open)?;
    leave(i);
    let given = arguments.len();
    let Ok([unknown, low, high, equation]) = <[ParsedNode; 4]>::try_from(arguments) else {
        let verb = if given == 1 { "is" } else { "are" };
        return Fault::cut(format!("{FORM}, here {verb} {given} arguments"), place);
    };
    match &unknown.expr.kind {
        ExprKind::Name(read) if *read == name => {}
        _ if i.state.definitions.iter().any(|d| d.name == name) => {
            let message = format!("`{name}` is defined by `with`: an unknown needs a name of its own");
            return Fault::cut(message, unknown.place);
        }
        ExprKind::Number(_) if name == "pi" => return Fault::cut("`pi` is a constant", unknown.place),
        _ => return Fault::cut(format!("expected the name of an unknown: {FORM}"), unknown.place),
    }
    let (low, high) = (end(low), end(high));
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

/// An end of the bracket, where `inf` is a number as in domains.
fn end(mut end: ParsedNode) -> ParsedNode {
    let name = match &mut end.expr.kind {
        ExprKind::Negate(inner) => &mut inner.kind,
        kind => kind,
    };
    if matches!(name, ExprKind::Name(n) if n == "inf") {
        *name = ExprKind::Number(f64::INFINITY);
    }
    end
}

/// An argument; `left = right` stands for the difference.
fn side(i: &mut Input<'_>, read: Read) -> Parsed<ParsedNode> {
    let left = read(i)?;
    // In conditions `=` has been read as a comparison.
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
        let right = read(i)?;
        return binary(BinaryOp::Sub, left, right);
    }
    Ok(left)
}

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

/// The columns around an equation, and its unknown's values.
struct Local<'a> {
    outer: &'a dyn Columns,
    unknown: &'a str,
    values: Column,
}

impl Columns for Local<'_> {
    fn rows(&self) -> usize {
        self.outer.rows()
    }

    fn column(&self, name: &str) -> Option<&Column> {
        if name == self.unknown { Some(&self.values) } else { self.outer.column(name) }
    }

    fn names(&self) -> Vec<String> {
        self.outer.names()
    }
}

/// The root for every row and whether it is valid, from the ends' values and the equation; `evaluate` gives the values of
/// an expression. There are no derivatives here, so brackets are halved.
pub(super) fn roots(
    evaluate: fn(&Expr, &dyn Columns) -> Result<Column, TypeError>,
    columns: &dyn Columns,
    unknown: &str,
    ends: &[(f64, f64)],
    equation: &Expr,
) -> Result<(Vec<f64>, Option<Vec<bool>>), TypeError> {
    let mut local = Local { outer: columns, unknown, values: numbers(Vec::new()) };
    let mut values_at = |points: Vec<f64>| -> Result<(Vec<f64>, Option<Vec<bool>>), TypeError> {
        local.values = numbers(points);
        match evaluate(equation, &local)? {
            Column::Number { values, valid } => Ok((values, valid)),
            _ => Err(TypeError::new("an equation is a number", equation.span.clone())),
        }
    };
    let mut at_end = |end: fn(&(f64, f64)) -> f64, inside: fn(f64) -> f64| {
        let (mut values, valid) = values_at(ends.iter().map(end).collect())?;
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
