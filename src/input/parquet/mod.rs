//! Implements [`Source`] for Parquet files; every file is a fragment.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | [`ParquetFiles`]: the files of a job, with their schemas |
//! | [`paths`] | the files that names, directories and globs refer to |
//! | [`partitions`] | columns with one value in all rows of a file: those in the names of directories, and of tables |
//! | `open_file` | opening a file, and errors for files that are not valid |
//! | `footer`, `thrift` | a file's footer, checked before the decoder sees it; the protocol in which it is encoded |
//! | `schema` | the Arrow types of columns |
//! | `statistics` | the row groups in which the condition of a job cannot hold |
//! | `pages`, `codec` | the pages of a column, checked before the decoder sees them; their decompression |
//!
//! A file is taken to be hostile. No number in it decides how much memory is allocated or how deep a function recurses,
//! unless the number was held against the bytes that are there. The decoder of the crate `parquet` is given schemas, and
//! pages, that have passed these checks. Its panics become errors.
//!
//! The folder knows nothing of keys, conditions and sweeps.

mod codec;
mod footer;
mod open_file;
mod pages;
pub mod partitions;
pub mod paths;
mod schema;
mod statistics;
mod thrift;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::column::page::PageIterator;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use sha2::{Digest, Sha256};

use crate::error::{Error, Phase};
use crate::formula::parse_condition;

use super::found::{Expanded, FoundFile, FoundTable, Skipped, TableSchema};
use super::guard::guard;
use super::limits::Budget;
use super::location::{FileVersion, Location};
use super::objects::fetch_ends;
use super::source::{BATCH_ROWS, Fragment, RecordBatches, Source, UNSUPPORTED};
use footer::{Footer, RowGroup};
use open_file::{OpenFile, decoding_error, open};
use pages::LeafPages;
use partitions::{
    ConstantColumn, Partition, PartitionOptions, constant_columns, may_meet, partitions_of, with_constants,
};
use statistics::may_hold;

/// The beginning of the name of the program in the footers of tables that a run has written.
pub const RESULTS_WRITTEN_BY: &str = "sweepfit ";

/// Parquet files whose footers have been read.
#[derive(Debug, Clone)]
pub struct ParquetFiles {
    /// The files, sorted by path.
    files: Vec<FileState>,
    /// The schema and row count of each file.
    fragments: Vec<Fragment>,
    /// The files and directories that are not read.
    skipped: Vec<Skipped>,
    /// The number of files that the condition leaves out by their partitions.
    pruned: usize,
}

/// A file as it was when the job began.
#[derive(Debug, Clone)]
struct FileState {
    location: Location,
    /// What identified its content, to detect changes.
    version: FileVersion,
    /// The hash of its footer.
    footer: [u8; 32],
    /// The columns that its partitions give.
    constants: Vec<ConstantColumn>,
    /// Whether each row group is read.
    reads: Vec<bool>,
    /// The places of the columns of the file that are not read, ascending.
    hidden: Vec<usize>,
    /// The parts that can be read apart.
    parts: Vec<Part>,
}

/// Consecutive row groups of a file.
#[derive(Debug, Clone)]
struct Part {
    groups: Range<usize>,
    rows: Range<u64>,
}

/// The number of rows that a part has at least, unless the file has fewer: the footer is read again for each.
const PART_ROWS: u64 = 1 << 17;

/// The number of parts of a file at most, about.
const MOST_PARTS: u64 = 64;

/// Divides the row groups of a file into parts.
fn parts(footer: &Footer) -> Vec<Part> {
    let least = PART_ROWS.max(footer.rows / MOST_PARTS);
    let mut parts: Vec<Part> = vec![Part { groups: 0..0, rows: 0..0 }];
    for (group, RowGroup { rows, .. }) in footer.groups.iter().enumerate() {
        let last = parts.len() - 1;
        let Part { groups, rows: of_part } = &mut parts[last];
        if of_part.end - of_part.start < least {
            groups.end = group + 1;
            of_part.end += rows;
        } else {
            let of_part = of_part.end..of_part.end + rows;
            parts.push(Part { groups: group..group + 1, rows: of_part });
        }
    }
    parts
}

