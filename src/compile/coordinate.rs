//! The solver's coordinates.
//!
//! The solver works not in `A` and `alpha` but in coordinates in which the problem is well scaled:
//!
//! * a positive parameter that scales something (an amplitude, a characteristic scale) is replaced by its logarithm, so
//!   that its domain is open and steps are relative;
//! * an additive offset such as `E` and an exponent stay as they are, with their domain as bounds, so that an offset of
//!   exactly zero is reached in finitely many steps;
//! * where an amplitude multiplies a power of a variable, `A·N^-alpha`, its coordinate is the logarithm of the term at
//!   the geometric-mean observation: `a' = log A − alpha·mean(log N)`. `log A` and `alpha` are correlated to 0.999 on
//!   real sweeps, `a'` and `alpha` hardly;
//! * an amplitude of either sign has no logarithm; its coordinate is the amplitude times the same power: `b' =
//!   b·exp(−c·mean(log x))` for `b·x^-c`. Other exponentials, as in `b·(d + x)^-c` or `b·exp(-c*x)`, are taken at the
//!   ends of the data, where the larger one is about their maximum;
//! * where an amplitude stands in an equation beside a power of a distance to the unknown, as `b` does in `log(y − e) −
//!   a·log(e0 − y) = log b − c·log x`, that distance is taken at the lower end: `log b + a·log(e0 − e)` stays constant
//!   when `a` and `e0` grow together, `log b` does not.
//!
//! The transformation is part of the expression graph, so derivatives with respect to the coordinates are exact, and
//! the inner loop computes `exp(a' − alpha·u)` with the centred column `u`.

use crate::lanes::scalar;
use crate::law::Residual;
use crate::law::graph::ancestors;
use crate::law::graph::{Graph, Id, Node};

/// A free coordinate of the solver, and the parameter that it describes.
#[derive(Debug, Clone)]
pub struct Coordinate {
    /// The parameter's index in [`crate::law::Law::parameters`].
    pub parameter: usize,
    pub scale: Scale,
    /// The lower bound, in the coordinate's own units; infinite where there is none. A logarithmic coordinate of a
    /// domain that starts at 0 has no lower bound: the edge is tried separately (see `optimize::boundary`).
    pub low: f64,
    /// The upper bound, in the coordinate's own units; infinite where there is none.
    pub high: f64,
    pub metric: Metric,
    pub role: Role,
}

impl Coordinate {
    /// Returns whether the prediction is linear in this coordinate, given the others. If the objective has a finite
    /// minimum over the other coordinates, it has one over this coordinate too.
    #[must_use]
    pub fn is_conditionally_linear(&self) -> bool {
        self.scale == Scale::Linear && matches!(self.role, Role::Offset | Role::Amplitude)
    }
}

/// The scale on which a coordinate describes its parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// The parameter itself.
    Linear,
    /// The natural logarithm of the parameter.
    Log,
}

impl Scale {
    /// Returns a value in natural units on this scale.
    #[must_use]
    pub fn transform(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Log => scalar::ln(value),
        }
    }

    /// Returns a value on this scale in natural units.
    #[must_use]
    pub fn natural(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Log => scalar::exp(value),
        }
    }

    /// Returns the derivative of a value in natural units with respect to the value on this scale.
    #[must_use]
    pub fn per_unit(self, value: f64) -> f64 {
        match self {
            Scale::Linear => 1.0,
            Scale::Log => value,
        }
    }
}

impl From<Residual> for Scale {
    fn from(residual: Residual) -> Scale {
        match residual {
            Residual::Log => Scale::Log,
            Residual::Linear => Scale::Linear,
        }
    }
}

/// The unit of a coordinate in the trust region.
#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// One: a logarithm is commensurate as it is.
    Unit,
    /// The spread of these columns, by which one unit of an exponent moves its term. They are data columns of the graph, and
    /// places in [`Model::read_columns`](super::Model::read_columns) in a compiled model.
    Spread(Vec<u32>),
    /// The norm of the Jacobian's column, the largest seen so far.
    Column,
}

