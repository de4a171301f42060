//! Expands exponents to sums of monomials: a sum of constants times products of atoms.
//!
//! Power terms look like `exp(a − α·log N)`. Writing the exponent as a sum of monomials shows which amplitude belongs
//! to which exponent and data column (which centring needs), and lets the means introduced by centring cancel term by
//! term.

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

impl LinearForm {
    /// Expands a node.
    pub fn expand(graph: &Graph, id: Id) -> Self {
        let mut form = LinearForm::default();
        for term in Self::terms(graph, id, 0) {
            form.push(term);
        }
        form
    }

    fn push(&mut self, term: Term) {
        if let Some(i) = self.terms.iter().position(|t| t.factors == term.factors) {
            self.terms[i].coefficient += term.coefficient;
            if self.terms[i].coefficient == 0.0 {
                self.terms.remove(i);
                self.cancelled = true;
            }
        } else if term.coefficient != 0.0 {
            self.terms.push(term);
        }
    }

    fn terms(graph: &Graph, id: Id, depth: usize) -> Vec<Term> {
        let atom = || vec![Term { coefficient: 1.0, factors: vec![id] }];
        if depth > 24 {
            return atom();
        }
        let scaled = |mut terms: Vec<Term>, by: f64| {
            terms.iter_mut().for_each(|t| t.coefficient *= by);
            terms
        };
        match graph.node(id) {
            Node::Constant(bits) => {
                vec![Term { coefficient: f64::from_bits(bits), factors: vec![] }]
            }
            Node::Add(a, b) => {
                let mut terms = Self::terms(graph, a, depth + 1);
                terms.extend(Self::terms(graph, b, depth + 1));
                terms
            }
            Node::Sub(a, b) => {
                let mut terms = Self::terms(graph, a, depth + 1);
                terms.extend(scaled(Self::terms(graph, b, depth + 1), -1.0));
                terms
            }
            Node::Unary(Unary::Neg, a) => scaled(Self::terms(graph, a, depth + 1), -1.0),
            Node::Mul(a, b) => {
                let left = Self::terms(graph, a, depth + 1);
                let right = Self::terms(graph, b, depth + 1);
                if left.len() * right.len() > MOST_TERMS {
                    return atom();
                }
                let mut product = Vec::with_capacity(left.len() * right.len());
                for l in &left {
                    for r in &right {
                        let mut factors = [l.factors.as_slice(), r.factors.as_slice()].concat();
                        factors.sort();
                        product.push(Term { coefficient: l.coefficient * r.coefficient, factors });
                    }
                }
                product
            }
            _ => atom(),
        }
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
