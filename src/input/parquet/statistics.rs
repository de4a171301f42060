//! Finds the row groups in which a condition cannot hold, by the least and greatest values that the footer states.
//!
//! The parts of a condition that must all hold are compared with the values of one column at a time. A row group is left out
//! where one of them is false for the least value and, as far as it matters, for the greatest; what is not known is read.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::super::convert::to_column;
use super::super::guard::guard;
use super::footer::{Footer, RowGroup};
use crate::formula::{Column, CompareOp, Expr, ExprKind, Table, evaluate, names};

/// Returns which row groups of a file may have rows where the condition holds. `schema` has the columns of the file, and
/// `is_column` says whether the condition means one of them by its name.
pub(super) fn may_hold(
    footer: &Footer,
    schema: &Schema,
    condition: &Expr,
    is_column: &dyn Fn(usize, &str) -> bool,
) -> Vec<bool> {
    let groups = GroupStatistics { footer, schema, is_column };
    groups.may_hold(condition).unwrap_or_else(|| vec![true; footer.groups.len()])
}

/// The statistics of the row groups of a file.
struct GroupStatistics<'a> {
    footer: &'a Footer,
    schema: &'a Schema,
    is_column: &'a dyn Fn(usize, &str) -> bool,
}

impl GroupStatistics<'_> {
    /// Returns in which row groups a condition may hold; `None` if the statistics do not say.
    fn may_hold(&self, condition: &Expr) -> Option<Vec<bool>> {
        let both = |a: Vec<bool>, b: Vec<bool>, either: bool| {
            a.into_iter().zip(b).map(|(a, b)| if either { a || b } else { a && b }).collect()
        };
        match &condition.kind {
            ExprKind::And(a, b) => match (self.may_hold(a), self.may_hold(b)) {
                (Some(a), Some(b)) => Some(both(a, b, false)),
                (a, b) => a.or(b),
            },
            ExprKind::Or(a, b) => Some(both(self.may_hold(a)?, self.may_hold(b)?, true)),
            ExprKind::Compare(op, a, b) => match (&a.kind, &b.kind) {
                (ExprKind::Name(column), _) => self.compare(column, *op, b),
                (_, ExprKind::Name(column)) => self.compare(column, op.reversed(), a),
                _ => None,
            },
            ExprKind::In { operand, list, negated: false } => {
                let ExprKind::Name(column) = &operand.kind else { return None };
                let equal = list.iter().map(|value| self.compare(column, CompareOp::Eq, value));
                equal.collect::<Option<Vec<_>>>()?.into_iter().reduce(|a, b| both(a, b, true))
            }
            _ => None,
        }
    }

    /// Returns in which row groups a column may have a value that compares so with a constant.
    fn compare(&self, column: &str, op: CompareOp, constant: &Expr) -> Option<Vec<bool>> {
        if !names(constant).is_empty() {
            return None;
        }
        let [least, greatest] = self.bounds(column)?;
        let is_text = matches!(least, Column::Text { .. });
        if is_text && !matches!(constant.kind, ExprKind::Text(_)) {
            // A text is compared with a number by the number that it states.
            return None;
        }
        let at_least = |op| self.truth(column, &least, op, constant);
        let at_greatest = |op| self.truth(column, &greatest, op, constant);
        match op {
            CompareOp::Lt | CompareOp::Le => at_least(op),
            CompareOp::Gt | CompareOp::Ge => at_greatest(op),
            CompareOp::Eq => {
                let (low, high) = (at_least(CompareOp::Le)?, at_greatest(CompareOp::Ge)?);
                Some(low.into_iter().zip(high).map(|(low, high)| low && high).collect())
            }
            CompareOp::Ne => None,
        }
    }

    /// Returns whether a comparison of values with a constant is true or not known, value by value.
    fn truth(&self, name: &str, values: &Column, op: CompareOp, constant: &Expr) -> Option<Vec<bool>> {
        let mut table = Table::new(self.footer.groups.len());
        table.push(name, values.clone());
        let value = Expr::new(ExprKind::Name(name.to_owned()), 0..0);
        let comparison = ExprKind::Compare(op, Box::new(value), Box::new(constant.clone()));
        match evaluate(&Expr::new(comparison, 0..0), &table).ok()? {
            Column::Bool { values, valid } => {
                let is_null = |group: usize| valid.as_ref().is_some_and(|valid| !valid[group]);
                Some(values.into_iter().enumerate().map(|(group, truth)| truth || is_null(group)).collect())
            }
            _ => None,
        }
    }

    /// Returns the least and the greatest value of a column in each row group, null where they are not known.
    fn bounds(&self, name: &str) -> Option<[Column; 2]> {
        let (place, field) = self.schema.column_with_name(name)?;
        let column = self.footer.columns.get(place).filter(|_| (self.is_column)(place, name))?;
        // The statistics of timestamps of 96 bits follow another order.
        if column.leaves.len() != 1 || column.unsupported.is_some() || column.is_int96 {
            return None;
        }
        // Numbers of 16 bits may be NaN, which is not seen in their bytes.
        if *field.data_type() == DataType::Float16 {
            return None;
        }
        let [least, greatest] = guard(|| self.arrays(place, field)).ok()??;
        Some([to_column(&least).ok()?, to_column(&greatest).ok()?])
    }

    /// Returns the statistics of a column as arrays of its type.
    fn arrays(&self, place: usize, field: &Field) -> Option<[ArrayRef; 2]> {
        let metadata = ParquetMetaDataReader::decode_metadata(&self.footer.schema_of(&[place])).ok()?;
        let parquet_schema = metadata.file_metadata().schema_descr_ptr();
        let leaf = self.footer.columns[place].leaves.start;
        let group = |group: &RowGroup| {
            let mut chunk = ColumnChunkMetaData::builder(parquet_schema.column(0));
            if let Some(found) = statistics(self.footer, group, leaf) {
                chunk = chunk.set_statistics(found);
            }
            let group = RowGroupMetaData::builder(Arc::clone(&parquet_schema));
            group.set_column_metadata(vec![chunk.build().ok()?]).build().ok()
        };
        let groups: Vec<RowGroupMetaData> = self.footer.groups.iter().map(group).collect::<Option<_>>()?;
        let schema = Schema::new(vec![field.clone()]);
        let converter = StatisticsConverter::try_new(field.name(), &schema, &parquet_schema).ok()?;
        Some([converter.row_group_mins(&groups).ok()?, converter.row_group_maxes(&groups).ok()?])
    }
}

