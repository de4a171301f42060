//! Evaluates an expression for every row of a batch.
//!
//! Arithmetic is float64, one operation for each one written, in the order of writing: nothing is regrouped. Integers and
//! decimals that float64 does not hold are compared without rounding. The result
//! of an operation on a null is null, as in SQL. A NaN is not a null; it compares as in IEEE 754, unequal to every
//! number and neither less nor greater. Texts compare by code point, which for UTF-8 is the order of the bytes.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::ast::{BinaryOp, CompareOp, Expr, ExprKind};
use super::check::check;
use super::columns::{Column, Columns, number_in};
use super::decimal::Decimal;
use super::error::TypeError;
use super::functions::Function;
use super::solve::roots;
use super::time::instant;
use crate::lanes::{scalar, slices};

/// Evaluates an expression for every row.
///
/// Types are checked first, so errors in types are those of [`check`].
///
/// # Errors
///
/// If a column is missing, or has the wrong type or number of rows.
///
/// # Example
///
/// ```
/// use sweepfit::formula::{Column, Table, evaluate, parse_expression};
///
/// let mut table = Table::new(2);
/// table.push_numbers("N", vec![1.0, 4.0]);
/// let column = evaluate(&parse_expression("2 * sqrt(N)")?, &table)?;
/// assert_eq!(column, Column::Number { values: vec![2.0, 4.0], valid: None });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn evaluate(expr: &Expr, columns: &dyn Columns) -> Result<Column, TypeError> {
    let known = columns.names();
    check(expr, &|name| columns.column(name).map(Column::data_type), &known)?;
    let batch = BatchEvaluator { columns, rows: columns.rows() };
    Ok(batch.value(expr)?.into_column(batch.rows))
}

/// Numbers: one for all rows, or one per row.
enum Numbers<'a> {
    Constant(f64),
    Borrowed(&'a [f64]),
    Owned(Vec<f64>),
    ConstantDecimal(Decimal),
    /// Values and the number of digits behind the point.
    Decimals(&'a [i128], u8),
}

impl Numbers<'_> {
    /// Returns the number of a row; of a decimal, the nearest.
    fn at(&self, row: usize) -> f64 {
        match self {
            Self::Constant(x) => *x,
            Self::Borrowed(values) => values[row],
            Self::Owned(values) => values[row],
            Self::ConstantDecimal(x) => x.to_f64(),
            Self::Decimals(values, scale) => Decimal { unscaled: values[row], scale: *scale }.to_f64(),
        }
    }

    /// Returns the numbers of all rows.
    fn values(&self, rows: usize) -> Cow<'_, [f64]> {
        match self {
            Self::Borrowed(values) => Cow::Borrowed(values),
            Self::Owned(values) => Cow::Borrowed(values),
            Self::Constant(_) | Self::ConstantDecimal(_) => Cow::Owned(vec![self.at(0); rows]),
            Self::Decimals(..) => Cow::Owned((0..rows).map(|row| self.at(row)).collect()),
        }
    }

    /// Returns the numbers of all rows, to be changed.
    fn into_values(self, rows: usize) -> Vec<f64> {
        match self {
            Self::Owned(values) => values,
            other => other.values(rows).into_owned(),
        }
    }

    /// Returns the decimal of a row, if the numbers are decimals that float64 does not hold exactly.
    fn decimal_at(&self, row: usize) -> Option<Decimal> {
        match self {
            Self::ConstantDecimal(x) => Some(*x),
            Self::Decimals(values, scale) => Some(Decimal { unscaled: values[row], scale: *scale }),
            _ => None,
        }
    }

    /// Returns the order of a row's number and another's, without rounding either; `None` if one is NaN.
    fn compare(&self, other: &Numbers<'_>, row: usize) -> Option<Ordering> {
        let with = |decimal: Decimal, numbers: &Numbers<'_>| match numbers {
            Numbers::Constant(literal) => decimal.compare_with_literal(*literal),
            _ => decimal.compare_with_f64(numbers.at(row)),
        };
        match (self.decimal_at(row), other.decimal_at(row)) {
            (Some(a), Some(b)) => Some(a.compare(b)),
            (Some(a), None) => with(a, other),
            (None, Some(b)) => with(b, self).map(Ordering::reverse),
            (None, None) => self.at(row).partial_cmp(&other.at(row)),
        }
    }
}

