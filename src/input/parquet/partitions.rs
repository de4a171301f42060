//! Partitions: columns with one value in all rows of a file.
//!
//! The value of a hive partition stands in the name of a directory, as in `family=llama/part-0.parquet`. The log of a table says
//! the value and the type of the table's partitions. A value of a directory is text unless the job says another type. Writers escape characters of a value as URLs do (Spark, DuckDB, polars),
//! and write [`NULL`] for null. A column that a file holds itself keeps the file's values and type, instead of those of a directory:
//! some writers write both.

use std::collections::HashMap;
use std::path::{Component, Path};
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use percent_encoding::percent_decode_str;

use crate::error::{Error, Setting};
use crate::formula::{Column, Expr, ExprKind, Table, evaluate, list, names, parse_condition};
use crate::input::convert::{cast_exactly, rows_where, to_column};

/// The value that stands for null.
pub const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// A partition of a file: the name and the value of one of its directories, or of a column by which its table is partitioned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The name of the column.
    pub name: String,
    /// The value; none for null.
    pub value: Option<String>,
    /// Whether the partition was found, and is not a directory that the user typed.
    pub is_found: bool,
    /// The type that the schema of the table says; none for a directory.
    pub data_type: Option<DataType>,
}

/// Returns the partitions of a file, in the order of its directories, of which the user typed the first `typed` components.
#[must_use]
pub fn partitions_of(path: &Path, typed: usize) -> Vec<Partition> {
    let decoded =
        |text: &str| percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Into::into);
    let mut partitions: Vec<Partition> = Vec::new();
    let directories = path.parent().into_iter().flat_map(Path::components).enumerate();
    for (place, component) in directories {
        let Component::Normal(text) = component else { continue };
        let Some((name, value)) = text.to_str().and_then(|text| text.split_once('=')) else { continue };
        if name.is_empty() {
            continue;
        }
        let name = decoded(name);
        partitions.retain(|partition| partition.name != name);
        let value = (value != NULL).then(|| decoded(value));
        partitions.push(Partition { name, value, is_found: place >= typed, data_type: None });
    }
    partitions
}

/// What a job says of the partitions of its inputs.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartitionOptions<'a> {
    /// The types of partitions, by name, as the user writes them; text where none is given.
    pub types: &'a [(String, String)],
    /// The condition on rows, by which files are left out; one that does not parse leaves out none.
    pub condition: Option<&'a str>,
    /// The names of the job's definitions, which take precedence over partitions in the condition.
    pub defined: &'a [(String, String)],
}

/// The names of types that partitions may have.
const TYPES: [(&str, DataType); 9] = [
    ("text", DataType::Utf8),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint64", DataType::UInt64),
    ("float64", DataType::Float64),
    ("bool", DataType::Boolean),
    ("date", DataType::Date32),
    ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ("timestamp_ns", DataType::Timestamp(TimeUnit::Nanosecond, None)),
];

/// Returns the type of a partition: that which the job says, or that of the table, or text.
fn type_of(partition: &Partition, options: PartitionOptions) -> Result<DataType, Error> {
    let name = &partition.name;
    let Some((_, text)) = options.types.iter().find(|(known, _)| known == name) else {
        return Ok(partition.data_type.clone().unwrap_or(DataType::Utf8));
    };
    let known = TYPES.into_iter().find(|(word, _)| word == text).map(|(_, data_type)| data_type);
    // Arrow's own names are known too, such as `Decimal128(10, 2)`.
    known.or_else(|| DataType::from_str(text).ok()).ok_or_else(|| {
        let words: Vec<&str> = TYPES.iter().map(|(word, _)| *word).collect();
        let reason = format!("there is no type `{text}`; the types are {}", list(&words));
        Error::Invalid { place: Setting::PartitionType.of(name), reason }
    })
}

