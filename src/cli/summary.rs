//! Formats tables, and the summary of a run, for standard output.

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets::NOTHING};

use crate::engine::Summary;
use crate::law::{Domain, Law};
use crate::optimize::Status;

/// Returns an empty table without borders; the columns numbered in `right` are aligned to the right.
pub fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(header);
    for &i in right {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Returns the lines of a table without trailing spaces, and an empty line after them.
pub fn lines(table: &Table) -> String {
    let mut text: String = table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    text.push('\n');
    text
}

/// Returns the summary of a run: its laws, fits by status, the coefficients of a single sweep, and row counts. `out` is
/// the output directory; `None` for a dry run.
pub fn text(summary: &Summary, dry_run: bool, out: Option<&Path>) -> String {
    let mut text = String::new();
    let mut laws = table(&["law", "variables", "parameters", "residual", "loss"], &[]);
    for bound in &summary.laws {
        laws.add_row([
            bound.law.name.clone(),
            bound.law.variables.join(", "),
            parameters(&bound.law),
            bound.residual.to_string(),
            bound.loss.to_string(),
        ]);
    }
    text += &lines(&laws);

    let counts = &summary.counts;
    if !dry_run {
        let names: Vec<&str> = std::iter::once("fits").chain(Status::ALL.iter().map(|s| s.name())).collect();
        let mut header = vec!["law"];
        header.extend(names);
        let right: Vec<usize> = (1..header.len()).collect();
        let mut fits = table(&header, &right);
        for (bound, by_status) in summary.laws.iter().zip(&counts.by_law) {
            let mut row = vec![bound.law.name.clone(), by_status.iter().sum::<u64>().to_string()];
            row.extend(by_status.iter().map(u64::to_string));
            fits.add_row(row);
        }
        text += &lines(&fits);
        if (1..=4).contains(&summary.only_sweep.records.len()) {
            let bootstrap = summary.only_sweep.records.iter().any(|r| r.n_replicates > 0);
            text += &coefficients(summary, bootstrap);
        }
    }
    text += &format!(
        "{} sweeps; {} rows read, {} dropped by --where, {} rejected; {} sweeps rejected\n",
        counts.sweeps,
        counts.rows_read,
        counts.rows_dropped_by_where,
        counts.rejected_rows,
        counts.rejected_sweeps
    );
    match out {
        Some(path) => text += &format!("tables in {}\n", path.display()),
        None => text += "dry run: nothing was fitted, nothing was written\n",
    }
    text
}

/// Returns the names of a law's parameters, fixed ones with their value.
fn parameters(law: &Law) -> String {
    let shown: Vec<String> = law
        .parameters
        .iter()
        .map(|p| match p.domain {
            Domain::Fixed(value) => format!("{} = {value}", p.name),
            Domain::Range { .. } | Domain::Held => p.name.clone(),
        })
        .collect();
    shown.join(", ")
}

/// Returns the coefficients of a single sweep.
fn coefficients(summary: &Summary, bootstrap: bool) -> String {
    let error = if bootstrap { "bootstrap SE" } else { "std error" };
    let mut rows = table(&["law", "parameter", "estimate", error, "low", "high"], &[2, 3, 4, 5]);
    let short = |x: f64| {
        if x != 0.0 && (x.abs() < 1e-3 || x.abs() >= 1e7) { format!("{x:.6e}") } else { format!("{x:.6}") }
    };
    let number = |x: Option<f64>| x.map_or(String::new(), short);
    for record in &summary.only_sweep.records {
        let bound = &summary.laws[record.law];
        for (parameter, e) in bound.law.parameters.iter().zip(summary.only_sweep.estimates(record)) {
            let se = if bootstrap { e.bootstrap_std_error } else { e.std_error };
            rows.add_row([
                bound.law.name.clone(),
                parameter.name.clone(),
                if e.estimate.is_nan() { String::new() } else { short(e.estimate) },
                number(se),
                number(e.interval.map(|(low, _)| low)),
                number(e.interval.map(|(_, high)| high)),
            ]);
        }
    }
    lines(&rows)
}
