//! The expression graph: hash-consed nodes built through constructors that simplify.
//!
//! A node is built once: asking for the same operation on the same operands gives the same [`Id`], so
//! common subexpressions are shared by construction, first and second derivatives included. The
//! constructors apply only rewrites that are exact in real arithmetic and never widen the set of inputs
//! that overflow: products of exponentials become the exponential of a sum, powers become exponentials of
//! a multiple of a logarithm, `log(exp(a) + exp(b))` and `1/(1 + exp(-x))` take their stable forms.
//!
//! Expressions of data alone are leaves here: they are evaluated once per sweep, as written.

use std::collections::HashMap;

use crate::lanes::scalar;

/// The place of a node in its [`Graph`]; operands have smaller ids than the nodes that use them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Id(pub u32);

impl Id {
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One operation of the graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Node {
    /// A constant, by its bits.
    Constant(u64),
    /// A value per observation: an index into the law's data columns.
    Data(u32),
    /// A value per sweep: the mean of a data column (see `centre`).
    Centre(u32),
    /// A coordinate of the solver.
    Coordinate(u32),
    Add(Id, Id),
    Sub(Id, Id),
    Mul(Id, Id),
    Div(Id, Id),
    Unary(Unary, Id),
    Min(Id, Id),
    Max(Id, Id),
    /// `log(exp(a) + exp(b))`.
    LogAddExp(Id, Id),
    /// `1` where `a < b`, else `0`: the derivative of `min`, `max` and `abs`.
    Less(Id, Id),
    /// IEEE power; only where the base is not known to be positive.
    Pow(Id, Id),
    /// The unknown of the equation it stands in. Equations do not nest, so there is only one.
    Unknown,
    /// The unknown's value where an equation holds: an index into the graph's equations.
    Root(u32),
}

/// An equation in [`Node::Unknown`], monotone between two ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Equation {
    pub low: Id,
    pub high: Id,
    /// Zero at the root.
    pub residual: Id,
    /// `∂ residual / ∂ unknown`.
    pub slope: Id,
}

/// Operations of one operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unary {
    Neg,
    Exp,
    Ln,
    /// Logarithm of the base of a power: a zero base gives a large negative number instead of `-inf`, so
    /// that `0^c` and its derivatives with respect to `c` are 0 rather than NaN.
    LnBase,
    Sqrt,
    Abs,
    Sin,
    Cos,
    Tan,
    Atan,
    Tanh,
    Sigmoid,
}

/// The number that encodes the logarithm of a zero base: `exp(c·L)` is 0 for every `c` above 1e-147, and neither `L`
/// nor `L²` overflows, so derivatives of first and second order stay finite.
pub const LN_ZERO: f64 = -1e150;

/// The definition of a data column.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Recipe {
    /// The value of the law's n-th data expression.
    Source(u32),
    /// An operation on another column, done once per sweep.
    Unary(Unary, u32),
    /// One over another column.
    Inverse(u32),
    /// Another column less its weighted mean over the sweep, which is `Node::Centre` of that column.
    Centred(u32),
    /// The value of the n-th held parameter, for all observations.
    Held(u32),
    /// The least, or the greatest, of another column's values, for all observations.
    Least(u32),
    Greatest(u32),
}

/// What constructors and readers ask of a node again and again. It is worked out once per node, from that of the
/// operands: to look for it below a node would visit a shared operand once per path, and paths can double with every
/// level.
#[derive(Clone, Copy, Debug)]
struct Traits {
    is_positive: bool,
    is_exponential_sum: bool,
    depends_on_data: bool,
}

/// An expression graph with its index.
#[derive(Clone, Default, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    /// One per node.
    traits: Vec<Traits>,
    pub(super) index: HashMap<Node, Id>,
    recipes: Vec<Recipe>,
    pub(super) equations: Vec<Equation>,
    /// The columns that are written as (centred column) + (mean) wherever they are used.
    pub(super) centred: Vec<u32>,
}

