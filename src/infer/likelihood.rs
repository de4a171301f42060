//! Information criteria under the density that belongs to the loss.
//!
//! Residuals `u = r/σ` have the density `exp(−w·ρ(u)/τ) / (σ·Z(τ/w))`, with `τ` estimated by maximum likelihood and
//! counted as a parameter; for `l2` this is the Gaussian. It is converted to a density of the response by `|T′(y)|`, so
//! that fits in `log` and `linear` can be compared.

use std::f64::consts::{PI, SQRT_2};

use crate::lanes::scalar;
use crate::law::Residual;
use crate::optimize::Fit;
use crate::problem::Loss;

/// Information criteria; none where the density is improper, or a residual sum of zero leaves it undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Criteria {
    /// Akaike's criterion.
    pub aic: Option<f64>,
    /// Akaike's criterion, corrected for small samples (Hurvich & Tsai, 1989).
    pub aicc: Option<f64>,
    /// The Bayesian criterion (Schwarz, 1978).
    pub bic: Option<f64>,
}

/// Returns the information criteria of a fit.
#[must_use]
pub fn criteria(fit: &Fit) -> Criteria {
    let Some(solution) = &fit.solution else { return Criteria::default() };
    let rows = &solution.rows;
    let observations = &fit.problem.observations;
    let n = fit.problem.n_weighted() as f64;
    if !(rows.objective > fit.problem.floor) || n == 0.0 {
        return Criteria::default();
    }
    let Some(scale) = negative_log_likelihood(fit.problem.loss, rows.objective, &observations.weight) else {
        return Criteria::default();
    };
    let jacobian: f64 = (0..observations.len())
        .filter(|&i| observations.weight[i] > 0.0)
        .map(|i| {
            let transform = match fit.problem.model.residual {
                Residual::Log => fit.problem.target[i],
                Residual::Linear => 0.0,
            };
            observations.sigma.as_ref().map_or(0.0, |sigma| scalar::ln(sigma[i])) + transform
        })
        .sum();
    let twice = 2.0 * (scale + jacobian);
    let k = (fit.problem.p() + fit.edges.len() + 1) as f64;
    let aic = twice + 2.0 * k;
    Criteria {
        aic: Some(aic),
        aicc: (n - k - 1.0 > 0.0).then(|| aic + 2.0 * k * (k + 1.0) / (n - k - 1.0)),
        bic: Some(twice + k * scalar::ln(n)),
    }
}

/// Returns the maximum-likelihood estimate of `τ`; none where the density is improper or the objective zero.
#[must_use]
pub fn scale(loss: Loss, objective: f64, weights: &[f64]) -> Option<f64> {
    maximum_likelihood(loss, objective, weights).map(|best| best.tau)
}

/// Returns `min over τ of S/τ + Σ log Z(τ/wᵢ)`, with `S` the objective, over the positive weights.
fn negative_log_likelihood(loss: Loss, objective: f64, weights: &[f64]) -> Option<f64> {
    maximum_likelihood(loss, objective, weights).map(|best| best.negative_log_likelihood)
}

/// The scale of greatest likelihood.
struct MaximumLikelihood {
    tau: f64,
    negative_log_likelihood: f64,
}

/// Returns the scale of greatest likelihood; none where the density is improper or the objective zero.
fn maximum_likelihood(loss: Loss, objective: f64, weights: &[f64]) -> Option<MaximumLikelihood> {
    let weights = || weights.iter().copied().filter(|w| *w > 0.0);
    let first = weights().next()?;
    let n = weights().count() as f64;
    if loss.is_quadratic() {
        let tau = 2.0 * objective / n;
        let logs: f64 = weights().map(f64::ln).sum();
        let negative_log_likelihood = 0.5 * n * scalar::ln(2.0 * PI * tau) + 0.5 * n - 0.5 * logs;
        return Some(MaximumLikelihood { tau, negative_log_likelihood });
    }
    // Equal weights, the usual case, need one normalising constant instead of n.
    let equal = weights().all(|w| w == first);
    let at = |log_tau: f64| {
        let tau = scalar::exp(log_tau);
        let logs: f64 = if equal {
            n * log_normaliser(loss, tau / first)
        } else {
            weights().map(|w| log_normaliser(loss, tau / w)).sum()
        };
        objective / tau + logs
    };
    // In 1/τ the density is an exponential family, so the function is unimodal, as golden-section search requires.
    let centre = scalar::ln(2.0 * objective / n);
    let ratio = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut low, mut high) = (centre - 30.0, centre + 30.0);
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_a, mut at_b) = (at(a), at(b));
    // The value at the minimum is then accurate to n·10⁻¹².
    while high - low > 1e-6 {
        // Where both are infinite τ is too large for a proper density.
        if at_a < at_b || (at_a.is_infinite() && at_b.is_infinite()) {
            (high, b, at_b) = (b, a, at_a);
            a = high - ratio * (high - low);
            at_a = at(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + ratio * (high - low);
            at_b = at(b);
        }
    }
    let log_tau = 0.5 * (low + high);
    let negative_log_likelihood = at(log_tau);
    let best = MaximumLikelihood { tau: scalar::exp(log_tau), negative_log_likelihood };
    best.negative_log_likelihood.is_finite().then_some(best)
}

