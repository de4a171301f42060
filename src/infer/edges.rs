//! Starts of refits that begin at a fit with parameters on the edge of their domain.

use crate::compile::Scale;
use crate::lanes::scalar;
use crate::law::Residual;
use crate::optimize::Linearization;
use crate::optimize::tuning::ReplicateTuning;
use crate::problem::{LaneData, Problem};

/// Moves coordinates off their edges to where they have `edge_effect`. Measured in effects, the distance does not depend on
/// the units of response and variables.
pub fn leave_edges(problem: &Problem, edges: &[usize], theta: &mut [f64], tuning: &ReplicateTuning) {
    let ReplicateTuning { edge_effect, edge_distance, edge_blind_step, .. } = *tuning;
    let data = LaneData::spread(problem, &problem.observations.weight);
    let size = match problem.model.residual {
        Residual::Log => 1.0,
        Residual::Linear => root_mean_square(problem.target.iter().copied()),
    };
    let effect = |theta: &[f64], i: usize| {
        let rows = Linearization::at(problem, &data, theta);
        root_mean_square((0..problem.n()).map(|k| rows.jacobian[k * rows.p + i])) / size
    };
    for &i in edges {
        let coordinate = &problem.model.coordinates[i];
        match coordinate.scale {
            Scale::Log => {
                // From far below, where the effect is in proportion to a power of the parameter.
                for _ in 0..tuning.edge_evaluations {
                    let effect = effect(theta, i);
                    let is_known = effect.is_finite() && effect > f64::MIN_POSITIVE;
                    let step = if is_known { scalar::ln(edge_effect / effect) } else { edge_blind_step };
                    theta[i] = (theta[i] + step).min(coordinate.high);
                    if step.abs() <= 1e-12 * theta[i].abs().max(1.0) {
                        break;
                    }
                }
            }
            Scale::Linear => {
                let width = if coordinate.high.is_finite() { coordinate.high - theta[i] } else { 1.0 };
                let slope = effect(theta, i);
                let step = edge_effect / slope;
                let is_known = slope.is_finite() && step.is_finite() && step < width;
                theta[i] += if is_known { step } else { edge_distance * width };
            }
        }
    }
}

fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    (values.map(|x| x * x).sum::<f64>() / n).sqrt()
}
