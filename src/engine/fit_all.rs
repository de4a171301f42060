//! Sweeps × laws over the cores, results in order.

use std::any::Any;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::error::Error;
use crate::infer::{self, estimate, is_trustworthy, leverages, predictions, replicate};
use crate::input::{Contents, Segment, panic_text};
use crate::lanes::LANES;
use crate::optimize::{self, Fit, Workspace, Workspaces, fit_choices, never_finite};
use crate::problem::{Problem, Rejection};
use crate::sweep::Sweep;

use super::control::Control;
use super::job::Job;
use super::plan::{BoundLaw, Plan};
use crate::output::{Chunk, Record, RejectedRow, ResidualRow, RunContext, Sink};

/// All that a run needs besides the sweeps.
#[derive(Debug, Clone)]
pub struct Run {
    /// The laws, in the job's order.
    pub laws: Vec<BoundLaw>,
    /// What is asked of fits.
    pub solve: optimize::FitOptions,
    /// What is asked of inference.
    pub inference: infer::InferenceOptions,
    /// Sweeps with fewer usable observations are rejected.
    pub min_points: usize,
    /// Whether residuals are wanted.
    pub residuals: bool,
    /// Whether the sink wants the replicates themselves, not only their number.
    pub keep_replicates: bool,
    /// The sweeps: their keys, not their rows.
    pub contents: Contents,
    /// Variables of all laws that are not key columns, in order of first use.
    pub variables: Vec<String>,
    /// Per law, for each of `variables` its place among a sweep's columns; none where the law does not use it.
    places: Vec<Vec<Option<usize>>>,
}

impl Run {
    /// What the run's records refer to by number.
    #[must_use]
    pub fn context(&self) -> RunContext {
        let names = |law: &BoundLaw| law.law.parameters.iter().map(|p| p.name.clone()).collect();
        RunContext {
            keys: self.contents.keys.clone(),
            key_fields: self.contents.key_fields.clone(),
            laws: self.laws.iter().map(|l| l.law.name.clone()).collect(),
            parameters: self.laws.iter().map(names).collect(),
            residual: self.laws.iter().map(|l| l.residual.to_string()).collect(),
            seed: self.inference.seed,
            confidence: self.inference.confidence,
            fragments: self.contents.fragments.iter().map(|f| f.name.clone()).collect(),
            variables: self.variables.clone(),
            keep_replicates: self.keep_replicates,
            residuals: self.residuals,
        }
    }

