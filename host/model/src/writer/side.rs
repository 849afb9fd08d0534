//! The files beside the weights.

use super::{MANIFEST, WriteError};
use crate::{Checkpoint, json::Object};
use espalier_base::files::{self, Limit};
use std::{fs, path::Path};

/// Files that belong to a model, by name. Nothing else is carried along: what lies in a model's folder by chance, or is
/// linked into it, is not published with the result. Weights in other formats are not: they would no longer be this
/// model's.
const CARRIED: [&str; 16] = [
    "config.json",
    "generation_config.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tiktoken.model",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "params.json",
];

/// Beginnings of the names of licences and notices, whatever follows.
const LEGAL: [&str; 5] = ["LICENSE", "LICENCE", "NOTICE", "USE_POLICY", "ACCEPTABLE_USE"];

/// Beginnings of the names of a model's own code.
const CODE: [&str; 4] = ["modeling_", "configuration_", "tokenization_", "generation_"];

/// Where the card of the model's maker is kept.
pub const CARD: &str = "README.original.md";

/// The folder of further chat templates.
const TEMPLATES: &str = "additional_chat_templates";

/// Copies the files beside the weights of `source` to `folder`.
pub(super) fn copy(source: &Checkpoint, folder: &Path) -> Result<(), WriteError> {
    let code = has_code(source.dir());
    for name in names(source.dir())? {
        let from = source.dir().join(&name);
        if !from.is_file() || !is_carried(&name, source.index(), code) {
            if from.is_file() && !source.shards().iter().any(|shard| shard.file == name) {
                tracing::info!("{} is not copied: it is not known as a part of a model", from.display());
            }
            continue;
        }
        copy_file(&from, &folder.join(&name))?;
    }
    keep_records(source.dir(), folder)?;
    let templates = source.dir().join(TEMPLATES);
    if templates.is_dir() {
        let to = folder.join(TEMPLATES);
        fs::create_dir_all(&to).map_err(|source| WriteError::Write { path: to.clone(), source })?;
        for name in names(&templates)?.iter().filter(|name| name.ends_with(".jinja")) {
            copy_file(&templates.join(name), &to.join(name))?;
        }
    }
    Ok(())
}

/// The files beside the weights of `source` that an archive holds, by their names in the folder: as [`copy`] copies them, and the
/// model's own card and manifests.
pub(crate) fn files_beside(source: &Checkpoint) -> Result<Vec<String>, WriteError> {
    let code = has_code(source.dir());
    let is_record = |name: &str| {
        [MANIFEST, CARD, "README.md"].contains(&name)
            || name.starts_with("espalier.") && name.ends_with(".json")
    };
    let mut found = names(source.dir())?;
    found.retain(|name| {
        source.dir().join(name).is_file() && (is_record(name) || is_carried(name, source.index(), code))
    });
    let templates = source.dir().join(TEMPLATES);
    if templates.is_dir() {
        let further = names(&templates)?.into_iter().filter(|name| name.ends_with(".jinja"));
        found.extend(further.map(|name| format!("{TEMPLATES}/{name}")));
    }
    Ok(found)
}

/// Keeps the card of the model's maker, and the manifests of the runs that the model went through before.
fn keep_records(source: &Path, folder: &Path) -> Result<(), WriteError> {
    // A model that was pruned before has its maker's card aside already, and a card of ours in its place.
    if let Some(card) = [CARD, "README.md"].iter().find(|name| source.join(name).is_file()) {
        copy_file(&source.join(card), &folder.join(CARD))?;
    }
    let earlier = |run: usize| format!("espalier.{run}.json");
    let mut run = 1;
    while source.join(earlier(run)).is_file() {
        copy_file(&source.join(earlier(run)), &folder.join(earlier(run)))?;
        run += 1;
    }
    if source.join(MANIFEST).is_file() {
        copy_file(&source.join(MANIFEST), &folder.join(earlier(run)))?;
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>, WriteError> {
    let unreadable = |source| WriteError::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        names.push(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), WriteError> {
    files::copy(from, to, Limit::SIDE).map_err(|(source, reading)| match reading {
        true => WriteError::Read { path: from.to_owned(), source },
        false => WriteError::Write { path: to.to_owned(), source },
    })
}

/// Whether the configuration names code of the model's own, which loaders then ask for.
fn has_code(folder: &Path) -> bool {
    let names_code = |file: &str| Object::read(&folder.join(file)).is_ok_and(|object| object.has("auto_map"));
    names_code("config.json") || names_code("tokenizer_config.json")
}

fn is_carried(name: &str, index: Option<&str>, code: bool) -> bool {
    let upper = name.to_uppercase();
    let ends = |end: &str| Path::new(name).extension().is_some_and(|extension| extension == end);
    Some(name) == index
        || CARRIED.contains(&name)
        || name.starts_with("tokenizer.")
        || name.starts_with("tokenizer_config.")
        || LEGAL.iter().any(|legal| upper.starts_with(legal))
        || ends("tiktoken")
        || ends("py") && (code || CODE.iter().any(|begin| name.starts_with(begin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_model_is_carried() {
        for name in [
            "config.json",
            "tokenizer.model",
            "tokenizer.model.v3",
            "modeling_own.py",
            "LICENSE.txt",
            "Notice",
            "USE_POLICY.md",
            "x.tiktoken",
        ] {
            assert!(is_carried(name, None, false), "{name}");
        }
        for name in
            ["notes.txt", "id_rsa", "model.py", "pytorch_model.bin.index.json", "espalier.json", ".env"]
        {
            assert!(!is_carried(name, None, false), "{name}");
        }
        assert!(is_carried("model.py", None, true));
        assert!(is_carried("model.safetensors.index.json", Some("model.safetensors.index.json"), false));
    }
}
