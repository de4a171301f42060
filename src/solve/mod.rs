//! Minimising a problem: starts, searches, the finish and its certificate, edges of the domain.
//!
//! | file | its one idea |
//! | --- | --- |
//! | `starts` | where searches begin |
//! | `valley` | where they begin for a law that is linear in logarithms but for its offset |
//! | `balance` | where they begin for a law that is the root of an equation |
//! | `search` | Levenberg–Marquardt as a state machine |
//! | `batch` | many searches at once, one per lane |
//! | `ahead` | steps in normal coordinates, where a search looks first, and when its last step needs no confirmation |
//! | `basins` | searches that need not be finished |
//! | `reference` | the faer solver that finishes a fit |
//! | [`certificate`] | what must hold of a point before it is called a minimum |
//! | `rows` | a problem at one point: observation by observation, and summed |
//! | `expansion` | the objective near an estimate under any weights, for replicates |
//! | `edges` | parameters that belong on the edge of their domain |
//! | `identify` | condition, rank and the directions the data leaves free |
//! | `explain` | what about the data leaves them free, in words |
//! | `scale` | losses whose threshold follows the residuals |
//! | `flags` | remarks in stable words |
//! | `verdict` | status, flags and message of a fit |
//! | `dense` | Cholesky on the few-by-few matrices of the hot loop, the triangular factor of a tall one |

mod ahead;
mod balance;
mod basins;
mod batch;
pub mod certificate;
#[cfg(test)]
mod certificate_tests;
mod dense;
mod edges;
mod expansion;
mod explain;
mod flags;
mod identify;
mod reference;
mod rows;
mod scale;
mod search;
mod starts;
mod valley;
mod verdict;

pub use ahead::Ahead;
pub use batch::{Batch, Ended, Kind, Task};
pub use certificate::{Certificate, column_scales, scaled_hessian, weighted_entry};
pub use edges::{Models, at_edges};
pub use expansion::Expansion;
pub use flags::{Flag, words};
pub use identify::Identification;
pub use reference::{Finished, minimise};
pub use rows::Rows;
pub use scale::fit_choice;
pub use search::{Ending, Terrain};
pub use starts::{Design, Given, most_starts, never_finite, starts, user_start};

use std::sync::Arc;

use crate::law::{Coordinate, LANES, Law, Residual, Role, Scale};
use crate::problem::{Part, Problem};

use explain::Collinear;

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
    /// In order.
    pub flags: Vec<Flag>,
    pub n_starts: usize,
    pub n_agreeing: usize,
    /// The best objective of another optimum that the searches found.
    pub runner_up: Option<f64>,
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
        share: 1.0,
        bends: true,
        bent: false,
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
        let from = within_range(problem, &starts[outcome.start], &outcome.theta);
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
        Residual::Log => valley::log_linear(model).into_iter().map(|i| (i, Scale::Linear)).collect(),
    }
}

/// Fits one problem: searches from all starts, finishes the best, tries the edges, judges the result.
pub fn fit(models: &Models, problem: Problem, options: &Options, batch: &mut Batch) -> Fit {
    let law = models.law();
    if problem.n() == 0 {
        let message = "no observation of this sweep can be used".to_string();
        return without_solution(law.parameters.len(), problem, 0, message);
    }
    if let Some(message) = out_of_range(&problem) {
        return without_solution(law.parameters.len(), problem, 0, message);
    }
    if problem.p() == 0 {
        let solution = minimise(&problem, &problem.observations.weight, &[], 0);
        let collinear = explain::collinear(law, &problem);
        return verdict::judge(models, problem, collinear, Vec::new(), solution, Tally::default());
    }

    let design = Design::new(models, &problem);
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
    let mut searched = Searched::default();
    batch.forget();
    if let Some(given) = &given {
        let starts = user_start(&problem, &design, given, batch);
        if options.starts == Some(1) {
            searched.alone(&problem, &starts, options.solver, batch);
        } else {
            searched.search(&problem, starts, options.solver, Amplitudes::Drawn, batch);
        }
    }
    if options.starts != Some(1) || given.is_none() {
        rounds(&problem, &design, options, &mut searched, batch);
        searched.finish(&problem);
    }
    let collinear = explain::collinear(law, &problem);
    if let Some(collinear) = collinear.as_ref().filter(|c| c.is_same_variable()) {
        searched.exchange(law, &problem, collinear, &design, options, batch);
    }
    let n_starts = searched.starts.len();
    let Some((solution, iterations)) = searched.best else {
        let message = "the law has no finite value at any start; check its domains and the data".to_string();
        return without_solution(law.parameters.len(), problem, n_starts, message);
    };
    let tally = Tally { n_starts, outcomes: searched.outcomes, iterations };
    let observations = Arc::clone(&problem.observations);
    let (problem, edges, solution) = at_edges(models, problem, &observations.weight, solution);
    verdict::judge(models, problem, collinear, edges, Some(solution), tally)
}

