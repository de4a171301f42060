//! How often intervals contain the truth: sweeps are simulated from known parameters on a given design, fitted by a job, and
//! judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, UInt32Array};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::compile::Scale;
use crate::engine::{self, Control, Job};
use crate::error::{Error, Setting};
use crate::formula::parse_expression;
use crate::infer::{IntervalMethod, Quantity, exponential_variate, normal_variate, uniform_variate};
use crate::input::Memory;
use crate::output::Chunk;
use crate::questions::{new_run_interval, prediction_expr};

/// The distribution of simulated residuals.
#[derive(Clone, Debug, PartialEq)]
pub enum Noise {
    /// The normal distribution.
    Normal,
    /// Student's t with three degrees of freedom.
    T3,
    /// A given residual of each observation, in units of its deviation, with a random sign, one for each cluster where there are
    /// clusters: uneven spread, and what clusters have in common, stay where they are.
    Own(Vec<f64>),
}

/// A simulation: what is fitted, on which design, and the truth.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// The job; it has one law, and its inputs and keys do not matter.
    pub job: Job,
    /// The variables of the law with their values, one per observation.
    pub design: Vec<(String, Vec<f64>)>,
    /// The cluster of each observation, in the column that the job resamples by; none for independent observations.
    pub clusters: Option<Vec<u32>>,
    /// The true parameters in natural units, by name.
    pub truth: Vec<(String, f64)>,
    /// The distribution of residuals.
    pub noise: Noise,
    /// The standard deviation of each observation's residual, on the scale of residuals.
    pub deviation: Vec<f64>,
    /// The share of the variance that the observations of a cluster have in common.
    pub cluster_share: f64,
    /// A point at which the law, and a new run of the given deviation, are predicted.
    pub new_run: Option<(Vec<f64>, f64)>,
    /// The number of sweeps.
    pub sweeps: usize,
    /// The seed of the noise.
    pub seed: u64,
}

/// How often the intervals of one quantity contain the truth.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantityCoverage {
    /// The name of a parameter, of a derived quantity, `prediction` or `new run`.
    pub quantity: String,
    /// The fraction of all sweeps whose interval contains the truth; sweeps without an interval count as not.
    pub coverage: f64,
    /// The fraction of sweeps that have an interval.
    pub with_interval: f64,
    /// The standard error of the coverage.
    pub mc_error: f64,
    /// The mean length of finite intervals.
    pub mean_width: f64,
    /// The method of most intervals.
    pub method: Option<IntervalMethod>,
}

/// The column of the simulated sweep's number.
const SWEEP: &str = "sweep";

/// The name of the quantity that is the law at the point of the new run.
const PREDICTION: &str = "prediction";

impl Simulation {
    /// Simulates, fits and judges.
    ///
    /// # Errors
    /// If the job does not fit the design, a parameter of the law has no true value, or the run is interrupted.
    pub fn run(&self, control: &Control) -> Result<Vec<QuantityCoverage>, Error> {
        let invalid = |reason: String| Error::Invalid { place: Setting::Law.whole(), reason };
        let probe: Vec<(&str, &[f64])> =
            self.design.iter().map(|(name, values)| (name.as_str(), values.as_slice())).collect();
        let n = probe.first().map_or(0, |(_, values)| values.len());
        let zeros = vec![1.0; n];
        let mut columns = probe.clone();
        columns.push(("simulated_response", &zeros));
        let mut job =
            Job { response: Some("simulated_response".into()), by: vec![SWEEP.into()], ..self.job.clone() };
        (job.keep_replicates, job.residuals) = (engine::KeepReplicates::Never, false);
        let plan = engine::plan(
            &Job { by: Vec::new(), resample: crate::infer::Resample::Pairs, ..job.clone() },
            &Memory::of_columns(&columns)?,
        )?;
        let Some(bound) = plan.laws.first().filter(|_| plan.laws.len() == 1) else {
            return Err(invalid("one law is simulated at a time".to_string()));
        };
        let law = &bound.law;
        let truth = |name: &str| self.truth.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        let natural = law
            .parameters
            .iter()
            .map(|p| truth(&p.name).ok_or_else(|| invalid(format!("`{}` has no true value", p.name))))
            .collect::<Result<Vec<f64>, Error>>()?;
        let variable = |name: &String| {
            let column = self.design.iter().find(|(known, _)| known == name);
            column.map_or_else(|| vec![f64::NAN; n], |(_, values)| values.clone())
        };
        let predicted = law.evaluate(n, |k| variable(&law.variables[k]), |i| vec![natural[i]; n]);
        let scale = Scale::from(bound.residual);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);

