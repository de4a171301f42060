//! The results of a run as plain data: one [`Record`] per sweep and law.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use crate::infer::{
    Criteria, Estimate, Goodness, ParameterCovariance, QuantityEstimate, Replicates, criteria, goodness,
    is_weak,
};
use crate::optimize::{Fit, Flag, Status};
use crate::problem::{Loss, RejectionReason};

use crate::error::Error;

/// The result of fitting one law to one sweep, with its inference.
#[derive(Clone, Debug)]
pub struct Record {
    /// The index of the sweep in the order of keys.
    pub sweep: usize,
    /// The index of the law in the run's laws.
    pub law: usize,
    /// The loss ρ of the fit, with its threshold.
    pub loss: Loss,
    /// The status of the fit.
    pub status: Status,
    /// The reason for the status, in a sentence; empty if the fit converged.
    pub message: String,
    /// The remarks on the fit, sorted.
    pub flags: Vec<Flag>,
    /// The number of observations with positive weight.
    pub n_points: usize,
    /// The number of free parameters.
    pub n_parameters: usize,
    /// `Σ w·ρ(residual/σ)` at the estimate; NaN if there is no estimate.
    pub objective: f64,
    /// The largest absolute entry of the projected gradient, with the columns of the weighted Jacobian scaled to norm
    /// one.
    pub gradient_norm: f64,
    /// The condition number of the column-scaled Jacobian.
    pub condition_number: f64,
    /// The number of local searches begun.
    pub n_starts: usize,
    /// The number of searches that ended at this objective, or were abandoned because they approached this optimum.
    pub n_agreeing: usize,
    /// The lowest objective of another optimum that was found.
    pub runner_up: Option<f64>,
    /// The iterations of the search that found the estimate.
    pub iterations: u32,
    /// The evaluations of the objective in all searches.
    pub evaluations: u64,
    /// The range of the record's parameters in [`Chunk::estimates`], in the law's order.
    pub parameters: Range<usize>,
    /// R² and root mean square errors.
    pub goodness: Goodness,
    /// The information criteria.
    pub criteria: Criteria,
    /// The number of bootstrap replicates.
    pub n_replicates: usize,
    /// The number of replicates that did not converge.
    pub n_failed: usize,
    /// The bootstrap replicates, if the run keeps them.
    pub replicates: Option<Replicates>,
    /// The number of refits of the jackknife that the intervals need.
    pub n_jackknife: usize,
    /// These refits, if the run keeps its replicates.
    pub jackknife: Option<Replicates>,
    /// The quantities derived from the parameters, in the order of [`RunContext::quantities`].
    pub quantities: Vec<QuantityEstimate>,
    /// The covariance of the parameters, if the run keeps it and it is known.
    pub covariance: Option<ParameterCovariance>,
    /// The smallest and the largest value of each of the law's variables among the observations of positive weight.
    pub variables: Vec<(f64, f64)>,
    /// The half-length of the interval of a new run's residual, without the error of the law.
    pub new_run_margin: Option<f64>,
    /// The errors on the observations that were held out, if some were.
    pub scores: Option<Scores>,
    /// The range of the record's observations in [`Chunk::residuals`].
    pub residuals: Range<usize>,
    /// The digest of all that the record follows from; none where it must be fitted anew by another run.
    pub content_hash: Option<ContentHash>,
}

/// A digest of all that the results of a fit follow from: fits with one hash have the same results.
pub type ContentHash = [u8; 16];

/// A fit that a run need not make, because its sink holds the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReusedFit {
    /// The index of the sweep in the order of keys.
    pub sweep: usize,
    /// The index of the law in the run's laws.
    pub law: usize,
    /// The digest of all that the results follow from.
    pub content_hash: ContentHash,
    /// The status of the fit.
    pub status: Status,
}

/// The fits whose results a sink holds, with their statuses.
pub type KnownFits = HashMap<ContentHash, Status>;

/// The errors of a fit's predictions on observations that were held out; NaN where they are not defined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// The number of these observations.
    pub n_test: usize,
    /// The root mean square error, in the units of the response.
    pub rmse: f64,
    /// The root mean square error of the logarithm.
    pub rmsle: f64,
    /// Its standard error: √(mean + sd/√n) − √mean of the squared errors of the logarithm (Alabdulmohsin et al. 2022).
    pub rmsle_std_error: f64,
    /// The mean of |prediction − response|/|response|.
    pub mean_relative_error: f64,
    /// The mean of log prediction − log response.
    pub bias_log: f64,
    /// The fraction of responses inside the interval of a new run.
    pub coverage: f64,
}

impl Record {
    /// Returns the record of a fit without replicates and residuals. The estimates of the fit's parameters must be the
    /// last of `estimates`; `remarks` are flags raised by the inference.
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
            evaluations: fit.evaluations,
            parameters,
            goodness: goodness(fit),
            criteria: criteria(fit),
            n_replicates: 0,
            n_failed: 0,
            replicates: None,
            n_jackknife: 0,
            jackknife: None,
            quantities: Vec::new(),
            covariance: None,
            variables: Vec::new(),
            new_run_margin: None,
            scores: None,
            residuals: 0..0,
            content_hash: None,
        }
    }
}

