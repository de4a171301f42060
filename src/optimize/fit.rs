//! One fit from its starts to its verdict: searches from all starts, the best finished, the edges of the domain tried, the
//! result judged.

use std::sync::Arc;

use crate::compile::{Coordinate, Role};
use crate::law::{Law, Residual};
use crate::problem::{Loss, Problem};

use super::agreement_limit;
use super::boundary::at_edges_of;
use super::diagnosis::collinearity::collinear;
use super::diagnosis::identifiability::Identification;
use super::diagnosis::judge;
use super::infinity::Escape;
use super::infinity::{Landscape, landscape};
use super::models::Models;
use super::multistart::{Exchange, Member, SearchWorkspace, Searched, rounds};
use super::newton::{Finished, minimise};
use super::options::{Asked, FitOptions};
use super::outcome::{End, Fit, Status};
use super::representative::{Choice, represent};
use super::starts::Starts;
use super::starts::design::Given;
use super::workspace::Workspace;

/// Times that collinear terms exchange their roles.
const MOST_EXCHANGES: usize = 3;

/// Fits one problem: searches from all starts, finishes the best, tries the edges, judges the result.
pub fn fit(models: &Models, problem: Problem, options: &FitOptions, workspace: &mut Workspace) -> Fit {
    let mut fits = fit_many(models, vec![problem], options, workspace);
    fits.remove(0)
}

/// Fits problems of one law under one loss, whose searches share the vectors. Each has the bits that it has alone.
pub fn fit_many(
    models: &Models,
    problems: Vec<Problem>,
    options: &FitOptions,
    workspace: &mut Workspace,
) -> Vec<Fit> {
    // Taken, not borrowed: the searches are made by the batch that keeps them.
    let mut searched = std::mem::take(&mut workspace.searched);
    searched.resize_with(problems.len().max(searched.len()), Searched::default);
    let refusals: Vec<Option<String>> = problems.iter().map(refusal).collect();
    let mut members = Vec::with_capacity(problems.len());
    for ((problem, refusal), searched) in problems.iter().zip(&refusals).zip(&mut searched) {
        searched.begin(problem);
        if refusal.is_none() && problem.p() > 0 {
            let mut starts =
                Starts::with(models, problem, std::mem::take(&mut searched.vectors)).moved(options.seed);
            if begin_at_given(models.law(), problem, &starts, options, searched, &mut workspace.search) {
                searched.vectors = starts.take_vectors();
            } else {
                members.push(Member::new(problem, starts, searched));
            }
        }
    }
    rounds(members, options, &mut workspace.search);
    let finish = |((problem, refusal), searched): ((Problem, Option<String>), &mut Searched)| match refusal {
        Some(message) => without_solution(models.law().parameters.len(), problem, 0, message),
        None => finish(models, problem, options, searched, workspace),
    };
    let fits = problems.into_iter().zip(refusals).zip(&mut searched).map(finish).collect();
    workspace.searched = searched;
    fits
}

/// Searches from the user's own start, if there is one; true if from it alone.
fn begin_at_given(
    law: &Law,
    problem: &Problem,
    starts: &Starts,
    options: &FitOptions,
    searched: &mut Searched,
    workspace: &mut SearchWorkspace,
) -> bool {
    if options.user_start.is_empty() {
        return false;
    }
    let value = |c: &Coordinate| options.start_of(&law.parameters[c.parameter].name);
    let given: Given = problem.model.coordinates.iter().map(value).collect();
    starts.complete(&given, &mut workspace.drafts, &mut searched.starts);
    let alone = options.starts == Some(1);
    if alone {
        searched.alone(problem, options.solver, workspace);
    } else {
        searched.search(problem, options.solver, workspace);
    }
    alone
}

