//! The canonical order of rows: by sweep, and inside a sweep by the values themselves.
//!
//! A sum over rows depends on their order in its last bits, and a resampled row is named by its place. So that
//! neither depends on how the input was shuffled or cut into files, rows are ordered by all their columns under
//! IEEE 754's total order, then by cluster. Rows that agree in all of that are interchangeable; only their
//! `file` and `row` tell them apart, and between them the input's order stands.

use std::cmp::Ordering;

use rayon::prelude::*;

/// Where a sweep is sorted by several threads instead of one.
const LONG: usize = 1 << 16;

/// The least number of rows that one task arranges: enough that dividing the work costs nothing beside it.
const STRETCH: usize = 1 << 14;

/// Rows as they are kept, one entry per row in every column.
#[derive(Debug)]
pub(in crate::input) struct Kept {
    pub(in crate::input) columns: Vec<Vec<f64>>,
    pub(in crate::input) cluster: Option<Vec<u32>>,
    pub(in crate::input) file: Vec<u32>,
    pub(in crate::input) row: Vec<u64>,
}

/// Arranges rows by sweep, of each its number among these, where they do not stand so already; then by the columns named
/// in `order` in turn, then by cluster. `starts` has for each sweep its first place, and one entry more at the end.
pub(in crate::input) fn arrange(kept: &mut Kept, sweep: Option<Vec<u32>>, starts: &[usize], order: &[usize]) {
    if let Some(sweep) = sweep {
        let rows = by_sweep(&sweep, starts);
        // Free before a column exists twice.
        drop(sweep);
        kept.take(&rows);
    }
    kept.stretches(starts).into_par_iter().for_each_init(Scratch::default, |scratch, stretch| {
        stretch.sort(order, scratch);
    });
}

/// Rows by sweep, in the order in which they came (a counting sort).
fn by_sweep(sweep: &[u32], starts: &[usize]) -> Vec<usize> {
    let mut next = starts.to_vec();
    let mut rows = vec![0; sweep.len()];
    for (row, &s) in sweep.iter().enumerate() {
        let place = &mut next[s as usize];
        rows[*place] = row;
        *place += 1;
    }
    rows
}

impl Kept {
    /// Puts into each place the row that `rows` names. Columns go through this one by one, so that at most one
    /// exists twice.
    fn take(&mut self, rows: &[usize]) {
        fn column<T: Copy + Send + Sync>(rows: &[usize], values: &mut Vec<T>) {
            *values = rows.par_iter().with_min_len(STRETCH).map(|&row| values[row]).collect();
        }
        self.columns.iter_mut().for_each(|values| column(rows, values));
        self.cluster.iter_mut().for_each(|values| column(rows, values));
        column(rows, &mut self.file);
        column(rows, &mut self.row);
    }

    /// The rows cut between sweeps.
    fn stretches<'a>(&'a mut self, starts: &'a [usize]) -> Vec<Stretch<'a>> {
        let mut rest = Stretch {
            starts,
            columns: self.columns.iter_mut().map(Vec::as_mut_slice).collect(),
            cluster: self.cluster.as_deref_mut(),
            file: &mut self.file,
            row: &mut self.row,
        };
        let mut stretches = Vec::new();
        while rest.starts.len() > 1 {
            let first = rest.starts[0];
            let sweeps = rest.starts.partition_point(|start| start - first < STRETCH);
            stretches.push(rest.split_off(sweeps.min(rest.starts.len() - 1)));
        }
        stretches
    }
}

/// Consecutive sweeps.
struct Stretch<'a> {
    /// Each sweep's first row among all, and one entry more at the end.
    starts: &'a [usize],
    columns: Vec<&'a mut [f64]>,
    cluster: Option<&'a mut [u32]>,
    file: &'a mut [u32],
    row: &'a mut [u64],
}

/// Memory that sorting a sweep needs, kept for the next.
#[derive(Default)]
struct Scratch {
    /// For each place the sorting key of the row that belongs there, and its place now.
    sorted: Vec<(u64, usize)>,
    doubles: Vec<f64>,
    numbers: Vec<u32>,
    rows: Vec<u64>,
}

