//! Rows at which something that the law reads is infinite and the law is not.
//!
//! `exp(b*(log(x) - c))` is 0 at `x = 0` for every positive `b`, though `log(x)` is infinite there. Columns encode ±∞
//! as ±1e150, so that products and squares stay finite, and exponentials have the value and the derivatives of the
//! limit. Whether the law has a value at a row is tested: at parameters drawn from their domains the formula, evaluated
//! as written in IEEE arithmetic, must be finite, and the compiled law must agree with it and have finite derivatives.

use crate::lanes::{LANES, Pack, scalar};
use crate::law::{Draws, Law, Residual, draw};
use crate::sweep::Sweep;

use super::lane_data::LaneData;
use super::objective::{ProgramWorkspace, outputs};
use super::{Binding, Problem};

/// The number of parameter vectors at which a row is tested.
const TRIALS: usize = 16;

/// The relative difference within which two values agree.
const RELATIVE_TOLERANCE: f64 = 1e-9;

/// The absolute difference within which two values agree.
const ABSOLUTE_TOLERANCE: f64 = 1e-100;

/// Returns the observations among `positions` at which the law has no usable value.
pub fn without_value(
    law: &Law,
    problem: &Problem,
    (binding, sweep): (&Binding, &Sweep),
    positions: &[usize],
) -> Vec<usize> {
    let model = &problem.model;
    let data = LaneData::spread(problem, &problem.observations.weight);
    let mut workspace = ProgramWorkspace::default();
    let mut draws = Draws::new(2);
    let mut left = positions.to_vec();
    for _ in 0..TRIALS {
        let natural: Vec<f64> = law.parameters.iter().map(|p| draw(p.domain, &mut draws)).collect();
        let own: Vec<f64> = model.coordinates.iter().map(|c| natural[c.parameter]).collect();
        let theta: Vec<Pack> = problem.coordinates(&own).into_iter().map(Pack::splat).collect();
        let found = outputs(&model.hessian, &data, &theta, &mut workspace);
        let compiled = |i: usize| -> Option<f64> {
            let mut all = found.chunks_exact(data.n_packs).map(|output| output[i / LANES].0[i % LANES]);
            let value = all.next()?;
            all.all(f64::is_finite).then_some(match model.residual {
                Residual::Log => scalar::exp(value),
                Residual::Linear => value,
            })
        };
        let written = values(law, (binding, sweep), problem, &left, &natural);
        let mut written = written.iter();
        left.retain(|&i| {
            let value = written.next().copied().unwrap_or(f64::NAN);
            let usable = value.is_finite() && (value > 0.0 || model.residual == Residual::Linear);
            let same = |x: f64| (x - value).abs() <= RELATIVE_TOLERANCE * value.abs() + ABSOLUTE_TOLERANCE;
            !(usable && compiled(i).is_some_and(same))
        });
    }
    left
}

/// Returns the values of the formula at some observations, evaluated as written.
fn values(
    law: &Law,
    (binding, sweep): (&Binding, &Sweep),
    problem: &Problem,
    positions: &[usize],
    natural: &[f64],
) -> Vec<f64> {
    let variable = |k: usize| {
        let column = binding.names.iter().position(|name| *name == law.variables[k]);
        let row = |&i: &usize| problem.observations.rows[i] as usize;
        let value = |i: &usize| column.map_or(f64::NAN, |c| sweep.columns[c][row(i)]);
        positions.iter().map(value).collect()
    };
    law.evaluate(positions.len(), variable, |i| vec![natural[i]; positions.len()])
}

#[cfg(test)]
mod tests {
    use crate::formula::parse_expression;
    use crate::law::Residual;
    use crate::optimize::{self, Models, Workspace};
    use crate::problem::{Loss, bind_columns};
    use crate::testing::typed_law;

    /// Rows at zero are used where the formula has a finite limit by the rules of arithmetic with ±∞, and only there.
    #[test]
    fn rows_are_rejected_where_the_law_has_no_value() {
        let x = vec![0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0];
        let y: Vec<f64> = x.iter().map(|x| 5.0 - 3.0 * x / (2.0 + x)).collect();
        for (formula, rejected) in [
            ("y ~ c + d/(1 + exp(b*(log(x) - log(e)))) where e > 0", 0),
            ("y ~ c + d/(1 + exp(b*log(x/e))) where e > 0", 0),
            ("y ~ c + d/(1 + exp(-b*(log(x) - e))) where b > 0", 0),
            ("y ~ c + d/(1 + (x/e)^b) where e > 0", 0),
            ("y ~ c + d/(1 + (e/x)^b) where e > 0, b > 0", 0),
            ("y ~ c + d*exp(-b/x) where b > 0", 0),
            ("y ~ c + d*exp(-exp(b*log(x) - e)) where b > 0", 0),
            ("y ~ c + d*x^b where b in [0, 3]", 0),
            ("y ~ c + d*x^(-b) where b in [0.1, 3]", 2),
            ("y ~ c + d*log(x)", 2),
            ("y ~ c + d/x", 2),
            ("y ~ c + d*exp(b/x) where b > 0", 2),
        ] {
            let law = typed_law(formula, &["x", "y"]);
            let models = Models::compile(law.clone(), Residual::Linear);
            let response = parse_expression("y").unwrap();
            let columns = [("y", y.as_slice()), ("x", x.as_slice())];
            let (problem, rejections) = bind_columns(&law, models.full(), &response, Loss::L2, &columns);
            assert_eq!(rejections.len(), rejected, "{formula}: {rejections:?}");
            assert_eq!(problem.n(), x.len() - rejected, "{formula}");
            let fit =
                optimize::fit(&models, problem, &optimize::FitOptions::default(), &mut Workspace::default());
            assert!(fit.solution.is_some_and(|s| s.rows.objective.is_finite()), "{formula}");
        }
    }

    /// Michaelis & Menten's curve, with two rows at zero, is recovered however its formula is written.
    #[test]
    fn a_limit_counts_as_a_value() {
        let x = vec![0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0];
        let y: Vec<f64> = x.iter().map(|x| 5.0 - 3.0 * x / (2.0 + x)).collect();
        for formula in [
            "y ~ c + d/(1 + exp(b*(log(x) - log(e)))) where e > 0",
            "y ~ c + d/(1 + exp(b*log(x/e))) where e > 0",
            "y ~ c + d - d/(1 + (e/x)^b) where e > 0",
        ] {
            let law = typed_law(formula, &["x", "y"]);
            let models = Models::compile(law.clone(), Residual::Linear);
            let response = parse_expression("y").unwrap();
            let columns = [("y", y.as_slice()), ("x", x.as_slice())];
            let (problem, _) = bind_columns(&law, models.full(), &response, Loss::L2, &columns);
            let fit =
                optimize::fit(&models, problem, &optimize::FitOptions::default(), &mut Workspace::default());
            let value = |name: &str| fit.natural[law.parameter(name).unwrap()];
            for (name, expected) in [("c", 2.0), ("d", 3.0), ("b", 1.0), ("e", 2.0)] {
                assert!((value(name) - expected).abs() < 1e-8, "{formula}: {name} {}", value(name));
            }
        }
    }
}
