//! A selector that was made: in this process, or in one of its own.

#[cfg(unix)]
use super::isolate::Apart;
use espalier_sdk::{
    Result, SelectionRequest,
    abi::LoadedSelector,
    service::{DocumentService, ModelService, WindowService},
};
use std::fmt;

/// A selector, wherever it runs.
pub struct PluginSelector(SelectorPlace);

impl fmt::Debug for PluginSelector {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("PluginSelector").finish_non_exhaustive()
    }
}

enum SelectorPlace {
    /// In this process.
    Here(LoadedSelector),
    /// In a process of its own.
    #[cfg(unix)]
    Apart(Box<Apart>),
}

impl PluginSelector {
    pub(super) fn here(selector: LoadedSelector) -> Self {
        Self(SelectorPlace::Here(selector))
    }

    #[cfg(unix)]
    pub(super) fn apart(selector: Apart) -> Self {
        Self(SelectorPlace::Apart(Box::new(selector)))
    }

    /// Has the selector offer documents.
    ///
    /// # Errors
    /// The selector's error, its panics included, and of a selector in its own process whatever ended that.
    pub fn select(
        &self,
        documents: &dyn DocumentService,
        model: &dyn ModelService,
        request: &SelectionRequest,
        windows: &mut dyn WindowService,
    ) -> Result<()> {
        match &self.0 {
            SelectorPlace::Here(selector) => selector.select(documents, model, request, windows),
            #[cfg(unix)]
            SelectorPlace::Apart(selector) => selector.select(documents, model, request, windows),
        }
    }
}
