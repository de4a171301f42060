//! Files made to hurt: counts, sizes, places and nesting that are not so, and types, encodings and encryption that the decoder
//! does not know. Their bytes are written by `common::crafted`, which writes whatever it is told.

mod common;

use std::fs;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::WriterProperties;
use sweepfit::input::ParquetFiles;
use sweepfit::{Error, ErrorKind};

use common::crafted::{
    Column, Struct, data_page, dictionary_page, doubles, file, plain, varint, with_footer, zigzag,
};
use common::program::program;
use common::{Folder, fails, keys, load, request};

/// Returns the column `k` of the same five rows with other pages.
fn named_k(column: Column) -> Column {
    Column {
        element: || Struct::default().i32(1, 6).i32(3, 0).text(4, b"k").i32(6, 0),
        physical: 6,
        ..column
    }
}

/// Returns a header of packed differences that states so many integers.
fn differences(block: u64, parts: u64, count: u64) -> Vec<u8> {
    [varint(block), varint(parts), varint(count), zigzag(1)].concat()
}

fn write(folder: &Folder, bytes: &[u8]) -> Vec<String> {
    fs::write(folder.path("a.parquet"), bytes).expect("a file");
    vec![folder.path("a.parquet")]
}

#[test]
fn the_writer_of_this_test_writes_valid_files() {
    let folder = Folder::new();
    let path = write(&folder, &file(&[plain()], 5, &[]));
    let data = load(&path, &request(&["x"])).expect("sweeps");
    assert_eq!(data.sweep(0).columns[0], [1.0, 2.0, 3.0, 4.0, 5.0]);
}

/// A schema of `depth` groups in one another.
fn deep_schema(depth: usize) -> Vec<u8> {
    let group = Struct::default().i32(3, 0).text(4, b"g").i32(5, 1).end();
    let mut elements = vec![Struct::default().text(4, b"schema").i32(5, 1).end()];
    elements.extend(std::iter::repeat_n(group, depth));
    elements.push(plain_element());
    with_footer(
        b"PAR1".to_vec(),
        &Struct::default().i32(1, 1).list(2, 12, &elements).i64(3, 0).list(4, 12, &[]).end(),
    )
}

fn plain_element() -> Vec<u8> {
    (plain().element)().end()
}

/// A list of row groups that states 2³¹ − 1 of them.
fn claimed_groups() -> Vec<u8> {
    let elements = [Struct::default().text(4, b"schema").i32(5, 1).end(), plain_element()];
    let footer = Struct::default().i32(1, 1).list(2, 12, &elements).i64(3, 0).list_of(
        4,
        12,
        (1 << 31) - 1,
        &[Struct::default().end()],
    );
    with_footer(b"PAR1".to_vec(), &footer.end())
}

/// A page of a few bytes that is said to decompress to 2 GiB.
fn claimed_page() -> Vec<u8> {
    let bytes = snap::raw::Encoder::new().compress_vec(&doubles(&[1.0; 5])).expect("compressed");
    file(&[Column { codec: 1, pages: data_page(&bytes, i64::from(i32::MAX), 5, 0), ..plain() }], 5, &[])
}

