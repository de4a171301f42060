//! The certificate of a minimum: what must hold of a point before a fit is called converged.
//!
//! The certificate does not depend on how the point was found: no iteration count, no history, no step that became
//! small. It is computed from the point itself ([`Linearization`]: residuals, exact first and second derivatives,
//! weights), in float64 with compensated sums.
//!
//! # Definition
//!
//! Let `F(θ) = Σ w·ρ(r/σ)` be the objective (a sum) and `g`, `H` its exact gradient and Hessian over the *free*
//! coordinates, those that the gradient does not hold at a bound. Coordinates are scaled so that every column of the
//! weighted Jacobian `√w/σ·∂r/∂θ` has norm one: then `g` is in units of a residual over σ, whatever the units of the
//! parameters. The point is a certified minimum when
//!
//! 1. **it is no saddle**: `H` has no eigenvalue below `−1e-8` of its largest in absolute value;
//! 2. **no decrease is left**: the decrease `½ gᵀH⁻¹g` predicted for Newton's step is at most `1e-14·F`, or at most the
//!    floor, the change of `F` that rounding the responses to float64 can cause: `Σ w·(ε·max(|T(y)|, size)/σ)²`, where
//!    `size` is 1 for logarithms and the mean absolute response otherwise. (Eigenvalues are taken by their absolute
//!    value and not below `1e-14` of the largest.) An exact fit has `F = 0` and can hold by the floor alone;
//! 3. **the gradient is zero relative to its terms**: no entry of `g` exceeds `1e-7` of `√Σ w·(ρ'(r/σ))²`, the norm of
//!    the influences, which bounds it by Cauchy–Schwarz: for least squares the ratio is the cosine of the angle between
//!    the residuals and a column of the Jacobian. The floor allows `4·√(2·floor)` instead.
//!
//! A fourth number says whether the minimum is *settled*: the Newton step moves no coordinate by more than 1e-2 of
//! itself (a logarithm by no more than 1e-2; coordinates in which the prediction is linear are left out, because they
//! have a finite minimum wherever the others have one). Where the objective flattens towards infinity, as `exp(−t)` or
//! a power of `t` does, conditions 1 to 3 hold at some finite `t` though there is no minimum, but the Newton step stays
//! of the order of `t` itself. A point that is certified and settled is a minimum. From a point that is certified but
//! not settled the regularisation path is followed (see `infinity`) before the fit is diagnosed.
//!
//! Every limit is relative to the problem itself. Multiplying the objective, the responses in linear space, the weights
//! or the units of a parameter by a constant changes no result.
//!
//! # What it does not say
//!
//! * That the fit is `converged`: the status, which weighs this with the rank, the bounds and what happens at infinity, is
//!   set in `optimize::diagnosis`.//!
//! * That the minimum is the global one: that depends on the starts (`n_agreeing` in the tables).
//! * That it is a point: where the data does not determine a direction, `H` is singular and every point along it
//!   passes. The rank of the Jacobian says so (`identifiability`), and the fit is then `underdetermined`.
//! * That the derivatives are those of the law: a point is stationary for the derivatives that it is given. They are
//!   exact by construction, and `sweepfit verify` compares them with differences in high precision.
//!
//! A minimum at a kink of the objective (from `abs`, `min`, `max` in a law) has no zero gradient and is not certified.

use faer::Mat;

use crate::compile::{Coordinate, Scale};
use crate::linalg::{Eigen, cholesky, cholesky_solve, symmetric_eigen};
use crate::optimize::levenberg_marquardt::SETTLED;
use crate::problem::Linearization;

/// The largest entry of the gradient, as a fraction of the norm of the influences.
const GRADIENT: f64 = 1e-7;

/// The largest predicted decrease, as a fraction of the objective.
const DECREASE: f64 = 1e-14;

/// The smallest eigenvalue of the Hessian, as a fraction of the largest.
const SADDLE: f64 = -1e-8;

