//! The CPU twins that are running, so that one that asks the device is told so and does not wait for itself.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

/// Running twins: their threads and their kernels' names, the last entered last.
#[derive(Default)]
pub(super) struct Twins(Mutex<Vec<(ThreadId, String)>>);

impl Twins {
    /// Notes that a kernel's twin runs on this thread, for as long as the answer lives.
    pub(super) fn enter(&self, kernel: &str) -> Running<'_> {
        let thread = thread::current().id();
        self.running().push((thread, kernel.to_owned()));
        Running { twins: self, thread }
    }

    /// The kernel whose twin runs on this thread.
    pub(super) fn on_this_thread(&self) -> Option<String> {
        let here = thread::current().id();
        self.running().iter().rev().find(|(thread, _)| *thread == here).map(|(_, kernel)| kernel.clone())
    }

    /// The kernel of any twin that runs.
    pub(super) fn any(&self) -> Option<String> {
        self.running().last().map(|(_, kernel)| kernel.clone())
    }

    fn running(&self) -> MutexGuard<'_, Vec<(ThreadId, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running twin.
pub(super) struct Running<'a> {
    twins: &'a Twins,
    thread: ThreadId,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut running = self.twins.running();
        if let Some(at) = running.iter().rposition(|(thread, _)| *thread == self.thread) {
            running.remove(at);
        }
    }
}
