//! The settings of a search, the state of eight searches in the lanes, and the ways in which a search ends.

use crate::compile::{Coordinate, Scale};
use crate::lanes::{LANES, Pack};
use crate::linalg::triangle;
use crate::optimize::tuning::Tuning;
use crate::problem::{CurvatureMix, Loss, Sums};

/// The settings of a search: constants of its problem and how it begins.
#[derive(Clone, Debug)]
pub struct SearchSettings<'a> {
    /// Lower and upper bound per coordinate.
    pub bounds: &'a [(f64, f64)],
    /// The diagonal of the metric; 0 where it is taken from the diagonal of the Hessian.
    pub metric: &'a [f64],
    /// The change of the objective that rounding of the data alone can cause.
    pub floor: f64,
    /// The damping at the start, relative to the metric.
    pub damping: f64,
    /// The fraction of the IRLS curvature at the start, in [0, 1]: 1 where the start may be far from the optimum.
    pub irls_fraction: f64,
    /// Whether the search uses what mostly pays but can lead it astray: the law's second derivatives near optima,
    /// watchdog steps, and an early end where progress is slow.
    pub accelerated: bool,
    /// Whether the law's second derivatives are in the Hessian from the start.
    pub second_derivatives: bool,
    pub loss: Loss,
    /// Σ w: turns the objective into a typical value of ρ.
    pub total_weight: f64,
    /// The coordinates in which least squares is linear, and their scale; empty where there are none.
    pub linear: &'a [(usize, Scale)],
    /// Whether the amplitudes of the start are solved too; those of drawn starts are solved already.
    pub project_start: bool,
    /// The number of evaluations after which the search gives up.
    pub max_iterations: u32,
    /// The constants and devices of the search.
    pub tuning: &'a Tuning,
}

/// The reason why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The predicted decrease of the Newton step is negligible against the objective.
    Converged,
    /// The predicted decrease of the Newton step is negligible, but the step would move a coordinate by more than
    /// [`SETTLED`](super::SETTLED) of itself: the objective flattens towards infinity.
    Drifting,
    /// No step decreases the objective although the quadratic model predicts a decrease.
    Stalled,
    /// The limit of evaluations is reached, or progress is slow where other searches make up for this one.
    Limit,
    /// The objective is not finite at the start.
    NotFinite,
    /// The search converges to the known optimum of this number.
    Abandoned(usize),
}

/// The state of eight searches. Vectors hold one pack per coordinate, in solver coordinates; truth values are 1 and 0.
#[derive(Debug, Default)]
pub struct Searches {
    /// The last accepted point.
    pub theta: Vec<Pack>,
    /// The point at which the objective is evaluated next.
    pub trial: Vec<Pack>,
    /// Objective, gradient and Hessian at `theta`.
    pub at: Sums,
    /// The composition of the Hessian at the next evaluation.
    pub mix: CurvatureMix,
    /// The number of evaluations so far.
    pub iterations: [u32; LANES],
    /// The largest number of evaluations.
    pub(in crate::optimize) max_iterations: [u32; LANES],
    /// Whether the search ends where its progress is slow.
    pub(in crate::optimize) stops_early: [bool; LANES],
    /// The objective when progress was last checked.
    pub(in crate::optimize) checked_objective: [f64; LANES],
    pub(in crate::optimize) low: Vec<Pack>,
    pub(in crate::optimize) high: Vec<Pack>,
    pub(in crate::optimize) metric: Vec<Pack>,
    /// 1 where the metric follows the diagonal of the Hessian.
    pub(in crate::optimize) from_column: Vec<Pack>,
    pub(in crate::optimize) floor: Pack,
    pub(in crate::optimize) total_weight: Pack,
    pub(in crate::optimize) first_damping: Pack,
    pub(in crate::optimize) damping: Pack,
    /// The factor by which the damping grows after the next refused step.
    pub(in crate::optimize) growth: Pack,
    /// The IRLS weight `ρ′(u)/u` of a typical residual at the start, which is 1 for least squares.
    pub(in crate::optimize) typical_weight: Pack,
    /// The predicted decrease at `trial`.
    pub(in crate::optimize) predicted: Pack,
    /// The predicted decrease of the last accepted step; 0 where there is none.
    pub(in crate::optimize) last_predicted: Pack,
    /// 1 once the objective at the start is known.
    pub(in crate::optimize) started: Pack,
    /// 1 where the amplitudes of the trial point have been solved.
    pub(in crate::optimize) projected: Pack,
    /// 1 where the Hessian at `theta` contains the law's second derivatives.
    pub(in crate::optimize) has_second_derivatives: Pack,
    /// 1 where the Hessian at the accepted point before `theta` contained the law's second derivatives.
    pub(in crate::optimize) had_second_derivatives: Pack,
    /// 1 where the gain ratio of the last step was high.
    pub(in crate::optimize) gain_was_high: Pack,
    /// 1 where the search has converged at a point that is not settled.
    pub(in crate::optimize) drifting: Pack,
    pub(in crate::optimize) watchdog: Watchdog,
    // Buffers of one proposal.
    pub(in crate::optimize) hessian: Vec<Pack>,
    pub(in crate::optimize) free: Vec<Pack>,
    pub(in crate::optimize) step: Vec<Pack>,
    pub(in crate::optimize) correction: Vec<Pack>,
    pub(in crate::optimize) uncorrected: Vec<Pack>,
    pub(in crate::optimize) matrix: Vec<Pack>,
    pub(in crate::optimize) rhs: Vec<Pack>,
}

/// The settings that the searches of a batch have in common; the fields named as in [`SearchSettings`] mean the same.
#[derive(Clone, Copy, Debug)]
pub struct SharedSettings<'a> {
    pub loss: Loss,
    pub coordinates: &'a [Coordinate],
    pub linear: &'a [(usize, Scale)],
    pub project_start: bool,
    /// As in [`SearchSettings`].
    pub accelerated: bool,
    /// The connection, as in [`Expansion`](crate::optimize::Expansion); empty where it is not known.
    pub connection: &'a [f64],
    /// The third derivatives of the objective, as in [`Expansion`](crate::optimize::Expansion); empty where they are
    /// not known.
    pub third: &'a [f64],
    pub tuning: &'a Tuning,
}

/// The memory of the watchdog.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// 1 in the lanes whose last accepted step increased the objective.
    pub relaxed: Pack,
    /// The point to which such a lane returns.
    pub(in crate::optimize) theta: Vec<Pack>,
    /// Objective, gradient and Hessian at the point of return.
    pub(in crate::optimize) sums: Sums,
    /// 1 where the Hessian at the point of return contains the law's second derivatives.
    pub(in crate::optimize) has_second_derivatives: Pack,
    /// The last step that decreased the objective.
    pub(in crate::optimize) last_step: Vec<Pack>,
}

impl Watchdog {
    /// Resizes the buffers to `p` coordinates.
    pub fn prepare(&mut self, p: usize) {
        for packs in [&mut self.theta, &mut self.last_step] {
            packs.clear();
            packs.resize(p, Pack::ZERO);
        }
        self.sums.packs.clear();
        self.sums.packs.resize(1 + p + triangle(p), Pack::ZERO);
    }

    /// Clears the memory of a lane.
    pub fn begin(&mut self, lane: usize) {
        self.relaxed.0[lane] = 0.0;
        self.last_step.iter_mut().for_each(|pack| pack.0[lane] = 0.0);
    }
}
