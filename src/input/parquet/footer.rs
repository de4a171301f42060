//! Reads the footer of a file, before the decoder sees any of it.
//!
//! The decoder trusts the numbers of a footer: it allocates by them and recurses by them. [`Footer::read`] therefore walks
//! the footer itself, with bounded nesting and with counts that are held against the bytes that remain, and checks every
//! place in the file that the footer refers to. The decoder is then given the schema of the columns that are read, encoded
//! anew ([`Footer::schema_of`]), and nothing else, so that what it does not know in other columns does not matter.
//!
//! Source: `parquet.thrift` and `README.md` in apache/parquet-format. The numbers of fields are those of its structs.

use std::ops::Range;

use bytes::Bytes;

use super::super::limits::most_values;
use super::codec::Codec;
use super::thrift::{Malformed, Reader, Writer, kind, wrong};

/// The depth to which columns may be nested.
const MAX_SCHEMA_DEPTH: usize = 100;

/// The key of the Arrow schema in the metadata.
const ARROW_SCHEMA: &str = "ARROW:schema";

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The file contradicts itself or the format.
    Damaged(String),
    /// The file asks for something that may be valid but cannot be read.
    Unsupported {
        /// The column that asks for it; `None` for the file as a whole.
        column: Option<String>,
        /// What is asked for: a noun.
        what: String,
    },
}

/// The parts of a footer that reading needs.
#[derive(Debug)]
pub(super) struct Footer {
    /// The encoded footer.
    bytes: Bytes,
    /// The number of rows.
    pub(super) rows: u64,
    /// The program that wrote the file.
    pub(super) created_by: Option<String>,
    /// The Arrow schema of the columns, in base64.
    pub(super) arrow_schema: Option<String>,
    /// The top-level columns.
    pub(super) columns: Vec<Column>,
    /// The leaves of all columns, in the order of the schema.
    leaves: Vec<Leaf>,
    pub(super) groups: Vec<RowGroup>,
    /// Whether the order of the columns is stated, without which their least and greatest values mean nothing.
    has_order: bool,
}

/// A top-level column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// Why the column cannot be read, if it cannot.
    pub(super) unsupported: Option<String>,
    /// Whether the column is a primitive of type INT96.
    pub(super) is_int96: bool,
    /// The place of the column's elements of the schema in the footer.
    encoded: Range<usize>,
    /// The number of these elements.
    elements: usize,
    /// The column's leaves.
    pub(super) leaves: Range<usize>,
}

/// A primitive column, at any depth.
#[derive(Debug)]
struct Leaf {
    /// The physical type's number in `parquet.thrift`.
    physical: i32,
    /// Whether the leaf may have several values in a row.
    is_repeated: bool,
}

/// Rows that are stored together.
#[derive(Debug)]
pub(super) struct RowGroup {
    pub(super) rows: u64,
    /// The values of each leaf.
    pub(super) chunks: Vec<Chunk>,
}

/// The values of a leaf in a row group.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) codec: Codec,
    /// The number of values, including nulls.
    pub(super) values: u64,
    /// The place of the first page in the file.
    pub(super) start: u64,
    /// The length of all pages in the file, with their headers.
    pub(super) length: u64,
    /// The places in the footer of the least and the greatest value, if they are stated.
    bounds: Option<[Range<usize>; 2]>,
}

/// An element of the schema.
struct Element<'a> {
    name: &'a str,
    physical: Option<i32>,
    children: Option<i32>,
    is_repeated: bool,
}

/// What is wrong with a footer.
enum Fault {
    Malformed(Malformed),
    Refused(Refusal),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Fault {
        Fault::Malformed(malformed)
    }
}

/// Returns the fault of a footer whose statements do not agree with one another or with the file.
fn damaged<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Refused(Refusal::Damaged(reason.into())))
}

/// Returns the fault of a footer that asks for what cannot be read.
fn unsupported<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Refused(Refusal::Unsupported { column: None, what: what.into() }))
}

impl Footer {
    /// Reads a footer. `file` is the length of the file in bytes.
    pub(super) fn read(bytes: Bytes, file: u64) -> Result<Footer, Refusal> {
        let footer = Footer {
            bytes: bytes.clone(),
            rows: 0,
            created_by: None,
            arrow_schema: None,
            columns: Vec::new(),
            leaves: Vec::new(),
            groups: Vec::new(),
            has_order: false,
        };
        match footer.filled(&bytes, file) {
            Ok(footer) => Ok(footer),
            Err(Fault::Refused(refusal)) => Err(refusal),
            Err(Fault::Malformed(malformed)) => {
                Err(Refusal::Damaged(format!("its footer cannot be decoded: {}", malformed.text())))
            }
        }
    }

