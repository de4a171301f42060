//! Converts records to Arrow batches.
//!
//! The columns of each table are built in the order of their specification in [`schema`](super::schema).
//! [`Record::new`] and `engine::fit_all` fill the records.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Float64Builder, Int64Array, ListBuilder, RecordBatch, StringArray,
    StringBuilder, UInt32Array, UInt64Array,
};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::compile::Scale;
use crate::infer::{Estimate, IntervalMethod, ParameterCovariance, QuantityEstimate, Replicates};
use crate::optimize::words;

use super::records::{Chunk, ContentHash, Record, ResidualRow, RunContext, Scores};
use super::schema::{
    COEFFICIENTS, COVARIANCE, DERIVED, FITS, JACKKNIFE, REJECTED, REPLICATES, RESIDUALS, SCORES, TableSpec,
    VARIABLES_AT,
};
use crate::error::Error;

/// A builder of the record batches of one run.
///
/// Float columns have nulls where a value is absent or NaN.
#[derive(Debug)]
pub struct Batches {
    context: RunContext,
}

impl Batches {
    /// Returns a builder for a run.
    #[must_use]
    pub fn new(context: RunContext) -> Batches {
        Batches { context }
    }

    /// Returns the schema of a table: the key columns, then the columns of its specification, with the laws' variables
    /// in the table of residuals.
    pub fn schema(&self, table: &TableSpec) -> SchemaRef {
        let mut fields: Vec<Field> =
            self.context.key_fields.iter().map(|f| f.clone().with_nullable(true)).collect();
        fields.extend(table.columns.iter().map(super::schema::ColumnSpec::field));
        if table.name == RESIDUALS.name {
            let at = self.context.key_fields.len() + VARIABLES_AT;
            for (i, variable) in self.context.variables.iter().enumerate() {
                let field = Field::new(variable, arrow::datatypes::DataType::Float64, true);
                fields.insert(at + i, field);
            }
        }
        Arc::new(Schema::new(fields))
    }

    /// Returns a batch of a table, given the sweep of each row and the columns after the keys.
    fn batch(
        &self,
        table: &TableSpec,
        sweeps: Vec<u32>,
        columns: Vec<ArrayRef>,
    ) -> Result<RecordBatch, ArrowError> {
        let indices = UInt32Array::from(sweeps);
        let mut arrays: Vec<ArrayRef> =
            self.context.keys.iter().map(|k| take(k, &indices, None)).collect::<Result<_, _>>()?;
        arrays.extend(columns);
        RecordBatch::try_new(self.schema(table), arrays)
    }

    /// Returns the tables that the run produces, in the order of [`ALL`](super::schema::ALL).
    #[must_use]
    pub fn tables(&self) -> Vec<TableSpec> {
        let RunContext { keep_replicates, residuals, covariance, ref quantities, .. } = self.context;
        let wanted = |table: &TableSpec| match table.name {
            name if name == REPLICATES.name => keep_replicates,
            name if name == JACKKNIFE.name => keep_replicates && self.context.keep_jackknife,
            name if name == DERIVED.name => quantities.iter().any(|of_law| !of_law.is_empty()),
            name if name == SCORES.name => self.context.has_holdout,
            name if name == COVARIANCE.name => covariance,
            name if name == RESIDUALS.name => residuals,
            _ => true,
        };
        super::schema::ALL.into_iter().filter(wanted).collect()
    }

    /// Returns the tables whose rows belong to fits: all but that of rejections, which is made anew by every run.
    #[must_use]
    pub fn tables_of_fits(&self) -> Vec<TableSpec> {
        self.tables().into_iter().filter(|table| table.name != REJECTED.name).collect()
    }

    /// Returns the rows of a chunk in one of [`Batches::tables`].
    ///
    /// # Errors
    /// If Arrow cannot build the batch, which is a defect of the program.
    pub fn batch_of(&self, table: &TableSpec, chunk: &Chunk) -> Result<RecordBatch, Error> {
        self.batch_of_records(table, chunk, &chunk.records)
    }

