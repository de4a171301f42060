//! Rows are read batch by batch, filtered, and kept as columns of `f64` with their group and place.
//!
//! Only the columns in use are decoded, and what is kept of a row is eight bytes per number, four per group and
//! cluster, and twelve for its place. Files are read one after the other in the order of their numbers.
//!
//! Reading does not overlap with fitting, and is done by one thread: a sweep is complete only when the last row of the
//! last input has been seen, and a job spends little on it. Decoding is the small part of it: a thread that decodes
//! ahead of the one that adds rows gains where the two wake each other fast, and loses as much where they do not, be the
//! hand-over of single batches or of many, by a channel or by joining. Row groups read side by side took longer, because
//! the columns had to be put together, and a third more memory. What follows (digests of keys, arranging) is done by all
//! threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Request;
use super::batch::{Batch, Place};
use super::convert::{cast_exactly, rows_where, store, to_array};
use super::error::{DatasetError, Phase};
use super::header::{FileHeader, Header};
use super::keys::{Interner, Runs};
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
                let kept = rows_where(&truth).ok_or_else(|| not_of_type("--where", "true or false"))?;
                Some(kept).filter(|kept| kept.len() < scope.rows)
            }
            None => None,
        };
        let kept = kept.as_deref();
        let n_kept = kept.map_or(scope.rows, <[u32]>::len);
        self.read += scope.rows as u64;
        self.dropped += (scope.rows - n_kept) as u64;
        if n_kept == 0 {
            return Ok(());
        }
        for (name, stored) in request.columns.iter().zip(&mut self.columns) {
            let column =
                scope.column(name).ok_or_else(|| place.corrupt(format!("column `{name}` is missing")))?;
            if !store(column, kept, stored) {
                return Err(not_of_type(name, "a number"));
            }
        }
        let keys: Vec<&Key> = plan.by.iter().collect();
        for (keys, numbered) in [(keys, &mut self.group), (plan.cluster.iter().collect(), &mut self.cluster)]
        {
            let Some((interner, numbers)) = numbered else {
                continue;
            };
            let (keys, runs) = encode(batch, &scope, interner, &keys, kept, place)?;
            interner.number(&keys, &runs, numbers)?;
        }
        self.file.resize(self.file.len() + n_kept, place.index);
        match kept {
            Some(kept) => self.row.extend(kept.iter().map(|&i| place.first_row + u64::from(i))),
            None => self.row.extend(place.first_row..place.first_row + scope.rows as u64),
        }
        Ok(())
    }
}

/// The kept keys, one for each run of equal rows, in the type in which they are compared.
fn encode(
    batch: &RecordBatch,
    scope: &Batch,
    interner: &Interner,
    keys: &[&Key],
    kept: Option<&[u32]>,
    place: &Place,
) -> Result<(arrow::row::Rows, Runs), DatasetError> {
    let guarded =
        |step: &dyn Fn() -> Result<_, ArrowError>| guard(step).map_err(|reason| place.corrupt(reason));
    let columns = keys.iter().map(|key| {
        let missing = || place.corrupt(format!("column `{}` is missing", key.name));
        let values = if key.computed {
            to_array(scope.column(&key.name).ok_or_else(missing)?)
        } else {
            Arc::clone(batch.column_by_name(&key.name).ok_or_else(missing)?)
        };
        match kept {
            Some(kept) => {
                let rows = UInt32Array::from(kept.to_vec());
                guarded(&|| take(&values, &rows, None))?.map_err(|e| place.conversion(&key.name, &e))
            }
            None => Ok(values),
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let corrupt = |e: ArrowError| place.corrupt(e.to_string());
    let runs = guard(|| Runs::of(&columns)).map_err(|reason| place.corrupt(reason))?.map_err(corrupt)?;
    let firsts = keys.iter().zip(&columns).map(|(key, column)| {
        let convert = || cast_exactly(&runs.firsts(column)?, &key.plain);
        guarded(&convert)?.map_err(|e| place.conversion(&key.name, &e))
    });
    let firsts = firsts.collect::<Result<Vec<_>, _>>()?;
    let encoded =
        guard(|| interner.encode(&firsts)).map_err(|reason| place.corrupt(reason))?.map_err(corrupt)?;
    Ok((encoded, runs))
}

/// Types were checked before reading, so that this would be a defect.
fn not_of_type(context: &str, expected: &str) -> DatasetError {
    DatasetError::Internal { context: context.to_owned(), reason: format!("the value is not {expected}") }
}
