//! The compiled forms of a law that fits need, and everything else of a fit that depends on the law alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::compile::Model;
use crate::formula::{Expr, names};
use crate::law::{Law, Residual, Symmetries};

use super::starts::design::Design;

/// How a parameter on the edge 0 is represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::optimize) enum Zero {
    /// By the value 0.
    Exact,
    /// By [`NEAR_ZERO`], reported as zero: for laws whose limit at 0 is not their value there, such as a broken power
    /// law whose break becomes sharp.
    Limit,
}

/// A value as good as zero, the square of whose inverse is still finite.
const NEAR_ZERO: f64 = 1e-100;

/// The parameters at zero, and how they are represented.
type Edge = (Vec<usize>, Zero);

/// The compiled forms of one law: the law itself, and the law with parameters fixed at 0, compiled when a fit asks for
/// them.
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
    /// Compiles a law for residuals of the given kind.
    #[must_use]
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

    /// Returns the law.
    pub fn law(&self) -> &Law {
        &self.law
    }

    /// Returns the model in which no parameter is fixed at an edge.
    pub fn full(&self) -> &Arc<Model> {
        &self.full
    }

    /// Returns the compiled forms of the law with one parameter held at a value that comes with each problem (see
    /// [`Problem::holding`](crate::problem::Problem::holding)). They are compiled when first asked for.
    pub fn holding(&self, parameter: usize) -> Arc<Models> {
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = || Arc::new(Models::compile(self.law.holding(parameter), self.residual));
        Arc::clone(holding.entry(parameter).or_insert_with(compiled))
    }

    /// Returns the rules by which starts are generated.
    pub(in crate::optimize) fn design(&self) -> &Design {
        self.design.get_or_init(|| Design::of(&self.law, &self.full, &|parameters| self.at_zero(parameters)))
    }

    /// Returns the transformations of the parameters that leave the prediction unchanged.
    pub fn symmetries(&self) -> &Symmetries {
        self.symmetries.get_or_init(|| Symmetries::of(&self.law))
    }

    /// Returns the pairs of data expressions that have no variable in common, by their places in the model.
    pub(in crate::optimize) fn independent(&self) -> &[(usize, usize)] {
        &self.independent
    }

    /// Returns the model with the given parameters of the law fixed at 0.
    pub(crate) fn at_zero(&self, parameters: &[usize]) -> Arc<Model> {
        self.at(parameters, Zero::Exact)
    }

    /// Returns the model with the given parameters of the law on the edge 0, represented as `zero` says.
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

/// Returns the pairs of data expressions that have no variable in common. Only for them is collinearity a fact of the
/// data: `x` and `x^2` depend on one another by the law.
fn independent(sources: &[Expr]) -> Vec<(usize, usize)> {
    let names: Vec<Vec<&str>> = sources.iter().map(names).collect();
    let pairs = (0..sources.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    pairs.filter(|&(i, j)| !names[i].iter().any(|name| names[j].contains(name))).collect()
}
