//! Scaling laws: parameters, domains, the catalogue, and expressions with exact derivatives.
//!
//! | file | what it holds |
//! | --- | --- |
//! | this one | [`Law`]: a formula whose names are sorted into parameters and variables |
//! | [`catalogue`] | the published laws, read from `catalogue.toml` |
//! | [`graph`] | the nodes of hash-consed expressions |
//! | `simplify` | the graph's constructors, which simplify as they build |
//! | [`linear_form`] | exponents multiplied out |
//! | [`derive`](mod@derive) | exact first and second derivatives |
//! | `draws` | parameters at which a law is tried before there are data |
//! | `size` | how much work a law is, before it is compiled |
//! | `symmetry` | other parameters that give the same curve |

pub mod catalogue;
pub mod derive;
mod draws;
pub mod graph;
pub mod linear_form;
mod simplify;
mod size;
mod symmetry;

pub use catalogue::{Catalogue, CatalogueError, Citation};
pub use draws::{Draws, draw};
pub use graph::{LN_ZERO, Recipe, Unary};
pub use size::MAX_WORK;
pub use symmetry::Symmetries;

pub use crate::formula::Domain;
use crate::formula::{Column, Expr, Formula, Table, evaluate, names, unknowns};

/// The space of residuals, `T` in `T(prediction) − T(response)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Residual {
    /// Natural logarithm.
    Log,
    /// Identity.
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
    pub name: String,
    pub domain: Domain,
    /// Where starts are drawn, in natural units; read off the formula's structure where none is given.
    pub start: Option<(f64, f64)>,
}

/// A formula whose names are sorted into parameters and variables.
#[derive(Clone, Debug)]
pub struct Law {
    /// The catalogue's name, or the formula as given.
    pub name: String,
    /// The formula's text.
    pub formula: String,
    pub response: Expr,
    pub prediction: Expr,
    /// In order of first appearance in the prediction.
    pub parameters: Vec<Parameter>,
    /// Columns that the prediction reads, in order of first appearance.
    pub variables: Vec<String>,
    /// The residual space where the user asks for none.
    pub residual: Residual,
    /// Parameters of terms that can be exchanged for each other, such as the places of breaks: drawn in ascending
    /// order.
    pub ordered: Vec<String>,
    /// Where the law was published.
    pub citation: Option<Citation>,
}

/// Why a formula is no law of these columns.
#[derive(Debug, thiserror::Error)]
pub enum LawError {
    #[error("{0}")]
    Formula(#[from] crate::formula::FormulaError),
    #[error("`{law}`: {reason}")]
    Names { law: String, reason: String },
}

/// A text for a message, cut where it is long.
fn shown(text: &str) -> String {
    const MOST: usize = 200;
    if text.len() <= MOST {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MOST)])
}

impl Law {
    /// Sorts the names of a typed formula: those with a domain are parameters, those that are columns are
    /// variables, the rest are parameters.
    pub fn from_formula(formula: Formula, columns: &[String]) -> Result<Law, LawError> {
        let fail = |reason: String| LawError::Names { law: shown(&formula.source), reason };
        let used = names(&formula.prediction);
        // The response is not a variable of the right side, so its name is free there.
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
        let mut parameters = Vec::new();
        let mut variables = Vec::new();
        for name in &used {
            if let Some(domain) = domain_of(name) {
                parameters.push(Parameter { name: (*name).to_string(), domain, start: None });
            } else if columns.iter().any(|c| c == name) {
                variables.push((*name).to_string());
            } else {
                if let Some(column) = near_miss(name, columns) {
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
            return Err(fail(format!(
                "no name on the right side is a column of the input, so there is nothing to fit against; \
                 the columns are {}",
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
            Some(reason) => Err(LawError::Names { law: shown(&law.formula), reason }),
            None => Ok(law),
        }
    }

    /// A parameter's place.
    pub fn parameter(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|p| p.name == name)
    }

    /// The parameters that are not fixed: index, lower and upper edge of the domain.
    pub fn free_parameters(&self) -> impl Iterator<Item = (usize, f64, f64)> + '_ {
        self.parameters.iter().enumerate().filter_map(|(i, p)| match p.domain {
            Domain::Range { low, high } => Some((i, low, high)),
            Domain::Fixed(_) => None,
        })
    }

    /// The prediction at some points, evaluated as written; NaN where it cannot be. Values by variable and by parameter, in
    /// the law's order, one per point.
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

    /// The law with one parameter held at a value.
    pub fn with_fixed(&self, parameter: usize, value: f64) -> Law {
        let mut law = self.clone();
        law.parameters[parameter].domain = Domain::Fixed(value);
        law
    }
}

/// A column one edit away from a name of three letters or more.
fn near_miss<'a>(name: &str, columns: &'a [String]) -> Option<&'a str> {
    if name.chars().count() < 3 {
        return None;
    }
    columns.iter().find(|column| strsim::damerau_levenshtein(name, column) == 1).map(String::as_str)
}

/// Names for a sentence, cut where there are many.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    const MOST: usize = 12;
    let mut text: Vec<String> = names.iter().take(MOST).map(|n| format!("`{}`", n.as_ref())).collect();
    if names.len() > MOST {
        text.push(format!("and {} more", names.len() - MOST));
    }
    if text.is_empty() { "none".to_string() } else { text.join(", ") }
}
