//! Logarithms to the bases e, 2 and 10, and the double-double one behind the power.

use super::pairs::{fast_two_sum, two_product};
use super::{LaneBits, Lanes, LookupTable};

const MANTISSA: u64 = (1 << 52) - 1;
/// sqrt(1/2), the least mantissa after the fine reduction.
const ROOT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
/// 2^52: or-ing a small integer into its bits adds that integer to it.
const TWO_52: f64 = 4503599627370496.0;

/// The least mantissa after the fast reduction. From here on each 2^48 bit patterns are a cell of the
/// table; the one is in the middle of cell 9, so that numbers on both its sides share a reciprocal.
const LEAST: u64 = 0x3fe6_5555_0000_0000;
/// The cells from `LEAST` times 2^-3071 to the one.
const STEPS: f64 = 3071.0 * 16.0 + 9.0;
/// ln 2 / 16, the first part so short that its product with any number of steps is exact.
const STEP: (f64, f64) = (0.043321698785007356, -1.0774652828509272e-14);
/// A reciprocal c for each cell. Most are such that their `REST` needs no second part (the accurate
/// tables of Gal 1986); beside the one, where r must not be rounded, they have five or six bits.
const RECIPROCALS: LookupTable = LookupTable([
    1.4014601660835808,
    1.3426576292722159,
    1.2885908677427744,
    1.2387099217256574,
    1.1925468097804475,
    1.1497008089290124,
    1.1098267856181883,
    1.0726258812778389,
    1.03125,
    1.0,
    0.953125,
    0.8971965172935008,
    0.8495577512904214,
    0.8067228958400068,
    0.768000187734689,
    0.7328245982413348,
]);
/// -ln c less the cell's steps from the one.
const REST: LookupTable = LookupTable([
    0.05238062019111567,
    0.05192263504375205,
    0.049702620758125704,
    0.04585974037502183,
    0.04051729743036958,
    0.033785052762596024,
    0.02576114220028103,
    0.016533660816662632,
    0.012550040118242893,
    0.0,
    0.004687520401364026,
    0.021836960524069582,
    0.033074261141450734,
    0.04148825020206459,
    0.047356807463302175,
    0.05091870600654147,
]);
/// (ln(1 + r) - r) / r^2 for r from -0.02805 to 0.03256, minimax by the Remez exchange (Remez 1934) with
/// the logarithm itself as the weight: as a part of it its error is below 2^-56.8. Made, like the
/// tables, by tests/golden/coefficients.py.
const FAST: [f64; 8] = [
    -0.4999999999999983,
    0.3333333333334242,
    -0.25000000002861933,
    0.19999999925516102,
    -0.16666654369582576,
    0.14285885073351068,
    -0.12519223930178203,
    0.11001742857630711,
];
/// ((ln((1+s)/(1-s))/2s - 1)/z - 1/3) / z, to 2^-80 of the logarithm.
const FINE: [f64; 9] = [
    0.2,
    0.14285714285714188,
    0.111111111111453,
    0.0909090908462407,
    0.07692308376878694,
    0.06666620200885218,
    0.0588433750389682,
    0.05211440608924491,
    0.055067452796294936,
];
const THIRD: (f64, f64) = (0.3333333333333333, 1.850371707708594e-17);
const LOG2_E: (f64, f64) = (core::f64::consts::LOG2_E, 2.0355273740931033e-17);
const LOG10_E: (f64, f64) = (core::f64::consts::LOG10_E, 1.098319650216765e-17);
/// log10 2 and ln 2, the first parts short enough for their product with an exponent to be exact.
const LOG10_2: (f64, f64) = (0.30102999566361177, 3.694239077158931e-13);
const LN_2_SHORT: (f64, f64) = (0.6931471805598903, 5.497923018708371e-14);

/// Whether the lane is a positive, finite, normal number.
#[inline(always)]
pub(super) fn is_plain<L: Lanes>(x: L) -> L::Mask {
    x.ge(x.fill(f64::MIN_POSITIVE)) & x.le(x.fill(f64::MAX))
}

/// k and m with x = 2^k m and m from sqrt(1/2) to sqrt(2), for a plain `x`.
#[inline(always)]
pub(super) fn split<L: Lanes>(x: L) -> (L, L) {
    let bits = x.to_bits().plus(x.fill_bits((1023 << 52) - ROOT_HALF));
    let biased = L::from_bits((bits >> 52) | x.fill_bits(f64::to_bits(TWO_52)));
    let m = (bits & x.fill_bits(MANTISSA)).plus(x.fill_bits(ROOT_HALF));
    (biased - x.fill(TWO_52 + 1023.0), L::from_bits(m))
}

/// The same for any positive finite `x`.
#[inline(always)]
pub(super) fn split_any<L: Lanes>(x: L) -> (L, L) {
    let small = x.lt(x.fill(f64::MIN_POSITIVE));
    let (k, m) = split(L::select(small, x * x.fill(TWO_52), x));
    (L::select(small, k - x.fill(52.0), k), m)
}

/// The values of a logarithm outside the positive finite numbers, `value` inside.
#[inline(always)]
fn edges<L: Lanes>(x: L, value: L) -> L {
    let zero = x.fill(0.0);
    let value = L::select(x.eq(zero), x.fill(f64::NEG_INFINITY), value);
    let value = L::select(x.lt(zero), x.fill(f64::NAN), value);
    L::select(x.le(x.fill(f64::MAX)), value, x)
}

