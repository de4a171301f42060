//! Multi-start: the searches of one fit, how many are made, and which of their results is kept.
//!
//! Every fit starts searches from drawn points until a stopping rule says that a better optimum is unlikely (see
//! [`rounds`]). The best result is finished by the reference solver and, where two variables are nearly collinear,
//! compared with the optimum at which the terms have exchanged their roles.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the searches of one fit, the stopping rule, finishing the best |
//! | `lane_scheduler` | searches of several fits that share the SIMD lanes |
//! | `outcome` | the result of one search |
//!
//! The folder knows nothing of the edges of the domain, of limits at infinity, or of the status of a fit.

pub mod lane_scheduler;
mod outcome;

use std::collections::BTreeSet;

use crate::law::Law;
use crate::problem::{Part, Problem};

use self::lane_scheduler::SearchGroup;
use self::outcome::SearchOutcome;
use super::diagnosis::collinearity::Collinear;
use super::levenberg_marquardt::Ending;
use super::levenberg_marquardt::known_optima::KnownOptima;
use super::levenberg_marquardt::lane_queue::LaneQueue;
use super::newton::{Finished, MinimiseWorkspace, Region, minimise, minimise_within};
use super::points::Points;
use super::starts::StartWorkspace;
use super::starts::Starts;
use super::tuning::{MultistartTuning, Tuning};
use super::{FitOptions, SearchSettings, Solver, agreement_limit, settings};

/// The buffers of searches.
#[derive(Debug, Default)]
pub struct SearchWorkspace {
    /// The lanes that searches run in.
    pub lanes: LaneQueue,
    /// The buffers that starts are generated with.
    pub starts: StartWorkspace,
}

/// How a search treats the coordinates in which the problem is linear.
#[derive(Clone, Copy, PartialEq)]
enum Amplitudes {
    /// Like all others.
    Free,
    /// Solved at every trial point; those of drawn starts are solved already.
    Drawn,
    /// Solved at every trial point and at the start.
    Solved,
}

/// The number of iterations after which a search of the reference solver gives up.
const REFERENCE_ITERATIONS: u32 = 400;

/// The arguments of searches in which collinear terms exchange their roles.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    pub law: &'a Law,
    pub problem: &'a Problem,
    pub collinear: &'a Collinear,
    pub starts: &'a Starts<'a>,
    pub options: &'a FitOptions,
}

/// The searches of one fit. Holds buffers that are reused from fit to fit.
#[derive(Debug, Default)]
pub struct Multistart {
    /// The starting points, in solver coordinates.
    pub starts: Points,
    /// The region from which each start was drawn (see [`Starts::drawn_regions`]); none for starts that were not drawn.
    regions: Vec<Option<usize>>,
    /// The point where the search from each start ended.
    pub ends: Points,
    /// The results of the searches that ended with a finite objective, by ascending objective.
    pub outcomes: Vec<SearchOutcome>,
    /// The best result, finished by the reference solver, and its iterations in total.
    pub best: Option<(Finished, u32)>,
    /// The optima that searches have found.
    optima: KnownOptima,
    /// The evaluations of the objective in searches by Levenberg–Marquardt.
    evaluations: u64,
    /// The buffers of the reference solver.
    reference: MinimiseWorkspace,
}

impl Multistart {
    /// Clears the results of the last fit.
    pub fn begin(&mut self, problem: &Problem) {
        self.starts.clear(problem.p());
        self.regions.clear();
        self.ends.clear(problem.p());
        self.outcomes.clear();
        self.best = None;
        (self.evaluations, self.reference.evaluations) = (0, 0);
        self.optima.forget(problem.p());
    }

    /// Searches from the starts that have not been searched from.
    pub fn search(&mut self, problem: &Problem, options: &FitOptions, workspace: &mut SearchWorkspace) {
        search_all([(problem, self)], options, Amplitudes::Drawn, workspace);
    }

