//! Every constant that the search was tuned with, and a switch for each of its devices.
//!
//! `cargo bench --bench ablation` measures both: what each device gains in time and in optima found, and, with
//! `--constants`, what half and twice the value of each constant would cost. That is the range in which a constant here was
//! tried, unless its line says otherwise. The bench and tests change a [`Tuning`]; a user cannot.
//!
//! Other constants are not tuned for speed and stand where they are used: tolerances that define a result
//! (`newton::certificate`, [`AGREEMENT`](super::options::AGREEMENT), `diagnosis`, `infinity`, `robust_scale`), the
//! intervals from which laws draw their starts (the catalogue, `start_rules`), the layout of data in lanes (`problem`), and
//! the reference solver, which must not depend on what it checks.

use serde::{Deserialize, Serialize};

use crate::lanes::LANES;

/// The constants and devices of the search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    pub devices: Devices,
    pub damping: DampingTuning,
    pub irls: IrlsTuning,
    pub variable_projection: ProjectionTuning,
    pub second_derivatives: SecondDerivativeTuning,
    pub last_step: LastStepTuning,
    pub watchdog: WatchdogTuning,
    pub normal_coordinates: NormalCoordinateTuning,
    pub known_optima: KnownOptimaTuning,
    pub limits: LimitTuning,
    pub multistart: MultistartTuning,
    pub starts: StartTuning,
    pub crossings: CrossingTuning,
    pub replicates: ReplicateTuning,
}

/// Defines the constants of one method: a struct with a line and a default value per constant.
macro_rules! constants {
    ($(#[$doc:meta])* $name:ident { $($(#[$constant_doc:meta])* $constant:ident: $type:ty = $value:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$constant_doc])* pub $constant: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($constant: $value,)* }
            }
        }
    };
}

constants! {
    /// The devices of the search: what could be left out without making a converged search wrong. All are on by default.
    Devices {
        /// A refused least-squares step may be followed once (`watchdog`).
        watchdog: bool = true,
        /// The Hessian contains the law's second derivatives near optima.
        second_derivatives: bool = true,
        /// The last step is taken without an evaluation.
        last_step: bool = true,
        /// Searches on their way to a known optimum are abandoned (`known_optima`).
        known_optima: bool = true,
        /// Trial points are moved to the best amplitudes for their other coordinates.
        variable_projection: bool = true,
        /// Under losses other than least squares, the damping after a refused step comes from the tangents at its two ends.
        damping_by_tangents: bool = true,
        /// The fraction of the IRLS curvature falls during a search. Without: it stays where it begins.
        irls_schedule: bool = true,
        /// A search with hardly any progress ends where other searches make up for it.
        slow_progress: bool = true,
        /// Few searches on many observations run one after the other, each over all lanes.
        searches_in_turn: bool = true,
        /// The searches of several fits share the lanes.
        shared_lanes: bool = true,
        /// More starts are generated than searches are made, and screened by their objective.
        screening: bool = true,
        /// Some coordinates of starts come from linear least squares where the law is linear in logarithms.
        log_linear_starts: bool = true,
        /// In every other start offsets are solved like amplitudes.
        solved_offsets: bool = true,
        /// Starts are also drawn from beyond the intervals of unbounded coordinates.
        tails: bool = true,
        /// Searches from several regions that agree suffice.
        agreeing_regions: bool = true,
        /// Starts of laws with crossing terms are drawn by place and sharpness of the crossing (`crossing`).
        crossings: bool = true,
        /// Terms of nearly collinear variables exchange their roles. The status depends on it: without, a fit that has another
        /// optimum as good is called converged.
        exchange: bool = true,
        /// The first step of a replicate is computed from sums of terms that are computed once per sweep.
        first_step: bool = true,
        /// Replicates search in normal coordinates (`normal_coordinates`).
        normal_coordinates: bool = true,
    }
}

