//! Tests of the certificate: points that are not minima are not certified, and minima are.

use std::sync::Arc;

use crate::compile::{Model, Operand};
use crate::law::{Law, Residual};
use crate::problem::{LaneData, Loss, Problem};
use crate::testing::{catalogue_law, problem, typed_law};
use crate::verify::nist;

use super::free_coordinates;
use crate::optimize::{
    Certificate, Evaluated, Fit, FitOptions, Linearization, Models, Status, Workspace, falls_below, fit,
    minimise,
};

/// Returns the certificate of a point.
fn certificate(problem: &Problem, theta: &[f64]) -> Certificate {
    let at = evaluated(problem, theta);
    let mut free = Vec::new();
    free_coordinates(theta, &at.gradient, &problem.model.bounds, &mut free);
    certificate_of(problem, theta, &at, &free)
}

fn certificate_of(problem: &Problem, theta: &[f64], rows: &Linearization, free: &[usize]) -> Certificate {
    let coordinates = &problem.model.coordinates;
    Certificate::of(Evaluated { coordinates, theta, rows, free, floor: problem.floor })
}

fn evaluated(problem: &Problem, theta: &[f64]) -> Linearization {
    Linearization::at(problem, &LaneData::spread(problem, &problem.observations.weight), theta)
}

fn fitted(models: &Models, problem: Problem) -> Fit {
    fit(models, problem, &FitOptions::default(), &mut Workspace::default())
}

/// Fits from one start alone, given by name.
fn fitted_from(models: &Models, problem: Problem, start: &[(&str, f64)]) -> Fit {
    let user_start = start.iter().map(|(name, value)| ((*name).to_string(), *value)).collect();
    let options = FitOptions { starts: Some(1), user_start, ..FitOptions::default() };
    fit(models, problem, &options, &mut Workspace::default())
}

