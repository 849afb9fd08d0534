//! The device at the border: the host's service on one side, the plugin's on the other.

use super::{
    AbiResult, guard,
    kernel::{KernelAbi, pack_kernel, unpack_kernel},
    plain,
    types::{OpAbi, dtype_from},
};
use crate::{
    DType, DeviceKind, Result,
    service::{DeviceService, KernelCall, Op, Packed, TensorId},
};
use abi_stable::{
    sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, RSlice, RString, RVec},
};
use std::sync::Arc;

/// [`DeviceService`] with a stable layout. A new operation of a device changes nothing here: operations cross as their
/// names, tensors and numbers, and a host that does not know one answers that it is not supported.
#[sabi_trait]
pub trait DeviceAbi: Send + Sync {
    fn name(&self) -> RString;
    fn is_gpu(&self) -> bool;
    fn create(&self, dtype: u32, rows: u64, cols: u64) -> AbiResult<u64>;
    fn upload(&self, dtype: u32, rows: u64, cols: u64, bytes: RSlice<'_, u8>) -> AbiResult<u64>;
    fn read(&self, tensor: u64) -> AbiResult<RVec<u8>>;
    fn free(&self, tensor: u64);
    fn execute(&self, op: OpAbi<'_>, out: u64) -> AbiResult<()>;
    #[sabi(last_prefix_field)]
    fn run(
        &self,
        kernel: KernelAbi<'_>,
        bindings: RSlice<'_, u64>,
        params: RSlice<'_, u8>,
        workgroups: u32,
    ) -> AbiResult<()>;
}

/// A device as it crosses the border.
pub type DeviceBox = DeviceAbi_TO<'static, RBox<()>>;

/// Packs the host's device for a plugin.
pub(super) fn pack(service: Arc<dyn DeviceService>) -> DeviceBox {
    DeviceAbi_TO::from_value(ExportedDevice(service), TD_Opaque)
}

/// Unpacks a device in a plugin.
pub(super) fn unpack(device: DeviceBox) -> Arc<dyn DeviceService> {
    Arc::new(ImportedDevice(device))
}

/// The host's end: takes stable types, calls the plain trait.
struct ExportedDevice(Arc<dyn DeviceService>);

impl DeviceAbi for ExportedDevice {
    fn name(&self) -> RString {
        guard(|| Ok(self.0.name().into())).unwrap_or_default()
    }

    fn is_gpu(&self) -> bool {
        self.0.kind() == DeviceKind::Gpu
    }

    fn create(&self, dtype: u32, rows: u64, cols: u64) -> AbiResult<u64> {
        guard(|| self.0.create(dtype_from(dtype)?, rows as usize, cols as usize))
    }

    fn upload(&self, dtype: u32, rows: u64, cols: u64, bytes: RSlice<'_, u8>) -> AbiResult<u64> {
        guard(|| self.0.upload(dtype_from(dtype)?, rows as usize, cols as usize, bytes.as_slice()))
    }

    fn read(&self, tensor: u64) -> AbiResult<RVec<u8>> {
        guard(|| Ok(self.0.read(tensor)?.into()))
    }

    fn free(&self, tensor: u64) {
        // A failure to free has nobody to be told: the tensor is gone either way.
        let _ = guard(|| {
            self.0.free(tensor);
            Ok(())
        });
    }

    fn execute(&self, op: OpAbi<'_>, out: u64) -> AbiResult<()> {
        guard(|| self.0.execute(op.unpack()?, out))
    }

    fn run(
        &self,
        kernel: KernelAbi<'_>,
        bindings: RSlice<'_, u64>,
        params: RSlice<'_, u8>,
        workgroups: u32,
    ) -> AbiResult<()> {
        guard(|| {
            unpack_kernel(kernel, |kernel| {
                self.0.run(kernel, bindings.as_slice(), params.as_slice(), workgroups)
            })
        })
    }
}

/// The plugin's end: offers the plain trait, calls through stable types.
struct ImportedDevice(DeviceBox);

impl DeviceService for ImportedDevice {
    fn name(&self) -> String {
        self.0.name().into()
    }

    fn kind(&self) -> DeviceKind {
        if self.0.is_gpu() { DeviceKind::Gpu } else { DeviceKind::Cpu }
    }

    fn create(&self, dtype: DType, rows: usize, cols: usize) -> Result<TensorId> {
        plain(self.0.create(dtype.code(), rows as u64, cols as u64))
    }

    fn upload(&self, dtype: DType, rows: usize, cols: usize, bytes: &[u8]) -> Result<TensorId> {
        plain(self.0.upload(dtype.code(), rows as u64, cols as u64, bytes.into()))
    }

    fn read(&self, tensor: TensorId) -> Result<Vec<u8>> {
        plain(self.0.read(tensor)).map(RVec::into_vec)
    }

    fn free(&self, tensor: TensorId) {
        self.0.free(tensor);
    }

    fn execute(&self, op: Op<TensorId>, out: TensorId) -> Result<()> {
        let Packed { name, tensors, numbers } = op.pack();
        let op = OpAbi {
            name: name.into(),
            tensors: tensors.as_slice().into(),
            numbers: numbers.as_slice().into(),
        };
        plain(self.0.execute(op, out))
    }

    fn run(&self, kernel: &KernelCall, bindings: &[TensorId], params: &[u8], workgroups: u32) -> Result<()> {
        pack_kernel(kernel, |kernel| plain(self.0.run(kernel, bindings.into(), params.into(), workgroups)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Error};
    use std::sync::Mutex;

    /// A device that notes what it is asked to compute.
    #[derive(Default)]
    struct Notes(Mutex<Vec<(Op<TensorId>, TensorId)>>);

    impl DeviceService for Notes {
        fn name(&self) -> String {
            "notes".to_owned()
        }

        fn kind(&self) -> DeviceKind {
            DeviceKind::Cpu
        }

        fn create(&self, _: DType, _: usize, _: usize) -> Result<TensorId> {
            Ok(1)
        }

        fn upload(&self, _: DType, _: usize, _: usize, _: &[u8]) -> Result<TensorId> {
            Ok(1)
        }

        fn read(&self, _: TensorId) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }

        fn free(&self, _: TensorId) {}

        fn execute(&self, op: Op<TensorId>, out: TensorId) -> Result<()> {
            self.0.lock().unwrap().push((op, out));
            Ok(())
        }

        fn run(&self, _: &KernelCall, _: &[TensorId], _: &[u8], _: u32) -> Result<()> {
            Err(Error::invalid("it runs no kernels"))
        }
    }

    #[test]
    fn operations_cross_as_they_are() {
        let notes = Arc::new(Notes::default());
        let device = unpack(pack(notes.clone()));
        let op = Op::KthSmallest { scores: 5.into(), within: crate::Within::EachRow, k: 7 };
        device.execute(op.clone(), 9).unwrap();
        assert_eq!(*notes.0.lock().unwrap(), [(op, 9)]);
    }

    #[test]
    fn an_operation_that_this_version_lacks_is_named() {
        let device = pack(Arc::new(Notes::default()));
        let op = OpAbi { name: "softmax".into(), tensors: [1u64].as_slice().into(), numbers: RSlice::EMPTY };
        let error = plain(device.execute(op, 2)).unwrap_err();
        assert_eq!(error.code, Code::Unsupported);
        assert_eq!(error.message, "the operation `softmax` is not supported");
    }
}
