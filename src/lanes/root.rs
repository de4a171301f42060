//! Finds the root of a monotone function between two ends, in every lane.
//!
//! The method is Newton's, safeguarded by a bracket that never grows. Two choices make it fast for roots that may lie
//! anywhere over many orders of magnitude:
//!
//! * Far from the root, Newton's step is taken in the logit `t = log((y − low)/(high − y))` of the position between the
//!   ends (in the logarithm of the distance to the finite end, where one is infinite). A power of either distance is
//!   nearly linear in it.
//! * Where Newton's step leaves the bracket, or steps do not shrink, the bracket is bisected in the *order of
//!   floating-point numbers*: both halves contain equally many. From any two ends, 64 bisections lead to two
//!   neighbours.
//!
//! The iteration ends when Newton's step is below a unit in the last place, when steps stop shrinking because only
//! rounding errors of the function are left, or when no number is left inside the bracket. The result in a lane depends
//! on the values in this lane alone.

use super::{LaneBits, Lanes, SIGN, exp};

/// The number of rounds after which brackets are only bisected, so that [`MOST_ROUNDS`] always suffice.
const NEWTON_ROUNDS: usize = 40;

/// The number of rounds after which no lane is open: those of Newton's method, 64 bisections, an evaluation at the last
/// point, and three in reserve.
pub const MOST_ROUNDS: usize = NEWTON_ROUNDS + 68;

/// The change of the logit below which Newton's step is taken in the unknown itself, because the function is nearly
/// linear in either.
const NEAR: f64 = 1.0 / 16.0;

/// The change of the logit, 2⁻³⁰, below which steps that do not shrink are taken for rounding errors.
const RESOLVED: f64 = 1.0 / 1_073_741_824.0;

/// A search for a root in every lane.
#[derive(Clone, Copy, Debug)]
pub struct Search<L> {
    /// The point at which the function is to be evaluated next. In a lane that is not open: the root, or NaN if there
    /// is none.
    pub point: L,
    /// The lower end of the bracket.
    pub low: L,
    /// The upper end of the bracket.
    pub high: L,
    /// The size of the last Newton step in the logit; infinite before the first step and after a bisection.
    pub last: L,
    /// 1 where the function increases, −1 where it decreases.
    pub direction: L,
    /// 1 where the search continues, 0 where it has ended.
    pub open: L,
}

/// Returns the next number above: where a function is evaluated that has no value at the low end.
#[inline(always)]
pub fn above<L: Lanes>(x: L) -> L {
    from_ordered_bits(ordered_bits(x).plus(x.fill_bits(1)))
}

/// Returns the next number below.
#[inline(always)]
pub fn below<L: Lanes>(x: L) -> L {
    from_ordered_bits(ordered_bits(x).minus(x.fill_bits(1)))
}

/// Returns bits that are, as unsigned integers, in the order of the numbers.
#[inline(always)]
fn ordered_bits<L: Lanes>(x: L) -> L::Bits {
    let bits = x.to_bits();
    let negative = x.fill_bits(0).minus(bits >> 63);
    bits ^ (negative | x.fill_bits(SIGN))
}

/// Returns the number with these [`ordered_bits`].
#[inline(always)]
fn from_ordered_bits<L: Lanes>(bits: L::Bits) -> L {
    // This value only supplies the token.
    let any = L::from_bits(bits);
    let negative = (bits >> 63).minus(any.fill_bits(1));
    L::from_bits(bits ^ (negative | any.fill_bits(SIGN)))
}

/// Returns the median of the floating-point numbers between two, the lower one of two medians.
#[inline(always)]
fn middle<L: Lanes>(low: L, high: L) -> L {
    let (a, b) = (ordered_bits(low), ordered_bits(high));
    from_ordered_bits((a & b).plus((a ^ b) >> 1))
}

