//! Sandwich standard errors, for small sweeps, heteroscedastic residuals and clusters.
//!
//! `X` is the Jacobian of the residuals over the coordinates that are not on a bound, its rows weighted by `√w/σ`; `M =
//! (XᵀX)⁻¹`, `H = X·M·Xᵀ` has the leverages on its diagonal, and `e` are the weighted residuals. For a quantity with
//! the gradient `g` let `v = X·M·g`. Then (MacKinnon & White 1985; Bell & McCaffrey 2002; Pustejovsky & Tipton 2018)
//!
//! * HC2, by observation: `V = Σ vᵢ²·eᵢ²/(1 − hᵢ)`;
//! * CR2, by cluster `c`: `V = Σ (v_cᵀ·A_c·e_c)²` with `A_c = (1 − H_cc)^(−1/2)`, a pseudo-inverse where a cluster
//!   alone determines a direction; HC2 is that of clusters of one;
//! * degrees of freedom: with `b_c = (1 − H)_{·c}·A_c·v_c`, `ν = (Σ b_cᵀb_c)²/Σ (b_cᵀb_d)²`, at least 1.
//!
//! A robust loss has `ρ′(e)/m` in place of `e`, where `m` is the mean of `ρ″`, times Huber's correction `K = 1 +
//! (p/n)·(1 − m)/m` (Huber & Ronchetti 2009, 7.6). Where the loss is nearly absolute, so that few residuals lie within
//! its threshold `δ`, `m` is `2δ` times the density of the residuals at zero, by Powell's kernel with the bandwidth of
//! Hall & Sheather (Koenker 2005, 3.4).
//!
//! With `Q = X·R⁻¹` and `R` the triangular factor of `X`, `v = Q·u` for `u = R⁻ᵀ·g`; per cluster with `G = Q_cᵀ·Q_c`,
//! `A_c·v_c = Q_c·z` for a vector `z` of the length of `u`. So all computations are in as many dimensions as there are
//! coordinates.

use faer::Mat;

use crate::linalg::{Eigen, symmetric_eigen};
use crate::optimize::{Finished, Fit, weighted_entry};
use crate::problem::Loss;

use super::interval::distributions::normal_quantile;
use super::parameter_covariance::{FormSums, UnitForms};

/// The smallest fraction of a direction that other clusters must determine; below it the direction is dropped.
const MIN_REMAINDER: f64 = 1e-8;

/// The smallest number of clusters with a standard error.
const MIN_CLUSTERS: usize = 4;

/// The sandwich estimate of a fit.
#[derive(Debug)]
pub struct Sandwich<'a> {
    solution: &'a Finished,
    /// `R⁻¹` by rows.
    inverse: &'a [f64],
    /// The norms of the columns by which `R` is scaled.
    scale: Vec<f64>,
    meat: Meat,
    /// The mean of `ρ″`.
    mean_curvature: f64,
    /// Whether the loss is nearly absolute: fewer than half of the residuals lie within its threshold.
    pub is_nearly_absolute: bool,
    /// The variance of a residual, `K²·Σρ′²/(n − p)/m`, by which the objective's rise is in units of a squared deviation.
    pub residual_variance: f64,
    /// The degrees of freedom of that variance: observations, or clusters, minus what the fit took.
    pub residual_degrees: f64,
}

/// The contributions of observations or clusters.
#[derive(Debug)]
enum Meat {
    /// `Q` by rows, and for each observation `(1 − h)^(−1/2)` and its corrected residual.
    Observations {
        q: Vec<f64>,
        root: Vec<f64>,
        score: Vec<f64>,
    },
    Clusters(Vec<Cluster>),
}

/// The contribution of one cluster.
#[derive(Debug)]
struct Cluster {
    /// `G`, square by rows.
    gram: Vec<f64>,
    /// `A` in the same dimensions: `z = A·u`.
    adjusted: Vec<f64>,
    /// `Q_cᵀ·e_c`, corrected for the loss.
    score: Vec<f64>,
}

/// The estimated variance of a quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VarianceEstimate {
    pub variance: f64,
    pub degrees_of_freedom: f64,
    /// The rise of the objective where the quantity is one standard error away and the coordinates take their best
    /// values, in the quadratic approximation.
    pub rise: f64,
}

