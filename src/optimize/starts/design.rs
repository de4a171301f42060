//! The design of a law's starts, whatever the data: how each coordinate is determined, and the increments of the
//! sequence.

use crate::compile::{Coordinate, Model, Scale};
use crate::lanes::scalar;
use std::sync::Arc;

use crate::formula::Expr;
use crate::law::Law;
use crate::optimize::starts::start_rules::{StartRule, start_rules};

use super::amplitudes::Sign;
use super::crossing::Crossing;
use super::variable_projection::LogLinearPart;

/// The values that the user gives, per coordinate, in natural units.
pub type Given = Vec<Option<f64>>;

/// The design of a law's starts.
#[derive(Debug)]
pub struct Design {
    /// The start rule of each coordinate.
    pub rules: Vec<StartRule>,
    /// The data expression in each coordinate's rule, by its place in the model.
    pub sources: Vec<Option<usize>>,
    /// The coordinates drawn in ascending order, because the law is symmetric under their exchange.
    ordered: Vec<usize>,
    /// The log-linear part of the law, if it has one.
    pub log_linear: Option<LogLinearPart>,
    /// The crossings of terms of unlike powers.
    pub crossings: Vec<Crossing>,
    /// The division of the coordinates where the user gives nothing.
    pub open: Division,
    /// That division with offsets solved like amplitudes; none where no offset is drawn.
    pub with_offsets: Option<Division>,
}

/// The coordinates of a start by how they are determined. Coordinates that the user gives are in none of the groups.
#[derive(Debug, Default)]
pub struct Division {
    /// Whether the coordinates of the log-linear part can be solved.
    pub solves_log_linear: bool,
    /// The amplitudes that are solved, by their place among the model's amplitudes.
    pub solved: Vec<usize>,
    /// The signs that they may have.
    pub signs: Vec<Sign>,
    /// The amplitudes that keep their drawn or given value.
    pub held: Vec<usize>,
    /// The coordinate whose predictions are balanced (see `equation_scale`).
    pub balanced: Option<usize>,
    /// The coordinates that are drawn.
    pub drawn: Vec<usize>,
    /// The drawn coordinates that are in ascending order.
    pub ordered: Vec<usize>,
    /// The increment of the sequence per drawn coordinate.
    pub steps: Vec<f64>,
}

impl Design {
    /// Returns the design of a law; `at_zero` compiles the law with some of its parameters at zero.
    pub fn of(law: &Law, model: &Arc<Model>, at_zero: &dyn Fn(&[usize]) -> Arc<Model>) -> Design {
        let coordinates = &model.coordinates;
        let rules = start_rules(law, coordinates);
        let is_ordered = |i: &usize| law.ordered.contains(&law.parameters[coordinates[*i].parameter].name);
        let ordered = (0..coordinates.len()).filter(is_ordered).collect();
        let log_linear = LogLinearPart::of(model, &rules, at_zero);
        let sources = rules.iter().map(|rule| source(model, rule)).collect();
        let crossings = Crossing::find(law, model);
        let mut design = Design {
            rules,
            sources,
            ordered,
            log_linear,
            crossings,
            open: Division::default(),
            with_offsets: None,
        };
        design.open = design.division(model, |_| false);
        design.with_offsets = design.with_offsets(model);
        design
    }

    /// Returns the division with offsets solved. Given the other coordinates, an offset follows from the data as the
    /// amplitudes do: drawn offsets miss optima near the smallest response, solved offsets those where the offset
    /// hardly matters.
    fn with_offsets(&self, model: &Model) -> Option<Division> {
        let mut with_offsets = self.division(model, |_| false);
        let is_floor = |a: &usize| self.rules[model.amplitudes[*a]] == StartRule::Floor;
        with_offsets.held.iter().any(is_floor).then(|| {
            with_offsets.solved.extend(with_offsets.held.iter().copied().filter(is_floor));
            with_offsets.held.retain(|a| !is_floor(a));
            with_offsets.solved.sort_unstable();
            with_offsets.signs =
                with_offsets.solved.iter().map(|&a| sign(&model.coordinates[model.amplitudes[a]])).collect();
            with_offsets
        })
    }

    /// Returns the division of the coordinates where some are given.
    pub fn division(&self, model: &Model, given: impl Fn(usize) -> bool) -> Division {
        let coordinates = &model.coordinates;
        // A coordinate that the user gives cannot be solved with the rest of the log-linear part.
        let solves_log_linear = self.log_linear.as_ref().is_some_and(|log_linear| {
            let held = |i: usize| given(i) && log_linear.solved.contains(&coordinates[i].parameter);
            !(0..coordinates.len()).any(held)
        });
        let is_solved = |i: usize| self.rules[i] == StartRule::Solve && !given(i);
        let (solved, held): (Vec<usize>, Vec<usize>) =
            (0..model.amplitudes.len()).partition(|&a| is_solved(model.amplitudes[a]));
        let signs = solved.iter().map(|&a| sign(&coordinates[model.amplitudes[a]])).collect();
        let mut drawn: Vec<usize> = (0..coordinates.len()).filter(|&i| !given(i)).collect();
        let balanced = drawn.iter().copied().find(|&i| self.rules[i] == StartRule::Balance);
        drawn.retain(|i| balanced != Some(*i) && !solved.iter().any(|&a| model.amplitudes[a] == *i));
        let ordered = self.ordered.iter().copied().filter(|i| drawn.contains(i)).collect();
        let ratio = recurrence_ratio(drawn.len());
        let steps = (1..=drawn.len() as i32).map(|d| ratio.powi(d)).collect();
        Division { solves_log_linear, solved, signs, held, balanced, drawn, ordered, steps }
    }
}

/// Returns the place of a rule's data expression in the model.
fn source(model: &Model, rule: &StartRule) -> Option<usize> {
    let expression: &Expr = match rule {
        StartRule::Below { expression }
        | StartRule::DataRange { expression, .. }
        | StartRule::Location { expression }
        | StartRule::Width { expression }
        | StartRule::ResponseScale { expression: Some(expression) } => expression,
        _ => return None,
    };
    let text = expression.to_string();
    model.sources.iter().position(|source| source.to_string() == text)
}

/// Returns the sign that a coordinate's domain allows.
fn sign(coordinate: &Coordinate) -> Sign {
    if coordinate.scale == Scale::Log || coordinate.low >= 0.0 {
        Sign::NonNegative
    } else if coordinate.high <= 0.0 {
        Sign::NonPositive
    } else {
        Sign::Any
    }
}

/// Returns the ratio of Roberts' recurrence in `d` dimensions: 1 over the positive root of x^(d+1) = x + 1.
fn recurrence_ratio(d: usize) -> f64 {
    let mut x: f64 = 1.5;
    for _ in 0..60 {
        let next = scalar::pow(1.0 + x, 1.0 / (d as f64 + 1.0));
        if next == x {
            break;
        }
        x = next;
    }
    1.0 / x
}
