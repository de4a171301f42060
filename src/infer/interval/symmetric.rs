//! The interval from a standard error and a quantile: of the normal distribution with the standard deviation of the
//! replicates, of Student's t with the asymptotic standard error.

use crate::compile::Scale;

use super::{transformed, untransformed};

/// Returns the interval of half-length `quantile` standard errors around the estimate, on the quantity's scale.
pub fn symmetric_interval(scale: Scale, estimate: f64, std_error: f64, quantile: f64) -> (f64, f64) {
    let centre = transformed(scale, estimate);
    (untransformed(scale, centre - quantile * std_error), untransformed(scale, centre + quantile * std_error))
}
