//! Formats tables, and the summary of a run, for standard output.

use std::path::Path;

use arrow::array::{Array, ArrayRef};
use arrow::util::display::array_value_to_string;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING};

use super::numbers::{last_place, rounded};
use super::terminal;
use crate::engine::{BoundLaw, Overview, Summary};
use crate::formula::counted;
use crate::infer::{Estimate, IntervalMethod, quantile};
use crate::law::{Domain, Law};
use crate::optimize::Status;
use crate::problem::RejectionSubject;

/// Returns an empty table without borders, as wide as the terminal at most. The columns numbered in `whole` are never
/// broken into lines, and those in `right` are aligned to the right besides; the others are as wide as their header at least.
pub fn table(header: &[&str], whole: &[usize], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(header);
    if let Some(width) = terminal::width() {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for (i, name) in header.iter().enumerate() {
        let is_whole = whole.contains(&i) || right.contains(&i);
        if let Some(column) = table.column_mut(i) {
            let least = u16::try_from(name.chars().count())
                .unwrap_or(u16::MAX)
                .saturating_add(column.padding_width());
            let at_least = ColumnConstraint::LowerBoundary(Width::Fixed(least));
            column.set_constraint(if is_whole { ColumnConstraint::ContentWidth } else { at_least });
        }
    }
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

/// Returns a name or a text as a cell of a table: in one line, with control characters escaped.
pub fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split([' ', '\n', '\t']).filter(|word| !word.is_empty()).collect();
    terminal::one_line(&words.join(" ")).into_owned()
}

/// The number of characters up to which a formula is its own label in tables.
const LONGEST_LABEL: usize = 24;

/// The number of reasons of rejections that are listed.
const MOST_REASONS: usize = 5;

/// Returns the summary of a run: its laws, fits by status, coefficients, the messages of fits without certificate, and what
/// was rejected. `out` is the output directory; `None` for a dry run.
pub fn text(summary: &Summary, dry_run: bool, out: Option<&Path>) -> String {
    let labels = labels(summary);
    let mut text = laws(summary, &labels);
    let counts = &summary.counts;
    if !dry_run {
        text += &statuses(summary, &labels);
        text += &if counts.fits == summary.overview.first.records.len() as u64 {
            coefficients(summary, &labels)
        } else if counts.reused_fits == 0 {
            quartiles(summary, &labels)
        } else {
            let (reused, fits) = (counts.reused_fits, counted(counts.fits, "fit"));
            format!("{reused} of {fits} are those of an earlier run, of which nothing has changed\n")
        };
        text += &scores(summary, &labels);
        text += &messages(summary, &labels);
    }
    text += &reasons(summary, &labels);
    text += &wrapped(&format!(
        "{}; {} read, {} dropped by --where, {} rejected; {} rejected\n",
        counted(counts.sweeps, "sweep"),
        counted(counts.rows_read, "row"),
        counts.rows_dropped_by_where,
        counts.rejected_rows,
        counted(counts.rejected_sweeps, "sweep")
    ));
    match out {
        Some(path) => text += &format!("tables in {}\n", terminal::one_line(&path.display().to_string())),
        None if dry_run => text += "dry run: nothing was fitted, nothing was written\n",
        None => {}
    }
    text
}

/// Returns the short name of a law in tables: the law's name, or its number where the name is a long formula.
fn label(i: usize, bound: &BoundLaw) -> String {
    let name = cell(&bound.law.name);
    if name.contains('~') && name.chars().count() > LONGEST_LABEL { format!("law {}", i + 1) } else { name }
}

/// Returns the formulas that have a number, and what each law reads and estimates.
fn laws(summary: &Summary, labels: &[String]) -> String {
    let mut text = String::new();
    let mut formulas = table(&["law", "formula"], &[0], &[]);
    let mut laws = table(&["law", "variables", "parameters", "residual", "loss"], &[0, 3, 4], &[]);
    for (bound, label) in summary.laws.iter().zip(labels) {
        let name = cell(&bound.law.name);
        if *label != name {
            formulas.add_row([label, &name]);
        }
        laws.add_row([
            label.clone(),
            cell(&bound.law.variables.join(", ")),
            cell(&parameters(&bound.law)),
            bound.residual.to_string(),
            bound.loss.to_string(),
        ]);
    }
    if formulas.row_count() > 0 {
        text += &lines(&formulas);
    }
    text + &lines(&laws)
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

/// Returns the number of fits of each law by status: `converged`, and the others that occur.
fn statuses(summary: &Summary, labels: &[String]) -> String {
    let counts = &summary.counts;
    let occurs = |i: &usize| Status::ALL[*i] == Status::Converged || counts.by_status[*i] > 0;
    let shown: Vec<usize> = (0..Status::ALL.len()).filter(occurs).collect();
    let mut header = vec!["law", "fits"];
    header.extend(shown.iter().map(|&i| Status::ALL[i].name()));
    let right: Vec<usize> = (1..header.len()).collect();
    let mut fits = table(&header, &[0], &right);
    for (label, by_status) in labels.iter().zip(&counts.by_law) {
        let mut row = vec![label.clone(), by_status.iter().sum::<u64>().to_string()];
        row.extend(shown.iter().map(|&i| by_status[i].to_string()));
        fits.add_row(row);
    }
    lines(&fits)
}

/// Returns the coefficients of all fits, each with the digits that its standard error leaves: in one table if that is no
/// wider than the terminal, else in a table for each fit.
fn coefficients(summary: &Summary, labels: &[String]) -> String {
    let Overview { first, key_names, .. } = &summary.overview;
    if first.records.is_empty() {
        return String::new();
    }
    let bootstrap = first.records.iter().any(|record| record.n_replicates > 0);
    let error = if bootstrap { "bootstrap SE" } else { "std error" };
    // 100·0.29 is 28.999999999999996.
    let percent = (1e11 * summary.overview.confidence).round() / 1e9;
    let [low, high] = ["low", "high"].map(|end| format!("{percent} % {end}"));
    let numbers = ["parameter", "estimate", error, &low, &high, "interval"];
    let names: Vec<String> = key_names.iter().map(|name| cell(name)).collect();
    let header: Vec<&str> = names.iter().map(String::as_str).chain(["law"]).chain(numbers).collect();
    let left: Vec<usize> = (0..names.len() + 2).chain([header.len() - 1]).collect();
    let right: Vec<usize> = (names.len() + 2..header.len() - 1).collect();
    let mut all = table(&header, &left, &right);
    let mut apart = String::new();
    for record in &first.records {
        let law = &summary.laws[record.law].law;
        let mut own = table(&numbers, &[0, 5], &[1, 2, 3, 4]);
        for (parameter, estimate) in law.parameters.iter().zip(first.estimates(record)) {
            let mut row = vec![cell(&parameter.name)];
            row.extend(digits(estimate, parameter.domain, bootstrap));
            row.push(estimate.method.map_or("", IntervalMethod::name).to_string());
            own.add_row(row.clone());
            let place = key(&summary.overview, record.sweep).into_iter().chain([labels[record.law].clone()]);
            all.add_row(place.chain(row));
        }
        apart += &format!("{}\n{}", place(summary, record.sweep, &labels[record.law]), lines(&own));
    }
    let all = lines(&all);
    let is_narrow = |width: u16| all.lines().all(|line| line.chars().count() <= usize::from(width));
    if terminal::width().is_none_or(is_narrow) { all } else { apart }
}

/// Returns the errors of the first fits on the observations that were held out.
fn scores(summary: &Summary, labels: &[String]) -> String {
    let Overview { first, key_names, .. } = &summary.overview;
    let names: Vec<String> = key_names.iter().map(|name| cell(name)).collect();
    let numbers = ["law", "fitted", "held out", "RMSLE", "std error", "inside new-run interval"];
    let header: Vec<&str> = names.iter().map(String::as_str).chain(numbers).collect();
    let left: Vec<usize> = (0..=names.len()).collect();
    let right: Vec<usize> = (names.len() + 1..header.len()).collect();
    let mut rows = table(&header, &left, &right);
    for record in &first.records {
        let Some(scores) = &record.scores else { continue };
        let mut row = key(&summary.overview, record.sweep);
        row.extend([labels[record.law].clone(), record.n_points.to_string(), scores.n_test.to_string()]);
        row.push(rounded(scores.rmsle, last_place(scores.rmsle, Some(scores.rmsle_std_error))));
        row.push(rounded(
            scores.rmsle_std_error,
            last_place(scores.rmsle_std_error, Some(scores.rmsle_std_error)),
        ));
        row.push(if scores.coverage.is_nan() {
            String::new()
        } else {
            format!("{:.0} %", 100.0 * scores.coverage)
        });
        rows.add_row(row);
    }
    if rows.row_count() == 0 { String::new() } else { lines(&rows) }
}

/// Returns the names and values of a sweep's keys, and the label of a law.
fn place(summary: &Summary, sweep: usize, label: &str) -> String {
    let values = key(&summary.overview, sweep);
    let names = summary.overview.key_names.iter();
    let mut named: Vec<String> =
        names.zip(values).map(|(name, value)| format!("{} = {value}", cell(name))).collect();
    named.push(label.to_owned());
    named.join(", ")
}

/// Returns the estimate of a parameter, its standard error, and the ends of its interval.
fn digits(estimate: &Estimate, domain: Domain, bootstrap: bool) -> [String; 4] {
    if let Domain::Fixed(value) = domain {
        return [value.to_string(), "fixed".to_owned(), String::new(), String::new()];
    }
    let se = if bootstrap { estimate.bootstrap_std_error } else { estimate.std_error };
    let place = last_place(estimate.estimate, se);
    let shown = |x: Option<f64>| x.map_or(String::new(), |x| rounded(x, place));
    let (low, high) = estimate.interval.unzip();
    [rounded(estimate.estimate, place), shown(se), shown(low), shown(high)]
}

/// Returns the values of a sweep's keys.
fn key(overview: &Overview, sweep: usize) -> Vec<String> {
    let value = |key: &ArrayRef| match key.is_null(sweep) {
        true => "null".to_owned(),
        false => cell(&array_value_to_string(key, sweep).unwrap_or_default()),
    };
    overview.keys.iter().map(value).collect()
}

/// Returns the quartiles of each law's parameters over the fits with a certificate.
fn quartiles(summary: &Summary, labels: &[String]) -> String {
    let mut rows = table(&["law", "parameter", "fits", "25 %", "median", "75 %"], &[0, 1], &[2, 3, 4, 5]);
    for ((bound, label), of_law) in summary.laws.iter().zip(labels).zip(&summary.overview.estimates) {
        for (parameter, values) in bound.law.parameters.iter().zip(of_law) {
            if values.is_empty() || matches!(parameter.domain, Domain::Fixed(_)) {
                continue;
            }
            let mut values = values.clone();
            let [low, median, high] = [0.25, 0.5, 0.75].map(|p| quantile(&mut values, p));
            let place = last_place(median, Some(0.5 * (high - low)));
            let mut row = vec![label.clone(), cell(&parameter.name), values.len().to_string()];
            row.extend([low, median, high].map(|x| rounded(x, place)));
            rows.add_row(row);
        }
    }
    if rows.row_count() == 0 {
        return String::new();
    }
    format!("quartiles over the fits that are `converged` or `at_bound`\n{}", lines(&rows))
}

/// Returns the messages of the first fits that are not `converged`, and the number of the others.
fn messages(summary: &Summary, labels: &[String]) -> String {
    let uncertified = &summary.overview.uncertified;
    if uncertified.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    for fit in uncertified {
        let message = terminal::one_line(&fit.message);
        let place = place(summary, fit.sweep, &labels[fit.law]);
        text += &format!("{place}: {}: {message}\n", fit.status.name());
    }
    let counts = &summary.counts;
    let all =
        counts.fits - counts.by_status[Status::ALL.iter().position(|s| *s == Status::Converged).unwrap_or(0)];
    let others = all.saturating_sub(uncertified.len() as u64);
    if others > 0 {
        text += &format!("and {}; fits.parquet has the message of each\n", counted(others, "more fit"));
    }
    text.push('\n');
    wrapped(&text)
}

/// Returns the most frequent reasons of rejections of a run.
pub fn rejections(summary: &Summary) -> String {
    reasons(summary, &labels(summary))
}

/// Returns the short names of the laws in tables.
fn labels(summary: &Summary) -> Vec<String> {
    summary.laws.iter().enumerate().map(|(i, bound)| label(i, bound)).collect()
}

/// Returns the most frequent reasons of rejections with their numbers.
fn reasons(summary: &Summary, labels: &[String]) -> String {
    let overview = &summary.overview;
    if overview.reasons.is_empty() {
        return String::new();
    }
    let mut rows = table(&["rejected", "reason"], &[], &[0]);
    for group in overview.reasons.iter().take(MOST_REASONS) {
        let mut group = group.clone();
        if let RejectionSubject::Law(law) | RejectionSubject::Operand { law, .. } = &mut group.first.subject
            && let Some(i) = summary.laws.iter().position(|bound| bound.law.name == *law)
        {
            law.clone_from(&labels[i]);
        }
        rows.add_row([group.count.to_string(), cell(&group.sentence())]);
    }
    let others = overview.reasons.iter().skip(MOST_REASONS).map(|group| group.count).sum::<u64>();
    if others > 0 {
        rows.add_row([others.to_string(), "other reasons; rejected.parquet has them".to_owned()]);
    }
    lines(&rows)
}

/// The number of characters in a line of running text where the width of the terminal is not known; that of the help.
pub const TEXT_WIDTH: u16 = 100;

/// Returns the text with lines broken between words, where they are longer than the terminal's, or than [`TEXT_WIDTH`]; what
/// continues a line is indented by two spaces more than the line.
pub fn wrapped(text: &str) -> String {
    wrapped_at(text, usize::from(terminal::width().unwrap_or(TEXT_WIDTH)))
}

/// Returns the text with lines of at most `width` characters, where words are no longer.
pub fn wrapped_at(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words = line.trim_start();
        let indent = line.len() - words.len();
        out.push_str(&line[..indent]);
        let mut length = indent;
        for (i, word) in words.split(' ').enumerate() {
            let size = word.chars().count();
            if i > 0 && length + 1 + size > width {
                out.push_str(&format!("\n{:indent$}  ", ""));
                length = indent + 2;
            } else if i > 0 {
                out.push(' ');
                length += 1;
            }
            out.push_str(word);
            length += size;
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        let text = "  one two three four\nfive\n\nunbreakable six\n";
        assert_eq!(wrapped_at(text, 10), "  one two\n    three\n    four\nfive\n\nunbreakable\n  six\n");
        assert_eq!(wrapped_at(text, 80), text);
    }

    #[test]
    fn a_cell_is_one_line() {
        assert_eq!(cell("y ~ a\n     + b*x"), "y ~ a + b*x");
        assert_eq!(cell("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
    }
}
