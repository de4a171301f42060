//! Sine, cosine, tangent and the inverse tangent.

use super::pairs::{divide, fast_two_sum, two_product, two_sum};
use super::{LaneBits, Lanes, patch};

const ROUND: f64 = 6755399441055744.0;
const TWO_OVER_PI: f64 = core::f64::consts::FRAC_2_PI;
/// pi/2 to three times the precision of a double.
const HALF_PI: [f64; 3] = [core::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591698e-33];
/// Up to here the three parts of pi/2 leave a remainder good to 2^-60 of itself; beyond, the lanes
/// go through `libm`, which has 1200 bits of 2/pi (Payne and Hanek 1983).
const NEAR: f64 = 1e9;

/// (sin r / r - 1) / r^2 in r^2 on |r| <= pi/4, minimax to 2^-68 of the sine.
const SIN: [f64; 7] = [
    -0.16666666666666666,
    0.008333333333333323,
    -0.00019841269841255123,
    2.7557319214219277e-06,
    -2.505210491925955e-08,
    1.6058367623906914e-10,
    -7.578748167734078e-13,
];
/// (cos r - 1 + r^2/2) / r^4 in r^2 on |r| <= pi/4, minimax to 2^-64 of the cosine.
const COS: [f64; 6] = [
    0.0416666666666666,
    -0.0013888888888874125,
    2.480158728948218e-05,
    -2.755731435232992e-07,
    2.0875723272702853e-09,
    -1.1359647771262416e-11,
];
/// (atan t / t - 1) / t^2 in t^2 on |t| <= 7/16, minimax to 2^-57 of the inverse tangent.
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

/// The multiple of pi/2 nearest to x, as the low bits of an integer, and what remains of x.
#[inline(always)]
fn reduce<L: Lanes>(x: L) -> (L::Bits, L, L) {
    let shifted = x.mul_add(x.fill(TWO_OVER_PI), x.fill(ROUND));
    let n = shifted - x.fill(ROUND);
    // Exact: the difference is a multiple of the last place of x or of the first part.
    let near = n.mul_add(x.fill(-HALF_PI[0]), x);
    let (p, p_low) = two_product(n, x.fill(-HALF_PI[1]));
    let (r, r_low) = two_sum(near, p);
    let low = n.mul_add(x.fill(-HALF_PI[2]), r_low + p_low);
    let (r, r_low) = fast_two_sum(r, low);
    (shifted.to_bits(), r, r_low)
}

