//! Fits by the crate `levenberg-marquardt`: least squares of logarithms, with an analytic Jacobian, in the centred
//! coordinates log E, a = log A − alpha·mean(log N), alpha, b = log B − beta·mean(log D), beta.

use levenberg_marquardt::{LeastSquaresProblem, LevenbergMarquardt};
use nalgebra::storage::Owned;
use nalgebra::{DVector, Dyn, OMatrix, U5, Vector5};
use sweepfit::internals::problem::Problem;

use crate::export::source;

/// As pinned in Cargo.toml.
pub const VERSION: &str = "0.15.0";

/// The data, centred.
pub struct Curve {
    u: Vec<f64>,
    v: Vec<f64>,
    target: Vec<f64>,
    means: [f64; 2],
}

impl Curve {
    pub fn new(problem: &Problem) -> Curve {
        let centred = |name| {
            let logs: Vec<f64> = source(problem, name).iter().map(|x| x.ln()).collect();
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            (logs.iter().map(|x| x - mean).collect::<Vec<f64>>(), mean)
        };
        let ((u, mean_u), (v, mean_v)) = (centred("N"), centred("D"));
        Curve { u, v, target: problem.target.to_vec(), means: [mean_u, mean_v] }
    }

    /// E, A, B, alpha, beta.
    pub fn natural(&self, x: &Vector5<f64>) -> [f64; 5] {
        [x[0].exp(), (x[1] + x[2] * self.means[0]).exp(), (x[3] + x[4] * self.means[1]).exp(), x[2], x[4]]
    }
}

/// Natural units to coordinates.
pub fn coordinates(curve: &Curve, [e, a, b, alpha, beta]: [f64; 5]) -> Vector5<f64> {
    Vector5::new(e.ln(), a.ln() - alpha * curve.means[0], alpha, b.ln() - beta * curve.means[1], beta)
}

/// A point with what residuals and Jacobian have in common.
struct At<'a> {
    curve: &'a Curve,
    x: Vector5<f64>,
    residuals: DVector<f64>,
    /// Shares of the two power terms in the prediction.
    shares: Vec<[f64; 2]>,
}

impl<'a> At<'a> {
    fn new(curve: &'a Curve, x: Vector5<f64>) -> Self {
        let n = curve.target.len();
        let mut at = At { curve, x, residuals: DVector::zeros(n), shares: vec![[0.0; 2]; n] };
        at.set_params(&x);
        at
    }
}

impl LeastSquaresProblem<f64, Dyn, U5> for At<'_> {
    type ParameterStorage = Owned<f64, U5>;
    type ResidualStorage = Owned<f64, Dyn>;
    type JacobianStorage = Owned<f64, Dyn, U5>;

    fn set_params(&mut self, x: &Vector5<f64>) {
        self.x.copy_from(x);
        let floor = x[0].exp();
        for i in 0..self.shares.len() {
            let first = (x[1] - x[2] * self.curve.u[i]).exp();
            let second = (x[3] - x[4] * self.curve.v[i]).exp();
            let prediction = floor + first + second;
            self.residuals[i] = prediction.ln() - self.curve.target[i];
            let inverse = 1.0 / prediction;
            self.shares[i] = [first * inverse, second * inverse];
        }
    }

    fn params(&self) -> Vector5<f64> {
        self.x
    }

    fn residuals(&self) -> Option<DVector<f64>> {
        Some(self.residuals.clone())
    }

    fn jacobian(&self) -> Option<OMatrix<f64, Dyn, U5>> {
        let n = self.shares.len();
        let mut jacobian = Vec::with_capacity(5 * n);
        jacobian.extend(self.shares.iter().map(|[p, q]| 1.0 - p - q));
        jacobian.extend(self.shares.iter().map(|[p, _]| p));
        jacobian.extend(self.shares.iter().zip(&self.curve.u).map(|([p, _], u)| -u * p));
        jacobian.extend(self.shares.iter().map(|[_, q]| q));
        jacobian.extend(self.shares.iter().zip(&self.curve.v).map(|([_, q], v)| -v * q));
        Some(OMatrix::<f64, Dyn, U5>::from_vec(jacobian))
    }
}

pub fn fit(curve: &Curve, start: Vector5<f64>, tolerance: f64) -> Vector5<f64> {
    let solver = LevenbergMarquardt::new().with_ftol(tolerance).with_xtol(tolerance).with_gtol(0.0);
    solver.minimize(At::new(curve, start)).0.x
}

/// The loosest power of ten that ends within 1e-12 of the best objective.
pub fn loosest_tolerance(curve: &Curve, start: Vector5<f64>) -> f64 {
    let objective = |tolerance| At::new(curve, fit(curve, start, tolerance)).residuals.norm_squared();
    let tolerances: Vec<f64> = (3..=15).map(|k| 10f64.powi(-k)).collect();
    let best = tolerances.iter().map(|&t| objective(t)).fold(f64::INFINITY, f64::min);
    tolerances.into_iter().find(|&t| objective(t) <= best * (1.0 + 1e-12)).unwrap_or(1e-15)
}
