//! Reads catalogues of laws.
//!
//! The catalogue of published laws, `catalogue.toml` in this folder, is built in. A user's file in this format can be
//! added.

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
    /// The family name of the author, or of the first author and `et al.`
    pub author: String,
    /// The year of publication.
    pub year: u16,
    /// The arXiv number or another reference.
    pub reference: String,
    /// The equation or section; empty if not given.
    #[serde(default)]
    pub equation: String,
    /// Published values and remarks; empty if there are none.
    #[serde(default)]
    pub note: String,
}

/// A catalogue of laws with unique names.
///
/// ```
/// let catalogue = sweepfit::Catalogue::built_in()?;
/// assert_eq!(catalogue.get("chinchilla").unwrap().variables, ["N", "D"]);
/// # Ok::<(), sweepfit::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// The laws, in the order of the files.
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

    /// Adds the laws of a catalogue in TOML format. `file` names the text in errors.
    ///
    /// # Errors
    ///
    /// If the text is not a catalogue, a law is invalid, or its name exists already.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Error> {
        let parsed: CatalogueFile = toml::from_str(text)
            .map_err(|error| catalogue_error(file, format!("not a catalogue of laws: {error}")))?;
        for entry in parsed.laws {
            let law = entry.into_law(file)?;
            if self.get(&law.name).is_some() {
                let reason = "there is a law of this name already; choose another";
                return Err(catalogue_error(file, format!("law `{}`: {reason}", law.name)));
            }
            self.laws.push(law);
        }
        Ok(())
    }

    /// Returns the law with a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Law> {
        self.laws.iter().find(|law| law.name == name)
    }

    /// Returns the name of the law that is most similar to a misspelt name, if one is similar enough.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.laws.iter().map(|law| law.name.as_str()))
    }
}

/// Returns the error for a file that is not a valid catalogue.
fn catalogue_error(file: &str, reason: String) -> Error {
    Error::Catalogue { file: file.to_string(), reason }
}

impl CatalogueEntry {
    /// Converts an entry to a law, and checks it.
    fn into_law(self, file: &str) -> Result<Law, Error> {
        let name = self.name.clone();
        let fail = |reason: String| catalogue_error(file, format!("law `{name}`: {reason}"));
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
