//! Profile likelihood: the values of a parameter at which the objective, minimised over the other parameters, has risen
//! by a given amount.
//!
//! The signed root of the rise, `z(c) = ±√(2·(F(c) − F(ĉ)))`, is nearly linear in the parameter's own scale (Bates & Watts
//! 1988, section 6.1), so its crossing is found by secants in a bracket. The parameter is held at run time
//! ([`Models::holding`]); every refit begins at the optimum of the refit before.

use std::sync::Arc;

use crate::compile::Scale;
use crate::infer::edges::leave_edges;
use crate::optimize::{Fit, Models, Tuning, Workspace, at_edges, falls_below, minimise};
use crate::problem::Problem;

/// The relative error of the root of the rise at which a crossing is found.
const TOLERANCE: f64 = 1e-8;

/// The largest number of refits on one side.
const MOST_REFITS: usize = 60;

/// The distance beyond which a side has no end, in multiples of the first step.
const FARTHEST: f64 = 60.0;

/// The logarithm of the factor by which a positive parameter falls, at which the search goes on in the parameter itself:
/// the objective is smooth at zero, and zero may be the end.
const LOG_FALL: f64 = 2.0;

/// The number of iterations of a refit.
const MOST_ITERATIONS: u32 = 100;

/// What is asked of a profile.
#[derive(Clone, Copy, Debug)]
pub struct ProfileTarget {
    /// The index of the parameter in the law.
    pub parameter: usize,
    /// The scale of the parameter's interval.
    pub scale: Scale,
    /// The distance on this scale at which the first refits are made; none for a parameter on an edge of its domain.
    pub distance: Option<f64>,
    /// The rise of the objective at the ends of the interval.
    pub rise: f64,
    /// The parameter's domain, in natural units.
    pub domain: (f64, f64),
}

/// Returns the profile interval of a parameter, in natural units: an end is that of the domain, or infinite, where the
/// rise is never reached. None where a refit fails or finds a lower objective than the fit.
pub fn profile_interval(
    models: &Models,
    fit: &Fit,
    target: ProfileTarget,
    tuning: &Tuning,
    workspace: &mut Workspace,
) -> Option<(f64, f64)> {
    let estimate = fit.natural[target.parameter];
    let distance = target.distance.unwrap_or_else(|| first_distance(models, fit, target, tuning));
    let is_usable = |x: f64| x > 0.0 && x.is_finite();
    if !(is_usable(target.rise) && is_usable(distance)) {
        return None;
    }
    let mut side = |sign: f64| {
        let models = models.holding(target.parameter);
        let last = fit.natural.clone();
        let farthest = if target.distance.is_some() { FARTHEST * distance } else { f64::INFINITY };
        Side { fit, models, target, distance, farthest, estimate, tuning, workspace: &mut *workspace, last }
            .end(sign)
    };
    Some((side(-1.0)?, side(1.0)?))
}

/// Returns whether the profile of a positive parameter is below its rise at the edge 0: whether zero lies in the interval.
pub fn reaches_zero(
    models: &Models,
    fit: &Fit,
    target: ProfileTarget,
    tuning: &Tuning,
    workspace: &mut Workspace,
) -> bool {
    let ProfileTarget { parameter, rise, domain: (least, _), .. } = target;
    if least != 0.0 {
        return false;
    }
    // Without the parameter the law often has other parameters less, which a model that holds it would go on fitting.
    let problem = fit.problem.with_model(models.at_zero(&[parameter]));
    let start = start_at(&problem, &fit.natural, tuning);
    let weight = &problem.observations.weight;
    let level = fit.objective() + rise;
    falls_below(&problem, weight, &start, (level, MOST_ITERATIONS), workspace.reference()) == Some(true)
}

