//! Data of up to eight fits side by side, or of one fit spread over the lanes.

use std::cell::Cell;

use crate::law::{LANES, Model, Pack};

use super::Problem;

/// The observations of a fit that take part, and their weights.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub rows: &'a [u32],
    pub weight: &'a [f64],
}

impl Part<'_> {
    /// One weight per observation of a fit of `n`.
    pub fn spread(&self, n: usize) -> Vec<f64> {
        let mut weight = vec![0.0; n];
        for (&i, &w) in self.rows.iter().zip(self.weight) {
            weight[i as usize] = w;
        }
        weight
    }
}

/// Packs of a column that several lanes are written to one after the other.
const TILE: usize = 32;

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
    /// Per lane: the observations of the lane's fit, and the packs that hold them or their padding.
    length: [usize; LANES],
    padded: [usize; LANES],
    /// Per lane: the observation that pads.
    padding: [u32; LANES],
}

impl LaneData {
    /// Makes room for eight fits of up to `n` observations of a model. What the buffers hold from before is
    /// overwritten lane by lane.
    pub fn prepare(&mut self, model: &Model, n: usize, has_sigma: bool) {
        self.n_packs = 0;
        self.stride = n;
        let columns = n * model.recipes.len();
        if self.columns.len() < columns {
            self.columns.resize(columns, Cell::new(Pack::ZERO));
        }
        for packs in [&mut self.target, &mut self.weight] {
            if packs.len() < n {
                packs.resize(n, Pack::ZERO);
            }
        }
        self.inverse_sigma.resize(if has_sigma { n } else { 0 }, Pack::ZERO);
        self.means.resize(model.recipes.len(), Pack::ZERO);
        self.length = [0; LANES];
        self.padded = [0; LANES];
    }

    /// Puts fits' data into lanes: the observations of each part, `None` for lanes that stay as they are. Call
    /// [`LaneData::settle`] when all lanes are loaded.
    pub fn load_lanes(&mut self, fits: [Option<(&Problem, Part)>; LANES]) {
        let length = |fit: &Option<(&Problem, Part)>| fit.map_or(0, |(_, part)| part.rows.len());
        let longest = fits.iter().map(length).max().unwrap_or(0);
        // A pack is a line of the cache: the lanes fill it while it is in the first level.
        for from in (0..longest).step_by(TILE) {
            for (lane, fit) in fits.iter().enumerate() {
                let Some((problem, part)) = fit.filter(|(_, part)| from < part.rows.len()) else { continue };
                let to = part.rows.len().min(from + TILE);
                self.set(lane, from, problem, &part.rows[from..to]);
                for (pack, &w) in self.weight[from..].iter_mut().zip(&part.weight[from..to]) {
                    pack.0[lane] = w;
                }
            }
        }
        for (lane, fit) in fits.iter().enumerate() {
            if let Some((problem, part)) = fit {
                self.length[lane] = part.rows.len();
                self.padded[lane] = part.rows.len();
                self.padding[lane] = part.rows.first().copied().unwrap_or(0);
                for (mean, &value) in self.means.iter_mut().zip(&problem.means) {
                    mean.0[lane] = value;
                }
            }
        }
    }

    /// Makes all loaded lanes as long as the longest: shorter ones go on with their first observation at weight
    /// zero, which adds exact zeros to every sum. `problems` are the lanes' own, `None` for lanes not in use.
    pub fn settle(&mut self, problems: [Option<&Problem>; LANES]) {
        let used = |lane: &usize| problems[*lane].is_some();
        self.n_packs = (0..LANES).filter(used).map(|lane| self.length[lane]).max().unwrap_or(0);
        for (lane, problem) in problems.iter().enumerate() {
            if let Some(problem) = problem {
                for k in self.padded[lane]..self.n_packs {
                    let padding = [self.padding[lane]];
                    self.set(lane, k, problem, &padding);
                    self.weight[k].0[lane] = 0.0;
                }
                self.padded[lane] = self.padded[lane].max(self.n_packs);
            }
        }
    }

