//! Sine, cosine, tangent and inverse tangent; angles are in radians.

use super::double_double::{divide, fast_two_sum, two_product, two_sum};
use super::{LaneBits, Lanes, patch};

/// 1.5 * 2^52. The sum of a small number and this has the nearest integer in its low bits.
const ROUND: f64 = 6755399441055744.0;
const TWO_OVER_PI: f64 = core::f64::consts::FRAC_2_PI;
/// pi/2 as the sum of three `f64`.
const HALF_PI: [f64; 3] = [core::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];
/// The largest argument that is reduced by the three parts of pi/2; the remainder's relative error is below 2^-60. For
/// larger arguments `libm` is called, which has 1200 bits of 2/pi (Payne & Hanek 1983).
const REDUCTION_LIMIT: f64 = 1e9;

/// Coefficients of (sin r / r - 1) / r^2 in r^2 on |r| <= pi/4, minimax; the error relative to the sine is 2^-68.
const SIN: [f64; 7] = [
    -0.16666666666666666,
    0.008333333333333323,
    -0.00019841269841255123,
    2.7557319214219277e-06,
    -2.505210491925955e-08,
    1.6058367623906914e-10,
    -7.578748167734078e-13,
];
/// Coefficients of (cos r - 1 + r^2/2) / r^4 in r^2 on |r| <= pi/4, minimax; the error relative to the cosine is 2^-64.
const COS: [f64; 6] = [
    0.0416666666666666,
    -0.0013888888888874125,
    2.480158728948218e-05,
    -2.755731435232992e-07,
    2.0875723272702853e-09,
    -1.1359647771262416e-11,
];
/// Coefficients of (atan t / t - 1) / t^2 in t^2 on |t| <= 7/16, minimax; the error relative to the result is 2^-57.
const ATAN: [f64; 11] = [
    -0.3333333333333293,
    0.19999999999876047,
    -0.14285714272469754,
    0.11111110404102643,
    -0.09090887100943726,
    0.07691875715333457,
    -0.06661068357769014,
    0.05833539986795866,
    -0.049767594116794635,
    0.03652892852037582,
    -0.016283268152714653,
];

/// Returns the integer n nearest to x / (pi/2), in the low bits, and x - n pi/2 as a double-double.
#[inline(always)]
fn reduce<L: Lanes>(x: L) -> (L::Bits, L, L) {
    let shifted = x.mul_add(x.fill(TWO_OVER_PI), x.fill(ROUND));
    let n = shifted - x.fill(ROUND);
    // The difference is exact: it is a multiple of the last place of x or of the first part.
    let near = n.mul_add(x.fill(-HALF_PI[0]), x);
    let (p, p_low) = two_product(n, x.fill(-HALF_PI[1]));
    let (r, r_low) = two_sum(near, p);
    let low = n.mul_add(x.fill(-HALF_PI[2]), r_low + p_low);
    let (r, r_low) = fast_two_sum(r, low);
    (shifted.to_bits(), r, r_low)
}

/// Returns the sine of `r + low` as a double-double, for |r| <= pi/4.
#[inline(always)]
fn sin_reduced<L: Lanes>(r: L, low: L) -> (L, L) {
    let c = |i: usize| r.fill(SIN[i]);
    let z = r * r;
    let z2 = z * z;
    let bottom = c(3).mul_add(z, c(2)).mul_add(z2, c(1).mul_add(z, c(0)));
    let top = c(6).mul_add(z2, c(5).mul_add(z, c(4)));
    let series = top.mul_add(z2 * z2, bottom);
    let slope = z.mul_add(r.fill(-0.5), r.fill(1.0));
    let (value, value_low) = fast_two_sum(r, (z * r) * series);
    (value, low.mul_add(slope, value_low))
}

/// Returns the cosine of `r + low` as a double-double, for |r| <= pi/4.
#[inline(always)]
fn cos_reduced<L: Lanes>(r: L, low: L) -> (L, L) {
    let c = |i: usize| r.fill(COS[i]);
    let (z, z_low) = two_product(r, r);
    let z2 = z * z;
    let bottom = c(3).mul_add(z, c(2)).mul_add(z2, c(1).mul_add(z, c(0)));
    let series = c(5).mul_add(z, c(4)).mul_add(z2 * z2, bottom);
    let half = z * r.fill(-0.5);
    let (top, top_low) = fast_two_sum(r.fill(1.0), half);
    let (value, value_low) = fast_two_sum(top, z2 * series);
    let slope = z_low.mul_add(r.fill(-0.5), -(r * low));
    (value, value_low + (top_low + slope))
}

/// Returns whether bit `bit` of the quadrant is set.
#[inline(always)]
fn quadrant_bit<L: Lanes>(x: L, quadrant: L::Bits, bit: u32) -> L::Mask {
    // The bit becomes the sign of 1.
    let sign = (quadrant << (63 - bit)) & x.fill_bits(super::SIGN);
    L::from_bits(sign | x.fill(1.0).to_bits()).lt(x.fill(0.0))
}

