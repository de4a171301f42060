//! Logarithms to the bases e, 2 and 10, and the double-double logarithm that powers need.

use super::double_double::{fast_two_sum, two_product};
use super::{LaneBits, Lanes, LookupTable};

/// The bits of the mantissa.
const MANTISSA: u64 = (1 << 52) - 1;
/// The bits of sqrt(1/2), the least mantissa that `split` returns.
const ROOT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
/// 2^52. Or-ing a small integer into its bits adds the integer to its value.
const TWO_52: f64 = 4503599627370496.0;

/// The bits of the least reduced argument of [`ln`]. From it on, 2^48 consecutive bit patterns form a cell of the
/// tables. The number 1 is in the middle of cell 9, so numbers on both its sides share a reciprocal.
const LEAST_MANTISSA: u64 = 0x3fe6_5555_0000_0000;
/// The cell of the number 1, counted from `LEAST_MANTISSA` times 2^-3071.
const CELL_OF_ONE: f64 = 3071.0 * 16.0 + 9.0;
/// ln 2 / 16 in two parts. The first part is so short that its product with any number of cells is exact.
const LN_2_SIXTEENTH: (f64, f64) = (0.043321698785007356, -1.0774652828509272e-14);
/// An approximate reciprocal c of the numbers in each cell. Most are chosen such that their `REST` lies very close to
/// an `f64` (the accurate tables of Gal 1986). Near 1, where r must not be rounded, they have only five or six bits.
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
/// -ln c minus ln 2 / 16 times the number of cells from the cell of 1.
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
/// Coefficients of (ln(1 + r) - r) / r^2 for r from -0.02805 to 0.03256, minimax by the Remez exchange (Remez 1934).
/// The error relative to the logarithm is below 2^-56.8. `tests/golden/coefficients.py` prints these coefficients and
/// the tables.
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
/// Coefficients of ((ln((1+s)/(1-s))/2s - 1)/z - 1/3) / z in z = s^2, with an error relative to the logarithm of 2^-80.
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
/// 1/3 in double-double.
const THIRD: (f64, f64) = (0.3333333333333333, 1.850371707708594e-17);
/// The logarithm of e to base 2, in double-double.
const LOG2_E: (f64, f64) = (core::f64::consts::LOG2_E, 2.0355273740931033e-17);
/// The logarithm of e to base 10, in double-double.
const LOG10_E: (f64, f64) = (core::f64::consts::LOG10_E, 1.098319650216765e-17);
/// The logarithm of 2 to base 10 in two parts. The product of the first part with an exponent is exact.
const LOG10_2: (f64, f64) = (0.30102999566361177, 3.694239077158931e-13);
/// ln 2 in two parts. The product of the first part with an exponent is exact.
const LN_2_SHORT: (f64, f64) = (0.6931471805598903, 5.497923018708371e-14);

/// Returns whether each lane is a positive, finite, normal number.
#[inline(always)]
pub(super) fn is_positive_normal<L: Lanes>(x: L) -> L::Mask {
    x.ge(x.fill(f64::MIN_POSITIVE)) & x.le(x.fill(f64::MAX))
}

/// Returns k and m with x = 2^k m and m from sqrt(1/2) to sqrt(2), for a positive normal `x`.
#[inline(always)]
pub(super) fn split<L: Lanes>(x: L) -> (L, L) {
    let bits = x.to_bits().plus(x.fill_bits((1023 << 52) - ROOT_HALF));
    let biased = L::from_bits((bits >> 52) | x.fill_bits(f64::to_bits(TWO_52)));
    let m = (bits & x.fill_bits(MANTISSA)).plus(x.fill_bits(ROOT_HALF));
    (biased - x.fill(TWO_52 + 1023.0), L::from_bits(m))
}

/// Like [`split`], for any positive finite `x`.
#[inline(always)]
pub(super) fn split_any<L: Lanes>(x: L) -> (L, L) {
    let small = x.lt(x.fill(f64::MIN_POSITIVE));
    let (k, m) = split(L::select(small, x * x.fill(TWO_52), x));
    (L::select(small, k - x.fill(52.0), k), m)
}

/// Returns `value` for positive finite `x`, and for others the logarithm's special value.
#[inline(always)]
fn with_special_values<L: Lanes>(x: L, value: L) -> L {
    let zero = x.fill(0.0);
    let value = L::select(x.eq(zero), x.fill(f64::NEG_INFINITY), value);
    let value = L::select(x.lt(zero), x.fill(f64::NAN), value);
    L::select(x.le(x.fill(f64::MAX)), value, x)
}

