//! Reports progress on standard error: as a bar on a terminal, as plain lines elsewhere.

use std::io::IsTerminal;
use std::ops::Range;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use serde_json::json;

use super::terminal::{event, one_line, say};
use crate::engine::Progress;
use crate::formula::{counted, list};

/// Returns the listener for standard error. With `quiet` it tells what a user should know, and no progress.
pub fn terminal_progress(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(NotesAlone)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bar::new())
    } else {
        Box::new(Lines::every(LINE_EVERY, |shared| say(&shared.line())))
    }
}

/// Returns the listener for a log of JSON, with `quiet` without progress.
pub fn json_progress(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        return Box::new(NotesAlone);
    }
    let write = |shared: &Shared| {
        let fields = shared.with(|state| {
            let seconds = state.since.elapsed().as_secs_f64();
            json!({
                "stage": state.stage, "sweeps": state.total, "done": state.whole,
                "fraction": state.fraction(), "seconds": seconds,
            })
        });
        event("info", "progress", fields);
    };
    let mut lines = Lines::every(LINE_EVERY, write);
    lines.is_json = true;
    Box::new(lines)
}

/// Notes without progress.
struct NotesAlone;

impl Progress for NotesAlone {
    fn note(&self, message: &str) {
        say(&one_line(message));
    }
}

/// Returns the message that the rows are one sweep, and that columns of text may tell sweeps apart.
fn one_sweep(columns_of_text: &[String]) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let argument = match columns_of_text.first() {
        Some(name) if name.chars().all(is_plain) => name.clone(),
        Some(name) if name.chars().all(|c| is_plain(c) || " /()[]".contains(c)) => format!("'{name}'"),
        _ => "COL".to_owned(),
    };
    format!(
        "the rows are fitted as one sweep; columns of text that could tell sweeps apart: {} (`--by {argument}`)",
        list(columns_of_text)
    )
}

/// How far a run is.
struct State {
    /// The stage before fitting begins.
    stage: String,
    /// The number of sweeps, once fitting has begun.
    total: Option<u64>,
    /// The sweeps that are fitted.
    whole: u64,
    /// The sweeps that are fitted, with the parts of those being fitted.
    parts: f64,
    /// The start of the stage, or of fitting.
    since: Instant,
}

impl State {
    fn new() -> State {
        State { stage: "starting".to_owned(), total: None, whole: 0, parts: 0.0, since: Instant::now() }
    }

    /// Returns the fraction of the fitting that is done.
    fn fraction(&self) -> f64 {
        self.total.map_or(0.0, |total| (self.parts / total.max(1) as f64).clamp(0.0, 1.0))
    }

    /// Returns the state in a line, at an instant.
    fn line(&self, now: Instant) -> String {
        let elapsed = now.saturating_duration_since(self.since).as_secs_f64();
        let Some(total) = self.total else { return format!("{}, {elapsed:.0} s", self.stage) };
        let fraction = self.fraction();
        let mut line = format!("{}/{}", self.whole, counted(total, "sweep"));
        if fraction > 0.0 {
            line += &format!(" ({:.0} %)", 100.0 * fraction);
            if self.whole > 0 && elapsed > 0.0 {
                line += &format!(", {} per second", Digits(self.parts / elapsed));
            }
            // Before, the time left would be a guess.
            if fraction >= 0.05 {
                line += &format!(", {:.0} s left", elapsed * (1.0 - fraction) / fraction);
            }
        }
        line
    }
}

/// A rate: whole numbers from ten on, else with decimals.
struct Digits(f64);

impl std::fmt::Display for Digits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 >= 10.0 { write!(f, "{:.0}", self.0) } else { write!(f, "{:.2}", self.0) }
    }
}

/// The state, shared by the threads that fit and the one that writes.
#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn new() -> Shared {
        Shared(Arc::new(Mutex::new(State::new())))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stage(&self, name: &str) {
        self.with(|state| {
            name.clone_into(&mut state.stage);
            state.since = Instant::now();
        });
    }

    fn begin(&self, sweeps: u64) {
        self.with(|state| {
            state.total = Some(sweeps);
            state.since = Instant::now();
        });
    }

    fn line(&self) -> String {
        self.with(|state| state.line(Instant::now()))
    }
}

/// A progress bar, which is gone from the terminal when it is dropped: also after an error or an interruption.
struct Bar {
    shared: Shared,
    bar: ProgressBar,
}

/// The length of the bar, whose unit is a fraction of the run.
const BAR_LENGTH: u64 = 10_000;

/// The time between two drawings of the bar.
const DRAW_EVERY: Duration = Duration::from_millis(100);

impl Bar {
    fn new() -> Bar {
        let bar = Bar { shared: Shared::new(), bar: ProgressBar::new(BAR_LENGTH) };
        bar.style("{spinner} {state}");
        bar.bar.enable_steady_tick(DRAW_EVERY);
        bar
    }

