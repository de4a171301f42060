//! Intervals without replicates contain the truth about as often as they say.
//!
//! Sweeps are simulated from known parameters; of intervals at 95 % between 92 % and 97.5 % are to contain them. The share's own
//! standard error is half a percent.

mod common;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use common::program::{Outcome, fit};
use common::{Folder, floats, strings};

const SWEEPS: usize = 2000;

/// The same noise on every machine.
struct Noise(ChaCha8Rng);

impl Noise {
    fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Box & Muller (1958).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// Student's t with three degrees of freedom, of variance one.
    fn heavy(&mut self) -> f64 {
        let squares: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / squares.sqrt()
    }
}

fn ladder(low: f64, high: f64, count: usize) -> Vec<f64> {
    (0..count).map(|i| low * (high / low).powf(i as f64 / (count - 1) as f64)).collect()
}

/// The share of intervals that contain each parameter's true value.
fn shares(
    points: &[(f64, f64)],
    curve: impl Fn(f64, f64) -> f64,
    law: &str,
    truth: &[(&str, f64)],
    mut noise: impl FnMut() -> f64,
) -> Vec<(String, f64)> {
    let (mut names, mut columns) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for sweep in 0..SWEEPS {
        for &(n, d) in points {
            names.push(format!("{sweep}"));
            columns[0].push(n);
            columns[1].push(d);
            columns[2].push(curve(n, d) * noise().exp());
        }
    }
    let folder = Folder::new();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let [n, d, loss] = &columns;
    let columns = [("sweep", strings(&names)), ("N", floats(n)), ("D", floats(d)), ("loss", floats(loss))];
    folder.write("in.parquet", &columns);
    let arguments = ["--by", "sweep", "--law", law, "--residual", "log", "--bootstrap", "0"];
    let outcome: Outcome = fit(&folder.path("in.parquet"), &folder.path("out"), &arguments);
    let share = |&(name, value): &(&str, f64)| {
        let rows = outcome.coefficients.only("parameter", name);
        let (low, high) = (rows.floats("ci_low"), rows.floats("ci_high"));
        let inside = low.iter().zip(&high).filter(|(low, high)| **low <= value && value <= **high).count();
        (name.to_owned(), inside as f64 / low.len() as f64)
    };
    truth.iter().map(share).collect()
}

#[test]
fn intervals_without_replicates_hold() {
    let sizes = ladder(1e7, 1e10, 6);
    let tokens = ladder(1e9, 1e12, 6);
    let grid: Vec<(f64, f64)> = sizes.iter().flat_map(|n| tokens.iter().map(move |d| (*n, *d))).collect();
    let line: Vec<(f64, f64)> = ladder(1e2, 1e5, 20).into_iter().map(|n| (n, n)).collect();
    let chinchilla = |n: f64, d: f64| 1.69 + 406.4 / n.powf(0.34) + 410.7 / d.powf(0.28);
    let of_chinchilla = [("E", 1.69), ("A", 406.4), ("B", 410.7), ("alpha", 0.34), ("beta", 0.28)];
    let offset = |n: f64, _: f64| 0.5 + 20.0 / n.sqrt();
    let of_offset = [("E", 0.5), ("A", 20.0), ("alpha", 0.5)];
    let power = "loss ~ E + A/N^alpha where E > 0, A > 0, alpha in [0, 2]";
    let mut source = Noise(ChaCha8Rng::seed_from_u64(1));
    let mut found = Vec::new();
    for heavy in [false, true] {
        let mut noise = |size: f64| size * if heavy { source.heavy() } else { source.normal() };
        found.extend(shares(&grid, chinchilla, "chinchilla", &of_chinchilla, || noise(0.003)));
        found.extend(shares(&line, offset, power, &of_offset, || noise(0.02)));
    }
    for (name, share) in &found {
        assert!((0.92..=0.975).contains(share), "{name}: {share} in {found:?}");
    }
}
