//! The least value of a law under a cost, over the logarithms of its variables.
//!
//! Newton's method on the reduced problem (Nocedal & Wright 2006, chapter 18): steps in the null space of the cost's
//! gradient, from derivatives that are exact, each followed by a return to the given cost.

use crate::compile::Scale;
use crate::formula::{Expr, Jet, jet};
use crate::law::Law;
use crate::linalg::{cholesky, cholesky_solve};

/// The largest number of steps.
const MOST_STEPS: usize = 200;

/// The largest step in a logarithm.
const LONGEST_STEP: f64 = 3.0;

/// The logarithm of a variable beyond which it has run away.
const FARTHEST: f64 = 300.0;

/// The reduced gradient, as a fraction of the gradient, below which a point is an optimum.
const TOLERANCE: f64 = 1e-13;

/// The distance of further starts from the first, in logarithms.
const START_DISTANCE: f64 = 3.0;

/// A law with its parameters, and the cost of its variables.
#[derive(Clone, Copy, Debug)]
pub struct Landscape<'a> {
    pub law: &'a Law,
    /// The cost, in the law's variables.
    pub cost: &'a Expr,
    /// The scale on which the law is minimised: the logarithm of a positive prediction.
    pub scale: Scale,
    /// The names of the variables that are free.
    pub free: &'a [String],
    /// The variables that are held at a value.
    pub held: &'a [(String, f64)],
}

/// A point of least value at its cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    /// The logarithms of the free variables.
    pub x: Vec<f64>,
    /// The law on its scale.
    pub value: f64,
    /// `d x / d log cost`.
    pub exponents: Vec<f64>,
    /// `d value / d log cost`.
    pub slope: f64,
}

/// Why there is no optimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoOptimum {
    /// A variable runs away: the law has no least value at a finite point of this cost.
    Runaway,
    /// The law or the cost has no finite value, or the iteration did not converge.
    Failed,
}

