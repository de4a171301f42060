//! Suggestions for misspelt words; lists of names, numbers of things and quoted texts, for messages.

/// Returns the candidate that `word` most likely misspells, if one is near enough.
///
/// A candidate is near if it differs in case alone, or if its edit distance is at most a third of the letters of `word`
/// (at most one for shorter words). A swap of two neighbours counts as one edit (Damerau 1964). Of equally near
/// candidates the first is returned.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The time for a distance is quadratic in the length, and longer words are hardly misspelt names.
    if word.len() > 200 {
        return None;
    }
    let letters = word.chars().count();
    let allowed = (letters / 3).max(1);
    let folded = word.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.to_lowercase() == folded {
            return Some(candidate);
        }
        if candidate.len() > 400 || candidate.chars().count().abs_diff(letters) > allowed {
            continue;
        }
        let distance = strsim::damerau_levenshtein(word, candidate);
        // One edit turns any one-letter name into any other, so it says nothing about their likeness.
        let near = distance <= allowed && distance < letters;
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Returns a column that is one edit away from a name of at least three letters, or differs from it in case alone. Such a
/// name more likely misspells the column than it names a parameter.
pub(crate) fn one_edit_away<'a>(name: &str, columns: &'a [String]) -> Option<&'a str> {
    if name.chars().count() < 3 {
        return None;
    }
    let edited = columns.iter().find(|column| strsim::damerau_levenshtein(name, column) == 1);
    edited.map(String::as_str).or_else(|| other_case(name, columns))
}

/// Returns a column whose name differs from a name in case alone.
pub(crate) fn other_case<'a>(name: &str, columns: &'a [String]) -> Option<&'a str> {
    let folded = name.to_lowercase();
    columns.iter().find(|column| *column != name && column.to_lowercase() == folded).map(String::as_str)
}

/// Returns the names in backquotes, separated by commas; after twelve of them, only the number of the others.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    const MOST: usize = 12;
    let mut shown: Vec<String> = names.iter().take(MOST).map(|n| format!("`{}`", n.as_ref())).collect();
    if names.len() > MOST {
        shown.push(format!("and {} more", names.len() - MOST));
    }
    if shown.is_empty() { "none".to_string() } else { shown.join(", ") }
}

/// Returns a number with its noun, which has an `s` in the plural: `1 sweep`, `2 sweeps`.
pub(crate) fn counted<N: std::fmt::Display + PartialEq + From<u8>>(n: N, noun: &str) -> String {
    let plural = if n == N::from(1) { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

/// Returns a text of data in double quotes, with its control characters escaped; after forty characters, `…` in place of the
/// others.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 40;
    let mut shown = String::from('"');
    for c in text.chars().take(MOST) {
        if is_control(c) || matches!(c, '"' | '\\') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown.push('"');
    shown
}

/// Returns whether a terminal obeys a character rather than showing it: control characters (Unicode's category Cc), the ends
/// of lines and paragraphs, and those that reverse the direction of the text (Boucher & Anderson 2023, "Trojan Source").
pub(crate) fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns `was` for one and `were` for other numbers.
pub(crate) fn was_or_were<N: PartialEq + From<u8>>(n: N) -> &'static str {
    if n == N::from(1) { "was" } else { "were" }
}

#[cfg(test)]
mod tests {
    use super::{counted, list, nearest, one_edit_away, other_case};

    #[test]
    fn names_of_one_and_two_letters_misspell_a_column_by_case_alone() {
        let columns = ["D", "n1", "PARAMS", "tokens"].map(str::to_owned);
        assert_eq!(other_case("d", &columns), Some("D"));
        assert_eq!(other_case("D", &columns), None);
        assert_eq!(one_edit_away("d", &columns), None);
        assert_eq!(one_edit_away("n2", &columns), None);
        assert_eq!(one_edit_away("params", &columns), Some("PARAMS"));
        assert_eq!(one_edit_away("token", &columns), Some("tokens"));
        assert_eq!(one_edit_away("alpha", &columns), None);
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([0u64, 1, 2].map(|n| counted(n, "sweep")), ["0 sweeps", "1 sweep", "2 sweeps"]);
    }

    #[test]
    fn long_lists_are_shortened() {
        let names: Vec<String> = (0..15).map(|i| format!("c{i}")).collect();
        let text = list(&names);
        assert!(text.contains("`c11`") && !text.contains("`c12`") && text.ends_with("and 3 more"));
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let columns = ["learner", "loss", "N", "n_params"];
        assert_eq!(nearest("lerner", columns), Some("learner"));
        assert_eq!(nearest("LOSS", columns), Some("loss"));
        assert_eq!(nearest("lsos", columns), Some("loss"));
        assert_eq!(nearest("D", columns), None);
        assert_eq!(nearest("temperature", columns), None);
        assert_eq!(nearest(&"x".repeat(10_000), columns), None);
    }
}
