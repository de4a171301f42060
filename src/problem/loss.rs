//! The losses ρ of the objective `Σ w·ρ(residual/σ)`, with their first two derivatives.
//!
//! All equal `u²/2` near 0. To add a loss: a variant here, its arm in each method, its normalising constant in
//! `infer::likelihood`, its arms in `loss_choice` (thresholds that follow the residuals), and a line in the test below.

use crate::lanes::{self, Lanes, scalar};

/// A loss ρ(u); `delta` is in units of u = residual/σ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// `u²/2`.
    L2,
    /// `u²/2` for |u| ≤ δ, else `δ(|u| − δ/2)` (Huber 1964).
    Huber {
        /// δ.
        delta: f64,
    },
    /// `δ²(√(1 + (u/δ)²) − 1)`.
    SoftL1 {
        /// δ.
        delta: f64,
    },
    /// `δ²/2·log(1 + (u/δ)²)`.
    Cauchy {
        /// δ.
        delta: f64,
    },
}

/// ρ, ρ′ and ρ″ at one residual, or at a vector of residuals.
#[derive(Clone, Copy, Debug)]
pub struct LossTerms<L> {
    pub value: L,
    pub slope: L,
    pub curvature: L,
    /// `ρ′(u)/u`: the weight of iteratively reweighted least squares, which bounds the curvature from above.
    pub weight: L,
}

impl Loss {
    /// Returns ρ and its derivatives.
    #[inline(always)]
    pub fn terms<L: Lanes>(self, u: L) -> LossTerms<L> {
        let one = u.fill(1.0);
        match self {
            Loss::L2 => LossTerms { value: u * u * u.fill(0.5), slope: u, curvature: one, weight: one },
            Loss::Huber { delta } => {
                let size = u.abs();
                let d = u.fill(delta);
                let near = size.le(d);
                let far_value = d * (size - u.fill(0.5 * delta));
                // NaN must not be taken for a large residual.
                let far_slope = L::select(u.is_nan(), u, d.copysign(u));
                LossTerms {
                    value: L::select(near, u * u * u.fill(0.5), far_value),
                    slope: L::select(near, u, far_slope),
                    curvature: L::select(near, one, u.fill(0.0)),
                    weight: L::select(near, one, d / size),
                }
            }
            Loss::SoftL1 { delta } => {
                let v = u * u.fill(1.0 / delta);
                let z = v * v;
                let t = (one + z).sqrt();
                let inverse = one / t;
                LossTerms {
                    // δ²(t − 1) = u²/(t + 1), without the cancellation.
                    value: u * u / (t + one),
                    slope: u * inverse,
                    curvature: inverse * inverse * inverse,
                    weight: inverse,
                }
            }
            Loss::Cauchy { delta } => {
                let v = u * u.fill(1.0 / delta);
                let z = v * v;
                let t = one + z;
                let inverse = one / t;
                // log(1 + z) is accurate for small z because the rounding of 1 + z is divided out.
                let rounded = t - one;
                let log = L::select(rounded.eq(u.fill(0.0)), z, lanes::ln(t) * z / rounded);
                LossTerms {
                    value: log * u.fill(0.5 * delta * delta),
                    slope: u * inverse,
                    curvature: (one - z) * inverse * inverse,
                    weight: inverse,
                }
            }
        }
    }

    /// Returns the weight ρ′(u)/u at the residual u with ρ(u) = `level`.
    #[must_use]
    pub fn typical_weight(self, level: f64) -> f64 {
        let weight = match self {
            Loss::L2 => 1.0,
            Loss::Huber { delta } => {
                if level <= 0.5 * delta * delta {
                    1.0
                } else {
                    delta / (level / delta + 0.5 * delta)
                }
            }
            Loss::SoftL1 { delta } => 1.0 / (1.0 + level / (delta * delta)),
            Loss::Cauchy { delta } => scalar::exp(-2.0 * level / (delta * delta)),
        };
        if weight.is_finite() { weight.clamp(1e-8, 1.0) } else { 1.0 }
    }

