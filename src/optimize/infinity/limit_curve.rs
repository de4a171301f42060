//! Names the curve to which a law in one variable tends where the objective has no minimum: a step, a line, an
//! exponential.
//!
//! The limit is not derived from the formula but recognised: the predictions near the end of the regularisation path
//! are compared with the curves that such limits usually are. A curve is recognised where it differs from the
//! predictions by no more than a multiple of their change along the last step of the path.

use crate::lanes::scalar;

/// The curves that are recognised, from few parameters to many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitCurve {
    Constant,
    Step,
    Line,
    /// A line in the logarithm of the variable.
    Logarithm,
    Exponential,
    Power,
}

impl std::fmt::Display for LimitCurve {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            LimitCurve::Constant => "a constant",
            LimitCurve::Step => "a step",
            LimitCurve::Line => "a straight line",
            LimitCurve::Logarithm => "a logarithm",
            LimitCurve::Exponential => "an exponential",
            LimitCurve::Power => "a power law",
        })
    }
}

/// The largest difference between a curve and the predictions, as a multiple of their last change.
const CHANGE_FACTOR: f64 = 3.0;

/// The difference, as a fraction of the size of the predictions, that is always allowed.
const ROUNDING: f64 = 1e-9;

/// The allowed difference, as a fraction of the range of the predictions, above which they are too far from their limit
/// to be recognised.
const MAX_RELATIVE_CHANGE: f64 = 1e-2;

/// The number of distinct values of the variable that a curve needs beyond its parameters.
const MIN_SPARE_POINTS: usize = 2;

/// The range of the exponential rates that are tried, times the range of the variable.
const RATES: (f64, f64) = (1e-2, 50.0);

/// The number of rates that are tried.
const N_RATES: usize = 40;

/// Returns the curve that predictions in one variable have at the end of a path, where it is one of those known here.
///
/// `x` holds the variable, `before` and `end` the predictions one step before the path's end and at its end, in natural
/// units, one value per observation.
pub fn recognise(x: &[f64], before: &[f64], end: &[f64]) -> Option<LimitCurve> {
    let mut rows: Vec<usize> = (0..x.len()).collect();
    rows.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    rows.dedup_by(|a, b| x[*a] == x[*b]);
    let x: Vec<f64> = rows.iter().map(|&i| x[i]).collect();
    let y: Vec<f64> = rows.iter().map(|&i| end[i]).collect();
    if x.iter().chain(&y).any(|value| !value.is_finite()) {
        return None;
    }
    let change = rows.iter().map(|&i| (end[i] - before[i]).abs()).fold(0.0, f64::max);
    let size = y.iter().map(|y| y.abs()).fold(0.0, f64::max);
    let tolerance = CHANGE_FACTOR * change + ROUNDING * size;
    let range = range(&y);
    let has_points_for = |parameters: usize| x.len() >= parameters + MIN_SPARE_POINTS;
    if range <= tolerance {
        return has_points_for(1).then_some(LimitCurve::Constant);
    }
    if tolerance.is_nan() || tolerance > MAX_RELATIVE_CHANGE * range {
        return None;
    }
    if has_points_for(2) && is_step(&y, tolerance) {
        return Some(LimitCurve::Step);
    }
    let logarithms: Option<Vec<f64>> = (x[0] > 0.0).then(|| x.iter().map(|x| scalar::ln(*x)).collect());
    let nearest = |candidates: [(LimitCurve, Option<f64>); 2]| {
        let near = candidates.into_iter().filter_map(|(curve, max_residual)| Some((curve, max_residual?)));
        near.filter(|(_, max_residual)| *max_residual <= tolerance)
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(curve, _)| curve)
    };
    let logarithms = logarithms.as_deref();
    let line = has_points_for(2).then(|| {
        let [x, logarithms] = [Some(&*x), logarithms].map(|x| x.map(|x| max_residual(x, &y)));
        nearest([(LimitCurve::Line, x), (LimitCurve::Logarithm, logarithms)])
    });
    line.flatten().or_else(|| {
        let [x, logarithms] = [Some(&*x), logarithms].map(|x| x.map(|x| max_residual_of_exponential(x, &y)));
        has_points_for(3)
            .then(|| nearest([(LimitCurve::Exponential, x), (LimitCurve::Power, logarithms)]))
            .flatten()
    })
}

