//! The diagnosis of a finished fit: its status, its flags, and the sentence that gives the reason.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | status, flags and message, from everything that is known about a fit |
//! | `identifiability` | condition number, rank and undetermined directions of the weighted Jacobian |
//! | `collinearity` | explanations of undetermined directions in terms of the data |
//! | `flags` | the flags, their names and meanings |
//!
//! The folder starts no search and changes no estimate.

pub mod collinearity;
pub mod flags;
pub mod identifiability;

use crate::compile::{LARGEST_LOG, Scale};
use crate::formula::list;
use crate::lanes::scalar;
use crate::law::{Domain, Law};
use crate::problem::{LaneData, Problem};

use self::collinearity::{Collinear, MIN_MOVE, MIN_MOVE_WEAKEST, few_values, movement, movers, narrow_range};
use self::identifiability::{Factor, Identification};
use super::agreement_limit;
use super::infinity::Divergence;
use super::multistart::Multistart;
use super::newton::Finished;
use super::outcome::End;
use super::{Ending, Fit, Flag, Models, Status, Workspace};
use crate::problem::Linearization;

/// The condition number of the Jacobian from which an uncertified point is probably on its way to infinity.
const RUNAWAY: f64 = 3e3;

/// The difference in log-likelihood within which another optimum is a rival of the best.
const RIVAL: f64 = 2.0;

/// The number of searches from which an optimum that only one of them found counts as rarely found.
const MANY_STARTS: usize = 8;

/// Returns a fit with its status, flags and message; `collinear` is the pair of data expressions that are nearly
/// collinear.
pub(in crate::optimize) fn diagnose(
    models: &Models,
    end: End,
    collinear: Option<&Collinear>,
    multistart: &Multistart,
    workspace: &mut Workspace,
) -> Fit {
    let End { problem, edges, solution: found, iterations, divergence, is_path_limit } = end;
    let factor = &mut workspace.factor;
    let law = models.law();
    let n_starts = multistart.starts.len();
    let mut natural = natural_values(law, &problem, &found);
    let mut at_bound = vec![false; law.parameters.len()];
    for &i in &edges {
        at_bound[i] = true;
        natural[i] = 0.0;
    }
    for (i, coordinate) in problem.model.coordinates.iter().enumerate() {
        if found.theta[i] <= coordinate.low || found.theta[i] >= coordinate.high {
            at_bound[coordinate.parameter] = true;
        }
    }
    factor.set(&problem, &found.rows, &found.free);
    let mut undetermined = factor.undetermined();
    if undetermined.is_empty() {
        undetermined = beyond_bounds(&problem, &found);
    }
    let mut inverse = Vec::new();
    let condition = if undetermined.is_empty() {
        inverse.extend_from_slice(factor.inverse());
        factor.natural_condition(&problem, &found.theta)
    } else {
        f64::INFINITY
    };
    let identification = Identification { condition, undetermined, inverse };
    let n_agreeing = multistart.agreeing(found.rows.objective, problem.floor);
    let runner_up = multistart.runner_up(found.rows.objective, problem.floor);
    let case = DiagnosisCase {
        law,
        problem: &problem,
        found: &found,
        factor,
        collinear,
        natural: &natural,
        bound: (0..at_bound.len()).filter(|&i| at_bound[i]).collect(),
        identification: &identification,
        divergence,
        is_path_limit,
        n_free: models.full().coordinates.len(),
        // The results of searches are points of the problem without fixed parameters.
        twin: edges.is_empty() && has_twin(models, &problem, &found, multistart),
        rival: edges.is_empty() && runner_up.is_some_and(|r| is_rival(&problem, &found, r)),
        // Searches towards an edge end before it, at objectives that differ.
        rare: n_starts >= MANY_STARTS && n_agreeing <= 1 && !at_bound.contains(&true),
    };
    let (status, message, flags) = case.verdict();
    Fit {
        n_starts,
        n_agreeing,
        runner_up,
        iterations,
        evaluations: multistart.evaluations(),
        solution: Some(found),
        problem,
        edges,
        natural,
        at_bound,
        identification,
        status,
        message,
        flags,
    }
}

