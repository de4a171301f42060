//! `sweepfit fit`: turns the arguments ([`FitArguments`]) into a [`Job`] and runs it on files.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use super::key_columns::{key_columns, names};
use super::limits::{Limit, Limits};
use super::numbers::whole;
use super::reporting::{Reporting, ReportingArguments};
use super::signals::interrupted;
use crate::engine::{CatalogueFile, Control, Job, KeepReplicates, LawText, Progress};
use crate::error::Error;
use crate::files::{dry_run_files, run_files};
use crate::infer::{IntervalMethod, Resample};
use crate::law::Residual;
use crate::optimize::Solver;
use crate::output::{NamedSnapshot, OutputOptions, RemoteResult, Snapshots, local_directory};
use crate::problem::LossChoice;
use crate::questions::Frontier;
use crate::store::url_of;

use super::frontier::{held_variables, positive_numbers};
use super::{Failure, summary, terminal};

/// The arguments that say what is fitted to what: those of a [`Job`].
#[derive(Args, Debug)]
pub struct JobArguments {
    /// Parquet files, directories (searched for Parquet files of any name), Delta tables or globs; files of CSV, TSV or JSON lines by
    /// name or glob; `-` for Parquet or an Arrow stream on standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,

    /// A catalogue name or a formula such as 'loss ~ E + A/N^alpha where E > 0, A > 0'; repeatable
    #[arg(long = "law", value_name = "LAW", required = true, allow_hyphen_values = true)]
    pub(super) laws: Vec<String>,

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
}

/// The arguments that say with what a job runs.
#[derive(Args, Debug)]
pub struct MachineArguments {
    /// Memory within which the run stays, such as 2GiB: rows in no order are read as many times as it takes [default: 70 % of
    /// the machine's]
    #[arg(long, value_name = "SIZE", help_heading = "Input")]
    memory_limit: Option<ByteSize>,

    /// Worker threads [default: all cores]
    #[arg(short = 'j', long, value_name = "N", help_heading = "Output", allow_negative_numbers = true, value_parser = whole(1, 1024))]
    threads: Option<u64>,
}

/// The arguments of `sweepfit fit`.
#[derive(Args, Debug)]
#[command(after_help = "See also: sweepfit help formula, sweepfit laws, sweepfit schema")]
pub struct FitArguments {
    #[command(flatten)]
    job: JobArguments,

    /// Directory or URL for the output tables; not needed with --dry-run and --publish
    #[arg(short, long, value_name = "DIR", required_unless_present_any = ["dry_run", "publish", "print_job"])]
    out: Option<PathBuf>,

    /// Exit with status 3 where more fits than this have no certified optimum: a number, or a share such as 1%
    #[arg(long, value_name = "LIMIT", help_heading = "Output")]
    max_failed: Option<Limit>,

    /// Exit with status 3 where more rows than this are rejected: a number, or a share such as 1%
    #[arg(long, value_name = "LIMIT", help_heading = "Output")]
    max_rejected: Option<Limit>,

    /// Replace an earlier result in the output directory
    #[arg(long, help_heading = "Output")]
    overwrite: bool,

    /// Read, bind, count sweeps and rejections, print the plan, write nothing
    #[arg(long, help_heading = "Output")]
    dry_run: bool,

    /// Divide the output tables into hive partitions by the first key columns: fits.parquet/family=llama/part-0.parquet
    #[arg(long, value_name = "COL,…", help_heading = "Jobs")]
    pub(super) partition_by: Vec<String>,

    /// Write the result to a new snapshot below this directory or URL, and move its link `current` there when all is well
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "overwrite"], help_heading = "Jobs")]
    publish: Option<PathBuf>,

    /// Old snapshots that stay
    #[arg(long, value_name = "N", default_value_t = 7, requires = "publish", help_heading = "Jobs", allow_negative_numbers = true, value_parser = whole(0, 1_000_000))]
    keep: u64,

    /// Copy the fits of the current snapshot, or of the earlier result in --out, of which neither observations nor options have
    /// changed; the result is the same. With --residuals, which tells files and rows, all fits are made again
    #[arg(long, help_heading = "Jobs")]
    incremental: bool,

    /// Go on where a run into this directory was killed or stopped, and make it possible for this one
    #[arg(long, help_heading = "Jobs")]
    resume: bool,

    /// Remove what a run that was killed or stopped has left, and begin anew
    #[arg(long, help_heading = "Jobs")]
    fresh: bool,

    /// Print the job file of this command line, and do nothing else
    #[arg(long, help_heading = "Jobs")]
    pub(super) print_job: bool,

    #[command(flatten)]
    pub(super) reporting: ReportingArguments,

    #[command(flatten)]
    machine: MachineArguments,
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