#[test]
fn footers_that_claim_too_much_are_refused() {
    let folder = Folder::new();
    let find = |bytes: &[u8]| ParquetFiles::find(&write(&folder, bytes));
    assert!(find(&deep_schema(99)).is_ok());
    let error = find(&deep_schema(20_000)).expect_err("too deep");
    assert!(matches!(error, Error::Unsupported { column: None, .. }), "{error}");
    assert!(error.to_string().contains("nested more than 100 levels deep"), "{error}");
    // Values of an unknown field, lists in lists.
    let nested = [vec![0x19; 1_000_000], vec![0]].concat();
    for bytes in [claimed_groups(), with_footer(b"PAR1".to_vec(), &nested)] {
        let error = find(&bytes).expect_err("a claim");
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
    for start in [i64::MAX, i64::MAX / 2 + 1, 1000, -5] {
        let error = find(&file(&[Column { start: Some(start), ..plain() }], 5, &[])).expect_err("no place");
        assert!(matches!(error, Error::Corrupt { .. }) && error.kind() == ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("column `x`"), "{error}");
    }
    // Equal values in a run: valid, and of any number.
    let error = find(&file(&[plain()], (1 << 31) - 1, &[])).expect_err("too many rows");
    assert!(error.to_string().contains("reading 2147483647 rows from"), "{error}");
}

#[test]
fn pages_that_claim_too_much_are_refused() {
    let folder = Folder::new();
    let error = fails(&write(&folder, &claimed_page()), &request(&["x"]));
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("column `x`: a page of 2147483647 bytes in a file of"), "{error}");
    assert!(
        error.to_string().contains("at most 40000000 are read, because a small file could fill"),
        "{error}"
    );

    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 50_000_000]).expect("written");
    let bomb = bomb.finish().expect("compressed");
    let indices = [&[1][..], &varint(5 << 1), &[0]].concat();
    let dictionary =
        |values, bytes: &[u8]| [dictionary_page(bytes, values), data_page(&indices, 3, 5, 8)].concat();
    let with = |pages: Vec<u8>| Column { pages, ..plain() };
    let integers = |pages| Column {
        element: || Struct::default().i32(1, 2).i32(3, 0).text(4, b"x"),
        physical: 2,
        ..with(pages)
    };
    let deltas = differences(1 << 40, 1 << 38, 5);
    let texts = differences(128, 4, 1 << 40);
    for (column, said) in [
        (Column { codec: 2, ..with(data_page(&bomb, 40, 5, 0)) }, "more than the 40 bytes"),
        (with(dictionary(1 << 30, &doubles(&[1.0]))), "is said to have 1073741824 values"),
        (with(data_page(&doubles(&[1.0; 9]), 72, 9, 0)), "more values than the footer states"),
        (with(data_page(&doubles(&[1.0; 4]), 32, 4, 0)), "lack 1 of the values"),
        (with(data_page(&doubles(&[1.0; 5]), -1, 5, 0)), "a negative size"),
        (integers(data_page(&deltas, deltas.len() as i64, 5, 5)), "blocks of 1099511627776 differences"),
    ] {
        let error = fails(&write(&folder, &file(&[column], 5, &[])), &request(&["x"]));
        assert!(
            matches!(error, Error::Corrupt { .. }) && error.to_string().contains(said),
            "{said}: {error}"
        );
    }
    let by_text = sweepfit::input::Request { by: keys(&["k"]), ..request(&["x"]) };
    let text = named_k(with(data_page(&texts, texts.len() as i64, 5, 6)));
    let error = fails(&write(&folder, &file(&[plain(), text], 5, &[])), &by_text);
    assert!(error.to_string().contains("1099511627776 differences for 5 values"), "{error}");
    let text = named_k(with(dictionary(1 << 30, b"\x01\0\0\0k")));
    let error = fails(&write(&folder, &file(&[plain(), text], 5, &[])), &by_text);
    assert!(error.to_string().contains("is said to have 1073741824 values"), "{error}");
}

/// With 4 GB of address space, an allocation by one of these claims would end the program with a signal.
#[cfg(unix)]
#[test]
fn claims_do_not_end_the_program_where_memory_is_short() {
    let folder = Folder::new();
    for (name, bytes) in [
        ("schema", deep_schema(20_000)),
        ("groups", claimed_groups()),
        ("page", claimed_page()),
        ("place", file(&[Column { start: Some(i64::MAX), ..plain() }], 5, &[])),
    ] {
        let path = write(&folder, &bytes).remove(0);
        let program = env!("CARGO_BIN_EXE_sweepfit");
        let output = std::process::Command::new("sh")
            .args(["-c", "ulimit -v 4000000; exec \"$@\"", "sh", program])
            .args(["fit", &path, "--dry-run", "--law", "y ~ a + b*x", "--let", "y=2*x"])
            .output()
            .expect("a shell");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {message}");
        assert!(message.contains("a.parquet"), "{name}: {message}");
    }
}

