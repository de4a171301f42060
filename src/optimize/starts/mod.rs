//! Starting points: drawn from the start region of a law, with the amplitudes solved from the data.
//!
//! A scaling law is usually linear in its amplitudes. Given exponents (and an offset below the smallest response) the
//! amplitudes follow by non-negative least squares, so only the exponents need to be drawn (variable projection: Golub
//! & Pereyra 1973). They are drawn from Roberts' additive recurrence (2018), a low-discrepancy sequence in any
//! dimension that needs no tables. More points are generated than searches are made: the points are screened by their
//! objective, and searches begin at the best of them and at a spread of the others. Some hundred observations suffice
//! for that: amplitudes and objectives are those of [`Problem::sample`].
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | generating, screening and completing starts |
//! | `design` | how the coordinates of a law's starts are determined, whatever the data |
//! | `start_rules` | the interval of a parameter about which the catalogue says nothing, from the formula |
//! | `draw_interval` | drawing a coordinate from its interval, with tails beyond it |
//! | `amplitudes` | least squares with sign constraints, one system per lane |
//! | `variable_projection` | coordinates solved by linear least squares for laws that are linear in logarithms |
//! | `equation_scale` | the scale of a term in a law that is the root of an equation |
//! | `crossing` | starts for laws in which terms of unlike powers cross |
//! | `evaluator` | evaluating a problem at eight points at a time |
//! | `workspace` | the buffers of starts |
//!
//! The folder knows nothing of the searches that begin at its points.

pub mod amplitudes;
pub mod crossing;
pub mod design;
mod draw_interval;
pub mod equation_scale;
pub mod evaluator;
pub mod start_rules;
pub mod variable_projection;
pub mod workspace;

pub use workspace::StartWorkspace;

use std::ops::Range;

use crate::compile::{Coordinate, Scale};
use crate::lanes::{LANES, Pack, scalar};
use crate::law::Residual;
use crate::linalg::triangle;
use crate::optimize::starts::start_rules::StartRule;
use crate::problem::{Order, Problem, is_number};

use self::crossing::Crossing;
use self::design::{Design, Division, Given};
use self::equation_scale::balance;
use super::models::Models;
use super::points::Points;
use super::tuning::{StartTuning, Tuning};
use draw_interval::{Draw, natural_bounds};

/// The starts of one problem.
#[derive(Debug)]
pub struct Starts<'a> {
    problem: &'a Problem,
    design: &'a Design,
    tuning: &'a Tuning,
    /// The problem with its offsets at zero, where the law then has a log-linear part.
    reduced: Option<Problem>,
    /// The origin of the low-discrepancy sequence, in every dimension.
    origin: f64,
}

impl<'a> Starts<'a> {
    /// Returns the starts of a problem.
    pub fn new(models: &'a Models, problem: &'a Problem, tuning: &'a Tuning) -> Starts<'a> {
        let design = models.design();
        let log_linear = design.log_linear.as_ref().filter(|_| tuning.devices.log_linear_starts);
        let reduced = log_linear.map(|log_linear| log_linear.reduced(problem));
        Starts { problem, design, tuning, reduced, origin: 0.5 }
    }

    /// Shifts the starts by an amount that depends on the seed; a seed of zero leaves them unchanged.
    #[must_use]
    pub fn shifted(self, seed: u64) -> Starts<'a> {
        // Multiples of the golden ratio are equidistributed for any number of seeds (Weyl 1916).
        let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
        Starts { origin: (0.5 + (seed % (1 << 20)) as f64 * golden).fract(), ..self }
    }

    /// Returns the number of coordinates that are drawn: the dimension of the global search.
    #[must_use]
    pub fn n_drawn(&self) -> usize {
        self.design.open.drawn.len()
    }

    /// Returns whether terms of unlike powers cross.
    #[must_use]
    pub fn have_crossings(&self) -> bool {
        !self.crossings().is_empty()
    }

