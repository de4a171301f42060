//! The content hash of a fit: a digest of all that its results follow from.
//!
//! Two fits with one hash have the same results, bit for bit, so a run may copy the earlier ones in place of fitting again. The
//! hash covers the law, the options, the key, the values of the observations in canonical order, and the version of the
//! engine's numbers. It does not cover the files and rows from which the observations came, which the table of residuals shows.

use sha2::{Digest, Sha256};

use super::fit_all::Run;
use crate::output::ContentHash;
use crate::problem::Observations;
use crate::sweep::Sweep;

/// The version of the engine's numbers: it is raised when any result changes in its last bit, so that no earlier one is copied.
const NUMBERS: u32 = 1;

/// A digest of the settings that the results of a law's fits follow from.
pub(super) type SettingsDigest = [u8; 32];

/// Returns the digest of all settings that the results of fits of a law follow from, besides the observations.
pub(super) fn settings_digest(run: &Run, law: usize) -> SettingsDigest {
    let bound = &run.laws[law];
    // `Debug` writes numbers with all their digits.
    let of_law = format!(
        "{:?} {:?} {} {:?} {:?}",
        bound.law, bound.binding.response, bound.residual, bound.loss, bound.quantities
    );
    let of_run = format!("{:?} {:?} {:?}", run.solve, run.inference, run.min_points);
    let tables = (run.residuals, run.keep_replicates, run.covariance, run.has_holdout());
    Sha256::digest(format!("{NUMBERS} {of_law} {of_run} {tables:?}")).into()
}

/// Returns the content hash of a fit to the usable observations of a sweep, of which `held_out` rows are scored. `observations`
/// has the others.
pub(super) fn content_hash(
    run: &Run,
    law: usize,
    sweep: &Sweep,
    (observations, held_out): (&Observations, &[(u32, f64)]),
) -> ContentHash {
    let binding = &run.laws[law].binding;
    let mut hasher = Sha256::new();
    hasher.update(run.settings_digest(law));
    hasher.update(sweep.key_digest);
    let rows: Vec<u32> =
        observations.rows.iter().copied().chain(held_out.iter().map(|(row, _)| *row)).collect();
    hasher.update((observations.rows.len() as u64).to_le_bytes());
    hasher.update((rows.len() as u64).to_le_bytes());
    let mut bytes = Vec::with_capacity(8 * rows.len());
    for &column in binding.used.iter().chain(&binding.weight).chain(&binding.sigma) {
        let values = &sweep.columns[column];
        bytes.clear();
        rows.iter().for_each(|&row| bytes.extend(values[row as usize].to_bits().to_le_bytes()));
        hasher.update(&bytes);
    }
    if let Some(clusters) = &observations.cluster {
        // The numbers of clusters depend on other sweeps, their order does not.
        let mut sorted = clusters.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let place = |cluster: &u32| sorted.partition_point(|other| other < cluster) as u32;
        clusters.iter().for_each(|cluster| hasher.update(place(cluster).to_le_bytes()));
    }
    let mut hash = ContentHash::default();
    let length = hash.len();
    hash.copy_from_slice(&hasher.finalize()[..length]);
    hash
}
