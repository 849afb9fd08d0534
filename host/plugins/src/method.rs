//! A method that was made: in this process, or in one of its own.

#[cfg(unix)]
use super::isolate::Apart;
use espalier_sdk::{
    Code, DType, DeviceKind, Error, Order, Result,
    abi::LoadedMethod,
    message::{HostCall, HostReply, HostService, MethodAnswer, MethodCall, PrunedData, unsupported},
    service::{DeviceService, KernelCall, Op, TensorId},
};
use std::{fmt, sync::Arc};

/// A pruning method, wherever it runs.
pub struct PluginMethod(MethodPlace);

impl fmt::Debug for PluginMethod {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("PluginMethod").finish_non_exhaustive()
    }
}

enum MethodPlace {
    /// In this process; taken when the value is dropped.
    Here(Option<LoadedMethod>),
    /// In a process of its own.
    #[cfg(unix)]
    Apart(Box<Apart>),
}

impl PluginMethod {
    pub(super) fn here(method: LoadedMethod) -> Self {
        Self(MethodPlace::Here(Some(method)))
    }

    #[cfg(unix)]
    pub(super) fn apart(method: Apart) -> Self {
        Self(MethodPlace::Apart(Box::new(method)))
    }

    /// When statistics are taken.
    ///
    /// # Errors
    /// The method panics, or its process ended.
    pub fn order(&self) -> Result<Order> {
        match self.call(&MethodCall::Order, &NoHost, Arc::new(NoHost))? {
            MethodAnswer::Order(order) => Ok(order),
            other => Err(misfit(&other)),
        }
    }

    /// Has the method prune a layer.
    ///
    /// # Errors
    /// As [`PluginMethod::call`], or it answers with something else.
    pub fn prune(
        &self,
        call: &MethodCall,
        host: &dyn HostService,
        device: Arc<dyn DeviceService>,
    ) -> Result<PrunedData> {
        match self.call(call, host, device)? {
            MethodAnswer::Pruned(pruned) => Ok(pruned),
            other => Err(misfit(&other)),
        }
    }

    /// Calls the method; see [`LoadedMethod::call`].
    ///
    /// # Errors
    /// The method's error, its panics included, and of a method in its own process whatever ended that.
    pub fn call(
        &self,
        call: &MethodCall,
        host: &dyn HostService,
        device: Arc<dyn DeviceService>,
    ) -> Result<MethodAnswer> {
        match &self.0 {
            MethodPlace::Here(Some(method)) => method.call(call, host, device),
            MethodPlace::Here(None) => Err(Error::invalid("the method has ended")),
            #[cfg(unix)]
            MethodPlace::Apart(method) => method.call(call, host, &*device),
        }
    }
}

fn misfit(answer: &MethodAnswer) -> Error {
    Error::invalid(format!("the method answered with something else: {answer:?}"))
}

/// A host and a device without functions.
#[derive(Debug, Clone, Copy)]
pub struct NoHost;

fn nothing<T>() -> Result<T> {
    Err(Error::new(Code::Unsupported, "there is no device here"))
}

impl DeviceService for NoHost {
    fn name(&self) -> String {
        "no device".to_owned()
    }

    fn kind(&self) -> DeviceKind {
        DeviceKind::Cpu
    }

    fn create(&self, _: DType, _: usize, _: usize) -> Result<TensorId> {
        nothing()
    }

    fn upload(&self, _: DType, _: usize, _: usize, _: &[u8]) -> Result<TensorId> {
        nothing()
    }

    fn read(&self, _: TensorId) -> Result<Vec<u8>> {
        nothing()
    }

    fn free(&self, _: TensorId) {}

    fn execute(&self, _: Op<TensorId>, _: TensorId) -> Result<()> {
        nothing()
    }

    fn run(&self, _: &KernelCall, _: &[TensorId], _: &[u8], _: u32) -> Result<()> {
        nothing()
    }
}

impl HostService for NoHost {
    fn call(&self, _: HostCall) -> Result<HostReply> {
        Err(unsupported("any"))
    }
}

impl Drop for PluginMethod {
    fn drop(&mut self) {
        let MethodPlace::Here(method) = &mut self.0 else { return };
        // What the method made of the layers is whole: its destructor's panic costs nothing but a word.
        if let Some(Err(error)) = method.take().map(LoadedMethod::close) {
            tracing::warn!("a method failed at its end, after its work was done: {error}");
        }
    }
}
