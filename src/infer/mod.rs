//! Inference: standard errors, bootstrap replicates, intervals and goodness of fit, from a finished fit.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | [`infer`]: the standard errors and the interval of each parameter, from a finished fit |
//! | `options` | the options of inference |
//! | `covariance` | asymptotic standard errors and the intervals made of them |
//! | `sandwich` | standard errors for small sweeps, heteroscedastic residuals and clusters |
//! | `resample` | random numbers and resampling schemes, each of which makes weights and, if it will, responses |
//! | `replicates` | refits under the weights and responses of a scheme |
//! | `replicate_errors` | the standard errors of the parameters in each replicate |
//! | `interval` | the interval methods, and which of them a job's `auto` stands for |
//! | `parameter_covariance` | the covariance of the parameters, with the degrees of freedom of any function of them |
//! | `quantity`, `derived` | functions of the parameters, and their intervals |
//! | `new_run` | the spread of a new run around the law |
//! | `context` | what inference needs besides a fit and its options |
//! | `leverages` | the leverage of each observation |
//! | `edges` | where refits start whose parameters were on an edge |
//! | `goodness` | R² and root mean square errors |
//! | `likelihood` | information criteria under the density that belongs to the loss |
//!
//! The folder knows nothing of files, tables or jobs, and changes no estimate.

mod context;
mod covariance;
mod derived;
mod edges;
mod goodness;
mod interval;
mod leverages;
mod likelihood;
mod new_run;
mod options;
mod parameter_covariance;
mod quantity;
mod replicate_errors;
mod replicates;
mod resample;
mod sandwich;

pub use context::{Context, Watch};
pub use derived::{GoodReplicates, Source, estimate_quantity, replicate_interval};
pub use goodness::{Goodness, goodness, predictions};
pub use interval::IntervalMethod;
pub use interval::distributions::normal_quantile;
#[cfg(feature = "cli")]
pub(crate) use interval::percentile::quantile;
pub use leverages::leverages;
pub use likelihood::{Criteria, criteria};
pub use parameter_covariance::ParameterCovariance;
pub use quantity::{Quantity, QuantityEstimate};
pub use replicates::{Replicates, replicate};
pub use resample::{Resample, Sample, Scheme, UnitResampling, generator};
pub(crate) use resample::{
    exponential as exponential_variate, indices, normal as normal_variate, uniform as uniform_variate,
};

use crate::compile::Scale;
use crate::law::Domain;
use crate::optimize::{
    Fit, Flag, Models, Reach, Status, Towards, Workspace, may_be_unbounded, unbounded_parameters,
};

pub use options::InferenceOptions;

use covariance::Uncertainty;
use derived::MIN_GOOD_FOR_INTERVAL;
use interval::choice::{Circumstances, methods};
use interval::percentile::{percentile_interval, standard_deviation};
use interval::profile::{profile_interval, reaches_zero};
use interval::symmetric::symmetric_interval;
use interval::{basic::basic_interval, bca::bca_interval, studentized::studentized_interval};
use new_run::new_run_margin;
use replicate_errors::replicate_errors;
use replicates::jackknife;

/// The estimate of one parameter and its uncertainty, in natural units.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The parameter at the optimum.
    pub estimate: f64,
    /// The asymptotic standard error; none where the parameter is fixed, on a bound, or not determined.
    pub std_error: Option<f64>,
    /// The standard deviation over the replicates.
    pub bootstrap_std_error: Option<f64>,
    /// Lower and upper end of the confidence interval; an end may be infinite.
    pub interval: Option<(f64, f64)>,
    /// How the interval was made; none without one.
    pub method: Option<IntervalMethod>,
    /// Whether the parameter is on an edge of its domain.
    pub at_bound: bool,
    /// Whether the parameter is held at a value.
    pub fixed: bool,
}

/// Returns whether the uncertainty of a fit may be reported: an interval around a point that is no optimum, or that the
/// data does not determine, would be misleading.
#[must_use]
pub fn is_trustworthy(fit: &Fit) -> bool {
    matches!(fit.status, Status::Converged | Status::AtBound)
}

/// Returns whether the standard error of a positive parameter exceeds the parameter, as for an amplitude that is nearly
/// collinear with an exponent, or a scale beyond the range of the data.
#[must_use]
pub fn is_weak(fit: &Fit, estimates: &[Estimate]) -> bool {
    let coordinates = fit.problem.model.coordinates.iter();
    coordinates.filter(|c| c.scale == Scale::Log).any(|c| {
        let parameter = &estimates[c.parameter];
        parameter.std_error.is_some_and(|se| se > parameter.estimate.abs())
    })
}

