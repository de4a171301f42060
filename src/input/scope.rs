//! The names that expressions may use, with their types: a source's columns, then definitions.
//!
//! A definition may use those before it and may take a column's name. Planning a job and planning what to read ask the same
//! scope, so that a name means one thing everywhere.

use std::collections::HashMap;

use arrow::datatypes::DataType;

use super::convert::{ColumnType, kind_of};
use super::source::{Fragment, Source};
use crate::error::{Error, Place, Setting};
use crate::formula::{self, Expr, Type, list, nearest};

/// The names that can be used so far, and what they are.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Names of all top-level columns that any fragment has, in the order in which they first appear.
    columns: Vec<String>,
    /// The type of each, by the first fragment that has it with more than nulls.
    types: HashMap<String, DataType>,
    /// Of each name the type of its last definition.
    definitions: Vec<(String, Type)>,
}

impl Scope {
    /// The columns of a source, without definitions.
    #[must_use]
    pub fn new(source: &dyn Source) -> Scope {
        let mut scope = Scope { columns: Vec::new(), types: HashMap::new(), definitions: Vec::new() };
        let mut previous: Option<&Fragment> = None;
        for fragment in source.fragments() {
            if previous.is_some_and(|p| std::sync::Arc::ptr_eq(&p.schema, &fragment.schema)) {
                continue;
            }
            previous = Some(fragment);
            for field in fragment.schema.fields() {
                match scope.types.get_mut(field.name()) {
                    // A column of nulls alone does not say what it is.
                    Some(known @ DataType::Null) => known.clone_from(field.data_type()),
                    Some(_) => {}
                    None => {
                        scope.columns.push(field.name().clone());
                        scope.types.insert(field.name().clone(), field.data_type().clone());
                    }
                }
            }
        }
        scope
    }

    /// Adds a definition.
    ///
    /// # Errors
    /// If its expression does not fit the columns and the definitions before it.
    pub fn define(&mut self, name: &str, expr: &Expr) -> Result<(), Error> {
        if name == "pi" {
            let reason = "this name is the constant; choose another".to_owned();
            return Err(Error::Invalid { place: Setting::Let.of(name), reason });
        }
        let found = self.check(expr, &Setting::Let.of(name))?;
        self.definitions.retain(|(known, _)| known != name);
        self.definitions.push((name.to_owned(), found));
        Ok(())
    }

    /// Returns all names: the columns', then those of definitions that are no columns.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names = self.columns.clone();
        let defined = self.definitions.iter().map(|(name, _)| name);
        names.extend(defined.filter(|name| !self.types.contains_key(*name)).cloned());
        names
    }

    /// Returns the names of the columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns the type of a definition.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<Type> {
        self.definitions.iter().find(|(known, _)| known == name).map(|(_, found)| *found)
    }

    /// Returns what a column is to the formula language.
    #[must_use]
    pub fn column_type(&self, name: &str) -> Option<ColumnType> {
        self.types.get(name).map(kind_of)
    }

    /// Returns the type that a name has in an expression; none for names that expressions cannot use.
    #[must_use]
    pub fn type_of(&self, name: &str) -> Option<Type> {
        self.definition(name).or_else(|| match self.column_type(name)? {
            ColumnType::Number => Some(Type::Number),
            ColumnType::Text => Some(Type::Text),
            ColumnType::Bool => Some(Type::Bool),
            ColumnType::Other(_) => None,
        })
    }

    /// Checks an expression's names and types.
    ///
    /// # Errors
    /// If a name is not there or of a type that expressions cannot use, or operands do not fit their operator.
    pub fn check(&self, expr: &Expr, place: &Place) -> Result<Type, Error> {
        self.check_as(expr, place, formula::check)
    }

    /// Checks the columns' types, then what one of the language's checks asks.
    fn check_as<T>(
        &self,
        expr: &Expr,
        place: &Place,
        check: impl Fn(&Expr, &dyn Fn(&str) -> Option<Type>, &[String]) -> Result<T, formula::TypeError>,
    ) -> Result<T, Error> {
        for name in formula::names(expr) {
            if self.definition(name).is_some() {
                continue;
            }
            match self.column_type(name) {
                Some(ColumnType::Other(found)) => {
                    return Err(Error::UnusableType { place: place.clone(), name: name.to_owned(), found });
                }
                None if self.nested(name).is_some() => return Err(self.missing(name, place)),
                _ => {}
            }
        }
        check(expr, &|name| self.type_of(name), &self.names()).map_err(|error| Error::Expression {
            place: place.clone(),
            message: error.message,
            span: error.span,
        })
    }

    /// Checks that an expression is true or false for every row.
    ///
    /// # Errors
    /// Those of [`Scope::check`], and where it is neither.
    pub fn check_condition(&self, expr: &Expr, place: &Place) -> Result<(), Error> {
        self.check_as(expr, place, formula::check_condition)
    }

    /// Checks that an expression is a number for every row.
    ///
    /// # Errors
    /// Those of [`Scope::check`], and where it is no number.
    pub fn check_number(&self, expr: &Expr, place: &Place) -> Result<(), Error> {
        self.check_as(expr, place, formula::check_number)
    }

    /// Checks that a name is a column or definition of numbers.
    ///
    /// # Errors
    /// If there is none, or it is not one of numbers.
    pub fn check_column(&self, name: &str, place: &Place) -> Result<(), Error> {
        let (found, advice) = match self.definition(name) {
            Some(Type::Number) => return Ok(()),
            Some(Type::Text) => ("text".to_owned(), "define it as a number"),
            Some(Type::Bool) => ("a truth value".to_owned(), "define it as a number"),
            None => match self.column_type(name) {
                None => return Err(self.missing(name, place)),
                Some(ColumnType::Number) => return Ok(()),
                Some(ColumnType::Text) => ("text".to_owned(), "write the column as a number"),
                Some(ColumnType::Bool) => ("boolean".to_owned(), "write the column as 0 and 1"),
                Some(ColumnType::Other(found)) => {
                    (found, "write the column as a number (a date as days, a duration as seconds)")
                }
            },
        };
        Err(Error::NotNumeric {
            place: place.clone(),
            name: name.to_owned(),
            found,
            advice: advice.to_owned(),
        })
    }

    /// Returns the error that a column is not there.
    pub(crate) fn missing(&self, name: &str, place: &Place) -> Error {
        let (place, name) = (place.clone(), name.to_owned());
        if let Some(column) = self.nested(&name) {
            let column = column.to_owned();
            return Error::Nested { place, name, column };
        }
        let known = self.names();
        Error::MissingColumn {
            nearest: nearest(&name, known.iter().map(String::as_str)).map(str::to_owned),
            available: match self.columns.as_slice() {
                [] => "no columns".to_owned(),
                columns => list(columns),
            },
            place,
            name,
        }
    }

    /// Returns the nested column of which a name asks for a field.
    fn nested<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (column, _) = name.split_once('.')?;
        self.types.get(column).is_some_and(DataType::is_nested).then_some(column)
    }
}
