//! SHA-256: of what is read, in hex.

use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// A hash in hex.
pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of some bytes, in hex.
pub fn of(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

/// The hash of bytes that come one after the other.
#[derive(Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything, in hex.
    pub fn hex(self) -> String {
        hex(self.0)
    }
}

/// A reader that hashes what goes by.
#[derive(Debug)]
pub struct Hashed<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Hashed<R> {
    /// Hashes everything that is read from `from`.
    pub fn new(from: R) -> Self {
        Self { from, hash: Sha256::new() }
    }

    /// The hash of everything, in hex; what was not read yet is read for it.
    pub fn finish(mut self) -> io::Result<String> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(hex(self.hash)),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
