//! Sweeps × laws over the cores, results in order.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::dataset::{Contents, DatasetError, Segment};
use crate::infer::{self, estimates, is_trustworthy, leverages, predictions, replicate};
use crate::law::LANES;
use crate::problem::{Observations, Rejection};
use crate::solve::{self, Batch, Fit, fit_choices, never_finite};
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
    pub contents: Contents,
    /// Variables of all laws that are not key columns, in order of first use.
    pub variables: Vec<String>,
}

impl Run {
    pub fn new(plan: &Plan, contents: Contents, job: &Job) -> Run {
        let mut variables: Vec<String> = Vec::new();
        for variable in plan.laws.iter().flat_map(|l| &l.law.variables) {
            let is_key = contents.key_fields.iter().any(|f| f.name() == variable);
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
            contents,
            variables,
        }
    }
}

/// Results held before they go to the sink, in rows of the largest output table: bounds memory, whatever the
/// sweeps' sizes and their number, and the text of a column, which must not exceed 2 GiB.
const CHUNK_ROWS: usize = 1 << 16;

/// A fit's own row, with what the fit holds besides, weighs so many rows of residuals.
const FIT_ROWS: usize = 16;

/// A sweep's observations, of which each may be rejected, count one in so many.
const REJECTED_ROWS: usize = 4;

/// The first sweep of the chunk after the one that begins at `first`.
fn chunk_end(run: &Run, segment: &Segment, first: usize) -> usize {
    let mut rows = 0;
    let mut end = first;
    while end < segment.sweeps().end && (end == first || rows < CHUNK_ROWS) {
        let len = segment.sweep_len(end);
        let residuals = if run.residuals { len } else { len / REJECTED_ROWS };
        let replicates = if run.keep_replicates { run.inference.bootstrap } else { 0 };
        let fits = |law: &BoundLaw| FIT_ROWS.max(law.law.parameters.len()) + residuals + replicates;
        rows += run.laws.iter().map(fits).sum::<usize>();
        end += 1;
    }
    end
}

