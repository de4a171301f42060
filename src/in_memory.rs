//! Runs jobs on data in memory: on one sweep of columns, or on many sweeps in record batches.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::engine::{self, Control, Job};
use crate::error::{Error, Setting};
use crate::formula::{Column, Columns, Expr, Table, evaluate, needed_definitions};
use crate::infer::{Criteria, Estimate, Goodness, Replicates};
use crate::input::Memory;
use crate::law::Law;
use crate::optimize::{Flag, Status};
use crate::output::{Chunk, Tables};
use crate::problem::Loss;

/// One law fitted to one sweep.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FittedLaw {
    /// The law, in which the parameters that the job holds are fixed.
    pub law: Law,
    /// How the fit ended.
    pub status: Status,
    /// The reason for the status, in a sentence; empty where the fit converged.
    pub message: String,
    /// Remarks on the fit.
    pub flags: Vec<Flag>,
    /// The loss ρ with its threshold; a threshold that follows the residuals has its estimated value.
    pub loss: Loss,
    /// The objective `Σ w·ρ(residual/σ)` at the estimate; NaN where the fit has no estimate.
    pub objective: f64,
    /// The number of observations of positive weight.
    pub n_points: usize,
    /// The estimates of the parameters in natural units, in the order of [`Law::parameters`].
    pub estimates: Vec<Estimate>,
    /// R² and root mean squares.
    pub goodness: Goodness,
    /// Information criteria.
    pub criteria: Criteria,
    /// The replicates, if [`Job::keep_replicates`] is set.
    pub replicates: Option<Replicates>,
    /// Rejected rows, from 0, with the reason; `None` with a reason for rejecting the whole sweep.
    pub rejected: Vec<(Option<u64>, String)>,
    /// The job's definitions that the law's variables need, in order.
    definitions: Vec<(String, Expr)>,
}

impl FittedLaw {
    /// Returns the estimate of a parameter; `None` if the law has no parameter of this name.
    #[must_use]
    pub fn estimate(&self, parameter: &str) -> Option<&Estimate> {
        self.law.parameter(parameter).map(|place| &self.estimates[place])
    }

    /// Returns the law's predictions at other values of its variables, in the units of the response: one number per row
    /// of `columns`, NaN where the law has no value.
    ///
    /// `columns` are those of [`Job::fit`] without the response; the job's definitions of variables are applied to
    /// them.
    ///
    /// ```
    /// use sweepfit::Job;
    ///
    /// let job = Job { bootstrap: 0, ..Job::new("y ~ a + b*x") };
    /// let fit = job.fit(&[("x", &[0.0, 1.0, 2.0]), ("y", &[1.0, 3.0, 5.0])])?;
    /// let predictions = fit.predict(&[("x", &[10.0])])?;
    /// assert!((predictions[0] - 21.0).abs() < 1e-9);
    /// # Ok::<(), sweepfit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a column that the law needs is missing, or the columns differ in length.
    pub fn predict(&self, columns: &[(&str, &[f64])]) -> Result<Vec<f64>, Error> {
        let rows = columns.first().map_or(0, |(_, values)| values.len());
        let mut table = Table::new(rows);
        for (column, values) in columns {
            if values.len() != rows {
                let (column, rows, expected) = ((*column).to_string(), values.len(), rows);
                return Err(Error::UnequalColumns { column, rows, expected });
            }
            table.push_numbers(column, values.to_vec());
        }
        let law_error = |reason: String| Error::Law { law: self.law.name.clone(), reason };
        for (name, expr) in &self.definitions {
            match evaluate(expr, &table) {
                Ok(Column::Number { values, .. }) => table.push_numbers(name, values),
                Ok(other) => return Err(law_error(format!("`{name}` is {}", other.data_type()))),
                Err(error) => return Err(law_error(format!("`{name}`: {}", error.message))),
            }
        }
        let variable = |name: &String| match table.column(name) {
            Some(Column::Number { values, .. }) => Ok(values),
            _ => Err(law_error(format!("there is no column `{name}`"))),
        };
        let variables = self.law.variables.iter().map(variable).collect::<Result<Vec<_>, _>>()?;
        let parameter = |i: usize| vec![self.estimates[i].estimate; rows];
        Ok(self.law.evaluate(rows, |k| variables[k].clone(), parameter))
    }
}

