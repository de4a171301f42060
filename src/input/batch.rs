//! One batch of rows as columns of the formula language: columns of the input, and values of definitions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::column_plan::{Needs, ReadPlan};
use super::convert::{rows_where, to_column};
use super::guard::guard;
use super::request::HELD_OUT;
use super::source::Fragment;
use crate::error::{Error, Place, Setting};
use crate::formula::{self, Column, Columns, Expr, number_in};
use crate::sweep::TextCell;

/// One batch of rows as columns of the formula language.
pub(in crate::input) struct Batch<'a> {
    pub(in crate::input) rows: usize,
    /// The rows where the condition holds; `None` if it holds in all.
    pub(in crate::input) kept: Option<Vec<u32>>,
    pub(in crate::input) origin: Origin<'a>,
    /// The batch in the types of the file.
    pub(in crate::input) decoded: RecordBatch,
    /// Columns of the input and definitions, by name.
    columns: HashMap<String, Column>,
    /// For definitions of numbers: the rows that are NaN because of a text that is not a number, in ascending order.
    texts: HashMap<String, Vec<(u32, TextCell)>>,
}

impl Columns for Batch<'_> {
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

impl<'a> Batch<'a> {
    /// Converts the input's columns and evaluates the definitions and the condition.
    pub(in crate::input) fn compute(
        decoded: RecordBatch,
        plan: &ReadPlan,
        needs: &Needs,
        origin: Origin<'a>,
    ) -> Result<Self, Error> {
        let rows = decoded.num_rows();
        let mut scope =
            Self { rows, kept: None, origin, decoded, columns: HashMap::new(), texts: HashMap::new() };
        for name in &needs.inputs {
            let origin = &scope.origin;
            let array = scope
                .decoded
                .column_by_name(name)
                .ok_or_else(|| origin.corrupt(format!("column `{name}` is missing")))?;
            let column = guard(|| to_column(array))
                .map_err(|reason| origin.corrupt(reason))?
                .map_err(|e| origin.conversion(name, &e))?;
            scope.columns.insert(name.clone(), column);
        }
        for (name, expr) in &needs.lets {
            let column = scope.evaluate(expr, &Setting::Let.of(name))?;
            let texts = scope.texts_behind(expr, &column);
            scope.texts.remove(name);
            if !texts.is_empty() {
                scope.texts.insert(name.clone(), texts);
            }
            scope.columns.insert(name.clone(), column);
        }
        if let Some(condition) = needs.holdout {
            let truth = scope.evaluate(condition, &Setting::Holdout.whole())?;
            let rows_held_out = rows_where(&truth)
                .ok_or_else(|| not_of_type("the condition of rows held out", "true or false"))?;
            let mut values = vec![0.0; rows];
            rows_held_out.into_iter().for_each(|row| values[row as usize] = 1.0);
            scope.columns.insert(HELD_OUT.to_owned(), Column::Number { values, valid: None });
        }
        if let Some(condition) = plan.condition {
            let truth = scope.evaluate(condition, &Setting::Where.whole())?;
            let kept = rows_where(&truth).ok_or_else(|| not_of_type("the condition", "true or false"))?;
            scope.kept = Some(kept).filter(|kept| kept.len() < rows);
        }
        Ok(scope)
    }

    /// Returns the rows in which a column or definition has a text in the place of a number, or is NaN because of one in
    /// another column, in ascending order.
    pub(in crate::input) fn texts(&self, name: &str) -> Vec<(u32, TextCell)> {
        if let Some(texts) = self.texts.get(name) {
            return texts.clone();
        }
        let Some(Column::Text { .. }) = self.columns.get(name) else { return Vec::new() };
        let shared = Arc::from(name);
        (0..self.rows as u32).filter_map(|row| Some((row, self.text(&shared, row)?))).collect()
    }

    /// Returns the rows in which the value of an expression is NaN and a column that it names has a text that is not a
    /// number.
    fn texts_behind(&self, expr: &Expr, value: &Column) -> Vec<(u32, TextCell)> {
        let Column::Number { values, valid } = value else { return Vec::new() };
        let has_texts = |name: &&str| {
            matches!(self.columns.get(*name), Some(Column::Text { .. })) || self.texts.contains_key(*name)
        };
        let sources: Vec<Arc<str>> =
            formula::names(expr).into_iter().filter(has_texts).map(Arc::from).collect();
        if sources.is_empty() {
            return Vec::new();
        }
        let is_nan = |row: usize| values[row].is_nan() && valid.as_ref().is_none_or(|valid| valid[row]);
        let nans = (0..self.rows).filter(|&row| is_nan(row)).map(|row| row as u32);
        nans.filter_map(|row| Some((row, sources.iter().find_map(|name| self.text(name, row))?))).collect()
    }

    /// Returns the text of a column, or behind a definition, that is not a number.
    fn text(&self, name: &Arc<str>, row: u32) -> Option<TextCell> {
        if let Some(texts) = self.texts.get(&**name) {
            let place = texts.binary_search_by_key(&row, |(row, _)| *row).ok()?;
            return Some(texts[place].1.clone());
        }
        match self.columns.get(&**name)? {
            Column::Text { values, valid } => {
                let text = values[row as usize].as_str();
                let is_valid = valid.as_ref().is_none_or(|valid| valid[row as usize]);
                (is_valid && number_in(text).is_none()).then(|| TextCell::new(name, text))
            }
            _ => None,
        }
    }

    /// Keeps some of the rows where the condition holds, given by their places among these, in ascending order.
    pub(in crate::input) fn keep(&mut self, places: &[u32]) {
        if places.len() < self.n_kept() {
            let rows = |kept: &Vec<u32>| places.iter().map(|&place| kept[place as usize]).collect();
            self.kept = Some(self.kept.as_ref().map_or_else(|| places.to_vec(), rows));
        }
    }

    /// Returns the number of rows where the condition holds.
    pub(in crate::input) fn n_kept(&self) -> usize {
        self.kept.as_ref().map_or(self.rows, Vec::len)
    }

    fn evaluate(&self, expr: &Expr, place: &Place) -> Result<Column, Error> {
        let column = formula::evaluate(expr, self).map_err(|e| Error::Expression {
            place: place.clone(),
            message: e.message,
            span: e.span,
        })?;
        let rows = column.len();
        if rows == self.rows {
            Ok(column)
        } else {
            Err(Error::Internal {
                context: format!("{} {}", place.setting, place.subject),
                reason: format!("{rows} values for {} rows", self.rows),
            })
        }
    }
}

/// Returns the error for a value of the wrong type. It reports a defect, because types are checked before reading.
pub(in crate::input) fn not_of_type(context: &str, expected: &str) -> Error {
    Error::Internal { context: context.to_owned(), reason: format!("the value is not {expected}") }
}

/// The position of a batch in the source.
pub(in crate::input) struct Origin<'a> {
    pub(in crate::input) fragment: &'a Fragment,
    /// The index of the fragment.
    pub(in crate::input) index: u32,
    /// The number of the batch's first row in the fragment.
    pub(in crate::input) first_row: u64,
}

impl Origin<'_> {
    pub(in crate::input) fn corrupt(&self, reason: String) -> Error {
        Error::Corrupt { path: self.fragment.name.clone(), reason }
    }

    pub(in crate::input) fn conversion(&self, column: &str, error: &ArrowError) -> Error {
        Error::Conversion {
            path: self.fragment.name.clone(),
            column: column.to_owned(),
            reason: error.to_string(),
        }
    }
}
