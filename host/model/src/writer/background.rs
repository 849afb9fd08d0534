//! The output is written on a thread of its own, while the next layer is pruned.

use super::{
    WriteError,
    disk::{self, write_error},
    partial::{Journal, Partial},
    shard::OpenShard,
};
use bytes::Bytes;
use espalier_base::profile;
use std::{
    fs::File,
    io::Write,
    panic,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, SyncSender},
    thread::{self, JoinHandle},
};

/// How many tensors may be on their way at one time: one that is being written, and one that waits for it.
pub const IN_FLIGHT: usize = 2;

/// The tasks of the thread, which it does in order.
enum WriteTask {
    /// Writes bytes of a tensor, at the place that they have in the source's shard.
    Tensor { shard: usize, start: usize, bytes: Bytes },
    /// Writes a file beside the output.
    File { path: PathBuf, bytes: Bytes },
    /// Appends hidden states to the file of those that enter a block.
    Hidden { path: PathBuf, bytes: Bytes },
    /// Brings all tensors before it to the disk, then appends a line to the journal.
    Tensors { line: String },
    /// Brings the hidden states that enter a block to the disk, appends a line to the journal, and removes older ones.
    HiddenStates { block: usize, line: String },
    /// Answers when everything before it is done.
    Flush(SyncSender<()>),
}

/// A thread that fills shards. What it is given is written in that order; dropped, it ends first.
pub(super) struct Background(Option<Running>);

struct Running {
    queue: SyncSender<WriteTask>,
    thread: JoinHandle<Result<Written, WriteError>>,
}

/// The result of the thread.
pub(super) struct Written {
    pub(super) shards: Vec<OpenShard>,
    pub(super) journal: Journal,
}

impl Background {
    /// Starts to fill shards and the journal of an unfinished output in `folder`.
    pub(super) fn start(shards: Vec<OpenShard>, journal: Journal, folder: &Path) -> Result<Self, WriteError> {
        let (queue, tasks) = mpsc::sync_channel(IN_FLIGHT - 1);
        let writer = Writer { written: Written { shards, journal }, root: folder.to_owned(), hidden: None };
        let thread = thread::Builder::new().name("writer".to_owned()).spawn(move || writer.run(tasks));
        let thread = thread.map_err(write_error(folder))?;
        Ok(Self(Some(Running { queue, thread })))
    }

    /// Writes bytes at the place that they have in the source, later. An error of something before is returned here.
    pub(super) fn write(&mut self, shard: usize, start: usize, bytes: Bytes) -> Result<(), WriteError> {
        self.send(WriteTask::Tensor { shard, start, bytes })
    }

    /// Writes a file beside the output, later.
    pub(super) fn write_file(&mut self, path: PathBuf, bytes: Bytes) -> Result<(), WriteError> {
        self.send(WriteTask::File { path, bytes })
    }

    /// Appends hidden states to a file, later. Where that fails, they are not kept, which is not an error.
    pub(super) fn write_hidden(&mut self, path: PathBuf, bytes: Bytes) -> Result<(), WriteError> {
        self.send(WriteTask::Hidden { path, bytes })
    }

    /// Brings the tensors to the disk and then a line to the journal, later.
    pub(super) fn mark(&mut self, line: String) -> Result<(), WriteError> {
        self.send(WriteTask::Tensors { line })
    }

    /// Brings the hidden states that enter a block to the disk and then a line to the journal, later.
    pub(super) fn mark_hidden(&mut self, block: usize, line: String) -> Result<(), WriteError> {
        self.send(WriteTask::HiddenStates { block, line })
    }

    /// Waits until everything so far is written.
    pub(super) fn flush(&mut self) -> Result<(), WriteError> {
        let (answer, done) = mpsc::sync_channel(1);
        self.send(WriteTask::Flush(answer))?;
        if done.recv().is_err() { self.finish().and(Err(WriteError::Failed)) } else { Ok(()) }
    }

    fn send(&mut self, task: WriteTask) -> Result<(), WriteError> {
        let Some(running) = &self.0 else { return Err(WriteError::Failed) };
        let sent = {
            let _wait = profile::wait("wait for the disk");
            running.queue.send(task)
        };
        // Nobody receives any more where the thread has ended before its time.
        if sent.is_err() { self.finish().and(Err(WriteError::Failed)) } else { Ok(()) }
    }

    /// Waits until everything is written.
    pub(super) fn finish(&mut self) -> Result<Written, WriteError> {
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
            // Its result is not needed, and neither is its error.
            let _ = thread.join();
        }
    }
}

/// The thread's own state.
struct Writer {
    written: Written,
    /// The folder of the unfinished output.
    root: PathBuf,
    /// The file of hidden states that is being filled; an error where it could not be.
    hidden: Option<Result<File, ()>>,
}

impl Writer {
    /// Works until there is nothing more to come.
    fn run(mut self, tasks: Receiver<WriteTask>) -> Result<Written, WriteError> {
        profile::background("writer");
        for task in tasks {
            match task {
                WriteTask::Tensor { shard, start, bytes } => {
                    self.written.shards[shard].write_at(start, &bytes)?
                }
                WriteTask::File { path, bytes } => {
                    let _span = profile::disk("write low-rank part", bytes.len());
                    let written = File::create(&path).and_then(|mut file| {
                        file.write_all(&bytes)?;
                        file.sync_data()
                    });
                    let synced = written.and_then(|()| disk::sync_folder(&self.root));
                    synced.map_err(write_error(&path))?;
                }
                WriteTask::Hidden { path, bytes } => self.append_hidden(&path, &bytes),
                WriteTask::Tensors { line } => {
                    for shard in &mut self.written.shards {
                        shard.sync()?;
                    }
                    self.written.journal.append(&line)?;
                }
                WriteTask::HiddenStates { block, line } => {
                    if self.sync_hidden() {
                        self.written.journal.append(&line)?;
                        Partial::forget_hidden(&self.root, Some(block));
                    }
                }
                // Nobody waits where the run ended meanwhile.
                WriteTask::Flush(answer) => drop(answer.send(())),
            }
        }
        Ok(self.written)
    }

    /// A run continues without its hidden states: only time is lost, if it has to be continued.
    fn append_hidden(&mut self, path: &Path, bytes: &[u8]) {
        let _span = profile::disk("keep hidden states", bytes.len());
        let file =
            self.hidden.get_or_insert_with(|| File::create(path).map_err(|error| not_kept(path, &error)));
        if let Ok(open) = file
            && let Err(error) = open.write_all(bytes)
        {
            not_kept(path, &error);
            *file = Err(());
            let _ = std::fs::remove_file(path);
        }
    }

    /// Whether the hidden states that were written are on the disk.
    fn sync_hidden(&mut self) -> bool {
        let _span = profile::disk("sync hidden states", 0);
        match self.hidden.take() {
            Some(Ok(file)) => {
                let synced = file.sync_data().and_then(|()| disk::sync_folder(&self.root));
                synced.map_err(|error| not_kept(&self.root, &error)).is_ok()
            }
            _ => false,
        }
    }
}

fn not_kept(path: &Path, error: &std::io::Error) {
    tracing::warn!(
        "the hidden states are not kept in {} ({error}): a run that is continued computes them again",
        path.display()
    );
}
