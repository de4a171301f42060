//! The errors of predictions on observations that were held out.

use crate::compile::Scale;
use crate::infer::{Source, estimate_quantity};
use crate::lanes::scalar;
use crate::law::Law;
use crate::output::Scores;

use super::predict::{new_run_interval, prediction_at};

/// An observation that was held out.
#[derive(Clone, Debug)]
pub struct HeldOut {
    /// The law's variables.
    pub variables: Vec<f64>,
    /// The response.
    pub response: f64,
}

/// A fit whose predictions are judged.
#[derive(Clone, Copy, Debug)]
pub struct JudgedFit<'a> {
    /// The law.
    pub law: &'a Law,
    /// The parameters in natural units; NaN where there is no estimate.
    pub natural: &'a [f64],
    /// Where the uncertainty comes from.
    pub source: Source<'a>,
    /// The half-length of the interval of a new run's residual.
    pub new_run_margin: Option<f64>,
}

impl JudgedFit<'_> {
    /// Returns the errors of the predictions of some observations; NaN where there is none, or no prediction.
    #[must_use]
    pub fn score(&self, test: &[HeldOut], confidence: f64) -> Scores {
        let n = test.len() as f64;
        let column = |k: usize| test.iter().map(|observation| observation.variables[k]).collect();
        let predictions = self.law.evaluate(test.len(), column, |i| vec![self.natural[i]; test.len()]);
        let mean = |f: &dyn Fn(f64, f64) -> f64| {
            test.iter().zip(&predictions).map(|(observation, p)| f(*p, observation.response)).sum::<f64>() / n
        };
        let square = |p: f64, y: f64| (scalar::ln(p) - scalar::ln(y)).powi(2);
        let squares = mean(&square);
        let spread = mean(&|p, y| (square(p, y) - squares).powi(2)) * n / (n - 1.0);
        let inside = |observation: &HeldOut| {
            let quantity = prediction_at(self.law, &observation.variables);
            let found = estimate_quantity(&quantity, self.law, self.natural, self.source, confidence);
            let scale = Scale::from(self.law.residual);
            let (low, high) = new_run_interval(scale, found.estimate, found.interval?, self.new_run_margin?)?;
            Some(low <= observation.response && observation.response <= high)
        };
        let judged: Vec<bool> = test.iter().filter_map(inside).collect();
        let covered = judged.iter().filter(|inside| **inside).count() as f64;
        Scores {
            n_test: test.len(),
            rmse: mean(&|p, y| (p - y).powi(2)).sqrt(),
            rmsle: squares.sqrt(),
            rmsle_std_error: (squares + (spread / n).sqrt()).sqrt() - squares.sqrt(),
            mean_relative_error: mean(&|p, y| ((p - y) / y).abs()),
            bias_log: mean(&|p, y| scalar::ln(p) - scalar::ln(y)),
            coverage: covered / judged.len() as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::typed_law;

    /// By hand: predictions 2 and 4 for responses 2e and 4/e² have squared errors of the logarithm 1 and 4, whose mean is 2.5
    /// and whose standard deviation is 3/√2.
    #[test]
    fn scores_are_their_definitions() {
        let law = typed_law("y ~ a*x", &["y", "x"]);
        let e = std::f64::consts::E;
        let test = [(1.0, 2.0 * e), (2.0, 4.0 / (e * e))]
            .map(|(x, response)| HeldOut { variables: vec![x], response });
        let judged = JudgedFit { law: &law, natural: &[2.0], source: Source::Nowhere, new_run_margin: None };
        let scores = judged.score(&test, 0.95);
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        assert_eq!(scores.n_test, 2);
        close(scores.rmsle, 2.5f64.sqrt());
        close(scores.rmsle_std_error, (2.5 + 3.0 / 2.0f64.sqrt() / 2.0f64.sqrt()).sqrt() - 2.5f64.sqrt());
        close(scores.bias_log, 0.5);
        close(scores.mean_relative_error, ((1.0 - 1.0 / e).abs() + (e * e - 1.0)) / 2.0);
        assert!(scores.coverage.is_nan());
    }
}
