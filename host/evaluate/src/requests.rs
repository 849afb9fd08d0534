//! Contexts and continuations as tokens, to the letter as lm-evaluation-harness 0.4 makes them (`TemplateLM._encode_pair`,
//! `HFLM.tok_encode`, `HFLM._loglikelihood_tokens`): what is compared with its numbers must be cut where it cuts.

use super::{EvaluateError, Result, metrics::is_space};
use espalier_data::{CalibrationError, Tokenizer};
use espalier_model::LlamaConfig;

/// Tokens of which the last are predicted.
#[derive(Debug, Default)]
pub(super) struct Request {
    ids: Vec<u32>,
    /// How many are predicted: at least one, and not the first.
    pub(super) predicted: usize,
    /// Whether the context lost its beginning.
    pub(super) cut: bool,
}

impl Request {
    /// The tokens that the model reads: all but the last, which nothing follows.
    pub(super) fn inputs(&self) -> &[u32] {
        &self.ids[..self.ids.len().saturating_sub(1)]
    }

    /// The tokens that are predicted.
    pub(super) fn targets(&self) -> &[u32] {
        &self.ids[self.ids.len() - self.predicted..]
    }
}

/// A context, tokenised for every continuation.
pub(super) struct EncodedContext<'a> {
    /// The context without the spaces at its end, which the continuation begins with.
    text: &'a str,
    spaces: &'a str,
    ids: Vec<u32>,
}

/// Makes requests for models of one tokenizer.
pub(super) struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    /// The token that stands for an empty context, and its text.
    prefix: (u32, String),
    /// The most tokens that a model reads.
    length: usize,
}

impl<'a> Encoder<'a> {
    /// Requests of at most `length` tokens and the one that follows them.
    ///
    /// # Errors
    /// The tokenizer has neither a token that begins a text nor one that ends it.
    pub(super) fn new(tokenizer: &'a Tokenizer, config: &LlamaConfig, length: usize) -> Result<Self> {
        let begins = tokenizer.bos().or(tokenizer.eos()).or(config.eos_token_ids.first().copied());
        let Some(begins) = begins else { return Err(EvaluateError::NoPrefixToken) };
        Ok(Self { tokenizer, prefix: (begins, tokenizer.decode_all(&[begins])?), length })
    }

    /// The tokens of a text; special ones stand around it, unless it writes the first itself.
    fn encode(&self, text: &str, place: impl Fn() -> String) -> Result<Vec<u32>, CalibrationError> {
        self.tokenizer.encode(text, !text.starts_with(&self.prefix.1), place)
    }

    /// A context.
    pub(super) fn context<'t>(
        &self,
        text: &'t str,
        place: impl Fn() -> String,
    ) -> Result<EncodedContext<'t>, CalibrationError> {
        let bare = text.trim_end_matches(is_space);
        let ids = if text.is_empty() { vec![self.prefix.0] } else { self.encode(bare, &place)? };
        if ids.is_empty() {
            return Err(unfit(place(), "context", "it holds nothing but spaces".to_owned()));
        }
        Ok(EncodedContext { text: bare, spaces: &text[bare.len()..], ids })
    }

    /// A continuation behind its context.
    pub(super) fn request(
        &self,
        context: &EncodedContext,
        continuation: &str,
        place: impl Fn() -> String,
    ) -> Result<Request, CalibrationError> {
        let empty = context.text.is_empty() && context.spaces.is_empty();
        let (mut ids, behind) = if empty {
            let behind = self.tokenizer.encode(continuation, false, &place)?;
            // A continuation that begins as an empty context does is its own context.
            let own = usize::from(behind.first() == Some(&self.prefix.0));
            (context.ids.clone(), behind[own..].to_vec())
        } else {
            let whole = [context.text, context.spaces, continuation].concat();
            let whole = self.encode(&whole, &place)?;
            (context.ids.clone(), whole.get(context.ids.len()..).unwrap_or_default().to_vec())
        };
        let predicted = behind.len();
        if predicted == 0 {
            return Err(unfit(
                place(),
                "target",
                format!("no token of {continuation:?} is left behind the context"),
            ));
        }
        if predicted > self.length {
            let problem = format!("it has {predicted} tokens, and the model reads {}", self.length);
            return Err(unfit(place(), "target", problem));
        }
        ids.extend(behind);
        let cut = ids.len() > self.length + 1;
        if cut {
            ids.drain(..ids.len() - self.length - 1);
        }
        Ok(Request { ids, predicted, cut })
    }

    /// A context to go on from, of at most so many tokens, of which the first ones go. Whether some did.
    pub(super) fn prompt(
        &self,
        text: &str,
        room: usize,
        place: impl Fn() -> String,
    ) -> Result<(Vec<u32>, bool), CalibrationError> {
        let mut ids = self.encode(text, place)?;
        let cut = ids.len() > room;
        ids.drain(..ids.len().saturating_sub(room));
        Ok((ids, cut))
    }
}

/// The error of a row.
pub(super) fn unfit(place: String, what: &str, problem: String) -> CalibrationError {
    CalibrationError::Fit { place, what: what.to_owned(), problem }
}
