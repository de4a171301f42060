//! Goodness of fit, in the units of the response and in natural logarithms.

use crate::lanes::scalar;
use crate::law::Residual;
use crate::optimize::Fit;

/// Measures of goodness of fit; none where they are undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goodness {
    /// `1 − Σw(y − ŷ)²/Σw(y − ȳ)²`; none where all responses are equal.
    pub r_squared: Option<f64>,
    /// The root of the weighted mean square of `y − ŷ`, in the units of the response.
    pub rmse: Option<f64>,
    /// The root of the weighted mean square of `log y − log ŷ`; none where one of them is not positive.
    pub rmsle: Option<f64>,
}

/// Returns the predictions in the units of the response, one per observation.
pub fn predictions(fit: &Fit) -> impl Iterator<Item = f64> {
    let values = fit.solution.iter().flat_map(|solution| &solution.rows.value);
    values.map(|value| in_units(fit, *value))
}

/// Returns a prediction in the units of the response.
fn in_units(fit: &Fit, value: f64) -> f64 {
    match fit.problem.model.residual {
        Residual::Log => scalar::exp(value),
        Residual::Linear => value,
    }
}

/// Returns the measures of a fit.
pub fn goodness(fit: &Fit) -> Goodness {
    let Some(solution) = &fit.solution else { return Goodness::default() };
    let observations = &fit.problem.observations;
    let weight = &solution.rows.weight;
    let response = &observations.response;
    let prediction = |i: usize| in_units(fit, solution.rows.value[i]);
    let total: f64 = weight.iter().sum();
    let mean_square = |error: &dyn Fn(usize) -> f64| {
        let sum: f64 =
            (0..response.len()).filter(|&i| weight[i] > 0.0).map(|i| weight[i] * error(i).powi(2)).sum();
        (total > 0.0).then_some(sum / total).filter(|x| x.is_finite())
    };
    let mean: f64 = response.iter().zip(weight).map(|(y, w)| w * y).sum::<f64>() / total;
    let error = mean_square(&|i| response[i] - prediction(i));
    let spread = mean_square(&|i| response[i] - mean);
    let log_error = match fit.problem.model.residual {
        Residual::Log => mean_square(&|i| solution.rows.residual[i]),
        Residual::Linear => mean_square(&|i| scalar::ln(response[i]) - scalar::ln(prediction(i))),
    };
    Goodness {
        r_squared: error
            .zip(spread)
            .filter(|(_, spread)| *spread > 0.0)
            .map(|(error, spread)| 1.0 - error / spread),
        rmse: error.map(f64::sqrt),
        rmsle: log_error.map(f64::sqrt),
    }
}