    /// Returns the crossings that starts are drawn by.
    fn crossings(&self) -> &'a [Crossing] {
        if self.tuning.devices.crossings { &self.design.crossings } else { &[] }
    }

    /// Appends up to `wanted` starts from a range of the sequence to `into`, the best objective first; fewer where
    /// fewer points have a finite objective.
    pub fn draw(
        &self,
        points: Range<usize>,
        wanted: usize,
        workspace: &mut StartWorkspace,
        into: &mut Points,
    ) {
        self.generate(&self.design.open, &[], points, workspace);
        self.screen(wanted, workspace, into);
    }

    /// Returns the regions of the starts that were drawn last, in their order. Two starts are in the same region if
    /// each of their coordinates was drawn on the same side of its interval (within, below or above).
    pub fn drawn_regions(workspace: &StartWorkspace) -> impl Iterator<Item = usize> {
        let StartWorkspace { regions, chosen, .. } = workspace;
        chosen.iter().map(|&i| regions[i])
    }

    /// Appends the user's start. Coordinates that it leaves open are drawn and solved, and the best of a few draws is
    /// taken.
    pub fn complete(&self, given: &Given, workspace: &mut StartWorkspace, into: &mut Points) {
        let division = self.design.division(&self.problem.model, |i| given[i].is_some());
        self.generate(&division, given, 0..self.tuning.starts.completions, workspace);
        self.screen(1, workspace, into);
    }

    /// Solves the amplitudes of points in solver coordinates, given their other coordinates.
    pub fn solve_amplitudes(&self, points: &mut Points, workspace: &mut StartWorkspace) {
        let division = &self.design.open;
        if division.solved.is_empty() {
            return;
        }
        std::mem::swap(points, &mut workspace.points);
        workspace.sample = self.problem.sample();
        workspace.evaluator.load(self.problem, &workspace.sample);
        solve_amplitudes(self.problem, division, self.tuning.starts.small_term, workspace);
        std::mem::swap(points, &mut workspace.points);
    }

    /// Selects starts among the generated points: the best half by objective, then the best of each region that is not
    /// represented, the rest evenly over the remaining ranks, because a point in the region of attraction of a low
    /// minimum may itself have a high objective.
    fn screen(&self, wanted: usize, workspace: &mut StartWorkspace, into: &mut Points) {
        let StartWorkspace { evaluator, points, packs, objectives, ranked, regions, chosen, .. } = workspace;
        let Problem { model, loss, .. } = self.problem;
        objectives.clear();
        for first in (0..points.len()).step_by(LANES) {
            points.pack(first, packs);
            let sums = evaluator.objective(model, *loss, Order::Value, packs);
            objectives.extend_from_slice(&sums[0].0[..points.in_pack(first)]);
        }
        ranked.clear();
        ranked.extend((0..points.len()).filter(|&i| objectives[i].is_finite()));
        ranked.sort_unstable_by(|&a, &b| objectives[a].total_cmp(&objectives[b]).then(a.cmp(&b)));
        let best = wanted.div_ceil(2).min(ranked.len());
        chosen.clear();
        chosen.extend_from_slice(&ranked[..best]);
        // The best point of every region that is not represented.
        for &i in &ranked[best..] {
            if chosen.len() < wanted && !chosen.iter().any(|&c| regions[c] == regions[i]) {
                chosen.push(i);
            }
        }
        let others = ranked.len() - best;
        let spread = (wanted - chosen.len()).min(others);
        for k in 0..spread {
            let first = best + k * others / spread;
            let next = ranked[first..].iter().find(|i| !chosen.contains(i));
            chosen.extend(next);
        }
        chosen.iter().for_each(|&i| into.push(points.point(i)));
    }

    /// Generates the points of a range of the sequence, in solver coordinates. Leaves the problem's sample loaded.
    fn generate(
        &self,
        division: &Division,
        given: &[Option<f64>],
        range: Range<usize>,
        workspace: &mut StartWorkspace,
    ) {
        let Starts { problem, design, tuning, reduced, origin } = self;
        let StartTuning { tail, small_term, .. } = tuning.starts;
        let tail = if tuning.devices.tails { tail } else { 0.0 };
        let coordinates = &problem.model.coordinates;
        let Division { drawn, ordered, steps, .. } = division;
        let StartWorkspace { sample, points, intervals, ascending, gaps, regions, .. } = workspace;
        regions.clear();
        gaps.clear();
        // Of more than 40 dimensions the numbers of regions wrap: two regions may then have one number, and one start
        // fewer is chosen for being in another region.
        let n_regions = 3_usize.wrapping_pow(drawn.len() as u32);
        *sample = problem.sample();
        intervals.clear();
        intervals.extend(drawn.iter().map(|&i| {
            let (low, high, log) = interval(problem, design, i, &coordinates[i]);
            let (low, high) = if log { (scalar::ln(low), scalar::ln(high)) } else { (low, high) };
            let bounds = natural_bounds(&coordinates[i], log);
            Draw { low, width: high - low, log, tail, bounds }
        }));
        let is_open = |draw: &&Draw| draw.bounds.0 == f64::NEG_INFINITY || draw.bounds.1 == f64::INFINITY;
        let n_open = intervals.iter().filter(is_open).count().max(2);
        intervals.iter_mut().for_each(|draw| draw.tail = tail * 2.0 / n_open as f64);
        // Where nothing is drawn all points are equal.
        let range = if drawn.is_empty() { range.start.min(1)..1 } else { range };
        points.clear(problem.p());
        points.resize(range.len());
        for (point, k) in range.enumerate() {
            let natural = points.point_mut(point);
            for (i, (value, coordinate)) in natural.iter_mut().zip(coordinates).enumerate() {
                let given = given.get(i).copied().flatten();
                *value = given.unwrap_or(f64::from(u8::from(coordinate.scale == Scale::Log)));
            }
            let mut region = 0_usize;
            for ((&i, step), draw) in drawn.iter().zip(steps).zip(intervals.iter()) {
                let u = (origin + (k as f64 + 1.0) * step).fract();
                natural[i] = draw.at(u);
                region = region.wrapping_mul(3).wrapping_add(draw.side(u));
            }
            // In every other point the crossing terms have the same size at a place within the data, and in half of
            // these points the exponent makes the crossing as sharp as a step.
            for crossing in self.crossings().iter().filter(|_| k % 2 == 1) {
                let uniform = |i: usize| {
                    let place = drawn.iter().position(|&drawn| drawn == i)?;
                    Some((origin + (k as f64 + 1.0) * steps[place]).fract())
                };
                let source = problem.observations.source(crossing.source);
                let Some((low, high)) = sizes(source) else { continue };
                let Some(u) = uniform(crossing.size) else { continue };
                let mut place = scalar::ln(low) + u * scalar::ln(high / low);
                if k % 4 == 3
                    && coordinates[crossing.exponent].high == f64::INFINITY
                    && let Some(v) = uniform(crossing.exponent)
                {
                    gaps.set(crossing.source, source, sample);
                    if let Some(step) = Crossing::draw_step(gaps, (u, v), &tuning.crossings) {
                        natural[crossing.exponent] = step.exponent;
                        place = step.place;
                        region = n_regions.wrapping_add(step.class);
                    }
                }
                natural[crossing.size] = crossing.size_at(place, natural[crossing.exponent]);
            }
            regions.push(region);
            ascending.clear();
            ascending.extend(ordered.iter().map(|&i| natural[i]));
            ascending.sort_by(f64::total_cmp);
            ordered.iter().zip(ascending.iter()).for_each(|(&i, &value)| natural[i] = value);
        }
        if let (Some(log_linear), Some(reduced), true) =
            (&design.log_linear, reduced, division.solves_log_linear)
        {
            log_linear.solve(problem, reduced, workspace);
            // Every other point has its log-linear part solved.
            workspace.regions.iter_mut().step_by(2).for_each(|region| *region = usize::MAX);
        }
        problem.to_coordinates(workspace.points.values_mut());
        workspace.evaluator.load(problem, &workspace.sample);
        if !division.solved.is_empty() {
            solve_amplitudes(problem, division, small_term, workspace);
        }
        let solves_offsets = given.is_empty() && tuning.devices.solved_offsets;
        if let Some(with_offsets) = design.with_offsets.as_ref().filter(|_| solves_offsets) {
            // The points with the log-linear part solved are the even ones.
            let StartWorkspace { points, thetas, .. } = &mut *workspace;
            thetas.clear(problem.p());
            (1..points.len()).step_by(2).for_each(|k| thetas.push(points.point(k)));
            std::mem::swap(points, thetas);
            solve_amplitudes(problem, with_offsets, small_term, workspace);
            let StartWorkspace { points, thetas, .. } = &mut *workspace;
            std::mem::swap(points, thetas);
            for k in 0..thetas.len() {
                points.point_mut(2 * k + 1).copy_from_slice(thetas.point(k));
            }
        }
        if let Some(i) = division.balanced {
            balance(problem, i, workspace);
        }
    }
}

