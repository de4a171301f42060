//! Sweeps × laws over the cores, results in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use rayon::prelude::*;

use crate::dataset::{Dataset, InputFile};
use crate::infer::{self, estimates, is_trustworthy, leverages, predictions, replicate};
use crate::problem::{Observations, Rejection};
use crate::solve::{self, Batch, Fit, fit_choice, never_finite};
use crate::sweep::Sweep;

use super::EngineError;
use super::job::Job;
use super::plan::{BoundLaw, Plan};
use super::progress::Progress;
use super::record::{Chunk, Record, RejectedRow, ResidualRow};

/// Takes results, chunk by chunk, in the order of the sweeps.
pub trait Sink: Send {
    fn take(&mut self, chunk: Chunk) -> Result<(), EngineError>;
}

/// All that a run needs besides the sweeps.
#[derive(Debug, Clone)]
pub struct Run {
    pub laws: Vec<BoundLaw>,
    pub solve: solve::Options,
    pub inference: infer::Options,
    pub min_points: usize,
    pub residuals: bool,
    /// Whether the sink wants the replicates themselves, not only their number.
    pub keep_replicates: bool,
    pub files: Vec<InputFile>,
    pub keys: Vec<ArrayRef>,
    pub key_fields: Vec<Field>,
    /// Variables of all laws that are not key columns, in order of first use.
    pub variables: Vec<String>,
}

impl Run {
    pub fn new(plan: &Plan, dataset: &Dataset, job: &Job) -> Run {
        let mut variables: Vec<String> = Vec::new();
        for variable in plan.laws.iter().flat_map(|l| &l.law.variables) {
            let is_key = dataset.key_fields.iter().any(|f| f.name() == variable);
            if !is_key && !variables.contains(variable) {
                variables.push(variable.clone());
            }
        }
        Run {
            laws: plan.laws.clone(),
            solve: solve::Options { solver: job.solver, starts: job.starts, user_start: job.start.clone() },
            inference: infer::Options {
                bootstrap: job.bootstrap,
                resample: job.resample.clone(),
                confidence: job.confidence,
                seed: job.seed,
                absolute_sigma: job.absolute_sigma,
            },
            min_points: job.min_points,
            residuals: job.residuals,
            keep_replicates: job.keep_replicates,
            files: dataset.files.clone(),
            keys: dataset.keys.clone(),
            key_fields: dataset.key_fields.clone(),
            variables,
        }
    }
}

/// Results held before they go to the sink, in rows of the largest output table: bounds memory, whatever the
/// sweeps' sizes and their number.
const CHUNK_ROWS: usize = 1 << 16;

/// The first sweep of the chunk after the one that begins at `first`.
fn chunk_end(run: &Run, dataset: &Dataset, first: usize) -> usize {
    let mut rows = 0;
    let mut end = first;
    while end < dataset.n_sweeps() && (end == first || rows < CHUNK_ROWS) {
        let residuals = if run.residuals { dataset.sweep(end).len() } else { 0 };
        let replicates = if run.keep_replicates { run.inference.bootstrap } else { 0 };
        // A fit's own row and its coefficients weigh some tens of rows of residuals.
        rows += run.laws.len() * (64 + residuals + replicates);
        end += 1;
    }
    end
}

