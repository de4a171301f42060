//! The keys of all sweeps of an input, and the counts of rows.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;

use super::column_plan::{Key, ReadPlan};
use super::digest::digests;
use super::keys::to_output_type;
use super::scan::ScanResult;
use super::source::{Fragment, Source};

/// The keys of all sweeps of an input, its fragments, and the counts of rows.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The fragments of the source; [`Sweep::file`](crate::sweep::Sweep::file) is an index of this list.
    pub fragments: Vec<Fragment>,
    /// The key columns in the input's types, one row per sweep, in ascending order with nulls first.
    pub keys: Vec<ArrayRef>,
    /// The names and types of `keys`; all are nullable.
    pub key_fields: Vec<Field>,
    /// The number of rows in all fragments.
    pub rows_read: u64,
    /// The number of rows that the condition dropped.
    pub rows_dropped: u64,
    /// The digest of each sweep's key (see [`super::digest`]).
    pub(super) digests: Vec<[u8; 32]>,
}

impl Contents {
    /// Returns the contents of a source, given the result of its scan.
    pub(super) fn of(
        source: &dyn Source,
        plan: &ReadPlan,
        scanned: &ScanResult,
    ) -> Result<Contents, ArrowError> {
        let shown = |(values, key): (&ArrayRef, &Key)| to_output_type(values, key.field.data_type());
        let keys: Vec<ArrayRef> = scanned.keys.iter().zip(&plan.by).map(shown).collect();
        let typed =
            |(values, key): (&ArrayRef, &Key)| key.field.clone().with_data_type(values.data_type().clone());
        let skipped: u64 = source.fragments().iter().map(Fragment::rows_skipped).sum();
        Ok(Contents {
            fragments: source.fragments().to_vec(),
            key_fields: keys.iter().zip(&plan.by).map(typed).collect(),
            keys,
            rows_read: scanned.read + skipped,
            rows_dropped: scanned.dropped + skipped,
            digests: digests(&scanned.keys, scanned.sweeps)?,
        })
    }

    /// Returns the number of sweeps.
    #[must_use]
    pub fn n_sweeps(&self) -> usize {
        self.digests.len()
    }
}
