//! Fits sweeps in parallel and passes the results to a sink in the order of the sweeps.
//!
//! Segments hold the rows of many sweeps, chunks the results of consecutive sweeps, and groups the sweeps that one
//! thread fits together in SIMD lanes.

use std::any::Any;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::error::Error;
use crate::infer::{self, Watch, leverages, predictions};
use crate::input::{Contents, HELD_OUT, Segment, panic_text};
use crate::lanes::LANES;
use crate::optimize::{self, Fit, Workspace, Workspaces, fit_choices, never_finite};
use crate::problem::{Problem, Rejection, RejectionCode, RejectionReason, RejectionSubject};
use crate::sweep::Sweep;

use super::content_hash::{SettingsDigest, content_hash, settings_digest};
use super::control::{Control, GroupProgress, Silent};
use super::job::{Job, KeepReplicates};
use super::plan::{BoundLaw, Plan};
use crate::output::{
    Chunk, ContentHash, KnownFits, Record, RejectedRow, ResidualRow, ReusedFit, RunContext, Sink,
};
use crate::questions::{HeldOut, JudgedFit};

/// The laws, options and keys of a run; everything but the rows.
#[derive(Debug, Clone)]
pub struct Run {
    /// The laws, in the job's order.
    pub laws: Vec<BoundLaw>,
    /// The options of fits.
    pub solve: optimize::FitOptions,
    /// The options of inference.
    pub inference: infer::InferenceOptions,
    /// The least number of usable observations; sweeps with fewer are rejected.
    pub min_points: usize,
    /// Whether the results contain residuals.
    pub residuals: bool,
    /// The column of a sweep that is 1 for rows that are held out.
    held_out: Option<usize>,
    /// Whether the results contain the replicates.
    pub keep_replicates: bool,
    /// Whether the results contain the covariance of the parameters.
    pub covariance: bool,
    /// The keys of the sweeps and the fragments of the source.
    pub contents: Contents,
    /// The variables of all laws that are not key columns, in order of first use.
    pub variables: Vec<String>,
    /// Per law the index of each of `variables` among a sweep's columns; `None` where the law does not use the
    /// variable.
    places: Vec<Vec<Option<usize>>>,
    /// Per law the digest of the settings that its results follow from.
    settings: Vec<SettingsDigest>,
}

impl Run {
    /// Returns whether rows are held out.
    pub(super) fn has_holdout(&self) -> bool {
        self.held_out.is_some()
    }

    /// Returns the digest of the settings that the results of a law follow from.
    pub(super) fn settings_digest(&self, law: usize) -> &SettingsDigest {
        &self.settings[law]
    }

    /// Returns the names and keys that the run's records refer to by index.
    #[must_use]
    pub fn context(&self) -> RunContext {
        let names = |law: &BoundLaw| law.law.parameters.iter().map(|p| p.name.clone()).collect();
        RunContext {
            keys: self.contents.keys.clone(),
            key_fields: self.contents.key_fields.clone(),
            laws: self.laws.iter().map(|l| l.law.name.clone()).collect(),
            parameters: self.laws.iter().map(names).collect(),
            quantities: self
                .laws
                .iter()
                .map(|l| l.quantities.iter().map(|q| q.name.clone()).collect())
                .collect(),
            residual: self.laws.iter().map(|l| l.residual.to_string()).collect(),
            seed: self.inference.seed,
            confidence: self.inference.confidence,
            fragments: self.contents.fragments.iter().map(|f| f.name.clone()).collect(),
            variables: self.variables.clone(),
            keep_replicates: self.keep_replicates,
            has_holdout: self.held_out.is_some(),
            // Of a loss with a threshold of its own, each fit decides whether it is nearly absolute.
            keep_jackknife: match self.inference.interval {
                Some(method) => method == infer::IntervalMethod::Bca,
                None => self.laws.iter().any(|bound| bound.loss.has_fixed_threshold()),
            },
            covariance: self.covariance,
            residuals: self.residuals,
        }
    }

