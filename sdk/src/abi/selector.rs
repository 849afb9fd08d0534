//! Selectors at the border.

use super::{
    AbiResult,
    documents::{self, DocumentsBox},
    guard,
    json::{from_json, to_json},
    model::{self, ModelBox},
    plain,
    windows::{self, WindowsBox},
};
use crate::{
    Documents, Error, LanguageModel, Result, SelectionRequest, Selector, Windows,
    service::{DocumentService, ModelService, WindowService},
};
use abi_stable::{
    sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, RStr},
};
use std::fmt;

/// [`Selector`] with a stable layout; the request is JSON.
#[sabi_trait]
pub trait SelectorAbi: Send + Sync {
    #[sabi(last_prefix_field)]
    fn select(
        &self,
        documents: DocumentsBox<'_>,
        model: ModelBox<'_>,
        request: RStr<'_>,
        windows: WindowsBox<'_>,
    ) -> AbiResult<()>;
}

/// A selector as it crosses the border.
pub type SelectorBox = SelectorAbi_TO<'static, RBox<()>>;

/// Packs a plugin's selector for the host.
pub(super) fn pack_selector(selector: Box<dyn Selector>) -> SelectorBox {
    SelectorAbi_TO::from_value(SelectorSide(Some(selector)), TD_Opaque)
}

struct SelectorSide(Option<Box<dyn Selector>>);

impl Drop for SelectorSide {
    fn drop(&mut self) {
        // A panic here would end the process. Nobody can be told of it: what the selector chose is whole.
        let selector = self.0.take();
        let _ = guard(move || {
            drop(selector);
            Ok(())
        });
    }
}

impl SelectorAbi for SelectorSide {
    fn select(
        &self,
        documents: DocumentsBox<'_>,
        model: ModelBox<'_>,
        request: RStr<'_>,
        windows: WindowsBox<'_>,
    ) -> AbiResult<()> {
        guard(|| {
            let documents = documents::ImportedDocuments(documents);
            let model = model::ImportedModel(model);
            let mut windows = windows::ImportedWindows(windows);
            let request: SelectionRequest = from_json(request.as_str())?;
            let documents = Documents::new(&documents)?;
            let Some(selector) = &self.0 else { return Err(Error::invalid("the selector has ended")) };
            selector.select(
                &documents,
                &LanguageModel::new(&model),
                &request,
                &mut Windows::new(&mut windows),
            )
        })
    }
}

/// A selector of a loaded library.
pub struct LoadedSelector(pub(super) SelectorBox);

impl fmt::Debug for LoadedSelector {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("LoadedSelector").finish_non_exhaustive()
    }
}

impl LoadedSelector {
    /// Offers documents; see [`Selector::select`].
    ///
    /// # Errors
    /// Errors of the selector, its panics included.
    pub fn select(
        &self,
        documents: &dyn DocumentService,
        model: &dyn ModelService,
        request: &SelectionRequest,
        windows: &mut dyn WindowService,
    ) -> Result<()> {
        let request = to_json(request)?;
        plain(self.0.select(
            documents::pack(documents),
            model::pack(model),
            request.as_str().into(),
            windows::pack(windows),
        ))
    }
}
