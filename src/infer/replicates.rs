//! Refits on resampled weights, starting from the estimate.
//!
//! A replicate is judged as a fit is: one without a finite minimum, or that ended on an uncertified point, has failed. So has
//! one that is the sample itself, which says nothing about other samples, and one of fewer different points than
//! parameters.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use fearless_simd::Level;
use rayon::prelude::*;

use crate::compile::Scale;
use crate::lanes::{LANES, Pack};
use crate::law::Residual;
use crate::optimize::{
    Choice, Ending, Expansion, FirstStep, Fit, Linearization, Models, SearchSettings, Surveying, Task,
    TaskKind, Workspace, agreement_limit, at_edges, minimise, settings,
};
use crate::problem::{LaneData, Part, Problem, RowTable};

use super::options::InferenceOptions;
use super::resample::Resampler;

/// A sweep's refits under one law, in order of the replicate's number.
#[derive(Clone, Debug, Default)]
pub struct Replicates {
    pub n_parameters: usize,
    pub objective: Vec<f64>,
    /// Natural units, row-major.
    pub estimates: Vec<f64>,
    /// Whether the replicate is good.
    pub converged: Vec<bool>,
    /// How many different samples could be drawn, if no more than a few.
    pub n_samples: usize,
}

impl Replicates {
    pub fn len(&self) -> usize {
        self.converged.len()
    }

    pub fn is_empty(&self) -> bool {
        self.converged.is_empty()
    }

    pub fn n_failed(&self) -> usize {
        self.converged.iter().filter(|c| !**c).count()
    }

    /// A parameter's values over the good replicates.
    pub fn values(&self, parameter: usize) -> impl Iterator<Item = f64> {
        let converged = (0..self.len()).filter(|&r| self.converged[r]);
        converged.map(move |r| self.estimates[r * self.n_parameters + parameter])
    }

    /// Makes room for so many of a law of so many parameters.
    fn clear(&mut self, count: usize, n_parameters: usize) {
        self.n_parameters = n_parameters;
        for (values, length) in [(&mut self.objective, count), (&mut self.estimates, count * n_parameters)] {
            values.clear();
            values.resize(length, f64::NAN);
        }
        self.converged.clear();
        self.converged.resize(count, false);
    }

    /// One replicate's estimates.
    pub fn row(&self, replicate: usize) -> &[f64] {
        &self.estimates[replicate * self.n_parameters..(replicate + 1) * self.n_parameters]
    }
}

/// Different samples are counted up to here.
const MOST_SAMPLES: usize = 1000;

/// Weights held at once: replicates are refitted in chunks of about this many values.
const CHUNK_VALUES: usize = 1 << 16;

/// Refits `options.bootstrap` replicates of a trustworthy fit; none where there is but one unit to draw.
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

/// The same in place of other replicates; false where there are none.
pub fn replicate_into(
    models: &Models,
    fit: &Fit,
    options: &InferenceOptions,
    key_digest: &[u8; 32],
    interrupted: &AtomicBool,
    replicates: &mut Replicates,
) -> bool {
    // Taken, not borrowed: while it waits for other threads, this one may begin another fit.
    let mut prepared = PREPARED.take();
    let found = prepared.replicate(models, fit, (options, key_digest), interrupted, replicates);
    PREPARED.set(prepared);
    found
}

/// What a worker keeps from fit to fit.
#[derive(Default)]
struct Prepared {
    resampler: Resampler,
    expansion: Expansion,
    surveying: Surveying,
    table: RowTable,
}

thread_local! {
    static PREPARED: RefCell<Prepared> = RefCell::default();
}

