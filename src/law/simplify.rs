//! The constructors of the expression graph, which simplify operations.

use std::collections::HashMap;

use super::derive::Derivatives;
use super::graph::{DataColumn, Equation, Graph, Id, LN_ZERO, Node, Unary, ancestors};
use super::linear_form::LinearForm;
use crate::lanes::{self, scalar};

/// The largest number of exponentials in a sum whose logarithm is simplified.
const MAX_EXPONENTIALS: usize = 4096;

impl Graph {
    /// Returns the root of `residual = 0` in the unknown, between `low` and `high`.
    pub fn root(&mut self, low: Id, high: Id, residual: Id) -> Id {
        let residual = self.cancel_centres(residual);
        let slope = Derivatives::default().of(self, residual, Derivatives::UNKNOWN);
        let equation = Equation { low, high, residual, slope };
        let index = self.equations.iter().position(|known| *known == equation).unwrap_or_else(|| {
            self.equations.push(equation);
            self.equations.len() - 1
        });
        self.intern(Node::Root(index as u32))
    }

    /// Returns a node with the unknown replaced by another node.
    pub fn substitute(&mut self, node: Id, value: Id) -> Id {
        let unknown = self.unknown();
        self.replace(node, unknown, value)
    }

    /// Returns a node with a leaf replaced by another node.
    pub fn replace(&mut self, node: Id, leaf: Id, value: Id) -> Id {
        let mut replaced: HashMap<Id, Id> = HashMap::new();
        for id in ancestors(self, node) {
            let new = |x: Id| replaced.get(&x).copied().unwrap_or(x);
            let changed = self.operands(id).any(|x| new(x) != x);
            let result = match self.node(id) {
                _ if id == leaf => value,
                _ if !changed => continue,
                Node::Add(a, b) => self.add(new(a), new(b)),
                Node::Sub(a, b) => self.sub(new(a), new(b)),
                Node::Mul(a, b) => self.mul(new(a), new(b)),
                Node::Div(a, b) => self.div(new(a), new(b)),
                Node::Min(a, b) => self.min(new(a), new(b)),
                Node::Max(a, b) => self.max(new(a), new(b)),
                Node::LogAddExp(a, b) => self.log_add_exp(new(a), new(b)),
                Node::Less(a, b) => self.less(new(a), new(b)),
                Node::Pow(a, b) => self.intern(Node::Pow(new(a), new(b))),
                Node::Unary(op, a) => self.unary(op, new(a)),
                // The unknown in a root is bound by its equation. Other leaves are not replaced in equations.
                Node::Root(_)
                | Node::Constant(_)
                | Node::Data(_)
                | Node::Centre(_)
                | Node::Coordinate(_)
                | Node::Unknown => continue,
            };
            replaced.insert(id, result);
        }
        replaced.get(&node).copied().unwrap_or(node)
    }

    /// Returns the value of a data column.
    pub fn data(&mut self, definition: DataColumn) -> Id {
        let column = self.column(definition);
        if self.centred.contains(&column) {
            let deviation = self.column(DataColumn::Centred(column));
            let deviation = self.intern(Node::Data(deviation));
            let mean = self.intern(Node::Centre(column));
            return self.add(deviation, mean);
        }
        self.intern(Node::Data(column))
    }

    /// Returns `-a`.
    pub fn neg(&mut self, a: Id) -> Id {
        match self.node(a) {
            Node::Constant(bits) => self.constant(-f64::from_bits(bits)),
            Node::Unary(Unary::Neg, inner) => inner,
            Node::Sub(x, y) => self.sub(y, x),
            _ => self.intern(Node::Unary(Unary::Neg, a)),
        }
    }

    /// Returns `a + b`.
    pub fn add(&mut self, a: Id, b: Id) -> Id {
        if let (Some(x), Some(y)) = (self.as_constant(a), self.as_constant(b)) {
            return self.constant(x + y);
        }
        if self.is_zero(a) {
            return b;
        }
        if self.is_zero(b) {
            return a;
        }
        match (self.node(a), self.node(b)) {
            (_, Node::Unary(Unary::Neg, y)) => self.sub(a, y),
            (Node::Unary(Unary::Neg, x), _) => self.sub(b, x),
            // (x − y) + y and y + (x − y): means of centred columns cancel.
            (Node::Sub(x, y), _) if y == b => x,
            (_, Node::Sub(x, y)) if y == a => x,
            _ => {
                let (a, b) = if a <= b { (a, b) } else { (b, a) };
                self.intern(Node::Add(a, b))
            }
        }
    }