/// Texts: one for all rows, or one per row.
enum Texts<'a> {
    Constant(&'a str),
    Borrowed(&'a [String]),
}

impl<'a> Texts<'a> {
    /// Returns the text of a row.
    fn at(&self, row: usize) -> &'a str {
        match self {
            Self::Constant(text) => text,
            Self::Borrowed(values) => &values[row],
        }
    }
}

/// Instants in nanoseconds since 1970 UTC: one for all rows, or one per row.
enum Times<'a> {
    Constant(i128),
    Borrowed(&'a [i128]),
}

impl Times<'_> {
    /// Returns the instant of a row.
    fn at(&self, row: usize) -> i128 {
        match self {
            Self::Constant(instant) => *instant,
            Self::Borrowed(values) => values[row],
        }
    }
}

/// Truth values, one for all rows or one per row; null is `None`.
enum Truths {
    Constant(Option<bool>),
    PerRow(Vec<Option<bool>>),
}

impl Truths {
    /// Returns the truth value of a row.
    fn at(&self, row: usize) -> Option<bool> {
        match self {
            Self::Constant(truth) => *truth,
            Self::PerRow(truths) => truths[row],
        }
    }
}

/// Whether each row is not null; `None` if no row is null.
type Valid<'a> = Option<Cow<'a, [bool]>>;

fn is_valid(valid: &Valid<'_>, row: usize) -> bool {
    valid.as_ref().is_none_or(|valid| valid[row])
}

/// Returns where both are valid.
fn both_valid<'a>(a: Valid<'a>, b: Valid<'a>) -> Valid<'a> {
    match (a, b) {
        (None, other) | (other, None) => other,
        (Some(a), Some(b)) => {
            let mut both = a.into_owned();
            for (a, b) in both.iter_mut().zip(b.iter()) {
                *a &= *b;
            }
            Some(Cow::Owned(both))
        }
    }
}

/// The value of an expression in every row.
enum Value<'a> {
    Number(Numbers<'a>, Valid<'a>),
    Text(Texts<'a>, Valid<'a>),
    Time(Times<'a>, Valid<'a>),
    Truth(Truths),
}

impl Value<'_> {
    fn is_valid(&self, row: usize) -> bool {
        match self {
            Self::Number(_, valid) | Self::Text(_, valid) | Self::Time(_, valid) => is_valid(valid, row),
            Self::Truth(truths) => truths.at(row).is_some(),
        }
    }

    fn into_column(self, rows: usize) -> Column {
        match self {
            Self::Number(numbers, valid) => {
                Column::Number { values: numbers.into_values(rows), valid: valid.map(Cow::into_owned) }
            }
            Self::Text(texts, valid) => Column::Text {
                values: (0..rows).map(|row| texts.at(row).to_owned()).collect(),
                valid: valid.map(Cow::into_owned),
            },
            Self::Time(times, valid) => Column::Time {
                values: (0..rows).map(|row| times.at(row)).collect(),
                valid: valid.map(Cow::into_owned),
            },
            Self::Truth(truths) => {
                let any_null = (0..rows).any(|row| truths.at(row).is_none());
                let valid = || (0..rows).map(|row| truths.at(row).is_some()).collect();
                Column::Bool {
                    values: (0..rows).map(|row| truths.at(row) == Some(true)).collect(),
                    valid: any_null.then(valid),
                }
            }
        }
    }
}

/// Evaluates expressions on the columns of one batch.
struct BatchEvaluator<'a> {
    columns: &'a dyn Columns,
    rows: usize,
}