    /// Returns the rows of some records of a chunk in one of [`Batches::tables`]; in the table of rejections, the rows of the
    /// whole chunk.
    ///
    /// # Errors
    /// If Arrow cannot build the batch, which is a defect of the program.
    pub fn batch_of_records(
        &self,
        table: &TableSpec,
        chunk: &Chunk,
        records: &[Record],
    ) -> Result<RecordBatch, Error> {
        let batch = match table.name {
            name if name == FITS.name => self.fits(records),
            name if name == COEFFICIENTS.name => self.coefficients(chunk, records),
            name if name == DERIVED.name => self.derived(records),
            name if name == SCORES.name => self.scores(records),
            name if name == COVARIANCE.name => self.covariance(records),
            name if name == REPLICATES.name => {
                self.replicates(&REPLICATES, records, |r| r.replicates.as_ref())
            }
            name if name == JACKKNIFE.name => self.replicates(&JACKKNIFE, records, |r| r.jackknife.as_ref()),
            name if name == RESIDUALS.name => self.residuals(chunk, records),
            name if name == REJECTED.name => self.rejected(chunk),
            name => Err(ArrowError::NotYetImplemented(format!("no values for the table {name}"))),
        };
        batch.map_err(|e| Error::Internal {
            context: format!("building the table {}", table.name),
            reason: e.to_string(),
        })
    }

