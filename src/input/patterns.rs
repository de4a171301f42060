//! Patterns of names: wildcards, and alternatives in braces.

use std::ffi::OsStr;
use std::path::{Component, Path};

/// How the wildcards of patterns match: none matches a separator, or a dot at the beginning of a name.
pub const WILDCARDS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Returns the number of components before the first with a wildcard.
#[must_use]
pub fn typed_components(path: &Path) -> usize {
    let is_literal = |component: &Component| !component.as_os_str().to_str().is_some_and(is_pattern);
    path.components().take_while(is_literal).count()
}

/// Returns whether a text has wildcards.
#[must_use]
pub fn is_pattern(input: &str) -> bool {
    input.contains(['*', '?', '['])
}

/// Returns the texts that a text with alternatives in braces stands for: `a{b,c}` for `ab` and `ac`. Braces without a comma
/// stand for themselves.
#[must_use]
pub fn alternatives(text: &str) -> Vec<String> {
    let mut depth = 0;
    let (mut start, mut commas) = (0, Vec::new());
    for (place, c) in text.char_indices() {
        match c {
            '{' => {
                depth += 1;
                if depth == 1 {
                    (start, commas) = (place, Vec::new());
                }
            }
            ',' if depth == 1 => commas.push(place),
            '}' if depth > 0 => {
                depth -= 1;
                if depth > 0 || commas.is_empty() {
                    continue;
                }
                let starts = [start].into_iter().chain(commas.iter().copied());
                let ends = commas.iter().copied().chain([place]);
                let rests = alternatives(&text[place + 1..]);
                return starts
                    .zip(ends)
                    .flat_map(|(from, to)| alternatives(&text[from + 1..to]))
                    .flat_map(|part| {
                        let head = &text[..start];
                        rests.iter().map(move |rest| format!("{head}{part}{rest}"))
                    })
                    .collect();
            }
            _ => {}
        }
    }
    vec![text.to_owned()]
}

/// Returns whether a name starts with `.` or `_`.
#[must_use]
pub fn is_hidden(name: impl AsRef<OsStr>) -> bool {
    matches!(name.as_ref().as_encoded_bytes().first(), Some(b'.' | b'_'))
}
