//! Documents at the border.

use super::{AbiResult, device::plain, guard};
use crate::{Document, Result, service::DocumentService};
use abi_stable::{
    sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, RString, RVec, Tuple2},
};

/// [`DocumentService`] with a stable layout.
#[sabi_trait]
pub trait DocumentsAbi: Send + Sync {
    fn len(&self) -> u64;
    fn document(&self, index: u64) -> AbiResult<Tuple2<RString, RString>>;
    #[sabi(last_prefix_field)]
    fn tokens(&self, index: u64) -> AbiResult<RVec<u32>>;
}

/// A collection as it crosses the border, for the length of a call.
pub type DocumentsBox<'a> = DocumentsAbi_TO<'a, RBox<()>>;

/// Packs the host's documents for a plugin.
pub(super) fn pack(service: &dyn DocumentService) -> DocumentsBox<'_> {
    DocumentsAbi_TO::from_value(HostSide(service), TD_Opaque)
}

struct HostSide<'a>(&'a dyn DocumentService);

impl DocumentsAbi for HostSide<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn document(&self, index: u64) -> AbiResult<Tuple2<RString, RString>> {
        guard(|| {
            let Document { text, source } = self.0.document(index as usize)?;
            Ok(Tuple2(text.into(), source.into()))
        })
    }

    fn tokens(&self, index: u64) -> AbiResult<RVec<u32>> {
        guard(|| Ok(self.0.tokens(index as usize)?.into()))
    }
}

/// The plugin's end of a collection.
pub(super) struct PluginSide<'a>(pub(super) DocumentsBox<'a>);

impl DocumentService for PluginSide<'_> {
    fn len(&self) -> usize {
        self.0.len() as usize
    }

    fn document(&self, index: usize) -> Result<Document> {
        let Tuple2(text, source) = plain(self.0.document(index as u64))?;
        Ok(Document { text: text.into(), source: source.into() })
    }

    fn tokens(&self, index: usize) -> Result<Vec<u32>> {
        plain(self.0.tokens(index as u64)).map(RVec::into_vec)
    }
}