    /// Writes observations into a lane from pack `from` on, weights aside.
    fn set(&mut self, lane: usize, from: usize, problem: &Problem, observations: &[u32]) {
        for &c in &problem.model.read_columns {
            let column = problem.columns[usize::from(c)].as_slice();
            let start = usize::from(c) * self.stride + from;
            for (cell, &i) in self.columns[start..].iter_mut().zip(observations) {
                cell.get_mut().0[lane] = column[i as usize];
            }
        }
        let target = problem.target.as_slice();
        for (pack, &i) in self.target[from..].iter_mut().zip(observations) {
            pack.0[lane] = target[i as usize];
        }
        if !self.inverse_sigma.is_empty() {
            for (pack, &i) in self.inverse_sigma[from..].iter_mut().zip(observations) {
                pack.0[lane] = 1.0 / problem.observations.sigma_at(i as usize);
            }
        }
    }

    /// The same fit in all lanes, for evaluating it at eight points. Observations of weight zero are left out.
    pub fn repeated(problem: &Problem) -> LaneData {
        let mut data = LaneData::default();
        data.repeat(problem, &problem.weighted());
        data
    }

    /// Some of a fit's observations, repeated in buffers that are there.
    pub fn repeat(&mut self, problem: &Problem, observations: &[u32]) {
        self.prepare(&problem.model, observations.len(), problem.observations.sigma.is_some());
        let weight = &problem.observations.weight;
        for (k, &i) in observations.iter().enumerate() {
            let i = i as usize;
            for &c in &problem.model.read_columns {
                let place = usize::from(c) * self.stride + k;
                self.columns[place].set(Pack::splat(problem.columns[usize::from(c)][i]));
            }
            self.target[k] = Pack::splat(problem.target[i]);
            self.weight[k] = Pack::splat(weight[i]);
            if let Some(pack) = self.inverse_sigma.get_mut(k) {
                *pack = Pack::splat(1.0 / problem.observations.sigma_at(i));
            }
        }
        self.set_means(problem);
        self.n_packs = observations.len();
    }

    fn set_means(&mut self, problem: &Problem) {
        for (mean, &value) in self.means.iter_mut().zip(&problem.means) {
            *mean = Pack::splat(value);
        }
    }

    /// One fit spread over the lanes: observation i sits in lane i mod 8 of pack i / 8; lanes beyond the
    /// last observation repeat the first at weight zero.
    pub fn spread(problem: &Problem, weight: &[f64]) -> LaneData {
        let mut data = LaneData::default();
        data.spread_into(problem, weight);
        data
    }

    /// [`LaneData::spread`] in buffers that are there.
    pub fn spread_into(&mut self, problem: &Problem, weight: &[f64]) {
        self.spread_rows(problem, |i| i, weight);
    }

    /// A part of a fit spread over the lanes, in the same way.
    pub fn spread_part(&mut self, problem: &Problem, part: Part) {
        self.spread_rows(problem, |i| part.rows[i] as usize, part.weight);
    }

    /// Spreads the observations `row(i)`, each with its weight.
    fn spread_rows(&mut self, problem: &Problem, row: impl Fn(usize) -> usize, weight: &[f64]) {
        let n = weight.len();
        let packs = n.div_ceil(LANES);
        self.prepare(&problem.model, packs, problem.observations.sigma.is_some());
        let place = |k: usize, lane: usize| {
            let i = k * LANES + lane;
            row(if i < n { i } else { 0 })
        };
        for &c in &problem.model.read_columns {
            let column = &problem.columns[usize::from(c)];
            let start = usize::from(c) * self.stride;
            for (k, cell) in self.columns[start..start + packs].iter_mut().enumerate() {
                cell.set(Pack(std::array::from_fn(|lane| column[place(k, lane)])));
            }
        }
        for k in 0..packs {
            self.target[k] = Pack(std::array::from_fn(|lane| problem.target[place(k, lane)]));
            self.weight[k] =
                Pack(std::array::from_fn(|lane| weight.get(k * LANES + lane).copied().unwrap_or(0.0)));
            if let Some(pack) = self.inverse_sigma.get_mut(k) {
                *pack = Pack(std::array::from_fn(|lane| 1.0 / problem.observations.sigma_at(place(k, lane))));
            }
        }
        self.set_means(problem);
        self.n_packs = packs;
    }
}
