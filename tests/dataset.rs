//! Parquet files as users have them, read into sweeps.

mod common;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, DictionaryArray, Float32Array, Float64Array,
    Int32Array, Int64Array, NullArray, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int8Type, Int64Type, TimeUnit};
use sweepfit::formula::{Expr, parse_condition, parse_expression};
use sweepfit::input::{
    ColumnType, Dataset, InputFiles, ParquetFiles, PartitionOptions, ReadLimits, Request, Scope, Source, open,
};
use sweepfit::internals::sweep::{Sweep, is_null};
use sweepfit::{Error, ErrorKind};

use common::{Folder, fails, floats, keys, keys_as_text, load, names, request, strings};

#[test]
fn sweeps_are_sorted_by_key_and_rows_by_value() {
    let folder = Folder::new();
    folder.write(
        "a.parquet",
        &[
            ("run", strings(&["b", "a", "b", "a"])),
            ("n", Arc::new(Int64Array::from(vec![3, 2, 1, 1])) as ArrayRef),
            ("loss", floats(&[0.3, 0.2, 0.1, 0.4])),
        ],
    );
    let data =
        load(&folder.all(), &Request { by: keys(&["run"]), ..request(&["n", "loss"]) }).expect("sweeps");
    assert_eq!(keys_as_text(&data), ["a", "b"]);
    let (a, b) = (data.sweep(0), data.sweep(1));
    assert_eq!((&a.columns[0], &a.columns[1]), ([1.0, 2.0].as_slice(), [0.4, 0.2].as_slice()));
    assert_eq!((&b.columns[0], &b.columns[1]), ([1.0, 3.0].as_slice(), [0.1, 0.3].as_slice()));
    assert_eq!((a.row, b.row), ([3, 1].as_slice(), [2, 0].as_slice()));
    assert_eq!((data.contents.rows_read, data.contents.rows_dropped), (4, 0));
    assert_eq!(data.contents.fragments[0].rows, 4);
}

#[test]
fn without_keys_there_is_one_sweep_even_of_no_rows() {
    let folder = Folder::new();
    folder.write("a.parquet", &[("x", floats(&[]))]);
    let data = load(&folder.all(), &request(&["x"])).expect("a sweep");
    assert_eq!((data.n_sweeps(), data.sweep(0).len()), (1, 0));
    let data = load(&folder.all(), &Request { by: keys(&["x"]), ..request(&[]) }).expect("no sweep");
    assert_eq!(data.n_sweeps(), 0);
    assert_eq!(data.contents.keys[0].len(), 0);
}

#[test]
fn values_that_cannot_be_used_are_passed_on() {
    let folder = Folder::new();
    let x = Float64Array::from(vec![Some(f64::NAN), None, Some(f64::INFINITY), Some(-1.0)]);
    let nothing = NullArray::new(4);
    folder.write("a.parquet", &[("x", Arc::new(x) as ArrayRef), ("nothing", Arc::new(nothing))]);
    let data = load(&folder.all(), &request(&["x", "nothing"])).expect("a sweep");
    let sweep = data.sweep(0);
    let x = &sweep.columns[0];
    assert_eq!(x[..2], [-1.0, f64::INFINITY]);
    assert!(x[2].is_nan() && !is_null(x[2]) && is_null(x[3]));
    assert!(sweep.columns[1].iter().all(|v| is_null(*v)));
}

/// Every bit that must not depend on how rows are laid out: keys, and by sweep columns, clusters and digest.
fn bits(data: &Dataset) -> (Vec<String>, Vec<SweepBits>) {
    (keys_as_text(data), (0..data.n_sweeps()).map(|i| sweep_bits(&data.sweep(i))).collect())
}

fn sweep_bits(sweep: &Sweep) -> SweepBits {
    let columns = sweep.columns.iter().flatten().map(|v| v.to_bits()).collect();
    (columns, sweep.cluster.expect("clusters").to_vec(), sweep.key_digest)
}

type SweepBits = (Vec<u64>, Vec<u32>, [u8; 32]);

