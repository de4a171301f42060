//! The numbers of values and of bytes that a file may ask for, by its length.
//!
//! A valid file of a few bytes can state any number of equal values. These limits bound the memory of small files by
//! constants, and leave those above 4 MiB, in which values can be expected to differ, room that grows with their length.

use std::sync::atomic::{AtomicU64, Ordering};

/// Returns what a limit grows by with the length of a file in bytes: nothing for files below 4 MiB, for which the memory is
/// bounded by a constant, and 64 for each byte beyond.
pub(in crate::input) fn large_part(file: u64) -> u64 {
    64 * file.saturating_sub(1 << 22)
}

/// A bound on the decompressed bytes that are in memory.
#[derive(Debug)]
pub(in crate::input) struct Budget {
    /// The length of the file.
    file: u64,
    /// The largest page.
    page: u64,
    /// The largest sum of the pages that are read for one batch of rows.
    batch: u64,
    /// The sum for the current batch.
    used: AtomicU64,
    /// The bytes of text that may still be passed on.
    text: AtomicU64,
}

impl Budget {
    /// Returns the bounds for a file of a length.
    pub(in crate::input) fn new(file: u64) -> Budget {
        let page = 40_000_000 + large_part(file);
        let text = AtomicU64::new(1_000_000_000 + large_part(file));
        Budget { file, page, batch: 3 * page, used: AtomicU64::new(0), text }
    }

    /// Counts the bytes of text in a batch. Rows can share a long text, but each is compared and hashed. Returns what is asked
    /// for if it is too much.
    pub(in crate::input) fn add_text(&self, bytes: u64) -> Result<(), String> {
        let left = self.text.load(Ordering::Relaxed);
        match left.checked_sub(bytes) {
            Some(rest) => self.text.store(rest, Ordering::Relaxed),
            None => return Err("text of this size, for a file of this size,".to_owned()),
        }
        Ok(())
    }

    /// Begins a batch.
    pub(in crate::input) fn begin_batch(&self) {
        self.used.store(0, Ordering::Relaxed);
    }

    /// Counts the bytes of a page. Returns what is asked for if it is too much.
    pub(in crate::input) fn add(&self, bytes: u64) -> Result<(), String> {
        if bytes > self.page {
            let Budget { file, page, .. } = self;
            return Err(format!(
                "a page of {bytes} bytes in a file of {file} (at most {page} are read, because a small file could fill the \
                 memory otherwise)"
            ));
        }
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.batch {
            return Err(format!("values of this size (more than {} bytes in a batch of rows)", self.batch));
        }
        Ok(())
    }
}

/// Returns the number of rows or values that a file of a length may state. A few bytes can state any number of equal values,
/// and all rows take memory, so the number is held against the length of the file.
pub(in crate::input) fn most_values(file: u64) -> u64 {
    const OF_ANY_FILE: u64 = 1 << 20;
    OF_ANY_FILE + file + large_part(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_for_one_batch() {
        let budget = Budget::new(100);
        assert!(budget.add(40_000_001).is_err());
        budget.begin_batch();
        for _ in 0..3 {
            assert_eq!(budget.add(40_000_000), Ok(()));
        }
        assert!(budget.add(1).is_err());
        budget.begin_batch();
        assert_eq!(budget.add(1), Ok(()));
    }
}