/// The sine of `r + low` as a sum of two.
#[inline(always)]
fn sin_near<L: Lanes>(r: L, low: L) -> (L, L) {
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

/// The cosine of `r + low` as a sum of two.
#[inline(always)]
fn cos_near<L: Lanes>(r: L, low: L) -> (L, L) {
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

/// Where bit `bit` of the quadrant is set.
#[inline(always)]
fn quadrant_bit<L: Lanes>(x: L, quadrant: L::Bits, bit: u32) -> L::Mask {
    // As a sign bit it tells +1 from -1.
    let sign = (quadrant << (63 - bit)) & x.fill_bits(super::SIGN);
    L::from_bits(sign | x.fill(1.0).to_bits()).lt(x.fill(0.0))
}

/// The sine, of x advanced by `turns` quarter turns.
#[inline(always)]
fn wave<L: Lanes>(x: L, turns: u64) -> L {
    let (quadrant, r, low) = reduce(x);
    let quadrant = quadrant.plus(x.fill_bits(turns));
    let (sin, sin_low) = sin_near(r, low);
    let (cos, cos_low) = cos_near(r, low);
    let value = L::select(quadrant_bit(x, quadrant, 0), cos + cos_low, sin + sin_low);
    let sign = (quadrant << 62) & x.fill_bits(super::SIGN);
    L::from_bits(value.to_bits() ^ sign)
}

/// The sine.
///
/// Error below 1 ulp for every finite x. Cody and Waite's reduction (1980) with three parts of
/// pi/2 and exact products, then one of two polynomials.
#[inline(always)]
pub fn sin<L: Lanes>(x: L) -> L {
    // Keeps the sign of a zero.
    let value = L::select(x.abs().lt(x.fill(1e-8)), x, wave(x, 0));
    beyond(x, value, libm::sin)
}

/// The cosine. Error and method as for [`sin`].
#[inline(always)]
pub fn cos<L: Lanes>(x: L) -> L {
    beyond(x, wave(x, 1), libm::cos)
}

/// The tangent.
///
/// Error below 1 ulp for every finite x. The quotient of the sine and the cosine, both with the
/// low parts that their rounding would lose.
#[inline(always)]
pub fn tan<L: Lanes>(x: L) -> L {
    let (quadrant, r, low) = reduce(x);
    let (sin, sin_low) = sin_near(r, low);
    let (cos, cos_low) = cos_near(r, low);
    let odd = quadrant_bit(x, quadrant, 0);
    let num = (L::select(odd, -cos, sin), L::select(odd, -cos_low, sin_low));
    let den = (L::select(odd, sin, cos), L::select(odd, sin_low, cos_low));
    let value = L::select(x.abs().lt(x.fill(1e-8)), x, divide(num, den));
    beyond(x, value, libm::tan)
}

/// Replaces the lanes that the reduction does not reach.
#[inline(always)]
fn beyond<L: Lanes>(x: L, value: L, f: fn(f64) -> f64) -> L {
    let near = x.abs().le(x.fill(NEAR));
    if L::all(near) {
        return value;
    }
    patch(value, !near, x, f)
}

/// The quotient to take the inverse tangent of, and the angle to add in two parts.
type Turn<L> = (L, L, L, L);

/// The turn by `angle` where `ax` is below `end`, `turn` elsewhere.
#[inline(always)]
fn below<L: Lanes>(end: f64, ax: L, slope: (L, L), angle: (f64, f64), turn: Turn<L>) -> Turn<L> {
    let here = ax.lt(ax.fill(end));
    (
        L::select(here, slope.0, turn.0),
        L::select(here, slope.1, turn.1),
        L::select(here, ax.fill(angle.0), turn.2),
        L::select(here, ax.fill(angle.1), turn.3),
    )
}

/// The inverse tangent.
///
/// Error below 1 ulp. The argument is turned back by the nearest of the angles of slope 0, 1/2, 1,
/// 3/2 and infinity (the intervals of FDLIBM, Sun Microsystems 1993), then a polynomial.
#[inline(always)]
pub fn atan<L: Lanes>(x: L) -> L {
    let c = |i: usize| x.fill(ATAN[i]);
    let (ax, one, three_halves) = (x.abs(), x.fill(1.0), x.fill(1.5));
    let turn = (-one, ax, x.fill(HALF_PI[0]), x.fill(HALF_PI[1]));
    let slope = (ax - three_halves, ax.mul_add(three_halves, one));
    let turn = below(2.4375, ax, slope, (0.982793723247329, 1.3903311031230998e-17), turn);
    let slope = (ax - one, ax + one);
    let turn = below(1.1875, ax, slope, (0.5 * HALF_PI[0], 0.5 * HALF_PI[1]), turn);
    let slope = ((ax + ax) - one, x.fill(2.0) + ax);
    let turn = below(0.6875, ax, slope, (0.4636476090008061, 2.2698777452961687e-17), turn);
    let (num, den, base, base_low) = below(0.4375, ax, (ax, one), (0.0, 0.0), turn);
    let t = num / den;
    let z = t * t;
    let z2 = z * z;
    let z4 = z2 * z2;
    let bottom = c(3).mul_add(z, c(2)).mul_add(z2, c(1).mul_add(z, c(0)));
    let middle = c(7).mul_add(z, c(6)).mul_add(z2, c(5).mul_add(z, c(4)));
    let top = c(10).mul_add(z2, c(9).mul_add(z, c(8)));
    let series = top.mul_add(z4, middle).mul_add(z4, bottom);
    let bend = (t * z).mul_add(series, base_low);
    (base + (t + bend)).copysign(x)
}
