//! Reads files of text: CSV and JSON lines, also compressed with gzip or zstd.
//!
//! The types of columns are those that hold all of a file's values, by arrow's rules. Whole numbers that a type of numbers would
//! change stay texts: those with leading zeros, which are codes, and those beyond 64 bits. An empty cell is null.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::csv;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json;

use crate::error::{Error, Phase};

use super::guard::guard;
use super::location::{FileVersion, InOrder, Location, REPLACED};
use super::source::{BATCH_ROWS, Fragment, RecordBatches};

/// A format of files of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextFormat {
    /// Values between commas, with a header.
    Csv,
    /// Values between tabs, with a header.
    Tsv,
    /// One JSON object per line.
    JsonLines,
}

impl TextFormat {
    /// Returns the format of a name's ending, before an ending of a compression.
    #[must_use]
    pub fn of(name: &str) -> Option<TextFormat> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        let ending = name.rsplit_once('.')?.1;
        match ending {
            "csv" => Some(TextFormat::Csv),
            "tsv" => Some(TextFormat::Tsv),
            "jsonl" | "ndjson" => Some(TextFormat::JsonLines),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            TextFormat::Csv => "CSV",
            TextFormat::Tsv => "TSV",
            TextFormat::JsonLines => "JSON lines",
        }
    }

    fn csv(self) -> csv::reader::Format {
        let delimiter = if self == TextFormat::Tsv { b'\t' } else { b',' };
        csv::reader::Format::default().with_header(true).with_delimiter(delimiter)
    }
}

/// A file of text as it was when the job began.
#[derive(Clone, Debug)]
pub(in crate::input) struct TextFile {
    location: Location,
    format: TextFormat,
    version: FileVersion,
}

/// Decompressed text.
type Text = BufReader<Box<dyn Read + Send>>;

impl TextFile {
    /// Reads a file once, for its columns, their types and the number of its rows.
    pub(in crate::input) fn inspect(
        location: Location,
        format: TextFormat,
    ) -> Result<(TextFile, Fragment), Error> {
        let name = location.path.display().to_string();
        let unreadable = |source| Error::Unreadable { path: name.clone(), source, phase: Phase::Inspect };
        let opened = location.open().map_err(unreadable)?;
        let version = opened.version().map_err(unreadable)?;
        if version.bytes == 0 {
            return Err(Error::EmptyFile { path: name });
        }
        let file = TextFile { location, format, version };
        let (schema, rows) = file.infer()?;
        let fragment = Fragment {
            name,
            rows: rows as u64,
            bytes: Some(version.bytes),
            version: opened.tag(),
            schema: Arc::new(schema),
            skipped: Vec::new(),
        };
        Ok((file, fragment))
    }