    /// Returns the run of a job, given its plan and the contents of its source.
    #[must_use]
    pub fn new(plan: &Plan, contents: Contents, job: &Job) -> Run {
        let mut variables: Vec<String> = Vec::new();
        for variable in plan.laws.iter().flat_map(|l| &l.law.variables) {
            let is_key = contents.key_fields.iter().any(|f| f.name() == variable);
            if !is_key && !variables.contains(variable) {
                variables.push(variable.clone());
            }
        }
        let place = |law: &BoundLaw, name: &String| {
            let used = law.law.variables.contains(name);
            law.binding.names.iter().position(|n| n == name).filter(|_| used)
        };
        let places_in = |law: &BoundLaw| variables.iter().map(|name| place(law, name)).collect();
        let mut inference = infer::InferenceOptions {
            bootstrap: job.bootstrap,
            resample: job.resample.clone(),
            interval: job.interval,
            confidence: job.confidence,
            seed: job.seed,
            absolute_sigma: job.absolute_sigma,
            covariance: job.covariance || job.holdout.is_some(),
            ..infer::InferenceOptions::default()
        };
        let keep_replicates = keeps_replicates(plan, &contents, job, &inference);
        // Without replicates of the estimate's distribution, questions are answered from the covariance.
        let covariance =
            job.covariance || job.has_questions() && !(keep_replicates && job.resample.is_distribution());
        inference.covariance |= covariance;
        let mut run = Run {
            places: plan.laws.iter().map(places_in).collect(),
            laws: plan.laws.clone(),
            solve: optimize::FitOptions {
                asked: optimize::Asked::Verdict,
                solver: job.solver,
                starts: job.starts,
                user_start: job.start.clone(),
                seed: job.seed,
                ..optimize::FitOptions::default()
            },
            min_points: job.min_points,
            residuals: job.residuals,
            keep_replicates,
            held_out: plan.request.columns.iter().position(|name| name == HELD_OUT),
            covariance,
            inference,
            contents,
            variables,
            settings: Vec::new(),
        };
        run.settings = (0..run.laws.len()).map(|law| settings_digest(&run, law)).collect();
        run
    }
}

/// Returns whether a job's results contain the replicates.
fn keeps_replicates(
    plan: &Plan,
    contents: &Contents,
    job: &Job,
    inference: &infer::InferenceOptions,
) -> bool {
    match job.keep_replicates {
        KeepReplicates::Always => true,
        KeepReplicates::Never => false,
        KeepReplicates::Auto => {
            let of_law = |bound: &BoundLaw| 8 * bound.law.parameters.len() + REPLICATE_BYTES;
            let of_sweep: usize = plan.laws.iter().map(of_law).sum();
            let replicates = contents.n_sweeps().saturating_mul(inference.n_replicates());
            replicates > 0 && replicates.saturating_mul(of_sweep) < KEPT_BYTES
        }
    }
}

/// The size of the replicates of all fits together, in bytes, from which a job that leaves the choice does not keep them.
const KEPT_BYTES: usize = 256 << 20;

/// The size of a replicate besides its parameters, in bytes: its number, objective and verdict.
const REPLICATE_BYTES: usize = 17;

/// The size at which a chunk ends, in rows of residuals. It bounds memory for sweeps of any size, and the text of a
/// column, which Arrow limits to 2 GiB.
const CHUNK_ROWS: usize = 1 << 16;

/// The least size of a fit's results in rows of residuals: its record and estimates take about this much memory.
const ROWS_PER_FIT: usize = 16;

/// The number of observations that count as one row where residuals are not kept; each may become a row of rejections.
const OBSERVATIONS_PER_ROW: usize = 4;

/// Returns the end of the chunk that begins at the sweep `first`.
fn chunk_end(run: &Run, segment: &Segment, first: usize) -> usize {
    let mut rows = 0;
    let mut end = first;
    while end < segment.sweeps().end && (end == first || rows < CHUNK_ROWS) {
        let len = segment.sweep_len(end);
        let residuals = if run.residuals { len } else { len / OBSERVATIONS_PER_ROW };
        let replicates = if run.keep_replicates { run.inference.n_replicates() } else { 0 };
        let fit_rows = |law: &BoundLaw| ROWS_PER_FIT.max(law.law.parameters.len()) + residuals + replicates;
        rows += run.laws.iter().map(fit_rows).sum::<usize>();
        end += 1;
    }
    end
}

