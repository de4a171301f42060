//! Bootstrap replicates: refits under resampled weights, starting from the estimate.
//!
//! A replicate fails as a fit does, when it has no finite minimum or ends at an uncertified point. It also fails when
//! it equals the sample itself, which carries no information about other samples, and when it has fewer distinct points
//! than parameters.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fearless_simd::Level;
use rayon::prelude::*;

use crate::compile::Scale;
use crate::lanes::{LANES, scalar};
use crate::law::Residual;
use crate::optimize::tuning::{ReplicateTuning, Tuning};
use crate::optimize::{
    Choice, Ending, Expansion, FirstStep, Fit, Linearization, Models, RefitBuffers, SearchSettings, Task,
    TaskKind, Workspace, Workspaces, agreement_limit, at_edges, minimise, settings,
};
use crate::problem::{LaneData, Part, Problem};

use super::options::InferenceOptions;
use super::resample::{Sample, Scheme};

/// The refits of a sweep under one law, by the number of the replicate.
#[derive(Clone, Debug, Default)]
pub struct Replicates {
    /// Parameters of the law.
    pub n_parameters: usize,
    /// Each replicate's objective, under its own weights.
    pub objective: Vec<f64>,
    /// The parameters in natural units, row-major: one row per replicate.
    pub estimates: Vec<f64>,
    /// Whether the replicate is good.
    pub converged: Vec<bool>,
    /// The number of different samples that can be drawn, up to a limit.
    pub n_samples: usize,
}

impl Replicates {
    /// Returns the number of replicates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.converged.len()
    }

    /// Returns whether there are no replicates.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.converged.is_empty()
    }

    /// Returns the number of failed replicates.
    #[must_use]
    pub fn n_failed(&self) -> usize {
        self.converged.iter().filter(|c| !**c).count()
    }

    /// Returns the values of a parameter over the good replicates, in natural units.
    pub fn values(&self, parameter: usize) -> impl Iterator<Item = f64> {
        let converged = (0..self.len()).filter(|&r| self.converged[r]);
        converged.map(move |r| self.estimates[r * self.n_parameters + parameter])
    }

    /// Returns places for the results of `count` replicates of a law with `n_parameters` parameters.
    fn of(count: usize, n_parameters: usize) -> Replicates {
        Replicates {
            n_parameters,
            objective: vec![f64::NAN; count],
            estimates: vec![f64::NAN; count * n_parameters],
            converged: vec![false; count],
            n_samples: 0,
        }
    }

    /// Returns the parameters of one replicate, in natural units.
    ///
    /// # Panics
    ///
    /// If there is no such replicate.
    #[must_use]
    pub fn row(&self, replicate: usize) -> &[f64] {
        &self.estimates[replicate * self.n_parameters..(replicate + 1) * self.n_parameters]
    }
}

/// The number up to which different samples are counted.
const MAX_SAMPLES: usize = 1000;

/// The number of weights that are held at once: replicates are refitted in chunks of about this many.
const CHUNK_VALUES: usize = 1 << 16;

/// How a caller follows replicates and ends them early.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The flag that ends the work soon after it becomes true.
    pub interrupted: &'a AtomicBool,
    /// Called when more replicates are refitted, with their number, from any thread.
    pub refitted: &'a (dyn Fn(usize) + Sync),
}

