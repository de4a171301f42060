//! The value of an expression at one point, with its first and second derivatives with respect to some of its names.
//!
//! Derivatives are propagated forward through the tree, exactly (second-order forward-mode differentiation; Griewank &
//! Walther 2008, chapter 3). Meant for few names and few points: each operation costs the square of the number of names.

use super::ast::{BinaryOp, Expr, ExprKind};
use super::columns::{Column, Table};
use super::evaluate::evaluate;
use super::functions::Function;
use crate::lanes::scalar;

/// A value with its derivatives with respect to n names.
#[derive(Clone, Debug, PartialEq)]
pub struct Jet {
    /// The value.
    pub value: f64,
    /// The first derivatives, n entries.
    pub gradient: Vec<f64>,
    /// The second derivatives, square by rows.
    pub hessian: Vec<f64>,
}

impl Jet {
    /// Returns a number that depends on none of n names.
    #[must_use]
    pub fn constant(value: f64, n: usize) -> Jet {
        Jet { value, gradient: vec![0.0; n], hessian: vec![0.0; n * n] }
    }

    /// Returns the value of the i-th of n names.
    #[must_use]
    pub fn variable(value: f64, i: usize, n: usize) -> Jet {
        let mut jet = Jet::constant(value, n);
        jet.gradient[i] = 1.0;
        jet
    }

    /// Returns whether the value depends on none of the names.
    fn is_constant(&self) -> bool {
        self.gradient.iter().chain(&self.hessian).all(|x| *x == 0.0)
    }

    /// Returns a function of the value, given the function's value and first two derivatives there.
    #[must_use]
    pub fn map(&self, value: f64, first: f64, second: f64) -> Jet {
        let n = self.gradient.len();
        // A derivative of a constant is zero even where the function's own is infinite.
        let times = |factor: f64, x: f64| if x == 0.0 { 0.0 } else { factor * x };
        let hessian = (0..n * n)
            .map(|k| {
                times(first, self.hessian[k]) + times(second, self.gradient[k / n] * self.gradient[k % n])
            })
            .collect();
        Jet { value, gradient: self.gradient.iter().map(|g| times(first, *g)).collect(), hessian }
    }

    /// Returns the sum of multiples of two jets; the value is given.
    fn combine(&self, a: f64, other: &Jet, b: f64, value: f64) -> Jet {
        let add = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| a * x + b * y).collect();
        let gradient = add(&self.gradient, &other.gradient);
        Jet { value, gradient, hessian: add(&self.hessian, &other.hessian) }
    }

    /// Returns the product of two jets.
    fn times(&self, other: &Jet) -> Jet {
        let n = self.gradient.len();
        let mut product = self.combine(other.value, other, self.value, self.value * other.value);
        for (k, entry) in product.hessian.iter_mut().enumerate() {
            let (i, j) = (k / n, k % n);
            *entry += self.gradient[i] * other.gradient[j] + self.gradient[j] * other.gradient[i];
        }
        product
    }

    /// Returns the logarithm.
    #[must_use]
    pub fn logarithm(&self) -> Jet {
        let inverse = 1.0 / self.value;
        self.map(scalar::ln(self.value), inverse, -inverse * inverse)
    }

    /// Returns the exponential.
    #[must_use]
    pub fn exponential(&self) -> Jet {
        let value = scalar::exp(self.value);
        self.map(value, value, value)
    }

    fn power(&self, exponent: &Jet) -> Jet {
        let value = BinaryOp::Pow.apply(self.value, exponent.value);
        let (x, c) = (self.value, exponent.value);
        if exponent.is_constant() {
            let first = c * BinaryOp::Pow.apply(x, c - 1.0);
            let second = c * (c - 1.0) * BinaryOp::Pow.apply(x, c - 2.0);
            let zero = |factor: f64, x: f64| if factor == 0.0 { 0.0 } else { x };
            return self.map(value, zero(c, first), zero(c * (c - 1.0), second));
        }
        if x == 0.0 {
            // 0^c is 0 for every positive c, whatever its derivatives with respect to the base.
            return Jet { value, ..Jet::constant(0.0, self.gradient.len()) };
        }
        Jet { value, ..exponent.times(&self.logarithm()).exponential() }
    }

    fn call(&self, function: Function) -> Jet {
        let x = self.value;
        let value = function.of_one(x);
        let (ln_10, ln_2) = (std::f64::consts::LN_10, std::f64::consts::LN_2);
        let (first, second) = match function {
            Function::Exp => (value, value),
            Function::Log => (1.0 / x, -1.0 / (x * x)),
            Function::Log10 => (1.0 / (x * ln_10), -1.0 / (x * x * ln_10)),
            Function::Log2 => (1.0 / (x * ln_2), -1.0 / (x * x * ln_2)),
            Function::Sqrt => (0.5 / value, -0.25 / (value * x)),
            Function::Abs => (if x < 0.0 { -1.0 } else { 1.0 }, 0.0),
            Function::Sin => (scalar::cos(x), -value),
            Function::Cos => (-scalar::sin(x), -value),
            Function::Tan => (1.0 + value * value, 2.0 * value * (1.0 + value * value)),
            Function::Atan => {
                let first = 1.0 / (1.0 + x * x);
                (first, -2.0 * x * first * first)
            }
            Function::Tanh => {
                let first = 1.0 - value * value;
                (first, -2.0 * value * first)
            }
            Function::Sigmoid => {
                let first = value * (1.0 - value);
                (first, first * (1.0 - 2.0 * value))
            }
            Function::Min | Function::Max => (1.0, 0.0),
        };
        self.map(value, first, second)
    }
}