impl Prepared {
    fn replicate(
        &mut self,
        models: &Models,
        fit: &Fit,
        (options, key_digest): (&InferenceOptions, &[u8; 32]),
        interrupted: &AtomicBool,
        replicates: &mut Replicates,
    ) -> bool {
        let Prepared { resampler, expansion, surveying, table } = self;
        // One unit drawn with replacement is always the same: an interval of no width would look like knowledge.
        resampler.set(&fit.problem.observations, &options.resample, options.seed, key_digest);
        if resampler.n_units() < 2 {
            return false;
        }
        let level = Level::new();
        let (problem, start) = replicate_problem(models, fit);
        let mut settings = settings(&problem);
        // From the estimate a nearly undamped step is right; near-absolute losses want a trace more, because a
        // replicate may leave hardly any residual with curvature.
        settings.damping = if problem.loss.is_quadratic() { 1e-9 } else { 1e-4 };
        settings.share = 0.25;
        // For a long fit the rows take longer to read from memory than to compute again.
        let is_long = problem.is_long();
        if !is_long {
            expansion.set(level, &problem, &start, settings.share, surveying);
        }
        let expansion = Some(&*expansion).filter(|_| !is_long);
        settings.bent = expansion.is_some_and(|e| !e.third.is_empty());
        let has_table = !is_long && table.set(level, &problem);
        let table = Some(&*table).filter(|_| has_table);
        let points = problem.observations.repeated_points();
        // Replicates follow the rule that the estimate was chosen by.
        let symmetries = models.symmetries();
        let natural = fit.natural.iter().filter(|_| !symmetries.is_empty());
        let estimate: Vec<Option<f64>> = natural.map(|x| Some(*x)).collect();
        let choice = (!symmetries.is_empty()).then(|| {
            let by_rule = symmetries.canonical(&fit.natural) == fit.natural;
            if by_rule { Choice::Canonical } else { Choice::Nearest(&estimate) }
        });
        let task = Refitting {
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
        replicates.n_samples = resampler.n_samples(MOST_SAMPLES);
        // The cut is by the sweep's size alone, so that it does not depend on threads; results would not
        // depend on it anyway.
        let chunk = (CHUNK_VALUES / problem.n().max(1)).clamp(1, 256);
        let Replicates { objective, estimates, converged, .. } = replicates;
        objective
            .par_chunks_mut(chunk)
            .zip(converged.par_chunks_mut(chunk))
            .zip(estimates.par_chunks_mut(chunk * n_parameters.max(1)))
            .enumerate()
            .for_each(|(c, ((objective, converged), estimates))| {
                if !interrupted.load(Ordering::Relaxed) {
                    // Taken, not borrowed: while a long fit waits for other threads, this one may begin another chunk.
                    let mut scratch = SCRATCH.take();
                    refit(&task, c * chunk, Refits { objective, estimates, converged }, &mut scratch);
                    SCRATCH.set(scratch);
                }
            });
        true
    }
}

/// The problem that replicates are refitted on: the law's own, with parameters that the fit put on an edge
/// free to leave it.
fn replicate_problem<'a>(models: &Models, fit: &'a Fit) -> (Cow<'a, Problem>, Cow<'a, [f64]>) {
    if fit.edges.is_empty() {
        let theta = fit.solution.as_ref().map_or(&[][..], |s| &s.theta);
        return (Cow::Borrowed(&fit.problem), Cow::Borrowed(theta));
    }
    let problem = Problem::new(models.full().clone(), fit.problem.observations.clone(), fit.problem.loss);
    let natural: Vec<f64> = problem.model.coordinates.iter().map(|c| fit.natural[c.parameter]).collect();
    let mut start = problem.coordinates(&natural);
    let edges = (0..problem.p()).filter(|&i| fit.edges.contains(&problem.model.coordinates[i].parameter));
    leave_edges(&problem, &edges.collect::<Vec<usize>>(), &mut start);
    (Cow::Owned(problem), Cow::Owned(start))
}

/// The effect of a parameter that replicates begin with off its edge: the root mean square of `∂ T(prediction) / ∂ coordinate`
/// times the distance from the edge (for a logarithm, times one), as a share of the size of the response.
const EDGE_EFFECT: f64 = 1e-3;

/// Where no such effect is found, a coordinate with two ends begins at this share of the distance between them, and one with
/// none at this value, which suits an exponent.
const EDGE_DISTANCE: f64 = 1e-2;

/// Evaluations to look for the effect with. The first few suffice where the prediction is linear in the parameter.
const MOST_EDGE_STEPS: usize = 100;

/// The largest step of a logarithm towards the effect while it is too small to be a number: a thousandfold.
const BLIND_STEP: f64 = 7.0;

/// Moves coordinates off their edges to where they have [`EDGE_EFFECT`]. Measured in effects, the distance does not depend on
/// the units of response and variables.
fn leave_edges(problem: &Problem, edges: &[usize], theta: &mut [f64]) {
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
                for _ in 0..MOST_EDGE_STEPS {
                    let effect = effect(theta, i);
                    let is_known = effect.is_finite() && effect > f64::MIN_POSITIVE;
                    let step = if is_known { (EDGE_EFFECT / effect).ln() } else { BLIND_STEP };
                    theta[i] = (theta[i] + step).min(coordinate.high);
                    if step.abs() <= 1e-12 * theta[i].abs().max(1.0) {
                        break;
                    }
                }
            }
            Scale::Linear => {
                let width = if coordinate.high.is_finite() { coordinate.high - theta[i] } else { 1.0 };
                let slope = effect(theta, i);
                let step = EDGE_EFFECT / slope;
                let is_known = slope.is_finite() && step.is_finite() && step < width;
                theta[i] += if is_known { step } else { EDGE_DISTANCE * width };
            }
        }
    }
}

fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    (values.map(|x| x * x).sum::<f64>() / n).sqrt()
}

/// An amplitude that falls by more than this in its logarithm, a millionfold, may be on its way to zero.
const VANISHED: f64 = 13.8;

/// Buffers that a worker keeps from chunk to chunk and from fit to fit.
#[derive(Default)]
struct Scratch {
    workspace: Workspace,
    resampler: Resampler,
    rows: Vec<u32>,
    weight: Vec<f64>,
    drawn: Vec<usize>,
    sums: Vec<Pack>,
    trials: Vec<f64>,
    predicted: Vec<f64>,
    /// Replicates by how many observations they drew, and where their searches ended.
    order: Vec<usize>,
    thetas: Vec<f64>,
    naturals: Vec<f64>,
    /// Replicates that are not to be finished.
    lost: Vec<bool>,
    /// Those that have no finite minimum, as far as their searches could tell.
    drifts: Vec<bool>,
    /// Points that a replicate has.
    present: Vec<bool>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Where the results of some replicates go.
struct Refits<'a> {
    objective: &'a mut [f64],
    estimates: &'a mut [f64],
    converged: &'a mut [bool],
}