impl<'a> Watch<'a> {
    /// Returns a watch that looks at a flag alone.
    #[must_use]
    pub fn silent(interrupted: &'a AtomicBool) -> Watch<'a> {
        Watch { interrupted, refitted: &|_| {} }
    }
}

/// Refits `options.bootstrap` replicates of a trustworthy fit. Returns none where there is only one unit to draw.
pub fn replicate(
    models: &Models,
    fit: &Fit,
    options: &InferenceOptions,
    key_digest: &[u8; 32],
    watch: Watch,
    workspaces: &Workspaces,
) -> Option<Replicates> {
    let scheme = || options.resample.scheme(&fit.problem, options.seed, key_digest);
    replicate_by(&scheme, models, fit, (options.bootstrap, &options.tuning), (watch, workspaces))
}

/// Refits replicates like [`replicate`], of any scheme; each thread makes its own.
fn replicate_by(
    scheme: &(dyn Fn() -> Box<dyn Scheme> + Sync),
    models: &Models,
    fit: &Fit,
    (count, tuning): (usize, &Tuning),
    (watch, workspaces): (Watch, &Workspaces),
) -> Option<Replicates> {
    let sampling = scheme();
    // A single unit drawn with replacement gives the same sample every time, and an interval of length zero.
    if sampling.n_units() < 2 {
        return None;
    }
    let level = Level::new();
    let (problem, start) = replicate_problem(models, fit, &tuning.replicates);
    let mut settings = settings(&problem, tuning);
    let ReplicateTuning { damping, damping_robust, irls_fraction, .. } = tuning.replicates;
    settings.damping = if problem.loss.is_quadratic() { damping } else { damping_robust };
    settings.irls_fraction = irls_fraction;
    let is_long = problem.is_long();
    // The objective near the estimate is known beforehand under other weights, not under other responses.
    let is_expanded = tuning.devices.first_step && !is_long && !sampling.makes_responses();
    let expansion = is_expanded.then(|| Expansion::at(level, &problem, &start, irls_fraction, tuning));
    settings.second_derivatives = expansion.as_ref().is_some_and(|e| !e.third.is_empty());
    let points = problem.observations.repeated_points();
    // Replicates choose among equivalent vectors by the rule that chose the estimate.
    let symmetries = models.symmetries();
    let natural = fit.natural.iter().filter(|_| !symmetries.is_empty());
    let estimate: Vec<Option<f64>> = natural.map(|x| Some(*x)).collect();
    let choice = (!symmetries.is_empty()).then(|| {
        let by_rule = symmetries.canonical(&fit.natural) == fit.natural;
        if by_rule { Choice::Canonical } else { Choice::Nearest(&estimate) }
    });
    let task = RefitTask {
        models,
        choice,
        points: points.as_ref().map(|(points, count)| (&points[..], *count)),
        problem: &problem,
        settings: &settings,
        tuning,
        start: &start,
        expansion: expansion.as_ref(),
    };
    let n_parameters = models.law().parameters.len();
    let mut replicates = Replicates::of(count, n_parameters);
    replicates.n_samples = sampling.n_samples(MAX_SAMPLES);
    drop(sampling);
    // The chunk size depends on the sweep only, not on threads; results do not depend on it.
    let chunk = (CHUNK_VALUES / problem.n().max(1)).clamp(1, 256);
    let Replicates { objective, estimates, converged, .. } = &mut replicates;
    objective
        .par_chunks_mut(chunk)
        .zip(converged.par_chunks_mut(chunk))
        .zip(estimates.par_chunks_mut(chunk * n_parameters.max(1)))
        .enumerate()
        .for_each(|(c, ((objective, converged), estimates))| {
            if !watch.interrupted.load(Ordering::Relaxed) {
                let count = converged.len();
                let refits = Refits { objective, estimates, converged };
                workspaces.lend(|workspace| refit(&task, c * chunk, refits, scheme().as_mut(), workspace));
                (watch.refitted)(count);
            }
        });
    Some(replicates)
}

/// Returns the problem on which replicates are refitted, and their start in its coordinates: the law's own problem, in
/// which parameters that the fit put on an edge are free to leave it.
fn replicate_problem<'a>(
    models: &Models,
    fit: &'a Fit,
    tuning: &ReplicateTuning,
) -> (Cow<'a, Problem>, Cow<'a, [f64]>) {
    if fit.edges.is_empty() {
        let theta = fit.solution.as_ref().map_or(&[][..], |s| &s.theta);
        return (Cow::Borrowed(&fit.problem), Cow::Borrowed(theta));
    }
    let problem = fit.problem.with_model(models.full().clone());
    let natural: Vec<f64> = problem.model.coordinates.iter().map(|c| fit.natural[c.parameter]).collect();
    let mut start = problem.coordinates(&natural);
    let edges = (0..problem.p()).filter(|&i| fit.edges.contains(&problem.model.coordinates[i].parameter));
    leave_edges(&problem, &edges.collect::<Vec<usize>>(), &mut start, tuning);
    (Cow::Owned(problem), Cow::Owned(start))
}

