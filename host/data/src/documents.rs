//! A collection's documents, as text and as tokens.

use super::{
    AnswerMatch, CalibrationError, Collection, Record, Refusals, Renderer, Tokenizer, Tokens,
    tokenizer::check_tokens,
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Tokens that are kept for when they are asked for again: 32 MiB.
const KEPT_TOKENS: usize = 8 << 20;

/// A collection with the tokenizer that reads it.
pub struct TokenizedCollection {
    collection: Collection,
    renderer: Renderer,
    tokenizer: Tokenizer,
    kept: Mutex<KeptDocument>,
    refusals: Mutex<Refusals>,
}

impl fmt::Debug for TokenizedCollection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("TokenizedCollection").finish_non_exhaustive()
    }
}

/// The tokens of documents read lately.
struct KeptDocument {
    limit: usize,
    total: usize,
    documents: HashMap<usize, Arc<[u32]>>,
    order: VecDeque<usize>,
}

impl KeptDocument {
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
        let kept = Mutex::new(KeptDocument::new(KEPT_TOKENS));
        Self { collection, renderer, tokenizer, kept, refusals: Mutex::default() }
    }

    /// The collection.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// A document's text; nothing where a row holds its tokens instead. A document that is left out has none.
    ///
    /// # Errors
    /// The document cannot be read, or cannot be rendered and not be left out either.
    pub fn text(&self, index: usize) -> Result<Option<String>, CalibrationError> {
        let record = self.collection.record(index)?;
        if let Record::Tokens(_) = record {
            return Ok(None);
        }
        let document = self.renderer.document(&record, || self.collection.place(index));
        let kept = self.refusals().keep(&self.collection, index, document)?;
        Ok(Some(kept.map_or_else(String::new, |document| document.text)))
    }

    /// A document's tokens, with the special tokens that the tokenizer adds. A document that is left out has none.
    ///
    /// # Errors
    /// The document cannot be read; it cannot be rendered or tokenised, or has a token that the model does not know, and
    /// cannot be left out either.
    pub fn tokens(&self, index: usize) -> Result<Arc<[u32]>, CalibrationError> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tokens) = kept().documents.get(&index) {
            return Ok(Arc::clone(tokens));
        }
        let record = self.collection.record(index)?;
        let made = self.tokens_of(record, || self.collection.place(index));
        let tokens: Arc<[u32]> =
            self.refusals().keep(&self.collection, index, made)?.unwrap_or_default().into();
        kept().insert(index, Arc::clone(&tokens));
        Ok(tokens)
    }

    /// The fields of a document's row, by name; see [`Record::fields`].
    ///
    /// # Errors
    /// The document cannot be read.
    pub fn fields(&self, index: usize) -> Result<BTreeMap<String, String>, CalibrationError> {
        Ok(self.collection.record(index)?.fields())
    }

    /// Which of a document's tokens are the answer to its prompt: those behind what it has in common with the prompt alone.
    /// Running text and rows of tokens have none, nor has a document that is left out.
    ///
    /// # Errors
    /// As [`tokens`](Self::tokens).
    pub fn answer(&self, index: usize) -> Result<Option<Range<usize>>, CalibrationError> {
        let record = self.collection.record(index)?;
        if let Record::Text(_) | Record::Tokens(_) | Record::Row(_) = record {
            return Ok(None);
        }
        let place = || self.collection.place(index);
        let rendered = self.renderer.render(&record, place);
        let Some(rendered) = self.refusals().keep(&self.collection, index, rendered)? else {
            return Ok(None);
        };
        if rendered.answer.is_empty() || rendered.rewritten {
            return Ok(None);
        }
        let prompt = self.tokenizer.encode(&rendered.prompt, rendered.special, place)?;
        let tokens = self.tokens(index)?;
        let common = prompt.iter().zip(tokens.iter()).take_while(|(a, b)| a == b).count();
        Ok((common < tokens.len()).then(|| common..tokens.len()))
    }

    /// The tokens that the model goes on from to answer a document: as the given prompt puts it, or else the model's chat
    /// template where it has one. Running text and rows of tokens have none, nor has a document that is left out.
    ///
    /// # Errors
    /// As [`tokens`](Self::tokens).
    pub fn prompt(&self, index: usize) -> Result<Option<Vec<u32>>, CalibrationError> {
        let record = self.collection.record(index)?;
        let place = || self.collection.place(index);
        let made = self.renderer.question(&record, place).and_then(|question| {
            let Some((text, special)) = question else { return Ok(None) };
            let mut tokens = self.tokenizer.encode(&text, special, place)?;
            // Some tokenizers end every text; this one goes on.
            if special && tokens.last().is_some_and(|last| self.tokenizer.eos() == Some(*last)) {
                tokens.pop();
            }
            Ok(Some(tokens))
        });
        Ok(self.refusals().keep(&self.collection, index, made)?.flatten())
    }

    /// Which of these answers agree with the one of a document's row; nothing where the row has none that says something.
    ///
    /// # Errors
    /// The document cannot be read, or the tokenizer fails.
    pub fn agree(
        &self,
        index: usize,
        answers: &[&[u32]],
        rule: &AnswerMatch,
    ) -> Result<Option<Vec<bool>>, CalibrationError> {
        let record = self.collection.record(index)?;
        let right: Vec<_> = record.references().into_iter().filter_map(|answer| rule.said(answer)).collect();
        if right.is_empty() {
            return Ok(None);
        }
        let agrees = |answer: &&[u32]| -> Result<bool, CalibrationError> {
            let said = rule.said(&self.tokenizer.decode(answer)?);
            Ok(said.is_some_and(|said| right.contains(&said)))
        };
        answers.iter().map(agrees).collect::<Result<_, _>>().map(Some)
    }

    /// How much each of a document's tokens counts: as its row says, or else, with `answers_only`, 1 in the
    /// [answer](Self::answer) and 0 elsewhere. Nothing where all count 1.
    ///
    /// # Errors
    /// As [`tokens`](Self::tokens).
    pub fn loss_mask(&self, index: usize, answers_only: bool) -> Result<Vec<f32>, CalibrationError> {
        if let Record::Tokens(Tokens { loss_mask, .. }) = self.collection.record(index)?
            && !loss_mask.is_empty()
        {
            return Ok(loss_mask);
        }
        if !answers_only {
            return Ok(Vec::new());
        }
        let mut weights = vec![0.0; self.tokens(index)?.len()];
        if let Some(answer) = self.answer(index)? {
            weights[answer].fill(1.0);
        }
        Ok(weights)
    }

    fn tokens_of(&self, record: Record, place: impl Fn() -> String) -> Result<Vec<u32>, CalibrationError> {
        if let Record::Tokens(tokens) = record {
            check_tokens(&tokens.input_ids, self.tokenizer.vocab_size(), place)?;
            return Ok(tokens.input_ids);
        }
        let document = self.renderer.document(&record, &place)?;
        self.tokenizer.encode(&document.text, document.special, place)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of a source's documents could not be rendered or tokenised and were left out, of those that were looked at.
    pub fn refused(&self, source: usize) -> u64 {
        self.refusals().of_source(&self.collection, source)
    }

    /// Warns of the documents that were left out.
    pub fn warn_of_refused(&self) {
        self.refusals().warn();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_an_instruction_is_found_among_its_tokens() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models");
        let rows = [crate::Source::new(root.join("data/alpaca_calibration.json"))];
        let collection = Collection::open(&rows, &crate::Reading::default()).unwrap();
        let folder = root.join("tiny-instruct");
        let renderer = Renderer::new(None, &folder).unwrap();
        let documents =
            TokenizedCollection::new(collection, renderer, Tokenizer::open(&folder, 1024).unwrap());
        for index in 0..20 {
            let fields = documents.fields(index).unwrap();
            let answer = documents.answer(index).unwrap().unwrap();
            let tokens = documents.tokens(index).unwrap();
            assert!(answer.start > 0 && answer.end == tokens.len(), "{answer:?} of {}", tokens.len());
            let text = documents.tokenizer().decode(&tokens[answer]).unwrap();
            assert_eq!(text.trim(), fields["output"].trim(), "{index}");
        }
        let text = [crate::Source::new(root.join("data/c4.jsonl"))];
        let collection = Collection::open(&text, &crate::Reading::default()).unwrap();
        let renderer = Renderer::new(None, &folder).unwrap();
        let documents =
            TokenizedCollection::new(collection, renderer, Tokenizer::open(&folder, 1024).unwrap());
        assert_eq!(documents.answer(0).unwrap(), None);
        assert_eq!(documents.fields(0).unwrap()["text"], documents.text(0).unwrap().unwrap());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = KeptDocument::new(10);
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
