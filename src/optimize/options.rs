//! The options of a fit.

use super::tuning::Tuning;

/// The largest relative difference of two objectives that count as the same optimum.
pub const AGREEMENT: f64 = 1e-6;

/// Returns the largest objective that counts as the same optimum as `objective`; `floor` is the resolution of the
/// objective.
#[must_use]
pub fn agreement_limit(objective: f64, floor: f64) -> f64 {
    objective * (1.0 + AGREEMENT) + 1e3 * floor
}

/// The solver that makes the searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Levenberg–Marquardt in lanes, finished by the reference solver.
    #[default]
    Fast,
    /// The reference solver alone.
    Reference,
}

/// What a fit is to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Asked {
    /// The best point, and whether it is a minimum.
    #[default]
    Verdict,
    /// The best point only.
    Point,
}

/// The options of a fit.
#[derive(Clone, Debug, Default)]
pub struct FitOptions {
    pub asked: Asked,
    pub solver: Solver,
    /// The number of starts; none for a number that depends on the law.
    pub starts: Option<usize>,
    /// The user's start: parameter names and values in natural units.
    pub user_start: Vec<(String, f64)>,
    /// A seed that shifts the starts, so that fits with other seeds are independent checks.
    pub seed: u64,
    /// The constants and devices of the search.
    pub tuning: Tuning,
}

impl FitOptions {
    /// Returns the user's start of a parameter.
    pub(in crate::optimize) fn start_of(&self, name: &str) -> Option<f64> {
        self.user_start.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }
}
