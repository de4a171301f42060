//! Starts for the scale of a term in an equation.
//!
//! A law that is the root of an equation is linear in none of its parameters, so no amplitude can be solved. But where
//! the root is monotone in the scale of a term, as `y` is in `b` in `(y − e)/(e0 − y)^a = b·x^-c`, bisection finds the
//! scale at which half of the predictions lie above their responses, whatever the units of the data.

use crate::lanes::{LANES, Pack};
use crate::problem::{LaneData, Problem};

use super::workspace::StartWorkspace;

/// The half-length of the interval of the scale's logarithm (at the geometric-mean observation).
const REACH: f64 = 256.0;

/// The number of bisections: to 1/64 in the logarithm.
const HALVINGS: usize = 15;

/// Sets a logarithmic coordinate of every point so that as many predictions are too large as are too small. Where that
/// cannot be, the coordinate is set to zero. The problem's sample must be loaded.
pub fn balance(problem: &Problem, coordinate: usize, workspace: &mut StartWorkspace) {
    let StartWorkspace { evaluator, points, packs, .. } = workspace;
    for first in (0..points.len()).step_by(LANES) {
        let mut excess = |at: [f64; LANES]| -> [f64; LANES] {
            (0..points.in_pack(first)).for_each(|k| points.point_mut(first + k)[coordinate] = at[k]);
            points.pack(first, packs);
            let (values, data) = evaluator.values(&problem.model.value, packs);
            surplus(values, data)
        };
        let (mut low, mut high) = ([-REACH; LANES], [REACH; LANES]);
        let (at_low, at_high) = (excess(low), excess(high));
        let direction: [f64; LANES] = std::array::from_fn(|l| (at_high[l] - at_low[l]).signum());
        let possible: [bool; LANES] = std::array::from_fn(|l| at_low[l] * at_high[l] < 0.0);
        let middle = |low: &[f64; LANES], high: &[f64; LANES]| -> [f64; LANES] {
            std::array::from_fn(|l| if possible[l] { 0.5 * (low[l] + high[l]) } else { 0.0 })
        };
        for _ in 0..HALVINGS {
            let at = middle(&low, &high);
            let found = excess(at);
            for lane in 0..LANES {
                if found[lane] * direction[lane] > 0.0 {
                    high[lane] = at[lane];
                } else {
                    low[lane] = at[lane];
                }
            }
        }
        excess(middle(&low, &high));
    }
}

/// Returns, per lane, the weight of predictions above their responses minus the weight of those below.
fn surplus(values: &[Pack], data: &LaneData) -> [f64; LANES] {
    std::array::from_fn(|lane| {
        let each = values.iter().zip(&data.target).zip(&data.weight);
        each.map(|((value, target), weight)| {
            let residual = value.0[lane] - target.0[lane];
            if residual > 0.0 {
                weight.0[lane]
            } else if residual < 0.0 {
                -weight.0[lane]
            } else {
                0.0
            }
        })
        .sum()
    })
}
