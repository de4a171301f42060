//! Converts Arrow arrays to columns of the formula language, and these to the `f64`s of sweeps.
//!
//! Numbers are correctly rounded: an integer above 2⁵³ or a decimal becomes the double nearest to its value in the
//! file.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    Float64Type, Int64Type, TimeUnit, UInt64Type,
};
use arrow::error::ArrowError;
use std::fmt::Display;
use std::sync::Arc;

use crate::formula::{Column, Decimal, nearest_f64, number_in};
use crate::sweep::{NULL, TEXT, canonical};

/// The type of a column in the formula language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// Integers, floats, decimals, dictionaries of these, and columns of nulls alone.
    Number,
    /// Strings and dictionaries of strings.
    Text,
    /// Truth values.
    Bool,
    /// Dates and timestamps, with the type's name.
    Time(String),
    /// A type that expressions cannot use, with its name: times of day, binary, nested columns.
    Other(String),
}

/// Returns the type in the formula language of a column with an Arrow type.
#[must_use]
pub fn kind_of(data_type: &DataType) -> ColumnType {
    match data_type {
        DataType::Dictionary(_, values) => kind_of(values),
        DataType::Boolean => ColumnType::Bool,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::Text,
        // A column of nulls alone could have any type; it is read as missing numbers.
        DataType::Null => ColumnType::Number,
        t if t.is_integer() || t.is_floating() || t.is_decimal() => ColumnType::Number,
        t @ (DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)) => {
            ColumnType::Time(t.to_string())
        }
        t => ColumnType::Other(t.to_string()),
    }
}

/// Casts an array; a value that does not fit is an error, not a null.
pub(in crate::input) fn cast_exactly(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options)
}

/// Converts an array to a column of the formula language.
///
/// # Errors
/// If the type is [`ColumnType::Other`], or a cast fails.
pub fn to_column(array: &ArrayRef) -> Result<Column, ArrowError> {
    if let DataType::Dictionary(_, values) = array.data_type() {
        return to_column(&cast_exactly(array, values)?);
    }
    let valid = flags(array.nulls());
    Ok(match array.data_type() {
        DataType::Boolean => Column::Bool { values: array.as_boolean().values().iter().collect(), valid },
        DataType::Utf8 => Column::Text { values: texts(array.as_string::<i32>().iter()), valid },
        DataType::LargeUtf8 => Column::Text { values: texts(array.as_string::<i64>().iter()), valid },
        DataType::Utf8View => Column::Text { values: texts(array.as_string_view().iter()), valid },
        DataType::Null => {
            Column::Number { values: vec![0.0; array.len()], valid: Some(vec![false; array.len()]) }
        }
        DataType::Decimal32(_, scale) => narrow_decimals::<Decimal32Type>(array, *scale, valid),
        DataType::Decimal64(_, scale) => narrow_decimals::<Decimal64Type>(array, *scale, valid),
        DataType::Decimal128(_, scale) => narrow_decimals::<Decimal128Type>(array, *scale, valid),
        DataType::Decimal256(_, scale) => {
            Column::Number { values: decimals::<Decimal256Type>(array, *scale), valid }
        }
        DataType::Int64 if !fit_doubles(array.as_primitive::<Int64Type>().values()) => {
            exact::<Int64Type>(array, 0, valid)
        }
        DataType::UInt64 if !fit_doubles(array.as_primitive::<UInt64Type>().values()) => {
            exact::<UInt64Type>(array, 0, valid)
        }
        DataType::Date32 => instants(array, 86_400_000_000_000, valid)?,
        DataType::Date64 => instants(array, 1_000_000, valid)?,
        DataType::Timestamp(unit, _) => instants(array, nanoseconds(unit), valid)?,
        t if t.is_integer() || t.is_floating() => {
            let doubles = cast_exactly(array, &DataType::Float64)?;
            Column::Number { values: doubles.as_primitive::<Float64Type>().values().to_vec(), valid }
        }
        other => {
            return Err(ArrowError::NotYetImplemented(format!("a column of type {other}")));
        }
    })
}

/// Returns the instants of an array that holds them as integers, in units of so many nanoseconds.
fn instants(array: &ArrayRef, nanoseconds: i128, valid: Option<Vec<bool>>) -> Result<Column, ArrowError> {
    let integers = to_integers(array)?;
    let values = integers.as_primitive::<Int64Type>().values();
    Ok(Column::Time { values: values.iter().map(|v| i128::from(*v) * nanoseconds).collect(), valid })
}

/// Casts an array of dates, times or durations to their integers, of 64 bits.
pub(in crate::input) fn to_integers(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    // Arrow cannot cast `Date32` and `Time32` to 64 bits directly.
    let narrow = array.data_type().primitive_width() == Some(4);
    let own_width = cast_exactly(array, if narrow { &DataType::Int32 } else { &DataType::Int64 })?;
    cast_exactly(&own_width, &DataType::Int64)
}

