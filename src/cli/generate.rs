//! `sweepfit generate`: writes synthetic sweeps of a law, for examples, benches and the fixtures.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use clap::Args;
use parquet::arrow::ArrowWriter;
use rand_chacha::rand_core::Rng;

use crate::formula::{Column, Table, counted, evaluate};
use crate::infer::{generator, normal_quantile};
use crate::lanes::scalar;
use crate::law::{Catalogue, Law};

use super::Failure;
use super::numbers::whole;

/// The arguments of `sweepfit generate`.
#[derive(Args, Debug)]
pub struct GenerateArguments {
    /// A catalogue name
    #[arg(long)]
    law: String,

    /// Parquet file to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,

    /// The law's parameters, as NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE,…", value_delimiter = ',', required = true)]
    parameters: Vec<String>,

    /// Range of a variable, as NAME=LOW:HIGH; values are drawn uniformly in its logarithm
    #[arg(long, value_name = "NAME=LOW:HIGH,…", value_delimiter = ',', required = true)]
    range: Vec<String>,

    /// Number of sweeps; from the second on, each parameter differs from the given value by up to 5 %
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = whole(1, u64::MAX))]
    sweeps: u64,

    /// Observations per sweep
    #[arg(long, value_name = "N", default_value_t = 20, allow_negative_numbers = true, value_parser = whole(1, u64::MAX))]
    points: u64,

    /// Standard deviation of the noise on the response's logarithm
    #[arg(long, value_name = "SD", default_value_t = 0.0, allow_negative_numbers = true)]
    noise: f64,

    /// Seed of all random numbers
    #[arg(long, value_name = "U64", default_value_t = 0, allow_negative_numbers = true, value_parser = whole(0, u64::MAX))]
    seed: u64,
}

/// The largest number of rows, because all rows are held in memory.
const MAX_ROWS: u64 = 100_000_000;

/// Splits texts at their first `=`.
fn pairs<'a>(flag: &str, texts: &'a [String]) -> Result<Vec<(&'a str, &'a str)>, Failure> {
    texts
        .iter()
        .map(|t| t.split_once('=').ok_or_else(|| Failure::usage(format!("{flag} {t}: write NAME=…"))))
        .collect()
}

/// Parses the number of a flag.
fn number(flag: &str, text: &str) -> Result<f64, Failure> {
    text.parse().map_err(|_| Failure::usage(format!("{flag}: `{text}` is not a number")))
}

/// Runs the command and returns its output.
pub fn run(arguments: &GenerateArguments) -> Result<String, Failure> {
    let catalogue = Catalogue::built_in().map_err(|e| Failure::usage(e.to_string()))?;
    let law = catalogue
        .get(&arguments.law)
        .ok_or_else(|| Failure::usage(format!("no law `{}` in the catalogue", arguments.law)))?;
    let mut parameters = Vec::new();
    for (name, value) in pairs("--parameters", &arguments.parameters)? {
        parameters.push((name, number("--parameters", value)?));
    }
    let mut ranges = Vec::new();
    for (name, range) in pairs("--range", &arguments.range)? {
        let (low, high) = range
            .split_once(':')
            .ok_or_else(|| Failure::usage(format!("--range {name}={range}: write LOW:HIGH")))?;
        let (low, high) = (number("--range", low)?, number("--range", high)?);
        if !(low > 0.0 && high >= low) {
            return Err(Failure::usage(format!("--range {name}: needs 0 < LOW ≤ HIGH")));
        }
        ranges.push((name, low, high));
    }
    let missing = law
        .parameters
        .iter()
        .map(|p| &p.name)
        .find(|n| !parameters.iter().any(|(m, _)| m == n))
        .or_else(|| law.variables.iter().find(|n| !ranges.iter().any(|(m, ..)| m == n)));
    if let Some(name) = missing {
        return Err(Failure::usage(format!("law `{}`: no value for `{name}`", law.name)));
    }
    let batch = generate(arguments, law, &parameters, &ranges)?;
    let fail =
        |error: String| Failure { status: 1, message: format!("{}: {error}", arguments.out.display()) };
    let file = File::create(&arguments.out).map_err(|e| fail(e.to_string()))?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).map_err(|e| fail(e.to_string()))?;
    writer.write(&batch).map_err(|e| fail(e.to_string()))?;
    writer.close().map_err(|e| fail(e.to_string()))?;
    Ok(format!("{} in {}\n", counted(batch.num_rows(), "row"), arguments.out.display()))
}

/// Returns the rows: the sweep's name, the variables in the order of `ranges`, and the response.
fn generate(
    arguments: &GenerateArguments,
    law: &Law,
    parameters: &[(&str, f64)],
    ranges: &[(&str, f64, f64)],
) -> Result<RecordBatch, Failure> {
    let GenerateArguments { sweeps, points, noise, .. } = *arguments;
    let n = sweeps.checked_mul(points).filter(|n| *n <= MAX_ROWS).ok_or_else(|| {
        Failure::usage(format!(
            "--sweeps {sweeps} of --points {points}: more than {MAX_ROWS} rows; write them as several files"
        ))
    })?;
    if !(noise >= 0.0 && noise.is_finite()) {
        return Err(Failure::usage(format!("--noise {noise}: give a number that is not negative")));
    }
    let (n, points) = (n as usize, points as usize);
    let mut rng = generator("generate", arguments.seed, &[0; 32]);
    // Uniform on the open unit interval, with 53 bits.
    let mut uniform = move || ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let mut table = Table::new(n);
    let variables: Vec<Vec<f64>> = ranges
        .iter()
        .map(|&(_, low, high)| (0..n).map(|_| low * scalar::pow(high / low, uniform())).collect())
        .collect();
    for (&(name, ..), values) in ranges.iter().zip(&variables) {
        table.push_numbers(name, values.clone());
    }
    for &(name, value) in parameters {
        let mut column = Vec::with_capacity(n);
        for sweep in 0..arguments.sweeps {
            let spread = if sweep == 0 { 1.0 } else { 1.0 + 0.1 * (uniform() - 0.5) };
            column.extend(std::iter::repeat_n(value * spread, points));
        }
        table.push_numbers(name, column);
    }
    let prediction = match evaluate(&law.prediction, &table) {
        Ok(Column::Number { values, .. }) => values,
        Ok(_) => return Err(Failure::usage("the law is not a number")),
        Err(error) => return Err(Failure::usage(error.message)),
    };
    let response: Vec<f64> = prediction
        .iter()
        .map(|y| if noise > 0.0 { y * scalar::exp(noise * normal_quantile(uniform())) } else { *y })
        .collect();
    let sweep = (0..n).map(|i| format!("sweep-{:05}", i / points));
    let mut fields: Vec<(String, ArrayRef)> =
        vec![("sweep".to_string(), Arc::new(StringArray::from_iter_values(sweep)))];
    for (i, (name, ..)) in ranges.iter().enumerate() {
        fields.push(((*name).to_string(), Arc::new(Float64Array::from(variables[i].clone()))));
    }
    fields.push((
        law.response.to_string().trim_matches('"').to_string(),
        Arc::new(Float64Array::from(response)),
    ));
    RecordBatch::try_from_iter(fields).map_err(|e| Failure::usage(e.to_string()))
}
