//! What a run produces, as plain data: one [`Record`] per sweep and law.

use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use crate::infer::{Criteria, Estimate, Goodness, Replicates, criteria, goodness, is_weak};
use crate::optimize::{Fit, Flag, Status};
use crate::problem::Loss;

use crate::error::Error;

/// One fit and what was inferred from it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The sweep's place in the order of keys.
    pub sweep: usize,
    /// Index into the run's laws.
    pub law: usize,
    /// ρ as used.
    pub loss: Loss,
    /// How the fit ended.
    pub status: Status,
    /// Why, in a sentence; empty where it converged.
    pub message: String,
    /// In order.
    pub flags: Vec<Flag>,
    /// Observations of positive weight.
    pub n_points: usize,
    /// Free parameters.
    pub n_parameters: usize,
    /// `Σ w·ρ(residual/σ)` at the estimate; NaN where there is none.
    pub objective: f64,
    /// Largest absolute entry of the projected gradient, in scaled coordinates.
    pub gradient_norm: f64,
    /// Condition number of the column-scaled Jacobian.
    pub condition_number: f64,
    /// Searches begun.
    pub n_starts: usize,
    /// Searches that ended at this objective or were given up on their way to it.
    pub n_agreeing: usize,
    /// The lowest objective of another optimum that was found.
    pub runner_up: Option<f64>,
    /// Iterations of the search that won.
    pub iterations: u32,
    /// Of [`Chunk::estimates`], those of its parameters, in the law's order.
    pub parameters: Range<usize>,
    /// R² and root mean squares.
    pub goodness: Goodness,
    /// Information criteria.
    pub criteria: Criteria,
    /// Bootstrap replicates made.
    pub n_replicates: usize,
    /// Of these, those that did not converge.
    pub n_failed: usize,
    /// The replicates themselves, where they are kept.
    pub replicates: Option<Replicates>,
    /// Of [`Chunk::residuals`], those of its observations.
    pub residuals: Range<usize>,
}

impl Record {
    /// Of a fit whose parameters' estimates, with remarks on them, are the last of `estimates`.
    #[must_use]
    pub fn new(sweep: usize, law: usize, fit: &Fit, remarks: Vec<Flag>, estimates: &[Estimate]) -> Record {
        let parameters = estimates.len() - fit.natural.len()..estimates.len();
        let mut flags = [fit.flags.clone(), remarks].concat();
        if is_weak(fit, &estimates[parameters.clone()]) {
            flags.push(Flag::Weak);
        }
        flags.sort_unstable();
        Record {
            sweep,
            law,
            loss: fit.problem.loss,
            status: fit.status,
            message: fit.message.clone(),
            flags,
            n_points: fit.problem.n_weighted(),
            n_parameters: fit.problem.p() + fit.edges.len(),
            objective: fit.objective(),
            gradient_norm: fit.solution.as_ref().map_or(f64::NAN, |s| s.certificate.gradient),
            condition_number: fit.identification.condition,
            n_starts: fit.n_starts,
            n_agreeing: fit.n_agreeing,
            runner_up: fit.runner_up,
            iterations: fit.iterations,
            parameters,
            goodness: goodness(fit),
            criteria: criteria(fit),
            n_replicates: 0,
            n_failed: 0,
            replicates: None,
            residuals: 0..0,
        }
    }
}

/// One observation under one law.
#[derive(Clone, Debug)]
pub struct ResidualRow {
    /// Number of the fragment that the row is from.
    pub file: u32,
    /// The row's number in its fragment, from 0.
    pub row: u64,
    /// The left side of the law, in its own units.
    pub response: f64,
    /// The right side at the estimate, in the response's units.
    pub prediction: f64,
    /// T(prediction) − T(response).
    pub residual: f64,
    /// w.
    pub weight: f64,
    /// The observation's leverage on its own prediction, between 0 and 1.
    pub leverage: f64,
}

/// An observation or sweep that was left out.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedRow {
    /// The sweep's place in the order of keys.
    pub sweep: usize,
    /// None: by all laws.
    pub law: Option<usize>,
    /// File and row; none for a whole sweep.
    pub place: Option<(u32, u64)>,
    /// Why, in a sentence.
    pub reason: String,
}

