//! Fits scaling laws to many experiment sweeps, with certified optima and the uncertainty of every coefficient.
//!
//! A *sweep* is a set of observations: the scales of trained models, such as parameters N and tokens D, and their losses. A
//! *law* is a formula with parameters, by its name in the catalogue or as text. A [`Job`] says which laws are fitted, how,
//! and what is to be known about them; it runs on columns in memory, on Arrow record batches, or on Parquet files.
//!
//! # One sweep of columns
//!
//! Everything that a job can be told is a field of [`Job`]. Here observations have weights and known standard deviations, and
//! those of one training run are resampled together:
//!
//! ```
//! use sweepfit::{Job, Resample, Residual, Status};
//!
//! let size: Vec<f64> = (0..24).map(|i| 1e6 * 1.6f64.powi(i)).collect();
//! let family: Vec<f64> = (0..24).map(|i| f64::from(i % 8)).collect();
//! let noise = [0.004, -0.002, 0.001, -0.003, 0.002, 0.003, -0.004, -0.001];
//! let loss: Vec<f64> =
//!     size.iter().zip(&family).map(|(n, f)| (1.7 + 400.0 / n.powf(0.34)) * (1.0 + noise[*f as usize])).collect();
//! let (weight, sigma) = (vec![1.0; 24], vec![0.003; 24]);
//!
//! let job = Job {
//!     residual: Some(Residual::Log),
//!     loss: Some("l2".parse()?),
//!     weight: Some("weight".into()),
//!     sigma: Some("sigma".into()),
//!     resample: Resample::Cluster("family".into()),
//!     bootstrap: 200,
//!     confidence: 0.9,
//!     ..Job::new("loss ~ E + A/n^alpha where E > 0, A > 0")
//! };
//! let fit = job.fit(&[
//!     ("n", &size), ("loss", &loss), ("weight", &weight), ("sigma", &sigma), ("family", &family),
//! ])?;
//! assert_eq!(fit.status, Status::Converged);
//! let alpha = fit.estimate("alpha").unwrap();
//! let (low, high) = alpha.interval.unwrap();
//! assert!(low < 0.34 && 0.34 < high && high - low < 0.02);
//!
//! // What loss a model ten times as large will have.
//! let predicted = fit.predict(&[("n", &[1e12])])?;
//! assert!((predicted[0] - 1.733).abs() < 0.01);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Many sweeps, batches to batches
//!
//! [`Job::fit_batches`] takes Arrow record batches and gives the output tables as record batches; [`Job::by`](Job#structfield.by) names
//! the columns that tell sweeps apart. Rows may come in any order. The tables and their columns are listed in [`schema`].
//!
//! # Files
//!
//! [`run_files`] reads Parquet files and writes a directory of Parquet tables, as the program `sweepfit fit` does. For other
//! inputs and outputs implement [`Source`] and [`Sink`], and call [`run`].
//!
//! # Threads, cancellation, errors
//!
//! Work is shared out over the rayon pool that the caller is in (`ThreadPool::install`); no result depends on the number of
//! threads. A [`Control`] takes a listener of progress and a flag that ends the run. The crate sets no global state: no
//! thread pool, signal handler or panic hook. Every failure is an [`Error`] whose text says what to do; that a single sweep cannot be
//! fitted is no error but a [`Status`].
//!
//! # How it is made
//!
//! ```text
//! formula ─▶ law ─▶ compile ─┐
//!                            ├─▶ problem ─▶ optimize ─▶ infer ─▶ output
//! input ─▶ sweep ────────────┘         driven by engine, asked for by files, in_memory, cli
//! ```
//!
//! A module imports only modules that stand above it in this table; `tests/layout.rs` holds that.
//!
//! | module | its job |
//! | --- | --- |
//! | [`lanes`], [`linalg`] | vectors of f64 and their elementary functions; small matrices over lanes |
//! | [`formula`] | the language: text → expression; evaluation on columns |
//! | `error` | what can go wrong |
//! | [`law`] | parameters, domains, the catalogue; expressions with exact derivatives |
//! | [`compile`] | a law becomes a program over lanes, in the solver's coordinates |
//! | [`sweep`] | named columns in canonical row order |
//! | [`problem`] | a compiled law bound to a sweep: which rows it can use, and why not the others; objective, gradient, Hessian |
//! | [`optimize`] | minimises a problem: starts, searches, the certificate, the verdict |
//! | [`infer`] | standard errors, replicates, intervals, goodness of fit |
//! | [`input`] | sources become sweeps |
//! | [`output`] | results as records, Arrow batches and Parquet files |
//! | [`engine`] | runs a job: sweeps × laws over the cores |
//! | [`verify`] | the engine against problems with certified answers |
//! | `files`, `in_memory` | jobs from files to files; jobs on columns and record batches |
//! | `cli` | arguments ⇄ job (feature `cli`) |
//!
//! * A fit from start to end: [`optimize::fit`].
//! * How a formula becomes code: [`compile::model::Model::compile`].
//! * What "converged" means: a point must have a certificate ([`optimize::newton::certificate`]); the status of a fit, in which
//!   more counts, is set in `optimize::diagnosis`.

#![deny(missing_docs)]

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod compile;
pub mod engine;
mod error;
mod files;
pub mod formula;
mod in_memory;
pub mod infer;
pub mod input;
#[doc(hidden)]
pub mod lanes;
pub mod law;
#[doc(hidden)]
pub mod linalg;
#[doc(hidden)]
pub mod optimize;
pub mod output;
#[doc(hidden)]
pub mod problem;
#[doc(hidden)]
pub mod sweep;
#[cfg(test)]
mod testing;
#[doc(hidden)]
pub mod verify;

pub use engine::{Control, Counts, Job, LawText, Progress, Silent, Summary, dry_run, run};
pub use error::{Error, ErrorKind, Phase, Place, Setting};
pub use files::{dry_run_files, run_files};
pub use in_memory::FittedLaw;
pub use infer::{Criteria, Estimate, Goodness, IntervalMethod, Replicates, Resample};
pub use input::{Fragment, Memory, ParquetFiles, RecordBatches, Source};
pub use law::{Catalogue, Citation, Domain, Law, Parameter, Residual};
pub use optimize::{Flag, Solver, Status};
pub use output::{Chunk, Record, RejectedRow, ResidualRow, RunContext, Sink, Tables, schema};
pub use problem::{Loss, LossChoice};