    /// Joins a plan with what its source holds.
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
        Run {
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
            inference: infer::InferenceOptions {
                bootstrap: job.bootstrap,
                resample: job.resample.clone(),
                confidence: job.confidence,
                seed: job.seed,
                absolute_sigma: job.absolute_sigma,
                ..infer::InferenceOptions::default()
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
///
/// # Errors
///
/// If reading a segment fails, the sink refuses, or the run is interrupted.
pub fn fit_all<S: Borrow<Segment> + Send + Sync>(
    run: &Run,
    segments: &mut (impl Iterator<Item = Result<S, Error>> + Send),
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<(), Error> {
    let workspaces = Workspaces::default();
    let mut finished = None;
    let mut present = segments.next().transpose()?;
    while let Some(segment) = present {
        let (next, fitted) = rayon::join(
            || segments.next().transpose(),
            || fit_segment(run, segment.borrow(), &mut finished, sink, (control, &workspaces)),
        );
        fitted?;
        present = next.map_err(|error| Error::Midway(Box::new(error)))?;
    }
    finished.map_or(Ok(()), |chunk| sink.take(chunk))
}

/// The sweeps of a segment; `finished` is what the sink has not taken yet, before and after.
fn fit_segment(
    run: &Run,
    segment: &Segment,
    finished: &mut Option<Chunk>,
    sink: &mut dyn Sink,
    (control, workspaces): (&Control, &Workspaces),
) -> Result<(), Error> {
    let Range { start: mut first, end: n } = segment.sweeps();
    while first < n {
        let end = chunk_end(run, segment, first);
        let ready = finished.take();
        let (taken, chunk) = rayon::join(
            || ready.map_or(Ok(()), |chunk| sink.take(chunk)),
            || fit_chunk(run, segment, first..end, (control, workspaces)),
        );
        taken?;
        if control.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
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

/// The results of consecutive sweeps, in order.
fn fit_chunk(
    run: &Run,
    segment: &Segment,
    sweeps: Range<usize>,
    (control, workspaces): (&Control, &Workspaces),
) -> Chunk {
    let Control { progress, interrupted } = *control;
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
    let parts: Vec<Chunk> = groups
        .into_par_iter()
        .map(|group| {
            if interrupted.load(Ordering::Relaxed) {
                return Chunk::default();
            }
            let sweeps: Vec<Sweep> = group.iter().map(|&i| segment.sweep(&run.contents, i)).collect();
            let part =
                workspaces.lend(|workspace| fit_group(run, &sweeps, workspace, (interrupted, workspaces)));
            progress.advance(group.len() as u64);
            part
        })
        .collect();
    let mut whole = Chunk::default();
    parts.into_iter().for_each(|part| whole.append(part));
    whole.records.sort_unstable_by_key(|record| (record.sweep, record.law));
    whole.rejected.sort_by_key(|rejected| rejected.sweep);
    whole
}

/// What all threads of a run share: whether it is to end, and workspaces for what a thread gives to others.
type Shared<'a> = (&'a AtomicBool, &'a Workspaces);

/// One sweep under all laws: what is left out and why.
struct Judged<'a> {
    run: &'a Run,
    sweep: &'a Sweep<'a>,
    /// Each with its law, law by law.
    rejections: Vec<(usize, Rejection)>,
    /// Laws for which too little is left, and how much.
    too_small: Vec<(usize, usize)>,
}

impl<'a> Judged<'a> {
    fn new(run: &'a Run, sweep: &'a Sweep<'a>) -> Judged<'a> {
        Judged { run, sweep, rejections: Vec::new(), too_small: Vec::new() }
    }

    /// The sweep under a law, unless too few observations are left.
    fn bind(&mut self, law: usize) -> Option<Problem> {
        let (problem, rejected) = self.run.laws[law].bind(self.sweep);
        self.reject(law, rejected);
        self.if_enough(law, problem.n()).then_some(problem)
    }

    /// As if the law had not been bound.
    fn forget(&mut self, law: usize) {
        self.rejections.retain(|(of, _)| *of != law);
        self.too_small.retain(|(of, _)| *of != law);
    }

    fn reject(&mut self, law: usize, rejected: impl IntoIterator<Item = Rejection>) {
        self.rejections.extend(rejected.into_iter().map(|rejection| (law, rejection)));
    }

    fn if_enough(&mut self, law: usize, usable: usize) -> bool {
        let enough = usable >= self.run.min_points;
        if !enough {
            self.too_small.push((law, usable));
        }
        enough
    }
}

/// The rejections of one sweep, without any fit.
pub(super) fn reject_only(run: &Run, sweep: &Sweep) -> Chunk {
    let mut judged = Judged::new(run, sweep);
    for law in 0..run.laws.len() {
        judged.bind(law);
    }
    let mut chunk = Chunk::default();
    merge_rejections(judged, &mut chunk.rejected);
    chunk
}

/// All laws on some sweeps: what comes of it, law by law.
fn fit_group(run: &Run, sweeps: &[Sweep], workspace: &mut Workspace, shared: Shared) -> Chunk {
    let mut group: Vec<Judged> = sweeps.iter().map(|sweep| Judged::new(run, sweep)).collect();
    let mut chunk = Chunk::default();
    chunk.records.reserve(group.len() * run.laws.len());
    for law in 0..run.laws.len() {
        fit_or_fail(run, law, &mut group, (&mut *workspace, shared), &mut chunk);
    }
    group.into_iter().for_each(|judged| merge_rejections(judged, &mut chunk.rejected));
    chunk
}

/// One law on some sweeps. A fault of the program in one of them makes that fit a failed one; it does not end the run.
fn fit_or_fail(
    run: &Run,
    law: usize,
    group: &mut [Judged],
    (workspace, shared): (&mut Workspace, Shared),
    chunk: &mut Chunk,
) {
    let before = chunk.lengths();
    let attempt = || fit_law(run, law, group, (&mut *workspace, shared), chunk);
    let Err(panic) = catch_unwind(AssertUnwindSafe(attempt)) else { return };
    // What was worked on is in no known state.
    *workspace = Workspace::default();
    chunk.truncate(before);
    group.iter_mut().for_each(|judged| judged.forget(law));
    if let [judged] = group {
        let bound = &run.laws[law];
        let fit = optimize::failed(&bound.models, bound.loss.at(1.0), fault(&bound.law.name, panic.as_ref()));
        record(run, law, judged.sweep, &fit, (workspace, shared), chunk);
    } else {
        for judged in group.chunks_mut(1) {
            fit_or_fail(run, law, judged, (&mut *workspace, shared), chunk);
        }
    }
}

/// A fault in words.
fn fault(law: &str, panic: &(dyn Any + Send)) -> String {
    format!("a fault of the program under the law `{law}`, which should be reported: {}", panic_text(panic))
}

/// One law on some sweeps.
fn fit_law(
    run: &Run,
    law: usize,
    group: &mut [Judged],
    (workspace, shared): (&mut Workspace, Shared),
    chunk: &mut Chunk,
) {
    let bound = &run.laws[law];
    let mut members = Vec::with_capacity(group.len());
    let mut problems = Vec::with_capacity(group.len());
    for (member, judged) in group.iter_mut().enumerate() {
        if let Some(problem) = judged.bind(law) {
            members.push(member);
            problems.push(problem);
        }
    }
    chunk.estimates.reserve(members.len() * bound.law.parameters.len());
    let fits = fit_choices(&bound.models, problems, bound.loss, &run.solve, workspace);
    for (member, fit) in members.into_iter().zip(fits) {
        let judged = &mut group[member];
        if let Some(fit) = without_culprits(judged, law, fit, workspace) {
            record(run, law, judged.sweep, &fit, (&mut *workspace, shared), chunk);
        }
    }
}

/// The fit, and where it has no solution that of the observations without those where the law has no finite value, such
/// as a power of zero: one of them must not take its sweep along. None where too few are left.
fn without_culprits(judged: &mut Judged, law: usize, fit: Fit, workspace: &mut Workspace) -> Option<Fit> {
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
    judged.reject(
        law,
        culprits.iter().map(|&i| Rejection {
            row: observations.rows[i],
            reason: format!("`{}` has no finite value here", bound.law.name),
        }),
    );
    judged.if_enough(law, observations.len() - culprits.len()).then(|| {
        let rest = Arc::new(observations.without(&culprits));
        let problem = Problem::new(Arc::clone(bound.models.full()), rest, fit.problem.loss);
        fit_choices(&bound.models, vec![problem], bound.loss, &run.solve, workspace).remove(0)
    })
}

/// Adds to a chunk what a fit tells: estimates with their uncertainty, residuals where they are wanted.
fn record(
    run: &Run,
    law: usize,
    sweep: &Sweep,
    fit: &Fit,
    (workspace, (interrupted, workspaces)): (&mut Workspace, Shared),
    chunk: &mut Chunk,
) {
    let bound = &run.laws[law];
    let wanted = run.inference.bootstrap > 0 && is_trustworthy(fit) && fit.problem.p() > 0;
    let (models, digest) = (&bound.models, &sweep.key_digest);
    let found =
        if wanted { replicate(models, fit, &run.inference, digest, interrupted, workspaces) } else { None };
    let flags = estimate(models, fit, found.as_ref(), &run.inference, workspace, &mut chunk.estimates);
    let mut record = Record::new(sweep.index, law, fit, flags, &chunk.estimates);
    if let Some(replicates) = found {
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

/// Adds a fit's residuals, in the law's canonical order, so that the table does not depend on the input's.
fn add_residuals(run: &Run, law: usize, sweep: &Sweep, fit: &Fit, chunk: &mut Chunk) {
    let observations = &fit.problem.observations;
    let leverages = leverages(fit);
    let mut predictions = predictions(fit);
    chunk.residuals.reserve(observations.len());
    chunk.variables.reserve(observations.len() * run.variables.len());
    let residual = |i: usize| fit.solution.as_ref().map_or(f64::NAN, |s| s.rows.residual[i]);
    for i in 0..observations.len() {
        let place = observations.rows[i] as usize;
        chunk.residuals.push(ResidualRow {
            file: sweep.file[place],
            row: sweep.row[place],
            response: observations.response[i],
            prediction: predictions.next().unwrap_or(f64::NAN),
            residual: residual(i),
            weight: observations.weight[i],
            leverage: leverages.get(i).copied().unwrap_or(f64::NAN),
        });
        let values =
            run.places[law].iter().map(|column| column.map_or(f64::NAN, |c| sweep.columns[c][place]));
        chunk.variables.extend(values);
    }
}

/// Appends the rejections of a sweep. Rows that all laws reject for the same reason are listed once.
fn merge_rejections(judged: Judged, merged: &mut Vec<RejectedRow>) {
    let Judged { run, sweep, rejections, too_small } = judged;
    let n_laws = run.laws.len();
    let mut rows: BTreeMap<(u32, String), Vec<usize>> = BTreeMap::new();
    for (law, Rejection { row, reason }) in rejections {
        rows.entry((row, reason)).or_default().push(law);
    }
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
                "the sweep has {usable} usable observations, fewer than the required {} (min_points)",
                run.min_points
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::fault;

    /// The message of a failed fit names the law and says what happened, however the panic was raised.
    #[test]
    fn faults_are_told() {
        for (panic, text) in [
            (catch_unwind(|| panic!("plain")), "plain"),
            (catch_unwind(|| panic!("{}", 40 + 2)), "42"),
            (catch_unwind(|| assert_eq!([0, 1][std::hint::black_box(2)], 0)), "out of bounds"),
        ] {
            let message = fault("y ~ a*x", panic.unwrap_err().as_ref());
            assert!(message.contains("`y ~ a*x`") && message.contains(text), "{message}");
        }
    }
}
