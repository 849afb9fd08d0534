//! Messages over a socket: the length, and the message in postcard. Bytes of tensors are in shared memory (see `memory`).
//!
//! The host's side waits with patience: it looks for Ctrl-C ten times a second, and gives up on a child that has
//! said nothing for too long. A plugin that computes on its own is silent too, so the limit is generous.

use espalier_base::interrupt;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::OnceLock,
    time::{Duration, Instant},
};

/// How often a waiting host looks for Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);

/// The most bytes of a message: a selector asks for the likelihoods of many documents at once.
const MAX_MESSAGE: usize = 1 << 30;

/// Memory that is taken before as much of a message has arrived.
const CHUNK: usize = 1 << 24;

/// Why nothing more can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The other side is gone.
    Closed,
    /// It said nothing for so long.
    Silent(Duration),
    /// The run was interrupted.
    Interrupted,
    /// Its output is not a message, or no message that fits.
    Garbled(String),
}

/// One end of the socket.
pub(super) struct Channel {
    stream: UnixStream,
    patience: Option<Duration>,
    /// Once broken, a channel stays so.
    broken: OnceLock<Broken>,
}

impl Channel {
    /// The host's end.
    pub(super) fn patient(stream: UnixStream, patience: Duration) -> io::Result<Self> {
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(LOOK))?;
        Ok(Self { stream, patience: Some(patience), broken: OnceLock::new() })
    }

    /// The child's end, which waits for as long as the host lives.
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, patience: None, broken: OnceLock::new() }
    }

    /// Sends a message.
    pub(super) fn send<M: Serialize>(&self, message: &M) -> Result<(), Broken> {
        self.lasting(|| {
            let mut frame =
                postcard::to_extend(message, vec![0; 4]).map_err(|e| Broken::Garbled(e.to_string()))?;
            let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
            frame[..4].copy_from_slice(&length.to_le_bytes());
            self.write(&frame)
        })
    }

    /// Waits for a message.
    pub(super) fn receive<M: DeserializeOwned>(&self) -> Result<M, Broken> {
        self.lasting(|| {
            let mut length = [0; 4];
            self.read(&mut length)?;
            let length = u32::from_le_bytes(length) as usize;
            if length > MAX_MESSAGE {
                return Err(Broken::Garbled(format!("a message of {length} bytes")));
            }
            let mut message = Vec::new();
            while message.len() < length {
                let from = message.len();
                message.resize(length.min(from + CHUNK), 0);
                self.read(&mut message[from..])?;
            }
            postcard::from_bytes(&message).map_err(|e| Broken::Garbled(e.to_string()))
        })
    }

    /// Tells the other side that nothing more will come.
    pub(super) fn close(&self) {
        // One that is closed already is no trouble.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    fn lasting<T>(&self, exchange: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
        if let Some(broken) = self.broken.get() {
            return Err(broken.clone());
        }
        exchange().inspect_err(|broken| {
            let _ = self.broken.set(broken.clone());
        })
    }

    fn read(&self, mut buffer: &mut [u8]) -> Result<(), Broken> {
        let mut since = Instant::now();
        while !buffer.is_empty() {
            match (&self.stream).read(buffer) {
                Ok(0) => return Err(Broken::Closed),
                Ok(count) => {
                    buffer = &mut buffer[count..];
                    since = Instant::now();
                }
                Err(error) => self.bear(&error, since)?,
            }
        }
        Ok(())
    }

    fn write(&self, mut bytes: &[u8]) -> Result<(), Broken> {
        let mut since = Instant::now();
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(0) => return Err(Broken::Closed),
                Ok(count) => {
                    bytes = &bytes[count..];
                    since = Instant::now();
                }
                Err(error) => self.bear(&error, since)?,
            }
        }
        Ok(())
    }

    /// Whether to try again after this.
    fn bear(&self, error: &io::Error, since: Instant) -> Result<(), Broken> {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        if !matches!(error.kind(), WouldBlock | TimedOut | Interrupted) {
            return Err(Broken::Closed);
        }
        let Some(patience) = self.patience else { return Ok(()) };
        interrupt::check().map_err(|_| Broken::Interrupted)?;
        if since.elapsed() > patience { Err(Broken::Silent(patience)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(patience: Duration) -> (Channel, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Channel::patient(ours, patience).unwrap(), theirs)
    }

    #[test]
    fn messages_arrive() {
        let (host, child) = pair(Duration::from_secs(60));
        let child = Channel::new(child);
        let text = "long".repeat(1 << 20);
        std::thread::scope(|scope| {
            scope.spawn(|| host.send(&(1u8, &text)).unwrap());
            assert_eq!(child.receive::<(u8, String)>(), Ok((1, text.clone())));
        });
    }

    #[test]
    fn silence_ends_and_stays() {
        let (host, mut child) = pair(Duration::from_millis(150));
        let silent = Broken::Silent(Duration::from_millis(150));
        assert_eq!(host.receive::<u8>(), Err(silent.clone()));
        child.write_all(&[1, 0, 0, 0, 9]).unwrap();
        assert_eq!(host.receive::<u8>(), Err(silent));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, expected) in [(&[0xff; 4][..], "a message of"), (&[1, 0, 0, 0, 0xff], "")] {
            let (host, mut child) = pair(Duration::from_secs(60));
            child.write_all(bytes).unwrap();
            let error = host.receive::<bool>().unwrap_err();
            assert!(matches!(&error, Broken::Garbled(what) if what.contains(expected)), "{error:?}");
        }
    }
}
