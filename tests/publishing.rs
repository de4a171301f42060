//! A run that dies or fails at any system call leaves the earlier result or the new one, whole.
//!
//! The program is traced system call by system call. A fault happens in place of one of them: the process is killed, or the
//! call fails. Counted are the calls on files after the lock of the output directory, by the thread that takes it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use nix::errno::Errno;
use nix::libc::{
    SYS_chmod, SYS_close, SYS_flock, SYS_fstat, SYS_fsync, SYS_ftruncate, SYS_getcwd, SYS_getdents64,
    SYS_lseek, SYS_mkdir, SYS_open, SYS_openat, SYS_readlink, SYS_rename, SYS_renameat2, SYS_rmdir,
    SYS_statx, SYS_symlink, SYS_symlinkat, SYS_unlink, SYS_unlinkat, SYS_write,
};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use parquet::file::reader::{FileReader, SerializedFileReader};

use common::program::{Table, command, program};
use common::{Folder, floats};

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The process is killed before the system call.
    Killed,
    /// The system call does nothing and fails.
    Failed(Errno),
}

/// How a traced process ended, and the numbers of its system calls after it took the lock.
struct Traced {
    /// The exit status; `None` for a process that was killed.
    status: Option<i32>,
    calls: Vec<i64>,
}

/// The system calls on files.
const ON_FILES: [i64; 22] = [
    SYS_chmod,
    SYS_close,
    SYS_flock,
    SYS_fstat,
    SYS_fsync,
    SYS_ftruncate,
    SYS_getcwd,
    SYS_getdents64,
    SYS_lseek,
    SYS_mkdir,
    SYS_open,
    SYS_openat,
    SYS_readlink,
    SYS_rename,
    SYS_renameat2,
    SYS_rmdir,
    SYS_statx,
    SYS_symlink,
    SYS_symlinkat,
    SYS_unlink,
    SYS_unlinkat,
    SYS_write,
];

/// Runs the program with a fault at one of the system calls that are counted.
fn traced(arguments: &[&str], fault: Option<(usize, Fault)>) -> Traced {
    let mut command = command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec the closure makes one system call.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
    #[allow(clippy::zombie_processes, reason = "the loop below waits for it")]
    let main = Pid::from_raw(command.spawn().expect("the program can be started").id() as i32);
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    assert_eq!(waitpid(main, Some(flags)), Ok(WaitStatus::Stopped(main, Signal::SIGTRAP)));
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(main, options).expect("it is traced");
    ptrace::syscall(main, None).expect("it goes on");
    let mut calls = Vec::new();
    // The threads that are in a system call, the thread that holds the lock, and the error that its call shall return.
    let (mut inside, mut holder, mut injected) = (BTreeSet::new(), None, None);
    loop {
        let status = waitpid(Pid::from_raw(-1), Some(flags)).expect("a traced process");
        let (thread, signal) = match status {
            WaitStatus::Exited(pid, status) if pid == main => return Traced { status: Some(status), calls },
            WaitStatus::Signaled(pid, _, _) if pid == main => return Traced { status: None, calls },
            WaitStatus::PtraceSyscall(thread) => {
                // Where another thread has ended the process, this one is gone.
                let Ok(mut registers) = ptrace::getregs(thread) else { continue };
                let call = registers.orig_rax as i64;
                if inside.remove(&thread) {
                    if let Some(errno) = injected.take_if(|_| holder == Some(thread)) {
                        registers.rax = -i64::from(errno as i32) as u64;
                        ptrace::setregs(thread, registers).expect("registers");
                    }
                } else {
                    inside.insert(thread);
                    if call == SYS_flock && holder.is_none() {
                        holder = Some(thread);
                    }
                    if holder == Some(thread) && ON_FILES.contains(&call) {
                        match fault {
                            Some((at, Fault::Killed)) if at == calls.len() => {
                                kill(main, Signal::SIGKILL).expect("it can be killed");
                            }
                            Some((at, Fault::Failed(errno))) if at == calls.len() => {
                                registers.orig_rax = u64::MAX;
                                ptrace::setregs(thread, registers).expect("registers");
                                injected = Some(errno);
                            }
                            _ => {}
                        }
                        calls.push(call);
                    }
                }
                (thread, None)
            }
            WaitStatus::PtraceEvent(thread, _, _) => (thread, None),
            // How a new thread reports.
            WaitStatus::Stopped(thread, Signal::SIGSTOP) => (thread, None),
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            _ => continue,
        };
        // A thread of a process that was killed may be gone.
        let _ = ptrace::syscall(thread, signal);
    }
}

