//! The tree that a text becomes, and the few things every reader of it needs.

use std::collections::HashSet;

use super::functions::Function;
use crate::lanes::scalar;

/// A place in the source text, as byte offsets.
pub type Span = std::ops::Range<usize>;

/// An expression and the place it was written at.
///
/// A subexpression that a `with` definition supplied keeps the place of its definition, so a
/// report about it points at what the user wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What the expression is.
    pub kind: ExprKind,
    /// Where it stands in the source text.
    pub span: Span,
}

/// The forms of an expression. The boolean ones arise only from conditions.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A literal, or the constant `pi`. The parser makes only finite, non-negative ones.
    Number(f64),
    /// `'text'`; only in conditions.
    Text(String),
    /// `true` or `false`; only in conditions.
    Bool(bool),
    /// An identifier or a `"quoted column"`; which of the two is not kept.
    Name(String),
    /// Unary minus.
    Negate(Box<Expr>),
    /// Arithmetic of two operands.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// A function of numbers; the parser has checked the number of arguments.
    Call(Function, Vec<Expr>),
    /// `solve(unknown, low, high, equation)`: the number strictly between two ends where the equation is zero.
    Solve {
        /// The unknown's name, which has a meaning in the equation alone.
        unknown: String,
        /// The ends, which do not mention the unknown.
        low: Box<Expr>,
        /// Upper end.
        high: Box<Expr>,
        /// Monotone in the unknown between the ends; contains no other `solve`.
        equation: Box<Expr>,
    },
    /// A comparison of two values of one type.
    Compare(CompareOp, Box<Expr>, Box<Expr>),
    /// Conjunction in SQL's three-valued logic.
    And(Box<Expr>, Box<Expr>),
    /// Disjunction in SQL's three-valued logic.
    Or(Box<Expr>, Box<Expr>),
    /// Negation in SQL's three-valued logic.
    Not(Box<Expr>),
    /// `operand in (list)`, or `operand not in (list)`.
    In {
        /// The value looked for.
        operand: Box<Expr>,
        /// The values it is compared with; never empty when parsed.
        list: Vec<Expr>,
        /// Whether `not` was written.
        negated: bool,
    },
    /// `operand is null`, or `operand is not null`.
    IsNull {
        /// The value asked about.
        operand: Box<Expr>,
        /// Whether `not` was written.
        negated: bool,
    },
}

/// The arithmetic operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `^`
    Pow,
}

impl BinaryOp {
    /// The operator as it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Pow => "^",
        }
    }

    /// The operation in float64: one IEEE operation, or [`scalar::pow`].
    #[must_use]
    #[inline]
    pub fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Pow => scalar::pow(a, b),
        }
    }
}

/// The comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `=` or `==`
    Eq,
    /// `!=` or `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl CompareOp {
    /// The comparison as it is printed.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }

    /// Whether it holds. For float64 this is IEEE's order: NaN is unequal to everything.
    #[must_use]
    #[inline]
    pub fn holds<T: PartialOrd + ?Sized>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Eq => a == b,
            Self::Ne => a != b,
            Self::Lt => a < b,
            Self::Le => a <= b,
            Self::Gt => a > b,
            Self::Ge => a >= b,
        }
    }
}

/// Returns the definitions that some names need, in order: a definition may use those before it and may take a column's
/// name. In `names` they are replaced by the columns that they use.
pub(crate) fn needed_definitions<'d: 'n, 'n>(
    definitions: &'d [(String, Expr)],
    names: &mut HashSet<&'n str>,
) -> Vec<&'d (String, Expr)> {
    // Backwards, so that a definition's own names mean what came before it.
    let mut needed = Vec::new();
    for definition in definitions.iter().rev() {
        if names.remove(definition.0.as_str()) {
            names.extend(self::names(&definition.1));
            needed.push(definition);
        }
    }
    needed.reverse();
    needed
}