impl<L: Lanes> Search<L> {
    /// Begins a search between two ends, at which the function has the values `at_low` and `at_high`.
    ///
    /// Only the signs of the values matter; a zero counts as the sign that the value at the other end does not have.
    /// Where the sign does not change, or no number lies strictly between the ends, there is no root.
    #[inline(always)]
    pub fn begin(low: L, high: L, at_low: L, at_high: L) -> Self {
        let zero = low.fill(0.0);
        let one = low.fill(1.0);
        let rises = (at_low.lt(zero) & at_high.ge(zero)) | (at_low.le(zero) & at_high.gt(zero));
        let falls = (at_low.gt(zero) & at_high.le(zero)) | (at_low.ge(zero) & at_high.lt(zero));
        let possible = (rises | falls) & above(low).lt(high);
        let no_low = low.eq(low.fill(f64::NEG_INFINITY));
        let no_high = high.eq(high.fill(f64::INFINITY));
        let half = low.fill(0.5);
        let centre = half * low + half * high;
        let first = L::select(no_high, low + (one + low.abs()), centre);
        let first = L::select(no_low, high - (one + high.abs()), first);
        let first = L::select(no_low & no_high, zero, first);
        let first = first.max(above(low)).min(below(high));
        Search {
            point: L::select(possible, first, low.fill(f64::NAN)),
            low,
            high,
            last: low.fill(f64::INFINITY),
            direction: L::select(rises, one, -one),
            open: L::select(possible, one, zero),
        }
    }

