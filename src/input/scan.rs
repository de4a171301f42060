//! Determines the sweep and the cluster of every row where the condition holds.
//!
//! The result is run-length encoded: runs of consecutive rows with one sweep, and runs with one cluster. Where the rows are in
//! no order, so that the runs would take too much memory, the result is the number of rows of each sweep alone, and the keys
//! are looked up again when the rows are read (see `passes`). For large inputs only the key columns and the columns of the
//! condition are decoded.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::error::ArrowError;

use super::batch::Batch;
use super::column_plan::{Key, ReadPlan};
use super::convert::{cast_exactly, to_array};
use super::fragment_reader::changed;
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
struct KeyNumbering {
    keys: Vec<Key>,
    interner: Interner,
    /// The number of rows with each key.
    rows_of: Vec<usize>,
    /// The runs of all rows, in the order of the files; none once there were more than `most_runs`.
    runs: Option<Vec<KeyRun>>,
    most_runs: usize,
    /// The first run of the current file.
    file: usize,
}

impl KeyNumbering {
    fn new(keys: &[Key], what: &'static str, (most_bytes, most_runs): (u64, usize)) -> Result<Self, Error> {
        let types: Vec<_> = keys.iter().map(|k| k.value_type.clone()).collect();
        let interner = Interner::new(&types, what, most_bytes)
            .map_err(|e| Error::Internal { context: format!("preparing {what}"), reason: e.to_string() })?;
        let runs = Some(Vec::new());
        Ok(Self { keys: keys.to_vec(), interner, rows_of: Vec::new(), runs, most_runs, file: 0 })
    }

    fn add(&mut self, batch: &Batch) -> Result<(), Error> {
        let (keys, equal) = encode(batch, &self.interner, &self.keys)?;
        for (key, run) in keys.iter().zip(equal.ranges()) {
            let number = self.interner.number(key)?;
            if self.rows_of.len() <= number as usize {
                self.rows_of.push(0);
            }
            self.rows_of[number as usize] += run.len();
            if let Some(runs) = &mut self.runs {
                extend(runs, self.file, number, run.len());
            }
        }
        self.runs.take_if(|runs| runs.len() > self.most_runs);
        Ok(())
    }

    fn n_runs(&self) -> usize {
        self.runs.as_ref().map_or(0, Vec::len)
    }

    /// Ranks the keys in ascending order.
    fn ranked(self) -> Result<(Vec<ArrayRef>, RankedKeys), ArrowError> {
        let KeyNumbering { keys, interner, rows_of: of_numbers, mut runs, .. } = self;
        let Ranked { rank, columns } = interner.ranked()?;
        runs.iter_mut().flatten().for_each(|run| run.number = rank[run.number as usize]);
        let mut rows_of = vec![0; rank.len()];
        for (rank, rows) in rank.iter().zip(of_numbers) {
            rows_of[*rank as usize] = rows;
        }
        Ok((columns, RankedKeys { lookup: KeyLookup { keys, interner, rank }, rows_of, runs }))
    }
}

/// The keys of all rows in ascending order.
pub(in crate::input) struct RankedKeys {
    pub(in crate::input) lookup: KeyLookup,
    /// The number of rows with each key, by rank.
    pub(in crate::input) rows_of: Vec<usize>,
    /// The runs of rows with equal keys, in the order of the files; the number of a run is the rank of its key. None where
    /// there are too many.
    pub(in crate::input) runs: Option<Vec<KeyRun>>,
}

/// Finds the ranks of keys.
pub(in crate::input) struct KeyLookup {
    keys: Vec<Key>,
    interner: Interner,
    /// The rank of each numbered key.
    rank: Vec<u32>,
}

