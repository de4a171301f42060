//! Job files: what a command line says, as TOML.
//!
//! A section is a command and its keys are the command's flags, with `_` or `-` between words. A section is turned into the
//! arguments of its command and parsed as these are, so a flag has one definition, one meaning and one error for both. `schema
//! --job` and `fit --print-job` read the same definitions.

use std::ffi::OsString;
use std::path::Path;

use clap::builder::ValueRange;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::{Table, Value};

use super::Failure;
use crate::formula::{list, nearest};

/// Reads a job file.
///
/// # Errors
/// If the file cannot be read or is not TOML.
pub fn read(path: &Path) -> Result<Table, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    let table: Table =
        text.parse().map_err(|error: toml::de::Error| Failure::usage(format!("{shown}: {error}")))?;
    Ok(table.into_iter().map(|(key, value)| (normal(&key), with_normal_keys(value))).collect())
}

/// Replaces `${NAME}` and `${NAME:-default}` in a job by the variables of the environment.
///
/// # Errors
/// If a variable is not set and has no default.
pub fn replace_variables(job: &mut Table) -> Result<(), Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    job.iter_mut().try_for_each(|(key, value)| {
        expand(value, &variable).map_err(|reason| Failure::usage(format!("{key}: {reason}")))
    })
}

/// Returns a key with `_` between its words.
fn normal(key: &str) -> String {
    key.replace('-', "_")
}

/// Returns a section, or a list of sections, with `_` between the words of its keys.
fn with_normal_keys(value: Value) -> Value {
    match value {
        Value::Table(table) => {
            Value::Table(table.into_iter().map(|(key, value)| (normal(&key), value)).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(with_normal_keys).collect()),
        other => other,
    }
}

/// Replaces variables in all texts of a value.
fn expand(value: &mut Value, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    match value {
        Value::String(text) => *text = expanded(text, variable)?,
        Value::Array(values) => values.iter_mut().try_for_each(|value| expand(value, variable))?,
        Value::Table(table) => table.iter_mut().try_for_each(|(_, value)| expand(value, variable))?,
        _ => {}
    }
    Ok(())
}

/// Returns a text with its variables replaced; `$$` stands for a dollar sign.
fn expanded(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('$') {
        result += &rest[..place];
        rest = &rest[place + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let (name, after) =
                after.split_once('}').ok_or_else(|| format!("`{text}`: a `${{` has no `}}`"))?;
            let (name, default) =
                name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
            let value = variable(name).filter(|value| default.is_none() || !value.is_empty());
            let value = value.or_else(|| default.map(str::to_owned));
            result += &value.ok_or_else(|| format!("the variable `{name}` is not set"))?;
            rest = after;
        } else {
            result.push('$');
        }
    }
    Ok(result + rest)
}

/// Sets a key of a job file, such as `fit.bootstrap`, to a value: TOML, or else a text.
///
/// # Errors
/// If the key's section is not a section.
pub fn set(job: &mut Table, assignment: &str) -> Result<(), Failure> {
    let bad = |reason: &str| Failure::usage(format!("--set {assignment}: {reason}"));
    let (key, text) = assignment.split_once('=').ok_or_else(|| bad("write it as KEY=VALUE"))?;
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| Value::String(text.to_owned()));
    let (sections, key) =
        key.trim().rsplit_once('.').map_or(("", key.trim()), |(section, key)| (section, key));
    let mut table = job;
    for section in sections.split('.').filter(|section| !section.is_empty()) {
        let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        table = entry.as_table_mut().ok_or_else(|| bad("what stands before the dot is not one section"))?;
    }
    table.insert(normal(key), value);
    Ok(())
}

/// Returns whether a command has a flag or an argument for a key.
pub fn has_key(command: &Command, key: &str) -> bool {
    argument(command, key).is_some()
}

