//! Kills, signals and full disks at random moments of a job that publishes: what a reader sees is whole at every moment, and the
//! next run has the bits of one that was not disturbed and leaves nothing behind.
//!
//! `SWEEPFIT_FAULTS=200 cargo test --release --test faults` disturbs 200 runs of each kind; without the variable a few. The
//! moments follow from a seed, `SWEEPFIT_FAULTS_SEED`, which is printed.

#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use common::program::{Table, command, program};
use common::{Folder, floats, strings};

/// The number of disturbed runs of each kind, unless the environment says another.
const FEW: usize = 6;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A disturbance of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// SIGKILL at a moment.
    Killed,
    /// SIGTERM at a moment.
    Terminated,
    /// Files cannot grow beyond a size.
    Full,
}

/// A job on lines with noise that publishes to `lake`, and its undisturbed result.
struct Job {
    folder: Folder,
    /// The time that an undisturbed run takes.
    time: Duration,
    /// The size of the largest file that it writes, in bytes.
    largest: u64,
}

const SWEEPS: usize = 4000;

impl Job {
    fn new() -> Job {
        let folder = Folder::new();
        let noise = [0.1, -0.2, 0.05, 0.1, -0.1, 0.2, -0.15, 0.05, -0.1, 0.05];
        let rows = || (0..SWEEPS).flat_map(|run| (0..10).map(move |i| (run, i)));
        let names: Vec<String> = rows().map(|(run, _)| format!("run-{run:05}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let x: Vec<f64> = rows().map(|(_, i)| 1.0 + i as f64).collect();
        let y: Vec<f64> =
            rows().map(|(run, i)| (1 + run) as f64 * (5.0 + 3.0 * i as f64 + noise[i])).collect();
        folder.write("in.parquet", &[("run", strings(&names)), ("x", floats(&x)), ("y", floats(&y))]);
        let text = format!(
            "keep = 0\n[fit]\ninputs = {:?}\nby = \"run\"\nlaw = \"y ~ a + b*x\"\nbootstrap = 20\n[predict]\nat = [\"x=20\"]\n",
            folder.path("in.parquet")
        );
        fs::write(folder.path("job.toml"), text).expect("a file");
        let mut job = Job { folder, time: Duration::ZERO, largest: 0 };
        let begun = Instant::now();
        let done = job.command("undisturbed").status().expect("a run");
        assert!(done.success());
        job.time = begun.elapsed();
        let tables = fs::read_dir(job.folder.path("undisturbed/current")).expect("a directory").flatten();
        job.largest = tables.map(|table| table.metadata().expect("a file").len()).max().expect("tables");
        job
    }

    /// Returns the command that runs the job with a directory for its snapshots.
    fn command(&self, lake: &str) -> Command {
        let (file, publish) = (self.folder.path("job.toml"), format!("publish={:?}", self.folder.path(lake)));
        let mut command = command(&["run", &file, "--quiet", "--set", &publish]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Asserts that the current snapshot has the rows of the undisturbed one.
    fn assert_same(&self, lake: &str) {
        for name in ["fits", "coefficients", "replicates", "rejected", "predictions"] {
            let rows = |lake: &str| {
                Table::read(self.folder.path(&format!("{lake}/current/{name}.parquet")).as_ref()).bits()
            };
            assert_eq!(rows(lake), rows("undisturbed"), "{name}");
        }
    }
}

/// Reads the current snapshot as a user does who follows the link once. Returns whether there is one.
///
/// # Panics
/// If it is not whole.
fn read_current(lake: &Path) -> bool {
    let Ok(snapshot) = fs::canonicalize(lake.join("current")) else { return false };
    let tables = ["fits", "coefficients", "replicates", "predictions"];
    let rows: Vec<Option<usize>> = tables
        .iter()
        .map(|name| {
            fs::File::open(snapshot.join(format!("{name}.parquet")))
                .ok()
                .map(|_| Table::read(&snapshot.join(format!("{name}.parquet"))).rows())
        })
        .collect();
    // A snapshot that is no longer current may be removed while it is read.
    if fs::canonicalize(lake.join("current")).ok().as_deref() == Some(&snapshot) {
        assert_eq!(rows, [SWEEPS, 2 * SWEEPS, 20 * SWEEPS, SWEEPS].map(Some), "{}", snapshot.display());
    }
    true
}

/// Starts a run of the job, with a limit to the size of its files where that is the fault.
fn start(job: &Job, fault: Fault, size: u64) -> Child {
    let mut command = job.command("lake");
    if fault == Fault::Full {
        // SAFETY: between fork and exec the closure makes two system calls. A write beyond the limit fails then.
        unsafe {
            command.pre_exec(move || {
                let limit = libc::rlimit { rlim_cur: size, rlim_max: size };
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
                Ok(())
            });
        }
    }
    command.spawn().expect("a run")
}

/// Disturbs runs, and reads the current snapshot all the time.
fn disturb(fault: Fault) {
    let (faults, seed) = (setting("SWEEPFIT_FAULTS", FEW as u64), setting("SWEEPFIT_FAULTS_SEED", 1));
    println!("{faults} runs, seed {seed}");
    let job = Job::new();
    let lake = job.folder.path("lake");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (stop, readings, disturbed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                readings.fetch_add(usize::from(read_current(lake.as_ref())), Ordering::Relaxed);
                sleep(Duration::from_millis(20));
            }
        });
        for round in 0..faults {
            let share = f64::from(random.next_u32()) / f64::from(u32::MAX);
            let mut child = start(&job, fault, (share * job.largest as f64) as u64);
            if fault != Fault::Full {
                sleep(job.time.mul_f64(share));
                let signal = if fault == Fault::Killed { Signal::SIGKILL } else { Signal::SIGTERM };
                let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
            }
            let status = child.wait().expect("a status");
            let allowed: &[Option<i32>] = match fault {
                Fault::Killed => &[None, Some(0)],
                Fault::Terminated => &[Some(143), Some(0)],
                Fault::Full => &[Some(1), Some(2), Some(0)],
            };
            // A signal that comes before the program has its handler ends it as signals do.
            let early = fault == Fault::Terminated && status.code().is_none() && share < 0.2;
            assert!(
                allowed.contains(&status.code()) || early,
                "{fault:?} at {share} in round {round}: {status}"
            );
            disturbed.fetch_add(usize::from(status.code() != Some(0)), Ordering::Relaxed);
            if round % 3 == 2 {
                let done = job.command("lake").status().expect("a run");
                assert!(done.success(), "after {fault:?} at {share}");
                job.assert_same("lake");
                let entries = |path: &str| fs::read_dir(path).expect("a directory").count();
                assert_eq!(
                    (entries(&lake), entries(&format!("{lake}/snapshots"))),
                    (2, 1),
                    "{fault:?} at {share}"
                );
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (readings, disturbed) = (readings.into_inner(), disturbed.into_inner());
    println!("{disturbed} runs were disturbed, and the current snapshot was read {readings} times");
    assert!(disturbed > 0 && readings > 0);
}

#[test]
fn kills_leave_whole_snapshots() {
    disturb(Fault::Killed);
}

#[test]
fn termination_leaves_whole_snapshots() {
    disturb(Fault::Terminated);
}

#[test]
fn full_disks_leave_whole_snapshots() {
    disturb(Fault::Full);
}

/// Of runs of one job at once one does it, and the others are refused or do it after.
#[test]
fn runs_at_once_do_not_mix() {
    let job = Job::new();
    for _ in 0..setting("SWEEPFIT_FAULTS", FEW as u64).div_ceil(3) {
        let children: Vec<Child> = (0..3).map(|_| job.command("lake").spawn().expect("a run")).collect();
        let statuses: Vec<Option<i32>> =
            children.into_iter().map(|mut child| child.wait().expect("a status").code()).collect();
        assert!(
            statuses.contains(&Some(0)) && statuses.iter().all(|s| [Some(0), Some(1)].contains(s)),
            "{statuses:?}"
        );
        assert!(read_current(job.folder.path("lake").as_ref()));
        job.assert_same("lake");
    }
    assert!(
        program(&[
            "diff",
            &job.folder.path("lake/current"),
            &job.folder.path("undisturbed/current"),
            "--fail-on",
            "added,gone,status,moved,changed"
        ])
        .status
        .success()
    );
}
