//! Drawing observations, or whole clusters, with replacement: a replicate is the sweep under other weights.
//!
//! Both are counted in 32 bits: a sweep has at most [`MAX_ROWS`](crate::sweep::MAX_ROWS) of either.

use fearless_simd::Level;
use rand_chacha::ChaCha8Rng;

use crate::problem::Observations;

use super::compact::compact;
use super::random::{begin, indices};
use super::scheme::{Sample, Scheme};
use super::units::Units;

/// Draws observations, or whole clusters, with replacement (Efron 1979).
#[derive(Debug)]
pub struct UnitResampling {
    level: Level,
    /// The weight of each observation in the sweep.
    own: Vec<f64>,
    rng: ChaCha8Rng,
    draws: Draws,
    units: Units,
    /// The number of times that each cluster was drawn, and a final zero.
    drawn: Vec<u32>,
    /// The number of times that each observation was drawn.
    counts: Vec<u32>,
}

/// What is drawn.
#[derive(Clone, Copy, Debug)]
enum Draws {
    /// Observations that are in the canonical order of the sweep.
    InOrder,
    /// Observations by their place in the canonical order of the sweep.
    Observations,
    /// Clusters.
    Clusters,
}

impl UnitResampling {
    /// Prepares to draw the observations of positive weight, or their clusters if there are any.
    #[must_use]
    pub fn new(observations: &Observations, rng: ChaCha8Rng) -> UnitResampling {
        let n = observations.len();
        let units = Units::of(observations);
        let draws = match units.are_clusters {
            true => Draws::Clusters,
            false if units.order.iter().copied().eq(0..n as u32) => Draws::InOrder,
            false => Draws::Observations,
        };
        let drawn = if units.are_clusters { vec![0; units.count + 1] } else { Vec::new() };
        let own = observations.weight.clone();
        UnitResampling { level: Level::new(), own, rng, draws, units, drawn, counts: vec![0; n] }
    }
}

impl Scheme for UnitResampling {
    fn n_units(&self) -> usize {
        self.units.count
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
        n_drawn == self.units.order.len()
    }

    /// The weight of an observation is its own times the number of draws.
    fn draw(&mut self, replicate: u64, Sample { rows, weight, .. }: Sample<'_>) -> usize {
        begin(&mut self.rng, replicate);
        let times = self.n_units();
        let UnitResampling { level, own, rng, draws, units, drawn, counts } = self;
        match draws {
            Draws::InOrder => {
                counts.fill(0);
                indices(rng, times as u32, times, |unit| counts[unit] += 1);
            }
            Draws::Observations => {
                counts.fill(0);
                indices(rng, times as u32, times, |unit| counts[units.order[unit] as usize] += 1);
            }
            Draws::Clusters => {
                drawn.fill(0);
                indices(rng, times as u32, times, |unit| drawn[unit] += 1);
                // No draw reaches the last place.
                for (count, &cluster) in counts.iter_mut().zip(&units.of) {
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
    use crate::infer::resample::generator;

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
                let mut resampler = UnitResampling::new(&observations, generator("resample", 3, &[0; 32]));
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
            let resampler = UnitResampling::new(&problem.observations, generator("resample", 3, &[0; 32]));
            assert_eq!(resampler.n_samples(1000), samples);
        }
    }
}