impl Landscape<'_> {
    /// Returns the law on its scale and the logarithm of the cost, with their derivatives with respect to the logarithms of
    /// the free variables.
    fn evaluate(&self, natural: &[f64], x: &[f64]) -> (Jet, Jet) {
        let n = x.len();
        let name = |text: &str| {
            if let Some(i) = self.free.iter().position(|name| name == text) {
                return Some(Jet::variable(x[i], i, n).exponential());
            }
            if let Some((_, value)) = self.held.iter().find(|(name, _)| name == text) {
                return Some(Jet::constant(*value, n));
            }
            self.law.parameter(text).map(|i| Jet::constant(natural[i], n))
        };
        let value = jet(&self.law.prediction, n, &name);
        let value = if self.scale == Scale::Log { value.logarithm() } else { value };
        (value, jet(self.cost, n, &name).logarithm())
    }

    /// Returns the cost of a point.
    #[must_use]
    pub fn log_cost(&self, natural: &[f64], x: &[f64]) -> f64 {
        self.evaluate(natural, x).1.value
    }

    /// Moves a point to a cost, along the gradient of the cost's logarithm.
    fn return_to_cost(&self, natural: &[f64], x: &mut [f64], log_cost: f64) -> Option<(Jet, Jet)> {
        for _ in 0..100 {
            let (value, cost) = self.evaluate(natural, x);
            let left = log_cost - cost.value;
            let norm = dot(&cost.gradient, &cost.gradient);
            if !left.is_finite() || !(norm > 0.0) {
                return None;
            }
            if left.abs() <= 4.0 * f64::EPSILON * log_cost.abs().max(1.0) {
                return Some((value, cost));
            }
            let step = left / norm;
            let longest = cost.gradient.iter().map(|g| (g * step).abs()).fold(0.0, f64::max);
            let step = step * (10.0 / longest).min(1.0);
            x.iter_mut().zip(&cost.gradient).for_each(|(x, g)| *x += step * g);
        }
        let (value, cost) = self.evaluate(natural, x);
        ((log_cost - cost.value).abs() < 1e-9).then_some((value, cost))
    }

    /// Returns the best optimum at a cost from a start and from points around it.
    ///
    /// # Errors
    /// If no start leads to an optimum.
    pub fn best(&self, natural: &[f64], start: &[f64], log_cost: f64) -> Result<Optimum, NoOptimum> {
        let mut starts = vec![start.to_vec()];
        for i in 0..start.len().saturating_sub(1) {
            for sign in [-1.0, 1.0] {
                let mut moved = start.to_vec();
                moved[i] += sign * START_DISTANCE;
                moved[i + 1] -= sign * START_DISTANCE;
                starts.push(moved);
            }
        }
        let mut best: Result<Optimum, NoOptimum> = Err(NoOptimum::Failed);
        for start in starts {
            match (self.optimum(natural, &start, log_cost), &best) {
                (Ok(found), Ok(known)) if found.value >= known.value => {}
                (Ok(found), _) => best = Ok(found),
                (Err(NoOptimum::Runaway), Err(_)) => best = Err(NoOptimum::Runaway),
                (Err(_), _) => {}
            }
        }
        best
    }

    /// Returns the optimum at a cost that a start leads to.
    ///
    /// # Errors
    /// If the iteration does not converge to one.
    pub fn optimum(&self, natural: &[f64], start: &[f64], log_cost: f64) -> Result<Optimum, NoOptimum> {
        let mut x = start.to_vec();
        let mut at = self.return_to_cost(natural, &mut x, log_cost).ok_or(NoOptimum::Failed)?;
        let mut is_polished = false;
        for _ in 0..MOST_STEPS {
            let reduced = Reduced::of(&at.0, &at.1);
            let size = reduced.gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            let full = dot(&at.0.gradient, &at.0.gradient).sqrt();
            let is_done = size <= TOLERANCE * full || is_polished;
            if is_done && let Some(optimum) = reduced.finish(&x, &at.0, &at.1) {
                return Ok(optimum);
            }
            let Some(mut step) = reduced.step() else { return Err(NoOptimum::Failed) };
            let longest = step.iter().map(|s| s.abs()).fold(0.0, f64::max);
            if longest > LONGEST_STEP {
                step.iter_mut().for_each(|s| *s *= LONGEST_STEP / longest);
            }
            let slope: f64 = reduced.space(&step).iter().zip(&at.0.gradient).map(|(s, g)| s * g).sum();
            let mut accepted = None;
            let mut fraction = 1.0;
            for _ in 0..40 {
                let mut trial = x.clone();
                trial.iter_mut().zip(reduced.space(&step)).for_each(|(x, s)| *x += fraction * s);
                if let Some(found) = self.return_to_cost(natural, &mut trial, log_cost) {
                    let rounding = 8.0 * f64::EPSILON * at.0.value.abs().max(f64::MIN_POSITIVE);
                    let decrease = at.0.value - found.0.value;
                    if found.0.value.is_finite() && decrease >= -1e-4 * fraction * slope - rounding {
                        // Within rounding of the value only the gradient tells points apart.
                        let smaller = Reduced::of(&found.0, &found.1).gradient_size() < size;
                        is_polished = decrease <= rounding && !smaller;
                        accepted = Some((trial, found));
                        break;
                    }
                }
                fraction *= 0.5;
            }
            let Some((trial, found)) = accepted else {
                is_polished = true;
                continue;
            };
            if !is_polished {
                (x, at) = (trial, found);
            }
            if x.iter().any(|x| x.abs() > FARTHEST) {
                return Err(NoOptimum::Runaway);
            }
        }
        Err(NoOptimum::Failed)
    }

    /// Returns the optimum whose value is given, and the logarithm of its cost, from an optimum at some cost.
    ///
    /// # Errors
    /// With the value that the law tends to as the cost grows, if the given value is below it.
    pub fn at_value(
        &self,
        natural: &[f64],
        (from, log_cost): (&Optimum, f64),
        value: f64,
    ) -> Result<(Optimum, f64), f64> {
        let mut at = (from.clone(), log_cost);
        // The value falls as the cost grows, so two costs between which it is reached make a bracket.
        let (mut low, mut high): (Option<f64>, Option<f64>) = (None, None);
        for _ in 0..400 {
            let left = value - at.0.value;
            if left.abs() <= 1e-14 * value.abs().max(1.0) {
                return Ok(at);
            }
            if left < 0.0 {
                low = Some(at.1)
            } else {
                high = Some(at.1)
            }
            let newton = at.1 + left / at.0.slope;
            let next = match (low, high) {
                (Some(low), Some(high)) => {
                    if high - low <= 1e-14 * high.abs() {
                        return Ok(at);
                    }
                    if newton > low && newton < high { newton } else { 0.5 * (low + high) }
                }
                (Some(low), None) if newton.is_finite() => newton.clamp(low + 1e-12, low + 10.0),
                (Some(low), None) => low + 10.0,
                (_, Some(high)) => {
                    if newton.is_finite() {
                        newton.clamp(high - 10.0, high - 1e-12)
                    } else {
                        high - 10.0
                    }
                }
                (None, None) => return Err(at.0.value),
            };
            if !(-FARTHEST..=FARTHEST).contains(&next) {
                return Err(at.0.value);
            }
            match self.optimum(natural, &at.0.x, next) {
                Ok(found) => at = (found, next),
                Err(_) => return Err(at.0.value),
            }
        }
        if (value - at.0.value).abs() <= 1e-10 * value.abs().max(1.0) { Ok(at) } else { Err(at.0.value) }
    }
}

