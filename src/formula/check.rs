//! Checks the types of expressions before any data is read.
//!
//! Arithmetic and functions take numbers. A comparison takes two values of one type; truth values can be equal but have
//! no order. Logic takes truth values. `is null` takes any value. The one conversion: where a number is needed, a column of
//! text may stand, and its texts are read as numbers.

use super::ast::{CompareOp, Expr, ExprKind};
use super::columns::Type;
use super::error::TypeError;
use super::suggest::nearest;
use super::time::instant;

/// Returns the type of an expression.
///
/// `lookup` returns the type of a name, none for an unknown name. `known` are the names that errors may suggest.
///
/// # Errors
///
/// If a name is unknown or an operand has the wrong type; the error shows the first such place.
pub fn check(
    expr: &Expr,
    lookup: &dyn Fn(&str) -> Option<Type>,
    known: &[String],
) -> Result<Type, TypeError> {
    Checker { lookup, known }.type_of(expr)
}

/// Checks that an expression is a condition: true, false or null in every row.
///
/// # Errors
///
/// If [`check`] fails or the expression is not a condition.
pub fn check_condition(
    expr: &Expr,
    lookup: &dyn Fn(&str) -> Option<Type>,
    known: &[String],
) -> Result<(), TypeError> {
    match check(expr, lookup, known)? {
        Type::Bool => Ok(()),
        found => {
            let message = format!("{} is {found}, and a condition is true or false", described(expr));
            Err(TypeError::new(message, expr.span.clone()))
        }
    }
}

/// Checks that an expression is a number or null in every row.
///
/// # Errors
///
/// If [`check`] fails or the expression is not a number.
pub fn check_number(
    expr: &Expr,
    lookup: &dyn Fn(&str) -> Option<Type>,
    known: &[String],
) -> Result<(), TypeError> {
    match check(expr, lookup, known)? {
        Type::Number => Ok(()),
        Type::Text if is_name(expr) => Ok(()),
        found => {
            let message = format!("{} is {found}, and a number is needed", described(expr));
            Err(TypeError::new(message, expr.span.clone()))
        }
    }
}

/// Returns whether an expression is a column or definition alone.
fn is_name(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Name(_))
}

/// Returns the expression in backquotes, shortened if it has more than 40 characters.
fn described(expr: &Expr) -> String {
    let text = expr.to_string();
    if text.chars().count() <= 40 {
        return format!("`{text}`");
    }
    let beginning: String = text.chars().take(37).collect();
    format!("`{beginning}…`")
}

struct Checker<'a> {
    lookup: &'a dyn Fn(&str) -> Option<Type>,
    known: &'a [String],
}

