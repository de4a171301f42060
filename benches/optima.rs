//! Measures how often a default run reports the best optimum that a run with many more starts finds.
//!
//! Run `cargo bench --bench optima -- [SET…] [--law LAW] [--every K] [--times T] [--threads N] [--list]`. Every K-th
//! sweep of the data sets in `../shared/data` is fitted twice: with default settings, and with T times (100 by
//! default) the starts that the default run made. The bench prints one line per set, law and objective, then every
//! exception.
//!
//! A sweep is *well posed* under a law when the better of the two runs is certified (`converged` or `at_bound`), or
//! when the two agree and either is certified. Otherwise the objective falls towards infinity or the data does not
//! determine the parameters, and there is no optimum to compare. A default run *agrees* when its objective exceeds
//! that of the better run by at most 1e-6, relatively, or by the change that rounding of the data can cause. Every
//! default fit with the status `converged` is also continued by the reference solver from the reported estimate; the
//! largest relative decrease is printed.

mod common;

use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;
use sweepfit::engine::{BoundLaw, Job, LawText};
use sweepfit::input::Dataset;
use sweepfit::internals::optimize::{self, AGREEMENT, Fit, FitOptions, Status, Workspace};
use sweepfit::internals::problem::Loss;
use sweepfit::law::Residual;

use common::Loaded;

/// Data, laws and objectives that belong together.
struct Set {
    name: &'static str,
    file: &'static str,
    by: &'static [&'static str],
    lets: &'static [(&'static str, &'static str)],
    condition: Option<&'static str>,
    response: Option<&'static str>,
    laws: &'static [&'static str],
    objectives: &'static [(Residual, Loss)],
}

const LOG_L2: (Residual, Loss) = (Residual::Log, Loss::L2);
const LINEAR_L2: (Residual, Loss) = (Residual::Linear, Loss::L2);
const LOG_HUBER: (Residual, Loss) = (Residual::Log, Loss::Huber { delta: 1e-3 });

const SETS: [Set; 5] = [
    Set {
        name: "chinchilla-240",
        file: "chinchilla_epoch.parquet",
        by: &[],
        lets: &[],
        condition: Some("kept"),
        response: None,
        laws: &["chinchilla", "chinchilla-coupled"],
        objectives: &[LOG_HUBER, LOG_L2],
    },
    Set {
        name: "overtraining",
        file: "overtraining_24_sweeps.parquet",
        by: &["sweep"],
        lets: &[],
        condition: None,
        response: None,
        laws: &["chinchilla"],
        objectives: &[LOG_HUBER, LOG_L2, LINEAR_L2],
    },
    Set {
        name: "double-descent",
        file: "double_descent.parquet",
        by: &["curve_id"],
        lets: &[],
        condition: None,
        response: None,
        laws: &["bnsl-2"],
        objectives: &[LOG_L2, LOG_HUBER],
    },
    Set {
        name: "language",
        file: "extrapolation_language.parquet",
        by: &["domain", "task", "model"],
        lets: &[],
        condition: Some("train"),
        response: Some("loss"),
        laws: &["bnsl-1", "m4"],
        objectives: &[LOG_L2],
    },
    Set {
        name: "lcdb",
        file: "learning_curves_lcdb.parquet",
        by: &["dataset_id", "learner"],
        lets: &[("x", "n_train"), ("y", "err_test")],
        condition: None,
        response: None,
        laws: &["pow4", "exp3", "mmf4", "wbl4"],
        objectives: &[LINEAR_L2],
    },
];

impl Set {
    fn path(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(self.file)
    }

    fn job(&self, law: &str, (residual, loss): (Residual, Loss)) -> Job {
        Job {
            inputs: vec![self.path().display().to_string()],
            by: self.by.iter().map(|column| (*column).into()).collect(),
            lets: self.lets.iter().map(|(name, expr)| (name.to_string(), expr.to_string())).collect(),
            condition: self.condition.map(String::from),
            response: self.response.map(String::from),
            laws: vec![LawText::Name(law.to_string())],
            residual: Some(residual),
            loss: Some(loss.into()),
            bootstrap: 0,
            ..Job::default()
        }
    }
}