impl JobArguments {
    /// Returns the job of the arguments; reads the catalogue file.
    pub(super) fn job(&self) -> Result<Job, Failure> {
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

/// Returns 70 % of the memory of the machine, or of the control group in which the program runs; none where it is not known.
fn usual_memory() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let own = sysinfo::get_current_pid().ok()?;
    system.refresh_processes(sysinfo::ProcessesToUpdate::Some(&[own]), false);
    let of_machine = system.total_memory();
    let of_group = system.process(own).and_then(sysinfo::Process::cgroup_limits);
    let of_group = of_group.map_or(of_machine, |limits| limits.total_memory);
    Some(of_machine.min(of_group) / 10 * 7).filter(|bytes| *bytes > 0)
}

impl MachineArguments {
    /// Calls `then` in a pool of the threads that the arguments ask for, with the control of the run.
    pub(super) fn run<T: Send>(
        &self,
        progress: &dyn Progress,
        then: impl FnOnce(&Control) -> Result<T, Error> + Send,
    ) -> Result<T, Failure> {
        let threads = self.threads.map_or(0, |n| n as usize);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| Failure::usage(format!("--threads {threads}: {error}")))?;
        let memory_bytes = self.memory_limit.map(|limit| limit.as_u64()).or_else(usual_memory);
        let control = Control { progress, interrupted: interrupted(), memory_bytes };
        Ok(pool.install(|| then(&control))?)
    }
}

/// A fit that is complete and may still be published.
pub(super) struct Fitted {
    /// The summary.
    pub(super) text: String,
    /// The directory with the result; none after a dry run.
    pub(super) result: Option<PathBuf>,
    /// How a limit of the user is exceeded.
    pub(super) beyond_limit: Option<String>,
    destination: Destination,
    keep: usize,
}

/// Where the result of a fit goes when it is complete.
enum Destination {
    /// It stays where it was written.
    Here,
    /// To a new directory in a store.
    Store(RemoteResult),
    /// To a directory of snapshots.
    Snapshots(Snapshots),
}

/// The directories of a fit on this machine.
#[derive(Default)]
pub(super) struct Directories {
    /// That to which the tables are written; none for a dry run.
    pub(super) result: Option<PathBuf>,
    /// That of snapshots, if the result is published.
    pub(super) snapshots: Option<PathBuf>,
}

/// Where a fit has ended.
#[derive(Default)]
pub(super) struct Concluded {
    /// The directory with the result on this machine; none after a dry run.
    pub(super) result: Option<PathBuf>,
    /// The path or URL of the result, or of the directory of snapshots where the result is the current one.
    pub(super) output: Option<PathBuf>,
}

impl FitArguments {
    /// Returns the directories on this machine to which the fit writes. For what goes to a store, these are copies.
    ///
    /// # Errors
    /// If a URL is refused.
    pub(super) fn directories(&self) -> Result<Directories, Failure> {
        match (&self.publish, &self.out) {
            _ if self.dry_run => Ok(Directories::default()),
            (Some(root), _) => {
                let root = local_directory(root)?;
                Ok(Directories { result: Some(Snapshots::unfinished_in(&root)), snapshots: Some(root) })
            }
            (None, Some(out)) if url_of(out).is_some() => {
                let copy = RemoteResult::copy_in(&local_directory(out)?);
                Ok(Directories { result: Some(copy), snapshots: None })
            }
            (None, Some(out)) => Ok(Directories { result: Some(out.clone()), snapshots: None }),
            (None, None) => Ok(Directories::default()),
        }
    }

    fn destination(&self) -> Result<Destination, Failure> {
        if let Some(root) = self.publish.as_ref().filter(|_| !self.dry_run) {
            return Ok(Destination::Snapshots(Snapshots::open(root)?));
        }
        let out = self.out.as_ref().filter(|_| !self.dry_run);
        let remote = out.map(|out| RemoteResult::open(out)).transpose()?.flatten();
        Ok(remote.map_or(Destination::Here, Destination::Store))
    }

