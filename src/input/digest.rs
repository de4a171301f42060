//! Computes the digest of a sweep's key: 32 bytes that seed the sweep's random numbers.
//!
//! The digest depends on the values of the key alone: not on column names, integer widths or string encodings, nor on
//! anything that a new version of arrow may change. It is the SHA-256 hash of
//!
//! ```text
//! number of key columns   u64, little-endian
//! for each column:  tag   one byte
//!                length   u64, little-endian
//!                 bytes
//! ```
//!
//! | tag | values | bytes |
//! | --- | --- | --- |
//! | `n` | null | none |
//! | `b` | truth values | `0` or `1` |
//! | `i` | integers, decimals | shortest decimal text: `-5`, `2.5` (also for 2.50) |
//! | `f` | floats | the bits as `f64`, little-endian |
//! | `s` | text | UTF-8 |
//! | `x` | binary | the value's bytes |
//! | `d` | dates | days since 1970, decimal text |
//! | `t`, `T` | timestamps without, with a time zone | nanoseconds since 1970 (UTC), decimal text |
//! | `c`, `u` | times of day, durations | nanoseconds, decimal text |
//! | `o` | other types (intervals, nested columns) | arrow's display text; instants in a time zone with a name as of UTC |

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float64Type, Int64Type,
    UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::convert::{cast_exactly, nanoseconds, to_integers};
use super::types::with_zone_offsets;

/// Returns the digest of each of the `rows` rows of the key columns. The columns must not be dictionaries.
pub(in crate::input) fn digests(columns: &[ArrayRef], rows: usize) -> Result<Vec<[u8; 32]>, ArrowError> {
    let encoders = columns.iter().map(Encoder::new).collect::<Result<Vec<_>, _>>()?;
    let prefix = Sha256::new_with_prefix((columns.len() as u64).to_le_bytes());
    let digest = |bytes: &mut Vec<u8>, row| {
        let mut hasher = prefix.clone();
        for encoder in &encoders {
            bytes.clear();
            let tag = encoder.encode(row, bytes)?;
            hasher.update([tag]);
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        }
        Ok(hasher.finalize().into())
    };
    (0..rows).into_par_iter().map_init(Vec::new, digest).collect()
}

/// A key column, cast to the widest type of its tag.
struct Encoder {
    column: ArrayRef,
    /// For dates, times and durations: the tag, and the nanoseconds (dates: days) per unit.
    counted: Option<(u8, i128)>,
}

impl Encoder {
    fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        use DataType::{
            Binary, BinaryView, Date32, Date64, Duration, FixedSizeBinary, Float64, Int64, LargeBinary,
            LargeUtf8, Time32, Time64, Timestamp, UInt64, Utf8, Utf8View,
        };
        let (to, counted) = match column.data_type() {
            t if t.is_unsigned_integer() => (UInt64, None),
            t if t.is_signed_integer() => (Int64, None),
            t if t.is_floating() => (Float64, None),
            Utf8 | Utf8View => (LargeUtf8, None),
            Binary | BinaryView | FixedSizeBinary(_) => (LargeBinary, None),
            // Arrow's dates of both widths are midnights, so the milliseconds of `Date64` are whole days.
            Date32 | Date64 => (Date32, Some((b'd', 1))),
            Timestamp(unit, None) => (Int64, Some((b't', nanoseconds(unit)))),
            Timestamp(unit, Some(_)) => (Int64, Some((b'T', nanoseconds(unit)))),
            Time32(unit) | Time64(unit) => (Int64, Some((b'c', nanoseconds(unit)))),
            Duration(unit) => (Int64, Some((b'u', nanoseconds(unit)))),
            other => (other.clone(), None),
        };
        let cast = with_zone_offsets(&cast_exactly(column, &to)?)?;
        let column = if counted.is_some() { to_integers(&cast)? } else { cast };
        Ok(Self { column, counted })
    }

    /// Appends the value's bytes and returns its tag.
    fn encode(&self, row: usize, bytes: &mut Vec<u8>) -> Result<u8, ArrowError> {
        let column = &self.column;
        if column.is_null(row) || *column.data_type() == DataType::Null {
            return Ok(b'n');
        }
        let mut text = |tag: u8, text: &str| {
            bytes.extend_from_slice(text.as_bytes());
            Ok(tag)
        };
        match column.data_type() {
            DataType::Boolean => text(b'b', if column.as_boolean().value(row) { "1" } else { "0" }),
            DataType::Int64 => {
                let value = column.as_primitive::<Int64Type>().value(row);
                let (tag, factor) = self.counted.unwrap_or((b'i', 1));
                text(tag, &(i128::from(value) * factor).to_string())
            }
            DataType::UInt64 => text(b'i', &column.as_primitive::<UInt64Type>().value(row).to_string()),
            DataType::Float64 => {
                let value = column.as_primitive::<Float64Type>().value(row);
                bytes.extend_from_slice(&value.to_bits().to_le_bytes());
                Ok(b'f')
            }
            DataType::LargeUtf8 => text(b's', column.as_string::<i64>().value(row)),
            DataType::LargeBinary => {
                bytes.extend_from_slice(column.as_binary::<i64>().value(row));
                Ok(b'x')
            }
            DataType::Decimal32(_, scale) => {
                text(b'i', &exact(&column.as_primitive::<Decimal32Type>().value(row).to_string(), *scale))
            }
            DataType::Decimal64(_, scale) => {
                text(b'i', &exact(&column.as_primitive::<Decimal64Type>().value(row).to_string(), *scale))
            }
            DataType::Decimal128(_, scale) => {
                text(b'i', &exact(&column.as_primitive::<Decimal128Type>().value(row).to_string(), *scale))
            }
            DataType::Decimal256(_, scale) => {
                text(b'i', &exact(&column.as_primitive::<Decimal256Type>().value(row).to_string(), *scale))
            }
            _ => {
                let formatter = ArrayFormatter::try_new(column, &FormatOptions::default())?;
                text(b'o', &formatter.value(row).try_to_string()?)
            }
        }
    }
}