/// The fraction of good replicates below which a fit is flagged.
const MIN_GOOD: f64 = 0.9;

/// The number of different samples, and of good replicates, below which a fit is flagged.
const MIN_SAMPLES: usize = 10;

/// The number of clusters below which a fit is flagged.
const FEW_CLUSTERS: usize = 5;

/// What follows from a fit besides the estimates of its parameters.
#[derive(Debug, Default)]
pub struct Inference {
    /// The flags that follow from standard errors and intervals, in order.
    pub flags: Vec<Flag>,
    /// The replicates; none where there are none to make, or the fit's uncertainty is not to be trusted.
    pub replicates: Option<Replicates>,
    /// The refits that leave out one unit each, where an interval method needs them.
    pub jackknife: Option<Replicates>,
    /// The derived quantities, in the order in which they were given.
    pub quantities: Vec<QuantityEstimate>,
    /// The covariance of the parameters, where it is wanted and known.
    pub covariance: Option<ParameterCovariance>,
    /// The half-length of the interval of a new run's residual, without the error of the law.
    pub new_run_margin: Option<f64>,
}

/// Appends the estimates of a fit's parameters to `estimates`, in the law's order, with standard errors and intervals.
pub fn infer(
    models: &Models,
    fit: &Fit,
    quantities: &[Quantity],
    options: &InferenceOptions,
    context: &mut Context,
    estimates: &mut Vec<Estimate>,
) -> Inference {
    let law = models.law();
    let first = estimates.len();
    estimates.extend(law.parameters.iter().enumerate().map(|(i, parameter)| Estimate {
        estimate: fit.natural[i],
        std_error: None,
        bootstrap_std_error: None,
        interval: None,
        method: None,
        at_bound: fit.at_bound[i],
        fixed: matches!(parameter.domain, Domain::Fixed(_) | Domain::Held),
    }));
    let estimate_all = |source: Source| -> Vec<QuantityEstimate> {
        let estimate = |quantity| estimate_quantity(quantity, law, &fit.natural, source, options.confidence);
        quantities.iter().map(estimate).collect()
    };
    if !is_trustworthy(fit) {
        return Inference { quantities: estimate_all(Source::Nowhere), ..Inference::default() };
    }
    let replicates = if options.n_replicates() > 0 && fit.problem.p() > 0 {
        replicate(models, fit, options, context)
    } else {
        None
    };
    let intervals = Intervals::of(models, fit, options, replicates.as_ref(), context);
    let flags = intervals.fill(&mut estimates[first..], context);
    let has_distribution = replicates.is_some() && options.resample.is_distribution();
    let needs_covariance = options.covariance || (!quantities.is_empty() && !has_distribution);
    let covariance = needs_covariance.then(|| intervals.uncertainty.parameter_covariance()).flatten();
    let new_run_margin = new_run_margin(fit, options.confidence);
    let jackknife = intervals.jackknife;
    let mut inference =
        Inference { flags, replicates, jackknife, quantities: Vec::new(), covariance, new_run_margin };
    if !quantities.is_empty() {
        inference.quantities = inference.with_source(options, estimate_all);
    }
    inference.covariance = inference.covariance.filter(|_| options.covariance);
    inference
}

impl Inference {
    /// Calls `answer` with the source of the uncertainty of quantities.
    pub fn with_source<T>(&self, options: &InferenceOptions, answer: impl FnOnce(Source) -> T) -> T {
        let replicates = self.replicates.as_ref().filter(|_| options.resample.is_distribution());
        let rows = replicates.map(Replicates::good_rows);
        let full_len = replicates.map_or(0, |replicates| replicates.estimates.len());
        let good = rows.as_deref().map(|rows| GoodReplicates { rows, full_len });
        let jackknife = self.jackknife.as_ref().map(Replicates::good_rows).unwrap_or_default();
        answer(Source::of(good, &jackknife, self.covariance.as_ref()))
    }
}

/// The intervals of a fit's parameters.
struct Intervals<'a> {
    models: &'a Models,
    fit: &'a Fit,
    options: &'a InferenceOptions,
    uncertainty: Uncertainty<'a>,
    replicates: Option<&'a Replicates>,
    /// The refits that leave out one unit, where a method needs them.
    jackknife: Option<Replicates>,
    /// The standard errors in each replicate, row-major, where a method needs them.
    errors: Vec<f64>,
    /// What the choice of a method depends on, but for the edges, which are each parameter's own.
    circumstances: Circumstances,
}