/// Fits every law to every sweep. While one chunk is fitted, the sink takes the one before. (Why reading does not
/// overlap in the same way is told where it is done, in [`crate::dataset`].)
pub fn fit_all(
    run: &Run,
    dataset: &Dataset,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<(), EngineError> {
    let n = dataset.n_sweeps();
    let mut first = 0;
    let mut finished: Option<Chunk> = None;
    while first < n || finished.is_some() {
        let end = if first < n { chunk_end(run, dataset, first) } else { n };
        let ready = finished.take();
        let (taken, chunk) = rayon::join(
            || ready.map_or(Ok(()), |chunk| sink.take(chunk)),
            || fit_chunk(run, dataset, first..end, progress, interrupted),
        );
        taken?;
        if interrupted.load(Ordering::Relaxed) {
            return Err(EngineError::Interrupted);
        }
        finished = (first < n).then_some(chunk);
        first = end;
    }
    Ok(())
}

/// The results of consecutive sweeps, in order.
fn fit_chunk(
    run: &Run,
    dataset: &Dataset,
    sweeps: Range<usize>,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Chunk {
    let parts: Vec<Chunk> = sweeps
        .into_par_iter()
        .map_init(Batch::default, |batch, i| {
            if interrupted.load(Ordering::Relaxed) {
                return Chunk::default();
            }
            let part = fit_sweep(run, &dataset.sweep(i), batch, interrupted);
            progress.advance(1);
            part
        })
        .collect();
    let mut whole = Chunk::default();
    for part in parts {
        whole.records.extend(part.records);
        whole.rejected.extend(part.rejected);
    }
    whole
}

/// The rejections of one sweep, without any fit.
pub(super) fn reject_only(run: &Run, sweep: &Sweep) -> Chunk {
    bind_all(run, sweep, |_, _| (None, Vec::new()))
}

/// All laws on one sweep.
fn fit_sweep(run: &Run, sweep: &Sweep, batch: &mut Batch, interrupted: &AtomicBool) -> Chunk {
    bind_all(run, sweep, |law, observations| fit_law(run, law, sweep, observations, batch, interrupted))
}

/// Hands the observations of every law that has enough of them to `each`, which may reject more.
fn bind_all(
    run: &Run,
    sweep: &Sweep,
    mut each: impl FnMut(usize, Observations) -> (Option<Record>, Vec<Rejection>),
) -> Chunk {
    let mut chunk = Chunk::default();
    let mut rejections: Vec<Vec<Rejection>> = Vec::with_capacity(run.laws.len());
    let mut too_small: Vec<(usize, usize)> = Vec::new();
    for (index, bound) in run.laws.iter().enumerate() {
        let (observations, rejected) =
            Observations::bind(&bound.law, bound.models.full(), &bound.binding, sweep);
        rejections.push(rejected);
        if observations.len() < run.min_points {
            too_small.push((index, observations.len()));
            continue;
        }
        let used = observations.len();
        let (record, more) = each(index, observations);
        match record {
            Some(record) => chunk.records.push(record),
            None if !more.is_empty() => too_small.push((index, used - more.len())),
            None => {}
        }
        rejections[index].extend(more);
    }
    chunk.rejected = merge_rejections(sweep, rejections, &too_small, run);
    chunk
}

fn fit_law(
    run: &Run,
    index: usize,
    sweep: &Sweep,
    observations: Observations,
    batch: &mut Batch,
    interrupted: &AtomicBool,
) -> (Option<Record>, Vec<Rejection>) {
    let bound = &run.laws[index];
    let solve = |observations, batch: &mut Batch| {
        fit_choice(&bound.models, Arc::new(observations), bound.loss, &run.solve, batch)
    };
    let mut rejections = Vec::new();
    let mut fit = solve(observations, batch);
    if fit.solution.is_none() && fit.problem.n() > 0 {
        // One observation where the law has no finite value, such as a power of zero, must not take its
        // sweep along.
        let observations = fit.problem.observations.clone();
        let culprits = never_finite(&bound.models, &fit.problem);
        if !culprits.is_empty() && culprits.len() < observations.len() {
            rejections.extend(culprits.iter().map(|&i| Rejection {
                row: observations.rows[i],
                reason: format!("`{}` has no finite value here", bound.law.name),
            }));
            if observations.len() - culprits.len() < run.min_points {
                return (None, rejections);
            }
            fit = solve(observations.without(&culprits), batch);
        }
    }
    let wanted = run.inference.bootstrap > 0 && is_trustworthy(&fit) && fit.problem.p() > 0;
    let replicates = wanted
        .then(|| replicate(&bound.models, &fit, &run.inference, &sweep.key_digest, interrupted))
        .flatten();
    let mut estimates = estimates(&bound.law, &fit, replicates, &run.inference);
    if let Some(replicates) = &mut estimates.replicates
        && !run.keep_replicates
    {
        replicates.forget_values();
    }
    let mut record = Record::new(sweep.index, index, &fit, estimates);
    if run.residuals {
        record.residuals = residual_rows(run, bound, sweep, &fit);
    }
    (Some(record), rejections)
}

fn residual_rows(run: &Run, bound: &BoundLaw, sweep: &Sweep, fit: &Fit) -> Vec<ResidualRow> {
    let observations = &fit.problem.observations;
    let predictions = predictions(fit);
    let leverages = leverages(fit);
    let residual = |i: usize| fit.solution.as_ref().map_or(f64::NAN, |s| s.rows.residual[i]);
    // In the law's canonical order, so that the table does not depend on the input's.
    (0..observations.len())
        .map(|i| {
            let place = observations.rows[i] as usize;
            let variable = |name: &String| {
                let used = bound.law.variables.contains(name);
                let column = bound.binding.names.iter().position(|n| n == name);
                column.filter(|_| used).map_or(f64::NAN, |c| sweep.columns[c][place])
            };
            ResidualRow {
                file: sweep.file[place],
                row: sweep.row[place],
                variables: run.variables.iter().map(variable).collect(),
                response: observations.response[i],
                prediction: predictions.get(i).copied().unwrap_or(f64::NAN),
                residual: residual(i),
                weight: observations.weight[i],
                leverage: leverages.get(i).copied().unwrap_or(f64::NAN),
            }
        })
        .collect()
}

/// Rows that all laws reject for the same reason are listed once.
fn merge_rejections(
    sweep: &Sweep,
    rejections: Vec<Vec<Rejection>>,
    too_small: &[(usize, usize)],
    run: &Run,
) -> Vec<RejectedRow> {
    let n_laws = rejections.len();
    let mut rows: BTreeMap<(u32, String), Vec<usize>> = BTreeMap::new();
    for (law, rejected) in rejections.into_iter().enumerate() {
        for Rejection { row, reason } in rejected {
            rows.entry((row, reason)).or_default().push(law);
        }
    }
    let mut merged = Vec::new();
    for ((row, reason), laws) in rows {
        let place = Some((sweep.file[row as usize], sweep.row[row as usize]));
        let all = laws.len() == n_laws;
        for law in laws.into_iter().take(if all { 1 } else { usize::MAX }) {
            merged.push(RejectedRow {
                sweep: sweep.index,
                law: (!all).then_some(law),
                place,
                reason: reason.clone(),
            });
        }
    }
    let all_small = too_small.len() == n_laws;
    for &(law, usable) in too_small.iter().take(if all_small { 1 } else { usize::MAX }) {
        merged.push(RejectedRow {
            sweep: sweep.index,
            law: (!all_small).then_some(law),
            place: None,
            reason: format!(
                "the sweep has {usable} usable observations, fewer than --min-points {}",
                run.min_points
            ),
        });
    }
    merged
}
