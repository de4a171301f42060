//! One long fit: its observations in pieces, each spread over the lanes, that threads evaluate side by side.
//!
//! Eight fits side by side in lanes need eight times the data's memory, which for thousands of observations no longer
//! fits the caches, and they fill one core. A long fit fills buffers by itself, and cores too. Where it is cut depends
//! on its observations alone, and the pieces' sums are added in their order, so that the bits of a sum do not depend
//! on the threads.

use std::cell::RefCell;

use fearless_simd::Level;
use rayon::prelude::*;

use crate::compile::Model;
use crate::lanes::{LANES, Pack};

use super::{CurvatureMix, LaneData, Loss, Objective, Order, Part, Problem, ProgramWorkspace, Sums};

/// A fit of more observations than this is long: from here on lanes that are never empty save more than the steps of
/// eight searches at once (measured on Chinchilla with 20 and with 100 replicates).
pub const LONG: usize = 1024;

/// Observations per piece: its data stays in a core's own cache.
const PIECE: usize = 4096;

/// Observations that show where searches should begin.
pub const SAMPLE: usize = 512;

/// Pieces below which handing them to other threads costs more than it saves.
const WORTH_SHARING: usize = 2;

/// One fit in pieces; buffers are reused from fit to fit.
#[derive(Debug, Default)]
pub struct LongData {
    pieces: Vec<LaneData>,
    /// Pieces in use.
    n: usize,
    /// Scratch: the pieces' sums.
    sums: Vec<Sums>,
}

thread_local! {
    // Borrowed while one piece is evaluated and never across a call into rayon, which may run anything meanwhile.
    static WORKSPACE: RefCell<ProgramWorkspace> = RefCell::default();
}

impl LongData {
    /// Takes a part of a fit.
    pub fn load(&mut self, problem: &Problem, part: Part) {
        // Without any observation there is still a sum, of zeros.
        self.n = part.rows.len().div_ceil(PIECE).max(1);
        if self.pieces.len() < self.n {
            self.pieces.resize_with(self.n, LaneData::default);
        }
        let cuts = part.rows.chunks(PIECE).zip(part.weight.chunks(PIECE));
        let mut cuts: Vec<Part> = cuts.map(|(rows, weight)| Part { rows, weight }).collect();
        cuts.resize(self.n, Part { rows: &[], weight: &[] });
        each(&mut self.pieces[..self.n], &mut cuts, |piece, part| piece.spread_part(problem, *part));
    }

    /// Objective, gradient and Hessian of what is held; every lane of `sums` has the whole. All lanes of
    /// `coordinates` are one point.
    pub fn evaluate(
        &mut self,
        level: Level,
        (model, loss, mix): (&Model, Loss, &CurvatureMix),
        coordinates: &[Pack],
        sums: &mut Sums,
    ) {
        let mut parts = std::mem::take(&mut self.sums);
        parts.resize_with(self.n.max(parts.len()), Sums::default);
        each(&mut self.pieces[..self.n], &mut parts[..self.n], |data, sums| {
            WORKSPACE.with_borrow_mut(|workspace| {
                Objective { model, loss, order: Order::Hessian, data, mix }.evaluate(
                    level,
                    coordinates,
                    workspace,
                    sums,
                );
            });
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

/// Does the same with every piece and its own part of something, in any order, on as many threads as are free where
/// there are many pieces.
fn each<P: Send>(pieces: &mut [LaneData], parts: &mut [P], work: impl Fn(&mut LaneData, &mut P) + Sync) {
    if pieces.len() <= WORTH_SHARING {
        pieces.iter_mut().zip(parts).for_each(|(piece, part)| work(piece, part));
    } else {
        let pieces = pieces.par_iter_mut().with_min_len(WORTH_SHARING);
        pieces.zip(parts).for_each(|(piece, part)| work(piece, part));
    }
}
