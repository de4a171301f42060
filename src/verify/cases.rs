//! Data that every law of the catalogue must recover its own parameters from (`cases.toml`), and points of its domain
//! around them.

use std::collections::BTreeMap;

use rand_chacha::rand_core::Rng;
use serde::Deserialize;

use crate::infer::generator;
use crate::law::{Catalogue, Domain, Law};

use super::fault;
use crate::error::Error;

const CASES: &str = include_str!("cases.toml");

/// A law with variables, parameters and what must come back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub law: String,
    variables: BTreeMap<String, Values>,
    truth: BTreeMap<String, f64>,
    pub digits: Wanted,
}

/// Digits that must come back from data without noise.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Of every parameter.
    Parameters(f64),
    /// Of the curve: root mean square of the residuals.
    Curve(f64),
}

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
    /// The value at a share of the way, from 0 to 1.
    fn at(&self, share: f64) -> f64 {
        match self {
            Values::Range { from, to, spacing: Spacing::Log, .. } => from * (to / from).powf(share),
            Values::Range { from, to, .. } => from + (to - from) * share,
            Values::Listed { values } => {
                values[((share * values.len() as f64) as usize).min(values.len() - 1)]
            }
        }
    }

    fn all(&self) -> Vec<f64> {
        match self {
            Values::Range { n, .. } => (0..*n).map(|i| self.at(i as f64 / (*n - 1) as f64)).collect(),
            Values::Listed { values } => values.clone(),
        }
    }
}

/// The cases, one for every law of the built-in catalogue, with their laws.
pub fn cases() -> Result<Vec<(Case, Law)>, Error> {
    #[derive(Deserialize)]
    struct CaseFile {
        #[serde(rename = "case")]
        cases: Vec<Case>,
    }
    let data = fault;
    let file: CaseFile = toml::from_str(CASES).map_err(|e| data(e.to_string()))?;
    let catalogue = Catalogue::built_in().map_err(|e| data(e.to_string()))?;
    catalogue
        .laws
        .into_iter()
        .map(|law| {
            let case = file.cases.iter().find(|case| case.law == law.name);
            let case = case.ok_or_else(|| data(format!("`{}` has no case", law.name)))?.clone();
            let names =
                |what: &BTreeMap<String, f64>| law.parameters.iter().all(|p| what.contains_key(&p.name));
            let complete = names(&case.truth) && law.variables.iter().all(|v| case.variables.contains_key(v));
            if complete {
                Ok((case, law))
            } else {
                Err(data(format!("the case of `{}` is incomplete", law.name)))
            }
        })
        .collect()
}

impl Case {
    /// The true parameters, in the law's order.
    #[must_use]
    pub fn truth(&self, law: &Law) -> Vec<f64> {
        law.parameters.iter().map(|p| self.truth[&p.name]).collect()
    }

    /// The columns of the law's variables: all combinations of their values.
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

/// Points of laws' domains: a fixed sequence.
pub struct CaseDraws(rand_chacha::ChaCha8Rng);

impl CaseDraws {
    #[must_use]
    pub fn new(seed: u64) -> CaseDraws {
        CaseDraws(generator("verify", seed, &[0; 32]))
    }

    /// Uniform on the open unit interval.
    pub fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Values within a factor of two of those given, inside the law's domain.
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

    /// Columns of the law's variables, `n` values each, from the case's ranges.
    pub fn columns(&mut self, case: &Case, law: &Law, n: usize) -> Vec<Vec<f64>> {
        let values =
            |variable: &String| (0..n).map(|_| case.variables[variable].at(self.uniform())).collect();
        law.variables.iter().map(values).collect()
    }
}
