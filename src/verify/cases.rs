//! One case for every law of the catalogue (`cases.toml`): true parameters and values of the variables, with random
//! points of the law's domain near the true parameters.

use std::collections::BTreeMap;

use rand_chacha::rand_core::Rng;
use serde::Deserialize;

use crate::infer::generator;
use crate::law::{Catalogue, Domain, Law};

use super::defect;
use crate::error::Error;

const CASES: &str = include_str!("cases.toml");

/// The synthetic data of one law, and the digits that a fit to the data must recover.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The law's name in the catalogue.
    pub law: String,
    variables: BTreeMap<String, Values>,
    truth: BTreeMap<String, f64>,
    /// The digits that a fit must recover.
    pub digits: RequiredDigits,
}

/// The digits that a fit to data without noise must recover.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequiredDigits {
    /// Digits of every parameter.
    Parameters(f64),
    /// Digits of the predictions, by the root mean square of the residuals.
    Curve(f64),
}

/// The values of a variable.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
enum Values {
    Range {
        from: f64,
        to: f64,
        n: usize,
        #[serde(default)]
        spacing: Spacing,
    },
    Listed {
        values: Vec<f64>,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Spacing {
    #[default]
    Log,
    Linear,
}

impl Values {
    /// Returns the value at a fraction of the range, from 0 to 1.
    fn at(&self, fraction: f64) -> f64 {
        match self {
            Values::Range { from, to, spacing: Spacing::Log, .. } => from * (to / from).powf(fraction),
            Values::Range { from, to, .. } => from + (to - from) * fraction,
            Values::Listed { values } => {
                values[((fraction * values.len() as f64) as usize).min(values.len() - 1)]
            }
        }
    }

    /// Returns all values, in order.
    fn all(&self) -> Vec<f64> {
        match self {
            Values::Range { n, .. } => (0..*n).map(|i| self.at(i as f64 / (*n - 1) as f64)).collect(),
            Values::Listed { values } => values.clone(),
        }
    }
}

/// Returns the cases, one for every law of the built-in catalogue, each with its law.
///
/// # Errors
/// If `cases.toml` or the catalogue does not parse, or a law has no complete case.
pub fn cases() -> Result<Vec<(Case, Law)>, Error> {
    #[derive(Deserialize)]
    struct CaseFile {
        #[serde(rename = "case")]
        cases: Vec<Case>,
    }
    let file: CaseFile = toml::from_str(CASES).map_err(|e| defect(e.to_string()))?;
    let catalogue = Catalogue::built_in().map_err(|e| defect(e.to_string()))?;
    catalogue
        .laws
        .into_iter()
        .map(|law| {
            let case = file.cases.iter().find(|case| case.law == law.name);
            let case = case.ok_or_else(|| defect(format!("`{}` has no case", law.name)))?.clone();
            let complete = law.parameters.iter().all(|p| case.truth.contains_key(&p.name))
                && law.variables.iter().all(|v| case.variables.contains_key(v));
            if complete {
                Ok((case, law))
            } else {
                Err(defect(format!("the case of `{}` is incomplete", law.name)))
            }
        })
        .collect()
}

impl Case {
    /// Returns the true parameters in natural units, in the law's order.
    #[must_use]
    pub fn truth(&self, law: &Law) -> Vec<f64> {
        law.parameters.iter().map(|p| self.truth[&p.name]).collect()
    }

    /// Returns the columns of the law's variables, in the law's order. Their rows are all combinations of the values.
    #[must_use]
    pub fn columns(&self, law: &Law) -> Vec<Vec<f64>> {
        let mut columns: Vec<Vec<f64>> = Vec::new();
        let mut rows = 1;
        for variable in &law.variables {
            let values = self.variables[variable].all();
            for column in &mut columns {
                *column = column.iter().flat_map(|&x| std::iter::repeat_n(x, values.len())).collect();
            }
            columns.push(values.iter().copied().cycle().take(rows * values.len()).collect());
            rows *= values.len();
        }
        columns
    }
}

/// Random points of laws' domains, reproducible from a seed.
pub struct CaseDraws(rand_chacha::ChaCha8Rng);

impl CaseDraws {
    /// Returns the sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> CaseDraws {
        CaseDraws(generator("verify", seed, &[0; 32]))
    }

    /// Draws a number from the uniform distribution on the open unit interval.
    pub fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Draws the law's parameters within a factor of two of `around` and inside their domains, in natural units.
    pub fn parameters(&mut self, law: &Law, around: &[f64]) -> Vec<f64> {
        law.parameters
            .iter()
            .zip(around)
            .map(|(parameter, &value)| match parameter.domain {
                Domain::Fixed(value) => value,
                Domain::Held => value,
                Domain::Range { low, high } => (value * 4.0_f64.powf(self.uniform() - 0.5)).clamp(low, high),
            })
            .collect()
    }

    /// Draws columns of `n` values for the law's variables from the ranges of the case.
    pub fn columns(&mut self, case: &Case, law: &Law, n: usize) -> Vec<Vec<f64>> {
        let values =
            |variable: &String| (0..n).map(|_| case.variables[variable].at(self.uniform())).collect();
        law.variables.iter().map(values).collect()
    }
}