/// Returns `unscaled`·10^−`scale` as the shortest decimal text.
fn exact(unscaled: &str, scale: i8) -> String {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    let Ok(places) = usize::try_from(scale) else {
        let zeros = usize::from(scale.unsigned_abs());
        let zeros = if digits == "0" { 0 } else { zeros };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    };
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, DurationMicrosecondArray,
        FixedSizeListArray, Float64Array, Int8Array, Int32Array, NullArray, StringArray, StringViewArray,
        StructArray, Time32SecondArray, TimestampMillisecondArray, TimestampSecondArray, UInt64Array,
    };
    use arrow::datatypes::Field;
    use std::sync::Arc;

    fn hex(columns: &[ArrayRef]) -> String {
        let rows = columns.first().map_or(1, |c| c.len());
        let digest = digests(columns, rows).expect("digests")[0];
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // Expected digests are those of Python's `hashlib.sha256` for the bytes in the table above.

    #[test]
    fn the_empty_key_has_a_digest() {
        assert_eq!(hex(&[]), "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc");
    }

    #[test]
    fn the_digest_depends_on_values_and_not_on_their_encoding() {
        let golden = "820e02af699031ab9d0a5b874e692b1b89ab9873f27bf691afb99a962cf3ba32";
        let float: ArrayRef = Arc::new(Float64Array::from(vec![0.1]));
        let truth: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
        let texts: [ArrayRef; 2] =
            [Arc::new(StringArray::from(vec!["c4_en"])), Arc::new(StringViewArray::from(vec!["c4_en"]))];
        let fives: [ArrayRef; 3] = [
            Arc::new(Int8Array::from(vec![-5])),
            Arc::new(Int32Array::from(vec![-5])),
            Arc::new(Decimal128Array::from(vec![-500]).with_precision_and_scale(10, 2).expect("a type")),
        ];
        let nulls: [ArrayRef; 2] = [Arc::new(NullArray::new(1)), Arc::new(UInt64Array::from(vec![None]))];
        for text in &texts {
            for five in &fives {
                for null in &nulls {
                    let key = [text, five, &float, null, &truth].map(Arc::clone);
                    assert_eq!(hex(&key), golden);
                }
            }
        }
    }

    #[test]
    fn times_are_counted_in_nanoseconds() {
        let key: [ArrayRef; 7] = [
            Arc::new(Date32Array::from(vec![19000])),
            Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_123])),
            Arc::new(TimestampSecondArray::from(vec![1_700_000_000]).with_timezone("Europe/Berlin")),
            Arc::new(Decimal128Array::from(vec![2500]).with_precision_and_scale(10, 3).expect("a type")),
            Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice()])),
            Arc::new(Time32SecondArray::from(vec![3600])),
            Arc::new(DurationMicrosecondArray::from(vec![7])),
        ];
        assert_eq!(hex(&key), "89b475e5e97134cbef97d7367880bd3fbf13725a80f411dc1e1bee92e646d54e");
    }

    /// Arrow has no table of time zones, in which it could display an instant of `UTC`.
    #[test]
    fn nested_instants_in_named_zones_are_those_of_utc() {
        let nested = |zone: &str| -> [ArrayRef; 2] {
            let times: ArrayRef =
                Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_123]).with_timezone(zone));
            let field = Arc::new(Field::new("at", times.data_type().clone(), true));
            let structure = StructArray::from(vec![(Arc::clone(&field), Arc::clone(&times))]);
            let list = FixedSizeListArray::new(field, 1, times, None);
            [Arc::new(structure), Arc::new(list)]
        };
        let offset = hex(&nested("+00:00"));
        assert_eq!(hex(&nested("UTC")), offset);
        assert_eq!(hex(&nested("Europe/Berlin")), offset);
        assert_ne!(hex(&nested("+01:00")), offset);
    }

    #[test]
    fn decimal_text_is_the_shortest() {
        let cases = [("0", 3, "0"), ("-5", 3, "-0.005"), ("120", 1, "12"), ("7", -2, "700"), ("0", -2, "0")];
        for (unscaled, scale, text) in cases {
            assert_eq!(exact(unscaled, scale), text);
        }
    }
}