impl KeyLookup {
    /// Returns the rank of the key of each row of a batch where the condition holds.
    pub(in crate::input) fn ranks(&self, batch: &Batch) -> Result<Vec<u32>, Error> {
        let (keys, runs) = encode(batch, &self.interner, &self.keys)?;
        let mut ranks = Vec::with_capacity(batch.n_kept());
        for (key, run) in keys.iter().zip(runs.ranges()) {
            let number = self
                .interner
                .known(key)
                .ok_or_else(|| changed(batch.origin.fragment, "it has keys that it did not have before"))?;
            ranks.extend(std::iter::repeat_n(self.rank[number as usize], run.len()));
        }
        Ok(ranks)
    }

    /// Returns the memory of the lookup in bytes.
    pub(in crate::input) fn bytes(&self) -> u64 {
        self.interner.bytes() + 4 * self.rank.len() as u64
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

/// The result of a scan.
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
    pub(in crate::input) group: Option<RankedKeys>,
    pub(in crate::input) cluster: Option<RankedKeys>,
}

impl Scan {
    /// Returns a scan without rows. `most` holds the bytes that the distinct keys may have, which depend on the size of the
    /// input, and the number of runs that are kept.
    pub(in crate::input) fn new(plan: &ReadPlan, most: (u64, usize)) -> Result<Self, Error> {
        let new = |keys, what| KeyNumbering::new(keys, what, most);
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
        let ends = [&self.group, &self.cluster].map(|n| n.as_ref().map_or(0, KeyNumbering::n_runs));
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
            numbering.file = numbering.n_runs();
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
        let mut end = 0;
        let ends = group.rows_of.iter().map(|rows| {
            end += rows;
            end
        });
        std::iter::once(0).chain(ends).collect()
    }

    /// Returns whether the sweep and the cluster of every row are known.
    pub(in crate::input) fn has_runs(&self) -> bool {
        self.group.iter().chain(&self.cluster).all(|keys| keys.runs.is_some())
    }

    /// Returns the runs of rows with one sweep, in the given order of the files; none without key columns.
    pub(in crate::input) fn group_runs(&self, files: &[usize]) -> Cow<'_, [KeyRun]> {
        let Some(runs) = self.group.as_ref().and_then(|keys| keys.runs.as_deref()) else {
            return Cow::default();
        };
        self.in_order(runs, files, |file| file.group_end)
    }

    /// Returns runs, which end in each file where `end` says, in the given order of the files.
    fn in_order<'a>(
        &self,
        runs: &'a [KeyRun],
        files: &[usize],
        end: fn(&FileRows) -> usize,
    ) -> Cow<'a, [KeyRun]> {
        if files.is_sorted() {
            // Files that are not listed have no runs.
            return Cow::Borrowed(runs);
        }
        Cow::Owned(files.iter().flat_map(|&f| &runs[self.runs_of(f, end)]).copied().collect())
    }

    /// Returns the files that have rows where the condition holds, in the order of their first sweeps.
    pub(in crate::input) fn by_first_sweep(&self) -> Vec<usize> {
        let mut files: Vec<usize> = (0..self.files.len()).filter(|&f| self.files[f].kept > 0).collect();
        if let Some(runs) = self.group.as_ref().and_then(|keys| keys.runs.as_deref()) {
            files.sort_by_cached_key(|&f| {
                runs[self.runs_of(f, |file| file.group_end)].iter().map(|run| run.number).min()
            });
        }
        files
    }

    /// Returns the runs of sweeps and of clusters, in the given order of the files.
    pub(in crate::input) fn runs(mut self, files: &[usize]) -> (Option<Vec<KeyRun>>, Option<Vec<KeyRun>>) {
        let (group, cluster) = (self.group.take(), self.cluster.take());
        let take = |end: fn(&FileRows) -> usize, keys: Option<RankedKeys>| {
            let runs = keys?.runs?;
            match self.in_order(&runs, files, end) {
                Cow::Borrowed(_) => Some(runs),
                Cow::Owned(ordered) => Some(ordered),
            }
        };
        (take(|file| file.group_end, group), take(|file| file.cluster_end, cluster))
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
