//! What differs between two results: fits that came, went or changed, and parameters that moved.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use crate::error::Error;
use crate::output::KeptResult;

use super::table::AnswerTable;

/// A kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Difference {
    /// The fit is in the new result alone.
    Added,
    /// The fit is in the old result alone.
    Gone,
    /// The fit has another status.
    Status,
    /// A parameter lies outside its old interval.
    Moved,
    /// The estimates differ, and none has moved.
    Changed,
}

impl Difference {
    /// All kinds, in the order in which they are told.
    pub const ALL: [Difference; 5] =
        [Difference::Added, Difference::Gone, Difference::Status, Difference::Moved, Difference::Changed];

    /// Returns the word for the kind in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Difference::Added => "added",
            Difference::Gone => "gone",
            Difference::Status => "status",
            Difference::Moved => "moved",
            Difference::Changed => "changed",
        }
    }
}

/// The differences between two results.
#[derive(Debug)]
pub struct Differences {
    /// One row per difference, with the keys of the sweep and the law: of parameters one row for each that moved.
    pub table: RecordBatch,
    /// The number of fits with each kind of difference.
    pub counts: HashMap<Difference, usize>,
    /// The number of fits without any.
    pub equal: usize,
}

/// Returns the differences between two results, whose fits are told apart by the values of their keys and by their laws.
///
/// # Errors
/// If the results have other key columns.
pub fn differences(old: &KeptResult, new: &KeptResult) -> Result<Differences, Error> {
    let names = |result: &KeptResult| -> Vec<String> {
        let schema = result.table.schema();
        (0..result.n_keys).map(|key| schema.field(key).name().clone()).collect()
    };
    if names(old) != names(new) {
        let reason = format!("their keys are {} and {}", shown(&names(old)), shown(&names(new)));
        return Err(Error::Question { subject: "the results".to_string(), reason });
    }
    let of_old: HashMap<Vec<Option<String>>, usize> =
        (0..old.fits.len()).map(|fit| (old.identity(fit), fit)).collect();
    let mut seen = vec![false; old.fits.len()];
    let (mut rows, mut gone_rows) = (AnswerTable::default(), AnswerTable::default());
    let mut counts: HashMap<Difference, usize> = HashMap::new();
    let mut equal = 0;
    for fit in 0..new.fits.len() {
        let Some(&before) = of_old.get(&new.identity(fit)) else {
            *counts.entry(Difference::Added).or_default() += 1;
            add(&mut rows, fit, Difference::Added, Pair { old: None, new: Some((new, fit)) }, None);
            continue;
        };
        seen[before] = true;
        let pair = Pair { old: Some((old, before)), new: Some((new, fit)) };
        let (a, b) = (&old.fits[before], &new.fits[fit]);
        let has_other_status = a.status != b.status;
        if has_other_status {
            *counts.entry(Difference::Status).or_default() += 1;
            add(&mut rows, fit, Difference::Status, pair, None);
        }
        // The estimates of a fit that is not to be trusted say nothing.
        let is_outside = |i: &usize| {
            let interval = a.intervals.get(*i).copied().flatten().filter(|_| b.is_trustworthy());
            interval.is_some_and(|(low, high)| b.natural[*i] < low || b.natural[*i] > high)
        };
        let n = a.natural.len().min(b.natural.len());
        let moved: Vec<usize> = (0..n).filter(is_outside).collect();
        for &i in &moved {
            add(&mut rows, fit, Difference::Moved, pair, Some(i));
        }
        let same = |(x, y): (&f64, &f64)| x == y || x.is_nan() && y.is_nan();
        let differ = a.natural.len() != b.natural.len() || !a.natural.iter().zip(&b.natural).all(same);
        if !moved.is_empty() {
            *counts.entry(Difference::Moved).or_default() += 1;
        } else if differ && !has_other_status {
            *counts.entry(Difference::Changed).or_default() += 1;
            add(&mut rows, fit, Difference::Changed, pair, None);
        } else if !has_other_status {
            equal += 1;
        }
    }
    for fit in (0..old.fits.len()).filter(|&fit| !seen[fit]) {
        *counts.entry(Difference::Gone).or_default() += 1;
        add(&mut gone_rows, fit, Difference::Gone, Pair { old: Some((old, fit)), new: None }, None);
    }
    let table = match (rows.fits.is_empty(), gone_rows.fits.is_empty()) {
        (_, true) => rows.batch(new)?,
        (true, false) => gone_rows.batch(old)?,
        (false, false) => {
            let (rows, gone) = (rows.batch(new)?, gone_rows.batch(old)?);
            concat_batches(&rows.schema(), [&rows, &gone]).map_err(|error| Error::Question {
                subject: "the results".to_string(),
                reason: format!("their keys are of other types: {error}"),
            })?
        }
    };
    Ok(Differences { table, counts, equal })
}

fn shown(names: &[String]) -> String {
    if names.is_empty() { "none".to_string() } else { crate::formula::list(names) }
}

/// The results that are compared, each with the number of a fit.
#[derive(Clone, Copy)]
struct Pair<'a> {
    old: Option<(&'a KeptResult, usize)>,
    new: Option<(&'a KeptResult, usize)>,
}

/// Appends a difference, of a fit or of one of its parameters.
fn add(rows: &mut AnswerTable, fit: usize, difference: Difference, pair: Pair, parameter: Option<usize>) {
    let Pair { old, new } = pair;
    let law = new.or(old).map(|(result, fit)| &result.laws[result.fits[fit].law]);
    let status = |side: Option<(&KeptResult, usize)>| {
        side.map_or_else(String::new, |(result, fit)| result.fits[fit].status.clone())
    };
    let estimate = |side: Option<(&KeptResult, usize)>| match (side, parameter) {
        (Some((result, fit)), Some(i)) => result.fits[fit].natural[i],
        _ => f64::NAN,
    };
    let interval = |side: Option<(&KeptResult, usize)>| {
        let (result, fit) = side?;
        result.fits[fit].intervals.get(parameter?).copied().flatten()
    };
    rows.fits.push(fit as u32);
    rows.text("law", law.map_or("", |law| &law.name));
    rows.text("difference", difference.name());
    let name = law.zip(parameter).map_or("", |(law, i)| law.parameters[i].name.as_str());
    rows.text("parameter", name);
    rows.text("old_status", &status(old));
    rows.text("new_status", &status(new));
    rows.number("old_estimate", estimate(old));
    rows.interval("old_estimate_low", "old_estimate_high", interval(old));
    rows.number("new_estimate", estimate(new));
    rows.interval("new_estimate_low", "new_estimate_high", interval(new));
}
