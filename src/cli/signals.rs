//! Signals that end a run: Ctrl-C and SIGTERM.
//!
//! The first lets the fits that are running end; the second ends the process at once.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};

use super::Failure;
use crate::error::Error;

/// The exit status of the signal that came: 128 and its number.
static STATUS: AtomicU8 = AtomicU8::new(130);

/// Returns the exit status of a run that was interrupted.
pub fn status() -> u8 {
    STATUS.load(Ordering::Relaxed)
}

/// Returns the flag that a signal sets, one for the process. Without a handler a signal ends the process at once, which is
/// acceptable: an error here is ignored.
pub fn interrupted() -> &'static AtomicBool {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        handle(&flag);
        flag
    })
}

/// Fails if a signal has come, between the steps of a job.
pub fn check() -> Result<(), Failure> {
    if interrupted().load(Ordering::Relaxed) { Err(Error::Interrupted.into()) } else { Ok(()) }
}

#[cfg(unix)]
fn handle(interrupted: &Arc<AtomicBool>) {
    use std::io::IsTerminal;

    use super::terminal;

    let flag = Arc::clone(interrupted);
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else { return };
    let wait = move || {
        for signal in signals.forever() {
            STATUS.store(128 + signal as u8, Ordering::Relaxed);
            if flag.swap(true, Ordering::Relaxed) {
                // The progress bar stays where it is; what the shell writes begins on a line of its own.
                if std::io::stderr().is_terminal() {
                    terminal::complain("\n");
                }
                std::process::exit(i32::from(status()));
            }
        }
    };
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
}

#[cfg(not(unix))]
fn handle(interrupted: &Arc<AtomicBool>) {
    for signal in [SIGINT, SIGTERM] {
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(interrupted));
        let _ = signal_hook::flag::register(signal, Arc::clone(interrupted));
    }
}
