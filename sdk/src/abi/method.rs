//! Methods at the border.

use super::{
    AbiResult,
    device::{self, DeviceBox},
    error::{MAX_TEXTS, bounded},
    guard,
    host::{self, HostBox, ImportedHost},
    json::{from_json, to_json},
    plain,
};
use crate::{
    Block, Device, Error, Layer, Method, Model, Result, Run,
    message::{HostService, MethodAnswer, MethodCall},
    service::DeviceService,
};
use abi_stable::{
    sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, ROk, RStr, RString},
};
use std::{fmt, sync::Arc};

/// [`Method`] with a stable layout. Calls and answers are JSON, so that a new scope or a new field changes nothing here.
#[sabi_trait]
pub trait MethodAbi: Send + Sync {
    #[sabi(last_prefix_field)]
    fn call(&self, call: RStr<'_>, host: HostBox<'_>, device: DeviceBox) -> AbiResult<RString>;
    /// Ends the method: its destructor runs here, where a panic is an error.
    fn close(&mut self) -> AbiResult<()> {
        ROk(())
    }
}

/// A method as it crosses the border.
pub type MethodBox = MethodAbi_TO<'static, RBox<()>>;

/// Packs a plugin's method for the host.
pub(super) fn pack_method(method: Box<dyn Method>) -> MethodBox {
    MethodAbi_TO::from_value(MethodSide(Some(method)), TD_Opaque)
}

/// The plugin's end; empty once it is closed.
struct MethodSide(Option<Box<dyn Method>>);

impl MethodSide {
    /// Drops the method; its panic must not reach the border, where it would end the process.
    fn end(&mut self) -> AbiResult<()> {
        let method = self.0.take();
        guard(move || {
            drop(method);
            Ok(())
        })
    }
}

impl Drop for MethodSide {
    fn drop(&mut self) {
        // `close` tells the host of a panic; here nobody can be told.
        let _ = self.end();
    }
}

impl MethodAbi for MethodSide {
    fn call(&self, call: RStr<'_>, host: HostBox<'_>, device: DeviceBox) -> AbiResult<RString> {
        guard(|| {
            let method = self.0.as_deref();
            let method = method.ok_or_else(|| Error::invalid("the method has been closed"))?;
            let device = Device::new(device::unpack(device));
            let answer = answer(method, from_json(call.as_str())?, &ImportedHost(host), device)?;
            Ok(to_json(&answer)?.into())
        })
    }

    fn close(&mut self) -> AbiResult<()> {
        self.end()
    }
}

/// Does what the host asks.
fn answer(
    method: &dyn Method,
    call: MethodCall,
    host: &dyn HostService,
    device: Device,
) -> Result<MethodAnswer> {
    match call {
        MethodCall::Order => Ok(MethodAnswer::Order(method.order())),
        MethodCall::Layer { layer, seed } => {
            let run = Run::new(device, host, seed);
            let layer = Layer::lent(*layer, run.device())?;
            Ok(MethodAnswer::Pruned(method.layer(&layer, &run)?.into_data()?))
        }
        MethodCall::Block { block, seed } => {
            let run = Run::new(device, host, seed);
            method.block(&mut Block::new(&run, block), &run)?;
            Ok(MethodAnswer::Done)
        }
        MethodCall::Model { model, seed } => {
            let run = Run::new(device, host, seed);
            method.model(&mut Model::new(&run, model), &run)?;
            Ok(MethodAnswer::Done)
        }
    }
}

/// A method of a loaded library.
pub struct LoadedMethod(pub(super) MethodBox);

impl fmt::Debug for LoadedMethod {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("LoadedMethod").finish_non_exhaustive()
    }
}

impl LoadedMethod {
    /// Calls the method, which may call this host and this device meanwhile. The tensors of the call are the caller's before
    /// and after.
    ///
    /// # Errors
    /// Errors of the method, its panics included.
    pub fn call(
        &self,
        call: &MethodCall,
        host: &dyn HostService,
        device: Arc<dyn DeviceService>,
    ) -> Result<MethodAnswer> {
        let call = to_json(call)?;
        let answer = plain(self.0.call(call.as_str().into(), host::pack(host), device::pack(device)))?;
        let mut answer = from_json(&answer)?;
        if let MethodAnswer::Pruned(pruned) = &mut answer {
            pruned.notes.truncate(MAX_TEXTS);
            pruned.notes.iter_mut().for_each(|note| *note = bounded(std::mem::take(note).into()));
        }
        Ok(answer)
    }

    /// Ends the method.
    ///
    /// # Errors
    /// Its destructor panics.
    pub fn close(mut self) -> Result<()> {
        plain(self.0.close())
    }
}