    /// Sets what is drawn; `{state}` is the state in a line, written only when the bar is drawn.
    fn style(&self, template: &str) {
        let shared = self.shared.clone();
        let state = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&shared.line());
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.with_key("state", state));
        }
    }
}

impl Progress for Bar {
    fn stage(&self, name: &str) {
        self.shared.stage(name);
    }

    fn note(&self, message: &str) {
        self.bar.suspend(|| say(&one_line(message)));
    }

    fn one_sweep(&self, columns_of_text: &[String]) {
        self.note(&one_sweep(columns_of_text));
    }

    fn begin(&self, sweeps: u64) {
        self.shared.begin(sweeps);
        self.style("{bar:40} {state}");
    }

    fn part(&self, sweeps: f64) {
        let fraction = self.shared.with(|state| {
            state.parts += sweeps;
            state.fraction()
        });
        self.bar.set_position((fraction * BAR_LENGTH as f64) as u64);
    }

    fn advance(&self, sweeps: u64) {
        self.shared.with(|state| state.whole += sweeps);
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The time between plain lines; the log of a job of an hour then has 360.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress as plain lines at regular times, also while no sweep ends, until it is dropped.
struct Lines {
    shared: Shared,
    /// Whether the log is JSON, so that the plan and each segment are events.
    is_json: bool,
    /// Its loss ends the writer.
    stop: Option<Sender<()>>,
    writer: Option<JoinHandle<()>>,
}

impl Lines {
    /// Writes the state at regular times with `write`.
    fn every(time: Duration, write: impl Fn(&Shared) + Send + 'static) -> Lines {
        let shared = Shared::new();
        let (stop, stopped) = channel::<()>();
        let told = shared.clone();
        let write_lines = move || {
            while stopped.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                write(&told);
            }
        };
        // Without a thread there are no lines, which costs no run.
        let writer = std::thread::Builder::new().name("progress".to_owned()).spawn(write_lines).ok();
        Lines { shared, is_json: false, stop: Some(stop), writer }
    }

    /// Ends the writer, so that no line follows.
    fn stop(&mut self) {
        self.stop = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Progress for Lines {
    fn stage(&self, name: &str) {
        self.shared.stage(name);
    }

    fn note(&self, message: &str) {
        say(&one_line(message));
    }

    fn one_sweep(&self, columns_of_text: &[String]) {
        self.note(&one_sweep(columns_of_text));
    }

    fn begin(&self, sweeps: u64) {
        self.shared.begin(sweeps);
        if self.is_json {
            event("info", "plan", json!({ "sweeps": sweeps }));
        }
    }

    fn segment(&self, sweeps: Range<usize>) {
        if self.is_json {
            event("info", "segment", json!({ "first_sweep": sweeps.start, "end_sweep": sweeps.end }));
        }
    }

    fn part(&self, sweeps: f64) {
        self.shared.with(|state| state.parts += sweeps);
    }

    fn advance(&self, sweeps: u64) {
        self.shared.with(|state| state.whole += sweeps);
    }

    fn end(&self) {
        self.shared.stage("writing");
        self.shared.with(|state| state.total = None);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_is_done_and_left() {
        let mut state = State::new();
        let at = |state: &State, seconds: u64| state.line(state.since + Duration::from_secs(seconds));
        state.stage = "reading".into();
        assert_eq!(at(&state, 12), "reading, 12 s");
        state.total = Some(1);
        assert_eq!(at(&state, 0), "0/1 sweep");
        // A quarter of the only sweep's replicates in 30 s: the other three take 90 s.
        state.parts = 0.25;
        assert_eq!(at(&state, 30), "0/1 sweep (25 %), 90 s left");
        (state.total, state.whole, state.parts) = (Some(40), 10, 10.0);
        assert_eq!(at(&state, 5), "10/40 sweeps (25 %), 2.00 per second, 15 s left");
    }

    /// A line comes at regular times although nothing advances, and none after the listener is gone.
    #[test]
    fn lines_come_while_nothing_advances() {
        let (sent, lines) = channel();
        let progress = Lines::every(Duration::from_millis(10), move |shared| {
            let _ = sent.send(shared.line());
        });
        progress.begin(3);
        for _ in 0..3 {
            lines.recv_timeout(Duration::from_secs(20)).expect("a line");
        }
        progress.part(1.5);
        progress.advance(1);
        let is_late = |line: &String| line.starts_with("1/3 sweeps (50 %)");
        assert!(lines.iter().take(1000).any(|line| is_late(&line)));
        drop(progress);
        while lines.try_recv().is_ok() {}
        assert!(lines.recv().is_err(), "the writer is gone");
    }
}
