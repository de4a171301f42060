//! Collects rows, batch by batch, in the columns that a request asks for.

use super::batch::{Batch, not_of_type};
use super::convert::store;
use super::request::Request;
use crate::error::Error;
use crate::formula::Columns;
use crate::sweep::{TEXT, TextCell, TextCells};

/// Rows that were read and not yet returned, in the order of the input.
pub(in crate::input) struct RowBuffer {
    pub(in crate::input) columns: Vec<Vec<f64>>,
    pub(in crate::input) file: Vec<u32>,
    pub(in crate::input) row: Vec<u64>,
    /// Texts in the place of numbers, each with its row in this buffer and the index of its column.
    texts: Vec<(usize, usize, TextCell)>,
}

/// The number of texts in the place of numbers that are kept at a time, which bounds their memory.
const MOST_TEXTS: usize = 1 << 18;

impl RowBuffer {
    pub(in crate::input) fn new(request: &Request) -> RowBuffer {
        RowBuffer {
            columns: vec![Vec::new(); request.columns.len()],
            file: Vec::new(),
            row: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// Reserves memory for `rows` rows in total, because growing step by step copies them and needs more memory. A
    /// failure is ignored: the number comes from the files and may be wrong, and not all rows may be kept.
    pub(in crate::input) fn reserve(&mut self, rows: usize) {
        let more = rows.saturating_sub(self.row.len());
        let fits = self.columns.iter_mut().all(|c| c.try_reserve_exact(more).is_ok());
        let _ = fits && self.file.try_reserve_exact(more).is_ok() && self.row.try_reserve_exact(more).is_ok();
    }

    /// Appends the rows of a batch where the condition holds.
    pub(in crate::input) fn add(&mut self, batch: &Batch, request: &Request) -> Result<(), Error> {
        let (origin, kept, n_kept) = (&batch.origin, batch.kept.as_deref(), batch.n_kept());
        if n_kept == 0 {
            return Ok(());
        }
        for (c, (name, stored)) in request.columns.iter().zip(&mut self.columns).enumerate() {
            let column =
                batch.column(name).ok_or_else(|| origin.corrupt(format!("column `{name}` is missing")))?;
            let first = stored.len();
            if !store(column, kept, stored) {
                return Err(not_of_type(name, "a number"));
            }
            // A text that is not a number is NaN too, read as it is or within a definition.
            if !stored[first..].iter().any(|x| x.is_nan()) {
                continue;
            }
            for (row, cell) in batch.texts(name) {
                let place = kept.map_or(Ok(row as usize), |kept| kept.binary_search(&row));
                let Ok(place) = place else { continue };
                stored[first + place] = TEXT;
                if self.texts.len() < MOST_TEXTS {
                    self.texts.push((first + place, c, cell));
                }
            }
        }
        self.file.resize(self.file.len() + n_kept, origin.index);
        match kept {
            Some(kept) => self.row.extend(kept.iter().map(|&i| origin.first_row + u64::from(i))),
            None => self.row.extend(origin.first_row..origin.first_row + batch.rows as u64),
        }
        Ok(())
    }

    /// Appends rows that follow in the order of the input.
    pub(in crate::input) fn append(&mut self, mut next: RowBuffer) {
        let before = self.row.len();
        for (stored, more) in self.columns.iter_mut().zip(&mut next.columns) {
            stored.append(more);
        }
        self.file.append(&mut next.file);
        self.row.append(&mut next.row);
        let left = MOST_TEXTS.saturating_sub(self.texts.len());
        let texts = next.texts.into_iter().take(left);
        self.texts.extend(texts.map(|(place, column, cell)| (before + place, column, cell)));
    }

    /// Removes the first `rows` rows and returns them, with their texts apart.
    pub(in crate::input) fn split(&mut self, rows: usize) -> (RowBuffer, TextCells) {
        fn first<T: Copy>(values: &mut Vec<T>, rows: usize) -> Vec<T> {
            let rest = values[rows..].to_vec();
            let mut first = std::mem::replace(values, rest);
            first.truncate(rows);
            first
        }
        let split = RowBuffer {
            columns: self.columns.iter_mut().map(|c| first(c, rows)).collect(),
            file: first(&mut self.file, rows),
            row: first(&mut self.row, rows),
            texts: Vec::new(),
        };
        let mut texts = TextCells::default();
        for (place, column, cell) in std::mem::take(&mut self.texts) {
            if place < rows {
                texts.insert((split.file[place], split.row[place], column), cell);
            } else {
                self.texts.push((place - rows, column, cell));
            }
        }
        (split, texts)
    }
}
