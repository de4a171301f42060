//! Parameters that belong on the edge of their domain, and the verdict on a fit.
//!
//! The edge 0 of an amplitude or scale is a legitimate answer, but its logarithmic coordinate can only run
//! after it. So where such a parameter hardly matters at the point found, or the point could not be
//! certified, the law with that parameter *at* its edge is solved too, and preferred if its objective is no
//! higher. Bounds of linear coordinates need nothing of the kind, since searches stop at them, unless the law has
//! only a limit there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::law::{Domain, LARGEST_LOG, Law, Model, Residual, Scale, list};
use crate::problem::{LaneData, Problem, Workspace};

use super::identify::condition_in;
use super::reference::{Finished, minimise};
use super::{Fit, Identification, Status, Tally, identify, reference, rows};

/// How a parameter stands on the edge 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Zero {
    Exact,
    /// At [`NEAR_ZERO`] instead, and called zero: for laws that have a limit at 0 which is not their value there, as a
    /// broken law has when its break becomes sharp.
    Limit,
}

/// Small enough to be as good as zero, and its inverse's square is still a number.
const NEAR_ZERO: f64 = 1e-100;

/// Parameters at zero, and how they stand there.
type Edge = (Vec<usize>, Zero);

/// The compiled forms of one law: its own, and with parameters fixed on edges as fits ask for them.
#[derive(Debug)]
pub struct Models {
    law: Law,
    residual: Residual,
    full: Arc<Model>,
    reduced: Mutex<BTreeMap<Edge, Arc<Model>>>,
}

impl Models {
    pub fn compile(law: Law, residual: Residual) -> Models {
        let full = Arc::new(Model::compile(&law, residual));
        Models { law, residual, full, reduced: Mutex::new(BTreeMap::new()) }
    }

    pub fn law(&self) -> &Law {
        &self.law
    }

    pub fn full(&self) -> &Arc<Model> {
        &self.full
    }

    /// The model with the given parameters of the law fixed at zero.
    pub(super) fn at_zero(&self, parameters: &[usize]) -> Arc<Model> {
        self.at(parameters, Zero::Exact)
    }

    fn at(&self, parameters: &[usize], zero: Zero) -> Arc<Model> {
        let mut reduced = self.reduced.lock().unwrap_or_else(PoisonError::into_inner);
        let fixed = |value: f64| {
            let law = parameters.iter().fold(self.law.clone(), |law, &i| law.with_fixed(i, value));
            Model::compile(&law, self.residual)
        };
        let model = reduced.entry((parameters.to_vec(), zero)).or_insert_with(|| {
            Arc::new(match zero {
                Zero::Exact => fixed(0.0),
                Zero::Limit => fixed(NEAR_ZERO),
            })
        });
        Arc::clone(model)
    }
}

/// A term below this share of the response is a candidate for the edge.
const SMALL_SHARE: f64 = 1e-4;

/// An uncertified point whose Jacobian is this ill-conditioned is probably on its way to infinity.
const RUNAWAY: f64 = 3e3;

/// Tries the edges that the solution approaches, then judges it.
pub(super) fn land(models: &Models, problem: Problem, found: Finished, tally: Tally) -> Fit {
    let weight = problem.observations.weight.clone();
    let (problem, edges, found) = at_edges(models, problem, &weight, found);
    judge(models, problem, edges, Some(found), tally)
}

/// The solution with parameters moved to edges for as long as that raises the objective by nothing: the problem
/// as solved in the end, the parameters on edges, its solution.
pub fn at_edges(
    models: &Models,
    mut problem: Problem,
    weight: &[f64],
    mut found: Finished,
) -> (Problem, Vec<usize>, Finished) {
    let mut edges: Vec<usize> = Vec::new();
    loop {
        let certified = found.certificate.holds();
        let best = candidates(&problem, &found, certified)
            .into_iter()
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
                        let reduced = Problem::new(model, Arc::clone(&problem.observations), problem.loss);
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
    let data = LaneData::spread(problem, weight);
    rows(problem, &data, weight, theta, &mut Workspace::default()).objective
}

/// Logarithmic coordinates whose domain starts at zero and whose parameter hardly matters, or any such
/// coordinate where the point could not be certified. There also linear ones that hardly matter near a zero which
/// they cannot reach, because the law has no value there.
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
            let matters_little = slope * relative / size < SMALL_SHARE;
            match coordinate.scale {
                Scale::Log => coordinate.low == f64::NEG_INFINITY && (!certified || matters_little),
                Scale::Linear => {
                    coordinate.low == 0.0 && found.theta[i] > 0.0 && !certified && matters_little
                }
            }
        })
        .collect()
}

