//! Rows are read batch by batch, filtered, and kept as columns of `f64` with their group and place.
//!
//! Only the columns in use are decoded, and what is kept of a row is eight bytes per number, four per group and
//! cluster, and twelve for its place. Files are read one after the other in the order of their numbers.
//!
//! Reading does not overlap with fitting, and is done by one thread: a sweep is complete only when the last row of the
//! last input has been seen, and a job spends little on it (a quarter of a second for 100,000 sweeps of 20 points, whose
//! cheapest fits then take ten). Row groups read side by side by two threads took longer there, because the columns had
//! to be put together, and a third more memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Request;
use super::batch::{Batch, Place};
use super::convert::{cast_exactly, rows_where, store, to_array};
use super::error::{DatasetError, Phase};
use super::header::{FileHeader, Header};
use super::keys::Interner;
use super::open::{damaged, guard, open};
use super::plan::{Key, Plan};
use crate::formula::Columns;

/// Rows per batch: enough to make the work per batch small beside that per row, and to stay in the cache.
const BATCH: usize = 8192;

/// All rows kept, in the order in which they came.
pub(super) struct Rows {
    pub(super) columns: Vec<Vec<f64>>,
    /// The number of each row's key, and the keys; absent without `--by`.
    pub(super) group: Option<(Interner, Vec<u32>)>,
    /// The same for clusters.
    pub(super) cluster: Option<(Interner, Vec<u32>)>,
    pub(super) file: Vec<u32>,
    pub(super) row: Vec<u64>,
    pub(super) read: u64,
    pub(super) dropped: u64,
}

/// Reads all files of the header.
pub(super) fn read_all(
    header: &Header,
    request: &Request,
    plan: &Plan,
    interrupted: &AtomicBool,
) -> Result<Rows, DatasetError> {
    let mut rows = Rows::new(header, request, plan)?;
    for (index, file) in (0..).zip(&header.files) {
        read_file(file, index, request, plan, &mut rows, interrupted)?;
    }
    Ok(rows)
}

fn read_file(
    file: &FileHeader,
    index: u32,
    request: &Request,
    plan: &Plan,
    rows: &mut Rows,
    interrupted: &AtomicBool,
) -> Result<(), DatasetError> {
    let (source, metadata) = open(&file.path, Phase::Read)?;
    let changed = |what: &str| DatasetError::Changed { path: file.name(), what: what.to_owned() };
    if source.length() != file.bytes {
        return Err(changed("it has another size"));
    }
    if *metadata.schema() != file.schema || metadata.metadata().file_metadata().num_rows() != file.rows as i64
    {
        return Err(changed("it has another schema or number of rows"));
    }
    let failed = |reason: String| damaged(&file.path, &source, reason, Phase::Read);
    let wanted = plan.projected();
    let reader = guard(|| {
        let schema = metadata.parquet_schema();
        let fields = schema.root_schema().get_fields().iter().enumerate();
        let roots = fields.filter(|(_, f)| wanted.contains(f.name())).map(|(i, _)| i);
        let mask = ProjectionMask::roots(schema, roots);
        ParquetRecordBatchReaderBuilder::new_with_metadata(source.clone(), metadata.clone())
            .with_projection(mask)
            .with_batch_size(BATCH)
            .build()
    });
    let mut reader = reader.map_err(failed)?.map_err(|e| failed(e.to_string()))?;
    let mut first_row = 0;
    while let Some(batch) = guard(|| reader.next()).map_err(failed)? {
        if interrupted.load(Ordering::Relaxed) {
            return Err(DatasetError::Interrupted);
        }
        let batch = batch.map_err(|e| failed(e.to_string()))?;
        let place = Place { file, index, first_row };
        rows.add(&batch, request, plan, &place)?;
        first_row += batch.num_rows() as u64;
    }
    if first_row != file.rows {
        return Err(failed(format!("it states {} rows and has {first_row}", file.rows)));
    }
    Ok(())
}

