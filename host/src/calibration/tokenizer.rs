//! The model's tokenizer.

use super::CalibrationError;
use crate::{
    files::{self, Limit},
    guard::{self, Panicked},
    interrupt::Interrupted,
    model::{config::ConfigError, is_lfs_pointer, json::Object},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes of a text from which on tokenising it takes so long that it must be interruptible.
const LONG: usize = 1 << 18;

/// Why a text does not tokenise.
enum Failure {
    Interrupted(Interrupted),
    Panicked(Panicked),
    Fault(tokenizers::Error),
}

/// The tokenizer of a model folder.
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    path: PathBuf,
    vocab_size: usize,
    bos: Option<u32>,
    eos: Option<u32>,
    /// The tokens before and after a text, where `tokenizer_config.json` overrules `tokenizer.json`.
    around: Option<(Option<u32>, Option<u32>)>,
}

impl Tokenizer {
    /// Loads `tokenizer.json` of a model folder, for a model of this vocabulary.
    ///
    /// As transformers does, `add_bos_token` and `add_eos_token` of `tokenizer_config.json` overrule the
    /// special tokens that `tokenizer.json` adds; truncation and padding that were saved with it are off.
    ///
    /// # Errors
    /// There is no `tokenizer.json` (the message says how to make one of a `tokenizer.model`), or it does
    /// not load.
    pub fn open(folder: &Path, vocab_size: usize) -> Result<Self, CalibrationError> {
        let path = folder.join("tokenizer.json");
        if fs::symlink_metadata(&path).is_err() {
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
        let inner = Arc::new(inner);
        let mut tokenizer =
            Self { inner, path: path.clone(), vocab_size, bos: None, eos: None, around: None };
        let config = folder.join("tokenizer_config.json");
        if config.exists() {
            tokenizer.configure(&Object::read(&config)?)?;
        }
        Ok(tokenizer)
    }

    fn configure(&mut self, config: &Object) -> Result<(), ConfigError> {
        let id = |key: &str| {
            let text = config.token_text(key)?;
            Ok(text.and_then(|text| self.inner.token_to_id(&text)))
        };
        let (bos, eos) = (id("bos_token")?, id("eos_token")?);
        let before = config.flag("add_bos_token")?.unwrap_or(false);
        let after = config.flag("add_eos_token")?.unwrap_or(false);
        if config.has("add_bos_token") || config.has("add_eos_token") {
            self.around = Some((bos.filter(|_| before), eos.filter(|_| after)));
        }
        (self.bos, self.eos) = (bos, eos);
        Ok(())
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
        let built_in = special && self.around.is_none();
        let encoding = self.run(text, built_in).map_err(|source| match source {
            Failure::Interrupted(interrupted) => interrupted.into(),
            Failure::Fault(source) => CalibrationError::Encode { place: place(), source },
            Failure::Panicked(panic) => {
                CalibrationError::Tokenizer { path: self.path.clone(), source: panic.into() }
            }
        })?;
        let (before, after) = self.around.filter(|_| special).unwrap_or_default();
        let ids: Vec<u32> =
            before.into_iter().chain(encoding.get_ids().iter().copied()).chain(after).collect();
        check_tokens(&ids, self.vocab_size, place)?;
        Ok(ids)
    }

    /// Encodes a text; a long one can be interrupted.
    fn run(&self, text: &str, special: bool) -> Result<tokenizers::Encoding, Failure> {
        let result = if text.len() < LONG {
            guard::catch(|| self.inner.encode_fast(text, special))
        } else {
            let (inner, text) = (Arc::clone(&self.inner), text.to_owned());
            guard::interruptible(move || inner.encode_fast(text, special)).map_err(Failure::Interrupted)?
        };
        result.map_err(Failure::Panicked)?.map_err(Failure::Fault)
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
    if folder.join("tokenizer.model").exists() {
        let folder = folder.display();
        format!(
            "make one of its tokenizer.model with: python -c \"from transformers import AutoTokenizer as T; \
             T.from_pretrained('{folder}').save_pretrained('{folder}')\""
        )
    } else {
        "fetch the model's tokenizer, or give rows of `input_ids`".to_owned()
    }
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
pub(crate) mod tests;
