//! Documents as they come.

use espalier_sdk::{Documents, Model, Options, Result, SelectionRequest, Selector, SelectorInfo, Windows};

pub(crate) struct First;

impl Selector for First {
    fn info() -> SelectorInfo {
        SelectorInfo::new("first", "documents in the order of their files")
    }

    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }

    fn select(
        &self,
        documents: &Documents,
        _: &Model,
        _: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        for document in 0..documents.len() {
            if !windows.wanted() {
                break;
            }
            windows.offer(document, None)?;
        }
        Ok(())
    }
}
