//! The Levenberg–Marquardt iteration described in the folder's `mod.rs`, for eight searches at once.

use fearless_simd::{Level, dispatch};

use crate::compile::{Coordinate, Scale};
use crate::lanes::{self, Lanes};
use crate::lanes::{LANES, Pack, is_true, load, replace, truth};
use crate::linalg::triangle;
use crate::problem::{Loss, MIN_IRLS_FRACTION, Problem, Sums};

use super::damped_step::RightHandSide;
use super::state::{Ending, SearchSettings, Searches, SharedSettings};
use super::watchdog::DAMPING_AFTER_RELAXED;
use crate::linalg::solve_lanes;

/// Returns the settings of a search on a problem.
#[must_use]
pub fn settings(problem: &Problem) -> SearchSettings<'_> {
    let model = &problem.model;
    SearchSettings {
        bounds: &model.bounds,
        metric: &problem.metric,
        floor: problem.floor,
        damping: 1e-4,
        irls_fraction: 1.0,
        accelerated: true,
        second_derivatives: false,
        loss: problem.loss,
        total_weight: problem.total_weight,
        linear: if problem.loss.is_quadratic() { &model.linear } else { &[] },
        project_start: false,
        max_iterations: MAX_ITERATIONS,
    }
}

/// The predicted decrease, as a fraction of the objective, below which a search ends.
pub const NEGLIGIBLE: f64 = 1e-14;

/// The number of evaluations after which a search gives up, unless its settings say otherwise.
pub const MAX_ITERATIONS: u32 = 300;

/// The number of evaluations between two checks of progress. A search that other searches make up for ends where the
/// objective has fallen by less than `SLOW_DECREASE` in that time: its path leads to infinity or is too long.
const SLOW_INTERVAL: u32 = 16;

/// The number of evaluations before the first check of progress.
const SLOW_AFTER: u32 = 48;

/// The smallest relative decrease of the objective between two checks.
const SLOW_DECREASE: f64 = 1e-4;

/// The gain ratio above which a step is accepted.
const MIN_GAIN: f64 = 1e-4;

/// The largest Newton step at a minimum, as a fraction of a linear coordinate, or absolute for a logarithmic one.
///
/// A predicted decrease of `1e-14` of the objective corresponds to a step of 1e-7 standard errors. Where the objective
/// only flattens, as `exp(-t)` or a power of `t` does, the Newton step stays of the order of one, or of `1/16` where
/// `t` is an exponential itself.
pub const SETTLED: f64 = 1e-2;

/// The factor of the IRLS fraction after a step whose gain ratio exceeds `IRLS_MIN_GAIN`. From far starts with
/// `huber:1e-3` searches take 21 evaluations, where the least fraction throughout takes 70.
const IRLS_DECREASE: f64 = 0.6;

/// The factor of the IRLS fraction after such a step whose predicted decrease is below `IRLS_NEAR` of the objective.
/// Replicates then take 6.3 evaluations instead of 8.3.
const IRLS_DECREASE_NEAR: f64 = 0.12;

/// The relative predicted decrease below which a search counts as near the optimum for the IRLS fraction.
const IRLS_NEAR: f64 = 0.01;

/// The gain ratio from which the IRLS fraction falls.
const IRLS_MIN_GAIN: f64 = 0.6;

/// The range of the fraction of a refused step at which the tangents at its two ends are taken to meet.
const STEP_FRACTION: std::ops::RangeInclusive<f64> = 0.02..=0.7;

/// The factor of the damping increase that would have shortened the refused step to that fraction.
const TANGENT_SAFETY: f64 = 2.0;

/// The factor of the IRLS fraction after a refused step that ended uphill: the IRLS curvature accounts for kinks
/// further away.
const IRLS_INCREASE: f64 = 5.0;

/// The predicted decrease, relative to the objective, below which the law's second derivatives are used.
const NEAR: f64 = 0.03;

/// The gain ratio of the last step from which the law's second derivatives are used.
const HIGH_GAIN: f64 = 0.75;

