//! A collection's documents, as text and as tokens.

use super::{CalibrationError, Collection, Record, Rendered, Renderer, Tokenizer, tokenizer::check_tokens};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// Tokens that are kept for when they are asked for again: 32 MiB.
const KEPT_TOKENS: usize = 8 << 20;

/// A collection with the tokenizer that reads it.
pub struct TokenizedCollection {
    collection: Collection,
    renderer: Renderer,
    tokenizer: Tokenizer,
    kept: Mutex<Kept>,
}

/// The tokens of documents read lately.
struct Kept {
    limit: usize,
    total: usize,
    documents: HashMap<usize, Arc<[u32]>>,
    order: VecDeque<usize>,
}

impl Kept {
    fn new(limit: usize) -> Self {
        Self { limit, total: 0, documents: HashMap::new(), order: VecDeque::new() }
    }

    fn insert(&mut self, index: usize, tokens: Arc<[u32]>) {
        if tokens.len() > self.limit || self.documents.contains_key(&index) {
            return;
        }
        self.total += tokens.len();
        self.order.push_back(index);
        self.documents.insert(index, tokens);
        while self.total > self.limit {
            let Some(oldest) = self.order.pop_front() else { break };
            self.total -= self.documents.remove(&oldest).map_or(0, |tokens| tokens.len());
        }
    }
}

impl TokenizedCollection {
    /// The documents of a collection, rendered and tokenised when they are asked for.
    pub fn new(collection: Collection, renderer: Renderer, tokenizer: Tokenizer) -> Self {
        Self { collection, renderer, tokenizer, kept: Mutex::new(Kept::new(KEPT_TOKENS)) }
    }

    /// The collection.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// A document's text; nothing where a row holds its tokens instead.
    ///
    /// # Errors
    /// The document cannot be read or rendered.
    pub fn text(&self, index: usize) -> Result<Option<String>, CalibrationError> {
        match self.collection.record(index)? {
            Record::Tokens(_) => Ok(None),
            record => Ok(Some(self.rendered(&record, index)?.document())),
        }
    }

    /// A document's tokens, with the special tokens that the tokenizer adds.
    ///
    /// # Errors
    /// The document cannot be read, rendered or tokenised, or has a token that the model does not know.
    pub fn tokens(&self, index: usize) -> Result<Arc<[u32]>, CalibrationError> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tokens) = kept().documents.get(&index) {
            return Ok(Arc::clone(tokens));
        }
        let place = || self.collection.place(index);
        let tokens: Arc<[u32]> = match self.collection.record(index)? {
            Record::Tokens(tokens) => {
                check_tokens(&tokens, self.tokenizer.vocab_size(), place)?;
                tokens.into()
            }
            record => {
                let rendered = self.rendered(&record, index)?;
                self.tokenizer.encode(&rendered.document(), rendered.special, place)?.into()
            }
        };
        kept().insert(index, Arc::clone(&tokens));
        Ok(tokens)
    }

    fn rendered(&self, record: &Record, index: usize) -> Result<Rendered, CalibrationError> {
        self.renderer.render(record, || self.collection.place(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::new(10);
        for index in 0..100 {
            kept.insert(index, vec![0; index % 7].into());
            let held: usize = kept.documents.values().map(|tokens| tokens.len()).sum();
            assert_eq!((kept.total, kept.order.len()), (held, kept.documents.len()));
            assert!(kept.total <= 10);
        }
        kept.insert(1000, vec![0; 11].into());
        assert!(!kept.documents.contains_key(&1000));
    }
}