impl<'a> Stretch<'a> {
    /// Splits off the first so many sweeps.
    fn split_off(&mut self, sweeps: usize) -> Stretch<'a> {
        let starts = &self.starts[..=sweeps];
        let rows = starts[sweeps] - starts[0];
        self.starts = &self.starts[sweeps..];
        Stretch {
            starts,
            columns: self.columns.iter_mut().map(|column| first(column, rows)).collect(),
            cluster: self.cluster.as_mut().map(|cluster| first(cluster, rows)),
            file: first(&mut self.file, rows),
            row: first(&mut self.row, rows),
        }
    }

    /// Sorts the rows of each sweep.
    fn sort(mut self, order: &[usize], scratch: &mut Scratch) {
        while self.starts.len() > 1 {
            self.split_off(1).sort_one(order, scratch);
        }
    }

    /// Sorts the rows of the only sweep.
    fn sort_one(mut self, order: &[usize], scratch: &mut Scratch) {
        let compare = |a: usize, b: usize| {
            let by_column = |&column: &usize| {
                let values = &self.columns[column];
                values[a].total_cmp(&values[b])
            };
            let by_values = order.iter().map(by_column).find(|order| order.is_ne());
            let by_cluster =
                || self.cluster.as_ref().map_or(Ordering::Equal, |cluster| cluster[a].cmp(&cluster[b]));
            let by_place = || self.file[a].cmp(&self.file[b]).then(self.row[a].cmp(&self.row[b]));
            by_values.unwrap_or_else(by_cluster).then_with(by_place)
        };
        let rows = self.row.len();
        if (1..rows).all(|row| compare(row - 1, row).is_lt()) {
            return;
        }
        // Most rows are told apart by the first column; a copy of it beside the places is sorted faster than places
        // that are looked up.
        let leading = order.first().map(|&column| &*self.columns[column]);
        let sorted = &mut scratch.sorted;
        sorted.clear();
        sorted.extend((0..rows).map(|row| (leading.map_or(0, |values| ascending(values[row])), row)));
        // The comparison is a total order in which no two rows are equal, so that every sort gives one answer.
        let by_key = |a: &(u64, usize), b: &(u64, usize)| a.0.cmp(&b.0).then_with(|| compare(a.1, b.1));
        if rows > LONG {
            sorted.par_sort_unstable_by(by_key);
        } else {
            sorted.sort_unstable_by(by_key);
        }
        for values in &mut self.columns {
            reorder(values, sorted, &mut scratch.doubles);
        }
        if let Some(cluster) = &mut self.cluster {
            reorder(cluster, sorted, &mut scratch.numbers);
        }
        reorder(self.file, sorted, &mut scratch.numbers);
        reorder(self.row, sorted, &mut scratch.rows);
    }
}

/// Splits off the first so many values.
fn first<'a, T>(values: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (first, rest) = std::mem::take(values).split_at_mut(count);
    *values = rest;
    first
}

/// A number that is ordered like the value under IEEE 754's total order.
fn ascending(value: f64) -> u64 {
    let bits = value.to_bits();
    let negative = bits >> 63 == 1;
    if negative { !bits } else { bits | 1 << 63 }
}

/// Puts into each place the value whose place `sorted` names.
fn reorder<T: Copy + Send + Sync>(values: &mut [T], sorted: &[(u64, usize)], copy: &mut Vec<T>) {
    copy.clear();
    if values.len() > LONG {
        copy.par_extend(sorted.par_iter().with_min_len(STRETCH).map(|&(_, row)| values[row]));
    } else {
        copy.extend(sorted.iter().map(|&(_, row)| values[row]));
    }
    values.copy_from_slice(copy);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::{NAN, NULL};

    /// Columns, and rows numbered as they come.
    fn kept(columns: &[&[f64]], cluster: Option<&[u32]>, rows: usize) -> Kept {
        Kept {
            columns: columns.iter().map(|c| c.to_vec()).collect(),
            cluster: cluster.map(<[u32]>::to_vec),
            file: vec![0; rows],
            row: (0..rows as u64).collect(),
        }
    }

    #[test]
    fn sweeps_come_first_then_values_then_clusters_then_places() {
        let group = vec![1, 0, 1, 1, 1, 0];
        let x = [2.0, 5.0, 1.0, 2.0, 2.0, 4.0];
        let y = [0.0, 0.0, 9.0, -0.0, 0.0, 0.0];
        let cluster = [1, 0, 0, 7, 0, 0];
        let mut rows = kept(&[&y, &x], Some(&cluster), 6);
        arrange(&mut rows, Some(group.clone()), &[0, 2, 6], &[1, 0]);
        assert_eq!(rows.row, [5, 1, 2, 3, 4, 0]);
        assert_eq!(rows.columns[1], [4.0, 5.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(rows.cluster.expect("clusters"), [0, 0, 0, 7, 0, 1]);
        let mut rows = kept(&[&y, &x], None, 6);
        arrange(&mut rows, Some(group), &[0, 2, 6], &[1, 0]);
        assert_eq!(rows.row, [5, 1, 2, 3, 0, 4]);
    }

    #[test]
    fn values_that_are_no_numbers_have_their_place() {
        let x = [NULL, 1.0, f64::INFINITY, NAN, f64::NEG_INFINITY, -0.0, 0.0];
        let mut rows = kept(&[&x], None, 7);
        arrange(&mut rows, None, &[0, 7], &[0]);
        assert_eq!(rows.row, [4, 5, 6, 1, 2, 3, 0]);
    }

    #[test]
    fn without_columns_the_input_order_stands() {
        let mut rows = kept(&[], None, 3);
        arrange(&mut rows, Some(vec![2, 0, 2]), &[0, 1, 1, 3], &[]);
        assert_eq!(rows.row, [1, 0, 2]);
    }

    #[test]
    fn a_long_sweep_is_sorted_like_a_short_one() {
        let n = LONG + 1000;
        // Multiplication by a number prime to n visits every residue once.
        let x: Vec<f64> = (0..n).map(|i| (i * 31 % n) as f64).collect();
        let mut rows = kept(&[&x], None, n);
        arrange(&mut rows, None, &[0, n], &[0]);
        assert!(rows.columns[0].iter().enumerate().all(|(i, v)| *v == i as f64));
        assert!(rows.row.iter().zip(&rows.columns[0]).all(|(&row, v)| x[row as usize] == *v));
    }
}
