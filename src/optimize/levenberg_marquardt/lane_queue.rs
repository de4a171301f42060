//! A queue of searches of one model, run in the SIMD lanes.
//!
//! A lane whose search has ended takes the next task at once, so no search waits for a slower neighbour. The tasks may
//! belong to several fits (see `lane_scheduler`). The arithmetic of every lane is its own: the result of a search
//! depends neither on the searches beside it nor on the order of tasks.
//!
//! Searches on a long fit ([`LongData`]), and few searches on a fit that fills the lanes by itself, run one after the
//! other, each over all lanes and over the threads that are free.

use fearless_simd::Level;

use crate::compile::Model;
use crate::lanes::{LANES, Pack};
use crate::problem::{LONG, LaneData, LongData, Objective, Order, Part, Problem, ProgramWorkspace, Sums};

use super::known_optima::{KnownInLanes, KnownOptima};
use super::normal_coordinates::FirstStep;
use super::state::{Ending, SearchSettings, Searches, SharedSettings};
use crate::optimize::local_expansion::Expansion;
use crate::optimize::tuning::Tuning;

/// A search to be made.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    pub problem: &'a Problem,
    pub settings: &'a SearchSettings<'a>,
    pub part: Part<'a>,
    pub start: &'a [f64],
    /// Objective and derivatives at the start and the first trial point, where they are known before the search.
    pub first_step: Option<FirstStep<'a>>,
}

impl<'a> Task<'a> {
    /// Returns a search whose objective at the start is not known.
    #[must_use]
    pub fn new(
        problem: &'a Problem,
        settings: &'a SearchSettings<'a>,
        part: Part<'a>,
        start: &'a [f64],
    ) -> Task<'a> {
        Task { problem, settings, part, start, first_step: None }
    }
}

/// What all tasks of a batch share.
#[derive(Clone, Copy, Debug)]
pub struct TaskKind<'a> {
    pub model: &'a Model,
    pub shared: SharedSettings<'a>,
    /// The largest number of observations of a task.
    pub most_observations: usize,
    pub has_sigma: bool,
}

impl<'a> TaskKind<'a> {
    /// Returns the kind of the tasks on one problem.
    #[must_use]
    pub fn of(problem: &'a Problem, settings: &'a SearchSettings<'a>) -> TaskKind<'a> {
        TaskKind {
            model: &problem.model,
            shared: SharedSettings {
                loss: problem.loss,
                coordinates: &problem.model.coordinates,
                linear: settings.linear,
                project_start: settings.project_start,
                accelerated: settings.accelerated,
                third: &[],
                connection: &[],
                tuning: settings.tuning,
            },
            most_observations: problem.n(),
            has_sigma: problem.observations.sigma.is_some(),
        }
    }
}

/// The result of a search.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// The task's number.
    pub task: usize,
    /// The point where the search ended, in solver coordinates; for an abandoned search, the known optimum.
    pub theta: &'a [f64],
    pub objective: f64,
    pub iterations: u32,
    pub ending: Ending,
    /// The point, then objective, gradient and Hessian there or one step before, in the layout of
    /// [`KnownOptima::note`].
    pub(in crate::optimize) optimum: &'a [f64],
}

/// A source of tasks for the lanes.
pub trait Tasks<'a> {
    /// Returns the number and the task that a free lane runs next; none while there is none.
    fn next(&mut self, lane: usize) -> Option<(usize, Task<'a>)>;

    /// Returns the known optima for which the search of a task may be abandoned.
    fn optima(&self, _task: usize) -> Option<&KnownOptima> {
        None
    }

    /// Takes the result of a task.
    fn done(&mut self, ended: Ended);
}

/// Tasks that any lane may take, in the order of their numbers.
struct InOrder<T, D> {
    next: usize,
    n: usize,
    task: T,
    done: D,
}

impl<'a, T: FnMut(usize) -> Task<'a>, D: FnMut(Ended)> Tasks<'a> for InOrder<T, D> {
    fn next(&mut self, _: usize) -> Option<(usize, Task<'a>)> {
        let number = self.next;
        (number < self.n).then(|| {
            self.next += 1;
            (number, (self.task)(number))
        })
    }

    fn done(&mut self, ended: Ended) {
        (self.done)(ended);
    }
}

/// Runs searches in lanes. Holds their buffers, which are reused from run to run.
#[derive(Debug)]
pub struct LaneQueue {
    level: Level,
    workspace: ProgramWorkspace,
    data: LaneData,
    long: LongData,
    sums: Sums,
    searches: Searches,
    optimum: Vec<f64>,
    known: KnownInLanes,
}

impl Default for LaneQueue {
    fn default() -> Self {
        LaneQueue {
            level: Level::new(),
            workspace: ProgramWorkspace::default(),
            data: LaneData::default(),
            long: LongData::default(),
            sums: Sums::default(),
            searches: Searches::default(),
            optimum: Vec::new(),
            known: KnownInLanes::default(),
        }
    }
}

