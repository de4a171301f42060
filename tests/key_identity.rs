//! Values keep their identity: a sweep is called in the output what it is called in the input, and a condition compares what
//! the input holds.

mod common;

use std::fs;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, FixedSizeListArray, Float64Array, Int64Array,
    StringArray, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int64Type, TimeUnit, TimestampMicrosecondType};
use parquet::data_type::{DoubleType, Int96, Int96Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use sweepfit::formula::{parse_condition, parse_expression};
use sweepfit::input::{KeyColumn, Request};

use common::program::{Outcome, program};
use common::{Folder, fails, floats, keys, load, request};

/// As in SQL, zeros of both signs are one key, and so are all NaNs.
#[test]
fn float_keys_compare_as_in_sql() {
    let folder = Folder::new();
    let bits = [1 << 63, 0, f64::NAN.to_bits(), 0xfff8_0000_0000_0001, 1.5_f64.to_bits(), 1 << 63];
    let key: ArrayRef = Arc::new(Float64Array::from_iter_values(bits.map(f64::from_bits)));
    folder.write("a.parquet", &[("k", key), ("x", floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))]);
    let data = load(&folder.all(), &Request { by: keys(&["k"]), ..request(&["x"]) }).expect("sweeps");
    let found: Vec<u64> = data.contents.keys[0]
        .as_primitive::<arrow::datatypes::Float64Type>()
        .values()
        .iter()
        .map(|x| x.to_bits())
        .collect();
    assert_eq!(found, [0, 1.5_f64.to_bits(), f64::NAN.to_bits()]);
    assert_eq!([0, 1, 2].map(|sweep| data.sweep(sweep).len()), [3, 1, 2]);
}

/// Integers beyond 2⁵³ stay apart under a new name, which a definition, being a number, could not do.
#[test]
fn a_renamed_key_keeps_its_type_and_values() {
    let folder = Folder::new();
    let seeds = [1 << 60, (1 << 60) + 1, 1 << 60];
    let column: ArrayRef = Arc::new(Int64Array::from(seeds.to_vec()));
    folder.write("a.parquet", &[("seed", column), ("x", floats(&[1.0, 2.0, 3.0]))]);
    let by = vec![KeyColumn::renamed("seed", "run_seed")];
    let data = load(&folder.all(), &Request { by, ..request(&["x"]) }).expect("sweeps");
    let field = &data.contents.key_fields[0];
    assert_eq!((field.name().as_str(), field.data_type()), ("run_seed", &DataType::Int64));
    assert_eq!(data.contents.keys[0].as_primitive::<Int64Type>().values(), &seeds[..2]);
    assert_eq!([data.sweep(0).len(), data.sweep(1).len()], [2, 1]);
}

/// Instants within nested columns, in time zones that arrow has no table of: each is a key, and the summary shows it in UTC.
#[test]
fn nested_instants_in_named_zones_are_keys() {
    let folder = Folder::new();
    for zone in ["UTC", "Europe/Berlin"] {
        let instants: Vec<i64> = (0..8).map(|row| 1_700_000_000_000_000 + row / 4).collect();
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(instants).with_timezone(zone));
        let field = Arc::new(Field::new("element", times.data_type().clone(), true));
        let structure = StructArray::from(vec![(Arc::clone(&field), Arc::clone(&times))]);
        let list = FixedSizeListArray::new(Arc::clone(&field), 1, Arc::clone(&times), None);
        let keys: [(&str, ArrayRef); 3] =
            [("plain", Arc::clone(&times)), ("struct", Arc::new(structure)), ("list", Arc::new(list))];
        for (name, key) in keys {
            let kind = key.data_type().clone();
            let x = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0];
            let y = [3.0, 5.0, 7.1, 9.0, 3.0, 5.0, 7.0, 9.1];
            folder.write("a.parquet", &[("k", key), ("x", floats(&x)), ("y", floats(&y))]);
            let (input, out) = (folder.path("a.parquet"), folder.path(&format!("{name} {}", zone.len())));
            let arguments =
                ["fit", &input, "--out", &out, "--law", "y ~ a + b*x", "--by", "k", "--bootstrap", "20"];
            let output = program(&arguments);
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
            for second in ["20Z", "20.000001Z"] {
                assert!(said.contains(&format!("2023-11-14T22:13:{second}")), "{kind}: {said}");
            }
            let fits = Outcome::of(&out).fits;
            assert_eq!((fits.rows(), fits.column("k").data_type()), (2, &kind));
        }
    }
}

