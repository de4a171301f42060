//! What searches are made of: what they are told, where they are, how they end.

use crate::compile::{Coordinate, Scale};
use crate::lanes::{LANES, Pack};
use crate::linalg::triangle;
use crate::problem::{Loss, Mix, Sums};

/// The problem's constants that a search needs.
#[derive(Clone, Debug)]
pub struct SearchSettings<'a> {
    pub bounds: &'a [(f64, f64)],
    /// Diagonal of the metric; 0 where it is to be taken from the Hessian's diagonal.
    pub metric: &'a [f64],
    /// What rounding of the data alone can change in the objective.
    pub floor: f64,
    /// Damping at the start, in units of the metric.
    pub damping: f64,
    /// Share of the reweighting's curvature at the start: 1 where that may be far from the optimum.
    pub share: f64,
    /// Whether a search takes what mostly pays and may lead astray: the law's own second derivatives near optima, climbs,
    /// bent steps.
    pub daring: bool,
    /// Whether the law's own second derivatives are used from the start.
    pub bent: bool,
    pub loss: Loss,
    /// Σ w: turns the objective into a typical ρ.
    pub total_weight: f64,
    /// Coordinates in which least squares is linear, and whether by their exponential; empty where there are
    /// none.
    pub linear: &'a [(usize, Scale)],
    /// Whether the start's own amplitudes are to be solved too; drawn starts come with theirs solved.
    pub project_start: bool,
    /// Evaluations after which the search gives up.
    pub most_iterations: u32,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The Newton step promises a decrease that is negligible against the objective.
    Converged,
    /// The Newton step promises next to nothing, and yet would move a coordinate by more than [`SETTLED`](super::SETTLED) of itself: the
    /// objective flattens towards infinity.
    Drifting,
    /// No step decreases the objective although the model promises it.
    Stalled,
    /// The limit of evaluations; or, where other searches make up for this one, the objective has hardly fallen for long.
    Limit,
    /// The objective is not finite at the start.
    NotFinite,
    /// On its way to the optimum of this number, which another search has found.
    Abandoned(usize),
}

/// Eight searches in progress. Vectors hold one pack per coordinate; truth values are 1 and 0.
#[derive(Debug, Default)]
pub struct Searches {
    pub theta: Vec<Pack>,
    /// Where the objective is wanted next.
    pub trial: Vec<Pack>,
    /// Objective, gradient, Hessian at `theta`.
    pub at: Sums,
    /// What the Hessian of the next evaluation is mixed from.
    pub mix: Mix,
    /// Evaluations so far, and the most that are made.
    pub iterations: [u32; LANES],
    pub(in crate::optimize) most_iterations: [u32; LANES],
    /// Whether a lane gives up where it creeps, and its objective when it last looked.
    pub(in crate::optimize) impatient: [bool; LANES],
    pub(in crate::optimize) last_looked: [f64; LANES],
    pub(in crate::optimize) low: Vec<Pack>,
    pub(in crate::optimize) high: Vec<Pack>,
    pub(in crate::optimize) metric: Vec<Pack>,
    /// Where the metric follows the Hessian's diagonal.
    pub(in crate::optimize) from_column: Vec<Pack>,
    pub(in crate::optimize) floor: Pack,
    pub(in crate::optimize) total_weight: Pack,
    pub(in crate::optimize) first_damping: Pack,
    pub(in crate::optimize) damping: Pack,
    pub(in crate::optimize) growth: Pack,
    /// How much a typical residual pulls at the start, against least squares.
    pub(in crate::optimize) pull: Pack,
    pub(in crate::optimize) predicted: Pack,
    /// The promise of the last step that was taken; 0 where there is none.
    pub(in crate::optimize) fulfilled: Pack,
    pub(in crate::optimize) started: Pack,
    /// The trial point has had its amplitudes solved.
    pub(in crate::optimize) projected: Pack,
    /// The Hessian at `theta` has the law's own second derivatives in it, and the one before had.
    pub(in crate::optimize) bent: Pack,
    pub(in crate::optimize) was_bent: Pack,
    /// The last step kept its promise.
    pub(in crate::optimize) kept: Pack,
    /// Whether the search has converged on a point that is not settled.
    pub(in crate::optimize) drifting: Pack,
    pub(in crate::optimize) watchdog: Watchdog,
    // Scratch.
    pub(in crate::optimize) hessian: Vec<Pack>,
    pub(in crate::optimize) free: Vec<Pack>,
    pub(in crate::optimize) step: Vec<Pack>,
    pub(in crate::optimize) turn: Vec<Pack>,
    pub(in crate::optimize) straight: Vec<Pack>,
    pub(in crate::optimize) matrix: Vec<Pack>,
    pub(in crate::optimize) rhs: Vec<Pack>,
}

/// What the searches of a batch have in common.
#[derive(Clone, Copy, Debug)]
pub struct SharedSettings<'a> {
    pub loss: Loss,
    pub coordinates: &'a [Coordinate],
    pub linear: &'a [(usize, Scale)],
    pub project_start: bool,
    /// As in [`SearchSettings`].
    pub daring: bool,
    /// Connection and third derivatives that are close to all of theirs, as in
    /// [`Expansion`](crate::optimize::Expansion); empty where there are none.
    pub connection: &'a [f64],
    pub third: &'a [f64],
}

/// What searches know of the valleys that they are in.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// Where the lanes are that have gone uphill, 1 and 0.
    pub bold: Pack,
    /// The lowest point of these, and the sums there.
    pub(in crate::optimize) theta: Vec<Pack>,
    pub(in crate::optimize) sums: Sums,
    pub(in crate::optimize) bent: Pack,
    /// The last step that ended lower, and what the gradient at its end differed from what was foretold.
    pub(in crate::optimize) run: Vec<Pack>,
    pub(in crate::optimize) miss: Vec<Pack>,
}

impl Watchdog {
    /// Room for searches over `p` coordinates.
    pub fn prepare(&mut self, p: usize) {
        for packs in [&mut self.theta, &mut self.run, &mut self.miss] {
            packs.clear();
            packs.resize(p, Pack::ZERO);
        }
        self.sums.packs.clear();
        self.sums.packs.resize(1 + p + triangle(p), Pack::ZERO);
    }

    /// Forgets what a lane's last search knew.
    pub fn begin(&mut self, lane: usize) {
        self.bold.0[lane] = 0.0;
        for pack in self.run.iter_mut().chain(&mut self.miss) {
            pack.0[lane] = 0.0;
        }
    }
}