    /// Returns how often the objective was evaluated in the searches and in finishing them.
    pub fn evaluations(&self) -> u64 {
        self.evaluations + self.reference.evaluations
    }

    /// Drops results without a finite objective and sorts the others.
    fn rank(&mut self) {
        self.outcomes.retain(|o| o.objective.is_finite());
        // The search that found an optimum comes before those that were abandoned for it.
        self.outcomes.sort_unstable_by(|a, b| {
            let by_objective = a.objective.total_cmp(&b.objective);
            by_objective.then(a.abandoned().cmp(&b.abandoned())).then(a.start.cmp(&b.start))
        });
    }

    /// Searches with the reference solver from the starts that have not been searched from.
    fn search_by_reference(&mut self, problem: &Problem) {
        let Multistart { starts, ends, outcomes, reference, .. } = self;
        let first = ends.len();
        ends.resize(starts.len());
        for start in first..starts.len() {
            let own = &problem.observations.weight;
            let Some(found) = minimise(problem, own, starts.point(start), REFERENCE_ITERATIONS, reference)
            else {
                continue;
            };
            let ending = match found.certificate.holds() {
                true => Ending::Converged,
                false if found.iterations == REFERENCE_ITERATIONS => Ending::Limit,
                false => Ending::Stalled,
            };
            let Finished { theta, rows, iterations, .. } = found;
            ends.point_mut(start).copy_from_slice(&theta);
            outcomes.push(SearchOutcome { start, objective: rows.objective, iterations, ending });
        }
    }

