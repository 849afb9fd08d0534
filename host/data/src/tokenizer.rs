//! The model's tokenizer.

use super::{
    CalibrationError,
    pieces::{self, Piece, Sizes},
    special::SpecialTokens,
};
use espalier_base::{
    files::{self, Limit},
    guard::{self, Panicked},
    interrupt::Interrupted,
    text::shell_quote,
};
use espalier_model::{config::ConfigError, is_lfs_pointer};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// How a long text is divided: tokenising a piece takes some 150 times its size of memory, and a part of a second.
const SIZES: Sizes = Sizes { piece: 1 << 17, shared: 1 << 12 };

/// Why a text does not tokenise.
enum TokenizerFailure {
    Interrupted(Interrupted),
    Panicked(Panicked),
    Fault(tokenizers::Error),
}

impl From<Interrupted> for TokenizerFailure {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

/// The tokenizer of a model folder.
#[derive(Debug)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    path: PathBuf,
    vocab_size: usize,
    bos: Option<u32>,
    eos: Option<u32>,
    /// Whether two BOS tokens in a row were warned of.
    warned: AtomicBool,
}

impl Tokenizer {
    /// Loads `tokenizer.json` of a model folder, for a model of this vocabulary.
    ///
    /// As in transformers 5, the tokens of `tokenizer_config.json` and of the files beside it are added, and `tokenizer.json`
    /// alone says which tokens stand around a text; truncation and padding that were saved with it are off.
    ///
    /// # Errors
    /// There is no `tokenizer.json` (the message says how to make one of a `tokenizer.model`), or it does
    /// not load.
    pub fn open(folder: &Path, vocab_size: usize) -> Result<Self, CalibrationError> {
        let path = folder.join("tokenizer.json");
        if !files::exists(&path) && fs::symlink_metadata(&path).is_err() {
            return Err(CalibrationError::NoTokenizer { path: folder.to_owned(), hint: hint(folder) });
        }
        let bytes = files::read(&path, Limit::TOKENIZER)
            .map_err(|source| CalibrationError::Read { path: path.clone(), source })?;
        if is_lfs_pointer(&bytes) {
            return Err(ConfigError::LfsPointer { path }.into());
        }
        let unusable = |source| CalibrationError::Tokenizer { path: path.clone(), source };
        let loaded = guard::catch(|| tokenizers::Tokenizer::from_bytes(bytes));
        let mut inner = loaded.map_err(|panic| unusable(panic.into()))?.map_err(unusable)?;
        inner.with_truncation(None).map_err(unusable)?;
        inner.with_padding(None);
        let tokens = SpecialTokens::read(folder)?;
        guard::catch(|| tokens.add_to(&mut inner)).map_err(|panic| unusable(panic.into()))?;
        let id = |name: &str| inner.token_to_id(tokens.named.get(name)?);
        let (bos, eos) = (id("bos_token"), id("eos_token"));
        let tokenizer =
            Self { inner: Arc::new(inner), path, vocab_size, bos, eos, warned: AtomicBool::new(false) };
        tokenizer.compare(&tokens);
        Ok(tokenizer)
    }

    /// Warns where `tokenizer_config.json` asks for other tokens around a text than `tokenizer.json` adds.
    fn compare(&self, tokens: &SpecialTokens) {
        let Ok(around) = self.run("", true) else { return };
        let has = |token: Option<u32>| token.is_some_and(|token| around.contains(&token));
        for (name, asked, added) in [
            ("add_bos_token", tokens.adds[0], has(self.bos)),
            ("add_eos_token", tokens.adds[1], has(self.eos)),
        ] {
            if asked.is_some_and(|asked| asked != added) {
                tracing::warn!(
                    "{}: tokenizer_config.json has `{name}: {}`, but tokenizer.json decides, as in transformers 5, and {} \
                     that token",
                    self.path.display(),
                    !added,
                    if added { "adds" } else { "does not add" }
                );
            }
        }
    }

