//! Tables in hive partitions: a directory with a file for each value of the first key columns, which are not columns of the files.
//!
//! ```text
//! fits.parquet/_partitions.json
//! fits.parquet/family=llama/part-0.parquet
//! fits.parquet/family=mamba/part-0.parquet
//! ```
//!
//! `_partitions.json` has the types of these columns, which the names of directories do not tell, and the partitions in the
//! order of the sweeps. Other readers skip it, because its name begins with `_`. A table without rows is a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, UInt64Array};
use arrow::compute::{cast, partition, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// The file that describes the partitions of a table.
const DESCRIPTION: &str = "_partitions.json";

/// The file with the rows of a partition.
const PART: &str = "part-0.parquet";

/// The bytes that a name may have in a directory.
const MOST_NAME: usize = 255;

/// The value that stands for null in the names of directories.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The characters that Hive escapes in the names of directories.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'\'')
    .add(b'*')
    .add(b'/')
    .add(b':')
    .add(b'=')
    .add(b'?')
    .add(b'\\')
    .add(b'{')
    .add(b'[')
    .add(b']')
    .add(b'^');

/// The number of rows that are read at a time: few enough for their memory to be used again and again.
const BATCH_ROWS: usize = 1 << 13;

/// The partitions of a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Partitions {
    /// The columns that partition the table, its first.
    pub columns: Vec<PartitionColumn>,
    /// The partitions, in the order of the sweeps. A file that is not there is an error.
    order: Vec<PartitionValues>,
}

/// A column that partitions a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type, as arrow writes types.
    #[serde(rename = "type")]
    data_type: String,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PartitionValues {
    /// Its directory, below that of the table.
    path: String,
    /// The values of the columns, as texts.
    values: Vec<Option<String>>,
}

impl Partitions {
    /// Returns the partitions by the first columns of the keys of all sweeps.
    ///
    /// # Errors
    /// If a type has no text from which its values come back, with the column's name.
    pub fn of(fields: &[FieldRef], keys: &[ArrayRef]) -> Result<Partitions, String> {
        let columns: Vec<PartitionColumn> = fields.iter().map(column_of).collect();
        let mut order = Vec::new();
        if keys.first().is_none_or(|keys| keys.is_empty()) {
            return Ok(Partitions { columns, order });
        }
        let runs = partition(keys).map_err(|error| error.to_string())?.ranges();
        let firsts = UInt64Array::from_iter_values(runs.iter().map(|run| run.start as u64));
        let mut of_columns = Vec::with_capacity(keys.len());
        for (key, field) in keys.iter().zip(fields) {
            let failed = |reason: String| format!("`{}` cannot partition tables: {reason}", field.name());
            let values = take(key, &firsts, None).map_err(|error| failed(error.to_string()))?;
            let texts = texts(&values).map_err(|error| failed(error.to_string()))?;
            let back = cast(&StringArray::from(texts.clone()), field.data_type())
                .map_err(|error| failed(error.to_string()))?;
            let value = cast(&values, field.data_type()).map_err(|error| failed(error.to_string()))?;
            if back.to_data() != value.to_data() {
                return Err(failed("its values do not come back from their texts".to_owned()));
            }
            of_columns.push(texts);
        }
        for run in 0..runs.len() {
            let values: Vec<Option<String>> = of_columns.iter().map(|texts| texts[run].clone()).collect();
            order.push(PartitionValues { path: path_of(&columns, &values), values });
        }
        for PartitionValues { path, values } in &order {
            let reason = match path.split('/').find(|name| name.len() > MOST_NAME) {
                Some(_) => "its name would be longer than file systems allow",
                None if values.iter().any(|value| value.as_deref() == Some("")) => {
                    "other readers refuse an empty text"
                }
                None if values.iter().any(|value| value.as_deref() == Some(NULL)) => {
                    "other readers take it for null"
                }
                None if path.starts_with(['.', '_']) || path.contains("/.") || path.contains("/_") => {
                    "other readers skip names that begin with `.` or `_`"
                }
                None => continue,
            };
            return Err(format!("there would be a partition {path}: {reason}"));
        }
        let in_one_case = cfg!(any(windows, target_vendor = "apple"));
        let name = |partition: &PartitionValues| match in_one_case {
            true => partition.path.to_lowercase(),
            false => partition.path.clone(),
        };
        let mut paths: Vec<String> = order.iter().map(name).collect();
        paths.sort_unstable();
        if let Some(pair) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("two values would have the directory {}", pair[0]));
        }
        Ok(Partitions { columns, order })
    }

    /// Returns whether there are no partitions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() || self.order.is_empty()
    }

    /// Returns whether a table has these columns first.
    #[must_use]
    pub fn divide(&self, schema: &Schema) -> bool {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        !self.is_empty()
            && names.take(self.columns.len()).eq(self.columns.iter().map(|column| column.name.as_str()))
    }

    /// Returns the runs of rows of a table that are in one partition, each with the path of its file and without the columns that
    /// partition the table.
    ///
    /// # Errors
    /// If arrow fails.
    pub fn split(&self, rows: &RecordBatch) -> Result<Vec<(PathBuf, RecordBatch)>, ArrowError> {
        let n = self.columns.len();
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let (keys, rest) = (&rows.columns()[..n], (n..rows.num_columns()).collect::<Vec<_>>());
        let mut parts = Vec::new();
        for run in partition(keys)?.ranges() {
            let path = path_of(&self.columns, &values_at(keys, run.start)?);
            let part = rows.slice(run.start, run.end - run.start).project(&rest)?;
            parts.push((Path::new(&path).join(PART), part));
        }
        Ok(parts)
    }

    /// Returns the schema of the files of a table.
    #[must_use]
    pub fn file_schema(&self, schema: &Schema) -> SchemaRef {
        let rest: Vec<FieldRef> = schema.fields().iter().skip(self.columns.len()).cloned().collect();
        Schema::new(rest).into()
    }

    /// Writes the description of a table's partitions to its directory, of those that the table has.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, table: &Path) -> std::io::Result<()> {
        let file = File::create(table.join(DESCRIPTION))?;
        let has = |partition: &&PartitionValues| table.join(&partition.path).join(PART).exists();
        let order = self.order.iter().filter(has).cloned().collect();
        serde_json::to_writer(&file, &Partitions { columns: self.columns.clone(), order })?;
        file.sync_all()
    }
}