impl ParquetFiles {
    /// Finds files by names, directories and globs, and reads their footers.
    ///
    /// Files are sorted by path and listed once each (see [`paths::expand`]). The types of columns may differ between
    /// files; [`open()`](super::open()) checks the columns that a job uses. Directories such as `family=llama` give columns, and
    /// files whose partitions the condition excludes are not opened.
    ///
    /// # Errors
    /// If there is no file, or a file cannot be read or is not a Parquet file. Tables that a run has written are read only
    /// where they are given by their full names. Delta tables are refused; [`InputFiles`](super::InputFiles) reads them.
    pub fn find(inputs: &[String]) -> Result<ParquetFiles, Error> {
        let Expanded { files, tables, skipped } = paths::expand(inputs)?;
        if let Some(FoundTable { path, .. }) = tables.first() {
            return Err(Error::TableFormat { path: path.display().to_string(), format: "Delta" });
        }
        let found = ParquetFiles::of(files, skipped, PartitionOptions::default())?;
        if found.files.is_empty() {
            return Err(Error::OnlyResults { path: inputs.join(", ") });
        }
        Ok(found)
    }

    /// Reads the footers of files that were found; there may be none.
    pub(super) fn of(
        mut files: Vec<FoundFile>,
        skipped: Vec<Skipped>,
        partitions: PartitionOptions,
    ) -> Result<ParquetFiles, Error> {
        let mut found = ParquetFiles { files: Vec::new(), fragments: Vec::new(), skipped, pruned: 0 };
        let partitions_of_file = |file: &mut FoundFile| match &mut file.table {
            Some(table) => std::mem::take(&mut table.partitions),
            None => partitions_of(&file.location.path, file.typed),
        };
        let of_files: Vec<Vec<Partition>> = files.iter_mut().map(partitions_of_file).collect();
        partitions::check_types(&of_files, partitions)?;
        let mut keep = may_meet(&of_files, partitions);
        found.pruned = keep.iter().filter(|keep| !**keep).count();
        if found.pruned == files.len() && !files.is_empty() {
            // The columns are those of a file, if none of its rows.
            keep[0] = true;
            found.pruned -= 1;
        }
        // One that cannot be parsed is an error where the job is planned.
        let condition = partitions.condition.and_then(|text| parse_condition(text).ok());
        let mut tables = Vec::new();
        let kept = files.into_iter().zip(of_files).zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| file);
        let kept: Vec<(FoundFile, Vec<Partition>)> = kept.collect();
        let objects = kept.iter().filter_map(|(file, _)| file.location.object.as_ref());
        fetch_ends(&objects.collect::<Vec<_>>(), true);
        for (FoundFile { location, named, table, .. }, own) in kept {
            let schema = table.map(|table| table.schema);
            let Inspected { mut file, mut fragment, footer, is_result } = match &schema {
                Some(schema) => inspect_of_table(location, schema)?,
                None => inspect(location)?,
            };
            if is_result && !named {
                found.skipped.push(Skipped::new(&file.location.path, "it is a result of sweepfit"));
                continue;
            }
            file.constants = constant_columns(&file.location.path, &own, &fragment.schema, partitions)?;
            if let Some(schema) = &schema {
                fragment.version = Some(schema.version.to_string());
                file.hidden = hidden_columns(&fragment.schema, schema, &file.constants);
            }
            // The rows of lists are counted otherwise.
            let is_nested = fragment.schema.fields().iter().any(|field| field.data_type().is_nested());
            if let Some(condition) = condition.as_ref().filter(|_| !is_nested) {
                let is_column = |place: usize, name: &str| {
                    file.hidden.binary_search(&place).is_err()
                        && partitions.defined.iter().all(|(defined, _)| defined != name)
                };
                file.reads = may_hold(&footer, &fragment.schema, condition, &is_column);
                fragment.skipped = rows_of_groups(&footer, |group| !file.reads[group]);
            }
            // Only the schema is kept: the rest of the footer can be large.
            drop(footer);
            if !file.constants.is_empty() || !file.hidden.is_empty() {
                let own = fragment.schema.fields().iter().enumerate();
                let shown = own
                    .filter(|(place, _)| file.hidden.binary_search(place).is_err())
                    .map(|(_, field)| field);
                let constants = file.constants.iter().map(|constant| &constant.field);
                let fields: Fields = shown.chain(constants).cloned().collect();
                fragment.schema = Arc::new(Schema::new(fields));
            }
            if let Some(last) = found.fragments.last().filter(|last| last.schema == fragment.schema) {
                fragment.schema = Arc::clone(&last.schema);
            }
            found.files.push(file);
            found.fragments.push(fragment);
            tables.push(schema);
        }
        add_absent_columns(&mut found.fragments, &tables)?;
        Ok(found)
    }

    /// Returns the number of files that are not opened, because the condition excludes their partitions.
    #[must_use]
    pub fn pruned(&self) -> usize {
        self.pruned
    }

    /// Returns the files and directories that the inputs match and that are not read, with the reasons.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// A file whose footer was read.
