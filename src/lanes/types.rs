//! Implementations of [`Lanes`]: `f64`, and the vectors of eight and four `f64` of `fearless_simd`.

use super::{LaneBits, Lanes, LookupTable};
#[cfg(target_arch = "x86")]
use core::arch::x86::{__m512d, __m512i, _mm512_permutex2var_pd};
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__m512d, __m512i, _mm512_permutex2var_pd};
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use fearless_simd::SimdInto;
use fearless_simd::{
    Bytes, Select, Simd, SimdBase, SimdFloat, SimdMask, f64x4, f64x8, mask64x4, mask64x8, u64x4, u64x8,
};

impl LaneBits for u64 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
}

impl Lanes for f64 {
    type Token = ();
    type Mask = bool;
    type Bits = u64;
    type Half = f64;
    const WIDTH: usize = 1;

    #[inline(always)]
    fn vectorize<R>((): (), f: impl FnOnce() -> R) -> R {
        f()
    }
    #[inline(always)]
    fn is_split((): ()) -> bool {
        false
    }
    #[inline(always)]
    fn token(self) {}
    #[inline(always)]
    fn splat((): (), value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn load((): (), from: &[f64]) -> Self {
        from[0]
    }
    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        to[0] = self;
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        f64::mul_add(self, b, c)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f64::abs(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn floor(self) -> Self {
        f64::floor(self)
    }
    #[inline(always)]
    fn round_ties_even(self) -> Self {
        f64::round_ties_even(self)
    }
    #[inline(always)]
    fn eq(self, other: Self) -> bool {
        self == other
    }
    #[inline(always)]
    fn lt(self, other: Self) -> bool {
        self < other
    }
    #[inline(always)]
    fn le(self, other: Self) -> bool {
        self <= other
    }
    #[inline(always)]
    fn select(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }
    #[inline(always)]
    fn any(mask: bool) -> bool {
        mask
    }
    #[inline(always)]
    fn to_bits(self) -> u64 {
        f64::to_bits(self)
    }
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        f64::from_bits(bits)
    }
    #[inline(always)]
    fn splat_bits((): (), bits: u64) -> u64 {
        bits
    }
    #[inline(always)]
    fn look_up(table: &LookupTable, index: u64) -> f64 {
        table.0[(index & 15) as usize]
    }
}

/// Implements [`Lanes`] for the vectors of one width.
macro_rules! vectors {
    ($vector:ident, $mask:ident, $bits:ident, $width:literal, $emulated:ident, $look_up:ident) => {
        impl<S: Simd> LaneBits for $bits<S> {
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self - other
            }
        }

        impl<S: Simd> Lanes for $vector<S> {
            type Token = S;
            type Mask = $mask<S>;
            type Bits = $bits<S>;
            type Half = f64x4<S>;
            const WIDTH: usize = $width;

            #[inline(always)]
            fn vectorize<R>(token: S, f: impl FnOnce() -> R) -> R {
                token.vectorize(f)
            }
            #[inline(always)]
            fn is_split(token: S) -> bool {
                $width > 4 && !has_512_bit_registers(token)
            }
            #[inline(always)]
            fn token(self) -> S {
                fearless_simd::ExtractToken::token(&self)
            }
            #[inline(always)]
            fn splat(token: S, value: f64) -> Self {
                <Self as SimdBase<S>>::splat(token, value)
            }
            #[inline(always)]
            fn load(token: S, from: &[f64]) -> Self {
                Self::from_slice(token, &from[..$width])
            }
            #[inline(always)]
            fn store(self, to: &mut [f64]) {
                self.store_slice(&mut to[..$width]);
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                if has_fma(Lanes::token(self)) {
                    SimdFloat::mul_add(self, b, c)
                } else {
                    $emulated(self, b, c)
                }
            }
            #[inline(always)]
            fn abs(self) -> Self {
                SimdBase::abs(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                SimdFloat::sqrt(self)
            }
            #[inline(always)]
            fn floor(self) -> Self {
                SimdFloat::floor(self)
            }
            #[inline(always)]
            fn round_ties_even(self) -> Self {
                SimdFloat::round_ties_even(self)
            }
            #[inline(always)]
            fn eq(self, other: Self) -> Self::Mask {
                self.simd_eq(other)
            }
            #[inline(always)]
            fn lt(self, other: Self) -> Self::Mask {
                self.simd_lt(other)
            }
            #[inline(always)]
            fn le(self, other: Self) -> Self::Mask {
                self.simd_le(other)
            }
            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
                mask.select(yes, no)
            }
            #[inline(always)]
            fn any(mask: Self::Mask) -> bool {
                mask.any_true()
            }
            #[inline(always)]
            fn to_bits(self) -> Self::Bits {
                self.bitcast()
            }
            #[inline(always)]
            fn from_bits(bits: Self::Bits) -> Self {
                bits.bitcast()
            }
            #[inline(always)]
            fn splat_bits(token: S, bits: u64) -> Self::Bits {
                $bits::splat(token, bits)
            }
            #[inline(always)]
            fn look_up(table: &LookupTable, index: Self::Bits) -> Self {
                $look_up(table, index)
            }
        }

        /// Returns the fused multiply-add on levels without such an instruction. It takes some hundred instructions,
        /// so it is not inlined: code size and compile times would explode.
        #[inline(never)]
        fn $emulated<S: Simd>(a: $vector<S>, b: $vector<S>, c: $vector<S>) -> $vector<S> {
            Lanes::token(a).vectorize(
                #[inline(always)]
                || a.mul_add_precise(b, c),
            )
        }
    };
}

