//! What is found out about a fit.

use crate::problem::Problem;

use super::diagnosis::flags::Flag;
use super::diagnosis::identifiability::Identification;
use super::infinity::Divergence;
use super::newton::Finished;

/// How a fit ended; where several hold, the first of this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Failed,
    Underdetermined,
    Unbounded,
    NotConverged,
    AtBound,
    Converged,
}

impl Status {
    pub const ALL: [Status; 6] = [
        Status::Converged,
        Status::AtBound,
        Status::NotConverged,
        Status::Unbounded,
        Status::Underdetermined,
        Status::Failed,
    ];

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

/// The best point found for one problem and what is known about it.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The problem as solved: where a parameter landed on an edge that its coordinate cannot reach, a
    /// problem with that parameter fixed there.
    pub problem: Problem,
    /// The law's parameters on such an edge, by index.
    pub edges: Vec<usize>,
    /// None where no search found a finite objective.
    pub solution: Option<Finished>,
    /// The law's parameters in natural units; NaN where there is no solution.
    pub natural: Vec<f64>,
    /// Per parameter of the law.
    pub at_bound: Vec<bool>,
    pub identification: Identification,
    pub status: Status,
    pub message: String,
    /// In order.
    pub flags: Vec<Flag>,
    pub n_starts: usize,
    pub n_agreeing: usize,
    /// The best objective of another optimum that the searches found.
    pub runner_up: Option<f64>,
    /// Iterations of the start that won, its finish included.
    pub iterations: u32,
}

impl Fit {
    pub fn objective(&self) -> f64 {
        self.solution.as_ref().map_or(f64::NAN, |s| s.rows.objective)
    }
}

/// Where a fit has ended.
pub struct End {
    pub problem: Problem,
    /// The law's parameters that are fixed on an edge of their domain.
    pub edges: Vec<usize>,
    pub solution: Finished,
    pub iterations: u32,
    /// How the objective falls without end, where it does.
    pub divergence: Option<Divergence>,
    /// Whether the point is where the path of regularised minima comes to rest.
    pub is_path_limit: bool,
}
