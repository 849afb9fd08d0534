//! Where a model comes from, as the model card states it.

use espalier_base::files::{self, Limit};
use espalier_model::writer::CARD;
use std::path::Path;

/// Keys of a card's front matter that hold of a pruned model as of the original.
const KEPT: [&str; 7] = [
    "license",
    "license_name",
    "license_link",
    "language",
    "library_name",
    "pipeline_tag",
    "extra_gated_prompt",
];

/// Where a model comes from.
#[derive(Debug, Default, PartialEq)]
pub struct Origin {
    /// Lines of front matter: those of the maker's card that hold of the pruned model as well, and the base model.
    lines: String,
}

impl Origin {
    /// Reads the cards of a model's folder. `name` is what the user called the model.
    pub fn of(folder: &Path, name: &str) -> Self {
        let read = |file: &str| files::read_text(&folder.join(file), Limit::TEMPLATE).unwrap_or_default();
        // A model that was pruned before has its maker's card aside, and in its place ours, which names the base model.
        let (card, makers) = (read("README.md"), read(CARD));
        let front = front_matter(if makers.is_empty() { &card } else { &makers });
        let mut lines: String = KEPT.iter().filter_map(|key| block(front, key)).collect();
        let named = hub_name(folder, name).map(|name| format!("base_model: {name}\n"));
        lines.extend(named.or_else(|| block(front_matter(&card), "base_model")));
        Self { lines }
    }

    /// The lines for the head of a card.
    pub(super) fn lines(&self) -> &str {
        &self.lines
    }
}

/// The lines between the two lines of hyphens that a card begins with.
fn front_matter(card: &str) -> &str {
    let card = card.trim_start_matches('\u{feff}');
    let Some(inside) = card.strip_prefix("---\n").or_else(|| card.strip_prefix("---\r\n")) else { return "" };
    inside.find("\n---").map_or("", |end| &inside[..=end])
}

/// The lines of a key: its own, and those below that are indented or items of its list.
fn block(front: &str, key: &str) -> Option<String> {
    let mut lines = front.lines().skip_while(|line| line.split_once(':').is_none_or(|(name, _)| name != key));
    let mut text = format!("{}\n", lines.next()?);
    for line in lines.take_while(|line| line.starts_with([' ', '-'])) {
        text.push_str(line);
        text.push('\n');
    }
    Some(text)
}

/// The name on the hub: as the user said it, or by the folder of the hub's cache.
fn hub_name(folder: &Path, name: &str) -> Option<String> {
    let is_name = |text: &str| {
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        text.split_once('/').is_some_and(|(org, model)| part(org) && part(model))
    };
    if !Path::new(name).exists() && is_name(name) {
        return Some(name.to_owned());
    }
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let of_cache = folder.components().find_map(|part| {
        let part = part.as_os_str().to_str()?.strip_prefix("models--")?;
        Some(part.replacen("--", "/", 1))
    });
    of_cache.filter(|name| is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_licence_and_the_base_model_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let card = "---\nlicense: llama3.2\ntags:\n- chat\nlanguage:\n- en\n- de\nlicense_link: LICENSE\n---\nlicense: no\n";
        fs::write(dir.path().join("README.md"), card).unwrap();
        let lines = "license: llama3.2\nlicense_link: LICENSE\nlanguage:\n- en\n- de\n";
        assert_eq!(Origin::of(dir.path(), "a folder").lines(), lines);
        let named = format!("{lines}base_model: meta-llama/Llama-3.2-1B\n");
        assert_eq!(Origin::of(dir.path(), "meta-llama/Llama-3.2-1B").lines(), named);

        // A model that was pruned before has the maker's card aside.
        let ours = "---\nbase_model: org/name\n---\nPruned by [Espalier](espalier.json) 0.1.0\n";
        fs::rename(dir.path().join("README.md"), dir.path().join("README.original.md")).unwrap();
        fs::write(dir.path().join("README.md"), ours).unwrap();
        assert_eq!(Origin::of(dir.path(), "x").lines(), format!("{lines}base_model: org/name\n"));

        let cached = dir.path().join("models--org--other/snapshots/abc");
        fs::create_dir_all(&cached).unwrap();
        assert_eq!(Origin::of(&cached, "x").lines(), "base_model: org/other\n");
        for odd in ["", "---", "---\nlicense: x", "no front matter\n---\nlicense: x\n---\n"] {
            fs::write(cached.join("README.md"), odd).unwrap();
            assert_eq!(Origin::of(&cached, "x").lines(), "base_model: org/other\n", "{odd}");
        }
    }
}
