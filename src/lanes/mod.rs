//! Vector mathematics: one generic source for the scalar path and every SIMD width.
//!
//! A function written over [`Lanes`] gives the same bits for a lone `f64` and for each lane of
//! an eight-wide vector, on every instruction set: it may only use addition, multiplication,
//! division, square root, fused multiply-add and integer operations, each of which IEEE 754 (or
//! integer arithmetic) defines to the last bit. The order of evaluation is therefore part of a
//! function's contract, and so are its coefficients. The one freedom left is the sign and
//! payload of a NaN result.
//!
//! Everything here is `#[inline(always)]`, because a vector operation only becomes an instruction
//! once it is inlined into a caller that enables the instruction set (`fearless_simd::dispatch!`
//! or `Simd::vectorize`). The scalar path too is at its fastest inside such a caller: elsewhere
//! each fused multiply-add may become a call.

mod exp;
mod hyper;
mod ln;
mod pack;
mod pairs;
mod pow;
pub mod root;
pub mod scalar;
mod trig;
mod types;

pub use exp::exp;
pub use hyper::{log_add_exp, sigmoid, tanh};
pub use ln::{ln, log2, log10};
pub use pack::{LANES, Pack};
pub(crate) use pack::{is_true, load, replace, truth};
pub use pow::pow;
pub use trig::{atan, cos, sin, tan};

use core::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Shl, Shr, Sub};

/// The widest vector that implements [`Lanes`]; sizes the buffers of the lane-by-lane paths.
pub const MAX_WIDTH: usize = 8;

/// The 64-bit integer view of a [`Lanes`] value. Addition and subtraction wrap.
pub trait LaneBits:
    Copy
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
    /// Wrapping sum.
    fn plus(self, other: Self) -> Self;
    /// Wrapping difference.
    fn minus(self, other: Self) -> Self;
}

/// Sixteen values: as many as two registers of the widest vectors hold, where one instruction finds
/// eight of them. Elsewhere each lane loads its own.
#[repr(align(64))]
pub struct LookupTable([f64; 16]);

