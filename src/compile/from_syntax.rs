//! Translates a formula to the expression graph: expressions of data become leaves, everything else nodes.

use crate::formula::{BinaryOp, Expr, ExprKind, Function, names};

use super::coordinate::{CentringPlan, Coordinate, Scale};
use crate::law::graph::{Graph, Id, Recipe, Unary};
use crate::law::{Domain, Law};

/// A law's graph while it is being built.
pub struct Build<'a> {
    law: &'a Law,
    pub graph: Graph,
    /// The data expressions met so far; `Recipe::Source(i)` is the i-th.
    pub sources: Vec<Expr>,
    source_texts: Vec<String>,
    /// The node that each parameter of the law currently stands for.
    pub parameters: Vec<Id>,
    /// The name of the unknown, inside an equation.
    unknown: Option<String>,
}

impl<'a> Build<'a> {
    /// Returns an empty graph for a law, with fixed parameters as constants.
    pub fn new(law: &'a Law) -> Self {
        let mut graph = Graph::default();
        let mut held = 0..;
        let parameters = law
            .parameters
            .iter()
            .map(|p| match p.domain {
                Domain::Held => {
                    let column = graph.column(Recipe::Held(held.next().unwrap_or_default()));
                    graph.centre(column)
                }
                Domain::Fixed(value) => graph.constant(value),
                Domain::Range { .. } => graph.constant(f64::NAN),
            })
            .collect();
        Build { law, graph, sources: Vec::new(), source_texts: Vec::new(), parameters, unknown: None }
    }

    /// Declares the free parameters as coordinates, in the order of the law, without transformation.
    pub fn declare_natural(&mut self) {
        let mut next = 0;
        for (i, parameter) in self.law.parameters.iter().enumerate() {
            if matches!(parameter.domain, Domain::Range { .. }) {
                self.parameters[i] = self.graph.coordinate(next);
                next += 1;
            }
        }
    }

    /// Declares the free parameters as functions of the coordinates, and returns the shift of each coordinate.
    pub fn declare(&mut self, coordinates: &[Coordinate], plan: &CentringPlan) -> Vec<Id> {
        let mut shifts = Vec::with_capacity(coordinates.len());
        for (i, coordinate) in coordinates.iter().enumerate() {
            let shift = plan.shift(&mut self.graph, i);
            shifts.push(shift);
            let free = self.graph.coordinate(i);
            self.parameters[coordinate.parameter] = match coordinate.scale {
                Scale::Linear => {
                    let unit = self.graph.exp(shift);
                    self.graph.mul(free, unit)
                }
                Scale::Log => {
                    let log = self.graph.add(free, shift);
                    self.graph.exp(log)
                }
            };
        }
        shifts
    }

    /// Redeclares the amplitudes as plain factors (coordinate n + i), or as zero.
    pub fn declare_plain(
        &mut self,
        coordinates: &[Coordinate],
        amplitudes: &[usize],
        shifts: &[Id],
        zero: bool,
    ) {
        for &i in amplitudes {
            let factor =
                if zero { self.graph.constant(0.0) } else { self.graph.coordinate(coordinates.len() + i) };
            let unit = self.graph.exp(shifts[i]);
            self.parameters[coordinates[i].parameter] = self.graph.mul(factor, unit);
        }
    }

    /// Returns the node of an expression, with parameters as currently declared.
    pub fn expression(&mut self, expr: &Expr) -> Id {
        let used = names(expr);
        let is_data =
            |name: &&str| self.law.parameter(name).is_none() && self.unknown.as_deref() != Some(name);
        // An equation of data alone is a data expression too and evaluated once per sweep.
        if !used.is_empty() && used.iter().all(is_data) {
            return self.data(expr);
        }
        match &expr.kind {
            ExprKind::Number(value) => self.graph.constant(*value),
            ExprKind::Name(name) if self.unknown.as_ref() == Some(name) => self.graph.unknown(),
            ExprKind::Name(name) => match self.law.parameter(name) {
                Some(i) => self.parameters[i],
                None => self.data(expr),
            },
            ExprKind::Negate(a) => {
                let a = self.expression(a);
                self.graph.neg(a)
            }
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.expression(a), self.expression(b));
                match op {
                    BinaryOp::Add => self.graph.add(a, b),
                    BinaryOp::Sub => self.graph.sub(a, b),
                    BinaryOp::Mul => self.graph.mul(a, b),
                    BinaryOp::Div => self.graph.div(a, b),
                    BinaryOp::Pow => self.graph.pow(a, b),
                }
            }
            ExprKind::Call(function, arguments) => {
                let nodes: Vec<Id> = arguments.iter().map(|a| self.expression(a)).collect();
                self.call(*function, &nodes)
            }
            ExprKind::Solve { unknown, low, high, equation } => {
                let (low, high) = (self.expression(low), self.expression(high));
                self.unknown = Some(unknown.clone());
                let residual = self.expression(equation);
                self.unknown = None;
                self.graph.root(low, high, residual)
            }
            // The parser accepts conditions only where they are allowed.
            _ => self.graph.constant(f64::NAN),
        }
    }

    /// Returns the leaf of a data expression.
    fn data(&mut self, expr: &Expr) -> Id {
        let text = expr.to_string();
        let source = match self.source_texts.iter().position(|t| *t == text) {
            Some(known) => known,
            None => {
                self.source_texts.push(text);
                self.sources.push(expr.clone());
                self.sources.len() - 1
            }
        };
        self.graph.data(Recipe::Source(source as u32))
    }

    /// Returns the node of a function call.
    fn call(&mut self, function: Function, arguments: &[Id]) -> Id {
        let g = &mut self.graph;
        let a = arguments[0];
        let scaled_log = |g: &mut Graph, base: f64| {
            let log = g.ln(a);
            let scale = g.constant(1.0 / base.ln());
            g.mul(log, scale)
        };
        match function {
            Function::Exp => g.exp(a),
            Function::Log => g.ln(a),
            Function::Log10 => scaled_log(g, 10.0),
            Function::Log2 => scaled_log(g, 2.0),
            Function::Sqrt => g.unary(Unary::Sqrt, a),
            Function::Abs => g.unary(Unary::Abs, a),
            Function::Sin => g.unary(Unary::Sin, a),
            Function::Cos => g.unary(Unary::Cos, a),
            Function::Tan => g.unary(Unary::Tan, a),
            Function::Atan => g.unary(Unary::Atan, a),
            Function::Tanh => g.unary(Unary::Tanh, a),
            Function::Sigmoid => g.unary(Unary::Sigmoid, a),
            Function::Min => arguments[1..].iter().fold(a, |least, &b| g.min(least, b)),
            Function::Max => arguments[1..].iter().fold(a, |most, &b| g.max(most, b)),
        }
    }
}
