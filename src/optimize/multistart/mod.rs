//! The searches of one fit: from where, how many, and where they ended.

pub mod lane_scheduler;
mod outcome;

use std::collections::BTreeSet;

use crate::lanes::LANES;
use crate::law::Law;
use crate::problem::{Part, Problem, Vectors};

use self::lane_scheduler::SearchGroup;
use self::outcome::Outcome;
use super::diagnosis::collinearity::Collinear;
use super::levenberg_marquardt::Ending;
use super::levenberg_marquardt::known_optima::KnownOptima;
use super::levenberg_marquardt::lane_queue::LaneQueue;
use super::newton::{Finished, Region, minimise, minimise_within};
use super::points::Points;
use super::starts::StartWorkspace;
use super::starts::{Starts, most_starts};
use super::{FitOptions, SearchSettings, Solver, agreement_limit, settings};

/// The buffers of searches: their starts, and the lanes that they run in.
#[derive(Debug, Default)]
pub struct SearchWorkspace {
    pub lanes: LaneQueue,
    pub drafts: StartWorkspace,
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

/// Searches of the first round, by how many coordinates are drawn; each later one doubles the number of searches so
/// far.
fn first_round(n_drawn: usize) -> usize {
    match n_drawn {
        0..=3 => LANES,
        4 => 2 * LANES,
        _ => 4 * LANES,
    }
}

/// The same for laws with corners, whose pieces make many optima, over this.
const FOR_CORNERS: usize = 8;
const FOR_CROSSINGS: usize = 2;

/// Points of the design that are screened by their objective: per search, and at least in a round.
const SCREENED_PER_START: usize = 2;
const LEAST_SCREENED: usize = 4 * LANES;

/// The same for laws in which terms of unlike powers cross: where they do, and how steeply, makes many optima.
const LEAST_FOR_CROSSINGS: usize = 32 * LANES;

/// Iterations after which a search of the reference solver gives up.
const REFERENCE_ITERATIONS: u32 = 400;

/// Times that a lone search may go on where it ran out of iterations, the first included.
const MOST_LEGS: usize = 10;

/// Searches without an end whose objectives differ by no more than this share run off along the same valley.
const SAME_VALLEY: f64 = 1e-2;

/// Searches that are finished at most.
const MOST_FINISHED: usize = 3;

/// Times that the best optimum must have been found.
const TIMES_FOUND: usize = 3;

/// What searches need where terms may exchange their roles.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    pub law: &'a Law,
    pub problem: &'a Problem,
    pub collinear: &'a Collinear,
    pub starts: &'a Starts<'a>,
    pub solver: Solver,
}

/// The searches of one fit; holds its buffers from fit to fit.
#[derive(Debug, Default)]
pub struct Searched {
    pub starts: Points,
    /// Of each start that was drawn, the kind of curve that it stands for; none of the others.
    regions: Vec<Option<usize>>,
    /// Where each start's search ended.
    pub ends: Points,
    /// Of the searches that ended in a finite objective, by objective.
    pub outcomes: Vec<Outcome>,
    /// The best, finished, and its iterations.
    pub best: Option<(Finished, u32)>,
    /// The optima that searches have found.
    optima: KnownOptima,
    /// The observations that take part, and their weights.
    rows: Vec<u32>,
    weight: Vec<f64>,
    /// Of its starts.
    pub vectors: Vectors,
}

impl Searched {
    /// Forgets the last fit's.
    pub fn begin(&mut self, problem: &Problem) {
        self.starts.clear(problem.p());
        self.regions.clear();
        self.ends.clear(problem.p());
        self.outcomes.clear();
        self.best = None;
        self.optima.forget(problem.p());
        problem.taking_part_into(&mut self.rows, &mut self.weight);
    }

    /// From the starts that have not been searched from.
    pub fn search(&mut self, problem: &Problem, solver: Solver, workspace: &mut SearchWorkspace) {
        search_all([(problem, self)], solver, Amplitudes::Drawn, workspace);
    }

    /// Drops outcomes that are none, and sorts the others.
    fn rank(&mut self) {
        self.outcomes.retain(|o| o.objective.is_finite());
        // The search that found an optimum comes before those that were abandoned on their way to it.
        self.outcomes.sort_unstable_by(|a, b| {
            let by_objective = a.objective.total_cmp(&b.objective);
            by_objective.then(a.abandoned().cmp(&b.abandoned())).then(a.start.cmp(&b.start))
        });
    }

