//! Reads the rows of consecutive sweeps in passes over the whole input, each of which keeps the rows of a range of sweeps.
//!
//! This serves inputs whose rows are in no order and do not fit in memory. A pass reads every row and looks its key up, so
//! the sweeps of a range are complete after it. The rows of a sweep are sorted into canonical order as always, so the results
//! do not depend on the number of passes.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::column_plan::ReadPlan;
use super::contents::Contents;
use super::fragment_reader::{FragmentReader, changed};
use super::request::Request;
use super::row_buffer::RowBuffer;
use super::scan::{KeyLookup, ScanResult};
use super::source::{BATCH_ROWS, Source};
use crate::error::Error;

/// The memory in bytes of what does not grow with the input: the decoder's pages, the program, the tables that are written.
const FIXED_BYTES: u64 = 128 << 20;

/// The memory in bytes that a thread takes for its fits and its heap.
const BYTES_PER_THREAD: u64 = 6 << 20;

/// The number of parts of the input that several threads read at once. Each takes the memory of the decoder and of the rows of
/// the range in it, so that more would take more than [`FIXED_BYTES`] allows for.
const PARTS_AT_ONCE: usize = 4;

/// How many times the rows of a part all rows must be for several parts to be read at once. Where keys are in no order, the parts
/// that are read at once then have at most a quarter of the rows of a range.
const LEAST_PARTS: u64 = 4 * PARTS_AT_ONCE as u64;

/// The memory in bytes that a sweep takes beside its rows and its key: its digest, its place, and its estimates in the overview
/// of the run.
const BYTES_PER_SWEEP: u64 = 128;

/// Returns the memory in bytes that reading and fitting takes besides the rows, and for each row of a segment.
///
/// While a segment is fitted the next one is read, so two are in memory, and the copies with which the second is sorted.
pub(in crate::input) fn memory_of(
    request: &Request,
    scanned: &ScanResult,
    contents: &Contents,
) -> (u64, u64) {
    let keys = scanned.group.iter().chain(&scanned.cluster).map(|keys| keys.lookup.bytes());
    let shown: usize = contents.keys.iter().map(|key| key.get_buffer_memory_size()).sum();
    let of_sweeps = contents.n_sweeps() as u64 * BYTES_PER_SWEEP;
    let of_threads = rayon::current_num_threads() as u64 * BYTES_PER_THREAD;
    let fixed = FIXED_BYTES + of_threads + keys.sum::<u64>() + shown as u64 + of_sweeps;
    let clusters = u64::from(request.cluster.is_some());
    // The columns, the file, the row and the sweep.
    let of_row = 8 * request.columns.len() as u64 + 4 + 8 + 4 + 4 * clusters;
    // While parts are read there are copies of their rows; while rows are sorted, the order and a column.
    (fixed, 2 * of_row + of_row.max(16))
}

/// Divides the sweeps into ranges of at most `most` rows, or of a single sweep. `starts` is the first row of each sweep, and the
/// number of rows at the end.
pub(in crate::input) fn ranges(starts: &[usize], most: usize) -> Vec<Range<usize>> {
    let sweeps = starts.len() - 1;
    let (mut ranges, mut first) = (Vec::new(), 0);
    while first < sweeps {
        let within = starts[first + 1..].partition_point(|end| end - starts[first] <= most);
        let end = first + within.max(1);
        ranges.push(first..end);
        first = end;
    }
    ranges
}

/// The keys by which passes tell the sweeps and the clusters of rows.
pub(in crate::input) struct Passes {
    group: Option<KeyLookup>,
    cluster: Option<KeyLookup>,
}

/// The rows of a range of sweeps, in the order of the input.
pub(in crate::input) struct PassRows {
    pub(in crate::input) rows: RowBuffer,
    /// The sweep of each row, counted from the first of the range.
    pub(in crate::input) sweep: Vec<u32>,
    pub(in crate::input) cluster: Option<Vec<u32>>,
}

impl Passes {
    /// Returns the passes over an input that was scanned.
    pub(in crate::input) fn new(scanned: ScanResult) -> Passes {
        let lookup = |keys: super::scan::RankedKeys| keys.lookup;
        Passes { group: scanned.group.map(lookup), cluster: scanned.cluster.map(lookup) }
    }

