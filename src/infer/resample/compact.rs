//! Removes the observations that a replicate did not draw.
//!
//! About a third of all observations are missing from a replicate, at places that no branch predictor can guess: the
//! portable loop has no branches, and AVX-512 has an instruction for it.
#![cfg_attr(
    not(any(target_arch = "x86", target_arch = "x86_64")),
    allow(dead_code, unused_mut, unused_variables)
)]

#[cfg(target_arch = "x86")]
use core::arch::x86::*;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;
use fearless_simd::Level;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use fearless_simd::{f64x8, prelude::*, u32x8};

/// Writes the places of the counts above zero to the front of `rows`, and each such count times `own` to the front of
/// `weight`. Returns their number.
///
/// # Panics
///
/// If the slices differ in length.
pub fn compact(level: Level, counts: &[u32], own: &[f64], rows: &mut [u32], weight: &mut [f64]) -> usize {
    let mut done = 0;
    let mut kept = 0;
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Some(avx512) = level.as_avx512() {
        done = counts.len() / STEP * STEP;
        kept = compact_steps(avx512, &counts[..done], own, rows, weight);
    }
    // An indexed loop keeps its state in registers, which iterators do not.
    let n = counts.len().min(own.len());
    for i in done..n {
        rows[kept] = i as u32;
        weight[kept] = own[i] * f64::from(counts[i]);
        kept += usize::from(counts[i] > 0);
    }
    kept
}

/// The number of counts that are processed at once.
const STEP: usize = 8;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fearless_simd::kernel!(
    fn compact_steps(
        avx512: Avx512,
        counts: &[u32],
        own: &[f64],
        rows: &mut [u32],
        weight: &mut [f64],
    ) -> usize {
        let mut places: u32x8<_> = std::array::from_fn(|k| k as u32).simd_into(avx512);
        let mut kept = 0;
        for (counts, own) in counts.chunks_exact(STEP).zip(own.chunks_exact(STEP)) {
            let counts: __m256i = u32x8::from_slice(avx512, counts).into();
            let own: __m512d = f64x8::from_slice(avx512, own).into();
            let drawn = _mm256_test_epi32_mask(counts, counts);
            let rows_drawn: u32x8<_> = _mm256_maskz_compress_epi32(drawn, places.into()).simd_into(avx512);
            let times = _mm512_mul_pd(own, _mm512_cvtepi32_pd(counts));
            let weight_drawn: f64x8<_> = _mm512_maskz_compress_pd(drawn, times).simd_into(avx512);
            // `kept` is at most the number of counts processed, so there is room.
            rows_drawn.store_slice(&mut rows[kept..kept + STEP]);
            weight_drawn.store_slice(&mut weight[kept..kept + STEP]);
            kept += drawn.count_ones() as usize;
            places += STEP as u32;
        }
        kept
    }
);

#[cfg(test)]
mod tests {
    use fearless_simd::Level;

    use super::compact;
    use crate::testing::Uniform;

    /// The counts above zero are kept in order, whether none, some or all of them are.
    #[test]
    fn counts_above_zero_are_kept_in_order() {
        let mut uniform = Uniform(7);
        for n in (0..70).chain([240, 1000]) {
            for probability in [0.0, 0.1, 0.6, 1.0] {
                let mut count =
                    || if uniform.next() < probability { (uniform.next() * 4.0) as u32 + 1 } else { 0 };
                let counts: Vec<u32> = (0..n).map(|_| count()).collect();
                let own: Vec<f64> = (0..n).map(|i| 0.1 + i as f64).collect();
                let expected: Vec<(u32, f64)> = (0..n)
                    .filter(|&i| counts[i] > 0)
                    .map(|i| (i as u32, own[i] * f64::from(counts[i])))
                    .collect();
                for level in [Level::new(), Level::baseline()] {
                    let (mut rows, mut weight) = (vec![7; n], vec![-1.0; n]);
                    let kept = compact(level, &counts, &own, &mut rows, &mut weight);
                    let found: Vec<(u32, f64)> =
                        rows[..kept].iter().copied().zip(weight[..kept].iter().copied()).collect();
                    assert_eq!(found, expected, "{n} {probability}");
                }
            }
        }
    }
}