#[test]
fn shuffled_and_split_rows_give_the_same_bits() {
    const ROWS: usize = 500;
    // Few distinct values, so that ties in one column are broken by the next.
    let key = |i: usize| [Some("x"), None, Some("y"), Some("z")][i % 7 % 4];
    let n = |i: usize| [1.0, 0.0, -0.0, f64::NAN, 1e300][i * i % 5];
    let loss = |i: usize| (!i.is_multiple_of(11)).then_some(0.1 * (i % 11) as f64);
    let seed = |i: usize| (i % 13) as i32;
    let write = |folder: &Folder, name: &str, rows: &[usize]| {
        folder.write(
            name,
            &[
                ("key", Arc::new(rows.iter().map(|i| key(*i)).collect::<StringArray>()) as ArrayRef),
                ("n", Arc::new(rows.iter().map(|i| Some(n(*i))).collect::<Float64Array>())),
                ("loss", Arc::new(rows.iter().map(|i| loss(*i)).collect::<Float64Array>())),
                ("seed", Arc::new(rows.iter().map(|i| Some(seed(*i))).collect::<Int32Array>())),
            ],
        );
    };
    let request = Request { by: keys(&["key"]), cluster: Some("seed".into()), ..request(&["loss", "n"]) };
    let whole = Folder::new();
    write(&whole, "all.parquet", &(0..ROWS).collect::<Vec<_>>());
    let whole = load(&whole.all(), &request).expect("sweeps");
    assert_eq!(whole.n_sweeps(), 4);

    // 500 and 187 have no common factor: every row comes once, in another order.
    let shuffled: Vec<usize> = (0..ROWS).map(|i| (i * 187 + 5) % ROWS).collect();
    let split = Folder::new();
    for (part, rows) in shuffled.chunks(123).enumerate() {
        write(&split, &format!("p{}/{part}.parquet", part % 2), rows);
    }
    let split = load(&split.all(), &request).expect("sweeps");
    assert_eq!(split.contents.fragments.len(), 5);
    assert_eq!(bits(&split), bits(&whole));

    // The places that are told are true.
    for sweep in (0..split.n_sweeps()).map(|i| split.sweep(i)) {
        for place in 0..sweep.len() {
            let path = &split.contents.fragments[sweep.file[place] as usize].name;
            let part: usize = path.rsplit(['/', '.']).nth(1).expect("a name").parse().expect("a number");
            let row = shuffled[part * 123 + sweep.row[place] as usize];
            assert_eq!(sweep.columns[0][place].to_bits() == 0x7FF8_0000_6E75_6C6C, loss(row).is_none());
            assert_eq!(sweep.columns[1][place].total_cmp(&n(row)), std::cmp::Ordering::Equal);
        }
    }
}

/// A sweep's values, clusters, places and digest.
type Whole = (SweepBits, Vec<(u32, u64)>);

fn whole(sweep: &Sweep) -> Whole {
    let places = sweep.file.iter().copied().zip(sweep.row.iter().copied()).collect();
    (sweep_bits(sweep), places)
}

