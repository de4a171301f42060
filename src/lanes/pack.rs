//! Eight values in memory, one per lane: the storage of programs, sums and searches.

use super::Lanes;

/// The number of values of a pack.
pub const LANES: usize = super::MAX_WIDTH;

/// Eight values, one per lane, aligned to the widest vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Pack(pub [f64; LANES]);

impl Default for Pack {
    fn default() -> Self {
        Pack::ZERO
    }
}

impl Pack {
    /// The pack of zeros.
    pub const ZERO: Pack = Pack([0.0; LANES]);

    /// Returns a pack with all values equal to `value`.
    #[must_use]
    pub fn splat(value: f64) -> Pack {
        Pack([value; LANES])
    }
}

/// Loads the first lanes of a pack into a vector.
#[inline(always)]
pub(crate) fn load<L: Lanes>(token: L::Token, pack: &Pack) -> L {
    L::load(token, &pack.0)
}

/// Returns a mask as numbers: 1 where it is set, else 0.
#[inline(always)]
pub(crate) fn truth<L: Lanes>(mask: L::Mask, one: L) -> L {
    L::select(mask, one, one.fill(0.0))
}

/// Returns the mask that is set where a pack is 1.
#[inline(always)]
pub(crate) fn is_true<L: Lanes>(token: L::Token, pack: &Pack) -> L::Mask {
    load::<L>(token, pack).eq(L::splat(token, 1.0))
}

/// Replaces `packs` by `by` in the lanes of a mask.
#[inline(always)]
pub(crate) fn replace<L: Lanes>(token: L::Token, lanes: L::Mask, by: &[Pack], packs: &mut [Pack]) {
    for (pack, by) in packs.iter_mut().zip(by) {
        L::select(lanes, load(token, by), load(token, pack)).store(&mut pack.0);
    }
}