fn column_of(field: &FieldRef) -> PartitionColumn {
    PartitionColumn { name: field.name().clone(), data_type: field.data_type().to_string() }
}

/// Returns the values of an array as texts.
fn texts(values: &ArrayRef) -> Result<Vec<Option<String>>, ArrowError> {
    (0..values.len()).map(|row| text_at(values, row)).collect()
}

fn text_at(values: &ArrayRef, row: usize) -> Result<Option<String>, ArrowError> {
    if values.is_null(row) { Ok(None) } else { array_value_to_string(values, row).map(Some) }
}

fn values_at(keys: &[ArrayRef], row: usize) -> Result<Vec<Option<String>>, ArrowError> {
    keys.iter().map(|key| text_at(key, row)).collect()
}

/// Returns the directory of a partition.
fn path_of(columns: &[PartitionColumn], values: &[Option<String>]) -> String {
    let name = |(column, value): (&PartitionColumn, &Option<String>)| {
        format!("{}={}", escaped(&column.name), value.as_deref().map_or_else(|| NULL.to_owned(), escaped))
    };
    columns.iter().zip(values).map(name).collect::<Vec<_>>().join("/")
}

/// Returns a text as Hive writes it in the names of directories. Letters beyond ASCII stay, because Spark takes an escape for a
/// character, and not for a byte.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c.is_ascii() {
        true => utf8_percent_encode(c.encode_utf8(&mut [0; 4]), ESCAPED).to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Returns whether a file in the directory of a table is one that runs write.
#[must_use]
pub fn is_part(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == PART || name == DESCRIPTION)
}

/// The rows of a table that a run has written: a file, or a directory of partitions.
pub struct TableBatches {
    path: PathBuf,
    /// The names of the columns that are read; none for all.
    columns: Option<Vec<String>>,
    schema: SchemaRef,
    current: Option<PartBatches>,
    rest: std::vec::IntoIter<(PathBuf, Vec<ArrayRef>)>,
    types: Vec<FieldRef>,
}

/// The rows of a file, and the values of the columns that its partition gives.
struct PartBatches {
    reader: ParquetRecordBatchReader,
    constants: Vec<ArrayRef>,
}

