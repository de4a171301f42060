//! The residual bootstrap, and what all schemes that make responses share: predictions and standardised residuals.

use rand_chacha::ChaCha8Rng;

use crate::infer::leverages::leverages;
use crate::optimize::Fit;

use super::random::{begin, indices};
use super::scheme::{Sample, Scheme};
use super::units::Units;

/// The leverage above which an observation determines its own prediction, and has no residual to correct.
const MAX_LEVERAGE: f64 = 1.0 - 1e-8;

/// A fit's predictions, and its residuals on a common scale.
#[derive(Debug)]
pub struct Predictions {
    pub units: Units,
    /// The weight w of each observation.
    weight: Vec<f64>,
    /// T(prediction) of each observation.
    prediction: Vec<f64>,
    /// The standard deviation of each response up to a common factor, `σ/√w`.
    pub deviation: Vec<f64>,
    /// The residuals `T(response) − T(prediction)` over `deviation`, divided by `√(1 − leverage)`.
    pub residual: Vec<f64>,
}

impl Predictions {
    /// Returns the predictions and residuals of a fit that has a solution.
    #[must_use]
    pub fn of(fit: &Fit) -> Predictions {
        let observations = &fit.problem.observations;
        let n = observations.len();
        let leverages = leverages(fit);
        let rows = fit.solution.as_ref().map(|solution| &solution.rows);
        let prediction = rows.map_or_else(|| vec![f64::NAN; n], |rows| rows.value.clone());
        let deviation: Vec<f64> =
            (0..n).map(|i| observations.sigma_at(i) / observations.weight[i].sqrt()).collect();
        let residual = |i: usize| {
            let left = 1.0 - leverages.get(i).copied().unwrap_or(0.0).min(MAX_LEVERAGE);
            rows.map_or(f64::NAN, |rows| -rows.residual[i] / (deviation[i] * left.sqrt()))
        };
        let residual = (0..n).map(residual).collect();
        let units = Units::of(observations);
        Predictions { units, weight: observations.weight.clone(), prediction, deviation, residual }
    }

    /// Writes a replicate of all observations of positive weight, whose standardised residuals are given.
    pub fn respond(
        &self,
        Sample { rows, weight, target }: Sample<'_>,
        residual: impl Fn(usize) -> f64,
    ) -> usize {
        let kept = self.units.keep(rows, weight, |i| self.weight[i]);
        for (target, &i) in target.iter_mut().zip(&rows[..kept]) {
            let i = i as usize;
            *target = self.prediction[i] + self.deviation[i] * residual(i);
        }
        kept
    }
}

/// Adds residuals that are drawn with replacement to the predictions (Davison & Hinkley 1997, section 6.3, algorithm 6.3).
#[derive(Debug)]
pub struct ResidualResampling {
    rng: ChaCha8Rng,
    predictions: Predictions,
    /// The standardised residuals in the canonical order, less their mean.
    centred: Vec<f64>,
    /// The residual of each observation of the replicate.
    drawn: Vec<f64>,
}

impl ResidualResampling {
    /// Prepares to draw the residuals of a fit.
    #[must_use]
    pub fn new(fit: &Fit, rng: ChaCha8Rng) -> ResidualResampling {
        let predictions = Predictions::of(fit);
        let order = &predictions.units.order;
        let mut centred: Vec<f64> = order.iter().map(|&i| predictions.residual[i as usize]).collect();
        let mean = centred.iter().sum::<f64>() / centred.len().max(1) as f64;
        centred.iter_mut().for_each(|residual| *residual -= mean);
        let drawn = vec![0.0; predictions.residual.len()];
        ResidualResampling { rng, predictions, centred, drawn }
    }
}

impl Scheme for ResidualResampling {
    fn n_units(&self) -> usize {
        self.centred.len()
    }

    fn n_samples(&self, most: usize) -> usize {
        // n draws among n residuals.
        let n = self.centred.len();
        (0..n).try_fold(1, |samples: usize, _| samples.checked_mul(n).filter(|s| *s < most)).unwrap_or(most)
    }

    fn makes_responses(&self) -> bool {
        true
    }

    fn draw(&mut self, replicate: u64, sample: Sample<'_>) -> usize {
        begin(&mut self.rng, replicate);
        let ResidualResampling { rng, predictions, centred, drawn } = self;
        let n = centred.len();
        let mut receivers = predictions.units.order.iter();
        indices(rng, n as u32, n, |k| {
            if let Some(&i) = receivers.next() {
                drawn[i as usize] = centred[k];
            }
        });
        predictions.respond(sample, |i| drawn[i])
    }
}
