//! Tests of the objective: vector lanes against the scalar path, sums against closed forms and the law's derivatives.

use fearless_simd::Level;

use crate::lanes::{LANES, Pack};
use crate::law::Residual;
use crate::testing::{Uniform, catalogue_law, levels, problem};
use crate::verify::cases::{CaseDraws, cases};

use super::{CurvatureMix, LaneData, Loss, Objective, Order, ProgramWorkspace, Sums, outputs_lanes};
use crate::linalg::triangle;

#[test]
fn eight_lanes_and_one_give_the_same_bits() {
    let mut draws = CaseDraws::new(11);
    for (case, law) in &cases().unwrap() {
        let response: Vec<f64> = (0..37).map(|_| 1.0 + 3.0 * draws.uniform()).collect();
        let mut columns = vec![("response_", response)];
        let variables = draws.columns(case, law, 37);
        columns.extend(law.variables.iter().map(String::as_str).zip(variables));
        for loss in
            [Loss::L2, Loss::Huber { delta: 0.1 }, Loss::SoftL1 { delta: 0.1 }, Loss::Cauchy { delta: 0.1 }]
        {
            let (_, problem) = problem(law, law.residual, loss, &columns);
            let data = LaneData::repeated(&problem);
            let mut coordinates = vec![Pack::ZERO; problem.p()];
            for lane in 0..LANES {
                let natural = draws.parameters(law, &case.truth(law));
                for (pack, x) in coordinates.iter_mut().zip(problem.coordinates(&natural)) {
                    pack.0[lane] = x;
                }
            }
            for order in [Order::Value, Order::Hessian] {
                let mix = CurvatureMix {
                    second_derivatives: Pack([0.0, 1.0, 0.5, 0.0, 1.0, 0.0, 0.0, 1.0]),
                    ..CurvatureMix::GAUSS_NEWTON
                };
                let objective = Objective { model: &problem.model, loss, order, data: &data, mix: &mix };
                let (mut vector, mut scalar) = (Sums::default(), Sums::default());
                objective.evaluate_scalar(&coordinates, &mut ProgramWorkspace::default(), &mut scalar);
                for (name, level) in levels() {
                    objective.evaluate(level, &coordinates, &mut ProgramWorkspace::default(), &mut vector);
                    for (v, s) in vector.packs.iter().zip(&scalar.packs) {
                        for lane in 0..LANES {
                            let (v, s) = (v.0[lane], s.0[lane]);
                            let same = v.to_bits() == s.to_bits() || (v.is_nan() && s.is_nan());
                            assert!(same, "{} {loss} {order:?} {name}: {v} {s}", law.name);
                        }
                    }
                }
            }
        }
    }
}

/// The sums for `y ~ b·x` in linear space have closed forms.
#[test]
fn sums_of_a_line_are_closed_forms() {
    let law = crate::testing::typed_law("y ~ b*x", &["x", "y"]);
    let x = vec![1.0, 2.0, 3.0];
    let y = vec![1.0, 5.0, 2.0];
    let (_, problem) = problem(&law, Residual::Linear, Loss::L2, &[("y", y), ("x", x)]);
    let data = LaneData::spread(&problem, &problem.observations.weight);
    let mut sums = Sums::default();
    Objective {
        model: &problem.model,
        loss: Loss::L2,
        order: Order::Hessian,
        data: &data,
        mix: &CurvatureMix::GAUSS_NEWTON,
    }
    .evaluate(Level::new(), &[Pack::splat(1.0)], &mut ProgramWorkspace::default(), &mut sums);
    let total = |k: usize| sums.packs[k].0.iter().sum::<f64>();
    // Residuals 0, −3, 1: ½Σr² = 5, Σr·x = −3, Σx² = 14.
    assert_eq!([total(0), total(1), total(2)], [5.0, -3.0, 14.0]);
    assert_eq!(sums.packs.len(), 2 + triangle(1));
}

/// The closed forms hold for more observations than one piece has: all numbers are integers, so every sum is exact in
/// any order.
#[test]
fn sums_of_a_long_line_are_closed_forms() {
    let law = crate::testing::typed_law("y ~ b*x", &["x", "y"]);
    let n = 3 * 4096 + 5;
    let x: Vec<f64> = (1..=n).map(|i| i as f64).collect();
    let (_, problem) = problem(&law, Residual::Linear, Loss::L2, &[("y", vec![0.0; n]), ("x", x)]);
    let mut data = super::LongData::default();
    let mut sums = Sums::default();
    let mut evaluate = |weight: &[f64]| {
        let rows: Vec<u32> = (0..n as u32).filter(|&i| weight[i as usize] != 0.0).collect();
        let weight = vec![1.0; rows.len()];
        data.load(&problem, super::Part::new(&rows, &weight));
        let what = (&*problem.model, Loss::L2, &CurvatureMix::GAUSS_NEWTON);
        data.evaluate(Level::new(), what, &[Pack::splat(1.0)], &mut sums);
        assert!(sums.packs.iter().all(|pack| pack.0 == [pack.0[0]; LANES]));
        sums.packs.iter().map(|pack| pack.0[0]).collect::<Vec<f64>>()
    };
    let squares = |n: usize| (n * (n + 1) * (2 * n + 1) / 6) as f64;
    let all = evaluate(&vec![1.0; n]);
    assert_eq!(all, [0.5 * squares(n), squares(n), squares(n)]);
    // The even numbers alone, then none.
    let even: Vec<f64> = (1..=n).map(|i| [1.0, 0.0][i % 2]).collect();
    let of_even = 4.0 * squares(n / 2);
    assert_eq!(evaluate(&even), [0.5 * of_even, of_even, of_even]);
    assert_eq!(evaluate(&vec![0.0; n]), [0.0; 3]);
}