/// Moves coordinates off their edges to where they have `edge_effect`. Measured in effects, the distance does not depend on
/// the units of response and variables.
fn leave_edges(problem: &Problem, edges: &[usize], theta: &mut [f64], tuning: &ReplicateTuning) {
    let ReplicateTuning { edge_effect, edge_distance, edge_blind_step, .. } = *tuning;
    let data = LaneData::spread(problem, &problem.observations.weight);
    let size = match problem.model.residual {
        Residual::Log => 1.0,
        Residual::Linear => root_mean_square(problem.target.iter().copied()),
    };
    let effect = |theta: &[f64], i: usize| {
        let rows = Linearization::at(problem, &data, theta);
        root_mean_square((0..problem.n()).map(|k| rows.jacobian[k * rows.p + i])) / size
    };
    for &i in edges {
        let coordinate = &problem.model.coordinates[i];
        match coordinate.scale {
            Scale::Log => {
                // From far below, where the effect is in proportion to a power of the parameter.
                for _ in 0..tuning.edge_evaluations {
                    let effect = effect(theta, i);
                    let is_known = effect.is_finite() && effect > f64::MIN_POSITIVE;
                    let step = if is_known { scalar::ln(edge_effect / effect) } else { edge_blind_step };
                    theta[i] = (theta[i] + step).min(coordinate.high);
                    if step.abs() <= 1e-12 * theta[i].abs().max(1.0) {
                        break;
                    }
                }
            }
            Scale::Linear => {
                let width = if coordinate.high.is_finite() { coordinate.high - theta[i] } else { 1.0 };
                let slope = effect(theta, i);
                let step = edge_effect / slope;
                let is_known = slope.is_finite() && step.is_finite() && step < width;
                theta[i] += if is_known { step } else { edge_distance * width };
            }
        }
    }
}

fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    (values.map(|x| x * x).sum::<f64>() / n).sqrt()
}

/// The results of a chunk of replicates.
struct Refits<'a> {
    objective: &'a mut [f64],
    estimates: &'a mut [f64],
    converged: &'a mut [bool],
}

/// What all replicates of a fit share.
struct RefitTask<'a> {
    models: &'a Models,
    problem: &'a Problem,
    settings: &'a SearchSettings<'a>,
    tuning: &'a Tuning,
    start: &'a [f64],
    /// The distinct point of each observation and the number of distinct points, where observations repeat.
    points: Option<(&'a [u32], usize)>,
    expansion: Option<&'a Expansion>,
    /// The rule that chooses among equivalent vectors, where there are any.
    choice: Option<Choice<'a>>,
}

