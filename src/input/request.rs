//! The request to an input: the columns to read and the columns that define sweeps.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::formula::Expr;

/// A key column: a column whose values identify sweeps, and its name in the output.
///
/// A renamed key keeps the type and the values of its column. [`Display`](fmt::Display) writes `NAME=COLUMN`, or the column
/// alone where the names are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// The name of a column of the input, or of a definition.
    pub column: String,
    /// The name of the column in the output.
    pub name: String,
}

impl KeyColumn {
    /// Returns a column under another name in the output.
    #[must_use]
    pub fn renamed(column: impl Into<String>, name: impl Into<String>) -> KeyColumn {
        KeyColumn { column: column.into(), name: name.into() }
    }
}

impl From<&str> for KeyColumn {
    fn from(column: &str) -> KeyColumn {
        KeyColumn::renamed(column, column)
    }
}

impl From<String> for KeyColumn {
    fn from(column: String) -> KeyColumn {
        KeyColumn { name: column.clone(), column }
    }
}

impl fmt::Display for KeyColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name == self.column {
            f.write_str(&self.name)
        } else {
            write!(f, "{}={}", self.name, self.column)
        }
    }
}

impl Serialize for KeyColumn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The name of the column that is 1 for rows that are held out and 0 for the others. No column of an input has it.
pub const HELD_OUT: &str = "\u{0}held out";

/// The columns to read, and the grouping of rows into sweeps.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The key columns, of any type; without key columns the whole input is one sweep. A name that is not a column of
    /// the input may be a definition.
    pub by: Vec<KeyColumn>,
    /// The definitions, in order. A definition may use earlier ones and may have the name of a column.
    pub lets: Vec<(String, Expr)>,
    /// The condition on rows, which may use definitions. Rows where it is false or null are dropped.
    pub condition: Option<Expr>,
    /// The columns of a sweep: names of columns or definitions of numbers, and [`HELD_OUT`] where there is a `holdout`.
    pub columns: Vec<String>,
    /// The condition on rows that are held out; a row is held out where it is true.
    pub holdout: Option<Expr>,
    /// The column, of any type, or the definition whose values identify clusters.
    pub cluster: Option<String>,
    /// The names of columns by which the rows of a sweep are sorted, first to last. The other `columns` follow.
    pub order: Vec<String>,
}
