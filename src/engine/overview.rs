//! An overview of a run's results, kept while they pass to the sink.

use std::collections::HashMap;

use arrow::array::ArrayRef;

use crate::input::types::with_zone_offsets;
use crate::optimize::Status;
use crate::output::{Chunk, Record, RunContext};
use crate::problem::{RejectionCode, RejectionReason, RejectionSubject};

/// The number of fits whose records are kept.
const MOST_FITS: usize = 5;

/// The number of fits without certificate whose messages are kept.
const MOST_MESSAGES: usize = 5;

/// What a summary of a few lines needs of a run's results. It takes eight bytes per estimate.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// The names of the key columns.
    pub key_names: Vec<String>,
    /// The key columns, with one value per sweep, and with offsets in place of time zones with a name.
    pub keys: Vec<ArrayRef>,
    /// The confidence of the intervals, between 0 and 1.
    pub confidence: f64,
    /// The records of the first five fits, without replicates and residuals, and their estimates.
    pub first: Chunk,
    /// The first five fits that are not `converged`.
    pub uncertified: Vec<Uncertified>,
    /// For each law and each of its parameters, the estimates of the fits with a certificate, in natural units.
    pub estimates: Vec<Vec<Vec<f64>>>,
    /// The reasons of rejected rows and sweeps, the most frequent first.
    pub reasons: Vec<ReasonCount>,
    /// The index in `reasons` of each kind of reason, while they are counted.
    places: HashMap<(RejectionCode, RejectionSubject), usize>,
}

/// The number of rejections for one kind of reason and one subject, such as a column.
#[derive(Clone, Debug)]
pub struct ReasonCount {
    /// The first of the reasons.
    pub first: RejectionReason,
    /// Whether another value was rejected for this reason too.
    pub values_differ: bool,
    /// The number of rejections.
    pub count: u64,
}

impl ReasonCount {
    /// Returns the reason in a sentence, which states the value if there is only one.
    #[must_use]
    pub fn sentence(&self) -> String {
        if self.values_differ { self.first.of_several() } else { self.first.to_string() }
    }
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
            // A column that arrow cannot display keeps its place.
            keys: context
                .keys
                .iter()
                .map(|key| with_zone_offsets(key).unwrap_or_else(|_| key.clone()))
                .collect(),
            confidence: context.confidence,
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
        rejected.iter().for_each(|rejection| self.count_reason(&rejection.reason));
    }

    /// Counts a rejection. There are at most as many kinds as the job's laws have columns, expressions and operands.
    fn count_reason(&mut self, reason: &RejectionReason) {
        let place = *self.places.entry((reason.code, reason.subject.clone())).or_insert_with(|| {
            self.reasons.push(ReasonCount { first: reason.clone(), values_differ: false, count: 0 });
            self.reasons.len() - 1
        });
        let group = &mut self.reasons[place];
        group.count += 1;
        group.values_differ |= group.first.value != reason.value;
    }

    /// Returns the number of rejections because of a text in the place of a number, and the reason of the first, if there
    /// was no fit and no rejection for another reason that concerns a row.
    pub(super) fn only_texts(&self) -> Option<(u64, &RejectionReason)> {
        let texts = |group: &&ReasonCount| group.first.code == RejectionCode::NotANumber;
        let others = |group: &ReasonCount| {
            !matches!(group.first.code, RejectionCode::NotANumber | RejectionCode::TooFew)
        };
        if !self.first.records.is_empty() || self.reasons.iter().any(others) {
            return None;
        }
        let first = &self.reasons.iter().find(texts)?.first;
        Some((self.reasons.iter().filter(texts).map(|group| group.count).sum(), first))
    }

    /// Sorts the reasons once all results are added.
    pub(super) fn finish(mut self) -> Overview {
        self.places = HashMap::new();
        self.reasons.sort_by_cached_key(|group| (std::cmp::Reverse(group.count), group.sentence()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::RejectedValue;

    #[test]
    fn reasons_that_differ_in_a_value_are_one() {
        let mut overview = Overview::default();
        let of = |code, subject: RejectionSubject, x: f64| RejectionReason::of_number(code, subject, x);
        let response = || RejectionSubject::Expression("loss 2".to_owned());
        let column = |name: &str| RejectionSubject::Column(name.to_owned());
        let null = || RejectionReason { code: RejectionCode::Null, subject: column("N"), value: None };
        let text = |text: &str| RejectionReason {
            code: RejectionCode::NotANumber,
            subject: column("N"),
            value: Some(RejectedValue::Text(text.to_owned())),
        };
        for reason in [
            of(RejectionCode::NonpositiveResponse, response(), -3.0),
            of(RejectionCode::NonpositiveResponse, response(), 0.0),
            of(RejectionCode::NotFinite, column("N"), f64::NAN),
            of(RejectionCode::NotFinite, column("N"), f64::INFINITY),
            of(RejectionCode::NotFinite, column("D"), f64::NAN),
            of(RejectionCode::NotFinite, column("D"), f64::NAN),
            null(),
            null(),
            null(),
            of(RejectionCode::NegativeWeight, column("w"), -1e-3),
            text("7B"),
            text("x"),
        ] {
            overview.count_reason(&reason);
        }
        let reasons: Vec<(String, u64)> =
            overview.finish().reasons.iter().map(|group| (group.sentence(), group.count)).collect();
        assert_eq!(
            reasons,
            [
                ("`N` is null".to_owned(), 3),
                ("`D` is NaN, not a finite number".to_owned(), 2),
                ("`N` is a text that is not a number, such as \"7B\"".to_owned(), 2),
                ("`N` is not a finite number".to_owned(), 2),
                ("`loss 2` is …, but the residual space `log` needs a positive value".to_owned(), 2),
                ("the weight `w` is negative (-0.001)".to_owned(), 1),
            ]
        );
    }
}
