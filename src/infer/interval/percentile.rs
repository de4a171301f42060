//! Percentiles of the replicates.

/// Returns the sample standard deviation (denominator n − 1); none for fewer than two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    if n < 2.0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    Some((squares / (n - 1.0)).sqrt())
}

/// Returns the central interval of the given confidence; none without values. Reorders the values.
pub fn percentile_interval(values: &mut [f64], confidence: f64) -> Option<(f64, f64)> {
    let tail = 0.5 * (1.0 - confidence);
    (!values.is_empty()).then(|| (quantile(values, tail), quantile(values, 1.0 - tail)))
}

/// Returns a quantile of values, of which there is at least one, with linear interpolation between order statistics
/// (Hyndman & Fan 1996, definition 7, the default of NumPy and R). Reorders the values.
pub(crate) fn quantile(values: &mut [f64], probability: f64) -> f64 {
    let place = probability.clamp(0.0, 1.0) * (values.len() - 1) as f64;
    let (first, fraction) = (place.floor() as usize, place - place.floor());
    // The neighbour is sought on the shorter side.
    let (below, above) = if probability < 0.5 && first + 1 < values.len() {
        let (smaller, &mut above, _) = values.select_nth_unstable_by(first + 1, f64::total_cmp);
        (smaller.iter().copied().max_by(f64::total_cmp).unwrap_or(above), above)
    } else {
        let (_, &mut below, larger) = values.select_nth_unstable_by(first, f64::total_cmp);
        (below, larger.iter().copied().min_by(f64::total_cmp).unwrap_or(below))
    };
    // Between equal values, which may be infinite, there is nothing to interpolate.
    if fraction == 0.0 || below == above { below } else { below + fraction * (above - below) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.percentile([1, 2, 4, 8, 16], [2.5, 97.5])`.
    #[test]
    fn percentiles_interpolate_linearly() {
        let interval = percentile_interval(&mut [16.0, 1.0, 4.0, 2.0, 8.0], 0.95).unwrap();
        assert!((interval.0 - 1.1).abs() < 1e-12 && (interval.1 - 15.2).abs() < 1e-12);
        assert_eq!(percentile_interval(&mut [], 0.95), None);
        assert_eq!(percentile_interval(&mut [3.0], 0.95), Some((3.0, 3.0)));
    }

    #[test]
    fn standard_deviations() {
        assert_eq!(
            standard_deviation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]),
            Some((32.0f64 / 7.0).sqrt())
        );
        assert_eq!(standard_deviation(&[1.0]), None);
    }
}
