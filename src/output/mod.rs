//! Results as plain records, and what takes them: Arrow batches, and directories of Parquet files.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`records`] | results as plain data, and [`Sink`], the trait of what takes them |
//! | [`schema`] | the output tables: columns, types, units. A new column goes here and into `batches` |
//! | [`batches`] | records to Arrow batches, without any file |
//! | `memory` | the tables as record batches in memory |
//! | [`directory`] | a directory of Parquet files that is complete or not there |
//!
//! Where the records come from is unknown here: nothing is fitted, no input is read.

pub mod batches;
pub mod directory;
mod memory;
pub mod records;
pub mod schema;

pub use batches::Batches;
pub use directory::{Directory, DirectorySink};
pub use memory::Tables;
pub use records::{Chunk, Record, RejectedRow, ResidualRow, RunContext, Sink};
