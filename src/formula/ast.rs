//! The syntax tree of a text, and the names in it.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::decimal::Decimal;
use super::functions::Function;
use crate::lanes::scalar;

/// A place in the source text, as byte offsets.
pub type Span = std::ops::Range<usize>;

/// An expression and its place in the source text.
///
/// A subexpression that comes from a `with` definition has its place in the definition, so that errors point at what
/// the user wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// The form of the expression.
    pub kind: ExprKind,
    /// The place in the source text.
    pub span: Span,
}

/// The forms of an expression. Boolean forms occur only in conditions.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A literal, or the constant `pi`. The parser produces only finite, non-negative numbers.
    Number(f64),
    /// A literal that float64 does not hold exactly; only in conditions, whose comparisons are exact.
    Decimal(Decimal),
    /// `'text'`; only in conditions.
    Text(String),
    /// `true` or `false`; only in conditions.
    Bool(bool),
    /// An identifier or a `"quoted column"`; the tree does not distinguish them.
    Name(String),
    /// Unary minus.
    Negate(Box<Expr>),
    /// An arithmetic operation on two operands.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// A function of numbers. The parser has checked the number of arguments.
    Call(Function, Vec<Expr>),
    /// `solve(unknown, low, high, equation)`: the number strictly between `low` and `high` where the equation is zero.
    Solve {
        /// The unknown's name, which is known in the equation alone.
        unknown: String,
        /// The lower end; does not mention the unknown.
        low: Box<Expr>,
        /// The upper end; does not mention the unknown.
        high: Box<Expr>,
        /// The equation's left side minus its right side; contains no other `solve`.
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
        /// The value that is looked up in the list.
        operand: Box<Expr>,
        /// The values that `operand` is compared with; the parser makes no empty list.
        list: Vec<Expr>,
        /// Whether the test is negated.
        negated: bool,
    },
    /// `operand like 'pattern'`, or `operand not like 'pattern'`.
    Like {
        /// The text that is matched.
        operand: Box<Expr>,
        /// The pattern: `%` stands for any text, `_` for any one character.
        pattern: String,
        /// Whether the test is negated.
        negated: bool,
    },
    /// `operand is null`, or `operand is not null`.
    IsNull {
        /// The value that is tested.
        operand: Box<Expr>,
        /// Whether the test is negated.
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
    /// Returns the operator as it is written.
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

    /// Applies the operator in float64: one IEEE operation, or [`scalar::pow`].
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

/// The comparison operators.
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
    /// Returns the operator as it is printed.
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

    /// Returns the operator that holds for the operands in reverse order.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Eq | Self::Ne => self,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    /// Returns whether the comparison holds for two values with this order. Without an order they are unequal.
    #[must_use]
    #[inline]
    pub fn holds_for(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Eq => order == Some(Ordering::Equal),
            Self::Ne => order != Some(Ordering::Equal),
            Self::Lt => order == Some(Ordering::Less),
            Self::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Gt => order == Some(Ordering::Greater),
            Self::Ge => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }

    /// Returns whether the comparison holds. For float64 the order is IEEE's: NaN is unequal to every number.
    #[must_use]
    #[inline]
    pub fn holds<T: PartialOrd + ?Sized>(self, a: &T, b: &T) -> bool {
        self.holds_for(a.partial_cmp(b))
    }
}

/// Returns the definitions that some names need, in order. In `names`, definitions are replaced by the columns that
/// they use. A definition may use earlier definitions and may have the name of a column.
pub(crate) fn needed_definitions<'d: 'n, 'n>(
    definitions: &'d [(String, Expr)],
    names: &mut HashSet<&'n str>,
) -> Vec<&'d (String, Expr)> {
    // Backwards: the names in a definition refer to earlier definitions.
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