/// The largest decrease left after the last step, as a fraction of what is negligible, at which that step is taken
/// without an evaluation.
const LAST_STEP: f64 = 0.01;

/// The largest decrease that third derivatives leave after an uncorrected last step, as a multiple of what is
/// negligible, in normal coordinates; a corrected step leaves far less. With either condition alone, some in a thousand
/// replicates of 30 observations end above ten times the limit of the certificate.
const LAST_STEP_THIRD: f64 = 10.0;

/// The number of times that the damping may grow within one proposal before a search counts as stalled.
const MAX_ATTEMPTS: u32 = 60;

impl Searches {
    /// Resizes the buffers to `p` coordinates.
    pub fn prepare(&mut self, p: usize) {
        for packs in [
            &mut self.theta,
            &mut self.trial,
            &mut self.low,
            &mut self.high,
            &mut self.metric,
            &mut self.from_column,
            &mut self.free,
            &mut self.step,
            &mut self.correction,
            &mut self.uncorrected,
            &mut self.rhs,
        ] {
            packs.clear();
            packs.resize(p, Pack::ZERO);
        }
        self.watchdog.prepare(p);
        for packs in [&mut self.matrix, &mut self.hessian] {
            packs.clear();
            packs.resize(triangle(p), Pack::ZERO);
        }
        self.at.packs.clear();
        self.at.packs.resize(1 + p + triangle(p), Pack::ZERO);
    }

    /// Begins a search at `theta`, which is moved into the box.
    pub fn begin(&mut self, lane: usize, theta: &[f64], settings: &SearchSettings) {
        for i in 0..theta.len() {
            let (low, high) = settings.bounds[i];
            let inside = theta[i].clamp(low, high);
            self.theta[i].0[lane] = inside;
            self.trial[i].0[lane] = inside;
            self.low[i].0[lane] = low;
            self.high[i].0[lane] = high;
            self.metric[i].0[lane] = settings.metric[i];
            self.from_column[i].0[lane] = f64::from(u8::from(settings.metric[i] == 0.0));
        }
        self.floor.0[lane] = settings.floor;
        self.total_weight.0[lane] = settings.total_weight;
        self.first_damping.0[lane] = settings.damping;
        self.mix.irls_fraction.0[lane] = settings.irls_fraction;
        self.mix.second_derivatives.0[lane] =
            f64::from(u8::from(settings.second_derivatives && settings.accelerated));
        self.growth.0[lane] = 2.0;
        self.started.0[lane] = 0.0;
        self.last_predicted.0[lane] = 0.0;
        self.projected.0[lane] = 0.0;
        self.has_second_derivatives.0[lane] = 0.0;
        self.had_second_derivatives.0[lane] = 0.0;
        self.gain_was_high.0[lane] = 0.0;
        self.drifting.0[lane] = 0.0;
        self.watchdog.begin(lane);
        self.iterations[lane] = 0;
        self.max_iterations[lane] = settings.max_iterations;
        self.stops_early[lane] = settings.accelerated;
        self.checked_objective[lane] = f64::INFINITY;
    }

    /// Sets the first damping, once the objective at the start is known.
    pub(in crate::optimize) fn set_damping(&mut self, lane: usize, loss: Loss) {
        // In the linear zone of the loss all curvature is smaller by the IRLS weight.
        let level = self.at.packs[0].0[lane] / self.total_weight.0[lane];
        self.typical_weight.0[lane] = loss.typical_weight(level);
        self.damping.0[lane] = self.first_damping.0[lane] * self.typical_weight.0[lane];
    }

    /// Accepts or rejects the trial steps in the lanes that are `active`, given the evaluation at `trial`, and returns the
    /// endings; the other searches continue. (The watchdog may accept an uphill step for a while; see `watchdog`.)
    pub fn accept_or_reject(
        &mut self,
        level: Level,
        found: &Sums,
        active: [bool; LANES],
        shared: SharedSettings,
    ) -> [Option<Ending>; LANES] {
        for (count, _) in self.iterations.iter_mut().zip(active).filter(|(_, active)| *active) {
            *count += 1;
        }
        dispatch!(level, simd => self.accept_or_reject_lanes::<fearless_simd::f64x8<_>>(simd, found, active, shared))
    }

