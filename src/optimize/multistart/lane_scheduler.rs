//! Searches of several fits that share the SIMD lanes.
//!
//! Eight searches of one small fit leave lanes empty as they end, and none of them can be abandoned before one has
//! converged. So the fits of several sweeps are searched together: one search of each fit runs first, its optimum is
//! then known to the others, and the lanes that would wait for it search for another fit. A lane stays with one fit as
//! long as that fit has tasks, so that its data stays in the lane.
//!
//! The searches of a fit begin in stages and know the optima of earlier stages only. So the results of a fit depend
//! neither on the fits that it shares lanes with nor on which of its searches are faster.

use crate::lanes::LANES;
use crate::problem::{Part, Problem};

use super::outcome::SearchOutcome;
use crate::optimize::levenberg_marquardt::known_optima::KnownOptima;
use crate::optimize::levenberg_marquardt::lane_queue::{Ended, LaneQueue, Task, TaskKind, Tasks, fills};
use crate::optimize::levenberg_marquardt::{Ending, SearchSettings};
use crate::optimize::points::Points;
use crate::optimize::tuning::Tuning;

/// The searches of one fit that are to be made: from the starts for which `ends` has no point yet.
#[derive(Debug)]
pub struct SearchGroup<'a> {
    pub problem: &'a Problem,
    pub settings: &'a SearchSettings<'a>,
    pub part: Part<'a>,
    pub starts: &'a Points,
    pub ends: &'a mut Points,
    pub outcomes: &'a mut Vec<SearchOutcome>,
    pub optima: &'a mut KnownOptima,
    /// Counts the evaluations of the objective.
    pub evaluations: &'a mut u64,
}

/// A group whose searches have begun.
#[derive(Debug)]
struct ActiveGroup<'a> {
    group: SearchGroup<'a>,
    /// The first start of the group.
    first: usize,
    /// The next start to be searched from.
    next: usize,
    /// The start at which the current stage ends.
    stage: usize,
    /// The number of searches that run.
    running: usize,
    /// Whether its searches run one after the other, each over all lanes.
    in_turn: bool,
}

impl<'a> ActiveGroup<'a> {
    fn new(group: SearchGroup<'a>) -> ActiveGroup<'a> {
        let first = group.ends.len();
        group.ends.resize(group.starts.len());
        let mut active = ActiveGroup { group, first, next: first, stage: first, running: 0, in_turn: false };
        active.in_turn =
            active.is_lone() || fills(active.group.problem.n(), active.searches(), active.tuning());
        active.begin_stage();
        active
    }

    fn begin_stage(&mut self) {
        let done = self.next - self.first;
        let n = self.group.starts.len();
        let searches = match done {
            _ if !self.tuning().devices.known_optima => n,
            _ if self.in_turn => 1,
            0 if self.group.optima.none_known() => 1,
            1 => LANES - 1,
            _ => n,
        };
        self.stage = n.min(self.next + searches);
    }

    /// Returns the number of searches that may begin.
    fn ready(&self) -> usize {
        self.stage - self.next
    }

    fn tuning(&self) -> &'a Tuning {
        self.group.settings.tuning
    }

    fn searches(&self) -> usize {
        self.group.starts.len() - self.first
    }

    /// Returns whether the group is a single search, which is never abandoned.
    fn is_lone(&self) -> bool {
        self.searches() == 1
    }

    fn take(&mut self) -> Task<'a> {
        self.next += 1;
        self.running += 1;
        let SearchGroup { problem, settings, part, starts, .. } = self.group;
        Task::new(problem, settings, part, starts.point(self.next - 1))
    }

    fn end(&mut self, start: usize, ended: &Ended) {
        let Ended { theta, objective, iterations, ending, optimum, .. } = *ended;
        let lone = self.is_lone();
        let SearchGroup { ends, outcomes, optima, evaluations, .. } = &mut self.group;
        **evaluations += u64::from(iterations);
        ends.point_mut(start).copy_from_slice(theta);
        outcomes.push(SearchOutcome { start, objective, iterations, ending });
        if matches!(ending, Ending::Converged | Ending::Drifting) && !lone {
            optima.note(start, optimum);
        }
        self.running -= 1;
        if self.running == 0 && self.ready() == 0 {
            let max_kept = self.tuning().known_optima.max_kept;
            self.group.optima.publish(self.group.problem.floor, max_kept);
            self.begin_stage();
        }
    }
}

/// Groups that share lanes. A task's number holds the start in its lower half and the group in its upper half.
struct GroupTasks<'a> {
    groups: Vec<ActiveGroup<'a>>,
    /// The group of the last task of each lane.
    lanes: [usize; LANES],
}

/// The number of bits by which a task's number is shifted to give its group.
const GROUP_SHIFT: u32 = usize::BITS / 2;

