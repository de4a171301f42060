//! Bootstrap replicates: refits under resampled weights, starting from the estimate.
//!
//! A replicate fails as a fit does, when it has no finite minimum or ends at an uncertified point. It also fails when
//! it equals the sample itself, which carries no information about other samples, and when it has fewer distinct points
//! than parameters.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fearless_simd::Level;
use rayon::prelude::*;

use crate::compile::Scale;
use crate::lanes::LANES;
use crate::optimize::tuning::{ReplicateTuning, Tuning};
use crate::optimize::{
    Choice, Ending, Expansion, FirstStep, Fit, Linearization, Models, RefitBuffers, SearchSettings, Task,
    TaskKind, Workspace, agreement_limit, at_edges, minimise, settings,
};
use crate::problem::{LaneData, Part, Problem};

use super::context::Context;
use super::edges::leave_edges;
use super::options::InferenceOptions;
use super::resample::{Jackknife, Sample, Scheme};

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
    pub fn values(&self, parameter: usize) -> impl Iterator<Item = f64> + Clone {
        let converged = (0..self.len()).filter(|&r| self.converged[r]);
        converged.map(move |r| self.estimates[r * self.n_parameters + parameter])
    }

    /// Returns the parameters of the good replicates, in natural units, row-major.
    #[must_use]
    pub fn good_rows(&self) -> Cow<'_, [f64]> {
        if self.n_failed() == 0 {
            return Cow::Borrowed(&self.estimates);
        }
        let good = (0..self.len()).filter(|&r| self.converged[r]);
        Cow::Owned(good.flat_map(|r| self.row(r)).copied().collect())
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
pub(super) const CHUNK_VALUES: usize = 1 << 16;

/// The largest number of refits of a jackknife: beyond it, each leaves out several units.
const MOST_JACKKNIFE_REFITS: usize = 1000;

/// Refits the replicates of a trustworthy fit. Returns none where there is only one unit to draw.
pub fn replicate(
    models: &Models,
    fit: &Fit,
    options: &InferenceOptions,
    context: &Context,
) -> Option<Replicates> {
    let scheme = || options.resample.scheme(fit, options.seed, context.key_digest);
    replicate_by(&scheme, models, fit, (options.n_replicates(), &options.tuning), context)
}

/// Refits a fit without each of its units, or groups of units.
pub fn jackknife(
    models: &Models,
    fit: &Fit,
    options: &InferenceOptions,
    context: &Context,
) -> Option<Replicates> {
    let observations = &fit.problem.observations;
    let scheme = || Box::new(Jackknife::new(observations, MOST_JACKKNIFE_REFITS)) as Box<dyn Scheme>;
    replicate_by(&scheme, models, fit, (0, &options.tuning), context)
}