impl<'a> BatchEvaluator<'a> {
    // Each arm calls a function of its own, which keeps the frame of this recursive function small: a high tree takes
    // as many frames.
    fn value(&self, expr: &'a Expr) -> Result<Value<'a>, TypeError> {
        match &expr.kind {
            ExprKind::Number(x) => Ok(Value::Number(Numbers::Constant(*x), None)),
            ExprKind::Decimal(x) => Ok(Value::Number(Numbers::ConstantDecimal(*x), None)),
            ExprKind::Text(text) => Ok(Value::Text(Texts::Constant(text), None)),
            ExprKind::Bool(truth) => Ok(Value::Truth(Truths::Constant(Some(*truth)))),
            ExprKind::Name(name) => self.column(expr, name),
            ExprKind::Negate(a) => match a.kind {
                ExprKind::Decimal(x) => Ok(Value::Number(Numbers::ConstantDecimal(x.negated()), None)),
                _ => self.map(a, |x| -x, |values| values.iter_mut().for_each(|x| *x = -*x)),
            },
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b),
            ExprKind::Call(function, arguments) => self.call(expr, *function, arguments),
            ExprKind::Solve { unknown, low, high, equation } => self.solve(unknown, low, high, equation),
            ExprKind::Compare(op, a, b) => self.compare(*op, a, b),
            ExprKind::And(a, b) => self.logic(a, b, and),
            ExprKind::Or(a, b) => self.logic(a, b, or),
            ExprKind::Not(a) => self.not(a),
            ExprKind::In { operand, list, negated } => self.is_in(operand, list, *negated),
            ExprKind::Like { operand, pattern, negated } => self.like(operand, pattern, *negated),
            ExprKind::IsNull { operand, negated } => self.is_null(operand, *negated),
        }
    }