impl Job {
    /// Fits the job's only law to one sweep, given as columns of equal length with their names.
    ///
    /// ```
    /// use sweepfit::{Job, Status};
    ///
    /// let n: Vec<f64> = (0..12).map(|i| 1e6 * 2f64.powi(i)).collect();
    /// let loss: Vec<f64> = n.iter().map(|n| 1.7 + 400.0 / n.powf(0.34)).collect();
    /// let job = Job { bootstrap: 0, ..Job::new("loss ~ E + A/n^alpha where E > 0, A > 0") };
    /// let fit = job.fit(&[("n", &n), ("loss", &loss)])?;
    /// assert_eq!(fit.status, Status::Converged);
    /// assert!((fit.estimate("alpha").unwrap().estimate - 0.34).abs() < 1e-9);
    /// # Ok::<(), sweepfit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the job has an invalid setting, does not match the columns, or has several laws or key columns; or if too few
    /// observations are usable.
    pub fn fit(&self, columns: &[(&str, &[f64])]) -> Result<FittedLaw, Error> {
        let invalid = |setting: Setting, reason: &str| Error::Invalid {
            place: setting.whole(),
            reason: reason.to_string(),
        };
        if self.laws.len() > 1 {
            return Err(invalid(Setting::Law, "columns are fitted under one law at a time"));
        }
        if !self.by.is_empty() {
            return Err(invalid(Setting::By, "columns are one sweep; for several, give record batches"));
        }
        let source = Memory::of_columns(columns)?;
        let plan = engine::plan(self, &source)?;
        let law = plan.laws.first().ok_or(Error::NoLaw)?.law.clone();
        let mut names = law.variables.iter().map(String::as_str).collect();
        let needed = needed_definitions(&plan.request.lets, &mut names);
        let definitions = needed.into_iter().cloned().collect();
        let mut records = Chunk::default();
        engine::run_plan(plan, self, &source, &mut records, &Control::default())?;
        let rejected =
            records.rejected.iter().map(|r| (r.place.map(|(_, row)| row), r.reason.to_string())).collect();
        let Some(record) = records.records.first() else {
            return Err(invalid(Setting::MinPoints, "the columns have too few usable observations"));
        };
        let record = record.clone();
        Ok(FittedLaw {
            estimates: records.estimates(&record).to_vec(),
            law,
            status: record.status,
            message: record.message,
            flags: record.flags,
            loss: record.loss,
            objective: record.objective,
            n_points: record.n_points,
            goodness: record.goodness,
            criteria: record.criteria,
            replicates: record.replicates,
            rejected,
            definitions,
        })
    }

    /// Fits the job's laws to every sweep of record batches and returns the output tables as record batches.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arrow::array::{Float64Array, Int64Array, RecordBatch};
    /// use sweepfit::{Control, Job};
    ///
    /// let x: Vec<f64> = (0..20).map(|i| f64::from(1 + i % 10)).collect();
    /// let y = Float64Array::from_iter_values(x.iter().map(|x| 3.0 * x.powf(-0.5)));
    /// let run = Int64Array::from_iter_values((0..20).map(|i| i / 10));
    /// let batch = RecordBatch::try_from_iter([
    ///     ("run", Arc::new(run) as _),
    ///     ("x", Arc::new(Float64Array::from(x)) as _),
    ///     ("y", Arc::new(y) as _),
    /// ])?;
    /// let job = Job { by: vec!["run".into()], bootstrap: 0, ..Job::new("y ~ a*x^b") };
    /// let tables = job.fit_batches(batch.schema(), vec![batch], &Control::default())?;
    /// let fits = tables.rows("fits").unwrap();
    /// assert_eq!(fits.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If a batch does not have the columns of `schema`, the job has an invalid setting or does not match the
    /// columns, or the run is interrupted.
    pub fn fit_batches(
        &self,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        control: &Control,
    ) -> Result<Tables, Error> {
        let mut tables = Tables::default();
        engine::run(self, &Memory::new(schema, batches)?, &mut tables, control)?;
        Ok(tables)
    }
}
