//! The compiler against independent evaluations: the formula interpreter for values, differences of values for
//! derivatives, known limits for the numerics.

use crate::formula::{Column, Table, evaluate};
use crate::law::{Catalogue, Law, Pack, Residual};
use crate::problem::{LaneData, Loss, Problem, Workspace, outputs_lanes};
use crate::testing::{Uniform, plausible_columns, plausible_parameters, problem, typed_law};

/// The prediction by interpreting the formula as written.
fn interpreted(law: &Law, parameters: &[f64], variables: &[(String, Vec<f64>)]) -> Vec<f64> {
    let n = variables[0].1.len();
    let mut table = Table::new(n);
    variables.iter().for_each(|(name, values)| table.push_numbers(name, values.clone()));
    for (parameter, &value) in law.parameters.iter().zip(parameters) {
        table.push_numbers(&parameter.name, vec![value; n]);
    }
    match evaluate(&law.prediction, &table).unwrap() {
        Column::Number { values, .. } => values,
        other => panic!("{other:?}"),
    }
}

fn bound(law: &Law, residual: Residual, variables: &[(String, Vec<f64>)]) -> Problem {
    let n = variables[0].1.len();
    let mut columns = vec![("response_", vec![1.0; n])];
    columns.extend(variables.iter().map(|(name, values)| (name.as_str(), values.clone())));
    problem(law, residual, Loss::L2, &columns).1
}

/// Outputs of the full program, `[output][observation]`, in the problem's order of observations.
fn outputs(problem: &Problem, theta: &[f64]) -> Vec<Vec<f64>> {
    let data = LaneData::spread(problem, &problem.observations.weight);
    let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
    outputs_lanes(&problem.model.hessian, &data, &coordinates, &mut Workspace::default())
        .iter()
        .map(|packs| (0..problem.n()).map(|i| packs[i / 8].0[i % 8]).collect())
        .collect()
}

#[test]
fn every_law_has_the_value_that_its_formula_says() {
    let mut uniform = Uniform(1);
    for law in &Catalogue::built_in().unwrap().laws {
        for residual in [Residual::Linear, Residual::Log] {
            let variables = plausible_columns(law, 21, &mut uniform);
            let parameters = plausible_parameters(law, &mut uniform);
            let problem = bound(law, residual, &variables);
            let theta = problem.coordinates(&parameters);
            let expected = interpreted(law, &parameters, &variables);
            for (i, value) in outputs(&problem, &theta)[0].iter().enumerate() {
                let place = problem.observations.rows[i] as usize;
                let expected = match residual {
                    Residual::Linear => expected[place],
                    Residual::Log => expected[place].ln(),
                };
                if expected.is_nan() && value.is_nan() {
                    continue;
                }
                let error = (value - expected).abs() / expected.abs().max(1.0);
                assert!(error < 1e-11, "{} {residual}: {value} for {expected}", law.name);
            }
            for (back, given) in problem.natural(&theta).iter().zip(&parameters) {
                assert!((back / given - 1.0).abs() < 1e-12, "{}: {back} for {given}", law.name);
            }
        }
    }
}

/// Central differences with Richardson extrapolation: right to about 1e-9 of the function's size.
fn slope(f: impl Fn(f64) -> Vec<f64>, h: f64) -> Vec<f64> {
    let central =
        |h: f64| -> Vec<f64> { f(h).iter().zip(f(-h)).map(|(up, down)| (up - down) / (2.0 * h)).collect() };
    central(h / 2.0).iter().zip(central(h)).map(|(fine, coarse)| (4.0 * fine - coarse) / 3.0).collect()
}

#[test]
fn derivatives_of_every_law_agree_with_differences() {
    let mut uniform = Uniform(5);
    for law in &Catalogue::built_in().unwrap().laws {
        for residual in [Residual::Linear, Residual::Log] {
            let variables = plausible_columns(law, 16, &mut uniform);
            let parameters = plausible_parameters(law, &mut uniform);
            let problem = bound(law, residual, &variables);
            let theta = problem.coordinates(&parameters);
            let exact = outputs(&problem, &theta);
            let p = theta.len();
            let shifted = |j: usize, h: f64| {
                let mut theta = theta.clone();
                theta[j] += h;
                outputs(&problem, &theta)
            };
            for j in 0..p {
                let h = match problem.model.coordinates[j].scale {
                    crate::law::Scale::Log => 1e-3,
                    crate::law::Scale::Linear => 1e-3 * theta[j].abs().max(1e-6),
                };
                let first = slope(|h| shifted(j, h)[0].clone(), h);
                compare(law, &exact[1 + j], &first, 1e-5);
                for (k, &(a, b)) in problem.model.curved.iter().enumerate() {
                    if b == j {
                        let second = slope(|h| shifted(j, h)[1 + a].clone(), h);
                        compare(law, &exact[1 + p + k], &second, 1e-4);
                    }
                }
            }
        }
    }
}

