//! A job: what the user means, checked for form but not yet against any file.

use serde::Serialize;

use crate::infer::{self, Resample};
use crate::law::Residual;
use crate::optimize::Solver;
use crate::problem::LossChoice;

/// A law as named on the command line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum LawText {
    /// A name of the catalogue.
    Name(String),
    /// A typed formula.
    Formula(String),
}

/// Everything that decides a run's numbers, and nothing else; written to the manifest as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    pub inputs: Vec<String>,
    pub by: Vec<String>,
    pub laws: Vec<LawText>,
    /// Text of a user's own catalogue and the name of its file.
    #[serde(skip)]
    pub catalogue: Option<(String, String)>,
    #[serde(rename = "laws_file")]
    pub catalogue_file: Option<String>,
    /// Name and expression, in order.
    #[serde(rename = "let")]
    pub lets: Vec<(String, String)>,
    #[serde(rename = "where")]
    pub condition: Option<String>,
    pub response: Option<String>,
    pub min_points: usize,
    pub residual: Option<Residual>,
    #[serde(serialize_with = "display_option")]
    pub loss: Option<LossChoice>,
    pub weight: Option<String>,
    pub sigma: Option<String>,
    pub absolute_sigma: bool,
    pub starts: Option<usize>,
    pub start: Vec<(String, f64)>,
    pub fix: Vec<(String, f64)>,
    pub solver: Solver,
    pub bootstrap: usize,
    #[serde(serialize_with = "display")]
    pub resample: Resample,
    pub confidence: f64,
    pub seed: u64,
    pub keep_replicates: bool,
    pub residuals: bool,
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