/// Rows can share a long text, of which each would get a copy.
#[test]
fn long_keys_take_bounded_memory() {
    let folder = Folder::new();
    let long = |letter: u8| [&1_000_000_u32.to_le_bytes()[..], &vec![letter; 1_000_000]].concat();
    let dictionary = dictionary_page(&[long(b'a'), long(b'b')].concat(), 2);
    let with_keys = |rows: i64, indices: Vec<u8>| {
        let indices = [vec![1], indices].concat();
        let k = [dictionary.clone(), data_page(&indices, indices.len() as i64, rows, 8)].concat();
        let x: Vec<f64> = (0..rows).map(|i| i as f64).collect();
        let x = data_page(&doubles(&x), 8 * rows, rows, 0);
        file(&[named_k(Column { pages: k, ..plain() }), Column { pages: x, ..plain() }], rows, &[])
    };
    let request = sweepfit::input::Request { by: keys(&["k"]), ..request(&["x"]) };
    // Two runs of 400 rows; then rows that alternate.
    let runs = [varint(400 << 1), vec![0], varint(400 << 1), vec![1]].concat();
    let data = load(&write(&folder, &with_keys(800, runs)), &request).expect("two sweeps");
    assert_eq!((data.n_sweeps(), data.sweep(1).columns[0].len()), (2, 400));
    assert_eq!(data.sweep(1).columns[0][0], 400.0);
    let alternate = [varint(1000 << 1 | 1), vec![0b1010_1010; 1000]].concat();
    let error = fails(&write(&folder, &with_keys(8000, alternate)), &request);
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("text of this size"), "{error}");
}

/// High ratios of compression are valid: a million equal doubles in one page.
#[test]
fn a_million_equal_values_in_one_page_are_read() {
    let folder = Folder::new();
    let rows = 1_000_000;
    let x: ArrayRef = Arc::new(Float64Array::from(vec![2.5; rows]));
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Float64, true)]));
    let batch = RecordBatch::try_new(schema, vec![x]).expect("a batch");
    for (compression, dictionary) in [
        (Compression::UNCOMPRESSED, false),
        (Compression::SNAPPY, false),
        (Compression::GZIP(Default::default()), false),
        (Compression::BROTLI(Default::default()), false),
        (Compression::ZSTD(Default::default()), false),
        (Compression::LZ4_RAW, false),
        (Compression::ZSTD(Default::default()), true),
    ] {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_dictionary_enabled(dictionary)
            .set_encoding(Encoding::PLAIN)
            .set_data_page_size_limit(1 << 30)
            .set_data_page_row_count_limit(rows)
            .set_write_batch_size(rows)
            .build();
        let out = fs::File::create(folder.path("a.parquet")).expect("a file");
        let mut writer = ArrowWriter::try_new(out, batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("a footer");
        let data = load(&[folder.path("a.parquet")], &request(&["x"])).expect("sweeps");
        let values = &data.sweep(0).columns[0];
        assert!(values.len() == rows && values.iter().all(|value| *value == 2.5), "{compression:?}");
    }
}

