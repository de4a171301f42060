//! Draws pseudo-random parameters and variables, at which a law is evaluated before there are data.

use crate::formula::Domain;

/// Returns a value in a domain, of order one where the domain allows it.
pub fn draw(domain: Domain, draws: &mut Draws) -> f64 {
    let (fraction, sign) = (draws.uniform(), draws.uniform());
    let size = 0.3 + 1.5 * fraction;
    match domain {
        Domain::Fixed(value) => value,
        Domain::Held => size,
        Domain::Range { low, high } => match (low.is_finite(), high.is_finite()) {
            (true, true) => low + (0.1 + 0.8 * fraction) * (high - low),
            (true, false) => low + size,
            (false, true) => high - size,
            (false, false) => size.copysign(sign - 0.4),
        },
    }
}

/// A linear congruential generator of numbers in (0, 1), with Knuth's multiplier for 64 bits. Its numbers do not depend
/// on the machine.
pub struct Draws(u64);

impl Draws {
    /// Returns the generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Draws {
        Draws(seed)
    }

    /// Returns the next number.
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}