/// Refits the replicates from number `first` on.
fn refit(task: &RefitTask, first: usize, refits: Refits, scheme: &mut dyn Scheme, workspace: &mut Workspace) {
    let RefitTask { models, problem, settings, tuning, start, points, expansion, choice } = *task;
    let n = problem.n();
    let p = problem.p();
    let count = refits.converged.len();
    let level = workspace.lanes().level();
    let width = expansion.map_or(0, Expansion::width);
    let n_targets = if scheme.makes_responses() { n } else { 0 };
    // The workspace is passed on while the buffers are in use, so they are taken out of it.
    let mut buffers = std::mem::take(&mut workspace.refits);
    buffers.prepare(count, n, n_targets, width);
    let RefitBuffers { rows, weight, target, sums } = &mut buffers;
    let mut drawn = vec![0; count];
    // Whether a replicate is failed by its sample.
    let mut unusable = vec![false; count];
    for k in 0..count {
        let (rows, weight) = (&mut rows[k * n..(k + 1) * n], &mut weight[k * n..(k + 1) * n]);
        let target = &mut target[k * n_targets..(k + 1) * n_targets];
        drawn[k] = scheme.draw((first + k) as u64, Sample { rows, weight, target });
        let few = |(points, n_points): (&[u32], usize)| {
            let mut present = vec![false; n_points];
            rows[..drawn[k]].iter().for_each(|&row| present[points[row as usize] as usize] = true);
            present.iter().filter(|present| **present).count() < p
        };
        unusable[k] = scheme.is_original(drawn[k]) || drawn[k] < p || points.is_some_and(few);
        if let Some(expansion) = expansion {
            let part = Part::new(&rows[..drawn[k]], &weight[..drawn[k]]);
            expansion.sum(level, part, &mut sums[k * width..(k + 1) * width]);
        }
    }
    let part = |r: usize| {
        let range = r * n..r * n + drawn[r];
        let target = (n_targets > 0).then(|| &target[range.clone()]);
        Part { rows: &rows[range.clone()], weight: &weight[range], target }
    };
    let (mut trials, mut predicted) = (vec![0.0; p * count], vec![0.0; count]);
    let mut kind = TaskKind::of(problem, settings);
    if let Some(expansion) = expansion {
        (kind.shared.third, kind.shared.connection) = (&expansion.third, &expansion.connection);
        let groups = trials.chunks_mut(p * LANES).zip(predicted.chunks_mut(LANES));
        for (sums, (trials, predicted)) in sums.chunks(width * LANES).zip(groups) {
            workspace.lanes().first_steps(settings, kind.shared, expansion, sums, trials, predicted);
        }
    }
    // Where searches ended, in solver coordinates.
    let mut thetas = vec![0.0; count * p];
    let Refits { objective, estimates, converged } = refits;
    // Whether the search of a replicate found no finite minimum.
    let mut drifting = vec![false; count];
    let task = |r: usize| {
        let first_step = expansion.map(|_| FirstStep {
            sums: &sums[r * width..(r + 1) * width],
            trial: &trials[r * p..(r + 1) * p],
            predicted: predicted[r],
        });
        Task { problem, settings, part: part(r), start, first_step }
    };
    workspace.lanes().run(kind, count, task, |ended| {
        let r = ended.task;
        objective[r] = ended.objective;
        converged[r] = ended.ending == Ending::Converged;
        drifting[r] = ended.ending == Ending::Drifting;
        thetas[r * p..(r + 1) * p].copy_from_slice(ended.theta);
    });
    estimates.copy_from_slice(&problem.naturals(&thetas));
    // A search can only follow a vanishing amplitude in its logarithm, and stops when the amplitude no longer matters.
    let vanishes = |theta: &[f64]| {
        let coordinates = problem.model.coordinates.iter().zip(theta.iter().zip(start));
        coordinates.into_iter().any(|(c, (x, from))| {
            c.scale == Scale::Log
                && c.low == f64::NEG_INFINITY
                && *x < from - tuning.replicates.min_log_decrease
        })
    };
    let n_parameters = models.law().parameters.len();
    for (r, natural) in estimates.chunks_exact_mut(n_parameters.max(1)).enumerate() {
        let theta = &thetas[r * p..(r + 1) * p];
        if unusable[r] {
            converged[r] = false;
            continue;
        }
        if !converged[r] && !drifting[r] || vanishes(theta) {
            let (problem, weight) = (with_responses(problem, part(r)), part(r).spread(n));
            if let Some(found) = minimise(
                &problem,
                &weight,
                theta,
                tuning.replicates.finishing_iterations,
                workspace.reference(),
            ) {
                // The optimum of a replicate may lie on an edge, like the estimate; leaving such replicates out would
                // truncate the interval.
                let (solved, _, found) = at_edges(models, problem.into_owned(), &weight, found);
                converged[r] = found.is_settled_minimum();
                objective[r] = found.rows.objective;
                natural.copy_from_slice(&solved.natural(&found.theta));
            }
        }
        converged[r] &= natural.iter().all(|x| x.is_finite());
        if let Some(choice) = choice.filter(|_| converged[r]) {
            let image = choice.of(models.symmetries(), natural);
            if image != *natural {
                let problem = with_responses(problem, part(r));
                if is_as_good(&problem, &part(r).spread(n), &image, objective[r]) {
                    natural.copy_from_slice(&image);
                }
            }
        }
    }
    // The buffers of a long fit are not worth their memory.
    if !problem.is_long() {
        workspace.refits = buffers;
    }
}