/// The information that a diagnosis is made from.
struct DiagnosisCase<'a> {
    law: &'a Law,
    problem: &'a Problem,
    found: &'a Finished,
    factor: &'a Factor,
    collinear: Option<&'a Collinear>,
    natural: &'a [f64],
    /// The parameters of the law on an edge of their domain.
    bound: Vec<usize>,
    identification: &'a Identification,
    divergence: Option<Divergence>,
    /// Whether the regularisation path converges to the point, which is then a minimum even if it is not settled.
    is_path_limit: bool,
    /// The number of free parameters of the law.
    n_free: usize,
    /// Whether other parameters give the same objective.
    twin: bool,
    /// Whether another optimum is hardly worse.
    rival: bool,
    /// Whether only one of many searches found the optimum.
    rare: bool,
}

impl DiagnosisCase<'_> {
    /// Returns the names of parameters as a list.
    fn names(&self, which: &[usize]) -> String {
        let names: Vec<&str> = which.iter().map(|&i| self.law.parameters[i].name.as_str()).collect();
        list(&names)
    }

    /// Returns status, message and flags.
    fn verdict(&self) -> (Status, String, Vec<Flag>) {
        let mut flags = Vec::new();
        let mut flag = |holds: bool, which: Flag| {
            if holds {
                flags.push(which);
            }
            holds
        };
        let n_distinct = self.problem.observations.n_distinct();
        let certified = self.found.is_settled_minimum()
            || (self.is_path_limit && self.found.in_range && self.found.certificate.holds());
        let divergence = self.divergence.as_ref();
        let directions = &self.identification.undetermined;
        let out_of_range = self.out_of_range();
        let collinear = self.collinear;
        let undetermined = movers(self.problem, &self.found.theta, directions, MIN_MOVE);
        let few = few_values(self.law, self.problem, &undetermined, &self.bound);
        let finite = self.found.rows.objective.is_finite();
        let exchangeable =
            certified && (self.twin || self.rival) && collinear.is_some_and(|c| c.is_same_variable());
        let diverging = !certified && divergence.is_none() && self.identification.condition > RUNAWAY;
        let weakest = if diverging { vec![self.factor.weakest()] } else { Vec::new() };
        let affected = match divergence {
            Some(divergence) => divergence.parameters.iter().map(|(parameter, _)| *parameter).collect(),
            None if diverging => movers(self.problem, &self.found.theta, &weakest, MIN_MOVE_WEAKEST),
            None => undetermined.clone(),
        };
        let narrow = narrow_range(self.law, self.problem, &affected);

        flag(n_distinct < self.n_free, Flag::FewObservations);
        flag(n_distinct == self.n_free && self.n_free > 0, Flag::Saturated);
        flag(few.is_some(), Flag::FewValues);
        flag(narrow.is_some(), Flag::NarrowRange);
        flag(collinear.is_some(), Flag::Collinear);
        flag(!directions.is_empty() && divergence.is_none(), Flag::FreeDirection);
        flag(divergence.is_some() || !out_of_range.is_empty() || diverging, Flag::Runaway);
        flag(!self.bound.is_empty(), Flag::Edge);
        flag(self.twin, Flag::TwinOptimum);
        flag(self.rival, Flag::RivalOptimum);
        flag(self.rare, Flag::RarelyFound);

        let (status, message) = if !finite {
            (Status::Failed, "the best point found is not finite".to_string())
        } else if n_distinct < self.n_free {
            let message = format!(
                "{n_distinct} distinct observations cannot determine {} free parameters",
                self.n_free
            );
            (Status::Underdetermined, message)
        } else if let Some(divergence) = divergence {
            let reasons = narrow.into_iter().chain(collinear.map(|c| c.sentence.clone()));
            (
                Status::Unbounded,
                reasons.fold(self.no_minimum(divergence), |message, reason| message + "; " + &reason),
            )
        } else if !directions.is_empty() && self.natural.iter().all(|x| x.is_finite()) {
            let reason = few.or(narrow).or(collinear.map(|c| c.sentence.clone()));
            (Status::Underdetermined, self.free_directions(&undetermined, reason))
        } else if !out_of_range.is_empty() {
            let message = format!(
                "no finite minimum: the objective has none before {} leaves the range of numbers",
                self.names(&out_of_range)
            );
            (Status::Unbounded, message)
        } else if exchangeable {
            let message = collinear.map_or_else(String::new, |c| {
                format!(
                    "the data does not determine {}: {}, so that their terms can exchange their roles; another \
                     optimum with other values is as good as this one",
                    self.names(&c.parameters),
                    c.sentence
                )
            });
            (Status::Underdetermined, message)
        } else if !certified {
            let mut message = if self.found.certificate.holds() {
                "the best point found is stationary, but it could not be decided whether it is a minimum"
                    .to_string()
            } else if self.problem.model.has_corners && is_corner(self.problem, self.found) {
                "the point lies on a corner of the law, where arguments of `min` or `max` are equal or one of `abs` is \
                 zero: the objective has no derivative there that could certify it"
                    .to_string()
            } else {
                self.found.certificate.failure()
            };
            if diverging {
                message += &self.runaway(&affected, &weakest);
            }
            for reason in narrow.into_iter().chain(collinear.map(|c| c.sentence.clone())) {
                message += &format!("; {reason}");
            }
            (Status::NotConverged, message)
        } else if !self.bound.is_empty() {
            (Status::AtBound, format!("on the edge of its domain: {}", self.values(&self.bound)))
        } else {
            (Status::Converged, String::new())
        };
        (status, message, flags)
    }

    /// Returns the message "no finite minimum: …".
    fn no_minimum(&self, divergence: &Divergence) -> String {
        let name = |i: usize| self.law.parameters[i].name.clone();
        let mut message = format!(
            "no finite minimum: the objective approaches {} as {}",
            divergence.limit,
            divergence.directions(name)
        );
        if !divergence.following.is_empty() {
            message += &format!(", {} following", self.names(&divergence.following));
        }
        if !divergence.without_effect.is_empty() {
            message += &format!("; {} has then no effect", self.names(&divergence.without_effect));
        }
        if let Some(curve) = divergence.curve {
            message += &format!("; the limit is {curve}");
        }
        message
    }

    /// Returns the message "the data does not determine …", with the reason, and how the parameters may be moved.
    fn free_directions(&self, undetermined: &[usize], reason: Option<String>) -> String {
        let mut message = format!("the data does not determine {}", self.names(undetermined));
        let held: Vec<usize> = self.bound.iter().copied().filter(|i| !undetermined.contains(i)).collect();
        if let Some(reason) = reason {
            message += &format!(": {reason}");
        } else if !held.is_empty() {
            message += &format!(" where {}", self.values(&held));
        }
        if undetermined.len() > 1 {
            let directions = &self.identification.undetermined;
            let movement = movement(self.law, self.problem, &self.found.theta, directions, MIN_MOVE);
            message += &format!("; {movement} changes no prediction");
        }
        message
    }

    /// Returns the part of a message that says how parameters may diverge along the weakest direction.
    fn runaway(&self, parameters: &[usize], weakest: &[Vec<f64>]) -> String {
        let movement = movement(self.law, self.problem, &self.found.theta, weakest, MIN_MOVE_WEAKEST);
        format!(
            "; {} may be running away together: {movement} hardly changes the objective (condition number {:.1e})",
            self.names(parameters),
            self.identification.condition
        )
    }

    /// Returns names and values of parameters as a list.
    fn values(&self, which: &[usize]) -> String {
        let value = |&i: &usize| format!("`{}` = {}", self.law.parameters[i].name, self.natural[i]);
        which.iter().map(value).collect::<Vec<String>>().join(", ")
    }

    /// Returns the parameters at an end of the range of float64.
    fn out_of_range(&self) -> Vec<usize> {
        let coordinates = self.problem.model.coordinates.iter().zip(&self.found.theta);
        coordinates
            .filter(|(c, x)| {
                let grows = c.high == LARGEST_LOG && **x >= LARGEST_LOG;
                let vanishes = !self.natural[c.parameter].is_normal();
                !self.natural[c.parameter].is_finite() || c.scale == Scale::Log && (grows || vanishes)
            })
            .map(|(c, _)| c.parameter)
            .collect()
    }
}