/// Checks that the partitions whose types are given exist.
///
/// # Errors
/// If no file has one of them.
pub fn check_types(files: &[Vec<Partition>], options: PartitionOptions) -> Result<(), Error> {
    let mut known: Vec<&str> = files.iter().flatten().map(|partition| partition.name.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    match options.types.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let reason = match known.as_slice() {
                [] => "no file lies in a directory such as `name=value`".to_owned(),
                known => format!("no file has this partition; the partitions are {}", list(known)),
            };
            Err(Error::Invalid { place: Setting::PartitionType.of(name), reason })
        }
    }
}

/// Returns which files may have rows that meet the condition of the job, by their partitions alone. Parts of the condition that
/// use anything else are left to the rows.
#[must_use]
pub fn may_meet(files: &[Vec<Partition>], options: PartitionOptions) -> Vec<bool> {
    let mut keep = vec![true; files.len()];
    let Some(condition) = options.condition.and_then(|text| parse_condition(text).ok()) else { return keep };
    let mut columns: HashMap<String, Option<Column>> = HashMap::new();
    for part in conjuncts(&condition) {
        let used = names(part);
        let is_known = |name: &&str| {
            let is_defined = options.defined.iter().any(|(defined, _)| defined == name);
            !is_defined
                && files.iter().all(|file| find(file, name).is_some_and(|partition| partition.is_found))
        };
        if used.is_empty() || !used.iter().all(is_known) {
            continue;
        }
        let mut table = Table::new(files.len());
        for &name in &used {
            let column =
                columns.entry(name.to_owned()).or_insert_with(|| column_of_partition(files, name, options));
            if let Some(column) = column {
                table.push(name, column.clone());
            }
        }
        // What cannot be evaluated is an error where the rows are read.
        let Some(met) = evaluate(part, &table).ok().and_then(|truth| rows_where(&truth)) else { continue };
        let mut meets = vec![false; files.len()];
        met.into_iter().for_each(|file| meets[file as usize] = true);
        keep.iter_mut().zip(meets).for_each(|(keep, meets)| *keep &= meets);
    }
    keep
}

/// Returns the partition of a name.
fn find<'a>(file: &'a [Partition], name: &str) -> Option<&'a Partition> {
    file.iter().find(|partition| partition.name == name)
}

/// Returns the values of a partition that all files have, one for each file; `None` if they have no common type.
fn column_of_partition(files: &[Vec<Partition>], name: &str, options: PartitionOptions) -> Option<Column> {
    let partitions: Option<Vec<&Partition>> = files.iter().map(|file| find(file, name)).collect();
    let partitions = partitions?;
    let data_type = type_of(partitions.first()?, options).ok()?;
    if partitions.iter().any(|partition| type_of(partition, options).ok().as_ref() != Some(&data_type)) {
        return None;
    }
    let values = partitions.iter().map(|partition| partition.value.clone());
    to_column(&typed(values.collect(), &data_type).ok()?).ok()
}

/// Returns the parts of a condition that must all hold.
fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::And(a, b) => [conjuncts(a), conjuncts(b)].concat(),
        _ => vec![expr],
    }
}

/// Returns texts as values of a type.
fn typed(texts: Vec<Option<String>>, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    // Arrow parses instants in zones with an offset alone.
    let parsed = match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        other => other.clone(),
    };
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    cast_exactly(&cast_exactly(&texts, &parsed)?, data_type)
}

/// A column with one value in all rows of a file.
#[derive(Clone, Debug)]
pub struct ConstantColumn {
    /// The name and the type.
    pub field: FieldRef,
    /// The value, in an array of length 1.
    value: ArrayRef,
}

impl ConstantColumn {
    /// Returns a column of nulls.
    #[must_use]
    pub fn null(field: &FieldRef) -> ConstantColumn {
        let field = Arc::new(field.as_ref().clone().with_nullable(true));
        let value = new_null_array(field.data_type(), 1);
        ConstantColumn { field, value }
    }
}

