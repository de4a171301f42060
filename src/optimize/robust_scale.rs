//! Robust losses whose threshold is a multiple of the scale of the residuals.
//!
//! The scale is the normalised median of the absolute values of residual/σ, `1.4826·med|u|`, taken about zero because
//! the law has its own location (Huber & Ronchetti 2009, chapters 5 and 7; so do R's `rlm` and statsmodels' `RLM`).
//! Weights count as repetitions. Scale and parameters are estimated in turn, from least squares on: the threshold
//! follows the scale of the residuals, and the fit follows the threshold, until the scale converges. The multi-start
//! and the certificate are those of the fit with the final threshold.
//!
//! The scale is zero where half of the observations or more are fitted exactly. The threshold then corresponds to a
//! scale of a thousandth of the root mean square of least squares. The fit is least squares where at most two
//! observations per parameter are given, since an exact fit of half of them says nothing about the others, and where
//! all residuals are rounding.

use crate::problem::{Loss, LossChoice, Problem};

use super::newton::{Finished, MinimiseWorkspace, minimise};
use super::{Asked, Fit, FitOptions, Flag, Models, Status, Workspace, fit, fit_many};

/// Φ⁻¹(3/4): the median of |u| for a standard normal u.
const NORMAL_MEDIAN: f64 = 0.674_489_750_196_081_7;

/// The relative change of the scale below which it has converged.
const SCALE_TOLERANCE: f64 = 1e-9;

/// The largest relative difference between the scale of the alternating fit and that of the multi-start with its
/// threshold.
const CONFIRMATION_TOLERANCE: f64 = 1e-6;

/// Both tolerances where the fit has no minimum and its residuals only approach a limit.
const LIMIT_TOLERANCE: f64 = 1e-3;

/// The largest number of alternations between scale and fit.
const MAX_ALTERNATIONS: usize = 100;

/// The number of alternations after which the scale is bracketed and bisected.
const BISECTION_AFTER: usize = 20;

/// The largest number of multi-starts.
const MAX_ROUNDS: usize = 8;

/// The number of iterations of the fit within one alternation; the next alternation continues from where it ends.
const MAX_ITERATIONS: u32 = 30;

/// The scale, as a fraction of the root mean square of least squares' residuals, below which it counts as zero.
const MIN_SCALE: f64 = 1e-3;

/// The scale, as a multiple of the residuals that rounding leaves, below which it counts as zero.
const ROUNDING_FACTOR: f64 = 1e2;

/// Fits problems under a loss as asked for, whatever loss they hold. Problems with a common threshold share the SIMD
/// lanes.
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

/// Fits a problem with a threshold that follows the scale of the residuals; `problem` holds least squares.
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
    // A law goes exactly through as many observations as it has parameters.
    let tells_no_scale = problem.observations.n_distinct() <= 2 * models.full().coordinates.len();
    for _ in 0..MAX_ROUNDS {
        let Some(solution) = &found.solution else { return found };
        let start = (robust_scale(&found.problem, solution), solution.theta.clone());
        // The residuals and derivatives of this fit are freed before others are computed.
        let Fit { problem: of_last, solution: freed, .. } = found;
        drop(freed);
        let (scale, end) = alternate(&of_last, start, choice, least);
        let vanished = end == ScaleEnd::Vanished;
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
        if end == ScaleEnd::Settled && (recomputed - scale).abs() <= slack * scale {
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

/// How the alternation of scale and fit ended.
#[derive(Clone, Copy, PartialEq)]
enum ScaleEnd {
    /// The scale converged.
    Settled,
    /// The scale fell below its minimum.
    Vanished,
    /// The scale did not converge.
    Unsettled,
}

/// Alternates between scale and fit, starting from the scale and the point of a fit, and returns the last scale and how the
/// alternation ended.
///
/// Where the scale of the fit jumps between values below and above the scale that it was fitted with, the fixed point
/// is bracketed and bisected.
fn alternate(
    problem: &Problem,
    (mut scale, mut theta): (f64, Vec<f64>),
    choice: LossChoice,
    least: f64,
) -> (f64, ScaleEnd) {
    let weight = &problem.observations.weight;
    // A scale below the fixed point, and one above it.
    let (mut below_root, mut above_root) = (0.0, f64::INFINITY);
    let mut workspace = MinimiseWorkspace::default();
    for step in 0..MAX_ALTERNATIONS {
        if !(scale > least) {
            return (least, ScaleEnd::Vanished);
        }
        let at = Problem { loss: choice.at(scale), ..problem.clone() };
        let Some(found) = minimise(&at, weight, &theta, MAX_ITERATIONS, &mut workspace) else {
            return (scale, ScaleEnd::Unsettled);
        };
        let next = robust_scale(problem, &found);
        let slack = if found.is_settled_minimum() { SCALE_TOLERANCE } else { LIMIT_TOLERANCE };
        theta = found.theta;
        if (next - scale).abs() <= slack * scale {
            return (next, ScaleEnd::Settled);
        }
        let end = if next > scale { &mut below_root } else { &mut above_root };
        *end = scale;
        let has_bracket = below_root > 0.0 && above_root < f64::INFINITY && below_root < above_root;
        scale = if step >= BISECTION_AFTER && has_bracket { (below_root * above_root).sqrt() } else { next };
    }
    (scale, ScaleEnd::Unsettled)
}

/// Returns the size of a residual, as a fraction of σ, that rounding of the responses can cause.
fn rounding(problem: &Problem) -> f64 {
    let total: f64 = problem.observations.weight.iter().sum();
    ROUNDING_FACTOR * (problem.floor / total).sqrt()
}

/// Returns the normalised weighted median of |residual/σ|.
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
        // With half of the weight below and half above, the median is the middle of the two values.
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

/// Adds a flag to a fit.
fn remark(mut fit: Fit, flag: Flag) -> Fit {
    fit.flags.push(flag);
    fit.flags.sort_unstable();
    fit
}
