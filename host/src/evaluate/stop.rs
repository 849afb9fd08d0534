//! Texts that end a prediction.

use super::Result;
use crate::calibration::Tokenizer;

/// Tokens that are looked at beside as many as a stop has bytes.
const BESIDE: usize = 8;

/// The texts that end a task's predictions.
pub(super) struct Stops<'a> {
    texts: &'a [String],
    tokenizer: &'a Tokenizer,
    /// Tokens at the end of a prediction that are looked at while it is written.
    tail: usize,
}

impl<'a> Stops<'a> {
    pub(super) fn new(texts: &'a [String], tokenizer: &'a Tokenizer) -> Self {
        let tail = BESIDE + texts.iter().map(String::len).max().unwrap_or(0);
        Self { texts, tokenizer, tail }
    }

    /// Whether what is written so far holds a stop, at its end.
    pub(super) fn met(&self, tokens: &[u32]) -> bool {
        // A tokenizer that fails does so again in `prediction`, which says it.
        let holds = |tokens: &[u32]| {
            self.tokenizer.decode_all(tokens).is_ok_and(|text| self.first_in(&text).is_some())
        };
        !self.texts.is_empty() && holds(&tokens[tokens.len().saturating_sub(self.tail)..]) && holds(tokens)
    }

    /// Where in a text the first stop begins.
    fn first_in(&self, text: &str) -> Option<usize> {
        self.texts.iter().filter_map(|stop| text.find(stop.as_str())).min()
    }

    /// The text of a prediction up to the first stop, without special tokens. A stop may be one: it is looked for in the text
    /// with them.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub(super) fn prediction(&self, tokens: &[u32]) -> Result<String> {
        let mut text = match self.first_in_all(tokens)? {
            Some((at, all)) => self.up_to(tokens, at, &all)?,
            None => self.tokenizer.decode(tokens)?,
        };
        text.truncate(self.first_in(&text).unwrap_or(text.len()));
        Ok(text.trim().to_owned())
    }

    /// The text with special tokens, and where in it the first stop begins.
    fn first_in_all(&self, tokens: &[u32]) -> Result<Option<(usize, String)>> {
        if self.texts.is_empty() {
            return Ok(None);
        }
        let all = self.tokenizer.decode_all(tokens)?;
        Ok(self.first_in(&all).map(|at| (at, all)))
    }

    /// The text before a place of the text with special tokens: that of the tokens before it without special ones, and what
    /// of the token that reaches over the place stands before it.
    fn up_to(&self, tokens: &[u32], at: usize, all: &str) -> Result<String> {
        let mut kept = 0;
        let mut end = 0;
        for count in 1..=tokens.len() {
            let length = self.tokenizer.decode_all(&tokens[..count])?.len();
            if length > at {
                break;
            }
            (kept, end) = (count, length);
        }
        Ok(self.tokenizer.decode(&tokens[..kept])? + all.get(end..at).unwrap_or_default())
    }
}