/// Returns the undetermined directions that lead from a bound into the domain.
///
/// A coordinate at a bound whose multiplier (its derivative of the objective) is zero is there by chance: along a
/// direction that the data does not determine, a search continues until it meets a bound, and the remaining coordinates
/// then look determined.
fn beyond_bounds(problem: &Problem, found: &Finished) -> Vec<Vec<f64>> {
    let weakly_active = |i: usize| {
        let norm = found.rows.norms[i];
        let multiplier = found.rows.gradient[i].abs() / if norm > 0.0 { norm } else { 1.0 };
        !found.free.contains(&i) && multiplier <= found.certificate.gradient_limit
    };
    let weakly_active: Vec<usize> = (0..problem.p()).filter(|&i| weakly_active(i)).collect();
    if weakly_active.is_empty() {
        return Vec::new();
    }
    let mut free = [&found.free[..], &weakly_active].concat();
    free.sort_unstable();
    let directions = Factor::of(problem, &found.rows, &free).undetermined();
    // A single direction must lead inside forwards or backwards; some combination of several directions always does.
    let leads_inside = |sign: f64| {
        let [direction] = directions.as_slice() else { return true };
        weakly_active.iter().all(|&i| {
            let at_low = found.theta[i] <= problem.model.coordinates[i].low;
            let step = sign * direction[i];
            if at_low { step >= 0.0 } else { step <= 0.0 }
        })
    };
    if leads_inside(1.0) || leads_inside(-1.0) { directions } else { Vec::new() }
}

