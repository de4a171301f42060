//! How starts of a law are made, whatever the data: what becomes of each coordinate, and in what steps the design draws.

use crate::compile::{Coordinate, Model, Scale};
use std::sync::Arc;

use crate::formula::Expr;
use crate::law::Law;
use crate::optimize::starts::start_rules::{StartRule, start_rules};

use super::amplitudes::Sign;
use super::crossing::Crossing;
use super::variable_projection::LogLinearPart;

/// A value fixed by the user, per coordinate, in natural units.
pub type Given = Vec<Option<f64>>;

/// How starts of a law are made.
#[derive(Debug)]
pub struct Design {
    /// One per coordinate.
    pub rules: Vec<StartRule>,
    /// Per coordinate, the data expression that its rule names, by its place among the model's.
    pub sources: Vec<Option<usize>>,
    /// Coordinates that are drawn in ascending order, because the law has them exchangeable.
    ordered: Vec<usize>,
    pub log_linear: Option<LogLinearPart>,
    pub crossings: Vec<Crossing>,
    /// Where nothing is given.
    pub open: Division,
    /// The same with offsets solved like amplitudes; none where no offset is drawn.
    pub with_offsets: Option<Division>,
}

/// The coordinates of a start by how they come about; those that are given are in none of them.
#[derive(Debug, Default)]
pub struct Division {
    /// Whether the log_linear's coordinates can be solved.
    pub solves_log_linear: bool,
    /// Of the model's amplitudes, by place: those that are solved, and the signs that they may have.
    pub solved: Vec<usize>,
    pub signs: Vec<Sign>,
    /// The amplitudes that keep their drawn or given value.
    pub held: Vec<usize>,
    pub balanced: Option<usize>,
    pub drawn: Vec<usize>,
    /// Of these, the ones in ascending order.
    pub ordered: Vec<usize>,
    /// From one point of the design to the next, per drawn coordinate.
    pub steps: Vec<f64>,
}

impl Design {
    /// `at_zero` compiles the law with some of its parameters at zero.
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

    /// Given the shapes, a curve's floor follows from the data as its amplitudes do: drawn floors miss optima near the least
    /// response, solved ones those where it hardly matters.
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

    /// What becomes of each coordinate where some are given.
    pub fn division(&self, model: &Model, given: impl Fn(usize) -> bool) -> Division {
        let coordinates = &model.coordinates;
        // What the user holds cannot be solved along with the rest of the log_linear.
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

fn sign(coordinate: &Coordinate) -> Sign {
    if coordinate.scale == Scale::Log || coordinate.low >= 0.0 {
        Sign::NonNegative
    } else if coordinate.high <= 0.0 {
        Sign::NonPositive
    } else {
        Sign::Any
    }
}

/// The ratio of Roberts' recurrence in `d` dimensions: 1 over the positive root of x^(d+1) = x + 1.
fn recurrence_ratio(d: usize) -> f64 {
    let mut x: f64 = 1.5;
    for _ in 0..60 {
        let next = (1.0 + x).powf(1.0 / (d as f64 + 1.0));
        if next == x {
            break;
        }
        x = next;
    }
    1.0 / x
}
