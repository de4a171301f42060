//! Runs jobs from files of Parquet or text to a directory of Parquet tables.
//!
//! The output directory is checked before anything is fitted. The manifest, written last, holds the job, its inputs and
//! counts.

use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use serde::Serialize;

use crate::engine::{self, BoundLaw, Check, Control, Counts, Job, Plan, Summary};
use crate::error::{Error, Setting};
use crate::input::{Fragment, InputFiles, NestedRows, PartitionOptions, Skipped, Source, WideTable};
use crate::law::{Domain, Law, Parameter};
use crate::optimize::Status;
use crate::output::schema::ANSWERS;
use crate::output::{DirectorySink, KeptResult, OutputOptions, StatedLaw, directory};
use crate::questions::{Frontier, Points, Selection, check_frontier, check_points, frontier, predict};

/// Runs a job on its input files and writes a directory of tables. The directory appears, or replaces an earlier
/// result, when the run is complete.
///
/// ```no_run
/// use std::path::Path;
/// use sweepfit::{Control, Job, OutputOptions, run_files};
///
/// let job = Job {
///     inputs: vec!["fixtures/chinchilla_sweeps.parquet".into()],
///     by: vec!["sweep".into()],
///     ..Job::new("chinchilla")
/// };
/// let summary = run_files(&job, Path::new("result"), &OutputOptions::default(), &Control::default())?;
/// println!("{} sweeps", summary.counts.sweeps);
/// # Ok::<(), sweepfit::Error>(())
/// ```
///
/// # Errors
/// If the job has an invalid setting or does not match the inputs, the directory cannot be used or holds an earlier
/// result and [`OutputOptions::overwrite`] is not set, reading or writing fails, or the run is interrupted. The directory is then left
/// as it was.
pub fn run_files(
    job: &Job,
    out: &Path,
    options: &OutputOptions,
    control: &Control,
) -> Result<Summary, Error> {
    let begun = Instant::now();
    let files = files(job, control)?;
    on_rows(job, &files, |job_on_rows, source, plan| {
        run_rows(job, (job_on_rows, source, plan), &files, (out, options), (control, begun))
    })
}

/// Runs a job on the rows that its files stand for, as far as the directory of tables.
fn run_rows(
    job: &Job,
    (job_on_rows, source, plan): (&Job, &dyn Source, Plan),
    files: &InputFiles,
    (out, options): (&Path, &OutputOptions),
    (control, begun): (&Control, Instant),
) -> Result<Summary, Error> {
    let questions = Questions::of(job, &plan)?;
    let keys: Vec<&str> = plan.request.by.iter().map(|key| key.name.as_str()).collect();
    if !keys.starts_with(&options.partition_by.iter().map(String::as_str).collect::<Vec<_>>()) {
        let reason = format!("name the first key columns, in their order: {}", keys.join(", "));
        let place = Setting::PartitionBy.of(options.partition_by.join(","));
        return Err(Error::Invalid { place, reason });
    }
    directory::check(out, options.overwrite)?;
    refuse_inputs_in(out, files.fragments())?;
    let others = directory::count_others(out);
    if others > 0 {
        let others = match others {
            1 => "another file or directory is here; it is kept".to_owned(),
            n => format!("{n} other files or directories are here; they are kept"),
        };
        control.progress.note(&format!("{}: {others} beside the result", out.display()));
    }
    let text = serde_json::to_string(job).unwrap_or_default();
    let mut sink = DirectorySink::new(out, options, text);
    let summary = match engine::run_plan(plan, job_on_rows, source, &mut sink, control) {
        Ok(summary) => summary,
        Err(error) => {
            sink.stop();
            return Err(error);
        }
    };
    let manifest = Manifest::new(job, files, &summary, begun.elapsed()).to_json();
    if !sink.finish(&manifest, &|directory| questions.answers(directory))? {
        let note = "the earlier result was replaced file by file, because the directory cannot be exchanged for another. \
                    A run killed at that moment leaves a mixture without manifest.json";
        control.progress.note(&format!("{}: {note}", out.display()));
    }
    Ok(summary)
}

