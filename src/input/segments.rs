//! Reads the rows of consecutive sweeps in segments, so that one segment can be fitted while the next is read.
//!
//! The scan has counted the rows of every sweep. The rows are divided wherever all sweeps so far are complete and
//! precede all other sweeps in the order of keys. Inputs whose rows or files are sorted by key are read in many
//! segments. An input in another order, such as a file with shuffled rows, is read as one segment if it fits within the memory
//! limit, and else in passes over the whole input (see `passes`).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::error::ArrowError;

use super::column_plan::ReadPlan;
use super::contents::Contents;
use super::fragment_reader::{FragmentReader, changed};
use super::limits::large_part;
use super::order::{KeptRows, sort_rows};
use super::passes::{PassRows, Passes, memory_of, ranges};
use super::request::Request;
use super::row_buffer::RowBuffer;
use super::scan::{KeyRun, Scan};
use super::source::{BATCH_ROWS, Source};
use crate::error::Error;
use crate::sweep::{MAX_ROWS, Sweep, SweepColumns, TextCells};

/// The sizes to which reading keeps.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// The least number of rows of a segment, if the rows of the source are sorted by key (see [`Segments`]).
    pub segment_rows: usize,
    /// The memory in bytes within which a run should stay. A source whose rows are in no order is read in as many passes as
    /// this takes.
    pub memory_bytes: u64,
}

impl ReadLimits {
    /// Returns the number of runs of rows that are kept, an eighth of the memory.
    fn most_runs(self) -> usize {
        usize::try_from(self.memory_bytes / 8 / size_of::<KeyRun>() as u64).unwrap_or(usize::MAX)
    }
}

/// Consecutive sweeps with their rows.
#[derive(Debug)]
pub struct Segment {
    /// The index of the first sweep among all sweeps.
    first: usize,
    rows: KeptRows,
    texts: TextCells,
    /// The first row of each sweep, and the number of rows at the end.
    starts: Vec<usize>,
}

impl Segment {
    /// Returns the indices of the segment's sweeps in the order of keys.
    #[must_use]
    pub fn sweeps(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.starts.len() - 1
    }

    /// Returns the number of rows of a sweep.
    ///
    /// # Panics
    /// If the sweep is none of [`Segment::sweeps`].
    #[must_use]
    pub fn sweep_len(&self, sweep: usize) -> usize {
        let place = sweep - self.first;
        self.starts[place + 1] - self.starts[place]
    }

    /// Returns a sweep, given the contents of the input.
    ///
    /// # Panics
    /// If the sweep is none of [`Segment::sweeps`].
    #[must_use]
    pub fn sweep(&self, contents: &Contents, sweep: usize) -> Sweep<'_> {
        let place = sweep - self.first;
        let rows = self.starts[place]..self.starts[place + 1];
        let kept = &self.rows;
        Sweep {
            index: sweep,
            columns: SweepColumns::new(&kept.columns, rows.clone()),
            cluster: kept.cluster.as_ref().map(|c| &c[rows.clone()]),
            file: &kept.file[rows.clone()],
            row: &kept.row[rows],
            texts: &self.texts,
            key_digest: contents.digests[sweep],
        }
    }
}

/// The size of a segment.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    /// The number of rows.
    rows: usize,
    /// The index of the sweep after the last.
    sweeps_end: usize,
}

/// An iterator over the segments of an input, in the order of the sweeps. Segments are read on demand.
///
/// All but the last have at least as many rows as [`open()`](super::open()) was asked for. There is only one segment if
/// the rows are not sorted by key, neither within files nor from file to file.
pub struct Segments<'a> {
    source: &'a dyn Source,
    request: &'a Request,
    plan: ReadPlan<'a>,
    interrupted: &'a AtomicBool,
    /// The files that are not yet opened, each with the number of its rows where the condition holds.
    files: std::vec::IntoIter<(usize, usize)>,
    /// The file that is being read, and the number of its remaining rows where the condition holds.
    reader: Option<(FragmentReader<'a>, usize)>,
    rows: RowBuffer,
    /// The sweeps of the rows not yet returned.
    group: Option<KeyRuns>,
    /// The clusters of the rows not yet returned.
    cluster: Option<KeyRuns>,
    /// The first row of each sweep of the input, and the number of rows at the end.
    starts: Vec<usize>,
    next_sweep: usize,
    cuts: std::vec::IntoIter<Cut>,
    /// Where the rows are in no order: the keys by which a pass tells the sweeps of rows.
    passes: Option<Passes>,
    /// The number of rows that fit within the memory limit.
    rows_within_limit: usize,
    /// The memory that reading and fitting takes, in bytes, besides the rows, and for each row of the largest segment.
    memory: (u64, u64),
}