/// Segments are what is read at once, in parts: as many as sweeps where those come in order, by rows or by files, and one
/// where they do not and memory is plenty. Where it is not, every segment is read in a pass of its own.
#[test]
fn segments_are_what_is_read_at_once() {
    const SWEEPS: usize = 30;
    // Sweeps of 1 to 5 rows, some of which are equal in all but their places.
    let rows: Vec<(usize, usize)> =
        (0..SWEEPS).flat_map(|sweep| (0..1 + sweep % 5).map(move |row| (sweep, row))).collect();
    let write = |folder: &Folder, name: &str, rows: &[(usize, usize)]| {
        let keys: Vec<String> = rows.iter().map(|(sweep, _)| format!("k{sweep:02}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let x: Vec<f64> = rows.iter().map(|(sweep, row)| ((row + sweep) % 3) as f64).collect();
        let c: Vec<f64> = rows.iter().map(|(sweep, row)| (sweep * row % 4) as f64).collect();
        folder.write_in_groups(name, &[("k", strings(&keys)), ("x", floats(&x)), ("c", floats(&c))], 11);
    };
    let shuffled: Vec<_> = (0..rows.len()).map(|i| rows[(i * 31 + 5) % rows.len()]).collect();
    let (ordered, shuffles, files) = (Folder::new(), Folder::new(), Folder::new());
    write(&ordered, "a.parquet", &rows);
    write(&shuffles, "a.parquet", &shuffled);
    // The files' names are in the opposite order of their sweeps; every file has two, shuffled.
    for (number, sweeps) in rows.chunk_by(|a, b| a.0 / 2 == b.0 / 2).enumerate() {
        let rows: Vec<_> = sweeps.iter().rev().copied().collect();
        write(&files, &format!("{}.parquet", 99 - number), &rows);
    }
    let kept = SWEEPS - 3;
    for (folder, most) in [(&ordered, kept), (&shuffles, 1), (&files, kept.div_ceil(2))] {
        let condition = Some(parse_condition("k > 'k02'").expect("a condition"));
        let (by, cluster) = (keys(&["k"]), Some("c".to_owned()));
        let request = Request { by, cluster, condition, ..request(&["x"]) };
        let expected = load(&folder.all(), &request).expect("sweeps");
        let header = ParquetFiles::find(&folder.all()).expect("a header");
        let running = AtomicBool::new(false);
        for (limit, memory_bytes) in [1, 10, 1000].into_iter().flat_map(|n| [(n, u64::MAX), (n, 0)]) {
            let limits = ReadLimits { segment_rows: limit, memory_bytes };
            let (contents, segments) = open(&header, &request, limits, &running).expect("contents");
            assert_eq!(contents.n_sweeps(), kept);
            assert_eq!(contents.rows_dropped, 6);
            let passes = segments.n_passes();
            let segments: Vec<_> = segments.map(|segment| segment.expect("a segment")).collect();
            let rows = |i: usize| segments[i].sweeps().map(|s| segments[i].sweep_len(s)).sum::<usize>();
            if memory_bytes == 0 && limit < 1000 {
                // Every segment is a pass over the input, with as many rows as fit, or with one sweep.
                assert_eq!(segments.len(), passes);
                assert!((0..passes).all(|i| rows(i) <= limit || segments[i].sweeps().len() == 1));
            } else {
                assert_eq!(passes, 1);
                assert!((0..segments.len() - 1).all(|i| rows(i) >= limit));
                match limit {
                    1 => assert_eq!(segments.len(), most),
                    10 => assert!(segments.len() > most / 12),
                    _ => assert_eq!(segments.len(), 1),
                }
            }
            let numbers: Vec<usize> = segments.iter().flat_map(|s| s.sweeps()).collect();
            assert_eq!(numbers, (0..kept).collect::<Vec<_>>());
            let found = segments.iter().flat_map(|s| s.sweeps().map(|i| whole(&s.sweep(&contents, i))));
            let expected: Vec<Whole> = (0..kept).map(|i| whole(&expected.sweep(i))).collect();
            assert_eq!(found.collect::<Vec<_>>(), expected, "{limits:?}");
        }
    }
}

/// Passes read the parts of a large file by several threads; row groups in which the condition cannot hold are left out.
#[test]
fn parts_of_a_file_are_all_of_its_rows() {
    const ROWS: usize = 400_000;
    const SWEEPS: usize = 7;
    let folder = Folder::new();
    let names: Vec<String> = (0..ROWS).map(|row| format!("k{}", row * 31 % SWEEPS)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let x: Vec<f64> = (0..ROWS).map(|row| (row % 1000) as f64).collect();
    let at: Vec<f64> = (0..ROWS).map(|row| row as f64).collect();
    let columns = [("k", strings(&names)), ("x", floats(&x)), ("at", floats(&at))];
    folder.write_in_groups("a.parquet", &columns, 30_000);
    for (condition, kept) in [("at >= 0", ROWS), ("at < 65000 or at > 215000", 65_000 + 184_999)] {
        let request = Request {
            by: keys(&["k"]),
            cluster: Some("x".to_owned()),
            condition: Some(parse_condition(condition).expect("a condition")),
            ..request(&["x"])
        };
        let options = PartitionOptions { condition: Some(condition), ..PartitionOptions::default() };
        let source = InputFiles::find(&folder.all(), options).expect("files");
        let parts = source.parts(0);
        assert!(parts.len() > 2 && parts[0].start == 0 && parts[parts.len() - 1].end == ROWS as u64);
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
        let skipped = source.fragments()[0].rows_skipped();
        assert_eq!(skipped, if kept == ROWS { 0 } else { 120_000 });
        let running = AtomicBool::new(false);
        let expected = load(&folder.all(), &request).expect("sweeps");
        let limits = ReadLimits { segment_rows: 1, memory_bytes: 0 };
        let (contents, segments) = open(&source, &request, limits, &running).expect("contents");
        assert_eq!(segments.n_passes(), SWEEPS);
        let mut rows = 0;
        for segment in segments {
            let segment = segment.expect("a segment");
            for sweep in segment.sweeps() {
                rows += segment.sweep_len(sweep);
                assert_eq!(whole(&segment.sweep(&contents, sweep)), whole(&expected.sweep(sweep)), "{sweep}");
            }
        }
        assert_eq!(rows, kept);
    }
}

/// However rows lie in row groups and files, every row must come out once, under its own key and place.
#[test]
fn rows_come_out_once_whatever_their_row_groups() {
    let folder = Folder::new();
    let n = 900_000;
    // Keys come first in another order in every row group, and a cluster lies in many of them.
    let key = |i: usize| i * 7 % 13;
    let text: Vec<String> = (0..n).map(|i| format!("k{:02}", key(i))).collect();
    let text: Vec<&str> = text.iter().map(String::as_str).collect();
    let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
    let cluster: Vec<f64> = (0..n).map(|i| -((i % 1000) as f64)).collect();
    let columns = [("run", strings(&text)), ("x", floats(&x)), ("c", floats(&cluster))];
    folder.write_in_groups("a.parquet", &columns, 100_000);
    folder.write_in_groups("b.parquet", &columns, 1 << 20);
    let wanted = Request {
        by: keys(&["run"]),
        cluster: Some("c".to_owned()),
        condition: Some(parse_condition("x >= 150000").expect("a condition")),
        ..request(&["x"])
    };
    let data = load(&folder.all(), &wanted).expect("sweeps");
    assert_eq!((data.contents.rows_read, data.contents.rows_dropped), (2 * n as u64, 300_000));
    assert_eq!(keys_as_text(&data), (0..13).map(|k| format!("k{k:02}")).collect::<Vec<_>>());
    for k in 0..13 {
        let sweep = data.sweep(k);
        let own: Vec<usize> = (150_000..n).filter(|&i| key(i) == k).collect();
        assert_eq!(sweep.len(), 2 * own.len());
        for (place, &i) in own.iter().flat_map(|i| [i, i]).enumerate() {
            assert_eq!((sweep.columns[0][place], sweep.row[place]), (x[i], i as u64));
            assert_eq!(sweep.file[place], (place % 2) as u32);
            assert_eq!(sweep.cluster.expect("clusters")[place], (999 - i % 1000) as u32);
        }
    }
}

#[test]
fn clusters_are_ranked_over_all_sweeps() {
    let folder = Folder::new();
    folder.write(
        "a.parquet",
        &[
            ("key", strings(&["a", "a", "b", "b"])),
            ("x", floats(&[1.0, 2.0, 1.0, 2.0])),
            ("c", Arc::new(StringArray::from(vec![Some("t"), Some("s"), None, Some("t")])) as ArrayRef),
        ],
    );
    let request = Request { by: keys(&["key"]), cluster: Some("c".into()), ..request(&["x"]) };
    let data = load(&folder.all(), &request).expect("sweeps");
    assert_eq!(data.sweep(0).cluster, Some([2, 1].as_slice()));
    assert_eq!(data.sweep(1).cluster, Some([0, 2].as_slice()));
}

#[test]
fn keys_keep_their_types() {
    let folder = Folder::new();
    let dictionary: DictionaryArray<Int8Type> = vec![Some("y"), None, Some("x")].into_iter().collect();
    let time = TimestampMillisecondArray::from(vec![5, 6, 7]).with_timezone("America/New_York");
    folder.write(
        "a.parquet",
        &[
            ("d", Arc::new(dictionary) as ArrayRef),
            ("t", Arc::new(time)),
            ("day", Arc::new(Date32Array::from(vec![1, 2, 3]))),
            ("flag", Arc::new(BooleanArray::from(vec![true, false, true]))),
        ],
    );
    let by = keys(&["d", "t", "day", "flag"]);
    let data = load(&folder.all(), &Request { by, ..request(&[]) }).expect("sweeps");
    let types: Vec<DataType> = data.contents.keys.iter().map(|k| k.data_type().clone()).collect();
    assert_eq!(
        types,
        [
            DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
            DataType::Timestamp(TimeUnit::Millisecond, Some("America/New_York".into())),
            DataType::Date32,
            DataType::Boolean,
        ]
    );
    let fields: Vec<DataType> = data.contents.key_fields.iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(fields, types);
    assert_eq!(keys_as_text(&data), ["", "x", "y"]);
}

#[test]
fn files_may_write_a_column_with_different_widths() {
    let folder = Folder::new();
    folder.write(
        "a.parquet",
        &[
            ("key", Arc::new(Int32Array::from(vec![2, 1])) as ArrayRef),
            ("x", Arc::new(Int32Array::from(vec![1, 2]))),
        ],
    );
    folder.write(
        "b.parquet",
        &[
            ("x", Arc::new(Float32Array::from(vec![0.5, 1.5])) as ArrayRef),
            ("key", Arc::new(Int64Array::from(vec![Some(1), Some(1 << 40)]))),
        ],
    );
    folder.write(
        "c.parquet",
        &[("x", Arc::new(NullArray::new(1)) as ArrayRef), ("key", Arc::new(NullArray::new(1)))],
    );
    let data = load(&folder.all(), &Request { by: keys(&["key"]), ..request(&["x"]) }).expect("sweeps");
    let keys: Vec<_> = data.contents.keys[0].as_primitive::<Int64Type>().iter().collect();
    assert_eq!(keys, [None, Some(1), Some(2), Some(1 << 40)]);
    assert_eq!(data.sweep(1).columns[0], [0.5, 2.0]);
}

#[test]
fn a_digest_depends_on_the_key_alone() {
    let one = Folder::new();
    one.write("a.parquet", &[("k", Arc::new(Int32Array::from(vec![5])) as ArrayRef), ("x", floats(&[1.0]))]);
    let other = Folder::new();
    other.write(
        "a.parquet",
        &[("size", Arc::new(Int64Array::from(vec![9, 5])) as ArrayRef), ("y", floats(&[2.0, 3.0]))],
    );
    let one = load(&one.all(), &Request { by: keys(&["k"]), ..request(&["x"]) }).expect("a sweep");
    let other = load(&other.all(), &Request { by: keys(&["size"]), ..request(&["y"]) }).expect("sweeps");
    assert_eq!(one.sweep(0).key_digest, other.sweep(0).key_digest);
    assert_ne!(one.sweep(0).key_digest, other.sweep(1).key_digest);
}

#[test]
fn columns_that_disagree_name_the_file() {
    let folder = Folder::new();
    folder.write("a.parquet", &[("x", floats(&[1.0])), ("y", floats(&[1.0])), ("k", floats(&[1.0]))]);
    let k: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    folder.write("b.parquet", &[("x", strings(&["1.0"])), ("k", k)]);
    let error = fails(&folder.all(), &request(&["x"]));
    assert!(matches!(error, Error::Conflict { .. }) && error.to_string().contains("b.parquet"), "{error}");
    let error = fails(&folder.all(), &request(&["y"]));
    assert!(
        matches!(error, Error::MissingInFile { .. }) && error.to_string().contains("b.parquet"),
        "{error}"
    );
    let error = fails(&folder.all(), &Request { by: keys(&["k"]), ..request(&[]) });
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn names_and_types_are_checked_before_reading() {
    let folder = Folder::new();
    let inner: ArrayRef = floats(&[1.0]);
    let nested = StructArray::from(vec![(Arc::new(Field::new("eval", DataType::Float64, true)), inner)]);
    folder.write(
        "a.parquet",
        &[
            ("tokens", floats(&[1.0])),
            ("flag", Arc::new(BooleanArray::from(vec![true])) as ArrayRef),
            ("name", strings(&["n"])),
            ("day", Arc::new(Date32Array::from(vec![1]))),
            ("metrics", Arc::new(nested)),
        ],
    );
    let scope = Scope::new(&ParquetFiles::find(&folder.all()).expect("a header"));
    assert_eq!(scope.columns(), ["tokens", "flag", "name", "day", "metrics"]);
    assert_eq!(scope.column_type("tokens"), Some(ColumnType::Number));
    assert_eq!(scope.column_type("flag"), Some(ColumnType::Bool));
    assert_eq!(scope.column_type("name"), Some(ColumnType::Text));
    assert_eq!(scope.column_type("day"), Some(ColumnType::Time("Date32".into())));
    assert_eq!(scope.column_type("token"), None);

    let error = fails(&folder.all(), &request(&["token"]));
    assert!(
        error.to_string().contains("did you mean `tokens`") && error.to_string().contains("`metrics`"),
        "{error}"
    );
    for name in ["flag", "day", "metrics"] {
        let error = fails(&folder.all(), &request(&[name]));
        assert!(matches!(error, Error::NotNumeric { .. }) && error.to_string().contains(name), "{error}");
    }
    let error = fails(&folder.all(), &request(&["metrics.eval"]));
    assert!(matches!(error, Error::Nested { .. }), "{error}");
    let error = fails(&folder.all(), &Request { by: keys(&["nmae"]), ..request(&[]) });
    assert!(
        error.to_string().contains("by:") && error.to_string().contains("did you mean `name`"),
        "{error}"
    );
    // A nested key is unusual, and works.
    let data = load(&folder.all(), &Request { by: keys(&["metrics"]), ..request(&[]) }).expect("a sweep");
    assert_eq!(
        data.contents.keys[0].as_struct().column(0).as_primitive::<arrow::datatypes::Float64Type>().value(0),
        1.0
    );
}

#[test]
fn half_precision_and_decimals_are_numbers() {
    let folder = Folder::new();
    let half = cast(&floats(&[0.1]), &DataType::Float16).expect("half precision");
    let decimal = cast(&floats(&[2.5]), &DataType::Decimal256(50, 4)).expect("a decimal");
    folder.write("a.parquet", &[("h", half), ("d", decimal)]);
    let data = load(&folder.all(), &request(&["h", "d"])).expect("a sweep");
    // The half nearest to 0.1 is 1638.0 / 2^14.
    assert_eq!(data.sweep(0).columns[0], [1638.0 / 16384.0]);
    assert_eq!(data.sweep(0).columns[1], [2.5]);
}

fn definition(name: &str, text: &str) -> (String, Expr) {
    (name.to_owned(), parse_expression(text).expect("an expression"))
}

/// Rows of two runs with every kind of column, to define and filter by.
fn varied(folder: &Folder) {
    folder.write(
        "a.parquet",
        &[
            ("run", strings(&["a", "a", "b", "b"])),
            ("N", Arc::new(Float64Array::from(vec![Some(1.0), Some(2.0), None, Some(4.0)])) as ArrayRef),
            ("ok", Arc::new(BooleanArray::from(vec![Some(true), None, Some(true), Some(false)]))),
            ("day", Arc::new(Date32Array::from(vec![1, 2, 3, 4]))),
        ],
    );
}

#[test]
fn a_condition_drops_what_is_not_true_and_counts_it() {
    let folder = Folder::new();
    varied(&folder);
    let with = |text: &str| Request {
        by: keys(&["run"]),
        condition: Some(parse_condition(text).expect("a condition")),
        ..request(&["N"])
    };
    // A null is not true: row 1 of `ok`, row 2 of `N`.
    let data = load(&folder.all(), &with("ok")).expect("sweeps");
    assert_eq!(
        (data.contents.rows_read, data.contents.rows_dropped, keys_as_text(&data)),
        (4, 2, names(&["a", "b"]))
    );
    assert_eq!((data.sweep(0).row, data.sweep(1).row), ([0].as_slice(), [2].as_slice()));
    let data = load(&folder.all(), &with("N > 1 and run != 'a'")).expect("a sweep");
    assert_eq!((keys_as_text(&data), data.contents.rows_dropped), (names(&["b"]), 3));
    assert_eq!((&data.sweep(0).columns[0], data.sweep(0).row), ([4.0].as_slice(), [3].as_slice()));
    let data = load(&folder.all(), &with("N is null")).expect("a sweep");
    assert!(is_null(data.sweep(0).columns[0][0]));
    assert_eq!(load(&folder.all(), &with("N > 9")).expect("no sweeps").n_sweeps(), 0);

    let error = fails(&folder.all(), &with("N + 1"));
    assert!(matches!(error, Error::Expression { .. }), "{error}");
    let error = fails(&folder.all(), &with("N > 'a'"));
    assert!(matches!(error, Error::Expression { .. }), "{error}");
    let error = fails(&folder.all(), &with("day = 1"));
    assert!(matches!(error, Error::Expression { .. }) && error.to_string().contains("day"), "{error}");
    let error = fails(&folder.all(), &with("rnu = 'a'"));
    assert!(
        error.to_string().contains("condition:") && error.to_string().contains("did you mean `run`"),
        "{error}"
    );
}

#[test]
fn definitions_build_on_each_other_and_may_take_a_columns_name() {
    let folder = Folder::new();
    varied(&folder);
    let lets = vec![
        definition("C", "10 * N"),
        definition("N", "N + C"),
        definition("one", "1"),
        definition("parity", "cos(pi * N / 11)"),
        definition("unused", "N / 0"),
    ];
    let condition = Some(parse_condition("N < 40 or N is null").expect("a condition"));
    let data =
        load(&folder.all(), &Request { lets, condition, ..request(&["N", "C", "one"]) }).expect("a sweep");
    let sweep = data.sweep(0);
    assert_eq!(sweep.columns[0][..2], [11.0, 22.0]);
    assert_eq!(sweep.columns[1][..2], [10.0, 20.0]);
    assert_eq!(sweep.columns[2], [1.0, 1.0, 1.0]);
    assert!(is_null(sweep.columns[0][2]) && is_null(sweep.columns[1][2]));
    assert_eq!(sweep.row, [0, 1, 2]);

    let error = fails(&folder.all(), &Request { lets: vec![definition("C", "6 * M")], ..request(&["C"]) });
    assert!(matches!(error, Error::Expression { .. }) && error.to_string().contains("let C"), "{error}");
    let error = fails(
        &folder.all(),
        &Request { lets: vec![definition("C", "D"), definition("D", "1")], ..request(&["C"]) },
    );
    assert!(matches!(error, Error::Expression { .. }), "{error}");
}

#[test]
fn definitions_can_be_keys_and_clusters() {
    let folder = Folder::new();
    varied(&folder);
    let lets = vec![definition("big", "max(N, 2)"), definition("run", "2 - N")];
    let by = keys(&["big"]);
    let data = load(
        &folder.all(),
        &Request { lets: lets.clone(), by, cluster: Some("run".into()), ..request(&["N"]) },
    );
    let data = data.expect("sweeps");
    assert_eq!(keys_as_text(&data), ["", "2.0", "4.0"]);
    // Clusters are the definition's values: null, -2, 0, 1.
    assert_eq!(data.sweep(0).cluster, Some([0].as_slice()));
    assert_eq!(data.sweep(1).cluster, Some([3, 2].as_slice()));
    assert_eq!(data.sweep(2).cluster, Some([1].as_slice()));
    // `--by` names the input's column even where a definition has taken its name.
    let data = load(&folder.all(), &Request { lets, by: keys(&["run"]), ..request(&[]) }).expect("sweeps");
    assert_eq!(keys_as_text(&data), ["a", "b"]);
}
