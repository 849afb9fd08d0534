//! Errors at the border.

use crate::{Code, Error};
use abi_stable::{
    StableAbi,
    std_types::{RString, RVec},
};

/// [`Error`] with a stable layout.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct ErrorAbi {
    code: u32,
    message: RString,
    context: RVec<RString>,
}

impl From<Error> for ErrorAbi {
    fn from(error: Error) -> Self {
        Self {
            code: Code::ALL.iter().position(|&code| code == error.code).unwrap_or(Code::ALL.len()) as u32,
            message: error.message.into(),
            context: error.context.into_iter().map(RString::from).collect(),
        }
    }
}

impl From<ErrorAbi> for Error {
    fn from(error: ErrorAbi) -> Self {
        Self {
            code: Code::ALL.get(error.code as usize).copied().unwrap_or(Code::Other),
            message: bounded(error.message),
            context: error.context.into_iter().take(MAX_TEXTS).map(bounded).collect(),
        }
    }
}

/// The most bytes of a text that is taken from the other side of the border.
const MAX_TEXT: usize = 4096;

/// The most texts of a list.
pub(super) const MAX_TEXTS: usize = 64;

/// A text from the other side of the border, cut where it is longer than anybody would read.
pub(super) fn bounded(text: RString) -> String {
    let mut text = text.into_string();
    if text.len() > MAX_TEXT {
        let length = text.len();
        let end = (0..=MAX_TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text += &format!(" … (cut: {length} bytes)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_survive_the_border() {
        for code in Code::ALL {
            let error = Error::new(code, "no").context("inner").context("outer");
            assert_eq!(Error::from(ErrorAbi::from(error.clone())), error);
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = Error::invalid("ü".repeat(100_000)).context("c".repeat(5000));
        let cut = Error::from(ErrorAbi::from(long));
        assert!(cut.message.len() < MAX_TEXT + 40 && cut.message.ends_with("(cut: 200000 bytes)"), "{cut}");
        assert!(cut.context[0].len() < MAX_TEXT + 40);
        let exact = Error::invalid("x".repeat(MAX_TEXT));
        assert_eq!(Error::from(ErrorAbi::from(exact.clone())), exact);
    }
}
