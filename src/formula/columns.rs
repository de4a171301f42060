//! A batch of rows as the language sees it.

/// The type of a column or an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// float64
    Number,
    /// Unicode text
    Text,
    /// true or false
    Bool,
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Number => "a number",
            Self::Text => "text",
            Self::Bool => "true or false",
        })
    }
}

/// One batch of a column. Where `valid` is false the row is null, and its value means nothing;
/// without `valid` no row is null.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Numbers, as float64
    Number {
        /// One per row
        values: Vec<f64>,
        /// One per row
        valid: Option<Vec<bool>>,
    },
    /// Texts
    Text {
        /// One per row
        values: Vec<String>,
        /// One per row
        valid: Option<Vec<bool>>,
    },
    /// Truth values
    Bool {
        /// One per row
        values: Vec<bool>,
        /// One per row
        valid: Option<Vec<bool>>,
    },
}

impl Column {
    /// Its type.
    #[must_use]
    pub fn data_type(&self) -> Type {
        match self {
            Self::Number { .. } => Type::Number,
            Self::Text { .. } => Type::Text,
            Self::Bool { .. } => Type::Bool,
        }
    }

    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Number { values, .. } => values.len(),
            Self::Text { values, .. } => values.len(),
            Self::Bool { values, .. } => values.len(),
        }
    }

    /// Whether it has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which rows are not null; `None` if none is.
    #[must_use]
    pub fn valid(&self) -> Option<&[bool]> {
        match self {
            Self::Number { valid, .. } | Self::Text { valid, .. } | Self::Bool { valid, .. } => {
                valid.as_deref()
            }
        }
    }
}

/// The columns of one batch.
pub trait Columns {
    /// How many rows every column has.
    fn rows(&self) -> usize;
    /// The column of that name.
    fn column(&self, name: &str) -> Option<&Column>;
    /// All names, for suggestions.
    fn names(&self) -> Vec<String>;
}

/// Columns held in memory, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    rows: usize,
    columns: Vec<(String, Column)>,
}

impl Table {
    /// No columns yet, of so many rows.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        Table { rows, columns: Vec::new() }
    }

    /// Adds a column of numbers without nulls, in place of one that has the name.
    pub fn push_numbers(&mut self, name: &str, values: Vec<f64>) {
        self.columns.retain(|(known, _)| known != name);
        self.columns.push((name.to_owned(), Column::Number { values, valid: None }));
    }
}

impl Columns for Table {
    fn rows(&self) -> usize {
        self.rows
    }

    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(n, _)| n == name).map(|(_, column)| column)
    }

    fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }
}
