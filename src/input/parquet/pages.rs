//! Reads the pages of a column, checking the header of each before its page is decompressed.
//!
//! A page header states sizes and numbers by which the decoder allocates. Here they are held against the bytes of the page,
//! against the numbers in the footer and against limits that depend on the length of the file, so that a small file cannot
//! ask for much memory.
//!
//! Source: `parquet.thrift` and `Encodings.md` in apache/parquet-format.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::schema::types::ColumnDescriptor;

use super::super::limits::Budget;
use super::codec::Codec;
use super::footer::{Chunk, Refusal};
use super::open_file::OpenFile;
use super::thrift::{Field, Malformed, Reader, kind, wrong};

/// The largest width of values of a fixed number of bytes.
const MAX_FIXED_WIDTH: i32 = 1024;

/// The values of a leaf in all row groups.
pub(super) struct LeafPages {
    leaf: Arc<Leaf>,
    chunks: std::vec::IntoIter<Chunk>,
}

/// What the pages of a leaf have in common.
struct Leaf {
    source: OpenFile,
    budget: Arc<Budget>,
    /// The name of the top-level column.
    column: String,
    descriptor: Arc<ColumnDescriptor>,
}

impl LeafPages {
    pub(super) fn new(
        source: OpenFile,
        budget: Arc<Budget>,
        descriptor: Arc<ColumnDescriptor>,
        chunks: Vec<Chunk>,
    ) -> ParquetResult<LeafPages> {
        let column = descriptor.path().parts().first().cloned().unwrap_or_default();
        let leaf = Leaf { source, budget, column, descriptor };
        let width = leaf.descriptor.type_length();
        if leaf.descriptor.physical_type() == Type::FIXED_LEN_BYTE_ARRAY && width > MAX_FIXED_WIDTH {
            return Err(leaf.unsupported(format!("values of {width} bytes each")));
        }
        Ok(LeafPages { leaf: Arc::new(leaf), chunks: chunks.into_iter() })
    }
}

impl Iterator for LeafPages {
    type Item = ParquetResult<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.chunks.next()?;
        Some(Ok(Box::new(ChunkPages {
            leaf: Arc::clone(&self.leaf),
            position: chunk.start,
            left: chunk.length,
            values_left: chunk.values,
            is_first: true,
            peeked: None,
            codec: chunk.codec,
        })))
    }
}

impl PageIterator for LeafPages {}

impl Leaf {
    /// Records that the file is damaged in this column, and returns the decoder's error.
    fn damaged(&self, reason: impl AsRef<str>) -> ParquetError {
        self.source.refuse(Refusal::Damaged(format!("column `{}`: {}", self.column, reason.as_ref())))
    }

    /// Records that something in this column is not supported, and returns the decoder's error.
    fn unsupported(&self, what: String) -> ParquetError {
        self.source.refuse(Refusal::Unsupported { column: Some(self.column.clone()), what })
    }
}

/// The pages of one leaf in one row group.
struct ChunkPages {
    leaf: Arc<Leaf>,
    codec: Codec,
    /// The place of the next header, or of the page after the peeked header.
    position: u64,
    /// The bytes of the chunk from `position` on.
    left: u64,
    /// The values that the footer states, less those of the pages so far.
    values_left: u64,
    /// Whether no page was read.
    is_first: bool,
    /// The header of the next page, if it was read.
    peeked: Option<Header>,
}

