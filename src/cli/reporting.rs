//! What a run says besides its result: the log on standard error, metrics, and lineage.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::write_whole;
use super::fit::Concluded;
use super::progress::{json_progress, terminal_progress};
use super::{Failure, terminal};
use crate::engine::Progress;
use crate::output::CURRENT;

/// The flags on what a run says.
#[derive(Args, Clone, Debug, Default)]
pub struct ReportingArguments {
    /// No progress on standard error; warnings and errors still go there
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,

    /// The log on standard error: text (the default), or json for one JSON object a line
    #[arg(long, value_enum, value_name = "text|json", hide_possible_values = true, help_heading = "Jobs")]
    pub log_format: Option<LogFormat>,

    /// Also write counts, times and sizes to a file in Prometheus's text format
    #[arg(long, value_name = "FILE", help_heading = "Jobs")]
    pub metrics: Option<PathBuf>,

    /// Also write inputs and outputs to a file as an OpenLineage event
    #[arg(long, value_name = "FILE", help_heading = "Jobs")]
    pub lineage: Option<PathBuf>,
}

/// The values of `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines of text, and a bar on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// The reporting of a run that is under way.
pub struct Reporting {
    arguments: ReportingArguments,
    job: String,
    begun: Instant,
    /// The number of the run in its lineage.
    run: uuid::Uuid,
}

impl Reporting {
    /// Begins the reporting of a run under the name of its job.
    #[must_use]
    pub fn begin(arguments: &ReportingArguments, job: &str) -> Reporting {
        if arguments.log_format == Some(LogFormat::Json) {
            terminal::log_as_json();
        }
        terminal::event(
            "info",
            "start",
            json!({ "job": job, "version": env!("CARGO_PKG_VERSION"), "process": std::process::id() }),
        );
        Reporting {
            arguments: arguments.clone(),
            job: job.to_owned(),
            begun: Instant::now(),
            run: uuid::Uuid::new_v4(),
        }
    }

    /// Adds what a job file says where the command line says nothing.
    pub fn add(&mut self, file: &ReportingArguments) {
        let typed = &mut self.arguments;
        typed.quiet |= file.quiet;
        typed.metrics = typed.metrics.take().or_else(|| file.metrics.clone());
        typed.lineage = typed.lineage.take().or_else(|| file.lineage.clone());
        if typed.log_format.is_none() && file.log_format == Some(LogFormat::Json) {
            typed.log_format = file.log_format;
            terminal::log_as_json();
        }
    }

    /// Returns the listener for the progress of the run.
    #[must_use]
    pub fn progress(&self) -> Box<dyn Progress> {
        match self.arguments.log_format {
            Some(LogFormat::Json) => json_progress(self.arguments.quiet),
            _ => terminal_progress(self.arguments.quiet),
        }
    }

    /// Ends the reporting: writes metrics and lineage of the run, which wrote to a directory of `snapshots` if one is given.
    ///
    /// # Errors
    /// The failure of the run, or that of writing a file.
    pub fn end(
        self,
        outcome: Result<String, Failure>,
        concluded: &Concluded,
        snapshots: Option<&Path>,
    ) -> Result<String, Failure> {
        let status = outcome.as_ref().err().map_or(0, |failure| failure.status);
        let Concluded { result, output } = concluded;
        let manifest = result.as_deref().and_then(ManifestSummary::read);
        let seconds = self.begun.elapsed().as_secs_f64();
        let ReportingArguments { metrics, lineage, .. } = &self.arguments;
        let current = snapshots.map(|root| root.join(CURRENT).join("manifest.json"));
        let snapshot_time = current.and_then(|path| std::fs::metadata(path).ok()?.modified().ok());
        let texts = [
            (metrics, metrics_text(manifest.as_ref(), seconds, status, snapshot_time)),
            (lineage, self.lineage(manifest.as_ref(), output.as_deref(), status)),
        ];
        for (path, text) in texts {
            let Some(path) = path else { continue };
            if let Err(failure) = write_whole(path, text.as_bytes()) {
                if status == 0 {
                    return Err(failure);
                }
                terminal::say(&failure.message);
            }
        }
        let counts = manifest.as_ref().map(|manifest| manifest.counts.clone());
        let level = if status == 0 { "info" } else { "error" };
        terminal::event(level, "done", json!({ "status": status, "seconds": seconds, "counts": counts }));
        outcome
    }