/// The smallest absolute eigenvalue, as a fraction of the largest, with which a Newton step is computed.
const MIN_EIGENVALUE: f64 = 1e-14;

/// The lower bound of the eigenvalues, as a fraction of the largest, above which Cholesky replaces the
/// eigendecomposition.
const WELL_CONDITIONED: f64 = 1e-12;

/// The certificate of a point; all numbers are in the scaled coordinates of the module's definition.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The largest absolute entry of the projected gradient.
    pub gradient: f64,
    /// The largest entry with which the certificate holds.
    pub gradient_limit: f64,
    /// The decrease predicted for a Newton step.
    pub decrease: f64,
    /// The largest predicted decrease with which the certificate holds.
    pub decrease_limit: f64,
    /// The smallest eigenvalue of the Hessian over its largest; where that is above 1e-12, a lower bound of it.
    pub lowest_curvature: f64,
    /// The largest change of a coordinate in the Newton step, as a fraction of the coordinate, or absolute for
    /// logarithms. Coordinates in which the prediction is linear are left out.
    pub relative_step: f64,
}

/// A point and its linearization, as input of a certificate.
#[derive(Clone, Copy, Debug)]
pub struct Evaluated<'a> {
    pub coordinates: &'a [Coordinate],
    /// The point, in solver coordinates.
    pub theta: &'a [f64],
    pub rows: &'a Linearization,
    /// The coordinates that are not held at a bound.
    pub free: &'a [usize],
    /// The change of the objective that rounding of the responses alone can cause.
    pub floor: f64,
}

impl Certificate {
    /// Returns the certificate of a point.
    #[must_use]
    pub fn of(point: Evaluated) -> Certificate {
        Certificate::with(point, &mut Vec::new())
    }

    /// Returns the certificate of a point; `work` is a buffer.
    pub fn with(point: Evaluated, work: &mut Vec<f64>) -> Certificate {
        let Evaluated { rows: at, free, floor, .. } = point;
        let m = free.len();
        work.clear();
        work.extend(free.iter().map(|&i| at.gradient[i] / at.scale(i)));
        work.resize(m * (m + 2), 0.0);
        let (g, work) = work.split_at_mut(m);
        let gradient =
            g.iter().fold(0.0, |worst: f64, x| if x.is_nan() { f64::NAN } else { worst.max(x.abs()) });
        let mut certificate = Certificate {
            gradient,
            gradient_limit: (GRADIENT * at.influence_norm).max(4.0 * (2.0 * floor).sqrt()),
            decrease: f64::INFINITY,
            decrease_limit: (DECREASE * at.objective).max(floor),
            lowest_curvature: 0.0,
            relative_step: f64::INFINITY,
        };
        if m == 0 {
            (certificate.decrease, certificate.relative_step) = (0.0, 0.0);
            return certificate;
        }
        if let Some((decrease, lowest)) = by_cholesky(at, free, g, work) {
            (certificate.decrease, certificate.lowest_curvature) = (decrease, lowest);
            certificate.relative_step = relative_step(point, &work[m * m..]);
            return certificate;
        }
        let hessian = scaled_hessian(at, free, &column_scales(at, free));
        let Some(Eigen { values, vectors }) = symmetric_eigen(hessian.as_ref()) else { return certificate };
        let largest = (0..m).map(|a| values[a].abs()).fold(0.0, f64::max);
        if !(largest > 0.0) {
            // Without any curvature only a zero gradient is stationary.
            certificate.decrease = if gradient <= certificate.gradient_limit { 0.0 } else { f64::INFINITY };
            return certificate;
        }
        certificate.lowest_curvature = (0..m).map(|a| values[a]).fold(f64::INFINITY, f64::min) / largest;
        let step = &mut work[..m];
        step.fill(0.0);
        certificate.decrease = 0.0;
        for a in 0..m {
            let along: f64 = (0..m).map(|b| vectors[(b, a)] * g[b]).sum();
            let moved = along / values[a].abs().max(MIN_EIGENVALUE * largest);
            certificate.decrease += 0.5 * along * moved;
            step.iter_mut().enumerate().for_each(|(b, s)| *s += vectors[(b, a)] * moved);
        }
        certificate.relative_step = relative_step(point, step);
        certificate
    }