/// What the command line asks for.
struct Request {
    sets: Vec<String>,
    laws: Vec<String>,
    every: usize,
    times: usize,
    threads: usize,
    list: bool,
}

impl Request {
    fn read() -> Request {
        let mut request =
            Request { sets: Vec::new(), laws: Vec::new(), every: 1, times: 100, threads: 0, list: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|text| text.parse().ok());
                value.unwrap_or_else(|| panic!("{argument} takes a number"))
            };
            match argument.as_str() {
                // What cargo adds.
                "--bench" => {}
                "--every" => request.every = number(),
                "--times" => request.times = number(),
                "--threads" => request.threads = number(),
                "--list" => request.list = true,
                "--law" => request.laws.extend(arguments.next()),
                name if SETS.iter().any(|set| set.name == name) => request.sets.push(name.to_string()),
                other => panic!("no set `{other}`; there are {}", SETS.map(|set| set.name).join(", ")),
            }
        }
        request
    }
}

/// One sweep's two fits.
struct Pair {
    sweep: usize,
    default: Fit,
    reference: Fit,
    default_seconds: f64,
    reference_seconds: f64,
    /// Relative decrease that the reference solver finds from the default run's own estimate.
    improvement: f64,
}

fn certified(fit: &Fit) -> bool {
    matches!(fit.status, Status::Converged | Status::AtBound)
}

impl Pair {
    fn new(
        bound: &BoundLaw,
        dataset: &Dataset,
        sweep: usize,
        times: usize,
        workspace: &mut Workspace,
    ) -> Pair {
        let (problem, _) = bound.bind(&dataset.sweep(sweep));
        let mut timed = |options: &FitOptions| {
            let begun = Instant::now();
            let fit = optimize::fit(&bound.models, problem.clone(), options, workspace);
            (fit, begun.elapsed().as_secs_f64())
        };
        let (default, default_seconds) = timed(&FitOptions::default());
        let many = FitOptions { starts: Some(times * default.n_starts.max(1)), ..FitOptions::default() };
        let (reference, reference_seconds) = timed(&many);
        let improvement = improvement(&default);
        Pair { sweep, default, reference, default_seconds, reference_seconds, improvement }
    }

    fn best(&self) -> &Fit {
        let better =
            self.reference.objective() < self.default.objective() || !self.default.objective().is_finite();
        if better { &self.reference } else { &self.default }
    }

    fn well_posed(&self) -> bool {
        let best = self.best();
        certified(best)
            || (self.same_as(best.objective()) && (certified(&self.default) || certified(&self.reference)))
    }

    fn same_as(&self, objective: f64) -> bool {
        let limit = objective * (1.0 + AGREEMENT) + 1e3 * self.default.problem.floor;
        self.default.objective() <= limit
    }

    fn agrees(&self) -> bool {
        self.same_as(self.best().objective())
    }
}

/// Relative decrease of the objective that the reference solver finds from a fit's estimate in natural units.
fn improvement(fit: &Fit) -> f64 {
    if fit.status != Status::Converged {
        return 0.0;
    }
    let problem = &fit.problem;
    let natural: Vec<f64> =
        problem.model.coordinates.iter().map(|coordinate| fit.natural[coordinate.parameter]).collect();
    let again = optimize::minimise(
        problem,
        &problem.observations.weight,
        &problem.coordinates(&natural),
        400,
        &mut optimize::MinimiseWorkspace::default(),
    );
    again.map_or(0.0, |again| {
        let objective = fit.objective();
        let decrease = objective - again.rows.objective;
        if decrease <= problem.floor { 0.0 } else { decrease / objective }
    })
}

fn key(dataset: &Dataset, sweep: usize) -> String {
    let texts: Vec<String> = dataset
        .contents
        .keys
        .iter()
        .map(|column| arrow::util::display::array_value_to_string(column, sweep).unwrap_or_default())
        .collect();
    if texts.is_empty() { "all".to_string() } else { texts.join(" / ") }
}

