//! Fits scaling laws to many experiment sweeps: Parquet in, certified coefficients and their uncertainty out.
//!
//! # How data flows
//!
//! ```text
//! formula ─▶ law ─▶ compile ─┐
//!                            ├─▶ problem ─▶ optimize ─▶ infer ─▶ output
//! input ─▶ sweep ────────────┘         driven by engine, asked for by cli
//! ```
//!
//! A module imports only modules that stand above it in this table; `tests/layout.rs` holds that.
//!
//! | module | its job |
//! | --- | --- |
//! | [`lanes`], [`linalg`] | vectors of f64 and their elementary functions; small matrices over lanes |
//! | [`formula`] | the language: text → expression; evaluation on columns |
//! | [`law`] | parameters, domains, the catalogue; expressions with exact derivatives |
//! | [`compile`] | a law becomes a program over lanes, in the solver's coordinates |
//! | [`sweep`] | named columns in canonical row order |
//! | [`problem`] | a compiled law bound to a sweep: which rows it can use, and why not the others; objective, gradient, Hessian |
//! | [`optimize`] | minimises a problem: starts, searches, the certificate, the verdict |
//! | [`infer`] | standard errors, replicates, intervals, goodness of fit |
//! | [`input`] | files become sweeps |
//! | [`output`] | results as records, Arrow batches and Parquet files |
//! | [`engine`] | runs a job: sweeps × laws over the cores |
//! | [`verify`] | the engine against problems with certified answers |
//! | `cli` | arguments ⇄ job (feature `cli`) |
//!
//! # A fit of columns in memory
//!
//! ```
//! use sweepfit::formula::{parse_expression, parse_formula};
//! use sweepfit::law::{Law, Residual};
//! use sweepfit::optimize::{FitOptions, Models, Status, Workspace, fit};
//! use sweepfit::problem::{Loss, bind_columns};
//!
//! let n = [1e6, 1e7, 1e8, 1e9, 1e10];
//! let loss: Vec<f64> = n.iter().map(|n: &f64| 1.7 + 400.0 / n.powf(0.34)).collect();
//!
//! let columns = ["n".to_string(), "loss".to_string()];
//! let formula = parse_formula("loss ~ E + A/n^alpha where E > 0, A > 0")?;
//! let law = Law::from_formula(formula, &columns)?;
//! let models = Models::compile(law.clone(), Residual::Log);
//! let response = parse_expression("loss")?;
//! let (problem, rejected) =
//!     bind_columns(&law, models.full(), &response, Loss::L2, &[("n", &n), ("loss", &loss)]);
//! assert!(rejected.is_empty());
//!
//! let fit = fit(&models, problem, &FitOptions::default(), &mut Workspace::default());
//! assert_eq!(fit.status, Status::Converged);
//! let alpha = fit.natural[law.parameter("alpha").unwrap()];
//! assert!((alpha - 0.34).abs() < 1e-9);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to read
//!
//! * A fit from start to end: [`optimize::fit`].
//! * How a formula becomes code: [`compile::model::Model::compile`].
//! * What "converged" means: a point must have a certificate ([`optimize::newton::certificate`]); the status of a fit, in which
//!   more counts, is set in `optimize::diagnosis`.
//! * Results of a job in memory: [`engine::fit_all`] with an [`output::Sink`].

#[cfg(feature = "cli")]
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