/// Returns the arguments of a command that a section stands for.
///
/// # Errors
/// If the command has no flag for a key, or a value is of a kind that the flag does not take.
pub fn arguments(command: &Command, section: &str, table: &Table) -> Result<Vec<OsString>, Failure> {
    let mut flags = vec![OsString::from(command.get_name())];
    let mut positional: Vec<(Option<usize>, OsString)> = Vec::new();
    for (key, value) in table {
        let Some(found) = argument(command, key) else {
            let keys: Vec<String> = keys(command).map(key_of).collect();
            let hint = match nearest(key, keys.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys are {}", list(&keys)),
            };
            return Err(Failure::usage(format!("[{section}] has no key `{key}`; {hint}")));
        };
        let bad = |what: &str| Failure::usage(format!("[{section}] {key}: {what}"));
        let texts = texts(value).map_err(|reason| bad(&reason))?;
        match (found.get_long(), found.get_action()) {
            (Some(long), ArgAction::SetTrue) => match value {
                Value::Boolean(true) => flags.push(format!("--{long}").into()),
                Value::Boolean(false) => {}
                _ => return Err(bad("give true or false")),
            },
            // A flag whose value may be left out.
            (Some(long), _) if *value == Value::Boolean(true) && is_optional(found) => {
                flags.push(format!("--{long}").into());
            }
            (Some(long), action) => {
                if texts.len() > 1 && !matches!(action, ArgAction::Append) {
                    return Err(bad("give one value"));
                }
                flags.extend(texts.iter().map(|text| OsString::from(format!("--{long}={text}"))));
            }
            (None, _) => {
                let place = command.get_positionals().position(|other| other.get_id() == found.get_id());
                positional.extend(texts.into_iter().map(|text| (place, OsString::from(text))));
            }
        }
    }
    positional.sort_by_key(|(place, _)| *place);
    flags.push("--".into());
    flags.extend(positional.into_iter().map(|(_, text)| text));
    Ok(flags)
}

/// Returns the texts that a value stands for, as they would be typed.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    Ok(match value {
        Value::String(text) => vec![text.clone()],
        Value::Integer(number) => vec![number.to_string()],
        Value::Float(number) => vec![number.to_string()],
        Value::Boolean(truth) => vec![truth.to_string()],
        Value::Datetime(time) => vec![time.to_string()],
        Value::Array(values) => values.iter().map(texts).collect::<Result<Vec<_>, _>>()?.concat(),
        // `let = { D = "C/(6*N)" }`
        Value::Table(table) => {
            let pair = |(name, value): (&String, &Value)| match &texts(value)?[..] {
                [text] => Ok(format!("{name}={text}")),
                _ => Err(format!("`{name}` has several values")),
            };
            table.iter().map(pair).collect::<Result<_, String>>()?
        }
    })
}

/// Returns the flags and arguments of a command that a job file can state.
fn keys(command: &Command) -> impl Iterator<Item = &Arg> {
    let of_program = ["help", "version", "print-job"];
    command
        .get_arguments()
        .filter(move |argument| !of_program.contains(&argument.get_long().unwrap_or_default()))
}

/// Returns the key of a flag or an argument.
fn key_of(argument: &Arg) -> String {
    argument.get_long().map_or_else(|| argument.get_id().to_string(), normal)
}

fn argument<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let key = normal(key);
    keys(command).find(|argument| key_of(argument) == key)
}

/// Returns whether the value of a flag may be left out.
fn is_optional(argument: &Arg) -> bool {
    argument.get_num_args().is_some_and(|range: ValueRange| range.min_values() == 0)
}

/// Returns the job file of a command line, with the flags that were typed.
#[must_use]
pub fn printed(command: &Command, matches: &ArgMatches) -> String {
    let mut section = Table::new();
    for argument in keys(command) {
        let id = argument.get_id().as_str();
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let value = match argument.get_action() {
            ArgAction::SetTrue => Value::Boolean(true),
            action => {
                let texts =
                    matches.get_raw(id).into_iter().flatten().map(|text| text.to_string_lossy().into_owned());
                let mut values: Vec<Value> = texts.map(|text| value_of(argument, text)).collect();
                match (action, values.len()) {
                    (ArgAction::Append, _) => Value::Array(values),
                    (_, 1) => values.remove(0),
                    _ => Value::Array(values),
                }
            }
        };
        section.insert(key_of(argument), value);
    }
    let mut job = Table::new();
    job.insert(command.get_name().to_owned(), Value::Table(section));
    toml::to_string_pretty(&job).unwrap_or_default()
}

