//! A sweep: the observations that are fitted as one, as plain columns of `f64`.
//!
//! This is the hand-over between reading and fitting. Nothing here knows where the numbers came from except
//! through [`Sweep::file`] and [`Sweep::row`], which name each observation's place in the input so that a
//! rejected one can be listed.
//!
//! Rows are in *canonical order*: a total order on the values themselves (see [`crate::input`]), never on the
//! place in the input, so that sums over a sweep have the same bits however its rows were shuffled or spread
//! over files.
//!
//! A missing value has to live in an `f64` column and still be told from a NaN that the data contains, because
//! the two are rejected for different reasons. It is stored as [`NULL`], a quiet NaN with a payload of its own;
//! every other NaN is stored as [`NAN`] by [`canonical`].

use std::ops::{Index, Range};

/// SQL's null in a column of `f64`: a quiet NaN with the payload `"null"`. Compare with [`is_null`], never with `==`.
pub const NULL: f64 = f64::from_bits(0x7FF8_0000_6E75_6C6C);

/// The one NaN that stands for every NaN in the data.
pub const NAN: f64 = f64::from_bits(0x7FF8_0000_0000_0000);

/// Whether the value is [`NULL`], by its bits. No other NaN is null.
#[must_use]
pub fn is_null(value: f64) -> bool {
    value.to_bits() == NULL.to_bits()
}

/// The value as columns store it: every NaN becomes [`NAN`], so that none can be taken for [`NULL`] and NaNs that
/// came about differently sort alike. All else, the sign of zero included, stays as it is.
#[must_use]
pub fn canonical(value: f64) -> f64 {
    if value.is_nan() { NAN } else { value }
}

/// How many observations a sweep may have: fits keep places in a sweep as numbers of 32 bits.
pub const MAX_ROWS: usize = u32::MAX as usize;

/// Columns of a sweep; `columns[i]` is the i-th.
#[derive(Debug, Clone, Copy)]
pub struct SweepColumns<'a> {
    columns: &'a [Vec<f64>],
    first_row: usize,
    end_row: usize,
}

impl<'a> SweepColumns<'a> {
    /// The given rows of some columns.
    ///
    /// # Panics
    /// If a column has not that many rows.
    #[must_use]
    pub fn new(columns: &'a [Vec<f64>], rows: Range<usize>) -> SweepColumns<'a> {
        assert!(columns.iter().all(|c| rows.end <= c.len()), "a column is too short");
        SweepColumns { columns, first_row: rows.start, end_row: rows.end }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &'a [f64]> {
        let rows = self.first_row..self.end_row;
        self.columns.iter().map(move |column| &column[rows.clone()])
    }
}

impl Index<usize> for SweepColumns<'_> {
    type Output = [f64];

    fn index(&self, column: usize) -> &[f64] {
        &self.columns[column][self.first_row..self.end_row]
    }
}

/// The observations that share one value of the key columns, in canonical row order.
///
/// All slices have the same length, [`Sweep::len`]. Values may be null, NaN or infinite: the reader passes on what
/// it found, and the caller decides what can be used.
#[derive(Debug, Clone)]
pub struct Sweep<'a> {
    /// Position among the data set's sweeps, in the order of their keys.
    pub index: usize,
    /// The columns asked for, in the order in which they were asked for.
    pub columns: SweepColumns<'a>,
    /// For each observation the rank of its cluster among all of the data set's clusters, where clusters are used.
    /// Inside a sweep only the order of these numbers means anything: their values depend on the other sweeps.
    pub cluster: Option<&'a [u32]>,
    /// For each observation the index of its input file.
    pub file: &'a [u32],
    /// For each observation its row in that file, from 0.
    pub row: &'a [u64],
    /// SHA-256 of the key's values, for seeding (see [`crate::input::digest`]); the same whatever else is in the
    /// data set.
    pub key_digest: [u8; 32],
}

impl Sweep<'_> {
    /// Number of observations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.row.len()
    }

    /// Whether there are no observations, as in an input of which every row was filtered away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_told_from_every_other_nan() {
        assert!(NULL.is_nan() && is_null(NULL));
        for other in [f64::NAN, -f64::NAN, -NULL, NAN, f64::INFINITY, 0.0] {
            assert!(!is_null(other));
        }
    }

    #[test]
    fn data_cannot_smuggle_in_a_null() {
        assert!(!is_null(canonical(NULL)));
        assert_eq!(canonical(-f64::NAN).to_bits(), 0x7FF8_0000_0000_0000);
        assert_eq!(canonical(-0.0).to_bits(), 1 << 63);
        assert_eq!(canonical(f64::NEG_INFINITY), f64::NEG_INFINITY);
    }

    #[test]
    fn null_sorts_after_all_numbers_and_nan() {
        let mut values = [NULL, NAN, f64::INFINITY, -1.0];
        values.sort_by(f64::total_cmp);
        assert!(is_null(values[3]));
        assert_eq!(values[..2], [-1.0, f64::INFINITY]);
    }
}
