//! Runs a job: sweeps × laws over the cores.
//!
//! ```text
//! Job ─▶ plan (files, laws and columns checked) ─▶ Contents ─▶ Run ─▶ fit all ─▶ Sink
//!                                                     └─▶ Segments ─┘
//! ```
//!
//! [`run`] does all of it, from input files to an output directory. [`fit_all()`] is the part without files:
//! sweeps in, [`Chunk`]s of records out to any [`Sink`], in the order of the sweeps' keys whatever the number
//! of threads.

mod fit_all;
mod job;
mod manifest;
mod plan;
mod progress;

pub use fit_all::{Run, fit_all};
pub use job::{Job, LawText};
pub use manifest::{Counts, Manifest};
pub use plan::{BoundLaw, Plan, plan};
pub use progress::{Progress, Silent};

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use arrow::error::ArrowError;

use crate::input::{self, DatasetError};
use crate::output::{Batches, Chunk, Directory, OutputError, Sink, directory, schema};

/// Why a job could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{0}")]
    Job(String),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// While sweeps that were read before were fitted.
    #[error("{0}; nothing was written")]
    Midway(Box<DatasetError>),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("building the output tables failed: {0}")]
    Tables(#[from] ArrowError),
    #[error("interrupted; nothing was written")]
    Interrupted,
}

impl EngineError {
    /// 2: found before fitting, nothing was written; 1: the run could not be completed; 130: interrupted.
    pub fn exit_status(&self) -> u8 {
        match self {
            EngineError::Job(_) => 2,
            EngineError::Dataset(error) => error.exit_status(),
            EngineError::Midway(error) => match **error {
                DatasetError::Interrupted => 130,
                _ => 1,
            },
            EngineError::Output(error) => error.exit_status(),
            EngineError::Tables(_) => 1,
            EngineError::Interrupted => 130,
        }
    }
}

/// Rows of a segment: enough that its work keeps many threads busy, and few beside all rows of a large job.
const SEGMENT: usize = 1 << 18;

/// A result written beside an input would replace it, or be read as one by the next run.
fn refuse_inputs_in(out: &Path, plan: &Plan) -> Result<(), EngineError> {
    let Ok(out) = out.canonicalize() else { return Ok(()) };
    for file in plan.header.files() {
        let inside = Path::new(&file.path).canonicalize().is_ok_and(|path| path.starts_with(&out));
        if inside {
            return Err(EngineError::Job(format!(
                "--out {}: the input {} lies in it; write the result elsewhere",
                out.display(),
                file.path
            )));
        }
    }
    Ok(())
}

/// What a run leaves for the summary.
#[derive(Debug)]
pub struct Summary {
    pub laws: Vec<BoundLaw>,
    pub counts: Counts,
    /// The records of a job of one sweep, for a summary that shows its coefficients.
    pub only_sweep: Chunk,
}

/// Reads a job's input, binds its laws and counts sweeps and rejections; nothing is fitted or written.
pub fn dry_run(job: &Job, interrupted: &AtomicBool) -> Result<Summary, EngineError> {
    let plan = plan(job)?;
    let (contents, segments) = input::open(&plan.header, &plan.request, SEGMENT, interrupted)?;
    let mut counts = Counts::new(&plan.laws, &contents);
    let run = Run::new(&plan, contents, job);
    let mut tools = fit_all::Tools::default();
    for segment in segments {
        let segment = segment?;
        for i in segment.sweeps() {
            counts.add(&fit_all::reject_only(&run, &segment.sweep(&run.contents, i), &mut tools));
        }
    }
    Ok(Summary { laws: plan.laws, counts, only_sweep: Chunk::default() })
}

/// Runs a job from files to a directory.
pub fn run(
    job: &Job,
    out: Option<&Path>,
    overwrite: bool,
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<Summary, EngineError> {
    let begun = Instant::now();
    let plan = plan(job)?;
    if let Some(out) = out {
        directory::check(out, overwrite)?;
        refuse_inputs_in(out, &plan)?;
    }
    progress.stage("reading");
    let (contents, mut segments) = input::open(&plan.header, &plan.request, SEGMENT, interrupted)?;
    let run = Run::new(&plan, contents, job);
    let mut sink = TableSink {
        counts: Counts::new(&plan.laws, &run.contents),
        batches: Batches::new(run.table_context()),
        directory: None,
        job_text: serde_json::to_string(job).unwrap_or_default(),
        only_sweep: Chunk::default(),
        keep: run.contents.n_sweeps() == 1,
        keep_replicates: job.keep_replicates,
        residuals: job.residuals,
    };
    if let Some(out) = out {
        let mut directory = Directory::create(out, overwrite)?;
        for table in schema::ALL {
            let wanted = (table.name != "replicates" || job.keep_replicates)
                && (table.name != "residuals" || job.residuals);
            if wanted {
                directory.open(table.name, sink.batches.schema(&table), &sink.job_text)?;
            }
        }
        sink.directory = Some(directory);
    }
    progress.begin(run.contents.n_sweeps() as u64);
    fit_all(&run, &mut segments, &mut sink, progress, interrupted)?;
    progress.end();
    let TableSink { counts, directory, only_sweep, .. } = sink;
    if let Some(directory) = directory {
        let manifest = Manifest::new(job, &run.contents, &counts, begun.elapsed());
        directory.finish(&manifest.to_json())?;
    }
    Ok(Summary { laws: plan.laws, counts, only_sweep })
}

/// Writes chunks to Parquet.
struct TableSink {
    counts: Counts,
    batches: Batches,
    directory: Option<Directory>,
    job_text: String,
    only_sweep: Chunk,
    keep: bool,
    keep_replicates: bool,
    residuals: bool,
}

impl Sink for TableSink {
    fn take(&mut self, chunk: Chunk) -> Result<(), OutputError> {
        self.counts.add(&chunk);
        if let Some(directory) = &mut self.directory {
            let batches = &self.batches;
            directory.write("fits", &batches.fits(&chunk)?)?;
            directory.write("coefficients", &batches.coefficients(&chunk)?)?;
            if self.keep_replicates {
                directory.write("replicates", &batches.replicates(&chunk)?)?;
            }
            if self.residuals {
                directory.write("residuals", &batches.residuals(&chunk)?)?;
            }
            directory.write("rejected", &batches.rejected(&chunk)?)?;
        }
        if self.keep {
            self.only_sweep.append(chunk);
        }
        Ok(())
    }
}
