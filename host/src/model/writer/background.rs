//! Shards are written on a thread of their own, while the next layer is pruned.

use super::{WriteError, shard::OpenShard};
use crate::profile;
use bytes::Bytes;
use std::{
    panic,
    path::Path,
    sync::mpsc::{self, Receiver, SyncSender},
    thread::{self, JoinHandle},
};

/// How many tensors may be on their way at one time: one that is being written, and one that waits for it.
pub const IN_FLIGHT: usize = 2;

/// Bytes of a tensor, and where they go.
struct Tensor {
    shard: usize,
    /// Where they are in the source's shard.
    start: usize,
    bytes: Bytes,
}

/// A thread that fills shards. What it is given is written in that order; dropped, it ends first.
pub(super) struct Background(Option<Running>);

struct Running {
    queue: SyncSender<Tensor>,
    thread: JoinHandle<Result<Vec<OpenShard>, WriteError>>,
}

impl Background {
    /// Starts to fill shards, which are in this folder.
    pub(super) fn start(shards: Vec<OpenShard>, folder: &Path) -> Result<Self, WriteError> {
        let (queue, tensors) = mpsc::sync_channel(IN_FLIGHT - 1);
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || fill(shards, tensors));
        let thread = thread.map_err(|source| WriteError::Write { path: folder.to_owned(), source })?;
        Ok(Self(Some(Running { queue, thread })))
    }

    /// Writes bytes at the place that they have in the source, later. An error of something before is returned here.
    pub(super) fn write(&mut self, shard: usize, start: usize, bytes: Bytes) -> Result<(), WriteError> {
        let Some(running) = &self.0 else { return Err(WriteError::Failed) };
        let sent = {
            let _wait = profile::wait("wait for the disk");
            running.queue.send(Tensor { shard, start, bytes })
        };
        // Nobody receives any more where the thread has ended before its time.
        if sent.is_err() { self.finish().and(Err(WriteError::Failed)) } else { Ok(()) }
    }

    /// Waits until everything is written.
    pub(super) fn finish(&mut self) -> Result<Vec<OpenShard>, WriteError> {
        let Some(Running { queue, thread }) = self.0.take() else { return Err(WriteError::Failed) };
        drop(queue);
        let _wait = profile::wait("wait for the disk");
        thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(Running { queue, thread }) = self.0.take() {
            drop(queue);
            // Nobody wants what it wrote, nor to know why it did not.
            let _ = thread.join();
        }
    }
}

/// Fills shards until there is nothing more to come.
fn fill(mut shards: Vec<OpenShard>, tensors: Receiver<Tensor>) -> Result<Vec<OpenShard>, WriteError> {
    profile::background("writer");
    for Tensor { shard, start, bytes } in tensors {
        shards[shard].write_at(start, &bytes)?;
    }
    Ok(shards)
}
