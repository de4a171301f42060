//! Measures how time grows with the numbers of sweeps, points, replicates and threads (`benches/scaling/run`).
//!
//! The bench prints the times and the slope of each line, and draws `benches/scaling.svg`. It measures
//! `engine::fit_all` on generated sweeps in memory, without writing, and takes the best of a few runs, because noise
//! only adds to a time. The slope is a parameter of the law `seconds = overhead + b·size^slope`, which sweepfit fits.

#[path = "../common/mod.rs"]
mod common;
mod plot;

use std::process::{Command, Stdio};
use std::time::Instant;

use common::{Loaded, SWEEPFIT, generate, job, points, pool};
use plot::Panel;
use sweepfit::formula::{parse_expression, parse_formula};
use sweepfit::internals::optimize::{self, Models, Workspace};
use sweepfit::internals::problem::{Loss, bind_columns};
use sweepfit::law::{Law, Residual};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOSS: Loss = Loss::Huber { delta: 1e-3 };

/// A line to be measured: sizes, and the job at each as (sweeps, points, replicates).
struct Line {
    title: &'static str,
    axis: &'static str,
    job: fn(usize) -> (usize, usize, usize),
    sizes: &'static [usize],
}

const LINES: [Line; 3] = [
    Line {
        title: "sweeps of 60 points, 20 replicates each",
        axis: "sweeps",
        job: |n| (n, 60, 20),
        sizes: &[4, 12, 40, 120, 400, 1200, 4000],
    },
    Line {
        title: "points per sweep, 8 sweeps, 20 replicates each",
        axis: "points per sweep",
        job: |n| (8, n, 20),
        sizes: &[20, 60, 200, 600, 2000, 6000, 20_000, 60_000, 200_000],
    },
    Line {
        title: "replicates, one sweep of 240 points",
        axis: "replicates",
        job: |n| (1, 240, n),
        sizes: &[40, 120, 400, 1200, 4000, 12_000, 40_000],
    },
];

/// The slope of a line is that of its last three decades.
const DECADES: f64 = 1e3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|a| a == "--quick");
    // `cargo bench` starts every bench; this one takes minutes and writes into the checkout, so it wants to be meant.
    if !quick && !arguments.iter().any(|a| a == "--full") {
        println!("This measures for minutes and redraws a figure: start it with benches/scaling/run");
        return;
    }
    faer::set_global_parallelism(faer::Par::Seq);
    let repeats = if quick { 1 } else { 5 };
    let folder = tempfile::tempdir().expect("a folder");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let seconds = |(sweeps, n, replicates): (usize, usize, usize), threads: usize| {
        let loaded = Loaded::new(&job(&generate(folder.path(), sweeps, n), LOSS, replicates));
        best_time(repeats, &loaded, threads)
    };

    let mut panels = Vec::new();
    for line in &LINES {
        let sizes = if quick { &line.sizes[..5] } else { line.sizes };
        let times: Vec<(f64, f64)> = sizes.iter().map(|&n| (n as f64, seconds((line.job)(n), 1))).collect();
        // Below, a job's overhead is most of its time and says nothing of the slope.
        let least = sizes.last().map_or(0.0, |&n| n as f64) / DECADES;
        let above: Vec<(f64, f64)> = times.iter().copied().filter(|(n, _)| *n >= least).collect();
        let (overhead, factor, slope) = power_law(&above);
        println!("\n{}, one thread", line.title);
        for (n, t) in &times {
            println!("  {n:>8} {:>12.3} ms", 1e3 * t);
        }
        println!("  slope {slope:.3}, above an overhead of {:.3} ms", 1e3 * overhead);
        panels.push(Panel {
            title: line.title.to_string(),
            axis: line.axis.to_string(),
            note: format!("slope {slope:.2}"),
            points: times,
            curve: Box::new(move |x| overhead + factor * x.powf(slope)),
        });
    }

    let workspace = if quick { (100, 60, 20) } else { (1000, 60, 20) };
    let times: Vec<(f64, f64)> =
        thread_counts(cores).into_iter().map(|n| (n as f64, seconds(workspace, n))).collect();
    println!(
        "\n{} sweeps of {} points, {} replicates each, by threads",
        workspace.0, workspace.1, workspace.2
    );
    for (n, t) in &times {
        println!("  {n:>8} {:>12.3} ms", 1e3 * t);
    }
    let one = times[0].1;
    if let Some((_, two)) = times.iter().find(|(n, _)| *n == 2.0) {
        println!("  two threads ÷ one thread: {:.3}", two / one);
    }
    panels.push(Panel {
        title: format!("threads, {} sweeps of {} points", workspace.0, workspace.1),
        axis: "threads".to_string(),
        note: "line: one thread's time ÷ threads".to_string(),
        points: times,
        curve: Box::new(move |x| one / x),
    });
    process_time(folder.path(), if quick { 3 } else { 20 });

    let out = arguments.iter().position(|a| a == "--out").and_then(|i| arguments.get(i + 1));
    let out = match out {
        Some(path) => path,
        None if quick => {
            println!("\nquick: not a measurement, the figure is left as it is");
            return;
        }
        None => concat!(env!("CARGO_MANIFEST_DIR"), "/benches/scaling.svg"),
    };
    std::fs::write(out, plot::svg(&panels)).expect("the figure can be written");
    println!("\n{out}");
}

