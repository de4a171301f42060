//! The power function.

use super::Lanes;
use super::double_double::two_product;
use super::exp::{accurate_expm1, clamp, exp2_int, scale};
use super::ln::{is_positive_normal, ln_double_double, split, split_any};

/// Returns x^y, with an error below 1 ulp.
///
/// Special cases are those of C99 (annex F): `pow(x, 0)` and `pow(1, y)` are 1 even for NaN, and a negative finite base
/// with a non-integral exponent gives NaN.
///
/// The result is e^(y ln x). The double-double logarithm has a relative error below 2^-64, so a product of magnitude up
/// to 745 has an absolute error of at most 2^-54.
#[inline(always)]
pub fn pow<L: Lanes>(x: L, y: L) -> L {
    let (k, m) = split(x);
    let (log, log_low) = ln_double_double(k, m);
    let (t, t_low) = two_product(y, log);
    let t_low = y.mul_add(log_low, t_low);
    if L::all(is_positive_normal(x) & t.abs().lt(x.fill(708.0))) {
        let (n, value) = exp_sum(t, t_low);
        return value * exp2_int(n);
    }
    signed(x, y, magnitude(x.abs(), y))
}

/// Returns n and v with e^(t + low) = 2^n v.
#[inline(always)]
fn exp_sum<L: Lanes>(t: L, low: L) -> (L, L) {
    let (n, v, v_low) = accurate_expm1(t, low);
    (n, t.fill(1.0) + (v + v_low))
}

/// Returns x^y for x >= 0, except for the special cases that `signed` handles.
#[inline(always)]
fn magnitude<L: Lanes>(x: L, y: L) -> L {
    let (zero, infinity) = (x.fill(0.0), x.fill(f64::INFINITY));
    let (k, m) = split_any(x);
    let (log, log_low) = ln_double_double(k, m);
    let (t, t_low) = two_product(y, log);
    let t_low = y.mul_add(log_low, t_low);
    // Where `t` overflows, its low part is NaN.
    let far = t.abs().gt(x.fill(750.0));
    let (n, value) = exp_sum(clamp(t), L::select(far, zero, t_low));
    let value = scale(value, n);
    let at_zero = L::select(y.lt(zero), infinity, zero);
    let at_infinity = L::select(y.lt(zero), zero, infinity);
    let value = L::select(x.eq(zero), at_zero, value);
    L::select(x.eq(infinity), at_infinity, value)
}

/// Returns the magnitude with its sign, or the value of a special case.
#[inline(always)]
fn signed<L: Lanes>(x: L, y: L, magnitude: L) -> L {
    let (zero, one) = (x.fill(0.0), x.fill(1.0));
    let nan = x + y;
    let half = y * x.fill(0.5);
    // From 2^53 on every finite `f64` is even, and its half is an integer too.
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
