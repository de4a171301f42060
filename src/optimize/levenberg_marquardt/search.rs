//! The method of the folder's first page, for eight searches at once.

use fearless_simd::{Level, dispatch};

use crate::compile::{Coordinate, Scale};
use crate::lanes::{self, Lanes};
use crate::lanes::{LANES, Pack, is_true, load, replace, truth};
use crate::linalg::triangle;
use crate::problem::{LEAST_SHARE, Loss, Problem, Sums};

use super::damped_step::Against;
use super::state::{Ending, SearchSettings, Searches, SharedSettings};
use super::watchdog::AFTER_CLIMB;
use crate::linalg::solve_lanes;

/// What a search needs to know of a problem.
pub fn settings(problem: &Problem) -> SearchSettings<'_> {
    let model = &problem.model;
    SearchSettings {
        bounds: &model.bounds,
        metric: &problem.metric,
        floor: problem.floor,
        damping: 1e-4,
        share: 1.0,
        daring: true,
        bent: false,
        loss: problem.loss,
        total_weight: problem.total_weight,
        linear: if problem.loss.is_quadratic() { &model.linear } else { &[] },
        project_start: false,
        most_iterations: MOST_ITERATIONS,
    }
}

/// A predicted decrease below this share of the objective ends a search.
pub const DECREASE: f64 = 1e-14;

/// Evaluations after which a search gives up, where nothing else is said.
pub const MOST_ITERATIONS: u32 = 300;

/// A search that is not alone gives up where so many evaluations have lowered the objective by less than this share of it,
/// after the first ones: it creeps along a valley that leads to infinity, or is too long for it.
const CREEPING_FOR: u32 = 16;
const CREEPING_AFTER: u32 = 48;
const CREEPING: f64 = 1e-4;

/// At a minimum the Newton step moves no coordinate by more than this share of itself; a logarithm by no more than this.
///
/// A promise of `1e-14` of the objective leaves a step of 1e-7 standard errors. Where the objective only flattens, as
/// `exp(-t)` or a power of `t` does, the step stays of the order of one, or of `1/16` where `t` is an exponential itself.
pub const SETTLED: f64 = 1e-2;

/// After a step whose gain exceeds the last, the share of the reweighting's curvature falls by the first. From far starts
/// with `huber:1e-3` this takes 21 evaluations where the least share throughout takes 70. After steps that promised less
/// than `CLOSE` of the objective it falls by the second: replicates then take 6.3 evaluations instead of 8.3.
const SHARE_FALLS: f64 = 0.6;
const SHARE_FALLS_CLOSE: f64 = 0.12;
const CLOSE: f64 = 0.01;
const SHARE_GAIN: f64 = 0.6;

/// After a refused step that ended uphill, the share of it that the tangents at its ends leave is held to be between these.
/// The next step is damped so many times as much as would have made that of this one. The share of the reweighting's
/// curvature, which knows of kinks that are further away, grows by the last.
const LEFT: std::ops::RangeInclusive<f64> = 0.02..=0.7;
const CAUTION: f64 = 2.0;
const SHARE_GROWS: f64 = 5.0;

/// After a step that kept its promise, where the next one promises less than this share of the objective, the law's own
/// second derivatives are used.
const NEAR: f64 = 0.03;
const KEPT: f64 = 0.75;

/// What is left after a step, at the rate at which promises fall and by what damping held back, must be below this share
/// of what is negligible for the step to be taken on trust.
const TRUST: f64 = 0.01;

/// In normal coordinates also what a straight step would leave, by third derivatives, must be below so many times of what
/// is negligible: a bent one leaves far less. With either condition alone some in a thousand replicates of 30 points end
/// above ten times the certificate's limit.
const TRUST_THIRD: f64 = 10.0;

/// Times that the damping may grow before a search counts as stalled.
const MOST_ATTEMPTS: u32 = 60;

