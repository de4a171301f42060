//! The expression graph: hash-consed nodes, built by constructors that simplify.
//!
//! Every operation on given operands exists once and has one [`Id`], so the value and its derivatives share common
//! subexpressions. The constructors apply only rewrites that are exact in real arithmetic and do not overflow for more
//! inputs: products of exponentials become the exponential of a sum, powers become exponentials of a multiple of a
//! logarithm, `log(exp(a) + exp(b))` and `1/(1 + exp(-x))` take their stable forms.
//!
//! Expressions that contain only data are leaves of the graph. They are evaluated once per sweep, as written.

use std::collections::HashMap;

use crate::lanes::scalar;

/// The index of a node in its [`Graph`]. Operands have smaller ids than the nodes that use them.
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
    /// A constant, given by the bits of its `f64`.
    Constant(u64),
    /// The value of a data column, one per observation; the index of the column.
    Data(u32),
    /// The weighted mean of a data column, one value per sweep; the index of the column.
    Centre(u32),
    /// A coordinate of the solver, given by its index.
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
    /// IEEE 754 power with an integer constant exponent and a base that is not known to be positive.
    Pow(Id, Id),
    /// The unknown of an equation. Equations do not nest, so one node suffices.
    Unknown,
    /// The root of an equation; the index of the equation.
    Root(u32),
}

/// The equation `residual = 0` in [`Node::Unknown`], monotone between `low` and `high`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Equation {
    pub low: Id,
    pub high: Id,
    /// The expression that is zero at the root.
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
    /// The logarithm of the base of a power. For a base of zero it is [`LN_ZERO`] instead of `-inf`, so that `0^c` and
    /// its derivatives with respect to `c` are 0 and not NaN.
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

/// The number L that represents the logarithm of zero in powers. `exp(c·L)` is 0 for every `c` above 1e-147, and
/// neither L nor L² overflows, so first and second derivatives are finite.
pub const LN_ZERO: f64 = -1e150;

/// A data column, given by its definition. Columns are computed once per sweep.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DataColumn {
    /// The value of the law's n-th data expression.
    Source(u32),
    /// A function of another column.
    Unary(Unary, u32),
    /// The inverses of another column's values.
    Inverse(u32),
    /// Another column less its weighted mean over the sweep; the mean is `Node::Centre` of the other column.
    Centred(u32),
    /// The value of the n-th held parameter, for all observations.
    Held(u32),
    /// The least of another column's values, for all observations.
    Least(u32),
    /// The greatest of another column's values, for all observations.
    Greatest(u32),
}

/// Properties of a node that the constructors use. They are derived once per node from those of the operands, because a
/// search below a node takes exponential time where operands are shared.
#[derive(Clone, Copy, Debug)]
struct NodeProperties {
    /// See [`Graph::known_positive`].
    is_positive: bool,
    /// See [`Graph::is_exponential_sum`].
    is_exponential_sum: bool,
    /// See [`Graph::depends_on_data`].
    depends_on_data: bool,
}

/// An expression graph.
#[derive(Clone, Default, Debug)]
pub struct Graph {
    nodes: Vec<Node>,
    /// The properties of each node.
    properties: Vec<NodeProperties>,
    /// The id of each node.
    pub(super) index: HashMap<Node, Id>,
    data_columns: Vec<DataColumn>,
    pub(super) equations: Vec<Equation>,
    /// The data columns that are written as the sum of centred column and mean.
    pub(super) centred: Vec<u32>,
}

impl Graph {
    /// Returns the node with an id.
    #[must_use]
    pub fn node(&self, id: Id) -> Node {
        self.nodes[id.index()]
    }

    /// Returns the number of nodes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the id of a node, which is added if it is new.
    pub(super) fn intern(&mut self, node: Node) -> Id {
        if let Some(&id) = self.index.get(&node) {
            return id;
        }
        // `MAX_WORK` limits a law to some million nodes. A wrapped id would silently refer to another node.
        let id = Id(u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes"));
        let properties = self.properties_of(node);
        self.properties.push(properties);
        self.nodes.push(node);
        self.index.insert(node, id);
        id
    }

    /// Derives the properties of a node from those of its operands.
    fn properties_of(&self, node: Node) -> NodeProperties {
        let of = |id: Id| self.properties[id.index()];
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
        NodeProperties { is_positive, is_exponential_sum, depends_on_data }
    }

    /// Returns whether a node is known to be positive wherever it is finite.
    #[must_use]
    pub fn known_positive(&self, id: Id) -> bool {
        self.properties[id.index()].is_positive
    }

    /// Returns whether a node is an exponential, a product of an exponential, or a sum or difference of such nodes.
    pub(super) fn is_exponential_sum(&self, id: Id) -> bool {
        self.properties[id.index()].is_exponential_sum
    }

    /// Returns whether a node has one value per observation. The unknown and the roots of equations always count as
    /// such.
    #[must_use]
    pub fn depends_on_data(&self, id: Id) -> bool {
        self.properties[id.index()].depends_on_data
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

    /// Returns the unknown of equations.
    pub fn unknown(&mut self) -> Id {
        self.intern(Node::Unknown)
    }

    /// Returns the equation with an index.
    #[must_use]
    pub fn equation(&self, index: u32) -> Equation {
        self.equations[index as usize]
    }

    /// Returns a constant.
    pub fn constant(&mut self, value: f64) -> Id {
        // Both zeros become +0: the sign of an exact zero has no meaning in a law.
        let value = if value == 0.0 { 0.0 } else { value };
        self.intern(Node::Constant(value.to_bits()))
    }

    /// Returns the value of a constant node.
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

    /// Returns the data columns; [`Node::Data`] is an index of this list.
    #[must_use]
    pub fn data_columns(&self) -> &[DataColumn] {
        &self.data_columns
    }

    /// Makes later uses of the given columns sums of centred column and mean.
    pub fn centre_columns(&mut self, columns: &[u32]) {
        self.centred = columns.to_vec();
    }

    /// Returns the index of a data column, which is added if it is new.
    pub(crate) fn column(&mut self, definition: DataColumn) -> u32 {
        if let Some(known) = self.data_columns.iter().position(|&r| r == definition) {
            return known as u32;
        }
        self.data_columns.push(definition);
        self.data_columns.len() as u32 - 1
    }

    /// Returns the smallest and the largest value of a column.
    pub fn ends(&mut self, column: u32) -> [Id; 2] {
        [DataColumn::Least(column), DataColumn::Greatest(column)].map(|definition| {
            let constant = self.column(definition);
            self.centre(constant)
        })
    }

    /// Returns the weighted mean of a column.
    pub fn centre(&mut self, column: u32) -> Id {
        self.intern(Node::Centre(column))
    }

    /// Returns a coordinate of the solver.
    pub fn coordinate(&mut self, index: usize) -> Id {
        self.intern(Node::Coordinate(index as u32))
    }
}

impl Unary {
    /// Applies the operation to a number. Used to fold constants, to compute data columns, and as the reference in
    /// tests of compiled programs.
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
