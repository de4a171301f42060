//! Writes to standard output and standard error.
//!
//! Names, keys, paths and values of data may hold control characters, which a terminal obeys: they move the cursor,
//! change the title, hide text. Whatever the program writes passes through [`printable`] here, so that no message needs to
//! escape them.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use crate::formula::is_control;

/// Returns the text with its control characters escaped, as in `\u{1b}`. Line feeds and tabs stay, and so do the letters
/// of all scripts.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_control(c) && c != '\n' && c != '\t')
}

/// Returns the text with its control characters escaped, line feeds and tabs too: for what is one line, such as a message
/// about a column whose name holds a line feed.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_control)
}

fn escaped(text: &str, escape: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&escape) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if escape(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// Writes a text to standard output.
///
/// # Errors
/// If standard output cannot be written.
pub fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(printable(text).as_bytes())?;
    out.flush()
}

/// Writes a text to standard error. A failure to do so, such as a closed pipe or a full disk, does not concern the run.
pub fn complain(text: &str) {
    let _ = io::stderr().write_all(printable(text).as_bytes());
}

/// Writes a message to standard error, after the program's name.
pub fn say(message: &str) {
    complain(&format!("sweepfit: {message}\n"));
}

/// Returns the number of characters in a line of standard output: the terminal's, or `COLUMNS` where standard output is none.
/// `None` where neither is known.
pub fn width() -> Option<u16> {
    if io::stdout().is_terminal()
        && let Some((terminal_size::Width(width), _)) = terminal_size::terminal_size()
    {
        return Some(width);
    }
    std::env::var("COLUMNS").ok()?.parse().ok().filter(|width| *width > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_letters_stay() {
        for (text, expected) in [
            ("α, 損失, naïve, ﷼ and 👍🏽", "α, 損失, naïve, ﷼ and 👍🏽"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("\u{9b}2J\r\u{7f}", "\\u{9b}2J\\r\\u{7f}"),
            ("user\u{202e}nimda", "user\\u{202e}nimda"),
            ("a\tb\nc", "a\tb\nc"),
        ] {
            assert_eq!(printable(text), expected);
            assert_eq!(printable(&printable(text)), expected, "escaped once");
        }
        assert_eq!(one_line("a\tb\nc\u{1b}"), "a\\tb\\nc\\u{1b}");
    }
}