/// The role of a parameter in the structure of the law, which decides how its starts are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is added to the prediction.
    Offset,
    /// The prediction is the root of an equation, and this is its lower end.
    LowEnd,
    /// The prediction is the root of an equation, and this is its upper end.
    HighEnd,
    /// The prediction is linear in it, jointly with the other amplitudes.
    Amplitude,
    /// The prediction is piecewise linear in it: it stands under `min`, `max` or `abs`.
    Piece,
    /// It stands in an exponent or in the argument of a function.
    Exponent,
    /// Any other role, such as a characteristic scale.
    Shape,
}

/// The upper bound of every logarithmic coordinate, whose `exp` is near the largest float64. A search that diverges
/// stops here.
pub const LARGEST_LOG: f64 = 690.0;

/// The data columns that are centred, and the shift of each amplitude's coordinate.
#[derive(Debug, Default)]
pub struct CentringPlan {
    /// Per shifted coordinate: terms `coefficient · Π factors · reference`, to be subtracted.
    pub(in crate::compile) shifts: Vec<(usize, Vec<ShiftTerm>)>,
}

/// One term of a shift.
#[derive(Debug)]
pub(in crate::compile) struct ShiftTerm {
    pub coefficient: f64,
    pub factors: Vec<Id>,
    pub reference: Reference,
}

impl ShiftTerm {
    /// Returns the coordinates on which the term depends.
    fn coordinates(&self, graph: &Graph) -> impl Iterator<Item = usize> {
        let value = match self.reference {
            Reference::Mean(_) => None,
            Reference::Value(value) => Some(value),
        };
        let nodes: Vec<Id> =
            self.factors.iter().copied().chain(value).flat_map(|node| ancestors(graph, node)).collect();
        let coordinate = |id: &Id| match graph.node(*id) {
            Node::Coordinate(i) => Some(i as usize),
            _ => None,
        };
        nodes.iter().filter_map(coordinate).collect::<Vec<_>>().into_iter()
    }
}

/// The reference point at which a term is evaluated.
#[derive(Debug)]
pub(in crate::compile) enum Reference {
    /// The mean of a data column.
    Mean(u32),
    /// A node: an exponent at the ends of its data, or a factor of an equation at its lower end.
    Value(Id),
}

impl CentringPlan {
    /// Plans to shift a coordinate, unless it is shifted already. Terms are left out that would make a coordinate
    /// shifted on which a shift depends.
    pub(in crate::compile) fn add(&mut self, graph: &Graph, coordinate: usize, mut terms: Vec<ShiftTerm>) {
        let is_shifted = |i: usize| self.shifts.iter().any(|(known, _)| *known == i);
        terms.retain(|term| !term.coordinates(graph).any(|i| i == coordinate || is_shifted(i)));
        let is_needed = self
            .shifts
            .iter()
            .flat_map(|(_, terms)| terms)
            .any(|term| term.coordinates(graph).any(|i| i == coordinate));
        if !terms.is_empty() && !is_shifted(coordinate) && !is_needed {
            self.shifts.push((coordinate, terms));
        }
    }

    /// Returns the columns to centre.
    pub fn columns(&self) -> Vec<u32> {
        let terms = self.shifts.iter().flat_map(|(_, terms)| terms);
        let mut columns: Vec<u32> = terms
            .filter_map(|term| match term.reference {
                Reference::Mean(column) => Some(column),
                Reference::Value(_) => None,
            })
            .collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Returns the shift of coordinate `i`, as a node.
    pub fn shift(&self, graph: &mut Graph, i: usize) -> Id {
        let mut sum = graph.constant(0.0);
        for (_, terms) in self.shifts.iter().filter(|(shifted, _)| *shifted == i) {
            for term in terms {
                let mut product = graph.constant(term.coefficient);
                for &factor in &term.factors {
                    product = graph.mul(product, factor);
                }
                let reference = match term.reference {
                    Reference::Mean(column) => graph.centre(column),
                    Reference::Value(value) => value,
                };
                product = graph.mul(product, reference);
                sum = graph.sub(sum, product);
            }
        }
        sum
    }
}