impl Checker<'_> {
    fn type_of(&self, expr: &Expr) -> Result<Type, TypeError> {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::Decimal(_) => Ok(Type::Number),
            ExprKind::Text(_) => Ok(Type::Text),
            ExprKind::Bool(_) => Ok(Type::Bool),
            ExprKind::Name(name) => (self.lookup)(name).ok_or_else(|| self.unknown(expr, name)),
            ExprKind::Negate(a) => self.needs(Type::Number, "-", [a.as_ref()]),
            ExprKind::Binary(op, a, b) => self.needs(Type::Number, op.symbol(), [a.as_ref(), b.as_ref()]),
            ExprKind::Call(function, arguments) => self.needs(Type::Number, function.name(), arguments),
            ExprKind::Solve { unknown, low, high, equation } => {
                self.needs(Type::Number, "solve", [low.as_ref(), high.as_ref()])?;
                let lookup =
                    |name: &str| if name == unknown { Some(Type::Number) } else { (self.lookup)(name) };
                let local = Checker { lookup: &lookup, known: self.known };
                local.needs(Type::Number, "solve", [equation.as_ref()])
            }
            ExprKind::Compare(op, a, b) => {
                let types = (self.side(a, b)?, self.side(b, a)?);
                match types {
                    (Type::Time, Type::Text) => needs_instant(op.symbol(), a, b)?,
                    (Type::Text, Type::Time) => needs_instant(op.symbol(), b, a)?,
                    (x, y) if x != y => return Err(mismatch(op.symbol(), a, x, b, y)),
                    _ => {}
                }
                let equality = matches!(op, CompareOp::Eq | CompareOp::Ne);
                if types.0 == Type::Bool && !equality {
                    let message =
                        format!("{} is true or false, which `{}` cannot order", described(a), op.symbol());
                    return Err(TypeError::new(message, a.span.clone()));
                }
                Ok(Type::Bool)
            }
            ExprKind::And(a, b) => self.needs(Type::Bool, "and", [a.as_ref(), b.as_ref()]),
            ExprKind::Or(a, b) => self.needs(Type::Bool, "or", [a.as_ref(), b.as_ref()]),
            ExprKind::Not(a) => self.needs(Type::Bool, "not", [a.as_ref()]),
            ExprKind::In { operand, list, .. } => {
                let sought = self.type_of(operand)?;
                for value in list {
                    let found = self.side(value, operand)?;
                    match (sought, found) {
                        (Type::Time, Type::Text) => needs_instant("in", operand, value)?,
                        (x, y) if x != y => return Err(mismatch("in", operand, x, value, y)),
                        _ => {}
                    }
                }
                Ok(Type::Bool)
            }
            ExprKind::Like { operand, .. } => {
                self.needs(Type::Text, "like", [operand.as_ref()])?;
                Ok(Type::Bool)
            }
            ExprKind::IsNull { operand, .. } => self.type_of(operand).map(|_| Type::Bool),
        }
    }

    /// Checks that all operands have the type `needed`, and returns it. `by` is the operator or function, for errors.
    fn needs<'e>(
        &self,
        needed: Type,
        by: &str,
        operands: impl IntoIterator<Item = &'e Expr>,
    ) -> Result<Type, TypeError> {
        for operand in operands {
            let found = self.type_of(operand)?;
            if found == Type::Text && needed == Type::Number && is_name(operand) {
                continue;
            }
            if found != needed {
                let plural = match needed {
                    Type::Number => "numbers",
                    Type::Text => "texts",
                    Type::Bool => "conditions",
                    Type::Time => "dates or times",
                };
                let message = format!("{} is {found}, but `{by}` needs {plural}", described(operand));
                return Err(TypeError::new(message, operand.span.clone()));
            }
        }
        Ok(needed)
    }

    /// Returns the type of one side of a comparison.
    ///
    /// Some dialects of SQL write texts in double quotes, so for an unknown name that is compared with a text the error
    /// says how a text is written.
    fn side(&self, expr: &Expr, other: &Expr) -> Result<Type, TypeError> {
        self.type_of(expr).map_err(|mut error| {
            if let ExprKind::Name(name) = &expr.kind
                && self.type_of(other) == Ok(Type::Text)
            {
                error.message += &format!(" (a text is written '{name}')");
            }
            error
        })
    }

    /// Returns the error for a name that is not a column.
    fn unknown(&self, expr: &Expr, name: &str) -> TypeError {
        let mut message = format!("there is no column {}", described(expr));
        if let Some(near) = nearest(name, self.known.iter().map(String::as_str)) {
            message += &format!(" (did you mean `{near}`?)");
        }
        TypeError::new(message, expr.span.clone())
    }
}

/// Checks that what a date or time is compared with by `by` is a text that says one.
fn needs_instant(by: &str, time: &Expr, text: &Expr) -> Result<(), TypeError> {
    match &text.kind {
        ExprKind::Text(literal) if instant(literal).is_some() => Ok(()),
        ExprKind::Text(literal) => {
            let message =
                format!("'{literal}' is no date or time: write '2025-01-31' or '2025-01-31 12:30:00'");
            Err(TypeError::new(message, text.span.clone()))
        }
        _ => Err(mismatch(by, time, Type::Time, text, Type::Text)),
    }
}

