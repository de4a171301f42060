//! Chooses the solver's coordinates from the structure of a law: the role of each parameter, its scale, the centring of
//! logarithms, and its metric.

use std::collections::HashMap;

use crate::formula::{BinaryOp, Expr, ExprKind, Function, names};

use super::coordinate::{CentringPlan, Coordinate, LARGEST_LOG, Metric, Reference, Role, Scale, ShiftTerm};
use super::from_syntax::Build;
use crate::lanes::scalar;
use crate::law::Law;
use crate::law::derive::Derivatives;
use crate::law::graph::ancestors;
use crate::law::graph::{DataColumn, Graph, Id, Node, Unary};
use crate::law::linear_form::LinearForm;

/// The ratio of the ends of a finite positive domain above which the coordinate is logarithmic.
const WIDE_RATIO: f64 = 100.0;

/// Returns the free parameters as coordinates, with default metrics.
pub fn choose_coordinates(law: &Law) -> Vec<Coordinate> {
    let roles = roles(law);
    law.free_parameters()
        .zip(roles)
        .map(|((parameter, low, high), role)| {
            let log = low >= 0.0
                && !matches!(role, Role::Offset | Role::LowEnd | Role::HighEnd | Role::Exponent)
                && (high == f64::INFINITY || high > WIDE_RATIO * low);
            // A range such as [0, 2] of something that is not an exponent stays linear: 0 is inside.
            let log = log && (low > 0.0 || high == f64::INFINITY);
            let (scale, low, high) = if log {
                (Scale::Log, scalar::ln(low), scalar::ln(high).min(LARGEST_LOG))
            } else {
                (Scale::Linear, low, high)
            };
            let metric = if log { Metric::Unit } else { Metric::Column };
            Coordinate { parameter, scale, low, high, metric, role }
        })
        .collect()
}

/// Returns the role of each free parameter.
fn roles(law: &Law) -> Vec<Role> {
    let mut build = Build::new(law);
    build.declare_natural();
    let value = build.expression(&law.prediction);
    let free: Vec<usize> = law.free_parameters().map(|(i, ..)| i).collect();
    let mut derivatives = Derivatives::default();
    let cornered = cornered(&build.graph, value);
    let mut amplitudes: Vec<u32> = Vec::new();
    let mut pieces: Vec<u32> = Vec::new();
    let mut roles = Vec::with_capacity(free.len());
    for (i, &parameter) in free.iter().enumerate() {
        let slope = derivatives.of(&mut build.graph, value, i as u32);
        let linear = |g: &mut Graph, d: &mut Derivatives, j: u32| {
            let second = d.of(g, slope, j);
            g.is_zero(second)
        };
        let is_amplitude = linear(&mut build.graph, &mut derivatives, i as u32)
            && amplitudes.iter().chain(&pieces).all(|&j| linear(&mut build.graph, &mut derivatives, j));
        // For a function with corners, derivatives do not tell whether it is linear.
        roles.push(if cornered.contains(&(i as u32)) && is_amplitude && !build.graph.is_zero(slope) {
            pieces.push(i as u32);
            Role::Piece
        } else if build.graph.as_constant(slope).is_some_and(|c| c != 0.0) {
            amplitudes.push(i as u32);
            Role::Offset
        } else if is_amplitude && !build.graph.is_zero(slope) {
            amplitudes.push(i as u32);
            Role::Amplitude
        } else if let Some(role) = end_of_prediction(&law.prediction, &law.parameters[parameter].name) {
            role
        } else if scales_power(law, &law.prediction, &law.parameters[parameter].name) {
            // When the exponent changes, a·x^d changes by orders of magnitude, and `a` must compensate.
            Role::Shape
        } else if in_exponent(&law.prediction, &law.parameters[parameter].name, false) {
            Role::Exponent
        } else {
            Role::Shape
        });
    }
    roles
}

