//! Tests of the compiler: values against the formula interpreter, numerics against known limits. Derivatives are
//! compared with differences in high precision in `verify::derivatives`.

// Expected values stand as they were computed, with more digits than a float holds.
#![allow(clippy::excessive_precision)]

use crate::compile::program::Compiler;
use crate::formula::{Column, Table, evaluate, parse_expression};
use crate::lanes::Pack;
use crate::law::graph::Graph;
use crate::law::{Law, Residual};
use crate::problem::{LaneData, Loss, Problem, ProgramWorkspace, outputs_lanes};
use crate::testing::{Uniform, problem, typed_law};
use crate::verify::cases::{CaseDraws, cases};

/// Returns the prediction by interpreting the formula as written.
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

/// Returns the outputs of the full program, `[output][observation]`, in the problem's order of observations.
fn outputs(problem: &Problem, theta: &[f64]) -> Vec<Vec<f64>> {
    let data = LaneData::spread(problem, &problem.observations.weight);
    let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
    outputs_lanes(&problem.model.hessian, &data, &coordinates, &mut ProgramWorkspace::default())
        .iter()
        .map(|packs| (0..problem.n()).map(|i| packs[i / 8].0[i % 8]).collect())
        .collect()
}

/// The rule of `lanes::min` and `lanes::max` holds in the interpreter, in compiled programs and where constants are folded.
#[test]
fn extremes_of_a_missing_value_are_missing_everywhere() {
    let numbers = [f64::NAN, f64::NEG_INFINITY, -1.0, -0.0, 0.0, 1.0, f64::INFINITY];
    for (a, b) in numbers.into_iter().flat_map(|a| numbers.map(|b| (a, b))) {
        let mut graph = Graph::default();
        let (x, y) = (graph.coordinate(0), graph.coordinate(1));
        let outputs = [graph.min(x, y), graph.max(x, y)];
        let compiled = Compiler::new(&graph, 2).parameter_program(&outputs).evaluate(&[a, b], &[]);
        let (x, y) = (graph.constant(a), graph.constant(b));
        let folded = [graph.min(x, y), graph.max(x, y)].map(|node| graph.as_constant(node).unwrap());
        for (i, text) in ["min(a, b)", "max(a, b)"].into_iter().enumerate() {
            let mut table = Table::new(1);
            table.push_numbers("a", vec![a]);
            table.push_numbers("b", vec![b]);
            let Ok(Column::Number { values, .. }) = evaluate(&parse_expression(text).unwrap(), &table) else {
                panic!("{text} is a number")
            };
            // The order of the reals, by `PartialOrd`; of equal numbers the second.
            let first = if i == 0 { a < b } else { a > b };
            let expected = if a.is_nan() || first { a } else { b };
            let is_expected = |x: f64| x.to_bits() == expected.to_bits() || (x.is_nan() && expected.is_nan());
            assert!(is_expected(values[0]), "{text} of {a:?} and {b:?}: interpreted {:?}", values[0]);
            assert!(is_expected(compiled[i]), "{text} of {a:?} and {b:?}: compiled {:?}", compiled[i]);
            // Constants have one zero, whose sign carries no meaning.
            let same = folded[i] == expected || (folded[i].is_nan() && expected.is_nan());
            assert!(same, "{text} of {a:?} and {b:?}: folded {:?}", folded[i]);
        }
    }
}

