//! Reads dates and times written as texts, which conditions compare with columns of dates and timestamps.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;

/// Returns the instant of a date (`2025-01-31`), or of a date and a time (`2025-01-31 12:30:00`, with `T` and an offset such as `Z`
/// if wanted), in nanoseconds since 1970-01-01 UTC. Without an offset it is in UTC, and a date is its midnight. `None` if the
/// text is no date or time.
pub(super) fn instant(text: &str) -> Option<i128> {
    let utc: Tz = "+00:00".parse().ok()?;
    let found = string_to_datetime(&utc, text.trim()).ok()?;
    Some(i128::from(found.timestamp()) * 1_000_000_000 + i128::from(found.timestamp_subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::instant;

    /// Seconds since 1970 as GNU date gives them (`date -u -d '2025-01-31 12:30:00' +%s`).
    #[test]
    fn dates_and_times_are_instants() {
        let second = 1_000_000_000;
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("2025-01-31", Some(1_738_281_600 * second)),
            ("2025-01-31 12:30:00", Some(1_738_326_600 * second)),
            ("2025-01-31T12:30:00Z", Some(1_738_326_600 * second)),
            ("2025-01-31 12:30:00+02:00", Some(1_738_319_400 * second)),
            ("2025-01-31T12:30:00.000000001", Some(1_738_326_600 * second + 1)),
            ("9999-12-31", Some(253_402_214_400 * second)),
            ("2025-02-30", None),
            ("31.01.2025", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(instant(text), expected, "{text}");
        }
    }
}