/// What remains to be done when the searches have been made.
fn finish(
    models: &Models,
    problem: Problem,
    options: &FitOptions,
    searched: &mut Searched,
    workspace: &mut Workspace,
) -> Fit {
    let law = models.law();
    let collinear = collinear(models, &problem, &mut workspace.variables);
    if problem.p() == 0 {
        let Some(solution) = minimise(&problem, &problem.observations.weight, &[], 0) else {
            let message = "the law has no finite value; check its fixed parameters and the data".to_string();
            return without_solution(law.parameters.len(), problem, 0, message);
        };
        let end = End { problem, edges: Vec::new(), solution, iterations: 0, escape: None, rests: false };
        return judge(models, end, collinear.as_ref(), searched, workspace);
    }
    if searched.best.is_none() {
        searched.finish(&problem);
    }
    let collinear = collinear.as_ref();
    let same_variable = collinear.filter(|c| c.is_same_variable());
    if let Some(collinear) = same_variable {
        let starts = Starts::new(models, &problem);
        let exchange =
            Exchange { law, problem: &problem, collinear, starts: &starts, solver: options.solver };
        // Where the exchanged optimum is the lower one, its own exchange may be its rival.
        for _ in 0..MOST_EXCHANGES {
            if !searched.exchange(&exchange, &mut workspace.search) {
                break;
            }
        }
    }
    let Some((solution, iterations)) = searched.best.take() else {
        let message = "the law has no finite value at any start; check its domains and the data".to_string();
        return without_solution(law.parameters.len(), problem, searched.starts.len(), message);
    };
    let end = End { problem, edges: Vec::new(), solution, iterations, escape: None, rests: false };
    let end = end.settle(models, options.asked, workspace).represented(models, options);
    if let Some(collinear) = same_variable
        && end.edges.is_empty()
    {
        // Settled, perhaps below all that was searched: so may be its exchange.
        let starts = Starts::new(models, &end.problem);
        let exchange =
            Exchange { law, problem: &end.problem, collinear, starts: &starts, solver: options.solver };
        searched.search_exchanged(&exchange, &end.solution.theta, &mut workspace.search);
    }
    judge(models, end, collinear, searched, workspace)
}

impl End {
    /// Tries the edges of the domain; where that does not end in a certified point that is settled and determined, looks
    /// where the objective leads.
    fn settle(self, models: &Models, asked: Asked, workspace: &mut Workspace) -> End {
        if asked == Asked::Point {
            return self.at_edges(models, |_| true);
        }
        // Without an amplitude the law is simpler; without another parameter it may be none.
        let mut end = self.at_edges(models, |role| matches!(role, Role::Amplitude | Role::Offset));
        if end.is_clear(workspace) {
            let edges = end.edges.len();
            end = end.at_edges(models, |_| true);
            if end.edges.len() == edges || end.is_clear(workspace) {
                return end;
            }
        }
        let escape = end.survey(models, workspace);
        if escape.as_ref().is_some_and(|escape| !escape.is_edge()) {
            return End { escape, ..end };
        }
        let edges = end.edges.len();
        end = end.at_edges(models, |_| true);
        if end.edges.len() == edges {
            return End { escape, ..end };
        }
        if !end.is_clear(workspace) {
            end.escape = end.survey(models, workspace);
        }
        end
    }

    /// The same minimum by the parameters that are reported.
    fn represented(self, models: &Models, options: &FitOptions) -> End {
        let End { problem, edges, solution, escape, .. } = &self;
        if escape.is_some() || models.symmetries().is_empty() {
            return self;
        }
        let given: Vec<Option<f64>> =
            models.law().parameters.iter().map(|p| options.start_of(&p.name)).collect();
        let choice = if options.user_start.is_empty() { Choice::Canonical } else { Choice::Nearest(&given) };
        match represent(models, problem, edges, solution, choice) {
            Some((problem, edges, solution)) => End { problem, edges, solution, ..self },
            None => self,
        }
    }

    fn at_edges(self, models: &Models, of: impl Fn(Role) -> bool) -> End {
        let End { problem, edges, solution, .. } = self;
        let observations = Arc::clone(&problem.observations);
        let weight = &observations.weight;
        let (problem, edges, solution) = at_edges_of(models, problem, weight, solution, edges, of);
        End { problem, edges, solution, ..self }
    }

