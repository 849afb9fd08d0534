//! The error that crosses the plugin border.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of an error, for code that must tell errors apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Code {
    /// An argument, option or input file is not usable.
    InvalidInput,
    /// The other side of the border does not offer what was asked.
    Unsupported,
    /// The device failed or was lost.
    Device,
    /// The device or the host has no memory left.
    OutOfMemory,
    /// A number is NaN, infinite, or a matrix is not positive definite.
    Numeric,
    /// The code on the other side of the border panicked.
    Panic,
    /// Anything else.
    Other,
}

impl Code {
    pub(crate) const ALL: [Self; 7] = [
        Self::InvalidInput,
        Self::Unsupported,
        Self::Device,
        Self::OutOfMemory,
        Self::Numeric,
        Self::Panic,
        Self::Other,
    ];
}

/// An error with a code, a message, and the places it passed through, innermost first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Error {
    /// The kind of error.
    pub code: Code,
    /// The message: what happened, to what, and what to do.
    pub message: String,
    /// Where it happened, innermost first.
    pub context: Vec<String>,
}

/// The result of everything that can cross the plugin border.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), context: Vec::new() }
    }

    /// An argument, option or input file is not usable.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidInput, message)
    }

    /// Adds the place the error passed through.
    #[must_use]
    pub fn context(mut self, place: impl Into<String>) -> Self {
        self.context.push(place.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.context.iter().rev() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}
