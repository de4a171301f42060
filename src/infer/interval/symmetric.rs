//! The interval from a standard error and a quantile: of the normal distribution with the standard deviation of the
//! replicates, of Student's t with the asymptotic standard error.

use crate::compile::Scale;

/// Returns the interval of half-length `quantile` standard errors around the estimate, on the quantity's scale.
pub fn symmetric_interval(scale: Scale, estimate: f64, std_error: f64, quantile: f64) -> (f64, f64) {
    let centre = scale.transform(estimate);
    (scale.natural(centre - quantile * std_error), scale.natural(centre + quantile * std_error))
}