impl ChunkPages {
    /// Returns the header of the next data or dictionary page; `None` at the end of the chunk.
    fn header(&mut self) -> ParquetResult<Option<Header>> {
        if let Some(header) = self.peeked {
            return Ok(Some(header));
        }
        if self.is_first && self.values_left == 0 {
            return Ok(None);
        }
        while self.left > 0 {
            let header = self.read_header()?;
            let leaf = &self.leaf;
            let (Ok(compressed), Ok(uncompressed)) =
                (u64::try_from(header.compressed), u64::try_from(header.uncompressed))
            else {
                return Err(leaf.damaged("a page header states a negative size"));
            };
            if compressed > self.left {
                return Err(leaf.damaged(format!(
                    "a page header states {compressed} bytes, and its row group has {} left",
                    self.left
                )));
            }
            match header.body {
                Body::Index => {
                    self.skip_body(&header);
                    continue;
                }
                Body::Other(number) => {
                    return Err(leaf.unsupported(format!("a page of type {number}")));
                }
                Body::Dictionary { values, .. } => {
                    if !self.is_first {
                        return Err(leaf.damaged("a dictionary follows other pages"));
                    }
                    let least = leaf.least_bytes();
                    if u64::try_from(values).is_ok_and(|values| values > uncompressed / least) {
                        return Err(leaf.damaged(format!(
                            "a dictionary of {uncompressed} bytes is said to have {values} values"
                        )));
                    }
                }
                Body::Data { values, .. } => {
                    let values = u64::try_from(values).ok().filter(|&values| values <= self.values_left);
                    let Some(values) = values else {
                        return Err(leaf.damaged("its pages have more values than the footer states"));
                    };
                    if values == 0 {
                        // The decoder would take an empty page for the end of the column.
                        self.skip_body(&header);
                        continue;
                    }
                    self.values_left -= values;
                }
            }
            self.is_first = false;
            self.peeked = Some(header);
            return Ok(Some(header));
        }
        if self.values_left > 0 {
            let missing = self.values_left;
            return Err(self
                .leaf
                .damaged(format!("its pages lack {missing} of the values that the footer states")));
        }
        Ok(None)
    }

    /// Reads the header at the position and moves past it.
    fn read_header(&mut self) -> ParquetResult<Header> {
        // Statistics can make a header long.
        let mut window = 1024;
        loop {
            let bytes = self.leaf.source.read_at(self.position, window.min(self.left))?;
            let mut reader = Reader::new(&bytes);
            match Header::read(&mut reader) {
                Ok(header) => {
                    self.position += reader.position() as u64;
                    self.left -= reader.position() as u64;
                    return Ok(header);
                }
                Err(Malformed::Ends) if window < self.left => window *= 16,
                Err(malformed) => {
                    return Err(self.leaf.damaged(format!("a page header is wrong: {}", malformed.text())));
                }
            }
        }
    }

    /// Moves past the page of the peeked header.
    fn skip_body(&mut self, header: &Header) {
        self.peeked = None;
        self.position += header.compressed as u64;
        self.left -= header.compressed as u64;
    }

    /// Reads and decompresses the page of the peeked header.
    fn body(&mut self, header: &Header) -> ParquetResult<Bytes> {
        let leaf = Arc::clone(&self.leaf);
        let bytes = leaf.source.read_at(self.position, header.compressed as u64)?;
        self.skip_body(header);
        if header.checksum.is_some_and(|stated| crc32fast::hash(&bytes) != stated as u32) {
            return Err(leaf.damaged("a page does not have the checksum (CRC) that its header states"));
        }
        // In pages of the second version, levels are not compressed.
        let (levels, is_compressed) = match header.body {
            Body::Data { version: Version::Two { definition, repetition, is_compressed, .. }, .. } => {
                let levels = u64::try_from(definition).ok().zip(u64::try_from(repetition).ok());
                let levels = levels.map(|(definition, repetition)| definition + repetition);
                let least = bytes.len().min(header.uncompressed as usize) as u64;
                let Some(levels) = levels.filter(|levels| *levels <= least) else {
                    return Err(leaf.damaged("a page is shorter than its levels"));
                };
                (levels as usize, is_compressed)
            }
            _ => (0, true),
        };
        if self.codec == Codec::None || !is_compressed {
            return Ok(bytes);
        }
        leaf.budget.add(header.uncompressed as u64).map_err(|what| leaf.unsupported(what))?;
        let size = header.uncompressed as usize - levels;
        // A page of nulls alone has no compressed bytes.
        let values = if size == 0 { Ok(Vec::new()) } else { self.codec.decompress(&bytes[levels..], size) };
        let values = values.map_err(|e| leaf.damaged(format!("a page cannot be decompressed: {e}")))?;
        Ok(if levels == 0 { values.into() } else { [&bytes[..levels], &values].concat().into() })
    }
}