/// Returns the number of nanoseconds in a unit of time.
pub(in crate::input) fn nanoseconds(unit: &TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// Returns the column of an array of integers, or of decimals with `scale` digits behind the point, without rounding.
fn exact<T: ArrowPrimitiveType<Native: Into<i128>>>(
    array: &ArrayRef,
    scale: u8,
    valid: Option<Vec<bool>>,
) -> Column {
    let values = array.as_primitive::<T>().values();
    Column::Decimal { values: values.iter().map(|v| (*v).into()).collect(), scale, valid }
}

/// Returns whether all integers are within ±2⁵³, where float64 holds every integer.
fn fit_doubles<T: Copy + Into<i128>>(values: &[T]) -> bool {
    values.iter().all(|v| (*v).into().unsigned_abs() <= 1 << f64::MANTISSA_DIGITS)
}

/// Converts a column of the formula language to an Arrow array, as a key column.
pub(in crate::input) fn to_array(column: &Column) -> ArrayRef {
    let nulls = |valid: &Option<Vec<bool>>| valid.as_ref().map(|v| NullBuffer::from(v.as_slice()));
    match column {
        Column::Number { values, valid } => {
            let values: Vec<f64> = values.iter().map(|v| canonical(*v)).collect();
            Arc::new(Float64Array::new(values.into(), nulls(valid)))
        }
        Column::Decimal { values, scale, valid } => {
            Arc::new(Float64Array::new(rounded(values, *scale).into(), nulls(valid)))
        }
        // The instants of a definition; every timestamp of 64 bits fits microseconds.
        Column::Time { values, valid } => {
            let values: Vec<i64> = values.iter().map(|v| v.div_euclid(1_000) as i64).collect();
            Arc::new(TimestampMicrosecondArray::new(values.into(), nulls(valid)))
        }
        Column::Bool { values, valid } => Arc::new(BooleanArray::new(values.clone().into(), nulls(valid))),
        Column::Text { values, valid } => Arc::new(StringArray::from_iter(
            values.iter().enumerate().map(|(i, text)| is_valid(valid, i).then_some(text)),
        )),
    }
}

/// Appends the numbers of a column, or of its rows `kept`, in the stored form of [`crate::sweep`]. Texts are read as
/// numbers. Returns false if the column contains neither.
#[must_use]
pub(in crate::input) fn store(column: &Column, kept: Option<&[u32]>, into: &mut Vec<f64>) -> bool {
    let nearest;
    let (values, valid) = match column {
        Column::Number { values, valid } => (values, valid),
        Column::Decimal { values, scale, valid } => {
            nearest = rounded(values, *scale);
            (&nearest, valid)
        }
        Column::Text { values, valid } => {
            // A text that is no number is not a NaN either.
            let stored = |i: usize| match number_in(&values[i]) {
                _ if !is_valid(valid, i) => NULL,
                number => number.map_or(TEXT, canonical),
            };
            match kept {
                Some(kept) => into.extend(kept.iter().map(|&i| stored(i as usize))),
                None => into.extend((0..values.len()).map(stored)),
            }
            return true;
        }
        _ => return false,
    };
    let stored = |i: usize| if is_valid(valid, i) { canonical(values[i]) } else { NULL };
    match kept {
        Some(kept) => into.extend(kept.iter().map(|&i| stored(i as usize))),
        None if valid.is_some() => into.extend((0..values.len()).map(stored)),
        None => into.extend(values.iter().copied().map(canonical)),
    }
    true
}

/// Returns the rows where a condition is true, and not false or null; `None` if the column is not one of truth values.
/// Row numbers fit 32 bits because batches are short.
pub(in crate::input) fn rows_where(condition: &Column) -> Option<Vec<u32>> {
    let Column::Bool { values, valid } = condition else {
        return None;
    };
    Some(
        (0..)
            .zip(values)
            .filter(|&(i, truth)| *truth && is_valid(valid, i as usize))
            .map(|(i, _)| i)
            .collect(),
    )
}

/// Returns whether a row is not null.
fn is_valid(valid: &Option<Vec<bool>>, row: usize) -> bool {
    valid.as_ref().is_none_or(|flags| flags[row])
}

/// Returns which rows are not null; `None` if there are no nulls.
fn flags(nulls: Option<&NullBuffer>) -> Option<Vec<bool>> {
    nulls.filter(|n| n.null_count() > 0).map(|n| n.iter().collect())
}

/// Returns the strings of a column, with an empty string for each null.
fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Vec<String> {
    values.map(|v| v.unwrap_or_default().to_owned()).collect()
}

/// Returns the doubles nearest to decimals.
fn rounded(values: &[i128], scale: u8) -> Vec<f64> {
    values.iter().map(|unscaled| Decimal { unscaled: *unscaled, scale }.to_f64()).collect()
}

/// Returns the column of an array of decimals whose digits fit 128 bits.
fn narrow_decimals<T: DecimalType<Native: Into<i128> + Display>>(
    array: &ArrayRef,
    scale: i8,
    valid: Option<Vec<bool>>,
) -> Column {
    match u8::try_from(scale) {
        Ok(scale) if !fit_doubles(array.as_primitive::<T>().values()) => exact::<T>(array, scale, valid),
        _ => Column::Number { values: decimals::<T>(array, scale), valid },
    }
}

/// Returns the doubles nearest to the values of a column of decimals.
fn decimals<T: DecimalType>(array: &ArrayRef, scale: i8) -> Vec<f64>
where
    T::Native: Display,
{
    array.as_primitive::<T>().values().iter().map(|value| nearest_f64(&value.to_string(), scale)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Decimal32Array, Decimal128Array, Decimal256Array, DictionaryArray, Float32Array, Int8Array,
        Int64Array, NullArray, StringViewArray, UInt64Array,
    };
    use arrow::buffer::ScalarBuffer;
    use arrow::datatypes::{Int8Type, i256};

    fn stored(array: impl Array + 'static) -> Vec<f64> {
        let array: ArrayRef = Arc::new(array);
        let column = to_column(&array).expect("a column");
        let mut values = Vec::new();
        assert!(store(&column, None, &mut values), "{}", array.data_type());
        values
    }

    #[test]
    fn integers_above_2_to_53_round_to_nearest_even() {
        let values = stored(Int64Array::from(vec![9007199254740993, 9007199254740995, -9007199254740993]));
        assert_eq!(values, [9007199254740992.0, 9007199254740996.0, -9007199254740992.0]);
        assert_eq!(stored(UInt64Array::from(vec![u64::MAX])), [18446744073709551616.0]);
    }

    #[test]
    fn decimals_give_the_nearest_double() {
        // Expected bits are those of CPython's `float(Decimal(text))`.
        let wide = Decimal128Array::from(vec![12345678901234567890123, 100]);
        let wide = wide.with_precision_and_scale(38, 3).expect("a type");
        assert_eq!(stored(wide), [f64::from_bits(0x43e5_6a95_319d_63e1), 0.1]);
        let whole = Decimal128Array::from(vec![9007199254740993, 123456789012345678901234567890]);
        let whole = whole.with_precision_and_scale(38, 0).expect("a type");
        let bits: Vec<u64> = stored(whole).iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [0x4340_0000_0000_0000, 0x45f8_ee90_ff6c_373e]);
        let tiny = Decimal128Array::from(vec![-1]).with_precision_and_scale(38, 30).expect("a type");
        assert_eq!(stored(tiny)[0].to_bits(), 0xb9b4_484b_feeb_c2a0);
        let hundreds = Decimal32Array::from(vec![17]).with_precision_and_scale(5, -2).expect("a type");
        assert_eq!(stored(hundreds), [1700.0]);
        let text = "3402823669209384634633746074317682114553402823669";
        let huge = Decimal256Array::from(vec![i256::from_string(text).expect("a number")]);
        let huge = huge.with_precision_and_scale(60, 1).expect("a type");
        assert_eq!(stored(huge)[0].to_bits(), 0x49cd_cd65_0000_0000);
    }

    #[test]
    fn nulls_and_nans_are_distinguished() {
        let null_bits = Float64Array::new(ScalarBuffer::from(vec![NULL, 0.0, f64::INFINITY]), None);
        let values = stored(null_bits);
        assert!(values[0].is_nan() && !crate::sweep::is_null(values[0]));
        assert_eq!(values[2], f64::INFINITY);
        let values = stored(Float32Array::from(vec![Some(0.1), None]));
        assert_eq!(values[0], f64::from(0.1f32));
        assert!(crate::sweep::is_null(values[1]));
        assert!(stored(NullArray::new(2)).iter().all(|v| crate::sweep::is_null(*v)));
    }

    #[test]
    fn dictionaries_are_read_as_their_values() {
        let keys = Int8Array::from(vec![Some(1), None, Some(0), Some(2)]);
        let values = Arc::new(Int64Array::from(vec![Some(10), Some(20), None]));
        let dictionary = DictionaryArray::<Int8Type>::new(keys, values);
        assert_eq!(kind_of(dictionary.data_type()), ColumnType::Number);
        let values = stored(dictionary);
        assert_eq!((values[0], values[2]), (20.0, 10.0));
        assert!(crate::sweep::is_null(values[1]) && crate::sweep::is_null(values[3]));

        let text: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
        let Column::Text { values, valid } = to_column(&(Arc::new(text) as ArrayRef)).expect("text") else {
            panic!("a dictionary of strings is text");
        };
        assert_eq!((values[0].as_str(), values[2].as_str()), ("a", "b"));
        assert_eq!(valid, Some(vec![true, false, true]));
        let views: ArrayRef = Arc::new(StringViewArray::from(vec!["long enough not to be inlined"]));
        assert!(
            matches!(to_column(&views), Ok(Column::Text { values, .. }) if values[0].starts_with("long"))
        );
    }

    #[test]
    fn a_condition_keeps_rows_where_it_is_true() {
        let truth = Column::Bool { values: vec![true, false, true], valid: Some(vec![true, true, false]) };
        assert_eq!(rows_where(&truth), Some(vec![0]));
        assert_eq!(rows_where(&Column::Number { values: vec![1.0], valid: None }), None);
    }
}