fn line(fit: &Fit) -> String {
    format!("{:.9e} {} ({} of {} starts)", fit.objective(), fit.status.name(), fit.n_agreeing, fit.n_starts)
}

fn compare(set: &Set, law: &str, objective: (Residual, Loss), request: &Request) -> Vec<String> {
    let loaded = Loaded::new(&set.job(law, objective));
    let bound = &loaded.run.laws[0];
    let sweeps: Vec<usize> = (0..loaded.dataset.n_sweeps()).step_by(request.every.max(1)).collect();
    let pairs: Vec<Pair> = common::pool(request.threads).install(|| {
        sweeps
            .par_iter()
            .map_init(Workspace::default, |workspace, &sweep| {
                Pair::new(bound, &loaded.dataset, sweep, request.times, workspace)
            })
            .collect()
    });
    let count = |which: &dyn Fn(&Pair) -> bool| pairs.iter().filter(|pair| which(pair)).count();
    let sum = |value: &dyn Fn(&Pair) -> f64| pairs.iter().map(value).sum::<f64>();
    let posed = count(&|pair| pair.well_posed());
    let reached = count(&|pair| pair.well_posed() && pair.agrees());
    let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    let starts = |fit: &dyn Fn(&Pair) -> &Fit| {
        let of = |number: &dyn Fn(&Fit) -> usize| {
            pairs.iter().filter(|pair| pair.well_posed()).map(|pair| number(fit(pair))).sum::<usize>()
        };
        share(of(&|fit| fit.n_agreeing), of(&|fit| fit.n_starts))
    };
    let what = format!("{} {}", objective.0, objective.1);
    println!(
        "{:15} {:19} {:17} {:5} {:6} {:6} {:6} {:8.2} {:8.1} {:7.1} {:7.1} {:9.1e} {:9.2} {:9.1}",
        set.name,
        law,
        what,
        pairs.len(),
        count(&|pair| certified(&pair.default)),
        posed,
        reached,
        share(reached, posed),
        sum(&|pair| pair.default.n_starts as f64) / pairs.len().max(1) as f64,
        starts(&|pair| &pair.default),
        starts(&|pair| &pair.reference),
        pairs.iter().map(|pair| pair.improvement).fold(0.0, f64::max),
        sum(&|pair| pair.default_seconds),
        sum(&|pair| pair.reference_seconds),
    );
    pairs
        .iter()
        .filter_map(|pair| {
            let kind = match (pair.well_posed(), pair.agrees()) {
                (true, false) => "missed",
                (false, _) if certified(&pair.default) => "certified, yet a run-off is lower",
                (true, true) if !certified(&pair.default) => "reached, not certified",
                _ if request.list => "",
                _ => return None,
            };
            Some(format!(
                "{} {law} {what} {}: default {}, reference {}; {kind}",
                set.name,
                key(&loaded.dataset, pair.sweep),
                line(&pair.default),
                line(&pair.reference),
            ))
        })
        .collect()
}

fn main() {
    let request = Request::read();
    println!(
        "{:15} {:19} {:17} {:>5} {:>6} {:>6} {:>6} {:>8} {:>8} {:>7} {:>7} {:>9} {:>9} {:>9}",
        "set",
        "law",
        "objective",
        "fits",
        "certif",
        "posed",
        "agree",
        "share %",
        "starts",
        "at best",
        "of many",
        "restart",
        "s default",
        "s many"
    );
    let mut exceptions = Vec::new();
    for set in &SETS {
        if !request.sets.is_empty() && !request.sets.iter().any(|name| name == set.name) {
            continue;
        }
        if !set.path().exists() {
            println!("{:15} skipped: {} is absent", set.name, set.path().display());
            continue;
        }
        for law in set.laws {
            if !request.laws.is_empty() && !request.laws.iter().any(|name| name == law) {
                continue;
            }
            for &objective in set.objectives {
                exceptions.extend(compare(set, law, objective, &request));
            }
        }
    }
    exceptions.iter().for_each(|exception| println!("{exception}"));
}
