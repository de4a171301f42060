//! Checks a request against the schemas of all fragments, and lists the columns to decode and the definitions to
//! evaluate.
//!
//! A definition may use earlier definitions; the condition and the requested columns may use all of them. A definition
//! takes precedence over a column of the input with its name. For key columns the input takes precedence, because the
//! output repeats their values in the input's types. A definition that is a column's name alone stands for the column, so
//! that a key under such a name keeps the column's type and values too.

use std::collections::HashSet;

use arrow::datatypes::{DataType, Field, TimeUnit};

use super::convert::{ColumnType, kind_of};
use super::keys::Interner;
use super::request::{HELD_OUT, Request};
use super::scope::Scope;
use super::source::{Fragment, Source};
use super::types::{self, common};
use crate::error::{Error, Place, Setting};
use crate::formula::{self, Expr, ExprKind, Type, other_case};

/// The columns to decode and the definitions to evaluate in each pass over the input.
pub(in crate::input) struct ReadPlan<'a> {
    /// For a pass that evaluates the condition and the keys.
    pub(in crate::input) for_keys: Needs<'a>,
    /// For a pass that evaluates the condition and the requested columns.
    pub(in crate::input) for_numbers: Needs<'a>,
    /// For a pass that evaluates the condition, the keys and the requested columns.
    pub(in crate::input) for_all: Needs<'a>,
    pub(in crate::input) condition: Option<&'a Expr>,
    pub(in crate::input) by: Vec<Key>,
    pub(in crate::input) cluster: Option<Key>,
    /// Positions in `Request::columns`, each once, in the order in which the columns sort rows.
    pub(in crate::input) order: Vec<usize>,
}

/// The columns that are decoded and the definitions that are evaluated for every batch.
pub(in crate::input) struct Needs<'a> {
    /// The columns of the input that become columns of the formula language.
    pub(in crate::input) inputs: Vec<String>,
    /// The definitions that are used, in the order of the request.
    pub(in crate::input) lets: Vec<&'a (String, Expr)>,
    /// The condition that gives the column of rows that are held out, where it is asked for.
    pub(in crate::input) holdout: Option<&'a Expr>,
    /// The columns to decode: `inputs` and the key columns of the input.
    pub(in crate::input) decoded: HashSet<String>,
}

/// A column whose values identify sweeps or clusters.
#[derive(Clone)]
pub(in crate::input) struct Key {
    /// The name of the column of the input, or of the definition.
    pub(in crate::input) name: String,
    /// Whether the column is a definition instead of a column of the input.
    pub(in crate::input) computed: bool,
    /// The type in which values are compared; never a dictionary.
    pub(in crate::input) value_type: DataType,
    /// The name and type in the output.
    pub(in crate::input) field: Field,
}

/// Checks a request against a source and returns its plan.
pub(in crate::input) fn plan<'a>(source: &dyn Source, request: &'a Request) -> Result<ReadPlan<'a>, Error> {
    let mut scope = Scope::new(source);
    for (name, expr) in &request.lets {
        scope.define(name, expr)?;
    }
    if let Some(condition) = &request.condition {
        scope.check_condition(condition, &Setting::Where.whole())?;
    }
    if let Some(condition) = &request.holdout {
        scope.check_condition(condition, &Setting::Holdout.whole())?;
    }
    for name in request.columns.iter().filter(|name| *name != HELD_OUT) {
        scope.check_column(name, &Setting::Inputs.whole())?;
    }
    let schemas = Schemas { fragments: source.fragments(), scope };
    let scope = &schemas.scope;
    let by = request
        .by
        .iter()
        .map(|key| {
            let own = scope.column_type(&key.column).map(|_| key.column.as_str());
            let read = own.or_else(|| defined_column(&key.column, &request.lets, scope));
            schemas.key(read.unwrap_or(&key.column), &key.name, &Setting::By.whole(), read.is_none())
        })
        .collect::<Result<Vec<_>, _>>()?;
    let cluster = match &request.cluster {
        Some(name) => {
            let place = Setting::Resample.of(format!("cluster:{name}"));
            let read = defined_column(name, &request.lets, scope);
            Some(schemas.key(read.unwrap_or(name), name, &place, read.is_none())?)
        }
        None => None,
    };
    let keys: Vec<&Key> = by.iter().chain(&cluster).collect();
    let for_all = Needs::of(request, &request.columns, &keys);
    for name in &for_all.inputs {
        schemas.check_agreement(name)?;
    }
    let for_keys = Needs::of(request, &[], &keys);
    let for_numbers = Needs::of(request, &request.columns, &[]);
    let order = order(request)?;
    let condition = request.condition.as_ref();
    Ok(ReadPlan { for_keys, for_numbers, for_all, condition, by, cluster, order })
}

