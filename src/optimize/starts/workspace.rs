//! Buffers that starts are drawn with.

use crate::lanes::Pack;
use crate::optimize::points::Points;

use super::amplitudes::SignedLeastSquares;
use super::crossing::Gaps;
use super::evaluator::Evaluator;
use super::interval::Draw;

/// Buffers of starts, kept from fit to fit.
#[derive(Debug, Default)]
pub struct StartWorkspace {
    pub evaluator: Evaluator,
    pub sample: Vec<u32>,
    /// The design's points, at first in natural units.
    pub points: Points,
    /// Eight of them side by side.
    pub packs: Vec<Pack>,
    pub least_squares: SignedLeastSquares,
    pub shifts: Vec<f64>,
    /// Of the log_linear: points, the same in natural units, and `1/response`.
    pub thetas: Points,
    pub naturals: Vec<f64>,
    pub inverse: Vec<f64>,
    pub intervals: Vec<Draw>,
    pub ascending: Vec<f64>,
    pub gaps: Gaps,
    /// Responses and their weights in normal equations, and the amplitudes that are not solved.
    pub response: Vec<Pack>,
    pub row_weight: Vec<Pack>,
    pub held: Vec<Pack>,
    pub objectives: Vec<f64>,
    pub ranked: Vec<usize>,
    /// Of each point, the kind of curve that it stands for: which coordinates were drawn beyond their intervals' ends.
    pub regions: Vec<usize>,
    pub chosen: Vec<usize>,
}
