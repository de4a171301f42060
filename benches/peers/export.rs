//! Writes the data that all peers read: observations, weights of the replicates, and starts.

use std::fs;
use std::path::Path;

use serde_json::json;
use sweepfit::engine::{Job, KeepReplicates};
use sweepfit::infer::{Sample, Scheme, UnitResampling, generator};
use sweepfit::internals::optimize::{Models, Points, Starts, Tuning, Workspace};
use sweepfit::internals::problem::{Loss, Part, Problem};

use crate::common::{self, fitted};
use crate::{BATCH_POINTS, BATCH_REPLICATES, BATCH_STARTS, LOSSES, ordered, plain_start};

/// A column of the data by name, in the order of the observations.
pub fn source<'a>(problem: &'a Problem, name: &str) -> &'a [f64] {
    let index = problem.model.sources.iter().position(|s| s.to_string() == name).expect("a variable");
    problem.observations.source(index)
}

pub fn all(folder: &Path, replicates: usize, sweeps: usize) {
    points(folder, replicates);
    workspace(folder, sweeps);
}

fn points(folder: &Path, replicates: usize) {
    let (models, problem) = common::chinchilla(Loss::L2);
    let estimates: serde_json::Map<String, serde_json::Value> = LOSSES
        .iter()
        .map(|&(name, loss)| {
            let (models, problem) = common::chinchilla(loss);
            (name.to_string(), json!(ordered(&models, &fitted(&models, &problem).natural)))
        })
        .collect();
    let mut weights = Vec::new();
    draw(&problem, &[0; 32], replicates, &mut weights);
    write(folder, "weights.u8", weights);
    let meta = json!({
        "source": common::points().name,
        "N": source(&problem, "N"),
        "D": source(&problem, "D"),
        "loss": *problem.observations.response,
        "start": plain_start(&problem),
        "estimate": estimates,
        "replicates": replicates,
        "parameters": ["E", "A", "B", "alpha", "beta"],
    });
    drop(models);
    write(folder, "points.json", meta.to_string().into_bytes());
}

/// The job of the batch, on its generated file.
pub fn batch_job(folder: &Path, loss: Loss) -> Job {
    let meta: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("workspace.json")).expect("exported")).expect("JSON");
    let sweeps = meta["sweeps"].as_u64().expect("a count") as usize;
    let path = common::generate(folder, sweeps, BATCH_POINTS);
    Job {
        starts: Some(BATCH_STARTS),
        keep_replicates: KeepReplicates::Always,
        ..common::job(&path, loss, BATCH_REPLICATES)
    }
}

fn workspace(folder: &Path, sweeps: usize) {
    let meta = json!({
        "sweeps": sweeps, "points": BATCH_POINTS, "starts": BATCH_STARTS, "replicates": BATCH_REPLICATES,
    });
    write(folder, "workspace.json", meta.to_string().into_bytes());
    let loaded = common::Loaded::new(&batch_job(folder, Loss::L2));
    let bound = &loaded.run.laws[0];
    let (mut columns, mut starts, mut weights) =
        ([Vec::new(), Vec::new(), Vec::new()], Vec::new(), Vec::new());
    let mut lanes = Workspace::default();
    for i in 0..loaded.dataset.n_sweeps() {
        let sweep = loaded.dataset.sweep(i);
        let (problem, _) = bound.bind(&sweep);
        let [n, d, loss] = &mut columns;
        n.extend_from_slice(source(&problem, "N"));
        d.extend_from_slice(source(&problem, "D"));
        loss.extend_from_slice(&problem.observations.response);
        starts.extend(drawn_starts(&bound.models, &problem, &mut lanes));
        draw(&problem, &sweep.key_digest, BATCH_REPLICATES, &mut weights);
    }
    for (name, column) in ["batch_N.f64", "batch_D.f64", "batch_loss.f64"].iter().zip(columns) {
        write(folder, name, bytes(&column));
    }
    write(folder, "batch_starts.f64", bytes(&starts.concat()));
    write(folder, "batch_weights.u8", weights);
}

/// The starts that sweepfit itself searches from, natural units: drawn, screened, amplitudes solved.
fn drawn_starts(models: &Models, problem: &Problem, workspace: &mut Workspace) -> Vec<[f64; 5]> {
    let mut starts = Points::default();
    starts.clear(problem.p());
    Starts::new(models, problem, &Tuning::default()).draw(
        0..2 * BATCH_STARTS,
        BATCH_STARTS,
        workspace.starts(),
        &mut starts,
    );
    (0..starts.len()).map(|i| ordered(models, &problem.natural(starts.point(i)))).collect()
}

/// How often each replicate draws each observation.
fn draw(problem: &Problem, key_digest: &[u8; 32], replicates: usize, into: &mut Vec<u8>) {
    let mut resampler = UnitResampling::new(&problem.observations, generator("resample", 0, key_digest));
    let (mut rows, mut weight) = (vec![0; problem.n()], vec![0.0; problem.n()]);
    for replicate in 0..replicates {
        let draw = Sample { rows: &mut rows, weight: &mut weight, target: &mut [] };
        let drawn = resampler.draw(replicate as u64, draw);
        let part = Part::new(&rows[..drawn], &weight[..drawn]);
        into.extend(part.spread(problem.n()).iter().map(|&w| w as u8));
    }
}

fn bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn write(folder: &Path, name: &str, bytes: Vec<u8>) {
    fs::write(folder.join(name), bytes).expect("the folder can be written");
}
