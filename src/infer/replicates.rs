//! Bootstrap replicates: refits under resampled weights, starting from the estimate.
//!
//! A replicate fails as a fit does, when it has no finite minimum or ends at an uncertified point. It also fails when
//! it equals the sample itself, which carries no information about other samples, and when it has fewer distinct points
//! than parameters.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use fearless_simd::Level;
use rayon::prelude::*;

use crate::compile::Scale;
use crate::lanes::{LANES, Pack};
use crate::optimize::{
    Choice, Ending, Expansion, ExpansionWorkspace, FirstStep, Fit, Linearization, Models, SearchSettings,
    Task, TaskKind, Workspace, agreement_limit, at_edges, minimise, settings,
};
use crate::problem::{LaneData, Part, Problem, RowTable};

use super::options::InferenceOptions;
use super::resample::Resampler;

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
    pub fn len(&self) -> usize {
        self.converged.len()
    }

    /// Returns whether there are no replicates.
    pub fn is_empty(&self) -> bool {
        self.converged.is_empty()
    }

    /// Returns the number of failed replicates.
    pub fn n_failed(&self) -> usize {
        self.converged.iter().filter(|c| !**c).count()
    }

    /// Returns the values of a parameter over the good replicates, in natural units.
    pub fn values(&self, parameter: usize) -> impl Iterator<Item = f64> {
        let converged = (0..self.len()).filter(|&r| self.converged[r]);
        converged.map(move |r| self.estimates[r * self.n_parameters + parameter])
    }

    /// Resizes the results for `count` replicates of a law with `n_parameters` parameters.
    fn clear(&mut self, count: usize, n_parameters: usize) {
        self.n_parameters = n_parameters;
        for (values, length) in [(&mut self.objective, count), (&mut self.estimates, count * n_parameters)] {
            values.clear();
            values.resize(length, f64::NAN);
        }
        self.converged.clear();
        self.converged.resize(count, false);
    }

    /// Returns the parameters of one replicate, in natural units.
    ///
    /// # Panics
    ///
    /// If there is no such replicate.
    pub fn row(&self, replicate: usize) -> &[f64] {
        &self.estimates[replicate * self.n_parameters..(replicate + 1) * self.n_parameters]
    }
}

/// The number up to which different samples are counted.
const MAX_SAMPLES: usize = 1000;

/// The number of weights that are held at once: replicates are refitted in chunks of about this many.
const CHUNK_VALUES: usize = 1 << 16;

/// Refits `options.bootstrap` replicates of a trustworthy fit. Returns none where there is only one unit to draw.
pub fn replicate(
    models: &Models,
    fit: &Fit,
    options: &InferenceOptions,
    key_digest: &[u8; 32],
    interrupted: &AtomicBool,
) -> Option<Replicates> {
    let mut replicates = Replicates::default();
    replicate_into(models, fit, options, key_digest, interrupted, &mut replicates).then_some(replicates)
}

/// Refits replicates in place of earlier ones, like [`replicate`]. Returns false where there is only one unit to draw.
pub fn replicate_into(
    models: &Models,
    fit: &Fit,
    options: &InferenceOptions,
    key_digest: &[u8; 32],
    interrupted: &AtomicBool,
    replicates: &mut Replicates,
) -> bool {
    // rayon may start another fit on this thread while it waits for others; holding a borrow would then panic.
    let mut workspace = REPLICATE_WORKSPACE.take();
    let found = workspace.replicate(models, fit, (options, key_digest), interrupted, replicates);
    REPLICATE_WORKSPACE.set(workspace);
    found
}

/// The buffers that a worker keeps from fit to fit.
#[derive(Default)]
struct ReplicateWorkspace {
    resampler: Resampler,
    expansion: Expansion,
    expansion_workspace: ExpansionWorkspace,
    table: RowTable,
}

thread_local! {
    static REPLICATE_WORKSPACE: RefCell<ReplicateWorkspace> = RefCell::default();
}

