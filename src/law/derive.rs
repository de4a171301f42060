//! Computes exact symbolic derivatives on the expression graph.
//!
//! Nodes are differentiated in the forward direction with respect to one coordinate, memoised per node and coordinate.
//! Because nodes are hash-consed, the derivatives share common factors with the value and with each other. Derivatives
//! of derivatives are second derivatives, also those of the roots of equations.

use std::collections::HashMap;

use super::graph::{Graph, Id, Node, Unary, ancestors};

/// The derivatives built so far, so that second derivatives reuse the first.
#[derive(Default, Debug)]
pub struct Derivatives {
    known: HashMap<(Id, u32), Id>,
}

impl Derivatives {
    /// The pseudo-coordinate of [`Derivatives::of`] for the derivative with respect to an equation's unknown.
    pub const UNKNOWN: u32 = u32::MAX;

    /// Returns `∂ node / ∂ coordinate`.
    pub fn of(&mut self, graph: &mut Graph, node: Id, coordinate: u32) -> Id {
        // Operands have smaller ids than the nodes that use them, so a loop in id order suffices. Recursion could
        // exhaust the stack on a long formula.
        for id in ancestors(graph, node) {
            if !self.known.contains_key(&(id, coordinate)) {
                let derivative = self.step(graph, id, coordinate);
                self.known.insert((id, coordinate), derivative);
            }
        }
        self.known[&(node, coordinate)]
    }

    /// Returns the derivative of a node, given those of its operands in `known`.
    fn step(&self, g: &mut Graph, id: Id, coordinate: u32) -> Id {
        let known = |x: Id| self.known[&(x, coordinate)];
        match g.node(id) {
            Node::Constant(_) | Node::Data(_) | Node::Centre(_) | Node::Less(..) => g.constant(0.0),
            Node::Unknown => g.constant(f64::from(u8::from(coordinate == Self::UNKNOWN))),
            Node::Root(equation) => {
                // Implicit function theorem: F(y(θ), θ) = 0 gives ∂y/∂θ = −F_θ/F_y at the root. With the root
                // substituted for the unknown, the result can be differentiated like any other node.
                let equation = g.equation(equation);
                let direct = known(equation.residual);
                if g.is_zero(direct) {
                    return direct;
                }
                let one = g.constant(1.0);
                let numerator = g.substitute(direct, id);
                let slope = g.substitute(equation.slope, id);
                let inverse = g.div(one, slope);
                let product = g.mul(numerator, inverse);
                g.neg(product)
            }
            Node::Coordinate(c) => g.constant(f64::from(u8::from(c == coordinate))),
            Node::Add(a, b) => g.add(known(a), known(b)),
            Node::Sub(a, b) => g.sub(known(a), known(b)),
            Node::Mul(a, b) => {
                let left = g.mul(known(a), b);
                let right = g.mul(a, known(b));
                g.add(left, right)
            }
            Node::Div(a, b) => {
                let (da, db) = (known(a), known(b));
                if g.is_zero(da) && g.is_zero(db) {
                    return da;
                }
                let one = g.constant(1.0);
                let inverse = g.div(one, b);
                let shared = g.mul(id, db);
                let numerator = g.sub(da, shared);
                g.mul(numerator, inverse)
            }
            Node::Min(a, b) => {
                let first = g.less(a, b);
                Self::choose(g, first, known(a), known(b))
            }
            Node::Max(a, b) => {
                let first = g.less(b, a);
                Self::choose(g, first, known(a), known(b))
            }
            Node::LogAddExp(a, b) => {
                let (da, db) = (known(a), known(b));
                if g.is_zero(da) && g.is_zero(db) {
                    return da;
                }
                let difference = g.sub(a, b);
                let weight_a = g.unary(Unary::Sigmoid, difference);
                let negative = g.neg(difference);
                let weight_b = g.unary(Unary::Sigmoid, negative);
                let left = g.mul(weight_a, da);
                let right = g.mul(weight_b, db);
                g.add(left, right)
            }
            Node::Pow(a, e) => {
                // The exponent is an integer constant (see `Graph::pow`).
                let da = known(a);
                if g.is_zero(da) {
                    return da;
                }
                let one = g.constant(1.0);
                let less = g.sub(e, one);
                let lower = g.pow(a, less);
                let slope = g.mul(e, lower);
                g.mul(slope, da)
            }
            Node::Unary(op, a) => {
                let da = known(a);
                if g.is_zero(da) {
                    return da;
                }
                let slope = Self::slope(g, op, id, a);
                g.mul(slope, da)
            }
        }
    }

    /// Returns `d op(a) / d a`. `id` is the node `op(a)`, in which some derivatives are simplest.
    fn slope(g: &mut Graph, op: Unary, id: Id, a: Id) -> Id {
        let one = g.constant(1.0);
        match op {
            Unary::Neg => g.constant(-1.0),
            Unary::Exp => id,
            Unary::Ln | Unary::LnBase => g.div(one, a),
            Unary::Sqrt => {
                let half = g.constant(0.5);
                g.div(half, id)
            }
            Unary::Abs => {
                let zero = g.constant(0.0);
                let (positive, negative) = (g.less(zero, a), g.less(a, zero));
                g.sub(positive, negative)
            }
            Unary::Sin => g.unary(Unary::Cos, a),
            Unary::Cos => {
                let sine = g.unary(Unary::Sin, a);
                g.neg(sine)
            }
            Unary::Tan => {
                let square = g.mul(id, id);
                g.add(one, square)
            }
            Unary::Atan => {
                let square = g.mul(a, a);
                let denominator = g.add(one, square);
                g.div(one, denominator)
            }
            Unary::Tanh => {
                let square = g.mul(id, id);
                g.sub(one, square)
            }
            Unary::Sigmoid => {
                // σ(x)·σ(−x), because σ(x)·(1 − σ(x)) cancels where σ is near 1.
                let negative = g.neg(a);
                let complement = g.unary(Unary::Sigmoid, negative);
                g.mul(id, complement)
            }
        }
    }

    /// Returns `first·a + (1 − first)·b`.
    fn choose(g: &mut Graph, first: Id, a: Id, b: Id) -> Id {
        if a == b {
            return a;
        }
        let one = g.constant(1.0);
        let second = g.sub(one, first);
        let left = g.mul(first, a);
        let right = g.mul(second, b);
        g.add(left, right)
    }
}
