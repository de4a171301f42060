//! `sweepfit fit`: turns the arguments ([`FitArguments`]) into a [`Job`] and runs it on files.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use super::key_columns::{key_columns, names};
use super::limits::{Limit, Limits};
use super::numbers::whole;
use super::progress::terminal_progress;
use crate::engine::{CatalogueFile, Control, Job, KeepReplicates, LawText};
use crate::files::{dry_run_files, run_files};
use crate::infer::{IntervalMethod, Resample};
use crate::law::Residual;
use crate::optimize::Solver;
use crate::output::OutputOptions;
use crate::problem::LossChoice;
use crate::questions::Frontier;

use super::frontier::{held_variables, positive_numbers};
use super::{Failure, summary, terminal};

/// The arguments of `sweepfit fit`.
#[derive(Args, Debug)]
#[command(after_help = "See also: sweepfit help formula, sweepfit laws, sweepfit schema")]
pub struct FitArguments {
    /// Parquet files, directories (searched for Parquet files of any name) or globs; files of CSV, TSV or JSON lines by name or glob; `-`
    /// for Parquet or an Arrow stream on standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,

    /// Directory for the output tables; not needed with --dry-run
    #[arg(short, long, value_name = "DIR", required_unless_present = "dry_run")]
    out: Option<PathBuf>,

    /// A catalogue name or a formula such as 'loss ~ E + A/N^alpha where E > 0, A > 0'; repeatable
    #[arg(long = "law", value_name = "LAW", required = true, allow_hyphen_values = true)]
    laws: Vec<String>,

    /// Columns that identify a sweep [default: the whole input is one sweep]; NAME=COL gives a column another name in the
    /// output, and a name with `,` or `=` is written in double quotes
    #[arg(long, value_name = "COL,…", help_heading = "Input")]
    by: Vec<String>,

    /// A variable from the input's columns, such as 'D=C/(6*N)'; repeatable, in order
    #[arg(long = "let", value_name = "NAME=EXPR", allow_hyphen_values = true, help_heading = "Input")]
    lets: Vec<String>,

    /// The type of a partition of the input's directories, such as year=int64 [default: text]; repeatable
    #[arg(long, value_name = "NAME=TYPE", help_heading = "Input")]
    partition_type: Vec<String>,

