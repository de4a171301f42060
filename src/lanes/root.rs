//! The root of a monotone function between two ends, lane by lane.
//!
//! Newton's method inside a bracket that only shrinks. Two choices make it quick on laws that run from one
//! end to the other over many orders of magnitude:
//!
//! * far from the root, Newton's step is taken in the logit of the place between the ends,
//!   `t = log((y − low)/(high − y))` (in the logarithm of the distance where an end is infinite): there a
//!   power of either distance is nearly a straight line;
//! * where that step leaves the bracket, or steps do not shrink, the bracket is halved by *counting floating-
//!   point numbers*, not by length, so that 64 halvings reach two neighbours from any two ends.
//!
//! The iteration ends where Newton's step is below a unit in the last place, where steps stop shrinking because
//! the function's own rounding is all that is left, or where the bracket holds no number any more. A lane that
//! has ended keeps its bits whatever the others do, and what it does depends on its own values alone.

use super::{LaneBits, Lanes, SIGN, exp};

/// From this round on brackets are only halved, so that [`MOST_ROUNDS`] always suffice.
const NEWTON_ROUNDS: usize = 40;

/// After so many rounds no lane is open: 64 halvings, one to see the last, and a reserve for nothing.
pub const MOST_ROUNDS: usize = NEWTON_ROUNDS + 68;

/// Newton steps are taken as they are below this change of the logit; there the curves do not differ.
const NEAR: f64 = 1.0 / 16.0;

/// From this change of the logit on, steps that no longer shrink are rounding: 2⁻³⁰.
const RESOLVED: f64 = 1.0 / 1_073_741_824.0;

/// The search for one root per lane.
#[derive(Clone, Copy, Debug)]
pub struct Search<L> {
    /// Where the function is wanted next; the root, NaN where there is none, once the lane is not open.
    pub point: L,
    /// The bracket.
    pub low: L,
    pub high: L,
    /// The last Newton step's size in the logit; infinite before the first and after halving.
    pub last: L,
    /// 1 where the function rises, −1 where it falls.
    pub direction: L,
    /// 1 where the search goes on, 0 where it has ended.
    pub open: L,
}

/// The next number above, as where the function is asked for when it has no value at the low end itself.
#[inline(always)]
pub fn above<L: Lanes>(x: L) -> L {
    from_key(key(x).plus(x.fill_bits(1)))
}

/// The next number below.
#[inline(always)]
pub fn below<L: Lanes>(x: L) -> L {
    from_key(key(x).minus(x.fill_bits(1)))
}

/// Bits in the order of the numbers, as unsigned integers.
#[inline(always)]
fn key<L: Lanes>(x: L) -> L::Bits {
    let bits = x.to_bits();
    let negative = x.fill_bits(0).minus(bits >> 63);
    bits ^ (negative | x.fill_bits(SIGN))
}

#[inline(always)]
fn from_key<L: Lanes>(key: L::Bits) -> L {
    // Only the shape of a vector is wanted from this value.
    let any = L::from_bits(key);
    let negative = (key >> 63).minus(any.fill_bits(1));
    L::from_bits(key ^ (negative | any.fill_bits(SIGN)))
}

/// The number in the middle of all that lie between two, rounded down.
#[inline(always)]
fn middle<L: Lanes>(low: L, high: L) -> L {
    let (a, b) = (key(low), key(high));
    from_key((a & b).plus((a ^ b) >> 1))
}

impl<L: Lanes> Search<L> {
    /// Begins between two ends where the function has these values. Only their signs matter; a zero counts as
    /// whichever sign the other end does not have. Without a change of sign, or a number strictly between the
    /// ends, there is no root.
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

    /// Takes the function's value and slope at [`Search::point`]; `round` counts from zero. A slope of NaN
    /// makes the search halve its bracket.
    #[inline(always)]
    pub fn observe(self, ends: (L, L), value: L, slope: L, round: usize) -> Self {
        let (end_low, end_high) = ends;
        let y = self.point;
        let zero = y.fill(0.0);
        let one = y.fill(1.0);
        let signed = value * self.direction;
        let high = L::select(signed.gt(zero), y, self.high);
        let low = L::select(signed.lt(zero), y, self.low);

        // A slope that contradicts the direction, or overflows, says nothing about the root.
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
        let grown = left * factor;
        let far = end_low + L::select(no_high, grown, width * (grown / (grown + right)));
        let far = L::select(no_low, end_high - right / factor, far);
        let far = L::select(no_low & no_high, y + step, far);
        // Beside an end even a long way in the logit is a short step: both must be short.
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

    /// Root and number of rounds of a scalar search.
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
    fn neighbours_of_numbers() {
        for x in [1.0, -1.0, 1e300, -1e-310, f64::MAX, 5e-324, 0.1] {
            assert_eq!(above(x), x.next_up(), "{x}");
            assert_eq!(below(x), x.next_down(), "{x}");
        }
        assert_eq!(below(f64::INFINITY), f64::MAX);
        assert_eq!(above(f64::NEG_INFINITY), f64::MIN);
        assert_eq!(above(0.0), 5e-324);
    }

    #[test]
    fn known_roots() {
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
    fn slopes_that_mislead_do_no_harm() {
        // Without a slope the bracket is halved: 64 numbers' worth of rounds, and the last bit is right.
        let (y, rounds) = root(1e-300, 1e300, |y| (y - 0.3, f64::NAN));
        assert!((y - 0.3).abs() <= 0.3 * f64::EPSILON && rounds <= 66, "{y} {rounds}");
        let (y, _) = root(-1.0, 1.0, |y| (y * y * y - 1e-30, -1.0));
        assert!((y / 1e-10 - 1.0).abs() < 1e-14, "{y}");
        // A step: the two neighbours are all there is to find.
        let (y, _) = root(0.0, 1.0, |y| (if y < 0.7 { -1.0 } else { 1.0 }, 0.0));
        assert!((y - 0.7).abs() <= 0.7 * f64::EPSILON, "{y}");
    }

    #[test]
    fn no_change_of_sign_no_root() {
        assert!(root(0.0, 1.0, |y| (y + 1.0, 1.0)).0.is_nan());
        assert!(root(1.0, 0.0, |y| (y - 0.5, 1.0)).0.is_nan());
        assert!(root(1.0, 1.0_f64.next_up(), |y| (y - 1.0, 1.0)).0.is_nan());
        assert!(root(f64::NAN, 1.0, |y| (y - 0.5, 1.0)).0.is_nan());
        assert!(root(0.0, 1.0, |y| (if y == 0.5 { f64::NAN } else { y - 0.3 }, 1.0)).0.is_nan());
        // A root near zero, from where the slope overflows.
        let (y, _) = root(0.0, 1.0, |y| {
            (y.ln() - 0.01 * (1.0 - y).ln() - 1e-200_f64.ln(), 1.0 / y + 0.01 / (1.0 - y))
        });
        assert!((y / 1e-200 - 1.0).abs() < 2e-13, "{y}");
        // Powers of the distance to an end, from whose side Newton's steps are short far from the root.
        let near_end = |y: f64| ((y - 1.0) / (3.0 - y).sqrt() - 1e7, 0.5 * (y - 1.0) * (3.0 - y).powf(-1.5));
        assert_eq!(root(1.0, 3.0, near_end).0, 2.99999999999996);
        // A root on an end gives the number beside it.
        assert_eq!(root(1.0, 2.0, |y| (y - 1.0, 1.0)).0, 1.0_f64.next_up());
        assert_eq!(root(1.0, 2.0, |y| (2.0 - y, -1.0)).0, 2.0_f64.next_down());
    }
}
