//! The lane types: `f64` itself, and eight of them in the vectors of `fearless_simd`.

use super::{LaneBits, Lanes, Table};
#[cfg(target_arch = "x86")]
use core::arch::x86::{__m512d, __m512i, _mm512_permutex2var_pd};
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__m512d, __m512i, _mm512_permutex2var_pd};
use fearless_simd::{Bytes, Select, Simd, SimdBase, SimdFloat, SimdInto, SimdMask, f64x8, mask64x8, u64x8};

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
    const WIDTH: usize = 1;

    #[inline(always)]
    fn vectorize<R>((): (), f: impl FnOnce() -> R) -> R {
        f()
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
    fn look_up(table: &Table, index: u64) -> f64 {
        table.0[(index & 15) as usize]
    }
}

impl<S: Simd> LaneBits for u64x8<S> {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self - other
    }
}

impl<S: Simd> Lanes for f64x8<S> {
    type Token = S;
    type Mask = mask64x8<S>;
    type Bits = u64x8<S>;
    const WIDTH: usize = 8;

    #[inline(always)]
    fn vectorize<R>(token: S, f: impl FnOnce() -> R) -> R {
        token.vectorize(f)
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
        Self::from_slice(token, &from[..8])
    }
    #[inline(always)]
    fn store(self, to: &mut [f64]) {
        self.store_slice(&mut to[..8]);
    }
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        if fuses(Lanes::token(self)) { SimdFloat::mul_add(self, b, c) } else { emulated_mul_add(self, b, c) }
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
        u64x8::splat(token, bits)
    }
    #[inline(always)]
    fn look_up(table: &Table, index: Self::Bits) -> Self {
        let token = fearless_simd::ExtractToken::token(&index);
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if let Some(avx512) = token.level().as_avx512() {
            let halves = [0, 8].map(|from| Self::load(token, &table.0[from..]));
            return permute(avx512, halves[0].into(), halves[1].into(), index.into()).simd_into(token);
        }
        let index: [u64; 8] = index.into();
        Self::load(token, &index.map(|i| table.0[(i & 15) as usize]))
    }
}

/// Whether the level has a fused multiply-add; folds to a constant for each level.
#[inline(always)]
fn fuses<S: Simd>(token: S) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return token.level().as_avx2().is_some();
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    return cfg!(target_arch = "aarch64") && !token.level().is_fallback();
}

/// The fused multiply-add where the level has none. Some hundred instructions: inlined at each of
/// its uses, they would take the compiler minutes and the instruction cache by storm.
#[inline(never)]
fn emulated_mul_add<S: Simd>(a: f64x8<S>, b: f64x8<S>, c: f64x8<S>) -> f64x8<S> {
    Lanes::token(a).vectorize(
        #[inline(always)]
        || a.mul_add_precise(b, c),
    )
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fearless_simd::kernel!(
    /// Sixteen values in two registers: for each lane the one that the lowest four bits of its index name.
    #[inline]
    fn permute(avx512: Avx512, low: __m512d, high: __m512d, index: __m512i) -> __m512d {
        _mm512_permutex2var_pd(low, index, high)
    }
);