/// The natural logarithm.
///
/// Error below 1.02 ulp, next to one and on subnormal numbers too. A reciprocal c of the mantissa m from
/// a table, -ln c from another, and a polynomial for ln(1 + r) with r = cm - 1 (Tang, ACM TOMS 16,
/// 1990): no division.
#[inline(always)]
pub fn ln<L: Lanes>(x: L) -> L {
    let bits = placed(x);
    // Zero, and what is subnormal, negative, infinite or not a number, does not lie below.
    let plain = L::from_bits(bits).lt(x.fill(f64::from_bits(0x801a << 48)));
    if L::all(plain) {
        return fast(bits, x.fill(TWO_52 + STEPS));
    }
    let small = x.lt(x.fill(f64::MIN_POSITIVE));
    let normal = L::select(small, x * x.fill(TWO_52), x);
    let one = L::select(small, x.fill(TWO_52 + STEPS + 52.0 * 16.0), x.fill(TWO_52 + STEPS));
    edges(x, fast(placed(normal), one))
}

/// The bits of `x`, moved such that the highest sixteen count the cells from `LEAST` times 2^-3071 on.
#[inline(always)]
fn placed<L: Lanes>(x: L) -> L::Bits {
    x.to_bits().plus(x.fill_bits((0x8010 << 48) - (LEAST & MANTISSA)))
}

/// The logarithm of what is `placed`, `one` being 2^52 and the cell of the one.
#[inline(always)]
fn fast<L: Lanes>(placed: L::Bits, one: L) -> L {
    let c = |i: usize| one.fill(FAST[i]);
    let cell = (placed >> 48) | one.fill_bits(f64::to_bits(TWO_52));
    let steps = L::from_bits(cell) - one;
    let m = L::from_bits((placed & one.fill_bits(MANTISSA)).plus(one.fill_bits(LEAST)));
    let r = m.mul_add(L::look_up(&RECIPROCALS, cell), one.fill(-1.0));
    let high = steps.mul_add(one.fill(STEP.0), L::look_up(&REST, cell));
    let low = steps * one.fill(STEP.1);
    let r2 = r * r;
    let p = c(7).mul_add(r, c(6));
    let p = p.mul_add(r2, c(5).mul_add(r, c(4)));
    let p = p.mul_add(r2, c(3).mul_add(r, c(2)));
    let p = p.mul_add(r2, c(1).mul_add(r, c(0)));
    high + (r + p.mul_add(r2, low))
}

/// ln m as a double-double, its error below 2^-64 of itself.
#[inline(always)]
fn fine<L: Lanes>(m: L) -> (L, L) {
    let c = |i: usize| m.fill(FINE[i]);
    let one = m.fill(1.0);
    let f = m - one;
    let sum = m + one;
    let sum_low = m - (sum - one);
    let reciprocal = one / sum;
    let s = f * reciprocal;
    let s_low = (-s).mul_add(sum_low, (-s).mul_add(sum, f)) * reciprocal;
    let (z, z_low) = two_product(s, s);
    let z_low = (s + s).mul_add(s_low, z_low);
    let z2 = z * z;
    let z4 = z2 * z2;
    let low = c(3).mul_add(z, c(2)).mul_add(z2, c(1).mul_add(z, c(0)));
    let high = c(7).mul_add(z, c(6)).mul_add(z2, c(5).mul_add(z, c(4)));
    let series = c(8).mul_add(z4, high).mul_add(z4, low);
    // 1/3 + z * series, and that times z, each with its rounding error kept.
    let (a, a_low) = fast_two_sum(m.fill(THIRD.0), z * series);
    let a_low = z_low.mul_add(series, a_low + m.fill(THIRD.1));
    let (b, b_low) = two_product(z, a);
    let b_low = z_low.mul_add(a, z.mul_add(a_low, b_low));
    let (s, s_low) = (s + s, s_low + s_low);
    let (t, t_low) = two_product(s, b);
    let t_low = s_low.mul_add(b, s.mul_add(b_low, t_low));
    let (value, value_low) = fast_two_sum(s, t);
    fast_two_sum(value, value_low + (s_low + t_low))
}

/// k ln 2 + ln m as a double-double, its error below 2^-64 of itself.
#[inline(always)]
pub(super) fn ln_fine<L: Lanes>(k: L, m: L) -> (L, L) {
    let (part, part_low) = fine(m);
    let (value, value_low) = fast_two_sum(k * m.fill(LN_2_SHORT.0), part);
    let low = k.mul_add(m.fill(LN_2_SHORT.1), value_low + part_low);
    fast_two_sum(value, low)
}

/// k * unit + ln m * factor, for a `unit` whose first part times k is exact.
#[inline(always)]
fn rebase<L: Lanes>(x: L, unit: (f64, f64), factor: (f64, f64)) -> L {
    let (k, m) = split_any(x);
    let (part, part_low) = fine(m);
    let (p, p_low) = two_product(part, x.fill(factor.0));
    let p_low = part.mul_add(x.fill(factor.1), part_low.mul_add(x.fill(factor.0), p_low));
    let (value, value_low) = fast_two_sum(k * x.fill(unit.0), p);
    edges(x, value + k.mul_add(x.fill(unit.1), value_low + p_low))
}

/// The logarithm to base 2. Error below 0.51 ulp, so that powers of two are exact.
#[inline(always)]
pub fn log2<L: Lanes>(x: L) -> L {
    rebase(x, (1.0, 0.0), LOG2_E)
}

/// The logarithm to base 10. Error below 0.51 ulp, so that powers of ten are exact.
#[inline(always)]
pub fn log10<L: Lanes>(x: L) -> L {
    rebase(x, LOG10_2, LOG10_E)
}
