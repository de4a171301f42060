//! The canonical order of rows: by sweep, and inside a sweep by the values themselves.
//!
//! A sum over rows depends on their order in its last bits, and a resampled row is named by its place. So that
//! neither depends on how the input was shuffled or cut into files, rows are ordered by all their columns under
//! IEEE 754's total order, then by cluster. Rows that agree in all of that are interchangeable; only their
//! `file` and `row` tell them apart, and between them the input's order stands.

use rayon::prelude::*;

/// Where a sweep is sorted by several threads instead of one.
const LONG: usize = 1 << 16;

/// Rows in canonical order.
pub(super) struct Arrangement {
    /// For each place the row that belongs there.
    pub(super) rows: Vec<usize>,
    /// For each sweep its first place; one entry more at the end.
    pub(super) starts: Vec<usize>,
}

/// Arranges rows by `group` (less than `groups`; without it there is a single group), then by `columns` in turn,
/// then by `cluster`. All slices have one entry per row.
pub(super) fn arrange(
    rows: usize,
    group: Option<&[u32]>,
    groups: usize,
    columns: &[&[f64]],
    cluster: Option<&[u32]>,
) -> Arrangement {
    let (mut permutation, starts) = match group {
        Some(group) => by_group(group, groups),
        None => ((0..rows).collect(), vec![0, rows]),
    };
    let compare = |a: &usize, b: &usize| {
        let (a, b) = (*a, *b);
        columns
            .iter()
            .map(|column| column[a].total_cmp(&column[b]))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| match cluster {
                Some(cluster) => cluster[a].cmp(&cluster[b]),
                None => std::cmp::Ordering::Equal,
            })
            .then(a.cmp(&b))
    };
    let mut sweeps = Vec::with_capacity(groups);
    let mut rest = permutation.as_mut_slice();
    for bounds in starts.windows(2) {
        let (sweep, after) = rest.split_at_mut(bounds[1] - bounds[0]);
        sweeps.push(sweep);
        rest = after;
    }
    // The comparison is a total order in which no two rows are equal, so that every sort gives one answer.
    sweeps.into_par_iter().for_each(|sweep| {
        if sweep.len() > LONG {
            sweep.par_sort_unstable_by(compare);
        } else {
            sweep.sort_unstable_by(compare);
        }
    });
    Arrangement { rows: permutation, starts }
}

/// Rows by group, in the order in which they came (a counting sort).
fn by_group(group: &[u32], groups: usize) -> (Vec<usize>, Vec<usize>) {
    let mut starts = vec![0; groups + 1];
    for &g in group {
        starts[g as usize + 1] += 1;
    }
    for i in 0..groups {
        starts[i + 1] += starts[i];
    }
    let mut next = starts.clone();
    let mut rows = vec![0; group.len()];
    for (row, &g) in group.iter().enumerate() {
        let place = &mut next[g as usize];
        rows[*place] = row;
        *place += 1;
    }
    (rows, starts)
}

/// The values in the arrangement's order. Columns go through this one by one, so that at most one exists twice.
pub(super) fn apply<T: Copy>(rows: &[usize], values: Vec<T>) -> Vec<T> {
    rows.iter().map(|&row| values[row]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::{NAN, NULL};

    #[test]
    fn sweeps_come_first_then_values_then_clusters_then_places() {
        let group = [1, 0, 1, 1, 1, 0];
        let x = [2.0, 5.0, 1.0, 2.0, 2.0, 4.0];
        let y = [0.0, 0.0, 9.0, -0.0, 0.0, 0.0];
        let cluster = [1, 0, 0, 7, 0, 0];
        let arranged = arrange(6, Some(&group), 2, &[&x, &y], Some(&cluster));
        assert_eq!(arranged.rows, [5, 1, 2, 3, 4, 0]);
        assert_eq!(arranged.starts, [0, 2, 6]);
        let arranged = arrange(6, Some(&group), 2, &[&x, &y], None);
        assert_eq!(arranged.rows, [5, 1, 2, 3, 0, 4]);
    }

    #[test]
    fn values_that_are_no_numbers_have_their_place() {
        let x = [NULL, 1.0, f64::INFINITY, NAN, f64::NEG_INFINITY];
        let arranged = arrange(5, None, 1, &[&x], None);
        assert_eq!(arranged.rows, [4, 1, 2, 3, 0]);
        assert_eq!(arranged.starts, [0, 5]);
    }

    #[test]
    fn a_long_sweep_is_sorted_like_a_short_one() {
        let n = LONG + 1000;
        // Multiplication by a number prime to n visits every residue once.
        let x: Vec<f64> = (0..n).map(|i| (i * 31 % n) as f64).collect();
        let arranged = arrange(n, None, 1, &[&x], None);
        assert!(arranged.rows.windows(2).all(|w| x[w[0]] < x[w[1]]));
    }
}