/// The problem in the null space of the cost's gradient.
struct Reduced {
    /// An orthonormal basis of the null space, one vector after the other.
    basis: Vec<Vec<f64>>,
    /// The law's gradient in it.
    gradient: Vec<f64>,
    /// The Lagrangian's Hessian in it, square by rows.
    hessian: Vec<f64>,
    /// The Lagrangian's Hessian, square by rows.
    full_hessian: Vec<f64>,
}

impl Reduced {
    fn of(value: &Jet, cost: &Jet) -> Reduced {
        let n = value.gradient.len();
        let basis = null_space(&cost.gradient);
        let multiplier = -dot(&value.gradient, &cost.gradient) / dot(&cost.gradient, &cost.gradient);
        let full_hessian: Vec<f64> =
            value.hessian.iter().zip(&cost.hessian).map(|(f, g)| f + multiplier * g).collect();
        let gradient = basis.iter().map(|z| dot(z, &value.gradient)).collect();
        let m = basis.len();
        let entry = |k: usize| dot(&basis[k / m], &times(&full_hessian, &basis[k % m], n));
        let hessian = (0..m * m).map(entry).collect();
        Reduced { gradient, hessian, full_hessian, basis }
    }

    fn gradient_size(&self) -> f64 {
        self.gradient.iter().map(|g| g * g).sum::<f64>().sqrt()
    }

    /// Returns a step in the space of the variables.
    fn space(&self, step: &[f64]) -> Vec<f64> {
        let n = self.full_hessian.len().isqrt();
        (0..n).map(|i| self.basis.iter().zip(step).map(|(z, s)| z[i] * s).sum()).collect()
    }

    /// Returns Newton's step, damped until the Hessian is positive definite.
    fn step(&self) -> Option<Vec<f64>> {
        let m = self.gradient.len();
        let size = (0..m).map(|i| self.hessian[i * m + i].abs()).fold(f64::MIN_POSITIVE, f64::max);
        let mut damping = 0.0;
        for _ in 0..60 {
            let mut matrix = self.hessian.clone();
            (0..m).for_each(|i| matrix[i * m + i] += damping);
            if cholesky(&mut matrix, m) {
                let mut step: Vec<f64> = self.gradient.iter().map(|g| -g).collect();
                cholesky_solve(&matrix, m, &mut step);
                if step.iter().all(|s| s.is_finite()) {
                    return Some(step);
                }
            }
            damping = if damping == 0.0 { 1e-6 * size } else { 4.0 * damping };
        }
        None
    }

