//! Properties of every fit, over random laws, data and scales.
//!
//! The generator of cases is seeded with a constant, so that every run tests the same ones; `PROPTEST_CASES` and
//! `PROPTEST_RNG_SEED` widen the search. What once failed stays in `proptest-regressions`.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, FailurePersistence, FileFailurePersistence, RngSeed};
use sweepfit::formula::{Column, Table, evaluate, parse_expression, parse_formula};
use sweepfit::internals::optimize::{Fit, FitOptions, Models, Status, Workspace, fit};
use sweepfit::internals::problem::{Loss, Problem, bind_columns};
use sweepfit::law::{Domain, Law, Residual};

fn config() -> Config {
    let given =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let regressions = FileFailurePersistence::WithSource("proptest-regressions");
    let failure_persistence = Some(Box::new(regressions) as Box<dyn FailurePersistence>);
    Config {
        cases: given("PROPTEST_CASES", 1000) as u32,
        rng_seed: RngSeed::Fixed(given("PROPTEST_RNG_SEED", 20_260_101)),
        failure_persistence,
        ..Config::default()
    }
}

/// One law, its data and how it is to be fitted.
#[derive(Clone, Debug)]
struct Case {
    formula: String,
    /// x, z, y.
    columns: [Vec<f64>; 3],
    weight: Vec<f64>,
    residual: Residual,
    loss: Loss,
}

/// Terms with parameters of their own, numbered by `k`. Together they have powers, exponentials, saturation, products
/// of variables, bounds of both kinds and parameters without domain.
fn term(kind: u8, k: usize) -> (String, String) {
    match kind {
        0 => (format!("a{k}*x^(-c{k})"), format!("a{k} > 0, c{k} in [0, 2]")),
        1 => (format!("a{k}/z^c{k}"), format!("a{k} > 0, c{k} in [0, 2]")),
        2 => (format!("a{k}*exp(-x/s{k})"), format!("a{k} >= 0, s{k} > 0")),
        3 => (format!("a{k}*log(z)"), format!("a{k} in [-1, 1]")),
        4 => (format!("a{k}*x/(s{k} + x)"), format!("a{k} > 0, s{k} > 0")),
        5 => (format!("a{k}*(x*z)^(-c{k})"), format!("a{k} > 0, c{k} >= 0")),
        6 => (format!("a{k}*tanh(x/s{k})"), format!("s{k} > 0")),
        7 => (format!("(s{k}/x)^c{k}"), format!("s{k} > 0, c{k} in [0.01, 1]")),
        _ => (format!("a{k}"), format!("a{k} >= 0")),
    }
}

fn law_text() -> impl Strategy<Value = String> {
    prop::collection::vec(0u8..9, 1..4).prop_map(|mut kinds| {
        if kinds.iter().all(|k| *k == 8) {
            kinds[0] = 0;
        }
        let (terms, domains): (Vec<String>, Vec<String>) =
            kinds.iter().enumerate().map(|(k, kind)| term(*kind, k)).unzip();
        format!("y ~ {} where {}", terms.join(" + "), domains.join(", "))
    })
}

fn case() -> impl Strategy<Value = Case> {
    let points = prop::collection::vec((0.0..1.0f64, 0.0..1.0f64, -1.0..1.0f64, 0.0..1.0f64), 1..40);
    let scales = (-9.0..9.0f64, 0.0..4.0f64, -9.0..9.0f64, -8.0..8.0f64);
    let truth =
        (0.0..2.0f64, 0.0..5.0f64, 0.01..1.0f64, prop_oneof![Just(0.0), Just(1e-3), Just(0.1), Just(1.0)]);
    // Values may repeat, so that some cases are not determined.
    let levels = prop_oneof![Just(1.0), Just(2.0), Just(5.0), Just(1e9)];
    let losses = (any::<bool>(), 0u8..4, -4.0..1.0f64);
    (law_text(), points, scales, truth, levels, losses).prop_map(
        |(
            formula,
            points,
            (x0, decades, z0, y0),
            (floor, size, exponent, noise),
            levels,
            (log, kind, delta),
        )| {
            let position = |u: f64| (u * levels).floor() / levels;
            let mut columns: [Vec<f64>; 3] = Default::default();
            for &(u, v, e, _) in &points {
                let (u, v) = (position(u), position(v));
                let y = floor + 0.1 + size * (-2.3 * exponent * u * decades).exp() + 0.1 * v;
                let values = [
                    10f64.powf(x0 + decades * u),
                    10f64.powf(z0 + 2.0 * v),
                    10f64.powf(y0) * y * (1.0 + 0.9 * noise * e),
                ];
                columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
            }
            let residual = if log { Residual::Log } else { Residual::Linear };
            let unit = if log { 1.0 } else { 10f64.powf(y0) };
            let delta = unit * 10f64.powf(delta);
            let loss = match kind {
                0 => Loss::L2,
                1 => Loss::Huber { delta },
                2 => Loss::SoftL1 { delta },
                _ => Loss::Cauchy { delta },
            };
            // A fifth of the weights are zero.
            let weight = points.iter().map(|p| if p.3 < 0.2 { 0.0 } else { p.3 }).collect();
            Case { formula, columns, weight, residual, loss }
        },
    )
}

