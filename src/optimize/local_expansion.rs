//! The objective near an estimate as a function of the observation weights, for the first steps of replicates.
//!
//! A replicate differs from the sweep in its weights only, so its objective, gradient and Hessian at the estimate are
//! weighted sums of per-observation terms that are computed once. The connection of normal coordinates (see
//! `normal_coordinates`) and the third derivatives are those of the sweep: with `n` observations they differ relatively
//! by the order of n^−½.

use fearless_simd::{Level, dispatch};

use crate::lanes::{LANES, Lanes, Pack};
use crate::linalg::triangle;
use crate::problem::{LaneData, Part, Problem, ProgramWorkspace, outputs};

use super::third_derivatives::{LaneDerivatives, Tensors, halve};
use super::tuning::Tuning;

/// The terms of the objective, gradient and Hessian of every observation at one point, in solver coordinates.
#[derive(Debug)]
pub struct Expansion {
    /// The point.
    pub theta: Vec<f64>,
    /// The number of packs per observation.
    width: usize,
    /// Per observation and unit of weight: objective, gradient, Hessian (lower triangle by rows), zeros up to a whole
    /// pack. The Hessian is that in normal coordinates where there is a connection, the Gauss–Newton matrix otherwise.
    table: Vec<Pack>,
    /// The connection `½ Γ` of [`normal_coordinates`](super::levenberg_marquardt::normal_coordinates): p lower
    /// triangles by rows, one per upper index, with entries off the diagonal doubled. Empty where searches do not use
    /// second derivatives.
    pub connection: Vec<f64>,
    /// The third derivatives `½ ∂³f` in the layout of `connection`, without `Σ w·r·∂³m`, which residuals of either sign
    /// make small.
    pub third: Vec<f64>,
}

impl Expansion {
    /// Returns the expansion at `theta`, with a fraction of the IRLS curvature mixed into that of the loss. Observations
    /// of weight zero contribute nothing, whatever the law gives there.
    #[must_use]
    pub fn at(
        level: Level,
        problem: &Problem,
        theta: &[f64],
        irls_fraction: f64,
        tuning: &Tuning,
    ) -> Expansion {
        let model = &problem.model;
        let p = problem.p();
        let width = (1 + p + triangle(p)).div_ceil(LANES);
        let mut expansion = Expansion {
            theta: theta.to_vec(),
            width,
            table: vec![Pack::ZERO; problem.n() * width],
            connection: Vec::new(),
            third: Vec::new(),
        };
        let data = LaneData::spread(problem, &problem.observations.weight);
        let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
        // Under a nearly linear loss minima lie where residuals change sign, which smooth derivatives do not predict.
        let exact = tuning.devices.normal_coordinates
            && problem.loss.is_quadratic()
            && !model.second_derivatives.is_empty()
            && p <= tuning.normal_coordinates.max_parameters;
        let program = if exact { &model.hessian } else { &model.search };
        let mut workspace = ProgramWorkspace::default();
        let values = outputs(program, &data, &coordinates, &mut workspace);
        dispatch!(level, simd =>
            expansion.fill::<fearless_simd::f64x8<_>>(simd, problem, irls_fraction, exact, (&data, values)));
        expansion
    }

