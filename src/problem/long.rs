//! One long fit: its observations in pieces, each spread over the lanes, evaluated by several threads.
//!
//! Eight fits side by side in lanes need eight times the memory of the data, which for thousands of observations
//! exceeds the caches, and they occupy one core. A long fit fills lanes and cores by itself. The pieces depend on the
//! number of observations alone, and their sums are added in order, so the bits of a sum do not depend on the number of
//! threads.

use fearless_simd::Level;
use rayon::prelude::*;

use crate::compile::Model;
use crate::lanes::{LANES, Pack};

use super::{CurvatureMix, LaneData, Loss, Objective, Order, Part, Problem, ProgramWorkspace, Sums};

/// The number of observations above which a fit is long: from here on, lanes that are never empty save more than eight
/// searches side by side (measured on Chinchilla with 20 and with 100 replicates).
pub const LONG: usize = 1024;

/// The number of observations per piece, whose data fits the cache of a core.
const PIECE: usize = 4096;

/// The largest number of observations with which starts are made.
pub const SAMPLE: usize = 512;

/// The number of pieces below which handing them to another thread costs more than it saves.
const MIN_PIECES_PER_THREAD: usize = 2;

/// One fit in pieces, whose buffers are reused from fit to fit.
#[derive(Debug, Default)]
pub struct LongData {
    pieces: Vec<Piece>,
    /// The number of pieces in use.
    n: usize,
    /// The sums of the pieces.
    sums: Vec<Sums>,
}

/// Some observations of a long fit, and the buffers with which they are evaluated.
#[derive(Debug, Default)]
struct Piece {
    data: LaneData,
    workspace: ProgramWorkspace,
}

impl LongData {
    /// Loads a part of a fit.
    pub fn load<'p>(&mut self, problem: &Problem, part: Part<'p>) {
        // Without observations there is one empty piece, whose sums are zero.
        self.n = part.rows.len().div_ceil(PIECE).max(1);
        if self.pieces.len() < self.n {
            self.pieces.resize_with(self.n, Piece::default);
        }
        let cut = |(number, rows): (usize, &'p [u32])| {
            let range = number * PIECE..number * PIECE + rows.len();
            let target = part.target.map(|target| &target[range.clone()]);
            Part { rows, weight: &part.weight[range], target }
        };
        let mut cuts: Vec<Part> = part.rows.chunks(PIECE).enumerate().map(cut).collect();
        cuts.resize(self.n, Part::new(&[], &[]));
        each(&mut self.pieces[..self.n], &mut cuts, |piece, part| piece.data.spread_part(problem, *part));
    }

    /// Computes objective, gradient and Hessian of the loaded part. All lanes of `coordinates` are one point, and every
    /// lane of `sums` holds the sums.
    pub fn evaluate(
        &mut self,
        level: Level,
        (model, loss, mix): (&Model, Loss, &CurvatureMix),
        coordinates: &[Pack],
        sums: &mut Sums,
    ) {
        let mut parts = std::mem::take(&mut self.sums);
        parts.resize_with(self.n.max(parts.len()), Sums::default);
        each(&mut self.pieces[..self.n], &mut parts[..self.n], |Piece { data, workspace }, sums| {
            let objective = Objective { model, loss, order: Order::Hessian, data, mix };
            objective.evaluate(level, coordinates, workspace, sums);
        });
        sums.packs.clone_from(&parts[0].packs);
        for part in &parts[1..self.n] {
            for (sum, part) in sums.packs.iter_mut().zip(&part.packs) {
                for lane in 0..LANES {
                    sum.0[lane] += part.0[lane];
                }
            }
        }
        sums.add_lanes();
        self.sums = parts;
    }
}

/// Calls `work` on every piece and its element of `parts`, in any order, on several threads where there are many
/// pieces.
fn each<P: Send>(pieces: &mut [Piece], parts: &mut [P], work: impl Fn(&mut Piece, &mut P) + Sync) {
    if pieces.len() <= MIN_PIECES_PER_THREAD {
        pieces.iter_mut().zip(parts).for_each(|(piece, part)| work(piece, part));
    } else {
        let pieces = pieces.par_iter_mut().with_min_len(MIN_PIECES_PER_THREAD);
        pieces.zip(parts).for_each(|(piece, part)| work(piece, part));
    }
}
