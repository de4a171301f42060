//! Nodes of the syntax tree under construction.
//!
//! Functions over a finished tree may recurse, so its height is limited while it grows. The number of nodes is limited
//! where `with` definitions are substituted, because substitution can make it grow exponentially.

use super::ast::{BinaryOp, CompareOp, Expr, ExprKind, Span};
use super::lex::{Fault, Parsed};

/// The greatest height of a tree: a sum or a chain of `or` has at most so many terms.
pub const MAX_HEIGHT: usize = 1_000;

/// The greatest number of nodes of all `with` definitions together, and of their copies in one expression.
pub const MAX_NODES: usize = 20_000;

/// An expression under construction.
#[derive(Debug, Clone)]
pub(super) struct ParsedNode {
    pub expr: Expr,
    /// The place in the text, parentheses included.
    pub place: Span,
    /// The height of the tree; 1 for a leaf.
    pub height: usize,
}

/// Returns a node without operands.
pub(super) fn leaf(kind: ExprKind, span: Span) -> ParsedNode {
    ParsedNode { expr: Expr::new(kind, span.clone()), place: span, height: 1 }
}

/// Returns a node above operands of these heights.
pub(super) fn join(kind: ExprKind, place: Span, heights: &[usize]) -> Parsed<ParsedNode> {
    let height = 1 + heights.iter().max().unwrap_or(&0);
    if height > MAX_HEIGHT {
        let message = format!(
            "more than {MAX_HEIGHT} terms or levels are not supported (many values go in one `in (…)`)"
        );
        // The place is where the limit was exceeded: the whole expression would be most of the text.
        return Fault::cut(message, place.end.saturating_sub(1)..place.end);
    }
    Ok(ParsedNode { expr: Expr::new(kind, place.clone()), place, height })
}

impl ParsedNode {
    pub fn boxed(self) -> Box<Expr> {
        Box::new(self.expr)
    }
}

/// Returns a node above two operands.
pub(super) fn two(
    make: impl FnOnce(Box<Expr>, Box<Expr>) -> ExprKind,
    a: ParsedNode,
    b: ParsedNode,
) -> Parsed<ParsedNode> {
    let place = a.place.start..b.place.end;
    let heights = [a.height, b.height];
    join(make(a.boxed(), b.boxed()), place, &heights)
}

/// Returns an arithmetic operation.
pub(super) fn binary(op: BinaryOp, a: ParsedNode, b: ParsedNode) -> Parsed<ParsedNode> {
    two(|a, b| ExprKind::Binary(op, a, b), a, b)
}

/// Returns a comparison.
pub(super) fn compare(op: CompareOp, a: ParsedNode, b: ParsedNode) -> Parsed<ParsedNode> {
    two(|a, b| ExprKind::Compare(op, a, b), a, b)
}