impl Iterator for ChunkPages {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for ChunkPages {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        let Some(header) = self.header()? else { return Ok(None) };
        let leaf = Arc::clone(&self.leaf);
        let buf = self.body(&header)?;
        let count = |number: i32| {
            u32::try_from(number).map_err(|_| leaf.damaged("a page header states a negative number"))
        };
        let encoding_of = |number: i32| leaf.encoding(number);
        Ok(Some(match header.body {
            Body::Dictionary { values, encoding } => Page::DictionaryPage {
                buf,
                num_values: count(values)?,
                encoding: encoding_of(encoding)?,
                is_sorted: false,
            },
            Body::Data { values, encoding, version } => {
                let number = encoding;
                let encoding = encoding_of(number)?;
                leaf.check_values(&buf, values, number, version)?;
                match version {
                    Version::One { definition, repetition } => Page::DataPage {
                        buf,
                        num_values: count(values)?,
                        encoding,
                        def_level_encoding: level_encoding(definition),
                        rep_level_encoding: level_encoding(repetition),
                        statistics: None,
                    },
                    Version::Two { nulls, rows, definition, repetition, is_compressed } => Page::DataPageV2 {
                        buf,
                        num_values: count(values)?,
                        encoding,
                        num_nulls: count(nulls)?,
                        num_rows: count(rows)?,
                        def_levels_byte_len: count(definition)?,
                        rep_levels_byte_len: count(repetition)?,
                        is_compressed,
                        statistics: None,
                    },
                }
            }
            Body::Index | Body::Other(_) => return Ok(None),
        }))
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        Ok(self.header()?.map(|header| {
            let (is_dict, num_levels, num_rows) = match header.body {
                Body::Data { values, version, .. } => match version {
                    Version::One { .. } => (false, Some(values), None),
                    Version::Two { rows, .. } => (false, Some(values), Some(rows)),
                },
                _ => (true, None, None),
            };
            let size = |number: i32| usize::try_from(number).unwrap_or(0);
            PageMetadata { num_rows: num_rows.map(size), num_levels: num_levels.map(size), is_dict }
        }))
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        if let Some(header) = self.header()? {
            self.skip_body(&header);
        }
        Ok(())
    }
}

/// Returns the encoding of levels with a number. The decoder refuses all but two.
fn level_encoding(number: i32) -> Encoding {
    #[allow(deprecated, reason = "old files have levels in this encoding")]
    match number {
        3 => Encoding::RLE,
        4 => Encoding::BIT_PACKED,
        _ => Encoding::PLAIN,
    }
}

impl Leaf {
    /// Returns the least number of bytes of a value in a dictionary.
    fn least_bytes(&self) -> u64 {
        match self.descriptor.physical_type() {
            Type::BOOLEAN => 1,
            Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::FIXED_LEN_BYTE_ARRAY => u64::try_from(self.descriptor.type_length()).unwrap_or(0).max(1),
        }
    }

    /// Returns the encoding of values with a number, if the decoder knows it for the column's type.
    fn encoding(&self, number: i32) -> ParquetResult<Encoding> {
        let physical = self.descriptor.physical_type();
        let (encoding, is_known) = match number {
            0 => (Encoding::PLAIN, true),
            2 => (Encoding::PLAIN_DICTIONARY, physical != Type::BOOLEAN),
            3 => (Encoding::RLE, physical == Type::BOOLEAN),
            5 => (Encoding::DELTA_BINARY_PACKED, matches!(physical, Type::INT32 | Type::INT64)),
            6 => (Encoding::DELTA_LENGTH_BYTE_ARRAY, physical == Type::BYTE_ARRAY),
            7 => (
                Encoding::DELTA_BYTE_ARRAY,
                matches!(physical, Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY),
            ),
            8 => (Encoding::RLE_DICTIONARY, physical != Type::BOOLEAN),
            9 => (
                Encoding::BYTE_STREAM_SPLIT,
                !matches!(physical, Type::BOOLEAN | Type::INT96 | Type::BYTE_ARRAY),
            ),
            _ => (Encoding::PLAIN, false),
        };
        if is_known {
            return Ok(encoding);
        }
        let name = match number {
            _ if encoding != Encoding::PLAIN => encoding.to_string(),
            number => format!("number {number}"),
        };
        Err(self.unsupported(format!("encoding {name} of values of type {physical}")))
    }

    /// Checks the numbers in the values of a page by which the decoder allocates: those of the encodings of differences.
    fn check_values(&self, page: &[u8], values: i32, encoding: i32, version: Version) -> ParquetResult<()> {
        if !matches!(encoding, 5..=7) {
            return Ok(());
        }
        let checked = self.start_of_values(page, values, version).and_then(|start| {
            let packed = Deltas::read(page, start, values)?;
            if encoding != 7 {
                return Ok(0);
            }
            // The lengths of prefixes shared with the value before, then those of what follows them.
            let suffixes = Deltas::read(page, packed.end, values)?;
            Ok(packed.sum.saturating_add(suffixes.sum))
        });
        let bytes = checked.map_err(|malformed| {
            self.damaged(format!("the values of a page are wrong: {}", malformed.text()))
        })?;
        self.budget.add(bytes).map_err(|what| self.unsupported(what))
    }

