//! Bias-corrected and accelerated percentiles of the replicates.

use super::distributions::{normal_probability, normal_quantile};
use super::percentile::quantile;

/// Returns the BCa interval (Efron 1987, Journal of the American Statistical Association 82, 171): percentiles at levels
/// that are corrected for the median bias of the replicates and for the skewness of the estimate's influence, which the
/// jackknife estimates. None without replicates, or where all lie on one side of the estimate. Reorders the values.
pub fn bca_interval(
    estimate: f64,
    values: &mut [f64],
    jackknife: impl Iterator<Item = f64> + Clone,
    confidence: f64,
) -> Option<(f64, f64)> {
    let below = values.iter().filter(|value| **value < estimate).count() as f64;
    let ties = values.iter().filter(|value| **value == estimate).count() as f64;
    let fraction = (below + 0.5 * ties) / values.len() as f64;
    if !(fraction > 0.0 && fraction < 1.0) {
        return None;
    }
    let bias = signed_quantile(fraction);
    let acceleration = acceleration(jackknife);
    let tail = 0.5 * (1.0 - confidence);
    let mut end = |level: f64| {
        let z = bias + signed_quantile(level);
        let left = 1.0 - acceleration * z;
        (left > 0.0).then(|| quantile(values, normal_probability(bias + z / left)))
    };
    Some((end(tail)?, end(1.0 - tail)?))
}

/// Returns the normal quantile, accurate in both tails.
fn signed_quantile(probability: f64) -> f64 {
    if probability < 0.5 { -normal_quantile(1.0 - probability) } else { normal_quantile(probability) }
}

/// Returns `Σ d³ / (6·(Σ d²)^1.5)` for the deviations `d` of the jackknife's values below their mean; 0 without spread.
fn acceleration(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let (mut squares, mut cubes) = (0.0, 0.0);
    for value in values {
        let deviation = mean - value;
        squares += deviation * deviation;
        cubes += deviation.powi(3);
    }
    if squares > 0.0 { cubes / (6.0 * squares * squares.sqrt()) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bias from SciPy's `norm.ppf(0.4)`; the acceleration by hand.
    #[test]
    fn levels_are_corrected() {
        // 1000 values, of which 400 are below the estimate.
        let mut values: Vec<f64> = (0..1000).map(f64::from).collect();
        let (low, high) = bca_interval(399.5, &mut values, [0.0, 0.0, 3.0].into_iter(), 0.95).unwrap();
        // d = (1, 1, −2): Σd² = 6, Σd³ = −6, a = −1/(6·√6).
        let a = -1.0 / (6.0 * 6.0_f64.sqrt());
        let z0 = -0.253_347_103_135_799_7;
        for (end, z) in [(low, -1.959_963_984_540_054), (high, 1.959_963_984_540_054)] {
            let level = normal_probability(z0 + (z0 + z) / (1.0 - a * (z0 + z)));
            assert!((end - 999.0 * level).abs() < 1e-9, "{end}");
        }
        assert_eq!(bca_interval(-1.0, &mut values, [1.0, 2.0].into_iter(), 0.95), None);
    }

    /// Without bias and skewness the interval is that of the percentiles.
    #[test]
    fn symmetric_replicates_give_percentiles() {
        let mut values: Vec<f64> = (0..=1000).map(f64::from).collect();
        let interval = bca_interval(500.0, &mut values, [1.0, 2.0, 3.0].into_iter(), 0.9).unwrap();
        assert!((interval.0 - 50.0).abs() < 1e-9 && (interval.1 - 950.0).abs() < 1e-9, "{interval:?}");
    }
}