    fn filled(mut self, bytes: &[u8], file: u64) -> Result<Footer, Fault> {
        let (mut reader, mut last) = (Reader::new(bytes), 0);
        let (mut rows, mut groups) = (None, None);
        while let Some(field) = reader.field(&mut last)? {
            match field.id {
                2 if self.columns.is_empty() => {
                    let count = reader.list(field, kind::STRUCT)?;
                    self.read_schema(&mut reader, count)?;
                }
                3 => rows = Some(reader.integer(field)?),
                // The row groups are read after the schema, which may follow them.
                4 => {
                    groups = Some((reader.clone(), field));
                    reader.skip(field)?;
                }
                5 => {
                    let count = reader.list(field, kind::STRUCT)?;
                    for _ in 0..count {
                        self.read_pair(&mut reader)?;
                    }
                }
                7 => {
                    self.has_order = true;
                    reader.skip(field)?;
                }
                6 => self.created_by = Some(String::from_utf8_lossy(reader.binary(field)?).into_owned()),
                _ => reader.skip(field)?,
            }
        }
        let Some(rows) = rows else { return damaged("its footer states no number of rows") };
        let Some((mut reader, field)) = groups else { return damaged("its footer has no row groups") };
        let count = reader.list(field, kind::STRUCT)?;
        for number in 0..count {
            let group = self.read_group(&mut reader, number, file)?;
            self.groups.push(group);
        }
        let total = self.groups.iter().try_fold(0_u64, |sum, group| sum.checked_add(group.rows));
        match (u64::try_from(rows), total) {
            (Ok(rows), Some(total)) if rows == total => self.rows = rows,
            (_, Some(total)) => {
                return damaged(format!("its footer states {rows} rows, and its row groups {total} rows"));
            }
            (_, None) => {
                return damaged("its row groups state more rows than can be counted");
            }
        }
        if self.rows > most_values(file) {
            return unsupported(format!("reading {} rows from {file} bytes", self.rows));
        }
        Ok(self)
    }

    /// Reads the elements of the schema, a tree in depth-first order.
    fn read_schema(&mut self, reader: &mut Reader, count: usize) -> Result<(), Fault> {
        if count == 0 {
            return damaged("its schema is empty");
        }
        let root = read_element(reader)?;
        // For each open group: its children that are still to come, and whether it is repeated.
        let mut open = vec![(children_of(&root, count - 1)?, false)];
        for place in 1..count {
            let start = reader.position();
            let element = read_element(reader)?;
            let Some((left @ 1.., in_repeated)) = open.last_mut() else {
                return damaged("its schema has more elements than columns");
            };
            *left -= 1;
            let is_repeated = *in_repeated || element.is_repeated;
            if open.len() == 1 {
                self.columns.push(Column {
                    name: element.name.to_owned(),
                    unsupported: None,
                    is_int96: element.physical == Some(3),
                    encoded: start..start,
                    elements: 0,
                    leaves: self.leaves.len()..self.leaves.len(),
                });
            }
            match children_of(&element, count - place - 1)? {
                0 => {
                    if let Some(physical) = element.physical {
                        self.leaves.push(Leaf { physical, is_repeated });
                    }
                }
                _ if open.len() == MAX_SCHEMA_DEPTH => {
                    return unsupported(format!(
                        "a schema that is nested more than {MAX_SCHEMA_DEPTH} levels deep"
                    ));
                }
                children => open.push((children, is_repeated)),
            }
            let column = self.columns.last_mut().expect("the first element after the root is a column");
            column.encoded.end = reader.position();
            column.elements += 1;
            column.leaves.end = self.leaves.len();
            while open.last().is_some_and(|(left, _)| *left == 0) {
                open.pop();
            }
        }
        if open.iter().any(|(left, _)| *left > 0) {
            return damaged("its schema states more columns than it has");
        }
        Ok(())
    }

    /// Reads a key with its value from the metadata.
    fn read_pair(&mut self, reader: &mut Reader) -> Result<(), Malformed> {
        let (mut key, mut value, mut last) = (&[][..], None, 0);
        while let Some(field) = reader.field(&mut last)? {
            match field.id {
                1 => key = reader.binary(field)?,
                2 => value = Some(reader.binary(field)?),
                _ => reader.skip(field)?,
            }
        }
        if key == ARROW_SCHEMA.as_bytes() {
            self.arrow_schema = value.and_then(|text| std::str::from_utf8(text).ok()).map(str::to_owned);
        }
        Ok(())
    }