    /// Returns whether the objective is a sum of squares.
    #[must_use]
    pub fn is_quadratic(self) -> bool {
        self == Loss::L2
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Loss::L2 => write!(f, "l2"),
            Loss::Huber { delta } => write!(f, "huber:{}", ShortNumber(*delta)),
            Loss::SoftL1 { delta } => write!(f, "soft_l1:{}", ShortNumber(*delta)),
            Loss::Cauchy { delta } => write!(f, "cauchy:{}", ShortNumber(*delta)),
        }
    }
}

/// A number that is displayed in the shorter of plain and scientific notation, both exact.
pub(super) struct ShortNumber(pub f64);

impl std::fmt::Display for ShortNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (plain, scientific) = (format!("{}", self.0), format!("{:e}", self.0));
        f.write_str(if plain.len() <= scientific.len() { &plain } else { &scientific })
    }
}

impl std::str::FromStr for Loss {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || {
            format!(
                "`{text}` is not a loss: use l2, huber:DELTA, soft_l1:DELTA or cauchy:DELTA with DELTA > 0, or with a \
                 multiple of the scale of the residuals, as in huber:1.345*mad"
            )
        };
        if text == "l2" {
            return Ok(Loss::L2);
        }
        let (name, delta) = text.split_once(':').ok_or_else(usage)?;
        let delta: f64 = delta.parse().map_err(|_| usage())?;
        if !(delta > 0.0 && delta.is_finite()) {
            return Err(usage());
        }
        match name {
            "huber" => Ok(Loss::Huber { delta }),
            "soft_l1" => Ok(Loss::SoftL1 { delta }),
            "cauchy" => Ok(Loss::Cauchy { delta }),
            _ => Err(usage()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values are those of SciPy's `least_squares` losses (`0.5·C²·rho((u/C)²)`), computed with SciPy 1.16.
    #[test]
    fn losses_agree_with_scipy() {
        let cases = [
            (Loss::Huber { delta: 0.5 }, 2.0, 0.875),
            (Loss::Huber { delta: 0.5 }, 0.25, 0.03125),
            (Loss::SoftL1 { delta: 0.5 }, 2.0, 0.7807764064044151),
            (Loss::Cauchy { delta: 0.5 }, 2.0, 0.354151668007027),
            (Loss::L2, -3.0, 4.5),
        ];
        for (loss, u, expected) in cases {
            let value = loss.terms::<f64>(u).value;
            assert!((value - expected).abs() < 1e-15, "{loss} at {u}: {value}");
        }
    }

    #[test]
    fn slopes_and_curvatures_are_derivatives() {
        for loss in ["l2", "huber:0.5", "soft_l1:0.5", "cauchy:0.5"] {
            let loss: Loss = loss.parse().unwrap();
            for u in [-2.0, -0.3, 0.1, 0.45, 1.5] {
                let h = 1e-5;
                let at = |x: f64| loss.terms::<f64>(x);
                let slope = (at(u + h).value - at(u - h).value) / (2.0 * h);
                let curvature = (at(u + h).slope - at(u - h).slope) / (2.0 * h);
                assert!((slope - at(u).slope).abs() < 1e-8, "{loss} at {u}");
                assert!((curvature - at(u).curvature).abs() < 1e-8, "{loss} at {u}");
            }
        }
    }

    #[test]
    fn names_are_read_and_written() {
        for text in ["l2", "huber:1e-3", "soft_l1:1e-7", "cauchy:2"] {
            assert_eq!(text.parse::<Loss>().unwrap().to_string(), text);
        }
        for text in ["huber", "huber:0", "huber:-1", "huber:nan", "l1", "huber:inf"] {
            assert!(text.parse::<Loss>().is_err(), "{text}");
        }
    }
}