impl Graph {
    #[must_use]
    pub fn node(&self, id: Id) -> Node {
        self.nodes[id.index()]
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn intern(&mut self, node: Node) -> Id {
        if let Some(&id) = self.index.get(&node) {
            return id;
        }
        // A law of `MAX_WORK` has some million nodes; counting on from zero would give one node the place of another.
        let id = Id(u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes"));
        let traits = self.traits_of(node);
        self.traits.push(traits);
        self.nodes.push(node);
        self.index.insert(node, id);
        id
    }

    fn traits_of(&self, node: Node) -> Traits {
        let of = |id: Id| self.traits[id.index()];
        let is_exp = |id: Id| matches!(self.node(id), Node::Unary(Unary::Exp, _));
        let is_positive = match node {
            Node::Constant(bits) => f64::from_bits(bits) > 0.0,
            Node::Unary(Unary::Exp | Unary::Sigmoid, _) => true,
            Node::Mul(a, b) | Node::Div(a, b) | Node::Add(a, b) => of(a).is_positive && of(b).is_positive,
            _ => false,
        };
        let is_exponential_sum = match node {
            Node::Unary(Unary::Exp, _) => true,
            Node::Unary(Unary::Neg, a) => of(a).is_exponential_sum,
            Node::Mul(a, b) => is_exp(a) || is_exp(b),
            Node::Add(a, b) | Node::Sub(a, b) => of(a).is_exponential_sum && of(b).is_exponential_sum,
            _ => false,
        };
        let depends_on_data = matches!(node, Node::Data(_) | Node::Unknown | Node::Root(_))
            || self.operands_of(node).any(|operand| of(operand).depends_on_data);
        Traits { is_positive, is_exponential_sum, depends_on_data }
    }

    /// Whether the node is positive wherever it is finite.
    #[must_use]
    pub fn known_positive(&self, id: Id) -> bool {
        self.traits[id.index()].is_positive
    }

    /// Whether a node is an exponential, a product with one, or a sum of such.
    pub(super) fn is_exponential_sum(&self, id: Id) -> bool {
        self.traits[id.index()].is_exponential_sum
    }

    /// Whether a node has a value per observation. Equations and their roots count as if they had.
    #[must_use]
    pub fn depends_on_data(&self, id: Id) -> bool {
        self.traits[id.index()].depends_on_data
    }

    /// Returns the operands of a node, in order.
    pub fn operands(&self, id: Id) -> impl Iterator<Item = Id> + use<> {
        self.operands_of(self.node(id))
    }

    fn operands_of(&self, node: Node) -> impl Iterator<Item = Id> + use<> {
        let (a, b, c) = match node {
            Node::Constant(_) | Node::Data(_) | Node::Centre(_) | Node::Coordinate(_) | Node::Unknown => {
                (None, None, None)
            }
            Node::Unary(_, a) => (Some(a), None, None),
            Node::Root(equation) => {
                let equation = self.equation(equation);
                (Some(equation.low), Some(equation.high), Some(equation.residual))
            }
            Node::Add(a, b)
            | Node::Sub(a, b)
            | Node::Mul(a, b)
            | Node::Div(a, b)
            | Node::Min(a, b)
            | Node::Max(a, b)
            | Node::LogAddExp(a, b)
            | Node::Less(a, b)
            | Node::Pow(a, b) => (Some(a), Some(b), None),
        };
        a.into_iter().chain(b).chain(c)
    }

    /// The unknown of equations.
    pub fn unknown(&mut self) -> Id {
        self.intern(Node::Unknown)
    }

    #[must_use]
    pub fn equation(&self, index: u32) -> Equation {
        self.equations[index as usize]
    }

    pub fn constant(&mut self, value: f64) -> Id {
        // One zero: the sign of an exact zero carries no meaning in a law.
        let value = if value == 0.0 { 0.0 } else { value };
        self.intern(Node::Constant(value.to_bits()))
    }

    #[must_use]
    pub fn as_constant(&self, id: Id) -> Option<f64> {
        match self.node(id) {
            Node::Constant(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    #[must_use]
    pub fn is_zero(&self, id: Id) -> bool {
        self.as_constant(id) == Some(0.0)
    }

    pub(super) fn is_one(&self, id: Id) -> bool {
        self.as_constant(id) == Some(1.0)
    }

    /// Returns the definitions of the columns that the graph's `Data` nodes index.
    #[must_use]
    pub fn recipes(&self) -> &[Recipe] {
        &self.recipes
    }

    /// From here on, writes the given columns as centred column plus mean.
    pub fn centre_columns(&mut self, columns: &[u32]) {
        self.centred = columns.to_vec();
    }

    pub(crate) fn column(&mut self, recipe: Recipe) -> u32 {
        if let Some(known) = self.recipes.iter().position(|&r| r == recipe) {
            return known as u32;
        }
        self.recipes.push(recipe);
        self.recipes.len() as u32 - 1
    }

    /// Returns the smallest and the largest value of a column.
    pub fn ends(&mut self, column: u32) -> [Id; 2] {
        [Recipe::Least(column), Recipe::Greatest(column)].map(|recipe| {
            let constant = self.column(recipe);
            self.centre(constant)
        })
    }

    /// The mean of a column.
    pub fn centre(&mut self, column: u32) -> Id {
        self.intern(Node::Centre(column))
    }

    pub fn coordinate(&mut self, index: usize) -> Id {
        self.intern(Node::Coordinate(index as u32))
    }
}

impl Unary {
    /// Applies the operation to one number: the reference for tests of compiled programs, and the folding of constants.
    #[must_use]
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Unary::Neg => -x,
            Unary::Exp => scalar::exp(x),
            Unary::Ln => scalar::ln(x),
            Unary::LnBase => {
                if x == 0.0 {
                    LN_ZERO
                } else {
                    scalar::ln(x)
                }
            }
            Unary::Sqrt => x.sqrt(),
            Unary::Abs => x.abs(),
            Unary::Sin => scalar::sin(x),
            Unary::Cos => scalar::cos(x),
            Unary::Tan => scalar::tan(x),
            Unary::Atan => scalar::atan(x),
            Unary::Tanh => scalar::tanh(x),
            Unary::Sigmoid => scalar::sigmoid(x),
        }
    }
}

/// Returns the nodes on which `node` depends, itself included, in id order.
#[must_use]
pub fn ancestors(graph: &Graph, node: Id) -> Vec<Id> {
    let mut seen = vec![false; node.index() + 1];
    seen[node.index()] = true;
    for i in (0..=node.index()).rev() {
        if seen[i] {
            for operand in graph.operands(Id(i as u32)) {
                seen[operand.index()] = true;
            }
        }
    }
    (0..=node.index()).filter(|&i| seen[i]).map(|i| Id(i as u32)).collect()
}
