//! What inference needs besides a fit and its options.

use std::sync::atomic::AtomicBool;

use crate::optimize::{Workspace, Workspaces};

/// How a caller follows replicates and ends them early.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The flag that ends the work soon after it becomes true.
    pub interrupted: &'a AtomicBool,
    /// Called when more replicates are refitted, with their number, from any thread.
    pub refitted: &'a (dyn Fn(usize) + Sync),
}

impl<'a> Watch<'a> {
    /// Returns a watch that looks at a flag alone.
    #[must_use]
    pub fn silent(interrupted: &'a AtomicBool) -> Watch<'a> {
        Watch { interrupted, refitted: &|_| {} }
    }
}

/// What inference needs besides the fit and its options.
pub struct Context<'a> {
    /// The digest of the sweep's key, on which random numbers depend.
    pub key_digest: &'a [u8; 32],
    /// How the caller follows replicates and ends them.
    pub watch: Watch<'a>,
    /// The workspaces of other threads, among which refits are divided.
    pub workspaces: &'a Workspaces,
    /// The workspace of this thread.
    pub workspace: &'a mut Workspace,
}

/// A flag that nobody sets.
static NEVER: AtomicBool = AtomicBool::new(false);

impl<'a> Context<'a> {
    /// Returns the context of a sweep without a key, whose replicates nobody follows.
    #[must_use]
    pub fn silent(workspaces: &'a Workspaces, workspace: &'a mut Workspace) -> Context<'a> {
        Context { key_digest: &[0; 32], watch: Watch::silent(&NEVER), workspaces, workspace }
    }
}
