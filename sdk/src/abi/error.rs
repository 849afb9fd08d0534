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
            message: error.message.into(),
            context: error.context.into_iter().map(RString::into_string).collect(),
        }
    }
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
}