    /// Computes the table and the tensors from the outputs of the law.
    #[inline(always)]
    fn fill<L: Lanes>(
        &mut self,
        token: L::Token,
        problem: &Problem,
        irls_fraction: f64,
        exact: bool,
        (data, outputs): (&LaneData, &[Pack]),
    ) {
        let p = problem.p();
        let n_packs = data.n_packs;
        let zero = L::splat(token, 0.0);
        // Of each observation the loss, its derivative and its curvature, and the curvature times the weight.
        let mut terms_of = std::array::from_fn(|_| vec![Pack::ZERO; n_packs]);
        let [value, slope, curvature, weighted_curvature] = &mut terms_of;
        let (predicted, derivatives) = outputs.split_at(n_packs);
        for k in 0..n_packs {
            let weight = L::load(token, &data.weight[k].0);
            let s = match data.inverse_sigma.get(k) {
                Some(pack) => L::load(token, &pack.0),
                None => zero.fill(1.0),
            };
            let residual = L::load(token, &predicted[k].0) - L::load(token, &data.target[k].0);
            let terms = problem.loss.terms(residual * s);
            let mixed =
                s * s * (terms.weight - terms.curvature).mul_add(zero.fill(irls_fraction), terms.curvature);
            terms.value.store(&mut value[k].0);
            (s * terms.slope).store(&mut slope[k].0);
            mixed.store(&mut curvature[k].0);
            L::select(weight.eq(zero), zero, weight * mixed).store(&mut weighted_curvature[k].0);
        }
        let pairs = if exact { &problem.model.second_pairs[..] } else { &[] };
        let (first, second) = derivatives.split_at(p * n_packs);
        let mut tensors = Tensors::default();
        let has_tensors = exact
            && tensors.set::<L>(
                token,
                LaneDerivatives { first, second, pairs, weight: weighted_curvature },
                p,
            );
        let output = |outputs: &[Pack], i: usize, k: usize| L::load(token, &outputs[i * n_packs + k].0);
        // One row of the table for each lane.
        let mut row = vec![Pack::ZERO; 1 + p + triangle(p)];
        for k in 0..n_packs {
            let slope = L::load(token, &slope[k].0);
            let curvature = L::load(token, &curvature[k].0);
            row[0] = value[k];
            let (gradient, hessian) = row[1..].split_at_mut(p);
            for a in 0..p {
                let by_a = output(first, a, k);
                (slope * by_a).store(&mut gradient[a].0);
                for b in 0..=a {
                    let product = curvature * by_a * output(first, b, k);
                    product.store(&mut hessian[triangle(a) + b].0);
                }
            }
            if has_tensors {
                for (i, &(a, b)) in pairs.iter().enumerate() {
                    let entry = &mut hessian[triangle(a.max(b)) + a.min(b)].0;
                    (L::load(token, entry) + slope * output(second, i, k)).store(entry);
                }
                for (c, connection) in tensors.connection.chunks_exact(triangle(p)).enumerate() {
                    let gradient_c = L::load(token, &gradient[c].0);
                    for (entry, &connection) in hessian.iter_mut().zip(connection) {
                        (L::load(token, &entry.0) - gradient_c * zero.fill(connection)).store(&mut entry.0);
                    }
                }
            }
            for lane in (0..LANES).filter(|&lane| data.weight[k].0[lane] != 0.0) {
                let place = (k * LANES + lane) * self.width;
                for (values, row) in self.table[place..].iter_mut().zip(row.chunks(LANES)) {
                    for (value, pack) in values.0.iter_mut().zip(row) {
                        *value = pack.0[lane];
                    }
                }
            }
        }
        if has_tensors {
            (self.connection, self.third) = (tensors.connection, tensors.third);
            halve(&mut self.connection, p);
        }
    }

    /// Returns the number of packs in a sum.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Sums the terms of some observations under given weights into `sums`, [`Expansion::width`] packs.
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
        // Two sets of sums halve the chain of dependent additions.
        let mut even = [L::splat(token, 0.0); N];
        let mut odd = even;
        let (rows, last_row) = part.rows.as_chunks::<2>();
        let (weights, last_weight) = part.weight.as_chunks::<2>();
        for (rows, weights) in rows.iter().zip(weights) {
            self.add::<L, N>(token, from, rows[0], weights[0], &mut even);
            self.add::<L, N>(token, from, rows[1], weights[1], &mut odd);
        }
        for (&i, &w) in last_row.iter().zip(last_weight) {
            self.add::<L, N>(token, from, i, w, &mut even);
        }
        for (sum, (even, odd)) in sums.iter_mut().zip(even.into_iter().zip(odd)) {
            (even + odd).store(&mut sum.0);
        }
    }

    #[inline(always)]
    fn add<L: Lanes, const N: usize>(
        &self,
        token: L::Token,
        from: usize,
        i: u32,
        w: f64,
        totals: &mut [L; N],
    ) {
        let w = L::splat(token, w);
        let place = i as usize * self.width + from;
        for (total, pack) in totals.iter_mut().zip(&self.table[place..place + N]) {
            *total = w.mul_add(L::load(token, &pack.0), *total);
        }
    }
}

