//! Searches that need not be finished: they are on their way to an optimum that another has found.
//!
//! Around an optimum the objective is its quadratic model there. A search whose objective and gradient are already what
//! that model says is where Newton's method converges to this optimum (Kantorovich 1948 bounds the same by the change of
//! the Hessian), and what it would find is known. A search that is elsewhere differs in one of the two.

use fearless_simd::{Level, dispatch};

use crate::lanes::Lanes;
use crate::law::{LANES, Pack};
use crate::problem::triangle;

use super::AGREEMENT;
use super::search::{Searches, is_true, load, truth};

/// An optimum that a search has found, and what the objective looks like around it.
#[derive(Clone, Copy, Debug)]
pub struct Basin<'a> {
    pub theta: &'a [f64],
    pub objective: f64,
    gradient: &'a [f64],
    /// Lower triangle by rows.
    hessian: &'a [f64],
}

/// Optima that have been found: for each its place, the objective, gradient and Hessian, one after the other.
#[derive(Debug, Default)]
pub struct Basins {
    n: usize,
    values: Vec<f64>,
}

impl Basins {
    pub fn forget(&mut self) {
        self.n = 0;
        self.values.clear();
    }

    /// The optimum of a number, in `p` coordinates.
    pub fn get(&self, p: usize, number: usize) -> Basin<'_> {
        let width = p + 1 + p + triangle(p);
        let (theta, sums) = self.values[number * width..(number + 1) * width].split_at(p);
        Basin { theta, objective: sums[0], gradient: &sums[1..=p], hessian: &sums[1 + p..] }
    }

    fn all(&self, p: usize) -> impl Iterator<Item = Basin<'_>> {
        (0..self.n).map(move |number| self.get(p, number))
    }
}

/// Optima that are remembered at most: comparing with many would cost more than it saves.
const MOST_BASINS: usize = 4;

/// A search is on its way to an optimum where objective and gradient are what the optimum's quadratic model says, to
/// this share of what they differ from the optimum's: there Newton's method has begun to converge.
const ALIKE: f64 = 0.1;

impl Searches {
    /// Remembers where a search has converged, unless it is known or enough is.
    pub fn remember(&self, lane: usize, basins: &mut Basins) {
        let p = self.theta.len();
        let objective = self.at.packs[0].0[lane];
        let same = |basin: Basin| (basin.objective - objective).abs() <= AGREEMENT * objective.abs();
        if basins.n == MOST_BASINS || basins.all(p).any(same) {
            return;
        }
        // After a last step on trust, gradient and Hessian are those of the point before it: they differ by less than
        // `ALIKE` asks for wherever a search still has a way to go.
        basins.n += 1;
        let sums = &self.at.packs[..1 + p + triangle(p)];
        basins.values.extend(self.theta.iter().chain(sums).map(|pack| pack.0[lane]));
    }

    /// The searches that are on their way to a known optimum, and to which.
    pub fn entered(&self, level: Level, basins: &Basins) -> [Option<usize>; LANES] {
        let mut entered = [None; LANES];
        for (number, basin) in basins.all(self.theta.len()).enumerate() {
            let alike = dispatch!(level, simd => self.alike::<fearless_simd::f64x8<_>>(simd, &basin));
            for (lane, entry) in entered.iter_mut().enumerate().filter(|(lane, _)| alike.0[*lane] == 1.0) {
                // A search that is below an optimum cannot be on its way to it.
                if self.at.packs[0].0[lane] >= basin.objective {
                    *entry = entry.or(Some(number));
                }
            }
        }
        entered
    }

