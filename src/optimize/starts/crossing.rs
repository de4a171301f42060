//! Starts for laws in which terms of unlike powers cross within the data.
//!
//! In `exp(-a*x^d)` and `b + x^d` two terms have the same size where `x^d` is `1/a`, or `b`. Around that place the law
//! changes from one regime to the other, within a range of `ln x` of about `1/d`. Place and sharpness of this
//! transition have many local optima: a step between two observations is another optimum than a step between the next
//! two, and a step that is sharper than the gap between its observations is another optimum than a smooth transition.
//! Hence starts are drawn by place and sharpness.

use crate::compile::{Model, Scale};
use crate::formula::{BinaryOp, Expr, ExprKind};
use crate::lanes::scalar;
use crate::law::Law;
use crate::optimize::tuning::CrossingTuning;
use crate::problem::is_number;

/// A coordinate of the size of a power of data whose exponent is drawn: `a` in `exp(-a*x^d)`, or `b` in `b + x^d`.
#[derive(Debug)]
pub struct Crossing {
    /// The coordinate of the size.
    pub size: usize,
    /// The coordinate of the exponent.
    pub exponent: usize,
    /// The data expression, by its place among the model's.
    pub source: usize,
    /// The exponent's sign: the terms cross where the size equals the data to the power of `sign` times the exponent.
    sign: f64,
}

impl Crossing {
    /// Returns the crossings of a law, found in its expression.
    pub fn find(law: &Law, model: &Model) -> Vec<Crossing> {
        let mut found = Vec::new();
        find(law, model, &law.prediction, &mut found);
        found
    }

    /// Returns the size, in natural units, with which the terms cross at `place`, a logarithm of the data.
    pub fn size_at(&self, place: f64, exponent: f64) -> f64 {
        scalar::exp(self.sign * exponent * place)
    }

    /// Returns a step with its exponent, place and class, from two numbers between 0 and 1. None where the data has no
    /// gap.
    pub fn draw_step(gaps: &Gaps, (u, v): (f64, f64), tuning: &CrossingTuning) -> Option<Step> {
        let [least, most] = tuning.step_exponents;
        let n = gaps.count();
        let gap = ((u * n as f64) as usize).min(n.checked_sub(1)?);
        let exponent = least * scalar::pow(most / least, v);
        Some(Step { exponent, place: gaps.middle(gap), class: gap * tuning.places / n })
    }
}

/// A step at a place of the data.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub exponent: f64,
    pub place: f64,
    /// The class of its place, from 0.
    pub class: usize,
}

/// The gaps between the distinct values of a data expression, on the scale of their logarithms.
#[derive(Debug, Default)]
pub struct Gaps {
    places: Vec<f64>,
    /// The data expression, by its place in the model.
    of: Option<usize>,
}

impl Gaps {
    /// Clears the gaps.
    pub fn clear(&mut self) {
        self.of = None;
    }

    /// Sets the gaps of a data expression's values at `rows`, unless they are set already.
    pub fn set(&mut self, source: usize, values: &[f64], rows: &[u32]) {
        if self.of == Some(source) {
            return;
        }
        self.of = Some(source);
        self.places.clear();
        self.places.extend(rows.iter().map(|&i| scalar::ln(values[i as usize].abs())));
        self.places.retain(|x| is_number(*x));
        self.places.sort_by(f64::total_cmp);
        self.places.dedup();
    }

    fn count(&self) -> usize {
        self.places.len().saturating_sub(1)
    }

    fn middle(&self, gap: usize) -> f64 {
        0.5 * (self.places[gap] + self.places[gap + 1])
    }
}

/// Adds the crossings in an expression and its parts.
fn find(law: &Law, model: &Model, expr: &Expr, found: &mut Vec<Crossing>) {
    let coordinate = |expr: &Expr| {
        let unsigned = if let ExprKind::Negate(inner) = &expr.kind { inner } else { expr };
        let ExprKind::Name(name) = &unsigned.kind else { return None };
        let parameter = law.parameter(name)?;
        model.coordinates.iter().position(|c| c.parameter == parameter)
    };
    let power = |expr: &Expr| {
        let ExprKind::Binary(BinaryOp::Pow, base, exponent) = &expr.kind else { return None };
        let (exponent, sign) = match &exponent.kind {
            ExprKind::Negate(inner) => (coordinate(inner)?, -1.0),
            _ => (coordinate(exponent)?, 1.0),
        };
        let base = base.to_string();
        let source = model.sources.iter().position(|source| source.to_string() == base)?;
        Some((exponent, source, sign))
    };
    if let ExprKind::Binary(op @ (BinaryOp::Mul | BinaryOp::Add), a, b) = &expr.kind {
        for (size, term) in [(a, b), (b, a)] {
            if let (Some(size), Some((exponent, source, sign))) = (coordinate(size), power(term))
                && model.coordinates[size].scale == Scale::Log
                && !model.amplitudes.contains(&size)
            {
                let sign = if *op == BinaryOp::Mul { -sign } else { sign };
                found.push(Crossing { size, exponent, source, sign });
            }
        }
    }
    expr.children().into_iter().for_each(|child| find(law, model, child, found));
}
