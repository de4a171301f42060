//! Decides whether the objective has a finite minimum or only flattens towards infinity.
//!
//! # Method
//!
//! A point is examined where its Newton step is not small against its coordinates, where it could not be certified, or
//! where the data does not determine a direction. A penalty `½·λ·Σ((θ − m)/u)²` over the coordinates in which the
//! prediction is not linear is added to the objective `F(θ)`, with `m` and `u` the middle and the half-width of the
//! region from which starts are drawn. The penalised minimum is finite, and unique along every flat direction. As `λ`
//! falls, the path of these minima
//!
//! * converges where `F` has a finite minimum: its distance from the minimum is proportional to `λ`;
//! * stays at `m` along a direction that has no effect, which the data then does not determine;
//! * diverges where `F` only flattens: where `F` approaches its limit as `exp(−t)` or a power of `t`, the path moves by
//!   the same distance, or by the same factor, for every decade of `λ`.
//!
//! So the criterion is the length of the path's last steps compared with the steps before. The limit of the objective,
//! the parameters that diverge and those without effect in the limit are read off the end of the path. The result
//! depends on the law, the data and the point only.
//!
//! Sources: regularisation paths, Tikhonov 1963 and Hoerl & Kennard 1970; least squares of exponentials without a
//! minimum, Demidenko 1989 and Wynn & Bloomfield 1971.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the criterion, parameters that diverge, parameters without a finite interval |
//! | `regularization_path` | penalised minima for one penalty after the other |
//! | `limit_curve` | the kind of curve that the predictions tend to |
//!
//! The folder knows nothing of searches from other starts or of the status of a fit.

mod limit_curve;
mod regularization_path;

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::compile::{Coordinate, Role, Scale};
use crate::formula::list;
use crate::formula::names;
use crate::lanes::scalar;
use crate::law::Residual;
use crate::problem::{LaneData, Problem};

use self::limit_curve::{LimitCurve, recognise};
use self::regularization_path::{Path, PathPoint, PenaltyOrder, step_in_chart};
use super::models::Models;
use super::newton::{Finished, MinimiseWorkspace, Region, minimise, minimise_within, resolution};
use super::starts::StartWorkspace;
use crate::problem::Linearization;

/// The ratio of the path's last step to the one before, below which the path has converged.
const CONVERGED_RATIO: f64 = 0.1;

/// The length of the path's last step below which it has converged.
const CONVERGED_STEP: f64 = 1e-4;

/// The relative rise of the objective from the examined point to the end of the path, above which the path belongs to
/// another minimum.
const MAX_RISE: f64 = 1e-2;

/// The relative change of a parameter along the last step of a diverging path from which it is one of the diverging
/// parameters.
const DIVERGING_CHANGE: f64 = 0.02;

/// The relative change from which a parameter is said to follow the diverging ones.
const FOLLOWING_CHANGE: f64 = 1e-3;

/// The effect of a relative change of a parameter on the residuals, in squares and as a fraction of the objective,
/// below which it may have no effect in the limit.
const SMALL_EFFECT: f64 = 1e-3;

/// The ratio of that effect to the effect one step before, below which the effect vanishes in the limit.
const EFFECT_RATIO: f64 = 0.3;

/// The half-length of an interval in the coordinate's chart below which its end is finite.
const MIN_REACH: f64 = 0.5;

/// The number of iterations without a penalty after the path has converged.
const MAX_ITERATIONS: u32 = 50;

/// The factor by which a parameter must grow when a step along the path doubles, to count as unbounded.
const MIN_GROWTH: f64 = 1.5;

/// The behaviour of the objective on the regularisation path from a point.
#[derive(Clone, Debug)]
pub enum LimitBehaviour {
    /// There is a finite minimum, near this point.
    Minimum(Finished),
    /// There is an infimum but no minimum; the point lies on the way to it.
    Unbounded(Divergence, Finished),
    /// The path belongs to another minimum, or could not be followed.
    Unknown,
}