vectors!(f64x8, mask64x8, u64x8, 8, emulated_by_eight, look_up_eight);
vectors!(f64x4, mask64x4, u64x4, 4, emulated_by_four, look_up_four);

/// Looks up eight values, with one instruction where the level has it.
#[inline(always)]
fn look_up_eight<S: Simd>(table: &LookupTable, index: u64x8<S>) -> f64x8<S> {
    let token = fearless_simd::ExtractToken::token(&index);
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Some(avx512) = token.level().as_avx512() {
        let halves = [0, 8].map(|from| f64x8::load(token, &table.0[from..]));
        return permute(avx512, halves[0].into(), halves[1].into(), index.into()).simd_into(token);
    }
    let index: [u64; 8] = index.into();
    Lanes::load(token, &index.map(|i| table.0[(i & 15) as usize]))
}

/// Looks up four values, lane by lane.
#[inline(always)]
fn look_up_four<S: Simd>(table: &LookupTable, index: u64x4<S>) -> f64x4<S> {
    let token = fearless_simd::ExtractToken::token(&index);
    let index: [u64; 4] = index.into();
    Lanes::load(token, &index.map(|i| table.0[(i & 15) as usize]))
}

/// Returns whether the level has registers of eight `f64`. The result is a constant for each level.
#[inline(always)]
#[cfg_attr(not(any(target_arch = "x86", target_arch = "x86_64")), allow(unused_variables))]
fn has_512_bit_registers<S: Simd>(token: S) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return token.level().as_avx512().is_some();
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    return false;
}

/// Returns whether the level has a fused multiply-add instruction. The result is a constant for each level.
#[inline(always)]
fn has_fma<S: Simd>(token: S) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return token.level().as_avx2().is_some();
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    return cfg!(target_arch = "aarch64") && !token.level().is_fallback();
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fearless_simd::kernel!(
    /// Returns, for each lane, the value at the lowest four bits of its index among the sixteen of two registers.
    #[inline]
    fn permute(avx512: Avx512, low: __m512d, high: __m512d, index: __m512i) -> __m512d {
        _mm512_permutex2var_pd(low, index, high)
    }
);
