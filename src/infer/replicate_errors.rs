//! Standard errors of the parameters in each replicate, by which the bootstrap-t measures deviations.
//!
//! They are those of residuals of equal variance, `s²·gᵀ(JᵀWJ)⁻¹g` with `s² = Σ w·ρ′²/(n − p)`, at the replicate's optimum and
//! under its weights. For least squares the sums of an evaluation tell all, and eight replicates are evaluated side by side.

use std::sync::Arc;

use fearless_simd::Level;
use rayon::prelude::*;

use crate::compile::{Coordinate, Scale};
use crate::lanes::{LANES, Pack};
use crate::linalg::{cholesky, forward_substitute, triangle};
use crate::optimize::{Fit, Linearization, Models};
use crate::problem::objective::{CurvatureMix, Objective, Order, ProgramWorkspace, Sums};
use crate::problem::{LaneData, Loss, Part, Problem};

use super::context::Context;
use super::covariance::slope_spread;
use super::options::InferenceOptions;
use super::replicates::{CHUNK_VALUES, Replicates, with_responses};
use super::resample::{Sample, Scheme};

/// Returns the standard errors of the parameters in each replicate, row-major like the estimates, on the scale of the
/// parameters' intervals. NaN where a replicate has none.
pub fn replicate_errors(
    models: &Models,
    fit: &Fit,
    replicates: &Replicates,
    options: &InferenceOptions,
    context: &Context,
) -> Vec<f64> {
    let problem = &fit.problem.with_model(Arc::clone(models.full()));
    let mut errors = vec![f64::NAN; replicates.estimates.len()];
    let width = replicates.n_parameters.max(1);
    let chunk = (CHUNK_VALUES / problem.n().max(1)).clamp(1, 256);
    errors.par_chunks_mut(chunk * width).enumerate().for_each(|(c, errors)| {
        let mut scheme = options.resample.scheme(fit, options.seed, context.key_digest);
        let first = c * chunk;
        // A positive parameter on the edge 0 has no logarithm.
        let is_inside = |r: usize| {
            let of = |c: &Coordinate| c.scale == Scale::Linear || replicates.row(r)[c.parameter] > 0.0;
            problem.model.coordinates.iter().all(of)
        };
        let usable = |r: &usize| replicates.converged[*r] && is_inside(*r);
        let chosen: Vec<usize> = (first..first + errors.len() / width).filter(usable).collect();
        let together = if problem.loss.is_quadratic() && !problem.is_long() { LANES } else { 1 };
        let mut group = Group::of(problem, scheme.as_ref(), together);
        for numbers in chosen.chunks(together) {
            group.draw(scheme.as_mut(), numbers);
            group.theta.clear();
            for r in numbers {
                let natural = replicates.row(*r);
                group.theta.extend(problem.model.coordinates.iter().map(|c| natural[c.parameter]));
            }
            problem.to_coordinates(&mut group.theta);
            if together == 1 {
                group.evaluate_one();
            } else {
                group.evaluate(numbers.len());
            }
            let jacobians = problem.natural_jacobians(&group.theta);
            for c in &problem.model.coordinates {
                let of_replicates = group.errors_of(c.parameter, &jacobians);
                for (lane, r) in numbers.iter().enumerate() {
                    let unit = c.scale.per_unit(replicates.row(*r)[c.parameter]);
                    errors[(r - first) * width + c.parameter] = of_replicates.0[lane] / unit;
                }
            }
        }
    });
    errors
}

/// Up to eight replicates of a problem, each in a lane, with buffers that the next ones use.
struct Group<'a> {
    problem: &'a Problem,
    /// The observations, weights and responses of each, one after the other, and how many of them it has.
    rows: Vec<u32>,
    weight: Vec<f64>,
    target: Vec<f64>,
    drawn: [usize; LANES],
    /// The optima, row-major.
    theta: Vec<f64>,
    data: LaneData,
    workspace: ProgramWorkspace,
    sums: Sums,
    /// `s²`; NaN where no residual degree of freedom is left.
    spread: Pack,
    /// The norms of the Jacobian's columns.
    norms: Vec<Pack>,
    /// The Cholesky factor of `JᵀWJ`, square by rows, its columns scaled by the norms.
    factor: Vec<Pack>,
}

impl<'a> Group<'a> {
    /// Returns room for so many replicates.
    fn of(problem: &'a Problem, scheme: &dyn Scheme, together: usize) -> Group<'a> {
        let n = together * problem.n();
        Group {
            problem,
            rows: vec![0; n],
            weight: vec![0.0; n],
            target: vec![0.0; if scheme.makes_responses() { n } else { 0 }],
            drawn: [0; LANES],
            theta: Vec::new(),
            data: LaneData::default(),
            workspace: ProgramWorkspace::default(),
            sums: Sums::default(),
            spread: Pack::ZERO,
            norms: Vec::new(),
            factor: Vec::new(),
        }
    }

    /// Draws the samples of some replicates.
    fn draw(&mut self, scheme: &mut dyn Scheme, numbers: &[usize]) {
        let n = self.problem.n();
        let n_targets = if self.target.is_empty() { 0 } else { n };
        for (lane, r) in numbers.iter().enumerate() {
            let sample = Sample {
                rows: &mut self.rows[lane * n..(lane + 1) * n],
                weight: &mut self.weight[lane * n..(lane + 1) * n],
                target: &mut self.target[lane * n_targets..(lane + 1) * n_targets],
            };
            self.drawn[lane] = scheme.draw(*r as u64, sample);
        }
    }

    /// Returns the sample in a lane.
    fn part(&self, lane: usize) -> Part<'_> {
        let n = self.problem.n();
        let range = lane * n..lane * n + self.drawn[lane];
        let target = (!self.target.is_empty()).then(|| &self.target[range.clone()]);
        Part { rows: &self.rows[range.clone()], weight: &self.weight[range], target }
    }