        let (mut sweeps, mut responses) = (Vec::new(), Vec::new());
        let mut new_runs = Vec::new();
        let at_point = self.new_run.as_ref().map(|(point, _)| {
            let value = law.evaluate(1, |k| vec![point[k]], |i| vec![natural[i]]);
            scale.transform(value[0])
        });
        for sweep in 0..self.sweeps {
            // What the observations of a cluster share: a draw of the noise, or the sign of given residuals.
            let mut of_cluster: BTreeMap<u32, f64> = BTreeMap::new();
            for (i, predicted) in predicted.iter().enumerate() {
                let cluster = self.clusters.as_ref().map(|clusters| clusters[i]);
                let noise = match (&self.noise, cluster) {
                    (Noise::Own(values), Some(cluster)) => {
                        values[i] * *of_cluster.entry(cluster).or_insert_with(|| random_sign(&mut rng))
                    }
                    (_, Some(cluster)) => {
                        let own = self.draw(i, &mut rng);
                        let shared = *of_cluster.entry(cluster).or_insert_with(|| self.draw(i, &mut rng));
                        self.cluster_share.sqrt() * shared + (1.0 - self.cluster_share).sqrt() * own
                    }
                    (_, None) => self.draw(i, &mut rng),
                };
                sweeps.push(sweep as u32);
                responses.push(scale.natural(scale.transform(*predicted) + self.deviation[i] * noise));
            }
            if let (Some(at), Some((_, deviation))) = (at_point, &self.new_run) {
                new_runs.push(scale.natural(at + deviation * self.draw(0, &mut rng)));
            }
        }
        let repeated = |values: &[f64]| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values((0..self.sweeps).flat_map(|_| values.iter().copied())))
        };
        let mut arrays: Vec<(&str, ArrayRef)> = vec![(SWEEP, Arc::new(UInt32Array::from(sweeps)))];
        arrays.extend(self.design.iter().map(|(name, values)| (name.as_str(), repeated(values))));
        arrays.push(("simulated_response", Arc::new(Float64Array::from(responses))));
        let is_variable = |column: &&str| self.design.iter().any(|(name, _)| name == column);
        let column = self.job.resample.cluster_column().filter(|column| !is_variable(column));
        if let (Some(clusters), Some(column)) = (&self.clusters, column) {
            let clusters =
                UInt32Array::from_iter_values((0..self.sweeps).flat_map(|_| clusters.iter().copied()));
            arrays.push((column, Arc::new(clusters)));
        }
        let defect = |error: arrow::error::ArrowError| Error::Internal {
            context: "simulated sweeps".to_string(),
            reason: error.to_string(),
        };
        let batch = RecordBatch::try_from_iter(arrays).map_err(defect)?;
        if let Some((point, _)) = &self.new_run {
            job.derive.push((PREDICTION.to_string(), prediction_expr(law, point).to_string()));
        }
        let mut chunk = Chunk::default();
        let source = Memory::new(batch.schema(), vec![batch])?;
        engine::run(&job, &source, &mut chunk, control)?;

        let mut judged: Vec<Judge> = Vec::new();
        for (i, parameter) in law.parameters.iter().enumerate() {
            if law.free_parameters().any(|(free, ..)| free == i) {
                let mut judge = Judge::new(&parameter.name, self.sweeps);
                for record in &chunk.records {
                    let estimate = &chunk.estimates(record)[i];
                    judge.add(estimate.interval, natural[i], estimate.method);
                }
                judged.push(judge);
            }
        }
        for (q, (name, text)) in job.derive.iter().enumerate() {
            let expr = parse_expression(text)?;
            let expected = Quantity::new(name, expr, law).values(law, &natural)[0];
            let mut judge = Judge::new(name, self.sweeps);
            for record in &chunk.records {
                judge.add(record.quantities[q].interval, expected, record.quantities[q].method);
            }
            judged.push(judge);
        }
        if self.new_run.is_some() {
            let mut judge = Judge::new("new run", self.sweeps);
            for record in &chunk.records {
                let interval = record.quantities.last().and_then(|prediction| {
                    new_run_interval(scale, prediction.estimate, prediction.interval?, record.new_run_margin?)
                });
                judge.add(interval, new_runs[record.sweep], record.quantities.last().and_then(|q| q.method));
            }
            judged.push(judge);
        }
        Ok(judged.into_iter().map(Judge::finish).collect())
    }

    /// Draws a residual of an observation.
    fn draw(&self, observation: usize, rng: &mut ChaCha8Rng) -> f64 {
        match &self.noise {
            Noise::Normal => normal_variate(rng),
            Noise::T3 => {
                // A chi-square of three degrees of freedom is twice an exponential plus a squared normal; the variance of t₃
                // is 3.
                let chi_square = 2.0 * exponential_variate(rng) + normal_variate(rng).powi(2);
                normal_variate(rng) / chi_square.sqrt()
            }
            Noise::Own(values) => random_sign(rng) * values.get(observation).copied().unwrap_or(0.0),
        }
    }
}