/// Returns the coordinates that stand under `min`, `max` or `abs`.
pub fn cornered(graph: &Graph, value: Id) -> Vec<u32> {
    let has_corner = |id: Id| {
        matches!(graph.node(id), Node::Min(..) | Node::Max(..) | Node::Less(..) | Node::Unary(Unary::Abs, _))
    };
    // Users come after their operands: downward, a node is visited when all that is above it has been.
    let nodes = ancestors(graph, value);
    let mut is_under = vec![false; value.index() + 1];
    let mut found: Vec<u32> = Vec::new();
    for &id in nodes.iter().rev() {
        if is_under[id.index()] || has_corner(id) {
            graph.operands(id).for_each(|operand| is_under[operand.index()] = true);
        }
        match graph.node(id) {
            Node::Coordinate(i) if is_under[id.index()] => found.push(i),
            _ => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Returns the role of a parameter that is an end of the bracket in which the prediction is solved.
fn end_of_prediction(prediction: &Expr, name: &str) -> Option<Role> {
    let ExprKind::Solve { low, high, .. } = &prediction.kind else { return None };
    let is = |end: &Expr| matches!(&end.kind, ExprKind::Name(n) if n == name);
    if is(low) {
        Some(Role::LowEnd)
    } else if is(high) {
        Some(Role::HighEnd)
    } else {
        None
    }
}

/// Returns whether a parameter multiplies a power whose exponent is another parameter.
fn scales_power(law: &Law, expr: &Expr, name: &str) -> bool {
    let is_own = |expr: &Expr| {
        let unsigned = if let ExprKind::Negate(inner) = &expr.kind { inner } else { expr };
        matches!(&unsigned.kind, ExprKind::Name(n) if n == name)
    };
    let is_power = |expr: &Expr| {
        let ExprKind::Binary(BinaryOp::Pow, _, exponent) = &expr.kind else { return false };
        names(exponent).iter().any(|n| law.parameter(n).is_some())
    };
    let here = match &expr.kind {
        ExprKind::Binary(BinaryOp::Mul, a, b) => is_own(a) && is_power(b) || is_own(b) && is_power(a),
        _ => false,
    };
    here || expr.children().into_iter().any(|child| scales_power(law, child, name))
}

/// Returns whether a parameter occurs in an exponent or in the argument of a function, other than as a divisor.
fn in_exponent(expr: &Expr, name: &str, inside: bool) -> bool {
    match &expr.kind {
        ExprKind::Name(n) => inside && n == name,
        ExprKind::Negate(a) => in_exponent(a, name, inside),
        ExprKind::Binary(BinaryOp::Pow, base, exponent) => {
            in_exponent(base, name, inside) || in_exponent(exponent, name, true)
        }
        // In exp(−x/R) the divisor R is a characteristic scale, not an exponent.
        ExprKind::Binary(BinaryOp::Div, a, b) => in_exponent(a, name, inside) || in_exponent(b, name, false),
        // a·log(x) is the logarithm of x^a.
        ExprKind::Binary(BinaryOp::Mul, a, b) if is_logarithm(a) || is_logarithm(b) => {
            in_exponent(a, name, inside || is_logarithm(b)) || in_exponent(b, name, inside || is_logarithm(a))
        }
        ExprKind::Binary(_, a, b) => in_exponent(a, name, inside) || in_exponent(b, name, inside),
        ExprKind::Solve { low, high, equation, .. } => {
            [low, high, equation].into_iter().any(|e| in_exponent(e, name, inside))
        }
        ExprKind::Call(function, arguments) => {
            let nonlinear =
                !matches!(function, Function::Abs | Function::Min | Function::Max | Function::Sqrt);
            arguments.iter().any(|a| in_exponent(a, name, (inside || nonlinear) && !is_logarithm(expr)))
        }
        _ => false,
    }
}

/// Returns whether an expression is a logarithm.
fn is_logarithm(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Call(Function::Log | Function::Log10 | Function::Log2, _))
}

/// Finds the power terms `exp(a − alpha·log N)` and `b·exp(−alpha·log N)`, and plans to centre their logarithms.
pub fn centring_plan(build: &mut Build, law: &Law, coordinates: &[Coordinate]) -> CentringPlan {
    build.declare(coordinates, &CentringPlan::default());
    let value = build.expression(&law.prediction);
    let mut plan = CentringPlan::default();
    // These come first, because coordinates on which a shift depends are not shifted themselves.
    let has_no_sign = |c: &Coordinate| {
        c.scale == Scale::Linear
            && c.role == Role::Amplitude
            && [c.low, c.high].iter().all(|bound| *bound == 0.0 || bound.is_infinite())
    };
    let mut derivatives = Derivatives::default();
    for i in (0..coordinates.len()).filter(|&i| has_no_sign(&coordinates[i])) {
        let factor = derivatives.of(&mut build.graph, value, i as u32);
        if let Some(argument) = exponent_of(&build.graph, factor) {
            let form = LinearForm::expand(&build.graph, argument);
            let terms = match shift_at_data_ends(&mut build.graph, argument, &form, coordinates) {
                Some(term) => vec![term],
                None => shift_terms(&build.graph, &form, 1.0, coordinates),
            };
            plan.add(&build.graph, i, terms);
        }
    }
    for argument in exponents(&build.graph, value) {
        let form = LinearForm::expand(&build.graph, argument);
        let amplitude = form.terms.iter().find_map(|term| {
            let [factor] = term.factors.as_slice() else { return None };
            match build.graph.node(*factor) {
                Node::Coordinate(i)
                    if coordinates[i as usize].scale == Scale::Log
                        && coordinates[i as usize].low == f64::NEG_INFINITY
                        && coordinates[i as usize].high == LARGEST_LOG =>
                {
                    Some((i as usize, term.coefficient))
                }
                _ => None,
            }
        });
        let Some((amplitude, scale)) = amplitude else { continue };
        let equation = distances(&mut build.graph, value, argument, &form, coordinates);
        let equation = equation.into_iter().map(|(coefficient, factors, at_low)| ShiftTerm {
            coefficient: coefficient / scale,
            factors,
            reference: Reference::Value(at_low),
        });
        let mut terms = shift_terms(&build.graph, &form, scale, coordinates);
        terms.extend(equation);
        plan.add(&build.graph, amplitude, terms);
    }
    plan
}

/// Returns a shift by an exponent at the end of the data where it is larger, for an exponent that is monotone in the
/// one data column that it reads. Where the larger end depends on the parameters, the shift is the logarithm of the sum
/// of the exponentials at both ends. None where the mean of logarithms can be used, which separates amplitude and
/// exponent better.
fn shift_at_data_ends(
    graph: &mut Graph,
    argument: Id,
    form: &LinearForm,
    coordinates: &[Coordinate],
) -> Option<ShiftTerm> {
    let is_plain = |factor: &Id| match graph.node(*factor) {
        Node::Data(column) => {
            matches!(graph.data_columns()[column as usize], DataColumn::Unary(Unary::Ln | Unary::LnBase, _))
        }
        _ => !graph.depends_on_data(*factor),
    };
    if form.terms.iter().flat_map(|term| &term.factors).all(is_plain) {
        return None;
    }
    let columns: Vec<(Id, u32)> = ancestors(graph, argument)
        .into_iter()
        .filter_map(|id| match graph.node(id) {
            Node::Data(column) => Some((id, column)),
            _ => None,
        })
        .collect();
    let [(leaf, column)] = columns.as_slice() else { return None };
    let ends = graph.ends(*column).map(|end| graph.replace(argument, *leaf, end));
    if !ends.iter().all(|&end| can_shift(graph, end, coordinates)) {
        return None;
    }
    let value = match Monotonicities::new(graph, coordinates).monotonicity(argument)? {
        Monotonicity::Decreasing => ends[0],
        Monotonicity::Increasing => ends[1],
        Monotonicity::Undetermined => graph.log_add_exp(ends[0], ends[1]),
    };
    Some(ShiftTerm { coefficient: 1.0, factors: Vec::new(), reference: Reference::Value(value) })
}

/// Returns the argument of the exponential that a node is, apart from a constant factor.
fn exponent_of(graph: &Graph, node: Id) -> Option<Id> {
    match graph.node(node) {
        Node::Unary(Unary::Exp, argument) => Some(argument),
        Node::Unary(Unary::Neg, a) => exponent_of(graph, a),
        Node::Mul(a, b) if graph.as_constant(a).is_some() => exponent_of(graph, b),
        Node::Mul(a, b) if graph.as_constant(b).is_some() => exponent_of(graph, a),
        _ => None,
    }
}

/// Returns the terms of an exponent that are a product of parameters and one logarithm of data; `scale` is the
/// coefficient of the amplitude's own logarithm.
fn shift_terms(graph: &Graph, form: &LinearForm, scale: f64, coordinates: &[Coordinate]) -> Vec<ShiftTerm> {
    let mut terms = Vec::new();
    for term in &form.terms {
        let (of_data, factors): (Vec<Id>, Vec<Id>) =
            term.factors.iter().partition(|&&f| graph.depends_on_data(f));
        let [logarithm] = of_data.as_slice() else { continue };
        if factors.is_empty() || !factors.iter().all(|&f| can_shift(graph, f, coordinates)) {
            continue;
        }
        let Node::Data(column) = graph.node(*logarithm) else { continue };
        let definition = graph.data_columns()[column as usize];
        if matches!(definition, DataColumn::Unary(Unary::Ln | Unary::LnBase, _)) {
            let reference = Reference::Mean(column);
            terms.push(ShiftTerm { coefficient: term.coefficient / scale, factors, reference });
        }
    }
    terms
}

/// How a node changes with the data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Monotonicity {
    /// It increases, whatever the parameters are.
    Increasing,
    /// It decreases, whatever the parameters are.
    Decreasing,
    /// It increases or decreases, depending on the parameters.
    Undetermined,
}

impl Monotonicity {
    fn opposite(self) -> Monotonicity {
        match self {
            Monotonicity::Increasing => Monotonicity::Decreasing,
            Monotonicity::Decreasing => Monotonicity::Increasing,
            Monotonicity::Undetermined => Monotonicity::Undetermined,
        }
    }
}

/// Finds monotonicities and signs of nodes, and remembers them.
struct Monotonicities<'a> {
    graph: &'a Graph,
    coordinates: &'a [Coordinate],
    monotonicities: HashMap<Id, Option<Monotonicity>>,
    signs: HashMap<Id, Option<bool>>,
}

