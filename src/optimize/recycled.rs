//! What fits that are done with leave to those to come: their vectors.

use crate::problem::Problem;

use super::Fit;

/// Most fits whose vectors are kept.
const MOST: usize = 64;

/// Vectors to be used again.
#[derive(Debug, Default)]
pub struct RecycledBuffers {
    problems: Vec<Problem>,
    estimated: Vec<EstimateBuffers>,
}

/// Of a fit, what is estimated of its parameters.
#[derive(Debug, Default)]
pub struct EstimateBuffers {
    pub natural: Vec<f64>,
    pub at_bound: Vec<bool>,
    pub inverse: Vec<f64>,
}

impl RecycledBuffers {
    /// Takes a fit apart.
    pub fn keep(&mut self, fit: Fit) {
        let Fit { problem, solution, natural, at_bound, identification, .. } = fit;
        if let Some(solution) = solution {
            solution.recycle();
        }
        self.keep_problem(problem);
        if self.estimated.len() < MOST {
            self.estimated.push(EstimateBuffers { natural, at_bound, inverse: identification.inverse });
        }
    }

    /// Keeps a problem, unless it is so long that its vectors are worth more than the time to have others.
    pub fn keep_problem(&mut self, problem: Problem) {
        if self.problems.len() < MOST && !problem.is_long() {
            self.problems.push(problem);
        }
    }

    /// A problem that is done with, if there is one.
    pub fn problem(&mut self) -> Option<Problem> {
        self.problems.pop()
    }

    /// Vectors with contents from before.
    pub fn estimated(&mut self) -> EstimateBuffers {
        self.estimated.pop().unwrap_or_default()
    }
}