impl<'a> Sandwich<'a> {
    /// Returns the sandwich estimate of a fit that the data determines, for intervals with the normal quantile `z`.
    /// None where no residual degree of freedom is left, or clusters are too few.
    pub fn of(fit: &'a Fit, z: f64) -> Option<Sandwich<'a>> {
        let solution = fit.solution.as_ref().filter(|solution| !solution.free.is_empty())?;
        let (free, rows) = (&solution.free, &solution.rows);
        let m = free.len();
        let inverse = &fit.identification.inverse;
        let observations = &fit.problem.observations;
        let used: Vec<usize> = (0..rows.residual.len()).filter(|&k| rows.weight[k] > 0.0).collect();
        if inverse.len() != m * m || used.len() <= fit.problem.p() + fit.edges.len() {
            return None;
        }
        let scale: Vec<f64> = free.iter().map(|&i| rows.scale(i)).collect();
        let Curvature { mean, correction, is_nearly_absolute } = curvature(fit, solution, &used, z)?;
        // Row k of Q = X·R⁻¹, appended.
        let append = |k: usize, into: &mut Vec<f64>| {
            let start = into.len();
            let weight = rows.weight[k];
            let entry = |a: usize| weighted_entry(weight, rows.jacobian[k * rows.p + free[a]]) / scale[a];
            into.extend((0..m).map(entry));
            let row = &mut into[start..];
            for b in (0..m).rev() {
                row[b] = (0..=b).map(|a| row[a] * inverse[a * m + b]).sum();
            }
        };
        let score = |k: usize| correction * rows.slope[k] / (mean * rows.weight[k].sqrt());
        let left = (used.len() - fit.problem.p() - fit.edges.len()) as f64;
        let residual_variance = mean * used.iter().map(|&k| score(k).powi(2)).sum::<f64>() / left;
        let mut residual_degrees = left;
        let meat = match &observations.cluster {
            None => {
                let mut q = Vec::with_capacity(used.len() * m);
                used.iter().for_each(|&k| append(k, &mut q));
                // An observation that alone determines a direction has no residual left.
                let root = q.chunks_exact(m).map(|q| {
                    let left = 1.0 - dot(q, q);
                    if left > MIN_REMAINDER { 1.0 / left.sqrt() } else { 0.0 }
                });
                let root = root.collect();
                Meat::Observations { q, root, score: used.iter().map(|&k| score(k)).collect() }
            }
            Some(cluster) => {
                let mut by_cluster = used;
                by_cluster.sort_by_key(|&k| cluster[k]);
                let together = by_cluster.chunk_by(|&a, &b| cluster[a] == cluster[b]);
                let clusters: Option<Vec<Cluster>> = together
                    .map(|group| {
                        let row = |&k: &usize| {
                            let mut q = Vec::with_capacity(m);
                            append(k, &mut q);
                            (q, score(k))
                        };
                        Cluster::of(&group.iter().map(row).collect::<Vec<(Vec<f64>, f64)>>(), m)
                    })
                    .collect();
                let clusters = clusters.filter(|clusters| clusters.len() >= MIN_CLUSTERS)?;
                residual_degrees = residual_degrees.min((clusters.len() - 1) as f64);
                Meat::Clusters(clusters)
            }
        };
        Some(Sandwich {
            solution,
            inverse,
            scale,
            meat,
            mean_curvature: mean,
            is_nearly_absolute,
            residual_variance,
            residual_degrees,
        })
    }

    /// Returns the variance of a quantity whose derivatives with respect to the problem's coordinates are given.
    pub fn variance(&self, gradient: impl Fn(usize) -> f64) -> Option<VarianceEstimate> {
        let m = self.scale.len();
        let u = self.direction(gradient);
        let unadjusted: f64 = u.iter().map(|x| x * x).sum();
        let mut sums = SandwichSums {
            variance: 0.0,
            trace: 0.0,
            diagonal_excess: 0.0,
            cross_products: vec![0.0; m * m],
        };
        match &self.meat {
            Meat::Observations { q, root, score } => {
                let mut w = vec![0.0; m];
                for ((q, root), score) in q.chunks_exact(m).zip(root).zip(score) {
                    let v = dot(q, &u) * root;
                    w.iter_mut().zip(q).for_each(|(w, q)| *w = q * v);
                    sums.add(v * score, v * v, &w);
                }
            }
            Meat::Clusters(clusters) => {
                for Cluster { gram, adjusted, score } in clusters {
                    let z = multiply(adjusted, &u);
                    let w = multiply(gram, &z);
                    sums.add(dot(&z, score), dot(&z, &w), &w);
                }
            }
        }
        let variance = sums.variance;
        let rise = 0.5 * self.mean_curvature * variance / unadjusted;
        let estimate = VarianceEstimate { variance, degrees_of_freedom: sums.degrees_of_freedom(), rise };
        (variance > 0.0 && variance.is_finite() && unadjusted > 0.0).then_some(estimate)
    }
}

impl Sandwich<'_> {
    /// Returns the forms by which the variance and the degrees of freedom of any function of some quantities follow, given
    /// the derivatives of each quantity with respect to the problem's coordinates.
    pub fn forms(&self, gradients: &[Vec<f64>]) -> FormSums {
        let (k, m) = (gradients.len(), self.scale.len());
        let directions: Vec<Vec<f64>> =
            gradients.iter().map(|gradient| self.direction(|i| gradient[i])).collect();
        let mut sums = FormSums::new(k, m);
        let pairs = || (0..k).flat_map(|i| (0..=i).map(move |j| (i, j)));
        match &self.meat {
            Meat::Observations { q, root, score } => {
                for ((q, root), score) in q.chunks_exact(m).zip(root).zip(score) {
                    let v: Vec<f64> = directions.iter().map(|u| dot(q, u) * root).collect();
                    sums.add(&UnitForms {
                        score: v.iter().map(|v| v * score).collect(),
                        norm: pairs().map(|(i, j)| v[i] * v[j]).collect(),
                        w: v.iter().map(|v| q.iter().map(|q| q * v).collect()).collect(),
                    });
                }
            }
            Meat::Clusters(clusters) => {
                for Cluster { gram, adjusted, score } in clusters {
                    let z: Vec<Vec<f64>> = directions.iter().map(|u| multiply(adjusted, u)).collect();
                    let w: Vec<Vec<f64>> = z.iter().map(|z| multiply(gram, z)).collect();
                    sums.add(&UnitForms {
                        score: z.iter().map(|z| dot(z, score)).collect(),
                        norm: pairs().map(|(i, j)| dot(&z[i], &w[j])).collect(),
                        w,
                    });
                }
            }
        }
        sums.finish();
        sums
    }