impl<'a> Monotonicities<'a> {
    fn new(graph: &'a Graph, coordinates: &'a [Coordinate]) -> Self {
        Monotonicities { graph, coordinates, monotonicities: HashMap::new(), signs: HashMap::new() }
    }

    /// Returns the monotonicity of a node that depends on data; none where it is not monotone or not known to be.
    fn monotonicity(&mut self, node: Id) -> Option<Monotonicity> {
        if let Some(&known) = self.monotonicities.get(&node) {
            return known;
        }
        let graph = self.graph;
        let found = match graph.node(node) {
            Node::Data(_) => Some(Monotonicity::Increasing),
            Node::Unary(Unary::Exp | Unary::Ln | Unary::LnBase | Unary::Sqrt, a) => self.monotonicity(a),
            Node::Unary(Unary::Neg, a) => self.monotonicity(a).map(Monotonicity::opposite),
            Node::Add(a, b) | Node::Sub(a, b) => {
                let second = if matches!(graph.node(node), Node::Sub(..)) {
                    Monotonicity::opposite
                } else {
                    |c: Monotonicity| c
                };
                match (graph.depends_on_data(a), graph.depends_on_data(b)) {
                    (true, false) => self.monotonicity(a),
                    (false, true) => self.monotonicity(b).map(second),
                    _ => self.monotonicity(a).filter(|c| {
                        *c != Monotonicity::Undetermined && self.monotonicity(b).map(second) == Some(*c)
                    }),
                }
            }
            Node::Mul(a, b) => {
                let (data, factor) = if graph.depends_on_data(a) { (a, b) } else { (b, a) };
                if graph.depends_on_data(factor) {
                    None
                } else {
                    match self.sign(factor) {
                        Some(true) => self.monotonicity(data),
                        Some(false) => self.monotonicity(data).map(Monotonicity::opposite),
                        None => self.monotonicity(data).map(|_| Monotonicity::Undetermined),
                    }
                }
            }
            _ => None,
        };
        self.monotonicities.insert(node, found);
        found
    }