    /// 1 where objective and gradient are as the quadratic model around an optimum has them.
    #[inline(always)]
    fn alike<L: Lanes>(&self, token: L::Token, basin: &Basin) -> Pack {
        let p = self.theta.len();
        let zero = L::splat(token, 0.0);
        let away = |i: usize| load::<L>(token, &self.theta[i]) - L::splat(token, basin.theta[i]);
        let mut excess = zero;
        let (mut error, mut size) = (zero, zero);
        for i in 0..p {
            let mut bend = zero;
            for j in 0..p {
                let k = if i >= j { triangle(i) + j } else { triangle(j) + i };
                bend = L::splat(token, basin.hessian[k]).mul_add(away(j), bend);
            }
            let slope = L::splat(token, basin.gradient[i]);
            excess = (slope + bend * bend.fill(0.5)).mul_add(away(i), excess);
            let wrong = load::<L>(token, &self.at.packs[1 + i]) - (slope + bend);
            // Coordinates differ in units: each by its own curvature.
            let unit = L::splat(token, 1.0 / basin.hessian[triangle(i) + i].abs().max(f64::MIN_POSITIVE));
            error = (wrong * wrong).mul_add(unit, error);
            size = (bend * bend).mul_add(unit, size);
        }
        let found = load::<L>(token, &self.at.packs[0]) - L::splat(token, basin.objective);
        let started = is_true::<L>(token, &self.started);
        let share = zero.fill(ALIKE);
        let alike =
            started & (found - excess).abs().le(share * excess.abs()) & error.le(share * share * size);
        let mut flags = Pack::ZERO;
        truth(alike, zero.fill(1.0)).store(&mut flags.0);
        flags
    }
}

#[cfg(test)]
mod tests {
    use crate::law::Residual;
    use crate::problem::{Loss, Part};
    use crate::solve::search::Ending;
    use crate::solve::{Batch, Kind, Points, Starts, Task, terrain};
    use crate::testing::{Uniform, problem, typed_law};

    use super::AGREEMENT;

    /// Searches on a law with many optima end, abandoned or not, in the optimum that each finds when left alone.
    #[test]
    fn abandoned_searches_would_have_ended_there() {
        let law = typed_law("y ~ a*sin(b*x) + c where b in [0.2, 6]", &["x", "y"]);
        let mut uniform = Uniform(3);
        let x: Vec<f64> = (0..40).map(|i| 0.2 * f64::from(i)).collect();
        let y: Vec<f64> =
            x.iter().map(|x| 1.5 * (2.3 * x).sin() + 0.7 + uniform.between(-0.3, 0.3)).collect();
        let (models, problem) = problem(&law, Residual::Linear, Loss::L2, &[("y", y), ("x", x)]);
        let mut batch = Batch::default();
        let mut starts = Points::default();
        starts.clear(problem.p());
        Starts::new(&models, &problem).draw(0..128, 128, &mut batch, &mut starts);
        let terrain = terrain(&problem);
        let mut run = |abandon: bool| {
            let kind = Kind { abandon, ..Kind::of(&problem, &terrain) };
            let (rows, weight) = problem.taking_part();
            let part = Part { rows: &rows, weight: &weight };
            let task = |i: usize| Task::new(&problem, &terrain, part, starts.point(i));
            let mut ended = vec![(f64::NAN, Ending::NotFinite); starts.len()];
            batch.forget();
            batch.run(kind, starts.len(), task, |end| ended[end.task] = (end.objective, end.ending));
            ended
        };
        let (alone, together) = (run(false), run(true));
        let abandoned = together.iter().filter(|(_, ending)| matches!(ending, Ending::Abandoned(_))).count();
        assert!(abandoned >= 12, "{abandoned}");
        let mut optima: Vec<f64> = alone.iter().map(|(objective, _)| *objective).collect();
        optima.sort_by(f64::total_cmp);
        optima.dedup_by(|a, b| (*a - *b).abs() <= AGREEMENT * *b);
        assert!(optima.len() >= 4, "{optima:?}");
        for (i, ((alone, _), (together, ending))) in alone.iter().zip(&together).enumerate() {
            assert!((alone - together).abs() <= AGREEMENT * alone, "{i}: {alone} {together} {ending:?}");
        }
    }
}