struct Inspected {
    file: FileState,
    fragment: Fragment,
    footer: Footer,
    /// Whether it is a table that a run has written.
    is_result: bool,
}

/// Reads the footer of a file.
fn inspect(location: Location) -> Result<Inspected, Error> {
    let (source, footer) = open(&location, Phase::Inspect)?;
    let name = location.path.display().to_string();
    let written_by = footer.created_by.as_ref();
    let is_result = written_by.is_some_and(|program| program.starts_with(RESULTS_WRITTEN_BY));
    let fragment = Fragment {
        name,
        rows: footer.rows,
        bytes: Some(source.version().bytes),
        version: source.tag(),
        schema: schema::arrow_schema(&footer),
        skipped: Vec::new(),
    };
    let file = FileState {
        location,
        version: source.version(),
        footer: hash(&footer),
        constants: Vec::new(),
        reads: vec![true; footer.groups.len()],
        hidden: Vec::new(),
        parts: parts(&footer),
    };
    Ok(Inspected { file, fragment, footer, is_result })
}

/// Returns the rows of the row groups that are chosen, as ranges with gaps between them.
fn rows_of_groups(footer: &Footer, is_chosen: impl Fn(usize) -> bool) -> Vec<Range<u64>> {
    let (mut ranges, mut first): (Vec<Range<u64>>, u64) = (Vec::new(), 0);
    for (group, RowGroup { rows, .. }) in footer.groups.iter().enumerate() {
        let own = first..first + rows;
        first = own.end;
        match ranges.last_mut() {
            _ if !is_chosen(group) || *rows == 0 => {}
            Some(last) if last.end == own.start => last.end = own.end,
            _ => ranges.push(own),
        }
    }
    ranges
}

/// Like [`inspect`], for a file that the log of a table lists, which may have been removed or be no regular file.
fn inspect_of_table(location: Location, schema: &TableSchema) -> Result<Inspected, Error> {
    let path = &location.path;
    if location.object.is_none() && fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let source = io::Error::other("it is not a regular file");
        return Err(Error::Unreadable { path: path.display().to_string(), source, phase: Phase::Inspect });
    }
    inspect(location).map_err(|error| match error {
        Error::Missing { path } => missing_of_table(schema, Path::new(&path)),
        error => error,
    })
}

