//! The compiled forms of a law that fits need, and what else of a fit depends on the law alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::compile::Model;
use crate::formula::{Expr, names};
use crate::law::{Law, Residual, Symmetries};

use super::starts::design::Design;

/// How a parameter stands on the edge 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::optimize) enum Zero {
    Exact,
    /// At [`NEAR_ZERO`] instead, and called zero: for laws that have a limit at 0 which is not their value there, as a
    /// broken law has when its break becomes sharp.
    Limit,
}

/// Small enough to be as good as zero, and its inverse's square is still a number.
const NEAR_ZERO: f64 = 1e-100;

/// Parameters at zero, and how they stand there.
type Edge = (Vec<usize>, Zero);

/// The compiled forms of one law: its own, and with parameters fixed on edges as fits ask for them; and what else of a
/// fit depends on the law alone.
#[derive(Debug)]
pub struct Models {
    law: Law,
    residual: Residual,
    full: Arc<Model>,
    reduced: Mutex<BTreeMap<Edge, Arc<Model>>>,
    holding: Mutex<BTreeMap<usize, Arc<Models>>>,
    design: OnceLock<Design>,
    symmetries: OnceLock<Symmetries>,
    independent: Vec<(usize, usize)>,
}

impl Models {
    pub fn compile(law: Law, residual: Residual) -> Models {
        let full = Arc::new(Model::compile(&law, residual));
        let independent = independent(&full.sources);
        Models {
            law,
            residual,
            full,
            reduced: Mutex::default(),
            holding: Mutex::default(),
            design: OnceLock::new(),
            symmetries: OnceLock::new(),
            independent,
        }
    }

    pub fn law(&self) -> &Law {
        &self.law
    }

    pub fn full(&self) -> &Arc<Model> {
        &self.full
    }

    /// The compiled forms of the law with one parameter held at a value that comes with each problem (see
    /// [`Problem::holding`](crate::problem::Problem::holding)). They are compiled when first asked for.
    pub fn holding(&self, parameter: usize) -> Arc<Models> {
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = || Arc::new(Models::compile(self.law.holding(parameter), self.residual));
        Arc::clone(holding.entry(parameter).or_insert_with(compiled))
    }

    /// How starts are made.
    pub(in crate::optimize) fn design(&self) -> &Design {
        self.design.get_or_init(|| Design::of(&self.law, &self.full, &|parameters| self.at_zero(parameters)))
    }

    /// Other parameters that give the same curve.
    pub fn symmetries(&self) -> &Symmetries {
        self.symmetries.get_or_init(|| Symmetries::of(&self.law))
    }

    /// Pairs of the law's data expressions that have no variable in common.
    pub(in crate::optimize) fn independent(&self) -> &[(usize, usize)] {
        &self.independent
    }

    /// The model with the given parameters of the law fixed at zero.
    pub(in crate::optimize) fn at_zero(&self, parameters: &[usize]) -> Arc<Model> {
        self.at(parameters, Zero::Exact)
    }

    /// The model with the given parameters of the law at zero, in one of two ways.
    pub(in crate::optimize) fn at(&self, parameters: &[usize], zero: Zero) -> Arc<Model> {
        let mut reduced = self.reduced.lock().unwrap_or_else(PoisonError::into_inner);
        let fixed = |value: f64| {
            let law = parameters.iter().fold(self.law.clone(), |law, &i| law.with_fixed(i, value));
            Model::compile(&law, self.residual)
        };
        let model = reduced.entry((parameters.to_vec(), zero)).or_insert_with(|| {
            Arc::new(match zero {
                Zero::Exact => fixed(0.0),
                Zero::Limit => fixed(NEAR_ZERO),
            })
        });
        Arc::clone(model)
    }
}

/// Pairs of data expressions that have no variable in common: that the square of a variable moves with it is the law's
/// own doing, not the data's.
fn independent(sources: &[Expr]) -> Vec<(usize, usize)> {
    let names: Vec<Vec<&str>> = sources.iter().map(names).collect();
    let pairs = (0..sources.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    pairs.filter(|&(i, j)| !names[i].iter().any(|name| names[j].contains(name))).collect()
}
