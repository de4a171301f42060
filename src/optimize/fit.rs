//! One fit from its starts to its status: multi-start searches, the best result finished, the edges of the domain
//! tried, the behaviour at infinity examined, the result diagnosed.

use std::sync::Arc;

use crate::compile::{Coordinate, Role};
use crate::law::{Law, Residual};
use crate::problem::{Loss, Problem};

use super::agreement_limit;
use super::boundary::at_edges_of;
use super::diagnosis::collinearity::collinear;
use super::diagnosis::diagnose;
use super::diagnosis::identifiability::Identification;
use super::infinity::Divergence;
use super::infinity::{LimitBehaviour, limit_behaviour};
use super::models::Models;
use super::multistart::{Exchange, Multistart, PendingFit, SearchWorkspace, rounds};
use super::newton::{Finished, minimise};
use super::options::{Asked, FitOptions};
use super::outcome::{End, Fit, Status};
use super::representative::{Choice, represent};
use super::starts::Starts;
use super::starts::design::Given;
use super::workspace::Workspace;

/// Fits one problem: searches from all starts, finishes the best, tries the edges of the domain, and diagnoses the
/// result.
pub fn fit(models: &Models, problem: Problem, options: &FitOptions, workspace: &mut Workspace) -> Fit {
    let mut fits = fit_many(models, vec![problem], options, workspace);
    fits.remove(0)
}

/// Fits problems of one law under one loss, whose searches share the SIMD lanes. Each result is bit-identical to that
/// of [`fit`].
pub fn fit_many(
    models: &Models,
    problems: Vec<Problem>,
    options: &FitOptions,
    workspace: &mut Workspace,
) -> Vec<Fit> {
    // The workspace is passed on while the searches are in use, so they are taken out of it.
    let mut multistart = std::mem::take(&mut workspace.multistart);
    multistart.resize_with(problems.len().max(multistart.len()), Multistart::default);
    let refusals: Vec<Option<String>> = problems.iter().map(refusal).collect();
    let mut pending = Vec::with_capacity(problems.len());
    for ((problem, refusal), multistart) in problems.iter().zip(&refusals).zip(&mut multistart) {
        multistart.begin(problem);
        if refusal.is_none() && problem.p() > 0 {
            let starts = Starts::new(models, problem, &options.tuning).shifted(options.seed);
            let search = &mut workspace.search;
            if !search_from_user_start(models.law(), problem, &starts, options, multistart, search) {
                pending.push(PendingFit::new(problem, starts, multistart));
            }
        }
    }
    rounds(pending, options, &mut workspace.search);
    let finish =
        |((problem, refusal), multistart): ((Problem, Option<String>), &mut Multistart)| match refusal {
            Some(message) => without_solution(models.law().parameters.len(), problem, 0, message),
            None => finish(models, problem, options, multistart, workspace),
        };
    let fits = problems.into_iter().zip(refusals).zip(&mut multistart).map(finish).collect();
    workspace.multistart = multistart;
    fits
}

/// Searches from the user's start, if there is one. Returns whether it is the only start.
fn search_from_user_start(
    law: &Law,
    problem: &Problem,
    starts: &Starts,
    options: &FitOptions,
    multistart: &mut Multistart,
    workspace: &mut SearchWorkspace,
) -> bool {
    if options.user_start.is_empty() {
        return false;
    }
    let value = |c: &Coordinate| options.start_of(&law.parameters[c.parameter].name);
    let given: Given = problem.model.coordinates.iter().map(value).collect();
    starts.complete(&given, &mut workspace.starts, &mut multistart.starts);
    let search_alone = options.starts == Some(1);
    if search_alone {
        multistart.search_alone(problem, options, workspace);
    } else {
        multistart.search(problem, options, workspace);
    }
    search_alone
}

/// Completes a fit whose searches have been made.
fn finish(
    models: &Models,
    problem: Problem,
    options: &FitOptions,
    multistart: &mut Multistart,
    workspace: &mut Workspace,
) -> Fit {
    let law = models.law();
    let collinear = collinear(models, &problem, &mut workspace.variables);
    if problem.is_long() {
        // The buffers of a long fit are not worth their memory.
        workspace.variables = Default::default();
        workspace.search.lanes.free_long_data();
    }
    if problem.p() == 0 {
        let Some(solution) = minimise(&problem, &problem.observations.weight, &[], 0, workspace.reference())
        else {
            let message = "the law has no finite value; check its fixed parameters and the data".to_string();
            return without_solution(law.parameters.len(), problem, 0, message);
        };
        let end = End {
            problem,
            edges: Vec::new(),
            solution,
            iterations: 0,
            divergence: None,
            is_path_limit: false,
        };
        return diagnose(models, end, collinear.as_ref(), multistart, workspace);
    }
    if multistart.best.is_none() {
        multistart.finish(&problem, &options.tuning.multistart);
    }
    let collinear = collinear.as_ref();
    let same_variable = collinear.filter(|c| options.tuning.devices.exchange && c.is_same_variable());
    if let Some(collinear) = same_variable {
        let starts = Starts::new(models, &problem, &options.tuning);
        let exchange = Exchange { law, problem: &problem, collinear, starts: &starts, options };
        // Where the exchanged optimum is lower, its own exchange may be lower still.
        for _ in 0..options.tuning.multistart.max_exchanges {
            if !multistart.exchange(&exchange, &mut workspace.search) {
                break;
            }
        }
    }
    let Some((solution, iterations)) = multistart.best.take() else {
        let message = "the law has no finite value at any start; check its domains and the data".to_string();
        return without_solution(law.parameters.len(), problem, multistart.starts.len(), message);
    };
    let end =
        End { problem, edges: Vec::new(), solution, iterations, divergence: None, is_path_limit: false };
    let end = end.resolve_boundary(models, options.asked, workspace).represented(models, options);
    if let Some(collinear) = same_variable
        && end.edges.is_empty()
    {
        // The point may now be below all searches, and so may its exchange.
        let starts = Starts::new(models, &end.problem, &options.tuning);
        let exchange = Exchange { law, problem: &end.problem, collinear, starts: &starts, options };
        multistart.search_exchanged(&exchange, &end.solution.theta, &mut workspace.search);
    }
    diagnose(models, end, collinear, multistart, workspace)
}