    /// Returns `a - b`.
    pub fn sub(&mut self, a: Id, b: Id) -> Id {
        if a == b {
            return self.constant(0.0);
        }
        if let (Some(x), Some(y)) = (self.as_constant(a), self.as_constant(b)) {
            return self.constant(x - y);
        }
        if self.is_zero(b) {
            return a;
        }
        if self.is_zero(a) {
            return self.neg(b);
        }
        match (self.node(a), self.node(b)) {
            (_, Node::Unary(Unary::Neg, y)) => self.add(a, y),
            (Node::Unary(Unary::Neg, x), _) => {
                let sum = self.add(x, b);
                self.neg(sum)
            }
            (Node::Add(x, y), _) if y == b => x,
            (Node::Add(x, y), _) if x == b => y,
            _ => self.intern(Node::Sub(a, b)),
        }
    }

    /// Returns `a * b`.
    pub fn mul(&mut self, a: Id, b: Id) -> Id {
        if let (Some(x), Some(y)) = (self.as_constant(a), self.as_constant(b)) {
            return self.constant(x * y);
        }
        if self.is_zero(a) || self.is_zero(b) {
            return self.constant(0.0);
        }
        if self.is_one(a) {
            return b;
        }
        if self.is_one(b) {
            return a;
        }
        if self.as_constant(a) == Some(-1.0) {
            return self.neg(b);
        }
        if self.as_constant(b) == Some(-1.0) {
            return self.neg(a);
        }
        match (self.node(a), self.node(b)) {
            (Node::Unary(Unary::Neg, x), Node::Unary(Unary::Neg, y)) => self.mul(x, y),
            (Node::Unary(Unary::Neg, x), _) => {
                let product = self.mul(x, b);
                self.neg(product)
            }
            (_, Node::Unary(Unary::Neg, y)) => {
                let product = self.mul(a, y);
                self.neg(product)
            }
            (Node::Unary(Unary::Exp, x), Node::Unary(Unary::Exp, y)) => {
                let sum = self.add(x, y);
                self.exp(sum)
            }
            // (x·exp(y))·exp(z) becomes x·exp(y + z).
            (Node::Mul(x, y), Node::Unary(Unary::Exp, _)) if self.is_exp(y) => {
                let e = self.mul(y, b);
                self.mul(x, e)
            }
            (Node::Mul(x, y), Node::Unary(Unary::Exp, _)) if self.is_exp(x) => {
                let e = self.mul(x, b);
                self.mul(y, e)
            }
            (Node::Unary(Unary::Exp, _), Node::Mul(x, y)) if self.is_exp(x) || self.is_exp(y) => {
                self.mul(b, a)
            }
            // An existing product of one factor with a factor of the other is reused: the derivatives of a power
            // term share `exp(…)/prediction`.
            (Node::Mul(x, y), _) if self.known_product(b, x).is_some() => self.extend_product(b, x, y),
            (Node::Mul(x, y), _) if self.known_product(b, y).is_some() => self.extend_product(b, y, x),
            (_, Node::Mul(x, y)) if self.known_product(a, x).is_some() => self.extend_product(a, x, y),
            (_, Node::Mul(x, y)) if self.known_product(a, y).is_some() => self.extend_product(a, y, x),
            _ => self.product(a, b),
        }
    }

    /// Returns the node `a·b` without simplification.
    pub fn product(&mut self, a: Id, b: Id) -> Id {
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        self.intern(Node::Mul(a, b))
    }

    /// Returns the node `a·b` if it exists.
    fn known_product(&self, a: Id, b: Id) -> Option<Id> {
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        self.index.get(&Node::Mul(a, b)).copied()
    }

    /// Returns `(a·b)·rest`, given that the node `a·b` exists.
    fn extend_product(&mut self, a: Id, b: Id, rest: Id) -> Id {
        match self.known_product(a, b) {
            Some(product) => self.product(product, rest),
            None => unreachable!("called with a known product"),
        }
    }

    fn is_exp(&self, id: Id) -> bool {
        matches!(self.node(id), Node::Unary(Unary::Exp, _))
    }

