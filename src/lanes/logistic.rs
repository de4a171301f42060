//! The logistic function, the hyperbolic tangent, and `ln(e^a + e^b)`.

use super::Lanes;
use super::double_double::{add, divide, fast_two_sum, multiply, two_product, two_sum};
use super::exp::{LN_2, LN_2_LOW, accurate_expm1, clamp, exp, exp2_int, scale};
use super::ln::ln;

/// Returns the logistic function 1/(1 + e^-x), with an error below 1 ulp.
///
/// The bound includes the lower tail, where the result is e^x down to the subnormal numbers.
#[inline(always)]
pub fn sigmoid<L: Lanes>(x: L) -> L {
    let (zero, one) = (x.fill(0.0), x.fill(1.0));
    // e^-42 is below half an ulp of 1.
    let tail = x.lt(x.fill(-40.0));
    let (n, t, t_low) = accurate_expm1((-x.abs()).max(x.fill(-42.0)), zero);
    let unit = exp2_int(n);
    let (e, e_low) = fast_two_sum(one, t);
    let (e, e_low) = (e * unit, (e_low + t_low) * unit);
    let (den, den_low) = fast_two_sum(one, e);
    let upper = x.ge(zero);
    let num = (L::select(upper, one, e), L::select(upper, zero, e_low));
    let value = divide(num, (den, den_low + e_low));
    if L::any(tail) {
        return L::select(tail, exp(x), value);
    }
    value
}

/// Returns the hyperbolic tangent, with an error below 1 ulp.
///
/// The result is (e^2x - 1)/(e^2x + 1); the numerator is computed without rounding e^2x first.
#[inline(always)]
pub fn tanh<L: Lanes>(x: L) -> L {
    let (one, two) = (x.fill(1.0), x.fill(2.0));
    // For |x| above 22 the result is 1.
    let twice = (x.abs() * two).min(x.fill(46.0));
    let (n, t, t_low) = accurate_expm1(twice, x.fill(0.0));
    let unit = exp2_int(n);
    let (num, num_low) = fast_two_sum(unit - one, t * unit);
    let num_low = t_low.mul_add(unit, num_low);
    let (den, den_low) = two_sum(num, two);
    let value = divide((num, num_low), (den, den_low + num_low));
    // x^3/3 is below half an ulp here, and the quotient would round subnormal numbers twice.
    L::select(x.abs().lt(x.fill(1e-9)), x, value.copysign(x))
}

/// Returns ln(e^a + e^b), with an error below 1.5 ulp for results of magnitude above 2^-48, and an absolute error below
/// 2^-100 for smaller results.
///
/// The result is the larger argument plus ln(1 + e^-d), where d is the distance of the arguments. Where these two terms
/// cancel, e^a + e^b - 1 is computed in double-double instead.
#[inline(always)]
pub fn log_add_exp<L: Lanes>(a: L, b: L) -> L {
    let (zero, one) = (a.fill(0.0), a.fill(1.0));
    let high = a.max(b);
    let low = L::select(a.lt(b), a, b);
    let (d, d_low) = two_sum(low, -high);
    let near = d.gt(a.fill(-708.0));
    let (n, t, t_low) = accurate_expm1(L::select(near, d, a.fill(-708.0)), L::select(near, d_low, zero));
    let unit = exp2_int(n);
    let (e, e_low) = fast_two_sum(one, t);
    let (e, e_low) = (e * unit, (e_low + t_low) * unit);
    // Terms below e^-708 still matter if `high` is tiny.
    let (e, e_low) =
        if L::all(near) { (e, e_low) } else { (L::select(near, e, exp(d)), L::select(near, e_low, zero)) };
    // ln(1 + e) is the logarithm of the rounded sum, plus its derivative times the sum's rounding error.
    let (sum, rest) = fast_two_sum(one, e);
    let log = ln(sum);
    let (value, value_low) = two_sum(high, log);
    let value = value + (value_low + (rest + e_low) / sum);
    let cancels = high.lt(zero) & value.abs().lt(log + rest);
    let value =
        if L::any(cancels) { L::select(cancels, log_add_exp_near_zero(high, low), value) } else { value };
    // The difference of equal infinities is NaN.
    let value = L::select(high.abs().eq(a.fill(f64::INFINITY)), high, value);
    L::select(a.is_nan() | b.is_nan(), a + b, value)
}

