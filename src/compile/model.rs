//! A law in the solver's coordinates, compiled.
//!

use std::collections::HashMap;

use crate::formula::Expr;

use super::choose_coordinates::{centring_plan, choose_coordinates, cornered, set_metrics};
use super::coordinate::{Coordinate, Role, Scale};
use super::from_syntax::Build;
use super::program::{Compiler, ParameterProgram, Program};
use crate::law::derive::Derivatives;
use crate::law::graph::{Graph, Id, Node, Recipe, Unary};
use crate::law::{Law, Residual};

/// A law compiled for one residual space and one set of free parameters.
#[derive(Debug)]
pub struct Model {
    pub coordinates: Vec<Coordinate>,
    /// Their bounds.
    pub bounds: Vec<(f64, f64)>,
    pub residual: Residual,
    /// Data expressions of the law, evaluated once per sweep as written.
    pub sources: Vec<Expr>,
    /// The data columns that programs read: sources, their logarithms, centred columns.
    pub recipes: Vec<Recipe>,
    /// The columns, by recipe, that some program reads; the others are steps on the way to them.
    pub read_columns: Vec<u32>,
    /// `T(prediction)` alone.
    pub value: Program,
    /// What searches evaluate: `T(prediction)`, its first derivatives, and in the tail the bends that are none of these.
    pub search: Program,
    /// The law's own share of the Hessian, where it costs searches little; empty where it does not.
    pub bends: Vec<Bend>,
    /// Whether that share is `bends − ∂m ∂mᵀ`: residuals are of a logarithm.
    pub bends_of_log: bool,
    /// `T(prediction)`, first derivatives, then the second derivatives named by `curved`.
    pub hessian: Program,
    /// Pairs (i, j), i ≥ j, whose second derivative is not identically zero, in program order.
    pub curved: Vec<(usize, usize)>,
    /// All of the law's parameters in natural units and in its order.
    pub natural: ParameterProgram,
    /// `∂ parameter / ∂ coordinate`, row by row.
    pub natural_jacobian: ParameterProgram,
    /// Per coordinate, what is added to a logarithmic one to give the parameter's logarithm; of a linear one the logarithm
    /// of what it is multiplied by to give the parameter.
    pub shift: ParameterProgram,
    /// The coordinates in which the prediction is jointly linear (for logarithmic ones: in their `exp`).
    pub amplitudes: Vec<usize>,
    /// Whether the law has corners: coordinates stand under `min`, `max` or `abs`.
    pub has_corners: bool,
    /// Coordinates in which `T(prediction)` is jointly linear, and whether by their exponential: amplitudes for linear
    /// residuals, and for residuals of a logarithm those of a power law, since `log b + c·log x` is linear in `log b`
    /// and `c`.
    pub linear: Vec<(usize, Scale)>,
    /// The prediction (not transformed) with every amplitude at zero, then each amplitude's factor.
    pub design: Program,
}

/// An entry (row ≥ column) of the law's own second derivatives as searches use them: of `m = T(prediction)`, or where
/// `m = log q`, `∂²q/q`, which is `∂²m + ∂m ∂mᵀ`. For sums of powers most of these are first derivatives of `m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bend {
    pub row: usize,
    pub column: usize,
    pub place: BendPlace,
}

/// Where a bend is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BendPlace {
    /// It is the first derivative with respect to this coordinate.
    First(usize),
    /// The output of this number of the tail.
    Own(usize),
}

/// Bends are used in searches where they make an evaluation dearer by no more than this share.
const DEAREST_BENDS: f64 = 0.3;

impl Model {
    /// Compiles `law` for a residual space. Parameters with a fixed domain become constants.
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
        let (curved, second): (Vec<(usize, usize)>, Vec<Id>) =
            pairs(&mut build.graph, &mut derivatives, value, n)
                .into_iter()
                .map(|(i, j, node)| ((i, j), node))
                .unzip();
        let (of_log, bent) = bent(&mut build.graph, &mut derivatives, value, n);
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
        let value_program = compiler.program(&[value]);
        let (search, bends, bends_of_log) = match search_program(&compiler, value, &first, &bent) {
            Some((program, bends)) => (program, bends, of_log),
            None => (compiler.program(&[&[value], first.as_slice()].concat()), Vec::new(), false),
        };
        let hessian = compiler.program(&[&[value], first.as_slice(), second.as_slice()].concat());
        let design = compiler.program(&[&[rest], factors.as_slice()].concat());
        let mut read_columns: Vec<u32> = [&value_program, &search, &hessian, &design]
            .into_iter()
            .flat_map(Program::read_columns)
            .collect();
        read_columns.sort_unstable();
        read_columns.dedup();
        let cornered = cornered(&build.graph, value);
        let linear = match residual {
            Residual::Linear => amplitudes.iter().map(|&i| (i, coordinates[i].scale)).collect(),
            Residual::Log => {
                let smooth = not_curved(&curved, n).into_iter().filter(|i| !cornered.contains(&(*i as u32)));
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
            bends,
            bends_of_log,
            hessian,
            design,
            natural: compiler.parameter_program(&naturals),
            natural_jacobian: compiler.parameter_program(&natural_slopes),
            shift: compiler.parameter_program(&shifts),
            recipes: build.graph.recipes().to_vec(),
            sources: build.sources,
            curved,
            amplitudes,
            coordinates,
            residual,
        }
    }
}

/// Coordinates of which no pair has a second derivative.
fn not_curved(curved: &[(usize, usize)], n: usize) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for i in 0..n {
        let is_curved = |j: usize| curved.contains(&(i.max(j), i.min(j)));
        if !is_curved(i) && !found.iter().any(|&j| is_curved(j)) {
            found.push(i);
        }
    }
    found
}

/// The nodes of all bends that are not zero, with their rows and columns, and whether they are those of a logarithm.
fn bent(
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

/// Second derivatives that are not zero, with their rows and columns.
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

/// A node over the prediction, from quotients that are there already: `x·y` over it is `x` times `y` over it. (Products
/// stay as they are put together here: the graph's own rewriting would look for those of the prediction again.) `visited`
/// holds what was found for nodes that were met before.
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
            // What is known may be the opposite of a factor's quotient.
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

/// The program that searches run and its bends; none where bends are dear.
fn search_program(
    compiler: &Compiler,
    value: Id,
    first: &[Id],
    bent: &[(usize, usize, Id)],
) -> Option<(Program, Vec<Bend>)> {
    let outputs = [&[value], first].concat();
    let mut own: Vec<Id> = Vec::new();
    let mut bends = Vec::with_capacity(bent.len());
    for &(row, column, node) in bent {
        let place = if let Some(i) = first.iter().position(|&f| f == node) {
            BendPlace::First(i)
        } else if let Some(k) = own.iter().position(|&o| o == node) {
            BendPlace::Own(k)
        } else {
            own.push(node);
            BendPlace::Own(own.len() - 1)
        };
        bends.push(Bend { row, column, place });
    }
    let program = compiler.program_with_tail(&outputs, &own);
    // Every output is weighted and summed; the first derivatives with each other, too.
    let p = first.len();
    let sums = (p * (p + 5) / 2) as f64;
    let (plain, whole) = program.costs();
    let dearer = (whole + sums + 2.0 * own.len() as f64) / (plain + sums);
    (dearer <= 1.0 + DEAREST_BENDS).then_some((program, bends))
}
