//! The request to an input: the columns to read and the columns that define sweeps.

use crate::formula::Expr;

/// The columns to read, and the grouping of rows into sweeps.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The key columns, of any type; without key columns the whole input is one sweep. A name that is not a column of
    /// the input may be a definition.
    pub by: Vec<String>,
    /// The definitions, in order. A definition may use earlier ones and may have the name of a column.
    pub lets: Vec<(String, Expr)>,
    /// The condition on rows, which may use definitions. Rows where it is false or null are dropped.
    pub condition: Option<Expr>,
    /// The columns of a sweep: names of columns or definitions of numbers.
    pub columns: Vec<String>,
    /// The column, of any type, or the definition whose values identify clusters.
    pub cluster: Option<String>,
    /// The names of columns by which the rows of a sweep are sorted, first to last. The other `columns` follow.
    pub order: Vec<String>,
}
