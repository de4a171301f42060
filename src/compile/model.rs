//! A law compiled for a residual space, in the solver's coordinates.

use std::collections::HashMap;

use crate::formula::Expr;

use super::choose_coordinates::{centring_plan, choose_coordinates, cornered, set_metrics};
use super::coordinate::{Coordinate, Metric, Role, Scale};
use super::from_syntax::Build;
use super::program::{Compiler, ParameterProgram, Program};
use crate::law::derive::Derivatives;
use crate::law::graph::{DataColumn, Graph, Id, Node, Unary};
use crate::law::{Law, Residual};

/// A law compiled for one residual space and one set of free parameters.
#[derive(Debug)]
pub struct Model {
    pub coordinates: Vec<Coordinate>,
    /// The bounds of the coordinates.
    pub bounds: Vec<(f64, f64)>,
    pub residual: Residual,
    /// The data expressions of the law, evaluated once per sweep as written.
    pub sources: Vec<Expr>,
    /// The data columns: sources, their logarithms, centred columns.
    pub data_columns: Vec<DataColumn>,
    /// The data columns that some program or metric reads, ascending; the others are intermediate and are not kept.
    pub read_columns: Vec<u32>,
    /// The program of `T(prediction)` alone.
    pub value: Program,
    /// The program of searches: `T(prediction)`, its first derivatives, and in the tail the second derivatives that are
    /// none of these.
    pub search: Program,
    /// The law's second derivatives as searches use them; empty where they make an evaluation too expensive.
    pub second_derivatives: Vec<SecondDerivative>,
    /// Whether residuals are of a logarithm: `second_derivatives` then lack the term `−∂m ∂mᵀ`.
    pub second_of_log: bool,
    /// The program of `T(prediction)`, first derivatives, then the second derivatives named by `second_pairs`.
    pub hessian: Program,
    /// The pairs (i, j), i ≥ j, whose second derivative is not identically zero, in program order.
    pub second_pairs: Vec<(usize, usize)>,
    /// The program of the law's parameters in natural units, in the order of the law.
    pub natural: ParameterProgram,
    /// The program of `∂ parameter / ∂ coordinate`, row-major.
    pub natural_jacobian: ParameterProgram,
    /// The program of the shifts, one per coordinate. A shift is added to a logarithmic coordinate to give the
    /// parameter's logarithm; of a linear coordinate, it is the logarithm of the factor that gives the parameter.
    pub shift: ParameterProgram,
    /// The coordinates in which the prediction is jointly linear (for logarithmic ones: in their `exp`).
    pub amplitudes: Vec<usize>,
    /// Whether the law has corners: coordinates stand under `min`, `max` or `abs`.
    pub has_corners: bool,
    /// The coordinates in which `T(prediction)` is jointly linear, and whether in their exponential: amplitudes for
    /// linear residuals; for residuals of a logarithm those of a power law, since `log b + c·log x` is linear in `log
    /// b` and `c`.
    pub linear: Vec<(usize, Scale)>,
    /// The program of the prediction (not transformed) with every amplitude at zero, then of each amplitude's factor.
    pub design: Program,
}

/// An entry (row ≥ column) of the law's second derivatives as searches use them: of `m = T(prediction)`, or, where `m =
/// log q`, `∂²q/q = ∂²m + ∂m ∂mᵀ`. For sums of powers most of them are first derivatives of `m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondDerivative {
    pub row: usize,
    pub column: usize,
    pub source: SecondDerivativeSource,
}

/// The program output that is a second derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondDerivativeSource {
    /// The first derivative with respect to this coordinate.
    First(usize),
    /// The output of this number of the tail.
    Own(usize),
}

/// The largest relative increase in the cost of an evaluation at which searches use second derivatives.
const MAX_RELATIVE_COST: f64 = 0.3;

