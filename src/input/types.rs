//! Finds a common type for a key column that has different types in different files.
//!
//! A common type of two types holds every value of both: `int64` for `int32` and `int64`, `string` for a dictionary of
//! strings and `string`. `int64` and `double` have none, because an `int64` may lie between two doubles, and rounding a
//! key could merge sweeps.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, make_array, timezone::Tz};
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::error::ArrowError;

/// Returns the type of a dictionary's values; any other type is returned unchanged.
#[must_use]
pub fn value_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => value_type(values),
        other => other,
    }
}

/// Returns a column with the time zone `+00:00` in place of every time zone with a name, such as `UTC`, in nested columns too.
/// Arrow can then display its values; it displays instants in zones with an offset alone, unless it has a table of zones.
///
/// # Errors
/// If the column is not a valid one.
pub fn with_zone_offsets(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    fn changed(data: ArrayData, to: &DataType) -> Result<ArrayData, ArrowError> {
        if data.data_type() == to {
            return Ok(data);
        }
        let children = data.child_data().iter().cloned().zip(child_types(to));
        let children = children.map(|(child, to)| changed(child, &to)).collect::<Result<Vec<_>, _>>()?;
        data.into_builder().data_type(to.clone()).child_data(children).build()
    }
    let to = zone_offsets(column.data_type());
    if *column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    changed(column.to_data(), &to).map(make_array)
}

/// Returns a type with the time zone `+00:00` in place of every time zone with a name.
fn zone_offsets(data_type: &DataType) -> DataType {
    use DataType::{Dictionary, FixedSizeList, LargeList, List, Map, Struct, Timestamp};
    let of_field =
        |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_data_type(zone_offsets(field.data_type())));
    match data_type {
        Timestamp(unit, Some(zone)) if zone.parse::<Tz>().is_err() => Timestamp(*unit, Some("+00:00".into())),
        List(field) => List(of_field(field)),
        LargeList(field) => LargeList(of_field(field)),
        FixedSizeList(field, size) => FixedSizeList(of_field(field), *size),
        Struct(fields) => Struct(fields.iter().map(of_field).collect()),
        Map(field, sorted) => Map(of_field(field), *sorted),
        Dictionary(index, values) => Dictionary(index.clone(), Box::new(zone_offsets(values))),
        other => other.clone(),
    }
}

/// Returns the types of the columns that a nested column consists of.
fn child_types(data_type: &DataType) -> Vec<DataType> {
    use DataType::{Dictionary, FixedSizeList, LargeList, List, Map, Struct};
    match data_type {
        List(field) | LargeList(field) | FixedSizeList(field, _) | Map(field, _) => {
            vec![field.data_type().clone()]
        }
        Struct(fields) => fields.iter().map(|field| field.data_type().clone()).collect(),
        Dictionary(_, values) => vec![values.as_ref().clone()],
        _ => Vec::new(),
    }
}

/// Returns a type that holds every value of both types, if there is one.
#[must_use]
pub fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Float64, LargeBinary, LargeUtf8, Null, Timestamp, Utf8, Utf8View,
    };
    if a == b {
        return Some(a.clone());
    }
    match (value_type(a), value_type(b)) {
        // Only the encoding differs.
        (a, b) if a == b => Some(a.clone()),
        (Null, _) => Some(b.clone()),
        (_, Null) => Some(a.clone()),
        (LargeUtf8, Utf8 | Utf8View) | (Utf8 | Utf8View, LargeUtf8) => Some(LargeUtf8),
        (Utf8, Utf8View) | (Utf8View, Utf8) => Some(Utf8),
        (LargeBinary, Binary | BinaryView) | (Binary | BinaryView, LargeBinary) => Some(LargeBinary),
        (Binary, BinaryView) | (BinaryView, Binary) => Some(Binary),
        (Date32, Date64) | (Date64, Date32) => Some(Date64),
        (Timestamp(u, zone), Timestamp(v, other)) if zone == other => {
            Some(Timestamp(finer(*u, *v), zone.clone()))
        }
        (a, b) if a.is_integer() && b.is_integer() => common_integer(a, b),
        (a, b) if a.is_floating() && b.is_floating() => Some(wider(a, b)),
        (a, b) if fits_double(a) && fits_double(b) => Some(Float64),
        (a, b) => common_decimal(a, b),
    }
}