impl Rows {
    fn new(header: &Header, request: &Request, plan: &Plan) -> Result<Self, DatasetError> {
        if u32::try_from(header.files.len()).is_err() {
            return Err(DatasetError::TooMany { what: "files", limit: u64::from(u32::MAX) });
        }
        let interner = |keys: &[&Key], what| {
            let types: Vec<_> = keys.iter().map(|k| k.plain.clone()).collect();
            Interner::new(&types, what).map(|interner| (interner, Vec::new())).map_err(|e| {
                DatasetError::Internal { context: format!("preparing {what}"), reason: e.to_string() }
            })
        };
        let by: Vec<&Key> = plan.by.iter().collect();
        let mut rows = Self {
            columns: vec![Vec::new(); request.columns.len()],
            group: if by.is_empty() { None } else { Some(interner(&by, "sweeps")?) },
            cluster: plan.cluster.as_ref().map(|key| interner(&[key], "clusters")).transpose()?,
            file: Vec::new(),
            row: Vec::new(),
            read: 0,
            dropped: 0,
        };
        rows.reserve(header.files.iter().map(|f| f.rows).fold(0, u64::saturating_add));
        Ok(rows)
    }

    /// Makes room for all rows at once, where they are all kept: growing would copy them and need half as much
    /// again. The number is the files' word for it, so a failure means nothing.
    fn reserve(&mut self, rows: u64) {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let mut numbers: Vec<&mut Vec<u32>> = vec![&mut self.file];
        numbers.extend(self.group.iter_mut().chain(&mut self.cluster).map(|(_, n)| n));
        let mut fits = self.columns.iter_mut().all(|c| c.try_reserve_exact(rows).is_ok());
        fits = fits && numbers.into_iter().all(|n| n.try_reserve_exact(rows).is_ok());
        let _ = fits && self.row.try_reserve_exact(rows).is_ok();
    }

    fn add(
        &mut self,
        batch: &RecordBatch,
        request: &Request,
        plan: &Plan,
        place: &Place,
    ) -> Result<(), DatasetError> {
        let scope = Batch::compute(batch, plan, place)?;
        let kept = match plan.condition {
            Some(condition) => {
                let truth = scope.evaluate(condition, "--where")?;
                rows_where(&truth).ok_or_else(|| not_of_type("--where", "true or false"))?
            }
            None => (0..scope.rows).collect(),
        };
        self.read += scope.rows as u64;
        self.dropped += (scope.rows - kept.len()) as u64;
        if kept.is_empty() {
            return Ok(());
        }
        for (name, stored) in request.columns.iter().zip(&mut self.columns) {
            let column =
                scope.column(name).ok_or_else(|| place.corrupt(format!("column `{name}` is missing")))?;
            if !store(column, &kept, stored) {
                return Err(not_of_type(name, "a number"));
            }
        }
        let keys: Vec<&Key> = plan.by.iter().collect();
        for (keys, numbered) in [(keys, &mut self.group), (plan.cluster.iter().collect(), &mut self.cluster)]
        {
            let Some((interner, numbers)) = numbered else {
                continue;
            };
            let arrays = keys
                .iter()
                .map(|key| key_values(batch, &scope, key, &kept, place))
                .collect::<Result<Vec<_>, _>>()?;
            let rows = guard(|| interner.encode(&arrays))
                .map_err(|reason| place.corrupt(reason))?
                .map_err(|e| place.corrupt(e.to_string()))?;
            interner.number(&rows, numbers)?;
        }
        self.file.resize(self.file.len() + kept.len(), place.index);
        self.row.extend(kept.iter().map(|&i| place.first_row + i as u64));
        Ok(())
    }
}

/// The kept values of a key column, in the type in which keys are compared.
fn key_values(
    batch: &RecordBatch,
    scope: &Batch,
    key: &Key,
    kept: &[usize],
    place: &Place,
) -> Result<ArrayRef, DatasetError> {
    let missing = || place.corrupt(format!("column `{}` is missing", key.name));
    let values = if key.computed {
        to_array(scope.column(&key.name).ok_or_else(missing)?)
    } else {
        Arc::clone(batch.column_by_name(&key.name).ok_or_else(missing)?)
    };
    let convert = || {
        let values = cast_exactly(&values, &key.plain)?;
        if kept.len() == batch.num_rows() {
            return Ok(values);
        }
        // A batch is far shorter than `u32` counts.
        let rows = UInt32Array::from_iter_values(kept.iter().map(|&i| i as u32));
        take(&values, &rows, None)
    };
    guard(convert).map_err(|reason| place.corrupt(reason))?.map_err(|e| place.conversion(&key.name, &e))
}

/// Types were checked before reading, so that this would be a defect.
fn not_of_type(context: &str, expected: &str) -> DatasetError {
    DatasetError::Internal { context: context.to_owned(), reason: format!("the value is not {expected}") }
}
