//! A collection's documents as selectors see them.

use super::{CalibrationError, Collection, Rendered, Renderer, Tokenizer};
use espalier_sdk::{Document, Result, service::DocumentService};
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

    fn rendered(&self, index: usize) -> Result<Rendered, CalibrationError> {
        self.renderer.render(&self.collection.record(index)?, || self.collection.place(index))
    }

    fn read(&self, index: usize) -> Result<Arc<[u32]>, CalibrationError> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tokens) = kept().documents.get(&index) {
            return Ok(Arc::clone(tokens));
        }
        let rendered = self.rendered(index)?;
        let place = || self.collection.place(index);
        let tokens = self.tokenizer.encode(&rendered.document(), rendered.special, place)?;
        let tokens: Arc<[u32]> = tokens.into();
        kept().insert(index, Arc::clone(&tokens));
        Ok(tokens)
    }
}

impl DocumentService for TokenizedCollection {
    fn len(&self) -> usize {
        self.collection.len()
    }

    fn document(&self, index: usize) -> Result<Document> {
        let text = self.rendered(index)?.document();
        let source = &self.collection.sources()[self.collection.source_of(index)];
        Ok(Document { text, source: source.path.display().to_string() })
    }

    fn tokens(&self, index: usize) -> Result<Vec<u32>> {
        Ok(self.read(index)?.to_vec())
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