    /// Returns the settings of the searches from the starts that have not been searched from.
    fn settings<'a>(
        &self,
        problem: &'a Problem,
        amplitudes: Amplitudes,
        tuning: &'a Tuning,
    ) -> SearchSettings<'a> {
        let mut settings = settings(problem, tuning);
        settings.project_start = amplitudes == Amplitudes::Solved;
        if amplitudes == Amplitudes::Free {
            settings.linear = &[];
        }
        // A search that no other makes up for must not be led astray.
        settings.accelerated = self.starts.len() - self.ends.len() != 1;
        settings
    }

    /// Searches from the user's start alone: first with all coordinates free; where that ends in no certified minimum,
    /// with the amplitudes solved.
    ///
    /// A search that runs out of evaluations while its objective still falls is continued from where it is, now with
    /// the amplitudes solved at every step: such a search mostly follows a path on which an amplitude changes by orders
    /// of magnitude (NIST's MGH10).
    pub fn search_alone(&mut self, problem: &Problem, options: &FitOptions, workspace: &mut SearchWorkspace) {
        let start = self.starts.clone();
        for amplitudes in [Amplitudes::Free, Amplitudes::Solved] {
            self.search_again(problem, options, amplitudes, workspace);
            for _ in 1..options.tuning.limits.continuations {
                let Some(before) = self.outcomes.first().copied().filter(|o| o.ending == Ending::Limit)
                else {
                    break;
                };
                self.starts.clone_from(&self.ends);
                self.search_again(problem, options, Amplitudes::Drawn, workspace);
                self.outcomes.iter_mut().for_each(|o| o.iterations += before.iterations);
            }
            self.starts.clone_from(&start);
            self.outcomes.retain(|o| o.objective.is_finite());
            if self.finish(problem, &options.tuning.multistart) {
                return;
            }
        }
    }

    /// Repeats the searches from all starts.
    fn search_again(
        &mut self,
        problem: &Problem,
        options: &FitOptions,
        amplitudes: Amplitudes,
        workspace: &mut SearchWorkspace,
    ) {
        self.ends.clear(problem.p());
        self.outcomes.clear();
        search_all([(problem, self)], options, amplitudes, workspace);
    }

    /// Finishes the best result with the reference solver, and keeps it in `best`. Where the finished point is not
    /// certified, also finishes unfinished searches that ended elsewhere, because a search that was cut short may lead
    /// below the best. Returns whether a point was certified.
    pub fn finish(&mut self, problem: &Problem, tuning: &MultistartTuning) -> bool {
        let weight = &problem.observations.weight;
        let region = Region::of(problem).beyond_range();
        let mut last = f64::NEG_INFINITY;
        let mut tried = 0;
        for k in 0..self.outcomes.len() {
            let outcome = self.outcomes[k];
            if tried > 0
                && (!outcome.is_unfinished() || outcome.objective <= last * (1.0 + tuning.same_divergence))
            {
                continue;
            }
            last = outcome.objective;
            tried += 1;
            let end = self.ends.point(outcome.start);
            if let Some(found) = minimise_within(problem, region, weight, end, 100, &mut self.reference) {
                let iterations = outcome.iterations + found.iterations;
                let certified = found.certificate.holds();
                if self.best.as_ref().is_none_or(|(b, _)| found.rows.objective < b.rows.objective) {
                    self.best = Some((found, iterations));
                }
                if certified {
                    return true;
                }
            }
            if tried == tuning.max_finished {
                break;
            }
        }
        false
    }

    /// Where two variables are nearly powers of one another, also searches from the best point with the roles of their
    /// terms exchanged, so that the choice between the two optima does not depend on the starts drawn. Returns whether
    /// one of them is better.
    pub fn exchange(&mut self, exchange: &Exchange, workspace: &mut SearchWorkspace) -> bool {
        let Some((best, _)) = &self.best else { return false };
        let before = best.rows.objective;
        let theta = best.theta.clone();
        if !self.search_exchanged(exchange, &theta, workspace) {
            return false;
        }
        self.finish(exchange.problem, &exchange.options.tuning.multistart);
        let lower = |(best, _): &(Finished, u32)| {
            before > agreement_limit(best.rows.objective, exchange.problem.floor)
        };
        self.best.as_ref().is_some_and(lower)
    }

    /// Searches from a point with the roles of its terms exchanged. Returns false where no terms can exchange their
    /// roles.
    pub fn search_exchanged(
        &mut self,
        exchange: &Exchange,
        theta: &[f64],
        workspace: &mut SearchWorkspace,
    ) -> bool {
        let Exchange { law, problem, collinear, starts, options } = *exchange;
        let first = self.starts.len();
        for given in collinear.exchanges(law, problem, theta) {
            starts.complete(&given, &mut workspace.starts, &mut self.starts);
        }
        if self.starts.len() == first {
            return false;
        }
        // Between the two optima the objective is nearly flat and a search may stop early, so the finished points are
        // compared.
        let winner = self.outcomes.first().map(|o| o.start);
        self.search(problem, options, workspace);
        for outcome in self.outcomes.iter_mut().filter(|o| o.start >= first || Some(o.start) == winner) {
            let end = self.ends.point_mut(outcome.start);
            if let Some(found) =
                minimise(problem, &problem.observations.weight, end, 100, &mut self.reference)
            {
                outcome.objective = found.rows.objective;
                outcome.ending = if found.certificate.holds() { Ending::Converged } else { Ending::Limit };
                end.copy_from_slice(&found.theta);
            }
        }
        self.outcomes.sort_by(|a, b| a.objective.total_cmp(&b.objective));
        true
    }

    /// Returns whether the stopping rule of [`rounds`] holds.
    fn is_sufficient(&self, problem: &Problem, has_steps: bool, tuning: &Tuning) -> bool {
        let MultistartTuning { times_found, expected_unseen, same_divergence, .. } = tuning.multistart;
        let Some(best) = self.outcomes.first() else { return false };
        // A search that ended at the same objective as others counts even if it did not converge: it may have stalled
        // within rounding of the optimum.
        let limit = agreement_limit(best.objective, problem.floor);
        let same = |o: &&SearchOutcome| {
            // Searches that diverge along the same path end at different points of it.
            o.objective <= limit
                || (best.is_unfinished()
                    && o.is_unfinished()
                    && o.objective <= best.objective * (1.0 + same_divergence))
        };
        let found = self.outcomes.iter().filter(same).count();
        if found < times_found {
            return false;
        }
        // Laws with crossings have an optimum per position of a step, so agreement between regions says nothing about
        // them.
        if !has_steps && tuning.devices.agreeing_regions && self.regions_agree(found, times_found) {
            return true;
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
        enough(n, optima, expected_unseen)
    }

    /// Returns whether the first `found` results come from at least `least` regions, and from half of all regions.
    fn regions_agree(&self, found: usize, least: usize) -> bool {
        let kinds = |outcomes: &[SearchOutcome]| {
            let of = |o: &SearchOutcome| self.regions.get(o.start).copied().flatten();
            outcomes.iter().filter_map(of).collect::<BTreeSet<usize>>().len()
        };
        let agreeing = kinds(&self.outcomes[..found]);
        agreeing >= least && 2 * agreeing >= kinds(&self.outcomes)
    }

    /// Returns the number of searches that ended at `objective`, to within [`agreement_limit`].
    pub fn agreeing(&self, objective: f64, floor: f64) -> usize {
        let limit = agreement_limit(objective, floor);
        self.outcomes.iter().filter(|o| o.objective <= limit).count()
    }

    /// Returns the lowest objective of another optimum.
    pub fn runner_up(&self, objective: f64, floor: f64) -> Option<f64> {
        let limit = agreement_limit(objective, floor);
        self.outcomes.iter().filter(|o| o.converged()).map(|o| o.objective).find(|&o| o > limit)
    }
}