impl TableBatches {
    /// Opens a table, with all columns or with some.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: PathBuf, columns: Option<&[&str]>) -> Result<TableBatches, String> {
        let columns = columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let mut table = TableBatches {
            path,
            columns,
            schema: SchemaRef::new(Schema::empty()),
            current: None,
            rest: Vec::new().into_iter(),
            types: Vec::new(),
        };
        let mut files = vec![(table.path.clone(), Vec::new())];
        if table.path.is_dir() {
            let text = fs::read_to_string(table.path.join(DESCRIPTION))
                .map_err(|error| format!("{DESCRIPTION}: {error}"))?;
            let partitions: Partitions =
                serde_json::from_str(&text).map_err(|error| format!("{DESCRIPTION}: {error}"))?;
            files = table.parts(&partitions)?;
        }
        table.rest = files.into_iter();
        table.next_part().map_err(|error| error.to_string())?;
        let Some(first) = &table.current else { return Err("it has no files".to_owned()) };
        let own = arrow::array::RecordBatchReader::schema(&first.reader);
        let fields: Vec<FieldRef> = table.types.iter().chain(own.fields()).cloned().collect();
        table.schema = Schema::new(fields).into();
        Ok(table)
    }

    /// Returns the files of partitions, and for each the values of the columns that are read.
    fn parts(&mut self, partitions: &Partitions) -> Result<Vec<(PathBuf, Vec<ArrayRef>)>, String> {
        let is_asked =
            |column: &PartitionColumn| self.columns.as_ref().is_none_or(|names| names.contains(&column.name));
        let asked: Vec<usize> =
            (0..partitions.columns.len()).filter(|&i| is_asked(&partitions.columns[i])).collect();
        for &i in &asked {
            let PartitionColumn { name, data_type } = &partitions.columns[i];
            let data_type: DataType =
                data_type.parse().map_err(|_| format!("{DESCRIPTION}: the type {data_type}"))?;
            self.types.push(Field::new(name, data_type, true).into());
        }
        let mut files = Vec::new();
        for PartitionValues { path, values } in &partitions.order {
            let file = self.path.join(path).join(PART);
            let constants = asked.iter().zip(&self.types).map(|(&i, field)| {
                let value = StringArray::from(vec![values.get(i).cloned().flatten()]);
                cast(&value, field.data_type()).map_err(|error| error.to_string())
            });
            files.push((file, constants.collect::<Result<_, _>>()?));
        }
        Ok(files)
    }

    /// Returns the columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// Opens the next file, if there is one.
    fn next_part(&mut self) -> Result<(), ArrowError> {
        self.current = None;
        let Some((path, constants)) = self.rest.next() else { return Ok(()) };
        let named =
            |error: std::io::Error| ArrowError::IoError(format!("{}: {error}", path.display()), error);
        let mut builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).map_err(named)?)?;
        if let Some(columns) = &self.columns {
            let own = columns.iter().map(String::as_str);
            let mask = ProjectionMask::columns(builder.parquet_schema(), own);
            builder = builder.with_projection(mask);
        }
        self.current = Some(PartBatches { reader: builder.with_batch_size(BATCH_ROWS).build()?, constants });
        Ok(())
    }

    /// Returns the rows of all batches together.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn all(self) -> Result<RecordBatch, ArrowError> {
        let schema = self.schema();
        arrow::compute::concat_batches(&schema, &self.collect::<Result<Vec<_>, _>>()?)
    }
}

impl Iterator for TableBatches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let part = self.current.as_mut()?;
            match part.reader.next() {
                Some(Ok(rows)) => return Some(with_constants(&rows, &part.constants, &self.schema)),
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    if let Err(error) = self.next_part() {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

/// Returns rows with columns of one value before them.
fn with_constants(
    rows: &RecordBatch,
    constants: &[ArrayRef],
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    if constants.is_empty() {
        return Ok(rows.clone());
    }
    let repeated = UInt64Array::from(vec![0; rows.num_rows()]);
    let mut columns =
        constants.iter().map(|value| take(value, &repeated, None)).collect::<Result<Vec<_>, _>>()?;
    columns.extend(rows.columns().iter().cloned());
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
}