/// How parameters diverge while the objective approaches its infimum.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The law's parameters that diverge or tend to zero, and where to.
    pub parameters: Vec<(usize, Towards)>,
    /// The parameters that stay finite but have not converged: they compensate the others.
    pub following: Vec<usize>,
    /// The parameters without effect in the limit.
    pub without_effect: Vec<usize>,
    /// The lowest objective on the path.
    pub limit: f64,
    /// The kind of curve that the predictions tend to, where it is known.
    pub curve: Option<LimitCurve>,
}

/// The limit of a diverging parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    Infinity,
    MinusInfinity,
    Zero,
}

impl std::fmt::Display for Towards {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Towards::Infinity => "∞",
            Towards::MinusInfinity => "−∞",
            Towards::Zero => "0",
        })
    }
}

impl Divergence {
    /// Returns a phrase such as "`c`, `d` → ∞, `b` → 0".
    pub fn directions(&self, name: impl Fn(usize) -> String) -> String {
        let mut phrases = Vec::new();
        for towards in [Towards::Infinity, Towards::MinusInfinity, Towards::Zero] {
            let those = self.parameters.iter().filter(|(_, t)| *t == towards);
            let names: Vec<String> = those.map(|(i, _)| name(*i)).collect();
            if !names.is_empty() {
                phrases.push(format!("{} → {towards}", list(&names)));
            }
        }
        phrases.join(", ")
    }

    /// Returns whether parameters tend to zero and nowhere else: to the edge of their domains, which may be a
    /// legitimate estimate.
    #[must_use]
    pub fn is_edge(&self) -> bool {
        self.parameters.iter().all(|(_, towards)| *towards == Towards::Zero)
    }
}

/// Follows the regularisation path from a point, at first from large penalties down, which make the minimisation well
/// conditioned. Where that path belongs to another minimum, it is followed from small penalties up.
pub fn limit_behaviour(
    models: &Models,
    problem: &Problem,
    from: &Finished,
    workspace: &mut StartWorkspace,
) -> LimitBehaviour {
    let mut path = Path::new(models, problem, from, workspace);
    for order in [PenaltyOrder::LargestFirst, PenaltyOrder::LeastFirst] {
        path.follow(order);
        let found = classify(problem, &path, from);
        if !matches!(found, LimitBehaviour::Unknown) {
            return found;
        }
    }
    LimitBehaviour::Unknown
}

/// The end of a coordinate's interval in the quadratic approximation.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    pub coordinate: usize,
    /// The half-length of the interval, in solver coordinates.
    pub distance: f64,
    /// The rise of the objective at the end of the interval.
    pub rise: f64,
}

/// The largest ratio of a half-length to the one that follows from residuals of equal variance.
const MAX_REACH_RATIO: f64 = 10.0;

/// Returns whether the interval of a coordinate, whose half-length is known approximately, may have an infinite end.
pub fn may_be_unbounded(
    models: &Models,
    (problem, from): (&Problem, &Finished),
    coordinate: usize,
    approximate: Option<f64>,
) -> bool {
    let Some(approximate) = approximate else { return true };
    step_in_chart(models, problem, from, coordinate, MAX_REACH_RATIO * approximate)
        .is_some_and(|step| step > MIN_REACH)
}