/// Fits every law to every sweep and passes the results to the sink, in the order of the sweeps. The next segment is
/// read while a segment is fitted, and the sink takes a chunk while the next chunk is fitted.
///
/// # Errors
/// If a segment cannot be read, the sink returns an error, or the run is interrupted.
pub fn fit_all<S: Borrow<Segment> + Send + Sync>(
    run: &Run,
    segments: &mut (impl Iterator<Item = Result<S, Error>> + Send),
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<(), Error> {
    // Residuals are told with their files and rows, which the content hash does not cover.
    let known = if run.residuals { Arc::default() } else { sink.known_fits() };
    let workspaces = Workspaces::default();
    let surroundings = Surroundings { control, workspaces: &workspaces, known: &known };
    let mut finished = None;
    let mut current = segments.next().transpose()?;
    while let Some(segment) = current {
        let (next, fitted) = rayon::join(
            || segments.next().transpose(),
            || fit_segment(run, segment.borrow(), &mut finished, sink, surroundings),
        );
        fitted?;
        control.progress.segment(segment.borrow().sweeps());
        current = next.map_err(|error| Error::Midway(Box::new(error)))?;
    }
    finished.map_or(Ok(()), |chunk| sink.take(chunk))
}

/// Fits the sweeps of a segment, chunk by chunk. `finished` is the last chunk, which the sink has not taken yet.
fn fit_segment(
    run: &Run,
    segment: &Segment,
    finished: &mut Option<Chunk>,
    sink: &mut dyn Sink,
    surroundings: Surroundings,
) -> Result<(), Error> {
    let Range { start: mut first, end: n } = segment.sweeps();
    while first < n {
        let end = chunk_end(run, segment, first);
        let ready = finished.take();
        let (taken, chunk) = rayon::join(
            || ready.map_or(Ok(()), |chunk| sink.take(chunk)),
            || fit_chunk(run, segment, first..end, surroundings),
        );
        taken?;
        if surroundings.control.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        *finished = Some(chunk);
        first = end;
    }
    Ok(())
}

/// The largest number of sweeps in a group, whose searches share SIMD lanes.
const MAX_GROUP_SWEEPS: usize = 2 * LANES;

/// The largest number of observations in a group of several sweeps.
const MAX_GROUP_OBSERVATIONS: usize = 1 << 13;

/// The least number of groups per thread, if there are enough sweeps: with fewer, threads idle at the end of a chunk.
const GROUPS_PER_THREAD: usize = 4;

/// Fits some sweeps of a segment one after another, whatever a sink holds, to see how long it takes.
pub(super) fn fit_sweeps(
    run: &Run,
    segment: &Segment,
    sweeps: &[usize],
    (control, workspaces): (&Control, &Workspaces),
) {
    let known = KnownFits::new();
    for &i in sweeps {
        let sweep = [segment.sweep(&run.contents, i)];
        let progress = GroupProgress::new(&Silent, 1, (run.laws.len(), run.inference.n_replicates()));
        let shared =
            Shared { interrupted: control.interrupted, progress: &progress, workspaces, known: &known };
        workspaces.lend(|workspace| fit_group(run, &sweep, workspace, shared));
    }
}

/// Fits consecutive sweeps and returns their results in order.
fn fit_chunk(run: &Run, segment: &Segment, sweeps: Range<usize>, surroundings: Surroundings) -> Chunk {
    let Surroundings { control: &Control { progress, interrupted, .. }, workspaces, known } = surroundings;
    let threads = rayon::current_num_threads();
    let least_groups = if threads > 1 { GROUPS_PER_THREAD * threads } else { 1 };
    let most_sweeps = sweeps.len().div_ceil(least_groups).clamp(1, MAX_GROUP_SWEEPS);
    // Sweeps of one size share lanes, because lanes are as long as the longest of their sweeps.
    let mut by_size: Vec<usize> = sweeps.clone().collect();
    by_size.sort_by_key(|&i| std::cmp::Reverse(segment.sweep_len(i)));
    let mut groups = Vec::new();
    let mut rest = &by_size[..];
    while let Some(&longest) = rest.first() {
        let n = (MAX_GROUP_OBSERVATIONS / segment.sweep_len(longest).max(1)).clamp(1, most_sweeps);
        let (group, others) = rest.split_at(n.min(rest.len()));
        groups.push(group);
        rest = others;
    }
    let parts: Vec<Chunk> = groups
        .into_par_iter()
        .map(|group| {
            if interrupted.load(Ordering::Relaxed) {
                return Chunk::default();
            }
            let sweeps: Vec<Sweep> = group.iter().map(|&i| segment.sweep(&run.contents, i)).collect();
            let work = (run.laws.len(), run.inference.n_replicates());
            let progress = GroupProgress::new(progress, group.len(), work);
            let shared = Shared { interrupted, progress: &progress, workspaces, known };
            let part = workspaces.lend(|workspace| fit_group(run, &sweeps, workspace, shared));
            progress.end();
            part
        })
        .collect();
    let mut whole = Chunk::default();
    parts.into_iter().for_each(|part| whole.append(part));
    whole.records.sort_unstable_by_key(|record| (record.sweep, record.law));
    whole.rejected.sort_by_key(|rejected| rejected.sweep);
    whole.reused.sort_unstable_by_key(|fit| (fit.sweep, fit.law));
    whole
}

/// What all fits of a run share.
#[derive(Clone, Copy)]
struct Surroundings<'a> {
    control: &'a Control<'a>,
    workspaces: &'a Workspaces,
    /// The fits that need not be made.
    known: &'a KnownFits,
}