    fn column(&self, expr: &Expr, name: &str) -> Result<Value<'a>, TypeError> {
        let error = |message: String| TypeError::new(message, expr.span.clone());
        let column =
            self.columns.column(name).ok_or_else(|| error(format!("there is no column `{name}`")))?;
        let lengths = [column.len(), column.valid().map_or(self.rows, <[bool]>::len)];
        if lengths != [self.rows; 2] {
            let message = format!("the column `{name}` does not have {} rows", self.rows);
            return Err(error(message));
        }
        let valid = column.valid().map(Cow::Borrowed);
        Ok(match column {
            Column::Number { values, .. } => Value::Number(Numbers::Borrowed(values), valid),
            Column::Decimal { values, scale, .. } => Value::Number(Numbers::Decimals(values, *scale), valid),
            Column::Text { values, .. } => Value::Text(Texts::Borrowed(values), valid),
            Column::Time { values, .. } => Value::Time(Times::Borrowed(values), valid),
            Column::Bool { values, .. } => {
                let truth = |(row, truth): (usize, &bool)| is_valid(&valid, row).then_some(*truth);
                Value::Truth(Truths::PerRow(values.iter().enumerate().map(truth).collect()))
            }
        })
    }

    fn numbers(&self, expr: &'a Expr) -> Result<(Numbers<'a>, Valid<'a>), TypeError> {
        match self.value(expr)? {
            Value::Number(numbers, valid) => Ok((numbers, valid)),
            Value::Text(Texts::Borrowed(texts), valid) => {
                let number = |text: &String| number_in(text).unwrap_or(f64::NAN);
                Ok((Numbers::Owned(texts.iter().map(number).collect()), valid))
            }
            _ => Err(wrong_type(expr)),
        }
    }

    fn truths(&self, expr: &'a Expr) -> Result<Truths, TypeError> {
        match self.value(expr)? {
            Value::Truth(truths) => Ok(truths),
            _ => Err(wrong_type(expr)),
        }
    }

    /// Applies a function of one number, given for one and for many.
    fn map(
        &self,
        a: &'a Expr,
        one: impl Fn(f64) -> f64,
        many: impl Fn(&mut [f64]),
    ) -> Result<Value<'a>, TypeError> {
        let (numbers, valid) = self.numbers(a)?;
        let numbers = match numbers {
            Numbers::Constant(x) => Numbers::Constant(one(x)),
            Numbers::ConstantDecimal(x) => Numbers::Constant(one(x.to_f64())),
            numbers => {
                let mut values = numbers.into_values(self.rows);
                many(&mut values);
                Numbers::Owned(values)
            }
        };
        Ok(Value::Number(numbers, valid))
    }

    fn binary(&self, op: BinaryOp, a: &'a Expr, b: &'a Expr) -> Result<Value<'a>, TypeError> {
        let a = self.numbers(a)?;
        let b = self.numbers(b)?;
        // One loop for each operator avoids a branch in every row.
        let (numbers, valid) = match op {
            BinaryOp::Add => self.zip(a, b, |a, b| a + b),
            BinaryOp::Sub => self.zip(a, b, |a, b| a - b),
            BinaryOp::Mul => self.zip(a, b, |a, b| a * b),
            BinaryOp::Div => self.zip(a, b, |a, b| a / b),
            BinaryOp::Pow => self.powers(a, b),
        };
        Ok(Value::Number(numbers, valid))
    }

    /// Applies `f` in every row.
    #[inline(never)]
    fn zip(
        &self,
        (a, valid_a): (Numbers<'a>, Valid<'a>),
        (b, valid_b): (Numbers<'a>, Valid<'a>),
        f: impl Fn(f64, f64) -> f64,
    ) -> (Numbers<'a>, Valid<'a>) {
        let numbers = match (a, b) {
            (Numbers::Constant(a), Numbers::Constant(b)) => Numbers::Constant(f(a, b)),
            (Numbers::Constant(a), Numbers::Owned(mut values)) => {
                values.iter_mut().for_each(|b| *b = f(a, *b));
                Numbers::Owned(values)
            }
            (Numbers::Borrowed(a), Numbers::Owned(mut values)) => {
                values.iter_mut().zip(a).for_each(|(b, a)| *b = f(*a, *b));
                Numbers::Owned(values)
            }
            (a, b) => {
                let mut values = a.into_values(self.rows);
                match b {
                    Numbers::Constant(b) => values.iter_mut().for_each(|a| *a = f(*a, b)),
                    b => {
                        let b = b.values(self.rows);
                        values.iter_mut().zip(b.iter()).for_each(|(a, b)| *a = f(*a, *b));
                    }
                }
                Numbers::Owned(values)
            }
        };
        (numbers, both_valid(valid_a, valid_b))
    }

    /// Returns the power in every row.
    fn powers(
        &self,
        (a, valid_a): (Numbers<'a>, Valid<'a>),
        (b, valid_b): (Numbers<'a>, Valid<'a>),
    ) -> (Numbers<'a>, Valid<'a>) {
        let numbers = match (a, b) {
            (Numbers::Constant(a), Numbers::Constant(b)) => Numbers::Constant(scalar::pow(a, b)),
            (a, b) => {
                let mut values = a.into_values(self.rows);
                slices::pow(&mut values, &b.values(self.rows));
                Numbers::Owned(values)
            }
        };
        (numbers, both_valid(valid_a, valid_b))
    }

    fn call(&self, expr: &Expr, function: Function, arguments: &'a [Expr]) -> Result<Value<'a>, TypeError> {
        let Some((first, rest)) = arguments.split_first() else {
            return Err(wrong_type(expr));
        };
        if rest.is_empty() {
            return self.map(first, |x| function.of_one(x), |values| function.of_each(values));
        }
        let mut all = self.numbers(first)?;
        for argument in rest {
            let next = self.numbers(argument)?;
            all = self.zip(all, next, |a, b| function.apply(&[a, b]));
        }
        Ok(Value::Number(all.0, all.1))
    }

    fn solve(
        &self,
        unknown: &str,
        low: &'a Expr,
        high: &'a Expr,
        equation: &Expr,
    ) -> Result<Value<'a>, TypeError> {
        let ((low, valid_low), (high, valid_high)) = (self.numbers(low)?, self.numbers(high)?);
        let ends: Vec<(f64, f64)> = (0..self.rows).map(|row| (low.at(row), high.at(row))).collect();
        let (values, valid) = roots(evaluate, self.columns, unknown, &ends, equation)?;
        let valid = both_valid(both_valid(valid_low, valid_high), valid.map(Cow::Owned));
        Ok(Value::Number(Numbers::Owned(values), valid))
    }

    /// Returns the truth value `truth(row)` for each row.
    fn each(&self, truth: impl FnMut(usize) -> Option<bool>) -> Value<'a> {
        Value::Truth(Truths::PerRow((0..self.rows).map(truth).collect()))
    }

    fn compare(&self, op: CompareOp, a: &'a Expr, b: &'a Expr) -> Result<Value<'a>, TypeError> {
        let (a, b) = of_one_type(self.value(a)?, self.value(b)?);
        Ok(self.each(|row| holds(op, &a, &b, row)))
    }

    fn logic(
        &self,
        a: &'a Expr,
        b: &'a Expr,
        f: fn(Option<bool>, Option<bool>) -> Option<bool>,
    ) -> Result<Value<'a>, TypeError> {
        let (a, b) = (self.truths(a)?, self.truths(b)?);
        Ok(self.each(|row| f(a.at(row), b.at(row))))
    }

    fn not(&self, a: &'a Expr) -> Result<Value<'a>, TypeError> {
        let a = self.truths(a)?;
        Ok(self.each(|row| a.at(row).map(|truth| !truth)))
    }

    /// Evaluates `x in (a, b)` as `x = a or x = b`, in SQL's logic.
    fn is_in(&self, operand: &'a Expr, list: &'a [Expr], negated: bool) -> Result<Value<'a>, TypeError> {
        let mut sought = self.value(operand)?;
        let mut found = vec![Some(false); self.rows];
        for entry in list {
            let value;
            (sought, value) = of_one_type(sought, self.value(entry)?);
            for (row, found) in found.iter_mut().enumerate() {
                *found = or(*found, holds(CompareOp::Eq, &sought, &value, row));
            }
        }
        if negated {
            found.iter_mut().for_each(|truth| *truth = truth.map(|truth| !truth));
        }
        Ok(Value::Truth(Truths::PerRow(found)))
    }

    fn like(&self, a: &'a Expr, pattern: &str, negated: bool) -> Result<Value<'a>, TypeError> {
        let Value::Text(texts, valid) = self.value(a)? else { return Err(wrong_type(a)) };
        let pattern: Vec<char> = pattern.chars().collect();
        Ok(self.each(|row| is_valid(&valid, row).then(|| matches(texts.at(row), &pattern) != negated)))
    }

    fn is_null(&self, a: &'a Expr, negated: bool) -> Result<Value<'a>, TypeError> {
        let a = self.value(a)?;
        Ok(self.each(|row| Some(a.is_valid(row) == negated)))
    }
}

/// Returns two values that are compared; a text beside a date or time is read as one.
fn of_one_type<'a>(a: Value<'a>, b: Value<'a>) -> (Value<'a>, Value<'a>) {
    let time = |value: Value<'a>| match value {
        Value::Text(Texts::Constant(text), valid) => match instant(text) {
            Some(instant) => Value::Time(Times::Constant(instant), valid),
            None => Value::Text(Texts::Constant(text), valid),
        },
        other => other,
    };
    match (&a, &b) {
        (Value::Time(..), Value::Text(..)) => (a, time(b)),
        (Value::Text(..), Value::Time(..)) => (time(a), b),
        _ => (a, b),
    }
}

