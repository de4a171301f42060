//! The observations of a fit row by row, for lanes that each take a different subset of them.
//!
//! Every replicate leaves out about a third of all observations, and loading the rest into lanes value by value takes a
//! seventh of its time. AVX-512 shuffles turn eight rows into one pack per value.
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
use fearless_simd::{f64x4, f64x8, prelude::*};

use crate::lanes::{LANES, Pack};

use super::Problem;
use super::part::Part;

/// The number of lanes from which shuffling, whose cost does not depend on it, is faster than loading value by value.
const MIN_LANES: usize = 3;

/// The number of observations of a fit from which building the table pays.
const MIN_OBSERVATIONS: usize = 24;

/// The number of values that are moved at once.
const QUAD: usize = 4;

/// Four values of one observation.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub struct Row([f64; QUAD]);

/// The values of every observation that programs read: the columns that the model reads, the target, and 1/σ where
/// there is one.
#[derive(Clone, Debug, Default)]
pub struct RowTable {
    /// The number of observations.
    n: usize,
    /// Four values of every observation, then the next four.
    rows: Vec<Row>,
}

impl RowTable {
    /// Sets the table of a problem. Returns false, without setting it, where the machine would not gain from it.
    pub fn set(&mut self, level: Level, problem: &Problem) -> bool {
        let gains = has_shuffles(level) && problem.n() >= MIN_OBSERVATIONS;
        if gains {
            self.fill(problem);
        }
        gains
    }

    fn fill(&mut self, problem: &Problem) {
        let Problem { model, columns, target, observations, .. } = problem;
        self.n = problem.n();
        self.rows.clear();
        for (number, &c) in model.read_columns.iter().enumerate() {
            self.push(number, columns[c as usize].iter().copied());
        }
        let number = model.read_columns.len();
        self.push(number, target.iter().copied());
        if let Some(sigma) = &observations.sigma {
            self.push(number + 1, sigma.iter().map(|s| 1.0 / s));
        }
    }

    /// Appends a value of every observation, the `number`-th of its row.
    fn push(&mut self, number: usize, values: impl Iterator<Item = f64>) {
        let quad = number / QUAD * self.n;
        if self.rows.len() == quad {
            self.rows.resize(quad + self.n, Row([0.0; QUAD]));
        }
        for (row, value) in self.rows[quad..].iter_mut().zip(values) {
            row.0[number % QUAD] = value;
        }
    }

    /// Writes the first observations of each part, and their weights, into its lane; how many is told: as all parts have, or
    /// none where that is less work value by value. `packs` are those of each value, in the order of the table.
    ///
    /// # Panics
    ///
    /// If a part has a row that the table has not, or `packs` or `weight` are shorter than the parts.
    pub fn load<'p>(
        &self,
        level: Level,
        parts: [Option<Part>; LANES],
        mut packs: impl Iterator<Item = &'p mut [Pack]>,
        weight: &mut [Pack],
    ) -> usize {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        if let (Some(avx512), Some(any)) = (level.as_avx512(), parts.iter().flatten().next())
            && let Some(shortest) = parts.iter().flatten().map(|part| part.rows.len()).min()
            && parts.iter().flatten().count() >= MIN_LANES
            && self.n > 0
        {
            let n = shortest / QUAD * QUAD;
            let taken = (0..LANES).fold(0, |taken, lane| taken | u8::from(parts[lane].is_some()) << lane);
            let rows = parts.map(|part| &part.unwrap_or(*any).rows[..n]);
            let weights = parts.map(|part| &part.unwrap_or(*any).weight[..n]);
            for quad in self.rows.chunks_exact(self.n) {
                let mut packs: [&mut [Pack]; QUAD] =
                    std::array::from_fn(|_| packs.next().unwrap_or_default());
                let used = packs.iter().take_while(|packs| !packs.is_empty()).count();
                load_quad(avx512, taken, quad, rows, &mut packs[..used]);
            }
            load_weights(avx512, taken, weights, weight);
            return n;
        }
        0
    }
}

/// Returns whether the machine has the shuffles.
fn has_shuffles(level: Level) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return level.as_avx512().is_some();
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    return false;
}