    /// Returns the place of the first value in a page, after the levels.
    fn start_of_values(&self, page: &[u8], values: i32, version: Version) -> Result<usize, Malformed> {
        let levels = [self.descriptor.max_rep_level(), self.descriptor.max_def_level()];
        match version {
            Version::Two { definition, repetition, .. } => {
                Ok((i64::from(definition) + i64::from(repetition)) as usize)
            }
            Version::One { definition, repetition } => {
                let mut start = 0_usize;
                for (most, encoding) in levels.into_iter().zip([repetition, definition]) {
                    if most == 0 {
                        continue;
                    }
                    start += if encoding == 4 {
                        let bits = 16 - most.leading_zeros();
                        (usize::try_from(values).unwrap_or(0) * bits as usize).div_ceil(8)
                    } else {
                        let length = page.get(start..).and_then(|rest| rest.first_chunk::<4>());
                        4 + u32::from_le_bytes(*length.ok_or(Malformed::Ends)?) as usize
                    };
                }
                Ok(start)
            }
        }
    }
}

/// Integers that are stored as packed differences (`DELTA_BINARY_PACKED`).
struct Deltas {
    /// The place after the last block.
    end: usize,
    /// The sum of the integers that are positive.
    sum: u64,
}

impl Deltas {
    /// Reads the integers at a place of a page with so many values.
    fn read(page: &[u8], start: usize, values: i32) -> Result<Deltas, Malformed> {
        let mut reader = Reader::new(page.get(start..).ok_or(Malformed::Ends)?);
        let (block, parts, count) = (reader.varint()?, reader.varint()?, reader.varint()?);
        if block > 1 << 20 || parts == 0 || parts > block || block % parts != 0 {
            return wrong(format!("blocks of {block} differences in {parts} parts"));
        }
        if u64::try_from(values).is_ok_and(|values| count > values) {
            return wrong(format!("{count} differences for {values} values"));
        }
        let mut value = reader.zigzag()?;
        let (part_length, mut left) = (block / parts, count);
        let mut sum = 0_u64;
        let mut add = |value: i64, left: &mut u64| {
            sum = sum.saturating_add(u64::try_from(value).unwrap_or(0));
            *left -= 1;
        };
        if left > 0 {
            add(value, &mut left);
        }
        while left > 0 {
            let least = reader.zigzag()?;
            let widths = reader.bytes(parts as usize)?;
            for &width in widths {
                if left == 0 {
                    break;
                }
                if width > 64 {
                    return wrong(format!("differences of {width} bits"));
                }
                let packed = (part_length * u64::from(width)).div_ceil(8) as usize;
                let packed = reader.bytes(packed)?;
                for place in 0..part_length.min(left) {
                    let delta = bits(packed, place as usize * usize::from(width), width);
                    value = value.wrapping_add(least).wrapping_add(delta as i64);
                    add(value, &mut left);
                }
            }
        }
        Ok(Deltas { end: start + reader.position(), sum })
    }
}

/// Returns the integer of `width` bits at a bit of a slice, the least significant bit first.
fn bits(bytes: &[u8], bit: usize, width: u8) -> u64 {
    let mut window = [0; 16];
    let from = &bytes[(bit / 8).min(bytes.len())..];
    let length = from.len().min(9);
    window[..length].copy_from_slice(&from[..length]);
    let value = u128::from_le_bytes(window) >> (bit % 8);
    (value & ((1_u128 << width) - 1)) as u64
}

/// A page header.
#[derive(Clone, Copy, Debug)]
struct Header {
    uncompressed: i32,
    compressed: i32,
    checksum: Option<i32>,
    body: Body,
}

/// The part of a page header that depends on the type of the page.
#[derive(Clone, Copy, Debug)]
enum Body {
    Data { values: i32, encoding: i32, version: Version },
    Dictionary { values: i32, encoding: i32 },
    Index,
    Other(i32),
}

