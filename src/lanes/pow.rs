//! The power function.

use super::Lanes;
use super::exp::{exp2_int, limit, parts, scale};
use super::ln::{is_plain, ln_fine, split, split_any};
use super::pairs::two_product;

/// x^y, with the special cases of C99 (annex F): `pow(x, 0)` and `pow(1, y)` are 1 even for NaN,
/// a negative base wants an integral exponent.
///
/// Error below 1 ulp. The logarithm in double-double, good to 2^-64, so that an exponent up to
/// 745 costs it no more than 2^-54; then the exponential of the two parts.
#[inline(always)]
pub fn pow<L: Lanes>(x: L, y: L) -> L {
    let (k, m) = split(x);
    let (log, log_low) = ln_fine(k, m);
    let (t, t_low) = two_product(y, log);
    let t_low = y.mul_add(log_low, t_low);
    if L::all(is_plain(x) & t.abs().lt(x.fill(708.0))) {
        let (n, value) = exp_sum(t, t_low);
        return value * exp2_int(n);
    }
    signed(x, y, magnitude(x.abs(), y))
}

/// n and v with e^(t + low) = 2^n v.
#[inline(always)]
fn exp_sum<L: Lanes>(t: L, low: L) -> (L, L) {
    let (n, v, v_low) = parts(t, low);
    (n, t.fill(1.0) + (v + v_low))
}

/// x^y for x >= 0 and not the special values of `signed`.
#[inline(always)]
fn magnitude<L: Lanes>(x: L, y: L) -> L {
    let (zero, infinity) = (x.fill(0.0), x.fill(f64::INFINITY));
    let (k, m) = split_any(x);
    let (log, log_low) = ln_fine(k, m);
    let (t, t_low) = two_product(y, log);
    let t_low = y.mul_add(log_low, t_low);
    // Far out, the low part may be the NaN of an overflow.
    let far = t.abs().gt(x.fill(750.0));
    let (n, value) = exp_sum(limit(t), L::select(far, zero, t_low));
    let value = scale(value, n);
    let at_zero = L::select(y.lt(zero), infinity, zero);
    let at_infinity = L::select(y.lt(zero), zero, infinity);
    let value = L::select(x.eq(zero), at_zero, value);
    L::select(x.eq(infinity), at_infinity, value)
}

/// Gives the magnitude its sign and puts in the values that the formula does not give.
#[inline(always)]
fn signed<L: Lanes>(x: L, y: L, magnitude: L) -> L {
    let (zero, one) = (x.fill(0.0), x.fill(1.0));
    let nan = x + y;
    let half = y * x.fill(0.5);
    // Every finite double from 2^53 on is even, and so is its half an integer.
    let integral = y.floor().eq(y);
    let odd = integral & !half.floor().eq(half);
    let sign = L::from_bits(x.to_bits() & x.fill_bits(super::SIGN));
    let flipped = L::from_bits(magnitude.to_bits() ^ sign.to_bits());
    let value = L::select(odd, flipped, magnitude);
    let undefined = x.lt(zero) & x.ge(x.fill(f64::MIN)) & !integral;
    let value = L::select(undefined, x.fill(f64::NAN), value);
    let value = L::select(x.is_nan() | y.is_nan(), nan, value);
    // An infinite y counts as an even integer, and |x| = 1 stays 1 under it.
    let flat = x.abs().eq(one) & y.abs().eq(x.fill(f64::INFINITY));
    L::select(x.eq(one) | y.eq(zero) | flat, one, value)
}