/// Returns whether a search ended at the same objective at another point: so far away that a parabola through the
/// estimate would have risen by a thousand times the difference within which objectives agree. Equivalent parameter
/// vectors do not count.
fn has_twin(models: &Models, problem: &Problem, found: &Finished, multistart: &Multistart) -> bool {
    let rows = &found.rows;
    let slack = agreement_limit(rows.objective, problem.floor) - rows.objective;
    let rise = |theta: &[f64]| -> f64 {
        let moved = |i: usize| -> f64 {
            let step = theta.iter().zip(&found.theta).enumerate();
            step.map(|(j, (a, b))| rows.jacobian[i * rows.p + j] * (a - b)).sum()
        };
        (0..rows.residual.len())
            .filter(|&i| rows.weight[i] > 0.0)
            .map(|i| {
                // The IRLS weight bounds the loss from above.
                let weight =
                    if rows.residual[i] == 0.0 { rows.weight[i] } else { rows.slope[i] / rows.residual[i] };
                0.5 * weight * moved(i).powi(2)
            })
            .sum()
    };
    let symmetries = models.symmetries();
    let here = if symmetries.is_empty() { Vec::new() } else { problem.natural(&found.theta) };
    let rises = |theta: &[f64]| {
        if symmetries.is_empty() {
            return rise(theta);
        }
        let nearest = symmetries.nearest(&problem.natural(theta), |i| Some(here[i]));
        let natural: Vec<f64> = problem.model.coordinates.iter().map(|c| nearest[c.parameter]).collect();
        rise(&problem.coordinates(&natural))
    };
    multistart
        .outcomes
        .iter()
        .filter(|o| o.ending == Ending::Converged && o.objective <= rows.objective + slack)
        .any(|o| rises(multistart.ends.point(o.start)) > 1e3 * slack)
}

/// The relative step to either side of a point by which corners are detected.
const CORNER_STEP: f64 = 1e-8;

/// The change of a derivative across that step, as a fraction of its size, from which the point is a corner.
const CORNER_JUMP: f64 = 1e-3;

/// Returns whether derivatives of the prediction are discontinuous at a point.
fn is_corner(problem: &Problem, found: &Finished) -> bool {
    let data = LaneData::spread(problem, &problem.observations.weight);
    let p = problem.p();
    (0..p).any(|i| {
        let [low, high] = [-CORNER_STEP, CORNER_STEP].map(|step| {
            let mut theta = found.theta.clone();
            theta[i] += step * (1.0 + theta[i].abs());
            Linearization::at(problem, &data, &theta).jacobian
        });
        (0..p).any(|j| {
            let column =
                |jacobian: &[f64]| -> Vec<f64> { jacobian.iter().skip(j).step_by(p).copied().collect() };
            let (low, high) = (column(&low), column(&high));
            let size = low.iter().chain(&high).map(|x| x.abs()).fold(0.0, f64::max);
            low.iter().zip(&high).any(|(a, b)| (a - b).abs() > CORNER_JUMP * size)
        })
    })
}

/// Returns whether an objective is so little above the best that the data cannot exclude its parameters.
fn is_rival(problem: &Problem, found: &Finished, objective: f64) -> bool {
    let least = found.rows.objective;
    let n = problem.n_weighted() as f64;
    least > 1e3 * problem.floor && 0.5 * n * scalar::ln(objective / least) < RIVAL
}

/// Computes the parameters in natural units, fixed values exactly as given.
fn natural_values(law: &Law, problem: &Problem, found: &Finished) -> Vec<f64> {
    let mut natural = problem.natural(&found.theta);
    // A fixed value is reported exactly, without the rounding of coordinate transformations.
    for (value, parameter) in natural.iter_mut().zip(&law.parameters) {
        if let Domain::Fixed(fixed) = parameter.domain {
            *value = fixed;
        }
    }
    natural
}
