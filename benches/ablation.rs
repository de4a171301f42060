//! What each device of the search gains, and what its constants are worth.
//!
//! `cargo bench --bench ablation -- [WORKLOAD…] [--device NAME]… [--rounds R] [--threads T] [--datasets K]` runs every workload with all
//! devices and with one of them switched off, in turn, and prints per device the time without it over the time with it, and
//! the optima found without it less those found with it. With `--constants` it halves and doubles every constant of
//! `optimize::tuning` in place of switching devices off.
//!
//! An optimum is found where a fit's objective agrees, within 1e-6 or rounding, with the lowest of all runs of the workload, one
//! of which makes many starts; where the lowest is not certified, a fit finds it that is not certified either. In workloads with replicates, replicates that converge to their
//! lowest objective count as optima. Times are the least of R rounds (3) on T threads (1): processor time on Linux, which other
//! programs disturb less, wall-clock time elsewhere. `--datasets` says how many times as many learning curves are fitted (1).

mod common;

use std::time::Instant;

use serde_json::Value;
use sweepfit::engine::{Job, LawText};
use sweepfit::input::KeyColumn;
use sweepfit::internals::optimize::{AGREEMENT, Status, Tuning};
use sweepfit::internals::problem::Loss;
use sweepfit::law::Residual;