impl<'a> Tasks<'a> for GroupTasks<'a> {
    fn next(&mut self, lane: usize) -> Option<(usize, Task<'a>)> {
        if self.groups[self.lanes[lane]].ready() == 0 {
            let ready = |&group: &usize| self.groups[group].ready();
            self.lanes[lane] = (0..self.groups.len()).rev().max_by_key(ready)?;
        }
        let number = self.lanes[lane];
        let group = &mut self.groups[number];
        (group.ready() > 0).then(|| ((number << GROUP_SHIFT) + group.next, group.take()))
    }

    fn optima(&self, task: usize) -> Option<&KnownOptima> {
        let group = &self.groups[task >> GROUP_SHIFT];
        (!group.is_lone() && group.tuning().devices.known_optima).then_some(&*group.group.optima)
    }

    fn done(&mut self, ended: Ended) {
        self.groups[ended.task >> GROUP_SHIFT].end(ended.task & ((1 << GROUP_SHIFT) - 1), &ended);
    }
}

/// Makes the searches of fits of one model under one loss; fits that fill the lanes by themselves run one after the
/// other.
pub fn search<'a>(groups: impl IntoIterator<Item = SearchGroup<'a>>, queue: &mut LaneQueue) {
    let mut sharing = Vec::new();
    for group in groups.into_iter().map(ActiveGroup::new) {
        if group.in_turn {
            let kind = TaskKind::of(group.group.problem, group.group.settings);
            queue.run_in_turn(kind, &mut GroupTasks { groups: vec![group], lanes: [0; LANES] });
        } else {
            sharing.push(group);
        }
    }
    let together = sharing.first().is_some_and(|group| group.tuning().devices.shared_lanes);
    if together {
        search_together(sharing, queue);
    } else {
        sharing.into_iter().for_each(|group| search_together(vec![group], queue));
    }
}

/// Makes the searches of fits that share the lanes.
fn search_together(sharing: Vec<ActiveGroup>, queue: &mut LaneQueue) {
    let Some(first) = sharing.first() else { return };
    let most_observations = sharing.iter().map(|c| c.group.problem.n()).max().unwrap_or(0);
    let kind = TaskKind { most_observations, ..TaskKind::of(first.group.problem, first.group.settings) };
    let lanes = std::array::from_fn(|lane| lane % sharing.len());
    queue.run_in_lanes(kind, &mut GroupTasks { groups: sharing, lanes });
}

#[cfg(test)]
mod tests {
    use crate::law::Residual;
    use crate::optimize::{Fit, FitOptions, Workspace, fit, fit_many};
    use crate::problem::{Loss, Problem};
    use crate::testing::{Uniform, problem, typed_law};

    /// Returns all numbers of a fit, bit by bit.
    fn bits(fit: &Fit) -> (Vec<u64>, u64, usize, usize, Option<u64>, u32) {
        let natural = fit.natural.iter().map(|x| x.to_bits()).collect();
        let Fit { n_starts, n_agreeing, runner_up, iterations, .. } = fit;
        (natural, fit.objective().to_bits(), *n_starts, *n_agreeing, runner_up.map(f64::to_bits), *iterations)
    }

    /// Sweeps of a law with many optima, from fewer observations than lanes to more than fill them, have bit-identical
    /// results whether they are fitted alone or with others.
    #[test]
    fn a_fit_does_not_depend_on_those_it_shares_the_lanes_with() {
        let law = typed_law("y ~ a*sin(b*x) + c where b in [0.2, 6]", &["x", "y"]);
        for loss in [Loss::L2, Loss::Huber { delta: 0.05 }] {
            let mut uniform = Uniform(17);
            let mut sweeps = Vec::new();
            for n in [7, 40, 12, 300, 60, 25, 150, 33, 9, 80, 1100, 18, 50] {
                let frequency = uniform.between(0.5, 5.0);
                let x: Vec<f64> = (0..n).map(|i| 8.0 * f64::from(i) / f64::from(n)).collect();
                let y: Vec<f64> =
                    x.iter().map(|x| (frequency * x).sin() + uniform.between(-0.3, 0.3)).collect();
                sweeps.push(problem(&law, Residual::Linear, loss, &[("y", y), ("x", x)]));
            }
            let models = &sweeps[0].0;
            let problems: Vec<Problem> = sweeps.iter().map(|(_, problem)| problem.clone()).collect();
            for starts in [None, Some(40)] {
                let options = FitOptions { starts, ..FitOptions::default() };
                let mut workspace = Workspace::default();
                let alone: Vec<Fit> =
                    problems.iter().map(|p| fit(models, p.clone(), &options, &mut workspace)).collect();
                for step in [1, 3, 5] {
                    // Another order, in groups of other sizes.
                    let order: Vec<usize> = (0..problems.len()).map(|i| i * step % problems.len()).collect();
                    for group in order.chunks(2 + step) {
                        let problems = group.iter().map(|&i| problems[i].clone()).collect();
                        let fits = fit_many(models, problems, &options, &mut workspace);
                        for (fit, &i) in fits.iter().zip(group) {
                            assert_eq!(bits(fit), bits(&alone[i]), "{loss} {starts:?} {step} {i}");
                        }
                    }
                }
            }
        }
    }
}