impl LaneQueue {
    /// Runs the tasks `0..n` of one kind. `task(i)` describes the i-th; `done` takes the results in the order in which
    /// the searches end.
    pub fn run<'a>(
        &mut self,
        kind: TaskKind,
        n: usize,
        task: impl FnMut(usize) -> Task<'a>,
        done: impl FnMut(Ended),
    ) {
        let mut tasks = InOrder { next: 0, n, task, done };
        if fills(kind.most_observations, n, kind.shared.tuning) {
            self.run_in_turn(kind, &mut tasks);
        } else {
            self.run_in_lanes(kind, &mut tasks);
        }
    }

    /// Runs one task with its observations spread over the lanes.
    pub fn run_alone(&mut self, kind: TaskKind, task: Task, done: impl FnMut(Ended)) {
        self.run_in_turn(kind, &mut InOrder { next: 0, n: 1, task: |_| task, done });
    }

    /// Runs tasks of one kind one after the other, the observations of each spread over the lanes.
    pub fn run_in_turn<'a>(&mut self, kind: TaskKind, tasks: &mut impl Tasks<'a>) {
        let TaskKind { model, shared, .. } = kind;
        let LaneQueue { level, long, sums, searches, optimum, known, .. } = self;
        searches.prepare(model.coordinates.len());
        let mut loaded = None;
        while let Some((number, task)) = tasks.next(0) {
            let identity = Some((std::ptr::from_ref(task.problem), task.part.weight.as_ptr()));
            if loaded != identity {
                long.load(task.problem, task.part);
                loaded = identity;
            }
            known.forget(model.coordinates.len(), shared.tuning.known_optima.max_kept);
            for lane in 0..LANES {
                begin(lane, &task, tasks.optima(number), shared, searches, known);
            }
            let ending = loop {
                long.evaluate(*level, (model, shared.loss, &searches.mix), &searches.trial, sums);
                let ending = searches.accept_or_reject(*level, sums, [true; LANES], shared)[0];
                let near_known_optimum = || {
                    searches.near_known_optimum(*level, known, &shared.tuning.known_optima)[0]
                        .map(Ending::Abandoned)
                };
                if let Some(ending) = ending.or_else(near_known_optimum) {
                    break ending;
                }
            };
            tasks.done(ended(number, ending, 0, searches, known, optimum));
        }
    }

    /// Runs tasks of one kind side by side, one per lane.
    pub fn run_in_lanes<'a>(&mut self, kind: TaskKind, tasks: &mut impl Tasks<'a>) {
        let TaskKind { model, shared, most_observations, has_sigma } = kind;
        let p = model.coordinates.len();
        let LaneQueue { level, workspace, data, sums, searches, optimum, known, .. } = self;
        data.prepare(model, most_observations, has_sigma);
        searches.prepare(p);
        known.forget(p, shared.tuning.known_optima.max_kept);
        let mut lanes: [Option<(usize, Task<'a>)>; LANES] = [None; LANES];
        let mut loaded: [Option<(*const Problem, *const f64)>; LANES] = [None; LANES];
        let mut changed = true;
        loop {
            let mut loading = [None; LANES];
            for lane in 0..LANES {
                if lanes[lane].is_some() {
                    continue;
                }
                let Some((number, task)) = tasks.next(lane) else { continue };
                // Searches of one sweep share its data, which then stays in the lane.
                let identity = (std::ptr::from_ref(task.problem), task.part.weight.as_ptr());
                if loaded[lane] != Some(identity) {
                    loading[lane] = Some((task.problem, task.part));
                    loaded[lane] = Some(identity);
                }
                begin(lane, &task, tasks.optima(number), shared, searches, known);
                lanes[lane] = Some((number, task));
                changed = true;
            }
            let active = lanes.map(|lane| lane.is_some());
            if active == [false; LANES] {
                return;
            }
            if changed {
                data.load_lanes(loading);
                data.pad_lanes(lanes.map(|lane| lane.map(|(_, task)| task.problem)));
                changed = false;
            }
            Objective { model, loss: shared.loss, order: Order::Hessian, data, mix: &searches.mix }.evaluate(
                *level,
                &searches.trial,
                workspace,
                sums,
            );
            let mut endings = searches.accept_or_reject(*level, sums, active, shared);
            for (ending, optimum) in endings.iter_mut().zip(searches.near_known_optimum(
                *level,
                known,
                &shared.tuning.known_optima,
            )) {
                *ending = ending.or(optimum.map(Ending::Abandoned));
            }
            for lane in 0..LANES {
                if let (Some((number, _)), Some(ending)) = (lanes[lane], endings[lane]) {
                    tasks.done(ended(number, ending, lane, searches, known, optimum));
                    lanes[lane] = None;
                    changed = true;
                }
            }
        }
    }

    /// Computes the first trial points of up to eight searches that begin at the expansion's point, each under its own
    /// weights.
    ///
    /// `sums` holds the expansion's sums (objective, gradient, Hessian) of each search, one after the other. The points
    /// go to `trials` (row-major, p values per search), the predicted decreases to `predicted`.
    pub fn first_steps(
        &mut self,
        settings: &SearchSettings,
        shared: SharedSettings,
        expansion: &Expansion,
        sums: &[Pack],
        trials: &mut [f64],
        predicted: &mut [f64],
    ) {
        let p = expansion.theta.len();
        self.searches.prepare(p);
        // Unused lanes repeat the first search.
        for lane in 0..LANES {
            let from = if lane < predicted.len() { lane * expansion.width() } else { 0 };
            self.searches.begin(lane, &expansion.theta, settings);
            self.searches.set_sums(lane, &sums[from..from + expansion.width()], settings.loss);
        }
        self.searches.first_step(self.level, shared);
        for (lane, (trial, predicted)) in trials.chunks_mut(p).zip(predicted).enumerate() {
            for (x, pack) in trial.iter_mut().zip(&self.searches.trial) {
                *x = pack.0[lane];
            }
            *predicted = self.searches.predicted.0[lane];
        }
    }

    /// Frees the data of the last long fit.
    pub fn free_long_data(&mut self) {
        self.long = LongData::default();
    }

    /// Returns the SIMD level of the machine.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }
}

/// Returns whether `n` searches on so many observations run one after the other.
pub fn fills(observations: usize, n: usize, tuning: &Tuning) -> bool {
    let in_turn = n <= LANES && observations >= tuning.multistart.min_filling;
    observations > LONG || (in_turn && tuning.devices.searches_in_turn)
}

/// Begins the search of a task in a lane, with the optima for which it may be abandoned.
fn begin(
    lane: usize,
    task: &Task,
    optima: Option<&KnownOptima>,
    shared: SharedSettings,
    searches: &mut Searches,
    known: &mut KnownInLanes,
) {
    searches.begin(lane, task.start, task.settings);
    if let Some(optima) = optima {
        known.set(lane, optima);
    }
    if let Some(first_step) = task.first_step {
        searches.set_sums(lane, first_step.sums, shared.loss);
        searches.set_trial(lane, first_step.trial, first_step.predicted);
    }
}

/// Returns the result of the search that has ended in a lane.
fn ended<'a>(
    task: usize,
    ending: Ending,
    lane: usize,
    searches: &Searches,
    known: &KnownInLanes,
    optimum: &'a mut Vec<f64>,
) -> Ended<'a> {
    let p = searches.theta.len();
    optimum.clear();
    let iterations = searches.iterations[lane];
    if let Ending::Abandoned(number) = ending {
        let (theta, objective) = known.get(p, lane, number);
        optimum.extend(theta);
        return Ended { task, theta: optimum, objective, iterations, ending, optimum: &[] };
    }
    optimum.extend(searches.theta.iter().chain(&searches.at.packs).map(|pack| pack.0[lane]));
    if ending == Ending::NotFinite {
        // The sums in the lane belong to an earlier search.
        optimum[p..].fill(f64::NAN);
    }
    Ended { task, theta: &optimum[..p], objective: optimum[p], iterations, ending, optimum }
}

