//! Converts the results of a run to Arrow tables, and writes them to memory or to a directory of Parquet files.
//!
//! | file | contents |
//! | --- | --- |
//! | [`records`] | results as plain data, and [`Sink`], the trait that receives them |
//! | [`schema`] | the output tables: columns, types, units |
//! | [`batches`] | records → Arrow batches |
//! | `earlier` | results of earlier runs, from which fits are copied |
//! | `parts` | the results of a run as far as it has come, from which another run goes on |
//! | `kept` | reads a directory of results back |
//! | `laws` | the laws of a run as the manifest states them |
//! | `memory` | a sink that collects the tables as record batches |
//! | [`directory`] | a directory of Parquet files that is written completely or not at all |
//! | `directory_sink` | a sink that writes to such a directory |
//! | `snapshots`, `snapshot_names` | results that follow one another, of which a link names the current one |
//! | `partitions` | tables in hive partitions, and their rows read back |
//! | `remote` | results in object stores |
//! | `lock` | one run at a time writes to a directory |
//!
//! The folder takes results from `optimize` and `infer` and knows nothing of how they are computed. It knows nothing of
//! jobs and reads no input but results.

pub mod batches;
pub mod directory;
mod directory_sink;
mod earlier;
mod kept;
mod laws;
mod lock;
mod memory;
mod partitions;
mod parts;
pub mod records;
mod remote;
pub mod schema;
mod snapshot_names;
mod snapshots;

pub use batches::Batches;
pub use directory::{Directory, holds_result};
pub use directory_sink::{DirectorySink, OutputOptions};
pub use kept::{GoodRefits, KeptFit, KeptResult, StatedJob};
pub use laws::StatedLaw;
pub use memory::Tables;
pub use records::{
    Chunk, ContentHash, KnownFits, Record, RejectedRow, ResidualRow, ReusedFit, RunContext, Scores, Sink,
};
pub use remote::{RemoteResult, is_result, local_directory, write_object};
pub use snapshot_names::CURRENT;
pub use snapshots::{NamedSnapshot, Snapshots};