/// Returns an expression with its derivatives with respect to `n` names; `name` gives the jet of each name in the
/// expression. NaN where the expression has no value, or is not a number.
#[must_use]
pub fn jet(expr: &Expr, n: usize, name: &dyn Fn(&str) -> Option<Jet>) -> Jet {
    let of = |expr: &Expr| jet(expr, n, name);
    match &expr.kind {
        ExprKind::Number(value) => Jet::constant(*value, n),
        ExprKind::Name(text) => name(text).unwrap_or_else(|| Jet::constant(f64::NAN, n)),
        ExprKind::Negate(a) => {
            let a = of(a);
            a.map(-a.value, -1.0, 0.0)
        }
        ExprKind::Binary(op, a, b) => {
            let (a, b) = (of(a), of(b));
            let value = op.apply(a.value, b.value);
            match op {
                BinaryOp::Add => a.combine(1.0, &b, 1.0, value),
                BinaryOp::Sub => a.combine(1.0, &b, -1.0, value),
                BinaryOp::Mul => Jet { value, ..a.times(&b) },
                BinaryOp::Div => {
                    let inverse = 1.0 / b.value;
                    let inverse = b.map(inverse, -inverse * inverse, 2.0 * inverse.powi(3));
                    Jet { value, ..a.times(&inverse) }
                }
                BinaryOp::Pow => a.power(&b),
            }
        }
        ExprKind::Call(function, arguments) => {
            let jets = arguments.iter().map(of);
            let better = |a: &Jet, b: &Jet| match function {
                Function::Min => b.value < a.value,
                _ => b.value > a.value,
            };
            let chosen = jets.reduce(|a, b| if better(&a, &b) { b } else { a });
            chosen.map_or_else(|| Jet::constant(f64::NAN, n), |jet| jet.call(*function))
        }
        ExprKind::Solve { unknown, equation, .. } => {
            let value = value_at(expr, name);
            let equation = jet(equation, n + 1, &|text| {
                if text == unknown {
                    return Some(Jet::variable(value, n, n + 1));
                }
                name(text).map(|jet| jet.widened())
            });
            equation.root(value)
        }
        // Conditions have no derivatives.
        _ => Jet::constant(f64::NAN, n),
    }
}

