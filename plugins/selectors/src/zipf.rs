//! Documents with rare words, as ZipCal's code has it (2603.16105, `zipf`): word frequencies follow Zipf's law, so that the sum
//! over a document's different words of one by their frequency tells how much of the long tail it holds. No model is needed.
//! Where `diverse` looks at what the documents before lack, this looks at each document alone.

use crate::pool::{Candidate, Pool};
use espalier_sdk::{
    Documents, LanguageModel, Options, Result, Rng, SelectionRequest, Selector, SelectorInfo, Windows,
};
use std::collections::{BTreeSet, HashMap};

pub(crate) struct Zipf(Pool);

impl Selector for Zipf {
    fn info() -> SelectorInfo {
        Pool::declare(SelectorInfo::new("zipf", "documents with the rarest words"))
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self(Pool::new(options)?))
    }

    fn select(
        &self,
        documents: &Documents,
        _: &LanguageModel,
        request: &SelectionRequest,
        windows: &mut Windows,
    ) -> Result<()> {
        let pool = self.0.draw(documents, request, &mut Rng::new(request.seed))?;
        let texts = pool
            .iter()
            .map(|candidate| documents.decode(&candidate.tokens))
            .collect::<Result<Vec<String>>>()?;
        let mut ranked: Vec<(f64, &Candidate)> = rarity(&texts).into_iter().zip(&pool).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.document.cmp(&b.1.document)));
        for (score, candidate) in ranked {
            if !windows.wanted() {
                break;
            }
            // The part that was looked at.
            windows.offer_at(candidate.document, 0, Some(score))?;
        }
        Ok(())
    }
}

/// Of each text, the sum over its different words of one by how often they occur in all texts.
fn rarity(texts: &[String]) -> Vec<f64> {
    let words = |text: &str| -> Vec<String> {
        let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        parts.map(str::to_lowercase).collect()
    };
    let texts: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in texts.iter().flatten() {
        *counts.entry(word).or_default() += 1;
    }
    // In a fixed order, so that equal texts have equal sums.
    let score = |words: &Vec<String>| {
        let different: BTreeSet<&str> = words.iter().map(String::as_str).collect();
        different.into_iter().map(|word| 1.0 / counts[word] as f64).sum()
    };
    texts.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use espalier_sdk::testing;

    #[test]
    fn words_count_by_how_rare_they_are() {
        let texts = ["the cat, the dog", "The cat!", "a zebra", ""].map(str::to_owned);
        // the 3, cat 2, dog 1, a 1, zebra 1.
        let expected = [1.0 / 3.0 + 0.5 + 1.0, 1.0 / 3.0 + 0.5, 2.0, 0.0];
        for (found, expected) in rarity(&texts).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
    }

    #[test]
    fn the_rarest_come_first() {
        let request = SelectionRequest { samples: 2, seqlen: 64, seed: 0 };
        let documents = ["the sea the sea", "the sea is deep", "jackdaws love quartz", "the sea"];
        assert_eq!(testing::select::<Zipf>(&[], &documents, &request).unwrap(), [2, 1]);
    }
}
