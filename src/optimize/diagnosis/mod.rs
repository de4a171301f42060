//! The verdict on a fit: its status, the flags, and the sentence that says why.

pub mod collinearity;
pub mod flags;
pub mod identifiability;

use crate::compile::{LARGEST_LOG, Scale};
use crate::law::{Domain, Law, list};
use crate::problem::{LaneData, Problem};

use self::collinearity::{Collinear, MOVES, MOVES_MUCH, few_values, movement, movers, narrow_range};
use self::identifiability::{Factor, Identification};
use super::agreement_limit;
use super::infinity::Escape;
use super::multistart::Searched;
use super::newton::Finished;
use super::outcome::End;
use super::spare::Estimated;
use super::{Ending, Fit, Flag, Models, Status, Workspace};
use crate::problem::Linearization;

/// An uncertified point whose Jacobian is this ill-conditioned is probably on its way to infinity.
const RUNAWAY: f64 = 3e3;

/// Another optimum within this log-likelihood of the best is a rival.
const RIVAL: f64 = 2.0;

/// Of at least this many searches one alone found the optimum: it was found rarely.
const MANY_STARTS: usize = 8;

/// Puts status, flags and message to where a fit has ended; `collinear` is what of the data moves together.
pub(in crate::optimize) fn judge(
    models: &Models,
    end: End,
    collinear: Option<&Collinear>,
    searched: &Searched,
    workspace: &mut Workspace,
) -> Fit {
    let End { problem, edges, solution: found, iterations, escape, rests } = end;
    let Workspace { factor, spare, .. } = workspace;
    let law = models.law();
    let n_starts = searched.starts.len();
    let Estimated { mut natural, mut at_bound, mut inverse } = spare.estimated();
    natural_values(law, &problem, &found, &mut natural);
    at_bound.clear();
    at_bound.resize(law.parameters.len(), false);
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
    inverse.clear();
    let condition = if undetermined.is_empty() {
        inverse.extend_from_slice(factor.inverse());
        factor.natural_condition(&problem, &found.theta)
    } else {
        f64::INFINITY
    };
    let identification = Identification { condition, undetermined, inverse };
    let n_agreeing = searched.agreeing(found.rows.objective, problem.floor);
    let runner_up = searched.runner_up(found.rows.objective, problem.floor);
    let case = Case {
        law,
        problem: &problem,
        found: &found,
        factor,
        collinear,
        natural: &natural,
        bound: (0..at_bound.len()).filter(|&i| at_bound[i]).collect(),
        identification: &identification,
        escape,
        rests,
        n_free: models.full().coordinates.len(),
        // Outcomes are points of the law's own problem.
        twin: edges.is_empty() && has_twin(models, &problem, &found, searched),
        rival: edges.is_empty() && runner_up.is_some_and(|r| is_rival(&problem, &found, r)),
        // Searches towards an edge end short of it.
        rare: n_starts >= MANY_STARTS && n_agreeing <= 1 && !at_bound.contains(&true),
    };
    let (status, message, flags) = case.verdict();
    Fit {
        n_starts,
        n_agreeing,
        runner_up,
        iterations,
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

/// What the verdict is made from.
struct Case<'a> {
    law: &'a Law,
    problem: &'a Problem,
    found: &'a Finished,
    factor: &'a Factor,
    collinear: Option<&'a Collinear>,
    natural: &'a [f64],
    /// Parameters of the law on an edge of their domain.
    bound: Vec<usize>,
    identification: &'a Identification,
    escape: Option<Escape>,
    /// Whether the point, if it is not settled, is a minimum all the same.
    rests: bool,
    n_free: usize,
    twin: bool,
    rival: bool,
    rare: bool,
}

impl Case<'_> {
    fn names(&self, which: &[usize]) -> String {
        let names: Vec<&str> = which.iter().map(|&i| self.law.parameters[i].name.as_str()).collect();
        list(&names)
    }

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
            || (self.rests && self.found.in_range && self.found.certificate.holds());
        let escape = self.escape.as_ref();
        let directions = &self.identification.undetermined;
        let endless = self.endless();
        let collinear = self.collinear;
        let undetermined = movers(self.problem, &self.found.theta, directions, MOVES);
        let few = few_values(self.law, self.problem, &undetermined, &self.bound);
        let finite = self.found.rows.objective.is_finite();
        let exchangeable =
            certified && (self.twin || self.rival) && collinear.is_some_and(|c| c.is_same_variable());
        let running = !certified && escape.is_none() && self.identification.condition > RUNAWAY;
        let weakest = if running { vec![self.factor.weakest()] } else { Vec::new() };
        let loose = match escape {
            Some(escape) => escape.parameters.iter().map(|(parameter, _)| *parameter).collect(),
            None if running => movers(self.problem, &self.found.theta, &weakest, MOVES_MUCH),
            None => undetermined.clone(),
        };
        let narrow = narrow_range(self.law, self.problem, &loose);

        flag(n_distinct < self.n_free, Flag::FewObservations);
        flag(n_distinct == self.n_free && self.n_free > 0, Flag::Saturated);
        flag(few.is_some(), Flag::FewValues);
        flag(narrow.is_some(), Flag::NarrowRange);
        flag(collinear.is_some(), Flag::Collinear);
        flag(!directions.is_empty() && escape.is_none(), Flag::FreeDirection);
        flag(escape.is_some() || !endless.is_empty() || running, Flag::Runaway);
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
        } else if let Some(escape) = escape {
            let reasons = narrow.into_iter().chain(collinear.map(|c| c.sentence.clone()));
            (
                Status::Unbounded,
                reasons.fold(self.no_minimum(escape), |message, reason| message + "; " + &reason),
            )
        } else if !directions.is_empty() && self.natural.iter().all(|x| x.is_finite()) {
            let reason = few.or(narrow).or(collinear.map(|c| c.sentence.clone()));
            (Status::Underdetermined, self.free_directions(&undetermined, reason))
        } else if !endless.is_empty() {
            let message = format!(
                "no finite minimum: the objective has none before {} leaves the range of numbers",
                self.names(&endless)
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
                "the point is stationary, but whether it is a minimum could not be told".to_string()
            } else if self.problem.model.has_corners && is_corner(self.problem, self.found) {
                "the point lies on a corner of the law, where arguments of `min` or `max` are equal or one of `abs` is \
                 zero: the objective has no derivative there that could certify it"
                    .to_string()
            } else {
                self.found.certificate.failure()
            };
            if running {
                message += &self.runaway(&loose, &weakest);
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

    /// "no finite minimum: …".
    fn no_minimum(&self, escape: &Escape) -> String {
        let name = |i: usize| self.law.parameters[i].name.clone();
        let mut message = format!(
            "no finite minimum: the objective approaches {} as {}",
            escape.limit,
            escape.directions(name)
        );
        if !escape.following.is_empty() {
            message += &format!(", {} following", self.names(&escape.following));
        }
        if !escape.without_effect.is_empty() {
            message += &format!("; {} has then no effect", self.names(&escape.without_effect));
        }
        if let Some(curve) = escape.curve {
            message += &format!("; the limit is {curve}");
        }
        message
    }

    /// "the data does not determine …", why, and how the parameters may be moved.
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
            let movement = movement(self.law, self.problem, &self.found.theta, directions, MOVES);
            message += &format!("; {movement} changes no prediction");
        }
        message
    }

    /// How the parameters run away, along the weakest direction.
    fn runaway(&self, parameters: &[usize], weakest: &[Vec<f64>]) -> String {
        let movement = movement(self.law, self.problem, &self.found.theta, weakest, MOVES_MUCH);
        format!(
            "; {} may be running away together: {movement} hardly changes the objective (condition number {:.1e})",
            self.names(parameters),
            self.identification.condition
        )
    }

    fn values(&self, which: &[usize]) -> String {
        let value = |&i: &usize| format!("`{}` = {}", self.law.parameters[i].name, self.natural[i]);
        which.iter().map(value).collect::<Vec<String>>().join(", ")
    }

    /// Parameters at an end of the range of numbers: a logarithm has no zero to reach.
    fn endless(&self) -> Vec<usize> {
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

/// Undetermined directions that lead from a bound into the domain.
///
/// A coordinate at its bound that the gradient does not press against it is there by chance: where the data leaves a
/// direction free, a search follows it until it meets a bound, and the rest then looks determined.
fn beyond_bounds(problem: &Problem, found: &Finished) -> Vec<Vec<f64>> {
    let unpressed = |i: usize| {
        let norm = found.rows.norms[i];
        let pressure = found.rows.gradient[i].abs() / if norm > 0.0 { norm } else { 1.0 };
        !found.free.contains(&i) && pressure <= found.certificate.gradient_limit
    };
    let unpressed: Vec<usize> = (0..problem.p()).filter(|&i| unpressed(i)).collect();
    if unpressed.is_empty() {
        return Vec::new();
    }
    let mut free = [&found.free[..], &unpressed].concat();
    free.sort_unstable();
    let directions = Factor::of(problem, &found.rows, &free).undetermined();
    // One direction can be followed forwards or backwards; some combination of several can be.
    let leads_inside = |sign: f64| {
        let [direction] = directions.as_slice() else { return true };
        unpressed.iter().all(|&i| {
            let at_low = found.theta[i] <= problem.model.coordinates[i].low;
            let step = sign * direction[i];
            if at_low { step >= 0.0 } else { step <= 0.0 }
        })
    };
    if leads_inside(1.0) || leads_inside(-1.0) { directions } else { Vec::new() }
}

/// Whether a search ended at the same objective elsewhere: so far that a parabola through the estimate would have
/// risen by a thousand times the difference at which objectives still count as the same. Other parameters for the same curve
/// are not elsewhere.
fn has_twin(models: &Models, problem: &Problem, found: &Finished, searched: &Searched) -> bool {
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
                // The weight of reweighted least squares: no loss rises faster than that.
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
    searched
        .outcomes
        .iter()
        .filter(|o| o.ending == Ending::Converged && o.objective <= rows.objective + slack)
        .any(|o| rises(searched.ends.point(o.start)) > 1e3 * slack)
}

/// How far coordinates are moved to either side to see a corner, and the share of a derivative's size that it changes by.
const ASIDE: f64 = 1e-8;
const JUMPS: f64 = 1e-3;

/// Whether derivatives of the prediction jump at a point.
fn is_corner(problem: &Problem, found: &Finished) -> bool {
    let data = LaneData::spread(problem, &problem.observations.weight);
    let p = problem.p();
    (0..p).any(|i| {
        let [low, high] = [-ASIDE, ASIDE].map(|step| {
            let mut theta = found.theta.clone();
            theta[i] += step * (1.0 + theta[i].abs());
            Linearization::at(problem, &data, &theta).jacobian
        });
        (0..p).any(|j| {
            let column =
                |jacobian: &[f64]| -> Vec<f64> { jacobian.iter().skip(j).step_by(p).copied().collect() };
            let (low, high) = (column(&low), column(&high));
            let size = low.iter().chain(&high).map(|x| x.abs()).fold(0.0, f64::max);
            low.iter().zip(&high).any(|(a, b)| (a - b).abs() > JUMPS * size)
        })
    })
}

/// Whether an objective is so little worse that the data cannot rule its parameters out.
fn is_rival(problem: &Problem, found: &Finished, objective: f64) -> bool {
    let least = found.rows.objective;
    let n = problem.n_weighted() as f64;
    least > 1e3 * problem.floor && 0.5 * n * (objective / least).ln() < RIVAL
}

fn natural_values(law: &Law, problem: &Problem, found: &Finished, natural: &mut Vec<f64>) {
    problem.natural_into(&found.theta, natural);
    // A fixed value is reported as given, not as it comes back through arithmetic.
    for (value, parameter) in natural.iter_mut().zip(&law.parameters) {
        if let Domain::Fixed(fixed) = parameter.domain {
            *value = fixed;
        }
    }
}