    /// Returns `u = R⁻ᵀ·g` for the derivatives `g` of a quantity with respect to the problem's coordinates.
    fn direction(&self, gradient: impl Fn(usize) -> f64) -> Vec<f64> {
        let m = self.scale.len();
        let scaled: Vec<f64> =
            self.solution.free.iter().zip(&self.scale).map(|(&i, scale)| gradient(i) / scale).collect();
        (0..m).map(|b| (0..=b).map(|a| self.inverse[a * m + b] * scaled[a]).sum()).collect()
    }
}

/// Sums over clusters.
struct SandwichSums {
    variance: f64,
    /// `Σ b_cᵀb_c`.
    trace: f64,
    /// The products of clusters with themselves minus their part in `cross_products`.
    diagonal_excess: f64,
    /// `Σ w_c·w_cᵀ`, lower triangle of a square matrix by rows.
    cross_products: Vec<f64>,
}

impl SandwichSums {
    /// Adds a cluster: `product = v_cᵀ·A_c·e_c`, `norm_squared = |A_c·v_c|²`, `w = Q_cᵀ·A_c·v_c`.
    fn add(&mut self, product: f64, norm_squared: f64, w: &[f64]) {
        let m = w.len();
        let overlap = dot(w, w);
        self.variance += product * product;
        self.trace += norm_squared - overlap;
        self.diagonal_excess += norm_squared * (norm_squared - 2.0 * overlap);
        for (a, x) in w.iter().enumerate() {
            let row = &mut self.cross_products[a * m..=a * m + a];
            row.iter_mut().zip(w).for_each(|(sum, y)| *sum += x * y);
        }
    }

    /// Returns the degrees of freedom `ν`.
    fn degrees_of_freedom(&self) -> f64 {
        // b_cᵀb_d = −w_cᵀw_d, and |A_c·v_c|² − |w_c|² for the cluster with itself.
        let m = self.cross_products.len().isqrt();
        let diagonal: f64 = (0..m).map(|a| self.cross_products[a * m + a].powi(2)).sum();
        // Only the lower triangle is summed.
        let products =
            self.diagonal_excess + 2.0 * dot(&self.cross_products, &self.cross_products) - diagonal;
        if products > 0.0 && self.trace.is_finite() {
            (self.trace * self.trace / products).max(1.0)
        } else {
            1.0
        }
    }
}