/// The questions of a job to its own result.
struct Questions<'a> {
    points: Points,
    frontier: &'a Frontier,
}

impl<'a> Questions<'a> {
    /// Reads the questions and checks that the laws can be asked, before anything is fitted.
    fn of(job: &'a Job, plan: &Plan) -> Result<Questions<'a>, Error> {
        let laws: Vec<Law> = plan.laws.iter().map(|bound| bound.law.clone()).collect();
        let mut points = Points::default();
        job.at.iter().try_for_each(|text| points.add(text))?;
        if !points.is_empty() {
            check_points(&laws, &points)?;
        }
        let questions = Questions { points, frontier: &job.frontier };
        if questions.asks_frontier() {
            check_frontier(&laws, &job.frontier)?;
        }
        Ok(questions)
    }

    fn asks_frontier(&self) -> bool {
        !self.frontier.budgets.is_empty() || !self.frontier.targets.is_empty()
    }

    /// Returns the tables of answers of the result in a directory.
    fn answers(&self, directory: &Path) -> Result<Vec<(&'static str, RecordBatch)>, Error> {
        let mut answers = Vec::new();
        if self.points.is_empty() && !self.asks_frontier() {
            return Ok(answers);
        }
        let (result, all) = (KeptResult::open(directory)?, Selection::default());
        let [predictions, frontiers] = ANSWERS;
        if !self.points.is_empty() {
            answers.push((predictions, predict(&result, &self.points, &all)?));
        }
        if self.asks_frontier() {
            answers.push((frontiers, frontier(&result, self.frontier, &all)?));
        }
        Ok(answers)
    }
}

/// Binds a job's laws to its input files and counts sweeps and rejections; nothing is fitted or written.
///
/// # Errors
/// If the job has an invalid setting or does not match the inputs, reading fails, or the run is interrupted.
pub fn dry_run_files(job: &Job, control: &Control) -> Result<Summary, Error> {
    let files = files(job, control)?;
    on_rows(job, &files, |job, source, plan| engine::dry_run_plan(plan, job, source, control))
}

/// Checks the input files of a job; nothing is fitted or written but for a few fits that tell how long all take.
///
/// # Errors
/// If the job has an invalid setting or does not match the inputs, reading fails, or the run is interrupted.
pub fn check_files(job: &Job, control: &Control) -> Result<Check, Error> {
    let files = files(job, control)?;
    on_rows(job, &files, |job, source, plan| engine::check(plan, job, source, control))
}

/// Calls `then` with the rows that a job's files stand for, the job on these rows, and its plan.
fn on_rows<T>(
    job: &Job,
    files: &InputFiles,
    then: impl FnOnce(&Job, &dyn Source, Plan) -> Result<T, Error>,
) -> Result<T, Error> {
    if let Some((wide, job)) = wide_table(job, files)? {
        let plan = engine::plan(&job, &wide)?;
        return then(&job, &wide, plan);
    }
    let plan = engine::plan(job, &NestedRows::with_types_of(files))?;
    match NestedRows::of_request(files, &plan.request)? {
        Some(nested) => then(job, &nested, plan),
        None => then(job, files, plan),
    }
}

/// Returns the wide table that a job says its inputs are, and the job on it; none where it says no such thing.
fn wide_table<'a>(
    job: &Job,
    files: &'a InputFiles,
) -> Result<Option<(WideTable<'a, InputFiles>, Job)>, Error> {
    if job.responses.is_empty() {
        return Ok(None);
    }
    let invalid =
        |reason: &str| Error::Invalid { place: Setting::Responses.whole(), reason: reason.to_owned() };
    if job.response.is_some() {
        return Err(invalid("each of these columns replaces the response; do not name another"));
    }
    if job.residuals {
        return Err(invalid("the table of residuals has a column `response` of its own; leave it out"));
    }
    Ok(Some((WideTable::new(files, &job.responses)?, job.on_wide_table())))
}