#[cfg(test)]
mod tests {
    use crate::law::Residual;
    use crate::optimize::{self, Ending, MinimiseWorkspace, Points, Starts, minimise, settings};
    use crate::problem::{LONG, Loss};
    use crate::testing::{Uniform, catalogue_law, problem};

    use crate::optimize::Workspace;

    use super::{Part, Task, TaskKind, Tuning};

    /// On a fit with as many observations as the lanes take, and on one with more, searches end at the optimum of the
    /// reference solver.
    #[test]
    fn searches_on_long_fits_end_where_the_reference_solver_does() {
        let law = catalogue_law("power-offset");
        let mut uniform = Uniform(5);
        for n in [LONG, 10 * LONG] {
            let x: Vec<f64> = (0..n).map(|_| 10.0 * uniform.between(0.0, 7.0).exp()).collect();
            let y: Vec<f64> =
                x.iter().map(|x| (1.5 + 4.0 * x.powf(-0.4)) * (1.0 + uniform.between(-0.02, 0.02))).collect();
            for loss in [Loss::L2, Loss::Huber { delta: 1e-3 }] {
                let (models, problem) =
                    problem(&law, Residual::Log, loss, &[("y", y.clone()), ("x", x.clone())]);
                let (mut workspace, tuning) = (Workspace::default(), Tuning::default());
                let mut starts = Points::default();
                starts.clear(problem.p());
                Starts::new(&models, &problem, &tuning).draw(
                    0..32,
                    12,
                    &mut workspace.search.starts,
                    &mut starts,
                );
                let settings = settings(&problem, &tuning);
                let weight = &problem.observations.weight;
                let rows = problem.weighted();
                let part = Part::new(&rows, weight);
                let task = |i: usize| Task::new(&problem, &settings, part, starts.point(i));
                let best =
                    minimise(&problem, weight, starts.point(0), 200, &mut MinimiseWorkspace::default())
                        .unwrap();
                assert!(best.certificate.holds(), "{:?}", best.certificate);
                let mut converged = 0;
                workspace.lanes().run(TaskKind::of(&problem, &settings), starts.len(), task, |ended| {
                    // From far outside the usual region a search may drift off.
                    if ended.ending == Ending::Converged {
                        converged += 1;
                        let excess = ended.objective / best.rows.objective - 1.0;
                        assert!(excess.abs() < 1e-9, "{n} {loss}: {excess}");
                    }
                });
                assert!(converged >= 11, "{n} {loss}: {converged}");
            }
        }
    }

