//! Starts on the floor of the valley: what is linear in logarithms is solved, not drawn.
//!
//! With residuals of logarithms many laws are linear in most of their coordinates once their offset is gone: a power
//! law in `log b` and `c`; a broken one (Caballero et al. 2022) in its amplitude and all its exponents, given where
//! the breaks lie and how sharp they are. So only the offset, the places and the sharpness are drawn. With an offset
//! `e` below the smallest response, `log(y − e)` stands for `log y`, at weight `(1 − e/y)²`, which is how much
//! `log y` feels of it; one linear least-squares problem gives the rest (variable projection: Golub & Pereyra 1973).

use std::sync::Arc;

use fearless_simd::Level;

use crate::law::{Coordinate, LANES, Model, Residual, Role, Scale, StartRule};
use crate::problem::{LaneData, Loss, Mix, Objective, Order, Problem, Sums, Workspace, lanes_of, triangle};

use super::edges::Models;
use super::starts::{Sign, SignedLeastSquares};

/// A law without its offsets, where that is linear in coordinates that would have to be drawn.
#[derive(Debug)]
pub struct Valley {
    /// The problem with the offsets at zero.
    reduced: Problem,
    /// Of its coordinates, those in which it is linear.
    linear: Vec<usize>,
    /// Of the full problem's coordinates, the offsets.
    offsets: Vec<usize>,
    /// The parameters solved for, by index.
    pub solved: Vec<usize>,
}

impl Valley {
    /// None where nothing would be gained.
    pub fn of(models: &Models, problem: &Problem, rules: &[StartRule]) -> Option<Valley> {
        if problem.model.residual != Residual::Log {
            return None;
        }
        let coordinates = &problem.model.coordinates;
        let is_offset = |i: &usize| rules[*i] == StartRule::Floor && coordinates[*i].role == Role::Offset;
        let offsets: Vec<usize> = (0..problem.p()).filter(is_offset).collect();
        let model = if offsets.is_empty() {
            Arc::clone(&problem.model)
        } else {
            let parameters: Vec<usize> = offsets.iter().map(|&i| coordinates[i].parameter).collect();
            models.at_zero(&parameters)
        };
        let linear = log_linear(&model);
        let solved: Vec<usize> = linear.iter().map(|&i| model.coordinates[i].parameter).collect();
        let is_drawn =
            |(c, rule): (&Coordinate, &StartRule)| solved.contains(&c.parameter) && *rule != StartRule::Solve;
        if !coordinates.iter().zip(rules).any(is_drawn) {
            return None;
        }
        let reduced = Problem::new(model, Arc::clone(&problem.observations), problem.loss);
        Some(Valley { reduced, linear, offsets, solved })
    }

    /// Solves the linear coordinates of points given in natural units, in the order of the full problem's coordinates.
    pub fn solve(&self, problem: &Problem, points: &mut [Vec<f64>]) {
        let model = &self.reduced.model;
        let place = |parameter: usize| {
            problem.model.coordinates.iter().position(|c| c.parameter == parameter).unwrap_or_default()
        };
        let places: Vec<usize> = model.coordinates.iter().map(|c| place(c.parameter)).collect();
        let p = model.coordinates.len();
        let (mut workspace, mut sums) = (Workspace::default(), Sums::default());
        let mut data = LaneData::sampled(&self.reduced);
        let (target, weight) = (data.target.clone(), data.weight.clone());
        let signs = vec![Sign::Any; self.linear.len()];
        let mut least_squares = SignedLeastSquares::default();
        for chunk in points.chunks_mut(LANES) {
            let mut thetas: Vec<Vec<f64>> = chunk
                .iter()
                .map(|point| {
                    let natural: Vec<f64> = places.iter().map(|&i| point[i]).collect();
                    self.reduced.coordinates(&natural)
                })
                .collect();
            for (lane, point) in chunk.iter().enumerate() {
                let offset: f64 = self.offsets.iter().map(|&i| point[i]).sum();
                for k in 0..target.len() {
                    let whole = target[k].0[lane];
                    let share = 1.0 - offset * (-whole).exp();
                    data.target[k].0[lane] = whole + share.ln();
                    data.weight[k].0[lane] = weight[k].0[lane] * share * share;
                }
            }
            let objective = Objective {
                model,
                loss: Loss::L2,
                order: Order::Hessian,
                data: &data,
                mix: &Mix::GAUSS_NEWTON,
            };
            objective.evaluate(Level::new(), &lanes_of(&thetas, p), &mut workspace, &mut sums);
            for (lane, (point, theta)) in chunk.iter_mut().zip(&mut thetas).enumerate() {
                let gram = |a: usize, b: usize| sums.packs[1 + p + triangle(a.max(b)) + a.min(b)].0[lane];
                let product = |a: usize| -sums.packs[1 + a].0[lane];
                let steps = least_squares.solve(&self.linear, gram, product, &signs);
                if !steps.iter().all(|step| step.is_finite()) {
                    continue;
                }
                for (&i, step) in self.linear.iter().zip(steps) {
                    theta[i] = (theta[i] + step).clamp(model.coordinates[i].low, model.coordinates[i].high);
                }
                let natural = self.reduced.natural(theta);
                for (c, &i) in model.coordinates.iter().zip(&places) {
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

/// The coordinates in which the prediction's logarithm is jointly linear.
pub fn log_linear(model: &Model) -> Vec<usize> {
    let mut linear: Vec<usize> = Vec::new();
    for i in 0..model.coordinates.len() {
        let curved = |j: usize| model.curved.contains(&(i.max(j), i.min(j)));
        if !curved(i) && !linear.iter().any(|&j| curved(j)) {
            linear.push(i);
        }
    }
    linear
}
