//! The data of up to eight fits side by side, one per lane, or of one fit spread over the lanes.

use std::cell::Cell;

use fearless_simd::Level;

use crate::compile::Model;
use crate::lanes::{LANES, Pack};

use super::part::Part;
use super::{Problem, RowTable};

/// Returns the packs in cells that are borrowed exclusively.
fn columns_mut(cells: &mut [Cell<Pack>]) -> &mut [Pack] {
    let n = cells.len();
    // SAFETY: a cell has the layout of what it holds, and the borrow is the only one.
    unsafe { std::slice::from_raw_parts_mut(cells.as_mut_ptr().cast(), n) }
}

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
        let columns = n * model.data_columns.len();
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
    /// when all lanes are loaded. A table may be given where all fits are of one problem.
    pub fn load_lanes(
        &mut self,
        level: Level,
        table: Option<&RowTable>,
        fits: [Option<(&Problem, Part)>; LANES],
    ) {
        let length = |fit: &Option<(&Problem, Part)>| fit.map_or(0, |(_, part)| part.rows.len());
        let longest = fits.iter().map(length).max().unwrap_or(0);
        let loaded = match (table, fits.iter().flatten().next()) {
            (Some(table), Some((problem, _))) => {
                let parts = fits.map(|fit| fit.map(|(_, part)| part));
                self.load_rows(level, table, &problem.model, parts)
            }
            _ => 0,
        };
        // A pack is a cache line: all lanes fill it while it is in the first-level cache.
        for from in (loaded..longest).step_by(TILE) {
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

    /// Loads the first observations of parts of one fit from its table, and returns their number.
    fn load_rows(
        &mut self,
        level: Level,
        table: &RowTable,
        model: &Model,
        parts: [Option<Part>; LANES],
    ) -> usize {
        let columns = columns_mut(&mut self.columns)
            .chunks_mut(self.stride.max(1))
            .take(model.data_columns.len())
            .zip(0..);
        let columns = columns.filter(|(_, c)| model.read_columns.contains(c)).map(|(column, _)| column);
        let sigma = Some(&mut self.inverse_sigma[..]).filter(|packs| !packs.is_empty());
        let values = columns.chain([&mut self.target[..]]).chain(sigma);
        table.load(level, parts, values, &mut self.weight)
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
        for &c in &problem.model.read_columns {
            let column = &problem.columns[c as usize];
            let start = c as usize * self.stride + from;
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
            for &c in &problem.model.read_columns {
                let place = c as usize * self.stride + k;
                self.columns[place].set(Pack::splat(problem.columns[c as usize][i]));
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
        for &c in &problem.model.read_columns {
            let column = &problem.columns[c as usize];
            let start = c as usize * self.stride;
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

#[cfg(test)]
mod tests {
    use fearless_simd::Level;

    use crate::lanes::LANES;
    use crate::law::Residual;
    use crate::problem::{Loss, Part, RowTable};
    use crate::testing::{Uniform, catalogue_law, problem};

    use super::LaneData;

    /// Loading from a table gives the same packs as loading value by value, for parts of any length in any of the
    /// lanes.
    #[test]
    fn loading_from_a_table_equals_loading_value_by_value() {
        let law = catalogue_law("chinchilla");
        let mut uniform = Uniform(5);
        let n = 50;
        let mut column =
            |low: f64, high: f64| (0..n).map(|_| uniform.between(low, high)).collect::<Vec<f64>>();
        let columns = [("loss", column(2.0, 4.0)), ("N", column(1e8, 1e9)), ("D", column(1e9, 1e10))];
        let (_, mut problem) = problem(&law, Residual::Log, Loss::L2, &columns);
        for sigma in [None, Some(column(0.1, 0.2))] {
            std::sync::Arc::make_mut(&mut problem.observations).sigma = sigma;
            let level = Level::new();
            let mut table = RowTable::default();
            let gains = table.set(level, &problem);
            let mut loaded = [LaneData::default(), LaneData::default()];
            loaded
                .iter_mut()
                .for_each(|d| d.prepare(&problem.model, n, problem.observations.sigma.is_some()));
            for round in 0..40 {
                let mut draw = |probability: f64| {
                    (0..n as u32).filter(|_| uniform.next() < probability).collect::<Vec<u32>>()
                };
                let rows: Vec<Vec<u32>> = (0..LANES).map(|_| draw(f64::from(round) / 40.0)).collect();
                let weights: Vec<Vec<f64>> =
                    rows.iter().map(|rows| rows.iter().map(|&i| 0.5 + f64::from(i)).collect()).collect();
                let fits = std::array::from_fn(|lane| {
                    let part = Part::new(&rows[lane], &weights[lane]);
                    (round == 0 || uniform.next() < 0.6).then_some((&problem, part))
                });
                loaded[0].load_lanes(level, None, fits);
                loaded[1].load_lanes(level, Some(&table).filter(|_| gains), fits);
                loaded.iter_mut().for_each(|data| data.pad_lanes([Some(&problem); LANES]));
                let [expected, found] = &loaded;
                let k = expected.n_packs;
                assert_eq!(k, found.n_packs);
                assert_eq!(expected.target[..k], found.target[..k]);
                assert_eq!(expected.weight[..k], found.weight[..k]);
                assert_eq!(expected.inverse_sigma.get(..k), found.inverse_sigma.get(..k));
                for &c in &problem.model.read_columns {
                    let from = c as usize * n;
                    assert_eq!(expected.columns[from..from + k], found.columns[from..from + k], "{c}");
                }
            }
        }
    }
}
