//! Collects the output tables as record batches in memory.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::batches::Batches;
use super::records::{Chunk, RunContext, Sink};
use super::schema::TableSpec;
use crate::error::Error;

/// A sink that collects the tables of a run as Arrow record batches.
#[derive(Debug, Default)]
pub struct Tables {
    batches: Option<Batches>,
    tables: Vec<TableRows>,
}

#[derive(Debug)]
struct TableRows {
    spec: TableSpec,
    schema: SchemaRef,
    rows: Vec<RecordBatch>,
}

impl Tables {
    /// Returns the schema of a table, given its name, such as `fits`: the key columns, then the table's own columns.
    /// Returns `None` if the job did not ask for the table.
    #[must_use]
    pub fn schema(&self, table: &str) -> Option<SchemaRef> {
        self.table(table).map(|found| SchemaRef::clone(&found.schema))
    }

    /// Returns the rows of a table, given its name; `None` if the job did not ask for the table.
    #[must_use]
    pub fn rows(&self, table: &str) -> Option<&[RecordBatch]> {
        self.table(table).map(|found| &found.rows[..])
    }

    fn table(&self, name: &str) -> Option<&TableRows> {
        self.tables.iter().find(|table| table.spec.name == name)
    }
}

impl Sink for Tables {
    fn begin(&mut self, context: &RunContext) -> Result<(), Error> {
        let batches = Batches::new(context.clone());
        let table = |spec: TableSpec| TableRows { schema: batches.schema(&spec), spec, rows: Vec::new() };
        self.tables = batches.tables().into_iter().map(table).collect();
        self.batches = Some(batches);
        Ok(())
    }

    fn take(&mut self, chunk: Chunk) -> Result<(), Error> {
        let Some(batches) = &self.batches else { return Ok(()) };
        for table in &mut self.tables {
            table.rows.push(batches.batch_of(&table.spec, &chunk)?);
        }
        Ok(())
    }
}