    /// Returns `a / b`.
    pub fn div(&mut self, a: Id, b: Id) -> Id {
        if let (Some(x), Some(y)) = (self.as_constant(a), self.as_constant(b)) {
            return self.constant(x / y);
        }
        if self.is_one(b) {
            return a;
        }
        if self.is_zero(a) {
            return a;
        }
        match (self.node(a), self.node(b)) {
            (_, Node::Unary(Unary::Exp, y)) => {
                let negative = self.neg(y);
                let inverse = self.exp(negative);
                self.mul(a, inverse)
            }
            (Node::Unary(Unary::Neg, x), _) => {
                let quotient = self.div(x, b);
                self.neg(quotient)
            }
            (_, Node::Unary(Unary::Neg, y)) => {
                let quotient = self.div(a, y);
                self.neg(quotient)
            }
            // The inverse of a column is computed once per sweep, where a division by zero is reported with its row.
            (_, Node::Data(column)) => {
                let inverse = self.data(DataColumn::Inverse(column));
                self.mul(a, inverse)
            }
            // 1/(1 + exp(z)) is a sigmoid, whose value and derivatives are accurate in both tails.
            (_, Node::Add(x, y)) if self.is_one(x) && self.is_exp(y) => self.sigmoid_quotient(a, y),
            (_, Node::Add(x, y)) if self.is_one(y) && self.is_exp(x) => self.sigmoid_quotient(a, x),
            // exp(x)/(exp(x) + exp(y)) is a sigmoid of x − y.
            (_, Node::Add(x, y)) if self.is_exp(x) && self.is_exp(y) && self.is_exponential_sum(a) => {
                self.exponential_quotient(a, x, y, &mut HashMap::new())
            }
            (_, Node::Mul(x, y)) if self.is_exp(x) => {
                let numerator = self.div(a, x);
                self.div(numerator, y)
            }
            (_, Node::Mul(x, y)) if self.is_exp(y) => {
                let numerator = self.div(a, y);
                self.div(numerator, x)
            }
            _ => self.intern(Node::Div(a, b)),
        }
    }

    /// Returns `numerator/(x + y)` for exponentials `x` and `y` and a numerator with [`Graph::is_exponential_sum`].
    ///
    /// Each term of the numerator is divided by the exponential that gives the smaller expression, and multiplied by a
    /// sigmoid. The result is accurate even where the exponentials leave the range of float64. `known` holds the
    /// quotients of earlier numerators.
    fn exponential_quotient(&mut self, numerator: Id, x: Id, y: Id, known: &mut HashMap<Id, Id>) -> Id {
        if let Some(&known) = known.get(&numerator) {
            return known;
        }
        let quotient = match self.node(numerator) {
            Node::Add(a, b) => {
                let (a, b) =
                    (self.exponential_quotient(a, x, y, known), self.exponential_quotient(b, x, y, known));
                self.add(a, b)
            }
            Node::Sub(a, b) => {
                let (a, b) =
                    (self.exponential_quotient(a, x, y, known), self.exponential_quotient(b, x, y, known));
                self.sub(a, b)
            }
            Node::Unary(Unary::Neg, a) => {
                let share = self.exponential_quotient(a, x, y, known);
                self.neg(share)
            }
            _ => {
                let (Node::Unary(Unary::Exp, u), Node::Unary(Unary::Exp, v)) = (self.node(x), self.node(y))
                else {
                    unreachable!("called with exponentials")
                };
                let (by_x, by_y) = (self.div(numerator, x), self.div(numerator, y));
                let (quotient, difference) = if self.size(by_y) < self.size(by_x) {
                    (by_y, self.sub(v, u))
                } else {
                    (by_x, self.sub(u, v))
                };
                let share = self.unary(Unary::Sigmoid, difference);
                self.mul(quotient, share)
            }
        };
        known.insert(numerator, quotient);
        quotient
    }

    /// Returns the number of nodes on which a node depends.
    fn size(&self, id: Id) -> usize {
        ancestors(self, id).len()
    }

    /// Returns `numerator/(1 + exponential)`.
    fn sigmoid_quotient(&mut self, numerator: Id, exponential: Id) -> Id {
        let Node::Unary(Unary::Exp, z) = self.node(exponential) else {
            unreachable!("called with an exponential")
        };
        let negative = self.neg(z);
        let s = self.unary(Unary::Sigmoid, negative);
        self.mul(numerator, s)
    }

    /// Returns `exp(a)`.
    pub fn exp(&mut self, a: Id) -> Id {
        match self.node(a) {
            Node::Constant(bits) => self.constant(scalar::exp(f64::from_bits(bits))),
            Node::Unary(Unary::Ln, x) => x,
            _ => {
                let a = self.cancel_centres(a);
                self.intern(Node::Unary(Unary::Exp, a))
            }
        }
    }

