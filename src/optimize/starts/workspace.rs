//! The buffers that starts are generated with.

use crate::lanes::Pack;
use crate::optimize::points::Points;

use super::amplitudes::SignedLeastSquares;
use super::crossing::Gaps;
use super::draw_interval::Draw;
use super::evaluator::Evaluator;

/// The buffers of starts, kept from fit to fit.
#[derive(Debug, Default)]
pub struct StartWorkspace {
    pub evaluator: Evaluator,
    /// The observations of the problem's sample.
    pub sample: Vec<u32>,
    /// The generated points, first in natural units, then in solver coordinates.
    pub points: Points,
    /// Eight points side by side.
    pub packs: Vec<Pack>,
    pub least_squares: SignedLeastSquares,
    pub shifts: Vec<f64>,
    /// The points of the log-linear part, in solver coordinates.
    pub thetas: Points,
    /// These points in natural units.
    pub naturals: Vec<f64>,
    /// The inverse responses of the sample.
    pub inverse: Vec<f64>,
    pub intervals: Vec<Draw>,
    pub ascending: Vec<f64>,
    pub gaps: Gaps,
    /// The responses of the sample, repeated over the lanes.
    pub response: Vec<Pack>,
    /// The weights of the responses in normal equations.
    pub row_weight: Vec<Pack>,
    /// The amplitudes that are not solved.
    pub held: Vec<Pack>,
    pub objectives: Vec<f64>,
    pub ranked: Vec<usize>,
    /// The region of each point (see `Starts::drawn_regions`).
    pub regions: Vec<usize>,
    pub chosen: Vec<usize>,
}