/// Refits replicates of any scheme; each thread makes its own.
fn replicate_by(
    scheme: &(dyn Fn() -> Box<dyn Scheme> + Sync),
    models: &Models,
    fit: &Fit,
    (count, tuning): (usize, &Tuning),
    &Context { watch, workspaces, .. }: &Context,
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
    let count = sampling.n_replicates(count);
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
pub(super) fn with_responses<'a>(problem: &'a Problem, part: Part) -> Cow<'a, Problem> {
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

    use crate::infer::{Context, InferenceOptions, Replicates, Resample};
    use crate::law::Residual;
    use crate::optimize::{self, Certificate, Evaluated, Fit, Linearization, Models, Workspace, Workspaces};
    use crate::problem::{LaneData, Loss, Part};
    use crate::testing::{Uniform, catalogue_law, problem};

    use super::{Problem, Sample, replicate};
    use crate::infer::interval::percentile::standard_deviation;

    /// Refits the replicates of a fit.
    fn replicates(models: &Models, fit: &Fit, options: &InferenceOptions) -> Replicates {
        let workspaces = Workspaces::default();
        let mut workspace = Workspace::default();
        let context = Context::silent(&workspaces, &mut workspace);
        replicate(models, fit, options, &context).unwrap()
    }

    /// Returns the weight and the response of each observation in a replicate.
    fn sample(fit: &Fit, options: &InferenceOptions, replicate: usize) -> (Vec<f64>, Vec<f64>) {
        let n = fit.problem.n();
        let mut scheme = options.resample.scheme(fit, options.seed, &[0; 32]);
        let (mut rows, mut weight) = (vec![0; n], vec![0.0; n]);
        let mut target = vec![0.0; if scheme.makes_responses() { n } else { 0 }];
        let sample = Sample { rows: &mut rows, weight: &mut weight, target: &mut target };
        let drawn = scheme.draw(replicate as u64, sample);
        let mut targets = fit.problem.target.to_vec();
        rows.iter().zip(&target).take(drawn).for_each(|(&i, &target)| targets[i as usize] = target);
        (Part::new(&rows[..drawn], &weight[..drawn]).spread(n), targets)
    }

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
            let found = replicates(&models, &fit, &options);
            assert!(found.n_failed() <= bootstrap / 1000, "{n} {loss}: {} failed", found.n_failed());
            for r in (0..found.len()).filter(|&r| found.converged[r]) {
                let natural: Vec<f64> =
                    problem.model.coordinates.iter().map(|c| found.row(r)[c.parameter]).collect();
                if natural.contains(&0.0) {
                    // On an edge the problem has fewer parameters.
                    continue;
                }
                let (weight, _) = sample(&fit, &options, r);
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
            let search = optimize::FitOptions::default();
            let fit = optimize::fit(&models, problem.clone(), &search, &mut Workspace::default());
            for resample in [Resample::Wild(None), Resample::Residual, Resample::Parametric] {
                let options = InferenceOptions { resample, bootstrap: count, ..InferenceOptions::default() };
                let found = replicates(&models, &fit, &options);
                assert_eq!(found.n_failed(), 0);
                for r in 0..count {
                    let (_, target) = sample(&fit, &options, r);
                    let own = Problem { target: Arc::new(target), ..problem.clone() };
                    let expected = optimize::fit(&models, own, &search, &mut Workspace::default());
                    let context = format!("{n} {loss} {} replicate {r}", options.resample);
                    for (a, b) in found.row(r).iter().zip(&expected.natural) {
                        assert!((a / b - 1.0).abs() < 1e-6, "{context}: {a} {b}");
                    }
                    let ratio = found.objective[r] / expected.objective();
                    assert!((ratio - 1.0).abs() < 1e-9, "{context}");
                }
                // Other responses give other estimates.
                assert!((found.row(0)[0] / found.row(1)[0] - 1.0).abs() > 1e-6);
            }
        }
    }

    /// Schemes that assume nothing about the spread of residuals agree on the standard errors, and so do those that assume
    /// it to be equal: within the error of 4,000 replicates and of a sweep of 240 observations.
    #[test]
    fn schemes_agree_on_the_standard_errors() {
        let law = catalogue_law("chinchilla");
        let (models, problem) = problem(&law, Residual::Log, Loss::L2, &runs(240));
        let search = optimize::FitOptions::default();
        let fit = optimize::fit(&models, problem, &search, &mut Workspace::default());
        let errors = |resample: Resample| {
            let options = InferenceOptions { resample, bootstrap: 4000, ..InferenceOptions::default() };
            let found = replicates(&models, &fit, &options);
            let factor = match options.resample {
                Resample::Jackknife(_) => (found.len() as f64 - 1.0) / (found.len() as f64).sqrt(),
                _ => 1.0,
            };
            (0..law.parameters.len())
                .map(|i| factor * standard_deviation(&found.values(i).collect::<Vec<f64>>()).unwrap())
                .collect::<Vec<f64>>()
        };
        let robust =
            [Resample::Pairs, Resample::Bayesian(None), Resample::Wild(None), Resample::Jackknife(None)];
        let classical = [Resample::Residual, Resample::Parametric];
        let mut compared = 0;
        for group in [&robust[..], &classical[..]] {
            let expected = errors(group[0].clone());
            for resample in &group[1..] {
                for (found, expected) in errors(resample.clone()).iter().zip(&expected) {
                    assert!((found / expected - 1.0).abs() < 0.12, "{resample}: {found} for {expected}");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, 20);
    }
}