impl Case {
    fn law(&self) -> Law {
        let names = ["x", "z", "y"].map(str::to_owned);
        Law::from_formula(parse_formula(&self.formula).expect("a formula"), &names).expect("a law")
    }

    fn bind(&self, models: &Models) -> Problem {
        let [x, z, y] = &self.columns;
        let columns: [(&str, &[f64]); 4] = [("y", y), ("x", x), ("z", z), ("w", &self.weight)];
        // The weight travels as a column, so that it is sorted with its row.
        let response = parse_expression("y").expect("a name");
        let (problem, rejected) = bind_columns(models.law(), models.full(), &response, self.loss, &columns);
        assert_eq!(rejected, []);
        let mut observations = (*problem.observations).clone();
        observations.weight = observations.rows.iter().map(|&i| self.weight[i as usize]).collect();
        Problem::new(models.full().clone(), Arc::new(observations), self.loss)
    }

    fn fit(&self, options: &FitOptions) -> (Models, Fit) {
        let models = Models::compile(self.law(), self.residual);
        let problem = self.bind(&models);
        let fit = fit(&models, problem, options, &mut Workspace::default());
        (models, fit)
    }

    /// Residuals at parameters in natural units, straight from the formula.
    fn residuals(&self, law: &Law, natural: &[f64]) -> Vec<f64> {
        let n = self.weight.len();
        let mut table = Table::new(n);
        table.push_numbers("x", self.columns[0].clone());
        table.push_numbers("z", self.columns[1].clone());
        for (parameter, value) in law.parameters.iter().zip(natural) {
            table.push_numbers(&parameter.name, vec![*value; n]);
        }
        let Ok(Column::Number { values, .. }) = evaluate(&law.prediction, &table) else {
            return vec![f64::NAN; n];
        };
        let residual = |(prediction, y): (f64, &f64)| match self.residual {
            Residual::Log => prediction.ln() - y.ln(),
            Residual::Linear => prediction - y,
        };
        values.into_iter().zip(&self.columns[2]).map(residual).collect()
    }

    fn objective(&self, law: &Law, natural: &[f64]) -> f64 {
        let weighted = self.weight.iter().zip(self.residuals(law, natural));
        weighted.filter(|(w, _)| **w > 0.0).map(|(w, r)| w * self.loss.terms::<f64>(r).value).sum()
    }

    /// How far residuals may move before a loss that is not convex may show another minimum.
    fn reach(&self) -> f64 {
        if let Loss::Cauchy { delta } = self.loss { 0.1 * delta } else { f64::INFINITY }
    }
}

fn trusted(fit: &Fit) -> bool {
    matches!(fit.status, Status::Converged | Status::AtBound)
}

