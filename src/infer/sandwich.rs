//! Standard errors that hold for small sweeps, for residuals whose spread is not constant, and for clusters.
//!
//! `X` is the Jacobian of the residuals over the coordinates that are not on a bound, its rows weighted by `√w/σ`;
//! `M = (XᵀX)⁻¹`, `H = X·M·Xᵀ` has the leverages on its diagonal, and `e` are the weighted residuals. For a quantity with
//! the gradient `g` let `v = X·M·g`. Then (MacKinnon & White 1985; Bell & McCaffrey 2002; Pustejovsky & Tipton 2018)
//!
//! * HC2, by observation: `V = Σ vᵢ²·eᵢ²/(1 − hᵢ)`;
//! * CR2, by cluster `c`: `V = Σ (v_cᵀ·A_c·e_c)²` with `A_c = (1 − H_cc)^(−1/2)`, a pseudo-inverse where a cluster alone
//!   determines a direction; HC2 is that of clusters of one;
//! * degrees of freedom: with `b_c = (1 − H)_{·c}·A_c·v_c`, `ν = (Σ b_cᵀb_c)²/Σ (b_cᵀb_d)²`, at least 1.
//!
//! A robust loss has `ρ′(e)/m` in the place of `e`, `m` being the mean of `ρ″`, times Huber's correction
//! `K = 1 + (p/n)·(1 − m)/m` (Huber & Ronchetti 2009, 7.6). Where the loss is nearly absolute, so that few residuals lie
//! within its threshold `δ`, `m` is `2δ` times the density of the residuals at zero, by Powell's kernel with the bandwidth of
//! Hall & Sheather (Koenker 2005, 3.4).
//!
//! With `Q = X·R⁻¹`, `R` being `X`'s triangular factor, `v = Q·u` for `u = R⁻ᵀ·g`; per cluster with `G = Q_cᵀ·Q_c`,
//! `A_c·v_c = Q_c·z` for a vector `z` as long as `u`, so that all is done in as many dimensions as there are coordinates.

use faer::Mat;

use crate::linalg::{Eigen, symmetric_eigen};
use crate::optimize::{Finished, Fit, weighted_entry};
use crate::problem::Loss;

use super::interval::normal_quantile;

/// A direction that a cluster leaves less than this share of to the others is its own.
const OWN: f64 = 1e-8;

/// Fewer clusters than this give no standard error.
const FEWEST_CLUSTERS: usize = 4;

/// All that standard errors of a fit are made from.
#[derive(Debug)]
pub struct Sandwich<'a> {
    solution: &'a Finished,
    /// `R⁻¹` by rows, and the norms of the columns that `R` is scaled by.
    inverse: &'a [f64],
    scale: Vec<f64>,
    meat: Meat,
    /// The mean of `ρ″`.
    mean_curvature: f64,
}

/// What observations or clusters contribute.
#[derive(Debug)]
enum Meat {
    /// `Q` by rows, and for each `(1 − h)^(−1/2)` and a corrected residual.
    Observations {
        q: Vec<f64>,
        root: Vec<f64>,
        score: Vec<f64>,
    },
    Clusters(Vec<Cluster>),
}

/// What one cluster contributes.
#[derive(Debug)]
struct Cluster {
    /// `G`, square by rows, and `A` in the same dimensions: `z = A·u`.
    gram: Vec<f64>,
    adjusted: Vec<f64>,
    /// `Q_cᵀ·e_c`, corrected for the loss.
    score: Vec<f64>,
}

/// How far a quantity is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub variance: f64,
    pub degrees_of_freedom: f64,
    /// What the objective rises by where the quantity, the coordinates taking their best values, is one standard error
    /// away, if the objective is a parabola.
    pub rise: f64,
}

impl<'a> Sandwich<'a> {
    /// Of a fit that the data determines, for intervals with the normal quantile `z`; none where no residual is left over, or clusters are too few.
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
        let Curvature { mean, correction } = curvature(fit, solution, &used, z)?;
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
        let meat = match &observations.cluster {
            None => {
                let mut q = Vec::with_capacity(used.len() * m);
                used.iter().for_each(|&k| append(k, &mut q));
                // Of a row that determines a direction alone nothing is left.
                let root = q.chunks_exact(m).map(|q| {
                    let left = 1.0 - dot(q, q);
                    if left > OWN { 1.0 / left.sqrt() } else { 0.0 }
                });
                let root = root.collect();
                Meat::Observations { q, root, score: used.iter().map(|&k| score(k)).collect() }
            }
            Some(cluster) => {
                let mut by_cluster = used;
                by_cluster.sort_by_key(|&k| cluster[k]);
                let together = by_cluster.chunk_by(|&a, &b| cluster[a] == cluster[b]);
                let clusters: Option<Vec<Cluster>> = together
                    .map(|members| {
                        let row = |&k: &usize| {
                            let mut q = Vec::with_capacity(m);
                            append(k, &mut q);
                            (q, score(k))
                        };
                        Cluster::of(&members.iter().map(row).collect::<Vec<(Vec<f64>, f64)>>(), m)
                    })
                    .collect();
                Meat::Clusters(clusters.filter(|clusters| clusters.len() >= FEWEST_CLUSTERS)?)
            }
        };
        Some(Sandwich { solution, inverse, scale, meat, mean_curvature: mean })
    }

    /// Of a quantity whose derivatives with respect to the problem's coordinates are given.
    pub fn spread(&self, gradient: impl Fn(usize) -> f64) -> Option<Spread> {
        let m = self.scale.len();
        let scaled: Vec<f64> =
            self.solution.free.iter().zip(&self.scale).map(|(&i, scale)| gradient(i) / scale).collect();
        let u: Vec<f64> =
            (0..m).map(|b| (0..=b).map(|a| self.inverse[a * m + b] * scaled[a]).sum()).collect();
        let plain: f64 = u.iter().map(|x| x * x).sum();
        let mut sums = Sums { variance: 0.0, trace: 0.0, own: 0.0, crossed: vec![0.0; m * m] };
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
                    let z = times(adjusted, &u);
                    let w = times(gram, &z);
                    sums.add(dot(&z, score), dot(&z, &w), &w);
                }
            }
        }
        let variance = sums.variance;
        let rise = 0.5 * self.mean_curvature * variance / plain;
        let spread = Spread { variance, degrees_of_freedom: sums.degrees_of_freedom(), rise };
        (variance > 0.0 && variance.is_finite() && plain > 0.0).then_some(spread)
    }
}

