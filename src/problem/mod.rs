//! A law bound to the data of a sweep: the objective and its derivatives, in solver coordinates.
//!
//! The objective is `Σ w·ρ((T(prediction) − T(response))/σ)`, with `T` the logarithm or the identity.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | [`Problem`]: the numbers that a compiled model needs, and its coordinates |
//! | `observations` | the rows of a sweep that a law can use, and the others |
//! | `rejection` | why a row or a sweep cannot be used, and the sentence that says so |
//! | `limits` | rows at which something that the law reads is infinite and the law is not |
//! | `column_set` | columns of one length |
//! | `memory` | a problem from columns in memory |
//! | `loss`, `loss_choice` | the losses ρ, and a loss as the user asks for it |
//! | `objective` | objective, gradient and Hessian over the lanes |
//! | `linearization` | residuals, Jacobian and exact derivatives at one point |
//! | `lane_data`, `table` | the data of up to eight fits side by side, and how it is loaded |
//! | `long` | one fit of many observations, over lanes and threads |
//! | `part` | some observations of a fit, with their weights |
//!
//! The folder knows nothing of searches, of starts, or of where a sweep was read from.

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
pub mod rejection;
#[cfg(test)]
mod tests;

pub use column_set::{ColumnSet, is_number};
pub use lane_data::LaneData;
pub use linearization::{Linearization, total};
pub use long::{LONG, LongData, SAMPLE};
pub use loss::Loss;
pub use loss_choice::LossChoice;
pub use memory::bind_columns;
pub use objective::{
    CurvatureMix, MIN_IRLS_FRACTION, Objective, Order, ProgramWorkspace, Sums, amplitude_equations, outputs,
    outputs_lanes,
};
pub use observations::{Binding, Observations};
pub use part::Part;
pub use rejection::{RejectedValue, Rejection, RejectionCode, RejectionReason, RejectionSubject};

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
    /// The columns that the model reads, in the order of [`Model::read_columns`], one value per observation.
    pub columns: Arc<ColumnSet>,
    /// The weighted mean of each data column of the model.
    pub means: Vec<f64>,
    pub observations: Arc<Observations>,
    /// T(response), one value per observation.
    pub target: Arc<Vec<f64>>,
    /// The diagonal of the trust region's metric, one value per coordinate; 0 where it follows the columns of the
    /// Jacobian.
    pub metric: Vec<f64>,
    /// `Σ w·(size/σ)²`, where the size is 1 for logarithms and the response for linear residuals: the curvature of the
    /// objective in a relative change of all responses.
    pub unit: f64,
    /// The change of the objective that rounding of the responses alone can cause.
    pub floor: f64,
    /// The sum of the weights.
    pub total_weight: f64,
    /// Values of the parameters that the model holds, in natural units, in the law's order.
    pub held: Arc<[f64]>,
}

impl Problem {
    /// Binds a model to observations that are usable for it.
    #[must_use]
    pub fn new(model: Arc<Model>, observations: Arc<Observations>, loss: Loss) -> Problem {
        let mut problem = Problem { observations, ..Problem::empty(model, loss) };
        problem.derive();
        problem
    }

    /// Returns a problem without observations.
    fn empty(model: Arc<Model>, loss: Loss) -> Problem {
        Problem {
            model,
            loss,
            columns: Arc::default(),
            means: Vec::new(),
            observations: Arc::default(),
            target: Arc::default(),
            metric: Vec::new(),
            unit: 0.0,
            floor: 0.0,
            total_weight: 0.0,
            held: Arc::default(),
        }
    }