proptest! {
    #![proptest_config(config())]

    /// Whatever the case, the result is a number or says why not, and the objective is the formula's.
    #[test]
    fn results_are_finite_and_true(case in case()) {
        let (models, fit) = case.fit(&FitOptions::default());
        prop_assert_eq!(fit.message.is_empty(), fit.status == Status::Converged);
        if !trusted(&fit) {
            return Ok(());
        }
        prop_assert!(fit.natural.iter().all(|x| x.is_finite()), "{:?}", fit.natural);
        prop_assert!(fit.objective().is_finite() && fit.objective() >= 0.0);
        prop_assert!(fit.identification.condition.is_finite());
        for (parameter, value) in models.law().parameters.iter().zip(&fit.natural) {
            if let Domain::Range { low, high } = parameter.domain {
                let slack = 1e-12 * value.abs();
                prop_assert!(low - slack <= *value && *value <= high + slack, "{} = {value}", parameter.name);
            }
        }
        let own = case.objective(models.law(), &fit.natural);
        let slack = 1e-6 * own + 1e6 * fit.problem.floor;
        prop_assert!((own - fit.objective()).abs() <= slack, "{own:e} {:e}", fit.objective());
    }

    /// No small step from a trusted estimate, inside the domain, lowers the objective: checked on the formula
    /// itself, along each parameter and along random directions.
    #[test]
    fn no_small_step_is_better(case in case(), directions in prop::collection::vec(prop::collection::vec(-1.0..1.0f64, 9), 8)) {
        let (models, fit) = case.fit(&FitOptions::default());
        if !trusted(&fit) {
            return Ok(());
        }
        let law = models.law();
        let least = case.objective(law, &fit.natural);
        let at = case.residuals(law, &fit.natural);
        let smallest = case.columns[0].iter().copied().fold(f64::INFINITY, f64::min);
        let n = law.parameters.len();
        let axes = (0..n).map(|k| (0..n).map(|j| f64::from(u8::from(j == k))).collect::<Vec<f64>>());
        for direction in axes.chain(directions) {
            for step in [1e-2, 1e-3, 1e-4, 1e-5] {
                for sign in [1.0, -1.0] {
                    let moved: Vec<f64> = law
                        .parameters
                        .iter()
                        .zip(&fit.natural)
                        .zip(&direction)
                        .map(|((parameter, value), d)| {
                            // A scale of zero is small against the smallest x.
                            let zero = if parameter.name.starts_with('s') { 1e-3 * smallest } else { 1.0 };
                            let unit = if *value == 0.0 { zero } else { value.abs() };
                            let Domain::Range { low, high } = parameter.domain else { return *value };
                            (value + sign * step * d * unit).clamp(low, high)
                        })
                        .collect();
                    let residuals = case.residuals(law, &moved);
                    if at.iter().zip(&residuals).any(|(a, b)| (a - b).abs() > case.reach()) {
                        continue;
                    }
                    let found = case.objective(law, &moved);
                    // What the rounding of powers of large numbers leaves.
                    let slack = 1e-9 * least + 1e6 * fit.problem.floor;
                    prop_assert!(
                        !(found < least - slack),
                        "{:?}: {least:e} at {:?}, {found:e} at {moved:?}", fit.status, fit.natural
                    );
                }
            }
        }
    }

    /// One start of the user's own: the end is never above it.
    #[test]
    fn a_search_never_climbs(case in case(), at in prop::collection::vec(0.05..0.95f64, 9)) {
        let law = case.law();
        let start: Vec<(String, f64)> = law
            .parameters
            .iter()
            .zip(&at)
            .map(|(parameter, u)| {
                let value = match parameter.domain {
                    Domain::Range { low, high } if low.is_finite() && high.is_finite() => low + u * (high - low),
                    _ => 4.0 * u,
                };
                (parameter.name.clone(), value)
            })
            .collect();
        let natural: Vec<f64> = start.iter().map(|(_, value)| *value).collect();
        let before = case.objective(&law, &natural);
        let options = FitOptions { starts: Some(1), user_start: start, ..FitOptions::default() };
        let (_, fit) = case.fit(&options);
        if before.is_finite() && fit.solution.is_some() {
            let slack = 1e-9 * before + 1e6 * fit.problem.floor;
            prop_assert!(fit.objective() <= before + slack, "{before:e} to {:e}", fit.objective());
        }
    }

    /// Rows in another order give the same bits; a factor on all weights gives the same estimates.
    #[test]
    fn order_and_weight_do_not_matter(case in case(), turn in 1usize..40, power in -20i32..20) {
        let (_, fit) = case.fit(&FitOptions::default());
        let mut turned = case.clone();
        let n = case.weight.len();
        turned.columns.iter_mut().for_each(|c| c.rotate_left(turn % n));
        turned.weight.rotate_left(turn % n);
        let (_, other) = turned.fit(&FitOptions::default());
        prop_assert_eq!(fit.status, other.status);
        let bits = |fit: &Fit| fit.natural.iter().map(|x| x.to_bits()).collect::<Vec<u64>>();
        prop_assert_eq!(bits(&fit), bits(&other));
        prop_assert_eq!(fit.message.clone(), other.message);

        let mut heavy = case.clone();
        heavy.weight.iter_mut().for_each(|w| *w *= 4f64.powi(power));
        let (_, other) = heavy.fit(&FitOptions::default());
        // At the limit of what the data determines rounding decides.
        let loose = |fit: &Fit| !(fit.identification.condition < 1e6);
        if loose(&fit) != loose(&other) {
            return Ok(());
        }
        prop_assert_eq!(fit.status, other.status, "{} {}", fit.message, other.message);
        if trusted(&fit) {
            // Square roots of these factors are exact, so rounding cannot decide between two optima.
            let ratio = other.objective() / fit.objective() / 4f64.powi(power);
            prop_assert!((ratio - 1.0).abs() < 1e-12 || fit.objective() < 1e3 * fit.problem.floor, "{ratio}");
            for (a, b) in fit.natural.iter().zip(&other.natural) {
                prop_assert!((a - b).abs() <= 1e-9 * a.abs(), "{:?} {:?}", fit.natural, other.natural);
            }
        }
    }
}
