//! A parameter held at a value that comes with the data: one compiled law for all values, as a profile needs it.

use std::sync::Arc;

use sweepfit::infer::{Context, InferenceOptions, Replicates, replicate};
use sweepfit::internals::optimize::{Fit, FitOptions, Models, Status, Workspace, Workspaces, fit, fit_many};
use sweepfit::internals::problem::{Loss, Problem, bind_columns};
use sweepfit::law::{Catalogue, Law, Residual};

/// Chinchilla's law on a grid, with noise, and some irreducible loss; and its data.
fn chinchilla(irreducible: f64) -> (Law, Models, Problem) {
    let law = Catalogue::built_in().unwrap().get("chinchilla").unwrap().clone();
    let models = Models::compile(law.clone(), Residual::Log);
    let runs: Vec<(f64, f64)> =
        (0..60).map(|i| (1e8 * 1.6f64.powi(i % 10), 2e9 * 2.2f64.powi(i / 10 % 6 + i % 3))).collect();
    let noise = [0.004, -0.01, 0.006, 0.008, -0.008];
    let loss: Vec<f64> = (runs.iter().enumerate())
        .map(|(i, (n, d))| (irreducible + 406.4 / n.powf(0.34) + 410.7 / d.powf(0.28)) * (1.0 + noise[i % 5]))
        .collect();
    let (n, d): (Vec<f64>, Vec<f64>) = runs.into_iter().unzip();
    let columns: Vec<(&str, &[f64])> = vec![("loss", &loss), ("N", &n), ("D", &d)];
    let (problem, _) = bind_columns(&law, models.full(), &law.response, Loss::L2, &columns);
    (law, models, problem)
}

/// Every parameter in turn, amplitudes and exponents alike, held at several values: the minimum over the others is that of the
/// law compiled with the value as a constant. Values share the lanes of one batch.
#[test]
fn a_held_parameter_gives_the_minimum_of_the_law_with_it_fixed() {
    let (law, models, problem) = chinchilla(1.69);
    let options = FitOptions::default();
    let free = fit(&models, problem.clone(), &options, &mut Workspace::default());
    assert_eq!(free.status, Status::Converged);
    for parameter in 0..law.parameters.len() {
        let held = models.holding(parameter);
        assert!(Arc::ptr_eq(&held, &models.holding(parameter)), "the law is compiled again");
        let values = [0.9, 0.97, 1.0, 1.04].map(|share| share * free.natural[parameter]);
        let problems = values.map(|value| problem.holding(Arc::clone(held.full()), &[value])).to_vec();
        let found = fit_many(&held, problems, &options, &mut Workspace::default());
        for (value, found) in values.into_iter().zip(found) {
            let fixed = Models::compile(law.with_fixed(parameter, value), Residual::Log);
            let expected = fit(
                &fixed,
                problem.with_model(Arc::clone(fixed.full())),
                &options,
                &mut Workspace::default(),
            );
            let name = &law.parameters[parameter].name;
            assert_eq!(found.status, expected.status, "{name} = {value}");
            assert_eq!(found.natural[parameter].to_bits(), value.to_bits(), "{name} = {value}");
            assert!(found.objective() >= free.objective() * (1.0 - 1e-12), "{name} = {value}");
            let relative = found.objective() / expected.objective() - 1.0;
            assert!(relative.abs() < 1e-10, "{name} = {value}: {relative:e}");
            for (a, b) in found.natural.iter().zip(&expected.natural) {
                assert!((a / b - 1.0).abs() < 1e-6, "{name} = {value}: {a} {b}");
            }
            if value == free.natural[parameter] {
                assert!((found.objective() / free.objective() - 1.0).abs() < 1e-12);
            }
        }
    }
}

/// Replicates keep the held value, also those of an estimate on the edge of its domain, which are refitted with all other
/// parameters free: they are the replicates of the law compiled with the value as a constant.
#[test]
fn replicates_keep_a_held_value() {
    let (law, models, problem) = chinchilla(-0.2);
    let alpha = law.parameters.iter().position(|p| p.name == "alpha").unwrap();
    let value = 0.4;
    let options = FitOptions::default();
    let held = models.holding(alpha);
    let found =
        fit(&held, problem.holding(Arc::clone(held.full()), &[value]), &options, &mut Workspace::default());
    let fixed = Models::compile(law.with_fixed(alpha, value), Residual::Log);
    let expected =
        fit(&fixed, problem.with_model(Arc::clone(fixed.full())), &options, &mut Workspace::default());
    assert_eq!((found.status, expected.status), (Status::AtBound, Status::AtBound));
    let replicates = |models: &Models, fit: &Fit| -> Replicates {
        let options = InferenceOptions { bootstrap: 60, ..InferenceOptions::default() };
        let (workspaces, mut workspace) = (Workspaces::default(), Workspace::default());
        let context = Context::silent(&workspaces, &mut workspace);
        replicate(models, fit, &options, &context).unwrap()
    };
    let (found, expected) = (replicates(&held, &found), replicates(&fixed, &expected));
    assert!(expected.n_failed() < 6, "{} failed", expected.n_failed());
    assert_eq!(found.converged, expected.converged);
    for r in (0..60).filter(|&r| expected.converged[r]) {
        assert_eq!(found.row(r)[alpha].to_bits(), value.to_bits(), "replicate {r}");
        let relative = found.objective[r] / expected.objective[r] - 1.0;
        assert!(relative.abs() < 1e-9, "replicate {r}: {relative:e}");
        for (a, b) in found.row(r).iter().zip(expected.row(r)) {
            assert!((a - b).abs() <= 1e-5 * b.abs(), "replicate {r}: {a} {b}");
        }
    }
}