/// Returns the error for a file of a table that does not exist.
pub(super) fn missing_of_table(schema: &TableSchema, path: &Path) -> Error {
    Error::Table {
        path: schema.path.display().to_string(),
        reason: format!(
            "version {} of this table has the file {}, which does not exist; it was moved, or removed, as VACUUM does; restore \
             the file, or read a copy of the table that has it",
            schema.version,
            path.display()
        ),
    }
}

/// Returns the places of the columns in a file that are not read: those that are none of its table's, and those that the
/// table's partitions give.
fn hidden_columns(own: &Schema, table: &TableSchema, constants: &[ConstantColumn]) -> Vec<usize> {
    let mut shown: HashSet<&str> = table.fields.iter().map(|field| field.name().as_str()).collect();
    for constant in constants {
        shown.remove(constant.field.name().as_str());
    }
    let places = own.fields().iter().enumerate();
    places.filter(|(_, field)| !shown.contains(field.name().as_str())).map(|(place, _)| place).collect()
}

/// The number of columns that are added to the schemas of files, of all tables together.
const MOST_ABSENT: usize = 1 << 24;

/// Adds to each fragment, at the end, the columns of its table that it lacks, because they were added to the table later. Their
/// types are those in other files, or those of the table if no file has them.
fn add_absent_columns(fragments: &mut [Fragment], tables: &[Option<Arc<TableSchema>>]) -> Result<(), Error> {
    let mut types: HashMap<(*const TableSchema, &str), &FieldRef> = HashMap::new();
    let mut schemas: Vec<SchemaRef> = Vec::with_capacity(fragments.len());
    for (fragment, table) in fragments.iter().zip(tables) {
        if let Some(table) = table {
            for field in fragment.schema.fields() {
                types.entry((Arc::as_ptr(table), field.name())).or_insert(field);
            }
        }
    }
    let mut added = 0;
    for (i, (fragment, table)) in fragments.iter().zip(tables).enumerate() {
        let own = &fragment.schema;
        if i > 0 && Arc::ptr_eq(own, &fragments[i - 1].schema) && same_table(table, &tables[i - 1]) {
            schemas.push(Arc::clone(&schemas[i - 1]));
            continue;
        }
        let Some(table) = table else {
            schemas.push(Arc::clone(own));
            continue;
        };
        let names: HashSet<&str> = own.fields().iter().map(|field| field.name().as_str()).collect();
        let absent = table.fields.iter().filter(|field| !names.contains(field.name().as_str()));
        let absent: Vec<FieldRef> = absent
            .map(|field| types.get(&(Arc::as_ptr(table), field.name().as_str())).copied().unwrap_or(field))
            .cloned()
            .collect();
        added += absent.len();
        if added > MOST_ABSENT {
            let limit = MOST_ABSENT as u64;
            return Err(Error::TooMany { what: "columns that files of a table lack", limit });
        }
        let fields: Fields = own.fields().iter().cloned().chain(absent).collect();
        schemas.push(Arc::new(Schema::new(fields)));
    }
    fragments.iter_mut().zip(schemas).for_each(|(fragment, schema)| fragment.schema = schema);
    Ok(())
}

/// Returns whether two files are of one table, or of none.
fn same_table(a: &Option<Arc<TableSchema>>, b: &Option<Arc<TableSchema>>) -> bool {
    a.as_ref().map(Arc::as_ptr) == b.as_ref().map(Arc::as_ptr)
}

/// Returns the hash of a footer, to detect changes.
fn hash(footer: &Footer) -> [u8; 32] {
    Sha256::digest(footer.bytes()).into()
}

impl Source for ParquetFiles {
    fn fragments(&self) -> &[Fragment] {
        &self.fragments
    }

