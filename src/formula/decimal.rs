//! Decimal numbers, integers among them, that are compared without rounding.

use std::cmp::Ordering;
use std::fmt::{Display, Formatter};

/// The number `unscaled`·10^−`scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decimal {
    /// All digits, as an integer.
    pub unscaled: i128,
    /// The number of digits behind the point.
    pub scale: u8,
}

impl Decimal {
    /// Returns the decimal of a text of digits with a point or without; `None` for every other text, and where there are more
    /// than 38 digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Decimal> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let unscaled = format!("{whole}{fraction}").parse().ok()?;
        Some(Decimal { unscaled, scale: u8::try_from(fraction.len()).ok().filter(|scale| *scale <= 38)? })
    }

    /// Returns the nearest double.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        if self.scale == 0 {
            self.unscaled as f64
        } else {
            nearest_f64(&self.unscaled.to_string(), self.scale as i8)
        }
    }

    /// Returns the decimal with the opposite sign.
    #[must_use]
    pub fn negated(self) -> Decimal {
        Decimal { unscaled: -self.unscaled, ..self }
    }

    /// Returns the order of two decimals.
    #[must_use]
    pub fn compare(self, other: Decimal) -> Ordering {
        if self.scale < other.scale {
            return other.compare(self).reverse();
        }
        match 10_i128
            .checked_pow(u32::from(self.scale - other.scale))
            .and_then(|p| other.unscaled.checked_mul(p))
        {
            Some(unscaled) => self.unscaled.cmp(&unscaled),
            // Beyond every number with this many digits behind the point.
            None => 0.cmp(&other.unscaled),
        }
    }

    /// Returns the order of a decimal and a double; `None` if the double is NaN. An integer is compared exactly, a decimal by the
    /// double nearest to it, since a double stands for all that are nearest to it.
    #[must_use]
    pub fn compare_with_f64(self, double: f64) -> Option<Ordering> {
        match self.scale {
            0 => compare_integer(self.unscaled, double),
            _ => self.to_f64().partial_cmp(&double),
        }
    }

    /// Returns the order of a decimal and a literal that was parsed to a double; `None` if the double is NaN. The literal was the
    /// shortest decimal that the double is nearest to: `0.1` is one tenth.
    #[must_use]
    pub fn compare_with_literal(self, double: f64) -> Option<Ordering> {
        if self.scale == 0 {
            return compare_integer(self.unscaled, double);
        }
        match Decimal::parse(&format!("{double}")) {
            Some(said) => Some(self.compare(said)),
            None => self.to_f64().partial_cmp(&double),
        }
    }

    /// Returns whether a literal of this decimal can be kept as a double.
    #[must_use]
    pub fn is_said_by(self, double: f64) -> bool {
        self.compare_with_literal(double) == Some(Ordering::Equal)
    }
}

impl Display for Decimal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let digits = format!("{:0>1$}", self.unscaled.unsigned_abs(), usize::from(self.scale) + 1);
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(self.scale));
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

/// Returns the order of an integer and a double, exactly; `None` if the double is NaN.
fn compare_integer(integer: i128, double: f64) -> Option<Ordering> {
    // Beyond ±2¹²⁷ conversion to an integer saturates.
    const BOUND: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
    if double.is_nan() || double.abs() >= BOUND {
        return 0.0.partial_cmp(&double);
    }
    let whole = double.floor();
    Some(integer.cmp(&(whole as i128)).then(if double > whole { Ordering::Less } else { Ordering::Equal }))
}

/// Returns the double nearest to `unscaled`·10^−`scale`.
///
/// If both the integer and the power of ten are doubles, their quotient is rounded once and correct. Otherwise the
/// decimal text is parsed by the standard library, which rounds correctly.
#[must_use]
pub fn nearest_f64(unscaled: &str, scale: i8) -> f64 {
    /// 10²² is the largest power of ten that is a double.
    const EXACT_POWER: i8 = 22;
    if (0..=EXACT_POWER).contains(&scale)
        && let Ok(integer) = unscaled.parse::<i64>()
        && integer.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS
    {
        return integer as f64 / 10f64.powi(i32::from(scale));
    }
    // A sign, digits and an exponent always parse.
    format!("{unscaled}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let Decimal { unscaled, scale } = Decimal::parse(digits).expect(text);
        Decimal { unscaled: sign * unscaled, scale }
    }

    #[test]
    fn decimals_are_ordered_by_value_whatever_their_digits() {
        let ascending = [
            "-99999999999999999999999999999999999999",
            "-0.10000000000000001",
            "-0.1",
            "0.000",
            "0.00000000000000000000000000000000000001",
            "0.1",
            "0.10000000000000000555",
            "1234567890123456.78",
            "1234567890123456.780000001",
            "99999999999999999999999999999999999999",
        ];
        for (i, a) in ascending.iter().enumerate() {
            assert_eq!(decimal(a).to_string(), *a);
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(decimal(a).compare(decimal(b)), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(decimal("1.50").compare(decimal("1.5")), Ordering::Equal);
    }

    #[test]
    fn a_double_stands_for_its_shortest_decimal() {
        assert!(decimal("0.1").is_said_by(0.1) && decimal("-2.50").is_said_by(-2.5));
        assert!(!decimal("0.10000000000000000555").is_said_by(0.1));
        assert_eq!(decimal("1234567890123456.78").compare_with_literal(1e300), Some(Ordering::Less));
        assert_eq!(decimal("1.5").compare_with_literal(f64::NEG_INFINITY), Some(Ordering::Greater));
        assert_eq!(decimal("1.5").compare_with_f64(f64::NAN), None);
        // All decimals that a double is nearest to are equal to its value in data.
        for text in ["1234567890123456.75", "1234567890123456.78"] {
            assert_eq!(
                decimal(text).compare_with_f64(1_234_567_890_123_456.8),
                Some(Ordering::Equal),
                "{text}"
            );
        }
        // An integer is compared with the exact value.
        assert!(!decimal("9007199254740993").is_said_by(9007199254740992.0));
    }
}