/// Multiplying the responses by a constant changes no residual in log space when the amplitudes follow.
#[test]
fn log_residuals_are_invariant_under_units() {
    let law = catalogue_law("power-offset");
    let mut uniform = Uniform(3);
    let x: Vec<f64> = (0..12).map(|_| uniform.between(10.0, 1e4)).collect();
    let y: Vec<f64> = x.iter().map(|x| 1.5 + 4.0 * x.powf(-0.4) + 0.01 * uniform.next()).collect();
    let objective = |unit: f64| {
        let scaled = y.iter().map(|y| y * unit).collect();
        let (_, problem) = problem(&law, Residual::Log, Loss::L2, &[("y", scaled), ("x", x.clone())]);
        let theta = problem.coordinates(&[1.5 * unit, 4.0 * unit, 0.4]);
        let weight = problem.observations.weight.clone();
        crate::optimize::minimise(
            &problem,
            &weight,
            &theta,
            50,
            &mut crate::optimize::MinimiseWorkspace::default(),
        )
        .unwrap()
        .rows
        .objective
    };
    assert!((objective(1.0) / objective(1000.0) - 1.0).abs() < 1e-10);
}

/// A zero base of a power is excluded from the centring of the others, and the law is recovered.
#[test]
fn a_zero_base_of_a_power_does_not_affect_the_centring() {
    let law = crate::testing::typed_law("y ~ E + A*x^alpha where E > 0, A > 0, alpha in [0, 2]", &["x", "y"]);
    let x: Vec<f64> = (0..21).map(|i| 0.5 * f64::from(i)).collect();
    let y: Vec<f64> = x.iter().map(|x| 1.5 + 0.8 * x.powf(0.7)).collect();
    let (models, problem) = problem(&law, Residual::Linear, Loss::L2, &[("y", y), ("x", x)]);
    let fit = crate::optimize::fit(&models, problem, &Default::default(), &mut Default::default());
    assert_eq!(fit.status, crate::optimize::Status::Converged, "{}", fit.message);
    for (estimate, truth) in fit.natural.iter().zip([1.5, 0.8, 0.7]) {
        assert!((estimate / truth - 1.0).abs() < 1e-9, "{:?}", fit.natural);
    }
}

/// The Hessian that searches sum from shared products equals the one summed from the law's second derivatives.
#[test]
fn searched_second_derivatives_are_exact() {
    let mut draws = CaseDraws::new(23);
    let mut with_second = 0;
    for (case, law) in &cases().unwrap() {
        for residual in [Residual::Log, Residual::Linear] {
            let response: Vec<f64> = (0..20).map(|_| 1.0 + 3.0 * draws.uniform()).collect();
            let mut columns = vec![("response_", response)];
            let variables = draws.columns(case, law, 20);
            columns.extend(law.variables.iter().map(String::as_str).zip(variables));
            let (_, problem) = problem(law, residual, Loss::L2, &columns);
            let model = &problem.model;
            with_second += usize::from(!model.second_derivatives.is_empty());
            if model.second_derivatives.is_empty() && !model.second_of_log {
                continue;
            }
            let theta = problem.coordinates(&draws.parameters(law, &case.truth(law)));
            let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
            let data = LaneData::repeated(&problem);
            let p = problem.p();
            let outputs =
                outputs_lanes(&model.hessian, &data, &coordinates, &mut ProgramWorkspace::default());
            let at = |output: usize, i: usize| outputs[output][i].0[0];
            let mut expected = vec![0.0; triangle(p)];
            for i in 0..problem.n() {
                for a in 0..p {
                    for b in 0..=a {
                        expected[triangle(a) + b] += at(1 + a, i) * at(1 + b, i);
                    }
                }
                for (k, &(a, b)) in model.second_pairs.iter().enumerate() {
                    expected[triangle(a) + b] += (at(0, i) - problem.target[i]) * at(1 + p + k, i);
                }
            }
            let mix = CurvatureMix { second_derivatives: Pack::splat(1.0), ..CurvatureMix::GAUSS_NEWTON };
            let mut sums = Sums::default();
            Objective { model, loss: Loss::L2, order: Order::Hessian, data: &data, mix: &mix }.evaluate(
                Level::new(),
                &coordinates,
                &mut ProgramWorkspace::default(),
                &mut sums,
            );
            for a in 0..p {
                for b in 0..=a {
                    let k = triangle(a) + b;
                    let size = (expected[triangle(a) + a] * expected[triangle(b) + b]).abs().sqrt();
                    let found = sums.packs[1 + p + k].0[0];
                    let error = (found - expected[k]).abs() / size.max(expected[k].abs());
                    assert!(!(error > 1e-10), "{} {a} {b}: {found} for {}", law.name, expected[k]);
                }
            }
        }
    }
    assert!(with_second >= 8, "{with_second}");
}