constants! {
    /// Damping of Levenberg–Marquardt steps. Nielsen (1999, IMM-REP-1999-05, eq. 2.4) unless stated otherwise.
    DampingTuning {
        /// The damping of the first step, relative to the metric.
        first: f64 = 1e-4,
        /// The gain ratio above which a step is accepted.
        min_gain: f64 = 1e-4,
        /// The smallest factor of the damping after an accepted step.
        min_factor: f64 = 1.0 / 3.0,
        /// The gain ratio above which the quadratic model counts as accurate, so that damping only slows the last steps.
        accurate_gain: f64 = 0.9,
        /// The smallest factor of the damping after such a step.
        min_factor_accurate: f64 = 0.05,
        /// The factor of the damping where a damped matrix is not positive definite.
        indefinite_factor: f64 = 4.0,
        /// The range of the fraction of a refused step at which the tangents at its two ends are taken to meet.
        tangent_range: [f64; 2] = [0.02, 0.7],
        /// The factor of the damping increase that would have shortened the refused step to that fraction.
        tangent_safety: f64 = 2.0,
    }
}

constants! {
    /// The fraction of the IRLS curvature in the Hessian under losses other than least squares.
    IrlsTuning {
        /// The gain ratio from which the fraction falls.
        min_gain: f64 = 0.6,
        /// The factor of the fraction after a step whose gain ratio exceeds `min_gain`.
        decrease: f64 = 0.6,
        /// The relative predicted decrease below which a search counts as near the optimum.
        near: f64 = 0.01,
        /// The factor of the fraction after such a step near the optimum.
        decrease_near: f64 = 0.12,
        /// The factor of the fraction after a refused step that ended uphill: the IRLS curvature accounts for kinks further
        /// away.
        increase: f64 = 5.0,
    }
}

constants! {
    /// Variable projection of trial points.
    ProjectionTuning {
        /// The decrease predicted for the best amplitudes, as a fraction of that predicted for the step, from which the trial
        /// point moves to them.
        min_decrease: f64 = 0.1,
        /// The largest fraction by which such a move decreases an amplitude whose coordinate is its logarithm.
        max_fall: f64 = 0.9,
    }
}

constants! {
    /// When the Hessian contains the law's second derivatives.
    SecondDerivativeTuning {
        /// The predicted decrease, relative to the objective, below which they are used.
        near: f64 = 0.03,
        /// The gain ratio of the last step from which they are used.
        min_gain: f64 = 0.75,
    }
}

constants! {
    /// When the last step is taken without an evaluation.
    LastStepTuning {
        /// The largest decrease left after the last step, as a fraction of what is negligible.
        remainder: f64 = 0.01,
        /// The largest decrease that third derivatives leave after an uncorrected last step in normal coordinates, as a
        /// multiple of what is negligible; a corrected step leaves far less. With either condition alone, some in a thousand
        /// replicates of 30 observations end above ten times the limit of the certificate.
        third_order_remainder: f64 = 10.0,
    }
}

constants! {
    /// The watchdog.
    WatchdogTuning {
        /// The factor of the damping after an uphill step that paid: the next such step may be longer.
        damping_factor: f64 = 0.8,
        /// The largest ratio of objectives at which a refused step is followed: after a larger increase the step is more
        /// likely to have left the region of attraction.
        max_increase: f64 = 5.0,
        /// The smallest squared cosine (in the metric) between two steps that count as aligned.
        min_cosine_squared: f64 = 0.85,
    }
}

constants! {
    /// Normal coordinates.
    NormalCoordinateTuning {
        /// The number of times that the first step, which is the longest, is corrected; each correction is evaluated at the
        /// step as corrected before.
        corrections: usize = 2,
        /// The largest correction, as a fraction of the step in squared length; beyond it, terms of higher order matter as
        /// much.
        max_correction: f64 = 0.25,
        /// The largest number of parameters for which third derivatives are computed.
        max_parameters: usize = 8,
    }
}