/// Returns whether a text matches a pattern of SQL's `like`: `%` stands for any text, `_` for any one character.
fn matches(text: &str, pattern: &[char]) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut t, mut p) = (0, 0);
    // The place after the last `%`, and the text that it has taken up to now ends here.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(c) if *c == '_' || *c == text[t] => (t, p) = (t + 1, p + 1),
            _ => {
                let Some((after, taken)) = retry else { return false };
                (p, t) = (after, taken + 1);
                retry = Some((after, taken + 1));
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}

/// Returns whether a comparison holds in a row; null if either side is null.
fn holds(op: CompareOp, a: &Value<'_>, b: &Value<'_>, row: usize) -> Option<bool> {
    if !(a.is_valid(row) && b.is_valid(row)) {
        return None;
    }
    match (a, b) {
        (Value::Number(a, _), Value::Number(b, _)) => Some(op.holds_for(a.compare(b, row))),
        (Value::Text(a, _), Value::Text(b, _)) => Some(op.holds(a.at(row), b.at(row))),
        (Value::Time(a, _), Value::Time(b, _)) => Some(op.holds(&a.at(row), &b.at(row))),
        (Value::Truth(a), Value::Truth(b)) => Some(op.holds(&a.at(row), &b.at(row))),
        // `check` has refused values of different types.
        _ => None,
    }
}

/// Returns the conjunction in three-valued logic: false if either is false, else null if either is null.
fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Returns the disjunction in three-valued logic: true if either is true, else null if either is null.
fn or(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// Returns the error for a wrong type, which `check` should have refused.
fn wrong_type(expr: &Expr) -> TypeError {
    TypeError::new("this has the wrong type", expr.span.clone())
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
