//! Random numbers of replicates: a generator per purpose and sweep, and the mapping from its words to indices and
//! variates, which is our own and kept fixed by golden tests.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::lanes::scalar;

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
pub fn indices(rng: &mut ChaCha8Rng, n: u32, times: usize, mut each: impl FnMut(usize)) {
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

/// Sets a generator to the first word of a replicate's stream.
pub fn begin(rng: &mut ChaCha8Rng, replicate: u64) {
    rng.set_stream(replicate);
    rng.set_word_pos(0);
}

/// Returns a uniform variate between 0 and 1, both excluded.
pub fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Returns a standard normal variate (Box & Muller 1958).
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (2.0 * exponential(rng)).sqrt();
    radius * scalar::cos(2.0 * std::f64::consts::PI * uniform(rng))
}

/// Returns an exponential variate of mean one.
pub fn exponential(rng: &mut ChaCha8Rng) -> f64 {
    -scalar::ln(uniform(rng))
}

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
