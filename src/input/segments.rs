//! Consecutive sweeps with their rows, as many at a time as are wanted: while some are fitted the next are read.
//!
//! A sweep is complete only when its last row has been seen, which the scan knows of every sweep beforehand. So the rows
//! are cut wherever all sweeps so far are complete and come before all others. Input that is sorted by its keys, or has
//! files that are, is cut into segments that come and go; where the sweeps come in another order there is but one
//! segment, as in a file whose rows were shuffled.

use std::sync::atomic::{AtomicBool, Ordering};

use arrow::error::ArrowError;

use super::batch::{Batch, not_of_type};
use super::column_plan::ReadPlan;
use super::contents::Contents;
use super::convert::store;
use super::fragment_reader::{FragmentReader, changed};
use super::order::{Kept, arrange};
use super::request::Request;
use super::scan::{KeyRun, Scan};
use super::source::{BATCH_ROWS, Source};
use crate::error::Error;
use crate::formula::Columns;
use crate::sweep::{MAX_ROWS, Sweep, SweepColumns};

/// Consecutive sweeps with their rows.
#[derive(Debug)]
pub struct Segment {
    /// The first sweep's number.
    first: usize,
    rows: Kept,
    /// For each sweep its first row; one entry more at the end.
    starts: Vec<usize>,
}

impl Segment {
    /// The numbers of its sweeps, their positions in the order of keys.
    #[must_use]
    pub fn sweeps(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.starts.len() - 1
    }

    /// Rows of a sweep.
    ///
    /// # Panics
    /// If the sweep is none of [`Segment::sweeps`].
    #[must_use]
    pub fn sweep_len(&self, sweep: usize) -> usize {
        let place = sweep - self.first;
        self.starts[place + 1] - self.starts[place]
    }

    /// A sweep of the input that has these contents.
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
            key_digest: contents.digests[sweep],
        }
    }
}

/// Where the rows are cut.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    rows: usize,
    /// The number of the sweep after the last.
    sweeps_end: usize,
}

/// Reads the rows of an input whose contents are known, segment by segment in the order of the sweeps.
pub struct Segments<'a> {
    source: &'a dyn Source,
    request: &'a Request,
    plan: ReadPlan<'a>,
    interrupted: &'a AtomicBool,
    /// Files that are still to be read, each with its number of rows that are kept.
    files: std::vec::IntoIter<(usize, usize)>,
    /// The file that is being read, and how many of its rows that are kept are still to come.
    reader: Option<(FragmentReader<'a>, usize)>,
    /// Read, but not yet handed on.
    rows: Rows,
    group: Option<KeyRuns>,
    cluster: Option<KeyRuns>,
    starts: Vec<usize>,
    next_sweep: usize,
    cuts: std::vec::IntoIter<Cut>,
}

/// Finds out which sweeps the input has. Their rows come in segments of at least `limit` rows, but for the last. Where there
/// are no more than that, or but one sweep, all is read at once.
pub(in crate::input) fn open<'a>(
    source: &'a dyn Source,
    request: &'a Request,
    plan: ReadPlan<'a>,
    limit: usize,
    interrupted: &'a AtomicBool,
) -> Result<(Contents, Segments<'a>), Error> {
    if u32::try_from(source.fragments().len()).is_err() {
        return Err(Error::TooMany { what: "files", limit: u64::from(u32::MAX) });
    }
    let total = source.fragments().iter().map(|f| f.rows).fold(0, u64::saturating_add);
    let at_once = plan.by.is_empty() || total <= limit as u64;
    let mut scan = Scan::new(&plan)?;
    let mut rows = Rows::new(request);
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
    // Fits count the rows of a sweep in 32 bits.
    if starts.windows(2).any(|ends| ends[1] - ends[0] > MAX_ROWS) {
        return Err(Error::TooMany { what: "rows in one sweep", limit: MAX_ROWS as u64 });
    }
    let order = if at_once { (0..scanned.files.len()).collect() } else { scanned.by_first_sweep() };
    let unread = if at_once { &[][..] } else { &order };
    let files: Vec<(usize, usize)> = unread.iter().map(|&f| (f, scanned.files[f].kept)).collect();
    let (group, cluster) = scanned.runs(&order);
    let cuts = cuts(&starts, group.as_deref().unwrap_or_default(), limit);
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
    };
    Ok((contents, segments))
}

/// Cuts rows, given as runs of one sweep each, wherever there are `limit` of them and all sweeps so far are complete and
/// come before all others.
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

impl Iterator for Segments<'_> {
    type Item = Result<Segment, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let cut = self.cuts.next()?;
        let segment = self.segment(&cut);
        if segment.is_err() {
            // What comes after it would be given to other sweeps.
            self.cuts = Vec::new().into_iter();
        }
        Some(segment)
    }
}

