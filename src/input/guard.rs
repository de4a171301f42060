//! Steps of the decoder, whose panics become errors.
//!
//! The decoder is not written for hostile bytes and panics on some of them (0.3 % of 90,000 damaged files). A panic is caught
//! around each of its steps. That needs unwinding: never build with `panic = "abort"`.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    /// Whether this thread is inside [`guard`], where a panic is an answer and no accident.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs one step of the decoder; a panic becomes the message it carries.
///
/// The panic hook still runs, and prints the panic unless [`silence_guarded_panics`] was called.
pub(in crate::input) fn guard<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    let outer = GUARDED.replace(true);
    // What `step` may leave half-changed is not used again: its file is given up.
    let result = panic::catch_unwind(AssertUnwindSafe(step));
    GUARDED.set(outer);
    result.map_err(|payload| message_of(payload.as_ref()))
}

/// Installs a panic hook that is silent about panics which become errors, and passes all others on to the hook before it.
///
/// The hook is the whole process's, so that a program installs it, once, and a library does not.
pub fn silence_guarded_panics() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !GUARDED.get() {
            previous(info);
        }
    }));
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    // Assertion messages spread over lines; the first says what.
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
        assert!(!GUARDED.get(), "the silence ends with the step");
    }
}