    #[inline(always)]
    fn accept_or_reject_lanes<L: Lanes>(
        &mut self,
        token: L::Token,
        found: &Sums,
        active: [bool; LANES],
        shared: SharedSettings,
    ) -> [Option<Ending>; LANES] {
        let p = self.theta.len();
        let one = L::splat(token, 1.0);
        let zero = L::splat(token, 0.0);
        let active = load::<L>(token, &Pack(active.map(|a| f64::from(u8::from(a))))).eq(one);

        let objective = load::<L>(token, &found.packs[0]);
        // A finite number times zero is zero; any other value times zero is NaN.
        let mut probe = zero;
        for pack in &found.packs[..self.at.packs.len()] {
            probe = load::<L>(token, pack).mul_add(zero, probe);
        }
        let finite = probe.eq(zero);
        let started = is_true::<L>(token, &self.started);

        let predicted = load::<L>(token, &self.predicted);
        L::select(started, predicted, objective * one.fill(0.01)).store(&mut self.predicted.0);
        let mut moved = !(zero.eq(zero));
        if !shared.linear.is_empty() && shared.linear.len() < p {
            let mut candidates = active & finite & !is_true::<L>(token, &self.projected);
            if !shared.project_start {
                candidates = candidates & started;
            }
            if L::any(candidates) {
                moved = self.project::<L>(token, found, candidates, shared.linear);
            }
        }
        truth(moved, one).store(&mut self.projected.0);

        let evaluated = active & !moved;
        let first = evaluated & !started;
        let judged = evaluated & started;
        let before = load::<L>(token, &self.at.packs[0]);
        let gain = (before - objective) / load::<L>(token, &self.predicted);
        let relaxed = is_true::<L>(token, &self.watchdog.relaxed);
        let below = objective.lt(self.reference_objective::<L>(token));
        let accepted = judged & finite & below & gain.gt(one.fill(MIN_GAIN));
        let refused = judged & !accepted;
        // An evaluation after an uphill step is judged against the point of return.
        self.return_to_last_accepted::<L>(token, judged & relaxed);
        let goes_uphill = if shared.loss.is_quadratic() && shared.accelerated {
            self.record_step::<L>(token, found, accepted);
            self.relax::<L>(token, objective, refused & finite & !relaxed)
        } else {
            !(zero.eq(zero))
        };
        truth(goes_uphill | (relaxed & !judged), one).store(&mut self.watchdog.relaxed.0);
        let rejected = refused & !goes_uphill;
        let taken = accepted | goes_uphill | (first & finite);
        if L::any(taken) {
            replace::<L>(token, taken, &found.packs, &mut self.at.packs);
            replace::<L>(token, taken, &self.trial, &mut self.theta);
            L::select(
                taken,
                load(token, &self.has_second_derivatives),
                load(token, &self.had_second_derivatives),
            )
            .store(&mut self.had_second_derivatives.0);
            L::select(
                taken,
                load(token, &self.mix.second_derivatives),
                load(token, &self.has_second_derivatives),
            )
            .store(&mut self.has_second_derivatives.0);
        }
        truth(started | first, one).store(&mut self.started.0);

        let damping = load::<L>(token, &self.damping);
        let growth = load::<L>(token, &self.growth);
        let two = one.fill(2.0);
        let centred = (gain + gain) - one;
        let shrink = one - centred * centred * centred;
        // Near the optimum the quadratic model is accurate and damping only slows the last steps.
        let least = L::select(gain.gt(one.fill(0.9)), one.fill(0.05), one.fill(1.0 / 3.0));
        let factor = L::select(relaxed, one.fill(DAMPING_AFTER_RELAXED), shrink.max(least).min(two));
        let mut grown = damping * growth;
        let mut uphill = !(zero.eq(zero));
        if !shared.loss.is_quadratic() && L::any(rejected) {
            let by_tangents = self.damping_by_tangents::<L>(token, found);
            uphill = rejected & finite & by_tangents.gt(grown) & by_tangents.le(zero.fill(f64::MAX));
            grown = L::select(uphill, by_tangents, grown);
        }
        let damping = L::select(accepted, damping * factor, L::select(rejected, grown, damping));
        damping.store(&mut self.damping.0);
        let growth = L::select(rejected, growth + growth, growth);
        L::select(accepted | first | uphill, two, growth).store(&mut self.growth.0);
        L::select(accepted, load(token, &self.predicted), zero).store(&mut self.last_predicted.0);
        truth(accepted & gain.gt(zero.fill(HIGH_GAIN)), one).store(&mut self.gain_was_high.0);
        let second_derivatives = load::<L>(token, &self.mix.second_derivatives);
        L::select(refused, zero, second_derivatives).store(&mut self.mix.second_derivatives.0);
        if !shared.loss.is_quadratic() {
            // The IRLS curvature is an upper bound. Where the decrease was predicted well with it, a smaller fraction
            // suffices.
            let irls_fraction = load::<L>(token, &self.mix.irls_fraction);
            let predicted = load::<L>(token, &self.predicted);
            let close = predicted.lt(before * irls_fraction.fill(IRLS_NEAR));
            let falls =
                L::select(close, irls_fraction.fill(IRLS_DECREASE_NEAR), irls_fraction.fill(IRLS_DECREASE));
            let less = (irls_fraction * falls).max(irls_fraction.fill(MIN_IRLS_FRACTION));
            let falls = accepted & gain.gt(irls_fraction.fill(IRLS_MIN_GAIN));
            let more = (irls_fraction * irls_fraction.fill(IRLS_INCREASE)).min(one);
            let irls_fraction = L::select(falls, less, L::select(uphill, more, irls_fraction));
            irls_fraction.store(&mut self.mix.irls_fraction.0);
        }
        if L::any(first) {
            let mut flags = Pack::ZERO;
            truth(first, one).store(&mut flags.0);
            for lane in (0..LANES).filter(|&lane| flags.0[lane] == 1.0) {
                self.set_damping(lane, shared.loss);
            }
        }

        let running = evaluated & (started | finite);
        self.update_metric::<L>(token, running);
        let (mut converged, mut stalled) = self.propose::<L>(token, running, shared);
        let mut withdrawn = goes_uphill;
        if L::any(goes_uphill) {
            // A search must not end above its point of return.
            withdrawn = goes_uphill & (converged | stalled | self.cannot_improve::<L>(token));
        }
        if L::any(withdrawn) {
            self.return_to_last_accepted::<L>(token, withdrawn);
            let (damping, growth) = (load::<L>(token, &self.damping), load::<L>(token, &self.growth));
            L::select(withdrawn, damping * growth, damping).store(&mut self.damping.0);
            L::select(withdrawn, growth + growth, growth).store(&mut self.growth.0);
            let (again, stuck) = self.propose::<L>(token, withdrawn, shared);
            converged = (converged & !withdrawn) | again;
            stalled = (stalled & !withdrawn) | stuck;
        }
        self.endings::<L>(token, converged, stalled, first & !finite)
    }

