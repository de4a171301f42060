//! Optima of one problem that searches have found, and searches that are abandoned because they converge to one of
//! them.
//!
//! Near an optimum the objective equals its quadratic model there. A search at which both objective and gradient agree
//! with the model is in the region from which Newton's method converges to the optimum (Kantorovich 1948 bounds that
//! region by the change of the Hessian), so its result is known. A search that converges elsewhere disagrees in one of
//! the two.

use fearless_simd::{Level, dispatch};

use crate::lanes::{LANES, Lanes, Pack, is_true, load, truth};
use crate::linalg::triangle;

use super::state::Searches;
use crate::optimize::agreement_limit;
use crate::optimize::tuning::KnownOptimaTuning;

/// The optima of one problem. Each holds the point, objective, gradient and Hessian (lower triangle by rows), one after
/// the other, in solver coordinates.
///
/// An optimum that is recorded becomes visible when it is published, in the order of the searches' numbers: which
/// searches are abandoned does not depend on how fast searches run beside one another.
#[derive(Clone, Debug, Default)]
pub struct KnownOptima {
    p: usize,
    known: Vec<f64>,
    /// Numbers of the searches that have converged since the last call of `publish`, ascending.
    numbers: Vec<usize>,
    /// The optima of these searches, in the order of `numbers`.
    found: Vec<f64>,
}

/// Returns the number of values that one optimum takes in `p` coordinates.
fn width(p: usize) -> usize {
    p + 1 + p + triangle(p)
}

impl KnownOptima {
    /// Removes all optima and sets the number of coordinates to `p`.
    pub fn forget(&mut self, p: usize) {
        self.p = p;
        self.known.clear();
        self.numbers.clear();
        self.found.clear();
    }

    /// Returns whether no optimum is published.
    pub fn none_known(&self) -> bool {
        self.known.is_empty()
    }

    /// Records the optimum of the search with this number.
    pub fn note(&mut self, number: usize, optimum: &[f64]) {
        let place = self.numbers.partition_point(|&n| n < number);
        self.numbers.insert(place, number);
        let place = place * width(self.p);
        self.found.splice(place..place, optimum.iter().copied());
    }

    /// Publishes the recorded optima that are new, up to `max_kept`; `floor` is the problem's.
    pub fn publish(&mut self, floor: f64, max_kept: usize) {
        let KnownOptima { p, known, numbers, found } = self;
        let width = width(*p);
        for optimum in found.chunks(width) {
            let objective = optimum[*p];
            let same = |known: &[f64]| {
                let (lower, higher) = (known[*p].min(objective), known[*p].max(objective));
                higher <= agreement_limit(lower, floor)
            };
            if known.len() < max_kept * width && !known.chunks(width).any(same) {
                known.extend_from_slice(optimum);
            }
        }
        numbers.clear();
        found.clear();
    }
}

/// The published optima of the problem in each lane.
#[derive(Debug, Default)]
pub struct KnownInLanes {
    /// The number of optima per lane.
    n: [usize; LANES],
    optima: Vec<Pack>,
}

impl KnownInLanes {
    /// Removes the optima of all lanes and makes room for up to `max_kept` in `p` coordinates.
    pub fn forget(&mut self, p: usize, max_kept: usize) {
        self.n = [0; LANES];
        self.optima.resize(max_kept * width(p), Pack::ZERO);
    }

    /// Copies the published optima of a problem to a lane.
    pub fn set(&mut self, lane: usize, optima: &KnownOptima) {
        self.n[lane] = optima.known.len() / width(optima.p);
        for (pack, &value) in self.optima.iter_mut().zip(&optima.known) {
            pack.0[lane] = value;
        }
    }

    /// Returns the point and the objective of an optimum of a lane.
    pub fn get(&self, p: usize, lane: usize, number: usize) -> (impl Iterator<Item = f64>, f64) {
        let optimum = &self.optima[number * width(p)..(number + 1) * width(p)];
        (optimum[..p].iter().map(move |pack| pack.0[lane]), optimum[p].0[lane])
    }
}

impl Searches {
    /// Returns, per lane, the number of a known optimum that the search converges to, if there is one.
    pub fn near_known_optimum(
        &self,
        level: Level,
        known: &KnownInLanes,
        tuning: &KnownOptimaTuning,
    ) -> [Option<usize>; LANES] {
        let mut near_known_optimum = [None; LANES];
        let most = known.n.iter().copied().max().unwrap_or(0);
        let p = self.theta.len();
        for (number, optimum) in known.optima.chunks(width(p)).take(most).enumerate() {
            let matches_model = dispatch!(level, simd => self.matches_model::<fearless_simd::f64x8<_>>(simd, optimum, tuning.model_tolerance));
            for (lane, entry) in near_known_optimum.iter_mut().enumerate() {
                // A search that is below an optimum cannot be on its way to it.
                let above = self.at.packs[0].0[lane] >= optimum[p].0[lane];
                if number < known.n[lane] && matches_model.0[lane] == 1.0 && above {
                    *entry = entry.or(Some(number));
                }
            }
        }
        near_known_optimum
    }