/// What the work on a group of sweeps shares with its surroundings.
#[derive(Clone, Copy)]
struct Shared<'a> {
    /// The flag that cancels the run.
    interrupted: &'a AtomicBool,
    /// The progress of the group.
    progress: &'a GroupProgress<'a>,
    /// The workspaces of other threads, for work that a thread divides.
    workspaces: &'a Workspaces,
    /// The fits that need not be made.
    known: &'a KnownFits,
}

/// A sweep to be fitted, with its rejections under all laws.
struct CandidateSweep<'a> {
    run: &'a Run,
    sweep: &'a Sweep<'a>,
    /// Rejected observations with the law that rejects them, law by law.
    rejections: Vec<(usize, Rejection)>,
    /// Laws under which the sweep has too few usable observations, with the number of these.
    too_small: Vec<(usize, usize)>,
    /// The rows that are held out, under the law that is fitted, with their responses.
    held_out: Vec<(u32, f64)>,
    /// The content hash of the fit under the law that is fitted; none where its results also follow from something else.
    content_hash: Option<ContentHash>,
}

impl<'a> CandidateSweep<'a> {
    fn new(run: &'a Run, sweep: &'a Sweep<'a>) -> CandidateSweep<'a> {
        let (rejections, too_small, held_out) = (Vec::new(), Vec::new(), Vec::new());
        CandidateSweep { run, sweep, rejections, too_small, held_out, content_hash: None }
    }

    /// Returns the problem of fitting a law to the sweep; `None` if too few observations are usable. Records the
    /// rejections.
    fn bind(&mut self, law: usize) -> Option<Problem> {
        let bound = &self.run.laws[law];
        let (mut problem, rejected) = bound.bind(self.sweep);
        self.reject(law, rejected);
        self.held_out.clear();
        if let Some(column) = self.run.held_out {
            let observations = &problem.observations;
            let is_held_out = |i: &usize| self.sweep.columns[column][observations.rows[*i] as usize] == 1.0;
            let places: Vec<usize> = (0..observations.len()).filter(is_held_out).collect();
            self.held_out.extend(places.iter().map(|&i| (observations.rows[i], observations.response[i])));
            if !places.is_empty() {
                let rest = Arc::new(observations.without(&places));
                problem = Problem::new(Arc::clone(bound.models.full()), rest, problem.loss);
            }
        }
        self.has_enough(law, problem.n()).then_some(problem)
    }

    /// Removes the rejections under a law.
    fn clear(&mut self, law: usize) {
        self.rejections.retain(|(rejecting, _)| *rejecting != law);
        self.too_small.retain(|(rejecting, _)| *rejecting != law);
    }

    /// Records observations that a law rejects.
    fn reject(&mut self, law: usize, rejected: impl IntoIterator<Item = Rejection>) {
        self.rejections.extend(rejected.into_iter().map(|rejection| (law, rejection)));
    }

    /// Returns whether a number of usable observations is enough for a fit; if not, records the sweep as rejected.
    fn has_enough(&mut self, law: usize, usable: usize) -> bool {
        let enough = usable >= self.run.min_points;
        if !enough {
            self.too_small.push((law, usable));
        }
        enough
    }
}

/// Returns the rejections of one sweep, without any fit.
pub(super) fn reject_only(run: &Run, sweep: &Sweep) -> Chunk {
    let mut candidate = CandidateSweep::new(run, sweep);
    for law in 0..run.laws.len() {
        candidate.bind(law);
    }
    let mut chunk = Chunk::default();
    merge_rejections(candidate, &mut chunk.rejected);
    chunk
}

/// Fits all laws to a group of sweeps and returns the results, law by law.
fn fit_group(run: &Run, sweeps: &[Sweep], workspace: &mut Workspace, shared: Shared) -> Chunk {
    let mut group: Vec<CandidateSweep> = sweeps.iter().map(|sweep| CandidateSweep::new(run, sweep)).collect();
    let mut chunk = Chunk::default();
    chunk.records.reserve(group.len() * run.laws.len());
    for law in 0..run.laws.len() {
        fit_or_fail(run, law, &mut group, (&mut *workspace, shared), &mut chunk);
    }
    group.into_iter().for_each(|candidate| merge_rejections(candidate, &mut chunk.rejected));
    chunk
}

/// Fits one law to a group of sweeps. A panic in a fit is a defect of the program; the fit then has the status
/// `failed`, and the run goes on: the sweeps of the group are fitted again one at a time to find the sweep at which
/// it panics.
fn fit_or_fail(
    run: &Run,
    law: usize,
    group: &mut [CandidateSweep],
    (workspace, shared): (&mut Workspace, Shared),
    chunk: &mut Chunk,
) {
    let before = chunk.lengths();
    let attempt = || fit_law(run, law, group, (&mut *workspace, shared), chunk);
    let Err(panic) = catch_unwind(AssertUnwindSafe(attempt)) else { return };
    // The panic may have left workspace, chunk and rejections half written.
    *workspace = Workspace::default();
    chunk.truncate(before);
    group.iter_mut().for_each(|candidate| candidate.clear(law));
    if let [candidate] = group {
        let bound = &run.laws[law];
        let message = defect_message(&bound.law.name, panic.as_ref());
        let fit = optimize::failed(&bound.models, bound.loss.at(1.0), message);
        candidate.content_hash = None;
        record(run, law, candidate, &fit, (workspace, shared), chunk);
    } else {
        for candidate in group.chunks_mut(1) {
            fit_or_fail(run, law, candidate, (&mut *workspace, shared), chunk);
        }
    }
}

/// Returns the message of a fit that panicked.
fn defect_message(law: &str, panic: &(dyn Any + Send)) -> String {
    format!("fitting `{law}`: {}; this is a defect of the program, please report it", panic_text(panic))
}

/// Fits one law to a group of sweeps.
fn fit_law(
    run: &Run,
    law: usize,
    group: &mut [CandidateSweep],
    (workspace, shared): (&mut Workspace, Shared),
    chunk: &mut Chunk,
) {
    let bound = &run.laws[law];
    let mut fitted = Vec::with_capacity(group.len());
    let mut problems = Vec::with_capacity(group.len());
    for candidate in group.iter_mut() {
        if let Some(problem) = candidate.bind(law) {
            let content = (&*problem.observations, &candidate.held_out[..]);
            let content_hash = content_hash(run, law, candidate.sweep, content);
            if let Some(&status) = shared.known.get(&content_hash) {
                chunk.reused.push(ReusedFit { sweep: candidate.sweep.index, law, content_hash, status });
                continue;
            }
            candidate.content_hash = Some(content_hash);
            fitted.push(candidate);
            problems.push(problem);
        }
    }
    chunk.estimates.reserve(fitted.len() * bound.law.parameters.len());
    let fits = fit_choices(&bound.models, problems, bound.loss, &run.solve, workspace);
    for (candidate, fit) in fitted.into_iter().zip(fits) {
        if let Some(fit) = reject_nonfinite(candidate, law, fit, workspace) {
            record(run, law, candidate, &fit, (&mut *workspace, shared), chunk);
        }
    }
}

/// Returns the fit if it has a solution. Otherwise rejects the observations at which the law has no finite value at
/// any start, such as a negative power of zero, and returns a fit to the others: one such observation does not fail the
/// whole sweep. `None` if too few observations are left.
fn reject_nonfinite(
    candidate: &mut CandidateSweep,
    law: usize,
    fit: Fit,
    workspace: &mut Workspace,
) -> Option<Fit> {
    if fit.solution.is_some() || fit.problem.n() == 0 {
        return Some(fit);
    }
    let run = candidate.run;
    let bound = &run.laws[law];
    let observations = &fit.problem.observations;
    let nonfinite = never_finite(&bound.models, &fit.problem);
    if nonfinite.is_empty() || nonfinite.len() == observations.len() {
        return Some(fit);
    }
    // Another run finds these rejections by a fit alone.
    candidate.content_hash = None;
    candidate.reject(
        law,
        nonfinite.iter().map(|&i| Rejection {
            row: observations.rows[i],
            reason: RejectionReason {
                code: RejectionCode::Undefined,
                subject: RejectionSubject::Law(bound.law.name.clone()),
                value: None,
            },
        }),
    );
    candidate.has_enough(law, observations.len() - nonfinite.len()).then(|| {
        let rest = Arc::new(observations.without(&nonfinite));
        let problem = Problem::new(Arc::clone(bound.models.full()), rest, fit.problem.loss);
        fit_choices(&bound.models, vec![problem], bound.loss, &run.solve, workspace).remove(0)
    })
}

/// Appends the results of a fit to a chunk: its record, estimates with their uncertainty, and residuals if the run
/// keeps them.
fn record(
    run: &Run,
    law: usize,
    candidate: &CandidateSweep,
    fit: &Fit,
    (workspace, shared): (&mut Workspace, Shared),
    chunk: &mut Chunk,
) {
    let CandidateSweep { sweep, held_out, .. } = candidate;
    let bound = &run.laws[law];
    shared.progress.fitted();
    let refitted = |count: usize| shared.progress.refitted(count);
    let mut context = infer::Context {
        key_digest: &sweep.key_digest,
        watch: Watch { interrupted: shared.interrupted, refitted: &refitted },
        workspaces: shared.workspaces,
        workspace,
    };
    let (models, quantities) = (&bound.models, &bound.quantities);
    let inferred = infer::infer(models, fit, quantities, &run.inference, &mut context, &mut chunk.estimates);
    let scores = run.held_out.map(|_| {
        let column = |name: &String| bound.binding.names.iter().position(|n| n == name);
        let places: Vec<Option<usize>> = bound.law.variables.iter().map(column).collect();
        let test = held_out.iter().map(|&(row, response)| HeldOut {
            variables: places
                .iter()
                .map(|c| c.map_or(f64::NAN, |c| sweep.columns[c][row as usize]))
                .collect(),
            response,
        });
        let test: Vec<HeldOut> = test.collect();
        let (law, natural, new_run_margin) = (&bound.law, &fit.natural[..], inferred.new_run_margin);
        inferred.with_source(&run.inference, |source| {
            JudgedFit { law, natural, source, new_run_margin }.score(&test, run.inference.confidence)
        })
    });
    let infer::Inference { flags, replicates, jackknife, quantities, covariance, new_run_margin } = inferred;
    let mut record = Record::new(sweep.index, law, fit, flags, &chunk.estimates);
    record.variables = ranges(run, law, sweep, fit);
    record.content_hash = candidate.content_hash;
    record.scores = scores;
    let covariance = covariance.filter(|_| run.covariance);
    (record.quantities, record.covariance, record.new_run_margin) = (quantities, covariance, new_run_margin);
    record.n_jackknife = jackknife.as_ref().map_or(0, infer::Replicates::len);
    record.jackknife = jackknife.filter(|_| run.keep_replicates);
    if let Some(replicates) = replicates {
        record.n_replicates = replicates.len();
        record.n_failed = replicates.n_failed();
        record.replicates = run.keep_replicates.then_some(replicates);
    }
    if run.residuals {
        let first = chunk.residuals.len();
        add_residuals(run, law, sweep, fit, chunk);
        record.residuals = first..chunk.residuals.len();
    }
    chunk.records.push(record);
}

/// Returns the smallest and the largest value of each of a law's variables among the observations of positive weight.
fn ranges(run: &Run, law: usize, sweep: &Sweep, fit: &Fit) -> Vec<(f64, f64)> {
    let bound = &run.laws[law];
    let observations = &fit.problem.observations;
    let used = || (0..observations.len()).filter(|&i| observations.weight[i] > 0.0);
    let range = |name: &String| {
        let column = bound.binding.names.iter().position(|n| n == name)?;
        let values = used().map(|i| sweep.columns[column][observations.rows[i] as usize]);
        Some(values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x))))
    };
    bound.law.variables.iter().map(|name| range(name).unwrap_or((f64::NAN, f64::NAN))).collect()
}

