//! Results of earlier runs, from which the rows of fits are copied that need not be made again.
//!
//! A fit is known by its content hash. The tables of a result are in the order of its sweeps and laws, so each is read once, from
//! its beginning, while the results of the new run are written in their order. A fit that an earlier result has in another
//! order is not known, and is made again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use super::batches::Batches;
use super::directory::holds_result;
use super::kept::{open_table, read_table};
use super::partitions::TableBatches;
use super::records::{ContentHash, KnownFits, ReusedFit, RunContext};
use super::schema::{FITS, TableSpec};
use crate::error::Error;
use crate::input::types::value_type;
use crate::optimize::Status;

/// Results of earlier runs, in directories.
#[derive(Default)]
pub struct EarlierResults {
    known: Arc<KnownFits>,
    /// The result that has a fit, and the place of the fit among its fits.
    places: HashMap<ContentHash, (usize, usize)>,
    results: Vec<EarlierResult>,
}

/// A fit of an earlier result: its content hash, its status, and its place among the fits.
type KnownFit = (ContentHash, Status, usize);

/// The result of an earlier run.
struct EarlierResult {
    directory: PathBuf,
    converter: RowConverter,
    /// The key and the law of each fit.
    fits: Rows,
    /// The tables that are being read, by their names. A table is opened for the first fit that is known and closed after the
    /// last: the parts of a long run are many.
    tables: HashMap<&'static str, TableReader>,
    /// The last fit that is known.
    last: usize,
    /// The columns of each table as the run writes them.
    schemas: HashMap<&'static str, SchemaRef>,
}

impl EarlierResults {
    /// Opens the results in some directories, for a run with these tables. What is no complete result, or has other tables or
    /// columns, is left out.
    pub fn open(directories: &[PathBuf], batches: &Batches, context: &RunContext) -> EarlierResults {
        let mut all = EarlierResults::default();
        let mut known = KnownFits::new();
        for directory in directories {
            let Some((result, fits)) = EarlierResult::open(directory, batches, context) else { continue };
            for (hash, status, fit) in fits {
                if known.insert(hash, status).is_none() {
                    all.places.insert(hash, (all.results.len(), fit));
                }
            }
            all.results.push(result);
        }
        all.known = Arc::new(known);
        all
    }

    /// Returns the fits that the results have.
    #[must_use]
    pub fn known(&self) -> Arc<KnownFits> {
        Arc::clone(&self.known)
    }

    /// Returns the rows of some fits in a table, in their order. The fits follow all those that were asked for before.
    ///
    /// # Errors
    /// If a table cannot be read.
    pub fn rows(&mut self, table: &TableSpec, fits: &[ReusedFit]) -> Result<Vec<RecordBatch>, Error> {
        let mut rows = Vec::new();
        let place = |fit: &ReusedFit| self.places.get(&fit.content_hash).copied();
        let places: Vec<(usize, usize)> = fits.iter().filter_map(place).collect();
        for run in places.chunk_by(|a, b| a.0 == b.0 && a.1 + 1 == b.1) {
            let (result, first) = run[0];
            rows.extend(self.results[result].rows(table, first..first + run.len())?);
        }
        Ok(rows)
    }
}

impl EarlierResult {
    /// Opens a result and returns its fits that have a content hash; `None` if it cannot serve the run.
    fn open(
        directory: &Path,
        batches: &Batches,
        context: &RunContext,
    ) -> Option<(EarlierResult, Vec<KnownFit>)> {
        if !holds_result(directory) {
            return None;
        }
        let mut schemas = HashMap::new();
        for table in &batches.tables_of_fits() {
            let reader = open_table(directory, table, None).ok()?;
            let schema = batches.schema(table);
            if !has_columns(&reader.schema(), &schema) {
                return None;
            }
            schemas.insert(table.name, schema);
        }
        let n_keys = context.key_fields.len();
        let keys = context.key_fields.iter().map(|field| field.name().as_str());
        let columns: Vec<&str> = keys.chain(["law", "status", "content_hash"]).collect();
        let fits = read_table(directory, &FITS, Some(&columns)).ok()?;
        let types = fits.schema().fields()[..=n_keys]
            .iter()
            .map(|f| SortField::new(value_type(f.data_type()).clone()))
            .collect();
        let converter = RowConverter::new(types).ok()?;
        let own = identities(&converter, &fits, n_keys).ok()?;
        let order = order_of(&converter, &own, context)?;
        let text = |name: &str| fits.column_by_name(name)?.as_string_opt::<i32>().cloned();
        let (hashes, statuses) = (text("content_hash")?, text("status")?);
        let mut last = None;
        let mut known = Vec::new();
        for fit in 0..fits.num_rows() {
            let place = order[fit];
            let hash = hashes.is_valid(fit).then(|| parse(hashes.value(fit))).flatten();
            let status = Status::ALL.into_iter().find(|status| status.name() == statuses.value(fit));
            if let (Some(place), Some(hash), Some(status)) = (place, hash, status)
                && last < Some(place)
            {
                last = Some(place);
                known.push((hash, status, fit));
            }
        }
        let last = known.last().map_or(0, |(.., fit)| *fit);
        let (directory, tables) = (directory.to_path_buf(), HashMap::new());
        Some((EarlierResult { directory, converter, fits: own, tables, last, schemas }, known))
    }

