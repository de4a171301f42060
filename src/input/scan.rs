//! Determines the sweep and the cluster of every row where the condition holds.
//!
//! The result is run-length encoded: runs of consecutive rows with one sweep, and runs with one cluster. For large
//! inputs only the key columns and the columns of the condition are decoded.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::error::ArrowError;

use super::batch::Batch;
use super::column_plan::{Key, ReadPlan};
use super::convert::{cast_exactly, to_array};
use super::guard::guard;
use super::keys::{EqualRows, Interner, Ranked, canonical_floats};
use crate::error::Error;
use crate::formula::Columns;

/// Consecutive rows with one key, given by the key's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::input) struct KeyRun {
    pub(in crate::input) number: u32,
    pub(in crate::input) rows: u32,
}

/// Appends rows with one key to the runs; extends the last run if it has this key and an index of at least `from`.
fn extend(runs: &mut Vec<KeyRun>, from: usize, number: u32, rows: usize) {
    match runs[from..].last_mut() {
        Some(last) if last.number == number && last.rows.checked_add(rows as u32).is_some() => {
            last.rows += rows as u32;
        }
        _ => runs.push(KeyRun { number, rows: rows as u32 }),
    }
}

/// The distinct keys of the rows scanned so far, and the runs of rows with equal keys.
pub(in crate::input) struct KeyNumbering {
    keys: Vec<Key>,
    interner: Interner,
    /// The runs of all rows, in the order of the files.
    runs: Vec<KeyRun>,
    /// The first run of the current file.
    file: usize,
}

impl KeyNumbering {
    fn new(keys: &[Key], what: &'static str, most_bytes: u64) -> Result<Self, Error> {
        let types: Vec<_> = keys.iter().map(|k| k.value_type.clone()).collect();
        let interner = Interner::new(&types, what, most_bytes)
            .map_err(|e| Error::Internal { context: format!("preparing {what}"), reason: e.to_string() })?;
        Ok(Self { keys: keys.to_vec(), interner, runs: Vec::new(), file: 0 })
    }

    fn add(&mut self, batch: &Batch) -> Result<(), Error> {
        let (keys, runs) = encode(batch, &self.interner, &self.keys)?;
        for (key, run) in keys.iter().zip(runs.ranges()) {
            let number = self.interner.number(key)?;
            extend(&mut self.runs, self.file, number, run.len());
        }
        Ok(())
    }

    /// Returns the keys in ascending order, and the runs with the rank of each key as its number.
    fn ranked(self) -> Result<(Vec<ArrayRef>, Vec<KeyRun>), ArrowError> {
        let Ranked { rank, columns } = self.interner.finish()?;
        let mut runs = self.runs;
        runs.iter_mut().for_each(|run| run.number = rank[run.number as usize]);
        Ok((columns, runs))
    }
}

/// A scan of the input for the sweep and cluster of every row.
pub(in crate::input) struct Scan {
    /// The sweeps; `None` without key columns.
    group: Option<KeyNumbering>,
    cluster: Option<KeyNumbering>,
    files: Vec<FileRows>,
    read: u64,
    dropped: u64,
}

/// The counts of rows and runs of one file.
#[derive(Clone, Copy, Default)]
pub(in crate::input) struct FileRows {
    /// The number of rows where the condition holds.
    pub(in crate::input) kept: usize,
    /// The end of the file's runs in the runs of sweeps.
    group_end: usize,
    /// The end of the file's runs in the runs of clusters.
    cluster_end: usize,
}

/// The result of a scan. The number of a run is the rank of its key.
pub(in crate::input) struct ScanResult {
    /// The key columns in the types in which they are compared, one row per sweep.
    pub(in crate::input) keys: Vec<ArrayRef>,
    /// The number of sweeps.
    pub(in crate::input) sweeps: usize,
    /// The number of rows read.
    pub(in crate::input) read: u64,
    /// The number of rows that the condition dropped.
    pub(in crate::input) dropped: u64,
    pub(in crate::input) files: Vec<FileRows>,
    group: Option<Vec<KeyRun>>,
    cluster: Option<Vec<KeyRun>>,
}

impl Scan {
    /// Returns a scan without rows. The distinct keys may have `most_bytes`, which depends on the size of the input.
    pub(in crate::input) fn new(plan: &ReadPlan, most_bytes: u64) -> Result<Self, Error> {
        let new = |keys, what| KeyNumbering::new(keys, what, most_bytes);
        let group = (!plan.by.is_empty()).then(|| new(&plan.by, "sweeps")).transpose()?;
        let cluster =
            plan.cluster.as_ref().map(|key| new(std::slice::from_ref(key), "clusters")).transpose()?;
        Ok(Self { group, cluster, files: Vec::new(), read: 0, dropped: 0 })
    }

    /// Adds the rows of a batch where the condition holds.
    pub(in crate::input) fn add(&mut self, batch: &Batch) -> Result<(), Error> {
        let n_kept = batch.n_kept();
        self.read += batch.rows as u64;
        self.dropped += (batch.rows - n_kept) as u64;
        let file = batch.origin.index as usize;
        if self.files.len() <= file {
            self.begin_file(file);
        }
        if n_kept == 0 {
            return Ok(());
        }
        for numbering in self.group.iter_mut().chain(&mut self.cluster) {
            numbering.add(batch)?;
        }
        let ends = [&self.group, &self.cluster].map(|n| n.as_ref().map_or(0, |n| n.runs.len()));
        if let Some(file) = self.files.last_mut() {
            file.kept += n_kept;
            [file.group_end, file.cluster_end] = ends;
        }
        Ok(())
    }

