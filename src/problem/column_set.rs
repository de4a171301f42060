//! Columns of one length, stored in one vector that is refilled from sweep to sweep.
//!
//! Infinite values are encoded as a finite number ([`LN_ZERO`] or its negative), so that products with them stay
//! finite.

use std::ops::Index;

use crate::law::{DataColumn, LN_ZERO};

/// Columns of equal length; `set[i]` is the i-th.
#[derive(Debug, Default, PartialEq)]
pub struct ColumnSet {
    rows: usize,
    values: Vec<f64>,
}

impl ColumnSet {
    /// Removes all columns and sets the number of rows.
    pub fn clear(&mut self, rows: usize) {
        self.rows = rows;
        self.values.clear();
    }

    /// Makes room for `count` more columns, without any beyond them.
    pub fn reserve(&mut self, count: usize) {
        self.values.reserve_exact(count * self.rows);
    }

    /// Returns some of the columns, by their indices.
    #[must_use]
    pub fn select(self, columns: &[u32]) -> ColumnSet {
        if self.values.len() == columns.len() * self.rows {
            // Indices ascend, so these are all columns.
            return self;
        }
        let mut selected = ColumnSet { rows: self.rows, values: Vec::new() };
        selected.reserve(columns.len());
        columns.iter().for_each(|&column| selected.values.extend_from_slice(&self[column as usize]));
        selected
    }

    /// Returns the columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.rows.max(1))
    }

    /// Returns all values, column by column.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.values.iter_mut()
    }

    /// Keeps the rows for which `keep` is true.
    pub fn retain(&mut self, keep: &[bool]) {
        if let kept @ 1.. = self.rows {
            self.rows = keep.iter().filter(|k| **k).count();
            let mut place = 0;
            self.values.retain(|_| {
                place += 1;
                keep[(place - 1) % kept]
            });
        }
    }

    /// Appends the columns of a model, made from the values of its data expressions and of held parameters (NaN where a value
    /// is not given), and the weighted mean of each.
    pub fn derive(
        &mut self,
        data_columns: &[DataColumn],
        (sources, held): (&ColumnSet, &[f64]),
        weight: &[f64],
        means: &mut Vec<f64>,
    ) {
        means.clear();
        self.reserve(data_columns.len());
        for &column in data_columns {
            let from = match column {
                DataColumn::Source(i) => {
                    self.values.extend_from_slice(&sources[i as usize]);
                    means.push(mean(&sources[i as usize], weight));
                    continue;
                }
                DataColumn::Held(i) => {
                    let value = held.get(i as usize).copied().unwrap_or(f64::NAN);
                    self.values.extend(std::iter::repeat_n(value, self.rows));
                    means.push(value);
                    continue;
                }
                DataColumn::Unary(_, from)
                | DataColumn::Inverse(from)
                | DataColumn::Centred(from)
                | DataColumn::Least(from)
                | DataColumn::Greatest(from) => from as usize * self.rows,
            };
            let place = self.values.len();
            self.values.extend_from_within(from..from + self.rows);
            let values = &mut self.values[place..];
            match column {
                DataColumn::Unary(op, _) => {
                    values.iter_mut().for_each(|x| *x = encode_infinity(op.apply(decode_infinity(*x))))
                }
                DataColumn::Inverse(_) => {
                    values.iter_mut().for_each(|x| *x = encode_infinity(1.0 / decode_infinity(*x)))
                }
                DataColumn::Least(_) => {
                    let numbers = values.iter().copied().filter(|x| !is_encoded_infinity(*x));
                    let least = numbers.fold(f64::INFINITY, f64::min);
                    values.fill(least);
                }
                DataColumn::Greatest(_) => {
                    let numbers = values.iter().copied().filter(|x| !is_encoded_infinity(*x));
                    let greatest = numbers.fold(f64::NEG_INFINITY, f64::max);
                    values.fill(greatest);
                }
                _ => {
                    let centre = mean(values, weight);
                    values.iter_mut().filter(|x| !is_encoded_infinity(**x)).for_each(|x| *x -= centre);
                }
            }
            means.push(mean(values, weight));
        }
    }
}

impl Clone for ColumnSet {
    fn clone(&self) -> Self {
        ColumnSet { rows: self.rows, values: self.values.clone() }
    }

    fn clone_from(&mut self, other: &Self) {
        self.rows = other.rows;
        self.values.clone_from(&other.values);
    }
}

/// Appends a column, one value per row.
impl Extend<f64> for ColumnSet {
    fn extend<T: IntoIterator<Item = f64>>(&mut self, column: T) {
        let end = self.values.len() + self.rows;
        self.values.extend(column);
        debug_assert_eq!(self.values.len(), end, "a column of another length");
    }
}

impl Index<usize> for ColumnSet {
    type Output = [f64];

    fn index(&self, column: usize) -> &[f64] {
        &self.values[column * self.rows..(column + 1) * self.rows]
    }
}

/// Returns the finite number that encodes an infinite `x`, or `x` itself.
pub fn encode_infinity(x: f64) -> f64 {
    if x.is_infinite() { LN_ZERO.copysign(x) } else { x }
}

/// Returns whether `x` is finite and encodes no infinity.
#[must_use]
pub fn is_number(x: f64) -> bool {
    x.is_finite() && !is_encoded_infinity(x)
}

/// Returns whether `x` encodes an infinity.
pub fn is_encoded_infinity(x: f64) -> bool {
    x.abs() == LN_ZERO.abs()
}

/// Returns the infinity that `x` encodes, or `x` itself.
fn decode_infinity(x: f64) -> f64 {
    if is_encoded_infinity(x) { f64::INFINITY.copysign(x) } else { x }
}

/// Returns the weighted mean of a column, without encoded infinities.
fn mean(values: &[f64], weight: &[f64]) -> f64 {
    let counted = || values.iter().zip(weight).filter(|(x, _)| !is_encoded_infinity(**x));
    // Rounding must not turn a constant column into one with a spread, which would seem to determine an exponent.
    if let Some((first, _)) = counted().next()
        && counted().all(|(x, _)| x == first)
    {
        return *first;
    }
    let total: f64 = counted().map(|(_, w)| w).sum();
    let sum: f64 = counted().map(|(x, w)| w * x).sum();
    if total > 0.0 { sum / total } else { 0.0 }
}
