//! A job: everything that decides a run's numbers, not yet checked against any source.

use serde::Serialize;

use crate::infer::{self, Resample};
use crate::law::Residual;
use crate::optimize::Solver;
use crate::problem::LossChoice;

/// A law as the user names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum LawText {
    /// A name of the catalogue.
    Name(String),
    /// A typed formula.
    Formula(String),
}

impl From<&str> for LawText {
    /// A text with a `~` is a formula, any other a name.
    fn from(text: &str) -> LawText {
        if text.contains('~') { LawText::Formula(text.to_string()) } else { LawText::Name(text.to_string()) }
    }
}

/// Everything that decides a run's numbers, and nothing else; written to the manifest as it is.
///
/// Set what differs from [`Job::default`]:
///
/// ```
/// use sweepfit::Job;
///
/// let job = Job { weight: Some("w".into()), bootstrap: 200, ..Job::new("chinchilla") };
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    /// Parquet files, directories and globs, for jobs from files; a job on another source leaves it empty.
    pub inputs: Vec<String>,
    /// Columns that identify a sweep; without any the whole input is one sweep.
    pub by: Vec<String>,
    /// The laws, each fitted to every sweep.
    pub laws: Vec<LawText>,
    /// A user's own catalogue of laws: the name of its file and its text, in TOML.
    #[serde(skip)]
    pub catalogue: Option<(String, String)>,
    /// The name of the file of `catalogue`, for the manifest.
    #[serde(rename = "laws_file")]
    pub catalogue_file: Option<String>,
    /// Definitions of variables: name and expression, in order.
    #[serde(rename = "let")]
    pub lets: Vec<(String, String)>,
    /// Rows are kept where this condition holds; all rows without one.
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// Replaces the left side of every law: a column or an expression.
    pub response: Option<String>,
    /// Sweeps with fewer usable observations are rejected.
    pub min_points: usize,
    /// The space of residuals; each law's own without one.
    pub residual: Option<Residual>,
    /// The loss ρ; without one `huber:1.345*mad` for residuals of logarithms, `l2` for linear ones.
    #[serde(serialize_with = "display_option")]
    pub loss: Option<LossChoice>,
    /// The column of weights w ≥ 0 in the objective `Σ w·ρ(residual/σ)`; 1 without one.
    pub weight: Option<String>,
    /// The column of σ > 0; 1 without one.
    pub sigma: Option<String>,
    /// Whether σ is in the response's units, so that standard errors are not scaled by the residual variance.
    pub absolute_sigma: bool,
    /// Starts of the multi-start, at most 65,536; set by the law without one.
    pub starts: Option<usize>,
    /// A start of the user's own, by parameter, in natural units.
    pub start: Vec<(String, f64)>,
    /// Parameters held at values, in natural units.
    pub fix: Vec<(String, f64)>,
    /// Which solver searches.
    pub solver: Solver,
    /// Number of bootstrap replicates; 0 for intervals from standard errors.
    pub bootstrap: usize,
    /// What the bootstrap resamples.
    #[serde(serialize_with = "display")]
    pub resample: Resample,
    /// The confidence of intervals, between 0 and 1.
    pub confidence: f64,
    /// Every random number follows from it.
    pub seed: u64,
    /// Whether the replicates themselves are kept, not only what is inferred from them.
    pub keep_replicates: bool,
    /// Whether residuals are wanted.
    pub residuals: bool,
}

impl Job {
    /// Fits one law, given by its name in the catalogue or by a formula, with all else as by default.
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
            by: Vec::new(),
            laws: Vec::new(),
            catalogue: None,
            catalogue_file: None,
            lets: Vec::new(),
            condition: None,
            response: None,
            min_points: 1,
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
            confidence: inference.confidence,
            seed: inference.seed,
            keep_replicates: false,
            residuals: false,
        }
    }
}

fn display<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn display_option<T: std::fmt::Display, S: serde::Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
