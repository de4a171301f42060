//! The catalogue of published laws, as data.
//!
//! `catalogue.toml` beside this file is built in. A user's file in the same format can be added.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::Error;
use crate::formula::{Domain, list, names, nearest, parse_formula, unknowns};

use super::{Law, Parameter, Residual};

const BUILT_IN: &str = include_str!("catalogue.toml");

/// The publication of a law.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Citation {
    /// Family name of the first author, and of the second where there are two.
    pub author: String,
    /// Year of publication.
    pub year: u16,
    /// An arXiv number or other reference.
    pub reference: String,
    /// The equation or section.
    #[serde(default)]
    pub equation: String,
    /// Published values, and what else a user should know.
    #[serde(default)]
    pub note: String,
}

/// The laws, in the order of the files.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// In the order of the files.
    pub laws: Vec<Law>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    #[serde(default, rename = "law")]
    laws: Vec<CatalogueEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueEntry {
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
    /// Returns the built-in laws.
    ///
    /// # Errors
    ///
    /// If the built-in file is invalid.
    pub fn built_in() -> Result<Catalogue, Error> {
        let mut catalogue = Catalogue { laws: Vec::new() };
        catalogue.add("the built-in catalogue", BUILT_IN)?;
        Ok(catalogue)
    }

    /// Adds the laws of a file's text.
    ///
    /// # Errors
    ///
    /// If the text is not a catalogue, a law is invalid, or a name exists already.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Error> {
        let parsed: CatalogueFile =
            toml::from_str(text).map_err(|error| fault(file, format!("not a catalogue of laws: {error}")))?;
        for entry in parsed.laws {
            let law = entry.into_law(file)?;
            if self.get(&law.name).is_some() {
                let reason = "there is a law of this name already; choose another";
                return Err(fault(file, format!("law `{}`: {reason}", law.name)));
            }
            self.laws.push(law);
        }
        Ok(())
    }

    /// Returns the law of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Law> {
        self.laws.iter().find(|law| law.name == name)
    }

    /// Returns the name most similar to one that does not exist, if any is similar enough.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.laws.iter().map(|law| law.name.as_str()))
    }
}

/// The error that a file is no catalogue of laws.
fn fault(file: &str, reason: String) -> Error {
    Error::Catalogue { file: file.to_string(), reason }
}

impl CatalogueEntry {
    /// Converts an entry to a law.
    fn into_law(self, file: &str) -> Result<Law, Error> {
        let name = self.name.clone();
        let fail = |reason: String| fault(file, format!("law `{name}`: {reason}"));
        let formula = parse_formula(&self.formula)
            .map_err(|error| fail(format!("its formula does not parse:\n{error}")))?;
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
