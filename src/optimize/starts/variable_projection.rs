//! Starting points by variable projection, for laws that are linear in logarithms once their offset is subtracted.
//!
//! With residuals of logarithms many laws are linear in most of their coordinates without their offset: a power law in
//! `log b` and `c`; a broken one (Caballero et al. 2022) in its amplitude and all its exponents, given the places and
//! the sharpness of its breaks. So only the offset, the places and the sharpness are drawn. With an offset `e` below
//! the smallest response, `log(y − e)` replaces `log y`, at weight `(1 − e/y)²`, the squared derivative of `log y` with
//! respect to `log(y − e)`; one linear least-squares problem gives the other coordinates (Golub & Pereyra 1973).

use std::sync::Arc;

use fearless_simd::{dispatch, f64x8};

use crate::compile::{Coordinate, Model, Role, Scale};
use crate::lanes::{self, LANES, Lanes, Pack, scalar};
use crate::law::Residual;
use crate::linalg::triangle;
use crate::optimize::starts::start_rules::StartRule;
use crate::problem::{LaneData, Loss, Order, Problem};

use super::amplitudes::Sign;
use super::workspace::StartWorkspace;

/// The law with its offsets at zero, where that is linear in coordinates that would otherwise be drawn.
#[derive(Debug)]
pub struct LogLinearPart {
    /// The law with the offsets at zero.
    model: Arc<Model>,
    /// The coordinates in which it is linear.
    linear: Vec<usize>,
    /// Their signs, which are open.
    signs: Vec<Sign>,
    /// For each of its coordinates, the coordinate of the full law.
    places: Vec<usize>,
    /// The offsets among the coordinates of the full law.
    offsets: Vec<usize>,
    /// The parameters solved for, by index.
    pub solved: Vec<usize>,
}

impl LogLinearPart {
    /// Returns the log-linear part of a law; none where it has no coordinate that would otherwise be drawn.
    pub fn of(
        full: &Arc<Model>,
        rules: &[StartRule],
        at_zero: &dyn Fn(&[usize]) -> Arc<Model>,
    ) -> Option<LogLinearPart> {
        if full.residual != Residual::Log {
            return None;
        }
        let coordinates = &full.coordinates;
        let is_offset = |i: &usize| rules[*i] == StartRule::Floor && coordinates[*i].role == Role::Offset;
        let offsets: Vec<usize> = (0..coordinates.len()).filter(is_offset).collect();
        let model = if offsets.is_empty() {
            Arc::clone(full)
        } else {
            let parameters: Vec<usize> = offsets.iter().map(|&i| coordinates[i].parameter).collect();
            at_zero(&parameters)
        };
        let linear: Vec<usize> = model.linear.iter().map(|&(i, _)| i).collect();
        let solved: Vec<usize> = linear.iter().map(|&i| model.coordinates[i].parameter).collect();
        let is_drawn =
            |(c, rule): (&Coordinate, &StartRule)| solved.contains(&c.parameter) && *rule != StartRule::Solve;
        if !coordinates.iter().zip(rules).any(is_drawn) {
            return None;
        }
        let place = |c: &Coordinate| {
            coordinates.iter().position(|own| own.parameter == c.parameter).unwrap_or_default()
        };
        let places = model.coordinates.iter().map(place).collect();
        let signs = vec![Sign::Any; linear.len()];
        Some(LogLinearPart { model, linear, signs, places, offsets, solved })
    }

    /// Returns a problem with the offsets at zero.
    pub fn reduced(&self, problem: &Problem) -> Problem {
        problem.with_model(Arc::clone(&self.model))
    }

