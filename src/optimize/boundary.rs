//! Parameters that belong on the edge of their domain.
//!
//! The edge 0 of an amplitude or scale is a legitimate answer, but its logarithmic coordinate can only run
//! after it. So where such a parameter hardly matters at the point found, or the point could not be
//! certified, the law with that parameter *at* its edge is solved too, and preferred if its objective is no
//! higher. Bounds of linear coordinates need nothing of the kind, since searches stop at them, unless the law has
//! only a limit there.

use crate::compile::{Role, Scale};
use crate::law::Residual;
use crate::problem::{LaneData, Problem};

use super::models::{Models, Zero};
use super::newton::{Finished, minimise};
use crate::problem::Linearization;

/// A term below this relative_size of the response is a candidate for the edge.
const SMALL_TERM: f64 = 1e-4;

/// A term below this relative_size of the response is zero but for rounding.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// The solution with parameters moved to edges for as long as that raises the objective by nothing: the problem
/// as solved in the end, the parameters on edges, its solution.
pub fn at_edges(
    models: &Models,
    problem: Problem,
    weight: &[f64],
    found: Finished,
) -> (Problem, Vec<usize>, Finished) {
    at_edges_of(models, problem, weight, found, Vec::new(), |_| true)
}

/// The same for parameters of some roles alone, where some are on edges already.
pub fn at_edges_of(
    models: &Models,
    mut problem: Problem,
    weight: &[f64],
    mut found: Finished,
    mut edges: Vec<usize>,
    of: impl Fn(Role) -> bool,
) -> (Problem, Vec<usize>, Finished) {
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
                // Near the edge the objective tells a limit from a value that the formula has there by chance.
                let (reduced, start, _) = [Zero::Exact, Zero::Limit]
                    .into_iter()
                    .map(|zero| {
                        let model = models.at(&at, zero);
                        let reduced = problem.under(model);
                        let start: Vec<f64> =
                            reduced.model.coordinates.iter().map(|c| natural[c.parameter]).collect();
                        let start = reduced.coordinates(&start);
                        let objective = objective_at(&reduced, weight, &start);
                        (reduced, start, objective)
                    })
                    .filter(|(.., objective)| objective.is_finite())
                    .min_by(|a, b| a.2.total_cmp(&b.2))?;
                let edge = minimise(&reduced, weight, &start, 100)?;
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

fn objective_at(problem: &Problem, weight: &[f64], theta: &[f64]) -> f64 {
    Linearization::at(problem, &LaneData::spread(problem, weight), theta).objective
}

/// Logarithmic coordinates whose domain starts at zero and whose parameter hardly matters, or any such
/// coordinate where the point could not be certified. There also linear ones that hardly matter near a zero which
/// they cannot reach, because the law has no value there, or that they have reached but for rounding.
fn candidates(problem: &Problem, found: &Finished, certified: bool) -> Vec<usize> {
    let rows = &found.rows;
    let n = rows.residual.len();
    // The typical size of T(prediction)'s response to a relative change of all of it.
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
                    // Rounding in the data moves an offset off its edge, though the data would have it there.
                    let rounding = coordinate.role == Role::Offset && relative_size < ROUNDING;
                    let small = rounding || (!certified && relative_size < SMALL_TERM);
                    coordinate.low == 0.0 && found.theta[i] > 0.0 && small
                }
            }
        })
        .collect()
}
