//! Runs a job: fits every law to every sweep of a source, in parallel, and passes the results to a sink.
//!
//! ```text
//! Job ─▶ plan (laws bound to the source's columns) ─▶ Contents ─▶ Run ─▶ fit all ─▶ Sink
//!                                                        └─▶ Segments ─┘
//! ```
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | [`run`]: runs a job from a source to a sink |
//! | `job` | [`Job`]: all settings of a run |
//! | `plan` | [`plan()`]: checks a job and binds its laws to a source's columns, before any row is read |
//! | [`fit_all`](mod@fit_all) | parallel fits of sweeps, with results in the order of the sweeps |
//! | `control` | progress, cancellation and the memory limit |
//! | `content_hash` | a digest of all that a fit follows from, by which an earlier one is recognised |
//! | `check` | what is known of an input before it is fitted |
//! | `counts` | counts of sweeps, fits and rejections |
//! | `overview` | what a summary of a few lines needs of the results |
//!
//! The folder knows nothing of file formats or output tables: [`Source`] and [`Sink`] are traits. Work is divided among
//! the threads of the caller's rayon pool, the global one unless the call is made within `ThreadPool::install`. Results
//! do not depend on the number of threads.

mod check;
mod content_hash;
mod control;
mod counts;
mod fit_all;
mod job;
mod overview;
mod plan;

pub use check::{Check, ColumnCheck, check};
pub use control::{Control, Progress, Silent};
pub use counts::Counts;
pub use fit_all::{Run, fit_all};
pub use job::{CatalogueFile, Job, KeepReplicates, LawText};
pub use overview::{Overview, ReasonCount, Uncertified};
pub use plan::{BoundLaw, Plan, plan};

use std::sync::Arc;

use arrow::util::display::array_value_to_string;

use crate::error::Error;
use crate::input::{self, Contents, Segments, Source};
use crate::output::{Chunk, KnownFits, RunContext, Sink};

/// A summary of a run, whose results went to the sink.
#[derive(Debug)]
pub struct Summary {
    /// The laws, in the job's order.
    pub laws: Vec<BoundLaw>,
    /// The numbers of sweeps, fits by status, and rows read and rejected.
    pub counts: Counts,
    /// The first results, and the estimates and reasons of rejections of all; empty for a dry run but for the reasons.
    pub overview: Overview,
}

/// Binds a job's laws to a source and counts sweeps and rejections; nothing is fitted.
///
/// # Errors
/// If the job has an invalid setting or does not match the source's columns, the source cannot be read, or the run is
/// interrupted.
pub fn dry_run(job: &Job, source: &dyn Source, control: &Control) -> Result<Summary, Error> {
    dry_run_plan(plan(job, source)?, job, source, control)
}

/// Counts sweeps and rejections of a job whose plan is known; nothing is fitted.
///
/// # Errors
/// If the source cannot be read, or the run is interrupted.
pub fn dry_run_plan(plan: Plan, job: &Job, source: &dyn Source, control: &Control) -> Result<Summary, Error> {
    plan.check_laws()?;
    plan.announce(control.progress);
    let (contents, segments) =
        input::open(source, &plan.request, control.read_limits(), control.interrupted)?;
    let mut counts = Counts::new(&plan.laws, &contents);
    let run = Run::new(&plan, contents, job);
    let mut overview = Overview::new(&run.context());
    for segment in segments {
        let segment = segment?;
        for i in segment.sweeps() {
            let mut chunk = fit_all::reject_only(&run, &segment.sweep(&run.contents, i));
            counts.add(&chunk);
            overview.add(&mut chunk);
        }
    }
    Ok(Summary { laws: plan.laws, counts, overview: overview.finish() })
}

/// Runs a job on a source and passes the results to a sink, in the order of the sweeps' keys.
///
/// # Errors
/// If the job has an invalid setting or does not match the source's columns, the source cannot be read, the sink
/// returns an error, or the run is interrupted.
pub fn run(job: &Job, source: &dyn Source, sink: &mut dyn Sink, control: &Control) -> Result<Summary, Error> {
    run_plan(plan(job, source)?, job, source, sink, control)
}

/// Runs a job as [`run`] does, with a plan that [`plan()`] returned for the job and the source.
///
/// # Errors
/// As for [`run`].
pub fn run_plan(
    plan: Plan,
    job: &Job,
    source: &dyn Source,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<Summary, Error> {
    let Control { progress, interrupted, .. } = *control;
    plan.check_laws()?;
    plan.announce(progress);
    progress.stage("reading");
    let (contents, mut segments) = input::open(source, &plan.request, control.read_limits(), interrupted)?;
    if contents.rows_read == contents.rows_dropped && !job.allow_empty {
        return Err(Error::NoSweeps { read: contents.rows_read, dropped: contents.rows_dropped });
    }
    note_memory(&contents, &segments, progress);
    let run = Run::new(&plan, contents, job);
    let context = run.context();
    let counts = Counts::new(&plan.laws, &run.contents);
    let mut sink = CountingSink { sink, counts, overview: Overview::new(&context) };
    sink.begin(&context)?;
    progress.begin(run.contents.n_sweeps() as u64);
    fit_all(&run, &mut segments, &mut sink, control)?;
    progress.end();
    let CountingSink { counts, overview, .. } = sink;
    if counts.fits == 0
        && let Some((rows, reason)) = overview.only_texts()
    {
        return Err(Error::NoNumbers { rows, reason: reason.to_string() });
    }
    Ok(Summary { laws: plan.laws, counts, overview: overview.finish() })
}

/// Notes what reading within the memory limit means for the run.
fn note_memory(contents: &Contents, segments: &Segments, progress: &dyn Progress) {
    if let Some((sweep, rows)) = segments.beyond_memory() {
        let values = contents.keys.iter().filter_map(|key| array_value_to_string(key, sweep).ok());
        let key = values.collect::<Vec<_>>().join(", ");
        let of_key = if key.is_empty() { String::new() } else { format!(" {key}") };
        progress
            .note(&format!("the sweep{of_key} has {rows} rows, which alone take more than the memory limit"));
    }
    if segments.n_passes() > 1 {
        let passes = segments.n_passes();
        progress.note(&format!(
            "the rows are in no order, and are read {passes} times to stay within the memory limit"
        ));
    }
}

/// A sink that counts the results and passes them to another sink.
struct CountingSink<'a> {
    sink: &'a mut dyn Sink,
    counts: Counts,
    overview: Overview,
}

impl Sink for CountingSink<'_> {
    fn begin(&mut self, context: &RunContext) -> Result<(), Error> {
        self.sink.begin(context)
    }

    fn known_fits(&self) -> Arc<KnownFits> {
        self.sink.known_fits()
    }

    fn take(&mut self, mut chunk: Chunk) -> Result<(), Error> {
        self.counts.add(&chunk);
        self.overview.add(&mut chunk);
        self.sink.take(chunk)
    }
}
