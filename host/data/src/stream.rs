//! Text as it is written, token by token.

use super::{CalibrationError, Tokenizer};
use std::mem;

/// Tokens before a text that are looked at, so that the space before its first word is where the tokenizer puts it. More are
/// where so many begin within a character.
const CONTEXTS: [usize; 3] = [8, 16, 64];

/// A text that is written token by token, up to a stop: every piece can be shown as soon as it comes.
///
/// A character that is not whole yet, and text that a stop may begin with, are held back. Special tokens are not part of the
/// text, but stops may be among them or reach over them.
#[derive(Debug)]
pub struct TextStream<'a> {
    stops: &'a [String],
    text: Pieces<'a>,
    /// The same with special tokens.
    all: Pieces<'a>,
    held: Vec<Piece>,
    stopped: bool,
}

/// What a token adds.
#[derive(Debug)]
struct Piece {
    text: String,
    /// The same with special tokens.
    all: String,
}

impl<'a> TextStream<'a> {
    /// A text behind these tokens, which ends before the first of `stops`.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn new(
        tokenizer: &'a Tokenizer,
        behind: &[u32],
        stops: &'a [String],
    ) -> Result<Self, CalibrationError> {
        let behind = context(tokenizer, behind)?;
        Ok(Self {
            stops,
            text: Pieces::new(tokenizer, true, behind)?,
            all: Pieces::new(tokenizer, false, behind)?,
            held: Vec::new(),
            stopped: false,
        })
    }

    /// Takes the next token, and gives the text that can be shown by now; often none.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn push(&mut self, token: u32) -> Result<String, CalibrationError> {
        if self.stopped {
            return Ok(String::new());
        }
        let (text, all) = (self.text.push(token)?, self.all.push(token)?);
        self.held.push(Piece { text, all });
        let all: String = self.held.iter().map(|piece| piece.all.as_str()).collect();
        if let Some(at) = self.stops.iter().filter_map(|stop| all.find(stop.as_str())).min() {
            self.stopped = true;
            return Ok(self.release(at));
        }
        Ok(self.release(all.len() - self.possible_stop(&all)))
    }

    /// The rest of the text, where nothing follows.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn finish(&mut self) -> Result<String, CalibrationError> {
        if self.stopped {
            return Ok(String::new());
        }
        let held: String = mem::take(&mut self.held).into_iter().map(|piece| piece.text).collect();
        Ok(held + &self.text.finish()?)
    }

    /// Whether a stop was met.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Bytes at the end of a text that a stop may begin with.
    fn possible_stop(&self, text: &str) -> usize {
        let begins = |stop: &String| {
            let cuts = stop.char_indices().map(|(at, _)| at).rev();
            cuts.into_iter().find(|&at| text.ends_with(&stop[..at])).unwrap_or(0)
        };
        self.stops.iter().map(begins).max().unwrap_or(0)
    }

    /// The text before a place of what is held.
    fn release(&mut self, mut up_to: usize) -> String {
        let mut text = String::new();
        while let Some(piece) = self.held.first_mut() {
            if piece.all.len() <= up_to {
                up_to -= piece.all.len();
                text += &piece.text;
                self.held.remove(0);
            } else {
                // Of a special token, no part is text.
                if piece.all == piece.text {
                    text.extend(piece.text.drain(..up_to));
                    piece.all.drain(..up_to);
                }
                break;
            }
        }
        text
    }
}

/// The last of these tokens, from the beginning of a character on; none where there is no such place.
fn context<'t>(tokenizer: &Tokenizer, tokens: &'t [u32]) -> Result<&'t [u32], CalibrationError> {
    for count in CONTEXTS {
        let last = &tokens[tokens.len().saturating_sub(count)..];
        if !tokenizer.decode_all(last)?.contains(NO_CHARACTER) {
            return Ok(last);
        }
    }
    Ok(&[])
}

/// The text that each of a run of tokens adds.
#[derive(Debug)]
struct Pieces<'a> {
    tokenizer: &'a Tokenizer,
    without_special: bool,
    /// The last tokens: some whose text was given, and behind them those whose text was not.
    tokens: Vec<u32>,
    given: usize,
    /// The text of those that was given.
    before: String,
}

/// Tokens that are kept for the text of those behind them, at most: a model that writes nothing but half characters or special
/// tokens costs no more than others.
const MOST_KEPT: usize = 64;

/// What stands in a text for bytes that are no character, or not a whole one yet.
const NO_CHARACTER: char = '\u{fffd}';

impl<'a> Pieces<'a> {
    fn new(
        tokenizer: &'a Tokenizer,
        without_special: bool,
        behind: &[u32],
    ) -> Result<Self, CalibrationError> {
        let tokens = behind.to_vec();
        let given = tokens.len();
        let mut pieces = Self { tokenizer, without_special, tokens, given, before: String::new() };
        pieces.before = pieces.decode(0)?;
        Ok(pieces)
    }

    /// The text of the tokens from one on.
    fn decode(&self, from: usize) -> Result<String, CalibrationError> {
        let tokens = &self.tokens[from..];
        if self.without_special { self.tokenizer.decode(tokens) } else { self.tokenizer.decode_all(tokens) }
    }

    /// What this token adds, with what tokens before it began; nothing while a character is not whole.
    fn push(&mut self, token: u32) -> Result<String, CalibrationError> {
        self.tokens.push(token);
        let text = self.decode(0)?;
        if text.ends_with(NO_CHARACTER) && self.tokens.len() - self.given < MOST_KEPT {
            return Ok(String::new());
        }
        self.give(text)
    }

    /// What was not given yet, whole or not.
    fn finish(&mut self) -> Result<String, CalibrationError> {
        let text = self.decode(0)?;
        self.give(text)
    }

    /// Gives what a text has more than was given of it. How a token is written depends on tokens before it, such as a space
    /// where a word begins: as many stay as have some text.
    fn give(&mut self, text: String) -> Result<String, CalibrationError> {
        let own = self.decode(self.given)?;
        let new = match text.strip_prefix(&self.before) {
            Some(new) => new.to_owned(),
            // The tokenizer writes tokens before it otherwise now: they were given.
            None => own.clone(),
        };
        if own.is_empty() && self.tokens.len() < MOST_KEPT {
            self.before = text;
        } else {
            self.tokens.drain(..self.given);
            self.before = own;
        }
        self.given = self.tokens.len();
        Ok(new)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
