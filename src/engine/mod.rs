//! Runs a job: sweeps × laws over the cores.
//!
//! ```text
//! Job ─▶ plan (laws bound to the source's columns) ─▶ Contents ─▶ Run ─▶ fit all ─▶ Sink
//!                                                        └─▶ Segments ─┘
//! ```
//!
//! | file | what it holds |
//! | --- | --- |
//! | this one | [`run`]: a job on a source, into a sink |
//! | `job` | [`Job`]: everything that decides a run's numbers |
//! | `plan` | laws bound to a source's columns, before any row is read |
//! | [`fit_all`](mod@fit_all) | sweeps × laws over the cores, results in order |
//! | `control` | progress and cancellation |
//! | `counts` | what a run amounts to, in numbers |
//!
//! Where rows come from and where results go is unknown here: sources and sinks are traits. Work is shared out over the
//! threads of the rayon pool that the caller is in; for other threads than rayon's own, call from within
//! `ThreadPool::install`. Results do not depend on their number.

mod control;
mod counts;
mod fit_all;
mod job;
mod plan;

pub use control::{Control, Progress, Silent};
pub use counts::Counts;
pub use fit_all::{Run, fit_all};
pub use job::{Job, LawText};
pub use plan::{BoundLaw, Plan, plan};

use crate::error::Error;
use crate::input::{self, Source};
use crate::output::{Chunk, RunContext, Sink};

/// Rows of a segment: enough that its work keeps many threads busy, and few beside all rows of a large job.
const SEGMENT: usize = 1 << 18;

/// What a run leaves besides what went to its sink.
#[derive(Debug)]
pub struct Summary {
    /// The laws, in the job's order.
    pub laws: Vec<BoundLaw>,
    /// Sweeps, fits by status, rows read and rejected.
    pub counts: Counts,
    /// The records of a job of one sweep, without replicates and residuals.
    pub only_sweep: Chunk,
}

/// Reads a job's source, binds its laws and counts sweeps and rejections; nothing is fitted.
///
/// # Errors
/// If the job does not fit the source, or the source cannot be read.
pub fn dry_run(job: &Job, source: &dyn Source, control: &Control) -> Result<Summary, Error> {
    let plan = plan(job, source)?;
    let (contents, segments) = input::open(source, &plan.request, SEGMENT, control.interrupted)?;
    let mut counts = Counts::new(&plan.laws, &contents);
    let run = Run::new(&plan, contents, job);
    for segment in segments {
        let segment = segment?;
        for i in segment.sweeps() {
            counts.add(&fit_all::reject_only(&run, &segment.sweep(&run.contents, i)));
        }
    }
    Ok(Summary { laws: plan.laws, counts, only_sweep: Chunk::default() })
}

/// Runs a job on a source; results go to a sink, in the order of the sweeps' keys.
///
/// # Errors
/// If the job does not fit the source, the source cannot be read, the sink refuses, or the run is interrupted.
pub fn run(job: &Job, source: &dyn Source, sink: &mut dyn Sink, control: &Control) -> Result<Summary, Error> {
    run_plan(plan(job, source)?, job, source, sink, control)
}

/// [`run`] with the plan made already.
///
/// # Errors
/// Those of [`run`].
pub fn run_plan(
    plan: Plan,
    job: &Job,
    source: &dyn Source,
    sink: &mut dyn Sink,
    control: &Control,
) -> Result<Summary, Error> {
    let Control { progress, interrupted } = *control;
    progress.stage("reading");
    let (contents, mut segments) = input::open(source, &plan.request, SEGMENT, interrupted)?;
    let run = Run::new(&plan, contents, job);
    let keep = run.contents.n_sweeps() == 1;
    let counts = Counts::new(&plan.laws, &run.contents);
    let mut counted = Counted { sink, counts, only_sweep: Chunk::default(), keep };
    counted.begin(&run.context())?;
    progress.begin(run.contents.n_sweeps() as u64);
    fit_all(&run, &mut segments, &mut counted, control)?;
    progress.end();
    let Counted { counts, only_sweep, .. } = counted;
    Ok(Summary { laws: plan.laws, counts, only_sweep })
}

/// Counts what goes to another sink.
struct Counted<'a> {
    sink: &'a mut dyn Sink,
    counts: Counts,
    only_sweep: Chunk,
    /// Whether to keep the records.
    keep: bool,
}

impl Sink for Counted<'_> {
    fn begin(&mut self, context: &RunContext) -> Result<(), Error> {
        self.sink.begin(context)
    }

    fn take(&mut self, mut chunk: Chunk) -> Result<(), Error> {
        self.counts.add(&chunk);
        if self.keep {
            self.only_sweep.append(chunk.outline());
        }
        self.sink.take(chunk)
    }
}
