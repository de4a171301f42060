//! Fits a law to many sweeps, from Arrow record batches to Arrow record batches, without any file in between.
//!
//! `cargo run --release --example batches`

use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use sweepfit::{Control, Job};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Two learners of different speed, twenty sample sizes each. Rows may come in any order.
    let rows =
        (0..40).map(|i| (["fast", "slow"][i % 2], [0.7, 0.3][i % 2], 10.0 * 1.3f64.powi(i as i32 / 2)));
    let (learner, rest): (Vec<&str>, Vec<(f64, f64)>) = rows.map(|(l, c, x)| (l, (c, x))).unzip();
    let error = rest.iter().map(|(speed, x)| 0.05 + x.powf(-speed));
    let batch = RecordBatch::try_from_iter([
        ("learner", Arc::new(StringArray::from(learner)) as _),
        ("x", Arc::new(Float64Array::from_iter_values(rest.iter().map(|(_, x)| *x))) as _),
        ("y", Arc::new(Float64Array::from_iter_values(error)) as _),
    ])?;

    let job =
        Job { by: vec!["learner".into()], bootstrap: 0, ..Job::new("y ~ e + b*x^(-c) where e >= 0, b > 0") };
    let tables = job.fit_batches(batch.schema(), vec![batch], &Control::default())?;

    for batch in tables.rows("coefficients").unwrap_or_default() {
        let learner = batch["learner"].as_string::<i32>();
        let parameter = batch["parameter"].as_string::<i32>();
        let estimate = batch["estimate"].as_primitive::<Float64Type>();
        for i in 0..batch.num_rows() {
            println!("{} {} {:.6}", learner.value(i), parameter.value(i), estimate.value(i));
        }
    }
    Ok(())
}
