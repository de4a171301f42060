//! `sweepfit verify`: the engine against certified answers.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use clap::Args;
use parquet::arrow::ArrowWriter;

use crate::verify::{Outcome, Start, nist};

use super::{Failure, summary};

#[derive(Args, Debug)]
pub struct VerifyArguments {
    /// Also write the table to this Parquet file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(arguments: &VerifyArguments) -> Result<String, Failure> {
    faer::set_global_parallelism(faer::Par::Seq);
    let failure = |message: String| Failure { status: 1, message };
    let outcomes =
        nist(&[Start::First, Start::Second, Start::Own]).map_err(|error| failure(error.to_string()))?;
    if let Some(path) = &arguments.out {
        write(path, &outcomes).map_err(|error| failure(format!("{}: {error}", path.display())))?;
    }
    let mut table = summary::table(
        &["problem", "start", "digits", "of std. dev.", "of RSS", "status", "iterations", "time ms"],
        &[2, 3, 4, 6, 7],
    );
    for o in &outcomes {
        table.add_row([
            o.problem.clone(),
            o.start.name().to_string(),
            format!("{:.1}", o.digits),
            format!("{:.1}", o.digits_deviation),
            format!("{:.1}", o.digits_sum),
            o.status.name().to_string(),
            o.iterations.to_string(),
            format!("{:.2}", 1e3 * o.time.as_secs_f64()),
        ]);
    }
    let mut text = summary::lines(&table);
    for (title, own) in [("from NIST's starts", false), ("without a start", true)] {
        let of: Vec<&Outcome> = outcomes.iter().filter(|o| (o.start == Start::Own) == own).collect();
        let reach = |d: f64| of.iter().filter(|o| o.digits >= d).count();
        text += &format!(
            "{title}: {} of {} to 6 digits, {} to 8, {} to 10\n",
            reach(6.0),
            of.len(),
            reach(8.0),
            reach(10.0)
        );
    }
    let below: Vec<String> = outcomes
        .iter()
        .filter(|o| !o.holds())
        .map(|o| format!("{} from start {}", o.problem, o.start.name()))
        .collect();
    if below.is_empty() {
        Ok(text)
    } else {
        Err(failure(format!("below their floors: {}\n{text}", below.join(", "))))
    }
}

fn write(path: &PathBuf, outcomes: &[Outcome]) -> Result<(), Box<dyn std::error::Error>> {
    let float = |f: &dyn Fn(&Outcome) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(outcomes.iter().map(f)))
    };
    let text = |f: &dyn Fn(&Outcome) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(outcomes.iter().map(f)))
    };
    let batch = RecordBatch::try_from_iter([
        ("problem", text(&|o| o.problem.clone())),
        ("start", text(&|o| o.start.name().to_string())),
        ("digits", float(&|o| o.digits)),
        ("digits_std_dev", float(&|o| o.digits_deviation)),
        ("digits_rss", float(&|o| o.digits_sum)),
        ("status", text(&|o| o.status.name().to_string())),
        (
            "iterations",
            Arc::new(Int64Array::from_iter_values(outcomes.iter().map(|o| i64::from(o.iterations))))
                as ArrayRef,
        ),
        ("seconds", float(&|o| o.time.as_secs_f64())),
        ("floor", float(&|o| o.floor)),
    ])?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
