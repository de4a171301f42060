//! Questions that a fitted law answers, asked of a kept result: nothing is fitted again.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | what all questions share: the fits that are asked, and where their uncertainty comes from |
//! | `diff` | what differs between two results |
//! | `frontier` | the variables at which the law is least for a cost, and the cost of a value |
//! | `optimum` | the least value of a law under a cost |
//! | `points` | the points at which a question is asked |
//! | `predict` | predictions, with the intervals of the law and of a new run |
//! | `score` | the errors of predictions on observations that were held out |
//! | `table` | answers as a table with the keys of the sweeps |
//!
//! Intervals come from the replicates where the result holds them, or else from the covariance. The folder knows nothing of
//! how a fit was made, and of how answers are shown.

mod diff;
mod frontier;
mod optimum;
mod points;
mod predict;
mod score;
mod table;

pub use diff::{Difference, Differences, differences};
pub use frontier::{Frontier, check_frontier, frontier};
pub use points::{Points, numbers};
#[cfg(feature = "cli")]
pub(crate) use predict::substitute;
pub use predict::{check_points, predict};
pub(crate) use predict::{new_run_interval, prediction_expr};
pub use score::{HeldOut, JudgedFit};
pub use table::AnswerTable;

use rayon::prelude::*;

use crate::error::Error;
use crate::infer::{GoodReplicates, Source};
use crate::law::Law;
use crate::output::{GoodRefits, KeptFit, KeptResult};

/// Which fits of a result are asked.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The name of a law; all laws where none is given.
    pub law: Option<String>,
    /// Whether each fit's sweep is asked; all where it is empty.
    pub sweeps: Vec<bool>,
}

impl Selection {
    /// Returns whether a fit is asked.
    fn contains(&self, result: &KeptResult, fit: usize) -> bool {
        let is_law = self.law.as_ref().is_none_or(|name| result.laws[result.fits[fit].law].name == *name);
        is_law && self.sweeps.get(fit).copied().unwrap_or(true)
    }

    /// Returns the numbers of the fits that are asked.
    ///
    /// # Errors
    /// If the result does not have the law, or no fit is asked.
    pub fn fits(&self, result: &KeptResult) -> Result<Vec<usize>, Error> {
        self.check(result)?;
        let chosen: Vec<usize> = (0..result.fits.len()).filter(|&fit| self.contains(result, fit)).collect();
        if chosen.is_empty() && !result.fits.is_empty() {
            let reason = "no sweep of the result meets it".to_string();
            return Err(Error::Question { subject: "the condition".to_string(), reason });
        }
        Ok(chosen)
    }

    /// Checks that the result has the law.
    fn check(&self, result: &KeptResult) -> Result<(), Error> {
        match &self.law {
            Some(name) if !result.laws.iter().any(|law| law.name == *name) => {
                let names: Vec<&str> = result.laws.iter().map(|law| law.name.as_str()).collect();
                let reason =
                    format!("the result has no such law; its laws are {}", crate::formula::list(&names));
                Err(Error::Question { subject: format!("the law `{name}`"), reason })
            }
            _ => Ok(()),
        }
    }
}

/// Returns the variables of some laws, in order of first appearance.
fn variables(laws: &[Law]) -> Vec<&String> {
    let mut variables: Vec<&String> = Vec::new();
    for name in laws.iter().flat_map(|law| &law.variables) {
        if !variables.contains(&name) {
            variables.push(name);
        }
    }
    variables
}

/// A fit as a question sees it.
#[derive(Clone, Copy, Debug)]
struct AskedFit<'a> {
    law: &'a Law,
    fit: &'a KeptFit,
    source: Source<'a>,
    /// The numbers of the replicates in `source`.
    numbers: &'a [u32],
    confidence: f64,
}

/// The reason why there is no interval, where nothing is known of the uncertainty.
const NO_UNCERTAINTY: &str = "the result holds neither replicates nor covariance, so there is no interval: fit with \
                              --keep-replicates or --covariance";

/// The number of replicates' parameters that are held while fits wait for their answers.
const MOST_WAITING: usize = 1 << 18;

/// Returns the answers of all fits that are asked, in order. `answer` gives those of one fit, from the uncertainty that the
/// result holds; fits are answered by all threads.
fn ask(
    result: &KeptResult,
    selection: &Selection,
    answer: impl Fn(usize, AskedFit) -> AnswerTable + Sync,
) -> Result<AnswerTable, Error> {
    let mut chosen = selection.fits(result)?.into_iter().peekable();
    let jackknives = result.jackknives()?;
    let mut replicates = result.replicates()?;
    // The fits before the next that has replicates have none.
    let mut next = || -> Result<Vec<(usize, Option<GoodRefits>)>, Error> {
        let (mut waiting, mut size) = (Vec::new(), 0);
        while size < MOST_WAITING {
            let Some((number, refits)) = replicates.next().transpose()? else {
                waiting.extend(chosen.by_ref().map(|number| (number, None)));
                break;
            };
            while let Some(earlier) = chosen.next_if(|earlier| *earlier < number) {
                waiting.push((earlier, None));
            }
            if chosen.next_if_eq(&number).is_some() {
                size += refits.rows.len();
                waiting.push((number, Some(refits)));
            }
        }
        Ok(waiting)
    };
    let answer_one = |(number, refits): &(usize, Option<GoodRefits>)| {
        let fit = &result.fits[*number];
        let law = &result.laws[fit.law];
        let good = refits.as_ref().map(|GoodRefits { rows, .. }| GoodReplicates {
            rows,
            full_len: fit.n_replicates * law.parameters.len(),
        });
        let source = if fit.is_trustworthy() {
            Source::of(good, &jackknives[*number], fit.covariance.as_ref())
        } else {
            Source::Nowhere
        };
        let numbers = refits.as_ref().map_or(&[][..], |refits| &refits.numbers);
        let confidence = result.confidence;
        let mut found = answer(*number, AskedFit { law, fit, source, numbers, confidence });
        found.belong_to(*number);
        found
    };
    let mut answers = AnswerTable::default();
    let mut waiting = next()?;
    // The next replicates are read while those that wait are answered.
    while !waiting.is_empty() {
        let (following, found) =
            rayon::join(&mut next, || -> Vec<AnswerTable> { waiting.par_iter().map(answer_one).collect() });
        found.into_iter().for_each(|found| answers.append(found));
        waiting = following?;
    }
    Ok(answers)
}

/// Returns the factor by which a value lies outside a range, 1 inside; where the range is not positive, one more than the
/// distance in lengths of the range.
fn extrapolation(value: f64, (low, high): (f64, f64)) -> f64 {
    if value >= low && value <= high {
        1.0
    } else if low > 0.0 && value > 0.0 {
        (low / value).max(value / high)
    } else if low > 0.0 {
        f64::INFINITY
    } else {
        1.0 + (low - value).max(value - high) / (high - low)
    }
}
