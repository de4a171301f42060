//! The Bayesian bootstrap: every observation, or every cluster, has a random weight.

use rand_chacha::ChaCha8Rng;

use crate::problem::Observations;

use super::random::{begin, exponential};
use super::scheme::{Sample, Scheme};
use super::units::Units;

/// Gives units Dirichlet weights with all parameters one, times the number of units (Rubin 1981, Annals of Statistics 9,
/// 130).
#[derive(Debug)]
pub struct DirichletWeights {
    rng: ChaCha8Rng,
    units: Units,
    /// The weight of each observation in the sweep.
    own: Vec<f64>,
    /// The factor of each unit.
    factors: Vec<f64>,
}

impl DirichletWeights {
    /// Prepares the weights of the observations of positive weight, or of their clusters if there are any.
    #[must_use]
    pub fn new(observations: &Observations, rng: ChaCha8Rng) -> DirichletWeights {
        let units = Units::of(observations);
        let factors = vec![0.0; units.count];
        DirichletWeights { rng, units, own: observations.weight.clone(), factors }
    }
}

impl Scheme for DirichletWeights {
    fn n_units(&self) -> usize {
        self.units.count
    }

    fn n_samples(&self, most: usize) -> usize {
        most
    }

    /// Exponential variates over their sum have this Dirichlet distribution.
    fn draw(&mut self, replicate: u64, Sample { rows, weight, .. }: Sample<'_>) -> usize {
        begin(&mut self.rng, replicate);
        let DirichletWeights { rng, units, own, factors } = self;
        factors.iter_mut().for_each(|factor| *factor = exponential(rng));
        let mean = factors.iter().sum::<f64>() / factors.len() as f64;
        units.keep(rows, weight, |i| own[i] * (factors[units.of[i] as usize] / mean))
    }
}
