//! The points at which a question is asked: values of a law's variables.

use std::path::Path;

use arrow::array::AsArray;
use arrow::array::{Array, ArrayRef};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::array_value_to_string;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::Error;
use crate::formula::{Column, Table, evaluate, parse_expression};
use crate::lanes::scalar;

/// The largest number of points.
const MOST_POINTS: usize = 1_000_000;

/// Points, as columns of values; NaN where a point does not give a variable.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// The names of the variables.
    pub names: Vec<String>,
    /// The values of each variable, one per point.
    pub columns: Vec<Vec<f64>>,
    /// The texts of key columns that join points to sweeps, by the place of the key; one per point.
    pub(super) keys: Vec<(usize, Vec<String>)>,
    /// The variables that were typed, and not found in a file.
    pub(super) typed: Vec<String>,
    n: usize,
}

impl Points {
    /// Returns the number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.n
    }

    /// Returns whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Adds the points of a text such as `N=7e10, D=20*N`. A value is an expression of variables before it, or
    /// `LOW..HIGH:COUNT`, that many values with equal ratios, each with every combination of the others.
    ///
    /// # Errors
    /// If the text cannot be read.
    pub fn add(&mut self, text: &str) -> Result<(), Error> {
        let fail = |reason: String| Error::Question { subject: format!("the point `{text}`"), reason };
        let mut names: Vec<String> = Vec::new();
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for part in assignments(text) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(fail(format!("write `{}` as NAME=VALUE", part.trim())));
            };
            let (name, value) = (name.trim().to_string(), value.trim());
            if names.contains(&name) {
                return Err(fail(format!("`{name}` is given twice")));
            }
            let n = columns.first().map_or(1, Vec::len);
            let own = match range(value) {
                Some(values) => {
                    let values = values.map_err(&fail)?;
                    if n.saturating_mul(values.len()) > MOST_POINTS {
                        return Err(fail(format!("there are more than {MOST_POINTS} points")));
                    }
                    let count = values.len();
                    for column in &mut columns {
                        *column = column.iter().flat_map(|x| std::iter::repeat_n(*x, count)).collect();
                    }
                    values.iter().copied().cycle().take(n * count).collect()
                }
                None => {
                    let expr = parse_expression(value).map_err(|error| fail(format!("\n{error}")))?;
                    let mut table = Table::new(n);
                    names
                        .iter()
                        .zip(&columns)
                        .for_each(|(name, values)| table.push_numbers(name, values.clone()));
                    match evaluate(&expr, &table) {
                        Ok(Column::Number { values, .. }) if values.len() == n => values,
                        Ok(Column::Number { values, .. }) if values.len() == 1 => vec![values[0]; n],
                        Ok(_) => return Err(fail(format!("`{value}` is not a number"))),
                        Err(error) => return Err(fail(error.message)),
                    }
                }
            };
            if let Some(bad) = own.iter().find(|x| !x.is_finite()) {
                return Err(fail(format!("`{name}` is {bad} there")));
            }
            names.push(name);
            columns.push(own);
        }
        if names.is_empty() {
            return Err(fail("it gives no variable".to_string()));
        }
        let added = columns[0].len();
        self.typed.extend(names.iter().cloned());
        for (name, column) in names.iter().zip(&columns) {
            self.place(name).extend(column);
        }
        self.n += added;
        self.pad();
        Ok(())
    }

    /// Adds the rows of a Parquet file. Columns with a name in `keys` join points to sweeps; other numeric columns are
    /// variables.
    ///
    /// # Errors
    /// If the file cannot be read, or has no row.
    pub fn add_file(&mut self, path: &Path, keys: &[String]) -> Result<(), Error> {
        let fail = |reason: String| Error::Question { subject: path.display().to_string(), reason };
        let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
        let reader = reader.map_err(|error| fail(error.to_string()))?;
        let schema = arrow::array::RecordBatchReader::schema(&reader);
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| fail(error.to_string()))?;
        let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
        if rows == 0 {
            return Err(fail("the file has no row".to_string()));
        }
        for (i, field) in schema.fields().iter().enumerate() {
            let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(i).as_ref()).collect();
            let array: ArrayRef = concat(&parts).map_err(|error| fail(error.to_string()))?;
            if let Some(key) = keys.iter().position(|key| key == field.name()) {
                let text = |row: usize| array_value_to_string(&array, row).unwrap_or_default();
                self.keys.push((key, (0..rows).map(text).collect()));
            } else if array.data_type().is_numeric() {
                let numbers = cast(&array, &DataType::Float64).map_err(|error| fail(error.to_string()))?;
                let numbers = numbers.as_primitive::<Float64Type>();
                let value = |row: usize| if numbers.is_null(row) { f64::NAN } else { numbers.value(row) };
                self.place(field.name()).extend((0..rows).map(value));
            }
        }
        self.n += rows;
        self.pad();
        Ok(())
    }

    /// Returns the column of a variable, with a value for every point so far.
    fn place(&mut self, name: &str) -> &mut Vec<f64> {
        let place = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_string());
            self.columns.push(vec![f64::NAN; self.n]);
            self.names.len() - 1
        });
        &mut self.columns[place]
    }

    /// Gives every column a value for every point.
    fn pad(&mut self) {
        let n = self.n;
        self.columns.iter_mut().for_each(|column| column.resize(n, f64::NAN));
    }
}

