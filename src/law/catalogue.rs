//! The published laws, as data.
//!
//! `catalogue.toml` beside this file is built in; a user's own file in the same format stands beside it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::formula::{Domain, FormulaError, names, parse_formula, unknowns};

use super::{Law, Parameter, Residual, list};

const BUILT_IN: &str = include_str!("catalogue.toml");

/// Where a law was published.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Citation {
    pub author: String,
    pub year: u16,
    /// arXiv number or other reference.
    pub reference: String,
    /// The equation or section.
    #[serde(default)]
    pub equation: String,
    /// Published values and what else a user should know.
    #[serde(default)]
    pub note: String,
}

/// The laws by name, in the order of the files.
#[derive(Clone, Debug)]
pub struct Catalogue {
    pub laws: Vec<Law>,
}

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("{file}: not a catalogue of laws: {reason}")]
    Toml { file: String, reason: String },
    #[error("{file}: law `{law}`: its formula does not parse:\n{error}")]
    Formula { file: String, law: String, error: FormulaError },
    #[error("{file}: law `{law}`: {reason}")]
    Entry { file: String, law: String, reason: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "law")]
    laws: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    formula: String,
    variables: Vec<String>,
    #[serde(default)]
    residual: Option<Residual>,
    #[serde(default)]
    start: BTreeMap<String, (f64, f64)>,
    #[serde(default)]
    ordered: Vec<String>,
    #[serde(default)]
    source: Option<Citation>,
}

impl Catalogue {
    /// The laws that come with the program.
    pub fn built_in() -> Result<Catalogue, CatalogueError> {
        let mut catalogue = Catalogue { laws: Vec::new() };
        catalogue.add("the built-in catalogue", BUILT_IN)?;
        Ok(catalogue)
    }

    /// Adds the laws of a file's text; names must be new.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), CatalogueError> {
        let parsed: File = toml::from_str(text)
            .map_err(|error| CatalogueError::Toml { file: file.to_string(), reason: error.to_string() })?;
        for entry in parsed.laws {
            let law = entry.into_law(file)?;
            if self.get(&law.name).is_some() {
                return Err(CatalogueError::Entry {
                    file: file.to_string(),
                    law: law.name,
                    reason: "there is a law of this name already; choose another".to_string(),
                });
            }
            self.laws.push(law);
        }
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&Law> {
        self.laws.iter().find(|law| law.name == name)
    }

    /// The name nearest to one that is not there.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        self.laws
            .iter()
            .map(|law| (strsim::damerau_levenshtein(name, &law.name), law.name.as_str()))
            .min()
            .filter(|(distance, nearest)| *distance <= nearest.len() / 3)
            .map(|(_, name)| name)
    }
}

impl Entry {
    fn into_law(self, file: &str) -> Result<Law, CatalogueError> {
        let name = self.name.clone();
        let fail =
            |reason: String| CatalogueError::Entry { file: file.to_string(), law: name.clone(), reason };
        let formula = parse_formula(&self.formula).map_err(|error| CatalogueError::Formula {
            file: file.to_string(),
            law: name.clone(),
            error,
        })?;
        if self.name.is_empty() || self.name.contains('~') {
            return Err(fail("a law needs a name without `~`".to_string()));
        }
        let used = names(&formula.prediction);
        if let Some(unknown) =
            unknowns(&formula.prediction).into_iter().find(|name| self.variables.iter().any(|v| v == name))
        {
            return Err(fail(format!("`{unknown}` is the unknown of `solve`, so it is no variable")));
        }
        if let Some(missing) = self.variables.iter().find(|v| !used.contains(&v.as_str())) {
            return Err(fail(format!("its formula does not use the variable `{missing}`")));
        }
        let mut parameters = Vec::new();
        for parameter in used.iter().filter(|n| !self.variables.iter().any(|v| v == *n)) {
            let domain = formula
                .domains
                .iter()
                .find(|(n, ..)| n == parameter)
                .map(|(_, domain, _)| *domain)
                .unwrap_or(Domain::Range { low: f64::NEG_INFINITY, high: f64::INFINITY });
            let start = self.start.get(*parameter).copied();
            if start.is_some_and(|(low, high)| !(low <= high && low.is_finite() && high.is_finite())) {
                return Err(fail(format!("the start region of `{parameter}` is not low ≤ high")));
            }
            parameters.push(Parameter { name: (*parameter).to_string(), domain, start });
        }
        let known: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
        for name in formula.domains.iter().map(|(n, ..)| n).chain(self.start.keys()).chain(&self.ordered) {
            if !known.contains(&name.as_str()) {
                return Err(fail(format!(
                    "`{name}` is not one of its parameters, which are {}",
                    list(&known)
                )));
            }
        }
        if parameters.is_empty() || self.variables.is_empty() {
            return Err(fail("a law needs at least one parameter and one variable".to_string()));
        }
        let law = Law {
            name: self.name,
            formula: self.formula,
            response: formula.response,
            prediction: formula.prediction,
            parameters,
            variables: self.variables,
            residual: self.residual.unwrap_or(Residual::Linear),
            ordered: self.ordered,
            citation: self.source,
        };
        match law.too_large() {
            Some(reason) => Err(fail(reason)),
            None => Ok(law),
        }
    }
}