/// The domain of a parameter: the values that it may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Domain {
    /// A closed range with `low < high`; either edge may be infinite.
    Range {
        /// The lower edge, which belongs to the range.
        low: f64,
        /// The upper edge, which belongs to the range.
        high: f64,
    },
    /// One finite value, at which the parameter is held.
    Fixed(f64),
    /// One value that comes with the data, so that one compiled law serves all values. Formulas have no form for it:
    /// see [`Law::holding`](crate::Law::holding).
    Held,
}

/// A parsed law: `response ~ prediction with … where …`.
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    /// The text of the law.
    pub source: String,
    /// The left side, with the `with` definitions substituted.
    pub response: Expr,
    /// The right side, with the `with` definitions substituted.
    pub prediction: Expr,
    /// The parameters' domains in `where` and their places, in the order of writing; each name once.
    pub domains: Vec<(String, Domain, Span)>,
    /// The names of the `with` definitions that neither side and no other definition uses.
    pub unused: Vec<String>,
}

impl Expr {
    /// Returns an expression with its place.
    #[must_use]
    pub fn new(kind: ExprKind, span: Span) -> Self {
        Self { kind, span }
    }

    /// Returns the number of nodes: operations, names and constants.
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

    /// Returns the operands for changing them, in the order in which they are written.
    #[must_use]
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            ExprKind::Number(_)
            | ExprKind::Decimal(_)
            | ExprKind::Text(_)
            | ExprKind::Bool(_)
            | ExprKind::Name(_) => Vec::new(),
            ExprKind::Negate(a)
            | ExprKind::Not(a)
            | ExprKind::IsNull { operand: a, .. }
            | ExprKind::Like { operand: a, .. } => vec![a],
            ExprKind::Binary(_, a, b)
            | ExprKind::Compare(_, a, b)
            | ExprKind::And(a, b)
            | ExprKind::Or(a, b) => vec![a, b],
            ExprKind::Call(_, arguments) => arguments.iter_mut().collect(),
            ExprKind::Solve { low, high, equation, .. } => vec![low, high, equation],
            ExprKind::In { operand, list, .. } => std::iter::once(operand.as_mut()).chain(list).collect(),
        }
    }

    /// Returns the operands, in the order in which they are written.
    #[must_use]
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Number(_)
            | ExprKind::Decimal(_)
            | ExprKind::Text(_)
            | ExprKind::Bool(_)
            | ExprKind::Name(_) => Vec::new(),
            ExprKind::Negate(a)
            | ExprKind::Not(a)
            | ExprKind::IsNull { operand: a, .. }
            | ExprKind::Like { operand: a, .. } => vec![a],
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

/// Returns the distinct names in an expression, in the order of first appearance, without the unknowns of `solve`.
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

/// Returns the names in an expression that are written in double quotes, which are those of columns.
#[must_use]
pub fn quoted_names(expr: &Expr) -> Vec<&str> {
    uses(expr).into_iter().filter(|(name, span)| is_quoted(name, span)).map(|(name, _)| name).collect()
}

/// Returns whether the use of a name at a place is written in double quotes: it is then longer in the text than in the tree.
pub(super) fn is_quoted(name: &str, place: &Span) -> bool {
    place.len() != name.len()
}

/// Returns every use of a name in an expression with its place, in order, without the unknowns of `solve`.
pub(super) fn uses(expr: &Expr) -> Vec<(&str, &Span)> {
    let mut found = Vec::new();
    // An equation contains no other `solve`, so at any place at most one name is hidden by an unknown.
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

/// Returns the unknowns of `solve` in an expression, in order.
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
    fn names_are_distinct_and_in_order() {
        let expr = parse_expression("b * a + max(c, b, \"eval/x\") ^ -a").expect("parses");
        assert_eq!(names(&expr), ["b", "a", "c", "eval/x"]);
        let expr = parse_expression("solve(t, low, a, t^a - x) + b").expect("parses");
        assert_eq!(names(&expr), ["low", "a", "x", "b"]);
        assert_eq!(unknowns(&expr), ["t"]);
        let expr = parse_condition("not x in (y, 2) or z is null").expect("parses");
        assert_eq!(names(&expr), ["x", "y", "z"]);
    }
}