/// Scans the input for its sweeps, and returns their keys and an iterator over segments. An input that has at most
/// [`ReadLimits::segment_rows`] rows, or no key columns, is read completely during the scan.
pub(in crate::input) fn open<'a>(
    source: &'a dyn Source,
    request: &'a Request,
    plan: ReadPlan<'a>,
    limits: ReadLimits,
    interrupted: &'a AtomicBool,
) -> Result<(Contents, Segments<'a>), Error> {
    let limit = limits.segment_rows;
    if u32::try_from(source.fragments().len()).is_err() {
        return Err(Error::TooMany { what: "files", limit: u64::from(u32::MAX) });
    }
    let total = source.fragments().iter().map(|f| f.rows - f.rows_skipped()).fold(0, u64::saturating_add);
    let at_once = plan.by.is_empty() || total <= limit as u64;
    let most_runs = if at_once { usize::MAX } else { limits.most_runs() };
    let mut scan = Scan::new(&plan, (most_key_bytes(source), most_runs))?;
    let mut rows = RowBuffer::new(request);
    let needs = if at_once { &plan.for_all } else { &plan.for_keys };
    if at_once {
        rows.reserve(usize::try_from(total).unwrap_or(usize::MAX));
    }
    for index in 0..source.fragments().len() as u32 {
        let mut reader = FragmentReader::open(source, index, needs)?;
        while let Some(batch) = reader.next(&plan, needs, interrupted)? {
            scan.add(&batch)?;
            if at_once {
                rows.add(&batch, request)?;
            }
        }
    }
    if interrupted.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let internal =
        |e: ArrowError| Error::Internal { context: "sorting keys".to_owned(), reason: e.to_string() };
    let scanned = scan.finish(source.fragments().len()).map_err(internal)?;
    let contents = Contents::of(source, &plan, &scanned).map_err(internal)?;
    let starts = scanned.starts();
    // Fits number the rows of a sweep with 32 bits.
    if starts.windows(2).any(|ends| ends[1] - ends[0] > MAX_ROWS) {
        return Err(Error::TooMany { what: "rows in one sweep", limit: MAX_ROWS as u64 });
    }
    let memory = memory_of(request, &scanned, &contents);
    let rest = limits.memory_bytes.saturating_sub(memory.0) / memory.1;
    let rows_within_limit = usize::try_from(rest).unwrap_or(usize::MAX).max(limit);
    let passes_over = cuts_between(&starts, &ranges(&starts, rows_within_limit));
    let order = match scanned.has_runs() {
        true if at_once => (0..scanned.files.len()).collect(),
        true => scanned.by_first_sweep(),
        false => Vec::new(),
    };
    let in_order =
        if scanned.has_runs() { cuts(&starts, &scanned.group_runs(&order), limit) } else { Vec::new() };
    let largest = |cuts: &[Cut]| cuts.iter().map(|cut| cut.rows).max();
    let is_in_order = largest(&in_order)
        .is_some_and(|rows| at_once || rows <= rows_within_limit || Some(rows) <= largest(&passes_over));
    let mut files = Vec::new();
    let (mut group, mut cluster, mut passes) = (None, None, None);
    let cuts = if is_in_order {
        let unread = if at_once { &[][..] } else { &order };
        files.extend(unread.iter().map(|&f| (f, scanned.files[f].kept)));
        (group, cluster) = scanned.runs(&order);
        in_order
    } else {
        passes = Some(Passes::new(scanned));
        passes_over
    };
    let segments = Segments {
        source,
        request,
        plan,
        interrupted,
        files: files.into_iter(),
        reader: None,
        rows,
        group: group.map(KeyRuns::new),
        cluster: cluster.map(KeyRuns::new),
        starts,
        next_sweep: 0,
        cuts: cuts.into_iter(),
        passes,
        rows_within_limit,
        memory,
    };
    Ok((contents, segments))
}