impl Segments<'_> {
    fn segment(&mut self, cut: &Cut) -> Result<Segment, Error> {
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
        let starts = &self.starts[first..=cut.sweeps_end];
        let starts: Vec<usize> = starts.iter().map(|start| start - starts[0]).collect();
        let Rows { columns, file, row } = self.rows.split(cut.rows);
        let cluster = self.cluster.as_mut().map(|runs| runs.take(cut.rows).numbers(0));
        let mut kept = Kept { columns, cluster, file, row };
        let group = self.group.as_mut().map(|runs| runs.take(cut.rows));
        let group = group.filter(|taken| !taken.is_sorted()).map(|taken| taken.numbers(first as u32));
        if is_last {
            (self.group, self.cluster) = (None, None);
        }
        arrange(&mut kept, group, &starts, &self.plan.order);
        Ok(Segment { first, rows: kept, starts })
    }

    /// Reads one batch further, in the next file where this one has ended.
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
        let other_rows = |fragment| changed(fragment, "other rows of it are kept than before");
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

/// Rows in the order in which they came.
struct Rows {
    columns: Vec<Vec<f64>>,
    file: Vec<u32>,
    row: Vec<u64>,
}

impl Rows {
    fn new(request: &Request) -> Rows {
        Rows { columns: vec![Vec::new(); request.columns.len()], file: Vec::new(), row: Vec::new() }
    }

    /// Makes room for so many rows at once, where they are all kept: growing would copy them and need half as much
    /// again. The number is the files' word for it, so a failure means nothing.
    fn reserve(&mut self, rows: usize) {
        let more = rows.saturating_sub(self.row.len());
        let fits = self.columns.iter_mut().all(|c| c.try_reserve_exact(more).is_ok());
        let _ = fits && self.file.try_reserve_exact(more).is_ok() && self.row.try_reserve_exact(more).is_ok();
    }

    fn add(&mut self, batch: &Batch, request: &Request) -> Result<(), Error> {
        let (origin, kept, n_kept) = (&batch.origin, batch.kept.as_deref(), batch.n_kept());
        if n_kept == 0 {
            return Ok(());
        }
        for (name, stored) in request.columns.iter().zip(&mut self.columns) {
            let column =
                batch.column(name).ok_or_else(|| origin.corrupt(format!("column `{name}` is missing")))?;
            if !store(column, kept, stored) {
                return Err(not_of_type(name, "a number"));
            }
        }
        self.file.resize(self.file.len() + n_kept, origin.index);
        match kept {
            Some(kept) => self.row.extend(kept.iter().map(|&i| origin.first_row + u64::from(i))),
            None => self.row.extend(origin.first_row..origin.first_row + batch.rows as u64),
        }
        Ok(())
    }

    /// Splits off the first so many rows.
    fn split(&mut self, rows: usize) -> Rows {
        fn first<T: Copy>(values: &mut Vec<T>, rows: usize) -> Vec<T> {
            let rest = values[rows..].to_vec();
            let mut first = std::mem::replace(values, rest);
            first.truncate(rows);
            first
        }
        Rows {
            columns: self.columns.iter_mut().map(|c| first(c, rows)).collect(),
            file: first(&mut self.file, rows),
            row: first(&mut self.row, rows),
        }
    }
}

/// Runs that are taken from the front.
struct KeyRuns {
    rest: std::vec::IntoIter<KeyRun>,
    /// What is left of a run that was taken in part.
    left: Option<KeyRun>,
}

/// The runs of some rows.
struct Taken(Vec<KeyRun>);

impl KeyRuns {
    fn new(runs: Vec<KeyRun>) -> KeyRuns {
        KeyRuns { rest: runs.into_iter(), left: None }
    }

    /// Takes the runs of so many rows, of which there are as many.
    fn take(&mut self, rows: usize) -> Taken {
        let mut taken = Vec::new();
        let mut wanted = rows;
        while wanted > 0 {
            let Some(run) = self.left.take().or_else(|| self.rest.next()) else { break };
            let part = (run.rows as usize).min(wanted) as u32;
            taken.push(KeyRun { rows: part, ..run });
            wanted -= part as usize;
            self.left = Some(KeyRun { rows: run.rows - part, ..run }).filter(|run| run.rows > 0);
        }
        Taken(taken)
    }
}

impl Taken {
    fn is_sorted(&self) -> bool {
        self.0.is_sorted_by_key(|run| run.number)
    }

    /// Row by row, counted from `first`.
    fn numbers(self, first: u32) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(self.0.iter().map(|run| run.rows as usize).sum());
        self.0.iter().for_each(|run| {
            numbers.extend(std::iter::repeat_n(run.number - first, run.rows as usize));
        });
        numbers
    }
}
