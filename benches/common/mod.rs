//! Helpers of the benches: the Chinchilla sweep of 240 observations, generated sweeps, and jobs on loaded input.

// No bench uses all of the helpers.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use sweepfit::engine::{self, Control, Job, LawText, Run};
use sweepfit::input::{self, Dataset, ParquetFiles, Request};
use sweepfit::internals::optimize::{self, Fit, Models, Workspace};
use sweepfit::internals::problem::{Binding, Loss, Problem};
use sweepfit::law::{Catalogue, Residual};
use sweepfit::output::Chunk;

/// The path of the program that is built with the benches.
pub const SWEEPFIT: &str = env!("CARGO_BIN_EXE_sweepfit");

pub const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/chinchilla_sweeps.parquet");
const EPOCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/chinchilla_epoch.parquet");

/// One sweep of 240 observations: its file, the condition on its rows, and its name in printed text.
pub struct Points {
    pub file: &'static str,
    pub condition: &'static str,
    pub name: &'static str,
}

/// Returns the 240 observations of the Chinchilla refit if `../shared/data` has them, else the fixture's first five
/// sweeps as one.
pub fn points() -> Points {
    if Path::new(EPOCH).exists() {
        Points { file: EPOCH, condition: "kept", name: "the 240 points of the Chinchilla refit" }
    } else {
        Points { file: FIXTURE, condition: "sweep < 'sweep-00005'", name: "240 points of the fixture" }
    }
}

/// Returns the problem of fitting the law `chinchilla` to [`points`], with residuals of logarithms.
pub fn chinchilla(loss: Loss) -> (Models, Problem) {
    let law = Catalogue::built_in().expect("the catalogue parses").get("chinchilla").expect("a law").clone();
    let models = Models::compile(law.clone(), Residual::Log);
    let points = points();
    let names: Vec<String> = ["loss", "N", "D"].map(String::from).to_vec();
    let source = ParquetFiles::find(&[points.file.to_string()]).expect("the file is there");
    let request = Request {
        columns: names.clone(),
        order: names.clone(),
        condition: Some(sweepfit::formula::parse_condition(points.condition).expect("a condition")),
        ..Request::default()
    };
    let dataset = input::read(&source, &request, &AtomicBool::new(false)).expect("the file is readable");
    let binding =
        Binding { names, used: vec![0, 1, 2], response: law.response.clone(), weight: None, sigma: None };
    let binding = (&binding, &dataset.sweep(0));
    let (problem, _) = Problem::bind(&law, models.full(), loss, binding);
    (models, problem)
}

/// Fits a problem with default options.
pub fn fitted(models: &Models, problem: &Problem) -> Fit {
    optimize::fit(models, problem.clone(), &optimize::FitOptions::default(), &mut Workspace::default())
}

/// Returns a Parquet file of generated Chinchilla sweeps in a folder; generates it if it does not exist. Equal
/// arguments give equal bits.
pub fn generate(folder: &Path, sweeps: usize, points: usize) -> PathBuf {
    let path = folder.join(format!("sweeps-{sweeps}x{points}.parquet"));
    if !path.exists() {
        let status = Command::new(SWEEPFIT)
            .args(["generate", "--law", "chinchilla"])
            .args(["--parameters", "E=1.82,A=482,B=2085,alpha=0.348,beta=0.366"])
            .args(["--range", "N=4e7:2e10,D=3e8:3e11", "--noise", "0.01", "--seed", "7"])
            .args(["--sweeps", &sweeps.to_string(), "--points", &points.to_string()])
            .arg("--out")
            .arg(&path)
            .stdout(std::process::Stdio::null())
            .status()
            .expect("sweepfit generate starts");
        assert!(status.success(), "sweepfit generate failed");
    }
    path
}

/// Returns the job that fits the law `chinchilla` to every sweep of a file.
pub fn job(path: &Path, loss: Loss, bootstrap: usize) -> Job {
    Job {
        inputs: vec![path.display().to_string()],
        by: vec!["sweep".into()],
        laws: vec![LawText::Name("chinchilla".to_string())],
        loss: Some(loss.into()),
        bootstrap,
        ..Job::default()
    }
}

/// A job with its input in memory.
pub struct Loaded {
    pub run: Run,
    pub dataset: Dataset,
}

impl Loaded {
    /// Plans the job and reads its input.
    pub fn new(job: &Job) -> Loaded {
        let source = ParquetFiles::find(&job.inputs).expect("the files are there");
        let plan = engine::plan(job, &source).expect("a plan");
        let dataset = input::read(&source, &plan.request, &AtomicBool::new(false)).expect("readable input");
        let run = Run::new(&plan, dataset.contents.clone(), job);
        Loaded { run, dataset }
    }

    /// Fits all sweeps on the threads of a pool and returns the results.
    pub fn fit(&self, pool: &rayon::ThreadPool) -> Chunk {
        pool.install(|| {
            let mut records = Chunk::default();
            let mut segments = std::iter::once(Ok(&self.dataset.rows));
            engine::fit_all(&self.run, &mut segments, &mut records, &Control::default())
                .expect("the fits run");
            records
        })
    }
}

/// Returns a pool of threads.
pub fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads")
}