/// Returns the error for operands of different types.
fn mismatch(by: &str, a: &Expr, type_a: Type, b: &Expr, type_b: Type) -> TypeError {
    let mut message = format!(
        "{} is {type_a} and {} is {type_b}, but `{by}` needs both of one type",
        described(a),
        described(b)
    );
    let text = match (type_a, type_b) {
        (Type::Text, Type::Number) if is_name(a) => Some(a),
        (Type::Number, Type::Text) if is_name(b) => Some(b),
        _ => None,
    };
    if let Some(text) = text {
        message += &format!("; `1*{text}` reads the texts as numbers");
    }
    let span = a.span.start.min(b.span.start)..a.span.end.max(b.span.end);
    TypeError::new(message, span)
}

#[cfg(test)]
mod tests {
    use super::super::{parse_condition, parse_expression};
    use super::*;

    fn lookup(name: &str) -> Option<Type> {
        match name {
            "loss" | "N" => Some(Type::Number),
            "learner" => Some(Type::Text),
            "done" => Some(Type::Bool),
            _ => None,
        }
    }

    fn known() -> Vec<String> {
        ["loss", "N", "learner", "done"].map(String::from).to_vec()
    }

    fn refused(text: &str) -> (String, std::ops::Range<usize>) {
        let expr = parse_condition(text).expect(text);
        let error = check_condition(&expr, &lookup, &known()).expect_err(text);
        (error.message, error.span)
    }

    #[test]
    fn well_typed_conditions_pass() {
        for text in [
            "done",
            "not done and loss < 3",
            "learner = 'mamba' or learner in ('a', 'b')",
            "done = true",
            "done in (true, false)",
            "learner is not null",
            "(loss > 1) = done",
            "'a' < learner",
            "1 + learner > 2",
            "solve(t, 0, learner, t - N) > 1",
        ] {
            let expr = parse_condition(text).expect(text);
            assert_eq!(check_condition(&expr, &lookup, &known()), Ok(()), "{text}");
        }
    }

    #[test]
    fn type_errors_name_the_operand_and_its_place() {
        for (text, message, span) in [
            ("1 + 'x' > 2", "`'x'` is text, but `+` needs numbers", 4..7),
            ("log(done) > 2", "`done` is true or false, but `log` needs numbers", 4..8),
            ("lerner = 'x'", "there is no column `lerner` (did you mean `learner`?)", 0..6),
            ("learner = \"mamba\"", "(a text is written 'mamba')", 10..17),
            ("learner = 5", "`learner` is text and `5` is a number, but `=` needs both of one type", 0..11),
            ("loss in (1, 'a')", "`in` needs both of one type", 0..15),
            ("done > false", "which `>` cannot order", 0..4),
            ("loss and done", "`loss` is a number, but `and` needs conditions", 0..4),
            ("loss + 1", "`loss + 1` is a number, and a condition is true or false", 0..8),
            ("solve(t, 0, 'x', t - N) > 1", "`'x'` is text, but `solve` needs numbers", 12..15),
            ("solve(t, 0, N, t < N) > 1", "`t < N` is true or false, but `solve` needs numbers", 15..20),
            ("not learner", "`learner` is text, but `not` needs conditions", 4..11),
        ] {
            let (found, place) = refused(text);
            assert!(found.contains(message), "{text}: {found}");
            assert_eq!(place, span, "{text}");
        }
    }

    #[test]
    fn a_column_of_text_may_stand_for_numbers() {
        let parse = |text| parse_expression(text).expect("parses");
        assert_eq!(check(&parse("learner"), &lookup, &known()), Ok(Type::Text));
        assert_eq!(check_number(&parse("learner"), &lookup, &known()), Ok(()));
        assert!(check_number(&parse("done"), &lookup, &known()).is_err());
    }
}
