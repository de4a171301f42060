//! The wild bootstrap: residuals keep their place and size, and take random signs, one per observation or cluster.

use rand_chacha::ChaCha8Rng;

use crate::optimize::Fit;

use super::random::{begin, indices};
use super::residuals::Predictions;
use super::scheme::{Sample, Scheme};

/// The number of units from which two points suffice: 2¹² sign patterns.
const MIN_UNITS_FOR_SIGNS: usize = 12;

/// Two points of mean zero and variance one (Rademacher).
const SIGNS: [f64; 2] = [-1.0, 1.0];

/// Six points of mean zero and variance one (Webb 2023, Canadian Journal of Economics 56, 839).
const SIX_POINTS: [f64; 6] = [
    -1.224_744_871_391_589,
    -1.0,
    -std::f64::consts::FRAC_1_SQRT_2,
    std::f64::consts::FRAC_1_SQRT_2,
    1.0,
    1.224_744_871_391_589,
];

/// Multiplies the residuals of each unit by a random factor of mean zero and variance one (Cameron, Gelbach & Miller
/// 2008, Review of Economics and Statistics 90, 414).
#[derive(Debug)]
pub struct WildResponses {
    rng: ChaCha8Rng,
    predictions: Predictions,
    /// The factor of each unit.
    factors: Vec<f64>,
}

impl WildResponses {
    /// Prepares to change the residuals of a fit.
    #[must_use]
    pub fn new(fit: &Fit, rng: ChaCha8Rng) -> WildResponses {
        let predictions = Predictions::of(fit);
        let factors = vec![0.0; predictions.units.count];
        WildResponses { rng, predictions, factors }
    }

    /// Returns the points from which factors are drawn.
    fn points(&self) -> &'static [f64] {
        if self.factors.len() < MIN_UNITS_FOR_SIGNS { &SIX_POINTS } else { &SIGNS }
    }
}

impl Scheme for WildResponses {
    fn n_units(&self) -> usize {
        self.factors.len()
    }

    fn n_samples(&self, most: usize) -> usize {
        let points = self.points().len();
        let times = |samples: usize, _| samples.checked_mul(points).filter(|s| *s < most);
        self.factors.iter().try_fold(1, times).unwrap_or(most)
    }

    fn makes_responses(&self) -> bool {
        true
    }

    fn draw(&mut self, replicate: u64, sample: Sample<'_>) -> usize {
        begin(&mut self.rng, replicate);
        let points = self.points();
        let WildResponses { rng, predictions, factors } = self;
        let mut places = factors.iter_mut();
        indices(rng, points.len() as u32, predictions.units.count, |k| {
            if let Some(factor) = places.next() {
                *factor = points[k];
            }
        });
        predictions.respond(sample, |i| predictions.residual[i] * factors[predictions.units.of[i] as usize])
    }
}
