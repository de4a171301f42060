//! Resampling schemes, each a way to make replicates, and the random numbers that they draw.
//!
//! A replicate is some of the sweep's observations with weights and, where a scheme makes new ones, responses
//! ([`Part`](crate::problem::Part)); nothing else of a fit changes. A scheme is one file that implements
//! [`Scheme`], and a variant of [`Resample`] with its arms in `Display`, `FromStr` and [`Resample::scheme`].
//!
//! | file | scheme |
//! | --- | --- |
//! | `draw_units` | observations or whole clusters, drawn with replacement: weights |
//! | `compact` | part of `draw_units`: removes the observations that were not drawn |
//! | `dirichlet` | random weights of observations or clusters: the Bayesian bootstrap |
//! | `jackknife` | all observations but one, or all clusters but one |
//! | `residuals` | the law's predictions plus residuals that are drawn with replacement: responses |
//! | `wild` | the law's predictions plus the residuals with random signs |
//! | `parametric` | the law's predictions plus draws from the density that belongs to the loss |
//! | `scheme` | the trait [`Scheme`] |
//! | `units` | the observations or clusters that a scheme draws |
//! | `random` | random numbers |
//!
//! The schemes that make responses take a finished fit's predictions and residuals; searches are unknown here.
//!
//! Every number comes from ChaCha8 keyed by SHA-256 of (purpose, seed, the sweep's key), with one stream per replicate.
//! So the draws of a replicate do not depend on threads, on the order of the input, or on the other sweeps of the job.
//! Draws are places in the canonical order of the sweep's rows, which all laws of a job share, so that laws can be
//! compared replicate by replicate. That order is by the responses first; another law changes it only where it uses
//! another response, or where responses are tied. The mapping from random words to indices is our own, and golden tests
//! keep it fixed.

mod compact;
mod dirichlet;
mod draw_units;
mod jackknife;
mod parametric;
mod random;
mod residuals;
mod scheme;
mod units;
mod wild;

use crate::optimize::Fit;

pub use draw_units::UnitResampling;
pub use jackknife::Jackknife;
pub use random::{exponential, generator, indices, normal, uniform};
pub use scheme::{Sample, Scheme};

use dirichlet::DirichletWeights;
use parametric::ParametricResponses;
use residuals::ResidualResampling;
use wild::WildResponses;

/// The scheme that makes replicates. Where a column is named, its values identify clusters of observations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resample {
    /// Draws observations with replacement (Efron 1979).
    Pairs,
    /// Draws whole clusters with replacement.
    Cluster(String),
    /// Gives observations, or clusters, Dirichlet weights (Rubin 1981).
    Bayesian(Option<String>),
    /// Adds residuals, corrected for leverage and centred, to the predictions (Davison & Hinkley 1997, section 6.3).
    Residual,
    /// Gives the residuals, corrected for leverage, random signs, one per observation or cluster (Cameron, Gelbach &
    /// Miller 2008).
    Wild(Option<String>),
    /// Adds draws from the density that belongs to the loss to the predictions.
    Parametric,
    /// Leaves out one observation, or one cluster, after the other (Quenouille 1956).
    Jackknife(Option<String>),
    /// Makes no replicates.
    None,
}

/// The words for the schemes, with the column of clusters where a scheme takes one.
const SCHEMES: &str = "pairs, cluster:COL, bayesian, bayesian:COL, residual, wild, wild:COL, parametric, jackknife, \
                       jackknife:COL or none";

impl Resample {
    /// Returns the column whose values identify clusters.
    #[must_use]
    pub fn cluster_column(&self) -> Option<&str> {
        match self {
            Resample::Cluster(column) => Some(column),
            Resample::Bayesian(column) | Resample::Wild(column) | Resample::Jackknife(column) => {
                column.as_deref()
            }
            Resample::Pairs | Resample::Residual | Resample::Parametric | Resample::None => None,
        }
    }

    /// Returns whether replicates follow the distribution of the estimate. Those of a jackknife do not: they differ from
    /// the estimate by far less than other samples would.
    #[must_use]
    pub fn is_distribution(&self) -> bool {
        !matches!(self, Resample::Jackknife(_) | Resample::None)
    }

    /// Returns the scheme's name without a column.
    fn name(&self) -> &'static str {
        match self {
            Resample::Pairs => "pairs",
            Resample::Cluster(_) => "cluster",
            Resample::Bayesian(_) => "bayesian",
            Resample::Residual => "residual",
            Resample::Wild(_) => "wild",
            Resample::Parametric => "parametric",
            Resample::Jackknife(_) => "jackknife",
            Resample::None => "none",
        }
    }

    /// Returns the scheme for a fit that has a solution; the random numbers follow from the seed and the sweep's key.
    #[must_use]
    pub fn scheme(&self, fit: &Fit, seed: u64, key_digest: &[u8; 32]) -> Box<dyn Scheme> {
        let observations = &fit.problem.observations;
        let rng = generator("resample", seed, key_digest);
        match self {
            Resample::Pairs | Resample::Cluster(_) | Resample::None => {
                Box::new(UnitResampling::new(observations, rng))
            }
            Resample::Bayesian(_) => Box::new(DirichletWeights::new(observations, rng)),
            Resample::Residual => Box::new(ResidualResampling::new(fit, rng)),
            Resample::Wild(_) => Box::new(WildResponses::new(fit, rng)),
            Resample::Parametric => Box::new(ParametricResponses::new(fit, rng)),
            Resample::Jackknife(_) => Box::new(Jackknife::new(observations, usize::MAX)),
        }
    }
}

impl std::fmt::Display for Resample {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name())?;
        self.cluster_column().map_or(Ok(()), |column| write!(f, ":{column}"))
    }
}

impl std::str::FromStr for Resample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, column) = match text.split_once(':') {
            Some((name, column)) if !column.is_empty() => (name, Some(column.to_string())),
            Some(_) => ("", None),
            None => (text, None),
        };
        match (name, column) {
            ("pairs", None) => Ok(Resample::Pairs),
            ("cluster", Some(column)) => Ok(Resample::Cluster(column)),
            ("bayesian", column) => Ok(Resample::Bayesian(column)),
            ("residual", None) => Ok(Resample::Residual),
            ("wild", column) => Ok(Resample::Wild(column)),
            ("parametric", None) => Ok(Resample::Parametric),
            ("jackknife", column) => Ok(Resample::Jackknife(column)),
            ("none", None) => Ok(Resample::None),
            _ => Err(format!("`{text}` is not a way to resample: use {SCHEMES}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Resample;

    #[test]
    fn names_are_read_back() {
        for text in [
            "pairs",
            "cluster:a:b",
            "bayesian",
            "bayesian:a",
            "residual",
            "wild",
            "wild:a",
            "parametric",
            "jackknife",
            "none",
        ] {
            assert_eq!(text.parse::<Resample>().unwrap().to_string(), text);
        }
        for text in ["", "pairs:a", "cluster", "cluster:", "wild:", "residual:a", "none:a", "boot"] {
            assert!(text.parse::<Resample>().is_err(), "{text}");
        }
    }
}