/// The number of packs that are summed at once.
const GROUP: usize = 4;

#[cfg(test)]
mod tests {
    use crate::lanes::{LANES, Pack};
    use crate::law::Residual;
    use crate::linalg::triangle;
    use crate::optimize::Tuning;
    use crate::optimize::{Linearization, Workspace};
    use crate::problem::{LaneData, Loss, Part, Problem};
    use crate::testing::{Uniform, catalogue_law, problem};

    use fearless_simd::Level;

    use super::Expansion;

    /// Returns twenty runs that follow Chinchilla's law exactly, and the true parameters in solver coordinates.
    fn exact(loss: Loss) -> (Problem, Vec<f64>) {
        let runs: Vec<(f64, f64)> =
            (0..20).map(|i| (1e8 * 1.9_f64.powi(i % 5), 2e9 * 2.7_f64.powi(i / 5))).collect();
        let loss_of = |(n, d): &(f64, f64)| 1.69 + 406.4 / n.powf(0.34) + 410.7 / d.powf(0.28);
        let columns = [
            ("loss", runs.iter().map(loss_of).collect()),
            ("N", runs.iter().map(|run| run.0).collect()),
            ("D", runs.iter().map(|run| run.1).collect()),
        ];
        let law = catalogue_law("chinchilla");
        let (_, problem) = problem(&law, Residual::Log, loss, &columns);
        let value = |name: &str| match name {
            "E" => 1.69,
            "A" => 406.4,
            "B" => 410.7,
            "alpha" => 0.34,
            _ => 0.28,
        };
        let natural: Vec<f64> =
            problem.model.coordinates.iter().map(|c| value(&law.parameters[c.parameter].name)).collect();
        let theta = problem.coordinates(&natural);
        (problem, theta)
    }

    /// Where all residuals are zero, the third derivatives are differences of the exact Hessian.
    #[test]
    fn third_derivatives_are_differences_of_the_hessian() {
        let (problem, theta) = exact(Loss::L2);
        let p = problem.p();
        let expansion = Expansion::at(Level::new(), &problem, &theta, 0.0, &Tuning::default());
        let data = LaneData::spread(&problem, &problem.observations.weight);
        let mut checked = 0;
        for i in 0..p {
            let step = 1e-4;
            let beside = |by: f64| {
                let mut point = theta.clone();
                point[i] += by;
                Linearization::at(&problem, &data, &point)
            };
            let (above, below) = (beside(step), beside(-step));
            for j in 0..p {
                for k in 0..=j {
                    let slope = (above.hessian(j, k) - below.hessian(j, k)) / (2.0 * step);
                    let expected = if j == k { 0.5 * slope } else { slope };
                    let found = expansion.third[i * triangle(p) + triangle(j) + k];
                    let size = above.norms[i] * above.norms[j] * above.norms[k];
                    assert!(
                        (found - expected).abs() < 1e-5 * size.max(1.0),
                        "{i} {j} {k}: {found} {expected}"
                    );
                    checked += usize::from(found.abs() > 1e-3);
                }
            }
        }
        assert!(checked > 20, "only {checked} are not next to zero");
    }

    /// Returns half the quadratic form of the connection, by its upper index.
    fn half_form(expansion: &Expansion, step: &[f64]) -> Vec<f64> {
        let p = step.len();
        let forms = expansion.connection.chunks_exact(triangle(p));
        let form = |lower: &[f64]| {
            (0..p)
                .flat_map(|j| (0..=j).map(move |k| (j, k)))
                .map(|(j, k)| lower[triangle(j) + k] * step[j] * step[k])
                .sum()
        };
        forms.map(form).collect()
    }

