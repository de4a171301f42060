//! The spread of a new run around the law: the residuals' own distribution, on the scale of the residuals.

use crate::optimize::Fit;
use crate::problem::Loss;

use super::interval::distributions::{normal_quantile, t_quantile};

/// Returns the half-length of the interval of a new run's residual over σ, at a confidence and without the error of the law.
///
/// For least squares it is Student's t times the residual standard deviation. For other losses, whose residuals need not be
/// normal, it is the quantile of the sizes of the residuals, corrected for the degrees of freedom that the fit took: the
/// order statistic at `confidence·(n + 1)`, with interpolation. Where there are too few observations for that quantile, it
/// is that of least squares. None where no degree of freedom is left.
pub fn new_run_margin(fit: &Fit, confidence: f64) -> Option<f64> {
    let rows = &fit.solution.as_ref()?.rows;
    let (n, p) = (fit.problem.n_weighted() as f64, (fit.problem.p() + fit.edges.len()) as f64);
    let left = n - p;
    if left < 1.0 {
        return None;
    }
    let used = (0..rows.residual.len()).filter(|&k| rows.weight[k] > 0.0);
    let mut sizes: Vec<f64> = used.map(|k| rows.residual[k].abs() * rows.weight[k].sqrt()).collect();
    let place = confidence * (n + 1.0) - 1.0;
    let margin = if fit.problem.loss == Loss::L2 || place > n - 1.0 {
        let variance = sizes.iter().map(|size| size * size).sum::<f64>() / left;
        let probability = 0.5 + 0.5 * confidence;
        t_quantile(probability, normal_quantile(probability), left) * variance.sqrt()
    } else {
        sizes.sort_unstable_by(f64::total_cmp);
        let below = place.max(0.0).floor();
        let above = sizes[(below as usize + 1).min(sizes.len() - 1)];
        let below = sizes[below as usize] + (place.max(0.0) - below) * (above - sizes[below as usize]);
        below * (n / left).sqrt()
    };
    margin.is_finite().then_some(margin)
}
