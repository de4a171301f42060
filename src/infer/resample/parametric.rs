//! The parametric bootstrap: responses drawn from the density that belongs to the loss.
//!
//! A standardised residual `u` has the density proportional to `exp(−w·ρ(u)/τ)`, with `τ` estimated by maximum
//! likelihood and multiplied by `n/(n − p)`, which makes it unbiased for least squares. The density is symmetric, and its
//! distribution function over `u ≥ 0` is tabulated and inverted.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;

use crate::infer::likelihood::scale;
use crate::lanes::scalar;
use crate::optimize::Fit;
use crate::problem::Loss;

use super::random::{begin, uniform};
use super::residuals::Predictions;
use super::scheme::{Sample, Scheme};

/// The number of intervals of a table.
const INTERVALS: usize = 4096;

/// The value of `ρ/τ` beyond which the density counts as zero.
const MAX_EXPONENT: f64 = 45.0;

/// The largest argument of the hyperbolic sine that spaces a table: the density of Cauchy's loss falls as a power.
const MAX_ARGUMENT: f64 = 40.0;

/// The distribution of the size of a standardised residual, as a table.
#[derive(Debug)]
struct SizeDistribution {
    sizes: Vec<f64>,
    /// The probability of a smaller size.
    probability: Vec<f64>,
}

impl SizeDistribution {
    /// Tabulates the density proportional to `exp(−ρ(u)/τ)` at `u = c·sinh(v)` for equidistant `v`, with `ρ(c) = τ`.
    fn new(loss: Loss, tau: f64) -> SizeDistribution {
        let exponent = |u: f64| loss.terms::<f64>(u).value / tau;
        // ρ(u) ≥ τ is a matter of u alone, and ρ grows.
        let (mut low, mut high) = (0.0, tau.sqrt());
        while exponent(high) < 1.0 && high.is_finite() {
            high *= 2.0;
        }
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if exponent(middle) < 1.0 { low = middle } else { high = middle }
        }
        let unit = high;
        let step = MAX_ARGUMENT / INTERVALS as f64;
        let (mut sizes, mut probability) = (vec![0.0], vec![0.0]);
        let mut last = 1.0;
        // Narrow steps first: near zero the argument is the size.
        let mut argument = 0.0;
        while argument < MAX_ARGUMENT {
            argument += if argument < 4.0 { 0.1 * step } else { step };
            let size = unit * libm::sinh(argument);
            let density = scalar::exp(-exponent(size)) * libm::cosh(argument);
            let width = argument - libm::asinh(sizes[sizes.len() - 1] / unit);
            let total = probability[probability.len() - 1] + 0.5 * (last + density) * width;
            sizes.push(size);
            probability.push(total);
            last = density;
            if exponent(size) > MAX_EXPONENT {
                break;
            }
        }
        let total = probability[probability.len() - 1];
        probability.iter_mut().for_each(|p| *p /= total);
        SizeDistribution { sizes, probability }
    }

    /// Returns the size below which the given probability lies.
    fn quantile(&self, probability: f64) -> f64 {
        let above = self.probability.partition_point(|p| *p < probability).clamp(1, self.sizes.len() - 1);
        let (p, q) = (self.probability[above - 1], self.probability[above]);
        let fraction = if q > p { (probability - p) / (q - p) } else { 0.0 };
        self.sizes[above - 1] + fraction * (self.sizes[above] - self.sizes[above - 1])
    }
}

/// Adds draws from the density of the loss to the predictions.
#[derive(Debug)]
pub struct ParametricResponses {
    rng: ChaCha8Rng,
    predictions: Predictions,
    /// The distributions of residuals over σ, by the bits of the weight.
    distributions: BTreeMap<u64, SizeDistribution>,
    /// The weight w of each observation.
    weight: Vec<f64>,
    /// The residual of each observation of the replicate.
    drawn: Vec<f64>,
}

impl ParametricResponses {
    /// Prepares to draw responses of a fit that has a solution.
    #[must_use]
    pub fn new(fit: &Fit, rng: ChaCha8Rng) -> ParametricResponses {
        let predictions = Predictions::of(fit);
        let weight = fit.problem.observations.weight.clone();
        let (n, p) = (fit.problem.n_weighted() as f64, (fit.problem.p() + fit.edges.len()) as f64);
        let loss = fit.problem.loss;
        let correction = if n > p { n / (n - p) } else { 1.0 };
        let tau = scale(loss, fit.objective(), &weight).unwrap_or(0.0) * correction;
        let mut distributions = BTreeMap::new();
        for &w in weight.iter().filter(|w| **w > 0.0 && tau > 0.0) {
            distributions.entry(w.to_bits()).or_insert_with(|| SizeDistribution::new(loss, tau / w));
        }
        let drawn = vec![0.0; weight.len()];
        ParametricResponses { rng, predictions, distributions, weight, drawn }
    }
}

impl Scheme for ParametricResponses {
    fn n_units(&self) -> usize {
        self.predictions.units.count
    }

    fn n_samples(&self, most: usize) -> usize {
        most
    }

    fn makes_responses(&self) -> bool {
        true
    }

    fn draw(&mut self, replicate: u64, sample: Sample<'_>) -> usize {
        begin(&mut self.rng, replicate);
        let ParametricResponses { rng, predictions, distributions, weight, drawn } = self;
        for &i in &predictions.units.order {
            let i = i as usize;
            // From −1 to 1: sign and probability of a smaller size.
            let signed = 2.0 * uniform(rng) - 1.0;
            let size = distributions.get(&weight[i].to_bits()).map_or(0.0, |d| d.quantile(signed.abs()));
            // A standardised residual is in units of σ/√w.
            drawn[i] = size.copysign(signed) * weight[i].sqrt();
        }
        predictions.respond(sample, |i| drawn[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles of `scipy.stats`: `norm.ppf`, `laplace.ppf`, `t.ppf(…, 3)`.
    #[test]
    fn quantiles_agree_with_scipy() {
        // With a threshold far above, Huber's density is normal with variance τ; far below, Laplace's with scale τ/δ;
        // Cauchy's with δ² = 4τ is Student's t with 3 degrees of freedom, over δ/√3.
        for (loss, tau, unit, quantiles) in [
            ("l2", 0.04, 0.2, [0.674_489_750_196_081_7, 1.959_963_984_540_054]),
            ("huber:1e-6", 2e-6, 2.0, [std::f64::consts::LN_2, 2.995_732_273_553_991]),
            ("cauchy:2", 1.0, 2.0 / 3.0_f64.sqrt(), [0.764_892_328_404_345_3, 3.182_446_305_284_263]),
        ] {
            let sizes = SizeDistribution::new(loss.parse().unwrap(), tau);
            for (probability, quantile) in [0.5, 0.95].into_iter().zip(quantiles) {
                let found = sizes.quantile(probability) / unit;
                assert!((found / quantile - 1.0).abs() < 1e-4, "{loss} {probability}: {found}");
            }
        }
    }
}