/// An observation with its prediction and residual under one law.
#[derive(Clone, Debug)]
pub struct ResidualRow {
    /// The index of the row's fragment.
    pub file: u32,
    /// The number of the row in its fragment, from 0.
    pub row: u64,
    /// The left side of the law, in its own units.
    pub response: f64,
    /// The right side of the law at the estimate, in the response's units.
    pub prediction: f64,
    /// T(prediction) − T(response), T the logarithm or the identity.
    pub residual: f64,
    /// The weight w of the observation.
    pub weight: f64,
    /// The leverage of the observation on its own prediction, between 0 and 1.
    pub leverage: f64,
    /// σ of the observation; NaN where the job gives none.
    pub sigma: f64,
    /// The number of the observation's cluster in its sweep.
    pub cluster: Option<u32>,
}

/// An observation or a sweep that was not used.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedRow {
    /// The index of the sweep in the order of keys.
    pub sweep: usize,
    /// The index of the law that rejects the row; `None` if all laws reject it.
    pub law: Option<usize>,
    /// The fragment and the row in it; `None` for a whole sweep.
    pub place: Option<(u32, u64)>,
    /// Why it was not used.
    pub reason: RejectionReason,
}

/// The results of consecutive sweeps.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// The records, one per sweep and law, sorted by sweep, then by law.
    pub records: Vec<Record>,
    /// The estimates of all parameters of all records.
    pub estimates: Vec<Estimate>,
    /// The residuals of all observations of all records, if the run keeps them.
    pub residuals: Vec<ResidualRow>,
    /// The values of the run's variables for each of `residuals`, row by row; NaN if the law does not use a variable.
    pub variables: Vec<f64>,
    /// The observations and sweeps that were not used.
    pub rejected: Vec<RejectedRow>,
    /// The fits that were not made, because the sink holds their results; sorted as the records are, among which they belong.
    pub reused: Vec<ReusedFit>,
}

impl Chunk {
    /// Returns the estimates of a record's parameters, in the law's order.
    ///
    /// # Panics
    /// If the record is not from this chunk and its range exceeds the estimates.
    #[must_use]
    pub fn estimates(&self, record: &Record) -> &[Estimate] {
        &self.estimates[record.parameters.clone()]
    }

    /// Returns the numbers of records, estimates, residuals, variables, rejected rows and reused fits.
    pub(crate) fn lengths(&self) -> [usize; 6] {
        let Chunk { records, estimates, residuals, variables, rejected, reused } = self;
        [records.len(), estimates.len(), residuals.len(), variables.len(), rejected.len(), reused.len()]
    }

    /// Shortens every list to an earlier result of [`Chunk::lengths`].
    pub(crate) fn truncate(&mut self, lengths: [usize; 6]) {
        let [records, estimates, residuals, variables, rejected, reused] = lengths;
        self.records.truncate(records);
        self.estimates.truncate(estimates);
        self.residuals.truncate(residuals);
        self.variables.truncate(variables);
        self.rejected.truncate(rejected);
        self.reused.truncate(reused);
    }

    /// Appends the results of another chunk.
    pub fn append(&mut self, mut other: Chunk) {
        if self.records.is_empty() && self.rejected.is_empty() && self.reused.is_empty() {
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
        self.reused.append(&mut other.reused);
    }
}

/// The names and keys to which the records of a run refer by index, and the settings of the run's output.
#[derive(Clone, Debug)]
pub struct RunContext {
    /// The key columns, with one value per sweep.
    pub keys: Vec<ArrayRef>,
    /// The names and types of `keys`.
    pub key_fields: Vec<Field>,
    /// The names of the laws, in the job's order.
    pub laws: Vec<String>,
    /// The names of each law's parameters.
    pub parameters: Vec<Vec<String>>,
    /// The names of the quantities derived from each law's parameters.
    pub quantities: Vec<Vec<String>>,
    /// The residual space of each law: `log` or `linear`.
    pub residual: Vec<String>,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The confidence of the intervals, between 0 and 1.
    pub confidence: f64,
    /// The names of the source's fragments.
    pub fragments: Vec<String>,
    /// The variables of all laws that are columns of the table of residuals.
    pub variables: Vec<String>,
    /// Whether records contain their replicates.
    pub keep_replicates: bool,
    /// Whether observations are held out, so that records contain scores.
    pub has_holdout: bool,
    /// Whether records contain the refits of the jackknife that their intervals need.
    pub keep_jackknife: bool,
    /// Whether records contain the covariance of their parameters.
    pub covariance: bool,
    /// Whether chunks contain residuals.
    pub residuals: bool,
}

/// A receiver of the results of a run.
///
/// The results come chunk by chunk, in the order of the sweeps. If the run fails or is interrupted, no further chunk
/// comes and the results are incomplete.
pub trait Sink: Send {
    /// Receives the context of the run, before anything is fitted.
    ///
    /// # Errors
    /// If the sink cannot receive results. The run then ends.
    fn begin(&mut self, _context: &RunContext) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the fits whose results the sink holds, from an earlier run, after [`Sink::begin`]. They are not made again.
    fn known_fits(&self) -> Arc<KnownFits> {
        Arc::default()
    }

    /// Receives the results of consecutive sweeps.
    ///
    /// # Errors
    /// If the results cannot be stored or written. The run then ends.
    fn take(&mut self, chunk: Chunk) -> Result<(), Error>;
}

/// Collects the results of all sweeps.
impl Sink for Chunk {
    fn take(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.append(chunk);
        Ok(())
    }
}
