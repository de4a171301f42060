//! Sorts rows into canonical order: by sweep, and within a sweep by their values.
//!
//! The last bits of a sum over rows depend on the order of the rows, and resampling selects rows by their position.
//! Neither may depend on the order of the input or its division into files. Rows are therefore sorted by all their
//! columns under IEEE 754's total order, then by cluster. Rows that are equal in all of these are interchangeable in a
//! fit; they keep the order of the input.

use std::cmp::Ordering;

use rayon::prelude::*;

/// The number of rows above which a sweep is sorted by several threads.
const PARALLEL_SORT_ROWS: usize = 1 << 16;

/// The smallest number of rows of a parallel task, for which the cost of scheduling is negligible.
const MIN_TASK_ROWS: usize = 1 << 14;

/// The rows where the condition holds, column by column; every column has one entry per row.
#[derive(Debug)]
pub(in crate::input) struct KeptRows {
    pub(in crate::input) columns: Vec<Vec<f64>>,
    pub(in crate::input) cluster: Option<Vec<u32>>,
    pub(in crate::input) file: Vec<u32>,
    pub(in crate::input) row: Vec<u64>,
}

/// Sorts rows by sweep, then by the columns in `order`, then by cluster.
///
/// `sweep` is the sweep of each row, counted from the first of these sweeps; `None` if the rows are sorted by sweep
/// already. `starts` is the sorted position of the first row of each sweep, and the number of rows at the end.
pub(in crate::input) fn sort_rows(
    kept: &mut KeptRows,
    sweep: Option<Vec<u32>>,
    starts: &[usize],
    order: &[usize],
) {
    if let Some(sweep) = sweep {
        let rows = counting_sort(&sweep, starts);
        // Freed before `permute` copies the first column, to save memory.
        drop(sweep);
        kept.permute(&rows);
    }
    kept.blocks(starts).into_par_iter().for_each_init(SortWorkspace::default, |workspace, block| {
        block.sort(order, workspace);
    });
}

/// Returns the rows sorted by sweep, stably, by a counting sort.
fn counting_sort(sweep: &[u32], starts: &[usize]) -> Vec<usize> {
    let mut next = starts.to_vec();
    let mut rows = vec![0; sweep.len()];
    for (row, &s) in sweep.iter().enumerate() {
        let place = &mut next[s as usize];
        rows[*place] = row;
        *place += 1;
    }
    rows
}

impl KeptRows {
    /// Moves row `rows[i]` to position `i`. Columns are copied one at a time, to save memory.
    fn permute(&mut self, rows: &[usize]) {
        fn column<T: Copy + Send + Sync>(rows: &[usize], values: &mut Vec<T>) {
            *values = rows.par_iter().with_min_len(MIN_TASK_ROWS).map(|&row| values[row]).collect();
        }
        self.columns.iter_mut().for_each(|values| column(rows, values));
        self.cluster.iter_mut().for_each(|values| column(rows, values));
        column(rows, &mut self.file);
        column(rows, &mut self.row);
    }

    /// Divides the rows between sweeps into blocks of about `MIN_TASK_ROWS` rows.
    fn blocks<'a>(&'a mut self, starts: &'a [usize]) -> Vec<SweepBlock<'a>> {
        let mut rest = SweepBlock {
            starts,
            columns: self.columns.iter_mut().map(Vec::as_mut_slice).collect(),
            cluster: self.cluster.as_deref_mut(),
            file: &mut self.file,
            row: &mut self.row,
        };
        let mut blocks = Vec::new();
        while rest.starts.len() > 1 {
            let first = rest.starts[0];
            let sweeps = rest.starts.partition_point(|start| start - first < MIN_TASK_ROWS);
            blocks.push(rest.split_off(sweeps.min(rest.starts.len() - 1)));
        }
        blocks
    }
}

/// The rows of consecutive sweeps, which one task sorts.
struct SweepBlock<'a> {
    /// The first row of each sweep, and the end of the last sweep, counted from the first row of all blocks.
    starts: &'a [usize],
    columns: Vec<&'a mut [f64]>,
    cluster: Option<&'a mut [u32]>,
    file: &'a mut [u32],
    row: &'a mut [u64],
}

/// Buffers for sorting a sweep, kept between sweeps.
#[derive(Default)]
struct SortWorkspace {
    /// The rows in sorted order: the sort key of the first column, and the position before sorting.
    sorted: Vec<(u64, usize)>,
    doubles: Vec<f64>,
    numbers: Vec<u32>,
    rows: Vec<u64>,
}