/// Returns the least and the greatest value of a leaf in a row group as the decoder states them; `None` where the footer does
/// not, or not in the length of the leaf's type. A NaN says nothing.
fn statistics(footer: &Footer, group: &RowGroup, leaf: usize) -> Option<Statistics> {
    let (least, greatest) = footer.bounds(group, leaf)?;
    macro_rules! number {
        ($new:ident, $number:ty) => {{
            let value = |bytes: &[u8]| {
                Some(<$number>::from_le_bytes(bytes.try_into().ok()?)).filter(|value| value == value)
            };
            Some(Statistics::$new(Some(value(least)?), Some(value(greatest)?), None, None, false))
        }};
    }
    let bytes = |bytes: &[u8]| ByteArray::from(bytes.to_vec());
    // The numbers of physical types in `parquet.thrift`.
    match footer.physical(leaf)? {
        1 => number!(int32, i32),
        2 => number!(int64, i64),
        4 => number!(float, f32),
        5 => number!(double, f64),
        6 => Some(Statistics::byte_array(Some(bytes(least)), Some(bytes(greatest)), None, None, false)),
        7 => {
            let fixed = |value: &[u8]| Some(FixedLenByteArray::from(bytes(value)));
            Some(Statistics::fixed_len_byte_array(fixed(least), fixed(greatest), None, None, false))
        }
        _ => None,
    }
}