/// Returns parameters in natural units as the coordinates of a problem where a refit starts; those on the edge 0 are moved off
/// it, because another parameter may pull them off.
fn start_at(problem: &Problem, natural: &[f64], tuning: &Tuning) -> Vec<f64> {
    let coordinates = &problem.model.coordinates;
    let natural: Vec<f64> = coordinates.iter().map(|c| natural[c.parameter]).collect();
    let mut start = problem.coordinates(&natural);
    let on_edge: Vec<usize> =
        (0..problem.p()).filter(|&i| coordinates[i].scale == Scale::Log && natural[i] == 0.0).collect();
    if !on_edge.is_empty() {
        leave_edges(problem, &on_edge, &mut start, &tuning.replicates);
    }
    start
}

/// The distance at which the first refit is made, as a fraction of a parameter's range, where nothing else is known.
const BLIND_DISTANCE: f64 = 1e-3;

/// Returns a distance from the edge of its domain at which a parameter begins to affect the predictions.
fn first_distance(models: &Models, fit: &Fit, target: ProfileTarget, tuning: &Tuning) -> f64 {
    let problem = fit.problem.with_model(Arc::clone(models.full()));
    let coordinates = &problem.model.coordinates;
    let natural: Vec<f64> = coordinates.iter().map(|c| fit.natural[c.parameter]).collect();
    let mut theta = problem.coordinates(&natural);
    let own: Vec<usize> =
        (0..problem.p()).filter(|&i| coordinates[i].parameter == target.parameter).collect();
    leave_edges(&problem, &own, &mut theta, &tuning.replicates);
    let estimate = fit.natural[target.parameter];
    let distance = (problem.natural(&theta)[target.parameter] - estimate).abs();
    if distance > 0.0 && distance.is_finite() {
        return distance;
    }
    let (least, most) = target.domain;
    let range = most - least;
    BLIND_DISTANCE * if range.is_finite() { range } else { estimate.abs().max(1.0) }
}

/// One side of a profile.
struct Side<'a> {
    fit: &'a Fit,
    /// The law with the parameter held.
    models: Arc<Models>,
    target: ProfileTarget,
    /// The distance of the first refit from the estimate, on the scale of the target.
    distance: f64,
    /// The distance beyond which there is no end; infinite for a parameter on an edge, whose first distance says nothing of its
    /// uncertainty.
    farthest: f64,
    estimate: f64,
    tuning: &'a Tuning,
    workspace: &'a mut Workspace,
    /// The optimum of the last refit, in natural units.
    last: Vec<f64>,
}