/// The part of a data page's header that depends on its version.
#[derive(Clone, Copy, Debug)]
enum Version {
    /// The encodings of levels.
    One { definition: i32, repetition: i32 },
    /// Numbers of nulls and rows, and the lengths of levels in bytes.
    Two { nulls: i32, rows: i32, definition: i32, repetition: i32, is_compressed: bool },
}

/// The integers of a struct in a page header by their fields' numbers, and a truth value.
struct Numbers {
    integers: [Option<i32>; 8],
    is_compressed: bool,
}

impl Numbers {
    /// Reads a struct of which the fields up to `last_integer` are integers.
    fn read(reader: &mut Reader, field: Field, last_integer: i16) -> Result<Numbers, Malformed> {
        reader.expect_struct(field)?;
        let mut numbers = Numbers { integers: [None; 8], is_compressed: true };
        let mut last = 0;
        while let Some(field) = reader.field(&mut last)? {
            match field.id {
                id @ 1.. if id <= last_integer => {
                    numbers.integers[id as usize] = Some(reader.i32(field)?);
                }
                7 if last_integer == 6 => {
                    numbers.is_compressed = field.kind != kind::FALSE;
                    reader.skip(field)?;
                }
                _ => reader.skip(field)?,
            }
        }
        Ok(numbers)
    }

    /// Returns a required number.
    fn get(&self, id: usize) -> Result<i32, Malformed> {
        self.integers[id].ok_or_else(|| Malformed::Wrong(format!("number {id} is missing")))
    }
}

impl Header {
    fn read(reader: &mut Reader) -> Result<Header, Malformed> {
        let (mut page_type, mut uncompressed, mut compressed, mut checksum) = (None, None, None, None);
        let (mut one, mut dictionary, mut two) = (None, None, None);
        let mut last = 0;
        while let Some(field) = reader.field(&mut last)? {
            match field.id {
                1 => page_type = Some(reader.i32(field)?),
                2 => uncompressed = Some(reader.i32(field)?),
                3 => compressed = Some(reader.i32(field)?),
                4 => checksum = Some(reader.integer(field)? as i32),
                5 => one = Some(Numbers::read(reader, field, 4)?),
                7 => dictionary = Some(Numbers::read(reader, field, 2)?),
                8 => two = Some(Numbers::read(reader, field, 6)?),
                _ => reader.skip(field)?,
            }
        }
        let (Some(page_type), Some(uncompressed), Some(compressed)) = (page_type, uncompressed, compressed)
        else {
            return wrong("its type or size is missing");
        };
        let missing = || Malformed::Wrong("the part for its type is missing".to_owned());
        let body = match page_type {
            0 => {
                let one = one.ok_or_else(missing)?;
                let version = Version::One { definition: one.get(3)?, repetition: one.get(4)? };
                Body::Data { values: one.get(1)?, encoding: one.get(2)?, version }
            }
            1 => Body::Index,
            2 => {
                let dictionary = dictionary.ok_or_else(missing)?;
                Body::Dictionary { values: dictionary.get(1)?, encoding: dictionary.get(2)? }
            }
            3 => {
                let two = two.ok_or_else(missing)?;
                let version = Version::Two {
                    nulls: two.get(2)?,
                    rows: two.get(3)?,
                    definition: two.get(5)?,
                    repetition: two.get(6)?,
                    is_compressed: two.is_compressed,
                };
                Body::Data { values: two.get(1)?, encoding: two.get(4)?, version }
            }
            other => Body::Other(other),
        };
        Ok(Header { uncompressed, compressed, checksum, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of `DELTA_BINARY_PACKED` in `Encodings.md`: 7, 5, 3, 1, 2, 3, 4, 5, in a block of 8 differences and one part
    /// (the specification asks for multiples of 128, which would add zeros).
    #[test]
    fn the_specifications_example_of_differences() {
        // The differences −2 −2 −2 1 1 1 1, less the least, are 0 0 0 3 3 3 3, in two bits each.
        let page = [8, 1, 8, 14, 3, 2, 0b1100_0000, 0b0011_1111, 99];
        let deltas = Deltas::read(&page, 0, 8).expect("integers");
        assert_eq!((deltas.end, deltas.sum), (8, 30));
        assert!(Deltas::read(&page, 0, 7).is_err());
        assert!(Deltas::read(&page[..7], 0, 8).is_err());
    }
}
