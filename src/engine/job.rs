//! The settings of a run, before they are checked against a source.

use serde::Serialize;

use crate::infer::{self, IntervalMethod, Resample};
use crate::input::{KeyColumn, RESPONSE, VALUE};
use crate::law::Residual;
use crate::optimize::Solver;
use crate::problem::LossChoice;
use crate::questions::Frontier;

/// A law, by its name or as a formula.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LawText {
    /// A name in the catalogue.
    Name(String),
    /// A formula, such as `y ~ a*x^b`.
    Formula(String),
}

impl From<&str> for LawText {
    /// Reads a text with a `~` as a formula, any other text as a name.
    fn from(text: &str) -> LawText {
        if text.contains('~') { LawText::Formula(text.to_string()) } else { LawText::Name(text.to_string()) }
    }
}

/// Whether replicates are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepReplicates {
    /// While those of all fits together take less than 256 MiB.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A catalogue of laws in a file of the user.
#[derive(Clone, Debug, Serialize)]
pub struct CatalogueFile {
    /// The name of the file, for errors.
    pub name: String,
    /// The laws, in TOML.
    pub text: String,
}

/// The settings of a run: all that its numbers depend on besides the data. The manifest holds the job as JSON.
///
/// Start from [`Job::new`] and set the fields that differ from their defaults:
///
/// ```
/// use sweepfit::Job;
///
/// let job = Job { weight: Some("w".into()), bootstrap: 200, ..Job::new("chinchilla") };
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    /// Files of Parquet or text, directories and globs, for [`run_files`](crate::run_files); empty for other sources.
    pub inputs: Vec<String>,
    /// The types of hive partitions, as pairs of name and type, such as `year` and `int64`; text where none is given.
    pub partition_types: Vec<(String, String)>,
    /// The key columns, which identify a sweep, such as `vec!["family".into()]`; empty if the whole input is one sweep.
    pub by: Vec<KeyColumn>,
    /// The laws, each fitted to every sweep.
    pub laws: Vec<LawText>,
    /// A catalogue of the user's laws in addition to the built-in one.
    pub catalogue: Option<CatalogueFile>,
    /// Definitions of variables as pairs of name and expression; each may use columns and earlier definitions.
    #[serde(rename = "let")]
    pub lets: Vec<(String, String)>,
    /// A condition: rows for which it is not true are dropped. `None` keeps all rows.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// A condition: rows for which it is true are predicted and scored, not fitted.
    pub holdout: Option<String>,
    /// A column or an expression that replaces the left side of every law.
    pub response: Option<String>,
    /// The columns of responses of a wide table, by names or patterns: each becomes a sweep of its own, told apart by the key
    /// column `response`. For [`run_files`](crate::run_files).
    pub responses: Vec<String>,
    /// The least number of usable observations; sweeps with fewer are rejected.
    pub min_points: usize,
    /// Whether an input of which no sweep is left gives an empty result and not an error.
    pub allow_empty: bool,
    /// The space of residuals; `None` for each law's own.
    pub residual: Option<Residual>,
    /// The loss ρ; `None` for `huber:1.345*mad` with residuals of logarithms and `l2` with linear residuals.
    #[serde(serialize_with = "display_option")]
    pub loss: Option<LossChoice>,
    /// The column of weights w ≥ 0 in the objective `Σ w·ρ(residual/σ)`; `None` for w = 1.
    pub weight: Option<String>,
    /// The column of σ > 0 in the objective; `None` for σ = 1.
    pub sigma: Option<String>,
    /// Whether σ is in the units of the response: standard errors are then not scaled by the residual variance.
    pub absolute_sigma: bool,
    /// The number of starts, from 1 to 65,536; `None` for a number that depends on the law.
    pub starts: Option<usize>,
    /// The user's start, as pairs of parameter and value in natural units; absent parameters are drawn or solved.
    pub start: Vec<(String, f64)>,
    /// Parameters that are held fixed, as pairs of parameter and value in natural units.
    pub fix: Vec<(String, f64)>,
    /// The solver that makes the searches.
    pub solver: Solver,
    /// The number of bootstrap replicates; 0 for asymptotic intervals.
    pub bootstrap: usize,
    /// How replicates are made.
    #[serde(serialize_with = "display")]
    pub resample: Resample,
    /// How intervals are made; `None` for the method that loss, sweep and replicates ask for.
    #[serde(serialize_with = "interval_name")]
    pub interval: Option<IntervalMethod>,
    /// The confidence of intervals, between 0 and 1, both excluded.
    pub confidence: f64,
    /// The seed of all random numbers.
    pub seed: u64,
    /// Quantities derived from the parameters, as pairs of name and expression, such as `a` and `beta/(alpha + beta)`.
    pub derive: Vec<(String, String)>,
    /// Whether the results contain the replicates, besides the intervals that follow from them.
    pub keep_replicates: KeepReplicates,
    /// Whether the results contain the covariance of the parameters.
    pub covariance: bool,
    /// Whether the results contain residuals.
    pub residuals: bool,
    /// Points at which the laws are predicted, such as `N=7e10, D=20*N`, for [`run_files`](crate::run_files).
    pub at: Vec<String>,
    /// The frontier that is asked, for [`run_files`](crate::run_files); none where it has neither budgets nor targets.
    pub frontier: Frontier,
}

impl Job {
    /// Returns whether the result is asked questions.
    #[must_use]
    pub fn has_questions(&self) -> bool {
        !self.at.is_empty() || !self.frontier.budgets.is_empty() || !self.frontier.targets.is_empty()
    }

    /// Returns the job on the source that a wide table stands for: its response is a column, and the name of that column a key.
    #[must_use]
    pub(crate) fn on_wide_table(&self) -> Job {
        let mut job = Job { response: Some(VALUE.to_owned()), ..self.clone() };
        job.by.push(RESPONSE.into());
        job
    }

    /// Returns a job that fits one law, given by its name in the catalogue or as a formula, with default settings.
    #[must_use]
    pub fn new(law: &str) -> Job {
        Job { laws: vec![law.into()], ..Job::default() }
    }
}

impl Default for Job {
    fn default() -> Self {
        let inference = infer::InferenceOptions::default();
        Job {
            inputs: Vec::new(),
            partition_types: Vec::new(),
            by: Vec::new(),
            laws: Vec::new(),
            catalogue: None,
            lets: Vec::new(),
            condition: None,
            holdout: None,
            response: None,
            responses: Vec::new(),
            min_points: 1,
            allow_empty: false,
            residual: None,
            loss: None,
            weight: None,
            sigma: None,
            absolute_sigma: inference.absolute_sigma,
            starts: None,
            start: Vec::new(),
            fix: Vec::new(),
            solver: Solver::Fast,
            bootstrap: inference.bootstrap,
            resample: inference.resample,
            interval: inference.interval,
            confidence: inference.confidence,
            seed: inference.seed,
            derive: Vec::new(),
            keep_replicates: KeepReplicates::Auto,
            covariance: false,
            residuals: false,
            at: Vec::new(),
            frontier: Frontier::default(),
        }
    }
}

/// Serializes a value as its text.
fn display<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Serializes an optional value as its text or as none.
fn display_option<T: std::fmt::Display, S: serde::Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Serializes an interval method as its name, and none as `auto`.
fn interval_name<S: serde::Serializer>(
    value: &Option<IntervalMethod>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.map_or("auto", IntervalMethod::name))
}