constants! {
    /// Known optima.
    KnownOptimaTuning {
        /// The largest number of optima that are kept: comparing with many would cost more than it saves.
        max_kept: usize = 4,
        /// The largest deviation from the quadratic model of a known optimum, as a fraction of the change from the optimum to
        /// the search's point, at which a search is abandoned.
        model_tolerance: f64 = 0.1,
    }
}

constants! {
    /// When a search gives up, in evaluations.
    LimitTuning {
        /// The number of evaluations after which a search gives up.
        evaluations: u32 = 300,
        /// The number of evaluations before the first check of progress.
        slow_after: u32 = 48,
        /// The number of evaluations between two checks of progress.
        slow_interval: u32 = 16,
        /// The smallest relative decrease of the objective between two checks: with less, the path leads to infinity or is too
        /// long.
        slow_decrease: f64 = 1e-4,
        /// The number of times that the damping may grow within one proposal before a search counts as stalled.
        attempts: u32 = 60,
        /// The number of times that a lone search may run into its limit and be continued, the first run included.
        continuations: usize = 10,
    }
}

constants! {
    /// How many searches a fit makes.
    MultistartTuning {
        /// The number of searches of the first round for laws with at most 3, with 4, and with more coordinates that are
        /// drawn. Each later round doubles the number of searches made.
        first_round: [usize; 3] = [LANES, 2 * LANES, 4 * LANES],
        /// The largest number of searches for laws with 0, 1, 2, 3, 4, and more coordinates that are drawn.
        max_searches: [usize; 6] = [1, 16, 32, 64, 128, 256],
        /// The factor of both numbers for laws with corners (`min`, `max`, `abs`), whose pieces make many optima.
        corner_factor: usize = 8,
        /// The factor of both numbers for laws in which terms of unlike powers cross.
        crossing_factor: usize = 2,
        /// The number of times that the best optimum must have been found.
        times_found: usize = 3,
        /// The expected number of optima not found yet with which searches suffice.
        expected_unseen: f64 = 0.5,
        /// The largest relative difference of objectives at which two unfinished searches count as diverging along one path.
        same_divergence: f64 = 1e-2,
        /// The largest number of searches that are finished by the reference solver.
        max_finished: usize = 3,
        /// The largest number of times that collinear terms exchange their roles.
        max_exchanges: usize = 3,
        /// The number of observations from which a fit fills the lanes by itself when there are few searches. Run side by
        /// side, eight searches would wait for the slowest; run one after the other, those after the first find its optimum
        /// known.
        min_filling: usize = 192,
    }
}

constants! {
    /// How starts are generated.
    StartTuning {
        /// The number of generated points per search, which are screened by their objective.
        screened_per_search: usize = 2,
        /// The smallest number of points that are screened in a round.
        min_screened: usize = 4 * LANES,
        /// The number of points that complete a start of which some coordinates are given.
        completions: usize = 2 * LANES,
        /// The probability of the tail beyond either end of an interval, where one or two coordinates are unbounded. With more
        /// unbounded coordinates it is smaller, so that most points are within most intervals.
        tail: f64 = 0.125,
        /// The size, relative to the response, that a positive amplitude starts with where least squares would make it
        /// negative: small, but with a gradient.
        small_term: f64 = 1e-3,
    }
}

constants! {
    /// Starts for laws in which terms of unlike powers cross.
    CrossingTuning {
        /// The smallest number of points that are screened in a round: where terms cross, and how steeply, makes many optima.
        min_screened: usize = 32 * LANES,
        /// The range of the exponents of a step.
        step_exponents: [f64; 2] = [2.0, 100.0],
        /// The number of classes into which the places of steps are divided.
        places: usize = 8,
    }
}

