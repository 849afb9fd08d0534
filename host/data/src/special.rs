//! The special and added tokens of a model folder, as transformers 5 finds them beside `tokenizer.json`.

use espalier_base::files;
use espalier_model::{config::ConfigError, json::Object};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use tokenizers::AddedToken;

/// The special tokens that have a name.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];

/// Lists of further special tokens, by their newer and their older name.
const LISTS: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];

/// The tokens that `tokenizer_config.json` and the files beside it name.
#[derive(Debug, Default)]
pub(super) struct SpecialTokens {
    /// By name, as chat templates know them.
    pub(super) named: BTreeMap<String, String>,
    /// Tokens of their own right, in the order of their numbers: a text is parted at them.
    added: Vec<AddedToken>,
    /// Special tokens that are added where nothing else names them.
    further: Vec<String>,
    /// The configuration's tokens around a text.
    pub(super) adds: [Option<bool>; 2],
}

impl SpecialTokens {
    /// Reads the tokens of a model folder.
    ///
    /// `special_tokens_map.json` and `added_tokens.json` are older than `added_tokens_decoder` in `tokenizer_config.json`, and
    /// count where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or names what is not a token.
    pub(super) fn read(folder: &Path) -> Result<Self, ConfigError> {
        let file = |name: &str| {
            let path = folder.join(name);
            files::exists(&path).then(|| Object::read(&path)).transpose()
        };
        let config = file("tokenizer_config.json")?;
        let decoder =
            config.as_ref().map(|config| config.object("added_tokens_decoder")).transpose()?.flatten();
        let map = if decoder.is_none() { file("special_tokens_map.json")? } else { None };
        let mut found = Self::default();
        for object in config.iter().chain(&map) {
            for name in NAMED {
                if let Some(token) = object.token_text(name)? {
                    found.named.insert(name.to_owned(), token);
                }
            }
            for list in LISTS {
                found.further.extend(object.token_texts(list)?);
            }
        }
        if let Some(config) = &config {
            found.adds = [config.flag("add_bos_token")?, config.flag("add_eos_token")?];
        }
        found.added = match decoder {
            Some(decoder) => of_decoder(&decoder)?,
            None => match file("added_tokens.json")? {
                Some(numbers) => found.of_numbers(&numbers)?,
                None => Vec::new(),
            },
        };
        Ok(found)
    }

    /// The tokens of `added_tokens.json`, which has their numbers alone.
    fn of_numbers(&self, numbers: &Object) -> Result<Vec<AddedToken>, ConfigError> {
        let mut tokens = Vec::new();
        for token in numbers.keys() {
            tokens.push((numbers.required(token, numbers.whole(token)?)?, token));
        }
        tokens.sort_unstable();
        let is_special =
            |token: &str| self.named.values().chain(&self.further).any(|special| special == token);
        Ok(tokens.into_iter().map(|(_, token)| AddedToken::from(token, is_special(token))).collect())
    }

    /// Adds to a tokenizer the tokens that it does not have.
    pub(super) fn add_to(&self, tokenizer: &mut tokenizers::Tokenizer) {
        let known = tokenizer.get_added_tokens_decoder();
        let same = |a: &AddedToken, b: &AddedToken| {
            (&a.content, a.single_word, a.lstrip, a.rstrip, a.normalized, a.special)
                == (&b.content, b.single_word, b.lstrip, b.rstrip, b.normalized, b.special)
        };
        let mut tokens: Vec<AddedToken> = self.added.clone();
        tokens.retain(|token| !known.values().any(|held| same(held, token)));
        let mut names: BTreeSet<String> =
            known.values().chain(&self.added).map(|token| token.content.clone()).collect();
        for token in self.named.values().chain(&self.further) {
            if names.insert(token.clone()) {
                tokens.push(AddedToken::from(token.as_str(), true));
            }
        }
        tokenizer.add_tokens(&tokens);
    }
}

/// The tokens of `added_tokens_decoder`, by their numbers.
fn of_decoder(decoder: &Object) -> Result<Vec<AddedToken>, ConfigError> {
    let mut tokens = Vec::new();
    for number in decoder.keys() {
        let Some(token) = decoder.object(number)? else { continue };
        let content = token.required("content", token.text("content")?)?;
        let special = token.flag("special")?.unwrap_or(false);
        let flag = |name: &str| Ok::<_, ConfigError>(token.flag(name)?.unwrap_or(false));
        let added = AddedToken::from(content, special)
            .single_word(flag("single_word")?)
            .lstrip(flag("lstrip")?)
            .rstrip(flag("rstrip")?)
            .normalized(token.flag("normalized")?.unwrap_or(!special));
        let number: u64 =
            number.parse().map_err(|_| decoder.bad(number, "its key is not the number of a token"))?;
        tokens.push((number, added));
    }
    tokens.sort_by_key(|(number, _)| *number);
    Ok(tokens.into_iter().map(|(_, token)| token).collect())
}
