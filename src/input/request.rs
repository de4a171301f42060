//! What is asked of an input.

use crate::formula::Expr;

/// What to read, and how rows become sweeps.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Columns of any type that identify a sweep; without any the whole input is one. A name that the input does
    /// not have may be a definition's.
    pub by: Vec<String>,
    /// Definitions, in order; each may use those before it and may take a column's name.
    pub lets: Vec<(String, Expr)>,
    /// Rows are kept where this is true, neither false nor null. It may use definitions.
    pub condition: Option<Expr>,
    /// Columns or definitions wanted as numbers.
    pub columns: Vec<String>,
    /// A column of any type, or a definition, whose values are clusters.
    pub cluster: Option<String>,
    /// The names of `columns`, in the order in which they sort a sweep's rows. Names left out come after them.
    pub order: Vec<String>,
}
