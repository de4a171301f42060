//! A condition on the rows of a batch in memory.

use arrow::array::RecordBatch;

use super::convert::{rows_where, to_column};
use super::memory::Memory;
use super::scope::Scope;
use crate::error::{Error, Setting};
use crate::formula::{Table, evaluate, names, parse_condition};

/// Returns for each row of a batch whether a condition holds there.
///
/// # Errors
/// If the condition does not parse, or does not fit the columns.
pub fn rows_that_meet(batch: &RecordBatch, condition: &str) -> Result<Vec<bool>, Error> {
    let place = Setting::Where.whole();
    let expr = parse_condition(condition).map_err(|error| Error::Formula { place: place.clone(), error })?;
    let memory = Memory::new(batch.schema(), vec![batch.clone()])?;
    Scope::new(&memory).check_condition(&expr, &place).map_err(|error| error.within(condition))?;
    let defect = |reason: String| Error::Internal { context: "the condition".to_string(), reason };
    let mut table = Table::new(batch.num_rows());
    for name in names(&expr) {
        let array =
            batch.column_by_name(name).ok_or_else(|| defect(format!("there is no column `{name}`")))?;
        table.push(name, to_column(array).map_err(|error| defect(error.to_string()))?);
    }
    let truth = evaluate(&expr, &table).map_err(|error| defect(error.message))?;
    let mut holds = vec![false; batch.num_rows()];
    for row in rows_where(&truth).ok_or_else(|| defect("it is neither true nor false".to_string()))? {
        if let Some(holds) = holds.get_mut(row as usize) {
            *holds = true;
        }
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn conditions_select_rows() {
        let batch = RecordBatch::try_from_iter([
            ("run", Arc::new(Int64Array::from(vec![Some(1), Some(2), None])) as _),
            ("family", Arc::new(StringArray::from(vec!["a", "b", "b"])) as _),
        ])
        .unwrap();
        assert_eq!(rows_that_meet(&batch, "family = 'b'").unwrap(), [false, true, true]);
        assert_eq!(rows_that_meet(&batch, "run != 1 and family like '%'").unwrap(), [false, true, false]);
        assert!(rows_that_meet(&batch, "runs = 1").unwrap_err().to_string().contains("run"));
    }
}
