//! Fits scaling laws to many experiment sweeps: Parquet in, certified coefficients and their uncertainty out.
//!
//! # The road
//!
//! ```text
//! Parquet ─▶ dataset ─▶ Sweep ─┐
//!                              ├─▶ Problem ─▶ solve ─▶ Fit ─▶ infer ─▶ Estimate ─▶ tables ─▶ Parquet
//! formula ─▶ law ─────▶ Law  ──┘
//! ```
//!
//! Data goes one way. A room never imports one that stands below it in this table:
//!
//! | room | its one job |
//! | --- | --- |
//! | [`lanes`] | vectors of f64 and their elementary functions |
//! | [`formula`] | the language: text → expression; evaluation on columns |
//! | [`law`] | an expression becomes a law: simplified, differentiated twice, compiled |
//! | [`sweep`] | a set of named columns in canonical row order |
//! | [`problem`] | a law bound to a sweep: objective, gradient, Hessian |
//! | [`solve`] | minimises a problem: starts, searches, the certificate |
//! | [`infer`] | standard errors, replicates, intervals, goodness of fit |
//! | [`dataset`] | input files become sweeps |
//! | [`engine`] | runs a job: sweeps × laws over the cores |
//! | [`tables`] | results become Arrow batches and Parquet files |
//! | [`verify`] | the engine against problems with certified answers |
//! | [`cli`] | arguments ⇄ job |
//!
//! (`engine` and `tables` know each other: the engine defines the records, the tables give them columns, and the
//! engine's run writes them.)
//!
//! # Where to start
//!
//! * To see a fit from start to end: [`solve::fit`].
//! * To see how a formula becomes code: [`law::model::Model::compile`].
//! * What "converged" means: the definition in [`solve::certificate`].
//! * To have results in memory: [`engine::fit_all`] with a [`engine::Sink`] of your own.

pub mod cli;
pub mod compile;
pub mod engine;
pub mod formula;
pub mod infer;
pub mod input;
pub mod lanes;
pub mod law;
pub mod linalg;
pub mod optimize;
pub mod output;
pub mod problem;
pub mod sweep;
#[cfg(test)]
mod testing;
pub mod verify;
