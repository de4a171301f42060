//! Reads and writes the Thrift compact protocol, in which Parquet's footers and page headers are encoded.
//!
//! The reader never allocates by a number that the bytes state: a count or a length that exceeds the bytes that remain is
//! an error, and nesting is bounded. Source: `doc/specs/thrift-compact-protocol.md` in apache/thrift.

/// The types of values in the protocol.
pub(super) mod kind {
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I16: u8 = 4;
    pub const I32: u8 = 5;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const UUID: u8 = 13;
}

/// The depth to which structs, lists and maps may be nested. Parquet's metadata have a depth of at most 8.
const MAX_DEPTH: usize = 32;

/// The reason why bytes are not a value of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// The bytes end inside a value.
    Ends,
    /// The bytes are wrong, for the given reason.
    Wrong(String),
}

impl Malformed {
    /// Returns the reason as text.
    pub(super) fn text(self) -> String {
        match self {
            Malformed::Ends => "it ends inside a value".to_owned(),
            Malformed::Wrong(reason) => reason,
        }
    }
}

/// Returns the error for wrong bytes.
pub(super) fn wrong<T>(reason: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed::Wrong(reason.into()))
}

/// The header of a field of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The number that identifies the field in its struct.
    pub(super) id: i16,
    /// The type, one of [`kind`].
    pub(super) kind: u8,
}

/// A reader of values from a slice.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, position: 0 }
    }

    /// Returns the number of bytes that have been read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.position).ok_or(Malformed::Ends)?;
        self.position += 1;
        Ok(byte)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.position..];
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
        let length = length.ok_or(Malformed::Ends)?;
        self.position += length;
        Ok(&rest[..length])
    }

    /// Reads a number of bytes.
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        self.take(length as u64)
    }

    /// Reads an unsigned integer of variable length.
    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        wrong("an integer has more than 10 bytes")
    }

    /// Reads a signed integer in zigzag encoding.
    pub(super) fn zigzag(&mut self) -> Result<i64, Malformed> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Reads the header of a struct's next field; `None` at the end of the struct. `last` is the number of the field before,
    /// 0 at the beginning.
    pub(super) fn field(&mut self, last: &mut i16) -> Result<Option<Field>, Malformed> {
        let byte = self.byte()?;
        let kind = byte & 0x0f;
        if kind == 0 {
            return Ok(None);
        }
        if kind > kind::UUID {
            return wrong(format!("there is no type {kind}"));
        }
        let id = match byte >> 4 {
            0 => i16::try_from(self.zigzag()?).ok(),
            delta => last.checked_add(i16::from(delta)),
        };
        let Some(id) = id else { return wrong("the number of a field exceeds 16 bits") };
        *last = id;
        Ok(Some(Field { id, kind }))
    }

    /// Reads the value of an integer field.
    pub(super) fn integer(&mut self, field: Field) -> Result<i64, Malformed> {
        match field.kind {
            kind::BYTE => Ok(i64::from(self.byte()? as i8)),
            kind::I16 | kind::I32 | kind::I64 => self.zigzag(),
            other => wrong(format!("field {} has type {other} where an integer is expected", field.id)),
        }
    }

    /// Reads the value of an integer field of 32 bits.
    pub(super) fn i32(&mut self, field: Field) -> Result<i32, Malformed> {
        let value = self.integer(field)?;
        i32::try_from(value).or_else(|_| wrong(format!("field {} is {value}, beyond 32 bits", field.id)))
    }

    /// Reads the value of a field of bytes.
    pub(super) fn binary(&mut self, field: Field) -> Result<&'a [u8], Malformed> {
        if field.kind != kind::BINARY {
            return wrong(format!("field {} has type {} where bytes are expected", field.id, field.kind));
        }
        let length = self.varint()?;
        self.take(length)
    }

    /// Reads the value of a field of text.
    pub(super) fn text(&mut self, field: Field) -> Result<&'a str, Malformed> {
        let bytes = self.binary(field)?;
        std::str::from_utf8(bytes).or_else(|_| wrong("a text is not UTF-8"))
    }

    /// Reads the header of a list and returns the number of its elements, of the type `expected`. Every element has at least
    /// one byte, which bounds the number by the bytes that remain.
    pub(super) fn list(&mut self, field: Field, expected: u8) -> Result<usize, Malformed> {
        if field.kind != kind::LIST {
            return wrong(format!("field {} has type {} where a list is expected", field.id, field.kind));
        }
        let (element, count) = self.list_header()?;
        if count > 0 && element != expected {
            return wrong(format!("the list in field {} has elements of type {element}", field.id));
        }
        Ok(count)
    }

    fn list_header(&mut self) -> Result<(u8, usize), Malformed> {
        let byte = self.byte()?;
        let count = match byte >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        Ok((byte & 0x0f, self.count(count)?))
    }

    /// Checks a number of elements against the bytes that remain.
    fn count(&self, count: u64) -> Result<usize, Malformed> {
        let rest = self.bytes.len() - self.position;
        match usize::try_from(count) {
            Ok(count) if count <= rest => Ok(count),
            _ => wrong(format!("a list states {count} elements, and {rest} bytes are left")),
        }
    }

    /// Checks that a field is a struct.
    pub(super) fn expect_struct(&self, field: Field) -> Result<(), Malformed> {
        match field.kind {
            kind::STRUCT => Ok(()),
            other => wrong(format!("field {} has type {other} where a struct is expected", field.id)),
        }
    }

    /// Reads past the value of a field.
    pub(super) fn skip(&mut self, field: Field) -> Result<(), Malformed> {
        match field.kind {
            // The header holds the value.
            kind::TRUE | kind::FALSE => Ok(()),
            kind => self.skip_value(kind, 0),
        }
    }

    fn skip_value(&mut self, kind: u8, depth: usize) -> Result<(), Malformed> {
        if depth == MAX_DEPTH {
            return wrong(format!("its metadata are nested more than {MAX_DEPTH} levels deep"));
        }
        match kind {
            kind::TRUE | kind::FALSE | kind::BYTE => self.byte().map(|_| ()),
            kind::I16 | kind::I32 | kind::I64 => self.varint().map(|_| ()),
            kind::DOUBLE => self.take(8).map(|_| ()),
            kind::UUID => self.take(16).map(|_| ()),
            kind::BINARY => {
                let length = self.varint()?;
                self.take(length).map(|_| ())
            }
            kind::LIST | kind::SET => {
                let (element, count) = self.list_header()?;
                (0..count).try_for_each(|_| self.skip_value(element, depth + 1))
            }
            kind::MAP => {
                let count = self.varint()?;
                let count = self.count(count)?;
                if count == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                (0..count).try_for_each(|_| {
                    self.skip_value(kinds >> 4, depth + 1)?;
                    self.skip_value(kinds & 0x0f, depth + 1)
                })
            }
            kind::STRUCT => {
                let mut last = 0;
                while let Some(field) = self.field(&mut last)? {
                    if !matches!(field.kind, kind::TRUE | kind::FALSE) {
                        self.skip_value(field.kind, depth + 1)?;
                    }
                }
                Ok(())
            }
            other => wrong(format!("there is no type {other}")),
        }
    }
}

