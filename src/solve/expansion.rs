//! The objective near an estimate, under any weights: where searches of replicates should look first.
//!
//! A replicate differs from the sweep only in its weights, so what its objective is at the estimate, with its first and
//! second derivatives, is a weighted sum of terms that are there already. Its third derivatives are taken to be the
//! sweep's own: under `n` observations they differ relatively by the order of n^−½.

use fearless_simd::{Level, dispatch};

use crate::lanes::Lanes;
use crate::law::{LANES, Pack};
use crate::problem::{LaneData, Part, Problem, Workspace, outputs_lanes, triangle};

/// What a replicate's objective is made from at one point.
#[derive(Debug)]
pub struct Expansion {
    pub theta: Vec<f64>,
    /// Packs per observation.
    width: usize,
    /// Per observation and unit of weight: objective, gradient, Hessian (lower triangle by rows); zeros up to a whole
    /// pack.
    table: Vec<Pack>,
    /// `½ V` of [`ahead`](super::ahead) by its first index, then lower triangles of the others, whose entries off the
    /// diagonal count twice. Empty where the law's second derivatives are not used in searches.
    pub turn: Vec<f64>,
    /// `½ ∂³f` in the same order, but for `Σ w·r·∂³m`, which residuals of either sign make small.
    pub third: Vec<f64>,
}

/// Laws of more parameters go without third derivatives.
const MOST_PARAMETERS: usize = 8;

impl Expansion {
    /// At `theta`, a `share` of the reweighting's curvature mixed into the loss's own. Observations of weight zero
    /// add nothing, whatever the law gives there.
    pub fn at(problem: &Problem, theta: &[f64], share: f64) -> Expansion {
        let (n, p) = (problem.n(), problem.p());
        let model = &problem.model;
        let weight = &problem.observations.weight;
        let data = LaneData::spread(problem, weight);
        let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
        // A loss that is nearly linear has its minima where residuals change sign: not where smooth derivatives say.
        let exact = problem.loss.is_quadratic() && !model.bends.is_empty() && p <= MOST_PARAMETERS;
        let (program, curved) =
            if exact { (&model.hessian, &model.curved[..]) } else { (&model.search, &[][..]) };
        let outputs = outputs_lanes(program, &data, &coordinates, &mut Workspace::default());
        let at = |output: usize, i: usize| outputs[output][i / LANES].0[i % LANES];
        let values = 1 + p + triangle(p);
        let width = values.div_ceil(LANES);
        let mut table = vec![Pack::ZERO; n * width];
        let mut row = vec![0.0; values];
        let mut v = vec![0.0; if exact { p * p * p } else { 0 }];
        for (i, packs) in table.chunks_mut(width).enumerate().filter(|(i, _)| weight[*i] != 0.0) {
            let s = 1.0 / problem.observations.sigma_at(i);
            let terms = problem.loss.terms::<f64>((at(0, i) - problem.target[i]) * s);
            let slope = s * terms.slope;
            let curvature = s * s * (terms.weight - terms.curvature).mul_add(share, terms.curvature);
            row[0] = terms.value;
            let (gradient, hessian) = row[1..].split_at_mut(p);
            for a in 0..p {
                gradient[a] = slope * at(1 + a, i);
                for b in 0..=a {
                    hessian[triangle(a) + b] = curvature * at(1 + a, i) * at(1 + b, i);
                }
            }
            for (k, &(a, b)) in curved.iter().enumerate() {
                let bend = weight[i] * curvature * at(1 + p + k, i);
                for c in 0..p {
                    let product = bend * at(1 + c, i);
                    v[(c * p + a) * p + b] += product;
                    if a != b {
                        v[(c * p + b) * p + a] += product;
                    }
                }
            }
            for (pack, values) in packs.iter_mut().zip(row.chunks(LANES)) {
                pack.0[..values.len()].copy_from_slice(values);
            }
        }
        let v = |i: usize, j: usize, k: usize| v[(i * p + j) * p + k];
        let halves = |of: &dyn Fn(usize, usize, usize) -> f64| {
            let halves = |i, j, k| if j == k { 0.5 * of(i, j, k) } else { of(i, j, k) };
            let rows = (0..p).flat_map(|i| (0..p).flat_map(move |j| (0..=j).map(move |k| (i, j, k))));
            rows.map(|(i, j, k)| halves(i, j, k)).collect::<Vec<f64>>()
        };
        let (turn, third) = if exact {
            (halves(&v), halves(&|i, j, k| v(i, j, k) + v(j, i, k) + v(k, i, j)))
        } else {
            (Vec::new(), Vec::new())
        };
        Expansion { theta: theta.to_vec(), width, table, turn, third }
    }

    /// Packs in a sum.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The sums over some observations under other weights, [`Expansion::width`] packs.
    pub fn sum(&self, level: Level, part: Part, sums: &mut [Pack]) {
        dispatch!(level, simd => self.sum_lanes::<fearless_simd::f64x8<_>>(simd, part, sums));
    }

    #[inline(always)]
    fn sum_lanes<L: Lanes>(&self, token: L::Token, part: Part, sums: &mut [Pack]) {
        // A few packs at a time, so that their sums stay in registers.
        for (group, sums) in sums.chunks_mut(GROUP).enumerate() {
            let from = group * GROUP;
            match sums.len() {
                1 => self.sum_packs::<L, 1>(token, part, from, sums),
                2 => self.sum_packs::<L, 2>(token, part, from, sums),
                3 => self.sum_packs::<L, 3>(token, part, from, sums),
                _ => self.sum_packs::<L, GROUP>(token, part, from, sums),
            }
        }
    }

    #[inline(always)]
    fn sum_packs<L: Lanes, const N: usize>(
        &self,
        token: L::Token,
        part: Part,
        from: usize,
        sums: &mut [Pack],
    ) {
        let mut totals = [L::splat(token, 0.0); N];
        for (&i, &w) in part.rows.iter().zip(part.weight) {
            let w = L::splat(token, w);
            let place = i as usize * self.width + from;
            let packs = &self.table[place..place + N];
            for (total, pack) in totals.iter_mut().zip(packs) {
                *total = w.mul_add(L::load(token, &pack.0), *total);
            }
        }
        for (sum, total) in sums.iter_mut().zip(totals) {
            total.store(&mut sum.0);
        }
    }
}

/// Packs that are summed at once.
const GROUP: usize = 4;