    /// Returns the damping after refused steps to `trial`, from the tangents at their two ends; negative where the
    /// objective does not increase along the step at its end.
    #[inline(always)]
    fn damping_by_tangents<L: Lanes>(&self, token: L::Token, found: &Sums) -> L {
        let one = L::splat(token, 1.0);
        let zero = one.fill(0.0);
        let (mut before, mut after, mut length) = (zero, zero, zero);
        for i in 0..self.theta.len() {
            let step = load::<L>(token, &self.trial[i]) - load(token, &self.theta[i]);
            before = step.mul_add(load(token, &self.at.packs[1 + i]), before);
            after = step.mul_add(load(token, &found.packs[1 + i]), after);
            length = (step * step).mul_add(self.metric_of::<L>(token, i), length);
        }
        let rise = load::<L>(token, &found.packs[0]) - load(token, &self.at.packs[0]);
        let left = (rise - after) / (before - after);
        let left = left.max(one.fill(*STEP_FRACTION.start())).min(one.fill(*STEP_FRACTION.end()));
        // Along the step the damped curvature is `−before`; a step `left` times as long needs `−before/left`.
        let more = (one / left - one) * (-before) * one.fill(TANGENT_SAFETY) / length;
        L::select(after.gt(zero), load::<L>(token, &self.damping) + more, -one)
    }