    /// Along a step in normal coordinates the residuals leave the tangent plane at right angles: their nonlinear part
    /// within the plane is of third order in the step, where along a straight step it is of second.
    #[test]
    fn steps_in_normal_coordinates_are_orthogonal_to_second_order() {
        let (problem, theta) = exact(Loss::L2);
        let p = problem.p();
        let expansion = Expansion::at(Level::new(), &problem, &theta, 0.0, &Tuning::default());
        let data = LaneData::spread(&problem, &problem.observations.weight);
        let at = Linearization::at(&problem, &data, &theta);
        let within = |step: &[f64], corrected: f64| {
            let half_form = half_form(&expansion, step);
            let point: Vec<f64> = (0..p).map(|i| theta[i] + step[i] - corrected * half_form[i]).collect();
            let there = Linearization::at(&problem, &data, &point);
            let beyond = |i: usize| {
                let straight: f64 = (0..p).map(|a| at.jacobian[i * p + a] * step[a]).sum();
                there.residual[i] - at.residual[i] - straight
            };
            let projection =
                |a: usize| (0..problem.n()).map(|i| beyond(i) * at.jacobian[i * p + a]).sum::<f64>();
            (0..p).map(|a| projection(a).powi(2)).sum::<f64>().sqrt()
        };
        let mut uniform = Uniform(11);
        for _ in 0..20 {
            let long: Vec<f64> = (0..p).map(|_| uniform.between(-0.01, 0.01)).collect();
            let short: Vec<f64> = long.iter().map(|x| 0.5 * x).collect();
            let order = |corrected: f64| (within(&long, corrected) / within(&short, corrected)).log2();
            assert!((order(1.0) - 3.0).abs() < 0.2, "{long:?}: {}", order(1.0));
            assert!((order(0.0) - 2.0).abs() < 0.2, "{long:?}: {}", order(0.0));
        }
    }

    /// Under the weights of the sweep, the sums are the objective, gradient and Gauss–Newton matrix of the sweep, or
    /// its Hessian in normal coordinates.
    #[test]
    fn sums_are_those_of_the_rows() {
        for loss in [Loss::L2, Loss::Huber { delta: 1e-3 }] {
            let (problem, mut theta) = exact(loss);
            theta[0] += 0.01;
            let p = problem.p();
            let expansion = Expansion::at(Level::new(), &problem, &theta, 0.0, &Tuning::default());
            let (rows, weight) = problem.taking_part();
            let mut sums = vec![Pack::ZERO; expansion.width()];
            let part = Part::new(&rows, &weight);
            expansion.sum(Workspace::default().lanes().level(), part, &mut sums);
            let sum = |k: usize| sums[k / LANES].0[k % LANES];
            let at = Linearization::at(&problem, &LaneData::spread(&problem, &weight), &theta);
            let hessian = (0..p).flat_map(|j| (0..=j).map(move |k| (j, k))).map(|(j, k)| {
                let twice = if j == k { 2.0 } else { 1.0 };
                let forms = expansion.connection.chunks_exact(triangle(p));
                let correction: f64 =
                    forms.zip(&at.gradient).map(|(lower, g)| twice * lower[triangle(j) + k] * g).sum();
                if loss.is_quadratic() {
                    at.hessian(j, k) - correction
                } else {
                    at.gauss_newton[triangle(j) + k]
                }
            });
            let expected: Vec<f64> =
                [at.objective].into_iter().chain(at.gradient.iter().copied()).chain(hessian).collect();
            assert_eq!(expected.len(), 21);
            for (k, expected) in expected.into_iter().enumerate() {
                assert!((sum(k) - expected).abs() < 1e-12 * expected.abs().max(1e-6), "{loss} {k}");
            }
        }
    }
}
