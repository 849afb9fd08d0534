//! The child, as the host sees it.

use super::{
    COMMAND,
    channel::{Broken, Channel},
    memory::Memory,
    message::{ChildAnswer, FromChild, ToChild},
    selection::Offered,
    serve::serve,
};
use espalier_sdk::{Code, Error, LibraryInfo, Result, message::HostService, service::DeviceService};
use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a child may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a method or selector may call while it works.
#[derive(Clone, Copy)]
pub(super) struct Called<'a> {
    pub(super) host: &'a dyn HostService,
    pub(super) device: &'a dyn DeviceService,
    pub(super) offered: Option<Offered<'a>>,
}

/// A child with an open library. It ends with the value.
pub(crate) struct Process {
    child: Child,
    link: Link,
    library: PathBuf,
}

/// The host's ends of what it shares with a child.
pub(super) struct Link {
    pub(super) channel: Channel,
    pub(super) memory: Memory,
}

impl Process {
    /// Starts a child and has it open a library, which must have this hash.
    ///
    /// # Errors
    /// The child does not start, or the library does not open in it.
    pub(crate) fn open(
        library: &Path,
        sha256: &str,
        patience: Duration,
    ) -> Result<(Self, (u16, u16), LibraryInfo)> {
        let mut process = Self::start(library, sha256, patience).map_err(|error| {
            Error::new(Code::Other, format!("a plugin process cannot be started: {error}"))
        })?;
        match process.wait(None)? {
            ChildAnswer::Library { interface, info } => {
                let info = serde_json::from_str(&info).map_err(|error| {
                    let library = library.display();
                    Error::invalid(format!("{library} describes itself in a way that does not fit: {error}"))
                })?;
                Ok((process, interface, info))
            }
            other => Err(unexpected(library, &other)),
        }
    }

    fn start(library: &Path, sha256: &str, patience: Duration) -> io::Result<Self> {
        let library = std::path::absolute(library)?;
        let (ours, theirs) = UnixStream::pair()?;
        let (memory, shared) = Memory::new()?;
        let child = Command::new(std::env::current_exe()?)
            .arg(COMMAND)
            .arg(&library)
            .arg(sha256)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(shared))
            // Ctrl-C in a terminal is for the host, which ends the child itself.
            .process_group(0)
            .spawn()?;
        let link = Link { channel: Channel::patient(ours, patience)?, memory };
        let process = Self { child, link, library };
        tracing::debug!("{}: plugin process {}", process.library.display(), process.child.id());
        Ok(process)
    }

    /// Asks for something and waits for it; meanwhile device and host do what the plugin asks of them.
    ///
    /// # Errors
    /// The plugin's error, or the end of the process: see [`Process::is_alive`].
    pub(super) fn call(&mut self, call: &ToChild, called: Option<Called>) -> Result<ChildAnswer> {
        if let Err(broken) = self.link.channel.send(call) {
            return Err(self.ended(&broken));
        }
        self.wait(called)
    }

    fn wait(&mut self, called: Option<Called>) -> Result<ChildAnswer> {
        self.converse(called).unwrap_or_else(|broken| Err(self.ended(&broken)))
    }

    fn converse(&self, called: Option<Called>) -> Result<Result<ChildAnswer>, Broken> {
        loop {
            match (self.link.channel.receive()?, called) {
                (FromChild::Done(outcome), _) => return Ok(outcome),
                (FromChild::Ask(request), Some(called)) => serve(&self.link, called, request)?,
                (FromChild::Free(tensor), Some(called)) => called.device.free(tensor),
                // A tensor that outlived its call was freed with the call.
                (FromChild::Free(_), None) => {}
                (other, _) => return Err(Broken::Garbled(format!("{other:?} out of turn"))),
            }
        }
    }

    /// Whether it can be asked again.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Why nothing more comes from the process, which is ended if it is not.
    fn ended(&mut self, broken: &Broken) -> Error {
        let what = match broken {
            Broken::Closed => match self.farewell() {
                Some(status) => how(status),
                None => "closed its connection and was stopped".to_owned(),
            },
            Broken::Silent(patience) => format!(
                "gave no sign of life for {} s and was stopped; --plugin-timeout sets how long it may compute",
                patience.as_secs()
            ),
            Broken::Interrupted => "was stopped: the run was interrupted".to_owned(),
            Broken::Garbled(message) => {
                let message: String = message.chars().take(200).collect();
                format!("sent something that is not a message and was stopped ({message})")
            }
        };
        // Both fail only for a process that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        Error::new(Code::Other, format!("the plugin process of {} {what}", self.library.display()))
    }

    /// Waits a moment for the child to end by itself.
    fn farewell(&mut self) -> Option<ExitStatus> {
        let since = Instant::now();
        while since.elapsed() < FAREWELL {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(2));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.link.channel.close();
        if self.farewell().is_none() {
            // Both fail only for a process that is gone.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub(super) fn unexpected(library: &Path, answer: &ChildAnswer) -> Error {
    let library = library.display();
    Error::new(
        Code::Other,
        format!("the plugin process of {library} answers with something else: {answer:?}"),
    )
}

/// How a process ended.
fn how(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return match status.code() {
            Some(code) => format!("ended itself with exit code {code}"),
            None => "ended".to_owned(),
        };
    };
    let name = match signal {
        4 => "SIGILL: an illegal instruction",
        6 => "SIGABRT: it aborted, or overflowed its stack",
        7 | 10 => "SIGBUS: memory that cannot be reached",
        8 => "SIGFPE: arithmetic",
        9 => "SIGKILL: it was killed, perhaps for want of memory",
        11 => "SIGSEGV: memory that it may not touch",
        15 => "SIGTERM: it was asked to end",
        _ => "a signal",
    };
    format!("crashed with signal {signal} ({name})")
}
