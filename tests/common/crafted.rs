//! Parquet files byte by byte, with a writer of the Thrift compact protocol that writes whatever it is told.

/// A struct of Thrift's compact protocol; fields are given in ascending order.
#[derive(Default)]
pub struct Struct {
    bytes: Vec<u8>,
    last: u8,
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub fn zigzag(value: i64) -> Vec<u8> {
    varint(((value << 1) ^ (value >> 63)) as u64)
}

impl Struct {
    pub fn field(mut self, id: u8, kind: u8, value: &[u8]) -> Struct {
        self.bytes.push((id - self.last) << 4 | kind);
        self.bytes.extend_from_slice(value);
        self.last = id;
        self
    }

    pub fn i32(self, id: u8, value: i64) -> Struct {
        self.field(id, 5, &zigzag(value))
    }

    pub fn i64(self, id: u8, value: i64) -> Struct {
        self.field(id, 6, &zigzag(value))
    }

    pub fn text(self, id: u8, text: &[u8]) -> Struct {
        self.field(id, 8, &[varint(text.len() as u64), text.to_vec()].concat())
    }

    pub fn list(self, id: u8, kind: u8, elements: &[Vec<u8>]) -> Struct {
        self.list_of(id, kind, elements.len() as u64, elements)
    }

    /// Writes a list that states another number of elements than it has.
    pub fn list_of(self, id: u8, kind: u8, count: u64, elements: &[Vec<u8>]) -> Struct {
        self.field(id, 9, &[vec![0xf0 | kind], varint(count), elements.concat()].concat())
    }

    pub fn inner(self, id: u8, value: Struct) -> Struct {
        self.field(id, 12, &value.end())
    }

    pub fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// A column of five values, of which tests change what they wish.
#[derive(Clone)]
pub struct Column {
    pub element: fn() -> Struct,
    pub physical: i64,
    pub encoding: i64,
    pub codec: i64,
    /// The page headers with their pages.
    pub pages: Vec<u8>,
    /// The least and the greatest value that the footer states.
    pub bounds: Option<[f64; 2]>,
    /// Replaces the place of the pages.
    pub start: Option<i64>,
    /// Appends fields to the `ColumnChunk`, after its metadata.
    pub more: fn(Struct) -> Struct,
}

/// Returns the header of a data page and the page.
pub fn data_page(bytes: &[u8], uncompressed: i64, values: i64, encoding: i64) -> Vec<u8> {
    let data = Struct::default().i32(1, values).i32(2, encoding).i32(3, 3).i32(4, 3);
    let header = Struct::default().i32(1, 0).i32(2, uncompressed).i32(3, bytes.len() as i64).inner(5, data);
    [header.end(), bytes.to_vec()].concat()
}

/// Returns the header of a data page of plain values, with the page's checksum, and the page.
pub fn page_with_checksum(bytes: &[u8], values: i64) -> Vec<u8> {
    let length = bytes.len() as i64;
    let checksum = i64::from(crc32fast::hash(bytes) as i32);
    let data = Struct::default().i32(1, values).i32(2, 0).i32(3, 3).i32(4, 3);
    let header = Struct::default().i32(1, 0).i32(2, length).i32(3, length).i32(4, checksum).inner(5, data);
    [header.end(), bytes.to_vec()].concat()
}

/// Returns the header of a dictionary page and the page.
pub fn dictionary_page(bytes: &[u8], values: i64) -> Vec<u8> {
    let length = bytes.len() as i64;
    let dictionary = Struct::default().i32(1, values).i32(2, 0);
    let header = Struct::default().i32(1, 2).i32(2, length).i32(3, length).inner(7, dictionary);
    [header.end(), bytes.to_vec()].concat()
}

pub fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Returns a column `x` of five doubles.
pub fn plain() -> Column {
    Column {
        element: || Struct::default().i32(1, 5).i32(3, 0).text(4, b"x"),
        physical: 5,
        encoding: 0,
        codec: 0,
        pages: data_page(&doubles(&[1.0, 2.0, 3.0, 4.0, 5.0]), 40, 5, 0),
        bounds: None,
        start: None,
        more: |chunk| chunk,
    }
}

/// Returns a file of the columns, in one row group of so many rows.
pub fn file(columns: &[Column], rows: i64, metadata: &[(&str, &str)]) -> Vec<u8> {
    file_with_order(columns, rows, metadata, true)
}

/// Returns a file as [`file`] does, with or without the order of its columns, in which their bounds are meant.
pub fn file_with_order(columns: &[Column], rows: i64, metadata: &[(&str, &str)], has_order: bool) -> Vec<u8> {
    let mut bytes = b"PAR1".to_vec();
    let mut elements = vec![Struct::default().text(4, b"schema").i32(5, columns.len() as i64).end()];
    let mut chunks = Vec::new();
    for column in columns {
        let (start, length) = (bytes.len() as i64, column.pages.len() as i64);
        let place = column.start.unwrap_or(start);
        let about = Struct::default()
            .i32(1, column.physical)
            .list(2, 5, &[zigzag(column.encoding)])
            .list(3, 8, &[vec![1, b'x']])
            .i32(4, column.codec)
            .i64(5, rows)
            .i64(6, length)
            .i64(7, length)
            .i64(9, place);
        let about = match column.bounds {
            Some([least, greatest]) => {
                let bounds = Struct::default().text(5, &greatest.to_le_bytes()).text(6, &least.to_le_bytes());
                about.inner(12, bounds)
            }
            None => about,
        };
        chunks.push((column.more)(Struct::default().i64(2, start).inner(3, about)).end());
        elements.push((column.element)().end());
        bytes.extend_from_slice(&column.pages);
    }
    let group = Struct::default().list(1, 12, &chunks).i64(2, 0).i64(3, rows);
    let pairs: Vec<Vec<u8>> = metadata
        .iter()
        .map(|(key, value)| Struct::default().text(1, key.as_bytes()).text(2, value.as_bytes()).end())
        .collect();
    let footer = Struct::default()
        .i32(1, 1)
        .list(2, 12, &elements)
        .i64(3, rows)
        .list(4, 12, &[group.end()])
        .list(5, 12, &pairs);
    let order = Struct::default().inner(1, Struct::default()).end();
    let footer = if has_order { footer.list(7, 12, &vec![order; columns.len()]) } else { footer };
    with_footer(bytes, &footer.end())
}

pub fn with_footer(mut bytes: Vec<u8>, footer: &[u8]) -> Vec<u8> {
    bytes.extend_from_slice(footer);
    bytes.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    bytes.extend_from_slice(b"PAR1");
    bytes
}