/// Returns the range of values.
fn range(y: &[f64]) -> f64 {
    let (low, high) =
        y.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &y| (low.min(y), high.max(y)));
    high - low
}

/// Returns whether values are constant up to some place and constant beyond it, whatever the value at the place itself.
fn is_step(y: &[f64], tolerance: f64) -> bool {
    let level = |part: &[f64]| part.is_empty() || range(part) <= tolerance;
    (1..y.len()).any(|i| level(&y[..i]) && (level(&y[i..]) || level(&y[i + 1..])))
}

/// Returns the largest residual of values from their least-squares line in `u`.
fn max_residual(u: &[f64], y: &[f64]) -> f64 {
    let n = u.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let (mean_u, mean_y) = (mean(u), mean(y));
    let (mut products, mut squares) = (0.0, 0.0);
    for (u, y) in u.iter().zip(y) {
        products += (u - mean_u) * (y - mean_y);
        squares += (u - mean_u).powi(2);
    }
    let slope = products / squares;
    let residuals = u.iter().zip(y).map(|(u, y)| (y - mean_y - slope * (u - mean_u)).abs());
    residuals.fold(0.0, f64::max)
}

/// Returns the largest residual of values from the best exponential of `u` among all rates.
fn max_residual_of_exponential(u: &[f64], y: &[f64]) -> f64 {
    let (first, last) = (u[0], u[u.len() - 1]);
    let of_rate = |rate: f64| {
        // The origin makes the largest value of the exponential 1.
        let origin = if rate > 0.0 { last } else { first };
        let exponentials: Vec<f64> =
            u.iter().map(|u| scalar::exp(rate * (u - origin) / (last - first))).collect();
        let max_residual = max_residual(&exponentials, y);
        if max_residual.is_nan() { f64::INFINITY } else { max_residual }
    };
    let step = scalar::ln(RATES.1 / RATES.0) / (N_RATES - 1) as f64;
    let best_of_sign = |sign: f64| {
        let at = |logarithm: f64| of_rate(sign * scalar::exp(logarithm));
        let grid = (0..N_RATES).map(|k| scalar::ln(RATES.0) + k as f64 * step);
        let best = grid.min_by(|a, b| at(*a).total_cmp(&at(*b))).unwrap_or_default();
        // Ternary search between the neighbours of the best.
        let (mut low, mut high) = (best - step, best + step);
        for _ in 0..60 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if at(a) < at(b) {
                high = b;
            } else {
                low = a;
            }
        }
        at(0.5 * (low + high))
    };
    best_of_sign(1.0).min(best_of_sign(-1.0))
}

#[cfg(test)]
mod tests {
    use super::{LimitCurve, recognise};

    /// Recognises a curve from predictions that differ from it by less than a thousandth.
    fn recognised(curve: impl Fn(f64) -> f64) -> Option<LimitCurve> {
        let x: Vec<f64> = (1..=20).map(f64::from).collect();
        let near = |distance: f64| -> Vec<f64> {
            x.iter().map(|x| curve(*x) * (1.0 + distance * (x - 10.0).sin())).collect()
        };
        recognise(&x, &near(1e-5), &near(3e-6))
    }

    #[test]
    fn curves_are_recognised_by_their_values() {
        assert_eq!(recognised(|_| 3.0), Some(LimitCurve::Constant));
        assert_eq!(recognised(|x| if x < 7.5 { 3.0 } else { 1.0 }), Some(LimitCurve::Step));
        assert_eq!(recognised(|x| 1.0 + 0.2 * x), Some(LimitCurve::Line));
        assert_eq!(recognised(|x| 1.0 + 0.2 * x.ln()), Some(LimitCurve::Logarithm));
        assert_eq!(recognised(|x| 1.0 + 2.0 * (-0.3 * x).exp()), Some(LimitCurve::Exponential));
        assert_eq!(recognised(|x| 1.0 + 2.0 * x.powf(0.7)), Some(LimitCurve::Power));
        assert_eq!(recognised(|x| (0.5 * x).sin()), None);
    }
}