/// Where a parameter may lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Domain {
    /// A closed range; an edge may be infinite, and `low < high`.
    Range {
        /// The lower edge, which is itself allowed.
        low: f64,
        /// The upper edge, which is itself allowed.
        high: f64,
    },
    /// Held at one finite value.
    Fixed(f64),
    /// Held at a value that comes with the data, so that one compiled law serves all values. No formula says so: see
    /// [`Law::holding`](crate::Law::holding).
    Held,
}

/// A law as typed: `response ~ prediction with … where …`.
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    /// The text as given.
    pub source: String,
    /// The left side.
    pub response: Expr,
    /// The right side, with the `with` definitions put in.
    pub prediction: Expr,
    /// The domains given in `where`, in order of writing; each name once.
    pub domains: Vec<(String, Domain, Span)>,
}

impl Expr {
    /// An expression at a place.
    #[must_use]
    pub fn new(kind: ExprKind, span: Span) -> Self {
        Self { kind, span }
    }

    /// Returns how many operations, names and numbers the expression has.
    #[must_use]
    pub fn size(&self) -> usize {
        let mut open = vec![self];
        let mut count = 0;
        while let Some(expr) = open.pop() {
            count += 1;
            open.extend(expr.children());
        }
        count
    }

    /// The operands, in the order they are written.
    #[must_use]
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::Name(_) => Vec::new(),
            ExprKind::Negate(a) | ExprKind::Not(a) | ExprKind::IsNull { operand: a, .. } => vec![a],
            ExprKind::Binary(_, a, b)
            | ExprKind::Compare(_, a, b)
            | ExprKind::And(a, b)
            | ExprKind::Or(a, b) => vec![a, b],
            ExprKind::Call(_, arguments) => arguments.iter().collect(),
            ExprKind::Solve { low, high, equation, .. } => vec![low, high, equation],
            ExprKind::In { operand, list, .. } => std::iter::once(operand.as_ref()).chain(list).collect(),
        }
    }
}

/// The distinct names in an expression, in order of first appearance; unknowns of `solve` are none.
#[must_use]
pub fn names(expr: &Expr) -> Vec<&str> {
    let mut seen = std::collections::HashSet::new();
    let mut found = Vec::new();
    for (name, _) in uses(expr) {
        if seen.insert(name) {
            found.push(name);
        }
    }
    found
}

/// Every use of a name in an expression and its place, in order; unknowns of `solve` are none.
pub(super) fn uses(expr: &Expr) -> Vec<(&str, &Span)> {
    let mut found = Vec::new();
    // An equation contains no other `solve`, so at most one unknown hides a name at any place.
    let mut open: Vec<(&Expr, Option<&str>)> = vec![(expr, None)];
    while let Some((expr, hidden)) = open.pop() {
        match &expr.kind {
            ExprKind::Name(name) if hidden != Some(name) => found.push((name.as_str(), &expr.span)),
            ExprKind::Solve { unknown, low, high, equation } => {
                open.extend([(&**equation, Some(unknown.as_str())), (high, hidden), (low, hidden)]);
            }
            _ => open.extend(expr.children().into_iter().rev().map(|child| (child, hidden))),
        }
    }
    found
}

/// The unknowns of an expression, in order.
#[must_use]
pub fn unknowns(expr: &Expr) -> Vec<&str> {
    let mut found = Vec::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        if let ExprKind::Solve { unknown, .. } = &expr.kind {
            found.push(unknown.as_str());
        }
        open.extend(expr.children().into_iter().rev());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{parse_condition, parse_expression};
    use super::*;

    #[test]
    fn names_come_once_and_in_order() {
        let expr = parse_expression("b * a + max(c, b, \"eval/x\") ^ -a").expect("parses");
        assert_eq!(names(&expr), ["b", "a", "c", "eval/x"]);
        let expr = parse_expression("solve(t, low, a, t^a - x) + b").expect("parses");
        assert_eq!(names(&expr), ["low", "a", "x", "b"]);
        assert_eq!(unknowns(&expr), ["t"]);
        let expr = parse_condition("not x in (y, 2) or z is null").expect("parses");
        assert_eq!(names(&expr), ["x", "y", "z"]);
    }
}