/// A writer of structs whose fields are given in ascending order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Writes the header of a field that follows the field before by `delta`, 1 to 15.
    fn header(&mut self, delta: u8, kind: u8) {
        self.0.push(delta << 4 | kind);
    }

    /// Writes a field of 32 or 64 bits with a value that is not negative.
    pub(super) fn integer(&mut self, delta: u8, kind: u8, value: u32) {
        self.header(delta, kind);
        self.varint(u64::from(value) << 1);
    }

    /// Writes a field of text.
    pub(super) fn text(&mut self, delta: u8, text: &str) {
        self.header(delta, kind::BINARY);
        self.varint(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Writes the header of a field that is a list of structs.
    pub(super) fn list(&mut self, delta: u8, count: usize) {
        self.header(delta, kind::LIST);
        self.0.push(0xf0 | kind::STRUCT);
        self.varint(count as u64);
    }

    /// Writes structs that are encoded already.
    pub(super) fn encoded(&mut self, structs: &[u8]) {
        self.0.extend_from_slice(structs);
    }

    /// Writes the end of a struct.
    pub(super) fn end(&mut self) {
        self.0.push(0);
    }

    /// Returns the bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(bytes: &[u8]) -> Result<usize, Malformed> {
        let mut reader = Reader::new(bytes);
        reader.skip(Field { id: 1, kind: kind::STRUCT })?;
        Ok(reader.position())
    }

    /// The expected values are those of the protocol's specification.
    #[test]
    fn integers_are_variable_length_and_zigzag() {
        assert_eq!(Reader::new(&[0xac, 0x02]).varint(), Ok(300));
        for (bytes, value) in [(&[0_u8][..], 0), (&[1], -1), (&[2], 1), (&[0xff, 0xff, 3], -32768)] {
            assert_eq!(Reader::new(bytes).zigzag(), Ok(value));
        }
        assert_eq!(Reader::new(&[0x80]).varint(), Err(Malformed::Ends));
        assert!(Reader::new(&[0xff; 11]).varint().is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.integer(1, kind::I32, 300);
        writer.text(3, "loss");
        writer.list(1, 1);
        writer.encoded(&[0]);
        writer.end();
        let bytes = writer.finish();
        assert_eq!(skip(&bytes), Ok(bytes.len()));
        let (mut reader, mut last) = (Reader::new(&bytes), 0);
        let mut next = |reader: &mut Reader| reader.field(&mut last).expect("a header").expect("a field");
        let field = next(&mut reader);
        assert_eq!((field.id, reader.i32(field)), (1, Ok(300)));
        let field = next(&mut reader);
        assert_eq!((field.id, reader.text(field)), (4, Ok("loss")));
        let field = next(&mut reader);
        assert_eq!((field.id, reader.list(field, kind::STRUCT)), (5, Ok(1)));
    }

    #[test]
    fn claims_beyond_the_bytes_and_deep_nesting_are_refused() {
        // A list of 2³¹ − 1 structs; a text of as many bytes; structs in structs.
        assert!(skip(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0]).is_err());
        assert_eq!(skip(&[0x18, 0xff, 0xff, 0xff, 0xff, 0x07, 0]), Err(Malformed::Ends));
        assert!(skip(&[0x1c; 1_000_000]).is_err());
        assert!(skip(&[0x19; 1_000_000]).is_err());
    }
}
