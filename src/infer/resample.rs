//! Random numbers, and what is resampled.
//!
//! Every number comes from ChaCha8 keyed by SHA-256 of (purpose, seed, the sweep's key), one stream per
//! replicate. So a replicate's draw does not depend on threads, on the order of the input, or on which other
//! sweeps are in the job. What is drawn are places in the canonical order of the sweep's rows, which all laws of
//! a job share, so that laws can be compared replicate by replicate. That order is by the responses first; a law
//! added to the job changes it only where it brings another response, or where responses are tied. The mapping from
//! random words to an index is our own, and golden tests hold all of it in place.
//!
//! Observations and clusters are counted in 32 bits: a sweep has at most [`MAX_ROWS`](crate::sweep::MAX_ROWS) of either.

use fearless_simd::Level;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::problem::Observations;

use super::compact::compact;

/// What a replicate draws with replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resample {
    /// Observations.
    Pairs,
    /// Whole clusters, the values of a column.
    Cluster(String),
}

impl std::fmt::Display for Resample {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Resample::Pairs => f.write_str("pairs"),
            Resample::Cluster(column) => write!(f, "cluster:{column}"),
        }
    }
}

impl std::str::FromStr for Resample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "pairs" => Ok(Resample::Pairs),
            Some(("cluster", column)) if !column.is_empty() => Ok(Resample::Cluster(column.to_string())),
            _ => Err(format!("`{text}` is not a way to resample: use pairs or cluster:COLUMN")),
        }
    }
}