/// Sums of squares beyond these leave no room for their products, or for the rounding of them, among float64's normal
/// numbers.
const SQUARES: std::ops::RangeInclusive<f64> = 1e-270..=1e290;

/// Why squares that a fit needs cannot be computed, where they cannot.
fn out_of_range(problem: &Problem) -> Option<String> {
    let response = &problem.observations.response;
    let of_response = problem.model.residual == Residual::Linear;
    // Under a logarithm the response's own size matters to parameters in its units that are no amplitudes.
    let in_its_units = |c: &Coordinate| matches!(c.role, Role::Offset | Role::LowEnd | Role::HighEnd);
    let by_offset = !of_response && problem.model.coordinates.iter().any(in_its_units);
    let beyond = |x: f64| (!SQUARES.contains(&x)).then_some(if x > 1.0 { "large" } else { "small" });
    let (size, what) = if let Some(size) = beyond(problem.unit) {
        (size, if of_response { "squares of responses over sigma" } else { "squares of 1 over sigma" })
    } else {
        let size = response.iter().filter(|_| by_offset).find_map(|y| beyond(y * y))?;
        (size, "squares of responses")
    };
    if of_response && response.iter().all(|y| *y == 0.0) {
        return None;
    }
    Some(format!(
        "{what}, weighted, are too {size} for float64; express the response, sigma or the weights in another unit"
    ))
}

/// Searches of the first round, by how many coordinates are drawn; each later one doubles the number of searches so
/// far.
fn first_round(n_drawn: usize) -> usize {
    match n_drawn {
        0..=3 => LANES,
        4 => 2 * LANES,
        _ => 4 * LANES,
    }
}

/// Points of the design that are screened by their objective: per search, and at least in a round.
const SCREENED_PER_START: usize = 2;
const LEAST_SCREENED: usize = 4 * LANES;

/// Iterations after which a search of the reference solver gives up.
const REFERENCE_ITERATIONS: u32 = 400;

/// Times that a lone search may go on where it ran out of iterations, the first included.
const MOST_LEGS: usize = 10;

/// Times that the best optimum must have been found.
const TIMES_FOUND: usize = 3;

/// Searches until the best optimum is likely the best there is.
///
/// After each round: enough when the best was found [`TIMES_FOUND`] times and, with `n` searches that ended in `w`
/// different optima, the number of optima to be expected, `w(n−1)/(n−w−2)`, exceeds those seen by less than a half
/// (Boender & Rinnooy Kan 1987). Searches that ended nowhere, because they ran off or out of iterations, say nothing
/// and are not counted. The first round grows with the number of coordinates that are drawn, and so does the limit
/// ([`most_starts`]). Where the user gives a number of starts, that many and no rule.
fn rounds(problem: &Problem, design: &Design, options: &Options, searched: &mut Searched, batch: &mut Batch) {
    let n_drawn = design.n_drawn(problem);
    let most = options.starts.unwrap_or_else(|| most_starts(n_drawn)).max(1);
    let mut drawn = 0;
    while searched.starts.len() < most {
        let done = searched.starts.len();
        let round = if options.starts.is_some() { most } else { first_round(n_drawn).max(done) };
        let wanted = round.min(most - done);
        let points = drawn..drawn + LEAST_SCREENED.max(SCREENED_PER_START * wanted);
        drawn = points.end;
        let starts = starts(problem, design, points, wanted, batch);
        let exhausted = starts.len() < wanted;
        searched.search(problem, starts, options.solver, Amplitudes::Drawn, batch);
        if exhausted || (options.starts.is_none() && searched.suffices(problem)) {
            return;
        }
    }
}

/// The searches of one fit.
#[derive(Default)]
struct Searched {
    starts: Vec<Vec<f64>>,
    /// By objective.
    outcomes: Vec<Outcome>,
    /// The best, finished, and its iterations.
    best: Option<(Finished, u32)>,
}