/// Returns a text as it was typed as a value of TOML: a number where the flag takes one and the number is written so.
fn value_of(argument: &Arg, text: String) -> Value {
    let is_number = matches!(kind(argument), "integer" | "number");
    let integer = text.parse::<i64>().ok().filter(|number| is_number && number.to_string() == text);
    let float = || text.parse::<f64>().ok().filter(|number| is_number && number.to_string() == text);
    match integer {
        Some(number) => Value::Integer(number),
        None => float().map_or_else(|| Value::String(text.clone()), Value::Float),
    }
}

/// Returns the JSON type of a value of a flag.
fn kind(argument: &Arg) -> &'static str {
    let found = argument.get_value_parser().type_id();
    if found == std::any::TypeId::of::<f64>() {
        "number"
    } else if found == std::any::TypeId::of::<u64>() {
        "integer"
    } else {
        "string"
    }
}

/// Returns the JSON Schema of job files with these sections; the keys of the first may also stand above all sections.
#[must_use]
pub fn schema(sections: &[(Command, bool)]) -> serde_json::Value {
    use serde_json::json;
    let mut properties = serde_json::Map::new();
    for (command, is_repeatable) in sections {
        let mut own = serde_json::Map::new();
        for argument in keys(command) {
            own.insert(key_of(argument), schema_of(argument));
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let section = json!({
            "type": "object", "description": about, "properties": own, "additionalProperties": false,
        });
        let section = match is_repeatable {
            true => json!({ "anyOf": [section, { "type": "array", "items": section }] }),
            false => section,
        };
        properties.insert(command.get_name().to_owned(), section);
    }
    for argument in
        sections.iter().filter(|(command, _)| command.get_name() == "fit").flat_map(|(c, _)| keys(c))
    {
        properties.entry(key_of(argument)).or_insert_with(|| schema_of(argument));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A job of sweepfit",
        "type": "object",
        "properties": properties,
        "required": ["fit"],
        "additionalProperties": false,
    })
}

/// Returns the JSON Schema of the value of a flag.
fn schema_of(argument: &Arg) -> serde_json::Value {
    use serde_json::json;
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        return json!({ "type": "boolean", "description": help });
    }
    let names: Vec<String> =
        argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let one = match (names.is_empty(), kind(argument)) {
        (false, _) if is_optional(argument) => {
            json!({ "enum": names.into_iter().map(serde_json::Value::from).chain([true.into()]).collect::<Vec<_>>() })
        }
        (false, _) => json!({ "enum": names }),
        (true, "string") => json!({ "type": ["string", "number"] }),
        (true, kind) => json!({ "type": kind }),
    };
    let is_repeatable = matches!(argument.get_action(), ArgAction::Append);
    let mut value = match (is_repeatable, is_pairs(argument)) {
        (false, _) => one,
        (true, false) => json!({ "anyOf": [one, { "type": "array", "items": one }] }),
        (true, true) => json!({ "anyOf": [one, { "type": "array", "items": one }, { "type": "object" }] }),
    };
    value["description"] = help.into();
    value
}

/// Returns whether a flag takes a name with a value.
fn is_pairs(argument: &Arg) -> bool {
    let names = argument.get_value_names().unwrap_or_default();
    names.iter().any(|name| name.as_str().starts_with("NAME="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced() {
        let variable = |name: &str| match name {
            "LAKE" => Some("/lake".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("${LAKE}/a", Ok("/lake/a")),
            ("${NONE:-x}${EMPTY:-y}$$5 $x", Ok("xy$5 $x")),
            ("${EMPTY}", Ok("")),
            ("${NONE}", Err("the variable `NONE` is not set")),
            ("${LAKE", Err("`${LAKE`: a `${` has no `}`")),
        ] {
            assert_eq!(expanded(text, &variable), expected.map(str::to_owned).map_err(str::to_owned));
        }
    }

    #[test]
    fn keys_are_set() {
        let mut job: Table = "[fit]\nbootstrap = 1000\n".parse().expect("TOML");
        for assignment in ["fit.bootstrap=200", "fit.law=y ~ a*x", "predict.at=[\"N=1\"]", "keep=3"] {
            assert!(set(&mut job, assignment).is_ok());
        }
        let expected = "keep = 3\n[fit]\nbootstrap = 200\nlaw = \"y ~ a*x\"\n[predict]\nat = [\"N=1\"]\n";
        assert_eq!(job, expected.parse().expect("TOML"));
        assert!(set(&mut job, "fit.bootstrap").is_err() && set(&mut job, "keep.x=1").is_err());
    }
}