    /// Returns the optimum at a point; none where the Hessian is not positive definite.
    fn finish(&self, x: &[f64], value: &Jet, cost: &Jet) -> Option<Optimum> {
        let (n, m) = (x.len(), self.gradient.len());
        let norm = dot(&cost.gradient, &cost.gradient);
        let along: Vec<f64> = cost.gradient.iter().map(|g| g / norm).collect();
        let mut exponents = along.clone();
        if m > 0 {
            let mut matrix = self.hessian.clone();
            if !cholesky(&mut matrix, m) {
                return None;
            }
            let pushed = times(&self.full_hessian, &along, n);
            let mut within: Vec<f64> = self.basis.iter().map(|z| -dot(z, &pushed)).collect();
            cholesky_solve(&matrix, m, &mut within);
            exponents.iter_mut().zip(self.space(&within)).for_each(|(e, s)| *e += s);
        }
        let slope = dot(&value.gradient, &along);
        Some(Optimum { x: x.to_vec(), value: value.value, exponents, slope })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Returns a square matrix (by rows) times a vector.
fn times(matrix: &[f64], x: &[f64], n: usize) -> Vec<f64> {
    matrix.chunks_exact(n).map(|row| dot(row, x)).collect()
}

/// Returns an orthonormal basis of the vectors that are orthogonal to `a`: the columns of its Householder reflection.
fn null_space(a: &[f64]) -> Vec<Vec<f64>> {
    let n = a.len();
    let norm = dot(a, a).sqrt();
    let mut v = a.to_vec();
    v[0] += norm.copysign(a[0]);
    let square = dot(&v, &v);
    let column = |j: usize| {
        (0..n).map(|i| f64::from(u8::from(i == j)) - 2.0 * v[i] * v[j] / square).collect::<Vec<f64>>()
    };
    (1..n).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formula::parse_expression;
    use crate::testing::{catalogue_law, typed_law};

    /// Returns the parameters of a law by name.
    fn parameters(law: &Law, values: &[(&str, f64)]) -> Vec<f64> {
        law.parameters.iter().map(|p| values.iter().find(|(name, _)| *name == p.name).unwrap().1).collect()
    }

    /// Hoffmann et al. (2022), equation 4: `N* = G·(C/6)^(β/(α+β))`, `G = (α·A/(β·B))^(1/(α+β))`, for both Chinchilla's law
    /// and the law with one exponent.
    #[test]
    fn optima_are_the_closed_forms() {
        let cost = parse_expression("6*N*D").unwrap();
        let free = ["N".to_string(), "D".to_string()];
        let mut compared = 0;
        for (name, alpha, beta) in [("chinchilla", 0.3473105, 0.3671724), ("chinchilla-tied", 0.35, 0.35)] {
            let law = catalogue_law(name);
            let (e, a, b) = (1.8172181, 477.8259, 2143.417);
            let values = [("E", e), ("A", a), ("B", b), ("alpha", alpha), ("beta", beta)];
            let natural = parameters(&law, &values);
            let landscape = Landscape { law: &law, cost: &cost, scale: Scale::Log, free: &free, held: &[] };
            for budget in [1e18, 5.76e23, 1e27] {
                let start = [20.0, 25.0];
                let found = landscape.best(&natural, &start, f64::ln(budget)).unwrap();
                let g = (alpha * a / (beta * b)).powf(1.0 / (alpha + beta));
                let n = g * (budget / 6.0f64).powf(beta / (alpha + beta));
                let d = budget / 6.0 / n;
                let loss = e + a / n.powf(alpha) + b / d.powf(beta);
                assert!((found.x[0].exp() / n - 1.0).abs() < 1e-9, "{name} {budget}: {}", found.x[0].exp());
                assert!((found.x[1].exp() / d - 1.0).abs() < 1e-9, "{name} {budget}");
                assert!((found.value.exp() / loss - 1.0).abs() < 1e-12, "{name} {budget}");
                assert!((found.exponents[0] - beta / (alpha + beta)).abs() < 1e-9, "{name} {budget}");
                let (back, log_cost) = landscape
                    .at_value(&natural, (&landscape.best(&natural, &start, 50.0).unwrap(), 50.0), loss.ln())
                    .unwrap();
                assert!((log_cost / budget.ln() - 1.0).abs() < 1e-9, "{name} {budget}: {log_cost}");
                assert!((back.x[0] - found.x[0]).abs() < 1e-6);
                compared += 1;
            }
            let from = landscape.best(&natural, &[20.0, 25.0], 50.0).unwrap();
            let floor = landscape.at_value(&natural, (&from, 50.0), 1.8f64.ln()).unwrap_err();
            assert!((floor.exp() / e - 1.0).abs() < 1e-3, "{}", floor.exp());
        }
        assert_eq!(compared, 6);
    }

    /// Laws without a closed form. Expected values are those of SciPy 1.17.1's `minimize_scalar` (bounded, xatol = 1e-13) over
    /// log N at D = cost/(6·N), refined by bisection of central differences.
    #[test]
    fn optima_agree_with_a_minimiser_in_one_dimension() {
        let cost = parse_expression("6*N*D").unwrap();
        let free = ["N".to_string(), "D".to_string()];
        let kaplan: &[(&str, f64)] = &[("Nc", 6.4e13), ("alphaN", 0.076), ("alphaD", 0.103), ("Dc", 1.8e13)];
        let (a, b, e) = (6.255414f64.exp(), 7.3049974f64.exp(), 0.6254804f64.exp());
        let constrained: &[(&str, f64)] = &[
            ("A", a),
            ("B", b),
            ("E", e),
            ("alpha", 0.3526596),
            ("beta", 0.3526596),
            ("RD", 15.387756),
            ("RN", 5.309743),
        ];
        let held = [("U".to_string(), 25e9)];
        for (name, values, held, budget, log_n, value) in [
            ("kaplan-nd", kaplan, &held[..0], 1e23, 25.202_740_566, 1.746_385_264_050_465_1),
            ("data-constrained", constrained, &held[..], 1e22, 22.672_906_031, 2.222_129_274_870_97),
        ] {
            let law = catalogue_law(name);
            let natural = parameters(&law, values);
            let landscape = Landscape { law: &law, cost: &cost, scale: Scale::Log, free: &free, held };
            let found = landscape.best(&natural, &[22.0, 26.0], f64::ln(budget)).unwrap();
            assert!((found.x[0] - log_n).abs() < 1e-7, "{name}: {}", found.x[0]);
            assert!((found.value.exp() / value - 1.0).abs() < 1e-12, "{name}: {}", found.value.exp());
        }
    }

    /// Three variables and a cost that is a sum. Expected values are those of SciPy 1.17.1's `minimize` with SLSQP in
    /// logarithms, started at (8, 8, 8) and repeated five times, with ftol = 1e-16.
    #[test]
    fn three_variables_and_another_cost() {
        let law = typed_law("y ~ e + a/u^0.3 + b/v^0.5 + c/w^0.4", &["y", "u", "v", "w"]);
        let natural = parameters(&law, &[("e", 1.0), ("a", 5.0), ("b", 9.0), ("c", 3.0)]);
        let cost = parse_expression("u*v + 3*w^1.5*u^0.5 + 10*v").unwrap();
        let free = ["u".to_string(), "v".to_string(), "w".to_string()];
        let landscape = Landscape { law: &law, cost: &cost, scale: Scale::Linear, free: &free, held: &[] };
        let found = landscape.best(&natural, &[8.0, 8.0, 8.0], 1e8f64.ln()).unwrap();
        let by_hand = |x: &[f64]| {
            let [u, v, w] = [x[0].exp(), x[1].exp(), x[2].exp()];
            1.0 + 5.0 / u.powf(0.3) + 9.0 / v.sqrt() + 3.0 / w.powf(0.4)
        };
        assert!((by_hand(&found.x) - found.value).abs() < 1e-12);
        assert!((found.value - 1.557_068_712_518_486).abs() < 1e-12, "{}", found.value);
        for (x, expected) in found.x.iter().zip([9.557_099_41, 8.420_853_08, 7.676_159_35]) {
            assert!((x - expected).abs() < 1e-6, "{x}");
        }
        // No move along the cost is better.
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            for step in [-1e-3, 1e-3] {
                let mut x = found.x.clone();
                x[i] += step;
                x[j] -= step;
                landscape.return_to_cost(&natural, &mut x, 1e8f64.ln()).unwrap();
                assert!(by_hand(&x) > found.value, "{i} {j} {step}");
            }
        }
        // The exponents are the differences of optima.
        let above = landscape.optimum(&natural, &found.x, 1e8f64.ln() + 1e-4).unwrap();
        for i in 0..3 {
            let difference = (above.x[i] - found.x[i]) / 1e-4;
            assert!((found.exponents[i] - difference).abs() < 1e-4, "{i}: {difference}");
        }
    }
}
