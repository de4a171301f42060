//! The names in a directory of snapshots.

/// The name of the link to the current snapshot.
pub const CURRENT: &str = "current";

/// The name of the directory with the snapshots.
pub const SNAPSHOTS: &str = "snapshots";

/// How the name of a snapshot ends that is not published.
pub const UNPUBLISHED: &str = "-unpublished";

/// Returns whether a name is one that snapshots get: a time, a number if there is another of that time, and whether it is not
/// published. What else lies among the snapshots is the user's.
#[must_use]
pub fn is_snapshot(name: &str) -> bool {
    let name = name.strip_suffix(UNPUBLISHED).unwrap_or(name);
    let (time, number) = name.split_once('-').map_or((name, None), |(time, number)| (time, Some(number)));
    let pattern = "00000000T000000Z";
    let fits = |(found, expected): (u8, u8)| found == expected || expected == b'0' && found.is_ascii_digit();
    time.len() == pattern.len()
        && time.bytes().zip(pattern.bytes()).all(fits)
        && number.is_none_or(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}