/// What cannot be read in a column matters where the column is used, and is not damage.
#[test]
fn what_is_not_known_matters_in_columns_that_are_used() {
    let folder = Folder::new();
    let other = |element: fn() -> Struct| Column { element, ..plain() };
    for (column, said) in [
        // `LogicalType::INTEGER` of 128 bits, in 16 bytes, as Polars writes it.
        (
            Column {
                physical: 7,
                ..other(|| {
                    let integer = Struct::default().field(1, 3, &[128]).field(2, 1, &[]);
                    let logical = Struct::default().inner(10, integer);
                    Struct::default().i32(1, 7).i32(2, 16).i32(3, 0).text(4, b"N").inner(10, logical)
                })
            },
            "column `N`: its type (",
        ),
        (other(|| Struct::default().i32(1, 5).i32(3, 0).text(4, b"N").i32(6, 99)), "column `N`: its type ("),
        (
            Column { physical: 42, ..other(|| Struct::default().i32(1, 42).i32(3, 0).text(4, b"N")) },
            "column `N`: its type (",
        ),
        (Column { codec: 3, ..plain_n() }, "column `N`: compression LZO is not supported"),
        (Column { codec: 42, ..plain_n() }, "column `N`: compression number 42 is not supported"),
        (Column { encoding: 42, ..plain_n() }, "column `N`: encoding 42 is not supported"),
        (
            Column { more: |chunk| chunk.inner(8, Struct::default()), ..plain_n() },
            "column `N`: encryption is not",
        ),
        (
            Column { pages: data_page(&doubles(&[1.0; 5]), 40, 5, 6), ..plain_n() },
            "column `N`: encoding DELTA_LENGTH_BYTE_ARRAY of values of type DOUBLE is not supported",
        ),
    ] {
        let path = write(&folder, &file(&[plain(), column], 5, &[]));
        let data = load(&path, &request(&["x"])).expect("the column is not used");
        assert_eq!(data.sweep(0).columns[0], [1.0, 2.0, 3.0, 4.0, 5.0]);
        for used in [request(&["N"]), sweepfit::input::Request { by: keys(&["N"]), ..request(&["x"]) }] {
            let error = fails(&path, &used);
            assert!(
                matches!(error, Error::Unsupported { .. }) && error.kind() == ErrorKind::Invalid,
                "{error}"
            );
            assert!(error.to_string().contains(said), "{said}: {error}");
        }
        let output = program(&["fit", &path[0], "--dry-run", "--law", "x ~ a + b*N"]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(said) && !message.contains("damaged"), "{message}");
    }
}

fn plain_n() -> Column {
    Column { element: || Struct::default().i32(1, 5).i32(3, 0).text(4, b"N"), ..plain() }
}

/// The Arrow schema in the metadata is a hint. One that is no base64, no message or of other columns is passed over.
#[test]
fn an_arrow_schema_that_cannot_be_parsed_is_passed_over() {
    let folder = Folder::new();
    let fields = vec![Field::new("x", DataType::Utf8, true), Field::new("z", DataType::Int8, true)];
    let of_others = parquet::arrow::encode_arrow_schema(&Schema::new(fields));
    let nested = Field::new("x", DataType::Struct(vec![Field::new("y", DataType::Int8, true)].into()), true);
    let of_a_struct = parquet::arrow::encode_arrow_schema(&Schema::new(vec![nested]));
    for hint in ["", "%%%", "AAAA", "/////wAAAAA=", &of_others, &of_a_struct] {
        let path = write(&folder, &file(&[plain()], 5, &[("ARROW:schema", hint)]));
        let data = load(&path, &request(&["x"])).expect("the Parquet schema is valid");
        assert_eq!(data.sweep(0).columns[0], [1.0, 2.0, 3.0, 4.0, 5.0], "{hint}");
    }
}

/// Writers may end a page without values. It is no end of the column.
#[test]
fn pages_without_values_are_passed_over() {
    let folder = Folder::new();
    let empty = data_page(&[], 0, 0, 0);
    let pages = [empty.clone(), plain().pages, empty].concat();
    let data = load(&write(&folder, &file(&[Column { pages, ..plain() }], 5, &[])), &request(&["x"]));
    assert_eq!(data.expect("sweeps").sweep(0).columns[0], [1.0, 2.0, 3.0, 4.0, 5.0]);
}

