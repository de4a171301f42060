//! Converts the schema of a table, which the log holds in JSON, to Arrow types.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Fields, TimeUnit};
use serde::Deserialize;
use serde_json::Value;

/// A struct of the schema. The schema itself is one.
#[derive(Deserialize)]
struct Struct {
    fields: Vec<StructField>,
}

#[derive(Deserialize)]
struct StructField {
    name: String,
    #[serde(rename = "type")]
    data_type: Value,
}

/// Returns the columns of a schema, all nullable, or why it is not valid.
pub(super) fn fields(text: &str) -> Result<Fields, String> {
    let schema: Struct = serde_json::from_str(text).map_err(|error| error.to_string())?;
    of_struct(schema)
}

fn of_struct(found: Struct) -> Result<Fields, String> {
    let field = |StructField { name, data_type }: StructField| {
        let data_type = of_value(&data_type).map_err(|reason| format!("`{name}`: {reason}"))?;
        Ok(Field::new(name, data_type, true))
    };
    found.fields.into_iter().map(field).collect()
}

/// Returns a type, or why it is not known. Its depth is bounded, because the JSON parser bounds that of values.
fn of_value(value: &Value) -> Result<DataType, String> {
    if let Value::String(name) = value {
        return primitive(name).ok_or_else(|| format!("the type `{name}` is not supported"));
    }
    let part = |key: &str| of_value(&value[key]);
    let nested = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
    match value["type"].as_str() {
        Some("struct") => {
            let found = Struct::deserialize(value).map_err(|error| error.to_string())?;
            Ok(DataType::Struct(of_struct(found)?))
        }
        Some("array") => Ok(DataType::List(nested("element", part("elementType")?))),
        Some("map") => {
            let key = Arc::new(Field::new("key", part("keyType")?, false));
            let entries = DataType::Struct(Fields::from(vec![key, nested("value", part("valueType")?)]));
            Ok(DataType::Map(Arc::new(Field::new("key_value", entries, false)), false))
        }
        _ => Err("a type is missing or not supported".to_owned()),
    }
}

/// Returns the type of a name, if it is known.
fn primitive(name: &str) -> Option<DataType> {
    Some(match name {
        "string" => DataType::Utf8,
        "long" => DataType::Int64,
        "integer" => DataType::Int32,
        "short" => DataType::Int16,
        "byte" => DataType::Int8,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "binary" => DataType::Binary,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "timestamp_ntz" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "void" => DataType::Null,
        other => {
            let (precision, scale) = other.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            let is_valid =
                (1..=DECIMAL128_MAX_PRECISION).contains(&precision) && (0..=precision as i8).contains(&scale);
            is_valid.then_some(DataType::Decimal128(precision, scale))?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of types are those of PROTOCOL.md, "Schema Serialization Format".
    #[test]
    fn types_are_converted() {
        let of = |data_type: &str| {
            let text = format!(
                r#"{{"type":"struct","fields":[{{"name":"x","type":{data_type},"nullable":true}}]}}"#
            );
            fields(&text).map(|fields| fields[0].data_type().clone())
        };
        assert_eq!(of(r#""decimal(10,2)""#), Ok(DataType::Decimal128(10, 2)));
        assert_eq!(of(r#""timestamp""#), Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))));
        let list = of(r#"{"type":"array","elementType":"double","containsNull":true}"#).expect("a list");
        assert_eq!(list, DataType::List(Arc::new(Field::new("element", DataType::Float64, true))));
        let map = of(r#"{"type":"map","keyType":"string","valueType":{"type":"struct","fields":[]}}"#);
        assert!(matches!(map, Ok(DataType::Map(_, false))), "{map:?}");
        for unknown in [r#""variant""#, r#""decimal(39,0)""#, r#""decimal(2,3)""#, r#"{"type":"set"}"#, "7"] {
            assert!(of(unknown).is_err_and(|reason| reason.contains("`x`")), "{unknown}");
        }
        let deep =
            format!("{}\"long\"{}", r#"{"type":"array","elementType":"#.repeat(10_000), "}".repeat(10_000));
        assert!(of(&deep).is_err());
    }
}
