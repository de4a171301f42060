//! Arbitrary text as a formula: from the parser to the compiled program. Texts that fit without trouble have the objective that the
//! formula has, evaluated as written, at the estimates.
//!
//! ```sh
//! mkdir -p corpus/formula && sed -n 's/^formula = "\(.*\)"/\1/p' ../../src/law/catalogue.toml | split -l 1 - corpus/formula/
//! cargo +nightly fuzz run --fuzz-dir . formula -- -only_ascii=1 -timeout=20
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use sweepfit::formula::parse_formula;
use sweepfit::internals::optimize::Models;
use sweepfit::law::{Law, Residual, Symmetries};
use sweepfit::{Job, Loss, LossChoice, Status};

const X: [f64; 8] = [0.5, 1.0, 2.0, 3.0, 4.5, 7.0, 11.0, 16.0];
const Y: [f64; 8] = [3.1, 2.4, 1.9, 1.7, 1.5, 1.42, 1.35, 1.31];

fuzz_target!(|text: &str| {
    let Ok(formula) = parse_formula(text) else { return };
    let Ok(law) = Law::from_formula(formula, &["x", "y"].map(String::from)) else { return };
    for residual in [Residual::Linear, Residual::Log] {
        let _ = Models::compile(law.clone(), residual);
    }
    let _ = Symmetries::of(&law);
    // Longer formulas are compiled only: their fits take too long.
    if text.len() > 200 || law.response.to_string() != "y" {
        return;
    }
    let job = Job {
        bootstrap: 0,
        starts: Some(4),
        residual: Some(Residual::Linear),
        loss: Some(LossChoice::Given(Loss::L2)),
        ..Job::new(text)
    };
    let Ok(fit) = job.fit(&[("x", &X), ("y", &Y)]) else { return };
    if fit.status != Status::Converged || fit.n_points != X.len() {
        return;
    }
    let Ok(predictions) = fit.predict(&[("x", &X)]) else { return };
    let objective: f64 = predictions.iter().zip(Y).map(|(p, y)| (p - y).powi(2) / 2.0).sum();
    // Estimates are rounded: cancellation in the formula's terms is seen in the prediction.
    let rounding = 1e-6 * predictions.iter().fold(1.0, |most: f64, p| most.max(p.abs()));
    assert!(
        (objective - fit.objective).abs() <= rounding + 1e-6 * fit.objective,
        "objective {} at the estimates, {} reported",
        objective,
        fit.objective
    );
});