/// Returns the middle and half-width of the interval from which a coordinate is drawn, in its own units without its
/// shift. The problem may have some of the law's parameters fixed.
pub fn start_region(models: &Models, problem: &Problem, coordinate: &Coordinate) -> (f64, f64) {
    let whole = &models.full().coordinates;
    let place = whole.iter().position(|c| c.parameter == coordinate.parameter).unwrap_or_default();
    let (low, high, _) = interval(problem, models.design(), place, coordinate);
    let (low, high) = match coordinate.scale {
        Scale::Linear => (low, high),
        Scale::Log => {
            let high = scalar::ln(high.max(f64::MIN_POSITIVE));
            (if low > 0.0 { scalar::ln(low) } else { high - 2.0 }, high)
        }
    };
    (0.5 * (low + high), 0.5 * (high - low))
}

/// Returns the interval of a coordinate in natural units, and whether it is drawn logarithmically; `i` is the
/// coordinate's place in the model without fixed parameters.
fn interval(problem: &Problem, design: &Design, i: usize, coordinate: &Coordinate) -> (f64, f64, bool) {
    let fallback = (0.1, 10.0, true);
    let source = design.sources[i].map(|source| problem.observations.source(source));
    match &design.rules[i] {
        StartRule::Between { low, high, log } => (*low, *high, *log && *low > 0.0),
        StartRule::Floor => {
            let least = problem.observations.response.iter().copied().fold(f64::INFINITY, f64::min);
            if least > 0.0 && least.is_finite() { (0.0, 0.98 * least, false) } else { (0.0, 1e-3, false) }
        }
        StartRule::Solve | StartRule::Balance => (0.0, 1.0, false),
        StartRule::Above => {
            let greatest = problem.observations.response.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if greatest > 0.0 && greatest.is_finite() {
                (1.001 * greatest, 4.0 * greatest, true)
            } else {
                fallback
            }
        }
        StartRule::Below { .. } => match source.and_then(sizes) {
            Some((low, _)) => (0.0, 0.98 * low, false),
            None => fallback,
        },
        StartRule::Location { .. } => match source.and_then(ends) {
            Some((low, high)) => (low, high, false),
            None => fallback,
        },
        StartRule::Width { .. } => match source.and_then(ends) {
            Some((low, high)) if high > low => (0.005 * (high - low), 0.5 * (high - low), true),
            _ => fallback,
        },
        StartRule::ResponseScale { expression } => {
            let size = |values: &[f64]| sizes(values).map_or(1.0, |(_, high)| high);
            let divisor = if expression.is_some() { source.map_or(1.0, size) } else { 1.0 };
            let unit = size(&problem.observations.response) / divisor;
            match coordinate.scale {
                Scale::Log => (0.01 * unit, 2.0 * unit, true),
                Scale::Linear => {
                    ((-1.5 * unit).max(coordinate.low), (1.5 * unit).min(coordinate.high), false)
                }
            }
        }
        StartRule::DataRange { inverse, .. } => {
            let Some((low, high)) = source.and_then(sizes) else { return fallback };
            let (low, high) = if *inverse { (0.1 / high, 3.0 / low) } else { (low, high) };
            let high = if high > low { high } else { 10.0 * low };
            if coordinate.low < 0.0 && coordinate.scale == Scale::Linear && coordinate.high <= 0.0 {
                (-high, -low, false)
            } else {
                (low, high, true)
            }
        }
    }
}

