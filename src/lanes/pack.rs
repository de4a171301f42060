//! Eight values side by side: what programs, sums and searches are made of.

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

    pub fn splat(value: f64) -> Pack {
        Pack([value; LANES])
    }
}