    /// Begins the file at an index. Files before it that had no batch get no rows and no runs.
    fn begin_file(&mut self, index: usize) {
        let before = FileRows { kept: 0, ..self.files.last().copied().unwrap_or_default() };
        self.files.resize(index + 1, before);
        for numbering in self.group.iter_mut().chain(&mut self.cluster) {
            numbering.file = numbering.runs.len();
        }
    }

    /// Ends the scan, given the number of files.
    pub(in crate::input) fn finish(mut self, files: usize) -> Result<ScanResult, ArrowError> {
        self.begin_file(files);
        self.files.truncate(files);
        let ranked = |numbering: Option<KeyNumbering>| numbering.map(KeyNumbering::ranked).transpose();
        let (keys, group) = ranked(self.group.take())?.unzip();
        let (_, cluster) = ranked(self.cluster.take())?.unzip();
        let keys: Vec<ArrayRef> = keys.unwrap_or_default();
        let sweeps = if group.is_some() { keys.first().map_or(0, |k| k.len()) } else { 1 };
        let Self { files, read, dropped, .. } = self;
        Ok(ScanResult { keys, sweeps, read, dropped, files, group, cluster })
    }
}

impl ScanResult {
    /// Returns the first row of each sweep in the order of sweeps, and the number of rows at the end.
    pub(in crate::input) fn starts(&self) -> Vec<usize> {
        let Some(group) = &self.group else {
            return vec![0, self.files.iter().map(|file| file.kept).sum()];
        };
        let mut starts = vec![0; self.sweeps + 1];
        for run in group {
            starts[run.number as usize + 1] += run.rows as usize;
        }
        for i in 0..self.sweeps {
            starts[i + 1] += starts[i];
        }
        starts
    }

    /// Returns the files that have rows where the condition holds, in the order of their first sweeps.
    pub(in crate::input) fn by_first_sweep(&self) -> Vec<usize> {
        let mut files: Vec<usize> = (0..self.files.len()).filter(|&f| self.files[f].kept > 0).collect();
        if let Some(group) = &self.group {
            files.sort_by_cached_key(|&f| {
                group[self.runs_of(f, |file| file.group_end)].iter().map(|run| run.number).min()
            });
        }
        files
    }

    /// Returns the runs of sweeps and of clusters, in the given order of the files.
    pub(in crate::input) fn runs(self, files: &[usize]) -> (Option<Vec<KeyRun>>, Option<Vec<KeyRun>>) {
        if files.is_sorted() {
            // Files that are not listed have no runs.
            return (self.group, self.cluster);
        }
        let ordered = |runs: &Vec<KeyRun>, end: fn(&FileRows) -> usize| {
            files.iter().flat_map(|&f| &runs[self.runs_of(f, end)]).copied().collect()
        };
        let group = self.group.as_ref().map(|runs| ordered(runs, |file| file.group_end));
        (group, self.cluster.as_ref().map(|runs| ordered(runs, |file| file.cluster_end)))
    }

    /// Returns the range of a file's runs, given the field with its end.
    fn runs_of(&self, file: usize, end: impl Fn(&FileRows) -> usize) -> std::ops::Range<usize> {
        let first = file.checked_sub(1).map_or(0, |before| end(&self.files[before]));
        first..end(&self.files[file])
    }
}

/// Returns the runs of equal keys in a batch, and the key of each run in the row format.
fn encode(batch: &Batch, interner: &Interner, keys: &[Key]) -> Result<(arrow::row::Rows, EqualRows), Error> {
    let origin = &batch.origin;
    let guarded =
        |step: &dyn Fn() -> Result<_, ArrowError>| guard(step).map_err(|reason| origin.corrupt(reason));
    let columns = keys.iter().map(|key| {
        let missing = || origin.corrupt(format!("column `{}` is missing", key.name));
        let values = if key.computed {
            to_array(batch.column(&key.name).ok_or_else(missing)?)
        } else {
            Arc::clone(batch.decoded.column_by_name(&key.name).ok_or_else(missing)?)
        };
        match &batch.kept {
            Some(kept) => {
                let rows = UInt32Array::from(kept.clone());
                guarded(&|| take(&values, &rows, None))?.map_err(|e| origin.conversion(&key.name, &e))
            }
            None => Ok(values),
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let corrupt = |e: ArrowError| origin.corrupt(e.to_string());
    let runs =
        guard(|| EqualRows::of(&columns)).map_err(|reason| origin.corrupt(reason))?.map_err(corrupt)?;
    let firsts = keys.iter().zip(&columns).map(|(key, column)| {
        let convert = || Ok(canonical_floats(cast_exactly(&runs.firsts(column)?, &key.value_type)?));
        guarded(&convert)?.map_err(|e| origin.conversion(&key.name, &e))
    });
    let firsts = firsts.collect::<Result<Vec<_>, _>>()?;
    let encoded =
        guard(|| interner.encode(&firsts)).map_err(|reason| origin.corrupt(reason))?.map_err(corrupt)?;
    Ok((encoded, runs))
}