    fn read_group(&mut self, reader: &mut Reader, number: usize, file: u64) -> Result<RowGroup, Fault> {
        let (mut chunks, mut rows, mut last) = (None, None, 0);
        while let Some(field) = reader.field(&mut last)? {
            match field.id {
                1 => {
                    let count = reader.list(field, kind::STRUCT)?;
                    if count != self.leaves.len() {
                        return damaged(format!(
                            "row group {number} has {count} columns, and the schema {}",
                            self.leaves.len()
                        ));
                    }
                    let mut column = 0;
                    let mut read = Vec::new();
                    for leaf in 0..count {
                        while self.columns[column].leaves.end <= leaf {
                            column += 1;
                        }
                        read.push(self.read_chunk(reader, number, leaf, column, file)?);
                    }
                    chunks = Some(read);
                }
                3 => rows = Some(reader.integer(field)?),
                _ => reader.skip(field)?,
            }
        }
        let Some(chunks) = chunks else { return damaged(format!("row group {number} has no columns")) };
        let Some(rows) = rows.and_then(|rows| u64::try_from(rows).ok()) else {
            return damaged(format!("row group {number} states no number of rows"));
        };
        for column in &self.columns {
            let leaves = &self.leaves[column.leaves.clone()];
            for (leaf, chunk) in leaves.iter().zip(&chunks[column.leaves.clone()]) {
                if column.unsupported.is_none() && !leaf.is_repeated && chunk.values != rows {
                    return damaged(format!(
                        "row group {number} states {rows} rows, and its column `{}` {} values",
                        column.name, chunk.values
                    ));
                }
            }
        }
        Ok(RowGroup { rows, chunks })
    }

    /// Reads a `ColumnChunk`. Where it asks for what cannot be read, its column is marked.
    fn read_chunk(
        &mut self,
        reader: &mut Reader,
        group: usize,
        leaf: usize,
        column: usize,
        file: u64,
    ) -> Result<Chunk, Fault> {
        let (mut found, mut last) = (None, 0);
        let mut unsupported = None;
        while let Some(field) = reader.field(&mut last)? {
            match field.id {
                1 => {
                    reader.skip(field)?;
                    unsupported.get_or_insert("a column whose values lie in another file".to_owned());
                }
                3 => {
                    reader.expect_struct(field)?;
                    found = Some(read_chunk_metadata(reader)?);
                }
                8 | 9 => {
                    reader.skip(field)?;
                    unsupported = Some("encryption".to_owned());
                }
                _ => reader.skip(field)?,
            }
        }
        let column = &mut self.columns[column];
        let what = || format!("row group {group}: column `{}`", column.name);
        let Some(found) = found else {
            if unsupported.is_none() {
                return damaged(format!("{} has no metadata", what()));
            }
            column.unsupported = unsupported;
            return Ok(Chunk { codec: Codec::None, values: 0, start: 0, length: 0, bounds: None });
        };
        let ChunkMetadata { physical, codec, values, length, data, dictionary, unknown_encoding, bounds } =
            found;
        if physical != self.leaves[leaf].physical {
            return damaged(format!("{} has another type than in the schema", what()));
        }
        // Some writers state a dictionary at 0 where there is none, and data at 0 where there is only a dictionary.
        let is_first = |&dictionary: &i64| 0 < dictionary && (dictionary < data || data == 0);
        let start = dictionary.filter(is_first).unwrap_or(data);
        let unsigned = |value: i64| u64::try_from(value).ok();
        let (Some(values), Some(start), Some(length)) = (unsigned(values), unsigned(start), unsigned(length))
        else {
            return damaged(format!("{} states negative numbers", what()));
        };
        if unsupported.is_none() && start.checked_add(length).is_none_or(|end| end > file) {
            return damaged(format!(
                "{} is said to have {length} bytes at {start}, and the file has {file}",
                what()
            ));
        }
        let unknown = match Codec::from_number(codec) {
            Err(name) => Some(format!("compression {name}")),
            Ok(_) => unknown_encoding.map(|encoding| format!("encoding {encoding}")),
        };
        let too_many = (values > most_values(file))
            .then(|| format!("reading {values} values from a file of {file} bytes"));
        unsupported = unsupported.or(unknown).or(too_many);
        if unsupported.is_some() {
            column.unsupported = unsupported;
        }
        Ok(Chunk { codec: Codec::from_number(codec).unwrap_or(Codec::None), values, start, length, bounds })
    }

    /// Returns the encoded least and greatest value of a leaf in a row group; `None` where they are not stated.
    pub(super) fn bounds(&self, group: &RowGroup, leaf: usize) -> Option<(&[u8], &[u8])> {
        let [least, greatest] = group.chunks.get(leaf)?.bounds.clone().filter(|_| self.has_order)?;
        Some((&self.bytes[least], &self.bytes[greatest]))
    }

