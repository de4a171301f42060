//! Represents scaling laws: their parameters and domains, the catalogue of published laws, and expression graphs with
//! exact derivatives.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | [`Law`]: a formula whose names are divided into parameters and variables |
//! | [`catalogue`] | the published laws, read from `catalogue.toml` |
//! | [`graph`] | hash-consed expression nodes |
//! | `simplify` | the constructors of the graph, which simplify |
//! | [`linear_form`] | exponents expanded to sums of monomials |
//! | [`derive`](mod@derive) | exact first and second derivatives |
//! | `draws` | pseudo-random parameters at which a law is evaluated before there are data |
//! | `size` | the cost of a law, estimated before it is compiled |
//! | `symmetry` | transformations of the parameters that leave the prediction unchanged |
//!
//! The folder knows nothing of compiled programs, sweeps and fits.

pub mod catalogue;
pub(crate) mod derive;
mod draws;
pub(crate) mod graph;
pub(crate) mod linear_form;
mod simplify;
mod size;
mod symmetry;

pub use catalogue::{Catalogue, Citation};
pub use draws::{Draws, draw};
pub(crate) use graph::{DataColumn, LN_ZERO, Unary};
pub use size::MAX_WORK;
pub use symmetry::Symmetries;

use crate::error::Error;
pub use crate::formula::Domain;
use crate::formula::{
    Column, Expr, Formula, Table, evaluate, list, names, nearest, one_edit_away, other_case, quoted_names,
    unknowns,
};

/// The space of residuals: `T` in `T(prediction) − T(response)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Residual {
    /// The natural logarithm.
    Log,
    /// The identity.
    Linear,
}

impl std::fmt::Display for Residual {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Residual::Log => "log",
            Residual::Linear => "linear",
        })
    }
}

/// A parameter of a law.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The name in the formula.
    pub name: String,
    /// The values that the parameter may take, in natural units.
    pub domain: Domain,
    /// The interval from which starts are drawn, in natural units. Without it the interval follows from the formula and
    /// the data.
    pub start: Option<(f64, f64)>,
}

/// A formula whose names are divided into parameters and variables.
#[derive(Clone, Debug)]
pub struct Law {
    /// The name in the catalogue, or the formula as given.
    pub name: String,
    /// The text of the formula.
    pub formula: String,
    /// The left side.
    pub response: Expr,
    /// The right side.
    pub prediction: Expr,
    /// The parameters, in order of first appearance in the prediction.
    pub parameters: Vec<Parameter>,
    /// The columns that the prediction reads, in order of first appearance.
    pub variables: Vec<String>,
    /// The residual space if the user chooses none.
    pub residual: Residual,
    /// The parameters of exchangeable terms, such as the positions of breaks; their starts are drawn in ascending
    /// order.
    pub ordered: Vec<String>,
    /// The publication of the law.
    pub citation: Option<Citation>,
}

/// Returns a formula for a message: in one line, truncated if it is long.
pub(crate) fn truncated(text: &str) -> String {
    const MAX_LENGTH: usize = 200;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() <= MAX_LENGTH {
        return line;
    }
    format!("{}…", &line[..line.floor_char_boundary(MAX_LENGTH)])
}