impl<'a> Intervals<'a> {
    /// Prepares the intervals of a fit.
    fn of(
        models: &'a Models,
        fit: &'a Fit,
        options: &'a InferenceOptions,
        replicates: Option<&'a Replicates>,
        context: &Context,
    ) -> Intervals<'a> {
        let law = models.law();
        let uncertainty = Uncertainty::of(fit, options);
        let free = || law.free_parameters().map(|(i, ..)| i);
        let circumstances = Circumstances {
            asked: options.interval,
            has_replicates: replicates.is_some() && options.resample.is_distribution(),
            is_nearly_absolute: uncertainty.is_nearly_absolute(),
            n_clusters: fit.problem.observations.cluster.as_deref().map(n_distinct),
            replicates_disagree: free().any(|i| disagrees(replicates, options, &uncertainty, fit, i)),
            is_near_edge: false,
        };
        let for_method = |method| replicates.filter(|_| methods(circumstances).contains(&method));
        let jackknife =
            for_method(IntervalMethod::Bca).and_then(|_| jackknife(models, fit, options, context));
        let errors = for_method(IntervalMethod::Studentized)
            .map_or_else(Vec::new, |replicates| replicate_errors(models, fit, replicates, options, context));
        Intervals { models, fit, options, uncertainty, replicates, jackknife, errors, circumstances }
    }

    /// Fills in standard errors and intervals. Returns the flags that follow from them.
    fn fill(&self, estimates: &mut [Estimate], context: &mut Context) -> Vec<Flag> {
        let mut flags = Vec::new();
        let good = self.replicates.map_or(1.0, |r| 1.0 - r.n_failed() as f64 / r.len().max(1) as f64);
        let n_good = |r: &Replicates| r.len() - r.n_failed();
        let are_few =
            |r: &Replicates| good < MIN_GOOD || r.n_samples < MIN_SAMPLES || n_good(r) < MIN_SAMPLES;
        if self.replicates.is_some_and(are_few) {
            flags.push(Flag::FewReplicates);
        }
        // Where a single unit is all there is to draw, nothing is known about other samples.
        let is_known = good >= MIN_GOOD_FOR_INTERVAL
            && (self.options.n_replicates() == 0 || self.fit.problem.p() == 0 || self.replicates.is_some());
        let free: Vec<usize> = (0..estimates.len()).filter(|&i| !estimates[i].fixed).collect();
        for i in free {
            let is_near_edge = self.is_near_edge(i, context);
            let estimate = &mut estimates[i];
            estimate.std_error = self.uncertainty.std_error(i);
            if is_known {
                estimate.bootstrap_std_error = self.bootstrap_std_error(Scale::Linear, i);
                let methods = methods(Circumstances { is_near_edge, ..self.circumstances });
                let found = methods.iter().find_map(|&m| Some((self.interval(i, m, context)?, m)));
                (estimate.interval, estimate.method) = found.unzip();
            }
        }
        if self.circumstances.n_clusters.is_some_and(|n| n < FEW_CLUSTERS) {
            flags.push(Flag::FewClusters);
        }
        self.open_unbounded(estimates, context.workspace);
        for Estimate { bootstrap_std_error, interval, .. } in estimates {
            if interval.is_some_and(|(low, high)| low.is_infinite() || high.is_infinite()) {
                *bootstrap_std_error = None;
                flags.push(Flag::UnboundedInterval);
            }
        }
        flags.sort_unstable();
        flags.dedup();
        flags
    }

    /// Returns whether the interval of a parameter reaches the edge of its domain. The logarithm of a positive parameter may be
    /// hardly known although zero is far: there the objective at zero is asked.
    fn is_near_edge(&self, i: usize, context: &mut Context) -> bool {
        let Intervals { models, fit, options, uncertainty, .. } = self;
        let law = models.law();
        if options.interval.is_some() || !uncertainty.is_near_edge(law, i) {
            return false;
        }
        if uncertainty.scale(i) == Scale::Linear {
            return true;
        }
        let target = uncertainty.profile_target(law, i);
        target.is_some_and(|target| reaches_zero(models, fit, target, &options.tuning, context.workspace))
    }

    /// Returns the interval of a parameter by a method; none where the method cannot give one.
    fn interval(&self, i: usize, method: IntervalMethod, context: &mut Context) -> Option<(f64, f64)> {
        let Intervals { models, fit, options, uncertainty, .. } = self;
        let law = models.law();
        let InferenceOptions { confidence, tuning, .. } = options;
        let estimate = fit.natural[i];
        let scale = uncertainty.scale(i);
        let values = || Some(self.replicates?.values(i).collect::<Vec<f64>>());
        match method {
            IntervalMethod::Percentile => percentile_interval(&mut values()?, *confidence),
            IntervalMethod::Basic => basic_interval(scale, estimate, &mut values()?, *confidence),
            IntervalMethod::Normal => {
                let quantile = normal_quantile(0.5 + 0.5 * confidence);
                let std_error = self.bootstrap_std_error(scale, i)?;
                Some(symmetric_interval(scale, estimate, std_error, quantile))
            }
            IntervalMethod::T => uncertainty.t_interval(law, i),
            IntervalMethod::Studentized => {
                let own = uncertainty.classical_error(i)?;
                let errors = self.errors.iter().skip(i).step_by(law.parameters.len());
                let replicates = self.replicates?;
                let rows = (0..replicates.len()).map(|r| replicates.row(r)[i]);
                studentized_interval(scale, (estimate, own), rows.zip(errors.copied()), *confidence)
            }
            IntervalMethod::Bca => {
                bca_interval(estimate, &mut values()?, self.jackknife.as_ref()?.values(i), *confidence)
            }
            IntervalMethod::Profile => {
                let target = uncertainty.profile_target(law, i)?;
                profile_interval(models, fit, target, tuning, context.workspace)
            }
        }
    }

    /// Returns the standard error of a parameter over the replicates, on a scale.
    fn bootstrap_std_error(&self, scale: Scale, i: usize) -> Option<f64> {
        let replicates = self.replicates?;
        let deviation = standard_deviation_of(replicates, scale, i)?;
        if self.options.resample.is_distribution() {
            return Some(deviation);
        }
        // Jackknife replicates lie closer to the estimate, by a factor of n − 1 in the sum of squares.
        let n = (replicates.len() - replicates.n_failed()) as f64;
        Some(deviation * (n - 1.0) / n.sqrt())
    }

    /// Opens the intervals of parameters that the data does not bound, but for profiles, which were followed that far.
    fn open_unbounded(&self, estimates: &mut [Estimate], workspace: &mut Workspace) {
        let Intervals { models, fit, uncertainty, .. } = self;
        let Some(solution) = &fit.solution else { return };
        let at = (&fit.problem, solution);
        let may_be_open = |coordinate: &usize| {
            may_be_unbounded(models, at, *coordinate, uncertainty.approximate_margin(*coordinate))
        };
        let reach = |coordinate: usize| {
            let margin = uncertainty.margin(|i| if i == coordinate { 1.0 } else { 0.0 })?;
            Some(Reach { coordinate, distance: margin.half_length(), rise: margin.rise })
        };
        let free = solution.free.iter().copied();
        let reaches: Vec<Reach> = free.filter(may_be_open).filter_map(reach).collect();
        for (i, towards) in unbounded_parameters(models, at, &reaches, workspace.starts()) {
            let Estimate { interval, method, .. } = &mut estimates[i];
            let Some((low, high)) = interval.as_mut().filter(|_| *method != Some(IntervalMethod::Profile))
            else {
                continue;
            };
            match towards {
                Towards::Infinity => *high = f64::INFINITY,
                Towards::MinusInfinity => *low = f64::NEG_INFINITY,
                Towards::Zero => *low = low.min(0.0),
            }
        }
    }
}

