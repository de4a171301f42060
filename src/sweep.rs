//! Sweeps: the observations that a law is fitted to, as columns of `f64`.
//!
//! `input` produces sweeps and `problem` consumes them. The module knows nothing of the source of the numbers, except
//! that [`Sweep::file`] and [`Sweep::row`] give each observation's position in the input, to list rejected
//! observations.
//!
//! Rows are in *canonical order*: a total order on their values (see [`crate::input`]) that ignores their position in
//! the input. Sums over a sweep then have the same bits however its rows were shuffled or spread over files.
//!
//! A missing value must be distinguished from a NaN in the data, because the two are rejected for different reasons. It
//! is stored as [`NULL`], a text that is not a number as [`TEXT`]: quiet NaNs with their own payloads. [`canonical`] stores
//! every NaN in the data as [`NAN`]. The texts themselves are in a table of their own, [`TextCells`], which is empty unless
//! there are any.

use std::collections::BTreeMap;
use std::ops::{Index, Range};
use std::sync::Arc;

/// A missing value in a column of `f64`: a quiet NaN with the payload `"null"`. Test for it with [`is_null`], not `==`.
pub const NULL: f64 = f64::from_bits(0x7FF8_0000_6E75_6C6C);

/// A text that is not a number, in a column of `f64`: a quiet NaN with the payload `"text"`. Test for it with [`is_text`].
pub const TEXT: f64 = f64::from_bits(0x7FF8_0000_7465_7874);

/// The NaN that represents every NaN in the data.
pub const NAN: f64 = f64::from_bits(0x7FF8_0000_0000_0000);

/// Returns whether a value is [`NULL`], by its bits; false for every other NaN.
#[must_use]
pub fn is_null(value: f64) -> bool {
    value.to_bits() == NULL.to_bits()
}

/// Returns whether a value is [`TEXT`], by its bits; false for every other NaN.
#[must_use]
pub fn is_text(value: f64) -> bool {
    value.to_bits() == TEXT.to_bits()
}

/// Returns [`NAN`] for every NaN and other values unchanged, the sign of zero included. A NaN in the data is then never
/// taken for [`NULL`], and all NaNs sort alike.
#[must_use]
pub fn canonical(value: f64) -> f64 {
    if value.is_nan() { NAN } else { value }
}

/// The largest number of observations of a sweep: fits store row numbers in 32 bits.
pub const MAX_ROWS: usize = u32::MAX as usize;

/// The columns of a sweep: a range of rows of longer columns. `columns[i]` is the `i`-th column of the sweep.
#[derive(Debug, Clone, Copy)]
pub struct SweepColumns<'a> {
    columns: &'a [Vec<f64>],
    first_row: usize,
    end_row: usize,
}

impl<'a> SweepColumns<'a> {
    /// Returns a range of rows of some columns.
    ///
    /// # Panics
    /// If a column is shorter than the end of the range.
    #[must_use]
    pub fn new(columns: &'a [Vec<f64>], rows: Range<usize>) -> SweepColumns<'a> {
        assert!(columns.iter().all(|c| rows.end <= c.len()), "a column is too short");
        SweepColumns { columns, first_row: rows.start, end_row: rows.end }
    }

    /// Returns the columns in order.
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

/// A text in the place of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextCell {
    /// The name of the column that has the text: the column of the cell, or one that the cell is computed from.
    pub column: Arc<str>,
    /// The text; of a long one, the beginning.
    pub text: String,
}

/// The number of characters of a text that a [`TextCell`] keeps.
const TEXT_CHARACTERS: usize = 80;

impl TextCell {
    /// Returns the cell of a text in a column.
    #[must_use]
    pub fn new(column: &Arc<str>, text: &str) -> TextCell {
        TextCell { column: Arc::clone(column), text: text.chars().take(TEXT_CHARACTERS).collect() }
    }
}

/// The texts of cells that are [`TEXT`]: by file, row in the file, and index of the column.
///
/// The reader keeps a limited number of texts; the cells of others are [`TEXT`] alike.
#[derive(Debug, Clone, Default)]
pub struct TextCells(BTreeMap<(u32, u64, usize), TextCell>);

impl TextCells {
    /// Adds the text of a cell.
    pub fn insert(&mut self, (file, row, column): (u32, u64, usize), cell: TextCell) {
        self.0.insert((file, row, column), cell);
    }
}

/// The observations with one value of the key columns, in canonical order.
///
/// All slices have the length [`Sweep::len`]. Values may be null, NaN or infinite: the reader rejects nothing, and the
/// binding of a law decides which observations it can use.
#[derive(Debug, Clone)]
pub struct Sweep<'a> {
    /// The position among all sweeps of the input, in the order of their keys.
    pub index: usize,
    /// The columns, in the order of the request.
    pub columns: SweepColumns<'a>,
    /// The rank of each observation's cluster among all clusters of the input, if clusters are used. Only the order of
    /// the ranks within a sweep has a meaning: their values depend on the other sweeps.
    pub cluster: Option<&'a [u32]>,
    /// The index of each observation's input file.
    pub file: &'a [u32],
    /// The row of each observation in its input file, from 0.
    pub row: &'a [u64],
    /// The texts of cells that are [`TEXT`].
    pub texts: &'a TextCells,
    /// SHA-256 of the key's values, for seeding (see [`crate::input::digest`]). It does not depend on other sweeps.
    pub key_digest: [u8; 32],
}

impl Sweep<'_> {
    /// Returns the number of observations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.row.len()
    }

    /// Returns the text of a cell that is [`TEXT`]; `None` if it was not kept.
    #[must_use]
    pub fn text(&self, column: usize, row: usize) -> Option<&TextCell> {
        self.texts.0.get(&(self.file[row], self.row[row], column))
    }

    /// Returns whether the sweep has no observations, as in an input all of whose rows are dropped by the condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_differs_from_every_other_nan() {
        assert!(NULL.is_nan() && is_null(NULL));
        for other in [f64::NAN, -f64::NAN, -NULL, NAN, f64::INFINITY, 0.0] {
            assert!(!is_null(other));
        }
    }

    #[test]
    fn canonical_values_are_never_null() {
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
