//! What a run produces, as plain data: one [`Record`] per sweep and law.

use crate::infer::{Estimates, is_weak};
use crate::problem::Loss;
use crate::solve::{Fit, Flag, Status};

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
    pub estimates: Estimates,
    pub residuals: Vec<ResidualRow>,
}

impl Record {
    pub fn new(sweep: usize, law: usize, fit: &Fit, estimates: Estimates) -> Record {
        let mut flags = fit.flags.clone();
        if is_weak(fit, &estimates) {
            flags.push(Flag::Weak);
            flags.sort_unstable();
        }
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
            estimates,
            residuals: Vec::new(),
        }
    }
}

/// One observation under one law.
#[derive(Clone, Debug)]
pub struct ResidualRow {
    pub file: u32,
    pub row: u64,
    /// One per variable of the run; NaN where the law does not use it.
    pub variables: Vec<f64>,
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
    pub rejected: Vec<RejectedRow>,
}
