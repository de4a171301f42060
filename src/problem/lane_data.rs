//! The data of up to eight fits side by side, one per lane, or of one fit spread over the lanes.

use std::cell::Cell;

use crate::compile::Model;
use crate::lanes::{LANES, Pack};

use super::Problem;
use super::part::Part;

/// The number of packs of a column that several lanes write to one after the other, so that they stay in the
/// first-level cache.
const TILE: usize = 32;

/// Columns, targets and weights in the layout that compiled programs read.
#[derive(Clone, Debug, Default)]
pub struct LaneData {
    /// The number of packs in use per column.
    pub n_packs: usize,
    /// The number of packs allocated per column.
    pub stride: usize,
    /// The columns that the model reads, one after the other.
    pub columns: Vec<Cell<Pack>>,
    pub target: Vec<Pack>,
    pub weight: Vec<Pack>,
    /// `1/σ`; empty where every σ is 1.
    pub inverse_sigma: Vec<Pack>,
    /// The means of the columns, one pack per column.
    pub means: Vec<Pack>,
    /// The number of observations of the fit in each lane.
    length: [usize; LANES],
    /// The number of packs of each lane that hold observations or padding.
    padded: [usize; LANES],
    /// The observation that pads each lane.
    padding: [u32; LANES],
}

impl LaneData {
    /// Makes room for eight fits of up to `n` observations of a model. Old contents are overwritten lane by lane.
    pub fn prepare(&mut self, model: &Model, n: usize, has_sigma: bool) {
        self.n_packs = 0;
        self.stride = n;
        let columns = n * model.read_columns.len();
        if self.columns.len() < columns {
            self.columns.resize(columns, Cell::new(Pack::ZERO));
        }
        for packs in [&mut self.target, &mut self.weight] {
            if packs.len() < n {
                packs.resize(n, Pack::ZERO);
            }
        }
        self.inverse_sigma.resize(if has_sigma { n } else { 0 }, Pack::ZERO);
        self.means.resize(model.data_columns.len(), Pack::ZERO);
        self.length = [0; LANES];
        self.padded = [0; LANES];
    }

    /// Loads the observations of each part into its lane; `None` leaves a lane unchanged. Call [`LaneData::pad_lanes`]
    /// when all lanes are loaded.
    pub fn load_lanes(&mut self, fits: [Option<(&Problem, Part)>; LANES]) {
        let length = |fit: &Option<(&Problem, Part)>| fit.map_or(0, |(_, part)| part.rows.len());
        let longest = fits.iter().map(length).max().unwrap_or(0);
        // A pack is a cache line: all lanes fill it while it is in the first-level cache.
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
                for (pack, &target) in self.target.iter_mut().zip(part.target.unwrap_or_default()) {
                    pack.0[lane] = target;
                }
            }
        }
    }

    /// Pads all loaded lanes to the longest: shorter ones repeat their first observation at weight zero, which adds
    /// exact zeros to every sum. `problems` are the lanes' own, `None` for lanes that are not used.
    pub fn pad_lanes(&mut self, problems: [Option<&Problem>; LANES]) {
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

    /// Writes observations, without their weights, to a lane from pack `from` on.
    fn set(&mut self, lane: usize, from: usize, problem: &Problem, observations: &[u32]) {
        for (c, column) in problem.columns.columns().enumerate() {
            let start = c * self.stride + from;
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

    /// Returns one fit repeated in all lanes, to be evaluated at eight points. Observations of weight zero are left
    /// out.
    #[must_use]
    pub fn repeated(problem: &Problem) -> LaneData {
        let mut data = LaneData::default();
        data.repeat(problem, &problem.weighted());
        data
    }

    /// Sets some observations of a fit, repeated in all lanes.
    pub fn repeat(&mut self, problem: &Problem, observations: &[u32]) {
        self.prepare(&problem.model, observations.len(), problem.observations.sigma.is_some());
        let weight = &problem.observations.weight;
        for (k, &i) in observations.iter().enumerate() {
            let i = i as usize;
            for (c, column) in problem.columns.columns().enumerate() {
                self.columns[c * self.stride + k].set(Pack::splat(column[i]));
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

    /// Sets the means of all lanes to those of a problem.
    fn set_means(&mut self, problem: &Problem) {
        for (mean, &value) in self.means.iter_mut().zip(&problem.means) {
            *mean = Pack::splat(value);
        }
    }

    /// Returns one fit spread over the lanes: observation i is in lane i mod 8 of pack i / 8. Lanes beyond the last
    /// observation repeat the first at weight zero.
    #[must_use]
    pub fn spread(problem: &Problem, weight: &[f64]) -> LaneData {
        let mut data = LaneData::default();
        data.spread_rows(problem, |i| i, weight);
        data
    }

    /// Sets a part of a fit spread over the lanes, like [`LaneData::spread`].
    pub fn spread_part(&mut self, problem: &Problem, part: Part) {
        self.spread_rows(problem, |i| part.rows[i] as usize, part.weight);
        for (i, &target) in part.target.unwrap_or_default().iter().enumerate() {
            self.target[i / LANES].0[i % LANES] = target;
        }
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
        for (c, column) in problem.columns.columns().enumerate() {
            let start = c * self.stride;
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
