//! Prints how often 95 % intervals contain the truth, per design, noise, loss and quantity.
//!
//! `cargo bench --bench coverage -- [DESIGN…] [--sweeps 1000] [--loss l2|huber:1e-3] [--noise NAME]` simulates sweeps from known
//! parameters, fits them with the default interval of `sweepfit fit` (with 999 replicates under `huber:1e-3`), and prints one
//! line per cell. The last lines say which pairs of cell and quantity lie outside 92 to 97.5 %, and the lowest coverage.

mod common;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use sweepfit::coverage::{Noise, QuantityCoverage, Simulation};
use sweepfit::input::{self, ParquetFiles, Request};
use sweepfit::{Control, Job, Resample, Residual};

/// A design: its law, points and true parameters, and the quantities that are judged besides the parameters.
struct Design {
    name: &'static str,
    law: &'static str,
    columns: Vec<(String, Vec<f64>)>,
    truth: Vec<(&'static str, f64)>,
    derive: Vec<(&'static str, String)>,
    /// The point of the prediction: the optimum at ten times the largest budget, or ten times the largest size.
    point: Vec<f64>,
}

const CHINCHILLA: [(&str, f64); 5] =
    [("E", 1.69), ("A", 406.4), ("B", 410.7), ("alpha", 0.34), ("beta", 0.28)];

fn ladder(low: f64, high: f64, count: usize) -> Vec<f64> {
    (0..count).map(|i| low * (high / low).powf(i as f64 / (count - 1) as f64)).collect()
}

/// Returns a design of Chinchilla's law.
fn chinchilla(name: &'static str, points: &[(f64, f64)]) -> Design {
    let budget = points.iter().map(|(n, d)| 6.0 * n * d).fold(0.0, f64::max) * 10.0;
    let [.., (_, alpha), (_, beta)] = CHINCHILLA;
    let g = (alpha * 406.4 / (beta * 410.7_f64)).powf(1.0 / (alpha + beta));
    let n = g * (budget / 6.0).powf(beta / (alpha + beta));
    let log_n = format!("(log(alpha*A/(beta*B)) + beta*log({}))/(alpha + beta)", budget / 6.0);
    Design {
        name,
        law: "chinchilla",
        columns: vec![
            ("N".into(), points.iter().map(|p| p.0).collect()),
            ("D".into(), points.iter().map(|p| p.1).collect()),
        ],
        truth: CHINCHILLA.to_vec(),
        derive: vec![("a", "beta/(alpha+beta)".into()), ("log N*", log_n)],
        point: vec![n, budget / 6.0 / n],
    }
}

/// Returns a design of one axis.
fn axis(name: &'static str, law: &'static str, sizes: Vec<f64>, truth: Vec<(&'static str, f64)>) -> Design {
    let point = vec![10.0 * sizes[sizes.len() - 1]];
    Design { name, law, columns: vec![("N".into(), sizes)], truth, derive: Vec::new(), point }
}

fn designs() -> Vec<Design> {
    let (sizes, tokens) = (ladder(1e7, 1e10, 6), ladder(1e9, 1e12, 6));
    let grid: Vec<(f64, f64)> = sizes.iter().flat_map(|n| tokens.iter().map(move |d| (*n, *d))).collect();
    let budgets = ladder(1e18, 1e22, 5);
    let isoflop: Vec<(f64, f64)> = budgets
        .iter()
        .flat_map(|c| {
            let middle = 0.09 * (c / 6.0f64).sqrt();
            ladder(middle / 8.0, middle * 8.0, 7).into_iter().map(move |n| (n, c / 6.0 / n))
        })
        .collect();
    let power = "loss ~ E + A/N^alpha where E > 0, A > 0, alpha in [0, 2]";
    let of_power = vec![("E", 0.5), ("A", 20.0), ("alpha", 0.5)];
    vec![
        chinchilla("6x6", &grid),
        chinchilla("isoflop", &isoflop),
        chinchilla("240", &own_points()),
        axis("axis8", power, ladder(1e2, 1e5, 8), of_power.clone()),
        axis("axis20", power, ladder(1e2, 1e5, 20), of_power),
        axis(
            "power8",
            "loss ~ A/N^alpha where A > 0",
            ladder(1e2, 1e5, 8),
            vec![("A", 20.0), ("alpha", 0.5)],
        ),
    ]
}

/// Returns N and D of the 240 observations of the Chinchilla refit, or of the fixture where they are not there.
fn own_points() -> Vec<(f64, f64)> {
    let points = common::points();
    let names: Vec<String> = ["N", "D"].map(String::from).to_vec();
    let source = ParquetFiles::find(&[points.file.to_string()]).expect("the file is there");
    let request = Request {
        columns: names.clone(),
        order: names,
        condition: Some(sweepfit::formula::parse_condition(points.condition).expect("a condition")),
        ..Request::default()
    };
    let dataset = input::read(&source, &request, &AtomicBool::new(false)).expect("the file is readable");
    let sweep = dataset.sweep(0);
    sweep.columns[0].iter().copied().zip(sweep.columns[1].iter().copied()).collect()
}

const NOISES: [&str; 5] = ["normal .003", "normal .02", "t3 .02", "falling", "clusters"];

/// Returns the simulation of a cell.
fn simulation(design: &Design, noise: &str, loss: &str, sweeps: usize) -> Simulation {
    let sizes = &design.columns[0].1;
    let n = sizes.len();
    let deviation = match noise {
        "normal .003" => vec![0.003; n],
        "falling" => {
            let (low, high) = sizes.iter().fold((f64::INFINITY, 0.0f64), |(l, h), x| (l.min(*x), h.max(*x)));
            let fall = |x: &f64| 0.02 * 5f64.powf(-(x / low).ln() / (high / low).ln());
            sizes.iter().map(fall).collect()
        }
        _ => vec![0.02; n],
    };
    let clusters = (noise == "clusters").then(|| {
        let mut different: Vec<f64> = sizes.clone();
        different.sort_by(f64::total_cmp);
        different.dedup();
        sizes.iter().map(|x| different.partition_point(|y| y < x) as u32).collect()
    });
    let least = deviation.iter().copied().fold(f64::INFINITY, f64::min);
    let job = Job {
        loss: Some(loss.parse().expect("a loss")),
        residual: Some(Residual::Log),
        bootstrap: if loss == "l2" { 0 } else { 999 },
        resample: if clusters.is_some() { Resample::Cluster("cluster".into()) } else { Resample::Pairs },
        derive: design.derive.iter().map(|(name, text)| ((*name).to_string(), text.clone())).collect(),
        ..Job::new(design.law)
    };
    Simulation {
        job,
        design: design.columns.clone(),
        clusters,
        truth: design.truth.iter().map(|(name, value)| ((*name).to_string(), *value)).collect(),
        noise: if noise.starts_with("t3") { Noise::T3 } else { Noise::Normal },
        cluster_share: 0.5,
        new_run: Some((design.point.clone(), least)),
        deviation,
        sweeps,
        seed: 1,
    }
}

/// Returns the value after a flag.
fn flag(arguments: &[String], name: &str) -> Option<String> {
    let place = arguments.iter().position(|argument| argument == name)?;
    arguments.get(place + 1).cloned()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments.iter().any(|a| a == "--test") {
        return;
    }
    let sweeps = flag(&arguments, "--sweeps").map_or(1000, |n| n.parse().expect("a number of sweeps"));
    let (only_loss, only_noise) = (flag(&arguments, "--loss"), flag(&arguments, "--noise"));
    let designs = designs();
    let is_named = |name: &str| arguments.iter().any(|a| a == name);
    let any_named = designs.iter().any(|design| is_named(design.name));
    let begun = Instant::now();
    let mut pairs: Vec<(String, bool, QuantityCoverage)> = Vec::new();
    println!(
        "{sweeps} sweeps a cell; coverage of nominal 95 % in percent, with the method of most intervals"
    );
    for design in designs.iter().filter(|design| !any_named || is_named(design.name)) {
        for noise in NOISES.iter().filter(|noise| only_noise.as_ref().is_none_or(|only| *noise == only)) {
            let is_clustered = *noise == "clusters";
            // On one axis every observation is a cluster of its own.
            if is_clustered && design.columns.len() == 1 {
                continue;
            }
            for loss in
                ["l2", "huber:1e-3"].iter().filter(|loss| only_loss.as_ref().is_none_or(|only| *loss == only))
            {
                let simulation = simulation(design, noise, loss, sweeps);
                let found = simulation.run(&Control::default()).expect("the simulation runs");
                let shown: Vec<String> = found
                    .iter()
                    .map(|q| {
                        let method = q.method.map_or("", sweepfit::IntervalMethod::name);
                        format!("{} {:.1} {method}", q.quantity, 100.0 * q.coverage)
                    })
                    .collect();
                println!("{:8} {:11} {:10} {}", design.name, noise, loss, shown.join(" | "));
                pairs.extend(
                    found.into_iter().map(|q| (format!("{} {noise} {loss}", design.name), is_clustered, q)),
                );
            }
        }
    }
    for clustered in [false, true] {
        let of_kind: Vec<_> = pairs.iter().filter(|(_, is, _)| *is == clustered).collect();
        if of_kind.is_empty() {
            continue;
        }
        let is_inside = |q: &QuantityCoverage| (0.92..=0.975).contains(&q.coverage);
        let inside = of_kind.iter().filter(|(.., q)| is_inside(q)).count();
        let worst = of_kind.iter().map(|(.., q)| q.coverage).fold(1.0, f64::min);
        println!(
            "{}: {} of {} pairs inside 92 to 97.5 ({:.1} %), lowest {:.1}",
            if clustered { "with clusters" } else { "without clusters" },
            inside,
            of_kind.len(),
            100.0 * inside as f64 / of_kind.len() as f64,
            100.0 * worst
        );
        for (cell, _, q) in of_kind.iter().filter(|(.., q)| !is_inside(q)) {
            println!(
                "  outside: {cell}, {}: {:.1} ± {:.1}",
                q.quantity,
                100.0 * q.coverage,
                100.0 * q.mc_error
            );
        }
    }
    println!("{:.0} s", begun.elapsed().as_secs_f64());
}