/// Returns the smallest and largest value of a data expression.
fn ends(values: &[f64]) -> Option<(f64, f64)> {
    let finite = values.iter().filter(|x| is_number(**x));
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)));
    (low <= high).then_some((low, high))
}

/// Returns the smallest and largest absolute value of a data expression, zeros left out.
fn sizes(values: &[f64]) -> Option<(f64, f64)> {
    let (low, high) = values
        .iter()
        .map(|x| x.abs())
        .filter(|x| *x > 0.0 && is_number(*x))
        .fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(x), high.max(x)));
    (low <= high).then_some((low, high))
}

/// Returns the observations, by position, at which the law is not finite at any generated point: no search could begin
/// with them.
pub fn never_finite(models: &Models, problem: &Problem) -> Vec<usize> {
    let mut workspace = StartWorkspace::default();
    let tuning = Tuning::default();
    let starts = Starts::new(models, problem, &tuning);
    starts.generate(&starts.design.open, &[], 0..2 * LANES, &mut workspace);
    let StartWorkspace { evaluator, points, packs, .. } = &mut workspace;
    let weighted = problem.weighted();
    evaluator.load(problem, &weighted);
    let mut finite = vec![false; weighted.len()];
    for first in (0..points.len()).step_by(LANES) {
        points.pack(first, packs);
        let (values, _) = evaluator.values(&problem.model.value, packs);
        for (flag, pack) in finite.iter_mut().zip(values) {
            *flag |= pack.0.iter().any(|v| v.is_finite());
        }
    }
    weighted.iter().zip(&finite).filter(|(_, finite)| !**finite).map(|(&i, _)| i as usize).collect()
}