/// A vector of `f64`; one lane is the scalar path.
pub trait Lanes:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// Proof that the instruction set is there: `()` for `f64`, the level's token for vectors.
    type Token: Copy;
    /// One truth value per lane.
    type Mask: Copy + BitAnd<Output = Self::Mask> + BitOr<Output = Self::Mask> + Not<Output = Self::Mask>;
    /// The lanes' bit patterns.
    type Bits: LaneBits;
    /// Vectors of four lanes at most.
    type Half: Lanes<Token = Self::Token>;
    /// The number of lanes.
    const WIDTH: usize;

    /// Runs `f`, which must inline into this call, with the token's vector instructions.
    fn vectorize<R>(token: Self::Token, f: impl FnOnce() -> R) -> R;
    /// Whether this takes several registers where `Half` would do with fewer: then there are too few for many sums.
    fn is_split(token: Self::Token) -> bool;
    /// The token this value was made with.
    fn token(self) -> Self::Token;
    /// All lanes equal to `value`.
    fn splat(token: Self::Token, value: f64) -> Self;
    /// The first [`WIDTH`](Self::WIDTH) elements of `from`. Panics if there are fewer.
    fn load(token: Self::Token, from: &[f64]) -> Self;
    /// Writes the first [`WIDTH`](Self::WIDTH) elements of `to`. Panics if there are fewer.
    fn store(self, to: &mut [f64]);

    /// `self * b + c` with one rounding, on every instruction set.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The absolute value, of a NaN too.
    fn abs(self) -> Self;
    /// The correctly rounded square root.
    fn sqrt(self) -> Self;
    /// The largest integer not above.
    fn floor(self) -> Self;
    /// The nearest integer, the even one of two.
    fn round_ties_even(self) -> Self;

    /// `self == other`; false if either is NaN, as for all comparisons here.
    fn eq(self, other: Self) -> Self::Mask;
    /// `self < other`.
    fn lt(self, other: Self) -> Self::Mask;
    /// `self <= other`.
    fn le(self, other: Self) -> Self::Mask;
    /// `self > other`.
    #[inline(always)]
    fn gt(self, other: Self) -> Self::Mask {
        other.lt(self)
    }
    /// `self >= other`.
    #[inline(always)]
    fn ge(self, other: Self) -> Self::Mask {
        other.le(self)
    }
    /// Whether the lane is NaN.
    #[inline(always)]
    fn is_nan(self) -> Self::Mask {
        !self.eq(self)
    }
    /// `yes` where the mask holds, `no` elsewhere.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Whether the mask holds in some lane.
    fn any(mask: Self::Mask) -> bool;
    /// Whether the mask holds in every lane.
    #[inline(always)]
    fn all(mask: Self::Mask) -> bool {
        !Self::any(!mask)
    }

    /// The lanes' bit patterns.
    fn to_bits(self) -> Self::Bits;
    /// The lanes with these bit patterns, and the token of `self`.
    fn from_bits(bits: Self::Bits) -> Self;
    /// All lanes' bits equal to `bits`.
    fn splat_bits(token: Self::Token, bits: u64) -> Self::Bits;
    /// The entries of the table that the lowest four bits of each lane name.
    fn look_up(table: &LookupTable, index: Self::Bits) -> Self;

    /// All lanes equal to `value`, with this value's token.
    #[inline(always)]
    fn fill(self, value: f64) -> Self {
        Self::splat(self.token(), value)
    }
    /// All lanes' bits equal to `bits`, with this value's token.
    #[inline(always)]
    fn fill_bits(self, bits: u64) -> Self::Bits {
        Self::splat_bits(self.token(), bits)
    }
    /// The smaller of two, `other` if they are equal, NaN if either is.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // Hardware minima differ in what they make of a NaN, hence the two selects.
        let least = Self::select(self.lt(other), self, other);
        Self::select(self.is_nan(), self, least)
    }
    /// The larger of two, `other` if they are equal, NaN if either is.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        let most = Self::select(self.gt(other), self, other);
        Self::select(self.is_nan(), self, most)
    }
    /// The magnitude of `self` with the sign of `sign`.
    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        let magnitude = self.to_bits() & self.fill_bits(!SIGN);
        Self::from_bits(magnitude | (sign.to_bits() & self.fill_bits(SIGN)))
    }
}

/// Returns the smaller of two numbers: the second where they are equal, such as zeros of unlike sign, and NaN where either is,
/// for a missing value must not vanish.
///
/// This is the rule for `min` and [`max`] wherever formulas are evaluated: on columns, in compiled programs, and where
/// constants are folded.
#[inline(always)]
pub fn min<L: Lanes>(a: L, b: L) -> L {
    Lanes::min(a, b)
}

/// Returns the larger of two numbers, by the rule of [`min`].
#[inline(always)]
pub fn max<L: Lanes>(a: L, b: L) -> L {
    Lanes::max(a, b)
}

const SIGN: u64 = 1 << 63;

/// `result`, with `f(x)` lane by lane where the mask holds.
#[cold]
#[inline(always)]
fn patch<L: Lanes>(result: L, mask: L::Mask, x: L, f: fn(f64) -> f64) -> L {
    let (mut to, mut from, mut wanted) = ([0.0; MAX_WIDTH], [0.0; MAX_WIDTH], [0.0; MAX_WIDTH]);
    result.store(&mut to);
    x.store(&mut from);
    L::select(mask, x.fill(1.0), x.fill(0.0)).store(&mut wanted);
    for lane in 0..L::WIDTH {
        if wanted[lane] != 0.0 {
            to[lane] = f(from[lane]);
        }
    }
    L::load(x.token(), &to)
}

#[cfg(test)]
mod tests;
