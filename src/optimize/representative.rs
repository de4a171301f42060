//! Which of the parameters that give the same curve is reported.

use crate::law::Symmetries;
use crate::problem::{LaneData, Problem};

use super::agreement_limit;
use super::models::Models;
use super::newton::{Finished, minimise};
use crate::problem::Linearization;

/// Iterations that an image of a minimum may take to be certified again.
const MOST_ITERATIONS: u32 = 20;

/// How one of several equivalent vectors is chosen.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'a> {
    /// By the law's own rule.
    Canonical,
    /// The one nearest to given values, one per parameter of the law.
    Nearest(&'a [Option<f64>]),
}

impl Choice<'_> {
    /// Of all of the law's parameters.
    pub fn of(self, symmetries: &Symmetries, natural: &[f64]) -> Vec<f64> {
        match self {
            Choice::Canonical => symmetries.canonical(natural),
            Choice::Nearest(given) => symmetries.nearest(natural, |i| given[i]),
        }
    }
}

/// A minimum with the parameters that are to stand for it: the problem with the parameters on edges, which these are, and
/// the solution. None where it stands for itself.
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
    let problem = if edges.is_empty() { problem.clone() } else { problem.under(models.at_zero(&edges)) };
    let start: Vec<f64> = problem.model.coordinates.iter().map(|c| image[c.parameter]).collect();
    let theta = problem.coordinates(&start);
    let weight = &problem.observations.weight;
    let objective = Linearization::at(&problem, &LaneData::spread(&problem, weight), &theta).objective;
    let limit = agreement_limit(solution.rows.objective, problem.floor);
    if !(objective <= limit) {
        return None;
    }
    let found = minimise(&problem, weight, &theta, MOST_ITERATIONS)?;
    let as_good = found.rows.objective <= limit
        && found.in_range >= solution.in_range
        && found.certificate.holds() >= solution.certificate.holds();
    as_good.then_some((problem, edges, found))
}
