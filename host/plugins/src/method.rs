//! A method that was made: in this process, or in one of its own.

use super::isolate::Apart;
use espalier_sdk::{
    Order, Result, Sparsity, Statistic,
    abi::{LoadedMethod, LoadedPruned, TensorHandle},
    service::DeviceService,
};
#[cfg(unix)]
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
    /// The method panics.
    pub fn order(&self) -> Result<Order> {
        match &self.0 {
            MethodPlace::Here(method) => method.as_ref().map_or(Ok(Order::Block), LoadedMethod::order),
            #[cfg(unix)]
            MethodPlace::Apart(method) => Ok(method.order()),
        }
    }

    /// Prunes one layer; see [`LoadedMethod::prune`].
    ///
    /// # Errors
    /// The method's error, its panics included, and of a method in its own process whatever ended that.
    pub fn prune(
        &self,
        name: &str,
        block: usize,
        weight: TensorHandle,
        tokens: u64,
        statistics: &[(Statistic, TensorHandle)],
        target: Sparsity,
        device: Arc<dyn DeviceService>,
    ) -> Result<LoadedPruned> {
        match &self.0 {
            MethodPlace::Here(Some(method)) => {
                method.prune(name, block, weight, tokens, statistics, target, device)
            }
            MethodPlace::Here(None) => Err(espalier_sdk::Error::invalid("the method has ended")),
            #[cfg(unix)]
            MethodPlace::Apart(method) => {
                method.prune(name, block, weight, tokens, statistics, target, &*device)
            }
        }
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
