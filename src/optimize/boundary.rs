//! Parameters on the edge 0 of their domain.
//!
//! The edge 0 of an amplitude or scale is a legitimate estimate, but its logarithmic coordinate can only tend to it. So
//! where such a parameter hardly affects the prediction at the point found, or the point is not certified, the law with
//! the parameter fixed at 0 is solved too, and preferred if its objective is no higher. Bounds of linear coordinates
//! need no such treatment, since searches stop at them, unless the law has only a limit there.

use crate::compile::{Role, Scale};
use crate::law::Residual;
use crate::problem::{LaneData, Problem};

use super::models::{Models, Zero};
use super::newton::{Finished, MinimiseWorkspace, minimise};
use crate::problem::Linearization;

/// The size of a term, as a fraction of the response, below which its parameter is tried at 0.
const SMALL_TERM: f64 = 1e-4;

/// The size of a term, as a fraction of the response, below which it is zero but for rounding.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// Moves parameters to the edge 0 for as long as that does not raise the objective. Returns the problem with these
/// parameters fixed, their indices in the law, and its solution.
pub fn at_edges(
    models: &Models,
    problem: Problem,
    weight: &[f64],
    found: Finished,
) -> (Problem, Vec<usize>, Finished) {
    at_edges_of(models, problem, weight, found, Vec::new(), |_| true)
}

/// Moves parameters with certain roles to the edge 0, as [`at_edges`] does; `edges` are the parameters that are on it
/// already.
pub fn at_edges_of(
    models: &Models,
    mut problem: Problem,
    weight: &[f64],
    mut found: Finished,
    mut edges: Vec<usize>,
    of: impl Fn(Role) -> bool,
) -> (Problem, Vec<usize>, Finished) {
    let mut workspace = MinimiseWorkspace::default();
    loop {
        let certified = found.certificate.holds();
        let best = candidates(&problem, &found, certified)
            .into_iter()
            .filter(|&i| of(problem.model.coordinates[i].role))
            .filter_map(|i| {
                let mut at = edges.clone();
                at.push(problem.model.coordinates[i].parameter);
                at.sort_unstable();
                let natural = problem.natural(&found.theta);
                // The objective near the edge tells a limit of the law from a value that the formula has at 0 by
                // chance.
                let (reduced, start, _) = [Zero::Exact, Zero::Limit]
                    .into_iter()
                    .map(|zero| {
                        let model = models.at(&at, zero);
                        let reduced = problem.with_model(model);
                        let start: Vec<f64> =
                            reduced.model.coordinates.iter().map(|c| natural[c.parameter]).collect();
                        let start = reduced.coordinates(&start);
                        let objective = objective_at(&reduced, weight, &start);
                        (reduced, start, objective)
                    })
                    .filter(|(.., objective)| objective.is_finite())
                    .min_by(|a, b| a.2.total_cmp(&b.2))?;
                let edge = minimise(&reduced, weight, &start, 100, &mut workspace)?;
                Some((at, reduced, edge))
            })
            .filter(|(_, reduced, edge)| {
                let slack = 1e-12 * found.rows.objective + reduced.floor;
                edge.rows.objective <= found.rows.objective + slack
            })
            .min_by(|a, b| a.2.rows.objective.total_cmp(&b.2.rows.objective));
        match best {
            Some((at, reduced, edge)) => (edges, problem, found) = (at, reduced, edge),
            None => return (problem, edges, found),
        }
    }
}

/// Returns the objective at a point in solver coordinates.
fn objective_at(problem: &Problem, weight: &[f64], theta: &[f64]) -> f64 {
    Linearization::sums_at(problem, &LaneData::spread(problem, weight), theta).objective
}

/// Returns the coordinates whose parameter is tried at 0.
///
/// These are logarithmic coordinates whose domain starts at zero, if their parameter hardly affects the prediction or
/// the point is not certified. Linear coordinates are tried where the parameter hardly affects the prediction near a
/// zero that the search cannot reach because the law has no value there, or where the parameter is zero but for
/// rounding.
fn candidates(problem: &Problem, found: &Finished, certified: bool) -> Vec<usize> {
    let rows = &found.rows;
    let n = rows.residual.len();
    // The change of T(prediction) when the whole prediction changes by a factor of e.
    let size = match problem.model.residual {
        Residual::Log => 1.0,
        Residual::Linear => rows.value.iter().map(|v| v.abs()).fold(0.0, f64::max).max(f64::MIN_POSITIVE),
    };
    (0..problem.p())
        .filter(|&i| {
            let coordinate = &problem.model.coordinates[i];
            let relative = match coordinate.scale {
                Scale::Log => 1.0,
                Scale::Linear => found.theta[i],
            };
            let slope = (0..n).map(|k| rows.jacobian[k * rows.p + i].abs()).fold(0.0, f64::max);
            let relative_size = slope * relative / size;
            match coordinate.scale {
                Scale::Log => {
                    coordinate.low == f64::NEG_INFINITY && (!certified || relative_size < SMALL_TERM)
                }
                Scale::Linear => {
                    // Rounding in the data moves an offset off its edge.
                    let rounding = coordinate.role == Role::Offset && relative_size < ROUNDING;
                    let small = rounding || (!certified && relative_size < SMALL_TERM);
                    coordinate.low == 0.0 && found.theta[i] > 0.0 && small
                }
            }
        })
        .collect()
}