/// A fit that may need more searches.
pub struct PendingFit<'a> {
    problem: &'a Problem,
    starts: Starts<'a>,
    multistart: &'a mut Multistart,
    /// The number of points of the sequence that have been generated.
    drawn: usize,
    /// Whether the sequence has no more points to offer.
    exhausted: bool,
}

impl<'a> PendingFit<'a> {
    /// Returns a fit without searches.
    pub fn new(problem: &'a Problem, starts: Starts<'a>, multistart: &'a mut Multistart) -> PendingFit<'a> {
        PendingFit { problem, starts, multistart, drawn: 0, exhausted: false }
    }

    /// Adds the starts of the next round. Returns false where there are none left.
    fn draw(&mut self, options: &FitOptions, workspace: &mut SearchWorkspace) -> bool {
        let n_drawn = self.starts.n_drawn();
        let Tuning { multistart: tuning, starts, crossings, devices, .. } = &options.tuning;
        let has_corners = self.problem.model.has_corners;
        let more = if has_corners {
            tuning.corner_factor
        } else if self.starts.have_crossings() {
            tuning.crossing_factor
        } else {
            1
        };
        let most = options.starts.unwrap_or_else(|| more * tuning.max_searches(n_drawn)).max(1);
        let done = self.multistart.starts.len();
        if done >= most {
            return false;
        }
        let round =
            if options.starts.is_some() { most } else { (more * tuning.first_round(n_drawn)).max(done) };
        let wanted = round.min(most - done);
        let least = if self.starts.have_crossings() { crossings.min_screened } else { starts.min_screened };
        let screened =
            if devices.screening { least.max(starts.screened_per_search * wanted) } else { wanted };
        let points = self.drawn..self.drawn + screened;
        self.drawn = points.end;
        self.starts.draw(points, wanted, &mut workspace.starts, &mut self.multistart.starts);
        self.multistart.regions.resize(done, None);
        self.multistart.regions.extend(Starts::drawn_regions(&workspace.starts).map(Some));
        self.exhausted = self.multistart.starts.len() - done < wanted;
        true
    }

    /// Adds the starts of the next searches. Returns false where no more searches are needed.
    fn next(&mut self, options: &FitOptions, workspace: &mut SearchWorkspace) -> bool {
        !self.is_sufficient(options) && self.draw(options, workspace)
    }

    /// Returns whether no further round is needed.
    fn is_sufficient(&self, options: &FitOptions) -> bool {
        self.exhausted
            || (options.starts.is_none()
                && self.multistart.is_sufficient(self.problem, self.starts.have_crossings(), &options.tuning))
    }
}

/// Makes searches in rounds until the best optimum of each fit of one law is probably the global one.
///
/// After each round a fit has enough searches when its best optimum was found `times_found` times and one of two
/// conditions holds:
///
/// * with `n` searches that ended in `w` different optima, the posterior expectation of the number of optima,
///   `w(n−1)/(n−w−2)`, exceeds `w` by no more than `expected_unseen` (Boender & Rinnooy Kan 1987);
/// * searches from several regions of the start distribution found it, at least half of all regions (only where the law
///   has no crossings).
///
/// Searches that diverged or ran out of evaluations are not counted. The size of the first round and the largest number
/// of searches ([`MultistartTuning`]) grow with the number of coordinates that are drawn. Where the
/// user gives a number of starts, that number is made and no rule applies.
pub fn rounds(mut pending: Vec<PendingFit>, options: &FitOptions, workspace: &mut SearchWorkspace) {
    loop {
        pending.retain_mut(|fit| fit.next(options, workspace));
        if pending.is_empty() {
            return;
        }
        search_all(
            pending.iter_mut().map(|m| (m.problem, &mut *m.multistart)),
            options,
            Amplitudes::Drawn,
            workspace,
        );
    }
}

/// Searches from the starts of several fits of one law that have not been searched from.
fn search_all<'a>(
    fits: impl IntoIterator<Item = (&'a Problem, &'a mut Multistart)>,
    options: &FitOptions,
    amplitudes: Amplitudes,
    workspace: &mut SearchWorkspace,
) {
    let mut fits: Vec<_> = fits.into_iter().collect();
    if options.solver == Solver::Reference {
        fits.iter_mut().for_each(|(problem, multistart)| multistart.search_by_reference(problem));
    } else {
        let of = |(problem, multistart): &(&'a Problem, &mut Multistart)| {
            multistart.settings(problem, amplitudes, &options.tuning)
        };
        let settings: Vec<SearchSettings> = fits.iter().map(of).collect();
        let parts: Vec<(Vec<u32>, Vec<f64>)> =
            fits.iter().map(|(problem, _)| problem.taking_part()).collect();
        let groups = fits.iter_mut().zip(&settings).zip(&parts);
        let groups = groups.map(|(((problem, multistart), settings), (rows, weight))| {
            let Multistart { starts, ends, outcomes, optima, evaluations, .. } = &mut **multistart;
            let part = Part::new(rows, weight);
            SearchGroup { problem, settings, part, starts, ends, outcomes, optima, evaluations }
        });
        lane_scheduler::search(groups, &mut workspace.lanes);
    }
    fits.iter_mut().for_each(|(_, multistart)| multistart.rank());
}

/// Returns whether, after `n` searches that ended in `w` different optima, no more than `unseen` others are expected.
fn enough(n: usize, w: usize, unseen: f64) -> bool {
    if n <= w + 2 {
        return false;
    }
    let (n, w) = (n as f64, w as f64);
    w * (n - 1.0) / (n - w - 2.0) <= w + unseen
}

#[cfg(test)]
mod tests {
    use super::enough;

    /// Returns the posterior expectation of the number of optima, summed term by term: every number of optima and every
    /// way to divide the starts among them is equally likely a priori, so that `k` optima leave `w` of them in `n`
    /// searches with a likelihood ∝ k!(k−1)!/((k−w)!(k+n−1)!).
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
                    assert_eq!(enough(n, w, 0.5), unseen < 0.5, "{n} searches, {w} optima: {unseen}");
                }
            }
        }
    }
}