    /// Fits and writes the tables. `needs_current` says whether the current snapshot is needed for more than its fits.
    ///
    /// # Errors
    /// If the run fails.
    pub(super) fn fit(&self, progress: &dyn Progress, needs_current: bool) -> Result<Fitted, Failure> {
        let job = self.job.job()?;
        let destination = self.destination()?;
        let result = self.directories()?.result;
        let snapshots = match &destination {
            Destination::Snapshots(snapshots) => Some(snapshots),
            Destination::Here | Destination::Store(_) => None,
        };
        if let Some(snapshots) = snapshots.filter(|_| self.incremental || needs_current) {
            snapshots.fetch_current()?;
        }
        // What is in a copy is no result of the user's.
        let mut options = OutputOptions {
            overwrite: self.overwrite || !matches!(destination, Destination::Here),
            earlier: Vec::new(),
            resume: self.resume,
            fresh: self.fresh,
            partition_by: (self.partition_by.iter())
                .map(|text| names("--partition-by", text))
                .collect::<Result<Vec<_>, _>>()?
                .concat(),
        };
        let before = match snapshots {
            Some(snapshots) => snapshots.current(),
            None => result.clone(),
        };
        options.earlier.extend(before.filter(|_| self.incremental));
        if self.resume && !self.fresh && snapshots.is_some() {
            // A run that was killed after its last fit has left all of them.
            options.earlier.extend(result.clone());
        }
        let summary = self.machine.run(progress, |control| match &result {
            Some(out) => run_files(&job, out, &options, control),
            None => dry_run_files(&job, control),
        })?;
        let text = summary::text(
            &summary,
            self.dry_run,
            result.as_deref().filter(|_| matches!(destination, Destination::Here)),
        );
        let limits = Limits { failed: self.max_failed, rejected: self.max_rejected };
        let beyond_limit = limits.exceeded(&summary.counts);
        Ok(Fitted {
            text,
            result,
            beyond_limit,
            destination,
            keep: usize::try_from(self.keep).unwrap_or(usize::MAX),
        })
    }
}

impl Fitted {
    /// Publishes the result if that is asked for and no limit is exceeded, and sets it aside if one is. Adds to the text where
    /// the result is.
    ///
    /// # Errors
    /// If the snapshot cannot be published.
    pub(super) fn conclude(self, text: &mut String, is_beyond_limit: bool) -> Result<Concluded, Failure> {
        let Fitted { result, destination, keep, .. } = self;
        let snapshots = match destination {
            Destination::Snapshots(snapshots) => snapshots,
            Destination::Here => return Ok(Concluded { output: result.clone(), result }),
            Destination::Store(remote) => {
                remote.send(interrupted())?;
                *text += &format!("written to {}\n", terminal::one_line(&remote.shown()));
                return Ok(Concluded { result, output: Some(remote.shown().into()) });
            }
        };
        if is_beyond_limit {
            let NamedSnapshot { directory, shown } = snapshots.set_aside(interrupted())?;
            *text += &format!("not published; the tables are in {}\n", terminal::one_line(&shown));
            return Ok(Concluded { result: Some(directory), output: Some(shown.into()) });
        }
        let NamedSnapshot { directory, shown } = snapshots.publish(keep, interrupted())?;
        terminal::event("info", "published", serde_json::json!({ "snapshot": shown }));
        *text += &format!("published {}\n", terminal::one_line(&shown));
        // What is published is the directory of snapshots, whose name stays.
        let output = Path::new(&shown).parent().and_then(Path::parent).map(Path::to_path_buf);
        Ok(Concluded { result: Some(directory), output })
    }
}

/// Runs the command and returns its output.
pub fn run(arguments: &FitArguments) -> Result<String, Failure> {
    let reporting = Reporting::begin(&arguments.reporting, "fit");
    let mut concluded = Concluded::default();
    let outcome = arguments.fit(reporting.progress().as_ref(), false).and_then(|mut fitted| {
        let (mut text, beyond_limit) = (std::mem::take(&mut fitted.text), fitted.beyond_limit.take());
        concluded = fitted.conclude(&mut text, beyond_limit.is_some())?;
        match beyond_limit {
            Some(message) => Err(Failure::beyond_limit(&text, message)),
            None => Ok(text),
        }
    });
    let snapshots = arguments.directories().ok().and_then(|directories| directories.snapshots);
    reporting.end(outcome, &concluded, snapshots.as_deref())
}
