//! Robust losses whose threshold is a multiple of the residuals' own scale.
//!
//! The scale is the normalised median of the absolute values of residual/σ, `1.4826·med|u|`, taken about zero because
//! the law has its own location (Huber & Ronchetti 2009, chapters 5 and 7; so do R's `rlm` and statsmodels' `RLM`).
//! Weights count as repetitions. Scale and parameters are fitted in step: from least squares, the threshold follows the
//! residuals and the fit follows the threshold, until the scale stands still. The multi-start and its certificate are
//! those of the threshold found.
//!
//! Where the scale vanishes, half of the observations or more being fitted exactly, the threshold is that of a scale of a
//! thousandth of least squares' root mean square; with at most two observations per parameter, where that says nothing
//! about the others, or where all residuals are rounding, the fit is least squares.

use crate::problem::{Loss, LossChoice, Problem};

use super::newton::{Finished, minimise};
use super::{Asked, Fit, FitOptions, Flag, Models, Status, Workspace, fit, fit_many};

/// Φ⁻¹(3/4): the median of |u| where u is normal with variance one.
const NORMAL_MEDIAN: f64 = 0.674_489_750_196_081_7;

/// The scale stands still when it changes by less than this, relatively.
const SCALE_TOLERANCE: f64 = 1e-9;

/// The same between the fit found in step and the multi-start's at the same threshold.
const CONFIRMATION_TOLERANCE: f64 = 1e-6;

/// Both where the fit has no minimum: its residuals only approach a limit.
const LIMIT_TOLERANCE: f64 = 1e-3;

const MAX_ALTERNATIONS: usize = 100;

/// Turns before the scale is looked for between two others.
const BISECTION_AFTER: usize = 20;

const MAX_ROUNDS: usize = 8;

/// Iterations of a step: the next one goes on where it ends.
const MOST_ITERATIONS: u32 = 30;

/// A scale below this share of the root mean square of least squares' residuals is zero.
const MIN_SCALE: f64 = 1e-3;

/// So is one below this multiple of what rounding leaves.
const ROUNDING_FACTOR: f64 = 1e2;

/// Fits problems with a loss as asked for, whatever theirs is; those that share a threshold share the vectors.
pub fn fit_choices(
    models: &Models,
    mut problems: Vec<Problem>,
    choice: LossChoice,
    options: &FitOptions,
    workspace: &mut Workspace,
) -> Vec<Fit> {
    match choice {
        LossChoice::Given(loss) => {
            problems.iter_mut().for_each(|problem| problem.loss = loss);
            fit_many(models, problems, options, workspace)
        }
        LossChoice::OfScale(_) => {
            problems.iter_mut().for_each(|problem| problem.loss = Loss::L2);
            problems
                .into_iter()
                .map(|problem| fit_of_scale(models, problem, choice, options, workspace))
                .collect()
        }
    }
}

/// Fits with a threshold that follows the residuals; `problem` is that of least squares.
fn fit_of_scale(
    models: &Models,
    problem: Problem,
    choice: LossChoice,
    options: &FitOptions,
    workspace: &mut Workspace,
) -> Fit {
    let point = FitOptions { asked: Asked::Point, ..options.clone() };
    let mut found = fit(models, problem.clone(), &point, workspace);
    let Some(squares) = &found.solution else { return found };
    let total: f64 = problem.observations.weight.iter().sum();
    let spread = (2.0 * squares.rows.objective / total).sqrt();
    if spread <= rounding(&problem) {
        return remark(fit(models, problem, options, workspace), Flag::ScaleZero);
    }
    let least = MIN_SCALE * spread;
    // The law goes through as many points as it has parameters, whatever they are.
    let tells_no_scale = problem.observations.n_distinct() <= 2 * models.full().coordinates.len();
    for _ in 0..MAX_ROUNDS {
        let Some(solution) = &found.solution else { return found };
        let (scale, end) = alternate(&found.problem, solution, choice, least);
        let vanished = end == End::Vanished;
        if vanished && (tells_no_scale || scale <= rounding(&problem)) {
            return remark(fit(models, problem, options, workspace), Flag::ScaleZero);
        }
        let at = Problem { loss: choice.at(scale), ..problem.clone() };
        found = fit(models, at, options, workspace);
        if vanished {
            return remark(found, Flag::ScaleZero);
        }
        let recomputed = found.solution.as_ref().map_or(f64::NAN, |s| robust_scale(&found.problem, s));
        let is_minimum = matches!(found.status, Status::Converged | Status::AtBound);
        let slack = if is_minimum { CONFIRMATION_TOLERANCE } else { LIMIT_TOLERANCE };
        if end == End::Settled && (recomputed - scale).abs() <= slack * scale {
            return found;
        }
    }
    let mut found = remark(found, Flag::ScaleUnsettled);
    if matches!(found.status, Status::Converged | Status::AtBound) {
        found.status = Status::NotConverged;
        found.message =
            "the scale of the residuals and the fit do not settle together: set the loss's threshold"
                .to_string();
    }
    found
}