/// Returns the seed of the run whose result a directory holds; `None` if it holds no result.
///
/// # Panics
/// If tables are missing, left over, damaged, or of different runs.
fn result_in(directory: &Path) -> Option<i64> {
    let names: BTreeSet<String> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "notes.txt")
        .collect();
    if names.is_empty() {
        return None;
    }
    let manifest = fs::read_to_string(directory.join("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let seed = manifest["seed"].as_i64().expect("a seed");
    let mut expected: BTreeSet<String> =
        ["coefficients.parquet", "fits.parquet", "manifest.json", "rejected.parquet"]
            .map(String::from)
            .into();
    if manifest["job"]["residuals"] == true {
        expected.insert("residuals.parquet".to_string());
    }
    assert_eq!(names, expected);
    for name in names.iter().filter(|name| name.ends_with(".parquet")) {
        let path = directory.join(name);
        Table::read(&path);
        let reader = SerializedFileReader::new(fs::File::open(path).expect("a file")).expect("a footer");
        let pairs = reader.metadata().file_metadata().key_value_metadata().expect("pairs").clone();
        let job = pairs.iter().find(|pair| pair.key == "sweepfit.job").expect("the job");
        let job: serde_json::Value = serde_json::from_str(job.value.as_deref().expect("text")).expect("JSON");
        assert_eq!(job["seed"].as_i64(), Some(seed), "{name}");
    }
    Some(seed)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

/// Runs the program with a fault at each system call, with and without an earlier result, and checks what is left. A run after
/// it succeeds and leaves nothing else behind.
#[test]
fn a_fault_at_any_system_call_leaves_a_whole_result() {
    let folder = Folder::new();
    let x: Vec<f64> = (0..10).map(f64::from).collect();
    let y: Vec<f64> = x.iter().map(|x| 1.0 + 2.0 * x + 0.1 * (x % 3.0)).collect();
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let (input, earlier, results) =
        (folder.path("a.parquet"), folder.path("earlier"), folder.path("results"));
    let out = format!("{results}/out");
    let fit = |out, seed, more| {
        let law = ["fit", &input, "--law", "y ~ a + b*x", "--bootstrap", "0", "--threads", "1", "--quiet"];
        [&law[..], &["--out", out, "--seed", seed, more]].concat()
    };
    assert!(program(&fit(&earlier, "1", "--residuals")).status.success());
    fs::write(folder.path("earlier/notes.txt"), "mine").expect("a file");
    let (second, third) = (fit(&out, "2", "--overwrite"), fit(&out, "3", "--overwrite"));
    let (results, out) = (Path::new(&results), Path::new(&out));
    for before in [Some(1), None] {
        let reset = || {
            let _ = fs::remove_dir_all(results);
            fs::create_dir(results).expect("a directory");
            if before.is_some() {
                copy(Path::new(&earlier), out);
            }
        };
        reset();
        let undisturbed = traced(&second, None);
        assert_eq!((undisturbed.status, result_in(out)), (Some(0), Some(2)));
        for name in [SYS_renameat2, SYS_fsync, SYS_write, SYS_unlink] {
            assert!(undisturbed.calls.contains(&name), "system call {name} is not among those counted");
        }
        let mut seen = BTreeSet::new();
        for (at, call) in undisturbed.calls.iter().enumerate() {
            // Closing is only killed: the standard library panics where a directory cannot be closed.
            let errors = [Errno::EIO, Errno::ENOSPC].map(Fault::Failed);
            let errors = errors.into_iter().filter(|_| *call != SYS_close);
            for fault in [Fault::Killed].into_iter().chain(errors) {
                reset();
                let Traced { status, calls } = traced(&second, Some((at, fault)));
                let place =
                    format!("{fault:?} at call {at} ({call}) after result {before:?}: status {status:?}");
                assert_eq!(calls.get(at), Some(call), "{place}");
                let found = result_in(out);
                seen.insert(found);
                match status {
                    Some(0) => assert_eq!(found, Some(2), "{place}"),
                    Some(1 | 2) | None => assert!(found == before || found == Some(2), "{place}: {found:?}"),
                    _ => panic!("{place}"),
                }
                assert!(program(&third).status.success(), "{place}");
                assert_eq!(result_in(out), Some(3), "{place}");
                assert_eq!(out.join("notes.txt").exists(), before.is_some(), "{place}");
                let beside: Vec<_> = fs::read_dir(results).expect("a directory").flatten().collect();
                assert_eq!(beside.len(), 1, "{place}: {beside:?}");
            }
        }
        // The faults are on both sides of the exchange.
        assert_eq!(seen, [before, Some(2)].into());
    }
}

/// Publishes a snapshot with a fault at each system call. The current snapshot is the earlier one or the new one, whole; the next
/// run succeeds, and nothing is left behind after it.
#[test]
fn a_fault_while_a_snapshot_is_published_leaves_a_whole_one() {
    let folder = Folder::new();
    let x: Vec<f64> = (0..10).map(f64::from).collect();
    let y: Vec<f64> = x.iter().map(|x| 1.0 + 2.0 * x + 0.1 * (x % 3.0)).collect();
    folder.write("a.parquet", &[("x", floats(&x)), ("y", floats(&y))]);
    let (input, lake) = (folder.path("a.parquet"), folder.path("lake"));
    let publish = |seed| {
        let law = ["fit", &input, "--law", "y ~ a + b*x", "--bootstrap", "0", "--threads", "1", "--quiet"];
        [&law[..], &["--publish", &lake, "--keep", "0", "--resume", "--seed", seed]].concat()
    };
    let current = Path::new(&lake).join("current");
    let mut seen = BTreeSet::new();
    for before in [Some(1), None] {
        let reset = || {
            let _ = fs::remove_dir_all(&lake);
            if before.is_some() {
                assert!(program(&publish("1")).status.success());
            }
        };
        reset();
        let undisturbed = traced(&publish("2"), None);
        assert_eq!((undisturbed.status, result_in(&current)), (Some(0), Some(2)));
        for name in [SYS_rename, SYS_fsync, SYS_symlink] {
            assert!(undisturbed.calls.contains(&name), "system call {name} is not among those counted");
        }
        for (at, call) in undisturbed.calls.iter().enumerate() {
            let errors = [Errno::EIO, Errno::ENOSPC].map(Fault::Failed);
            let errors = errors.into_iter().filter(|_| *call != SYS_close);
            for fault in [Fault::Killed].into_iter().chain(errors) {
                reset();
                let Traced { status, calls } = traced(&publish("2"), Some((at, fault)));
                let place =
                    format!("{fault:?} at call {at} ({call}) after snapshot {before:?}: status {status:?}");
                assert_eq!(calls.get(at), Some(call), "{place}");
                let found = result_in(&current);
                seen.insert(found);
                match status {
                    Some(0) => assert_eq!(found, Some(2), "{place}"),
                    Some(1 | 2) | None => assert!(found == before || found == Some(2), "{place}: {found:?}"),
                    _ => panic!("{place}"),
                }
                assert!(program(&publish("3")).status.success(), "{place}");
                assert_eq!(result_in(&current), Some(3), "{place}");
                let names = |directory: &Path| -> Vec<_> {
                    let entries = fs::read_dir(directory).expect("a directory").flatten();
                    entries.map(|entry| entry.file_name()).collect()
                };
                assert_eq!(names(Path::new(&lake)).len(), 2, "{place}: {:?}", names(Path::new(&lake)));
                let snapshots = names(&Path::new(&lake).join("snapshots"));
                assert_eq!(snapshots.len(), 1, "{place}: {snapshots:?}");
            }
        }
    }
    // The faults are on both sides of the moment when the link moves.
    assert_eq!(seen, [None, Some(1), Some(2)].into());
}
