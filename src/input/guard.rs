//! Converts panics of the Parquet decoder to errors.
//!
//! The decoder panics on some damaged files, so each of its steps is run under `catch_unwind`. The program must
//! therefore not be built with `panic = "abort"`.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    /// Whether this thread is inside [`guard`], which converts a panic to an error.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs one step of the decoder and returns its result, or the message of its panic as an error.
///
/// The panic hook still prints the panic, unless [`silence_guarded_panics`] was called.
pub(in crate::input) fn guard<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    let outer = GUARDED.replace(true);
    // Asserting unwind safety is sound because a file is not read further after a panic.
    let result = panic::catch_unwind(AssertUnwindSafe(step));
    GUARDED.set(outer);
    result.map_err(|payload| message_of(payload.as_ref()))
}

/// Installs a panic hook that ignores panics which become errors, and passes all others to the previous hook.
///
/// The hook is global to the process: a program may install it once, a library must not.
pub fn silence_guarded_panics() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !GUARDED.get() {
            previous(info);
        }
    }));
}

/// Returns the message of a panic.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

/// Returns the error message for a panic of the decoder.
fn message_of(payload: &(dyn Any + Send)) -> String {
    // Only the first line of an assertion's message names the failure.
    format!("decoding failed: {}", panic_text(payload).lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        let answer: Result<(), String> = guard(|| panic!("value {} of\nmany", 7));
        assert_eq!(answer, Err("decoding failed: value 7 of".to_owned()));
        assert_eq!(guard(|| 5), Ok(5));
        assert!(!GUARDED.get(), "the flag is reset after the step");
    }
}
