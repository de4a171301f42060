//! The exponential, and the core that its relatives share.

use super::pairs::fast_two_sum;
use super::{LaneBits, Lanes, LookupTable};

/// 1.5 * 2^52: added to a small number, it leaves the nearest integer in the low bits.
const ROUND: f64 = 6755399441055744.0;
const LOG2_E: f64 = core::f64::consts::LOG2_E;
/// ln 2 to twice the precision of a double.
pub(super) const LN_2: f64 = core::f64::consts::LN_2;
pub(super) const LN_2_LOW: f64 = 2.3190468138462996e-17;
/// Up to here 2^n is a normal double for the nearest n, so that the scaling cannot round.
const PLAIN: f64 = 708.0;

/// (e^r - 1 - r) / r^2 on |r| <= ln(2)/32, minimax by the Remez exchange (Remez 1934): as a part of
/// e^r its error is below 2^-56.2. Made, like the tables, by tests/golden/coefficients.py.
const FAST: [f64; 5] = [
    0.5000000000000006,
    0.16666666664417823,
    0.04166666665964155,
    0.008333471924441402,
    0.0013889129157017737,
];
/// 2^(j/16), correctly rounded, with j taken from the bits that follow the exponent's: adding an
/// integer n there, its lowest four bits being j, makes it 2^(n/16).
const ROOTS: LookupTable = {
    let mut roots = [
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
        roots[j] = f64::from_bits(roots[j].to_bits() - ((j as u64) << 48));
        j += 1;
    }
    LookupTable(roots)
};
/// (e^r - 1 - r) / r^2 on |r| <= ln(2)/2 to 2^-64, for the functions that subtract the one again.
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

/// 2^n for an integral `n` from -1022 to 1023.
#[inline(always)]
pub(super) fn exp2_int<L: Lanes>(n: L) -> L {
    L::from_bits((n + n.fill(ROUND + 1023.0)).to_bits() << 52)
}

/// `value * 2^n` with one rounding, for an integral `n` from -2044 to 2046.
#[inline(always)]
pub(super) fn scale<L: Lanes>(value: L, n: L) -> L {
    let half = (n * n.fill(0.5)).floor();
    value * exp2_int(half) * exp2_int(n - half)
}

/// Limits to +-760, where the exponential has long overflowed or vanished; keeps a NaN.
#[inline(always)]
pub(super) fn limit<L: Lanes>(x: L) -> L {
    let end = x.fill(760.0);
    let x = L::select(x.gt(end), end, x);
    L::select(x.lt(-end), -end, x)
}

/// e^x.
///
/// Error below 1.11 ulp, subnormal results included. Reduction by ln 2 / 16 in two parts (Cody and
/// Waite 1980), then 2^(j/16) from a table and a polynomial for the rest (Tang, ACM TOMS 15, 1989).
/// The rounding of the table is half of the error; a second table could take it back, for a tenth
/// of the time.
#[inline(always)]
pub fn exp<L: Lanes>(x: L) -> L {
    let plain = x.abs().lt(x.fill(PLAIN));
    if L::all(plain) {
        let (shifted, _, rest) = fast(x);
        return grown(shifted.to_bits(), rest);
    }
    // A scaling in two steps, which is exact wherever the addition of exponents is.
    let (shifted, n, rest) = fast(limit(x));
    let value = grown(shifted.to_bits() & x.fill_bits(15), rest);
    scale(value, (n * x.fill(1.0 / 16.0)).floor())
}

/// n + ROUND, n, and e^(x - n ln 2 / 16) - 1.
#[inline(always)]
fn fast<L: Lanes>(x: L) -> (L, L, L) {
    let c = |i: usize| x.fill(FAST[i]);
    let shifted = x.mul_add(x.fill(16.0 * LOG2_E), x.fill(ROUND));
    let n = shifted - x.fill(ROUND);
    let r = n.mul_add(x.fill(-LN_2_LOW / 16.0), n.mul_add(x.fill(-LN_2 / 16.0), x));
    let r2 = r * r;
    let low = c(1).mul_add(r, c(0));
    let high = c(4).mul_add(r2, c(3).mul_add(r, c(2)));
    (shifted, n, high.mul_add(r2, low).mul_add(r2, r))
}

/// 2^(n/16) (1 + rest), for the integer in the lowest sixteen bits of `n`, if it is a normal number.
#[inline(always)]
fn grown<L: Lanes>(n: L::Bits, rest: L) -> L {
    let power = L::from_bits(L::look_up(&ROOTS, n).to_bits().plus(n << 48));
    power.mul_add(rest, power)
}

/// For `x + low` with |x| <= 760: an integral n and e^(x + low - n ln 2) - 1 as a sum of two, its
/// error below 2^-54 of itself.
#[inline(always)]
pub(super) fn parts<L: Lanes>(x: L, low: L) -> (L, L, L) {
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
    // e^(r + r_low) = e^r (1 + r_low), up to the square of r_low.
    (n, t, (t + x.fill(1.0)).mul_add(r_low, t_low))
}