/// Splits a text at the commas outside parentheses.
fn assignments(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (place, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Returns the numbers of a list such as `1e21..1e26:11` or `2.0,1.9`.
///
/// # Errors
/// With the reason, if an entry is not a positive number or a range.
pub fn numbers(text: &str) -> Result<Vec<f64>, String> {
    let mut all = Vec::new();
    for part in text.split(',') {
        match range(part.trim()) {
            Some(values) => all.extend(values?),
            None => {
                let number = part.trim().parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0);
                all.push(number.ok_or_else(|| format!("`{}` is not a positive number", part.trim()))?);
            }
        }
    }
    Ok(all)
}

/// Returns the values of `LOW..HIGH:COUNT`; none for another text.
fn range(text: &str) -> Option<Result<Vec<f64>, String>> {
    let (low, rest) = text.split_once("..")?;
    let read = || {
        let (high, count) = rest
            .split_once(':')
            .ok_or_else(|| format!("write `{text}` as LOW..HIGH:COUNT, such as 1e9..1e12:4"))?;
        let number = |text: &str| {
            let number = text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
            number.ok_or_else(|| format!("`{text}` is not a number"))
        };
        let (low, high) = (number(low)?, number(high)?);
        let count: usize = count.trim().parse().map_err(|_| format!("`{count}` is not a count"))?;
        if !(low > 0.0 && high > 0.0) {
            return Err("the values have equal ratios, so both ends must be positive".to_string());
        }
        if count == 0 || count > MOST_POINTS {
            return Err(format!("give a count from 1 to {MOST_POINTS}"));
        }
        let ratio = scalar::ln(high / low);
        let value = |k: usize| match k {
            0 => low,
            k if k + 1 == count => high,
            k => low * scalar::exp(ratio * k as f64 / (count - 1) as f64),
        };
        Ok((0..count).map(value).collect())
    };
    Some(read())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read() {
        let mut points = Points::default();
        points.add("N=1e9..1e11:3, D=20*N").unwrap();
        points.add("N = 7e10, D = 1.4e12, U = max(N, 2)").unwrap();
        assert_eq!(points.names, ["N", "D", "U"]);
        assert_eq!(points.columns[0], [1e9, 1e9 * (100f64.ln() * 0.5).exp(), 1e11, 7e10]);
        assert_eq!(points.columns[1][3], 1.4e12);
        assert!(points.columns[2][0].is_nan() && points.columns[2][3] == 7e10);
        let mut grid = Points::default();
        grid.add("a=1..4:3, b=1..2:2").unwrap();
        assert_eq!((grid.len(), &grid.columns[1][..]), (6, &[1.0, 2.0, 1.0, 2.0, 1.0, 2.0][..]));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, reason) in [
            ("N", "NAME=VALUE"),
            ("N=1, N=2", "given twice"),
            ("N=1..2", "LOW..HIGH:COUNT"),
            ("N=0..2:3", "positive"),
            ("N=1..2:0", "count"),
            ("N=1/0", "inf"),
            ("N=M", "M"),
            ("", "no variable"),
        ] {
            let error = Points::default().add(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