impl ReplicateWorkspace {
    /// Refits the replicates of a fit; see [`replicate_into`].
    fn replicate(
        &mut self,
        models: &Models,
        fit: &Fit,
        (options, key_digest): (&InferenceOptions, &[u8; 32]),
        interrupted: &AtomicBool,
        replicates: &mut Replicates,
    ) -> bool {
        let ReplicateWorkspace { resampler, expansion, expansion_workspace, table } = self;
        // A single unit drawn with replacement gives the same sample every time, and an interval of length zero.
        resampler.set(&fit.problem.observations, &options.resample, options.seed, key_digest);
        if resampler.n_units() < 2 {
            return false;
        }
        let level = Level::new();
        let (problem, start) = replicate_problem(models, fit);
        let mut settings = settings(&problem);
        // From the estimate an almost undamped step is right. Nearly absolute losses need some damping, because hardly
        // any residual of a replicate may have curvature.
        settings.damping = if problem.loss.is_quadratic() { 1e-9 } else { 1e-4 };
        settings.irls_fraction = 0.25;
        // For a long fit, reading the table takes longer than computing its values again.
        let is_long = problem.is_long();
        if !is_long {
            expansion.set(level, &problem, &start, settings.irls_fraction, expansion_workspace);
        }
        let expansion = Some(&*expansion).filter(|_| !is_long);
        settings.second_derivatives = expansion.is_some_and(|e| !e.third.is_empty());
        let has_table = !is_long && table.set(level, &problem);
        let table = Some(&*table).filter(|_| has_table);
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
            start: &start,
            expansion,
            table,
            options,
            key_digest,
        };
        let n_parameters = models.law().parameters.len();
        replicates.clear(options.bootstrap, n_parameters);
        replicates.n_samples = resampler.n_samples(MAX_SAMPLES);
        // The chunk size depends on the sweep only, not on threads; results do not depend on it.
        let chunk = (CHUNK_VALUES / problem.n().max(1)).clamp(1, 256);
        let Replicates { objective, estimates, converged, .. } = replicates;
        objective
            .par_chunks_mut(chunk)
            .zip(converged.par_chunks_mut(chunk))
            .zip(estimates.par_chunks_mut(chunk * n_parameters.max(1)))
            .enumerate()
            .for_each(|(c, ((objective, converged), estimates))| {
                if !interrupted.load(Ordering::Relaxed) {
                    // rayon may start another chunk on this thread while a long fit waits; holding a borrow would then
                    // panic.
                    let mut buffers = REFIT_WORKSPACE.take();
                    refit(&task, c * chunk, Refits { objective, estimates, converged }, &mut buffers);
                    REFIT_WORKSPACE.set(buffers);
                }
            });
        true
    }
}

/// Returns the problem on which replicates are refitted, and their start in its coordinates: the law's own problem, in
/// which parameters that the fit put on an edge are free to leave it.
fn replicate_problem<'a>(models: &Models, fit: &'a Fit) -> (Cow<'a, Problem>, Cow<'a, [f64]>) {
    if fit.edges.is_empty() {
        let theta = fit.solution.as_ref().map_or(&[][..], |s| &s.theta);
        return (Cow::Borrowed(&fit.problem), Cow::Borrowed(theta));
    }
    let problem = Problem::new(models.full().clone(), fit.problem.observations.clone(), fit.problem.loss);
    let response = &problem.observations.response;
    let size = response.iter().map(|y| y.abs()).sum::<f64>() / response.len().max(1) as f64;
    let natural: Vec<f64> = problem.model.coordinates.iter().map(|c| fit.natural[c.parameter]).collect();
    let mut start = problem.coordinates(&natural);
    for (theta, coordinate) in start.iter_mut().zip(&problem.model.coordinates) {
        if fit.edges.contains(&coordinate.parameter) {
            *theta = match coordinate.scale {
                Scale::Log => (1e-3 * size.max(f64::MIN_POSITIVE)).ln(),
                Scale::Linear => 1e-2,
            };
        }
    }
    (Cow::Owned(problem), Cow::Owned(start))
}

