//! Answers as a table: the keys of the sweeps, then the columns of the answer.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema};

use crate::error::Error;
use crate::output::KeptResult;

/// Columns of answers under their names, and the fit that each row belongs to.
#[derive(Default)]
pub struct AnswerTable {
    /// The number of the fit of each row.
    pub fits: Vec<u32>,
    columns: Vec<(String, AnswerColumn)>,
}

/// Returns the error that a table could not be built.
fn defect(error: arrow::error::ArrowError) -> Error {
    Error::Internal { context: "building a table of answers".to_string(), reason: error.to_string() }
}

/// A column of answers.
enum AnswerColumn {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

impl AnswerTable {
    /// Appends a number to a column, which begins where it is first used: with every row or with none. NaN becomes null.
    pub fn number(&mut self, name: &str, value: f64) {
        match self.columns.iter_mut().find(|(known, _)| known == name) {
            Some((_, AnswerColumn::Numbers(values))) => values.push(value),
            Some(_) => {}
            None => self.columns.push((name.to_string(), AnswerColumn::Numbers(vec![value]))),
        }
    }

    /// Says to which fit, by its number, all rows belong.
    pub(super) fn belong_to(&mut self, fit: usize) {
        let rows = self.columns.first().map_or(0, |(_, column)| match column {
            AnswerColumn::Numbers(values) => values.len(),
            AnswerColumn::Texts(values) => values.len(),
        });
        self.fits = vec![fit as u32; rows];
    }

    /// Appends the rows of another table, which has the same columns.
    pub(super) fn append(&mut self, other: AnswerTable) {
        if self.columns.is_empty() {
            *self = other;
            return;
        }
        self.fits.extend(other.fits);
        for ((_, column), (_, more)) in self.columns.iter_mut().zip(other.columns) {
            match (column, more) {
                (AnswerColumn::Numbers(values), AnswerColumn::Numbers(more)) => values.extend(more),
                (AnswerColumn::Texts(values), AnswerColumn::Texts(more)) => values.extend(more),
                _ => {}
            }
        }
    }

    /// Appends the ends of an interval to two columns.
    pub fn interval(&mut self, low: &str, high: &str, interval: Option<(f64, f64)>) {
        let (from, to) = interval.unwrap_or((f64::NAN, f64::NAN));
        self.number(low, from);
        self.number(high, to);
    }

    /// Appends a text to a column.
    pub fn text(&mut self, name: &str, value: &str) {
        match self.columns.iter_mut().find(|(known, _)| known == name) {
            Some((_, AnswerColumn::Texts(values))) => values.push(value.to_string()),
            Some(_) => {}
            None => self.columns.push((name.to_string(), AnswerColumn::Texts(vec![value.to_string()]))),
        }
    }

    /// Returns the table, after the key columns of the result.
    ///
    /// # Errors
    /// If the columns differ in length, which is a defect of the program.
    pub fn batch(self, result: &KeptResult) -> Result<RecordBatch, Error> {
        let schema = result.table.schema();
        let keys = (0..result.n_keys).map(|key| (schema.field(key).clone(), result.table.column(key)));
        self.after_keys(keys)
    }

    /// Returns the table after key columns, of which the numbers of the answers' fits, or sweeps, are rows.
    ///
    /// # Errors
    /// As for [`AnswerTable::batch`].
    pub fn after_keys<'a>(
        self,
        keys: impl Iterator<Item = (Field, &'a ArrayRef)>,
    ) -> Result<RecordBatch, Error> {
        let rows = UInt32Array::from(self.fits.clone());
        let taken = keys.map(|(field, array)| Ok((field, take(array, &rows, None).map_err(defect)?)));
        let taken = taken.collect::<Result<Vec<_>, Error>>()?;
        self.after(taken)
    }

    /// Returns the table without key columns.
    ///
    /// # Errors
    /// As for [`AnswerTable::batch`].
    pub fn without_keys(self) -> Result<RecordBatch, Error> {
        self.after(Vec::new())
    }

    /// Returns the table after some columns.
    fn after(self, first: Vec<(Field, ArrayRef)>) -> Result<RecordBatch, Error> {
        let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = first.into_iter().unzip();
        for (name, column) in self.columns {
            let array: ArrayRef = match column {
                AnswerColumn::Numbers(values) => {
                    let value = |x: f64| Some(x).filter(|x| !x.is_nan());
                    Arc::new(Float64Array::from_iter(values.into_iter().map(value)))
                }
                AnswerColumn::Texts(values) => Arc::new(StringArray::from(values)),
            };
            let kind = if *array.data_type() == DataType::Utf8 { DataType::Utf8 } else { DataType::Float64 };
            fields.push(Field::new(name, kind, true));
            arrays.push(array);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(defect)
    }
}