/// Returns the number of bits of an integer type, and whether it is signed.
fn integer(data_type: &DataType) -> (u32, bool) {
    let bits = data_type.primitive_width().map_or(0, |bytes| 8 * bytes as u32);
    (bits, data_type.is_signed_integer())
}

/// Returns the smallest integer type that holds every value of both.
fn common_integer(a: &DataType, b: &DataType) -> Option<DataType> {
    let ((a_bits, a_signed), (b_bits, b_signed)) = (integer(a), integer(b));
    if a_signed == b_signed {
        return Some(wider(a, b));
    }
    let (signed, unsigned) = if a_signed { (a_bits, b_bits) } else { (b_bits, a_bits) };
    match signed.max(2 * unsigned) {
        16 => Some(DataType::Int16),
        32 => Some(DataType::Int32),
        64 => Some(DataType::Int64),
        _ => None,
    }
}

/// Returns whether `float64` holds every value of a type exactly.
fn fits_double(data_type: &DataType) -> bool {
    data_type.is_floating() || (data_type.is_integer() && integer(data_type).0 <= 32)
}

/// Returns the type with more bytes.
fn wider(a: &DataType, b: &DataType) -> DataType {
    if a.primitive_width() >= b.primitive_width() { a.clone() } else { b.clone() }
}

/// Returns the smaller of two units of time.
fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// Returns the precision and scale of a decimal type.
fn decimal(data_type: &DataType) -> Option<(i16, i16)> {
    match data_type {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((i16::from(*p), i16::from(*s))),
        _ => None,
    }
}

/// Returns a decimal type with enough digits before and after the point for both.
fn common_decimal(a: &DataType, b: &DataType) -> Option<DataType> {
    let ((a_digits, a_scale), (b_digits, b_scale)) = (decimal(a)?, decimal(b)?);
    let scale = a_scale.max(b_scale);
    let digits = scale + (a_digits - a_scale).max(b_digits - b_scale);
    let (digits, scale) = (u8::try_from(digits).ok()?, i8::try_from(scale).ok()?);
    match digits {
        0..=38 => Some(DataType::Decimal128(digits, scale)),
        39..=76 => Some(DataType::Decimal256(digits, scale)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::*;

    #[test]
    fn a_common_type_holds_every_value_of_both() {
        let text = || Dictionary(Box::new(Int8), Box::new(Utf8));
        for (a, b, expected) in [
            (Int32, Int64, Some(Int64)),
            (UInt8, Int8, Some(Int16)),
            (UInt32, Int8, Some(Int64)),
            (UInt64, Int64, None),
            (Int32, Float64, Some(Float64)),
            (Int64, Float64, None),
            (Float16, Float32, Some(Float32)),
            (text(), text(), Some(text())),
            (text(), Utf8, Some(Utf8)),
            (text(), LargeUtf8, Some(LargeUtf8)),
            (Utf8, Int32, None),
            (Null, text(), Some(text())),
            (Decimal128(10, 2), Decimal128(8, 4), Some(Decimal128(12, 4))),
            (Decimal128(38, 0), Decimal128(38, 10), Some(Decimal256(48, 10))),
            (
                Timestamp(TimeUnit::Second, None),
                Timestamp(TimeUnit::Microsecond, None),
                Some(Timestamp(TimeUnit::Microsecond, None)),
            ),
            (Timestamp(TimeUnit::Second, None), Timestamp(TimeUnit::Second, Some("UTC".into())), None),
            (Boolean, Int8, None),
        ] {
            assert_eq!(common(&a, &b), expected, "{a} and {b}");
            assert_eq!(common(&b, &a), expected, "{b} and {a}");
        }
    }
}