/// Sums over clusters.
struct Sums {
    variance: f64,
    /// `Σ b_cᵀb_c`.
    trace: f64,
    /// What the products of clusters with themselves have more than those with others.
    own: f64,
    crossed: Vec<f64>,
}

impl Sums {
    /// `pull = v_cᵀ·A_c·e_c`, `squares = |A_c·v_c|²`, `w = Q_cᵀ·A_c·v_c`.
    fn add(&mut self, pull: f64, squares: f64, w: &[f64]) {
        let m = w.len();
        let taken = dot(w, w);
        self.variance += pull * pull;
        self.trace += squares - taken;
        self.own += squares * (squares - 2.0 * taken);
        for (a, x) in w.iter().enumerate() {
            let row = &mut self.crossed[a * m..=a * m + a];
            row.iter_mut().zip(w).for_each(|(sum, y)| *sum += x * y);
        }
    }

    fn degrees_of_freedom(&self) -> f64 {
        // b_cᵀb_d = −w_cᵀw_d, and |A_c·v_c|² − |w_c|² for the cluster with itself.
        let m = self.crossed.len().isqrt();
        let diagonal: f64 = (0..m).map(|a| self.crossed[a * m + a].powi(2)).sum();
        // The lower triangle alone is summed.
        let products = self.own + 2.0 * dot(&self.crossed, &self.crossed) - diagonal;
        if products > 0.0 && self.trace.is_finite() {
            (self.trace * self.trace / products).max(1.0)
        } else {
            1.0
        }
    }
}

impl Cluster {
    /// None where eigenvalues cannot be found.
    fn of(rows: &[(Vec<f64>, f64)], m: usize) -> Option<Cluster> {
        let gram = Mat::from_fn(m, m, |a, b| rows.iter().map(|(q, _)| q[a] * q[b]).sum::<f64>());
        let Eigen { values, vectors } = symmetric_eigen(gram.as_ref())?;
        // A·v_c = v_c + Q_c·U·κ·Uᵀ·Q_cᵀ·v_c with κ = ((1 − d)^(−1/2) − 1)/d, so that z = U·(1 − d)^(−1/2)·Uᵀ·u.
        let root = |d: f64| if 1.0 - d > OWN { 1.0 / (1.0 - d).sqrt() } else { 0.0 };
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

fn times(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(x.len()).map(|row| dot(row, x)).collect()
}

/// The mean of `ρ″` and Huber's correction.
struct Curvature {
    mean: f64,
    correction: f64,
}

/// Of the residuals of the observations that are used; none where it cannot be told, or is not positive.
fn curvature(fit: &Fit, solution: &Finished, used: &[usize], z: f64) -> Option<Curvature> {
    let observations = &fit.problem.observations;
    let rows = &solution.rows;
    let (n, p) = (used.len() as f64, (fit.problem.p() + fit.edges.len()) as f64);
    let threshold = match fit.problem.loss {
        Loss::L2 => return Some(Curvature { mean: 1.0, correction: 1.0 }),
        Loss::Huber { delta } | Loss::SoftL1 { delta } => Some(delta),
        Loss::Cauchy { .. } => None,
    };
    let total: f64 = used.iter().map(|&k| observations.weight[k]).sum();
    let mean_of = |value: &dyn Fn(usize) -> f64| -> f64 {
        used.iter().map(|&k| observations.weight[k] * value(k)).sum::<f64>() / total
    };
    let size = |k: usize| (rows.residual[k] / observations.sigma_at(k)).abs();
    let kernel = bandwidth(used, size, z);
    let (mean, share) = match threshold.filter(|delta| *delta < kernel) {
        Some(delta) => {
            let share = mean_of(&|k| if size(k) <= kernel { 1.0 } else { 0.0 });
            (share * delta / kernel, share)
        }
        None => {
            let mean = mean_of(&|k| rows.curvature[k] / rows.weight[k]);
            (mean, mean)
        }
    };
    let correction = 1.0 + p / n * (1.0 - share) / share;
    (mean > 0.0 && correction > 0.0).then_some(Curvature { mean, correction })
}

/// Half the width of Powell's kernel: the distance between two quantiles of the normal distribution that are as far from
/// the median as Hall & Sheather (1988) say, at the residuals' own scale.
fn bandwidth(used: &[usize], size: impl Fn(usize) -> f64, z: f64) -> f64 {
    let n = used.len() as f64;
    let mut sizes: Vec<f64> = used.iter().map(|&k| size(k)).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let deviation = (sizes.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
    // The law has its own location, so that half the range between the quartiles is the median size.
    let robust = sizes[sizes.len() / 2] / normal_quantile(0.75);
    let scale = if robust > 0.0 { deviation.min(robust) } else { deviation };
    let density_squared = 0.5 / std::f64::consts::PI;
    let away = (n.powf(-1.0 / 3.0) * z.powf(2.0 / 3.0) * (1.5 * density_squared).cbrt()).min(0.499);
    scale * normal_quantile(0.5 + away)
}