    /// Looks where the objective leads from the point, and goes there: to a minimum, or some way along an escape.
    fn survey(&mut self, models: &Models, workspace: &mut Workspace) -> Option<Escape> {
        self.rests = false;
        let (found, escape) =
            match landscape(models, &self.problem, &self.solution, &mut workspace.search.drafts) {
                Landscape::Minimum(found) => (found, None),
                Landscape::Unbounded(escape, found) => (found, Some(escape)),
                Landscape::Unknown => return None,
            };
        self.rests = escape.is_none();
        self.iterations += found.iterations;
        // Where the data leaves a direction free, one point of it is as good as another.
        let stays = self.rests && self.solution.certificate.holds() && {
            let limit = agreement_limit(found.rows.objective, self.problem.floor);
            let mut is_free = |at: &Finished| {
                workspace.factor.set(&self.problem, &at.rows, &at.free);
                !workspace.factor.undetermined().is_empty()
            };
            self.solution.rows.objective <= limit && is_free(&self.solution) && is_free(&found)
        };
        if !stays {
            self.solution = found;
        }
        escape
    }

    /// Whether the point is a minimum and the data determines it, as far as can be told from the point itself.
    fn is_clear(&self, workspace: &mut Workspace) -> bool {
        self.solution.is_settled_minimum() && {
            workspace.factor.set(&self.problem, &self.solution.rows, &self.solution.free);
            workspace.factor.undetermined().is_empty()
        }
    }
}

/// Why a problem cannot be searched, where it cannot.
fn refusal(problem: &Problem) -> Option<String> {
    match problem.n() {
        0 => Some("no observation of this sweep can be used".to_string()),
        _ => out_of_range(problem),
    }
}

/// Sums of squares beyond these leave no room for their products, or for the rounding of them, among float64's normal
/// numbers.
const SQUARES: std::ops::RangeInclusive<f64> = 1e-270..=1e290;

/// Why squares that a fit needs cannot be computed, where they cannot.
fn out_of_range(problem: &Problem) -> Option<String> {
    let response = &problem.observations.response;
    let of_response = problem.model.residual == Residual::Linear;
    // Under a logarithm the response's own size matters to parameters in its units that are no amplitudes.
    let in_its_units = |c: &Coordinate| matches!(c.role, Role::Offset | Role::LowEnd | Role::HighEnd);
    let by_offset = !of_response && problem.model.coordinates.iter().any(in_its_units);
    let beyond = |x: f64| (!SQUARES.contains(&x)).then_some(if x > 1.0 { "large" } else { "small" });
    let (size, what) = if let Some(size) = beyond(problem.unit) {
        (size, if of_response { "squares of responses over sigma" } else { "squares of 1 over sigma" })
    } else {
        let size = response.iter().filter(|_| by_offset).find_map(|y| beyond(y * y))?;
        (size, "squares of responses")
    };
    if of_response && response.iter().all(|y| *y == 0.0) {
        return None;
    }
    Some(format!(
        "{what}, weighted, are too {size} for float64; express the response, sigma or the weights in another unit"
    ))
}

/// A fit that could not be made, with the reason.
pub fn failed(models: &Models, loss: Loss, message: String) -> Fit {
    let problem = Problem::new(Arc::clone(models.full()), Arc::default(), loss);
    without_solution(models.law().parameters.len(), problem, 0, message)
}

fn without_solution(n_parameters: usize, problem: Problem, n_starts: usize, message: String) -> Fit {
    Fit {
        problem,
        edges: Vec::new(),
        solution: None,
        natural: vec![f64::NAN; n_parameters],
        at_bound: vec![false; n_parameters],
        identification: Identification::default(),
        status: Status::Failed,
        message,
        flags: Vec::new(),
        n_starts,
        n_agreeing: 0,
        runner_up: None,
        iterations: 0,
    }
}