    /// Returns the metric of coordinate `i`; 1 where it is not known yet.
    #[inline(always)]
    pub(in crate::optimize) fn metric_of<L: Lanes>(&self, token: L::Token, i: usize) -> L {
        let metric = load::<L>(token, &self.metric[i]);
        L::select(metric.gt(metric.fill(0.0)), metric, metric.fill(1.0))
    }

    /// Raises the metrics that follow the Hessian to the largest curvature seen (Moré 1978).
    #[inline(always)]
    pub(in crate::optimize) fn update_metric<L: Lanes>(&mut self, token: L::Token, running: L::Mask) {
        let p = self.theta.len();
        let typical_weight = load::<L>(token, &self.typical_weight);
        for i in 0..p {
            let follows = running & is_true::<L>(token, &self.from_column[i]);
            if L::any(follows) {
                let diagonal =
                    load::<L>(token, &self.at.packs[1 + p + triangle(i) + i]).abs() / typical_weight;
                let metric = load::<L>(token, &self.metric[i]);
                L::select(follows, metric.max(diagonal), metric).store(&mut self.metric[i].0);
            }
        }
    }

    /// Returns how the search in each lane ends, if it does.
    #[inline(always)]
    fn endings<L: Lanes>(
        &mut self,
        token: L::Token,
        converged: L::Mask,
        stalled: L::Mask,
        not_finite: L::Mask,
    ) -> [Option<Ending>; LANES] {
        let zero = L::splat(token, 0.0);
        let codes = L::select(stalled, zero.fill(2.0), L::select(converged, zero.fill(1.0), zero));
        let mut ends = Pack::ZERO;
        L::select(not_finite, zero.fill(3.0), codes).store(&mut ends.0);
        std::array::from_fn(|lane| match ends.0[lane] as u8 {
            0 if self.iterations[lane] >= self.max_iterations[lane] || self.progress_is_slow(lane) => {
                Some(Ending::Limit)
            }
            0 => None,
            1 if self.drifting.0[lane] == 1.0 => Some(Ending::Drifting),
            1 => Some(Ending::Converged),
            2 => Some(Ending::Stalled),
            _ => Some(Ending::NotFinite),
        })
    }

    /// Returns whether the objective in a lane has hardly fallen since the last check of progress.
    fn progress_is_slow(&mut self, lane: usize) -> bool {
        let done = self.iterations[lane];
        if !self.stops_early[lane] || done < SLOW_AFTER || !done.is_multiple_of(SLOW_INTERVAL) {
            return false;
        }
        let objective = self.at.packs[0].0[lane];
        let before = std::mem::replace(&mut self.checked_objective[lane], objective);
        before - objective < SLOW_DECREASE * objective
    }

    /// Returns the lanes in which `steps` move no coordinate by more than [`SETTLED`].
    #[inline(always)]
    fn is_settled<L: Lanes>(&self, token: L::Token, coordinates: &[Coordinate], steps: &[Pack]) -> L::Mask {
        let zero = L::splat(token, 0.0);
        let mut moves = !(zero.eq(zero));
        for (i, coordinate) in coordinates.iter().enumerate() {
            if coordinate.is_conditionally_linear() {
                continue;
            }
            let size = match coordinate.scale {
                Scale::Log => zero.fill(1.0),
                Scale::Linear => load::<L>(token, &self.theta[i]).abs(),
            };
            moves = moves | load::<L>(token, &steps[i]).abs().gt(size * zero.fill(SETTLED));
        }
        !moves
    }

