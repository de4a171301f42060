//! What a run produces, as plain data: one [`Record`] per sweep and law.

use std::ops::Range;

use crate::infer::{Criteria, Estimate, Goodness, Replicates, criteria, goodness, is_weak};
use crate::optimize::{Fit, Flag, Status};
use crate::problem::Loss;

use super::OutputError;

/// One fit and what was inferred from it.
#[derive(Clone, Debug)]
pub struct Record {
    pub sweep: usize,
    /// Index into the run's laws.
    pub law: usize,
    /// ρ as used.
    pub loss: Loss,
    pub status: Status,
    pub message: String,
    /// In order.
    pub flags: Vec<Flag>,
    pub n_points: usize,
    pub n_parameters: usize,
    pub objective: f64,
    pub gradient_norm: f64,
    pub condition_number: f64,
    pub n_starts: usize,
    pub n_agreeing: usize,
    pub runner_up: Option<f64>,
    pub iterations: u32,
    /// Of [`Chunk::estimates`], those of its parameters, in the law's order.
    pub parameters: Range<usize>,
    pub goodness: Goodness,
    pub criteria: Criteria,
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
    pub file: u32,
    pub row: u64,
    pub response: f64,
    pub prediction: f64,
    pub residual: f64,
    pub weight: f64,
    pub leverage: f64,
}

/// An observation or sweep that was left out.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedRow {
    pub sweep: usize,
    /// None: by all laws.
    pub law: Option<usize>,
    /// File and row; none for a whole sweep.
    pub place: Option<(u32, u64)>,
    pub reason: String,
}

/// Consecutive sweeps' results, in order.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    pub records: Vec<Record>,
    /// Of all records' parameters.
    pub estimates: Vec<Estimate>,
    /// Of all records' observations, where they are wanted.
    pub residuals: Vec<ResidualRow>,
    /// For each of these one value per variable of the run; NaN where the law does not use it.
    pub variables: Vec<f64>,
    pub rejected: Vec<RejectedRow>,
}

impl Chunk {
    /// The estimates of a record's parameters.
    ///
    /// # Panics
    /// If the record is another chunk's, perhaps.
    pub fn estimates(&self, record: &Record) -> &[Estimate] {
        &self.estimates[record.parameters.clone()]
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

/// Takes the results of a run, chunk by chunk, in the order of the sweeps.
pub trait Sink: Send {
    /// Takes the results of some consecutive sweeps.
    ///
    /// # Errors
    ///
    /// What could not be written, and why. It ends the run.
    fn take(&mut self, chunk: Chunk) -> Result<(), OutputError>;
}