use common::{Loaded, generate, points, pool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of starts of the run that others are compared with.
const MANY_STARTS: usize = 256;

/// The ratio of times from which a device pays for itself.
const WORTHWHILE: f64 = 1.05;

const HUBER: Loss = Loss::Huber { delta: 1e-3 };

struct Workload {
    name: &'static str,
    job: Job,
    /// The number of times that the job is done in one run.
    times: usize,
}

/// Returns a workload on a file beside the checkout; none where the file is absent.
fn shared(name: &'static str, file: &str, job: Job) -> Option<Workload> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(file);
    let inputs = vec![path.display().to_string()];
    path.exists().then_some(Workload { name, job: Job { inputs, ..job }, times: 1 })
}

/// Returns a job on learning curves.
fn learning_curves(law: &str, datasets: usize, bootstrap: usize) -> Job {
    Job {
        by: keys(&["dataset_id", "learner"]),
        lets: pairs(&[("x", "n_train"), ("y", "err_test")]),
        condition: Some(format!("dataset_id < {datasets}")),
        laws: vec![law_of(law)],
        residual: Some(Residual::Linear),
        loss: Some(Loss::L2.into()),
        bootstrap,
        ..Job::default()
    }
}

fn law_of(text: &str) -> LawText {
    if text.contains('~') { LawText::Formula(text.to_string()) } else { LawText::Name(text.to_string()) }
}

fn keys(names: &[&str]) -> Vec<KeyColumn> {
    names.iter().map(|name| KeyColumn::from(*name)).collect()
}

fn pairs(definitions: &[(&str, &str)]) -> Vec<(String, String)> {
    definitions.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
}

/// Returns a job of one law on files whose sweeps are told apart by some columns.
fn by(columns: &[&str], law: &str, loss: Loss) -> Job {
    Job {
        by: keys(columns),
        laws: vec![law_of(law)],
        loss: Some(loss.into()),
        residual: Some(Residual::Log),
        bootstrap: 0,
        ..Job::default()
    }
}

fn workloads(folder: &std::path::Path, scale: usize) -> Vec<Workload> {
    let generated = |name, sweeps, n, loss, starts, bootstrap| {
        let job = Job { starts, ..common::job(&generate(folder, sweeps, n), loss, bootstrap) };
        Some(Workload { name, job, times: 1 })
    };
    let one_sweep = |name, loss, bootstrap, times| {
        let points = points();
        let job = Job {
            inputs: vec![points.file.to_string()],
            condition: Some(points.condition.to_string()),
            ..by(&[], "chinchilla", loss)
        };
        Some(Workload { name, job: Job { bootstrap, ..job }, times })
    };
    let curves = |name, law, datasets, bootstrap| {
        shared(name, "learning_curves_lcdb.parquet", learning_curves(law, scale * datasets, bootstrap))
    };
    let language = |name, law| {
        let job = Job {
            condition: Some("train".to_string()),
            response: Some("loss".to_string()),
            ..by(&["domain", "task", "model"], law, Loss::L2)
        };
        shared(name, "extrapolation_language.parquet", job)
    };
    let collinear = Job {
        lets: pairs(&[("M", "N * (D/N)^0.001")]),
        ..by(&["sweep"], "loss ~ E + A/N^a + B/M^b where E >= 0, A > 0, B > 0, a > 0, b > 0", Loss::L2)
    };
    [
        generated("20 points", 4000, 20, Loss::L2, None, 0),
        generated("20 huber", 1000, 20, HUBER, None, 0),
        generated("32 starts", 1000, 60, Loss::L2, Some(32), 0),
        generated("32 huber", 600, 60, HUBER, Some(32), 0),
        generated("300 points", 600, 300, Loss::L2, None, 0),
        generated("5000 points", 8, 5000, Loss::L2, None, 100),
        one_sweep("one sweep", Loss::L2, 0, 60),
        one_sweep("one huber", HUBER, 0, 60),
        one_sweep("replicates", Loss::L2, 40_000, 1),
        generated("60 repl.", 100, 60, Loss::L2, None, 400),
        one_sweep("repl. huber", HUBER, 20_000, 1),
        curves("short repl.", "power-offset", 50, 400),
        curves("pow4", "pow4", 100, 0),
        curves("exp3", "exp3", 400, 0),
        curves("mmf4", "mmf4", 200, 0),
        curves("wbl4", "wbl4", 200, 0),
        curves("bnsl-1", "bnsl-1", 16, 0),
        curves("2 exponentials", "y ~ c + a*exp(-b*x) + d*exp(-f*x) where b > 0, f > 0", 16, 0),
        curves("corner", "y ~ e + a*max(x, c)^(-b) where a > 0, b > 0, c > 0, e >= 0", 16, 0),
        shared("overtraining", "overtraining_24_sweeps.parquet", by(&["sweep"], "chinchilla", HUBER)),
        shared("collinear", "overtraining_24_sweeps.parquet", collinear),
        shared("descent", "double_descent.parquet", by(&["curve_id"], "bnsl-2", Loss::L2)),
        language("language", "bnsl-1"),
        language("m4", "m4"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A change of the tuning: its name, and where and how the value changes.
struct Change {
    name: String,
    tuning: Tuning,
}

/// Returns the tunings in which one device is off.
fn devices_off() -> Vec<Change> {
    changes(&["devices"], &|value| match value {
        Value::Bool(true) => vec![("", Value::Bool(false))],
        _ => Vec::new(),
    })
}

/// Returns the tunings in which one constant is half or twice as large.
fn constants_changed() -> Vec<Change> {
    let whole = Tuning::default();
    let methods = serde_json::to_value(&whole).expect("plain numbers");
    let names: Vec<&str> = methods.as_object().expect("a struct").keys().map(String::as_str).collect();
    changes(&names, &|value| match value {
        Value::Number(number) => {
            let scaled = |factor: f64| match (number.as_u64(), number.as_f64()) {
                (Some(whole), _) => Value::from((whole as f64 * factor).round() as u64),
                (None, Some(real)) => Value::from(real * factor),
                _ => value.clone(),
            };
            vec![(" / 2", scaled(0.5)), (" * 2", scaled(2.0))]
        }
        _ => Vec::new(),
    })
}

/// Returns a change for every other value of every constant in some structs of the tuning.
fn changes(structs: &[&str], others: &dyn Fn(&Value) -> Vec<(&'static str, Value)>) -> Vec<Change> {
    let whole = serde_json::to_value(Tuning::default()).expect("plain numbers");
    let mut found = Vec::new();
    let mut add = |path: &str, value: &Value| {
        for (how, other) in others(value) {
            let mut changed = whole.clone();
            *changed.pointer_mut(path).expect("the path is the value's") = other;
            let tuning = serde_json::from_value(changed).expect("a value of the same kind");
            let name = path.trim_start_matches('/').trim_start_matches("devices/").replace('/', ".");
            found.push(Change { name: name + how, tuning });
        }
    };
    for name in structs {
        for (constant, value) in whole[name].as_object().expect("a struct") {
            let path = format!("/{name}/{constant}");
            match value.as_array() {
                Some(entries) => {
                    entries.iter().enumerate().for_each(|(i, entry)| add(&format!("{path}/{i}"), entry));
                }
                None => add(&path, value),
            }
        }
    }
    found
}

/// The objective of a fit or a replicate, NaN where there is none, and whether it is certified.
type Found = (f64, bool);

/// Fits a workload and returns what was found, and the seconds it took.
fn run(loaded: &mut Loaded, times: usize, tuning: &Tuning, threads: &rayon::ThreadPool) -> (Vec<Found>, f64) {
    loaded.run.solve.tuning = tuning.clone();
    loaded.run.inference.tuning = tuning.clone();
    let (begun, processor) = (Instant::now(), processor_seconds());
    let mut chunk = loaded.fit(threads);
    (1..times).for_each(|_| chunk = loaded.fit(threads));
    let wall = begun.elapsed().as_secs_f64();
    let seconds = processor.and_then(|before| Some(processor_seconds()? - before)).unwrap_or(wall);
    let mut objectives = Vec::new();
    for record in &chunk.records {
        let certified = matches!(record.status, Status::Converged | Status::AtBound);
        objectives.push((record.objective, certified));
        if let Some(replicates) = &record.replicates {
            let good = replicates.objective.iter().zip(&replicates.converged);
            objectives.extend(good.map(|(x, converged)| (*x, *converged)));
        }
    }
    (objectives, seconds)
}

/// Returns the processor time of all threads so far, in seconds; none where the system does not say.
fn processor_seconds() -> Option<f64> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split_whitespace().next()?.parse::<f64>().ok()?;
    }
    Some(1e-9 * nanoseconds)
}

/// The comparison of one change with the defaults on one workload.
struct Comparison {
    seconds_default: f64,
    seconds_changed: f64,
    default: Vec<Found>,
    changed: Vec<Found>,
}

impl Comparison {
    /// Returns the time with the change over that without it.
    fn ratio(&self) -> f64 {
        self.seconds_changed / self.seconds_default
    }
}

fn compare(
    loaded: &mut Loaded,
    change: &Change,
    (times, rounds): (usize, usize),
    threads: &rayon::ThreadPool,
) -> Comparison {
    let usual = Tuning::default();
    let mut found = Comparison {
        seconds_default: f64::INFINITY,
        seconds_changed: f64::INFINITY,
        default: Vec::new(),
        changed: Vec::new(),
    };
    for round in 0..rounds {
        for turn in [round % 2, 1 - round % 2] {
            if turn == 0 {
                let (objectives, seconds) = run(loaded, times, &usual, threads);
                found.default = objectives;
                found.seconds_default = found.seconds_default.min(seconds);
            } else {
                let (objectives, seconds) = run(loaded, times, &change.tuning, threads);
                found.changed = objectives;
                found.seconds_changed = found.seconds_changed.min(seconds);
            }
        }
        // A device that this workload does not use takes no further rounds.
        let is_unused = (found.ratio() - 1.0).abs() < 0.03 && same_bits(&found.default, &found.changed);
        if is_unused {
            break;
        }
    }
    found
}

fn same_bits(a: &[Found], b: &[Found]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0.to_bits() == b.0.to_bits() && a.1 == b.1)
}

/// Returns how many fits found the best that is known of them. Where that is no certified optimum, the objective falls
/// towards infinity, and a fit found that if it claims no optimum either.
fn count_found(found: &[Found], best: &[Found]) -> i64 {
    let agrees = |((objective, certified), (best, is_optimum)): (&Found, &Found)| {
        if *is_optimum { *objective <= best * (1.0 + AGREEMENT) + 1e-25 } else { !certified }
    };
    found.iter().zip(best).filter(|pair| agrees(*pair)).count() as i64
}

/// Returns the better of two results: the lower objective, and of equal ones the certified one.
fn better(a: Found, b: Found) -> Found {
    let agree = a.0 <= b.0 * (1.0 + AGREEMENT) + 1e-25 && b.0 <= a.0 * (1.0 + AGREEMENT) + 1e-25;
    let first = if agree && a.1 != b.1 { a.1 } else { a.0 <= b.0 || b.0.is_nan() };
    if first { a } else { b }
}

struct Request {
    workloads: Vec<String>,
    devices: Vec<String>,
    rounds: usize,
    threads: usize,
    datasets: usize,
    constants: bool,
}

impl Request {
    fn read() -> Request {
        let mut request = Request {
            workloads: Vec::new(),
            devices: Vec::new(),
            rounds: 3,
            threads: 1,
            datasets: 1,
            constants: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut next = || arguments.next().unwrap_or_else(|| panic!("{argument} takes a value"));
            match argument.as_str() {
                // What cargo adds.
                "--bench" => {}
                "--device" => request.devices.push(next()),
                "--rounds" => request.rounds = next().parse().expect("--rounds takes a number"),
                "--threads" => request.threads = next().parse().expect("--threads takes a number"),
                "--datasets" => request.datasets = next().parse().expect("--datasets takes a number"),
                "--constants" => request.constants = true,
                name => request.workloads.push(name.to_string()),
            }
        }
        request
    }
}

fn main() {
    let request = Request::read();
    let folder = tempfile::tempdir().expect("a directory");
    let workloads = workloads(folder.path(), request.datasets);
    let is_asked = |asked: &[String], name: &str| asked.is_empty() || asked.iter().any(|a| a == name);
    for name in request.workloads.iter().filter(|name| !workloads.iter().any(|w| w.name == **name)) {
        println!("no workload `{name}` here");
    }
    let mut changes = if request.constants { constants_changed() } else { devices_off() };
    changes.retain(|change| is_asked(&request.devices, change.name.split(' ').next().unwrap_or_default()));
    let threads = pool(request.threads);
    println!(
        "{:30} {:16} {:>8} {:>8} {:>6} {:>8} {:>8}",
        "without", "workload", "s with", "s without", "ratio", "optima", "change"
    );
    let mut worth = vec![Vec::new(); changes.len()];
    for workload in workloads.iter().filter(|w| is_asked(&request.workloads, w.name)) {
        let mut loaded = Loaded::new(&workload.job);
        loaded.run.keep_replicates = true;
        run(&mut loaded, 1, &Tuning::default(), &threads);
        let found: Vec<Comparison> = changes
            .iter()
            .map(|change| compare(&mut loaded, change, (workload.times, request.rounds), &threads))
            .collect();
        let bootstrap = std::mem::replace(&mut loaded.run.inference.bootstrap, 0);
        let usual = loaded.run.solve.starts.replace(MANY_STARTS);
        let many =
            if bootstrap == 0 { run(&mut loaded, 1, &Tuning::default(), &threads).0 } else { Vec::new() };
        loaded.run.solve.starts = usual;
        let runs = || found.iter().flat_map(|f| [&f.default, &f.changed]).chain([&many]);
        let n = found.first().map_or(0, |f| f.default.len());
        // Where a change leaves a fit without replicates, its objectives have other places.
        let best: Vec<Found> = (0..n)
            .map(|i| runs().filter(|run| run.len() == n).map(|run| run[i]).fold((f64::NAN, false), better))
            .collect();
        for ((change, found), worth) in changes.iter().zip(&found).zip(&mut worth) {
            let with = count_found(&found.default, &best);
            let without =
                if found.changed.len() == n { count_found(&found.changed, &best) - with } else { -with };
            if found.ratio() >= WORTHWHILE || without < 0 {
                worth.push(workload.name);
            }
            if (found.ratio() - 1.0).abs() < 0.03 && without == 0 {
                continue;
            }
            println!(
                "{:30} {:16} {:8.3} {:9.3} {:6.2} {with:8} {without:+8}",
                change.name,
                workload.name,
                found.seconds_default,
                found.seconds_changed,
                found.ratio(),
            );
        }
    }
    if !request.constants {
        for (change, worth) in changes.iter().zip(&worth) {
            let gains = if worth.is_empty() { "none".to_string() } else { worth.join(", ") };
            println!("{}: worth {WORTHWHILE} times the time, or an optimum, on: {gains}", change.name);
        }
    }
}
