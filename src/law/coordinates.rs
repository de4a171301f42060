//! Which coordinates the solver works in: read off the structure of the law.

use crate::formula::{BinaryOp, Expr, ExprKind, Function};

use super::Law;
use super::build::Build;
use super::coordinate::{CentringPlan, Coordinate, LARGEST_LOG, Metric, Reference, Role, Scale, ShiftTerm};
use super::derive::{Derivatives, ancestors};
use super::graph::{Graph, Id, Node, Recipe, Unary};
use super::linear_form::LinearForm;

/// A finite positive domain wider than this ratio is searched on a logarithmic scale.
const WIDE_RATIO: f64 = 100.0;

/// The free parameters as coordinates, metrics still at their default.
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
                (Scale::Log, low.ln(), high.ln().min(LARGEST_LOG))
            } else {
                (Scale::Linear, low, high)
            };
            let metric = if log { Metric::Unit } else { Metric::Column };
            Coordinate { parameter, scale, low, high, metric, role }
        })
        .collect()
}

/// The role of each free parameter.
fn roles(law: &Law) -> Vec<Role> {
    let mut build = Build::new(law);
    build.declare_natural();
    let value = build.expression(&law.prediction);
    let free: Vec<usize> = law.free_parameters().map(|(i, ..)| i).collect();
    let mut derivatives = Derivatives::default();
    let mut amplitudes: Vec<u32> = Vec::new();
    let mut roles = Vec::with_capacity(free.len());
    for (i, &parameter) in free.iter().enumerate() {
        let slope = derivatives.of(&mut build.graph, value, i as u32);
        let linear = |g: &mut Graph, d: &mut Derivatives, j: u32| {
            let second = d.of(g, slope, j);
            g.is_zero(second)
        };
        let is_amplitude = linear(&mut build.graph, &mut derivatives, i as u32)
            && amplitudes.iter().all(|&j| linear(&mut build.graph, &mut derivatives, j));
        roles.push(if build.graph.as_constant(slope).is_some_and(|c| c != 0.0) {
            amplitudes.push(i as u32);
            Role::Offset
        } else if is_amplitude && !build.graph.is_zero(slope) {
            amplitudes.push(i as u32);
            Role::Amplitude
        } else if let Some(role) = end_of_prediction(&law.prediction, &law.parameters[parameter].name) {
            role
        } else if in_exponent(&law.prediction, &law.parameters[parameter].name, false) {
            Role::Exponent
        } else {
            Role::Shape
        });
    }
    roles
}

/// Whether a parameter is an end of the bracket that the prediction is solved in.
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

/// Whether a parameter occurs in an exponent or a function's argument other than as a divisor.
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
            let curved = !matches!(function, Function::Abs | Function::Min | Function::Max | Function::Sqrt);
            arguments.iter().any(|a| in_exponent(a, name, (inside || curved) && !is_logarithm(expr)))
        }
        _ => false,
    }
}

fn is_logarithm(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Call(Function::Log | Function::Log10 | Function::Log2, _))
}

/// Finds the power terms `exp(a − alpha·log N)` and plans to centre their logarithms.
pub fn centring_plan(build: &mut Build, law: &Law, coordinates: &[Coordinate]) -> CentringPlan {
    build.declare(coordinates, &CentringPlan::default());
    let value = build.expression(&law.prediction);
    let mut plan = CentringPlan::default();
    for argument in exponents(&build.graph, value) {
        let graph = &build.graph;
        let form = LinearForm::expand(graph, argument);
        let amplitude = form.terms.iter().find_map(|term| {
            let [factor] = term.factors.as_slice() else { return None };
            match graph.node(*factor) {
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
        if plan.shifts.iter().any(|(i, _)| *i == amplitude) {
            continue;
        }
        let mut terms: Vec<ShiftTerm> = form
            .terms
            .iter()
            .filter_map(|term| {
                let (columns, factors): (Vec<Id>, Vec<Id>) =
                    term.factors.iter().partition(|&&f| matches!(graph.node(f), Node::Data(_)));
                let [column] = columns.as_slice() else { return None };
                let Node::Data(column) = graph.node(*column) else { return None };
                let is_log =
                    matches!(graph.recipes()[column as usize], Recipe::Unary(Unary::Ln | Unary::LnBase, _));
                let usable = is_log
                    && !factors.is_empty()
                    && factors.iter().all(|&f| free_of_data_and_logs(graph, f, coordinates));
                let reference = Reference::Mean(column);
                usable.then(|| ShiftTerm { coefficient: term.coefficient / scale, factors, reference })
            })
            .collect();
        let distances = distances(&mut build.graph, value, argument, &form, coordinates);
        terms.extend(distances.into_iter().map(|(coefficient, factors, at_low)| ShiftTerm {
            coefficient: coefficient / scale,
            factors,
            reference: Reference::LowEnd(at_low),
        }));
        if !terms.is_empty() {
            plan.shifts.push((amplitude, terms));
        }
    }
    plan
}

/// The terms of an equation that are a product of parameters and one factor of the unknown: coefficient, parameters,
/// and the factor with the equation's lower end in place of the unknown.
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
        if factors.iter().chain([&at_low]).all(|&f| free_of_data_and_logs(graph, f, coordinates)) {
            found.push((term.coefficient, factors, at_low));
        }
    }
    found
}

/// A shift may depend on parameters only, and on none that is itself shifted.
fn free_of_data_and_logs(graph: &Graph, node: Id, coordinates: &[Coordinate]) -> bool {
    ancestors(graph, node).into_iter().all(|id| match graph.node(id) {
        Node::Data(_) => false,
        Node::Coordinate(i) => coordinates[i as usize].scale == Scale::Linear,
        _ => true,
    })
}

/// Arguments of the exponentials below `value`.
fn exponents(graph: &Graph, value: Id) -> Vec<Id> {
    let mut arguments = Vec::new();
    for id in ancestors(graph, value) {
        match graph.node(id) {
            Node::Unary(Unary::Exp, a) => arguments.push(a),
            Node::LogAddExp(a, b) => arguments.extend([a, b]),
            // Where both sides of an equation are logarithms, their powers are found in their difference.
            Node::Root(index) => arguments.push(graph.equation(index).residual),
            _ => {}
        }
    }
    // A prediction that is one exponential loses it under the logarithm.
    arguments.push(value);
    arguments
}

/// Gives exponents of centred logarithms the spread of those columns as their metric.
pub fn set_metrics(coordinates: &mut [Coordinate], graph: &Graph, value: Id) {
    for argument in exponents(graph, value) {
        for term in LinearForm::expand(graph, argument).terms {
            let mut exponent = None;
            let mut column = None;
            for &factor in &term.factors {
                match graph.node(factor) {
                    Node::Coordinate(i) if exponent.is_none() => exponent = Some(i as usize),
                    Node::Data(k)
                        if column.is_none() && matches!(graph.recipes()[k as usize], Recipe::Centred(_)) =>
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