    /// Binds a law's model to a sweep. Returns the problem and the rows that the law cannot use.
    #[must_use]
    pub fn bind(
        law: &Law,
        model: &Arc<Model>,
        loss: Loss,
        (binding, sweep): (&Binding, &Sweep),
    ) -> (Problem, Vec<Rejection>) {
        let (observations, mut rejections, limits) = Observations::bind(law, model, binding, sweep);
        let mut problem =
            Problem { observations: Arc::new(observations), ..Problem::empty(Arc::clone(model), loss) };
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

    /// Computes everything that follows from model and observations.
    fn derive(&mut self) {
        let Problem { model, observations, held, .. } = &*self;
        let weight = &observations.weight;
        let (columns, means) = observations.columns(model, held);
        let target = match model.residual {
            Residual::Log => Arc::new(observations.response.iter().map(|y| scalar::ln(*y)).collect()),
            Residual::Linear => Arc::clone(&observations.response),
        };
        let scale = |i: usize| 1.0 / observations.sigma_at(i);
        let n = target.len();
        let total_weight = weight.iter().sum();
        // The curvature of the objective in a relative change of the response.
        let unit = (0..n)
            .map(|i| {
                let size = match model.residual {
                    Residual::Log => 1.0,
                    Residual::Linear => target[i],
                };
                weight[i] * (scale(i) * size).powi(2)
            })
            .sum();
        // Logarithms are of order one; the size of linear responses is taken from the data.
        let size = match model.residual {
            Residual::Log => 1.0,
            Residual::Linear => {
                let total: f64 = target.iter().map(|t| t.abs()).sum();
                total / n.max(1) as f64
            }
        };
        let floor = (0..n)
            .map(|i| {
                let rounding = f64::EPSILON * target[i].abs().max(size) * scale(i);
                weight[i] * rounding * rounding
            })
            .sum();
        (self.columns, self.means, self.target) = (Arc::new(columns), means, target);
        (self.total_weight, self.unit, self.floor) = (total_weight, unit, floor);
        self.set_metric();
    }

    /// Returns the problem under another model of the law, with more or fewer of its parameters fixed.
    #[must_use]
    pub fn with_model(&self, model: Arc<Model>) -> Problem {
        let same_columns =
            model.data_columns == self.model.data_columns && model.read_columns == self.model.read_columns;
        let (columns, means) = if same_columns {
            (Arc::clone(&self.columns), self.means.clone())
        } else {
            let (columns, means) = self.observations.columns(&model, &self.held);
            (Arc::new(columns), means)
        };
        let mut problem = Problem { model, columns, means, ..self.clone() };
        problem.set_metric();
        problem
    }

    /// Returns the problem under a model that holds parameters (see [`Law::holding`]), at values in natural units, in the law's order.
    #[must_use]
    pub fn holding(&self, model: Arc<Model>, values: &[f64]) -> Problem {
        let observations = Arc::clone(&self.observations);
        let mut problem = Problem { observations, held: values.into(), ..Problem::empty(model, self.loss) };
        problem.derive();
        problem
    }

    /// Returns the number of observations.
    #[must_use]
    pub fn n(&self) -> usize {
        self.target.len()
    }

    /// Returns the number of observations with positive weight.
    #[must_use]
    pub fn n_weighted(&self) -> usize {
        self.observations.weight.iter().filter(|w| **w > 0.0).count()
    }

    /// Returns whether the fit fills lanes and threads by itself.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.n() > LONG
    }

    /// Returns the observations with non-zero weight, ascending.
    #[must_use]
    pub fn weighted(&self) -> Vec<u32> {
        let weight = &self.observations.weight;
        (0..weight.len() as u32).filter(|&i| weight[i as usize] != 0.0).collect()
    }

    /// Returns the observations with non-zero weight, and their weights.
    #[must_use]
    pub fn taking_part(&self) -> (Vec<u32>, Vec<f64>) {
        let rows = self.weighted();
        let weight = rows.iter().map(|&i| self.observations.weight[i as usize]).collect();
        (rows, weight)
    }