    /// Keep only the rows where this condition holds, such as "kept and learner in ('SVM', 'kNN')"
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true, help_heading = "Input")]
    condition: Option<String>,

    /// Predict and score the rows where this condition holds, and fit the others: scores.parquet
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true, help_heading = "Input")]
    holdout: Option<String>,

    /// Column that replaces the whole left side of the law
    #[arg(long, value_name = "COL", help_heading = "Input")]
    response: Option<String>,

    /// Columns of a wide table, by names or patterns such as 'eval/*', each of which is the response of a sweep of its own; the
    /// key column `response` holds its name
    #[arg(long, value_name = "COL,…", conflicts_with = "response", help_heading = "Input")]
    responses: Vec<String>,

    /// Reject sweeps with fewer usable observations
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Input", allow_negative_numbers = true, value_parser = whole(0, u64::MAX))]
    min_points: u64,

    /// Exit with status 3 where more fits than this have no certified optimum: a number, or a share such as 1%
    #[arg(long, value_name = "LIMIT", help_heading = "Output")]
    max_failed: Option<Limit>,

    /// Exit with status 3 where more rows than this are rejected: a number, or a share such as 1%
    #[arg(long, value_name = "LIMIT", help_heading = "Output")]
    max_rejected: Option<Limit>,

    /// Write empty tables where no row of the input is left, in place of an error
    #[arg(long, help_heading = "Input")]
    allow_empty: bool,

    /// Column of weights w ≥ 0
    #[arg(long, value_name = "COL", help_heading = "Objective")]
    weight: Option<String>,

    /// Column of σ > 0; relative unless --absolute-sigma
    #[arg(long, value_name = "COL", help_heading = "Objective")]
    sigma: Option<String>,

    /// Take σ in the response's units: standard errors are not scaled by the residual variance
    #[arg(long, requires = "sigma", help_heading = "Objective")]
    absolute_sigma: bool,

    /// Space of residuals T(prediction) − T(response) [default: the law's own; linear for formulas]
    #[arg(long, value_enum, value_name = "log|linear", help_heading = "Objective")]
    residual: Option<ResidualArgument>,

    /// l2, huber:δ, soft_l1:δ or cauchy:δ; δ may follow the scale of the residuals, as in huber:1.345*mad [default:
    /// huber:1.345*mad with log, l2 with linear; the published Chinchilla fits have huber:1e-3]
    #[arg(long, value_name = "LOSS", help_heading = "Objective")]
    loss: Option<LossChoice>,

    /// A TOML catalogue of your own laws, beside the built-in one
    #[arg(long = "laws", value_name = "FILE", help_heading = "Laws")]
    catalogue: Option<PathBuf>,

    /// Hold a parameter at a value; repeatable
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Laws")]
    fix: Vec<String>,

    /// Starts of the multi-start [default: set by the law]
    #[arg(long, value_name = "N", help_heading = "Search", allow_negative_numbers = true, value_parser = whole(1, 65_536))]
    starts: Option<u64>,

    /// A start of your own, tried with the others (alone with --starts 1)
    #[arg(long, value_name = "NAME=VALUE,…", value_delimiter = ',', help_heading = "Search")]
    start: Vec<String>,

    /// fast: searches in SIMD lanes, finished by the reference solver; reference: the reference solver alone
    #[arg(long, value_enum, default_value = "fast", value_name = "fast|reference", help_heading = "Search")]
    solver: SolverArgument,

    /// Bootstrap replicates; 0 for asymptotic intervals
    #[arg(long, value_name = "B", default_value_t = 1000, help_heading = "Uncertainty", allow_negative_numbers = true, value_parser = whole(0, 10_000_000))]
    bootstrap: u64,

    /// How replicates are made: pairs, cluster:COL, bayesian, residual, wild, parametric, jackknife or none; with bayesian:COL,
    /// wild:COL and jackknife:COL by cluster
    #[arg(long, value_name = "HOW", default_value = "pairs", help_heading = "Uncertainty")]
    resample: Resample,

    /// How intervals are made: percentile, basic, normal, t, studentized, bca, profile, or auto for what loss and sweep ask
    /// for
    #[arg(long, value_name = "METHOD", default_value = "auto", help_heading = "Uncertainty", value_parser = interval)]
    interval: IntervalArgument,

    /// Confidence of the intervals
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.95,
        help_heading = "Uncertainty",
        allow_negative_numbers = true
    )]
    confidence: f64,

    /// Seed of all random numbers
    #[arg(long, value_name = "U64", default_value_t = 0, help_heading = "Uncertainty", allow_negative_numbers = true, value_parser = whole(0, u64::MAX))]
    seed: u64,

    /// A quantity derived from the law's parameters, with its interval, such as 'a=beta/(alpha+beta)'; repeatable
    #[arg(long, value_name = "NAME=EXPR", allow_hyphen_values = true, help_heading = "Uncertainty")]
    derive: Vec<String>,

    /// Write replicates.parquet: auto (while all take less than 256 MiB), always (also the bare flag) or never
    #[arg(
        long,
        value_enum,
        value_name = "auto|always|never",
        default_value = "auto",
        default_missing_value = "always",
        num_args = 0..=1,
        require_equals = true,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    keep_replicates: KeepArgument,

    /// Also write covariance.parquet
    #[arg(long, help_heading = "Output")]
    covariance: bool,

    /// Also write residuals.parquet
    #[arg(long, help_heading = "Output")]
    residuals: bool,

    /// Predict the fitted laws at a point, such as 'N=7e10, D=20*N', in predictions.parquet; repeatable
    #[arg(long, value_name = "NAME=VALUE,…", help_heading = "Questions")]
    at: Vec<String>,

    /// Find the frontier at these costs, such as 1e21..1e26:11, in frontier.parquet
    #[arg(long, value_name = "COST,…", help_heading = "Questions")]
    budget: Vec<String>,

    /// Find the cost of these values of the response, in frontier.parquet
    #[arg(long, value_name = "VALUE,…", help_heading = "Questions")]
    target: Vec<String>,

    /// The cost of the frontier as a formula of the law's variables [default: 6*N*D]
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true, help_heading = "Questions")]
    cost: Option<String>,

    /// Hold a variable of the frontier at a value; repeatable
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Questions")]
    hold: Vec<String>,

    /// Replace an earlier result in the output directory
    #[arg(long, help_heading = "Output")]
    overwrite: bool,

    /// Read, bind, count sweeps and rejections, print the plan, write nothing
    #[arg(long, help_heading = "Output")]
    dry_run: bool,

    /// No progress on standard error; warnings and errors still go there
    #[arg(short, long, help_heading = "Output")]
    quiet: bool,

    /// Memory within which the run stays, such as 2GiB: rows in no order are read as many times as it takes [default: 70 % of
    /// the machine's]
    #[arg(long, value_name = "SIZE", help_heading = "Input")]
    memory_limit: Option<ByteSize>,

    /// Worker threads [default: all cores]
    #[arg(short = 'j', long, value_name = "N", help_heading = "Output", allow_negative_numbers = true, value_parser = whole(1, 1024))]
    threads: Option<u64>,
}