    /// Returns the number of a leaf's physical type in `parquet.thrift`.
    pub(super) fn physical(&self, leaf: usize) -> Option<i32> {
        self.leaves.get(leaf).filter(|leaf| !leaf.is_repeated).map(|leaf| leaf.physical)
    }

    /// Returns the encoded footer.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns an encoded footer with the schema of these columns and no rows, for the decoder.
    pub(super) fn schema_of(&self, columns: &[usize]) -> Vec<u8> {
        let columns = || columns.iter().map(|&column| &self.columns[column]);
        let mut writer = Writer::default();
        writer.integer(1, kind::I32, 1);
        writer.list(1, 1 + columns().map(|column| column.elements).sum::<usize>());
        // The root has a name and its number of children.
        writer.text(4, "schema");
        writer.integer(1, kind::I32, columns().count() as u32);
        writer.end();
        for column in columns() {
            writer.encoded(&self.bytes[column.encoded.clone()]);
        }
        writer.integer(1, kind::I64, 0);
        writer.list(1, 0);
        writer.end();
        writer.finish()
    }
}

/// Returns the number of an element's children, at most the number of elements that follow it.
fn children_of(element: &Element, follow: usize) -> Result<usize, Fault> {
    let stated = element.children.unwrap_or(0);
    match usize::try_from(stated) {
        Ok(children) if children <= follow => Ok(children),
        _ => damaged(format!(
            "`{}` states {stated} columns in it, and {follow} elements of the schema follow",
            element.name
        )),
    }
}

/// Reads a `SchemaElement`.
fn read_element<'a>(reader: &mut Reader<'a>) -> Result<Element<'a>, Malformed> {
    let (mut name, mut last) = (None, 0);
    let (mut physical, mut children, mut is_repeated) = (None, None, false);
    while let Some(field) = reader.field(&mut last)? {
        match field.id {
            1 => physical = Some(reader.i32(field)?),
            3 => is_repeated = reader.i32(field)? == 2,
            4 => name = Some(reader.text(field)?),
            5 => children = Some(reader.i32(field)?),
            _ => reader.skip(field)?,
        }
    }
    let Some(name) = name else { return wrong("a column has no name") };
    Ok(Element { name, physical, children, is_repeated })
}

/// The parts of a `ColumnMetaData` that reading needs.
struct ChunkMetadata {
    physical: i32,
    codec: i32,
    values: i64,
    length: i64,
    data: i64,
    dictionary: Option<i64>,
    unknown_encoding: Option<i64>,
    bounds: Option<[Range<usize>; 2]>,
}

/// Reads a `ColumnMetaData`.
fn read_chunk_metadata(reader: &mut Reader) -> Result<ChunkMetadata, Malformed> {
    let (mut physical, mut codec, mut values, mut length, mut data) = (None, None, None, None, None);
    let (mut dictionary, mut unknown_encoding, mut bounds, mut last) = (None, None, None, 0);
    while let Some(field) = reader.field(&mut last)? {
        match field.id {
            1 => physical = Some(reader.i32(field)?),
            2 => {
                let count = reader.list(field, kind::I32)?;
                for _ in 0..count {
                    let encoding = reader.zigzag()?;
                    if !(0..=9).contains(&encoding) || encoding == 1 {
                        unknown_encoding = Some(encoding);
                    }
                }
            }
            4 => codec = Some(reader.i32(field)?),
            5 => values = Some(reader.integer(field)?),
            7 => length = Some(reader.integer(field)?),
            9 => data = Some(reader.integer(field)?),
            11 => dictionary = Some(reader.integer(field)?),
            12 => {
                reader.expect_struct(field)?;
                bounds = read_bounds(reader)?;
            }
            _ => reader.skip(field)?,
        }
    }
    match (physical, codec, values, length, data) {
        (Some(physical), Some(codec), Some(values), Some(length), Some(data)) => {
            Ok(ChunkMetadata { physical, codec, values, length, data, dictionary, unknown_encoding, bounds })
        }
        _ => wrong("the metadata of a column lack its type, compression, size or place"),
    }
}

/// Reads the `Statistics` of a column and returns the places of its least and its greatest value. Those of old writers, whose
/// order is not known for all types, are not used.
fn read_bounds(reader: &mut Reader) -> Result<Option<[Range<usize>; 2]>, Malformed> {
    let (mut least, mut greatest, mut last) = (None, None, 0);
    while let Some(field) = reader.field(&mut last)? {
        match field.id {
            5 | 6 => {
                let length = reader.binary(field)?.len();
                let place = Some(reader.position() - length..reader.position());
                if field.id == 5 { greatest = place } else { least = place }
            }
            _ => reader.skip(field)?,
        }
    }
    Ok(least.zip(greatest).map(|(least, greatest)| [least, greatest]))
}
