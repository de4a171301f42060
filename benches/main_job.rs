//! Measures the time of one evaluation, one fit, replicates, and a whole job.
//!
//! Run `cargo bench --bench main_job`. Times are for one thread unless the name of the benchmark says otherwise.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fearless_simd::Level;
use sweepfit::engine::{Control, Job, LawText};
use sweepfit::infer::{Context, InferenceOptions, replicate};
use sweepfit::internals::lanes::Pack;
use sweepfit::internals::optimize::{self, Workspace, Workspaces};
use sweepfit::internals::problem::{CurvatureMix, LaneData, Loss, Objective, Order, ProgramWorkspace, Sums};
use sweepfit::{OutputOptions, run_files};

use common::{FIXTURE, chinchilla, fitted};

fn kernel(c: &mut Criterion) {
    let (models, problem) = chinchilla(Loss::L2);
    let fit = fitted(&models, &problem);
    let theta = &fit.solution.as_ref().expect("it fits").theta;
    let coordinates: Vec<Pack> = theta.iter().map(|&x| Pack::splat(x)).collect();
    let data = LaneData::repeated(&problem);
    let mut group = c.benchmark_group("evaluation, 240 observations × 8 fits");
    group.throughput(Throughput::Elements(8 * problem.n() as u64));
    for (name, loss, order) in [
        ("value", Loss::L2, Order::Value),
        ("normal equations", Loss::L2, Order::Hessian),
        ("normal equations, huber", Loss::Huber { delta: 1e-3 }, Order::Hessian),
    ] {
        let (mut workspace, mut sums) = (ProgramWorkspace::default(), Sums::default());
        let objective =
            Objective { model: &problem.model, loss, order, data: &data, mix: &CurvatureMix::GAUSS_NEWTON };
        group.bench_function(name, |b| {
            b.iter(|| objective.evaluate(Level::new(), black_box(&coordinates), &mut workspace, &mut sums));
        });
    }
    group.finish();
}

fn one_fit(c: &mut Criterion) {
    let mut group = c.benchmark_group("one fit with its multi-start and certificate, 240 observations");
    for loss in [Loss::L2, Loss::Huber { delta: 1e-3 }] {
        let (models, problem) = chinchilla(loss);
        let mut workspace = Workspace::default();
        group.bench_function(BenchmarkId::from_parameter(loss), |b| {
            b.iter(|| {
                optimize::fit(&models, problem.clone(), &optimize::FitOptions::default(), &mut workspace)
            });
        });
    }
    group.finish();
}

fn replicates(c: &mut Criterion) {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let mut group = c.benchmark_group("1,000 replicates, 240 observations");
    group.throughput(Throughput::Elements(1000));
    group.sample_size(20);
    for loss in [Loss::L2, Loss::Huber { delta: 1e-3 }] {
        let (models, problem) = chinchilla(loss);
        let fit = fitted(&models, &problem);
        let options = InferenceOptions::default();
        group.bench_function(BenchmarkId::from_parameter(loss), |b| {
            let workspaces = Workspaces::default();
            b.iter(|| {
                one.install(|| {
                    let mut workspace = Workspace::default();
                    let context = Context::silent(&workspaces, &mut workspace);
                    replicate(&models, &fit, &options, &context)
                })
            });
        });
    }
    group.finish();
}

fn whole_job(c: &mut Criterion) {
    let out = tempfile::tempdir().expect("a directory");
    let job = Job {
        inputs: vec![FIXTURE.to_string()],
        by: vec!["sweep".into()],
        laws: vec![LawText::Name("chinchilla".to_string())],
        bootstrap: 100,
        ..Job::default()
    };
    let mut group = c.benchmark_group("whole job, all cores");
    group.sample_size(20);
    group.bench_function("40 sweeps × 48 observations, 100 replicates each", |b| {
        let options = OutputOptions { overwrite: true, ..OutputOptions::default() };
        b.iter(|| run_files(&job, out.path(), &options, &Control::default()));
    });
    group.finish();
}

criterion_group!(benches, kernel, one_fit, replicates, whole_job);
criterion_main!(benches);
