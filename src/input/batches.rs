//! Files are read batch by batch, of each only the columns that are wanted.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::batch::{Batch, Place};
use super::column_plan::{Needs, ReadPlan};
use super::error::{DatasetError, Phase};
use super::header::FileHeader;
use super::parquet_file::{OpenFile, damaged, guard, open};

/// Rows per batch: enough to make the work per batch small beside that per row, and to stay in the cache.
pub(in crate::input) const BATCH: usize = 8192;

/// A file that is being read.
pub(in crate::input) struct FileReader<'a> {
    file: &'a FileHeader,
    index: u32,
    source: OpenFile,
    reader: ParquetRecordBatchReader,
    first_row: u64,
}

impl<'a> FileReader<'a> {
    /// Opens the file for reading some of its columns.
    pub(in crate::input) fn open(
        file: &'a FileHeader,
        index: u32,
        wanted: &HashSet<String>,
    ) -> Result<FileReader<'a>, DatasetError> {
        let (source, metadata) = open(&file.path, Phase::Read)?;
        if source.length() != file.bytes {
            return Err(changed(file, "it has another size"));
        }
        if source.modified() != file.modified {
            return Err(changed(file, "it was written again"));
        }
        let rows = metadata.metadata().file_metadata().num_rows();
        if *metadata.schema() != file.schema || rows != file.rows as i64 {
            return Err(changed(file, "it has another schema or number of rows"));
        }
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
        let failed = |reason: String| damaged(&file.path, &source, reason, Phase::Read);
        let reader = reader.map_err(failed)?.map_err(|e| failed(e.to_string()))?;
        Ok(FileReader { file, index, source, reader, first_row: 0 })
    }

    pub(in crate::input) fn file(&self) -> &'a FileHeader {
        self.file
    }

    /// The next batch, with what is needed of it; none at the end of the file.
    pub(in crate::input) fn next(
        &mut self,
        plan: &ReadPlan,
        needs: &Needs,
        interrupted: &AtomicBool,
    ) -> Result<Option<Batch<'a>>, DatasetError> {
        let failed = |reason: String| damaged(&self.file.path, &self.source, reason, Phase::Read);
        let reader = &mut self.reader;
        let Some(batch) = guard(|| reader.next()).map_err(failed)? else {
            if self.first_row != self.file.rows {
                let (stated, found) = (self.file.rows, self.first_row);
                return Err(failed(format!("it states {stated} rows and has {found}")));
            }
            return Ok(None);
        };
        if interrupted.load(Ordering::Relaxed) {
            return Err(DatasetError::Interrupted);
        }
        let batch = batch.map_err(|e| failed(e.to_string()))?;
        let place = Place { file: self.file, index: self.index, first_row: self.first_row };
        self.first_row += batch.num_rows() as u64;
        if self.first_row > self.file.rows {
            // Where no column is decoded, nothing else would end a number of rows that is damaged.
            return Err(failed(format!("it states {} rows and has more", self.file.rows)));
        }
        Batch::compute(batch, plan, needs, place).map(Some)
    }
}

/// The file is not what it was when the job began.
pub(in crate::input) fn changed(file: &FileHeader, what: &str) -> DatasetError {
    DatasetError::Changed { path: file.name(), what: what.to_owned() }
}
