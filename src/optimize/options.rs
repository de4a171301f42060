//! What a fit is asked for.

/// Two objectives closer than this, relatively, are the same optimum.
pub const AGREEMENT: f64 = 1e-6;

/// Objectives up to here are the same optimum as `objective`, to the resolution of `floor`.
pub fn agreement_limit(objective: f64, floor: f64) -> f64 {
    objective * (1.0 + AGREEMENT) + 1e3 * floor
}

/// Which solver searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// Searches in lanes, finished by the reference solver.
    #[default]
    Fast,
    /// The reference solver alone.
    Reference,
}

/// What is to be found out about a fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Asked {
    /// The best point, and whether it is a minimum.
    #[default]
    Verdict,
    /// The best point.
    Point,
}

/// What a fit is asked for.
#[derive(Clone, Debug, Default)]
pub struct FitOptions {
    pub asked: Asked,
    pub solver: Solver,
    /// None: set by the law.
    pub starts: Option<usize>,
    /// The user's own start, per parameter of the law.
    pub user_start: Vec<(String, f64)>,
    /// Moves the starts, so that another seed is a second opinion.
    pub seed: u64,
}

impl FitOptions {
    /// The user's own start of a parameter.
    pub(in crate::optimize) fn start_of(&self, name: &str) -> Option<f64> {
        self.user_start.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }
}
