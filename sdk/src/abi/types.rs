//! Structures with a stable layout that several parts of the FFI boundary use.

use crate::{
    Code, DType, Error, Result,
    service::{Op, TensorId, UnpackError},
};
use abi_stable::{
    StableAbi,
    std_types::{RSlice, RStr},
};

pub(super) fn dtype_from(code: u32) -> Result<DType> {
    DType::from_code(code).ok_or_else(|| {
        Error::new(Code::Unsupported, format!("element type number {code} is not supported by this version"))
    })
}

/// [`Op`] with a stable layout, taken apart and borrowed for the call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct OpAbi<'a> {
    pub(super) name: RStr<'a>,
    pub(super) tensors: RSlice<'a, u64>,
    pub(super) numbers: RSlice<'a, u64>,
}

impl OpAbi<'_> {
    /// # Errors
    /// This version does not know the operation.
    pub(super) fn unpack(self) -> Result<Op<TensorId>> {
        Ok(Op::unpack(self.name.as_str(), self.tensors.as_slice(), self.numbers.as_slice())?)
    }
}

impl From<UnpackError> for Error {
    fn from(error: UnpackError) -> Self {
        Self::new(Code::Unsupported, error.to_string())
    }
}
