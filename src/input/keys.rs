//! Numbers the distinct values of key columns of any type.
//!
//! Equality and order are those of SQL: nulls are equal to each other and come first, text is compared by bytes, −0.0
//! equals 0.0, and all NaNs are equal and come last. Dictionaries are compared by their values. Keys are compared in
//! arrow's row format, which tells floats apart by their bits, so floats are made [canonical](canonical_floats) first.

use std::ops::Range;
use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::{partition, take};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::row::{Row, RowConverter, Rows, SortField};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rayon::prelude::*;

use super::convert::cast_exactly;
use crate::error::Error;

/// Numbers the distinct rows of key columns, in the order of first appearance.
pub(in crate::input) struct Interner {
    converter: RowConverter,
    /// The distinct keys; the row of a key is its number.
    keys: Rows,
    /// The numbers of `keys`, by the hashes of the keys.
    numbers: HashTable<u32>,
    hasher: RandomState,
    /// The name of the keys in errors.
    what: &'static str,
    /// The bytes of the distinct keys, and the most that there may be.
    bytes: u64,
    most_bytes: u64,
}

/// The distinct keys of an [`Interner`] in ascending order.
pub(in crate::input) struct Ranked {
    /// The rank of each numbered key.
    pub(in crate::input) rank: Vec<u32>,
    /// The key columns, one row per distinct key, in ascending order.
    pub(in crate::input) columns: Vec<ArrayRef>,
}

impl Interner {
    /// Returns an interner for key columns of some types, none of them a dictionary. `what` names the keys in errors;
    /// the distinct keys have at most `most_bytes`.
    pub(in crate::input) fn new(
        types: &[DataType],
        what: &'static str,
        most_bytes: u64,
    ) -> Result<Self, ArrowError> {
        let fields = types.iter().cloned().map(SortField::new).collect();
        let converter = RowConverter::new(fields)?;
        let keys = converter.empty_rows(0, 0);
        Ok(Self {
            converter,
            keys,
            numbers: HashTable::new(),
            hasher: RandomState::default(),
            what,
            bytes: 0,
            most_bytes,
        })
    }

    /// Returns whether columns of a type can be keys.
    pub(in crate::input) fn supports(data_type: &DataType) -> bool {
        RowConverter::supports_fields(&[SortField::new(data_type.clone())])
    }

    /// Converts key columns of equal lengths to the row format; each row is a key for [`Interner::number`].
    pub(in crate::input) fn encode(&self, columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
        self.converter.convert_columns(columns)
    }

    /// Returns the number of a key; `None` if it has none.
    pub(in crate::input) fn known(&self, key: Row) -> Option<u32> {
        let same = |number: &u32| self.keys.row(*number as usize).data() == key.data();
        self.numbers.find(self.hasher.hash_one(key.data()), same).copied()
    }

    /// Returns the bytes that the distinct keys take in memory, without what is allocated ahead.
    pub(in crate::input) fn bytes(&self) -> u64 {
        // Beside a key: its place among the keys, and its number in the hash table.
        self.bytes + 24 * self.keys.num_rows() as u64
    }

    /// Returns the number of a key; a new key gets the next number.
    pub(in crate::input) fn number(&mut self, key: Row) -> Result<u32, Error> {
        let Self { keys, numbers, hasher, what, bytes, most_bytes, .. } = self;
        let hash = |key: Row| hasher.hash_one(key.data());
        let same = |number: &u32| keys.row(*number as usize).data() == key.data();
        let vacant = match numbers.entry(hash(key), same, |number| hash(keys.row(*number as usize))) {
            Entry::Occupied(known) => return Ok(*known.get()),
            Entry::Vacant(vacant) => vacant,
        };
        let number = u32::try_from(keys.num_rows())
            .map_err(|_| Error::TooMany { what, limit: u64::from(u32::MAX) })?;
        *bytes += key.data().len() as u64;
        if *bytes > *most_bytes {
            return Err(Error::TooMany { what: "bytes of distinct keys", limit: *most_bytes });
        }
        vacant.insert(number);
        keys.push(key);
        Ok(number)
    }

    /// Returns the distinct keys in ascending order.
    pub(in crate::input) fn ranked(&self) -> Result<Ranked, ArrowError> {
        let Self { converter, keys, numbers, .. } = self;
        let mut order: Vec<u32> = (0..numbers.len() as u32).collect();
        // The bytes of the row format are ordered like the values.
        order.par_sort_unstable_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        let mut rank = vec![0; order.len()];
        for (place, number) in (0..).zip(&order) {
            rank[*number as usize] = place;
        }
        let columns = converter.convert_rows(order.iter().map(|number| keys.row(*number as usize)))?;
        Ok(Ranked { rank, columns })
    }
}

/// Runs of consecutive rows with equal keys. Only the first row of each run is converted, encoded and looked up, which
/// is cheaper because the rows of a sweep are usually adjacent.
pub(in crate::input) struct EqualRows {
    ranges: Vec<Range<usize>>,
    rows: usize,
}

impl EqualRows {
    /// Returns the runs of key columns of equal lengths. The columns may be dictionaries.
    pub(in crate::input) fn of(columns: &[ArrayRef]) -> Result<Self, ArrowError> {
        let rows = columns.first().map_or(0, |c| c.len());
        Ok(Self { ranges: partition(columns)?.ranges(), rows })
    }

    /// Returns the rows of each run.
    pub(in crate::input) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.ranges.iter().cloned()
    }

    /// Returns a column's values in the first row of each run.
    pub(in crate::input) fn firsts(&self, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        if self.ranges.len() == self.rows {
            return Ok(Arc::clone(column));
        }
        // Row numbers fit 32 bits because batches are short.
        take(column, &UInt32Array::from_iter_values(self.ranges().map(|run| run.start as u32)), None)
    }
}