    /// The reference solver's searches.
    fn search_by_reference(&mut self, problem: &Problem) {
        let Searched { starts, ends, outcomes, .. } = self;
        let first = ends.len();
        ends.resize(starts.len());
        for start in first..starts.len() {
            let own = &problem.observations.weight;
            let Some(found) = minimise(problem, own, starts.point(start), REFERENCE_ITERATIONS) else {
                continue;
            };
            let ending = match found.certificate.holds() {
                true => Ending::Converged,
                false if found.iterations == REFERENCE_ITERATIONS => Ending::Limit,
                false => Ending::Stalled,
            };
            let Finished { theta, rows, iterations, .. } = found;
            ends.point_mut(start).copy_from_slice(&theta);
            outcomes.push(Outcome { start, objective: rows.objective, iterations, ending });
        }
    }

    /// How the searches from the starts that have not been searched from see the problem.
    fn settings<'a>(&self, problem: &'a Problem, amplitudes: Amplitudes) -> SearchSettings<'a> {
        let mut settings = settings(problem);
        settings.project_start = amplitudes == Amplitudes::Solved;
        if amplitudes == Amplitudes::Free {
            settings.linear = &[];
        }
        // Where no other search makes up for one that goes astray, it goes the safer way.
        settings.daring = self.starts.len() - self.ends.len() != 1;
        settings
    }

    /// From the user's own start alone: first as it stands; where that ends in no certified minimum, with its
    /// amplitudes solved.
    ///
    /// A search that ran out of iterations while it still descended has not been refused anything: it goes on from
    /// where it is, now with the amplitudes solved along the way, because a valley that is too long for it is
    /// mostly one in which an amplitude changes by orders of magnitude (NIST's MGH10).
    pub fn alone(&mut self, problem: &Problem, solver: Solver, workspace: &mut SearchWorkspace) {
        let start = self.starts.clone();
        for amplitudes in [Amplitudes::Free, Amplitudes::Solved] {
            self.again(problem, solver, amplitudes, workspace);
            for _ in 1..MOST_LEGS {
                let Some(before) = self.outcomes.first().copied().filter(|o| o.ending == Ending::Limit)
                else {
                    break;
                };
                self.starts.clone_from(&self.ends);
                self.again(problem, solver, Amplitudes::Drawn, workspace);
                self.outcomes.iter_mut().for_each(|o| o.iterations += before.iterations);
            }
            self.starts.clone_from(&start);
            self.outcomes.retain(|o| o.objective.is_finite());
            if self.finish(problem) {
                return;
            }
        }
    }

    /// Searches from all starts as if none had been searched from.
    fn again(
        &mut self,
        problem: &Problem,
        solver: Solver,
        amplitudes: Amplitudes,
        workspace: &mut SearchWorkspace,
    ) {
        self.ends.clear(problem.p());
        self.outcomes.clear();
        search_all([(problem, self)], solver, amplitudes, workspace);
    }

    /// Finishes the best outcome. Where that ends in no certified point, finishes others that came to no end elsewhere: a
    /// search that was cut short may lie above the best. Keeps the best; true where one is certified.
    pub fn finish(&mut self, problem: &Problem) -> bool {
        let weight = &problem.observations.weight;
        let region = Region::of(problem).beyond_range();
        let mut last = f64::NEG_INFINITY;
        let mut tried = 0;
        for k in 0..self.outcomes.len() {
            let outcome = self.outcomes[k];
            if tried > 0 && (!outcome.runs_off() || outcome.objective <= last * (1.0 + SAME_VALLEY)) {
                continue;
            }
            last = outcome.objective;
            tried += 1;
            if let Some(found) = minimise_within(problem, region, weight, self.ends.point(outcome.start), 100)
            {
                let iterations = outcome.iterations + found.iterations;
                let certified = found.certificate.holds();
                if self.best.as_ref().is_none_or(|(b, _)| found.rows.objective < b.rows.objective) {
                    self.best = Some((found, iterations));
                }
                if certified {
                    return true;
                }
            }
            if tried == MOST_FINISHED {
                break;
            }
        }
        false
    }

    /// Where two variables are nearly powers of one another, also searches where their terms have exchanged roles:
    /// whether that is as good must not be left to the draw of the starts. True where one of them is better.
    pub fn exchange(&mut self, exchange: &Exchange, workspace: &mut SearchWorkspace) -> bool {
        let Some((best, _)) = &self.best else { return false };
        let before = best.rows.objective;
        let theta = best.theta.clone();
        if !self.search_exchanged(exchange, &theta, workspace) {
            return false;
        }
        self.finish(exchange.problem);
        let lower = |(best, _): &(Finished, u32)| {
            before > agreement_limit(best.rows.objective, exchange.problem.floor)
        };
        self.best.as_ref().is_some_and(lower)
    }

    /// Searches from a point with its terms' roles exchanged; false where no terms can exchange theirs.
    pub fn search_exchanged(
        &mut self,
        exchange: &Exchange,
        theta: &[f64],
        workspace: &mut SearchWorkspace,
    ) -> bool {
        let Exchange { law, problem, collinear, starts, solver } = *exchange;
        let first = self.starts.len();
        for given in collinear.exchanges(law, problem, theta) {
            starts.complete(&given, &mut workspace.drafts, &mut self.starts);
        }
        if self.starts.len() == first {
            return false;
        }
        // The valley between the two is long and shallow, and a search may stop before its end: both are compared as
        // finished.
        let winner = self.outcomes.first().map(|o| o.start);
        self.search(problem, solver, workspace);
        for outcome in self.outcomes.iter_mut().filter(|o| o.start >= first || Some(o.start) == winner) {
            let end = self.ends.point_mut(outcome.start);
            if let Some(found) = minimise(problem, &problem.observations.weight, end, 100) {
                outcome.objective = found.rows.objective;
                outcome.ending = if found.certificate.holds() { Ending::Converged } else { Ending::Limit };
                end.copy_from_slice(&found.theta);
            }
        }
        self.outcomes.sort_by(|a, b| a.objective.total_cmp(&b.objective));
        true
    }

    /// The rule of [`rounds`].
    fn suffices(&self, problem: &Problem, has_steps: bool) -> bool {
        let Some(best) = self.outcomes.first() else { return false };
        // A search that ended where others did has ended somewhere, even if it could not tell: it may have stalled
        // within rounding of the optimum.
        let limit = agreement_limit(best.objective, problem.floor);
        let same = |o: &&Outcome| {
            // Searches that run off along the same valley end where each of them gives up.
            o.objective <= limit
                || (best.runs_off() && o.runs_off() && o.objective <= best.objective * (1.0 + SAME_VALLEY))
        };
        let found = self.outcomes.iter().filter(same).count();
        if found < TIMES_FOUND {
            return false;
        }
        // Steps at other places have optima of their own: that these agree cannot be asked.
        if !has_steps && self.kinds_agree(found) {
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
        enough(n, optima)
    }

    /// Whether the first `found` outcomes come from curves of at least [`TIMES_FOUND`] kinds, and of half of all kinds.
    fn kinds_agree(&self, found: usize) -> bool {
        let kinds = |outcomes: &[Outcome]| {
            let of = |o: &Outcome| self.regions.get(o.start).copied().flatten();
            outcomes.iter().filter_map(of).collect::<BTreeSet<usize>>().len()
        };
        let agreeing = kinds(&self.outcomes[..found]);
        agreeing >= TIMES_FOUND && 2 * agreeing >= kinds(&self.outcomes)
    }

    /// Searches that ended at `objective`.
    pub fn agreeing(&self, objective: f64, floor: f64) -> usize {
        let limit = agreement_limit(objective, floor);
        self.outcomes.iter().filter(|o| o.objective <= limit).count()
    }

    /// The best objective of another optimum.
    pub fn runner_up(&self, objective: f64, floor: f64) -> Option<f64> {
        let limit = agreement_limit(objective, floor);
        self.outcomes.iter().filter(|o| o.converged()).map(|o| o.objective).find(|&o| o > limit)
    }
}

