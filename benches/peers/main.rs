//! The Rust program of the comparison with peers: it writes the data that all peers read, and measures sweepfit and the
//! crate `levenberg-marquardt`. `benches/peers/run` calls it and prints the table.
//!
//! ```text
//! peers export FOLDER REPLICATES SWEEPS           writes the data for all peers
//! peers measure WORKLOAD FOLDER THREADS REPEATS   measures one workload
//! ```
//!
//! Arrays are raw little-endian files; times and sizes are JSON.

#[path = "../common/mod.rs"]
mod common;
mod crate_lm;
mod export;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use sweepfit::infer::{Context, InferenceOptions, replicate};
use sweepfit::internals::optimize::{self, Models, Task, TaskKind, Tuning, Workspace, Workspaces};
use sweepfit::internals::problem::{Loss, Part, Problem};

use common::fitted;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The two losses of the comparison and their names in file names.
const LOSSES: [(&str, Loss); 2] = [("l2", Loss::L2), ("huber", Loss::Huber { delta: 1e-3 })];

/// Starts and replicates per sweep of the batch.
const BATCH_STARTS: usize = 32;
const BATCH_REPLICATES: usize = 100;
const BATCH_POINTS: usize = 60;

fn main() {
    faer::set_global_parallelism(faer::Par::Seq);
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["export", folder, replicates, sweeps] => {
            export::all(Path::new(folder), number(replicates), number(sweeps));
        }
        ["measure", workload, folder, threads, repeats] => {
            let measure = Measure {
                workload: (*workload).to_string(),
                folder: PathBuf::from(folder),
                threads: number(threads),
                repeats: number(repeats),
            };
            let rows = match *workload {
                "one-fit" => measure.one_fit(),
                "replicates" => measure.replicates(),
                "multi-start" => measure.multi_start(),
                "quality" => measure.quality(),
                other => panic!("no workload `{other}`"),
            };
            println!("{}", Value::Array(rows));
        }
        _ => println!("This is one half of the peer comparison: start it with benches/peers/run"),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// A moderately far start in natural units, in the order E, A, B, alpha, beta: both exponents 0.5, the floor half
/// of the smallest loss, and both power terms half of what is left at the geometric-mean observation.
pub fn plain_start(problem: &Problem) -> [f64; 5] {
    let response = &problem.observations.response;
    let n = response.len() as f64;
    let floor = 0.5 * response.iter().copied().fold(f64::INFINITY, f64::min);
    let middle = (response.iter().map(|y| y.ln()).sum::<f64>() / n).exp();
    let term = 0.5 * (middle - floor);
    let mean_log = |name| export::source(problem, name).iter().map(|x| x.ln()).sum::<f64>() / n;
    [floor, term * (0.5 * mean_log("N")).exp(), term * (0.5 * mean_log("D")).exp(), 0.5, 0.5]
}

/// The start in the solver's coordinates.
fn start_coordinates(models: &Models, problem: &Problem) -> Vec<f64> {
    let start = plain_start(problem);
    let value =
        |name: &str| start[["E", "A", "B", "alpha", "beta"].iter().position(|n| *n == name).expect("known")];
    let natural: Vec<f64> =
        problem.model.coordinates.iter().map(|c| value(&models.law().parameters[c.parameter].name)).collect();
    problem.coordinates(&natural)
}

/// `n` searches of one problem from one start, no multi-start and no certificate; the last one's coordinates.
/// `alone`: one after the other, each spread over the lanes, as a fit with one start is.
fn searches(problem: &Problem, start: &[f64], n: usize, alone: bool, workspace: &mut Workspace) -> Vec<f64> {
    let tuning = Tuning::default();
    let settings = optimize::settings(problem, &tuning);
    let kind = TaskKind::of(problem, &settings);
    let (rows, weight) = problem.taking_part();
    let part = Part::new(&rows, &weight);
    let task = Task::new(problem, &settings, part, start);
    let mut last = Vec::new();
    if alone {
        (0..n).for_each(|_| workspace.lanes().run_alone(kind, task, |ended| last = ended.theta.to_vec()));
    } else {
        workspace.lanes().run(kind, n, |_| task, |ended| last = ended.theta.to_vec());
    }
    last
}

/// Natural values of the law's parameters in the order of the shared arrays.
pub fn ordered(models: &Models, natural: &[f64]) -> [f64; 5] {
    ["E", "A", "B", "alpha", "beta"].map(|name| natural[models.law().parameter(name).expect("a parameter")])
}

struct Measure {
    workload: String,
    folder: PathBuf,
    threads: usize,
    repeats: usize,
}

impl Measure {
    /// Seconds of each repeat, after one that does not count.
    fn time<T>(&self, mut work: impl FnMut() -> T) -> (Vec<f64>, T) {
        let mut last = black_box(work());
        let times = (0..self.repeats)
            .map(|_| {
                let begun = Instant::now();
                last = black_box(work());
                begun.elapsed().as_secs_f64()
            })
            .collect();
        (times, last)
    }

    /// One row: estimates go to a file of their own, natural units, five per fit.
    fn row(&self, peer: &str, loss: &str, count: usize, times: &[f64], estimates: &[[f64; 5]]) -> Value {
        let peer_name = peer.replace([' ', ',', '-'], "_");
        let name = format!("{}-{peer_name}-{loss}-{}.f64", self.workload, self.threads);
        let path = self.folder.join(name);
        let bytes: Vec<u8> = estimates.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
        fs::write(&path, bytes).expect("the folder can be written");
        json!({ "peer": peer, "loss": loss, "count": count, "seconds": times, "estimates": path })
    }

    fn one_fit(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        for (name, loss) in LOSSES {
            let (models, problem) = common::chinchilla(loss);
            let start = start_coordinates(&models, &problem);
            let mut workspace = Workspace::default();
            for (peer, n, alone) in
                [("sweepfit, in lanes", 4096, false), ("sweepfit, one at a time", 1024, true)]
            {
                let (times, theta) = self.time(|| searches(&problem, &start, n, alone, &mut workspace));
                let estimate = ordered(&models, &problem.natural(&theta));
                rows.push(self.row(peer, name, n, &times, &[estimate]));
            }
            if loss.is_quadratic() {
                rows.push(self.crate_lm(&problem, name));
            }
        }
        rows
    }

    fn crate_lm(&self, problem: &Problem, loss: &str) -> Value {
        let curve = crate_lm::Curve::new(problem);
        let start = crate_lm::coordinates(&curve, plain_start(problem));
        let tolerance = crate_lm::loosest_tolerance(&curve, start);
        let count = 512;
        let (times, found) = self.time(|| {
            let fit = || crate_lm::fit(&curve, std::hint::black_box(start), tolerance);
            (1..count).fold(fit(), |_, _| fit())
        });
        let mut row = self.row("levenberg-marquardt", loss, count, &times, &[curve.natural(&found)]);
        row["version"] = json!(crate_lm::VERSION);
        row["note"] = json!(format!("ftol = xtol = {tolerance:e}"));
        row
    }

    fn replicates(&self) -> Vec<Value> {
        let meta: Value =
            serde_json::from_slice(&fs::read(self.folder.join("points.json")).expect("exported"))
                .expect("JSON");
        let count = meta["replicates"].as_u64().expect("a count") as usize;
        let pool = common::pool(self.threads);
        LOSSES
            .iter()
            .map(|&(name, loss)| {
                let (models, problem) = common::chinchilla(loss);
                let fit = fitted(&models, &problem);
                let options = replicate_options(count);
                let workspaces = Workspaces::default();
                let (times, found) = self.time(|| {
                    pool.install(|| {
                        let mut workspace = Workspace::default();
                        let context = Context::silent(&workspaces, &mut workspace);
                        replicate(&models, &fit, &options, &context)
                    })
                });
                let found = found.expect("replicates");
                let estimates: Vec<[f64; 5]> =
                    (0..found.len()).map(|r| ordered(&models, found.row(r))).collect();
                self.row("sweepfit", name, count, &times, &estimates)
            })
            .collect()
    }

    fn multi_start(&self) -> Vec<Value> {
        let pool = common::pool(self.threads);
        let mut rows = Vec::new();
        for (name, loss) in LOSSES {
            let loaded = common::Loaded::new(&export::batch_job(&self.folder, loss));
            let (times, found) = self.time(|| loaded.fit(&pool));
            let models = &loaded.run.laws[0].models;
            let mut estimates = Vec::new();
            let records = &found.records;
            for record in records {
                let natural: Vec<f64> = found.estimates(record).iter().map(|p| p.estimate).collect();
                estimates.push(ordered(models, &natural));
            }
            for record in records {
                // A fit without replicates fails the comparison, it does not end it.
                let found = record.replicates.as_ref();
                estimates.extend(
                    (0..BATCH_REPLICATES).map(|r| {
                        found.map_or([f64::NAN; 5], |replicates| ordered(models, replicates.row(r)))
                    }),
                );
            }
            rows.push(self.row("sweepfit", name, records.len(), &times, &estimates));
        }
        rows
    }

    fn quality(&self) -> Vec<Value> {
        let (name, loss) = LOSSES[1];
        let (models, problem) = common::chinchilla(loss);
        let (times, fit) = self.time(|| fitted(&models, &problem));
        let estimate = ordered(&models, &fit.natural);
        let mut row = self.row("sweepfit, its own starts", name, fit.n_starts, &times, &[estimate]);
        row["agreeing"] = json!(fit.n_agreeing);
        vec![row]
    }
}

#[must_use]
pub fn replicate_options(bootstrap: usize) -> InferenceOptions {
    InferenceOptions { bootstrap, ..InferenceOptions::default() }
}
