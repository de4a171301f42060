//! The normal and Student's t distribution.

use crate::lanes::scalar;

use statrs::function::beta::checked_beta_reg;

/// Returns the standard normal quantile, by Newton's method on libm's complementary error function.
#[must_use]
pub fn normal_quantile(probability: f64) -> f64 {
    let target = probability.clamp(1e-300, 1.0 - f64::EPSILON / 2.0);
    let upper = 1.0 - target;
    let mut z = 0.0_f64;
    for _ in 0..100 {
        // 1 − Φ(z) keeps its digits in the upper tail, where interval ends lie.
        let tail = 0.5 * libm::erfc(z / std::f64::consts::SQRT_2);
        let density = scalar::exp(-0.5 * z * z) / (2.0 * std::f64::consts::PI).sqrt();
        let step = ((tail - upper) / density).clamp(-1.0, 1.0);
        z += step;
        if step.abs() <= 1e-15 * z.abs() {
            break;
        }
    }
    z
}

/// Returns the standard normal distribution function.
#[must_use]
pub fn normal_probability(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

/// The degrees of freedom from which Student's t equals the normal distribution to seven digits.
const MAX_DEGREES: f64 = 1e8;

/// Returns the quantile of Student's t at a probability of at least 1/2: Halley's method on the incomplete beta function,
/// from the expansion about the normal quantile `z` (Abramowitz & Stegun 1964, 26.7.5).
pub fn t_quantile(probability: f64, z: f64, degrees: f64) -> f64 {
    if !(degrees < MAX_DEGREES) {
        return z;
    }
    let upper = 1.0 - probability;
    let half = 0.5 * degrees;
    let log_density =
        libm::lgamma(half + 0.5) - libm::lgamma(half) - 0.5 * scalar::ln(degrees * std::f64::consts::PI);
    let mut t = z
        + (z.powi(3) + z) / (4.0 * degrees)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * degrees.powi(2))
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / (384.0 * degrees.powi(3))
        + (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5) - 1920.0 * z.powi(3) - 945.0 * z)
            / (92160.0 * degrees.powi(4));
    for _ in 0..100 {
        let Ok(tail) = checked_beta_reg(half, 0.5, degrees / (degrees + t * t)).map(|tail| 0.5 * tail) else {
            break;
        };
        let density = scalar::exp(log_density - (half + 0.5) * libm::log1p(t * t / degrees));
        let newton = (tail - upper) / density;
        // The logarithm of the density falls by this per unit of t.
        let slope = (degrees + 1.0) * t / (degrees + t * t);
        let step = (newton / (1.0 - 0.5 * newton * slope).max(0.5)).clamp(-0.5 * t, t);
        t += step;
        // Halley's method converges cubically.
        if step.abs() <= 1e-4 * t {
            break;
        }
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of SciPy's `norm.ppf`.
    #[test]
    fn normal_quantiles() {
        for (p, z) in [(0.975, 1.959_963_984_540_054), (0.95, 1.644_853_626_951_472_2), (0.5, 0.0)] {
            assert!((normal_quantile(p) - z).abs() < 1e-14, "{p}");
        }
        assert!((normal_quantile(0.9995) - 3.290_526_731_491_925_5).abs() < 1e-12);
    }

    /// Values of SciPy's `t.ppf`.
    #[test]
    fn quantiles_of_students_t() {
        for (p, degrees, t) in [
            (0.975, 1.0, 12.706_204_736_174_694),
            (0.975, 2.5, 3.574_654_842_003_682),
            (0.975, 7.3, 2.345_066_736_547_703),
            (0.975, 31.2, 2.038_983_684_737_313),
            (0.995, 234.7, 2.596_938_855_270_252),
            (0.975, 1e5, 1.959_987_707_534_61),
        ] {
            assert!((t_quantile(p, normal_quantile(p), degrees) / t - 1.0).abs() < 1e-10, "{p} {degrees}");
        }
    }
}