fn compare(law: &Law, exact: &[f64], differences: &[f64], tolerance: f64) {
    let size = exact.iter().fold(0.0, |m: f64, x| if x.is_finite() { m.max(x.abs()) } else { m });
    for (x, d) in exact.iter().zip(differences) {
        if !x.is_finite() || !d.is_finite() {
            continue;
        }
        assert!((x - d).abs() <= tolerance * size.max(1e-4), "{}: {x} for {d}", law.name);
    }
}

/// Value and derivatives of a typed law of one variable `x` at one point.
fn at(text: &str, parameters: &[f64], x: f64) -> Vec<f64> {
    let law = typed_law(text, &["x", "y"]);
    let problem = bound(&law, Residual::Linear, &[("x".to_string(), vec![x])]);
    let theta = problem.coordinates(parameters);
    outputs(&problem, &theta).iter().map(|o| o[0]).collect()
}

#[test]
fn sigmoids_are_right_in_both_tails() {
    // σ(x) = e^x in the lower tail, slope σ(1 − σ).
    let low = at("y ~ 1/(1 + exp(-k*x))", &[1.0], -800.0);
    assert_eq!(low[..2], [0.0, -0.0]);
    let low = at("y ~ 1/(1 + exp(-k*x))", &[1.0], -700.0);
    assert!((low[0] / (-700.0_f64).exp() - 1.0).abs() < 1e-12);
    assert!((low[1] / (-700.0 * (-700.0_f64).exp()) - 1.0).abs() < 1e-12);
    let high = at("y ~ 1/(1 + exp(-k*x))", &[1.0], 800.0);
    assert_eq!(high[0], 1.0);
    assert!(high.iter().all(|v| v.is_finite()), "{high:?}");
}

#[test]
fn logarithms_of_sums_of_exponentials_do_not_overflow() {
    let value = at("y ~ log(exp(a*x) + exp(b*x) + exp(c*x))", &[1000.0, 999.0, -5000.0], 1.0);
    assert!((value[0] - (1000.0 + (-1.0_f64).exp().ln_1p())).abs() < 1e-12);
    let share = 1.0 / (1.0 + (-1.0_f64).exp());
    assert!((value[1] - share).abs() < 1e-12 && (value[2] - (1.0 - share)).abs() < 1e-12);
    assert_eq!(value[3], 0.0);
    assert!((at("y ~ log(1 + exp(a*x))", &[1.0], -800.0)[0]).abs() < 1e-300);
}

#[test]
fn powers_of_zero_and_negative_bases() {
    // 0^c is 0 for c > 0, its derivatives with respect to c too; 0^0 is 1.
    assert!(at("y ~ x^c", &[0.7], 0.0).iter().all(|v| *v == 0.0));
    assert_eq!(at("y ~ x^c", &[0.0], 0.0)[0], 1.0);
    assert_eq!(at("y ~ b*x^3", &[2.0], -3.0)[0], -54.0);
    assert_eq!(at("y ~ (b*x)^2", &[2.0], -3.0)[..2], [36.0, 36.0]);
    // d/db (b + x)^-1 = -(b + x)^-2 with a negative base.
    let inverse = at("y ~ (b + x)^(-1)", &[1.0], -3.0);
    assert_eq!(inverse[..2], [-0.5, -0.25]);
}

#[test]
fn tied_parameters_are_one() {
    let law = typed_law("y ~ A/x^alpha + B/x^(2*alpha) where A > 0, B > 0, alpha in [0, 2]", &["x", "y"]);
    let names: Vec<&str> = law.parameters.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["A", "alpha", "B"]);
}

#[test]
fn chinchilla_compiles_to_what_it_must_cost() {
    // Two exponentials, one logarithm, one division per observation, derivatives included.
    let law = crate::testing::catalogue_law("chinchilla");
    let model = crate::law::Model::compile(&law, Residual::Log);
    use crate::law::{Op, Unary};
    let count = |op: Op| model.gradient.instructions.iter().filter(|i| i.op == op).count();
    assert_eq!(count(Op::Unary(Unary::Exp)), 2);
    assert_eq!(count(Op::Unary(Unary::Ln)), 1);
    assert_eq!(count(Op::Div), 1);
    let count = |op: Op| model.hessian.instructions.iter().filter(|i| i.op == op).count();
    assert_eq!(count(Op::Unary(Unary::Exp)) + count(Op::Unary(Unary::Ln)) + count(Op::Div), 4);
}
