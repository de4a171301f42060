//! Laws, problems, random numbers and SIMD levels for unit tests.

use fearless_simd::Level;

use crate::formula::{parse_expression, parse_formula};
use crate::law::{Catalogue, Law, Residual};
use crate::optimize::Models;
use crate::problem::{Loss, Problem, bind_columns};

/// Returns a law of the built-in catalogue.
pub fn catalogue_law(name: &str) -> Law {
    Catalogue::built_in().unwrap().get(name).unwrap().clone()
}

/// Returns the law of a formula; names among `columns` are variables, others parameters.
pub fn typed_law(text: &str, columns: &[&str]) -> Law {
    let columns: Vec<String> = columns.iter().map(|c| (*c).to_string()).collect();
    Law::from_formula(parse_formula(text).unwrap(), &columns).unwrap()
}

/// Returns the compiled law and the problem of fitting it to columns. The first column is the response, whatever its
/// name.
///
/// # Panics
/// If an observation is rejected.
pub fn problem(law: &Law, residual: Residual, loss: Loss, columns: &[(&str, Vec<f64>)]) -> (Models, Problem) {
    let models = Models::compile(law.clone(), residual);
    let response = parse_expression(columns[0].0).unwrap();
    let slices: Vec<(&str, &[f64])> =
        columns.iter().map(|(name, values)| (*name, values.as_slice())).collect();
    let (problem, rejected) = bind_columns(law, models.full(), &response, loss, &slices);
    assert_eq!(rejected, []);
    (models, problem)
}

/// A linear congruential generator with its state; for tests that need reproducible numbers of no particular quality.
pub struct Uniform(pub u64);

impl Uniform {
    /// Returns a number in the open unit interval.
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Returns a number between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next()
    }
}

/// Returns the SIMD levels of this machine with their names, the best first.
#[cfg_attr(not(any(target_arch = "x86", target_arch = "x86_64")), allow(unused_mut))]
pub fn levels() -> Vec<(&'static str, Level)> {
    let best = Level::new();
    let mut levels = vec![("best", best), ("baseline", Level::baseline())];
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        levels.extend(best.as_avx512().map(|t| ("avx512", Level::Avx512(t))));
        levels.extend(best.as_avx2().map(|t| ("avx2", Level::Avx2(t))));
        levels.extend(best.as_sse4_2().map(|t| ("sse4.2", Level::Sse4_2(t))));
        levels.extend(best.as_sse2().map(|t| ("sse2", Level::Sse2(t))));
    }
    levels
}
