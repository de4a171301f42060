//! Reports progress on standard error: as a bar on a terminal, as plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::say;
use crate::engine::{Progress, Silent};

/// Returns the listener for standard error; a silent one if `quiet`.
pub fn terminal_progress(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bar::default())
    } else {
        Box::new(Lines::default())
    }
}

/// A progress bar.
#[derive(Default)]
struct Bar {
    bar: OnceLock<ProgressBar>,
}

impl Progress for Bar {
    fn note(&self, message: &str) {
        say(message);
    }

    fn begin(&self, total: u64) {
        let bar = self.bar.get_or_init(|| ProgressBar::new(total));
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} sweeps  {per_sec}  {eta} left")
        {
            bar.set_style(style);
        }
    }

    fn advance(&self, sweeps: u64) {
        if let Some(bar) = self.bar.get() {
            bar.inc(sweeps);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

/// The time between plain lines; the log of a job of an hour then has 360.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress as plain lines, at most one per [`LINE_EVERY`].
#[derive(Default)]
struct Lines {
    total: AtomicU64,
    done: AtomicU64,
    /// The start of fitting and the time of the last line.
    clock: Mutex<Option<(Instant, Instant)>>,
}

impl Progress for Lines {
    fn note(&self, message: &str) {
        say(message);
    }

    fn begin(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        let now = Instant::now();
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, now));
    }

    fn advance(&self, sweeps: u64) {
        let done = self.done.fetch_add(sweeps, Ordering::Relaxed) + sweeps;
        // No thread waits for another to print: the other thread's line is recent enough.
        let Ok(mut clock) = self.clock.try_lock() else { return };
        if let Some((begun, last)) = clock.as_mut()
            && last.elapsed() >= LINE_EVERY
        {
            *last = Instant::now();
            let total = self.total.load(Ordering::Relaxed);
            let rate = done as f64 / begun.elapsed().as_secs_f64();
            let left = total.saturating_sub(done) as f64 / rate;
            say(&format!("{done}/{total} sweeps, {rate:.0} per second, {left:.0} s left"));
        }
    }
}