impl<'a> SweepBlock<'a> {
    /// Removes the first `sweeps` sweeps and returns them.
    fn split_off(&mut self, sweeps: usize) -> SweepBlock<'a> {
        let starts = &self.starts[..=sweeps];
        let rows = starts[sweeps] - starts[0];
        self.starts = &self.starts[sweeps..];
        SweepBlock {
            starts,
            columns: self.columns.iter_mut().map(|column| split_first(column, rows)).collect(),
            cluster: self.cluster.as_mut().map(|cluster| split_first(cluster, rows)),
            file: split_first(&mut self.file, rows),
            row: split_first(&mut self.row, rows),
        }
    }

    /// Sorts the rows of each sweep.
    fn sort(mut self, order: &[usize], workspace: &mut SortWorkspace) {
        while self.starts.len() > 1 {
            self.split_off(1).sort_one(order, workspace);
        }
    }

    /// Sorts the rows of a block of one sweep.
    fn sort_one(mut self, order: &[usize], workspace: &mut SortWorkspace) {
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
        // The first column distinguishes most rows. Sorting a contiguous copy of it is faster than looking values up.
        let leading = order.first().map(|&column| &*self.columns[column]);
        let sorted = &mut workspace.sorted;
        sorted.clear();
        sorted.extend((0..rows).map(|row| (leading.map_or(0, |values| sort_key(values[row])), row)));
        // No two rows compare equal, so an unstable sort is deterministic.
        let by_key = |a: &(u64, usize), b: &(u64, usize)| a.0.cmp(&b.0).then_with(|| compare(a.1, b.1));
        if rows > PARALLEL_SORT_ROWS {
            sorted.par_sort_unstable_by(by_key);
        } else {
            sorted.sort_unstable_by(by_key);
        }
        for values in &mut self.columns {
            reorder(values, sorted, &mut workspace.doubles);
        }
        if let Some(cluster) = &mut self.cluster {
            reorder(cluster, sorted, &mut workspace.numbers);
        }
        reorder(self.file, sorted, &mut workspace.numbers);
        reorder(self.row, sorted, &mut workspace.rows);
    }
}

/// Removes the first `count` values from a slice and returns them.
fn split_first<'a, T>(values: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (first, rest) = std::mem::take(values).split_at_mut(count);
    *values = rest;
    first
}

/// Returns an integer whose order is that of the value under IEEE 754's total order.
fn sort_key(value: f64) -> u64 {
    let bits = value.to_bits();
    let negative = bits >> 63 == 1;
    if negative { !bits } else { bits | 1 << 63 }
}

/// Moves the values to the sorted order of their rows.
fn reorder<T: Copy + Send + Sync>(values: &mut [T], sorted: &[(u64, usize)], copy: &mut Vec<T>) {
    copy.clear();
    if values.len() > PARALLEL_SORT_ROWS {
        copy.par_extend(sorted.par_iter().with_min_len(MIN_TASK_ROWS).map(|&(_, row)| values[row]));
    } else {
        copy.extend(sorted.iter().map(|&(_, row)| values[row]));
    }
    values.copy_from_slice(copy);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::{NAN, NULL};

    /// Returns rows with the given columns, numbered in order.
    fn kept(columns: &[&[f64]], cluster: Option<&[u32]>, rows: usize) -> KeptRows {
        KeptRows {
            columns: columns.iter().map(|c| c.to_vec()).collect(),
            cluster: cluster.map(<[u32]>::to_vec),
            file: vec![0; rows],
            row: (0..rows as u64).collect(),
        }
    }

    #[test]
    fn rows_are_sorted_by_sweep_then_values_then_cluster_then_row() {
        let group = vec![1, 0, 1, 1, 1, 0];
        let x = [2.0, 5.0, 1.0, 2.0, 2.0, 4.0];
        let y = [0.0, 0.0, 9.0, -0.0, 0.0, 0.0];
        let cluster = [1, 0, 0, 7, 0, 0];
        let mut rows = kept(&[&y, &x], Some(&cluster), 6);
        sort_rows(&mut rows, Some(group.clone()), &[0, 2, 6], &[1, 0]);
        assert_eq!(rows.row, [5, 1, 2, 3, 4, 0]);
        assert_eq!(rows.columns[1], [4.0, 5.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(rows.cluster.expect("clusters"), [0, 0, 0, 7, 0, 1]);
        let mut rows = kept(&[&y, &x], None, 6);
        sort_rows(&mut rows, Some(group), &[0, 2, 6], &[1, 0]);
        assert_eq!(rows.row, [5, 1, 2, 3, 0, 4]);
    }

    #[test]
    fn infinities_nans_and_nulls_are_ordered() {
        let x = [NULL, 1.0, f64::INFINITY, NAN, f64::NEG_INFINITY, -0.0, 0.0];
        let mut rows = kept(&[&x], None, 7);
        sort_rows(&mut rows, None, &[0, 7], &[0]);
        assert_eq!(rows.row, [4, 5, 6, 1, 2, 3, 0]);
    }

    #[test]
    fn without_columns_rows_keep_the_order_of_the_input() {
        let mut rows = kept(&[], None, 3);
        sort_rows(&mut rows, Some(vec![2, 0, 2]), &[0, 1, 1, 3], &[]);
        assert_eq!(rows.row, [1, 0, 2]);
    }

    #[test]
    fn a_long_sweep_is_sorted_like_a_short_one() {
        let n = PARALLEL_SORT_ROWS + 1000;
        // Multiplication by a number prime to n visits every residue once.
        let x: Vec<f64> = (0..n).map(|i| (i * 31 % n) as f64).collect();
        let mut rows = kept(&[&x], None, n);
        sort_rows(&mut rows, None, &[0, n], &[0]);
        assert!(rows.columns[0].iter().enumerate().all(|(i, v)| *v == i as f64));
        assert!(rows.row.iter().zip(&rows.columns[0]).all(|(&row, v)| x[row as usize] == *v));
    }
}