    /// Returns the observations with which starts are made: at most [`SAMPLE`] of those with weight, evenly spaced in
    /// the canonical order, which is that of the responses.
    #[must_use]
    pub fn sample(&self) -> Vec<u32> {
        let weighted = self.weighted();
        let n = weighted.len();
        if n <= SAMPLE {
            return weighted;
        }
        (0..SAMPLE).map(|k| weighted[k * n / SAMPLE]).collect()
    }

    /// Returns the number of free coordinates.
    #[must_use]
    pub fn p(&self) -> usize {
        self.model.coordinates.len()
    }

    /// Returns the law's parameters in natural units at `theta` (solver coordinates).
    #[must_use]
    pub fn natural(&self, theta: &[f64]) -> Vec<f64> {
        self.model.natural.evaluate(theta, &self.means)
    }

    /// Returns the parameters at many points: `thetas` holds p values per point, the result one value per parameter and
    /// point, both row-major.
    #[must_use]
    pub fn naturals(&self, thetas: &[f64]) -> Vec<f64> {
        self.model.natural.evaluate_rows(Level::new(), thetas, &self.means)
    }

    /// Returns `∂ parameter / ∂ coordinate` at `theta`, row-major: one row of p entries per parameter of the law.
    #[must_use]
    pub fn natural_jacobian(&self, theta: &[f64]) -> Vec<f64> {
        self.model.natural_jacobian.evaluate(theta, &self.means)
    }

    /// Returns [`Problem::natural_jacobian`] at many points, p values each, one after the other.
    #[must_use]
    pub fn natural_jacobians(&self, thetas: &[f64]) -> Vec<f64> {
        self.model.natural_jacobian.evaluate_rows(Level::new(), thetas, &self.means)
    }

    /// Returns the solver coordinates of free parameters in natural units, in the order of the coordinates. Values
    /// outside the domain give the nearest coordinate inside.
    #[must_use]
    pub fn coordinates(&self, natural: &[f64]) -> Vec<f64> {
        let mut theta = natural.to_vec();
        self.unshift(&mut theta);
        let shifts = self.model.shift.evaluate(&theta, &self.means);
        self.shift(&mut theta, &shifts);
        theta
    }

    /// Converts many points, p values each, from natural units to solver coordinates in place.
    pub fn to_coordinates(&self, points: &mut [f64]) {
        let p = self.p().max(1);
        points.chunks_mut(p).for_each(|point| self.unshift(point));
        let shifts = self.model.shift.evaluate_rows(Level::new(), points, &self.means);
        for (theta, shifts) in points.chunks_mut(p).zip(shifts.chunks(p)) {
            self.shift(theta, shifts);
        }
    }

    /// Converts natural units to coordinates without their shifts.
    fn unshift(&self, point: &mut [f64]) {
        for (value, coordinate) in point.iter_mut().zip(&self.model.coordinates) {
            *value = match coordinate.scale {
                Scale::Linear => value.clamp(coordinate.low, coordinate.high),
                // Zero has no logarithm; a term of 1e-300 is as small as none.
                Scale::Log => scalar::ln(value.max(1e-300)),
            };
        }
    }

    /// Subtracts the shifts. They depend only on coordinates that have none themselves.
    fn shift(&self, theta: &mut [f64], shifts: &[f64]) {
        for (i, coordinate) in self.model.coordinates.iter().enumerate() {
            match coordinate.scale {
                Scale::Log => theta[i] = (theta[i] - shifts[i]).clamp(coordinate.low, coordinate.high),
                Scale::Linear if shifts[i] != 0.0 => theta[i] *= scalar::exp(-shifts[i]),
                Scale::Linear => {}
            }
        }
    }

    /// Computes the diagonal of the trust region's metric.
    fn set_metric(&mut self) {
        let Problem { model, columns, observations, metric, unit, total_weight, .. } = self;
        let weight = &observations.weight;
        let mean_square = |k: &u32| {
            let finite = columns[*k as usize]
                .iter()
                .zip(weight)
                .filter(|(u, _)| !column_set::is_encoded_infinity(**u));
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