/// Timestamps of 96 bits, which Spark and Impala write: Julian day and nanoseconds of the day. Days beyond 2262 do not wrap
/// around. Julian day 2,440,588 is 1970-01-01 and 5,373,484 is 9999-12-31 (US Naval Observatory's converter).
#[test]
fn timestamps_of_96_bits_keep_far_dates() {
    let folder = Folder::new();
    let schema = "message m { optional int96 at; required double x; }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let file = fs::File::create(folder.path("a.parquet")).expect("a file");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let instant = |day: u32, nanoseconds: u64| {
        let mut value = Int96::new();
        value.set_data(nanoseconds as u32, (nanoseconds >> 32) as u32, day);
        value
    };
    let hour = 3_600_000_000_000;
    let instants = [instant(5_373_484, 3 * hour), instant(2_440_588, hour)];
    let mut column = group.next_column().expect("a column").expect("the first");
    column.typed::<Int96Type>().write_batch(&instants, Some(&[1, 1, 0]), None).expect("written");
    column.close().expect("closed");
    let mut column = group.next_column().expect("a column").expect("the second");
    column.typed::<DoubleType>().write_batch(&[1.0, 2.0, 3.0], None, None).expect("written");
    column.close().expect("closed");
    group.close().expect("a row group");
    writer.close().expect("a footer");

    let far = 253_402_225_200_000_000;
    let check = |data: &sweepfit::input::Dataset, expected: &[Option<i64>]| {
        let keys = &data.contents.keys[0];
        assert_eq!(*keys.data_type(), DataType::Timestamp(TimeUnit::Microsecond, None));
        let found: Vec<Option<i64>> = keys.as_primitive::<TimestampMicrosecondType>().iter().collect();
        assert_eq!(found, expected);
    };
    let by = || Request { by: keys(&["at"]), ..request(&["x"]) };
    check(&load(&folder.all(), &by()).expect("sweeps"), &[None, Some(3_600_000_000), Some(far)]);

    // The same instant in a file of 64-bit timestamps is the same key.
    let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![far]));
    folder.write("b.parquet", &[("at", column), ("x", floats(&[4.0]))]);
    let data = load(&folder.all(), &by()).expect("sweeps");
    check(&data, &[None, Some(3_600_000_000), Some(far)]);
    assert_eq!(data.sweep(2).len(), 2);
}

/// So does a definition that is a column's name alone, also through another such definition.
#[test]
fn a_definition_that_is_a_name_stands_for_its_column() {
    let folder = Folder::new();
    let seeds = [1 << 60, (1 << 60) + 1];
    let column: ArrayRef = Arc::new(Int64Array::from(seeds.to_vec()));
    folder.write("a.parquet", &[("seed", column), ("x", floats(&[1.0, 2.0]))]);
    let define = |name: &str, text: &str| (name.to_owned(), parse_expression(text).expect("an expression"));
    let lets = vec![define("k", "seed"), define("key", "k")];
    let wanted = Request { by: keys(&["key"]), cluster: Some("k".into()), lets, ..request(&["x"]) };
    let data = load(&folder.all(), &wanted).expect("sweeps");
    assert_eq!(data.contents.keys[0].as_primitive::<Int64Type>().values(), &seeds);
    assert_eq!(data.contents.key_fields[0].name(), "key");
    assert_eq!((data.sweep(0).cluster, data.sweep(1).cluster), (Some(&[0][..]), Some(&[1][..])));
}

