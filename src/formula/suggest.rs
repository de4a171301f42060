//! "Did you mean": the known word nearest to one that is not known.

/// The candidate that `word` was most likely meant to be, if any is near enough.
///
/// Near is the same but for case, or within one edit for every three letters (one for shorter
/// words), where swapping two neighbours is one edit (Damerau's distance). The first of equally
/// near candidates wins.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A word this long is no slip of the fingers, and the distance is quadratic in its length.
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
        // One edit turns any one-letter name into any other: that is no likeness.
        let alike = distance <= allowed && distance < letters;
        if alike && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

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