#[test]
fn every_law_has_the_value_that_its_formula_says() {
    let mut draws = CaseDraws::new(1);
    for (case, law) in &cases().unwrap() {
        for residual in [Residual::Linear, Residual::Log] {
            let columns = draws.columns(case, law, 21);
            let variables: Vec<(String, Vec<f64>)> = law.variables.iter().cloned().zip(columns).collect();
            let parameters = draws.parameters(law, &case.truth(law));
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

/// Returns value and derivatives of a typed law of one variable `x` at one point.
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
    let fraction = 1.0 / (1.0 + (-1.0_f64).exp());
    assert!((value[1] - fraction).abs() < 1e-12 && (value[2] - (1.0 - fraction)).abs() < 1e-12);
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
fn chinchilla_compiles_to_the_fewest_operations() {
    // Two exponentials, one logarithm, one division per observation, derivatives included.
    let law = crate::testing::catalogue_law("chinchilla");
    let model = crate::compile::Model::compile(&law, Residual::Log);
    use crate::compile::Op;
    use crate::law::Unary;
    for instructions in [&model.search.instructions, &model.hessian.instructions] {
        let count = |op: Op| instructions.iter().filter(|i| i.op == op).count();
        // Each exponential is one instruction with its argument.
        assert_eq!(count(Op::ExpMulAdd) + count(Op::ExpNegMulAdd), 2);
        assert_eq!(count(Op::Unary(Unary::Exp)), 0);
        assert_eq!(count(Op::Unary(Unary::Ln)), 1);
        assert_eq!(count(Op::Div), 1);
    }
}

const M4: &str = "y ~ solve(y, e, e0, log(y - e) - a*log(e0 - y) = log(b*x^(-c)))";
const M4_PLAIN: &str = "y ~ solve(y, e, e0, (y - e)/(e0 - y)^a = b*x^(-c))";

/// Root, five first and fifteen second derivatives (rows of the lower triangle) of M4 in e, e0, a, b, c; expected
/// values from bisection in 60 digits and differences of it (mpmath, step 1e-15).
#[test]
fn roots_and_their_derivatives() {
    for (parameters, x, exact) in [
        (
            [0.4, 3.2, 1.3, 5.0, 0.5],
            40.0,
            [
                1.7181791250617840442,
                0.46372784482523610397,
                0.53627215517476389603,
                0.24039766607567207326,
                0.12225527295170329537,
                -2.2549248227431476719,
                0.023347325718327853951,
                -0.023347325718327853951,
                0.023347325718327853951,
                -0.27699282512492979941,
                0.27699282512492979941,
                -0.19892033590304069474,
                -0.04358167467421199001,
                0.04358167467421199001,
                -0.05072941365625670495,
                -0.024602110499613803428,
                0.80383772140789144236,
                -0.80383772140789144236,
                0.93567345877906149638,
                0.0027861352007010051863,
                -0.051388584491247731865,
            ],
        ),
        (
            [1.7, 2.5, 0.3, 0.02, 0.25],
            1e4,
            [
                1.7018691847079632217,
                0.99929790743641577722,
                0.00070209256358422277905,
                -0.00042117302796492400668,
                0.093393618363991984536,
                -0.017203740274056232074,
                -0.00061490537617457585186,
                0.00061490537617457585186,
                -0.00061490537617457585186,
                -0.0021802076434072374321,
                0.0021802076434072374321,
                0.000096805148152980721037,
                -0.035137450067118620768,
                0.035137450067118620768,
                -0.021247626815062450623,
                -0.0065624674640931319678,
                0.0064725574984295974277,
                -0.0064725574984295974277,
                0.0039139575012690682082,
                -0.85897816252232524309,
                0.15822962497850582386,
            ],
        ),
        (
            [0.05, 9.0, 6.5, 1e-4, -0.3],
            3.0,
            [
                4.132061312743043549,
                0.15502329257949702716,
                0.84497670742050297284,
                1.0015370266035097545,
                6328.1458521281052573,
                -0.69521787976320632914,
                0.022943318856317409341,
                -0.022943318856317409341,
                0.022943318856317409341,
                -0.079241537252068706211,
                0.079241537252068706211,
                -0.39641288417983543992,
                -373.35037048007418855,
                373.35037048007418855,
                -1682.0724607460097198,
                -68711749.496429124318,
                0.041016730498820098315,
                -0.041016730498820098315,
                0.18479454758057729263,
                596.57843963412078838,
                -0.065540840493649119079,
            ],
        ),
    ] {
        for text in [M4, M4_PLAIN] {
            let got = at(text, &parameters, x);
            assert_eq!(got.len(), exact.len());
            assert!((got[0] / exact[0] - 1.0).abs() < 1e-15, "{} for {}", got[0], exact[0]);
            for (k, (got, exact)) in got.iter().zip(&exact).enumerate().skip(1) {
                // Rounding of the root is amplified in y − e, twice in second derivatives.
                let tolerance = if parameters[0] == 1.7 { 1e-11 } else { 1e-13 };
                assert!((got / exact - 1.0).abs() < tolerance, "{text} {k}: {got:e} for {exact:e}");
            }
        }
    }
}

/// Roots close to either end, over many orders of magnitude, with large and small exponents; expected values from
/// bisection in 60 digits.
#[test]
fn roots_in_extreme_places() {
    for (parameters, x, exact) in [
        ([1.0, 3.0, 1.0, 1e-12, 0.0], 1.0, 1.000000000002),
        ([1.0, 3.0, 0.5, 1e7, 0.0], 1.0, 2.99999999999996),
        ([0.0, 3.0, 40.0, 1.0, 0.5], 7.0, 1.9580205434168621676),
        ([0.0, 1.0, 0.01, 1e-200, 0.0], 1.0, 9.999999999999999821e-201),
        ([0.25, 1e9, 2.0, 1e-9, 1.0], 1e3, 998005.23554336350711),
        ([0.0, 1e-9, 0.7, 1e3, 1.5], 1e4, 3.6478952313668953177e-10),
        ([2.0, 2.0000001, 3.0, 1e20, 0.0], 1.0, 2.0000000990033331578),
        ([0.5, 40.0, 0.001, 30.0, 0.0], 1.0, 30.56740075198398117),
    ] {
        let [e, e0, a, b, c] = parameters;
        let logarithms = [f64::ln(exact - e), a * f64::ln(e0 - exact), b.ln(), c * f64::ln(x)];
        // The root is accurate to the rounding of the logarithms; the plain form is rounded in its powers.
        let size = logarithms.iter().fold(1.0, |size: f64, log| size.max(log.abs()));
        for text in [M4, M4_PLAIN] {
            let got = at(text, &parameters, x)[0];
            let error = (got / exact - 1.0).abs();
            assert!(error <= 2.0 * f64::EPSILON * size, "{text} {parameters:?}: {got:e} for {exact:e}");
        }
    }
    // A root closer to an end than the spacing of floats is the neighbouring float, and moves with the end.
    let got = at(M4, &[1.0, 3.0, 1.0, 1e-30, 0.0], 1.0);
    assert_eq!(got[0], 1.0_f64.next_up());
    assert!((got[1] - 1.0).abs() < 1e-12 && got[2].abs() < 1e-12, "{got:?}");
    let got = at(M4, &[1.0, 3.0, 1.0, 1e30, 0.0], 1.0);
    assert_eq!(got[0], 3.0_f64.next_down());
    assert!((got[2] - 1.0).abs() < 1e-12 && got[1].abs() < 1e-12, "{got:?}");
}

/// Kepler's equation and inverse functions have values and derivatives in closed form.
#[test]
fn roots_without_parameters_in_the_bracket() {
    // M = E − ε·sin E: ∂E/∂ε = sin E/(1 − ε·cos E). E at M = 1, ε = 0.5 is 1.4987011335178483 (mpmath).
    let got = at("y ~ solve(E, 0, 7, E - ecc*sin(E) = x)", &[0.5], 1.0);
    let e = 1.4987011335178483_f64;
    assert!((got[0] - e).abs() < 1e-15);
    assert!((got[1] - e.sin() / (1.0 - 0.5 * e.cos())).abs() < 1e-14);
    // The logarithm as the inverse of exp, between infinite ends: values, −1/k² and so on.
    let got = at("y ~ solve(t, -inf, inf, exp(k*t) = x)", &[0.25], 9.0);
    let ln = 9.0_f64.ln();
    for (got, want) in got.iter().zip([4.0 * ln, -16.0 * ln, 128.0 * ln]) {
        assert!((got / want - 1.0).abs() < 1e-13, "{got} for {want}");
    }
    // The same root used twice, beside other terms; d/dk of 2·t·k is 0 as t·k is constant.
    let got = at("y ~ k*r + r*k with r = solve(t, -inf, inf, exp(k*t) = x)", &[0.25], 9.0);
    assert!((got[0] - 2.0 * ln).abs() < 1e-14 && got[1].abs() < 1e-13, "{got:?}");
    // Two equations, one of data alone and one of parameters alone.
    let got = at("y ~ solve(t, 0, 9, t^2 = x) + k*solve(u, 0, 9, u^3 = k)", &[8.0], 4.0);
    assert!((got[0] - 18.0).abs() < 1e-13 && (got[1] - (2.0 + 2.0 / 3.0)).abs() < 1e-13, "{got:?}");
    // No change of sign, no root.
    assert!(at("y ~ solve(t, 0, 1, t + k*x)", &[2.0], 4.0)[0].is_nan());
}

/// The root in a lane depends neither on its neighbours nor on the vector width.
#[test]
fn roots_do_not_depend_on_other_lanes() {
    let law = crate::testing::catalogue_law("m4");
    let mut uniform = Uniform(11);
    let x: Vec<f64> = (0..203).map(|_| 1e9_f64.powf(uniform.next())).collect();
    let parameters = [0.4, 3.2, 1.3, 5.0, 0.5];
    let fixed = (0..5).fold(law, |law, i| law.with_fixed(i, parameters[i]));
    let values = |x: &[f64]| -> Vec<f64> {
        let problem = bound(&fixed, Residual::Linear, &[("x".to_string(), x.to_vec())]);
        let mut values = vec![0.0; x.len()];
        let got = outputs(&problem, &[]);
        problem.observations.rows.iter().zip(&got[0]).for_each(|(&row, v)| values[row as usize] = *v);
        values
    };
    let together = values(&x);
    for (i, &x) in x.iter().enumerate().step_by(7) {
        assert_eq!(values(&[x])[0].to_bits(), together[i].to_bits());
    }
}

/// Returns a random formula, with corners and shared parts more often than in practice.
fn random_expression(draws: &mut Uniform, depth: u32, n_parameters: &mut u32) -> String {
    let mut leaf = |draws: &mut Uniform| match (draws.next() * 6.0) as u32 {
        0 => "x".to_string(),
        1 => "z".to_string(),
        2 => "shared".to_string(),
        3 => format!("{:.2}", draws.between(0.1, 4.0)),
        _ => {
            *n_parameters += 1;
            format!("p{}", 1 + *n_parameters % 5)
        }
    };
    if depth == 0 {
        return leaf(draws);
    }
    let kind = (draws.next() * 14.0) as u32;
    let mut part = || random_expression(draws, depth - 1, n_parameters);
    match kind {
        0 | 1 => format!("min({}, {})", part(), part()),
        2 | 3 => format!("max({}, {})", part(), part()),
        4 | 5 => format!("abs({})", part()),
        6 => format!("({} + {})", part(), part()),
        7 => format!("({} - {})", part(), part()),
        8 | 9 => format!("{}*{}", part(), part()),
        10 => format!("{}/(1.5 + abs({}))", part(), part()),
        11 => format!("exp(-abs({}))", part()),
        12 => format!("sqrt(abs({}))", part()),
        _ => format!("(0.5 + abs({}))^({}/9)", part(), part()),
    }
}

/// Compiled laws have the values of their formulas, evaluated operation by operation, whatever the graph simplified.
#[test]
fn random_laws_have_the_values_of_their_formulas() {
    let mut draws = Uniform(5);
    let mut compared = 0;
    for _ in 0..400 {
        let mut n_parameters = 0;
        let shared = random_expression(&mut draws, 2, &mut n_parameters).replace("shared", "z");
        let body = random_expression(&mut draws, 4, &mut n_parameters);
        let text = format!("y ~ p1*x + {body} with shared = {shared}");
        let law = typed_law(&text, &["x", "z", "y"]);
        let values = |draws: &mut Uniform, low: f64| (0..13).map(|_| draws.between(low, 3.0)).collect();
        let columns: Vec<Vec<f64>> = law.variables.iter().map(|_| values(&mut draws, -3.0)).collect();
        let variables: Vec<(String, Vec<f64>)> = law.variables.iter().cloned().zip(columns).collect();
        let parameters: Vec<f64> = law.parameters.iter().map(|_| draws.between(-2.0, 2.0)).collect();
        let problem = bound(&law, Residual::Linear, &variables);
        let expected = interpreted(&law, &parameters, &variables);
        let own: Vec<f64> = problem.model.coordinates.iter().map(|c| parameters[c.parameter]).collect();
        let found = &outputs(&problem, &problem.coordinates(&own))[0];
        for (i, value) in found.iter().enumerate() {
            let expected = expected[problem.observations.rows[i] as usize];
            if expected.is_finite() {
                compared += 1;
                let tolerance = 1e-9 * (1.0 + expected.abs());
                assert!(
                    (value - expected).abs() <= tolerance,
                    "{text}: {value}, {expected} at {parameters:?}"
                );
            }
        }
    }
    assert!(compared > 4000, "{compared}");
}

/// A law whose program has more than 65,536 slots has the right values; expected values from `∂ˡ/∂pᵢ… Σₖ exp(cₖ·s) = Σₖ
/// cₖˡ·wᵢ…·exp(cₖ·s)` with `s = Σᵢ wᵢ·pᵢ`.
#[test]
fn programs_of_any_size_have_the_right_values() {
    let weight = |i: usize| 1.0 + 0.01 * i as f64;
    let rate = |k: usize| (1 + k) as f64 / 1000.0;
    let (n_parameters, n_terms) = (40, 115);
    let sum: Vec<String> = (0..n_parameters).map(|i| format!("{}*p{i}", weight(i))).collect();
    let terms: Vec<String> = (0..n_terms).map(|k| format!("exp({}*s)", rate(k))).collect();
    let text = format!("y ~ x*({}) with s = {}", terms.join(" + "), sum.join(" + "));
    let law = typed_law(&text, &["x", "y"]);
    let problem = bound(&law, Residual::Linear, &[("x".to_string(), vec![2.0])]);
    assert!(problem.model.hessian.parameter.n_slots > 1 << 16, "{}", problem.model.hessian.parameter.n_slots);
    let parameters: Vec<f64> = (0..n_parameters).map(|i| 0.05 * (i as f64 - 8.0)).collect();
    let theta = problem.coordinates(&parameters);
    let s: f64 = parameters.iter().enumerate().map(|(i, p)| weight(i) * p).sum();
    let moment = |l: i32| 2.0 * (0..n_terms).map(|k| rate(k).powi(l) * (rate(k) * s).exp()).sum::<f64>();
    let found = outputs(&problem, &theta);
    assert_close(found[0][0], moment(0));
    for i in 0..n_parameters {
        assert_close(found[1 + i][0], moment(1) * weight(i));
    }
    let second = &found[1 + n_parameters..];
    assert_close(second[0][0], moment(2) * weight(0) * weight(0));
    assert_close(second[second.len() - 1][0], moment(2) * weight(n_parameters - 1).powi(2));
}

#[track_caller]
fn assert_close(value: f64, expected: f64) {
    assert!((value / expected - 1.0).abs() < 1e-11, "{value} for {expected}");
}