/// Appends a fit's residuals in the law's canonical order, which does not depend on the order of the input.
fn add_residuals(run: &Run, law: usize, sweep: &Sweep, fit: &Fit, chunk: &mut Chunk) {
    let observations = &fit.problem.observations;
    let leverages = leverages(fit);
    let mut predictions = predictions(fit);
    chunk.residuals.reserve(observations.len());
    chunk.variables.reserve(observations.len() * run.variables.len());
    let residual = |i: usize| fit.solution.as_ref().map_or(f64::NAN, |s| s.rows.residual[i]);
    for i in 0..observations.len() {
        let row = observations.rows[i] as usize;
        chunk.residuals.push(ResidualRow {
            file: sweep.file[row],
            row: sweep.row[row],
            response: observations.response[i],
            prediction: predictions.next().unwrap_or(f64::NAN),
            residual: residual(i),
            weight: observations.weight[i],
            leverage: leverages.get(i).copied().unwrap_or(f64::NAN),
            sigma: observations.sigma.as_ref().map_or(f64::NAN, |sigma| sigma[i]),
            cluster: observations.cluster.as_ref().map(|cluster| cluster[i]),
        });
        let values = run.places[law].iter().map(|column| column.map_or(f64::NAN, |c| sweep.columns[c][row]));
        chunk.variables.extend(values);
    }
}

