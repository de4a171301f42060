//! Resolves the names in expressions: columns of a source and definitions, with their types.
//!
//! A definition may use earlier definitions and may have the name of a column. The plan of a job and the plan of
//! reading both resolve names with this type, so a name has one meaning in both.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::convert::{ColumnType, kind_of};
use super::source::{Fragment, Source, UNSUPPORTED};
use crate::error::{Error, Place, Setting};
use crate::formula::{self, Expr, Type, list, nearest};

/// The names that expressions may use, with their types.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The names of the top-level columns of all fragments, in order of first appearance.
    columns: Vec<String>,
    /// The type of each column, from the first fragment in which its type is not `Null`.
    types: HashMap<String, DataType>,
    /// The names and schemas of the fragments in which some columns are marked as [`UNSUPPORTED`].
    unsupported: Vec<(String, SchemaRef)>,
    /// The type of the last definition of each name.
    definitions: Vec<(String, Type)>,
}

impl Scope {
    /// Returns the columns of a source, without definitions.
    #[must_use]
    pub fn new(source: &dyn Source) -> Scope {
        let mut scope = Scope {
            columns: Vec::new(),
            types: HashMap::new(),
            unsupported: Vec::new(),
            definitions: Vec::new(),
        };
        let mut previous: Option<&Fragment> = None;
        for fragment in source.fragments() {
            if previous.is_some_and(|p| Arc::ptr_eq(&p.schema, &fragment.schema)) {
                continue;
            }
            previous = Some(fragment);
            if fragment.schema.fields().iter().any(|field| field.metadata().contains_key(UNSUPPORTED)) {
                scope.unsupported.push((fragment.name.clone(), Arc::clone(&fragment.schema)));
            }
            for field in fragment.schema.fields() {
                match scope.types.get_mut(field.name()) {
                    // A column of nulls alone may have another type in a later fragment.
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
    /// If its expression does not fit the columns and earlier definitions, or its name is `pi`.
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

    /// Returns all names: those of columns, then the names of definitions that are not names of columns.
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

    /// Returns the type of a definition; `None` if there is no definition of this name.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<Type> {
        self.definitions.iter().find(|(known, _)| known == name).map(|(_, found)| *found)
    }

    /// Returns the type of a column in the formula language; `None` if there is no column of this name.
    #[must_use]
    pub fn column_type(&self, name: &str) -> Option<ColumnType> {
        self.types.get(name).map(kind_of)
    }

    /// Returns the type of a name in expressions; `None` if expressions cannot use the name.
    #[must_use]
    pub fn type_of(&self, name: &str) -> Option<Type> {
        self.definition(name).or_else(|| match self.column_type(name)? {
            ColumnType::Number => Some(Type::Number),
            ColumnType::Text => Some(Type::Text),
            ColumnType::Bool => Some(Type::Bool),
            ColumnType::Time(_) => Some(Type::Time),
            ColumnType::Other(_) => None,
        })
    }

    /// Checks the names and types in an expression, and returns its type.
    ///
    /// # Errors
    /// If a name does not exist or has a type that expressions cannot use, or operands do not fit their operator.
    pub fn check(&self, expr: &Expr, place: &Place) -> Result<Type, Error> {
        self.check_as(expr, place, formula::check)
    }

    /// Checks that expressions can use the types of the columns, then calls `check`, one of the formula language's
    /// checks.
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
            self.check_support(name)?;
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
    /// If [`Scope::check`] fails, or the expression is not a truth value.
    pub fn check_condition(&self, expr: &Expr, place: &Place) -> Result<(), Error> {
        self.check_as(expr, place, formula::check_condition)
    }

    /// Checks that an expression is a number for every row.
    ///
    /// # Errors
    /// If [`Scope::check`] fails, or the expression is not a number.
    pub fn check_number(&self, expr: &Expr, place: &Place) -> Result<(), Error> {
        self.check_as(expr, place, formula::check_number)
    }

    /// Checks that a name is that of a column or definition of numbers, or of texts, which are read as numbers.
    ///
    /// # Errors
    /// If the name does not exist, or its values are not numbers.
    pub fn check_column(&self, name: &str, place: &Place) -> Result<(), Error> {
        let (found, advice) = match self.definition(name) {
            Some(Type::Number | Type::Text) => return Ok(()),
            Some(Type::Bool) => ("a truth value".to_owned(), "define it as a number"),
            Some(Type::Time) => ("a date or time".to_owned(), "define it as a number"),
            None => match self.check_support(name).map(|()| self.column_type(name))? {
                None => return Err(self.missing(name, place)),
                Some(ColumnType::Number | ColumnType::Text) => return Ok(()),
                Some(ColumnType::Bool) => ("boolean".to_owned(), "write the column as 0 and 1"),
                Some(ColumnType::Time(found) | ColumnType::Other(found)) => {
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

    /// Checks that a column can be read in every fragment.
    ///
    /// # Errors
    /// If a fragment's field is marked as [`UNSUPPORTED`].
    pub(crate) fn check_support(&self, name: &str) -> Result<(), Error> {
        for (path, schema) in &self.unsupported {
            let mut fields = schema.fields().iter().filter(|field| field.name() == name);
            if let Some(what) = fields.find_map(|field| field.metadata().get(UNSUPPORTED)) {
                let (path, column) = (path.clone(), Some(name.to_owned()));
                return Err(Error::Unsupported { path, column, what: what.clone() });
            }
        }
        Ok(())
    }

    /// Returns the error for a name that does not exist.
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

    /// Returns the nested column if a name refers to a field of one, as in `column.field`.
    fn nested<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (column, _) = name.split_once('.')?;
        self.types.get(column).is_some_and(DataType::is_nested).then_some(column)
    }
}