impl Searched {
    fn search(
        &mut self,
        problem: &Problem,
        starts: Vec<Vec<f64>>,
        solver: Solver,
        amplitudes: Amplitudes,
        batch: &mut Batch,
    ) {
        let first = self.starts.len();
        let mut found = search(problem, &starts, solver, amplitudes, batch);
        found.retain(|o| o.objective.is_finite());
        found.iter_mut().for_each(|o| o.start += first);
        self.starts.extend(starts);
        self.outcomes.extend(found);
        // The search that found an optimum comes before those that were abandoned on their way to it.
        self.outcomes
            .sort_by(|a, b| a.objective.total_cmp(&b.objective).then(a.abandoned().cmp(&b.abandoned())));
    }

    /// From the user's own start alone: first as it stands; where that ends in no certified minimum, with its
    /// amplitudes solved.
    ///
    /// A search that ran out of iterations while it still descended has not been refused anything: it goes on from
    /// where it is, now with the amplitudes solved along the way, because a valley that is too long for it is
    /// mostly one in which an amplitude changes by orders of magnitude (NIST's MGH10).
    fn alone(&mut self, problem: &Problem, start: &[Vec<f64>], solver: Solver, batch: &mut Batch) {
        for amplitudes in [Amplitudes::Free, Amplitudes::Solved] {
            let mut leg = search(problem, start, solver, amplitudes, batch);
            for _ in 1..MOST_LEGS {
                let Some(before) = leg.first().filter(|o| o.ending == Ending::Limit).cloned() else { break };
                let next = search(problem, &[before.theta], solver, Amplitudes::Drawn, batch);
                leg = next
                    .into_iter()
                    .map(|o| Outcome { iterations: o.iterations + before.iterations, ..o })
                    .collect();
            }
            self.starts = start.to_vec();
            self.outcomes = leg.into_iter().filter(|o| o.objective.is_finite()).collect();
            if self.finish(problem) {
                return;
            }
        }
    }

    /// Finishes the best outcome; true where one is certified.
    fn finish(&mut self, problem: &Problem) -> bool {
        finish_best(problem, &self.starts, &self.outcomes, &mut self.best)
    }

    /// Where two variables are nearly powers of one another, also searches where their terms have exchanged roles:
    /// whether that is as good must not be left to the draw of the starts.
    fn exchange(
        &mut self,
        law: &Law,
        problem: &Problem,
        collinear: &Collinear,
        design: &Design,
        options: &Options,
        batch: &mut Batch,
    ) {
        let Some((best, _)) = &self.best else { return };
        let starts: Vec<Vec<f64>> = collinear
            .exchanges(law, problem, &best.theta)
            .iter()
            .flat_map(|given| user_start(problem, design, given, batch))
            .collect();
        if starts.is_empty() {
            return;
        }
        // The valley between the two is long and shallow, and a search may stop before its end: both are compared as
        // finished.
        let winner = self.outcomes.first().map(|o| o.start);
        let first = self.starts.len();
        self.search(problem, starts, options.solver, Amplitudes::Drawn, batch);
        for outcome in self.outcomes.iter_mut().filter(|o| o.start >= first || Some(o.start) == winner) {
            if let Some(found) = minimise(problem, &problem.observations.weight, &outcome.theta, 100) {
                outcome.objective = found.rows.objective;
                outcome.ending = if found.certificate.holds() { Ending::Converged } else { Ending::Limit };
                outcome.theta = found.theta;
            }
        }
        self.outcomes.sort_by(|a, b| a.objective.total_cmp(&b.objective));
        self.finish(problem);
    }

    /// The rule of [`rounds`].
    fn suffices(&self, problem: &Problem) -> bool {
        let Some(best) = self.outcomes.first() else { return false };
        // A search that ended where others did has ended somewhere, even if it could not tell: it may have stalled
        // within rounding of the optimum.
        let limit = agreement_limit(best.objective, problem.floor);
        let found = self.outcomes.iter().filter(|o| o.objective <= limit).count();
        if found < TIMES_FOUND {
            return false;
        }
        let (mut n, mut optima) = (found, 1);
        let mut last = best.objective;
        for outcome in self.outcomes[found..].iter().filter(|o| o.converged()) {
            n += 1;
            if outcome.objective > agreement_limit(last, problem.floor) {
                optima += 1;
                last = outcome.objective;
            }
        }
        enough(n, optima)
    }
}

/// Whether `n` searches that ended in `w` different optima make it unlikely that there is another.
fn enough(n: usize, w: usize) -> bool {
    if n <= w + 2 {
        return false;
    }
    let (n, w) = (n as f64, w as f64);
    w * (n - 1.0) / (n - w - 2.0) < w + 0.5
}

