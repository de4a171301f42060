//! Results become Arrow batches and Parquet files.
//!
//! | file | its one idea |
//! | --- | --- |
//! | [`schema`] | the output columns: names, types, units |
//! | [`batches`] | records of the engine to Arrow batches, without any file |
//! | [`directory`] | batches to a directory of Parquet files that is complete or not there |

pub mod batches;
pub mod directory;
pub mod schema;

pub use batches::Batches;
pub use directory::{Directory, OutputError};
