//! Expands exponents to sums of monomials: constants times products of atomic nodes.
//!
//! Power terms have the form `exp(a − α·log N)`. The monomials of the exponent show which amplitude belongs to which
//! exponent and data column, which centring needs. The means introduced by centring cancel term by term.

use std::collections::HashMap;

use super::graph::{Graph, Id, Node, Unary};

/// A sum `Σ coefficient · Π factors`, with sorted factors and terms in order of first appearance.
#[derive(Debug, Clone, Default)]
pub struct LinearForm {
    pub terms: Vec<Term>,
    /// Whether terms with equal factors cancelled in the expansion.
    pub cancelled: bool,
}

/// One monomial.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub coefficient: f64,
    pub factors: Vec<Id>,
}

// Repeated operands can double the number of terms or factors with every level, so the expansion is limited. A node
// beyond a limit is one atom.

/// The largest number of terms of an expanded product.
const MAX_TERMS: usize = 32;

/// The largest number of terms of an expanded sum.
const MAX_SUMMANDS: usize = 1024;

/// The largest number of factors of a term of an expanded product.
const MAX_FACTORS: usize = 64;

/// The largest depth below the expanded node at which nodes are expanded.
const MAX_DEPTH: usize = 24;

/// The terms of nodes, by node and depth.
type Expanded = HashMap<(Id, usize), Vec<Term>>;

impl LinearForm {
    /// Expands a node.
    #[must_use]
    pub fn expand(graph: &Graph, id: Id) -> Self {
        let mut form = LinearForm::default();
        let mut places = HashMap::new();
        for term in Self::terms(graph, id, 0, &mut Expanded::new()) {
            form.push(term, &mut places);
        }
        form.terms.retain(|term| term.coefficient != 0.0);
        form
    }

    /// Adds a term. `places` are the positions of the terms that are not zero, by their factors.
    fn push(&mut self, term: Term, places: &mut HashMap<Vec<Id>, usize>) {
        if let Some(&i) = places.get(&term.factors) {
            self.terms[i].coefficient += term.coefficient;
            if self.terms[i].coefficient == 0.0 {
                places.remove(&term.factors);
                self.cancelled = true;
            }
        } else if term.coefficient != 0.0 {
            places.insert(term.factors.clone(), self.terms.len());
            self.terms.push(term);
        }
    }

    /// Returns the terms of a node at a depth below the expanded node. `known` holds earlier results.
    fn terms(graph: &Graph, id: Id, depth: usize, known: &mut Expanded) -> Vec<Term> {
        let atom = || vec![Term { coefficient: 1.0, factors: vec![id] }];
        let node = graph.node(id);
        if depth > MAX_DEPTH {
            return atom();
        }
        if let Node::Constant(bits) = node {
            return vec![Term { coefficient: f64::from_bits(bits), factors: vec![] }];
        }
        if let Some(known) = known.get(&(id, depth)) {
            return known.clone();
        }
        let scaled = |mut terms: Vec<Term>, by: f64| {
            terms.iter_mut().for_each(|t| t.coefficient *= by);
            terms
        };
        let terms = match node {
            Node::Add(a, b) | Node::Sub(a, b) => {
                let sign = if matches!(node, Node::Sub(..)) { -1.0 } else { 1.0 };
                let mut terms = Self::terms(graph, a, depth + 1, known);
                terms.extend(scaled(Self::terms(graph, b, depth + 1, known), sign));
                if terms.len() > MAX_SUMMANDS { atom() } else { terms }
            }
            Node::Unary(Unary::Neg, a) => scaled(Self::terms(graph, a, depth + 1, known), -1.0),
            Node::Mul(a, b) => {
                let left = Self::terms(graph, a, depth + 1, known);
                let right = Self::terms(graph, b, depth + 1, known);
                Self::product(&left, &right).unwrap_or_else(atom)
            }
            _ => return atom(),
        };
        known.insert((id, depth), terms.clone());
        terms
    }

    /// Returns the product of two sums, unless it is too large.
    fn product(left: &[Term], right: &[Term]) -> Option<Vec<Term>> {
        let most_factors = |terms: &[Term]| terms.iter().map(|t| t.factors.len()).max().unwrap_or(0);
        if left.len() * right.len() > MAX_TERMS || most_factors(left) + most_factors(right) > MAX_FACTORS {
            return None;
        }
        let mut product = Vec::with_capacity(left.len() * right.len());
        for l in left {
            for r in right {
                let mut factors = [l.factors.as_slice(), r.factors.as_slice()].concat();
                factors.sort();
                product.push(Term { coefficient: l.coefficient * r.coefficient, factors });
            }
        }
        Some(product)
    }

    /// Returns the node that the form represents.
    pub fn rebuild(&self, graph: &mut Graph) -> Id {
        let mut sum = graph.constant(0.0);
        for term in &self.terms {
            let mut product = graph.constant(term.coefficient.abs());
            for &factor in &term.factors {
                product = graph.mul(product, factor);
            }
            sum = if term.coefficient < 0.0 { graph.sub(sum, product) } else { graph.add(sum, product) };
        }
        sum
    }
}