/// Objectives up to here are the same optimum as `objective`, to the resolution of `floor`.
fn agreement_limit(objective: f64, floor: f64) -> f64 {
    objective * (1.0 + AGREEMENT) + 1e3 * floor
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

/// A search's end, kept.
#[derive(Clone, Debug)]
struct Outcome {
    start: usize,
    theta: Vec<f64>,
    objective: f64,
    iterations: u32,
    ending: Ending,
}

impl Outcome {
    /// It ended in an optimum, or was abandoned on its way to one.
    fn converged(&self) -> bool {
        matches!(self.ending, Ending::Converged | Ending::Abandoned(_))
    }

    fn abandoned(&self) -> bool {
        matches!(self.ending, Ending::Abandoned(_))
    }
}

/// Bookkeeping of the multi-start.
#[derive(Debug, Default)]
struct Tally {
    n_starts: usize,
    outcomes: Vec<Outcome>,
    iterations: u32,
}

impl Tally {
    /// Searches that ended at `objective`.
    fn agreeing(&self, objective: f64, floor: f64) -> usize {
        let limit = agreement_limit(objective, floor);
        self.outcomes.iter().filter(|o| o.objective <= limit).count()
    }

    /// The best objective of another optimum.
    fn runner_up(&self, objective: f64, floor: f64) -> Option<f64> {
        let limit = agreement_limit(objective, floor);
        self.outcomes.iter().filter(|o| o.converged()).map(|o| o.objective).find(|&o| o > limit)
    }
}

fn search(
    problem: &Problem,
    starts: &[Vec<f64>],
    solver: Solver,
    amplitudes: Amplitudes,
    batch: &mut Batch,
) -> Vec<Outcome> {
    match solver {
        Solver::Fast => {
            let (rows, weight) = problem.taking_part();
            let part = Part { rows: &rows, weight: &weight };
            let mut terrain = terrain(problem);
            terrain.project_start = amplitudes == Amplitudes::Solved;
            if amplitudes == Amplitudes::Free {
                terrain.linear.clear();
            }
            if starts.len() == 1 {
                // Where no other search makes up for one that goes astray, the model that does so less often.
                terrain.bends = false;
            }
            let mut outcomes: Vec<Option<Outcome>> = vec![None; starts.len()];
            let kind = Kind { abandon: starts.len() > 1, ..Kind::of(problem, &terrain) };
            let task = |i: usize| Task::new(problem, &terrain, part, &starts[i]);
            let keep = |ended: Ended| {
                outcomes[ended.task] = Some(Outcome {
                    start: ended.task,
                    theta: ended.theta.to_vec(),
                    objective: ended.objective,
                    iterations: ended.iterations,
                    ending: ended.ending,
                });
            };
            if starts.len() == 1 {
                batch.run_alone(task(0), kind, keep);
            } else {
                batch.run(kind, starts.len(), task, keep);
            }
            outcomes.into_iter().flatten().collect()
        }
        Solver::Reference => starts
            .iter()
            .enumerate()
            .filter_map(|(index, start)| {
                let found = minimise(problem, &problem.observations.weight, start, REFERENCE_ITERATIONS)?;
                Some(Outcome {
                    start: index,
                    objective: found.rows.objective,
                    iterations: found.iterations,
                    ending: match found.certificate.holds() {
                        true => Ending::Converged,
                        false if found.iterations == REFERENCE_ITERATIONS => Ending::Limit,
                        false => Ending::Stalled,
                    },
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
        flags: Vec::new(),
        n_starts,
        n_agreeing: 0,
        runner_up: None,
        iterations: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::enough;

    /// The expected number of optima from its posterior, summed term by term: every number of optima and every way
    /// to share the starts among them is as likely as any other beforehand, so that `k` optima leave `w` of them in
    /// `n` searches with a likelihood ∝ k!(k−1)!/((k−w)!(k+n−1)!).
    fn expected(n: usize, w: usize) -> f64 {
        let (mut weight, mut total, mut moment) = (1.0, 0.0, 0.0);
        for k in w..200_000 {
            total += weight;
            moment += weight * k as f64;
            let k = k as f64;
            weight *= (k + 1.0) * k / ((k + 1.0 - w as f64) * (k + n as f64));
        }
        moment / total
    }

    #[test]
    fn searches_suffice_when_half_an_optimum_is_expected_unseen() {
        for n in 1..60 {
            for w in 1..=n {
                // Below this the posterior has no mean.
                let unseen = if n > w + 2 { expected(n, w) - w as f64 } else { f64::INFINITY };
                if (unseen - 0.5).abs() > 1e-3 {
                    assert_eq!(enough(n, w), unseen < 0.5, "{n} searches, {w} optima: {unseen}");
                }
            }
        }
    }
}
