//! The start rule of a parameter about which the catalogue says nothing, from the structure of the formula.
//!
//! A parameter added to (or divided into) data is of the size of the data; one that multiplies data inside a function
//! is of the size of its inverse; an exponent is of order one.

use crate::formula::{BinaryOp, Expr, ExprKind, names, unknowns};
use crate::lanes::scalar;

use crate::compile::{Coordinate, Role};
use crate::compile::{LARGEST_LOG, Scale};
use crate::law::Law;

/// A rule for the start of one coordinate.
#[derive(Clone, Debug, PartialEq)]
pub enum StartRule {
    /// Solved from the data with the other amplitudes.
    Solve,
    /// Drawn as a fraction of the smallest response.
    Floor,
    /// Drawn above the largest response.
    Above,
    /// Set so that as many predictions are too large as are too small: the scale of a term of an equation.
    Balance,
    /// Drawn between two values in natural units; on a logarithmic scale where `log`.
    Between { low: f64, high: f64, log: bool },
    /// Drawn as a fraction of the smallest value of a data expression, from which it is subtracted inside a power.
    Below { expression: Expr },
    /// Drawn over the range of a data expression, or of its inverse.
    DataRange { expression: Expr, inverse: bool },
    /// Drawn between the ends of a data expression: the centre of something.
    Location { expression: Expr },
    /// Drawn as a part of the distance between the ends of a data expression: the width of something.
    Width { expression: Expr },
    /// Drawn of the size of the response, divided by that of a data expression if the parameter multiplies one.
    ResponseScale { expression: Option<Expr> },
}

/// Returns one rule per coordinate.
pub fn start_rules(law: &Law, coordinates: &[Coordinate]) -> Vec<StartRule> {
    let mut rules: Vec<StartRule> = coordinates.iter().map(|c| rule(law, c)).collect();
    // Only one parameter can balance the predictions; others are drawn.
    let balancing = rules.iter_mut().filter(|rule| **rule == StartRule::Balance);
    balancing.skip(1).for_each(|rule| *rule = StartRule::Between { low: 1e-2, high: 1e2, log: true });
    rules
}

/// Returns the rule of one coordinate.
fn rule(law: &Law, coordinate: &Coordinate) -> StartRule {
    let parameter = &law.parameters[coordinate.parameter];
    let log_scale = coordinate.scale == Scale::Log;
    if let Some((low, high)) = parameter.start {
        return StartRule::Between { low, high, log: log_scale || (low > 0.0 && high > 30.0 * low) };
    }
    match coordinate.role {
        Role::Offset if coordinate.low == 0.0 => return StartRule::Floor,
        Role::Offset | Role::Amplitude => return StartRule::Solve,
        Role::LowEnd => return StartRule::Floor,
        Role::HighEnd => return StartRule::Above,
        Role::Piece => {
            return match companion(law, &law.prediction, &parameter.name, Base::None) {
                Some(StartRule::DataRange { expression, inverse: true }) => {
                    StartRule::ResponseScale { expression: Some(expression) }
                }
                Some(rule @ (StartRule::Location { .. } | StartRule::Below { .. })) => rule,
                Some(StartRule::DataRange { expression, .. }) if !log_scale => {
                    StartRule::Location { expression }
                }
                Some(rule) => rule,
                None => StartRule::ResponseScale { expression: None },
            };
        }
        Role::Exponent | Role::Shape => {}
    }
    let finite = |x: f64| x.is_finite();
    let (low, high) = match (coordinate.scale, coordinate.low, coordinate.high) {
        (Scale::Log, low, high) => {
            (scalar::exp(low), if high == LARGEST_LOG { f64::INFINITY } else { scalar::exp(high) })
        }
        (Scale::Linear, low, high) => (low, high),
    };
    if finite(low) && finite(high) && (!log_scale || low > 0.0) {
        return StartRule::Between { low, high, log: log_scale };
    }
    if let Some(rule) = companion(law, &law.prediction, &parameter.name, Base::None) {
        return rule;
    }
    if log_scale && in_equation(&law.prediction, &parameter.name) {
        return StartRule::Balance;
    }
    let (low, high) = if log_scale {
        (1e-2, 1e2)
    } else {
        (if finite(low) { low } else { -1.0 }, if finite(high) { high } else { 1.0 })
    };
    let (low, high) = if low < high { (low, high) } else { (low, low + 1.0) };
    StartRule::Between { low, high, log: log_scale }
}

/// Returns whether a parameter stands in an equation.
fn in_equation(expr: &Expr, name: &str) -> bool {
    match &expr.kind {
        ExprKind::Solve { equation, .. } => names(equation).contains(&name),
        _ => expr.children().into_iter().any(|child| in_equation(child, name)),
    }
}

/// Whether an expression is inside the base of a power, and of which.
#[derive(Clone, Copy, PartialEq)]
enum Base {
    None,
    /// Of an even whole power: what is subtracted there is a centre.
    Even,
    /// Of another power, which requires a positive base.
    Other,
}

/// Returns the rule that follows from the first data expression with which a parameter is combined.
fn companion(law: &Law, expr: &Expr, name: &str, base: Base) -> Option<StartRule> {
    let unknowns = unknowns(&law.prediction);
    let is_data = |e: &Expr| {
        let used = names(e);
        let data = |n: &&str| law.parameter(n).is_none() && !unknowns.contains(n);
        !used.is_empty() && used.iter().all(data)
    };
    let mentions = |e: &Expr| names(e).contains(&name);
    for (place, child) in expr.children().into_iter().enumerate() {
        let base = match &expr.kind {
            ExprKind::Binary(BinaryOp::Pow, _, exponent) if place == 0 => match exponent.kind {
                ExprKind::Number(e) if e % 2.0 == 0.0 => Base::Even,
                _ => Base::Other,
            },
            _ => base,
        };
        if mentions(child)
            && let Some(found) = companion(law, child, name, base)
        {
            return Some(found);
        }
    }
    let ExprKind::Binary(op, a, b) = &expr.kind else { return None };
    let inverse = *op == BinaryOp::Mul;
    if *op == BinaryOp::Pow {
        return None;
    }
    if *op == BinaryOp::Sub && is_data(a) && mentions(b) {
        match base {
            Base::None => {}
            Base::Even => return Some(StartRule::Location { expression: (**a).clone() }),
            Base::Other => return Some(StartRule::Below { expression: (**a).clone() }),
        }
    }
    let rule = |data: &Expr| Some(StartRule::DataRange { expression: data.clone(), inverse });
    if mentions(a) && is_data(b) {
        return rule(b);
    }
    if mentions(b) && is_data(a) {
        return rule(a);
    }
    // A parameter that divides a distance from a centre is a width.
    if *op == BinaryOp::Div
        && mentions(b)
        && let Some(data) = distance(a, &is_data)
    {
        return Some(StartRule::Width { expression: data.clone() });
    }
    None
}

/// Returns the data expression from which something is subtracted, alone or under a power.
fn distance<'a>(expr: &'a Expr, is_data: &dyn Fn(&Expr) -> bool) -> Option<&'a Expr> {
    match &expr.kind {
        ExprKind::Binary(BinaryOp::Sub, a, _) if is_data(a) => Some(a),
        ExprKind::Binary(BinaryOp::Pow, base, _) => distance(base, is_data),
        _ => None,
    }
}
