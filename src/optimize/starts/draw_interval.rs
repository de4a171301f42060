//! The distribution of a coordinate's starts: uniform in an interval, with tails beyond it.

use crate::compile::{Coordinate, LARGEST_LOG, Scale};
use crate::lanes::scalar;

/// The length of a tail: in widths of the interval, or as a factor for logarithmic intervals.
const FAR: f64 = 10.0;

/// The distribution of a coordinate, in natural units or their logarithm.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub low: f64,
    pub width: f64,
    pub log: bool,
    /// The probability of the tail beyond either end that is unbounded.
    pub tail: f64,
    pub bounds: (f64, f64),
}

impl Draw {
    /// Returns whether the value for `u` is within the interval (0), below it (1) or above it (2).
    pub fn side(&self, u: f64) -> usize {
        if u < self.tail && self.bounds.0 == f64::NEG_INFINITY {
            1
        } else if u > 1.0 - self.tail && self.bounds.1 == f64::INFINITY {
            2
        } else {
            0
        }
    }

    /// Returns the value for a number `u` between 0 and 1, mostly within the interval. Curves of unusual kinds lie in
    /// the tails, such as one that has ended its fall at the second observation.
    pub fn at(&self, u: f64) -> f64 {
        let Draw { low, width, log, tail, bounds } = *self;
        let far = |v: f64| if log { v * scalar::ln(FAR) } else { width * scalar::pow(FAR, v) };
        let value = match self.side(u) {
            1 => low - far(1.0 - u / tail),
            2 => low + width + far(1.0 - (1.0 - u) / tail),
            _ => {
                let first = if bounds.0 == f64::NEG_INFINITY { tail } else { 0.0 };
                let last = if bounds.1 == f64::INFINITY { 1.0 - tail } else { 1.0 };
                low + width * (u - first) / (last - first)
            }
        };
        if log { scalar::exp(value) } else { value }
    }
}

/// Returns the bounds of a coordinate's domain on the scale of its draws: infinite where there are none.
pub fn natural_bounds(coordinate: &Coordinate, log: bool) -> (f64, f64) {
    let open = coordinate.high >= LARGEST_LOG;
    match coordinate.scale {
        Scale::Log => (coordinate.low, if open { f64::INFINITY } else { coordinate.high }),
        Scale::Linear if log => {
            (if coordinate.low <= 0.0 { f64::NEG_INFINITY } else { coordinate.low }, coordinate.high)
        }
        Scale::Linear => (coordinate.low, coordinate.high),
    }
}
