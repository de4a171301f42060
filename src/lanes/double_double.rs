//! Double-double arithmetic: a value is the unevaluated sum of two `f64`, which doubles the precision.

use super::Lanes;

/// Returns `a + b` exactly as a rounded sum and its error, if `|a| >= |b|` or `a` is zero (Dekker 1971).
#[inline(always)]
pub(super) fn fast_two_sum<L: Lanes>(a: L, b: L) -> (L, L) {
    let sum = a + b;
    (sum, (a - sum) + b)
}

/// Returns `a + b` exactly as a rounded sum and its error (Knuth 1969).
#[inline(always)]
pub(super) fn two_sum<L: Lanes>(a: L, b: L) -> (L, L) {
    let sum = a + b;
    let b_in_sum = sum - a;
    (sum, (a - (sum - b_in_sum)) + (b - b_in_sum))
}

/// Returns `a * b` exactly as a rounded product and its error, if the error does not underflow.
#[inline(always)]
pub(super) fn two_product<L: Lanes>(a: L, b: L) -> (L, L) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

/// Returns the sum of two double-doubles, with an error below 2^-100 of the larger.
#[inline(always)]
pub(super) fn add<L: Lanes>(a: (L, L), b: (L, L)) -> (L, L) {
    let (sum, rest) = two_sum(a.0, b.0);
    fast_two_sum(sum, rest + (a.1 + b.1))
}

/// Returns the product of two double-doubles, with a relative error below 2^-100.
#[inline(always)]
pub(super) fn multiply<L: Lanes>(a: (L, L), b: (L, L)) -> (L, L) {
    let (p, rest) = two_product(a.0, b.0);
    fast_two_sum(p, a.0.mul_add(b.1, a.1.mul_add(b.0, rest)))
}

/// Returns the quotient of two double-doubles as one `f64`, with an error just above half an ulp.
#[inline(always)]
pub(super) fn divide<L: Lanes>((num, num_low): (L, L), (den, den_low): (L, L)) -> L {
    let reciprocal = num.fill(1.0) / den;
    let quotient = num * reciprocal;
    let rest = (-quotient).mul_add(den, num) + (-quotient).mul_add(den_low, num_low);
    rest.mul_add(reciprocal, quotient)
}