    /// Expands an exponent that contains the mean of a column, so that the means in `(a + α·m) − α·(u + m)` cancel.
    fn cancel_centres(&mut self, a: Id) -> Id {
        if self.centred.is_empty() {
            return a;
        }
        let form = LinearForm::expand(self, a);
        let mentions_mean =
            |f: &Id| matches!(self.node(*f), Node::Centre(_)) || matches!(self.node(*f), Node::Add(..));
        if form.terms.iter().any(|t| t.factors.iter().any(mentions_mean)) || form.cancelled {
            form.rebuild(self)
        } else {
            a
        }
    }

    /// Returns the natural logarithm of a node.
    pub fn ln(&mut self, a: Id) -> Id {
        self.ln_of(a, &mut HashMap::new())
    }

    /// Returns the natural logarithm of a node. `known` holds the logarithms of earlier factors.
    fn ln_of(&mut self, a: Id, known: &mut HashMap<Id, Id>) -> Id {
        if let Some(&known) = known.get(&a) {
            return known;
        }
        if let Some(sum) = self.log_of_exponentials(a) {
            known.insert(a, sum);
            return sum;
        }
        let log = match self.node(a) {
            Node::Constant(bits) => self.constant(scalar::ln(f64::from_bits(bits))),
            Node::Unary(Unary::Exp, x) => x,
            Node::Unary(Unary::Sigmoid, x) => {
                // log σ(x) = −log(1 + exp(−x)) is finite where σ underflows.
                let zero = self.constant(0.0);
                let negative = self.neg(x);
                let softplus = self.log_add_exp(zero, negative);
                self.neg(softplus)
            }
            // log(k·exp(x)) = log k + x for a positive constant k.
            Node::Mul(x, y) => match (self.as_constant(x), self.node(y), self.node(x)) {
                (Some(k), Node::Unary(Unary::Exp, e), _) if k > 0.0 => {
                    let log_k = self.constant(scalar::ln(k));
                    self.add(log_k, e)
                }
                (_, _, Node::Unary(Unary::Exp, e)) if self.as_constant(y).is_some_and(|k| k > 0.0) => {
                    let log_k = self.ln(y);
                    self.add(log_k, e)
                }
                _ if self.known_positive(x) || self.known_positive(y) => {
                    let (log_x, log_y) = (self.ln_of(x, known), self.ln_of(y, known));
                    self.add(log_x, log_y)
                }
                _ => self.intern(Node::Unary(Unary::Ln, a)),
            },
            Node::Div(x, y) if self.known_positive(x) || self.known_positive(y) => {
                let (log_x, log_y) = (self.ln_of(x, known), self.ln_of(y, known));
                self.sub(log_x, log_y)
            }
            Node::Data(column) => self.data(DataColumn::Unary(Unary::Ln, column)),
            _ => self.intern(Node::Unary(Unary::Ln, a)),
        };
        known.insert(a, log);
        log
    }

    /// Returns the stable form of `log(exp(a) + exp(b) + …)`, where every term is an exponential or a positive constant
    /// and at least one is an exponential.
    fn log_of_exponentials(&mut self, a: Id) -> Option<Id> {
        let Node::Add(..) = self.node(a) else {
            return None;
        };
        let mut terms = Vec::new();
        let mut stack = vec![a];
        while let Some(id) = stack.pop() {
            if terms.len() > MAX_EXPONENTIALS {
                return None;
            }
            match self.node(id) {
                Node::Add(x, y) => stack.extend([x, y]),
                Node::Unary(Unary::Exp, x) => terms.push(x),
                Node::Constant(bits) if f64::from_bits(bits) > 0.0 => {
                    let log = self.constant(scalar::ln(f64::from_bits(bits)));
                    terms.push(log);
                }
                _ => return None,
            }
        }
        terms.sort();
        terms.into_iter().reduce(|sum, term| self.log_add_exp(sum, term))
    }

    /// Returns `ln(exp(a) + exp(b))`.
    pub fn log_add_exp(&mut self, a: Id, b: Id) -> Id {
        let (a, b) = (self.cancel_centres(a), self.cancel_centres(b));
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        self.intern(Node::LogAddExp(a, b))
    }