    /// Returns whether a node of parameters is never negative, or never positive; none where it may be either.
    fn sign(&mut self, node: Id) -> Option<bool> {
        if let Some(&known) = self.signs.get(&node) {
            return known;
        }
        let sign = match self.graph.node(node) {
            Node::Constant(bits) => Some(f64::from_bits(bits) >= 0.0),
            Node::Unary(Unary::Exp | Unary::Sigmoid, _) => Some(true),
            Node::Unary(Unary::Neg, a) => self.sign(a).map(|positive| !positive),
            Node::Coordinate(i) => {
                let Coordinate { scale, low, high, .. } = self.coordinates[i as usize];
                match scale {
                    Scale::Linear if low >= 0.0 => Some(true),
                    Scale::Linear if high <= 0.0 => Some(false),
                    _ => None,
                }
            }
            Node::Mul(a, b) | Node::Div(a, b) => self.sign(a).and_then(|a| self.sign(b).map(|b| a == b)),
            _ => None,
        };
        self.signs.insert(node, sign);
        sign
    }
}

/// Returns the terms of an equation that are a product of parameters and one factor of the unknown: coefficient,
/// parameters, and the factor with the equation's lower end in place of the unknown.
fn distances(
    graph: &mut Graph,
    value: Id,
    argument: Id,
    form: &LinearForm,
    coordinates: &[Coordinate],
) -> Vec<(f64, Vec<Id>, Id)> {
    let low = ancestors(graph, value).into_iter().find_map(|id| match graph.node(id) {
        Node::Root(index) => Some(graph.equation(index)).filter(|e| e.residual == argument).map(|e| e.low),
        _ => None,
    });
    let Some(low) = low else { return Vec::new() };
    let unknown = graph.unknown();
    let mut found = Vec::new();
    for term in &form.terms {
        let (inner, factors): (Vec<Id>, Vec<Id>) =
            term.factors.iter().partition(|&&f| ancestors(graph, f).contains(&unknown));
        let [inner] = inner.as_slice() else { continue };
        if factors.is_empty() {
            continue;
        }
        let at_low = graph.substitute(*inner, low);
        if factors.iter().chain([&at_low]).all(|&f| can_shift(graph, f, coordinates)) {
            found.push((term.coefficient, factors, at_low));
        }
    }
    found
}

