//! Whether the objective has a finite minimum, or only flattens towards infinity.
//!
//! # Method
//!
//! A point whose Newton step is not small against its coordinates, that could not be certified, or that leaves a direction
//! free is judged by a path. To the objective `F(θ)` is added `½·λ·Σ((θ − m)/u)²` over the coordinates in which the
//! prediction is not linear, `m` and `u` being the middle and the half-width of the region where the law's starts are
//! drawn. The minimum of the sum is finite and unique along every flat direction. As `λ` falls, it
//!
//! * comes to rest where `F` has a finite minimum: what `λ` moves it by is proportional to `λ`;
//! * converges at `m` along a direction that changes nothing, so that the data leaves a direction free there too;
//! * goes on without end where `F` only flattens: where `F` approaches its limit as `exp(−t)` or a power of `t`, by the
//!   same distance, or in the same proportion, for every decade of `λ`.
//!
//! So what counts is how far the path goes in its last steps, compared with the steps before. The limit, the parameters
//! that leave all bounds and those that make no difference any more are classify off the path's end.
//!
//! Nothing but the law, the data and the point enters. (Regularisation paths: Tikhonov 1963; Hoerl & Kennard 1970. That a
//! least-squares problem of exponentials may have no minimum: Demidenko 1989, Wynn & Bloomfield 1971.)

mod limit_curve;
mod regularization_path;

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::compile::{Coordinate, Role, Scale};
use crate::formula::names;
use crate::law::{Residual, list};
use crate::problem::{LaneData, Problem};

use self::limit_curve::{LimitCurve, recognise};
use self::regularization_path::{Order, Path, PathPoint, step_in_chart};
use super::models::Models;
use super::newton::{Finished, Region, minimise, minimise_within, resolution};
use super::starts::StartWorkspace;
use crate::problem::Linearization;

/// A path has come to rest where its last step is below this share of the one before, or of the coordinates.
const CONVERGED_RATIO: f64 = 0.1;
const CONVERGED_STEP: f64 = 1e-4;

/// A path that ends above the point that is judged by more than this, relatively, is in another valley.
const MAX_RISE: f64 = 1e-2;

/// A parameter that changes by more than this share of itself along the last step of a path without end takes part.
/// One that changes by more than the second share follows.
const DIVERGING_CHANGE: f64 = 0.02;
const FOLLOWING_CHANGE: f64 = 1e-3;

/// A parameter that changes the residuals by less than this share of them, in squares, when it is changed by as much as
/// itself, and by less than the second share of what it was a step before, has no effect in the limit.
const SMALL_EFFECT: f64 = 1e-3;
const EFFECT_RATIO: f64 = 0.3;

/// A coordinate of which the interval reaches no farther than this, in its chart, ends there.
const MIN_REACH: f64 = 0.5;

/// Iterations without a penalty, where the path has come to rest.
const MAX_ITERATIONS: u32 = 50;

/// A parameter that grows by more than this factor while the step along a path doubles has no end.
const MIN_GROWTH: f64 = 1.5;

/// What the objective does around a point.
#[derive(Clone, Debug)]
pub enum LimitBehaviour {
    /// It has a finite minimum, near this point.
    Minimum(Finished),
    /// It has a limit, but no minimum; a point on the way there.
    Unbounded(Divergence, Finished),
    /// The path led elsewhere.
    Unknown,
}

/// How the objective falls without end.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The law's parameters that leave all bounds, or go to zero, and where to.
    pub parameters: Vec<(usize, Towards)>,
    /// Those that stay finite but have not come to rest: they make up for the others.
    pub following: Vec<usize>,
    /// Those that make no difference in the limit.
    pub without_effect: Vec<usize>,
    /// The lowest objective on the way.
    pub limit: f64,
    /// The curve that the predictions tend to, where its kind is known.
    pub curve: Option<LimitCurve>,
}

/// Where a parameter goes.
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
    /// "`c`, `d` → ∞, `b` → 0".
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

    /// Whether parameters go to zero and nowhere else: to the edge of their domains, which may be a legitimate answer.
    pub fn is_edge(&self) -> bool {
        self.parameters.iter().all(|(_, towards)| *towards == Towards::Zero)
    }
}

/// Follows the path from a point: at first under large penalties, which leave no valley that is hard to follow; where that
/// leads into another valley, under small ones first.
pub fn limit_behaviour(
    models: &Models,
    problem: &Problem,
    from: &Finished,
    workspace: &mut StartWorkspace,
) -> LimitBehaviour {
    let mut path = Path::new(models, problem, from, workspace);
    for order in [Order::LargestFirst, Order::LeastFirst] {
        path.follow(order);
        let found = classify(problem, &path, from);
        if !matches!(found, LimitBehaviour::Unknown) {
            return found;
        }
    }
    LimitBehaviour::Unknown
}

/// How far a coordinate may go, as far as a parabola tells, and what the objective may rise by.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    pub coordinate: usize,
    /// In the coordinate's units, one way.
    pub distance: f64,
    pub rise: f64,
}

/// Intervals reach no farther than this many times what they would if residuals were alike.
const MAX_REACH_RATIO: f64 = 10.0;

/// Whether an interval of a coordinate, which is known approximate, is worth following.
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

/// The parameters of the law that the data does not keep from leaving all bounds, and where to: with coordinates that can be
/// followed to the end of their charts while the objective stays within reach of its minimum.
///
/// Coordinates that are known to a small part of their unit are not followed: the parabola would have to flatten within it.
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
            // Steps are doubled, so that the last one is long whatever the first.
            if path.stays_below(reach.coordinate, step.clamp(-1.0, 1.0), level)
                && let [.., last, end] = path.points.as_slice()
            {
                // The path shows that the coordinate has no end. Of the others, those that the prediction is linear in
                // are as free; the rest may move within bounds of their own, and are followed themselves.
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

/// What a path that has been followed says.
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
    if converges {
        let region = Region::of(problem).beyond_range();
        let found = minimise_within(problem, region, weight, &end.theta, MAX_ITERATIONS);
        // A minimum at parameters that are no numbers is none.
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
    let point = finite.and_then(|point| minimise(problem, weight, &point.theta, 0));
    point.map_or(LimitBehaviour::Unknown, |point| LimitBehaviour::Unbounded(divergence, point))
}

/// The curve that predictions in one variable tend to.
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
        None => values_of(format!("log({variable})"))?.iter().map(|x| x.exp()).collect(),
    };
    let [before, end] = [before, end].map(|rows| {
        let mut values = rows.value.clone();
        if problem.model.residual == Residual::Log {
            values.iter_mut().for_each(|value| *value = value.exp());
        }
        values
    });
    recognise(&values, &before, &end)
}

/// Whether zero is an end of a coordinate's domain.
fn ends_at_zero(coordinate: &Coordinate) -> bool {
    coordinate.scale == Scale::Log || coordinate.low == 0.0 || coordinate.high == 0.0
}

/// Which parameters of the law leave all bounds or go to zero along a step from `near` to `far`, natural units, and which
/// follow without coming to rest.
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

fn largest_response(problem: &Problem) -> f64 {
    problem.observations.response.iter().map(|y| y.abs()).fold(0.0, f64::max)
}

/// Which parameters take part in a path without end, by its last step.
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