impl Model {
    /// Compiles `law` for a residual space. Parameters with a fixed domain become constants.
    #[must_use]
    pub fn compile(law: &Law, residual: Residual) -> Model {
        let mut coordinates = choose_coordinates(law);
        let mut build = Build::new(law);
        let plan = centring_plan(&mut build, law, &coordinates);
        build.graph.centre_columns(&plan.columns());

        let shifts = build.declare(&coordinates, &plan);
        let prediction = build.expression(&law.prediction);
        let value = match residual {
            Residual::Log => build.graph.ln(prediction),
            Residual::Linear => prediction,
        };
        set_metrics(&mut coordinates, &build.graph, value);

        let n = coordinates.len();
        let mut derivatives = Derivatives::default();
        let first: Vec<Id> = (0..n).map(|i| derivatives.of(&mut build.graph, value, i as u32)).collect();
        let (second_pairs, second): (Vec<(usize, usize)>, Vec<Id>) =
            pairs(&mut build.graph, &mut derivatives, value, n)
                .into_iter()
                .map(|(i, j, node)| ((i, j), node))
                .unzip();
        let (of_log, model_second) = searched_second(&mut build.graph, &mut derivatives, value, n);
        let naturals = build.parameters.clone();
        let mut natural_slopes = Vec::new();
        for &parameter in &naturals {
            natural_slopes.extend((0..n).map(|i| derivatives.of(&mut build.graph, parameter, i as u32)));
        }

        // The same law with its amplitudes as plain factors, for variable projection: coordinate n + i
        // stands for the amplitude that coordinate i describes.
        let amplitudes: Vec<usize> =
            (0..n).filter(|&i| matches!(coordinates[i].role, Role::Amplitude | Role::Offset)).collect();
        build.declare_plain(&coordinates, &amplitudes, &shifts, false);
        let plain = build.expression(&law.prediction);
        let factors: Vec<Id> =
            amplitudes.iter().map(|&i| derivatives.of(&mut build.graph, plain, (n + i) as u32)).collect();
        build.declare_plain(&coordinates, &amplitudes, &shifts, true);
        let rest = build.expression(&law.prediction);

        let compiler = Compiler::new(&build.graph, n);
        let mut value_program = compiler.program(&[value]);
        let (mut search, second_derivatives, second_of_log) =
            match search_program(&compiler, value, &first, &model_second) {
                Some((program, second_derivatives)) => (program, second_derivatives, of_log),
                None => (compiler.program(&[&[value], first.as_slice()].concat()), Vec::new(), false),
            };
        let mut hessian = compiler.program(&[&[value], first.as_slice(), second.as_slice()].concat());
        let mut design = compiler.program(&[&[rest], factors.as_slice()].concat());
        let programs = [&mut value_program, &mut search, &mut hessian, &mut design];
        let read_columns = number_read_columns(programs, &mut coordinates);
        let cornered = cornered(&build.graph, value);
        let linear = match residual {
            Residual::Linear => amplitudes.iter().map(|&i| (i, coordinates[i].scale)).collect(),
            Residual::Log => {
                let smooth = without_second_derivative(&second_pairs, n)
                    .into_iter()
                    .filter(|i| !cornered.contains(&(*i as u32)));
                smooth.map(|i| (i, Scale::Linear)).collect()
            }
        };
        Model {
            has_corners: !cornered.is_empty(),
            bounds: coordinates.iter().map(|c| (c.low, c.high)).collect(),
            linear,
            read_columns,
            value: value_program,
            search,
            second_derivatives,
            second_of_log,
            hessian,
            design,
            natural: compiler.parameter_program(&naturals),
            natural_jacobian: compiler.parameter_program(&natural_slopes),
            shift: compiler.parameter_program(&shifts),
            data_columns: build.graph.data_columns().to_vec(),
            sources: build.sources,
            second_pairs,
            amplitudes,
            coordinates,
            residual,
        }
    }
}

/// Returns the data columns that some program or metric reads, ascending, and numbers them there by their places among
/// these.
fn number_read_columns(mut programs: [&mut Program; 4], coordinates: &mut [Coordinate]) -> Vec<u32> {
    let mut read: Vec<u32> = programs.iter().flat_map(|program| program.read_columns()).collect();
    for coordinate in &*coordinates {
        if let Metric::Spread(columns) = &coordinate.metric {
            read.extend(columns);
        }
    }
    read.sort_unstable();
    read.dedup();
    let number = |column: u32| read.partition_point(|&other| other < column) as u32;
    programs.iter_mut().for_each(|program| program.renumber_columns(number));
    for coordinate in coordinates {
        if let Metric::Spread(columns) = &mut coordinate.metric {
            columns.iter_mut().for_each(|column| *column = number(*column));
        }
    }
    read
}

/// Returns coordinates of which no pair has a second derivative.
fn without_second_derivative(second_pairs: &[(usize, usize)], n: usize) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for i in 0..n {
        let has_second = |j: usize| second_pairs.contains(&(i.max(j), i.min(j)));
        if !has_second(i) && !found.iter().any(|&j| has_second(j)) {
            found.push(i);
        }
    }
    found
}