/// Returns the natural logarithm, with an error below 1.02 ulp, also near 1 and for subnormal numbers.
///
/// A reciprocal c of the mantissa m and -ln c come from tables, and a polynomial gives ln(1 + r) with r = cm - 1 (Tang
/// 1990, ACM TOMS 16), without a division.
#[inline(always)]
pub fn ln<L: Lanes>(x: L) -> L {
    let bits = cell_bits(x);
    // True only for positive normal numbers: as an `f64`, the moved bits of others are NaN or not below the limit.
    let normal = L::from_bits(bits).lt(x.fill(f64::from_bits(0x801a << 48)));
    if L::all(normal) {
        return ln_from_cells(bits, x.fill(TWO_52 + CELL_OF_ONE));
    }
    let small = x.lt(x.fill(f64::MIN_POSITIVE));
    let scaled = L::select(small, x * x.fill(TWO_52), x);
    let one = L::select(small, x.fill(TWO_52 + CELL_OF_ONE + 52.0 * 16.0), x.fill(TWO_52 + CELL_OF_ONE));
    with_special_values(x, ln_from_cells(cell_bits(scaled), one))
}

/// Returns the bits of `x`, moved such that the highest sixteen are the cell, counted from `LEAST_MANTISSA` times
/// 2^-3071.
#[inline(always)]
fn cell_bits<L: Lanes>(x: L) -> L::Bits {
    x.to_bits().plus(x.fill_bits((0x8010 << 48) - (LEAST_MANTISSA & MANTISSA)))
}

/// Returns the logarithm of the number whose `cell_bits` are `bits`; `one` is 2^52 plus the cell of the number 1.
#[inline(always)]
fn ln_from_cells<L: Lanes>(bits: L::Bits, one: L) -> L {
    let c = |i: usize| one.fill(FAST[i]);
    let cell = (bits >> 48) | one.fill_bits(f64::to_bits(TWO_52));
    let steps = L::from_bits(cell) - one;
    let m = L::from_bits((bits & one.fill_bits(MANTISSA)).plus(one.fill_bits(LEAST_MANTISSA)));
    let r = m.mul_add(L::look_up(&RECIPROCALS, cell), one.fill(-1.0));
    let high = steps.mul_add(one.fill(LN_2_SIXTEENTH.0), L::look_up(&REST, cell));
    let low = steps * one.fill(LN_2_SIXTEENTH.1);
    let r2 = r * r;
    let p = c(7).mul_add(r, c(6));
    let p = p.mul_add(r2, c(5).mul_add(r, c(4)));
    let p = p.mul_add(r2, c(3).mul_add(r, c(2)));
    let p = p.mul_add(r2, c(1).mul_add(r, c(0)));
    high + (r + p.mul_add(r2, low))
}

/// Returns ln m as a double-double with a relative error below 2^-64, for m from sqrt(1/2) to sqrt(2).
#[inline(always)]
fn ln_of_mantissa<L: Lanes>(m: L) -> (L, L) {
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
    // a = 1/3 + z * series and b = z * a, as double-doubles.
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

/// Returns k ln 2 + ln m as a double-double with a relative error below 2^-64.
#[inline(always)]
pub(super) fn ln_double_double<L: Lanes>(k: L, m: L) -> (L, L) {
    let (part, part_low) = ln_of_mantissa(m);
    let (value, value_low) = fast_two_sum(k * m.fill(LN_2_SHORT.0), part);
    let low = k.mul_add(m.fill(LN_2_SHORT.1), value_low + part_low);
    fast_two_sum(value, low)
}

/// Returns `k * unit + ln m * factor` with `x = 2^k m`. The product of k with the first part of `unit` must be exact.
#[inline(always)]
fn rebase<L: Lanes>(x: L, unit: (f64, f64), factor: (f64, f64)) -> L {
    let (k, m) = split_any(x);
    let (part, part_low) = ln_of_mantissa(m);
    let (p, p_low) = two_product(part, x.fill(factor.0));
    let p_low = part.mul_add(x.fill(factor.1), part_low.mul_add(x.fill(factor.0), p_low));
    let (value, value_low) = fast_two_sum(k * x.fill(unit.0), p);
    with_special_values(x, value + k.mul_add(x.fill(unit.1), value_low + p_low))
}

/// Returns the logarithm to base 2, with an error below 0.51 ulp. Logarithms of powers of two are exact.
#[inline(always)]
pub fn log2<L: Lanes>(x: L) -> L {
    rebase(x, (1.0, 0.0), LOG2_E)
}

/// Returns the logarithm to base 10, with an error below 0.51 ulp. Logarithms of powers of ten are exact.
#[inline(always)]
pub fn log10<L: Lanes>(x: L) -> L {
    rebase(x, LOG10_2, LOG10_E)
}