impl End {
    /// Tries the edges of the domain. Where that does not end in a certified point that the data determines, follows
    /// the regularisation path from it.
    fn resolve_boundary(self, models: &Models, asked: Asked, workspace: &mut Workspace) -> End {
        if asked == Asked::Point {
            return self.at_edges(models, |_| true);
        }
        // A law without an amplitude is a simpler law; a law with another parameter at 0 may have no meaning, so it is
        // tried last.
        let mut end = self.at_edges(models, |role| matches!(role, Role::Amplitude | Role::Offset));
        if end.is_determined_minimum(workspace) {
            let edges = end.edges.len();
            end = end.at_edges(models, |_| true);
            if end.edges.len() == edges || end.is_determined_minimum(workspace) {
                return end;
            }
        }
        let divergence = end.follow_path(models, workspace);
        if divergence.as_ref().is_some_and(|divergence| !divergence.is_edge()) {
            return End { divergence, ..end };
        }
        let edges = end.edges.len();
        end = end.at_edges(models, |_| true);
        if end.edges.len() == edges {
            return End { divergence, ..end };
        }
        if !end.is_determined_minimum(workspace) {
            end.divergence = end.follow_path(models, workspace);
        }
        end
    }

    /// Replaces the parameters by the equivalent ones that are reported (see `representative`).
    fn represented(self, models: &Models, options: &FitOptions) -> End {
        let End { problem, edges, solution, divergence, .. } = &self;
        if divergence.is_some() || models.symmetries().is_empty() {
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

    /// Tries the edges of the domain for parameters with certain roles.
    fn at_edges(self, models: &Models, of: impl Fn(Role) -> bool) -> End {
        let End { problem, edges, solution, .. } = self;
        let observations = Arc::clone(&problem.observations);
        let weight = &observations.weight;
        let (problem, edges, solution) = at_edges_of(models, problem, weight, solution, edges, of);
        End { problem, edges, solution, ..self }
    }

    /// Follows the regularisation path from the point and moves there: to its minimum, or some way along its
    /// divergence.
    fn follow_path(&mut self, models: &Models, workspace: &mut Workspace) -> Option<Divergence> {
        self.is_path_limit = false;
        let (found, divergence) =
            match limit_behaviour(models, &self.problem, &self.solution, &mut workspace.search.starts) {
                LimitBehaviour::Minimum(found) => (found, None),
                LimitBehaviour::Unbounded(divergence, found) => (found, Some(divergence)),
                LimitBehaviour::Unknown => return None,
            };
        self.is_path_limit = divergence.is_none();
        self.iterations += found.iterations;
        // Along a direction that the data does not determine every point is as good, so the first one is kept.
        let keeps_point = self.is_path_limit && self.solution.certificate.holds() && {
            let limit = agreement_limit(found.rows.objective, self.problem.floor);
            let mut is_free = |at: &Finished| {
                workspace.factor.set(&self.problem, &at.rows, &at.free);
                !workspace.factor.undetermined().is_empty()
            };
            self.solution.rows.objective <= limit && is_free(&self.solution) && is_free(&found)
        };
        if !keeps_point {
            self.solution = found;
        }
        divergence
    }

    /// Returns whether the point is a certified, settled minimum at which the data determines all directions.
    fn is_determined_minimum(&self, workspace: &mut Workspace) -> bool {
        self.solution.is_settled_minimum() && {
            workspace.factor.set(&self.problem, &self.solution.rows, &self.solution.free);
            workspace.factor.undetermined().is_empty()
        }
    }
}

/// Returns why a problem cannot be fitted, if it cannot.
fn refusal(problem: &Problem) -> Option<String> {
    match problem.n() {
        0 => Some("no observation of this sweep can be used".to_string()),
        _ => out_of_range(problem),
    }
}

/// The range of sums of squares that leaves room for their products, and for the rounding of these, among the normal
/// numbers of float64.
const SQUARES: std::ops::RangeInclusive<f64> = 1e-270..=1e290;

/// Returns why the squares that a fit needs cannot be computed in float64, if they cannot.
fn out_of_range(problem: &Problem) -> Option<String> {
    let response = &problem.observations.response;
    let of_response = problem.model.residual == Residual::Linear;
    // With residuals of logarithms the size of the response matters to parameters in its units that are no amplitudes.
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

/// Returns a failed fit with a message.
pub fn failed(models: &Models, loss: Loss, message: String) -> Fit {
    let problem = Problem::new(Arc::clone(models.full()), Arc::default(), loss);
    without_solution(models.law().parameters.len(), problem, 0, message)
}

/// Returns a failed fit of a problem with a message.
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
        evaluations: 0,
    }
}
