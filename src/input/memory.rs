//! Record batches and columns in memory, as a source.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::error::{Error, Setting};

use super::source::{BATCH_ROWS, Fragment, RecordBatches, Source};

/// The name of the fragment in errors and tables.
const NAME: &str = "memory";

/// Arrow record batches as a [`Source`] of one fragment. Rows are numbered through all batches.
///
/// ```
/// use sweepfit::{Memory, Source};
///
/// let source = Memory::of_columns(&[("n", &[1e6, 1e7]), ("loss", &[3.2, 2.9])])?;
/// assert_eq!(source.fragments()[0].rows, 2);
/// # Ok::<(), sweepfit::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Memory {
    fragment: Fragment,
    batches: Vec<RecordBatch>,
}

impl Memory {
    /// Returns a source of batches with one schema; there may be no batches.
    ///
    /// # Errors
    /// If the columns of a batch differ from those of the schema.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Memory, Error> {
        if let Some(place) = batches.iter().position(|batch| batch.schema().fields() != schema.fields()) {
            return Err(Error::Invalid {
                place: Setting::Inputs.of(format!("batch {place}")),
                reason: "its columns are not those of the schema; give all batches one schema".to_owned(),
            });
        }
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let fragment =
            Fragment { name: NAME.to_owned(), rows, bytes: None, version: None, schema, skipped: Vec::new() };
        Ok(Memory { fragment, batches })
    }

    /// Returns a source of named columns of numbers, all of one length.
    ///
    /// # Errors
    /// If the lengths of the columns differ.
    pub fn of_columns(columns: &[(&str, &[f64])]) -> Result<Memory, Error> {
        let expected = columns.first().map_or(0, |(_, values)| values.len());
        if let Some((column, values)) = columns.iter().find(|(_, values)| values.len() != expected) {
            return Err(Error::UnequalColumns { column: (*column).to_owned(), rows: values.len(), expected });
        }
        let array = |values: &[f64]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, _)| Field::new(*name, arrow::datatypes::DataType::Float64, true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let arrays = columns.iter().map(|(_, values)| array(values)).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(expected));
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options).map_err(|e| {
                Error::Internal { context: "columns in memory".to_owned(), reason: e.to_string() }
            })?;
        Memory::new(schema, vec![batch])
    }
}

impl Source for Memory {
    fn fragments(&self) -> &[Fragment] {
        std::slice::from_ref(&self.fragment)
    }

    fn read(&self, _: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error> {
        let fields = self.fragment.schema.fields().iter().enumerate();
        let wanted: Vec<usize> =
            fields.filter(|(_, field)| columns.contains(field.name())).map(|(place, _)| place).collect();
        let pieces = self.batches.iter().flat_map(|batch| {
            let starts = (0..batch.num_rows()).step_by(BATCH_ROWS);
            starts.map(move |start| batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start)))
        });
        Ok(Box::new(pieces.map(move |piece| {
            piece
                .project(&wanted)
                .map_err(|e| Error::Corrupt { path: NAME.to_owned(), reason: e.to_string() })
        })))
    }
}