/// Returns floats with 0.0 in place of −0.0 and one NaN in place of all; other values unchanged.
pub(in crate::input) fn canonical_floats(values: ArrayRef) -> ArrayRef {
    macro_rules! canonical {
        ($float:ty) => {{
            type Native = <$float as ArrowPrimitiveType>::Native;
            // −0.0 + 0.0 is 0.0.
            let canonical = |x: Native| if x.is_nan() { Native::NAN } else { x + Native::default() };
            Arc::new(values.as_primitive::<$float>().unary::<_, $float>(canonical))
        }};
    }
    match values.data_type() {
        DataType::Float16 => canonical!(Float16Type),
        DataType::Float32 => canonical!(Float32Type),
        DataType::Float64 => canonical!(Float64Type),
        _ => values,
    }
}

/// Casts key values to their type in the output.
///
/// The values of a dictionary column, collected from several files, may be too many for its index type. The index type
/// is then `int32`; if there are too many for `int32`, the values are not dictionary-encoded.
pub(in crate::input) fn to_output_type(values: &ArrayRef, data_type: &DataType) -> ArrayRef {
    let wanted = cast_exactly(values, data_type);
    let widened = |_| {
        let value_type = Box::new(values.data_type().clone());
        cast_exactly(values, &DataType::Dictionary(Box::new(DataType::Int32), value_type))
    };
    wanted.or_else(widened).unwrap_or_else(|_: ArrowError| Arc::clone(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, DictionaryArray, Float32Array, Float64Array, Int32Array, StringArray};
    use arrow::datatypes::Int32Type;

    fn ranks(interner: &mut Interner, columns: &[ArrayRef]) -> Vec<u32> {
        let runs = EqualRows::of(columns).expect("runs");
        let firsts: Vec<_> = columns.iter().map(|c| runs.firsts(c).expect("rows")).collect();
        numbers(interner, &firsts, &runs)
    }

    /// Returns the number of every row's key.
    fn numbers(interner: &mut Interner, firsts: &[ArrayRef], runs: &EqualRows) -> Vec<u32> {
        let keys = interner.encode(firsts).expect("keys");
        let number = |(key, run): (Row, Range<usize>)| {
            std::iter::repeat_n(interner.number(key).expect("a number"), run.len())
        };
        keys.iter().zip(runs.ranges()).flat_map(number).collect()
    }

    #[test]
    fn nulls_are_a_key_and_come_first() {
        let mut interner =
            Interner::new(&[DataType::Utf8, DataType::Int32], "keys", u64::MAX).expect("types");
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), Some("a"), None, Some("b"), None]));
        let sizes: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(-5), Some(7), None, Some(7)]));
        assert_eq!(ranks(&mut interner, &[names, sizes]), [0, 1, 2, 3, 2]);
        let ranked = interner.ranked().expect("ranks");
        assert_eq!(ranked.rank, [3, 1, 0, 2]);
        let shown: Vec<_> = ranked.columns[0].as_string::<i32>().iter().collect();
        assert_eq!(shown, [None, Some("a"), Some("b"), Some("b")]);
        let shown: Vec<_> = ranked.columns[1].as_primitive::<Int32Type>().iter().collect();
        assert_eq!(shown, [Some(7), Some(-5), None, Some(1)]);
    }

    #[test]
    fn equal_keys_get_one_number_whether_adjacent_or_not() {
        let values = StringArray::from(vec![Some("a"), Some("b"), Some("a"), None]);
        // A null index and a null value are the same null; the dictionary contains "a" twice.
        let places = Int32Array::from(vec![Some(0), Some(2), Some(0), None, Some(3), Some(1), Some(2), None]);
        let column: ArrayRef = Arc::new(DictionaryArray::new(places, Arc::new(values)));
        let runs = EqualRows::of(std::slice::from_ref(&column)).expect("runs");
        let firsts = runs.firsts(&column).expect("rows");
        assert_eq!(firsts.len(), 5);
        let mut interner = Interner::new(&[DataType::Utf8], "keys", u64::MAX).expect("types");
        let plain = [cast_exactly(&firsts, &DataType::Utf8).expect("text")];
        assert_eq!(numbers(&mut interner, &plain, &runs), [0, 0, 0, 1, 1, 2, 0, 1]);
        assert_eq!(interner.ranked().expect("ranks").rank, [1, 0, 2]);
    }

    #[test]
    fn zeros_of_both_signs_are_one_key_and_all_nans_another() {
        let bits = [0, 1 << 63, f64::NAN.to_bits(), (-f64::NAN).to_bits(), 0x7ff0_0000_0000_0001];
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(bits.map(f64::from_bits)));
        let mut interner = Interner::new(&[DataType::Float64], "keys", u64::MAX).expect("types");
        assert_eq!(ranks(&mut interner, &[canonical_floats(values)]), [0, 0, 1, 1, 1]);
        let values: ArrayRef = Arc::new(Float32Array::from(vec![Some(-0.0), None, Some(1.5), Some(0.0)]));
        let mut interner = Interner::new(&[DataType::Float32], "keys", u64::MAX).expect("types");
        assert_eq!(ranks(&mut interner, &[canonical_floats(values)]), [0, 1, 2, 0]);
    }

    #[test]
    fn a_dictionary_with_too_many_values_gets_a_wider_index_type() {
        let values: ArrayRef = Arc::new(StringArray::from_iter_values((0..200).map(|i| format!("{i:03}"))));
        let narrow = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        let shown = to_output_type(&values, &narrow);
        assert_eq!(
            *shown.data_type(),
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        );
        assert_eq!(to_output_type(&values.slice(0, 100), &narrow).data_type(), &narrow);
    }
}
