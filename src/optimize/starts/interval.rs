//! The interval that a coordinate's starts are drawn from, with its tails.

use crate::compile::{Coordinate, LARGEST_LOG, Scale};

/// The share of draws that fall beyond either end of an interval where one or two coordinates have no end (of more, less:
/// most points should be usual in most coordinates), and how far: in widths, or as a factor.
pub const TAIL: f64 = 0.125;
const FAR: f64 = 10.0;

/// Where a coordinate is drawn, in natural units or their logarithm.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub low: f64,
    pub width: f64,
    pub log: bool,
    pub tail: f64,
    pub bounds: (f64, f64),
}

impl Draw {
    /// Whether the value for a number is within the interval (0), below (1) or above (2).
    pub fn side(&self, u: f64) -> usize {
        if u < self.tail && self.bounds.0 == f64::NEG_INFINITY {
            1
        } else if u > 1.0 - self.tail && self.bounds.1 == f64::INFINITY {
            2
        } else {
            0
        }
    }

    /// The value for a number between 0 and 1: mostly within the interval, for the first and the last beyond it.
    /// Curves of another kind than the usual lie there, such as one that has ended its fall at the second observation.
    pub fn at(&self, u: f64) -> f64 {
        let Draw { low, width, log, tail, bounds } = *self;
        let far = |v: f64| if log { v * FAR.ln() } else { width * FAR.powf(v) };
        let value = match self.side(u) {
            1 => low - far(1.0 - u / tail),
            2 => low + width + far(1.0 - (1.0 - u) / tail),
            _ => {
                let first = if bounds.0 == f64::NEG_INFINITY { tail } else { 0.0 };
                let last = if bounds.1 == f64::INFINITY { 1.0 - tail } else { 1.0 };
                low + width * (u - first) / (last - first)
            }
        };
        if log { value.exp() } else { value }
    }
}

/// The ends of a coordinate's domain as it is drawn: infinite where there are none.
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