/// Returns `log ∫ exp(−ρ(u)/τ) du`; infinite where the integral diverges.
fn log_normaliser(loss: Loss, tau: f64) -> f64 {
    match loss {
        Loss::L2 => 0.5 * scalar::ln(2.0 * PI * tau),
        Loss::Huber { delta } => {
            let z = delta / (SQRT_2 * tau.sqrt());
            let near = (2.0 * PI * tau).sqrt() * libm::erf(z);
            let far = 2.0 * tau / delta * scalar::exp(-z * z);
            scalar::ln(near + far)
        }
        Loss::SoftL1 { delta } => {
            // 2δ·e^z·K₁(z) with z = δ²/τ.
            let z = delta * delta / tau;
            scalar::ln(2.0 * delta * scaled_bessel_k1(z))
        }
        Loss::Cauchy { delta } => {
            let a = 0.5 * delta * delta / tau;
            if a <= 0.5 {
                return f64::INFINITY;
            }
            let ratio = if a > 1e4 {
                // log Γ(a − ½)/Γ(a), whose terms cancel; the next term is of order a⁻³.
                -0.5 * scalar::ln(a) + 3.0 / (8.0 * a) + 1.0 / (8.0 * a * a)
            } else {
                libm::lgamma(a - 0.5) - libm::lgamma(a)
            };
            scalar::ln(delta) + 0.5 * scalar::ln(PI) + ratio
        }
    }
}

/// Returns `e^z·K₁(z) = ∫₀^∞ exp(−z(cosh t − 1))·cosh t dt`, by the trapezoidal rule, which converges geometrically for
/// this integrand (Trefethen & Weideman 2014).
fn scaled_bessel_k1(z: f64) -> f64 {
    if z > 1e4 {
        // The asymptotic series; the next term is of order z⁻³.
        return (PI / (2.0 * z)).sqrt() * (1.0 + 3.0 / (8.0 * z) - 15.0 / (128.0 * z * z));
    }
    // Beyond the limit the integrand is below rounding; 64 steps suffice for every z from 1e-6 on.
    let limit = libm::acosh(1.0 + 45.0 / z);
    let steps = 64;
    let h = limit / f64::from(steps);
    let mut sum = 0.5;
    for k in 1..=steps {
        // cosh t − 1 without cancellation.
        let growth = 2.0 * libm::sinh(0.5 * h * f64::from(k)).powi(2);
        sum += scalar::exp(-z * growth) * (1.0 + growth);
    }
    h * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are those of `scipy.special.k1e`.
    #[test]
    fn bessel_agrees_with_scipy() {
        for (z, expected) in [
            (1e-6, 1_000_000.999_993_284_3),
            (1e-3, 1_000.996_734_559_068_4),
            (0.1, 10.890_182_683_049_697),
            (1.0, 1.636_153_486_263_258_2),
            (50.0, 0.178_566_558_558_815_56),
            (9e3, 0.013_211_641_435_033_294),
        ] {
            let value = scaled_bessel_k1(z);
            assert!((value / expected - 1.0).abs() < 1e-12, "{z}: {value}");
        }
    }

    /// The normalising constants equal the integrals by the rectangle rule.
    #[test]
    fn normalisers_are_integrals() {
        for loss in ["l2", "huber:0.5", "soft_l1:0.5", "cauchy:0.5"] {
            let loss: Loss = loss.parse().unwrap();
            let tau = 0.03;
            let h = 1e-4;
            let sum: f64 =
                (-400_000..=400_000).map(|k| (-loss.terms::<f64>(f64::from(k) * h).value / tau).exp()).sum();
            let expected = (sum * h).ln();
            let value = log_normaliser(loss, tau);
            assert!((value - expected).abs() < 1e-6, "{loss}: {value} {expected}");
        }
    }

    /// With a δ beyond every residual Huber's loss equals least squares.
    #[test]
    fn huber_tends_to_gauss() {
        let weights = vec![1.0; 50];
        let gauss = negative_log_likelihood(Loss::L2, 0.4, &weights).unwrap();
        let huber = negative_log_likelihood(Loss::Huber { delta: 30.0 }, 0.4, &weights).unwrap();
        assert!((gauss - huber).abs() < 1e-9);
    }

    /// With a δ beyond every residual all losses equal least squares, even where their constants cancel.
    #[test]
    fn wide_losses_tend_to_gauss() {
        let weights = vec![1.0; 240];
        for objective in [1e-4, 1e-10, 1e-14] {
            let gauss = negative_log_likelihood(Loss::L2, objective, &weights).unwrap();
            for loss in [Loss::Cauchy { delta: 1.0 }, Loss::SoftL1 { delta: 1.0 }] {
                let wide = negative_log_likelihood(loss, objective, &weights).unwrap();
                assert!((gauss - wide).abs() < 1e-3, "{loss} at {objective}: {wide} for {gauss}");
            }
        }
    }

    #[test]
    fn a_heavy_cauchy_is_improper() {
        assert!(log_normaliser(Loss::Cauchy { delta: 1.0 }, 1.5).is_infinite());
    }
}