/// Returns the second derivatives that searches use and that are not zero, with rows and columns, and whether they are
/// those of a logarithm.
fn searched_second(
    graph: &mut Graph,
    derivatives: &mut Derivatives,
    value: Id,
    n: usize,
) -> (bool, Vec<(usize, usize, Id)>) {
    let Node::Unary(Unary::Ln, argument) = graph.node(value) else {
        let second = pairs(graph, derivatives, value, n);
        return (false, second);
    };
    let one = graph.constant(1.0);
    let inverse = graph.div(one, argument);
    let mut divided = HashMap::new();
    for i in 0..n as u32 {
        let slope = derivatives.of(graph, argument, i);
        divided.insert(slope, derivatives.of(graph, value, i));
    }
    let mut second = pairs(graph, derivatives, argument, n);
    for (.., node) in &mut second {
        let quotient = quotient(graph, &divided, *node, &mut HashMap::new())
            .unwrap_or_else(|| graph.mul(inverse, *node));
        divided.insert(*node, quotient);
        *node = quotient;
    }
    (true, second)
}

/// Returns the second derivatives that are not zero, with their rows and columns.
fn pairs(graph: &mut Graph, derivatives: &mut Derivatives, of: Id, n: usize) -> Vec<(usize, usize, Id)> {
    let mut found = Vec::new();
    for i in 0..n {
        let slope = derivatives.of(graph, of, i as u32);
        for j in 0..=i {
            let second = derivatives.of(graph, slope, j as u32);
            if !graph.is_zero(second) {
                found.push((i, j, second));
            }
        }
    }
    found
}

/// Returns a node over the prediction, from quotients that exist already: `x·y` over it is `x` times `y` over it.
/// Products are not rewritten here, because the graph's rewriting would search for those of the prediction again.
/// `visited` holds the results for nodes that were met before.
fn quotient(
    graph: &mut Graph,
    divided: &HashMap<Id, Id>,
    node: Id,
    visited: &mut HashMap<Id, Option<Id>>,
) -> Option<Id> {
    if let Some(&known) = divided.get(&node) {
        return Some(known);
    }
    if let Some(&known) = visited.get(&node) {
        return known;
    }
    let found = find_quotient(graph, divided, node, visited);
    visited.insert(node, found);
    found
}

/// [`quotient`] of a node that was not met before, by those of its operands.
fn find_quotient(
    graph: &mut Graph,
    divided: &HashMap<Id, Id>,
    node: Id,
    visited: &mut HashMap<Id, Option<Id>>,
) -> Option<Id> {
    match graph.node(node) {
        Node::Mul(a, b) => {
            // The known quotient may be that of the negative factor.
            for (x, y) in [(a, b), (b, a)] {
                let opposite = graph.neg(y);
                if let Some(&known) = divided.get(&opposite) {
                    let product = graph.product(x, known);
                    return Some(graph.neg(product));
                }
            }
            match quotient(graph, divided, b, visited) {
                Some(b) => Some(graph.product(a, b)),
                None => quotient(graph, divided, a, visited).map(|a| graph.product(a, b)),
            }
        }
        Node::Unary(Unary::Neg, a) => quotient(graph, divided, a, visited).map(|a| graph.neg(a)),
        Node::Add(a, b) => {
            let (a, b) = (quotient(graph, divided, a, visited)?, quotient(graph, divided, b, visited)?);
            Some(graph.add(a, b))
        }
        _ => None,
    }
}

/// Returns the program of searches and its second derivatives; none where these are too expensive.
fn search_program(
    compiler: &Compiler,
    value: Id,
    first: &[Id],
    second: &[(usize, usize, Id)],
) -> Option<(Program, Vec<SecondDerivative>)> {
    let outputs = [&[value], first].concat();
    let mut own: Vec<Id> = Vec::new();
    let mut second_derivatives = Vec::with_capacity(second.len());
    for &(row, column, node) in second {
        let source = if let Some(i) = first.iter().position(|&f| f == node) {
            SecondDerivativeSource::First(i)
        } else if let Some(k) = own.iter().position(|&o| o == node) {
            SecondDerivativeSource::Own(k)
        } else {
            own.push(node);
            SecondDerivativeSource::Own(own.len() - 1)
        };
        second_derivatives.push(SecondDerivative { row, column, source });
    }
    let program = compiler.program_with_tail(&outputs, &own);
    // Every output is weighted and summed; the first derivatives with each other, too.
    let p = first.len();
    let sums = (p * (p + 5) / 2) as f64;
    let (plain, whole) = program.costs();
    let relative_cost = (whole + sums + 2.0 * own.len() as f64) / (plain + sums);
    (relative_cost <= 1.0 + MAX_RELATIVE_COST).then_some((program, second_derivatives))
}