/// Powers of two up to all cores, and all cores.
fn thread_counts(cores: usize) -> Vec<usize> {
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|n| *n < cores).collect();
    counts.push(cores);
    counts
}

fn best_time(repeats: usize, loaded: &Loaded, threads: usize) -> f64 {
    let pool = pool(threads);
    let run = || {
        let begun = Instant::now();
        loaded.fit(&pool);
        begun.elapsed().as_secs_f64()
    };
    // The first run fills caches and pools; where one takes long that no longer matters.
    let first = run();
    let more = if first > 5.0 { 1 } else { repeats };
    (0..more).map(|_| run()).fold(first, f64::min)
}

/// Overhead, factor and slope of `t = overhead + factor·n^slope`, least squares of logarithms.
fn power_law(times: &[(f64, f64)]) -> (f64, f64, f64) {
    let columns = ["t", "n"];
    let formula = parse_formula("t ~ a + b*n^s where a >= 0, b > 0, s in [0, 3]").expect("a formula");
    let law = Law::from_formula(formula, &columns.map(String::from)).expect("a law");
    let models = Models::compile(law.clone(), Residual::Log);
    let response = parse_expression("t").expect("a column");
    let (n, t): (Vec<f64>, Vec<f64>) = times.iter().copied().unzip();
    let (problem, _) = bind_columns(&law, models.full(), &response, Loss::L2, &[("t", &t), ("n", &n)]);
    let fit = optimize::fit(&models, problem, &optimize::FitOptions::default(), &mut Workspace::default());
    let value = |name: &str| law.parameter(name).map_or(f64::NAN, |i| fit.natural[i]);
    (value("a"), value("b"), value("s"))
}

/// The program on one sweep without replicates, its start and its output included.
fn process_time(folder: &std::path::Path, runs: usize) {
    let points = points();
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            let status = Command::new(SWEEPFIT)
                .args(["fit", points.file, "--where", points.condition, "--law", "chinchilla"])
                .args(["--bootstrap", "0", "--quiet", "--overwrite", "--out"])
                .arg(folder.join("result"))
                .stdout(Stdio::null())
                .status()
                .expect("sweepfit starts");
            assert!(status.success(), "sweepfit fit failed");
            begun.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("\nsweepfit fit --bootstrap 0 on {}, the whole process", points.name);
    println!("  {:.1} ms at best, {:.1} ms in the median of {runs}", 1e3 * times[0], 1e3 * times[runs / 2]);
}