    fn read(&self, fragment: usize, columns: &HashSet<String>) -> Result<RecordBatches<'_>, Error> {
        self.read_part(fragment, &(0..self.fragments[fragment].rows), columns)
    }

    fn parts(&self, fragment: usize) -> Vec<Range<u64>> {
        self.files[fragment].parts.iter().map(|part| part.rows.clone()).collect()
    }

    fn read_part(
        &self,
        fragment: usize,
        part: &Range<u64>,
        columns: &HashSet<String>,
    ) -> Result<RecordBatches<'_>, Error> {
        let (file, fragment) = (&self.files[fragment], &self.fragments[fragment]);
        // A part whose rows lie within those that are asked for is read.
        let asked = |of_part: &&Part| of_part.rows.start >= part.start && of_part.rows.end <= part.end;
        let mut reads = vec![false; file.reads.len()];
        for of_part in file.parts.iter().filter(asked) {
            reads[of_part.groups.clone()].copy_from_slice(&file.reads[of_part.groups.clone()]);
        }
        if *part != (0..fragment.rows) && !reads.contains(&true) {
            return Ok(Box::new(std::iter::empty()));
        }
        let changed = |what: &str| Error::Changed { path: fragment.name.clone(), what: what.to_owned() };
        let (source, footer) = open(&file.location, Phase::Read)?;
        if let Some(what) = file.version.change_to(source.version()) {
            return Err(changed(what));
        }
        if hash(&footer) != file.footer {
            return Err(changed("it has another footer"));
        }
        let fields = fragment.schema.fields();
        let shown = || (0..footer.columns.len()).filter(|place| file.hidden.binary_search(place).is_err());
        let own = || shown().zip(fields);
        let is_asked = |(_, field): &(usize, &FieldRef)| columns.contains(field.name());
        let asked = file.constants.iter().filter(|constant| columns.contains(constant.field.name()));
        let absent = fields.iter().skip(shown().count() + file.constants.len());
        let absent = absent.filter(|field| columns.contains(field.name()));
        let constants = asked.cloned().chain(absent.map(ConstantColumn::null)).collect();
        let mut read: Vec<(usize, FieldRef)> =
            own().filter(is_asked).map(|(i, field)| (i, as_view(field))).collect();
        let n_asked = read.len();
        if read.is_empty() {
            // A column that can be read tells how many rows there are.
            let readable = own().find(|(_, field)| !field.metadata().contains_key(UNSUPPORTED));
            read.extend(readable.map(|(i, field)| (i, as_view(field))));
        }
        let (places, fields): (Vec<usize>, Vec<FieldRef>) = read.into_iter().unzip();
        let budget = Arc::new(Budget::new(source.version().bytes));
        let step = || reader((&source, &budget), (&footer, &reads), &places, &Fields::from(fields));
        let failed = |reason: String| decoding_error(&file.location.path, &source, reason, Phase::Read);
        let reader = guard(step).map_err(failed)?.map_err(|e| failed(e.to_string()))?;
        let keep = (0..n_asked).collect();
        let lengths = rows_of_groups(&footer, |group| reads[group]);
        let lengths: Vec<u64> = lengths.into_iter().map(|rows| rows.end - rows.start).collect();
        let lengths = lengths.into_iter();
        Ok(Box::new(FileBatches {
            file,
            source,
            budget,
            reader,
            keep,
            constants,
            rest: None,
            lengths,
            left: 0,
        }))
    }
}

/// Returns a column of text or bytes as one of views, in nested columns too: the values of a batch then stay in their pages,
/// where the copies of one long value in a dictionary take its memory once.
fn as_view(field: &FieldRef) -> FieldRef {
    let view = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nested_as_view).collect()),
        DataType::List(item) => DataType::List(nested_as_view(item)),
        DataType::LargeList(item) => DataType::LargeList(nested_as_view(item)),
        DataType::Map(entries, sorted) => DataType::Map(nested_as_view(entries), *sorted),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(view))
}

/// Like [`as_view`], for a field of a nested column, where dictionaries of text become views too.
fn nested_as_view(field: &FieldRef) -> FieldRef {
    match field.data_type() {
        DataType::Dictionary(_, values) if values.is_string() || values.is_binary() => {
            as_view(&Arc::new(field.as_ref().clone().with_data_type(values.as_ref().clone())))
        }
        _ => as_view(field),
    }
}