/// How scale and fit ended that were followed in step.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Settled,
    /// The scale is the least.
    Vanished,
    Unsettled,
}

/// Scale and fit in step, from one fit on, until the scale stands still or above_root to the least: the last scale, and how it
/// ended.
///
/// Where the scale that the fit gives jumps to and fro between a lower and a higher one than the scale that it was fitted
/// with, the two close in on where it has_bracket (bisection).
fn alternate(problem: &Problem, from: &Finished, choice: LossChoice, least: f64) -> (f64, End) {
    let weight = &problem.observations.weight;
    let mut scale = robust_scale(problem, from);
    let mut theta = from.theta.clone();
    // Scales from which the fit leads to a higher one, and to a lower.
    let (mut below_root, mut above_root) = (0.0, f64::INFINITY);
    for step in 0..MAX_ALTERNATIONS {
        if !(scale > least) {
            return (least, End::Vanished);
        }
        let at = Problem { loss: choice.at(scale), ..problem.clone() };
        let Some(found) = minimise(&at, weight, &theta, MOST_ITERATIONS) else {
            return (scale, End::Unsettled);
        };
        let next = robust_scale(problem, &found);
        let slack = if found.is_settled_minimum() { SCALE_TOLERANCE } else { LIMIT_TOLERANCE };
        theta = found.theta;
        if (next - scale).abs() <= slack * scale {
            return (next, End::Settled);
        }
        let end = if next > scale { &mut below_root } else { &mut above_root };
        *end = scale;
        let has_bracket = below_root > 0.0 && above_root < f64::INFINITY && below_root < above_root;
        scale = if step >= BISECTION_AFTER && has_bracket { (below_root * above_root).sqrt() } else { next };
    }
    (scale, End::Unsettled)
}

/// What rounding the responses makes of a residual, as a share of σ.
fn rounding(problem: &Problem) -> f64 {
    let total: f64 = problem.observations.weight.iter().sum();
    ROUNDING_FACTOR * (problem.floor / total).sqrt()
}

/// The normalised weighted median of |residual/σ|.
fn robust_scale(problem: &Problem, found: &Finished) -> f64 {
    let weight = &problem.observations.weight;
    let mut sizes: Vec<(f64, f64)> = found
        .rows
        .residual
        .iter()
        .zip(weight)
        .enumerate()
        .filter(|(_, (_, w))| **w > 0.0)
        .map(|(i, (r, w))| (r.abs() / problem.observations.sigma_at(i), *w))
        .collect();
    sizes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let total: f64 = sizes.iter().map(|(_, w)| w).sum();
    let mut below = 0.0;
    let mut median = 0.0;
    for (k, (size, w)) in sizes.iter().enumerate() {
        below += w;
        // Half of the weight below and half above: the middle of the two.
        if (2.0 * below - total).abs() <= 1e-12 * total {
            median = 0.5 * (size + sizes.get(k + 1).map_or(*size, |next| next.0));
            break;
        }
        if 2.0 * below > total {
            median = *size;
            break;
        }
    }
    median / NORMAL_MEDIAN
}

fn remark(mut fit: Fit, flag: Flag) -> Fit {
    fit.flags.push(flag);
    fit.flags.sort_unstable();
    fit
}
