//! Checks an input before it is fitted: keys, ranges, duplicates, rejections, and what a run would take.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::error::Error;
use crate::formula::Type;
use crate::input::{self, Scope, Segment, Source};
use crate::optimize::Workspaces;
use crate::sweep::{is_null, is_text};

use super::control::Control;
use super::counts::Counts;
use super::fit_all::{Run, fit_sweeps, reject_only};
use super::job::Job;
use super::overview::Overview;
use super::plan::Plan;
use super::{Summary, note_memory};

/// What is known of an input and of the run that would fit it.
#[derive(Debug)]
pub struct Check {
    /// The numbers of sweeps and rejections, and the reasons of these. Nothing is fitted.
    pub summary: Summary,
    /// The columns that the job reads; those of numbers where it has no law.
    pub columns: Vec<ColumnCheck>,
    /// The numbers of rows of the smallest, the median and the largest sweep; none where there is no sweep.
    pub sweep_sizes: Option<[usize; 3]>,
    /// The number of rows that equal another row of their sweep in all columns that are read.
    pub duplicates: u64,
    /// The time that the fits would take, in seconds, as fits of some sweeps took; none without a law.
    pub seconds: Option<f64>,
    /// The memory that the run would take, in bytes.
    pub memory_bytes: u64,
}

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnCheck {
    /// The name.
    pub name: String,
    /// The smallest and the largest finite value; none where there is no finite value.
    pub range: Option<(f64, f64)>,
    /// The number of nulls.
    pub nulls: u64,
    /// The number of NaN, infinities, and texts that are not numbers.
    pub not_finite: u64,
}

/// The number of sweeps that are fitted to estimate the time.
const SAMPLE: usize = 8;

/// The largest sweep that is fitted to estimate the time.
const SAMPLE_ROWS: usize = 20_000;

/// Checks the input of a job. Where the job has no law, all columns of numbers are read.
///
/// # Errors
/// If the source cannot be read, or the run is interrupted.
pub fn check(mut plan: Plan, job: &Job, source: &dyn Source, control: &Control) -> Result<Check, Error> {
    if job.laws.is_empty() {
        let mut scope = Scope::new(source);
        for (name, expr) in &plan.request.lets {
            scope.define(name, expr)?;
        }
        let is_key = |name: &String| plan.request.by.iter().any(|key| key.column == *name);
        let is_number = |name: &&String| scope.type_of(name) == Some(Type::Number) && !is_key(name);
        let names = scope.names();
        plan.request.columns = names.iter().filter(is_number).cloned().collect();
        plan.request.order = plan.request.columns.clone();
    } else {
        plan.announce(control.progress);
    }
    let names = plan.request.columns.clone();
    let (contents, segments) =
        input::open(source, &plan.request, control.read_limits(), control.interrupted)?;
    note_memory(&contents, &segments, control.progress);
    let memory_bytes = segments.memory_bytes();
    let mut counts = Counts::new(&plan.laws, &contents);
    let run = Run::new(&plan, contents, job);
    let mut overview = Overview::new(&run.context());
    let mut columns: Vec<ColumnCheck> = names.into_iter().map(ColumnCheck::new).collect();
    let (mut sizes, mut duplicates, mut seconds) = (Vec::new(), 0, None);
    for segment in segments {
        let segment = segment?;
        if seconds.is_none() && !run.laws.is_empty() {
            seconds = seconds_of(&run, &segment, control);
        }
        for i in segment.sweeps() {
            let sweep = segment.sweep(&run.contents, i);
            sizes.push(sweep.len());
            let all: Vec<&[f64]> = sweep.columns.iter().collect();
            columns.iter_mut().zip(&all).for_each(|(check, values)| check.add(values));
            // Equal rows follow one another in canonical order.
            let same = |row: &usize| {
                let is_same = |values: &[f64]| values[row - 1].to_bits() == values[*row].to_bits();
                // Of texts that are no numbers the rows do not say which they are.
                all.iter().all(|values| is_same(values) && !is_text(values[*row]))
            };
            duplicates += (1..sweep.len()).filter(|row| !all.is_empty() && same(row)).count() as u64;
            let mut chunk = reject_only(&run, &sweep);
            counts.add(&chunk);
            overview.add(&mut chunk);
        }
    }
    if control.interrupted.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    sizes.sort_unstable();
    let sweep_sizes = match sizes.as_slice() {
        [] => None,
        [smallest, ..] => Some([*smallest, sizes[sizes.len() / 2], sizes[sizes.len() - 1]]),
    };
    let rows: usize = sizes.iter().sum();
    let threads = rayon::current_num_threads() as f64;
    Ok(Check {
        summary: Summary { laws: plan.laws, counts, overview: overview.finish() },
        columns,
        sweep_sizes,
        duplicates,
        seconds: seconds.map(|per_row| per_row * rows as f64 / threads),
        memory_bytes,
    })
}

/// Returns the time in seconds that fits of some sweeps take for each of their rows; none if all sweeps are too long.
fn seconds_of(run: &Run, segment: &Segment, control: &Control) -> Option<f64> {
    let mut sample: Vec<usize> = segment.sweeps().filter(|&i| segment.sweep_len(i) <= SAMPLE_ROWS).collect();
    let step = sample.len().div_ceil(SAMPLE).max(1);
    sample = sample.into_iter().step_by(step).collect();
    let rows: usize = sample.iter().map(|&i| segment.sweep_len(i)).sum();
    let begun = Instant::now();
    fit_sweeps(run, segment, &sample, (control, &Workspaces::default()));
    (rows > 0).then(|| begun.elapsed().as_secs_f64() / rows as f64)
}

impl ColumnCheck {
    fn new(name: String) -> ColumnCheck {
        ColumnCheck { name, range: None, nulls: 0, not_finite: 0 }
    }

    /// Adds the values of a sweep.
    fn add(&mut self, values: &[f64]) {
        for &value in values {
            if is_null(value) {
                self.nulls += 1;
            } else if value.is_finite() {
                let (low, high) = self.range.unwrap_or((value, value));
                self.range = Some((low.min(value), high.max(value)));
            } else {
                self.not_finite += 1;
            }
        }
    }
}