    /// Returns a function of `a`.
    pub fn unary(&mut self, op: Unary, a: Id) -> Id {
        match op {
            Unary::Neg => return self.neg(a),
            Unary::Exp => return self.exp(a),
            Unary::Ln => return self.ln(a),
            _ => {}
        }
        if let Some(x) = self.as_constant(a) {
            return self.constant(op.apply(x));
        }
        match self.node(a) {
            // A function of data alone is a data column, computed once per sweep.
            Node::Data(column) => self.data(DataColumn::Unary(op, column)),
            _ => self.intern(Node::Unary(op, a)),
        }
    }

    /// Returns the lesser of `a` and `b`.
    pub fn min(&mut self, a: Id, b: Id) -> Id {
        if a == b {
            return a;
        }
        match (self.as_constant(a), self.as_constant(b)) {
            (Some(x), Some(y)) => self.constant(lanes::min(x, y)),
            _ => self.intern(Node::Min(a, b)),
        }
    }

    /// Returns the greater of `a` and `b`.
    pub fn max(&mut self, a: Id, b: Id) -> Id {
        if a == b {
            return a;
        }
        match (self.as_constant(a), self.as_constant(b)) {
            (Some(x), Some(y)) => self.constant(lanes::max(x, y)),
            _ => self.intern(Node::Max(a, b)),
        }
    }

    /// Returns 1 where `a < b`, else 0.
    pub fn less(&mut self, a: Id, b: Id) -> Id {
        match (self.as_constant(a), self.as_constant(b)) {
            (Some(x), Some(y)) => self.constant(f64::from(u8::from(x < y))),
            _ => self.intern(Node::Less(a, b)),
        }
    }

    /// Returns `base^exponent`.
    ///
    /// Small integer constant exponents become products, which are defined for negative bases. A constant exponent of ½
    /// becomes a square root. A larger integer constant exponent of a base that may be negative remains a power. Other
    /// powers become `exp(exponent·log(base))`, where the logarithm of a product is a sum if a factor is known to be
    /// positive.
    pub fn pow(&mut self, base: Id, exponent: Id) -> Id {
        if let Some(e) = self.as_constant(exponent) {
            if let Some(b) = self.as_constant(base) {
                return self.constant(scalar::pow(b, e));
            }
            if e == 0.5 {
                return self.unary(Unary::Sqrt, base);
            }
            if e.fract() == 0.0 && e.abs() <= 16.0 && !self.is_exp(base) {
                return self.whole_power(base, e as i32);
            }
            // Floats beyond 2^53 are even integers: for larger exponents the sign of the base does not matter.
            if e.fract() == 0.0 && e.abs() < 9e15 && !self.known_positive(base) {
                return self.intern(Node::Pow(base, exponent));
            }
        }
        let log = self.ln_base(base, &mut HashMap::new());
        let product = self.mul(exponent, log);
        self.exp(product)
    }

    /// Returns an integer power, by repeated squaring.
    fn whole_power(&mut self, base: Id, exponent: i32) -> Id {
        let one = self.constant(1.0);
        let mut result = one;
        let mut square = base;
        let mut rest = exponent.unsigned_abs();
        while rest > 0 {
            if rest & 1 == 1 {
                result = self.mul(result, square);
            }
            rest >>= 1;
            if rest > 0 {
                square = self.mul(square, square);
            }
        }
        if exponent < 0 { self.div(one, result) } else { result }
    }

    /// Returns the logarithm of the base of a power. `known` holds the logarithms of earlier factors.
    fn ln_base(&mut self, base: Id, known: &mut HashMap<Id, Id>) -> Id {
        if let Some(&known) = known.get(&base) {
            return known;
        }
        let log = match self.node(base) {
            Node::Constant(bits) => {
                let value = f64::from_bits(bits);
                self.constant(if value == 0.0 { LN_ZERO } else { scalar::ln(value) })
            }
            Node::Unary(Unary::Exp, x) => x,
            Node::Mul(a, b) if self.known_positive(a) || self.known_positive(b) => {
                let (x, y) = (self.ln_base(a, known), self.ln_base(b, known));
                self.add(x, y)
            }
            Node::Div(a, b) if self.known_positive(a) || self.known_positive(b) => {
                let (x, y) = (self.ln_base(a, known), self.ln_base(b, known));
                self.sub(x, y)
            }
            _ if self.known_positive(base) => self.ln(base),
            _ => self.unary(Unary::LnBase, base),
        };
        known.insert(base, log);
        log
    }
}