/// Returns whether a shift may depend on a node: on parameters only, and not on amplitudes, which are shifted
/// themselves.
fn can_shift(graph: &Graph, node: Id, coordinates: &[Coordinate]) -> bool {
    ancestors(graph, node).into_iter().all(|id| match graph.node(id) {
        Node::Data(_) | Node::Unknown | Node::Root(_) => false,
        Node::Coordinate(i) => coordinates[i as usize].role != Role::Amplitude,
        _ => true,
    })
}

/// Returns the arguments of the exponentials below `value`.
fn exponents(graph: &Graph, value: Id) -> Vec<Id> {
    let mut arguments = Vec::new();
    for id in ancestors(graph, value) {
        match graph.node(id) {
            Node::Unary(Unary::Exp, a) => arguments.push(a),
            Node::LogAddExp(a, b) => arguments.extend([a, b]),
            // If both sides of an equation are logarithms, their powers appear in the difference.
            Node::Root(index) => arguments.push(graph.equation(index).residual),
            _ => {}
        }
    }
    // A prediction that is a single exponential loses it under the logarithm.
    arguments.push(value);
    arguments
}

/// Sets the metric of exponents of centred logarithms to the spread of those columns.
pub fn set_metrics(coordinates: &mut [Coordinate], graph: &Graph, value: Id) {
    for argument in exponents(graph, value) {
        for term in LinearForm::expand(graph, argument).terms {
            let mut exponent = None;
            let mut column = None;
            for &factor in &term.factors {
                match graph.node(factor) {
                    Node::Coordinate(i) if exponent.is_none() => exponent = Some(i as usize),
                    Node::Data(k)
                        if column.is_none()
                            && matches!(graph.data_columns()[k as usize], DataColumn::Centred(_)) =>
                    {
                        column = Some(k);
                    }
                    _ => {
                        exponent = None;
                        break;
                    }
                }
            }
            let (Some(i), Some(k)) = (exponent, column) else { continue };
            if coordinates[i].scale != Scale::Linear {
                continue;
            }
            match &mut coordinates[i].metric {
                Metric::Spread(columns) if columns.contains(&k) => {}
                Metric::Spread(columns) => columns.push(k),
                metric => *metric = Metric::Spread(vec![k]),
            }
        }
    }
}