    /// The token that begins a text, by `tokenizer_config.json`.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, by `tokenizer_config.json`.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The tokens of a text, with the special tokens that the tokenizer adds if `special`. `place` says
    /// where the text is from, for messages.
    ///
    /// # Errors
    /// The text does not tokenise, or has a token that the model does not know.
    pub fn encode(
        &self,
        text: &str,
        special: bool,
        place: impl Fn() -> String,
    ) -> Result<Vec<u32>, CalibrationError> {
        let ids = self.run(text, special).map_err(|source| match source {
            TokenizerFailure::Interrupted(interrupted) => interrupted.into(),
            TokenizerFailure::Fault(source) => CalibrationError::Encode { place: place(), source },
            TokenizerFailure::Panicked(panic) => {
                CalibrationError::Tokenizer { path: self.path.clone(), source: panic.into() }
            }
        })?;
        check_tokens(&ids, self.vocab_size, &place)?;
        if let (Some(bos), [first, second, ..]) = (self.bos, ids.as_slice())
            && (*first, *second) == (bos, bos)
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "{} begins with the BOS token twice: its text has one, and the tokenizer adds one. Models have not seen \
                 that; take it out of the data, or out of tokenizer.json. Other rows may be the same",
                place()
            );
        }
        Ok(ids)
    }

    /// The tokens of a text.
    fn run(&self, text: &str, special: bool) -> Result<Vec<u32>, TokenizerFailure> {
        if text.len() <= SIZES.piece {
            return Ok(self.whole(text, special)?.get_ids().to_vec());
        }
        let piece = |text: &str| -> Result<Vec<Piece>, TokenizerFailure> {
            let encoded = guard::catch(|| self.inner.encode(text, false));
            let encoded = encoded.map_err(TokenizerFailure::Panicked)?.map_err(TokenizerFailure::Fault)?;
            let tokens = encoded.get_ids().iter().zip(encoded.get_offsets());
            Ok(tokens.map(|(&id, &(begin, end))| Piece { id, begin, end }).collect())
        };
        let Some(ids) = pieces::tokens(text, SIZES, piece)? else {
            // A text without a place to part it at, such as one letter again and again.
            let (inner, text) = (Arc::clone(&self.inner), text.to_owned());
            let whole = guard::interruptible(move || inner.encode_fast(text, special))?;
            return Ok(whole
                .map_err(TokenizerFailure::Panicked)?
                .map_err(TokenizerFailure::Fault)?
                .get_ids()
                .to_vec());
        };
        if !special {
            return Ok(ids);
        }
        // What is added to a letter is added to any text.
        let (alone, with) = (self.whole("a", false)?, self.whole("a", true)?);
        let (alone, with) = (alone.get_ids(), with.get_ids());
        let at = with.windows(alone.len().max(1)).position(|window| window == alone).unwrap_or(0);
        let behind = with.get(at + alone.len()..).unwrap_or_default();
        Ok(with[..at].iter().copied().chain(ids).chain(behind.iter().copied()).collect())
    }

    fn whole(&self, text: &str, special: bool) -> Result<tokenizers::Encoding, TokenizerFailure> {
        guard::catch(|| self.inner.encode_fast(text, special))
            .map_err(TokenizerFailure::Panicked)?
            .map_err(TokenizerFailure::Fault)
    }

    /// Tokens that the model knows.
    pub(super) fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The text of these tokens, special ones included.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn decode_all(&self, tokens: &[u32]) -> Result<String, CalibrationError> {
        self.text(tokens, false)
    }

    /// The text of these tokens, without special ones.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, CalibrationError> {
        self.text(tokens, true)
    }

    fn text(&self, tokens: &[u32], skip_special: bool) -> Result<String, CalibrationError> {
        let failed =
            |source| CalibrationError::Encode { place: format!("a run of {} tokens", tokens.len()), source };
        let decoded = guard::catch(|| self.inner.decode(tokens, skip_special));
        decoded.map_err(|panic| failed(panic.into()))?.map_err(failed)
    }
}

/// Checks that a model of this vocabulary knows these tokens.
pub(super) fn check_tokens(
    tokens: &[u32],
    vocab_size: usize,
    place: impl Fn() -> String,
) -> Result<(), CalibrationError> {
    match tokens.iter().find(|&&token| token as usize >= vocab_size) {
        None => Ok(()),
        Some(&token) => Err(CalibrationError::Token { place: place(), token, vocab_size }),
    }
}

fn hint(folder: &Path) -> String {
    if files::exists(&folder.join("tokenizer.model")) {
        // The folder is an argument, so that no quotes of Python's stand around it.
        format!(
            "make one of its tokenizer.model with: python -c \"import sys; from transformers import AutoTokenizer as T; \
             d = sys.argv[1]; T.from_pretrained(d).save_pretrained(d)\" {}",
            shell_quote(&folder.to_string_lossy())
        )
    } else {
        "fetch the model's tokenizer, or give rows of `input_ids`".to_owned()
    }
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
pub(crate) mod tests;