    fn fits(&self, records: &[Record]) -> Result<RecordBatch, ArrowError> {
        let text = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let int = |f: &dyn Fn(&Record) -> usize| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(records.iter().map(|r| f(r) as i64)))
        };
        let float = |f: &dyn Fn(&Record) -> Option<f64>| -> ArrayRef {
            Arc::new(Float64Array::from_iter(records.iter().map(|r| f(r).filter(|x| !x.is_nan()))))
        };
        let columns = vec![
            text(records.iter().map(|r| self.context.laws[r.law].as_str()).collect()),
            text(records.iter().map(|r| self.context.residual[r.law].as_str()).collect()),
            Arc::new(StringArray::from_iter_values(records.iter().map(|r| r.loss.to_string()))),
            Arc::new(UInt64Array::from_iter_values(records.iter().map(|_| self.context.seed))) as ArrayRef,
            text(records.iter().map(|r| r.status.name()).collect()),
            text(records.iter().map(|r| r.message.as_str()).collect()),
            int(&|r| r.n_points),
            int(&|r| r.n_parameters),
            float(&|r| Some(r.objective)),
            float(&|r| Some(r.gradient_norm)),
            float(&|r| Some(r.condition_number)),
            int(&|r| r.n_starts),
            int(&|r| r.n_agreeing),
            int(&|r| r.iterations as usize),
            int(&|r| r.evaluations as usize),
            float(&|r| r.goodness.r_squared),
            float(&|r| r.goodness.rmse),
            float(&|r| r.goodness.rmsle),
            float(&|r| r.criteria.aic),
            float(&|r| r.criteria.aicc),
            float(&|r| r.criteria.bic),
            int(&|r| r.n_replicates),
            int(&|r| r.n_failed),
            int(&|r| r.n_jackknife),
            float(&|r| r.runner_up),
            float_lists(records.iter().map(|r| r.variables.iter().map(|(low, _)| *low))),
            float_lists(records.iter().map(|r| r.variables.iter().map(|(_, high)| *high))),
            float(&|r| r.new_run_margin),
            Arc::new(StringArray::from_iter_values(records.iter().map(|r| words(&r.flags)))),
            Arc::new(StringArray::from_iter(records.iter().map(|r| r.content_hash.map(hex)))),
        ];
        self.batch(&FITS, records.iter().map(|r| r.sweep as u32).collect(), columns)
    }

    fn coefficients(&self, chunk: &Chunk, records: &[Record]) -> Result<RecordBatch, ArrowError> {
        let of_record = |record| chunk.estimates(record).iter().enumerate().map(move |(i, e)| (record, i, e));
        let rows: Vec<(&Record, usize, &Estimate)> = records.iter().flat_map(of_record).collect();
        let float = |f: &dyn Fn(&Estimate) -> Option<f64>| -> ArrayRef {
            Arc::new(Float64Array::from_iter(rows.iter().map(|(.., e)| f(e).filter(|x| !x.is_nan()))))
        };
        let method = |e: &Estimate| e.method.map(IntervalMethod::name);
        let bool = |f: fn(&Estimate) -> bool| -> ArrayRef {
            Arc::new(BooleanArray::from_iter(rows.iter().map(|(.., e)| Some(f(e)))))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(r, ..)| &self.context.laws[r.law]))),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|&(r, i, _)| &self.context.parameters[r.law][i]),
            )),
            float(&|e| Some(e.estimate)),
            float(&|e| e.std_error),
            float(&|e| e.bootstrap_std_error),
            float(&|e| e.interval.map(|(low, _)| low)),
            float(&|e| e.interval.map(|(_, high)| high)),
            float(&|_| Some(self.context.confidence)),
            Arc::new(StringArray::from_iter(rows.iter().map(|(.., e)| method(e)))),
            bool(|e| e.at_bound),
            bool(|e| e.fixed),
        ];
        self.batch(&COEFFICIENTS, rows.iter().map(|(r, ..)| r.sweep as u32).collect(), columns)
    }

    fn derived(&self, records: &[Record]) -> Result<RecordBatch, ArrowError> {
        let mut rows: Vec<(&Record, usize, &QuantityEstimate)> = Vec::new();
        for record in records {
            rows.extend(record.quantities.iter().enumerate().map(|(i, quantity)| (record, i, quantity)));
        }
        let float = |f: &dyn Fn(&QuantityEstimate) -> Option<f64>| -> ArrayRef {
            Arc::new(Float64Array::from_iter(rows.iter().map(|(.., q)| f(q).filter(|x| !x.is_nan()))))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(r, ..)| &self.context.laws[r.law]))),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|&(r, i, _)| &self.context.quantities[r.law][i]),
            )),
            float(&|q| Some(q.estimate)),
            float(&|q| q.std_error),
            float(&|q| q.interval.map(|(low, _)| low)),
            float(&|q| q.interval.map(|(_, high)| high)),
            float(&|_| Some(self.context.confidence)),
            Arc::new(StringArray::from_iter(rows.iter().map(|(.., q)| q.method.map(IntervalMethod::name)))),
        ];
        self.batch(&DERIVED, rows.iter().map(|(r, ..)| r.sweep as u32).collect(), columns)
    }

    fn scores(&self, records: &[Record]) -> Result<RecordBatch, ArrowError> {
        let rows: Vec<(&Record, &Scores)> =
            records.iter().filter_map(|r| Some((r, r.scores.as_ref()?))).collect();
        let int = |f: &dyn Fn(&Record, &Scores) -> usize| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(r, s)| f(r, s) as i64)))
        };
        let float = |f: &dyn Fn(&Scores) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter(rows.iter().map(|(_, s)| Some(f(s)).filter(|x| !x.is_nan()))))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(r, _)| &self.context.laws[r.law]))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "holdout"))),
            Arc::new(Int64Array::from_iter(rows.iter().map(|_| None))),
            int(&|r, _| r.n_points),
            int(&|_, s| s.n_test),
            float(&|s| s.rmse),
            float(&|s| s.rmsle),
            float(&|s| s.rmsle_std_error),
            float(&|s| s.mean_relative_error),
            float(&|s| s.bias_log),
            float(&|s| s.coverage),
        ];
        self.batch(&SCORES, rows.iter().map(|(r, _)| r.sweep as u32).collect(), columns)
    }

    fn covariance(&self, records: &[Record]) -> Result<RecordBatch, ArrowError> {
        let unknown = ParameterCovariance::default();
        let of = |record: &'_ Record| record.covariance.clone().unwrap_or_else(|| unknown.clone());
        let rows: Vec<(&Record, ParameterCovariance)> = records.iter().map(|r| (r, of(r))).collect();
        let texts = |f: &dyn Fn(&Record, &ParameterCovariance, usize) -> String| -> ArrayRef {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for (record, covariance) in &rows {
                (0..covariance.parameters.len())
                    .for_each(|i| lists.values().append_value(f(record, covariance, i)));
                lists.append(true);
            }
            Arc::new(lists.finish())
        };
        let transform = |scale: Scale| match scale {
            Scale::Linear => "identity",
            Scale::Log => "log",
        };
        let floats =
            |f: &dyn Fn(&ParameterCovariance) -> Vec<f64>| float_lists(rows.iter().map(|(_, c)| f(c)));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(r, _)| &self.context.laws[r.law]))),
            texts(&|r, c, i| self.context.parameters[r.law][c.parameters[i]].clone()),
            texts(&|_, c, i| transform(c.scales[i]).to_string()),
            floats(&|c| c.covariance.clone()),
            floats(&ParameterCovariance::correlation),
            floats(&|c| c.trace.clone()),
            floats(&|c| c.products.clone()),
        ];
        self.batch(&COVARIANCE, rows.iter().map(|(r, _)| r.sweep as u32).collect(), columns)
    }

    fn replicates(
        &self,
        table: &TableSpec,
        records: &[Record],
        of: impl Fn(&Record) -> Option<&Replicates>,
    ) -> Result<RecordBatch, ArrowError> {
        let mut sweeps = Vec::new();
        let mut laws = Vec::new();
        let (mut numbers, mut objectives, mut converged) = (Vec::new(), Vec::new(), Vec::new());
        let mut estimates = ListBuilder::new(Float64Builder::new());
        for record in records {
            let Some(replicates) = of(record) else { continue };
            for r in 0..replicates.len() {
                sweeps.push(record.sweep as u32);
                laws.push(self.context.laws[record.law].as_str());
                numbers.push(r as i64);
                objectives.push(Some(replicates.objective[r]).filter(|x| !x.is_nan()));
                converged.push(replicates.converged[r]);
                estimates.values().append_slice(replicates.row(r));
                estimates.append(true);
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(laws)),
            Arc::new(Int64Array::from(numbers)),
            Arc::new(Float64Array::from(objectives)),
            Arc::new(estimates.finish()),
            Arc::new(BooleanArray::from(converged)),
        ];
        self.batch(table, sweeps, columns)
    }

    fn residuals(&self, chunk: &Chunk, records: &[Record]) -> Result<RecordBatch, ArrowError> {
        let rows: Vec<_> = records
            .iter()
            .flat_map(|r| r.residuals.clone().map(move |i| (r, i, &chunk.residuals[i])))
            .collect();
        let float = |f: &dyn Fn(&ResidualRow) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter(
                rows.iter().map(|(.., row)| Some(f(row)).filter(|x| !x.is_nan())),
            ))
        };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(r, ..)| &self.context.laws[r.law]))),
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|(.., row)| &self.context.fragments[row.file as usize]),
            )),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|(.., row)| row.row as i64))),
        ];
        let n = self.context.variables.len();
        for v in 0..n {
            let values = rows.iter().map(|&(_, i, _)| chunk.variables[i * n + v]);
            columns.push(Arc::new(Float64Array::from_iter(values.map(|x| Some(x).filter(|x| !x.is_nan())))));
        }
        columns.extend([
            float(&|row| row.response),
            float(&|row| row.prediction),
            float(&|row| row.residual),
            float(&|row| row.weight),
            float(&|row| row.leverage),
            float(&|row| row.sigma),
            Arc::new(Int64Array::from_iter(rows.iter().map(|(.., row)| row.cluster.map(i64::from)))),
        ]);
        self.batch(&RESIDUALS, rows.iter().map(|(r, ..)| r.sweep as u32).collect(), columns)
    }

    fn rejected(&self, chunk: &Chunk) -> Result<RecordBatch, ArrowError> {
        let rows = &chunk.rejected;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter(
                rows.iter().map(|r| r.law.map(|law| self.context.laws[law].as_str())),
            )),
            Arc::new(StringArray::from_iter(
                rows.iter().map(|r| r.place.map(|(file, _)| self.context.fragments[file as usize].as_str())),
            )),
            Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.place.map(|(_, row)| row as i64)))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.reason.code.name()))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.reason.to_string()))),
        ];
        self.batch(&REJECTED, rows.iter().map(|r| r.sweep as u32).collect(), columns)
    }
}

/// Returns a hash in hexadecimal digits.
fn hex(hash: ContentHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a column of lists of numbers.
fn float_lists(rows: impl Iterator<Item = impl IntoIterator<Item = f64>>) -> ArrayRef {
    let mut lists = ListBuilder::new(Float64Builder::new());
    for row in rows {
        row.into_iter().for_each(|value| lists.values().append_value(value));
        lists.append(true);
    }
    Arc::new(lists.finish())
}
