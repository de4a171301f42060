//! A law in the solver's coordinates, compiled.
//!

use crate::formula::Expr;

use super::build::Build;
use super::coordinate::{Coordinate, Role};
use super::coordinates::{centring_plan, choose_coordinates, set_metrics};
use super::derive::Derivatives;
use super::graph::{Graph, Id, Node, Recipe, Unary};
use super::program::{Compiler, ParameterProgram, Program};
use super::{Law, Residual};

/// A law compiled for one residual space and one set of free parameters.
#[derive(Debug)]
pub struct Model {
    pub coordinates: Vec<Coordinate>,
    pub residual: Residual,
    /// Data expressions of the law, evaluated once per sweep as written.
    pub sources: Vec<Expr>,
    /// The data columns that programs read: sources, their logarithms, centred columns.
    pub recipes: Vec<Recipe>,
    /// The columns, by recipe, that some program reads; the others are steps on the way to them.
    pub read_columns: Vec<u16>,
    /// `T(prediction)` alone.
    pub value: Program,
    /// `T(prediction)`, then its first derivatives.
    pub gradient: Program,
    /// `T(prediction)`, first derivatives, then the second derivatives named by `second`.
    pub hessian: Program,
    /// Pairs (i, j), i ≥ j, of the second derivatives in program order: those that are not identically zero.
    pub second: Vec<(usize, usize)>,
    /// Whether the second derivatives are those of the prediction P over P instead of those of its logarithm:
    /// `∂²ln P = ∂²P/P − ∂ln P·∂ln P`. A prediction is a sum of few terms, and most of its second derivatives
    /// are zero; its logarithm mixes all parameters.
    pub of_prediction: bool,
    /// Pairs (i, j), i ≥ j, whose second derivative of `T(prediction)` is not identically zero.
    pub curved: Vec<(usize, usize)>,
    /// All of the law's parameters in natural units and in its order.
    pub natural: ParameterProgram,
    /// `∂ parameter / ∂ coordinate`, row by row.
    pub natural_jacobian: ParameterProgram,
    /// Per coordinate, what is added to a logarithmic one to give the parameter's logarithm.
    pub shift: ParameterProgram,
    /// The coordinates in which the prediction is jointly linear (for logarithmic ones: in their `exp`).
    pub amplitudes: Vec<usize>,
    /// The prediction (not transformed) with every amplitude at zero, then each amplitude's factor.
    pub design: Program,
}

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
        let (curved, mut second_nodes) = second_derivatives(&mut build.graph, &mut derivatives, &first);
        let mut second = curved.clone();
        let mut of_prediction = false;
        if let Node::Unary(Unary::Ln, inner) = build.graph.node(value) {
            let slopes: Vec<Id> =
                (0..n).map(|i| derivatives.of(&mut build.graph, inner, i as u32)).collect();
            let (pairs, nodes) = second_derivatives(&mut build.graph, &mut derivatives, &slopes);
            if pairs.len() < second.len() {
                let one = build.graph.constant(1.0);
                let inverse = build.graph.div(one, inner);
                second_nodes = nodes.into_iter().map(|node| build.graph.mul(node, inverse)).collect();
                second = pairs;
                of_prediction = true;
            }
        }
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
        let gradient = compiler.program(&[&[value], first.as_slice()].concat());
        let hessian = compiler.program(&[&[value], first.as_slice(), second_nodes.as_slice()].concat());
        let design = compiler.program(&[&[rest], factors.as_slice()].concat());
        let mut read_columns: Vec<u16> =
            [&value_program, &gradient, &hessian, &design].into_iter().flat_map(Program::read_columns).collect();
        read_columns.sort_unstable();
        read_columns.dedup();
        Model {
            read_columns,
            value: value_program,
            gradient,
            hessian,
            design,
            natural: compiler.parameter_program(&naturals),
            natural_jacobian: compiler.parameter_program(&natural_slopes),
            shift: compiler.parameter_program(&shifts),
            recipes: build.graph.recipes().to_vec(),
            sources: build.sources,
            second,
            of_prediction,
            curved,
            amplitudes,
            coordinates,
            residual,
        }
    }
}

/// The pairs (i, j), i ≥ j, whose second derivative is not identically zero, and their nodes.
fn second_derivatives(
    graph: &mut Graph,
    derivatives: &mut Derivatives,
    first: &[Id],
) -> (Vec<(usize, usize)>, Vec<Id>) {
    let mut pairs = Vec::new();
    let mut nodes = Vec::new();
    for (i, &slope) in first.iter().enumerate() {
        for j in 0..=i {
            let node = derivatives.of(graph, slope, j as u32);
            if !graph.is_zero(node) {
                pairs.push((i, j));
                nodes.push(node);
            }
        }
    }
    (pairs, nodes)
}
