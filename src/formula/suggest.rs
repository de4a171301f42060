//! Suggestions for misspelt words, and lists of names for messages.

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

/// Returns a column that is one edit away from a name of at least three letters. Such a name more likely misspells the
/// column than it names a parameter.
pub(crate) fn one_edit_away<'a>(name: &str, columns: &'a [String]) -> Option<&'a str> {
    if name.chars().count() < 3 {
        return None;
    }
    columns.iter().find(|column| strsim::damerau_levenshtein(name, column) == 1).map(String::as_str)
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

#[cfg(test)]
mod tests {
    use super::{list, nearest};

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