    /// Moves trial points to the best amplitudes for their other coordinates where the predicted decrease of that is
    /// comparable to that of the step, and returns the lanes that moved.
    #[inline(always)]
    fn project<L: Lanes>(
        &mut self,
        token: L::Token,
        found: &Sums,
        candidates: L::Mask,
        linear: &[(usize, Scale)],
    ) -> L::Mask {
        let p = self.theta.len();
        let m = linear.len();
        for (a, &(i, _)) in linear.iter().enumerate() {
            for (b, &(j, _)) in linear[..=a].iter().enumerate() {
                self.matrix[triangle(a) + b] = found.packs[1 + p + triangle(i) + j];
            }
            let gradient = load::<L>(token, &found.packs[1 + i]);
            (-gradient).store(&mut self.rhs[a].0);
        }
        let positive = solve_lanes::<L>(token, &mut self.matrix[..triangle(m)], &mut self.rhs[..m]);
        let mut decrease = L::splat(token, 0.0);
        for (a, &(i, _)) in linear.iter().enumerate() {
            let half = load::<L>(token, &found.packs[1 + i]) * decrease.fill(-0.5);
            decrease = half.mul_add(load(token, &self.rhs[a]), decrease);
        }
        let predicted = load::<L>(token, &self.predicted);
        let moves = candidates & positive & decrease.gt(predicted * predicted.fill(0.1));
        if !L::any(moves) {
            return moves;
        }
        for (a, &(i, scale)) in linear.iter().enumerate() {
            let step = load::<L>(token, &self.rhs[a]);
            let step = match scale {
                Scale::Linear => step,
                // The step is relative to the amplitude; one that would change the sign of the amplitude is cut.
                Scale::Log => lanes::ln(step.max(step.fill(-0.9)) + step.fill(1.0)),
            };
            let trial = load::<L>(token, &self.trial[i]);
            let low = load::<L>(token, &self.low[i]);
            let high = load::<L>(token, &self.high[i]);
            L::select(moves, (trial + step).max(low).min(high), trial).store(&mut self.trial[i].0);
        }
        moves
    }