impl Law {
    /// Returns the law of a formula, given the columns of the input.
    ///
    /// A name with a domain is a parameter. Of the other names, columns are variables and the rest are parameters.
    ///
    /// # Errors
    ///
    /// If there is no variable or no parameter, a name with a domain is not on the right side, an unknown of `solve` is
    /// a column, a name in double quotes is not a column, a name of three letters or more without domain is one edit away from a column or differs from it in case
    /// alone, or the law exceeds [`MAX_WORK`].
    pub fn from_formula(formula: Formula, columns: &[String]) -> Result<Law, Error> {
        let fail = |reason: String| Error::Law { law: truncated(&formula.source), reason };
        let used = names(&formula.prediction);
        // The response is not a variable, so an unknown may have its name.
        let (unknowns, response) = (unknowns(&formula.prediction), names(&formula.response));
        if let Some(unknown) =
            unknowns.iter().find(|name| columns.iter().any(|c| c == *name) && !response.contains(name))
        {
            return Err(fail(format!(
                "`{unknown}` is the unknown of `solve` and also a column of the input; give the unknown \
                 another name"
            )));
        }
        let domain_of =
            |name: &str| formula.domains.iter().find(|(n, ..)| n == name).map(|(_, domain, _)| *domain);
        let quoted = quoted_names(&formula.prediction);
        let mut parameters = Vec::new();
        let mut variables = Vec::new();
        for name in &used {
            if let Some(domain) = domain_of(name) {
                parameters.push(Parameter { name: (*name).to_string(), domain, start: None });
            } else if columns.iter().any(|c| c == name) {
                variables.push((*name).to_string());
            } else {
                if quoted.contains(name) {
                    let near = nearest(name, columns.iter().map(String::as_str));
                    let hint = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
                    return Err(fail(format!(
                        "there is no column `{name}`{hint}, and a name in double quotes is always a column; the columns \
                         are {}",
                        list(columns)
                    )));
                }
                if let Some(column) = one_edit_away(name, columns) {
                    return Err(fail(format!(
                        "`{name}` is neither a column nor a parameter with a domain; did you mean the column \
                         `{column}`? If it is a parameter, say so: `where {name} in [-inf, inf]`"
                    )));
                }
                let domain = Domain::Range { low: f64::NEG_INFINITY, high: f64::INFINITY };
                parameters.push(Parameter { name: (*name).to_string(), domain, start: None });
            }
        }
        if let Some((name, ..)) = formula.domains.iter().find(|(n, ..)| !used.contains(&n.as_str())) {
            return Err(fail(format!("`{name}` has a domain but the formula's right side does not use it")));
        }
        if variables.is_empty() {
            if let Some((name, ..)) = formula.domains.iter().find(|(name, ..)| columns.contains(name)) {
                return Err(Error::DomainOfColumn { law: truncated(&formula.source), name: name.clone() });
            }
            let near = parameters.iter().find_map(|p| Some((&p.name, other_case(&p.name, columns)?)));
            let hint = near.map(|(name, column)| {
                format!(" (did you mean the column `{column}`, which differs from `{name}` in case alone?)")
            });
            return Err(fail(format!(
                "no name on the right side is a column of the input, so there is nothing to fit against{}; \
                 the columns are {}",
                hint.unwrap_or_default(),
                list(columns)
            )));
        }
        if parameters.is_empty() {
            return Err(fail(
                "every name on the right side is a column, so there is no parameter to fit".to_string(),
            ));
        }
        let law = Law {
            name: formula.source.clone(),
            formula: formula.source.clone(),
            response: formula.response,
            prediction: formula.prediction,
            parameters,
            variables,
            residual: Residual::Linear,
            ordered: Vec::new(),
            citation: None,
        };
        match law.too_large() {
            Some(reason) => Err(Error::Law { law: truncated(&law.formula), reason }),
            None => Ok(law),
        }
    }

    /// Returns the index of a parameter; `None` if the law has no parameter of this name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|p| p.name == name)
    }

    /// Returns the index and the lower and upper end of the domain of each parameter that is neither fixed nor held.
    pub fn free_parameters(&self) -> impl Iterator<Item = (usize, f64, f64)> + '_ {
        self.parameters.iter().enumerate().filter_map(|(i, p)| match p.domain {
            Domain::Range { low, high } => Some((i, low, high)),
            Domain::Fixed(_) | Domain::Held => None,
        })
    }

    /// Returns the prediction at `n_points` points, evaluated as written; all NaN if it cannot be evaluated.
    /// `variable(k)` and `parameter(i)` return one value per point for the k-th variable and the i-th parameter.
    pub fn evaluate(
        &self,
        n_points: usize,
        variable: impl Fn(usize) -> Vec<f64>,
        parameter: impl Fn(usize) -> Vec<f64>,
    ) -> Vec<f64> {
        let mut table = Table::new(n_points);
        self.variables.iter().enumerate().for_each(|(k, name)| table.push_numbers(name, variable(k)));
        self.parameters.iter().enumerate().for_each(|(i, p)| table.push_numbers(&p.name, parameter(i)));
        match evaluate(&self.prediction, &table) {
            Ok(Column::Number { values, .. }) => values,
            _ => vec![f64::NAN; n_points],
        }
    }

    /// Returns the law with one parameter held at a value that is given with the data of each fit. Compiled once, the
    /// law can be fitted at any value of the parameter.
    #[must_use]
    pub fn holding(&self, parameter: usize) -> Law {
        let mut law = self.clone();
        law.parameters[parameter].domain = Domain::Held;
        law
    }

    /// Returns the law with one parameter fixed at a value, in natural units.
    #[must_use]
    pub fn with_fixed(&self, parameter: usize, value: f64) -> Law {
        let mut law = self.clone();
        law.parameters[parameter].domain = Domain::Fixed(value);
        law
    }
}