/// Returns the sine of x + turns pi/2.
#[inline(always)]
fn shifted_sine<L: Lanes>(x: L, turns: u64) -> L {
    let (quadrant, r, low) = reduce(x);
    let quadrant = quadrant.plus(x.fill_bits(turns));
    let (sin, sin_low) = sin_reduced(r, low);
    let (cos, cos_low) = cos_reduced(r, low);
    let value = L::select(quadrant_bit(x, quadrant, 0), cos + cos_low, sin + sin_low);
    let sign = (quadrant << 62) & x.fill_bits(super::SIGN);
    L::from_bits(value.to_bits() ^ sign)
}

/// Returns the sine, with an error below 1 ulp for every finite x.
///
/// The argument is reduced with three parts of pi/2 and exact products (Cody & Waite 1980); a polynomial gives the sine
/// or cosine of the remainder.
#[inline(always)]
pub fn sin<L: Lanes>(x: L) -> L {
    // Keeps the sign of a zero.
    let value = L::select(x.abs().lt(x.fill(1e-8)), x, shifted_sine(x, 0));
    patch_large(x, value, libm::sin)
}

/// Returns the cosine, with the error and by the method of [`sin`].
#[inline(always)]
pub fn cos<L: Lanes>(x: L) -> L {
    patch_large(x, shifted_sine(x, 1), libm::cos)
}

/// Returns the tangent, with an error below 1 ulp for every finite x.
///
/// The result is the quotient of the sine and the cosine as double-doubles.
#[inline(always)]
pub fn tan<L: Lanes>(x: L) -> L {
    let (quadrant, r, low) = reduce(x);
    let (sin, sin_low) = sin_reduced(r, low);
    let (cos, cos_low) = cos_reduced(r, low);
    let odd = quadrant_bit(x, quadrant, 0);
    let num = (L::select(odd, -cos, sin), L::select(odd, -cos_low, sin_low));
    let den = (L::select(odd, sin, cos), L::select(odd, sin_low, cos_low));
    let value = L::select(x.abs().lt(x.fill(1e-8)), x, divide(num, den));
    patch_large(x, value, libm::tan)
}

/// Returns `value`, replaced by `f(x)` in lanes where `x` is beyond the limit of the reduction.
#[inline(always)]
fn patch_large<L: Lanes>(x: L, value: L, f: fn(f64) -> f64) -> L {
    let near = x.abs().le(x.fill(REDUCTION_LIMIT));
    if L::all(near) {
        return value;
    }
    patch(value, !near, x, f)
}

/// A reduced argument of the inverse tangent: numerator and denominator of the tangent of the remaining angle, and the
/// angle to add in two parts.
type Rotation<L> = (L, L, L, L);

/// Returns the rotation with quotient `slope` and angle `angle` where `ax` is below `end`, `rotation` elsewhere.
#[inline(always)]
fn below<L: Lanes>(end: f64, ax: L, slope: (L, L), angle: (f64, f64), rotation: Rotation<L>) -> Rotation<L> {
    let here = ax.lt(ax.fill(end));
    (
        L::select(here, slope.0, rotation.0),
        L::select(here, slope.1, rotation.1),
        L::select(here, ax.fill(angle.0), rotation.2),
        L::select(here, ax.fill(angle.1), rotation.3),
    )
}

/// Returns the inverse tangent, with an error below 1 ulp.
///
/// The argument is rotated by the nearest of the angles with slope 0, 1/2, 1, 3/2 and infinity (the intervals of
/// FDLIBM, Sun Microsystems 1993); a polynomial gives the remaining angle.
#[inline(always)]
pub fn atan<L: Lanes>(x: L) -> L {
    let c = |i: usize| x.fill(ATAN[i]);
    let (ax, one, three_halves) = (x.abs(), x.fill(1.0), x.fill(1.5));
    let rotation = (-one, ax, x.fill(HALF_PI[0]), x.fill(HALF_PI[1]));
    let slope = (ax - three_halves, ax.mul_add(three_halves, one));
    let rotation = below(2.4375, ax, slope, (0.982793723247329, 1.3903311031230998e-17), rotation);
    let slope = (ax - one, ax + one);
    let rotation = below(1.1875, ax, slope, (0.5 * HALF_PI[0], 0.5 * HALF_PI[1]), rotation);
    let slope = ((ax + ax) - one, x.fill(2.0) + ax);
    let rotation = below(0.6875, ax, slope, (0.4636476090008061, 2.2698777452961687e-17), rotation);
    let (num, den, base, base_low) = below(0.4375, ax, (ax, one), (0.0, 0.0), rotation);
    let t = num / den;
    let z = t * t;
    let z2 = z * z;
    let z4 = z2 * z2;
    let bottom = c(3).mul_add(z, c(2)).mul_add(z2, c(1).mul_add(z, c(0)));
    let middle = c(7).mul_add(z, c(6)).mul_add(z2, c(5).mul_add(z, c(4)));
    let top = c(10).mul_add(z2, c(9).mul_add(z, c(8)));
    let series = top.mul_add(z4, middle).mul_add(z4, bottom);
    let correction = (t * z).mul_add(series, base_low);
    (base + (t + correction)).copysign(x)
}
