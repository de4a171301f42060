//! Data of up to eight fits side by side, or of one fit spread over the lanes.

use std::cell::Cell;

use crate::law::{LANES, Model, Pack};

use super::Problem;

/// Columns, targets and weights as the compiled programs read them.
#[derive(Clone, Debug, Default)]
pub struct LaneData {
    /// Packs in use per column.
    pub n_packs: usize,
    /// Packs allocated per column.
    pub stride: usize,
    pub columns: Vec<Cell<Pack>>,
    pub target: Vec<Pack>,
    pub weight: Vec<Pack>,
    /// `1/σ`; empty where every σ is 1.
    pub inverse_sigma: Vec<Pack>,
    /// Means of the columns, one pack per column.
    pub means: Vec<Pack>,
    /// Per lane: packs that hold data of the lane's fit, padding included, and the observation that pads.
    filled: [usize; LANES],
    padding: [u32; LANES],
    /// Scratch: the observations of positive weight.
    kept: Vec<u32>,
}

impl LaneData {
    /// Room for eight fits of up to `n` observations of a model.
    pub fn for_fits(model: &Model, n: usize, has_sigma: bool) -> LaneData {
        let column = vec![Pack::ZERO; n];
        LaneData {
            n_packs: 0,
            stride: n,
            columns: vec![Cell::new(Pack::ZERO); n * model.recipes.len()],
            target: column.clone(),
            weight: column.clone(),
            inverse_sigma: if has_sigma { column } else { Vec::new() },
            means: vec![Pack::ZERO; model.recipes.len()],
            ..LaneData::default()
        }
    }

    /// Puts one fit's data into a lane. Observations of weight zero are left out; call [`LaneData::settle`]
    /// when all lanes are loaded.
    pub fn load_lane(&mut self, lane: usize, problem: &Problem, weight: &[f64]) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        kept.extend((0..weight.len() as u32).filter(|&i| weight[i as usize] != 0.0));
        self.set(lane, 0, problem, &kept);
        for (pack, &i) in self.weight.iter_mut().zip(&kept) {
            pack.0[lane] = weight[i as usize];
        }
        self.filled[lane] = kept.len();
        self.padding[lane] = kept.first().copied().unwrap_or(0);
        self.kept = kept;
        for (mean, &value) in self.means.iter_mut().zip(&problem.means) {
            mean.0[lane] = value;
        }
    }

    /// Makes all loaded lanes equally long: shorter ones go on with their first observation at weight zero,
    /// which adds exact zeros to every sum. `problems` are the lanes' own, `None` for lanes not in use.
    pub fn settle(&mut self, problems: [Option<&Problem>; LANES]) {
        let longest = (0..LANES).filter(|&l| problems[l].is_some()).map(|l| self.filled[l]).max();
        self.n_packs = longest.unwrap_or(0).max(self.n_packs);
        for (lane, problem) in problems.iter().enumerate() {
            if let Some(problem) = problem {
                let (from, to) = (self.filled[lane], self.n_packs);
                if from < to {
                    let padding = vec![self.padding[lane]; to - from];
                    self.set(lane, from, problem, &padding);
                    self.weight[from..to].iter_mut().for_each(|pack| pack.0[lane] = 0.0);
                    self.filled[lane] = to;
                }
            }
        }
    }

    /// Writes observations into a lane from pack `from` on, weights aside.
    fn set(&mut self, lane: usize, from: usize, problem: &Problem, observations: &[u32]) {
        for (c, column) in problem.columns.iter().enumerate() {
            let start = c * self.stride + from;
            for (cell, &i) in self.columns[start..].iter_mut().zip(observations) {
                cell.get_mut().0[lane] = column[i as usize];
            }
        }
        for (pack, &i) in self.target[from..].iter_mut().zip(observations) {
            pack.0[lane] = problem.target[i as usize];
        }
        if !self.inverse_sigma.is_empty() {
            for (pack, &i) in self.inverse_sigma[from..].iter_mut().zip(observations) {
                pack.0[lane] = 1.0 / problem.observations.sigma_at(i as usize);
            }
        }
    }

    /// The same fit in all lanes, for evaluating it at eight points.
    pub fn repeated(problem: &Problem) -> LaneData {
        let has_sigma = problem.observations.sigma.is_some();
        let mut data = LaneData::for_fits(&problem.model, problem.n(), has_sigma);
        for lane in 0..LANES {
            data.load_lane(lane, problem, &problem.observations.weight);
        }
        data.settle([Some(problem); LANES]);
        data
    }

    /// One fit spread over the lanes: observation i sits in lane i mod 8 of pack i / 8; lanes beyond the
    /// last observation repeat the first at weight zero.
    pub fn spread(problem: &Problem, weight: &[f64]) -> LaneData {
        let n = problem.n();
        let packs = n.div_ceil(LANES);
        let has_sigma = problem.observations.sigma.is_some();
        let mut data = LaneData::for_fits(&problem.model, packs, has_sigma);
        for lane in 0..LANES {
            let observation = |k: usize| k * LANES + lane;
            let places: Vec<u32> =
                (0..packs).map(|k| if observation(k) < n { observation(k) as u32 } else { 0 }).collect();
            data.set(lane, 0, problem, &places);
            for k in (0..packs).filter(|&k| observation(k) < n) {
                data.weight[k].0[lane] = weight[observation(k)];
            }
        }
        for (mean, &value) in data.means.iter_mut().zip(&problem.means) {
            *mean = Pack::splat(value);
        }
        data.n_packs = packs;
        data
    }
}

/// Up to eight points as one pack per coordinate; the last point fills the lanes that are left.
pub fn lanes_of(points: &[Vec<f64>], p: usize) -> Vec<Pack> {
    (0..p).map(|i| Pack(std::array::from_fn(|lane| points[lane.min(points.len() - 1)][i]))).collect()
}