    /// Proposes the next trial points of the lanes that are `running`, and returns the lanes that have converged and
    /// those that can make no step.
    #[inline(always)]
    pub(in crate::optimize) fn propose<L: Lanes>(
        &mut self,
        token: L::Token,
        running: L::Mask,
        shared: SharedSettings,
    ) -> (L::Mask, L::Mask) {
        let p = self.theta.len();
        let zero = L::splat(token, 0.0);
        let SharedSettings { third, connection, .. } = shared;
        self.set_hessian::<L>(token, connection);
        let mut pending = running;
        let mut converged = !(zero.eq(zero));
        let mut stalled = converged;
        let objective = load::<L>(token, &self.at.packs[0]);
        let negligible = (objective * zero.fill(NEGLIGIBLE)).max(load(token, &self.floor));
        for attempt in 0..MAX_ATTEMPTS {
            self.set_free::<L>(token);
            for step in &mut self.step {
                zero.store(&mut step.0);
            }
            let damping = load::<L>(token, &self.damping);
            let mut positive = self.solve::<L>(token, damping, RightHandSide::Gradient);
            // The decrease of the undamped step is at least that of the damped one, so it is needed only where the
            // latter is negligible.
            let little = pending & positive & self.predicted_decrease::<L>(token).le(negligible);
            if attempt == 0 && L::any(little) {
                let undamped_positive = self.solve::<L>(token, zero, RightHandSide::Gradient);
                let done = little & undamped_positive & self.predicted_decrease::<L>(token).le(negligible);
                converged = converged | done;
                if L::any(done) {
                    let settled = self.is_settled::<L>(token, shared.coordinates, &self.rhs);
                    let drifting = truth::<L>(!settled, zero.fill(1.0));
                    L::select(done, drifting, load(token, &self.drifting)).store(&mut self.drifting.0);
                }
                pending = pending & !done;
                if !L::any(pending) {
                    break;
                }
                positive = self.solve::<L>(token, damping, RightHandSide::Gradient);
            }
            positive = self.stop_at_faces::<L>(token, damping, pending & positive);

            let mut moves = !(zero.eq(zero));
            for i in 0..p {
                let theta = load::<L>(token, &self.theta[i]);
                let step = load::<L>(token, &self.step[i]);
                moves = moves | step.abs().gt(theta.abs() * zero.fill(0.5 * f64::EPSILON));
            }
            let predicted = self.model_decrease::<L>(token);
            let stuck = pending & positive & !moves;
            stalled = stalled | stuck;
            let good = pending & positive & moves & predicted.gt(zero) & predicted.le(zero.fill(f64::MAX));
            if L::any(good) {
                self.set_geodesic_correction::<L>(token, good, shared);
                for i in 0..p {
                    let step = load::<L>(token, &self.step[i]) - load(token, &self.correction[i]);
                    let target = load::<L>(token, &self.theta[i]) + step;
                    let target = target.max(load(token, &self.low[i])).min(load(token, &self.high[i]));
                    L::select(good, target, load(token, &self.trial[i])).store(&mut self.trial[i].0);
                }
                L::select(good, predicted, load(token, &self.predicted)).store(&mut self.predicted.0);
                if shared.accelerated {
                    // Near the optimum second derivatives make convergence quadratic; far from it they can be
                    // indefinite.
                    let near = good
                        & is_true::<L>(token, &self.gain_was_high)
                        & predicted.lt(objective * zero.fill(NEAR));
                    let second_derivatives = load::<L>(token, &self.mix.second_derivatives);
                    L::select(near, zero.fill(1.0), second_derivatives)
                        .store(&mut self.mix.second_derivatives.0);
                }
                // The step is taken without an evaluation where the predicted decrease of its successor, extrapolated
                // from the last two, is negligible, and damping has not shortened it.
                let tolerance = negligible * zero.fill(LAST_STEP);
                let next = predicted * predicted;
                let mut last = next.lt(load::<L>(token, &self.last_predicted) * tolerance);
                // In normal coordinates and with second derivatives, predicted decreases fall quadratically.
                let rate = predicted / load::<L>(token, &self.last_predicted);
                let squared = predicted * rate * rate;
                let little = good & is_true::<L>(token, &self.has_second_derivatives) & squared.lt(tolerance);
                if third.is_empty() && shared.loss.is_quadratic() {
                    last = last | (little & is_true::<L>(token, &self.had_second_derivatives));
                } else if !third.is_empty() && L::any(little) {
                    let left = self.third_order_decrease::<L>(token, third);
                    last = last | (little & left.lt(negligible * zero.fill(LAST_STEP_THIRD)));
                }
                last = last & good;
                if L::any(last) {
                    last = last & self.is_settled::<L>(token, shared.coordinates, &self.step);
                    last = last & self.solve::<L>(token, zero, RightHandSide::Gradient);
                    last = last & (self.predicted_decrease::<L>(token) - predicted).lt(tolerance);
                }
                if L::any(last) {
                    replace::<L>(token, last, &self.trial, &mut self.theta);
                    L::select(last, objective - predicted, objective).store(&mut self.at.packs[0].0);
                    converged = converged | last;
                }
            }
            pending = pending & !stuck & !good;
            if !L::any(pending) {
                break;
            }
            let more = (damping * zero.fill(4.0)).max(zero.fill(1e-8));
            L::select(pending, more, damping).store(&mut self.damping.0);
        }
        (converged, stalled | pending)
    }
}
