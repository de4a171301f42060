//! Fits scaling laws to many experiment sweeps, with certified optima and the uncertainty of every coefficient.
//!
//! A *sweep* is a set of observations: the scales of trained models, such as parameters N and tokens D, and their
//! losses. A *law* is a formula with parameters, given as text or by its name in the catalogue. A [`Job`] holds the
//! laws and the settings of fits, intervals and output. It runs on columns in memory, on Arrow record batches, or on
//! Parquet files.
//!
//! # One sweep of columns
//!
//! Every setting is a field of [`Job`]. In this example the observations have weights and known standard deviations,
//! and the observations of one family of models are resampled together:
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
//! // The loss of a model with 10^12 parameters.
//! let predicted = fit.predict(&[("n", &[1e12])])?;
//! assert!((predicted[0] - 1.733).abs() < 0.01);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Many sweeps as record batches
//!
//! [`Job::fit_batches`] takes Arrow record batches and returns the output tables as record batches. The columns in
//! [`Job::by`](Job#structfield.by) identify the sweep of each row. Rows may come in any order. [`schema`] lists the
//! tables and their columns.
//!
//! # Files
//!
//! [`run_files`] reads Parquet files and writes a directory of Parquet tables, as the program `sweepfit fit` does. For
//! other inputs and outputs, implement [`Source`] and [`Sink`] and call [`run`].
//!
//! # Threads, cancellation, errors
//!
//! The work is divided among the threads of the caller's rayon pool (`ThreadPool::install`). No result depends on the
//! number of threads. A [`Control`] takes a listener of progress and a flag that ends the run. The crate sets no global
//! state: no thread pool, signal handler or panic hook. Every failure is an [`Error`] whose text says what to do. A
//! sweep that cannot be fitted is not an error: its record has a [`Status`].
//!
//! # Architecture
//!
//! ```text
//! formula ─▶ law ─▶ compile ─┐
//!                            ├─▶ problem ─▶ optimize ─▶ infer ─▶ output
//! input ─▶ sweep ────────────┘         run by engine, which files, in_memory and cli call
//! ```
//!
//! A module imports only modules above it in this table; `tests/layout.rs` checks the imports.
//!
//! | module | contents |
//! | --- | --- |
//! | [`lanes`], [`linalg`] | SIMD vectors of f64 and their elementary functions; small matrices over lanes |
//! | [`formula`] | the formula language: parsing, type checking, evaluation on columns |
//! | `error` | the error type |
//! | `store` | a client of object stores (feature `cloud`) |
//! | [`law`] | parameters, domains, the catalogue; expressions with exact derivatives |
//! | [`compile`] | laws compiled to programs over lanes, in the solver's coordinates |
//! | [`sweep`] | the columns of a sweep, in canonical row order |
//! | [`problem`] | a compiled law bound to a sweep: usable and rejected rows; objective, gradient, Hessian |
//! | [`optimize`] | minimising a problem: starts, local searches, certificate, status |
//! | [`infer`] | standard errors, replicates, intervals, goodness of fit |
//! | [`input`] | reading sources into sweeps |
//! | [`output`] | results as records, Arrow batches and Parquet files |
//! | [`engine`] | running a job: all laws on all sweeps, in parallel |
//! | [`questions`] | questions that a kept result answers: predictions |
//! | `files`, `in_memory` | jobs on files; jobs on columns and record batches |
//! | [`approaches`] | frontiers without a law: IsoFLOP parabolas, lower envelopes |
//! | [`coverage`] | how often intervals contain the truth, by simulation |
//! | [`verify`] | checks of the engine against problems with certified answers |
//! | `cli` | the program: arguments, help, messages (feature `cli`) |
//!
//! Start reading at:
//!
//! * [`optimize::fit`], a fit from its starts to its status;
//! * [`compile::model::Model::compile`], which turns a law into code;
//! * [`optimize::newton::certificate`], the conditions under which a point is a minimum. They are necessary for the
//!   status `converged`; `optimize::diagnosis` sets the status.

#![cfg_attr(not(feature = "internals"), deny(missing_docs))]

pub mod approaches;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod compile;
pub mod coverage;
pub mod engine;
mod error;
mod files;
pub mod formula;
mod in_memory;
pub mod infer;
pub mod input;
mod lanes;
pub mod law;
mod linalg;
mod optimize;
pub mod output;
mod problem;
pub mod questions;
mod store;
mod sweep;
#[cfg(test)]
mod testing;
// Only the program and tests call it.
#[cfg_attr(not(feature = "cli"), allow(dead_code))]
mod verify;

pub use engine::{
    CatalogueFile, Control, Counts, Job, KeepReplicates, LawText, Progress, Silent, Summary, dry_run, run,
};
pub use error::{Error, ErrorKind, Phase, Place, Setting};
pub use files::{check_files, dry_run_files, run_files};
pub use in_memory::FittedLaw;
pub use infer::{
    Criteria, Estimate, Goodness, IntervalMethod, ParameterCovariance, QuantityEstimate, Replicates, Resample,
};
pub use input::{Fragment, KeyColumn, Memory, ParquetFiles, RecordBatches, Skipped, Source};
pub use law::{Catalogue, Citation, Domain, Law, Parameter, Residual};
pub use optimize::{Flag, Solver, Status};
pub use output::{
    Chunk, ContentHash, KnownFits, OutputOptions, Record, RejectedRow, ResidualRow, ReusedFit, RunContext,
    Sink, Tables, schema,
};
pub use problem::{Loss, LossChoice, RejectedValue, RejectionCode, RejectionReason, RejectionSubject};

/// The inside of the library for its own tests and benches: no interface, and absent without the feature `internals`.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub mod compile {
        pub use crate::compile::*;
    }
    pub mod lanes {
        pub use crate::lanes::*;
    }
    pub mod law {
        pub mod derive {
            pub use crate::law::derive::*;
        }
        pub mod graph {
            pub use crate::law::graph::*;
        }
        pub mod linear_form {
            pub use crate::law::linear_form::*;
        }
    }
    pub mod linalg {
        pub use crate::linalg::*;
    }
    pub mod optimize {
        pub use crate::optimize::*;
    }
    pub mod problem {
        pub use crate::problem::*;
    }
    pub mod sweep {
        pub use crate::sweep::*;
    }
    pub mod verify {
        pub use crate::verify::*;
    }
}