/// Returns the value of an expression at the values of its names.
fn value_at(expr: &Expr, name: &dyn Fn(&str) -> Option<Jet>) -> f64 {
    let mut table = Table::new(1);
    for text in super::ast::names(expr) {
        table.push_numbers(text, vec![name(text).map_or(f64::NAN, |jet| jet.value)]);
    }
    match evaluate(expr, &table) {
        Ok(Column::Number { values, .. }) => values.first().copied().unwrap_or(f64::NAN),
        _ => f64::NAN,
    }
}

impl Jet {
    /// Returns the jet with one more name, on which it does not depend.
    fn widened(&self) -> Jet {
        let n = self.gradient.len();
        let mut wide = Jet::constant(self.value, n + 1);
        wide.gradient[..n].copy_from_slice(&self.gradient);
        for (i, row) in self.hessian.chunks_exact(n.max(1)).enumerate() {
            wide.hessian[i * (n + 1)..i * (n + 1) + n].copy_from_slice(row);
        }
        wide
    }

    /// Returns the root of an equation `F(θ, y) = 0`, given `F` at the root with `y` as its last name: by the implicit
    /// function theorem `y_i = −F_i/F_y` and `y_ij = −(F_ij + F_iy·y_j + F_jy·y_i + F_yy·y_i·y_j)/F_y`.
    fn root(&self, value: f64) -> Jet {
        let width = self.gradient.len();
        let n = width - 1;
        let slope = self.gradient[n];
        let gradient: Vec<f64> = self.gradient[..n].iter().map(|f| -f / slope).collect();
        let second = |i: usize, j: usize| self.hessian[i * width + j];
        let entry = |k: usize| {
            let (i, j) = (k / n, k % n);
            let (a, b) = (gradient[i], gradient[j]);
            -(second(i, j) + second(i, n) * b + second(j, n) * a + second(n, n) * a * b) / slope
        };
        Jet { value, hessian: (0..n * n).map(entry).collect(), gradient }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_expression;
    use super::*;

    /// Values and derivatives agree with differences of values and of derivatives.
    #[test]
    fn derivatives_agree_with_differences() {
        let at = [0.7, 1.9, 0.4];
        let names = ["a", "b", "c"];
        let mut checked = 0;
        for text in [
            "a + b*c - a/c",
            "a^2 + b^-0.5 + a^b + (a*c)^(b - c)",
            "exp(-a*b) + log(b) + log10(a) + log2(c) + sqrt(a + c)",
            "sin(a)*cos(b) + tan(c) + atan(a*b) + tanh(c) + sigmoid(a - b)",
            "min(a, b, c) + max(a*b, c) + abs(a - b)",
            "solve(y, 0, 10, y + a*log(y) = b + c)",
            "-(a - 2*b)^3",
        ] {
            let expr = parse_expression(text).unwrap();
            let jet_at = |point: &[f64]| {
                jet(&expr, 3, &|name| {
                    let i = names.iter().position(|n| *n == name)?;
                    Some(Jet::variable(point[i], i, 3))
                })
            };
            let found = jet_at(&at);
            let h = 1e-5;
            for i in 0..3 {
                let moved = |by: f64| {
                    let mut point = at;
                    point[i] += by;
                    jet_at(&point)
                };
                let (above, below) = (moved(h), moved(-h));
                let close = |found: f64, above: f64, below: f64| {
                    let difference = (above - below) / (2.0 * h);
                    assert!(
                        (found - difference).abs() < 1e-6 * (1.0 + found.abs()),
                        "{text} {i}: {found} {difference}"
                    );
                };
                close(found.gradient[i], above.value, below.value);
                (0..3).for_each(|j| close(found.hessian[i * 3 + j], above.gradient[j], below.gradient[j]));
                checked += 4;
            }
        }
        assert_eq!(checked, 84);
    }

    #[test]
    fn powers_of_zero_have_finite_derivatives() {
        let expr = parse_expression("a^2 + a^b").unwrap();
        let point = |name: &str| {
            Some(Jet::variable(if name == "a" { 0.0 } else { 0.5 }, usize::from(name != "a"), 2))
        };
        let found = jet(&expr, 2, &point);
        assert_eq!((found.value, &found.gradient[..]), (0.0, &[0.0, 0.0][..]));
    }
}