/// Returns a reader of the columns at some places of a file, in the types of `fields`. `reads` says whether each row group is
/// read.
fn reader(
    (source, budget): (&OpenFile, &Arc<Budget>),
    (footer, reads): (&Footer, &[bool]),
    places: &[usize],
    fields: &Fields,
) -> ParquetResult<ParquetRecordBatchReader> {
    let metadata = ParquetMetaDataReader::decode_metadata(&footer.schema_of(places))?;
    let schema = metadata.file_metadata().schema_descr();
    let levels = parquet_to_arrow_field_levels(schema, ProjectionMask::all(), Some(fields))?;
    let leaves = places.iter().flat_map(|&place| footer.columns[place].leaves.clone()).collect();
    let groups = CheckedPages {
        source: source.clone(),
        budget: Arc::clone(budget),
        footer,
        reads,
        leaves,
        metadata: &metadata,
    };
    ParquetRecordBatchReader::try_new_with_row_groups(&levels, &groups, BATCH_ROWS, None)
}

/// The pages of some columns in the row groups of a file that are read, as the decoder asks for them.
struct CheckedPages<'a> {
    source: OpenFile,
    budget: Arc<Budget>,
    footer: &'a Footer,
    /// Whether each row group is read.
    reads: &'a [bool],
    /// The places of the leaves that are read, among all leaves of the file.
    leaves: Vec<usize>,
    /// The schema of these leaves.
    metadata: &'a ParquetMetaData,
}

impl CheckedPages<'_> {
    /// Returns the row groups that are read.
    fn groups(&self) -> impl Iterator<Item = &RowGroup> {
        self.footer.groups.iter().zip(self.reads).filter(|(_, reads)| **reads).map(|(group, _)| group)
    }
}

impl RowGroups for CheckedPages<'_> {
    fn num_rows(&self) -> usize {
        usize::try_from(self.groups().map(|group| group.rows).sum::<u64>()).unwrap_or(usize::MAX)
    }

    fn column_chunks(&self, leaf: usize) -> ParquetResult<Box<dyn PageIterator>> {
        let descriptor = self.metadata.file_metadata().schema_descr().column(leaf);
        let place = *self.leaves.get(leaf).ok_or_else(|| ParquetError::General(format!("no leaf {leaf}")))?;
        let chunks = self.groups().map(|group| group.chunks[place].clone()).collect();
        let pages = LeafPages::new(self.source.clone(), Arc::clone(&self.budget), descriptor, chunks)?;
        Ok(Box::new(pages))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// An iterator over the batches of a file.
struct FileBatches<'a> {
    file: &'a FileState,
    source: OpenFile,
    budget: Arc<Budget>,
    reader: ParquetRecordBatchReader,
    /// The places of the decoded columns that are asked for.
    keep: Vec<usize>,
    /// The columns that partitions give and that are asked for.
    constants: Vec<ConstantColumn>,
    /// A batch that is passed on in parts: its rest, and the bytes of text in each row.
    rest: Option<(RecordBatch, Vec<usize>)>,
    /// The numbers of rows between those that are not read, from the next one on.
    lengths: std::vec::IntoIter<u64>,
    /// The number of rows that follow before the next that are not read.
    left: u64,
}