/// Replaces the amplitudes of every point by the weighted least-squares solution given the other coordinates. A
/// positive amplitude that would be negative is made as large as `small_term` of the response.
fn solve_amplitudes(problem: &Problem, division: &Division, small_term: f64, workspace: &mut StartWorkspace) {
    let StartWorkspace {
        evaluator, sample, points, packs, least_squares, response, row_weight, held, ..
    } = workspace;
    let Division { solved, signs, held: kept, .. } = division;
    let model = &problem.model;
    let observations = &problem.observations;
    // Every lane holds the same observations.
    response.clear();
    row_weight.clear();
    for i in sample.iter().map(|&i| i as usize) {
        let size = match model.residual {
            // Relative errors of the prediction approximate residuals of logarithms.
            Residual::Log => observations.response[i].powi(-2),
            Residual::Linear => 1.0,
        };
        response.push(Pack::splat(observations.response[i]));
        row_weight.push(Pack::splat(observations.weight[i] * observations.sigma_at(i).powi(-2) * size));
    }
    let total = |value: &dyn Fn(usize) -> f64| (0..response.len()).map(value).sum::<f64>();
    let total_weight = total(&|k| row_weight[k].0[0]);
    let squares = total(&|k| row_weight[k].0[0] * response[k].0[0].powi(2));
    let small_size = small_term * (squares / total_weight).sqrt();

    let m = model.amplitudes.len();
    for first in (0..points.len()).step_by(LANES) {
        points.pack(first, packs);
        let sums = evaluator.amplitude_equations(model, (response, row_weight), packs);
        let gram = |a: usize, b: usize| sums[triangle(a.max(b)) + a.min(b)];
        // Amplitudes that are not solved keep their drawn or given value.
        held.clear();
        held.extend(kept.iter().map(|&k| {
            let i = model.amplitudes[k];
            Pack(packs[i].0.map(|theta| plain(&model.coordinates[i], theta)))
        }));
        let product = |a: usize| {
            Pack(std::array::from_fn(|lane| {
                let taken =
                    kept.iter().zip(held.iter()).map(|(&k, value)| gram(a, k).0[lane] * value.0[lane]);
                sums[triangle(m) + a].0[lane] - taken.sum::<f64>()
            }))
        };
        let values = least_squares.solve(|a, b| gram(solved[a], solved[b]), |a| product(solved[a]), signs);
        for lane in 0..points.in_pack(first) {
            let theta = points.point_mut(first + lane);
            for (&a, value) in solved.iter().zip(values) {
                let value = value.0[lane];
                let i = model.amplitudes[a];
                let coordinate = &model.coordinates[i];
                theta[i] = match coordinate.scale {
                    Scale::Linear => value.clamp(coordinate.low, coordinate.high),
                    Scale::Log => {
                        let size = (gram(a, a).0[lane] / total_weight).sqrt();
                        let small = small_size / size;
                        let small = if small > 0.0 && small.is_finite() { small } else { 1.0 };
                        let value = if value > 0.0 { value } else { small };
                        scalar::ln(value).clamp(coordinate.low, coordinate.high)
                    }
                };
            }
        }
    }
}

