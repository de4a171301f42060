//! One batch of rows: the input's columns as the formula language sees them, and the definitions.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::convert::to_column;
use super::error::DatasetError;
use super::header::FileHeader;
use super::open::guard;
use super::plan::Needs;
use crate::formula::{self, Column, Columns, Expr};

/// One batch as the formula language sees it: the input's columns, and the definitions so far.
pub(super) struct Batch {
    pub(super) rows: usize,
    columns: HashMap<String, Column>,
}

impl Columns for Batch {
    fn rows(&self) -> usize {
        self.rows
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.get(name)
    }

    fn names(&self) -> Vec<String> {
        self.columns.keys().cloned().collect()
    }
}

impl Batch {
    /// Converts the input's columns and evaluates the definitions.
    pub(super) fn compute(batch: &RecordBatch, needs: &Needs, place: &Place) -> Result<Self, DatasetError> {
        let mut scope = Self { rows: batch.num_rows(), columns: HashMap::new() };
        for name in &needs.inputs {
            let array = batch
                .column_by_name(name)
                .ok_or_else(|| place.corrupt(format!("column `{name}` is missing")))?;
            let column = guard(|| to_column(array))
                .map_err(|reason| place.corrupt(reason))?
                .map_err(|e| place.conversion(name, &e))?;
            scope.columns.insert(name.clone(), column);
        }
        for (name, expr) in &needs.lets {
            let column = scope.evaluate(expr, &format!("--let {name}"))?;
            scope.columns.insert(name.clone(), column);
        }
        Ok(scope)
    }

    pub(super) fn evaluate(&self, expr: &Expr, role: &str) -> Result<Column, DatasetError> {
        let column = formula::evaluate(expr, self).map_err(|e| DatasetError::Expression {
            place: role.to_owned(),
            message: e.message,
            span: e.span,
        })?;
        let rows = match &column {
            Column::Number { values, .. } => values.len(),
            Column::Text { values, .. } => values.len(),
            Column::Bool { values, .. } => values.len(),
        };
        if rows == self.rows {
            Ok(column)
        } else {
            Err(DatasetError::Internal {
                context: role.to_owned(),
                reason: format!("{rows} values for {} rows", self.rows),
            })
        }
    }
}

/// Where a batch comes from.
pub(super) struct Place<'a> {
    pub(super) file: &'a FileHeader,
    pub(super) index: u32,
    pub(super) first_row: u64,
}

impl Place<'_> {
    pub(super) fn corrupt(&self, reason: String) -> DatasetError {
        DatasetError::Corrupt { path: self.file.name(), reason }
    }

    pub(super) fn conversion(&self, column: &str, error: &ArrowError) -> DatasetError {
        DatasetError::Conversion {
            path: self.file.name(),
            column: column.to_owned(),
            reason: error.to_string(),
        }
    }
}