/// Pyarrow gives a column without rows a dictionary, and 0 as the place of its data.
#[test]
fn columns_without_rows_are_read() {
    let folder = Folder::new();
    let column = |name: &'static str| (name, common::floats(&[]));
    folder.write("a.parquet", &[column("x"), column("y")]);
    let data = load(&folder.all(), &request(&["x"])).expect("no rows");
    assert_eq!(data.sweep(0).columns[0].len(), 0);
    let empty = Column { pages: dictionary_page(&[], 0), ..plain() };
    let data = load(&write(&folder, &file(&[empty], 0, &[])), &request(&["x"])).expect("no rows");
    assert_eq!(data.sweep(0).columns[0].len(), 0);
    // A footer of pyarrow 17 for such a column: a dictionary at 4, data at 0.
    let about = Struct::default()
        .i32(1, 5)
        .list(2, 5, &[zigzag(0)])
        .list(3, 8, &[vec![1, b'x']])
        .i32(4, 0)
        .i64(5, 0)
        .i64(6, 14)
        .i64(7, 14)
        .i64(9, 0)
        .i64(11, 4);
    let chunk = Struct::default().i64(2, 18).inner(3, about).end();
    let elements = [Struct::default().text(4, b"schema").i32(5, 1).end(), plain_element()];
    let group = Struct::default().list(1, 12, &[chunk]).i64(2, 0).i64(3, 0).end();
    let footer = Struct::default().i32(1, 1).list(2, 12, &elements).i64(3, 0).list(4, 12, &[group]).end();
    let bytes = with_footer([b"PAR1".to_vec(), dictionary_page(&[], 0)].concat(), &footer);
    let data = load(&write(&folder, &bytes), &request(&["x"])).expect("no rows");
    assert_eq!(data.sweep(0).columns[0].len(), 0);
}

/// Escape sequences in the name of a column do not reach the terminal.
#[test]
fn names_are_escaped_in_errors() {
    let folder = Folder::new();
    let element = || Struct::default().i32(1, 5).i32(3, 0).text(4, b"x\x1b[31mred\x07");
    let path = write(&folder, &file(&[Column { element, ..plain() }], 5, &[])).remove(0);
    let output = program(&["fit", &path, "--dry-run", "--law", "y ~ a + b*z"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(r"x\u{1b}[31mred\u{7}") && !message.contains('\u{1b}'), "{message}");
}

/// Polars writes integers of 128 bits as bytes, and says what they are in the Arrow schema alone. The other hints still count.
#[test]
fn bytes_of_a_type_that_arrow_does_not_know_are_not_supported() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let folder = Folder::new();
    // The width of integers is the one byte in which the two schemas differ.
    let encoded = |integer: DataType| {
        let x = Field::new(
            "x",
            DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Float64)),
            false,
        );
        let schema = Schema::new(vec![x, Field::new("N", integer, false)]);
        BASE64_STANDARD.decode(parquet::arrow::encode_arrow_schema(&schema)).expect("base64")
    };
    let (narrow, mut wide) = (encoded(DataType::Int16), encoded(DataType::Int32));
    let differ: Vec<usize> = (0..wide.len()).filter(|&i| narrow[i] != wide[i]).collect();
    assert_eq!((differ.len(), wide[differ[0]]), (1, 32));
    wide[differ[0]] = 128;
    let element = || Struct::default().i32(1, 7).i32(2, 16).i32(3, 0).text(4, b"N");
    let integers = Column { element, physical: 7, pages: data_page(&[0; 80], 80, 5, 0), ..plain() };
    let hint = BASE64_STANDARD.encode(&wide);
    let path = write(&folder, &file(&[plain(), integers], 5, &[("ARROW:schema", &hint)]));
    let files = ParquetFiles::find(&path).expect("a file");
    let schema = &sweepfit::input::Source::fragments(&files)[0].schema;
    assert!(matches!(schema.field(0).data_type(), DataType::Dictionary(..)), "{schema}");
    load(&path, &request(&["x"])).expect("the column is not used");
    let error = fails(&path, &request(&["N"]));
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(
        error.to_string().contains("column `N`: its type (") && error.to_string().contains("128"),
        "{error}"
    );
}