    /// Returns the rows of some fits in a table.
    fn rows(&mut self, table: &TableSpec, fits: std::ops::Range<usize>) -> Result<Vec<RecordBatch>, Error> {
        let EarlierResult { directory, converter, fits: known, tables, last, schemas } = self;
        let is_last = fits.end > *last;
        let reader = match tables.entry(table.name) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(closed) => {
                let batches = open_table(directory, table, None)?;
                let schema = SchemaRef::clone(&schemas[table.name]);
                closed.insert(TableReader { batches, schema, rows: None, next_fit: 0 })
            }
        };
        let rows = reader.rows(converter, known, fits).map_err(|reason| {
            let path = directory.join(format!("{}.parquet", table.name)).display().to_string();
            Error::UnusableResult { path, reason }
        });
        if is_last {
            tables.remove(table.name);
        }
        rows
    }
}

/// A table that is read in its order.
struct TableReader {
    batches: TableBatches,
    /// The columns as the run writes them.
    schema: SchemaRef,
    /// The rows that were read last, and the fit of each.
    rows: Option<(RecordBatch, Vec<usize>)>,
    /// The fit of the last row.
    next_fit: usize,
}

impl TableReader {
    /// Returns the rows of some fits, which follow all that were asked for before.
    fn rows(
        &mut self,
        converter: &RowConverter,
        known: &Rows,
        fits: std::ops::Range<usize>,
    ) -> Result<Vec<RecordBatch>, String> {
        let mut found = Vec::new();
        loop {
            if let Some((batch, fit_of)) = &self.rows {
                let first = fit_of.partition_point(|fit| *fit < fits.start);
                let end = fit_of.partition_point(|fit| *fit < fits.end);
                if first < end {
                    found.push(batch.slice(first, end - first));
                }
                if end < batch.num_rows() {
                    return Ok(found);
                }
            }
            let Some(batch) = self.batches.next() else { return Ok(found) };
            let batch = batch.and_then(|batch| with_schema(&batch, &self.schema));
            let batch = batch.map_err(|error| error.to_string())?;
            let n_keys = batch.schema().index_of("law").map_err(|error| error.to_string())?;
            let own = identities(converter, &batch, n_keys).map_err(|error| error.to_string())?;
            let mut fit_of = Vec::with_capacity(batch.num_rows());
            for row in own.iter() {
                while self.next_fit < known.num_rows() && known.row(self.next_fit) != row {
                    self.next_fit += 1;
                }
                if self.next_fit == known.num_rows() {
                    return Err("it has rows of fits that fits.parquet has not".to_owned());
                }
                fit_of.push(self.next_fit);
            }
            self.rows = Some((batch, fit_of));
        }
    }
}

/// Returns whether a file has the columns of a table, in their types and order.
fn has_columns(found: &SchemaRef, expected: &SchemaRef) -> bool {
    // Parquet names the items of lists otherwise.
    let same =
        |(a, b): (&FieldRef, &FieldRef)| a.name() == b.name() && a.data_type().equals_datatype(b.data_type());
    found.fields().len() == expected.fields().len() && found.fields().iter().zip(expected.fields()).all(same)
}

/// Returns a batch with the names and types of a schema.
fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| arrow::compute::cast(column, field.data_type()));
    RecordBatch::try_new(SchemaRef::clone(schema), columns.collect::<Result<_, _>>()?)
}

/// Returns the key and the law in each row of a table: its first columns.
fn identities(converter: &RowConverter, table: &RecordBatch, n_keys: usize) -> Result<Rows, ArrowError> {
    let column = |column: &ArrayRef| arrow::compute::cast(column, value_type(column.data_type()));
    let columns = table.columns()[..=n_keys].iter().map(column).collect::<Result<Vec<_>, _>>()?;
    converter.convert_columns(&columns)
}

/// Returns the place of each fit of an earlier result in the order of the new run: the sweep and the law. `None` for fits that
/// the run does not make.
fn order_of(
    converter: &RowConverter,
    earlier: &Rows,
    context: &RunContext,
) -> Option<Vec<Option<(usize, usize)>>> {
    let mut order = vec![None; earlier.num_rows()];
    let places: HashMap<&[u8], usize> =
        (0..earlier.num_rows()).map(|fit| (earlier.row(fit).data(), fit)).collect();
    let sweeps = context.keys.first().map_or(1, |keys| keys.len());
    let key = |key: &ArrayRef| arrow::compute::cast(key, value_type(key.data_type())).ok();
    let keys = context.keys.iter().map(key).collect::<Option<Vec<_>>>()?;
    for (law, name) in context.laws.iter().enumerate() {
        let names = std::iter::repeat_n(name.as_str(), sweeps);
        let names: ArrayRef = Arc::new(arrow::array::StringArray::from_iter_values(names));
        let columns = [&keys[..], &[names]].concat();
        let own = converter.convert_columns(&columns).ok()?;
        for (sweep, row) in own.iter().enumerate() {
            if let Some(fit) = places.get(row.data()) {
                order[*fit] = Some((sweep, law));
            }
        }
    }
    Some(order)
}

/// Reads a hash in hexadecimal digits.
fn parse(text: &str) -> Option<ContentHash> {
    let mut hash = ContentHash::default();
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return None;
    }
    for (byte, place) in hash.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[place..place + 2], 16).ok()?;
    }
    Some(hash)
}