impl<'a> Needs<'a> {
    /// Returns the columns and definitions on which the condition, `columns` and `keys` depend.
    fn of(request: &'a Request, columns: &[String], keys: &[&Key]) -> Needs<'a> {
        let mut names: HashSet<&str> = columns.iter().map(String::as_str).collect();
        names.extend(request.condition.iter().flat_map(|c| formula::names(c)));
        let holdout = request.holdout.as_ref().filter(|_| names.remove(HELD_OUT));
        names.extend(holdout.into_iter().flat_map(|c| formula::names(c)));
        let (computed, read): (Vec<&Key>, Vec<&Key>) = keys.iter().partition(|k| k.computed);
        names.extend(computed.iter().map(|k| k.name.as_str()));
        let lets = formula::needed_definitions(&request.lets, &mut names);
        let mut inputs: Vec<String> = names.into_iter().map(str::to_owned).collect();
        inputs.sort();
        let decoded = inputs.iter().chain(read.iter().map(|k| &k.name)).cloned().collect();
        Needs { inputs, lets, holdout, decoded }
    }
}

/// Returns the column of the input that a name stands for in expressions; `None` if it stands for a definition that is more than
/// a name.
fn defined_column<'a>(mut name: &'a str, mut lets: &'a [(String, Expr)], scope: &Scope) -> Option<&'a str> {
    // A definition sees those before it.
    while let Some(place) = lets.iter().rposition(|(known, _)| known == name) {
        let ExprKind::Name(other) = &lets[place].1.kind else { return None };
        (name, lets) = (other, &lets[..place]);
    }
    scope.column_type(name).map(|_| name)
}

/// Returns the columns by which rows are sorted: those of the request's order, then all others. With columns left out,
/// different rows could compare equal and keep the input's order.
fn order(request: &Request) -> Result<Vec<usize>, Error> {
    let place = |name: &String| {
        let found = request.columns.iter().position(|c| c == name);
        found.ok_or_else(|| Error::Internal {
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

/// The schemas of all fragments.
struct Schemas<'a> {
    fragments: &'a [Fragment],
    scope: Scope,
}

impl<'a> Schemas<'a> {
    /// Checks that every fragment has exactly one column of this name, and that all are of one [`ColumnType`].
    fn check_agreement(&self, name: &str) -> Result<(), Error> {
        let mut first: Option<(String, ColumnType, &DataType)> = None;
        self.in_every_file(name, |path, data_type| {
            let kind = kind_of(data_type);
            match &first {
                // A column of nulls alone agrees with every type.
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

    /// Returns a key column with a name in the output, checked for a type whose values can be compared.
    fn key(&self, name: &str, output: &str, place: &Place, computed: bool) -> Result<Key, Error> {
        let data_type = if computed {
            match self.scope.definition(name) {
                Some(Type::Number) => DataType::Float64,
                Some(Type::Text) => DataType::Utf8,
                Some(Type::Bool) => DataType::Boolean,
                Some(Type::Time) => DataType::Timestamp(TimeUnit::Microsecond, None),
                None => return Err(self.scope.missing(name, place)),
            }
        } else {
            self.common_type(name, place)?
        };
        let value_type = types::value_type(&data_type).clone();
        if !Interner::supports(&value_type) {
            return Err(Error::UnusableKey {
                place: place.clone(),
                name: name.to_owned(),
                found: data_type.to_string(),
            });
        }
        let field = Field::new(output, data_type, true);
        Ok(Key { name: name.to_owned(), computed, value_type, field })
    }

    /// Returns a type that holds the column's values in all fragments.
    fn common_type(&self, name: &str, place: &Place) -> Result<DataType, Error> {
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
        so_far.map(|(_, t)| t).ok_or_else(|| self.scope.missing(name, place))
    }

    /// Calls `visit` with the path and the column's type for each fragment whose schema differs from the one before.
    fn in_every_file(
        &self,
        name: &str,
        mut visit: impl FnMut(String, &'a DataType) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.scope.check_support(name)?;
        let mut previous = None;
        for fragment in self.fragments {
            if previous.is_some_and(|p| std::sync::Arc::ptr_eq(p, &fragment.schema)) {
                continue;
            }
            previous = Some(&fragment.schema);
            let mut fields = fragment.schema.fields().iter().filter(|f| f.name() == name);
            let (column, path) = (name.to_owned(), fragment.name.clone());
            match (fields.next(), fields.next()) {
                (None, _) => {
                    let names: Vec<String> =
                        fragment.schema.fields().iter().map(|f| f.name().clone()).collect();
                    let other_case = other_case(name, &names).map(str::to_owned);
                    return Err(Error::MissingInFile { column, path, other_case });
                }
                (Some(_), Some(_)) => return Err(Error::Ambiguous { column, path }),
                (Some(field), None) => visit(path, field.data_type())?,
            }
        }
        Ok(())
    }
}

/// Returns the error for a column with incompatible types in two fragments.
fn conflict(column: &str, path: String, found: &DataType, other: &str, expected: &DataType) -> Error {
    Error::Conflict {
        column: column.to_owned(),
        path,
        found: found.to_string(),
        other: other.to_owned(),
        expected: expected.to_string(),
    }
}
