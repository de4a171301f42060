//! One type for a key column that files write with several.
//!
//! Two types have a common one if every value of both is a value of it: `int32` and `int64`, a dictionary of
//! strings and strings. `int64` and `double` have none, as an `int64` may lie between two doubles, and a key that
//! changed in reading would merge sweeps.

use arrow::datatypes::{DataType, TimeUnit};

/// The type of a dictionary's values; any other type as it is.
#[must_use]
pub fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        other => other,
    }
}

/// A type that holds every value of both, if there is one.
#[must_use]
pub fn common(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Float64, LargeBinary, LargeUtf8, Null, Timestamp, Utf8, Utf8View,
    };
    if a == b {
        return Some(a.clone());
    }
    match (plain(a), plain(b)) {
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

/// Bits of an integer type, and whether it is signed.
fn integer(data_type: &DataType) -> (u32, bool) {
    let bits = data_type.primitive_width().map_or(0, |bytes| 8 * bytes as u32);
    (bits, data_type.is_signed_integer())
}

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

/// Whether every value is a double.
fn fits_double(data_type: &DataType) -> bool {
    data_type.is_floating() || (data_type.is_integer() && integer(data_type).0 <= 32)
}

fn wider(a: &DataType, b: &DataType) -> DataType {
    if a.primitive_width() >= b.primitive_width() { a.clone() } else { b.clone() }
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// Precision and scale of a decimal type, and the largest precision of its width.
fn decimal(data_type: &DataType) -> Option<(i16, i16)> {
    match data_type {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((i16::from(*p), i16::from(*s))),
        _ => None,
    }
}

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
    fn every_value_of_both_fits() {
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
