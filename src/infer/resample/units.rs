//! Drawing observations, or whole clusters, with replacement: a replicate is the sweep under other weights.
//!
//! Both are counted in 32 bits: a sweep has at most [`MAX_ROWS`](crate::sweep::MAX_ROWS) of either.

use fearless_simd::Level;
use rand_chacha::ChaCha8Rng;

use crate::problem::Observations;

use super::compact::compact;
use super::{Resample, Sample, Scheme, generator, indices};

/// Draws observations, or whole clusters, with replacement (Efron 1979).
#[derive(Debug)]
pub struct UnitResampling {
    level: Level,
    /// The weight of each observation in the sweep.
    own: Vec<f64>,
    rng: ChaCha8Rng,
    units: Units,
    /// The observations of positive weight, in the canonical order of the sweep.
    order: Vec<u32>,
    /// The cluster of each observation; one past the last cluster for observations that are never drawn.
    of: Vec<u32>,
    /// The number of times that each cluster was drawn, and a final zero.
    drawn: Vec<u32>,
    /// The number of times that each observation was drawn.
    counts: Vec<u32>,
}

/// The units that are drawn.
#[derive(Clone, Copy, Debug)]
enum Units {
    /// Observations that are in the canonical order of the sweep.
    InOrder,
    /// Observations by their place in the canonical order of the sweep.
    Observations,
    /// Clusters.
    Clusters,
}

impl UnitResampling {
    /// Prepares to draw the observations of positive weight: by clusters if the scheme says so and there are any.
    #[must_use]
    pub fn new(
        observations: &Observations,
        resample: &Resample,
        seed: u64,
        key_digest: &[u8; 32],
    ) -> UnitResampling {
        let n = observations.len();
        // All laws of a job share the canonical order, so laws that use the same observations draw the same ones.
        let mut order: Vec<u32> = (0..n as u32).filter(|&i| observations.weight[i as usize] > 0.0).collect();
        order.sort_unstable_by_key(|&i| observations.rows[i as usize]);
        let (mut of, mut drawn) = (Vec::new(), Vec::new());
        let units = match (resample, &observations.cluster) {
            (Resample::Cluster(_), Some(cluster)) => {
                drawn.extend(order.iter().map(|&i| cluster[i as usize]));
                drawn.sort_unstable();
                drawn.dedup();
                of.resize(n, drawn.len() as u32);
                for &i in &order {
                    let number = drawn.partition_point(|&present| present < cluster[i as usize]);
                    of[i as usize] = number as u32;
                }
                drawn.push(0);
                Units::Clusters
            }
            _ if order.iter().copied().eq(0..n as u32) => Units::InOrder,
            _ => Units::Observations,
        };
        let rng = generator("resample", seed, key_digest);
        let own = observations.weight.clone();
        UnitResampling { level: Level::new(), own, rng, units, order, of, drawn, counts: vec![0; n] }
    }
}

impl Scheme for UnitResampling {
    fn n_units(&self) -> usize {
        match self.units {
            Units::InOrder | Units::Observations => self.order.len(),
            Units::Clusters => self.drawn.len() - 1,
        }
    }

    /// Counts the multisets of as many units as there are.
    fn n_samples(&self, most: usize) -> usize {
        let n = self.n_units();
        let mut samples = 1;
        for k in 1..n {
            // C(n + k, k) for one k after the other ends in C(2n − 1, n − 1).
            samples = samples * (n + k) / k;
            if samples >= most {
                return most;
            }
        }
        samples
    }

    /// Whatever drew every observation drew each of them once.
    fn is_original(&self, n_drawn: usize) -> bool {
        n_drawn == self.order.len()
    }

    /// The weight of an observation is its own times the number of draws.
    fn draw(&mut self, replicate: u64, Sample { rows, weight, .. }: Sample<'_>) -> usize {
        self.rng.set_stream(replicate);
        self.rng.set_word_pos(0);
        let times = self.n_units();
        let UnitResampling { level, own, rng, units, order, of, drawn, counts } = self;
        match units {
            Units::InOrder => {
                counts.fill(0);
                indices(rng, times as u32, times, |unit| counts[unit] += 1);
            }
            Units::Observations => {
                counts.fill(0);
                indices(rng, times as u32, times, |unit| counts[order[unit] as usize] += 1);
            }
            Units::Clusters => {
                drawn.fill(0);
                indices(rng, times as u32, times, |unit| drawn[unit] += 1);
                // No draw reaches the last place.
                for (count, &cluster) in counts.iter_mut().zip(&*of) {
                    *count = drawn[cluster as usize];
                }
            }
        }
        compact(*level, counts, own, rows, weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observations without weight are never drawn, in whatever order observations are, and every replicate draws as
    /// many as have weight.
    #[test]
    fn observations_without_weight_are_not_drawn() {
        let law = crate::testing::typed_law("y ~ b*x", &["x", "y"]);
        let column = |from: f64| (0..6).map(|i| from + f64::from(i)).collect::<Vec<f64>>();
        let columns = [("y", column(2.0)), ("x", column(1.0))];
        let (_, problem) =
            crate::testing::problem(&law, crate::law::Residual::Linear, crate::problem::Loss::L2, &columns);
        for without in [None, Some(5), Some(2)] {
            for reversed in [false, true] {
                let mut observations = (*problem.observations).clone();
                if let Some(without) = without {
                    observations.weight[without] = 0.0;
                }
                if reversed {
                    observations.rows.reverse();
                }
                let own = observations.weight.clone();
                let mut resampler = UnitResampling::new(&observations, &Resample::Pairs, 3, &[0; 32]);
                let (mut rows, mut weight) = ([0; 6], [0.0; 6]);
                let mut drawn = [0.0; 6];
                for replicate in 0..200 {
                    let draw = Sample { rows: &mut rows, weight: &mut weight, target: &mut [] };
                    let n = resampler.draw(replicate, draw);
                    assert_eq!(weight[..n].iter().sum::<f64>(), own.iter().sum::<f64>());
                    rows[..n].iter().zip(&weight).for_each(|(&i, w)| drawn[i as usize] += w);
                }
                for (i, (drawn, own)) in drawn.iter().zip(own).enumerate() {
                    assert_eq!(*drawn > 100.0, own > 0.0, "{i} without {without:?}: {drawn}");
                }
            }
        }
    }

    /// Two units can be drawn in three ways, (2, 0), (1, 1), (0, 2); three units in ten.
    #[test]
    fn samples_are_counted() {
        let law = crate::testing::typed_law("y ~ b*x", &["x", "y"]);
        for (n, samples) in [(1, 1), (2, 3), (3, 10), (4, 35), (5, 126), (40, 1000)] {
            let column: Vec<f64> = (1..=n).map(f64::from).collect();
            let columns = [("y", column.clone()), ("x", column)];
            let space = crate::law::Residual::Linear;
            let (_, problem) = crate::testing::problem(&law, space, crate::problem::Loss::L2, &columns);
            let resampler = UnitResampling::new(&problem.observations, &Resample::Pairs, 3, &[0; 32]);
            assert_eq!(resampler.n_samples(1000), samples);
        }
    }
}
