//! The exponential, and the reduced `e^x - 1` that powers and logistic functions are computed from.

use super::double_double::fast_two_sum;
use super::{LaneBits, Lanes, LookupTable};

/// 1.5 * 2^52. The sum of a small number and this has the nearest integer in its low bits.
const ROUND: f64 = 6755399441055744.0;
const LOG2_E: f64 = core::f64::consts::LOG2_E;
/// ln 2, rounded; `LN_2 + LN_2_LOW` is ln 2 in double-double.
pub(super) const LN_2: f64 = core::f64::consts::LN_2;
/// The rounding error of [`LN_2`].
pub(super) const LN_2_LOW: f64 = 2.3190468138462996e-17;
/// For `x` up to this magnitude, `2^n` with the nearest `n` is a normal number, so one scaling by it is exact.
const SINGLE_SCALING_LIMIT: f64 = 708.0;

/// Coefficients of (e^r - 1 - r) / r^2 on |r| <= ln(2)/32, minimax by the Remez exchange (Remez 1934). The error
/// relative to e^r is below 2^-56.2. `tests/golden/coefficients.py` prints these coefficients and the tables.
const FAST: [f64; 5] = [
    0.5000000000000006,
    0.16666666664417823,
    0.04166666665964155,
    0.008333471924441402,
    0.0013889129157017737,
];
/// The bits of the correctly rounded 2^(j/16), minus `j << 48`. Adding `n << 48` to them, for an integer n whose lowest
/// four bits are j, gives the bits of 2^(n/16).
const EXP2_SIXTEENTHS: LookupTable = {
    let mut values = [
        1.0_f64,
        1.0442737824274138,
        1.0905077326652577,
        1.1387886347566916,
        1.189207115002721,
        1.241857812073484,
        1.2968395546510096,
        1.3542555469368927,
        core::f64::consts::SQRT_2,
        1.4768261459394993,
        1.5422108254079407,
        1.6104903319492543,
        1.681792830507429,
        1.7562521603732995,
        1.8340080864093424,
        1.9152065613971474,
    ];
    let mut j = 0;
    while j < 16 {
        values[j] = f64::from_bits(values[j].to_bits() - ((j as u64) << 48));
        j += 1;
    }
    LookupTable(values)
};
/// Coefficients of (e^r - 1 - r) / r^2 on |r| <= ln(2)/2, with an error of 2^-64, for functions in which the 1 of e^r
/// cancels.
const FINE: [f64; 11] = [
    0.5,
    0.16666666666666682,
    0.041666666666666095,
    0.008333333333316983,
    0.0013888888889116344,
    0.00019841269896514937,
    2.480158692574501e-05,
    2.7557234727949114e-06,
    2.755758226164718e-07,
    2.511208447545167e-08,
    2.082658841576385e-09,
];

/// Returns 2^n for an integral `n` from -1022 to 1023.
#[inline(always)]
pub(super) fn exp2_int<L: Lanes>(n: L) -> L {
    L::from_bits((n + n.fill(ROUND + 1023.0)).to_bits() << 52)
}

/// Returns `value * 2^n` with one rounding, for an integral `n` from -2044 to 2046.
#[inline(always)]
pub(super) fn scale<L: Lanes>(value: L, n: L) -> L {
    let half = (n * n.fill(0.5)).floor();
    value * exp2_int(half) * exp2_int(n - half)
}

/// Limits `x` to +-760, beyond which the exponential is infinite or zero; keeps a NaN.
#[inline(always)]
pub(super) fn clamp<L: Lanes>(x: L) -> L {
    let end = x.fill(760.0);
    let x = L::select(x.gt(end), end, x);
    L::select(x.lt(-end), -end, x)
}

/// Returns e^x, with an error below 1.11 ulp, subnormal results included.
///
/// The argument is reduced by multiples of ln 2 / 16 in two parts (Cody & Waite 1980); the result is 2^(j/16) from a
/// table times a polynomial (Tang 1989, ACM TOMS 15). Half of the error is the rounding of the table. A second table of
/// the rounding errors would remove it and take a tenth more time.
#[inline(always)]
pub fn exp<L: Lanes>(x: L) -> L {
    let single_scaling = x.abs().lt(x.fill(SINGLE_SCALING_LIMIT));
    if L::all(single_scaling) {
        let (shifted, _, rest) = fast_expm1(x);
        return reconstruct(shifted.to_bits(), rest);
    }
    // One scaling would leave the range of exponents. Of two, only the last can round: where the result is subnormal.
    let (shifted, n, rest) = fast_expm1(clamp(x));
    let value = reconstruct(shifted.to_bits() & x.fill_bits(15), rest);
    scale(value, (n * x.fill(1.0 / 16.0)).floor())
}

/// Returns `n + ROUND`, n and e^(x - n ln 2 / 16) - 1, for the integral n nearest to 16 x / ln 2.
#[inline(always)]
fn fast_expm1<L: Lanes>(x: L) -> (L, L, L) {
    let c = |i: usize| x.fill(FAST[i]);
    let shifted = x.mul_add(x.fill(16.0 * LOG2_E), x.fill(ROUND));
    let n = shifted - x.fill(ROUND);
    let r = n.mul_add(x.fill(-LN_2_LOW / 16.0), n.mul_add(x.fill(-LN_2 / 16.0), x));
    let r2 = r * r;
    let low = c(1).mul_add(r, c(0));
    let high = c(4).mul_add(r2, c(3).mul_add(r, c(2)));
    (shifted, n, high.mul_add(r2, low).mul_add(r2, r))
}

/// Returns 2^(n/16) (1 + rest), for the integer in the lowest sixteen bits of `n`, if the result is a normal number.
#[inline(always)]
fn reconstruct<L: Lanes>(n: L::Bits, rest: L) -> L {
    let power = L::from_bits(L::look_up(&EXP2_SIXTEENTHS, n).to_bits().plus(n << 48));
    power.mul_add(rest, power)
}

/// Returns, for `x + low` with |x| <= 760, an integral n, and e^(x + low - n ln 2) - 1 as a value and its correction.
/// The relative error is below 2^-54.
#[inline(always)]
pub(super) fn accurate_expm1<L: Lanes>(x: L, low: L) -> (L, L, L) {
    let c = |i: usize| x.fill(FINE[i]);
    let n = x.mul_add(x.fill(LOG2_E), x.fill(ROUND)) - x.fill(ROUND);
    let near = n.mul_add(x.fill(-LN_2), x);
    let r = n.mul_add(x.fill(-LN_2_LOW), near);
    let r_low = n.mul_add(x.fill(-LN_2_LOW), near - r) + low;
    let r2 = r * r;
    let r4 = r2 * r2;
    let bottom = c(3).mul_add(r, c(2)).mul_add(r2, c(1).mul_add(r, c(0)));
    let top = c(7).mul_add(r, c(6)).mul_add(r2, c(5).mul_add(r, c(4)));
    let top = c(10).mul_add(r2, c(9).mul_add(r, c(8))).mul_add(r4, top);
    let tail = top.mul_add(r4, bottom) * r2;
    let (t, t_low) = fast_two_sum(r, tail);
    // e^(r + r_low) = e^r (1 + r_low), but for terms of order r_low^2.
    (n, t, (t + x.fill(1.0)).mul_add(r_low, t_low))
}
