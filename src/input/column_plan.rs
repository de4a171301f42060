//! A request is checked against the schemas of all files and turned into what must be read and computed.
//!
//! Names mean what they mean at their place: in a `--let` the definitions before it, in the condition and the columns
//! all definitions, and the input's columns where no definition has the name. Key columns are the exception:
//! `--by` names the input's columns, which the output shows as they are, and a definition only where the input
//! has no such column.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::{DataType, Field};

use super::convert::ColumnType;
use super::convert::kind_of;
use super::error::{DatasetError, enumerate, nearest};
use super::header::Header;
use super::keys::Interner;
use super::request::Request;
use super::types::{common, plain};
use crate::formula::{self, Expr, Type};

/// What is to be done with each batch.
pub(in crate::input) struct ReadPlan<'a> {
    /// What is needed to tell which rows are kept, and their keys.
    pub(in crate::input) for_keys: Needs<'a>,
    /// The same for the numbers of rows that are kept.
    pub(in crate::input) for_numbers: Needs<'a>,
    /// What is needed for both.
    pub(in crate::input) for_all: Needs<'a>,
    pub(in crate::input) condition: Option<&'a Expr>,
    pub(in crate::input) by: Vec<Key>,
    pub(in crate::input) cluster: Option<Key>,
    /// Positions in `Request::columns`, each once, in the order that sorts rows.
    pub(in crate::input) order: Vec<usize>,
}

/// What is decoded and computed of every batch.
pub(in crate::input) struct Needs<'a> {
    /// Input columns that expressions or the result use.
    pub(in crate::input) inputs: Vec<String>,
    /// The definitions that something needs, in order.
    pub(in crate::input) lets: Vec<&'a (String, Expr)>,
    /// All columns to decode.
    pub(in crate::input) decoded: HashSet<String>,
}

/// A column that identifies rows.
#[derive(Clone)]
pub(in crate::input) struct Key {
    pub(in crate::input) name: String,
    /// Whether it is a definition's value instead of the input's.
    pub(in crate::input) computed: bool,
    /// The type in which values are compared, never a dictionary.
    pub(in crate::input) plain: DataType,
    /// As the output shows it.
    pub(in crate::input) field: Field,
}

/// Checks the request and plans it.
pub(in crate::input) fn plan<'a>(
    header: &Header,
    request: &'a Request,
) -> Result<ReadPlan<'a>, DatasetError> {
    let mut scope = RequestScope::new(header, request);
    for (name, expr) in &request.lets {
        let role = format!("--let {name}");
        let value = scope.check(expr, &role)?;
        scope.lets.insert(name.clone(), value);
    }
    if let Some(condition) = &request.condition
        && let found @ (Type::Number | Type::Text) = scope.check(condition, "--where")?
    {
        return Err(DatasetError::NotCondition {
            place: "--where".to_owned(),
            found: if matches!(found, Type::Number) { "a number" } else { "text" },
            span: condition.span.clone(),
        });
    }
    for name in &request.columns {
        scope.check_number(name)?;
    }
    let by = request
        .by
        .iter()
        .map(|name| scope.key(name, "--by", header.data_type(name).is_none()))
        .collect::<Result<Vec<_>, _>>()?;
    let cluster = match &request.cluster {
        Some(name) => Some(scope.key(name, "--resample cluster", scope.lets.contains_key(name))?),
        None => None,
    };
    let keys: Vec<&Key> = by.iter().chain(&cluster).collect();
    let for_all = Needs::of(request, &request.columns, &keys);
    for name in &for_all.inputs {
        scope.check_agreement(name)?;
    }
    let for_keys = Needs::of(request, &[], &keys);
    let for_numbers = Needs::of(request, &request.columns, &[]);
    let order = order(request)?;
    let condition = request.condition.as_ref();
    Ok(ReadPlan { for_keys, for_numbers, for_all, condition, by, cluster, order })
}

