//! The Levenberg–Marquardt iteration described in the folder's `mod.rs`, for eight searches at once.

use fearless_simd::{Level, dispatch};

use crate::compile::{Coordinate, Scale};
use crate::lanes::{self, LANES, Lanes, Pack, is_true, load, replace, truth};
use crate::linalg::triangle;
use crate::problem::{Loss, MIN_IRLS_FRACTION, Problem, Sums};

use super::damped_step::RightHandSide;
use super::state::{Ending, SearchSettings, Searches, SharedSettings};
use crate::linalg::solve_lanes;
use crate::optimize::tuning::{DampingTuning, LimitTuning, ProjectionTuning, Tuning};

/// Returns the settings of a search on a problem.
#[must_use]
pub fn settings<'a>(problem: &'a Problem, tuning: &'a Tuning) -> SearchSettings<'a> {
    let model = &problem.model;
    SearchSettings {
        bounds: &model.bounds,
        metric: &problem.metric,
        floor: problem.floor,
        damping: tuning.damping.first,
        irls_fraction: 1.0,
        accelerated: true,
        second_derivatives: false,
        loss: problem.loss,
        total_weight: problem.total_weight,
        linear: if problem.loss.is_quadratic() && tuning.devices.variable_projection {
            &model.linear
        } else {
            &[]
        },
        project_start: false,
        max_iterations: tuning.limits.evaluations,
        tuning,
    }
}

/// The predicted decrease, as a fraction of the objective, below which a search ends.
pub const NEGLIGIBLE: f64 = 1e-14;