    /// Evaluates least squares in the first lanes.
    fn evaluate(&mut self, count: usize) {
        let (problem, p) = (self.problem, self.problem.p());
        let mut data = std::mem::take(&mut self.data);
        data.prepare(&problem.model, problem.n(), problem.observations.sigma.is_some());
        data.load_lanes(std::array::from_fn(|lane| (lane < count).then(|| (problem, self.part(lane)))));
        data.pad_lanes(std::array::from_fn(|lane| (lane < count).then_some(problem)));
        let at = |i: usize| Pack(std::array::from_fn(|lane| self.theta[lane.min(count - 1) * p + i]));
        let coordinates: Vec<Pack> = (0..p).map(at).collect();
        let mix = &CurvatureMix::GAUSS_NEWTON;
        let Group { workspace, sums, .. } = self;
        Objective { model: &problem.model, loss: Loss::L2, order: Order::Hessian, data: &data, mix }
            .evaluate(Level::new(), &coordinates, workspace, sums);
        self.data = data;
        let degrees = |lane: usize| self.drawn[lane] as f64 - p as f64;
        let objective = self.sums.packs[0].0;
        self.spread = Pack(std::array::from_fn(|lane| spread_over(2.0 * objective[lane], degrees(lane))));
        let hessian = self.sums.packs[1 + p..1 + p + triangle(p)].to_vec();
        self.factorise(|i, j| hessian[triangle(i) + j]);
    }

    /// Evaluates the replicate in the first lane under any loss.
    fn evaluate_one(&mut self) {
        let (part, p) = (self.part(0), self.problem.p());
        let problem = with_responses(self.problem, part);
        let data = LaneData::spread(&problem, &part.spread(problem.n()));
        let degrees = part.rows.len() as f64 - p as f64;
        let at = Linearization::at(&problem, &data, &self.theta);
        self.spread = Pack::splat(spread_over(slope_spread(&at, 1.0), degrees));
        self.factorise(|i, j| {
            let rows = at.weight.iter().zip(at.jacobian.chunks_exact(p));
            Pack::splat(rows.map(|(weight, row)| weight * row[i] * row[j]).sum())
        });
    }

    /// Factorises `JᵀWJ`, of which `entry` gives the lower triangle.
    fn factorise(&mut self, entry: impl Fn(usize, usize) -> Pack) {
        let p = self.problem.p();
        let norm = |i: usize| {
            let square = entry(i, i);
            Pack(square.0.map(|x| if x > 0.0 { x.sqrt() } else { 1.0 }))
        };
        self.norms = (0..p).map(norm).collect();
        self.factor.clear();
        self.factor.resize(p * p, Pack::ZERO);
        for i in 0..p {
            for j in 0..=i {
                let (x, a, b) = (entry(i, j), self.norms[i], self.norms[j]);
                self.factor[i * p + j] =
                    Pack(std::array::from_fn(|lane| x.0[lane] / (a.0[lane] * b.0[lane])));
            }
        }
        let definite = cholesky(&mut self.factor, p);
        for (spread, definite) in self.spread.0.iter_mut().zip(definite) {
            if !definite {
                *spread = f64::NAN;
            }
        }
    }

    /// Returns the standard errors of a parameter in natural units, given its derivatives in each lane.
    fn errors_of(&self, parameter: usize, jacobians: &[f64]) -> Pack {
        let p = self.problem.p();
        let count = self.theta.len() / p;
        let width = jacobians.len() / count;
        let entry = |i: usize, lane: usize| jacobians[lane.min(count - 1) * width + parameter * p + i];
        let scaled = |i: usize| Pack(std::array::from_fn(|lane| entry(i, lane) / self.norms[i].0[lane]));
        let mut gradient: Vec<Pack> = (0..p).map(scaled).collect();
        // With L the factor, gᵀ·(L·Lᵀ)⁻¹·g = |L⁻¹·g|².
        forward_substitute(&self.factor, p, &mut gradient);
        let form = |lane: usize| gradient.iter().map(|x| x.0[lane] * x.0[lane]).sum::<f64>();
        Pack(std::array::from_fn(|lane| (self.spread.0[lane] * form(lane)).sqrt()))
    }
}

/// Returns a sum of squares over its degrees of freedom; NaN where there are none.
fn spread_over(squares: f64, degrees: f64) -> f64 {
    if degrees > 0.0 { squares / degrees } else { f64::NAN }
}
