//! Minimising a problem: starts, searches, the finish and its certificate, edges of the domain.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `fit` | one problem from its starts to its verdict |
//! | `options`, `outcome` | what a fit is asked for, and what is found out about it |
//! | `multistart` | the searches of one fit, when they suffice, and how fits share the lanes |
//! | `starts` | where searches begin |
//! | `levenberg_marquardt` | one search, eight of them side by side |
//! | `newton` | the solver that finishes a fit, and the certificate of a minimum |
//! | `models` | the compiled forms of a law that fits need |
//! | `boundary` | parameters that belong on the edge of their domain |
//! | `infinity` | whether there is a finite minimum, or the objective flattens towards infinity |
//! | `diagnosis` | status, flags and message of a fit; what the data does not determine, and why |
//! | `representative` | which of the parameters that give the same curve is reported |
//! | `robust_scale` | losses whose threshold follows the residuals |
//! | `local_expansion`, `third_derivatives` | the objective near an estimate under any weights, for replicates |
//! | `workspace` | the buffers of one worker |
//! | `points` | points in one vector |
//! | `spare` | vectors of fits that are done with |

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
mod spare;
mod starts;
mod third_derivatives;
mod workspace;

pub use crate::problem::Linearization;
pub use boundary::at_edges;
pub use diagnosis::flags::{Flag, words};
pub use diagnosis::identifiability::Identification;
pub use fit::{failed, fit, fit_many};
pub use infinity::{Escape, Reach, Towards, endless, may_be_endless};
pub use levenberg_marquardt::lane_queue::{Ended, LaneQueue, Task, TaskKind};
pub use levenberg_marquardt::normal_coordinates::FirstStep;
pub use levenberg_marquardt::settings;
pub use levenberg_marquardt::{Ending, SearchSettings};
pub use local_expansion::{Expansion, Surveying};
pub use models::Models;
pub use newton::certificate::{Certificate, Evaluated, column_scales, scaled_hessian, weighted_entry};
pub use newton::{Finished, minimise};
pub use options::{AGREEMENT, Asked, FitOptions, Solver, agreement_limit};
pub use outcome::{Fit, Status};
pub use points::Points;
pub use representative::Choice;
pub use robust_scale::fit_choices;
pub use spare::Spare;
pub use starts::design::Given;
pub use starts::{Starts, most_starts, never_finite};
pub use workspace::Workspace;