    /// Solves the linear coordinates of every other point. Points are in natural units, in the order of the full
    /// problem's coordinates. The other points keep their draws, because some regions of attraction cannot be reached
    /// from solved exponents.
    pub fn solve(&self, problem: &Problem, reduced: &Problem, workspace: &mut StartWorkspace) {
        let StartWorkspace { evaluator, sample, points, packs, least_squares, thetas, inverse, .. } =
            workspace;
        let LogLinearPart { model, linear, signs, places, offsets, .. } = self;
        let p = model.coordinates.len();
        let solved = |k: usize| 2 * k;
        thetas.clear(p);
        thetas.resize(points.len().div_ceil(2));
        for k in 0..thetas.len() {
            let point = points.point(solved(k));
            thetas.point_mut(k).iter_mut().zip(places).for_each(|(x, &i)| *x = point[i]);
        }
        reduced.to_coordinates(thetas.values_mut());
        evaluator.load(reduced, sample);
        inverse.clear();
        inverse.extend(sample.iter().map(|&i| scalar::exp(-reduced.target[i as usize])));
        for first in (0..thetas.len()).step_by(LANES) {
            let count = thetas.in_pack(first);
            let mut offset = Pack::ZERO;
            for lane in 0..count {
                let point = points.point(solved(first + lane));
                offset.0[lane] = offsets.iter().map(|&i| point[i]).sum();
            }
            let LaneData { target, weight, .. } = &mut evaluator.data;
            let whole = (&reduced.target[..], &reduced.observations.weight[..]);
            let part = (&mut target[..], &mut weight[..]);
            dispatch!(evaluator.level, simd => subtract_offset::<f64x8<_>>(simd, &offset, whole, (sample, inverse), part));
            thetas.pack(first, packs);
            let sums = evaluator.objective(model, Loss::L2, Order::Hessian, packs);
            // The linear coordinates are ascending, as the triangle of the sums requires.
            let gram = |a: usize, b: usize| sums[1 + p + triangle(linear[a]) + linear[b]];
            let product = |a: usize| Pack(sums[1 + linear[a]].0.map(|slope| -slope));
            let steps = least_squares.solve(gram, product, signs);
            let finite = |lane: usize| steps.iter().all(|step| step.0[lane].is_finite());
            for lane in (0..count).filter(|&lane| finite(lane)) {
                let theta = thetas.point_mut(first + lane);
                for (&i, step) in linear.iter().zip(steps) {
                    let (low, high) = model.bounds[i];
                    theta[i] = (theta[i] + step.0[lane]).clamp(low, high);
                }
            }
            let naturals = reduced.naturals(&thetas.values()[first * p..(first + count) * p]);
            let n_parameters = naturals.len() / count;
            for lane in (0..count).filter(|&lane| finite(lane)) {
                let natural = &naturals[lane * n_parameters..(lane + 1) * n_parameters];
                let point = points.point_mut(solved(first + lane));
                for (c, &i) in model.coordinates.iter().zip(places) {
                    let value = natural[c.parameter];
                    let positive = problem.model.coordinates[i].scale == Scale::Log;
                    if value.is_finite() && (value > 0.0 || !positive) {
                        point[i] = value;
                    }
                }
            }
        }
    }
}

/// Computes targets and weights of `sample` with the offsets of eight points subtracted: `log(y − e) = log y + log(1 −
/// e/y)`. `inverse` is `1/y`.
#[inline(always)]
fn subtract_offset<L: Lanes>(
    token: L::Token,
    offset: &Pack,
    (whole, weight): (&[f64], &[f64]),
    (sample, inverse): (&[u32], &[f64]),
    (targets, weights): (&mut [Pack], &mut [Pack]),
) {
    let offset = L::load(token, &offset.0);
    let one = L::splat(token, 1.0);
    let rows = sample.iter().zip(inverse).zip(targets.iter_mut().zip(weights));
    for ((&i, &inverse), (target_of_row, weight_of_row)) in rows {
        let fraction = one - offset * L::splat(token, inverse);
        let target = L::splat(token, whole[i as usize]) + lanes::ln(fraction);
        target.store(&mut target_of_row.0);
        (L::splat(token, weight[i as usize]) * fraction * fraction).store(&mut weight_of_row.0);
    }
}
