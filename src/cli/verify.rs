//! `sweepfit verify`: runs the checks of [`crate::verify`] and prints their tables.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use clap::Args;
use parquet::arrow::ArrowWriter;

use crate::verify::{CaseOutcome, Quantity, Section, count_with_digits, run as run_checks};

use super::{Failure, summary};

/// The arguments of `sweepfit verify`.
#[derive(Args, Debug)]
pub struct VerifyArguments {
    /// Also write the table to this Parquet file
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command and returns its output.
pub fn run(arguments: &VerifyArguments) -> Result<String, Failure> {
    let failure = |message: String| Failure { status: 1, message };
    let out = match &arguments.out {
        Some(path) => {
            Some(Staged::new(path).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?)
        }
        None => None,
    };
    let sections = run_checks()?;
    if let Some(out) = out {
        out.write(&sections).map_err(failure)?;
    }
    report(&sections)
}

/// Returns the tables of all sections, or a failure that lists the missed requirements before the tables.
fn report(sections: &[Section]) -> Result<String, Failure> {
    let text: String = sections.iter().map(section_text).collect();
    let mut failures: Vec<String> = Vec::new();
    for section in sections {
        failures.extend(section.missed.iter().map(|missed| format!("{}: {missed}", section.about)));
        for outcome in &section.outcomes {
            if let Some(why) = &outcome.failure {
                failures.push(format!("{} {} {}: {why}", section.check, outcome.problem, outcome.case));
            }
        }
    }
    if failures.is_empty() {
        return Ok(text);
    }
    Err(Failure { status: 1, message: format!("some checks failed:\n{}\n\n{text}", failures.join("\n")) })
}

/// Returns a section's title, its table, and a line of totals.
fn section_text(section: &Section) -> String {
    let quantities: Vec<Quantity> = Quantity::ALL
        .into_iter()
        .filter(|&q| section.outcomes.iter().any(|o| o.digits_of(q).is_some()))
        .collect();
    let fits = section.outcomes.iter().any(|o| o.status.is_some());
    let mut header = vec!["problem", "case"];
    header.extend(quantities.iter().map(|q| q.name()));
    let right: Vec<usize> = (2..header.len()).chain([header.len() + 1, header.len() + 2]).collect();
    header.extend(if fits { &["status", "evaluations", "time ms"][..] } else { &["", "", "time ms"] });
    let mut table = summary::table(&header, &[0, 1], &right);
    for o in &section.outcomes {
        let mut row = vec![o.problem.clone(), o.case.to_string()];
        row.extend(quantities.iter().map(|&q| o.digits_of(q).map_or(String::new(), |d| format!("{d:.1}"))));
        row.push(o.status.map_or(String::new(), |s| s.name().to_string()));
        row.push(o.evaluations.map_or(String::new(), |n| n.to_string()));
        row.push(format!("{:.2}", 1e3 * o.time.as_secs_f64()));
        table.add_row(row);
    }
    let n = section.outcomes.len();
    let counts = if section.outcomes.iter().all(|o| o.digits_of(Quantity::Parameters).is_some()) {
        let [six, eight, ten] = [6.0, 8.0, 10.0].map(|d| count_with_digits(&section.outcomes, d));
        format!("{six} of {n} to 6 digits, {eight} to 8, {ten} to 10")
    } else {
        let passed = section.outcomes.iter().filter(|o| o.failure.is_none()).count();
        format!("{passed} of {n} passed")
    };
    format!("{}\n{}{counts}\n\n", section.about, summary::lines(&table))
}

/// An output file that is written to a temporary folder beside its path and renamed when it is complete.
struct Staged {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Staged {
    /// Creates the temporary folder, so that a path that cannot be written is refused before the checks run.
    fn new(path: &Path) -> std::io::Result<Staged> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = tempfile::Builder::new().prefix(".verify").tempdir_in(folder)?;
        Ok(Staged { folder, path: path.to_path_buf() })
    }

    /// Writes the table of the sections and renames the file to its path.
    fn write(self, sections: &[Section]) -> Result<(), String> {
        let staged = self.folder.path().join("outcomes.parquet");
        write_table(&staged, sections)
            .and_then(|()| Ok(fs::rename(&staged, &self.path)?))
            .map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

/// Writes a Parquet file with a row per outcome.
fn write_table(path: &Path, sections: &[Section]) -> Result<(), Box<dyn std::error::Error>> {
    let rows: Vec<(&Section, &CaseOutcome)> =
        sections.iter().flat_map(|s| s.outcomes.iter().map(move |o| (s, o))).collect();
    let text = |f: &dyn Fn(&Section, &CaseOutcome) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(|(s, o)| f(s, o)).collect::<StringArray>())
    };
    let float = |f: &dyn Fn(&CaseOutcome) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|(_, o)| f(o)).collect::<Float64Array>())
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("check", text(&|s, _| Some(s.check.to_string()))),
        ("problem", text(&|_, o| Some(o.problem.clone()))),
        ("case", text(&|_, o| Some(o.case.to_string()))),
    ];
    for quantity in Quantity::ALL {
        columns.push((quantity.column(), float(&|o| o.digits_of(quantity))));
    }
    let evaluations: ArrayRef = Arc::new(rows.iter().map(|(_, o)| o.evaluations).collect::<UInt32Array>());
    columns.extend([
        ("status", text(&|_, o| o.status.map(|s| s.name().to_string()))),
        ("evaluations", evaluations),
        ("seconds", float(&|o| Some(o.time.as_secs_f64()))),
        ("failure", text(&|_, o| o.failure.clone())),
    ]);
    // Nullability is set by name, so that the schema does not depend on the values of a run.
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, !matches!(name, "check" | "problem" | "case"))),
    )?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn missed_requirements_are_an_error() {
        let outcome = |failure: Option<&str>| CaseOutcome {
            problem: "Thurber".to_string(),
            case: "1",
            digits: vec![(Quantity::Parameters, 4.2)],
            status: None,
            evaluations: None,
            time: Duration::ZERO,
            failure: failure.map(str::to_string),
        };
        let section = |failure, missed: &[&str]| Section {
            check: "nist",
            about: "problems",
            outcomes: vec![outcome(failure)],
            missed: missed.iter().map(|m| (*m).to_string()).collect(),
        };
        assert!(report(&[section(None, &[])]).is_ok_and(|text| text.contains("Thurber")));
        let failed = report(&[section(None, &[]), section(Some("4.2 digits"), &[])]).unwrap_err();
        assert_eq!(failed.status, 1);
        assert!(failed.message.contains("nist Thurber 1: 4.2 digits"), "{}", failed.message);
        assert!(report(&[section(None, &["6 digits are reached by 1 fit, but required of 2"])]).is_err());
    }
}