/// The largest Newton step at a minimum, as a fraction of a linear coordinate, or absolute for a logarithmic one.
///
/// A predicted decrease of `1e-14` of the objective corresponds to a step of 1e-7 standard errors. Where the objective
/// only flattens, as `exp(-t)` or a power of `t` does, the Newton step stays of the order of one, or of `1/16` where
/// `t` is an exponential itself.
pub const SETTLED: f64 = 1e-2;

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
        self.stops_early[lane] = settings.accelerated && settings.tuning.devices.slow_progress;
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
        let tuning = shared.tuning;
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
            if !shared.connection.is_empty() {
                // In normal coordinates steps in all coordinates converge quadratically.
                candidates = candidates & !is_true::<L>(token, &self.mix.second_derivatives);
            }
            if !shared.project_start {
                candidates = candidates & started;
            }
            if L::any(candidates) {
                moved = self.project::<L>(token, found, candidates, shared);
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
        let accepted = judged & finite & below & gain.gt(one.fill(tuning.damping.min_gain));
        let refused = judged & !accepted;
        // An evaluation after an uphill step is judged against the point of return.
        self.return_to_last_accepted::<L>(token, judged & relaxed);
        let mut goes_uphill = !(zero.eq(zero));
        if shared.loss.is_quadratic() && shared.accelerated && tuning.devices.watchdog {
            self.record_step::<L>(token, accepted);
            goes_uphill = self.relax::<L>(token, objective, refused & finite & !relaxed, &tuning.watchdog);
        }
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
        let DampingTuning { min_factor, accurate_gain, min_factor_accurate, .. } = tuning.damping;
        let least =
            L::select(gain.gt(one.fill(accurate_gain)), one.fill(min_factor_accurate), one.fill(min_factor));
        let factor = L::select(relaxed, one.fill(tuning.watchdog.damping_factor), shrink.max(least).min(two));
        let mut grown = damping * growth;
        let mut uphill = !(zero.eq(zero));
        if !shared.loss.is_quadratic() && tuning.devices.damping_by_tangents && L::any(rejected) {
            let by_tangents = self.damping_by_tangents::<L>(token, found, &tuning.damping);
            uphill = rejected & finite & by_tangents.gt(grown) & by_tangents.le(zero.fill(f64::MAX));
            grown = L::select(uphill, by_tangents, grown);
        }
        let damping = L::select(accepted, damping * factor, L::select(rejected, grown, damping));
        damping.store(&mut self.damping.0);
        let growth = L::select(rejected, growth + growth, growth);
        L::select(accepted | first | uphill, two, growth).store(&mut self.growth.0);
        L::select(accepted, load(token, &self.predicted), zero).store(&mut self.last_predicted.0);
        truth(accepted & gain.gt(zero.fill(tuning.second_derivatives.min_gain)), one)
            .store(&mut self.gain_was_high.0);
        let second_derivatives = load::<L>(token, &self.mix.second_derivatives);
        L::select(refused, zero, second_derivatives).store(&mut self.mix.second_derivatives.0);
        if !shared.loss.is_quadratic() && tuning.devices.irls_schedule {
            let irls = &tuning.irls;
            // The IRLS curvature is an upper bound. Where the decrease was predicted well with it, a smaller fraction
            // suffices.
            let irls_fraction = load::<L>(token, &self.mix.irls_fraction);
            let predicted = load::<L>(token, &self.predicted);
            let close = predicted.lt(before * irls_fraction.fill(irls.near));
            let falls =
                L::select(close, irls_fraction.fill(irls.decrease_near), irls_fraction.fill(irls.decrease));
            let less = (irls_fraction * falls).max(irls_fraction.fill(MIN_IRLS_FRACTION));
            let falls = accepted & gain.gt(irls_fraction.fill(irls.min_gain));
            let more = (irls_fraction * irls_fraction.fill(irls.increase)).min(one);
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
        self.endings::<L>(token, (converged, stalled, first & !finite), &tuning.limits)
    }

    /// Returns the damping after refused steps to `trial`, from the tangents at their two ends; negative where the
    /// objective does not increase along the step at its end.
    #[inline(always)]
    fn damping_by_tangents<L: Lanes>(&self, token: L::Token, found: &Sums, tuning: &DampingTuning) -> L {
        let DampingTuning { tangent_range: [least, most], tangent_safety, .. } = *tuning;
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
        let left = left.max(one.fill(least)).min(one.fill(most));
        // Along the step the damped curvature is `−before`; a step `left` times as long needs `−before/left`.
        let more = (one / left - one) * (-before) * one.fill(tangent_safety) / length;
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
        (converged, stalled, not_finite): (L::Mask, L::Mask, L::Mask),
        limits: &LimitTuning,
    ) -> [Option<Ending>; LANES] {
        let zero = L::splat(token, 0.0);
        let codes = L::select(stalled, zero.fill(2.0), L::select(converged, zero.fill(1.0), zero));
        let mut ends = Pack::ZERO;
        L::select(not_finite, zero.fill(3.0), codes).store(&mut ends.0);
        std::array::from_fn(|lane| match ends.0[lane] as u8 {
            0 if self.iterations[lane] >= self.max_iterations[lane]
                || self.progress_is_slow(lane, limits) =>
            {
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
    fn progress_is_slow(&mut self, lane: usize, limits: &LimitTuning) -> bool {
        let done = self.iterations[lane];
        if !self.stops_early[lane] || done < limits.slow_after || !done.is_multiple_of(limits.slow_interval) {
            return false;
        }
        let objective = self.at.packs[0].0[lane];
        let before = std::mem::replace(&mut self.checked_objective[lane], objective);
        before - objective < limits.slow_decrease * objective
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
        shared: SharedSettings,
    ) -> L::Mask {
        let SharedSettings { linear, tuning, .. } = shared;
        let ProjectionTuning { min_decrease, max_fall } = tuning.variable_projection;
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
        let moves = candidates & positive & decrease.gt(predicted * predicted.fill(min_decrease));
        if !L::any(moves) {
            return moves;
        }
        for (a, &(i, scale)) in linear.iter().enumerate() {
            let step = load::<L>(token, &self.rhs[a]);
            let step = match scale {
                Scale::Linear => step,
                // The step is relative to the amplitude; one that would change the sign of the amplitude is cut.
                Scale::Log => lanes::ln(step.max(step.fill(-max_fall)) + step.fill(1.0)),
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
        let SharedSettings { third, connection, tuning, .. } = shared;
        self.set_hessian::<L>(token, connection);
        let mut pending = running;
        let mut converged = !(zero.eq(zero));
        let mut stalled = converged;
        let objective = load::<L>(token, &self.at.packs[0]);
        let negligible = (objective * zero.fill(NEGLIGIBLE)).max(load(token, &self.floor));
        for attempt in 0..tuning.limits.attempts {
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
                self.set_geodesic_acceleration::<L>(token, shared);
                for i in 0..p {
                    let step = load::<L>(token, &self.step[i]) - load(token, &self.correction[i]);
                    let target = load::<L>(token, &self.theta[i]) + step;
                    let target = target.max(load(token, &self.low[i])).min(load(token, &self.high[i]));
                    L::select(good, target, load(token, &self.trial[i])).store(&mut self.trial[i].0);
                }
                L::select(good, predicted, load(token, &self.predicted)).store(&mut self.predicted.0);
                if shared.accelerated && tuning.devices.second_derivatives {
                    // Near the optimum second derivatives make convergence quadratic; far from it they can be
                    // indefinite.
                    let near = good
                        & is_true::<L>(token, &self.gain_was_high)
                        & predicted.lt(objective * zero.fill(tuning.second_derivatives.near));
                    let second_derivatives = load::<L>(token, &self.mix.second_derivatives);
                    L::select(near, zero.fill(1.0), second_derivatives)
                        .store(&mut self.mix.second_derivatives.0);
                }
                // The step is taken without an evaluation where the predicted decrease of its successor, extrapolated
                // from the last two, is negligible, and damping has not shortened it.
                let tolerance = negligible * zero.fill(tuning.last_step.remainder);
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
                    last = last
                        | (little & left.lt(negligible * zero.fill(tuning.last_step.third_order_remainder)));
                }
                last = if tuning.devices.last_step { last & good } else { !(zero.eq(zero)) };
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
            let more = (damping * zero.fill(tuning.damping.indefinite_factor)).max(zero.fill(1e-8));
            L::select(pending, more, damping).store(&mut self.damping.0);
        }
        (converged, stalled | pending)
    }
}
