//! Minimising a problem: starts, searches, the finish and its certificate, edges of the domain.
//!
//! | file | its one idea |
//! | --- | --- |
//! | `starts` | where searches begin |
//! | `balance` | where they begin for a law that is the root of an equation |
//! | `search` | Levenberg–Marquardt as a state machine |
//! | `batch` | many searches at once, one per lane |
//! | `reference` | the faer solver that finishes a fit and certifies it |
//! | `rows` | a problem at one point, observation by observation |
//! | `edges` | parameters that belong on the edge of their domain |
//! | `identify` | condition, rank and the directions the data leaves free |
//! | `dense` | Cholesky on the few-by-few matrices of the hot loop |

mod balance;
mod batch;
mod dense;
mod edges;
mod identify;
mod reference;
mod rows;
mod search;
mod starts;

pub use batch::{Batch, Kind, Outcome, Task, order_for};
pub use edges::{Models, at_edges};
pub use identify::{Identification, identify};
pub use reference::{Certificate, Finished, column_scales, minimise, scaled_hessian, weighted_entry};
pub use rows::{Rows, rows};
pub use search::{Ending, Terrain};
pub use starts::{Given, default_starts, never_finite, starts};

use crate::law::{Residual, Scale, start_rules};
use crate::problem::Problem;

/// Two objectives closer than this, relatively, are the same optimum.
pub const AGREEMENT: f64 = 1e-6;

/// Which solver searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Searches in lanes, finished by the reference solver.
    #[default]
    Fast,
    /// The reference solver alone.
    Reference,
}

/// What a fit is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub solver: Solver,
    /// None: set by the law.
    pub starts: Option<usize>,
    /// The user's own start, per parameter of the law.
    pub user_start: Vec<(String, f64)>,
}

/// How a fit ended; where several hold, the first of this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Failed,
    Underdetermined,
    NotConverged,
    AtBound,
    Converged,
}

impl Status {
    pub const ALL: [Status; 5] =
        [Status::Converged, Status::AtBound, Status::NotConverged, Status::Underdetermined, Status::Failed];

    pub fn name(self) -> &'static str {
        match self {
            Status::Converged => "converged",
            Status::AtBound => "at_bound",
            Status::NotConverged => "not_converged",
            Status::Underdetermined => "underdetermined",
            Status::Failed => "failed",
        }
    }
}

/// The best point found for one problem and what is known about it.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The problem as solved: where a parameter landed on an edge that its coordinate cannot reach, a
    /// problem with that parameter fixed there.
    pub problem: Problem,
    /// The law's parameters on such an edge, by index.
    pub edges: Vec<usize>,
    /// None where no search found a finite objective.
    pub solution: Option<Finished>,
    /// The law's parameters in natural units; NaN where there is no solution.
    pub natural: Vec<f64>,
    /// Per parameter of the law.
    pub at_bound: Vec<bool>,
    pub identification: Identification,
    pub status: Status,
    pub message: String,
    pub n_starts: usize,
    pub n_agreeing: usize,
    /// Iterations of the start that won, its finish included.
    pub iterations: u32,
}

impl Fit {
    pub fn objective(&self) -> f64 {
        self.solution.as_ref().map_or(f64::NAN, |s| s.rows.objective)
    }
}

/// What a search needs to know of a problem.
pub fn terrain(problem: &Problem) -> Terrain {
    Terrain {
        low: problem.model.coordinates.iter().map(|c| c.low).collect(),
        high: problem.model.coordinates.iter().map(|c| c.high).collect(),
        metric: problem.metric.clone(),
        floor: problem.floor,
        damping: 1e-4,
        loss: problem.loss,
        total_weight: problem.total_weight,
        linear: linear_coordinates(problem),
        project_start: false,
    }
}

/// How a search treats the coordinates in which the problem is linear.
#[derive(Clone, Copy, PartialEq)]
enum Amplitudes {
    /// Like all others.
    Free,
    /// Solved at every trial point; drawn starts come with theirs solved.
    Drawn,
    /// Solved at every trial point and at the start.
    Solved,
}

/// Finishes the best outcome; where its certificate fails, the next basins are tried too, because a search that
/// was cut short may lie above another's optimum. Keeps the best in `best`; true where one is certified.
fn finish_best(
    problem: &Problem,
    starts: &[Vec<f64>],
    outcomes: &[Outcome],
    best: &mut Option<(Finished, u32)>,
) -> bool {
    let weight = &problem.observations.weight;
    let mut last = f64::NEG_INFINITY;
    let mut tried = 0;
    for outcome in outcomes {
        if outcome.objective <= last * (1.0 + AGREEMENT) && tried > 0 {
            continue;
        }
        last = outcome.objective;
        tried += 1;
        let from = within_range(problem, &starts[outcome.task], &outcome.theta);
        if let Some(found) = minimise(problem, weight, &from, 100) {
            let iterations = outcome.iterations + found.iterations;
            let certified = found.certificate.holds();
            if best.as_ref().is_none_or(|(b, _)| found.rows.objective < b.rows.objective) {
                *best = Some((found, iterations));
            }
            if certified {
                return true;
            }
        }
        if tried == 4 {
            break;
        }
    }
    false
}