/// Returns the files of a job's inputs, and notes how many are skipped.
fn files(job: &Job, control: &Control) -> Result<InputFiles, Error> {
    let (types, defined) = (&job.partition_types[..], &job.lets[..]);
    let options = PartitionOptions { types, condition: job.condition.as_deref(), defined };
    let source = InputFiles::find(&job.inputs, options)?;
    if let Some(Skipped { path, reason }) = source.skipped().first() {
        let others = match source.skipped().len() - 1 {
            0 => String::new(),
            n => format!(", and {n} more, which the manifest lists"),
        };
        control.progress.note(&format!("skipped {path}: {reason}{others}"));
    }
    Ok(source)
}

/// Refuses inputs that lie in the output directory: the result would replace them, or be read as input by the next run.
fn refuse_inputs_in(out: &Path, inputs: &[Fragment]) -> Result<(), Error> {
    let Ok(out) = out.canonicalize() else { return Ok(()) };
    for input in inputs {
        if Path::new(&input.name).canonicalize().is_ok_and(|path| path.starts_with(&out)) {
            return Err(Error::InputInOutput { out: out.display().to_string(), input: input.name.clone() });
        }
    }
    Ok(())
}

/// The content of `manifest.json`: the job, its inputs, and the outcome.
#[derive(Serialize)]
struct Manifest<'a> {
    version: &'static str,
    job: &'a Job,
    laws: Vec<StatedLaw>,
    inputs: Vec<Input<'a>>,
    skipped: &'a [Skipped],
    /// The number of files that were not opened, because the condition excludes their partitions.
    pruned: usize,
    counts: &'a Counts,
    fits_by_status: serde_json::Map<String, serde_json::Value>,
    seed: u64,
    threads: usize,
    wall_seconds: f64,
}

/// Returns a law as the manifest states it.
fn stated(bound: &BoundLaw) -> StatedLaw {
    let law = &bound.law;
    let fixed = |parameter: &Parameter| match parameter.domain {
        Domain::Fixed(value) => Some((parameter.name.clone(), value)),
        Domain::Range { .. } | Domain::Held => None,
    };
    StatedLaw {
        name: law.name.clone(),
        formula: law.formula.clone(),
        variables: law.variables.clone(),
        parameters: law.parameters.iter().map(|p| p.name.clone()).collect(),
        fixed: law.parameters.iter().filter_map(fixed).collect(),
        residual: bound.residual,
        loss: bound.loss.to_string(),
    }
}

/// An input file in the manifest.
#[derive(Serialize)]
struct Input<'a> {
    path: &'a str,
    bytes: Option<u64>,
    /// The version that a store or a table states.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    rows: u64,
    /// The rows of row groups that were not read, because the condition excludes them.
    rows_skipped: u64,
}

impl<'a> Input<'a> {
    fn of(fragment: &'a Fragment) -> Input<'a> {
        let Fragment { name, rows, bytes, .. } = fragment;
        let version = fragment.version.as_deref();
        Input { path: name, bytes: *bytes, version, rows: *rows, rows_skipped: fragment.rows_skipped() }
    }
}

impl<'a> Manifest<'a> {
    fn new(job: &'a Job, source: &'a InputFiles, summary: &'a Summary, wall: Duration) -> Self {
        let counts = &summary.counts;
        let inputs = source.fragments();
        let by_status = Status::ALL.iter().zip(counts.by_status);
        Manifest {
            version: env!("CARGO_PKG_VERSION"),
            job,
            laws: summary.laws.iter().map(stated).collect(),
            inputs: inputs.iter().map(Input::of).collect(),
            skipped: source.skipped(),
            pruned: source.pruned(),
            counts,
            fits_by_status: by_status.map(|(status, n)| (status.name().to_string(), n.into())).collect(),
            seed: job.seed,
            threads: rayon::current_num_threads(),
            wall_seconds: wall.as_secs_f64(),
        }
    }

    fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