impl<'a> Needs<'a> {
    /// What the condition, some columns and some keys depend on.
    fn of(request: &'a Request, columns: &[String], keys: &[&Key]) -> Needs<'a> {
        let mut names: HashSet<&str> = columns.iter().map(String::as_str).collect();
        names.extend(request.condition.iter().flat_map(|c| formula::names(c)));
        let (computed, read): (Vec<&Key>, Vec<&Key>) = keys.iter().partition(|k| k.computed);
        names.extend(computed.iter().map(|k| k.name.as_str()));
        // Backwards, so that a definition's own names mean what came before it.
        let mut lets = Vec::new();
        for definition in request.lets.iter().rev() {
            if names.remove(definition.0.as_str()) {
                names.extend(formula::names(&definition.1));
                lets.push(definition);
            }
        }
        lets.reverse();
        let mut inputs: Vec<String> = names.into_iter().map(str::to_owned).collect();
        inputs.sort();
        let decoded = inputs.iter().chain(read.iter().map(|k| &k.name)).cloned().collect();
        Needs { inputs, lets, decoded }
    }
}

/// The order asked for, and after it every column that it leaves out: rows that differ must not keep the input's order.
fn order(request: &Request) -> Result<Vec<usize>, DatasetError> {
    let place = |name: &String| {
        let found = request.columns.iter().position(|c| c == name);
        found.ok_or_else(|| DatasetError::Internal {
            context: "ordering rows".to_owned(),
            reason: format!("`{name}` is not among the columns"),
        })
    };
    let mut order = request.order.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    order.extend(0..request.columns.len());
    let mut seen = HashSet::new();
    order.retain(|column| seen.insert(*column));
    Ok(order)
}

/// The names that can be used so far.
struct RequestScope<'a> {
    header: &'a Header,
    lets: HashMap<String, Type>,
    /// All names there are, for suggestions.
    known: Vec<String>,
}

impl<'a> RequestScope<'a> {
    fn new(header: &'a Header, request: &Request) -> Self {
        let mut known = header.column_names();
        known.extend(request.lets.iter().map(|(name, _)| name.clone()));
        Self { header, lets: HashMap::new(), known }
    }

    /// Checks an expression's names and types.
    fn check(&self, expr: &Expr, role: &str) -> Result<Type, DatasetError> {
        for name in formula::names(expr) {
            if self.lets.contains_key(name) {
                continue;
            }
            if let ColumnType::Other(found) = self.kind(name, role)? {
                return Err(DatasetError::UnusableType {
                    role: role.to_owned(),
                    name: name.to_owned(),
                    found,
                });
            }
        }
        let lookup = |name: &str| self.type_of(name);
        formula::check(expr, &lookup, &self.known).map_err(|e| DatasetError::Expression {
            place: role.to_owned(),
            message: e.message,
            span: e.span,
        })
    }

    fn type_of(&self, name: &str) -> Option<Type> {
        if let Some(value) = self.lets.get(name) {
            return Some(*value);
        }
        match self.header.kind(name)? {
            ColumnType::Number => Some(Type::Number),
            ColumnType::Text => Some(Type::Text),
            ColumnType::Bool => Some(Type::Bool),
            ColumnType::Other(_) => None,
        }
    }

    fn kind(&self, name: &str, role: &str) -> Result<ColumnType, DatasetError> {
        self.header.kind(name).ok_or_else(|| self.missing(name, role))
    }

    fn missing(&self, name: &str, role: &str) -> DatasetError {
        let (role, name) = (role.to_owned(), name.to_owned());
        if let Some((column, _)) = name.split_once('.')
            && self.header.data_type(column).is_some_and(DataType::is_nested)
        {
            let column = column.to_owned();
            return DatasetError::Nested { role, name, column };
        }
        DatasetError::MissingColumn {
            nearest: nearest(&name, &self.known),
            available: enumerate(&self.header.column_names()),
            role,
            name,
        }
    }