/// The coordinates that a search may solve exactly at every trial point.
fn linear_coordinates(problem: &Problem) -> Vec<(usize, Scale)> {
    let model = &problem.model;
    if !problem.loss.is_quadratic() {
        return Vec::new();
    }
    match model.residual {
        // Linear in the amplitudes themselves, whatever their coordinates.
        Residual::Linear => model.amplitudes.iter().map(|&i| (i, model.coordinates[i].scale)).collect(),
        // log b + c·log(…) is linear in the coordinates log b and c.
        Residual::Log => {
            let mut linear: Vec<usize> = Vec::new();
            for i in 0..problem.p() {
                let curved = |j: usize| model.curved.contains(&(i.max(j), i.min(j)));
                if !curved(i) && !linear.iter().any(|&j| curved(j)) {
                    linear.push(i);
                }
            }
            linear.into_iter().map(|i| (i, Scale::Linear)).collect()
        }
    }
}

/// Fits one problem: searches from all starts, finishes the best, tries the edges, judges the result.
pub fn fit(models: &Models, problem: Problem, options: &Options, batch: &mut Batch) -> Fit {
    let law = models.law();
    if problem.n() == 0 {
        let message = "no observation of this sweep can be used".to_string();
        return without_solution(law.parameters.len(), problem, 0, message);
    }
    if problem.p() == 0 {
        let solution = minimise(&problem, &problem.observations.weight, &[], 0);
        return edges::judge(models, problem, Vec::new(), solution, Tally::default());
    }

    let rules = start_rules(law, &problem.model.coordinates);
    let n_starts = options.starts.unwrap_or_else(|| default_starts(&problem.model.coordinates));
    let given: Option<Given> = (!options.user_start.is_empty()).then(|| {
        problem
            .model
            .coordinates
            .iter()
            .map(|c| {
                let name = &law.parameters[c.parameter].name;
                options.user_start.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
            })
            .collect()
    });
    let starts = starts(&problem, &rules, n_starts.max(1), given.as_ref(), batch);
    // A start of the user's own, alone, is first searched from as it stands; only where that ends in no certified
    // minimum are its amplitudes solved, then and along the way.
    let alone = given.is_some() && starts.len() == 1;
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut best: Option<(Finished, u32)> = None;
    for amplitudes in
        if alone { &[Amplitudes::Free, Amplitudes::Solved][..] } else { &[Amplitudes::Drawn][..] }
    {
        let mut found = search(&problem, &starts, options.solver, *amplitudes, batch);
        found.retain(|o| o.objective.is_finite());
        found.sort_by(|a, b| a.objective.total_cmp(&b.objective));
        let certified = finish_best(&problem, &starts, &found, &mut best);
        if best.is_some() {
            outcomes = found;
        }
        if certified {
            break;
        }
    }
    let Some((solution, iterations)) = best else {
        let message = "the law has no finite value at any start; check its domains and the data".to_string();
        return without_solution(law.parameters.len(), problem, starts.len(), message);
    };
    let tally = Tally {
        n_starts: starts.len(),
        objectives: outcomes.iter().map(|o| o.objective).collect(),
        iterations,
    };
    edges::land(models, problem, solution, tally)
}

/// The end of a search, drawn back towards its start until every parameter is a finite number: a search that
/// follows a valley to infinity may leave the range of numbers in a parameter, though not in its coordinates.
fn within_range(problem: &Problem, start: &[f64], end: &[f64]) -> Vec<f64> {
    let mut share = 1.0;
    loop {
        let point: Vec<f64> = start.iter().zip(end).map(|(s, e)| s + share * (e - s)).collect();
        if share < 1e-3 || problem.natural(&point).iter().all(|x| x.is_finite()) {
            return point;
        }
        share *= 0.8;
    }
}

/// Bookkeeping of the multi-start.
#[derive(Debug, Default)]
struct Tally {
    n_starts: usize,
    objectives: Vec<f64>,
    iterations: u32,
}

impl Tally {
    /// Searches that ended at `objective`, to the resolution of `floor`.
    fn agreeing(&self, objective: f64, floor: f64) -> usize {
        let limit = objective * (1.0 + AGREEMENT) + 1e3 * floor;
        self.objectives.iter().filter(|&&o| o <= limit).count()
    }
}

fn search(
    problem: &Problem,
    starts: &[Vec<f64>],
    solver: Solver,
    amplitudes: Amplitudes,
    batch: &mut Batch,
) -> Vec<Outcome> {
    let weight = &problem.observations.weight;
    match solver {
        Solver::Fast => {
            let mut terrain = terrain(problem);
            terrain.project_start = amplitudes == Amplitudes::Solved;
            if amplitudes == Amplitudes::Free {
                terrain.linear.clear();
            }
            let mut outcomes: Vec<Option<Outcome>> = vec![None; starts.len()];
            batch.run(
                Kind::of(problem),
                starts.len(),
                |i| Task { problem, terrain: &terrain, weight, start: &starts[i] },
                |i, outcome| outcomes[i] = Some(outcome),
            );
            outcomes.into_iter().flatten().collect()
        }
        Solver::Reference => starts
            .iter()
            .enumerate()
            .filter_map(|(task, start)| {
                let found = minimise(problem, weight, start, 400)?;
                Some(Outcome {
                    task,
                    objective: found.rows.objective,
                    iterations: found.iterations,
                    ending: if found.certificate.holds() { Ending::Converged } else { Ending::Limit },
                    theta: found.theta,
                })
            })
            .collect(),
    }
}

fn without_solution(n_parameters: usize, problem: Problem, n_starts: usize, message: String) -> Fit {
    Fit {
        problem,
        edges: Vec::new(),
        solution: None,
        natural: vec![f64::NAN; n_parameters],
        at_bound: vec![false; n_parameters],
        identification: Identification::default(),
        status: Status::Failed,
        message,
        n_starts,
        n_agreeing: 0,
        iterations: 0,
    }
}
