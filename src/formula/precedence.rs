//! The precedence of each form of expression, as a binding power: a greater number binds tighter.
//!
//! The parser and the printer both use these numbers, so printed expressions parse to the printed tree. From loose to
//! tight the order is `or`, `and`, `not`, comparisons (with `in` and `is null`), sums, products, unary minus, powers,
//! as in Python and SQL. Powers associate to the right, sums and products to the left, comparisons not at all.

use super::ast::{BinaryOp, Expr, ExprKind};

pub(super) const OR: i64 = 2;
pub(super) const AND: i64 = 4;
pub(super) const NOT: i64 = 6;
pub(super) const COMPARE: i64 = 8;
pub(super) const ADD: i64 = 10;
pub(super) const MULTIPLY: i64 = 12;
pub(super) const NEGATE: i64 = 14;
pub(super) const POW: i64 = 16;
pub(super) const ATOM: i64 = 20;

/// Returns the precedence of an arithmetic operator.
pub(super) fn of_operator(op: BinaryOp) -> i64 {
    match op {
        BinaryOp::Add | BinaryOp::Sub => ADD,
        BinaryOp::Mul | BinaryOp::Div => MULTIPLY,
        BinaryOp::Pow => POW,
    }
}

/// Returns the precedence of an expression's outermost form.
pub(super) fn of_expression(expr: &Expr) -> i64 {
    match &expr.kind {
        // A negative number prints with a minus sign.
        ExprKind::Number(x) if x.is_sign_negative() => NEGATE,
        ExprKind::Number(_)
        | ExprKind::Decimal(_)
        | ExprKind::Text(_)
        | ExprKind::Bool(_)
        | ExprKind::Name(_)
        | ExprKind::Call(..)
        | ExprKind::Solve { .. } => ATOM,
        ExprKind::Negate(_) => NEGATE,
        ExprKind::Binary(op, ..) => of_operator(*op),
        ExprKind::Compare(..) | ExprKind::In { .. } | ExprKind::Like { .. } | ExprKind::IsNull { .. } => {
            COMPARE
        }
        ExprKind::Not(_) => NOT,
        ExprKind::And(..) => AND,
        ExprKind::Or(..) => OR,
    }
}
