//! The basic bootstrap interval: percentiles of the replicates, reflected at the estimate.

use crate::compile::Scale;

use super::percentile::percentile_interval;
/// Returns the basic interval on the quantity's scale (Davison & Hinkley 1997, section 2.4); none without replicates.
/// Reorders the values.
pub fn basic_interval(
    scale: Scale,
    estimate: f64,
    values: &mut [f64],
    confidence: f64,
) -> Option<(f64, f64)> {
    let (low, high) = percentile_interval(values, confidence)?;
    let centre = scale.transform(estimate);
    let reflected = |end: f64| scale.natural(2.0 * centre - scale.transform(end));
    let (low, high) = (reflected(high), reflected(low));
    (low.is_finite() && high.is_finite()).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The percentiles of these values are 1 and 4.
    #[test]
    fn ends_are_reflected_on_the_scale() {
        let mut values = [4.0, 1.0];
        assert_eq!(basic_interval(Scale::Linear, 2.0, &mut values, 1.0), Some((0.0, 3.0)));
        let (low, high) = basic_interval(Scale::Log, 3.0, &mut values, 1.0).unwrap();
        assert!((low - 9.0 / 4.0).abs() < 1e-12 && (high - 9.0).abs() < 1e-12, "{low} {high}");
    }
}
