//! Frames over a socket: the lengths of a message and of its payload, the message in postcard, the payload as it
//! is.
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

/// The most bytes of a message; what may be longer is a payload.
const MAX_MESSAGE: usize = 1 << 24;

/// Payload memory that is taken before as much has arrived.
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

    /// Sends a message with a payload, given in parts.
    pub(super) fn send<M: Serialize>(&self, message: &M, payload: &[&[u8]]) -> Result<(), Broken> {
        self.lasting(|| {
            let mut frame = vec![0; 12];
            frame = postcard::to_extend(message, frame).map_err(|e| Broken::Garbled(e.to_string()))?;
            let length = u32::try_from(frame.len() - 12).unwrap_or(u32::MAX);
            let bytes: u64 = payload.iter().map(|part| part.len() as u64).sum();
            frame[..4].copy_from_slice(&length.to_le_bytes());
            frame[4..12].copy_from_slice(&bytes.to_le_bytes());
            self.write(&frame)?;
            payload.iter().try_for_each(|part| self.write(part))
        })
    }

    /// Waits for a message and its payload.
    pub(super) fn receive<M: DeserializeOwned>(&self) -> Result<(M, Vec<u8>), Broken> {
        self.lasting(|| {
            let mut lengths = [0; 12];
            self.read(&mut lengths)?;
            let [a, b, c, d, rest @ ..] = lengths;
            let (length, bytes) = (u32::from_le_bytes([a, b, c, d]) as usize, u64::from_le_bytes(rest));
            if length > MAX_MESSAGE {
                return Err(Broken::Garbled(format!("a message of {length} bytes")));
            }
            let mut message = vec![0; length];
            self.read(&mut message)?;
            let message = postcard::from_bytes(&message).map_err(|e| Broken::Garbled(e.to_string()))?;
            let mut payload = Vec::new();
            while (payload.len() as u64) < bytes {
                let from = payload.len();
                let more = (bytes - from as u64).min(CHUNK as u64) as usize;
                payload.resize(from + more, 0);
                self.read(&mut payload[from..])?;
            }
            Ok((message, payload))
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
    fn messages_arrive_with_their_payloads() {
        let (host, child) = pair(Duration::from_secs(60));
        let child = Channel::new(child);
        let payload = vec![7u8; 3 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| host.send(&(1u8, "a"), &[&payload, b"end"]).unwrap());
            let ((number, text), bytes) = child.receive::<(u8, String)>().unwrap();
            assert_eq!((number, text.as_str(), bytes.len()), (1, "a", payload.len() + 3));
            assert!(bytes.ends_with(b"\x07end"));
        });
    }

    #[test]
    fn silence_ends_and_stays() {
        let (host, mut child) = pair(Duration::from_millis(150));
        let silent = Broken::Silent(Duration::from_millis(150));
        assert_eq!(host.receive::<u8>(), Err(silent.clone()));
        child.write_all(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]).unwrap();
        assert_eq!(host.receive::<u8>(), Err(silent));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, expected) in
            [(vec![0xff; 12], "a message of"), (vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff], "")]
        {
            let (host, mut child) = pair(Duration::from_secs(60));
            child.write_all(&bytes).unwrap();
            let error = host.receive::<bool>().unwrap_err();
            assert!(matches!(&error, Broken::Garbled(what) if what.contains(expected)), "{error:?}");
        }
    }

    #[test]
    fn a_lying_length_takes_no_memory() {
        let (host, mut child) = pair(Duration::from_secs(60));
        let mut frame = vec![1, 0, 0, 0];
        frame.extend((1u64 << 60).to_le_bytes());
        frame.push(1);
        child.write_all(&frame).unwrap();
        drop(child);
        assert_eq!(host.receive::<bool>(), Err(Broken::Closed));
    }
}
