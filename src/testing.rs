//! Problems made from arrays, for unit tests.

use crate::formula::{parse_expression, parse_formula};
use crate::law::{Catalogue, Domain, Law, Residual};
use crate::problem::{Loss, Problem, bind_columns};
use crate::solve::Models;

/// The law of the built-in catalogue.
pub fn catalogue_law(name: &str) -> Law {
    Catalogue::built_in().unwrap().get(name).unwrap().clone()
}

/// A typed law over the given columns.
pub fn typed_law(text: &str, columns: &[&str]) -> Law {
    let columns: Vec<String> = columns.iter().map(|c| (*c).to_string()).collect();
    Law::from_formula(parse_formula(text).unwrap(), &columns).unwrap()
}

/// A law on columns of data; the response is the first column, whatever it is called.
pub fn problem(law: &Law, residual: Residual, loss: Loss, columns: &[(&str, Vec<f64>)]) -> (Models, Problem) {
    let models = Models::compile(law.clone(), residual);
    let response = parse_expression(columns[0].0).unwrap();
    let slices: Vec<(&str, &[f64])> =
        columns.iter().map(|(name, values)| (*name, values.as_slice())).collect();
    let (problem, rejected) = bind_columns(law, models.full(), &response, loss, &slices);
    assert_eq!(rejected, []);
    (models, problem)
}

/// Numbers in (0, 1) from a fixed linear congruence: reproducible, and nothing depends on their quality.
pub struct Uniform(pub u64);

impl Uniform {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next()
    }
}

/// Plausible values of a law's variables.
pub fn plausible_columns(law: &Law, n: usize, uniform: &mut Uniform) -> Vec<(String, Vec<f64>)> {
    law.variables
        .iter()
        .map(|variable| {
            let (low, high): (f64, f64) = match variable.as_str() {
                "N" | "Nact" => (1e7, 1e10),
                "D" => (1e9, 1e12),
                "U" => (1e9, 1e11),
                "C" => (1e17, 1e22),
                "M" => (2.0, 600.0),
                "S" => (1e3, 1e5),
                "P" => (3.0, 16.0),
                "L" | "L0" => (2.0, 5.0),
                "k" => (1.0, 1e4),
                "Ehat" => (1.0, 256.0),
                _ => (16.0, 5e4),
            };
            let values = (0..n).map(|_| low * (high / low).powf(uniform.next())).collect();
            (variable.clone(), values)
        })
        .collect()
}

/// A plausible value of each free parameter, inside its domain.
pub fn plausible_parameters(law: &Law, uniform: &mut Uniform) -> Vec<f64> {
    law.parameters
        .iter()
        .map(|parameter| match (parameter.domain, parameter.start) {
            (Domain::Fixed(value), _) => value,
            (_, Some((low, high))) if low > 0.0 => low * (high / low).powf(uniform.between(0.2, 0.8)),
            (_, Some((low, high))) => low + (high - low) * uniform.between(0.2, 0.8),
            (Domain::Range { low, high }, None) => {
                // Scales that meet the data are of its size.
                let scale = match parameter.name.as_str() {
                    "Nc" | "Dc" | "Cc" => 1e13,
                    "Sc" | "d" | "d1" => 300.0,
                    "d2" => 3000.0,
                    "d3" => 20_000.0,
                    "E0" => 1.0,
                    "g" if law.name == "shifted-power" => 1e-3,
                    "B" if law.name == "shifted-compute" => 1e18,
                    "b" if law.name == "exp3" => 1e-4,
                    "L0" => 3.0,
                    "e" if law.name == "m4" => 0.3,
                    "e0" => 4.0,
                    _ => 1.0,
                };
                (scale * uniform.between(0.7, 1.4)).clamp(low, high)
            }
        })
        .collect()
}
