//! Writes to standard output and standard error.
//!
//! Names, keys, paths and values of data may hold control characters, which a terminal obeys: they move the cursor,
//! change the title, hide text. Whatever the program writes passes through [`printable`] here, so that no message needs to
//! escape them.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};

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

/// Writes a message to standard error, after the program's name; as a warning where the log is JSON.
pub fn say(message: &str) {
    if AS_JSON.load(Ordering::Relaxed) {
        event("warning", "warning", json!({ "message": message }));
    } else {
        complain(&format!("sweepfit: {message}\n"));
    }
}

/// Writes the message of a failure to standard error.
pub fn fail(message: &str) {
    if AS_JSON.load(Ordering::Relaxed) {
        event("error", "failed", json!({ "message": message }));
    } else {
        say(message);
    }
}

/// Whether the log on standard error is JSON.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// Writes the log on standard error as JSON from now on, one object a line.
pub fn log_as_json() {
    AS_JSON.store(true, Ordering::Relaxed);
}

/// Writes an event to the log, where it is JSON, with the fields of an object.
pub fn event(level: &str, event: &str, fields: Value) {
    if !AS_JSON.load(Ordering::Relaxed) {
        return;
    }
    let mut object = Map::new();
    object.insert("ts".to_owned(), timestamp().into());
    object.insert("level".to_owned(), level.into());
    object.insert("event".to_owned(), event.into());
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    // Written past `complain`, whose escapes are none of JSON.
    let _ = io::stderr().write_all(format!("{}\n", json_text(&Value::Object(object))).as_bytes());
}

/// Returns a value as JSON, with all control characters escaped, also those that JSON allows.
fn json_text(value: &Value) -> String {
    let text = value.to_string();
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) {
            let mut units = [0; 2];
            safe.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Returns the time in UTC, such as `2025-01-31T12:30:00.250Z`.
pub fn timestamp() -> String {
    chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
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
    fn control_characters_in_json_stay_json() {
        let value = json!({ "path": "a\u{7f}\u{202e}b\n\u{1b}" });
        assert_eq!(json_text(&value), "{\"path\":\"a\\u007f\\u202eb\\n\\u001b\"}");
        assert_eq!(serde_json::from_str::<Value>(&json_text(&value)).expect("JSON"), value);
    }

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
