//! The errors of the language: in a text, and in the types of an expression.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::ast::Span;

/// An error in the text of a formula, expression or condition.
///
/// `Display` writes the source line, and below it carets under the place and the reason beside them, without colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormulaError {
    /// The reason, in one sentence without a full stop.
    pub message: String,
    /// The place in `source`.
    pub span: Span,
    /// The text with the error; only its beginning if the text is too long.
    pub source: String,
}

impl FormulaError {
    /// Returns an error at a place. A place outside the text is moved to the text's end.
    #[must_use]
    pub fn new(message: impl Into<String>, span: Span, source: &str) -> Self {
        let start = source.floor_char_boundary(span.start);
        let end = source.ceil_char_boundary(span.end).max(start);
        // The message is one line below the source, also where it names a column with a line feed in its name.
        let message = message.into().replace('\n', "\\n");
        Self { message, span: start..end, source: source.to_owned() }
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

/// An error in a parsed expression: an unknown name, or an operand of the wrong type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeError {
    /// The reason, in one sentence without a full stop.
    pub message: String,
    /// The place in the text from which the expression was parsed.
    pub span: Span,
}

impl TypeError {
    /// Returns an error at a place.
    #[must_use]
    pub fn new(message: impl Into<String>, span: Span) -> Self {
        Self { message: message.into(), span }
    }

    /// Adds the text from which the expression was parsed, so that the message can show the place.
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
    fn the_carets_are_under_the_place() {
        let error = FormulaError::new("no good", 3..5, "ab cd ef");
        let shown = error.to_string();
        let lines: Vec<_> = shown.lines().collect();
        let text = lines.iter().position(|l| l.contains("ab cd ef")).expect("source line");
        assert_eq!(lines[text].find("cd"), lines[text + 1].find("^^ no good"), "{shown}");
    }

    #[test]
    fn places_at_or_past_the_end_are_shown() {
        for (source, span) in [("", 0..0), ("a", 1..1), ("a", 7..9), ("é", 1..1), ("a\n", 2..2)] {
            let shown = FormulaError::new("reason", span, source).to_string();
            assert!(shown.contains("reason"), "{shown}");
        }
    }
}
