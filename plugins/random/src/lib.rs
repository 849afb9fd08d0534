//! The classic calibration draw of SparseGPT and Wanda: documents at random. It is uniform and without
//! replacement, in rounds: no document comes a second time before all of its source were offered.

use espalier_sdk::{
    Documents, Draw, LanguageModel, Options, Result, Rng, SelectionRequest, Selector, SelectorInfo, Windows,
    export_plugin,
};

struct Random;

impl Selector for Random {
    fn info() -> SelectorInfo {
        SelectorInfo::new(
            "random",
            "documents at random, without replacement, by the weights of their sources",
        )
    }

    fn new(_: &Options) -> Result<Self> {
        Ok(Self)
    }

    fn select(
        &self,
        documents: &Documents,
        _: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let mut rng = Rng::new(request.seed);
        let mut draw = Draw::new(documents);
        // Whether a source gave a window in this round: if it gave none, another would give none again.
        let mut gave = vec![false; documents.sources().len()];
        while windows.wanted() {
            let again = |source: usize| std::mem::take(&mut gave[source]);
            let Some((source, document)) = draw.next(&mut rng, again) else { break };
            gave[source] |= windows.offer(document, None)? > 0;
        }
        Ok(())
    }
}

export_plugin! { selectors: [Random] }

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_sdk::testing;

    #[test]
    fn every_document_comes_once_in_an_order_that_the_seed_decides() -> Result<()> {
        let documents = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let draw = |seed| {
            testing::select::<Random>(&[], &documents, &SelectionRequest { samples: 20, seqlen: 8, seed })
        };
        let first = draw(1)?;
        assert_eq!(first, draw(1)?);
        assert_ne!(first, draw(2)?);
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6, 7]);
        Ok(())
    }
}