/// Fits every law to every sweep, segment by segment in the order of the sweeps. While one is fitted the next is read, and
/// while one chunk of results is made the sink takes the one before.
pub fn fit_all<S: Borrow<Segment> + Send + Sync>(
    run: &Run,
    segments: &mut (impl Iterator<Item = Result<S, DatasetError>> + Send),
    sink: &mut dyn Sink,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<(), EngineError> {
    let mut finished = None;
    let mut present = segments.next().transpose()?;
    while let Some(segment) = present {
        let (next, fitted) = rayon::join(
            || segments.next().transpose(),
            || fit_segment(run, segment.borrow(), &mut finished, sink, progress, interrupted),
        );
        fitted?;
        present = next.map_err(|error| EngineError::Midway(Box::new(error)))?;
    }
    finished.map_or(Ok(()), |chunk| sink.take(chunk))
}

/// The sweeps of a segment; `finished` is what the sink has not taken yet, before and after.
fn fit_segment(
    run: &Run,
    segment: &Segment,
    finished: &mut Option<Chunk>,
    sink: &mut dyn Sink,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<(), EngineError> {
    let Range { start: mut first, end: n } = segment.sweeps();
    while first < n {
        let end = chunk_end(run, segment, first);
        let ready = finished.take();
        let (taken, chunk) = rayon::join(
            || ready.map_or(Ok(()), |chunk| sink.take(chunk)),
            || fit_chunk(run, segment, first..end, progress, interrupted),
        );
        taken?;
        if interrupted.load(Ordering::Relaxed) {
            return Err(EngineError::Interrupted);
        }
        *finished = Some(chunk);
        first = end;
    }
    Ok(())
}

/// Sweeps that are fitted together, so that their searches share the vectors, and their observations.
const TOGETHER: usize = 2 * LANES;
const OBSERVATIONS: usize = 1 << 13;

/// Groups per thread below which sweeps are rather fitted by fewer at a time: no thread should wait for another's last.
const GROUPS_PER_THREAD: usize = 4;

thread_local! {
    /// Buffers that a worker keeps from group to group.
    static BATCH: RefCell<Batch> = RefCell::default();
}

/// The results of consecutive sweeps, in order.
fn fit_chunk(
    run: &Run,
    segment: &Segment,
    sweeps: Range<usize>,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Chunk {
    let threads = rayon::current_num_threads();
    let least = if threads > 1 { GROUPS_PER_THREAD * threads } else { 1 };
    let together = sweeps.len().div_ceil(least).clamp(1, TOGETHER);
    // Lanes are as long as the longest of the sweeps that share them.
    let mut by_size: Vec<usize> = sweeps.clone().collect();
    by_size.sort_by_key(|&i| std::cmp::Reverse(segment.sweep_len(i)));
    let mut groups = Vec::new();
    let mut rest = &by_size[..];
    while let Some(&longest) = rest.first() {
        let most = (OBSERVATIONS / segment.sweep_len(longest).max(1)).clamp(1, together);
        let (group, others) = rest.split_at(most.min(rest.len()));
        groups.push(group);
        rest = others;
    }
    let mut parts: Vec<(usize, Chunk)> = groups
        .into_par_iter()
        .map(|group| {
            if interrupted.load(Ordering::Relaxed) {
                return Vec::new();
            }
            let sweeps: Vec<Sweep> = group.iter().map(|&i| segment.sweep(&run.contents, i)).collect();
            // Taken, not borrowed: while replicates wait for other threads, this one may begin another group.
            let mut batch = BATCH.take();
            let parts = fit_group(run, &sweeps, &mut batch, interrupted);
            BATCH.set(batch);
            progress.advance(group.len() as u64);
            group.iter().copied().zip(parts).collect()
        })
        .flatten_iter()
        .collect();
    parts.sort_unstable_by_key(|(sweep, _)| *sweep);
    let mut whole = Chunk::default();
    for (_, part) in parts {
        whole.records.extend(part.records);
        whole.rejected.extend(part.rejected);
    }
    whole
}

/// One sweep under all laws: records, and what is left out and why.
struct Judged<'a> {
    run: &'a Run,
    sweep: &'a Sweep<'a>,
    records: Vec<Record>,
    /// Per law.
    rejections: Vec<Vec<Rejection>>,
    /// Laws for which too little is left, and how much.
    too_small: Vec<(usize, usize)>,
}

impl<'a> Judged<'a> {
    fn new(run: &'a Run, sweep: &'a Sweep<'a>) -> Judged<'a> {
        let rejections = vec![Vec::new(); run.laws.len()];
        Judged { run, sweep, records: Vec::new(), rejections, too_small: Vec::new() }
    }

    /// The observations under a law, unless they are too few.
    fn bind(&mut self, law: usize) -> Option<Observations> {
        let bound = &self.run.laws[law];
        let (observations, rejected) =
            Observations::bind(&bound.law, bound.models.full(), &bound.binding, self.sweep);
        self.rejections[law] = rejected;
        self.if_enough(law, observations.len()).then_some(observations)
    }

    fn if_enough(&mut self, law: usize, usable: usize) -> bool {
        let enough = usable >= self.run.min_points;
        if !enough {
            self.too_small.push((law, usable));
        }
        enough
    }

    fn chunk(self) -> Chunk {
        let rejected = merge_rejections(self.sweep, self.rejections, &self.too_small, self.run);
        Chunk { records: self.records, rejected }
    }
}

/// The rejections of one sweep, without any fit.
pub(super) fn reject_only(run: &Run, sweep: &Sweep) -> Chunk {
    let mut judged = Judged::new(run, sweep);
    (0..run.laws.len()).for_each(|law| drop(judged.bind(law)));
    judged.chunk()
}

/// All laws on some sweeps: for each what comes of it.
fn fit_group(run: &Run, sweeps: &[Sweep], batch: &mut Batch, interrupted: &AtomicBool) -> Vec<Chunk> {
    let mut group: Vec<Judged> = sweeps.iter().map(|sweep| Judged::new(run, sweep)).collect();
    for (law, bound) in run.laws.iter().enumerate() {
        let mut members = Vec::with_capacity(group.len());
        let mut observations = Vec::with_capacity(group.len());
        for (member, judged) in group.iter_mut().enumerate() {
            if let Some(bound) = judged.bind(law) {
                members.push(member);
                observations.push(Arc::new(bound));
            }
        }
        let fits = fit_choices(&bound.models, observations, bound.loss, &run.solve, batch);
        for (member, fit) in members.into_iter().zip(fits) {
            let judged = &mut group[member];
            if let Some(fit) = without_culprits(judged, law, fit, batch) {
                judged.records.push(record(run, law, judged.sweep, &fit, interrupted));
            }
        }
    }
    group.into_iter().map(Judged::chunk).collect()
}

/// The fit, and where it has no solution that of the observations without those where the law has no finite value, such
/// as a power of zero: one of them must not take its sweep along. None where too few are left.
fn without_culprits(judged: &mut Judged, law: usize, fit: Fit, batch: &mut Batch) -> Option<Fit> {
    if fit.solution.is_some() || fit.problem.n() == 0 {
        return Some(fit);
    }
    let run = judged.run;
    let bound = &run.laws[law];
    let observations = &fit.problem.observations;
    let culprits = never_finite(&bound.models, &fit.problem);
    if culprits.is_empty() || culprits.len() == observations.len() {
        return Some(fit);
    }
    judged.rejections[law].extend(culprits.iter().map(|&i| Rejection {
        row: observations.rows[i],
        reason: format!("`{}` has no finite value here", bound.law.name),
    }));
    judged.if_enough(law, observations.len() - culprits.len()).then(|| {
        let rest = vec![Arc::new(observations.without(&culprits))];
        fit_choices(&bound.models, rest, bound.loss, &run.solve, batch).remove(0)
    })
}

/// What a fit tells: estimates with their uncertainty, residuals where they are wanted.
fn record(run: &Run, law: usize, sweep: &Sweep, fit: &Fit, interrupted: &AtomicBool) -> Record {
    let bound = &run.laws[law];
    let wanted = run.inference.bootstrap > 0 && is_trustworthy(fit) && fit.problem.p() > 0;
    let replicates = wanted
        .then(|| replicate(&bound.models, fit, &run.inference, &sweep.key_digest, interrupted))
        .flatten();
    let mut estimates = estimates(&bound.law, fit, replicates, &run.inference);
    if let Some(replicates) = &mut estimates.replicates
        && !run.keep_replicates
    {
        replicates.forget_values();
    }
    let mut record = Record::new(sweep.index, law, fit, estimates);
    if run.residuals {
        record.residuals = residual_rows(run, bound, sweep, fit);
    }
    record
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
