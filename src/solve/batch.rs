//! Many searches of one model at once, one per lane.
//!
//! A lane whose search has ended is given the next task at once, so that no search waits for a slower
//! neighbour. Every lane's arithmetic is its own: what a search finds does not depend on which others share
//! its batch, nor on the order in which they are taken.

use fearless_simd::Level;

use crate::law::{LANES, Model, Pack};
use crate::problem::{LaneData, Loss, Objective, Order, Problem, Sums, Workspace, lanes_of, triangle};

use super::search::{Ending, Evaluation, Search, Terrain};

/// One search to be made.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    pub problem: &'a Problem,
    pub terrain: &'a Terrain,
    pub weight: &'a [f64],
    pub start: &'a [f64],
}

/// What all tasks of a batch share.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    pub model: &'a Model,
    pub loss: Loss,
    /// The largest number of observations of a task.
    pub most_observations: usize,
    pub has_sigma: bool,
}

impl<'a> Kind<'a> {
    /// The kind of tasks on one problem.
    pub fn of(problem: &'a Problem) -> Kind<'a> {
        Kind {
            model: &problem.model,
            loss: problem.loss,
            most_observations: problem.n(),
            has_sigma: problem.observations.sigma.is_some(),
        }
    }
}

/// How a search ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The task's number.
    pub task: usize,
    pub theta: Vec<f64>,
    pub objective: f64,
    pub iterations: u32,
    pub ending: Ending,
}

/// Buffers for batches of one model; reused from batch to batch.
#[derive(Debug)]
pub struct Batch {
    level: Level,
    workspace: Workspace,
    sums: Sums,
    coordinates: Vec<Pack>,
    searches: Vec<Search>,
    found: Evaluation,
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            level: Level::new(),
            workspace: Workspace::default(),
            sums: Sums::default(),
            coordinates: Vec::new(),
            searches: vec![Search::default(); LANES],
            found: Evaluation::default(),
        }
    }
}

/// The order of derivatives that pays: second derivatives of the law where the loss is near-absolute
/// (most residuals then have no curvature of their own), Gauss–Newton for least squares.
pub fn order_for(loss: Loss) -> Order {
    if loss.is_quadratic() { Order::GaussNewton } else { Order::Exact }
}

impl Batch {
    /// Runs tasks `0..n` of one kind; `task(i)` describes the i-th, `done(i, outcome)` takes the results, in the
    /// order in which searches end.
    pub fn run<'a>(
        &mut self,
        kind: Kind,
        n: usize,
        mut task: impl FnMut(usize) -> Task<'a>,
        mut done: impl FnMut(usize, Outcome),
    ) {
        let Kind { model, loss, most_observations, has_sigma } = kind;
        let p = model.coordinates.len();
        let order = order_for(loss);
        let mut data = LaneData::for_fits(model, most_observations, has_sigma);
        self.coordinates.resize(p, Pack::ZERO);
        self.found.resize(p);
        let mut lanes: [Option<(usize, Task<'a>)>; LANES] = [None; LANES];
        let mut loaded: [Option<(*const Problem, *const f64)>; LANES] = [None; LANES];
        let mut next = 0;
        loop {
            for lane in 0..LANES {
                if lanes[lane].is_some() || next == n {
                    continue;
                }
                let taken = task(next);
                // Starts of one sweep share their data: it stays in the lane.
                let identity = (std::ptr::from_ref(taken.problem), taken.weight.as_ptr());
                if loaded[lane] != Some(identity) {
                    data.load_lane(lane, taken.problem, taken.weight);
                    loaded[lane] = Some(identity);
                }
                self.searches[lane].begin(taken.start, taken.terrain);
                lanes[lane] = Some((next, taken));
                next += 1;
            }
            if lanes.iter().all(Option::is_none) {
                return;
            }
            data.settle(lanes.map(|lane| lane.map(|(_, task)| task.problem)));
            for (i, pack) in self.coordinates.iter_mut().enumerate() {
                for lane in 0..LANES {
                    if lanes[lane].is_some() {
                        pack.0[lane] = self.searches[lane].trial()[i];
                    }
                }
            }
            Objective { model, loss, order, data: &data }.evaluate(
                self.level,
                &self.coordinates,
                &mut self.workspace,
                &mut self.sums,
            );
            for lane in 0..LANES {
                let Some((index, taken)) = lanes[lane] else { continue };
                extract(&self.sums, lane, p, &mut self.found);
                let search = &mut self.searches[lane];
                if let Some(ending) = search.observe(&mut self.found, taken.terrain) {
                    done(
                        index,
                        Outcome {
                            task: index,
                            theta: search.theta.clone(),
                            objective: search.at.objective,
                            iterations: search.iterations,
                            ending,
                        },
                    );
                    lanes[lane] = None;
                }
            }
        }
    }

    /// Objectives at `n` points of one problem.
    pub fn objectives(&mut self, problem: &Problem, points: &[Vec<f64>]) -> Vec<f64> {
        let data = LaneData::repeated(problem);
        let objective =
            Objective { model: &problem.model, loss: problem.loss, order: Order::Value, data: &data };
        let mut objectives = Vec::with_capacity(points.len());
        for chunk in points.chunks(LANES) {
            let coordinates = lanes_of(chunk, problem.p());
            objective.evaluate(self.level, &coordinates, &mut self.workspace, &mut self.sums);
            objectives.extend_from_slice(&self.sums.packs[0].0[..chunk.len()]);
        }
        objectives
    }
}

fn extract(sums: &Sums, lane: usize, p: usize, into: &mut Evaluation) {
    into.resize(p);
    into.objective = sums.packs[0].0[lane];
    for i in 0..p {
        into.gradient[i] = sums.packs[1 + i].0[lane];
    }
    for k in 0..triangle(p) {
        into.hessian[k] = sums.packs[1 + p + k].0[lane];
    }
}
