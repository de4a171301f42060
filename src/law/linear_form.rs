//! Expands exponents to sums of monomials: a sum of constants times products of atoms.
//!
//! Power terms look like `exp(a − α·log N)`. Writing the exponent as a sum of monomials shows which amplitude belongs
//! to which exponent and data column (which centring needs), and lets the means introduced by centring cancel term by
//! term.

use std::collections::HashMap;

use super::graph::{Graph, Id, Node, Unary};

/// A sum `Σ coefficient · Π factors`, with sorted factors and terms in order of first appearance.
#[derive(Debug, Clone, Default)]
pub struct LinearForm {
    pub terms: Vec<Term>,
    /// Whether two terms cancelled.
    pub cancelled: bool,
}

/// One monomial.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub coefficient: f64,
    pub factors: Vec<Id>,
}

/// The largest number of terms of a product of sums that is expanded.
const MOST_TERMS: usize = 32;

/// So do sums of more terms than this, and products of more factors: an operand that stands in a sum or product twice
/// doubles them, level by level.
const MOST_SUMMANDS: usize = 1024;
const MOST_FACTORS: usize = 64;

/// Nodes further below the one that is multiplied out stay as they are.
const DEEPEST: usize = 24;

/// What nodes are at depths where they were met before.
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

    /// Adds a term; `places` are those of the terms that are not zero.
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

    fn terms(graph: &Graph, id: Id, depth: usize, known: &mut Expanded) -> Vec<Term> {
        let atom = || vec![Term { coefficient: 1.0, factors: vec![id] }];
        let node = graph.node(id);
        if depth > DEEPEST {
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
                if terms.len() > MOST_SUMMANDS { atom() } else { terms }
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

    /// The product of two sums, unless it is too large.
    fn product(left: &[Term], right: &[Term]) -> Option<Vec<Term>> {
        let most_factors = |terms: &[Term]| terms.iter().map(|t| t.factors.len()).max().unwrap_or(0);
        if left.len() * right.len() > MOST_TERMS || most_factors(left) + most_factors(right) > MOST_FACTORS {
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
