//! Finds the Arrow types of a file's columns.
//!
//! A column whose type the decoder does not know gets a field that is marked as unsupported ([`UNSUPPORTED`]).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::ipc;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader};

use super::super::guard::guard;
use super::super::source::UNSUPPORTED;
use super::footer::Footer;

/// The number of columns that are converted at a time, which bounds the memory of the conversion.
const COLUMNS_AT_ONCE: usize = 1024;

/// Returns the names and Arrow types of the columns of a file.
///
/// The Arrow schema in the file's metadata says more than the Parquet schema: dictionaries, time zones and widths. Where it
/// is absent, cannot be parsed or does not fit, the types are those of the Parquet schema.
pub(super) fn arrow_schema(footer: &Footer) -> SchemaRef {
    let hints = footer.arrow_schema.as_deref().and_then(parse_hints);
    let hints = hints.filter(|hints| hints.len() == footer.columns.len());
    let columns: Vec<usize> = (0..footer.columns.len()).collect();
    let mut fields = Vec::with_capacity(columns.len());
    for block in columns.chunks(COLUMNS_AT_ONCE) {
        // Hints are used for all columns of a block or for none.
        let of_block = hints.as_ref().map(|hints| &hints[block[0]..block[0] + block.len()]);
        let of_block: Option<Vec<FieldRef>> =
            of_block.map(|of_block| of_block.iter().flatten().cloned().collect());
        let is_whole = of_block.as_ref().is_none_or(|of_block| of_block.len() == block.len());
        match convert(footer, block, of_block.as_deref()) {
            Ok(converted) if is_whole && footer_supports(footer, block) => {
                fields.extend(converted.iter().cloned());
            }
            _ => fields.extend(block.iter().map(|&column| {
                let hint = hints.as_ref().map(|hints| &hints[column]);
                field(footer, column, hint)
            })),
        }
    }
    Arc::new(Schema::new(fields))
}

/// Returns whether the footer marks none of these columns as unsupported.
fn footer_supports(footer: &Footer, columns: &[usize]) -> bool {
    columns.iter().all(|&column| footer.columns[column].unsupported.is_none())
}

/// Returns the field of one column, given its field in the Arrow schema, or why that is not known.
fn field(footer: &Footer, column: usize, hint: Option<&Result<FieldRef, String>>) -> FieldRef {
    let found = &footer.columns[column];
    let converted = match &found.unsupported {
        Some(what) => Err(what.clone()),
        None => match hint {
            Some(Ok(hint)) => convert(footer, &[column], Some(std::slice::from_ref(hint)))
                .or_else(|_| convert(footer, &[column], None)),
            _ => convert(footer, &[column], None),
        },
    };
    // Bytes alone do not say what they mean.
    let converted = match (converted, hint) {
        (Ok(fields), Some(Err(what))) if is_bytes(fields[0].data_type()) => Err(unknown_type(what)),
        (converted, _) => converted,
    };
    match converted {
        Ok(fields) => Arc::clone(&fields[0]),
        Err(what) => {
            // A type that nothing can be done with.
            let field = Field::new(&found.name, DataType::FixedSizeBinary(0), true);
            Arc::new(field.with_metadata(HashMap::from([(UNSUPPORTED.to_owned(), what)])))
        }
    }
}

/// Returns the fields of some columns, or why the decoder does not know them.
fn convert(footer: &Footer, columns: &[usize], hints: Option<&[FieldRef]>) -> Result<Fields, String> {
    let encoded = footer.schema_of(columns);
    let step = || -> ParquetResult<Schema> {
        let metadata = ParquetMetaDataReader::decode_metadata(&encoded)?;
        let hint = hints.map(|hints| {
            let schema = Schema::new(hints.to_vec());
            vec![KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), encode_arrow_schema(&schema))]
        });
        parquet_to_arrow_schema(metadata.file_metadata().schema_descr(), hint.as_ref())
    };
    let schema =
        guard(step).map_err(|panic| unknown_type(&panic))?.map_err(|e| unknown_type(&e.to_string()))?;
    if schema.fields().len() != columns.len() {
        return Err("a group without columns".to_owned());
    }
    let fields = schema.fields().iter().zip(columns);
    Ok(fields.map(|(field, &column)| with_microseconds(footer, column, field, hints.is_some())).collect())
}

/// Reads timestamps of 96 bits in microseconds, as Spark writes them: in nanoseconds, years beyond 2262 would wrap around. A
/// file that says how its columns were written is read as it says.
fn with_microseconds(footer: &Footer, column: usize, field: &FieldRef, has_hint: bool) -> FieldRef {
    match field.data_type() {
        DataType::Timestamp(_, zone) if footer.columns[column].is_int96 && !has_hint => {
            let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Arc::new(field.as_ref().clone().with_data_type(data_type))
        }
        _ => Arc::clone(field),
    }
}

/// Returns what is not supported in a column of a type that the decoder does not know, for the decoder's reason.
fn unknown_type(reason: &str) -> String {
    let reason = reason.trim_start_matches("decoding failed: ");
    format!("its type ({})", reason.rsplit("error: ").next().unwrap_or(reason))
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeBinary(_) | DataType::Binary)
}

/// Parses the Arrow schema in a file's metadata: base64 of a message of Arrow's IPC format, which most writers begin with a
/// mark and the message's length. Returns for each column its field, or why its type is not known.
fn parse_hints(text: &str) -> Option<Vec<Result<FieldRef, String>>> {
    guard(|| {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        let message = if bytes.starts_with(&[0xff; 4]) { bytes.get(8..)? } else { &bytes };
        let fields = ipc::root_as_message(message).ok()?.header_as_schema()?.fields()?;
        Some(fields.iter().map(|field| guard(|| Arc::new(Field::from(field)))).collect())
    })
    .ok()?
}