/// 1/k! for k from 2 on, as double-doubles.
const FACTORIALS: [(f64, f64); 24] = [
    (0.5, 0.0),
    (0.16666666666666666, 9.25185853854297e-18),
    (0.041666666666666664, 2.3129646346357427e-18),
    (0.008333333333333333, 1.1564823173178714e-19),
    (0.001388888888888889, -5.300543954373577e-20),
    (0.0001984126984126984, 1.7209558293420705e-22),
    (2.48015873015873e-05, 2.1511947866775882e-23),
    (2.7557319223985893e-06, -1.858393274046472e-22),
    (2.755731922398589e-07, 2.3767714622250297e-23),
    (2.505210838544172e-08, -1.448814070935912e-24),
    (2.08767569878681e-09, -1.20734505911326e-25),
    (1.6059043836821613e-10, 1.2585294588752098e-26),
    (1.1470745597729725e-11, 2.0655512752830745e-28),
    (7.647163731819816e-13, 7.03872877733453e-30),
    (4.779477332387385e-14, 4.399205485834081e-31),
    (2.8114572543455206e-15, 1.6508842730861433e-31),
    (1.5619206968586225e-16, 1.1910679660273754e-32),
    (8.22063524662433e-18, 2.2141894119604265e-34),
    (4.110317623312165e-19, 1.4412973378659527e-36),
    (1.9572941063391263e-20, -1.3643503830087908e-36),
    (8.896791392450574e-22, -7.911402614872376e-38),
    (3.868170170630684e-23, -8.843177655482344e-40),
    (1.6117375710961184e-24, -3.6846573564509766e-41),
    (6.446950284384474e-26, -1.9330404233703465e-42),
];

/// Returns, for x <= 0, an integral n and e^(x - n ln 2) - 1 as a double-double.
#[inline(always)]
fn double_double_expm1<L: Lanes>(x: L) -> (L, (L, L)) {
    let x = clamp(x);
    let n = (x * x.fill(core::f64::consts::LOG2_E)).round_ties_even();
    let near = n.mul_add(x.fill(-LN_2), x);
    let (p, p_low) = two_product(n, x.fill(-LN_2_LOW));
    let (r, rest) = two_sum(near, p);
    // The constant is the third part of ln 2.
    let r = fast_two_sum(r, n.mul_add(x.fill(-5.707708438416212e-34), rest + p_low));
    let term = |i: usize| (x.fill(FACTORIALS[i].0), x.fill(FACTORIALS[i].1));
    let mut series = term(FACTORIALS.len() - 1);
    for i in (0..FACTORIALS.len() - 1).rev() {
        series = add(term(i), multiply(series, r));
    }
    (n, add(r, multiply(multiply(r, r), series)))
}

/// Returns ln(e^high + e^low) where it is near zero, for `low <= high < 0`.
#[cold]
#[inline(always)]
fn log_add_exp_near_zero<L: Lanes>(high: L, low: L) -> L {
    let one = high.fill(1.0);
    // Lanes that are not near zero are replaced by a value that `exp2_int` can scale; their results are not used.
    let (n, t) = double_double_expm1(L::select(high.gt(high.fill(-2.0)), high, -one));
    let unit = exp2_int(n);
    let above = add((unit - one, high.fill(0.0)), (t.0 * unit, t.1 * unit));
    let (n, t) = double_double_expm1(low);
    let t = add((one, high.fill(0.0)), t);
    let sum = add(above, (scale(t.0, n), scale(t.1, n)));
    // ln(1 + sum) is the logarithm of the rounded argument, plus its derivative times the rounding error.
    let (x, rest) = two_sum(one, sum.0);
    ln(x) + (rest + sum.1) / x
}