type Columns = Vec<(&'static str, Vec<f64>)>;

/// Relative noise of period five, at most 1 %, of mean zero.
const NOISE: [f64; 5] = [0.004, -0.01, 0.006, 0.008, -0.008];

fn noisy(values: impl Iterator<Item = f64>) -> Vec<f64> {
    values.enumerate().map(|(i, y)| y * (1.0 + NOISE[i % 5])).collect()
}

/// Returns forty runs on Chinchilla's law.
fn chinchilla() -> Columns {
    let runs: Vec<(f64, f64)> =
        (0..40).map(|i| (1e8 * 1.9_f64.powi(i % 8), 2e9 * 2.7_f64.powi(i / 8 + i % 3))).collect();
    let loss = noisy(runs.iter().map(|(n, d)| 1.69 + 406.4 / n.powf(0.34) + 410.7 / d.powf(0.28)));
    vec![
        ("loss", loss),
        ("N", runs.iter().map(|run| run.0).collect()),
        ("D", runs.iter().map(|run| run.1).collect()),
    ]
}

/// Returns a saturating growth curve.
fn growth() -> Columns {
    let x: Vec<f64> = (1..=15).map(f64::from).collect();
    let y = noisy(x.iter().map(|x| 7.0 * (1.0 - (-0.3 * x).exp())));
    vec![("y", y), ("x", x)]
}

fn typed(text: &str) -> Law {
    typed_law(text, &["x", "y"])
}

/// Returns problems with a minimum inside the domain, of each kind of residual and several losses.
fn well_posed() -> Vec<(&'static str, Models, Problem)> {
    let mut found = Vec::new();
    for loss in [Loss::L2, Loss::Huber { delta: 1e-3 }, Loss::SoftL1 { delta: 0.01 }] {
        let (models, bound) = problem(&catalogue_law("chinchilla"), Residual::Log, loss, &chinchilla());
        found.push(("chinchilla", models, bound));
    }
    for loss in [Loss::L2, Loss::Cauchy { delta: 0.1 }] {
        let law = typed("y ~ a*(1 - exp(-b*x)) where b > 0");
        let (models, bound) = problem(&law, Residual::Linear, loss, &growth());
        found.push(("growth", models, bound));
    }
    found
}

/// The minimum is certified and a point beside it is not, along any coordinate: a solver that stops early is detected.
#[test]
fn a_point_beside_the_minimum_fails() {
    for (name, models, problem) in well_posed() {
        let fit = fitted(&models, problem.clone());
        assert_eq!(fit.status, Status::Converged, "{name}: {}", fit.message);
        let theta = fit.solution.unwrap().theta;
        assert!(certificate(&problem, &theta).holds(), "{name}");
        for i in 0..theta.len() {
            for off in [1e-4, -1e-4, 1e-6] {
                let mut beside = theta.clone();
                beside[i] += off * theta[i].abs().max(1.0);
                let certificate = certificate(&problem, &beside);
                assert!(!certificate.holds(), "{name} {}: coordinate {i} {off:e}", problem.loss);
                assert!(certificate.failure().contains("not certified"), "{}", certificate.failure());
            }
        }
    }
}

/// After k iterations a point is certified only if it has NIST's certified parameters; mostly it is not certified.
#[test]
fn a_solver_that_is_cut_short_is_not_certified() {
    let (mut certified, mut refused) = (0, 0);
    for nist in nist::problems().unwrap() {
        let law = nist.law().unwrap();
        let columns: Vec<(&str, Vec<f64>)> =
            nist.columns.iter().map(|(name, values)| (name.as_str(), values.clone())).collect();
        let slices: Vec<(&str, &[f64])> = columns.iter().map(|(n, v)| (*n, v.as_slice())).collect();
        let models = Models::compile(law.clone(), Residual::Linear);
        let (problem, _) =
            crate::problem::bind_columns(&law, models.full(), &law.response, Loss::L2, &slices);
        let place = |name: &String| nist.parameters.iter().position(|p| p == name).unwrap();
        let start: Vec<f64> = law.parameters.iter().map(|p| nist.start_2[place(&p.name)]).collect();
        let theta = problem.coordinates(&start);
        for most in 0..12 {
            let Some(found) = minimise(
                &problem,
                &problem.observations.weight,
                &theta,
                most,
                &mut crate::optimize::MinimiseWorkspace::default(),
            ) else {
                continue;
            };
            if !found.certificate.holds() {
                refused += 1;
                continue;
            }
            certified += 1;
            for (parameter, value) in law.parameters.iter().zip(problem.natural(&found.theta)) {
                let truth = nist.certified[place(&parameter.name)];
                let error = (value / truth - 1.0).abs();
                assert!(error < 1e-6, "{} after {most}: {} is {value}", nist.name, parameter.name);
            }
        }
    }
    assert!(certified > 60 && refused > 60, "{certified} certified, {refused} refused");
}

/// Returns the model with one output of its programs replaced by another: a derivative that is not the law's.
fn tampered(law: &Law, residual: Residual, tamper: impl Fn(&mut Vec<Operand>)) -> Arc<Model> {
    let mut model = Model::compile(law, residual);
    tamper(&mut model.hessian.outputs);
    tamper(&mut model.search.outputs);
    Arc::new(model)
}

/// With a wrong derivative the true minimum is not stationary. Another point may be, by chance; it is not certified
/// with the right derivatives.
#[test]
fn a_wrong_derivative_is_not_certified() {
    let law = catalogue_law("chinchilla");
    let mut by_chance = 0;
    for loss in [Loss::L2, Loss::Huber { delta: 1e-3 }] {
        let (models, right) = problem(&law, Residual::Log, loss, &chinchilla());
        let theta = fitted(&models, right.clone()).solution.unwrap().theta;
        for which in 1..=right.p() {
            let model = tampered(&law, Residual::Log, |outputs| outputs[which] = outputs[0]);
            let wrong = Problem::new(model, Arc::clone(&right.observations), loss);
            let at = evaluated(&wrong, &theta);
            assert_eq!(at.objective, evaluated(&right, &theta).objective);
            assert!(!certificate(&wrong, &theta).holds(), "{loss}: derivative {which}");
            let fit = fitted(&models, wrong);
            if matches!(fit.status, Status::Converged | Status::AtBound) {
                by_chance += 1;
                let end = fit.solution.unwrap().theta;
                assert!(!certificate(&right, &end).holds(), "{loss}: derivative {which}: {:?}", fit.natural);
            }
        }
    }
    assert!(by_chance <= 1, "{by_chance} of 10 certified");
}

/// A wrong derivative at a single observation is detected.
#[test]
fn a_jacobian_with_one_wrong_entry_fails() {
    for (name, models, problem) in well_posed() {
        let fit = fitted(&models, problem.clone());
        let theta = fit.solution.unwrap().theta;
        let right = evaluated(&problem, &theta);
        let free: Vec<usize> = (0..problem.p()).collect();
        for i in 0..problem.p() {
            let mut wrong = right.clone();
            let change = 1e-3 * wrong.jacobian[i];
            wrong.jacobian[i] += change;
            wrong.gradient[i] += wrong.slope[0] * change;
            assert!(!certificate_of(&problem, &theta, &wrong, &free).holds(), "{name}: derivative {i}");
        }
    }
}

/// A start at a minimum is certified at once and stays unchanged.
#[test]
fn a_minimum_as_start_converges_at_once() {
    for (name, models, problem) in well_posed() {
        let theta = fitted(&models, problem.clone()).solution.unwrap().theta;
        let found = minimise(
            &problem,
            &problem.observations.weight,
            &theta,
            100,
            &mut crate::optimize::MinimiseWorkspace::default(),
        )
        .unwrap();
        assert_eq!(found.iterations, 0, "{name}");
        assert!(found.certificate.holds(), "{name}");

        let natural = problem.natural(&theta);
        let start: Vec<(&str, f64)> =
            models.law().parameters.iter().map(|p| p.name.as_str()).zip(natural.iter().copied()).collect();
        let again = fitted_from(&models, problem, &start);
        assert_eq!(again.status, Status::Converged, "{name}: {}", again.message);
        assert!(again.iterations <= 2, "{name}: {} iterations", again.iterations);
        for (a, b) in again.natural.iter().zip(&natural) {
            assert!((a / b - 1.0).abs() < 1e-12, "{name}: {a} for {b}");
        }
    }
}

/// Two exponentials with equal rates, fitted to data of two different rates: the best pair of equal rates is
/// stationary, but the objective decreases when the rates separate.
#[test]
fn a_saddle_is_not_a_minimum() {
    let x: Vec<f64> = (0..20).map(|i| 0.2 * f64::from(i)).collect();
    let y: Vec<f64> = x.iter().map(|x| (-0.5 * x).exp() + (-3.0 * x).exp()).collect();
    let columns = vec![("y", y), ("x", x)];
    let (models, tied) = problem(&typed("y ~ 2*exp(-c*x)"), Residual::Linear, Loss::L2, &columns);
    let rate = fitted(&models, tied).natural[0];

    let (models, free) = problem(&typed("y ~ exp(-a*x) + exp(-b*x)"), Residual::Linear, Loss::L2, &columns);
    let saddle = certificate(&free, &[rate, rate]);
    assert!(saddle.gradient <= saddle.gradient_limit, "{saddle:?}");
    assert!(saddle.lowest_curvature < -1e-3, "{saddle:?}");
    assert!(!saddle.holds());
    assert!(saddle.failure().contains("not a minimum"), "{}", saddle.failure());

    // A lone start there ends at the two rates, or says that it did not converge.
    let fit = fitted_from(&models, free.clone(), &[("a", rate), ("b", rate)]);
    if fit.status == Status::Converged {
        assert!(fit.objective() < 1e-20, "{:?}", fit.natural);
    }
    let mut rates = fitted(&models, free).natural;
    rates.sort_by(f64::total_cmp);
    assert!((rates[0] - 0.5).abs() < 1e-9 && (rates[1] - 3.0).abs() < 1e-9, "{rates:?}");
}

/// A maximum is stationary and not certified.
#[test]
fn a_maximum_is_not_a_minimum() {
    // Symmetric about the phase, so that the opposite phase is stationary.
    let x: Vec<f64> = (-10..=10).map(|i| 0.3 + 0.1 * f64::from(i)).collect();
    let y: Vec<f64> = x.iter().map(|x| (x - 0.3).cos()).collect();
    let columns = vec![("y", y), ("x", x)];
    let (_, problem) = problem(&typed("y ~ cos(x - a)"), Residual::Linear, Loss::L2, &columns);
    let pi = std::f64::consts::PI;
    let opposite = certificate(&problem, &[0.3 + pi]);
    assert!(opposite.gradient < 1e-6 && opposite.lowest_curvature < 0.0, "{opposite:?}");
    assert!(!opposite.holds());
    assert!(certificate(&problem, &[0.3]).holds());
}

/// An exact fit, whose objective is zero but for rounding, converges in any unit.
#[test]
fn an_exact_fit_converges() {
    let x: Vec<f64> = (1..=12).map(f64::from).collect();
    for unit in [1e-9, 1.0, 1e6] {
        for (text, residual, truth) in [
            ("y ~ e + b*x^(-c) where e >= 0, b > 0", Residual::Linear, [0.5 * unit, 2.0 * unit, 0.7]),
            ("y ~ e + b*x^(-c) where e >= 0, b > 0", Residual::Log, [0.5 * unit, 2.0 * unit, 0.7]),
        ] {
            for loss in
                [Loss::L2, Loss::Huber { delta: 1e-3 * if residual == Residual::Log { 1.0 } else { unit } }]
            {
                let y = x.iter().map(|x| truth[0] + truth[1] * x.powf(-truth[2])).collect();
                let columns = vec![("y", y), ("x", x.clone())];
                let (models, problem) = problem(&typed(text), residual, loss, &columns);
                let floor = problem.floor;
                let fit = fitted(&models, problem);
                assert_eq!(fit.status, Status::Converged, "{unit} {residual} {loss}: {}", fit.message);
                assert!(fit.objective() <= 100.0 * floor, "{} against {floor}", fit.objective());
                for (got, truth) in fit.natural.iter().zip(truth) {
                    assert!((got / truth - 1.0).abs() < 1e-9, "{unit} {residual} {loss}: {:?}", fit.natural);
                }
            }
        }
    }
}

/// A direction that the data does not determine is reported with its parameters, and the fit is not called converged.
#[test]
fn a_flat_direction_is_underdetermined() {
    let x: Vec<f64> = (1..=16).map(f64::from).collect();
    let y = noisy(x.iter().map(|x| 2.0 + 3.0 * x));
    let two = x.iter().map(|x| if *x < 8.0 { 1.0 } else { 2.0 }).collect();
    let cases: [(&str, &[&str], Columns); 6] = [
        ("y ~ a*b*x + c", &["`a`", "`b`"], vec![("y", y.clone()), ("x", x.clone())]),
        ("y ~ a + b + c*x", &["`a`", "`b`"], vec![("y", y.clone()), ("x", x.clone())]),
        ("y ~ A*exp(b + c*x) where A > 0", &["`A`", "`b`"], vec![("y", y.clone()), ("x", x.clone())]),
        ("y ~ a + c*x + 0*d", &["`d`"], vec![("y", y.clone()), ("x", x.clone())]),
        // The corner lies beyond the data.
        ("y ~ a + b*x + c*max(x - 100, 0)", &["`c`"], vec![("y", y.clone()), ("x", x.clone())]),
        // Two values of x cannot tell three parameters apart.
        ("y ~ e + b*x^(-c) where e >= 0, b > 0", &[], vec![("y", y.clone()), ("x", two)]),
    ];
    for (text, names, columns) in &cases {
        for (residual, loss) in [
            (Residual::Linear, Loss::L2),
            (Residual::Linear, Loss::Huber { delta: 0.1 }),
            (Residual::Log, Loss::L2),
            (Residual::Log, Loss::Huber { delta: 1e-3 }),
        ] {
            let (models, problem) = problem(&typed(text), residual, loss, columns);
            let fit = fitted(&models, problem);
            let what = format!("{text} {residual} {loss}: {}", fit.message);
            assert_eq!(fit.status, Status::Underdetermined, "{what}");
            for name in *names {
                assert!(fit.message.contains(name), "{what}");
            }
        }
    }
}

/// Status and estimate do not change when the objective or the responses are multiplied by a constant.
#[test]
fn status_is_invariant_under_units() {
    let law = typed("y ~ a*(1 - exp(-b*x)) where b > 0");
    let reference = problem(&law, Residual::Linear, Loss::L2, &growth());
    let expected = fitted(&reference.0, reference.1).natural;
    for unit in [1e-12, 1e-3, 1e9] {
        let mut columns = growth();
        columns[0].1.iter_mut().for_each(|y| *y *= unit);
        let (models, problem) = problem(&law, Residual::Linear, Loss::L2, &columns);
        let theta = {
            let fit = fitted(&models, problem.clone());
            assert_eq!(fit.status, Status::Converged, "{unit}: {}", fit.message);
            assert!((fit.natural[0] / (expected[0] * unit) - 1.0).abs() < 1e-10);
            assert!((fit.natural[1] / expected[1] - 1.0).abs() < 1e-10);
            fit.solution.unwrap().theta
        };
        let mut beside = theta;
        beside[0] *= 1.0 + 1e-6;
        assert!(!certificate(&problem, &beside).holds(), "{unit}");

        // The objective over n, or times it, by way of the weights.
        let weight = vec![unit; problem.n()];
        let mut observations = (*problem.observations).clone();
        observations.weight = weight;
        let weighted = Problem::new(Arc::clone(&problem.model), Arc::new(observations), Loss::L2);
        let fit = fitted(&models, weighted);
        assert_eq!(fit.status, Status::Converged, "{unit}: {}", fit.message);
        assert!((fit.natural[1] / expected[1] - 1.0).abs() < 1e-10);
    }
}

/// A level between the starting objective and the minimum is passed, and one below the minimum is not; so from other starts.
#[test]
fn a_level_is_passed_where_the_minimum_is_below_it() {
    let law = catalogue_law("chinchilla");
    for loss in [Loss::L2, Loss::Huber { delta: 1e-2 }] {
        let (models, bound) = problem(&law, Residual::Log, loss, &chinchilla());
        let least = fitted(&models, bound.clone());
        let solution = least.solution.as_ref().unwrap();
        let mut workspace = Workspace::default();
        for move_by in [0.02, -0.05, 0.2] {
            let start: Vec<f64> = solution.theta.iter().map(|x| x * (1.0 + move_by)).collect();
            for factor in [0.5, 0.99, 0.9999, 1.0001, 1.01, 2.0] {
                let weight = &bound.observations.weight;
                let level = (factor * least.objective(), 100);
                let below = falls_below(&bound, weight, &start, level, workspace.reference());
                assert_eq!(below, Some(factor > 1.0), "{loss}: {factor} of the minimum from {move_by}");
            }
        }
    }
}
