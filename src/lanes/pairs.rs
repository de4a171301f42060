//! Unevaluated sums of two doubles, where one double is too short.

use super::Lanes;

/// `a + b` as an unevaluated sum of two, exactly, if `|a| >= |b|` or `a` is zero (Dekker 1971).
#[inline(always)]
pub(super) fn fast_two_sum<L: Lanes>(a: L, b: L) -> (L, L) {
    let sum = a + b;
    (sum, (a - sum) + b)
}

/// `a + b` as an unevaluated sum of two, exactly (Knuth 1969).
#[inline(always)]
pub(super) fn two_sum<L: Lanes>(a: L, b: L) -> (L, L) {
    let sum = a + b;
    let b_seen = sum - a;
    (sum, (a - (sum - b_seen)) + (b - b_seen))
}

/// `a * b` as an unevaluated sum of two, exactly short of underflow.
#[inline(always)]
pub(super) fn two_product<L: Lanes>(a: L, b: L) -> (L, L) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

/// The quotient of two double-doubles, rounded to one `f64` with an error just above half an ulp.
#[inline(always)]
pub(super) fn divide<L: Lanes>((num, num_low): (L, L), (den, den_low): (L, L)) -> L {
    let reciprocal = num.fill(1.0) / den;
    let quotient = num * reciprocal;
    let rest = (-quotient).mul_add(den, num) + (-quotient).mul_add(den_low, num_low);
    rest.mul_add(reciprocal, quotient)
}