    /// Checks that a column of the result is one of numbers.
    fn check_number(&self, name: &str) -> Result<(), DatasetError> {
        let role = "the columns to fit";
        let (found, advice) = match self.lets.get(name) {
            Some(Type::Number) => return Ok(()),
            Some(Type::Text) => ("text".to_owned(), "define it as a number"),
            Some(Type::Bool) => ("a truth value".to_owned(), "define it as a number"),
            None => match self.kind(name, role)? {
                ColumnType::Number => return Ok(()),
                ColumnType::Text => ("text".to_owned(), "write the column as a number"),
                ColumnType::Bool => {
                    ("boolean".to_owned(), "write the column as 0 and 1, or use it in --where")
                }
                ColumnType::Other(found) => {
                    (found, "write the column as a number (a date as days, a duration as seconds)")
                }
            },
        };
        Err(DatasetError::NotNumeric {
            role: role.to_owned(),
            name: name.to_owned(),
            found,
            advice: advice.to_owned(),
        })
    }

    /// Checks that every file has the column once, with one kind.
    fn check_agreement(&self, name: &str) -> Result<(), DatasetError> {
        let mut first: Option<(String, ColumnType, &DataType)> = None;
        self.in_every_file(name, |path, data_type| {
            let kind = kind_of(data_type);
            match &first {
                // Nulls alone agree with everything.
                _ if *data_type == DataType::Null => Ok(()),
                None => {
                    first = Some((path, kind, data_type));
                    Ok(())
                }
                Some((_, expected, _)) if *expected == kind => Ok(()),
                Some((other, _, expected)) => Err(conflict(name, path, data_type, other, expected)),
            }
        })
    }

    fn key(&self, name: &str, role: &str, computed: bool) -> Result<Key, DatasetError> {
        let data_type = if computed {
            match self.lets.get(name) {
                Some(Type::Number) => DataType::Float64,
                Some(Type::Text) => DataType::Utf8,
                Some(Type::Bool) => DataType::Boolean,
                None => return Err(self.missing(name, role)),
            }
        } else {
            self.common_type(name, role)?
        };
        let plain = plain(&data_type).clone();
        if !Interner::supports(&plain) {
            return Err(DatasetError::UnusableKey {
                role: role.to_owned(),
                name: name.to_owned(),
                found: data_type.to_string(),
            });
        }
        let field = Field::new(name, data_type, true);
        Ok(Key { name: name.to_owned(), computed, plain, field })
    }

    /// The type that holds the column's values in all files.
    fn common_type(&self, name: &str, role: &str) -> Result<DataType, DatasetError> {
        let mut so_far: Option<(String, DataType)> = None;
        self.in_every_file(name, |path, data_type| {
            so_far = Some(match so_far.take() {
                None => (path, data_type.clone()),
                Some((other, known)) => match common(&known, data_type) {
                    Some(data_type) => (other, data_type),
                    None => return Err(conflict(name, path, data_type, &other, &known)),
                },
            });
            Ok(())
        })?;
        so_far.map(|(_, t)| t).ok_or_else(|| self.missing(name, role))
    }

    /// Visits the column's type in each file; files that share a schema with the one before are known already.
    fn in_every_file(
        &self,
        name: &str,
        mut visit: impl FnMut(String, &'a DataType) -> Result<(), DatasetError>,
    ) -> Result<(), DatasetError> {
        let mut previous = None;
        for file in &self.header.files {
            if previous.is_some_and(|p| std::sync::Arc::ptr_eq(p, &file.schema)) {
                continue;
            }
            previous = Some(&file.schema);
            let mut fields = file.schema.fields().iter().filter(|f| f.name() == name);
            let (column, path) = (name.to_owned(), file.name());
            match (fields.next(), fields.next()) {
                (None, _) => return Err(DatasetError::MissingInFile { column, path }),
                (Some(_), Some(_)) => return Err(DatasetError::Ambiguous { column, path }),
                (Some(field), None) => visit(path, field.data_type())?,
            }
        }
        Ok(())
    }
}

fn conflict(column: &str, path: String, found: &DataType, other: &str, expected: &DataType) -> DatasetError {
    DatasetError::Conflict {
        column: column.to_owned(),
        path,
        found: found.to_string(),
        other: other.to_owned(),
        expected: expected.to_string(),
    }
}