impl Side<'_> {
    /// Returns the end of the interval on the side of `sign`.
    fn end(mut self, sign: f64) -> Option<f64> {
        let ProfileTarget { scale, domain: (least, most), .. } = self.target;
        let distance = self.distance;
        let edge = if sign < 0.0 { least } else { most };
        if self.estimate == edge {
            return Some(edge);
        }
        if scale == Scale::Log && self.estimate > 0.0 {
            let bound = scale.transform(edge);
            let fall = if sign < 0.0 { LOG_FALL } else { f64::INFINITY };
            let from = scale.transform(self.estimate);
            match self.follow(scale, (from, 0.0), sign * distance, (bound, fall))? {
                Crossing::At(end) => return Some(scale.natural(end)),
                Crossing::Edge | Crossing::Never => return Some(edge),
                Crossing::BeyondFall(inside, rise) => {
                    // From here the first trial is the edge itself.
                    let from = (scale.natural(inside), rise);
                    let step = if edge.is_finite() { edge - from.0 } else { -from.0 };
                    return match self.follow(Scale::Linear, from, step, (edge, f64::INFINITY))? {
                        Crossing::At(end) => Some(end),
                        _ => Some(edge),
                    };
                }
            }
        }
        // A positive parameter at zero has no logarithm.
        match self.follow(Scale::Linear, (self.estimate, 0.0), sign * distance, (edge, f64::INFINITY))? {
            Crossing::At(end) => Some(end),
            _ => Some(edge),
        }
    }

    /// Follows the profile from a point inside, whose root of the rise is given, by a first step, up to a bound, or until it
    /// is `fall` away.
    fn follow(
        &mut self,
        scale: Scale,
        from: (f64, f64),
        step: f64,
        (bound, fall): (f64, f64),
    ) -> Option<Crossing> {
        let wanted = (2.0 * self.target.rise).sqrt();
        let limit = |v: f64| if step < 0.0 { v.max(bound) } else { v.min(bound) };
        let (mut inside, mut outside): ((f64, f64), Option<(f64, f64)>) = (from, None);
        // The point before the last one, for secants.
        let mut before = from;
        let mut trial = limit(from.0 + step);
        for _ in 0..MOST_REFITS {
            let rise = self.root_of_rise(scale.natural(trial), wanted)?;
            if (rise / wanted - 1.0).abs() <= TOLERANCE {
                return Some(Crossing::At(trial));
            }
            let at = (trial, rise);
            if rise < wanted {
                inside = at;
                if trial == bound {
                    return Some(Crossing::Edge);
                }
            } else {
                outside = Some(at);
            }
            let secant = trial + (wanted - rise) * (trial - before.0) / (rise - before.1);
            before = at;
            trial = match outside {
                Some(outside) => {
                    let width = outside.0 - inside.0;
                    if width.abs() <= 4.0 * f64::EPSILON * outside.0.abs() {
                        return Some(Crossing::At(outside.0));
                    }
                    let (near, far) = (inside.0 + 1e-3 * width, outside.0 - 1e-3 * width);
                    let is_between = (secant - near) * (secant - far) < 0.0;
                    if is_between { secant } else { inside.0 + 0.5 * width }
                }
                None => {
                    let so_far = inside.0 - from.0;
                    let next = (secant - from.0) / so_far;
                    // NaN where the profile is flat.
                    let growth = if next > 1.0 { next.min(4.0) } else { 4.0 };
                    let next = from.0 + growth * so_far;
                    if (next - from.0).abs() > fall {
                        return Some(Crossing::BeyondFall(inside.0, inside.1));
                    }
                    if so_far.abs() > self.farthest {
                        return Some(Crossing::Never);
                    }
                    limit(next)
                }
            };
        }
        None
    }

    /// Returns the root of twice the rise of the objective where the parameter has a value; none where the refit ends at
    /// an uncertified point above the level `wanted`, or below the fit.
    fn root_of_rise(&mut self, value: f64, wanted: f64) -> Option<f64> {
        let Fit { problem: fitted, .. } = self.fit;
        let mut held = self.last.clone();
        held[self.target.parameter] = value;
        let problem = fitted.holding(Arc::clone(self.models.full()), &[value]);
        let start = start_at(&problem, &held, self.tuning);
        let weight = problem.observations.weight.clone();
        let found = minimise(&problem, &weight, &start, MOST_ITERATIONS, self.workspace.reference())?;
        let (problem, found) = if found.is_settled_minimum() {
            (problem, found)
        } else {
            let (problem, _, found) = at_edges(&self.models, problem, &weight, found);
            (problem, found)
        };
        let lowest = self.fit.objective();
        let rise = found.rows.objective - lowest;
        let resolution = 1e-9 * lowest + problem.floor;
        if rise < -resolution || !rise.is_finite() {
            return None;
        }
        let root = (2.0 * rise.max(0.0)).sqrt();
        // The minimum is no higher than an uncertified point.
        if root > wanted && problem.p() > 0 && !found.certificate.holds() {
            return None;
        }
        self.last = problem.natural(&found.theta);
        self.last[self.target.parameter] = value;
        Some(root)
    }
}

/// Where a side of a profile reaches its rise.
enum Crossing {
    /// At a value, on the scale on which the profile was followed.
    At(f64),
    /// Nowhere up to the bound.
    Edge,
    /// Nowhere up to the farthest distance.
    Never,
    /// Beyond the fall; the last point inside and its root of the rise.
    BeyondFall(f64, f64),
}