/// Returns the amplitude itself, given its coordinate.
fn plain(coordinate: &Coordinate, theta: f64) -> f64 {
    match coordinate.scale {
        Scale::Linear => theta,
        Scale::Log => scalar::exp(theta),
    }
}

#[cfg(test)]
mod tests {
    use crate::law::Residual;
    use crate::optimize::Points;
    use crate::problem::Loss;
    use crate::testing::{catalogue_law, problem};

    use super::{Draw, StartWorkspace, Starts, Tuning};

    fn starts_of(seed: u64) -> Vec<f64> {
        let x: Vec<f64> = (1..=30).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| 2.0 + 3.0 / x).collect();
        let law = catalogue_law("power-offset");
        let (models, problem) = problem(&law, Residual::Log, Loss::L2, &[("y", y), ("x", x)]);
        let mut workspace = StartWorkspace::default();
        let mut starts = Points::default();
        starts.clear(problem.p());
        Starts::new(&models, &problem, &Tuning::default()).shifted(seed).draw(
            0..32,
            8,
            &mut workspace,
            &mut starts,
        );
        (0..starts.len()).flat_map(|k| starts.point(k).to_vec()).collect()
    }

    #[test]
    fn a_seed_shifts_the_starts() {
        assert_eq!(starts_of(0), starts_of(0));
        assert_ne!(starts_of(0), starts_of(1));
        assert_ne!(starts_of(1), starts_of(2));
    }

    /// An eighth of the draws lies on either side of an interval where the domain is unbounded; none beyond a bound.
    #[test]
    fn tails_are_drawn_where_the_domain_is_unbounded() {
        let draw =
            |low: f64| Draw { low: -1.0, width: 2.0, log: false, tail: 0.125, bounds: (low, f64::INFINITY) };
        let count = |draw: Draw, is: &dyn Fn(f64) -> bool| {
            (0..800).filter(|k| is(draw.at((f64::from(*k) + 0.5) / 800.0))).count()
        };
        let (open, bounded) = (draw(f64::NEG_INFINITY), draw(-1.0));
        assert_eq!(count(open, &|x| x > 1.0), 100);
        assert_eq!(count(open, &|x| x < -1.0), 100);
        // Of widths of 2: 2·10^v exceeds 4 (beyond 1) from v = log 2 over log 10 on.
        assert_eq!(count(open, &|x| x > 5.0), 70);
        assert_eq!(count(bounded, &|x| x < -1.0), 0);
    }
}