/// A fit whose searches share lanes with others': its problem, its starts, and what has been searched.
pub struct Member<'a> {
    problem: &'a Problem,
    starts: Starts<'a>,
    searched: &'a mut Searched,
    /// Points of the design that have been drawn.
    drawn: usize,
    /// Whether the design has no more.
    exhausted: bool,
    sharpened: bool,
}

impl<'a> Member<'a> {
    pub fn new(problem: &'a Problem, starts: Starts<'a>, searched: &'a mut Searched) -> Member<'a> {
        Member { problem, starts, searched, drawn: 0, exhausted: false, sharpened: false }
    }

    /// Adds the starts of the next round; false where there is none left.
    fn draw(&mut self, options: &FitOptions, workspace: &mut SearchWorkspace) -> bool {
        let n_drawn = self.starts.n_drawn();
        let has_corners = self.problem.model.has_corners;
        let more = if has_corners {
            FOR_CORNERS
        } else if self.starts.have_crossings() {
            FOR_CROSSINGS
        } else {
            1
        };
        let most = options.starts.unwrap_or_else(|| more * most_starts(n_drawn)).max(1);
        let done = self.searched.starts.len();
        if done >= most {
            return false;
        }
        let round = if options.starts.is_some() { most } else { (more * first_round(n_drawn)).max(done) };
        let wanted = round.min(most - done);
        let least = if self.starts.have_crossings() { LEAST_FOR_CROSSINGS } else { LEAST_SCREENED };
        let points = self.drawn..self.drawn + least.max(SCREENED_PER_START * wanted);
        self.drawn = points.end;
        self.starts.draw(points, wanted, &mut workspace.drafts, &mut self.searched.starts);
        self.searched.regions.resize(done, None);
        self.searched.regions.extend(Starts::drawn_regions(&workspace.drafts).map(Some));
        self.exhausted = self.searched.starts.len() - done < wanted;
        true
    }

    /// Adds the starts of the next searches; false where no more are needed.
    fn next(&mut self, options: &FitOptions, workspace: &mut SearchWorkspace) -> bool {
        !self.sharpened
            && ((!self.suffices(options) && self.draw(options, workspace))
                || self.sharpen(options, workspace))
    }

    /// Adds starts that turn more sharply than the best outcome near the same place: the last that a fit needs. False where
    /// there are none.
    fn sharpen(&mut self, options: &FitOptions, workspace: &mut SearchWorkspace) -> bool {
        self.sharpened = true;
        if options.starts.is_some() {
            return false;
        }
        let Searched { starts, ends, outcomes, .. } = &mut *self.searched;
        let Some(best) = outcomes.first() else { return false };
        let before = starts.len();
        self.starts.sharpen(ends.point(best.start), &mut workspace.drafts, starts);
        starts.len() > before
    }

    fn suffices(&self, options: &FitOptions) -> bool {
        self.exhausted
            || (options.starts.is_none()
                && self.searched.suffices(self.problem, self.starts.have_crossings()))
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.searched.vectors = self.starts.take_vectors();
    }
}

/// Searches until the best optimum of each fit of one law is likely the best there is.
///
/// After each round: enough when the best was found [`TIMES_FOUND`] times and, with `n` searches that ended in `w`
/// different optima, the number of optima to be expected, `w(n−1)/(n−w−2)`, exceeds those seen by no more than a half
/// (Boender & Rinnooy Kan 1987); or when searches from curves of unlike kinds found the best, half of all kinds at least,
/// where the law has no steps. Searches that ended nowhere, because they ran off or out of iterations, say nothing
/// and are not counted. The first round grows with the number of coordinates that are drawn, and so does the limit
/// ([`most_starts`]). At last, searches from turns that are sharper than the best optimum's: see
/// [`crossing`](super::starts::crossing). Where the user gives a number of starts, that many and no rule.
pub fn rounds(mut members: Vec<Member>, options: &FitOptions, workspace: &mut SearchWorkspace) {
    loop {
        members.retain_mut(|member| member.next(options, workspace));
        if members.is_empty() {
            return;
        }
        search_all(
            members.iter_mut().map(|m| (m.problem, &mut *m.searched)),
            options.solver,
            Amplitudes::Drawn,
            workspace,
        );
    }
}

/// Searches from the starts of several fits of one law that have not been searched from.
fn search_all<'a>(
    fits: impl IntoIterator<Item = (&'a Problem, &'a mut Searched)>,
    solver: Solver,
    amplitudes: Amplitudes,
    workspace: &mut SearchWorkspace,
) {
    let mut fits: Vec<_> = fits.into_iter().collect();
    if solver == Solver::Reference {
        fits.iter_mut().for_each(|(problem, searched)| searched.search_by_reference(problem));
    } else {
        let settings: Vec<SearchSettings> =
            fits.iter().map(|(problem, searched)| searched.settings(problem, amplitudes)).collect();
        let groups = fits.iter_mut().zip(&settings).map(|((problem, searched), settings)| {
            let Searched { starts, ends, outcomes, rows, weight, optima, .. } = &mut **searched;
            SearchGroup { problem, settings, part: Part { rows, weight }, starts, ends, outcomes, optima }
        });
        lane_scheduler::search(groups, &mut workspace.lanes);
    }
    fits.iter_mut().for_each(|(_, searched)| searched.rank());
}

/// Whether `n` searches that ended in `w` different optima make it unlikely that there is another.
fn enough(n: usize, w: usize) -> bool {
    if n <= w + 2 {
        return false;
    }
    let (n, w) = (n as f64, w as f64);
    w * (n - 1.0) / (n - w - 2.0) <= w + 0.5
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
