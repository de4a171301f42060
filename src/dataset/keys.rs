//! Values of any type become small numbers: the groups that `--by` makes, and clusters.
//!
//! Equality and order are those of arrow's row format: nulls are a value and come first, text is compared by bytes,
//! floats by IEEE 754's total order. So −0.0 and 0.0 are two keys, as are NaNs of different bits; a key in floats
//! that were computed is seldom what one wants. Dictionaries count as their values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::convert::cast_exactly;
use super::error::DatasetError;

/// Gives equal rows of key columns equal numbers, in the order of first appearance.
pub(super) struct Interner {
    converter: RowConverter,
    numbers: HashMap<Box<[u8]>, u32>,
    what: &'static str,
}

/// The distinct keys of an [`Interner`] in ascending order.
pub(super) struct Ranked {
    /// For each number given out its place in the order.
    pub(super) rank: Vec<u32>,
    /// The key columns, one row per distinct key, ascending.
    pub(super) columns: Vec<ArrayRef>,
}

impl Interner {
    /// For key columns of these types, none of them a dictionary; `what` names the keys in errors.
    pub(super) fn new(types: &[DataType], what: &'static str) -> Result<Self, ArrowError> {
        let fields = types.iter().cloned().map(SortField::new).collect();
        Ok(Self { converter: RowConverter::new(fields)?, numbers: HashMap::new(), what })
    }

    /// Whether columns of this type can be keys.
    pub(super) fn supports(data_type: &DataType) -> bool {
        RowConverter::supports_fields(&[SortField::new(data_type.clone())])
    }

    /// The row format of key columns of equal lengths, for [`Interner::number`].
    pub(super) fn encode(&self, columns: &[ArrayRef]) -> Result<arrow::row::Rows, ArrowError> {
        self.converter.convert_columns(columns)
    }

    /// Appends the number of each row's key.
    pub(super) fn number(
        &mut self,
        rows: &arrow::row::Rows,
        into: &mut Vec<u32>,
    ) -> Result<(), DatasetError> {
        // Rows of one sweep mostly stand together, and comparing is cheaper than hashing.
        let mut previous: Option<(&[u8], u32)> = None;
        for row in rows {
            let key = row.data();
            let number = match previous {
                Some((same, number)) if same == key => number,
                _ => self.number_one(key)?,
            };
            previous = Some((key, number));
            into.push(number);
        }
        Ok(())
    }

    fn number_one(&mut self, key: &[u8]) -> Result<u32, DatasetError> {
        if let Some(&number) = self.numbers.get(key) {
            return Ok(number);
        }
        let number = u32::try_from(self.numbers.len())
            .map_err(|_| DatasetError::TooMany { what: self.what, limit: u64::from(u32::MAX) })?;
        self.numbers.insert(key.into(), number);
        Ok(number)
    }

    /// Sorts the distinct keys. Which number a key was given does not show in the result.
    pub(super) fn finish(self) -> Result<Ranked, ArrowError> {
        let mut keys: Vec<(Box<[u8]>, u32)> = self.numbers.into_iter().collect();
        // The row format compares like its values, byte by byte.
        keys.sort_unstable();
        let mut rank = vec![0; keys.len()];
        for (place, (_, number)) in (0..).zip(&keys) {
            rank[*number as usize] = place;
        }
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(keys.iter().map(|(key, _)| parser.parse(key)))?;
        Ok(Ranked { rank, columns })
    }
}

/// Key values in the type that the output shows.
///
/// A dictionary may have gathered more values from several files than its keys can count; then its keys become
/// `int32`, and where even that is impossible the values are shown plain.
pub(super) fn present(values: &ArrayRef, data_type: &DataType) -> ArrayRef {
    let wanted = cast_exactly(values, data_type);
    let widened = |_| {
        let plain = Box::new(values.data_type().clone());
        cast_exactly(values, &DataType::Dictionary(Box::new(DataType::Int32), plain))
    };
    wanted.or_else(widened).unwrap_or_else(|_: ArrowError| Arc::clone(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray, Int32Array, StringArray};
    use arrow::datatypes::Int32Type;

    fn ranks(interner: &mut Interner, columns: &[ArrayRef]) -> Vec<u32> {
        let mut numbers = Vec::new();
        let rows = interner.encode(columns).expect("rows");
        interner.number(&rows, &mut numbers).expect("numbers");
        numbers
    }

    #[test]
    fn nulls_are_a_key_and_come_first() {
        let mut interner = Interner::new(&[DataType::Utf8, DataType::Int32], "keys").expect("types");
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), Some("a"), None, Some("b"), None]));
        let sizes: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(-5), Some(7), None, Some(7)]));
        assert_eq!(ranks(&mut interner, &[names, sizes]), [0, 1, 2, 3, 2]);
        let ranked = interner.finish().expect("ranks");
        assert_eq!(ranked.rank, [3, 1, 0, 2]);
        let shown: Vec<_> = ranked.columns[0].as_string::<i32>().iter().collect();
        assert_eq!(shown, [None, Some("a"), Some("b"), Some("b")]);
        let shown: Vec<_> = ranked.columns[1].as_primitive::<Int32Type>().iter().collect();
        assert_eq!(shown, [Some(7), Some(-5), None, Some(1)]);
    }

    #[test]
    fn a_dictionary_that_is_full_gets_wider_keys() {
        let values: ArrayRef = Arc::new(StringArray::from_iter_values((0..200).map(|i| format!("{i:03}"))));
        let narrow = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        let shown = present(&values, &narrow);
        assert_eq!(
            *shown.data_type(),
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        );
        assert_eq!(present(&values.slice(0, 100), &narrow).data_type(), &narrow);
    }
}