impl Searches {
    /// Room for searches over `p` coordinates.
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
            &mut self.turn,
            &mut self.straight,
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
        self.mix.reweighting.0[lane] = settings.share;
        self.mix.bends.0[lane] = f64::from(u8::from(settings.bent && settings.daring));
        self.growth.0[lane] = 2.0;
        self.started.0[lane] = 0.0;
        self.fulfilled.0[lane] = 0.0;
        self.projected.0[lane] = 0.0;
        self.bent.0[lane] = 0.0;
        self.was_bent.0[lane] = 0.0;
        self.kept.0[lane] = 0.0;
        self.drifting.0[lane] = 0.0;
        self.watchdog.begin(lane);
        self.iterations[lane] = 0;
        self.most_iterations[lane] = settings.most_iterations;
        self.impatient[lane] = settings.daring;
        self.last_looked[lane] = f64::INFINITY;
    }

    /// The first damping, once the objective at the start is known.
    pub(in crate::optimize) fn set_damping(&mut self, lane: usize, loss: Loss) {
        // Where most residuals are in the loss's linear zone, all curvature is smaller by this much.
        let level = self.at.packs[0].0[lane] / self.total_weight.0[lane];
        self.pull.0[lane] = loss.typical_weight(level);
        self.damping.0[lane] = self.first_damping.0[lane] * self.pull.0[lane];
    }

    /// Takes the evaluation at `trial` in the lanes that are `active`; gives the endings, the others go on.
    pub fn observe(
        &mut self,
        level: Level,
        found: &Sums,
        active: [bool; LANES],
        shared: SharedSettings,
    ) -> [Option<Ending>; LANES] {
        for (count, _) in self.iterations.iter_mut().zip(active).filter(|(_, active)| *active) {
            *count += 1;
        }
        dispatch!(level, simd => self.observe_lanes::<fearless_simd::f64x8<_>>(simd, found, active, shared))
    }

    #[inline(always)]
    fn observe_lanes<L: Lanes>(
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
        // Zero times a number is zero; times anything else it is not.
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
            let mut asking = active & finite & !is_true::<L>(token, &self.projected);
            if !shared.project_start {
                asking = asking & started;
            }
            if L::any(asking) {
                moved = self.project::<L>(token, found, asking, shared.linear);
            }
        }
        truth(moved, one).store(&mut self.projected.0);

        let here = active & !moved;
        let fresh = here & !started;
        let trying = here & started;
        let before = load::<L>(token, &self.at.packs[0]);
        let gain = (before - objective) / load::<L>(token, &self.predicted);
        let bold = is_true::<L>(token, &self.watchdog.bold);
        let below = objective.lt(self.lowest::<L>(token));
        let accepted = trying & finite & below & gain.gt(one.fill(1e-4));
        let refused = trying & !accepted;
        // What comes of a climb is compared with its base.
        self.return_to_last_accepted::<L>(token, trying & bold);
        let goes_uphill = if shared.loss.is_quadratic() && shared.daring {
            self.note_run::<L>(token, found, accepted);
            self.climb::<L>(token, objective, refused & finite & !bold)
        } else {
            !(zero.eq(zero))
        };
        truth(goes_uphill | (bold & !trying), one).store(&mut self.watchdog.bold.0);
        let rejected = refused & !goes_uphill;
        let taken = accepted | goes_uphill | (fresh & finite);
        if L::any(taken) {
            replace::<L>(token, taken, &found.packs, &mut self.at.packs);
            replace::<L>(token, taken, &self.trial, &mut self.theta);
            L::select(taken, load(token, &self.bent), load(token, &self.was_bent))
                .store(&mut self.was_bent.0);
            L::select(taken, load(token, &self.mix.bends), load(token, &self.bent)).store(&mut self.bent.0);
        }
        truth(started | fresh, one).store(&mut self.started.0);

        let damping = load::<L>(token, &self.damping);
        let growth = load::<L>(token, &self.growth);
        let two = one.fill(2.0);
        let centred = (gain + gain) - one;
        let shrink = one - centred * centred * centred;
        // Near the optimum the model is right and the damping only slows the last steps.
        let least = L::select(gain.gt(one.fill(0.9)), one.fill(0.05), one.fill(1.0 / 3.0));
        let factor = L::select(bold, one.fill(AFTER_CLIMB), shrink.max(least).min(two));
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
        L::select(accepted | fresh | uphill, two, growth).store(&mut self.growth.0);
        L::select(accepted, load(token, &self.predicted), zero).store(&mut self.fulfilled.0);
        truth(accepted & gain.gt(zero.fill(KEPT)), one).store(&mut self.kept.0);
        let bends = load::<L>(token, &self.mix.bends);
        L::select(refused, zero, bends).store(&mut self.mix.bends.0);
        if !shared.loss.is_quadratic() {
            // Where the reweighting's curvature, which is too large, foretold the decrease well, less of it will do.
            let share = load::<L>(token, &self.mix.reweighting);
            let promise = load::<L>(token, &self.predicted);
            let close = promise.lt(before * share.fill(CLOSE));
            let falls = L::select(close, share.fill(SHARE_FALLS_CLOSE), share.fill(SHARE_FALLS));
            let less = (share * falls).max(share.fill(LEAST_SHARE));
            let falls = accepted & gain.gt(share.fill(SHARE_GAIN));
            let more = (share * share.fill(SHARE_GROWS)).min(one);
            let share = L::select(falls, less, L::select(uphill, more, share));
            share.store(&mut self.mix.reweighting.0);
        }
        if L::any(fresh) {
            let mut flags = Pack::ZERO;
            truth(fresh, one).store(&mut flags.0);
            for lane in (0..LANES).filter(|&lane| flags.0[lane] == 1.0) {
                self.set_damping(lane, shared.loss);
            }
        }

        let running = here & (started | finite);
        self.update_metric::<L>(token, running);
        let (mut converged, mut stalled) = self.propose::<L>(token, running, shared);
        let mut lost = goes_uphill;
        if L::any(goes_uphill) {
            // A search does not end above its lowest point.
            lost = goes_uphill & (converged | stalled | self.hopeless::<L>(token));
        }
        if L::any(lost) {
            self.return_to_last_accepted::<L>(token, lost);
            let (damping, growth) = (load::<L>(token, &self.damping), load::<L>(token, &self.growth));
            L::select(lost, damping * growth, damping).store(&mut self.damping.0);
            L::select(lost, growth + growth, growth).store(&mut self.growth.0);
            let (again, stuck) = self.propose::<L>(token, lost, shared);
            converged = (converged & !lost) | again;
            stalled = (stalled & !lost) | stuck;
        }
        self.endings::<L>(token, converged, stalled, fresh & !finite)
    }

    /// The damping after steps to `trial` that are refused, by the tangents at their two ends; negative where the
    /// objective does not grow there.
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
        let left = left.max(one.fill(*LEFT.start())).min(one.fill(*LEFT.end()));
        // Along the step the curvature is `−before`, with the damping that there was: a step `left` times as long needs
        // `−before/left`.
        let more = (one / left - one) * (-before) * one.fill(CAUTION) / length;
        L::select(after.gt(zero), load::<L>(token, &self.damping) + more, -one)
    }

    /// The trust region's metric; 1 where it is not known yet.
    #[inline(always)]
    pub(in crate::optimize) fn metric_of<L: Lanes>(&self, token: L::Token, i: usize) -> L {
        let metric = load::<L>(token, &self.metric[i]);
        L::select(metric.gt(metric.fill(0.0)), metric, metric.fill(1.0))
    }

    /// Column metrics follow the largest curvature seen (Moré 1978).
    #[inline(always)]
    pub(in crate::optimize) fn update_metric<L: Lanes>(&mut self, token: L::Token, running: L::Mask) {
        let p = self.theta.len();
        let pull = load::<L>(token, &self.pull);
        for i in 0..p {
            let follows = running & is_true::<L>(token, &self.from_column[i]);
            if L::any(follows) {
                let diagonal = load::<L>(token, &self.at.packs[1 + p + triangle(i) + i]).abs() / pull;
                let metric = load::<L>(token, &self.metric[i]);
                L::select(follows, metric.max(diagonal), metric).store(&mut self.metric[i].0);
            }
        }
    }

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
            0 if self.iterations[lane] >= self.most_iterations[lane] || self.creeps(lane) => {
                Some(Ending::Limit)
            }
            0 => None,
            1 if self.drifting.0[lane] == 1.0 => Some(Ending::Drifting),
            1 => Some(Ending::Converged),
            2 => Some(Ending::Stalled),
            _ => Some(Ending::NotFinite),
        })
    }

    /// Whether a lane's objective has hardly fallen since it was last looked at.
    fn creeps(&mut self, lane: usize) -> bool {
        let done = self.iterations[lane];
        if !self.impatient[lane] || done < CREEPING_AFTER || !done.is_multiple_of(CREEPING_FOR) {
            return false;
        }
        let objective = self.at.packs[0].0[lane];
        let before = std::mem::replace(&mut self.last_looked[lane], objective);
        before - objective < CREEPING * objective
    }

    /// Where `steps` move no coordinate by more than [`SETTLED`].
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

    /// Moves trial points to the best amplitudes for their other coordinates, where that promises a decrease
    /// comparable to the step's own; true in the lanes that moved.
    #[inline(always)]
    fn project<L: Lanes>(
        &mut self,
        token: L::Token,
        found: &Sums,
        asking: L::Mask,
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
        let mut promised = L::splat(token, 0.0);
        for (a, &(i, _)) in linear.iter().enumerate() {
            let half = load::<L>(token, &found.packs[1 + i]) * promised.fill(-0.5);
            promised = half.mul_add(load(token, &self.rhs[a]), promised);
        }
        let predicted = load::<L>(token, &self.predicted);
        let moves = asking & positive & promised.gt(predicted * predicted.fill(0.1));
        if !L::any(moves) {
            return moves;
        }
        for (a, &(i, scale)) in linear.iter().enumerate() {
            let step = load::<L>(token, &self.rhs[a]);
            let step = match scale {
                Scale::Linear => step,
                // The step is relative to the amplitude; one that would change its sign stops short.
                Scale::Log => lanes::ln(step.max(step.fill(-0.9)) + step.fill(1.0)),
            };
            let trial = load::<L>(token, &self.trial[i]);
            let low = load::<L>(token, &self.low[i]);
            let high = load::<L>(token, &self.high[i]);
            L::select(moves, (trial + step).max(low).min(high), trial).store(&mut self.trial[i].0);
        }
        moves
    }

    /// The next trial points of the lanes that are `running`; which of them have converged, and which can make
    /// no step.
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
        let negligible = (objective * zero.fill(DECREASE)).max(load(token, &self.floor));
        for attempt in 0..MOST_ATTEMPTS {
            self.set_free::<L>(token);
            for step in &mut self.step {
                zero.store(&mut step.0);
            }
            let damping = load::<L>(token, &self.damping);
            let mut positive = self.solve::<L>(token, damping, Against::Gradient);
            // The undamped step promises at least what the damped one does: it is needed only where that is
            // little.
            let little = pending & positive & self.promised::<L>(token).le(negligible);
            if attempt == 0 && L::any(little) {
                let positive_undamped = self.solve::<L>(token, zero, Against::Gradient);
                let done = little & positive_undamped & self.promised::<L>(token).le(negligible);
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
                positive = self.solve::<L>(token, damping, Against::Gradient);
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
                    let step = load::<L>(token, &self.step[i]) - load(token, &self.turn[i]);
                    let target = load::<L>(token, &self.theta[i]) + step;
                    let target = target.max(load(token, &self.low[i])).min(load(token, &self.high[i]));
                    L::select(good, target, load(token, &self.trial[i])).store(&mut self.trial[i].0);
                }
                L::select(good, predicted, load(token, &self.predicted)).store(&mut self.predicted.0);
                if shared.daring {
                    // Near the optimum they make the last steps quadratic; far from it they mislead.
                    let near =
                        good & is_true::<L>(token, &self.kept) & predicted.lt(objective * zero.fill(NEAR));
                    let bends = load::<L>(token, &self.mix.bends);
                    L::select(near, zero.fill(1.0), bends).store(&mut self.mix.bends.0);
                }
                // A step whose successor would promise next to nothing, at the rate at which promises fall, is taken
                // without another look; if damping has not kept it from going all the way.
                let hardly = negligible * zero.fill(TRUST);
                let next = predicted * predicted;
                let mut last = next.lt(load::<L>(token, &self.fulfilled) * hardly);
                // In normal coordinates promises fall by their square, and Newton's do.
                let rate = predicted / load::<L>(token, &self.fulfilled);
                let squared = predicted * rate * rate;
                let little = good & is_true::<L>(token, &self.bent) & squared.lt(hardly);
                if third.is_empty() && shared.loss.is_quadratic() {
                    last = last | (little & is_true::<L>(token, &self.was_bent));
                } else if !third.is_empty() && L::any(little) {
                    let left = self.left_by_turns::<L>(token, third);
                    last = last | (little & left.lt(negligible * zero.fill(TRUST_THIRD)));
                }
                last = last & good;
                if L::any(last) {
                    last = last & self.is_settled::<L>(token, shared.coordinates, &self.step);
                    last = last & self.solve::<L>(token, zero, Against::Gradient);
                    last = last & (self.promised::<L>(token) - predicted).lt(hardly);
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