/// Returns the number of bytes that the distinct keys of a source may have. Few bytes of a file can state any number of long
/// keys. What is in memory already is not bounded.
fn most_key_bytes(source: &dyn Source) -> u64 {
    let sizes = source.fragments().iter().map(|fragment| fragment.bytes);
    let total: Option<u64> = sizes.sum();
    total.map_or(u64::MAX, |total| (1 << 27) + large_part(total))
}

/// Divides rows into segments of at least `limit` rows, between sweeps that are complete and sweeps that follow them in
/// the order of keys. `group` has the runs of rows with one sweep, `starts` the first row of each sweep.
fn cuts(starts: &[usize], group: &[KeyRun], limit: usize) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let (mut rows, mut cut, mut sweeps_end) = (0, 0, 0);
    for run in group {
        rows += run.rows as usize;
        sweeps_end = sweeps_end.max(run.number as usize + 1);
        if rows - cut >= limit && rows == starts[sweeps_end] {
            cuts.push(Cut { rows: rows - cut, sweeps_end });
            cut = rows;
        }
    }
    let sweeps = starts.len() - 1;
    if cuts.is_empty() || starts[sweeps] > cut {
        cuts.push(Cut { rows: starts[sweeps] - cut, sweeps_end: sweeps });
    }
    cuts
}

/// Returns the cuts after each of some ranges, which hold all sweeps.
fn cuts_between(starts: &[usize], ranges: &[Range<usize>]) -> Vec<Cut> {
    let cut =
        |range: &Range<usize>| Cut { rows: starts[range.end] - starts[range.start], sweeps_end: range.end };
    ranges.iter().map(cut).collect()
}

impl Iterator for Segments<'_> {
    type Item = Result<Segment, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let cut = self.cuts.next()?;
        let segment = self.segment(&cut);
        if segment.is_err() {
            // After an error the rows that follow would be assigned to the wrong sweeps.
            self.cuts = Vec::new().into_iter();
        }
        Some(segment)
    }
}

