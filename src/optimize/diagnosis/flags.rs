//! Flags of a fit: remarks under stable names that a program can look for.

/// A remark on a fit, in the order of the output. A fit carries each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// Fewer distinct observations than free parameters.
    FewObservations,
    /// As many distinct observations as free parameters: nothing is left to judge the fit by.
    Saturated,
    /// A variable takes too few distinct values for the parameters it is to determine.
    FewValues,
    /// A variable spans less than a factor of 1.5, and the parameters of its terms are not determined or run away.
    NarrowRange,
    /// Two variables move together: each is a power of the other to within 1 % of its spread.
    Collinear,
    /// Parameters can be moved together without changing any prediction.
    FreeDirection,
    /// A parameter leaves the range of numbers, or parameters run away together at the best point found.
    Runaway,
    /// A parameter is on the edge of its domain.
    Edge,
    /// Other parameters, away from the estimate, give the same objective.
    TwinOptimum,
    /// Another optimum is hardly worse: its log-likelihood is within 2 of the best, by n/2 times the logarithm of
    /// the ratio of objectives.
    RivalOptimum,
    /// A positive parameter's asymptotic standard error is larger than the parameter.
    Weak,
    /// The data does not keep a parameter from leaving all bounds: its interval has an infinite end.
    UnboundedInterval,
    /// Fewer than 90 % of the replicates are good, or fewer than 10 different samples can be drawn; below 50 % no
    /// interval is given.
    FewReplicates,
    /// Fewer than five clusters: standard errors over clusters are hardly known.
    FewClusters,
    /// One search alone, of eight or more, ended at this objective, off all edges: a better one may have been
    /// missed.
    RarelyFound,
    /// Half of the residuals or more are zero, so that the loss's threshold cannot follow them: it is that of a
    /// thousandth of least squares' root mean square, or the fit is least squares.
    ScaleZero,
    /// The scale of the residuals and the fit did not settle together.
    ScaleUnsettled,
}

impl Flag {
    /// All flags, in order.
    pub const ALL: [Flag; 17] = [
        Flag::FewObservations,
        Flag::Saturated,
        Flag::FewValues,
        Flag::NarrowRange,
        Flag::Collinear,
        Flag::FreeDirection,
        Flag::Runaway,
        Flag::Edge,
        Flag::TwinOptimum,
        Flag::RivalOptimum,
        Flag::Weak,
        Flag::UnboundedInterval,
        Flag::FewReplicates,
        Flag::FewClusters,
        Flag::RarelyFound,
        Flag::ScaleZero,
        Flag::ScaleUnsettled,
    ];

    /// Returns the name that stands in the tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Flag::FewObservations => "few_observations",
            Flag::Saturated => "saturated",
            Flag::FewValues => "few_values",
            Flag::NarrowRange => "narrow_range",
            Flag::Collinear => "collinear",
            Flag::FreeDirection => "free_direction",
            Flag::Runaway => "runaway",
            Flag::Edge => "edge",
            Flag::TwinOptimum => "twin_optimum",
            Flag::RivalOptimum => "rival_optimum",
            Flag::Weak => "weak",
            Flag::UnboundedInterval => "unbounded",
            Flag::FewReplicates => "few_replicates",
            Flag::FewClusters => "few_clusters",
            Flag::RarelyFound => "rarely_found",
            Flag::ScaleZero => "scale_zero",
            Flag::ScaleUnsettled => "scale_unsettled",
        }
    }

    /// Returns a sentence that says what the flag means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Flag::FewObservations => "fewer distinct observations than free parameters",
            Flag::Saturated => {
                "as many distinct observations as free parameters: nothing is left to judge the fit by"
            }
            Flag::FewValues => {
                "a variable takes too few distinct values for the parameters it is to determine"
            }
            Flag::NarrowRange => {
                "a variable spans less than a factor of 1.5, and the parameters of its terms are not determined or \
                 run away"
            }
            Flag::Collinear => {
                "two variables move together: each is a power of the other to within 1 % of its spread"
            }
            Flag::FreeDirection => "parameters can be moved together without changing any prediction",
            Flag::Runaway => {
                "a parameter leaves the range of numbers, or parameters run away together at the best point found"
            }
            Flag::Edge => "a parameter is on the edge of its domain",
            Flag::TwinOptimum => "other parameters, away from the estimate, give the same objective",
            Flag::RivalOptimum => {
                "another optimum is hardly worse: its log-likelihood is within 2 of the best, by n/2 times the \
                 logarithm of the ratio of objectives"
            }
            Flag::Weak => "a positive parameter's asymptotic standard error is larger than the parameter",
            Flag::UnboundedInterval => {
                "the data does not keep a parameter from leaving all bounds: its interval has an infinite end"
            }
            Flag::FewReplicates => {
                "fewer than 90 % of the replicates are good, or fewer than 10, or fewer than 10 different samples can be \
                 drawn; below 50 % no interval is given"
            }
            Flag::FewClusters => "fewer than five clusters: standard errors over clusters are hardly known",
            Flag::RarelyFound => {
                "one search alone, of eight or more, ended at this objective, off all edges: a better one may have been missed"
            }
            Flag::ScaleZero => {
                "half of the residuals or more are zero, so that the loss's threshold cannot follow them: it is that of a \
                 thousandth of least squares' root mean square, or the fit is least squares"
            }
            Flag::ScaleUnsettled => "the scale of the residuals and the fit did not settle together",
        }
    }
}

/// Returns the names of flags, comma-separated; empty where there are none.
#[must_use]
pub fn words(flags: &[Flag]) -> String {
    let words: Vec<&str> = flags.iter().map(|f| f.name()).collect();
    words.join(",")
}