/// The generator for one purpose within one sweep.
pub fn generator(purpose: &str, seed: u64, key_digest: &[u8; 32]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(b"sweepfit/1/");
    hash.update(purpose.as_bytes());
    hash.update([0]);
    hash.update(seed.to_le_bytes());
    hash.update(key_digest);
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// Draws `times` indices below `n`, each as likely as the others (Lemire 2019, ACM TOMACS 29(1) 3, section 4).
fn indices(rng: &mut ChaCha8Rng, n: u32, times: usize, mut each: impl FnMut(usize)) {
    // Words whose products have a lower low half would make some indices likelier.
    let least = n.wrapping_neg().checked_rem(n).unwrap_or(0);
    let mut left = times;
    let mut words = [0; 4 * WORDS];
    while left > 0 {
        let words = &mut words[..4 * left.min(WORDS)];
        rng.fill_bytes(words);
        for word in words.chunks_exact(4) {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            let product = u64::from(word) * u64::from(n);
            if product as u32 >= least {
                each((product >> 32) as usize);
                left -= 1;
            }
        }
    }
}

/// Random words that are taken at once: what the generator makes at once.
const WORDS: usize = 64;

/// Draws replicates of one sweep and law.
#[derive(Debug)]
pub struct Resampler {
    level: Level,
    rng: ChaCha8Rng,
    units: Units,
    /// The observations of positive weight, in the sweep's canonical order.
    order: Vec<u32>,
    /// Each observation's cluster, and how often each cluster was drawn; the last place is for observations that no draw
    /// takes.
    of: Vec<u32>,
    drawn: Vec<u32>,
    /// Of every observation, how often it was drawn.
    counts: Vec<u32>,
}

/// What is drawn.
#[derive(Clone, Copy, Debug)]
enum Units {
    /// Observations, which are in the sweep's canonical order.
    InOrder,
    /// Observations, by their place in the sweep's canonical order.
    Observations,
    Clusters,
}

/// Draws nothing until it is set.
impl Default for Resampler {
    fn default() -> Self {
        Resampler {
            level: Level::new(),
            rng: ChaCha8Rng::from_seed([0; 32]),
            units: Units::InOrder,
            order: Vec::new(),
            of: Vec::new(),
            drawn: Vec::new(),
            counts: Vec::new(),
        }
    }
}

impl Resampler {
    pub fn new(
        observations: &Observations,
        resample: &Resample,
        seed: u64,
        key_digest: &[u8; 32],
    ) -> Resampler {
        let mut resampler = Resampler::default();
        resampler.set(observations, resample, seed, key_digest);
        resampler
    }

    /// The same in vectors that are there.
    pub fn set(
        &mut self,
        observations: &Observations,
        resample: &Resample,
        seed: u64,
        key_digest: &[u8; 32],
    ) {
        self.rng = generator("resample", seed, key_digest);
        let Resampler { units, order, of, drawn, counts, .. } = self;
        let n = observations.len();
        counts.clear();
        counts.resize(n, 0);
        // Units are taken in the sweep's canonical order, which all laws of a job share, so that laws that
        // use the same observations draw the same ones.
        order.clear();
        order.extend((0..n as u32).filter(|&i| observations.weight[i as usize] > 0.0));
        order.sort_unstable_by_key(|&i| observations.rows[i as usize]);
        *units = match (resample, &observations.cluster) {
            (Resample::Cluster(_), Some(cluster)) => {
                drawn.clear();
                drawn.extend(order.iter().map(|&i| cluster[i as usize]));
                drawn.sort_unstable();
                drawn.dedup();
                of.clear();
                of.resize(n, drawn.len() as u32);
                for &i in &*order {
                    let number = drawn.partition_point(|&present| present < cluster[i as usize]);
                    of[i as usize] = number as u32;
                }
                drawn.push(0);
                Units::Clusters
            }
            _ if order.iter().copied().eq(0..n as u32) => Units::InOrder,
            _ => Units::Observations,
        };
    }

    /// Number of units to draw from.
    pub fn n_units(&self) -> usize {
        match self.units {
            Units::InOrder | Units::Observations => self.order.len(),
            Units::Clusters => self.drawn.len() - 1,
        }
    }

    /// Number of observations that can be drawn.
    pub fn n_observations(&self) -> usize {
        self.order.len()
    }

    /// Number of different samples that can be drawn: ways to take as many units as there are, in any order; at most `most`.
    pub fn n_samples(&self, most: usize) -> usize {
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

    /// Writes the observations of one replicate, ascending, and their weights, `own` times how often each was drawn, to the
    /// front of `rows` and `weight`, which have room for all; gives their number.
    pub fn draw(&mut self, replicate: u64, own: &[f64], rows: &mut [u32], weight: &mut [f64]) -> usize {
        self.rng.set_stream(replicate);
        self.rng.set_word_pos(0);
        let times = self.n_units();
        let Resampler { level, rng, units, order, of, drawn, counts } = self;
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

    /// Values of `tests/golden/draws.py`, an independent implementation.
    /// Any change of these numbers changes every user's results: it needs a new major version.
    #[test]
    fn draws_are_golden() {
        let mut rng = generator("resample", 7, &[1; 32]);
        rng.set_stream(3);
        let mut drawn = Vec::new();
        indices(&mut rng, 240, 8, |i| drawn.push(i));
        assert_eq!(drawn, [233, 147, 167, 199, 93, 146, 182, 40]);
    }

    /// Three quarters of all words: the plain product would give every third index twice as often as the others.
    #[test]
    fn indices_have_no_bias() {
        let mut rng = generator("test", 0, &[0; 32]);
        let mut every_third = 0;
        indices(&mut rng, 3 << 30, 30_000, |i| every_third += usize::from(i.is_multiple_of(3)));
        // 10,000 expected, with a standard deviation of 82.
        assert!((9_600..10_400).contains(&every_third), "{every_third}");
    }

    /// Whether observations stand in the sweep's order or not, those without weight are never drawn, and as many are drawn as
    /// have weight.
    #[test]
    fn what_has_no_weight_is_not_drawn() {
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
                let mut resampler = Resampler::new(&observations, &Resample::Pairs, 3, &[0; 32]);
                let (mut rows, mut weight) = ([0; 6], [0.0; 6]);
                let mut drawn = [0.0; 6];
                for replicate in 0..200 {
                    let n = resampler.draw(replicate, &own, &mut rows, &mut weight);
                    assert_eq!(weight[..n].iter().sum::<f64>(), own.iter().sum::<f64>());
                    rows[..n].iter().zip(&weight).for_each(|(&i, w)| drawn[i as usize] += w);
                }
                for (i, (drawn, own)) in drawn.iter().zip(own).enumerate() {
                    assert_eq!(*drawn > 100.0, own > 0.0, "{i} without {without:?}: {drawn}");
                }
            }
        }
    }

    /// Two units can be drawn as (2, 0), (1, 1), (0, 2), three in ten ways.
    #[test]
    fn samples_are_counted() {
        let law = crate::testing::typed_law("y ~ b*x", &["x", "y"]);
        for (n, samples) in [(1, 1), (2, 3), (3, 10), (4, 35), (5, 126), (40, 1000)] {
            let column: Vec<f64> = (1..=n).map(f64::from).collect();
            let columns = [("y", column.clone()), ("x", column)];
            let space = crate::law::Residual::Linear;
            let (_, problem) = crate::testing::problem(&law, space, crate::problem::Loss::L2, &columns);
            let resampler = Resampler::new(&problem.observations, &Resample::Pairs, 3, &[0; 32]);
            assert_eq!(resampler.n_samples(1000), samples);
        }
    }

    #[test]
    fn indices_are_uniform() {
        let mut rng = generator("test", 0, &[0; 32]);
        let mut counts = [0u32; 7];
        indices(&mut rng, 7, 70_000, |i| counts[i] += 1);
        // Chi-square with 6 degrees of freedom: 99.99 % below 27.9.
        let chi: f64 = counts.iter().map(|&c| (f64::from(c) - 1e4).powi(2) / 1e4).sum();
        assert!(chi < 27.9, "{counts:?}");
    }
}
