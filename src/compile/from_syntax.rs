//! Translates a formula to the expression graph: expressions of data become leaves, everything else nodes.

use std::collections::HashMap;

use crate::formula::{BinaryOp, Expr, ExprKind, Function};

use super::coordinate::{CentringPlan, Coordinate, Scale};
use crate::lanes::scalar;
use crate::law::graph::{DataColumn, Graph, Id, Unary};
use crate::law::{Domain, Law};

/// A law's graph while it is being built.
pub struct Build<'a> {
    law: &'a Law,
    pub graph: Graph,
    /// The data expressions met so far; `DataColumn::Source(i)` is the i-th.
    pub sources: Vec<Expr>,
    source_numbers: HashMap<String, usize>,
    /// The node that each parameter of the law currently stands for.
    pub parameters: Vec<Id>,
    /// The name of the unknown, inside an equation.
    unknown: Option<String>,
}

/// What the names in an expression stand for.
#[derive(Clone, Copy, Default)]
struct Uses {
    data: bool,
    parameters: bool,
    /// The unknown of the equation that the expression stands in.
    unknown: bool,
}

impl Uses {
    fn or(self, other: Uses) -> Uses {
        Uses {
            data: self.data | other.data,
            parameters: self.parameters | other.parameters,
            unknown: self.unknown | other.unknown,
        }
    }

    fn is_data_alone(&self) -> bool {
        self.data && !self.parameters && !self.unknown
    }
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
                    let column = graph.column(DataColumn::Held(held.next().unwrap_or_default()));
                    graph.centre(column)
                }
                Domain::Fixed(value) => graph.constant(value),
                Domain::Range { .. } => graph.constant(f64::NAN),
            })
            .collect();
        Build { law, graph, sources: Vec::new(), source_numbers: HashMap::new(), parameters, unknown: None }
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
        let mut uses = HashMap::new();
        self.note_uses(expr, None, &mut uses);
        self.node(expr, &uses)
    }

    /// Records what the names of an expression, and of everything in it, stand for; `unknown` is that of the equation it stands in.
    fn note_uses(&self, expr: &Expr, unknown: Option<&str>, noted: &mut HashMap<*const Expr, Uses>) -> Uses {
        let uses = match &expr.kind {
            ExprKind::Name(name) if unknown == Some(name) => Uses { unknown: true, ..Uses::default() },
            ExprKind::Name(name) if self.law.parameter(name).is_some() => {
                Uses { parameters: true, ..Uses::default() }
            }
            ExprKind::Name(_) => Uses { data: true, ..Uses::default() },
            ExprKind::Solve { unknown: own, low, high, equation } => {
                let ends = self.note_uses(low, unknown, noted).or(self.note_uses(high, unknown, noted));
                let equation = self.note_uses(equation, Some(own), noted);
                ends.or(Uses { unknown: false, ..equation })
            }
            _ => {
                let children = expr.children().into_iter();
                children.fold(Uses::default(), |uses, child| uses.or(self.note_uses(child, unknown, noted)))
            }
        };
        noted.insert(std::ptr::from_ref(expr), uses);
        uses
    }

    fn node(&mut self, expr: &Expr, uses: &HashMap<*const Expr, Uses>) -> Id {
        // An equation of data alone is a data expression too and evaluated once per sweep.
        if uses.get(&std::ptr::from_ref(expr)).is_some_and(Uses::is_data_alone) {
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
                let a = self.node(a, uses);
                self.graph.neg(a)
            }
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.node(a, uses), self.node(b, uses));
                match op {
                    BinaryOp::Add => self.graph.add(a, b),
                    BinaryOp::Sub => self.graph.sub(a, b),
                    BinaryOp::Mul => self.graph.mul(a, b),
                    BinaryOp::Div => self.graph.div(a, b),
                    BinaryOp::Pow => self.graph.pow(a, b),
                }
            }
            ExprKind::Call(function, arguments) => {
                let nodes: Vec<Id> = arguments.iter().map(|a| self.node(a, uses)).collect();
                self.call(*function, &nodes)
            }
            ExprKind::Solve { unknown, low, high, equation } => {
                let (low, high) = (self.node(low, uses), self.node(high, uses));
                self.unknown = Some(unknown.clone());
                let residual = self.node(equation, uses);
                self.unknown = None;
                self.graph.root(low, high, residual)
            }
            // The parser accepts conditions only where they are allowed.
            _ => self.graph.constant(f64::NAN),
        }
    }

    /// Returns the leaf of a data expression.
    fn data(&mut self, expr: &Expr) -> Id {
        let next = self.sources.len();
        let source = *self.source_numbers.entry(expr.to_string()).or_insert(next);
        if source == next {
            self.sources.push(expr.clone());
        }
        self.graph.data(DataColumn::Source(source as u32))
    }

    /// Returns the node of a function call.
    fn call(&mut self, function: Function, arguments: &[Id]) -> Id {
        let g = &mut self.graph;
        let a = arguments[0];
        let scaled_log = |g: &mut Graph, base: f64| {
            let log = g.ln(a);
            let scale = g.constant(1.0 / scalar::ln(base));
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
