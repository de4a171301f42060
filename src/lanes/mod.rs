//! Computes with SIMD vectors of `f64`: elementary functions and roots, from one generic source for all widths.
//!
//! A function over [`Lanes`] returns bit-identical values for an `f64` and for each lane of a vector, on every
//! instruction set. It may therefore use only addition, multiplication, division, square root, fused multiply-add and
//! integer operations, which IEEE 754 and integer arithmetic define to the last bit. The order of evaluation and the
//! coefficients are part of a function's contract. Only the sign and payload of a NaN may differ.
//!
//! All functions are `#[inline(always)]`: a vector operation becomes an instruction only where it is inlined into a
//! caller that enables the instruction set (`fearless_simd::dispatch!` or `Simd::vectorize`). In other callers a scalar
//! fused multiply-add may become a call.
//!
//! Errors of functions are stated in units in the last place (ulp).
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the trait [`Lanes`] |
//! | `types` | its implementations: `f64`, and vectors of four and eight |
//! | `pack` | [`Pack`], eight values in memory |
//! | `double_double` | arithmetic on unevaluated sums of two `f64` |
//! | `exp`, `ln`, `pow` | exponential, logarithms, powers |
//! | `logistic` | logistic function, hyperbolic tangent, `ln(e^a + e^b)` |
//! | `trig` | sine, cosine, tangent, inverse tangent |
//! | `scalar`, `slices` | the functions of one number, and of many in memory |
//! | `root` | the root of a monotone function |
//!
//! The folder knows nothing of laws, programs or data.

mod double_double;
mod exp;
mod ln;
mod logistic;
mod pack;
mod pow;
pub mod root;
pub mod scalar;
pub mod slices;
mod trig;
mod types;

pub use exp::exp;
pub use ln::{ln, log2, log10};
pub use logistic::{log_add_exp, sigmoid, tanh};
pub use pack::{LANES, Pack};
pub(crate) use pack::{is_true, load, replace, truth};
pub use pow::pow;
pub use trig::{atan, cos, sin, tan};

use core::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Shl, Shr, Sub};

/// The number of lanes of the widest vector that implements [`Lanes`].
pub const MAX_WIDTH: usize = 8;

/// The bit patterns of a [`Lanes`] value, as 64-bit integers.
pub trait LaneBits:
    Copy
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
    /// Returns the wrapping sum.
    fn plus(self, other: Self) -> Self;
    /// Returns the wrapping difference.
    fn minus(self, other: Self) -> Self;
}

/// A table of sixteen values.
///
/// Two registers of the widest vectors hold sixteen values, and one instruction looks up eight of them. On narrower
/// vectors each lane loads its value.
#[repr(align(64))]
pub struct LookupTable([f64; 16]);

/// A vector of `f64`; `f64` itself is a vector of one lane. Comparisons with a NaN are false.
pub trait Lanes:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// The proof that the machine has the instruction set: `()` for `f64`, the level's token for vectors.
    type Token: Copy;
    /// A truth value per lane.
    type Mask: Copy + BitAnd<Output = Self::Mask> + BitOr<Output = Self::Mask> + Not<Output = Self::Mask>;
    /// The bit patterns of the lanes.
    type Bits: LaneBits;
    /// A vector of at most four lanes.
    type Half: Lanes<Token = Self::Token>;
    /// The number of lanes.
    const WIDTH: usize;

    /// Calls `f`, which must be inlined here, with the token's instruction set enabled.
    fn vectorize<R>(token: Self::Token, f: impl FnOnce() -> R) -> R;
    /// Returns whether a vector takes several registers. Loops with many sums then run out of registers, and are faster
    /// with `Half`.
    fn is_split(token: Self::Token) -> bool;
    /// Returns the token that the value was created with.
    fn token(self) -> Self::Token;
    /// Returns a vector with all lanes equal to `value`.
    fn splat(token: Self::Token, value: f64) -> Self;
    /// Loads the first [`WIDTH`](Self::WIDTH) elements of `from`.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    fn load(token: Self::Token, from: &[f64]) -> Self;
    /// Stores the lanes in the first [`WIDTH`](Self::WIDTH) elements of `to`.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    fn store(self, to: &mut [f64]);

    /// Returns `self * b + c` with one rounding, on every instruction set.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// Returns the absolute value; clears the sign of a NaN too.
    fn abs(self) -> Self;
    /// Returns the correctly rounded square root.
    fn sqrt(self) -> Self;
    /// Returns the largest integer that is not above the value.
    fn floor(self) -> Self;
    /// Returns the nearest integer, the even one where two are equally near.
    fn round_ties_even(self) -> Self;

    /// Returns `self == other`.
    fn eq(self, other: Self) -> Self::Mask;
    /// Returns `self < other`.
    fn lt(self, other: Self) -> Self::Mask;
    /// Returns `self <= other`.
    fn le(self, other: Self) -> Self::Mask;
    /// Returns `self > other`.
    #[inline(always)]
    fn gt(self, other: Self) -> Self::Mask {
        other.lt(self)
    }
    /// Returns `self >= other`.
    #[inline(always)]
    fn ge(self, other: Self) -> Self::Mask {
        other.le(self)
    }
    /// Returns whether each lane is NaN.
    #[inline(always)]
    fn is_nan(self) -> Self::Mask {
        !self.eq(self)
    }
    /// Returns `yes` where the mask is set, `no` elsewhere.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Returns whether the mask is set in some lane.
    fn any(mask: Self::Mask) -> bool;
    /// Returns whether the mask is set in every lane.
    #[inline(always)]
    fn all(mask: Self::Mask) -> bool {
        !Self::any(!mask)
    }

    /// Returns the bit patterns of the lanes.
    fn to_bits(self) -> Self::Bits;
    /// Returns the vector with these bit patterns.
    fn from_bits(bits: Self::Bits) -> Self;
    /// Returns bit patterns with all lanes equal to `bits`.
    fn splat_bits(token: Self::Token, bits: u64) -> Self::Bits;
    /// Returns the table's entry at the lowest four bits of each lane.
    fn look_up(table: &LookupTable, index: Self::Bits) -> Self;

    /// Returns a vector with all lanes equal to `value`, with this value's token.
    #[inline(always)]
    fn fill(self, value: f64) -> Self {
        Self::splat(self.token(), value)
    }
    /// Returns bit patterns with all lanes equal to `bits`, with this value's token.
    #[inline(always)]
    fn fill_bits(self, bits: u64) -> Self::Bits {
        Self::splat_bits(self.token(), bits)
    }
    /// Returns the smaller of two values, `other` if they are equal, NaN if either is NaN.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // Instructions for minima differ in their value for a NaN, hence the two selects.
        let least = Self::select(self.lt(other), self, other);
        Self::select(self.is_nan(), self, least)
    }
    /// Returns the larger of two values, `other` if they are equal, NaN if either is NaN.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        let most = Self::select(self.gt(other), self, other);
        Self::select(self.is_nan(), self, most)
    }
    /// Returns the magnitude of `self` with the sign of `sign`.
    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        let magnitude = self.to_bits() & self.fill_bits(!SIGN);
        Self::from_bits(magnitude | (sign.to_bits() & self.fill_bits(SIGN)))
    }
}

/// Returns the smaller of two numbers: the second where they are equal (such as zeros of unlike sign), NaN where either
/// is NaN, because a missing value must not vanish.
///
/// `min` and [`max`] follow this rule wherever formulas are evaluated: on columns, in compiled programs, and where
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

/// The sign bit.
const SIGN: u64 = 1 << 63;

/// Returns `result`, replaced where the mask is set by `f(x)`, computed lane by lane.
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
