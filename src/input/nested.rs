//! Nested rows as a source: one row holds a sweep, in columns of lists of one length, beside columns of single values.
//!
//! A row becomes as many rows as its lists have values, with the single values repeated. A row whose lists are null or empty
//! gives none.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use arrow::error::ArrowError;

use crate::error::Error;
use crate::formula;

use super::request::Request;
use super::source::{BATCH_ROWS, Fragment, RecordBatches, Source};

/// Nested rows. See the module.
#[derive(Debug)]
pub struct NestedRows<'a, S> {
    source: &'a S,
    fragments: Vec<Fragment>,
    /// The column of lists whose lengths say how many rows there are.
    lengths: String,
}

/// Returns the type of the numbers in a column of lists of numbers.
fn item_type(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type()).filter(|item| item.is_numeric())
        }
        _ => None,
    }
}

/// Returns the columns of a fragment, with those of lists of numbers as numbers.
fn flat(fragment: &Fragment) -> Fragment {
    if !fragment.schema.fields().iter().any(|field| item_type(field.data_type()).is_some()) {
        return fragment.clone();
    }
    let field = |field: &FieldRef| match item_type(field.data_type()) {
        Some(item) => {
            let flat = Field::new(field.name(), item.clone(), true).with_metadata(field.metadata().clone());
            Arc::new(flat)
        }
        None => Arc::clone(field),
    };
    let fields: Fields = fragment.schema.fields().iter().map(field).collect();
    Fragment { schema: Arc::new(Schema::new(fields)), ..fragment.clone() }
}

impl<'a, S: Source> NestedRows<'a, S> {
    /// Returns the rows of a source whose columns of lists are taken for numbers, to be asked for names and types alone.
    #[must_use]
    pub fn with_types_of(source: &'a S) -> NestedRows<'a, S> {
        let fragments = source.fragments().iter().map(flat).collect();
        NestedRows { source, fragments, lengths: String::new() }
    }

    /// Returns the nested rows of a source, if a request uses a column of lists; else the rows are what they are. Reads the
    /// lengths of the lists.
    ///
    /// # Errors
    /// If the source cannot be read.
    pub fn of_request(source: &'a S, request: &Request) -> Result<Option<NestedRows<'a, S>>, Error> {
        let mut names: HashSet<&str> = request.columns.iter().map(String::as_str).collect();
        names.extend(request.by.iter().map(|key| key.column.as_str()));
        names.extend(request.cluster.as_deref());
        let conditions = request.condition.iter().chain(&request.holdout);
        names.extend(conditions.flat_map(|condition| formula::names(condition)));
        let lets = formula::needed_definitions(&request.lets, &mut names);
        names.extend(lets.iter().flat_map(|(_, expr)| formula::names(expr)));
        let is_used = |field: &&FieldRef| {
            names.contains(field.name().as_str()) && item_type(field.data_type()).is_some()
        };
        let fields = source.fragments().iter().flat_map(|fragment| fragment.schema.fields());
        let Some(lengths) = fields.into_iter().find(is_used).map(|field| field.name().clone()) else {
            return Ok(None);
        };
        let mut nested = NestedRows { lengths, ..NestedRows::with_types_of(source) };
        let asked = HashSet::from([nested.lengths.clone()]);
        for (i, fragment) in nested.fragments.iter_mut().enumerate() {
            if source.fragments()[i].schema.field_with_name(&nested.lengths).is_err() {
                // That the column is missing is said where it is asked for.
                continue;
            }
            fragment.rows = 0;
            for batch in source.read(i, &asked)? {
                let lists =
                    lists(batch?.column(0)).map_err(|error| conversion(fragment, &nested.lengths, &error))?;
                fragment.rows += (0..lists.len()).map(|row| length(&lists, row) as u64).sum::<u64>();
            }
        }
        Ok(Some(nested))
    }
}

/// Returns the error for a column that is not what its type says.
fn conversion(fragment: &Fragment, column: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::Conversion { path: fragment.name.clone(), column: column.to_owned(), reason: reason.to_string() }
}

/// Returns a column of any type of lists as lists.
fn lists(column: &ArrayRef) -> Result<ListArray, ArrowError> {
    let item = item_type(column.data_type()).cloned().unwrap_or(DataType::Float64);
    let lists = cast(column, &DataType::List(Arc::new(Field::new("item", item, true))))?;
    Ok(lists.as_list::<i32>().clone())
}

/// Returns the number of values in a row.
fn length(lists: &ListArray, row: usize) -> usize {
    if lists.is_null(row) { 0 } else { lists.value_length(row) as usize }
}

impl<S: Source> NestedRows<'_, S> {
    /// Returns a batch with a row for every value of its lists. `first` is the number of its first row in the fragment.
    fn unnest(
        &self,
        fragment: &Fragment,
        batch: &RecordBatch,
        columns: &HashSet<String>,
        first: usize,
    ) -> Result<RecordBatch, Error> {
        let damaged = |column: &str, error: &ArrowError| conversion(fragment, column, error);
        let driver = batch
            .column_by_name(&self.lengths)
            .ok_or_else(|| conversion(fragment, &self.lengths, &"it was not read"))?;
        let driver = lists(driver).map_err(|error| damaged(&self.lengths, &error))?;
        let lengths: Vec<usize> = (0..driver.len()).map(|row| length(&driver, row)).collect();
        let repeated = lengths.iter().enumerate().flat_map(|(row, n)| std::iter::repeat_n(row as u32, *n));
        let repeated = UInt32Array::from_iter_values(repeated);
        let (mut fields, mut arrays): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            let name = field.name();
            if !columns.contains(name) {
                continue;
            }
            let values = if item_type(field.data_type()).is_some() {
                let own = lists(array).map_err(|error| damaged(name, &error))?;
                if let Some(row) = (0..own.len()).find(|&row| length(&own, row) != lengths[row]) {
                    return Err(Error::UnequalLists {
                        path: fragment.name.clone(),
                        column: name.clone(),
                        row: first + row,
                        found: length(&own, row),
                        other: self.lengths.clone(),
                        expected: lengths[row],
                    });
                }
                let offsets = own.value_offsets();
                let places = (0..own.len())
                    .filter(|&row| !own.is_null(row))
                    .flat_map(|row| offsets[row] as u32..offsets[row + 1] as u32);
                take(own.values(), &UInt32Array::from_iter_values(places), None)
            } else {
                take(array, &repeated, None)
            };
            let values = values.map_err(|error| damaged(name, &error))?;
            fields.push(Arc::new(Field::new(name, values.data_type().clone(), true)));
            arrays.push(values);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(repeated.len()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|error| damaged(&self.lengths, &error))
    }
}

impl<S: Source> Source for NestedRows<'_, S> {
    fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    fn read(&self, fragment: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error> {
        let mut asked = columns.clone();
        asked.insert(self.lengths.clone());
        let columns = columns.clone();
        let described = &self.fragments[fragment];
        let mut first = 0;
        let batches = self.source.read(fragment, &asked)?.flat_map(move |batch| {
            let flat = batch.and_then(|batch| {
                let before = first;
                first += batch.num_rows();
                self.unnest(described, &batch, &columns, before)
            });
            let parts: Vec<Result<RecordBatch, Error>> = match flat {
                Ok(flat) => (0..flat.num_rows())
                    .step_by(BATCH_ROWS)
                    .map(|from| Ok(flat.slice(from, BATCH_ROWS.min(flat.num_rows() - from))))
                    .collect(),
                Err(error) => vec![Err(error)],
            };
            parts
        });
        Ok(Box::new(batches))
    }
}