    /// Opens the text.
    fn open(&self, phase: Phase) -> Result<Text, Error> {
        let path = || self.location.path.display().to_string();
        let changed = |what: &str| Error::Changed { path: path(), what: what.to_owned() };
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::StaleNetworkFileHandle => changed(REPLACED),
            _ => Error::Unreadable { path: path(), source, phase },
        };
        let file = self.location.open().map_err(unreadable)?;
        let now = file.version_now().map_err(unreadable)?;
        if let Some(what) = self.version.change_to(now) {
            return Err(changed(what));
        }
        let text = InOrder::new(file, now.bytes);
        Ok(BufReader::with_capacity(1 << 16, decompressed(text).map_err(unreadable)?))
    }

    fn failed(&self, reason: impl std::fmt::Display) -> Error {
        let reason = format!("as {}, {reason}", self.format.name());
        Error::BadText { path: self.location.path.display().to_string(), reason }
    }

    /// Returns the columns with their types, and the number of rows.
    fn infer(&self) -> Result<(Schema, usize), Error> {
        let mut text = self.open(Phase::Inspect)?;
        let inferred = guard(|| match self.format {
            TextFormat::JsonLines => {
                json::reader::infer_json_schema(&mut text, None).map_err(|error| error.to_string())
            }
            format => format.csv().infer_schema(&mut text, None).map_err(|error| error.to_string()),
        });
        let (schema, rows) = inferred.and_then(|found| found).map_err(|reason| self.failed(reason))?;
        if schema.fields().is_empty() {
            return Err(self.failed("it has no columns"));
        }
        if self.format == TextFormat::JsonLines {
            return Ok((schema, rows));
        }
        let codes = self.codes(&schema)?;
        let field = |(i, field): (usize, &Arc<Field>)| {
            let data_type = if codes.contains(&i) { DataType::Utf8 } else { field.data_type().clone() };
            Arc::new(Field::new(field.name(), data_type, true))
        };
        let fields: Fields = schema.fields().iter().enumerate().map(field).collect();
        Ok((Schema::new(fields), rows))
    }

    /// Returns the columns of whole numbers, some of which have leading zeros or are beyond 64 bits.
    fn codes(&self, schema: &Schema) -> Result<HashSet<usize>, Error> {
        let whole: Vec<usize> =
            (0..schema.fields().len()).filter(|&i| *schema.field(i).data_type() == DataType::Int64).collect();
        let mut codes = HashSet::new();
        if whole.is_empty() {
            return Ok(codes);
        }
        let texts: Fields =
            schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true)).collect();
        for batch in self.batches(Arc::new(Schema::new(texts)), &whole, Phase::Inspect)? {
            let batch = batch?;
            for (column, &i) in batch.columns().iter().zip(&whole) {
                let is_code = |text: &str| {
                    let digits = text.trim_start_matches(['-', '+']);
                    digits.len() > 1 && digits.starts_with('0') || text.parse::<i64>().is_err()
                };
                if column.as_string::<i32>().iter().flatten().any(is_code) {
                    codes.insert(i);
                }
            }
        }
        Ok(codes)
    }

    /// Returns the batches of some columns, by their places.
    fn batches(&self, schema: SchemaRef, places: &[usize], phase: Phase) -> Result<RecordBatches<'_>, Error> {
        let text = self.open(phase)?;
        let failed = |error: ArrowError| self.failed(error);
        let batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send> = match self.format {
            TextFormat::JsonLines => {
                let fields: Fields = places.iter().map(|&i| Arc::clone(&schema.fields()[i])).collect();
                let builder = json::ReaderBuilder::new(Arc::new(Schema::new(fields)));
                Box::new(builder.with_batch_size(BATCH_ROWS).build(text).map_err(failed)?)
            }
            format => {
                let builder = csv::ReaderBuilder::new(schema).with_format(format.csv());
                let builder = builder.with_batch_size(BATCH_ROWS).with_projection(places.to_vec());
                Box::new(builder.build_buffered(text).map_err(failed)?)
            }
        };
        Ok(Box::new(TextBatches { file: self, batches, done: false }))
    }

    /// Returns the batches of the columns of some names.
    pub(in crate::input) fn read(
        &self,
        fragment: &Fragment,
        columns: &HashSet<String>,
    ) -> Result<RecordBatches<'_>, Error> {
        let asked = |i: &usize| columns.contains(fragment.schema.field(*i).name());
        let mut places: Vec<usize> = (0..fragment.schema.fields().len()).filter(asked).collect();
        if places.is_empty() {
            // A column tells how many rows there are.
            places.push(0);
        }
        self.batches(Arc::clone(&fragment.schema), &places, Phase::Read)
    }
}

/// Returns the content of a file, decompressed where it begins like gzip or zstd.
fn decompressed(mut file: InOrder) -> io::Result<Box<dyn Read + Send>> {
    let mut mark = Vec::new();
    file.by_ref().take(4).read_to_end(&mut mark)?;
    file.rewind();
    Ok(match mark.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::new(file)?),
        // The mark of an encoding, which is no part of the first name.
        [0xef, 0xbb, 0xbf, ..] => {
            let mut text = BufReader::new(file);
            text.fill_buf()?;
            text.consume(3);
            Box::new(text)
        }
        _ => Box::new(file),
    })
}

/// The batches of a file.
struct TextBatches<'a> {
    file: &'a TextFile,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
    done: bool,
}

impl Iterator for TextBatches<'_> {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let found = guard(|| self.batches.next());
        let item = match found {
            Err(panic) => Some(Err(self.file.failed(panic))),
            Ok(Some(Err(error))) => Some(Err(self.file.failed(error))),
            Ok(Some(Ok(batch))) => Some(Ok(batch)),
            // Rows that were read while the file was written may be of two versions.
            Ok(None) => self.file.open(Phase::Read).err().map(Err),
        };
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_follow_from_endings() {
        for (name, expected) in [
            ("runs.csv", Some(TextFormat::Csv)),
            ("RUNS.CSV.GZ", Some(TextFormat::Csv)),
            ("a.b.tsv", Some(TextFormat::Tsv)),
            ("x.jsonl.zst", Some(TextFormat::JsonLines)),
            ("x.ndjson", Some(TextFormat::JsonLines)),
            ("x.json", None),
            ("csv", None),
            ("x.parquet", None),
        ] {
            assert_eq!(TextFormat::of(name), expected, "{name}");
        }
    }
}
