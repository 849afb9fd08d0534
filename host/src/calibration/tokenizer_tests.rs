use super::*;
use serde_json::{Value, json};

/// A tokenizer of whole words, which begins a text with `<s>`.
pub(crate) fn words() -> Value {
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "<unk>"},
        "added_tokens": [
            {"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true},
            {"id": 2, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true}
        ],
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
        },
        "decoder": null,
        "model": {
            "type": "WordLevel",
            "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "c": 5},
            "unk_token": "<unk>"
        }
    })
}

/// A folder with this tokenizer.
pub(crate) fn folder(config: Option<Value>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), words().to_string()).unwrap();
    if let Some(config) = config {
        fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    }
    dir
}

fn encode(config: Option<Value>, special: bool) -> Vec<u32> {
    let tokenizer = Tokenizer::open(folder(config).path(), 6).unwrap();
    tokenizer.encode("a b c a", special, String::new).unwrap()
}

#[test]
fn special_tokens_are_those_of_the_tokenizer() {
    assert_eq!(encode(None, true), [1, 3, 4, 5, 3]);
    assert_eq!(encode(None, false), [3, 4, 5, 3]);
}

#[test]
fn the_configuration_overrules_them() {
    let config = |bos: bool, eos: bool| {
        Some(
            json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": bos, "add_eos_token": eos}),
        )
    };
    assert_eq!(encode(config(false, false), true), [3, 4, 5, 3]);
    assert_eq!(encode(config(true, true), true), [1, 3, 4, 5, 3, 2]);
    assert_eq!(encode(config(true, true), false), [3, 4, 5, 3]);
    let unnamed = Some(json!({"bos_token": null, "add_bos_token": true}));
    assert_eq!(encode(unnamed, true), [3, 4, 5, 3]);

    let tokenizer = Tokenizer::open(folder(config(true, true)).path(), 6).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
    assert_eq!(tokenizer.decode(&[1, 3, 4, 2]).unwrap(), "a b");
}

#[test]
fn tokens_beyond_the_vocabulary_are_refused() {
    let tokenizer = Tokenizer::open(folder(None).path(), 5).unwrap();
    let error = tokenizer.encode("a c", true, || "rows.jsonl, line 7".to_owned()).unwrap_err();
    let words = "rows.jsonl, line 7 has the token 5, but the model's vocabulary ends at 4: they do not belong together";
    assert_eq!(error.to_string(), words);
}

#[test]
fn what_is_missing_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let refused = || Tokenizer::open(dir.path(), 6).map(|_| ()).unwrap_err().to_string();
    assert!(refused().contains("fetch the model's tokenizer, or give rows of `input_ids`"));
    fs::write(dir.path().join("tokenizer.model"), "x").unwrap();
    assert!(refused().contains("make one of its tokenizer.model with: python -c"));
    let path = dir.path().join("tokenizer.json");
    fs::write(&path, "{}").unwrap();
    assert!(refused().contains("tokenizer.json is not usable"));
    fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").unwrap();
    assert!(refused().contains("git lfs pull"));
}
