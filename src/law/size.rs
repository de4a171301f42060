//! Estimates the cost of compiling and fitting a law, before it is compiled.

use std::collections::HashMap;

use crate::formula::{BinaryOp, Expr, ExprKind, Function};

use super::Law;

/// The largest cost of a law. The cost is the sum, over the distinct subexpressions of the right side, of the square of
/// the number of free parameters in the subexpression. The time of compilation and of every step of a fit is
/// proportional to it, because both need all second derivatives.
pub const MAX_WORK: usize = 2_000_000;

/// An operation and the numbers of its operands; equal subexpressions have equal operations.
#[derive(PartialEq, Eq, Hash)]
struct Operation<'a> {
    kind: OperationKind<'a>,
    operands: Vec<usize>,
}

#[derive(PartialEq, Eq, Hash)]
enum OperationKind<'a> {
    Number(u64),
    Name(&'a str),
    Negate,
    Binary(BinaryOp),
    Call(Function),
    Solve(&'a str),
    /// An expression that occurs only in conditions, by its position in the text.
    Condition(usize),
}

/// Distinct subexpressions, numbered in order of first appearance.
struct Distinct<'a> {
    law: &'a Law,
    numbers: HashMap<Operation<'a>, usize>,
    /// The free parameters in each subexpression, one bit per parameter. Laws with more than 64 parameters, of which
    /// some share a bit, are not fitted.
    parameters: Vec<u64>,
    /// The number of binary operations of each subexpression; `min` and `max` of n operands have n − 1.
    steps: Vec<usize>,
}

impl<'a> Distinct<'a> {
    /// Returns the distinct subexpressions of a law's right side.
    fn of(law: &'a Law) -> Self {
        let mut distinct =
            Distinct { law, numbers: HashMap::new(), parameters: Vec::new(), steps: Vec::new() };
        distinct.number(&law.prediction);
        distinct
    }

    /// Returns the number of an expression, which is added with its subexpressions if it is new.
    fn number(&mut self, expr: &'a Expr) -> usize {
        let operands: Vec<usize> = expr.children().into_iter().map(|child| self.number(child)).collect();
        let kind = match &expr.kind {
            ExprKind::Number(x) => OperationKind::Number(x.to_bits()),
            ExprKind::Name(name) => OperationKind::Name(name),
            ExprKind::Negate(_) => OperationKind::Negate,
            ExprKind::Binary(op, ..) => OperationKind::Binary(*op),
            ExprKind::Call(function, _) => OperationKind::Call(*function),
            ExprKind::Solve { unknown, .. } => OperationKind::Solve(unknown),
            _ => OperationKind::Condition(expr.span.start),
        };
        let own = match kind {
            OperationKind::Name(name) => {
                let position =
                    self.law.free_parameters().position(|(i, ..)| self.law.parameters[i].name == name);
                position.map_or(0, |i| 1 << (i % 64))
            }
            _ => 0,
        };
        let parameters = operands.iter().fold(own, |all, &operand| all | self.parameters[operand]);
        let steps = operands.len().max(2) - 1;
        let next = self.parameters.len();
        let number = *self.numbers.entry(Operation { kind, operands }).or_insert(next);
        if number == next {
            self.parameters.push(parameters);
            self.steps.push(steps);
        }
        number
    }
}

impl Law {
    /// Returns the reason to refuse the law, if its cost exceeds [`MAX_WORK`].
    pub(super) fn too_large(&self) -> Option<String> {
        let distinct = Distinct::of(self);
        let work = |parameters: &u64| (parameters.count_ones() as usize).pow(2);
        let total: usize =
            distinct.parameters.iter().zip(&distinct.steps).map(|(p, steps)| steps * work(p)).sum();
        (total > MAX_WORK).then(|| {
            format!(
                "it is too large to be fitted: its {} distinct subexpressions, each times the square of the number of \
                 free parameters in it, come to {total}, and at most {MAX_WORK} are supported; give some of its {} free \
                 parameters a value, as in `where p = 1`, or leave out terms",
                distinct.steps.iter().sum::<usize>(),
                self.free_parameters().count(),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Distinct;
    use crate::testing::typed_law;

    #[test]
    fn equal_subexpressions_count_once() {
        let law = typed_law("y ~ t*t + c*t with t = a*x + b", &["x", "y"]);
        let distinct = Distinct::of(&law);
        // a, x, a*x, b, t; t*t, c, c*t, the sum.
        let counts: Vec<u32> = distinct.parameters.iter().map(|p| p.count_ones()).collect();
        assert_eq!(counts, [1, 0, 1, 1, 2, 2, 1, 3, 3]);
    }
}