/// Returns the parameters of the law that the data does not bound, and where they diverge to: those whose coordinates
/// can be followed to the end of their charts while the objective stays below its rise at the end of the interval.
///
/// Coordinates that are known to a small part of their unit are not followed: the objective would have to leave its
/// quadratic approximation within that part.
pub fn unbounded_parameters(
    models: &Models,
    (problem, from): (&Problem, &Finished),
    reaches: &[Reach],
    workspace: &mut StartWorkspace,
) -> Vec<(usize, Towards)> {
    if reaches.is_empty() {
        return Vec::new();
    }
    let mut path = Path::new(models, problem, from, workspace);
    let mut found: Vec<(usize, Towards)> = Vec::new();
    for reach in reaches {
        let Some(step) = step_in_chart(models, problem, from, reach.coordinate, reach.distance)
            .filter(|step| *step > MIN_REACH)
        else {
            continue;
        };
        let level = from.rows.objective + reach.rise;
        for step in [step, -step] {
            // Steps are doubled, so the last one is long whatever the first.
            if path.stays_below(reach.coordinate, step.clamp(-1.0, 1.0), level)
                && let [.., last, end] = path.points.as_slice()
            {
                // The path shows that this coordinate is unbounded. Coordinates in which the prediction is linear are
                // unbounded with it; the others may move within bounds of their own and are followed separately.
                let (near, far) = (problem.natural(&last.theta), problem.natural(&end.theta));
                let coordinates = &problem.model.coordinates;
                let follows = |i: usize| {
                    let is_linear = |c: &&Coordinate| c.parameter == i && c.is_conditionally_linear();
                    coordinates.iter().any(|c| is_linear(&c)) && far[i].abs() > MIN_GROWTH * near[i].abs()
                };
                let (parameters, _) = moving(problem, &near, &far);
                let own = coordinates[reach.coordinate].parameter;
                found.extend(parameters.into_iter().filter(|(i, _)| *i == own || follows(*i)));
            }
        }
    }
    found
}

/// Returns the behaviour of the objective on a path that has been followed.
fn classify(problem: &Problem, path: &Path, from: &Finished) -> LimitBehaviour {
    let points = &path.points;
    let [.., last, end] = points.as_slice() else { return LimitBehaviour::Unknown };
    if end.objective > from.rows.objective * (1.0 + MAX_RISE) + path.scale * MAX_RISE {
        return LimitBehaviour::Unknown;
    }
    let steps: Vec<f64> = points.windows(2).map(|pair| pair[0].distance(&pair[1])).collect();
    let converges = match steps.as_slice() {
        [.., before, last] => *last < CONVERGED_STEP || *last < CONVERGED_RATIO * before,
        _ => return LimitBehaviour::Unknown,
    };
    let weight = &problem.observations.weight;
    let mut workspace = MinimiseWorkspace::default();
    if converges {
        let region = Region::of(problem).beyond_range();
        let found = minimise_within(problem, region, weight, &end.theta, MAX_ITERATIONS, &mut workspace);
        // A minimum must have finite parameters.
        match found {
            None => return LimitBehaviour::Unknown,
            Some(found) if found.in_range => return LimitBehaviour::Minimum(found),
            Some(_) => {}
        }
    }
    let limit = points.iter().map(|point| point.objective).fold(f64::INFINITY, f64::min);
    let divergence = divergence(problem, last, end, limit, from);
    if divergence.parameters.is_empty() {
        return LimitBehaviour::Unknown;
    }
    let is_finite = |point: &&PathPoint| problem.natural(&point.theta).iter().all(|x| x.is_finite());
    let finite = points.iter().rev().find(is_finite);
    let point = finite.and_then(|point| minimise(problem, weight, &point.theta, 0, &mut workspace));
    point.map_or(LimitBehaviour::Unknown, |point| LimitBehaviour::Unbounded(divergence, point))
}

/// Returns the kind of curve that predictions in one variable tend to.
fn limit_curve(problem: &Problem, before: &Linearization, end: &Linearization) -> Option<LimitCurve> {
    let sources = &problem.model.sources;
    let all: BTreeSet<&str> = sources.iter().flat_map(names).collect();
    let [variable] = all.into_iter().collect::<Vec<_>>()[..] else { return None };
    let values_of = |text: String| {
        let source = sources.iter().position(|source| source.to_string() == text)?;
        Some(problem.observations.source(source))
    };
    let values: Cow<[f64]> = match values_of(variable.to_string()) {
        Some(values) => values.into(),
        None => values_of(format!("log({variable})"))?.iter().map(|x| scalar::exp(*x)).collect(),
    };
    let [before, end] = [before, end].map(|rows| {
        let mut values = rows.value.clone();
        if problem.model.residual == Residual::Log {
            values.iter_mut().for_each(|value| *value = scalar::exp(*value));
        }
        values
    });
    recognise(&values, &before, &end)
}

