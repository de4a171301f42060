//! Writes the results of a run to a directory, among those that are copied from earlier runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::FieldRef;

use super::batches::Batches;
use super::directory::{Answers, Directory};
use super::earlier::EarlierResults;
use super::partitions::Partitions;
use super::parts::Parts;
use super::records::{Chunk, KnownFits, Record, ReusedFit, RunContext, Sink};
use super::schema::REJECTED;
use crate::error::{Error, Setting};

/// How a run treats what earlier runs have left.
#[derive(Clone, Debug, Default)]
pub struct OutputOptions {
    /// Whether an earlier result in the output directory is replaced.
    pub overwrite: bool,
    /// Directories with earlier results: fits that follow from nothing that has changed are copied from them. The result is that
    /// of a run without them, bit for bit.
    pub earlier: Vec<PathBuf>,
    /// Whether the run goes on where one that was killed or stopped has ended, and can be gone on with itself.
    pub resume: bool,
    /// Whether what such a run has left is removed first.
    pub fresh: bool,
    /// The first key columns, by which the tables are divided into hive partitions; none for tables of one file each.
    pub partition_by: Vec<String>,
}

/// A sink that writes the tables of a run to a directory of Parquet files.
pub struct DirectorySink<'a> {
    path: &'a Path,
    options: &'a OutputOptions,
    /// The job, as JSON, for the metadata of every file.
    job: String,
    earlier: EarlierResults,
    parts: Option<Parts>,
    open: Option<(Batches, Directory)>,
}

impl<'a> DirectorySink<'a> {
    /// Returns a sink. The disk is not changed before the run begins. `job` is the job as JSON.
    #[must_use]
    pub fn new(path: &'a Path, options: &'a OutputOptions, job: String) -> DirectorySink<'a> {
        DirectorySink { path, options, job, earlier: EarlierResults::default(), parts: None, open: None }
    }

    /// Writes the manifest and the answers to the job's questions, and publishes the result. Returns false if an earlier result was replaced file by file.
    ///
    /// # Errors
    /// If writing fails. The directory is then unchanged, or incomplete and without a manifest.
    pub fn finish(self, manifest: &str, answers: Answers) -> Result<bool, Error> {
        let DirectorySink { job, open, parts, .. } = self;
        drop(parts);
        let Some((_, directory)) = open else { return Ok(true) };
        directory.finish(manifest, &job, answers)
    }

    /// Ends the current part of a run that does not go on, so that another can go on from it.
    pub fn stop(mut self) {
        if let Some(parts) = &mut self.parts {
            // The error that ended the run is told, and not this one.
            let _ = parts.end();
        }
    }
}

impl Sink for DirectorySink<'_> {
    fn begin(&mut self, context: &RunContext) -> Result<(), Error> {
        let batches = Batches::new(context.clone());
        let mut directory = Directory::create(self.path, self.options.overwrite)?;
        let n = self.options.partition_by.len().min(context.key_fields.len());
        if n > 0 {
            let fields: Vec<FieldRef> = context.key_fields[..n].iter().cloned().map(Arc::new).collect();
            let partitions = Partitions::of(&fields, &context.keys[..n]);
            let invalid = |reason| Error::Invalid { place: Setting::PartitionBy.whole(), reason };
            directory.divide(partitions.map_err(invalid)?, &self.options.earlier);
        }
        for table in batches.tables() {
            directory.open(table.name, batches.schema(&table), &self.job)?;
        }
        let mut results = self.options.earlier.clone();
        let root = Parts::root_of(directory.output());
        if let Some(root) = root.as_ref().filter(|_| self.options.fresh) {
            let _ = std::fs::remove_dir_all(root);
        }
        if let Some(root) = &root {
            // Those of an earlier run too.
            directory.remove_when_complete(root.clone());
        }
        if let Some(root) = root.filter(|_| self.options.resume) {
            let found = Parts::found(&root);
            results.extend(found.iter().cloned());
            self.parts = Some(Parts::after(root, &found));
        }
        self.earlier = EarlierResults::open(&results, &batches, context);
        self.open = Some((batches, directory));
        Ok(())
    }

    fn known_fits(&self) -> Arc<KnownFits> {
        self.earlier.known()
    }

    fn take(&mut self, chunk: Chunk) -> Result<(), Error> {
        let Some((batches, directory)) = &mut self.open else { return Ok(()) };
        directory.write(REJECTED.name, &batches.batch_of(&REJECTED, &chunk)?)?;
        for table in batches.tables_of_fits() {
            for (made, reused) in in_order(&chunk) {
                directory.write(table.name, &batches.batch_of_records(&table, &chunk, made)?)?;
                for rows in self.earlier.rows(&table, reused)? {
                    directory.write(table.name, &rows)?;
                }
            }
        }
        match &mut self.parts {
            Some(parts) => parts.take(batches, &chunk),
            None => Ok(()),
        }
    }
}

/// Divides the fits of a chunk into those that were made and those that follow them and were reused, in the order of sweeps and
/// laws.
fn in_order(chunk: &Chunk) -> Vec<(&[Record], &[ReusedFit])> {
    let (mut made, mut reused) = (&chunk.records[..], &chunk.reused[..]);
    let mut groups = Vec::new();
    while !made.is_empty() || !reused.is_empty() {
        let before = |next: Option<&ReusedFit>, record: &Record| {
            next.is_none_or(|next| (record.sweep, record.law) < (next.sweep, next.law))
        };
        let n_made = made.partition_point(|record| before(reused.first(), record));
        let after = made.get(n_made).map(|record| (record.sweep, record.law));
        let n_reused = reused.partition_point(|fit| after.is_none_or(|after| (fit.sweep, fit.law) < after));
        let (first, rest) = made.split_at(n_made);
        let (second, others) = reused.split_at(n_reused);
        groups.push((first, second));
        (made, reused) = (rest, others);
    }
    groups
}
