//! Approach 1: the lower envelope of training curves at log-spaced compute, then a power law through the sizes on it.

use super::{Approach, ApproachTables, MIN_REPLICATES, Run, Sweeps};
use crate::error::Error;
use crate::infer::replicate_interval;
use crate::input::Source;
use crate::lanes::scalar;
use crate::questions::AnswerTable;

/// The number of values of the compute at which the envelope is taken, as in the publication.
const LEVELS: usize = 1500;

/// The number of rows of the table per sweep.
const SHOWN_LEVELS: usize = 31;

/// A training curve: the response of one size as the compute grows, with log compute ascending.
struct Curve {
    size: f64,
    points: Vec<(f64, f64)>,
}

impl Curve {
    /// Returns the response at a log compute by linear interpolation; none beyond the curve.
    fn at(&self, log_cost: f64) -> Option<f64> {
        let above = self.points.partition_point(|(x, _)| *x < log_cost);
        let &(x, y) = self.points.get(above)?;
        if x == log_cost {
            return Some(y);
        }
        let &(x0, y0) = self.points.get(above.checked_sub(1)?)?;
        Some(y0 + (log_cost - x0) / (x - x0) * (y - y0))
    }
}

/// Returns the least response at each level, and the size that reaches it, over the curves whose numbers are given.
fn lower(curves: &[Curve], drawn: &[usize], levels: &[f64]) -> Vec<Option<(f64, f64)>> {
    let at = |level: &f64| {
        let reached = drawn.iter().filter_map(|&k| Some((curves[k].at(*level)?, curves[k].size)));
        reached.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)))
    };
    levels.iter().map(at).collect()
}

/// Returns the training curves of a sweep: one per size. Of several rows with one compute, the lowest counts.
fn curves(runs: &[Run]) -> Vec<Curve> {
    let mut runs = runs.to_vec();
    runs.sort_by(|a, b| {
        a.size.total_cmp(&b.size).then(a.cost.total_cmp(&b.cost)).then(a.response.total_cmp(&b.response))
    });
    let curve = |group: &[Run]| {
        let mut points: Vec<(f64, f64)> =
            group.iter().map(|run| (scalar::ln(run.cost), run.response)).collect();
        points.dedup_by(|later, earlier| later.0 == earlier.0);
        Curve { size: group[0].size, points }
    };
    runs.chunk_by(|a, b| a.size == b.size).map(curve).collect()
}

/// Returns the envelope at some of its levels, and the frontier through it. A replicate draws training curves, each of one
/// size, with replacement.
///
/// # Errors
/// If the columns are not there, or the input cannot be read.
pub fn envelope(source: &dyn Source, approach: &Approach) -> Result<ApproachTables, Error> {
    let Sweeps { contents, left_out, has_tokens, sweeps } = approach.read(source)?;
    let (mut shown, mut frontier) = (AnswerTable::default(), AnswerTable::default());
    for (number, (runs, key_digest)) in sweeps.iter().enumerate() {
        let curves = curves(runs);
        let costs = || runs.iter().map(|run| scalar::ln(run.cost));
        let (low, high) = (costs().fold(f64::INFINITY, f64::min), costs().fold(f64::NEG_INFINITY, f64::max));
        let level = |k: usize| low + (high - low) * k as f64 / (LEVELS - 1) as f64;
        let levels: Vec<f64> = (0..if low < high { LEVELS } else { 0 }).map(level).collect();
        let power_law = |drawn: &[usize]| {
            let least = levels.iter().zip(lower(&curves, drawn, &levels));
            approach.power_law(
                &least.filter_map(|(x, least)| Some((scalar::exp(*x), least?.1))).collect::<Vec<_>>(),
            )
        };
        let all: Vec<usize> = (0..curves.len()).collect();
        let estimate = power_law(&all);
        let places: Vec<f64> = levels.iter().copied().step_by((LEVELS - 1) / (SHOWN_LEVELS - 1)).collect();
        let replicates = approach.replicates("envelope", key_digest, curves.len(), |drawn| {
            (power_law(drawn), lower(&curves, drawn, &places))
        });
        for (place, (level, least)) in places.iter().zip(lower(&curves, &all, &places)).enumerate() {
            let Some((loss, size)) = least else { continue };
            let sizes = replicates.iter().filter_map(|(_, least)| Some(least[place]?.1));
            let mut sizes: Vec<f64> = sizes.collect();
            let is_known = sizes.len() >= MIN_REPLICATES && sizes.len() * 10 >= approach.bootstrap * 9;
            let interval =
                replicate_interval(size, &mut sizes, &[], approach.confidence).filter(|_| is_known);
            let n_curves = curves.iter().filter(|curve| curve.at(*level).is_some()).count();
            shown.fits.push(number as u32);
            shown.number("budget", scalar::exp(*level));
            shown.number("size", size);
            shown.interval("size_low", "size_high", interval.map(|(interval, _)| interval));
            shown.number("loss", loss);
            shown.number("curvature", f64::NAN);
            shown.number("n_points", n_curves as f64);
            shown.number("confidence", approach.confidence);
            shown.text("status", if n_curves > 1 { "optimal" } else { "one_curve" });
            let alone = "only one training curve has this compute, so nothing is compared";
            shown.text("message", if n_curves > 1 { "" } else { alone });
        }
        let own: Vec<f64> = places.iter().map(|x| scalar::exp(*x)).collect();
        let costs = if approach.costs.is_empty() { &own } else { &approach.costs };
        let laws: Vec<Option<(f64, f64)>> = replicates.iter().map(|(law, _)| *law).collect();
        let message =
            if estimate.is_some() { "" } else { "there are no training curves of different compute" };
        frontier.fits.extend(std::iter::repeat_n(number as u32, costs.len()));
        approach.add_frontier(&mut frontier, "envelope", costs, (estimate, &laws), has_tokens, message);
    }
    let optima = Approach::batch(&contents, shown)?;
    Ok(ApproachTables { left_out, optima, frontier: Approach::batch(&contents, frontier)? })
}