/// The ratio of the bootstrap standard error to the asymptotic one from which replicates decide.
const MAX_ERROR_RATIO: f64 = 1.5;

/// The number of observations from which replicates tell that the asymptotic standard error is too small.
const MIN_POINTS_TO_DISAGREE: usize = 30;

/// Returns whether a parameter varies much more over the replicates than its asymptotic standard error says.
fn disagrees(
    replicates: Option<&Replicates>,
    options: &InferenceOptions,
    uncertainty: &Uncertainty,
    fit: &Fit,
    parameter: usize,
) -> bool {
    let Some(replicates) = replicates.filter(|_| options.resample.is_distribution()) else { return false };
    let good = replicates.len() - replicates.n_failed();
    let is_known = fit.problem.n_weighted() >= MIN_POINTS_TO_DISAGREE
        && good >= MIN_SAMPLES
        && good as f64 >= MIN_GOOD * replicates.len() as f64;
    let Some(margin) = uncertainty.parameter_margin(parameter).filter(|_| is_known) else { return false };
    let error = standard_deviation_of(replicates, uncertainty.scale(parameter), parameter);
    error.is_some_and(|error| error > MAX_ERROR_RATIO * margin.std_error)
}

/// Returns the standard deviation of a parameter over the good replicates, on a scale.
fn standard_deviation_of(replicates: &Replicates, scale: Scale, parameter: usize) -> Option<f64> {
    let values: Vec<f64> = replicates.values(parameter).map(|x| scale.transform(x)).collect();
    standard_deviation(&values)
}

/// Returns the number of distinct values.
fn n_distinct(values: &[u32]) -> usize {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    values.len()
}
