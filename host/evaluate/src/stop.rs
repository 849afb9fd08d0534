//! Texts that end a prediction.

use super::Result;
use espalier_data::Tokenizer;

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
        let text = self.tokenizer.decode(&tokens[..kept])?;
        // Of a special token, no part is text.
        let is_special = self.tokenizer.decode(&tokens[..tokens.len().min(kept + 1)])? == text;
        Ok(if is_special { text } else { text + all.get(end..at).unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn stops_are_found_in_all_that_is_written() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/tiny-instruct");
        let tokenizer = Tokenizer::open(&folder, 1024).unwrap();
        let written = "It is blue.<pad> user again, é again";
        let ids = tokenizer.encode(written, false, String::new).unwrap();
        for (texts, expected) in [
            (&[][..], "It is blue. user again, é again"),
            (&["<pad>"], "It is blue."),
            (&["blue"], "It is"),
            (&["ue.<pa"], "It is bl"),
            (&["d> us", "again"], "It is blue."),
            (&["é"], "It is blue. user again,"),
            (&["never"], "It is blue. user again, é again"),
            (&["never", "t is"], "I"),
        ] {
            let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
            let stops = Stops::new(&texts, &tokenizer);
            assert_eq!(stops.prediction(&ids).unwrap(), expected, "{texts:?}");
            // Writing ends with the token that completes a stop.
            let first = (1..=ids.len()).find(|&count| stops.met(&ids[..count]));
            let whole = |count: usize| tokenizer.decode_all(&ids[..count]).unwrap();
            let completes = |count: &usize| texts.iter().any(|text| whole(*count).contains(text.as_str()));
            assert_eq!(first, (1..=ids.len()).find(completes), "{texts:?}");
        }
    }
}