/// The decrease of an amplitude's logarithm, a factor of a million, from which the amplitude may tend to zero.
const MIN_LOG_DECREASE: f64 = 13.8;

/// The buffers that a worker keeps from chunk to chunk and from fit to fit.
#[derive(Default)]
struct RefitWorkspace {
    workspace: Workspace,
    resampler: Resampler,
    rows: Vec<u32>,
    weight: Vec<f64>,
    drawn: Vec<usize>,
    sums: Vec<Pack>,
    trials: Vec<f64>,
    predicted: Vec<f64>,
    /// The replicates by ascending number of observations drawn.
    order: Vec<usize>,
    /// The points where their searches ended, in solver coordinates.
    thetas: Vec<f64>,
    naturals: Vec<f64>,
    /// Whether a replicate is failed by its sample.
    unusable: Vec<bool>,
    /// Whether the search of a replicate found no finite minimum.
    drifting: Vec<bool>,
    /// Whether a replicate has each distinct point.
    present: Vec<bool>,
}

thread_local! {
    static REFIT_WORKSPACE: RefCell<RefitWorkspace> = RefCell::default();
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
    start: &'a [f64],
    /// The distinct point of each observation and the number of distinct points, where observations repeat.
    points: Option<(&'a [u32], usize)>,
    expansion: Option<&'a Expansion>,
    table: Option<&'a RowTable>,
    /// The rule that chooses among equivalent vectors, where there are any.
    choice: Option<Choice<'a>>,
    options: &'a InferenceOptions,
    key_digest: &'a [u8; 32],
}

/// Refits the replicates from number `first` on.
fn refit(task: &RefitTask, first: usize, refits: Refits, buffers: &mut RefitWorkspace) {
    let RefitTask { models, problem, settings, start, points, expansion, table, choice, options, key_digest } =
        *task;
    let n = problem.n();
    let p = problem.p();
    let count = refits.converged.len();
    let own = &problem.observations.weight;
    let RefitWorkspace {
        workspace,
        resampler,
        rows,
        weight,
        drawn,
        sums,
        trials,
        predicted,
        order,
        thetas,
        naturals,
        unusable,
        drifting,
        present,
    } = buffers;
    resampler.set(&problem.observations, &options.resample, options.seed, key_digest);
    let level = workspace.lanes().level();
    let width = expansion.map_or(0, Expansion::width);
    sums.resize(width * count, Pack::ZERO);
    trials.resize(p * count, 0.0);
    predicted.resize(count, 0.0);
    rows.resize(n * count, 0);
    weight.resize(n * count, 0.0);
    drawn.resize(count, 0);
    unusable.clear();
    unusable.resize(count, false);
    for k in 0..count {
        let (rows, weight) = (&mut rows[k * n..(k + 1) * n], &mut weight[k * n..(k + 1) * n]);
        drawn[k] = resampler.draw((first + k) as u64, own, rows, weight);
        let few = |(points, n_points): (&[u32], usize)| {
            present.clear();
            present.resize(n_points, false);
            rows[..drawn[k]].iter().for_each(|&row| present[points[row as usize] as usize] = true);
            present.iter().filter(|present| **present).count() < p
        };
        unusable[k] = drawn[k] == resampler.n_observations() || drawn[k] < p || points.is_some_and(few);
        if let Some(expansion) = expansion {
            let part = Part { rows: &rows[..drawn[k]], weight: &weight[..drawn[k]] };
            expansion.sum(level, part, &mut sums[k * width..(k + 1) * width]);
        }
    }
    let part = |r: usize| {
        let drawn = r * n..r * n + drawn[r];
        Part { rows: &rows[drawn.clone()], weight: &weight[drawn] }
    };
    let mut kind = TaskKind { table, ..TaskKind::of(problem, settings) };
    if let Some(expansion) = expansion {
        (kind.shared.third, kind.shared.connection) = (&expansion.third, &expansion.connection);
        let groups = trials.chunks_mut(p * LANES).zip(predicted.chunks_mut(LANES));
        for (sums, (trials, predicted)) in sums.chunks(width * LANES).zip(groups) {
            workspace.lanes().first_steps(settings, kind.shared, expansion, sums, trials, predicted);
        }
    }
    thetas.clear();
    thetas.resize(count * p, 0.0);
    // Eight lanes take as long as the longest of them, so replicates of similar length run together.
    order.clear();
    order.extend(0..count);
    order.sort_unstable_by_key(|&r| (drawn[r], r));
    let Refits { objective, estimates, converged } = refits;
    drifting.clear();
    drifting.resize(count, false);
    let task = |k: usize| {
        let r = order[k];
        let first_step = expansion.map(|_| FirstStep {
            sums: &sums[r * width..(r + 1) * width],
            trial: &trials[r * p..(r + 1) * p],
            predicted: predicted[r],
        });
        Task { problem, settings, part: part(r), start, first_step }
    };
    workspace.lanes().run(kind, count, task, |ended| {
        let r = order[ended.task];
        objective[r] = ended.objective;
        converged[r] = ended.ending == Ending::Converged;
        drifting[r] = ended.ending == Ending::Drifting;
        thetas[r * p..(r + 1) * p].copy_from_slice(ended.theta);
    });
    problem.naturals_into(thetas, naturals);
    estimates.copy_from_slice(naturals);
    // A search can only follow a vanishing amplitude in its logarithm, and stops when the amplitude no longer matters.
    let vanishes = |theta: &[f64]| {
        let coordinates = problem.model.coordinates.iter().zip(theta.iter().zip(start));
        coordinates.into_iter().any(|(c, (x, from))| {
            c.scale == Scale::Log && c.low == f64::NEG_INFINITY && *x < from - MIN_LOG_DECREASE
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
            let weight = part(r).spread(n);
            if let Some(found) = minimise(problem, &weight, theta, 50) {
                // The optimum of a replicate may lie on an edge, like the estimate; leaving such replicates out would
                // truncate the interval.
                let (solved, _, found) = at_edges(models, problem.clone(), &weight, found);
                converged[r] = found.is_settled_minimum();
                objective[r] = found.rows.objective;
                natural.copy_from_slice(&solved.natural(&found.theta));
            }
        }
        converged[r] &= natural.iter().all(|x| x.is_finite());
        if let Some(choice) = choice.filter(|_| converged[r]) {
            let image = choice.of(models.symmetries(), natural);
            if image != *natural && is_as_good(problem, &part(r).spread(n), &image, objective[r]) {
                natural.copy_from_slice(&image);
            }
        }
    }
}

/// Returns whether the objective at `natural`, under the weights of a replicate, agrees with `objective`.
fn is_as_good(problem: &Problem, weight: &[f64], natural: &[f64], objective: f64) -> bool {
    let start: Vec<f64> = problem.model.coordinates.iter().map(|c| natural[c.parameter]).collect();
    let rows = Linearization::at(problem, &LaneData::spread(problem, weight), &problem.coordinates(&start));
    rows.objective <= agreement_limit(objective, problem.floor)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use crate::infer::InferenceOptions;
    use crate::law::Residual;
    use crate::optimize::{self, Certificate, Evaluated, Linearization, Workspace};
    use crate::problem::{LaneData, Loss, Part, Problem};
    use crate::testing::{Uniform, catalogue_law, problem};

    use super::{Resampler, replicate};

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
            let found = replicate(&models, &fit, &options, &[0; 32], &AtomicBool::new(false)).unwrap();
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

    fn weights(problem: &Problem, options: &InferenceOptions, replicate: usize) -> Vec<f64> {
        let mut resampler = Resampler::new(&problem.observations, &options.resample, options.seed, &[0; 32]);
        let (mut rows, mut weight) = (vec![0; problem.n()], vec![0.0; problem.n()]);
        let own = &problem.observations.weight;
        let drawn = resampler.draw(replicate as u64, own, &mut rows, &mut weight);
        Part { rows: &rows[..drawn], weight: &weight[..drawn] }.spread(problem.n())
    }
}
