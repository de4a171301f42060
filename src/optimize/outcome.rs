//! The result of a fit.
//!
//! The status is decided in `diagnosis`, from the certificate of the point (`newton::certificate`), the rank, the bounds and
//! what happens at infinity. How a single search ended is another matter: `levenberg_marquardt::Ending`.

use crate::problem::Problem;

use super::diagnosis::flags::Flag;
use super::diagnosis::identifiability::Identification;
use super::infinity::Divergence;
use super::newton::Finished;

/// The status of a fit; where several apply, the first of this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// No finite objective was found.
    Failed,
    /// The data does not determine all parameters.
    Underdetermined,
    /// There is no finite minimum.
    Unbounded,
    /// The best point found could not be certified.
    NotConverged,
    /// A certified minimum with a parameter on the edge of its domain.
    AtBound,
    /// A certified minimum inside the domain.
    Converged,
}

impl Status {
    /// All statuses, the best first.
    pub const ALL: [Status; 6] = [
        Status::Converged,
        Status::AtBound,
        Status::NotConverged,
        Status::Unbounded,
        Status::Underdetermined,
        Status::Failed,
    ];

    /// Returns the name that stands in the tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Status::Converged => "converged",
            Status::AtBound => "at_bound",
            Status::NotConverged => "not_converged",
            Status::Unbounded => "unbounded",
            Status::Underdetermined => "underdetermined",
            Status::Failed => "failed",
        }
    }
}

/// The best point found for one problem, and what is known about it.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The problem as solved: where a parameter landed on an edge that its coordinate cannot reach, a problem with that
    /// parameter fixed there.
    pub problem: Problem,
    /// The law's parameters on such an edge, by index, ascending.
    pub edges: Vec<usize>,
    /// The solution; none where no search found a finite objective.
    pub solution: Option<Finished>,
    /// The law's parameters in natural units; NaN where there is no solution.
    pub natural: Vec<f64>,
    /// Whether each parameter of the law is on a bound of its domain.
    pub at_bound: Vec<bool>,
    pub identification: Identification,
    pub status: Status,
    pub message: String,
    /// The flags, in ascending order.
    pub flags: Vec<Flag>,
    /// The number of searches.
    pub n_starts: usize,
    /// The number of searches that ended at the reported objective.
    pub n_agreeing: usize,
    /// The lowest objective of another optimum that the searches found.
    pub runner_up: Option<f64>,
    /// The iterations of the search that found the point, those of the reference solver included.
    pub iterations: u32,
    /// The evaluations of the objective in all searches and in finishing them.
    pub evaluations: u64,
}

impl Fit {
    /// Returns the objective at the solution; NaN where there is none.
    #[must_use]
    pub fn objective(&self) -> f64 {
        self.solution.as_ref().map_or(f64::NAN, |s| s.rows.objective)
    }
}

/// The point where a fit has ended, before its diagnosis.
pub struct End {
    pub problem: Problem,
    /// The law's parameters that are fixed on an edge of their domain.
    pub edges: Vec<usize>,
    pub solution: Finished,
    pub iterations: u32,
    /// How parameters diverge while the objective approaches its infimum, if it has no minimum.
    pub divergence: Option<Divergence>,
    /// Whether the regularisation path converges to the point.
    pub is_path_limit: bool,
}