constants! {
    /// The refits of replicates.
    ReplicateTuning {
        /// The damping of the first step under least squares: from the estimate an almost undamped step is right.
        damping: f64 = 1e-9,
        /// The damping of the first step under other losses: hardly any residual of a replicate may have curvature.
        damping_robust: f64 = 1e-4,
        /// The fraction of the IRLS curvature at the start.
        irls_fraction: f64 = 0.25,
        /// The number of iterations in which the reference solver finishes a replicate whose search did not converge.
        finishing_iterations: u32 = 50,
        /// The decrease of an amplitude's logarithm, a factor of a million, from which the amplitude may tend to zero.
        min_log_decrease: f64 = 13.8,
        /// The effect of a parameter that replicates begin with off its edge: the root mean square of `∂ T(prediction) / ∂
        /// coordinate` times the distance from the edge (for a logarithm, times one), as a share of the size of the response.
        edge_effect: f64 = 1e-3,
        /// Where no such effect is found, a coordinate with two ends begins at this share of the distance between them, and one
        /// with none at this value, which suits an exponent.
        edge_distance: f64 = 1e-2,
        /// The largest number of evaluations that look for the effect. The first few suffice where the prediction is linear in
        /// the parameter.
        edge_evaluations: usize = 100,
        /// The largest step of a logarithm towards the effect while it is too small to be a number: a thousandfold.
        edge_blind_step: f64 = 7.0,
    }
}

impl MultistartTuning {
    /// Returns the number of searches of the first round, by the number of coordinates that are drawn.
    #[must_use]
    pub fn first_round(&self, n_drawn: usize) -> usize {
        self.first_round[n_drawn.clamp(3, 5) - 3]
    }

    /// Returns the largest number of searches, by the number of coordinates that are drawn.
    #[must_use]
    pub fn max_searches(&self, n_drawn: usize) -> usize {
        self.max_searches[n_drawn.min(5)]
    }
}

#[cfg(test)]
mod tests {
    use crate::law::Residual;
    use crate::optimize::{FitOptions, Status, Workspace, fit};
    use crate::problem::Loss;
    use crate::testing::{Uniform, catalogue_law, problem};

    use super::Tuning;

    /// Returns the tunings in which one device is off, with its name.
    fn without_one_device() -> Vec<(String, Tuning)> {
        let whole = serde_json::to_value(Tuning::default()).unwrap();
        let devices = whole["devices"].as_object().unwrap().keys();
        let without = |device: &String| {
            let mut changed = whole.clone();
            changed["devices"][device] = false.into();
            (device.clone(), serde_json::from_value(changed).unwrap())
        };
        devices.map(without).collect()
    }

    /// Without any one device, a well-posed fit ends at the same optimum.
    #[test]
    fn optima_do_not_depend_on_a_device() {
        let mut uniform = Uniform(9);
        let x: Vec<f64> = (0..40).map(|_| 10.0 * uniform.between(0.0, 7.0).exp()).collect();
        let y: Vec<f64> =
            x.iter().map(|x| (1.5 + 4.0 * x.powf(-0.4)) * (1.0 + uniform.between(-0.02, 0.02))).collect();
        let law = catalogue_law("power-offset");
        let mut compared = 0;
        for (residual, loss) in [
            (Residual::Log, Loss::L2),
            (Residual::Linear, Loss::L2),
            (Residual::Log, Loss::Huber { delta: 1e-3 }),
        ] {
            let (models, problem) = problem(&law, residual, loss, &[("y", y.clone()), ("x", x.clone())]);
            let objective = |tuning: Tuning| {
                let options = FitOptions { tuning, ..FitOptions::default() };
                let found = fit(&models, problem.clone(), &options, &mut Workspace::default());
                assert_eq!(found.status, Status::Converged, "{}", found.message);
                found.objective()
            };
            let expected = objective(Tuning::default());
            for (device, tuning) in without_one_device() {
                let found = objective(tuning);
                assert!(
                    (found / expected - 1.0).abs() < 1e-12,
                    "{device}, {residual} {loss}: {found} {expected}"
                );
                compared += 1;
            }
        }
        assert!(compared >= 40, "{compared}");
    }
}