impl Segments<'_> {
    /// Returns the number of passes over the input in which the rows are read.
    #[must_use]
    pub fn n_passes(&self) -> usize {
        if self.passes.is_some() { self.cuts.len() } else { 1 }
    }

    /// Returns the memory that a run takes, in bytes, before any segment is read.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let largest = self.cuts.as_slice().iter().map(|cut| cut.rows as u64).max().unwrap_or(0);
        self.memory.0 + self.memory.1.saturating_mul(largest)
    }

    /// Returns the sweep with the most rows, and the number of these, if its rows alone do not fit within the memory limit.
    #[must_use]
    pub fn beyond_memory(&self) -> Option<(usize, usize)> {
        let rows = self.starts.windows(2).map(|ends| ends[1] - ends[0]);
        let largest = rows.enumerate().max_by_key(|(_, rows)| *rows);
        largest.filter(|(_, rows)| *rows > self.rows_within_limit)
    }

    /// Reads the rows of a segment in a pass over the input and sorts them.
    fn pass(&self, passes: &Passes, cut: &Cut) -> Result<Segment, Error> {
        let first = self.next_sweep;
        let sweeps = first..cut.sweeps_end;
        let input = (self.source, self.request, &self.plan);
        let PassRows { mut rows, sweep, cluster } = passes.read(input, sweeps, cut.rows, self.interrupted)?;
        let starts = self.starts_of(first, cut);
        let (RowBuffer { columns, file, row, .. }, texts) = rows.split(cut.rows);
        let mut kept = KeptRows { columns, cluster, file, row };
        let sweep = Some(sweep).filter(|sweep| !sweep.is_sorted());
        sort_rows(&mut kept, sweep, &starts, &self.plan.order);
        Ok(Segment { first, rows: kept, texts, starts })
    }

    /// Returns the first row of each sweep of a segment, and the number of rows at the end.
    fn starts_of(&self, first: usize, cut: &Cut) -> Vec<usize> {
        let starts = &self.starts[first..=cut.sweeps_end];
        starts.iter().map(|start| start - starts[0]).collect()
    }

    /// Reads the rows of a segment and sorts them.
    fn segment(&mut self, cut: &Cut) -> Result<Segment, Error> {
        if let Some(passes) = &self.passes {
            let segment = self.pass(passes, cut)?;
            self.next_sweep = cut.sweeps_end;
            return Ok(segment);
        }
        if self.reader.is_some() || self.files.len() > 0 {
            self.rows.reserve(cut.rows.saturating_add(BATCH_ROWS));
        }
        while self.rows.row.len() < cut.rows {
            self.read_batch()?;
        }
        let is_last = self.cuts.len() == 0;
        while is_last && self.reader.is_some() {
            self.read_batch()?;
        }
        let first = self.next_sweep;
        self.next_sweep = cut.sweeps_end;
        let starts = self.starts_of(first, cut);
        let (RowBuffer { columns, file, row, .. }, texts) = self.rows.split(cut.rows);
        let take = |runs: &mut Option<KeyRuns>| match runs {
            // The last segment takes the runs without a copy.
            Some(_) if is_last => runs.take().map(KeyRuns::take_all),
            Some(runs) => Some(runs.take(cut.rows)),
            None => None,
        };
        let cluster = take(&mut self.cluster).map(|taken| taken.numbers(0));
        let mut kept = KeptRows { columns, cluster, file, row };
        let group = take(&mut self.group);
        let group = group.filter(|taken| !taken.is_sorted()).map(|taken| taken.numbers(first as u32));
        sort_rows(&mut kept, group, &starts, &self.plan.order);
        Ok(Segment { first, rows: kept, texts, starts })
    }

    /// Reads the next batch of the current file, or opens the next file.
    fn read_batch(&mut self) -> Result<(), Error> {
        let needs = &self.plan.for_numbers;
        let Some((reader, left)) = &mut self.reader else {
            let Some((index, kept)) = self.files.next() else {
                return Err(Error::Internal {
                    context: "reading".to_owned(),
                    reason: "there are fewer rows than were counted".to_owned(),
                });
            };
            self.reader = Some((FragmentReader::open(self.source, index as u32, needs)?, kept));
            return Ok(());
        };
        let other_rows = |fragment| changed(fragment, "the condition holds in other rows than before");
        match reader.next(&self.plan, needs, self.interrupted)? {
            Some(batch) => {
                *left = left.checked_sub(batch.n_kept()).ok_or_else(|| other_rows(batch.origin.fragment))?;
                self.rows.add(&batch, self.request)
            }
            None if *left > 0 => Err(other_rows(reader.fragment())),
            None => {
                self.reader = None;
                Ok(())
            }
        }
    }
}

/// A queue of runs, from which the runs of a given number of rows are taken.
struct KeyRuns {
    rest: std::vec::IntoIter<KeyRun>,
    /// The remainder of a run that was taken in part.
    left: Option<KeyRun>,
}

/// The runs of the rows of a segment.
struct TakenRuns(Vec<KeyRun>);

impl KeyRuns {
    fn new(runs: Vec<KeyRun>) -> KeyRuns {
        KeyRuns { rest: runs.into_iter(), left: None }
    }

    /// Removes the runs of the first `rows` rows and returns them. At least as many rows must remain.
    fn take(&mut self, rows: usize) -> TakenRuns {
        let mut taken = Vec::new();
        let mut wanted = rows;
        while wanted > 0 {
            let Some(run) = self.left.take().or_else(|| self.rest.next()) else { break };
            let part = (run.rows as usize).min(wanted) as u32;
            taken.push(KeyRun { rows: part, ..run });
            wanted -= part as usize;
            self.left = Some(KeyRun { rows: run.rows - part, ..run }).filter(|run| run.rows > 0);
        }
        TakenRuns(taken)
    }

    /// Returns all runs that remain.
    fn take_all(self) -> TakenRuns {
        let mut taken: Vec<KeyRun> = self.rest.collect();
        if let Some(left) = self.left {
            taken.insert(0, left);
        }
        TakenRuns(taken)
    }
}

impl TakenRuns {
    fn is_sorted(&self) -> bool {
        self.0.is_sorted_by_key(|run| run.number)
    }

    /// Returns the number of each row's key, less `first`.
    fn numbers(self, first: u32) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(self.0.iter().map(|run| run.rows as usize).sum());
        self.0.iter().for_each(|run| {
            numbers.extend(std::iter::repeat_n(run.number - first, run.rows as usize));
        });
        numbers
    }
}
