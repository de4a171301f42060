//! Geodesic acceleration from the last step, without an evaluation of its own.
//!
//! Where a step has ended on the floor, the gradient differs from what its model foretold by what bent the step's way,
//! `h = ∇f(θ+δ) − (g + Hδ)`. A next step that goes `κ` times as far along the same way meets `κ²h`, and is bent by
//! `−(H + μM)⁻¹κ²h`: the geodesic acceleration of Transtrum & Sethna, of the last step instead of this one, but without
//! an evaluation.

use crate::lanes::{Lanes, is_true, load};

use super::state::Searches;

impl Searches {
    /// Bends steps as the last one was bent, where they go the same way and less far; what is to be taken from them is left
    /// in `turn`. Bent beyond what is known of the way, or besides the law's own second derivatives, searches went astray
    /// more often than before.
    #[inline(always)]
    pub(in crate::optimize) fn geodesic_acceleration<L: Lanes>(&mut self, token: L::Token, good: L::Mask) {
        let zero = L::splat(token, 0.0);
        let (further, same_way) = self.along_run::<L>(token);
        let elsewhere = is_true::<L>(token, &self.bent) | is_true::<L>(token, &self.watchdog.bold);
        let bends = good & !elsewhere & same_way & further.lt(zero.fill(1.0));
        if !L::any(bends) {
            self.turn.iter_mut().for_each(|turn| zero.store(&mut turn.0));
            return;
        }
        let share = further * further;
        for (turn, miss) in self.turn.iter_mut().zip(&self.watchdog.miss) {
            (load::<L>(token, miss) * share).store(&mut turn.0);
        }
        self.solve_for_turn::<L>(token);
        for (turn, rhs) in self.turn.iter_mut().zip(&self.rhs) {
            (-load::<L>(token, rhs)).store(&mut turn.0);
        }
        self.keep_small_turns::<L>(token, bends);
    }
}