    /// Returns an event of OpenLineage: what the run has read and written.
    fn lineage(&self, manifest: Option<&ManifestSummary>, output: Option<&Path>, status: u8) -> String {
        const PRODUCER: &str = concat!("sweepfit/", env!("CARGO_PKG_VERSION"));
        let input = |InputSummary { path, bytes, version }: &InputSummary| {
            let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
            let modified = modified
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                .map_or(0, |time| time.as_millis());
            let version = version.clone().unwrap_or_else(|| format!("{}-{modified}", bytes.unwrap_or(0)));
            let facet = json!({
                "_producer": PRODUCER,
                "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json",
                "datasetVersion": version,
            });
            let [namespace, name] = dataset(path);
            json!({ "namespace": namespace, "name": name, "facets": { "version": facet } })
        };
        let inputs: Vec<Value> = manifest.map(|m| m.inputs.iter().map(input).collect()).unwrap_or_default();
        let written = |path: &Path| {
            let [namespace, name] = dataset(&path.display().to_string());
            json!({ "namespace": namespace, "name": name })
        };
        let outputs: Vec<Value> = output.map(written).into_iter().collect();
        let event = json!({
            "eventType": if matches!(status, 0 | 3) { "COMPLETE" } else if status > 100 { "ABORT" } else { "FAIL" },
            "eventTime": terminal::timestamp(),
            "run": { "runId": self.run.to_string() },
            "job": { "namespace": "sweepfit", "name": self.job },
            "inputs": inputs,
            "outputs": outputs,
            "producer": PRODUCER,
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        });
        format!("{event}\n")
    }
}

/// Returns the namespace and the name of a dataset at a path or URL, by the rules of OpenLineage: those of an object are the root
/// of its store and its key.
fn dataset(path: &str) -> [String; 2] {
    match path.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
            [format!("{scheme}://{authority}"), key.to_owned()]
        }
        None => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
            ["file".to_owned(), absolute.display().to_string()]
        }
    }
}

/// Returns the metrics of a run in the text format of Prometheus.
fn metrics_text(
    manifest: Option<&ManifestSummary>,
    seconds: f64,
    status: u8,
    snapshot: Option<SystemTime>,
) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, values: &[(String, f64)]| {
        text += &format!("# HELP sweepfit_{name} {help}\n# TYPE sweepfit_{name} gauge\n");
        for (labels, value) in values {
            text += &format!("sweepfit_{name}{labels} {value}\n");
        }
    };
    let plain = |value: f64| [(String::new(), value)];
    let now = UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64());
    metric("exit_status", "Exit status of the last run.", &plain(f64::from(status)));
    metric("last_run_timestamp_seconds", "End of the last run, in seconds since 1970.", &plain(now));
    metric("duration_seconds", "Duration of the last run.", &plain(seconds));
    if let Some(bytes) = peak_memory() {
        metric("peak_memory_bytes", "Peak resident memory of the last run.", &plain(bytes));
    }
    if let Some(since) = snapshot.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
        let help = "When the current snapshot was written, in seconds since 1970.";
        metric("snapshot_timestamp_seconds", help, &plain(since.as_secs_f64()));
    }
    let Some(manifest) = manifest else { return text };
    let by_status: Vec<(String, f64)> = (manifest.fits_by_status.iter())
        .map(|(status, count)| (format!("{{status=\"{status}\"}}"), *count as f64))
        .collect();
    metric("fits", "Fits by status.", &by_status);
    let counts = [
        ("sweeps", "Sweeps of the input."),
        ("reused_fits", "Fits that were copied from an earlier result."),
        ("rows_read", "Rows of the input."),
        ("rows_dropped_by_where", "Rows that the condition dropped."),
        ("rejected_rows", "Rows that some law could not use."),
        ("rejected_sweeps", "Sweeps with too few usable observations."),
    ];
    for (name, help) in counts {
        metric(name, help, &plain(manifest.counts[name].as_f64().unwrap_or(0.0)));
    }
    let bytes: u64 = manifest.inputs.iter().filter_map(|input| input.bytes).sum();
    metric("input_bytes", "Size of the input files.", &plain(bytes as f64));
    text
}

/// Returns the peak resident memory of the process in bytes; `None` where the system does not tell.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024.0 * kibibytes)
}

/// What a manifest says in short, read back.
#[derive(Debug)]
struct ManifestSummary {
    /// The counts of sweeps, fits and rows.
    counts: serde_json::Value,
    /// The number of fits with each status.
    fits_by_status: Vec<(String, u64)>,
    /// The input files.
    inputs: Vec<InputSummary>,
}

/// An input file in a manifest.
#[derive(Debug, Deserialize)]
struct InputSummary {
    path: String,
    bytes: Option<u64>,
    version: Option<String>,
}

impl ManifestSummary {
    /// Reads the manifest of a result; `None` where there is none.
    fn read(directory: &Path) -> Option<ManifestSummary> {
        let text = std::fs::read_to_string(directory.join("manifest.json")).ok()?;
        let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
        let by_status = manifest["fits_by_status"].as_object()?.iter();
        let inputs = manifest["inputs"].as_array()?.iter();
        Some(ManifestSummary {
            counts: manifest["counts"].clone(),
            fits_by_status: by_status.map(|(status, n)| (status.clone(), n.as_u64().unwrap_or(0))).collect(),
            inputs: inputs.filter_map(|input| serde_json::from_value(input.clone()).ok()).collect(),
        })
    }
}