/// Returns 1 or −1.
fn random_sign(rng: &mut ChaCha8Rng) -> f64 {
    if uniform_variate(rng) < 0.5 { -1.0 } else { 1.0 }
}

/// Counts intervals that contain the truth.
struct Judge {
    quantity: String,
    sweeps: usize,
    inside: usize,
    with_interval: usize,
    finite: usize,
    width: f64,
    methods: Vec<(IntervalMethod, usize)>,
}

impl Judge {
    fn new(quantity: &str, sweeps: usize) -> Judge {
        let quantity = quantity.to_string();
        Judge { quantity, sweeps, inside: 0, with_interval: 0, finite: 0, width: 0.0, methods: Vec::new() }
    }

    fn add(&mut self, interval: Option<(f64, f64)>, truth: f64, method: Option<IntervalMethod>) {
        let Some((low, high)) = interval else { return };
        self.with_interval += 1;
        self.inside += usize::from(low <= truth && truth <= high);
        if (high - low).is_finite() {
            self.finite += 1;
            self.width += high - low;
        }
        if let Some(method) = method {
            match self.methods.iter_mut().find(|(known, _)| *known == method) {
                Some((_, count)) => *count += 1,
                None => self.methods.push((method, 1)),
            }
        }
    }

    fn finish(self) -> QuantityCoverage {
        let n = self.sweeps.max(1) as f64;
        let coverage = self.inside as f64 / n;
        QuantityCoverage {
            quantity: self.quantity,
            coverage,
            with_interval: self.with_interval as f64 / n,
            // Of the share with two more on either side, which is never zero (Agresti & Coull 1998).
            mc_error: {
                let share = (self.inside as f64 + 2.0) / (n + 4.0);
                (share * (1.0 - share) / (n + 4.0)).sqrt()
            },
            mean_width: self.width / self.finite as f64,
            method: self.methods.into_iter().max_by_key(|(_, count)| *count).map(|(method, _)| method),
        }
    }
}
