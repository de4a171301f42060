//! A law bound to a sweep: the objective and its derivatives in the solver's coordinates.
//!
//! * [`ColumnSet`]: columns of one length;
//! * [`observations`]: which rows of a sweep a law can use, and why not the others;
//! * `limits`: rows at which something that the law reads is infinite, and the law is not;
//! * [`Problem`]: the numbers a compiled model needs, ready for the lanes;
//! * [`lane_data`]: data of up to eight fits side by side;
//! * [`long`]: one fit of many observations, over lanes and threads;
//! * [`objective`]: objective, gradient and Hessian over lanes;
//! * [`loss`]: the losses ρ;
//! * [`loss_choice`]: a loss as asked for.

mod column_set;
pub mod lane_data;
mod limits;
mod linearization;
pub mod long;
pub mod loss;
pub mod loss_choice;
pub mod memory;
pub mod objective;
pub mod observations;
mod part;
mod table;
#[cfg(test)]
mod tests;

pub use column_set::{ColumnSet, is_number};
pub use lane_data::LaneData;
pub use linearization::{Linearization, Scratch, total};
pub use long::{LONG, LongData, SAMPLE};
pub use loss::{Loss, LossTerms};
pub use loss_choice::LossChoice;
pub use memory::bind_columns;
pub use objective::{
    LEAST_SHARE, Mix, Objective, Order, ProgramWorkspace, Sums, amplitude_equations, outputs_into,
    outputs_lanes,
};
pub use observations::{Binder, Binding, Observations, Rejection};
pub use part::Part;
pub use table::RowTable;

use std::sync::Arc;

use fearless_simd::Level;

use crate::compile::{Coordinate, Metric, Model, Scale};
use crate::lanes::scalar;
use crate::law::{Law, Residual};
use crate::sweep::Sweep;

/// A compiled model with the data of one sweep.
#[derive(Debug, Clone)]
pub struct Problem {
    pub model: Arc<Model>,
    pub loss: Loss,
    /// One value per observation, per column of the model.
    pub columns: ColumnSet,
    /// Weighted mean of each column.
    pub means: Vec<f64>,
    pub observations: Arc<Observations>,
    /// T(response).
    pub target: Vec<f64>,
    /// Diagonal of the trust region's metric; 0 where it follows the Jacobian's columns.
    pub metric: Vec<f64>,
    /// `Σ w·(size/σ)²`, the size being 1 for logarithms and the response's own for linear residuals.
    pub unit: f64,
    /// What rounding of the responses alone can change in the objective.
    pub floor: f64,
    pub total_weight: f64,
}

/// Vectors of a problem that is done with.
#[derive(Debug, Default)]
pub struct Vectors {
    columns: ColumnSet,
    means: Vec<f64>,
    target: Vec<f64>,
    metric: Vec<f64>,
}

impl Problem {
    /// Binds a model to observations that were found usable for it.
    pub fn new(model: Arc<Model>, observations: Arc<Observations>, loss: Loss) -> Problem {
        let mut problem = Problem { observations, ..Problem::empty(model, loss) };
        problem.derive();
        problem
    }

    /// Without observations.
    fn empty(model: Arc<Model>, loss: Loss) -> Problem {
        Problem {
            model,
            loss,
            columns: ColumnSet::default(),
            means: Vec::new(),
            observations: Arc::default(),
            target: Vec::new(),
            metric: Vec::new(),
            unit: 0.0,
            floor: 0.0,
            total_weight: 0.0,
        }
    }

    /// Binds a law's model to a sweep, in the vectors of a problem that is done with, if there is one. Tells which rows the
    /// law cannot use.
    pub fn bind(
        done: Option<Problem>,
        law: &Law,
        model: &Arc<Model>,
        loss: Loss,
        (binding, sweep): (&Binding, &Sweep),
        binder: &mut Binder,
    ) -> (Problem, Vec<Rejection>) {
        let empty = || Problem::empty(Arc::clone(model), loss);
        let mut problem = Problem { loss, ..done.unwrap_or_else(empty) };
        problem.model.clone_from(model);
        // Those that somebody else still has are not to be written to.
        if Arc::get_mut(&mut problem.observations).is_none() {
            problem.observations = Arc::default();
        }
        let observations = Arc::make_mut(&mut problem.observations);
        let (mut rejections, limits) = observations.bind(law, model, binding, sweep, binder);
        problem.derive();
        if !limits.is_empty() {
            let rows = &problem.observations.rows;
            let place = |limit: &Rejection| rows.iter().position(|row| *row == limit.row);
            let positions: Vec<usize> = limits.iter().filter_map(place).collect();
            let lost = limits::without_value(law, &problem, (binding, sweep), &positions);
            if !lost.is_empty() {
                let is_lost = |limit: &Rejection| lost.iter().any(|&i| rows[i] == limit.row);
                rejections.extend(limits.into_iter().filter(is_lost));
                rejections.sort_by_key(|r| r.row);
                problem.observations = Arc::new(problem.observations.without(&lost));
                problem.derive();
            }
        }
        (problem, rejections)
    }