/// Puts status and message to a solution.
pub(super) fn judge(
    models: &Models,
    problem: Problem,
    edges: Vec<usize>,
    solution: Option<Finished>,
    tally: Tally,
) -> Fit {
    let law = models.law();
    let names = |which: &[usize]| {
        let names: Vec<&str> = which.iter().map(|&i| law.parameters[i].name.as_str()).collect();
        list(&names)
    };
    let Some(found) = solution else {
        let message =
            "the law is not finite where the searches ended; check its domains and the data".to_string();
        return super::without_solution(law.parameters.len(), problem, tally.n_starts, message);
    };
    let mut natural = natural_values(law, &problem, &found);
    let mut at_bound = vec![false; law.parameters.len()];
    for &i in &edges {
        at_bound[i] = true;
        natural[i] = 0.0;
    }
    for (i, coordinate) in problem.model.coordinates.iter().enumerate() {
        if found.theta[i] <= coordinate.low || found.theta[i] >= coordinate.high {
            at_bound[coordinate.parameter] = true;
        }
    }
    let mut identification: Identification = identify(&found.rows, &found.free);
    if identification.undetermined.is_empty() {
        identification.condition = natural_condition(&problem, &found);
    }
    let undetermined: Vec<usize> =
        identification.undetermined.iter().map(|&i| problem.model.coordinates[i].parameter).collect();
    let endless: Vec<usize> = problem
        .model
        .coordinates
        .iter()
        .enumerate()
        .filter(|(i, c)| c.scale == Scale::Log && c.high == LARGEST_LOG && found.theta[*i] >= LARGEST_LOG)
        .map(|(_, c)| c.parameter)
        .collect();
    let bound: Vec<usize> = (0..at_bound.len()).filter(|&i| at_bound[i]).collect();
    let n_free = models.full().coordinates.len();
    let n_distinct = problem.observations.n_distinct();

    let finite = found.rows.objective.is_finite() && natural.iter().all(|x| x.is_finite());
    let (status, message) = if !finite {
        (Status::Failed, "the best point found is not finite".to_string())
    } else if n_distinct < n_free {
        let message = format!("{n_distinct} distinct observations cannot determine {n_free} free parameters");
        (Status::Underdetermined, message)
    } else if !undetermined.is_empty() {
        let message = format!("the data does not determine {}", names(&undetermined));
        (Status::Underdetermined, message)
    } else if !endless.is_empty() {
        let message = format!("{} grows without limit: the objective has no finite minimum", names(&endless));
        (Status::Underdetermined, message)
    } else if !found.certificate.holds() {
        let mut message = found.certificate.failure();
        if identification.condition > RUNAWAY {
            let weakest: Vec<usize> =
                identification.weakest.iter().map(|&i| problem.model.coordinates[i].parameter).collect();
            message += &format!(
                "; {} may be running away together: the objective hardly changes along them (condition number \
                 {:.1e})",
                names(&weakest),
                identification.condition
            );
        }
        (Status::NotConverged, message)
    } else if !bound.is_empty() {
        (Status::AtBound, format!("on the edge of its domain: {}", names(&bound)))
    } else {
        (Status::Converged, String::new())
    };
    let n_agreeing = tally.agreeing(found.rows.objective, problem.floor);
    Fit {
        n_starts: tally.n_starts,
        n_agreeing,
        runner_up: tally.runner_up(found.rows.objective, problem.floor),
        iterations: tally.iterations,
        solution: Some(found),
        problem,
        edges,
        natural,
        at_bound,
        identification,
        status,
        message,
    }
}

/// Condition number of the column-scaled Jacobian with respect to the parameters themselves, not the solver's
/// coordinates: what a user can compute from the table of residuals.
fn natural_condition(problem: &Problem, found: &Finished) -> f64 {
    let parameters: Vec<usize> = found.free.iter().map(|&i| problem.model.coordinates[i].parameter).collect();
    let transform = problem.natural_jacobian(&found.theta);
    let p = problem.p();
    condition_in(&found.rows, &found.free, |a, b| transform[parameters[a] * p + found.free[b]])
}

fn natural_values(law: &Law, problem: &Problem, found: &reference::Finished) -> Vec<f64> {
    let mut natural = problem.natural(&found.theta);
    // A fixed value is reported as given, not as it comes back through arithmetic.
    for (value, parameter) in natural.iter_mut().zip(&law.parameters) {
        if let Domain::Fixed(fixed) = parameter.domain {
            *value = fixed;
        }
    }
    natural
}
