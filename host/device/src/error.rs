//! Errors of devices.

use espalier_base::interrupt::Interrupted;
use espalier_ops::OperandError;

/// The result of device operations.
pub type Result<T, E = DeviceError> = std::result::Result<T, E>;

/// Errors of devices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No adapter fits what was asked for.
    #[error("{0}")]
    NoAdapter(String),
    /// An adapter was found, but it does not open.
    #[error("the adapter `{adapter}` does not open")]
    Open {
        /// The adapter's name.
        adapter: String,
        /// Why.
        #[source]
        source: Box<wgpu::RequestDeviceError>,
    },
    /// Operands that do not fit an operation.
    #[error("{operation}: {reason}")]
    Operand {
        /// The operation.
        operation: &'static str,
        /// The operand, and what fits.
        reason: OperandError,
    },
    /// A tensor of another kind of device.
    #[error("a tensor of another device was given to this one")]
    OtherDevice,
    /// Something an operation cannot do.
    #[error("{operation}: {message}")]
    Invalid {
        /// The operation.
        operation: &'static str,
        /// The problem, and what to do.
        message: String,
    },
    /// A Cholesky factorisation met a pivot that is not positive.
    #[error("the matrix is not positive definite: pivot {pivot} is {value}")]
    NotPositiveDefinite {
        /// The row and column.
        pivot: usize,
        /// The pivot's value.
        value: f32,
    },
    /// A matrix without a decomposition.
    #[error("the matrix has no eigenvalues: an entry is NaN or infinite")]
    NoDecomposition,
    /// The device cannot do what it is asked for.
    #[error("{0}")]
    Unsupported(String),
    /// The device has no memory left.
    #[error("the device has no memory left for {what} ({bytes} bytes)")]
    OutOfMemory {
        /// The purpose of the memory.
        what: String,
        /// How much it was.
        bytes: u64,
    },
    /// The driver refused or failed at something.
    #[error("{operation} failed on the device: {message}")]
    Failed {
        /// The operation, or the kernel.
        operation: String,
        /// The driver's message.
        message: String,
    },
    /// The device is gone.
    #[error("{operation}: the device was lost: {message}")]
    Lost {
        /// The operation, or the kernel, that found it gone.
        operation: String,
        /// The driver's message.
        message: String,
    },
    /// Work on the device does not end.
    #[error(
        "{operation}: the device has not answered for {seconds} s, with these kernels handed over last: {kernels}; a larger \
         limit is set with ESPALIER_DEVICE_TIMEOUT, in seconds"
    )]
    Hung {
        /// The operation that waited.
        operation: String,
        /// How long.
        seconds: u64,
        /// The names of the kernels that were handed over last, the latest first.
        kernels: String,
    },
    /// The run was interrupted while it waited for the device.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl DeviceError {
    /// Adds the operation to what is wrong with its operands.
    pub(super) fn operand(operation: &'static str) -> impl Fn(OperandError) -> Self {
        move |reason| Self::Operand { operation, reason }
    }
}

impl From<DeviceError> for espalier_sdk::Error {
    fn from(error: DeviceError) -> Self {
        use espalier_sdk::Code;
        let code = match &error {
            DeviceError::Operand { .. } | DeviceError::OtherDevice | DeviceError::Invalid { .. } => {
                Code::InvalidInput
            }
            DeviceError::NotPositiveDefinite { .. } | DeviceError::NoDecomposition => Code::Numeric,
            DeviceError::Unsupported(_) => Code::Unsupported,
            DeviceError::OutOfMemory { .. } => Code::OutOfMemory,
            DeviceError::NoAdapter(_)
            | DeviceError::Open { .. }
            | DeviceError::Failed { .. }
            | DeviceError::Lost { .. }
            | DeviceError::Hung { .. }
            | DeviceError::Interrupted(_) => Code::Device,
        };
        let mut causes = espalier_base::cause::causes(&error);
        let innermost = causes.pop().unwrap_or_default();
        causes.into_iter().rev().fold(Self::new(code, innermost), Self::context)
    }
}