    /// A search that is not finite at its start has no objective, even in a lane in which an earlier search has found
    /// one.
    #[test]
    fn a_search_that_is_not_finite_has_no_objective() {
        let law = catalogue_law("power-offset");
        for n in [12, 2 * LONG] {
            let x: Vec<f64> = (1..=n).map(f64_of).collect();
            let y: Vec<f64> = x.iter().map(|x| 1.5 + 4.0 * x.powf(-0.4)).collect();
            let (models, problem) = problem(&law, Residual::Log, Loss::L2, &[("y", y), ("x", x)]);
            let (mut workspace, tuning) = (Workspace::default(), Tuning::default());
            let mut starts = Points::default();
            starts.clear(problem.p());
            Starts::new(&models, &problem, &tuning).draw(
                0..64,
                32,
                &mut workspace.search.starts,
                &mut starts,
            );
            (16..32).for_each(|i| starts.point_mut(i)[0] = f64::NAN);
            let settings = settings(&problem, &tuning);
            let (rows, weight) = problem.taking_part();
            let part = Part::new(&rows, &weight);
            let task = |i: usize| Task::new(&problem, &settings, part, starts.point(i));
            workspace.lanes().run(TaskKind::of(&problem, &settings), starts.len(), task, |ended| {
                assert_eq!(ended.task >= 16, ended.ending == Ending::NotFinite, "{n} {}", ended.task);
                assert_eq!(ended.task >= 16, ended.objective.is_nan(), "{n} {}", ended.task);
            });
        }
    }

    fn f64_of(i: usize) -> f64 {
        i as f64
    }

    /// Where most residuals are in the linear zone of the loss, steps often end across kinks of the objective. With the
    /// damping from the tangents, searches take fewer than 14 evaluations in the mean; with the damping doubled, 17.2.
    #[test]
    fn damping_by_tangents_shortens_steps_across_kinks() {
        let law = catalogue_law("power-offset");
        let mut uniform = Uniform(11);
        let n = 24;
        let x: Vec<f64> = (0..n).map(|_| 10.0 * uniform.between(0.0, 7.0).exp()).collect();
        let y: Vec<f64> =
            x.iter().map(|x| (1.5 + 4.0 * x.powf(-0.4)) * (1.0 + uniform.between(-0.02, 0.02))).collect();
        let loss = Loss::Huber { delta: 1e-3 };
        let (models, problem) = problem(&law, Residual::Log, loss, &[("y", y), ("x", x)]);
        let fit = optimize::fit(
            &models,
            problem.clone(),
            &optimize::FitOptions::default(),
            &mut Workspace::default(),
        );
        let start = fit.solution.unwrap().theta;
        let rows = problem.weighted();
        let count = 400;
        let weights: Vec<Vec<f64>> =
            (0..count).map(|_| (0..n).map(|_| uniform.between(0.0, 2.5).floor()).collect()).collect();
        let tuning = Tuning::default();
        let settings = settings(&problem, &tuning);
        let task = |k: usize| {
            let part = Part::new(&rows, &weights[k]);
            Task::new(&problem, &settings, part, &start)
        };
        let mut evaluations = 0;
        Workspace::default().lanes().run(TaskKind::of(&problem, &settings), count, task, |ended| {
            assert_eq!(ended.ending, Ending::Converged);
            evaluations += ended.iterations;
            let reference =
                minimise(&problem, &weights[ended.task], ended.theta, 100, &mut MinimiseWorkspace::default())
                    .unwrap();
            assert!(ended.objective < reference.rows.objective * (1.0 + 1e-9), "{}", ended.task);
        });
        let mean = f64::from(evaluations) / count as f64;
        assert!(mean < 14.0, "{mean} evaluations");
    }
}
