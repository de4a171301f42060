//! What a run says besides its result: the log on standard error, metrics, and lineage.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Instant, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::progress::{json_progress, terminal_progress};
use super::{Failure, terminal};
use crate::engine::Progress;
use crate::files::Summed;

/// The flags on what a run says.
#[derive(Args, Clone, Debug, Default)]
pub struct ReportingArguments {
    /// No progress on standard error; warnings and errors still go there
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,

    /// The log on standard error: text, or json for one JSON object a line
    #[arg(
        long,
        value_enum,
        value_name = "text|json",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Jobs"
    )]
    pub log_format: LogFormat,

    /// Also write counts, times and sizes to a file in Prometheus's text format
    #[arg(long, value_name = "FILE", help_heading = "Jobs")]
    pub metrics: Option<PathBuf>,

    /// Also write inputs and outputs to a file as an OpenLineage event
    #[arg(long, value_name = "FILE", help_heading = "Jobs")]
    pub lineage: Option<PathBuf>,
}

/// The values of `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines of text, and a bar on a terminal.
    #[default]
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
        if arguments.log_format == LogFormat::Json {
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

    /// Returns the listener for the progress of the run.
    #[must_use]
    pub fn progress(&self) -> Box<dyn Progress> {
        match self.arguments.log_format {
            LogFormat::Json => json_progress(self.arguments.quiet),
            LogFormat::Text => terminal_progress(self.arguments.quiet),
        }
    }

    /// Ends the reporting: writes metrics and lineage of the run, of whose result the directory is given where there is one.
    ///
    /// # Errors
    /// The failure of the run, or that of writing a file.
    pub fn end(
        self,
        outcome: Result<String, Failure>,
        result: Option<&Path>,
        published: Option<&Path>,
    ) -> Result<String, Failure> {
        let status = outcome.as_ref().err().map_or(0, |failure| failure.status);
        let manifest = result.and_then(Summed::read);
        let seconds = self.begun.elapsed().as_secs_f64();
        let Reporting { arguments: ReportingArguments { metrics, lineage, .. }, .. } = &self;
        let texts = [
            (metrics, metrics_text(manifest.as_ref(), seconds, status, published.is_some())),
            (lineage, self.lineage(manifest.as_ref(), published.or(result), status)),
        ];
        for (path, text) in texts {
            let Some(path) = path else { continue };
            if let Err(error) = write(path, &text)
                && status == 0
            {
                return Err(Failure { status: 1, message: format!("{}: {error}", path.display()) });
            }
        }
        let counts = manifest.as_ref().map(|manifest| manifest.counts.clone());
        let level = if status == 0 { "info" } else { "error" };
        terminal::event(level, "done", json!({ "status": status, "seconds": seconds, "counts": counts }));
        outcome
    }

    /// Returns an event of OpenLineage: what the run has read and written.
    fn lineage(&self, manifest: Option<&Summed>, output: Option<&Path>, status: u8) -> String {
        const PRODUCER: &str = concat!("sweepfit/", env!("CARGO_PKG_VERSION"));
        let absolute = |path: &Path| {
            std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
        };
        let input = |(path, bytes): &(String, Option<u64>)| {
            let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
            let modified = modified
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                .map_or(0, |time| time.as_millis());
            let version = format!("{}-{modified}", bytes.unwrap_or(0));
            let facet = json!({
                "_producer": PRODUCER,
                "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json",
                "datasetVersion": version,
            });
            json!({ "namespace": "file", "name": absolute(path.as_ref()), "facets": { "version": facet } })
        };
        let inputs: Vec<Value> = manifest.map(|m| m.inputs.iter().map(input).collect()).unwrap_or_default();
        let outputs: Vec<Value> =
            output.map(|path| json!({ "namespace": "file", "name": absolute(path) })).into_iter().collect();
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

/// Returns the metrics of a run in the text format of Prometheus.
fn metrics_text(manifest: Option<&Summed>, seconds: f64, status: u8, is_published: bool) -> String {
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
    let bytes: u64 = manifest.inputs.iter().filter_map(|(_, bytes)| *bytes).sum();
    metric("input_bytes", "Size of the input files.", &plain(bytes as f64));
    if is_published {
        metric("snapshot_timestamp_seconds", "When the current snapshot was published.", &plain(now));
    }
    text
}

/// Returns the peak resident memory of the process in bytes; `None` where the system does not tell.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024.0 * kibibytes)
}

/// Writes a text to a file, which appears when it is complete.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    // Others read metrics, such as the node exporter.
    #[cfg(unix)]
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
