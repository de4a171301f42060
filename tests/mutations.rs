//! Bytes of valid files are changed at random: no change makes reading panic, and none in a page with a checksum passes.

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Int8Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use sweepfit::ErrorKind;
use sweepfit::input::{ParquetFiles, ReadLimits, Request, open};

use common::crafted::{Column, Struct, doubles, file, page_with_checksum, plain};
use common::program::program;
use common::{Folder, keys, load, request, strings};

/// A generator of numbers (xorshift64*, Vigna 2016): the same changes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

/// Returns the place of the footer.
fn footer(bytes: &[u8]) -> usize {
    let end = bytes.len() - 8;
    end - u32::from_le_bytes(bytes[end..end + 4].try_into().expect("4 bytes")) as usize
}

/// Changes one to eight bytes, half of the time in the footer.
fn mutated(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let footer = footer(good);
    let (low, high) = if random.below(2) == 0 { (footer, bytes.len()) } else { (4, footer) };
    for _ in 0..[1, 1, 1, 2, 4, 8][random.below(6)] {
        let place = low + random.below(high - low);
        bytes[place] = match random.below(4) {
            0 => bytes[place] ^ 1 << random.below(8),
            1 => [0x00, 0xff, 0x7f, 0x80][random.below(4)],
            2 => bytes[low + random.below(high - low)],
            _ => random.below(256) as u8,
        };
    }
    bytes
}

/// The columns `k` (a dictionary of text), `s` (text), `x` (integers with nulls) and `y` of 60 rows.
fn columns() -> Vec<(&'static str, ArrayRef)> {
    let k: DictionaryArray<Int8Type> = (0..60).map(|i| ["p", "q", "r"].get(i / 20).copied()).collect();
    let s: Vec<String> = (0..60).map(|i| format!("a longer text, number {}", i / 10)).collect();
    let s: Vec<&str> = s.iter().map(String::as_str).collect();
    let x: Int64Array = (0..60).map(|i| (i % 7 > 0).then_some(i)).collect();
    let y: Float64Array = (0..60).map(|i| Some(5.0 - 0.01 * f64::from(i))).collect();
    vec![("k", Arc::new(k)), ("s", strings(&s)), ("x", Arc::new(x)), ("y", Arc::new(y))]
}

fn written(folder: &Folder, properties: WriterProperties) -> Vec<u8> {
    let columns = columns();
    let fields: Vec<Field> =
        columns.iter().map(|(name, c)| Field::new(*name, c.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch");
    let out = fs::File::create(folder.path("a.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(out, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("a footer");
    fs::read(folder.path("a.parquet")).expect("bytes")
}

/// Valid files of both versions of pages, with four compressions and most encodings.
fn files(folder: &Folder) -> Vec<Vec<u8>> {
    let plain = WriterProperties::builder().set_dictionary_enabled(false);
    let groups = WriterProperties::builder()
        .set_max_row_group_row_count(Some(25))
        .set_compression(Compression::ZSTD(Default::default()));
    let differences = |compression| {
        let column = |name: &str| ColumnPath::from(name);
        WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(compression)
            .set_dictionary_enabled(false)
            .set_data_page_row_count_limit(20)
            .set_write_batch_size(20)
            .set_column_encoding(column("k"), Encoding::DELTA_LENGTH_BYTE_ARRAY)
            .set_column_encoding(column("s"), Encoding::DELTA_BYTE_ARRAY)
            .set_column_encoding(column("x"), Encoding::DELTA_BINARY_PACKED)
            .set_column_encoding(column("y"), Encoding::BYTE_STREAM_SPLIT)
    };
    [
        plain,
        groups,
        differences(Compression::UNCOMPRESSED),
        differences(Compression::SNAPPY),
        differences(Compression::LZ4_RAW),
    ]
    .map(|properties| written(folder, properties.build()))
    .into()
}

#[test]
fn changed_files_are_read_or_refused() {
    let folder = Folder::new();
    let path = [folder.path("a.parquet")];
    let by_both = Request { by: keys(&["k", "s"]), ..request(&["x", "y"]) };
    let running = AtomicBool::new(false);
    let mut random = Random(7);
    for (number, good) in files(&folder).iter().enumerate() {
        fs::write(&path[0], good).expect("a file");
        assert_eq!(load(&path, &by_both).expect("a valid file").n_sweeps(), 6, "file {number}");
        let memory_bytes = if number % 2 == 0 { u64::MAX } else { 0 };
        let limits = ReadLimits { segment_rows: 1, memory_bytes };
        let (mut read, mut refused) = (0, 0);
        for _ in 0..600 {
            fs::write(&path[0], mutated(good, &mut random)).expect("a file");
            match load(&path, &by_both) {
                Ok(_) => read += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Invalid, "file {number}: {error}");
                    refused += 1;
                }
            }
            // In two passes, of which the first reads the keys alone.
            if let Ok(files) = ParquetFiles::find(&path)
                && let Ok((_, segments)) = open(&files, &by_both, limits, &running)
            {
                let _ = segments.filter(Result::is_ok).count();
            }
        }
        assert!(read > 20 && refused > 200, "file {number}: {read} read, {refused} refused");
    }
}

#[test]
fn the_program_ends_with_a_status_on_changed_files() {
    let folder = Folder::new();
    let path = folder.path("a.parquet");
    let mut random = Random(11);
    for good in &files(&folder) {
        for _ in 0..20 {
            fs::write(&path, mutated(good, &mut random)).expect("a file");
            let law = ["--law", "y ~ a + b*x", "--dry-run", "--threads", "1"];
            let output = program(&[&["fit", &path, "--by", "k,s"], &law[..]].concat());
            assert!(matches!(output.status.code(), Some(0 | 2)), "{:?}", output.status);
        }
    }
}

/// Nothing else than the checksum can tell that a plain value was changed.
#[test]
fn no_change_in_a_page_with_a_checksum_passes() {
    let folder = Folder::new();
    let values: Vec<f64> = (0..40).map(f64::from).collect();
    let page = |values: &[f64]| page_with_checksum(&doubles(values), values.len() as i64);
    let negative: Vec<f64> = values.iter().map(|value| -value).collect();
    let x = Column { pages: page(&values), ..plain() };
    let element = || Struct::default().i32(1, 5).i32(3, 0).text(4, b"y");
    let y = Column { element, pages: page(&negative), ..plain() };
    let good = file(&[x, y], 40, &[]);
    let path = [folder.path("a.parquet")];
    let both = request(&["x", "y"]);
    fs::write(&path[0], &good).expect("a file");
    assert_eq!(load(&path, &both).expect("a valid file").sweep(0).columns[1][1], -1.0);
    let page = |values: &[f64]| {
        let bytes = doubles(values);
        let start = good.windows(bytes.len()).position(|window| window == bytes).expect("the page");
        start..start + bytes.len()
    };
    let mut changed = 0;
    for place in page(&values).chain(page(&negative)) {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[place] ^= flip;
            fs::write(&path[0], bytes).expect("a file");
            let error = load(&path, &both).expect_err("another value");
            assert!(error.to_string().contains("checksum (CRC)"), "{error}");
            changed += 1;
        }
    }
    assert_eq!(changed, 2 * 40 * 8 * 3);
}
