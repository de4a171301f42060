//! The choice of one parameter vector among those that give the same prediction.

use crate::law::Symmetries;
use crate::problem::{LaneData, Problem};

use super::agreement_limit;
use super::models::Models;
use super::newton::{Finished, MinimiseWorkspace, minimise};
use crate::problem::Linearization;

/// The number of iterations within which an equivalent vector must be certified again.
const MAX_ITERATIONS: u32 = 20;

/// The rule by which one of several equivalent vectors is chosen.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'a> {
    /// The law's canonical order.
    Canonical,
    /// The vector nearest to given values, one per parameter of the law, in natural units.
    Nearest(&'a [Option<f64>]),
}

impl Choice<'_> {
    /// Returns the chosen vector among those equivalent to `natural`, which holds all parameters of the law in natural
    /// units.
    #[must_use]
    pub fn of(self, symmetries: &Symmetries, natural: &[f64]) -> Vec<f64> {
        match self {
            Choice::Canonical => symmetries.canonical(natural),
            Choice::Nearest(given) => symmetries.nearest(natural, |i| given[i]),
        }
    }
}

/// Returns the equivalent of a solution that is to be reported: the problem with the parameters on edges fixed, the
/// parameters on edges, and the solution. None where the solution itself is the chosen one, or its equivalent cannot be
/// certified as well.
pub fn represent(
    models: &Models,
    problem: &Problem,
    edges: &[usize],
    solution: &Finished,
    choice: Choice,
) -> Option<(Problem, Vec<usize>, Finished)> {
    let mut natural = problem.natural(&solution.theta);
    edges.iter().for_each(|&i| natural[i] = 0.0);
    let image = choice.of(models.symmetries(), &natural);
    if image == natural {
        return None;
    }
    let edges: Vec<usize> =
        if edges.is_empty() { Vec::new() } else { (0..image.len()).filter(|&i| image[i] == 0.0).collect() };
    let problem = if edges.is_empty() { problem.clone() } else { problem.with_model(models.at_zero(&edges)) };
    let start: Vec<f64> = problem.model.coordinates.iter().map(|c| image[c.parameter]).collect();
    let theta = problem.coordinates(&start);
    let weight = &problem.observations.weight;
    let objective = Linearization::sums_at(&problem, &LaneData::spread(&problem, weight), &theta).objective;
    let limit = agreement_limit(solution.rows.objective, problem.floor);
    if !(objective <= limit) {
        return None;
    }
    let found = minimise(&problem, weight, &theta, MAX_ITERATIONS, &mut MinimiseWorkspace::default())?;
    let as_good = found.rows.objective <= limit
        && found.in_range >= solution.in_range
        && found.certificate.holds() >= solution.certificate.holds();
    as_good.then_some((problem, edges, found))
}
