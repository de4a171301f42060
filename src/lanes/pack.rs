//! Eight values side by side: what programs, sums and searches are made of.

use super::Lanes;

/// Values per pack.
pub const LANES: usize = super::MAX_WIDTH;

/// Eight values side by side, aligned for one load.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Pack(pub [f64; LANES]);

impl Default for Pack {
    fn default() -> Self {
        Pack::ZERO
    }
}

impl Pack {
    pub const ZERO: Pack = Pack([0.0; LANES]);

    #[must_use]
    pub fn splat(value: f64) -> Pack {
        Pack([value; LANES])
    }
}

/// A pack as a vector.
#[inline(always)]
pub(crate) fn load<L: Lanes>(token: L::Token, pack: &Pack) -> L {
    L::load(token, &pack.0)
}

/// A mask as numbers: 1 where it is set, else 0.
#[inline(always)]
pub(crate) fn truth<L: Lanes>(mask: L::Mask, one: L) -> L {
    L::select(mask, one, one.fill(0.0))
}

/// Numbers as a mask: set where they are 1.
#[inline(always)]
pub(crate) fn is_true<L: Lanes>(token: L::Token, pack: &Pack) -> L::Mask {
    load::<L>(token, pack).eq(L::splat(token, 1.0))
}

/// Puts `by` in the place of `packs` in some lanes.
#[inline(always)]
pub(crate) fn replace<L: Lanes>(token: L::Token, lanes: L::Mask, by: &[Pack], packs: &mut [Pack]) {
    for (pack, by) in packs.iter_mut().zip(by) {
        L::select(lanes, load(token, by), load(token, pack)).store(&mut pack.0);
    }
}