/// Turns eight times four values into four packs.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
macro_rules! transpose {
    ($avx512:ident, $row:expr) => {{
        let row = $row;
        let pair = |lane: usize| {
            let low: __m256d = f64x4::from_slice($avx512, row(lane)).into();
            let high: __m256d = f64x4::from_slice($avx512, row(lane + 4)).into();
            _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(low), high)
        };
        let (a, b, c, d) = (pair(0), pair(1), pair(2), pair(3));
        let (even, even_after) = (_mm512_unpacklo_pd(a, b), _mm512_unpacklo_pd(c, d));
        let (odd, odd_after) = (_mm512_unpackhi_pd(a, b), _mm512_unpackhi_pd(c, d));
        let first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
        let second = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
        [
            _mm512_permutex2var_pd(even, first, even_after),
            _mm512_permutex2var_pd(odd, first, odd_after),
            _mm512_permutex2var_pd(even, second, even_after),
            _mm512_permutex2var_pd(odd, second, odd_after),
        ]
    }};
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
macro_rules! put {
    ($avx512:ident, $taken:ident, $values:expr, $pack:expr) => {{
        let pack: &mut Pack = $pack;
        let old: __m512d = f64x8::from_slice($avx512, &pack.0).into();
        let new: f64x8<_> = _mm512_mask_blend_pd($taken, old, $values).simd_into($avx512);
        new.store_slice(&mut pack.0);
    }};
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fearless_simd::kernel!(
    fn load_quad(avx512: Avx512, taken: u8, quad: &[Row], rows: [&[u32]; LANES], packs: &mut [&mut [Pack]]) {
        let n = rows[0].len();
        let inside = |rows: &[u32]| rows.iter().copied().max().is_none_or(|row| (row as usize) < quad.len());
        assert!(rows.iter().all(|rows| rows.len() == n && inside(rows)), "rows beyond the table");
        for k in 0..n {
            // SAFETY: every lane has n rows, and each is one of the table's, as was just asserted. Checking each access
            // would take a third of the loading time.
            let row = |lane: usize| unsafe { &quad.get_unchecked(*rows[lane].get_unchecked(k) as usize).0 };
            let values = transpose!(avx512, row);
            for (packs, values) in packs.iter_mut().zip(values) {
                put!(avx512, taken, values, &mut packs[k]);
            }
        }
    }
);

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fearless_simd::kernel!(
    fn load_weights(avx512: Avx512, taken: u8, weights: [&[f64]; LANES], packs: &mut [Pack]) {
        for (k, packs) in packs.chunks_exact_mut(QUAD).enumerate().take(weights[0].len() / QUAD) {
            let values = transpose!(avx512, |lane: usize| &weights[lane][k * QUAD..(k + 1) * QUAD]);
            for (pack, values) in packs.iter_mut().zip(values) {
                put!(avx512, taken, values, pack);
            }
        }
    }
);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fearless_simd::Level;

    use super::{QUAD, RowTable, has_shuffles};
    use crate::lanes::{LANES, Pack};
    use crate::law::Residual;
    use crate::problem::{Loss, Part, Problem};
    use crate::testing::{problem, typed_law};

    /// Rows beyond the table are refused before any is read. (Without AVX-512 no table is read at all.)
    #[test]
    fn rows_beyond_the_table_are_refused() {
        let law = typed_law("y ~ a*exp(-b*x)", &["y", "x"]);
        let column: Vec<f64> = (1..=30).map(f64::from).collect();
        let (_, problem) = problem(&law, Residual::Linear, Loss::L2, &[("y", column.clone()), ("x", column)]);
        let mut table = RowTable::default();
        table.fill(&problem);
        let load = |table: &RowTable, last: u32| {
            let (rows, weight) = ([0, 1, 2, last], [1.0; 4]);
            let mut packs = vec![vec![Pack::ZERO; 4]; 2];
            let parts = [Some(Part::new(&rows, &weight)); LANES];
            let values = packs.iter_mut().map(Vec::as_mut_slice);
            table.load(Level::new(), parts, values, &mut [Pack::ZERO; 4])
        };
        let loaded = if has_shuffles(Level::new()) { 4 } else { 0 };
        assert_eq!(load(&table, 29), loaded);
        let beyond = std::panic::catch_unwind(|| load(&table, 30));
        assert!(beyond.is_err() || loaded == 0);
        assert_eq!(load(&RowTable::default(), 0), 0);
    }

    /// Rows hold the right values for four and five values per observation, with and without σ, after a larger table.
    #[test]
    fn rows_hold_the_values_of_columns_target_and_sigma() {
        let law = typed_law("y ~ a*exp(-b*x) + c*exp(-d*z) + e*w", &["y", "x", "z", "w"]);
        let named = |n: usize| {
            let column = |from: f64| (0..n).map(|i| from + i as f64).collect::<Vec<f64>>();
            [("y", column(100.0)), ("x", column(200.0)), ("z", column(300.0)), ("w", column(400.0))]
        };
        let of = |n: usize| problem(&law, Residual::Linear, Loss::L2, &named(n)).1;
        let mut table = RowTable::default();
        table.fill(&of(50));
        for sigma in [None, Some(0.5)] {
            let mut problem: Problem = of(30);
            Arc::make_mut(&mut problem.observations).sigma = sigma.map(|s| vec![s; 30]);
            table.fill(&problem);
            let columns = problem.model.read_columns.len();
            assert_eq!(columns, 3);
            let value = |i: usize, number: usize| table.rows[number / QUAD * 30 + i].0[number % QUAD];
            for i in 0..30 {
                for (number, &c) in problem.model.read_columns.iter().enumerate() {
                    assert_eq!(value(i, number), problem.columns[c as usize][i]);
                }
                assert_eq!(value(i, columns), 100.0 + i as f64);
                if sigma.is_some() {
                    assert_eq!(value(i, columns + 1), 2.0);
                }
            }
            assert_eq!(table.rows.len(), if sigma.is_some() { 60 } else { 30 });
        }
    }
}
