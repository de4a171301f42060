//! Where starts are drawn for a parameter that the catalogue says nothing about.
//!
//! The formula's structure gives the scale: a parameter added to (or divided into) data is of the size of
//! that data, one that multiplies data inside a function is of the size of its inverse, an exponent is of
//! order one.

use crate::formula::{BinaryOp, Expr, ExprKind, names};

use super::coordinate::{Coordinate, Role};
use super::{LARGEST_LOG, Law, Scale};

/// How to draw a start for one coordinate.
#[derive(Clone, Debug, PartialEq)]
pub enum StartRule {
    /// Solved from the data with the other amplitudes.
    Solve,
    /// A fraction of the smallest response.
    Floor,
    /// Between two values in natural units; on a logarithmic scale where `log`.
    Between { low: f64, high: f64, log: bool },
    /// A fraction of a data expression's smallest value: it is subtracted inside a power.
    Below { expression: Expr },
    /// Over the range of a data expression, or of its inverse.
    DataRange { expression: Expr, inverse: bool },
}

/// One rule per coordinate.
pub fn start_rules(law: &Law, coordinates: &[Coordinate]) -> Vec<StartRule> {
    coordinates.iter().map(|c| rule(law, c)).collect()
}

fn rule(law: &Law, coordinate: &Coordinate) -> StartRule {
    let parameter = &law.parameters[coordinate.parameter];
    let log_scale = coordinate.scale == Scale::Log;
    if let Some((low, high)) = parameter.start {
        return StartRule::Between { low, high, log: log_scale || (low > 0.0 && high > 30.0 * low) };
    }
    match coordinate.role {
        Role::Offset if coordinate.low == 0.0 => return StartRule::Floor,
        Role::Offset | Role::Amplitude => return StartRule::Solve,
        Role::Exponent | Role::Shape => {}
    }
    let finite = |x: f64| x.is_finite();
    let (low, high) = match (coordinate.scale, coordinate.low, coordinate.high) {
        (Scale::Log, low, high) => (low.exp(), if high == LARGEST_LOG { f64::INFINITY } else { high.exp() }),
        (Scale::Linear, low, high) => (low, high),
    };
    if finite(low) && finite(high) && (!log_scale || low > 0.0) {
        return StartRule::Between { low, high, log: log_scale };
    }
    if let Some(rule) = companion(law, &law.prediction, &parameter.name, false) {
        return rule;
    }
    let (low, high) = if log_scale {
        (1e-2, 1e2)
    } else {
        (if finite(low) { low } else { -1.0 }, if finite(high) { high } else { 1.0 })
    };
    let (low, high) = if low < high { (low, high) } else { (low, low + 1.0) };
    StartRule::Between { low, high, log: log_scale }
}

/// The rule by the data expression that a parameter meets first; `base`: inside the base of a power.
fn companion(law: &Law, expr: &Expr, name: &str, base: bool) -> Option<StartRule> {
    let is_data = |e: &Expr| {
        let used = names(e);
        !used.is_empty() && used.iter().all(|n| law.parameter(n).is_none())
    };
    let mentions = |e: &Expr| names(e).contains(&name);
    let is_power = matches!(expr.kind, ExprKind::Binary(BinaryOp::Pow, ..));
    for (place, child) in expr.children().into_iter().enumerate() {
        let base = base || (is_power && place == 0);
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
    if base && *op == BinaryOp::Sub && is_data(a) && mentions(b) {
        return Some(StartRule::Below { expression: (**a).clone() });
    }
    let rule = |data: &Expr| Some(StartRule::DataRange { expression: data.clone(), inverse });
    if mentions(a) && is_data(b) {
        return rule(b);
    }
    if mentions(b) && is_data(a) {
        return rule(a);
    }
    None
}
