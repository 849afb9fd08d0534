//! A collection as a selector sees it.

use super::{LossMask, WindowMode};
use espalier_base::interrupt;
use espalier_data::{AnswerMatch, CalibrationError, Shape, SourceInfo, TokenizedCollection};
use espalier_sdk::{AnswerRule, Document, Error, Result, Source, service::DocumentService};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Documents of a source that are looked at for one that is long enough to crop.
const LOOKS: usize = 1000;

/// A collection's documents, and how windows are cut of each source.
pub(super) struct Offered<'a> {
    collection: &'a TokenizedCollection,
    modes: Vec<WindowMode>,
    seqlen: usize,
}

impl<'a> Offered<'a> {
    /// Cuts every source as `wanted`. Where nothing is wanted, running text is cropped and all else is packed,
    /// tokens as they are given a window each. Running text in which no document is as long as a window is
    /// packed too, which is warned of: of a large source, a thousand documents spread evenly are looked at.
    pub(super) fn new(
        collection: &'a TokenizedCollection,
        wanted: Option<WindowMode>,
        seqlen: usize,
    ) -> Result<Self, CalibrationError> {
        let mode = |source: &SourceInfo| -> Result<WindowMode, CalibrationError> {
            if let Some(wanted) = wanted {
                return Ok(wanted);
            }
            match source.shape {
                Shape::Windows => Ok(WindowMode::Single),
                Shape::Instruction | Shape::Chat | Shape::Row => Ok(WindowMode::Pack),
                Shape::Plain | Shape::Text | Shape::Completion => {
                    if has_long(collection, &source.documents, seqlen)? {
                        return Ok(WindowMode::Crop);
                    }
                    tracing::warn!(
                        "{}: no document is as long as a window of {seqlen} tokens, so they are packed",
                        source.path.display()
                    );
                    Ok(WindowMode::Pack)
                }
            }
        };
        let modes =
            collection.collection().sources().iter().map(mode).collect::<Result<_, CalibrationError>>()?;
        Ok(Self { collection, modes, seqlen })
    }

    /// How windows are cut of a source.
    pub(super) fn mode(&self, source: usize) -> WindowMode {
        self.modes[source]
    }

    /// The source of a document, if there is such a document.
    pub(super) fn source_of(&self, document: usize) -> Option<usize> {
        let known = document < self.len();
        known.then(|| self.collection.collection().source_of(document))
    }

    /// The number of a source's first document.
    pub(super) fn first(&self, source: usize) -> usize {
        self.collection.collection().sources()[source].documents.start
    }

    /// A document's tokens.
    pub(super) fn tokens(&self, document: usize) -> Result<Arc<[u32]>> {
        Ok(self.collection.tokens(document)?)
    }

    /// How much each of a document's tokens counts; nothing where all count 1.
    pub(super) fn loss_mask(&self, document: usize, which: LossMask) -> Result<Vec<f32>> {
        Ok(self.collection.loss_mask(document, which == LossMask::Answers)?)
    }
}

fn has_long(
    collection: &TokenizedCollection,
    documents: &Range<usize>,
    seqlen: usize,
) -> Result<bool, CalibrationError> {
    let looks = documents.len().min(LOOKS);
    for look in 0..looks {
        let document = documents.start + (look as u128 * documents.len() as u128 / looks as u128) as usize;
        // No tokenizer makes more tokens than bytes, but for the few that it adds.
        let long = collection.text(document)?.is_none_or(|text| text.len() + 8 >= seqlen);
        if long && collection.tokens(document)?.len() >= seqlen {
            return Ok(true);
        }
    }
    Ok(false)
}

impl DocumentService for Offered<'_> {
    fn len(&self) -> usize {
        self.collection.collection().len()
    }

    fn sources(&self) -> Result<Vec<Source>> {
        let sources = self.collection.collection().sources();
        let weighted = sources.iter().any(|source| source.weight.is_some());
        let weights: Vec<f64> = sources
            .iter()
            .map(|source| if weighted { source.weight.unwrap_or(1.0) } else { source.documents.len() as f64 })
            .collect();
        let total: f64 = weights.iter().sum();
        let source = |(at, weight): (usize, f64)| Source {
            name: sources[at].path.display().to_string(),
            share: weight / total,
            documents: sources[at].documents.clone(),
            min_tokens: if self.modes[at] == WindowMode::Crop { self.seqlen } else { 1 },
        };
        Ok(weights.into_iter().enumerate().map(source).collect())
    }

    fn document(&self, index: usize) -> Result<Document> {
        interrupt::check()?;
        let collection = self.collection.collection();
        let source = &collection.sources()[collection.source_of(index.min(self.len() - 1))];
        // Tokens that came without their text have none.
        let text = self.collection.text(index)?.unwrap_or_default();
        Ok(Document { text, source: source.path.display().to_string() })
    }

    fn tokens(&self, index: usize) -> Result<Vec<u32>> {
        interrupt::check()?;
        Ok(self.tokens(index)?.to_vec())
    }

    fn fields(&self, index: usize) -> Result<BTreeMap<String, String>> {
        interrupt::check()?;
        Ok(self.collection.fields(index)?)
    }

    fn answer(&self, index: usize) -> Result<Option<Range<usize>>> {
        interrupt::check()?;
        Ok(self.collection.answer(index)?)
    }

    fn prompt(&self, index: usize) -> Result<Option<Vec<u32>>> {
        interrupt::check()?;
        Ok(self.collection.prompt(index)?)
    }

    fn decode(&self, tokens: &[u32]) -> Result<String> {
        Ok(self.collection.tokenizer().decode(tokens)?)
    }

    fn agree(&self, index: usize, answers: &[&[u32]], rule: &AnswerRule) -> Result<Option<Vec<bool>>> {
        interrupt::check()?;
        let rule = AnswerMatch::new(rule).map_err(Error::invalid)?;
        Ok(self.collection.agree(index, answers, &rule)?)
    }
}