    /// Reads the rows of the sweeps in a range; there are `expected` of them.
    pub(in crate::input) fn read(
        &self,
        (source, request, plan): (&dyn Source, &Request, &ReadPlan),
        sweeps: Range<usize>,
        expected: usize,
        interrupted: &AtomicBool,
    ) -> Result<PassRows, Error> {
        let n_fragments = source.fragments().len();
        let parts =
            (0..n_fragments).flat_map(|index| source.parts(index).into_iter().map(move |part| (index, part)));
        let parts: Vec<(usize, Range<u64>)> = parts.collect();
        let mut all = PassRows::new(request, expected, self.cluster.is_some());
        let input = (source, request, plan);
        let total: u64 = parts.iter().map(|(_, rows)| rows.end - rows.start).sum();
        let is_small = |(_, rows): &(usize, Range<u64>)| LEAST_PARTS * (rows.end - rows.start) <= total;
        let at_once = if parts.iter().all(is_small) { PARTS_AT_ONCE } else { 1 };
        for some in parts.chunks(at_once) {
            if let [(index, part)] = some {
                self.read_part(input, (*index as u32, part), &sweeps, (&mut all, interrupted))?;
                continue;
            }
            let read = some.par_iter().map(|(index, part)| {
                let mut rows = PassRows::new(request, 0, self.cluster.is_some());
                self.read_part(input, (*index as u32, part), &sweeps, (&mut rows, interrupted))?;
                Ok(rows)
            });
            for part in read.collect::<Vec<Result<PassRows, Error>>>() {
                all.append(part?);
            }
        }
        match source.fragments().last() {
            Some(fragment) if all.sweep.len() != expected => {
                Err(changed(fragment, "the condition holds in other rows than before"))
            }
            _ => Ok(all),
        }
    }

    /// Appends the rows of the sweeps in a range from a part of a fragment.
    fn read_part(
        &self,
        (source, request, plan): (&dyn Source, &Request, &ReadPlan),
        (index, part): (u32, &Range<u64>),
        sweeps: &Range<usize>,
        (all, interrupted): (&mut PassRows, &AtomicBool),
    ) -> Result<(), Error> {
        let PassRows { rows, sweep, cluster } = all;
        let range = sweeps.start as u32..sweeps.end as u32;
        let mut chosen: Vec<u32> = Vec::with_capacity(BATCH_ROWS);
        let mut reader = FragmentReader::open_part(source, index, part, &plan.for_all)?;
        while let Some(mut batch) = reader.next(plan, &plan.for_all, interrupted)? {
            if batch.n_kept() == 0 {
                continue;
            }
            let ranks = match &self.group {
                Some(group) => group.ranks(&batch)?,
                None => vec![0; batch.n_kept()],
            };
            let places = (0_u32..).zip(&ranks).filter(|(_, rank)| range.contains(rank)).map(|(i, _)| i);
            chosen.clear();
            chosen.extend(places);
            if chosen.is_empty() {
                continue;
            }
            sweep.extend(chosen.iter().map(|&i| ranks[i as usize] - range.start));
            if let (Some(lookup), Some(cluster)) = (&self.cluster, cluster.as_mut()) {
                let clusters = lookup.ranks(&batch)?;
                cluster.extend(chosen.iter().map(|&i| clusters[i as usize]));
            }
            batch.keep(&chosen);
            rows.add(&batch, request)?;
        }
        Ok(())
    }
}

impl PassRows {
    /// Returns no rows, with memory for `expected` of them.
    fn new(request: &Request, expected: usize, has_clusters: bool) -> PassRows {
        let mut rows = RowBuffer::new(request);
        rows.reserve(expected);
        let cluster = has_clusters.then(|| Vec::with_capacity(expected));
        PassRows { rows, sweep: Vec::with_capacity(expected), cluster }
    }

    /// Appends rows that follow in the order of the input.
    fn append(&mut self, next: PassRows) {
        self.rows.append(next.rows);
        self.sweep.extend(next.sweep);
        if let (Some(cluster), Some(next)) = (&mut self.cluster, next.cluster) {
            cluster.extend(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_long_as_fits() {
        let starts = [0, 4, 8, 30, 31, 33, 40];
        assert_eq!(ranges(&starts, 10), [0..2, 2..3, 3..6]);
        assert_eq!(ranges(&starts, 1), [0..1, 1..2, 2..3, 3..4, 4..5, 5..6]);
        assert_eq!(ranges(&starts, usize::MAX).as_slice(), std::slice::from_ref(&(0..6)));
        assert!(ranges(&[0], 10).is_empty());
    }
}
