//! Reads the numbers of flags, and writes estimates with the digits that mean something.

/// Returns a parser of whole numbers from `least` to `most`, whose error says which numbers a flag takes.
pub fn whole(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.trim().parse().ok().filter(|n| (least..=most).contains(n));
        number.ok_or_else(|| match most {
            u64::MAX if least == 0 => "give a whole number, 0 or more".to_owned(),
            u64::MAX => format!("give a whole number of at least {least}"),
            _ => format!("give a whole number from {least} to {most}"),
        })
    }
}

/// The number of significant digits of an estimate whose uncertainty is not known.
const DIGITS: i32 = 6;

/// Returns the power of ten of the last digit that is written for an estimate: the second digit of its standard error, or
/// the sixth of the estimate where the standard error is not known.
pub fn last_place(estimate: f64, std_error: Option<f64>) -> i32 {
    match std_error.filter(|se| *se > 0.0 && se.is_finite()) {
        // The rounded error decides: the second digit of 0.0996, which is 0.10, is that of hundredths.
        Some(se) => exponent(&format!("{se:.1e}")) - 1,
        None => exponent(&format!("{estimate:e}")) - (DIGITS - 1),
    }
}

/// Returns the exponent of a number in scientific notation; 0 where the number is not finite.
fn exponent(scientific: &str) -> i32 {
    scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}

/// Returns a number rounded at the digit of `place`, a power of ten, and with at least two significant digits; empty for NaN.
pub fn rounded(x: f64, place: i32) -> String {
    if x.is_nan() {
        return String::new();
    }
    if x == 0.0 || x.is_infinite() {
        return format!("{x:.0}");
    }
    let size = exponent(&format!("{x:e}"));
    // float64 has no digit beyond the seventeenth.
    let digits = (size - place).clamp(1, 16);
    let scientific = format!("{x:.*e}", digits as usize);
    if !(-4..7).contains(&size) {
        return scientific;
    }
    let value: f64 = scientific.parse().unwrap_or(x);
    // Rounding may have added a digit in front: 0.0996 with two digits is 0.10.
    let decimals = if digits == size - place { -place } else { digits - exponent(&scientific) };
    format!("{value:.*}", usize::try_from(decimals).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_error_has_two_digits_and_the_estimate_ends_where_it_does() {
        // The rule of the Particle Data Group and of ISO's guide to uncertainty (GUM, 7.2.6): two digits at most.
        for (estimate, se, shown) in [
            (1.937188, 0.030522, ["1.937", "0.031"]),
            (1549.777312, 1212.036564, ["1500", "1200"]),
            (0.428777, 0.0996, ["0.43", "0.10"]),
            (2562.93, 593.8, ["2560", "590"]),
            (-0.5, 1e-9, ["-0.5000000000", "1.0e-9"]),
            (6.4e13, 2.3e11, ["6.400e13", "2.3e11"]),
            (3.0e-7, 2.0e-8, ["3.00e-7", "2.0e-8"]),
            (12.3, 4567.0, ["12", "4600"]),
            (0.0, 0.01, ["0", "0.010"]),
            (9.996, 0.5, ["10.00", "0.50"]),
        ] {
            let place = last_place(estimate, Some(se));
            assert_eq!([rounded(estimate, place), rounded(se, place)], shown);
        }
    }

    #[test]
    fn an_estimate_without_standard_error_has_six_digits() {
        for (estimate, shown) in [
            (1.9371881234, "1.93719"),
            (482.0, "482.000"),
            (1234567.0, "1234570"),
            (1.5e-9, "1.50000e-9"),
            (f64::INFINITY, "inf"),
            (f64::NAN, ""),
        ] {
            assert_eq!(rounded(estimate, last_place(estimate, None)), shown);
        }
    }

    #[test]
    fn a_number_out_of_range_is_told_the_range() {
        assert_eq!(whole(0, 10)("7"), Ok(7));
        assert_eq!(whole(0, 10)("-1"), Err("give a whole number from 0 to 10".into()));
        assert_eq!(whole(1, u64::MAX)("0"), Err("give a whole number of at least 1".into()));
        assert_eq!(whole(0, u64::MAX)("1.5"), Err("give a whole number, 0 or more".into()));
    }
}
