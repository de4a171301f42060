//! Buffers recycled between fits.

use crate::problem::Problem;

use super::Fit;

/// The largest number of fits whose buffers are kept.
const MAX_KEPT: usize = 64;

/// The buffers of fits that are no longer needed.
#[derive(Debug, Default)]
pub struct RecycledBuffers {
    problems: Vec<Problem>,
    estimated: Vec<EstimateBuffers>,
}

/// The buffers of a fit's parameters.
#[derive(Debug, Default)]
pub struct EstimateBuffers {
    pub natural: Vec<f64>,
    pub at_bound: Vec<bool>,
    pub inverse: Vec<f64>,
}

impl RecycledBuffers {
    /// Takes over the buffers of a fit.
    pub fn keep(&mut self, fit: Fit) {
        let Fit { problem, solution, natural, at_bound, identification, .. } = fit;
        if let Some(solution) = solution {
            solution.recycle();
        }
        self.keep_problem(problem);
        if self.estimated.len() < MAX_KEPT {
            self.estimated.push(EstimateBuffers { natural, at_bound, inverse: identification.inverse });
        }
    }

    /// Takes over the buffers of a problem, unless it is long: memory then matters more than the time of an allocation.
    pub fn keep_problem(&mut self, problem: Problem) {
        if self.problems.len() < MAX_KEPT && !problem.is_long() {
            self.problems.push(problem);
        }
    }

    /// Returns a problem whose buffers can be reused, if there is one. Its contents are those of an earlier fit.
    pub fn problem(&mut self) -> Option<Problem> {
        self.problems.pop()
    }

    /// Returns buffers for the parameters of a fit, with the contents of an earlier one.
    pub fn estimated(&mut self) -> EstimateBuffers {
        self.estimated.pop().unwrap_or_default()
    }
}
