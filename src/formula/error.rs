//! The two kinds of complaint: about a text, and about types.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::ast::Span;

/// A text that is no formula, expression or condition: where, and why.
///
/// `Display` gives the source line, a caret line under the place, and the reason beside the
/// carets, without colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormulaError {
    /// The reason, in one sentence without a full stop.
    pub message: String,
    /// The place, within `source`.
    pub span: Span,
    /// The text that was refused (only its beginning, if it was too long).
    pub source: String,
}

impl FormulaError {
    /// A complaint about a place; a place outside the text is moved to its end.
    #[must_use]
    pub fn new(message: impl Into<String>, span: Span, source: &str) -> Self {
        let start = source.floor_char_boundary(span.start);
        let end = source.ceil_char_boundary(span.end).max(start);
        Self { message: message.into(), span: start..end, source: source.to_owned() }
    }
}

impl std::fmt::Display for FormulaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let snippet = Snippet::source(self.source.as_str())
            .annotation(AnnotationKind::Primary.span(self.span.clone()).label(self.message.as_str()));
        let report = [Group::with_level(Level::ERROR).element(snippet)];
        write!(f, "{}", Renderer::plain().render(&report))
    }
}

impl std::error::Error for FormulaError {}

/// A well-formed expression that does not fit the columns: an unknown name, or a wrong type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeError {
    /// The reason, in one sentence without a full stop.
    pub message: String,
    /// The place, in the text the expression was parsed from.
    pub span: Span,
}

impl TypeError {
    /// A complaint about a place.
    #[must_use]
    pub fn new(message: impl Into<String>, span: Span) -> Self {
        Self { message: message.into(), span }
    }

    /// The same complaint with the text it is about, for a report that shows the place.
    #[must_use]
    pub fn within(self, source: &str) -> FormulaError {
        FormulaError::new(self.message, self.span, source)
    }
}

impl std::fmt::Display for TypeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TypeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place() {
        let error = FormulaError::new("no good", 3..5, "ab cd ef");
        let shown = error.to_string();
        let lines: Vec<_> = shown.lines().collect();
        let text = lines.iter().position(|l| l.contains("ab cd ef")).expect("source line");
        assert_eq!(lines[text].find("cd"), lines[text + 1].find("^^ no good"), "{shown}");
    }

    #[test]
    fn places_at_or_past_the_end_can_be_shown() {
        for (source, span) in [("", 0..0), ("a", 1..1), ("a", 7..9), ("é", 1..1), ("a\n", 2..2)] {
            let shown = FormulaError::new("reason", span, source).to_string();
            assert!(shown.contains("reason"), "{shown}");
        }
    }
}