/// The value of `--interval`; none for `auto`.
#[derive(Clone, Copy, Debug)]
pub(super) struct IntervalArgument(pub(super) Option<IntervalMethod>);

/// Parses the value of `--interval`.
pub(super) fn interval(text: &str) -> Result<IntervalArgument, String> {
    if text == "auto" {
        return Ok(IntervalArgument(None));
    }
    let named = IntervalMethod::ALL.into_iter().find(|method| method.name() == text);
    let names = || IntervalMethod::ALL.map(IntervalMethod::name).join(", ");
    named.map(|method| IntervalArgument(Some(method))).ok_or_else(|| format!("use auto, {}", names()))
}

/// The values of `--residual`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ResidualArgument {
    Log,
    Linear,
}

/// The values of `--keep-replicates`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KeepArgument {
    Auto,
    Always,
    Never,
}

/// The values of `--solver`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SolverArgument {
    Fast,
    Reference,
}

impl FitArguments {
    /// Returns the job of the arguments; reads the catalogue file.
    fn job(&self) -> Result<Job, Failure> {
        let catalogue = match &self.catalogue {
            Some(path) => {
                let file = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Failure::usage(format!("--laws {file}: {error}")))?;
                Some(CatalogueFile { name: file, text })
            }
            None => None,
        };
        Ok(Job {
            inputs: self.inputs.clone(),
            partition_types: (self.partition_type.iter())
                .map(|text| assignment("--partition-type", text))
                .collect::<Result<_, _>>()?,
            by: self.by.iter().map(|text| key_columns(text)).collect::<Result<Vec<_>, _>>()?.concat(),
            laws: self.laws.iter().map(|text| LawText::from(text.as_str())).collect(),
            catalogue,
            lets: self.lets.iter().map(|text| assignment("--let", text)).collect::<Result<_, _>>()?,
            condition: self.condition.clone(),
            holdout: self.holdout.clone(),
            response: self.response.clone(),
            responses: (self.responses.iter())
                .map(|text| names("--responses", text))
                .collect::<Result<Vec<_>, _>>()?
                .concat(),
            allow_empty: self.allow_empty,
            min_points: usize::try_from(self.min_points).unwrap_or(usize::MAX),
            residual: self.residual.map(|r| match r {
                ResidualArgument::Log => Residual::Log,
                ResidualArgument::Linear => Residual::Linear,
            }),
            loss: self.loss,
            weight: self.weight.clone(),
            sigma: self.sigma.clone(),
            absolute_sigma: self.absolute_sigma,
            starts: self.starts.map(|n| n as usize),
            start: values("--start", &self.start)?,
            fix: values("--fix", &self.fix)?,
            solver: match self.solver {
                SolverArgument::Fast => Solver::Fast,
                SolverArgument::Reference => Solver::Reference,
            },
            bootstrap: self.bootstrap as usize,
            resample: self.resample.clone(),
            interval: self.interval.0,
            confidence: self.confidence,
            seed: self.seed,
            derive: self.derive.iter().map(|text| assignment("--derive", text)).collect::<Result<_, _>>()?,
            keep_replicates: match self.keep_replicates {
                KeepArgument::Auto => KeepReplicates::Auto,
                KeepArgument::Always => KeepReplicates::Always,
                KeepArgument::Never => KeepReplicates::Never,
            },
            covariance: self.covariance,
            residuals: self.residuals,
            at: self.at.clone(),
            frontier: Frontier {
                budgets: positive_numbers("--budget", &self.budget)?,
                targets: positive_numbers("--target", &self.target)?,
                cost: self.cost.clone(),
                hold: held_variables(&self.hold)?,
                relative_to: None,
            },
        })
    }
}

