//! An overview of a run's results, kept while they pass to the sink.

use std::collections::HashMap;

use arrow::array::ArrayRef;

use crate::optimize::Status;
use crate::output::{Chunk, Record, RunContext};

/// The number of fits whose records are kept.
const MOST_FITS: usize = 5;

/// The number of fits without certificate whose messages are kept.
const MOST_MESSAGES: usize = 5;

/// The number of different reasons of rejections that are counted apart.
const MOST_REASONS: usize = 1000;

/// What a summary of a few lines needs of a run's results. It takes eight bytes per estimate.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// The names of the key columns.
    pub key_names: Vec<String>,
    /// The key columns, with one value per sweep.
    pub keys: Vec<ArrayRef>,
    /// The records of the first five fits, without replicates and residuals, and their estimates.
    pub first: Chunk,
    /// The first five fits that are not `converged`.
    pub uncertified: Vec<Uncertified>,
    /// For each law and each of its parameters, the estimates of the fits with a certificate, in natural units.
    pub estimates: Vec<Vec<Vec<f64>>>,
    /// The reasons of rejected rows and sweeps with the number of each, the most frequent first. Reasons that differ in a
    /// value alone are one.
    pub reasons: Vec<(String, u64)>,
    /// The number of rejections whose reasons are not in `reasons`.
    pub other_reasons: u64,
    /// The count and the first text of each kind of reason.
    counting: HashMap<String, (u64, String)>,
}

/// A fit whose status is not `converged`.
#[derive(Clone, Debug)]
pub struct Uncertified {
    /// The index of the sweep in the order of keys.
    pub sweep: usize,
    /// The index of the law in the job's laws.
    pub law: usize,
    /// The status of the fit.
    pub status: Status,
    /// The reason for the status, in a sentence.
    pub message: String,
}

impl Overview {
    /// Returns the overview of a run before any fit.
    pub(super) fn new(context: &RunContext) -> Overview {
        Overview {
            key_names: context.key_fields.iter().map(|field| field.name().clone()).collect(),
            keys: context.keys.clone(),
            estimates: context.parameters.iter().map(|names| vec![Vec::new(); names.len()]).collect(),
            ..Overview::default()
        }
    }

    /// Adds the results of a chunk.
    pub(super) fn add(&mut self, chunk: &mut Chunk) {
        let Chunk { records, estimates, rejected, .. } = chunk;
        for record in records {
            if self.first.records.len() < MOST_FITS {
                let own = estimates[record.parameters.clone()].to_vec();
                let start = self.first.estimates.len();
                let parameters = start..start + own.len();
                self.first.estimates.extend(own);
                let replicates = record.replicates.take();
                self.first.records.push(Record { parameters, residuals: 0..0, ..record.clone() });
                record.replicates = replicates;
            }
            if record.status != Status::Converged && self.uncertified.len() < MOST_MESSAGES {
                let Record { sweep, law, status, ref message, .. } = *record;
                self.uncertified.push(Uncertified { sweep, law, status, message: message.clone() });
            }
            if matches!(record.status, Status::Converged | Status::AtBound) {
                let of_law = &mut self.estimates[record.law];
                for (values, estimate) in of_law.iter_mut().zip(&estimates[record.parameters.clone()]) {
                    values.push(estimate.estimate);
                }
            }
        }
        for rejection in rejected {
            self.count_reason(&rejection.reason);
        }
    }

    /// Counts a rejection.
    fn count_reason(&mut self, reason: &str) {
        let kind = without_numbers(reason);
        if let Some((count, first)) = self.counting.get_mut(&kind) {
            *count += 1;
            if *first != reason {
                *first = kind;
            }
        } else if self.counting.len() < MOST_REASONS {
            self.counting.insert(kind, (1, reason.to_owned()));
        } else {
            self.other_reasons += 1;
        }
    }

    /// Sorts the reasons once all results are added.
    pub(super) fn finish(mut self) -> Overview {
        self.reasons =
            std::mem::take(&mut self.counting).into_values().map(|(count, text)| (text, count)).collect();
        self.reasons.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        self
    }
}

/// Returns a reason with `…` in place of each number outside of backquotes.
fn without_numbers(reason: &str) -> String {
    let mut kind = String::with_capacity(reason.len());
    for (i, part) in reason.split('`').enumerate() {
        if i > 0 {
            kind.push('`');
        }
        // Parts at odd places stand between backquotes.
        if i % 2 == 1 {
            kind.push_str(part);
            continue;
        }
        for word in part.split_inclusive([' ', '(', ')', ',']) {
            let (number, end) = word.split_at(word.trim_end_matches([' ', '(', ')', ',']).len());
            let is_number =
                number.starts_with(|c: char| c.is_ascii_digit() || c == '-') && number.parse::<f64>().is_ok();
            kind.push_str(if is_number { "…" } else { number });
            kind.push_str(end);
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_a_value_are_one() {
        let mut overview = Overview::default();
        for reason in [
            "`loss 2` is -3, but the residual space `log` needs a positive value",
            "`loss 2` is 0, but the residual space `log` needs a positive value",
            "`N` is null",
            "`N` is null",
            "`N` is null",
            "the weight `w` is negative (-1e-3)",
        ] {
            overview.count_reason(reason);
        }
        let reasons = overview.finish().reasons;
        assert_eq!(
            reasons,
            [
                ("`N` is null".to_owned(), 3),
                ("`loss 2` is …, but the residual space `log` needs a positive value".to_owned(), 2),
                ("the weight `w` is negative (-1e-3)".to_owned(), 1),
            ]
        );
    }
}
