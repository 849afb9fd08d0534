//! Plugins that run in a process of their own, so that a crash, an abort or an endless loop in one is an error
//! here and not the end of the run. This isolates faults; it is no sandbox.
//!
//! The child is this binary again, under the hidden command `COMMAND`. It loads the library; its standard input is one end
//! of a socket over which both sides send messages (see `channel`), and its standard output the memory that both share for
//! the bytes of tensors (see `memory`). The device stays with the host: what a plugin asks of it is a request in the child
//! (see `forward`) and a call of the host's [`DeviceService`](espalier_sdk::service::DeviceService) here (see `serve`). A
//! kernel's CPU twin runs in the child, on copies of its buffers in the shared memory.

mod apart;
mod channel;
mod child;
mod forward;
mod memory;
mod message;
mod process;
mod selection;
mod serve;

pub(super) use apart::{Apart, Place};
pub use child::main as child_main;
pub(super) use process::Process;

/// The hidden command that the child is started with.
pub(crate) const COMMAND: &str = "plugin-process";
