//! Results become Arrow batches and Parquet files.
//!
//! | file | its one idea |
//! | --- | --- |
//! | [`schema`] | the output columns: names, types, units |
//! | [`records`] | results as plain data, and the trait of what takes them |
//! | [`batches`] | records to Arrow batches, without any file |
//! | [`directory`] | batches to a directory of Parquet files that is complete or not there |

pub mod batches;
pub mod directory;
pub mod records;
pub mod schema;

pub use batches::{Batches, TableContext};
pub use directory::{Directory, OutputError};
pub use records::{Chunk, Record, RejectedRow, ResidualRow, Sink};
