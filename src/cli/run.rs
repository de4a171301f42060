//! `sweepfit run`: the steps of a job file, in order ([`super::job_file`]).

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use toml::{Table, Value};

use super::check::CheckArguments;
use super::diff::{self, DiffArguments};
use super::fit::{Concluded, Directories, FitArguments};
use super::frontier::{self, FrontierArguments};
use super::job_file::{arguments, has_key, read, replace_variables, set};
use super::predict::{self, PredictArguments};
use super::reporting::{Reporting, ReportingArguments};
use super::{Failure, signals, terminal};
use crate::formula::{list, nearest};
use crate::output::{CURRENT, is_result};

/// The arguments of `sweepfit run`.
#[derive(Args, Debug)]
#[command(
    after_help = "A section of the file is a command and its keys are the command's flags: [check], [fit], [predict], [frontier], \
                  [diff], done in this order. Keys above all sections are flags of fit. `sweepfit schema --job` prints the file's \
                  JSON Schema, and `sweepfit fit … --print-job` the file for a command line."
)]
pub struct RunArguments {
    /// The job file, in TOML; `${NAME}` and `${NAME:-default}` stand for variables of the environment
    #[arg(value_name = "JOB")]
    job: PathBuf,

    /// Set a key of the file, such as fit.bootstrap=200; repeatable
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    set: Vec<String>,

    /// Do not go on where a run of this job was killed or stopped
    #[arg(long)]
    fresh: bool,

    #[command(flatten)]
    reporting: ReportingArguments,
}

/// The commands that a job file may have as sections, in the order in which they are done, and whether there may be several.
pub(super) const SECTIONS: [(&str, bool); 5] =
    [("check", false), ("fit", false), ("predict", true), ("frontier", true), ("diff", false)];

/// The keys on what a job says, which are those of the whole job.
const OF_THE_JOB: [&str; 4] = ["quiet", "log_format", "metrics", "lineage"];

/// The steps of a job.
struct Steps {
    check: Option<CheckArguments>,
    fit: FitArguments,
    answers: Vec<Answer>,
    diff: Option<DiffArguments>,
}

/// A step that asks the result of the fit.
enum Answer {
    Predict(PredictArguments),
    Frontier(FrontierArguments),
}

/// Runs the command and returns its output.
pub fn run(arguments: &RunArguments, program: &Command) -> Result<String, Failure> {
    let name = arguments.job.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut reporting = Reporting::begin(&arguments.reporting, &name);
    let mut concluded = Concluded::default();
    let steps = arguments.steps(program);
    let directories = steps.as_ref().ok().and_then(|steps| steps.fit.directories().ok());
    let snapshots = directories.and_then(|directories| directories.snapshots);
    let outcome = steps.and_then(|steps| {
        reporting.add(&steps.fit.reporting);
        steps.run(&reporting, &mut concluded)
    });
    reporting.end(outcome, &concluded, snapshots.as_deref())
}

impl RunArguments {
    /// Reads the job file.
    fn steps(&self, program: &Command) -> Result<Steps, Failure> {
        let mut job = read(&self.job)?;
        self.set.iter().try_for_each(|assignment| set(&mut job, assignment))?;
        let steps = replace_variables(&mut job).and_then(|()| Steps::of(job, program, self.fresh));
        steps.map_err(|failure| Failure {
            message: format!("{}: {}", self.job.display(), failure.message),
            ..failure
        })
    }
}

impl Steps {
    /// Reads the steps of a job file, so that what is wrong in any of them is said before the first is done.
    fn of(mut job: Table, program: &Command, fresh: bool) -> Result<Steps, Failure> {
        let command = |name: &str| {
            program
                .find_subcommand(name)
                .cloned()
                .ok_or_else(|| Failure::usage(format!("there is no command `{name}`")))
        };
        let fit_command = command("fit")?;
        let mut fit = section(&mut job, "fit")?.unwrap_or_default();
        // Keys above all sections are flags of fit.
        for (key, value) in std::mem::take(&mut job) {
            if SECTIONS.iter().any(|(name, _)| *name == key) {
                job.insert(key, value);
            } else if has_key(&fit_command, &key) {
                fit.entry(key).or_insert(value);
            } else {
                return Err(unknown(&key));
            }
        }
        fit.entry("resume").or_insert(Value::Boolean(true));
        if fresh {
            fit.insert("fresh".to_owned(), Value::Boolean(true));
        }
        let check = match section(&mut job, "check")? {
            Some(mut check) => {
                let command = command("check")?;
                if let Some(key) = OF_THE_JOB.into_iter().find(|key| check.contains_key(*key)) {
                    return Err(Failure::usage(format!("[check] {key}: write it above all sections")));
                }
                // What is checked is what is fitted, but for what is said otherwise.
                let is_shared = |key: &str| has_key(&command, key) && !OF_THE_JOB.contains(&key);
                let shared = fit.iter().filter(|(key, _)| is_shared(key));
                for (key, value) in
                    shared.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
                {
                    check.entry(key).or_insert(value);
                }
                Some(parse::<CheckArguments>(&command, "check", &check)?)
            }
            None => None,
        };
        let fit: FitArguments = parse(&fit_command, "fit", &fit)?;
        let Directories { result, snapshots } = fit.directories()?;
        let result = result.ok_or_else(|| Failure::usage("[fit] dry_run: a job writes its result"))?;
        let mut answers = Vec::new();
        let is_divided = !fit.partition_by.is_empty();
        for name in ["predict", "frontier"] {
            let command = command(name)?;
            let table = if name == "predict" { "predictions" } else { "frontier" };
            let mut taken = false;
            for mut asked in sections(&mut job, name)? {
                let has_own_out = asked.contains_key("out");
                if is_divided && !has_own_out {
                    return Err(Failure::usage(format!(
                        "[{name}] needs an `out` beside `partition_by`, whose tables are directories; or ask in [fit], with `at`, \
                         `budget` or `target`"
                    )));
                }
                if !has_own_out && std::mem::replace(&mut taken, true) {
                    return Err(Failure::usage(format!(
                        "several sections [{name}] need an `out` each but one"
                    )));
                }
                with_default(&mut asked, "result", &result);
                with_default(&mut asked, "out", &result.join(format!("{table}.parquet")));
                answers.push(match name {
                    "predict" => Answer::Predict(parse(&command, name, &asked)?),
                    _ => Answer::Frontier(parse(&command, name, &asked)?),
                });
            }
        }
        let diff = match section(&mut job, "diff")? {
            Some(mut diff) => {
                match &snapshots {
                    Some(root) => with_default(&mut diff, "old", &root.join(CURRENT)),
                    None if diff.contains_key("old") => {}
                    None => {
                        let reason =
                            "[diff] needs `old`, the result to compare with, where nothing is published";
                        return Err(Failure::usage(reason));
                    }
                }
                with_default(&mut diff, "new", &result);
                Some(parse(&command("diff")?, "diff", &diff)?)
            }
            None => None,
        };
        Ok(Steps { check, fit, answers, diff })
    }