/// What all replicates of a fit share.
struct Refitting<'a> {
    models: &'a Models,
    problem: &'a Problem,
    settings: &'a SearchSettings<'a>,
    start: &'a [f64],
    /// Which of the different points each observation is at, where some are at the same, and how many there are.
    points: Option<(&'a [u32], usize)>,
    expansion: Option<&'a Expansion>,
    table: Option<&'a RowTable>,
    /// Where several vectors give the same curve, which of them is reported.
    choice: Option<Choice<'a>>,
    options: &'a InferenceOptions,
    key_digest: &'a [u8; 32],
}

/// Refits the replicates from number `first` on.
fn refit(task: &Refitting, first: usize, refits: Refits, scratch: &mut Scratch) {
    let Refitting { models, problem, settings, start, points, expansion, table, choice, options, key_digest } =
        *task;
    let n = problem.n();
    let p = problem.p();
    let count = refits.converged.len();
    let own = &problem.observations.weight;
    let Scratch {
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
        lost,
        drifts,
        present,
    } = scratch;
    resampler.set(&problem.observations, &options.resample, options.seed, key_digest);
    let level = workspace.lanes().level();
    let width = expansion.map_or(0, Expansion::width);
    sums.resize(width * count, Pack::ZERO);
    trials.resize(p * count, 0.0);
    predicted.resize(count, 0.0);
    rows.resize(n * count, 0);
    weight.resize(n * count, 0.0);
    drawn.resize(count, 0);
    lost.clear();
    lost.resize(count, false);
    for k in 0..count {
        let (rows, weight) = (&mut rows[k * n..(k + 1) * n], &mut weight[k * n..(k + 1) * n]);
        drawn[k] = resampler.draw((first + k) as u64, own, rows, weight);
        let few = |(points, n_points): (&[u32], usize)| {
            present.clear();
            present.resize(n_points, false);
            rows[..drawn[k]].iter().for_each(|&row| present[points[row as usize] as usize] = true);
            present.iter().filter(|present| **present).count() < p
        };
        lost[k] = drawn[k] == resampler.n_observations() || drawn[k] < p || points.is_some_and(few);
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
            workspace.lanes().look_ahead(settings, kind.shared, expansion, sums, trials, predicted);
        }
    }
    thetas.clear();
    thetas.resize(count * p, 0.0);
    // Lanes are as long as the longest of the eight.
    order.clear();
    order.extend(0..count);
    order.sort_unstable_by_key(|&r| (drawn[r], r));
    let Refits { objective, estimates, converged } = refits;
    drifts.clear();
    drifts.resize(count, false);
    let task = |k: usize| {
        let r = order[k];
        let ahead = expansion.map(|_| FirstStep {
            sums: &sums[r * width..(r + 1) * width],
            trial: &trials[r * p..(r + 1) * p],
            predicted: predicted[r],
        });
        Task { problem, settings, part: part(r), start, ahead }
    };
    workspace.lanes().run(kind, count, task, |ended| {
        let r = order[ended.task];
        objective[r] = ended.objective;
        converged[r] = ended.ending == Ending::Converged;
        drifts[r] = ended.ending == Ending::Drifting;
        thetas[r * p..(r + 1) * p].copy_from_slice(ended.theta);
    });
    problem.naturals_into(thetas, naturals);
    estimates.copy_from_slice(naturals);
    // A search can only follow an amplitude of zero in its logarithm, and stops when it no longer matters.
    let vanishes = |theta: &[f64]| {
        let coordinates = problem.model.coordinates.iter().zip(theta.iter().zip(start));
        coordinates
            .into_iter()
            .any(|(c, (x, from))| c.scale == Scale::Log && c.low == f64::NEG_INFINITY && *x < from - VANISHED)
    };
    let n_parameters = models.law().parameters.len();
    for (r, natural) in estimates.chunks_exact_mut(n_parameters.max(1)).enumerate() {
        let theta = &thetas[r * p..(r + 1) * p];
        if lost[r] {
            converged[r] = false;
            continue;
        }
        if !converged[r] && !drifts[r] || vanishes(theta) {
            let weight = part(r).spread(n);
            if let Some(found) = minimise(problem, &weight, theta, 50) {
                // A replicate's optimum may lie on an edge, like the estimate's own: leaving such replicates out
                // would cut the interval off on that side.
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

/// Whether the objective under a replicate's weights is what it is at the replicate's own parameters.
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

    /// Runs on Chinchilla's law with noise, as many as wanted.
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

    /// What a replicate's search takes for its end, on a promise computed ahead of it, is a minimum of the replicate's own
    /// objective, certified like a fit's: up to a factor of ten, for rounding.
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
                    // On an edge, where the law is another.
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
