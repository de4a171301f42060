//! Limits that a user sets to what may go wrong in a run: beyond them the tables are written and the exit status is 3.

use std::fmt;
use std::str::FromStr;

use crate::engine::Counts;
use crate::optimize::Status;

/// A limit of a count: a number, or a share of all in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// The largest count.
    Count(u64),
    /// The largest share, in percent.
    Percent(f64),
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        let limit = match text.strip_suffix('%') {
            Some(share) => {
                share.trim().parse().ok().filter(|share| (0.0..=100.0).contains(share)).map(Limit::Percent)
            }
            None => text.parse().ok().map(Limit::Count),
        };
        limit.ok_or_else(|| "give a number such as 20, or a share such as 1%".to_string())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Count(count) => write!(f, "{count}"),
            Limit::Percent(share) => write!(f, "{share}%"),
        }
    }
}

impl Limit {
    /// Returns whether a count is beyond the limit.
    pub fn is_exceeded(self, found: u64, all: u64) -> bool {
        match self {
            Limit::Count(most) => found > most,
            Limit::Percent(share) => 100.0 * found as f64 > share * all as f64,
        }
    }
}

/// The limits of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Of fits without a certified optimum.
    pub failed: Option<Limit>,
    /// Of rejected rows.
    pub rejected: Option<Limit>,
}

impl Limits {
    /// Returns which limits a run exceeds, and by how much; none where it exceeds none.
    pub fn exceeded(self, counts: &Counts) -> Option<String> {
        let certified = Status::ALL.iter().zip(counts.by_status);
        let certified = certified.filter(|(status, _)| matches!(status, Status::Converged | Status::AtBound));
        let failed = counts.fits - certified.map(|(_, count)| count).sum::<u64>();
        let kept = counts.rows_read - counts.rows_dropped_by_where;
        let checks = [
            ("--max-failed", self.failed, failed, counts.fits, "fits have no certified optimum"),
            ("--max-rejected", self.rejected, counts.rejected_rows, kept, "rows are rejected"),
        ];
        let exceeded = |(flag, limit, found, all, what): (&str, Option<Limit>, u64, u64, &str)| {
            let limit = limit.filter(|limit| limit.is_exceeded(found, all))?;
            Some(format!("{found} of {all} {what}, and {flag} allows {limit}"))
        };
        let messages: Vec<String> = checks.into_iter().filter_map(exceeded).collect();
        (!messages.is_empty()).then(|| messages.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_counts_or_shares() {
        assert_eq!("20".parse(), Ok(Limit::Count(20)));
        assert_eq!("2.5%".parse(), Ok(Limit::Percent(2.5)));
        for bad in ["", "-1", "1e3", "101%", "x%", "0.5"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad}");
        }
        assert!(!Limit::Count(2).is_exceeded(2, 10) && Limit::Count(2).is_exceeded(3, 10));
        assert!(!Limit::Percent(20.0).is_exceeded(2, 10) && Limit::Percent(20.0).is_exceeded(3, 10));
        assert!(!Limit::Percent(0.0).is_exceeded(0, 0));
    }
}
