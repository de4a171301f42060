//! What the benches share: 240 observations of the fixture as one problem.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sweepfit::dataset::{self, Request};
use sweepfit::law::{Catalogue, Residual};
use sweepfit::problem::{Binding, Loss, Observations, Problem};
use sweepfit::solve::{self, Batch, Fit, Models};

pub const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chinchilla_sweeps.parquet");

/// The fixture's first five sweeps as one problem of 240 observations.
pub fn chinchilla(loss: Loss) -> (Models, Problem) {
    let law = Catalogue::built_in().expect("the catalogue parses").get("chinchilla").expect("a law").clone();
    let models = Models::compile(law.clone(), Residual::Log);
    let names: Vec<String> = ["loss", "N", "D"].map(String::from).to_vec();
    let header = dataset::inspect(&[FIXTURE.to_string()]).expect("the fixture is there");
    let request = Request {
        inputs: vec![FIXTURE.to_string()],
        columns: names.clone(),
        order: names.clone(),
        condition: Some(sweepfit::formula::parse_condition("sweep < 'sweep-00005'").expect("a condition")),
        ..Request::default()
    };
    let dataset = dataset::read(&header, &request, &AtomicBool::new(false)).expect("the fixture is readable");
    let binding =
        Binding { names, used: vec![0, 1, 2], response: law.response.clone(), weight: None, sigma: None };
    let (observations, _) = Observations::bind(&law, models.full(), &binding, &dataset.sweep(0));
    let problem = Problem::new(models.full().clone(), Arc::new(observations), loss);
    (models, problem)
}

pub fn fitted(models: &Models, problem: &Problem) -> Fit {
    solve::fit(models, problem.clone(), &solve::Options::default(), &mut Batch::default())
}