impl FileBatches<'_> {
    fn failed(&self, reason: String) -> Error {
        decoding_error(&self.file.location.path, &self.source, reason, Phase::Read)
    }

    /// Returns the rest of the last batch, or the next batch of the decoder.
    fn read(&mut self) -> Result<Option<(RecordBatch, Vec<usize>)>, Error> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        self.budget.begin_batch();
        let batch = guard(|| self.reader.next().transpose()).map_err(|panic| self.failed(panic))?;
        let Some(batch) = batch.map_err(|e| self.failed(e.to_string()))? else {
            // Values that were decoded while the file was written may be of two versions.
            return match self.source.change() {
                None => Ok(None),
                Some(what) => {
                    let path = self.file.location.path.display().to_string();
                    Err(Error::Changed { path, what: what.to_owned() })
                }
            };
        };
        let mut sizes = vec![0; batch.num_rows()];
        guard(|| batch.columns().iter().for_each(|column| add_sizes(column, TEXT_AT_ONCE, &mut sizes)))
            .map_err(|panic| self.failed(panic))?;
        let text = sizes.iter().map(|size| *size as u64).sum();
        self.budget.add_text(text).map_err(|what| {
            let path = self.file.location.path.display().to_string();
            Error::Unsupported { path, column: None, what }
        })?;
        Ok(Some((batch, sizes)))
    }
}

impl Iterator for FileBatches<'_> {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (batch, mut sizes) = match self.read() {
            Ok(read) => read?,
            Err(error) => return Some(Err(error)),
        };
        if self.left == 0 {
            // A file with more rows than its footer states is an error of the caller's.
            self.left = self.lengths.next().unwrap_or(u64::MAX);
        }
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let rows = rows_within(&sizes, TEXT_AT_ONCE).min(left);
        self.left -= rows as u64;
        let first = if rows == batch.num_rows() {
            batch
        } else {
            let first = batch.slice(0, rows);
            self.rest = Some((batch.slice(rows, batch.num_rows() - rows), sizes.split_off(rows)));
            first
        };
        if self.constants.is_empty() && self.keep.len() == first.num_columns() {
            return Some(Ok(first));
        }
        let whole = with_constants(&first, &self.keep, &self.constants);
        Some(whole.map_err(|error| self.failed(error.to_string())))
    }
}

/// The bytes of text that are passed on in one batch. The rows of a batch can share a long text, of which each gets a copy.
const TEXT_AT_ONCE: usize = 1 << 24;

/// Returns the number of rows, of the given sizes, that have at most `most` bytes together; at least 1 unless there is none.
fn rows_within(sizes: &[usize], most: usize) -> usize {
    let mut total = 0;
    let fit = sizes.iter().take_while(|size| {
        total += **size;
        total <= most
    });
    fit.count().max(1).min(sizes.len())
}

/// Adds the length of each text of a column, unless texts of its greatest length are at most `most` bytes together.
fn add_sizes(column: &ArrayRef, most: usize, sizes: &mut [usize]) {
    let rows = column.len();
    match column.data_type() {
        DataType::Utf8View | DataType::BinaryView => {
            let views = match column.data_type() {
                DataType::Utf8View => column.as_string_view().views(),
                _ => column.as_binary_view().views(),
            };
            // The first four bytes of a view are the length.
            let longest = views.iter().map(|view| *view as u32 as usize).max().unwrap_or(0);
            if longest.saturating_mul(rows) > most {
                sizes.iter_mut().zip(views).for_each(|(size, view)| *size += *view as u32 as usize);
            }
        }
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_any_dictionary();
            let values = dictionary.values();
            let lengths: Vec<usize> = match values.data_type() {
                DataType::Utf8 => values.as_string::<i32>().offsets().lengths().collect(),
                DataType::LargeUtf8 => values.as_string::<i64>().offsets().lengths().collect(),
                DataType::Binary => values.as_binary::<i32>().offsets().lengths().collect(),
                DataType::LargeBinary => values.as_binary::<i64>().offsets().lengths().collect(),
                _ => return,
            };
            let longest = lengths.iter().max().copied().unwrap_or(0);
            if longest.saturating_mul(rows) > most {
                let keys = dictionary.normalized_keys();
                sizes.iter_mut().zip(keys).for_each(|(size, key)| *size += lengths[key]);
            }
        }
        _ => {}
    }
}
