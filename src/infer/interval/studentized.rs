//! The studentized bootstrap interval, or bootstrap-t.

use crate::compile::Scale;

use super::percentile::percentile_interval;
/// Returns the studentized interval on the quantity's scale (Davison & Hinkley 1997, section 2.4), from the estimate and
/// its standard error on that scale, and those of each replicate; none without replicates.
pub fn studentized_interval(
    scale: Scale,
    (estimate, std_error): (f64, f64),
    replicates: impl Iterator<Item = (f64, f64)>,
    confidence: f64,
) -> Option<(f64, f64)> {
    let centre = scale.transform(estimate);
    let mut deviations: Vec<f64> = replicates
        .map(|(value, std_error)| (scale.transform(value) - centre) / std_error)
        .filter(|deviation| deviation.is_finite())
        .collect();
    let (low, high) = percentile_interval(&mut deviations, confidence)?;
    Some((scale.natural(centre - high * std_error), scale.natural(centre - low * std_error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deviations of −1 and 2 standard errors are the extremes.
    #[test]
    fn deviations_are_in_standard_errors() {
        let replicates = [(9.0, 1.0), (10.0, 0.5), (16.0, 3.0)];
        let interval = studentized_interval(Scale::Linear, (10.0, 0.5), replicates.into_iter(), 1.0);
        assert_eq!(interval, Some((9.0, 10.5)));
    }
}