    /// Returns whether the Newton step leaves every coordinate nearly unchanged.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.relative_step <= SETTLED
    }

    /// Returns whether the point is certified as a minimum.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.lowest_curvature >= SADDLE
            && self.decrease <= self.decrease_limit
            && self.gradient <= self.gradient_limit
    }

    /// Returns a sentence that says which condition fails.
    #[must_use]
    pub fn failure(&self) -> String {
        if !self.gradient.is_finite() {
            "the objective or its gradient is not finite at the best point found".to_string()
        } else if self.lowest_curvature < SADDLE {
            "the best point found is not a minimum: the objective still falls along one direction".to_string()
        } else {
            format!(
                "the best point found is not certified: gradient {:.1e} (limit {:.1e}), predicted decrease \
                 {:.1e} (limit {:.1e})",
                self.gradient, self.gradient_limit, self.decrease, self.decrease_limit
            )
        }
    }
}

/// Returns the largest change of a coordinate in a step, as a fraction of the coordinate; `step` is in scaled
/// coordinates, over the free ones.
fn relative_step(point: Evaluated, step: &[f64]) -> f64 {
    let Evaluated { coordinates, theta, rows, free, .. } = point;
    let moves = free.iter().zip(step).map(|(&i, s)| {
        let step = (s / rows.scale(i)).abs();
        match coordinates[i].scale {
            _ if step == 0.0 || coordinates[i].is_conditionally_linear() => 0.0,
            Scale::Log => step,
            Scale::Linear => step / theta[i].abs(),
        }
    });
    moves.fold(0.0, f64::max)
}

/// Returns the decrease predicted for Newton's step, and a lower bound of the smallest eigenvalue over the largest.
/// None unless the Hessian is far from singular.
///
/// `λ₁ ≥ det H·((m − 1)/tr H)^(m−1)`, because the product of the other eigenvalues is largest where they are equal
/// (Merikoski & Virtanen 1997), and no eigenvalue exceeds the trace.
fn by_cholesky(at: &Linearization, free: &[usize], g: &[f64], work: &mut [f64]) -> Option<(f64, f64)> {
    let m = free.len();
    let (hessian, step) = work.split_at_mut(m * m);
    at.scaled_hessian_into(free, hessian);
    let trace: f64 = (0..m).map(|a| hessian[a * m + a]).sum();
    if !cholesky(hessian, m) {
        return None;
    }
    let determinant: f64 = (0..m).map(|a| hessian[a * m + a].powi(2)).product();
    let others = (m - 1) as f64;
    let lowest = determinant * (others / trace).powi(m as i32 - 1) / trace;
    if !(lowest > WELL_CONDITIONED) {
        return None;
    }
    step.copy_from_slice(g);
    cholesky_solve(hessian, m, step);
    Some((0.5 * step.iter().zip(g).map(|(s, g)| s * g).sum::<f64>(), lowest))
}

/// Returns `√w·derivative`; 0 where the weight is, whatever the law gives there.
#[must_use]
pub fn weighted_entry(weight: f64, derivative: f64) -> f64 {
    if weight == 0.0 { 0.0 } else { weight.sqrt() * derivative }
}

/// Returns the norms of the free columns of the weighted Jacobian, without the curvature of the loss; 1 for a column of
/// zeros.
#[must_use]
pub fn column_scales(at: &Linearization, free: &[usize]) -> Vec<f64> {
    free.iter().map(|&i| at.scale(i)).collect()
}

/// Returns the exact Hessian over the free coordinates, with scaled columns.
#[must_use]
pub fn scaled_hessian(at: &Linearization, free: &[usize], scale: &[f64]) -> Mat<f64> {
    Mat::from_fn(free.len(), free.len(), |a, b| at.hessian(free[a], free[b]) / (scale[a] * scale[b]))
}
