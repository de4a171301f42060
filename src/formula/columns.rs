//! Columns of a batch of rows, and their types.

/// The type of a column or an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// A float64 number
    Number,
    /// Unicode text
    Text,
    /// A truth value: true or false
    Bool,
    /// A date or an instant
    Time,
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Number => "a number",
            Self::Text => "text",
            Self::Bool => "true or false",
            Self::Time => "a date or time",
        })
    }
}

/// The values of a column in one batch of rows.
///
/// A row is null where `valid` is false; its entry of `values` is then arbitrary. Without `valid` no row is null.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Numbers, as float64
    Number {
        /// One value per row
        values: Vec<f64>,
        /// Whether each row is not null
        valid: Option<Vec<bool>>,
    },
    /// Decimals, integers among them, of which float64 does not hold all exactly; comparisons are exact, and arithmetic takes
    /// the nearest numbers
    Decimal {
        /// One value per row, times 10 to the power `scale`
        values: Vec<i128>,
        /// The number of digits behind the point
        scale: u8,
        /// Whether each row is not null
        valid: Option<Vec<bool>>,
    },
    /// Texts
    Text {
        /// One value per row
        values: Vec<String>,
        /// Whether each row is not null
        valid: Option<Vec<bool>>,
    },
    /// Dates and timestamps, in nanoseconds since 1970-01-01 UTC; a date is its midnight
    Time {
        /// One value per row
        values: Vec<i128>,
        /// Whether each row is not null
        valid: Option<Vec<bool>>,
    },
    /// Truth values
    Bool {
        /// One value per row
        values: Vec<bool>,
        /// Whether each row is not null
        valid: Option<Vec<bool>>,
    },
}

/// Returns the number that a text says, as JSON, CSV and Rust write it, with white space around it; `None` for every other
/// text, such as `7B` and `1,300,000`.
#[must_use]
pub fn number_in(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

impl Column {
    /// Returns the type of the values.
    #[must_use]
    pub fn data_type(&self) -> Type {
        match self {
            Self::Number { .. } | Self::Decimal { .. } => Type::Number,
            Self::Text { .. } => Type::Text,
            Self::Bool { .. } => Type::Bool,
            Self::Time { .. } => Type::Time,
        }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Number { values, .. } => values.len(),
            Self::Decimal { values, .. } | Self::Time { values, .. } => values.len(),
            Self::Text { values, .. } => values.len(),
            Self::Bool { values, .. } => values.len(),
        }
    }

    /// Returns whether the column has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether each row is not null; `None` if no row is null.
    #[must_use]
    pub fn valid(&self) -> Option<&[bool]> {
        match self {
            Self::Number { valid, .. }
            | Self::Decimal { valid, .. }
            | Self::Text { valid, .. }
            | Self::Time { valid, .. }
            | Self::Bool { valid, .. } => valid.as_deref(),
        }
    }
}

/// The columns of one batch.
pub trait Columns {
    /// Returns the number of rows of every column.
    fn rows(&self) -> usize;
    /// Returns the column of this name.
    fn column(&self, name: &str) -> Option<&Column>;
    /// Returns the names of all columns, for suggestions in errors.
    fn names(&self) -> Vec<String>;
}

/// Columns held in memory, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    rows: usize,
    columns: Vec<(String, Column)>,
}

impl Table {
    /// Returns a table of `rows` rows, without columns.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        Table { rows, columns: Vec::new() }
    }

    /// Adds a column of numbers without nulls, and removes an earlier column of this name.
    pub fn push_numbers(&mut self, name: &str, values: Vec<f64>) {
        self.push(name, Column::Number { values, valid: None });
    }

    /// Adds a column, and removes an earlier column of this name.
    pub fn push(&mut self, name: &str, column: Column) {
        self.columns.retain(|(known, _)| known != name);
        self.columns.push((name.to_owned(), column));
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