impl Cluster {
    /// Returns the contribution of a cluster; none where the eigendecomposition fails.
    fn of(rows: &[(Vec<f64>, f64)], m: usize) -> Option<Cluster> {
        let gram = Mat::from_fn(m, m, |a, b| rows.iter().map(|(q, _)| q[a] * q[b]).sum::<f64>());
        let Eigen { values, vectors } = symmetric_eigen(gram.as_ref())?;
        // A·v_c = v_c + Q_c·U·κ·Uᵀ·Q_cᵀ·v_c with κ = ((1 − d)^(−1/2) − 1)/d, so that z = U·(1 − d)^(−1/2)·Uᵀ·u.
        let root = |d: f64| if 1.0 - d > MIN_REMAINDER { 1.0 / (1.0 - d).sqrt() } else { 0.0 };
        let adjusted = |a: usize, b: usize| -> f64 {
            (0..m).map(|k| vectors[(a, k)] * root(values[k].max(0.0)) * vectors[(b, k)]).sum()
        };
        Some(Cluster {
            gram: (0..m * m).map(|k| gram[(k / m, k % m)]).collect(),
            adjusted: (0..m * m).map(|k| adjusted(k / m, k % m)).collect(),
            score: (0..m).map(|a| rows.iter().map(|(q, score)| q[a] * score).sum()).collect(),
        })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Returns a square matrix (by rows) times a vector.
fn multiply(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(x.len()).map(|row| dot(row, x)).collect()
}

/// The mean of `ρ″` and Huber's correction.
struct Curvature {
    mean: f64,
    correction: f64,
    is_nearly_absolute: bool,
}

/// Returns them for the residuals of the observations in `used`; none where they cannot be computed or are not
/// positive.
fn curvature(fit: &Fit, solution: &Finished, used: &[usize], z: f64) -> Option<Curvature> {
    let observations = &fit.problem.observations;
    let rows = &solution.rows;
    let (n, p) = (used.len() as f64, (fit.problem.p() + fit.edges.len()) as f64);
    let threshold = match fit.problem.loss {
        Loss::L2 => return Some(Curvature { mean: 1.0, correction: 1.0, is_nearly_absolute: false }),
        Loss::Huber { delta } | Loss::SoftL1 { delta } => Some(delta),
        Loss::Cauchy { .. } => None,
    };
    let total: f64 = used.iter().map(|&k| observations.weight[k]).sum();
    let mean_of = |value: &dyn Fn(usize) -> f64| -> f64 {
        used.iter().map(|&k| observations.weight[k] * value(k)).sum::<f64>() / total
    };
    let size = |k: usize| (rows.residual[k] / observations.sigma_at(k)).abs();
    let kernel = bandwidth(used, size, z);
    let (mean, fraction_inside) = match threshold.filter(|delta| *delta < kernel) {
        Some(delta) => {
            let fraction_inside = mean_of(&|k| if size(k) <= kernel { 1.0 } else { 0.0 });
            (fraction_inside * delta / kernel, fraction_inside)
        }
        None => {
            let mean = mean_of(&|k| rows.curvature[k] / rows.weight[k]);
            (mean, mean)
        }
    };
    let correction = 1.0 + p / n * (1.0 - fraction_inside) / fraction_inside;
    let is_inside = |delta: f64| mean_of(&|k| if size(k) <= delta { 1.0 } else { 0.0 });
    let is_nearly_absolute = threshold.is_some_and(|delta| is_inside(delta) < 0.5);
    (mean > 0.0 && correction > 0.0).then_some(Curvature { mean, correction, is_nearly_absolute })
}

/// Returns half the width of Powell's kernel: the distance between two normal quantiles whose distance from the median
/// follows Hall & Sheather (1988), on the scale of the residuals.
fn bandwidth(used: &[usize], size: impl Fn(usize) -> f64, z: f64) -> f64 {
    let n = used.len() as f64;
    let mut sizes: Vec<f64> = used.iter().map(|&k| size(k)).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let deviation = (sizes.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
    // The law has its own location, so half the interquartile range is the median size.
    let robust = sizes[sizes.len() / 2] / normal_quantile(0.75);
    let scale = if robust > 0.0 { deviation.min(robust) } else { deviation };
    let density_squared = 0.5 / std::f64::consts::PI;
    let half_probability = (libm::cbrt(z * z / n * 1.5 * density_squared)).min(0.499);
    scale * normal_quantile(0.5 + half_probability)
}
