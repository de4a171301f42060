//! Fits a law to columns in memory, prints its coefficients with their intervals, and predicts.
//!
//! `cargo run --release --example columns`

use sweepfit::{Job, Resample};

fn main() -> Result<(), sweepfit::Error> {
    // Twelve model sizes, three training runs of each; the runs of a size share their data.
    let size: Vec<f64> = (0..36).map(|i| 1e7 * 2f64.powi(i / 3)).collect();
    let noise = |i: usize| 0.004 * (12.9898 * i as f64).sin();
    let loss: Vec<f64> =
        size.iter().enumerate().map(|(i, n)| (1.69 + 406.4 / n.powf(0.34)) * (1.0 + noise(i))).collect();

    let job = Job {
        resample: Resample::Cluster("size".into()),
        bootstrap: 500,
        ..Job::new("loss ~ E + A/size^alpha where E > 0, A > 0")
    };
    let fit = job.fit(&[("size", &size), ("loss", &loss)])?;

    println!("{} {}", fit.status.name(), fit.message);
    for (parameter, estimate) in fit.law.parameters.iter().zip(&fit.estimates) {
        let (low, high) = estimate.interval.unwrap_or((f64::NAN, f64::NAN));
        println!("{:>6} {:10.4}   [{low:.4}, {high:.4}]", parameter.name, estimate.estimate);
    }
    for (size, loss) in [1e11, 1e12].iter().zip(fit.predict(&[("size", &[1e11, 1e12])])?) {
        println!("a model of {size:e} parameters will reach {loss:.4}");
    }
    Ok(())
}