/// Splits `NAME=VALUE`; fails where either side is empty.
pub(super) fn assignment(flag: &str, text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
            Ok((name.trim().to_string(), value.to_string()))
        }
        _ => Err(Failure::usage(format!("{flag} {text}: write it as NAME=VALUE"))),
    }
}

/// Parses `NAME=VALUE` texts whose values are finite numbers.
pub(super) fn values(flag: &str, texts: &[String]) -> Result<Vec<(String, f64)>, Failure> {
    let mut values: Vec<(String, f64)> = Vec::new();
    for text in texts {
        let (name, value) = assignment(flag, text)?;
        let number: f64 = value
            .trim()
            .parse()
            .ok()
            .filter(|x: &f64| x.is_finite())
            .ok_or_else(|| Failure::usage(format!("{flag} {text}: `{value}` is not a finite number")))?;
        values.push((name, number));
    }
    Ok(values)
}

/// Returns 70 % of the memory of the machine, or of the container in which the program runs; none where it is not known.
fn usual_memory() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let of_machine = system.total_memory();
    let of_container = system.cgroup_limits().map_or(of_machine, |limits| limits.total_memory);
    Some(of_machine.min(of_container) / 10 * 7).filter(|bytes| *bytes > 0)
}

/// Runs the command and returns its output.
pub fn run(arguments: FitArguments) -> Result<String, Failure> {
    let job = arguments.job()?;
    let threads = arguments.threads.map_or(0, |n| n as usize);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Failure::usage(format!("--threads {threads}: {error}")))?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    // Without a handler, Ctrl-C ends the process at once, which is acceptable: an error here is ignored.
    let _ = ctrlc::set_handler(move || {
        // The first Ctrl-C lets the running fits end; the second ends the process at once.
        if flag.swap(true, Ordering::Relaxed) {
            // The progress bar stays where it is; what the shell writes begins on a line of its own.
            if std::io::stderr().is_terminal() {
                terminal::complain("\n");
            }
            std::process::exit(130);
        }
    });
    let progress = terminal_progress(arguments.quiet);
    let control = Control {
        progress: progress.as_ref(),
        interrupted: &interrupted,
        memory_bytes: arguments.memory_limit.map(|limit| limit.as_u64()).or_else(usual_memory),
    };
    let out = arguments.out.as_deref().filter(|_| !arguments.dry_run);
    let options = OutputOptions { overwrite: arguments.overwrite, ..OutputOptions::default() };
    let outcome = pool.install(|| match out {
        Some(out) => run_files(&job, out, &options, &control),
        None => dry_run_files(&job, &control),
    })?;
    let text = summary::text(&outcome, arguments.dry_run, out);
    let limits = Limits { failed: arguments.max_failed, rejected: arguments.max_rejected };
    match limits.exceeded(&outcome.counts) {
        Some(message) => Err(Failure::beyond_limit(&text, message)),
        None => Ok(text),
    }
}
