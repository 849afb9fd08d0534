//! Documents as they come.

use espalier_sdk::{
    Documents, LanguageModel, Options, Result, SelectionRequest, Selector, SelectorInfo, Windows,
};

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
        _: &LanguageModel,
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

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_sdk::testing;

    #[test]
    fn documents_come_in_their_order() {
        let request = SelectionRequest { samples: 2, seqlen: 8, seed: 0 };
        assert_eq!(testing::select::<First>(&[], &["a", "b", "c"], &request).unwrap(), [0, 1]);
        let request = SelectionRequest { samples: 5, ..request };
        assert_eq!(testing::select::<First>(&[], &["a", "b", "c"], &request).unwrap(), [0, 1, 2]);
    }
}