/// Returns the columns of a file that its partitions give: those of its table, and those of directories that the file does not
/// hold itself. `schema` has the columns of the file.
///
/// # Errors
/// If a value is not of the type that is given.
pub fn constant_columns(
    path: &Path,
    partitions: &[Partition],
    schema: &SchemaRef,
    options: PartitionOptions,
) -> Result<Vec<ConstantColumn>, Error> {
    let is_given = |partition: &&Partition| {
        partition.data_type.is_some() || schema.field_with_name(&partition.name).is_err()
    };
    let given = partitions.iter().filter(is_given);
    given
        .map(|partition| {
            let Partition { name, value, .. } = partition;
            let data_type = type_of(partition, options)?;
            let value = typed(vec![value.clone()], &data_type).map_err(|error| {
                let reason = format!("{}: {error}", path.display());
                Error::Invalid { place: Setting::PartitionType.of(name), reason }
            })?;
            Ok(ConstantColumn { field: Arc::new(Field::new(name, data_type, true)), value })
        })
        .collect()
}

/// Returns a batch with some of its columns and constant columns after them.
///
/// # Errors
/// If the batch cannot be built.
pub fn with_constants(
    batch: &RecordBatch,
    keep: &[usize],
    constants: &[ConstantColumn],
) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let zeros = UInt32Array::from(vec![0; rows]);
    let schema = batch.schema();
    let mut fields: Vec<FieldRef> = keep.iter().map(|&i| Arc::clone(&schema.fields()[i])).collect();
    let mut columns: Vec<ArrayRef> = keep.iter().map(|&i| Arc::clone(batch.column(i))).collect();
    for constant in constants {
        fields.push(Arc::clone(&constant.field));
        columns.push(take(&constant.value as &dyn Array, &zeros, None)?);
    }
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(name: &str, value: Option<&str>, is_found: bool) -> Partition {
        Partition { name: name.to_owned(), value: value.map(str::to_owned), is_found, data_type: None }
    }

    /// The names are those that Spark 3.5 writes for these values: `a b/c=d`, 100 %, null, and a text with a leading zero.
    #[test]
    fn values_are_unescaped() {
        let path = Path::new(
            "/lake/x=1/t/family=a b%2Fc%3Dd/share=100%25/run=__HIVE_DEFAULT_PARTITION__/code=007/p.parquet",
        );
        let expected = [
            partition("x", Some("1"), false),
            partition("family", Some("a b/c=d"), true),
            partition("share", Some("100%"), true),
            partition("run", None, true),
            partition("code", Some("007"), true),
        ];
        assert_eq!(partitions_of(path, 4), expected);
        assert_eq!(partitions_of(Path::new("a/=b/c=d.parquet"), 0), []);
    }

    #[test]
    fn conditions_leave_out_files() {
        let file = |family: &str, year: &str| {
            vec![partition("family", Some(family), true), partition("year", Some(year), true)]
        };
        let files = [
            file("llama", "2023"),
            file("gpt", "2024"),
            file("gpt", "9"),
            vec![partition("family", None, true), partition("year", Some("2024"), true)],
        ];
        let types = [("year".to_owned(), "int64".to_owned())];
        let kept = |text: &str, defined: &[(String, String)]| {
            may_meet(&files, PartitionOptions { types: &types, condition: Some(text), defined })
        };
        assert_eq!(kept("family = 'gpt' and loss > 2", &[]), [false, true, true, false]);
        assert_eq!(kept("year > 100 and family like 'l%'", &[]), [true, false, false, false]);
        assert_eq!(kept("family is null", &[]), [false, false, false, true]);
        // What also uses a column of the rows, or is an alternative to it, is left to them.
        assert_eq!(kept("family = 'gpt' or loss > 2", &[]), [true; 4]);
        let defined = [("family".to_owned(), "other".to_owned())];
        assert_eq!(kept("family = 'gpt'", &defined), [true; 4]);
    }
}
