//! The operands of a loop over a block of packs.

use std::cell::Cell;

use crate::lanes::{Lanes, Pack};

/// The number of packs per block: large enough that decoding is cheap, small enough that the registers of a program,
/// some ten for most laws, stay in the first-level cache.
pub const BLOCK: usize = 32;

/// An operand of a loop over a block: the k-th pack, or the same pack throughout.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    pub(super) packs: &'a [Cell<Pack>],
    /// The stride: 1, or 0 for the same pack throughout.
    pub(super) stride: usize,
}

impl<'a> Operands<'a> {
    /// Returns an operand with one pack per step.
    pub fn each(packs: &'a [Cell<Pack>]) -> Self {
        Operands { packs, stride: 1 }
    }

    /// Returns the k-th pack.
    #[inline(always)]
    #[must_use]
    pub fn pack(&self, k: usize) -> Pack {
        self.packs[k * self.stride].get()
    }

    /// Returns lanes `lane..lane + L::WIDTH` of the k-th pack.
    #[inline(always)]
    pub fn get<L: Lanes>(&self, token: L::Token, k: usize, lane: usize) -> L {
        L::load(token, &self.pack(k).0[lane..])
    }

    /// Checks that there are `len` packs to read, which makes [`Operands::get_unchecked`] safe for every `k < len`.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[inline(always)]
    pub(crate) fn assert_covers(&self, len: usize) {
        assert!(self.packs.len() > self.stride * len.saturating_sub(1), "a block reads beyond its data");
    }

    /// [`Operands::get`] without its check: in the loops over a block the checks cost a tenth of all time.
    ///
    /// # Safety
    ///
    /// [`Operands::assert_covers`] must have returned for some `len > k`.
    #[inline(always)]
    pub(crate) unsafe fn get_unchecked<L: Lanes>(&self, token: L::Token, k: usize, lane: usize) -> L {
        // SAFETY: k·stride is at most (len − 1)·stride, which was found to be inside. Nothing writes to the
        // cell while this reference, which does not leave the function, is alive.
        let pack = unsafe { &*(*self.packs.as_ptr().add(k * self.stride)).as_ptr() };
        L::load(token, &pack.0[lane..])
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::catch_unwind;

    use super::Operands;
    use crate::lanes::Pack;

    /// A length is refused unless all packs up to it are there: the last of them, or the one that is read throughout.
    #[test]
    fn packs_are_covered_only_where_they_are() {
        let covers = |n: usize, stride: usize, len: usize| {
            catch_unwind(|| {
                let packs = vec![Cell::new(Pack::ZERO); n];
                Operands { packs: &packs, stride }.assert_covers(len);
            })
            .is_ok()
        };
        for (n, stride, len, expected) in [
            (3, 1, 3, true),
            (3, 1, 4, false),
            (0, 1, 1, false),
            (1, 0, 32, true),
            (0, 0, 1, false),
            (3, 1, usize::MAX, false),
        ] {
            assert_eq!(covers(n, stride, len), expected, "{n} {stride} {len}");
        }
    }
}
