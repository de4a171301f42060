//! Approach 2: per budget a parabola of the response in the logarithm of the size, then a power law through its vertices.

use super::least_squares::{Parabola, parabola};
use super::{Approach, ApproachTables, MIN_REPLICATES, Run, Sweeps};
use crate::error::Error;
use crate::infer::replicate_interval;
use crate::input::Source;
use crate::lanes::scalar;
use crate::questions::AnswerTable;

/// The relative difference up to which two costs are one budget.
const SAME_BUDGET: f64 = 1e-6;

/// Returns the parabola of some runs; none where fewer than three sizes differ.
fn parabola_of<'a>(runs: impl Iterator<Item = &'a Run>) -> Option<Parabola> {
    parabola(&runs.map(|run| (scalar::ln(run.size), run.response)).collect::<Vec<_>>())
}

/// Returns a parabola that opens upwards.
fn with_minimum(parabola: Option<Parabola>) -> Option<Parabola> {
    parabola.filter(|parabola| parabola.curvature > 0.0 && parabola.vertex.is_finite())
}

/// Returns whether the vertex of a parabola lies within the sizes of its runs.
fn is_inside(runs: &[Run], parabola: &Parabola) -> bool {
    let sizes = || runs.iter().map(|run| scalar::ln(run.size));
    sizes().any(|size| size <= parabola.vertex) && sizes().any(|size| size >= parabola.vertex)
}

/// Returns the optimum of each budget, and the frontier through them. A replicate draws runs with replacement within each
/// budget, so that the design stays what it is; the vertices that count are those that count in the sweep.
///
/// # Errors
/// If the columns are not there, or the input cannot be read.
pub fn isoflop(source: &dyn Source, approach: &Approach) -> Result<ApproachTables, Error> {
    let Sweeps { contents, left_out, has_tokens, sweeps } = approach.read(source)?;
    let (mut optima, mut frontier) = (AnswerTable::default(), AnswerTable::default());
    for (number, (runs, key_digest)) in sweeps.iter().enumerate() {
        let mut runs = runs.clone();
        runs.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.size.total_cmp(&b.size)));
        // Budgets that are products of sizes and tokens differ by rounding.
        let budgets: Vec<&[Run]> = runs.chunk_by(|a, b| b.cost <= a.cost * (1.0 + SAME_BUDGET)).collect();
        let found: Vec<Option<Parabola>> = budgets.iter().map(|budget| parabola_of(budget.iter())).collect();
        let counts =
            |k: usize| with_minimum(found[k]).is_some_and(|parabola| is_inside(budgets[k], &parabola));
        let power_law = |parabolas: &dyn Fn(usize) -> Option<Parabola>| {
            let point =
                |k: usize| Some((budgets[k][0].cost, scalar::exp(with_minimum(parabolas(k))?.vertex)));
            approach
                .power_law(&(0..budgets.len()).filter(|&k| counts(k)).filter_map(point).collect::<Vec<_>>())
        };
        // The parabolas of each budget in each replicate.
        let refit = |(k, budget): (usize, &&[Run])| {
            approach.replicates(&format!("isoflop/{k}"), key_digest, budget.len(), |drawn| {
                parabola_of(drawn.iter().map(|&run| &budget[run]))
            })
        };
        let replicates: Vec<Vec<Option<Parabola>>> = budgets.iter().enumerate().map(refit).collect();
        for (k, budget) in budgets.iter().enumerate() {
            let vertex = with_minimum(found[k]);
            let sizes = replicates[k].iter().filter_map(|p| Some(scalar::exp(with_minimum(*p)?.vertex)));
            let mut sizes: Vec<f64> = sizes.collect();
            let is_known = sizes.len() >= MIN_REPLICATES && sizes.len() * 10 >= approach.bootstrap * 9;
            let interval = vertex.filter(|_| is_known).and_then(|parabola| {
                replicate_interval(scalar::exp(parabola.vertex), &mut sizes, &[], approach.confidence)
            });
            let (status, message) = match found[k] {
                None => ("few_sizes", "fewer than three different sizes"),
                Some(_) if vertex.is_none() => {
                    ("opens_downwards", "the parabola opens downwards, so it has no least value")
                }
                Some(_) if !counts(k) => (
                    "outside",
                    "the vertex lies outside the sizes of its budget, and is left out of the power law",
                ),
                Some(_) => ("optimal", ""),
            };
            optima.fits.push(number as u32);
            optima.number("budget", budget[0].cost);
            optima.number("size", vertex.map_or(f64::NAN, |parabola| scalar::exp(parabola.vertex)));
            optima.interval("size_low", "size_high", interval.map(|(interval, _)| interval));
            optima.number("loss", vertex.map_or(f64::NAN, |parabola| parabola.value));
            optima.number("curvature", found[k].map_or(f64::NAN, |parabola| parabola.curvature));
            optima.number("n_points", budget.len() as f64);
            optima.number("confidence", approach.confidence);
            optima.text("status", status);
            optima.text("message", message);
        }
        let own: Vec<f64> = budgets.iter().map(|budget| budget[0].cost).collect();
        let costs = if approach.costs.is_empty() { &own } else { &approach.costs };
        let laws: Vec<Option<(f64, f64)>> =
            (0..approach.bootstrap).map(|r| power_law(&|k| replicates[k][r])).collect();
        let estimate = power_law(&|k| found[k]);
        let message =
            if estimate.is_some() { "" } else { "fewer than two budgets have an optimum within their data" };
        frontier.fits.extend(std::iter::repeat_n(number as u32, costs.len()));
        approach.add_frontier(&mut frontier, "isoflop", costs, (estimate, &laws), has_tokens, message);
    }
    let optima = Approach::batch(&contents, optima)?;
    Ok(ApproachTables { left_out, optima, frontier: Approach::batch(&contents, frontier)? })
}
