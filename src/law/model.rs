//! A law in the solver's coordinates, compiled.
//!
//! # Coordinates
//!
//! The solver does not see `A` and `alpha` but coordinates in which the problem is well scaled:
//!
//! * a positive parameter that scales something (an amplitude, a characteristic scale) is replaced by its
//!   logarithm, so that its domain is open and steps are relative;
//! * an additive floor such as `E` and an exponent stay as they are, with their domain as bounds, so that
//!   a floor of exactly zero is reached in finitely many steps;
//! * where an amplitude multiplies a power of a variable, `A·N^-alpha`, its coordinate is the logarithm of
//!   the term at the geometric-mean observation: `a' = log A − alpha·mean(log N)`. Raw `log A` and `alpha`
//!   are correlated to 0.999 on real sweeps; `a'` and `alpha` hardly.
//!
//! The change of coordinates is itself built into the expression graph, so derivatives with respect to the
//! coordinates are exact and the hot loop computes `exp(a' − alpha·u)` with the centred column `u`.

use crate::formula::Expr;

use super::build::Build;
use super::coordinates::{centring_plan, choose_coordinates, set_metrics};
use super::derive::Derivatives;
use super::graph::{Id, Recipe};
use super::program::{Compiler, ParameterProgram, Program};
use super::{Law, Residual};

/// A free coordinate of the solver and the parameter it stands for.
#[derive(Debug, Clone)]
pub struct Coordinate {
    /// Index into [`Law::parameters`].
    pub parameter: usize,
    pub scale: Scale,
    /// Bounds in the coordinate's own units; infinite where there are none. A logarithmic coordinate of a
    /// domain that starts at 0 has no lower bound: the edge is tried separately (see `solve::edges`).
    pub low: f64,
    pub high: f64,
    pub metric: Metric,
    pub role: Role,
}

/// How a coordinate relates to its parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Log,
}

/// What one unit of a coordinate is worth in the trust region.
#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// Commensurate as it is: a logarithm.
    Unit,
    /// An exponent: one unit moves the term by the spread of these data columns.
    Spread(Vec<u32>),
    /// Taken from the Jacobian's column, largest seen so far.
    Column,
}

/// What the structure of the law says about a parameter; decides where starts are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Added to the prediction as it is.
    Offset,
    /// The prediction is linear in it, jointly with the other amplitudes.
    Amplitude,
    /// Stands in an exponent or in the argument of a function.
    Exponent,
    /// Anything else: a characteristic scale.
    Shape,
}

/// A law compiled for one residual space and one set of free parameters.
#[derive(Debug)]
pub struct Model {
    pub coordinates: Vec<Coordinate>,
    pub residual: Residual,
    /// Data expressions of the law, evaluated once per sweep as written.
    pub sources: Vec<Expr>,
    /// The data columns that programs read: sources, their logarithms, centred columns.
    pub recipes: Vec<Recipe>,
    /// `T(prediction)` alone.
    pub value: Program,
    /// `T(prediction)`, then its first derivatives.
    pub gradient: Program,
    /// `T(prediction)`, first derivatives, then the second derivatives named by `curved`.
    pub hessian: Program,
    /// Pairs (i, j), i ≥ j, whose second derivative is not identically zero, in program order.
    pub curved: Vec<(usize, usize)>,
    /// All of the law's parameters in natural units and in its order, then `∂ parameter / ∂ coordinate`
    /// row by row.
    pub natural: ParameterProgram,
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
        let mut curved = Vec::new();
        let mut second = Vec::new();
        for (i, &slope) in first.iter().enumerate() {
            for j in 0..=i {
                let node = derivatives.of(&mut build.graph, slope, j as u32);
                if !build.graph.is_zero(node) {
                    curved.push((i, j));
                    second.push(node);
                }
            }
        }
        let mut naturals = build.parameters.clone();
        for parameter in build.parameters.clone() {
            naturals.extend((0..n).map(|i| derivatives.of(&mut build.graph, parameter, i as u32)));
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
        Model {
            value: compiler.program(&[value]),
            gradient: compiler.program(&[&[value], first.as_slice()].concat()),
            hessian: compiler.program(&[&[value], first.as_slice(), second.as_slice()].concat()),
            natural: compiler.parameter_program(&naturals),
            shift: compiler.parameter_program(&shifts),
            design: compiler.program(&[&[rest], factors.as_slice()].concat()),
            recipes: build.graph.recipes().to_vec(),
            sources: build.sources,
            curved,
            amplitudes,
            coordinates,
            residual,
        }
    }
}
