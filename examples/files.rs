//! Runs a job from Parquet files to a directory of tables, on two threads, telling how far it is.
//!
//! `cargo run --release --example files -- OUT`

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sweepfit::{Control, Job, OutputOptions, Progress, run_files};

/// Counts sweeps that are done.
#[derive(Default)]
struct Counter(AtomicU64);

impl Progress for Counter {
    fn advance(&self, sweeps: u64) {
        self.0.fetch_add(sweeps, Ordering::Relaxed);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("out"), PathBuf::from);
    let job = Job {
        inputs: vec![concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chinchilla_sweeps.parquet").into()],
        by: vec!["sweep".into()],
        bootstrap: 100,
        ..Job::new("chinchilla")
    };
    // Set to true from another thread, or a signal handler, this ends the run without a result.
    let interrupted = AtomicBool::new(false);
    let counter = Counter::default();
    let control = Control { progress: &counter, interrupted: &interrupted, ..Control::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build()?;
    let options = OutputOptions { overwrite: true, ..OutputOptions::default() };
    let summary = pool.install(|| run_files(&job, &out, &options, &control))?;
    println!("{} sweeps, {} fits; tables in {}", counter.0.into_inner(), summary.counts.fits, out.display());
    Ok(())
}