/// Checks which values of the column `row` each condition keeps.
fn keeps(folder: &Folder, cases: &[(&str, &[f64])]) {
    for (condition, kept) in cases {
        let parsed = Some(parse_condition(condition).expect(condition));
        let data = load(&folder.all(), &Request { condition: parsed, ..request(&["row"]) }).expect(condition);
        assert_eq!(&data.sweep(0).columns[0], *kept, "{condition}");
    }
}

/// Conditions compare integers that float64 does not hold without rounding, with literals and with one another.
#[test]
fn conditions_compare_integers_exactly() {
    let folder = Folder::new();
    let big = 1_i64 << 60;
    let signed: ArrayRef =
        Arc::new(Int64Array::from(vec![Some(big), Some(big + 1), Some(-big - 1), None, Some(5)]));
    let top = u64::MAX;
    let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![top, top - 1, (1 << 60) + 1, 0, 5]));
    let rows = floats(&[0.0, 1.0, 2.0, 3.0, 4.0]);
    folder.write("a.parquet", &[("id", signed), ("u", unsigned), ("row", rows)]);
    keeps(
        &folder,
        &[
            ("id = 1152921504606846977", &[1.0][..]),
            ("id = 1152921504606846976", &[0.0]),
            ("1152921504606846976 < id", &[1.0]),
            ("id != 1152921504606846977", &[0.0, 2.0, 4.0]),
            ("id <= -1152921504606846977", &[2.0]),
            ("id > -1152921504606846977", &[0.0, 1.0, 4.0]),
            ("id in (1152921504606846977, 5)", &[1.0, 4.0]),
            ("id not in (1152921504606846977, 5)", &[0.0, 2.0]),
            ("u = 18446744073709551615", &[0.0]),
            ("u >= 18446744073709551614", &[0.0, 1.0]),
            ("id = u", &[4.0]),
            ("id < u", &[0.0, 1.0, 2.0]),
            ("id > 1.5e300 or id > 4.5", &[0.0, 1.0, 4.0]),
            // Arithmetic is float64: both round to 2⁶⁰.
            ("id + 0 = 1152921504606846976", &[0.0, 1.0]),
            ("row = 9007199254740993", &[]),
        ],
    );
}

/// Conditions compare decimals without rounding, whatever the digits of the others, and a literal is the decimal that is written.
#[test]
fn conditions_compare_decimals_exactly() {
    let folder = Folder::new();
    let cents = vec![Some(123456789012345677), Some(123456789012345678), Some(-5), None, Some(10)];
    let paid = Decimal128Array::from(cents).with_precision_and_scale(38, 2).expect("a type");
    let mils = vec![1234567890123456780, 1234567890123456780, -50, 0, 101];
    let owed = Decimal128Array::from(mils).with_precision_and_scale(20, 3).expect("a type");
    let rows = floats(&[0.0, 1.0, 2.0, 3.0, 4.0]);
    folder.write("a.parquet", &[("paid", Arc::new(paid)), ("owed", Arc::new(owed)), ("row", rows)]);
    keeps(
        &folder,
        &[
            ("paid = 1234567890123456.78", &[1.0][..]),
            ("paid = 1234567890123456.780", &[1.0]),
            ("paid < 1234567890123456.78", &[0.0, 2.0, 4.0]),
            ("paid > 1234567890123456.775", &[1.0]),
            ("paid = 0.1", &[4.0]),
            ("paid in (-0.05, 0.1)", &[2.0, 4.0]),
            ("paid = owed", &[1.0, 2.0]),
            ("paid < owed", &[0.0, 4.0]),
            ("owed = 0.101 or owed >= 1e15", &[0.0, 1.0, 4.0]),
            // Arithmetic is float64, and the doubles next to one another here are a quarter apart.
            ("paid + 0 = 1234567890123456.75", &[0.0, 1.0]),
        ],
    );
}