/// Consecutive sweeps' results, in order.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// One per sweep and law, in this order.
    pub records: Vec<Record>,
    /// Of all records' parameters.
    pub estimates: Vec<Estimate>,
    /// Of all records' observations, where they are wanted.
    pub residuals: Vec<ResidualRow>,
    /// For each of these one value per variable of the run; NaN where the law does not use it.
    pub variables: Vec<f64>,
    /// Observations and sweeps that were left out.
    pub rejected: Vec<RejectedRow>,
}

impl Chunk {
    /// The estimates of a record's parameters.
    ///
    /// # Panics
    /// If the record is another chunk's, perhaps.
    #[must_use]
    pub fn estimates(&self, record: &Record) -> &[Estimate] {
        &self.estimates[record.parameters.clone()]
    }

    /// Returns the records and estimates, without replicates and residuals, which may be large.
    pub(crate) fn outline(&mut self) -> Chunk {
        let outline = |record: &mut Record| {
            let replicates = record.replicates.take();
            let copy = Record { residuals: 0..0, ..record.clone() };
            record.replicates = replicates;
            copy
        };
        let records = self.records.iter_mut().map(outline).collect();
        Chunk { records, estimates: self.estimates.clone(), ..Chunk::default() }
    }

    /// How much of each there is: records, estimates, residuals, variables, rejected rows.
    pub(crate) fn lengths(&self) -> [usize; 5] {
        let Chunk { records, estimates, residuals, variables, rejected } = self;
        [records.len(), estimates.len(), residuals.len(), variables.len(), rejected.len()]
    }

    /// Forgets what came after.
    pub(crate) fn truncate(&mut self, [records, estimates, residuals, variables, rejected]: [usize; 5]) {
        self.records.truncate(records);
        self.estimates.truncate(estimates);
        self.residuals.truncate(residuals);
        self.variables.truncate(variables);
        self.rejected.truncate(rejected);
    }

    /// Takes over all that another has.
    pub fn append(&mut self, mut other: Chunk) {
        if self.records.is_empty() && self.rejected.is_empty() {
            *self = other;
            return;
        }
        let shift = |range: &mut Range<usize>, by: usize| *range = range.start + by..range.end + by;
        for record in &mut other.records {
            shift(&mut record.parameters, self.estimates.len());
            shift(&mut record.residuals, self.residuals.len());
        }
        self.records.append(&mut other.records);
        self.estimates.append(&mut other.estimates);
        self.residuals.append(&mut other.residuals);
        self.variables.append(&mut other.variables);
        self.rejected.append(&mut other.rejected);
    }
}

/// What the records of one run refer to by number: its sweeps, laws and fragments; and what is wanted of it.
#[derive(Clone, Debug)]
pub struct RunContext {
    /// Per key column, one value per sweep.
    pub keys: Vec<ArrayRef>,
    /// Names and types of `keys`.
    pub key_fields: Vec<Field>,
    /// Names of the laws, in order.
    pub laws: Vec<String>,
    /// Per law, the names of its parameters.
    pub parameters: Vec<Vec<String>>,
    /// Per law, the space of its residuals.
    pub residual: Vec<String>,
    /// The seed of all random numbers.
    pub seed: u64,
    /// Of the intervals.
    pub confidence: f64,
    /// Names of the source's fragments.
    pub fragments: Vec<String>,
    /// Variables of all laws, for the table of residuals.
    pub variables: Vec<String>,
    /// Whether records hold their replicates.
    pub keep_replicates: bool,
    /// Whether records have their residuals.
    pub residuals: bool,
}

/// Takes the results of a run, chunk by chunk, in the order of the sweeps.
///
/// A run that fails or is interrupted takes no further chunk: what a sink has then is incomplete.
pub trait Sink: Send {
    /// Is told what the records will refer to, before the first of them is made.
    ///
    /// # Errors
    /// If the sink cannot take results. The run ends before anything is fitted.
    fn begin(&mut self, _context: &RunContext) -> Result<(), Error> {
        Ok(())
    }

    /// Takes the results of some consecutive sweeps.
    ///
    /// # Errors
    /// What could not be written, and why. It ends the run.
    fn take(&mut self, chunk: Chunk) -> Result<(), Error>;
}

/// Keeps all records.
impl Sink for Chunk {
    fn take(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.append(chunk);
        Ok(())
    }
}
