//! The `sweepfit` program; everything is in the library.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of mimalloc's option `purge_delay`: the milliseconds after which freed memory is given back to the system.
const PURGE_DELAY: std::ffi::c_int = 15;

unsafe extern "C" {
    fn mi_option_set_default(option: std::ffi::c_int, value: std::ffi::c_long);
}

fn main() -> std::process::ExitCode {
    // A fit of a long sweep needs one large buffer after another, within the second that mimalloc would keep them. Other
    // commands need the same buffers again and again.
    if std::env::args_os().nth(1).is_some_and(|command| command == "fit") {
        // SAFETY: mimalloc is linked, and its options may be set at any time from any thread. A number that is no option is
        // ignored.
        unsafe { mi_option_set_default(PURGE_DELAY, 0) };
    }
    sweepfit::cli::main()
}
