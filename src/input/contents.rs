//! What an input holds, but for its rows.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;

use super::column_plan::{Key, ReadPlan};
use super::digest::digests;
use super::keys::present;
use super::scan::Scanned;
use super::source::{Fragment, Source};

/// What the input holds, but for its rows.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The source's fragments, in the order of the numbers in [`Sweep::file`](crate::sweep::Sweep::file).
    pub fragments: Vec<Fragment>,
    /// The key columns, one row per sweep, ascending, nulls first, in the input's types.
    pub keys: Vec<ArrayRef>,
    /// Names and types of `keys`; all nullable.
    pub key_fields: Vec<Field>,
    /// Rows in the fragments.
    pub rows_read: u64,
    /// Of these the ones that the condition dropped.
    pub rows_dropped: u64,
    /// Of each sweep's key.
    pub(super) digests: Vec<[u8; 32]>,
}

impl Contents {
    pub(super) fn of(
        source: &dyn Source,
        plan: &ReadPlan,
        scanned: &Scanned,
    ) -> Result<Contents, ArrowError> {
        let shown = |(values, key): (&ArrayRef, &Key)| present(values, key.field.data_type());
        let keys: Vec<ArrayRef> = scanned.keys.iter().zip(&plan.by).map(shown).collect();
        let typed =
            |(values, key): (&ArrayRef, &Key)| key.field.clone().with_data_type(values.data_type().clone());
        Ok(Contents {
            fragments: source.fragments().to_vec(),
            key_fields: keys.iter().zip(&plan.by).map(typed).collect(),
            keys,
            rows_read: scanned.read,
            rows_dropped: scanned.dropped,
            digests: digests(&scanned.keys, scanned.sweeps)?,
        })
    }

    /// Number of sweeps.
    #[must_use]
    pub fn n_sweeps(&self) -> usize {
        self.digests.len()
    }
}
