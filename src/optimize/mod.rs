//! Minimises a problem over the box of its coordinates, certifies the minimum, and diagnoses what the data determines.
//!
//! | module | contents |
//! | --- | --- |
//! | `fit` | one fit from its starts to its status |
//! | `options`, `outcome` | what a fit is asked for, and its result |
//! | `multistart` | the searches of one fit, when they suffice, and how fits share the SIMD lanes |
//! | `starts` | starting points |
//! | `levenberg_marquardt` | one search, eight of them side by side |
//! | `newton` | the reference solver that finishes every fit, and the certificate of a minimum |
//! | `models` | the compiled forms of a law that fits need |
//! | `boundary` | parameters on the edge 0 of their domain |
//! | `infinity` | whether there is a finite minimum, or the objective flattens towards infinity |
//! | `diagnosis` | status, flags and message of a fit; what the data does not determine, and why |
//! | `representative` | which of equivalent parameter vectors is reported |
//! | `robust_scale` | losses whose threshold follows the scale of the residuals |
//! | `local_expansion`, `third_derivatives` | the objective near an estimate under any weights, for replicates |
//! | `tuning` | every tuned constant of the search, and a switch per device |
//! | `workspace` | the buffers of one worker |
//! | `points` | points in one vector |
//!
//! Imports go down: fit → multistart → {starts, levenberg_marquardt, newton} → problem. `diagnosis` reads a finished
//! fit and starts no search. The folder knows nothing of replicates, standard errors, files or threads.

mod boundary;
mod diagnosis;
mod fit;
mod infinity;
mod levenberg_marquardt;
mod local_expansion;
mod models;
mod multistart;
pub mod newton;
mod options;
mod outcome;
mod points;
mod representative;
mod robust_scale;
mod starts;
mod third_derivatives;
pub mod tuning;
mod workspace;

pub use crate::problem::Linearization;
pub use boundary::at_edges;
pub use diagnosis::flags::{Flag, words};
pub use fit::{failed, fit, fit_many};
pub use infinity::{Reach, Towards, may_be_unbounded, unbounded_parameters};
pub use levenberg_marquardt::lane_queue::{Task, TaskKind};
pub use levenberg_marquardt::normal_coordinates::FirstStep;
pub use levenberg_marquardt::settings;
pub use levenberg_marquardt::{Ending, SearchSettings};
pub use local_expansion::Expansion;
pub use models::Models;
pub use newton::certificate::{column_scales, weighted_entry};
pub use newton::{Finished, falls_below, minimise};
pub use options::{Asked, FitOptions, Solver, agreement_limit};
pub use outcome::{Fit, Status};
pub use representative::Choice;
pub use robust_scale::fit_choices;
pub use starts::never_finite;
pub use tuning::Tuning;
pub use workspace::{RefitBuffers, Workspace, Workspaces};

/// What only tests and benches name.
#[cfg(any(test, feature = "internals"))]
pub use {
    newton::MinimiseWorkspace,
    newton::certificate::{Certificate, Evaluated},
    options::AGREEMENT,
    points::Points,
    starts::Starts,
};