/// Returns the problem with the responses of a replicate, where it has its own.
fn with_responses<'a>(problem: &'a Problem, part: Part) -> Cow<'a, Problem> {
    let Some(responses) = part.target else { return Cow::Borrowed(problem) };
    let mut own = problem.clone();
    let target = Arc::make_mut(&mut own.target);
    part.rows.iter().zip(responses).for_each(|(&row, &response)| target[row as usize] = response);
    Cow::Owned(own)
}

/// Returns whether the objective at `natural`, under the weights of a replicate, agrees with `objective`.
fn is_as_good(problem: &Problem, weight: &[f64], natural: &[f64], objective: f64) -> bool {
    let start: Vec<f64> = problem.model.coordinates.iter().map(|c| natural[c.parameter]).collect();
    let data = LaneData::spread(problem, weight);
    Linearization::sums_at(problem, &data, &problem.coordinates(&start)).objective
        <= agreement_limit(objective, problem.floor)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use crate::infer::InferenceOptions;
    use crate::law::Residual;
    use crate::optimize::{self, Certificate, Evaluated, Linearization, Workspace, Workspaces};
    use crate::problem::{LaneData, Loss, Part, Problem};
    use crate::testing::{Uniform, catalogue_law, problem};

    use super::{Sample, Scheme, Watch, replicate, replicate_by};

    /// Returns runs that follow Chinchilla's law with noise.
    fn runs(n: usize) -> Vec<(&'static str, Vec<f64>)> {
        let mut uniform = Uniform(3);
        let runs: Vec<(f64, f64)> = (0..n)
            .map(|_| (1e8 * uniform.between(0.0, 5.0).exp(), 2e9 * uniform.between(0.0, 6.0).exp()))
            .collect();
        let mut response = |(n, d): &(f64, f64)| {
            let noise = (0..6).map(|_| uniform.between(-0.01, 0.01)).sum::<f64>();
            (1.69 + 406.4 / n.powf(0.34) + 410.7 / d.powf(0.28)) * noise.exp()
        };
        vec![
            ("loss", runs.iter().map(&mut response).collect()),
            ("N", runs.iter().map(|run| run.0).collect()),
            ("D", runs.iter().map(|run| run.1).collect()),
        ]
    }

    /// The end of a replicate's search, whose last step is not evaluated, holds the certificate of the replicate's own
    /// objective, up to a factor of ten for rounding.
    #[test]
    fn replicates_hold_the_certificate() {
        let law = catalogue_law("chinchilla");
        for (n, bootstrap, loss) in
            [(80, 400, Loss::L2), (80, 400, Loss::Huber { delta: 1e-3 }), (30, 20_000, Loss::L2)]
        {
            let (models, problem) = problem(&law, Residual::Log, loss, &runs(n));
            let fit = optimize::fit(
                &models,
                problem.clone(),
                &optimize::FitOptions::default(),
                &mut Workspace::default(),
            );
            let options = InferenceOptions { bootstrap, ..InferenceOptions::default() };
            let found = replicate(
                &models,
                &fit,
                &options,
                &[0; 32],
                Watch::silent(&AtomicBool::new(false)),
                &Workspaces::default(),
            )
            .unwrap();
            assert!(found.n_failed() <= bootstrap / 1000, "{n} {loss}: {} failed", found.n_failed());
            for r in (0..found.len()).filter(|&r| found.converged[r]) {
                let natural: Vec<f64> =
                    problem.model.coordinates.iter().map(|c| found.row(r)[c.parameter]).collect();
                if natural.contains(&0.0) {
                    // On an edge the problem has fewer parameters.
                    continue;
                }
                let weight = weights(&problem, &options, r);
                let theta = problem.coordinates(&natural);
                let at = Linearization::at(&problem, &LaneData::spread(&problem, &weight), &theta);
                let free: Vec<usize> = (0..problem.p()).collect();
                let coordinates = &problem.model.coordinates;
                let point =
                    Evaluated { coordinates, theta: &theta, rows: &at, free: &free, floor: problem.floor };
                let certificate = Certificate::of(point);
                let left = certificate.decrease / certificate.decrease_limit;
                assert!(left < 10.0, "{n} {loss}: replicate {r}: {certificate:?}");
            }
        }
    }

    /// A scheme for tests that changes the signs of residuals and draws all observations, each with its own weight.
    struct SignFlips {
        predicted: Vec<f64>,
        residual: Vec<f64>,
        weight: Vec<f64>,
    }

    impl SignFlips {
        fn of(fit: &optimize::Fit) -> SignFlips {
            let residual = fit.solution.as_ref().unwrap().rows.residual.clone();
            let predicted = fit.problem.target.iter().zip(&residual).map(|(y, r)| y + r).collect();
            SignFlips { predicted, residual, weight: fit.problem.observations.weight.clone() }
        }

        fn target(&self, replicate: u64, i: usize) -> f64 {
            let sign =
                if (replicate.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (i % 61)) & 1 == 0 { 1.0 } else { -1.0 };
            self.predicted[i] + sign * self.residual[i]
        }
    }

    impl Scheme for SignFlips {
        fn n_units(&self) -> usize {
            self.weight.len()
        }

        fn n_samples(&self, most: usize) -> usize {
            most
        }

        fn makes_responses(&self) -> bool {
            true
        }

        fn draw(&mut self, replicate: u64, Sample { rows, weight, target }: Sample<'_>) -> usize {
            for i in 0..self.weight.len() {
                (rows[i], weight[i], target[i]) = (i as u32, self.weight[i], self.target(replicate, i));
            }
            self.weight.len()
        }
    }

    /// A replicate with responses of its own is the fit of a sweep that has these responses: eight side by side in lanes,
    /// and one after the other in a long fit.
    #[test]
    fn replicates_may_have_responses_of_their_own() {
        let law = catalogue_law("chinchilla");
        for (n, count, loss) in [
            (60, 40, Loss::L2),
            (60, 40, Loss::Huber { delta: 1e-2 }),
            (crate::problem::LONG + 5, 3, Loss::L2),
        ] {
            let (models, problem) = problem(&law, Residual::Log, loss, &runs(n));
            let options = optimize::FitOptions::default();
            let fit = optimize::fit(&models, problem.clone(), &options, &mut Workspace::default());
            let flips = SignFlips::of(&fit);
            let scheme = || Box::new(SignFlips::of(&fit)) as Box<dyn Scheme>;
            let found = replicate_by(
                &scheme,
                &models,
                &fit,
                (count, &options.tuning),
                (Watch::silent(&AtomicBool::new(false)), &Workspaces::default()),
            )
            .unwrap();
            assert_eq!(found.n_failed(), 0);
            for r in 0..count {
                let mut own = problem.clone();
                own.target = Arc::new((0..n).map(|i| flips.target(r as u64, i)).collect());
                let expected = optimize::fit(&models, own, &options, &mut Workspace::default());
                for (a, b) in found.row(r).iter().zip(&expected.natural) {
                    assert!((a / b - 1.0).abs() < 1e-6, "{n} {loss} replicate {r}: {a} {b}");
                }
                assert!(
                    (found.objective[r] / expected.objective() - 1.0).abs() < 1e-9,
                    "{n} {loss} replicate {r}"
                );
            }
            // Other responses give other estimates.
            assert!((found.row(0)[0] / found.row(1)[0] - 1.0).abs() > 1e-6);
        }
    }

    fn weights(problem: &Problem, options: &InferenceOptions, replicate: usize) -> Vec<f64> {
        let mut scheme = options.resample.scheme(problem, options.seed, &[0; 32]);
        let (mut rows, mut weight) = (vec![0; problem.n()], vec![0.0; problem.n()]);
        let draw = Sample { rows: &mut rows, weight: &mut weight, target: &mut [] };
        let drawn = scheme.draw(replicate as u64, draw);
        Part::new(&rows[..drawn], &weight[..drawn]).spread(problem.n())
    }
}
