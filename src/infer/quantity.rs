//! Quantities derived from a law's parameters: their value, their derivatives, and their interval.
//!
//! A quantity is an expression of the parameters. Its interval is made on its own scale, the logarithm where the expression
//! is positive for all parameters in their domains. It comes from the replicates, whose values of the quantity are as good
//! as those of a parameter, or from the covariance of the parameters by the delta method.

use crate::compile::Scale;
use crate::formula::{BinaryOp, Column, Expr, ExprKind, Function, Jet, Table, evaluate, jet};
use crate::law::{Domain, Law};

use super::interval::IntervalMethod;

/// A function of a law's parameters whose interval is sought.
#[derive(Clone, Debug)]
pub struct Quantity {
    /// The name under which the quantity is reported.
    pub name: String,
    /// The expression; its names are parameters of the law.
    expr: Expr,
    /// The scale of the quantity's interval.
    pub scale: Scale,
}

/// The estimate of a quantity and its uncertainty, in the quantity's own units.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantityEstimate {
    /// The quantity at the optimum.
    pub estimate: f64,
    /// The standard error: the standard deviation of the replicates, or from the covariance of the parameters.
    pub std_error: Option<f64>,
    /// Lower and upper end of the confidence interval.
    pub interval: Option<(f64, f64)>,
    /// How the interval was made; none without one.
    pub method: Option<IntervalMethod>,
}

impl Quantity {
    /// Returns a quantity of a law, given by an expression of its parameters.
    #[must_use]
    pub fn new(name: &str, expr: Expr, law: &Law) -> Quantity {
        let is_positive = |text: &str| {
            let domain = law.parameters.iter().find(|p| p.name == text).map(|p| p.domain);
            match domain {
                Some(Domain::Range { low, .. }) => low >= 0.0,
                Some(Domain::Fixed(value)) => value > 0.0,
                Some(Domain::Held) | None => false,
            }
        };
        let scale = if is_positive_expr(&expr, &is_positive) { Scale::Log } else { Scale::Linear };
        Quantity { name: name.to_string(), expr, scale }
    }

    /// Returns the quantity for each row of parameters in natural units, `law.parameters.len()` values per row.
    #[must_use]
    pub fn values(&self, law: &Law, rows: &[f64]) -> Vec<f64> {
        let width = law.parameters.len();
        let n = rows.len() / width.max(1);
        let mut table = Table::new(n);
        for (i, parameter) in law.parameters.iter().enumerate() {
            table.push_numbers(&parameter.name, rows.iter().skip(i).step_by(width).copied().collect());
        }
        match evaluate(&self.expr, &table) {
            Ok(Column::Number { values, .. }) if values.len() == n => values,
            Ok(Column::Number { values, .. }) => vec![values.first().copied().unwrap_or(f64::NAN); n],
            _ => vec![f64::NAN; n],
        }
    }

    /// Returns the quantity on its scale, with the derivatives with respect to the law's parameters in natural units.
    #[must_use]
    pub fn jet(&self, law: &Law, natural: &[f64]) -> Jet {
        let n = natural.len();
        let value = jet(&self.expr, n, &|name| {
            let i = law.parameter(name)?;
            Some(Jet::variable(natural[i], i, n))
        });
        if self.scale == Scale::Log { value.logarithm() } else { value }
    }
}

/// Returns whether an expression is positive wherever its names are, of those that `name` says to be positive.
fn is_positive_expr(expr: &Expr, name: &dyn Fn(&str) -> bool) -> bool {
    let of = |expr: &Expr| is_positive_expr(expr, name);
    match &expr.kind {
        ExprKind::Number(value) => *value > 0.0,
        ExprKind::Name(text) => name(text),
        ExprKind::Binary(BinaryOp::Add | BinaryOp::Mul | BinaryOp::Div, a, b) => of(a) && of(b),
        ExprKind::Binary(BinaryOp::Pow, base, _) => of(base),
        ExprKind::Call(Function::Exp | Function::Sigmoid, _) => true,
        ExprKind::Call(Function::Sqrt, arguments) => arguments.iter().all(of),
        ExprKind::Call(Function::Min, arguments) => arguments.iter().all(of),
        ExprKind::Call(Function::Max, arguments) => arguments.iter().any(of),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::formula::parse_expression;
    use crate::testing::catalogue_law;

    use super::*;

    fn quantity(text: &str) -> (Quantity, Law) {
        let law = catalogue_law("chinchilla");
        (Quantity::new("q", parse_expression(text).unwrap(), &law), law)
    }

    #[test]
    fn positive_quantities_have_a_logarithm() {
        for (text, scale) in [
            ("beta/(alpha + beta)", Scale::Log),
            ("E + A/70e9^alpha", Scale::Log),
            ("exp(-alpha)", Scale::Log),
            ("alpha - beta", Scale::Linear),
            ("log(A)", Scale::Linear),
            ("-E", Scale::Linear),
        ] {
            assert_eq!(quantity(text).0.scale, scale, "{text}");
        }
    }

    /// d log(beta/(alpha + beta)) = d beta·(1/beta − 1/(alpha + beta)) − d alpha/(alpha + beta).
    #[test]
    fn derivatives_are_on_the_scale() {
        let (a, law) = quantity("beta/(alpha + beta)");
        let natural: Vec<f64> =
            law.parameters.iter().map(|p| if p.name == "alpha" { 0.3 } else { 0.5 }).collect();
        let jet = a.jet(&law, &natural);
        let of = |name: &str| jet.gradient[law.parameter(name).unwrap()];
        assert!((jet.value - (0.5f64 / 0.8).ln()).abs() < 1e-15);
        assert!((of("alpha") + 1.0 / 0.8).abs() < 1e-12 && (of("beta") - (2.0 - 1.0 / 0.8)).abs() < 1e-12);
        assert_eq!(of("E"), 0.0);
        assert_eq!(a.values(&law, &natural), [0.5 / 0.8]);
    }
}