/// Appends the rejections of a sweep, in the order of files and rows, then those of the whole sweep. An observation that all laws reject for one reason is listed once, and so is a
/// sweep that has too few usable observations under all laws.
fn merge_rejections(candidate: CandidateSweep, merged: &mut Vec<RejectedRow>) {
    let CandidateSweep { run, sweep, rejections, too_small, .. } = candidate;
    let n_laws = run.laws.len();
    let mut rows: BTreeMap<_, (RejectionReason, Vec<usize>)> = BTreeMap::new();
    for (law, Rejection { row, reason }) in rejections {
        let place = (sweep.file[row as usize], sweep.row[row as usize]);
        let key = (place, reason.code, reason.to_string());
        rows.entry(key).or_insert_with(|| (reason, Vec::new())).1.push(law);
    }
    for ((place, ..), (reason, laws)) in rows {
        let all = laws.len() == n_laws;
        for law in laws.into_iter().take(if all { 1 } else { usize::MAX }) {
            merged.push(RejectedRow {
                sweep: sweep.index,
                law: (!all).then_some(law),
                place: Some(place),
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
            reason: RejectionReason::of_number(
                RejectionCode::TooFew,
                RejectionSubject::Observations { required: run.min_points },
                usable as f64,
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::defect_message;

    #[test]
    fn message_of_a_panic_names_the_law_and_the_reason() {
        for (panic, text) in [
            (catch_unwind(|| panic!("plain")), "plain"),
            (catch_unwind(|| panic!("{}", 40 + 2)), "42"),
            (catch_unwind(|| assert_eq!([0, 1][std::hint::black_box(2)], 0)), "out of bounds"),
        ] {
            let message = defect_message("y ~ a*x", panic.unwrap_err().as_ref());
            assert!(message.contains("`y ~ a*x`") && message.contains(text), "{message}");
        }
    }
}
