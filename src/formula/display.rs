//! The text of an expression, with as few parentheses and quotes as possible.
//!
//! The text of every tree that the parser can make parses to an equal tree, places aside. Numbers are printed with the
//! fewest digits that identify the float64.

use std::fmt::{Display, Formatter, Result};

use super::ast::{BinaryOp, Expr, ExprKind};
use super::lex::is_plain_name;
use super::precedence;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            ExprKind::Number(x) => number(f, *x),
            ExprKind::Decimal(x) => write!(f, "{x}"),
            ExprKind::Text(text) => quoted(f, text, '\''),
            ExprKind::Bool(value) => write!(f, "{value}"),
            ExprKind::Name(name) if is_plain_name(name) => f.write_str(name),
            ExprKind::Name(name) => quoted(f, name, '"'),
            ExprKind::Negate(a) => {
                f.write_str("-")?;
                operand(f, a, precedence::NEGATE)
            }
            ExprKind::Binary(BinaryOp::Pow, a, b) => {
                operand(f, a, precedence::POW + 1)?;
                f.write_str("^")?;
                // A unary minus after `^` needs no parentheses: no other reading is possible.
                operand(f, b, precedence::NEGATE)
            }
            ExprKind::Binary(op, a, b) => {
                let precedence = precedence::of_operator(*op);
                infix(f, a, op.symbol(), b, precedence, precedence + 1)
            }
            ExprKind::Call(function, arguments) => {
                write!(f, "{}(", function.name())?;
                list(f, arguments)
            }
            ExprKind::Solve { unknown, low, high, equation } => {
                f.write_str("solve(")?;
                if is_plain_name(unknown) { f.write_str(unknown) } else { quoted(f, unknown, '"') }?;
                write!(f, ", {low}, {high}, {equation})")
            }
            ExprKind::Compare(op, a, b) => {
                infix(f, a, op.symbol(), b, precedence::COMPARE + 1, precedence::COMPARE + 1)
            }
            ExprKind::And(a, b) => infix(f, a, "and", b, precedence::AND, precedence::AND + 1),
            ExprKind::Or(a, b) => infix(f, a, "or", b, precedence::OR, precedence::OR + 1),
            ExprKind::Not(a) => {
                f.write_str("not ")?;
                operand(f, a, precedence::NOT)
            }
            ExprKind::In { operand: a, list: values, negated } => {
                operand(f, a, precedence::COMPARE + 1)?;
                f.write_str(if *negated { " not in (" } else { " in (" })?;
                list(f, values)
            }
            ExprKind::Like { operand: a, pattern, negated } => {
                operand(f, a, precedence::COMPARE + 1)?;
                f.write_str(if *negated { " not like " } else { " like " })?;
                quoted(f, pattern, '\'')
            }
            ExprKind::IsNull { operand: a, negated } => {
                operand(f, a, precedence::COMPARE + 1)?;
                f.write_str(if *negated { " is not null" } else { " is null" })
            }
        }
    }
}

/// Writes an operand, in parentheses if its precedence is below `least`.
fn operand(f: &mut Formatter<'_>, expr: &Expr, least: i64) -> Result {
    if precedence::of_expression(expr) < least { write!(f, "({expr})") } else { write!(f, "{expr}") }
}

/// Writes an infix operator with its operands, each in parentheses if its precedence is below its least.
fn infix(
    f: &mut Formatter<'_>,
    a: &Expr,
    symbol: &str,
    b: &Expr,
    least_left: i64,
    least_right: i64,
) -> Result {
    operand(f, a, least_left)?;
    write!(f, " {symbol} ")?;
    operand(f, b, least_right)
}

/// Writes the values of a list and its closing parenthesis.
fn list(f: &mut Formatter<'_>, values: &[Expr]) -> Result {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{value}")?;
    }
    f.write_str(")")
}

/// Writes a text in quotes, with the quotes in it doubled.
fn quoted(f: &mut Formatter<'_>, text: &str, quote: char) -> Result {
    let escaped = text.replace(quote, &format!("{quote}{quote}"));
    write!(f, "{quote}{escaped}{quote}")
}

/// Writes a number with the fewest digits that identify it.
fn number(f: &mut Formatter<'_>, x: f64) -> Result {
    if x == std::f64::consts::PI {
        return f.write_str("pi");
    }
    // `Debug` writes long numbers with an exponent, which `Display` does not, but it writes `2.0` for 2.
    let text = format!("{x:?}");
    f.write_str(text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::super::{parse_condition, parse_expression};

    #[test]
    fn arithmetic_prints_with_minimal_parentheses() {
        for (given, printed) in [
            ("((a)+((b*c)))", "a + b * c"),
            ("(a+b)*c", "(a + b) * c"),
            ("a-(b-c)", "a - (b - c)"),
            ("(a-b)-c", "a - b - c"),
            ("a/(b*c)", "a / (b * c)"),
            ("(-a)^b", "(-a)^b"),
            ("-(a^b)", "-a^b"),
            ("a^(-b)", "a^-b"),
            ("a^(-(b^c))", "a^-b^c"),
            ("(a^-b)^c", "(a^-b)^c"),
            ("a^(b^c)", "a^b^c"),
            ("(a^b)^c", "(a^b)^c"),
            ("a*(-b)", "a * -b"),
            ("-(-a)", "--a"),
            ("(-a)*b", "-a * b"),
            ("-(a*b)", "-(a * b)"),
            ("6.4e13 + 2.0 + 1e300", "64000000000000 + 2 + 1e300"),
            ("2*pi", "2 * pi"),
            (
                "\"pi\" + \"and\" + \"a b\" + \"a\"\"b\" + \"x\"",
                "\"pi\" + \"and\" + \"a b\" + \"a\"\"b\" + x",
            ),
            ("max( a,(b) , c )", "max(a, b, c)"),
            ("solve( t,0 ,(a), t^2=(b) )", "solve(t, 0, a, t^2 - b)"),
            ("2*solve(t, 0, 1, t - (a-b))^2", "2 * solve(t, 0, 1, t - (a - b))^2"),
        ] {
            let expr = parse_expression(given).expect(given);
            assert_eq!(expr.to_string(), printed);
        }
    }

    #[test]
    fn conditions_print_with_minimal_parentheses() {
        for (given, printed) in [
            ("(a==1) AND ((b<>'it''s'))", "a = 1 and b != 'it''s'"),
            ("(a or b) and c", "(a or b) and c"),
            ("a or (b and c)", "a or b and c"),
            ("not (a = 1)", "not a = 1"),
            ("(not a) = true", "(not a) = true"),
            ("not (a in (1,2))", "not a in (1, 2)"),
            ("a NOT IN (1)", "a not in (1)"),
            ("(a + 1) is NOT null", "a + 1 is not null"),
            ("(a = 1) is null", "(a = 1) is null"),
        ] {
            let expr = parse_condition(given).expect(given);
            assert_eq!(expr.to_string(), printed);
        }
    }
}
