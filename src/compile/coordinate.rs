//! The solver's coordinates.
//!
//! The solver does not see `A` and `alpha` but coordinates in which the problem is well scaled:
//!
//! * a positive parameter that scales something (an amplitude, a characteristic scale) is replaced by its
//!   logarithm, so that its domain is open and steps are relative;
//! * an additive floor such as `E` and an exponent stay as they are, with their domain as bounds, so that
//!   a floor of exactly zero is reached in finitely many steps;
//! * where an amplitude multiplies a power of a variable, `A·N^-alpha`, its coordinate is the logarithm of
//!   the term at the geometric-mean observation: `a' = log A − alpha·mean(log N)`. Raw `log A` and `alpha`
//!   are correlated to 0.999 on real sweeps; `a'` and `alpha` hardly;
//! * where the amplitude has no sign of its own, so that it has no logarithm, its coordinate is the amplitude times the
//!   same power: `b' = b·exp(−c·mean(log x))` for `b·x^-c`. Other exponentials, as in `b·(d + x)^-c` or `b·exp(-c*x)`, are
//!   taken at the ends of the data, where the larger one is about the largest that they get;
//! * where it stands in an equation beside a power of a distance to the unknown, as `b` does in
//!   `log(y − e) − a·log(e0 − y) = log b − c·log x`, that distance is taken at the lower end: `log b + a·log(e0 − e)`
//!   stays where it is when `a` and `e0` grow together, `log b` does not.
//!
//! The change of coordinates is itself built into the expression graph, so derivatives with respect to the
//! coordinates are exact and the hot loop computes `exp(a' − alpha·u)` with the centred column `u`.

use crate::law::graph::ancestors;
use crate::law::graph::{Graph, Id, Node};

/// A free coordinate of the solver and the parameter it stands for.
#[derive(Debug, Clone)]
pub struct Coordinate {
    /// Index into [`crate::law::Law::parameters`].
    pub parameter: usize,
    pub scale: Scale,
    /// Bounds in the coordinate's own units; infinite where there are none. A logarithmic coordinate of a
    /// domain that starts at 0 has no lower bound: the edge is tried separately (see `optimize::boundary`).
    pub low: f64,
    pub high: f64,
    pub metric: Metric,
    pub role: Role,
}

impl Coordinate {
    /// Whether the prediction is linear in this coordinate, the others given. Where the objective has a finite minimum
    /// over the other coordinates, it has one over these.
    pub fn is_conditionally_linear(&self) -> bool {
        self.scale == Scale::Linear && matches!(self.role, Role::Offset | Role::Amplitude)
    }
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
    /// The prediction is the root of an equation, and this its lower end.
    LowEnd,
    /// The prediction is the root of an equation, and this its upper end.
    HighEnd,
    /// The prediction is linear in it, jointly with the other amplitudes.
    Amplitude,
    /// The prediction is linear in it piece by piece: it stands under `min`, `max` or `abs`.
    Piece,
    /// Stands in an exponent or in the argument of a function.
    Exponent,
    /// Anything else: a characteristic scale.
    Shape,
}

/// Upper bound of every logarithmic coordinate: `exp` of it is near the largest number. A search that follows
/// a valley to infinity stops here, and the fit is then called underdetermined.
pub const LARGEST_LOG: f64 = 690.0;

/// Which data columns are centred, and by what each amplitude's coordinate is shifted.
#[derive(Debug, Default)]
pub struct CentringPlan {
    /// Per shifted coordinate: terms `coefficient · Π factors · mean(column)`, to be subtracted.
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
    /// The coordinates that it depends on.
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

/// Where a term is taken to shift an amplitude by it.
#[derive(Debug)]
pub(in crate::compile) enum Reference {
    /// The mean of a data column.
    Mean(u32),
    /// An exponent at the ends of its data; an equation's unknown at its lower end.
    Value(Id),
}

impl CentringPlan {
    /// Plans to shift a coordinate, unless that is planned already. A coordinate that a shift depends on is not shifted
    /// itself: terms that would make it so are left out.
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

    /// The columns to centre.
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

    /// The shift of coordinate `i`, as a node.
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