    /// Computes what follows from model and observations.
    fn derive(&mut self) {
        let Problem { model, columns, means, observations, target, .. } = self;
        let weight = &observations.weight;
        observations.columns_into(model, columns, means);
        target.clone_from(&observations.response);
        if model.residual == Residual::Log {
            target.iter_mut().for_each(|y| *y = scalar::ln(*y));
        }
        let scale = |i: usize| 1.0 / observations.sigma_at(i);
        let n = target.len();
        self.total_weight = weight.iter().sum();
        // A relative change of the response by one is worth this much curvature.
        self.unit = (0..n)
            .map(|i| {
                let size = match model.residual {
                    Residual::Log => 1.0,
                    Residual::Linear => target[i],
                };
                weight[i] * (scale(i) * size).powi(2)
            })
            .sum();
        // Logarithms are of order one by nature; what size linear responses have is for the data to say.
        let size = match model.residual {
            Residual::Log => 1.0,
            Residual::Linear => {
                let total: f64 = target.iter().map(|t| t.abs()).sum();
                total / n.max(1) as f64
            }
        };
        self.floor = (0..n)
            .map(|i| {
                let rounding = f64::EPSILON * target[i].abs().max(size) * scale(i);
                weight[i] * rounding * rounding
            })
            .sum();
        self.set_metric();
    }

    /// The same under another model of the law, with more or fewer of its parameters fixed.
    pub fn under(&self, model: Arc<Model>) -> Problem {
        self.under_with(model, Vectors::default())
    }

    /// The same in vectors that are there.
    pub fn under_with(&self, model: Arc<Model>, vectors: Vectors) -> Problem {
        let Vectors { mut columns, mut means, mut target, metric } = vectors;
        if model.recipes == self.model.recipes {
            columns.clone_from(&self.columns);
            means.clone_from(&self.means);
        } else {
            self.observations.columns_into(&model, &mut columns, &mut means);
        }
        target.clone_from(&self.target);
        let observations = Arc::clone(&self.observations);
        let mut problem = Problem { model, observations, columns, means, target, metric, ..*self };
        problem.set_metric();
        problem
    }

    /// Leaves its vectors.
    pub fn into_vectors(self) -> Vectors {
        let Problem { columns, means, target, metric, .. } = self;
        Vectors { columns, means, target, metric }
    }

    /// Number of observations.
    pub fn n(&self) -> usize {
        self.target.len()
    }

    /// Number of observations with positive weight.
    pub fn n_weighted(&self) -> usize {
        self.observations.weight.iter().filter(|w| **w > 0.0).count()
    }

    /// Whether the fit fills vectors and threads by itself.
    pub fn is_long(&self) -> bool {
        self.n() > LONG
    }

    /// The observations of positive weight.
    pub fn weighted(&self) -> Vec<u32> {
        let mut weighted = Vec::with_capacity(self.n());
        self.weighted_into(&mut weighted);
        weighted
    }

    fn weighted_into(&self, weighted: &mut Vec<u32>) {
        let weight = &self.observations.weight;
        weighted.clear();
        weighted.extend((0..weight.len() as u32).filter(|&i| weight[i as usize] != 0.0));
    }

    /// The same and their weights.
    pub fn taking_part(&self) -> (Vec<u32>, Vec<f64>) {
        let (mut rows, mut weight) = (Vec::new(), Vec::new());
        self.taking_part_into(&mut rows, &mut weight);
        (rows, weight)
    }

    /// The same in vectors that are there.
    pub fn taking_part_into(&self, rows: &mut Vec<u32>, weight: &mut Vec<f64>) {
        self.weighted_into(rows);
        weight.clear();
        weight.extend(rows.iter().map(|&i| self.observations.weight[i as usize]));
    }

    /// Of these as many as show where searches should begin: in a long fit some, evenly over the canonical order,
    /// which is the response's.
    pub fn sample(&self) -> Vec<u32> {
        let mut sample = Vec::new();
        self.sample_into(&mut sample);
        sample
    }