    /// Continues the search with the function's value and derivative at [`Search::point`]. Lanes that are not open do
    /// not change.
    ///
    /// `ends` are those given to [`Search::begin`], and `round` counts the calls from zero. Where the derivative is
    /// NaN, the bracket is bisected.
    #[inline(always)]
    pub fn observe(self, ends: (L, L), value: L, slope: L, round: usize) -> Self {
        let (end_low, end_high) = ends;
        let y = self.point;
        let zero = y.fill(0.0);
        let one = y.fill(1.0);
        let signed = value * self.direction;
        let high = L::select(signed.gt(zero), y, self.high);
        let low = L::select(signed.lt(zero), y, self.low);

        // A slope that contradicts the direction, or overflows, is not usable.
        let along = slope * self.direction;
        let usable = along.gt(zero) & along.lt(y.fill(f64::INFINITY));
        let slope = L::select(usable, slope, y.fill(f64::NAN));
        let step = -(value / slope);
        let (left, right) = (y - end_low, end_high - y);
        let no_low = end_low.eq(y.fill(f64::NEG_INFINITY));
        let no_high = end_high.eq(y.fill(f64::INFINITY));
        let width = end_high - end_low;
        // dy/dt of the logit, or of the logarithm of the distance to the one finite end.
        let scale = L::select(no_high, left, left * (right / width));
        let scale = L::select(no_low, right, scale);
        let scale = L::select(no_low & no_high, one + y.abs(), scale);
        let change = step / scale;
        let size = change.abs();

        let factor = exp(change);
        let scaled_left = left * factor;
        let far = end_low + L::select(no_high, scaled_left, width * (scaled_left / (scaled_left + right)));
        let far = L::select(no_low, end_high - right / factor, far);
        let far = L::select(no_low & no_high, y + step, far);
        // Near an end a large change of the logit is a small step, so both must be small.
        let near = size.le(y.fill(NEAR));
        let exact = near & step.abs().le(y.fill(2.0 * f64::EPSILON) * y.abs());
        let target = L::select(near, y + step, far);
        let target = target.max(above(end_low)).min(below(end_high));

        let inside = low.lt(target) & target.lt(high);
        let slow = size.gt(y.fill(0.5) * self.last);
        let rounding = size.le(y.fill(RESOLVED)) & (slow | !inside);
        let go = if round < NEWTON_ROUNDS { inside & !slow } else { zero.lt(zero) };

        let middle = middle(low, high);
        let empty = !go & middle.eq(low);
        let root = value.eq(zero) | exact | rounding | empty;
        let none = value.is_nan();
        let refined = L::select((exact | rounding) & inside, target, y);
        let refined = L::select(value.eq(zero), y, refined);
        let next = L::select(go, target, middle);
        let point = L::select(none, y.fill(f64::NAN), L::select(root, refined, next));

        let open = self.open.gt(zero);
        Search {
            point: L::select(open, point, y),
            low: L::select(open, low, self.low),
            high: L::select(open, high, self.high),
            last: L::select(open, L::select(go, size, y.fill(f64::INFINITY)), self.last),
            direction: self.direction,
            open: L::select(open & !(root | none), one, zero),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the root and the number of rounds of a scalar search.
    fn root(low: f64, high: f64, f: impl Fn(f64) -> (f64, f64)) -> (f64, usize) {
        let mut search = Search::begin(low, high, f(low).0, f(high).0);
        for round in 0..MOST_ROUNDS {
            if search.open == 0.0 {
                return (search.point, round);
            }
            let (value, slope) = f(search.point);
            search = search.observe((low, high), value, slope, round);
        }
        assert_eq!(search.open, 0.0, "{search:?}");
        (search.point, MOST_ROUNDS)
    }

    #[test]
    fn above_and_below_are_the_neighbours() {
        for x in [1.0, -1.0, 1e300, -1e-310, f64::MAX, 5e-324, 0.1] {
            assert_eq!(above(x), x.next_up(), "{x}");
            assert_eq!(below(x), x.next_down(), "{x}");
        }
        assert_eq!(below(f64::INFINITY), f64::MAX);
        assert_eq!(above(f64::NEG_INFINITY), f64::MIN);
        assert_eq!(above(0.0), 5e-324);
    }

    #[test]
    fn roots_match_known_values() {
        // √2, ∛2 from the left and from the right, log 2, the fixed point of cos (OEIS A003957).
        let close = |(got, rounds): (f64, usize), want: f64| {
            assert!((got / want - 1.0).abs() <= 2.0 * f64::EPSILON, "{got} for {want}");
            assert!(rounds <= 12, "{rounds} rounds to {want}");
        };
        close(root(0.0, 2.0, |y| (y * y - 2.0, 2.0 * y)), std::f64::consts::SQRT_2);
        close(root(-7.0, 9.0, |y| (y * y * y - 2.0, 3.0 * y * y)), 1.259_921_049_894_873_2);
        close(root(-9.0, 1e5, |y| (2.0 - y.exp(), -y.exp())), std::f64::consts::LN_2);
        close(root(0.0, 1.0, |y| (y - y.cos(), 1.0 + y.sin())), 0.739_085_133_215_160_6);
        // Without an upper end, and without any.
        close(root(0.0, f64::INFINITY, |y| (y.ln() - 200.0, 1.0 / y)), 200_f64.exp());
        close(
            root(f64::NEG_INFINITY, f64::INFINITY, |y| (y.atan() - 1.0, 1.0 / (1.0 + y * y))),
            1.557_407_724_654_902_3,
        );
    }

    #[test]
    fn roots_are_found_with_missing_or_wrong_slopes() {
        // Without a slope the bracket is bisected down to neighbouring numbers.
        let (y, rounds) = root(1e-300, 1e300, |y| (y - 0.3, f64::NAN));
        assert!((y - 0.3).abs() <= 0.3 * f64::EPSILON && rounds <= 66, "{y} {rounds}");
        let (y, _) = root(-1.0, 1.0, |y| (y * y * y - 1e-30, -1.0));
        assert!((y / 1e-10 - 1.0).abs() < 1e-14, "{y}");
        // At a jump the result is a neighbour of the jump.
        let (y, _) = root(0.0, 1.0, |y| (if y < 0.7 { -1.0 } else { 1.0 }, 0.0));
        assert!((y - 0.7).abs() <= 0.7 * f64::EPSILON, "{y}");
    }

    #[test]
    fn the_root_is_nan_without_a_change_of_sign() {
        assert!(root(0.0, 1.0, |y| (y + 1.0, 1.0)).0.is_nan());
        assert!(root(1.0, 0.0, |y| (y - 0.5, 1.0)).0.is_nan());
        assert!(root(1.0, 1.0_f64.next_up(), |y| (y - 1.0, 1.0)).0.is_nan());
        assert!(root(f64::NAN, 1.0, |y| (y - 0.5, 1.0)).0.is_nan());
        assert!(root(0.0, 1.0, |y| (if y == 0.5 { f64::NAN } else { y - 0.3 }, 1.0)).0.is_nan());
    }

    #[test]
    fn roots_near_an_end_are_found() {
        // The root is near zero, where the slope overflows.
        let (y, _) = root(0.0, 1.0, |y| {
            (y.ln() - 0.01 * (1.0 - y).ln() - 1e-200_f64.ln(), 1.0 / y + 0.01 / (1.0 - y))
        });
        assert!((y / 1e-200 - 1.0).abs() < 2e-13, "{y}");
        // A power of the distance to an end: Newton's steps in the unknown would be short far from the root.
        let near_end = |y: f64| ((y - 1.0) / (3.0 - y).sqrt() - 1e7, 0.5 * (y - 1.0) * (3.0 - y).powf(-1.5));
        assert_eq!(root(1.0, 3.0, near_end).0, 2.99999999999996);
        // A root at an end is reported as the number beside it.
        assert_eq!(root(1.0, 2.0, |y| (y - 1.0, 1.0)).0, 1.0_f64.next_up());
        assert_eq!(root(1.0, 2.0, |y| (2.0 - y, -1.0)).0, 2.0_f64.next_down());
    }
}
