//! The documents that a selector chooses from.

use crate::{AnswerRule, Result, service::DocumentService};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, ops::Range};

/// One document of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its text, as the prompt template rendered it.
    pub text: String,
    /// The file it came from.
    pub source: String,
}

/// One file of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The file.
    pub name: String,
    /// The share of a weighted draw that is meant to come from it. All shares sum to 1; where the user gives
    /// no weights they are as the numbers of documents.
    pub share: f64,
    /// The numbers of its documents in the collection.
    pub documents: Range<usize>,
    /// The fewest tokens of a document that gives windows by itself: a shorter one is refused where windows
    /// are crops. 1 where they are not.
    pub min_tokens: usize,
}

/// The documents of a collection, read and tokenised when asked for.
///
/// ```
/// # use espalier_sdk::*;
/// /// The documents whose row names this language.
/// fn of_language(documents: &Documents, language: &str) -> Result<Vec<usize>> {
///     let mut found = Vec::new();
///     for index in 0..documents.len() {
///         if documents.fields(index)?.get("language").is_some_and(|field| field == language) {
///             found.push(index);
///         }
///     }
///     Ok(found)
/// }
/// ```
pub struct Documents<'a> {
    service: &'a dyn DocumentService,
    sources: Vec<Source>,
}

impl fmt::Debug for Documents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Documents").finish_non_exhaustive()
    }
}

impl<'a> Documents<'a> {
    /// The documents behind a service.
    ///
    /// # Errors
    /// The service cannot say where they are from.
    pub fn new(service: &'a dyn DocumentService) -> Result<Self> {
        Ok(Self { service, sources: service.sources()? })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.service.len()
    }

    /// Whether the collection is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The files they came from; their documents follow each other, without gaps.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The file that a document came from.
    pub fn source_of(&self, index: usize) -> Option<&Source> {
        let at = self.sources.partition_point(|source| source.documents.end <= index);
        self.sources.get(at)
    }

    /// A document's text and source.
    ///
    /// # Errors
    /// The document cannot be read.
    pub fn get(&self, index: usize) -> Result<Document> {
        self.service.document(index)
    }

    /// A document's tokens, with the special tokens that the model's tokenizer adds.
    ///
    /// # Errors
    /// The document cannot be read or tokenised.
    pub fn tokens(&self, index: usize) -> Result<Vec<u32>> {
        self.service.tokens(index)
    }

    /// The fields of the row that a document was made of, by the names that the field uses: `text`; `prefix` and `completion`;
    /// `system`, `instruction`, `input` and `output`; or `messages`, as JSON. A row that holds tokens has none.
    ///
    /// # Errors
    /// The document cannot be read, or the host is older than this function.
    pub fn fields(&self, index: usize) -> Result<BTreeMap<String, String>> {
        self.service.fields(index)
    }

    /// Which of a document's [tokens](Documents::tokens) are the answer to its prompt; none of running text.
    ///
    /// # Errors
    /// As [`Documents::fields`].
    pub fn answer(&self, index: usize) -> Result<Option<Range<usize>>> {
        self.service.answer(index)
    }

    /// The tokens that the model goes on from to answer a document, as the user's `--prompt` renders it, or else the model's
    /// chat template where it has one; none of running text and of rows of tokens. Since 1.1.
    ///
    /// # Errors
    /// As [`Documents::fields`].
    pub fn prompt(&self, index: usize) -> Result<Option<Vec<u32>>> {
        self.service.prompt(index)
    }

    /// The text of tokens, without special ones. Since 1.1.
    ///
    /// # Errors
    /// The tokenizer fails, or the host is older than this function.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.service.decode(tokens)
    }

    /// Which of these answers, as tokens, agree with the answer of a document's row; nothing where the row has no answer that
    /// the rule finds something in. Since 1.1.
    ///
    /// # Errors
    /// As [`Documents::fields`], or the rule has an invalid regular expression.
    pub fn agree(&self, index: usize, answers: &[&[u32]], rule: &AnswerRule) -> Result<Option<Vec<bool>>> {
        self.service.agree(index, answers, rule)
    }
}