    /// The same in a vector that is there.
    pub fn sample_into(&self, sample: &mut Vec<u32>) {
        self.weighted_into(sample);
        let n = sample.len();
        if n > SAMPLE {
            (0..SAMPLE).for_each(|k| sample[k] = sample[k * n / SAMPLE]);
            sample.truncate(SAMPLE);
        }
    }

    /// Number of free coordinates.
    pub fn p(&self) -> usize {
        self.model.coordinates.len()
    }

    /// Parameters in natural units at `theta`.
    pub fn natural(&self, theta: &[f64]) -> Vec<f64> {
        self.model.natural.evaluate(theta, &self.means)
    }

    /// The same in a vector that is there.
    pub fn natural_into(&self, theta: &[f64], natural: &mut Vec<f64>) {
        self.model.natural.evaluate_into(theta, &self.means, natural);
    }

    /// The same at many points, in a vector that is there: `thetas` holds p values per point, the result one value per
    /// parameter of the law.
    pub fn naturals_into(&self, thetas: &[f64], naturals: &mut Vec<f64>) {
        self.model.natural.evaluate_rows(Level::new(), thetas, &self.means, naturals);
    }

    /// `∂ parameter / ∂ coordinate`, one row of p entries per parameter of the law.
    pub fn natural_jacobian(&self, theta: &[f64]) -> Vec<f64> {
        self.model.natural_jacobian.evaluate(theta, &self.means)
    }

    /// The same in a vector that is there.
    pub fn natural_jacobian_into(&self, theta: &[f64], jacobian: &mut Vec<f64>) {
        self.model.natural_jacobian.evaluate_into(theta, &self.means, jacobian);
    }

    /// Coordinates of free parameters given in natural units, in the coordinates' order. Values outside
    /// the domain give the nearest coordinate inside.
    pub fn coordinates(&self, natural: &[f64]) -> Vec<f64> {
        let mut theta = natural.to_vec();
        self.unshift(&mut theta);
        let shifts = self.model.shift.evaluate(&theta, &self.means);
        self.shift(&mut theta, &shifts);
        theta
    }

    /// The same for many points, p values each, in place; `shifts` is a buffer.
    pub fn to_coordinates(&self, points: &mut [f64], shifts: &mut Vec<f64>) {
        let p = self.p().max(1);
        points.chunks_mut(p).for_each(|point| self.unshift(point));
        self.model.shift.evaluate_rows(Level::new(), points, &self.means, shifts);
        for (theta, shifts) in points.chunks_mut(p).zip(shifts.chunks(p)) {
            self.shift(theta, shifts);
        }
    }

    /// Natural units to coordinates but for their shifts.
    fn unshift(&self, point: &mut [f64]) {
        for (value, coordinate) in point.iter_mut().zip(&self.model.coordinates) {
            *value = match coordinate.scale {
                Scale::Linear => value.clamp(coordinate.low, coordinate.high),
                // Zero has no logarithm: a term of 1e-300 is as good as none.
                Scale::Log => scalar::ln(value.max(1e-300)),
            };
        }
    }

    /// Shifts depend on coordinates alone that have none themselves.
    fn shift(&self, theta: &mut [f64], shifts: &[f64]) {
        for (i, coordinate) in self.model.coordinates.iter().enumerate() {
            match coordinate.scale {
                Scale::Log => theta[i] = (theta[i] - shifts[i]).clamp(coordinate.low, coordinate.high),
                Scale::Linear if shifts[i] != 0.0 => theta[i] *= scalar::exp(-shifts[i]),
                Scale::Linear => {}
            }
        }
    }

    /// Diagonal of the trust region's metric.
    fn set_metric(&mut self) {
        let Problem { model, columns, observations, metric, unit, total_weight, .. } = self;
        let weight = &observations.weight;
        let mean_square = |k: &u32| {
            let finite = columns[*k as usize].iter().zip(weight).filter(|(u, _)| !column_set::is_limit(**u));
            let sum: f64 = finite.map(|(u, w)| w * u * u).sum();
            sum / *total_weight
        };
        let of = |coordinate: &Coordinate| match &coordinate.metric {
            Metric::Unit => *unit,
            Metric::Spread(spread) => *unit * spread.iter().map(mean_square).sum::<f64>(),
            Metric::Column => 0.0,
        };
        metric.clear();
        metric.extend(model.coordinates.iter().map(of));
    }
}