    /// Returns 1 in the lanes in which objective and gradient agree with the quadratic model of an optimum, 0
    /// elsewhere.
    #[inline(always)]
    fn matches_model<L: Lanes>(&self, token: L::Token, optimum: &[Pack], tolerance: f64) -> Pack {
        let p = self.theta.len();
        let zero = L::splat(token, 0.0);
        let (theta, sums) = optimum.split_at(p);
        let (gradient, hessian) = sums[1..].split_at(p);
        let displacement = |i: usize| load::<L>(token, &self.theta[i]) - load(token, &theta[i]);
        let mut model_excess = zero;
        let (mut error, mut size) = (zero, zero);
        for i in 0..p {
            let mut hessian_step = zero;
            for j in 0..p {
                let k = if i >= j { triangle(i) + j } else { triangle(j) + i };
                hessian_step = load::<L>(token, &hessian[k]).mul_add(displacement(j), hessian_step);
            }
            let slope = load::<L>(token, &gradient[i]);
            model_excess =
                (slope + hessian_step * hessian_step.fill(0.5)).mul_add(displacement(i), model_excess);
            let difference = load::<L>(token, &self.at.packs[1 + i]) - (slope + hessian_step);
            // Coordinates differ in units: each is weighted by its own curvature.
            let curvature = load::<L>(token, &hessian[triangle(i) + i]).abs();
            let unit = zero.fill(1.0) / curvature.max(zero.fill(f64::MIN_POSITIVE));
            error = (difference * difference).mul_add(unit, error);
            size = (hessian_step * hessian_step).mul_add(unit, size);
        }
        let found = load::<L>(token, &self.at.packs[0]) - load(token, &sums[0]);
        let started = is_true::<L>(token, &self.started);
        let tolerance = zero.fill(tolerance);
        let matches_model = started
            & (found - model_excess).abs().le(tolerance * model_excess.abs())
            & error.le(tolerance * tolerance * size);
        let mut flags = Pack::ZERO;
        truth(matches_model, zero.fill(1.0)).store(&mut flags.0);
        flags
    }
}

#[cfg(test)]
mod tests {
    use crate::law::Residual;
    use crate::optimize::levenberg_marquardt::Ending;
    use crate::optimize::multistart::lane_scheduler::{self, SearchGroup};
    use crate::optimize::{Points, Starts, Task, TaskKind, Tuning, Workspace, settings};
    use crate::problem::{Loss, Part};
    use crate::testing::{Uniform, problem, typed_law};

    use crate::optimize::AGREEMENT;

    use super::KnownOptima;

    /// Where the fit is exact, objectives are what rounding leaves of them: that they differ does not tell optima apart.
    #[test]
    fn optima_within_the_rounding_floor_are_one() {
        let published = |objectives: [f64; 2], floor: f64| {
            let mut optima = KnownOptima::default();
            optima.forget(1);
            // Place, objective, gradient, Hessian.
            for (number, objective) in objectives.into_iter().enumerate() {
                optima.note(number, &[0.0, objective, 0.0, 1.0]);
            }
            optima.publish(floor, 4);
            optima.known.len() / 4
        };
        assert_eq!(published([1e-28, 5e-28], 1e-30), 1);
        assert_eq!(published([5e-28, 1e-28], 1e-30), 1);
        assert_eq!(published([1e-28, 5e-27], 1e-30), 2);
        assert_eq!(published([1.0, 1.0 + 0.5 * AGREEMENT], 0.0), 1);
        assert_eq!(published([1.0, 1.0 + 2.0 * AGREEMENT], 0.0), 2);
    }

    /// On a law with many optima, a search that is abandoned is abandoned for the optimum that it finds when run alone.
    #[test]
    fn abandoned_searches_would_have_ended_there() {
        let law = typed_law("y ~ a*sin(b*x) + c where b in [0.2, 6]", &["x", "y"]);
        let mut uniform = Uniform(3);
        let x: Vec<f64> = (0..40).map(|i| 0.2 * f64::from(i)).collect();
        let y: Vec<f64> =
            x.iter().map(|x| 1.5 * (2.3 * x).sin() + 0.7 + uniform.between(-0.3, 0.3)).collect();
        let (models, problem) = problem(&law, Residual::Linear, Loss::L2, &[("y", y), ("x", x)]);
        let mut workspace = Workspace::default();
        let mut starts = Points::default();
        starts.clear(problem.p());
        let tuning = Tuning::default();
        Starts::new(&models, &problem, &tuning).draw(0..128, 128, &mut workspace.search.starts, &mut starts);
        let settings = settings(&problem, &tuning);
        let (rows, weight) = problem.taking_part();
        let part = Part::new(&rows, &weight);
        let mut alone = vec![f64::NAN; starts.len()];
        let task = |i: usize| Task::new(&problem, &settings, part, starts.point(i));
        workspace.lanes().run(TaskKind::of(&problem, &settings), starts.len(), task, |end| {
            alone[end.task] = end.objective
        });
        let (mut ends, mut together, mut optima) = (Points::default(), Vec::new(), KnownOptima::default());
        ends.clear(problem.p());
        optima.forget(problem.p());
        let mut evaluations = 0;
        lane_scheduler::search(
            [SearchGroup {
                problem: &problem,
                settings: &settings,
                part,
                starts: &starts,
                ends: &mut ends,
                outcomes: &mut together,
                optima: &mut optima,
                evaluations: &mut evaluations,
            }],
            workspace.lanes(),
        );
        assert_eq!(evaluations, together.iter().map(|o| u64::from(o.iterations)).sum::<u64>());
        let abandoned = together.iter().filter(|o| matches!(o.ending, Ending::Abandoned(_))).count();
        assert!(abandoned >= 12, "{abandoned}");
        let mut optima = alone.clone();
        optima.sort_by(f64::total_cmp);
        optima.dedup_by(|a, b| (*a - *b).abs() <= AGREEMENT * *b);
        assert!(optima.len() >= 4, "{optima:?}");
        assert_eq!(together.len(), starts.len());
        for outcome in &together {
            let alone = alone[outcome.start];
            assert!((alone - outcome.objective).abs() <= AGREEMENT * alone, "{alone} {outcome:?}");
        }
    }
}