    /// Does the steps. A check that fails ends the job. After the fit, what is beyond a limit keeps the result from being
    /// published, and the other steps are done.
    fn run(self, reporting: &Reporting, concluded: &mut Concluded) -> Result<String, Failure> {
        let Steps { check, fit, answers, diff } = self;
        let mut text = String::new();
        let mut beyond_limits = Vec::new();
        if let Some(check) = check {
            text += &titled("check", &check.check(reporting.progress().as_ref())?);
        }
        signals::check()?;
        let fitted = fit.fit(reporting.progress().as_ref(), diff.is_some())?;
        text += &titled("fit", &fitted.text);
        beyond_limits.extend(fitted.beyond_limit.clone());
        for answer in &answers {
            signals::check()?;
            text += &match answer {
                Answer::Predict(asked) => titled("predict", &predict::run(asked)?),
                Answer::Frontier(asked) => titled("frontier", &frontier::run(asked)?),
            };
        }
        match diff {
            Some(asked) if !is_result(asked.old())? => {
                terminal::say(&format!("[diff] there is no earlier result in {}", asked.old().display()));
            }
            Some(asked) => {
                let (found, beyond_limit) = diff::found(&asked)?;
                text += &titled("diff", &found);
                beyond_limits.extend(beyond_limit);
            }
            None => {}
        }
        signals::check()?;
        *concluded = fitted.conclude(&mut text, !beyond_limits.is_empty())?;
        if beyond_limits.is_empty() {
            Ok(text)
        } else {
            Err(Failure::beyond_limit(&text, beyond_limits.join("; ")))
        }
    }
}

/// Returns the output of a step below its name.
fn titled(name: &str, text: &str) -> String {
    format!("[{name}]\n{text}\n")
}

/// Removes a section from a job and returns it.
fn section(job: &mut Table, name: &str) -> Result<Option<Table>, Failure> {
    match job.remove(name) {
        None => Ok(None),
        Some(Value::Table(table)) => Ok(Some(table)),
        Some(_) => Err(Failure::usage(format!("`{name}` is a section: write [{name}] once"))),
    }
}

/// Removes the sections of a name from a job and returns them.
fn sections(job: &mut Table, name: &str) -> Result<Vec<Table>, Failure> {
    match job.remove(name) {
        Some(Value::Array(tables)) => {
            let table = |value: Value| match value {
                Value::Table(table) => Ok(table),
                _ => Err(Failure::usage(format!("`{name}` is a section: write [[{name}]]"))),
            };
            tables.into_iter().map(table).collect()
        }
        Some(other) => {
            job.insert(name.to_owned(), other);
            Ok(section(job, name)?.into_iter().collect())
        }
        None => Ok(Vec::new()),
    }
}

fn with_default(section: &mut Table, key: &str, path: &Path) {
    section.entry(key).or_insert_with(|| Value::String(path.display().to_string()));
}

/// Returns the error for a key above all sections that is no flag of fit and no section.
fn unknown(key: &str) -> Failure {
    let known = SECTIONS.map(|(name, _)| name);
    let hint = match nearest(key, known) {
        Some(near) => format!("did you mean [{near}]?"),
        None => format!("the sections are {}; keys above them are those of [fit]", list(&known)),
    };
    Failure::usage(format!("there is no section or key `{key}`; {hint}"))
}

/// Parses a section as the arguments of its command.
fn parse<T: FromArgMatches>(command: &Command, name: &str, table: &Table) -> Result<T, Failure> {
    let matches: Result<ArgMatches, clap::Error> =
        command.clone().no_binary_name(false).try_get_matches_from(arguments(command, name, table)?);
    let parsed = matches.and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let text = error.render().to_string();
        let reason = text
            .lines()
            .take_while(|line| !["Usage", "For more"].iter().any(|start| line.starts_with(start)))
            .map(str::trim)
            .collect::<Vec<_>>();
        let reason = reason.join(" ");
        Failure::usage(format!("[{name}] {}", reason.trim().trim_start_matches("error: ")))
    })
}
