//! Resampling schemes, each a way to make replicates, and the random numbers that they draw.
//!
//! A replicate is some of the sweep's observations with weights and, where a scheme makes new ones, responses
//! ([`Part`](crate::problem::Part)); nothing else of a fit changes. A scheme is one file that implements
//! [`Scheme`], and a variant of [`Resample`] with its arms in `Display`, `FromStr` and [`Resample::scheme`].
//!
//! | file | scheme |
//! | --- | --- |
//! | `units` | observations or whole clusters, drawn with replacement: weights |
//! | `compact` | part of `units`: removes the observations that were not drawn |
//!
//! Laws, coordinates and searches are unknown here.
//!
//! Every number comes from ChaCha8 keyed by SHA-256 of (purpose, seed, the sweep's key), with one stream per replicate.
//! So the draws of a replicate do not depend on threads, on the order of the input, or on the other sweeps of the job.
//! Draws are places in the canonical order of the sweep's rows, which all laws of a job share, so that laws can be
//! compared replicate by replicate. That order is by the responses first; another law changes it only where it uses
//! another response, or where responses are tied. The mapping from random words to indices is our own, and golden tests
//! keep it fixed.

mod compact;
mod units;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::problem::Problem;

pub use units::UnitResampling;

/// The scheme that makes replicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resample {
    /// Draws observations with replacement.
    Pairs,
    /// Draws whole clusters, identified by the values of a column.
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

/// The buffers that a scheme writes one replicate to; each has room for all observations of the fit.
#[derive(Debug)]
pub struct Sample<'a> {
    /// Positions of the observations that take part, ascending.
    pub rows: &'a mut [u32],
    /// The weight of each.
    pub weight: &'a mut [f64],
    /// The transformed response T(y) of each; empty where the scheme keeps the sweep's.
    pub target: &'a mut [f64],
}

/// A way to make replicates of one fit.
pub trait Scheme {
    /// Returns the number of units that a replicate draws. From a single unit every replicate is the same.
    fn n_units(&self) -> usize;

    /// Returns the number of different replicates that the scheme can make, up to `most`.
    fn n_samples(&self, most: usize) -> usize;

    /// Returns whether replicates have responses of their own.
    fn makes_responses(&self) -> bool {
        false
    }

    /// Makes a replicate, given by its number alone, at the front of the buffers, and returns how many observations it has.
    fn draw(&mut self, replicate: u64, draw: Sample<'_>) -> usize;

    /// Returns whether a replicate of so many observations is the sweep itself, and says nothing about other sweeps.
    fn is_original(&self, _n_drawn: usize) -> bool {
        false
    }
}

impl Resample {
    /// Returns the scheme for a fit's problem; the random numbers follow from the seed and the sweep's key.
    #[must_use]
    pub fn scheme(&self, problem: &Problem, seed: u64, key_digest: &[u8; 32]) -> Box<dyn Scheme> {
        match self {
            Resample::Pairs | Resample::Cluster(_) => {
                Box::new(UnitResampling::new(&problem.observations, self, seed, key_digest))
            }
        }
    }
}

/// Returns the generator for one purpose within one sweep.
#[must_use]
pub fn generator(purpose: &str, seed: u64, key_digest: &[u8; 32]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(b"sweepfit/1/");
    hash.update(purpose.as_bytes());
    hash.update([0]);
    hash.update(seed.to_le_bytes());
    hash.update(key_digest);
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// Draws `times` uniform indices below `n` (Lemire 2019, ACM TOMACS 29(1) 3, section 4).
fn indices(rng: &mut ChaCha8Rng, n: u32, times: usize, mut each: impl FnMut(usize)) {
    // Words whose product has a smaller low half would bias the indices, and are rejected.
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

/// The number of random words that the generator makes at once.
const WORDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are those of `tests/golden/draws.py`, an independent implementation. Any change of these numbers
    /// changes every user's results and needs a new major version.
    #[test]
    fn draws_are_golden() {
        let mut rng = generator("resample", 7, &[1; 32]);
        rng.set_stream(3);
        let mut drawn = Vec::new();
        indices(&mut rng, 240, 8, |i| drawn.push(i));
        assert_eq!(drawn, [233, 147, 167, 199, 93, 146, 182, 40]);
    }

    /// With three quarters of all words as range, the plain product would give every third index twice as often as the
    /// others.
    #[test]
    fn indices_have_no_bias() {
        let mut rng = generator("test", 0, &[0; 32]);
        let mut every_third = 0;
        indices(&mut rng, 3 << 30, 30_000, |i| every_third += usize::from(i.is_multiple_of(3)));
        // 10,000 expected, with a standard deviation of 82.
        assert!((9_600..10_400).contains(&every_third), "{every_third}");
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
