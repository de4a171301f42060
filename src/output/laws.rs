//! The laws of a run as the manifest states them: in full, so that a result can be asked without its catalogue.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::formula::{Domain, names, parse_formula};
use crate::law::{Law, Parameter, Residual};

/// A law in the manifest of a result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatedLaw {
    /// The name in the tables' column `law`.
    pub name: String,
    /// The formula with its domains.
    pub formula: String,
    /// The variables, in the order of `variable_low` and `variable_high`.
    pub variables: Vec<String>,
    /// The parameters, in the order of the coefficients.
    pub parameters: Vec<String>,
    /// The values of parameters that the job holds besides those that the formula does.
    pub fixed: Vec<(String, f64)>,
    /// The space of residuals.
    pub residual: Residual,
    /// The loss as the job asks for it.
    pub loss: String,
}

impl StatedLaw {
    /// Returns the law, with the parameters that the job held fixed.
    ///
    /// # Errors
    /// If the formula does not parse, or uses a name that is not stated.
    pub fn law(&self) -> Result<Law, Error> {
        let formula = parse_formula(&self.formula)?;
        let known = |name: &str| self.variables.iter().chain(&self.parameters).any(|known| known == name);
        if let Some(unknown) = names(&formula.prediction).into_iter().find(|name| !known(name)) {
            let reason = format!("the manifest does not say what `{unknown}` is");
            return Err(Error::Law { law: self.name.clone(), reason });
        }
        let domain = |name: &String| {
            if let Some((_, value)) = self.fixed.iter().find(|(fixed, _)| fixed == name) {
                return Domain::Fixed(*value);
            }
            let stated = formula.domains.iter().find(|(n, ..)| n == name).map(|(_, domain, _)| *domain);
            stated.unwrap_or(Domain::Range { low: f64::NEG_INFINITY, high: f64::INFINITY })
        };
        let parameter = |name: &String| Parameter { name: name.clone(), domain: domain(name), start: None };
        Ok(Law {
            name: self.name.clone(),
            formula: self.formula.clone(),
            parameters: self.parameters.iter().map(parameter).collect(),
            response: formula.response,
            prediction: formula.prediction,
            variables: self.variables.clone(),
            residual: self.residual,
            ordered: Vec::new(),
            citation: None,
        })
    }
}
