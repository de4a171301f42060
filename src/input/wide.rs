//! A wide table as a source: each of several columns of responses becomes a sweep of its own.
//!
//! Each fragment of the table stands for one fragment per column: with all columns of the table, the column [`RESPONSE`] that
//! holds the column's name, and the column [`VALUE`] that holds its values.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};

use crate::error::{Error, Setting};
use crate::formula::{list, nearest};

use super::source::{Fragment, RecordBatches, Source};

/// The key column that holds the name of a column of responses.
pub const RESPONSE: &str = "response";

/// The column that holds the values of a column of responses.
pub const VALUE: &str = "value";

/// A wide table. See the module.
#[derive(Debug)]
pub struct WideTable<'a, S> {
    source: &'a S,
    fragments: Vec<Fragment>,
    /// The fragment of the table and the column that each fragment stands for.
    columns: Vec<(usize, String)>,
}

impl<'a, S: Source> WideTable<'a, S> {
    /// Returns a table whose columns of responses are given by names, or by patterns in which `*` stands for any text and `?`
    /// for any letter. Patterns match columns of numbers only.
    ///
    /// # Errors
    /// If a name or pattern matches no column, a named column holds no numbers, or the table has columns of the names that
    /// are added.
    pub fn new(source: &'a S, responses: &[String]) -> Result<WideTable<'a, S>, Error> {
        let invalid =
            |subject: &str, reason: String| Error::Invalid { place: Setting::Responses.of(subject), reason };
        let mut used = HashSet::new();
        let (mut fragments, mut columns) = (Vec::new(), Vec::new());
        for (place, fragment) in source.fragments().iter().enumerate() {
            let fields = fragment.schema.fields();
            if let Some(taken) =
                fields.iter().find(|field| [RESPONSE, VALUE].contains(&field.name().as_str()))
            {
                let reason = format!(
                    "the input has a column `{}` of its own, and each column of responses is given one: read the input \
                     without it",
                    taken.name()
                );
                return Err(invalid("", reason));
            }
            for field in fields {
                let matching = responses.iter().position(|wanted| matches(wanted, field));
                let Some(matching) = matching else { continue };
                used.insert(matching);
                let added = [
                    Field::new(RESPONSE, DataType::Utf8, false),
                    Field::new(VALUE, field.data_type().clone(), true)
                        .with_metadata(field.metadata().clone()),
                ];
                let fields: Fields = fields.iter().cloned().chain(added.map(Arc::new)).collect();
                fragments.push(Fragment { schema: Arc::new(Schema::new(fields)), ..fragment.clone() });
                columns.push((place, field.name().clone()));
            }
        }
        if let Some(unused) = (0..responses.len()).find(|i| !used.contains(i)) {
            let wanted = &responses[unused];
            let all = source.fragments().iter().flat_map(|fragment| fragment.schema.fields());
            if let Some(field) = all.clone().find(|field| field.name() == wanted) {
                let reason = format!("the column holds {} and not numbers", field.data_type());
                return Err(invalid(wanted, reason));
            }
            let mut names: Vec<&str> = all.map(|field| field.name().as_str()).collect();
            names.dedup();
            let advice = match nearest(wanted, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the columns are {}", list(&names)),
            };
            return Err(invalid(wanted, format!("no column of numbers has this name; {advice}")));
        }
        Ok(WideTable { source, fragments, columns })
    }
}

/// Returns whether a column is meant by a name or pattern.
fn matches(wanted: &str, field: &FieldRef) -> bool {
    if !field.data_type().is_numeric() {
        return false;
    }
    // Brackets stand for themselves: names of columns may have them.
    let pattern = wanted.replace('[', "[[]");
    field.name() == wanted || glob::Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches(field.name()))
}

impl<S: Source> Source for WideTable<'_, S> {
    fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    fn read(&self, fragment: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error> {
        let (place, response) = &self.columns[fragment];
        let mut asked: HashSet<String> =
            columns.iter().filter(|name| ![RESPONSE, VALUE].contains(&name.as_str())).cloned().collect();
        let own: HashSet<String> = asked.clone();
        let has = |name: &str| columns.contains(name);
        let (with_response, with_value) = (has(RESPONSE), has(VALUE));
        // A column tells how many rows there are.
        asked.insert(response.clone());
        let schema = Arc::clone(&self.fragments[fragment].schema);
        let add = move |batch: RecordBatch| -> Result<RecordBatch, Error> {
            let (mut fields, mut arrays): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
            for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
                if own.contains(field.name()) {
                    fields.push(Arc::clone(field));
                    arrays.push(Arc::clone(array));
                }
            }
            let added = |name: &str| schema.field_with_name(name).cloned().map(Arc::new);
            let failed = |reason: String| Error::Internal { context: "a wide table".to_owned(), reason };
            if with_response {
                let names = std::iter::repeat_n(response.as_str(), batch.num_rows());
                fields.push(added(RESPONSE).map_err(|error| failed(error.to_string()))?);
                arrays.push(Arc::new(StringArray::from_iter_values(names)));
            }
            if with_value {
                let values = batch.column_by_name(response);
                let values = values.ok_or_else(|| failed(format!("`{response}` was not read")))?;
                fields.push(Arc::new(Field::new(VALUE, values.data_type().clone(), true)));
                arrays.push(Arc::clone(values));
            }
            RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
                .map_err(|error| failed(error.to_string()))
        };
        Ok(Box::new(self.source.read(*place, &asked)?.map(move |batch| batch.and_then(&add))))
    }
}