/// Dates and timestamps of every unit are compared exactly, with one another and with texts that say a date or time.
#[test]
fn conditions_compare_dates_and_timestamps() {
    let folder = Folder::new();
    // 2024-12-31, 2025-01-01 and 2025-01-31 at noon, and none. (date -u -d … +%s)
    let seconds = [Some(1_735_646_400), Some(1_735_732_800), Some(1_738_324_800), None];
    let times = |factor: i64| seconds.map(|s| s.map(|s| s * factor));
    let days: ArrayRef =
        Arc::new(Date32Array::from(seconds.map(|s| s.map(|s| (s / 86_400) as i32)).to_vec()));
    let utc = TimestampMillisecondArray::from(times(1_000).to_vec()).with_timezone("+01:00");
    folder.write(
        "a.parquet",
        &[
            ("row", floats(&[0.0, 1.0, 2.0, 3.0])),
            ("day", days),
            ("ms", Arc::new(utc) as ArrayRef),
            ("us", Arc::new(TimestampMicrosecondArray::from(times(1_000_000).to_vec()))),
            ("ns", Arc::new(TimestampNanosecondArray::from(times(1_000_000_000).to_vec()))),
        ],
    );
    keeps(
        &folder,
        &[
            ("us >= '2025-01-01'", &[1.0, 2.0][..]),
            ("day = '2025-01-31'", &[2.0]),
            ("'2025-01-01 12:00:00' < ns", &[2.0]),
            ("ms = '2025-01-01T13:00:00+01:00'", &[1.0]),
            ("us in ('2024-12-31 12:00:00', '2025-01-31 12:00:00Z')", &[0.0, 2.0]),
            ("us not in ('2024-12-31 12:00:00')", &[1.0, 2.0]),
            ("ms = us and us = ns", &[0.0, 1.0, 2.0]),
            ("day < ns", &[0.0, 1.0, 2.0]),
            ("us is null", &[3.0]),
        ],
    );
    for (condition, said) in [
        ("us > '31.01.2025'", "'31.01.2025' is no date or time: write '2025-01-31'"),
        ("us > 5", "`us` is a date or time and `5` is a number, but `>` needs both of one type"),
        ("us + 1 > 5", "`us` is a date or time, but `+` needs numbers"),
        ("us like '2025%'", "`us` is a date or time, but `like` needs texts"),
    ] {
        let parsed = Some(parse_condition(condition).expect(condition));
        let error = fails(&folder.all(), &Request { condition: parsed, ..request(&["row"]) });
        assert!(error.to_string().contains(said), "{condition}: {error}");
    }
}

/// `like` follows SQL (ISO/IEC 9075-2): `%` is any text, `_` one character; a null is neither like a pattern nor unlike it.
#[test]
fn conditions_match_patterns() {
    let folder = Folder::new();
    let names: ArrayRef = Arc::new(StringArray::from(vec![
        Some("SVM_linear"),
        Some("SVM"),
        None,
        Some("kNN"),
        Some("größe"),
        Some("a%b"),
        Some(""),
    ]));
    folder.write("a.parquet", &[("name", names), ("row", floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))]);
    keeps(
        &folder,
        &[
            ("name like 'SVM%'", &[0.0, 1.0][..]),
            ("name like '%linear'", &[0.0]),
            ("name like '%N%' ", &[3.0]),
            ("name like '_NN'", &[3.0]),
            ("name like 'gr__e'", &[4.0]),
            ("name like '%_%'", &[0.0, 1.0, 3.0, 4.0, 5.0]),
            ("name like ''", &[6.0]),
            ("name like '%'", &[0.0, 1.0, 3.0, 4.0, 5.0, 6.0]),
            ("name like '%M%l%r'", &[0.0]),
            ("name like 'svm%'", &[]),
            ("name not like 'SVM%'", &[3.0, 4.0, 5.0, 6.0]),
            ("not name like '%' or name is null", &[2.0]),
        ],
    );
    let error = parse_condition("name like other").expect_err("a column is no pattern");
    assert!(error.to_string().contains("expected a pattern in single quotes"), "{error}");
}
