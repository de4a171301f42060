//! Nodes under construction.
//!
//! Whoever walks a finished tree may recurse, so its height is limited where it grows: with every
//! level, and with every term of a flat chain. What `with` definitions can multiply is limited too.

use super::ast::{BinaryOp, CompareOp, Expr, ExprKind, Span};
use super::lex::{Fault, Parsed};

/// How high the tree may be: a sum or chain of `or` has at most this many terms.
pub const MAX_HEIGHT: usize = 1_000;

/// How many nodes `with` definitions may come to, written out and put in.
pub const MAX_NODES: usize = 20_000;

/// An expression under construction: its height, and where it stands, parentheses included.
#[derive(Debug, Clone)]
pub(super) struct ParsedNode {
    pub expr: Expr,
    pub place: Span,
    pub height: usize,
}

pub(super) fn leaf(kind: ExprKind, span: Span) -> ParsedNode {
    ParsedNode { expr: Expr::new(kind, span.clone()), place: span, height: 1 }
}

/// Puts a node above its parts, given by their heights.
pub(super) fn join(kind: ExprKind, place: Span, heights: &[usize]) -> Parsed<ParsedNode> {
    let height = 1 + heights.iter().max().unwrap_or(&0);
    if height > MAX_HEIGHT {
        let message = format!(
            "more than {MAX_HEIGHT} terms or levels are not supported (many values go in one `in (…)`)"
        );
        // Only where it became too much: the whole would be most of the text.
        return Fault::cut(message, place.end.saturating_sub(1)..place.end);
    }
    Ok(ParsedNode { expr: Expr::new(kind, place.clone()), place, height })
}

impl ParsedNode {
    pub fn boxed(self) -> Box<Expr> {
        Box::new(self.expr)
    }
}

pub(super) fn two(
    make: impl FnOnce(Box<Expr>, Box<Expr>) -> ExprKind,
    a: ParsedNode,
    b: ParsedNode,
) -> Parsed<ParsedNode> {
    let place = a.place.start..b.place.end;
    let heights = [a.height, b.height];
    join(make(a.boxed(), b.boxed()), place, &heights)
}

pub(super) fn binary(op: BinaryOp, a: ParsedNode, b: ParsedNode) -> Parsed<ParsedNode> {
    two(|a, b| ExprKind::Binary(op, a, b), a, b)
}

pub(super) fn compare(op: CompareOp, a: ParsedNode, b: ParsedNode) -> Parsed<ParsedNode> {
    two(|a, b| ExprKind::Compare(op, a, b), a, b)
}