/// Returns whether zero is an end of a coordinate's domain.
fn ends_at_zero(coordinate: &Coordinate) -> bool {
    coordinate.scale == Scale::Log || coordinate.low == 0.0 || coordinate.high == 0.0
}

/// Returns the parameters of the law that diverge or tend to zero along a step from `near` to `far` (natural units),
/// and those that follow without converging.
fn moving(problem: &Problem, near: &[f64], far: &[f64]) -> (Vec<(usize, Towards)>, Vec<usize>) {
    let size = largest_response(problem);
    let (mut parameters, mut following) = (Vec::new(), Vec::new());
    for coordinate in &problem.model.coordinates {
        let i = coordinate.parameter;
        let unit = match coordinate.role {
            Role::Offset | Role::LowEnd | Role::HighEnd => size.max(near[i].abs()),
            _ => near[i].abs(),
        };
        let grows = !far[i].is_finite() || far[i].abs() > unit * (1.0 + DIVERGING_CHANGE);
        let shrinks = far[i].abs() < near[i].abs() / (1.0 + DIVERGING_CHANGE);
        if grows {
            let up = far[i] > 0.0 || far[i].is_nan();
            parameters.push((i, if up { Towards::Infinity } else { Towards::MinusInfinity }));
        } else if shrinks && ends_at_zero(coordinate) {
            parameters.push((i, Towards::Zero));
        } else if !coordinate.is_conditionally_linear()
            && (far[i] - near[i]).abs() > FOLLOWING_CHANGE * near[i].abs()
        {
            following.push(i);
        }
    }
    (parameters, following)
}

/// Returns the largest absolute response.
fn largest_response(problem: &Problem) -> f64 {
    problem.observations.response.iter().map(|y| y.abs()).fold(0.0, f64::max)
}

/// Returns how parameters diverge along the last step of a path.
fn divergence(
    problem: &Problem,
    last: &PathPoint,
    end: &PathPoint,
    limit: f64,
    from: &Finished,
) -> Divergence {
    let (near, far) = (problem.natural(&last.theta), problem.natural(&end.theta));
    let (parameters, mut following) = moving(problem, &near, &far);
    let size = largest_response(problem);
    let data = LaneData::spread(problem, &problem.observations.weight);
    let [before, rows] = [last, end].map(|point| Linearization::at(problem, &data, &point.theta));
    let slack = problem.floor + resolution(&from.theta, &from.rows);
    let without_effect = |&i: &usize| {
        let coordinate = &problem.model.coordinates[i];
        let unit = match coordinate.scale {
            Scale::Log => 1.0,
            Scale::Linear if coordinate.is_conditionally_linear() => size.max(end.theta[i].abs()),
            Scale::Linear => end.theta[i].abs(),
        };
        let moved = |rows: &Linearization| (rows.norms[i] * unit).powi(2);
        let (there, here) = (moved(&before), moved(&rows));
        let vanishes = here < SMALL_EFFECT * limit && here < there * EFFECT_RATIO;
        let takes_part = parameters.iter().any(|(p, _)| *p == coordinate.parameter);
        (vanishes || here <= slack) && !takes_part
    };
    let without_effect: Vec<usize> =
        (0..problem.p()).filter(without_effect).map(|i| problem.model.coordinates[i].parameter).collect();
    following.retain(|i| !without_effect.contains(i));
    let curve = limit_curve(problem, &before, &rows);
    Divergence { parameters, following, without_effect, limit, curve }
}
